//! Readings that services tell over D-Bus.
//!
//! This speaks the part of the protocol that reading properties takes: authentication by the user of
//! the socket, one call, its answer. A whole implementation brings an executor with threads and some
//! forty packages, and this blocks for a bounded time on one socket.
//!
//! Source: D-Bus Specification 0.43, "Message Protocol" and "Authentication Protocol".

use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use fogcompute_base::{Clock, Instant};
use thiserror::Error;

/// Why an address is none that can be used.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BusAddressError {
    /// None of the addresses is `unix:path=..` or `unix:abstract=..`.
    #[error("no address of a Unix socket")]
    NoUnixSocket,
}

/// How long all questions of one reading may take together.
const READ_TIME_MAX: Duration = Duration::from_millis(500);

/// Longest message that is accepted. The answers asked for have some hundred bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Longest line of the authentication.
const LINE_BYTES_MAX: usize = 512;

/// What services told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    pub(super) user_idle: Option<Duration>,
    /// Something asks that nobody be taken for away.
    pub(super) inhibited: bool,
    pub(super) metered: Option<bool>,
}

/// The services of a bus.
pub(super) struct Services {
    socket: SocketAddr,
    connection: Option<Connection>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Services {
    pub(super) fn new(address: &str) -> Result<Self, BusAddressError> {
        Ok(Self {
            socket: socket_of(address).ok_or(BusAddressError::NoUnixSocket)?,
            connection: None,
        })
    }

    pub(super) fn read(&mut self, clock: &dyn Clock) -> Told {
        let until = clock.now() + READ_TIME_MAX;
        if self.connection.is_none() {
            self.connection = Connection::open(&self.socket, until, clock);
        }
        let Some(connection) = &mut self.connection else {
            return Told::default();
        };
        let told = read_services(connection, until, clock);
        // What broke in the middle of a message cannot be used again.
        if told.is_none() {
            self.connection = None;
        }
        told.unwrap_or_default()
    }
}

/// `None` if the connection broke.
fn read_services(connection: &mut Connection, until: Instant, clock: &dyn Clock) -> Option<Told> {
    let mut get =
        |service: &Service, property: &str| connection.property(service, property, until, clock);
    let metered = match get(&NETWORK_MANAGER, "Metered")? {
        // Yes and guessed yes, no and guessed no.
        Some(Value::U32(1 | 3)) => Some(true),
        Some(Value::U32(2 | 4)) => Some(false),
        _ => None,
    };
    let inhibited = get(&LOGIND, "BlockInhibited")?;
    let user_idle = match get(&LOGIND, "IdleHint")? {
        Some(Value::Bool(false)) => Some(Duration::ZERO),
        Some(Value::Bool(true)) => match get(&LOGIND, "IdleSinceHint")? {
            Some(Value::U64(micros)) => {
                let since = Duration::from_micros(micros);
                Some(Duration::from_millis(clock.unix_now().0).saturating_sub(since))
            }
            _ => None,
        },
        _ => None,
    };
    let inhibited = matches!(
        &inhibited,
        Some(Value::Text(locks)) if locks.split(':').any(|lock| lock == "idle")
    );
    Some(Told {
        user_idle,
        inhibited,
        metered,
    })
}

struct Service {
    name: &'static str,
    path: &'static str,
    interface: &'static str,
}

const LOGIND: Service = Service {
    name: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};

const NETWORK_MANAGER: Service = Service {
    name: "org.freedesktop.NetworkManager",
    path: "/org/freedesktop/NetworkManager",
    interface: "org.freedesktop.NetworkManager",
};

/// The first address of a list that is a Unix socket.
fn socket_of(addresses: &str) -> Option<SocketAddr> {
    addresses.split(';').find_map(|address| {
        let settings = address.strip_prefix("unix:")?;
        settings.split(',').find_map(|setting| {
            let (key, value) = setting.split_once('=')?;
            match key {
                "path" => SocketAddr::from_pathname(value).ok(),
                "abstract" => SocketAddr::from_abstract_name(value).ok(),
                _ => None,
            }
        })
    })
}

/// The value of a property, as far as the properties asked for have such.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Value {
    Bool(bool),
    U32(u32),
    U64(u64),
    Text(String),
}

