//! A peer of the mesh, and radios that Python writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use fogcompute::base::{Digest, ParseIdError};
use fogcompute::bitchat::file::File;
use fogcompute::bitchat::group::GroupId;
use fogcompute::bitchat::history::Conversation;
use fogcompute::bitchat::{
    DeliveryState, FogConfig, FogKey, NodeConfig, Passing, PeerId, Protection,
};
use fogcompute::transport::{
    Activity, Address, LinkEnded, RadioEvent, RadioFailure, RadioLimits, RadioLink, Role,
};
use fogcompute::{HostRadio, MeshFileEnd, MeshNodeConfig, MeshRecord};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::asyncio;
use crate::convert::{Buffer, Bytes, Hex, Number, Span, Tuple};
use crate::error;
use crate::handle::Handle;

/// The identifier of a group in hexadecimal digits.
#[derive(Clone, Copy)]
struct Group(GroupId);

impl FromStr for Group {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        // As long as the id of a task, and written the same.
        let id: fogcompute::TaskId = text.parse()?;
        Ok(Self(GroupId(*id.as_bytes())))
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

const fn state_name(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Sent => "sent",
        DeliveryState::Relayed => "relayed",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Read => "read",
        DeliveryState::GivenUp => "given_up",
    }
}

const fn end_name(end: MeshFileEnd) -> Option<&'static str> {
    match end {
        MeshFileEnd::Missing => Some("missing"),
        MeshFileEnd::Silent => Some("silent"),
        MeshFileEnd::Disk => Some("disk"),
        _ => None,
    }
}

pub(crate) fn address(py: Python<'_>, text: &str) -> PyResult<std::net::SocketAddr> {
    text.parse().map_err(|_| {
        error::argument(
            py,
            format!("{text:?} is no address of the form \"127.0.0.1:4000\" or \"[::1]:4000\""),
        )
    })
}

/// Something that happened to a mesh node. What its kind does not have is `None`, 0 or empty.
///
/// Kinds: `peer_joined`, `peer_left`, `peer_changed`, `session_ready`, `public`, `private`,
/// `delivery`, `passed`, `file`, `voice`, `group`, `group_message`, `call`, `other`, `file_offered`,
/// `file_progress`, `file_received`, `file_failed`, `link_up`, `link_down`, `radio_failed`.
#[pyclass(frozen, module = "fogcompute.mesh")]
pub(crate) struct MeshEvent {
    record: MeshRecord,
    bytes: Bytes,
}

impl MeshEvent {
    fn new(py: Python<'_>, event: fogcompute::MeshEvent) -> Self {
        let mut record = MeshRecord::from(event);
        let bytes = std::mem::take(&mut record.bytes);
        Self {
            bytes: Bytes::new(py, &bytes),
            record,
        }
    }
}

