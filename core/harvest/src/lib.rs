//! May this device lend its idle compute now, and how much.
//!
//! A host reads its sensors into a [`DeviceState`], its owner sets a [`HarvestPolicy`], and
//! [`HarvestPolicy::decide`] answers with a verdict, a budget and every reason at once. The
//! decision is a pure function of the three: nothing here reads a sensor. A [`Harvester`] asks at
//! each reading, so that a device that grows hot in the middle of a session stops lending; it counts
//! sessions, rest and quotas, and says what running tasks have to do. A [`HarvestRecord`] lets a
//! restart go on with all that.
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

mod capability;
mod decision;
mod expression;
mod harvester;
mod mobile;
mod policy;
mod preference;
mod probe;
mod record;
mod state;
mod text;
mod window;

pub use capability::Capability;
pub use decision::{Budget, Decision, Effect, Reading, Reason, Sensor, Stance, Verdict};
pub use expression::{
    EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, Expected, Expression, ExpressionError,
    FLAG_BYTES_MAX, Kind, Truth,
};
pub use harvester::{Action, Answer, Command, HarvestState, Harvester};
pub use mobile::{MobileLimits, PowerMode, ThermalBand};
pub use policy::{HarvestPolicy, PolicyError};
pub use preference::{Link, LinkPreference};
pub use probe::{BatteryProbe, DeviceProbe, ProbeError};
pub use record::{HarvestRecord, SessionRecord};
pub use state::{Battery, DeviceClass, DeviceState, Network};
pub use text::{POLICY_BYTES_MAX, PolicyTextError};
pub use window::{DayWindow, Weekday, Window};
