//! Identifiers, each its own type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not an identifier.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseIdError {
    /// The text has the wrong number of hexadecimal digits.
    #[error("identifier has {actual} characters, expected {expected} hexadecimal digits")]
    Length {
        /// Digits the identifier has.
        expected: usize,
        /// Characters that were given.
        actual: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("character {position} of the identifier is not a hexadecimal digit")]
    Digit {
        /// Position of the character, from 0.
        position: usize,
    },
}

pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(ParseIdError::Length {
            expected: 2 * N,
            actual: text.chars().count(),
        });
    }
    let mut bytes = [0; N];
    // No branch for each digit: batches of the ledger bring thousands of them.
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    if seen < NO_DIGIT {
        return Ok(bytes);
    }
    let bad = |digit: &u8| VALUES[usize::from(*digit)] == NO_DIGIT;
    let position = digits.iter().position(bad);
    Err(ParseIdError::Digit {
        position: position.expect("one of them was seen"),
    })
}

/// In [`VALUES`], what is no hexadecimal digit: it sets a bit that no digit has.
const NO_DIGIT: u8 = 1 << 4;

/// What each byte is worth as a hexadecimal digit.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the identifier from its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The identifier's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first four bytes in hexadecimal, for people to read. Not unique.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                write_hex(&self.0, f)?;
                f.write_str(")")
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": format!("^[0-9a-fA-F]{{{}}}$", 2 * $len),
                })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }
    };
}

id! {
    /// A node: its X25519 public key, which is also its address in the mixnet.
    NodeId, 32
}
id! {
    /// A job: what a submitter asked for, one or more tasks.
    JobId, 16
}
id! {
    /// A task: the unit that is placed on one node and run there.
    TaskId, 16
}
id! {
    /// An account of the ledger.
    AccountId, 16
}
id! {
    /// A transfer between two accounts, chosen by the caller so that a repeat is recognised.
    TransferId, 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let id = JobId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "30313233");
    }

    #[test]
    fn bad_text_names_what_is_wrong() {
        assert_eq!(
            "abc".parse::<TaskId>(),
            Err(ParseIdError::Length {
                expected: 32,
                actual: 3
            })
        );
        let text = format!("{}g{}", "0".repeat(5), "0".repeat(26));
        assert_eq!(
            text.parse::<TaskId>(),
            Err(ParseIdError::Digit { position: 5 })
        );
        assert!("é".repeat(16).parse::<TaskId>().is_err());
    }

    #[test]
    fn a_byte_is_a_digit_exactly_if_it_is_one_of_base_16() {
        for byte in 0..=127_u8 {
            let digit = char::from(byte);
            let text = format!("{}{digit}", "0".repeat(31));
            let parsed = text.parse::<TaskId>();
            match digit.to_digit(16) {
                Some(value) => assert_eq!(parsed.unwrap().as_bytes()[15], value as u8, "{digit:?}"),
                None => assert_eq!(parsed, Err(ParseIdError::Digit { position: 31 })),
            }
        }
    }
}
