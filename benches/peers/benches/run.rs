//! Statements end to end on a SQLite file, in a spawned task of a current-thread runtime:
//! `cargo bench --bench run`. `ROUNDS` sets how often the ways take turns.

use peers::measure::{compare, print, setting, spawned};
use peers::ways::{self, Readers, WRITING, Writer};
use peers::world;

const ORGANIZATIONS: u64 = 100;
const ROWS: u64 = 1_000;

fn main() {
    spawned(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.sqlite");
        world::fill(&path, ORGANIZATIONS, ROWS).await;
        let numbers: Vec<u64> = (0..ORGANIZATIONS).collect();
        let (issuer, scopes) = world::enter(&numbers).await;
        let rounds = setting("ROUNDS", 60);
        let readers = Readers::new(&numbers, scopes.clone(), ROWS, 50);

        print(
            "get by key",
            &compare(&ways::gets(&path, &issuer, &readers).await, rounds, 300).await,
        );
        print(
            "list of 50",
            &compare(&ways::lists(&path, &issuer, &readers).await, rounds, 40).await,
        );

        let writers: Vec<Writer> = (0..WRITING)
            .map(|at| Writer {
                number: at as u64,
                scope: scopes[at].clone(),
                owner: world::organization(at as u64),
                rows: ROWS,
            })
            .collect();
        let (inserts, updates) = ways::writes(&path, &issuer, &writers).await;
        print("insert", &compare(&inserts, rounds, 50).await);
        print("update by key", &compare(&updates, rounds, 50).await);
    });
}
