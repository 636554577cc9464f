//! Query plans: every tenant table of every statement is reached through a key or index that
//! begins with the tenant column, whatever the planner believes about the data. A plan that walks
//! other organizations' rows makes a statement's cost depend on them.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tenantry::query::{all, any, count};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::{Dialect, First, Schema, Second};
use tenantry::{OrganizationId, Result, TenantScope};

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Store in stores {
        key id: i64,
        city: String,
    }
}

tenantry::global_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Country in countries {
        key id: i64,
        name: String,
    }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Person in people = "People" {
        key id: i64,
        store_id: Option<i64> = "StoreId" => stores,
        boss: Option<i64> = "ReportsTo" => people,
        country_id: i64 => countries,
        email: String,
        age: i64,
        joined_at: time::OffsetDateTime,
    }
    tenant shop = "ShopId";
    unique (email);
    index (joined_at);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Sale in sales {
        key person_id: i64 => people,
        key n: i64,
        total: i64,
        note: Option<String>,
    }
    index (total);
}

fn schema() -> Schema {
    Schema::new().tenant::<Store>().global::<Country>().tenant::<Person>().tenant::<Sale>()
}

/// Every form of a statement, by name.
fn statements(scope: &TenantScope) -> Result<Vec<(&'static str, String)>> {
    let schema = schema();
    let mut all_sql = Vec::new();
    macro_rules! statements {
        ($($name:literal: $statement:expr;)*) => {
            $(all_sql.push(($name, $statement.to_sql(&schema, Dialect::Sqlite)?));)*
        };
    }
    let then = time::OffsetDateTime::UNIX_EPOCH;
    let sale = || Sale { person_id: 1, n: 1, total: 5, note: None };
    let adults = || Person::select(scope).filter(people::age.ge(18));
    statements! {
        "find": Person::find(scope, 1);
        "find by two keys": Sale::find(scope, (1, 2));
        "all rows": Person::select(scope);
        "unordered": Person::select(scope).unordered();
        "by a unique column": Person::select(scope).filter(people::email.eq("a@x"));
        "by a column without an index": Person::select(scope).filter(people::age.gt(30));
        "by an indexed range": Person::select(scope).filter(people::joined_at.ge(then));
        "between": Person::select(scope).filter(people::joined_at.between(then, then));
        "in a list": Person::select(scope).filter(people::id.in_list([1, 2, 3]));
        "in an empty list": Person::select(scope).filter(people::id.in_list(Vec::<i64>::new()));
        "like": Person::select(scope).filter(people::email.like("a%"));
        "null": Person::select(scope).filter(people::boss.is_null());
        "not": Person::select(scope).filter(!people::email.eq("a@x"));
        "or over an index": Person::select(scope)
            .filter(people::email.eq("a@x").or(people::id.eq(1)));
        "or over no index": Person::select(scope)
            .filter(people::email.eq("a@x").or(people::age.gt(30)));
        "one column against another": Person::select(scope).filter(people::boss.eq(people::store_id));
        "ordered by an index": Person::select(scope).order_by(people::joined_at.desc()).limit(50);
        "ordered by no index": Person::select(scope).order_by(people::age.asc()).limit(50).offset(10);
        "after a page's boundary": Person::select(scope)
            .filter(people::joined_at.lt(then)
                .or(people::joined_at.eq(then).and(people::id.gt(7))))
            .order_by(people::joined_at.desc())
            .limit(26);
        "columns": Person::select(scope).columns((people::email, people::age));
        "covered columns": Person::select(scope).columns(people::joined_at);
        "distinct": Person::select(scope).columns(people::age).distinct();
        "aggregate": Person::select(scope).aggregate((count(), people::age.max()));
        "smallest of an index": Person::select(scope).aggregate(people::joined_at.min());
        "count of different": Person::select(scope).aggregate(people::age.count_distinct());
        "groups": Person::select(scope).group_by(people::age).aggregate(count());
        "groups of a key": Person::select(scope).group_by(people::store_id).aggregate(count());
        "join": Person::select(scope).join(people::store_id);
        "join, filtered by the parent": Person::select(scope).join(people::store_id)
            .filter(stores::city.eq("Bonn"));
        "join, ordered by the parent": Person::select(scope).join(people::store_id)
            .order_by(stores::city.asc()).limit(10);
        "join, unordered": Person::select(scope).join(people::store_id).unordered();
        "left join": Person::select(scope).left_join(people::store_id);
        "left join, the parent absent": Person::select(scope).left_join(people::store_id)
            .filter(stores::id.is_null());
        "children": Store::select(scope).left_join_from(people::store_id);
        "children, filtered": Store::select(scope).left_join_from(people::store_id)
            .filter(people::age.gt(30));
        "self-join": Person::select(scope).join(people::boss)
            .filter(all((people::age.at(First).gt(30), people::age.at(Second).lt(60))));
        "join of a global table": Person::select(scope).join(people::country_id)
            .filter(countries::name.eq("Fiji"));
        "join of three": Sale::select(scope).join(sales::person_id).join(people::store_id);
        "join of four": Sale::select(scope).join(sales::person_id).join(people::store_id)
            .join(people::country_id)
            .filter(all((sales::total.gt(5), stores::city.eq("Bonn"))));
        "either table of a join": Sale::select(scope).join(sales::person_id)
            .filter(any((sales::total.gt(5), people::email.eq("a@x"))));
        "aggregate over a join": Sale::select(scope).join(sales::person_id)
            .aggregate(sales::total.sum());
        "groups over a join": Sale::select(scope).join(sales::person_id)
            .group_by(people::age).aggregate(sales::total.sum());
        "in a subquery": Person::select(scope).filter(people::store_id.in_subquery(
            Store::select(scope).filter(stores::city.eq("Bonn")).columns(stores::id)));
        "not in a subquery": Person::select(scope).filter(!people::store_id.in_subquery(
            Store::select(scope).filter(stores::city.eq("Bonn")).columns(stores::id)));
        "in a limited subquery": Person::select(scope).filter(people::id.in_subquery(
            Sale::select(scope).order_by(sales::total.desc()).limit(3).columns(sales::person_id)));
        "in a subquery of the same table": Person::select(scope)
            .filter(people::boss.in_subquery(adults().columns(people::id)));
        "exists": Person::select(scope).filter(
            sales::person_id.exists_in(Sale::select(scope).filter(sales::total.gt(5))));
        "not exists": Person::select(scope).filter(
            !sales::person_id.exists_in(Sale::select(scope)));
        "exists within exists": Store::select(scope).filter(people::store_id.exists_in(
            adults().filter(sales::person_id.exists_in(Sale::select(scope)))));
        "update by key": Sale::update(scope).set(sales::total, 1).key((1, 2));
        "update by a filter": Sale::update(scope).set(sales::note, "x").filter(sales::total.gt(5));
        "update of what finds the row": Sale::update(scope)
            .set(sales::total, sales::total.add(1)).filter(sales::total.gt(5));
        "update of all rows": Sale::update(scope).set(sales::total, 0).all_rows();
        "update by a subquery": Sale::update(scope).set(sales::total, 0)
            .filter(sales::person_id.in_subquery(adults().columns(people::id)));
        "update, returning": Sale::update(scope).set(sales::total, 1).all_rows().returning();
        "delete by key": Sale::delete(scope).key((1, 2));
        "delete by a filter": Sale::delete(scope).filter(sales::note.is_not_null());
        "delete of all rows": Sale::delete(scope).all_rows();
        "delete by a subquery": Sale::delete(scope)
            .filter(sales::person_id.in_subquery(adults().columns(people::id))).returning();
        "insert": Sale::insert(scope, sale());
        "upsert": Sale::insert(scope, sale())
            .on_conflict((sales::person_id, sales::n)).update(sales::total);
    }
    Ok(all_sql)
}

