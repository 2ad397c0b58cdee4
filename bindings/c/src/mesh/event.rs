use std::ffi::{CString, c_char};
use std::ptr;

use fogcompute::bitchat::{DeliveryState, Passing, Protection};
use fogcompute::{MeshFileEnd, MeshKind, MeshRecord};

use crate::fog_status;
use crate::support::{c_string, free, guard, reference, result};

/// What a fog_mesh_event tells. The values never change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_mesh_kind {
    /// Something that this header has no words for.
    Unknown = 0,
    /// A peer announced itself, or came back.
    PeerJoined = 1,
    /// A peer has left, or nothing was heard of it for a minute.
    PeerLeft = 2,
    /// A peer's name, capabilities or neighbours changed.
    PeerChanged = 3,
    /// There is a session: who the peer is has been proved.
    SessionReady = 4,
    /// A public message, whose sender is verified.
    Public = 5,
    /// A private message.
    Private = 6,
    /// How far a message of this node's has come.
    Delivery = 7,
    /// A file that came in one piece.
    File = 8,
    /// A part of a voice burst, as the mesh encodes it.
    Voice = 9,
    /// This peer was taken into a group, or the group changed.
    Group = 10,
    /// A message to a group.
    GroupMessage = 11,
    /// A step towards a call, as the mesh encodes it.
    Call = 12,
    /// Something private of a type that means nothing here.
    Other = 13,
    /// A peer offers a file: fog_mesh_node_accept_file() takes it.
    FileOffered = 14,
    /// A file goes on.
    FileProgress = 15,
    /// A file is whole, and on disk.
    FileReceived = 16,
    /// A file was given up.
    FileFailed = 17,
    /// A link is up.
    LinkUp = 18,
    /// A link is down.
    LinkDown = 19,
    /// A callback of a radio failed.
    RadioFailed = 20,
    /// What a neighbour did with a message of this node's.
    Passed = 21,
}

/// What a neighbour did with a message of this node's. The values never change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_passing {
    /// Something that this header has no words for.
    Unknown = 0,
    /// It was given the message.
    Given = 1,
    /// It passed the message on.
    PassedOn = 2,
    /// It says that it has the message.
    Has = 3,
    /// It carries the message until it meets the receiver.
    Carries = 4,
}

/// What a private message, or one to a group, was encrypted with. The values never change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_protection {
    /// None is to be told, or this header has no words for it.
    Unknown = 0,
    /// The keys of a session, which last up to a day, or of an envelope.
    Noise = 1,
    /// A key of its own, which is gone once it is read.
    Ratchet = 2,
    /// The key of a group, which all of its members have until it changes.
    GroupKey = 3,
    /// The key of who wrote it, which moves on with each message: that of a large group.
    SenderKey = 4,
}

/// How far a message has come. The values never change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_delivery_state {
    /// It waits: there is no link or no session.
    Waiting = 0,
    /// It left over a link.
    Sent = 1,
    /// Somebody else passes it on, or was given it to carry.
    Relayed = 2,
    /// The receiver has it.
    Delivered = 3,
    /// The receiver's user saw it.
    Read = 4,
    /// It was given up. The receiver may have it nevertheless.
    GivenUp = 5,
}

/// Why a file was given up. The values never change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_mesh_file_end {
    /// For a reason that this header has no words for.
    Unknown = 0,
    /// Who offered it does not have it any more.
    Missing = 1,
    /// Nothing of it came for too long.
    Silent = 2,
    /// It could not be written.
    Disk = 3,
}

pub(super) const fn delivery(state: DeliveryState) -> i32 {
    let state = match state {
        DeliveryState::Waiting => fog_delivery_state::Waiting,
        DeliveryState::Sent => fog_delivery_state::Sent,
        DeliveryState::Relayed => fog_delivery_state::Relayed,
        DeliveryState::Delivered => fog_delivery_state::Delivered,
        DeliveryState::Read => fog_delivery_state::Read,
        DeliveryState::GivenUp => fog_delivery_state::GivenUp,
    };
    state as i32
}

const fn number_of(kind: MeshKind) -> i32 {
    let kind = match kind {
        MeshKind::PeerJoined => fog_mesh_kind::PeerJoined,
        MeshKind::PeerLeft => fog_mesh_kind::PeerLeft,
        MeshKind::PeerChanged => fog_mesh_kind::PeerChanged,
        MeshKind::SessionReady => fog_mesh_kind::SessionReady,
        MeshKind::Public => fog_mesh_kind::Public,
        MeshKind::Private => fog_mesh_kind::Private,
        MeshKind::Delivery => fog_mesh_kind::Delivery,
        MeshKind::File => fog_mesh_kind::File,
        MeshKind::Voice => fog_mesh_kind::Voice,
        MeshKind::Group => fog_mesh_kind::Group,
        MeshKind::GroupMessage => fog_mesh_kind::GroupMessage,
        MeshKind::Call => fog_mesh_kind::Call,
        MeshKind::Other => fog_mesh_kind::Other,
        MeshKind::FileOffered => fog_mesh_kind::FileOffered,
        MeshKind::FileProgress => fog_mesh_kind::FileProgress,
        MeshKind::FileReceived => fog_mesh_kind::FileReceived,
        MeshKind::FileFailed => fog_mesh_kind::FileFailed,
        MeshKind::LinkUp => fog_mesh_kind::LinkUp,
        MeshKind::LinkDown => fog_mesh_kind::LinkDown,
        MeshKind::RadioFailed => fog_mesh_kind::RadioFailed,
        MeshKind::Passed => fog_mesh_kind::Passed,
        _ => fog_mesh_kind::Unknown,
    };
    kind as i32
}

