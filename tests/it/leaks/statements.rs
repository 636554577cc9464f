//! Where a filter could escape: L34 to L36, L38, L43, L77.

use proptest::prelude::*;
use tenantry::ErrorKind;
use tenantry::query::{Filter, count};
use tenantry::table::{
    Column, ColumnDefinition, ColumnType, Dialect, RowReader, RowWriter, Schema, Table,
    TableDefinition, TenantTable,
};
use uuid::Uuid;

use super::fixture::*;

/// A condition as a reader would write it down.
#[derive(Debug, Clone)]
enum Tree {
    Total(u8, i64),
    Note(Option<&'static str>),
    NotNote(&'static str),
    Ids(Vec<i64>),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn filter(&self) -> Filter<Order> {
        match self {
            Self::Total(0, value) => orders::total.eq(*value),
            Self::Total(1, value) => orders::total.lt(*value),
            Self::Total(2, value) => orders::total.ge(*value),
            Self::Total(_, value) => orders::total.ne(*value),
            Self::Note(note) => orders::note.eq(*note.as_ref().unwrap_or(&"")).or(match note {
                Some(_) => orders::id.lt(0),
                None => orders::note.is_null(),
            }),
            Self::NotNote(note) => orders::note.ne(*note),
            Self::Ids(ids) => orders::id.in_list(ids.clone()),
            Self::Not(inner) => !inner.filter(),
            Self::And(left, right) => left.filter().and(right.filter()),
            Self::Or(left, right) => left.filter().or(right.filter()),
        }
    }

    /// As SQL judges: `None` is neither true nor false.
    fn holds(&self, row: &Order) -> Option<bool> {
        match self {
            Self::Total(0, value) => Some(row.total == *value),
            Self::Total(1, value) => Some(row.total < *value),
            Self::Total(2, value) => Some(row.total >= *value),
            Self::Total(_, value) => Some(row.total != *value),
            Self::Note(None) if row.note.is_none() => Some(true),
            Self::Note(note) => row.note.as_deref().map(|held| held == note.unwrap_or("")),
            Self::NotNote(note) => row.note.as_deref().map(|held| held != *note),
            Self::Ids(ids) => Some(ids.contains(&row.id)),
            Self::Not(inner) => inner.holds(row).map(|held| !held),
            Self::And(left, right) => match (left.holds(row), right.holds(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.holds(row), right.holds(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let total = prop_oneof![Just(100), Just(200), Just(300), Just(7_000_010)];
    let note = prop_oneof![Just("quick"), Just("TAINT-note-10"), Just("' OR 1=1 --")];
    let leaf = prop_oneof![
        (0..4u8, total).prop_map(|(op, value)| Tree::Total(op, value)),
        proptest::option::of(note.clone()).prop_map(Tree::Note),
        note.prop_map(Tree::NotNote),
        proptest::collection::vec(9..18i64, 0..4).prop_map(Tree::Ids),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Tree::Or(Box::new(a), Box::new(b))),
        ]
    })
}

/// Whatever is joined by OR stands in one parenthesis below the organization: for reads, counts,
/// updates and deletes.
#[test]
fn l34_no_tree_of_conditions_reaches_past_the_organization() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let w = runtime.block_on(world());
    let rows = runtime.block_on(Order::select(&w.a).fetch_all(&w.db)).unwrap();
    let before = runtime.block_on(others(&w.path, w.a.organization()));
    let config =
        ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(first in trees(), second in trees())| {
        let both = Tree::And(Box::new(first.clone()), Box::new(second.clone()));
        let expected: Vec<Order> =
            rows.iter().filter(|row| both.holds(row) == Some(true)).cloned().collect();
        runtime.block_on(async {
            // Two calls of `filter` are two operands beside the organization's.
            let select = || Order::select(&w.a).filter(first.filter()).filter(second.filter());
            assert_eq!(select().fetch_all(&w.db).await.unwrap(), expected);
            assert_eq!(select().count(&w.db).await.unwrap(), expected.len() as i64);
            assert_eq!(select().exists(&w.db).await.unwrap(), !expected.is_empty());
            let (n, most) =
                select().aggregate((count(), orders::total.max())).fetch_one(&w.db).await.unwrap();
            assert_eq!((n as usize, most), (expected.len(), expected.iter().map(|row| row.total).max()));
            let mut tx = w.db.begin(&w.a).await.unwrap();
            let updated = Order::update(&w.a)
                .set(orders::total, orders::total.add(0))
                .filter(first.filter())
                .filter(second.filter())
                .execute(&mut tx)
                .await
                .unwrap();
            let deleted = Order::delete(&w.a)
                .filter(first.filter())
                .filter(second.filter())
                .execute(&mut tx)
                .await
                .unwrap();
            assert_eq!((updated, deleted), (expected.len() as u64, expected.len() as u64));
            tx.rollback().await.unwrap();
        });
    });
    assert_eq!(runtime.block_on(others(&w.path, w.a.organization())), before);
}

/// Text that ends a literal, a parenthesis or a statement, in every place that takes text.
#[tokio::test]
async fn l35_text_that_breaks_out_of_sql_is_a_value_like_any_other() {
    let w = world().await;
    let before = others(&w.path, w.a.organization()).await;
    for (n, text) in [
        "1=1) OR (1=1",
        "' OR '1'='1",
        "'; DELETE FROM customers; --",
        "\" OR \"\"=\"",
        "x') UNION SELECT * FROM customers --",
        "%",
        "_____",
        "\\",
        "?1",
        "$1",
        "organization_id",
        "/*",
        "\u{202e}'\n--",
    ]
    .into_iter()
    .enumerate()
    {
        let none: Vec<Customer> = Vec::new();
        for filter in [
            customers::name.eq(text),
            customers::name.in_list([text, text]),
            customers::name.between(text, text),
            customers::name.contains(text),
            customers::name.starts_with(text),
            customers::name.ends_with(text),
            customers::token.eq(text),
        ] {
            let sql = Customer::select(&w.a)
                .filter(filter.clone())
                .to_sql(&schema(), Dialect::Sqlite)
                .unwrap();
            assert!(
                !sql.contains("DELETE") && !sql.contains("UNION") && !sql.contains("1=1"),
                "{sql}"
            );
            assert_eq!(
                Customer::select(&w.a).filter(filter).fetch_all(&w.db).await.unwrap(),
                none,
                "{text}"
            );
        }
        let id = 100 + n as i64;
        Customer::insert(&w.a, customer(id, text)).execute(&w.db).await.unwrap();
        Customer::update(&w.a).set(customers::token, text).key(id).execute(&w.db).await.unwrap();
        let stored =
            Customer::select(&w.a).filter(customers::name.eq(text)).fetch_one(&w.db).await.unwrap();
        assert_eq!(stored, Customer { token: Some(text.into()), ..customer(id, text) });
        Customer::delete(&w.a).filter(customers::name.contains(text)).execute(&w.db).await.unwrap();
        assert_eq!(Customer::select(&w.a).count(&w.db).await.unwrap(), 3, "{text}");
    }
    let wild = Customer::select(&w.a).filter(customers::name.like("%")).count(&w.db).await.unwrap();
    assert_eq!(wild, 3);
    assert_eq!(others(&w.path, w.a.organization()).await, before);
}

/// B's rows satisfy every subquery; A's do not unless said.
#[tokio::test]
async fn l36_subqueries_are_scoped_in_every_place_that_takes_one() {
    let seen = in_two_worlds(async |w| {
        let (db, a) = (&w.db, &w.a);
        let large = || Order::select(a).filter(orders::total.gt(1_000));
        let large_customers = || large().columns(orders::customer_id);
        let in_large = || customers::id.in_subquery(large_customers());
        let exists_large = || orders::customer_id.exists_in(large());
        let deep = || {
            customers::id.in_subquery(
                Order::select(a)
                    .filter(
                        orders::id.in_subquery(
                            Line::select(a)
                                .filter(order_lines::quantity.gt(1_000))
                                .columns(order_lines::order_id),
                        ),
                    )
                    .columns(orders::customer_id),
            )
        };
        let newest = || {
            customers::id.in_subquery(
                Order::select(a)
                    .order_by(orders::total.desc())
                    .limit(1)
                    .columns(orders::customer_id),
            )
        };
        let joined = || {
            customers::id.in_subquery(
                Line::select(a)
                    .join(order_lines::order_id)
                    .filter(order_lines::quantity.gt(1_000))
                    .columns(orders::customer_id),
            )
        };
        let mut log = Vec::new();
        for filter in [
            in_large(),
            exists_large(),
            deep(),
            newest(),
            joined(),
            !in_large(),
            !exists_large(),
            !deep(),
        ] {
            log.push(seen(Customer::select(a).filter(filter.clone()).fetch_all(db).await));
            log.push(seen(Customer::select(a).filter(filter.clone()).count(db).await));
            log.push(seen(Customer::select(a).filter(filter.clone()).exists(db).await));
            log.push(seen(
                Customer::select(a)
                    .filter(filter.clone())
                    .columns(customers::name)
                    .distinct()
                    .fetch_all(db)
                    .await,
            ));
            log.push(seen(
                Customer::select(a)
                    .filter(filter.clone())
                    .aggregate((count(), customers::id.sum()))
                    .fetch_one(db)
                    .await,
            ));
            log.push(seen(
                Customer::select(a)
                    .filter(filter.clone())
                    .group_by(customers::name)
                    .aggregate(count())
                    .fetch_all(db)
                    .await,
            ));
            log.push(seen(
                Customer::select(a)
                    .left_join_from(orders::customer_id)
                    .filter(filter.clone())
                    .fetch_all(db)
                    .await,
            ));
            log.push(seen(
                Customer::select(a)
                    .filter(filter.clone())
                    .page(None, 10)
                    .fetch(db)
                    .await
                    .map(|page| page.rows),
            ));
            log.push(seen(
                Customer::update(a)
                    .set(customers::token, "touched")
                    .filter(filter.clone())
                    .execute(db)
                    .await,
            ));
            let mut tx = db.begin(a).await.unwrap();
            Line::delete(a).all_rows().execute(&mut tx).await.unwrap();
            log.push(seen(
                Order::delete(a)
                    .filter(orders::customer_id.in_subquery(
                        Customer::select(a).filter(filter.clone()).columns(customers::id),
                    ))
                    .returning()
                    .fetch_all(&mut tx)
                    .await,
            ));
            tx.rollback().await.unwrap();
        }
        // Groups are filtered by a subquery too.
        let by_customer = Order::select(a).group_by(orders::customer_id).aggregate(count());
        log.push(seen(
            by_customer
                .having(orders::customer_id.in_subquery(large_customers()))
                .fetch_all(db)
                .await,
        ));
        log
    })
    .await;
    assert_eq!((&*seen[0], &*seen[1], &*seen[2]), ("[]", "0", "false"));
    for none in [0, 10, 20, 40] {
        assert_eq!((&*seen[none], &*seen[none + 8]), ("[]", "0"), "{seen:#?}");
    }
    assert!(seen[30].contains("Bob") && seen[31] == "1", "{}", seen[30]);
    for every in [50, 60, 70] {
        assert_eq!((&*seen[every + 1], &*seen[every + 8]), ("3", "3"), "{seen:#?}");
    }
}

#[tokio::test]
async fn l36_a_subquery_of_another_organizations_scope_runs_nothing() {
    let w = world().await;
    let (a, b, db) = (&w.a, &w.b, &w.db);
    let before = others(&w.path, &organization(0xFFFF)).await;
    let foreign = || customers::id.in_subquery(Order::select(b).columns(orders::customer_id));
    let nested = || {
        customers::id.in_subquery(
            Order::select(a)
                .filter(orders::customer_id.in_subquery(Customer::select(b).columns(customers::id)))
                .columns(orders::customer_id),
        )
    };
    let exists = || orders::customer_id.exists_in(Order::select(b));
    for filter in [foreign(), nested(), exists(), !foreign(), foreign().or(customers::id.gt(0))] {
        let outcomes = [
            Customer::select(a).filter(filter.clone()).fetch_all(db).await.map(|rows| rows.len()),
            Customer::select(a).filter(filter.clone()).count(db).await.map(|n| n as usize),
            Customer::select(a).filter(filter.clone()).exists(db).await.map(usize::from),
            Customer::update(a)
                .set(customers::token, "x")
                .filter(filter.clone())
                .execute(db)
                .await
                .map(|n| n as usize),
            Customer::delete(a).filter(filter.clone()).execute(db).await.map(|n| n as usize),
        ];
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
        }
        assert_eq!(
            Customer::select(a)
                .filter(filter)
                .to_sql(&schema(), Dialect::Sqlite)
                .unwrap_err()
                .kind(),
            ErrorKind::Misuse
        );
    }
    assert_eq!(others(&w.path, &organization(0xFFFF)).await, before);
}

tenantry::tenant_table! {
    /// A table that is called as statements call their tables.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Zero in zero = "t0" {
        key id: i64 = "t1",
        value: String = "select",
    }
    tenant owner = "order";
}

