//! `LinuxProbe` on recorded trees, and on the machine that runs the tests.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use fogcompute_base::{Clock, Instant, SystemClock, UnixMillis};
use fogcompute_harvest::{
    Battery, Command, DeviceClass, DeviceState, HarvestPolicy, HarvestState, Harvester, Network,
    Reason, Weekday,
};
use fogcompute_runtime::probe::{LinuxProbe, ProbeError};
use tempfile::TempDir;

const NOW: Instant = Instant::from_millis(5);

/// A device's files in a folder of their own.
struct Device(TempDir);

impl Device {
    /// Processor and memory, which every Linux has.
    fn new() -> Self {
        let device = Self(TempDir::new().expect("the tests' folder is writable"));
        device.cpu(1_000, 10_000, 100);
        device.write(
            "proc/meminfo",
            "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:    8192000 kB\n",
        );
        device
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("paths have a folder"))
            .expect("the tests' folder is writable");
        fs::write(path, content).expect("the tests' folder is writable");
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.0.path().join(path)).expect("the tests' folder is writable");
    }

    /// Files of one entry of a class, from `file=content`.
    fn entry(&self, class: &str, name: &str, files: &[&str]) {
        for file in files {
            let (file, content) = file.split_once('=').expect("files have a content");
            self.write(
                &format!("sys/class/{class}/{name}/{file}"),
                format!("{content}\n"),
            );
        }
    }

    fn cpu(&self, busy: u64, idle: u64, own: u64) {
        let stat = format!(
            "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n\
             cpu1 1 0 0 1 0 0 0 0 0 0\nintr 5\nctxt 6\n"
        );
        self.write("proc/stat", stat);
        let own = format!("42 (fog node) R 1 1 1 0 -1 0 0 0 0 0 {own} 0 0 0 20 0 1 0 1\n");
        self.write("proc/self/stat", own);
    }

    fn battery(&self, capacity: &str, status: &str) {
        self.entry(
            "power_supply",
            "BAT0",
            &[
                "type=Battery",
                "present=1",
                &format!("capacity={capacity}"),
                &format!("status={status}"),
            ],
        );
    }

    fn probe(&self) -> LinuxProbe {
        LinuxProbe::with_root(self.0.path())
    }

    fn read(&self) -> DeviceState {
        self.probe().read(NOW).expect("the tree has proc")
    }
}

fn present(level_percent: f64, charging: bool) -> Battery {
    Battery::Present {
        level_percent,
        charging,
    }
}

#[test]
fn laptop_on_battery() {
    let device = Device::new();
    device.battery("73", "Discharging");
    device.entry("power_supply", "BAT0", &["temp=314"]);
    device.entry("power_supply", "AC", &["type=Mains", "online=0"]);
    device.entry("thermal", "thermal_zone0", &["type=acpitz", "temp=27800"]);
    device.entry(
        "thermal",
        "thermal_zone1",
        &["type=x86_pkg_temp", "temp=61000"],
    );
    device.entry("thermal", "cooling_device0", &["type=Fan", "temp=99000"]);
    device.entry(
        "hwmon",
        "hwmon0",
        &["name=coretemp", "temp1_input=63000", "temp1_crit=100000"],
    );
    device.entry("hwmon", "hwmon1", &["name=BAT0", "temp1_input=90000"]);
    device.entry("net", "lo", &["type=772", "operstate=unknown", "carrier=1"]);
    device.entry(
        "net",
        "wlp3s0",
        &["type=1", "operstate=up", "uevent=DEVTYPE=wlan"],
    );
    device.folder("sys/class/net/wlp3s0/wireless");
    device.folder("sys/class/net/wlp3s0/device");
    device.entry("net", "enp0s25", &["type=1", "operstate=down"]);
    device.folder("sys/class/net/enp0s25/device");
    device.entry(
        "net",
        "docker0",
        &["type=1", "operstate=down", "uevent=DEVTYPE=bridge"],
    );

    assert_eq!(
        device.read(),
        DeviceState {
            cpu_cores: Some(2),
            memory_total_bytes: Some(16_384_000 * 1_024),
            memory_available_bytes: Some(8_192_000 * 1_024),
            battery: present(73.0, false),
            battery_temperature_celsius: Some(31.4),
            temperature_celsius: Some(63.0),
            network: Network::Wifi,
            ..DeviceState::unknown(DeviceClass::Laptop, NOW)
        }
    );
}