struct Connection {
    stream: UnixStream,
    serial: u32,
}

impl Connection {
    fn open(socket: &SocketAddr, until: Instant, clock: &dyn Clock) -> Option<Self> {
        let stream = UnixStream::connect_addr(socket).ok()?;
        let mut connection = Self { stream, serial: 0 };
        // Whose process this is, without a call to the system's library.
        let user = fs::metadata("/proc/self").ok()?.uid().to_string();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        connection.send(
            format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes(),
            until,
            clock,
        )?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            connection.receive(&mut byte, until, clock)?;
            line.extend(byte);
            if line.len() > LINE_BYTES_MAX {
                return None;
            }
        }
        if !line.starts_with(b"OK ") {
            return None;
        }
        connection.send(b"BEGIN\r\n", until, clock)?;
        // A bus wants to be greeted first. A peer without a bus refuses that, and answers all the
        // same.
        let greeting = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        };
        connection.call(&greeting, until, clock)?;
        Some(connection)
    }

    /// `None` if the connection broke, `Some(None)` if there is no such property.
    fn property(
        &mut self,
        service: &Service,
        property: &str,
        until: Instant,
        clock: &dyn Clock,
    ) -> Option<Option<Value>> {
        let call = Call {
            destination: service.name,
            path: service.path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &[service.interface, property],
        };
        let answer = self.call(&call, until, clock)?;
        Some(answer.and_then(|body| body.variant()))
    }

    /// The body of the answer, or `Some(None)` if it is an error of the service.
    fn call(&mut self, call: &Call<'_>, until: Instant, clock: &dyn Clock) -> Option<Option<Body>> {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.send(&call.message(self.serial), until, clock)?;
        // Signals and answers that came too late stand before it. Time limits how many.
        loop {
            let mut fixed = [0; FIXED_BYTES];
            self.receive(&mut fixed, until, clock)?;
            let lengths = Lengths::of(&fixed)?;
            let mut rest = vec![0; lengths.rest];
            self.receive(&mut rest, until, clock)?;
            let message = Message::parse(&fixed, &lengths, &rest)?;
            if message.reply_serial == Some(self.serial) {
                return match message.kind {
                    METHOD_RETURN => Some(Some(message.body)),
                    ERROR => Some(None),
                    _ => None,
                };
            }
        }
    }

    fn send(&mut self, bytes: &[u8], until: Instant, clock: &dyn Clock) -> Option<()> {
        self.stream
            .set_write_timeout(Some(left(until, clock)?))
            .ok()?;
        self.stream.write_all(bytes).ok()
    }

    /// Fills `bytes`. The time left is looked at for each piece: a peer that sends one byte at a
    /// time gets no more of it.
    fn receive(&mut self, bytes: &mut [u8], until: Instant, clock: &dyn Clock) -> Option<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            self.stream
                .set_read_timeout(Some(left(until, clock)?))
                .ok()?;
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return None,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

fn left(until: Instant, clock: &dyn Clock) -> Option<Duration> {
    let left = until.duration_since(clock.now());
    // A timeout of zero would mean none.
    (!left.is_zero()).then_some(left)
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

/// Services are not started for the sake of a reading.
const NO_AUTO_START: u8 = 2;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// Bytes before the fields of a header: byte order, kind, flags, version, length of the body, serial,
/// length of the fields.
const FIXED_BYTES: usize = 16;

struct Call<'a> {
    destination: &'a str,
    path: &'a str,
    interface: &'a str,
    member: &'a str,
    /// Texts, all of them.
    arguments: &'a [&'a str],
}

