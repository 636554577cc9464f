//! Every way to read and write the same rows of the same file.

use std::path::Path;
use std::sync::{Arc, Mutex};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tenantry::query::Prepared;
use tenantry::scope::ScopeIssuer;
use tenantry::{Database, TenantScope};
use uuid::Uuid;

use crate::measure::Way;
use crate::rows;
use crate::world::{self, Order, orders};

/// A pool with tenantry's settings: nobody is pinged, everything else as `world::options`.
pub async fn pool(path: &Path, connections: u32) -> SqlitePool {
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(world::options(path))
        .await
        .unwrap();
    ready(pool).await
}

/// A pool as sqlx makes it by default.
pub async fn default_pool(path: &Path) -> SqlitePool {
    ready(SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap()).await
}

async fn ready(pool: SqlitePool) -> SqlitePool {
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    pool
}

async fn sea(path: &Path) -> sea_orm::DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(format!("sqlite://{}", path.display()));
    options.sqlx_logging(false);
    sea_orm::Database::connect(options).await.unwrap()
}

fn rusqlite(path: &Path) -> Arc<Mutex<rusqlite::Connection>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA busy_timeout = 5000")
        .unwrap();
    Arc::new(Mutex::new(connection))
}

fn diesel(path: &Path) -> Arc<Mutex<SqliteConnection>> {
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection
        .batch_execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA busy_timeout = 5000")
        .unwrap();
    Arc::new(Mutex::new(connection))
}

mod table {
    diesel::table! {
        orders (organization_id, id) {
            organization_id -> Binary,
            id -> Binary,
            customer_id -> Binary,
            email -> Text,
            total_cents -> BigInt,
            note -> Nullable<Text>,
            placed_at -> BigInt,
        }
    }
}

type DieselRow = (Vec<u8>, Vec<u8>, String, i64, Option<String>, i64);

fn from_diesel((id, customer_id, email, total_cents, note, placed_at): DieselRow) -> Order {
    Order {
        id: Uuid::from_slice(&id).unwrap(),
        customer_id: Uuid::from_slice(&customer_id).unwrap(),
        email,
        total_cents,
        note,
        placed_at: rows::time_of(placed_at),
    }
}

fn from_rusqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Order> {
    let uuid =
        |at| row.get_ref(at).map(|value| Uuid::from_slice(value.as_blob().unwrap()).unwrap());
    Ok(Order {
        id: uuid(0)?,
        customer_id: uuid(1)?,
        email: row.get(2)?,
        total_cents: row.get(3)?,
        note: row.get(4)?,
        placed_at: rows::time_of(row.get(5)?),
    })
}

fn from_sea(model: crate::sea::Model) -> Order {
    Order {
        id: model.id,
        customer_id: model.customer_id,
        email: model.email,
        total_cents: model.total_cents,
        note: model.note,
        placed_at: rows::time_of(model.placed_at),
    }
}

/// Who reads: the organizations whose rows the runs go through, and how many each has.
#[derive(Clone)]
pub struct Readers {
    pub numbers: Arc<[u64]>,
    pub scopes: Arc<[TenantScope]>,
    pub owners: Arc<[Uuid]>,
    pub rows: u64,
    pub limit: u32,
}

impl Readers {
    pub fn new(numbers: &[u64], scopes: Vec<TenantScope>, rows: u64, limit: u32) -> Self {
        Self {
            numbers: numbers.into(),
            scopes: scopes.into(),
            owners: numbers.iter().map(|number| world::organization(*number)).collect(),
            rows,
            limit,
        }
    }

    fn at(&self, run: u64) -> usize {
        usize::try_from(run).unwrap() % self.numbers.len()
    }

    fn scope(&self, run: u64) -> &TenantScope {
        &self.scopes[self.at(run)]
    }

    fn owner(&self, run: u64) -> Uuid {
        self.owners[self.at(run)]
    }

    /// Keys in no order.
    fn key(&self, run: u64) -> Uuid {
        world::order_id(self.numbers[self.at(run)], run.wrapping_mul(7_919) % self.rows)
    }
}

