//! Rotation of both kinds of keys while the credentials are used, and a shredding with its proof.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tenantry::credential::{Credentials, KeyState};
use tenantry::crypto::KekId;
use tenantry::{ErrorKind, Result};

use super::world::{Keyset, World, authority, open, secret};

/// What the load saw.
pub struct Rotation {
    pub reads: u64,
    pub writes: u64,
    pub wrong: u64,
    pub readable: usize,
    pub under_old_keys: u64,
}

impl Rotation {
    pub fn sound(&self) -> bool {
        self.reads > 0
            && self.writes > 0
            && self.wrong == 0
            && self.readable == CREDENTIALS
            && self.under_old_keys == 0
    }
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, writes, wrong, readable, under_old_keys } = self;
        write!(
            f,
            "{reads} reads and {writes} writes meanwhile, {wrong} of them wrong; afterwards \
             {readable} of {CREDENTIALS} open, {under_old_keys} under old keys"
        )
    }
}

pub async fn rotation(mut say: impl FnMut(String)) -> Result<Rotation> {
    let world = Arc::new(World::new().await?);
    let mut ids = Vec::new();
    for n in 0..CREDENTIALS {
        ids.push(world.put(&world.ours, &format!("token-{n}")).await?);
    }
    world.put(&world.theirs, "their-token").await?;

    let (stop, counts) =
        (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicU64::new(0) }; 3]));
    let load = {
        let (world, stop, counts) = (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&counts));
        let (ids, credentials) = (ids.clone(), world.process(Keyset::Both)?);
        tokio::spawn(async move {
            let [reads, writes, wrong] = &*counts;
            // At least one round, however quick the rotation is.
            loop {
                for (n, id) in ids.iter().enumerate() {
                    let token = format!("token-{n}");
                    match credentials.open(&world.ours, *id, "load").await {
                        Ok(opened) => {
                            let own = opened.secret.get("access_token");
                            if !own.is_some_and(|own| own.ct_eq(&token)) {
                                wrong.fetch_add(1, Ordering::Relaxed);
                            }
                            let (version, next) = (opened.info.version, secret(&token));
                            let next = credentials.replace(&world.ours, *id, version, &next).await;
                            if next.is_err() {
                                wrong.fetch_add(1, Ordering::Relaxed);
                            }
                            reads.fetch_add(1, Ordering::Relaxed);
                            writes.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => {
                            wrong.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if n % 8 == 7 && stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        })
    };

    let both = world.process(Keyset::Both)?;
    both.keys().check().await?;
    let authority = authority();
    let report = both.keys().rewrap_all(&authority).await?;
    say(format!("KEK: {} keys wrapped anew, {} failed", report.rewrapped, report.failed.len()));
    let old = both.rotation_status(&world.ours).await?.keys;
    both.rotate(&world.ours).await?;
    let mut reseal = both.reseal(&world.ours).chunk(16);
    while let Some(progress) = reseal.step().await? {
        say(format!("data key: {} of {CREDENTIALS} sealed anew", progress.resealed));
    }
    stop.store(true, Ordering::Relaxed);
    let failed = load.await.is_err();
    for (key, _) in old {
        both.retire(&world.ours, key).await?;
    }
    both.keys().retire_kek(&KekId::new("local", "2026-01")?, &authority).await?;
    say("the old KEK is retired".to_owned());

    // A process that never had the old KEK.
    let after = world.process(Keyset::New)?;
    let mut readable = 0;
    for (n, id) in ids.iter().enumerate() {
        let opened = after.open(&world.ours, *id, "look").await?;
        let own = opened.secret.get("access_token");
        readable += usize::from(own.is_some_and(|own| own.ct_eq(format!("token-{n}"))));
    }
    let status = after.rotation_status(&world.ours).await?;
    let active =
        status.keys.iter().find(|(_, state)| *state == KeyState::Active).map(|(key, _)| *key);
    let under_old_keys =
        status.uses.iter().filter(|each| each.key != active).map(|each| each.count).sum();
    let [reads, writes, wrong] = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    Ok(Rotation { reads, writes, wrong: wrong + u64::from(failed), readable, under_old_keys })
}

/// Whether nothing of the shredded organization opens again, and everything of the other does.
pub async fn shred(mut say: impl FnMut(String)) -> Result<bool> {
    let world = World::new().await?;
    let (ours, theirs) = (
        world.put(&world.ours, "our-token").await?,
        world.put(&world.theirs, "their-token").await?,
    );
    let backup = world.files.path().join("backup.db");
    world.sql(&format!("VACUUM INTO '{}'", backup.display())).await;
    let other = world.process(Keyset::Old)?;
    other.open(&world.ours, ours, "look").await?;

    let grade = world.credentials.shred(&world.ours).await?;
    say(format!("shredded: {grade:?}"));
    let restored = open(&world.issuer, &backup).await?;
    let ledger = tenantry::credential::FileLedger::open(world.files.path().join("ledger"))?;
    let provider = super::world::keyring(Keyset::Old)?;
    let restored = Credentials::builder(&world.issuer, provider, restored).ledger(ledger).build();
    let mut sound = true;
    for (place, credentials) in [
        ("this process", &world.credentials),
        ("a process that had the key in memory", &other),
        ("a process that starts now", &world.process(Keyset::Old)?),
        ("a backup from before, restored", &restored),
    ] {
        let gone = credentials.open(&world.ours, ours, "look").await;
        let gone = gone.is_err_and(|error| error.kind() == ErrorKind::Shredded);
        let stands = credentials.open(&world.theirs, theirs, "look").await.is_ok();
        say(format!(
            "{place}: ours {}, theirs {}",
            if gone { "gone" } else { "OPENS" },
            if stands { "opens" } else { "LOST" }
        ));
        sound &= gone && stands;
    }
    Ok(sound)
}

const CREDENTIALS: usize = 64;
