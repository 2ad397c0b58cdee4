//! Air that is not there: radios with places, range, loss and bandwidth, all from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use fogcompute_base::{Instant, Rng};

use crate::Address;
use crate::radio::{
    BleRadio, LinkEnded, MTU_ASKED, MTU_MIN, RadioError, RadioEvent, RadioFailure, RadioInbox,
    RadioLimits, RadioLink, RadioQueue, Role, SERVICE_DATA_BYTES_MAX, WriteKind, value_bytes_max,
};

/// How loud a radio is at one metre, in dBm, and how much less it is at each doubling of the distance, in dB.
const LOUD_DBM: i16 = -46;
const DOUBLING_DB: i16 = 6;
/// How much a signal comes and goes, in dB to both sides.
const FADING_DB: u64 = 4;
/// How often a value that is answered is sent before its connection is given up.
const TRIES: u32 = 10;
/// How often an advert may come later than it should, in milliseconds. Source: Bluetooth Core 5.4, vol 6, part B,
/// 4.4.2.2.1 (advDelay).
const ADVERT_DELAY_MS: u64 = 10;

/// Where a radio is, in centimetres.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// To the east.
    pub x_cm: i32,
    /// To the north.
    pub y_cm: i32,
}

impl Position {
    fn square(self, other: Self) -> u128 {
        let along = |a: i32, b: i32| u128::from(a.abs_diff(b)).pow(2);
        along(self.x_cm, other.x_cm) + along(self.y_cm, other.y_cm)
    }

    fn rssi_dbm(self, other: Self) -> i16 {
        let metres = self.square(other).isqrt() / 100;
        let doublings = metres.max(1).ilog2();
        LOUD_DBM - DOUBLING_DB * i16::try_from(doublings).expect("a distance has few bits")
    }
}

/// How air carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AirConfig {
    /// How far a radio is heard, in centimetres.
    pub range_cm: u32,
    /// Of a thousand adverts, and of a thousand values that nobody answers, so many are lost; values that are
    /// answered, and connecting, are tried again.
    pub loss_per_mille: u16,
    /// What a radio sends, over all its connections, in bytes a second.
    pub bytes_per_second: u32,
    /// How long after it was sent a value arrives.
    pub latency: Duration,
    /// How long connecting takes if nothing is lost.
    pub connecting: Duration,
    /// How often a radio advertises.
    pub advert_interval: Duration,
    /// How long a radio that is out of range is waited for.
    pub supervision: Duration,
    /// The MTU of all connections, in bytes.
    pub mtu: u16,
    /// Most connections of one radio.
    pub links_max: usize,
    /// Values that wait to leave over one connection.
    pub waiting_max: usize,
}

impl Default for AirConfig {
    /// Phones in a street: 50 m, 25 kB/s, MTU 517, eight connections, no loss.
    fn default() -> Self {
        Self {
            range_cm: 5_000,
            loss_per_mille: 0,
            bytes_per_second: 25_000,
            latency: Duration::from_millis(15),
            connecting: Duration::from_millis(300),
            advert_interval: Duration::from_millis(250),
            supervision: Duration::from_secs(4),
            mtu: MTU_ASKED,
            links_max: 8,
            waiting_max: 8,
        }
    }
}

struct Unit {
    position: Position,
    is_on: bool,
    /// What it advertises, and which of its times to advertise this is.
    advert: Option<Vec<u8>>,
    adverts: u64,
    scans: bool,
    heard: BTreeSet<usize>,
    connecting: BTreeSet<usize>,
    free_at: Instant,
    inbox: RadioInbox,
}

/// One of two ends of a connection: the central's is 0, the peripheral's 1.
#[derive(Clone, Copy, Default)]
struct End {
    unit: usize,
    is_up: bool,
    waiting: usize,
    was_refused: bool,
}

