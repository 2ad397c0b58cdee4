//! A peer of the mesh in this process, and radios that the application writes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::HostRadio;
use fogcompute::base::OsEntropy;
use fogcompute::bitchat::group::GroupId;
use fogcompute::bitchat::history::Conversation;
use fogcompute::bitchat::{
    DeliveryState, Event, FogConfig, FogKey, NodeConfig, Passing, PeerId, Protection, file,
};
use fogcompute::node::MeshError;
use fogcompute::transport::{
    Activity, Address, LinkEnded, RadioEvent, RadioFailure, RadioLink, Role,
};
use thiserror::Error;

use crate::FogError;
use crate::client::Readiness;
use crate::error::{first_line, guarded, invalid_argument};
use crate::topology::parse_address;

/// How far a message of this peer has come. Each state is one that was heard of, none is supposed.
#[uniffi::remote(Enum)]
pub enum DeliveryState {
    /// It waits: there is no link or no session.
    Waiting,
    /// It left over a link.
    Sent,
    /// Somebody else passes it on, says that it has it (by a set that errs once in a hundred times), or
    /// was given it to carry.
    Relayed,
    /// The receiver has it.
    Delivered,
    /// The receiver's user saw it.
    Read,
    /// It was given up. The receiver may have it nevertheless.
    GivenUp,
}

/// What a neighbour did with a message of this peer, as far as it shows. Nobody signs any of it.
#[uniffi::remote(Enum)]
pub enum Passing {
    /// It was given the message, over its link.
    Given,
    /// It sent the message on: the message was heard again from it, after so many hops.
    PassedOn {
        /// Hops from here to the neighbour, over whomever, and back.
        hops: u8,
    },
    /// It says that it has the message, by a set that errs once in a hundred times.
    Has,
    /// It was given the message to carry to somebody who is not there.
    Carries,
}

/// What a private message, or one to a group, was encrypted with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum MeshProtection {
    /// The keys of a session, which last up to a day, or those of an envelope.
    Noise,
    /// A key of its own, which is gone once it is read.
    Ratchet,
    /// The key of a group, which all of its members have until it changes.
    GroupKey,
    /// The key of who wrote it, which moves on with each message: that of a large group.
    SenderKey,
}

impl MeshProtection {
    const fn of(protection: Protection) -> Option<Self> {
        match protection {
            Protection::Noise => Some(Self::Noise),
            Protection::Ratchet => Some(Self::Ratchet),
            Protection::GroupKey => Some(Self::GroupKey),
            Protection::SenderKey => Some(Self::SenderKey),
            _ => None,
        }
    }
}

/// A fog whose members alone a mesh node talks to, sealed under the fog's key and under identifiers that
/// change. Who has not got the key, and the BitChat apps, neither hear it nor are heard.
#[derive(Clone, Eq, PartialEq, uniffi::Record)]
pub struct MeshFog {
    /// What all members share, 32 bytes as good as random: [`mesh_fog_key`] makes one. A member that
    /// leaves knows it: give the others a new one.
    pub key: Vec<u8>,
    /// How long an identifier on the air lasts, in milliseconds; without a number, a quarter of an hour,
    /// and never less than ten seconds. All members must say the same.
    #[uniffi(default = None)]
    pub period_ms: Option<u64>,
}

impl std::fmt::Debug for MeshFog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MeshFog(..)")
    }
}

impl MeshFog {
    fn parse(self) -> Result<FogConfig, FogError> {
        let bytes = <[u8; 32]>::try_from(self.key)
            .map_err(|key| invalid_argument(format!("key has {} bytes, not 32", key.len())))?;
        Ok(FogConfig {
            period: self
                .period_ms
                .map_or(FogConfig::PERIOD, Duration::from_millis),
            ..FogConfig::new(FogKey::from_bytes(bytes))
        })
    }
}

/// Makes the key of a new fog ([`MeshFog`]).
///
/// # Errors
/// [`FogError::Panic`] if the system gives no random bytes.
#[uniffi::export]
pub fn mesh_fog_key() -> Result<Vec<u8>, FogError> {
    guarded(|| Ok(FogKey::random(&mut OsEntropy).as_bytes().to_vec()))
}

/// How a mesh node is made. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct MeshNodeConfig {
    /// Where it keeps its secrets, what waits to be delivered, and its messages. Without one, it is a
    /// new peer at every start and forgets everything.
    #[uniffi(default = None)]
    pub file: Option<String>,
    /// Addresses to accept TCP links on, of which port 0 is any that is free.
    #[uniffi(default = [])]
    pub listen: Vec<String>,
    /// Addresses to keep a TCP link with, whoever answers.
    #[uniffi(default = [])]
    pub connect: Vec<String>,
    /// Events that wait to be received; without a number, 4,096. When there are more, the oldest are
    /// dropped, and counted.
    #[uniffi(default = None)]
    pub events_max: Option<u32>,
    /// The fog whose members alone it talks to; without one, it talks to everybody.
    #[uniffi(default = None)]
    pub fog: Option<MeshFog>,
}

impl MeshNodeConfig {
    fn parse(self, nickname: String) -> Result<fogcompute::MeshNodeConfig, FogError> {
        let addresses = |texts: &[String]| {
            let texts = texts.iter();
            texts
                .map(|text| parse_address(text))
                .collect::<Result<Vec<SocketAddr>, _>>()
        };
        let defaults = fogcompute::MeshNodeConfig::default();
        Ok(fogcompute::MeshNodeConfig {
            nickname,
            listen: addresses(&self.listen)?,
            connect: addresses(&self.connect)?,
            file: self.file.map(Into::into),
            events_max: self
                .events_max
                .map_or(defaults.events_max, |events| events as usize),
            rules: NodeConfig {
                fog: self.fog.map(MeshFog::parse).transpose()?,
                ..defaults.rules
            },
            ..defaults
        })
    }
}

