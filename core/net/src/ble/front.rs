//! What both radios have in common: what is asked of them is checked here at once, and done on another thread.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use fogcompute_transport::{
    Activity, Address, LinkEnded, RadioError, RadioEvent, RadioFailure, RadioInbox, RadioLimits,
    RadioLink, RadioQueue, Role, SERVICE_DATA_BYTES_MAX, WriteKind, value_bytes_max,
};
use tokio::sync::mpsc;

use super::OpenRadioError;

/// Connections: what common controllers have room for.
const LINKS_MAX: usize = 8;
/// Values that wait to leave over one connection.
const WAITING_MAX: usize = 8;
/// Devices that are known to have been heard.
const HEARD_MAX: usize = 1024;

/// What the radio's thread is to do.
#[derive(Debug)]
pub(super) enum Command {
    #[cfg_attr(
        not(feature = "ble-linux"),
        expect(dead_code, reason = "a central does not advertise")
    )]
    Advertise,
    #[cfg_attr(
        not(feature = "ble-linux"),
        expect(dead_code, reason = "a central does not advertise")
    )]
    StopAdvertising,
    Scan,
    StopScanning,
    Connect(Address),
    Disconnect(RadioLink),
}

/// A value on its way out.
pub(super) struct Outgoing {
    pub(super) value: Vec<u8>,
    pub(super) kind: WriteKind,
}

struct Link {
    peer: Address,
    role: Role,
    mtu: u16,
    is_subscribed: bool,
    waiting: usize,
    was_refused: bool,
    /// It was told to end.
    is_closing: bool,
    values: mpsc::UnboundedSender<Outgoing>,
}

struct State {
    is_on: bool,
    is_peripheral: bool,
    links: BTreeMap<RadioLink, Link>,
    number: u64,
    heard: BTreeSet<Address>,
    connecting: BTreeSet<Address>,
}

/// The thread's side.
#[derive(Clone)]
pub(super) struct Back {
    state: Arc<Mutex<State>>,
    inbox: RadioInbox,
}

/// The caller's side.
pub(super) struct Front {
    back: Back,
    queue: RadioQueue,
    commands: mpsc::UnboundedSender<Command>,
}

