//! What a policy lets through.

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem,
    SetExpr, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::id::OrganizationKind;
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
pub(super) fn judge(text: &str, tenant: &str, kind: OrganizationKind) -> Verdict {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr());
    let verdict = parsed.ok().and_then(|expr| equality(&expr, tenant, kind));
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

/// Whether a part of the expression may be looked at when a statement starts, before one that goes by
/// itself has set its organization: PostgreSQL chooses the partitions of a table then, by whatever
/// stands in no sub-select and is the same for the whole statement.
///
/// The declared policy is not. Of others it is enough that they call something on a table with
/// partitions, or read another table, which may have some.
pub(super) fn is_early(text: &str, tenant: &str, kind: OrganizationKind, parted: bool) -> bool {
    let calls = || {
        text.as_bytes().windows(2).any(|pair| {
            let [before, b'('] = pair else { return false };
            before.is_ascii_alphanumeric() || matches!(before, b'_' | b'"')
        })
    };
    let reads = || text.split_whitespace().any(|word| word == "FROM");
    judge(text, tenant, kind) != Verdict::Sound && (parted && calls() || reads())
}

/// `tenant = setting`, in either order.
///
/// INVARIANT: nothing is converted to a type that does not tell all organizations apart. A cast to
/// `char(1)`, `name` or `real` makes one of several.
fn equality(expr: &Expr, tenant: &str, kind: OrganizationKind) -> Option<Verdict> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = bare(expr) else { return None };
    [(left, right), (right, left)].into_iter().find_map(|(column, value)| {
        let (converts, kind) = match as_text(column) {
            Some(column) if is_column(column, tenant) => (true, OrganizationKind::Text),
            _ if is_column(bare(column), tenant) => (false, kind),
            _ => return None,
        };
        let per_row = match bare(value) {
            Expr::Subquery(query) => {
                let SetExpr::Select(select) = query.body.as_ref() else { return None };
                let [
                    item @ (SelectItem::UnnamedExpr(inner)
                    | SelectItem::ExprWithAlias { expr: inner, .. }),
                ] = select.projection.as_slice()
                else {
                    return None;
                };
                // No other clause.
                if query.to_string() != format!("SELECT {item}") || !is_setting(inner, kind) {
                    return None;
                }
                false
            }
            value => is_setting(value, kind).then_some(true)?,
        };
        Some(match (converts, per_row) {
            (true, _) => Verdict::Converts,
            (false, true) => Verdict::PerRow,
            (false, false) => Verdict::Sound,
        })
    })
}

/// `NULLIF(current_setting('tenantry.organization', true), '')` as an organization of this kind.
fn is_setting(expr: &Expr, kind: OrganizationKind) -> bool {
    let value = match (kind, bare(expr)) {
        (OrganizationKind::Text, value) => as_text(value).unwrap_or(value),
        (OrganizationKind::Integer, Expr::Cast { expr, data_type: DataType::BigInt(None), .. })
        | (OrganizationKind::Uuid, Expr::Cast { expr, data_type: DataType::Uuid, .. }) => expr,
        _ => return false,
    };
    let Some((name, arguments)) = call(bare(value)) else { return false };
    let [setting, empty] = arguments.as_slice() else { return false };
    if name != "nullif" || text(empty) != Some("") {
        return false;
    }
    let Some((name, arguments)) = call(bare(setting)) else { return false };
    let [key, missing_ok] = arguments.as_slice() else { return false };
    let is_true = matches!(
        bare(missing_ok),
        Expr::Value(value) if value.value == Value::Boolean(true)
    );
    matches!(name.as_str(), "current_setting" | "pg_catalog.current_setting")
        && text(key) == Some(SETTING)
        && is_true
}