/// A file in one piece.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MeshFile {
    /// What is in it.
    pub content: Vec<u8>,
    /// What it is called. One that came is called so by somebody else: no path to write to.
    #[uniffi(default = None)]
    pub name: Option<String>,
    /// Its media type.
    #[uniffi(default = None)]
    pub mime: Option<String>,
}

/// Why a file was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum MeshFileEnd {
    /// Who offered it does not have it any more.
    Missing,
    /// Nothing of it came for too long.
    Silent,
    /// It could not be written.
    Disk,
}

impl MeshFileEnd {
    const fn of(end: fogcompute::MeshFileEnd) -> Option<Self> {
        match end {
            fogcompute::MeshFileEnd::Missing => Some(Self::Missing),
            fogcompute::MeshFileEnd::Silent => Some(Self::Silent),
            fogcompute::MeshFileEnd::Disk => Some(Self::Disk),
            _ => None,
        }
    }
}

/// Something that happened to a mesh node. Peers are 16 hexadecimal digits, groups 32, files in
/// chunks 64.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum MeshEvent {
    /// A peer announced itself, or came back.
    PeerJoined {
        /// Who.
        peer: String,
    },
    /// A peer has left, or nothing was heard of it for a minute.
    PeerLeft {
        /// Who.
        peer: String,
    },
    /// A peer's name, capabilities or neighbours changed.
    PeerChanged {
        /// Who.
        peer: String,
    },
    /// There is a session: who this is has been proved.
    SessionReady {
        /// Who.
        peer: String,
        /// The key it proved to hold, 32 bytes.
        noise_key: Vec<u8>,
    },
    /// A public message, whose sender is verified.
    PublicMessage {
        /// What the message is known by.
        id: String,
        /// Who wrote it.
        from: String,
        /// Its text.
        text: String,
        /// When it was written, says its writer, in milliseconds since 1970.
        unix_ms: u64,
        /// The neighbour it came from, if it is known.
        via: Option<String>,
        /// Hops it seems to have taken: nothing proves the number.
        hops: u8,
    },
    /// A private message.
    PrivateMessage {
        /// What the message is known by, for [`MeshNode::mark_read`].
        id: String,
        /// Who wrote it.
        from: String,
        /// Its text.
        text: String,
        /// The neighbour it came from, if it is known.
        via: Option<String>,
        /// Hops it seems to have taken; 0 if somebody carried it. Nothing proves the number.
        hops: u8,
        /// What it was encrypted with, if this binding has a word for it.
        protection: Option<MeshProtection>,
    },
    /// How far a message of this peer has come.
    Delivery {
        /// What the message is known by.
        id: String,
        /// Its state.
        state: DeliveryState,
    },
    /// What a neighbour did with a message of this peer.
    Passed {
        /// What the message is known by.
        id: String,
        /// The neighbour.
        by: String,
        /// What it did.
        how: Passing,
    },
    /// A file in one piece.
    File {
        /// Who sent it.
        from: String,
        /// Whether it is for this peer alone.
        is_private: bool,
        /// The file.
        file: MeshFile,
    },
    /// A part of a voice burst.
    Voice {
        /// Who speaks.
        from: String,
        /// Whether it is for this peer alone.
        is_private: bool,
        /// The part, as the mesh encodes it.
        frame: Vec<u8>,
    },
    /// This peer was taken into a group, or the group changed.
    Group {
        /// The group.
        group: String,
        /// Whose it is.
        creator: String,
    },
    /// A message to a group.
    GroupMessage {
        /// The group.
        group: String,
        /// What the message is known by.
        id: String,
        /// Who wrote it: a member.
        from: String,
        /// Its text.
        text: String,
        /// When it was written, says its writer, in milliseconds since 1970.
        unix_ms: u64,
        /// The neighbour it came from, if it is known.
        via: Option<String>,
        /// Hops it seems to have taken: nothing proves the number.
        hops: u8,
        /// What it was encrypted with, if there is a word for it.
        protection: Option<MeshProtection>,
    },
    /// A step towards a call.
    Call {
        /// Who.
        from: String,
        /// The step, as the mesh encodes it.
        signal: Vec<u8>,
    },
    /// Something private of a type that means nothing here.
    Other {
        /// Who.
        from: String,
        /// The type.
        kind: u8,
        /// The body.
        body: Vec<u8>,
    },
    /// A peer offers a file in chunks. [`MeshNode::accept_file`] takes it.
    FileOffered {
        /// Who.
        from: String,
        /// What names the file.
        file: String,
        /// What it is called. It came from somebody else: no path to write to.
        title: String,
        /// Its media type.
        mime: String,
        /// Its length in bytes.
        length: u64,
    },
    /// A file in chunks goes on. Said about a hundred times for each file, and at its end.
    FileProgress {
        /// The file.
        file: String,
        /// Who sends it, or has asked for it.
        peer: String,
        /// Whether it is sent from here.
        is_sent: bool,
        /// Bytes that have come, or that were asked for and sent.
        done: u64,
        /// All of them.
        length: u64,
    },
    /// A file in chunks is whole, and on disk.
    FileReceived {
        /// The file.
        file: String,
        /// Who sent it.
        from: String,
        /// Where it is.
        path: String,
    },
    /// A file in chunks was given up.
    FileFailed {
        /// The file.
        file: String,
        /// Why, if this binding has a word for it.
        why: Option<MeshFileEnd>,
    },
    /// A link is up: over TCP, a radio, or to a node in the same program.
    LinkUp {
        /// Its number.
        link: u64,
    },
    /// A link is down.
    LinkDown {
        /// Its number.
        link: u64,
    },
    /// A radio of the application threw: what it was asked is not done, and if that was for one of its
    /// connections, that one ends.
    RadioFailed {
        /// Which radio: 0 is the first one that was added.
        radio: u64,
        /// What it threw.
        reason: String,
    },
    /// Something that this binding has no words for.
    Unknown,
}

