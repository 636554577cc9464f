//! How often a caller waits for the server.

use futures_util::TryStreamExt as _;
use tenantry::database::DatabaseBuilder;
use tenantry::scope::ScopeIssuer;
use tenantry::{Database, Result};
use uuid::Uuid;

use super::cluster::{APPLICATION, Cluster, TestDatabase};
use super::proxy::Proxy;
use super::world::{Order, builder, order, orders, schema, scopes};

pub struct Counted {
    pub proxy: Proxy,
    pub db: Database,
}

impl Counted {
    /// Round trips of `work`, after it has run once, so that its statements are prepared.
    pub async fn trips(&self, work: impl AsyncFn(u128) -> Result<()>) -> usize {
        work(1).await.unwrap();
        self.settled().await;
        let before = self.proxy.seen().awaited;
        work(2).await.unwrap();
        let after = self.proxy.seen().awaited;
        self.settled().await;
        after - before
    }

    /// The pool has its one connection back: it is borrowed and given back once more.
    async fn settled(&self) {
        self.db.ping().await.unwrap();
    }

    /// A pool of one connection behind a proxy, with the tables there.
    pub async fn open(
        database: &TestDatabase<'_>,
        issuer: &ScopeIssuer,
        settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
    ) -> Self {
        let port = Cluster::shared().port();
        let proxy = Proxy::before(port).await;
        let db = settings(builder(issuer, database).connections(1))
            .connect(&proxy.through(&database.url(APPLICATION), port), schema())
            .await
            .unwrap();
        Self { proxy, db }
    }
}

#[tokio::test]
async fn a_read_waits_once_more_than_its_statements_and_a_write_twice() {
    let database = Cluster::shared().database().await;
    let (issuer, a, _) = scopes().await;
    let counted = Counted::open(&database, &issuer, |builder| builder).await;
    let (db, a) = (&counted.db, &a);
    db.create_tables().await.unwrap();
    super::world::Customer::insert(a, super::world::customer(1)).execute(db).await.unwrap();

    let insert =
        counted.trips(async |n| Order::insert(a, order(n, 1, 1)).execute(db).await.map(drop));
    assert_eq!(insert.await, 3, "BEGIN, INSERT, COMMIT");
    let find =
        counted.trips(async |_| Order::find(a, Uuid::from_u128(1)).fetch_one(db).await.map(drop));
    assert_eq!(find.await, 1, "a statement that begins and ends by itself");
    let list = counted.trips(async |_| Order::select(a).fetch_all(db).await.map(drop));
    assert_eq!(list.await, 1);
    let count = counted.trips(async |_| Order::select(a).count(db).await.map(drop));
    assert_eq!(count.await, 1);
    let by_email = Order::prepare(|q, (email,): (_,)| q.filter(orders::email.eq(email)));
    let prepared =
        counted.trips(async |_| by_email.fetch_all(a, ("1@example.com",), db).await.map(drop));
    assert_eq!(prepared.await, 1);
    let stream =
        counted.trips(async |_| Order::select(a).fetch(db).try_collect::<Vec<_>>().await.map(drop));
    assert_eq!(stream.await, 2);
    let returning = counted.trips(async |_| {
        let renamed = Order::update(a).set(orders::note, "x").all_rows().returning();
        renamed.fetch_all(db).await.map(drop)
    });
    assert_eq!(returning.await, 3);
    let batch = counted.trips(async |n| {
        let rows = (0..64).map(|row| order(n * 1_000 + row, 1, 1));
        Order::insert_many(a, rows).execute(db).await.map(drop)
    });
    assert_eq!(batch.await, 3, "a batch of one statement");
    let reads = counted.trips(async |_| {
        let mut tx = db.begin(a).await?;
        for _ in 0..3 {
            Order::select(a).count(&mut tx).await?;
        }
        Ok(())
    });
    assert_eq!(reads.await, 4, "three reads, and nobody waits for the end");
    let writes = counted.trips(async |n| {
        let mut tx = db.begin(a).await?;
        for row in 0..3 {
            Order::insert(a, order(n * 10_000 + row, 1, 1)).execute(&mut tx).await?;
        }
        tx.commit().await
    });
    assert_eq!(writes.await, 5, "three writes, between BEGIN and COMMIT");
    assert!(counted.proxy.seen().returning > 0, "rollbacks of reads travel with the pool's ping");
}
