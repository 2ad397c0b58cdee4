//! The decision, and why.

use std::fmt;
use std::time::Duration;

use fogcompute_base::Instant;
use serde::Serialize;

use crate::window::DAY_MINUTES;
use crate::{
    Battery, DayWindow, DeviceClass, DeviceState, HarvestPolicy, Network, Truth, Weekday, Window,
};

/// Whether the device lends compute now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As much as the policy permits.
    Allow,
    /// Less than that; the budget says how much.
    Throttle,
    /// Nothing.
    Refuse,
}

/// How much may be used. All zero when refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Budget {
    /// Share of all processors together, 0 to 1.
    pub cpu_share: f64,
    /// Memory in bytes, never more than the reading said is available. Zero when an unenforced
    /// policy allows a device whose memory is unknown: no reading, no promise.
    pub memory_bytes: u64,
    /// Bandwidth in bits per second.
    pub bandwidth_bits_per_second: u64,
}

/// What a policy answers about a device at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Whether.
    pub verdict: Verdict,
    /// How much.
    pub budget: Budget,
    /// Everything that speaks against lending, or for lending less, or that is merely unknown.
    /// Empty when all is well.
    pub reasons: Vec<Reason>,
}

/// What a reason does to the verdict of an enforced policy.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Worth knowing, without effect.
    Note,
    /// Less is lent.
    Throttle,
    /// Nothing is lent.
    Refuse,
}

/// For what a decision is asked: some limits are stricter where something begins than where it goes
/// on, so that readings close to a limit do not start and stop it all the time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// Nothing runs; may it begin.
    Begin,
    /// Something runs at full budget; may it go on.
    Continue,
    /// Something runs at less; may it go on, and at full budget again.
    ContinueThrottled,
    /// Something is suspended; may it go on.
    Resume,
}

/// The limits that hang on the stance.
struct Limits {
    user_idle_min: Duration,
    owner_load_max: f64,
    battery_percent_min: f64,
    battery_percent_optimal: f64,
    battery_celsius_max: f64,
    celsius_throttle: f64,
    celsius_critical: f64,
}

impl Limits {
    fn new(policy: &HarvestPolicy, stance: Stance) -> Self {
        let margin = |applies: bool, margin: f64| if applies { margin } else { 0.0 };
        let after_throttling = matches!(stance, Stance::ContinueThrottled | Stance::Resume);
        let after_suspension = stance == Stance::Resume;
        let celsius = |applies| margin(applies, policy.celsius_margin);
        let percent = |applies| margin(applies, policy.battery_percent_margin);
        Self {
            user_idle_min: match stance {
                Stance::Begin => policy.user_idle_min,
                _ => policy.user_idle_continue_min,
            },
            owner_load_max: match stance {
                Stance::Begin | Stance::Resume => policy.owner_load_start_max,
                Stance::Continue | Stance::ContinueThrottled => policy.owner_load_max,
            },
            battery_percent_min: policy.battery_percent_min + percent(after_suspension),
            battery_percent_optimal: (policy.battery_percent_optimal + percent(after_throttling))
                .min(100.0),
            battery_celsius_max: policy.battery_celsius_max - celsius(after_suspension),
            celsius_throttle: policy.celsius_throttle - celsius(after_throttling),
            celsius_critical: policy.celsius_critical - celsius(after_suspension),
        }
    }
}

/// A thermometer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensor {
    /// The battery's.
    Battery,
    /// The hottest of the device.
    Device,
}

impl fmt::Display for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Battery => "battery",
            Self::Device => "device",
        })
    }
}

/// A reading that a decision needs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// [`DeviceState::battery`].
    Battery,
    /// [`DeviceState::battery_temperature_celsius`].
    BatteryTemperature,
    /// [`DeviceState::temperature_celsius`].
    Temperature,
    /// [`DeviceState::cpu_load`].
    CpuLoad,
    /// [`DeviceState::memory_available_bytes`].
    MemoryAvailable,
    /// [`DeviceState::network`].
    Network,
    /// [`DeviceState::metered`].
    Metered,
    /// [`DeviceState::screen_on`].
    Screen,
    /// [`DeviceState::user_idle`].
    UserIdle,
    /// [`DeviceState::minute_of_day`].
    MinuteOfDay,
    /// [`DeviceState::local_day`].
    LocalDay,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Battery => "battery",
            Self::BatteryTemperature => "battery temperature",
            Self::Temperature => "temperature",
            Self::CpuLoad => "processor load",
            Self::MemoryAvailable => "available memory",
            Self::Network => "kind of network",
            Self::Metered => "metering of the network",
            Self::Screen => "state of the screen",
            Self::UserIdle => "time since the user was active",
            Self::MinuteOfDay => "time of day",
            Self::LocalDay => "date",
        })
    }
}

