//! A mixnode's keys in its data folder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use fogcompute_base::{CryptoRng, Digest, OsEntropy};
use fogcompute_mix::{EpochKey, PrivateKey, PublicKey};
use fogcompute_net::Identity;

use crate::files::{Readers, remove_parts, rename, replace};

use super::error::{MixnodeError, file_error};

const IDENTITY: &str = "identity.key";
/// Locked by a node that runs.
const LOCK: &str = "lock";
/// A mix key's files are called `mix-`, its public half in hexadecimal digits, and one of these.
const MIX: &str = "mix-";
/// The key, before and between runs.
const KEY: &str = ".key";
/// The same while a node has it: a start that finds it knows that the run did not end cleanly.
const IN_USE: &str = ".in-use";
/// What was seen under the key.
const SEEN: &str = ".seen";
/// As long as that, while a node has the key: its place on the disk, for a clean end.
const RESERVE: &str = ".reserve";

pub(super) fn random_key(rng: &mut impl CryptoRng) -> [u8; 32] {
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    key
}

pub(super) fn hex(key: PublicKey) -> String {
    Digest::from_bytes(*key.as_bytes()).to_string()
}

fn read_key(path: &Path) -> Result<Option<[u8; 32]>, MixnodeError> {
    match fs::read(path) {
        Ok(bytes) => {
            let actual = bytes.len();
            let key = <[u8; 32]>::try_from(bytes).map_err(|_| MixnodeError::KeyLength {
                path: path.to_owned(),
                actual,
            })?;
            Ok(Some(key))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("reading", path)(error)),
    }
}

/// The node's keys in its data folder.
#[derive(Debug)]
pub(super) struct Keys {
    data: PathBuf,
}

