//! A mixnode that runs: its engine, and which keys it has when.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId, OsEntropy, UnixMillis};
use fogcompute_mix::{
    Contact, Delivery, Descriptor, EpochKey, EpochParity, Geometry, Mixnode, MixnodeConfig,
    Topology,
};
use fogcompute_net::{EngineConfig, EngineStats, MixEngine};
use tokio::sync::mpsc;

use crate::epochs::{Epochs, flight, own, window};
use crate::metrics::{Status, Told};

use super::config::MixnodeFile;
use super::error::MixnodeError;
use super::keys::Keys;
use super::loops::Loops;

/// Something that the operator is told.
#[derive(Debug)]
pub(super) enum Event {
    /// Another epoch's topology is the one to use.
    Valid { epoch: u64 },
    /// No topology is valid any more, or yet.
    NoneValid,
    /// Packets to the key of an epoch are taken from now on.
    KeyIn { epoch: u64 },
    /// Packets to the key of an epoch are taken no more.
    KeyErased { epoch: u64 },
    /// It goes on without what has failed.
    Failed(MixnodeError),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid { epoch } => write!(f, "epoch {epoch} is valid now"),
            Self::NoneValid => f.write_str("no topology is valid now"),
            Self::KeyIn { epoch } => write!(f, "the key of epoch {epoch} is in use"),
            Self::KeyErased { epoch } => write!(f, "the key of epoch {epoch} is erased"),
            Self::Failed(error) => write!(f, "going on without: {error}"),
        }
    }
}

/// A key that the engine has.
struct InUse {
    key: EpochKey,
    epoch: u64,
    /// The end of its topology's window, as it was when a topology last had the key.
    erase_at: UnixMillis,
}

/// A mixnode that runs.
pub(super) struct Running {
    file: MixnodeFile,
    keys: Keys,
    node: NodeId,
    status: Arc<Status>,
    geometry: Geometry,
    epochs: Epochs,
    /// By parity.
    ring: [Option<InUse>; 2],
    loops: Loops,
    /// The topology for loops, if there is a way for them.
    around: Option<Topology>,
    valid: Option<u64>,
    turn_at: Option<UnixMillis>,
}

impl Running {
    /// Starts the engine with the key that the topology valid now has for this node.
    pub(super) fn start(
        file: MixnodeFile,
        keys: Keys,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, mpsc::Receiver<Delivery>, Vec<Event>), MixnodeError> {
        let epochs = file.epochs()?;
        let identity = keys.identity()?;
        let node = identity.node();
        let (date, now) = (clock.unix_now(), clock.now());
        let current = epochs.current(date)?;
        let epoch = current.epoch;
        let own = own(current, node).ok_or(MixnodeError::NotInTopology { epoch, node })?;
        let (contact, geometry) = (own.contact(), current.geometry);
        let (timeout, erase_at) = (flight(current), window(current).end);
        let config = MixnodeConfig {
            geometry,
            replay_tags_max: file.replay_tags_max,
            ..MixnodeConfig::default()
        };
        let engine_config = EngineConfig {
            workers: file.workers,
            ..EngineConfig::default()
        };
        // Last, because from here on the key is in use.
        let key = keys.take(contact.key, epoch, file.replay_tags_max)?;
        // Nothing was received, so nothing was seen.
        let unused = |error| match keys.put_back_unused(contact.key) {
            Ok(()) => error,
            Err(also) => MixnodeError::NotPutBack {
                failed: vec![error, also],
            },
        };
        keys.reserve(&key).map_err(unused)?;
        let mixnode = Mixnode::with_epoch_key(contact.epoch, key.clone(), config);
        let started = MixEngine::start(mixnode, identity, file.listen, &engine_config, clock);
        let (engine, deliveries) = started.map_err(|error| unused(error.into()))?;
        let mut ring = [None, None];
        ring[contact.epoch as usize] = Some(InUse {
            key,
            epoch,
            erase_at,
        });
        let mut running = Self {
            loops: Loops::new(contact, geometry, file.loops(), timeout),
            status: Arc::new(Status::new(engine)),
            file,
            keys,
            node,
            geometry,
            epochs,
            ring,
            around: None,
            valid: None,
            turn_at: None,
        };
        let events = running.turn(date, now);
        Ok((running, deliveries, events))
    }

    pub(super) const fn node(&self) -> NodeId {
        self.node
    }

