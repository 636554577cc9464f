//! Prints how often each case allocates: `statement TAB way TAB allocations TAB bytes`.

use std::alloc::System;

use peers::build::{CASES, Inputs};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inputs = runtime.block_on(Inputs::new());
    for case in CASES {
        for _ in 0..10 {
            (case.build)(&inputs);
        }
        let region = Region::new(ALLOCATOR);
        (case.build)(&inputs);
        let change = region.change();
        println!(
            "{}\t{}\t{}\t{}",
            case.statement,
            case.way,
            change.allocations + change.reallocations,
            change.bytes_allocated
        );
    }
}
