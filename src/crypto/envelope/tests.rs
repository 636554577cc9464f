use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::crypto::{DataKey, PurposeKeys, SecretKind};
use crate::id::OrganizationId;

const LIMIT: usize = 1 << 20;

/// Everything that a sealed value is bound to.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    owner: KeyOwner,
    kind: SecretKind,
    record: u128,
    provider: String,
    field: String,
    version: u64,
    key: u128,
    data_key: u8,
}

impl Place {
    fn context(&self) -> SealContext<'_> {
        let record = Uuid::from_u128(self.record);
        SealContext::new(self.kind, record, &self.provider, &self.field, self.version).unwrap()
    }

    fn id(&self) -> KeyId {
        KeyId::from_uuid(Uuid::from_u128(self.key))
    }

    fn keys(&self) -> PurposeKeys {
        PurposeKeys::derive(&DataKey::from_slice(&[self.data_key; 32]).unwrap()).unwrap()
    }

    fn seal(&self, text: &[u8], padded: bool) -> Vec<u8> {
        let keys = self.keys();
        seal(keys.of(self.kind), self.id(), &self.owner, &self.context(), text, padded).unwrap()
    }

    /// As whoever has a row opens it: the key is the one that is stored under the blob's key id.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealFault> {
        let envelope = Envelope::parse(sealed, LIMIT)?;
        if envelope.key() != self.id() {
            return Err(SealFault::UnknownKey);
        }
        envelope
            .open(self.keys().of(self.kind), &self.owner, &self.context())
            .map(|text| text.expose_secret().to_vec())
    }
}

fn organization(number: i64) -> KeyOwner {
    KeyOwner::Organization(OrganizationId::from_i64(number).unwrap())
}

fn place() -> Place {
    Place {
        owner: organization(1),
        kind: SecretKind::Credential,
        record: 7,
        provider: "shopify".to_owned(),
        field: "access_token".to_owned(),
        version: 3,
        key: 9,
        data_key: 1,
    }
}

/// The place, and each of the ways in which another differs from it in one part.
fn neighbours(place: &Place) -> Vec<Place> {
    let changed = |change: &dyn Fn(&mut Place)| {
        let mut other = place.clone();
        change(&mut other);
        other
    };
    let text = |id: &str| KeyOwner::Organization(OrganizationId::from_text(id).unwrap());
    let uuid = Uuid::from_u128(1);
    let uuid = KeyOwner::Organization(OrganizationId::from_uuid(uuid).unwrap());
    vec![
        changed(&|p| p.owner = organization(2)),
        changed(&|p| p.owner = text("\u{61}")),
        changed(&|p| p.owner = text("aaaaaaa")),
        changed(&|p| p.owner = uuid.clone()),
        changed(&|p| p.owner = KeyOwner::Platform),
        changed(&|p| p.kind = SecretKind::WebhookSecret),
        changed(&|p| p.kind = SecretKind::File),
        changed(&|p| p.kind = SecretKind::Export),
        changed(&|p| p.record ^= 1),
        changed(&|p| p.provider.push('x')),
        changed(&|p| p.field.push('x')),
        changed(&|p| {
            let last = p.provider.pop().unwrap();
            p.field.push(last);
        }),
        changed(&|p| std::mem::swap(&mut p.provider, &mut p.field)),
        changed(&|p| p.version += 1),
        changed(&|p| p.version -= 1),
        changed(&|p| p.version ^= 1 << 63),
        changed(&|p| p.key ^= 1 << 127),
        changed(&|p| p.data_key ^= 1),
    ]
}

#[test]
fn c17_a_value_opens_in_its_own_place_and_in_no_neighbouring_one() {
    let home = place();
    let mut places = neighbours(&home);
    places.push(home);
    for (at, sealed_at) in places.iter().enumerate() {
        let sealed = sealed_at.seal(b"planted", false);
        for (to, opened_at) in places.iter().enumerate() {
            let opened = opened_at.open(&sealed);
            if at == to {
                assert_eq!(opened.unwrap(), b"planted");
            } else {
                let refused = opened.unwrap_err();
                let expected = [SealFault::WrongKeyOrContext, SealFault::UnknownKey];
                assert!(expected.contains(&refused), "{sealed_at:?} in {opened_at:?}: {refused:?}");
            }
        }
    }
}