/// One thing that contributed to a decision.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The policy itself fails [`HarvestPolicy::validate`]; nothing is decided with it.
    PolicyInvalid,
    /// The readings are too old.
    ReadingStale {
        /// Their age.
        age: Duration,
        /// Oldest accepted.
        age_max: Duration,
    },
    /// A reading could not be taken.
    ReadingUnknown {
        /// Which.
        reading: Reading,
        /// Whether a device of this class needs it.
        required: bool,
    },
    /// A reading no working sensor gives, such as a charge of 130 %.
    ReadingImplausible {
        /// Which.
        reading: Reading,
    },
    /// The charge is below the minimum.
    BatteryLow {
        /// Charge in percent.
        level_percent: f64,
        /// Least charge to lend anything.
        level_percent_min: f64,
    },
    /// The charge is below the optimum.
    BatteryBelowOptimal {
        /// Charge in percent.
        level_percent: f64,
        /// Charge from which on the device lends fully.
        level_percent_optimal: f64,
    },
    /// The device is not connected to power.
    NotCharging,
    /// A temperature has reached its limit.
    TooHot {
        /// Whose.
        sensor: Sensor,
        /// Reading in degrees Celsius.
        celsius: f64,
        /// Limit in degrees Celsius.
        celsius_max: f64,
    },
    /// The device is warm enough to go slower.
    Warm {
        /// Reading in degrees Celsius.
        celsius: f64,
        /// Where slowing begins, in degrees Celsius.
        celsius_throttle: f64,
    },
    /// The owner's own work leaves less than the policy would lend, or nothing.
    CpuBusy {
        /// Share of all processors the owner uses.
        load: f64,
        /// Share that would be lent.
        share_max: f64,
    },
    /// The owner's own work uses more than may be used beside ours.
    OwnerBusy {
        /// Share of all processors the owner uses.
        load: f64,
        /// Largest share accepted.
        load_max: f64,
    },
    /// There is no memory to lend.
    MemoryFull,
    /// The network is slower than is worth using.
    NetworkSlow {
        /// Its speed in bits per second.
        bits_per_second: u64,
        /// Least speed accepted.
        bits_per_second_min: u64,
    },
    /// The network is not one of the allowed.
    NetworkNotAllowed {
        /// What the device is connected to.
        network: Network,
    },
    /// The network is paid for by volume.
    Metered,
    /// A screen is lit.
    ScreenOn,
    /// The user was active a short while ago.
    UserActive {
        /// Time since then.
        idle: Duration,
        /// Time that must pass.
        idle_min: Duration,
    },
    /// The time of day is outside the window.
    OutsideWindow {
        /// Local time in minutes since midnight.
        minute_of_day: u16,
        /// When work is allowed.
        window: Window,
    },
    /// No work begins on this day of the week.
    DayClosed {
        /// The day.
        weekday: Weekday,
    },
    /// What [`HarvestPolicy::require`] asks for does not hold.
    RequirementUnmet,
    /// Something that [`HarvestPolicy::require`] hangs on is unknown.
    RequirementUnknown {
        /// Column of the first unknown name in it, from 1.
        column: u32,
    },
    /// Nothing has been read yet.
    NotRead,
    /// The session has had its time.
    SessionOver {
        /// Longest session.
        session_max: Duration,
    },
    /// The device rests between sessions.
    CoolingDown {
        /// What is left of the rest.
        left: Duration,
    },
    /// As many bytes as a day may have were sent and received.
    BytesSpent {
        /// Bytes of the day.
        bytes: u64,
        /// Most in a day.
        bytes_max: u64,
    },
    /// Nothing speaks against going on, but not for long enough yet.
    Settling {
        /// What is left to wait.
        left: Duration,
    },
    /// The suspension took so long that tasks leave the device.
    SuspendedTooLong {
        /// Longest suspension.
        suspend_max: Duration,
    },
}

impl Reason {
    /// A name for programs: it never changes, the text may.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PolicyInvalid => "policy_invalid",
            Self::ReadingStale { .. } => "reading_stale",
            Self::ReadingUnknown { .. } => "reading_unknown",
            Self::ReadingImplausible { .. } => "reading_implausible",
            Self::BatteryLow { .. } => "battery_low",
            Self::BatteryBelowOptimal { .. } => "battery_below_optimal",
            Self::NotCharging => "not_charging",
            Self::TooHot { .. } => "too_hot",
            Self::Warm { .. } => "warm",
            Self::CpuBusy { .. } => "cpu_busy",
            Self::MemoryFull => "memory_full",
            Self::NetworkNotAllowed { .. } => "network_not_allowed",
            Self::Metered => "metered",
            Self::ScreenOn => "screen_on",
            Self::UserActive { .. } => "user_active",
            Self::OutsideWindow { .. } => "outside_window",
            Self::OwnerBusy { .. } => "owner_busy",
            Self::NetworkSlow { .. } => "network_slow",
            Self::DayClosed { .. } => "day_closed",
            Self::RequirementUnmet => "requirement_unmet",
            Self::RequirementUnknown { .. } => "requirement_unknown",
            Self::NotRead => "not_read",
            Self::SessionOver { .. } => "session_over",
            Self::CoolingDown { .. } => "cooling_down",
            Self::BytesSpent { .. } => "bytes_spent",
            Self::Settling { .. } => "settling",
            Self::SuspendedTooLong { .. } => "suspended_too_long",
        }
    }

    /// What it does to the verdict of an enforced policy.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::ReadingUnknown {
                required: false, ..
            } => Effect::Note,
            Self::BatteryBelowOptimal { .. } | Self::Warm { .. } => Effect::Throttle,
            Self::CpuBusy { load, .. } if *load < 1.0 => Effect::Throttle,
            _ => Effect::Refuse,
        }
    }

    /// Whether it alone is enough for an enforced policy to refuse.
    #[must_use]
    pub fn is_objection(&self) -> bool {
        self.effect() == Effect::Refuse
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyInvalid => f.write_str("the policy is invalid"),
            Self::ReadingStale { age, age_max } => write!(
                f,
                "the readings are {:.0} s old, at most {:.0} s are accepted",
                age.as_secs_f64(),
                age_max.as_secs_f64()
            ),
            Self::ReadingUnknown { reading, required } => {
                write!(f, "the {reading} is unknown")?;
                f.write_str(if *required {
                    ", and this device must know it"
                } else {
                    ""
                })
            }
            Self::ReadingImplausible { reading } => {
                write!(f, "the {reading} was read as something impossible")
            }
            Self::BatteryLow {
                level_percent,
                level_percent_min,
            } => write!(
                f,
                "the battery is at {level_percent:.0} %, at least {level_percent_min:.0} % is \
                 needed"
            ),
            Self::BatteryBelowOptimal {
                level_percent,
                level_percent_optimal,
            } => write!(
                f,
                "the battery is at {level_percent:.0} %, below the optimum of \
                 {level_percent_optimal:.0} %"
            ),
            Self::NotCharging => f.write_str("the device is not charging"),
            Self::TooHot {
                sensor,
                celsius,
                celsius_max,
            } => write!(
                f,
                "the {sensor} is at {celsius:.1} °C, the limit is {celsius_max:.1} °C"
            ),
            Self::Warm {
                celsius,
                celsius_throttle,
            } => write!(
                f,
                "the device is at {celsius:.1} °C and slows down from {celsius_throttle:.1} °C"
            ),
            Self::CpuBusy { load, share_max } => write!(
                f,
                "the owner uses {:.0} % of the processor, which leaves less than the {:.0} % to \
                 lend",
                load * 100.0,
                share_max * 100.0
            ),
            Self::MemoryFull => f.write_str("there is no memory to lend"),
            Self::NetworkNotAllowed { network } => {
                write!(f, "the network is {network}, which is not allowed")
            }
            Self::Metered => f.write_str("the network is metered"),
            Self::ScreenOn => f.write_str("the screen is on"),
            Self::UserActive { idle, idle_min } => write!(
                f,
                "the user was active {:.0} s ago, {:.0} s must pass",
                idle.as_secs_f64(),
                idle_min.as_secs_f64()
            ),
            Self::OutsideWindow {
                minute_of_day,
                window,
            } => write!(
                f,
                "it is {:02}:{:02}, outside the window {window}",
                minute_of_day / 60,
                minute_of_day % 60
            ),
            Self::OwnerBusy { load, load_max } => write!(
                f,
                "the owner uses {:.0} % of the processor, at most {:.0} % is accepted",
                load * 100.0,
                load_max * 100.0
            ),
            Self::NetworkSlow {
                bits_per_second,
                bits_per_second_min,
            } => write!(
                f,
                "the network has {:.1} Mb/s, at least {:.1} Mb/s is needed",
                *bits_per_second as f64 / 1e6,
                *bits_per_second_min as f64 / 1e6
            ),
            Self::DayClosed { weekday } => write!(f, "nothing is lent on {weekday}"),
            Self::RequirementUnmet => f.write_str("what the owner requires does not hold"),
            Self::RequirementUnknown { column } => write!(
                f,
                "what the owner requires is unknown, because of the name at column {column}"
            ),
            Self::NotRead => f.write_str("nothing has been read yet"),
            Self::SessionOver { session_max } => write!(
                f,
                "the session has had its {:.0} s",
                session_max.as_secs_f64()
            ),
            Self::CoolingDown { left } => write!(
                f,
                "the device rests for another {:.0} s",
                left.as_secs_f64()
            ),
            Self::BytesSpent { bytes, bytes_max } => write!(
                f,
                "{bytes} bytes were moved today, at most {bytes_max} are allowed"
            ),
            Self::Settling { left } => write!(
                f,
                "all is well, but must stay so for another {:.0} s",
                left.as_secs_f64()
            ),
            Self::SuspendedTooLong { suspend_max } => write!(
                f,
                "the suspension took longer than {:.0} s",
                suspend_max.as_secs_f64()
            ),
        }
    }
}