/// As long as it is there, no other process runs a node with the data folder.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Keys {
    pub(super) fn open(data: &Path) -> Result<Self, MixnodeError> {
        fs::create_dir_all(data).map_err(file_error("creating", data))?;
        Ok(Self {
            data: data.to_owned(),
        })
    }

    /// Takes the folder for a run, or for what must not happen during one. What a process left there
    /// that was killed while it wrote goes.
    pub(super) fn lock(&self) -> Result<Lock, MixnodeError> {
        let path = self.data.join(LOCK);
        let file = File::create(&path).map_err(file_error("creating", &path))?;
        match file.try_lock() {
            Ok(()) => {
                remove_parts(&self.data).map_err(file_error("tidying", &self.data))?;
                Ok(Lock { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(MixnodeError::Taken {
                data: self.data.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(file_error("locking", &path)(error)),
        }
    }

    fn path(&self, key: PublicKey, suffix: &str) -> PathBuf {
        self.data.join(format!("{MIX}{}{suffix}", hex(key)))
    }

    /// The node's long-term key, made when it is first asked for.
    pub(super) fn identity(&self) -> Result<Identity, MixnodeError> {
        let path = self.data.join(IDENTITY);
        let secret = if let Some(secret) = read_key(&path)? {
            secret
        } else {
            let secret = random_key(&mut OsEntropy);
            replace(&path, &secret, Readers::Owner).map_err(file_error("writing", &path))?;
            secret
        };
        Ok(Identity::from_bytes(secret))
    }

    /// Makes a mix key beside those there are.
    pub(super) fn make(&self) -> Result<PublicKey, MixnodeError> {
        let secret = random_key(&mut OsEntropy);
        let public = PrivateKey::from_bytes(secret).public();
        let path = self.path(public, KEY);
        replace(&path, &secret, Readers::Owner).map_err(file_error("writing", &path))?;
        Ok(public)
    }

    /// Makes a mix key in place of all there are, for a node that does not run. One that is to come
    /// stays, if no node ever had it.
    pub(super) fn renew(
        &self,
        to_come: Option<PublicKey>,
        _lock: &Lock,
    ) -> Result<PublicKey, MixnodeError> {
        let in_use = self.with_suffix(IN_USE)?;
        let used = [self.with_suffix(SEEN)?, in_use].concat();
        let unused = self.with_suffix(KEY)?.into_iter();
        let unused = unused.filter(|key| !used.contains(key) && Some(*key) != to_come);
        for key in unused.chain(used.iter().copied()) {
            self.erase(key)?;
        }
        self.make()
    }

    /// The public halves by which the folder's files of one kind are called.
    fn with_suffix(&self, suffix: &str) -> Result<Vec<PublicKey>, MixnodeError> {
        let reading = || file_error("reading", &self.data);
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.data).map_err(reading())? {
            let name = entry.map_err(reading())?.file_name();
            let name = name.to_str().and_then(|name| name.strip_prefix(MIX));
            let digits = name.and_then(|name| name.strip_suffix(suffix));
            let key = digits.and_then(|digits| digits.parse::<Digest>().ok());
            keys.extend(key.map(|key| PublicKey::from_bytes(*key.as_bytes())));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// A key that no node ever had and that is none of these.
    pub(super) fn spare(&self, known: &[PublicKey]) -> Result<Option<PublicKey>, MixnodeError> {
        let seen = self.with_suffix(SEEN)?;
        let mut keys = self.with_suffix(KEY)?.into_iter();
        Ok(keys.find(|key| !seen.contains(key) && !known.contains(key)))
    }

    /// Whether [`Keys::take`] would find the key.
    pub(super) fn check(&self, key: PublicKey, epoch: u64) -> Result<(), MixnodeError> {
        if self.path(key, IN_USE).exists() {
            return Err(MixnodeError::Unclean { key });
        }
        if self.path(key, KEY).exists() {
            return Ok(());
        }
        let data = self.data.clone();
        Err(MixnodeError::NoKey { epoch, key, data })
    }

    /// A mix key for a run, of the topology of an epoch. From here on it counts as in use, until
    /// [`Keys::put_back`].
    pub(super) fn take(
        &self,
        key: PublicKey,
        epoch: u64,
        replay_tags_max: usize,
    ) -> Result<EpochKey, MixnodeError> {
        let (path, in_use) = (self.path(key, KEY), self.path(key, IN_USE));
        self.check(key, epoch)?;
        let Some(secret) = read_key(&path)? else {
            let data = self.data.clone();
            return Err(MixnodeError::NoKey { epoch, key, data });
        };
        let private = PrivateKey::from_bytes(secret);
        if private.public() != key {
            return Err(MixnodeError::KeyName { path });
        }
        let seen = self.path(key, SEEN);
        let epoch_key = match fs::read(&seen) {
            Ok(bytes) => EpochKey::restore(private, &bytes).ok_or(MixnodeError::Unclean { key })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                EpochKey::try_new(private, replay_tags_max)?
            }
            Err(error) => return Err(file_error("reading", &seen)(error)),
        };
        rename(&path, &in_use).map_err(file_error("renaming", &path))?;
        Ok(epoch_key)
    }

    /// Takes the place on the disk that [`Keys::put_back`] needs, so that a disk that becomes full
    /// meanwhile does not cost the key. File systems that compress give less than is asked for.
    pub(super) fn reserve(&self, key: &EpochKey) -> Result<(), MixnodeError> {
        let path = self.path(key.public_key(), RESERVE);
        let zeros = vec![0; key.replay_filter().to_bytes().len()];
        replace(&path, &zeros, Readers::Owner).map_err(file_error("reserving", &path))
    }

    /// The key of a run in which nothing was received, as it was before.
    pub(super) fn put_back_unused(&self, key: PublicKey) -> Result<(), MixnodeError> {
        self.remove(key, RESERVE)?;
        let in_use = self.path(key, IN_USE);
        rename(&in_use, &self.path(key, KEY)).map_err(file_error("renaming", &in_use))
    }

    /// After a clean end: the key may be used again, with what was seen under it.
    pub(super) fn put_back(&self, key: &EpochKey) -> Result<(), MixnodeError> {
        let public = key.public_key();
        let (seen, bytes) = (self.path(public, SEEN), key.replay_filter().to_bytes());
        self.remove(public, RESERVE)?;
        replace(&seen, &bytes, Readers::Owner).map_err(file_error("writing", &seen))?;
        self.put_back_unused(public)
    }

    /// Removes a key that is over. What was seen under it goes last: a key without that counts as
    /// one that no node ever had.
    pub(super) fn erase(&self, key: PublicKey) -> Result<(), MixnodeError> {
        for suffix in [KEY, IN_USE, RESERVE, SEEN] {
            self.remove(key, suffix)?;
        }
        Ok(())
    }

    /// Removes a file of a key, if it is there.
    fn remove(&self, key: PublicKey, suffix: &str) -> Result<(), MixnodeError> {
        let path = self.path(key, suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file_error("removing", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_mix::{ReplayTag, ReplayVerdict};

    fn keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(&folder.path().join("data")).unwrap();
        (folder, keys)
    }

    #[test]
    fn a_key_is_used_again_only_after_a_clean_end_and_with_what_was_seen() {
        let (_folder, keys) = keys();
        let absent = PrivateKey::from_bytes([1; 32]).public();
        assert!(matches!(
            keys.take(absent, 1, 100),
            Err(MixnodeError::NoKey { epoch: 1, key, .. }) if key == absent
        ));
        let made = keys.make().unwrap();
        let key = keys.take(made, 1, 100).unwrap();
        assert_eq!(key.public_key(), made);
        // As long as it is in use, nobody else gets it: not after a crash, either.
        let unclean = keys.take(made, 1, 100);
        assert!(matches!(unclean, Err(MixnodeError::Unclean { key }) if key == made));
        let tag = ReplayTag::from_bytes([5; 16]);
        assert_eq!(key.replay_filter().check(tag), ReplayVerdict::Fresh);
        keys.put_back(&key).unwrap();
        let again = keys.take(made, 1, 100).unwrap();
        assert_eq!(again.public_key(), made);
        assert_eq!(again.replay_filter().check(tag), ReplayVerdict::Replayed);
        // A new key starts with nothing seen, and of the old one nothing is left.
        let lock = keys.lock().unwrap();
        let other = keys.renew(Some(made), &lock).unwrap();
        assert_ne!(other, made);
        assert!(matches!(
            keys.take(made, 1, 100),
            Err(MixnodeError::NoKey { .. })
        ));
        let other = keys.take(other, 2, 100).unwrap();
        assert!(other.replay_filter().is_empty());
    }

    #[test]
    fn a_spare_key_is_one_that_nobody_had_and_no_topology_has() {
        let (_folder, keys) = keys();
        assert_eq!(keys.spare(&[]).unwrap(), None);
        let first = keys.make().unwrap();
        assert_eq!(keys.spare(&[]).unwrap(), Some(first));
        assert_eq!(keys.spare(&[first]).unwrap(), None);
        let taken = keys.take(first, 1, 100).unwrap();
        assert_eq!(keys.spare(&[]).unwrap(), None);
        keys.put_back(&taken).unwrap();
        assert_eq!(keys.spare(&[]).unwrap(), None);
        let second = keys.make().unwrap();
        assert_eq!(keys.spare(&[first]).unwrap(), Some(second));
        // It stays when others are renewed, if it is said to be needed.
        let lock = keys.lock().unwrap();
        let third = keys.renew(Some(second), &lock).unwrap();
        assert!(keys.check(first, 1).is_err());
        assert!(keys.check(second, 1).is_ok() && keys.check(third, 1).is_ok());
        let fourth = keys.renew(None, &lock).unwrap();
        assert!(keys.check(second, 1).is_err() && keys.check(third, 1).is_err());
        assert_eq!(keys.spare(&[]).unwrap(), Some(fourth));
    }

    #[test]
    fn a_key_in_use_has_the_place_that_what_was_seen_will_take() {
        let (_folder, keys) = keys();
        let made = keys.make().unwrap();
        for _ in 0..2 {
            let key = keys.take(made, 1, 100).unwrap();
            keys.reserve(&key).unwrap();
            let reserved = fs::metadata(keys.path(made, RESERVE)).unwrap().len();
            keys.put_back(&key).unwrap();
            assert_eq!(fs::metadata(keys.path(made, SEEN)).unwrap().len(), reserved);
            assert!(!keys.path(made, RESERVE).exists());
        }
        keys.reserve(&keys.take(made, 1, 100).unwrap()).unwrap();
        keys.erase(made).unwrap();
        assert!(!keys.path(made, RESERVE).exists());
    }

    #[test]
    fn a_folder_is_for_one_node_at_a_time() {
        let (_folder, keys) = keys();
        let part = keys.data.join(".fogcompute-left.part");
        fs::write(&part, b"").unwrap();
        let lock = keys.lock().unwrap();
        assert!(!part.exists());
        assert!(matches!(keys.lock(), Err(MixnodeError::Taken { .. })));
        drop(lock);
        keys.lock().unwrap();
    }

    #[test]
    fn damaged_keys_are_refused_by_name_and_the_identity_stays() {
        let (_folder, keys) = keys();
        let node = keys.identity().unwrap().node();
        assert_eq!(keys.identity().unwrap().node(), node);
        let key = keys.make().unwrap();
        fs::write(keys.path(key, KEY), [1; 31]).unwrap();
        assert!(matches!(
            keys.take(key, 1, 100),
            Err(MixnodeError::KeyLength { actual: 31, .. })
        ));
        fs::write(keys.path(key, KEY), [1; 32]).unwrap();
        assert!(matches!(
            keys.take(key, 1, 100),
            Err(MixnodeError::KeyName { .. })
        ));
        let key = keys.make().unwrap();
        fs::write(keys.path(key, SEEN), b"nonsense").unwrap();
        assert!(matches!(
            keys.take(key, 1, 100),
            Err(MixnodeError::Unclean { .. })
        ));
        #[cfg(unix)]
        for path in [keys.data.join(IDENTITY), keys.path(key, KEY)] {
            let mode = fs::metadata(path).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
