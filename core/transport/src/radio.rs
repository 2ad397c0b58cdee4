//! Bluetooth Low Energy, as a program sees it: one small trait, whoever moves the bits.
//!
//! A [`BleRadio`] carries values of at most 512 bytes between neighbours: from the central of a connection by writes
//! to one characteristic, from its peripheral by notifications of the same. A node is both at once. Commands return
//! at once and say what the radio refused; what comes of them is a [`RadioEvent`].
//!
//! The trait has no clock: a radio is a device, or a simulated one that its [air](super::VirtualAir) tells the time.
//! Whoever implements it in another language queues events by a [`RadioInbox`], from whatever thread they come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use thiserror::Error;

use crate::Address;

/// The service of BitChat apps, as the bytes of its UUID: `F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C`.
pub const BITCHAT_SERVICE: [u8; 16] = 0xF47B_5E2D_4A9E_4C5A_9B3F_8E1D_2C3A_4B5C_u128.to_be_bytes();
/// Its one characteristic, which is read, written with and without response, and notified:
/// `A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D`.
pub const BITCHAT_CHARACTERISTIC: [u8; 16] =
    0xA1B2_C3D4_E5F6_4A5B_8C9D_0E1F_2A3B_4C5D_u128.to_be_bytes();

/// Longest value of an attribute, in bytes, whatever the MTU. Source: Bluetooth Core 5.4, vol 3, part F, 3.2.9.
pub const VALUE_BYTES_MAX: usize = 512;
/// The MTU of a connection before anything is agreed on, in bytes.
pub const MTU_MIN: u16 = 23;
/// The MTU that radios ask for, in bytes: what Android does.
pub const MTU_ASKED: u16 = 517;
/// Longest service data of an advert, in bytes: what a scan response of 31 has room for after the UUID.
pub const SERVICE_DATA_BYTES_MAX: usize = 13;
/// Events that wait in a [`RadioQueue`]. Adverts and values beyond it are dropped.
pub const RADIO_EVENTS_MAX: usize = 8192;
/// Bytes of values that wait in a [`RadioQueue`]. Values beyond it are dropped.
pub const RADIO_BYTES_MAX: usize = 4 << 20;

/// Most bytes of one value over a connection with this MTU: three bytes of each packet say what it is.
#[must_use]
pub const fn value_bytes_max(mtu: u16) -> usize {
    let bytes = mtu.saturating_sub(3) as usize;
    if bytes < VALUE_BYTES_MAX {
        bytes
    } else {
        VALUE_BYTES_MAX
    }
}

/// One connection, as its radio numbers them. No number is used twice while the radio lives.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RadioLink(pub u64);

/// What this side is in a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// It found the other and connected: it writes.
    Central,
    /// It was found: it notifies.
    Peripheral,
}

/// How a central writes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WriteKind {
    /// The peer answers each write: it arrives, or the connection ends. One at a time.
    WithResponse,
    /// Nobody answers. What a busy device drops is lost without a word.
    WithoutResponse,
}

/// What a radio goes on doing until it is told to stop.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Activity {
    /// Being found.
    Advertising,
    /// Looking for others.
    Scanning,
}

/// What a radio can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RadioLimits {
    /// Whether it scans and connects.
    pub is_central: bool,
    /// Whether it advertises and is connected to.
    pub is_peripheral: bool,
    /// Most connections at once, in both roles together.
    pub links_max: usize,
}

/// Why something did not work that was tried.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
pub enum RadioFailure {
    /// The system, or its user, does not permit it.
    #[error("bluetooth is not permitted")]
    Denied,
    /// There was no answer.
    #[error("no answer in time")]
    TimedOut,
    /// The peer has no room, or does not want to.
    #[error("the peer refused")]
    Refused,
    /// The peer does not have the service, or not the characteristic.
    #[error("the peer does not have the service")]
    NoService,
    /// The other side answered with an error of the attribute protocol.
    #[error("attribute error {status:#04x}")]
    Attribute {
        /// Its number. Source: Bluetooth Core 5.4, vol 3, part F, 3.4.1.1.
        status: u8,
    },
    /// The radio's own code failed: it threw, it panicked, or its service has gone.
    #[error("the radio's code failed")]
    Host,
}

