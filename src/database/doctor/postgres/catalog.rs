//! What PostgreSQL says about a database and the role that is connected: read once, with static
//! statements.

use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::{FromRow, Row as _};

use super::function::ReadFunction;
use crate::database::postgres;
use crate::error::Result;

/// The server, and what the connected role may do beyond tables.
#[derive(Debug)]
pub(super) struct Server {
    /// `150018` for 15.18.
    pub(super) version: i32,
    pub(super) role: String,
    pub(super) database: String,
    pub(super) superuser: bool,
    pub(super) bypasses: bool,
    /// CREATEROLE or REPLICATION.
    pub(super) administers: bool,
    pub(super) temporary: bool,
    pub(super) creates_schemas: bool,
    /// What the organization is where nobody has set it.
    pub(super) organization: String,
}

#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) server: Server,
    pub(super) memberships: Vec<Membership>,
    /// Roles of the server that are superusers or have BYPASSRLS.
    pub(super) exempt_roles: Vec<String>,
    /// Schemas in which the role may create.
    pub(super) open_schemas: Vec<String>,
    pub(super) relations: Vec<Relation>,
    /// SECURITY DEFINER functions that the role can call, or that a trigger calls, and their
    /// owners.
    pub(super) definer_functions: Vec<(String, String)>,
    pub(super) read_functions: Vec<ReadFunction>,
}

/// A role that the connected one is, besides itself.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) role: String,
    /// SUPERUSER, BYPASSRLS, CREATEROLE, REPLICATION, or a predefined role that reaches past
    /// policies.
    pub(super) exempt: bool,
}

#[derive(Debug)]
pub(super) struct Relation {
    oid: i64,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `r` table, `p` partitioned table, `v` view, `m` materialized view, `f` foreign table.
    pub(super) kind: String,
    pub(super) row_security: bool,
    pub(super) forced: bool,
    pub(super) owner: String,
    /// Whether the connected role is a member of the owner.
    pub(super) owned: bool,
    /// Whether the bare name reaches this relation.
    pub(super) visible: bool,
    pub(super) invoker: bool,
    parent: Option<i64>,
    /// `HASH (organization_id)`, of a partitioned table.
    pub(super) partitioned: Option<String>,
    /// `FOR VALUES WITH (modulus 4, remainder 0)`, of a partition.
    pub(super) bound: Option<String>,
    /// What the connected role may do with the table or a column of it.
    pub(super) privileges: Vec<String>,
    pub(super) columns: Vec<Column>,
    pub(super) indexes: Vec<Index>,
    pub(super) references: Vec<ForeignKey>,
    pub(super) policies: Vec<Policy>,
    pub(super) rules: Vec<String>,
    reads: Vec<i64>,
}

#[derive(Debug)]
pub(super) struct Column {
    relation: i64,
    pub(super) name: String,
    /// As `format_type` writes it.
    pub(super) declared: String,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    pub(super) identity: bool,
    pub(super) generated: bool,
    /// Whether texts compare bytewise, or the type has no collation.
    pub(super) bytewise: bool,
    /// Whether texts that differ are never equal.
    pub(super) deterministic: bool,
    /// Whether a valid CHECK constraint looks at this column alone.
    pub(super) checked: bool,
}

#[derive(Debug)]
pub(super) struct Index {
    relation: i64,
    pub(super) name: String,
    pub(super) unique: bool,
    pub(super) primary: bool,
    pub(super) partial: bool,
    pub(super) valid: bool,
    /// A constraint's; a statement's else.
    pub(super) constraint: bool,
    /// Empty texts stand for expressions.
    pub(super) columns: Vec<String>,
    /// The operators of the index that are not leakproof.
    pub(super) leaky: Vec<String>,
}

#[derive(Debug)]
pub(super) struct ForeignKey {
    relation: i64,
    pub(super) name: String,
    target: i64,
    pub(super) ours: Vec<String>,
    pub(super) theirs: Vec<String>,
    /// `a` nothing, `r` restrict, `c` cascade, `n` set null, `d` set default.
    pub(super) on_delete: String,
    pub(super) on_update: String,
    /// The columns that SET NULL and SET DEFAULT overwrite.
    pub(super) overwrites: Vec<String>,
    pub(super) deferred: bool,
    pub(super) validated: bool,
}

