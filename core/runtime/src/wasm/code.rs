//! Machine code that is kept: in memory, on disk under a keyed digest, and in signed blobs.
//!
//! What is kept are the functions of modules, each under a key that the compiler makes from its
//! intermediate code and every setting. A module is still parsed and translated when it comes; what
//! is saved is the machine code of its functions, which is most of the work. Loading whole compiled
//! modules would save more and is `unsafe` in wasmtime, so it is not done.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{Clock as _, Digest, SystemClock};
use thiserror::Error;
use wasmtime::CacheStore;

use super::cache::ModuleCache;

/// Of what the compiler of this build makes: nothing else is loaded.
const BUILD: &str = concat!("wasmtime 48, fogcompute ", env!("CARGO_PKG_VERSION"));

const NAME_CONTEXT: &str = "fogcompute 2026 code cache name";
const TAG_CONTEXT: &str = "fogcompute 2026 code cache tag";
const BLOB_CONTEXT: &[u8] = b"fogcompute 2026 compiled functions\0";

/// Longest key or code of one function, in bytes.
const PART_BYTES_MAX: usize = 16 << 20;

/// Longest blob, in bytes.
const BLOB_BYTES_MAX: usize = 64 << 20;

/// Where a node keeps machine code between its runs.
#[derive(Clone, Eq, PartialEq)]
pub struct CodeCacheConfig {
    /// A directory of its own. It is made if it is not there.
    pub dir: PathBuf,
    /// Most bytes in it. What was used longest ago leaves first.
    pub bytes_max: u64,
    /// A secret of the node, kept elsewhere: what was not written under it is not loaded.
    pub key: [u8; 32],
}

impl std::fmt::Debug for CodeCacheConfig {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCacheConfig")
            .field("dir", &self.dir)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

/// Why compiled code was not taken.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BlobError {
    /// Nobody this node trusts signed it. Compile the module here.
    #[error("compiled code is not signed by a trusted key")]
    Untrusted,
    /// It was made by another compiler or another version. Have it made again.
    #[error("compiled code is of another build")]
    OtherBuild,
    /// The blob is over what is taken.
    #[error("compiled code of {actual} bytes exceeds {max}")]
    TooLarge {
        /// Its length, in bytes.
        actual: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A trusted key signed something of another shape. Tell whoever has the key.
    #[error("compiled code is damaged: {0}")]
    Damaged(#[from] DecodeError),
    /// The module cannot be compiled.
    #[error("module cannot be compiled: {0}")]
    Module(#[from] fogcompute_exec::TaskError),
}

/// Code in memory, before that on disk.
pub(super) struct CodeCache {
    /// The code of functions under the digest of their key.
    memory: Mutex<ModuleCache<std::sync::Arc<[u8]>>>,
    disk: Option<CodeCacheConfig>,
}

impl CodeCache {
    /// # Errors
    /// The directory cannot be made.
    pub(super) fn new(memory_bytes_max: usize, disk: Option<CodeCacheConfig>) -> io::Result<Self> {
        if let Some(disk) = &disk {
            fs::create_dir_all(&disk.dir)?;
        }
        Ok(Self {
            memory: Mutex::new(ModuleCache::new(4_096, memory_bytes_max)),
            disk,
        })
    }

    fn keep(&self, key: &[u8], code: &[u8]) {
        let name = Digest::derive(NAME_CONTEXT, key);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(name, code.len(), code.into());
    }

    /// Takes the functions of a blob that is signed by one of `trusted`.
    pub(super) fn accept(&self, blob: &[u8], trusted: &[[u8; 32]]) -> Result<(), BlobError> {
        for (key, code) in open_blob(blob, trusted)? {
            self.keep(key, code);
        }
        Ok(())
    }
}

impl CodeCacheConfig {
    fn path(&self, key: &[u8]) -> PathBuf {
        let name = blake3::keyed_hash(&blake3::derive_key(NAME_CONTEXT, &self.key), key);
        self.dir.join(name.to_hex().as_str())
    }

    /// Over build, key and code: an entry cannot be put in another's place.
    fn tag(&self, key: &[u8], code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(TAG_CONTEXT, &self.key));
        for part in [BUILD.as_bytes(), key] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.update(code).finalize()
    }

    fn load(&self, key: &[u8]) -> Option<Vec<u8>> {
        let path = self.path(key);
        if fs::metadata(&path).ok()?.len() > PART_BYTES_MAX as u64 {
            return None;
        }
        let mut code = fs::read(&path).ok()?;
        let tag: [u8; 32] = code
            .split_off(code.len().checked_sub(32)?)
            .try_into()
            .ok()?;
        // `blake3::Hash` compares in constant time.
        if blake3::Hash::from_bytes(tag) != self.tag(key, &code) {
            // It will not become better, and its place is wanted.
            let _ = fs::remove_file(&path);
            return None;
        }
        if let Ok(file) = File::options().append(true).open(&path) {
            let _ = file.set_modified(now());
        }
        Some(code)
    }

    /// A cache that cannot be written is slower and nothing else, so errors only say so.
    fn store(&self, key: &[u8], code: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let mut draft = tempfile::NamedTempFile::new_in(&self.dir)?;
        draft.write_all(code)?;
        draft.write_all(self.tag(key, code).as_bytes())?;
        draft.persist(path)?;
        self.make_room()
    }

    fn make_room(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another process may be making room too.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.len();
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push((used, entry.path(), metadata.len()));
        }
        entries.sort();
        for (_, path, len) in entries {
            if bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            bytes -= len;
        }
        Ok(())
    }
}

fn now() -> SystemTime {
    let millis = SystemClock::new().unix_now().0;
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis)
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl CacheStore for CodeCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let name = Digest::derive(NAME_CONTEXT, key);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let found = memory.find(name);
        drop(memory);
        if let Some(code) = found {
            return Some(Cow::Owned(code.to_vec()));
        }
        let code = self.disk.as_ref()?.load(key)?;
        self.keep(key, &code);
        Some(Cow::Owned(code))
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        self.keep(key, &code);
        match &self.disk {
            Some(disk) => disk.store(key, &code).is_ok(),
            None => true,
        }
    }
}

