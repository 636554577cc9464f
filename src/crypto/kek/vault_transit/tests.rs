//! Against a double of the engine that speaks the documented protocol on the loopback device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap as Headers, Response};
use axum::routing::{get, post};
use hkdf::Hkdf;
use serde_json::{Value, json};
use sha2::Sha256;

use super::super::search::{Traced, forms};
use super::*;
use crate::crypto::{KeyId, KeyOwner, conformance};
use crate::error::ErrorKind;

const TOKEN: &str = "hvs.planted-token-of-the-tests";

/// How the double behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mood {
    Well,
    /// Takes the request and never answers.
    Silent,
    Sealed,
    Limited,
    Broken,
    Redirecting,
    /// JSON that is none of Vault's, with the secret in it.
    Strange,
    /// Announces more than it sends.
    CutOff,
    TooLong,
    /// Answers with a key of 16 bytes.
    Short,
}

struct Engine {
    mood: Mood,
    token: String,
    derived: bool,
    versions: Vec<[u8; 32]>,
    least: u32,
    /// What was asked, by path, and the namespace and marker that came with it.
    seen: Vec<(String, Option<String>, Option<String>)>,
    /// Where a redirect leads.
    elsewhere: String,
}

type Shared = Arc<Mutex<Engine>>;

/// The key of one version and context, as a key made with `derived=true` has them.
fn cipher(engine: &Engine, version: usize, context: &[u8]) -> Aes256Gcm {
    let mut key = [0; 32];
    let info = if engine.derived { context } else { b"" };
    Hkdf::<Sha256>::new(None, &engine.versions[version - 1]).expand(info, &mut key).unwrap();
    Aes256Gcm::new(&key.into())
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
}

fn refusal(status: u16, text: &str) -> Response<Body> {
    answer(status, &json!({ "errors": [text] }))
}

fn encrypt(engine: &Engine, context: &[u8], plaintext: &[u8]) -> String {
    let nonce = [engine.seen.len() as u8; 12];
    let version = engine.versions.len();
    let sealed = cipher(engine, version, context).encrypt(&Nonce::from(nonce), plaintext).unwrap();
    format!("vault:v{version}:{}", BASE64.encode([&nonce[..], &sealed].concat()))
}

fn decrypt(engine: &Engine, context: &[u8], ciphertext: &str) -> Result<Vec<u8>, &'static str> {
    let rest = ciphertext.strip_prefix("vault:v").ok_or("invalid ciphertext: no prefix")?;
    let (version, text) =
        rest.split_once(':').ok_or("invalid ciphertext: wrong number of fields")?;
    let version: u32 =
        version.parse().map_err(|_| "invalid ciphertext: version number could not be decoded")?;
    if version < engine.least {
        return Err("ciphertext or signature version is disallowed by policy (too old)");
    }
    if version as usize > engine.versions.len() {
        return Err("invalid ciphertext: version is too new");
    }
    let bytes = BASE64.decode(text).map_err(|_| "invalid ciphertext: could not decode base64")?;
    let (nonce, sealed) = bytes.split_first_chunk::<12>().ok_or("invalid ciphertext length")?;
    cipher(engine, version as usize, context)
        .decrypt(&Nonce::from(*nonce), sealed)
        .map_err(|_| "cipher: message authentication failed")
}

/// What is said before the request itself is looked at.
fn before(engine: &mut Engine, path: String, headers: &Headers) -> Result<(), Box<Response<Body>>> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    engine.seen.push((path, text("x-vault-namespace"), text("x-vault-request")));
    Err(Box::new(match engine.mood {
        Mood::Sealed => refusal(503, "Vault is sealed"),
        Mood::Limited => refusal(429, "request path: rate limit quota exceeded"),
        Mood::Broken => refusal(500, "internal error"),
        Mood::Redirecting => Response::builder()
            .status(307)
            .header("location", &engine.elsewhere)
            .body(Body::empty())
            .unwrap(),
        _ if text("x-vault-token").as_deref() != Some(&engine.token) => {
            refusal(403, "permission denied")
        }
        _ => return Ok(()),
    }))
}

