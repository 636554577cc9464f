//! Building a statement with its bound values, in nanoseconds: `cargo bench --bench build`.
//! `gate` counts instructions and allocations of the same cases.

use criterion::{Criterion, criterion_group, criterion_main};
use peers::build::{CASES, Inputs};

fn build(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inputs = runtime.block_on(Inputs::new());
    for case in CASES {
        criterion.bench_function(&format!("{}/{}", case.statement, case.way), |bencher| {
            bencher.iter(|| (case.build)(&inputs));
        });
    }
}

criterion_group!(benches, build);
criterion_main!(benches);
