//! A connection that is lost at every message, and servers that are not what they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use tenantry::{Database, ErrorKind, Result, TenantScope};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::cluster::{APPLICATION, Cluster, OWNER};
use super::world::{Everything, Order, builder, order, orders, schema, scopes, world_in};

/// Between a pool and the server, until it cuts the connection.
struct Cutter {
    port: u16,
    /// How many messages of the client still pass; below zero, all of them.
    left: Arc<AtomicI64>,
}

impl Cutter {
    /// `answers`: the last message reaches the server, and its answer nobody.
    async fn before(port: u16, answers: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let cutter = Self {
            port: listener.local_addr().unwrap().port(),
            left: Arc::new(AtomicI64::new(-1)),
        };
        let left = Arc::clone(&cutter.left);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&left), answers));
            }
        });
        cutter
    }

    fn cut_after(&self, messages: i64) {
        self.left.store(messages, Ordering::SeqCst);
    }

    /// Whether the connection was cut; nothing is from here on.
    fn has_cut(&self) -> bool {
        self.left.swap(-1, Ordering::SeqCst) < 0
    }
}

async fn pass(client: TcpStream, server: TcpStream, left: Arc<AtomicI64>, answers: bool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answering = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            (left >= 0).then_some(left - 1)
        });
        let cuts = before == Ok(0);
        if cuts && answers {
            // The answer is held back before it is caused.
            answering.abort();
            let _ = to_server.write_all(&buffer[..length]).await;
            let _ = to_server.shutdown().await;
        }
        if cuts || to_server.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    answering.abort();
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Read,
    Stream,
    Write,
    Batch,
    Transaction,
}

async fn act(act: Act, db: &Database, scope: &TenantScope) -> Result<()> {
    match act {
        Act::Read => Order::select(scope).fetch_all(db).await.map(drop),
        Act::Stream => {
            let mut rows = Order::select(scope).fetch(db);
            while rows.try_next().await?.is_some() {}
            Ok(())
        }
        Act::Write => {
            let update = Order::update(scope).set(orders::note, "new").all_rows();
            update.execute(db).await.map(drop)
        }
        Act::Batch => {
            let rows = (10..13).map(|id| order(id, 1, 1));
            Order::insert_many(scope, rows).execute(db).await.map(drop)
        }
        Act::Transaction => {
            let mut tx = db.begin(scope).await?;
            Order::delete(scope).filter(orders::total_cents.eq(1)).execute(&mut tx).await?;
            Order::insert(scope, order(9, 1, 9)).execute(&mut tx).await?;
            tx.commit().await
        }
    }
}

/// The orders, with their notes.
async fn state(db: &Database, scope: &TenantScope) -> Vec<(String, Option<String>)> {
    let rows = Order::select(scope).fetch_all(db).await.unwrap();
    rows.into_iter().map(|order| (order.email, order.note)).collect()
}

/// Until the server has done what it still does for a client that is gone.
async fn settled(superuser: &mut PgConnection) {
    let working = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cut'
        AND datname = current_database() AND state <> 'idle'";
    while sqlx::query_scalar::<_, i64>(working).fetch_one(&mut *superuser).await.unwrap() > 0 {}
}

async fn reset(db: &Database, scope: &TenantScope) {
    Order::delete(scope).all_rows().execute(db).await.unwrap();
    Order::insert_many(scope, (1..=3).map(|id| order(id, 1, id as i64))).execute(db).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_lost_at_any_message_leaves_nothing_half_done() {
    let cluster = Cluster::shared();
    let world = world_in(cluster.database().await, |builder| builder).await.filled(3).await;
    let (direct, a, b) = (&world.db, &world.a, &world.b);
    let mut superuser = world.database.superuser().await;
    for answers in [false, true] {
        let cutter = Cutter::before(cluster.port(), answers).await;
        let url = world.database.url(APPLICATION);
        let url = url.replace(&format!(":{}/", cluster.port()), &format!(":{}/", cutter.port));
        let url = format!("{url}&application_name=cut");
        let db = Database::builder().issuer(&world.issuer).connections(1);
        let db = db.connect(&url, schema()).await.unwrap();
        for what in [Act::Read, Act::Stream, Act::Write, Act::Batch, Act::Transaction] {
            reset(direct, a).await;
            let before = state(direct, a).await;
            act(what, &db, a).await.unwrap();
            let after = state(direct, a).await;
            let others = state(direct, b).await;
            let (mut lost, mut cuts) = (0, 0);
            for messages in 0.. {
                reset(direct, a).await;
                db.ping().await.unwrap();
                cutter.cut_after(messages);
                let outcome = act(what, &db, a).await;
                let cut = cutter.has_cut();
                cuts += usize::from(cut);
                settled(&mut superuser).await;
                let found = state(direct, a).await;
                match &outcome {
                    Ok(()) => assert_eq!(found, after, "{what:?} {messages}"),
                    Err(error) => {
                        lost += 1;
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what:?}: {error:?}");
                        assert!(
                            found == before || found == after,
                            "{what:?} {messages}: {found:?}"
                        );
                    }
                }
                assert_eq!(state(direct, b).await, others);
                db.ping().await.unwrap();
                if !cut {
                    break;
                }
                assert!(messages < 60, "{what:?} does not end");
            }
            // A read by itself that is not answered is run again.
            assert!(
                cuts > 0 && (lost > 0 || matches!(what, Act::Read)),
                "{what:?}: {cuts}, {lost}"
            );
        }
        db.close().await;
    }
}

