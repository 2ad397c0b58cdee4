//! The rules with their links and their file, and the thread that drives them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use fogcompute_base::{Clock, CryptoRng, Digest, Instant, OsEntropy, UnixMillis};
use fogcompute_mesh::connection::{CONNECTION, Connections};
use fogcompute_mesh::history::{Change, Conversation, HistoryLimits, Message};
use fogcompute_mesh::{Content, DeliveryState, Event, LinkConfig, LinkId, MessageId, Node, PeerId};
use fogcompute_net::{DialId, TCP_FRAME_BYTES_MAX, TcpEvent, TcpEvents, TcpLinkId, TcpLinks};
use fogcompute_store::StoreError;
use fogcompute_transport::{
    Address, BleRadio, RadioLink, RadioLinkEvent, RadioLinks, RadioLinksConfig,
};
use tokio::sync::{Notify, mpsc};

use super::MeshError;
use super::events::{Events, MeshEvent};
use super::files::{Files, Steps};
use super::kept::Kept;
use super::local::LocalEnd;

/// Frames of links that are looked at before others have their turn.
const TURN_FRAMES: usize = 64;
/// How long what need not be kept at once waits to be written: who was there, and when.
const SAVE_AFTER: Duration = Duration::from_secs(5);
/// How long what waits has to leave when a node is closed.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// News of attempts to dial that wait to be heard.
pub(super) const DIAL_NEWS_MAX: usize = 64;
/// Radios of one node.
pub(super) const RADIOS_MAX: usize = 8;

/// A radio of any kind.
pub(super) type Radio = RadioLinks<Box<dyn BleRadio>>;

/// What callers and the thread share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) events: Events,
    pub(super) clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    closed: AtomicBool,
}

/// What carries a link.
enum Carrier {
    Tcp(TcpLinkId),
    Radio(usize, RadioLink),
    Local(LocalEnd),
}

pub(super) struct State {
    pub(super) node: Node,
    pub(super) rng: Box<dyn CryptoRng + Send>,
    pub(super) files: Files,
    pub(super) tcp: Arc<TcpLinks>,
    pub(super) history: Kept,
    pub(super) connections: Connections,
    pub(super) makes_connections: bool,
    links: BTreeMap<LinkId, Carrier>,
    of_tcp: BTreeMap<TcpLinkId, LinkId>,
    of_radio: BTreeMap<(usize, RadioLink), LinkId>,
    next_link: u64,
    /// Frames for radios, which are given them when no lock is held: their code is the host's.
    to_radios: Vec<(usize, RadioLink, Vec<u8>)>,
    new_radios: Vec<Box<dyn BleRadio>>,
    pub(super) radios: usize,
    /// What was written last of what the rules have to remember.
    kept: u64,
    saved: Option<Digest>,
    save_due: Instant,
    /// What became of messages and is not written yet.
    changes: Vec<Change>,
    /// What happened and was not told yet: it is written down first.
    out: Vec<MeshEvent>,
    /// Who wants to hear of attempts to dial.
    pub(super) dial_news: Option<mpsc::Sender<DialNew>>,
    /// Why the file could not be written. Nothing leaves any more.
    failure: Option<Arc<StoreError>>,
    pub(super) traffic: [u64; 2],
}

/// What became of an attempt to dial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DialNew {
    pub(crate) dial: DialId,
    pub(crate) is_up: bool,
    /// Who answered was this side itself.
    pub(crate) is_wrong_peer: bool,
}

/// What becomes of attempts to dial, as it comes.
pub(crate) struct DialNews(pub(super) mpsc::Receiver<DialNew>);

