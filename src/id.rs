//! Identities: [`OrganizationId`], the tenant key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The identity of an organization: the tenant key.
///
/// It is a UUID, a positive 64-bit integer, or a short text key as identity services hand them
/// out. The kind is part of equality, and a schema uses one kind. Cheap to clone.
///
/// The canonical form (`Display`, [`FromStr`], serde, always as a string) of a UUID is lower-case
/// and hyphenated, that of an integer is decimal digits alone, and that of a text key is itself.
/// Whatever is not the canonical form of a UUID or an integer is a text key, if it can be one.
///
/// An id is a name and carries no authority: a
/// [`TenantScope`](crate::scope::TenantScope) does.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
///
/// let id = OrganizationId::new();
/// assert_eq!(id.to_string().parse::<OrganizationId>()?, id);
///
/// assert_eq!("42".parse::<OrganizationId>()?, OrganizationId::from_i64(42)?);
/// assert_eq!("org_2fX".parse::<OrganizationId>()?, OrganizationId::from_text("org_2fX")?);
/// assert!(OrganizationId::from_text("42").is_err());
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganizationId(Repr);

/// The kind of an [`OrganizationId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OrganizationKind {
    /// A positive 64-bit integer.
    Integer,
    /// A text key of 1 to 64 bytes.
    Text,
    /// A UUID.
    Uuid,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Integer(i64),
    Text(Arc<str>),
    Uuid(Uuid),
}

/// A view of an [`OrganizationId`] by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrganizationKey<'a> {
    Integer(i64),
    Text(&'a Arc<str>),
    Uuid(Uuid),
}

impl OrganizationId {
    /// A fresh random UUID.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no random bytes.
    #[expect(clippy::new_without_default, reason = "a default id would invite a default tenant")]
    #[must_use]
    pub fn new() -> Self {
        Self(Repr::Uuid(Uuid::new_v4()))
    }

    /// An organization known by a UUID.
    ///
    /// # Errors
    ///
    /// `Invalid` for the nil UUID.
    pub fn from_uuid(uuid: Uuid) -> Result<Self> {
        if uuid.is_nil() {
            return Err(Error::invalid("an organization id is not the nil uuid"));
        }
        Ok(Self(Repr::Uuid(uuid)))
    }

    /// An organization known by a number.
    ///
    /// # Errors
    ///
    /// `Invalid` for zero and below.
    pub fn from_i64(number: i64) -> Result<Self> {
        if number <= 0 {
            return Err(Error::invalid("a numeric organization id is positive"));
        }
        Ok(Self(Repr::Integer(number)))
    }

    /// An organization known by a text key: 1 to 64 bytes of `A-Z a-z 0-9 _ - .`, neither
    /// beginning nor ending with a dot.
    ///
    /// # Errors
    ///
    /// `Invalid` for anything else, and for the canonical form of another kind.
    pub fn from_text(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if parse_uuid(text).is_some() || parse_integer(text).is_some() {
            return Err(Error::invalid(
                "a textual organization id does not look like a uuid or a number",
            ));
        }
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(Error::invalid("a textual organization id has 1 to 64 bytes"));
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            return Err(Error::invalid(
                "a textual organization id holds letters, digits, `_`, `-` and `.` alone",
            ));
        }
        if text.starts_with('.') || text.ends_with('.') {
            return Err(Error::invalid(
                "a textual organization id neither begins nor ends with a dot",
            ));
        }
        Ok(Self(Repr::Text(text.into())))
    }

    /// Which of the three kinds this is.
    #[must_use]
    pub fn kind(&self) -> OrganizationKind {
        match self.0 {
            Repr::Integer(_) => OrganizationKind::Integer,
            Repr::Text(_) => OrganizationKind::Text,
            Repr::Uuid(_) => OrganizationKind::Uuid,
        }
    }

    /// The form for paths, host names and keys of other stores: the kind and the bytes in
    /// lower-case hex.
    ///
    /// Two organizations never share it, also where case or dots mean nothing. It has 34
    /// characters for a UUID, 18 for an integer, and two more than twice its length, 130 at most,
    /// for a text key: too long for one label of a host name, which holds 63.
    #[must_use]
    pub fn encoded(&self) -> String {
        match &self.0 {
            Repr::Integer(number) => format!("01{}", hex::encode(number.to_be_bytes())),
            Repr::Text(text) => format!("02{}", hex::encode(text.as_bytes())),
            Repr::Uuid(uuid) => format!("03{}", hex::encode(uuid.as_bytes())),
        }
    }

    /// The id of which this is the [`encoded`](Self::encoded) form.
    #[cfg(all(unix, feature = "files"))]
    pub(crate) fn from_encoded(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(2)?;
        let bytes = hex::decode(rest).ok()?;
        let id = match kind {
            "01" => Self::from_i64(i64::from_be_bytes(bytes.try_into().ok()?)),
            "02" => Self::from_text(str::from_utf8(&bytes).ok()?),
            "03" => Self::from_uuid(Uuid::from_bytes(bytes.try_into().ok()?)),
            _ => return None,
        };
        id.ok().filter(|id| id.encoded() == text)
    }

    pub(crate) fn key(&self) -> OrganizationKey<'_> {
        match &self.0 {
            Repr::Integer(number) => OrganizationKey::Integer(*number),
            Repr::Text(text) => OrganizationKey::Text(text),
            Repr::Uuid(uuid) => OrganizationKey::Uuid(*uuid),
        }
    }
}

