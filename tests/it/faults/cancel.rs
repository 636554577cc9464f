//! Futures that are dropped at every await: nothing stays open, nothing is half-written, and no
//! transaction quietly ends before its owner ends it. L14 and L72 among them.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use tenantry::database::Transaction;
use tenantry::{Database, ErrorKind};

use super::fixture::*;

/// Polls a future until a time has passed, then drops it.
async fn cut<F: Future>(future: F, after: Duration) -> Option<F::Output> {
    let mut future = pin!(future);
    let start = Instant::now();
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if start.elapsed() >= after => Poll::Ready(None),
        Poll::Pending => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Times from nothing to half a millisecond, dense where the awaits are; the first are one poll and
/// none.
fn times(attempts: u32) -> impl Iterator<Item = Duration> {
    (0..u64::from(attempts / EASE)).map(|n| {
        let n = n.saturating_sub(20);
        Duration::from_nanos(n * n % 997 * 500)
    })
}

struct Tally {
    ended: u32,
    dropped: u32,
}

impl Tally {
    fn new() -> Self {
        Self { ended: 0, dropped: 0 }
    }

    fn count<T>(&mut self, outcome: &Option<T>) {
        if outcome.is_some() { self.ended += 1 } else { self.dropped += 1 }
    }

    fn both(&self) {
        assert!(self.dropped >= fewest(), "only {} of the futures were dropped", self.dropped);
    }
}

/// A small database whose writes are quick, with one row of each organization to write to.
async fn fast() -> World {
    let w = bare(|builder| readers(builder, 2).acquire_timeout(Duration::from_secs(5))).await;
    for scope in [&w.a, &w.b] {
        Customer::insert(scope, customer(1, "Ann")).execute(&w.db).await.unwrap();
    }
    w
}

/// Another organization writes and a connection beside the library sees it at once: no
/// transaction is open, and nobody holds the lock.
async fn settled(w: &World, round: usize) {
    let token = format!("round-{round}");
    let n = Customer::update(&w.b)
        .set(customers::token, token.as_str())
        .key(1)
        .execute(&w.db)
        .await
        .unwrap();
    assert_eq!(n, 1);
    let theirs = literal(w.b.organization());
    let query = format!("SELECT token FROM customers WHERE organization_id = {theirs}");
    let seen = ask::<String>(&w.path, &query).await;
    assert_eq!(seen, [token], "the write went into a transaction that is still open");
    idle(&w.path).await;
}

/// Both readers and the writer can be had at the same time.
async fn capacity(w: &World) {
    let mut held = Vec::new();
    for scope in [&w.a, &w.b] {
        let mut rows = Customer::select(scope).fetch(&w.db);
        assert!(rows.next().await.unwrap().is_ok());
        held.push(rows);
    }
    let tx = w.db.begin(&w.a).await.unwrap();
    tx.rollback().await.unwrap();
}

/// The ids of A's customers above 100, counted beside the library.
async fn written(w: &World) -> Vec<i64> {
    let ours = literal(w.a.organization());
    let query =
        format!("SELECT id FROM customers WHERE organization_id = {ours} AND id > 100 ORDER BY id");
    ask(&w.path, &query).await
}

fn new(id: i64) -> Customer {
    customer(id, &format!("customer {id}"))
}

#[tokio::test]
async fn l14_a_begin_that_is_dropped_leaves_no_transaction_and_no_organization_behind() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let begun = cut(w.db.begin(&w.a), after).await;
        tally.count(&begun);
        if let Some(tx) = begun {
            tx.unwrap().rollback().await.unwrap();
        }
        settled(&w, round).await;
    }
    tally.both();
    capacity(&w).await;
}

/// Nothing runs between the drop and the next begin: not even the rollback in the background.
#[tokio::test]
async fn l14_the_next_begin_after_a_dropped_one_is_a_transaction_of_its_own() {
    let w = fast().await;
    for (round, after) in times(200).enumerate() {
        drop(cut(w.db.begin(&w.a), after).await);
        let mut tx = w.db.begin(&w.b).await.unwrap();
        assert_eq!(
            Customer::update(&w.b)
                .set(customers::token, "b")
                .all_rows()
                .execute(&mut tx)
                .await
                .unwrap(),
            1
        );
        if round % 2 == 0 {
            tx.commit().await.unwrap();
        } else {
            let crossed = Customer::delete(&w.a).all_rows().execute(&mut tx).await.unwrap_err();
            assert_eq!(crossed.kind(), ErrorKind::Misuse);
        }
    }
    capacity(&w).await;
}