fn places() -> impl Strategy<Value = Place> {
    let owner = prop_oneof![
        Just(KeyOwner::Platform),
        (1..4_i64).prop_map(organization),
        "[a-c]{1,2}".prop_map(|id| KeyOwner::Organization(OrganizationId::from_text(id).unwrap())),
        (1..4_u128).prop_map(|id| {
            KeyOwner::Organization(OrganizationId::from_uuid(Uuid::from_u128(id)).unwrap())
        }),
    ];
    let kind = proptest::sample::select(SecretKind::ALL.to_vec());
    let names = ("[ab\u{0}]{1,3}", "[ab\u{0}]{1,3}");
    (owner, kind, 0..3_u128, names, 0..3_u64, 0..2_u128, 1..3_u8).prop_map(
        |(owner, kind, record, (provider, field), version, key, data_key)| Place {
            owner,
            kind,
            record,
            provider,
            field,
            version,
            key,
            data_key,
        },
    )
}

/// The parts of an encoding, or `None` for what is no encoding: the inverse of `Tlv`.
fn parts(mut encoded: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut parts = Vec::new();
    while let Some((&tag, rest)) = encoded.split_first() {
        let (&length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(length) as usize)?;
        parts.push((tag, value.to_vec()));
        encoded = rest;
    }
    Some(parts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn c17_two_places_open_each_others_values_only_if_they_are_the_same(
        a in places(),
        b in places(),
    ) {
        prop_assert_eq!(b.open(&a.seal(b"text", true)).is_ok(), a == b);
    }

    #[test]
    fn c19_the_encoding_of_a_place_can_be_read_back_and_is_therefore_injective(
        a in places(),
        b in places(),
    ) {
        let aad = a.context().aad(&a.owner, a.id());
        let owner = match &a.owner {
            KeyOwner::Platform => (3, vec![]),
            KeyOwner::Organization(id) => (2, hex::decode(id.encoded()).unwrap()),
        };
        let read = parts(&aad).unwrap();
        prop_assert_eq!(&read, &vec![
            (1, b"tenantry/aad/1".to_vec()),
            owner,
            (4, a.record.to_be_bytes().to_vec()),
            (5, a.kind.as_str().as_bytes().to_vec()),
            (6, a.field.as_bytes().to_vec()),
            (7, a.provider.as_bytes().to_vec()),
            (8, a.version.to_be_bytes().to_vec()),
            (9, a.key.to_be_bytes().to_vec()),
        ]);
        // The data key is no part of it.
        let same = Place { data_key: a.data_key, ..b.clone() } == a;
        prop_assert_eq!(aad == b.context().aad(&b.owner, b.id()), same);
    }

    #[test]
    fn whatever_is_sealed_opens(text: Vec<u8>, padded: bool) {
        prop_assert_eq!(place().open(&place().seal(&text, padded)).unwrap(), text);
    }

    #[test]
    fn no_bytes_open_by_chance(mut bytes: Vec<u8>, magic: bool) {
        if let (true, Some(first)) = (magic, bytes.first_mut()) {
            *first = MAGIC;
        }
        prop_assert!(place().open(&bytes).is_err());
    }

    /// Fuzzes what the parser does with an envelope that is nearly one.
    #[test]
    fn no_edit_opens(
        text in proptest::collection::vec(any::<u8>(), 0..200),
        padded: bool,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        length in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let sealed = place().seal(&text, padded);
        let mut edited = sealed.clone();
        for (at, byte) in edits {
            let at = at.index(edited.len());
            edited[at] = byte;
        }
        if let Some(length) = length {
            edited.resize(length.index(2 * sealed.len()), 0);
        }
        prop_assert_eq!(place().open(&edited).is_ok(), edited == sealed);
    }
}

#[test]
fn every_bit_flip_every_truncation_and_every_extension_is_refused() {
    for padded in [false, true] {
        let sealed = place().seal(b"example-token-of-some-length", padded);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut edited = sealed.clone();
                edited[at] ^= 1 << bit;
                assert!(place().open(&edited).is_err(), "byte {at} bit {bit}");
            }
            assert!(place().open(&sealed[..at]).is_err(), "cut at {at}");
        }
        for extra in 0..=u8::MAX {
            assert!(place().open(&[&sealed[..], &[extra]].concat()).is_err());
        }
    }
}