async fn show(
    State(engine): State<Shared>,
    Path(name): Path<String>,
    headers: Headers,
) -> Response<Body> {
    let mut engine = engine.lock().unwrap();
    if let Err(refused) = before(&mut engine, format!("keys/{name}"), &headers) {
        return *refused;
    }
    if name != "tenantry" {
        return answer(404, &json!({ "errors": [] }));
    }
    let data = json!({
        "name": name, "type": "aes256-gcm96", "derived": engine.derived, "exportable": false,
        "latest_version": engine.versions.len(), "min_decryption_version": engine.least,
    });
    answer(200, &json!({ "request_id": "1", "data": data, "warnings": null }))
}

async fn act(
    State(shared): State<Shared>,
    Path((verb, name)): Path<(String, String)>,
    headers: Headers,
    body: axum::body::Bytes,
) -> Response<Body> {
    let mood = shared.lock().unwrap().mood;
    if mood == Mood::Silent {
        std::future::pending::<()>().await;
    }
    let mut engine = shared.lock().unwrap();
    if let Err(refused) = before(&mut engine, format!("{verb}/{name}"), &headers) {
        return *refused;
    }
    if name != "tenantry" {
        return refusal(400, "encryption key not found");
    }
    let body: HashMap<String, String> = serde_json::from_slice(&body).unwrap();
    let context = BASE64.decode(body.get("context").map_or("", String::as_str)).unwrap();
    if engine.derived && context.is_empty() {
        return refusal(400, "missing 'context' for key derivation");
    }
    let opened = body.get("ciphertext").map(|text| decrypt(&engine, &context, text)).transpose();
    let opened = match opened {
        Ok(opened) => opened,
        Err(refused) => return refusal(400, refused),
    };
    let plaintext = match verb.as_str() {
        "encrypt" => BASE64.decode(&body["plaintext"]).unwrap(),
        _ => opened.unwrap(),
    };
    let data = match verb.as_str() {
        "decrypt" => json!({ "plaintext": BASE64.encode(&plaintext) }),
        _ => json!({
            "ciphertext": encrypt(&engine, &context, &plaintext),
            "key_version": engine.versions.len(),
        }),
    };
    match mood {
        Mood::Strange => {
            answer(200, &json!({ "dada": data, "plaintext": BASE64.encode(&plaintext) }))
        }
        Mood::CutOff => Response::builder()
            .header("content-length", "1000")
            .body(Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("{")])))
            .unwrap(),
        Mood::TooLong => answer(200, &json!({ "data": data, "more": "x".repeat(100_000) })),
        Mood::Short => answer(200, &json!({ "data": { "plaintext": BASE64.encode([7; 16]) } })),
        _ => answer(200, &json!({ "request_id": "1", "data": data })),
    }
}

struct Double {
    engine: Shared,
    address: String,
    provider: VaultTransit,
}

async fn serve() -> (Shared, String) {
    let engine = Arc::new(Mutex::new(Engine {
        mood: Mood::Well,
        token: TOKEN.to_owned(),
        derived: true,
        versions: vec![[1; 32]],
        least: 1,
        seen: Vec::new(),
        elsewhere: String::new(),
    }));
    let router = Router::new()
        .route("/v1/transit/keys/{name}", get(show))
        .route("/v1/transit/{verb}/{name}", post(act))
        .with_state(Arc::clone(&engine));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (engine, address)
}