impl HarvestPolicy {
    /// Decides whether the device in `state` lends compute at `now`, how much, and why.
    ///
    /// Pure: the same arguments give the same decision. All reasons are collected, not the first
    /// alone. Readings taken after `now` count as fresh. An invalid policy refuses.
    ///
    /// Which unknown reading refuses depends on the class. Available memory is always required, and
    /// whether the network is metered unless that is allowed. A phone needs all of them (of the two
    /// temperatures, one), a laptop also battery, network, processor load and the signs of its user,
    /// a desktop only the signs of its user. A server has no user, so an unknown screen, idle time
    /// and time of day are not even mentioned. A reading that was taken counts for every class.
    #[must_use]
    pub fn decide(&self, state: &DeviceState, now: Instant) -> Decision {
        self.decide_for(state, Stance::Begin, now)
    }

    /// The same for something that may have begun already. [`decide`](Self::decide) asks whether it
    /// may begin.
    #[must_use]
    pub fn decide_for(&self, state: &DeviceState, stance: Stance, now: Instant) -> Decision {
        if self.validate().is_err() {
            return Decision {
                verdict: Verdict::Refuse,
                budget: Budget::default(),
                reasons: vec![Reason::PolicyInvalid],
            };
        }
        let mut reasons = Vec::new();
        let age = now.duration_since(state.read_at);
        if age > self.reading_age_max {
            reasons.push(Reason::ReadingStale {
                age,
                age_max: self.reading_age_max,
            });
        }
        let limits = Limits::new(self, stance);
        let battery_scale = self.weigh_battery(state, &limits, &mut reasons);
        let thermal_scale = weigh_temperature(state, &limits, &mut reasons);
        let cpu_share = self.weigh_cpu(state, &limits, &mut reasons);
        let memory_bytes = self.weigh_memory(state, &mut reasons);
        self.weigh_network(state, &mut reasons);
        self.weigh_user(state, &limits, &mut reasons);
        self.weigh_time(state, &mut reasons);
        match self.require.as_ref().map(|require| require.evaluate(state)) {
            None | Some(Truth::Yes) => {}
            Some(Truth::No) => reasons.push(Reason::RequirementUnmet),
            Some(Truth::Unknown { column }) => reasons.push(Reason::RequirementUnknown { column }),
        }

        let worst = reasons.iter().map(Reason::effect).max();
        let (verdict, scale) = match worst {
            _ if !self.enforced => (Verdict::Allow, 1.0),
            Some(Effect::Refuse) => (Verdict::Refuse, 0.0),
            Some(Effect::Throttle) => (Verdict::Throttle, battery_scale.min(thermal_scale)),
            Some(Effect::Note) | None => (Verdict::Allow, 1.0),
        };
        let budget = if verdict == Verdict::Refuse {
            Budget::default()
        } else {
            Budget {
                cpu_share: if self.enforced {
                    cpu_share * scale
                } else {
                    self.cpu_share_max
                },
                memory_bytes,
                bandwidth_bits_per_second: self.bandwidth_bits_per_second_max,
            }
        };
        Decision {
            verdict,
            budget,
            reasons,
        }
    }