/// The outcome of a transaction in which one statement was dropped: only a rollback remains.
async fn only_rollback_remains(w: &World, mut tx: Transaction, by_commit: bool) {
    let next = Customer::insert(&w.a, new(9_999)).execute(&mut tx).await.unwrap_err();
    assert_eq!(next.kind(), ErrorKind::Misuse, "{next:?}");
    assert_eq!(Customer::select(&w.a).count(&mut tx).await.unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(tx.savepoint().await.err().unwrap().kind(), ErrorKind::Misuse);
    if by_commit {
        assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Misuse);
    } else {
        tx.rollback().await.unwrap();
    }
    assert_eq!(written(w).await, [0; 0], "a failed transaction wrote");
}

#[tokio::test]
async fn a_write_that_is_dropped_in_a_transaction_fails_it() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        let first = round % 3 == 0;
        if !first {
            Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        }
        let outcome = match round % 4 {
            0 => cut(Customer::insert(&w.a, new(102)).execute(&mut tx), after)
                .await
                .map(|n| n.unwrap()),
            1 => cut(
                Customer::update(&w.a).set(customers::token, "x").all_rows().execute(&mut tx),
                after,
            )
            .await
            .map(|n| n.unwrap()),
            2 => cut(Customer::insert_many(&w.a, (200..600).map(new)).execute(&mut tx), after)
                .await
                .map(|n| n.unwrap()),
            _ => cut(Customer::delete(&w.a).key(77).execute(&mut tx), after)
                .await
                .map(|n| n.unwrap()),
        };
        // A future that was dropped before its first poll never became a statement.
        tally.count(&outcome);
        if outcome.is_some() {
            tx.rollback().await.unwrap();
        } else {
            only_rollback_remains(&w, tx, round % 2 == 0).await;
        }
        if round % 10 == 0 {
            settled(&w, round).await;
        }
    }
    tally.both();
    settled(&w, 0).await;
    capacity(&w).await;
}

/// The documentation of `Transaction` makes no difference between reads and writes.
#[tokio::test]
async fn a_read_that_is_dropped_in_a_transaction_fails_it() {
    let w = fast().await;
    Customer::insert_many(&w.a, (10_001..12_000).map(new)).execute(&w.db).await.unwrap();
    let (mut dropped, mut went_on) = (0, 0);
    for after in times(100) {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        if cut(Customer::select(&w.a).fetch_all(&mut tx), after).await.is_none() {
            dropped += 1;
            went_on += u32::from(tx.commit().await.is_ok());
        }
    }
    assert!(dropped >= fewest());
    assert_eq!(went_on, 0, "of {dropped} transactions with a dropped read");
}

/// A read that is dropped changes nothing of what was written before and after it.
#[tokio::test]
async fn a_read_that_is_dropped_in_a_transaction_loses_no_write() {
    let w = fast().await;
    Customer::insert_many(&w.a, (10_001..12_000).map(new)).execute(&w.db).await.unwrap();
    let many = written(&w).await;
    let mut tally = Tally::new();
    for (round, after) in times(150).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        match round % 3 {
            0 => tally.count(&cut(Customer::select(&w.a).fetch_all(&mut tx), after).await),
            1 => tally.count(&cut(Customer::find(&w.a, 101).fetch_one(&mut tx), after).await),
            _ => {
                let mut rows = Customer::select(&w.a).fetch(&mut tx);
                let _ = cut(rows.next(), after).await;
                let _ = rows.next().now_or_never();
            }
        }
        let second = Customer::insert(&w.a, new(102)).execute(&mut tx).await;
        let committed = tx.commit().await;
        let now = written(&w).await;
        match (&second, &committed) {
            (Ok(1), Ok(())) => {
                assert_eq!(now[..2], [101, 102]);
                Customer::delete(&w.a)
                    .filter(customers::id.between(101, 102))
                    .execute(&w.db)
                    .await
                    .unwrap();
            }
            (Err(_), Err(_)) => assert_eq!(now, many),
            other => panic!("half a transaction: {other:?}"),
        }
    }
    tally.both();
    settled(&w, 0).await;
}