#[test]
fn laptop_that_charges() {
    for (status, charging) in [
        ("Charging", true),
        ("Full", true),
        ("Not charging", true),
        ("Discharging", false),
        // Nothing tells, which is the safe side.
        ("Unknown", false),
    ] {
        let device = Device::new();
        device.battery("100", status);
        assert_eq!(device.read().battery, present(100.0, charging), "{status}");
    }
    // The adapter tells where the battery does not.
    for (online, charging) in [("1", true), ("0", false)] {
        let device = Device::new();
        device.battery("50", "Unknown");
        device.entry(
            "power_supply",
            "ADP1",
            &["type=Mains", &format!("online={online}")],
        );
        device.entry("power_supply", "usb", &["type=USB", "online=0"]);
        assert_eq!(device.read().battery, present(50.0, charging), "{online}");
    }
}

#[test]
fn two_batteries_count_by_their_energy() {
    let device = Device::new();
    device.battery("0", "Not charging");
    device.entry("power_supply", "BAT0", &["energy_full=20000000"]);
    device.entry(
        "power_supply",
        "BAT1",
        &[
            "type=Battery",
            "capacity=80",
            "status=Discharging",
            "energy_full=60000000",
        ],
    );
    assert_eq!(device.read().battery, present(60.0, false));
    // Without the energy of one, each counts the same.
    device.entry("power_supply", "BAT1", &["energy_full=none"]);
    assert_eq!(device.read().battery, present(40.0, false));
    // With the level of one unknown, so is the whole.
    device.entry("power_supply", "BAT1", &["capacity=none"]);
    assert_eq!(device.read().battery, Battery::Unknown);
    assert_eq!(device.read().class, DeviceClass::Laptop);
}

#[test]
fn batteries_of_accessories_and_empty_bays_are_not_the_devices() {
    let device = Device::new();
    device.entry(
        "power_supply",
        "hidpp_battery_0",
        &[
            "type=Battery",
            "scope=Device",
            "capacity=5",
            "status=Discharging",
        ],
    );
    device.entry("power_supply", "BAT1", &["type=Battery", "present=0"]);
    let state = device.read();
    assert_eq!(state.battery, Battery::Absent);
    assert_eq!(state.class, DeviceClass::Server);
}

#[test]
fn server_without_anything() {
    // No sys at all: nothing is known, and nothing is taken for zero or for absent.
    let state = Device::new().read();
    assert_eq!(
        state,
        DeviceState {
            cpu_cores: Some(2),
            memory_total_bytes: Some(16_384_000 * 1_024),
            memory_available_bytes: Some(8_192_000 * 1_024),
            ..DeviceState::unknown(DeviceClass::Server, NOW)
        }
    );
}

#[test]
fn machine_with_a_display_and_no_battery_is_a_desktop() {
    let device = Device::new();
    device.folder("sys/class/power_supply");
    device.entry("drm", "card0-DP-1", &["status=disconnected"]);
    assert_eq!(device.read().class, DeviceClass::Server);
    assert_eq!(device.read().battery, Battery::Absent);
    device.entry("drm", "card0-HDMI-A-1", &["status=connected"]);
    assert_eq!(device.read().class, DeviceClass::Desktop);
}

