use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use fogcompute::HostRadio;
use fogcompute::transport::{
    Activity, Address, LinkEnded, RadioEvent, RadioFailure, RadioInbox, RadioLimits, RadioLink,
    Role,
};

use crate::fog_status;
use crate::support::{Failure, free, guard, optional_result, reference, slice, text};

/// What a callback of a radio returns when it refuses: fog_radio_connect_to for a peer that it does not know,
/// fog_radio_write when there is no room now.
pub const FOG_RADIO_REFUSED: i32 = 1;

/// Gives a radio its inbox. Runs once, before all others, on the thread that adds the radio.
///
/// @param user_data of the radio
/// @param inbox     where to tell what happens; free it with fog_radio_inbox_free()
/// @return 0, or anything else to fail with FOG_STATUS_HOST_CALLBACK: then the radio is not added
pub type fog_radio_attach =
    Option<unsafe extern "C" fn(user_data: *mut c_void, inbox: *mut fog_radio_inbox) -> i32>;

/// Tells a radio to be found by the service from now on and, where the system lets it, by this service
/// data. Connections of others are taken.
///
/// @param user_data of the radio
/// @param data      the service data, valid until the callback returns
/// @param data_len  its length, which may be 0
/// @return 0; FOG_RADIO_REFUSED if it never does that; anything else when it failed
pub type fog_radio_advertise =
    Option<unsafe extern "C" fn(user_data: *mut c_void, data: *const u8, data_len: usize) -> i32>;

/// Tells a radio to do something that needs nothing more said.
///
/// @param user_data of the radio
/// @return 0; FOG_RADIO_REFUSED if it never does that; anything else when it failed
pub type fog_radio_do = Option<unsafe extern "C" fn(user_data: *mut c_void) -> i32>;

/// Tells a radio to connect to a peer that was heard, as its central, unless it does already.
///
/// @param user_data of the radio
/// @param peer      the peer, as the radio named it, valid until the callback returns
/// @param peer_len  its length
/// @return 0; FOG_RADIO_REFUSED if the peer is not known; anything else when it failed
pub type fog_radio_connect_to =
    Option<unsafe extern "C" fn(user_data: *mut c_void, peer: *const u8, peer_len: usize) -> i32>;

/// Tells a radio to end a connection, of whichever role. One that is not there is not an error.
///
/// @param user_data of the radio
/// @param link      the connection
/// @return 0, or anything else when it failed
pub type fog_radio_disconnect =
    Option<unsafe extern "C" fn(user_data: *mut c_void, link: u64) -> i32>;

/// Tells a radio to write a value, as the central.
///
/// @param user_data     of the radio
/// @param link          the connection
/// @param value         the value, valid until the callback returns
/// @param value_len     its length, 1 to 512
/// @param with_response whether the peer is to answer
/// @return 0; FOG_RADIO_REFUSED if there is no room now, then fog_radio_inbox_writable() says when there
///         is; anything else when it failed, which ends the connection
pub type fog_radio_write = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        link: u64,
        value: *const u8,
        value_len: usize,
        with_response: bool,
    ) -> i32,
>;

/// Tells a radio to notify a value, as the peripheral.
///
/// @param user_data of the radio
/// @param link      the connection
/// @param value     the value, valid until the callback returns
/// @param value_len its length, 1 to 512
/// @return as of fog_radio_write
pub type fog_radio_notify = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        link: u64,
        value: *const u8,
        value_len: usize,
    ) -> i32,
>;

/// Tells a radio that its node has ended, or does not take it: end all connections and be quiet. Runs
/// once, last, if attach ran; nothing of user_data is used after it.
///
/// @param user_data of the radio
pub type fog_radio_detach = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// A Bluetooth radio with the service of BitChat, written by the host.
///
/// The service is F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C, its one characteristic
/// A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D: written with and without response, and notified. Values have at
/// most 512 bytes, and 3 less than the MTU. Over one connection they arrive whole, once and in order.
///
/// All callbacks but attach run on the node's thread, one at a time; they return at once, and what comes
/// of them is told to the inbox. One that fails is an event FOG_MESH_KIND_RADIO_FAILED: what it was
/// asked is not done, on a connection that one ends, and nothing else. They may call every function of the
/// library but fog_mesh_node_free() of their node. None may be NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_radio {
    /// Whether it scans and connects.
    pub is_central: bool,
    /// Whether it advertises and is connected to.
    pub is_peripheral: bool,
    /// Most connections at once, in both roles together.
    pub links_max: usize,
    /// Passed to all callbacks as it is; must be usable from another thread until detach. May be NULL.
    pub user_data: *mut c_void,
    /// Gives it its inbox.
    pub attach: fog_radio_attach,
    /// Be found.
    pub advertise: fog_radio_advertise,
    /// Be found no more; connections stay.
    pub stop_advertising: fog_radio_do,
    /// Look for others with the service.
    pub scan: fog_radio_do,
    /// Look no more.
    pub stop_scanning: fog_radio_do,
    /// Connect.
    pub connect: fog_radio_connect_to,
    /// End a connection.
    pub disconnect: fog_radio_disconnect,
    /// Write.
    pub write: fog_radio_write,
    /// Notify.
    pub notify: fog_radio_notify,
    /// Be quiet, for ever.
    pub detach: fog_radio_detach,
}