impl DialNews {
    /// The next one. Never ends where none will come: what else is waited for does then.
    pub(crate) async fn next(&mut self) -> DialNew {
        match self.0.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

struct NotifyWaker(Arc<Notify>);

impl Wake for NotifyWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl State {
    pub(super) fn new(
        node: Node,
        rng: Box<dyn CryptoRng + Send>,
        history: Kept,
        tcp: Arc<TcpLinks>,
        now: Instant,
    ) -> Self {
        Self {
            kept: node.keep_mark(),
            node,
            rng,
            history,
            tcp,
            files: Files::default(),
            connections: Connections::default(),
            makes_connections: false,
            links: BTreeMap::new(),
            of_tcp: BTreeMap::new(),
            of_radio: BTreeMap::new(),
            next_link: 1,
            to_radios: Vec::new(),
            new_radios: Vec::new(),
            radios: 0,
            saved: None,
            save_due: now,
            changes: Vec::new(),
            out: Vec::new(),
            dial_news: None,
            failure: None,
            traffic: [0; 2],
        }
    }

    /// Why there is nothing more to be had.
    pub(super) fn ending(&self) -> MeshError {
        let failure = self.failure.as_ref();
        failure.map_or(MeshError::Closed, |failure| {
            MeshError::Failed(Arc::clone(failure))
        })
    }

    fn tell_dial(&self, dial: DialId, is_up: bool, is_wrong_peer: bool) {
        if let Some(news) = &self.dial_news {
            // Who is slow hears of the next attempt.
            let _ = news.try_send(DialNew {
                dial,
                is_up,
                is_wrong_peer,
            });
        }
    }

    fn link_up(&mut self, carrier: Carrier, config: LinkConfig, now: Instant) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, carrier);
        self.node.link_up(link, config, now);
        self.out.push(MeshEvent::LinkUp { link: link.0 });
        link
    }

    fn link_down(&mut self, link: LinkId, now: Instant) {
        match self.links.remove(&link) {
            Some(Carrier::Tcp(of)) => drop(self.of_tcp.remove(&of)),
            Some(Carrier::Radio(radio, of)) => drop(self.of_radio.remove(&(radio, of))),
            Some(Carrier::Local(_)) => {}
            None => return,
        }
        self.node.link_down(link, now);
        self.out.push(MeshEvent::LinkDown { link: link.0 });
    }

    pub(super) fn add_local(&mut self, end: LocalEnd, now: Instant) {
        self.link_up(Carrier::Local(end), framed(), now);
    }

    pub(super) fn add_radio(&mut self, radio: Box<dyn BleRadio>) -> Result<(), MeshError> {
        if self.radios >= RADIOS_MAX {
            return Err(MeshError::RadiosFull { limit: RADIOS_MAX });
        }
        self.radios += 1;
        self.new_radios.push(radio);
        Ok(())
    }

    fn handle_tcp(&mut self, event: TcpEvent, now: Instant) {
        match event {
            TcpEvent::Up { link: of, dial, .. } => {
                if let Some(dial) = dial {
                    self.tell_dial(dial, true, false);
                }
                let link = self.link_up(Carrier::Tcp(of), framed(), now);
                self.of_tcp.insert(of, link);
            }
            TcpEvent::Frame { link, bytes } => {
                if let Some(link) = self.of_tcp.get(&link) {
                    self.traffic[0] += bytes.len() as u64;
                    self.node.handle_input(*link, &bytes, now, &mut self.rng);
                }
            }
            TcpEvent::DialFailed {
                dial,
                is_wrong_peer,
            } => self.tell_dial(dial, false, is_wrong_peer),
            TcpEvent::Writable { link } => {
                if let Some(link) = self.of_tcp.get(&link) {
                    self.node.set_blocked(*link, false);
                }
            }
            TcpEvent::Down { link, .. } => {
                if let Some(link) = self.of_tcp.get(&link).copied() {
                    self.link_down(link, now);
                }
            }
            _ => {}
        }
    }