#[pymethods]
impl MeshEvent {
    /// What it tells.
    #[getter]
    fn kind(&self) -> &'static str {
        self.record
            .kind
            .map_or("unknown", fogcompute::MeshKind::name)
    }

    /// Whom it is about: who wrote, sent, offers, joined. 16 hexadecimal digits.
    #[getter]
    fn peer(&self) -> Option<Hex<PeerId>> {
        self.record.peer.map(Hex)
    }

    /// What a message is known by.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.record.id.as_deref()
    }

    /// A message's text; the name of a file, which came from somebody else: no path to write to; or what
    /// a radio raised.
    #[getter]
    fn text(&self) -> Option<&str> {
        self.record.text.as_deref()
    }

    /// A file's media type.
    #[getter]
    fn mime(&self) -> Option<&str> {
        self.record.mime.as_deref()
    }

    /// When a message was written, says its writer, in milliseconds since 1970.
    #[getter]
    fn at_ms(&self) -> Option<u64> {
        self.record.at.map(|at| at.0)
    }

    /// The neighbour a message came from, if it is known.
    #[getter]
    fn via(&self) -> Option<Hex<PeerId>> {
        self.record.via.map(Hex)
    }

    /// What a message was encrypted with: `ratchet`, a key of its own that is gone once it is read;
    /// `noise`, the keys of a session, which last up to a day, or of an envelope; in a group `group_key`,
    /// which lasts until the group changes, or `sender_key`, its writer's, which moves on.
    #[getter]
    fn protection(&self) -> Option<&'static str> {
        self.record.protection.map(Protection::name)
    }

    /// Hops that a message seems to have taken; 0 if somebody carried it. Nothing proves the number.
    #[getter]
    fn hops(&self) -> u8 {
        self.record.hops
    }

    /// What a neighbour did with a message of ours: it was `given`, it `passed_on`, it `has` the message,
    /// or `carries` it.
    #[getter]
    fn passing(&self) -> Option<&'static str> {
        self.record.passing.map(|passing| match passing {
            Passing::Given => "given",
            Passing::PassedOn { .. } => "passed_on",
            Passing::Has => "has",
            Passing::Carries => "carries",
        })
    }

    /// How far a message of ours has come: `waiting`, `sent`, `relayed`, `delivered`, `read` or
    /// `given_up`.
    #[getter]
    fn state(&self) -> Option<&'static str> {
        self.record.state.map(state_name)
    }

    /// The group, 32 hexadecimal digits.
    #[getter]
    fn group(&self) -> Option<Hex<Group>> {
        self.record.group.map(|group| Hex(Group(group)))
    }

    /// What names a file that is offered, 64 hexadecimal digits.
    #[getter]
    fn file(&self) -> Option<Hex<Digest>> {
        self.record.file.map(Hex)
    }

    /// Whether it is for this peer alone.
    #[getter]
    fn is_private(&self) -> bool {
        self.record.is_private
    }

    /// Whether a file goes from here.
    #[getter]
    fn is_sent(&self) -> bool {
        self.record.is_sent
    }

    /// Bytes of a file that have come, or were asked for and sent.
    #[getter]
    fn done(&self) -> u64 {
        self.record.done
    }

    /// Bytes of a file.
    #[getter]
    fn length(&self) -> u64 {
        self.record.length
    }

    /// Where a file is that is whole.
    #[getter]
    fn path(&self) -> Option<PathBuf> {
        self.record.path.clone()
    }

    /// Why a file was given up: `missing`, `silent` or `disk`.
    #[getter]
    fn why(&self) -> Option<&'static str> {
        self.record.end.and_then(end_name)
    }

    /// The content of a file that came in one piece, or the body of what is encoded.
    #[getter]
    fn content(&self) -> &Bytes {
        &self.bytes
    }

    /// The number of a link, of a radio (0 is the first one), or of the type of something unknown.
    #[getter]
    fn number(&self) -> u64 {
        self.record.number
    }

    fn __repr__(&self) -> String {
        let peer = self.record.peer.map(|peer| format!(" {peer}"));
        let text = self.record.text.as_ref().map(|text| format!(" {text:?}"));
        format!(
            "<fogcompute.mesh.MeshEvent {}{}{}>",
            self.kind(),
            peer.unwrap_or_default(),
            text.unwrap_or_default()
        )
    }
}

/// What is known of a peer of the mesh.
#[pyclass(frozen, get_all, module = "fogcompute.mesh")]
pub(crate) struct MeshPeer {
    /// Who: 16 hexadecimal digits.
    id: Hex<PeerId>,
    /// What it wants to be called.
    nickname: String,
    /// Its key for sessions, 32 bytes.
    noise_key: [u8; 32],
    /// Whether it was heard of in the last minute.
    is_reachable: bool,
    /// Whether it has a link here.
    is_linked: bool,
    /// Whether there is a session with it.
    has_session: bool,
    /// Whether private messages to it are under keys of their own.
    has_ratchet: bool,
    /// Whom it has links to, says it.
    neighbours: Tuple<Hex<PeerId>>,
}

#[pymethods]
impl MeshPeer {
    fn __repr__(&self) -> String {
        format!(
            "<fogcompute.mesh.MeshPeer {} {:?}>",
            self.id.0, self.nickname
        )
    }
}

/// A group of the mesh that this peer is in.
#[pyclass(frozen, get_all, module = "fogcompute.mesh")]
pub(crate) struct MeshGroup {
    /// The group, 32 hexadecimal digits.
    id: Hex<Group>,
    /// What it is called.
    name: String,
    /// Who is in it, the one who made it first.
    members: Tuple<Hex<PeerId>>,
    /// Whether each member writes under a key of its own.
    is_large: bool,
}