/// Why a command is refused. Nothing was done.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RadioError {
    /// Bluetooth is off. [`RadioEvent::Adapter`] says when it is on.
    #[error("bluetooth is off")]
    Off,
    /// This radio never does that ([`BleRadio::limits`]).
    #[error("this radio does not do that")]
    Unsupported,
    /// Nothing was heard of such a peer, or too long ago. Scan.
    #[error("nothing was heard of {peer}")]
    UnknownPeer {
        /// Who.
        peer: Address,
    },
    /// There are as many connections as there may be. End one.
    #[error("{limit} connections are open already")]
    LinksFull {
        /// The limit.
        limit: usize,
    },
    /// There is no such connection (any more).
    #[error("connection {} is not open", link.0)]
    NotConnected {
        /// Which.
        link: RadioLink,
    },
    /// A central writes, a peripheral notifies.
    #[error("this side of connection {} is the other role", link.0)]
    WrongRole {
        /// Which.
        link: RadioLink,
    },
    /// The peer did not ask for notifications yet. [`RadioEvent::Subscribed`] says when it does.
    #[error("the peer of connection {} takes no notifications yet", link.0)]
    NotSubscribed {
        /// Which.
        link: RadioLink,
    },
    /// The value, or the service data, is longer than the radio carries.
    #[error("value of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much waits to leave. [`RadioEvent::Writable`] says when there is room.
    #[error("too much waits on connection {}", link.0)]
    Busy {
        /// Which.
        link: RadioLink,
    },
    /// It was tried, and failed at once.
    #[error(transparent)]
    Failed(#[from] RadioFailure),
    /// The radio's own code threw or panicked.
    #[error("the radio's code failed: {reason}")]
    Host {
        /// What it says.
        reason: String,
    },
}

/// Why a connection ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LinkEnded {
    /// This side ended it.
    Closed,
    /// The peer ended it, or went out of range: not every system says which.
    ByPeer,
    /// Bluetooth was turned off here.
    Off,
    /// It could not go on.
    Failed(RadioFailure),
}

/// What happened.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RadioEvent {
    /// Bluetooth was turned on or off. A radio begins on; one that is off says so first.
    ///
    /// When it goes off, its connections have ended, mostly by [`LinkEnded::Off`], and it neither advertises nor scans until
    /// it is told to again.
    Adapter {
        /// Whether commands make sense.
        is_on: bool,
    },
    /// An advert with the service was heard. It may come for each advert.
    Discovered {
        /// Who, for [`BleRadio::connect`]. Phones change their addresses; one is good for minutes.
        peer: Address,
        /// How loud, in dBm.
        rssi_dbm: i16,
        /// What the advert says beside the service, or nothing. Anybody can say anything.
        service_data: Vec<u8>,
    },
    /// There is a connection, which this side or the other began. A central can write.
    Connected {
        /// Its number.
        link: RadioLink,
        /// Who. What a peripheral is told here need not be what a scan says of the same device.
        peer: Address,
        /// What this side is.
        role: Role,
        /// What was agreed on so far, in bytes.
        mtu: u16,
    },
    /// A connection that was asked for could not be made.
    ConnectFailed {
        /// With whom.
        peer: Address,
        /// Why.
        failure: RadioFailure,
    },
    /// Another MTU was agreed on.
    MtuChanged {
        /// Where.
        link: RadioLink,
        /// The MTU, in bytes.
        mtu: u16,
    },
    /// Notifications go now: to the peer where this side is the peripheral, from it where it is the central.
    Subscribed {
        /// Where.
        link: RadioLink,
    },
    /// They go no more.
    Unsubscribed {
        /// Where.
        link: RadioLink,
    },
    /// A value came: a write to this side, or a notification.
    Received {
        /// Over which connection.
        link: RadioLink,
        /// The value.
        value: Vec<u8>,
    },
    /// After [`RadioError::Busy`]: there is room again.
    Writable {
        /// Where.
        link: RadioLink,
    },
    /// A connection has ended.
    Disconnected {
        /// Which.
        link: RadioLink,
        /// Why.
        ended: LinkEnded,
    },
    /// Advertising or scanning ended, and not because it was told to. Connections stay.
    Stopped {
        /// What.
        activity: Activity,
        /// Why.
        failure: RadioFailure,
    },
}

/// A Bluetooth radio with one service and one characteristic.
///
/// What it promises, and [`radio_conformance`](macro@super::radio_conformance) tests:
///
/// - Over one connection values arrive whole, once, and in the order they were given. One
///   [with response](WriteKind::WithResponse) arrives or the connection ends; others may be lost.
/// - A connection that a central begins ends in [`RadioEvent::Connected`] or [`RadioEvent::ConnectFailed`], after at
///   most half a minute, or Bluetooth is turned off. Before the first it has agreed on an MTU and found the
///   characteristic; after it, it asks for notifications and says [`RadioEvent::Subscribed`].
/// - Nothing comes of a connection after its [`RadioEvent::Disconnected`].
/// - What goes wrong on one connection ends that one and no other.
///
/// Commands are quick: they do not wait for the air.
pub trait BleRadio: Send {
    /// What it can do. It does not change.
    fn limits(&self) -> RadioLimits;

