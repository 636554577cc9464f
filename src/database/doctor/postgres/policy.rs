//! What a policy lets through.

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr,
    Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::table::postgres::SETTING;

/// What an expression of a policy does, as far as can be read off it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rows of the organization that is set, none where none is.
    Sound,
    /// The same, evaluated for every row.
    PerRow,
    /// The same over a converted tenant column, which no index serves.
    Converts,
    /// It has a branch that lets rows through without an organization.
    FailsOpen,
    /// It cannot be told.
    Unreadable,
}

/// Judges an expression as `pg_get_expr` writes it.
pub(super) fn judge(text: &str, tenant: &str) -> Verdict {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr());
    let verdict = parsed.ok().and_then(|expr| equality(&expr, tenant));
    verdict.unwrap_or_else(|| {
        let lower = text.to_ascii_lowercase();
        let opens = ["coalesce(", " or ", " is null", " is not null", "case "];
        if lower.trim_matches(['(', ')']) == "true" || opens.iter().any(|part| lower.contains(part))
        {
            Verdict::FailsOpen
        } else {
            Verdict::Unreadable
        }
    })
}

/// `tenant = setting`, in either order.
fn equality(expr: &Expr, tenant: &str) -> Option<Verdict> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = bare(expr) else { return None };
    [(left, right), (right, left)].into_iter().find_map(|(column, value)| {
        let converts = match bare(column) {
            Expr::Cast { expr, .. } if is_column(bare(expr), tenant) => true,
            column if is_column(column, tenant) => false,
            _ => return None,
        };
        let per_row = match bare(value) {
            Expr::Subquery(query) => {
                let SetExpr::Select(select) = query.body.as_ref() else { return None };
                let [
                    SelectItem::UnnamedExpr(inner) | SelectItem::ExprWithAlias { expr: inner, .. },
                ] = select.projection.as_slice()
                else {
                    return None;
                };
                if !select.from.is_empty() || !is_setting(inner) {
                    return None;
                }
                false
            }
            value => is_setting(value).then_some(true)?,
        };
        Some(match (converts, per_row) {
            (true, _) => Verdict::Converts,
            (false, true) => Verdict::PerRow,
            (false, false) => Verdict::Sound,
        })
    })
}

/// `NULLIF(current_setting('tenantry.organization', true), '')` under casts.
fn is_setting(expr: &Expr) -> bool {
    let Some((name, arguments)) = call(uncast(expr)) else { return false };
    let [setting, empty] = arguments.as_slice() else { return false };
    if name != "nullif" || text(uncast(empty)) != Some("") {
        return false;
    }
    let Some((name, arguments)) = call(uncast(setting)) else { return false };
    let [key, missing_ok] = arguments.as_slice() else { return false };
    let is_true = matches!(
        bare(missing_ok),
        Expr::Value(value) if value.value == Value::Boolean(true)
    );
    matches!(name.as_str(), "current_setting" | "pg_catalog.current_setting")
        && text(uncast(key)) == Some(SETTING)
        && is_true
}

fn call(expr: &Expr) -> Option<(String, Vec<&Expr>)> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    Some((function.name.to_string().to_ascii_lowercase(), arguments.collect::<Option<_>>()?))
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(column) => column.value == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|column| column.value == name),
        _ => false,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match bare(expr) {
        Expr::Cast { expr, .. } => uncast(expr),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};

    #[test]
    fn an_expression_is_sound_only_in_the_form_that_is_known_to_be() {
        let setting = "(NULLIF(current_setting('tenantry.organization'::text, true), ''::text))";
        for (text, verdict) in [
            (format!("(org = ( SELECT {setting}::uuid AS \"nullif\"))"), Verdict::Sound),
            (format!("(org = ( SELECT {setting} AS \"nullif\"))"), Verdict::Sound),
            (format!("(org = {setting}::uuid)"), Verdict::PerRow),
            (format!("({setting} = (org)::text)"), Verdict::Converts),
            (format!("(other = ( SELECT {setting}::uuid))"), Verdict::Unreadable),
            (format!("(org <> ( SELECT {setting}::uuid))"), Verdict::Unreadable),
            (format!("(org = ( SELECT {setting}::uuid FROM t))"), Verdict::Unreadable),
            (format!("((org = ( SELECT {setting}::uuid)) OR true)"), Verdict::FailsOpen),
            (format!("(org = COALESCE({setting}::uuid, org))"), Verdict::FailsOpen),
            (format!("((org = {setting}::uuid) OR ({setting} IS NULL))"), Verdict::FailsOpen),
            ("true".to_owned(), Verdict::FailsOpen),
            ("(org = current_organization())".to_owned(), Verdict::Unreadable),
            (setting.replace("tenantry.", "other."), Verdict::Unreadable),
            ("(org = (current_setting('tenantry.organization'::text))::uuid)".to_owned(), Verdict::Unreadable),
            ("(org = ( SELECT (NULLIF(current_setting('app.org'::text, true), ''::text))::uuid))".to_owned(), Verdict::Unreadable),
        ] {
            assert_eq!(judge(&text, "org"), verdict, "{text}");
        }
    }
}