/// What a Raspberry Pi 4 with a cable and no display tells.
#[test]
fn raspberry_pi() {
    let device = Device::new();
    device.folder("sys/class/power_supply");
    device.entry(
        "thermal",
        "thermal_zone0",
        &["type=cpu-thermal", "temp=48199"],
    );
    device.entry("thermal", "cooling_device0", &["type=gpio-fan"]);
    device.entry(
        "hwmon",
        "hwmon0",
        &["name=cpu_thermal", "temp1_input=48199"],
    );
    device.entry("hwmon", "hwmon1", &["name=rpi_volt", "in0_lcrit_alarm=0"]);
    device.entry("drm", "card1-HDMI-A-1", &["status=disconnected", "dpms=On"]);
    device.entry("net", "lo", &["type=772", "operstate=unknown", "carrier=1"]);
    device.entry("net", "eth0", &["type=1", "operstate=up", "speed=1000"]);
    device.folder("sys/class/net/eth0/device");
    device.entry("net", "wlan0", &["type=1", "operstate=down", "speed=-1"]);
    device.folder("sys/class/net/wlan0/wireless");
    assert_eq!(
        device.read(),
        DeviceState {
            cpu_cores: Some(2),
            memory_total_bytes: Some(16_384_000 * 1_024),
            memory_available_bytes: Some(8_192_000 * 1_024),
            battery: Battery::Absent,
            temperature_celsius: Some(48.199),
            network: Network::Ethernet,
            bandwidth_bits_per_second: Some(1_000_000_000),
            ..DeviceState::unknown(DeviceClass::Server, NOW)
        }
    );
}

#[test]
fn screen_is_on_if_a_display_is_lit() {
    let device = Device::new();
    let read = || device.read().screen_on;
    assert_eq!(read(), None);
    device.entry(
        "drm",
        "card0-eDP-1",
        &["status=connected", "enabled=enabled"],
    );
    assert_eq!(read(), None);
    device.entry("drm", "card0-eDP-1", &["dpms=On"]);
    assert_eq!(read(), Some(true));
    device.entry("drm", "card0-eDP-1", &["dpms=Off"]);
    assert_eq!(read(), Some(false));
    // The lid is closed, and a display stands on the desk.
    device.entry("drm", "card0-eDP-1", &["dpms=On", "enabled=disabled"]);
    assert_eq!(read(), Some(false));
    device.entry(
        "drm",
        "card0-DP-1",
        &["status=connected", "enabled=enabled", "dpms=On"],
    );
    assert_eq!(read(), Some(true));
    device.entry("drm", "card0-DP-1", &["dpms=nonsense"]);
    assert_eq!(read(), None);
}

#[test]
fn speed_of_the_network_is_known_where_the_driver_tells() {
    let device = Device::new();
    device.entry("net", "eth0", &["type=1", "operstate=up"]);
    device.folder("sys/class/net/eth0/device");
    for (speed, bits) in [
        ("", None),
        ("-1", None),
        ("4294967295", None),
        ("0", None),
        ("100", Some(100_000_000)),
        ("25000", Some(25_000_000_000)),
    ] {
        device.entry("net", "eth0", &[&format!("speed={speed}")]);
        assert_eq!(device.read().bandwidth_bits_per_second, bits, "{speed}");
    }
}

/// The charger of a recorded laptop is pulled out and put back while it lends.
#[test]
fn charger_that_is_pulled_suspends_within_a_second_and_resumes_later() {
    let device = Device::new();
    device.battery("80", "Charging");
    device.entry("power_supply", "AC", &["type=Mains", "online=1"]);
    device.entry(
        "thermal",
        "thermal_zone0",
        &["type=x86_pkg_temp", "temp=41000"],
    );
    device.entry(
        "drm",
        "card0-eDP-1",
        &["status=connected", "enabled=enabled", "dpms=Off"],
    );
    device.entry("net", "wlp3s0", &["type=1", "operstate=up"]);
    device.folder("sys/class/net/wlp3s0/wireless");
    // Nobody is asked here who sits in front of it and what the network costs.
    let policy = HarvestPolicy::from_toml(
        "window = \"any\"\nallow_metered = true\nuser_idle_min_seconds = 0\n\
         user_idle_continue_min_seconds = 0",
    )
    .unwrap();
    let second = std::time::Duration::from_secs(1);
    let mut now = Instant::from_millis(1_000);
    let mut harvester = Harvester::new(policy, now, UnixMillis(1_779_040_800_000)).unwrap();
    let mut probe = device.probe();
    let mut busy = 1_000;
    let mut tick = |harvester: &mut Harvester| {
        // A tenth of the two processors is the owner's.
        busy += 20;
        device.cpu(busy, 10_000 + busy * 9, 100);
        now = now + second;
        let state = probe.read(now).unwrap();
        (harvester.handle_reading(&state, now), now)
    };
    tick(&mut harvester);
    assert_eq!(tick(&mut harvester).0.state, HarvestState::Running);
    let Some(Command::Run(budget)) = harvester.poll_command() else {
        panic!("nothing began");
    };
    assert!((budget.cpu_share - 0.5).abs() < 1e-12);

    device.battery("80", "Discharging");
    device.entry("power_supply", "AC", &["online=0"]);
    let (answer, pulled) = tick(&mut harvester);
    assert_eq!(answer.state, HarvestState::Suspended);
    assert_eq!(answer.reasons, [Reason::NotCharging]);
    assert_eq!(harvester.poll_command(), Some(Command::Suspend));

    device.battery("79", "Charging");
    device.entry("power_supply", "AC", &["online=1"]);
    let resumed = loop {
        let (answer, now) = tick(&mut harvester);
        if answer.state == HarvestState::Running {
            break now;
        }
        assert_eq!(answer.state, HarvestState::Suspended);
        assert_eq!(harvester.poll_command(), None);
    };
    assert_eq!(resumed.duration_since(pulled).as_secs(), 11);
    assert_eq!(harvester.poll_command(), Some(Command::Run(budget)));
}