/// Starts a radio's thread: `run` says by the channel whether there is a radio, and then serves commands until
/// there are no more.
pub(super) fn open<F, R>(is_peripheral: bool, run: F) -> Result<Front, OpenRadioError>
where
    F: FnOnce(Back, mpsc::UnboundedReceiver<Command>, Ready) -> R + Send + 'static,
    R: Future<Output = ()>,
{
    let (inbox, queue) = RadioQueue::new();
    let back = Back {
        state: Arc::new(Mutex::new(State {
            is_on: true,
            is_peripheral,
            links: BTreeMap::new(),
            number: 0,
            heard: BTreeSet::new(),
            connecting: BTreeSet::new(),
        })),
        inbox,
    };
    let (commands, receiver) = mpsc::unbounded_channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let its = back.clone();
    std::thread::Builder::new()
        .name("bluetooth".to_owned())
        .spawn(move || {
            runtime.block_on(run(its.clone(), receiver, ready));
            its.gone();
        })?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(Front {
            back,
            queue,
            commands,
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(OpenRadioError::NoAdapter),
    }
}

pub(super) type Ready = std::sync::mpsc::Sender<Result<(), OpenRadioError>>;

impl Front {
    pub(super) fn limits(&self) -> RadioLimits {
        RadioLimits {
            is_central: true,
            is_peripheral: self.back.state().is_peripheral,
            links_max: LINKS_MAX,
        }
    }

    pub(super) fn set_waker(&mut self, waker: Waker) {
        self.queue.set_waker(waker);
    }

    pub(super) fn poll_event(&mut self) -> Option<RadioEvent> {
        self.queue.poll_event()
    }

    #[cfg(feature = "ble-linux")]
    pub(super) fn advertise(&self, service_data: &[u8]) -> Result<(), RadioError> {
        let (actual, limit) = (service_data.len(), SERVICE_DATA_BYTES_MAX);
        if actual > limit {
            return Err(RadioError::TooLong { actual, limit });
        }
        self.ask(Command::Advertise)
    }

    /// Asks for something that only makes sense while Bluetooth is on.
    pub(super) fn ask(&self, command: Command) -> Result<(), RadioError> {
        if !self.back.state().is_on {
            return Err(RadioError::Off);
        }
        self.send(command)
    }

    fn send(&self, command: Command) -> Result<(), RadioError> {
        let sent = self.commands.send(command);
        // The thread has ended: D-Bus has gone.
        sent.map_err(|_| RadioError::Failed(RadioFailure::Host))
    }

    pub(super) fn connect(&self, peer: &Address) -> Result<(), RadioError> {
        let mut state = self.back.state();
        if !state.is_on {
            return Err(RadioError::Off);
        }
        if !state.heard.contains(peer) {
            return Err(RadioError::UnknownPeer { peer: peer.clone() });
        }
        let is_connected = state
            .links
            .values()
            .any(|link| link.role == Role::Central && link.peer == *peer && !link.is_closing);
        if is_connected || state.connecting.contains(peer) {
            return Ok(());
        }
        if state.links.len() + state.connecting.len() >= LINKS_MAX {
            return Err(RadioError::LinksFull { limit: LINKS_MAX });
        }
        state.connecting.insert(peer.clone());
        drop(state);
        self.send(Command::Connect(peer.clone()))
    }

    pub(super) fn disconnect(&self, link: RadioLink) -> Result<(), RadioError> {
        let mut state = self.back.state();
        let is_new = state
            .links
            .get_mut(&link)
            .is_some_and(|link| !std::mem::replace(&mut link.is_closing, true));
        drop(state);
        if is_new {
            self.send(Command::Disconnect(link))
        } else {
            Ok(())
        }
    }

    pub(super) fn give(
        &self,
        link: RadioLink,
        value: &[u8],
        kind: WriteKind,
        role: Role,
    ) -> Result<(), RadioError> {
        let mut state = self.back.state();
        let there = state.links.get_mut(&link).filter(|link| !link.is_closing);
        let Some(there) = there else {
            return Err(RadioError::NotConnected { link });
        };
        if there.role != role {
            return Err(RadioError::WrongRole { link });
        }
        if role == Role::Peripheral && !there.is_subscribed {
            return Err(RadioError::NotSubscribed { link });
        }
        let (actual, limit) = (value.len(), value_bytes_max(there.mtu));
        if actual > limit {
            return Err(RadioError::TooLong { actual, limit });
        }
        if there.waiting >= WAITING_MAX {
            there.was_refused = true;
            return Err(RadioError::Busy { link });
        }
        let value = value.to_vec();
        if there.values.send(Outgoing { value, kind }).is_err() {
            // Its end is about to be told.
            return Err(RadioError::NotConnected { link });
        }
        there.waiting += 1;
        Ok(())
    }
}

impl Back {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the state, so it is as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something that must not be lost, or may be: adverts come again.
    fn say(&self, event: RadioEvent) {
        let _ = self.inbox.push(event);
    }

    pub(super) fn power(&self, is_on: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_on, is_on) == is_on {
            return;
        }
        state.heard.clear();
        state.connecting.clear();
        let links = std::mem::take(&mut state.links);
        drop(state);
        for link in links.into_keys() {
            let ended = LinkEnded::Off;
            self.say(RadioEvent::Disconnected { link, ended });
        }
        self.say(RadioEvent::Adapter { is_on });
    }

    /// The thread ends: so does everything.
    fn gone(&self) {
        self.power(false);
    }

    pub(super) fn heard(&self, peer: Address, rssi_dbm: i16, service_data: Vec<u8>) {
        let mut state = self.state();
        if !state.is_on || state.heard.len() >= HEARD_MAX && !state.heard.contains(&peer) {
            return;
        }
        state.heard.insert(peer.clone());
        drop(state);
        self.say(RadioEvent::Discovered {
            peer,
            rssi_dbm,
            service_data,
        });
    }

    /// BlueZ has forgotten a device.
    pub(super) fn forgotten(&self, peer: &Address) {
        self.state().heard.remove(peer);
    }

    pub(super) fn connect_failed(&self, peer: Address, failure: RadioFailure) {
        if self.state().connecting.remove(&peer) {
            self.say(RadioEvent::ConnectFailed { peer, failure });
        }
    }

    /// There is a connection: gives its number, and where its values come from. `None` if it is not wanted any more.
    pub(super) fn connected(
        &self,
        peer: &Address,
        role: Role,
        mtu: u16,
    ) -> Option<(RadioLink, mpsc::UnboundedReceiver<Outgoing>)> {
        let mut state = self.state();
        let was_asked = role == Role::Peripheral || state.connecting.remove(peer);
        if !state.is_on || !was_asked {
            return None;
        }
        state.number += 1;
        let link = RadioLink(state.number);
        let (values, receiver) = mpsc::unbounded_channel();
        let new = Link {
            peer: peer.clone(),
            role,
            mtu,
            is_subscribed: false,
            waiting: 0,
            was_refused: false,
            is_closing: false,
            values,
        };
        state.links.insert(link, new);
        drop(state);
        self.say(RadioEvent::Connected {
            link,
            peer: peer.clone(),
            role,
            mtu,
        });
        Some((link, receiver))
    }

    pub(super) fn subscribed(&self, link: RadioLink) {
        if let Some(there) = self.state().links.get_mut(&link) {
            there.is_subscribed = true;
        } else {
            return;
        }
        self.say(RadioEvent::Subscribed { link });
    }

    /// A value came; `false` if it was not taken.
    pub(super) fn received(&self, link: RadioLink, value: Vec<u8>) -> bool {
        let is_open = |link: &Link| !link.is_closing;
        let is_open = self.state().links.get(&link).is_some_and(is_open);
        is_open
            && self
                .inbox
                .push(RadioEvent::Received { link, value })
                .is_ok()
    }

    /// A value has left.
    pub(super) fn left(&self, link: RadioLink) {
        let mut state = self.state();
        let Some(there) = state.links.get_mut(&link) else {
            return;
        };
        there.waiting = there.waiting.saturating_sub(1);
        let has_room = there.waiting <= WAITING_MAX / 2;
        let is_news = has_room && std::mem::take(&mut there.was_refused);
        drop(state);
        if is_news {
            self.say(RadioEvent::Writable { link });
        }
    }

    pub(super) fn ended(&self, link: RadioLink, ended: LinkEnded) {
        let Some(was) = self.state().links.remove(&link) else {
            return;
        };
        let ended = if was.is_closing {
            LinkEnded::Closed
        } else {
            ended
        };
        self.say(RadioEvent::Disconnected { link, ended });
    }

    pub(super) fn peer_of(&self, link: RadioLink) -> Option<Address> {
        let state = self.state();
        state.links.get(&link).map(|link| link.peer.clone())
    }

    /// Connections with a device, in whichever role.
    pub(super) fn links_of(&self, peer: &Address) -> Vec<(RadioLink, Role)> {
        let state = self.state();
        let links = state.links.iter().filter(|(_, link)| link.peer == *peer);
        links.map(|(id, link)| (*id, link.role)).collect()
    }

    pub(super) fn stopped(&self, activity: Activity, failure: RadioFailure) {
        self.say(RadioEvent::Stopped { activity, failure });
    }
}

/// The trait, by way of a [`Front`]: the two radios differ in what their threads do.
macro_rules! radio_of_front {
    ($radio:ty) => {
        fn limits(&self) -> RadioLimits {
            self.front.limits()
        }

        fn set_waker(&mut self, waker: Waker) {
            self.front.set_waker(waker);
        }

        fn scan(&mut self) -> Result<(), RadioError> {
            self.front.ask(Command::Scan)
        }

        fn stop_scanning(&mut self) -> Result<(), RadioError> {
            self.front.ask(Command::StopScanning)
        }

        fn connect(&mut self, peer: &Address) -> Result<(), RadioError> {
            self.front.connect(peer)
        }

        fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError> {
            self.front.disconnect(link)
        }

        fn write(
            &mut self,
            link: RadioLink,
            value: &[u8],
            kind: WriteKind,
        ) -> Result<(), RadioError> {
            self.front.give(link, value, kind, Role::Central)
        }

        fn poll_event(&mut self) -> Option<RadioEvent> {
            self.front.poll_event()
        }
    };
}
pub(super) use radio_of_front;