/// Why the callback that runs now fails, as its radio says it.
type Said = Arc<Mutex<Option<String>>>;

/// Where a radio tells what happens, from any thread. Peers are bytes, as the radio names them, at most
/// 64; connections are numbers, none of which is used twice.
pub struct fog_radio_inbox {
    inbox: RadioInbox,
    said: Said,
}

impl fog_radio_inbox {
    pub(super) const fn new(inbox: RadioInbox, said: Said) -> Self {
        Self { inbox, said }
    }
}

/// A radio whose callbacks are all there.
pub(super) struct CRadio {
    limits: RadioLimits,
    user_data: *mut c_void,
    attach: unsafe extern "C" fn(*mut c_void, *mut fog_radio_inbox) -> i32,
    advertise: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> i32,
    stop_advertising: unsafe extern "C" fn(*mut c_void) -> i32,
    scan: unsafe extern "C" fn(*mut c_void) -> i32,
    stop_scanning: unsafe extern "C" fn(*mut c_void) -> i32,
    connect: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> i32,
    disconnect: unsafe extern "C" fn(*mut c_void, u64) -> i32,
    write: unsafe extern "C" fn(*mut c_void, u64, *const u8, usize, bool) -> i32,
    notify: unsafe extern "C" fn(*mut c_void, u64, *const u8, usize) -> i32,
    detach: unsafe extern "C" fn(*mut c_void),
    said: Said,
}

// SAFETY: whoever adds a radio promises that its data may be used from another thread.
unsafe impl Send for CRadio {}

impl CRadio {
    pub(super) fn new(radio: &fog_radio) -> Result<Self, Failure> {
        fn there<T>(callback: Option<T>, name: &str) -> Result<T, Failure> {
            callback.ok_or_else(|| Failure::argument(format!("{name} of the radio is NULL")))
        }
        Ok(Self {
            limits: RadioLimits {
                is_central: radio.is_central,
                is_peripheral: radio.is_peripheral,
                links_max: radio.links_max,
            },
            user_data: radio.user_data,
            attach: there(radio.attach, "attach")?,
            advertise: there(radio.advertise, "advertise")?,
            stop_advertising: there(radio.stop_advertising, "stop_advertising")?,
            scan: there(radio.scan, "scan")?,
            stop_scanning: there(radio.stop_scanning, "stop_scanning")?,
            connect: there(radio.connect, "connect")?,
            disconnect: there(radio.disconnect, "disconnect")?,
            write: there(radio.write, "write")?,
            notify: there(radio.notify, "notify")?,
            detach: there(radio.detach, "detach")?,
            said: Said::default(),
        })
    }

    /// What is needed to give the radio its inbox when it is the library's.
    pub(super) fn attaching(&self) -> Attaching {
        Attaching {
            user_data: self.user_data,
            attach: self.attach,
            said: Arc::clone(&self.said),
        }
    }

    fn answer(&self, returned: i32, name: &str) -> Result<bool, String> {
        match returned {
            0 => Ok(true),
            FOG_RADIO_REFUSED => Ok(false),
            other => Err(why(&self.said, other, name)),
        }
    }
}

fn why(said: &Said, returned: i32, name: &str) -> String {
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    said.take()
        .unwrap_or_else(|| format!("{name} returned {returned}"))
}

/// How a radio is given its inbox.
pub(super) struct Attaching {
    user_data: *mut c_void,
    attach: unsafe extern "C" fn(*mut c_void, *mut fog_radio_inbox) -> i32,
    said: Said,
}

impl Attaching {
    pub(super) fn attach(self, inbox: RadioInbox) -> Result<(), Failure> {
        let inbox = Box::new(fog_radio_inbox::new(inbox, Arc::clone(&self.said)));
        // SAFETY: the inbox is the callback's from now on; the rest is as the caller of
        // `fog_mesh_node_add_radio` promises.
        match unsafe { (self.attach)(self.user_data, Box::into_raw(inbox)) } {
            0 => Ok(()),
            other => Err(Failure {
                status: fog_status::HostCallback,
                message: why(&self.said, other, "attach"),
            }),
        }
    }
}

impl HostRadio for CRadio {
    fn limits(&self) -> RadioLimits {
        self.limits
    }

