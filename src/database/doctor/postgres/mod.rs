//! The examination of a PostgreSQL database, as the role that will serve scopes.

mod catalog;
mod function;
mod objects;
mod partitions;
mod policy;
mod role;
mod rows;
mod shape;
mod transport;
mod wall;

use sqlx::postgres::{PgConnectOptions, PgConnection};

use self::catalog::{Catalog, Relation, Server};
use super::report::{Acceptance, Finding, Report};
use super::rules::{self, Rule};
use super::{Examination, parents_first};
use crate::error::{Error, Result};
use crate::table::{Dialect, Schema, TableDefinition};

/// Examines the database of `connection`, whose role is the one that serves scopes, outside of a
/// transaction.
///
/// It reads the catalogue; and the rows as the cross-tenant role, for they are behind the wall,
/// where there is a connection of that role.
pub(crate) async fn examine(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    mut across: Option<&mut PgConnection>,
    schema: &Schema,
    accepted: &[Acceptance],
) -> Result<Examination> {
    let server = Server::read(connection)
        .await?
        .ok_or_else(|| Error::internal("the server does not know its own role"))?;
    let mut findings = Vec::new();
    findings.extend(transport::examine(options));
    role::examine_server(&server, &mut findings);
    if findings.iter().any(|finding: &Finding| finding.code() == rules::PG_SERVER_OLD.code) {
        // The catalogue of an older server lacks what is asked next.
        let absent = schema.tables().collect();
        let report = report(findings, accepted, false);
        return Ok(Examination { report, absent, read: None });
    }
    let catalog = Catalog::read(connection, server).await?;
    let mut examination = Doctor { schema, catalog: &catalog, findings };
    role::examine(&mut examination);
    let mut absent = Vec::new();
    for definition in parents_first(schema) {
        match catalog.relation(definition.name()) {
            None => absent.push(definition),
            Some(relation) if !relation.is_table() => {
                let advice = format!(
                    "`{}` is no table: declare the table beneath it, or remove it and run `create_tables`",
                    definition.name()
                );
                examination.find(&rules::PG_NOT_A_TABLE, definition.name(), advice, Vec::new());
            }
            Some(relation) => {
                let mut table = Table { definition, relation, doctor: &mut examination };
                wall::examine(&mut table);
                shape::examine(&mut table);
                partitions::examine(&mut table);
            }
        }
    }
    if !absent.is_empty() {
        let statements = schema.missing_ddl(Dialect::Postgres, |name| {
            !absent.iter().any(|table| table.name() == name)
        })?;
        for table in &absent {
            let advice = "`create_tables` creates it";
            examination.find(&rules::TABLE_ABSENT, table.name(), advice, statements.clone());
        }
    }
    objects::examine(&mut examination);
    let read = function::examine(&mut examination);
    let deep = across.is_some();
    if let Some(across) = &mut across {
        for definition in schema.tables() {
            let relation = catalog.relation(definition.name());
            if let Some(relation) = relation.filter(|relation| relation.is_table()) {
                let found = rows::examine(across, definition, relation, schema).await?;
                examination.findings.extend(found);
            }
        }
    }
    Ok(Examination { report: report(examination.findings, accepted, deep), absent, read })
}

fn report(findings: Vec<Finding>, accepted: &[Acceptance], deep: bool) -> Report {
    Report::new(findings, accepted, deep, "postgres-")
}

/// The examination under way.
struct Doctor<'a> {
    schema: &'a Schema,
    catalog: &'a Catalog,
    findings: Vec<Finding>,
}

impl Doctor<'_> {
    fn find(
        &mut self,
        rule: &'static Rule,
        object: impl Into<String>,
        advice: impl Into<String>,
        remedy: Vec<String>,
    ) {
        self.findings.push(Finding::new(rule, object).with_advice(advice).with_remedy(remedy));
    }

    /// Whether privileges and policies bind the connected role at all.
    fn is_bound(&self) -> bool {
        !self.catalog.server.superuser
    }

    /// The declaration of a relation, where the bare name reaches it.
    fn declared(&self, relation: &Relation) -> Option<&'static TableDefinition> {
        self.schema.tables().find(|table| relation.visible && table.name() == relation.name)
    }

    /// Whether a relation, or the table that it is a part of, belongs to organizations.
    fn is_tenant(&self, relation: &Relation) -> bool {
        let declared = self.declared(relation).is_some_and(|table| table.tenant_column().is_some());
        declared || self.catalog.parent(relation).is_some_and(|parent| self.is_tenant(parent))
    }

    /// Whether a column is named like the tenant column of a declared table.
    fn names_a_tenant(&self, column: &str) -> bool {
        self.schema.tables().any(|table| table.tenant_column() == Some(column))
    }
}

/// A declared table on the examination couch.
struct Table<'a, 'd> {
    definition: &'static TableDefinition,
    relation: &'a Relation,
    doctor: &'a mut Doctor<'d>,
}

impl Table<'_, '_> {
    fn find(
        &mut self,
        rule: &'static Rule,
        object: impl Into<String>,
        advice: impl Into<String>,
        remedy: Vec<String>,
    ) {
        self.doctor.find(rule, object, advice, remedy);
    }

    fn name(&self) -> &'static str {
        self.definition.name()
    }

    /// `table.column`
    fn at(&self, column: &str) -> String {
        format!("{}.{column}", self.name())
    }

    /// `table/index`
    fn under(&self, part: &str) -> String {
        format!("{}/{part}", self.name())
    }
}