    /// Takes what came over links inside the program; says whether there is more.
    fn handle_local(&mut self, now: Instant) -> bool {
        let mut more = false;
        let ends: Vec<_> = self
            .links
            .iter()
            .filter(|(_, carrier)| matches!(carrier, Carrier::Local(_)))
            .map(|(link, _)| *link)
            .collect();
        for link in ends {
            for count in 0.. {
                let Some(Carrier::Local(end)) = self.links.get(&link) else {
                    break;
                };
                if end.has_room() {
                    self.node.set_blocked(link, false);
                }
                if count == TURN_FRAMES {
                    more = true;
                    break;
                }
                match end.receive() {
                    Ok(Some(bytes)) => {
                        self.traffic[0] += bytes.len() as u64;
                        self.node.handle_input(link, &bytes, now, &mut self.rng);
                    }
                    Ok(None) => break,
                    Err(()) => {
                        self.link_down(link, now);
                        break;
                    }
                }
            }
        }
        more
    }

    fn handle_radio(&mut self, radio: usize, event: RadioLinkEvent, now: Instant) {
        match event {
            RadioLinkEvent::Up {
                link: of,
                frame_bytes_max,
                ..
            } => {
                let config = LinkConfig {
                    frame_bytes_max,
                    joins_writes: true,
                };
                // It comes again when frames may become longer.
                if let Some(link) = self.of_radio.get(&(radio, of)) {
                    self.node.link_up(*link, config, now);
                } else {
                    let link = self.link_up(Carrier::Radio(radio, of), config, now);
                    self.of_radio.insert((radio, of), link);
                }
            }
            RadioLinkEvent::Down { link: of, .. } => {
                if let Some(link) = self.of_radio.get(&(radio, of)).copied() {
                    self.link_down(link, now);
                }
            }
            RadioLinkEvent::Received { link: of, value } => {
                if let Some(link) = self.of_radio.get(&(radio, of)) {
                    self.traffic[0] += value.len() as u64;
                    self.node.handle_input(*link, &value, now, &mut self.rng);
                }
            }
            RadioLinkEvent::Full { link: of } | RadioLinkEvent::Ready { link: of } => {
                let is_full = matches!(event, RadioLinkEvent::Full { .. });
                if let Some(link) = self.of_radio.get(&(radio, of)) {
                    self.node.set_blocked(*link, is_full);
                }
            }
            RadioLinkEvent::HostFailed { reason } => self.out.push(MeshEvent::RadioFailed {
                radio: radio as u64,
                reason,
            }),
            _ => {}
        }
    }

    /// Takes what the rules say: steps of files are answered, what became of messages is noted.
    fn take_events(&mut self, now: Instant) {
        loop {
            while let Some((peer, body)) = self.connections.poll_transmit() {
                let kind = CONNECTION;
                let content = Content::Other { kind, body };
                // What cannot be sent now is sent again.
                let _ = self.node.send_content(peer, &content, now, &mut self.rng);
            }
            let Some(event) = self.node.poll_event() else {
                break;
            };
            match event {
                Event::Other {
                    from,
                    kind: CONNECTION,
                    body,
                } if self.makes_connections => {
                    self.connections.handle(from, &body, now);
                    continue;
                }
                Event::Chunk { from, message } => {
                    let steps = self.files.handle(from, message, now);
                    self.do_steps(steps, now);
                    continue;
                }
                Event::Public {
                    ref id,
                    from,
                    ref text,
                    timestamp,
                    via,
                    hops,
                } => {
                    let place = (Conversation::Everybody, via, hops);
                    self.note(id, from, text, timestamp, place);
                }
                Event::Private {
                    ref id,
                    from,
                    ref text,
                    via,
                    hops,
                    ..
                } => {
                    let place = (Conversation::Peer(from), via, hops);
                    self.note(id, from, text, self.node.unix(now), place);
                }
                Event::GroupMessage {
                    group,
                    ref id,
                    from,
                    ref text,
                    timestamp,
                    via,
                    hops,
                    ..
                } => {
                    let place = (Conversation::Group(group), via, hops);
                    self.note(id, from.peer_id(), text, timestamp, place);
                }
                Event::PeerJoined { peer } | Event::SessionReady { peer, .. } => {
                    let steps = self.files.offers_to(peer);
                    self.do_steps(steps, now);
                }
                Event::Delivery { ref id, state } => {
                    let id = id.clone();
                    self.changes.push(Change::State { id, state });
                }
                _ => {}
            }
            self.out.push(MeshEvent::Mesh(event));
        }
    }