    /// The share of full speed that the charge permits.
    fn weigh_battery(
        &self,
        state: &DeviceState,
        limits: &Limits,
        reasons: &mut Vec<Reason>,
    ) -> f64 {
        match state.battery {
            Battery::Absent => 1.0,
            Battery::Unknown => {
                reasons.push(Reason::ReadingUnknown {
                    reading: Reading::Battery,
                    required: state.class.is_portable(),
                });
                1.0
            }
            Battery::Present {
                level_percent,
                charging,
            } => {
                if self.require_charging && !charging {
                    reasons.push(Reason::NotCharging);
                }
                if !(0.0..=100.0).contains(&level_percent) {
                    reasons.push(Reason::ReadingImplausible {
                        reading: Reading::Battery,
                    });
                } else if level_percent < limits.battery_percent_min {
                    reasons.push(Reason::BatteryLow {
                        level_percent,
                        level_percent_min: limits.battery_percent_min,
                    });
                } else if level_percent < limits.battery_percent_optimal {
                    reasons.push(Reason::BatteryBelowOptimal {
                        level_percent,
                        level_percent_optimal: limits.battery_percent_optimal,
                    });
                    return level_percent / limits.battery_percent_optimal;
                }
                1.0
            }
        }
    }

    /// The share of all processors that the owner leaves and the policy permits.
    fn weigh_cpu(&self, state: &DeviceState, limits: &Limits, reasons: &mut Vec<Reason>) -> f64 {
        let Some(load) = state.cpu_load else {
            reasons.push(Reason::ReadingUnknown {
                reading: Reading::CpuLoad,
                required: state.class.is_portable(),
            });
            return self.cpu_share_max;
        };
        if load.is_nan() || load < 0.0 {
            reasons.push(Reason::ReadingImplausible {
                reading: Reading::CpuLoad,
            });
            return 0.0;
        }
        let left = (1.0 - load).max(0.0);
        if load > limits.owner_load_max {
            reasons.push(Reason::OwnerBusy {
                load,
                load_max: limits.owner_load_max,
            });
        } else if left < self.cpu_share_max {
            reasons.push(Reason::CpuBusy {
                load,
                share_max: self.cpu_share_max,
            });
        }
        left.min(self.cpu_share_max)
    }

    /// The memory that is there and that the policy permits, in bytes.
    fn weigh_memory(&self, state: &DeviceState, reasons: &mut Vec<Reason>) -> u64 {
        let available = state.memory_available_bytes;
        if available.is_none() {
            reasons.push(Reason::ReadingUnknown {
                reading: Reading::MemoryAvailable,
                required: true,
            });
        }
        // What is available is at most what is installed, so its share is the safe one to take
        // when only that is known.
        let Some(whole) = state.memory_total_bytes.or(available) else {
            return 0;
        };
        let share = (whole as f64 * self.memory_share_max) as u64;
        let bytes = share.min(whole).min(available.unwrap_or(u64::MAX));
        if bytes == 0 {
            reasons.push(Reason::MemoryFull);
        }
        bytes
    }

    fn weigh_network(&self, state: &DeviceState, reasons: &mut Vec<Reason>) {
        if state.network == Network::Unknown {
            reasons.push(Reason::ReadingUnknown {
                reading: Reading::Network,
                required: state.class.is_portable(),
            });
        } else if !self.networks.contains(&state.network) {
            reasons.push(Reason::NetworkNotAllowed {
                network: state.network,
            });
        }
        if let Some(bits_per_second) = state.bandwidth_bits_per_second
            && bits_per_second < self.bandwidth_bits_per_second_min
        {
            reasons.push(Reason::NetworkSlow {
                bits_per_second,
                bits_per_second_min: self.bandwidth_bits_per_second_min,
            });
        }
        if self.allow_metered {
            return;
        }
        match state.metered {
            Some(true) => reasons.push(Reason::Metered),
            Some(false) => {}
            None => reasons.push(Reason::ReadingUnknown {
                reading: Reading::Metered,
                required: true,
            }),
        }
    }

    fn weigh_user(&self, state: &DeviceState, limits: &Limits, reasons: &mut Vec<Reason>) {
        if self.require_screen_off {
            reasons.extend(match state.screen_on {
                Some(on) => on.then_some(Reason::ScreenOn),
                None => unknown_of_user(state, Reading::Screen),
            });
        }
        if !limits.user_idle_min.is_zero() {
            reasons.extend(match state.user_idle {
                Some(idle) => (idle < limits.user_idle_min).then_some(Reason::UserActive {
                    idle,
                    idle_min: limits.user_idle_min,
                }),
                None => unknown_of_user(state, Reading::UserIdle),
            });
        }
    }

    fn weigh_time(&self, state: &DeviceState, reasons: &mut Vec<Reason>) {
        if self.window.is_none() && self.weekday_windows.is_empty() {
            return;
        }
        let Some(minute_of_day) = state.minute_of_day else {
            reasons.extend(unknown_of_user(state, Reading::MinuteOfDay));
            return;
        };
        if minute_of_day >= DAY_MINUTES {
            reasons.push(Reason::ReadingImplausible {
                reading: Reading::MinuteOfDay,
            });
            return;
        }
        let weekday = state.local_day.map(Weekday::of_day);
        match self.is_open(minute_of_day, weekday) {
            Some(true) => {}
            Some(false) => {
                let today = weekday.map(|weekday| (weekday, self.window_of(weekday)));
                reasons.push(match (today, self.window) {
                    (Some((_, DayWindow::Window(window))), _) | (None, Some(window)) => {
                        Reason::OutsideWindow {
                            minute_of_day,
                            window,
                        }
                    }
                    (Some((weekday, _)), _) => Reason::DayClosed { weekday },
                    // Without windows of days and of every day, every hour is open.
                    (None, None) => return,
                });
            }
            None => reasons.extend(unknown_of_user(state, Reading::LocalDay)),
        }
    }
}

