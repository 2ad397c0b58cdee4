//! Roles, and what they weigh.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Weight;

/// A role in governance. An account has one; roles other than the first are granted and revoked by
/// proposals only, but for those a network is founded with.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everybody else. Weighs what it holds.
    #[default]
    Citizen,
    /// Votes for others, by trade.
    Delegate,
    /// Sits on a council.
    Councilor,
    /// May cancel proposals.
    Guardian,
    /// May cancel proposals.
    King,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 5] = [
        Self::Citizen,
        Self::Delegate,
        Self::Councilor,
        Self::Guardian,
        Self::King,
    ];

    /// The role's number in the canonical encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Citizen => 0,
            Self::Delegate => 1,
            Self::Councilor => 2,
            Self::Guardian => 3,
            Self::King => 4,
        }
    }

    /// The role of that number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }

    /// The role as commands and files name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Citizen => "citizen",
            Self::Delegate => "delegate",
            Self::Councilor => "councilor",
            Self::Guardian => "guardian",
            Self::King => "king",
        }
    }

    /// Whether it may cancel proposals of others.
    #[must_use]
    pub const fn guards(self) -> bool {
        matches!(self, Self::Guardian | Self::King)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What roles weigh, in thousandths of what their holders have. A citizen's 1,000 is the measure
/// and cannot be changed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// For [`Role::Delegate`].
    pub delegate: u32,
    /// For [`Role::Councilor`].
    pub councilor: u32,
    /// For [`Role::Guardian`].
    pub guardian: u32,
    /// For [`Role::King`].
    pub king: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            delegate: 1_500,
            councilor: 2_000,
            guardian: 5_000,
            king: 10_000,
        }
    }
}

impl Weights {
    /// A citizen's, in thousandths.
    pub const CITIZEN: u32 = 1_000;

    /// What a role weighs, in thousandths: no less than a citizen, whatever the numbers say.
    #[must_use]
    pub fn of(&self, role: Role) -> u32 {
        let weight = match role {
            Role::Citizen => Self::CITIZEN,
            Role::Delegate => self.delegate,
            Role::Councilor => self.councilor,
            Role::Guardian => self.guardian,
            Role::King => self.king,
        };
        weight.max(Self::CITIZEN)
    }

    /// What so many base units weigh in the hands of a role, rounded down; `None` above 128 bits.
    #[must_use]
    pub fn weigh(&self, role: Role, units: u128) -> Option<Weight> {
        let mille = u128::from(self.of(role));
        // Split so that nothing overflows on the way.
        let (whole, rest) = (units / 1_000, units % 1_000);
        let weight = whole
            .checked_mul(mille)?
            .checked_add(rest * mille / 1_000)?;
        Some(Weight(weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    #[test]
    fn codes_name_the_roles() {
        for role in Role::ALL {
            assert_eq!(Role::from_code(role.code()), Some(role));
        }
        assert_eq!(Role::from_code(5), None);
    }

    #[test]
    fn a_citizen_weighs_what_it_has_and_a_king_ten_times_that() {
        let weights = Weights::default();
        assert_eq!(
            weights.weigh(Role::Citizen, u128::MAX),
            Some(Weight(u128::MAX))
        );
        assert_eq!(weights.weigh(Role::Delegate, 3), Some(Weight(4)));
        assert_eq!(weights.weigh(Role::King, 7), Some(Weight(70)));
        assert_eq!(weights.weigh(Role::King, u128::MAX / 2), None);
    }

    proptest! {
        #[test]
        fn weights_are_rounded_down_exactly(units in any::<u128>(), king in 1_000..1_000_000_u32) {
            let weights = Weights { king, ..Weights::default() };
            let exact = BigUint::from(units) * king / 1_000_u32;
            let found = weights.weigh(Role::King, units).map(|weight| weight.0);
            prop_assert_eq!(found, u128::try_from(exact).ok());
        }
    }
}