tenantry::tenant_table! {
    /// Another.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct One in one = "t1" {
        key id: i64 = "t0",
        zero_id: i64 = "organization_id" => zero,
    }
    tenant owner = "order";
}

#[tokio::test]
async fn l38_tables_and_columns_named_like_aliases_and_keywords_stay_apart() {
    let (_, issuer) = people();
    let tables = || Schema::new().tenant::<Zero>().tenant::<One>();
    let (db, _place) = open(&issuer, tables(), |builder| builder).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
    for (scope, value) in [(&a, "a"), (&b, TAINT)] {
        for id in 1..4 {
            Zero::insert(scope, Zero { id, value: format!("{value}{id}") })
                .execute(&db)
                .await
                .unwrap();
            One::insert(scope, One { id, zero_id: id }).execute(&db).await.unwrap();
        }
    }
    let pairs = One::select(&a).join(one::zero_id).fetch_all(&db).await.unwrap();
    assert_eq!(pairs.len(), 3);
    assert!(
        pairs
            .iter()
            .all(|(one, zero)| one.zero_id == zero.id && zero.value == format!("a{}", one.id))
    );
    let nested = Zero::select(&a)
        .filter(zero::id.in_subquery(One::select(&a).filter(one::id.gt(1)).columns(one::zero_id)))
        .filter(one::zero_id.exists_in(One::select(&a).filter(one::id.lt(3))))
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(nested, [Zero { id: 2, value: "a2".into() }]);
    assert_eq!(One::delete(&a).all_rows().execute(&db).await.unwrap(), 3);
    assert_eq!(One::select(&b).count(&db).await.unwrap(), 3);
}

