//! Reads the device from Linux's own files.
//!
//! | reading | from |
//! |---|---|
//! | processors, load | `/proc/stat`, less the time of this process's group from `/proc/*/stat` |
//! | memory | `/proc/meminfo` |
//! | battery | `/sys/class/power_supply` |
//! | temperature | `/sys/class/thermal`, `/sys/class/hwmon` |
//! | network | `/sys/class/net`, `/proc/net/route` |
//! | time of day, date | `/etc/localtime` |
//! | screen | `/sys/class/drm`: whether a connected display is lit |
//! | user's idle time | the X11 display, else logind: the hint that desktops and terminals give it; none while something inhibits idling |
//! | metering | NetworkManager |
//!
//! logind and NetworkManager are asked over D-Bus, of the system's bus or of another that is named. A service
//! that does not answer within a fraction of a second, or a bus that is not there, is an unknown
//! reading, and so is a file that is missing, cannot be read or holds nonsense: never a zero.
//!
//! A probe blocks while it reads. [`ProbeThread`](crate::ProbeThread) gives it a thread of its own, so that one that
//! never returns, or panics, only makes the last reading grow old.

mod bus;
mod cpu;
mod display;
mod network;
mod power;
mod screen;
mod thermal;
mod tree;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, SystemClock, UnixMillis};
use fogcompute_harvest::{DeviceClass, DeviceProbe, DeviceState};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use thiserror::Error;

use self::bus::Services;
use self::cpu::CpuSample;
use self::display::Display;
use self::power::Power;
use self::tree::Tree;

pub use self::bus::BusAddressError;

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

/// The X11 display is reached over the network, so whoever sits there is not at this device.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("display `{name}` is not this device's: its name begins with `:`")]
pub struct NotLocal {
    /// The display's name.
    pub name: String,
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
    services: Option<Services>,
    display: Option<Display>,
    /// The reading the next load is measured from, and the load up to it.
    last: Option<(CpuSample, Option<f64>)>,
}

impl LinuxProbe {
    /// Reads this device. A display server in the environment (`DISPLAY`, `WAYLAND_DISPLAY`) makes
    /// it a desktop. Under Wayland the X11 display is not asked: it sees what is done in its own
    /// windows only.
    #[must_use]
    pub fn new() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| value != OsStr::new(""));
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
        let wayland = is_set("WAYLAND_DISPLAY");
        let display = std::env::var("DISPLAY").ok().filter(|_| !wayland);
        Self {
            session: is_set("DISPLAY") || wayland,
            display: display.and_then(|name| Display::new(&name)),
            services: Services::new(address.as_deref().unwrap_or(SYSTEM_BUS)).ok(),
            ..Self::with_root("/")
        }
    }

    /// Reads the device whose `proc`, `sys` and `etc` are under `root`: a host's, mounted in a
    /// container, or a recorded one. The environment is not looked at, and no bus is asked.
    #[must_use]
    pub fn with_root(root: impl AsRef<Path>) -> Self {
        Self {
            tree: Tree::new(root.as_ref()),
            clock: Arc::new(SystemClock::new()),
            session: false,
            services: None,
            display: None,
            last: None,
        }
    }

    /// Asks the bus at `address` for what is not in files: `unix:path=/run/dbus/system_bus_socket`.
    ///
    /// # Errors
    /// [`BusAddressError`]: there is no address of a Unix socket in it.
    pub fn with_bus(mut self, address: &str) -> Result<Self, BusAddressError> {
        self.services = Some(Services::new(address)?);
        Ok(self)
    }

    /// Asks the X11 display of that name, `:0`, how long nobody touched it.
    ///
    /// # Errors
    /// [`NotLocal`]: it is a display of another device.
    pub fn with_display(mut self, name: &str) -> Result<Self, NotLocal> {
        let display = Display::new(name).ok_or_else(|| NotLocal {
            name: name.to_owned(),
        })?;
        self.display = Some(display);
        Ok(self)
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
        let (network, bandwidth_bits_per_second) = network::read(&self.tree);
        let unix_now = self.clock.unix_now();
        let told = self
            .services
            .as_mut()
            .map(|services| services.read(self.clock.as_ref()))
            .unwrap_or_default();
        // Who watches a film touches nothing and is there all the same.
        let user_idle = if told.inhibited {
            Some(Duration::ZERO)
        } else {
            let display = self.display.as_mut().and_then(Display::user_idle);
            display.or(told.user_idle)
        };
        let (local_day, minute_of_day) = self.local(unix_now).unzip();
        Ok(DeviceState {
            cpu_cores: cpu::cores(&self.tree),
            cpu_load,
            memory_total_bytes,
            memory_available_bytes,
            battery: power.battery,
            battery_temperature_celsius: power.temperature_celsius,
            temperature_celsius: thermal::hottest(&self.tree),
            network,
            bandwidth_bits_per_second,
            metered: told.metered,
            // A lid that is closed says nothing of a display on the desk, which is lit or not.
            screen_on: screen::is_lit(&self.tree),
            user_idle,
            minute_of_day,
            local_day,
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

    /// Local date in days since 1970-01-01, and minute of the day.
    fn local(&self, unix_now: UnixMillis) -> Option<(u32, u16)> {
        let zone = TimeZone::tzif("local", &self.tree.bytes_of_link("etc/localtime")?).ok()?;
        let millis = i64::try_from(unix_now.0).ok()?;
        let local = zone.to_datetime(Timestamp::from_millisecond(millis).ok()?);
        let days = local
            .date()
            .duration_since(Date::constant(1970, 1, 1))
            .as_hours()
            / 24;
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        Some((u32::try_from(days).ok()?, u16::try_from(minute).ok()?))
    }
}

/// Where the specification of D-Bus puts the system's bus.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

impl DeviceProbe for LinuxProbe {
    fn read(&mut self, now: Instant) -> Result<DeviceState, fogcompute_harvest::ProbeError> {
        Self::read(self, now).map_err(|error| fogcompute_harvest::ProbeError::Host {
            reason: error.to_string(),
        })
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