    fn note(
        &mut self,
        id: &MessageId,
        from: PeerId,
        text: &str,
        at: UnixMillis,
        (conversation, via, hops): (Conversation, Option<PeerId>, u8),
    ) {
        self.changes.push(Change::Message(Message {
            id: id.clone(),
            conversation,
            from: Some(from),
            text: text.to_owned(),
            at: storable(at),
            state: DeliveryState::Waiting,
            via,
            hops,
        }));
    }

    /// Notes a message from here, before what becomes of it.
    pub(super) fn note_own(&mut self, id: &MessageId, to: Conversation, text: &str, now: Instant) {
        self.changes.push(Change::Message(Message {
            id: id.clone(),
            conversation: to,
            from: None,
            text: text.to_owned(),
            at: storable(self.node.unix(now)),
            state: DeliveryState::Waiting,
            via: None,
            hops: 0,
        }));
    }

    pub(super) fn do_steps(&mut self, steps: Steps, now: Instant) {
        self.out.extend(steps.events);
        for (peer, message) in steps.messages {
            // What cannot be sent now is asked for again.
            let content = Content::Chunk(message);
            let _ = self.node.send_content(peer, &content, now, &mut self.rng);
        }
    }

    /// Writes down what has to be before anything leaves and anybody is told; gives what may be told.
    pub(super) fn settle(&mut self, now: Instant) -> Result<Vec<MeshEvent>, MeshError> {
        self.take_events(now);
        let mark = self.node.keep_mark();
        let is_due = self.save_due <= now;
        let mut state = None;
        if self.history.is_file() && (mark != self.kept || is_due) {
            self.save_due = now + SAVE_AFTER;
            let saved = self.node.save();
            let digest = Digest::of(&saved);
            if self.saved != Some(digest) {
                state = Some((saved, digest));
            }
        }
        if state.is_none() && self.changes.is_empty() {
            self.kept = mark;
            return Ok(mem::take(&mut self.out));
        }
        let bytes = state.as_ref().map(|(saved, _)| saved.as_slice());
        let unix = storable(self.node.unix(now));
        match self.history.save(bytes, &self.changes, unix) {
            Ok(new) => {
                self.kept = mark;
                if let Some((_, digest)) = state {
                    self.saved = Some(digest);
                }
                let old: Vec<_> = self
                    .changes
                    .drain(..)
                    .filter_map(|change| match change {
                        Change::Message(message) => Some(message),
                        Change::State { .. } => None,
                    })
                    .zip(new)
                    .filter(|(message, is_new)| !is_new && message.from.is_some())
                    .map(|(message, _)| message.id)
                    .collect();
                let mut out = mem::take(&mut self.out);
                // What was told before, and came again, is not told twice.
                out.retain(|event| told_as(event).is_none_or(|id| !old.contains(id)));
                Ok(out)
            }
            Err(error) => {
                // The first one is the reason; what a farewell comes upon follows from it.
                let first = self.failure.get_or_insert_with(|| Arc::new(error));
                Err(MeshError::Failed(Arc::clone(first)))
            }
        }
    }

