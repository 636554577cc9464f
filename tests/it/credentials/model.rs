//! What an organization's credentials and keys are, said as plainly as possible.

use std::collections::BTreeMap;

use tenantry::ErrorKind;
use tenantry::credential::{CredentialInfo, KeyState};

use super::two_world::{Act, PROVIDERS};

/// What is observed of an act.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sees {
    Done,
    Refused(ErrorKind),
    Info {
        number: usize,
        provider: String,
        version: u64,
    },
    Opened {
        info: Box<Sees>,
        token: String,
    },
    Many(BTreeMap<usize, Sees>),
    /// Each key with the values under it, and the values under keys of others.
    Keys {
        keys: Vec<(KeyState, u64)>,
        of_others: u64,
    },
    Resealed {
        resealed: u64,
        broken: u64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Of those that were deleted, `None`.
    credentials: Vec<Option<Credential>>,
    keys: Vec<KeyState>,
    shredded: bool,
}

#[derive(Debug)]
struct Credential {
    provider: String,
    version: u64,
    token: String,
    /// By number; `None` for a value that was sealed for somebody else.
    key: Option<usize>,
}

impl Model {
    pub(super) fn version(&self, number: usize) -> u64 {
        let credential = self.credentials.get(number).and_then(Option::as_ref);
        credential.map_or(1, |credential| credential.version)
    }

    /// Somebody else's value under the same id.
    pub(super) fn stole(&mut self, info: &CredentialInfo) {
        let (provider, version) = (info.provider.clone(), info.version);
        self.credentials.push(Some(Credential {
            provider,
            version,
            token: String::new(),
            key: None,
        }));
    }

    pub(super) fn act(&mut self, act: Act) -> Sees {
        self.does(act).unwrap_or_else(Sees::Refused)
    }

    fn does(&mut self, act: Act) -> Result<Sees, ErrorKind> {
        match act {
            Act::Put { provider, token } => {
                let key = Some(self.active()?);
                let provider = PROVIDERS[usize::from(provider) % PROVIDERS.len()].to_owned();
                let credential = Credential { provider, version: 1, token: token.to_string(), key };
                self.credentials.push(Some(credential));
                Ok(self.info(self.credentials.len() - 1))
            }
            Act::Open { which } => {
                let number = self.number(which)?;
                let credential = self.credential(number)?;
                if self.shredded {
                    return Err(ErrorKind::Shredded);
                }
                credential.key.ok_or(ErrorKind::Corrupt)?;
                let token = credential.token.clone();
                Ok(Sees::Opened { info: Box::new(self.info(number)), token })
            }
            Act::OpenForeign { .. } | Act::ReplaceForeign { .. } | Act::DeleteForeign { .. } => {
                Err(ErrorKind::NotFound)
            }
            Act::Replace { which, stale, token } => {
                let number = self.number(which)?;
                self.credential(number)?;
                if stale {
                    return Err(ErrorKind::Conflict);
                }
                let key = Some(self.active()?);
                if let Some(credential) = &mut self.credentials[number] {
                    (credential.token, credential.key) = (token.to_string(), key);
                    credential.version += 1;
                }
                Ok(self.info(number))
            }
            Act::Delete { which } => {
                let number = self.number(which)?;
                self.credentials[number].take().map(|_| Sees::Done).ok_or(ErrorKind::NotFound)
            }
            Act::List => {
                if self.shredded && self.numbers().next().is_some() {
                    return Err(ErrorKind::Shredded);
                }
                let seen = |number| match self.credential(number) {
                    Ok(Credential { key: None, .. }) => Sees::Refused(ErrorKind::Corrupt),
                    _ => self.info(number),
                };
                Ok(Sees::Many(self.numbers().map(|number| (number, seen(number))).collect()))
            }
            Act::Export => {
                let infos = self.numbers().map(|number| (number, self.info(number)));
                Ok(Sees::Many(infos.collect()))
            }
            Act::Rotate => {
                if self.shredded {
                    return Err(ErrorKind::Shredded);
                }
                if let Some(active) = self.keys.iter_mut().find(|key| **key == KeyState::Active) {
                    *active = KeyState::DecryptOnly;
                }
                self.keys.push(KeyState::Active);
                Ok(Sees::Done)
            }
            Act::Reseal { .. } => {
                let active = self.active()?;
                let (mut resealed, mut broken) = (0, 0);
                for credential in self.credentials.iter_mut().flatten() {
                    match &mut credential.key {
                        None => broken += 1,
                        Some(key) => {
                            resealed += u64::from(*key != active);
                            *key = active;
                        }
                    }
                }
                Ok(Sees::Resealed { resealed, broken })
            }
            Act::Retire { which } => {
                let keys = self.keys.len();
                let key = usize::from(which).checked_rem(keys).ok_or(ErrorKind::NotFound)?;
                match self.keys[key] {
                    KeyState::DecryptOnly if self.count(Some(key)) == 0 => {
                        self.keys[key] = KeyState::Destroyed;
                    }
                    KeyState::Destroyed => {}
                    _ => return Err(ErrorKind::Conflict),
                }
                Ok(Sees::Done)
            }
            Act::Status => {
                let keys = self.keys.iter().enumerate();
                let keys = keys.map(|(number, state)| (*state, self.count(Some(number)))).collect();
                Ok(Sees::Keys { keys, of_others: self.count(None) })
            }
            Act::Rewrap | Act::Restart | Act::Steal { .. } => Ok(Sees::Done),
            Act::Shred => {
                self.shredded = true;
                self.keys.fill(KeyState::Destroyed);
                Ok(Sees::Done)
            }
        }
    }

    /// The key that seals, made where there is none.
    fn active(&mut self) -> Result<usize, ErrorKind> {
        if self.shredded {
            return Err(ErrorKind::Shredded);
        }
        if let Some(active) = self.keys.iter().position(|key| *key == KeyState::Active) {
            return Ok(active);
        }
        self.keys.push(KeyState::Active);
        Ok(self.keys.len() - 1)
    }

    fn number(&self, which: u8) -> Result<usize, ErrorKind> {
        usize::from(which).checked_rem(self.credentials.len()).ok_or(ErrorKind::NotFound)
    }

    fn credential(&self, number: usize) -> Result<&Credential, ErrorKind> {
        self.credentials[number].as_ref().ok_or(ErrorKind::NotFound)
    }

    /// Of the credentials that are there.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        let there = |(number, credential): (_, &Option<_>)| credential.is_some().then_some(number);
        self.credentials.iter().enumerate().filter_map(there)
    }

    fn info(&self, number: usize) -> Sees {
        let provider = self.credential(number).map_or("", |credential| &credential.provider);
        Sees::Info { number, provider: provider.to_owned(), version: self.version(number) }
    }

    fn count(&self, key: Option<usize>) -> u64 {
        self.credentials.iter().flatten().map(|credential| u64::from(credential.key == key)).sum()
    }
}
