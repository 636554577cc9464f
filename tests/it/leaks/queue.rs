//! Jobs: L54 and L55. A queue table, a file beside the store, is filled here and worked off by a
//! second process.

use std::path::Path;
use std::time::Duration;

use sqlx::{Connection as _, Row as _};
use tenantry::clock::ManualClock;
use tenantry::crypto::KeyRing;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer, ScopeTicket, TicketKey};
use tenantry::{Database, ErrorKind, TenantScope};

use super::fixture::*;
use crate::leaks::fixture::raw;

const WORLD: &str = "TENANTRY_TEST_WORLD";
const QUEUE: &str = "TENANTRY_TEST_QUEUE";
const HOUR: Duration = Duration::from_secs(3_600);

fn key() -> TicketKey {
    TicketKey::new("stamp", keys()).unwrap()
}

struct Job<'a> {
    ticket: Option<&'a str>,
    payload: &'a str,
}

async fn enqueue(path: &Path, jobs: &[Job<'_>]) {
    let mut queue = raw(path).await;
    sqlx::raw_sql("CREATE TABLE jobs (id INTEGER PRIMARY KEY, ticket TEXT, payload TEXT, state TEXT, worked_in TEXT)")
        .execute(&mut queue)
        .await
        .unwrap();
    for job in jobs {
        sqlx::query("INSERT INTO jobs (ticket, payload, state) VALUES (?, ?, 'waiting')")
            .bind(job.ticket)
            .bind(job.payload)
            .execute(&mut queue)
            .await
            .unwrap();
    }
    queue.close().await.unwrap();
}

/// Stamps the customers of the scope's organization; the payload `fail` fails half-way.
async fn stamp(db: &Database, scope: &TenantScope, payload: &str) -> tenantry::Result<()> {
    let (inside, text) = (scope.clone(), payload.to_owned());
    db.transaction(scope, async move |tx| {
        Customer::update(&inside)
            .set(customers::token, text.as_str())
            .all_rows()
            .execute(&mut *tx)
            .await?;
        if text.starts_with("fail") {
            Customer::find(&inside, 4_711).fetch_one(tx).await?;
        }
        Ok(())
    })
    .await
}

/// The worker: does nothing unless it is started as a process of its own.
#[tokio::test]
async fn a_worker() {
    let Ok(world) = std::env::var(WORLD) else { return };
    let directory = MemoryDirectory::new();
    for number in [0xA, 0xB, 0xC] {
        directory.add_member(&organization(number), &ann(), Role::Member);
    }
    directory.set_active(&organization(0xC), false);
    let issuer = ScopeIssuer::new(directory);
    let db = connect(builder(&issuer), &world, schema()).await.unwrap();
    let mut queue = raw(Path::new(&std::env::var(QUEUE).unwrap())).await;
    let key = key();
    let jobs = sqlx::query("SELECT id, ticket, payload FROM jobs ORDER BY id")
        .fetch_all(&mut queue)
        .await
        .unwrap();
    for job in jobs {
        let (id, payload): (i64, String) = (job.get(0), job.get(2));
        let ticket: Option<String> = job.get(1);
        let scope = match ticket {
            Some(ticket) => {
                issuer.redeem(&ScopeTicket::from(ticket), &key, payload.as_bytes()).await
            }
            None => {
                issuer.redeem(&ScopeTicket::from(String::new()), &key, payload.as_bytes()).await
            }
        };
        let (state, worked_in) = match scope {
            Ok(scope) => match stamp(&db, &scope, &payload).await {
                Ok(()) => ("done", Some(scope.organization().to_string())),
                Err(_) => ("failed", Some(scope.organization().to_string())),
            },
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Denied);
                ("dead", None)
            }
        };
        sqlx::query("UPDATE jobs SET state = ?, worked_in = ? WHERE id = ?")
            .bind(state)
            .bind(worked_in)
            .bind(id)
            .execute(&mut queue)
            .await
            .unwrap();
    }
    queue.close().await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn l55_a_worker_in_another_process_acts_for_each_jobs_own_organization_or_not_at_all() {
    let w = world().await;
    let key = key();
    let ticket = |scope: &TenantScope, key: &TicketKey, payload: &str| {
        scope.ticket(key, HOUR, payload.as_bytes()).unwrap().as_str().to_owned()
    };
    let past = ManualClock::new(tenantry::now() - HOUR);
    let long_ago = ScopeIssuer::builder(w.directory.clone()).clock(past).build();
    let old = long_ago.enter(&ann(), organization(0xA)).await.unwrap();
    let expired = old.ticket(&key, Duration::from_secs(60), b"job 6").unwrap().as_str().to_owned();
    let (gone, closed) = (Principal::user("gone"), organization(0xC));
    w.directory.add_member(&organization(0xA), &gone, Role::Owner);
    w.directory.add_member(&closed, &ann(), Role::Owner);
    let gone = w.issuer.enter(&gone, organization(0xA)).await.unwrap();
    let closed = w.issuer.enter(&ann(), closed).await.unwrap();
    let other_purpose = TicketKey::new("export", keys()).unwrap();
    let other_key = TicketKey::new("stamp", KeyRing::random().unwrap()).unwrap();
    let mut edited = ticket(&w.b, &key, "job 8").into_bytes();
    let middle = edited.len() / 2;
    edited[middle] = if edited[middle] == b'A' { b'B' } else { b'A' };
    let edited = String::from_utf8(edited).unwrap();
    let (one, two) = (ticket(&w.a, &key, "job 1"), ticket(&w.b, &key, "job 2"));
    let tickets = [
        (Some(one.clone()), "job 1"),
        (Some(two), "job 2"),
        (None, "job 3"),
        (Some("A".repeat(300)), "job 4"),
        // A's ticket on a job that was written for B.
        (Some(one.clone()), "job 5 for B"),
        (Some(expired), "job 6"),
        (Some(ticket(&w.a, &other_purpose, "job 7")), "job 7"),
        (Some(edited), "job 8"),
        (Some(ticket(&w.a, &other_key, "job 9")), "job 9"),
        (Some(ticket(&gone, &key, "job 10")), "job 10"),
        (Some(ticket(&closed, &key, "job 11")), "job 11"),
        (Some(ticket(&w.a, &key, "fail 12")), "fail 12"),
        (Some(ticket(&w.b, &key, "job 13")), "job 13"),
        (Some(format!(" {one}")), "job 1"),
        (Some(one[..one.len() - 1].to_owned()), "job 1"),
    ];
    let jobs: Vec<_> = tickets
        .iter()
        .map(|(ticket, payload)| Job { ticket: ticket.as_deref(), payload })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().join("queue.db");
    enqueue(&queue, &jobs).await;
    w.db.close().await;

    let mut worker = again(module_path!(), "a_worker");
    let output = worker.env(WORLD, url(&w.path)).env(QUEUE, &queue).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    let mut connection = raw(&queue).await;
    let states: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT state, worked_in FROM jobs ORDER BY id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    let (a, b) = (organization(0xA).to_string(), organization(0xB).to_string());
    let expected: Vec<(String, Option<String>)> = [
        ("done", Some(&a)),
        ("done", Some(&b)),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("dead", None),
        ("failed", Some(&a)),
        ("done", Some(&b)),
        ("dead", None),
        ("dead", None),
    ]
    .into_iter()
    .map(|(state, worked_in)| (state.to_owned(), worked_in.cloned()))
    .collect();
    assert_eq!(states, expected);
    let w2 = connect(builder(&w.issuer), &url(&w.path), schema()).await.unwrap();
    let stamps =
        |rows: Vec<Customer>| rows.into_iter().map(|row| row.token.unwrap()).collect::<Vec<_>>();
    assert_eq!(stamps(Customer::select(&w.a).fetch_all(&w2).await.unwrap()), ["job 1"; 3]);
    assert_eq!(stamps(Customer::select(&w.b).fetch_all(&w2).await.unwrap()), ["job 13"; 7]);
}

