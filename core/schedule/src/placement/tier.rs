//! What a tier asks of each node.

use fogcompute_base::Tier;

/// How far a promise may be missed: an availability is a decimal that no float holds exactly.
const SLACK: f64 = 1e-9;

/// Least availability of each of `replicas` nodes that fail independently, so that at least one is
/// there as often as `tier` promises: 1 − (1 − A)^(1/r).
pub(super) fn availability_min(tier: Tier, replicas: u8) -> f64 {
    let missing = 1.0 - tier.terms().availability;
    1.0 - libm::pow(missing, 1.0 / f64::from(replicas)) - SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_replicas_need_less_of_each() {
        for (tier, replicas, needed) in [
            (Tier::Bronze, 1, 0.97),
            (Tier::Silver, 2, 0.9),
            (Tier::Gold, 3, 0.9),
            (Tier::Gold, 1, 0.999),
            (Tier::Platinum, 5, 0.841_511),
            (Tier::Platinum, 4, 0.9),
        ] {
            let least = availability_min(tier, replicas);
            assert!(
                (least - needed).abs() < 1e-6,
                "{tier:?} {replicas}: {least}"
            );
            assert!(least <= needed);
        }
    }
}
