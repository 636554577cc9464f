//! A process that is killed while a transaction of the store is open leaves nothing of it behind.

use std::sync::Arc;

use tenantry::ErrorKind;
use tenantry::credential::{Credentials, KeyStore as _};

use super::crash::{Site, Worker, kek, keks_under, olds, tokens};
use super::world::*;

/// A work, the call in which it is killed, and the statement of it that never comes to its end: a
/// later one of its transaction, where it has several.
const STOPS: [(&str, &str, &str); 7] = [
    ("put", "insert", "INSERT ON sealed_credentials"),
    ("replace", "replace", "UPDATE ON sealed_credentials"),
    ("rotate", "activate", "INSERT ON organization_keys"),
    ("rotate", "reseal", "INSERT ON credential_reseals"),
    ("retire", "destroy", "UPDATE ON organization_keys"),
    ("shred", "shred", "UPDATE OF shredded_at ON organization_key_rings"),
    ("retire_kek", "remove_canary", "DELETE ON kek_canaries"),
];

/// Does the work of a site up to a statement, and kills it there: the calls that were answered.
///
/// The trigger comes when the process has started, which the doctor would not let it.
async fn killed_within(site: &Site, call: &str, statement: &str) -> Vec<String> {
    match &site.w.kept {
        Kept::Sqlite(path) => within_sqlite(site, path, call, statement).await,
        #[cfg(feature = "postgres")]
        Kept::Postgres(database) => within_postgres(site, database, call, statement).await,
        _ => unreachable!("no SQL reaches it"),
    }
}

fn until(worker: &mut Worker, call: &str) -> Vec<String> {
    worker.begin();
    let mut answered = Vec::new();
    loop {
        match worker.next() {
            next if next == call => return answered,
            next => answered.push(next),
        }
    }
}

async fn within_sqlite(
    site: &Site,
    path: &std::path::Path,
    call: &str,
    statement: &str,
) -> Vec<String> {
    use sqlx::{ConnectOptions as _, Executor as _};
    let endless = "CREATE VIEW endless AS
        WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n;";
    let stop = "BEGIN SELECT count(*) FROM endless; END";
    let mut worker = Worker::start(site, 0, None);
    site.w.kept.run(&format!("{endless} CREATE TRIGGER stop BEFORE {statement} {stop}")).await;
    let answered = until(&mut worker, call);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    // Whoever holds the lock for so long will not let go of it.
    let patience = std::time::Duration::from_millis(300);
    let mut looker = options.busy_timeout(patience).connect().await.unwrap();
    if call == "remove_canary" {
        let closed = "SELECT count(*) FROM platform_keys WHERE CAST(keys AS TEXT) LIKE '%ticket%'";
        while sqlx::query_scalar::<_, i64>(closed).fetch_one(&mut looker).await.unwrap() == 0 {}
    }
    while looker.execute("BEGIN IMMEDIATE").await.is_ok() {
        looker.execute("ROLLBACK").await.unwrap();
        tokio::task::yield_now().await;
    }
    drop(worker);
    looker.execute("DROP TRIGGER stop").await.unwrap();
    answered
}

#[cfg(feature = "postgres")]
async fn within_postgres(
    site: &Site,
    database: &crate::postgres::cluster::TestDatabase<'_>,
    call: &str,
    statement: &str,
) -> Vec<String> {
    use sqlx::{Connection as _, Executor as _};
    let stop = "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN COALESCE(NEW, OLD); END $$;";
    let each = "FOR EACH ROW EXECUTE FUNCTION stop()";
    let mut worker = Worker::start(site, 0, None);
    site.w.kept.run(&format!("{stop} CREATE TRIGGER stop BEFORE {statement} {each}")).await;
    let mut gate = database.superuser().await;
    gate.execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let answered = until(&mut worker, call);
    let mut looker = database.superuser().await;
    let waiting = "FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut waits = async || {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) {waiting}"));
        sqlx::query_scalar::<_, i64>(count).fetch_one(&mut looker).await.unwrap() > 0
    };
    while !waits().await {}
    drop(worker);
    // The server would learn of its client's end after the statement alone.
    let end = sqlx::AssertSqlSafe(format!("SELECT pg_terminate_backend(pid) {waiting}"));
    gate.execute(end).await.unwrap();
    while waits().await {}
    gate.close().await.unwrap();
    let table = statement.rsplit(' ').next().unwrap();
    site.w.kept.run(&format!("DROP TRIGGER stop ON {table}")).await;
    answered
}

#[tokio::test]
async fn c32_a_process_killed_inside_a_transaction_leaves_every_credential_as_it_was() {
    for (kind, (name, call, statement)) in
        SQL.iter().flat_map(|kind| STOPS.map(|stop| (*kind, stop)))
    {
        let site = Site::new(kind, name).await;
        let a = site.prepared(0).await;
        let answered = killed_within(&site, call, statement).await;
        site.stands_as_answered(&a, 0, &answered).await;
        site.completed(&a, 0, &format!("{name} within {call}, {kind:?}")).await;
    }
}

/// A canary is removed in two steps, and the platform's keys cannot be wrapped under its KEK between
/// them.
#[tokio::test]
async fn a_kek_whose_retirement_was_broken_off_serves_organizations_and_says_what_the_platform_lacks()
 {
    for &kind in SQL {
        let site = Site::new(kind, "retire_kek").await;
        let a = site.prepared(0).await;
        killed_within(&site, "remove_canary", "DELETE ON kek_canaries").await;

        // Somebody still has the KEK as the active one.
        let under = |active| {
            let store = Arc::clone(&site.w.store);
            Credentials::builder(&site.w.issuer, keks_under(active, 0..=1), store).build()
        };
        let (back, after, authority) = (under(0), under(1), authority());
        back.keys().check().await.unwrap();
        back.rotate(&a).await.unwrap();
        let refusal = back.keys().rotate_platform(&authority).await.unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Unavailable);
        assert!(refusal.to_string().contains("`retire_kek`"), "{refusal}");

        // What it says helps, in the order of the runbook.
        let again = after.keys().retire_kek(&kek(0), &authority).await;
        refused(again, ErrorKind::Conflict);
        after.keys().rewrap_all(&authority).await.unwrap();
        after.keys().retire_kek(&kek(0), &authority).await.unwrap();
        assert!(site.w.store.canaries().await.unwrap().iter().all(|it| it.kek() != Some(&kek(0))));
        back.keys().rotate_platform(&authority).await.unwrap();
        site.untouched(&back, "afterwards").await;
        assert_eq!(tokens(&after, &a).await.unwrap(), olds(4));
    }
}
