//! What credentials do, in every store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tenantry::ErrorKind;
use tenantry::credential::{
    AesGcmLayout, CredentialId, ForeignAesGcm, NewCredential, Plaintext, Secret, conformance,
};
use tenantry::crypto::SecretBytes;

use super::world::*;

#[tokio::test]
async fn every_store_keeps_the_contract() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        conformance::credential_store(&*w.store, &w.a, &w.b).await.unwrap();
        let w = World::new(kind).await;
        conformance::key_store(&*w.store, &w.a, &w.b, &authority()).await.unwrap();
    }
}

#[tokio::test]
async fn a_credential_is_put_opened_listed_replaced_and_deleted() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let (ours, theirs) = (w.put(&w.a, "token").await, w.put(&w.b, "token").await);
        let opened = w.credentials.open(&w.a, ours.id, "sync orders").await.unwrap();
        assert_eq!((token(&opened), &opened.info), ("token".to_owned(), &ours));
        assert_eq!(opened.info.version, 1);

        let next = w.credentials.replace(&w.a, ours.id, 1, &secret("token 2")).await.unwrap();
        assert_eq!((next.version, next.created_at), (2, ours.created_at));
        let opened = w.credentials.open(&w.a, ours.id, "sync orders").await.unwrap();
        assert_eq!(token(&opened), "token 2");

        let listed = w.credentials.list(&w.a).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].1.as_ref().unwrap(), &next);
        let exported = w.credentials.export(&w.a).await.unwrap();
        let exported: Vec<_> = exported.into_iter().map(|(_, info)| info.unwrap()).collect();
        assert_eq!(exported, [next]);
        let json = serde_json::to_string(&exported).unwrap();
        assert!(json.contains("main shop") && !json.contains("token"), "{json}");

        w.credentials.delete(&w.a, ours.id).await.unwrap();
        refused(w.credentials.open(&w.a, ours.id, "again").await, ErrorKind::NotFound);
        refused(w.credentials.delete(&w.a, ours.id).await, ErrorKind::NotFound);
        let left = w.credentials.open(&w.b, theirs.id, "sync orders").await.unwrap();
        assert_eq!(token(&left), "token");
    }
}

#[tokio::test]
async fn c49_a_foreign_credential_is_answered_like_a_missing_one() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let theirs = w.put(&w.b, "token").await.id;
        w.put(&w.a, "token").await;
        let missing: CredentialId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let mut answers = Vec::new();
        for id in [theirs, missing] {
            let c = &w.credentials;
            answers.push([
                format!("{:?}", c.open(&w.a, id, "look").await.unwrap_err()),
                format!("{:?}", c.replace(&w.a, id, 1, &secret("x")).await.unwrap_err()),
                format!("{:?}", c.delete(&w.a, id).await.unwrap_err()),
            ]);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "token");
    }
}

#[tokio::test]
async fn c04_of_two_replacements_of_one_version_one_counts() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let id = w.put(&w.a, "old").await.id;
        let (first, second) = (secret("first"), secret("second"));
        let (one, two) = tokio::join!(
            w.credentials.replace(&w.a, id, 1, &first),
            w.credentials.replace(&w.a, id, 1, &second),
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
        let winner = if one.is_ok() { "first" } else { "second" };
        refused(if one.is_ok() { two } else { one }, ErrorKind::Conflict);
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), winner);
        refused(w.credentials.replace(&w.a, id, 1, &secret("late")).await, ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn each_opening_stands_in_the_audit_with_its_purpose() {
    let w = World::new(Kind::Sqlite).await;
    let id = w.put(&w.a, "token").await.id;
    w.credentials.open(&w.a, id, "sync orders").await.unwrap();
    refused(w.credentials.open(&w.a, id, " ").await, ErrorKind::Misuse);
    assert!(w.reasons().await.contains(&"sync orders".to_owned()));
    let events = w.sink.events_for(&w.a).unwrap();
    let opened: Vec<_> =
        events.iter().filter(|e| e.detail.as_deref() == Some("sync orders")).collect();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].principal.as_deref(), Some("user:ann"));
    assert_eq!(opened[0].statement.as_deref(), Some(&*format!("credential {id}")));
    assert!(w.sink.events_for(&w.b).unwrap().iter().all(|e| e.statement != opened[0].statement));
}

#[tokio::test]
async fn c34_long_tokens_are_stored_and_over_long_ones_refused() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let long = "t".repeat(64 * 1_024);
        let id = w.put(&w.a, &long).await.id;
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), long);
        let too_long = secret(&"t".repeat(1 << 20));
        let credential = NewCredential::new("shopify");
        refused(w.credentials.put(&w.a, credential, &too_long).await, ErrorKind::Invalid);
        refused(w.credentials.replace(&w.a, id, 1, &too_long).await, ErrorKind::Invalid);
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), long);
    }
}

