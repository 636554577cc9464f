//! What SQLite says about a database: read once, with static statements.

use sqlx::sqlite::{Sqlite, SqliteConnection};

use super::statement::TableText;
use crate::database::fault;
use crate::error::Result;

/// The objects of a database file and of the connection.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) tables: Vec<Table>,
    /// Triggers and views.
    pub(super) programs: Vec<Program>,
    /// Objects of the connection and of attached databases.
    pub(super) elsewhere: Vec<Elsewhere>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// `table`, `view`, `virtual` or `shadow`.
    pub(super) kind: String,
    pub(super) without_rowid: bool,
    pub(super) strict: bool,
    pub(super) sql: String,
    /// `None` where the definition does not say what the catalogue says.
    pub(super) text: Option<TableText>,
    pub(super) columns: Vec<Column>,
    pub(super) indexes: Vec<Index>,
    pub(super) references: Vec<ForeignKey>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) declared: String,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    /// Position in the primary key, from 1; 0 for none.
    pub(super) key: i64,
    /// Generated, or hidden by a virtual table.
    pub(super) computed: bool,
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) unique: bool,
    pub(super) origin: Origin,
    pub(super) partial: bool,
    pub(super) columns: Vec<IndexColumn>,
    /// Of an index that a statement created.
    pub(super) sql: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Constraint,
    Key,
    Statement,
}

#[derive(Debug)]
pub(super) struct IndexColumn {
    /// `None` for an expression.
    pub(super) name: Option<String>,
    pub(super) collation: String,
}

#[derive(Debug)]
pub(super) struct ForeignKey {
    id: i64,
    pub(super) target: String,
    /// Ours and theirs.
    pub(super) pairs: Vec<(String, String)>,
    pub(super) on_update: String,
    pub(super) on_delete: String,
}

#[derive(Debug)]
pub(super) struct Program {
    /// `trigger` or `view`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
    pub(super) sql: String,
    pub(super) temporary: bool,
}

#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: String,
}

/// The settings of the connection that decide what a statement means.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) foreign_keys: bool,
    pub(super) trusted_schema: bool,
    pub(super) ignore_check_constraints: bool,
    pub(super) writable_schema: bool,
}

const TABLES: &str = "SELECT name, type, wr, strict FROM pragma_table_list \
    WHERE schema = 'main' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name";

const COLUMNS: &str = "SELECT t.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk, c.hidden \
    FROM pragma_table_list AS t CROSS JOIN pragma_table_xinfo(t.name, 'main') AS c \
    WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, c.cid";

const INDEXES: &str = "SELECT t.name, i.name, i.\"unique\", i.origin, i.partial, x.name, x.coll \
    FROM pragma_table_list AS t CROSS JOIN pragma_index_list(t.name, 'main') AS i \
    CROSS JOIN pragma_index_xinfo(i.name, 'main') AS x \
    WHERE t.schema = 'main' AND t.type = 'table' AND x.key = 1 \
    ORDER BY t.name, i.seq DESC, x.seqno";

const FOREIGN_KEYS: &str = "SELECT t.name, f.id, f.\"table\", f.\"from\", f.\"to\", f.seq, \
    f.on_update, f.on_delete \
    FROM pragma_table_list AS t CROSS JOIN pragma_foreign_key_list(t.name, 'main') AS f \
    WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, f.id, f.seq";

const STATEMENTS: &str = "SELECT type, name, tbl_name, coalesce(sql, ''), 0 FROM main.sqlite_schema \
    WHERE type <> 'index' OR sql IS NOT NULL \
    UNION ALL SELECT type, name, tbl_name, coalesce(sql, ''), 1 FROM temp.sqlite_schema \
    WHERE type IN ('trigger', 'view')";

const ELSEWHERE: &str = "SELECT schema, name, type FROM pragma_table_list \
    WHERE schema <> 'main' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY schema, name";

impl Catalog {
    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self> {
        let mut tables: Vec<Table> = rows::<(String, String, i64, i64)>(connection, TABLES)
            .await?
            .into_iter()
            .map(|(name, kind, without_rowid, strict)| Table {
                name,
                kind,
                without_rowid: without_rowid != 0,
                strict: strict != 0,
                sql: String::new(),
                text: None,
                columns: Vec::new(),
                indexes: Vec::new(),
                references: Vec::new(),
            })
            .collect();
        type ColumnRow = (String, String, String, i64, Option<String>, i64, i64);
        for (table, name, declared, not_null, default, key, hidden) in
            rows::<ColumnRow>(connection, COLUMNS).await?
        {
            if let Some(table) = find(&mut tables, &table) {
                let column = Column {
                    name,
                    declared,
                    not_null: not_null != 0,
                    default,
                    key,
                    computed: hidden != 0,
                };
                table.columns.push(column);
            }
        }
        type IndexRow = (String, String, i64, String, i64, Option<String>, String);
        for (table, name, unique, origin, partial, column, collation) in
            rows::<IndexRow>(connection, INDEXES).await?
        {
            let Some(table) = find(&mut tables, &table) else { continue };
            let column = IndexColumn { name: column, collation };
            match table.indexes.last_mut().filter(|index| index.name == name) {
                Some(index) => index.columns.push(column),
                None => table.indexes.push(Index {
                    name,
                    unique: unique != 0,
                    origin: match origin.as_str() {
                        "pk" => Origin::Key,
                        "u" => Origin::Constraint,
                        _ => Origin::Statement,
                    },
                    partial: partial != 0,
                    columns: vec![column],
                    sql: None,
                }),
            }
        }
        Self::read_foreign_keys(connection, &mut tables).await?;
        let mut programs = Vec::new();
        for (kind, name, table, sql, temporary) in
            rows::<(String, String, String, String, i64)>(connection, STATEMENTS).await?
        {
            match kind.as_str() {
                "table" => {
                    if let Some(table) = find(&mut tables, &name) {
                        table.text = TableText::read(&sql).filter(|text| table.agrees(text));
                        table.sql = sql;
                    }
                }
                "index" => {
                    let index = find(&mut tables, &table).and_then(|table| {
                        table.indexes.iter_mut().find(|index| index.name == name)
                    });
                    if let Some(index) = index {
                        index.sql = Some(sql);
                    }
                }
                _ => programs.push(Program { kind, name, table, sql, temporary: temporary != 0 }),
            }
        }
        let elsewhere = rows::<(String, String, String)>(connection, ELSEWHERE)
            .await?
            .into_iter()
            .map(|(schema, name, kind)| Elsewhere { schema, name, kind })
            .collect();
        Ok(Self { tables, programs, elsewhere })
    }

