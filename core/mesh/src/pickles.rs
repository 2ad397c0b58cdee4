//! Secrets of `vodozemac` as they are saved: encrypted, and made when they are needed.

use std::sync::OnceLock;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use vodozemac::PickleError;
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::node::RestoreError;

/// Longest pickle, in bytes: a session with five chains of forty keys each.
const PICKLE_BYTES_MAX: usize = 128 * 1024;

/// What pickles are encrypted with: keys made of the identity's secrets and the number of a change. `vodozemac` makes
/// the initialisation vector of its AES-256-CBC of the key, so no two pickles may have the same.
pub(crate) struct Pickles {
    key: Zeroizing<[u8; 32]>,
    revision: u64,
}

impl Pickles {
    /// For what `context` names, and nothing else.
    pub(crate) fn new(identity: &Identity, context: &str) -> Self {
        let secrets = identity.to_bytes();
        Self {
            key: Zeroizing::new(blake3::derive_key(context, &*secrets)),
            revision: 0,
        }
    }

    /// The number of the last change.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Something changes; gives the number of that.
    pub(crate) const fn turn(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn key(&self, revision: u64) -> Zeroizing<[u8; 32]> {
        let keyed = blake3::keyed_hash(&self.key, &revision.to_be_bytes());
        Zeroizing::new(*keyed.as_bytes())
    }

    pub(crate) fn save(&self, writer: &mut Writer) {
        writer.u64(self.revision);
    }

    /// Goes on with the numbers of those that were saved.
    pub(crate) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.revision = reader.u64()?;
        Ok(())
    }
}

/// A secret of `vodozemac` with its pickle.
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    revision: u64,
    pickle: OnceLock<String>,
}

impl<T> Kept<T> {
    /// Made in the change of that number.
    pub(crate) const fn new(value: T, revision: u64) -> Self {
        Self {
            value,
            revision,
            pickle: OnceLock::new(),
        }
    }

    /// In which change it was made, or changed last.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// It is another one since the change of that number.
    pub(crate) fn changed(&mut self, revision: u64) {
        self.revision = revision;
        self.pickle = OnceLock::new();
    }

    /// Writes its revision and, preceded by a `u32` for its length, its pickle.
    pub(crate) fn save(
        &self,
        writer: &mut Writer,
        pickles: &Pickles,
        pickle: impl FnOnce(&T, &[u8; 32]) -> String,
    ) {
        let key = pickles.key(self.revision);
        writer.u64(self.revision);
        writer.text(self.pickle.get_or_init(|| pickle(&self.value, &key)));
    }

    /// Reads what was written.
    pub(crate) fn restore(
        reader: &mut Reader<'_>,
        pickles: &Pickles,
        unpickle: impl FnOnce(&str, &[u8; 32]) -> Result<T, PickleError>,
    ) -> Result<Self, RestoreError> {
        let (revision, pickle) = (reader.u64()?, reader.text(PICKLE_BYTES_MAX)?);
        let value = unpickle(pickle, &pickles.key(revision)).map_err(|_| RestoreError::Sealed)?;
        Ok(Self {
            value,
            revision,
            pickle: OnceLock::from(pickle.to_owned()),
        })
    }
}

pub(crate) fn length(items: usize) -> u32 {
    u32::try_from(items).expect("every kind of item has a far lower limit")
}

pub(crate) fn at_most(reader: &mut Reader<'_>, limit: usize) -> Result<u32, DecodeError> {
    let count = reader.u32()?;
    let actual = usize::try_from(count).unwrap_or(usize::MAX);
    if actual > limit {
        return Err(DecodeError::TooLong { actual, limit });
    }
    Ok(count)
}
