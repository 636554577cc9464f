//! The walls below the predicate, as far as the public API reaches them.
//!
//! What cannot be shown from here is that a statement *without* its predicate is stopped: no
//! public form renders one. That is what the mutation gate shows, on copies of the source.

use super::gate::{OPERATIONS, seed_of};
use super::generator::Generator;
use super::run::{Others, run};
use super::world::Place;

/// Shadow views, write triggers and the second opinion change nothing that anybody sees: programs
/// observe the same on a file with every wall up as in memory.
#[test]
fn with_every_wall_up_programs_observe_the_same() {
    let programs = std::env::var("TENANTRY_WALL_PROGRAMS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(25);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..programs {
        let program = Generator::new(seed_of(0x05EC_011D, number)).program(OPERATIONS);
        let folder = tempfile::tempdir().unwrap();
        let (plain, walled) = (folder.path().join("plain.db"), folder.path().join("walled.db"));
        let expected = runtime.block_on(run(Place::Memory, &program, Others::Busy)).seen;
        let places = [
            Place::File { path: &plain, paranoid: false },
            Place::File { path: &walled, paranoid: true },
        ];
        for place in places {
            let outcome = runtime.block_on(run(place, &program, Others::Busy));
            for (turn, (expected, seen)) in expected.iter().zip(&outcome.seen).enumerate() {
                assert_eq!(
                    expected, seen,
                    "program {number}, turn {turn}, {place:?}: {:?}",
                    program.turns[turn].ours
                );
            }
        }
    }
    println!("{programs} programs in memory, in a file and behind every wall");
}