    /// Gives what the rules send to what carries it.
    fn transmit(&mut self) {
        while let Some(transmit) = self.node.poll_transmit() {
            self.traffic[1] += transmit.bytes.len() as u64;
            let has_room = match self.links.get(&transmit.link) {
                Some(Carrier::Tcp(link)) => {
                    // It says that it is down when it is.
                    let _ = self.tcp.send(*link, &transmit.bytes);
                    self.tcp.has_room(*link)
                }
                Some(Carrier::Local(end)) => end.send(transmit.bytes),
                Some(Carrier::Radio(radio, link)) => {
                    self.to_radios.push((*radio, *link, transmit.bytes));
                    // One frame at a time: the radio says when there is room for another.
                    false
                }
                None => true,
            };
            if !has_room {
                self.node.set_blocked(transmit.link, true);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let save = self.history.is_file().then_some(self.save_due);
        let connections = self.connections.poll_timeout();
        let rest = [self.node.poll_timeout(), self.files.poll_timeout()];
        rest.into_iter().chain([connections, save]).flatten().min()
    }
}

impl Shared {
    pub(super) fn new(state: State, events: Events, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::new(state),
            events,
            clock,
            wake: Arc::new(Notify::new()),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Asks the thread to end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Does something with the rules; what has to be kept of it is on disk when this returns.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&mut State, Instant) -> Result<T, MeshError>,
    ) -> Result<T, MeshError> {
        let now = self.clock.now();
        let mut state = self.lock();
        if self.is_closed() || state.failure.is_some() {
            return Err(state.ending());
        }
        let done = act(&mut state, now)?;
        let told = state.settle(now);
        let told = told.inspect_err(|_| self.close())?;
        // In the order in which it happened; who waits is woken when no lock is held.
        self.events.put(told);
        drop(state);
        self.events.wake();
        self.wake();
        Ok(done)
    }
}

/// However the thread ends, nobody waits for it in vain.
pub(super) struct CloseOnDrop(pub(super) Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        // Radios that it had not come to end here too: without the lock, for their code is the host's.
        let radios = mem::take(&mut self.0.lock().new_radios);
        drop(radios);
        self.0.events.close();
    }
}