fn refuses_to_declare(declare: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    std::panic::catch_unwind(declare).is_err()
}

fn columns(columns: &[ColumnDefinition]) -> &'static [ColumnDefinition] {
    Box::leak(columns.to_vec().into_boxed_slice())
}

/// A declaration is checked where it is made; `tests/ui` shows that it does not compile.
#[test]
fn l43_the_tenant_column_is_no_column_under_any_case_or_quoting() {
    for name in
        ["organization_id", "Organization_ID", "ORGANIZATION_ID", "rowid", "OID", "_rowid_", "CTID"]
    {
        assert!(
            refuses_to_declare(move || {
                let _ = TableDefinition::tenant(
                    "orders",
                    "organization_id",
                    columns(&[
                        ColumnDefinition::of::<i64>("id").key(),
                        ColumnDefinition::of::<Uuid>(name),
                    ]),
                );
            }),
            "{name}"
        );
    }
    for name in ["organization_id\"", "x\" = \"x", "a`b", "a'b", "a\\b", "a\nb", "", "\u{7f}"] {
        assert!(
            refuses_to_declare(move || {
                let _ = ColumnDefinition::new(name, ColumnType::I64, false);
            }),
            "{name:?}"
        );
        assert!(
            refuses_to_declare(move || {
                let _ = TableDefinition::tenant(
                    "orders",
                    name,
                    columns(&[ColumnDefinition::of::<i64>("id").key()]),
                );
            }),
            "{name:?}"
        );
    }
}