impl From<fogcompute::MeshEvent> for MeshEvent {
    fn from(event: fogcompute::MeshEvent) -> Self {
        use fogcompute::MeshEvent as Happened;
        match event {
            Happened::Mesh(event) => of_rules(event),
            Happened::FileOffered {
                from,
                file,
                title,
                mime,
                length,
            } => Self::FileOffered {
                from: from.to_string(),
                file: file.to_string(),
                title,
                mime,
                length,
            },
            Happened::FileProgress {
                file,
                peer,
                is_sent,
                done,
                length,
            } => Self::FileProgress {
                file: file.to_string(),
                peer: peer.to_string(),
                is_sent,
                done,
                length,
            },
            Happened::FileReceived { file, from, path } => Self::FileReceived {
                file: file.to_string(),
                from: from.to_string(),
                path: path.to_string_lossy().into_owned(),
            },
            Happened::FileFailed { file, end } => Self::FileFailed {
                file: file.to_string(),
                why: MeshFileEnd::of(end),
            },
            Happened::LinkUp { link } => Self::LinkUp { link },
            Happened::LinkDown { link } => Self::LinkDown { link },
            Happened::RadioFailed { radio, reason } => Self::RadioFailed { radio, reason },
            _ => Self::Unknown,
        }
    }
}

fn of_rules(event: Event) -> MeshEvent {
    let digits = |peer: Option<PeerId>| peer.map(|peer| peer.to_string());
    match event {
        Event::PeerJoined { peer, .. } => MeshEvent::PeerJoined {
            peer: peer.to_string(),
        },
        Event::PeerLeft { peer, .. } => MeshEvent::PeerLeft {
            peer: peer.to_string(),
        },
        Event::PeerChanged { peer, .. } => MeshEvent::PeerChanged {
            peer: peer.to_string(),
        },
        Event::SessionReady { peer, key, .. } => MeshEvent::SessionReady {
            peer: peer.to_string(),
            noise_key: key.as_bytes().to_vec(),
        },
        Event::Public {
            id,
            from,
            text,
            timestamp,
            via,
            hops,
            ..
        } => MeshEvent::PublicMessage {
            id: id.as_str().to_owned(),
            from: from.to_string(),
            text,
            unix_ms: timestamp.0,
            via: digits(via),
            hops,
        },
        Event::Private {
            id,
            from,
            text,
            via,
            hops,
            protection,
        } => MeshEvent::PrivateMessage {
            id: id.as_str().to_owned(),
            from: from.to_string(),
            text,
            via: digits(via),
            hops,
            protection: MeshProtection::of(protection),
        },
        Event::Delivery { id, state, .. } => MeshEvent::Delivery {
            id: id.as_str().to_owned(),
            state,
        },
        Event::Passed { id, by, how } => MeshEvent::Passed {
            id: id.as_str().to_owned(),
            by: by.to_string(),
            how,
        },
        Event::File {
            from,
            private,
            file,
            ..
        } => MeshEvent::File {
            from: from.to_string(),
            is_private: private,
            file: MeshFile {
                content: file.content,
                name: file.name,
                mime: file.mime,
            },
        },
        Event::Voice {
            from,
            private,
            frame,
            ..
        } => MeshEvent::Voice {
            from: from.to_string(),
            is_private: private,
            frame: frame.encode().unwrap_or_default(),
        },
        Event::Group { group, creator, .. } => MeshEvent::Group {
            group: group.to_string(),
            creator: creator.peer_id().to_string(),
        },
        Event::GroupMessage {
            group,
            id,
            from,
            text,
            timestamp,
            via,
            hops,
            protection,
        } => MeshEvent::GroupMessage {
            group: group.to_string(),
            id: id.as_str().to_owned(),
            from: from.peer_id().to_string(),
            text,
            unix_ms: timestamp.0,
            via: digits(via),
            hops,
            protection: MeshProtection::of(protection),
        },
        Event::Call { from, signal, .. } => MeshEvent::Call {
            from: from.to_string(),
            signal: signal.encode().unwrap_or_default(),
        },
        Event::Other {
            from, kind, body, ..
        } => MeshEvent::Other {
            from: from.to_string(),
            kind,
            body,
        },
        _ => MeshEvent::Unknown,
    }
}

/// What is known of a peer of the mesh.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MeshPeer {
    /// Who: 16 hexadecimal digits.
    pub id: String,
    /// What it wants to be called.
    pub nickname: String,
    /// Its key for sessions, 32 bytes.
    pub noise_key: Vec<u8>,
    /// Whether it was heard of in the last minute.
    pub is_reachable: bool,
    /// Whether it has a link here.
    pub is_linked: bool,
    /// Whether there is a session with it.
    pub has_session: bool,
    /// Whether private messages to it are under keys of their own.
    pub has_ratchet: bool,
    /// Whom it has links to, says it.
    pub neighbours: Vec<String>,
}

/// A group of the mesh that this peer is in.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MeshGroup {
    /// The group, 32 hexadecimal digits.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Who is in it, the one who made it first.
    pub members: Vec<String>,
    /// Whether each writes under a key of its own.
    pub is_large: bool,
}