#[tokio::test]
async fn a_commit_that_is_dropped_happened_or_did_not() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        Customer::insert_many(&w.a, [new(102), new(103)]).execute(&mut tx).await.unwrap();
        let outcome = cut(tx.commit(), after).await;
        tally.count(&outcome);
        settled(&w, round).await;
        let kept = written(&w).await;
        match outcome {
            Some(committed) => {
                committed.unwrap();
                assert_eq!(kept, [101, 102, 103], "a commit that said Ok lost a write");
            }
            None => assert!(kept.is_empty() || kept == [101, 102, 103], "half a commit: {kept:?}"),
        }
        Customer::delete(&w.a).filter(customers::id.gt(100)).execute(&w.db).await.unwrap();
    }
    tally.both();
    capacity(&w).await;
}

#[tokio::test]
async fn a_rollback_that_is_dropped_rolls_back_all_the_same() {
    let w = fast().await;
    for (round, after) in times(150).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        drop(cut(tx.rollback(), after).await);
        settled(&w, round).await;
        assert_eq!(written(&w).await, [0; 0]);
    }
    capacity(&w).await;
}

/// With the driver's own nested begins, 252 of 300 outer transactions lost their first write and
/// said Ok.
#[tokio::test]
async fn l72_a_savepoint_begin_that_is_dropped_fails_the_outer_transaction_and_loses_nothing_quietly()
 {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        let begun = match cut(tx.savepoint(), after).await {
            None => None,
            Some(savepoint) => {
                savepoint.unwrap().release().await.unwrap();
                Some(())
            }
        };
        tally.count(&begun);
        if begun.is_none() {
            only_rollback_remains(&w, tx, round % 2 == 0).await;
        } else {
            Customer::insert(&w.a, new(102)).execute(&mut tx).await.unwrap();
            assert_eq!(written(&w).await, [0; 0], "the outer transaction ended early");
            tx.commit().await.unwrap();
            assert_eq!(written(&w).await, [101, 102]);
            Customer::delete(&w.a).filter(customers::id.gt(100)).execute(&w.db).await.unwrap();
        }
        if round % 10 == 0 {
            settled(&w, round).await;
        }
    }
    tally.both();
    capacity(&w).await;
}

/// Whatever remains of the transaction, its owner learns the truth at the commit.
async fn all_or_nothing_at_commit(w: &World, tx: Transaction, with: &[i64], without: &[i64]) {
    assert_eq!(written(w).await, [0; 0], "the outer transaction ended early");
    match tx.commit().await {
        Ok(()) => {
            let kept = written(w).await;
            assert!(kept == with || kept == without, "{kept:?}");
            Customer::delete(&w.a).filter(customers::id.gt(100)).execute(&w.db).await.unwrap();
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
            assert_eq!(written(w).await, [0; 0]);
        }
    }
}

#[tokio::test]
async fn l72_a_savepoint_release_that_is_dropped_keeps_the_part_or_undoes_it() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        let mut savepoint = tx.savepoint().await.unwrap();
        Customer::insert(&w.a, new(102)).execute(&mut *savepoint).await.unwrap();
        let released = cut(savepoint.release(), after).await;
        tally.count(&released);
        if released.is_some() {
            released.unwrap().unwrap();
            all_or_nothing_at_commit(&w, tx, &[101, 102], &[101, 102]).await;
        } else {
            all_or_nothing_at_commit(&w, tx, &[101, 102], &[101]).await;
        }
        if round % 10 == 0 {
            settled(&w, round).await;
        }
    }
    tally.both();
    capacity(&w).await;
}

#[tokio::test]
async fn l72_a_savepoint_rollback_that_is_dropped_undoes_the_part_or_fails_the_transaction() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        let mut savepoint = tx.savepoint().await.unwrap();
        Customer::insert(&w.a, new(102)).execute(&mut *savepoint).await.unwrap();
        let undone = cut(savepoint.rollback(), after).await;
        tally.count(&undone);
        // What was rolled back, or was about to be, never comes back.
        all_or_nothing_at_commit(&w, tx, &[101], &[101]).await;
        if round % 10 == 0 {
            settled(&w, round).await;
        }
    }
    tally.both();
}

