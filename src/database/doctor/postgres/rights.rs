//! What PostgreSQL says about the connection, the roles and what they may do.

use sqlx::postgres::PgConnection;

use super::catalog::{from_row, quoted, rows, rows_of};
use crate::database::postgres;
use crate::error::Result;

/// The server, as the connected role finds it.
#[derive(Debug)]
pub(super) struct Server {
    /// `150018` for 15.18.
    pub(super) version: i32,
    pub(super) role: String,
    pub(super) database: String,
    /// What the organization is where nobody has set it.
    pub(super) organization: String,
    /// `origin`, unless foreign keys are not enforced for the role.
    pub(super) replication: String,
}

/// The schemas in which bare names are looked up, in order.
#[derive(Debug)]
pub(super) struct SearchPath(Vec<String>);

/// What a role may do beyond tables.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) superuser: bool,
    pub(super) bypasses: bool,
    /// CREATEROLE or REPLICATION.
    pub(super) administers: bool,
    pub(super) temporary: bool,
    pub(super) creates_schemas: bool,
    pub(super) owns_database: bool,
    /// Whose privileges on the database the role has, PUBLIC and the owner aside.
    pub(super) grantees: Vec<String>,
    pub(super) memberships: Vec<Membership>,
    pub(super) schemas: Vec<Namespace>,
}

/// A role that another one is, besides itself.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) role: String,
    /// SUPERUSER, BYPASSRLS, CREATEROLE, REPLICATION, or a predefined role, which reach past
    /// policies or into other sessions.
    pub(super) exempt: bool,
    /// The tables on which it holds a privilege.
    pub(super) reaches: Vec<i64>,
    /// The roles that were granted, through which it comes about.
    pub(super) via: Vec<String>,
    /// Who granted each, where the server takes a grant back from one grantor at a time.
    pub(super) grantors: Vec<Option<String>>,
}

/// A schema that a role may change.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) owned: bool,
    /// Whose privileges on it the role has, PUBLIC and the owner aside.
    pub(super) grantees: Vec<String>,
}

/// What a role may do with a table.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) relation: i64,
    /// Whether it is a member of the owner.
    pub(super) owned: bool,
    /// On the table or a column of it.
    pub(super) privileges: Vec<String>,
    /// Whose privileges on it the role has, PUBLIC and the owner aside.
    pub(super) grantees: Vec<String>,
}

/// Asked before the path is known: nothing in it depends on the path.
const SEARCH_PATH: &str =
    "SELECT pg_catalog.unnest(pg_catalog.current_schemas(true))::pg_catalog.text";

const SET_SEARCH_PATH: &str = "SELECT pg_catalog.set_config('search_path', $1, true)";

const SERVER: &str = "SELECT current_setting('server_version_num')::int4 AS version, \
    current_user::text AS role, current_database()::text AS database, \
    coalesce(current_setting('tenantry.organization', true), '') AS organization, \
    current_setting('session_replication_role') AS replication";

const ROLE: &str = "SELECT r.rolname::text AS name, r.rolsuper AS superuser, \
    r.rolbypassrls AS bypasses, r.rolcreaterole OR r.rolreplication AS administers, \
    has_database_privilege(r.oid, d.oid, 'TEMPORARY') AS temporary, \
    has_database_privilege(r.oid, d.oid, 'CREATE') AS creates_schemas, \
    pg_has_role(r.oid, d.datdba, 'MEMBER') AS owns_database, \
    ARRAY(SELECT DISTINCT pg_get_userbyid(a.grantee)::text FROM aclexplode(d.datacl) AS a \
        WHERE a.grantee NOT IN (0, d.datdba) AND pg_has_role(r.oid, a.grantee, 'MEMBER') \
        ORDER BY 1) AS grantees \
    FROM pg_roles AS r JOIN pg_database AS d ON d.datname = current_database() \
    WHERE r.rolname = $1";

/// A membership can have several grantors from 16 on. The owner of a database is always a member
/// of `pg_database_owner`.
const MEMBERSHIPS: &str = "SELECT r.rolname::text AS role, r.rolsuper OR r.rolbypassrls \
    OR r.rolcreaterole OR r.rolreplication OR r.rolname ~ '^pg_' AS exempt, \
    ARRAY(SELECT c.oid::int8 FROM pg_class AS c WHERE c.relkind IN ('r', 'p') \
        AND c.relnamespace <> 'pg_catalog'::regnamespace \
        AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, \
            REFERENCES, TRIGGER' || CASE WHEN current_setting('server_version_num')::int4 \
            >= 170000 THEN ', MAINTAIN' ELSE '' END) \
        OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))) \
        AS reaches, \
    ARRAY(SELECT pg_get_userbyid(m.roleid)::text FROM pg_auth_members AS m \
        WHERE m.member = us.oid AND pg_has_role(m.roleid, r.oid, 'MEMBER') \
        ORDER BY m.roleid, m.grantor) AS via, \
    ARRAY(SELECT CASE WHEN current_setting('server_version_num')::int4 >= 160000 \
            THEN pg_get_userbyid(m.grantor)::text END FROM pg_auth_members AS m \
        WHERE m.member = us.oid AND pg_has_role(m.roleid, r.oid, 'MEMBER') \
        ORDER BY m.roleid, m.grantor) AS grantors \
    FROM pg_roles AS us JOIN pg_roles AS r ON r.oid <> us.oid \
        AND pg_has_role(us.oid, r.oid, 'MEMBER') \
    WHERE us.rolname = $1 AND r.rolname <> 'pg_database_owner' ORDER BY 1";

