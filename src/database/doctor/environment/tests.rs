use super::*;
use crate::database::doctor::Severity;

/// Values of the shapes, made of nothing.
fn token(prefix: &str) -> String {
    format!("{prefix}{}", "aB3".repeat(20))
}

fn jwt(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(r#"{"alg":"HS256"}"#), part(claims), part("signature"))
}

fn of(name: &str, value: &str) -> Report {
    EnvironmentCheck::new().variables([(name, value)]).report()
}

fn only(report: &Report) -> &Finding {
    match report.findings() {
        [finding] => finding,
        _ => panic!("{report}"),
    }
}

#[test]
fn a_tenant_credential_in_a_variable_is_reported_by_name_and_kind_alone() {
    for (value, kind) in [
        (token("shpat_"), "a Shopify access token"),
        (token("shpca_"), "a Shopify access token"),
        (token("shppa_"), "a Shopify access token"),
        (token("shpua_"), "a Shopify access token"),
        (token("shprt_"), "a Shopify refresh token"),
        (token("EAA"), "a Meta access token"),
        (token("ya29.a0_"), "a Google access token"),
        (token("1//0"), "a Google refresh token"),
        (jwt(r#"{"org":"1","orgName":"acme"}"#), "a Kustomer API key"),
    ] {
        for holder in [
            value.clone(),
            format!("Bearer {value}"),
            format!("'{value}'"),
            format!(r#"{{"shop":"acme","token":"{value}"}}"#),
            format!("https://example.com/?access_token={value}&v=1"),
            format!("acme:{value},other:x"),
        ] {
            let report = of("ACME_TOKEN", &holder);
            let finding = only(&report);
            assert_eq!(finding.code(), "environment-tenant-credential");
            assert_eq!((finding.severity(), finding.object()), (Severity::Fatal, "ACME_TOKEN"));
            assert!(finding.advice().contains(kind) && finding.advice().contains("store"));
            assert!(!report.is_safe());
            let json = serde_json::to_string(&report).unwrap();
            let error = report.refusal().unwrap();
            for shown in [format!("{report} {report:?} {error} {error:?}"), json] {
                for part in value.as_bytes().windows(8) {
                    let part = std::str::from_utf8(part).unwrap();
                    assert!(!shown.contains(part), "{part} of {value} in {shown}");
                }
            }
        }
    }
}

#[test]
fn credentials_of_the_application_and_look_alikes_pass() {
    for (name, value) in [
        ("SHOPIFY_CLIENT_ID", "0123456789abcdef0123456789abcdef".to_owned()),
        ("SHOPIFY_CLIENT_SECRET", token("shpss_")),
        ("GOOGLE_CLIENT_SECRET", token("GOCSPX-")),
        ("GOOGLE_CLIENT_ID", "1-a.apps.googleusercontent.com".to_owned()),
        ("GOOGLE_API_KEY", token("AIza")),
        ("META_APP_ACCESS_TOKEN", "123456|0123456789abcdef".to_owned()),
        ("DATABASE_URL", "postgres://app:secret@localhost/app".to_owned()),
        ("SESSION_KEY", jwt(r#"{"role":"anon"}"#)),
        ("KUSTOMER_JWT", "eyJ0eXAi.not-json.x".to_owned()),
        ("KUSTOMER_TEXT", "eyJub3QgYSB0b2tlbg".to_owned()),
        ("EXAMPLE", "shpat_… is a token".to_owned()),
        ("WORD", "EAAsy".to_owned()),
        ("INSIDE", token("xshpat_")),
        ("INSIDE_BASE64", format!("abc{}", token("EAA"))),
        ("URL", "https://example.com/1//0/x".to_owned()),
        ("EMPTY", String::new()),
    ] {
        let report = of(name, &value);
        assert_eq!(report.findings(), [], "{name}");
        assert!(report.is_safe() && report.refusal().is_none());
    }
}

#[test]
fn a_web_token_is_kustomers_by_the_name_of_its_variable() {
    let key = jwt(r#"{"sub":"1"}"#);
    assert!(only(&of("kustomer_api_key", &key)).advice().contains("Kustomer"));
    assert_eq!(of("SESSION", &key).findings(), []);
}

#[test]
fn names_that_are_tokens_or_no_text_are_not_shown() {
    let value = token("shpat_");
    assert_eq!(only(&of(&value, &value)).object(), "[redacted]");
    let object = of("A\u{1b}[2J\nB", &value).findings()[0].object().to_owned();
    assert!(object.chars().all(|c| !c.is_control()), "{object:?}");
    let object = of(&"N".repeat(5_000), &value).findings()[0].object().to_owned();
    assert_eq!(object.len(), 128);
}

#[test]
fn variables_of_several_kinds_are_reported_once_for_each() {
    let value = [token("shpat_"), token("shpat_"), token("EAA")].join(";");
    let report = EnvironmentCheck::new().variables([("A", &value), ("B", &value)]).report();
    let objects: Vec<_> = report.findings().iter().map(Finding::object).collect();
    assert_eq!(objects, ["A", "A", "B", "B"]);
}

#[test]
fn a_file_is_examined_line_by_line_comments_and_long_values_included() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    let text = [
        "# settings".to_owned(),
        format!("SHOPIFY_CLIENT_SECRET={}", token("shpss_")),
        format!("export ACME_TOKEN = \"{}\"\r", token("shpat_")),
        format!("#OLD_TOKEN={}", token("EAA")),
        "GOOGLE='{".to_owned(),
        format!("  \"refresh_token\": \"{}\"", token("1//0")),
        "}'".to_owned(),
        "LAST=x".to_owned(),
    ]
    .join("\n");
    std::fs::write(&path, [text.as_bytes(), b"\n\xff\xfe=\xff"].concat()).unwrap();
    let report = EnvironmentCheck::new().file(&path).unwrap().report();
    let objects: Vec<_> = report.findings().iter().map(Finding::object).collect();
    assert_eq!(objects, [".env/ACME_TOKEN", ".env/GOOGLE", ".env/OLD_TOKEN"]);

    // A line of a value in base64 is no name, nor is what another program would call one.
    for part in ["c2VjcmV0cGFydA==", "c2VjcmV0cGFydDE=", "c2VjcmV0-cGFydD.E=x", &"N".repeat(65)] {
        let text = ["KEY=\"begin", part, &token("shpat_"), "\""].join("\n");
        std::fs::write(&path, text).unwrap();
        let report = EnvironmentCheck::new().file(&path).unwrap().report();
        let object = if part.contains('=') { ".env/line 3" } else { ".env/KEY" };
        assert_eq!(only(&report).object(), object);
        let line = format!("{}={}", part.trim_end_matches('='), token("shpat_"));
        std::fs::write(&path, line).unwrap();
        let report = EnvironmentCheck::new().file(&path).unwrap().report();
        let certain = part.starts_with("c2VjcmV0cGFyd");
        assert_eq!(only(&report).object() == ".env/line 1", !certain, "{report}");
    }
    let kustomers = format!("kustomer.api-key={}", jwt(r#"{"sub":"1"}"#));
    std::fs::write(&path, kustomers).unwrap();
    let report = EnvironmentCheck::new().file(&path).unwrap().report();
    assert!(only(&report).advice().contains("Kustomer"));

    std::fs::write(&path, token("shpat_")).unwrap();
    let report = EnvironmentCheck::new().file(&path).unwrap().report();
    assert_eq!(only(&report).object(), ".env/line 1");

    let error = EnvironmentCheck::new().file(dir.path().join("absent")).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unconfigured);
    assert!(!format!("{error:?}").contains("absent"));
}

#[test]
fn a_finding_can_be_accepted_and_an_unused_acceptance_is_a_finding() {
    let accept = |name| Acceptance::new("environment-tenant-credential", name);
    let value = token("shpat_");
    let report = EnvironmentCheck::new()
        .variables([("DEMO_SHOP_TOKEN", &value)])
        .accept(accept("DEMO_SHOP_TOKEN"))
        .report();
    assert!(report.is_safe() && report.findings().is_empty());
    assert_eq!(report.accepted().len(), 1);
    let report = EnvironmentCheck::new().accept(accept("GONE")).report();
    assert_eq!(only(&report).code(), "acceptance-unused");
}
