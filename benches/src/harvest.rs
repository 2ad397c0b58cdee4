//! What it costs to ask a harvest policy again, beside the limit it has to keep.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use fogcompute::base::{Instant, UnixMillis};
use fogcompute::harvest::{DayWindow, Expression, Harvester, Weekday, Window};
use fogcompute::{Battery, DeviceClass, DeviceState, HarvestPolicy, Network};

use crate::measure::{Effort, in_turns};
use crate::row::{Output, Row};

/// Nanoseconds that one evaluation may take: a phone that reads itself every second then spends a
/// hundred-thousandth of a processor on it.
const LIMIT: f64 = 10_000.0;

/// A laptop that lends, with every reading there is.
fn laptop() -> DeviceState {
    let mut state = DeviceState {
        cpu_cores: Some(8),
        cpu_load: Some(0.1),
        memory_total_bytes: Some(16 << 30),
        memory_available_bytes: Some(8 << 30),
        battery: Battery::Present {
            level_percent: 90.0,
            charging: true,
        },
        battery_temperature_celsius: Some(30.0),
        temperature_celsius: Some(45.0),
        network: Network::Wifi,
        metered: Some(false),
        screen_on: Some(false),
        user_idle: Some(Duration::from_secs(3_600)),
        minute_of_day: Some(3 * 60),
        local_day: Some(20_778),
        bandwidth_bits_per_second: Some(100_000_000),
        ..DeviceState::unknown(DeviceClass::Laptop, Instant::ZERO)
    };
    state.flags.insert("on_call".to_owned(), false);
    state
}

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let mut busy = HarvestPolicy {
        require: Some(Expression::parse(
            "(battery > 30 && !on_call || weekend) && celsius < 80 && idle_seconds >= 60",
        )?),
        ..HarvestPolicy::default()
    };
    for weekday in Weekday::ALL {
        let window = Window {
            from_minute: 21 * 60,
            to_minute: 6 * 60,
        };
        busy.weekday_windows
            .insert(weekday, DayWindow::Window(window));
    }
    let state = laptop();
    let harvester = |policy| Harvester::new(policy, Instant::ZERO, UnixMillis(0));
    let mut plain = harvester(HarvestPolicy::default())?;
    let mut full = harvester(busy)?;
    let pair = in_turns(
        effort,
        || {
            black_box(plain.handle_reading(black_box(&state), Instant::ZERO));
        },
        || {
            black_box(full.handle_reading(black_box(&state), Instant::ZERO));
        },
    );
    for (case, nanos) in [
        ("re-evaluation, default policy", pair.ours),
        ("re-evaluation, expression and windows of days", pair.theirs),
    ] {
        output.print(Row {
            area: "harvest",
            case: case.to_owned(),
            ours: nanos,
            unit: "ns",
            peer: "limit".to_owned(),
            peer_version: "10 us".to_owned(),
            theirs: LIMIT,
            ratio: LIMIT / nanos,
            n: pair.n,
        })?;
    }
    Ok(())
}
