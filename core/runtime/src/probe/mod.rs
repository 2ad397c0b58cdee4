//! Reads the device from Linux's own files.
//!
//! | reading | from |
//! |---|---|
//! | processors, load | `/proc/stat`, less the time of this process's group from `/proc/*/stat` |
//! | memory | `/proc/meminfo` |
//! | battery | `/sys/class/power_supply` |
//! | temperature | `/sys/class/thermal`, `/sys/class/hwmon` |
//! | network | `/sys/class/net`, `/proc/net/route` |
//! | time of day | `/etc/localtime` |
//!
//! Screen, user's idle time and metering are not in files: desktops tell them over D-Bus, which
//! this module does not speak, so they are unknown.
//!
//! A file that is missing, cannot be read or holds nonsense is an unknown reading, never a zero.

mod cpu;
mod network;
mod power;
mod thermal;
mod tree;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fogcompute_base::{Clock, Instant, SystemClock};
use fogcompute_harvest::{DeviceClass, DeviceState};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

use self::cpu::CpuSample;
use self::power::Power;
use self::tree::Tree;

/// Why nothing at all could be read.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ProbeError {
    /// There is neither `proc` nor `sys` under the root. Mount them, or name the right root.
    #[error("{} has neither proc nor sys", root.display())]
    NotLinux {
        /// The root that was looked under.
        root: PathBuf,
    },
}

/// Reads a Linux device, this one or one whose files are under another folder.
///
/// The load is the difference between two readings, so it is unknown in the first. Readings less
/// than a quarter of a second apart share one load.
///
/// ```
/// use fogcompute_base::{Clock, SystemClock};
/// use fogcompute_runtime::probe::LinuxProbe;
///
/// let clock = SystemClock::new();
/// let state = LinuxProbe::new().read(clock.now())?;
/// assert!(state.memory_total_bytes.is_some());
/// # Ok::<(), fogcompute_runtime::probe::ProbeError>(())
/// ```
pub struct LinuxProbe {
    tree: Tree,
    clock: Arc<dyn Clock>,
    /// A display server is announced in this process's environment.
    session: bool,
    /// The reading the next load is measured from, and the load up to it.
    last: Option<(CpuSample, Option<f64>)>,
}

impl LinuxProbe {
    /// Reads this device. A display server in the environment (`DISPLAY`, `WAYLAND_DISPLAY`) makes
    /// it a desktop.
    #[must_use]
    pub fn new() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| value != OsStr::new(""));
        Self {
            session: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"),
            ..Self::with_root("/")
        }
    }

    /// Reads the device whose `proc`, `sys` and `etc` are under `root`: a host's, mounted in a
    /// container, or a recorded one. The environment is not looked at.
    #[must_use]
    pub fn with_root(root: impl AsRef<Path>) -> Self {
        Self {
            tree: Tree::new(root.as_ref()),
            clock: Arc::new(SystemClock::new()),
            session: false,
            last: None,
        }
    }

    /// Takes the time of day from `clock` instead of the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Reads everything once. `now` becomes the time of the reading.
    ///
    /// # Errors
    /// [`ProbeError::NotLinux`]. A single reading that fails is unknown instead.
    pub fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError> {
        if !self.tree.exists("proc") && !self.tree.exists("sys") {
            return Err(ProbeError::NotLinux {
                root: self.tree.root().to_owned(),
            });
        }
        let power = Power::read(&self.tree);
        let cpu = CpuSample::read(&self.tree);
        // Over a few ticks the load would be all or nothing: wait with the next one.
        let too_soon = match (&self.last, &cpu) {
            (Some((last, _)), Some(cpu)) => cpu.is_too_soon_after(last),
            _ => false,
        };
        if !too_soon {
            let load = match (&self.last, &cpu) {
                (Some((last, _)), Some(cpu)) => cpu.load_since(last),
                _ => None,
            };
            self.last = cpu.map(|cpu| (cpu, load));
        }
        let cpu_load = self.last.as_ref().and_then(|(_, load)| *load);
        let (memory_total_bytes, memory_available_bytes) = memory(&self.tree);
        Ok(DeviceState {
            cpu_cores: cpu::cores(&self.tree),
            cpu_load,
            memory_total_bytes,
            memory_available_bytes,
            battery: power.battery,
            battery_temperature_celsius: power.temperature_celsius,
            temperature_celsius: thermal::hottest(&self.tree),
            network: network::read(&self.tree),
            minute_of_day: self.minute_of_day(),
            ..DeviceState::unknown(self.class(&power), now)
        })
    }

    /// A device with a battery is carried about; one with neither battery nor display has nobody
    /// in front of it.
    fn class(&self, power: &Power) -> DeviceClass {
        if self.tree.exists("system/build.prop") {
            DeviceClass::Phone
        } else if power.has_battery {
            DeviceClass::Laptop
        } else if self.session || self.has_display() {
            DeviceClass::Desktop
        } else {
            DeviceClass::Server
        }
    }

    fn has_display(&self) -> bool {
        self.tree
            .entries("sys/class/drm")
            .unwrap_or_default()
            .iter()
            .any(|connector| {
                let status = self.tree.text(&format!("sys/class/drm/{connector}/status"));
                status.is_some_and(|status| status == "connected")
            })
    }

    fn minute_of_day(&self) -> Option<u16> {
        let zone = TimeZone::tzif("local", &self.tree.bytes_of_link("etc/localtime")?).ok()?;
        let millis = i64::try_from(self.clock.unix_now().0).ok()?;
        let local = zone.to_datetime(Timestamp::from_millisecond(millis).ok()?);
        u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()
    }
}

impl Default for LinuxProbe {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LinuxProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxProbe")
            .field("root", &self.tree.root())
            .field("session", &self.session)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// Memory installed and available, in bytes.
fn memory(tree: &Tree) -> (Option<u64>, Option<u64>) {
    let text = tree.text("proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = rest.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        kib.checked_mul(1_024)
    };
    let total = field("MemTotal:");
    // More available than installed is nonsense.
    let available =
        field("MemAvailable:").filter(|available| total.is_none_or(|total| *available <= total));
    (total, available)
}