impl Call<'_> {
    fn message(&self, serial: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for argument in self.arguments {
            put_text(&mut body, argument);
        }
        let mut fields = Vec::new();
        for (code, kind, text) in [
            (FIELD_PATH, b'o', self.path),
            (FIELD_INTERFACE, b's', self.interface),
            (FIELD_MEMBER, b's', self.member),
            (FIELD_DESTINATION, b's', self.destination),
        ] {
            pad(&mut fields, 8);
            fields.extend([code, 1, kind, 0]);
            put_text(&mut fields, text);
        }
        if !self.arguments.is_empty() {
            pad(&mut fields, 8);
            fields.extend([FIELD_SIGNATURE, 1, b'g', 0]);
            let signature = "s".repeat(self.arguments.len());
            fields.push(signature.len() as u8);
            fields.extend(signature.bytes());
            fields.push(0);
        }
        let mut message = vec![b'l', METHOD_CALL, NO_AUTO_START, 1];
        message.extend((body.len() as u32).to_le_bytes());
        message.extend(serial.to_le_bytes());
        message.extend((fields.len() as u32).to_le_bytes());
        message.extend(fields);
        pad(&mut message, 8);
        message.extend(body);
        message
    }
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.push(0);
}

struct Lengths {
    little: bool,
    fields: usize,
    /// Fields with their padding, and body.
    rest: usize,
    /// Where the body begins in it.
    body: usize,
}

impl Lengths {
    fn of(fixed: &[u8; FIXED_BYTES]) -> Option<Self> {
        let little = match fixed[0] {
            b'l' => true,
            b'B' => false,
            _ => return None,
        };
        let number = |at: usize| {
            let bytes = fixed[at..at + 4].try_into().expect("four bytes");
            let number = if little {
                u32::from_le_bytes(bytes)
            } else {
                u32::from_be_bytes(bytes)
            };
            usize::try_from(number).ok()
        };
        let (body, fields) = (number(4)?, number(12)?);
        if body > MESSAGE_BYTES_MAX || fields > MESSAGE_BYTES_MAX {
            return None;
        }
        let padded = fields.next_multiple_of(8);
        Some(Self {
            little,
            fields,
            rest: padded + body,
            body: padded,
        })
    }
}

struct Message {
    kind: u8,
    reply_serial: Option<u32>,
    body: Body,
}

impl Message {
    /// `None` for bytes that no bus sends.
    fn parse(fixed: &[u8; FIXED_BYTES], lengths: &Lengths, rest: &[u8]) -> Option<Self> {
        let mut fields = Items {
            bytes: rest.get(..lengths.fields)?,
            at: 0,
            little: lengths.little,
        };
        let mut reply_serial = None;
        let mut signature = Vec::new();
        loop {
            fields.align(8);
            if fields.at >= fields.bytes.len() {
                break;
            }
            let code = fields.take(1)?[0];
            let kind = fields.signature()?;
            match (code, kind) {
                (FIELD_REPLY_SERIAL, b"u") => reply_serial = Some(fields.u32()?),
                (FIELD_SIGNATURE, b"g") => signature = fields.signature()?.to_vec(),
                (_, b"u") => {
                    fields.u32()?;
                }
                (_, b"g") => {
                    fields.signature()?;
                }
                (_, b"s" | b"o") => {
                    fields.text()?;
                }
                _ => return None,
            }
        }
        Some(Self {
            kind: fixed[1],
            reply_serial,
            body: Body {
                signature,
                bytes: rest.get(lengths.body..)?.to_vec(),
                little: lengths.little,
            },
        })
    }
}

struct Body {
    signature: Vec<u8>,
    bytes: Vec<u8>,
    little: bool,
}

impl Body {
    /// The body as one variant of a simple kind.
    fn variant(&self) -> Option<Value> {
        if self.signature != b"v" {
            return None;
        }
        let mut items = Items {
            bytes: &self.bytes,
            at: 0,
            little: self.little,
        };
        match items.signature()? {
            b"b" => match items.u32()? {
                0 => Some(Value::Bool(false)),
                1 => Some(Value::Bool(true)),
                _ => None,
            },
            b"u" => items.u32().map(Value::U32),
            b"t" => items.u64().map(Value::U64),
            b"s" => items.text().map(|text| Value::Text(text.to_owned())),
            _ => None,
        }
    }
}