/// Whom a message of a mesh node's history is between.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum MeshConversation {
    /// This peer and everybody near.
    Everybody,
    /// This peer and another one.
    Peer {
        /// Who: 16 hexadecimal digits.
        id: String,
    },
    /// The members of a group.
    Group {
        /// The group: 32 hexadecimal digits.
        id: String,
    },
}

impl MeshConversation {
    fn parse(&self) -> Result<Conversation, FogError> {
        Ok(match self {
            Self::Everybody => Conversation::Everybody,
            Self::Peer { id } => Conversation::Peer(id.parse()?),
            Self::Group { id } => Conversation::Group(group_id(id)?),
        })
    }
}

impl From<Conversation> for MeshConversation {
    fn from(conversation: Conversation) -> Self {
        match conversation {
            Conversation::Everybody => Self::Everybody,
            Conversation::Peer(peer) => Self::Peer {
                id: peer.to_string(),
            },
            Conversation::Group(group) => Self::Group {
                id: group.to_string(),
            },
        }
    }
}

/// A conversation of a mesh node's history.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MeshConversationEntry {
    /// Whom it is between.
    pub conversation: MeshConversation,
    /// The number of its newest message.
    pub newest: u64,
}

/// A message of a mesh node's history.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MeshMessage {
    /// Its number: what came or was sent later has a higher one.
    pub number: u64,
    /// What sender and receiver know it by.
    pub id: String,
    /// Who wrote it; of a private one from here, whom it is for.
    pub peer: String,
    /// Whether it was written here.
    pub is_own: bool,
    /// Whether it is for one peer.
    pub is_private: bool,
    /// The group it is for, if it is for one.
    pub group: Option<String>,
    /// Its text.
    pub text: String,
    /// When it was written, says its writer, in milliseconds since 1970.
    pub unix_ms: u64,
    /// How far one from here has come.
    pub state: DeliveryState,
    /// The neighbour it came from, if it is known.
    pub via: Option<String>,
    /// Hops it seems to have taken; 0 if that is not known.
    pub hops: u8,
}

impl From<fogcompute::MeshHistory> for MeshMessage {
    fn from(message: fogcompute::MeshHistory) -> Self {
        Self {
            number: message.number,
            id: message.id,
            peer: message.peer.to_string(),
            is_own: message.is_own,
            is_private: message.is_private,
            group: message.group.map(|group| group.to_string()),
            text: message.text,
            unix_ms: message.at.0,
            state: message.state,
            via: message.via.map(|via| via.to_string()),
            hops: message.hops,
        }
    }
}

/// What a mesh node counted since its start.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MeshNodeStats {
    /// Links that are up.
    pub links: u64,
    /// Bytes of frames that came in.
    pub bytes_in: u64,
    /// Bytes of frames that left.
    pub bytes_out: u64,
    /// Events that nobody received in time.
    pub events_dropped: u64,
    /// Envelopes that are carried for others.
    pub carried: u64,
    /// Private messages that wait to be delivered.
    pub waiting: u64,
    /// What the rules did, and refused, each by its name.
    pub rules: HashMap<String, u64>,
}

/// What a radio threw. Anything else that it throws counts as `Host` too.
#[derive(Clone, Debug, Eq, Error, PartialEq, uniffi::Error)]
pub enum RadioError {
    /// The radio's own code failed.
    #[error("{reason}")]
    Host {
        /// What happened.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for RadioError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        let reason = first_line(&error);
        Self::Host { reason }
    }
}

/// What a radio can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Record)]
pub struct RadioLimits {
    /// Whether it scans and connects.
    pub is_central: bool,
    /// Whether it advertises and is connected to.
    pub is_peripheral: bool,
    /// Most connections at once, in both roles together.
    pub links_max: u32,
}

/// A Bluetooth radio with the service of BitChat. Implemented by the application, for
/// [`MeshNode::add_radio`].
///
/// The service is `F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C`, its one characteristic
/// `A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D`: written with and without response, and notified. Values have
/// at most 512 bytes, and 3 less than the MTU. Over one connection they arrive whole, once and in order.
///
/// `limits` and `attach` run on the thread that adds the radio, all others on the node's thread; they
/// return at once, and what comes of them is told to the [`RadioInbox`]. What one throws is a failure of
/// that command, on a connection of that connection, and of nothing else, and is told as
/// [`MeshEvent::RadioFailed`].
///
/// A connection that `connect` begins is told by `connected` or `connect_failed` within half a minute: the
/// former when an MTU was agreed on and the characteristic found, and `subscribed` when notifications go.
#[uniffi::export(foreign)]
pub trait BleRadio: Send + Sync {
    /// What it can do.
    ///
    /// # Errors
    /// [`RadioError`]: then it is not added.
    fn limits(&self) -> Result<RadioLimits, RadioError>;

    /// Where to tell what happens, from any thread. Called once, before all commands.
    ///
    /// # Errors
    /// [`RadioError`]: then it is not added.
    fn attach(&self, inbox: Arc<RadioInbox>) -> Result<(), RadioError>;

    /// Can be found from now on, by the service and, where the system lets it, this service data, which
    /// may be empty. Connections of others are taken.
    ///
    /// # Errors
    /// [`RadioError`].
    fn advertise(&self, service_data: Vec<u8>) -> Result<(), RadioError>;

    /// Can not be found any more; connections stay.
    ///
    /// # Errors
    /// [`RadioError`].
    fn stop_advertising(&self) -> Result<(), RadioError>;

    /// Looks for others with the service.
    ///
    /// # Errors
    /// [`RadioError`].
    fn scan(&self) -> Result<(), RadioError>;

    /// Looks no more.
    ///
    /// # Errors
    /// [`RadioError`].
    fn stop_scanning(&self) -> Result<(), RadioError>;

