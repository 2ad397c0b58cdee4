//! Expressions of power users: an answer, or an error with a column inside the text.

#![no_main]

use fogcompute_base::Instant;
use fogcompute_harvest::{Battery, DeviceClass, DeviceState, Expression, Truth};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(expression) = Expression::parse(text) else {
        return;
    };
    assert_eq!(expression.as_str(), text);
    let unknown = DeviceState::unknown(DeviceClass::Laptop, Instant::ZERO);
    if let Truth::Unknown { column } = expression.evaluate(&unknown) {
        let column = usize::try_from(column).expect("columns are small");
        assert!((1..=text.chars().count()).contains(&column));
    }
    // What is certain of a device of which nothing is known is certain of every device.
    let mut known = DeviceState {
        cpu_cores: Some(4),
        cpu_load: Some(0.5),
        battery: Battery::Absent,
        temperature_celsius: Some(40.0),
        metered: Some(false),
        screen_on: Some(true),
        minute_of_day: Some(700),
        local_day: Some(20_778),
        ..unknown.clone()
    };
    for flag in expression.flags() {
        known.flags.insert(flag.to_owned(), true);
    }
    match expression.evaluate(&unknown) {
        Truth::Unknown { .. } => {}
        certain => assert_eq!(expression.evaluate(&known), certain),
    }
});