    async fn read_foreign_keys(
        connection: &mut SqliteConnection,
        tables: &mut [Table],
    ) -> Result<()> {
        type Row = (String, i64, String, String, Option<String>, i64, String, String);
        for (table, id, target, ours, theirs, seq, on_update, on_delete) in
            rows::<Row>(connection, FOREIGN_KEYS).await?
        {
            // Without a column, the reference is to the primary key of the target.
            let theirs = theirs.or_else(|| {
                let target =
                    tables.iter().find(|table| table.name.eq_ignore_ascii_case(&target))?;
                target.key().nth(usize::try_from(seq).ok()?).map(ToOwned::to_owned)
            });
            let pair = (ours, theirs.unwrap_or_default());
            let Some(table) = find(tables, &table) else { continue };
            match table.references.last_mut().filter(|reference| reference.id == id) {
                Some(reference) => reference.pairs.push(pair),
                None => {
                    table.references.push(ForeignKey {
                        id,
                        target,
                        pairs: vec![pair],
                        on_update,
                        on_delete,
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }
}

impl Settings {
    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self> {
        Ok(Self {
            foreign_keys: flag(connection, "PRAGMA foreign_keys").await?,
            trusted_schema: flag(connection, "PRAGMA trusted_schema").await?,
            ignore_check_constraints: flag(connection, "PRAGMA ignore_check_constraints").await?,
            writable_schema: flag(connection, "PRAGMA writable_schema").await?,
        })
    }
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The columns of the primary key, in its order.
    pub(super) fn key(&self) -> impl Iterator<Item = &str> {
        let mut key: Vec<&Column> = self.columns.iter().filter(|column| column.key > 0).collect();
        key.sort_by_key(|column| column.key);
        key.into_iter().map(|column| column.name.as_str())
    }

    /// Whether the column is another name of the rowid: never NULL, and filled by the store.
    pub(super) fn is_rowid_alias(&self, column: &Column) -> bool {
        !self.without_rowid
            && column.key == 1
            && self.key().count() == 1
            && column.declared.eq_ignore_ascii_case("INTEGER")
    }

    /// Whether these columns, in any order, are the key or a whole unique set.
    pub(super) fn has_unique<S: AsRef<str>>(&self, wanted: &[S]) -> bool {
        same_set(&self.key().collect::<Vec<_>>(), wanted)
            || self.indexes.iter().any(|index| {
                index.unique
                    && !index.partial
                    && index.columns.iter().all(|column| column.collation == "BINARY")
                    && index.names().is_some_and(|names| same_set(&names, wanted))
            })
    }

    /// Whether a search by these columns, in this order, has an index that begins with them.
    pub(super) fn has_index<S: AsRef<str>>(&self, wanted: &[S]) -> bool {
        let begins = |names: &[&str]| {
            names.len() >= wanted.len()
                && names.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b.as_ref()))
        };
        begins(&self.key().collect::<Vec<_>>())
            || self.indexes.iter().any(|index| {
                let named: Vec<&str> =
                    index.columns.iter().map_while(|column| column.name.as_deref()).collect();
                !index.partial && begins(&named)
            })
    }

    fn agrees(&self, text: &TableText) -> bool {
        self.columns.len() == text.columns.len()
            && self
                .columns
                .iter()
                .zip(&text.columns)
                .all(|(column, text)| column.name.eq_ignore_ascii_case(&text.name))
    }
}

impl Index {
    /// The names of the columns, where none is an expression.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        self.columns.iter().map(|column| column.name.as_deref()).collect()
    }
}

/// Whether two lists hold the same names in any order.
pub(super) fn same_set<A: AsRef<str>, B: AsRef<str>>(a: &[A], b: &[B]) -> bool {
    a.len() == b.len()
        && a.iter()
            .all(|name| b.iter().any(|other| name.as_ref().eq_ignore_ascii_case(other.as_ref())))
}

fn find<'t>(tables: &'t mut [Table], name: &str) -> Option<&'t mut Table> {
    tables.iter_mut().find(|table| table.name == name)
}

/// All rows of a static statement without parameters.
pub(super) async fn rows<R>(connection: &mut SqliteConnection, sql: &'static str) -> Result<Vec<R>>
where
    R: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
{
    sqlx::query_as::<Sqlite, R>(sql)
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(|error| fault::reduce(&error).into_error(None))
}

async fn flag(connection: &mut SqliteConnection, sql: &'static str) -> Result<bool> {
    Ok(rows::<(i64,)>(connection, sql).await?.iter().any(|(value,)| *value != 0))
}
