//! Fails where building a statement costs more than it may, or a stream holds too much memory.
//!
//! Instructions under callgrind and allocations are the same on a busy machine as on an idle one,
//! so that they can be a gate; times are reported by the benches.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use peers::build::{CASES, TIMES};

/// Most that a prepared statement may cost, in instructions of the static string.
const PREPARED: f64 = 1.5;

/// Most that a dynamic statement may cost, in instructions of sea-query's.
const DYNAMIC: f64 = 0.3;

/// Most allocations of a read by key, and of a list.
const ALLOCATIONS: [(&str, u64); 2] = [("get", 5), ("list", 8)];

/// Most that a stream of a million rows may hold, in KiB.
const STREAM: u64 = 32 * 1024;

/// Limits that cannot be reached, with the ones that hold instead; docs/benchmarks.md says why.
const EXCEPTIONS: [(&str, &str, Limit); 2] = [
    ("update", "dynamic", Limit::OfSeaQuery(0.4)),
    // A static string with sqlx's binds alone is 0.37 of sea-query here.
    ("insert", "dynamic", Limit::OfStatic(1.6)),
];

#[derive(Debug, Clone, Copy)]
enum Limit {
    OfStatic(f64),
    OfSeaQuery(f64),
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            println!("\n{failures} beyond the limit");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("gate: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u32, String> {
    let instructions = instructions()?;
    let allocations = allocations()?;
    let cost = |statement: &str, way: &str| {
        instructions.get(&(statement.to_owned(), way.to_owned())).copied().unwrap_or(f64::NAN)
    };
    let mut failures = 0;
    println!("| statement | way | instructions | of static | of sea-query | allocations | limit |");
    println!("|---|---|---|---|---|---|---|");
    for case in CASES {
        let own = cost(case.statement, case.way);
        let of_static = own / cost(case.statement, "static");
        let of_sea_query = own / cost(case.statement, "sea-query");
        let allocated = allocations
            .get(&(case.statement.to_owned(), case.way.to_owned()))
            .copied()
            .ok_or("a case was not counted")?;
        let mut verdicts = Vec::new();
        let mut judge = |text: String, holds: bool| {
            failures += u32::from(!holds);
            verdicts.push(format!("{text}{}", if holds { "" } else { " **exceeded**" }));
        };
        match limit(case.statement, case.way) {
            Some(Limit::OfStatic(most)) => {
                judge(format!("{most} of static"), of_static <= most);
            }
            Some(Limit::OfSeaQuery(most)) => {
                judge(format!("{most} of sea-query"), of_sea_query <= most);
            }
            None => {}
        }
        if limit(case.statement, case.way).is_some()
            && let Some((_, most)) = ALLOCATIONS.iter().find(|(name, _)| *name == case.statement)
            && !(case.statement == "get" && case.way == "dynamic")
        {
            judge(format!("{most} allocations"), allocated <= *most);
        }
        println!(
            "| {} | {} | {own:.0} | {of_static:.2} | {of_sea_query:.3} | {allocated} | {} |",
            case.statement,
            case.way,
            verdicts.join(", ")
        );
    }
    println!("\n| stream of a million rows | KiB above the baseline | limit |\n|---|---|---|");
    for (how, gated) in [("key", true), ("unordered", true), ("sorted", false)] {
        let printed = output(&mut Command::new(sibling("memory")?).arg(how))?;
        let held: u64 = printed
            .trim()
            .rsplit('\t')
            .next()
            .and_then(|held| held.parse().ok())
            .ok_or("the stream printed no figure")?;
        let holds = !gated || held < STREAM;
        failures += u32::from(!holds);
        let limit = if gated { STREAM.to_string() } else { String::new() };
        println!("| {how} | {held} | {limit}{} |", if holds { "" } else { " **exceeded**" });
    }
    Ok(failures)
}

/// What a way of a statement is compared with.
fn limit(statement: &str, way: &str) -> Option<Limit> {
    if let Some((.., limit)) = EXCEPTIONS.iter().find(|(s, w, _)| (*s, *w) == (statement, way)) {
        return Some(*limit);
    }
    match way {
        "find" | "prepared" => Some(Limit::OfStatic(PREPARED)),
        "dynamic" => Some(Limit::OfSeaQuery(DYNAMIC)),
        _ => None,
    }
}

type Counts<N> = BTreeMap<(String, String), N>;

/// Instructions of each case, by callgrind.
fn instructions() -> Result<Counts<f64>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("counts");
    output(
        Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg("--toggle-collect=peers::build::repeat")
            .arg("--dump-after=peers::build::repeat")
            .arg(sibling("instructions")?),
    )?;
    let mut counts = Counts::new();
    // Callgrind writes one file whenever the function returns: one for each case, in their order.
    for (number, case) in (1..).zip(CASES) {
        let total = total(&folder.path().join(format!("counts.{number}")))?;
        counts.insert(
            (case.statement.to_owned(), case.way.to_owned()),
            total as f64 / f64::from(TIMES),
        );
    }
    Ok(counts)
}

fn total(file: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("callgrind wrote no counts: {error}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("summary: "))
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| "callgrind's counts have no summary".to_owned())
}

fn allocations() -> Result<Counts<u64>, String> {
    let printed = output(&mut Command::new(sibling("allocations")?))?;
    Ok(printed
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let key = (fields.next()?.to_owned(), fields.next()?.to_owned());
            Some((key, fields.next()?.parse().ok()?))
        })
        .collect())
}

/// Another program of this package, built beside this one.
fn sibling(name: &str) -> Result<std::path::PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name(name))
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} does not start: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} failed: {}", said.lines().last().unwrap_or_default()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
