//! Harvest policies: what is valid decides, and what is not refuses.

#![no_main]

use fogcompute_base::Instant;
use fogcompute_harvest::{DeviceClass, DeviceState, HarvestPolicy, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(policy) = toml::from_str::<HarvestPolicy>(text) else {
        return;
    };
    let state = DeviceState {
        cpu_cores: Some(8),
        memory_total_bytes: Some(16 << 30),
        memory_available_bytes: Some(8 << 30),
        ..DeviceState::unknown(DeviceClass::Server, Instant::ZERO)
    };
    let decision = policy.decide(&state, Instant::ZERO);
    for reason in &decision.reasons {
        assert!(!reason.to_string().is_empty());
    }
    if policy.validate().is_err() {
        assert_eq!(decision.verdict, Verdict::Refuse);
    }
    assert!((0.0..=1.0).contains(&decision.budget.cpu_share));
    assert!(decision.budget.memory_bytes <= 8 << 30);
    // What is valid survives being written down.
    if let (Ok(()), Ok(written)) = (policy.validate(), toml::to_string(&policy)) {
        assert_eq!(toml::from_str(&written), Ok(policy));
    }
});