const GET: &str = "SELECT id, customer_id, email, total_cents, note, placed_at FROM orders WHERE organization_id = ? AND id = ?";
const LIST: &str = "SELECT id, customer_id, email, total_cents, note, placed_at FROM orders WHERE organization_id = ? ORDER BY placed_at DESC, id DESC LIMIT ?";
const WITNESSED: &str = "SELECT organization_id, id, customer_id, email, total_cents, note, placed_at FROM orders WHERE organization_id = ? ORDER BY placed_at DESC, id DESC LIMIT ?";
const TWO: &str = "SELECT id, total_cents FROM orders WHERE organization_id = ? ORDER BY placed_at DESC, id DESC LIMIT ?";

pub fn get_by_sqlx(name: &'static str, pool: &SqlitePool, readers: &Readers) -> Way {
    let (pool, readers) = (pool.clone(), readers.clone());
    Way::new(name, move |from, to| {
        let (pool, readers) = (pool.clone(), readers.clone());
        async move {
            for run in from..to {
                let row = sqlx::query(GET)
                    .bind(readers.owner(run))
                    .bind(readers.key(run))
                    .fetch_optional(&pool)
                    .await
                    .unwrap()
                    .unwrap();
                std::hint::black_box(rows::order(&row).unwrap());
            }
        }
    })
}

pub fn get_by_tenantry(name: &'static str, db: &Database, readers: &Readers) -> Way {
    let (db, readers) = (db.clone(), readers.clone());
    Way::new(name, move |from, to| {
        let (db, readers) = (db.clone(), readers.clone());
        async move {
            for run in from..to {
                let found =
                    Order::find(readers.scope(run), readers.key(run)).fetch_optional(&db).await;
                std::hint::black_box(found.unwrap().unwrap());
            }
        }
    })
}

pub fn list_by_sqlx(
    name: &'static str,
    pool: &SqlitePool,
    readers: &Readers,
    witness: bool,
) -> Way {
    let (pool, readers) = (pool.clone(), readers.clone());
    Way::new(name, move |from, to| {
        let (pool, readers) = (pool.clone(), readers.clone());
        async move {
            for run in from..to {
                let owner = readers.owner(run);
                let found = sqlx::query(if witness { WITNESSED } else { LIST })
                    .bind(owner)
                    .bind(i64::from(readers.limit))
                    .fetch_all(&pool)
                    .await
                    .unwrap();
                let decoded: Vec<Order> = found
                    .iter()
                    .map(|row| {
                        if witness {
                            let found: Uuid = sqlx::Row::get(row, 0);
                            assert_eq!(found, owner);
                        }
                        rows::order_at(row, usize::from(witness)).unwrap()
                    })
                    .collect();
                assert_eq!(std::hint::black_box(decoded).len(), readers.limit as usize);
            }
        }
    })
}

/// Decodes each row as it comes, without keeping the rows.
pub fn list_by_sqlx_stream(name: &'static str, pool: &SqlitePool, readers: &Readers) -> Way {
    use futures_util::TryStreamExt as _;
    let (pool, readers) = (pool.clone(), readers.clone());
    Way::new(name, move |from, to| {
        let (pool, readers) = (pool.clone(), readers.clone());
        async move {
            for run in from..to {
                let mut decoded = Vec::new();
                let mut found = sqlx::query(LIST)
                    .bind(readers.owner(run))
                    .bind(i64::from(readers.limit))
                    .fetch(&pool);
                while let Some(row) = found.try_next().await.unwrap() {
                    decoded.push(rows::order(&row).unwrap());
                }
                assert_eq!(std::hint::black_box(decoded).len(), readers.limit as usize);
            }
        }
    })
}

pub fn list_by_tenantry(name: &'static str, db: &Database, readers: &Readers) -> Way {
    let (db, readers) = (db.clone(), readers.clone());
    Way::new(name, move |from, to| {
        let (db, readers) = (db.clone(), readers.clone());
        async move {
            for run in from..to {
                let found = Order::select(readers.scope(run))
                    .order_by(orders::placed_at.desc())
                    .limit(readers.limit.into())
                    .fetch_all(&db)
                    .await
                    .unwrap();
                assert_eq!(std::hint::black_box(found).len(), readers.limit as usize);
            }
        }
    })
}

