//! What only the rows can show.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::catalog::{self, Table};
use super::references;
use super::remedies::quoted;
use super::report::Finding;
use super::rules;
use super::seals::{SEALED_LENGTH, SEALED_PREFIX, hidden_seals, may_hide_seals};
use crate::database::{raw, sqlite};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationKind;
use crate::table::{ColumnDefinition, ColumnType, Schema, TableDefinition};

/// Messages of the integrity check that are listed.
const MESSAGES: usize = 20;

/// Values of the rows of one declared table.
pub(super) async fn examine_table(
    connection: &mut SqliteConnection,
    definition: &'static TableDefinition,
    table: &Table,
    schema: &Schema,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let name = definition.name();
    if let Some(tenant) = definition.tenant_column().filter(|tenant| table.column(tenant).is_some())
    {
        let condition = organization_condition(&quoted(tenant), schema.organization_kind());
        let rows = count(connection, name, &condition).await?;
        if rows > 0 {
            findings.push(Finding::new(&rules::TENANT_VALUE, format!("{name}.{tenant}")).with_advice(
                format!("{rows} rows carry no organization of the schema's kind: give them one, or delete them"),
            ));
        }
    }
    for column in definition.columns() {
        if table.column(column.name()).is_none() {
            continue;
        }
        let rows = count(connection, name, &value_condition(column)).await?;
        if rows > 0 {
            let object = format!("{name}.{}", column.name());
            findings.push(Finding::new(&rules::COLUMN_VALUE, object).with_advice(format!(
                "{rows} rows hold what the declared type cannot: correct them by hand, or rebuild the table where the column has another storage"
            )));
        }
        if may_hide_seals(definition, column) {
            let rows = count(connection, name, &sealed_condition(column)).await?;
            findings.extend(hidden_seals(definition, column, rows));
        }
    }
    for reference in definition.references() {
        let target = reference.target();
        let pairs = references::pairs(definition, reference);
        let complete = pairs.iter().all(|(ours, _)| table.column(ours).is_some());
        let Some(condition) = dangling_condition(target, &pairs).filter(|_| complete) else {
            continue;
        };
        // A target that lacks a column, or does not exist, has findings of its own.
        let Ok(rows) = count(connection, name, &condition).await else { continue };
        if rows > 0 {
            let ours: Vec<&str> = pairs.iter().map(|(ours, _)| *ours).collect();
            let object = format!("{name}/{}", ours.join(","));
            findings.push(Finding::new(&rules::REFERENCE_DANGLING, object).with_advice(format!(
                "{rows} rows refer to rows of `{}` that their organization does not have: correct or delete them",
                target.name()
            )));
        }
    }
    Ok(findings)
}

/// The file as a whole. A file too damaged to be checked has that for a finding.
pub(super) async fn examine_file(connection: &mut SqliteConnection) -> Result<Vec<Finding>> {
    let messages: Vec<String> =
        match catalog::rows::<(String,)>(connection, "PRAGMA integrity_check(20)").await {
            Ok(rows) => rows
                .into_iter()
                .map(|(message,)| message)
                .filter(|message| message != "ok")
                .collect(),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                vec!["the check itself failed".to_owned()]
            }
            Err(error) => return Err(error),
        };
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let more = if messages.len() >= MESSAGES { " and more" } else { "" };
    Ok(vec![
        Finding::new(&rules::INTEGRITY, "main")
            .with_advice(format!(
                "the store reports: {}{more}; where indexes alone are damaged the remedy mends it, else restore a backup",
                messages.join(", ")
            ))
            .with_remedy(vec!["REINDEX".to_owned(), "PRAGMA integrity_check".to_owned()]),
    ])
}

