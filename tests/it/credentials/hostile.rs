//! What whoever writes the database by SQL gets: nothing.

use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tenantry::ErrorKind;
use tenantry::credential::Plaintext;

use super::world::*;

const A: &str = "x'0000000000000000000000000000000a'";
const B: &str = "x'0000000000000000000000000000000b'";

fn blob(id: impl std::fmt::Display) -> String {
    format!("x'{}'", id.to_string().replace('-', ""))
}

async fn sealed(w: &World, id: impl std::fmt::Display) -> Vec<u8> {
    let mut raw = raw(&w.path).await;
    let sql = format!("SELECT sealed FROM sealed_credentials WHERE id = {}", blob(id));
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    row.get(0)
}

async fn write(w: &World, id: impl std::fmt::Display, value: &[u8]) {
    let value = hex::encode(value);
    let sql = format!("UPDATE sealed_credentials SET sealed = x'{value}' WHERE id = {}", blob(id));
    run_raw(&w.path, &sql).await.unwrap();
}

#[tokio::test]
async fn c17_no_ciphertext_opens_in_another_place() {
    let w = World::new(Kind::Sql).await;
    let (one, two) = (w.put(&w.a, "A one").await.id, w.put(&w.a, "A two").await.id);
    let theirs = w.put(&w.b, "B one").await.id;
    let [one_, theirs_] = [one, theirs].map(blob);
    for sql in [
        // Their value in our row, with the name of its key and without.
        format!("UPDATE sealed_credentials SET sealed = (SELECT sealed FROM sealed_credentials WHERE id = {theirs_}) WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET (sealed, key_id) = (SELECT sealed, key_id FROM sealed_credentials WHERE id = {theirs_}) WHERE id = {one_}"),
        // The same, and their key row copied to us.
        format!("INSERT INTO organization_keys SELECT {A}, key_id, slot, 99, wrapped, kek_id, kcv, created_at, destroyed_at FROM organization_keys WHERE organization_id = {B};
                 UPDATE sealed_credentials SET (sealed, key_id) = (SELECT sealed, key_id FROM sealed_credentials WHERE id = {theirs_}) WHERE id = {one_}"),
        // Our other credential's value.
        format!("UPDATE sealed_credentials SET sealed = (SELECT sealed FROM sealed_credentials WHERE id = {}) WHERE id = {one_}", blob(two)),
        format!("UPDATE sealed_credentials SET provider = 'google' WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET version = 2 WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET version = -1 WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET key_id = {one_} WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET key_id = NULL WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET sealed = substr(sealed, 1, 99) WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET sealed = x'' WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET sealed = CAST(sealed || x'00' AS BLOB) WHERE id = {one_}"),
        format!("UPDATE sealed_credentials SET sealed = CAST('plain token' AS BLOB), key_id = NULL WHERE id = {one_}"),
    ] {
        let before = backup(&w).await;
        run_raw(&w.path, &sql).await.unwrap();
        for credentials in [&w.credentials, &w.elsewhere()] {
            let opened = credentials.open(&w.a, one, "look").await;
            refused(opened, ErrorKind::Corrupt);
            let listed = credentials.list(&w.a).await.unwrap();
            assert_eq!(listed.iter().filter(|(_, info)| info.is_ok()).count(), 1, "{sql}");
        }
        assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "B one");
        restore(&w, before).await;
        assert_eq!(token(&w.credentials.open(&w.a, one, "look").await.unwrap()), "A one");
    }
}

/// The rows of A's credentials, and of its keys, as literals.
async fn backup(w: &World) -> Vec<String> {
    let mut raw = raw(&w.path).await;
    let columns = "organization_id, id, slot, provider, label, version, key_id, sealed, created_at, updated_at";
    let quoted: Vec<_> = columns.split(", ").map(|column| format!("quote({column})")).collect();
    let sql = format!(
        "SELECT 'INSERT INTO sealed_credentials ({columns}) VALUES (' || {} || ')' FROM sealed_credentials WHERE organization_id = {A}",
        quoted.join(" || ', ' || ")
    );
    let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    rows
}

async fn restore(w: &World, rows: Vec<String>) {
    let sql = format!(
        "DELETE FROM sealed_credentials WHERE organization_id = {A};
         DELETE FROM organization_keys WHERE version = 99; {}",
        rows.join("; ")
    );
    run_raw(&w.path, &sql).await.unwrap();
}