    /// Whom to wake when [`BleRadio::poll_event`] has something, having had nothing. The last one counts.
    fn set_waker(&mut self, waker: Waker);

    /// Can be found from now on, by the service and, where the system lets it, this service data (which may be
    /// empty). Called again, it changes the data.
    ///
    /// # Errors
    /// [`RadioError::Off`], [`RadioError::Unsupported`], [`RadioError::TooLong`] above
    /// [`SERVICE_DATA_BYTES_MAX`], [`RadioError::Failed`].
    fn advertise(&mut self, service_data: &[u8]) -> Result<(), RadioError>;

    /// Can not be found any more. Connections stay.
    ///
    /// # Errors
    /// [`RadioError::Off`], [`RadioError::Unsupported`], [`RadioError::Failed`].
    fn stop_advertising(&mut self) -> Result<(), RadioError>;

    /// Looks for others with the service.
    ///
    /// # Errors
    /// [`RadioError::Off`], [`RadioError::Unsupported`], [`RadioError::Failed`].
    fn scan(&mut self) -> Result<(), RadioError>;

    /// Looks no more.
    ///
    /// # Errors
    /// [`RadioError::Off`], [`RadioError::Unsupported`], [`RadioError::Failed`].
    fn stop_scanning(&mut self) -> Result<(), RadioError>;

    /// Connects to a peer that was heard, as its central, unless it does already.
    ///
    /// # Errors
    /// [`RadioError::Off`], [`RadioError::Unsupported`], [`RadioError::UnknownPeer`], [`RadioError::LinksFull`],
    /// [`RadioError::Failed`].
    fn connect(&mut self, peer: &Address) -> Result<(), RadioError>;

    /// Ends a connection, of whichever role. [`RadioEvent::Disconnected`] says when it has; one that is not there
    /// is not an error.
    ///
    /// # Errors
    /// [`RadioError::Failed`].
    fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError>;

    /// Writes a value of at least one byte, as the central.
    ///
    /// # Errors
    /// [`RadioError::NotConnected`], [`RadioError::WrongRole`], [`RadioError::TooLong`] above
    /// [`value_bytes_max`], [`RadioError::Busy`], [`RadioError::Failed`].
    fn write(&mut self, link: RadioLink, value: &[u8], kind: WriteKind) -> Result<(), RadioError>;

    /// Notifies a value of at least one byte, as the peripheral.
    ///
    /// # Errors
    /// Those of [`BleRadio::write`], and [`RadioError::NotSubscribed`].
    fn notify(&mut self, link: RadioLink, value: &[u8]) -> Result<(), RadioError>;

    /// What happened next.
    fn poll_event(&mut self) -> Option<RadioEvent>;
}

impl<R: BleRadio + ?Sized> BleRadio for Box<R> {
    fn limits(&self) -> RadioLimits {
        (**self).limits()
    }

    fn set_waker(&mut self, waker: Waker) {
        (**self).set_waker(waker);
    }

    fn advertise(&mut self, service_data: &[u8]) -> Result<(), RadioError> {
        (**self).advertise(service_data)
    }

    fn stop_advertising(&mut self) -> Result<(), RadioError> {
        (**self).stop_advertising()
    }

    fn scan(&mut self) -> Result<(), RadioError> {
        (**self).scan()
    }

    fn stop_scanning(&mut self) -> Result<(), RadioError> {
        (**self).stop_scanning()
    }

    fn connect(&mut self, peer: &Address) -> Result<(), RadioError> {
        (**self).connect(peer)
    }

    fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError> {
        (**self).disconnect(link)
    }

    fn write(&mut self, link: RadioLink, value: &[u8], kind: WriteKind) -> Result<(), RadioError> {
        (**self).write(link, value, kind)
    }

    fn notify(&mut self, link: RadioLink, value: &[u8]) -> Result<(), RadioError> {
        (**self).notify(link, value)
    }

    fn poll_event(&mut self) -> Option<RadioEvent> {
        (**self).poll_event()
    }
}

/// An event was not taken: as many wait as may.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("too many events wait")]
pub struct RadioInboxFull;

#[derive(Default)]
struct Waiting {
    events: VecDeque<RadioEvent>,
    bytes: usize,
    waker: Option<Waker>,
}