/// The scope goes with the value, never with the task or the thread: two jobs of two organizations
/// that take turns on one thread keep their own.
#[tokio::test(flavor = "current_thread")]
async fn l54_a_scope_travels_by_value_and_by_ticket_and_in_no_other_way() {
    let w = world().await;
    let key = key();
    let job = |scope: TenantScope, db: Database, first: i64| async move {
        for _ in 0..30 {
            let rows = Order::select(&scope).fetch_all(&db).await.unwrap();
            assert!(rows.iter().all(|row| (row.total < 1_000) == (first == 0)), "{rows:?}");
            tokio::task::yield_now().await;
        }
    };
    let (ours, theirs) = (job(w.a.clone(), w.db.clone(), 0), job(w.b.clone(), w.db.clone(), 1));
    let spawned = tokio::spawn(job(w.b.clone(), w.db.clone(), 1));
    tokio::join!(ours, theirs);
    spawned.await.unwrap();

    let envelope = serde_json::to_string(&w.b.ticket(&key, HOUR, b"payload").unwrap()).unwrap();
    assert!(!envelope.contains("ann") && !envelope.contains(&w.b.organization().to_string()));
    let ticket: ScopeTicket = serde_json::from_str(&envelope).unwrap();
    let redeemed = w.issuer.redeem(&ticket, &key, b"payload").await.unwrap();
    assert_eq!((redeemed.organization(), redeemed.principal()), (w.b.organization(), &ann()));
    assert_eq!(Order::select(&redeemed).count(&w.db).await.unwrap(), 7);
    assert!(!format!("{ticket:?}").contains(ticket.as_str()));

    // The lesser of the role then and the role now.
    w.directory.add_member(&organization(0xB), &ann(), Role::Owner);
    assert_eq!(w.issuer.redeem(&ticket, &key, b"payload").await.unwrap().role(), Role::Member);
    w.directory.add_member(&organization(0xB), &ann(), Role::Viewer);
    assert_eq!(w.issuer.redeem(&ticket, &key, b"payload").await.unwrap().role(), Role::Viewer);
    for (ttl, payload) in
        [(Duration::ZERO, "x"), (ScopeTicket::MAX_TTL + Duration::from_secs(1), "x")]
    {
        assert_eq!(
            w.b.ticket(&key, ttl, payload.as_bytes()).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    w.issuer.suspend(organization(0xB));
    assert_eq!(
        w.issuer.redeem(&ticket, &key, b"payload").await.unwrap_err().kind(),
        ErrorKind::Denied
    );
    assert_eq!(w.b.ticket(&key, HOUR, b"x").unwrap_err().kind(), ErrorKind::Denied);
}