#[test]
fn phone() {
    let device = Device::new();
    device.write("system/build.prop", "ro.build.version.release=16\n");
    device.entry(
        "power_supply",
        "battery",
        &[
            "type=Battery",
            "present=1",
            "capacity=42",
            "status=Charging",
            "temp=405",
        ],
    );
    device.entry("power_supply", "usb", &["type=USB_PD", "online=1"]);
    device.entry(
        "thermal",
        "thermal_zone0",
        &["type=cpu-0-0-usr", "temp=58200"],
    );
    device.entry("thermal", "thermal_zone9", &["type=battery", "temp=70000"]);
    device.entry(
        "thermal",
        "thermal_zone10",
        &["type=modem-skin", "temp=-273000"],
    );
    device.entry(
        "net",
        "rmnet_data0",
        &["type=519", "operstate=unknown", "carrier=1"],
    );
    device.entry("net", "wlan0", &["type=1", "operstate=down"]);
    device.folder("sys/class/net/wlan0/phy80211");

    let state = device.read();
    assert_eq!(state.class, DeviceClass::Phone);
    assert_eq!(state.battery, present(42.0, true));
    assert_eq!(state.battery_temperature_celsius, Some(40.5));
    assert_eq!(state.temperature_celsius, Some(58.2));
    assert_eq!(state.network, Network::Cellular);

    device.entry("net", "wlan0", &["operstate=up"]);
    assert_eq!(device.read().network, Network::Wifi);
}

#[test]
fn nonsense_in_files_is_unknown() {
    let device = Device::new();
    let junk: &[u8] = b"\xff\xfe\0nonsense -1 99999999999999999999999 NaN\n";
    for path in [
        "proc/stat",
        "proc/self/stat",
        "proc/meminfo",
        "proc/net/route",
        "etc/localtime",
        "sys/class/power_supply/BAT0/type",
        "sys/class/power_supply/BAT0/capacity",
        "sys/class/thermal/thermal_zone0/temp",
        "sys/class/hwmon/hwmon0/temp1_input",
        "sys/class/net/eth0/operstate",
        "sys/class/net/eth0/type",
        "sys/class/drm/card0/status",
        "sys/class/net/eth0/speed",
        "sys/class/drm/card0/dpms",
    ] {
        device.write(path, junk);
    }
    device.folder("sys/class/net/wlan0/wireless");
    let mut probe = device.probe();
    for _ in 0..2 {
        let state = probe.read(NOW).unwrap();
        assert_eq!(state, DeviceState::unknown(DeviceClass::Server, NOW));
    }
}

#[test]
fn numbers_out_of_range_are_unknown() {
    let device = Device::new();
    device.write("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 200 kB\n");
    device.entry("thermal", "thermal_zone0", &["type=cpu", "temp=127000"]);
    for (capacity, temp) in [("101", "9999"), ("-1", "-2732"), ("NaN", "inf"), ("", "")] {
        device.battery(capacity, "Discharging");
        device.entry("power_supply", "BAT0", &[&format!("temp={temp}")]);
        let state = device.read();
        assert_eq!(state.battery, Battery::Unknown, "{capacity}");
        assert_eq!(state.battery_temperature_celsius, None, "{temp}");
        assert_eq!(state.temperature_celsius, None);
        assert_eq!(state.memory_total_bytes, Some(102_400));
        assert_eq!(state.memory_available_bytes, None);
    }
}

