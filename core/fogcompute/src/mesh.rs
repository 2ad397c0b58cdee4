//! A peer of the mesh, for languages whose enums have no fields and whose radios are objects.

use std::path::PathBuf;
use std::task::Waker;

use fogcompute_base::{Digest, UnixMillis};
use fogcompute_mesh::group::GroupId;
use fogcompute_mesh::{DeliveryState, Event, Passing, PeerId, Protection};
use fogcompute_node::{MeshEvent, MeshFileEnd};
use fogcompute_transport::{
    Address, BleRadio, RadioError, RadioEvent, RadioInbox, RadioLimits, RadioLink, RadioQueue,
    WriteKind,
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
    /// The code of a radio threw or panicked.
    RadioFailed,
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
            Self::RadioFailed => "radio_failed",
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
    /// A message's text, the name of a file, or what the code of a radio says.
    pub text: Option<String>,
    /// A file's media type.
    pub mime: Option<String>,
    /// When a message was written, says its writer.
    pub at: Option<UnixMillis>,
    /// The neighbour a message came from, if it is known.
    pub via: Option<PeerId>,
    /// What a message to one peer or to a group was encrypted with.
    pub protection: Option<Protection>,
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
    /// The number of a link or a radio, or the type of something unknown.
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
            MeshEvent::RadioFailed { radio, reason } => Self {
                number: radio,
                text: Some(reason),
                ..of(MeshKind::RadioFailed)
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
            protection,
        } => MeshRecord {
            id: Some(id.as_str().to_owned()),
            text: Some(text),
            via,
            hops,
            protection: Some(protection),
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
            protection,
        } => MeshRecord {
            group: Some(group),
            via,
            hops,
            id: Some(id.as_str().to_owned()),
            text: Some(text),
            at: Some(timestamp),
            protection: Some(protection),
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
/// Each command returns at once. An error says what its code threw: it is one for that command, on a connection for
/// that connection, and for nothing else, and is told as [`MeshKind::RadioFailed`]. `false` means that it refuses: a
/// write that has to wait for room ([`RadioEvent::Writable`]), a peer that it does not know, something that it never
/// does.
pub trait HostRadio: Send {
    /// What it can do, asked before it was made one of ours: nothing can fail here.
    fn limits(&self) -> RadioLimits;
    /// Can be found from now on, with this service data.
    ///
    /// # Errors
    /// What its code threw.
    fn advertise(&mut self, service_data: &[u8]) -> Result<bool, String>;
    /// Can not be found any more.
    ///
    /// # Errors
    /// What its code threw.
    fn stop_advertising(&mut self) -> Result<bool, String>;
    /// Looks for others with the service.
    ///
    /// # Errors
    /// What its code threw.
    fn scan(&mut self) -> Result<bool, String>;
    /// Looks no more.
    ///
    /// # Errors
    /// What its code threw.
    fn stop_scanning(&mut self) -> Result<bool, String>;
    /// Connects to a peer that was heard, as its central.
    ///
    /// # Errors
    /// What its code threw.
    fn connect(&mut self, peer: &[u8]) -> Result<bool, String>;
    /// Ends a connection.
    ///
    /// # Errors
    /// What its code threw.
    fn disconnect(&mut self, link: u64) -> Result<bool, String>;
    /// Writes a value, as the central, with or without an answer.
    ///
    /// # Errors
    /// What its code threw.
    fn write(&mut self, link: u64, value: &[u8], with_response: bool) -> Result<bool, String>;
    /// Notifies a value, as the peripheral.
    ///
    /// # Errors
    /// What its code threw.
    fn notify(&mut self, link: u64, value: &[u8]) -> Result<bool, String>;
    /// Nobody wants anything of it any more: ends all it does. Called once, last.
    fn detach(&mut self);
}

/// Makes a radio of one that another language wrote, and of the other end of its inbox.
#[must_use]
pub fn host_radio(radio: impl HostRadio + 'static) -> (Box<dyn BleRadio>, RadioInbox) {
    let (inbox, queue) = RadioQueue::new();
    (Box::new(Hosted { radio, queue }), inbox)
}

struct Hosted<R: HostRadio> {
    radio: R,
    queue: RadioQueue,
}

impl<R: HostRadio> Drop for Hosted<R> {
    fn drop(&mut self) {
        self.radio.detach();
    }
}

/// What a command's outcome is, and what its refusal means.
fn outcome(
    done: Result<bool, String>,
    refusal: impl FnOnce() -> RadioError,
) -> Result<(), RadioError> {
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(refusal()),
        Err(reason) => Err(RadioError::Host { reason }),
    }
}

impl<R: HostRadio> BleRadio for Hosted<R> {
    fn limits(&self) -> RadioLimits {
        self.radio.limits()
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says the same to everything, and counts how often it was let go.
    struct Says(Result<bool, String>, Arc<AtomicUsize>);

    impl HostRadio for Says {
        fn limits(&self) -> RadioLimits {
            RadioLimits {
                is_central: true,
                is_peripheral: false,
                links_max: 7,
            }
        }
        fn advertise(&mut self, _: &[u8]) -> Result<bool, String> {
            self.0.clone()
        }
        fn stop_advertising(&mut self) -> Result<bool, String> {
            self.0.clone()
        }
        fn scan(&mut self) -> Result<bool, String> {
            self.0.clone()
        }
        fn stop_scanning(&mut self) -> Result<bool, String> {
            self.0.clone()
        }
        fn connect(&mut self, _: &[u8]) -> Result<bool, String> {
            self.0.clone()
        }
        fn disconnect(&mut self, _: u64) -> Result<bool, String> {
            self.0.clone()
        }
        fn write(&mut self, _: u64, _: &[u8], _: bool) -> Result<bool, String> {
            self.0.clone()
        }
        fn notify(&mut self, _: u64, _: &[u8]) -> Result<bool, String> {
            self.0.clone()
        }
        fn detach(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_hosts_radio_does_refuses_or_fails_and_tells_through_its_inbox() {
        let (link, peer) = (RadioLink(3), Address::new(b"peer").unwrap());
        let reason = "thrown".to_owned();
        let failed = RadioError::Host {
            reason: reason.clone(),
        };
        for (says, written, connected) in [
            (Ok(true), Ok(()), Ok(())),
            (
                Ok(false),
                Err(RadioError::Busy { link }),
                Err(RadioError::UnknownPeer { peer: peer.clone() }),
            ),
            (Err(reason), Err(failed.clone()), Err(failed)),
        ] {
            let let_go = Arc::new(AtomicUsize::new(0));
            let (mut radio, inbox) = host_radio(Says(says, Arc::clone(&let_go)));
            assert_eq!(radio.write(link, b"x", WriteKind::WithoutResponse), written);
            assert_eq!(radio.notify(link, b"x"), written);
            assert_eq!(radio.connect(&peer), connected);
            assert_eq!(radio.limits().links_max, 7);
            let event = RadioEvent::Subscribed { link };
            inbox.push(event.clone()).unwrap();
            assert_eq!(radio.poll_event(), Some(event));
            assert_eq!(let_go.load(Ordering::Relaxed), 0);
            drop(radio);
            assert_eq!(let_go.load(Ordering::Relaxed), 1);
        }
    }
}