async fn count(connection: &mut SqliteConnection, table: &str, condition: &str) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM main.{} AS t WHERE {condition}", quoted(table));
    let query = sqlite::query(raw::own(sql), SqliteArguments::default());
    let row = sqlite::first(connection, query).await.map_err(|fault| fault.into_error(None))?;
    row.and_then(|row| row.integer(0).ok())
        .ok_or_else(|| Error::internal("a count of the doctor has no row"))
}

/// True of a row whose organization is none.
fn organization_condition(tenant: &str, kind: OrganizationKind) -> String {
    let sound = match kind {
        OrganizationKind::Integer => format!("typeof({tenant}) = 'integer' AND {tenant} > 0"),
        OrganizationKind::Text => format!(
            "typeof({tenant}) = 'text' AND length(CAST({tenant} AS BLOB)) BETWEEN 1 AND 64 AND {tenant} NOT GLOB '*[^A-Za-z0-9_.-]*' AND {tenant} NOT GLOB '.*' AND {tenant} NOT GLOB '*.'"
        ),
        OrganizationKind::Uuid => {
            format!(
                "typeof({tenant}) = 'blob' AND length({tenant}) = 16 AND {tenant} <> zeroblob(16)"
            )
        }
    };
    format!("({sound}) IS NOT TRUE")
}

/// True of a row whose value the declared type cannot read.
fn value_condition(column: &ColumnDefinition) -> String {
    let name = quoted(column.name());
    let typed = |class: &str, condition: &str| format!("typeof({name}) = '{class}'{condition}");
    let sound = match column.kind() {
        ColumnType::Bool => typed("integer", &format!(" AND {name} IN (0, 1)")),
        ColumnType::Bytes => typed("blob", ""),
        ColumnType::Date | ColumnType::I32 => {
            typed("integer", &format!(" AND {name} BETWEEN {} AND {}", i32::MIN, i32::MAX))
        }
        ColumnType::Decimal | ColumnType::I64 | ColumnType::Timestamp => typed("integer", ""),
        ColumnType::Enum(variants) => {
            let variants: Vec<String> = variants
                .iter()
                .map(|variant| format!("'{}'", variant.replace('\'', "''")))
                .collect();
            typed("text", &format!(" AND {name} IN ({})", variants.join(", ")))
        }
        ColumnType::F64 => typed("real", ""),
        ColumnType::I16 => {
            typed("integer", &format!(" AND {name} BETWEEN {} AND {}", i16::MIN, i16::MAX))
        }
        ColumnType::Json => typed("text", &format!(" AND json_valid({name})")),
        ColumnType::Text => typed("text", &format!(" AND instr({name}, char(0)) = 0")),
        ColumnType::Uuid => typed("blob", &format!(" AND length({name}) = 16")),
    };
    let null =
        if column.is_nullable() { format!("{name} IS NOT NULL AND ") } else { String::new() };
    format!("{null}({sound}) IS NOT TRUE")
}

/// True of a row whose value has the beginning and the length of a sealed one.
fn sealed_condition(column: &ColumnDefinition) -> String {
    let (name, prefix) = (quoted(column.name()), hex::encode(SEALED_PREFIX));
    format!(
        "typeof({name}) = 'blob' AND length({name}) >= {SEALED_LENGTH} AND substr({name}, 1, {}) = x'{prefix}'",
        SEALED_PREFIX.len()
    )
}

/// True of a row that refers to no row of its organization.
fn dangling_condition(target: &TableDefinition, pairs: &[(&str, &str)]) -> Option<String> {
    let (equal, present): (Vec<String>, Vec<String>) = pairs
        .iter()
        .map(|(ours, theirs)| {
            let ours = quoted(ours);
            (format!("p.{} = t.{ours}", quoted(theirs)), format!("t.{ours} IS NOT NULL"))
        })
        .unzip();
    (!equal.is_empty()).then(|| {
        format!(
            "{} AND NOT EXISTS (SELECT 1 FROM main.{} AS p WHERE {})",
            present.join(" AND "),
            quoted(target.name()),
            equal.join(" AND ")
        )
    })
}