#[tokio::test]
async fn c17_a_row_moved_or_copied_to_another_organization_does_not_open() {
    let w = World::new(Kind::Sql).await;
    w.put(&w.a, "A one").await;
    let theirs = w.put(&w.b, "B one").await.id;
    let copy = format!(
        "INSERT INTO sealed_credentials SELECT {A}, id, slot, provider, label, version, key_id, sealed, created_at, updated_at
         FROM sealed_credentials WHERE organization_id = {B}"
    );
    run_raw(&w.path, &copy).await.unwrap();
    refused(w.credentials.open(&w.a, theirs, "look").await, ErrorKind::Corrupt);
    assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "B one");
    let moved = format!(
        "DELETE FROM sealed_credentials WHERE organization_id = {A};
         UPDATE sealed_credentials SET organization_id = {A}"
    );
    run_raw(&w.path, &moved).await.unwrap();
    refused(w.credentials.open(&w.a, theirs, "look").await, ErrorKind::Corrupt);
    refused(w.credentials.open(&w.b, theirs, "look").await, ErrorKind::NotFound);
}

#[tokio::test]
async fn every_flipped_byte_of_a_stored_credential_is_refused() {
    let w = World::new(Kind::Sql).await;
    let id = w.put(&w.a, "A one").await.id;
    let value = sealed(&w, id).await;
    for at in (0..value.len()).step_by(3) {
        let mut flipped = value.clone();
        flipped[at] ^= 0x40;
        write(&w, id, &flipped).await;
        refused(w.credentials.open(&w.a, id, "look").await, ErrorKind::Corrupt);
    }
    write(&w, id, &value).await;
    assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "A one");
}

#[tokio::test]
async fn c20_an_old_ciphertext_put_back_is_a_rollback_in_the_audit() {
    let w = World::new(Kind::Sql).await;
    let id = w.put(&w.a, "old").await.id;
    let old = sealed(&w, id).await;
    w.credentials.replace(&w.a, id, 1, &secret("new")).await.unwrap();
    write(&w, id, &old).await;
    refused(w.credentials.open(&w.a, id, "look").await, ErrorKind::Corrupt);
    assert!(w.reasons().await.iter().any(|reason| reason.contains("earlier version")));
    // What is not promised: a whole row, version included, is as it was then.
    run_raw(&w.path, "UPDATE sealed_credentials SET version = 1").await.unwrap();
    assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "old");
}

#[tokio::test]
async fn c21_plaintext_is_read_until_the_date_alone_and_never_once_it_was_sealed() {
    let plain = "UPDATE sealed_credentials SET sealed = CAST('plain token' AS BLOB), key_id = NULL";
    let date = tenantry::now() + time::Duration::days(1);
    let past = tenantry::now() - time::Duration::seconds(1);
    let format = || Plaintext::new("access_token");

    let w = World::with(Kind::Sql, |b| b.accept_legacy_until(past, format())).await;
    let id = w.put(&w.a, "token").await.id;
    run_raw(&w.path, plain).await.unwrap();
    refused(w.credentials.open(&w.a, id, "look").await, ErrorKind::Corrupt);
    refused(w.elsewhere().open(&w.a, id, "look").await, ErrorKind::Corrupt);

    let w = World::with(Kind::Sql, |b| b.accept_legacy_until(date, format())).await;
    let id = w.put(&w.a, "token").await.id;
    run_raw(&w.path, plain).await.unwrap();
    assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "plain token");
    let status = w.credentials.rotation_status(&w.a).await.unwrap();
    assert_eq!((status.uses[0].key, status.uses[0].count), (None, 1));
    let mut reseal = w.credentials.reseal(&w.a);
    assert_eq!(reseal.step().await.unwrap().unwrap().resealed, 1);
    assert!(reseal.step().await.unwrap().is_none());
    // From here on nothing needs the setting.
    assert_eq!(token(&w.elsewhere().open(&w.a, id, "look").await.unwrap()), "plain token");
    // A sealed row whose mark was taken off is not read as text.
    run_raw(&w.path, "UPDATE sealed_credentials SET key_id = NULL").await.unwrap();
    refused(w.credentials.open(&w.a, id, "look").await, ErrorKind::Corrupt);
}

#[tokio::test]
async fn c24_one_broken_credential_of_a_hundred_gives_the_others_and_one_error() {
    for damage in [
        "sealed = x'00'",
        // What the row type cannot read at all.
        "created_at = 9223372036854775807",
        "version = -5",
        "provider = ''",
    ] {
        let w = World::new(Kind::Sql).await;
        let mut ids = Vec::new();
        for n in 0..100 {
            ids.push(w.put(&w.a, &format!("token {n}")).await.id);
        }
        let broken = ids[50];
        let sql = format!("UPDATE sealed_credentials SET {damage} WHERE id = {}", blob(broken));
        run_raw(&w.path, &sql).await.unwrap();
        let listed = w.credentials.list(&w.a).await.unwrap();
        assert_eq!(listed.len(), 100, "{damage}");
        for (id, info) in listed {
            assert_eq!(info.is_err(), id == broken, "{damage}");
            if let Err(error) = info {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
            }
        }
        refused(w.credentials.open(&w.a, broken, "look").await, ErrorKind::Corrupt);
        w.credentials.delete(&w.a, broken).await.unwrap();
        assert_eq!(w.credentials.list(&w.a).await.unwrap().len(), 99);
    }
}
