//! What a write answers with, where tables and columns have the names that PostgreSQL 18 gives to
//! the row before and the row after.

use tenantry::table::Schema;
use tenantry::{Database, Result, TenantScope};

use super::cluster::{APPLICATION, Cluster};
use super::world::{builder, scopes};

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Before in before = "old" {
        key id: i64,
        one: i64 = "new",
        other: i64 = "old",
    }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct After in after = "new" {
        key id: i64,
        one: i64 = "old",
        other: i64 = "new",
    }
}

macro_rules! answers {
    ($row:ident, $columns:ident, $db:expr, $scope:expr, $add:expr) => {{
        let (db, scope, add): (&Database, &TenantScope, i64) = ($db, $scope, $add);
        let row = |one, other| $row { id: 1, one: add + one, other: add + other };
        let inserted = $row::insert(scope, row(1, 2)).returning().fetch_one(db).await?;
        assert_eq!(inserted, row(1, 2));
        let update = $row::update(scope).set($columns::one, add + 3).key(1);
        assert_eq!(update.returning().fetch_one(db).await?, row(3, 2));
        let upserted = $row::insert(scope, row(5, 6))
            .on_conflict($columns::id)
            .update(($columns::other,))
            .returning()
            .fetch_one(db)
            .await?;
        assert_eq!(upserted, row(3, 6));
        let swapped = $row::update(scope)
            .set($columns::one, $columns::other.add(0))
            .set($columns::other, $columns::one.add(0))
            .filter($columns::one.eq(add + 3));
        assert_eq!(swapped.returning().fetch_all(db).await?, [row(6, 3)]);
        assert_eq!($row::select(scope).fetch_all(db).await?, [row(6, 3)]);
        assert_eq!($row::delete(scope).key(1).returning().fetch_one(db).await?, row(6, 3));
        $row::insert(scope, row(1, 2)).execute(db).await?;
    }};
}

#[tokio::test]
async fn tables_and_columns_may_be_called_old_and_new() -> Result<()> {
    let (issuer, a, b) = scopes().await;
    let database = Cluster::shared().database().await;
    let schema = Schema::new().tenant::<Before>().tenant::<After>();
    let db = builder(&issuer, &database).connect(&database.url(APPLICATION), schema).await?;
    db.create_tables().await?;
    // The same key in both organizations, and other values.
    for (scope, add) in [(&a, 0), (&b, 100)] {
        answers!(Before, before, &db, scope, add);
        answers!(After, after, &db, scope, add);
    }
    assert_eq!(Before::find(&a, 1).fetch_one(&db).await?, Before { id: 1, one: 1, other: 2 });
    assert_eq!(After::find(&a, 1).fetch_one(&db).await?, After { id: 1, one: 1, other: 2 });
    Ok(())
}
