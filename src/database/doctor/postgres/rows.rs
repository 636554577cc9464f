//! What only the rows can show: asked as the cross-tenant role, which sees all of them. The answers
//! are numbers.

use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, Row as _};

use super::catalog::{Relation, quoted};
use super::rules;
use crate::database::doctor::report::Finding;
use crate::database::doctor::seals::{SEALED_LENGTH, SEALED_PREFIX, hidden_seals, may_hide_seals};
use crate::database::{postgres, raw};
use crate::error::{ErrorKind, Result};
use crate::id::OrganizationKind;
use crate::table::postgres::value_check;
use crate::table::{ColumnDefinition, ColumnType, ReferenceDefinition, Schema, TableDefinition};

pub(super) async fn examine(
    connection: &mut PgConnection,
    definition: &'static TableDefinition,
    relation: &Relation,
    schema: &Schema,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let name = definition.name();
    if let Some(tenant) = definition.tenant_column() {
        let condition = organization_condition(&quoted(tenant), schema.organization_kind());
        let rows = count(connection, relation, &condition).await?;
        if rows > 0 {
            let advice = format!(
                "{rows} rows carry no organization of the schema's kind: give them one, or delete them"
            );
            let object = format!("{name}.{tenant}");
            findings.push(Finding::new(&rules::TENANT_VALUE, object).with_advice(advice));
        }
    }
    for column in definition.columns() {
        let rows = count(connection, relation, &value_condition(column)).await?;
        if rows > 0 {
            let advice =
                format!("{rows} rows hold what the declared type cannot: correct them by hand");
            let object = format!("{name}.{}", column.name());
            findings.push(Finding::new(&rules::COLUMN_VALUE, object).with_advice(advice));
        }
        if may_hide_seals(definition, column) {
            let rows = count(connection, relation, &sealed_condition(column)).await?;
            findings.extend(hidden_seals(definition, column, rows));
        }
    }
    for reference in definition.references() {
        let (condition, object) = dangling(definition, reference);
        let rows = count(connection, relation, &condition).await?;
        if rows > 0 {
            let advice = format!(
                "{rows} rows refer to rows of `{}` that their organization does not have: correct or delete them",
                reference.target().name()
            );
            findings.push(Finding::new(&rules::REFERENCE_DANGLING, object).with_advice(advice));
        }
    }
    Ok(findings)
}

/// The rows for which the condition holds; none where it cannot be asked, because a column is
/// absent, of another type or out of the role's reach: that has findings of its own.
async fn count(connection: &mut PgConnection, relation: &Relation, condition: &str) -> Result<i64> {
    let failed = |error: sqlx::Error| postgres::reduce(&error).into_error(None);
    let sql = format!("SELECT count(*) FROM {} AS t WHERE {condition}", relation.sql());
    connection.execute("SAVEPOINT tenantry_0").await.map_err(failed)?;
    let counted = connection
        .fetch_one(sqlx::query(raw::own(sql)).persistent(false))
        .await
        .and_then(|row| row.try_get::<i64, _>(0));
    let end = match &counted {
        Ok(_) => "RELEASE tenantry_0",
        Err(_) => "ROLLBACK TO tenantry_0",
    };
    match counted.map_err(failed) {
        // Of a connection that is lost nothing is to be rolled back.
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
        counted => {
            connection.execute(end).await.map_err(failed)?;
            Ok(counted.unwrap_or(0))
        }
    }
}

/// True of a row whose organization is none.
fn organization_condition(tenant: &str, kind: OrganizationKind) -> String {
    let sound = match kind {
        OrganizationKind::Integer => format!("{tenant} > 0"),
        OrganizationKind::Text => format!(
            "octet_length({tenant}) BETWEEN 1 AND 64 AND {tenant} !~ '[^A-Za-z0-9_.-]' AND {tenant} NOT LIKE '.%' AND {tenant} NOT LIKE '%.'"
        ),
        OrganizationKind::Uuid => format!("{tenant} <> '00000000-0000-0000-0000-000000000000'"),
    };
    format!("({sound}) IS NOT TRUE")
}

/// True of a row whose value the declared type cannot read.
fn value_condition(column: &ColumnDefinition) -> String {
    let name = quoted(column.name());
    let check = value_check(column);
    let sound = match (column.kind(), check) {
        // The server raises an error for what is no JSON, and so does the read.
        (ColumnType::Json, _) | (_, None) => "true".to_owned(),
        (ColumnType::Date, Some(check)) => format!("{check} AND {name} <= '9999-12-31'"),
        (ColumnType::Timestamp, Some(check)) => {
            format!("{check} AND {name} < '10000-01-01 00:00:00+00'")
        }
        (_, Some(check)) => check,
    };
    if column.is_nullable() {
        format!("{name} IS NOT NULL AND ({sound}) IS NOT TRUE")
    } else {
        format!("{name} IS NULL OR ({sound}) IS NOT TRUE")
    }
}

/// True of a row whose value has the beginning and the length of a sealed one.
fn sealed_condition(column: &ColumnDefinition) -> String {
    let (name, prefix) = (quoted(column.name()), hex::encode(SEALED_PREFIX));
    format!(
        "octet_length({name}) >= {SEALED_LENGTH} AND substr({name}, 1, {}) = '\\x{prefix}'::bytea",
        SEALED_PREFIX.len()
    )
}

/// True of a row that refers to no row of its organization; and what that is called.
fn dangling(
    definition: &'static TableDefinition,
    reference: &'static ReferenceDefinition,
) -> (String, String) {
    let target = reference.target();
    let tenants = definition.tenant_column().zip(target.tenant_column());
    let keys = target.key_positions().filter_map(|at| target.column(at));
    let ours = reference.columns().iter().filter_map(|at| definition.column(*at));
    let pairs = ours.map(ColumnDefinition::name).zip(keys.map(ColumnDefinition::name));
    let pairs: Vec<(&str, &str)> = tenants.into_iter().chain(pairs).collect();
    let present: Vec<String> =
        pairs.iter().map(|(ours, _)| format!("t.{} IS NOT NULL", quoted(ours))).collect();
    let equal: Vec<String> = pairs
        .iter()
        .map(|(ours, theirs)| format!("p.{} = t.{}", quoted(theirs), quoted(ours)))
        .collect();
    let condition = format!(
        "{} AND NOT EXISTS (SELECT FROM {} AS p WHERE {})",
        present.join(" AND "),
        quoted(target.name()),
        equal.join(" AND ")
    );
    let ours: Vec<&str> = pairs.iter().map(|(ours, _)| *ours).collect();
    (condition, format!("{}/{}", definition.name(), ours.join(",")))
}
