//! Harvest decisions for hosts that have no clock of ours.

use std::fmt;

use fogcompute_harvest::{BatteryProbe, Decision, DeviceState, HarvestPolicy, PolicyTextError};

use crate::Error;

/// Most characters of one line that the error of [`policy_from_toml`] shows. The parser quotes the
/// line it stumbled over, and a line may be as long as the text.
pub const POLICY_ERROR_LINE_CHARS_MAX: usize = 500;

/// A parser's message with its lines cut.
pub(crate) struct Excerpt<'a, E>(pub(crate) &'a E);

impl<E: fmt::Display> fmt::Display for Excerpt<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.to_string().trim_end().lines().enumerate() {
            let (start, cut) = match line.char_indices().nth(POLICY_ERROR_LINE_CHARS_MAX) {
                Some((end, _)) => (&line[..end], "…"),
                None => (line, ""),
            };
            let before = if index == 0 { "" } else { "\n" };
            write!(f, "{before}{start}{cut}")?;
        }
        Ok(())
    }
}

/// Reads a policy from TOML; what is not named keeps its default, unknown keys are refused.
///
/// ```
/// let policy = fogcompute::policy_from_toml("battery_percent_min = 35.0")?;
/// assert_eq!(policy.battery_percent_min, 35.0);
/// assert!(fogcompute::policy_from_toml("batery = 3").is_err());
/// # Ok::<(), fogcompute::Error>(())
/// ```
///
/// # Errors
/// [`Error::PolicyText`], [`Error::Policy`].
pub fn policy_from_toml(text: &str) -> Result<HarvestPolicy, Error> {
    policy_from_toml_over(&HarvestPolicy::default(), text)
}

/// Reads a policy from TOML; what is not named is as in `base`, unknown keys are refused.
///
/// ```
/// let phone = fogcompute::HarvestPolicy::phone();
/// let policy = fogcompute::policy_from_toml_over(&phone, "battery_percent_min = 60.0")?;
/// assert_eq!(policy.battery_celsius_max, phone.battery_celsius_max);
/// # Ok::<(), fogcompute::Error>(())
/// ```
///
/// # Errors
/// [`Error::PolicyText`], [`Error::Policy`].
pub fn policy_from_toml_over(base: &HarvestPolicy, text: &str) -> Result<HarvestPolicy, Error> {
    HarvestPolicy::from_toml_over(base, text).map_err(|error| match error {
        PolicyTextError::Policy(error) => Error::Policy(error),
        error => Error::PolicyText(Box::new(error)),
    })
}

/// What a policy says of readings that were taken just now.
///
/// # Errors
/// [`Error::Policy`] if the policy contradicts itself.
pub fn decide(policy: &HarvestPolicy, state: &DeviceState) -> Result<Decision, Error> {
    policy.validate()?;
    Ok(policy.decide(state, state.read_at))
}

/// The same with the battery read by a probe of the host.
///
/// # Errors
/// [`Error::Policy`], [`Error::Probe`].
pub fn decide_with_probe(
    policy: &HarvestPolicy,
    state: &DeviceState,
    probe: &dyn BatteryProbe,
) -> Result<Decision, Error> {
    policy.validate()?;
    Ok(policy.decide_with_probe(state, probe, state.read_at)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn policy_that_contradicts_itself_is_refused_when_it_is_read() {
        let error = policy_from_toml("battery_percent_min = 101.0").unwrap_err();
        assert!(matches!(error, Error::Policy(_)), "{error}");
        assert_eq!(error.code(), ErrorCode::InvalidPolicy);
    }

    #[test]
    fn error_quotes_the_line_but_not_all_of_it() {
        let shown = |text: &str| policy_from_toml(text).unwrap_err().to_string();
        let short = shown("enforced = 3");
        assert!(short.contains("enforced = 3"), "{short}");
        let unknown = shown("batery = 3");
        assert!(unknown.contains("\"batery\""), "{unknown}");
        assert!(!short.contains('…'), "{short}");
        // In the quoted line, and in the message itself; with characters of several bytes.
        for long in [
            format!("enforced = \"{}\"", "ü".repeat(1 << 14)),
            format!("{} = 3", "b".repeat(1 << 15)),
        ] {
            let error = policy_from_toml(&long).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidPolicy);
            let text = error.to_string();
            assert!(text.contains('…'), "{text}");
            let longest = text.lines().map(|line| line.chars().count()).max();
            let prefix = "harvest policy: ".len();
            assert!(
                longest <= Some(POLICY_ERROR_LINE_CHARS_MAX + 1 + prefix),
                "{text}"
            );
            assert!(std::error::Error::source(&error).is_none());
        }
    }
}
