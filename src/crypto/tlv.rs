//! The canonical encoding of what is authenticated beside a ciphertext.
//!
//! ```text
//! part = tag u8 || length u32 big-endian || value
//! ```
//!
//! Two lists of parts have the same bytes only if they are the same list: a length stands before
//! each value, so that no value runs into the next.

use super::key::{KeyId, KeyOwner};
use crate::id::OrganizationKey;

/// What a part is. The numbers are part of the formats and are never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    Label = 1,
    Organization = 2,
    Platform = 3,
    Record = 4,
    Kind = 5,
    Field = 6,
    Provider = 7,
    SecretVersion = 8,
    Key = 9,
    Purpose = 10,
    Kek = 11,
    Column = 12,
    Value = 13,
}

/// The parts so far.
pub(super) struct Tlv(Vec<u8>);

impl Tlv {
    pub(super) fn new(label: &str) -> Self {
        Self(Vec::with_capacity(192)).part(Tag::Label, label.as_bytes())
    }

    pub(super) fn part(self, tag: Tag, value: &[u8]) -> Self {
        self.parts(tag, &[value])
    }

    /// One part whose value is given in pieces.
    fn parts(mut self, tag: Tag, pieces: &[&[u8]]) -> Self {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.0.push(tag as u8);
        // INVARIANT: no value is near 4 GiB: each is bounded where it is made.
        self.0.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        pieces.iter().for_each(|piece| self.0.extend(*piece));
        self
    }

    /// The organization by kind and bytes, or the platform by a tag of its own.
    pub(super) fn owner(self, owner: &KeyOwner) -> Self {
        let KeyOwner::Organization(organization) = owner else {
            return self.part(Tag::Platform, &[]);
        };
        match organization.key() {
            OrganizationKey::Integer(number) => self.organization(1, &number.to_be_bytes()),
            OrganizationKey::Text(text) => self.organization(2, text.as_bytes()),
            OrganizationKey::Uuid(uuid) => self.organization(3, uuid.as_bytes()),
        }
    }

    fn organization(self, kind: u8, id: &[u8]) -> Self {
        self.parts(Tag::Organization, &[&[kind], id])
    }

    pub(super) fn key(self, key: KeyId) -> Self {
        self.part(Tag::Key, key.as_uuid().as_bytes())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
