//! What whoever writes the database by SQL gets: nothing.

use tenantry::audit::{AuditEvent, AuditKind};
use tenantry::credential::{KeyEpoch, LegacyFormat, Plaintext, Secret};
use tenantry::crypto::{SealContext, SecretKind};
use tenantry::{ErrorKind, OrganizationId};

use super::world::*;

#[tokio::test]
async fn c17_no_ciphertext_opens_in_another_place() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let (one, two) = (w.put(&w.a, "A one").await.id, w.put(&w.a, "A two").await.id);
        let theirs = w.put(&w.b, "B one").await.id;
        let (ours, second, foreign) = (w.kept.id(one), w.kept.id(two), w.kept.id(theirs));
        let (a, b) = (w.kept.id(w.a.organization()), w.kept.id(w.b.organization()));
        let (none, zero) = (w.kept.bytes(b""), w.kept.bytes(b"\0"));
        let (plain, sealed) = (w.kept.bytes(b"plain token"), w.kept.sealed(one).await);
        let longer = w.kept.bytes(&[&sealed[..], b"\0"].concat());
        let of =
            |columns, id| format!("(SELECT {columns} FROM sealed_credentials WHERE id = {id})");
        let both = format!("(sealed, key_id) = {}", of("sealed, key_id", &foreign));
        let copied_key = format!(
            "INSERT INTO organization_keys
             (organization_id, key_id, slot, version, wrapped, kek_id, kcv, created_at)
             SELECT {a}, key_id, slot, 99, wrapped, kek_id, kcv, created_at
             FROM organization_keys WHERE organization_id = {b};"
        );
        for (before, set) in [
            // Their value in our row, with the name of its key and without.
            ("", format!("sealed = {}", of("sealed", &foreign))),
            ("", both.clone()),
            // The same, and their key row copied to us.
            (&*copied_key, both),
            // Our other credential's value.
            ("", format!("sealed = {}", of("sealed", &second))),
            ("", "provider = 'google'".to_owned()),
            ("", "version = 2".to_owned()),
            ("", "version = -1".to_owned()),
            ("", format!("key_id = {ours}")),
            ("", "key_id = NULL".to_owned()),
            ("", "sealed = substr(sealed, 1, 99)".to_owned()),
            ("", format!("sealed = {none}")),
            ("", format!("sealed = {zero}")),
            ("", format!("sealed = {longer}")),
            ("", format!("sealed = {plain}, key_id = NULL")),
        ] {
            w.kept.back_up().await;
            let sql = format!("{before} UPDATE sealed_credentials SET {set} WHERE id = {ours}");
            w.kept.run(&sql).await;
            for credentials in [&w.credentials, &w.elsewhere()] {
                w.does_not_open(credentials, &w.a, one, &format!("{kind:?} {sql}")).await;
            }
            assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "B one");
            w.kept.restore().await;
            assert_eq!(token(&w.credentials.open(&w.a, one, "look").await.unwrap()), "A one");
        }
    }
}

#[tokio::test]
async fn c17_a_row_moved_or_copied_to_another_organization_does_not_open() {
    for &kind in SQL {
        let w = World::new(kind).await;
        w.put(&w.a, "A one").await;
        let theirs = w.put(&w.b, "B one").await.id;
        let (a, b) = (w.kept.id(w.a.organization()), w.kept.id(w.b.organization()));
        let rest = "id, slot, provider, label, version, key_id, sealed, created_at, updated_at";
        let copy = format!(
            "INSERT INTO sealed_credentials (organization_id, {rest})
             SELECT {a}, {rest} FROM sealed_credentials WHERE organization_id = {b}"
        );
        w.kept.run(&copy).await;
        w.does_not_open(&w.credentials, &w.a, theirs, "copied").await;
        assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "B one");
        let moved = format!(
            "DELETE FROM sealed_credentials WHERE organization_id = {a};
             UPDATE sealed_credentials SET organization_id = {a}"
        );
        w.kept.run(&moved).await;
        w.does_not_open(&w.credentials, &w.a, theirs, "moved").await;
        refused(w.credentials.open(&w.b, theirs, "look").await, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn every_flipped_byte_of_a_stored_credential_is_refused() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let id = w.put(&w.a, "A one").await.id;
        let value = w.kept.sealed(id).await;
        for at in 0..value.len() {
            let mut flipped = value.clone();
            flipped[at] ^= 1 << (at % 8);
            w.kept.write(id, &flipped).await;
            w.does_not_open(&w.credentials, &w.a, id, &format!("{kind:?} {at}")).await;
        }
        w.kept.write(id, &value).await;
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "A one");
    }
}

