//! What is known of a node's reliability.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Probability with which a node is worse than its [`Reputation::lower_bound`].
pub const LOWER_BOUND_QUANTILE: f64 = 0.05;

/// Most evidence a reputation holds. More scales both counts down, so that the recent keeps its
/// say and the numbers stay within what the quantile is computed for.
pub const EVIDENCE_MAX: f64 = 1e6;

/// Why evidence was refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum ReputationError {
    /// Evidence must be a finite number from 0.
    #[error("evidence of {value} is not a finite number from 0")]
    Evidence {
        /// What was given.
        value: f64,
    },
    /// A forgetting factor must be from 0, which forgets all, to 1, which forgets nothing.
    #[error("forgetting factor {lambda} is not from 0 to 1")]
    Lambda {
        /// What was given.
        lambda: f64,
    },
}

/// A node's reliability as the Beta distribution of its probability to succeed.
///
/// Place on [`lower_bound`](Self::lower_bound) rather than on [`expected`](Self::expected): a node
/// that has succeeded once is expected to succeed two times in three, but may well be bad.
///
/// Source: Jøsang and Ismail 2002, "The Beta reputation system".
///
/// # Examples
///
/// ```
/// use fogcompute_schedule::Reputation;
///
/// let mut newcomer = Reputation::default();
/// newcomer.record(true, 1.0)?;
/// let known = Reputation::from_evidence(90.0, 10.0)?;
/// assert!(newcomer.lower_bound() < 0.23);
/// assert!(known.lower_bound() > 0.83);
/// # Ok::<(), fogcompute_schedule::ReputationError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Evidence", into = "Evidence")]
pub struct Reputation {
    successes: f64,
    failures: f64,
}

/// [`Reputation`] as it is stored.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    successes: f64,
    failures: f64,
}

impl TryFrom<Evidence> for Reputation {
    type Error = ReputationError;

    fn try_from(evidence: Evidence) -> Result<Self, ReputationError> {
        Self::from_evidence(evidence.successes, evidence.failures)
    }
}

impl From<Reputation> for Evidence {
    fn from(reputation: Reputation) -> Self {
        Self {
            successes: reputation.successes,
            failures: reputation.failures,
        }
    }
}

fn checked(value: f64) -> Result<f64, ReputationError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(ReputationError::Evidence { value })
    }
}

impl Reputation {
    /// A reputation of so many successes and failures, which may be fractions.
    ///
    /// # Errors
    ///
    /// [`ReputationError::Evidence`] if one is negative or not finite.
    pub fn from_evidence(successes: f64, failures: f64) -> Result<Self, ReputationError> {
        Ok(Self {
            successes: checked(successes)?,
            failures: checked(failures)?,
        }
        .limited())
    }

    /// Scales evidence beyond [`EVIDENCE_MAX`] down.
    fn limited(self) -> Self {
        // Halves, so that the sum of two huge counts stays finite.
        let excess = (self.successes / 2.0 + self.failures / 2.0) / (EVIDENCE_MAX / 2.0);
        if excess <= 1.0 {
            return self;
        }
        Self {
            successes: self.successes / excess,
            failures: self.failures / excess,
        }
    }

    /// Successes counted.
    #[must_use]
    pub const fn successes(&self) -> f64 {
        self.successes
    }

    /// Failures counted.
    #[must_use]
    pub const fn failures(&self) -> f64 {
        self.failures
    }

    /// Counts one more outcome. `weight` says how much it matters; 1 is usual.
    ///
    /// # Errors
    ///
    /// [`ReputationError::Evidence`] if the weight is negative or not finite.
    pub fn record(&mut self, success: bool, weight: f64) -> Result<(), ReputationError> {
        let weight = checked(weight)?;
        let (successes, failures) = if success {
            (weight, 0.0)
        } else {
            (0.0, weight)
        };
        // Saturating: a weight near the largest number must not make the sum infinite.
        *self = Self {
            successes: (self.successes + successes).min(f64::MAX),
            failures: (self.failures + failures).min(f64::MAX),
        }
        .limited();
        Ok(())
    }