/// Whether a plan reaches the rows of one organization alone; the reason where it does not.
fn judge(sql: &str, plan: &[String]) -> std::result::Result<(), String> {
    let tenants =
        [("sales", "organization_id"), ("stores", "organization_id"), ("People", "ShopId")];
    for (table, tenant) in tenants {
        for alias in aliases(sql, table) {
            let reached: Vec<_> = plan.iter().filter(|step| names(step, &alias)).collect();
            let inserted = sql.starts_with("INSERT");
            if reached.is_empty() && !inserted {
                return Err(format!("{table} AS {alias} is not in the plan"));
            }
            for step in reached {
                let keyed = format!("({tenant}=?");
                if !step.starts_with("SEARCH ")
                    || step.contains("AUTOMATIC")
                    || !step.contains(&keyed)
                {
                    return Err(format!("{table} AS {alias}: {step}"));
                }
            }
        }
    }
    Ok(())
}

/// The aliases of a table in a statement.
fn aliases(sql: &str, table: &str) -> Vec<String> {
    sql.match_indices(&format!("\"{table}\" AS t"))
        .map(|(at, found)| {
            let digits: String =
                sql[at + found.len()..].chars().take_while(char::is_ascii_digit).collect();
            format!("t{digits}")
        })
        .collect()
}

/// Whether a step of a plan is about an alias: `SEARCH t0 …`, `SCAN t0`, `BLOOM FILTER ON t0 …`.
fn names(step: &str, alias: &str) -> bool {
    step.split([' ', '(']).any(|word| word == alias)
}