fn token(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

async fn double() -> Double {
    let (engine, address) = serve().await;
    let provider =
        VaultTransit::builder(&address, "tenantry", token(TOKEN)).namespace("teams/a").build();
    Double { engine, address, provider: provider.unwrap() }
}

impl Double {
    fn set(&self, change: impl FnOnce(&mut Engine)) {
        change(&mut self.engine.lock().unwrap());
    }
}

fn contexts() -> (WrapContext, WrapContext) {
    let key = KeyId::random().unwrap();
    let of = |name| {
        let organization = OrganizationId::from_text(name).unwrap();
        WrapContext::data_key(KeyOwner::Organization(organization), key)
    };
    (of("acme"), of("acme-2"))
}

fn refused<T: fmt::Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

#[tokio::test]
async fn the_provider_keeps_its_contract() {
    let double = double().await;
    conformance::key_provider(&double.provider).await.unwrap();
    for (path, namespace, marker) in &double.engine.lock().unwrap().seen {
        assert_eq!(namespace.as_deref(), Some("teams/a"), "{path}");
        assert_eq!(marker.as_deref(), Some("true"), "{path}");
    }
}

#[tokio::test]
async fn c17_a_wrapped_key_of_one_organization_does_not_unwrap_for_another() {
    let double = double().await;
    let (a, b) = contexts();
    let (key, other) = (DataKey::random().unwrap(), DataKey::random().unwrap());
    let of_a = double.provider.wrap(&a, &key).await.unwrap();
    let of_b = double.provider.wrap(&b, &other).await.unwrap();
    refused(double.provider.unwrap(&a, &of_b).await, ErrorKind::Corrupt);
    refused(double.provider.unwrap(&b, &of_a).await, ErrorKind::Corrupt);
    double.set(|engine| engine.versions.push([2; 32]));
    refused(double.provider.rewrap(&b, &of_a).await, ErrorKind::Corrupt);
    assert!(double.provider.unwrap(&a, &of_a).await.unwrap().ct_eq(&key));
    assert!(double.provider.unwrap(&b, &of_b).await.unwrap().ct_eq(&other));
}

#[tokio::test]
async fn c17_a_key_that_would_ignore_the_context_wraps_nothing() {
    let double = double().await;
    double.set(|engine| engine.derived = false);
    let (a, _) = contexts();
    refused(double.provider.active().await, ErrorKind::Unconfigured);
    let key = DataKey::random().unwrap();
    refused(double.provider.wrap(&a, &key).await, ErrorKind::Unconfigured);
    let seen = double.engine.lock().unwrap().seen.clone();
    assert!(seen.iter().all(|(path, ..)| path.starts_with("keys/")), "the key was sent: {seen:?}");
}

#[tokio::test]
async fn c26_a_new_version_in_place_is_another_kek_and_rewraps() {
    let double = double().await;
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let first = double.provider.active().await.unwrap();
    assert_eq!(first.as_str(), "vault-transit:transit/tenantry:v1");
    let old = double.provider.wrap(&a, &key).await.unwrap();
    assert_eq!(double.provider.rewrap(&a, &old).await.unwrap(), None);

    double.set(|engine| engine.versions.push([2; 32]));
    let second = double.provider.active().await.unwrap();
    assert_eq!(second.as_str(), "vault-transit:transit/tenantry:v2");
    assert!(double.provider.unwrap(&a, &old).await.unwrap().ct_eq(&key));
    let new = double.provider.rewrap(&a, &old).await.unwrap().unwrap();
    assert_eq!(*new.kek(), second);
    assert!(double.provider.unwrap(&a, &new).await.unwrap().ct_eq(&key));
    assert_eq!(double.provider.rewrap(&a, &new).await.unwrap(), None);

    // Bytes of one version under the name of another were not put there by this crate.
    for (kek, bytes) in [(&first, new.as_bytes()), (&second, old.as_bytes())] {
        let mixed = WrappedKey::new(kek.clone(), bytes.to_vec()).unwrap();
        refused(double.provider.unwrap(&a, &mixed).await, ErrorKind::Corrupt);
        refused(double.provider.rewrap(&a, &mixed).await, ErrorKind::Corrupt);
    }
    double.set(|engine| engine.least = 2);
    refused(double.provider.unwrap(&a, &old).await, ErrorKind::Unconfigured);
    assert!(double.provider.unwrap(&a, &new).await.unwrap().ct_eq(&key));
}

/// Everything that could show a secret.
fn silent(error: &Error, key: &DataKey) {
    let shown = format!("{error} {error:?} {error:#?}");
    let bytes = key.expose_secret();
    let decimal = format!("{bytes:?}");
    for secret in
        [TOKEN, &hex::encode(bytes), &BASE64.encode(bytes), decimal.trim_matches(['[', ']'])]
    {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!shown.contains("127.0.0.1") && !shown.contains("http"), "{shown}");
}

#[tokio::test]
async fn c38_an_engine_that_is_down_slow_wrong_or_strange_gives_typed_errors_without_secrets() {
    let double = double().await;
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let wrapped = double.provider.wrap(&a, &key).await.unwrap();
    let hasty = VaultTransit::builder(&double.address, "tenantry", token(TOKEN))
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    for (mood, kind) in [
        (Mood::Silent, ErrorKind::Unavailable),
        (Mood::Sealed, ErrorKind::Unavailable),
        (Mood::Limited, ErrorKind::Unavailable),
        (Mood::Broken, ErrorKind::Unavailable),
        (Mood::CutOff, ErrorKind::Unavailable),
        (Mood::TooLong, ErrorKind::Unavailable),
        (Mood::Redirecting, ErrorKind::Unconfigured),
        (Mood::Strange, ErrorKind::Corrupt),
        (Mood::Short, ErrorKind::Corrupt),
    ] {
        double.set(|engine| engine.mood = mood);
        let provider = if mood == Mood::Silent { &hasty } else { &double.provider };
        let error = refused(provider.unwrap(&a, &wrapped).await, kind);
        assert_eq!(error.is_retryable(), kind == ErrorKind::Unavailable, "{mood:?}");
        silent(&error, &key);
        if mood != Mood::Short {
            silent(&refused(provider.wrap(&a, &key).await, kind), &key);
        }
    }
    double.set(|engine| engine.mood = Mood::Well);
    assert!(double.provider.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let down = VaultTransit::builder(nobody, "tenantry", token(TOKEN)).build().unwrap();
    silent(&refused(down.unwrap(&a, &wrapped).await, ErrorKind::Unavailable), &key);
    refused(down.active().await, ErrorKind::Unavailable);
}

#[tokio::test]
async fn c39_a_data_key_on_its_way_is_in_no_trace() {
    let (traced, _guard) = Traced::listen();
    let double = double().await;
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let wrapped = double.provider.wrap(&a, &key).await.unwrap();
    assert!(double.provider.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));
    double.set(|engine| engine.mood = Mood::Strange);
    refused(double.provider.unwrap(&a, &wrapped).await, ErrorKind::Corrupt);

    let text = traced.text();
    assert!(text.contains("pooling idle connection"), "the client traces otherwise now");
    for secret in [&key.expose_secret()[..], TOKEN.as_bytes()] {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{form}");
        }
    }
}

