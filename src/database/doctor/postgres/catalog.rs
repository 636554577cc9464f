//! What PostgreSQL says about a database and the role that is connected: read once, with static
//! statements.

use sqlx::FromRow;
use sqlx::postgres::{PgConnection, PgRow, Postgres};

use super::rights::{Access, Role, SearchPath, Server};
use crate::database::postgres;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) server: Server,
    pub(super) path: SearchPath,
    pub(super) role: Role,
    /// The cross-tenant role, where it exists and is another one.
    pub(super) across: Option<Role>,
    pub(super) relations: Vec<Relation>,
    /// SECURITY DEFINER functions that the role can call, or that a trigger, of an event too,
    /// or an aggregate calls, and their owners.
    pub(super) definer_functions: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: i64,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `r` table, `p` partitioned table, `v` view, `m` materialized view, `f` foreign table.
    pub(super) kind: String,
    pub(super) row_security: bool,
    pub(super) forced: bool,
    pub(super) owner: String,
    /// Whether the bare name reaches this relation.
    pub(super) visible: bool,
    pub(super) invoker: bool,
    /// The tables of which it is a partition or an heir.
    parents: Vec<i64>,
    /// `HASH (organization_id)`, of a partitioned table.
    pub(super) partitioned: Option<String>,
    /// `FOR VALUES WITH (modulus 4, remainder 0)`, of a partition.
    pub(super) bound: Option<String>,
    /// What the connected role may do with it.
    pub(super) access: Access,
    /// What the cross-tenant role may do with it.
    pub(super) across: Access,
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
    /// Whether it takes no NULL.
    pub(super) not_null: bool,
    /// Whether rows from before it took none can hold one: NOT NULL that is NOT VALID.
    pub(super) old_nulls: bool,
    pub(super) default: Option<String>,
    pub(super) identity: bool,
    pub(super) generated: bool,
    /// Generated when it is read, and stored nowhere.
    pub(super) computed: bool,
    /// Whether texts compare bytewise, or the type has no collation.
    pub(super) bytewise: bool,
    /// Whether texts that differ are never equal.
    pub(super) deterministic: bool,
    /// The valid CHECK constraints, which are enforced, that look at this column alone.
    pub(super) checks: Vec<String>,
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
    /// Of an EXCLUDE constraint.
    pub(super) exclusion: bool,
    /// The columns that have to be equal for two rows to exclude each other.
    equal: Vec<String>,
    /// Made for the index of a parent table.
    pub(super) inherited: bool,
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
    /// Whether it is not NOT ENFORCED.
    pub(super) enforced: bool,
    /// Whether a trigger that enforces it is disabled.
    pub(super) disabled: bool,
    /// The unique index of the target on which it relies.
    index: String,
}

#[derive(Debug)]
pub(super) struct Policy {
    relation: i64,
    pub(super) name: String,
    pub(super) permissive: bool,
    /// For every command.
    pub(super) all: bool,
    /// For SELECT, alone or among others.
    pub(super) reads: bool,
    /// For the connected role.
    pub(super) applies: bool,
    /// The roles that it names; empty where it is for everybody.
    pub(super) roles: Vec<String>,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
}

const RELATIONS: &str = "SELECT c.oid::int8 AS oid, n.nspname::text AS namespace, \
    c.relname::text AS name, c.relkind::text AS kind, c.relrowsecurity AS row_security, \
    c.relforcerowsecurity AS forced, pg_get_userbyid(c.relowner)::text AS owner, \
    pg_table_is_visible(c.oid) AS visible, \
    EXISTS (SELECT FROM pg_options_to_table(c.reloptions) \
        WHERE option_name = 'security_invoker' AND option_value::bool) AS invoker, \
    ARRAY(SELECT i.inhparent::int8 FROM pg_inherits AS i WHERE i.inhrelid = c.oid \
        ORDER BY i.inhseqno) AS parents, \
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partitioned, \
    pg_get_expr(c.relpartbound, c.oid) AS bound \
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' \
    AND n.nspname !~ '^pg_(catalog|toast)' ORDER BY n.nspname, c.relname";

