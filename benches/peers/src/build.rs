//! Building a statement with its bound values, in every way.
//!
//! A case builds what sqlx takes (text and arguments) and drops it. All ways of one statement ask
//! for the same columns and rows and bind the same values.

use std::hint::black_box;

use sea_orm::{
    EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use sea_query::{
    Expr, ExprTrait as _, IntoIden, JoinType, Order as Direction, Query, SqliteQueryBuilder,
};
use sea_query_sqlx::SqlxBinder as _;
use tenantry::query::{Prepared, PreparedUpdate};
use tenantry::{Database, TenantScope};
use uuid::Uuid;

use crate::sea;
use crate::world::{self, Customer, Order, orders};

const EMAIL: &str = "customer7@example.com";
const FLOOR: i64 = 100;

const GET: &str = r#"SELECT t0."id", t0."customer_id", t0."email", t0."total_cents", t0."note", t0."placed_at" FROM "orders" AS t0 WHERE t0."organization_id" = ? AND t0."id" = ?"#;
const LIST: &str = r#"SELECT t0."id", t0."customer_id", t0."email", t0."total_cents", t0."note", t0."placed_at" FROM "orders" AS t0 WHERE t0."organization_id" = ? AND (t0."email" <> ? AND t0."total_cents" > ? AND t0."placed_at" >= ?) ORDER BY t0."placed_at" DESC, t0."total_cents", t0."id" LIMIT ?"#;
const UPDATE: &str = r#"UPDATE "orders" AS t0 SET "note" = ?, "total_cents" = ? WHERE t0."organization_id" = ? AND (t0."id" = ?)"#;
const INSERT: &str = r#"INSERT INTO "orders" ("organization_id", "id", "customer_id", "email", "total_cents", "note", "placed_at") VALUES (?, ?, ?, ?, ?, ?, ?)"#;
const JOIN: &str = r#"SELECT t0."id", t0."customer_id", t0."email", t0."total_cents", t0."note", t0."placed_at", t1."id", t1."name" FROM "orders" AS t0 INNER JOIN "customers" AS t1 ON t1."organization_id" = ? AND t0."organization_id" = t1."organization_id" AND t0."customer_id" = t1."id" WHERE t0."organization_id" = ? AND (t0."total_cents" > ?) ORDER BY t0."id""#;

/// Everything that a case needs, made before it is measured.
pub struct Inputs {
    pub db: Database,
    /// Without the second wall's triggers, so that a write is one statement as the peers' are.
    pub unwalled: Database,
    pub scope: TenantScope,
    organization: Uuid,
    id: Uuid,
    customer: Uuid,
    placed_at: time::OffsetDateTime,
    micros: i64,
    get: Prepared<Order, (Uuid,)>,
    list: Prepared<Order, (String, i64, time::OffsetDateTime)>,
    join: Prepared<(Order, Customer), (i64,)>,
    update: PreparedUpdate<Order, (Option<String>, i64, Uuid)>,
}

impl Inputs {
    pub async fn new() -> Self {
        let (issuer, mut scopes) = world::enter(&[0]).await;
        let database = async |wall| {
            let db = Database::builder()
                .issuer(&issuer)
                .write_wall(wall)
                .connect("sqlite::memory:", world::schema())
                .await
                .unwrap();
            db.create_tables().await.unwrap();
            db
        };
        let row = world::fresh(0, 7);
        Self {
            db: database(true).await,
            unwalled: database(false).await,
            scope: scopes.remove(0),
            organization: world::organization(0),
            id: row.id,
            customer: row.customer_id,
            placed_at: row.placed_at,
            micros: world::FIRST,
            get: Order::prepare(|q, (id,): (_,)| q.filter(orders::id.eq(id))),
            list: Order::prepare(|q, (email, floor, since): (_, _, _)| {
                q.filter(orders::email.ne(email).and(orders::total_cents.gt(floor)))
                    .filter(orders::placed_at.ge(since))
                    .order_by(orders::placed_at.desc())
                    .order_by(orders::total_cents.asc())
                    .limit(50)
            }),
            join: Order::prepare(|q, (floor,): (_,)| {
                q.filter(orders::total_cents.gt(floor)).join(orders::customer_id)
            }),
            update: Order::prepare_update(|q, (note, total, id): (_, _, _)| {
                q.set(orders::note, note).set(orders::total_cents, total).filter(orders::id.eq(id))
            }),
        }
    }

    fn row(&self) -> Order {
        Order {
            id: self.id,
            customer_id: self.customer,
            email: EMAIL.to_owned(),
            total_cents: FLOOR,
            note: None,
            placed_at: self.placed_at,
        }
    }
}

/// One way to build one statement.
#[derive(Clone, Copy)]
pub struct Case {
    pub statement: &'static str,
    pub way: &'static str,
    pub build: fn(&Inputs),
}

macro_rules! cases {
    ($($statement:literal, $way:literal: $build:expr;)*) => {
        /// Every case, each statement's static string first.
        pub const CASES: &[Case] = &[$(Case { statement: $statement, way: $way, build: $build }),*];
    };
}

/// Keeps the compiler from dropping the work.
fn done(values: usize) {
    black_box(values);
}

/// Drops text and arguments as they are after the last value was bound.
macro_rules! bound {
    ($query:expr) => {{
        let mut query = $query;
        let arguments = sqlx::Execute::take_arguments(&mut query).unwrap();
        black_box((sqlx::Execute::sql(query), arguments));
    }};
}

cases! {
    "get", "static": |x| bound!(sqlx::query(GET).bind(x.organization).bind(x.id));
    "get", "find": |x| done(Order::find(&x.scope, x.id).bench_build(&x.db).unwrap());
    "get", "prepared": |x| done(x.get.bench_build(&x.scope, (x.id,), &x.db).unwrap());
    "get", "dynamic": |x| done(Order::select(&x.scope).filter(orders::id.eq(x.id)).bench_build(&x.db).unwrap());
    "get", "sea-query": |x| {
        let (sql, values) = Query::select()
            .columns([sea::Column::Id, sea::Column::CustomerId, sea::Column::Email, sea::Column::TotalCents, sea::Column::Note, sea::Column::PlacedAt])
            .from(sea::Entity)
            .and_where(Expr::col(sea::Column::OrganizationId).eq(x.organization))
            .and_where(Expr::col(sea::Column::Id).eq(x.id))
            .build_sqlx(SqliteQueryBuilder);
        bound!(sqlx::query_with(sqlx::AssertSqlSafe(sql), values));
    };
    "get", "sea-orm": |x| drop(black_box(
        sea::Entity::find_by_id((x.organization, x.id)).build(sea_orm::DbBackend::Sqlite)));

    "list", "static": |x| bound!(
        sqlx::query(LIST).bind(x.organization).bind(EMAIL).bind(FLOOR).bind(x.micros).bind(50_i64));
    "list", "prepared": |x| done(x.list.bench_build(&x.scope, (EMAIL, FLOOR, x.placed_at), &x.db).unwrap());
    "list", "dynamic": |x| done(Order::select(&x.scope)
            .filter(orders::email.ne(EMAIL).and(orders::total_cents.gt(FLOOR)).and(orders::placed_at.ge(x.placed_at)))
            .order_by(orders::placed_at.desc())
            .order_by(orders::total_cents.asc())
            .limit(50)
            .bench_build(&x.db).unwrap());
    "list", "sea-query": |x| {
        let (sql, values) = Query::select()
            .columns([sea::Column::Id, sea::Column::CustomerId, sea::Column::Email, sea::Column::TotalCents, sea::Column::Note, sea::Column::PlacedAt])
            .from(sea::Entity)
            .and_where(Expr::col(sea::Column::OrganizationId).eq(x.organization))
            .and_where(Expr::col(sea::Column::Email).ne(EMAIL))
            .and_where(Expr::col(sea::Column::TotalCents).gt(FLOOR))
            .and_where(Expr::col(sea::Column::PlacedAt).gte(x.micros))
            .order_by(sea::Column::PlacedAt, Direction::Desc)
            .order_by(sea::Column::TotalCents, Direction::Asc)
            .order_by(sea::Column::Id, Direction::Asc)
            .limit(50)
            .build_sqlx(SqliteQueryBuilder);
        bound!(sqlx::query_with(sqlx::AssertSqlSafe(sql), values));
    };
    "list", "sea-orm": |x| {
        use sea_orm::ColumnTrait as _;
        drop(black_box(
            sea::Entity::find()
                .filter(sea::Column::OrganizationId.eq(x.organization))
                .filter(sea::Column::Email.ne(EMAIL))
                .filter(sea::Column::TotalCents.gt(FLOOR))
                .filter(sea::Column::PlacedAt.gte(x.micros))
                .order_by_desc(sea::Column::PlacedAt)
                .order_by_asc(sea::Column::TotalCents)
                .order_by_asc(sea::Column::Id)
                .limit(50)
                .build(sea_orm::DbBackend::Sqlite)));
    };

    "update", "static": |x| bound!(
        sqlx::query(UPDATE).bind("gift").bind(FLOOR).bind(x.organization).bind(x.id));
    "update", "prepared": |x| done(x.update.bench_build(&x.scope, ("gift", FLOOR, x.id), &x.unwalled).unwrap());
    "update", "dynamic": |x| done(Order::update(&x.scope).set(orders::note, "gift").set(orders::total_cents, FLOOR)
            .filter(orders::id.eq(x.id)).bench_build(&x.unwalled).unwrap());
    "update", "dynamic, wall": |x| done(Order::update(&x.scope).set(orders::note, "gift").set(orders::total_cents, FLOOR)
            .filter(orders::id.eq(x.id)).bench_build(&x.db).unwrap());
    "update", "sea-query": |x| {
        let (sql, values) = Query::update()
            .table(sea::Entity)
            .value(sea::Column::Note, "gift")
            .value(sea::Column::TotalCents, FLOOR)
            .and_where(Expr::col(sea::Column::OrganizationId).eq(x.organization))
            .and_where(Expr::col(sea::Column::Id).eq(x.id))
            .build_sqlx(SqliteQueryBuilder);
        bound!(sqlx::query_with(sqlx::AssertSqlSafe(sql), values));
    };

    "insert", "static": |x| {
        let row = black_box(x.row());
        bound!(sqlx::query(INSERT).bind(x.organization).bind(row.id).bind(row.customer_id)
            .bind(row.email).bind(row.total_cents).bind(row.note)
            .bind(i64::try_from(row.placed_at.unix_timestamp_nanos() / 1_000).unwrap()));
    };
    "insert", "dynamic": |x| done(Order::insert(&x.scope, black_box(x.row())).bench_build(&x.unwalled).unwrap());
    "insert", "dynamic, wall": |x| done(Order::insert(&x.scope, black_box(x.row())).bench_build(&x.db).unwrap());
    "insert", "sea-query": |x| {
        let row = black_box(x.row());
        let (sql, values) = Query::insert()
            .into_table(sea::Entity)
            .columns([sea::Column::OrganizationId, sea::Column::Id, sea::Column::CustomerId, sea::Column::Email, sea::Column::TotalCents, sea::Column::Note, sea::Column::PlacedAt])
            .values_panic([
                x.organization.into(), row.id.into(), row.customer_id.into(), row.email.into(),
                row.total_cents.into(), row.note.into(),
                i64::try_from(row.placed_at.unix_timestamp_nanos() / 1_000).unwrap().into(),
            ])
            .build_sqlx(SqliteQueryBuilder);
        bound!(sqlx::query_with(sqlx::AssertSqlSafe(sql), values));
    };

    "join", "static": |x| bound!(
        sqlx::query(JOIN).bind(x.organization).bind(x.organization).bind(FLOOR));
    "join", "prepared": |x| done(x.join.bench_build(&x.scope, (FLOOR,), &x.db).unwrap());
    "join", "dynamic": |x| done(Order::select(&x.scope).join(orders::customer_id).filter(orders::total_cents.gt(FLOOR))
            .bench_build(&x.db).unwrap());
    "join", "sea-query": |x| {
        use sea::customer::Column as Parent;
        let child = |column: sea::Column| (sea::Entity.into_iden(), column.into_iden());
        let parent = |column: Parent| (sea::customer::Entity.into_iden(), column.into_iden());
        let (sql, values) = Query::select()
            .columns([child(sea::Column::Id), child(sea::Column::CustomerId), child(sea::Column::Email), child(sea::Column::TotalCents), child(sea::Column::Note), child(sea::Column::PlacedAt)])
            .columns([parent(Parent::Id), parent(Parent::Name)])
            .from(sea::Entity)
            .join(
                JoinType::InnerJoin,
                sea::customer::Entity,
                Expr::col(parent(Parent::OrganizationId)).eq(x.organization)
                    .and(Expr::col(child(sea::Column::OrganizationId)).equals(parent(Parent::OrganizationId)))
                    .and(Expr::col(child(sea::Column::CustomerId)).equals(parent(Parent::Id))),
            )
            .and_where(Expr::col(child(sea::Column::OrganizationId)).eq(x.organization))
            .and_where(Expr::col(child(sea::Column::TotalCents)).gt(FLOOR))
            .order_by(child(sea::Column::Id), Direction::Asc)
            .build_sqlx(SqliteQueryBuilder);
        bound!(sqlx::query_with(sqlx::AssertSqlSafe(sql), values));
    };
}

/// How often each case is repeated under callgrind.
pub const TIMES: u32 = 1_000;

/// Runs a case again and again. Callgrind counts inside this function alone.
#[inline(never)]
pub fn repeat(build: fn(&Inputs), inputs: &Inputs, times: u32) {
    for _ in 0..times {
        build(black_box(inputs));
    }
}
