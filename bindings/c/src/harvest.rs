use std::ffi::{CString, c_char, c_void};
use std::time::Duration;

use fogcompute::base::Instant;
use fogcompute::{
    Battery, BatteryProbe, Decision, DeviceClass, DeviceState, HarvestPolicy, Network, ProbeError,
    Verdict,
};

use crate::fog_status;
use crate::support::{Failure, c_string, free, give, guard, read_or, reference, result, text};

/// What is known of a battery.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_battery_kind {
    /// Nobody could say whether there is one.
    Unknown = 0,
    /// The device runs on mains power only.
    Absent = 1,
    /// A battery was read.
    Present = 2,
}

/// How the device reaches other devices.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_network {
    /// Nobody could say.
    Unknown = 0,
    /// There is no network.
    Offline = 1,
    /// A cable.
    Ethernet = 2,
    /// A wireless local network.
    Wifi = 3,
    /// A mobile operator's network.
    Cellular = 4,
}

/// What kind of device this is. It decides what an unknown reading means.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_device_class {
    /// A phone or a tablet.
    Phone = 0,
    /// A portable computer.
    Laptop = 1,
    /// A computer that stays where it is and has a user.
    Desktop = 2,
    /// A computer nobody sits at.
    Server = 3,
}

/// Whether the device lends compute now.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_verdict {
    /// As much as the policy permits.
    Allow = 0,
    /// Less than that; the budget says how much.
    Throttle = 1,
    /// Nothing.
    Refuse = 2,
}

/// The device's battery.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_battery {
    /// A fog_battery_kind. The others are read with FOG_BATTERY_KIND_PRESENT only.
    pub kind: i32,
    /// Charge in percent, 0 to 100.
    pub level_percent: f64,
    /// Whether the device is connected to power.
    pub charging: bool,
}

/// One reading of a device's sensors. A reading whose has_ flag is false could not be taken. All
/// zero is a phone of which nothing is known.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_device_state {
    /// A fog_device_class.
    pub device_class: i32,
    /// Whether cpu_cores is known.
    pub has_cpu_cores: bool,
    /// Logical processors.
    pub cpu_cores: u32,
    /// Whether cpu_load is known.
    pub has_cpu_load: bool,
    /// Share of all processors that the owner's own work uses, 0 to 1.
    pub cpu_load: f64,
    /// Whether memory_total_bytes is known.
    pub has_memory_total_bytes: bool,
    /// Memory installed, in bytes.
    pub memory_total_bytes: u64,
    /// Whether memory_available_bytes is known.
    pub has_memory_available_bytes: bool,
    /// Memory that can be had without swapping, in bytes.
    pub memory_available_bytes: u64,
    /// The battery.
    pub battery: fog_battery,
    /// Whether battery_temperature_celsius is known.
    pub has_battery_temperature_celsius: bool,
    /// Temperature of the battery in degrees Celsius.
    pub battery_temperature_celsius: f64,
    /// Whether temperature_celsius is known.
    pub has_temperature_celsius: bool,
    /// Highest temperature of the device itself in degrees Celsius.
    pub temperature_celsius: f64,
    /// A fog_network.
    pub network: i32,
    /// Whether metered is known.
    pub has_metered: bool,
    /// Whether the network is paid for by volume.
    pub metered: bool,
    /// Whether screen_on is known.
    pub has_screen_on: bool,
    /// Whether a screen is lit.
    pub screen_on: bool,
    /// Whether user_idle_ns is known.
    pub has_user_idle_ns: bool,
    /// Time since the user last touched the device, in nanoseconds.
    pub user_idle_ns: u64,
    /// Whether minute_of_day is known.
    pub has_minute_of_day: bool,
    /// Local time of day in minutes since midnight, 0 to 1439.
    pub minute_of_day: u16,
}

/// Reads the battery: fills in `out`, which is FOG_BATTERY_KIND_UNKNOWN before.
///
/// Called on the thread that called fog_harvest_policy_decide_with_probe().
/// @return 0 if it was read, FOG_STATUS_PROBE_FAILED if the platform does not tell, anything else
///         to stop with FOG_STATUS_HOST_CALLBACK
pub type fog_read_battery =
    Option<unsafe extern "C" fn(user_data: *mut c_void, out: *mut fog_battery) -> i32>;