#[pymethods]
impl MeshGroup {
    fn __repr__(&self) -> String {
        format!("<fogcompute.mesh.MeshGroup {} {:?}>", self.id.0, self.name)
    }
}

/// A message of a mesh node's history.
#[pyclass(frozen, get_all, module = "fogcompute.mesh")]
pub(crate) struct MeshMessage {
    /// Its number: what came or was sent later has a higher one.
    number: u64,
    /// What sender and receiver know it by.
    id: String,
    /// Who wrote it; of a private one from here, whom it is for.
    peer: Hex<PeerId>,
    /// Whether it was written here.
    is_own: bool,
    /// Whether it is for one peer.
    is_private: bool,
    /// The group it is for, if it is for one.
    group: Option<Hex<Group>>,
    /// Its text.
    text: String,
    /// When it was written, says its writer, in milliseconds since 1970.
    at_ms: u64,
    /// How far one from here has come.
    state: &'static str,
    /// The neighbour it came from, if it is known.
    via: Option<Hex<PeerId>>,
    /// Hops it seems to have taken; 0 if that is not known.
    hops: u8,
}

/// Where a radio that Python writes tells what happens, from any thread.
///
/// Peers are bytes, as the radio names them; connections are numbers, none of which is used twice.
#[pyclass(frozen, module = "fogcompute.mesh")]
pub(crate) struct RadioInbox(fogcompute::transport::RadioInbox);

fn radio_address(py: Python<'_>, peer: &Buffer) -> PyResult<Address> {
    Address::new(peer).ok_or_else(|| error::argument(py, "peer has more than 64 bytes".to_owned()))
}

impl RadioInbox {
    /// What the radio says. `False` when as much waits as may: it was not taken.
    fn push(&self, event: RadioEvent) -> bool {
        self.0.push(event).is_ok()
    }
}

#[pymethods]
impl RadioInbox {
    /// Bluetooth was turned on or off. A radio begins on.
    fn adapter(&self, is_on: bool) {
        self.push(RadioEvent::Adapter { is_on });
    }

    /// An advert with the service was heard, so loud in dBm, with this service data.
    #[pyo3(signature = (peer, rssi_dbm, service_data = None))]
    fn discovered(
        &self,
        py: Python<'_>,
        peer: Buffer,
        rssi_dbm: i16,
        service_data: Option<Buffer>,
    ) -> PyResult<bool> {
        Ok(self.push(RadioEvent::Discovered {
            peer: radio_address(py, &peer)?,
            rssi_dbm,
            service_data: service_data.map(|data| data.to_vec()).unwrap_or_default(),
        }))
    }

    /// There is a connection, which this side or the other began.
    fn connected(
        &self,
        py: Python<'_>,
        link: Number<u64>,
        peer: Buffer,
        is_central: bool,
        mtu: Number<u16>,
    ) -> PyResult<()> {
        self.push(RadioEvent::Connected {
            link: RadioLink(link.0),
            peer: radio_address(py, &peer)?,
            role: if is_central {
                Role::Central
            } else {
                Role::Peripheral
            },
            mtu: mtu.0,
        });
        Ok(())
    }

    /// A connection that was asked for could not be made.
    fn connect_failed(&self, py: Python<'_>, peer: Buffer) -> PyResult<()> {
        self.push(RadioEvent::ConnectFailed {
            peer: radio_address(py, &peer)?,
            failure: RadioFailure::TimedOut,
        });
        Ok(())
    }

    /// Another MTU was agreed on.
    fn mtu_changed(&self, link: Number<u64>, mtu: Number<u16>) {
        self.push(RadioEvent::MtuChanged {
            link: RadioLink(link.0),
            mtu: mtu.0,
        });
    }

    /// Notifications go now.
    fn subscribed(&self, link: Number<u64>) {
        self.push(RadioEvent::Subscribed {
            link: RadioLink(link.0),
        });
    }

    /// They go no more.
    fn unsubscribed(&self, link: Number<u64>) {
        self.push(RadioEvent::Unsubscribed {
            link: RadioLink(link.0),
        });
    }

    /// A value came: a write to this side, or a notification. `False` when it was not taken: end the
    /// connection then, or do not answer the write.
    fn received(&self, link: Number<u64>, value: Buffer) -> bool {
        self.push(RadioEvent::Received {
            link: RadioLink(link.0),
            value: value.to_vec(),
        })
    }