    pub(super) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Goes on with a configuration and its topologies as they are now. After an error everything
    /// is as it was.
    pub(super) fn reload(
        &mut self,
        file: MixnodeFile,
        date: UnixMillis,
        now: Instant,
    ) -> Result<Vec<Event>, MixnodeError> {
        if let Some(what) = self.file.needs_restart(&file) {
            return Err(MixnodeError::NeedsRestart { what });
        }
        let epochs = file.epochs()?;
        if self.epochs.current(date).is_ok() {
            epochs.current(date)?;
        }
        let to_come = |file: &&_| window(file).end > date;
        for file in epochs.files().iter().filter(to_come) {
            let epoch = file.epoch;
            if file.geometry != self.geometry {
                return Err(MixnodeError::OtherGeometry { epoch });
            }
            if let Some(own) = own(file, self.node)
                && !self.has(own)
            {
                self.keys.check(own.key, epoch)?;
            }
        }
        self.epochs = epochs;
        self.loops.set_mean(file.loops());
        self.file = file;
        Ok(self.turn(date, now))
    }

    fn has(&self, own: &Descriptor) -> bool {
        let slot = self.ring[own.epoch as usize].as_ref();
        slot.is_some_and(|slot| slot.key.public_key() == own.key)
    }

    /// Does what the time has come for: takes keys into use and erases them, and takes the topology
    /// that is valid.
    fn turn(&mut self, date: UnixMillis, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        self.read_ends();
        self.put_keys_in(date, &mut events);
        for parity in [EpochParity::Even, EpochParity::Odd] {
            let slot = self.ring[parity as usize].take_if(|slot| slot.erase_at <= date);
            if let Some(slot) = slot {
                self.status.engine().remove_key(parity);
                self.erase(&slot, &mut events);
            }
        }
        let open = self.epochs.open(date);
        let nodes = open.iter().flat_map(|file| file.topology.layers());
        if let Err(error) = self.status.engine().set_directory(nodes.flatten()) {
            events.push(Event::Failed(error.into()));
        }
        let current = self.epochs.current(date).ok();
        let valid = current.map(|file| file.epoch);
        if valid != self.valid {
            events.push(valid.map_or(Event::NoneValid, |epoch| Event::Valid { epoch }));
            self.valid = valid;
        }
        let contact = current.and_then(|file| own(file, self.node));
        let contact = contact.filter(|own| self.has(own)).map(Descriptor::contact);
        self.around = contact.zip(current).and_then(|(contact, file)| {
            let way = file.topology.loop_route(contact, &mut OsEntropy);
            way.is_ok().then(|| file.topology.clone())
        });
        let contact: Option<Contact> = contact.filter(|_| self.around.is_some());
        self.loops.turn(contact, now, &mut OsEntropy);
        let erasures = self.ring.iter().flatten().map(|slot| slot.erase_at);
        self.turn_at = erasures.chain(self.epochs.next_change(date)).min();
        self.tell();
        events
    }

    /// A topology may have been signed again with another end. One that is gone ends as it said.
    fn read_ends(&mut self) {
        for file in self.epochs.files() {
            let own = own(file, self.node);
            let slots = self.ring.iter_mut().flatten();
            for slot in slots.filter(|slot| own.is_some_and(|own| slot.key.public_key() == own.key))
            {
                (slot.epoch, slot.erase_at) = (file.epoch, window(file).end);
            }
        }
    }

    fn put_keys_in(&mut self, date: UnixMillis, events: &mut Vec<Event>) {
        let open: Vec<_> = self.epochs.open(date).into_iter().cloned().collect();
        for file in open {
            let Some(own) = own(&file, self.node) else {
                continue;
            };
            if self.has(own) {
                continue;
            }
            let tags = self.file.replay_tags_max;
            let key = match self.keys.take(own.key, file.epoch, tags) {
                Ok(key) => key,
                Err(error) => {
                    events.push(Event::Failed(error));
                    continue;
                }
            };
            // Without it the key serves all the same.
            if let Err(error) = self.keys.reserve(&key) {
                events.push(Event::Failed(error));
            }
            self.status.engine().set_epoch_key(own.epoch, &key);
            let epoch = file.epoch;
            let slot = InUse {
                key,
                epoch,
                erase_at: window(&file).end,
            };
            // One of the same parity is from two epochs ago, or was replaced in its own.
            if let Some(old) = self.ring[own.epoch as usize].replace(slot) {
                self.erase(&old, events);
            }
            events.push(Event::KeyIn { epoch });
        }
    }