/// A battery that the host reads.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_battery_probe {
    /// Reads the battery.
    pub battery: fog_read_battery,
    /// Passed to `battery` as it is. May be NULL.
    pub user_data: *mut c_void,
}

/// How much may be used. All zero when refused.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_budget {
    /// Share of all processors together, 0 to 1.
    pub cpu_share: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Bandwidth in bits per second.
    pub bandwidth_bits_per_second: u64,
}

/// One thing that contributed to a decision. Its texts belong to the decision.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_reason {
    /// A name for programs, such as "battery_low". It never changes.
    pub code: *const c_char,
    /// The same for people.
    pub text: *const c_char,
    /// Whether it alone is enough to refuse.
    pub objection: bool,
}

/// What the owner of a device permits.
pub struct fog_harvest_policy(pub(crate) HarvestPolicy);

/// What a policy answers about a device at one moment.
pub struct fog_decision {
    decision: Decision,
    /// Code, text, and whether it is an objection.
    reasons: Vec<(CString, CString, bool)>,
}

impl From<Decision> for fog_decision {
    fn from(decision: Decision) -> Self {
        let reasons = decision.reasons.iter();
        let reasons = reasons.map(|reason| {
            (
                c_string(reason.code()),
                c_string(&reason.to_string()),
                reason.is_objection(),
            )
        });
        Self {
            reasons: reasons.collect(),
            decision,
        }
    }
}

fn read_battery(battery: &fog_battery) -> Result<Battery, Failure> {
    match battery.kind {
        0 => Ok(Battery::Unknown),
        1 => Ok(Battery::Absent),
        2 => Ok(Battery::Present {
            level_percent: battery.level_percent,
            charging: battery.charging,
        }),
        other => Err(Failure::argument(format!("{other} is no fog_battery_kind"))),
    }
}

fn read_class(class: i32) -> Result<DeviceClass, Failure> {
    match class {
        0 => Ok(DeviceClass::Phone),
        1 => Ok(DeviceClass::Laptop),
        2 => Ok(DeviceClass::Desktop),
        3 => Ok(DeviceClass::Server),
        other => Err(Failure::argument(format!("{other} is no fog_device_class"))),
    }
}

fn read_network(network: i32) -> Result<Network, Failure> {
    match network {
        0 => Ok(Network::Unknown),
        1 => Ok(Network::Offline),
        2 => Ok(Network::Ethernet),
        3 => Ok(Network::Wifi),
        4 => Ok(Network::Cellular),
        other => Err(Failure::argument(format!("{other} is no fog_network"))),
    }
}

fn read_state(state: &fog_device_state) -> Result<DeviceState, Failure> {
    let known = |has: bool, celsius: f64| has.then_some(celsius);
    let class = read_class(state.device_class)?;
    Ok(DeviceState {
        cpu_cores: state.has_cpu_cores.then_some(state.cpu_cores),
        cpu_load: known(state.has_cpu_load, state.cpu_load),
        memory_total_bytes: state
            .has_memory_total_bytes
            .then_some(state.memory_total_bytes),
        memory_available_bytes: state
            .has_memory_available_bytes
            .then_some(state.memory_available_bytes),
        battery: read_battery(&state.battery)?,
        battery_temperature_celsius: known(
            state.has_battery_temperature_celsius,
            state.battery_temperature_celsius,
        ),
        temperature_celsius: known(state.has_temperature_celsius, state.temperature_celsius),
        network: read_network(state.network)?,
        metered: state.has_metered.then_some(state.metered),
        screen_on: state.has_screen_on.then_some(state.screen_on),
        user_idle: state
            .has_user_idle_ns
            .then(|| Duration::from_nanos(state.user_idle_ns)),
        minute_of_day: state.has_minute_of_day.then_some(state.minute_of_day),
        // The facade decides on readings that were taken just now, whenever that is.
        ..DeviceState::unknown(class, Instant::ZERO)
    })
}