    /// Connects to a peer that was heard, as its central, unless it does already. `false` if the peer is
    /// not known.
    ///
    /// # Errors
    /// [`RadioError`].
    fn connect(&self, peer: Vec<u8>) -> Result<bool, RadioError>;

    /// Ends a connection, of whichever role. One that is not there is not an error.
    ///
    /// # Errors
    /// [`RadioError`].
    fn disconnect(&self, link: u64) -> Result<(), RadioError>;

    /// Writes a value, as the central: with an answer of the peer, or without one. `false` if there is no
    /// room now: `writable` is told when there is.
    ///
    /// # Errors
    /// [`RadioError`].
    fn write(&self, link: u64, value: Vec<u8>, with_response: bool) -> Result<bool, RadioError>;

    /// Notifies a value, as the peripheral. `false` if there is no room now: `writable` is told when there
    /// is.
    ///
    /// # Errors
    /// [`RadioError`].
    fn notify(&self, link: u64, value: Vec<u8>) -> Result<bool, RadioError>;

    /// The node has ended, or does not take the radio: end all connections and be quiet. Called once,
    /// last.
    ///
    /// # Errors
    /// [`RadioError`], of which nobody hears.
    fn detach(&self) -> Result<(), RadioError>;
}

/// A radio whose methods are the application's.
struct Radio {
    radio: Arc<dyn BleRadio>,
    limits: RadioLimits,
}

fn said(said: Result<bool, RadioError>) -> Result<bool, String> {
    said.map_err(|RadioError::Host { reason }| reason)
}

impl HostRadio for Radio {
    fn limits(&self) -> fogcompute::transport::RadioLimits {
        fogcompute::transport::RadioLimits {
            is_central: self.limits.is_central,
            is_peripheral: self.limits.is_peripheral,
            links_max: self.limits.links_max as usize,
        }
    }

    fn advertise(&mut self, service_data: &[u8]) -> Result<bool, String> {
        let done = self.radio.advertise(service_data.to_vec());
        said(done.map(|()| true))
    }

    fn stop_advertising(&mut self) -> Result<bool, String> {
        said(self.radio.stop_advertising().map(|()| true))
    }

    fn scan(&mut self) -> Result<bool, String> {
        said(self.radio.scan().map(|()| true))
    }

    fn stop_scanning(&mut self) -> Result<bool, String> {
        said(self.radio.stop_scanning().map(|()| true))
    }

    fn connect(&mut self, peer: &[u8]) -> Result<bool, String> {
        said(self.radio.connect(peer.to_vec()))
    }

    fn disconnect(&mut self, link: u64) -> Result<bool, String> {
        said(self.radio.disconnect(link).map(|()| true))
    }

    fn write(&mut self, link: u64, value: &[u8], with_response: bool) -> Result<bool, String> {
        said(self.radio.write(link, value.to_vec(), with_response))
    }

    fn notify(&mut self, link: u64, value: &[u8]) -> Result<bool, String> {
        said(self.radio.notify(link, value.to_vec()))
    }

    fn detach(&mut self) {
        // Nobody is there to be told.
        let _ = self.radio.detach();
    }
}

/// Where a radio of the application tells what happens, from any thread.
///
/// Peers are bytes, as the radio names them, at most 64; connections are numbers, none of which is used
/// twice.
#[derive(uniffi::Object)]
pub struct RadioInbox(fogcompute::transport::RadioInbox);

impl RadioInbox {
    /// What the radio says. `false` when as much waits as may: it was not taken.
    fn push(&self, event: RadioEvent) -> bool {
        self.0.push(event).is_ok()
    }
}

fn radio_address(peer: &[u8]) -> Result<Address, FogError> {
    Address::new(peer)
        .ok_or_else(|| invalid_argument(format!("peer has {} bytes, 64 at most", peer.len())))
}

#[uniffi::export]
impl RadioInbox {
    /// Bluetooth was turned on or off. A radio begins on. When it goes off its connections have ended,
    /// and it is told to advertise and to scan again when it is on.
    pub fn adapter(&self, is_on: bool) {
        self.push(RadioEvent::Adapter { is_on });
    }

    /// An advert with the service was heard, so loud in dBm, with this service data. `false` when it was
    /// not taken: an advert comes again.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a peer of more than 64 bytes.
    #[uniffi::method(default(service_data = None))]
    pub fn discovered(
        &self,
        peer: Vec<u8>,
        rssi_dbm: i16,
        service_data: Option<Vec<u8>>,
    ) -> Result<bool, FogError> {
        Ok(self.push(RadioEvent::Discovered {
            peer: radio_address(&peer)?,
            rssi_dbm,
            service_data: service_data.unwrap_or_default(),
        }))
    }

    /// There is a connection, which this side began (it is the central) or the other.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a peer of more than 64 bytes.
    pub fn connected(
        &self,
        link: u64,
        peer: Vec<u8>,
        is_central: bool,
        mtu: u16,
    ) -> Result<(), FogError> {
        self.push(RadioEvent::Connected {
            link: RadioLink(link),
            peer: radio_address(&peer)?,
            role: if is_central {
                Role::Central
            } else {
                Role::Peripheral
            },
            mtu,
        });
        Ok(())
    }

    /// A connection that was asked for could not be made.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a peer of more than 64 bytes.
    pub fn connect_failed(&self, peer: Vec<u8>) -> Result<(), FogError> {
        self.push(RadioEvent::ConnectFailed {
            peer: radio_address(&peer)?,
            failure: RadioFailure::TimedOut,
        });
        Ok(())
    }