struct Wire {
    ends: [End; 2],
    is_subscribed: bool,
    /// A write waits for its answer.
    is_asking: bool,
    /// The ends have lost each other; both will notice.
    is_broken: bool,
}

enum Due {
    Advert {
        unit: usize,
        number: u64,
    },
    Connect {
        from: usize,
        to: usize,
        tries: u32,
    },
    Subscribed {
        wire: u64,
    },
    /// The last bit has left.
    Sent {
        wire: u64,
        end: usize,
        value: Vec<u8>,
        kind: WriteKind,
        is_lost: bool,
    },
    Value {
        wire: u64,
        end: usize,
        value: Vec<u8>,
        kind: WriteKind,
    },
    Answered {
        wire: u64,
    },
    Ended {
        wire: u64,
        end: usize,
        ended: LinkEnded,
    },
}

struct Air {
    config: AirConfig,
    rng: Box<dyn Rng + Send>,
    now: Instant,
    units: Vec<Unit>,
    wires: BTreeMap<u64, Wire>,
    due: BTreeMap<(Instant, u64), Due>,
    number: u64,
    values: u64,
}

/// Air between [`VirtualRadio`]s. Clones are the same air.
///
/// Everything follows from the generator it was given and the order of calls. A radio's connections share its
/// bandwidth; radios do not disturb each other. A peripheral is told another address of its central than a scan
/// says, as phones do.
#[derive(Clone)]
pub struct VirtualAir(Arc<Mutex<Air>>);

