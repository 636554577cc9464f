//! The examination of a PostgreSQL database, as the role that will serve scopes.

mod catalog;
mod objects;
mod partitions;
mod policy;
mod rights;
mod role;
mod rows;
mod shape;
mod transport;
mod wall;

use sqlx::postgres::{PgConnectOptions, PgConnection};

use self::catalog::{Catalog, Relation, quoted};
use self::rights::{SearchPath, Server};
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
    let path = SearchPath::read(connection).await?;
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
        return Ok(Examination { report, absent, alone: false });
    }
    let other = schema.roles().cross_tenant_name();
    let catalog = Catalog::read(connection, server, path, other).await?;
    let mut examination = Doctor { schema, catalog: &catalog, findings, alone: true };
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
                for part in catalog.parts(relation) {
                    if definition.tenant_column().is_some() && examination.declared(part).is_none()
                    {
                        let doctor = &mut examination;
                        shape::examine_part(&mut Table { definition, relation: part, doctor });
                    }
                }
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
    let Doctor { mut findings, alone, .. } = examination;
    if let Some(set_up) = look_up(&catalog.path) {
        findings = findings.into_iter().map(|found| found.in_one_transaction(&set_up)).collect();
    }
    Ok(Examination { report: report(findings, accepted, deep), absent, alone })
}

/// Whoever runs a remedy is to reach what the application's role reaches.
fn look_up(path: &SearchPath) -> Option<String> {
    let schemas: Vec<String> = path.schemas().map(quoted).collect();
    (!schemas.is_empty()).then(|| format!("SET LOCAL search_path TO {}", schemas.join(", ")))
}

fn report(findings: Vec<Finding>, accepted: &[Acceptance], deep: bool) -> Report {
    Report::new(findings, accepted, deep, "postgres-")
}

/// The examination under way.
struct Doctor<'a> {
    schema: &'a Schema,
    catalog: &'a Catalog,
    findings: Vec<Finding>,
    alone: bool,
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

    /// The same for a remedy that is not for the owner of the tables.
    fn find_for_superuser(
        &mut self,
        rule: &'static Rule,
        object: impl Into<String>,
        advice: impl Into<String>,
        remedy: Vec<String>,
    ) {
        let finding = Finding::new(rule, object).with_advice(advice).with_caution(SUPERUSER);
        self.findings.push(finding.with_remedy(remedy));
    }

    /// Whether privileges and policies bind the connected role at all.
    fn is_bound(&self) -> bool {
        !self.catalog.role.superuser
    }

    /// Takes every privilege on a relation of ours from the roles, and from those of which they have
    /// some.
    fn revoke_all(&self, relation: &Relation) -> String {
        let roles = self.schema.roles();
        let ours = [roles.application_name(), roles.cross_tenant_name()];
        let others = relation.access.grantees.iter().chain(&relation.across.grantees);
        revoke(relation, ours.into_iter().chain(others.map(String::as_str)))
    }

    /// Takes what the connected role may do with a relation.
    fn revoke_ours(&self, relation: &Relation) -> String {
        let others = relation.access.grantees.iter().map(String::as_str);
        revoke(relation, [self.catalog.role.name.as_str()].into_iter().chain(others))
    }

    /// The declaration of a relation, where the bare name reaches it.
    fn declared(&self, relation: &Relation) -> Option<&'static TableDefinition> {
        self.schema.tables().find(|table| relation.visible && table.name() == relation.name)
    }

    /// Whether a relation, or the table that it is a part of, belongs to organizations.
    fn is_tenant(&self, relation: &Relation) -> bool {
        self.tenant_of(relation).is_some()
    }

    /// The tenant column of a relation, its own or that of the table that it is a part of.
    fn tenant_of(&self, relation: &Relation) -> Option<&'static str> {
        match self.declared(relation).and_then(TableDefinition::tenant_column) {
            Some(tenant) => Some(tenant),
            None => self.catalog.parents(relation).find_map(|parent| self.tenant_of(parent)),
        }
    }

    /// Whether rows of organizations are read through a relation: its own, or those of its parts.
    fn shows_tenants(&self, relation: &Relation) -> bool {
        self.is_tenant(relation)
            || self.catalog.parts(relation).into_iter().any(|part| self.is_tenant(part))
    }

    /// Whether a column is named like the tenant column of a declared table.
    fn names_a_tenant(&self, column: &str) -> bool {
        self.schema.tables().any(|table| table.tenant_column() == Some(column))
    }
}

fn revoke<'r>(relation: &Relation, roles: impl Iterator<Item = &'r str>) -> String {
    let mut from = vec!["PUBLIC".to_owned()];
    for role in roles.map(quoted) {
        if !from.contains(&role) {
            from.push(role);
        }
    }
    format!("REVOKE ALL ON TABLE {} FROM {}", relation.sql(), from.join(", "))
}

const SUPERUSER: &str = "run the remedy as a superuser";

/// A declared table on the examination couch, or a part of one.
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
        format!("{}/{part}", self.relation.object())
    }
}