/// A probe whose reading is a function of C.
struct CProbe {
    battery: unsafe extern "C" fn(*mut c_void, *mut fog_battery) -> i32,
    user_data: *mut c_void,
}

// SAFETY: the probe lives for one call and the facade reads it on the thread of that call.
unsafe impl Send for CProbe {}
// SAFETY: as above.
unsafe impl Sync for CProbe {}

impl BatteryProbe for CProbe {
    fn battery(&self) -> Result<Battery, ProbeError> {
        const UNAVAILABLE: i32 = fog_status::ProbeFailed as i32;
        let mut battery = fog_battery {
            kind: fog_battery_kind::Unknown as i32,
            level_percent: 0.0,
            charging: false,
        };
        // SAFETY: the caller of `fog_harvest_policy_decide_with_probe` promises that its function
        // writes no more than the battery.
        match unsafe { (self.battery)(self.user_data, &raw mut battery) } {
            0 => read_battery(&battery).map_err(|failure| ProbeError::Host {
                reason: failure.message,
            }),
            UNAVAILABLE => Err(ProbeError::Unavailable),
            other => Err(ProbeError::Host {
                reason: format!("battery returned {other}"),
            }),
        }
    }
}

/// Makes the policy that suits a phone which charges at night.
///
/// Thread safety: any thread.
/// @param out receives the policy; free it with fog_harvest_policy_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_default(
    out: *mut *mut fog_harvest_policy,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        give(
            unsafe { result(out, "out") }?,
            fog_harvest_policy(HarvestPolicy::default()),
        );
        Ok(())
    })
}

/// Makes the policy that always allows, for a machine whose owner has given it to this work.
/// Decisions still name what the default would have objected to.
///
/// Thread safety: any thread.
/// @param out receives the policy; free it with fog_harvest_policy_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_always(
    out: *mut *mut fog_harvest_policy,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        give(
            unsafe { result(out, "out") }?,
            fog_harvest_policy(HarvestPolicy::always()),
        );
        Ok(())
    })
}

/// Makes the policy that suits a phone or a tablet: stricter about its battery, and with a daily quota
/// of bytes.
///
/// Thread safety: any thread.
/// @param out receives the policy; free it with fog_harvest_policy_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_phone(out: *mut *mut fog_harvest_policy) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        give(
            unsafe { result(out, "out") }?,
            fog_harvest_policy(HarvestPolicy::phone()),
        );
        Ok(())
    })
}

/// Reads a policy from TOML. What it does not name keeps its default; unknown keys are refused.
///
/// Thread safety: any thread.
/// @param toml the text, such as "battery_percent_min = 35.0"
/// @param out  receives the policy; free it with fog_harvest_policy_free()
/// @return FOG_STATUS_INVALID_POLICY
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_from_toml(
    toml: *const c_char,
    out: *mut *mut fog_harvest_policy,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string and gives room for a handle.
        let (toml, out) = unsafe { (text(toml, "toml")?, result(out, "out")?) };
        give(out, fog_harvest_policy(fogcompute::policy_from_toml(toml)?));
        Ok(())
    })
}

/// Reads a policy from TOML. What it does not name is as in another policy; unknown keys are refused.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param base the other policy, such as that for phones; it stays as it is
/// @param toml the text, such as "battery_percent_min = 60.0"
/// @param out  receives the policy; free it with fog_harvest_policy_free()
/// @return FOG_STATUS_INVALID_POLICY
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_with_toml(
    base: *const fog_harvest_policy,
    toml: *const c_char,
    out: *mut *mut fog_harvest_policy,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string, and gives room for a handle.
        let (base, toml, out) = unsafe {
            (
                reference(base, "base")?,
                text(toml, "toml")?,
                result(out, "out")?,
            )
        };
        let policy = fogcompute::policy_from_toml_over(&base.0, toml)?;
        give(out, fog_harvest_policy(policy));
        Ok(())
    })
}

/// Frees a policy.
///
/// Thread safety: no other call may use it.
/// @param policy the policy, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_free(policy: *mut fog_harvest_policy) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(policy) }
}

