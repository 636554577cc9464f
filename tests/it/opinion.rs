//! The second opinion alone: statements of every form are rendered and judged in both dialects,
//! and nothing runs them. No store, no witness, no model and no golden text stands beside it, so
//! that a defect of the renderer that shows here was refused by the second opinion and by nothing
//! else. The mutation gate says so of at least ten.

use tenantry::query::{any, count};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::{Dialect, First, Schema, Second};
use tenantry::{OrganizationId, Result, TenantScope};

tenantry::global_table! {
    #[derive(Debug, Clone)]
    pub struct Genre in genres { key id: i64, name: String }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone)]
    pub struct Customer in customers {
        key id: i64,
        name: String,
        genre_id: Option<i64> => genres,
    }
    unique (name);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone)]
    pub struct Order in orders {
        key id: i64,
        customer_id: i64 => customers,
        total: i64,
        note: Option<String>,
    }
    unique (note);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone)]
    pub struct Employee in employees {
        key id: i64,
        boss: Option<i64> => employees,
    }
}

async fn scope() -> TenantScope {
    let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
    let organization = OrganizationId::new();
    directory.add_member(&organization, &ann, Role::Member);
    ScopeIssuer::new(directory).enter(&ann, organization).await.unwrap()
}

/// What the second opinion says of a statement is all that can fail here.
#[track_caller]
fn approved(to_sql: impl Fn(&Schema, Dialect) -> Result<String>) {
    let schema =
        Schema::new().global::<Genre>().tenant::<Customer>().tenant::<Order>().tenant::<Employee>();
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        if let Err(error) = to_sql(&schema, dialect) {
            panic!("{dialect:?}: {error}");
        }
    }
}

fn customer(id: i64) -> Customer {
    Customer { id, name: format!("{id}"), genre_id: None }
}

#[tokio::test]
async fn reads_of_one_table() {
    let a = &scope().await;
    approved(|schema, dialect| Order::find(a, 1).to_sql(schema, dialect));
    approved(|schema, dialect| Order::select(a).to_sql(schema, dialect));
    let rich = || Order::select(a).filter(orders::total.gt(1)).order_by(orders::note.desc());
    approved(|schema, dialect| rich().limit(3).offset(1).to_sql(schema, dialect));
    approved(|schema, dialect| rich().for_update().to_sql(schema, dialect));
    approved(|schema, dialect| Order::select(a).unordered().to_sql(schema, dialect));
    approved(|schema, dialect| rich().columns((orders::id, orders::note)).to_sql(schema, dialect));
    approved(|schema, dialect| {
        Order::select(a).columns(orders::note).distinct().to_sql(schema, dialect)
    });
    approved(|schema, dialect| Genre::select(a).to_sql(schema, dialect));
}

#[tokio::test]
async fn filters() {
    let a = &scope().await;
    let (total, note) = (orders::total, orders::note);
    for filter in [
        total.eq(1).and(total.lt(9)),
        total.eq(1).or(note.is_null()),
        !total.eq(1),
        !(total.eq(1).or(note.is_not_null())),
        total.eq(1).or(total.gt(2).and(note.eq("n"))),
        total.eq(1).and(total.gt(2).or(note.eq(None))),
        total.in_list([1, 2, 3]).or(total.between(4, 5)),
        total.in_list([1; 0]),
        note.like("a%").or(note.contains("b")),
        total.lt(orders::id),
    ] {
        approved(|schema, dialect| Order::select(a).filter(filter.clone()).to_sql(schema, dialect));
        approved(|schema, dialect| {
            Order::update(a).set(total, total.add(1)).filter(filter.clone()).to_sql(schema, dialect)
        });
        approved(|schema, dialect| Order::delete(a).filter(filter.clone()).to_sql(schema, dialect));
    }
}

#[tokio::test]
async fn joins() {
    let a = &scope().await;
    approved(|schema, dialect| {
        Order::select(a)
            .join(orders::customer_id)
            .filter(customers::name.eq("Ann"))
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Order::select(a)
            .left_join(orders::customer_id)
            .left_join(customers::genre_id)
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Customer::select(a)
            .left_join_from(orders::customer_id)
            .columns((customers::name, orders::total))
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Employee::select(a)
            .join(employees::boss)
            .filter(any((employees::id.at(First).gt(1), employees::id.at(Second).eq(2))))
            .to_sql(schema, dialect)
    });
}

#[tokio::test]
async fn subqueries() {
    let a = &scope().await;
    let named = || Customer::select(a).filter(customers::name.eq("Ann")).columns(customers::id);
    let large = || Order::select(a).filter(orders::total.gt(1));
    approved(|schema, dialect| {
        Order::select(a).filter(orders::customer_id.in_subquery(named())).to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Customer::select(a)
            .filter(orders::customer_id.exists_in(large()).and(customers::id.gt(1)))
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Order::delete(a).filter(orders::customer_id.in_subquery(named())).to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Customer::update(a)
            .set(customers::name, "x")
            .filter(orders::customer_id.exists_in(large()))
            .to_sql(schema, dialect)
    });
}

#[tokio::test]
async fn aggregates_and_groups() {
    let a = &scope().await;
    approved(|schema, dialect| {
        Order::select(a)
            .filter(orders::total.gt(1))
            .aggregate((count(), orders::total.sum(), orders::note.count_distinct()))
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Order::select(a)
            .join(orders::customer_id)
            .aggregate((count(), orders::total.max()))
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Order::select(a)
            .group_by(orders::customer_id)
            .aggregate((count(), orders::total.sum()))
            .having(count().gt(1))
            .order_by(count().desc())
            .limit(2)
            .to_sql(schema, dialect)
    });
}

#[tokio::test]
async fn writes() {
    let a = &scope().await;
    approved(|schema, dialect| Customer::insert(a, customer(1)).to_sql(schema, dialect));
    approved(|schema, dialect| {
        Customer::insert_many(a, [1, 2, 3].map(customer)).returning().to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Customer::insert(a, customer(1))
            .on_conflict(customers::id)
            .update(customers::name)
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Customer::insert_many(a, [1, 2].map(customer))
            .on_conflict(customers::name)
            .do_nothing()
            .returning()
            .to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Order::update(a).set(orders::note, None).all_rows().to_sql(schema, dialect)
    });
    approved(|schema, dialect| {
        Order::update(a).set(orders::total, orders::id).key(1).returning().to_sql(schema, dialect)
    });
    approved(|schema, dialect| Order::delete(a).all_rows().to_sql(schema, dialect));
    approved(|schema, dialect| Order::delete(a).key(1).returning().to_sql(schema, dialect));
}
