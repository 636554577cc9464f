//! Sealed credentials against whoever has the database: attacks by SQL, rotation under load, and the
//! end of an organization.
//!
//! ```sh
//! cargo run --example credentials
//! ```
//!
//! Ends with a failure if anything crossed, was lost, or opened that must not.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::panic,
    clippy::future_not_send,
    unreachable_pub,
    reason = "an example stops at the first surprise, and plays the attacker by raw SQL"
)]

mod attacks;
mod story;
mod world;

use std::process::ExitCode;

use attacks::Got;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> tenantry::Result<bool> {
    let mut sound = true;
    println!("what our process got, and one that started afterwards, after the administrator of");
    println!("the database tried to\n");
    let attacks = attacks::play().await?;
    for attack in &attacks {
        let [running, started] = attack.got.each_ref().map(|got| match got {
            Got::Nothing(kind) => format!("nothing ({kind})"),
            Got::Own => "our token".to_owned(),
            Got::Earlier => "our token of yesterday".to_owned(),
            Got::Crossed => "SOMETHING THAT IS NOT OURS".to_owned(),
        });
        println!("{:<52} {running:<23} {started}", attack.name);
        sound &= !attack.crossed();
    }
    let crossed = attacks.iter().filter(|attack| attack.crossed()).count();
    println!("\n{} attacks, {crossed} crossed\n", attacks.len());

    let rotation = story::rotation(|line| println!("{line}")).await?;
    println!("{rotation}\n");
    sound &= rotation.sound();

    let shred = story::shred(|line| println!("{line}")).await?;
    sound &= shred;
    println!("{}", if sound { "nothing crossed, nothing was lost" } else { "NOT SOUND" });
    Ok(sound)
}