    /// Lets past evidence count `lambda` times as much, before an outcome or once in a while.
    ///
    /// # Errors
    ///
    /// [`ReputationError::Lambda`] if `lambda` is not from 0 to 1.
    pub fn forget(&mut self, lambda: f64) -> Result<(), ReputationError> {
        if !(0.0..=1.0).contains(&lambda) {
            return Err(ReputationError::Lambda { lambda });
        }
        self.successes *= lambda;
        self.failures *= lambda;
        Ok(())
    }

    /// The expected probability of success, 0 to 1; a half when nothing is known.
    #[must_use]
    pub fn expected(&self) -> f64 {
        (self.successes + 1.0) / (self.successes + self.failures + 2.0)
    }

    /// The probability of success that the node exceeds with 95 % certainty, 0 to 1; 0.05 when
    /// nothing is known. Accurate to about ten digits, the same on every platform.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        beta_quantile(
            LOWER_BOUND_QUANTILE,
            self.successes + 1.0,
            self.failures + 1.0,
        )
    }
}

/// The x for which the regularised incomplete beta function of `a`, `b` ≥ 1 is `p`.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let log_beta = log_beta(a, b);
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = a / (a + b);
    // Newton's method held inside a bracket that every step narrows; at worst it is bisection, and
    // 100 halvings exhaust a double.
    for _ in 0..100 {
        let error = regularised_beta(x, a, b, log_beta) - p;
        if error > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let slope = libm::exp((a - 1.0) * libm::log(x) + (b - 1.0) * libm::log1p(-x) - log_beta);
        let newton = x - error / slope;
        let next = if newton > low && newton < high {
            newton
        } else {
            low + (high - low) / 2.0
        };
        let step = (next - x).abs();
        x = next;
        if step <= 1e-15 * x {
            break;
        }
    }
    x
}

fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// The regularised incomplete beta function I_x(a, b) by its continued fraction.
///
/// Source: NIST Digital Library of Mathematical Functions, 8.17.22, evaluated by the modified
/// method of Lentz.
fn regularised_beta(x: f64, a: f64, b: f64, log_beta: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = libm::exp(a * libm::log(x) + b * libm::log1p(-x) - log_beta);
    // The fraction converges quickly below the mean; above, the complement does.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    // It takes about √max(a, b) steps, which EVIDENCE_MAX keeps near a thousand.
    for step in 1..=20_000_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../tests/vectors/reputation.json")).unwrap()
    }

    fn close(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= 1e-10 * expected.abs().max(1e-3)
    }

    #[test]
    fn expectation_and_lower_bound_match_the_vectors() {
        let vectors = vectors();
        let rows = vectors["beta"].as_array().unwrap();
        assert_eq!(rows.len(), 7);
        for row in rows {
            let number = |key: &str| row[key].as_f64().unwrap();
            let reputation = Reputation::from_evidence(number("r"), number("s")).unwrap();
            assert!(close(reputation.expected(), number("E")), "{row}");
            assert!(close(reputation.lower_bound(), number("lcb05")), "{row}");
            let (a, b) = (number("r") + 1.0, number("s") + 1.0);
            assert!(close(beta_quantile(0.01, a, b), number("lcb01")), "{row}");
        }
    }

    #[test]
    fn forgetting_matches_the_vectors() {
        let vectors = vectors();
        for row in vectors["forgetting"].as_array().unwrap() {
            let lambda = row["lam"].as_f64().unwrap();
            let failures = if row["seq"].as_str().unwrap().contains("negative") {
                5
            } else {
                0
            };
            let mut reputation = Reputation::default();
            for outcome in [vec![true; 10], vec![false; failures]].concat() {
                reputation.forget(lambda).unwrap();
                reputation.record(outcome, 1.0).unwrap();
            }
            assert!(close(reputation.successes(), row["r"].as_f64().unwrap()));
            if let Some(s) = row["s"].as_f64() {
                assert!(close(reputation.failures(), s));
            }
            assert!(close(reputation.expected(), row["E"].as_f64().unwrap()));
        }
    }

    #[test]
    fn one_sided_evidence_has_a_closed_form() {
        // With no failures I_x(s+1, 1) = x^(s+1).
        for successes in [0.0, 0.5, 3.0, 1e3, 1e6] {
            let reputation = Reputation::from_evidence(successes, 0.0).unwrap();
            let expected = libm::pow(0.05, 1.0 / (successes + 1.0));
            assert!(close(reputation.lower_bound(), expected), "{successes}");
            // And with no successes 1 - (1-x)^(f+1), at the other end of the scale.
            let reputation = Reputation::from_evidence(0.0, successes).unwrap();
            let expected = -libm::expm1(libm::log(0.95) / (successes + 1.0));
            let actual = reputation.lower_bound();
            assert!((actual / expected - 1.0).abs() < 1e-8, "{successes}");
        }
    }

    #[test]
    fn much_evidence_is_scaled_down_and_keeps_its_ratio() {
        let reputation = Reputation::from_evidence(f64::MAX, f64::MAX).unwrap();
        assert!(close(reputation.successes(), EVIDENCE_MAX / 2.0));
        assert!(close(reputation.expected(), 0.5));
        // Half a million of each: the normal approximation is good to six digits here.
        assert!((reputation.lower_bound() - (0.5 - 1.644_853_6 * 0.000_5)).abs() < 1e-8);
        let mut reputation = Reputation::from_evidence(EVIDENCE_MAX, 0.0).unwrap();
        reputation.record(true, f64::MAX).unwrap();
        assert!(close(reputation.successes(), EVIDENCE_MAX));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut reputation = Reputation::default();
        for weight in [-1.0, f64::INFINITY] {
            assert_eq!(
                reputation.record(true, weight),
                Err(ReputationError::Evidence { value: weight })
            );
            assert_eq!(
                Reputation::from_evidence(1.0, weight),
                Err(ReputationError::Evidence { value: weight })
            );
        }
        assert!(reputation.record(true, f64::NAN).is_err());
        assert!(reputation.forget(f64::NAN).is_err());
        assert_eq!(
            reputation.forget(1.5),
            Err(ReputationError::Lambda { lambda: 1.5 })
        );
        assert_eq!(reputation, Reputation::default());
    }

    #[test]
    fn stored_reputations_are_checked() {
        let reputation = Reputation::from_evidence(3.5, 1.0).unwrap();
        let text = serde_json::to_string(&reputation).unwrap();
        assert_eq!(text, r#"{"successes":3.5,"failures":1.0}"#);
        assert_eq!(
            serde_json::from_str::<Reputation>(&text).unwrap(),
            reputation
        );
        let negative = r#"{"successes":-3.5,"failures":1.0}"#;
        assert!(serde_json::from_str::<Reputation>(negative).is_err());
    }

    proptest! {
        #[test]
        fn the_lower_bound_is_the_quantile(
            successes in prop_oneof![0.0..50.0, 0.0..1e5],
            failures in prop_oneof![0.0..50.0, 0.0..1e5],
        ) {
            let reputation = Reputation::from_evidence(successes, failures).unwrap();
            let bound = reputation.lower_bound();
            prop_assert!(0.0 < bound && bound < reputation.expected());
            let (a, b) = (successes + 1.0, failures + 1.0);
            let below = regularised_beta(bound, a, b, log_beta(a, b));
            prop_assert!((below - 0.05).abs() < 1e-8, "{}", below);
        }

        #[test]
        fn success_raises_and_failure_lowers_the_bound(
            successes in 0.0..1e3,
            failures in 0.0..1e3,
            weight in 0.1..10.0,
        ) {
            let before = Reputation::from_evidence(successes, failures).unwrap();
            let (mut better, mut worse) = (before, before);
            better.record(true, weight).unwrap();
            worse.record(false, weight).unwrap();
            prop_assert!(worse.lower_bound() < before.lower_bound());
            prop_assert!(before.lower_bound() < better.lower_bound());
        }
    }
}