#[tokio::test]
async fn unfit_input_is_refused_and_stores_nothing() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        for credential in [
            NewCredential::new(""),
            NewCredential::new("p".repeat(256)),
            NewCredential::new("shopify").label("l".repeat(256)),
        ] {
            refused(w.credentials.put(&w.a, credential, &secret("x")).await, ErrorKind::Invalid);
        }
        let empty = w.credentials.put(&w.a, NewCredential::new("shopify"), &Secret::new()).await;
        refused(empty, ErrorKind::Invalid);
        assert!(w.credentials.list(&w.a).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_scope_that_ended_reaches_no_credential() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let id = w.put(&w.a, "token").await.id;
        w.issuer.suspend(organization(0xA));
        let c = &w.credentials;
        refused(c.open(&w.a, id, "look").await, ErrorKind::Denied);
        refused(c.list(&w.a).await, ErrorKind::Denied);
        refused(c.export(&w.a).await, ErrorKind::Denied);
        refused(c.replace(&w.a, id, 1, &secret("x")).await, ErrorKind::Denied);
        refused(c.delete(&w.a, id).await, ErrorKind::Denied);
        refused(c.put(&w.a, NewCredential::new("x"), &secret("x")).await, ErrorKind::Denied);
        refused(c.rotate(&w.a).await, ErrorKind::Denied);
        refused(c.reseal(&w.a).step().await, ErrorKind::Denied);
        refused(c.shred(&w.a).await, ErrorKind::Denied);
    }
}

#[tokio::test]
async fn values_of_other_programs_are_imported_sealed() {
    let w = World::new(Kind::Sqlite).await;
    let c = &w.credentials;
    let new = || NewCredential::new("shopify");
    let info = c.import(&w.a, new(), b"plain", &Plaintext::new("access_token")).await.unwrap();
    let opened = c.open(&w.a, info.id, "look").await.unwrap();
    assert!(opened.secret.get("access_token").unwrap().ct_eq("plain"));

    // Made with Python's `cryptography`: AESGCM(bytes(range(32))).encrypt(bytes(range(12)), …).
    let (nonce, sealed) = (hex::decode(FOREIGN_NONCE).unwrap(), hex::decode(FOREIGN).unwrap());
    let (text, tag) = sealed.split_at(sealed.len() - 16);
    let format = |layout| {
        let key = SecretBytes::new((0..32).collect());
        ForeignAesGcm::new(key, "access_token").unwrap().layout(layout)
    };
    for (layout, stored) in [
        (AesGcmLayout::NonceCiphertextTag, [&nonce, text, tag].concat()),
        (AesGcmLayout::NonceTagCiphertext, [&nonce, tag, text].concat()),
        (AesGcmLayout::CiphertextTagNonce, [text, tag, &nonce].concat()),
    ] {
        let info = c.import(&w.a, new(), &stored, &format(layout)).await.unwrap();
        let opened = c.open(&w.a, info.id, "look").await.unwrap();
        assert!(opened.secret.get("access_token").unwrap().ct_eq("foreign token"));
        for at in 0..stored.len() {
            let mut edited = stored.clone();
            edited[at] ^= 1;
            refused(c.import(&w.a, new(), &edited, &format(layout)).await, ErrorKind::Corrupt);
            let cut = c.import(&w.a, new(), &stored[..at], &format(layout)).await;
            refused(cut, ErrorKind::Corrupt);
        }
        let bound = format(layout).bound_to_organization();
        refused(c.import(&w.a, new(), &stored, &bound).await, ErrorKind::Corrupt);
        let encoded = STANDARD.encode(&stored);
        let info = c.import(&w.a, new(), encoded.as_bytes(), &format(layout).base64()).await;
        let opened = c.open(&w.a, info.unwrap().id, "look").await.unwrap();
        assert!(opened.secret.get("access_token").unwrap().ct_eq("foreign token"));
        refused(
            c.import(&w.a, new(), encoded.as_bytes(), &format(layout)).await,
            ErrorKind::Corrupt,
        );
    }
    // The same with the text of A's id as associated data: b"00000000-0000-0000-0000-00000000000a".
    let bound = format(AesGcmLayout::NonceCiphertextTag).bound_to_organization();
    let stored = [nonce.clone(), hex::decode(FOREIGN_BOUND).unwrap()].concat();
    let info = c.import(&w.a, new(), &stored, &bound).await.unwrap();
    let opened = c.open(&w.a, info.id, "look").await.unwrap();
    assert!(opened.secret.get("access_token").unwrap().ct_eq("foreign token"));
    refused(c.import(&w.b, new(), &stored, &bound).await, ErrorKind::Corrupt);
    let unbound = format(AesGcmLayout::NonceCiphertextTag);
    refused(c.import(&w.a, new(), &stored, &unbound).await, ErrorKind::Corrupt);
    refused(
        c.import(&w.a, new(), b"!", &format(AesGcmLayout::NonceTagCiphertext).base64()).await,
        ErrorKind::Corrupt,
    );
    refused(
        c.import(&w.a, new(), &[0xFF], &Plaintext::new("access_token")).await,
        ErrorKind::Corrupt,
    );
    assert_eq!(c.list(&w.a).await.unwrap().len(), 8);
    assert!(c.list(&w.b).await.unwrap().is_empty());
}

const FOREIGN_NONCE: &str = "000102030405060708090a0b";
const FOREIGN: &str = "216da47eac82ac3bf92efceedfcce8be4269b1175f7628e8c57083cb79";
const FOREIGN_BOUND: &str = "216da47eac82ac3bf92efceedfb43bc05b3efad2c5f4a069469c62880d";
