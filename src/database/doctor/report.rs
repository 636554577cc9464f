//! What the doctor hands out: findings, acceptances, the report.

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::rules::{self, Rule};
use crate::error::Error;

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// It can fool a predicate, or lets one organization affect or detect another: the database
    /// is not opened.
    Fatal,
    /// The database differs from its declaration without opening a way between organizations.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fatal => "fatal",
            Self::Warning => "warning",
        })
    }
}

/// One thing that the doctor found.
///
/// `code` and `object` together are what an [`Acceptance`] names. The codes are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    code: &'static str,
    severity: Severity,
    object: String,
    gain: String,
    advice: String,
    caution: String,
    remedy: Vec<String>,
}

impl Finding {
    pub(super) fn new(rule: &'static Rule, object: impl Into<String>) -> Self {
        Self {
            code: rule.code,
            severity: rule.severity,
            object: object.into(),
            gain: rule.gain.to_owned(),
            advice: String::new(),
            caution: String::new(),
            remedy: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    #[must_use]
    pub(super) fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    #[must_use]
    pub(super) fn with_caution(mut self, caution: impl Into<String>) -> Self {
        self.caution = caution.into();
        self
    }

    #[must_use]
    pub(super) fn with_remedy(mut self, remedy: Vec<String>) -> Self {
        self.remedy = remedy;
        self
    }

    /// The same with a remedy that is whole or not at all, after `set_up`.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub(super) fn in_one_transaction(mut self, set_up: &str) -> Self {
        if !self.remedy.is_empty() {
            let first = ["BEGIN".to_owned(), set_up.to_owned()];
            self.remedy.splice(0..0, first);
            self.remedy.push("COMMIT".to_owned());
        }
        self
    }

    /// The stable code, such as `sqlite-unique-not-per-organization`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// What it is about: a table (`orders`), a column (`orders.email`), an index, trigger or
    /// foreign key of a table (`orders/orders_email`), a view, or a setting.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// What an attacker or a neighbouring organization gains by it, in one sentence.
    #[must_use]
    pub fn gain(&self) -> &str {
        &self.gain
    }

    /// What is the matter here, and what to do where no SQL alone can mend it.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// What the [`remedy`](Self::remedy) needs or costs; empty where it is plain.
    #[must_use]
    pub fn caution(&self) -> &str {
        &self.caution
    }

    /// The statements that mend it, in order, to be run on one connection while nothing else
    /// writes. Empty where only the application can mend it; [`advice`](Self::advice) says how.
    ///
    /// Findings on one table share one remedy where the table has to be rebuilt.
    #[must_use]
    pub fn remedy(&self) -> &[String] {
        &self.remedy
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on `{}`: {}", self.severity, self.code, self.object, self.gain)
    }
}

/// A finding that the operator knows of and takes responsibility for.
///
/// # Security
/// An accepted fatal finding no longer keeps the database closed: what its
/// [`gain`](Finding::gain) says is then possible. One that matches nothing is itself a finding,
/// so that acceptances do not outlive their reason.
///
/// ```
/// use tenantry::database::doctor::Acceptance;
///
/// let acceptance = Acceptance::new("sqlite-trigger", "orders/orders_touch");
/// assert_eq!(acceptance.object(), "orders/orders_touch");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acceptance {
    code: Cow<'static, str>,
    object: Cow<'static, str>,
}

impl Acceptance {
    /// Accepts the finding of this code on this object.
    pub fn new(code: impl Into<Cow<'static, str>>, object: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), object: object.into() }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The object, in any case of its ASCII letters.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    pub(super) fn covers(&self, code: &str, object: &str) -> bool {
        self.code == code && self.object.eq_ignore_ascii_case(object)
    }
}

/// What an examination found.
///
/// `Display` is a table of the findings followed by their remedies; serde gives the same as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    findings: Vec<Finding>,
    accepted: Vec<Finding>,
}

impl Report {
    /// Sorts findings into open and accepted ones, fatal ones first. `deep` says whether the rows
    /// were examined too: an acceptance of what only rows can show is not unused before that.
    /// `store` is how the codes of the examined store begin.
    pub(super) fn new(
        all: Vec<Finding>,
        acceptances: &[Acceptance],
        deep: bool,
        store: &str,
    ) -> Self {
        let covered = |finding: &Finding| {
            acceptances.iter().any(|acceptance| acceptance.covers(finding.code, &finding.object))
        };
        let unused = acceptances
            .iter()
            .filter(|acceptance| {
                let of_other_store = ["postgres-", "sqlite-"]
                    .iter()
                    .any(|other| *other != store && acceptance.code.starts_with(other));
                let unseen =
                    !deep && rules::NEED_ROWS.iter().any(|rule| rule.code == acceptance.code);
                !of_other_store
                    && !unseen
                    && !all.iter().any(|finding| acceptance.covers(finding.code, &finding.object))
            })
            .map(|acceptance| {
                Finding::new(&rules::ACCEPTANCE_UNUSED, acceptance.object.clone()).with_advice(
                    format!(
                        "nothing of code `{}` was found on `{}`: remove the acceptance",
                        acceptance.code, acceptance.object
                    ),
                )
            })
            .collect::<Vec<_>>();
        let (accepted, mut findings): (Vec<_>, Vec<_>) = all.into_iter().partition(covered);
        findings.extend(unused);
        // Stable: findings of one severity keep the order parents first, in which remedies apply.
        findings.sort_by_key(|finding| finding.severity);
        Self { findings, accepted }
    }

