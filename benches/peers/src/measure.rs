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

/// Times of ways that took turns, kept while the ways are made anew.
#[derive(Debug, Default)]
pub struct Comparison {
    names: Vec<&'static str>,
    /// Of each way, its time in each round.
    times: Vec<Vec<f64>>,
    next: u64,
    dice: u64,
}

impl Comparison {
    /// Lets the ways take turns in an order that is drawn for each round, because a way also pays
    /// for what the one before it left in the caches and on the processors.
    pub async fn run(&mut self, ways: &[Way], rounds: u64, batch: u64) {
        self.names = ways.iter().map(|way| way.name).collect();
        self.times.resize(ways.len(), Vec::new());
        let mut order: Vec<usize> = (0..ways.len()).collect();
        for round in 0..rounds + 3 {
            self.shuffle(&mut order);
            let mut took = vec![0.0; ways.len()];
            for at in &order {
                let begun = Instant::now();
                (ways[*at].run)(self.next, self.next + batch).await;
                took[*at] = begun.elapsed().as_secs_f64() / batch as f64;
            }
            self.next += batch;
            // The first rounds fill caches.
            if round >= 3 {
                for (times, took) in self.times.iter_mut().zip(took) {
                    times.push(took);
                }
            }
        }
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for at in (1..order.len()).rev() {
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (self.dice >> 33) as usize % (at + 1));
        }
    }

    /// What each way cost; the first is the one that the others are compared with.
    pub fn costs(&self) -> Vec<Cost> {
        self.names
            .iter()
            .zip(&self.times)
            .map(|(name, own)| {
                let ratios: Vec<f64> =
                    own.iter().zip(&self.times[0]).map(|(own, first)| own / first).collect();
                Cost {
                    name,
                    time: Duration::from_secs_f64(quantile(own, 0.5)),
                    ratio: quantile(&ratios, 0.5),
                    quartiles: (quantile(&ratios, 0.25), quantile(&ratios, 0.75)),
                }
            })
            .collect()
    }
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