/// That a reading is unknown which tells of the owner's habits. Nobody sits at a server, so there it
/// says nothing.
fn unknown_of_user(state: &DeviceState, reading: Reading) -> Option<Reason> {
    (state.class != DeviceClass::Server).then_some(Reason::ReadingUnknown {
        reading,
        required: true,
    })
}

/// The share of full speed that the temperatures permit.
fn weigh_temperature(state: &DeviceState, limits: &Limits, reasons: &mut Vec<Reason>) -> f64 {
    let mut plausible = |celsius: Option<f64>, reading| {
        let celsius = celsius?;
        // No upper bound: an absurdly hot reading must not count as less than a hot one.
        if celsius.is_nan() || celsius < -273.15 {
            reasons.push(Reason::ReadingImplausible { reading });
            return None;
        }
        Some(celsius)
    };
    let battery = plausible(
        state.battery_temperature_celsius,
        Reading::BatteryTemperature,
    );
    let device = plausible(state.temperature_celsius, Reading::Temperature);
    if state.battery_temperature_celsius.is_none() && state.temperature_celsius.is_none() {
        reasons.push(Reason::ReadingUnknown {
            reading: Reading::Temperature,
            required: state.class == DeviceClass::Phone,
        });
    }
    for (sensor, celsius, celsius_max) in [
        (Sensor::Battery, battery, limits.battery_celsius_max),
        (Sensor::Device, device, limits.celsius_critical),
    ] {
        if let Some(celsius) = celsius
            && celsius >= celsius_max
        {
            reasons.push(Reason::TooHot {
                sensor,
                celsius,
                celsius_max,
            });
        }
    }
    match device {
        Some(celsius)
            if celsius >= limits.celsius_throttle && celsius < limits.celsius_critical =>
        {
            reasons.push(Reason::Warm {
                celsius,
                celsius_throttle: limits.celsius_throttle,
            });
            (limits.celsius_critical - celsius)
                / (limits.celsius_critical - limits.celsius_throttle)
        }
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Instant = Instant::from_millis(60_000);

    /// A phone on a night stand: charging, cool, dark, on the home network.
    fn phone() -> DeviceState {
        DeviceState {
            cpu_cores: Some(8),
            cpu_load: Some(0.1),
            memory_total_bytes: Some(8_000_000_000),
            memory_available_bytes: Some(3_000_000_000),
            battery: Battery::Present {
                level_percent: 90.0,
                charging: true,
            },
            battery_temperature_celsius: Some(30.0),
            temperature_celsius: Some(35.0),
            network: Network::Wifi,
            metered: Some(false),
            screen_on: Some(false),
            user_idle: Some(Duration::from_secs(3_600)),
            minute_of_day: Some(3 * 60),
            ..DeviceState::unknown(DeviceClass::Phone, NOW)
        }
    }

    fn decide(change: impl FnOnce(&mut DeviceState)) -> Decision {
        let mut state = phone();
        change(&mut state);
        HarvestPolicy::default().decide(&state, NOW)
    }

    fn codes(decision: &Decision) -> Vec<&'static str> {
        decision.reasons.iter().map(Reason::code).collect()
    }

    #[test]
    fn a_phone_on_the_night_stand_lends_what_the_policy_permits() {
        let decision = decide(|_| {});
        assert_eq!(decision.verdict, Verdict::Allow);
        assert_eq!(decision.reasons, []);
        assert_eq!(
            decision.budget,
            Budget {
                cpu_share: 0.5,
                memory_bytes: 2_400_000_000,
                bandwidth_bits_per_second: 10_000_000
            }
        );
    }

    #[test]
    fn memory_lent_is_never_more_than_is_available() {
        let decision = decide(|s| s.memory_available_bytes = Some(1_000_000));
        assert_eq!(decision.budget.memory_bytes, 1_000_000);
        let decision = decide(|s| s.memory_total_bytes = None);
        assert_eq!(decision.budget.memory_bytes, 900_000_000);
        assert_eq!(
            codes(&decide(|s| s.memory_available_bytes = Some(0))),
            ["memory_full"]
        );
    }

    #[test]
    fn memory_lent_is_the_share_that_the_policy_says() {
        let lent = |memory_share_max| {
            let policy = HarvestPolicy {
                memory_share_max,
                ..HarvestPolicy::default()
            };
            policy.decide(&phone(), NOW).budget.memory_bytes
        };
        assert_eq!(lent(0.125), 1_000_000_000);
        assert_eq!(lent(0.25), 2_000_000_000);
        assert_eq!(lent(1.0), 3_000_000_000);
    }

    #[test]
    fn limits_are_the_first_temperature_refused_and_the_last_charge_accepted() {
        let policy = HarvestPolicy::default();
        let below = |limit: f64| limit - 1e-9;
        let battery = |celsius| decide(|s| s.battery_temperature_celsius = Some(celsius));
        assert_eq!(codes(&battery(policy.battery_celsius_max)), ["too_hot"]);
        assert_eq!(codes(&battery(below(policy.battery_celsius_max))), [""; 0]);
        let device = |celsius| decide(|s| s.temperature_celsius = Some(celsius));
        assert_eq!(codes(&device(policy.celsius_critical)), ["too_hot"]);
        assert_eq!(codes(&device(below(policy.celsius_critical))), ["warm"]);
        let charge = |level_percent| {
            decide(|s| {
                s.battery = Battery::Present {
                    level_percent,
                    charging: true,
                };
            })
        };
        let optimal = ["battery_below_optimal"];
        assert_eq!(codes(&charge(policy.battery_percent_min)), optimal);
        let low = ["battery_low"];
        assert_eq!(codes(&charge(below(policy.battery_percent_min))), low);
    }

    #[test]
    fn every_objection_is_listed_at_once() {
        let decision = decide(|s| {
            s.battery = Battery::Present {
                level_percent: 15.0,
                charging: false,
            };
            s.battery_temperature_celsius = Some(46.0);
            s.temperature_celsius = Some(70.0);
            s.cpu_load = Some(1.0);
            s.network = Network::Cellular;
            s.metered = Some(true);
            s.screen_on = Some(true);
            s.user_idle = Some(Duration::from_secs(2));
            s.minute_of_day = Some(12 * 60 + 5);
            s.read_at = NOW - Duration::from_secs(31);
        });
        assert_eq!(decision.verdict, Verdict::Refuse);
        assert_eq!(decision.budget, Budget::default());
        let texts: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "the readings are 31 s old, at most 30 s are accepted",
                "the device is not charging",
                "the battery is at 15 %, at least 20 % is needed",
                "the battery is at 46.0 °C, the limit is 45.0 °C",
                "the device is at 70.0 °C, the limit is 65.0 °C",
                "the owner uses 100 % of the processor, at most 30 % is accepted",
                "the network is cellular, which is not allowed",
                "the network is metered",
                "the screen is on",
                "the user was active 2 s ago, 300 s must pass",
                "it is 12:05, outside the window 22:00 to 07:00",
            ]
        );
        assert!(decision.reasons.iter().all(Reason::is_objection));
    }

    #[test]
    fn a_half_charged_a_warm_and_a_busy_device_lend_less() {
        let decision = decide(|s| {
            s.battery = Battery::Present {
                level_percent: 25.0,
                charging: true,
            };
        });
        assert_eq!(decision.verdict, Verdict::Throttle);
        assert_eq!(codes(&decision), ["battery_below_optimal"]);
        assert!((decision.budget.cpu_share - 0.25).abs() < 1e-12);

        let decision = decide(|s| s.temperature_celsius = Some(62.0));
        assert_eq!(decision.verdict, Verdict::Throttle);
        assert_eq!(codes(&decision), ["warm"]);
        assert!((decision.budget.cpu_share - 0.15).abs() < 1e-12);

        let policy = HarvestPolicy {
            owner_load_max: 1.0,
            owner_load_start_max: 1.0,
            ..HarvestPolicy::default()
        };
        let state = DeviceState {
            cpu_load: Some(0.9),
            ..phone()
        };
        let decision = policy.decide(&state, NOW);
        assert_eq!(decision.verdict, Verdict::Throttle);
        assert_eq!(codes(&decision), ["cpu_busy"]);
        assert!((decision.budget.cpu_share - 0.1).abs() < 1e-12);
    }

    #[test]
    fn an_owner_who_needs_the_processor_gets_it() {
        assert_eq!(codes(&decide(|s| s.cpu_load = Some(0.3))), [""; 0]);
        let decision = decide(|s| s.cpu_load = Some(0.31));
        assert_eq!(decision.verdict, Verdict::Refuse);
        assert_eq!(codes(&decision), ["owner_busy"]);
        let state = DeviceState {
            cpu_load: Some(0.31),
            ..phone()
        };
        let decision = HarvestPolicy::default().decide_for(&state, Stance::Continue, NOW);
        assert_eq!(decision.verdict, Verdict::Allow);
    }

    #[test]
    fn a_slow_network_is_not_used_and_one_of_unknown_speed_is() {
        let speed = |bits| decide(|s| s.bandwidth_bits_per_second = bits);
        assert_eq!(speed(None).verdict, Verdict::Allow);
        assert_eq!(speed(Some(5_000_000)).verdict, Verdict::Allow);
        let slow = speed(Some(4_999_999));
        assert_eq!(codes(&slow), ["network_slow"]);
        assert_eq!(slow.verdict, Verdict::Refuse);
    }

    #[test]
    fn what_the_owner_requires_must_hold_and_be_known() {
        let policy = HarvestPolicy {
            require: Some(crate::Expression::parse("battery > 95 || docked").unwrap()),
            ..HarvestPolicy::default()
        };
        let mut state = phone();
        let unknown = policy.decide(&state, NOW);
        assert_eq!(unknown.verdict, Verdict::Refuse);
        assert_eq!(unknown.reasons, [Reason::RequirementUnknown { column: 17 }]);
        state.flags.insert("docked".to_owned(), false);
        assert_eq!(
            policy.decide(&state, NOW).reasons,
            [Reason::RequirementUnmet]
        );
        state.flags.insert("docked".to_owned(), true);
        assert_eq!(policy.decide(&state, NOW).reasons, []);
    }

    #[test]
    fn days_with_windows_of_their_own_need_the_date() {
        let mut policy = HarvestPolicy::default();
        policy
            .weekday_windows
            .insert(Weekday::Saturday, DayWindow::Closed);
        let at = |local_day, hour: u16| {
            let state = DeviceState {
                local_day,
                minute_of_day: Some(hour * 60),
                ..phone()
            };
            codes(&policy.decide(&state, NOW))
        };
        assert_eq!(at(None, 23), ["reading_unknown"]);
        // 2026-11-20 is a Friday, whose night reaches into Saturday.
        assert_eq!(at(Some(20_777), 23), [""; 0]);
        assert_eq!(at(Some(20_778), 3), [""; 0]);
        assert_eq!(at(Some(20_778), 23), ["day_closed"]);
        assert_eq!(at(Some(20_779), 3), ["outside_window"]);
    }

    #[test]
    fn a_phone_that_knows_nothing_lends_nothing() {
        let state = DeviceState::unknown(DeviceClass::Phone, NOW);
        let decision = HarvestPolicy::default().decide(&state, NOW);
        assert_eq!(decision.verdict, Verdict::Refuse);
        let unknown = |reading| Reason::ReadingUnknown {
            reading,
            required: true,
        };
        assert_eq!(
            decision.reasons,
            [
                unknown(Reading::Battery),
                unknown(Reading::Temperature),
                unknown(Reading::CpuLoad),
                unknown(Reading::MemoryAvailable),
                unknown(Reading::Network),
                unknown(Reading::Metered),
                unknown(Reading::Screen),
                unknown(Reading::UserIdle),
                unknown(Reading::MinuteOfDay),
            ]
        );
        // One of two thermometers is enough.
        assert_eq!(
            decide(|s| s.temperature_celsius = None).verdict,
            Verdict::Allow
        );
    }

    #[test]
    fn a_server_needs_no_battery_no_user_and_no_thermometer() {
        let state = DeviceState {
            memory_available_bytes: Some(1 << 30),
            metered: Some(false),
            ..DeviceState::unknown(DeviceClass::Server, NOW)
        };
        let decision = HarvestPolicy::default().decide(&state, NOW);
        assert_eq!(decision.verdict, Verdict::Allow);
        assert!(
            decision
                .reasons
                .iter()
                .all(|reason| reason.effect() == Effect::Note)
        );
        assert_eq!(decision.reasons[0].to_string(), "the battery is unknown");
    }

    #[test]
    fn a_network_of_which_nobody_knows_what_it_costs_is_not_used() {
        for class in [
            DeviceClass::Phone,
            DeviceClass::Laptop,
            DeviceClass::Desktop,
            DeviceClass::Server,
        ] {
            let decision = decide(|s| {
                s.class = class;
                s.metered = None;
            });
            assert_eq!(decision.verdict, Verdict::Refuse, "{class:?}");
            assert_eq!(codes(&decision), ["reading_unknown"]);
        }
    }

    #[test]
    fn a_desktop_without_a_battery_counts_as_charging_but_must_know_its_user() {
        let mut state = DeviceState {
            class: DeviceClass::Desktop,
            battery: Battery::Absent,
            ..phone()
        };
        let policy = HarvestPolicy::default();
        assert_eq!(policy.decide(&state, NOW).verdict, Verdict::Allow);
        state.screen_on = None;
        assert_eq!(policy.decide(&state, NOW).verdict, Verdict::Refuse);
    }

    #[test]
    fn impossible_readings_refuse() {
        for decision in [
            decide(|s| s.temperature_celsius = Some(f64::NAN)),
            decide(|s| s.battery_temperature_celsius = Some(-300.0)),
            decide(|s| s.cpu_load = Some(-0.5)),
            decide(|s| s.minute_of_day = Some(1_440)),
            decide(|s| {
                s.battery = Battery::Present {
                    level_percent: 130.0,
                    charging: true,
                };
            }),
        ] {
            assert_eq!(decision.verdict, Verdict::Refuse);
            assert_eq!(codes(&decision), ["reading_implausible"]);
        }
        assert_eq!(
            codes(&decide(|s| s.temperature_celsius = Some(f64::INFINITY))),
            ["too_hot"]
        );
    }

    #[test]
    fn an_invalid_policy_refuses_even_when_it_is_not_enforced() {
        let policy = HarvestPolicy {
            celsius_critical: f64::NAN,
            ..HarvestPolicy::always()
        };
        let decision = policy.decide(&phone(), NOW);
        assert_eq!(decision.verdict, Verdict::Refuse);
        assert_eq!(decision.reasons, [Reason::PolicyInvalid]);
        assert_eq!(decision.reasons[0].to_string(), "the policy is invalid");
    }

    #[test]
    fn always_allows_and_names_what_it_overruled() {
        let mut state = phone();
        state.temperature_celsius = Some(80.0);
        state.metered = Some(true);
        let decision = HarvestPolicy::always().decide(&state, NOW);
        assert_eq!(decision.verdict, Verdict::Allow);
        assert_eq!(codes(&decision), ["too_hot", "metered"]);
        assert!((decision.budget.cpu_share - 0.5).abs() < 1e-12);
        assert_eq!(decision.budget.memory_bytes, 2_400_000_000);
    }

    #[test]
    fn readings_from_the_future_are_fresh() {
        assert_eq!(
            decide(|s| s.read_at = NOW + Duration::from_secs(100)).verdict,
            Verdict::Allow
        );
        assert_eq!(
            decide(|s| s.read_at = NOW - Duration::from_secs(30)).verdict,
            Verdict::Allow
        );
    }

    fn any_class() -> impl Strategy<Value = DeviceClass> {
        prop_oneof![
            Just(DeviceClass::Phone),
            Just(DeviceClass::Laptop),
            Just(DeviceClass::Desktop),
            Just(DeviceClass::Server),
        ]
    }

    fn any_network() -> impl Strategy<Value = Network> {
        prop_oneof![
            Just(Network::Unknown),
            Just(Network::Offline),
            Just(Network::Ethernet),
            Just(Network::Wifi),
            Just(Network::Cellular),
        ]
    }

    fn any_battery() -> impl Strategy<Value = Battery> {
        prop_oneof![
            Just(Battery::Unknown),
            Just(Battery::Absent),
            (0.0..=100.0, any::<bool>()).prop_map(|(level_percent, charging)| {
                Battery::Present {
                    level_percent,
                    charging,
                }
            }),
        ]
    }

    prop_compose! {
        fn any_state()(
            (class, battery, network) in (any_class(), any_battery(), any_network()),
            cpu_load in proptest::option::of(0.0..=1.0),
            memory_total_bytes in proptest::option::of(any::<u64>()),
            memory_available_bytes in proptest::option::of(any::<u64>()),
            battery_temperature_celsius in proptest::option::of(0.0..90.0),
            temperature_celsius in proptest::option::of(0.0..90.0),
            metered in any::<Option<bool>>(),
            screen_on in any::<Option<bool>>(),
            user_idle in proptest::option::of(0_u64..1_000),
            minute_of_day in proptest::option::of(0_u16..1_440),
            age_ms in 0_u64..60_000,
        ) -> DeviceState {
            DeviceState {
                cpu_load,
                memory_total_bytes,
                memory_available_bytes,
                battery,
                battery_temperature_celsius,
                temperature_celsius,
                network,
                metered,
                screen_on,
                user_idle: user_idle.map(Duration::from_secs),
                minute_of_day,
                ..DeviceState::unknown(class, NOW - Duration::from_millis(age_ms))
            }
        }
    }

    /// States that are fine but for battery and temperature, so that the verdict hangs on them.
    fn nearly_fine() -> impl Strategy<Value = DeviceState> {
        let celsius = || proptest::option::of(0.0..90.0);
        (any_class(), any_battery(), celsius(), celsius()).prop_map(
            |(class, battery, battery_temperature_celsius, temperature_celsius)| DeviceState {
                class,
                battery,
                battery_temperature_celsius,
                temperature_celsius,
                ..phone()
            },
        )
    }

    /// How much a decision lends: a verdict that is no worse and a share that is no smaller.
    fn lends_no_more(less: &Decision, more: &Decision) -> bool {
        let order = |verdict| match verdict {
            Verdict::Refuse => 0,
            Verdict::Throttle => 1,
            Verdict::Allow => 2,
        };
        order(less.verdict) <= order(more.verdict) && less.budget.cpu_share <= more.budget.cpu_share
    }

    proptest! {
        #[test]
        fn a_decision_is_a_function_of_its_arguments(state in any_state()) {
            let policy = HarvestPolicy::default();
            prop_assert_eq!(policy.decide(&state, NOW), policy.clone().decide(&state.clone(), NOW));
        }

        #[test]
        fn hotter_never_lends_more(
            state in prop_oneof![any_state(), nearly_fine()],
            rise in 0.0..60.0,
        ) {
            let mut hotter = state.clone();
            hotter.temperature_celsius = hotter.temperature_celsius.map(|t| t + rise);
            hotter.battery_temperature_celsius =
                hotter.battery_temperature_celsius.map(|t| t + rise);
            let policy = HarvestPolicy::default();
            prop_assert!(lends_no_more(&policy.decide(&hotter, NOW), &policy.decide(&state, NOW)));
        }

        #[test]
        fn a_lower_battery_never_lends_more(
            state in prop_oneof![any_state(), nearly_fine()],
            kept in 0.0..=1.0,
        ) {
            let mut lower = state.clone();
            if let Battery::Present { level_percent, .. } = &mut lower.battery {
                *level_percent *= kept;
            }
            let policy = HarvestPolicy::default();
            prop_assert!(lends_no_more(&policy.decide(&lower, NOW), &policy.decide(&state, NOW)));
        }

        #[test]
        fn nothing_is_lent_on_a_required_reading_that_is_unknown(
            state in prop_oneof![any_state(), nearly_fine()],
        ) {
            for policy in [HarvestPolicy::default(), HarvestPolicy::phone()] {
                for stance in [
                    Stance::Begin,
                    Stance::Continue,
                    Stance::ContinueThrottled,
                    Stance::Resume,
                ] {
                    let decision = policy.decide_for(&state, stance, NOW);
                    let phone = state.class == DeviceClass::Phone;
                    let thermometer = state.battery_temperature_celsius.is_some()
                        || state.temperature_celsius.is_some();
                    if state.metered.is_none()
                        || state.memory_available_bytes.is_none()
                        || phone && (state.battery == Battery::Unknown || !thermometer)
                        || state.class.is_portable() && state.network == Network::Unknown
                        || state.class != DeviceClass::Server && state.user_idle.is_none()
                    {
                        prop_assert_eq!(decision.verdict, Verdict::Refuse);
                    }
                }
            }
        }

        #[test]
        fn what_may_resume_may_go_on(state in prop_oneof![any_state(), nearly_fine()]) {
            let policy = HarvestPolicy::default();
            let to = |stance| policy.decide_for(&state, stance, NOW);
            let (resume, throttled) = (to(Stance::Resume), to(Stance::ContinueThrottled));
            prop_assert!(lends_no_more(&resume, &throttled));
            prop_assert!(lends_no_more(&throttled, &to(Stance::Continue)));
        }

        #[test]
        fn always_never_refuses_and_names_what_the_default_names(state in any_state()) {
            let always = HarvestPolicy::always().decide(&state, NOW);
            prop_assert_eq!(always.verdict, Verdict::Allow);
            prop_assert_eq!(always.reasons, HarvestPolicy::default().decide(&state, NOW).reasons);
        }

        #[test]
        fn the_verdict_follows_from_the_reasons(state in prop_oneof![any_state(), nearly_fine()]) {
            let decision = HarvestPolicy::default().decide(&state, NOW);
            let expected = match decision.reasons.iter().map(Reason::effect).max() {
                Some(Effect::Refuse) => Verdict::Refuse,
                Some(Effect::Throttle) => Verdict::Throttle,
                Some(Effect::Note) | None => Verdict::Allow,
            };
            prop_assert_eq!(decision.verdict, expected);
            prop_assert_eq!(expected == Verdict::Refuse, decision.budget == Budget::default());
        }

        #[test]
        fn the_budget_stays_within_the_device(state in prop_oneof![any_state(), nearly_fine()]) {
            for policy in [HarvestPolicy::default(), HarvestPolicy::always()] {
                let budget = policy.decide(&state, NOW).budget;
                prop_assert!((0.0..=1.0).contains(&budget.cpu_share));
                if let Some(available) = state.memory_available_bytes {
                    prop_assert!(budget.memory_bytes <= available);
                }
                if let Some(total) = state.memory_total_bytes {
                    prop_assert!(budget.memory_bytes <= total);
                }
            }
        }
    }
}