    fn erase(&self, slot: &InUse, events: &mut Vec<Event>) {
        let epoch = slot.epoch;
        events.push(match self.keys.erase(slot.key.public_key()) {
            Ok(()) => Event::KeyErased { epoch },
            Err(error) => Event::Failed(error),
        });
    }

    /// Turns to another epoch and sends loops, if the time for it has come.
    pub(super) fn keep(&mut self, clock: &dyn Clock) -> Vec<Event> {
        let (date, now) = (clock.unix_now(), clock.now());
        let is_due = self.turn_at.is_some_and(|at| at <= date);
        let events = if is_due {
            self.turn(date, now)
        } else {
            Vec::new()
        };
        if let Some(topology) = &self.around {
            let due = self.loops.poll(topology, now, &mut OsEntropy);
            if !due.is_empty() {
                // A loop that a busy engine does not take is one that was lost.
                let _ = self.status.engine().send(due);
            }
        }
        self.tell();
        events
    }

    /// How long nothing is to be done.
    pub(super) fn wait(&self, clock: &dyn Clock) -> Duration {
        let (date, now) = (clock.unix_now(), clock.now());
        let turn = self
            .turn_at
            .map(|at| Duration::from_millis(at.0.saturating_sub(date.0)));
        let loops = self.loops.poll_timeout();
        let loops = loops.map(|due| due.duration_since(now));
        // The wall clock may be set meanwhile.
        let longest = Duration::from_secs(60);
        turn.into_iter().chain(loops).fold(longest, Duration::min)
    }

    /// Takes a packet that was for this node.
    pub(super) fn take(&mut self, delivery: &Delivery, now: Instant) {
        self.loops.take(delivery, now);
    }

    fn tell(&self) {
        self.status.tell(Told {
            cover: self.loops.stats(),
            verdict: self.loops.verdict(),
            epoch: self.valid,
        });
    }

