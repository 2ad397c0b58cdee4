//! May this device lend its idle compute now, and how much.
//!
//! A host reads its sensors into a [`DeviceState`], its owner sets a [`HarvestPolicy`], and
//! [`HarvestPolicy::decide`] answers with a verdict, a budget and every reason at once. The
//! decision is a pure function of the three: nothing here reads a sensor, starts a session or
//! counts its length. A host asks again at each reading, so that a device that grows hot in the
//! middle of a session stops lending.
//!
//! A reading that could not be taken is unknown. It is never taken for zero, and a phone with an
//! unknown temperature lends nothing.
//!
//! ```
//! use fogcompute_base::Instant;
//! use fogcompute_harvest::{Battery, DeviceClass, DeviceState, HarvestPolicy, Network, Verdict};
//!
//! let now = Instant::from_millis(1_000);
//! let state = DeviceState {
//!     cpu_load: Some(0.1),
//!     memory_total_bytes: Some(64 << 30),
//!     memory_available_bytes: Some(48 << 30),
//!     battery: Battery::Absent,
//!     temperature_celsius: Some(41.0),
//!     network: Network::Ethernet,
//!     metered: Some(false),
//!     minute_of_day: Some(23 * 60),
//!     ..DeviceState::unknown(DeviceClass::Server, now)
//! };
//! let decision = HarvestPolicy::default().decide(&state, now);
//! assert_eq!(decision.verdict, Verdict::Allow);
//! assert!((decision.budget.cpu_share - 0.5).abs() < 1e-12);
//!
//! let noon = DeviceState { minute_of_day: Some(12 * 60), ..state };
//! let decision = HarvestPolicy::default().decide(&noon, now);
//! assert_eq!(decision.verdict, Verdict::Refuse);
//! assert_eq!(decision.reasons[0].to_string(), "it is 12:00, outside the window 22:00 to 07:00");
//! ```

mod decision;
mod policy;
mod probe;
mod state;

pub use decision::{Budget, Decision, Effect, Reading, Reason, Sensor, Verdict};
pub use policy::{HarvestPolicy, PolicyError, Window};
pub use probe::{BatteryProbe, ProbeError};
pub use state::{Battery, DeviceClass, DeviceState, Network};
