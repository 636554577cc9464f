//! What this crate seals, a second implementation opens, and the other way round: that of
//! `tests/vectors/sealed.py`, which was written from `docs/credentials.md`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::id::OrganizationId;

/// Lets the second implementation `open` or `seal` a list of cases.
fn peer(act: &str, cases: &Value) -> Value {
    let python = std::env::var("TENANTRY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/sealed.py");
    let help = "python3 with the package `cryptography` is needed: `tests/run` installs it";
    let mut child = Command::new(&python)
        .args([script, act])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python} does not start ({error}): {help}"));
    child.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{python} failed: {help}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn owners() -> Vec<(&'static str, String, KeyOwner)> {
    let text = OrganizationId::from_text("org_2fX.eu").unwrap();
    let mut owners = vec![("platform", String::new(), KeyOwner::Platform)];
    for (kind, id) in [
        ("uuid", OrganizationId::new()),
        ("integer", OrganizationId::from_i64(i64::MAX).unwrap()),
        ("text", text),
    ] {
        owners.push((kind, id.to_string(), KeyOwner::Organization(id)));
    }
    owners
}

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex::decode(case[name].as_str().unwrap()).unwrap()
}

#[test]
fn each_implementation_opens_the_envelopes_of_the_other() {
    let (mut cases, mut inputs) = (Vec::new(), Vec::new());
    for (number, (organization_kind, organization, owner)) in owners().into_iter().enumerate() {
        for (padded, kind) in [(false, SecretKind::ALL[number]), (true, SecretKind::Credential)] {
            let key = DataKey::random().unwrap();
            let (id, record) = (KeyId::random().unwrap(), Uuid::new_v4());
            let (provider, field, version) = ("shopify", "refresh_t\u{f6}ken", u64::MAX >> number);
            let text = SecretBytes::random(number * 50).unwrap();
            let context = SealContext::new(kind, record, provider, field, version).unwrap();
            let keys = PurposeKeys::derive(&key).unwrap();
            let plain = text.expose_secret();
            let envelope = seal(keys.of(kind), id, &owner, &context, plain, padded).unwrap();
            cases.push(json!({
                "organization_kind": organization_kind,
                "organization": organization,
                "record_id": record.to_string(),
                "kind": kind.as_str(),
                "field": field,
                "provider": provider,
                "secret_version": version,
                "key_id": id.to_string(),
                "data_key": hex::encode(key.expose_secret()),
                "padded": padded,
                "envelope": hex::encode(envelope),
            }));
            inputs.push((owner.clone(), kind, record, version, keys, text));
        }
    }
    let mut opened = peer("open", &Value::Array(cases));
    assert_eq!(opened.as_array().unwrap().len(), inputs.len());
    for (case, (.., text)) in opened.as_array().unwrap().iter().zip(&inputs) {
        assert!(text.ct_eq(bytes(case, "text")));
    }
    for case in opened.as_array_mut().unwrap() {
        case.as_object_mut().unwrap().remove("envelope");
    }
    let sealed = peer("seal", &opened);
    assert_eq!(sealed.as_array().unwrap().len(), inputs.len());
    for (case, (owner, kind, record, version, keys, text)) in
        sealed.as_array().unwrap().iter().zip(&inputs)
    {
        let field = case["field"].as_str().unwrap();
        let context = SealContext::new(*kind, *record, "shopify", field, *version).unwrap();
        let sealed = bytes(case, "envelope");
        let envelope = Envelope::parse(&sealed, 1 << 20).unwrap();
        let opened = envelope.open(keys.of(*kind), owner, &context).unwrap();
        assert!(opened.ct_eq(text.expose_secret()));
    }
}

#[tokio::test]
async fn each_implementation_unwraps_the_keys_of_the_other() {
    use base64::Engine as _;

    let kek = SecretBytes::random(32).unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(kek.expose_secret());
    let keyset = json!({ "active": "2026-06", "keys": [{ "id": "2026-06", "key": text }] });
    let keyset = SecretBytes::new(keyset.to_string().into_bytes());
    let keyring = LocalKeyring::from_json(&keyset).unwrap();
    let (mut cases, mut inputs) = (Vec::new(), Vec::new());
    for (organization_kind, organization, owner) in owners() {
        let (id, key) = (KeyId::random().unwrap(), DataKey::random().unwrap());
        let context = match &owner {
            KeyOwner::Platform => WrapContext::canary(id),
            KeyOwner::Organization(_) => WrapContext::data_key(owner, id),
        };
        let wrapped = keyring.wrap(&context, &key).await.unwrap();
        cases.push(json!({
            "organization_kind": organization_kind,
            "organization": organization,
            "key_id": id.to_string(),
            "purpose": context.purpose().as_str(),
            "kek_id": wrapped.kek().as_str(),
            "kek": hex::encode(kek.expose_secret()),
            "wrapped": hex::encode(wrapped.as_bytes()),
        }));
        inputs.push((context, key));
    }
    let opened = peer("open", &Value::Array(cases));
    assert_eq!(opened.as_array().unwrap().len(), inputs.len());
    for (case, (_, key)) in opened.as_array().unwrap().iter().zip(&inputs) {
        assert!(DataKey::from_slice(&bytes(case, "data_key")).unwrap().ct_eq(key));
    }
    let wrapped = peer("seal", &opened);
    assert_eq!(wrapped.as_array().unwrap().len(), inputs.len());
    for (case, (context, key)) in wrapped.as_array().unwrap().iter().zip(&inputs) {
        let kek = KekId::parse(case["kek_id"].as_str().unwrap()).unwrap();
        let wrapped = WrappedKey::new(kek, bytes(case, "wrapped")).unwrap();
        assert!(keyring.unwrap(context, &wrapped).await.unwrap().ct_eq(key));
    }
}

/// The files beside the script are what it computes: nobody edited them by hand.
#[test]
fn the_vectors_are_what_the_second_implementation_computes() {
    for file in ["envelope-v1.json", "wrap-v1.json"] {
        let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(!file["vectors"].as_array().unwrap().is_empty());
        let opened = peer("open", &file["vectors"]);
        assert_eq!(opened, file["vectors"]);
    }
}