#[test]
fn load_is_what_others_used_since_the_last_reading() {
    let device = Device::new();
    let mut probe = device.probe();
    assert_eq!(probe.read(NOW).unwrap().cpu_load, None);
    // 100 ticks: 70 busy, of which 20 were ours.
    device.cpu(1_070, 10_030, 120);
    assert_eq!(probe.read(NOW).unwrap().cpu_load, Some(0.5));
    // Too little time has passed for another load.
    device.cpu(1_090, 10_050, 120);
    assert_eq!(probe.read(NOW).unwrap().cpu_load, Some(0.5));
    device.cpu(1_090, 10_110, 120);
    assert_eq!(probe.read(NOW).unwrap().cpu_load, Some(0.2));
    // Without our own time nobody can say what the others used.
    fs::remove_file(device.0.path().join("proc/self/stat")).unwrap();
    assert_eq!(probe.read(NOW).unwrap().cpu_load, None);
    // A gap is not bridged with an old reading.
    device.cpu(1_170, 10_130, 120);
    assert_eq!(probe.read(NOW).unwrap().cpu_load, None);
    device.cpu(1_170, 10_230, 120);
    assert_eq!(probe.read(NOW).unwrap().cpu_load, Some(0.0));
}

#[test]
fn network_is_the_one_behind_the_default_route() {
    let device = Device::new();
    device.entry("net", "eth0", &["type=1", "operstate=up"]);
    device.folder("sys/class/net/eth0/device");
    device.entry(
        "net",
        "wwan0",
        &["type=65534", "operstate=unknown", "carrier=1"],
    );
    assert_eq!(device.read().network, Network::Ethernet);
    let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
    let route = |name: &str, destination: &str, flags: &str, metric: &str, mask: &str| {
        format!("{name} {destination} 0102A8C0 {flags} 0 0 {metric} {mask} 0 0 0\n")
    };
    let through_modem = route("wwan0", "00000000", "0003", "50", "00000000");
    for (table, network) in [
        (through_modem.clone(), Network::Cellular),
        (
            route("eth0", "00000000", "0003", "100", "00000000") + &through_modem,
            Network::Cellular,
        ),
        (
            route("eth0", "00000000", "0003", "20", "00000000") + &through_modem,
            Network::Ethernet,
        ),
        // Not a default route, not up, a tunnel, and a line that is cut.
        (
            route("wwan0", "0002A8C0", "0001", "0", "00FFFFFF"),
            Network::Ethernet,
        ),
        (
            route("wwan0", "00000000", "0002", "0", "00000000"),
            Network::Ethernet,
        ),
        (
            route("tun0", "00000000", "0003", "0", "00000000"),
            Network::Ethernet,
        ),
        ("wwan0 00000000 0102".to_owned(), Network::Ethernet),
    ] {
        device.write("proc/net/route", format!("{header}{table}"));
        assert_eq!(device.read().network, network, "{table}");
    }
}

#[test]
fn device_is_offline_only_if_every_interface_says_so() {
    let device = Device::new();
    device.entry("net", "lo", &["type=772", "operstate=unknown", "carrier=1"]);
    assert_eq!(device.read().network, Network::Offline);
    device.entry("net", "eth0", &["type=1", "operstate=down"]);
    device.folder("sys/class/net/eth0/device");
    assert_eq!(device.read().network, Network::Offline);
    // A driver that tells neither state nor carrier.
    device.entry("net", "eth0", &["operstate=unknown"]);
    assert_eq!(device.read().network, Network::Unknown);
    device.entry("net", "eth0", &["carrier=0"]);
    assert_eq!(device.read().network, Network::Offline);
    // In a container there is only one end of a virtual cable.
    device.entry("net", "eth1", &["type=1", "operstate=up"]);
    assert_eq!(device.read().network, Network::Unknown);
}

/// A clock that stands.
struct At(u64);

