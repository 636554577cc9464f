//! Builds every case a thousand times, for callgrind: `gate` runs it and divides. With an argument,
//! `list/dynamic` for one, that case alone, for a profile.

use peers::build::{CASES, Inputs, TIMES, repeat};

fn main() {
    let only = std::env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inputs = runtime.block_on(Inputs::new());
    let wanted = CASES.iter().filter(|case| {
        only.as_ref().is_none_or(|only| *only == format!("{}/{}", case.statement, case.way))
    });
    for case in wanted.clone() {
        repeat_unmeasured(case.build, &inputs);
    }
    for case in wanted {
        repeat(case.build, &inputs, TIMES);
    }
}

/// Fills whatever is filled once.
fn repeat_unmeasured(build: fn(&Inputs), inputs: &Inputs) {
    for _ in 0..10 {
        build(inputs);
    }
}