impl From<&OrganizationId> for OrganizationId {
    fn from(id: &OrganizationId) -> Self {
        id.clone()
    }
}

impl fmt::Display for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Integer(number) => number.fmt(f),
            Repr::Text(text) => text.fmt(f),
            Repr::Uuid(uuid) => uuid.hyphenated().fmt(f),
        }
    }
}

impl fmt::Debug for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrganizationId({self})")
    }
}

impl FromStr for OrganizationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(uuid) = parse_uuid(text) {
            Self::from_uuid(uuid)
        } else if let Some(number) = parse_integer(text) {
            Self::from_i64(number)
        } else {
            Self::from_text(text)
        }
    }
}

impl Serialize for OrganizationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrganizationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Canonical;

        impl Visitor<'_> for Canonical {
            type Value = OrganizationId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an organization id in its canonical form, as a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Canonical)
    }
}

/// The UUID of which `text` is the canonical form.
fn parse_uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    let canonical = uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    canonical.then_some(uuid)
}

/// The integer, of either sign, of which `text` is the canonical form.
fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical =
        digits.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !digits.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

const MAX_TEXT: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    const UUID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn refused(result: Result<OrganizationId>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn constructors_refuse_what_is_not_an_organization() {
        refused(OrganizationId::from_uuid(Uuid::nil()));
        refused(OrganizationId::from_i64(0));
        refused(OrganizationId::from_i64(-1));
        let long = "a".repeat(65);
        for text in [
            "",
            &long,
            "a b",
            "a/b",
            "é",
            "a\0",
            ".",
            "..",
            ".a",
            "a.",
            "*",
            "a\n",
            "1",
            "42",
            "-1",
            "0",
            "9223372036854775807",
            UUID,
            "00000000-0000-0000-0000-000000000000",
        ] {
            refused(OrganizationId::from_text(text));
        }
    }

    #[test]
    fn text_keys_that_only_resemble_another_kind_stay_text() {
        for text in [
            "007",
            "-",
            "--5",
            "-01",
            "9223372036854775808",
            &UUID.to_uppercase(),
            &UUID.replace('-', ""),
            "1.0",
            "1_000",
            &"a".repeat(64),
        ] {
            let id = OrganizationId::from_text(text).unwrap();
            assert_eq!(id.kind(), OrganizationKind::Text);
            assert_eq!(text.parse::<OrganizationId>().unwrap(), id);
        }
    }

    #[test]
    fn parsing_tells_the_kinds_apart_and_validates() {
        let kind = |text: &str| text.parse::<OrganizationId>().unwrap().kind();
        assert_eq!(kind(UUID), OrganizationKind::Uuid);
        assert_eq!(kind("42"), OrganizationKind::Integer);
        assert_eq!(kind("shop_42"), OrganizationKind::Text);
        for text in [
            "",
            "0",
            "-7",
            "+7",
            " 7",
            "00000000-0000-0000-0000-000000000000",
            &format!("{{{UUID}}}"),
            &format!("urn:uuid:{UUID}"),
        ] {
            refused(text.parse());
        }
    }

    #[test]
    fn serde_takes_canonical_strings_alone() {
        let id = OrganizationId::from_i64(42).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"42\"");
        assert_eq!(serde_json::from_str::<OrganizationId>("\"42\"").unwrap(), id);
        for json in ["42", "null", "\"0\"", "\"\"", "\"a b\"", "{}"] {
            assert!(serde_json::from_str::<OrganizationId>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn encoding_tells_apart_kinds_with_the_same_bytes_and_case() {
        let bytes: [u8; 16] = *b"abcdefghijklmnop";
        let ids = [
            OrganizationId::from_uuid(Uuid::from_bytes(bytes)).unwrap(),
            OrganizationId::from_text("abcdefghijklmnop").unwrap(),
            OrganizationId::from_text("ABCDEFGHIJKLMNOP").unwrap(),
            OrganizationId::from_text("abcdefgh").unwrap(),
            OrganizationId::from_i64(i64::from_be_bytes(*b"abcdefgh")).unwrap(),
        ];
        let encoded: HashSet<_> = ids.iter().map(OrganizationId::encoded).collect();
        assert_eq!(encoded.len(), ids.len());
        assert!(encoded.contains("036162636465666768696a6b6c6d6e6f70"));
        assert!(encoded.contains("016162636465666768"));
    }

    #[test]
    fn debug_shows_the_canonical_form() {
        assert_eq!(format!("{:?}", OrganizationId::from_i64(7).unwrap()), "OrganizationId(7)");
    }

    proptest! {
        #[test]
        fn whatever_parses_round_trips(text in "[A-Za-z0-9_.-]{0,70}|[0-9]{1,20}|-?[0-9]{1,3}") {
            if let Ok(id) = text.parse::<OrganizationId>() {
                prop_assert_eq!(id.to_string(), text);
                prop_assert_eq!(id.to_string().parse::<OrganizationId>().unwrap(), id);
            }
        }

        #[test]
        fn each_kind_round_trips(bytes: [u8; 16], number in 1..i64::MAX) {
            let uuid = OrganizationId::from_uuid(Uuid::from_bytes(bytes)).unwrap();
            prop_assert_eq!(&uuid.to_string().parse::<OrganizationId>().unwrap(), &uuid);
            let integer = OrganizationId::from_i64(number).unwrap();
            prop_assert_eq!(&integer.to_string().parse::<OrganizationId>().unwrap(), &integer);
            prop_assert_ne!(uuid.encoded(), integer.encoded());
        }
    }
}
