//! What to run.

use std::fmt;
use std::sync::Arc;

use fogcompute_base::Digest;
use fogcompute_base::limits::{INPUT_BYTES_MAX, MODULE_BYTES_MAX};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use thiserror::Error;

use crate::{Limits, LimitsError};

/// Version of the encoding.
const VERSION: u8 = 1;

/// Why a task cannot be built or decoded.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
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
#[derive(Clone, Eq, PartialEq)]
pub struct TaskSpec {
    module: Arc<[u8]>,
    module_digest: Digest,
    input: Vec<u8>,
    limits: Limits,
}

impl TaskSpec {
    /// Longest encoding, in bytes. More than one frame of a link, less than one message.
    pub const ENCODED_BYTES_MAX: usize =
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
        if module.is_empty() {
            return Err(SpecError::EmptyModule);
        }
        if module.len() > MODULE_BYTES_MAX {
            return Err(SpecError::ModuleTooLarge {
                actual: module.len(),
                limit: MODULE_BYTES_MAX,
            });
        }
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
        })
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

    /// The task as bytes, see the table above.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        self.limits.encode_to(&mut writer);
        writer.bytes(&self.module);
        writer.bytes(&self.input);
        writer.finish()
    }

    /// Reads a task from bytes of a peer.
    ///
    /// # Errors
    /// [`SpecError::Decode`] for bytes of another shape, and those of [`TaskSpec::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            other => {
                return Err(SpecError::Decode(DecodeError::Unknown {
                    at: 0,
                    value: other.into(),
                }));
            }
        }
        let limits = Limits::decode_from(&mut reader)?;
        let module = reader.bytes(MODULE_BYTES_MAX)?;
        let input = reader.bytes(INPUT_BYTES_MAX)?;
        reader.finish()?;
        Self::new(module, input, limits)
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
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::limits::MESSAGE_BYTES_MAX;
    use proptest::prelude::*;

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
        assert_eq!(spec.encode().len(), TaskSpec::ENCODED_BYTES_MAX);
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
        bytes[0] = 2;
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

    proptest! {
        #[test]
        fn tasks_round_trip(
            module in proptest::collection::vec(any::<u8>(), 1..64),
            input in proptest::collection::vec(any::<u8>(), 0..64),
            fuel in 1..=u64::MAX,
            memory_bytes in 65_536_u64..=(1 << 32),
            output_bytes in 0_u64..=(1 << 20),
        ) {
            let limits = Limits { fuel, memory_bytes, output_bytes };
            let spec = TaskSpec::new(module, input, limits).unwrap();
            prop_assert_eq!(TaskSpec::decode(&spec.encode()), Ok(spec));
        }

        #[test]
        fn any_bytes_are_decoded_without_panic_and_only_one_way(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            if let Ok(spec) = TaskSpec::decode(&bytes) {
                prop_assert_eq!(spec.encode(), bytes);
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
