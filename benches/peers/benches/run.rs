//! Statements end to end on a SQLite file, in a spawned task of a current-thread runtime:
//! `cargo bench --bench run`.
//!
//! `EPOCHS` sets how often every connection is opened anew (which processor a connection's thread
//! settles on decides much), `ROUNDS` how often the ways take turns in each.

use peers::measure::{Comparison, print, setting, spawned};
use peers::ways::{self, Readers, WRITING, Writer};
use peers::world;

const ORGANIZATIONS: u64 = 100;

/// Few enough for the page cache of tenantry and of the peers with its settings.
const ROWS: u64 = 250;

fn main() {
    spawned(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.sqlite");
        world::fill(&path, ORGANIZATIONS, ROWS).await;
        let numbers: Vec<u64> = (0..ORGANIZATIONS).collect();
        let (issuer, scopes) = world::enter(&numbers).await;
        let (epochs, rounds) = (setting("EPOCHS", 8), setting("ROUNDS", 60));
        let readers = Readers::new(&numbers, scopes.clone(), ROWS, 50);

        let mut gets = Comparison::default();
        for _ in 0..epochs {
            gets.run(&ways::gets(&path, &issuer, &readers).await, rounds, 30).await;
        }
        print("get by key", &gets.costs());

        let mut lists = Comparison::default();
        for _ in 0..epochs {
            lists.run(&ways::lists(&path, &issuer, &readers).await, rounds, 6).await;
        }
        print("list of 50", &lists.costs());

        let writers: Vec<Writer> = (0..WRITING)
            .map(|at| Writer {
                number: at as u64,
                scope: scopes[at].clone(),
                owner: world::organization(at as u64),
                rows: ROWS,
            })
            .collect();
        let (mut inserts, mut updates) = (Comparison::default(), Comparison::default());
        for _ in 0..epochs {
            let (insert, update) = ways::writes(&path, &issuer, &writers).await;
            inserts.run(&insert, rounds, 12).await;
            updates.run(&update, rounds, 12).await;
        }
        print("insert", &inserts.costs());
        print("update by key", &updates.costs());
    });
}