    /// The findings that are not accepted: fatal ones first, and referenced tables before those
    /// that refer to them, which is the order in which remedies are to be run.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings that were accepted.
    #[must_use]
    pub fn accepted(&self) -> &[Finding] {
        &self.accepted
    }

    /// The fatal findings that are not accepted.
    pub fn fatal(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Fatal)
    }

    /// Whether nothing fatal was found, or all of it accepted.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.fatal().next().is_none()
    }

    #[cfg(test)]
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.refusal_but_for(|_| false)
    }

    /// Why the database is not opened; `None` where it may be. What is `tolerated` does not count.
    pub(crate) fn refusal_but_for(&self, tolerated: impl Fn(&Finding) -> bool) -> Option<Error> {
        let fatal: Vec<&Finding> = self.fatal().filter(|finding| !tolerated(finding)).collect();
        if fatal.is_empty() {
            return None;
        }
        let mut text = format!(
            "the doctor finds the database unsafe: {}",
            count(fatal.len(), "fatal finding")
        );
        for finding in &fatal {
            text.push_str(&format!(
                "\n  {} on `{}`: {}",
                finding.code, finding.object, finding.gain
            ));
        }
        for remedy in Remedy::group(fatal.iter().copied()) {
            text.push_str(&format!(
                "\n  remedy for {}: {}",
                remedy.objects(),
                remedy.notes.join("; ")
            ));
            if !remedy.statements.is_empty() {
                text.push_str(&format!("\n    {};", remedy.statements.join(";\n    ")));
            }
        }
        Some(Error::unconfigured(text))
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_struct("Report", 3)?;
        report.serialize_field("safe", &self.is_safe())?;
        report.serialize_field("findings", &self.findings)?;
        report.serialize_field("accepted", &self.accepted)?;
        report.end()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fatal = self.fatal().count();
        let warnings = self.findings.len() - fatal;
        write!(f, "{}, {}", count(fatal, "fatal finding"), count(warnings, "warning"))?;
        if !self.accepted.is_empty() {
            write!(f, ", {} accepted", self.accepted.len())?;
        }
        if self.findings.is_empty() && self.accepted.is_empty() {
            return Ok(());
        }
        f.write_str("\n\n")?;
        let rows = || self.findings.iter().chain(&self.accepted);
        let code = rows().map(|finding| finding.code.len()).max().unwrap_or(0).max("code".len());
        let object = rows()
            .map(|finding| finding.object.chars().count())
            .max()
            .unwrap_or(0)
            .max("object".len());
        writeln!(f, "severity  {:code$}  {:object$}  gain", "code", "object")?;
        for finding in &self.findings {
            let (severity, gain) = (finding.severity, &finding.gain);
            writeln!(
                f,
                "{severity:8}  {:code$}  {:object$}  {gain}",
                finding.code, finding.object
            )?;
        }
        for finding in &self.accepted {
            let gain = &finding.gain;
            writeln!(f, "accepted  {:code$}  {:object$}  {gain}", finding.code, finding.object)?;
        }
        for remedy in Remedy::group(self.findings.iter()) {
            writeln!(f, "\nremedy for {}", remedy.objects())?;
            for note in &remedy.notes {
                writeln!(f, "  - {note}")?;
            }
            for statement in remedy.statements {
                writeln!(f, "    {statement};")?;
            }
        }
        Ok(())
    }
}

/// Findings that one list of statements mends.
struct Remedy<'r> {
    findings: Vec<&'r Finding>,
    notes: Vec<&'r str>,
    statements: &'r [String],
}

impl<'r> Remedy<'r> {
    fn group(findings: impl Iterator<Item = &'r Finding>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for finding in findings {
            let known = groups
                .iter_mut()
                .find(|group| !group.statements.is_empty() && group.statements == finding.remedy);
            let group = match known {
                Some(group) => group,
                None => {
                    groups.push(Self {
                        findings: Vec::new(),
                        notes: Vec::new(),
                        statements: &finding.remedy,
                    });
                    match groups.last_mut() {
                        Some(group) => group,
                        None => continue,
                    }
                }
            };
            group.findings.push(finding);
            group.note(&finding.advice);
        }
        for group in &mut groups {
            for finding in group.findings.clone() {
                group.note(&finding.caution);
            }
        }
        groups
    }

    fn note(&mut self, note: &'r str) {
        if !note.is_empty() && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn objects(&self) -> String {
        let named: Vec<String> = self
            .findings
            .iter()
            .map(|finding| format!("`{}` ({})", finding.object, finding.code))
            .collect();
        named.join(", ")
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
