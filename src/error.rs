//! The one error of the crate: an opaque [`Error`], and the [`ErrorKind`] by which callers decide.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
///
/// An error says what the caller can do about it ([`kind`](Error::kind)), where it happened
/// ([`table`](Error::table), [`column`](Error::column), [`row`](Error::row)) and what lay beneath
/// ([`source`](std::error::Error::source)). It is one pointer wide.
///
/// # Security
///
/// `Display` and `Debug` show no statement text, no secret and no value of another organization.
/// `Debug` adds the kind to what `Display` prints; of the sources it shows no more than their
/// `Display`.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::error::ErrorKind;
///
/// let error = OrganizationId::from_i64(0).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.http_status(), 422);
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    table: Option<Cow<'static, str>>,
    column: Option<Cow<'static, str>>,
    row: Option<usize>,
    retryable: bool,
    retry_after: Option<Duration>,
    recorded: bool,
    source: Option<Source>,
}

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The state of the organization's own data forbids it: a taken key, a referenced row.
    Conflict,
    /// Stored data cannot be read back as what it was stored as.
    Corrupt,
    /// The principal or scope may not do this, or may no longer.
    Denied,
    /// A wall of isolation was found breached; nothing was returned.
    Incident,
    /// A defect of this crate.
    Internal,
    /// The input is not acceptable as it stands.
    Invalid,
    /// The calling code is wrong, whatever the input.
    Misuse,
    /// There is no such thing in the organization.
    NotFound,
    /// An allowance of the organization is used up.
    QuotaExceeded,
    /// Too many requests in a short time.
    RateLimited,
    /// The connection with the provider must be authorized anew by a person.
    ReconnectRequired,
    /// The organization's keys were destroyed, as it asked: its sealed values are gone for good.
    Shredded,
    /// Nobody is signed in.
    Unauthenticated,
    /// Something that is needed does not answer now.
    Unavailable,
    /// Something that is needed was not set up.
    Unconfigured,
}

impl Error {
    /// Reports that something beneath an open trait did not answer: for those who implement
    /// [`Directory`](crate::scope::Directory), [`AuditSink`](crate::audit::AuditSink) or
    /// [`KeyProvider`](crate::crypto::KeyProvider).
    ///
    /// The error is [`Unavailable`](ErrorKind::Unavailable) and retryable.
    ///
    /// # Security
    ///
    /// The message and the `Display` of the source appear in logs; keep secrets out of both.
    ///
    /// # Examples
    ///
    /// ```
    /// use tenantry::Error;
    ///
    /// let error = Error::outage("the member table did not answer", "connection reset");
    /// assert_eq!(error.http_status(), 503);
    /// assert!(error.is_retryable());
    /// ```
    pub fn outage(message: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        let mut error = Self::unavailable(message);
        error.0.source = Some(source.into());
        error
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status that suits the kind.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self.0.kind {
            ErrorKind::Unauthenticated => 401,
            ErrorKind::Denied => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::Shredded => 410,
            ErrorKind::Invalid => 422,
            ErrorKind::ReconnectRequired => 424,
            ErrorKind::QuotaExceeded | ErrorKind::RateLimited => 429,
            ErrorKind::Unavailable | ErrorKind::Unconfigured => 503,
            ErrorKind::Corrupt | ErrorKind::Incident | ErrorKind::Internal | ErrorKind::Misuse => {
                500
            }
        }
    }

    /// Whether the same call may succeed when it is made again, unchanged, a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long to wait before the call is made again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The table that the error is about.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }

    /// The column that the error is about; several are joined by commas.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }

    /// The index of the row that the error is about, in a batch.
    #[must_use]
    pub fn row(&self) -> Option<usize> {
        self.0.row
    }
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            table: None,
            column: None,
            row: None,
            retryable: matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable),
            retry_after: None,
            recorded: false,
            source: None,
        }))
    }

    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub(crate) fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// One text for every refusal, so that none tells more than another.
    #[cold]
    pub(crate) fn denied() -> Self {
        Self::new(ErrorKind::Denied, "access is denied")
    }

    #[cold]
    pub(crate) fn incident(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Incident, message)
    }

    #[cold]
    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    #[cold]
    pub(crate) fn misuse(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Misuse, message)
    }

    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The one error for a row that is missing and for a row of another organization.
    pub(crate) fn row_not_found(table: &'static str) -> Self {
        Self::not_found("no such row").at_table(table)
    }

    #[cold]
    pub(crate) fn shredded() -> Self {
        Self::new(ErrorKind::Shredded, "the organization's keys were destroyed")
    }

    #[cold]
    pub(crate) fn unauthenticated() -> Self {
        Self::new(ErrorKind::Unauthenticated, "nobody is signed in")
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn unconfigured(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unconfigured, message)
    }

    #[must_use]
    pub(crate) fn at_table(mut self, table: impl Into<Cow<'static, str>>) -> Self {
        self.0.table = Some(table.into());
        self
    }

    #[must_use]
    pub(crate) fn at_column(mut self, column: impl Into<Cow<'static, str>>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    #[must_use]
    pub(crate) fn at_row(mut self, row: usize) -> Self {
        self.0.row = Some(row);
        self
    }

    /// Trying again may do twice what was asked for once.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub(crate) fn not_retryable(mut self) -> Self {
        self.0.retryable = false;
        self
    }

    #[must_use]
    pub(crate) fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    #[must_use]
    pub(crate) fn retry_after_of(mut self, wait: Duration) -> Self {
        self.0.retryable = true;
        self.0.retry_after = Some(wait);
        self
    }

    /// Whether it is an incident that nobody has acted on yet.
    pub(crate) fn is_new_incident(&self) -> bool {
        self.0.kind == ErrorKind::Incident && !self.0.recorded
    }

    /// It was acted on: whoever passes it on does not do so again.
    #[must_use]
    pub(crate) fn recorded(mut self) -> Self {
        self.0.recorded = true;
        self
    }

    #[must_use]
    pub(crate) fn with_source(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut lead = " (";
        if let Some(table) = self.table() {
            write!(f, "{lead}table `{table}`")?;
            lead = ", ";
        }
        if let Some(column) = self.column() {
            write!(f, "{lead}column `{column}`")?;
            lead = ", ";
        }
        if let Some(row) = self.row() {
            write!(f, "{lead}row {row}")?;
            lead = ", ";
        }
        f.write_str(if lead == ", " { ")" } else { "" })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Shown<'a>(&'a dyn fmt::Display);
        impl fmt::Debug for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{}\"", self.0)
            }
        }

        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.0.kind).field("message", &Shown(self));
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            shown.field("source", &Shown(&error));
            cause = error.source();
        }
        shown.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Incident => "incident",
            Self::Internal => "internal",
            Self::Invalid => "invalid",
            Self::Misuse => "misuse",
            Self::NotFound => "not found",
            Self::QuotaExceeded => "quota exceeded",
            Self::RateLimited => "rate limited",
            Self::ReconnectRequired => "reconnect required",
            Self::Shredded => "shredded",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unconfigured => "unconfigured",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source whose `Debug` holds what its `Display` hides.
    #[derive(Debug)]
    struct Chatty {
        _secret: &'static str,
    }

    impl fmt::Display for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("connection reset")
        }
    }

    impl std::error::Error for Chatty {}

    #[test]
    fn error_is_one_pointer_wide_and_travels_between_threads() {
        fn travels<T: Send + Sync + 'static>() {}
        travels::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn display_prints_its_own_layer_with_the_place() {
        assert_eq!(Error::denied().to_string(), "access is denied");
        let error = Error::conflict("the value is taken").at_table("orders");
        assert_eq!(error.to_string(), "the value is taken (table `orders`)");
        let error = error.at_column("email,name").at_row(3).with_source(Chatty { _secret: "s3cr" });
        assert_eq!(
            error.to_string(),
            "the value is taken (table `orders`, column `email,name`, row 3)"
        );
        assert_eq!(
            (error.table(), error.column(), error.row()),
            (Some("orders"), Some("email,name"), Some(3))
        );
    }

    #[test]
    fn debug_shows_the_kind_and_the_display_of_the_chain_alone() {
        let inner = Error::unavailable("the store is away").with_source(Chatty { _secret: "s3cr" });
        let outer = Error::internal("no luck").with_source(inner);
        assert_eq!(
            format!("{outer:?}"),
            "Error { kind: Internal, message: \"no luck\", \
             source: \"the store is away\", source: \"connection reset\" }"
        );
    }

    #[test]
    fn retryability_follows_the_kind_unless_said_otherwise() {
        assert!(Error::unavailable("away").is_retryable());
        assert!(!Error::conflict("taken").is_retryable());
        assert!(Error::conflict("serialization").retryable().is_retryable());
        let error = Error::unavailable("away").retry_after_of(Duration::from_secs(2));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn every_kind_has_its_status_and_its_word() {
        use ErrorKind::*;
        for (kind, status, word) in [
            (Unauthenticated, 401, "unauthenticated"),
            (Denied, 403, "denied"),
            (NotFound, 404, "not found"),
            (Conflict, 409, "conflict"),
            (Shredded, 410, "shredded"),
            (Invalid, 422, "invalid"),
            (ReconnectRequired, 424, "reconnect required"),
            (RateLimited, 429, "rate limited"),
            (QuotaExceeded, 429, "quota exceeded"),
            (Unavailable, 503, "unavailable"),
            (Unconfigured, 503, "unconfigured"),
            (Corrupt, 500, "corrupt"),
            (Incident, 500, "incident"),
            (Misuse, 500, "misuse"),
            (Internal, 500, "internal"),
        ] {
            let error = Error::new(kind, "text");
            assert_eq!((error.http_status(), error.kind()), (status, kind));
            assert_eq!(kind.to_string(), word);
        }
    }
}
