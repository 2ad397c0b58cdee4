//! Harvest policies: what is valid decides, and what is not is refused.

#![no_main]

use fogcompute_base::{Instant, UnixMillis};
use fogcompute_harvest::{DeviceClass, DeviceState, HarvestPolicy, Harvester};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let policy = match HarvestPolicy::from_toml(text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(policy.validate(), Ok(()));
    let state = DeviceState {
        cpu_cores: Some(8),
        memory_total_bytes: Some(16 << 30),
        memory_available_bytes: Some(8 << 30),
        metered: Some(false),
        minute_of_day: Some(3 * 60),
        local_day: Some(20_778),
        ..DeviceState::unknown(DeviceClass::Server, Instant::ZERO)
    };
    let decision = policy.decide(&state, Instant::ZERO);
    for reason in &decision.reasons {
        assert!(!reason.to_string().is_empty());
    }
    assert!((0.0..=1.0).contains(&decision.budget.cpu_share));
    assert!(decision.budget.memory_bytes <= 8 << 30);
    // What is valid runs, and never asks for the same moment again in the same state.
    let mut harvester =
        Harvester::new(policy.clone(), Instant::ZERO, UnixMillis(0)).expect("the policy is valid");
    harvester.handle_reading(&state, Instant::ZERO);
    for _ in 0..8 {
        let Some(deadline) = harvester.poll_timeout() else {
            break;
        };
        let before = harvester.state();
        harvester.handle_timeout(deadline);
        // With a delay of zero the next state is over as soon as it is reached.
        assert!(
            harvester.state() != before
                || harvester.poll_timeout().is_none_or(|next| next > deadline)
        );
    }
    // It survives being written down.
    let written = toml::to_string(&policy).expect("a policy is a table");
    assert_eq!(HarvestPolicy::from_toml(&written), Ok(policy));
});