#[derive(Debug)]
pub(super) struct Policy {
    relation: i64,
    pub(super) name: String,
    pub(super) permissive: bool,
    /// For every command.
    pub(super) all: bool,
    /// For the connected role.
    pub(super) applies: bool,
    /// The roles that it names; empty where it is for everybody.
    pub(super) roles: Vec<String>,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
}

const SERVER: &str = "SELECT current_setting('server_version_num')::int4 AS version, \
    r.rolname::text AS role, current_database()::text AS database, r.rolsuper AS superuser, \
    r.rolbypassrls AS bypasses, r.rolcreaterole OR r.rolreplication AS administers, \
    has_database_privilege(current_database(), 'TEMPORARY') AS temporary, \
    has_database_privilege(current_database(), 'CREATE') AS creates_schemas, \
    coalesce(current_setting('tenantry.organization', true), '') AS organization \
    FROM pg_roles AS r WHERE r.rolname = current_user";

const MEMBERSHIPS: &str = "SELECT r.rolname::text AS role, r.rolsuper OR r.rolbypassrls \
    OR r.rolcreaterole OR r.rolreplication OR r.rolname IN ('pg_read_all_data', \
    'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', \
    'pg_execute_server_program') AS exempt \
    FROM pg_roles AS r WHERE r.rolname <> current_user AND pg_has_role(r.oid, 'MEMBER') ORDER BY 1";

const EXEMPT_ROLES: &str = "SELECT rolname::text FROM pg_roles WHERE rolsuper OR rolbypassrls";

const OPEN_SCHEMAS: &str = "SELECT nspname::text FROM pg_namespace \
    WHERE has_schema_privilege(oid, 'CREATE') AND nspname !~ '^pg_' ORDER BY 1";

const RELATIONS: &str = "SELECT c.oid::int8 AS oid, n.nspname::text AS namespace, \
    c.relname::text AS name, c.relkind::text AS kind, c.relrowsecurity AS row_security, \
    c.relforcerowsecurity AS forced, pg_get_userbyid(c.relowner)::text AS owner, \
    pg_has_role(c.relowner, 'MEMBER') AS owned, pg_table_is_visible(c.oid) AS visible, \
    EXISTS (SELECT FROM pg_options_to_table(c.reloptions) \
        WHERE option_name = 'security_invoker' AND option_value::bool) AS invoker, \
    (SELECT min(i.inhparent::int8) FROM pg_inherits AS i WHERE i.inhrelid = c.oid) AS parent, \
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partitioned, \
    pg_get_expr(c.relpartbound, c.oid) AS bound, \
    ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', \
        'REFERENCES', 'TRIGGER']) AS p WHERE has_schema_privilege(n.oid, 'USAGE') \
        AND (has_table_privilege(c.oid, p) OR (p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') \
        AND has_any_column_privilege(c.oid, p)))) AS privileges \
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' \
    AND n.nspname !~ '^pg_(catalog|toast)' ORDER BY n.nspname, c.relname";

const COLUMNS: &str = "SELECT a.attrelid::int8 AS relation, a.attname::text AS name, \
    format_type(a.atttypid, a.atttypmod) AS declared, a.attnotnull AS not_null, \
    CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS default, \
    a.attidentity <> '' AS identity, a.attgenerated <> '' AS generated, \
    a.attcollation = 0 OR o.collname IN ('C', 'POSIX') OR (o.collname = 'default' \
        AND (SELECT datlocprovider = 'c' AND datcollate IN ('C', 'POSIX') FROM pg_database \
        WHERE datname = current_database())) AS bytewise, \
    coalesce(o.collisdeterministic, true) AS deterministic, \
    EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = a.attrelid AND k.contype = 'c' \
        AND k.conkey = ARRAY[a.attnum] AND k.convalidated) AS checked \
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid \
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    LEFT JOIN pg_collation AS o ON o.oid = a.attcollation \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    AND c.relnamespace <> 'pg_catalog'::regnamespace ORDER BY a.attrelid, a.attnum";

