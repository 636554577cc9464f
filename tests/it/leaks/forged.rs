//! Markers, edges and occurrences made by hand: what a macro can call, a user can call.

use tenantry::query::count;
use tenantry::table::{
    Column, First, Foreign, GlobalTable, RowReader, RowWriter, Schema, Table, TableDefinition,
    TenantTable,
};
use tenantry::{ErrorKind, Result};

use super::fixture::*;

/// A row type over another table's definition, with a key and a marker of its own.
macro_rules! mask {
    ($mask:ident over $row:ident by $key:ty, $marker:ident, $entries:ident) => {
        #[derive(Debug)]
        struct $mask($row);

        impl Table for $mask {
            type Key = $key;

            fn definition() -> &'static TableDefinition {
                $row::definition()
            }

            fn encode(&self, row: &mut RowWriter<'_>) -> Result<()> {
                self.0.encode(row)
            }

            fn decode(row: &mut RowReader<'_>) -> Result<Self> {
                $row::decode(row).map(Self)
            }
        }

        impl $marker for $mask {}
        tenantry::$entries!($mask);
    };
}

mask!(SharedCustomer over Customer by i64, GlobalTable, global_entries);
mask!(OwnedGenre over Genre by i64, TenantTable, tenant_entries);
mask!(LineByOrder over Line by i64, TenantTable, tenant_entries);
mask!(LineTurned over Line by (i32, i64), TenantTable, tenant_entries);
mask!(LineByThree over Line by (i64, i32, String), TenantTable, tenant_entries);
mask!(CustomerByName over Customer by String, TenantTable, tenant_entries);

#[tokio::test]
async fn l77_a_marker_of_the_other_kind_writes_and_crosses_nothing() {
    let w = world().await;
    let before = Customer::select(&w.b).fetch_all(&w.db).await.unwrap();
    let genres = Genre::select(&w.a).fetch_all(&w.db).await.unwrap();
    let row = || Customer { id: 1, name: "x".into(), token: None };
    let genre = || Genre { id: 77, name: "planted".into() };
    let name = Column::<SharedCustomer, String>::new(1);
    let outcomes = [
        SharedCustomer::delete_global(&authority()).all_rows().execute(&w.db).await,
        SharedCustomer::update_global(&authority()).set(name, "x").all_rows().execute(&w.db).await,
        SharedCustomer::insert_global(&authority(), SharedCustomer(row())).execute(&w.db).await,
        OwnedGenre::insert(&w.a, OwnedGenre(genre())).execute(&w.db).await,
        OwnedGenre::insert_many(&w.a, [OwnedGenre(genre())]).execute(&w.db).await,
        OwnedGenre::update(&w.a)
            .set(Column::<OwnedGenre, String>::new(1), "x")
            .all_rows()
            .execute(&w.db)
            .await,
        OwnedGenre::delete(&w.a).all_rows().execute(&w.db).await,
        OwnedGenre::select_across(&authority())
            .fetch_all(&w.db)
            .await
            .map(|rows| rows.len() as u64),
    ];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse, "{n}");
    }
    assert_eq!(Customer::select(&w.b).fetch_all(&w.db).await.unwrap(), before);
    assert_eq!(Genre::select(&w.a).fetch_all(&w.db).await.unwrap(), genres);

    let schema = Schema::new().global::<SharedCustomer>();
    assert_eq!(schema.validate().unwrap_err().kind(), ErrorKind::Misuse);
    let schema = Schema::new().tenant::<OwnedGenre>();
    assert_eq!(schema.validate().unwrap_err().kind(), ErrorKind::Misuse);
}

