//! What logind and NetworkManager tell over D-Bus, from an implementation of D-Bus that is not ours.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, SystemClock, UnixMillis};
use fogcompute_harvest::DeviceState;
use fogcompute_runtime::probe::{BusAddressError, LinuxProbe};
use tempfile::TempDir;
use zbus::blocking::connection::Builder;
use zbus::interface;

/// A quarter to noon.
const WALL: UnixMillis = UnixMillis(1_779_103_800_000);

/// A wall clock that stands, beside a clock that goes.
struct Standing(SystemClock);

impl Clock for Standing {
    fn now(&self) -> Instant {
        self.0.now()
    }
    fn unix_now(&self) -> UnixMillis {
        WALL
    }
}

/// What the services say.
#[derive(Clone)]
struct Says {
    idle: bool,
    idle_since: Duration,
    inhibited: &'static str,
    metered: u32,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            idle: true,
            idle_since: Duration::from_millis(WALL.0) - Duration::from_secs(90),
            inhibited: "",
            metered: 2,
        }
    }
}

type Shared = Arc<Mutex<Says>>;

struct Logind(Shared);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    #[zbus(property)]
    fn idle_hint(&self) -> bool {
        self.0.lock().unwrap().idle
    }

    #[zbus(property)]
    fn idle_since_hint(&self) -> u64 {
        self.0.lock().unwrap().idle_since.as_micros() as u64
    }

    #[zbus(property)]
    fn block_inhibited(&self) -> String {
        self.0.lock().unwrap().inhibited.to_owned()
    }
}

struct NetworkManager(Shared);

#[interface(name = "org.freedesktop.NetworkManager")]
impl NetworkManager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.0.lock().unwrap().metered
    }
}

/// A device without files worth reading, and a socket beside it.
struct World {
    folder: TempDir,
    says: Shared,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        Self {
            folder,
            says: Arc::default(),
        }
    }

    fn listener(&self) -> UnixListener {
        UnixListener::bind(self.folder.path().join("bus")).unwrap()
    }

    /// Answers connections with these services until the test ends.
    fn serve(&self, logind: bool, network_manager: bool) {
        let listener = self.listener();
        let says = Arc::clone(&self.says);
        thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming() {
                let mut builder = Builder::async_io_unix_stream(stream.unwrap())
                    .server(zbus::Guid::generate())
                    .unwrap()
                    .p2p();
                if logind {
                    builder = builder
                        .serve_at("/org/freedesktop/login1", Logind(Arc::clone(&says)))
                        .unwrap();
                }
                if network_manager {
                    let service = NetworkManager(Arc::clone(&says));
                    builder = builder
                        .serve_at("/org/freedesktop/NetworkManager", service)
                        .unwrap();
                }
                connections.push(builder.build().unwrap());
            }
        });
    }

    fn probe(&self) -> LinuxProbe {
        let address = format!("unix:path={}", self.folder.path().join("bus").display());
        LinuxProbe::with_root(self.folder.path())
            .with_clock(Arc::new(Standing(SystemClock::new())))
            .with_bus(&address)
            .unwrap()
    }

    fn say(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }
}

fn read(probe: &mut LinuxProbe) -> DeviceState {
    probe.read(Instant::ZERO).unwrap()
}

#[test]
fn the_user_is_idle_since_logind_says_so_unless_something_inhibits_it() {
    let world = World::new();
    world.serve(true, true);
    let mut probe = world.probe();
    assert_eq!(read(&mut probe).user_idle, Some(Duration::from_secs(90)));
    world.say(|says| says.inhibited = "shutdown:sleep");
    assert_eq!(read(&mut probe).user_idle, Some(Duration::from_secs(90)));
    world.say(|says| says.inhibited = "sleep:idle");
    assert_eq!(read(&mut probe).user_idle, Some(Duration::ZERO));
    world.say(|says| {
        says.inhibited = "";
        says.idle = false;
    });
    assert_eq!(read(&mut probe).user_idle, Some(Duration::ZERO));
    // A hint from the future is as one from now.
    world.say(|says| {
        says.idle = true;
        says.idle_since = Duration::from_millis(WALL.0) + Duration::from_secs(5);
    });
    assert_eq!(read(&mut probe).user_idle, Some(Duration::ZERO));
}

#[test]
fn the_network_is_metered_if_network_manager_knows_or_guesses_it() {
    let world = World::new();
    world.serve(true, true);
    let mut probe = world.probe();
    for (metered, expected) in [
        (0, None),
        (1, Some(true)),
        (2, Some(false)),
        (3, Some(true)),
        (4, Some(false)),
        (5, None),
    ] {
        world.say(|says| says.metered = metered);
        assert_eq!(read(&mut probe).metered, expected, "{metered}");
    }
}

#[test]
fn a_service_that_is_not_there_leaves_its_reading_unknown() {
    let world = World::new();
    world.serve(false, true);
    let state = read(&mut world.probe());
    assert_eq!((state.user_idle, state.metered), (None, Some(false)));

    let world = World::new();
    world.serve(true, false);
    let state = read(&mut world.probe());
    assert_eq!(state.user_idle, Some(Duration::from_secs(90)));
    assert_eq!(state.metered, None);
}

#[test]
fn a_bus_that_comes_later_is_found() {
    let world = World::new();
    let mut probe = world.probe();
    assert_eq!(read(&mut probe).metered, None);
    world.serve(true, true);
    assert_eq!(read(&mut probe).metered, Some(false));
}

#[test]
fn a_bus_that_is_silent_babbles_or_hangs_up_leaves_everything_unknown() {
    for answer in [
        None,
        Some(&b""[..]),
        Some(b"REJECTED EXTERNAL\r\n"),
        Some(b"OK 0123456789abcdef0123456789abcdef\r\nnonsense and more of it ...."),
        Some(&[b'x'; 4_096]),
    ] {
        let world = World::new();
        let listener = world.listener();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if let Some(answer) = answer {
                // Who hangs up early is not told what was meant for him.
                let _ = stream.write_all(answer);
                return;
            }
            // Until the probe has waited long enough and hangs up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let state = read(&mut world.probe());
        assert_eq!((state.user_idle, state.metered), (None, None));
        peer.join().unwrap();
    }
}

#[test]
fn an_address_without_a_unix_socket_is_refused() {
    for address in ["", "tcp:host=localhost,port=1", "unix:tmpdir=/tmp"] {
        assert_eq!(
            LinuxProbe::with_root("/").with_bus(address).unwrap_err(),
            BusAddressError::NoUnixSocket
        );
    }
}