#[tokio::test]
async fn a_move_from_one_engine_to_another_asks_each_for_its_own() {
    let (old, new) = (double().await, double().await);
    new.set(|engine| engine.versions = vec![[3; 32]]);
    let (a, b) = contexts();
    let key = DataKey::random().unwrap();
    let wrapped = old.provider.wrap(&a, &key).await.unwrap();
    let engine = Arc::clone(&new.engine);
    let named = new.provider.with_id("vault-2").unwrap();
    refused(named.unwrap(&a, &wrapped).await, ErrorKind::Unconfigured);
    let both = crate::crypto::FallbackUnwrap::new(named, old.provider).unwrap();
    assert!(both.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));
    let moved = both.rewrap(&a, &wrapped).await.unwrap().unwrap();
    assert_eq!(moved.kek().as_str(), "vault-2:transit/tenantry:v1");
    assert!(both.unwrap(&a, &moved).await.unwrap().ct_eq(&key));
    refused(both.unwrap(&b, &moved).await, ErrorKind::Corrupt);
    engine.lock().unwrap().seen.clear();
    both.unwrap(&a, &wrapped).await.unwrap();
    assert!(engine.lock().unwrap().seen.is_empty(), "the old engine's key went to the new one");
    for id in ["", "A", "a:b", &"a".repeat(33)] {
        let provider = VaultTransit::builder("https://v.example", "k", token(TOKEN)).build();
        refused(provider.unwrap().with_id(id), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_unconfigured_until_there_is_another() {
    let double = double().await;
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let wrapped = double.provider.wrap(&a, &key).await.unwrap();
    double.set(|engine| engine.token = "renewed".to_owned());
    silent(&refused(double.provider.unwrap(&a, &wrapped).await, ErrorKind::Unconfigured), &key);
    silent(&refused(double.provider.wrap(&a, &key).await, ErrorKind::Unconfigured), &key);
    refused(double.provider.active().await, ErrorKind::Unconfigured);
    double.provider.set_token(&token("renewed")).unwrap();
    assert!(double.provider.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));
    for bad in ["", "a\nb"] {
        refused(double.provider.set_token(&token(bad)), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_redirect_takes_the_token_nowhere() {
    let double = double().await;
    let (elsewhere, address) = serve().await;
    double.set(|engine| {
        engine.mood = Mood::Redirecting;
        engine.elsewhere = format!("{address}/v1/transit/keys/tenantry");
    });
    refused(double.provider.active().await, ErrorKind::Unconfigured);
    assert!(elsewhere.lock().unwrap().seen.is_empty());
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_unconfigured() {
    let double = double().await;
    let (a, _) = contexts();
    let absent = VaultTransit::builder(&double.address, "other", token(TOKEN)).build().unwrap();
    refused(absent.active().await, ErrorKind::Unconfigured);
    refused(absent.wrap(&a, &DataKey::random().unwrap()).await, ErrorKind::Unconfigured);
    let bytes = b"vault:v1:AAAA".to_vec();
    let wrapped = WrappedKey::new(absent.kek(1).unwrap(), bytes).unwrap();
    refused(absent.unwrap(&a, &wrapped).await, ErrorKind::Unconfigured);
}

#[test]
fn addresses_and_names_that_could_lead_elsewhere_are_refused() {
    let build = |address: &str, mount: &str, key: &str| {
        VaultTransit::builder(address, key, token(TOKEN)).mount(mount).build()
    };
    for address in [
        "https://vault.example.com",
        "https://vault.example.com:8200/",
        "http://127.0.0.1:8200",
        "http://[::1]:8200",
        "http://localhost:8200",
    ] {
        assert!(build(address, "teams/transit", "tenantry").is_ok(), "{address}");
    }
    for address in [
        "http://vault.example.com:8200",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "https://user:secret@vault.example.com",
        "https://vault.example.com/?a=b",
        "https://vault.example.com/v1",
        "https://vault.example.com/#x",
        "ftp://vault.example.com",
        "vault.example.com",
        "",
    ] {
        refused(build(address, "transit", "tenantry"), ErrorKind::Invalid);
    }
    for name in ["", "..", ".", "a b", "a?b", "a%2fb", "é", "a\\b", &"a".repeat(129)] {
        refused(build("https://v.example", "transit", name), ErrorKind::Invalid);
        refused(build("https://v.example", name, "tenantry"), ErrorKind::Invalid);
    }
    refused(build("https://v.example", "transit", "a/b"), ErrorKind::Invalid);
    refused(build("https://v.example", "a//b", "k"), ErrorKind::Invalid);
    let builder = || VaultTransit::builder("https://v.example", "k", token(TOKEN));
    refused(builder().namespace("a\nb").build(), ErrorKind::Invalid);
    refused(builder().certificate("no certificate").build(), ErrorKind::Invalid);
    let shown = format!("{:?} {:?}", builder(), builder().build().unwrap());
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[test]
fn the_version_is_read_strictly() {
    assert_eq!(version("vault:v1:AAAA"), Some(1));
    assert_eq!(version("vault:v4294967295:A"), Some(u32::MAX));
    for text in [
        "",
        "vault:",
        "vault:v",
        "vault:v1",
        "vault:v1:",
        "vault:v0:AAAA",
        "vault:v01:AAAA",
        "vault:v+1:AAAA",
        "vault:v-1:AAAA",
        "vault:v4294967296:A",
        "vault:1:AAAA",
        "Vault:v1:AAAA",
        " vault:v1:AAAA",
    ] {
        assert_eq!(version(text), None, "{text}");
    }
}