/// The collations that the server brings with it (`b`, from 17 on) compare by code points, which
/// is bytewise in UTF-8, the only encoding of all of them but "C".
const COLUMNS: &str = "SELECT a.attrelid::int8 AS relation, a.attname::text AS name, \
    format_type(a.atttypid, a.atttypmod) AS declared, a.attnotnull AS not_null, \
    EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = a.attrelid AND k.contype = 'n' \
        AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated) AS old_nulls, \
    CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS default, \
    a.attidentity <> '' AS identity, a.attgenerated <> '' AS generated, a.attgenerated = 'v' AS computed, \
    a.attcollation = 0 OR o.collname IN ('C', 'POSIX') OR o.collprovider = 'b' \
        OR (o.collname = 'default' AND (SELECT datlocprovider = 'b' \
            OR datlocprovider = 'c' AND datcollate IN ('C', 'POSIX') FROM pg_database \
            WHERE datname = current_database())) AS bytewise, \
    coalesce(o.collisdeterministic, true) AS deterministic, \
    ARRAY(SELECT pg_get_expr(k.conbin, k.conrelid) FROM pg_constraint AS k \
        WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum] \
        AND k.convalidated ORDER BY 1) AS checks \
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
    i.indisexclusion AS exclusion, \
    ARRAY(SELECT a.attname::text FROM pg_constraint AS k \
        CROSS JOIN unnest(k.conkey, k.conexclop) AS x (number, operator) \
        JOIN pg_operator AS o ON o.oid = x.operator AND o.oprname = '=' \
            AND o.oprnamespace = 'pg_catalog'::regnamespace \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = x.number \
        WHERE k.conindid = i.indexrelid AND k.conexclop IS NOT NULL) AS equal, \
    EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = i.indexrelid) AS inherited, \
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

/// `conenforced` is there from 18 on.
const FOREIGN_KEYS: &str = "SELECT k.conrelid::int8 AS relation, k.conname::text AS name, \
    k.confrelid::int8 AS target, \
    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n (n, at) \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n.n ORDER BY n.at) AS ours, \
    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n (n, at) \
        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = n.n ORDER BY n.at) AS theirs, \
    k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, \
    ARRAY(SELECT a.attname::text FROM unnest(coalesce(k.confdelsetcols, k.conkey)) AS n \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n) AS overwrites, \
    k.condeferred AS deferred, k.convalidated AS validated, \
    coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) AS enforced, \
    EXISTS (WITH RECURSIVE part AS (SELECT k.oid UNION ALL \
            SELECT p.oid FROM pg_constraint AS p JOIN part ON p.conparentid = part.oid) \
        SELECT FROM pg_trigger AS t JOIN part ON t.tgconstraint = part.oid \
        WHERE t.tgenabled NOT IN ('O', 'A')) AS disabled, \
    coalesce((SELECT x.relname::text FROM pg_class AS x WHERE x.oid = k.conindid), '') AS index \
    FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2";

const POLICIES: &str = "SELECT p.polrelid::int8 AS relation, p.polname::text AS name, \
    p.polpermissive AS permissive, p.polcmd = '*' AS all, p.polcmd IN ('*', 'r') AS reads, \
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

/// USAGE of the schema is asked for where a name is looked up, not where a view, a default or an
/// operator calls; the functions of an aggregate are called in its owner's name.
const DEFINER_FUNCTIONS: &str = "SELECT p.oid::regprocedure::text, \
    pg_get_userbyid(p.proowner)::text FROM pg_proc AS p \
    JOIN pg_namespace AS n ON n.oid = p.pronamespace \
    WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND p.proowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) \
    AND (has_function_privilege(p.oid, 'EXECUTE') \
    OR EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = p.oid AND NOT t.tgisinternal) \
    OR EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtfoid = p.oid) \
    OR EXISTS (SELECT FROM pg_aggregate AS g WHERE has_function_privilege(g.aggfnoid, 'EXECUTE') \
        AND p.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, \
            g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn))) \
    ORDER BY 1";

/// Reads the columns that are named like the fields; `more` fields are filled later.
macro_rules! from_row {
    ($name:ident { $($field:ident),* $(,)? } $(more $($more:ident),*)?) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $name {
            fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                use sqlx::Row as _;
                Ok(Self {
                    $($field: row.try_get(stringify!($field))?,)*
                    $($($more: Default::default(),)*)?
                })
            }
        }
    };
}