/// The table of orders, declared by hand with the tenant column as an ordinary one.
#[derive(Debug, Clone, PartialEq)]
struct Stolen {
    id: i64,
    organization: Uuid,
}

impl Table for Stolen {
    type Key = i64;

    fn definition() -> &'static TableDefinition {
        static COLUMNS: [ColumnDefinition; 2] = [
            ColumnDefinition::of::<i64>("id").key(),
            ColumnDefinition::of::<Uuid>("organization_id"),
        ];
        static TABLE: TableDefinition = TableDefinition::tenant("customers", "name", &COLUMNS);
        &TABLE
    }

    fn encode(&self, row: &mut RowWriter<'_>) -> tenantry::Result<()> {
        row.write(&self.id)?;
        row.write(&self.organization)
    }

    fn decode(row: &mut RowReader<'_>) -> tenantry::Result<Self> {
        Ok(Self { id: row.read::<Self, _>(0)?, organization: row.read::<Self, _>(1)? })
    }
}

impl TenantTable for Stolen {}
tenantry::tenant_entries!(Stolen);

impl Stolen {
    const ORGANIZATION: Column<Stolen, Uuid> = Column::new(1);
}

#[tokio::test]
async fn l77_a_hand_made_declaration_of_a_registered_table_runs_nothing() {
    let w = world().await;
    let before = others(&w.path, &organization(0xFFFF)).await;
    let ours = Stolen { id: 1, organization: Uuid::from_u128(0xB) };
    let outcomes = [
        Stolen::select(&w.a).fetch_all(&w.db).await.map(|rows| rows.len()),
        Stolen::find(&w.a, 1).fetch_optional(&w.db).await.map(|row| usize::from(row.is_some())),
        Stolen::insert(&w.a, ours.clone()).execute(&w.db).await.map(|n| n as usize),
        Stolen::insert_many(&w.a, [ours]).execute(&w.db).await.map(|n| n as usize),
        Stolen::update(&w.a)
            .set(Stolen::ORGANIZATION, Uuid::from_u128(0xA))
            .all_rows()
            .execute(&w.db)
            .await
            .map(|n| n as usize),
        Stolen::delete(&w.a).all_rows().execute(&w.db).await.map(|n| n as usize),
        Stolen::select_across(&authority()).fetch_all(&w.db).await.map(|rows| rows.len()),
        Stolen::prepare(|q, ()| q).fetch_all(&w.a, (), &w.db).await.map(|rows| rows.len()),
        Stolen::prepare_columns(|q, ()| q.columns(Stolen::ORGANIZATION))
            .fetch_all(&w.a, (), &w.db)
            .await
            .map(|rows| rows.len()),
        Stolen::prepare_delete(|d, ()| d.all_rows())
            .execute(&w.a, (), &w.db)
            .await
            .map(|n| n as usize),
    ];
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
    }
    assert_eq!(others(&w.path, &organization(0xFFFF)).await, before);
}

