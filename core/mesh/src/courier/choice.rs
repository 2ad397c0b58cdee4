//! Who gets an envelope to carry, and how many copies of it.

use super::prophet::{Predictability, ProphetConfig};
use super::{COPIES, COPIES_MAX};

/// How couriers are chosen. Whoever the envelope is for gets it from every holder, whatever the strategy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CourierStrategy {
    /// Nobody: the sender waits until it meets the receiver. Costs least, and reaches least.
    Direct,
    /// Everybody who does not have it. Reaches most, and costs most.
    ///
    /// Source: Vahdat & Becker 2000, "Epidemic routing for partially-connected ad hoc networks".
    Epidemic,
    /// The first couriers who are met, each with half of the copies of who gives; with one copy left, nobody but
    /// the receiver. With [`COPIES`] copies this is what the apps do.
    ///
    /// Source: Spyropoulos et al. 2005, "Spray and wait".
    SprayAndWait {
        /// Copies that the sender gives each of its couriers.
        copies: u8,
    },
    /// Couriers who are likelier to meet the receiver, each with half of the copies; the last copy is passed on to
    /// them and not kept. No holder gives it to more than [`ProphetConfig::forwards_max`]. Couriers who do not
    /// tell whom they meet are treated as by the apps.
    ///
    /// Source: RFC 6693 §3.6, GTMX; the budget is that of spray and wait.
    Prophet(ProphetConfig),
}

impl Default for CourierStrategy {
    fn default() -> Self {
        Self::SprayAndWait { copies: COPIES }
    }
}

/// What a courier knows of an envelope's receiver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Knowledge {
    /// It does not say.
    Unsaid,
    /// How likely it says that it is to reach the receiver.
    Says(Predictability),
}

/// How the copies of one envelope are divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Division {
    /// Copies that the courier is given.
    pub given: u8,
    /// Copies that stay. With none the envelope does.
    pub kept: u8,
}

impl CourierStrategy {
    /// Whether couriers are asked what they know and have: only peers of ours understand that.
    #[must_use]
    pub const fn asks(&self) -> bool {
        matches!(self, Self::Epidemic | Self::Prophet(_))
    }

    /// The parameters of predictions, if these are used.
    #[must_use]
    pub const fn prophet(&self) -> Option<ProphetConfig> {
        match self {
            Self::Prophet(config) => Some(*config),
            _ => None,
        }
    }

    /// Copies with which an envelope starts at each of the sender's couriers.
    #[must_use]
    pub fn copies(&self) -> u8 {
        let copies = match self {
            Self::Direct | Self::Epidemic => 1,
            Self::SprayAndWait { copies } => *copies,
            Self::Prophet(config) => config.copies,
        };
        copies.clamp(1, COPIES_MAX)
    }

    /// Whether the sender of an envelope, which keeps it, gives it to a courier.
    #[must_use]
    pub fn starts(&self, own: Predictability, theirs: Knowledge) -> bool {
        match (self, theirs) {
            (Self::Direct, _) => false,
            (Self::Prophet(_), Knowledge::Says(theirs)) => theirs > own,
            _ => true,
        }
    }

    /// What a holder of `copies` that gave to `forwards` others so far gives to a courier that has none.
    #[must_use]
    pub fn divide(
        &self,
        copies: u8,
        forwards: u8,
        own: Predictability,
        theirs: Knowledge,
    ) -> Option<Division> {
        let half = || {
            let given = copies / 2;
            (given > 0).then_some(Division {
                given,
                kept: copies - given,
            })
        };
        match (self, theirs) {
            (Self::Direct, _) => None,
            (Self::Epidemic, _) => Some(Division {
                given: copies.max(1),
                kept: copies.max(1),
            }),
            (Self::SprayAndWait { .. }, _) | (Self::Prophet(_), Knowledge::Unsaid) => half(),
            (Self::Prophet(config), Knowledge::Says(theirs)) => {
                if theirs <= own || forwards >= config.forwards_max {
                    return None;
                }
                half().or(Some(Division { given: 1, kept: 0 }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRATEGIES: [CourierStrategy; 2] = [
        CourierStrategy::SprayAndWait { copies: 4 },
        CourierStrategy::Prophet(ProphetConfig {
            encounter_max: Predictability::ONE,
            encounter_first: Predictability::ONE,
            first_threshold: Predictability::ZERO,
            beta: Predictability::ONE,
            gamma: Predictability::ONE,
            delta: Predictability::ZERO,
            unit: std::time::Duration::from_secs(1),
            interval_typical: std::time::Duration::from_secs(1),
            peers_max: 1,
            told_max: 1,
            forwards_max: 3,
            copies: 8,
        }),
    ];

    #[test]
    fn a_budget_is_divided_and_never_grows() {
        let chances = [0, 1, 500_000_000, 1_000_000_000].map(Predictability::from_billionths);
        for strategy in STRATEGIES {
            for copies in 0..=COPIES_MAX {
                for forwards in 0..5 {
                    for own in chances {
                        for theirs in chances {
                            for says in [Knowledge::Unsaid, Knowledge::Says(theirs)] {
                                let division = strategy.divide(copies, forwards, own, says);
                                let Some(Division { given, kept }) = division else {
                                    continue;
                                };
                                assert!(given > 0);
                                assert_eq!(given + kept, copies.max(1), "{strategy:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_copy_waits_with_spray_and_goes_to_who_is_likelier_with_prophet() {
        let [spray, prophet] = STRATEGIES;
        let (low, high) = (
            Predictability::from_billionths(1),
            Predictability::from_billionths(2),
        );
        assert_eq!(spray.divide(1, 0, low, Knowledge::Says(high)), None);
        let divide = |forwards, own, theirs| prophet.divide(1, forwards, own, theirs);
        let moved = Some(Division { given: 1, kept: 0 });
        assert_eq!(divide(0, low, Knowledge::Says(high)), moved);
        assert_eq!(divide(2, low, Knowledge::Says(high)), moved);
        assert_eq!(divide(3, low, Knowledge::Says(high)), None);
        for theirs in [low, high] {
            assert_eq!(divide(0, high, Knowledge::Says(theirs)), None);
        }
        assert_eq!(divide(0, low, Knowledge::Unsaid), None);
    }

    #[test]
    fn nobody_is_asked_to_carry_what_is_sent_directly_and_everybody_in_an_epidemic() {
        let zero = Predictability::ZERO;
        let (direct, epidemic) = (CourierStrategy::Direct, CourierStrategy::Epidemic);
        assert!(!direct.starts(zero, Knowledge::Unsaid));
        assert_eq!(direct.divide(8, 0, zero, Knowledge::Unsaid), None);
        let one = Predictability::ONE;
        assert!(epidemic.starts(one, Knowledge::Says(zero)));
        let division = Some(Division { given: 1, kept: 1 });
        assert_eq!(
            epidemic.divide(1, 200, one, Knowledge::Says(zero)),
            division
        );
        assert_eq!(
            CourierStrategy::SprayAndWait { copies: 200 }.copies(),
            COPIES_MAX
        );
    }
}
