//! A peer of the mesh, for languages whose enums have no fields and whose radios are objects.

use std::path::PathBuf;
use std::task::Waker;

use fogcompute_base::{Digest, UnixMillis};
use fogcompute_mesh::group::GroupId;
use fogcompute_mesh::{DeliveryState, Event, Passing, PeerId};
use fogcompute_node::{MeshEvent, MeshFileEnd};
use fogcompute_transport::{
    Address, BleRadio, RadioError, RadioEvent, RadioFailure, RadioInbox, RadioLimits, RadioLink,
    RadioQueue, WriteKind,
};

/// What a [`MeshRecord`] tells.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MeshKind {
    /// A peer announced itself, or came back.
    PeerJoined,
    /// A peer has left, or nothing was heard of it for a minute.
    PeerLeft,
    /// A peer's name, capabilities or neighbours changed.
    PeerChanged,
    /// There is a session: who the peer is has been proved.
    SessionReady,
    /// A public message, whose sender is verified.
    Public,
    /// A private message.
    Private,
    /// How far a message of ours has come.
    Delivery,
    /// What a neighbour did with a message of ours.
    Passed,
    /// A file that came in one piece.
    File,
    /// A part of a voice burst, as the mesh encodes it.
    Voice,
    /// This peer was taken into a group, or the group changed.
    Group,
    /// A message to a group.
    GroupMessage,
    /// A step towards a call, as the mesh encodes it.
    Call,
    /// Something private of a type that means nothing here.
    Other,
    /// A peer offers a file.
    FileOffered,
    /// A file goes on.
    FileProgress,
    /// A file is whole, and on disk.
    FileReceived,
    /// A file was given up.
    FileFailed,
    /// A link is up.
    LinkUp,
    /// A link is down.
    LinkDown,
}

impl MeshKind {
    /// Its name in lower case, as in `peer_joined`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerJoined => "peer_joined",
            Self::PeerLeft => "peer_left",
            Self::PeerChanged => "peer_changed",
            Self::SessionReady => "session_ready",
            Self::Public => "public",
            Self::Private => "private",
            Self::Delivery => "delivery",
            Self::Passed => "passed",
            Self::File => "file",
            Self::Voice => "voice",
            Self::Group => "group",
            Self::GroupMessage => "group_message",
            Self::Call => "call",
            Self::Other => "other",
            Self::FileOffered => "file_offered",
            Self::FileProgress => "file_progress",
            Self::FileReceived => "file_received",
            Self::FileFailed => "file_failed",
            Self::LinkUp => "link_up",
            Self::LinkDown => "link_down",
        }
    }
}

/// A [`MeshEvent`] with its parts side by side; those that its kind has not are `None`, 0 or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshRecord {
    /// What it tells.
    pub kind: Option<MeshKind>,
    /// Whom it is about: who wrote, sent, offers, joined.
    pub peer: Option<PeerId>,
    /// What a message is known by.
    pub id: Option<String>,
    /// A message's text, or the name of a file.
    pub text: Option<String>,
    /// A file's media type.
    pub mime: Option<String>,
    /// When a message was written, says its writer.
    pub at: Option<UnixMillis>,
    /// The neighbour a message came from, if it is known.
    pub via: Option<PeerId>,
    /// Hops that a message seems to have taken; 0 if somebody carried it.
    pub hops: u8,
    /// How far a message of ours has come.
    pub state: Option<DeliveryState>,
    /// What a neighbour did with a message of ours.
    pub passing: Option<Passing>,
    /// The group.
    pub group: Option<GroupId>,
    /// What names a file that is offered.
    pub file: Option<Digest>,
    /// Whether a file or a voice is for this peer alone.
    pub is_private: bool,
    /// Whether a file goes from here.
    pub is_sent: bool,
    /// Bytes of a file that have come or gone.
    pub done: u64,
    /// Bytes of a file.
    pub length: u64,
    /// Where a file is.
    pub path: Option<PathBuf>,
    /// Why a file was given up.
    pub end: Option<MeshFileEnd>,
    /// The content of a file in one piece; the body of what is encoded.
    pub bytes: Vec<u8>,
    /// The number of a link, or the type of something unknown.
    pub number: u64,
}

impl From<MeshEvent> for MeshRecord {
    fn from(event: MeshEvent) -> Self {
        match event {
            MeshEvent::Mesh(event) => of_rules(event),
            MeshEvent::FileOffered {
                from,
                file,
                title,
                mime,
                length,
            } => Self {
                text: Some(title),
                mime: Some(mime),
                length,
                file: Some(file),
                ..about(MeshKind::FileOffered, from)
            },
            MeshEvent::FileProgress {
                file,
                peer,
                is_sent,
                done,
                length,
            } => Self {
                file: Some(file),
                is_sent,
                done,
                length,
                ..about(MeshKind::FileProgress, peer)
            },
            MeshEvent::FileReceived { file, from, path } => Self {
                file: Some(file),
                path: Some(path),
                ..about(MeshKind::FileReceived, from)
            },
            MeshEvent::FileFailed { file, end } => Self {
                file: Some(file),
                end: Some(end),
                ..of(MeshKind::FileFailed)
            },
            MeshEvent::LinkUp { link } => Self {
                number: link,
                ..of(MeshKind::LinkUp)
            },
            MeshEvent::LinkDown { link } => Self {
                number: link,
                ..of(MeshKind::LinkDown)
            },
            _ => Self::default(),
        }
    }
}