/// A key of fewer columns would mean more rows, and one of other types other rows.
#[tokio::test]
async fn l77_a_key_that_is_not_the_tables_finds_and_writes_nothing() {
    let w = world().await;
    let lines = Line::select(&w.a).fetch_all(&w.db).await.unwrap();
    let customers = Customer::select(&w.a).fetch_all(&w.db).await.unwrap();
    assert!(!lines.is_empty() && !customers.is_empty());
    let (order, n) = (lines[0].order_id, lines[0].n);
    macro_rules! outcomes {
        ($($mask:ident by $key:expr, $text:literal);*) => {
            [$(
                $mask::find(&w.a, $key).fetch_optional(&w.db).await.map(|row| u64::from(row.is_some())),
                $mask::delete(&w.a).key($key).execute(&w.db).await,
                $mask::update(&w.a)
                    .set(Column::<$mask, String>::new($text), "planted")
                    .key($key)
                    .execute(&w.db)
                    .await,
            )*]
        };
    }
    let outcomes = outcomes![
        LineByOrder by order, 2;
        LineTurned by (n, order), 2;
        LineByThree by (order, n, "x".to_owned()), 2;
        CustomerByName by customers[0].name.clone(), 1
    ];
    for (at, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Misuse | ErrorKind::Invalid), "{at}: {error:?}");
        assert!(error.to_string().contains("other columns"), "{at}: {error:?}");
    }
    assert_eq!(Line::select(&w.a).fetch_all(&w.db).await.unwrap(), lines);
    assert_eq!(Customer::select(&w.a).fetch_all(&w.db).await.unwrap(), customers);
}

/// The column refers to customers; this constant says that it refers to employees.
#[tokio::test]
async fn l77_an_edge_that_is_not_declared_joins_nothing() {
    const ASTRAY: Column<Order, Foreign<Employee, i64>> = Column::new(1);
    let w = world().await;
    let errors = [
        Order::select(&w.a).join(ASTRAY).fetch_all(&w.db).await.unwrap_err(),
        Order::select(&w.a).left_join(ASTRAY).fetch_all(&w.db).await.unwrap_err(),
        Employee::select(&w.a).left_join_from(ASTRAY).fetch_all(&w.db).await.unwrap_err(),
        Employee::select(&w.a)
            .filter(ASTRAY.exists_in(Order::select(&w.a)))
            .fetch_all(&w.db)
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
    }
}

/// The compiler asks which occurrence is meant; who answers it by force is asked again.
#[tokio::test]
async fn a_column_of_a_table_that_occurs_twice_is_not_guessed() {
    let w = world().await;
    let filtered = Employee::select(&w.a)
        .join(employees::boss)
        .filter::<_, First>(employees::name.eq("x"))
        .fetch_all(&w.db)
        .await;
    assert_eq!(filtered.unwrap_err().kind(), ErrorKind::Misuse);
    let named = Employee::select(&w.a)
        .join(employees::boss)
        .filter(employees::name.at(First).eq("x"))
        .fetch_all(&w.db)
        .await;
    assert!(named.is_ok());
}

