//! One scale of service for jobs, and what each tier of it promises.

use serde::{Deserialize, Serialize};

/// What a job is promised. Higher tiers come first.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[repr(u8)]
pub enum Tier {
    /// For what must not fail.
    Platinum = 0,
    /// For what somebody depends on.
    Gold = 1,
    /// For what should not be done twice.
    Silver = 2,
    /// The default: best effort on one node.
    #[default]
    Bronze = 3,
}

/// What nodes are told apart by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Domain {
    /// Each node is a domain of its own.
    Node,
    /// Nodes that share power and network.
    Zone,
    /// Nodes of one part of the world.
    Region,
    /// Nodes that one party runs.
    Operator,
}

/// Whether a running job may be made to give up its place for a more urgent one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preemption {
    /// It stays until it is done.
    Never,
    /// It goes, but not before this notice has passed.
    AfterNotice {
        /// The notice, in milliseconds.
        notice_ms: u64,
    },
}

/// What a tier promises and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// How many nodes run the job, each on its own.
    pub replicas: u8,
    /// What the nodes of two replicas must differ in, all of it.
    pub distinct: &'static [Domain],
    /// Latency of a node that at most one answer in twenty exceeds, in milliseconds.
    pub latency_ms_p95: f64,
    /// Share of the time for which at least one replica is there, 0 to 1.
    pub availability: f64,
    /// Largest share of wrong or missing answers, 0 to 1.
    pub error_rate: f64,
    /// Whether the job gives up its place.
    pub preemption: Preemption,
    /// What a node's asking price is multiplied by, in thousandths.
    pub price_permille: u64,
}

const PLATINUM: Terms = Terms {
    replicas: 5,
    distinct: &[Domain::Node, Domain::Zone, Domain::Operator],
    latency_ms_p95: 100.0,
    availability: 0.9999,
    error_rate: 0.0001,
    preemption: Preemption::Never,
    price_permille: 10_000,
};

const GOLD: Terms = Terms {
    replicas: 3,
    distinct: &[Domain::Node, Domain::Zone, Domain::Operator],
    latency_ms_p95: 400.0,
    availability: 0.999,
    error_rate: 0.001,
    preemption: Preemption::Never,
    price_permille: 5_000,
};

const SILVER: Terms = Terms {
    replicas: 2,
    distinct: &[Domain::Node],
    latency_ms_p95: 1_200.0,
    availability: 0.99,
    error_rate: 0.01,
    preemption: Preemption::AfterNotice { notice_ms: 300_000 },
    price_permille: 2_500,
};

const BRONZE: Terms = Terms {
    replicas: 1,
    distinct: &[Domain::Node],
    latency_ms_p95: 2_500.0,
    availability: 0.97,
    error_rate: 0.03,
    preemption: Preemption::AfterNotice { notice_ms: 30_000 },
    price_permille: 1_000,
};

impl Tier {
    /// All tiers, the highest first.
    pub const ALL: [Self; 4] = [Self::Platinum, Self::Gold, Self::Silver, Self::Bronze];

    /// What the tier promises. This table is the only definition there is:
    ///
    /// | | Platinum | Gold | Silver | Bronze |
    /// |---|---|---|---|---|
    /// | replicas | 5 | 3 | 2 | 1 |
    /// | on distinct | nodes, zones, operators | nodes, zones, operators | nodes | |
    /// | latency, p95 | 100 ms | 400 ms | 1200 ms | 2500 ms |
    /// | availability | 99.99 % | 99.9 % | 99 % | 97 % |
    /// | errors | 0.01 % | 0.1 % | 1 % | 3 % |
    /// | preempted | never | never | after 5 min notice | after 30 s notice |
    /// | price | ×10 | ×5 | ×2.5 | ×1 |
    ///
    /// Platinum goes on where Gold leads: a tenth of the failures and about a third of the latency
    /// again, and two replicas more, so that a majority is left when two operators fail at once.
    #[must_use]
    pub const fn terms(self) -> &'static Terms {
        match self {
            Self::Platinum => &PLATINUM,
            Self::Gold => &GOLD,
            Self::Silver => &SILVER,
            Self::Bronze => &BRONZE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_tier_promises_no_less_and_costs_more() {
        for pair in Tier::ALL.windows(2) {
            let (high, low) = (pair[0].terms(), pair[1].terms());
            assert!(pair[0] < pair[1]);
            assert!(high.replicas > low.replicas);
            assert!(high.latency_ms_p95 < low.latency_ms_p95);
            assert!(high.availability > low.availability);
            assert!(high.error_rate < low.error_rate);
            assert!(high.price_permille > low.price_permille);
            assert!(
                low.distinct
                    .iter()
                    .all(|domain| high.distinct.contains(domain))
            );
            if let Preemption::AfterNotice { notice_ms } = high.preemption {
                assert!(matches!(
                    low.preemption,
                    Preemption::AfterNotice { notice_ms: less } if less < notice_ms
                ));
            }
        }
    }

    #[test]
    fn terms_are_in_range() {
        for tier in Tier::ALL {
            let terms = tier.terms();
            assert!(terms.replicas >= 1 && terms.price_permille >= 1_000);
            assert!((0.0..1.0).contains(&terms.availability));
            assert!((0.0..1.0).contains(&terms.error_rate));
            assert!(terms.distinct.contains(&Domain::Node));
        }
    }
}
