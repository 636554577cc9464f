//! The public contract on PostgreSQL: the tests of both stores, and what this store alone has.

mod fixture;
#[path = "../../contract/forms.rs"]
mod forms;
#[path = "../../contract/rows.rs"]
mod rows;

use tenantry::ambient::cross_tenant_authority;
use tenantry::database::doctor;
use tenantry::scope::Principal;
use tenantry::table::{Dialect, Schema};
use tenantry::{ErrorKind, Result};
use uuid::Uuid;

use super::cluster::{APPLICATION, Cluster, OWNER};
use super::world::{Customer, Employee, Genre, Order, customer, genres, orders, world, world_with};

#[tokio::test]
async fn errors_of_a_partition_name_its_table() {
    let world = world().await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let held = Customer::delete(a).key(Uuid::from_u128(1)).execute(db).await.unwrap_err();
    assert_eq!((held.kind(), held.table()), (ErrorKind::Conflict, Some("customers")));
    let twin = Customer { id: Uuid::from_u128(2), ..customer(1) };
    let twin = Customer::insert(a, twin).execute(db).await.unwrap_err();
    assert_eq!((twin.kind(), twin.column()), (ErrorKind::Conflict, Some("name")));
}

#[tokio::test]
async fn rows_that_exclude_each_other_are_a_conflict_in_their_organization() {
    let world = world().await;
    let exclude = r#"ALTER TABLE "Employee" ADD CONSTRAINT one_each EXCLUDE USING btree (organization_id WITH =, "ReportsTo" WITH =)"#;
    world.database.run(OWNER, &[exclude]).await;
    let employee = |id, boss| Employee { id, boss };
    for scope in [&world.a, &world.b] {
        Employee::insert(scope, employee(1, None)).execute(&world.db).await.unwrap();
        Employee::insert(scope, employee(2, Some(1))).execute(&world.db).await.unwrap();
        let rival = Employee::insert(scope, employee(3, Some(1))).execute(&world.db).await;
        assert_eq!(rival.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn cross_tenant_work_runs_under_its_own_role() -> Result<()> {
    let world = world().await.filled(1).await;
    let db = &world.db;
    let authority = cross_tenant_authority("nightly report", Principal::job("report"));
    let rows = Order::select_across(&authority).fetch_all(db).await?;
    let mut organizations: Vec<_> =
        rows.iter().map(|(organization, _)| organization.clone()).collect();
    organizations.sort();
    let mut expected = vec![world.a.organization().clone(), world.b.organization().clone()];
    expected.sort();
    assert_eq!(organizations, expected);
    let genre = |id: i64| Genre { id, name: format!("genre {id}") };
    assert_eq!(Genre::insert_global(&authority, genre(1)).execute(db).await?, 1);
    assert_eq!(Genre::insert_many_global(&authority, [genre(2), genre(3)]).execute(db).await?, 2);
    let renamed = Genre::update_global(&authority).set(genres::name, "x").filter(genres::id.eq(2));
    assert_eq!(renamed.execute(db).await?, 1);
    assert_eq!(Genre::delete_global(&authority).filter(genres::id.eq(3)).execute(db).await?, 1);
    for scope in [&world.a, &world.b] {
        assert_eq!(Genre::select(scope).count(db).await?, 2);
    }
    Order::update(&world.a).set(orders::genre_id, 1).all_rows().execute(db).await?;
    let held = Genre::delete_global(&authority).all_rows().execute(db).await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Conflict);
    Ok(())
}

#[tokio::test]
async fn without_the_other_roles_their_work_is_unconfigured() {
    use tenantry::Database;

    let bare = Cluster::shared().database().await;
    let (issuer, a, _) = super::world::scopes().await;
    let url = bare.url(APPLICATION);
    let db = Database::builder().issuer(&issuer).connect(&url, super::world::schema());
    let db = db.await.unwrap();
    assert_eq!(db.create_tables().await.unwrap_err().kind(), ErrorKind::Unconfigured);
    let absent = Order::select(&a).fetch_all(&db).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Unconfigured);

    let world = world().await.filled(1).await;
    let url = world.database.url(APPLICATION);
    let db = Database::builder()
        .issuer(&world.issuer)
        .allow_cross_tenant()
        .connect(&url, super::world::schema())
        .await
        .unwrap();
    assert_eq!(Order::select(&world.a).count(&db).await.unwrap(), 1);
    let authority = cross_tenant_authority("nightly report", Principal::job("report"));
    let error = Order::select_across(&authority).fetch_all(&db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    assert!(error.to_string().contains("cross_tenant_url"), "{error}");
    let error = Genre::insert_global(&authority, Genre { id: 1, name: "x".into() });
    assert_eq!(error.execute(&db).await.unwrap_err().kind(), ErrorKind::Unconfigured);
}

/// Both transactions read, then both write what they read: one of them is run again.
#[tokio::test]
async fn a_deadlock_is_run_again() -> Result<()> {
    let world = world().await.filled(2).await;
    let db = &world.db;
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let work = |first: u128, second: u128| {
        let (db, scope, gate) = (db.clone(), world.a.clone(), std::sync::Arc::clone(&gate));
        async move {
            let mut attempts = 0;
            let inside = scope.clone();
            db.transaction(&scope, async |tx| {
                attempts += 1;
                let add = |n| {
                    Order::update(&inside)
                        .set(orders::total_cents, orders::total_cents.add(1))
                        .key(Uuid::from_u128(n))
                };
                add(first).execute(&mut *tx).await?;
                if attempts == 1 {
                    gate.wait().await;
                }
                add(second).execute(&mut *tx).await
            })
            .await
            .map(|_| attempts)
        }
    };
    let (one, other) = tokio::join!(work(1, 2), work(2, 1));
    assert_eq!(one? + other?, 3);
    let sums = Order::select(&world.a).aggregate(orders::total_cents.sum()).fetch_one(db).await?;
    assert_eq!(sums, Some(1 + 2 + 4));
    Ok(())
}

#[tokio::test]
async fn a_row_found_for_update_is_locked() -> Result<()> {
    let world = world_with(|builder| {
        builder.statement_timeout(Some(std::time::Duration::from_millis(500)))
    })
    .await
    .filled(1)
    .await;
    let (db, a, b) = (&world.db, &world.a, &world.b);
    let id = Uuid::from_u128(1);
    let mut holder = db.begin(a).await?;
    assert!(Order::find(a, id).for_update().fetch_optional(&mut holder).await?.is_some());
    let late = Order::update(a).set(orders::note, "late").filter(orders::id.eq(id));
    assert_eq!(late.execute(db).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let other = Order::update(b).set(orders::note, "other").filter(orders::id.eq(id));
    assert_eq!(other.execute(db).await?, 1);
    // Without the lock nobody waits; and a shape that locks is not taken for one that does not.
    assert!(Order::find(a, id).fetch_optional(db).await?.is_some());
    holder.commit().await?;
    let mut reader = db.begin(a).await?;
    assert!(Order::find(a, id).fetch_optional(&mut reader).await?.is_some());
    let free = Order::update(a).set(orders::note, "free").filter(orders::id.eq(id));
    assert_eq!(free.execute(db).await?, 1);
    Ok(())
}

mod rivals {
    tenantry::tenant_table! {
        #[derive(Debug)]
        pub struct Short in a { key id: i64, b_c: i64 => a, }
        index (b_c);
        unique (b_c);
    }
    tenantry::tenant_table! {
        #[derive(Debug)]
        pub struct Long in a_b { key id: i64, c: i64, }
        index (c);
        unique (c);
        partitions 2;
    }
    tenantry::tenant_table! {
        #[derive(Debug)]
        pub struct Taken in a_b_p1 { key id: i64, }
    }
}

/// `a` and `b_c`, `a_b` and `c`: the names of their indexes, and of a partition and a table, come to
/// the same.
#[tokio::test]
async fn objects_that_come_to_one_name_all_exist() {
    let schema =
        Schema::new().tenant::<rivals::Short>().tenant::<rivals::Long>().tenant::<rivals::Taken>();
    let database = Cluster::shared().database().await;
    database.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
    let report = doctor::inspect(&database.url(APPLICATION), &schema, &[]).await.unwrap();
    let open: Vec<&doctor::Finding> =
        report.findings().iter().filter(|f| f.code() != "postgres-server-leaks").collect();
    assert!(open.is_empty(), "{report}");
}