fn of(kind: MeshKind) -> MeshRecord {
    MeshRecord {
        kind: Some(kind),
        ..MeshRecord::default()
    }
}

fn about(kind: MeshKind, peer: PeerId) -> MeshRecord {
    MeshRecord {
        peer: Some(peer),
        ..of(kind)
    }
}

fn of_rules(event: Event) -> MeshRecord {
    match event {
        Event::PeerJoined { peer } => about(MeshKind::PeerJoined, peer),
        Event::PeerLeft { peer } => about(MeshKind::PeerLeft, peer),
        Event::PeerChanged { peer } => about(MeshKind::PeerChanged, peer),
        Event::SessionReady { peer, key } => MeshRecord {
            bytes: key.as_bytes().to_vec(),
            ..about(MeshKind::SessionReady, peer)
        },
        Event::Public {
            id,
            from,
            text,
            timestamp,
            via,
            hops,
        } => MeshRecord {
            id: Some(id.as_str().to_owned()),
            text: Some(text),
            at: Some(timestamp),
            via,
            hops,
            ..about(MeshKind::Public, from)
        },
        Event::Private {
            id,
            from,
            text,
            via,
            hops,
        } => MeshRecord {
            id: Some(id.as_str().to_owned()),
            text: Some(text),
            via,
            hops,
            is_private: true,
            ..about(MeshKind::Private, from)
        },
        Event::Delivery { id, state } => MeshRecord {
            id: Some(id.as_str().to_owned()),
            state: Some(state),
            ..of(MeshKind::Delivery)
        },
        Event::Passed { id, by, how } => MeshRecord {
            id: Some(id.as_str().to_owned()),
            hops: match how {
                Passing::PassedOn { hops } => hops,
                _ => 0,
            },
            passing: Some(how),
            ..about(MeshKind::Passed, by)
        },
        Event::File {
            from,
            private,
            file,
        } => MeshRecord {
            text: file.name,
            mime: file.mime,
            length: file.content.len() as u64,
            bytes: file.content,
            is_private: private,
            ..about(MeshKind::File, from)
        },
        Event::Voice {
            from,
            private,
            frame,
        } => MeshRecord {
            bytes: frame.encode().unwrap_or_default(),
            is_private: private,
            ..about(MeshKind::Voice, from)
        },
        Event::Group { group, creator } => MeshRecord {
            group: Some(group),
            ..about(MeshKind::Group, creator.peer_id())
        },
        Event::GroupMessage {
            group,
            id,
            from,
            text,
            timestamp,
            via,
            hops,
        } => MeshRecord {
            group: Some(group),
            via,
            hops,
            id: Some(id.as_str().to_owned()),
            text: Some(text),
            at: Some(timestamp),
            ..about(MeshKind::GroupMessage, from.peer_id())
        },
        Event::Call { from, signal } => MeshRecord {
            bytes: signal.encode().unwrap_or_default(),
            is_private: true,
            ..about(MeshKind::Call, from)
        },
        Event::Other { from, kind, body } => MeshRecord {
            bytes: body,
            number: kind.into(),
            is_private: true,
            ..about(MeshKind::Other, from)
        },
        _ => MeshRecord::default(),
    }
}

/// A radio as another language writes it: what happens goes to a [`RadioInbox`].
///
/// Each method returns at once. `None` means that its code failed: for that command, or on a connection for that
/// connection, and for nothing else. `Some(false)` means that it refuses: a write that has to wait for room
/// ([`RadioEvent::Writable`]), a peer that it does not know, something that it never does.
pub trait HostRadio: Send {
    /// Whether it scans and connects, whether it advertises and is connected to, and most connections at once.
    fn limits(&self) -> Option<(bool, bool, usize)>;
    /// Can be found from now on, with this service data.
    fn advertise(&mut self, service_data: &[u8]) -> Option<bool>;
    /// Can not be found any more.
    fn stop_advertising(&mut self) -> Option<bool>;
    /// Looks for others with the service.
    fn scan(&mut self) -> Option<bool>;
    /// Looks no more.
    fn stop_scanning(&mut self) -> Option<bool>;
    /// Connects to a peer that was heard, as its central.
    fn connect(&mut self, peer: &[u8]) -> Option<bool>;
    /// Ends a connection.
    fn disconnect(&mut self, link: u64) -> Option<bool>;
    /// Writes a value, as the central, with or without an answer.
    fn write(&mut self, link: u64, value: &[u8], with_response: bool) -> Option<bool>;
    /// Notifies a value, as the peripheral.
    fn notify(&mut self, link: u64, value: &[u8]) -> Option<bool>;
}