const INDEXES: &str = "SELECT i.indrelid::int8 AS relation, x.relname::text AS name, \
    i.indisunique AS unique, i.indisprimary AS primary, i.indpred IS NOT NULL AS partial, \
    i.indisvalid AS valid, \
    EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid \
        AND k.contype IN ('p', 'u', 'x')) AS constraint, \
    ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey) WITH ORDINALITY AS k (n, at) \
        LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.n AND k.n <> 0 \
        WHERE k.at <= i.indnkeyatts ORDER BY k.at) AS columns, \
    ARRAY(SELECT DISTINCT m.amopopr::regoperator::text FROM unnest(i.indclass) AS o (class) \
        JOIN pg_opclass AS c ON c.oid = o.class \
        JOIN pg_amop AS m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype \
        JOIN pg_operator AS p ON p.oid = m.amopopr \
        JOIN pg_proc AS f ON f.oid = p.oprcode \
        WHERE NOT f.proleakproof \
        AND (m.amoprighttype = c.opcintype OR c.opcmethod <> 403) ORDER BY 1) AS leaky \
    FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid \
    WHERE x.relnamespace <> 'pg_catalog'::regnamespace ORDER BY i.indrelid, x.relname";

const FOREIGN_KEYS: &str = "SELECT k.conrelid::int8 AS relation, k.conname::text AS name, \
    k.confrelid::int8 AS target, \
    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n (n, at) \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n.n ORDER BY n.at) AS ours, \
    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n (n, at) \
        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = n.n ORDER BY n.at) AS theirs, \
    k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, \
    ARRAY(SELECT a.attname::text FROM unnest(coalesce(k.confdelsetcols, k.conkey)) AS n \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n) AS overwrites, \
    k.condeferred AS deferred, k.convalidated AS validated \
    FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2";

const POLICIES: &str = "SELECT p.polrelid::int8 AS relation, p.polname::text AS name, \
    p.polpermissive AS permissive, p.polcmd = '*' AS all, \
    0 = ANY (p.polroles) OR EXISTS (SELECT FROM pg_roles AS r \
        WHERE r.oid = ANY (p.polroles) AND pg_has_role(r.oid, 'USAGE')) AS applies, \
    ARRAY(SELECT rolname::text FROM pg_roles WHERE oid = ANY (p.polroles)) AS roles, \
    pg_get_expr(p.polqual, p.polrelid) AS using, \
    pg_get_expr(p.polwithcheck, p.polrelid) AS check \
    FROM pg_policy AS p ORDER BY 1, 2";

const RULES: &str = "SELECT ev_class::int8, rulename::text FROM pg_rewrite \
    WHERE rulename <> '_RETURN' ORDER BY 1, 2";

const READS: &str = "SELECT DISTINCT r.ev_class::int8, d.refobjid::int8 FROM pg_rewrite AS r \
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class ORDER BY 1, 2";

const DEFINER_FUNCTIONS: &str = "SELECT p.oid::regprocedure::text, \
    pg_get_userbyid(p.proowner)::text FROM pg_proc AS p \
    JOIN pg_namespace AS n ON n.oid = p.pronamespace \
    WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND p.proowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) \
    AND ((has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE')) \
    OR EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = p.oid AND NOT t.tgisinternal)) \
    ORDER BY 1";

/// Reads the columns that are named like the fields; `more` fields are filled later.
macro_rules! from_row {
    ($name:ident { $($field:ident),* } $(more $($more:ident),*)?) => {
        impl FromRow<'_, PgRow> for $name {
            fn from_row(row: &PgRow) -> sqlx::Result<Self> {
                Ok(Self {
                    $($field: row.try_get(stringify!($field))?,)*
                    $($($more: Vec::new(),)*)?
                })
            }
        }
    };
}

from_row!(Server {
    version,
    role,
    database,
    superuser,
    bypasses,
    administers,
    temporary,
    creates_schemas,
    organization
});
from_row!(Membership { role, exempt });
from_row!(Relation {
    oid, namespace, name, kind, row_security, forced, owner, owned, visible, invoker, parent, partitioned, bound, privileges
} more columns, indexes, references, policies, rules, reads);
from_row!(Column {
    relation,
    name,
    declared,
    not_null,
    default,
    identity,
    generated,
    bytewise,
    deterministic,
    checked
});
from_row!(Index { relation, name, unique, primary, partial, valid, constraint, columns, leaky });
from_row!(ForeignKey {
    relation,
    name,
    target,
    ours,
    theirs,
    on_delete,
    on_update,
    overwrites,
    deferred,
    validated
});
from_row!(Policy { relation, name, permissive, all, applies, roles, using, check });