#[tokio::test]
async fn opening_over_a_connection_that_is_lost_says_so() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    database.run(OWNER, &schema().ddl(tenantry::table::Dialect::Postgres).unwrap()).await;
    let cutter = Cutter::before(cluster.port(), false).await;
    let url = database.url(APPLICATION);
    let url = url.replace(&format!(":{}/", cluster.port()), &format!(":{}/", cutter.port));
    let mut refused = 0;
    for messages in 0..200 {
        let (issuer, ..) = scopes().await;
        cutter.cut_after(messages);
        let opened = Database::builder().issuer(&issuer).connect(&url, schema()).await;
        let cut = cutter.has_cut();
        match opened {
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{messages}: {error:?}");
            }
            Ok(db) => db.close().await,
        }
        if !cut {
            break;
        }
    }
    assert!((3..200).contains(&refused), "{refused}");
}

/// Speaks as much of the protocol as a client asks of a server of this version:
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
async fn server_of_version(version: &'static str) -> u16 {
    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }
    fn answer(values: &[&str]) -> Vec<u8> {
        let count = u16::try_from(values.len()).unwrap().to_be_bytes();
        let (mut names, mut row) = (count.to_vec(), count.to_vec());
        for value in values {
            // Name, table, column, type text, size, modifier, text format.
            names.extend(
                [b"v\0".as_slice(), &[0; 6], &25_u32.to_be_bytes(), &[255; 6], &[0; 2]].concat(),
            );
            row.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            row.extend(value.as_bytes());
        }
        [
            message(b'T', &names),
            message(b'D', &row),
            message(b'C', b"SELECT 1\0"),
            message(b'Z', b"I"),
        ]
        .concat()
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                // The startup message.
                let Ok(1..) = client.read(&mut buffer).await else { return };
                let greeting = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
                client.write_all(&greeting).await.unwrap();
                while let Ok(1..) = client.read(&mut buffer).await {
                    if buffer[0] == b'X' {
                        break;
                    }
                    let values = [version, "false", "false", "on"];
                    client.write_all(&answer(&values)).await.unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_before_15_is_refused() {
    for version in ["140019", "90624"] {
        let port = server_of_version(version).await;
        let url = format!("postgres://{APPLICATION}@127.0.0.1:{port}/shop?sslmode=disable");
        let error = Database::connect(&url, schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{error:?}");
        assert!(error.to_string().contains("older than PostgreSQL 15"), "{error}");
    }
    // The double is believed where nothing is wrong with what it says.
    let port = server_of_version("150000").await;
    let url = format!("postgres://{APPLICATION}@127.0.0.1:{port}/shop?sslmode=disable");
    let error = Database::connect(&url, schema()).await.unwrap_err();
    assert!(!error.to_string().contains("older"), "{error}");
}

#[tokio::test]
async fn tables_that_are_missing_or_of_another_type_are_named() -> Result<()> {
    let database = Cluster::shared().database().await;
    let (issuer, a, _) = scopes().await;
    let db = builder(&issuer, &database).connect(&database.url(APPLICATION), schema()).await?;
    let error = Order::select(&a).count(&db).await.unwrap_err();
    assert!(error.to_string().contains("create_tables"), "{error}");
    db.create_tables().await?;

    let retyped = "DROP POLICY tenantry_wall ON everything;
        ALTER TABLE everything DROP CONSTRAINT everything_organization_id_check;
        ALTER TABLE everything ALTER organization_id TYPE text;
        CREATE POLICY tenantry_wall ON everything AS RESTRICTIVE TO tenantry_app USING (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), ''))) WITH CHECK (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')))";
    let mut superuser = database.superuser().await;
    sqlx::Executor::execute(&mut superuser, sqlx::raw_sql(retyped)).await.unwrap();
    let error = builder(&issuer, &database)
        .connect(&database.url(APPLICATION), schema())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    let said = error.to_string();
    assert!(said.contains("postgres-tenant-type") && said.contains("everything.organization_id"));
    // A Database that was open before learns it from the store.
    let error = Everything::select(&a).count(&db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured, "{error:?}");
    Ok(())
}
