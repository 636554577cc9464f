//! The second wall alone: SQL without any predicate, on the connections that statements run on.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "SQL of the test's own")]

use sqlx::AssertSqlSafe;

use super::Database;
use super::fault::Fault;
use super::sqlite::{self, SET_SCOPE, SqliteStore};
use super::statement::{self, Arguments};
use super::store::Store;
use crate::credential::SqlCredentialStore;
use crate::error::{ErrorKind, Result};
use crate::query::{Bind, Sql};
use crate::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use crate::table::{Schema, StoreRow};
use crate::{OrganizationId, TenantScope};

crate::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Parent in parents {
        key id: i64,
        name: String,
    }
}

crate::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Child in children {
        key id: i64,
        parent_id: i64 => parents on delete cascade,
    }
}

struct World {
    db: Database,
    a: TenantScope,
    b: TenantScope,
    _directory: tempfile::TempDir,
}

/// Two organizations with the same ids and names in a file database.
async fn world(paranoid: bool) -> World {
    let members = MemoryDirectory::new();
    let issuer = ScopeIssuer::new(members.clone());
    let ann = Principal::user("ann");
    let (a, b) = (OrganizationId::new(), OrganizationId::new());
    members.add_member(&a, &ann, Role::Member);
    members.add_member(&b, &ann, Role::Member);
    let a = issuer.enter(&ann, a).await.unwrap();
    let b = issuer.enter(&ann, b).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("wall.db").display());
    let schema = Schema::new().tenant::<Parent>().tenant::<Child>();
    let db =
        Database::builder().issuer(&issuer).paranoid(paranoid).connect(&url, schema).await.unwrap();
    db.create_tables().await.unwrap();
    for scope in [&a, &b] {
        Parent::insert(scope, Parent { id: 1, name: "same".into() }).execute(&db).await.unwrap();
        Child::insert(scope, Child { id: 1, parent_id: 1 }).execute(&db).await.unwrap();
    }
    World { db, a, b, _directory: directory }
}

fn sqlite(db: &Database) -> &SqliteStore {
    match db.store() {
        Store::Sqlite(store) => store,
        #[cfg(feature = "postgres")]
        Store::Postgres(_) => unreachable!("the test opened SQLite"),
    }
}

fn query(
    db: &Database,
    sql: Sql,
    binds: impl IntoIterator<Item = Bind>,
    organization: &OrganizationId,
) -> sqlite::Query {
    let bound = statement::bind(db.store(), sql, binds, Some(organization)).unwrap();
    match bound.arguments {
        Arguments::Sqlite(arguments) => sqlite::query(bound.sql, arguments),
        #[cfg(feature = "postgres")]
        Arguments::Postgres(_) => unreachable!("the test opened SQLite"),
    }
}

impl World {
    /// Runs SQL of the test's own where A's writes run.
    async fn write_as_a(&self, sql: &str) -> Result<u64, Fault> {
        let mut writer = sqlite(&self.db).write().await.unwrap();
        let sql = Sql::Once(format!("{SET_SCOPE}{sql}"));
        let query = query(&self.db, sql, [Bind::Organization], self.a.organization());
        sqlite::run(writer.connection(), query, |_| Ok(())).await
    }

    async fn everything(&self) -> (Vec<Parent>, Vec<Child>, Vec<Parent>, Vec<Child>) {
        (
            Parent::select(&self.a).fetch_all(&self.db).await.unwrap(),
            Child::select(&self.a).fetch_all(&self.db).await.unwrap(),
            Parent::select(&self.b).fetch_all(&self.db).await.unwrap(),
            Child::select(&self.b).fetch_all(&self.db).await.unwrap(),
        )
    }
}