fn list_by_prepared(db: &Database, readers: &Readers) -> Way {
    let limit = readers.limit;
    let list: Arc<Prepared<Order, ()>> = Arc::new(Order::prepare(|q, (): ()| {
        q.order_by(orders::placed_at.desc()).limit(limit.into())
    }));
    let (db, readers) = (db.clone(), readers.clone());
    Way::new("tenantry, prepared", move |from, to| {
        let (db, readers, list) = (db.clone(), readers.clone(), Arc::clone(&list));
        async move {
            for run in from..to {
                let found = list.fetch_all(readers.scope(run), (), &db).await.unwrap();
                assert_eq!(std::hint::black_box(found).len(), readers.limit as usize);
            }
        }
    })
}

/// Reads by key, hand-written sqlx with tenantry's pool settings first.
pub async fn gets(path: &Path, issuer: &ScopeIssuer, readers: &Readers) -> Vec<Way> {
    let db = world::open(path, issuer, true).await;
    let same = pool(path, 4).await;
    let defaults = default_pool(path).await;
    let get: Arc<Prepared<Order, (Uuid,)>> =
        Arc::new(Order::prepare(|q, (id,): (_,)| q.filter(orders::id.eq(id))));
    let mut ways = vec![
        get_by_sqlx("sqlx, the same settings", &same, readers),
        get_by_tenantry("tenantry, find", &db, readers),
    ];
    let (own, reading) = (world::open(path, issuer, true).await, readers.clone());
    ways.push(Way::new("tenantry, prepared", move |from, to| {
        let (db, readers, get) = (own.clone(), reading.clone(), Arc::clone(&get));
        async move {
            for run in from..to {
                let found = get.fetch_one(readers.scope(run), (readers.key(run),), &db).await;
                std::hint::black_box(found.unwrap());
            }
        }
    }));
    ways.push(get_by_sqlx("sqlx, defaults", &defaults, readers));
    let (own, reading) = (sea(path).await, readers.clone());
    ways.push(Way::new("sea-orm, defaults", move |from, to| {
        let (own, readers) = (own.clone(), reading.clone());
        async move {
            for run in from..to {
                let key = (readers.owner(run), readers.key(run));
                let found = crate::sea::Entity::find_by_id(key).one(&own).await.unwrap().unwrap();
                std::hint::black_box(from_sea(found));
            }
        }
    }));
    let own = sea_orm::SqlxSqliteConnector::from_sqlx_sqlite_pool(same);
    let reading = readers.clone();
    ways.push(Way::new("sea-orm, the same settings", move |from, to| {
        let (own, readers) = (own.clone(), reading.clone());
        async move {
            for run in from..to {
                let key = (readers.owner(run), readers.key(run));
                let found = crate::sea::Entity::find_by_id(key).one(&own).await.unwrap().unwrap();
                std::hint::black_box(from_sea(found));
            }
        }
    }));
    let (own, reading) = (diesel(path), readers.clone());
    ways.push(Way::new("diesel, synchronous", move |from, to| {
        let (own, readers) = (Arc::clone(&own), reading.clone());
        async move {
            let mut own = own.lock().unwrap();
            for run in from..to {
                use table::orders::dsl;
                let found: DieselRow = dsl::orders
                    .select((
                        dsl::id,
                        dsl::customer_id,
                        dsl::email,
                        dsl::total_cents,
                        dsl::note,
                        dsl::placed_at,
                    ))
                    .filter(dsl::organization_id.eq(readers.owner(run).as_bytes().as_slice()))
                    .filter(dsl::id.eq(readers.key(run).as_bytes().as_slice()))
                    .get_result(&mut *own)
                    .unwrap();
                std::hint::black_box(from_diesel(found));
            }
        }
    }));
    let (own, reading) = (rusqlite(path), readers.clone());
    ways.push(Way::new("rusqlite, synchronous", move |from, to| {
        let (own, readers) = (Arc::clone(&own), reading.clone());
        async move {
            let own = own.lock().unwrap();
            for run in from..to {
                let key = (readers.owner(run).into_bytes(), readers.key(run).into_bytes());
                let mut statement = own.prepare_cached(GET).unwrap();
                std::hint::black_box(statement.query_row(key, from_rusqlite).unwrap());
            }
        }
    }));
    ways
}

