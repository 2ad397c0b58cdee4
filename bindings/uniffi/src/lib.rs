//! Swift and Kotlin bindings: the facade's API in the types that UniFFI carries.
//!
//! Nothing is decided here. Each function converts its arguments, calls one function of
//! [`fogcompute`], and converts the result. What each language adds in its own idiom, such as
//! waiting for a task in a way that can be cancelled, stands beside the generated sources in
//! `mobile/swift` and `mobile/kotlin`.
//!
//! | in Rust | in Swift and Kotlin |
//! |---|---|
//! | identifiers | hexadecimal text: 64 digits for nodes, 32 for all others |
//! | amounts | decimal text of base units |
//! | keys, packets, modules | `Data`, `ByteArray` |
//! | durations that go in | whole milliseconds |
//! | durations that come out | `TimeInterval`, `java.time.Duration` |
//! | errors | `FogError`, `FogException`: one case for each [`ErrorCode`] |
//!
//! Every function that could panic returns a `Result`: a panic then arrives as
//! [`FogError::Panic`], where Swift would otherwise end the process.

mod credits;
mod error;
mod fog;
mod optimise;
mod packets;
mod policy;

pub use credits::{Account, Ledger, Receipt, Verification};
pub use error::{ErrorCode, ErrorCodeEntry, FogError, error_codes, panic_on_purpose};
pub use fog::{Fog, FogStats, FogTask, Limits, TaskOutput};
pub use optimise::{
    Assignment, Evaluation, Job, Node, Nsga2, Plan, Point, Preference, Problem, ProblemError,
    nsga2, place,
};
pub use packets::{Hop, PrivateKey, Processed, Sphinx, Unwrapped};
pub use policy::{BatteryProbe, Decision, DeviceState, HarvestPolicy, ProbeError, Reason};

uniffi::setup_scaffolding!();

/// Version of the library.
#[uniffi::export]
pub fn version() -> String {
    fogcompute::version().to_owned()
}