/// What an event says. What its kind does not have is NULL, false or 0. Texts and bytes belong to the
/// event.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mesh_event_parts {
    /// A fog_mesh_kind.
    pub kind: i32,
    /// Whom it is about: who wrote, sent, offers, joined. 16 hexadecimal digits.
    pub peer: *const c_char,
    /// What a message is known by.
    pub id: *const c_char,
    /// A message's text; the name of a file, which came from somebody else: no path to write to; or why
    /// a callback of a radio failed.
    pub text: *const c_char,
    /// A file's media type.
    pub mime: *const c_char,
    /// The neighbour a message came from, if it is known: 16 hexadecimal digits.
    pub via: *const c_char,
    /// The group: 32 hexadecimal digits.
    pub group: *const c_char,
    /// What names a file that goes in chunks: 64 hexadecimal digits.
    pub file: *const c_char,
    /// Where a file is that is whole.
    pub path: *const c_char,
    /// A fog_delivery_state, of FOG_MESH_KIND_DELIVERY.
    pub state: i32,
    /// A fog_mesh_file_end, of FOG_MESH_KIND_FILE_FAILED.
    pub why: i32,
    /// A fog_passing, of FOG_MESH_KIND_PASSED.
    pub passing: i32,
    /// A fog_protection, of FOG_MESH_KIND_PRIVATE and FOG_MESH_KIND_GROUP_MESSAGE.
    pub protection: i32,
    /// Whether it is for this peer alone.
    pub is_private: bool,
    /// Whether a file goes from here.
    pub is_sent: bool,
    /// Hops that a message seems to have taken; 0 if somebody carried it. Nothing proves the number.
    pub hops: u8,
    /// When a message was written, says its writer, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Bytes of a file that have come, or were asked for and sent.
    pub done: u64,
    /// Bytes of a file.
    pub length: u64,
    /// The number of a link, of a radio (0 is the first one), or of the type of something unknown.
    pub number: u64,
    /// The content of a file that came in one piece, the key that a session proved, or the body of what
    /// is encoded.
    pub content: *const u8,
    /// How many bytes of it.
    pub content_len: usize,
}

/// Something that happened to a mesh node.
pub struct fog_mesh_event {
    record: MeshRecord,
    texts: [Option<CString>; 8],
}

impl From<fogcompute::MeshEvent> for fog_mesh_event {
    fn from(event: fogcompute::MeshEvent) -> Self {
        let record = MeshRecord::from(event);
        let owned = |text: Option<&String>| text.map(|text| c_string(text));
        let path = record.path.as_ref();
        let texts = [
            record.peer.map(|peer| c_string(&peer.to_string())),
            owned(record.id.as_ref()),
            owned(record.text.as_ref()),
            owned(record.mime.as_ref()),
            record.via.map(|via| c_string(&via.to_string())),
            record.group.map(|group| c_string(&group.to_string())),
            record.file.map(|file| c_string(&file.to_string())),
            path.map(|path| c_string(&path.to_string_lossy())),
        ];
        Self { record, texts }
    }
}

/// Puts what an event says into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param event the event
/// @param out   receives the parts, whose texts and bytes are valid until the event is freed
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_event_read(
    event: *const fog_mesh_event,
    out: *mut fog_mesh_event_parts,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (event, out) = unsafe { (reference(event, "event")?, result(out, "out")?) };
        let [peer, id, text, mime, via, group, file, path] = event
            .texts
            .each_ref()
            .map(|text| text.as_ref().map_or(ptr::null(), |text| text.as_ptr()));
        let record = &event.record;
        let why = match record.end {
            Some(MeshFileEnd::Missing) => fog_mesh_file_end::Missing,
            Some(MeshFileEnd::Silent) => fog_mesh_file_end::Silent,
            Some(MeshFileEnd::Disk) => fog_mesh_file_end::Disk,
            _ => fog_mesh_file_end::Unknown,
        };
        let passing = match record.passing {
            Some(Passing::Given) => fog_passing::Given,
            Some(Passing::PassedOn { .. }) => fog_passing::PassedOn,
            Some(Passing::Has) => fog_passing::Has,
            Some(Passing::Carries) => fog_passing::Carries,
            None => fog_passing::Unknown,
        };
        let protection = match record.protection {
            Some(Protection::Noise) => fog_protection::Noise,
            Some(Protection::Ratchet) => fog_protection::Ratchet,
            Some(Protection::GroupKey) => fog_protection::GroupKey,
            Some(Protection::SenderKey) => fog_protection::SenderKey,
            _ => fog_protection::Unknown,
        };
        out.write(fog_mesh_event_parts {
            kind: record.kind.map_or(0, number_of),
            peer,
            id,
            text,
            mime,
            via,
            group,
            file,
            path,
            state: record.state.map_or(0, delivery),
            why: why as i32,
            passing: passing as i32,
            protection: protection as i32,
            is_private: record.is_private,
            is_sent: record.is_sent,
            hops: record.hops,
            unix_ms: record.at.map_or(0, |at| at.0),
            done: record.done,
            length: record.length,
            number: record.number,
            content: if record.bytes.is_empty() {
                ptr::null()
            } else {
                record.bytes.as_ptr()
            },
            content_len: record.bytes.len(),
        });
        Ok(())
    })
}

/// Frees an event, and with it its texts and bytes.
///
/// Thread safety: no other call may use it.
/// @param event the event, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_event_free(event: *mut fog_mesh_event) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(event) }
}