/// Remembers everything that one compilation made.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl CacheStore for Recorder {
    fn get(&self, _: &[u8]) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        let mut functions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        functions.insert(key.to_vec(), code);
        true
    }
}

impl Recorder {
    /// What was made, signed: build, count, then key and code of each function, then the signature.
    pub(super) fn sign(&self, signer: &SigningKey) -> Vec<u8> {
        let functions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = Writer::new();
        writer.text(BUILD);
        writer.u32(u32::try_from(functions.len()).unwrap_or(u32::MAX));
        for (key, code) in functions.iter() {
            writer.bytes(key);
            writer.bytes(code);
        }
        let mut blob = writer.finish();
        let signature = signer.sign(&to_sign(&blob));
        blob.extend(signature.to_bytes());
        blob
    }
}

/// Domain and digest of a blob.
fn to_sign(content: &[u8]) -> Vec<u8> {
    [BLOB_CONTEXT, Digest::of(content).as_bytes()].concat()
}

/// Key and code of one function.
type Function<'a> = (&'a [u8], &'a [u8]);

/// The functions of a blob. The signature comes first: nothing else of a stranger's bytes is
/// looked at.
fn open_blob<'a>(blob: &'a [u8], trusted: &[[u8; 32]]) -> Result<Vec<Function<'a>>, BlobError> {
    if blob.len() > BLOB_BYTES_MAX {
        return Err(BlobError::TooLarge {
            actual: blob.len(),
            max: BLOB_BYTES_MAX,
        });
    }
    let (content, signature) = blob
        .split_last_chunk::<{ Signature::BYTE_SIZE }>()
        .ok_or(BlobError::Untrusted)?;
    let signature = Signature::from_bytes(signature);
    let message = to_sign(content);
    let is_signed = trusted.iter().any(|key| {
        VerifyingKey::from_bytes(key)
            .is_ok_and(|key| key.verify_strict(&message, &signature).is_ok())
    });
    if !is_signed {
        return Err(BlobError::Untrusted);
    }
    let mut reader = Reader::new(content);
    if reader.text(BUILD.len()) != Ok(BUILD) {
        return Err(BlobError::OtherBuild);
    }
    let mut functions = Vec::new();
    for _ in 0..reader.u32()? {
        let key = reader.bytes(PART_BYTES_MAX)?;
        functions.push((key, reader.bytes(PART_BYTES_MAX)?));
    }
    reader.finish()?;
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &std::path::Path, bytes_max: u64, key: u8) -> CodeCache {
        let disk = CodeCacheConfig {
            dir: dir.to_owned(),
            bytes_max,
            key: [key; 32],
        };
        CodeCache::new(1 << 20, Some(disk)).unwrap()
    }

    #[test]
    fn code_is_found_again_by_a_new_cache_with_the_same_key_only() {
        let dir = tempfile::tempdir().unwrap();
        assert!(cache(dir.path(), 1_000, 1).insert(b"key", b"code".to_vec()));
        assert_eq!(
            cache(dir.path(), 1_000, 1).get(b"key").as_deref(),
            Some(&b"code"[..])
        );
        assert_eq!(cache(dir.path(), 1_000, 1).get(b"other"), None);
        assert_eq!(cache(dir.path(), 1_000, 2).get(b"key"), None);
    }

    #[test]
    fn entry_that_was_changed_or_moved_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let writer = cache(dir.path(), 1_000, 1);
        writer.insert(b"key", b"code".to_vec());
        writer.insert(b"evil", b"other".to_vec());
        let disk = writer.disk.as_ref().unwrap();
        fs::copy(disk.path(b"evil"), disk.path(b"key")).unwrap();
        assert_eq!(cache(dir.path(), 1_000, 1).get(b"key"), None);
        assert!(!disk.path(b"key").exists());

        let path = disk.path(b"evil");
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cache(dir.path(), 1_000, 1).get(b"evil"), None);
        fs::write(&path, b"short").unwrap();
        assert_eq!(cache(dir.path(), 1_000, 1).get(b"evil"), None);
    }

    #[test]
    fn directory_stays_within_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 300, 1);
        for key in 0..20_u8 {
            assert!(cache.insert(&[key], vec![key; 100]));
            let bytes: u64 = fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .sum();
            assert!(bytes <= 300, "{bytes}");
        }
    }

    #[test]
    fn blobs_of_strangers_other_builds_and_damaged_ones_are_refused() {
        let signer = SigningKey::from_bytes(&[1; 32]);
        let trusted = [signer.verifying_key().to_bytes()];
        let recorder = Recorder::default();
        recorder.insert(b"key", b"code".to_vec());
        let blob = recorder.sign(&signer);
        assert_eq!(
            open_blob(&blob, &trusted),
            Ok(vec![(&b"key"[..], &b"code"[..])])
        );

        let stranger = recorder.sign(&SigningKey::from_bytes(&[2; 32]));
        for blob in [&stranger[..], b"", &blob[1..], &blob[..blob.len() - 1]] {
            assert_eq!(open_blob(blob, &trusted), Err(BlobError::Untrusted));
        }
        assert_eq!(open_blob(&blob, &[]), Err(BlobError::Untrusted));
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 0x40;
            assert_eq!(
                open_blob(&changed, &trusted),
                Err(BlobError::Untrusted),
                "{at}"
            );
        }

        let sign = |content: &[u8]| {
            let signature = signer.sign(&to_sign(content)).to_bytes();
            [content, &signature].concat()
        };
        let mut writer = Writer::new();
        writer.text("wasmtime 1");
        assert_eq!(
            open_blob(&sign(&writer.finish()), &trusted),
            Err(BlobError::OtherBuild)
        );
        let cut = &blob[..blob.len() - 70];
        assert!(matches!(
            open_blob(&sign(cut), &trusted),
            Err(BlobError::Damaged(_))
        ));
    }
}