impl Clock for At {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
    fn unix_now(&self) -> UnixMillis {
        UnixMillis(self.0)
    }
}

/// A time zone's file of version 2 without transitions: everything is in the rule at its end.
fn zone(rule: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..2 {
        bytes.extend(b"TZif2");
        bytes.extend([0; 15]);
        // isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt
        for count in [0_u32, 0, 0, 0, 1, 4] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend([0, 0, 0, 0, 0, 0]);
        bytes.extend(b"UTC\0");
    }
    bytes.extend(format!("\n{rule}\n").as_bytes());
    bytes
}

#[test]
fn night_is_from_ten_to_seven_whatever_the_clocks_do_in_it() {
    // Hours after 2026-03-28 18:00 UTC at which the window opens and closes in Berlin, and the same
    // after 2026-10-24 18:00 UTC: of the nights in which the clocks change, one is an hour short
    // and one an hour long.
    let device = Device::new();
    device.write("etc/localtime", zone("CET-1CEST,M3.5.0,M10.5.0/3"));
    let policy = HarvestPolicy::default();
    let hour = 3_600_000;
    for (evening, day, hours) in [
        (1_774_720_800_000, 20_540, 8),
        (1_792_864_800_000, 20_750, 10),
        (1_779_040_800_000, 20_590, 9),
    ] {
        let open: Vec<u64> = (0..20)
            .filter(|passed| {
                let clock = Arc::new(At(evening + passed * hour));
                let state = device.probe().with_clock(clock).read(NOW).unwrap();
                let weekday = state.local_day.map(Weekday::of_day);
                policy.is_open(state.minute_of_day.unwrap(), weekday) == Some(true)
            })
            .collect();
        assert_eq!(open.len() as u64, hours, "{open:?}");
        assert_eq!(open.last().unwrap() - open[0] + 1, hours);
        let state = device
            .probe()
            .with_clock(Arc::new(At(evening)))
            .read(NOW)
            .unwrap();
        assert_eq!(state.local_day, Some(day));
    }
}

#[test]
fn minute_of_day_is_local() {
    let device = Device::new();
    let minute = |unix_millis| {
        let mut probe = device.probe().with_clock(Arc::new(At(unix_millis)));
        probe.read(NOW).unwrap().minute_of_day
    };
    // 2026-01-15 and 2026-07-15, both 23:30 UTC.
    let (winter, summer) = (1_768_519_800_000, 1_784_158_200_000);
    assert_eq!(minute(winter), None);
    device.write("etc/localtime", zone("UTC0"));
    assert_eq!(minute(winter), Some(23 * 60 + 30));
    device.write("etc/localtime", zone("CET-1CEST,M3.5.0,M10.5.0/3"));
    assert_eq!(minute(winter), Some(30));
    assert_eq!(minute(summer), Some(90));
    // The link that distributions make is absolute, and means a place under the same root.
    fs::remove_file(device.0.path().join("etc/localtime")).unwrap();
    device.write("usr/share/zoneinfo/Fog/Test", zone("<+0530>-5:30"));
    symlink(
        "/usr/share/zoneinfo/Fog/Test",
        device.0.path().join("etc/localtime"),
    )
    .unwrap();
    assert_eq!(minute(winter), Some(5 * 60));
}

#[test]
fn folder_that_is_no_device_is_an_error() {
    let folder = TempDir::new().unwrap();
    assert_eq!(
        LinuxProbe::with_root(folder.path()).read(NOW),
        Err(ProbeError::NotLinux {
            root: folder.path().to_owned()
        })
    );
}

#[test]
fn this_machine_is_read() {
    let clock = SystemClock::new();
    let mut probe = LinuxProbe::new();
    probe.read(clock.now()).unwrap();
    let now = clock.now();
    let state = probe.read(now).unwrap();
    assert_eq!(state.read_at, now);
    assert!(state.cpu_cores.unwrap() >= 1);
    assert!(
        state
            .cpu_load
            .is_none_or(|load| (0.0..=1.0).contains(&load))
    );
    let total = state.memory_total_bytes.unwrap();
    assert!(state.memory_available_bytes.unwrap() <= total);
    assert!(state.minute_of_day.is_none_or(|minute| minute < 1_440));
}
