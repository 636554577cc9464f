//! Builds every case a thousand times, for callgrind: `gate` runs it and divides.

use peers::build::{CASES, Inputs, repeat};

/// How often each case is repeated under callgrind.
pub const TIMES: u32 = 1_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inputs = runtime.block_on(Inputs::new());
    for case in CASES {
        for _ in 0..10 {
            (case.build)(&inputs);
        }
    }
    for case in CASES {
        repeat(case.build, &inputs, TIMES);
    }
}