    /// After a write or notification was refused: there is room again.
    fn writable(&self, link: Number<u64>) {
        self.push(RadioEvent::Writable {
            link: RadioLink(link.0),
        });
    }

    /// A connection has ended, by this side or not.
    fn disconnected(&self, link: Number<u64>, by_this_side: bool) {
        let ended = if by_this_side {
            LinkEnded::Closed
        } else {
            LinkEnded::ByPeer
        };
        self.push(RadioEvent::Disconnected {
            link: RadioLink(link.0),
            ended,
        });
    }

    /// Scanning, or advertising, ended, and not because it was told to.
    fn stopped(&self, is_scanning: bool) {
        self.push(RadioEvent::Stopped {
            activity: if is_scanning {
                Activity::Scanning
            } else {
                Activity::Advertising
            },
            failure: RadioFailure::Host,
        });
    }
}

/// A radio whose methods are Python's.
struct Radio {
    radio: Py<PyAny>,
    limits: RadioLimits,
}

impl Radio {
    /// What a method says: nothing or something true is yes. What it raises is told as unraisable too.
    fn ask<A>(&self, method: &str, arguments: A) -> Result<bool, String>
    where
        A: for<'py> pyo3::call::PyCallArgs<'py>,
    {
        let said = Python::try_attach(|py| {
            let radio = self.radio.bind(py);
            let said = radio
                .call_method1(method, arguments)
                .and_then(|said| Ok(said.is_none() || said.is_truthy()?));
            said.map_err(|error| {
                let reason = error.to_string();
                error.write_unraisable(py, Some(radio));
                reason
            })
        });
        said.unwrap_or_else(|| Err("the interpreter has ended".to_owned()))
    }
}

impl HostRadio for Radio {
    fn limits(&self) -> RadioLimits {
        self.limits
    }

    fn advertise(&mut self, service_data: &[u8]) -> Result<bool, String> {
        self.ask("advertise", (service_data.to_vec(),))
    }

    fn stop_advertising(&mut self) -> Result<bool, String> {
        self.ask("stop_advertising", ())
    }

    fn scan(&mut self) -> Result<bool, String> {
        self.ask("scan", ())
    }

    fn stop_scanning(&mut self) -> Result<bool, String> {
        self.ask("stop_scanning", ())
    }

    fn connect(&mut self, peer: &[u8]) -> Result<bool, String> {
        self.ask("connect", (peer.to_vec(),))
    }

    fn disconnect(&mut self, link: u64) -> Result<bool, String> {
        self.ask("disconnect", (link,))
    }

    fn write(&mut self, link: u64, value: &[u8], with_response: bool) -> Result<bool, String> {
        self.ask("write", (link, value.to_vec(), with_response))
    }

    fn notify(&mut self, link: u64, value: &[u8]) -> Result<bool, String> {
        self.ask("notify", (link, value.to_vec()))
    }

    fn detach(&mut self) {
        // What it raises was told as unraisable.
        let _ = self.ask("detach", ());
    }
}

/// A peer of a BitChat mesh that runs on a thread of this process: over TCP, over radios, and to
/// other nodes of the program.
///
/// `async for event in node` receives what happens until the node is closed. What it says was sent
/// or received is on disk, if it has a file.
///
/// Starts a node.
///
/// `file` is where it keeps its secrets, what waits to be delivered, and its messages; without one
/// it is a new peer at every start. It accepts links at the addresses `listen`, and keeps links with
/// whoever is at those of `connect`. When `events_max` events wait to be received, the oldest are
/// dropped.
///
/// With `fog_key`, 32 random bytes that the members of a fog share, it talks to them alone, sealed on
/// the air and under identifiers that change every `fog_period` (at least ten seconds, and the same
/// for all members), and to nobody who has not got the key, the BitChat apps among them. Raises
/// `ListenError`, `MeshContentError`, `ArgumentError`, `StorageError`.
#[pyclass(frozen, weakref, module = "fogcompute.mesh")]
pub(crate) struct MeshNode(Handle<fogcompute::MeshNode>);