impl Server {
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Option<Self>> {
        Ok(rows(connection, SERVER).await?.into_iter().next())
    }
}

impl Catalog {
    pub(super) async fn read(connection: &mut PgConnection, server: Server) -> Result<Self> {
        let mut relations: Vec<Relation> = rows(connection, RELATIONS).await?;
        for column in rows::<Column>(connection, COLUMNS).await? {
            if let Some(relation) = find(&mut relations, column.relation) {
                relation.columns.push(column);
            }
        }
        for index in rows::<Index>(connection, INDEXES).await? {
            if let Some(relation) = find(&mut relations, index.relation) {
                relation.indexes.push(index);
            }
        }
        for reference in rows::<ForeignKey>(connection, FOREIGN_KEYS).await? {
            if let Some(relation) = find(&mut relations, reference.relation) {
                relation.references.push(reference);
            }
        }
        for policy in rows::<Policy>(connection, POLICIES).await? {
            if let Some(relation) = find(&mut relations, policy.relation) {
                relation.policies.push(policy);
            }
        }
        for (relation, rule) in rows::<(i64, String)>(connection, RULES).await? {
            if let Some(relation) = find(&mut relations, relation) {
                relation.rules.push(rule);
            }
        }
        for (view, read) in rows::<(i64, i64)>(connection, READS).await? {
            if let Some(relation) = find(&mut relations, view) {
                relation.reads.push(read);
            }
        }
        let open = rows::<(String,)>(connection, OPEN_SCHEMAS).await?;
        let exempt = rows::<(String,)>(connection, EXEMPT_ROLES).await?;
        Ok(Self {
            memberships: rows(connection, MEMBERSHIPS).await?,
            exempt_roles: exempt.into_iter().map(|(name,)| name).collect(),
            open_schemas: open.into_iter().map(|(name,)| name).collect(),
            definer_functions: rows(connection, DEFINER_FUNCTIONS).await?,
            read_functions: ReadFunction::all(connection).await?,
            relations,
            server,
        })
    }

    /// What the bare name reaches.
    pub(super) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.visible && relation.name == name)
    }

    pub(super) fn target(&self, reference: &ForeignKey) -> Option<&Relation> {
        self.by_oid(reference.target)
    }

    /// The table of which this one is a partition or an heir.
    pub(super) fn parent(&self, relation: &Relation) -> Option<&Relation> {
        relation.parent.and_then(|oid| self.by_oid(oid))
    }

    pub(super) fn children<'c>(&'c self, of: &Relation) -> impl Iterator<Item = &'c Relation> {
        let parent = Some(of.oid);
        self.relations.iter().filter(move |relation| relation.parent == parent)
    }

    /// The tables that a view reads, itself or through other views.
    pub(super) fn read_by<'c>(&'c self, view: &'c Relation) -> Vec<&'c Relation> {
        let mut seen: Vec<i64> = Vec::new();
        let mut waiting = view.reads.clone();
        while let Some(oid) = waiting.pop() {
            if !seen.contains(&oid) {
                seen.push(oid);
                waiting.extend(self.by_oid(oid).iter().flat_map(|relation| relation.reads.iter()));
            }
        }
        seen.into_iter().filter_map(|oid| self.by_oid(oid)).collect()
    }

    fn by_oid(&self, oid: i64) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }
}

impl Relation {
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p")
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(super) fn primary(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.primary)
    }

    pub(super) fn may(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|held| held == privilege)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.oid == other.oid
    }

    /// `"namespace"."name"`
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.namespace), quoted(&self.name))
    }

    /// As findings name it: with its schema where the bare name does not reach it.
    pub(super) fn object(&self) -> String {
        if self.visible { self.name.clone() } else { format!("{}.{}", self.namespace, self.name) }
    }
}

fn find(relations: &mut [Relation], oid: i64) -> Option<&mut Relation> {
    relations.iter_mut().find(|relation| relation.oid == oid)
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) async fn rows<R>(connection: &mut PgConnection, sql: &'static str) -> Result<Vec<R>>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as::<Postgres, R>(sql)
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(|error| postgres::reduce(&error).into_error(None))
}
