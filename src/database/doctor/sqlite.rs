//! The examination of a SQLite database.

use sqlx::sqlite::SqliteConnection;

use super::catalog::{Catalog, Settings, Table};
use super::remedies::{self, Rebuild};
use super::report::{Acceptance, Finding, Report};
use super::rules::{self, Rule};
use super::{Examination, columns, indexes, objects, parents_first, references, rows};
use crate::error::Result;
use crate::table::{Schema, TableDefinition, table_statements};

/// Examines the database of `connection` against `schema`; `deep` examines the rows too.
pub(crate) async fn examine(
    connection: &mut SqliteConnection,
    schema: &Schema,
    accepted: &[Acceptance],
    deep: bool,
) -> Result<Examination> {
    let settings = Settings::read(connection).await?;
    let catalog = Catalog::read(connection).await?;
    let mut findings = Vec::new();
    let mut absent = Vec::new();
    for definition in parents_first(schema) {
        let Some(table) = catalog.table(definition.name()) else {
            absent.push(definition);
            let statements =
                table_statements(definition, schema.organization_kind(), &schema.names());
            findings.push(
                Finding::new(&rules::TABLE_ABSENT, definition.name())
                    .with_advice("`create_tables` creates it")
                    .with_remedy(statements),
            );
            continue;
        };
        if table.kind != "table" {
            findings.push(Finding::new(&rules::NOT_A_TABLE, definition.name()).with_advice(format!(
                "`{}` is a {} table or view: declare the table beneath it, or remove it and run `create_tables`",
                table.name, table.kind
            )));
            continue;
        }
        let mut examined =
            Examined { definition, table, schema, catalog: &catalog, drafts: Vec::new() };
        columns::examine(&mut examined);
        indexes::examine(&mut examined);
        references::examine(&mut examined);
        findings.extend(examined.finish(accepted));
        if deep {
            findings.extend(rows::examine_table(connection, definition, table, schema).await?);
        }
    }
    findings.extend(objects::examine(&catalog, schema));
    findings.extend(objects::examine_settings(&settings));
    if deep {
        findings.extend(rows::examine_file(connection).await?);
    }
    Ok(Examination {
        report: Report::new(findings, accepted, deep, "sqlite-"),
        absent,
        #[cfg(feature = "postgres")]
        alone: false,
    })
}

/// A declared table on the examination couch.
pub(super) struct Examined<'a> {
    pub(super) definition: &'static TableDefinition,
    pub(super) table: &'a Table,
    pub(super) schema: &'a Schema,
    pub(super) catalog: &'a Catalog,
    drafts: Vec<Draft>,
}

/// A finding whose remedy depends on the other findings of its table.
struct Draft {
    finding: Finding,
    cure: Cure,
}

/// How a finding is mended.
pub(super) enum Cure {
    /// By the application or by a remedy elsewhere.
    Advice,
    /// By building the table anew.
    Rebuild,
    /// By these statements, or by the rebuild where another finding needs one.
    Statements(Vec<String>),
}

impl Examined<'_> {
    pub(super) fn find(
        &mut self,
        rule: &'static Rule,
        object: impl Into<String>,
        advice: impl Into<String>,
        cure: Cure,
    ) {
        self.draft(Finding::new(rule, object).with_advice(advice), cure);
    }

    pub(super) fn draft(&mut self, finding: Finding, cure: Cure) {
        self.drafts.push(Draft { finding, cure });
    }

    pub(super) fn name(&self) -> &'static str {
        self.definition.name()
    }

    /// `table.column`
    pub(super) fn at(&self, column: &str) -> String {
        format!("{}.{column}", self.name())
    }

    /// `table/index`
    pub(super) fn under(&self, part: &str) -> String {
        format!("{}/{part}", self.name())
    }

    fn finish(self, accepted: &[Acceptance]) -> Vec<Finding> {
        if self.drafts.is_empty() {
            return Vec::new();
        }
        let is_accepted = |finding: &Finding| {
            accepted.iter().any(|acceptance| acceptance.covers(finding.code(), finding.object()))
        };
        let needs_rebuild = self
            .drafts
            .iter()
            .any(|draft| matches!(draft.cure, Cure::Rebuild) && !is_accepted(&draft.finding));
        let Rebuild { statements, caution } =
            remedies::rebuild(self.definition, self.table, self.catalog, self.schema, accepted);
        self.drafts
            .into_iter()
            .map(|Draft { finding, cure }| match cure {
                Cure::Advice => finding,
                Cure::Statements(statements) if !needs_rebuild => finding.with_remedy(statements),
                Cure::Rebuild | Cure::Statements(_) => {
                    finding.with_remedy(statements.clone()).with_caution(caution.clone())
                }
            })
            .collect()
    }
}