impl VirtualAir {
    /// Air without radios. Its time is `now`.
    #[must_use]
    pub fn new(config: AirConfig, rng: impl Rng + Send + 'static, now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Air {
            config,
            rng: Box::new(rng),
            now,
            units: Vec::new(),
            wires: BTreeMap::new(),
            due: BTreeMap::new(),
            number: 0,
            values: 0,
        })))
    }

    /// Another radio, turned on.
    #[must_use]
    pub fn radio(&self, position: Position) -> VirtualRadio {
        let (inbox, queue) = RadioQueue::new();
        let mut air = self.air();
        let unit = air.units.len();
        let free_at = air.now;
        air.units.push(Unit {
            position,
            is_on: true,
            advert: None,
            adverts: 0,
            scans: false,
            heard: BTreeSet::new(),
            connecting: BTreeSet::new(),
            free_at,
            inbox,
        });
        VirtualRadio {
            air: self.clone(),
            unit,
            queue,
        }
    }

    /// Values that have arrived, over all connections.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.air().values
    }

    /// When [`VirtualAir::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.air().due.keys().next().map(|(at, _)| *at)
    }

    /// Lets everything happen that is due.
    pub fn handle_timeout(&self, now: Instant) {
        let mut air = self.air();
        while let Some(entry) = air.due.first_entry()
            && entry.key().0 <= now
        {
            let ((at, _), due) = entry.remove_entry();
            air.now = air.now.max(at);
            air.happen(due);
        }
        air.now = air.now.max(now);
    }

    fn air(&self) -> MutexGuard<'_, Air> {
        // A panic while it is held is a defect that the test which caused it shows.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Air {
    fn after(&mut self, wait: Duration, due: Due) {
        self.at(self.now + wait, due);
    }

    fn at(&mut self, at: Instant, due: Due) {
        self.number += 1;
        self.due.insert((at, self.number), due);
    }

    fn is_lost(&mut self) -> bool {
        self.rng.next_u64() % 1000 < u64::from(self.config.loss_per_mille)
    }

    fn are_near(&self, a: usize, b: usize) -> bool {
        let range = u128::from(self.config.range_cm).pow(2);
        let (a, b) = (&self.units[a], &self.units[b]);
        a.is_on && b.is_on && a.position.square(b.position) <= range
    }

    /// Says something to the program of a radio; `false` if it takes no more.
    fn say(&self, unit: usize, event: RadioEvent) -> bool {
        self.units[unit].inbox.push(event).is_ok()
    }

    fn links(&self, unit: usize) -> usize {
        let ends = self.wires.values().flat_map(|wire| wire.ends);
        let up = ends.filter(|end| end.unit == unit && end.is_up).count();
        up + self.units[unit].connecting.len()
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Advert { unit, number } => self.advert(unit, number),
            Due::Connect { from, to, tries } => self.connect(from, to, tries),
            Due::Subscribed { wire } => {
                let Some(there) = self.wires.get_mut(&wire) else {
                    return;
                };
                if there.is_broken {
                    return;
                }
                there.is_subscribed = true;
                for (end, there) in there.ends.into_iter().enumerate() {
                    if there.is_up {
                        let link = link_of(wire, end);
                        self.say(there.unit, RadioEvent::Subscribed { link });
                    }
                }
            }
            Due::Sent {
                wire,
                end,
                value,
                kind,
                is_lost,
            } => {
                let Some(there) = self.wires.get_mut(&wire) else {
                    return;
                };
                there.ends[end].waiting -= 1;
                let is_lost = is_lost || there.is_broken;
                self.tell_room(wire, end);
                if is_lost && kind == WriteKind::WithResponse {
                    self.lose(wire);
                } else if !is_lost {
                    let arrives = Due::Value {
                        wire,
                        end,
                        value,
                        kind,
                    };
                    self.after(self.config.latency, arrives);
                }
            }
            Due::Value {
                wire,
                end,
                value,
                kind,
            } => {
                let Some(there) = self.wires.get(&wire) else {
                    return;
                };
                let to = there.ends[1 - end];
                if !to.is_up || there.is_broken {
                    return;
                }
                let link = link_of(wire, 1 - end);
                if self.say(to.unit, RadioEvent::Received { link, value }) {
                    self.values += 1;
                    if kind == WriteKind::WithResponse {
                        self.after(self.config.latency, Due::Answered { wire });
                    }
                } else if kind == WriteKind::WithResponse {
                    self.lose(wire);
                }
            }
            Due::Answered { wire } => {
                if let Some(there) = self.wires.get_mut(&wire) {
                    there.is_asking = false;
                    self.tell_room(wire, 0);
                }
            }
            Due::Ended { wire, end, ended } => self.end(wire, end, ended),
        }
    }

    fn advert(&mut self, unit: usize, number: u64) {
        let here = &self.units[unit];
        let Some(service_data) = here.advert.clone().filter(|_| here.adverts == number) else {
            return;
        };
        let position = here.position;
        for other in 0..self.units.len() {
            if other == unit || !self.units[other].scans || !self.are_near(unit, other) {
                continue;
            }
            if self.is_lost() {
                continue;
            }
            let fading = i16::try_from(self.rng.next_u64() % (2 * FADING_DB + 1));
            let fading = fading.expect("it is a few dB") - FADING_DB as i16;
            let there = &mut self.units[other];
            there.heard.insert(unit);
            let event = RadioEvent::Discovered {
                peer: address_of(unit, true),
                rssi_dbm: position.rssi_dbm(there.position) + fading,
                service_data: service_data.clone(),
            };
            // Who does not listen hears the next one.
            self.say(other, event);
        }
        let delay = Duration::from_millis(self.rng.next_u64() % ADVERT_DELAY_MS);
        let again = self.config.advert_interval + delay;
        self.after(again, Due::Advert { unit, number });
    }

    fn connect(&mut self, from: usize, to: usize, tries: u32) {
        if !self.units[from].connecting.contains(&to) {
            // It was turned off meanwhile.
            return;
        }
        let is_there = self.are_near(from, to) && self.units[to].advert.is_some();
        let failure = if !is_there || tries >= TRIES {
            RadioFailure::TimedOut
        } else if self.is_lost() {
            let tries = tries + 1;
            return self.after(self.config.connecting, Due::Connect { from, to, tries });
        } else if self.links(to) >= self.config.links_max {
            RadioFailure::Refused
        } else {
            self.units[from].connecting.remove(&to);
            self.number += 1;
            let number = self.number;
            let end = |unit| End {
                unit,
                is_up: true,
                ..End::default()
            };
            let wire = Wire {
                ends: [end(from), end(to)],
                is_subscribed: false,
                is_asking: false,
                is_broken: false,
            };
            self.wires.insert(number, wire);
            for (end, role) in [Role::Central, Role::Peripheral].into_iter().enumerate() {
                let connected = RadioEvent::Connected {
                    link: link_of(number, end),
                    // A central has another address than the one it is found by.
                    peer: address_of([to, from][end], end == 0),
                    role,
                    mtu: self.config.mtu.max(MTU_MIN),
                };
                self.say([from, to][end], connected);
            }
            return self.after(self.config.latency, Due::Subscribed { wire: number });
        };
        self.units[from].connecting.remove(&to);
        let peer = address_of(to, true);
        self.say(from, RadioEvent::ConnectFailed { peer, failure });
    }

    /// Both ends will notice that they do not hear each other.
    fn lose(&mut self, wire: u64) {
        let Some(there) = self.wires.get_mut(&wire) else {
            return;
        };
        if std::mem::replace(&mut there.is_broken, true) {
            return;
        }
        for end in 0..2 {
            let ended = LinkEnded::ByPeer;
            let supervision = self.config.supervision;
            self.after(supervision, Due::Ended { wire, end, ended });
        }
    }

    fn end(&mut self, wire: u64, end: usize, ended: LinkEnded) {
        let Some(there) = self.wires.get_mut(&wire) else {
            return;
        };
        if !std::mem::replace(&mut there.ends[end].is_up, false) {
            return;
        }
        let unit = there.ends[end].unit;
        if there.ends.iter().all(|end| !end.is_up) {
            self.wires.remove(&wire);
        }
        let link = link_of(wire, end);
        self.say(unit, RadioEvent::Disconnected { link, ended });
    }

    fn tell_room(&mut self, wire: u64, end: usize) {
        let Some(there) = self.wires.get_mut(&wire) else {
            return;
        };
        let is_asking = there.is_asking && end == 0;
        let side = &mut there.ends[end];
        // Half of it free, so that not every value is news.
        let has_room = side.waiting <= self.config.waiting_max / 2 && !is_asking;
        if has_room && side.is_up && std::mem::take(&mut side.was_refused) {
            let unit = side.unit;
            let link = link_of(wire, end);
            self.say(unit, RadioEvent::Writable { link });
        }
    }

    fn send(
        &mut self,
        unit: usize,
        link: RadioLink,
        value: &[u8],
        kind: WriteKind,
        role: Role,
    ) -> Result<(), RadioError> {
        let (wire, end) = wire_of(link);
        let there = self.wires.get_mut(&wire);
        let there = there.filter(|there| there.ends[end].unit == unit && there.ends[end].is_up);
        let Some(there) = there else {
            return Err(RadioError::NotConnected { link });
        };
        if (role == Role::Central) != (end == 0) {
            return Err(RadioError::WrongRole { link });
        }
        if role == Role::Peripheral && !there.is_subscribed {
            return Err(RadioError::NotSubscribed { link });
        }
        let limit = value_bytes_max(self.config.mtu.max(MTU_MIN));
        if value.len() > limit {
            let actual = value.len();
            return Err(RadioError::TooLong { actual, limit });
        }
        let side = &mut there.ends[end];
        if side.waiting >= self.config.waiting_max.max(1) || end == 0 && there.is_asking {
            side.was_refused = true;
            return Err(RadioError::Busy { link });
        }
        side.waiting += 1;
        let is_answered = kind == WriteKind::WithResponse;
        there.is_asking |= is_answered;
        let mut tries = 1;
        let mut is_lost = self.is_lost();
        while is_answered && is_lost && tries < TRIES {
            tries += 1;
            is_lost = self.is_lost();
        }
        let bytes = u64::try_from(value.len()).unwrap_or(u64::MAX).max(1);
        let nanos = bytes.saturating_mul(1_000_000_000 * u64::from(tries))
            / u64::from(self.config.bytes_per_second.max(1));
        let here = &mut self.units[unit];
        here.free_at = here.free_at.max(self.now) + Duration::from_nanos(nanos);
        let sent = Due::Sent {
            wire,
            end,
            value: value.to_vec(),
            kind,
            is_lost,
        };
        let at = here.free_at;
        self.at(at, sent);
        Ok(())
    }

    /// The wires of a radio, with its end of each.
    fn wires_of(&self, unit: usize) -> Vec<(u64, usize)> {
        let ends = self.wires.iter().flat_map(|(wire, there)| {
            let ends = there.ends.iter().enumerate();
            ends.map(move |(end, side)| (*wire, end, side))
        });
        ends.filter(|(_, _, side)| side.unit == unit && side.is_up)
            .map(|(wire, end, _)| (wire, end))
            .collect()
    }
}