/// Makes a radio of one that another language wrote, and of the other end of its inbox.
#[must_use]
pub fn host_radio(radio: impl HostRadio + 'static) -> (Box<dyn BleRadio>, RadioInbox) {
    let (inbox, queue) = RadioQueue::new();
    (Box::new(Hosted { radio, queue }), inbox)
}

struct Hosted<R> {
    radio: R,
    queue: RadioQueue,
}

/// What a command's outcome is, and what its refusal means.
fn outcome(done: Option<bool>, refusal: impl FnOnce() -> RadioError) -> Result<(), RadioError> {
    match done {
        Some(true) => Ok(()),
        Some(false) => Err(refusal()),
        None => Err(RadioError::Failed(RadioFailure::Host)),
    }
}

impl<R: HostRadio> BleRadio for Hosted<R> {
    fn limits(&self) -> RadioLimits {
        let (is_central, is_peripheral, links_max) = self.radio.limits().unwrap_or_default();
        RadioLimits {
            is_central,
            is_peripheral,
            links_max,
        }
    }

    fn set_waker(&mut self, waker: Waker) {
        self.queue.set_waker(waker);
    }

    fn advertise(&mut self, service_data: &[u8]) -> Result<(), RadioError> {
        outcome(self.radio.advertise(service_data), || {
            RadioError::Unsupported
        })
    }

    fn stop_advertising(&mut self) -> Result<(), RadioError> {
        outcome(self.radio.stop_advertising(), || RadioError::Unsupported)
    }

    fn scan(&mut self) -> Result<(), RadioError> {
        outcome(self.radio.scan(), || RadioError::Unsupported)
    }

    fn stop_scanning(&mut self) -> Result<(), RadioError> {
        outcome(self.radio.stop_scanning(), || RadioError::Unsupported)
    }

    fn connect(&mut self, peer: &Address) -> Result<(), RadioError> {
        let peer = peer.clone();
        outcome(self.radio.connect(peer.as_bytes()), || {
            RadioError::UnknownPeer { peer }
        })
    }

    fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError> {
        outcome(self.radio.disconnect(link.0), || RadioError::NotConnected {
            link,
        })
    }

    fn write(&mut self, link: RadioLink, value: &[u8], kind: WriteKind) -> Result<(), RadioError> {
        let with_response = kind == WriteKind::WithResponse;
        let written = self.radio.write(link.0, value, with_response);
        outcome(written, || RadioError::Busy { link })
    }

    fn notify(&mut self, link: RadioLink, value: &[u8]) -> Result<(), RadioError> {
        outcome(self.radio.notify(link.0, value), || RadioError::Busy {
            link,
        })
    }

    fn poll_event(&mut self) -> Option<RadioEvent> {
        self.queue.poll_event()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same to everything.
    struct Says(Option<bool>);

    impl HostRadio for Says {
        fn limits(&self) -> Option<(bool, bool, usize)> {
            self.0.map(|says| (says, says, 7))
        }
        fn advertise(&mut self, _: &[u8]) -> Option<bool> {
            self.0
        }
        fn stop_advertising(&mut self) -> Option<bool> {
            self.0
        }
        fn scan(&mut self) -> Option<bool> {
            self.0
        }
        fn stop_scanning(&mut self) -> Option<bool> {
            self.0
        }
        fn connect(&mut self, _: &[u8]) -> Option<bool> {
            self.0
        }
        fn disconnect(&mut self, _: u64) -> Option<bool> {
            self.0
        }
        fn write(&mut self, _: u64, _: &[u8], _: bool) -> Option<bool> {
            self.0
        }
        fn notify(&mut self, _: u64, _: &[u8]) -> Option<bool> {
            self.0
        }
    }

    #[test]
    fn a_hosts_radio_does_refuses_or_fails_and_tells_through_its_inbox() {
        let (link, peer) = (RadioLink(3), Address::new(b"peer").unwrap());
        for (says, written, connected) in [
            (Some(true), Ok(()), Ok(())),
            (
                Some(false),
                Err(RadioError::Busy { link }),
                Err(RadioError::UnknownPeer { peer: peer.clone() }),
            ),
            (
                None,
                Err(RadioError::Failed(RadioFailure::Host)),
                Err(RadioError::Failed(RadioFailure::Host)),
            ),
        ] {
            let (mut radio, inbox) = host_radio(Says(says));
            assert_eq!(radio.write(link, b"x", WriteKind::WithoutResponse), written);
            assert_eq!(radio.notify(link, b"x"), written);
            assert_eq!(radio.connect(&peer), connected);
            assert_eq!(radio.limits().is_central, says == Some(true));
            let event = RadioEvent::Subscribed { link };
            inbox.push(event.clone()).unwrap();
            assert_eq!(radio.poll_event(), Some(event));
        }
    }
}