    fn advertise(&mut self, data: &[u8]) -> Result<bool, String> {
        // SAFETY: the data outlives the call; the rest is as the caller of
        // `fog_mesh_node_add_radio` promises.
        let returned = unsafe { (self.advertise)(self.user_data, data.as_ptr(), data.len()) };
        self.answer(returned, "advertise")
    }

    fn stop_advertising(&mut self) -> Result<bool, String> {
        // SAFETY: as the caller of `fog_mesh_node_add_radio` promises.
        let returned = unsafe { (self.stop_advertising)(self.user_data) };
        self.answer(returned, "stop_advertising")
    }

    fn scan(&mut self) -> Result<bool, String> {
        // SAFETY: as above.
        let returned = unsafe { (self.scan)(self.user_data) };
        self.answer(returned, "scan")
    }

    fn stop_scanning(&mut self) -> Result<bool, String> {
        // SAFETY: as above.
        let returned = unsafe { (self.stop_scanning)(self.user_data) };
        self.answer(returned, "stop_scanning")
    }

    fn connect(&mut self, peer: &[u8]) -> Result<bool, String> {
        // SAFETY: the peer outlives the call; the rest is as above.
        let returned = unsafe { (self.connect)(self.user_data, peer.as_ptr(), peer.len()) };
        self.answer(returned, "connect")
    }

    fn disconnect(&mut self, link: u64) -> Result<bool, String> {
        // SAFETY: as above.
        let returned = unsafe { (self.disconnect)(self.user_data, link) };
        self.answer(returned, "disconnect")
    }

    fn write(&mut self, link: u64, value: &[u8], with_response: bool) -> Result<bool, String> {
        let (value, len) = (value.as_ptr(), value.len());
        // SAFETY: the value outlives the call; the rest is as above.
        let returned = unsafe { (self.write)(self.user_data, link, value, len, with_response) };
        self.answer(returned, "write")
    }

    fn notify(&mut self, link: u64, value: &[u8]) -> Result<bool, String> {
        let (value, len) = (value.as_ptr(), value.len());
        // SAFETY: the value outlives the call; the rest is as above.
        let returned = unsafe { (self.notify)(self.user_data, link, value, len) };
        self.answer(returned, "notify")
    }

    fn detach(&mut self) {
        // SAFETY: as above.
        unsafe { (self.detach)(self.user_data) };
    }
}

/// # Safety
/// As [`slice`].
unsafe fn read_peer(peer: *const u8, peer_len: usize) -> Result<Address, Failure> {
    // SAFETY: as the caller promises.
    let peer = unsafe { slice(peer, peer_len, "peer") }?;
    Address::new(peer).ok_or_else(|| Failure::argument(format!("peer has {peer_len} bytes")))
}

/// Tells what needs no more than the connection.
///
/// # Safety
/// The handle is live or NULL.
unsafe fn tell(inbox: *const fog_radio_inbox, event: RadioEvent) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let inbox = unsafe { reference(inbox, "inbox") }?;
        // All but adverts and values are taken.
        let _ = inbox.inbox.push(event);
        Ok(())
    })
}

/// Says why the callback that runs now fails: the text of its event. Call it in a callback that then
/// returns what is neither 0 nor FOG_RADIO_REFUSED.
///
/// Thread safety: the thread of the callback.
/// @param inbox  the inbox
/// @param reason the text
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_failing(
    inbox: *const fog_radio_inbox,
    reason: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (inbox, reason) = unsafe { (reference(inbox, "inbox")?, text(reason, "reason")?) };
        let mut said = inbox.said.lock().unwrap_or_else(PoisonError::into_inner);
        *said = Some(reason.to_owned());
        Ok(())
    })
}

/// Bluetooth was turned on or off. A radio begins on. When it goes off its connections have ended, and it
/// is told to advertise and to scan again when it is on.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox the inbox
/// @param is_on whether commands make sense
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_adapter(
    inbox: *const fog_radio_inbox,
    is_on: bool,
) -> fog_status {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::Adapter { is_on }) }
}

/// An advert with the service was heard.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox    the inbox
/// @param peer     the bytes that name the peer, at most 64
/// @param peer_len how many
/// @param rssi_dbm how loud, in dBm
/// @param data     the service data
/// @param data_len its length, which may be 0
/// @param taken    receives false when as much waits as may, or NULL: an advert comes again
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_discovered(
    inbox: *const fog_radio_inbox,
    peer: *const u8,
    peer_len: usize,
    rssi_dbm: i16,
    data: *const u8,
    data_len: usize,
    taken: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, and NULL or room for
        // the result.
        let (inbox, peer, data, taken) = unsafe {
            (
                reference(inbox, "inbox")?,
                read_peer(peer, peer_len)?,
                slice(data, data_len, "data")?,
                optional_result(taken),
            )
        };
        let was_taken = inbox.inbox.push(RadioEvent::Discovered {
            peer,
            rssi_dbm,
            service_data: data.to_vec(),
        });
        if let Some(taken) = taken {
            taken.write(was_taken.is_ok());
        }
        Ok(())
    })
}

