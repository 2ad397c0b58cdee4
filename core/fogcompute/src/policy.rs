//! Harvest decisions for hosts that have no clock of ours.

use fogcompute_harvest::{BatteryProbe, Decision, DeviceState, HarvestPolicy};

use crate::Error;

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
    let policy: HarvestPolicy =
        toml::from_str(text).map_err(|error| Error::PolicyText(Box::new(error)))?;
    policy.validate()?;
    Ok(policy)
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
