//! Three organizations in one database, and one of them attacks another.
//!
//! ```text
//! cargo run --example isolation
//! ```
//!
//! It loads the Chinook music store into a fresh SQLite file as three organizations, one for each
//! support representative, with ids that collide; adds up each organization's invoices; then lets
//! one organization try to read, change, detect or impersonate another in every way that came to
//! mind. The table says for each attack which wall stopped it and what the attacker saw. Both are
//! told from what came back and from the audit, and most attacks are repeated at something that
//! nobody has, because an answer that differs is a leak too. What the type system refuses does not
//! compile, and so is not in the table: see `tests/ui`.
//!
//! The exit status is 0 if nothing crossed, and 1 otherwise. `tables.rs` shows how tables are
//! declared, `chinook.rs` how they are filled, and `attacks.rs` most forms of query.

mod answer;
mod attacks;
mod chinook;
mod tables;

use std::process::ExitCode;

use answer::Attack;
use chinook::{Books, Fallible, Tenant, Totals, World};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("FAILED: the example could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Fallible<bool> {
    println!(
        "One SQLite file holds three organizations with colliding ids, and a shared catalogue."
    );
    println!("Every query goes through a scope. This is what each organization adds up to:\n");
    let mut world = World::load().await?;
    let before = totals(&world).await?;

    println!("\n{} attacks {}:\n", world.attacker.name, world.victim.name);
    let mut attacks = Vec::new();
    let played = attacks::play(&mut world, &mut attacks).await;
    print_attacks(&attacks);
    played?;

    println!("\nAnd afterwards:\n");
    let after = totals(&world).await?;
    let mut untouched = true;
    for Tenant { name, scope, books, .. } in world.tenants() {
        let same = Books::of(scope, &world.db).await? == *books;
        untouched &= same;
        let verdict = if same { "row for row as loaded" } else { "CHANGED" };
        println!("  {name:<16}{verdict}");
    }

    let crossed = attacks.iter().filter(|attack| !attack.held()).count();
    println!();
    if crossed == 0 && before && after && untouched {
        println!("{} attacks, nothing crossed.", attacks.len());
        return Ok(true);
    }
    println!("ISOLATION BROKEN: {crossed} of {} attacks did not end as claimed.", attacks.len());
    Ok(false)
}

/// Prints each organization's totals; answers whether they are those of the Chinook file.
async fn totals(world: &World) -> Fallible<bool> {
    println!("  {:<16}{:>9}{:>10}{:>8}{:>10}", "", "customers", "invoices", "lines", "revenue");
    let mut right = true;
    for Tenant { name, scope, .. } in world.tenants() {
        let totals = Totals::of(scope, &world.db).await?;
        let Totals { customers, invoices, lines, revenue } = &totals;
        let revenue = revenue.map_or_else(|| "none".to_owned(), |sum| sum.to_string());
        let same = Totals::expected(name).is_some_and(|expected| expected == totals);
        right &= same;
        let remark = if same { "" } else { "  WRONG" };
        println!("  {name:<16}{customers:>9}{invoices:>10}{lines:>8}{revenue:>10}{remark}");
    }
    Ok(right)
}

const WIDTHS: [usize; 4] = [41, 42, 6, 56];

fn print_attacks(attacks: &[Attack]) {
    print_line(
        ["what he tries", "wall that stops it", "blind*", "what he sees"].map(str::to_owned),
    );
    print_line(WIDTHS.map(|width| "-".repeat(width)));
    for attack in attacks {
        print_line(line(attack));
    }
    println!("\n  The walls: 1 scope, 2 query, 3 database, 4 witness, 5 cryptography.");
    println!("  * yes: the same act at something that nobody has brings the very same answer.");
}

/// Prints one line of the table, over several lines where a cell is too long for one.
fn print_line(cells: [String; 4]) {
    let mut columns = cells.map(|cell| cell.split(' ').map(str::to_owned).collect::<Vec<_>>());
    while columns.iter().any(|words| !words.is_empty()) {
        let mut line = String::from(" ");
        for (words, width) in columns.iter_mut().zip(WIDTHS) {
            let cell = first_words(words, width);
            line.push_str(&format!(" {cell:<width$} "));
        }
        println!("{}", line.trim_end());
    }
}

/// Takes as many words as fit, and at least one.
fn first_words(words: &mut Vec<String>, width: usize) -> String {
    let mut fitting = 0;
    let mut length = 0;
    for word in words.iter() {
        length += word.chars().count();
        if fitting > 0 && length > width {
            break;
        }
        fitting += 1;
        length += 1;
    }
    words.drain(..fitting).collect::<Vec<_>>().join(" ")
}

fn line(attack: &Attack) -> [String; 4] {
    let mut wall = attack.wall().unwrap_or_else(|| "NONE".to_owned());
    if !attack.held() {
        wall.insert_str(0, "FAILED ");
    }
    let blind = match attack.blind() {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    let mut seen = attack.seen();
    if !attack.untouched() {
        seen.push_str(" AND THEIR ROWS CHANGED");
    }
    [attack.name.to_owned(), wall, blind.to_owned(), seen]
}
