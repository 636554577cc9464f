//! Credentials of organizations that lie in the environment of the process.
//!
//! Tokens are recognised by the shapes that their providers gave them, wherever in a value they
//! stand. Shopify's prefixes: <https://shopify.dev/changelog/length-of-the-shopify-access-token-is-increasing>.
//! Those of Meta (`EAA`) and Google (`ya29.`, `1//0`) are known from use and promised by nobody.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::report::{Acceptance, Finding, Report};
use super::rules;
use crate::error::{Error, Result};

/// The check of the environment: what an application reads at its start must hold its own
/// credentials and no organization's.
///
/// A token of one organization in an environment variable or a `.env` file serves whatever
/// organization the program happens to work for, without a scope. Each one found is a fatal
/// [`Finding`] that says where it belongs. The application's own credentials (client ids, client
/// secrets such as Shopify's `shpss_…` and Google's `GOCSPX-…`, keys of databases) are expected
/// there and pass.
///
/// What is examined is handed over; the check reads no environment by itself.
///
/// # Security
///
/// A finding names the variable and the kind of token, and no part of its value; in a file it names
/// the line instead wherever a line of a value could pass for a name. Only the shapes of
/// known providers are recognised: no finding is no proof.
///
/// # Examples
///
/// ```
/// use tenantry::database::doctor::EnvironmentCheck;
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let env_file = dir.path().join(".env");
/// # std::fs::write(&env_file, "SHOPIFY_CLIENT_SECRET=shpss_00000000000000000000000000000000\n").unwrap();
/// let report = EnvironmentCheck::new()
///     .variables(std::env::vars_os())
///     .file(&env_file)?
///     .report();
/// assert!(report.is_safe(), "{report}");
///
/// let token = format!("shpat_{}", "0".repeat(32));
/// let report = EnvironmentCheck::new().variables([("ACME_TOKEN", &token)]).report();
/// assert_eq!(report.findings()[0].object(), "ACME_TOKEN");
/// assert!(!report.to_string().contains(&token));
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a check tells nothing until it is asked for its report"]
pub struct EnvironmentCheck {
    /// What was found where, each once: the object and the kind.
    found: BTreeSet<(String, &'static str)>,
    accepted: Vec<Acceptance>,
}

impl EnvironmentCheck {
    /// A check that has examined nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Examines variables: those of the process are `std::env::vars_os()`.
    pub fn variables<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        for (name, value) in variables {
            let (name, value) =
                (name.as_ref().as_encoded_bytes(), value.as_ref().as_encoded_bytes());
            self.examine(name, value, || shown(name));
        }
        self
    }

    /// Examines a file of lines `NAME=value`, such as `.env`, comments included: what is commented
    /// out can be read all the same.
    ///
    /// # Errors
    ///
    /// `Unconfigured` where the file cannot be read, one that does not exist included.
    pub fn file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
            Error::unconfigured("the file to be examined for credentials cannot be read")
                .with_source(error)
        })?;
        let file = shown(path.file_name().unwrap_or_default().as_encoded_bytes());
        // A value of several lines belongs to the name above it.
        let (mut name, mut known): (&[u8], bool) = (b"", false);
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if let Some((assigned, value)) = assignment(line) {
                (name, known) = (assigned, is_certain(assigned, value));
            }
            self.examine(name, line, || match known {
                true => format!("{file}/{}", shown(name)),
                false => format!("{file}/line {number}"),
            });
        }
        Ok(self)
    }

    /// Accepts the finding of this code on this object, as
    /// [`DatabaseBuilder::accept`](crate::database::DatabaseBuilder::accept) does.
    pub fn accept(mut self, acceptance: Acceptance) -> Self {
        self.accepted.push(acceptance);
        self
    }

    /// What was found.
    #[must_use]
    pub fn report(self) -> Report {
        let findings = self.found.into_iter().map(|(object, kind)| {
            Finding::new(&rules::ENVIRONMENT_TENANT_CREDENTIAL, object).with_advice(format!(
                "it holds what looks like {kind}: store it in the credential store, under the \
                 scope of the organization that it belongs to, take it out of here, and have the \
                 provider renew it, because child processes, dumps and logs may have it by now"
            ))
        });
        Report::new(findings.collect(), &self.accepted, true, "environment-")
    }

    fn examine(&mut self, name: &[u8], value: &[u8], object: impl Fn() -> String) {
        for kind in kinds(name, value) {
            self.found.insert((object(), kind));
        }
    }
}