/// What is cast to `text`, where the cast loses nothing: through `varchar` without a length too.
fn as_text(expr: &Expr) -> Option<&Expr> {
    let Expr::Cast { expr, data_type: DataType::Text, .. } = bare(expr) else { return None };
    match bare(expr) {
        Expr::Cast {
            expr,
            data_type: DataType::Varchar(None) | DataType::CharacterVarying(None),
            ..
        } => Some(bare(expr)),
        expr => Some(expr),
    }
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

/// A literal, as itself or as `text`.
fn text(expr: &Expr) -> Option<&str> {
    match as_text(expr).unwrap_or_else(|| bare(expr)) {
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

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};
    use crate::id::OrganizationKind::{Integer, Text, Uuid};

    const SETTING: &str =
        "(NULLIF(current_setting('tenantry.organization'::text, true), ''::text))";

    #[test]
    fn an_expression_is_sound_only_in_the_form_that_is_known_to_be() {
        let setting = SETTING;
        for (text, verdict) in [
            (format!("(org = ( SELECT {setting}::uuid AS \"nullif\"))"), Verdict::Sound),
            (format!("(org = {setting}::uuid)"), Verdict::PerRow),
            (format!("({setting} = (org)::text)"), Verdict::Converts),
            (format!("({setting} = ((org)::character varying)::text)"), Verdict::Converts),
            (format!("(other = ( SELECT {setting}::uuid))"), Verdict::Unreadable),
            (format!("(org <> ( SELECT {setting}::uuid))"), Verdict::Unreadable),
            (format!("(org = ( SELECT {setting}::uuid FROM t))"), Verdict::Unreadable),
            (format!("(org = ( SELECT {setting}::uuid WHERE false))"), Verdict::Unreadable),
            (format!("(org = ( SELECT {setting}::uuid LIMIT 1))"), Verdict::Unreadable),
            (format!("(org = ( SELECT DISTINCT {setting}::uuid))"), Verdict::Unreadable),
            (format!("(org = ( WITH t AS (SELECT 1) SELECT {setting}::uuid))"), Verdict::Unreadable),
            (format!("((org = ( SELECT {setting}::uuid)) OR true)"), Verdict::FailsOpen),
            (format!("(org = COALESCE({setting}::uuid, org))"), Verdict::FailsOpen),
            (format!("((org = {setting}::uuid) OR ({setting} IS NULL))"), Verdict::FailsOpen),
            ("true".to_owned(), Verdict::FailsOpen),
            ("(org = current_organization())".to_owned(), Verdict::Unreadable),
            (setting.replace("tenantry.", "other."), Verdict::Unreadable),
            ("(org = (current_setting('tenantry.organization'::text))::uuid)".to_owned(), Verdict::Unreadable),
            ("(org = ( SELECT (NULLIF(current_setting('app.org'::text, true), ''::text))::uuid))".to_owned(), Verdict::Unreadable),
            ("(org = ( SELECT (NULLIF(public.current_setting('tenantry.organization'::text, true), ''::text))::uuid))".to_owned(), Verdict::Unreadable),
        ] {
            assert_eq!(judge(&text, "org", Uuid), verdict, "{text}");
        }
    }

    #[test]
    fn l18_a_conversion_that_makes_one_organization_of_several_is_not_read_as_a_wall() {
        let setting = SETTING;
        for (kind, text, verdict) in [
            (Text, format!("(org = ( SELECT {setting}))"), Verdict::Sound),
            (Text, format!("(org = ( SELECT ({setting})::text))"), Verdict::Sound),
            (Text, format!("(org = ( SELECT ({setting}::character varying)::text))"), Verdict::Sound),
            (Text, format!("(org = ( SELECT ({setting}::character varying(3))::text))"), Verdict::Unreadable),
            (Text, format!("((org)::name = ( SELECT {setting}::name))"), Verdict::Unreadable),
            (Text, format!("((org)::character(1) = ( SELECT {setting}::character(1)))"), Verdict::Unreadable),
            (Text, format!("(((org)::character varying(3))::text = ( SELECT {setting}))"), Verdict::Unreadable),
            (Text, "(org = ( SELECT NULLIF((current_setting('tenantry.organization'::text, true))::character(1), ''::text)))".to_owned(), Verdict::Unreadable),
            (Uuid, format!("((org)::character(1) = ( SELECT {setting}::character(1)))"), Verdict::Unreadable),
            (Uuid, format!("(org = ( SELECT {setting}))"), Verdict::Unreadable),
            (Integer, format!("(org = ( SELECT {setting}::bigint))"), Verdict::Sound),
            (Integer, format!("(org = ( SELECT ({setting}::real)::bigint))"), Verdict::Unreadable),
            (Integer, format!("((org)::real = ( SELECT {setting}::real))"), Verdict::Unreadable),
            (Integer, format!("((org)::text = ( SELECT ({setting}::bigint)::text))"), Verdict::Unreadable),
        ] {
            assert_eq!(judge(&text, "org", kind), verdict, "{text}");
        }
    }
}
