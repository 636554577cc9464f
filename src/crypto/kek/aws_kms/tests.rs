//! Against the moto server, which is told by `TENANTRY_MOTO_SERVER`, and against a double where moto
//! is never wrong.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::super::search::{Traced, forms};
use super::*;
use crate::crypto::{KeyId, KeyOwner, conformance};
use crate::error::ErrorKind;

const SECRET: &str = "planted-secret-access-key";
const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str =
    "arn:aws:kms:eu-central-1:111122223333:key/00000000-12ab-34cd-56ef-000000000000";

fn client(endpoint: &str) -> Client {
    let configuration = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", SECRET, None, None, "tests"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(configuration)
}

/// A moto server of its own, which ends with this.
struct Moto {
    process: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None` where there is no moto server; `tests/run` sees to it that there is one.
fn moto() -> Option<Moto> {
    let Some(program) = std::env::var_os("TENANTRY_MOTO_SERVER") else {
        assert!(std::env::var_os("CI").is_none(), "CI skips nothing");
        println!("skipped: TENANTRY_MOTO_SERVER does not say where the moto server is");
        return None;
    };
    let mut process = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let endpoint = lines
        .find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()))
        .unwrap();
    // It writes a line for each request, and waits where nobody reads them.
    std::thread::spawn(move || lines.for_each(drop));
    Some(Moto { process, endpoint })
}

async fn create_key(client: &Client) -> String {
    client.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap()
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
async fn the_provider_keeps_its_contract_on_moto() {
    let Some(moto) = moto() else { return };
    let client = client(&moto.endpoint);
    let arn = create_key(&client).await;
    conformance::key_provider(&AwsKms::new(client, &arn).unwrap()).await.unwrap();
}

#[tokio::test]
async fn c17_moto_binds_a_wrapped_key_to_its_organization() {
    let Some(moto) = moto() else { return };
    let client = client(&moto.endpoint);
    let provider = AwsKms::new(client.clone(), &create_key(&client).await).unwrap();
    let (a, b) = contexts();
    let (key, other) = (DataKey::random().unwrap(), DataKey::random().unwrap());
    let of_a = provider.wrap(&a, &key).await.unwrap();
    let of_b = provider.wrap(&b, &other).await.unwrap();
    refused(provider.unwrap(&a, &of_b).await, ErrorKind::Corrupt);
    refused(provider.unwrap(&b, &of_a).await, ErrorKind::Corrupt);
    assert!(provider.unwrap(&a, &of_a).await.unwrap().ct_eq(&key));
    assert!(provider.unwrap(&b, &of_b).await.unwrap().ct_eq(&other));
}

#[tokio::test]
async fn c26_moving_to_another_key_rewraps_inside_the_service() {
    let Some(moto) = moto() else { return };
    let client = client(&moto.endpoint);
    let (first, second) = (create_key(&client).await, create_key(&client).await);
    let (a, b) = contexts();
    let key = DataKey::random().unwrap();
    let before = AwsKms::new(client.clone(), &first).unwrap();
    let old = before.wrap(&a, &key).await.unwrap();
    assert_eq!(before.rewrap(&a, &old).await.unwrap(), None);

    let alone = AwsKms::new(client.clone(), &second).unwrap();
    refused(alone.unwrap(&a, &old).await, ErrorKind::Unconfigured);
    refused(alone.rewrap(&a, &old).await, ErrorKind::Unconfigured);

    let after = alone.also_unwrap(&first).unwrap();
    assert!(after.unwrap(&a, &old).await.unwrap().ct_eq(&key));
    refused(after.rewrap(&b, &old).await, ErrorKind::Corrupt);
    let new = after.rewrap(&a, &old).await.unwrap().unwrap();
    assert_eq!(new.kek().key(), second);
    assert!(after.unwrap(&a, &new).await.unwrap().ct_eq(&key));
    refused(before.unwrap(&a, &new).await, ErrorKind::Unconfigured);
}

#[tokio::test]
async fn a_key_that_is_disabled_or_gone_is_unconfigured() {
    let Some(moto) = moto() else { return };
    let client = client(&moto.endpoint);
    let arn = create_key(&client).await;
    let provider = AwsKms::new(client.clone(), &arn).unwrap();
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let absent =
        arn.rsplit_once('/').unwrap().0.to_owned() + "/00000000-0000-4000-8000-000000000000";
    let gone = AwsKms::new(client.clone(), &absent).unwrap();
    refused(gone.wrap(&a, &key).await, ErrorKind::Unconfigured);
    let wrapped = provider.wrap(&a, &key).await.unwrap();
    assert!(provider.unwrap(&a, &wrapped).await.is_ok());
}

/// A double that answers every request alike and keeps what it was asked.
#[derive(Clone)]
struct Double {
    reply: Arc<Mutex<Reply>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

#[derive(Clone)]
enum Reply {
    Never,
    Text(u16, String),
}

async fn double() -> (Double, String) {
    let double = Double {
        reply: Arc::new(Mutex::new(Reply::Never)),
        seen: Arc::new(Mutex::new(Vec::new())),
    };
    let served = double.clone();
    let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| async move {
        let target = headers["x-amz-target"].to_str().unwrap().to_owned();
        served.seen.lock().unwrap().push((target, serde_json::from_slice(&body).unwrap()));
        let reply = served.reply.lock().unwrap().clone();
        let Reply::Text(status, text) = reply else { return std::future::pending().await };
        Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.1")
            .body(Body::from(text))
            .unwrap()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (double, endpoint)
}

impl Double {
    fn reply(&self, status: u16, body: &Value) {
        *self.reply.lock().unwrap() = Reply::Text(status, body.to_string());
    }
}

/// What is stored for a blob that the service gave.
fn stored(arn: &str) -> WrappedKey {
    wrapped_key(&kek(ID, arn).unwrap(), Some(Blob::new(b"wrapped"))).unwrap()
}

fn silent(error: &Error, key: &DataKey) {
    let shown = format!("{error} {error:?} {error:#?}");
    let bytes = key.expose_secret();
    let decimal = format!("{bytes:?}");
    for secret in
        [SECRET, &hex::encode(bytes), &BASE64.encode(bytes), decimal.trim_matches(['[', ']'])]
    {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!shown.contains("127.0.0.1") && !shown.contains("AKID"), "{shown}");
}

#[tokio::test]
async fn requests_carry_the_key_and_the_encryption_context() {
    let (double, endpoint) = double().await;
    let provider = AwsKms::new(client(&endpoint), ARN).unwrap().also_unwrap(OTHER).unwrap();
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let pairs: Value =
        a.pairs().into_iter().map(|(name, text)| (name, Value::from(text))).collect();
    let blob = BASE64.encode(b"wrapped");
    double.reply(200, &json!({ "KeyId": ARN, "SourceKeyId": OTHER, "CiphertextBlob": blob }));
    let wrapped = provider.wrap(&a, &key).await.unwrap();
    assert_eq!(wrapped, stored(ARN));
    let old = stored(OTHER);
    provider.rewrap(&a, &old).await.unwrap().unwrap();
    double.reply(200, &json!({ "KeyId": ARN, "Plaintext": BASE64.encode(key.expose_secret()) }));
    assert!(provider.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));

    let seen = double.seen.lock().unwrap().clone();
    let [(encrypt, wrap), (re_encrypt, rewrap), (decrypt, unwrap)] = &seen[..] else { panic!() };
    assert_eq!(
        [encrypt, re_encrypt, decrypt],
        ["TrentService.Encrypt", "TrentService.ReEncrypt", "TrentService.Decrypt"]
    );
    assert_eq!(unwrap["CiphertextBlob"], blob);
    assert_eq!((&wrap["KeyId"], &wrap["EncryptionContext"]), (&json!(ARN), &pairs));
    assert_eq!((&unwrap["KeyId"], &unwrap["EncryptionContext"]), (&json!(ARN), &pairs));
    assert_eq!(rewrap["SourceKeyId"], OTHER);
    assert_eq!(rewrap["DestinationKeyId"], ARN);
    assert_eq!(rewrap["SourceEncryptionContext"], pairs);
    assert_eq!(rewrap["DestinationEncryptionContext"], pairs);
}

#[tokio::test]
async fn an_answer_made_with_another_key_is_refused() {
    let (double, endpoint) = double().await;
    let provider = AwsKms::new(client(&endpoint), ARN).unwrap().also_unwrap(OTHER).unwrap();
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let plaintext = BASE64.encode(key.expose_secret());
    let wrapped = stored(ARN);
    let old = stored(OTHER);
    for (answered, source) in
        [(json!(OTHER), json!(OTHER)), (json!(null), json!(null)), (json!(ARN), json!(ARN))]
    {
        double.reply(
            200,
            &json!({
                "KeyId": answered, "SourceKeyId": source, "Plaintext": plaintext,
                "CiphertextBlob": BASE64.encode(b"x"),
            }),
        );
        // ARN is the right answer but for the source of a re-encryption.
        if answered != ARN {
            silent(&refused(provider.wrap(&a, &key).await, ErrorKind::Corrupt), &key);
            silent(&refused(provider.unwrap(&a, &wrapped).await, ErrorKind::Corrupt), &key);
        }
        silent(&refused(provider.rewrap(&a, &old).await, ErrorKind::Corrupt), &key);
    }
    for bytes in [&[][..], &[7; 16], &[7; 33]] {
        double.reply(200, &json!({ "KeyId": ARN, "Plaintext": BASE64.encode(bytes) }));
        refused(provider.unwrap(&a, &wrapped).await, ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_service_that_is_down_slow_or_strange_gives_typed_errors_without_secrets() {
    let (double, endpoint) = double().await;
    let provider = AwsKms::new(client(&endpoint), ARN).unwrap();
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let wrapped = stored(ARN);

    // It never answers.
    let hasty = AwsKms::new(client(&endpoint), ARN).unwrap().timeout(Duration::from_millis(300));
    silent(&refused(hasty.wrap(&a, &key).await, ErrorKind::Unavailable), &key);
    silent(&refused(hasty.unwrap(&a, &wrapped).await, ErrorKind::Unavailable), &key);

    for (code, status, kind) in [
        ("InvalidCiphertextException", 400, ErrorKind::Corrupt),
        ("IncorrectKeyException", 400, ErrorKind::Corrupt),
        ("NotFoundException", 400, ErrorKind::Unconfigured),
        ("DisabledException", 400, ErrorKind::Unconfigured),
        ("KMSInvalidStateException", 400, ErrorKind::Unconfigured),
        ("AccessDeniedException", 400, ErrorKind::Unconfigured),
        ("ExpiredTokenException", 400, ErrorKind::Unconfigured),
        ("ThrottlingException", 400, ErrorKind::Unavailable),
        ("KMSInternalException", 500, ErrorKind::Unavailable),
        ("DependencyTimeoutException", 500, ErrorKind::Unavailable),
        ("KeyUnavailableException", 500, ErrorKind::Unavailable),
        ("SomethingNewException", 400, ErrorKind::Unavailable),
    ] {
        let echo = BASE64.encode(key.expose_secret());
        double.reply(status, &json!({ "__type": code, "message": format!("{echo} {SECRET}") }));
        let error = refused(provider.unwrap(&a, &wrapped).await, kind);
        assert_eq!(error.is_retryable(), kind == ErrorKind::Unavailable, "{code}");
        silent(&error, &key);
    }
    // A data key in an answer that is not understood.
    let echo = BASE64.encode(key.expose_secret());
    *double.reply.lock().unwrap() = Reply::Text(200, format!("{{\"Plaintext\": {echo}"));
    silent(&refused(provider.unwrap(&a, &wrapped).await, ErrorKind::Unavailable), &key);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let down = AwsKms::new(client(&nobody), ARN).unwrap();
    silent(&refused(down.wrap(&a, &key).await, ErrorKind::Unavailable), &key);
    let shown = format!("{down:?} {provider:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("127.0.0.1"), "{shown}");
}

/// The SDK traces its requests, and what it answers.
#[tokio::test]
async fn c39_a_data_key_on_its_way_is_in_no_trace() {
    let (traced, _guard) = Traced::listen();
    let (double, endpoint) = double().await;
    // Where it is on, this protection happens to hide the body of a request too.
    let config = client(&endpoint).config().to_builder();
    let config = config.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let client = Client::from_conf(config.build());
    let provider = AwsKms::new(client.clone(), ARN).unwrap().also_unwrap(OTHER).unwrap();
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    let blob = BASE64.encode(b"wrapped");
    double.reply(200, &json!({ "KeyId": ARN, "SourceKeyId": OTHER, "CiphertextBlob": blob }));
    let wrapped = provider.wrap(&a, &key).await.unwrap();
    provider.rewrap(&a, &stored(OTHER)).await.unwrap().unwrap();
    let plaintext = BASE64.encode(key.expose_secret());
    double.reply(200, &json!({ "KeyId": ARN, "Plaintext": plaintext }));
    assert!(provider.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));
    // Also where it fails: a request that is sent again, an answer that is not understood.
    let again = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let config = client.config().to_builder().retry_config(again).build();
    let patient = AwsKms::new(Client::from_conf(config), ARN).unwrap();
    double.seen.lock().unwrap().clear();
    double.reply(400, &json!({ "__type": "ThrottlingException", "message": "slower" }));
    refused(patient.wrap(&a, &key).await, ErrorKind::Unavailable);
    assert_eq!(double.seen.lock().unwrap().len(), 3);
    *double.reply.lock().unwrap() = Reply::Text(200, format!("{{\"Plaintext\": {plaintext}"));
    refused(provider.unwrap(&a, &wrapped).await, ErrorKind::Unavailable);

    let text = traced.text();
    assert!(text.contains("transmitting request"), "the SDK traces otherwise now");
    for secret in [&key.expose_secret()[..], SECRET.as_bytes()] {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{form}");
        }
    }
}

#[tokio::test]
async fn a_damaged_blob_is_refused_without_asking() {
    let (double, endpoint) = double().await;
    let provider = AwsKms::new(client(&endpoint), ARN).unwrap().also_unwrap(OTHER).unwrap();
    let (a, _) = contexts();
    let bytes = stored(OTHER).as_bytes().to_vec();
    for at in 0..bytes.len() {
        let mut edited = bytes.clone();
        edited[at] ^= 1;
        let mut variants = vec![edited, [&bytes[..], &[0]].concat()];
        variants.extend((at > 0).then(|| bytes[..at].to_vec()));
        for bytes in variants {
            let damaged = WrappedKey::new(kek(ID, OTHER).unwrap(), bytes).unwrap();
            refused(provider.unwrap(&a, &damaged).await, ErrorKind::Corrupt);
            refused(provider.rewrap(&a, &damaged).await, ErrorKind::Corrupt);
        }
    }
    assert!(double.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stored_name_of_a_foreign_key_is_asked_of_nobody() {
    let (double, endpoint) = double().await;
    let provider = AwsKms::new(client(&endpoint), ARN).unwrap();
    let (a, _) = contexts();
    let foreign = "arn:aws:kms:eu-central-1:999999999999:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let planted = stored(foreign);
    refused(provider.unwrap(&a, &planted).await, ErrorKind::Unconfigured);
    refused(provider.rewrap(&a, &planted).await, ErrorKind::Unconfigured);
    assert!(double.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn two_providers_of_kms_have_names_of_their_own() {
    let (double, endpoint) = double().await;
    let provider = |id| {
        let provider = AwsKms::new(client(&endpoint), ARN).unwrap();
        provider.with_id(id).unwrap().also_unwrap(OTHER).unwrap()
    };
    let (a, _) = contexts();
    let key = DataKey::random().unwrap();
    double.reply(200, &json!({ "KeyId": ARN, "CiphertextBlob": BASE64.encode(b"wrapped") }));
    let wrapped = provider("kms-1").wrap(&a, &key).await.unwrap();
    assert_eq!(wrapped.kek().as_str(), format!("kms-1:{ARN}"));
    assert_eq!(provider("kms-1").rewrap(&a, &wrapped).await.unwrap(), None);
    double.seen.lock().unwrap().clear();
    for other in [provider("kms-2"), AwsKms::new(client(&endpoint), ARN).unwrap()] {
        refused(other.unwrap(&a, &wrapped).await, ErrorKind::Unconfigured);
        refused(other.rewrap(&a, &wrapped).await, ErrorKind::Unconfigured);
    }
    assert!(double.seen.lock().unwrap().is_empty());
    let both = crate::crypto::FallbackUnwrap::new(provider("kms-2"), provider("kms-1")).unwrap();
    double.reply(200, &json!({ "KeyId": ARN, "Plaintext": BASE64.encode(key.expose_secret()) }));
    assert!(both.unwrap(&a, &wrapped).await.unwrap().ct_eq(&key));
    for id in ["", "A", "a:b", &"a".repeat(33)] {
        let provider = AwsKms::new(client(&endpoint), ARN).unwrap();
        refused(provider.with_id(id), ErrorKind::Invalid);
    }
}

#[test]
fn keys_are_named_by_arn_alone() {
    let client = client("http://127.0.0.1:1");
    assert!(AwsKms::new(client.clone(), ARN).is_ok());
    for name in [
        "",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "alias/tenantry",
        "arn:aws:kms:eu-central-1:111122223333:alias/tenantry",
        "arn:aws:kms:eu-central-1:111122223333:key/",
        "arn:aws:kms::111122223333:key/1",
        "arn:aws:s3:eu-central-1:111122223333:key/1",
        "arn:aws:kms:eu-central-1:111122223333:key/1:2",
        "arn:aws:kms:eu-central-1:111122223333:key/a b",
    ] {
        refused(AwsKms::new(client.clone(), name), ErrorKind::Invalid);
        refused(AwsKms::new(client.clone(), ARN).unwrap().also_unwrap(name), ErrorKind::Invalid);
    }
}
