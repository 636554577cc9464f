//! What lies in a store, and hands that reach it around the crate.

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tenantry::credential::CredentialId;

use crate::leaks::fixture::{raw, run_raw, url};
#[cfg(feature = "postgres")]
use crate::postgres::cluster::{APPLICATION, TestDatabase};

/// Where a world's credentials are.
#[derive(Debug)]
pub(crate) enum Kept {
    Memory,
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(TestDatabase<'static>),
    #[cfg(all(unix, feature = "files"))]
    Files(PathBuf),
}

impl Kept {
    /// What another process is told, to find them.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Memory => String::new(),
            Self::Sqlite(path) => url(path),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.url(APPLICATION),
            #[cfg(all(unix, feature = "files"))]
            Self::Files(path) => path.to_str().unwrap().to_owned(),
        }
    }

    /// Statements of an administrator whom nothing restrains.
    pub(crate) async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => run_raw(path, sql).await.unwrap(),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => {
                let mut connection = database.superuser().await;
                let sql = AssertSqlSafe(sql.to_owned());
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            _ => unreachable!("no SQL reaches it"),
        }
    }

    /// Bytes, as a literal.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => format!(r"'\x{}'::bytea", hex::encode(bytes)),
            _ => format!("x'{}'", hex::encode(bytes)),
        }
    }

    /// An id, as a literal.
    pub(crate) fn id(&self, id: impl std::fmt::Display) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => format!("'{id}'::uuid"),
            _ => format!("x'{}'", id.to_string().replace('-', "")),
        }
    }

    /// The sealed bytes of a credential.
    pub(crate) async fn sealed(&self, id: CredentialId) -> Vec<u8> {
        let sql = format!("SELECT sealed FROM sealed_credentials WHERE id = {}", self.id(id));
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(path) => {
                let mut connection = raw(path).await;
                let row = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                row.get(0)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => {
                let mut connection = database.superuser().await;
                let row = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                row.get(0)
            }
            _ => unreachable!("no SQL reaches it"),
        }
    }

    /// Puts other sealed bytes in the place of a credential's.
    pub(crate) async fn write(&self, id: CredentialId, sealed: &[u8]) {
        let (value, id) = (self.bytes(sealed), self.id(id));
        self.run(&format!("UPDATE sealed_credentials SET sealed = {value} WHERE id = {id}")).await;
    }

    /// Copies every table of the store, as a dump of the database does.
    pub(crate) async fn back_up(&self) {
        let copy = |table| {
            format!(
                "DROP TABLE IF EXISTS kept_{table}; CREATE TABLE kept_{table} AS SELECT * FROM {table};"
            )
        };
        self.run(&TABLES.map(copy).concat()).await;
    }

    /// Puts back what was copied.
    pub(crate) async fn restore(&self) {
        let empty = |table| format!("DELETE FROM {table};");
        let fill = |table| format!("INSERT INTO {table} SELECT * FROM kept_{table};");
        let mut tables = TABLES;
        tables.reverse();
        let sql = tables.map(empty).concat() + &TABLES.map(fill).concat();
        self.run(&sql).await;
    }
}

/// What refers to a table stands after it.
const TABLES: [&str; 4] =
    ["organization_key_rings", "organization_keys", "sealed_credentials", "credential_reseals"];
