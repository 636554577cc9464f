//! Streams a million rows and prints by how much memory grew at its highest, in KiB:
//! `how TAB rows TAB KiB`. One process for each stream, because the highest mark is the process's.
//!
//! `memory key` streams in the order of the key, `memory unordered` in the store's, `memory sorted`
//! by a column without an index, which SQLite sorts first.

use futures_util::TryStreamExt as _;
use peers::measure::{setting, spawned};
use peers::world::{self, Order, orders};

fn main() {
    let how = std::env::args().nth(1).unwrap_or_else(|| "key".to_owned());
    let rows = setting("ROWS", 1_000_000);
    spawned(async move {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.sqlite");
        world::fill(&path, 1, rows).await;
        let (issuer, scopes) = world::enter(&[0]).await;
        let db = world::open(&path, &issuer, true).await;
        let few = Order::select(&scopes[0]).limit(10).fetch_all(&db).await.unwrap();
        assert_eq!(few.len(), 10);
        drop(few);
        // The mark falls to what is resident now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = highest();
        let select = Order::select(&scopes[0]);
        let select = match how.as_str() {
            "unordered" => select.unordered(),
            "sorted" => select.order_by(orders::total_cents.desc()),
            _ => select,
        };
        let mut stream = select.fetch(&db);
        let mut seen = 0;
        while let Some(row) = stream.try_next().await.unwrap() {
            std::hint::black_box(row);
            seen += 1;
        }
        assert_eq!(seen, rows);
        // Where all of it fits into what was freed before, the mark may stand below what was resident.
        println!("{how}\t{rows}\t{}", highest().saturating_sub(before));
    });
}

/// The highest resident size so far, in KiB.
fn highest() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