/// A column made by hand for a registered table.
#[tokio::test]
async fn l77_a_hand_made_column_names_what_is_declared_or_nothing() {
    let w = world().await;
    let before = others(&w.path, &organization(0xFFFF)).await;
    const BEYOND: Column<Customer, i64> = Column::new(77);
    // The text column of names, taken for a number.
    const MISTYPED: Column<Customer, i64> = Column::new(1);
    let outcomes = [
        Customer::select(&w.a).filter(BEYOND.eq(1)).fetch_all(&w.db).await.map(|rows| rows.len()),
        Customer::select(&w.a).order_by(BEYOND.asc()).fetch_all(&w.db).await.map(|rows| rows.len()),
        Customer::select(&w.a).columns(BEYOND).fetch_all(&w.db).await.map(|rows| rows.len()),
        Customer::select(&w.a).columns(MISTYPED).fetch_all(&w.db).await.map(|rows| rows.len()),
        Customer::update(&w.a).set(BEYOND, 5).all_rows().execute(&w.db).await.map(|n| n as usize),
        Customer::update(&w.a).set(MISTYPED, 5).all_rows().execute(&w.db).await.map(|n| n as usize),
        Customer::insert(&w.a, customer(9, "x"))
            .on_conflict(BEYOND)
            .do_nothing()
            .execute(&w.db)
            .await
            .map(|n| n as usize),
    ];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.expect_err(&format!("outcome {n}"));
        assert!(matches!(error.kind(), ErrorKind::Misuse | ErrorKind::Invalid), "{n}: {error:?}");
    }
    assert_eq!(others(&w.path, &organization(0xFFFF)).await, before);
}