/// A savepoint around the dropped statement takes the damage away with itself.
#[tokio::test]
async fn l72_a_savepoint_confines_a_statement_that_was_dropped_inside_it() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
        let mut savepoint = tx.savepoint().await.unwrap();
        let dropped = if round % 2 == 0 {
            cut(Customer::insert(&w.a, new(102)).execute(&mut *savepoint), after).await.is_none()
        } else {
            cut(savepoint.savepoint(), after).await.is_none()
        };
        tally.count(&(!dropped).then_some(()));
        match round % 3 {
            0 => savepoint.rollback().await.unwrap(),
            1 => drop(savepoint),
            _ => {
                let released = savepoint.release().await;
                assert_eq!(released.is_err(), dropped, "{released:?}");
            }
        }
        Customer::insert(&w.a, new(103)).execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let kept = written(&w).await;
        let inside = round % 2 == 0 && round % 3 == 2 && !dropped;
        assert_eq!(
            kept,
            if inside { vec![101, 102, 103] } else { vec![101, 103] },
            "round {round}"
        );
        Customer::delete(&w.a).filter(customers::id.gt(100)).execute(&w.db).await.unwrap();
    }
    tally.both();
    settled(&w, 0).await;
}

#[tokio::test]
async fn a_batch_that_is_dropped_went_in_whole_or_not_at_all() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(150).enumerate() {
        let after = after * 20;
        let batch = || (101..1_401).map(new);
        let outcome = match round % 2 {
            0 => cut(Customer::insert_many(&w.a, batch()).execute(&w.db), after)
                .await
                .map(|n| n.unwrap()),
            _ => cut(Customer::insert_many(&w.a, batch()).returning().fetch_all(&w.db), after)
                .await
                .map(|rows| rows.unwrap().len() as u64),
        };
        tally.count(&outcome);
        settled(&w, round).await;
        let kept = written(&w).await.len();
        assert!(kept == 0 || kept == 1_300, "{kept} of 1300 rows");
        assert!(outcome.is_none_or(|n| n == 1_300 && kept == 1_300));
        Customer::delete(&w.a).filter(customers::id.gt(100)).execute(&w.db).await.unwrap();
    }
    tally.both();
    capacity(&w).await;
}

#[tokio::test]
async fn a_single_write_that_is_dropped_happened_or_did_not() {
    let w = fast().await;
    let mut tally = Tally::new();
    for (round, after) in times(300).enumerate() {
        let outcome = match round % 3 {
            0 => cut(Customer::insert(&w.a, new(101)).execute(&w.db), after)
                .await
                .map(|n| n.unwrap()),
            1 => cut(Customer::insert(&w.a, new(101)).returning().fetch_one(&w.db), after)
                .await
                .map(|row| u64::from(row.unwrap().id == 101)),
            _ => {
                let upsert = Customer::insert(&w.a, new(101))
                    .on_conflict(customers::id)
                    .update(customers::name);
                cut(upsert.execute(&w.db), after).await.map(|n| n.unwrap())
            }
        };
        tally.count(&outcome);
        settled(&w, round).await;
        let kept = written(&w).await;
        assert!(kept.is_empty() || kept == [101]);
        assert!(outcome.is_none() || kept == [101], "a write that said Ok is lost");
        Customer::delete(&w.a).filter(customers::id.gt(100)).execute(&w.db).await.unwrap();
    }
    tally.both();
    capacity(&w).await;
}

#[tokio::test]
async fn reads_and_streams_that_are_dropped_give_their_connections_back() {
    for paranoid in [false, true] {
        let w = bare(|builder| {
            readers(builder, 2).paranoid(paranoid).acquire_timeout(Duration::from_secs(5))
        })
        .await;
        for scope in [&w.a, &w.b] {
            Customer::insert_many(scope, (1..1_000).map(new)).execute(&w.db).await.unwrap();
            Customer::update(scope)
                .set(customers::token, scope.organization().to_string().as_str())
                .all_rows()
                .execute(&w.db)
                .await
                .unwrap();
        }
        let (ours, theirs) = (w.a.organization().to_string(), w.b.organization().to_string());
        let mut tally = Tally::new();
        for (round, after) in times(200).enumerate() {
            match round % 4 {
                0 => tally.count(&cut(Customer::select(&w.a).fetch_all(&w.db), after).await),
                1 => tally.count(&cut(Customer::find(&w.a, 5).fetch_one(&w.db), after).await),
                2 => tally.count(&cut(Customer::select(&w.a).count(&w.db), after).await),
                _ => {
                    let mut rows = Customer::select(&w.a).fetch(&w.db);
                    for _ in 0..round % 90 {
                        let row = rows.next().await.unwrap().unwrap();
                        assert_eq!(row.token.as_deref(), Some(&*ours));
                    }
                    tally.count(&cut(rows.next(), after).await);
                }
            }
            let row = Customer::find(&w.b, 7).fetch_one(&w.db).await.unwrap();
            assert_eq!(row.token.as_deref(), Some(&*theirs));
        }
        tally.both();
        let rows = Customer::select(&w.b).fetch_all(&w.db).await.unwrap();
        assert!(rows.len() == 999 && rows.iter().all(|row| row.token.as_deref() == Some(&*theirs)));
        capacity(&w).await;
    }
}

