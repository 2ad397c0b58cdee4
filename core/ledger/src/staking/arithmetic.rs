//! Products that need more than 128 bits, and shares.

use std::fmt;

use ethnum::U256;
use serde::{Deserialize, Serialize};

use crate::{Amount, ParseAmountError};

/// A part of an operator's stake. Its worth in tokens falls with every slash and never rises above
/// one token a share.
///
/// As text and in serde a decimal integer, like [`Amount`].
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Shares(pub u128);

impl Shares {
    /// None.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Shares> for String {
    fn from(shares: Shares) -> Self {
        shares.to_string()
    }
}

impl TryFrom<String> for Shares {
    type Error = ParseAmountError;

    fn try_from(text: String) -> Result<Self, ParseAmountError> {
        text.parse().map(|Amount(shares)| Self(shares))
    }
}

/// `a * b / c` rounded down; `None` if that exceeds 128 bits or `c` is zero.
pub(super) fn mul_div(a: u128, b: u128, c: u128) -> Option<u128> {
    let quotient = product(a, b).checked_div(U256::from(c))?;
    u128::try_from(quotient).ok()
}

/// `a * b / c` rounded up; `None` if that exceeds 128 bits or `c` is zero.
pub(super) fn mul_div_up(a: u128, b: u128, c: u128) -> Option<u128> {
    let (product, c) = (product(a, b), U256::from(c));
    let down = product.checked_div(c)?;
    let up = if down * c == product { down } else { down + 1 };
    u128::try_from(up).ok()
}

fn product(a: u128, b: u128) -> U256 {
    // (2^128 - 1)^2 < 2^256: cannot overflow.
    U256::from(a) * U256::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!(mul_div(1, 1, 0), None);
        assert_eq!(mul_div_up(1, 1, 0), None);
        assert_eq!(mul_div(u128::MAX, u128::MAX, u128::MAX), Some(u128::MAX));
        assert_eq!(mul_div(u128::MAX, 2, 1), None);
    }

    fn sizes() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0..128_u32).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn quotients_are_those_of_big_integers(a in sizes(), b in sizes(), c in sizes()) {
            prop_assume!(c > 0);
            let exact = BigUint::from(a) * BigUint::from(b);
            let (down, up) = (&exact / c, (&exact + (c - 1)) / c);
            prop_assert_eq!(mul_div(a, b, c), u128::try_from(down).ok());
            prop_assert_eq!(mul_div_up(a, b, c), u128::try_from(up).ok());
        }
    }
}