    /// Another MTU was agreed on.
    pub fn mtu_changed(&self, link: u64, mtu: u16) {
        self.push(RadioEvent::MtuChanged {
            link: RadioLink(link),
            mtu,
        });
    }

    /// Notifications go now: to the peer where this side is the peripheral, from it where it is the
    /// central.
    pub fn subscribed(&self, link: u64) {
        self.push(RadioEvent::Subscribed {
            link: RadioLink(link),
        });
    }

    /// They go no more.
    pub fn unsubscribed(&self, link: u64) {
        self.push(RadioEvent::Unsubscribed {
            link: RadioLink(link),
        });
    }

    /// A value came: a write to this side, or a notification. `false` when it was not taken: end the
    /// connection then, or do not answer the write.
    pub fn received(&self, link: u64, value: Vec<u8>) -> bool {
        self.push(RadioEvent::Received {
            link: RadioLink(link),
            value,
        })
    }

    /// After a write or notification was refused: there is room again.
    pub fn writable(&self, link: u64) {
        self.push(RadioEvent::Writable {
            link: RadioLink(link),
        });
    }

    /// A connection has ended, by this side or not.
    pub fn disconnected(&self, link: u64, by_this_side: bool) {
        let ended = if by_this_side {
            LinkEnded::Closed
        } else {
            LinkEnded::ByPeer
        };
        self.push(RadioEvent::Disconnected {
            link: RadioLink(link),
            ended,
        });
    }