/// Drives a node until it is closed.
pub(super) async fn run(shared: &Shared, mut tcp_events: TcpEvents) {
    let mut radios: Vec<Radio> = Vec::new();
    let waker = Waker::from(Arc::new(NotifyWaker(shared.waker())));
    while !shared.is_closed() {
        let Some((busy, due)) = turn(shared, &mut tcp_events, &mut radios, &waker) else {
            return;
        };
        shared.events.wake();
        if busy {
            tokio::task::yield_now().await;
            continue;
        }
        let wait = due.map(|due| due.duration_since(shared.clock.now()));
        tokio::select! {
            event = tcp_events.recv() => match event {
                Some(event) => {
                    let now = shared.clock.now();
                    shared.lock().handle_tcp(event, now);
                }
                None => return,
            },
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
    farewell(shared).await;
}

/// One turn: what came, what is due, what leaves. `None` when the file cannot be written any more.
fn turn(
    shared: &Shared,
    tcp_events: &mut TcpEvents,
    radios: &mut Vec<Radio>,
    waker: &Waker,
) -> Option<(bool, Option<Instant>)> {
    let now = shared.clock.now();
    // Radios first, without the lock: what their code does may take a lock that waits for this one.
    let mut heard = Vec::new();
    for (index, radio) in radios.iter_mut().enumerate() {
        radio.handle_timeout(now, &mut OsEntropy);
        while let Some(event) = radio.poll_event() {
            heard.push((index, event));
        }
    }
    let mut state = shared.lock();
    for (radio, event) in heard {
        state.handle_radio(radio, event, now);
    }
    let mut busy = state.handle_local(now);
    for count in 0.. {
        if count == TURN_FRAMES {
            busy = true;
            break;
        }
        let Some(event) = tcp_events.try_recv() else {
            break;
        };
        state.handle_tcp(event, now);
    }
    let unix = shared.clock.unix_now();
    state.node.set_unix(unix, now);
    if state.node.poll_timeout().is_some_and(|due| due <= now) {
        let State { node, rng, .. } = &mut *state;
        node.handle_timeout(now, rng);
    }
    if state
        .connections
        .poll_timeout()
        .is_some_and(|due| due <= now)
    {
        state.connections.handle_timeout(now);
    }
    if state.files.poll_timeout().is_some_and(|due| due <= now) {
        let steps = state.files.handle_timeout(now);
        state.do_steps(steps, now);
    }
    match state.settle(now) {
        Ok(told) => shared.events.put(told),
        Err(_) => return None,
    }
    state.transmit();
    let frames = mem::take(&mut state.to_radios);
    let new = mem::take(&mut state.new_radios);
    let own = Address::new(state.node.id().as_bytes()).expect("it has eight bytes");
    let of_radio: Vec<_> = state
        .of_radio
        .iter()
        .filter_map(|((radio, link), id)| {
            let (_, peer) = state.node.links().find(|(of, _)| of == id)?;
            Some((*radio, *link, peer?))
        })
        .collect();
    let mut due = state.next_due();
    drop(state);
    for radio in new {
        let mut links = RadioLinks::new(radio, own.clone(), RadioLinksConfig::default(), now);
        links.set_waker(waker.clone());
        radios.push(links);
        busy = true;
    }
    let mut room = Vec::new();
    for (radio, link, frame) in frames {
        // A frame that it does not take is lost, as on the air.
        let Some(links) = radios.get_mut(radio) else {
            continue;
        };
        let _ = links.send(link, &frame, now);
        room.push((radio, link));
    }
    for (radio, link, peer) in of_radio {
        let who = Address::new(peer.as_bytes()).expect("it has eight bytes");
        radios[radio].identify(link, &who, now);
    }
    if !room.is_empty() {
        busy = true;
        let mut heard = Vec::new();
        for (index, radio) in radios.iter_mut().enumerate() {
            while let Some(event) = radio.poll_event() {
                heard.push((index, event));
            }
        }
        let mut state = shared.lock();
        for place in room {
            if let Some(link) = state.of_radio.get(&place).copied() {
                state.node.set_blocked(link, false);
            }
        }
        for (radio, event) in heard {
            state.handle_radio(radio, event, now);
        }
    }
    let radio_due = radios.iter().filter_map(RadioLinks::poll_timeout).min();
    due = due.into_iter().chain(radio_due).min();
    Some((busy, due))
}

/// Says goodbye, and lets what waits leave.
async fn farewell(shared: &Shared) {
    let tcp = {
        let now = shared.clock.now();
        let mut state = shared.lock();
        let State { node, rng, .. } = &mut *state;
        node.leave(now, rng);
        state.save_due = now;
        if let Ok(told) = state.settle(now) {
            state.transmit();
            shared.events.put(told);
        }
        state.tcp.stop();
        for link in mem::take(&mut state.of_tcp).into_keys() {
            state.tcp.close(link);
        }
        state.links.clear();
        // The file is free for the next one.
        state.history = Kept::new(None, HistoryLimits::default());
        Arc::clone(&state.tcp)
    };
    shared.events.wake();
    tokio::select! {
        () = tcp.finished() => {}
        () = tokio::time::sleep(FAREWELL_MAX) => {}
    }
}

const fn framed() -> LinkConfig {
    LinkConfig {
        frame_bytes_max: TCP_FRAME_BYTES_MAX,
        joins_writes: false,
    }
}

/// By what a message that came is known in the file.
fn told_as(event: &MeshEvent) -> Option<&MessageId> {
    match event {
        MeshEvent::Mesh(
            Event::Public { id, .. } | Event::Private { id, .. } | Event::GroupMessage { id, .. },
        ) => Some(id),
        _ => None,
    }
}

/// A time that others say, as the file takes it.
const fn storable(at: UnixMillis) -> UnixMillis {
    if at.0 > i64::MAX as u64 {
        UnixMillis(i64::MAX as u64)
    } else {
        at
    }
}