const SCHEMAS: &str = "SELECT n.nspname::text AS name, \
    pg_has_role(r.oid, n.nspowner, 'MEMBER') AS owned, \
    ARRAY(SELECT DISTINCT pg_get_userbyid(a.grantee)::text FROM aclexplode(n.nspacl) AS a \
        WHERE a.grantee NOT IN (0, n.nspowner) AND pg_has_role(r.oid, a.grantee, 'MEMBER') \
        ORDER BY 1) AS grantees \
    FROM pg_roles AS r CROSS JOIN pg_namespace AS n \
    WHERE r.rolname = $1 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND (pg_has_role(r.oid, n.nspowner, 'MEMBER') OR has_schema_privilege(r.oid, n.oid, 'CREATE')) \
    ORDER BY 1";

const ACCESS: &str = "SELECT c.oid::int8 AS relation, \
    pg_has_role(r.oid, c.relowner, 'MEMBER') AS owned, \
    ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', \
        'REFERENCES', 'TRIGGER'] || CASE WHEN current_setting('server_version_num')::int4 \
        >= 170000 THEN ARRAY['MAINTAIN'] END) AS p \
        WHERE has_schema_privilege(r.oid, n.oid, 'USAGE') \
        AND (has_table_privilege(r.oid, c.oid, p) \
        OR (p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') \
        AND has_any_column_privilege(r.oid, c.oid, p)))) AS privileges, \
    ARRAY(SELECT DISTINCT pg_get_userbyid(a.grantee)::text FROM ( \
            SELECT grantee FROM aclexplode(c.relacl) UNION \
            SELECT x.grantee FROM pg_attribute AS t CROSS JOIN aclexplode(t.attacl) AS x \
            WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL) AS a \
        WHERE a.grantee NOT IN (0, c.relowner) AND pg_has_role(r.oid, a.grantee, 'MEMBER') \
        ORDER BY 1) AS grantees \
    FROM pg_roles AS r CROSS JOIN pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE r.rolname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_(catalog|toast)'";

from_row!(Server { version, role, database, organization, replication });
from_row!(Role {
    name, superuser, bypasses, administers, temporary, creates_schemas, owns_database, grantees
} more memberships, schemas);
from_row!(Membership { role, exempt, reaches, via, grantors });
from_row!(Namespace { name, owned, grantees });
from_row!(Access { relation, owned, privileges, grantees });
impl Server {
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Option<Self>> {
        Ok(rows(connection, SERVER).await?.into_iter().next())
    }
}

impl SearchPath {
    /// Reads the path. Where the server's own schema is not in front of it, it is from here to the
    /// end of the transaction: what is read then is the catalogue, and the server writes out the
    /// schema of every other function that is called like one of its own.
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Self> {
        let schemas = rows::<(String,)>(connection, SEARCH_PATH).await?;
        let path = Self(schemas.into_iter().map(|(name,)| name).collect());
        if !path.is_sound() {
            let safe = ["pg_catalog"].into_iter().chain(path.schemas()).map(quoted);
            let safe = safe.collect::<Vec<_>>().join(", ");
            sqlx::query(SET_SEARCH_PATH)
                .bind(safe)
                .persistent(false)
                .execute(connection)
                .await
                .map_err(|error| postgres::reduce(&error).into_error(None))?;
        }
        Ok(path)
    }

    /// Whether names of the server's own things reach them. Functions and operators are never
    /// looked up among temporary objects.
    pub(super) fn is_sound(&self) -> bool {
        let first = self.0.iter().find(|name| !name.starts_with("pg_temp"));
        first.is_some_and(|name| name == "pg_catalog")
    }

    /// Without those of the server and of the session.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &str> {
        let own = |name: &&str| *name != "pg_catalog" && !name.starts_with("pg_temp");
        self.0.iter().map(String::as_str).filter(own)
    }
}

impl Role {
    pub(super) async fn read(connection: &mut PgConnection, name: &str) -> Result<Option<Self>> {
        let Some(mut role) = rows_of::<Self>(connection, ROLE, name).await?.into_iter().next()
        else {
            return Ok(None);
        };
        role.memberships = rows_of(connection, MEMBERSHIPS, name).await?;
        role.schemas = rows_of(connection, SCHEMAS, name).await?;
        Ok(Some(role))
    }
}

impl Access {
    /// What a role may do with every table.
    pub(super) async fn all(connection: &mut PgConnection, role: &str) -> Result<Vec<Self>> {
        rows_of(connection, ACCESS, role).await
    }
}