/// There is a connection, which this side began (it is the central) or the other.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox      the inbox
/// @param link       its number
/// @param peer       the bytes that name the peer, at most 64
/// @param peer_len   how many
/// @param is_central whether this side began
/// @param mtu        what was agreed on so far, in bytes
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_connected(
    inbox: *const fog_radio_inbox,
    link: u64,
    peer: *const u8,
    peer_len: usize,
    is_central: bool,
    mtu: u16,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many bytes as it says.
        let peer = unsafe { read_peer(peer, peer_len) }?;
        // SAFETY: the caller passes a live handle.
        let inbox = unsafe { reference(inbox, "inbox") }?;
        // What says how a connection stands is always taken.
        let _ = inbox.inbox.push(RadioEvent::Connected {
            link: RadioLink(link),
            peer,
            role: if is_central {
                Role::Central
            } else {
                Role::Peripheral
            },
            mtu,
        });
        Ok(())
    })
}

/// A connection that was asked for could not be made.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox    the inbox
/// @param peer     the bytes that name the peer, at most 64
/// @param peer_len how many
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_connect_failed(
    inbox: *const fog_radio_inbox,
    peer: *const u8,
    peer_len: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many bytes as it says, and a live handle.
        let (peer, inbox) = unsafe { (read_peer(peer, peer_len)?, reference(inbox, "inbox")?) };
        // What says how a connection stands is always taken.
        let _ = inbox.inbox.push(RadioEvent::ConnectFailed {
            peer,
            failure: RadioFailure::TimedOut,
        });
        Ok(())
    })
}

/// Another MTU was agreed on.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox the inbox
/// @param link  the connection
/// @param mtu   the MTU, in bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_mtu_changed(
    inbox: *const fog_radio_inbox,
    link: u64,
    mtu: u16,
) -> fog_status {
    let link = RadioLink(link);
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::MtuChanged { link, mtu }) }
}

/// Notifications go now: to the peer where this side is the peripheral, from it where it is the central.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox the inbox
/// @param link  the connection
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_subscribed(
    inbox: *const fog_radio_inbox,
    link: u64,
) -> fog_status {
    let link = RadioLink(link);
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::Subscribed { link }) }
}

/// Notifications go no more.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox the inbox
/// @param link  the connection
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_unsubscribed(
    inbox: *const fog_radio_inbox,
    link: u64,
) -> fog_status {
    let link = RadioLink(link);
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::Unsubscribed { link }) }
}

/// A value came: a write to this side, or a notification.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox     the inbox
/// @param link      the connection
/// @param value     the value
/// @param value_len its length
/// @param taken     receives false when as much waits as may, or NULL: end the connection then, or do not
///                  answer the write
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_received(
    inbox: *const fog_radio_inbox,
    link: u64,
    value: *const u8,
    value_len: usize,
    taken: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, and NULL or room for
        // the result.
        let (inbox, value, taken) = unsafe {
            (
                reference(inbox, "inbox")?,
                slice(value, value_len, "value")?,
                optional_result(taken),
            )
        };
        let was_taken = inbox.inbox.push(RadioEvent::Received {
            link: RadioLink(link),
            value: value.to_vec(),
        });
        if let Some(taken) = taken {
            taken.write(was_taken.is_ok());
        }
        Ok(())
    })
}

/// After a write or notification was refused: there is room again.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox the inbox
/// @param link  the connection
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_writable(
    inbox: *const fog_radio_inbox,
    link: u64,
) -> fog_status {
    let link = RadioLink(link);
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::Writable { link }) }
}

/// A connection has ended.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox        the inbox
/// @param link         the connection
/// @param by_this_side whether this side ended it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_disconnected(
    inbox: *const fog_radio_inbox,
    link: u64,
    by_this_side: bool,
) -> fog_status {
    let link = RadioLink(link);
    let ended = if by_this_side {
        LinkEnded::Closed
    } else {
        LinkEnded::ByPeer
    };
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::Disconnected { link, ended }) }
}

/// Scanning, or advertising, ended, and not because it was told to. It is told to again after a while.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param inbox       the inbox
/// @param is_scanning whether it was scanning
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_stopped(
    inbox: *const fog_radio_inbox,
    is_scanning: bool,
) -> fog_status {
    let activity = if is_scanning {
        Activity::Scanning
    } else {
        Activity::Advertising
    };
    let failure = RadioFailure::Host;
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { tell(inbox, RadioEvent::Stopped { activity, failure }) }
}

/// Frees an inbox.
///
/// Thread safety: no other call may use it.
/// @param inbox the inbox, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_radio_inbox_free(inbox: *mut fog_radio_inbox) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(inbox) }
}