/// A token that begins with a prefix and goes on in its alphabet.
struct Shape {
    prefix: &'static str,
    /// What occurs in it beside letters and digits.
    marks: &'static [u8],
    least: usize,
    kind: &'static str,
}

/// `shpss_` is not among them: it begins an application's client secret.
const SHAPES: &[Shape] = &[
    Shape { prefix: "shpat_", marks: b"_", least: 16, kind: "a Shopify access token" },
    Shape { prefix: "shpca_", marks: b"_", least: 16, kind: "a Shopify access token" },
    Shape { prefix: "shppa_", marks: b"_", least: 16, kind: "a Shopify access token" },
    Shape { prefix: "shpua_", marks: b"_", least: 16, kind: "a Shopify access token" },
    Shape { prefix: "shprt_", marks: b"_", least: 16, kind: "a Shopify refresh token" },
    Shape { prefix: "EAA", marks: b"", least: 40, kind: "a Meta access token" },
    Shape { prefix: "ya29.", marks: b"_-.", least: 20, kind: "a Google access token" },
    Shape { prefix: "1//0", marks: b"_-", least: 20, kind: "a Google refresh token" },
];

/// The kinds of tenant credentials in a value.
fn kinds(name: &[u8], value: &[u8]) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    for at in 0..value.len() {
        let (before, rest) = value.split_at(at);
        if before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            continue;
        }
        for shape in SHAPES {
            let Some(rest) = rest.strip_prefix(shape.prefix.as_bytes()) else { continue };
            if run(rest, shape.marks).len() >= shape.least {
                kinds.insert(shape.kind);
            }
        }
        if rest.starts_with(b"eyJ") && is_kustomer_key(name, run(rest, b"_-.")) {
            kinds.insert("a Kustomer API key");
        }
    }
    kinds
}

fn run<'v>(value: &'v [u8], marks: &[u8]) -> &'v [u8] {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || marks.contains(byte);
    value.split(|byte| !inside(byte)).next().unwrap_or_default()
}

/// API keys of Kustomer are JSON Web Tokens, which applications have of their own too: what tells is
/// the variable's name, or the organization's name among the claims.
fn is_kustomer_key(name: &[u8], token: &[u8]) -> bool {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [_, claims, signature] = parts[..] else { return false };
    let Ok(claims) = URL_SAFE_NO_PAD.decode(claims).map(Zeroizing::new) else { return false };
    let Ok(claims) = serde_json::from_slice::<serde_json::Value>(&claims) else { return false };
    let named = name.to_ascii_lowercase().windows(8).any(|word| word == b"kustomer");
    !signature.is_empty() && (named || claims.get("orgName").is_some())
}

/// The name that a line assigns to, commented out or not, and the value; or what looks like that.
fn assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = line.split_at_checked(at)?;
    let (name, value) = (name.trim_ascii(), value.get(1..)?.trim_ascii());
    let name = name.strip_prefix(b"#").unwrap_or(name).trim_ascii();
    let name = name.strip_prefix(b"export ").unwrap_or(name).trim_ascii();
    let first = name.first()?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    (!first.is_ascii_digit() && name.iter().all(plain)).then_some((name, value))
}

/// Whether an assignment is one, and not a line of a value that ends in the padding of base64: of a
/// secret nothing is shown, as a name neither.
fn is_certain(name: &[u8], value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.len() <= MOST_CERTAIN && name.iter().all(plain) && !matches!(value, [] | [b'=', ..])
}

/// A name as it can be shown: one that is itself a token is not.
fn shown(name: &[u8]) -> String {
    if !kinds(b"", name).is_empty() {
        return "[redacted]".to_owned();
    }
    let name = String::from_utf8_lossy(name);
    name.chars().take(MOST_SHOWN).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

const MOST_SHOWN: usize = 128;
const MOST_CERTAIN: usize = 64;

#[cfg(test)]
mod tests;