#[tokio::test]
async fn the_write_wall_stops_statements_without_a_predicate() {
    let world = world(false).await;
    let before = world.everything().await;
    let foreign = format!(
        "x'{}'",
        hex::encode(match world.b.organization().key() {
            crate::id::OrganizationKey::Uuid(id) => id.into_bytes(),
            _ => unreachable!(),
        })
    );
    for sql in [
        "DELETE FROM parents".to_owned(),
        "DELETE FROM children".to_owned(),
        "UPDATE parents SET name = 'taken'".to_owned(),
        format!("UPDATE parents SET organization_id = {foreign}, id = 9"),
        // Taking a row over looks right from the new row's side.
        "UPDATE parents SET organization_id = (SELECT organization FROM temp.tenantry_scope), id = id + 10"
            .to_owned(),
        format!("INSERT INTO parents VALUES ({foreign}, 2, 'planted')"),
        "INSERT OR REPLACE INTO parents SELECT organization_id, id, 'replaced' FROM parents"
            .to_owned(),
        "INSERT INTO parents SELECT organization_id, 7, name FROM parents".to_owned(),
    ] {
        let fault = world.write_as_a(&sql).await.unwrap_err();
        assert!(matches!(fault, Fault::Wall(_)), "{sql}: {fault:?}");
        assert_eq!(fault.into_error(None).kind(), ErrorKind::Incident);
        assert_eq!(world.everything().await, before, "{sql}");
    }
}

#[tokio::test]
async fn the_write_wall_lets_the_scopes_own_rows_pass() {
    let world = world(false).await;
    let a = "(SELECT organization FROM temp.tenantry_scope)";
    let renamed = world
        .write_as_a(&format!("UPDATE parents SET name = 'mine' WHERE organization_id = {a}"))
        .await
        .unwrap();
    let deleted = world
        .write_as_a(&format!("DELETE FROM parents WHERE organization_id = {a}"))
        .await
        .unwrap();
    assert_eq!((renamed, deleted), (1, 1));
    let (parents, children, theirs, their_children) = world.everything().await;
    assert_eq!((parents.len(), children.len()), (0, 0), "the cascade stays inside");
    assert_eq!((theirs.len(), their_children.len()), (1, 1));
}

/// A wall that nobody raised would pass the tests above if they could not fail.
#[tokio::test]
async fn without_the_wall_the_same_statement_crosses() {
    let world = world(false).await;
    {
        let mut writer = sqlite(&world.db).write().await.unwrap();
        let drop = "DROP TRIGGER temp.tenantry_wall_delete_children".to_owned();
        sqlite::run_ddl(writer.connection(), drop).await.unwrap();
    }
    assert_eq!(world.write_as_a("DELETE FROM children").await.unwrap(), 2);
}

