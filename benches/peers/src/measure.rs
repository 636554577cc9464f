//! Runs timed beside each other.
//!
//! On a machine that others use too, absolute times wander. So the ways take turns in short
//! batches, each round compares its own batches, and what is reported is the median of the rounds'
//! ratios.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A batch of runs, from one number to another.
pub type Batch = Box<dyn Fn(u64, u64) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// One way to run one statement.
pub struct Way {
    pub name: &'static str,
    pub run: Batch,
}

impl Way {
    pub fn new<F>(name: &'static str, run: impl Fn(u64, u64) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, run: Box::new(move |from, to| Box::pin(run(from, to))) }
    }
}

/// What a way cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub name: &'static str,
    /// The median time of a run.
    pub time: Duration,
    /// The median of the ratios to the first way, and the quartiles around it.
    pub ratio: f64,
    pub quartiles: (f64, f64),
}

/// Lets the ways take turns; the first is the one that the others are compared with.
pub async fn compare(ways: &[Way], rounds: u64, batch: u64) -> Vec<Cost> {
    let mut times = vec![Vec::new(); ways.len()];
    let mut next = 0;
    for round in 0..rounds + 2 {
        let mut took = vec![0.0; ways.len()];
        for turn in 0..ways.len() {
            // Another way begins each round.
            let at = (turn + usize::try_from(round).unwrap()) % ways.len();
            let begun = Instant::now();
            (ways[at].run)(next, next + batch).await;
            took[at] = begun.elapsed().as_secs_f64() / batch as f64;
        }
        next += batch;
        // The first rounds fill caches.
        if round >= 2 {
            for (times, took) in times.iter_mut().zip(took) {
                times.push(took);
            }
        }
    }
    ways.iter()
        .zip(&times)
        .map(|(way, own)| {
            let ratios: Vec<f64> =
                own.iter().zip(&times[0]).map(|(own, first)| own / first).collect();
            Cost {
                name: way.name,
                time: Duration::from_secs_f64(quantile(own, 0.5)),
                ratio: quantile(&ratios, 0.5),
                quartiles: (quantile(&ratios, 0.25), quantile(&ratios, 0.75)),
            }
        })
        .collect()
}

pub fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * at).round() as usize]
}

/// Prints costs as a table.
pub fn print(title: &str, costs: &[Cost]) {
    println!("\n| {title} | µs | ratio | quartiles |\n|---|---|---|---|");
    for cost in costs {
        println!(
            "| {} | {:.1} | {:.3} | {:.3} to {:.3} |",
            cost.name,
            cost.time.as_secs_f64() * 1e6,
            cost.ratio,
            cost.quartiles.0,
            cost.quartiles.1
        );
    }
}

/// Runs the work as a spawned task of a current-thread runtime.
pub fn spawned<F>(work: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(work).await.unwrap() });
}

/// The number that an environment variable holds, or another.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}