#[tokio::test]
async fn c20_an_old_ciphertext_put_back_is_a_rollback_in_the_audit() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let id = w.put(&w.a, "old").await.id;
        let old = w.kept.sealed(id).await;
        w.credentials.replace(&w.a, id, 1, &secret("new")).await.unwrap();
        w.kept.write(id, &old).await;
        w.does_not_open(&w.credentials, &w.a, id, "old").await;
        assert!(w.reasons().await.iter().any(|reason| reason.contains("earlier version")));
        // What is not promised: a whole row, version included, is as it was then.
        w.kept.run("UPDATE sealed_credentials SET version = 1").await;
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "old");
    }
}

#[tokio::test]
async fn c21_plaintext_is_read_until_the_date_alone_and_never_once_it_was_sealed() {
    for &kind in SQL {
        let date = tenantry::now() + time::Duration::days(1);
        let past = tenantry::now() - time::Duration::seconds(1);
        let format = || Plaintext::new("access_token");

        let w = World::with(kind, |b| b.accept_legacy_until(past, format())).await;
        let plain = w.kept.bytes(b"plain token");
        let plain = format!("UPDATE sealed_credentials SET sealed = {plain}, key_id = NULL");
        let id = w.put(&w.a, "token").await.id;
        w.kept.run(&plain).await;
        w.does_not_open(&w.credentials, &w.a, id, "plain text").await;
        w.does_not_open(&w.elsewhere(), &w.a, id, "plain text elsewhere").await;

        let w = World::with(kind, |b| b.accept_legacy_until(date, format())).await;
        let id = w.put(&w.a, "token").await.id;
        w.kept.run(&plain).await;
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "plain token");
        let status = w.credentials.rotation_status(&w.a).await.unwrap();
        assert_eq!((status.uses[0].key, status.uses[0].count), (None, 1));
        let mut reseal = w.credentials.reseal(&w.a);
        assert_eq!(reseal.step().await.unwrap().unwrap().resealed, 1);
        assert!(reseal.step().await.unwrap().is_none());
        // From here on nothing needs the setting.
        assert_eq!(token(&w.elsewhere().open(&w.a, id, "look").await.unwrap()), "plain token");
        // A sealed row whose mark was taken off is not read as text.
        w.kept.run("UPDATE sealed_credentials SET key_id = NULL").await;
        w.does_not_open(&w.credentials, &w.a, id, "without its mark").await;
        // What is no text is no legacy value, and is refused like all the others.
        let bytes = w.kept.bytes(&[0xFF, 0xFE]);
        w.kept.run(&format!("UPDATE sealed_credentials SET sealed = {bytes}")).await;
        w.does_not_open(&w.credentials, &w.a, id, "bytes").await;
    }
}

/// A form that takes whatever it gets.
#[derive(Debug)]
struct Anything;

impl LegacyFormat for Anything {
    fn read(&self, _: &OrganizationId, stored: &[u8]) -> tenantry::Result<Secret> {
        Ok(Secret::new().with("access_token", stored))
    }
}

#[tokio::test]
async fn c21_an_envelope_is_never_read_as_legacy_by_whatever_form() {
    let date = tenantry::now() + time::Duration::days(1);
    for &kind in SQL {
        let w = World::with(kind, |b| b.accept_legacy_until(date, Anything)).await;
        let id = w.put(&w.a, "token").await.id;
        let sealed = w.kept.sealed(id).await;
        w.kept.run("UPDATE sealed_credentials SET key_id = NULL").await;
        w.does_not_open(&w.credentials, &w.a, id, "without its mark").await;
        for length in [4, 99, sealed.len() - 1] {
            w.kept.write(id, &sealed[..length]).await;
            w.does_not_open(&w.credentials, &w.a, id, &format!("cut to {length}")).await;
        }
        // A legacy value is of any bytes, also of those with which an envelope begins.
        for value in [&sealed[..1], &[sealed[0], 0x7F, 1, 0, 5, 6]] {
            w.kept.write(id, value).await;
            let opened = w.credentials.open(&w.a, id, "look").await.unwrap();
            assert_eq!(opened.secret.get("access_token").unwrap().expose_secret(), value);
        }
    }
}

/// A form that answers with what is no secret.
#[derive(Debug)]
struct Nameless;

