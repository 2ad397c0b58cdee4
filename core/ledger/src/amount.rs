//! Amounts and the assets they are counted in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an amount is counted in. Amounts of two assets are never added or moved into each other.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct AssetId(pub u32);

impl AssetId {
    /// The network's own credits.
    pub const CREDITS: Self = Self(0);
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount in base units: one credit is 10^[`DECIMALS`](Self::DECIMALS) of them.
///
/// There are no `+` and `-`: every sum is checked by whoever makes it. As text and in serde it is
/// a plain decimal integer of base units, because 2^128 does not fit the numbers of JSON.
///
/// ```
/// use fogcompute_ledger::Amount;
///
/// let price = Amount::from_credits(2).checked_add(Amount(5 * 10_u128.pow(17))).unwrap();
/// assert_eq!(price.to_credits_string(), "2.5");
/// assert_eq!(price.to_string(), "2500000000000000000");
/// assert_eq!(price.checked_sub(Amount::MAX), None);
/// ```
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Amount(pub u128);

impl Amount {
    /// Digits after the point of one credit.
    pub const DECIMALS: u32 = 18;
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount: about 3.4 · 10^20 credits.
    pub const MAX: Self = Self(u128::MAX);

    const CREDIT: u128 = 10_u128.pow(Self::DECIMALS);

    /// That many whole credits.
    #[must_use]
    pub const fn from_credits(credits: u64) -> Self {
        // `u128::from` is not const. 2^64 · 10^18 < 2^124: cannot overflow.
        Self(credits as u128 * Self::CREDIT)
    }

    /// Credits with the point in place and no trailing zeros, for people to read.
    #[must_use]
    pub fn to_credits_string(self) -> String {
        let (whole, rest) = (self.0 / Self::CREDIT, self.0 % Self::CREDIT);
        if rest == 0 {
            return whole.to_string();
        }
        let rest = format!("{rest:018}");
        format!("{whole}.{}", rest.trim_end_matches('0'))
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` above [`Amount::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// This amount `count` times, or `None` above [`Amount::MAX`].
    #[must_use]
    pub const fn checked_mul(self, count: u128) -> Option<Self> {
        match self.0.checked_mul(count) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not an amount.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseAmountError {
    /// The text is empty.
    #[error("amount is empty")]
    Empty,
    /// A character is not a decimal digit. Signs, points and spaces are not accepted.
    #[error("character {position} of the amount is not a decimal digit")]
    Digit {
        /// Position of the character, from 0.
        position: usize,
    },
    /// The amount is above [`Amount::MAX`].
    #[error("amount exceeds {}", Amount::MAX)]
    TooLarge,
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        if text.is_empty() {
            return Err(ParseAmountError::Empty);
        }
        let mut value = 0_u128;
        for (position, character) in text.chars().enumerate() {
            let digit = character
                .to_digit(10)
                .ok_or(ParseAmountError::Digit { position })?;
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(u128::from(digit)))
                .ok_or(ParseAmountError::TooLarge)?;
        }
        Ok(Self(value))
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

impl TryFrom<String> for Amount {
    type Error = ParseAmountError;

    fn try_from(text: String) -> Result<Self, ParseAmountError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credits_are_written_with_eighteen_decimals() {
        assert_eq!(Amount::ZERO.to_credits_string(), "0");
        assert_eq!(Amount(1).to_credits_string(), "0.000000000000000001");
        assert_eq!(Amount::from_credits(12).to_credits_string(), "12");
        assert_eq!(
            Amount(10_500_000_000_000_000_000).to_credits_string(),
            "10.5"
        );
        assert_eq!(
            Amount::MAX.to_credits_string(),
            "340282366920938463463.374607431768211455"
        );
        assert_eq!(
            Amount::from_credits(u64::MAX).0,
            u128::from(u64::MAX) * 1_000_000_000_000_000_000
        );
    }

    #[test]
    fn text_that_is_not_a_plain_integer_is_refused() {
        assert_eq!("".parse::<Amount>(), Err(ParseAmountError::Empty));
        for (text, position) in [("-1", 0), ("+1", 0), ("1.5", 1), ("1 ", 1), ("1e3", 1)] {
            assert_eq!(
                text.parse::<Amount>(),
                Err(ParseAmountError::Digit { position }),
                "{text}"
            );
        }
        assert_eq!(
            "340282366920938463463374607431768211456".parse::<Amount>(),
            Err(ParseAmountError::TooLarge)
        );
    }

    #[test]
    fn sums_that_do_not_fit_are_none() {
        assert_eq!(Amount::MAX.checked_add(Amount(1)), None);
        assert_eq!(Amount::ZERO.checked_sub(Amount(1)), None);
        assert_eq!(Amount::MAX.checked_mul(2), None);
    }

    #[test]
    fn serde_writes_a_decimal_string() {
        let text = serde_json::to_string(&Amount::MAX).unwrap();
        assert_eq!(text, "\"340282366920938463463374607431768211455\"");
        assert_eq!(serde_json::from_str::<Amount>(&text).unwrap(), Amount::MAX);
        assert!(serde_json::from_str::<Amount>("\"-1\"").is_err());
        assert!(serde_json::from_str::<Amount>("5").is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(value in any::<u128>()) {
            prop_assert_eq!(Amount(value).to_string().parse(), Ok(Amount(value)));
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,48}") {
            let _ = text.parse::<Amount>();
        }
    }
}
