//! Names of rules and facts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a rule or of a fact: 1 to 32 characters of `a` to `z`, `0` to `9` and `_`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name(String);

/// Why a text is not a name.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// The text is empty or too long.
    #[error("name has {actual} bytes, not 1 to {limit}")]
    Length {
        /// Bytes it has.
        actual: usize,
        /// [`Name::BYTES_MAX`].
        limit: usize,
    },
    /// A character does not belong into a name.
    #[error("character {position} of the name is none of a to z, 0 to 9 and _")]
    Character {
        /// Position of the character, from 0.
        position: usize,
    },
}

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 32;

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that stands in this program.
    pub(crate) fn fixed(text: &'static str) -> Self {
        text.parse().expect("names in the program are well formed")
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(NameError::Length {
                actual: text.len(),
                limit: Self::BYTES_MAX,
            });
        }
        let strange = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        match text.chars().position(strange) {
            Some(position) => Err(NameError::Character { position }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!("bug_2".parse::<Name>().unwrap().as_str(), "bug_2");
        for text in ["", &"a".repeat(33)] {
            assert_eq!(
                text.parse::<Name>(),
                Err(NameError::Length {
                    actual: text.len(),
                    limit: 32
                })
            );
        }
        for text in ["a.b", "aB", "aé"] {
            assert_eq!(
                text.parse::<Name>(),
                Err(NameError::Character { position: 1 })
            );
        }
        assert!(serde_json::from_str::<Name>("\"a b\"").is_err());
    }
}