/// Lists, hand-written sqlx with tenantry's pool settings first.
pub async fn lists(path: &Path, issuer: &ScopeIssuer, readers: &Readers) -> Vec<Way> {
    // Each way has connections of its own: what one leaves in their caches would serve the next.
    let same = async || pool(path, 4).await;
    let open = async || world::open(path, issuer, true).await;
    let mut ways = vec![
        list_by_sqlx("sqlx, the same settings", &same().await, readers, false),
        list_by_sqlx("sqlx, the same settings and a witness", &same().await, readers, true),
        list_by_sqlx_stream("sqlx, the same settings, as a stream", &same().await, readers),
        list_by_tenantry("tenantry, select", &open().await, readers),
        list_by_prepared(&open().await, readers),
    ];
    let (own, reading) = (same().await, readers.clone());
    ways.push(Way::new("sqlx, the same settings, two columns", move |from, to| {
        let (pool, readers) = (own.clone(), reading.clone());
        async move {
            for run in from..to {
                let found = sqlx::query(TWO)
                    .bind(readers.owner(run))
                    .bind(i64::from(readers.limit))
                    .fetch_all(&pool)
                    .await
                    .unwrap();
                let decoded: Vec<(Uuid, i64)> = found
                    .iter()
                    .map(|row| (sqlx::Row::get(row, 0), sqlx::Row::get(row, 1)))
                    .collect();
                assert_eq!(std::hint::black_box(decoded).len(), readers.limit as usize);
            }
        }
    }));
    let (own, reading) = (open().await, readers.clone());
    ways.push(Way::new("tenantry, two columns", move |from, to| {
        let (db, readers) = (own.clone(), reading.clone());
        async move {
            for run in from..to {
                let found = Order::select(readers.scope(run))
                    .order_by(orders::placed_at.desc())
                    .limit(readers.limit.into())
                    .columns((orders::id, orders::total_cents))
                    .fetch_all(&db)
                    .await
                    .unwrap();
                assert_eq!(std::hint::black_box(found).len(), readers.limit as usize);
            }
        }
    }));
    ways.push(list_by_sqlx("sqlx, defaults", &default_pool(path).await, readers, false));
    for (name, own) in [
        ("sea-orm, defaults", sea(path).await),
        (
            "sea-orm, the same settings",
            sea_orm::SqlxSqliteConnector::from_sqlx_sqlite_pool(same().await),
        ),
    ] {
        let reading = readers.clone();
        ways.push(Way::new(name, move |from, to| {
            let (own, readers) = (own.clone(), reading.clone());
            async move {
                for run in from..to {
                    let found = crate::sea::Entity::find()
                        .filter(crate::sea::Column::OrganizationId.eq(readers.owner(run)))
                        .order_by_desc(crate::sea::Column::PlacedAt)
                        .order_by_desc(crate::sea::Column::Id)
                        .limit(u64::from(readers.limit))
                        .all(&own)
                        .await
                        .unwrap();
                    let found: Vec<Order> = found.into_iter().map(from_sea).collect();
                    assert_eq!(std::hint::black_box(found).len(), readers.limit as usize);
                }
            }
        }));
    }
    let (own, reading) = (diesel(path), readers.clone());
    ways.push(Way::new("diesel, synchronous", move |from, to| {
        let (own, readers) = (Arc::clone(&own), reading.clone());
        async move {
            let mut own = own.lock().unwrap();
            for run in from..to {
                use table::orders::dsl;
                let found: Vec<DieselRow> = dsl::orders
                    .select((
                        dsl::id,
                        dsl::customer_id,
                        dsl::email,
                        dsl::total_cents,
                        dsl::note,
                        dsl::placed_at,
                    ))
                    .filter(dsl::organization_id.eq(readers.owner(run).as_bytes().as_slice()))
                    .order((dsl::placed_at.desc(), dsl::id.asc()))
                    .limit(i64::from(readers.limit))
                    .load(&mut *own)
                    .unwrap();
                let found: Vec<Order> = found.into_iter().map(from_diesel).collect();
                assert_eq!(std::hint::black_box(found).len(), readers.limit as usize);
            }
        }
    }));
    let (own, reading) = (rusqlite(path), readers.clone());
    ways.push(Way::new("rusqlite, synchronous", move |from, to| {
        let (own, readers) = (Arc::clone(&own), reading.clone());
        async move {
            let own = own.lock().unwrap();
            for run in from..to {
                let mut statement = own.prepare_cached(LIST).unwrap();
                let found: Vec<Order> = statement
                    .query_map((readers.owner(run).into_bytes(), readers.limit), from_rusqlite)
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                assert_eq!(std::hint::black_box(found).len(), readers.limit as usize);
            }
        }
    }));
    ways
}