#[test]
fn c22_two_seals_of_equal_input_share_no_salt_no_commitment_and_no_text() {
    let (a, b) = (place().seal(&[7; 64], false), place().seal(&[7; 64], false));
    assert_eq!(a[..20], b[..20]);
    for part in [20..52, 52..84, 84..148, 148..164] {
        assert_ne!(a[part.clone()], b[part]);
    }
}

#[test]
fn each_fault_has_its_name_in_the_order_of_the_checks() {
    let sealed = place().seal(b"text", false);
    let edited = |at: usize, to: u8| {
        let mut edited = sealed.clone();
        edited[at] = to;
        place().open(&edited).unwrap_err()
    };
    assert_eq!(place().open(b"").unwrap_err(), SealFault::NotSealed);
    assert_eq!(place().open(b"shpat_example").unwrap_err(), SealFault::NotSealed);
    assert_eq!(place().open(br#"{"token":"x"}"#).unwrap_err(), SealFault::NotSealed);
    assert_eq!(edited(0, 0xFB), SealFault::NotSealed);
    assert_eq!(place().open(&sealed[..99]).unwrap_err(), SealFault::Truncated);
    assert_eq!(edited(1, 2), SealFault::UnknownSuite);
    assert_eq!(edited(2, 2), SealFault::UnknownSuite);
    for flags in 2..=u8::MAX {
        assert_eq!(edited(3, flags), SealFault::UnknownSuite);
    }
    // A flag that is known and was not sealed with is refused by the commitment.
    assert_eq!(edited(3, 1), SealFault::WrongKeyOrContext);
    assert_eq!(edited(4, 1), SealFault::UnknownKey);
    for at in [20, 51, 52, 83] {
        assert_eq!(edited(at, !sealed[at]), SealFault::WrongKeyOrContext);
    }
    for at in [84, sealed.len() - 1] {
        assert_eq!(edited(at, !sealed[at]), SealFault::Corrupt);
    }
    let long = place().seal(&[0; 300], false);
    assert_eq!(Envelope::parse(&long, 100).map(drop), Err(SealFault::TooLong));
    assert!(Envelope::parse(&long, 300).is_ok());
}

/// The magic byte begins no text, so that no legacy value is mistaken for an envelope.
#[test]
fn c21_no_text_is_mistaken_for_an_envelope() {
    for continuation in [&[][..], &[0x80], &[0x80; 3], &[0xBF; 200]] {
        assert!(std::str::from_utf8(&[&[MAGIC], continuation].concat()).is_err());
    }
}

#[test]
fn padding_hides_the_length_up_to_64_bytes() {
    let length = |text: usize, padded| place().seal(&vec![7; text], padded).len();
    for text in [0, 1, 62, 63] {
        assert_eq!(length(text, true), 100 + 64, "{text}");
        assert_eq!(length(text, false), 100 + text);
    }
    for text in [64, 100, 127] {
        assert_eq!(length(text, true), 100 + 128, "{text}");
    }
    // Whoever has the key can pad otherwise than this crate does; it is refused.
    let refused = |text: &[u8]| {
        let mut buffer = Zeroizing::new(text.to_vec());
        assert_eq!(unpad(&mut buffer), Err(SealFault::Corrupt), "{text:?}");
    };
    refused(&[]);
    refused(&[0; 64]);
    refused(&[7; 64]);
    refused(&[PAD; 63]);
    refused(&[&[1, PAD][..], &[0; 126]].concat());
}

/// What a plain AES-GCM with the same derivation, and without a commitment, would do.
fn open_without_commitment(home: &Place, sealed: &[u8]) -> Option<Vec<u8>> {
    let keys = home.keys();
    let aad = home.context().aad(&home.owner, home.id());
    let mut okm = [0; 44];
    Hkdf::<Sha256>::new(Some(&sealed[20..52]), keys.of(home.kind).expose_secret())
        .expand_multi_info(&[b"tenantry/seal/1", &sealed[..4], &aad], &mut okm)
        .unwrap();
    let (key, nonce) = okm.split_first_chunk::<32>().unwrap();
    let nonce: [u8; 12] = nonce.try_into().unwrap();
    Aes256Gcm::new(key.into())
        .decrypt(&nonce.into(), Payload { msg: &sealed[84..], aad: &aad })
        .ok()
}

/// The fixture holds one ciphertext that is authentic under two data keys, once with the
/// commitment to each of them.
#[test]
fn c23_a_ciphertext_that_plain_gcm_opens_under_two_keys_opens_under_one() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/two-keys.json")).unwrap();
    let (one, two) = (Place { data_key: 1, ..place() }, Place { data_key: 2, ..place() });
    let mut seen = Vec::new();
    for name in ["committed_to_one", "committed_to_two"] {
        let sealed = hex::decode(fixture[name].as_str().unwrap()).unwrap();
        let texts = [&one, &two].map(|home| open_without_commitment(home, &sealed).unwrap());
        assert_ne!(texts[0], texts[1], "plain GCM opens it under both keys");
        let opened = [&one, &two].map(|home| home.open(&sealed));
        match name {
            "committed_to_one" => {
                assert_eq!(opened[0].as_ref(), Ok(&texts[0]));
                assert_eq!(opened[1], Err(SealFault::WrongKeyOrContext));
            }
            _ => {
                assert_eq!(opened[0], Err(SealFault::WrongKeyOrContext));
                assert_eq!(opened[1].as_ref(), Ok(&texts[1]));
            }
        }
        seen.push(sealed[84..].to_vec());
    }
    assert_eq!(seen[0], seen[1], "the ciphertext is one");
}

/// `(envelope, text)` for every vector, as the file has them.
#[test]
fn c22_every_vector_of_envelope_one_is_computed_and_opens() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/envelope-v1.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 8, "{}", vectors.len());
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        let bytes = |name: &str| hex::decode(text(name)).unwrap();
        let owner = match text("organization_kind").as_str() {
            "platform" => KeyOwner::Platform,
            _ => KeyOwner::Organization(text("organization").parse().unwrap()),
        };
        let kind = SecretKind::ALL.into_iter().find(|kind| kind.as_str() == text("kind")).unwrap();
        let record = text("record_id").parse().unwrap();
        let (provider, field) = (text("provider"), text("field"));
        let version = vector["secret_version"].as_u64().unwrap();
        let context = SealContext::new(kind, record, &provider, &field, version).unwrap();
        let key = DataKey::from_slice(&bytes("data_key")).unwrap();
        assert_eq!(key.check_value().unwrap().as_bytes().to_vec(), bytes("key_check_value"));
        let keys = PurposeKeys::derive(&key).unwrap();
        assert_eq!(keys.of(kind).expose_secret().to_vec(), bytes("purpose_key"));
        let id = KeyId::from_uuid(text("key_id").parse().unwrap());
        assert_eq!(context.aad(&owner, id), bytes("aad"));
        let salt = bytes("salt").try_into().unwrap();
        let padded = vector["padded"].as_bool().unwrap();
        let plain = bytes("text");
        let sealed =
            seal_salted(&salt, keys.of(kind), id, &owner, &context, &plain, padded).unwrap();
        assert_eq!(sealed, bytes("envelope"), "{}", text("name"));
        let envelope = Envelope::parse(&sealed, LIMIT).unwrap();
        assert_eq!(envelope.key(), id);
        let opened = envelope.open(keys.of(kind), &owner, &context).unwrap();
        assert_eq!(opened.expose_secret(), plain);
    }
}
