//! The cost of a statement against the number of organizations, over the same number of rows:
//! `GROWTH=1 cargo bench --bench growth` writes three files of a million rows and takes minutes.

use peers::measure::{Comparison, print, setting, spawned};
use peers::ways::{self, Readers};
use peers::world;

fn main() {
    if setting("GROWTH", 0) == 0 {
        println!(
            "skipped: `GROWTH=1 cargo bench --bench growth` writes three files of a million rows"
        );
        return;
    }
    let rows = setting("ROWS", 1_000_000);
    for organizations in [10, 1_000, 100_000] {
        spawned(async move {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("growth.sqlite");
            let each = rows / organizations;
            world::fill(&path, organizations, each).await;
            // As many as there are, up to a thousand that lie evenly apart.
            let step = organizations.div_ceil(1_000);
            let numbers: Vec<u64> = (0..organizations).step_by(step as usize).collect();
            let (issuer, scopes) = world::enter(&numbers).await;
            let readers = Readers::new(&numbers, scopes, each, 10);
            let (mut get, mut list) = (Comparison::default(), Comparison::default());
            for _ in 0..setting("EPOCHS", 8) {
                let db = world::open(&path, &issuer, true).await;
                let pool = ways::pool(&path, 4).await;
                let gets = [
                    ways::get_by_sqlx("sqlx, the same settings", &pool, &readers),
                    ways::get_by_tenantry("tenantry", &db, &readers),
                ];
                get.run(&gets, setting("ROUNDS", 150), 40).await;
                let lists = [
                    ways::list_by_sqlx("sqlx, the same settings", &pool, &readers, false),
                    ways::list_by_tenantry("tenantry", &db, &readers),
                ];
                list.run(&lists, setting("ROUNDS", 150), 20).await;
            }
            print(&format!("get by key, {organizations} organizations"), &get.costs());
            print(&format!("list of 10, {organizations} organizations"), &list.costs());
        });
    }
}
