use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::crypto::kek::WrapPurpose;
use crate::crypto::{KeyId, KeyOwner};
use crate::error::ErrorKind;
use crate::id::OrganizationId;

fn kek(byte: u8) -> SecretBytes {
    SecretBytes::new(vec![byte; 32])
}

fn key() -> DataKey {
    DataKey::from_slice(&[7; 32]).unwrap()
}

fn organization(number: i64) -> KeyOwner {
    KeyOwner::Organization(OrganizationId::from_i64(number).unwrap())
}

fn id(number: u128) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(number))
}

/// A row of wrapped keys copied to another organization, name, purpose or KEK does not unwrap.
#[test]
fn c17_a_wrapped_key_unwraps_in_its_own_context_alone() {
    let name = |key: &str| KekId::new("local", key).unwrap();
    let contexts = [
        WrapContext::data_key(organization(1), id(1)),
        WrapContext::data_key(organization(2), id(1)),
        WrapContext::data_key(organization(1), id(2)),
        WrapContext::data_key(KeyOwner::Platform, id(1)),
        WrapContext::canary(id(1)),
    ];
    let mut wraps = Vec::new();
    for context in &contexts {
        for (name, byte) in [(name("a"), 1), (name("b"), 1), (name("a"), 2)] {
            wraps.push((context, name, byte));
        }
    }
    for (at, (context, name, byte)) in wraps.iter().enumerate() {
        let wrapped = wrap(name, &kek(*byte), context, &key()).unwrap();
        for (to, (other, other_name, other_byte)) in wraps.iter().enumerate() {
            let moved = WrappedKey::new(other_name.clone(), wrapped.as_bytes().to_vec()).unwrap();
            let outcome = unwrap(&kek(*other_byte), other, &moved);
            if at == to {
                assert!(outcome.unwrap().ct_eq(&key()));
            } else {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }
}

#[test]
fn every_bit_flip_every_truncation_and_every_extension_of_a_wrapped_key_is_refused() {
    let (name, context) = (KekId::new("local", "a").unwrap(), WrapContext::canary(id(1)));
    let wrapped = wrap(&name, &kek(1), &context, &key()).unwrap();
    let refused = |bytes: Vec<u8>| {
        let edited = WrappedKey::new(name.clone(), bytes).unwrap();
        assert_eq!(unwrap(&kek(1), &context, &edited).unwrap_err().kind(), ErrorKind::Corrupt);
    };
    let bytes = wrapped.as_bytes();
    assert_eq!(bytes.len(), 116);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut edited = bytes.to_vec();
            edited[at] ^= 1 << bit;
            refused(edited);
        }
        if at > 0 {
            refused(bytes[..at].to_vec());
        }
    }
    refused([bytes, &[0]].concat());
}

#[test]
fn c22_two_wraps_of_a_key_share_nothing() {
    let (name, context) = (KekId::new("local", "a").unwrap(), WrapContext::canary(id(1)));
    let wrapped = || wrap(&name, &kek(1), &context, &key()).unwrap();
    let (a, b) = (wrapped(), wrapped());
    for part in [4..36, 36..68, 68..100, 100..116] {
        assert_ne!(a.as_bytes()[part.clone()], b.as_bytes()[part]);
    }
}

#[test]
fn every_vector_of_wrap_one_is_computed_and_unwraps() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/wrap-v1.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 4);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let bytes = |name: &str| hex::decode(text(name)).unwrap();
        let name = KekId::parse(text("kek_id")).unwrap();
        let key_id = KeyId::from_uuid(text("key_id").parse().unwrap());
        let context = match text("purpose") {
            "canary" => WrapContext::canary(key_id),
            _ => {
                let owner = KeyOwner::Organization(text("organization").parse().unwrap());
                WrapContext::data_key(owner, key_id)
            }
        };
        assert_eq!(context.aad(&name), bytes("aad"));
        let (kek, key) = (SecretBytes::new(bytes("kek")), DataKey::from_slice(&bytes("data_key")));
        let key = key.unwrap();
        let salt = bytes("salt").try_into().unwrap();
        let wrapped = wrap_salted(&salt, &kek, &context.aad(&name), &key).unwrap();
        assert_eq!(wrapped, bytes("wrapped"));
        let wrapped = WrappedKey::new(name, wrapped).unwrap();
        assert!(unwrap(&kek, &context, &wrapped).unwrap().ct_eq(&key));
    }
}

fn contexts() -> impl Strategy<Value = (KeyOwner, u128, bool, String)> {
    let owner = prop_oneof![
        Just(KeyOwner::Platform),
        (1..4_i64).prop_map(organization),
        "[a-c]{1,2}".prop_map(|id| KeyOwner::Organization(OrganizationId::from_text(id).unwrap())),
    ];
    (owner, 0..3_u128, any::<bool>(), "[ab]{1,3}")
}

proptest! {
    #[test]
    fn c19_the_encoding_of_a_wrap_context_is_injective(a in contexts(), b in contexts()) {
        let encode = |(owner, key, canary, kek): &(KeyOwner, u128, bool, String)| {
            let purpose = if *canary { WrapPurpose::Canary } else { WrapPurpose::DataKey };
            let context = WrapContext { owner: owner.clone(), key: id(*key), purpose };
            (context.aad(&KekId::new("local", kek).unwrap()), context.pairs())
        };
        let (left, right) = (encode(&a), encode(&b));
        prop_assert_eq!(left.0 == right.0, a == b);
        prop_assert_eq!(left.1 == right.1, (&a.0, a.1, a.2) == (&b.0, b.1, b.2));
    }

    #[test]
    fn no_bytes_unwrap_by_chance(mut bytes in proptest::collection::vec(any::<u8>(), 4..200)) {
        bytes[..4].copy_from_slice(&PREFIX);
        let wrapped = WrappedKey::new(KekId::new("local", "a").unwrap(), bytes).unwrap();
        prop_assert!(unwrap(&kek(1), &WrapContext::canary(id(1)), &wrapped).is_err());
    }
}
