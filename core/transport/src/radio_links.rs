//! Links of a mesh over a radio: whom to connect to, when to try again, and what waits to leave.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Duration;

use fogcompute_base::{Instant, Rng};
use thiserror::Error;

use crate::Address;
use crate::radio::{
    Activity, BleRadio, LinkEnded, RADIO_EVENTS_MAX, RadioError, RadioEvent, RadioFailure,
    RadioLink, Role, WriteKind, value_bytes_max,
};

/// Habits and limits of [`RadioLinks`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RadioLinksConfig {
    /// What adverts say beside the service. The Android app says its peer's identifier, which tells everybody in
    /// range who is there without connecting; nothing needs it.
    pub service_data: Vec<u8>,
    /// Most connections that this side begins. The others are for those who begin theirs.
    pub central_links_max: usize,
    /// Fewest bytes of a frame: a connection that carries less is no link. It ends after
    /// [`RadioLinksConfig::setup_timeout`].
    pub frame_bytes_min: usize,
    /// Between two attempts to connect, at least.
    pub connect_interval: Duration,
    /// How long a connection may take until it carries frames.
    pub setup_timeout: Duration,
    /// How loud a peer must be to be connected to, in dBm.
    pub rssi_floor_dbm: i16,
    /// The same while there is no link at all.
    pub rssi_floor_alone_dbm: i16,
    /// How long an advert counts.
    pub heard_for: Duration,
    /// How long a peer is left alone after its connection failed or ended: between half of this and all of it, and
    /// twice as long after each further failure.
    pub backoff_first: Duration,
    /// The longest it is left alone.
    pub backoff_max: Duration,
    /// A link that was up for so long did not fail.
    pub settled: Duration,
    /// How long advertising or scanning waits after it failed.
    pub restart: Duration,
    /// Most bytes of frames that wait for one connection.
    pub queue_bytes_max: usize,
    /// Most peers that are remembered.
    pub peers_max: usize,
    /// How this side writes where it is the central. The apps write without response.
    pub write: WriteKind,
}

impl Default for RadioLinksConfig {
    /// What the apps do: six connections of its own, one attempt in half a second, -90 dBm.
    fn default() -> Self {
        Self {
            service_data: Vec::new(),
            central_links_max: 6,
            frame_bytes_min: 120,
            connect_interval: Duration::from_millis(500),
            setup_timeout: Duration::from_secs(15),
            rssi_floor_dbm: -90,
            rssi_floor_alone_dbm: -100,
            heard_for: Duration::from_secs(10),
            backoff_first: Duration::from_secs(2),
            backoff_max: Duration::from_secs(300),
            settled: Duration::from_secs(30),
            restart: Duration::from_secs(5),
            queue_bytes_max: 16 * 1024,
            peers_max: 512,
            write: WriteKind::WithoutResponse,
        }
    }
}

/// What the host is told, to tell its mesh.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RadioLinkEvent {
    /// A link carries frames. For the mesh it is one whose frames may come joined.
    ///
    /// It comes again for the same link if frames may become longer: what was written and not finished is lost.
    Up {
        /// Which.
        link: RadioLink,
        /// What this side is.
        role: Role,
        /// Most bytes of a frame.
        frame_bytes_max: usize,
    },
    /// A link carries nothing any more, and what waited for it is lost.
    Down {
        /// Which.
        link: RadioLink,
        /// Why.
        ended: LinkEnded,
    },
    /// A value came.
    Received {
        /// From where.
        link: RadioLink,
        /// What.
        value: Vec<u8>,
    },
    /// Nothing more should be given to a link now.
    Full {
        /// Which.
        link: RadioLink,
    },
    /// It has room again.
    Ready {
        /// Which.
        link: RadioLink,
    },
    /// Bluetooth was turned on or off.
    Adapter {
        /// Whether it is on.
        is_on: bool,
    },
    /// The radio's own code threw or panicked. What comes of it for a link is told apart from this.
    HostFailed {
        /// What it says.
        reason: String,
    },
}