/// Decides on readings that were taken just now.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param policy the policy
/// @param state  the readings
/// @param out    receives the decision; free it with fog_decision_free()
/// @return FOG_STATUS_INVALID_ARGUMENT for a number that is none of its enumeration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_decide(
    policy: *const fog_harvest_policy,
    state: *const fog_device_state,
    out: *mut *mut fog_decision,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and readings, and gives room for a handle.
        let (policy, state, out) = unsafe {
            (
                reference(policy, "policy")?,
                reference(state, "state")?,
                result(out, "out")?,
            )
        };
        give(
            out,
            fogcompute::decide(&policy.0, &read_state(state)?)?.into(),
        );
        Ok(())
    })
}

/// Decides on readings that were taken just now, with the battery read by a callback.
///
/// Thread safety: any thread, at the same time as other calls; the callback runs on it before the
/// call returns.
/// @param policy the policy
/// @param state  the readings, whose battery is not looked at
/// @param probe  reads the battery
/// @param out    receives the decision; free it with fog_decision_free()
/// @return FOG_STATUS_PROBE_FAILED, FOG_STATUS_HOST_CALLBACK, FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_harvest_policy_decide_with_probe(
    policy: *const fog_harvest_policy,
    state: *const fog_device_state,
    probe: *const fog_battery_probe,
    out: *mut *mut fog_decision,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, readings and a probe, and gives room for a
        // handle.
        let (policy, state, probe, out) = unsafe {
            (
                reference(policy, "policy")?,
                reference(state, "state")?,
                reference(probe, "probe")?,
                result(out, "out")?,
            )
        };
        let probe = CProbe {
            battery: probe
                .battery
                .ok_or_else(|| Failure::argument("battery is NULL"))?,
            user_data: probe.user_data,
        };
        let state = read_state(state)?;
        give(
            out,
            fogcompute::decide_with_probe(&policy.0, &state, &probe)?.into(),
        );
        Ok(())
    })
}

/// Whether the device lends compute now.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param decision the decision
/// @return FOG_VERDICT_REFUSE if `decision` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_decision_verdict(decision: *const fog_decision) -> fog_verdict {
    let verdict = |decision: &fog_decision| match decision.decision.verdict {
        Verdict::Allow => fog_verdict::Allow,
        Verdict::Throttle => fog_verdict::Throttle,
        Verdict::Refuse => fog_verdict::Refuse,
    };
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(decision, fog_verdict::Refuse, verdict) }
}

/// How much may be used.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param decision the decision
/// @param out      receives the budget
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_decision_budget(
    decision: *const fog_decision,
    out: *mut fog_budget,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (decision, out) = unsafe { (reference(decision, "decision")?, result(out, "out")?) };
        let budget = decision.decision.budget;
        out.write(fog_budget {
            cpu_share: budget.cpu_share,
            memory_bytes: budget.memory_bytes,
            bandwidth_bits_per_second: budget.bandwidth_bits_per_second,
        });
        Ok(())
    })
}

/// How many reasons a decision has: all that speaks against lending, or for lending less, or is
/// merely unknown.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param decision the decision
/// @return 0 if `decision` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_decision_reason_count(decision: *const fog_decision) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(decision, 0, |decision| decision.reasons.len()) }
}

/// One reason of a decision.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param decision the decision
/// @param index    which reason, below fog_decision_reason_count()
/// @param out      receives the reason, whose texts are valid until the decision is freed
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such reason
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_decision_reason(
    decision: *const fog_decision,
    index: usize,
    out: *mut fog_reason,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (decision, out) = unsafe { (reference(decision, "decision")?, result(out, "out")?) };
        let (code, text, objection) = decision.reasons.get(index).ok_or_else(|| {
            let count = decision.reasons.len();
            Failure::argument(format!("index {index} is outside {count} reasons"))
        })?;
        out.write(fog_reason {
            code: code.as_ptr(),
            text: text.as_ptr(),
            objection: *objection,
        });
        Ok(())
    })
}

/// Frees a decision, and with it the texts of its reasons.
///
/// Thread safety: no other call may use it.
/// @param decision the decision, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_decision_free(decision: *mut fog_decision) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(decision) }
}
