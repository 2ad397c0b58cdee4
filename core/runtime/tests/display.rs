//! The idle time of an X11 display, from a server that has no screen.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fogcompute_base::{Clock as _, SystemClock};
use fogcompute_runtime::probe::{LinuxProbe, NotLocal};
use tempfile::TempDir;
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::MOTION_NOTIFY_EVENT;
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// An X11 server of this test's own, which ends with it.
struct Server {
    child: Child,
    display: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new("Xvfb")
            // It takes the first display that is free, and says which.
            .args([
                "-displayfd",
                "1",
                "-nolisten",
                "tcp",
                "-screen",
                "0",
                "64x64x8",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is there: apt install xvfb");
        let mut number = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut number).unwrap();
        Self {
            child,
            display: format!(":{}", number.trim()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A device that has nothing but a display.
fn device() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("proc")).unwrap();
    folder
}

#[test]
fn idle_time_grows_until_somebody_touches_the_display() {
    let clock = SystemClock::new();
    let server = Server::start();
    let folder = device();
    let mut probe = LinuxProbe::with_root(folder.path())
        .with_display(&server.display)
        .unwrap();
    let mut idle = || probe.read(clock.now()).unwrap().user_idle.unwrap();
    let untouched = loop {
        let untouched = idle();
        if untouched > Duration::from_millis(50) {
            break untouched;
        }
    };
    // The server counts from its start at most, which came after the clock's.
    assert!(untouched <= Duration::from_nanos(clock.now().as_nanos()));

    let (user, screen) = RustConnection::connect(Some(&server.display)).unwrap();
    let root = user.setup().roots[screen].root;
    // A reading may come late, so this goes on until one did not.
    let mut place = 0;
    while idle() >= untouched {
        place = (place + 1) % 50;
        user.xtest_fake_input(MOTION_NOTIFY_EVENT, 0, 0, root, place, place, 0)
            .unwrap()
            .check()
            .unwrap();
    }
}

#[test]
fn display_that_is_gone_is_unknown() {
    let clock = SystemClock::new();
    let server = Server::start();
    let folder = device();
    let mut probe = LinuxProbe::with_root(folder.path())
        .with_display(&server.display)
        .unwrap();
    assert!(probe.read(clock.now()).unwrap().user_idle.is_some());
    drop(server);
    assert_eq!(probe.read(clock.now()).unwrap().user_idle, None);
    assert_eq!(probe.read(clock.now()).unwrap().user_idle, None);
}

#[test]
fn display_of_another_device_is_refused() {
    for name in ["localhost:10.0", "host/unix:0", ""] {
        let refused = LinuxProbe::with_root("/").with_display(name).unwrap_err();
        let name = name.to_owned();
        assert_eq!(refused, NotLocal { name });
    }
}
