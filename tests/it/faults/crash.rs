//! A process that is killed leaves the old state or the new.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::fixture::*;
use super::sheet::{Label, labels, sheet, tables};

const CRASH: &str = "TENANTRY_TEST_CRASH";
const STEP: &str = "TENANTRY_TEST_STEP";

const STEPS: &[&str] = &[
    "opened",
    "begun",
    "first",
    "second",
    "savepoint",
    "inside",
    "released",
    "rolled back",
    "third",
    "committed",
];

fn label(name: &str, value: i64) -> Label {
    Label { name: name.into(), value }
}

/// Says where it is, and stays there if it is the last place.
async fn reached(step: &str) {
    println!("reached {step}");
    if std::env::var(STEP).as_deref() == Ok(step) {
        std::future::pending::<()>().await;
    }
}

/// The process that is killed: does nothing unless it is started as such.
#[tokio::test]
async fn a_process_to_be_killed() {
    let Ok(place) = std::env::var(CRASH) else { return };
    let (_, issuer) = people();
    let db = connect(builder(&issuer), &place, tables()).await.unwrap();
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    reached("opened").await;
    if std::env::var(STEP).as_deref() == Ok("transfers") {
        transfers(&db, &a).await;
    }
    let mut tx = db.begin(&a).await.unwrap();
    reached("begun").await;
    Label::update(&a).set(labels::value, 2).key("row".into()).execute(&mut tx).await.unwrap();
    reached("first").await;
    let many = (0..500).map(|n| label(&format!("many-{n:03}"), n));
    Label::insert_many(&a, many).execute(&mut tx).await.unwrap();
    reached("second").await;
    let mut savepoint = tx.savepoint().await.unwrap();
    reached("savepoint").await;
    Label::insert(&a, label("kept", 1)).execute(&mut *savepoint).await.unwrap();
    reached("inside").await;
    savepoint.release().await.unwrap();
    reached("released").await;
    let mut savepoint = tx.savepoint().await.unwrap();
    Label::delete(&a).all_rows().execute(&mut *savepoint).await.unwrap();
    savepoint.rollback().await.unwrap();
    reached("rolled back").await;
    Label::delete(&a).key("old".into()).execute(&mut tx).await.unwrap();
    reached("third").await;
    tx.commit().await.unwrap();
    reached("committed").await;
}

/// Moves one from one row to the other, for ever, and counts.
async fn transfers(db: &tenantry::Database, a: &tenantry::TenantScope) {
    for n in 1.. {
        db.transaction(a, async |tx| {
            let less = labels::value.sub(1);
            Label::update(a).set(labels::value, less).key("old".into()).execute(&mut *tx).await?;
            Label::insert(a, label(&format!("transfer-{n:06}"), 0)).execute(&mut *tx).await?;
            let more = labels::value.add(1);
            Label::update(a).set(labels::value, more).key("row".into()).execute(tx).await
        })
        .await
        .unwrap();
        println!("reached transfer {n}");
    }
}

fn start(place: &Place, step: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = again(module_path!(), "a_process_to_be_killed")
        .env(CRASH, url(place))
        .env(STEP, step)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reached =
        lines.filter_map(|line| line.split_once("reached ").map(|(_, step)| step.to_owned()));
    (child, reached)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_process_killed_at_any_step_of_a_transaction_leaves_the_old_state_or_the_new() {
    let s = sheet().await;
    s.db.close().await;
    for step in STEPS {
        let old = [label("old", 1), label("row", 1)];
        let db = reopened(&s).await;
        Label::delete(&s.a).all_rows().execute(&db).await.unwrap();
        Label::insert_many(&s.a, old.clone()).execute(&db).await.unwrap();
        db.close().await;
        let (child, mut lines) = start(&s.path, step);
        assert!(lines.any(|reached| reached == *step), "{step} was never reached");
        kill(child);
        sound(&s.path).await;
        let rows = Label::select(&s.a).fetch_all(&reopened(&s).await).await.unwrap();
        if *step == "committed" {
            assert_eq!(rows.len(), 502, "{step}");
            assert_eq!(rows.first(), Some(&label("kept", 1)));
            assert_eq!(rows.last(), Some(&label("row", 2)));
        } else {
            assert_eq!(rows, old, "{step}");
        }
    }
}

async fn reopened(s: &super::sheet::Sheet) -> tenantry::Database {
    connect(tenantry::Database::builder(), &url(&s.path), tables()).await.unwrap()
}

#[tokio::test]
async fn a_process_killed_at_any_moment_keeps_every_commit_that_it_heard_of_and_no_half() {
    for round in 0..12 / u64::from(EASE) {
        let s = sheet().await;
        Label::insert_many(&s.a, [label("old", 1_000), label("row", 0)])
            .execute(&s.db)
            .await
            .unwrap();
        s.db.close().await;
        let (child, lines) = start(&s.path, "transfers");
        let reading = std::thread::spawn(move || {
            lines.filter(|line| line.starts_with("transfer")).count() as i64
        });
        std::thread::sleep(Duration::from_millis(40 + round * 17));
        kill(child);
        let heard = reading.join().unwrap();
        sound(&s.path).await;
        let db = reopened(&s).await;
        let value =
            async |name: &str| Label::find(&s.a, name.into()).fetch_one(&db).await.unwrap().value;
        let (old, row) = (value("old").await, value("row").await);
        let log = Label::select(&s.a)
            .filter(labels::name.starts_with("transfer"))
            .count(&db)
            .await
            .unwrap();
        assert_eq!((old + row, log), (1_000, row), "half a transfer");
        assert!((heard..=heard + 1).contains(&row), "heard {heard}, kept {row}");
    }
}