/// Why a frame is not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RadioSendError {
    /// The link is not up.
    #[error("link {} is not up", link.0)]
    NotUp {
        /// Which.
        link: RadioLink,
    },
    /// The frame is longer than the link carries.
    #[error("frame of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much waits. [`RadioLinkEvent::Ready`] says when there is room.
    #[error("more than {limit} bytes would wait for link {}", link.0)]
    Full {
        /// Which.
        link: RadioLink,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RadioCounters {
    /// Connections that were tried.
    pub attempts: u64,
    /// Connections that could not be made.
    pub attempts_failed: u64,
    /// Links that came up.
    pub links: u64,
    /// Connections that were ended because the peer had another.
    pub duplicates: u64,
    /// Connections that did not carry frames in time.
    pub setups_failed: u64,
    /// Times the radio's code panicked, or said that it failed.
    pub host_failures: u64,
}

struct Peer {
    rssi_dbm: i16,
    heard: Instant,
    /// What its advert says of itself.
    says: Vec<u8>,
    /// Who it was found to be.
    who: Option<Address>,
    failures: u32,
    not_before: Instant,
}

struct Link {
    role: Role,
    peer: Address,
    mtu: u16,
    is_subscribed: bool,
    since: Instant,
    /// Most bytes of a frame, once it is up.
    frame_bytes_max: Option<usize>,
    who: Option<Address>,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    is_full: bool,
}

/// What a radio is to do, and is not doing yet.
struct Duty {
    activity: Activity,
    is_possible: bool,
    is_running: bool,
    due: Instant,
}

/// Makes links of what a radio hears, and keeps them.
///
/// It advertises and scans all the time, connects to the loudest peers it has no link with, one after the other, and
/// waits longer after each failure. Two devices that hear each other mostly end up with two connections, one begun
/// by each: their addresses do not show that they are the same. When the host says so ([`RadioLinks::identify`]),
/// the connection begun by the device with the smaller identity stays, and the other device ends its own. A peer
/// that does not know this rule loses nothing: connections that it began are never ended here for that.
///
/// Sans-IO as everything here. Whoever drives it gives it a waker, calls [`RadioLinks::handle_timeout`] when woken
/// and when [`RadioLinks::poll_timeout`] says, then takes what [`RadioLinks::poll_event`] has.
///
/// A radio whose code panics is one that failed ([`RadioError::Host`]): that command, that connection, and nothing
/// else.
pub struct RadioLinks<R> {
    radio: R,
    own: Address,
    config: RadioLinksConfig,
    is_on: bool,
    duties: [Duty; 2],
    peers: BTreeMap<Address, Peer>,
    connecting: Option<(Address, Instant)>,
    next_connect: Instant,
    links_max: usize,
    links: BTreeMap<RadioLink, Link>,
    /// Peers whose connections have ended, and whether that was a failure.
    ended: Vec<(Address, bool)>,
    /// When the radio is asked again without having called: it has more, or its code failed.
    ask_again: Option<Instant>,
    events: VecDeque<RadioLinkEvent>,
    counters: RadioCounters,
}

impl<R: BleRadio> RadioLinks<R> {
    /// Links over this radio, for somebody that peers know by `own`: the bytes of a mesh's peer identifier.
    #[must_use]
    pub fn new(radio: R, own: Address, config: RadioLinksConfig, now: Instant) -> Self {
        let mut links = Self {
            radio,
            own,
            config,
            is_on: true,
            duties: [Activity::Advertising, Activity::Scanning].map(|activity| Duty {
                activity,
                is_possible: true,
                is_running: false,
                due: now,
            }),
            peers: BTreeMap::new(),
            connecting: None,
            next_connect: now,
            links_max: usize::MAX,
            links: BTreeMap::new(),
            ended: Vec::new(),
            ask_again: None,
            events: VecDeque::new(),
            counters: RadioCounters::default(),
        };
        // A radio whose code fails here says again what it cannot do when it is asked to.
        if let Ok(limits) = links.ask(|radio| Ok(radio.limits())) {
            links.links_max = limits.links_max;
            let possible = [limits.is_peripheral, limits.is_central];
            for (duty, is_possible) in links.duties.iter_mut().zip(possible) {
                duty.is_possible = is_possible;
            }
        }
        links
    }

    /// Whom to wake when the radio has something.
    pub fn set_waker(&mut self, waker: Waker) {
        // A radio that cannot even keep a waker is found out by its first command.
        let _ = self.ask(|radio| {
            radio.set_waker(waker);
            Ok(())
        });
    }

    /// The radio.
    pub const fn radio(&mut self) -> &mut R {
        &mut self.radio
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> RadioCounters {
        self.counters
    }

    /// Links that are up, with what this side is on each.
    pub fn links(&self) -> impl Iterator<Item = (RadioLink, Role)> {
        let up = |link: &&Link| link.frame_bytes_max.is_some();
        let links = self.links.iter().filter(move |(_, link)| up(link));
        links.map(|(id, link)| (*id, link.role))
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<RadioLinkEvent> {
        self.events.pop_front()
    }

    /// Sends a frame over a link. When it was the last for now, [`RadioLinkEvent::Full`] says so.
    ///
    /// # Errors
    /// [`RadioSendError`]. Nothing is sent on an error.
    pub fn send(
        &mut self,
        link: RadioLink,
        frame: &[u8],
        now: Instant,
    ) -> Result<(), RadioSendError> {
        let bytes_max = self.config.queue_bytes_max;
        let there = self.links.get_mut(&link);
        let up = there.and_then(|there| there.frame_bytes_max.map(|limit| (there, limit)));
        let Some((there, limit)) = up else {
            return Err(RadioSendError::NotUp { link });
        };
        let actual = frame.len();
        if actual > limit {
            return Err(RadioSendError::TooLong { actual, limit });
        }
        if !there.queue.is_empty() && there.queued_bytes + actual > bytes_max {
            let limit = bytes_max;
            return Err(RadioSendError::Full { link, limit });
        }
        there.queued_bytes += actual;
        there.queue.push_back(frame.to_vec());
        if !there.is_full {
            self.flush(link, now);
        }
        Ok(())
    }

    /// Says who is at the other end of a link, as the mesh found out. One of two connections with one peer is ended,
    /// if it is for this side to end it.
    ///
    /// Who only says that it is somebody can have that one ended; it cannot keep the real one from connecting.
    pub fn identify(&mut self, link: RadioLink, who: &Address, now: Instant) {
        let Some(there) = self.links.get_mut(&link) else {
            return;
        };
        if there.who.replace(who.clone()).as_ref() == Some(who) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&there.peer) {
            peer.who = Some(who.clone());
        }
        let same = |there: &Link| there.who.as_ref() == Some(who);
        let of = |role| {
            let links = self.links.iter();
            links.filter(move |(_, link)| same(link) && link.role == role)
        };
        let mut begun: Vec<_> = of(Role::Central)
            .map(|(id, link)| (link.since, *id))
            .collect();
        begun.sort_unstable();
        // The smaller one keeps what it began; of several, all but the first are too many anyway.
        let keeps = self.own < *who || of(Role::Peripheral).next().is_none();
        for (_, link) in begun.into_iter().skip(usize::from(keeps)) {
            self.counters.duplicates += 1;
            self.close(link, LinkEnded::Closed, now);
        }
    }

    /// Ends a link, as when its peer is not wanted. It may come back.
    pub fn disconnect(&mut self, link: RadioLink, now: Instant) {
        self.close(link, LinkEnded::Closed, now);
    }

    /// When [`RadioLinks::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.is_on {
            return self.ask_again;
        }
        let duties = self.duties.iter();
        let duties = duties.filter(|duty| duty.is_possible && !duty.is_running);
        let setups = self.links.values();
        let setups = setups.filter(|link| link.frame_bytes_max.is_none());
        let connecting = self.connecting.as_ref().map(|(_, since)| *since);
        let setups = setups.map(|link| link.since).chain(connecting);
        let timeout = self.config.setup_timeout;
        let candidate = self.candidates().map(|(_, peer)| peer.not_before).min();
        duties
            .map(|duty| duty.due)
            .chain(setups.map(|since| since + timeout))
            .chain(candidate.map(|at| at.max(self.next_connect)))
            .chain(self.ask_again)
            .min()
    }

    /// Takes what the radio has, and does what is due.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut impl Rng) {
        self.take_events(now, rng);
        if !self.is_on {
            return;
        }
        for index in 0..self.duties.len() {
            self.do_duty(index, now);
        }
        let timeout = self.config.setup_timeout;
        let late: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.frame_bytes_max.is_none() && link.since + timeout <= now)
            .map(|(id, _)| *id)
            .collect();
        for link in late {
            self.counters.setups_failed += 1;
            self.close(link, LinkEnded::Failed(RadioFailure::TimedOut), now);
        }
        if let Some((peer, since)) = &self.connecting
            && *since + timeout <= now
        {
            let peer = peer.clone();
            self.connect_failed(&peer, now, rng);
        }
        for (peer, failed) in std::mem::take(&mut self.ended) {
            self.leave_alone(&peer, failed, now, rng);
        }
        self.forget(now);
        self.connect_next(now, rng);
    }

    fn take_events(&mut self, now: Instant, rng: &mut impl Rng) {
        self.ask_again = Some(now);
        for _ in 0..RADIO_EVENTS_MAX {
            match self.ask(|radio| Ok(radio.poll_event())) {
                Ok(Some(event)) => self.handle_event(event, now, rng),
                Ok(None) => {
                    self.ask_again = None;
                    return;
                }
                Err(_) => {
                    self.ask_again = Some(now + self.config.restart);
                    return;
                }
            }
        }
    }

    /// Asks the radio for something. What its code does wrong is an error like others.
    fn ask<T>(
        &mut self,
        command: impl FnOnce(&mut R) -> Result<T, RadioError>,
    ) -> Result<T, RadioError> {
        let radio = &mut self.radio;
        let done = catch_unwind(AssertUnwindSafe(|| command(radio)));
        let done = done.unwrap_or_else(|panic| {
            let reason = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Err(RadioError::Host {
                reason: reason.unwrap_or_default(),
            })
        });
        let reason = match &done {
            Err(RadioError::Host { reason }) => reason.clone(),
            Err(failed @ RadioError::Failed(RadioFailure::Host)) => failed.to_string(),
            _ => return done,
        };
        self.counters.host_failures += 1;
        self.events.push_back(RadioLinkEvent::HostFailed { reason });
        done
    }

    fn do_duty(&mut self, index: usize, now: Instant) {
        let duty = &mut self.duties[index];
        if !duty.is_possible || duty.is_running || duty.due > now {
            return;
        }
        let done = match duty.activity {
            Activity::Advertising => {
                let service_data = self.config.service_data.clone();
                self.ask(|radio| radio.advertise(&service_data))
            }
            Activity::Scanning => self.ask(BleRadio::scan),
        };
        let restart = self.config.restart;
        let duty = &mut self.duties[index];
        match done {
            Ok(()) => duty.is_running = true,
            Err(RadioError::Unsupported) => duty.is_possible = false,
            // Also when it is off: not every radio says when it is on again.
            Err(_) => duty.due = now + restart,
        }
    }

    fn handle_event(&mut self, event: RadioEvent, now: Instant, rng: &mut impl Rng) {
        match event {
            RadioEvent::Adapter { is_on } => {
                self.is_on = is_on;
                self.connecting = None;
                for duty in &mut self.duties {
                    duty.is_running = false;
                    duty.due = now;
                }
                if !is_on {
                    self.peers.clear();
                    while let Some((link, _)) = self.links.first_key_value() {
                        self.down(*link, LinkEnded::Off, now);
                    }
                }
                self.events.push_back(RadioLinkEvent::Adapter { is_on });
            }
            RadioEvent::Discovered {
                peer,
                rssi_dbm,
                service_data,
            } => self.heard(peer, rssi_dbm, service_data, now, rng),
            RadioEvent::Connected {
                link,
                peer,
                role,
                mtu,
            } => {
                if role == Role::Central && self.is_connecting(&peer) {
                    self.connecting = None;
                }
                let begun = Link {
                    role,
                    peer,
                    mtu,
                    is_subscribed: false,
                    since: now,
                    frame_bytes_max: None,
                    who: None,
                    queue: VecDeque::new(),
                    queued_bytes: 0,
                    is_full: false,
                };
                self.links.insert(link, begun);
            }
            RadioEvent::ConnectFailed { peer, .. } => self.connect_failed(&peer, now, rng),
            RadioEvent::MtuChanged { link, mtu } => {
                if let Some(there) = self.links.get_mut(&link) {
                    there.mtu = mtu;
                    self.up(link, now);
                }
            }
            RadioEvent::Subscribed { link } => {
                if let Some(there) = self.links.get_mut(&link) {
                    there.is_subscribed = true;
                    self.up(link, now);
                }
            }
            RadioEvent::Received { link, value } => {
                let up = self.links.get(&link);
                if up.is_some_and(|link| link.frame_bytes_max.is_some()) {
                    self.events
                        .push_back(RadioLinkEvent::Received { link, value });
                }
            }
            RadioEvent::Writable { link } => self.flush(link, now),
            // It takes nothing any more, and is of no use.
            RadioEvent::Unsubscribed { link } => self.close(link, LinkEnded::ByPeer, now),
            RadioEvent::Disconnected { link, ended } => self.down(link, ended, now),
            RadioEvent::Stopped { activity, .. } => {
                let restart = self.config.restart;
                let duty = self.duties.iter_mut().find(|d| d.activity == activity);
                let duty = duty.expect("there are both");
                duty.is_running = false;
                duty.due = now + restart;
            }
        }
    }

    fn is_connecting(&self, peer: &Address) -> bool {
        self.connecting.as_ref().is_some_and(|(to, _)| to == peer)
    }

    fn heard(
        &mut self,
        peer: Address,
        rssi_dbm: i16,
        says: Vec<u8>,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.heard = now;
            known.rssi_dbm = rssi_dbm;
            known.says = says;
            return;
        }
        if self.peers.len() >= self.config.peers_max.max(1) {
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.heard);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                self.peers.remove(&oldest);
            }
        }
        // Both heard each other at about the same time: one of both is the first.
        let first = jittered(self.config.connect_interval, rng);
        let new = Peer {
            rssi_dbm,
            heard: now,
            says,
            who: None,
            failures: 0,
            not_before: now + first,
        };
        self.peers.insert(peer, new);
    }

    /// Forgets who was not heard for long: addresses change, and each advert may be of a new one. Who failed, and
    /// who was found to be somebody, is remembered for longer.
    fn forget(&mut self, now: Instant) {
        let (config, links) = (&self.config, &self.links);
        self.peers.retain(|address, peer| {
            let is_of_use = peer.failures > 0 || peer.who.is_some();
            let kept = if is_of_use {
                config.backoff_max
            } else {
                config.heard_for
            };
            peer.heard.max(peer.not_before) + kept > now
                || links.values().any(|link| link.peer == *address)
        });
    }

    fn connect_failed(&mut self, peer: &Address, now: Instant, rng: &mut impl Rng) {
        if !self.is_connecting(peer) {
            return;
        }
        self.connecting = None;
        self.counters.attempts_failed += 1;
        self.leave_alone(peer, true, now, rng);
    }

    fn leave_alone(&mut self, peer: &Address, failed: bool, now: Instant, rng: &mut impl Rng) {
        let (first, longest) = (self.config.backoff_first, self.config.backoff_max);
        let Some(peer) = self.peers.get_mut(peer) else {
            return;
        };
        if !failed {
            peer.failures = 0;
        }
        let times = 1_u32.checked_shl(peer.failures).unwrap_or(u32::MAX);
        let wait = first.saturating_mul(times).min(longest);
        peer.failures = peer.failures.saturating_add(failed.into());
        peer.not_before = now + jittered(wait, rng);
    }

    /// Peers that may be connected to, as soon as it is their time. By then their adverts must not be too old.
    fn candidates(&self) -> impl Iterator<Item = (&Address, &Peer)> {
        let mut begun = usize::from(self.connecting.is_some());
        let mut is_alone = true;
        for link in self.links.values() {
            begun += usize::from(link.role == Role::Central);
            is_alone &= link.frame_bytes_max.is_none();
        }
        let has_room = self.is_on
            && self.connecting.is_none()
            && begun < self.config.central_links_max
            && self.links.len() < self.links_max
            && self.duties[1].is_possible;
        let floor = if is_alone {
            self.config.rssi_floor_alone_dbm
        } else {
            self.config.rssi_floor_dbm
        };
        let peers = self.peers.iter().filter(move |_| has_room);
        peers.filter(move |(address, peer)| {
            let due = peer.not_before.max(self.next_connect);
            let is_fresh = peer.heard + self.config.heard_for > due;
            is_fresh && peer.rssi_dbm >= floor && !self.has_link(address, peer)
        })
    }

    fn has_link(&self, address: &Address, peer: &Peer) -> bool {
        self.links.values().any(|link| {
            let is_who = |who: &Address| {
                peer.who.as_ref() == Some(who)
                    || !peer.says.is_empty() && peer.says == who.as_bytes()
            };
            link.role == Role::Central && link.peer == *address
                || link.who.as_ref().is_some_and(is_who)
        })
    }

    fn connect_next(&mut self, now: Instant, rng: &mut impl Rng) {
        if self.next_connect > now {
            return;
        }
        let loudest = self
            .candidates()
            .filter(|(_, peer)| peer.not_before <= now)
            .max_by_key(|(_, peer)| peer.rssi_dbm);
        let Some(peer) = loudest.map(|(address, _)| address.clone()) else {
            return;
        };
        self.next_connect = now + self.config.connect_interval;
        self.counters.attempts += 1;
        match self.ask(|radio| radio.connect(&peer)) {
            Ok(()) => self.connecting = Some((peer, now)),
            Err(RadioError::UnknownPeer { .. }) => {
                self.counters.attempts_failed += 1;
                self.peers.remove(&peer);
            }
            // Not the peer's fault.
            Err(RadioError::LinksFull { .. } | RadioError::Off) => {
                self.counters.attempts_failed += 1;
                self.next_connect = now + self.config.restart;
            }
            Err(_) => {
                self.counters.attempts_failed += 1;
                self.leave_alone(&peer, true, now, rng);
            }
        }
    }

    /// A connection may carry frames now, or longer ones.
    fn up(&mut self, link: RadioLink, now: Instant) {
        let Some(there) = self.links.get_mut(&link) else {
            return;
        };
        let bytes = value_bytes_max(there.mtu);
        let is_longer = there.frame_bytes_max.is_none_or(|before| bytes > before);
        if !there.is_subscribed || bytes < self.config.frame_bytes_min || !is_longer {
            return;
        }
        if there.frame_bytes_max.replace(bytes).is_none() {
            there.since = now;
            self.counters.links += 1;
        }
        let up = RadioLinkEvent::Up {
            link,
            role: there.role,
            frame_bytes_max: bytes,
        };
        self.events.push_back(up);
    }

    /// Ends a connection from this side.
    fn close(&mut self, link: RadioLink, ended: LinkEnded, now: Instant) {
        if self.links.contains_key(&link) {
            // If it fails, nothing more is done with that connection anyway.
            let _ = self.ask(|radio| radio.disconnect(link));
            self.down(link, ended, now);
        }
    }

    fn down(&mut self, link: RadioLink, ended: LinkEnded, now: Instant) {
        let Some(was) = self.links.remove(&link) else {
            return;
        };
        let is_up = was.frame_bytes_max.is_some();
        let is_settled = is_up && now.duration_since(was.since) >= self.config.settled;
        if was.role == Role::Central {
            let failed = !is_settled && ended != LinkEnded::Closed;
            self.ended.push((was.peer, failed));
        }
        if is_up {
            self.events.push_back(RadioLinkEvent::Down { link, ended });
        }
    }

    /// Gives the radio what waits, as long as it takes it.
    fn flush(&mut self, link: RadioLink, now: Instant) {
        let kind = self.config.write;
        while let Some(there) = self.links.get_mut(&link)
            && let Some(frame) = there.queue.pop_front()
        {
            there.queued_bytes -= frame.len();
            let done = match there.role {
                Role::Central => self.ask(|radio| radio.write(link, &frame, kind)),
                Role::Peripheral => self.ask(|radio| radio.notify(link, &frame)),
            };
            match done {
                Ok(()) => {}
                Err(RadioError::Busy { .. }) => {
                    let there = self.links.get_mut(&link).expect("it was just there");
                    there.queued_bytes += frame.len();
                    there.queue.push_front(frame);
                    if !std::mem::replace(&mut there.is_full, true) {
                        self.events.push_back(RadioLinkEvent::Full { link });
                    }
                    return;
                }
                Err(error) => {
                    let ended = match error {
                        RadioError::Failed(failure) => LinkEnded::Failed(failure),
                        RadioError::Off => LinkEnded::Off,
                        RadioError::NotConnected { .. } => LinkEnded::ByPeer,
                        _ => LinkEnded::Failed(RadioFailure::Host),
                    };
                    return self.close(link, ended, now);
                }
            }
        }
        if let Some(there) = self.links.get_mut(&link)
            && std::mem::take(&mut there.is_full)
        {
            self.events.push_back(RadioLinkEvent::Ready { link });
        }
    }
}