impl LegacyFormat for Nameless {
    fn read(&self, _: &OrganizationId, stored: &[u8]) -> tenantry::Result<Secret> {
        Ok(Secret::new().with("", stored))
    }
}

#[tokio::test]
async fn c24_a_legacy_value_that_is_no_secret_is_refused_by_itself() {
    let date = tenantry::now() + time::Duration::days(1);
    for &kind in SQL {
        let w = World::with(kind, |b| b.accept_legacy_until(date, Nameless)).await;
        let (id, other) = (w.put(&w.a, "token").await.id, w.put(&w.a, "other").await.id);
        let (plain, at) = (w.kept.bytes(b"plain token"), w.kept.id(id));
        let set = format!("SET sealed = {plain}, key_id = NULL WHERE id = {at}");
        w.kept.run(&format!("UPDATE sealed_credentials {set}")).await;
        w.does_not_open(&w.credentials, &w.a, id, "nameless").await;
        assert_eq!(w.credentials.reseal(&w.a).step().await.unwrap().unwrap().broken, 1);
        assert_eq!(token(&w.credentials.open(&w.a, other, "look").await.unwrap()), "other");
    }
}

/// What opens under the organization's own key, in its own place, and is no secret: by a program
/// with the same keys that writes another form.
#[tokio::test]
async fn what_opens_and_is_no_secret_is_refused_in_the_same_words() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let info = w.put(&w.a, "A one").await;
        let place = (SecretKind::Credential, *info.id.as_uuid());
        let place = SealContext::new(place.0, place.1, "shopify", "secret", 1).unwrap();
        let sealed = w.credentials.keys().seal(&w.a, &place, b"no secret").await.unwrap();
        w.kept.write(info.id, sealed.as_bytes()).await;
        w.does_not_open(&w.credentials, &w.a, info.id, "no secret").await;
        assert!(w.reasons().await.iter().any(|reason| reason.contains("unknown form")));
    }
}

#[tokio::test]
async fn what_does_not_open_by_the_keys_themselves_is_named_in_the_audit() {
    let w = World::new(Kind::Memory).await;
    let (keys, record) = (w.credentials.keys(), uuid::Uuid::new_v4());
    let place =
        SealContext::new(SecretKind::WebhookSecret, record, "kustomer", "secret", 1).unwrap();
    let sealed = keys.seal(&w.a, &place, b"signing key").await.unwrap();
    let (bytes, epoch) = (sealed.as_bytes(), sealed.epoch());
    unreadable(keys.open(&w.a, &place.at_version(2), bytes, epoch).await);
    unreadable(keys.open(&w.a, &place, b"never sealed", epoch).await);
    unreadable(keys.open(&w.b, &place, bytes, KeyEpoch::default()).await);
    for (scope, count) in [(&w.a, 2), (&w.b, 1)] {
        let refusals = w.events(scope, AuditKind::SecretRefused).await;
        assert_eq!(refusals.len(), count);
        let named =
            |event: &AuditEvent| event.statement == Some(format!("webhook-secret {record}").into());
        assert!(refusals.iter().all(named), "{refusals:?}");
    }
}

#[tokio::test]
async fn c24_one_broken_credential_of_a_hundred_gives_the_others_and_one_error() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let mut ids = Vec::new();
        for n in 0..100 {
            ids.push(w.put(&w.a, &format!("token {n}")).await.id);
        }
        let broken = ids[50];
        // What the row type cannot read at all; PostgreSQL has a constraint against it besides.
        let no_time = match kind {
            Kind::Sqlite => "created_at = 9223372036854775807",
            _ => {
                let check = "DROP CONSTRAINT sealed_credentials_created_at_check";
                w.kept.run(&format!("ALTER TABLE sealed_credentials {check}")).await;
                "created_at = 'infinity'"
            }
        };
        w.kept.back_up().await;
        for damage in [
            format!("sealed = {}", w.kept.bytes(b"\0")).as_str(),
            no_time,
            "version = -5",
            "provider = ''",
        ] {
            w.kept.restore().await;
            let at = w.kept.id(broken);
            w.kept.run(&format!("UPDATE sealed_credentials SET {damage} WHERE id = {at}")).await;
            w.does_not_open(&w.credentials, &w.a, broken, damage).await;
            assert_eq!(w.credentials.list(&w.a).await.unwrap().len(), 100, "{damage}");
        }
        w.credentials.delete(&w.a, broken).await.unwrap();
        assert_eq!(w.credentials.list(&w.a).await.unwrap().len(), 99);
    }
}
