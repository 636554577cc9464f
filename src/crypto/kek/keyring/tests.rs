use super::*;
use crate::crypto::{FallbackUnwrap, KeyId, KeyOwner, conformance};
use crate::error::ErrorKind;

/// 32 bytes in base64 that are different for each letter.
fn key(letter: char) -> String {
    BASE64.encode((0..32).map(|at| letter as u8 ^ at).collect::<Vec<u8>>())
}

fn keyset(active: &str, ids: &[&str]) -> String {
    let entry =
        |id: &&str| format!(r#"{{"id":"{id}","key":"{}"}}"#, key(id.chars().last().unwrap()));
    let entries: Vec<_> = ids.iter().map(entry).collect();
    format!(r#"{{"active":"{active}","keys":[{}]}}"#, entries.join(","))
}

fn parse(text: &str) -> Result<LocalKeyring> {
    LocalKeyring::from_json(&SecretBytes::new(text.as_bytes().to_vec()))
}

fn context() -> WrapContext {
    WrapContext::data_key(
        KeyOwner::Organization(OrganizationId::from_i64(1).unwrap()),
        KeyId::random().unwrap(),
    )
}

#[tokio::test]
async fn every_provider_of_the_crate_keeps_the_contract() {
    conformance::key_provider(&LocalKeyring::random().unwrap()).await.unwrap();
    conformance::key_provider(&parse(&keyset("b", &["a", "b"])).unwrap()).await.unwrap();
    let other = LocalKeyring::random().unwrap().with_id("other").unwrap();
    let both = FallbackUnwrap::new(other, LocalKeyring::random().unwrap()).unwrap();
    conformance::key_provider(&both).await.unwrap();
}

/// The contract has teeth: a provider that ignores the context is found out.
#[tokio::test]
async fn the_conformance_function_finds_a_provider_that_binds_nothing() {
    #[derive(Debug)]
    struct Unbound(LocalKeyring);

    #[async_trait]
    impl KeyProvider for Unbound {
        fn id(&self) -> &str {
            self.0.id()
        }
        fn serves(&self, provider: &str) -> bool {
            self.0.serves(provider)
        }
        async fn active(&self) -> Result<KekId> {
            self.0.active().await
        }
        async fn wrap(&self, _: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
            let nobody = WrapContext::canary(KeyId::from_uuid(uuid::Uuid::nil()));
            self.0.wrap(&nobody, key).await
        }
        async fn unwrap(&self, _: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
            let nobody = WrapContext::canary(KeyId::from_uuid(uuid::Uuid::nil()));
            self.0.unwrap(&nobody, wrapped).await
        }
        async fn rewrap(
            &self,
            context: &WrapContext,
            wrapped: &WrappedKey,
        ) -> Result<Option<WrappedKey>> {
            self.0.rewrap(context, wrapped).await
        }
        async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction> {
            self.0.destroy(organization).await
        }
    }

    let error = conformance::key_provider(&Unbound(LocalKeyring::random().unwrap())).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert_eq!(error.to_string(), "a wrapped key is bound to its owner");
}

#[tokio::test]
async fn older_versions_unwrap_and_rewrap_under_the_active_one() {
    let (context, data_key) = (context(), DataKey::random().unwrap());
    let old = parse(&keyset("a", &["a"])).unwrap();
    let wrapped = old.wrap(&context, &data_key).await.unwrap();
    let both = parse(&keyset("b", &["a", "b"])).unwrap();
    assert!(both.unwrap(&context, &wrapped).await.unwrap().ct_eq(&data_key));
    let again = both.rewrap(&context, &wrapped).await.unwrap().unwrap();
    assert_eq!(again.kek().as_str(), "local:b");
    let new = parse(&keyset("b", &["b"])).unwrap();
    assert!(new.unwrap(&context, &again).await.unwrap().ct_eq(&data_key));
    let error = new.unwrap(&context, &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    assert_eq!(error.to_string(), "the key-encryption key `local:a` is not at hand");
    assert_eq!(new.rewrap(&context, &wrapped).await.unwrap_err().kind(), ErrorKind::Unconfigured);
    // Another key under the same name is noticed, and does not unwrap to another data key.
    let text = keyset("a", &["a"]).replace(&key('a'), &key('z'));
    let error = parse(&text).unwrap().unwrap(&context, &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_move_from_one_provider_to_another_asks_each_for_its_own() {
    let (context, data_key) = (context(), DataKey::random().unwrap());
    let text = keyset("a", &["a"]);
    let old = || parse(&text).unwrap();
    let new = || parse(&keyset("b", &["b"])).unwrap().with_id("next").unwrap();
    let wrapped = old().wrap(&context, &data_key).await.unwrap();
    let both = FallbackUnwrap::new(new(), old()).unwrap();
    assert!(both.unwrap(&context, &wrapped).await.unwrap().ct_eq(&data_key));
    let again = both.rewrap(&context, &wrapped).await.unwrap().unwrap();
    assert_eq!(again.kek().as_str(), "next:b");
    assert!(new().unwrap(&context, &again).await.unwrap().ct_eq(&data_key));
    assert!(both.rewrap(&context, &again).await.unwrap().is_none());
    assert_eq!(old().unwrap(&context, &again).await.unwrap_err().kind(), ErrorKind::Unconfigured);
    let organization = OrganizationId::from_i64(1).unwrap();
    assert_eq!(both.destroy(&organization).await.unwrap(), KeyDestruction::Shared);

    let clash = FallbackUnwrap::new(old(), LocalKeyring::random().unwrap()).unwrap_err();
    assert_eq!(clash.kind(), ErrorKind::Invalid);
    let nested = FallbackUnwrap::new(old(), both).unwrap_err();
    assert_eq!(nested.kind(), ErrorKind::Invalid);
}

#[test]
fn a_keyset_that_is_not_whole_and_fit_is_refused_without_showing_it() {
    let whole = keyset("a", &["a", "b"]);
    parse(&whole).unwrap();
    let planted = key('a');
    let mut unfit = vec![
        String::new(),
        "{}".to_owned(),
        whole.replace("active", "Active"),
        whole.replace(r#""active":"a""#, r#""active":"c""#),
        whole.replace(r#""id":"b""#, r#""id":"a""#),
        whole.replace(&key('b'), &planted),
        whole.replace(&planted, &planted[..40]),
        whole.replace(&planted, &format!("{}\u{e4}", &planted[..40])),
        whole.replace(&planted, &BASE64.encode([7; 32])),
        whole.replace(&planted, &BASE64.encode([7; 31])),
        whole.replace(r#""id":"a""#, r#""id":"""#),
        whole.replace(r#""id":"a""#, r#""id":"a b""#),
        whole.replace(r#""keys""#, &format!(r#""{planted}":1,"keys""#)),
        whole.replace(&format!("\"{planted}\""), &format!("[\"{planted}\"]")),
        format!("{whole}{whole}"),
        format!("{whole}{}", " ".repeat(MAX_KEYSET)),
        keyset("a", &[]),
    ];
    // A file that was only half written, at every place.
    unfit.extend((0..whole.len()).map(|at| whole[..at].to_owned()));
    for text in unfit {
        let error = parse(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&planted[..12]), "{shown}");
        assert!(std::error::Error::source(&error).is_none());
    }
}

#[cfg(unix)]
#[test]
fn a_keyring_file_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    let refused = |path: &Path, what: &str| {
        let error = LocalKeyring::open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured);
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(&path, "does not exist");
    refused(folder.path(), "is not a regular file");
    std::fs::write(&path, keyset("a", &["a"])).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666, 0o777] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        refused(&path, "is open to others than its owner");
    }
    for mode in [0o600, 0o400] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        LocalKeyring::open(&path).unwrap();
    }
    // Nobody ever writes into the pipe.
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused(&pipe, "is not a regular file");
    // What a name leads to counts, not the link.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&link, "is open to others than its owner");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "{\"active\":").unwrap();
    assert_eq!(LocalKeyring::open(&path).unwrap_err().kind(), ErrorKind::Invalid);
    std::fs::write(&path, vec![b' '; 2 * MAX_KEYSET]).unwrap();
    assert_eq!(LocalKeyring::open(&path).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_keyset_comes_from_the_environment() {
    let missing = LocalKeyring::from_env("TENANTRY_NO_SUCH_VARIABLE").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Unconfigured);
    // A variable that every test process has, and that holds no keyset.
    assert_eq!(LocalKeyring::from_env("PATH").unwrap_err().kind(), ErrorKind::Invalid);
}

#[cfg(unix)]
#[tokio::test]
async fn a_keyset_comes_from_a_program_in_its_time() {
    let run = async |program: &str, arguments: &[&str], timeout: Duration| {
        LocalKeyring::from_command(program, arguments, timeout).await
    };
    let (long, text) = (Duration::from_secs(60), keyset("a", &["a"]));
    // No shell reads the argument: what would be a command to one is a part of the text.
    let quoted = text.replace(r#""id":"a""#, r#""id":"$(id)`id`;a""#);
    let keyring = run("printf", &["%s", &text], long).await.unwrap();
    assert_eq!(keyring.active().await.unwrap().as_str(), "local:a");
    let error = run("printf", &["%s", &quoted], long).await.unwrap_err();
    assert_eq!(error.to_string(), "the active key of a keyset is not in it");

    let error = run("tenantry-no-such-program", &[], long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    let error = run("false", &[], long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = run("sleep", &["600"], Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // It prints without end.
    let error = run("yes", &[], Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{error}");
    // A keyset that a failing program printed is not believed, and is in no error.
    let script = format!("printf '%s' '{text}'; printf '%s' '{text}' >&2; exit 3");
    let error = run("sh", &["-c", &script], long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error} {error:?}").contains(&key('a')));
}

#[test]
fn debug_shows_the_ids_alone() {
    let shown = format!("{:?}", parse(&keyset("b", &["a", "b"])).unwrap());
    assert_eq!(
        shown,
        "LocalKeyring { active: KekId(\"local:b\"), keys: {\"a\": SecretBytes([redacted]), \
         \"b\": SecretBytes([redacted])} }"
    );
}

#[test]
fn ids_of_keys_are_plain_words() {
    for (provider, key) in
        [("", "a"), ("A", "a"), ("a:b", "a"), ("a", ""), ("a", "a b"), ("a", "\u{e4}")]
    {
        assert_eq!(KekId::new(provider, key).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(KekId::new(&"a".repeat(33), "a").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(KekId::new("a", &"a".repeat(321)).unwrap_err().kind(), ErrorKind::Invalid);
    let id = KekId::parse("aws-kms:arn:aws:kms:eu-west-1:111122223333:key/1").unwrap();
    assert_eq!(id.provider(), "aws-kms");
    assert_eq!(id.key(), "arn:aws:kms:eu-west-1:111122223333:key/1");
    for text in ["", "local", ":a", "local:"] {
        assert_eq!(KekId::parse(text).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let kek = KekId::new("local", "a").unwrap();
    for length in [0, WrappedKey::MAX_BYTES + 1] {
        let error = WrappedKey::new(kek.clone(), vec![0; length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    let shown = format!("{:?}", WrappedKey::new(kek, vec![7; 40]).unwrap());
    assert_eq!(shown, "WrappedKey { kek: KekId(\"local:a\"), .. }");
}