/// Between half of a time and all of it.
fn jittered(wait: Duration, rng: &mut impl Rng) -> Duration {
    let half = wait / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(rng.next_u64() % nanos)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::{
        AirConfig, MTU_ASKED, Position, RadioLimits, VirtualAir, VirtualRadio, VirtualRadioHandle,
    };

    fn name(index: usize) -> Address {
        Address::new(&[index as u8; 8]).unwrap()
    }

    /// Radios a metre from each other, and what each was told.
    struct Street {
        air: VirtualAir,
        ends: Vec<RadioLinks<VirtualRadio>>,
        handles: Vec<VirtualRadioHandle>,
        events: Vec<Vec<RadioLinkEvent>>,
        rng: ChaCha8Rng,
        now: Instant,
    }

    impl Street {
        fn new(count: usize, air: AirConfig, config: &RadioLinksConfig) -> Self {
            let now = Instant::from_millis(77);
            let rng = ChaCha8Rng::seed_from_u64(4);
            let air = VirtualAir::new(air, rng.clone(), now);
            let radios = (0..count).map(|index| {
                let x_cm = 100 * i32::try_from(index).unwrap();
                air.radio(Position { x_cm, y_cm: 0 })
            });
            let radios: Vec<_> = radios.collect();
            let handles = radios.iter().map(VirtualRadio::handle).collect();
            let ends = radios
                .into_iter()
                .enumerate()
                .map(|(index, radio)| RadioLinks::new(radio, name(index), config.clone(), now));
            Self {
                ends: ends.collect(),
                air,
                handles,
                events: vec![Vec::new(); count],
                rng,
                now,
            }
        }

        fn run(&mut self, seconds: u64) {
            let end = self.now + Duration::from_secs(seconds);
            loop {
                for (links, events) in self.ends.iter_mut().zip(&mut self.events) {
                    links.handle_timeout(self.now, &mut self.rng);
                    events.extend(std::iter::from_fn(|| links.poll_event()));
                }
                let due = self.ends.iter().filter_map(RadioLinks::poll_timeout);
                let next = due.chain(self.air.poll_timeout()).min();
                let Some(next) = next.filter(|next| *next <= end) else {
                    self.now = end;
                    return;
                };
                self.now = self.now.max(next);
                self.air.handle_timeout(self.now);
            }
        }

        fn links(&self, end: usize) -> Vec<(RadioLink, Role)> {
            self.ends[end].links().collect()
        }

        fn link(&self, end: usize) -> RadioLink {
            let [(link, _)] = self.links(end)[..] else {
                panic!("{:?}", self.links(end));
            };
            link
        }

        fn values(&mut self, end: usize) -> Vec<Vec<u8>> {
            let events = std::mem::take(&mut self.events[end]);
            let values = events.into_iter().filter_map(|event| match event {
                RadioLinkEvent::Received { value, .. } => Some(value),
                _ => None,
            });
            values.collect()
        }

        /// Each link is of the other one of two.
        fn identify(&mut self) {
            for end in 0..2 {
                for (link, _) in self.links(end) {
                    self.ends[end].identify(link, &name(1 - end), self.now);
                }
            }
        }
    }

    /// Only the first begins connections, so there is one between two.
    fn one_way(count: usize, air: AirConfig) -> Street {
        let mut street = Street::new(count, air, &RadioLinksConfig::default());
        for end in &mut street.ends[1..] {
            end.config.central_links_max = 0;
        }
        street.run(10);
        street
    }

    #[test]
    fn of_two_connections_the_one_begun_by_the_smaller_identity_stays() {
        let mut street = Street::new(2, AirConfig::default(), &RadioLinksConfig::default());
        street.run(5);
        assert_eq!((street.links(0).len(), street.links(1).len()), (2, 2));
        street.identify();
        // And none comes in its place.
        street.run(60);
        let roles = |end| -> Vec<_> { street.links(end).into_iter().map(|l| l.1).collect() };
        assert_eq!(roles(0), [Role::Central]);
        assert_eq!(roles(1), [Role::Peripheral]);
        assert_eq!(street.ends[1].counters().duplicates, 1);
        assert_eq!(street.ends[0].counters().duplicates, 0);
    }

    #[test]
    fn a_claim_ends_nothing_that_the_peer_began() {
        let mut street = one_way(3, AirConfig::default());
        // Both that the first is connected to say that they are the same.
        let links = street.links(0);
        assert_eq!(links.len(), 2);
        for (link, _) in links {
            street.ends[0].identify(link, &name(2), street.now);
        }
        assert_eq!(street.links(0).len(), 1);
        // Seen from one of them, the peer claims to be itself twice.
        let link = street.link(1);
        street.ends[1].identify(link, &name(0), street.now);
        street.ends[1].identify(link, &name(2), street.now);
        assert_eq!(street.ends[1].counters().duplicates, 0);
    }

    #[test]
    fn who_goes_away_is_found_again_when_it_is_back() {
        let mut street = Street::new(2, AirConfig::default(), &RadioLinksConfig::default());
        street.run(10);
        street.identify();
        let home = street.handles[1].position();
        street.handles[1].place(Position {
            x_cm: 1_000_000,
            y_cm: 0,
        });
        street.run(60);
        assert_eq!((street.links(0).len(), street.links(1).len()), (0, 0));
        street.handles[1].place(home);
        street.run(60);
        assert!(!street.links(0).is_empty());
    }

    #[test]
    fn what_waits_has_an_end_and_arrives_in_order() {
        let slow = AirConfig {
            waiting_max: 2,
            bytes_per_second: 1000,
            ..AirConfig::default()
        };
        let mut street = one_way(2, slow);
        street.values(1);
        let link = street.link(0);
        let limit = street.ends[0].config.queue_bytes_max;
        let mut given = 0_u32;
        let refused = loop {
            let frame = [given.to_be_bytes(); 50].concat();
            match street.ends[0].send(link, &frame, street.now) {
                Ok(()) => given += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, RadioSendError::Full { link, limit });
        assert_eq!(given as usize, limit / 200 + 2);
        assert_eq!(
            street.ends[0].poll_event(),
            Some(RadioLinkEvent::Full { link })
        );
        street.run(30);
        let numbers = street.values(1).into_iter().map(|value| value[3]);
        assert!(numbers.eq((0..given).map(|number| number as u8)));
        assert_eq!(
            street.events[0].last(),
            Some(&RadioLinkEvent::Ready { link })
        );
        let too_long = street.ends[0].send(link, &[0; 513], street.now);
        let (actual, limit) = (513, 512);
        assert_eq!(too_long, Err(RadioSendError::TooLong { actual, limit }));
    }

    #[test]
    fn a_connection_with_a_small_mtu_is_no_link_and_is_not_tried_all_the_time() {
        let small = AirConfig {
            mtu: 100,
            ..AirConfig::default()
        };
        let mut street = one_way(2, small);
        street.run(600);
        let counters = street.ends[0].counters();
        assert_eq!(counters.links, 0);
        assert!((4..=10).contains(&counters.setups_failed), "{counters:?}");
        let link = RadioLink(1);
        assert_eq!(
            street.ends[0].send(link, b"no", street.now),
            Err(RadioSendError::NotUp { link })
        );
    }

    #[test]
    fn a_radio_that_was_off_goes_on_when_it_is_on() {
        let mut street = one_way(2, AirConfig::default());
        for end in 0..2 {
            let link = street.link(end);
            street.events[end].clear();
            street.handles[end].set_power(false);
            street.run(20);
            assert_eq!(
                street.events[end],
                [
                    RadioLinkEvent::Down {
                        link,
                        ended: LinkEnded::Off
                    },
                    RadioLinkEvent::Adapter { is_on: false }
                ]
            );
            street.handles[end].set_power(true);
            street.run(20);
            street.link(end);
        }
    }

    #[test]
    fn no_more_connections_are_begun_than_may_be() {
        let config = RadioLinksConfig {
            central_links_max: 2,
            ..RadioLinksConfig::default()
        };
        let mut street = Street::new(6, AirConfig::default(), &config);
        street.run(30);
        for end in 0..6 {
            let links = street.links(end);
            let begun = links.iter().filter(|(_, role)| *role == Role::Central);
            assert_eq!(begun.count(), 2);
        }
    }

    /// A radio of another language: what it was asked, what it says, and where it panics.
    #[derive(Default)]
    struct Script {
        asked: Vec<String>,
        events: VecDeque<RadioEvent>,
        panics_on: Option<&'static str>,
    }

    #[derive(Clone, Default)]
    struct Scripted(Arc<Mutex<Script>>);

    impl Scripted {
        fn asked(&self, what: String) -> Result<(), RadioError> {
            let mut script = self.0.lock().unwrap();
            let panics = script.panics_on.is_some_and(|on| what.starts_with(on));
            script.asked.push(what);
            drop(script);
            // As a binding does when the other language throws.
            assert!(!panics, "thrown");
            Ok(())
        }

        fn say(&self, event: RadioEvent) {
            self.0.lock().unwrap().events.push_back(event);
        }

        fn take_asked(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap().asked)
        }

        fn panics_on(&self, what: Option<&'static str>) {
            self.0.lock().unwrap().panics_on = what;
        }

        /// A link that is up, as the central of the peer of this number.
        fn link(&self, number: u64) {
            let link = RadioLink(number);
            self.say(RadioEvent::Connected {
                link,
                peer: name(number as usize),
                role: Role::Central,
                mtu: MTU_ASKED,
            });
            self.say(RadioEvent::Subscribed { link });
        }

        fn discover(&self, number: usize) {
            self.say(RadioEvent::Discovered {
                peer: name(number),
                rssi_dbm: -50,
                service_data: Vec::new(),
            });
        }
    }

    impl BleRadio for Scripted {
        fn limits(&self) -> RadioLimits {
            RadioLimits {
                is_central: true,
                is_peripheral: false,
                links_max: 8,
            }
        }
        fn set_waker(&mut self, _waker: Waker) {}
        fn advertise(&mut self, _service_data: &[u8]) -> Result<(), RadioError> {
            self.asked("advertise".to_owned())
        }
        fn stop_advertising(&mut self) -> Result<(), RadioError> {
            self.asked("stop advertising".to_owned())
        }
        fn scan(&mut self) -> Result<(), RadioError> {
            self.asked("scan".to_owned())
        }
        fn stop_scanning(&mut self) -> Result<(), RadioError> {
            self.asked("stop scanning".to_owned())
        }
        fn connect(&mut self, peer: &Address) -> Result<(), RadioError> {
            self.asked(format!("connect {}", peer.as_bytes()[0]))
        }
        fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError> {
            self.asked(format!("disconnect {}", link.0))
        }
        fn write(&mut self, link: RadioLink, _: &[u8], _: WriteKind) -> Result<(), RadioError> {
            self.asked(format!("write {}", link.0))
        }
        fn notify(&mut self, link: RadioLink, _value: &[u8]) -> Result<(), RadioError> {
            self.asked(format!("notify {}", link.0))
        }
        fn poll_event(&mut self) -> Option<RadioEvent> {
            self.asked("poll".to_owned()).unwrap();
            let mut script = self.0.lock().unwrap();
            script.asked.pop();
            script.events.pop_front()
        }
    }

    struct Host {
        radio: Scripted,
        links: RadioLinks<Scripted>,
        rng: ChaCha8Rng,
        now: Instant,
    }

    impl Host {
        fn new() -> Self {
            let (radio, now) = (Scripted::default(), Instant::ZERO);
            let config = RadioLinksConfig::default();
            let links = RadioLinks::new(radio.clone(), name(100), config, now);
            let rng = ChaCha8Rng::seed_from_u64(8);
            Self {
                radio,
                links,
                rng,
                now,
            }
        }

        fn step(&mut self) -> Vec<RadioLinkEvent> {
            self.links.handle_timeout(self.now, &mut self.rng);
            std::iter::from_fn(|| self.links.poll_event()).collect()
        }

        /// Goes to the next thing that is due; says what the radio was asked, and when.
        fn next(&mut self) -> (Duration, Vec<String>) {
            self.now = self.links.poll_timeout().unwrap();
            self.step();
            (
                self.now.duration_since(Instant::ZERO),
                self.radio.take_asked(),
            )
        }
    }

    #[test]
    fn a_radio_that_panics_on_one_link_loses_that_link_and_no_other() {
        let mut host = Host::new();
        let [one, other] = [1, 2].map(RadioLink);
        host.radio.link(1);
        host.radio.link(2);
        assert_eq!(host.step().len(), 2);
        host.radio.take_asked();
        host.radio.panics_on(Some("write 1"));
        for link in [one, other] {
            host.links.send(link, b"frame", host.now).unwrap();
        }
        assert_eq!(
            host.radio.take_asked(),
            ["write 1", "disconnect 1", "write 2"]
        );
        let ended = LinkEnded::Failed(RadioFailure::Host);
        let reason = "thrown".to_owned();
        assert_eq!(
            host.step(),
            [
                RadioLinkEvent::HostFailed { reason },
                RadioLinkEvent::Down { link: one, ended }
            ]
        );
        assert_eq!(
            host.links.links().collect::<Vec<_>>(),
            [(other, Role::Central)]
        );
        assert_eq!(host.links.counters().host_failures, 1);
        // What it says of a connection that was given up is not heard.
        host.radio.say(RadioEvent::Received {
            link: one,
            value: vec![1],
        });
        assert_eq!(host.step(), []);
    }

    #[test]
    fn a_radio_that_panics_at_everything_is_asked_again_now_and_then() {
        let mut host = Host::new();
        host.radio.panics_on(Some(""));
        let told = host.step();
        assert!(!told.is_empty());
        let is_failure = |event: &_| matches!(event, RadioLinkEvent::HostFailed { .. });
        assert!(told.iter().all(is_failure), "{told:?}");
        host.radio.take_asked();
        let (at, asked) = host.next();
        assert_eq!(at, host.links.config.restart);
        assert!(asked.contains(&"scan".to_owned()));
        host.radio.panics_on(None);
        host.next();
        host.radio.link(1);
        assert!(matches!(host.step()[..], [RadioLinkEvent::Up { .. }]));
    }

    #[test]
    fn a_peer_that_fails_is_left_alone_for_longer_each_time() {
        let mut host = Host::new();
        host.radio.discover(1);
        host.step();
        assert_eq!(host.radio.take_asked(), ["scan"]);
        let (_, asked) = host.next();
        assert_eq!(asked, ["connect 1"]);
        let mut waits = Vec::new();
        for _ in 0..12 {
            host.radio.say(RadioEvent::ConnectFailed {
                peer: name(1),
                failure: RadioFailure::TimedOut,
            });
            host.step();
            let failed = host.now;
            // It is heard all the time.
            while host.radio.take_asked().is_empty() {
                host.now = host.now + Duration::from_millis(100);
                host.radio.discover(1);
                host.step();
            }
            waits.push(host.now.duration_since(failed));
        }
        let config = &host.links.config;
        for (times, wait) in waits.iter().enumerate() {
            let longest = (config.backoff_first * (1 << times)).min(config.backoff_max);
            let late = *wait - Duration::from_millis(100);
            assert!(late <= longest && *wait >= longest / 2, "{waits:?}");
        }
        assert_eq!(host.links.counters().attempts_failed, 12);
    }

    #[test]
    fn a_connection_that_is_never_made_or_never_carries_is_given_up() {
        let mut host = Host::new();
        let timeout = host.links.config.setup_timeout;
        host.radio.discover(1);
        host.step();
        host.radio.take_asked();
        let (begun, asked) = host.next();
        assert_eq!(asked, ["connect 1"]);
        let (at, _) = host.next();
        assert_eq!(at, begun + timeout);
        assert_eq!(host.links.counters().attempts_failed, 1);
        // It came after all, and never asks for notifications.
        host.radio.say(RadioEvent::Connected {
            link: RadioLink(5),
            peer: name(1),
            role: Role::Peripheral,
            mtu: MTU_ASKED,
        });
        assert_eq!(host.step(), []);
        let since = host.now;
        while host.now < since + timeout {
            host.next();
        }
        assert_eq!(host.links.counters().setups_failed, 1);
    }

    #[test]
    fn scanning_that_stopped_goes_on() {
        let mut host = Host::new();
        host.step();
        assert_eq!(host.radio.take_asked(), ["scan"]);
        host.radio.say(RadioEvent::Stopped {
            activity: Activity::Scanning,
            failure: RadioFailure::Host,
        });
        host.step();
        let (at, asked) = host.next();
        assert_eq!(
            (at, asked),
            (host.links.config.restart, vec!["scan".to_owned()])
        );
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_the_loudest_is_connected_to() {
        let mut host = Host::new();
        for number in 0..5_000_u16 {
            let rssi_dbm = -90 + i16::try_from(number % 50).unwrap();
            host.radio.say(RadioEvent::Discovered {
                peer: Address::new(&number.to_be_bytes()).unwrap(),
                rssi_dbm,
                service_data: Vec::new(),
            });
        }
        host.step();
        assert_eq!(host.links.peers.len(), host.links.config.peers_max);
        host.now = host.now + host.links.config.connect_interval;
        host.step();
        let (peer, _) = host.links.connecting.clone().unwrap();
        assert_eq!(host.links.peers[&peer].rssi_dbm, -41);
    }

    #[test]
    fn who_is_linked_is_not_connected_to_under_another_address() {
        let mut host = Host::new();
        host.radio.link(1);
        host.step();
        host.links.identify(RadioLink(1), &name(42), host.now);
        host.radio.take_asked();
        host.radio.say(RadioEvent::Discovered {
            peer: name(7),
            rssi_dbm: -40,
            service_data: vec![42; 8],
        });
        host.step();
        host.now = host.now + Duration::from_secs(5);
        host.step();
        assert_eq!(host.radio.take_asked(), [""; 0]);
    }

    #[test]
    fn a_link_whose_frames_become_longer_says_so() {
        let mut host = Host::new();
        let link = RadioLink(3);
        host.radio.say(RadioEvent::Connected {
            link,
            peer: name(1),
            role: Role::Peripheral,
            mtu: 23,
        });
        host.radio.say(RadioEvent::Subscribed { link });
        assert_eq!(host.step(), []);
        let role = Role::Peripheral;
        for (mtu, frame_bytes_max) in [(185, 182), (517, 512)] {
            host.radio.say(RadioEvent::MtuChanged { link, mtu });
            let up = RadioLinkEvent::Up {
                link,
                role,
                frame_bytes_max,
            };
            assert_eq!(host.step(), [up]);
        }
        host.radio.say(RadioEvent::MtuChanged { link, mtu: 185 });
        assert_eq!(host.step(), []);
    }
}