impl MeshNode {
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&fogcompute::MeshNode) -> Result<T, fogcompute::Error> + Send,
    ) -> PyResult<T> {
        let node = self.0.get(py)?;
        error::call(py, || ask(&node))
    }
}

fn peers(peers: Vec<Hex<PeerId>>) -> Vec<PeerId> {
    peers.into_iter().map(|peer| peer.0).collect()
}

#[pymethods]
impl MeshNode {
    #[new]
    #[pyo3(signature = (
        nickname = "anonymous",
        *,
        file = None,
        listen = Vec::new(),
        connect = Vec::new(),
        events_max = Number(MeshNodeConfig::default().events_max),
        fog_key = None,
        fog_period = None,
    ), text_signature = "(nickname=\"anonymous\", *, file=None, listen=(), connect=(), \
        events_max=4096, fog_key=None, fog_period=...)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        nickname: &str,
        file: Option<PathBuf>,
        listen: Vec<String>,
        connect: Vec<String>,
        events_max: Number<usize>,
        fog_key: Option<Buffer>,
        fog_period: Option<Span>,
    ) -> PyResult<Self> {
        let addresses = |texts: Vec<String>| {
            let texts = texts.iter();
            texts.map(|text| address(py, text)).collect::<PyResult<_>>()
        };
        if events_max.0 == 0 {
            let reason = "events_max is 0: no event would ever be received";
            return Err(error::argument(py, reason.to_owned()));
        }
        if fog_period.is_some() && fog_key.is_none() {
            let reason =
                "fog_period without fog_key: identifiers change among the members of a fog alone";
            return Err(error::argument(py, reason.to_owned()));
        }
        let period = fog_period.map_or(FogConfig::PERIOD, |period| period.0);
        if period < FogConfig::PERIOD_MIN {
            let reason = format!(
                "fog_period is {period:?}, at least {:?} are allowed",
                FogConfig::PERIOD_MIN
            );
            return Err(error::argument(py, reason));
        }
        let fog = fog_key.map(|key| {
            Ok::<_, PyErr>(FogConfig {
                key: FogKey::from_bytes(key.array(py, "fog_key")?),
                period,
            })
        });
        let usual = MeshNodeConfig::default();
        let config = MeshNodeConfig {
            nickname: nickname.to_owned(),
            file,
            listen: addresses(listen)?,
            connect: addresses(connect)?,
            events_max: events_max.0,
            rules: NodeConfig {
                fog: fog.transpose()?,
                ..usual.rules
            },
            ..usual
        };
        let node = error::call(py, || Ok(fogcompute::MeshNode::start(config)?))?;
        Ok(Self(Handle::new("mesh node", node)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.0.get(py) {
            Ok(node) => format!("<fogcompute.mesh.MeshNode {}>", node.id()),
            Err(_) => "<fogcompute.mesh.MeshNode>".to_owned(),
        }
    }

    /// Who this is: 16 hexadecimal digits.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<Hex<PeerId>> {
        Ok(Hex(self.0.get(py)?.id()))
    }

    /// What this peer is called on the air now: something else after a while if it talks only to the
    /// members of a fog, and `id` if not.
    #[getter]
    fn air_id(&self, py: Python<'_>) -> PyResult<Hex<PeerId>> {
        self.ask(py, |node| Ok(Hex(node.air_id()?)))
    }

    /// What this peer is called.
    #[getter]
    fn nickname(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |node| Ok(node.nickname()?))
    }

    /// Gives this peer another name. Raises `MeshContentError`.
    fn set_nickname(&self, py: Python<'_>, nickname: &str) -> PyResult<()> {
        self.ask(py, |node| Ok(node.set_nickname(nickname)?))
    }

    /// Accepts TCP links at an address; returns it, with the port that was chosen where 0 was asked for.
    ///
    /// Raises `ListenError`.
    #[pyo3(signature = (address = "127.0.0.1:0"))]
    fn listen(&self, py: Python<'_>, address: &str) -> PyResult<String> {
        let address = self::address(py, address)?;
        self.ask(py, |node| Ok(node.listen(address)?.to_string()))
    }

    /// Addresses that TCP links are accepted on.
    #[getter]
    fn listening(&self, py: Python<'_>) -> PyResult<Tuple<String>> {
        let listening = self.0.get(py)?.listening();
        let listening = listening.iter();
        Ok(Tuple(listening.map(ToString::to_string).collect()))
    }

    /// Keeps a TCP link with whoever answers at an address: it is dialled again when it ends.
    fn connect(&self, py: Python<'_>, address: &str) -> PyResult<()> {
        let address = self::address(py, address)?;
        self.ask(py, |node| Ok(node.connect(address)?))
    }

    /// Keeps no link with an address any more. `False` if it kept none.
    fn disconnect(&self, py: Python<'_>, address: &str) -> PyResult<bool> {
        let address = self::address(py, address)?;
        self.ask(py, |node| Ok(node.disconnect(address)?))
    }

    /// Makes a link to another node of this program, without any socket.
    fn link_with(&self, py: Python<'_>, other: &Self) -> PyResult<()> {
        let other = other.0.get(py)?;
        self.ask(py, |node| Ok(node.link_with(&other)?))
    }

    /// Talks over a radio too: an object with the methods of `BleRadio`.
    ///
    /// Its `limits` and then its `attach` are called at once, the latter with the inbox in which it tells
    /// what happens; the others run on the node's thread. Raises `MeshBusyError` for a ninth radio, and
    /// what those two do.
    fn add_radio(&self, py: Python<'_>, radio: Py<PyAny>) -> PyResult<()> {
        let attach = radio.getattr(py, "attach")?;
        let limits = radio.call_method0(py, "limits")?;
        let (is_central, is_peripheral, links_max) = limits.extract(py)?;
        let limits = RadioLimits {
            is_central,
            is_peripheral,
            links_max,
        };
        let (radio, inbox) = fogcompute::host_radio(Radio { radio, limits });
        attach.call1(py, (RadioInbox(inbox),))?;
        self.ask(py, |node| Ok(node.add_radio(radio)?))
    }

    /// Writes to everybody near; returns what the message is known by. Raises `MeshContentError`.
    fn send_public(&self, py: Python<'_>, text: &str) -> PyResult<String> {
        self.ask(py, |node| Ok(node.send_public(text)?.as_str().to_owned()))
    }

    /// Writes to one peer; returns what the message is known by.
    ///
    /// It is kept, and on disk if there is a file, and sent until the peer has it or a day has passed.
    /// Raises `UnknownPeerError`, `MeshContentError`, `MeshBusyError`.
    fn send_private(&self, py: Python<'_>, peer: Hex<PeerId>, text: &str) -> PyResult<String> {
        self.ask(py, |node| {
            Ok(node.send_private(peer.0, text)?.as_str().to_owned())
        })
    }

    /// Tells a peer that the user saw its message. Raises `UnknownPeerError`, `MeshBusyError`.
    fn mark_read(&self, py: Python<'_>, peer: Hex<PeerId>, id: &str) -> PyResult<()> {
        self.ask(py, |node| Ok(node.mark_read(peer.0, id)?))
    }

    /// Makes a group of this peer and others who are known, and invites them; returns its identifier.
    ///
    /// Raises `UnknownPeerError`, `MeshContentError`, `MeshBusyError`.
    fn create_group(
        &self,
        py: Python<'_>,
        name: &str,
        members: Vec<Hex<PeerId>>,
    ) -> PyResult<Hex<Group>> {
        let members = peers(members);
        self.ask(py, |node| {
            Ok(Hex(Group(node.create_group(name, &members)?)))
        })
    }

    /// Makes a group of up to 255, each of whom writes under a key of its own; returns its identifier.
    ///
    /// All have to be of this library; they are told when they are there. It is changed, written to and
    /// left as any other. Raises `NotUnderstoodError`, and what `create_group` does.
    fn create_large_group(
        &self,
        py: Python<'_>,
        name: &str,
        members: Vec<Hex<PeerId>>,
    ) -> PyResult<Hex<Group>> {
        let members = peers(members);
        self.ask(py, |node| {
            Ok(Hex(Group(node.create_large_group(name, &members)?)))
        })
    }

    /// Changes who is in a group of ours, and gives it another key, a large one other keys.
    ///
    /// Raises `UnknownGroupError`, `NotGroupCreatorError`, and what `create_group` does.
    fn change_group(
        &self,
        py: Python<'_>,
        group: Hex<Group>,
        members: Vec<Hex<PeerId>>,
    ) -> PyResult<()> {
        let members = peers(members);
        self.ask(py, |node| Ok(node.change_group(group.0.0, &members)?))
    }

    /// Leaves a group; nobody is told. `False` if this peer is in no such group.
    fn leave_group(&self, py: Python<'_>, group: Hex<Group>) -> PyResult<bool> {
        self.ask(py, |node| Ok(node.leave_group(group.0.0)?))
    }

    /// Writes to a group; returns what the message is known by.
    ///
    /// Raises `UnknownGroupError`, `MeshContentError`.
    fn send_group(&self, py: Python<'_>, group: Hex<Group>, text: &str) -> PyResult<String> {
        self.ask(py, |node| {
            Ok(node.send_group(group.0.0, text)?.as_str().to_owned())
        })
    }

    /// Groups this peer is in.
    fn groups(&self, py: Python<'_>) -> PyResult<Tuple<MeshGroup>> {
        let groups = self.ask(py, |node| Ok(node.groups()?))?;
        let groups = groups.into_iter().map(|group| {
            let members = group.members.iter();
            let members = members.map(|member| Hex(member.fingerprint.peer_id()));
            MeshGroup {
                id: Hex(Group(group.id)),
                name: group.name,
                members: Tuple(members.collect()),
                is_large: group.is_large,
            }
        });
        Ok(Tuple(groups.collect()))
    }

    /// Sends a file of at most a MiB in one piece, to one peer, or with `None` to everybody near.
    ///
    /// It is sent once; what is lost is not sent again. Raises `UnknownPeerError`, `MeshContentError`,
    /// `MeshBusyError`.
    #[pyo3(signature = (peer, content, *, name = None, mime = None))]
    fn send_file(
        &self,
        py: Python<'_>,
        peer: Option<Hex<PeerId>>,
        content: Buffer,
        name: Option<String>,
        mime: Option<String>,
    ) -> PyResult<()> {
        let content = content.to_vec();
        let file = File {
            name,
            mime,
            content,
        };
        self.ask(
            py,
            |node| Ok(node.send_file(peer.map(|peer| peer.0), file)?),
        )
    }

    /// Offers a file on disk of at most a GiB to a peer, which takes it in chunks; returns what the
    /// file is known by.
    ///
    /// It is read when it is asked for: leave it as it is until then. Raises `NotUnderstoodError` for
    /// peers that are not of this library, `UnknownPeerError`, `MeshContentError`, `MeshBusyError`,
    /// `StorageError`.
    #[pyo3(signature = (peer, path, *, mime = "application/octet-stream"))]
    fn offer_file(
        &self,
        py: Python<'_>,
        peer: Hex<PeerId>,
        path: PathBuf,
        mime: &str,
    ) -> PyResult<Hex<Digest>> {
        self.ask(py, |node| Ok(Hex(node.offer_file(peer.0, &path, mime)?)))
    }

    /// Takes a file that was offered, and writes it to `path`: to `path.part` until it is whole.
    ///
    /// What is at `path` stays as it is. Raises `StorageExistsError` then, `UnknownFileError`,
    /// `MeshBusyError`, `StorageError`.
    fn accept_file(&self, py: Python<'_>, file: Hex<Digest>, path: PathBuf) -> PyResult<()> {
        self.ask(py, |node| Ok(node.accept_file(file.0, &path)?))
    }

    /// Offers a file no longer, or does not take the rest of it. `False` if there is no such file.
    fn cancel_file(&self, py: Python<'_>, file: Hex<Digest>) -> PyResult<bool> {
        self.ask(py, |node| Ok(node.cancel_file(file.0)?))
    }

    /// Peers that are known.
    fn peers(&self, py: Python<'_>) -> PyResult<Tuple<MeshPeer>> {
        let peers = self.ask(py, |node| Ok(node.peers()?))?;
        let peers = peers.into_iter().map(|peer| MeshPeer {
            id: Hex(peer.id),
            nickname: peer.nickname,
            noise_key: *peer.noise_key.as_bytes(),
            is_reachable: peer.is_reachable,
            is_linked: peer.is_linked,
            has_session: peer.has_session,
            has_ratchet: peer.has_ratchet,
            neighbours: Tuple(peer.neighbours.into_iter().map(Hex).collect()),
        });
        Ok(Tuple(peers.collect()))
    }

    /// The newest messages with numbers below `before`, the newest first: all, those with one peer, or
    /// those of one group. Without a file those since the start.
    #[pyo3(
        signature = (limit = Number(100), *, before = None, peer = None, group = None),
        text_signature = "($self, limit=100, *, before=None, peer=None, group=None)"
    )]
    fn history(
        &self,
        py: Python<'_>,
        limit: Number<usize>,
        before: Option<Number<u64>>,
        peer: Option<Hex<PeerId>>,
        group: Option<Hex<Group>>,
    ) -> PyResult<Tuple<MeshMessage>> {
        let before = before.map_or(u64::MAX, |before| before.0);
        let of = match (peer, group) {
            (None, None) => None,
            (Some(peer), None) => Some(Conversation::Peer(peer.0)),
            (None, Some(group)) => Some(Conversation::Group(group.0.0)),
            (Some(_), Some(_)) => {
                let both = "peer and group are two conversations".to_owned();
                return Err(error::argument(py, both));
            }
        };
        let messages = self.ask(py, |node| {
            Ok(match of {
                Some(of) => node.history_of(of, before, limit.0)?,
                None => node.history(before, limit.0)?,
            })
        })?;
        let messages = messages.into_iter().map(|message| MeshMessage {
            number: message.number,
            id: message.id,
            peer: Hex(message.peer),
            is_own: message.is_own,
            is_private: message.is_private,
            group: message.group.map(|group| Hex(Group(group))),
            text: message.text,
            at_ms: message.at.0,
            state: state_name(message.state),
            via: message.via.map(Hex),
            hops: message.hops,
        });
        Ok(Tuple(messages.collect()))
    }

    /// Deletes a message from the history, by its number; from here alone. `False` if there is none.
    fn delete_message(&self, py: Python<'_>, number: Number<u64>) -> PyResult<bool> {
        self.ask(py, |node| Ok(node.delete_message(number.0)?))
    }

    /// What it counted since its start: `links`, `bytes_in`, `bytes_out`, `events_dropped`, `carried`,
    /// `waiting`, and what the rules did and refused.
    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        let stats = self.ask(py, |node| Ok(node.stats()?))?;
        let rules = stats.rules.iter();
        let mut all: BTreeMap<_, _> = rules
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        all.extend(
            [
                ("links", stats.links as u64),
                ("bytes_in", stats.bytes_in),
                ("bytes_out", stats.bytes_out),
                ("events_dropped", stats.events_dropped),
                ("carried", stats.carried as u64),
                ("waiting", stats.waiting as u64),
            ]
            .map(|(name, count)| (name.to_owned(), count)),
        );
        Ok(all)
    }

    /// The next event, if one is there.
    fn try_receive(&self, py: Python<'_>) -> PyResult<Option<MeshEvent>> {
        let event = self.ask(py, |node| Ok(node.try_receive()?))?;
        Ok(event.map(|event| MeshEvent::new(py, event)))
    }

    /// Await the next event. None is lost if that is cancelled.
    ///
    /// Raises `ClosedError`.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::receive(slf.as_any())
    }

    /// The next event. Waits for it on this thread, and returns `None` after `within`.
    #[pyo3(signature = (within = None))]
    fn receive_blocking(
        &self,
        py: Python<'_>,
        within: Option<Span>,
    ) -> PyResult<Option<MeshEvent>> {
        let node = self.0.get(py)?;
        let event = asyncio::receive_blocking(py, within, |step| Ok(node.receive_within(step)?))?;
        Ok(event.map(|event| MeshEvent::new(py, event)))
    }

    fn _readable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::readable(py, self.0.get(py)?.readable())
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::receive_next(slf.as_any())
    }

    /// Says goodbye and ends the node.
    ///
    /// Events that came before can still be received, then receiving ends with `ClosedError`. Closing
    /// again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let node = self.0.here();
        error::catch(py, || close(node.as_deref()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        asyncio::enter(py, slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        _exception: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        asyncio::exit(py, || self.0.here(), |node| close(node.as_deref()))
    }
}

fn close(node: Option<&fogcompute::MeshNode>) {
    if let Some(node) = node {
        node.close();
    }
}
