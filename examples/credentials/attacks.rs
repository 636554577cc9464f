//! What a hostile administrator of the database tries, and what each attempt got.

use tenantry::credential::{CredentialId, Credentials};
use tenantry::{Error, Result, TenantScope};

use super::world::{Keyset, World, secret};

pub struct Attack {
    pub name: &'static str,
    /// In the process that had the keys at hand, and in one that started afterwards.
    pub got: [Got; 2],
}

/// What came back, judged by the token alone.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// Nothing: the error's kind.
    Nothing(String),
    /// The organization's own token, as it is.
    Own,
    /// The organization's own token of an earlier day.
    Earlier,
    /// What is another's, or was never stored.
    Crossed,
}

impl Attack {
    /// Whether it got what nobody may get. A whole row put back is the row of that day: the manual
    /// says so, and the attack is here to show it.
    pub fn crossed(&self) -> bool {
        let expected = if self.name == WHOLE_ROW { &Got::Earlier } else { &Got::Own };
        self.got.iter().any(|got| !matches!(got, Got::Nothing(_)) && got != expected)
    }
}

pub const WHOLE_ROW: &str = "put a whole row of yesterday back, version included";

const OURS: &str = "organization_id = x'0000000000000000000000000000000a'";
const THEIRS: &str = "organization_id = x'0000000000000000000000000000000b'";

/// Each attack in a world of its own; what came back is compared with what was stored.
pub async fn play() -> Result<Vec<Attack>> {
    let mut attacks = Vec::new();
    let row = |id: &str| format!("{OURS} AND id = {id}");
    type Sql = Box<dyn Fn(&str, &str, &str) -> String>;
    let copy = "SELECT x'0000000000000000000000000000000a', id, slot, provider, label, version,
                key_id, sealed, created_at, updated_at FROM sealed_credentials WHERE";
    let list: Vec<(&'static str, Sql)> = vec![
        ("do nothing", Box::new(|_, _, _| "SELECT 1".into())),
        (
            "swap their ciphertext into our row",
            Box::new(move |one, _, theirs| {
                format!(
                    "UPDATE sealed_credentials SET sealed = (SELECT sealed FROM sealed_credentials WHERE id = {theirs}) WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            "swap it together with the name of its key",
            Box::new(move |one, _, theirs| {
                format!(
                    "UPDATE sealed_credentials SET (sealed, key_id) = (SELECT sealed, key_id FROM sealed_credentials WHERE id = {theirs}) WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            "copy their key row to us as well",
            Box::new(move |one, _, theirs| {
                format!(
            "INSERT INTO organization_keys SELECT x'0000000000000000000000000000000a', key_id, slot, 99, wrapped, kek_id, kcv, created_at, destroyed_at FROM organization_keys WHERE {THEIRS};
             UPDATE sealed_credentials SET (sealed, key_id) = (SELECT sealed, key_id FROM sealed_credentials WHERE id = {theirs}) WHERE {}", row(one))
            }),
        ),
        (
            "copy their whole row over ours",
            Box::new(move |one, _, theirs| {
                format!(
            "DELETE FROM sealed_credentials WHERE {}; INSERT INTO sealed_credentials {copy} id = {theirs};
             UPDATE sealed_credentials SET id = {one} WHERE {OURS} AND id = {theirs}", row(one))
            }),
        ),
        (
            "swap two of our own ciphertexts",
            Box::new(move |one, two, _| {
                format!(
                    "UPDATE sealed_credentials SET sealed = (SELECT sealed FROM sealed_credentials WHERE id = {two}) WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            "relabel the provider",
            Box::new(move |one, _, _| {
                format!("UPDATE sealed_credentials SET provider = 'google' WHERE {}", row(one))
            }),
        ),
        (
            "truncate to the header",
            Box::new(move |one, _, _| {
                format!(
                    "UPDATE sealed_credentials SET sealed = substr(sealed, 1, 84) WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            "cut the last byte off",
            Box::new(move |one, _, _| {
                format!(
                    "UPDATE sealed_credentials SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            "empty it",
            Box::new(move |one, _, _| {
                format!("UPDATE sealed_credentials SET sealed = x'' WHERE {}", row(one))
            }),
        ),
        ("flip a byte of the ciphertext", Box::new(move |one, _, _| flip(90, &row(one)))),
        ("flip a byte of the commitment", Box::new(move |one, _, _| flip(60, &row(one)))),
        ("flip a byte of the salt", Box::new(move |one, _, _| flip(30, &row(one)))),
        ("flip the suite", Box::new(move |one, _, _| flip(3, &row(one)))),
        (
            "put a token of their own in, unsealed",
            Box::new(move |one, _, _| {
                format!(
                    "UPDATE sealed_credentials SET sealed = CAST('hostile-token' AS BLOB), key_id = NULL WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            "turn the version back",
            Box::new(move |one, _, _| {
                format!("UPDATE sealed_credentials SET version = 1 WHERE {}", row(one))
            }),
        ),
        (
            "roll the ciphertext back",
            Box::new(move |one, _, _| {
                format!(
                    "UPDATE sealed_credentials SET sealed = (SELECT sealed FROM yesterday WHERE id = {one}) WHERE {}",
                    row(one)
                )
            }),
        ),
        (
            WHOLE_ROW,
            Box::new(move |one, _, _| {
                format!(
                    "UPDATE sealed_credentials SET (version, sealed) = (SELECT version, sealed FROM yesterday WHERE id = {one}) WHERE {}",
                    row(one)
                )
            }),
        ),
    ];
    for (name, sql) in list {
        let world = World::new().await?;
        let one = world.put(&world.ours, "our-token-yesterday").await?;
        let two = world.put(&world.ours, "our-other-token").await?;
        let theirs = world.put(&world.theirs, "their-token").await?;
        world.sql("CREATE TABLE yesterday AS SELECT * FROM sealed_credentials").await;
        world.credentials.replace(&world.ours, one, 1, &secret("our-token")).await?;
        world.sql(&sql(&blob(one), &blob(two), &blob(theirs))).await;
        let running = look(&world.credentials, &world.ours, one).await;
        let started = look(&world.process(Keyset::Old)?, &world.ours, one).await;
        attacks.push(Attack { name, got: [running, started] });
    }
    Ok(attacks)
}

async fn look(credentials: &Credentials, scope: &TenantScope, id: CredentialId) -> Got {
    let nothing = |error: Error| Got::Nothing(error.kind().to_string());
    match credentials.open(scope, id, "see what came back").await {
        Err(error) => nothing(error),
        Ok(opened) => {
            let token = opened.secret.get("access_token");
            let is = |text: &str| token.is_some_and(|token| token.ct_eq(text));
            if is("our-token") {
                Got::Own
            } else if is("our-token-yesterday") {
                Got::Earlier
            } else {
                Got::Crossed
            }
        }
    }
}

fn flip(at: usize, row: &str) -> String {
    let byte = format!("substr(sealed, {at}, 1)");
    format!(
        "UPDATE sealed_credentials SET sealed = CAST(substr(sealed, 1, {}) || CASE {byte} WHEN x'00' THEN x'01' ELSE x'00' END || substr(sealed, {}) AS BLOB) WHERE {row}",
        at - 1,
        at + 1
    )
}

pub fn blob(id: CredentialId) -> String {
    format!("x'{}'", id.as_uuid().simple())
}