const INSERT: &str = "INSERT INTO orders (organization_id, id, customer_id, email, total_cents, note, placed_at) VALUES (?, ?, ?, ?, ?, ?, ?)";
const UPDATE: &str =
    "UPDATE orders SET note = ?, total_cents = ? WHERE organization_id = ? AND id = ?";

/// The rows that one way writes: of its own organization, so that the ways do not meet.
#[derive(Clone)]
pub struct Writer {
    pub number: u64,
    pub scope: TenantScope,
    pub owner: Uuid,
    pub rows: u64,
}

impl Writer {
    fn fresh(&self, run: u64) -> Order {
        world::fresh(self.number, self.rows + run)
    }

    fn key(&self, run: u64) -> Uuid {
        world::order_id(self.number, run.wrapping_mul(7_919) % self.rows)
    }

    fn total(run: u64) -> i64 {
        i64::try_from(run).unwrap()
    }
}

/// The names of the ways to write, in order: each needs a [`Writer`].
pub const WRITING: usize = 7;

/// Inserts and updates, hand-written sqlx on one writing connection first.
pub async fn writes(path: &Path, issuer: &ScopeIssuer, writers: &[Writer]) -> (Vec<Way>, Vec<Way>) {
    let mut inserts = Vec::new();
    let mut updates = Vec::new();
    let one = pool(path, 1).await;
    let defaults = default_pool(path).await;
    let sqlx_ways = [("sqlx, one connection", one), ("sqlx, defaults", defaults)];
    for ((name, pool), writer) in sqlx_ways.into_iter().zip(writers) {
        let (own, writing) = (pool.clone(), writer.clone());
        inserts.push(Way::new(name, move |from, to| {
            let (pool, writer) = (own.clone(), writing.clone());
            async move {
                for run in from..to {
                    let row = writer.fresh(run);
                    sqlx::query(INSERT)
                        .bind(writer.owner)
                        .bind(row.id)
                        .bind(row.customer_id)
                        .bind(row.email)
                        .bind(row.total_cents)
                        .bind(row.note)
                        .bind(i64::try_from(row.placed_at.unix_timestamp_nanos() / 1_000).unwrap())
                        .execute(&pool)
                        .await
                        .unwrap();
                }
            }
        }));
        let (own, writing) = (pool, writer.clone());
        updates.push(Way::new(name, move |from, to| {
            let (pool, writer) = (own.clone(), writing.clone());
            async move {
                for run in from..to {
                    let done = sqlx::query(UPDATE)
                        .bind("gift")
                        .bind(Writer::total(run))
                        .bind(writer.owner)
                        .bind(writer.key(run))
                        .execute(&pool)
                        .await
                        .unwrap();
                    assert_eq!(done.rows_affected(), 1);
                }
            }
        }));
    }
    for ((name, wall), writer) in
        [("tenantry", true), ("tenantry, without triggers", false)].into_iter().zip(&writers[2..])
    {
        let db = world::open(path, issuer, wall).await;
        let (own, writing) = (db.clone(), writer.clone());
        inserts.push(Way::new(name, move |from, to| {
            let (db, writer) = (own.clone(), writing.clone());
            async move {
                for run in from..to {
                    Order::insert(&writer.scope, writer.fresh(run)).execute(&db).await.unwrap();
                }
            }
        }));
        let (own, writing) = (db, writer.clone());
        updates.push(Way::new(name, move |from, to| {
            let (db, writer) = (own.clone(), writing.clone());
            async move {
                for run in from..to {
                    let rows = Order::update(&writer.scope)
                        .set(orders::note, "gift")
                        .set(orders::total_cents, Writer::total(run))
                        .filter(orders::id.eq(writer.key(run)))
                        .execute(&db)
                        .await
                        .unwrap();
                    assert_eq!(rows, 1);
                }
            }
        }));
    }
    let (own, writer) = (sea(path).await, writers[4].clone());
    let (db, writing) = (own.clone(), writer.clone());
    inserts.push(Way::new("sea-orm, defaults", move |from, to| {
        let (db, writer) = (db.clone(), writing.clone());
        async move {
            use sea_orm::ActiveValue::Set;
            for run in from..to {
                let row = writer.fresh(run);
                crate::sea::Entity::insert(crate::sea::ActiveModel {
                    organization_id: Set(writer.owner),
                    id: Set(row.id),
                    customer_id: Set(row.customer_id),
                    email: Set(row.email),
                    total_cents: Set(row.total_cents),
                    note: Set(row.note),
                    placed_at: Set(
                        i64::try_from(row.placed_at.unix_timestamp_nanos() / 1_000).unwrap()
                    ),
                })
                .exec_without_returning(&db)
                .await
                .unwrap();
            }
        }
    }));
    updates.push(Way::new("sea-orm, defaults", move |from, to| {
        let (db, writer) = (own.clone(), writer.clone());
        async move {
            use sea_orm::sea_query::Expr;
            for run in from..to {
                let done = crate::sea::Entity::update_many()
                    .col_expr(crate::sea::Column::Note, Expr::value("gift"))
                    .col_expr(crate::sea::Column::TotalCents, Expr::value(Writer::total(run)))
                    .filter(crate::sea::Column::OrganizationId.eq(writer.owner))
                    .filter(crate::sea::Column::Id.eq(writer.key(run)))
                    .exec(&db)
                    .await
                    .unwrap();
                assert_eq!(done.rows_affected, 1);
            }
        }
    }));
    let (own, writer) = (diesel(path), writers[5].clone());
    let (db, writing) = (Arc::clone(&own), writer.clone());
    inserts.push(Way::new("diesel, synchronous", move |from, to| {
        let (db, writer) = (Arc::clone(&db), writing.clone());
        async move {
            use table::orders::dsl;
            let mut db = db.lock().unwrap();
            for run in from..to {
                let row = writer.fresh(run);
                diesel::insert_into(dsl::orders)
                    .values((
                        dsl::organization_id.eq(writer.owner.as_bytes().as_slice()),
                        dsl::id.eq(row.id.as_bytes().as_slice()),
                        dsl::customer_id.eq(row.customer_id.as_bytes().as_slice()),
                        dsl::email.eq(row.email),
                        dsl::total_cents.eq(row.total_cents),
                        dsl::note.eq(row.note),
                        dsl::placed_at
                            .eq(i64::try_from(row.placed_at.unix_timestamp_nanos() / 1_000)
                                .unwrap()),
                    ))
                    .execute(&mut *db)
                    .unwrap();
            }
        }
    }));
    updates.push(Way::new("diesel, synchronous", move |from, to| {
        let (db, writer) = (Arc::clone(&own), writer.clone());
        async move {
            use table::orders::dsl;
            let mut db = db.lock().unwrap();
            for run in from..to {
                let rows = diesel::update(dsl::orders)
                    .set((dsl::note.eq("gift"), dsl::total_cents.eq(Writer::total(run))))
                    .filter(dsl::organization_id.eq(writer.owner.as_bytes().as_slice()))
                    .filter(dsl::id.eq(writer.key(run).as_bytes().as_slice()))
                    .execute(&mut *db)
                    .unwrap();
                assert_eq!(rows, 1);
            }
        }
    }));
    let (own, writer) = (rusqlite(path), writers[6].clone());
    let (db, writing) = (Arc::clone(&own), writer.clone());
    inserts.push(Way::new("rusqlite, synchronous", move |from, to| {
        let (db, writer) = (Arc::clone(&db), writing.clone());
        async move {
            let db = db.lock().unwrap();
            for run in from..to {
                let row = writer.fresh(run);
                let mut statement = db.prepare_cached(INSERT).unwrap();
                statement
                    .execute((
                        writer.owner.into_bytes(),
                        row.id.into_bytes(),
                        row.customer_id.into_bytes(),
                        row.email,
                        row.total_cents,
                        row.note,
                        i64::try_from(row.placed_at.unix_timestamp_nanos() / 1_000).unwrap(),
                    ))
                    .unwrap();
            }
        }
    }));
    updates.push(Way::new("rusqlite, synchronous", move |from, to| {
        let (db, writer) = (Arc::clone(&own), writer.clone());
        async move {
            let db = db.lock().unwrap();
            for run in from..to {
                let mut statement = db.prepare_cached(UPDATE).unwrap();
                let values = (
                    "gift",
                    Writer::total(run),
                    writer.owner.into_bytes(),
                    writer.key(run).into_bytes(),
                );
                assert_eq!(statement.execute(values).unwrap(), 1);
            }
        }
    }));
    assert!(inserts.len() == WRITING && updates.len() == WRITING);
    (inserts, updates)
}