    /// Scanning, or advertising, ended, and not because it was told to. It is told to again after a
    /// while.
    pub fn stopped(&self, is_scanning: bool) {
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

/// All ids of 16 bytes are written alike, and only some kinds of them read their text.
fn group_id(text: &str) -> Result<GroupId, FogError> {
    let id: fogcompute::TaskId = text.parse()?;
    Ok(GroupId(*id.as_bytes()))
}

fn peer_ids(peers: &[String]) -> Result<Vec<PeerId>, FogError> {
    let peers = peers.iter();
    let ids = peers.map(|peer| peer.parse()).collect::<Result<_, _>>();
    Ok(ids?)
}

/// A peer of a BitChat mesh that runs on a thread of this process: over TCP, over radios, and to other
/// nodes of the program.
///
/// What it says was sent or received is on disk, if it has a file: started again with the same file it
/// is the same peer, goes on delivering what waited, and shows nothing twice. Its methods do not wait for
/// the network.
#[derive(uniffi::Object)]
pub struct MeshNode(fogcompute::MeshNode);

#[uniffi::export]
impl MeshNode {
    /// Starts a node. One that has a file is called what it was before if `nickname` is empty.
    ///
    /// # Errors
    /// [`FogError::InvalidMeshContent`] for a nickname that is empty or longer than 255 bytes,
    /// [`FogError::InvalidArgument`] for an address that is none or a fog's key of another length,
    /// [`FogError::Listen`], [`FogError::Node`], and those of storage.
    #[uniffi::constructor(default(config = None))]
    pub fn new(nickname: String, config: Option<MeshNodeConfig>) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let config = config.unwrap_or_default().parse(nickname)?;
            Ok(Arc::new(Self(fogcompute::MeshNode::start(config)?)))
        })
    }

    /// Who this is: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Who this is on the air now: something else after a while if it talks only to a fog's members
    /// ([`MeshFog`]).
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn air_id(&self) -> Result<String, FogError> {
        guarded(|| Ok(self.0.air_id()?.to_string()))
    }

    /// What this peer is called.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn nickname(&self) -> Result<String, FogError> {
        guarded(|| Ok(self.0.nickname()?))
    }

    /// Gives this peer another name.
    ///
    /// # Errors
    /// [`FogError::InvalidMeshContent`], [`FogError::Closed`], and those of storage.
    pub fn set_nickname(&self, nickname: &str) -> Result<(), FogError> {
        guarded(|| Ok(self.0.set_nickname(nickname)?))
    }

    /// Accepts TCP links at an address; returns it, with the port that was chosen where 0 was asked for.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for an address that is none, [`FogError::Listen`],
    /// [`FogError::Closed`].
    #[uniffi::method(default(address = "127.0.0.1:0"))]
    pub fn listen(&self, address: &str) -> Result<String, FogError> {
        guarded(|| Ok(self.0.listen(parse_address(address)?)?.to_string()))
    }

    /// Addresses that TCP links are accepted on.
    pub fn listening(&self) -> Vec<String> {
        let listening = self.0.listening();
        listening.iter().map(ToString::to_string).collect()
    }

    /// Keeps a TCP link with whoever answers at an address: it is dialled again when it ends.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for an address that is none, [`FogError::Closed`].
    pub fn connect(&self, address: &str) -> Result<(), FogError> {
        guarded(|| Ok(self.0.connect(parse_address(address)?)?))
    }

    /// Keeps no link with an address any more, and ends the one it has. `false` if it kept none.
    ///
    /// # Errors
    /// As [`MeshNode::connect`].
    pub fn disconnect(&self, address: &str) -> Result<bool, FogError> {
        guarded(|| Ok(self.0.disconnect(parse_address(address)?)?))
    }

    /// Makes a link to another node of this program, without any socket.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn link_with(&self, other: &Self) -> Result<(), FogError> {
        guarded(|| Ok(self.0.link_with(&other.0)?))
    }

    /// Talks over a radio too.
    ///
    /// # Errors
    /// [`FogError::HostCallback`] if its `limits` or `attach` throw, [`FogError::MeshBusy`] for a ninth
    /// radio, [`FogError::Closed`].
    pub fn add_radio(&self, radio: Arc<dyn BleRadio>) -> Result<(), FogError> {
        guarded(|| {
            let callback = |RadioError::Host { reason }| FogError::HostCallback { message: reason };
            let limits = radio.limits().map_err(callback)?;
            let hosted = Radio {
                radio: Arc::clone(&radio),
                limits,
            };
            let (hosted, inbox) = fogcompute::host_radio(hosted);
            radio
                .attach(Arc::new(RadioInbox(inbox)))
                .map_err(callback)?;
            Ok(self.0.add_radio(hosted)?)
        })
    }

    /// Writes to everybody near; returns what the message is known by.
    ///
    /// # Errors
    /// [`FogError::InvalidMeshContent`], [`FogError::Closed`], and those of storage.
    pub fn send_public(&self, text: &str) -> Result<String, FogError> {
        guarded(|| Ok(self.0.send_public(text)?.as_str().to_owned()))
    }

    /// Writes to one peer; returns what the message is known by. It is kept, and on disk if there is a
    /// file, and sent until the peer has it or a day has passed.
    ///
    /// # Errors
    /// [`FogError::UnknownPeer`], [`FogError::InvalidMeshContent`], [`FogError::MeshBusy`],
    /// [`FogError::InvalidArgument`] for a peer that is none, [`FogError::Closed`], and those of storage.
    pub fn send_private(&self, peer: &str, text: &str) -> Result<String, FogError> {
        guarded(|| {
            let id = self.0.send_private(peer.parse()?, text)?;
            Ok(id.as_str().to_owned())
        })
    }

    /// Tells a peer that the user saw its message.
    ///
    /// # Errors
    /// [`FogError::UnknownPeer`], [`FogError::MeshBusy`], [`FogError::InvalidArgument`] for a peer that is
    /// none, [`FogError::Closed`].
    pub fn mark_read(&self, peer: &str, id: &str) -> Result<(), FogError> {
        guarded(|| Ok(self.0.mark_read(peer.parse()?, id)?))
    }

    /// Makes a group of this peer and others who are known, and invites them; returns its identifier.
    ///
    /// # Errors
    /// [`FogError::UnknownPeer`], [`FogError::InvalidMeshContent`], [`FogError::MeshBusy`],
    /// [`FogError::InvalidArgument`] for a peer that is none, [`FogError::Closed`], and those of storage.
    pub fn create_group(&self, name: &str, members: Vec<String>) -> Result<String, FogError> {
        guarded(|| {
            let members = peer_ids(&members)?;
            Ok(self.0.create_group(name, &members)?.to_string())
        })
    }

    /// Makes a group of up to 255, each of whom writes under a key of its own; returns its identifier. All
    /// have to be of this library; they are told when they are there. It is changed, written to and left
    /// as any other.
    ///
    /// # Errors
    /// [`FogError::NotUnderstood`], and those of [`MeshNode::create_group`].
    pub fn create_large_group(&self, name: &str, members: Vec<String>) -> Result<String, FogError> {
        guarded(|| {
            let members = peer_ids(&members)?;
            Ok(self.0.create_large_group(name, &members)?.to_string())
        })
    }

    /// Changes who is in a group of this peer's, and gives it another key, which those who are not in it
    /// any more do not get.
    ///
    /// # Errors
    /// [`FogError::UnknownGroup`], [`FogError::NotGroupCreator`], and those of
    /// [`MeshNode::create_group`].
    pub fn change_group(&self, group: &str, members: Vec<String>) -> Result<(), FogError> {
        guarded(|| {
            let members = peer_ids(&members)?;
            Ok(self.0.change_group(group_id(group)?, &members)?)
        })
    }

    /// Leaves a group; nobody is told. `false` if this peer is in no such group.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a group that is none, [`FogError::Closed`], and those of storage.
    pub fn leave_group(&self, group: &str) -> Result<bool, FogError> {
        guarded(|| Ok(self.0.leave_group(group_id(group)?)?))
    }

    /// Writes to a group; returns what the message is known by.
    ///
    /// # Errors
    /// [`FogError::UnknownGroup`], [`FogError::InvalidMeshContent`], [`FogError::InvalidArgument`] for a
    /// group that is none, [`FogError::Closed`], and those of storage.
    pub fn send_group(&self, group: &str, text: &str) -> Result<String, FogError> {
        guarded(|| {
            let id = self.0.send_group(group_id(group)?, text)?;
            Ok(id.as_str().to_owned())
        })
    }

    /// Groups this peer is in.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn groups(&self) -> Result<Vec<MeshGroup>, FogError> {
        guarded(|| {
            let groups = self.0.groups()?.into_iter();
            Ok(groups
                .map(|group| MeshGroup {
                    id: group.id.to_string(),
                    name: group.name,
                    members: group
                        .members
                        .iter()
                        .map(|member| member.fingerprint.peer_id().to_string())
                        .collect(),
                    is_large: group.is_large,
                })
                .collect())
        })
    }

    /// Sends a file of at most a MiB in one piece, to one peer, or without one to everybody near. It is
    /// sent once; what is lost is not sent again.
    ///
    /// # Errors
    /// [`FogError::UnknownPeer`], [`FogError::InvalidMeshContent`], [`FogError::MeshBusy`],
    /// [`FogError::InvalidArgument`] for a peer that is none, [`FogError::Closed`].
    pub fn send_file(&self, peer: Option<String>, file: MeshFile) -> Result<(), FogError> {
        guarded(|| {
            let peer = peer.map(|peer| peer.parse()).transpose()?;
            let file = file::File {
                name: file.name,
                mime: file.mime,
                content: file.content,
            };
            Ok(self.0.send_file(peer, file)?)
        })
    }

    /// Offers a file on disk of at most a GiB to a peer, which takes it in chunks, when it wants; returns
    /// what the file is known by. It is read when it is asked for: leave it as it is until then. Only
    /// peers of this library understand.
    ///
    /// # Errors
    /// [`FogError::NotUnderstood`], [`FogError::UnknownPeer`], [`FogError::InvalidMeshContent`],
    /// [`FogError::MeshBusy`], [`FogError::InvalidArgument`] for a peer that is none, [`FogError::Closed`],
    /// and those of storage.
    #[uniffi::method(default(mime = "application/octet-stream"))]
    pub fn offer_file(&self, peer: &str, path: &str, mime: &str) -> Result<String, FogError> {
        guarded(|| {
            let file = self.0.offer_file(peer.parse()?, Path::new(path), mime)?;
            Ok(file.to_string())
        })
    }

    /// Takes a file that was offered, and writes it to `path`: to `path` with `.part` behind it until it is
    /// whole.
    ///
    /// # Errors
    /// [`FogError::UnknownFile`], [`FogError::MeshBusy`], [`FogError::InvalidArgument`] for a file that is
    /// none, [`FogError::Closed`], and those of storage.
    pub fn accept_file(&self, file: &str, path: &str) -> Result<(), FogError> {
        guarded(|| Ok(self.0.accept_file(file.parse()?, Path::new(path))?))
    }

    /// Offers a file no longer, or does not take the rest of it. `false` if there is no such file.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a file that is none, [`FogError::Closed`].
    pub fn cancel_file(&self, file: &str) -> Result<bool, FogError> {
        guarded(|| Ok(self.0.cancel_file(file.parse()?)?))
    }

    /// Peers that are known.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn peers(&self) -> Result<Vec<MeshPeer>, FogError> {
        guarded(|| {
            let peers = self.0.peers()?.into_iter();
            Ok(peers
                .map(|peer| MeshPeer {
                    id: peer.id.to_string(),
                    nickname: peer.nickname,
                    noise_key: peer.noise_key.as_bytes().to_vec(),
                    is_reachable: peer.is_reachable,
                    is_linked: peer.is_linked,
                    has_session: peer.has_session,
                    has_ratchet: peer.has_ratchet,
                    neighbours: peer.neighbours.iter().map(ToString::to_string).collect(),
                })
                .collect())
        })
    }

    /// The newest messages with numbers below `before`, the newest first: all, or those of one conversation.
    /// Without a file those since the start.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a peer or a group that is none, [`FogError::Closed`], and those of
    /// storage.
    #[uniffi::method(default(limit = 100, before = None, conversation = None))]
    pub fn history(
        &self,
        limit: u32,
        before: Option<u64>,
        conversation: Option<MeshConversation>,
    ) -> Result<Vec<MeshMessage>, FogError> {
        guarded(|| {
            let (before, limit) = (before.unwrap_or(u64::MAX), limit as usize);
            let messages = match conversation {
                Some(of) => self.0.history_of(of.parse()?, before, limit)?,
                None => self.0.history(before, limit)?,
            };
            Ok(messages.into_iter().map(MeshMessage::from).collect())
        })
    }

    /// Conversations with messages, the one with the newest message first.
    ///
    /// # Errors
    /// [`FogError::Closed`], and those of storage.
    pub fn conversations(&self) -> Result<Vec<MeshConversationEntry>, FogError> {
        guarded(|| {
            let conversations = self.0.conversations()?.into_iter();
            Ok(conversations
                .map(|(conversation, newest)| MeshConversationEntry {
                    conversation: conversation.into(),
                    newest,
                })
                .collect())
        })
    }

    /// Deletes a message from the history, by its number; from here alone. `false` if there is none.
    ///
    /// # Errors
    /// [`FogError::Closed`], and those of storage.
    pub fn delete_message(&self, number: u64) -> Result<bool, FogError> {
        guarded(|| Ok(self.0.delete_message(number)?))
    }

    /// Deletes what a conversation has in the history; gives how many messages that were.
    ///
    /// # Errors
    /// As [`MeshNode::history`].
    pub fn delete_conversation(&self, conversation: MeshConversation) -> Result<u64, FogError> {
        guarded(|| Ok(self.0.delete_conversation(conversation.parse()?)?))
    }

    /// What it counted since its start.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn stats(&self) -> Result<MeshNodeStats, FogError> {
        guarded(|| {
            let stats = self.0.stats()?;
            let rules = stats.rules.iter();
            Ok(MeshNodeStats {
                links: stats.links as u64,
                bytes_in: stats.bytes_in,
                bytes_out: stats.bytes_out,
                events_dropped: stats.events_dropped,
                carried: stats.carried as u64,
                waiting: stats.waiting as u64,
                rules: rules
                    .map(|(name, count)| (name.to_owned(), count))
                    .collect(),
            })
        })
    }

    /// The next event, if one is there.
    ///
    /// # Errors
    /// [`FogError::Closed`] when there is none and none will come.
    pub fn try_receive(&self) -> Result<Option<MeshEvent>, FogError> {
        guarded(|| Ok(self.0.try_receive()?.map(MeshEvent::from)))
    }

    /// A wait for the next event, which [`MeshNode::try_receive`] then takes. In two calls, for else an
    /// event could be lost with a wait that is given up.
    pub fn readable(self: Arc<Self>) -> Arc<Readiness> {
        let closed = || MeshError::Closed.into();
        Readiness::of(&self, self.0.readable(), closed)
    }

    /// Says goodbye, lets what waits leave for at most two seconds, and ends the node. Events that came
    /// before can still be received. Closing again does nothing. Releasing the last reference closes it
    /// too.
    pub fn close(&self) {
        // Every failure of closing is a thread that has ended already.
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}