/// The ends number their connection differently: nothing may depend on what the other side calls it.
const fn link_of(wire: u64, end: usize) -> RadioLink {
    RadioLink(2 * wire + end as u64)
}

const fn wire_of(link: RadioLink) -> (u64, usize) {
    (link.0 / 2, (link.0 % 2) as usize)
}

/// What looks like a device's address: six bytes, the first of which says whether it is what scans find.
fn address_of(unit: usize, is_found: bool) -> Address {
    let mut bytes = (unit as u64).to_be_bytes();
    bytes[2] = if is_found { 0xc0 } else { 0x40 };
    Address::new(&bytes[2..]).expect("six bytes are short")
}

/// A radio in a [`VirtualAir`].
pub struct VirtualRadio {
    air: VirtualAir,
    unit: usize,
    queue: RadioQueue,
}

impl VirtualRadio {
    /// What scans of others find it by.
    #[must_use]
    pub fn address(&self) -> Address {
        address_of(self.unit, true)
    }

    /// What moves the radio and turns it off, when something else owns it.
    #[must_use]
    pub fn handle(&self) -> VirtualRadioHandle {
        VirtualRadioHandle {
            air: self.air.clone(),
            unit: self.unit,
        }
    }

    fn on(&self) -> Result<MutexGuard<'_, Air>, RadioError> {
        let air = self.air.air();
        if air.units[self.unit].is_on {
            Ok(air)
        } else {
            Err(RadioError::Off)
        }
    }
}

