//! The function through which reads outside of a transaction go: one that is not as it was created is
//! not called.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row as _};

use super::catalog::{Catalog, quoted, rows};
use super::{Doctor, rules};
use crate::error::Result;
use crate::table::Schema;
use crate::table::postgres::read::{self, READ};

/// A function of the name.
#[derive(Debug)]
pub(super) struct ReadFunction {
    namespace: String,
    /// As the server names it in statements.
    signature: String,
    owner: String,
    /// Whether it has the arguments, the result and the words that it was created with, and runs
    /// with the rights and in the schema that it was created with.
    intact: bool,
    /// Whom it was granted to, besides its owner.
    grantees: Vec<String>,
}

impl FromRow<'_, PgRow> for ReadFunction {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let text = |name: &str| row.try_get::<String, _>(name);
        let (body, arguments) = (text("body")?, text("arguments")?);
        let is_ours = body == read::BODY && arguments == read::arguments();
        Ok(Self {
            namespace: text("namespace")?,
            signature: text("signature")?,
            owner: text("owner")?,
            intact: is_ours && text("result")? == read::RESULT && row.try_get("plain")?,
            grantees: row.try_get("grantees")?,
        })
    }
}

const FUNCTIONS: &str = "SELECT n.nspname::text AS namespace, p.oid::regprocedure::text AS signature, \
    pg_get_userbyid(p.proowner)::text AS owner, p.prosrc AS body, \
    pg_get_function_arguments(p.oid) AS arguments, coalesce(pg_get_function_result(p.oid), '') AS result, \
    p.prokind = 'f' AND l.lanname = 'plpgsql' AND NOT p.prosecdef AND NOT p.proisstrict \
    AND NOT p.proleakproof AND p.provolatile = 'v' \
    AND coalesce(p.proconfig, '{}') = ARRAY['search_path=' || quote_ident(n.nspname) \
        || ', pg_temp'] AS plain, \
    ARRAY(SELECT coalesce(r.rolname::text, 'PUBLIC') \
        FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a \
        LEFT JOIN pg_roles AS r ON r.oid = a.grantee \
        WHERE a.grantee <> p.proowner ORDER BY 1) AS grantees \
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
    JOIN pg_language AS l ON l.oid = p.prolang \
    WHERE p.proname = 'tenantry_read' AND n.nspname = current_schema() ORDER BY 2";

impl ReadFunction {
    pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Self>> {
        rows(connection, FUNCTIONS).await
    }

    /// What is wrong with it.
    fn problem(&self, schema: &Schema, owners: &[&str]) -> Option<String> {
        let (app, owner) = (schema.roles().application_name(), self.owner.as_str());
        if !self.intact {
            return Some("it is not as it was created".to_owned());
        }
        if owner != schema.roles().owner_name() && !owners.contains(&owner) {
            return Some(format!("`{owner}`, who owns none of the tables, can alter it"));
        }
        let mut others = self.grantees.iter().filter(|grantee| *grantee != app);
        if let Some(other) = others.next() {
            return Some(format!("`{other}` can call it too"));
        }
        (self.grantees.is_empty()).then(|| format!("`{app}` cannot call it"))
    }
}

/// Answers the function's name in statements, where reads may go through it.
pub(super) fn examine(doctor: &mut Doctor<'_>) -> Option<String> {
    let (catalog, roles) = (doctor.catalog, doctor.schema.roles());
    let owners = owners(doctor, catalog);
    let owner = owners.first().copied().unwrap_or_else(|| roles.owner_name()).to_owned();
    let build = || vec![read::create(roles), read::give(&owner)];
    let functions = &catalog.read_functions;
    let [function] = functions.as_slice() else {
        if functions.is_empty() {
            let advice = "reads take the transaction; the remedy creates the function";
            doctor.find(&rules::PG_READ_ABSENT, READ, advice, build());
        } else {
            let drop = |f: &ReadFunction| format!("DROP FUNCTION {}", f.signature);
            let remedy = functions.iter().map(drop).chain(build()).collect();
            let advice = "several functions have its name; the remedy leaves one";
            doctor.find(&rules::PG_READ_ALTERED, READ, advice, remedy);
        }
        return None;
    };
    if let Some(problem) = function.problem(doctor.schema, &owners) {
        let advice = format!("{problem}: reads take the transaction; the remedy creates it anew");
        let remedy =
            [format!("DROP FUNCTION {}", function.signature)].into_iter().chain(build()).collect();
        doctor.find(&rules::PG_READ_ALTERED, READ, advice, remedy);
        return None;
    }
    Some(format!("{}.{READ}", quoted(&function.namespace)))
}

/// Who owns the declared tables, as they should be: not the connected role.
fn owners<'c>(doctor: &Doctor<'_>, catalog: &'c Catalog) -> Vec<&'c str> {
    let declared = doctor.schema.tables().filter_map(|table| catalog.relation(table.name()));
    declared
        .filter(|relation| !relation.access.owned)
        .map(|relation| relation.owner.as_str())
        .collect()
}