    /// Sends what is held and puts the keys back, each whether or not another one could be. Blocks
    /// until then.
    pub(super) fn end(self) -> Result<EngineStats, MixnodeError> {
        let Some(status) = Arc::into_inner(self.status) else {
            unreachable!("who served the metrics has ended");
        };
        let stats = status.into_engine().drain(self.file.drain());
        let slots = self.ring.iter().flatten();
        let failed: Vec<_> = slots
            .filter_map(|slot| self.keys.put_back(&slot.key).err())
            .collect();
        if failed.is_empty() {
            Ok(stats)
        } else {
            Err(MixnodeError::NotPutBack { failed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::SystemClock;
    use fogcompute_mix::{PrivateKey, PublicKey, TopologyFile};
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    const SECRET: [u8; 32] = [3; 32];
    const HOUR: u64 = 3_600_000;

    /// A wall clock that is set by hand. The engine's own times go on.
    struct Set {
        date: AtomicU64,
        clock: SystemClock,
    }

    impl Clock for Set {
        fn now(&self) -> Instant {
            self.clock.now()
        }

        fn unix_now(&self) -> UnixMillis {
            UnixMillis(self.date.load(Ordering::Relaxed))
        }
    }

    struct World {
        folder: tempfile::TempDir,
        clock: Arc<Set>,
    }

    impl World {
        fn new(date: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let authority = TopologyFile::authority_of(&SECRET);
            let text = format!(
                "listen = '127.0.0.1:0'\ndata = 'data'\ntopology = 't.toml'\n\
                 next_topology = 'next.toml'\nauthority = '{}'\nworkers = 1\n\
                 replay_tags_max = 1000\n",
                NodeId::from_bytes(authority)
            );
            fs::write(folder.path().join("node.toml"), text).unwrap();
            let clock = Set {
                date: AtomicU64::new(date),
                clock: SystemClock::new(),
            };
            Self {
                folder,
                clock: Arc::new(clock),
            }
        }

        fn set(&self, date: u64) {
            self.clock.date.store(date, Ordering::Relaxed);
        }

        fn file(&self) -> MixnodeFile {
            MixnodeFile::read(&self.folder.path().join("node.toml")).unwrap()
        }

        fn keys(&self) -> Keys {
            Keys::open(&self.file().data).unwrap()
        }

        fn node(&self) -> NodeId {
            self.keys().identity().unwrap().node()
        }

        /// Signs a topology of this node and one that never answers.
        fn sign(&self, name: &str, epoch: u64, valid: [u64; 2], node: NodeId, key: PublicKey) {
            let descriptor = |node, key, port| Descriptor {
                node,
                key,
                epoch: EpochParity::of(epoch),
                address: ([127, 0, 0, 1], port).into(),
            };
            let other = PrivateKey::from_bytes([9; 32]).public();
            let layers = vec![
                vec![descriptor(node, key, 4000)],
                vec![descriptor(NodeId::from_bytes([9; 32]), other, 4001)],
            ];
            let file = TopologyFile {
                epoch,
                valid_from: UnixMillis(valid[0]),
                valid_until: UnixMillis(valid[1]),
                geometry: Geometry::DATAGRAM,
                topology: Topology::new(layers, Duration::from_millis(5)).unwrap(),
            };
            fs::write(self.folder.path().join(name), file.sign(&SECRET).unwrap()).unwrap();
        }

        fn start(&self) -> Result<(Running, Vec<String>), MixnodeError> {
            let clock: Arc<dyn Clock> = self.clock.clone();
            let started = Running::start(self.file(), self.keys(), &clock);
            started.map(|(running, _, events)| (running, texts(&events)))
        }

        fn files(&self, key: PublicKey) -> Vec<String> {
            let name = super::super::keys::hex(key);
            let entries = fs::read_dir(self.folder.path().join("data")).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let own = names.filter(|entry| entry.contains(&name));
            let suffix = |own: String| Path::new(&own).extension().unwrap().to_owned();
            let mut suffixes: Vec<_> = own.map(|own| suffix(own).into_string().unwrap()).collect();
            suffixes.sort();
            suffixes
        }
    }

    fn texts(events: &[Event]) -> Vec<String> {
        events.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_running_node_can_change_is_changed_by_a_reload_and_the_rest_is_refused() {
        let world = World::new(HOUR);
        let key = world.keys().make().unwrap();
        world.sign("t.toml", 1, [0, 2 * HOUR], world.node(), key);
        let (mut running, _) = world.start().unwrap();
        let path = world.folder.path().join("node.toml");
        let text = fs::read_to_string(&path).unwrap();
        let mut reload = |text: String| {
            fs::write(&path, text).unwrap();
            let (date, now) = (world.clock.unix_now(), world.clock.now());
            running
                .reload(world.file(), date, now)
                .map(|_| running.file.clone())
        };
        let slower = reload(format!(
            "{text}drain_seconds = 3\n[cover]\nloop_mean_ms = 70\n"
        ));
        let slower = slower.unwrap();
        assert_eq!(slower.drain(), Duration::from_secs(3));
        assert_eq!(slower.loops(), Some(Duration::from_millis(70)));
        assert!(matches!(
            reload(text.replace("workers = 1", "workers = 2")),
            Err(MixnodeError::NeedsRestart { what: "workers" })
        ));
        assert_eq!(running.file, slower);
    }

    #[test]
    fn a_node_that_does_not_start_keeps_its_key() {
        let world = World::new(HOUR);
        let key = world.keys().make().unwrap();
        let (node, valid) = (world.node(), [0, 2 * HOUR]);
        let refused = || world.start().map(drop).unwrap_err();
        assert!(matches!(refused(), MixnodeError::Read(_)));
        world.sign("t.toml", 1, valid, NodeId::from_bytes([7; 32]), key);
        assert!(matches!(
            refused(),
            MixnodeError::NotInTopology { epoch: 1, .. }
        ));
        let other = PrivateKey::from_bytes([4; 32]).public();
        world.sign("t.toml", 1, valid, node, other);
        assert!(matches!(refused(), MixnodeError::NoKey { key, .. } if key == other));
        world.sign("t.toml", 1, [2 * HOUR, 3 * HOUR], node, key);
        assert!(matches!(refused(), MixnodeError::Topology(_)));
        world.sign("t.toml", 1, valid, node, key);
        assert_eq!(world.files(key), ["key"]);
        let (running, events) = world.start().unwrap();
        assert_eq!(events, ["epoch 1 is valid now"]);
        assert_eq!(world.files(key), ["in-use", "reserve"]);
        // Its address is taken, by itself.
        let address = running.status().engine().address();
        let mut file = world.file();
        file.listen = address;
        let second = world.keys().make().unwrap();
        world.sign("t.toml", 1, valid, node, second);
        let clock: Arc<dyn Clock> = world.clock.clone();
        let taken = Running::start(file, world.keys(), &clock);
        assert!(matches!(taken.map(drop), Err(MixnodeError::Engine(_))));
        assert_eq!(world.files(second), ["key"]);
        running.end().unwrap();
        assert_eq!(world.files(key), ["key", "seen"]);
    }

    #[test]
    fn keys_come_before_their_epoch_and_go_when_nothing_to_them_can_be_on_its_way() {
        let world = World::new(HOUR);
        let (first, second) = (world.keys().make().unwrap(), world.keys().make().unwrap());
        let node = world.node();
        world.sign("t.toml", 1, [0, 2 * HOUR], node, first);
        let (mut running, _) = world.start().unwrap();
        let clock = Arc::clone(&world.clock);
        let now = || clock.now();
        world.sign("next.toml", 2, [2 * HOUR, 4 * HOUR], node, second);
        assert_eq!(
            running
                .reload(world.file(), clock.unix_now(), now())
                .unwrap()
                .len(),
            0
        );
        assert_eq!(world.files(second), ["key"]);
        let mut at = |date| {
            world.set(date);
            texts(&running.keep(&*clock))
        };
        let lead = 2 * HOUR - 60_000;
        assert_eq!(at(lead - 1), [""; 0]);
        assert_eq!(at(lead), ["the key of epoch 2 is in use"]);
        // From here on a crash would cost both.
        assert_eq!(world.files(first), ["in-use", "reserve"]);
        assert_eq!(world.files(second), ["in-use", "reserve"]);
        assert_eq!(at(2 * HOUR), ["epoch 2 is valid now"]);
        let end = window(&world.file().epochs().unwrap().files()[0]).end.0;
        assert_eq!(at(end - 1), [""; 0]);
        assert_eq!(at(end), ["the key of epoch 1 is erased"]);
        assert_eq!(world.files(first), [""; 0]);
        // The next pair: the file of the epoch that is valid now takes the first place.
        let third = world.keys().make().unwrap();
        world.sign("t.toml", 2, [2 * HOUR, 4 * HOUR], node, second);
        world.sign("next.toml", 3, [3 * HOUR, 5 * HOUR], node, third);
        let events = running
            .reload(world.file(), clock.unix_now(), now())
            .unwrap();
        assert_eq!(texts(&events), [""; 0]);
        world.set(3 * HOUR);
        let events = texts(&running.keep(&*clock));
        assert_eq!(
            events,
            ["the key of epoch 3 is in use", "epoch 3 is valid now"]
        );
        running.end().unwrap();
        for key in [second, third] {
            assert_eq!(world.files(key), ["key", "seen"]);
        }
        // A start between two epochs has both again.
        let (mut running, events) = world.start().unwrap();
        assert_eq!(
            events,
            ["the key of epoch 2 is in use", "epoch 3 is valid now"]
        );
        // The authority ends the second before its time.
        world.sign("t.toml", 2, [2 * HOUR, 2 * HOUR + 1], node, second);
        let events = running
            .reload(world.file(), clock.unix_now(), now())
            .unwrap();
        assert_eq!(texts(&events), ["the key of epoch 2 is erased"]);
        assert_eq!(world.files(second), [""; 0]);
        running.end().unwrap();
    }

    #[test]
    fn after_a_crash_the_keys_that_were_in_use_are_refused_and_the_next_one_is_not() {
        let world = World::new(HOUR);
        let (first, second) = (world.keys().make().unwrap(), world.keys().make().unwrap());
        let node = world.node();
        world.sign("t.toml", 1, [0, 2 * HOUR], node, first);
        world.sign("next.toml", 2, [2 * HOUR, 4 * HOUR], node, second);
        // Dropped without an end, as by a crash.
        drop(world.start().unwrap());
        let refused = world.start().map(drop).unwrap_err();
        assert!(matches!(refused, MixnodeError::Unclean { key } if key == first));
        // Once its epoch has come, the key that was not in use yet serves.
        world.set(2 * HOUR);
        let (running, events) = world.start().unwrap();
        assert_eq!(events.len(), 2);
        assert!(events[0].contains("did not end cleanly"), "{events:?}");
        drop(running);
        let refused = world.start().map(drop).unwrap_err();
        assert!(matches!(refused, MixnodeError::Unclean { key } if key == second));
    }

    #[test]
    fn a_key_that_cannot_be_put_back_does_not_cost_the_other_one() {
        let world = World::new(HOUR);
        let (first, second) = (world.keys().make().unwrap(), world.keys().make().unwrap());
        let node = world.node();
        world.sign("t.toml", 1, [0, 2 * HOUR], node, first);
        world.sign("next.toml", 2, [HOUR, 4 * HOUR], node, second);
        for (failing, other) in [(first, second), (second, first)] {
            let (running, _) = world.start().unwrap();
            // What was seen cannot be written: there is a folder of that name.
            let name = format!("data/mix-{}.seen", super::super::keys::hex(failing));
            let seen = world.folder.path().join(name);
            let kept = fs::read(&seen).ok();
            let _ = fs::remove_file(&seen);
            fs::create_dir_all(seen.join("taken")).unwrap();
            let ended = running.end().map(drop);
            assert!(
                matches!(&ended, Err(MixnodeError::NotPutBack { failed }) if failed.len() == 1),
                "{ended:?}"
            );
            assert_eq!(world.files(other), ["key", "seen"]);
            assert_eq!(world.files(failing), ["in-use", "seen"]);
            fs::remove_dir_all(&seen).unwrap();
            if let Some(kept) = kept {
                fs::write(&seen, kept).unwrap();
            }
            let in_use = seen.with_extension("in-use");
            fs::rename(&in_use, seen.with_extension("key")).unwrap();
        }
    }

    #[test]
    fn topologies_that_do_not_fit_change_nothing() {
        let world = World::new(HOUR);
        let key = world.keys().make().unwrap();
        let (node, valid) = (world.node(), [0, 2 * HOUR]);
        world.sign("t.toml", 1, valid, node, key);
        let (mut running, _) = world.start().unwrap();
        let before = running.epochs.clone();
        let mut reload = || {
            let reloaded = running.reload(world.file(), UnixMillis(HOUR), Instant::ZERO);
            assert_eq!(running.epochs, before);
            reloaded.map(drop).unwrap_err()
        };
        let other = PrivateKey::from_bytes([4; 32]).public();
        world.sign("next.toml", 2, [HOUR, 3 * HOUR], node, other);
        assert!(matches!(reload(), MixnodeError::NoKey { epoch: 2, .. }));
        world.sign("next.toml", 3, [HOUR, 3 * HOUR], node, key);
        assert!(matches!(reload(), MixnodeError::Epochs(_)));
        fs::write(world.folder.path().join("next.toml"), "epoch = 2\n").unwrap();
        assert!(matches!(reload(), MixnodeError::Read(_)));
        fs::remove_file(world.folder.path().join("next.toml")).unwrap();
        world.sign("t.toml", 1, [0, HOUR], node, key);
        assert!(matches!(reload(), MixnodeError::Topology(_)));
        running.end().unwrap();
    }

    #[test]
    fn when_nothing_is_valid_any_more_it_says_so_and_sends_no_loops() {
        let world = World::new(HOUR);
        let key = world.keys().make().unwrap();
        world.sign("t.toml", 1, [0, 2 * HOUR], world.node(), key);
        let (mut running, _) = world.start().unwrap();
        assert!(running.loops.poll_timeout().is_some());
        world.set(2 * HOUR);
        let events = texts(&running.keep(&*world.clock));
        assert_eq!(events, ["no topology is valid now"]);
        assert_eq!(running.loops.poll_timeout(), None);
        world.set(3 * HOUR);
        let events = texts(&running.keep(&*world.clock));
        assert_eq!(events, ["the key of epoch 1 is erased"]);
        assert_eq!(running.wait(&*world.clock), Duration::from_secs(60));
        // The next one is read although it is not valid yet, for nothing is lost by that.
        let second = world.keys().make().unwrap();
        world.sign("next.toml", 2, [4 * HOUR, 5 * HOUR], world.node(), second);
        let (date, now) = (world.clock.unix_now(), world.clock.now());
        assert_eq!(
            texts(&running.reload(world.file(), date, now).unwrap()),
            [""; 0]
        );
        world.set(4 * HOUR);
        let events = texts(&running.keep(&*world.clock));
        let expected = ["the key of epoch 2 is in use", "epoch 2 is valid now"];
        assert_eq!(events, expected);
        assert!(running.loops.poll_timeout().is_some());
        running.end().unwrap();
    }
}