/// Where the code that hears of events puts them, on any thread.
#[derive(Clone, Default)]
pub struct RadioInbox(Arc<Mutex<Waiting>>);

/// Where a [`BleRadio`] takes them from.
#[derive(Default)]
pub struct RadioQueue(RadioInbox);

impl RadioQueue {
    /// A queue, and the other end of it.
    #[must_use]
    pub fn new() -> (RadioInbox, Self) {
        let inbox = RadioInbox::default();
        (inbox.clone(), Self(inbox))
    }

    /// As [`BleRadio::poll_event`].
    pub fn poll_event(&mut self) -> Option<RadioEvent> {
        let mut waiting = self.0.waiting();
        let event = waiting.events.pop_front()?;
        waiting.bytes -= bytes_of(&event);
        Some(event)
    }

    /// As [`BleRadio::set_waker`]. Wakes it at once if something waits.
    pub fn set_waker(&mut self, waker: Waker) {
        let mut waiting = self.0.waiting();
        let wakes = !waiting.events.is_empty();
        waiting.waker = Some(waker.clone());
        drop(waiting);
        if wakes {
            waker.wake();
        }
    }
}

impl RadioInbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the queue, so it is as it should be.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event. What says how a connection stands is always taken; there are few connections.
    ///
    /// # Errors
    /// [`RadioInboxFull`] for adverts and values above [`RADIO_EVENTS_MAX`] or [`RADIO_BYTES_MAX`]. An advert comes
    /// again. A value that the peer was to get an answer for must not be answered, or its connection ended.
    pub fn push(&self, event: RadioEvent) -> Result<(), RadioInboxFull> {
        let bytes = bytes_of(&event);
        let mut waiting = self.waiting();
        let can_be_dropped = matches!(
            event,
            RadioEvent::Discovered { .. } | RadioEvent::Received { .. }
        );
        let is_full = waiting.events.len() >= RADIO_EVENTS_MAX
            || waiting.bytes.saturating_add(bytes) > RADIO_BYTES_MAX;
        if can_be_dropped && is_full {
            return Err(RadioInboxFull);
        }
        waiting.bytes += bytes;
        waiting.events.push_back(event);
        let waker = waiting.waker.clone().filter(|_| waiting.events.len() == 1);
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

fn bytes_of(event: &RadioEvent) -> usize {
    match event {
        RadioEvent::Received { value, .. } => value.len(),
        RadioEvent::Discovered { service_data, .. } => service_data.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const LINK: RadioLink = RadioLink(1);

    fn received(length: usize) -> RadioEvent {
        RadioEvent::Received {
            link: LINK,
            value: vec![0; length],
        }
    }

    #[test]
    fn the_mtu_and_the_attribute_limit_a_value() {
        let of = |mtu| value_bytes_max(mtu);
        assert_eq!((of(0), of(MTU_MIN), of(514), of(515)), (0, 20, 511, 512));
        assert_eq!(of(MTU_ASKED), VALUE_BYTES_MAX);
    }

    #[test]
    fn who_waits_is_woken_once_until_it_has_looked() {
        let woken = Arc::new(Woken::default());
        let count = || woken.0.load(Ordering::Relaxed);
        let (inbox, mut queue) = RadioQueue::new();
        inbox.push(RadioEvent::Writable { link: LINK }).unwrap();
        queue.set_waker(Waker::from(Arc::clone(&woken)));
        assert_eq!(count(), 1);
        inbox.push(received(3)).unwrap();
        assert_eq!(count(), 1);
        assert_eq!(
            queue.poll_event(),
            Some(RadioEvent::Writable { link: LINK })
        );
        assert_eq!(queue.poll_event(), Some(received(3)));
        assert_eq!(queue.poll_event(), None);
        inbox.push(received(3)).unwrap();
        assert_eq!(count(), 2);
    }

    #[test]
    fn what_nobody_takes_has_an_end_and_the_end_of_a_link_is_always_told() {
        let (inbox, mut queue) = RadioQueue::new();
        let taken = std::iter::repeat_with(|| inbox.push(received(VALUE_BYTES_MAX)))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(taken, RADIO_BYTES_MAX / VALUE_BYTES_MAX);
        let ended = RadioEvent::Disconnected {
            link: LINK,
            ended: LinkEnded::ByPeer,
        };
        inbox.push(ended.clone()).unwrap();
        let last = std::iter::from_fn(|| queue.poll_event()).last();
        assert_eq!(last, Some(ended));
        inbox.push(received(VALUE_BYTES_MAX)).unwrap();
    }
}