#[tokio::test]
async fn a_single_connection_survives_everything_that_is_dropped() {
    let (_, issuer) = people();
    let (db, _place) = single(&issuer, schema()).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
    Customer::insert_many(&b, (1..300).map(new)).execute(&db).await.unwrap();
    for (round, after) in times(400).enumerate() {
        match round % 6 {
            0 => drop(cut(db.begin(&a), after).await),
            1 => drop(cut(Customer::select(&b).fetch_all(&db), after).await),
            2 => {
                let work = db.transaction(&a, async |tx| {
                    Customer::insert(&a, new(101)).execute(&mut *tx).await?;
                    Customer::insert(&a, new(102)).execute(tx).await
                });
                drop(cut(work, after).await);
            }
            3 => {
                let mut rows = Customer::select(&b).fetch(&db);
                assert!(rows.next().await.unwrap().is_ok());
                drop(cut(rows.next(), after).await);
            }
            4 => {
                drop(cut(Customer::insert_many(&a, [new(101), new(102)]).execute(&db), after).await)
            }
            _ => drop(cut(db.ping(), after).await),
        }
        let kept = Customer::select(&a).count(&db).await.unwrap();
        assert!(kept == 0 || kept == 2, "round {round}: {kept}");
        Customer::delete(&a).all_rows().execute(&db).await.unwrap();
        assert_eq!(Customer::select(&b).count(&db).await.unwrap(), 299);
    }
}

/// A transaction that is dropped where no runtime is left is rolled back before the next writer.
#[test]
fn a_transaction_dropped_outside_a_runtime_is_rolled_back_before_the_next_writer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let w = runtime.block_on(fast());
    for half_way in [false, true] {
        let tx = runtime.block_on(async {
            let mut tx = w.db.begin(&w.a).await.unwrap();
            Customer::insert(&w.a, new(101)).execute(&mut tx).await.unwrap();
            if half_way {
                drop(cut(Customer::select(&w.a).fetch_all(&mut tx), Duration::ZERO).await);
            }
            tx
        });
        drop(tx);
        runtime.block_on(async {
            settled(&w, 1).await;
            assert_eq!(written(&w).await, [0; 0]);
            capacity(&w).await;
        });
    }
}

/// Many tasks that are aborted while they write, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn aborted_tasks_leave_the_pool_whole_and_no_half_transaction() {
    let w = fast().await;
    async fn pair(db: Database, scope: tenantry::TenantScope, n: i64) -> tenantry::Result<()> {
        let mut tx = db.begin(&scope).await?;
        Customer::insert(&scope, new(1_000 + 2 * n)).execute(&mut tx).await?;
        Customer::insert(&scope, new(1_001 + 2 * n)).execute(&mut tx).await?;
        tx.commit().await
    }
    let mut said_ok = Vec::new();
    for n in 0..200i64 {
        let task = tokio::spawn(pair(w.db.clone(), w.a.clone(), n));
        let started = Instant::now();
        while started.elapsed() < Duration::from_micros((n as u64 * 37) % 900) {
            tokio::task::yield_now().await;
        }
        task.abort();
        if let Ok(outcome) = task.await {
            outcome.unwrap();
            said_ok.push(n);
        }
    }
    settled(&w, 0).await;
    let kept = written(&w).await;
    for n in 0..200i64 {
        let both = (kept.contains(&(1_000 + 2 * n)), kept.contains(&(1_001 + 2 * n)));
        assert_eq!(both.0, both.1, "half of pair {n}");
        assert!(both.0 || !said_ok.contains(&n), "pair {n} said Ok and is lost");
    }
    capacity(&w).await;
}
