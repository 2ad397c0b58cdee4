//! The implementations, and which of them this CPU can run.

use std::fmt;

use thiserror::Error;

use crate::batch::Batch;
use crate::single::Single;

/// An implementation of X25519.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Backend {
    /// `x25519-dalek`: portable Rust, one multiplication at a time.
    Dalek,
    /// `graviola`: the assembly of s2n-bignum, one multiplication at a time. `x86_64` with ADX, AES,
    /// AVX2, BMI1, BMI2 and PCLMULQDQ, or `aarch64` with NEON, AES, PMULL and SHA-2: some of it not
    /// for this, but the crate panics without.
    Graviola,
    /// Four at once with AVX2.
    Avx2x4,
    /// Eight at once with AVX-512F.
    Avx512x8,
    /// Eight at once with AVX-512 IFMA, which multiplies 52-bit integers.
    Ifmax8,
}

impl Backend {
    /// All of them, whether or not this CPU can run them.
    pub const ALL: &[Self] = &[
        Self::Dalek,
        Self::Graviola,
        Self::Avx2x4,
        Self::Avx512x8,
        Self::Ifmax8,
    ];

    /// A short name for tables and logs, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dalek => "dalek",
            Self::Graviola => "graviola",
            Self::Avx2x4 => "avx2x4",
            Self::Avx512x8 => "avx512x8",
            Self::Ifmax8 => "ifmax8",
        }
    }

    /// How many multiplications one call makes.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self {
            Self::Dalek | Self::Graviola => 1,
            Self::Avx2x4 => 4,
            Self::Avx512x8 | Self::Ifmax8 => 8,
        }
    }

    /// Whether this CPU, and this build, can run it.
    #[must_use]
    pub fn available(self) -> bool {
        Single::new(self).is_some() || Batch::new(self).is_some()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The implementations that this CPU can run, in the order of [`Backend::ALL`].
#[must_use]
pub fn available() -> Vec<Backend> {
    let all = Backend::ALL.iter().copied();
    all.filter(|backend| backend.available()).collect()
}

/// Why an [`Engine`](crate::Engine) cannot be made of these implementations.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Unavailable {
    /// This CPU lacks instructions that the implementation needs, or is of another architecture.
    /// Take one of [`available`].
    #[error("this CPU cannot run the {backend} implementation of X25519")]
    Cpu {
        /// What was asked for.
        backend: Backend,
    },
    /// An implementation that makes several multiplications at once was given for single ones, or
    /// the other way round. See [`Backend::lanes`].
    #[error("the {backend} implementation of X25519 has {} lanes, which is not its use here", .backend.lanes())]
    Lanes {
        /// What was asked for.
        backend: Backend,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_implementation_is_always_available() {
        assert!(available().contains(&Backend::Dalek));
        assert!(available().iter().all(|backend| backend.available()));
    }

    #[test]
    fn names_differ_and_are_what_is_displayed() {
        for (i, backend) in Backend::ALL.iter().enumerate() {
            assert_eq!(backend.to_string(), backend.name());
            assert!(
                Backend::ALL[..i]
                    .iter()
                    .all(|other| other.name() != backend.name())
            );
        }
    }

    #[test]
    fn errors_name_the_implementation() {
        let backend = Backend::Avx512x8;
        assert_eq!(
            Unavailable::Cpu { backend }.to_string(),
            "this CPU cannot run the avx512x8 implementation of X25519"
        );
        assert_eq!(
            Unavailable::Lanes { backend }.to_string(),
            "the avx512x8 implementation of X25519 has 8 lanes, which is not its use here"
        );
    }
}