async fn plan(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let steps = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
    steps.iter().map(|step| step.get::<String, _>("detail")).collect()
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

async fn judge_all(connection: &mut SqliteConnection, scope: &TenantScope, when: &str) {
    let mut bad = Vec::new();
    for (name, sql) in statements(scope).unwrap() {
        let plan = plan(connection, &sql).await;
        if let Err(reason) = judge(&sql, &plan) {
            bad.push(format!("{name}: {reason}\n    {sql}\n    {plan:#?}"));
        }
    }
    assert!(bad.is_empty(), "{when}:\n{}", bad.join("\n"));
}

/// The first rows by an indexed column are read along its index, in either direction: a sort reads
/// all rows of the organization for them.
async fn judge_orders(connection: &mut SqliteConnection, scope: &TenantScope, when: &str) {
    for order in [people::joined_at.asc(), people::joined_at.desc()] {
        let read = Person::select(scope).order_by(order).limit(10);
        let sql = read.to_sql(&schema(), Dialect::Sqlite).unwrap();
        let plan = plan(connection, &sql).await;
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{when}: {sql}\n{plan:#?}");
    }
}

/// Rows of `organizations`, each with as many people.
fn rows(organizations: std::ops::Range<u32>, people: u32) -> String {
    let numbers = |to: u32| {
        format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {to})")
    };
    let mut sql = String::new();
    for organization in organizations {
        // An organization that no scope has.
        let id = format!("x'{:032x}'", organization + 1);
        sql.push_str(&format!(
            "INSERT INTO stores SELECT {id}, i, 'Bonn' FROM ({} SELECT i FROM n);\n",
            numbers(people.div_ceil(10))
        ));
        sql.push_str(&format!(
            "INSERT INTO \"People\" SELECT {id}, i, 1 + i / 10, NULL, 1, 'p' || i, i % 90, i FROM ({} SELECT i FROM n);\n",
            numbers(people)
        ));
        sql.push_str(&format!(
            "INSERT INTO sales SELECT {id}, i, i % 7, i, NULL FROM ({} SELECT i FROM n);\n",
            numbers(people)
        ));
    }
    sql
}

#[tokio::test]
async fn every_tenant_table_is_reached_by_its_tenant_column() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("plans.sqlite"))
        .create_if_missing(true)
        .pragma("case_sensitive_like", "ON")
        .foreign_keys(false);
    let connection = &mut SqliteConnection::connect_with(&options).await.unwrap();
    for statement in schema().ddl(Dialect::Sqlite).unwrap() {
        run(connection, &statement).await;
    }
    let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
    let directory = MemoryDirectory::new();
    directory.add_member(&organization, &ann, Role::Member);
    let scope = ScopeIssuer::new(directory).enter(&ann, organization).await.unwrap();

    judge_all(connection, &scope, "in an empty database").await;
    judge_orders(connection, &scope, "in an empty database").await;

    run(connection, "INSERT INTO countries VALUES (1, 'Fiji'), (2, 'Peru')").await;
    run(connection, &rows(0..40, 30)).await;
    run(connection, "ANALYZE").await;
    judge_all(connection, &scope, "with statistics of many small organizations").await;

    run(connection, &rows(100..101, 20_000)).await;
    run(connection, "ANALYZE").await;
    judge_all(connection, &scope, "with statistics of one large organization among them").await;
    judge_orders(connection, &scope, "with statistics of one large organization among them").await;

    run(connection, "DELETE FROM sales WHERE organization_id IN (SELECT organization_id FROM stores GROUP BY 1 HAVING count(*) < 10)").await;
    run(
        connection,
        "DELETE FROM \"People\" WHERE \"ShopId\" NOT IN (SELECT organization_id FROM sales)",
    )
    .await;
    run(
        connection,
        "DELETE FROM stores WHERE organization_id NOT IN (SELECT organization_id FROM sales)",
    )
    .await;
    run(connection, "ANALYZE").await;
    judge_all(connection, &scope, "with statistics of a single organization").await;

    // Statistics that say the tenant column tells nothing apart; read when a connection opens.
    run(connection, "UPDATE sqlite_stat1 SET stat = '1000000 1000000 1000000 1000000'").await;
    let connection = &mut SqliteConnection::connect_with(&options).await.unwrap();
    judge_all(connection, &scope, "with statistics that blame the tenant column").await;
}

/// The judge itself knows a bad plan.
#[test]
fn a_scan_is_refused() {
    let sql = r#"SELECT t0."id" FROM "sales" AS t0 INNER JOIN "People" AS t1 ON 1"#;
    let good = [
        "SEARCH t0 USING PRIMARY KEY (organization_id=?)",
        "SEARCH t1 USING INDEX i (ShopId=? AND email=?)",
    ];
    let judged =
        |steps: &[&str]| judge(sql, &steps.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(judged(&good), Ok(()));
    for bad in [
        "SCAN t1",
        "SCAN t1 USING INDEX i",
        "SEARCH t1 USING AUTOMATIC COVERING INDEX (ShopId=?)",
        "SEARCH t1 USING INDEX i (email=?)",
        "BLOOM FILTER ON t1 (ShopId=?)",
    ] {
        assert!(judged(&[good[0], bad]).is_err(), "{bad}");
        assert!(judged(&[good[0], good[1], bad]).is_err(), "{bad}");
    }
    assert!(judged(&good[..1]).is_err());
}