/// Reads items from the front of bytes that a peer sent. Positions count from an eighth byte of the
/// message, so that alignment is the same in both.
struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Items<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn u64(&mut self) -> Option<u64> {
        self.align(8);
        let bytes = self.take(8)?.try_into().ok()?;
        Some(if self.little {
            u64::from_le_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        })
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        let text = self.take(length)?;
        self.end_of_text()?;
        std::str::from_utf8(text).ok()
    }

    fn signature(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.take(1)?[0]);
        let signature = self.take(length)?;
        self.end_of_text()?;
        Some(signature)
    }

    fn end_of_text(&mut self) -> Option<()> {
        (self.take(1)? == [0]).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_unix_sockets_are_found_in_a_list() {
        for (address, found) in [
            ("unix:path=/run/dbus/system_bus_socket", true),
            ("unix:guid=00,path=/tmp/bus", true),
            ("unix:abstract=/tmp/dbus-1", true),
            ("tcp:host=localhost,port=1;unix:path=/tmp/bus", true),
            ("tcp:host=localhost,port=1", false),
            ("unix:tmpdir=/tmp", false),
            ("unix:path", false),
            ("", false),
        ] {
            assert_eq!(socket_of(address).is_some(), found, "{address}");
        }
        let long = format!("unix:path=/{}", "x".repeat(200));
        assert_eq!(
            Services::new(&long).err(),
            Some(BusAddressError::NoUnixSocket)
        );
    }

    /// An answer as a bus of either byte order writes it.
    fn answer(little: bool, serial: u32, kind: &[u8], value: &[u8]) -> Vec<u8> {
        let number = |number: u32| {
            if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            }
        };
        let mut body = vec![1];
        body.extend(kind);
        body.push(0);
        body.extend(value);
        let mut message = vec![if little { b'l' } else { b'B' }, METHOD_RETURN, 1, 1];
        message.extend(number(body.len() as u32));
        message.extend(number(7));
        message.extend(number(8 + 7));
        message.extend([FIELD_REPLY_SERIAL, 1, b'u', 0]);
        message.extend(number(serial));
        message.extend([FIELD_SIGNATURE, 1, b'g', 0, 1, b'v', 0]);
        pad(&mut message, 8);
        message.extend(body);
        message
    }

    fn parse(bytes: &[u8]) -> Option<Message> {
        let fixed = bytes.get(..FIXED_BYTES)?.try_into().ok()?;
        let lengths = Lengths::of(&fixed)?;
        let rest = bytes.get(FIXED_BYTES..FIXED_BYTES + lengths.rest)?;
        Message::parse(&fixed, &lengths, rest)
    }

    #[test]
    fn answers_are_read_in_both_byte_orders() {
        for (little, value) in [(true, [0, 3, 0, 0, 0]), (false, [0, 0, 0, 0, 3])] {
            // The variant's kind takes three bytes, so one of padding stands before the number.
            let message = parse(&answer(little, 5, b"u", &value)).unwrap();
            assert_eq!(
                (message.kind, message.reply_serial),
                (METHOD_RETURN, Some(5))
            );
            assert_eq!(message.body.variant(), Some(Value::U32(3)));
        }
    }

    #[test]
    fn values_of_other_kinds_are_unknown() {
        for (kind, value) in [
            (&b"b"[..], &[0, 2, 0, 0, 0][..]),
            (b"d", &[0; 16]),
            (b"s", &[0, 9, 0, 0, 0, b'x', 0]),
            (b"s", &[0, 1, 0, 0, 0, 0xff, 0]),
            (b"u", &[0, 1]),
        ] {
            let message = parse(&answer(true, 1, kind, value)).unwrap();
            assert_eq!(message.body.variant(), None, "{kind:?}");
        }
    }

    #[test]
    fn messages_that_are_too_long_are_not_read() {
        let mut message = answer(true, 1, b"u", &[0, 1, 0, 0, 0]);
        message[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&message).is_none());
    }

    proptest! {
        #[test]
        fn bytes_of_a_stranger_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..80,
            at in 0_usize..80,
            byte in any::<u8>(),
        ) {
            let _ = parse(&bytes).and_then(|message| message.body.variant());
            let mut message = answer(true, 1, b"s", &[0, 1, 0, 0, 0, b'x', 0]);
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            message.truncate(message.len().saturating_sub(cut));
            let _ = parse(&message).and_then(|message| message.body.variant());
        }
    }
}
