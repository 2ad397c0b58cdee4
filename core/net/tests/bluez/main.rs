//! The radios of Linux against an `org.bluez` of our own, on a D-Bus daemon of their own.
//!
//! Libraries find the system bus by an environment variable that they read once, so each case is a process: the test
//! starts a daemon, and itself again with the variable set.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(target_os = "linux")]

mod bluez;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bluez::Bluez;
use fogcompute_base::{Clock as _, Instant, SystemClock};
use fogcompute_net::ble::{BluezRadio, CentralRadio, OpenRadioError};
use fogcompute_transport::BleRadio;
use fogcompute_transport::radio_conformance::{self, RadioRig};
use tempfile::TempDir;

const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// Says that the variable above is that of a case, and not the machine's.
const CASE: &str = "FOGCOMPUTE_BLUEZ_CASE";
/// Nothing takes so long.
const HANGS: Duration = Duration::from_secs(60);

/// A D-Bus daemon, for as long as the value lives.
struct Daemon {
    process: Child,
    folder: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("bus.conf");
        let socket = folder.path().join("bus");
        let text = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
            "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig><listen>unix:path={}</listen>
            <policy context="default"><allow user="*"/><allow own="*"/>
            <allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#,
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need dbus-daemon (Debian: dbus-daemon)");
        // It writes its address when it listens.
        let mut line = String::new();
        let output = process.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line}");
        Self { process, folder }
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a case in a process of its own, with a bus of its own.
fn case(name: &str, case: impl FnOnce()) {
    if std::env::var_os(CASE).is_some() {
        return case();
    }
    let daemon = Daemon::start();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ADDRESS, daemon.address())
        .env(CASE, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Rig {
    bluez: Bluez,
    radios: [Box<dyn BleRadio>; 2],
}

impl Rig {
    fn new(open: impl FnOnce() -> [Box<dyn BleRadio>; 2]) -> Self {
        let bluez = Bluez::start(&std::env::var(ADDRESS).unwrap());
        let mut radios = open();
        for radio in &mut radios {
            let unpark = Arc::new(Unpark(thread::current()));
            radio.set_waker(Waker::from(unpark));
        }
        Self { bluez, radios }
    }

    fn both_roles() -> Self {
        Self::new(|| {
            ["hci0", "hci1"].map(|name| Box::new(BluezRadio::open(Some(name)).unwrap()) as _)
        })
    }

    fn central_alone() -> Self {
        Self::new(|| {
            let central = CentralRadio::open(Some("hci0")).unwrap();
            let peripheral = BluezRadio::open(Some("hci1")).unwrap();
            [Box::new(central), Box::new(peripheral)]
        })
    }
}

impl RadioRig for Rig {
    fn radio(&mut self, end: usize) -> &mut dyn BleRadio {
        &mut self.radios[end]
    }

    fn wait(&mut self) {
        let clock = SystemClock::new();
        thread::park_timeout(HANGS);
        let waited = clock.now().duration_since(Instant::ZERO);
        assert!(waited < HANGS, "nothing happens");
    }

    fn cut(&mut self) {
        self.bluez.cut();
    }

    fn set_power(&mut self, end: usize, is_on: bool) {
        self.bluez.set_power(end, is_on);
    }
}

macro_rules! conformance {
    ($module:ident, $rig:expr; $($check:ident)*) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $check() {
                    let name = concat!(stringify!($module), "::", stringify!($check));
                    case(name, || radio_conformance::$check(&mut $rig));
                }
            )*
        }
    };
}

macro_rules! both {
    ($($check:ident)*) => {
        conformance!(bluer, Rig::both_roles(); $($check)*);
        conformance!(btleplug, Rig::central_alone(); $($check)*);
    };
}

both! {
    who_advertises_is_heard
    a_connection_is_told_to_both_ends
    values_arrive_whole_and_in_order_both_ways
    values_with_and_without_response_keep_their_order
    a_value_that_is_too_long_is_refused_and_the_longest_is_carried
    who_gives_too_much_is_told_and_told_when_there_is_room
    each_side_has_its_own_verb
    what_is_not_there_is_refused
    connecting_twice_makes_one_connection
    either_side_ends_a_connection_and_both_are_told
    a_connection_that_broke_is_told_and_made_again
    a_radio_that_is_off_does_nothing_and_works_when_it_is_on
}

#[test]
fn an_adapter_that_is_not_there_is_said_to_be() {
    case("an_adapter_that_is_not_there_is_said_to_be", || {
        let _bluez = Bluez::start(&std::env::var(ADDRESS).unwrap());
        let opened = [
            BluezRadio::open(Some("hci9")).err().unwrap(),
            CentralRadio::open(Some("hci9")).err().unwrap(),
        ];
        for error in opened {
            assert!(matches!(error, OpenRadioError::NoAdapter), "{error:?}");
        }
    });
}

#[test]
fn a_bus_without_bluez_is_said_to_be() {
    case("a_bus_without_bluez_is_said_to_be", || {
        let opened = [
            BluezRadio::open(None).err().unwrap(),
            CentralRadio::open(None).err().unwrap(),
        ];
        for error in opened {
            assert!(matches!(error, OpenRadioError::Bus(_)), "{error:?}");
        }
    });
}