impl BleRadio for VirtualRadio {
    fn limits(&self) -> RadioLimits {
        RadioLimits {
            is_central: true,
            is_peripheral: true,
            links_max: self.air.air().config.links_max,
        }
    }

    fn set_waker(&mut self, waker: Waker) {
        self.queue.set_waker(waker);
    }

    fn advertise(&mut self, service_data: &[u8]) -> Result<(), RadioError> {
        let mut air = self.on()?;
        let (actual, limit) = (service_data.len(), SERVICE_DATA_BYTES_MAX);
        if actual > limit {
            return Err(RadioError::TooLong { actual, limit });
        }
        let unit = self.unit;
        let before = air.units[unit].advert.replace(service_data.to_vec());
        if before.is_none() {
            let interval = air.config.advert_interval.as_millis().max(1);
            let interval = u64::try_from(interval).unwrap_or(u64::MAX);
            let wait = Duration::from_millis(air.rng.next_u64() % interval);
            air.units[unit].adverts += 1;
            let number = air.units[unit].adverts;
            air.after(wait, Due::Advert { unit, number });
        }
        Ok(())
    }

    fn stop_advertising(&mut self) -> Result<(), RadioError> {
        self.on()?.units[self.unit].advert = None;
        Ok(())
    }

    fn scan(&mut self) -> Result<(), RadioError> {
        self.on()?.units[self.unit].scans = true;
        Ok(())
    }

