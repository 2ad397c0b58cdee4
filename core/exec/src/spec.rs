//! What to run.

use std::fmt;
use std::sync::Arc;

use fogcompute_base::Digest;
use fogcompute_base::limits::{INPUT_BYTES_MAX, MODULE_BYTES_MAX};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use thiserror::Error;

use crate::{Grants, GrantsError, Limits, LimitsError};

/// Version of the encoding of a task that is granted nothing and has the usual log and no time limit.
const VERSION: u8 = 1;

/// Version of the encoding of any other.
const VERSION_GRANTS: u8 = 2;

/// Why a task cannot be built or decoded.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SpecError {
    /// There is no module to run.
    #[error("module is empty")]
    EmptyModule,
    /// The module is over [`MODULE_BYTES_MAX`].
    #[error("module of {actual} bytes exceeds {limit}")]
    ModuleTooLarge {
        /// Length of the module, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The input is over [`INPUT_BYTES_MAX`]: split the job into more tasks.
    #[error("input of {actual} bytes exceeds {limit}")]
    InputTooLarge {
        /// Length of the input, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The limits are not usable.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The grants are not usable.
    #[error(transparent)]
    Grants(#[from] GrantsError),
    /// The bytes are not an encoded task.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// One unit of work: a module, its input and what it may use.
///
/// The module is shared: the tasks of one job, and their clones, hold one copy of it.
///
/// Encoding, version 1, integers big-endian:
///
/// | field | bytes |
/// |---|---|
/// | version | 1, value 1 |
/// | fuel, memory bytes, output bytes | 8 each |
/// | module | 4 length, then 1 to 1 MiB |
/// | input | 4 length, then 0 to 1 MiB |
///
/// Version 2, for tasks that version 1 cannot say, has version 2 in the first byte and behind the
/// input:
///
/// | field | bytes |
/// |---|---|
/// | log bytes, milliseconds of wall time or 0 | 8 each |
/// | grants | see [`Grants`] |
#[derive(Clone, Eq, PartialEq)]
pub struct TaskSpec {
    module: Arc<[u8]>,
    module_digest: Digest,
    input: Vec<u8>,
    limits: Limits,
    grants: Grants,
}

impl TaskSpec {
    /// Longest encoding, in bytes. More than one frame of a link, less than one message.
    pub const ENCODED_BYTES_MAX: usize =
        Self::PLAIN_BYTES_MAX + Limits::EXTRA_BYTES + Grants::ENCODED_BYTES_MAX;

    /// Longest encoding in version 1, in bytes.
    const PLAIN_BYTES_MAX: usize =
        1 + Limits::ENCODED_BYTES + 4 + MODULE_BYTES_MAX + 4 + INPUT_BYTES_MAX;

    /// Describes a task. The module's content is checked by the runtime, not here.
    ///
    /// # Errors
    /// [`SpecError::EmptyModule`], [`SpecError::ModuleTooLarge`], [`SpecError::InputTooLarge`],
    /// [`SpecError::Limits`].
    pub fn new(
        module: impl Into<Arc<[u8]>>,
        input: impl Into<Vec<u8>>,
        limits: Limits,
    ) -> Result<Self, SpecError> {
        let (module, input) = (module.into(), input.into());
        Self::check_module(&module)?;
        if input.len() > INPUT_BYTES_MAX {
            return Err(SpecError::InputTooLarge {
                actual: input.len(),
                limit: INPUT_BYTES_MAX,
            });
        }
        limits.validate()?;
        Ok(Self {
            module_digest: Digest::of(&module),
            module,
            input,
            limits,
            grants: Grants::default(),
        })
    }

    /// The same task with these grants instead of its own.
    ///
    /// # Errors
    /// [`SpecError::Grants`].
    pub fn with_grants(mut self, grants: Grants) -> Result<Self, SpecError> {
        grants.validate()?;
        self.grants = grants;
        Ok(self)
    }

    /// The WebAssembly module.
    #[must_use]
    pub const fn module(&self) -> &Arc<[u8]> {
        &self.module
    }

    /// Digest of the module: names it in caches.
    #[must_use]
    pub const fn module_digest(&self) -> Digest {
        self.module_digest
    }

    /// The input.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// What the task may use.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// What the task may see of its host.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The task as bytes, see the table above.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(|writer| writer.bytes(&self.module))
    }

    /// Reads a task from bytes of a peer.
    ///
    /// # Errors
    /// [`SpecError::Decode`] for bytes of another shape, and those of [`TaskSpec::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let (module, input, limits, grants) =
            Self::decode_as(bytes, |reader| reader.bytes(MODULE_BYTES_MAX))?;
        Self::new(module, input, limits)?.with_grants(grants)
    }
}

impl TaskSpec {
    /// Longest encoding without the module, in bytes.
    pub const APART_BYTES_MAX: usize = Self::ENCODED_BYTES_MAX - 4 - MODULE_BYTES_MAX + Digest::LEN;

    /// The task as bytes of which the module is only named, for peers that have it. As the table
    /// above, with the 32 bytes of the module's digest in place of its length and content.
    #[must_use]
    pub fn encode_apart(&self) -> Vec<u8> {
        self.encode_as(|writer| writer.raw(self.module_digest.as_bytes()))
    }

    /// Reads what [`TaskSpec::encode_apart`] wrote. `module` is asked for the content of a digest
    /// and vouches for it: it is not hashed once more for each task. `None` if it has none.
    ///
    /// # Errors
    /// As [`TaskSpec::decode`].
    pub fn decode_apart(
        bytes: &[u8],
        module: impl FnOnce(Digest) -> Option<Arc<[u8]>>,
    ) -> Result<Option<Self>, SpecError> {
        let decoded = Self::decode_as(bytes, |reader| {
            Ok(Digest::from_bytes(reader.array::<{ Digest::LEN }>()?))
        })?;
        let (module_digest, input, limits, grants) = decoded;
        limits.validate()?;
        grants.validate()?;
        let Some(module) = module(module_digest) else {
            return Ok(None);
        };
        Self::check_module(&module)?;
        Ok(Some(Self {
            module,
            module_digest,
            input: input.to_vec(),
            limits,
            grants,
        }))
    }

    fn check_module(module: &[u8]) -> Result<(), SpecError> {
        if module.is_empty() {
            return Err(SpecError::EmptyModule);
        }
        if module.len() > MODULE_BYTES_MAX {
            return Err(SpecError::ModuleTooLarge {
                actual: module.len(),
                limit: MODULE_BYTES_MAX,
            });
        }
        Ok(())
    }

    fn encode_as(&self, module: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let is_plain = self.limits.is_plain() && self.grants.is_empty();
        let mut writer = Writer::new();
        writer.u8(if is_plain { VERSION } else { VERSION_GRANTS });
        self.limits.encode_to(&mut writer);
        module(&mut writer);
        writer.bytes(&self.input);
        if !is_plain {
            self.limits.encode_extra_to(&mut writer);
            self.grants.encode_to(&mut writer);
        }
        writer.finish()
    }

    fn decode_as<'a, T>(
        bytes: &'a [u8],
        module: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<(T, &'a [u8], Limits, Grants), SpecError> {
        let mut reader = Reader::new(bytes);
        let unknown = |value: u8| {
            SpecError::Decode(DecodeError::Unknown {
                at: 0,
                value: value.into(),
            })
        };
        let version = reader.u8()?;
        if !matches!(version, VERSION | VERSION_GRANTS) {
            return Err(unknown(version));
        }
        let mut limits = Limits::decode_from(&mut reader)?;
        let module = module(&mut reader)?;
        let input = reader.bytes(INPUT_BYTES_MAX)?;
        let mut grants = Grants::default();
        if version == VERSION_GRANTS {
            limits.decode_extra_from(&mut reader)?;
            grants = Grants::decode_from(&mut reader)?;
            if limits.is_plain() && grants.is_empty() {
                // One task, one encoding.
                return Err(unknown(version));
            }
        }
        reader.finish()?;
        Ok((module, input, limits, grants))
    }
}

impl fmt::Debug for TaskSpec {
    /// Lengths only: the input belongs to the submitter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSpec")
            .field("module", &self.module_digest)
            .field("module_bytes", &self.module.len())
            .field("input_bytes", &self.input.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClockGrant, RandomnessGrant};
    use fogcompute_base::UnixMillis;
    use fogcompute_base::limits::MESSAGE_BYTES_MAX;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    // The mix client must be able to carry any task in one message.
    const _: () = assert!(TaskSpec::ENCODED_BYTES_MAX < MESSAGE_BYTES_MAX);

    #[test]
    fn empty_module_is_refused() {
        assert_eq!(
            TaskSpec::new(vec![], vec![], Limits::default()),
            Err(SpecError::EmptyModule)
        );
    }

    #[test]
    fn module_and_input_over_their_limits_are_refused() {
        let spec = TaskSpec::new(
            vec![0; MODULE_BYTES_MAX],
            vec![0; INPUT_BYTES_MAX],
            Limits::default(),
        )
        .unwrap();
        assert_eq!(spec.encode().len(), TaskSpec::PLAIN_BYTES_MAX);
        assert_eq!(
            TaskSpec::new(vec![0; MODULE_BYTES_MAX + 1], vec![], Limits::default()),
            Err(SpecError::ModuleTooLarge {
                actual: MODULE_BYTES_MAX + 1,
                limit: MODULE_BYTES_MAX
            })
        );
        assert_eq!(
            TaskSpec::new(vec![0], vec![0; INPUT_BYTES_MAX + 1], Limits::default()),
            Err(SpecError::InputTooLarge {
                actual: INPUT_BYTES_MAX + 1,
                limit: INPUT_BYTES_MAX
            })
        );
    }

    #[test]
    fn unusable_limits_are_refused_when_built_and_when_decoded() {
        let limits = Limits {
            fuel: 0,
            ..Limits::default()
        };
        let refused = Err(SpecError::Limits(LimitsError::NoFuel));
        assert_eq!(TaskSpec::new(vec![1], vec![], limits), refused);
        let mut bytes = TaskSpec::new(vec![1], vec![], Limits::default())
            .unwrap()
            .encode();
        bytes[1..9].fill(0);
        assert_eq!(TaskSpec::decode(&bytes), refused);
    }

    #[test]
    fn other_version_is_refused() {
        let mut bytes = TaskSpec::new(vec![1], vec![], Limits::default())
            .unwrap()
            .encode();
        bytes[0] = 3;
        assert_eq!(
            TaskSpec::decode(&bytes),
            Err(SpecError::Decode(DecodeError::Unknown { at: 0, value: 3 }))
        );
    }

    #[test]
    fn grants_and_further_limits_round_trip_and_a_plain_task_has_one_encoding() {
        let limits = Limits {
            log_bytes: 7,
            wall: Some(Duration::from_millis(1_500)),
            ..Limits::default()
        };
        let grants = Grants {
            host_calls: true,
            wasi: true,
            clock: ClockGrant::Fixed(UnixMillis(9)),
            randomness: RandomnessGrant::Seeded([3; 32]),
            args: vec!["--fast".to_owned(), String::new()],
            env: BTreeMap::from([("LANG".to_owned(), "de".to_owned())]),
            files: BTreeMap::from([("a/b".to_owned(), Arc::from(*b"content"))]),
        };
        let spec = TaskSpec::new(vec![1], vec![2], limits)
            .and_then(|spec| spec.with_grants(grants))
            .unwrap();
        assert_eq!(TaskSpec::decode(&spec.encode()), Ok(spec));

        let plain = TaskSpec::new(vec![1], vec![2], Limits::default()).unwrap();
        let mut bytes = plain.encode();
        assert_eq!(bytes[0], VERSION);
        bytes[0] = VERSION_GRANTS;
        bytes.extend(Limits::default().log_bytes.to_be_bytes());
        bytes.extend([0; 8 + 3 + 6]);
        assert_eq!(
            TaskSpec::decode(&bytes),
            Err(SpecError::Decode(DecodeError::Unknown { at: 0, value: 2 }))
        );
    }

    #[test]
    fn debug_text_does_not_show_the_input() {
        let spec = TaskSpec::new(vec![1], b"secret".to_vec(), Limits::default()).unwrap();
        let text = format!("{spec:?}");
        assert!(text.contains("input_bytes: 6"), "{text}");
        assert!(!text.contains("115"), "{text}");
    }

    #[test]
    fn a_task_without_its_module_is_put_together_again() {
        let spec = TaskSpec::new(vec![7; 100], vec![9; 3], Limits::default())
            .and_then(|spec| {
                spec.with_grants(Grants {
                    host_calls: true,
                    ..Grants::default()
                })
            })
            .unwrap();
        let bytes = spec.encode_apart();
        assert!(bytes.len() < 100);
        let module = |digest| (digest == spec.module_digest()).then(|| Arc::clone(spec.module()));
        let decoded = TaskSpec::decode_apart(&bytes, module).unwrap();
        assert_eq!(decoded.as_ref(), Some(&spec));
        assert_eq!(TaskSpec::decode_apart(&bytes, |_| None), Ok(None));
        // What stands beside the module is looked at as ever.
        let mut bad = bytes;
        bad[1..9].fill(0);
        assert_eq!(
            TaskSpec::decode_apart(&bad, module),
            Err(SpecError::Limits(LimitsError::NoFuel))
        );
    }

    #[test]
    fn the_longest_task_without_its_module_is_within_its_limit() {
        let limits = Limits::default();
        let spec =
            TaskSpec::new(vec![0; MODULE_BYTES_MAX], vec![0; INPUT_BYTES_MAX], limits).unwrap();
        assert!(spec.encode_apart().len() <= TaskSpec::APART_BYTES_MAX);
        assert_eq!(
            spec.encode().len() - spec.encode_apart().len(),
            4 + MODULE_BYTES_MAX - Digest::LEN
        );
    }

    proptest! {
        #[test]
        fn tasks_round_trip(
            module in proptest::collection::vec(any::<u8>(), 1..64),
            input in proptest::collection::vec(any::<u8>(), 0..64),
            fuel in 1..=u64::MAX,
            memory_bytes in 65_536_u64..=(1 << 32),
            output_bytes in 0_u64..=(1 << 20),
        ) {
            let limits = Limits { fuel, memory_bytes, output_bytes, ..Limits::default() };
            let spec = TaskSpec::new(module, input, limits).unwrap();
            prop_assert_eq!(TaskSpec::decode(&spec.encode()), Ok(spec));
        }

        #[test]
        fn any_bytes_are_decoded_without_panic_and_only_one_way(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
            first in VERSION..=VERSION_GRANTS,
        ) {
            if let Some(version) = bytes.first_mut() {
                *version = first;
            }
            if let Ok(spec) = TaskSpec::decode(&bytes) {
                prop_assert_eq!(spec.encode(), bytes.clone());
            }
            let module = Arc::<[u8]>::from(*b"module");
            if let Ok(Some(spec)) = TaskSpec::decode_apart(&bytes, |_| Some(module)) {
                prop_assert_eq!(spec.encode_apart(), bytes);
            }
        }

        #[test]
        fn truncated_tasks_are_refused(cut in 0_usize..40) {
            let bytes = TaskSpec::new(vec![7; 8], vec![9; 3], Limits::default()).unwrap().encode();
            prop_assert_eq!(bytes.len(), 44);
            let refused = matches!(
                TaskSpec::decode(&bytes[..cut]),
                Err(SpecError::Decode(DecodeError::Truncated { .. }))
            );
            prop_assert!(refused);
        }
    }
}