#[tokio::test]
async fn the_shadow_views_scope_a_select_without_a_predicate() {
    for (paranoid, seen) in [(true, 1), (false, 2)] {
        let world = world(paranoid).await;
        let mut reader = sqlite(&world.db).read(false).await.unwrap();
        let prologue = if paranoid { SET_SCOPE } else { "" };
        let binds = if paranoid { vec![Bind::Organization] } else { Vec::new() };
        let sql = Sql::Once(format!("{prologue}SELECT name FROM parents"));
        let query = query(&world.db, sql, binds, world.a.organization());
        let mut rows = 0;
        sqlite::run(reader.connection(), query, |_| {
            rows += 1;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(rows, seen, "paranoid {paranoid}");
    }
}

/// The witness refuses what a predicate let through: rows of another organization are an incident,
/// nothing is returned, and the organization is halted.
#[tokio::test]
async fn a_foreign_row_is_an_incident_and_halts_the_organization() {
    let world = world(false).await;
    let foreign = {
        let mut reader = sqlite(&world.db).read(false).await.unwrap();
        sqlx::query(AssertSqlSafe(
            "SELECT organization_id, id, name FROM parents ORDER BY organization_id".to_owned(),
        ))
        .fetch_all(reader.connection())
        .await
        .unwrap()
    };
    let mut incidents = 0;
    for row in foreign {
        let row = StoreRow::Sqlite(row);
        let mut reader = crate::table::RowReader::new(&row, Some(world.a.organization()));
        if let Err(error) = <Parent as crate::query::Sources>::read(&mut reader) {
            assert_eq!(error.kind(), ErrorKind::Incident);
            let error = world.db.incident(&world.a, error).await;
            assert_eq!(error.kind(), ErrorKind::Incident);
            incidents += 1;
        }
    }
    assert_eq!(incidents, 1);
    let halted = Parent::select(&world.a).fetch_all(&world.db).await.unwrap_err();
    assert_eq!(halted.kind(), ErrorKind::Denied);
    assert!(Parent::select(&world.b).fetch_all(&world.db).await.is_ok());
}

/// A name is looked up in the connection's own objects first: rows that lie there under A's name
/// pass the predicate and the witness. Whoever looks is the doctor.
#[tokio::test]
async fn l32_a_temporary_table_in_the_place_of_a_declared_one_is_fatal() {
    let world = world(false).await;
    assert!(world.db.doctor().await.unwrap().is_safe());
    world
        .write_as_a(
            "CREATE TEMP TABLE parents AS SELECT organization AS organization_id, 1 AS id, 'planted' AS name FROM temp.tenantry_scope",
        )
        .await
        .unwrap();
    let mut tx = world.db.begin(&world.a).await.unwrap();
    let shadowed = Parent::find(&world.a, 1).fetch_one(&mut tx).await.unwrap();
    assert_eq!(shadowed.name, "planted", "nothing is shown by a table that shadows none");
    tx.rollback().await.unwrap();

    let report = world.db.doctor().await.unwrap();
    let fatal: Vec<_> = report.fatal().map(|found| (found.code(), found.object())).collect();
    assert_eq!(fatal, [("sqlite-shadowed", "temp.parents")]);
    assert_eq!(world.db.create_tables().await.unwrap_err().kind(), ErrorKind::Unconfigured);
}

/// Whatever runs, the connections' own objects are the second wall's: none stands in the place of
/// a declared table, but for the views that hide other organizations' rows.
#[tokio::test]
async fn l32_the_connections_hold_no_table_of_their_own_beside_the_second_wall() {
    for paranoid in [false, true] {
        let world = world(paranoid).await;
        for scope in [&world.a, &world.b] {
            let mut tx = world.db.begin(scope).await.unwrap();
            let mut inner = tx.savepoint().await.unwrap();
            Parent::update(scope)
                .set(parents::name, "x")
                .all_rows()
                .execute(&mut *inner)
                .await
                .unwrap();
            inner.release().await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(Parent::select(scope).count(&world.db).await.unwrap(), 1);
        }
        for exclusive in [true, false] {
            let mut reader = sqlite(&world.db).read(exclusive).await.unwrap();
            let objects: Vec<(String, String, String)> =
                sqlx::query_as("SELECT type, name, sql FROM temp.sqlite_schema")
                    .fetch_all(reader.connection())
                    .await
                    .unwrap();
            let mut views = 0;
            for (kind, name, sql) in objects {
                match (kind.as_str(), name.as_str()) {
                    ("table", "tenantry_scope") => {}
                    ("trigger", name) if name.starts_with("tenantry_wall_") => {}
                    ("view", "parents" | "children") if sql.contains("tenantry_scope") => {
                        views += 1;
                    }
                    _ => panic!("{sql}"),
                }
            }
            assert_eq!(views, if paranoid && !exclusive { 2 } else { 0 }, "{paranoid} {exclusive}");
        }
    }
}

#[tokio::test]
async fn a_file_with_keys_is_durable_and_overwrites_what_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let schemas = [Schema::new(), SqlCredentialStore::tables(Schema::new())];
    for (schema, expected) in schemas.into_iter().zip([[1, 0], [2, 1]]) {
        let url = format!("sqlite://{}", directory.path().join(expected[0].to_string()).display());
        let db = Database::builder().allow_cross_tenant().connect(&url, schema).await.unwrap();
        let mut writer = sqlite(&db).write().await.unwrap();
        for (pragma, expected) in ["synchronous", "secure_delete"].into_iter().zip(expected) {
            let sql = AssertSqlSafe(format!("PRAGMA {pragma}"));
            let set: i64 = sqlx::query_scalar(sql).fetch_one(writer.connection()).await.unwrap();
            assert_eq!(set, expected, "{pragma}");
        }
    }
}