    fn stop_scanning(&mut self) -> Result<(), RadioError> {
        self.on()?.units[self.unit].scans = false;
        Ok(())
    }

    fn connect(&mut self, peer: &Address) -> Result<(), RadioError> {
        let mut air = self.on()?;
        let heard = &air.units[self.unit].heard;
        let to = heard.iter().find(|unit| address_of(**unit, true) == *peer);
        let Some(to) = to.copied() else {
            return Err(RadioError::UnknownPeer { peer: peer.clone() });
        };
        let is_connected = air.wires.values().any(|wire| {
            let [central, peripheral] = wire.ends;
            central.unit == self.unit && peripheral.unit == to && central.is_up
        });
        if is_connected || air.units[self.unit].connecting.contains(&to) {
            return Ok(());
        }
        let limit = air.config.links_max;
        if air.links(self.unit) >= limit {
            return Err(RadioError::LinksFull { limit });
        }
        air.units[self.unit].connecting.insert(to);
        let connect = Due::Connect {
            from: self.unit,
            to,
            tries: 0,
        };
        let connecting = air.config.connecting;
        air.after(connecting, connect);
        Ok(())
    }

    fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError> {
        let mut air = self.air.air();
        let (wire, end) = wire_of(link);
        if air.wires_of(self.unit).contains(&(wire, end)) {
            air.end(wire, end, LinkEnded::Closed);
            let ended = Due::Ended {
                wire,
                end: 1 - end,
                ended: LinkEnded::ByPeer,
            };
            // What was given to the radio before arrives before. Who is out of range hears nothing, but notices.
            let sent = air.units[self.unit].free_at.max(air.now);
            let at = sent + air.config.latency + Duration::from_nanos(1);
            let is_broken = air.wires.get(&wire).is_some_and(|there| there.is_broken);
            if !is_broken {
                air.at(at, ended);
            }
        }
        Ok(())
    }

    fn write(&mut self, link: RadioLink, value: &[u8], kind: WriteKind) -> Result<(), RadioError> {
        let mut air = self.air.air();
        air.send(self.unit, link, value, kind, Role::Central)
    }

    fn notify(&mut self, link: RadioLink, value: &[u8]) -> Result<(), RadioError> {
        let (mut air, kind) = (self.air.air(), WriteKind::WithoutResponse);
        air.send(self.unit, link, value, kind, Role::Peripheral)
    }

    fn poll_event(&mut self) -> Option<RadioEvent> {
        self.queue.poll_event()
    }
}

/// Whoever carries a [`VirtualRadio`] around.
#[derive(Clone)]
pub struct VirtualRadioHandle {
    air: VirtualAir,
    unit: usize,
}

impl VirtualRadioHandle {
    /// Carries it elsewhere. Connections to who is out of range then break, also if it comes back meanwhile: what
    /// was on its way is lost.
    pub fn place(&self, position: Position) {
        let mut air = self.air.air();
        air.units[self.unit].position = position;
        for (wire, _) in air.wires_of(self.unit) {
            let [central, peripheral] = air.wires[&wire].ends;
            if !air.are_near(central.unit, peripheral.unit) {
                air.lose(wire);
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.air.air().units[self.unit].position
    }

    /// Turns it on or off.
    pub fn set_power(&self, is_on: bool) {
        let mut air = self.air.air();
        let unit = &mut air.units[self.unit];
        if std::mem::replace(&mut unit.is_on, is_on) == is_on {
            return;
        }
        if !is_on {
            unit.advert = None;
            unit.scans = false;
            unit.heard.clear();
            unit.connecting.clear();
            for (wire, end) in air.wires_of(self.unit) {
                air.lose(wire);
                air.end(wire, end, LinkEnded::Off);
            }
        }
        air.say(self.unit, RadioEvent::Adapter { is_on });
    }
}