#[tokio::test]
async fn what_has_no_order_has_no_limit() {
    let w = world().await;
    let limited = Order::select(&w.a).unordered().limit(1).fetch_all(&w.db).await;
    let skipped = Order::select(&w.a).unordered().offset(1).fetch_all(&w.db).await;
    let first = Order::select(&w.a).unordered().fetch_optional(&w.db).await.map(|_| Vec::new());
    for outcome in [limited, skipped, first] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
    }
    assert!(Order::select(&w.a).unordered().exists(&w.db).await.unwrap());
    let locked = Order::select(&w.a).for_update().aggregate(count()).fetch_one(&w.db).await;
    assert_eq!(locked.unwrap_err().kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn an_upsert_names_what_is_declared_and_an_update_sets_a_column_once() {
    let w = world().await;
    let row = Customer { id: 9, name: "nine".into(), token: None };
    let astray = Customer::insert(&w.a, row)
        .on_conflict(customers::token)
        .update(customers::name)
        .execute(&w.db)
        .await;
    assert_eq!(astray.unwrap_err().kind(), ErrorKind::Misuse);
    let twice = Customer::update(&w.a)
        .set(customers::name, "x")
        .set(customers::name, "y")
        .key(1)
        .execute(&w.db)
        .await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(tenantry::query::escape_like(r"50%_\"), r"50\%\_\\");
}

/// Another organization's parent is no parent, and says so like one that nobody has.
#[tokio::test]
async fn l06_a_foreign_parent_is_named_like_a_missing_one() {
    let w = world().await;
    Customer::insert(&w.b, Customer { id: 4_000, name: "theirs".into(), token: None })
        .execute(&w.db)
        .await
        .unwrap();
    let order = |id, customer_id| Order {
        id,
        customer_id,
        email: format!("{id}@x"),
        total: 1,
        note: None,
        placed_at: tenantry::now(),
    };
    let foreign = Order::insert(&w.a, order(900, 4_000)).execute(&w.db).await.unwrap_err();
    let missing = Order::insert(&w.a, order(900, 5_000)).execute(&w.db).await.unwrap_err();
    assert_eq!((foreign.kind(), foreign.column()), (ErrorKind::NotFound, Some("customer_id")));
    assert_eq!(format!("{foreign:?}"), format!("{missing:?}"));
}

/// A value or scope that is frozen into a shape would be served to every organization.
#[tokio::test]
async fn l46_a_prepared_shape_holds_no_value_and_no_scope() {
    let w = world().await;
    let value = Order::prepare(|q, ()| q.filter(orders::email.eq("frozen@example.com")));
    let scope = Order::prepare(|q, ()| {
        q.filter(orders::customer_id.in_subquery(Customer::select(&w.b).columns(customers::id)))
    });
    for shape in [&value, &scope] {
        let error = shape.fetch_all(&w.a, (), &w.db).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
    }
    let frozen = || orders::email.eq("frozen@example.com");
    let foreign = || orders::customer_id.in_subquery(Customer::select(&w.b).columns(customers::id));
    let of = Order::prepare_columns(|q, ()| q.filter(frozen()).columns(orders::id));
    let theirs = Order::prepare_columns(|q, ()| q.filter(foreign()).columns(orders::id));
    for shape in [&of, &theirs] {
        let error = shape.fetch_all(&w.a, (), &w.db).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
    }
    for outcome in [
        Order::prepare_delete(|d, ()| d.filter(frozen())).execute(&w.a, (), &w.db).await,
        Order::prepare_delete(|d, ()| d.filter(foreign())).execute(&w.a, (), &w.db).await,
        Order::prepare_delete(|d, ()| d.key(10)).execute(&w.a, (), &w.db).await,
        Order::prepare_update(|u, ()| u.set(orders::total, 1).all_rows())
            .execute(&w.a, (), &w.db)
            .await,
        Order::prepare_update(|u, (n,): (_,)| u.set(orders::total, n).filter(foreign()))
            .execute(&w.a, (1,), &w.db)
            .await,
    ] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
    }
}

/// One kind of organization for each schema: another kind's text could be another one's bytes.
#[tokio::test]
async fn a_scope_of_another_kind_of_organization_runs_nothing() {
    let w = world().await;
    let other = tenantry::OrganizationId::from_i64(10).unwrap();
    w.directory.add_member(&other, &ann(), tenantry::scope::Role::Member);
    let scope = w.issuer.enter(&ann(), other).await.unwrap();
    let read = Order::select(&scope).fetch_all(&w.db).await.map(|_| ());
    let begun = w.db.begin(&scope).await.map(|_| ());
    for outcome in [read, begun] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
    }
}

#[tokio::test]
async fn l34_an_or_alone_is_one_operand_below_the_organization() {
    let w = world().await;
    let mine = Customer::select(&w.a).count(&w.db).await.unwrap();
    let found = Customer::select(&w.a)
        .filter(customers::id.gt(0).or(customers::id.le(0)))
        .count(&w.db)
        .await
        .unwrap();
    assert_eq!(found, mine);
}