pub(super) use from_row;

from_row!(Relation {
    oid, namespace, name, kind, row_security, forced, owner, visible, invoker, parents, partitioned, bound
} more access, across, columns, indexes, references, policies, rules, reads);
from_row!(Column {
    relation,
    name,
    declared,
    not_null,
    old_nulls,
    default,
    identity,
    generated,
    computed,
    bytewise,
    deterministic,
    checks
});
from_row!(Index {
    relation,
    name,
    unique,
    primary,
    partial,
    valid,
    constraint,
    exclusion,
    equal,
    inherited,
    columns,
    leaky
});
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
    validated,
    enforced,
    disabled,
    index
});
from_row!(Policy { relation, name, permissive, all, reads, applies, roles, using, check });

impl Catalog {
    pub(super) async fn read(
        connection: &mut PgConnection,
        server: Server,
        path: SearchPath,
        across: &str,
    ) -> Result<Self> {
        let role = Role::read(connection, &server.role)
            .await?
            .ok_or_else(|| Error::internal("the server does not know its own role"))?;
        let mut relations: Vec<Relation> = rows(connection, RELATIONS).await?;
        for access in Access::all(connection, &role.name).await? {
            if let Some(relation) = find(&mut relations, access.relation) {
                relation.access = access;
            }
        }
        let across = match across == role.name {
            true => None,
            false => Role::read(connection, across).await?,
        };
        if let Some(across) = &across {
            for access in Access::all(connection, &across.name).await? {
                if let Some(relation) = find(&mut relations, access.relation) {
                    relation.across = access;
                }
            }
        }
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
        Ok(Self {
            definer_functions: rows(connection, DEFINER_FUNCTIONS).await?,
            relations,
            role,
            across,
            path,
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

    /// The tables of which this one is a partition or an heir.
    pub(super) fn parents<'c>(
        &'c self,
        relation: &'c Relation,
    ) -> impl Iterator<Item = &'c Relation> {
        relation.parents.iter().filter_map(|oid| self.by_oid(*oid))
    }

    /// The partitions and heirs of this table, and theirs.
    pub(super) fn parts(&self, relation: &Relation) -> Vec<&Relation> {
        let mut found = vec![relation.oid];
        // A part is seen at the latest one round after its last parent.
        loop {
            let new = self.relations.iter().filter(|part| {
                !found.contains(&part.oid) && part.parents.iter().any(|oid| found.contains(oid))
            });
            let new: Vec<i64> = new.map(|part| part.oid).collect();
            if new.is_empty() {
                break;
            }
            found.extend(new);
        }
        found.iter().skip(1).filter_map(|oid| self.by_oid(*oid)).collect()
    }

    /// The foreign keys that rely on a unique index of this relation, and where they are.
    pub(super) fn relying<'c>(
        &'c self,
        relation: &'c Relation,
        index: &'c Index,
    ) -> impl Iterator<Item = (&'c Relation, &'c ForeignKey)> {
        let all = self
            .relations
            .iter()
            .flat_map(|other| other.references.iter().map(move |reference| (other, reference)));
        all.filter(|(_, key)| key.target == relation.oid && key.index == index.name)
    }

    pub(super) fn children<'c>(&'c self, of: &Relation) -> impl Iterator<Item = &'c Relation> {
        let parent = of.oid;
        self.relations.iter().filter(move |relation| relation.parents.contains(&parent))
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
        self.access.privileges.iter().any(|held| held == privilege)
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

impl Index {
    /// Whether rows of two organizations can stand in each other's way.
    pub(super) fn crosses(&self, tenant: &str) -> bool {
        let compared = if self.exclusion { &self.equal } else { &self.columns };
        (self.unique || self.exclusion) && !compared.iter().any(|column| column == tenant)
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

/// What `sql` says about a role.
pub(super) async fn rows_of<R>(
    connection: &mut PgConnection,
    sql: &'static str,
    role: &str,
) -> Result<Vec<R>>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as::<Postgres, R>(sql)
        .bind(role)
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(|error| postgres::reduce(&error).into_error(None))
}
