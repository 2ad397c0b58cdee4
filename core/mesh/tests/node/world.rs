//! Nodes in memory, with links that take time and lose frames, all from one seed.

use std::collections::BTreeMap;
use std::time::Duration;

use fogcompute_base::{Instant, Rng, UnixMillis};
use fogcompute_mesh::{Event, Identity, LinkConfig, LinkId, Node, NodeConfig, PeerId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Wall time when a world begins.
pub(crate) const BEGIN: UnixMillis = UnixMillis(1_760_000_000_000);

type End = (usize, LinkId);

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Instant,
    pub(crate) rng: ChaCha8Rng,
    /// What happened at each node and was not looked at yet.
    pub(crate) events: Vec<Vec<Event>>,
    /// Of a hundred frames, so many are lost.
    pub(crate) loss_percent: u64,
    /// How long a frame takes.
    pub(crate) delay: Duration,
    /// Frames that arrived.
    pub(crate) frames: u64,
    /// Frames that left, and from which node.
    pub(crate) sent: Vec<(usize, Vec<u8>)>,
    /// Which frames of which node are lost besides.
    pub(crate) is_lost: fn(usize, &[u8]) -> bool,
    ends: BTreeMap<End, End>,
    air: BTreeMap<(Instant, u64), (End, Vec<u8>)>,
    number: u64,
}

impl World {
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        Self::with_config(seed, count, &NodeConfig::default())
    }

    pub(crate) fn with_config(seed: u64, count: usize, config: &NodeConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let now = Instant::from_millis(1_000_000);
        let nodes = (0..count).map(|index| {
            let identity = Identity::random(&mut rng);
            let name = format!("node {index}");
            Node::new(identity, name, config.clone(), BEGIN, now).unwrap()
        });
        Self {
            nodes: nodes.collect(),
            events: vec![Vec::new(); count],
            now,
            rng,
            loss_percent: 0,
            delay: Duration::from_millis(5),
            frames: 0,
            sent: Vec::new(),
            is_lost: |_, _| false,
            ends: BTreeMap::new(),
            air: BTreeMap::new(),
            number: 0,
        }
    }

    /// Nodes in a line, each with a link to the next, that know each other.
    pub(crate) fn line(seed: u64, count: usize, config: LinkConfig) -> Self {
        let mut world = Self::new(seed, count);
        for index in 1..count {
            world.link(index - 1, index, config);
        }
        world.run(30);
        world
    }

    pub(crate) fn id(&self, node: usize) -> PeerId {
        self.nodes[node].id()
    }

    /// A link between two nodes; gives its number at both.
    pub(crate) fn link(&mut self, a: usize, b: usize, config: LinkConfig) -> LinkId {
        self.number += 1;
        let link = LinkId(self.number);
        self.ends.insert((a, link), (b, link));
        self.ends.insert((b, link), (a, link));
        for node in [a, b] {
            self.nodes[node].link_up(link, config, self.now);
        }
        link
    }

    /// Takes the links between two nodes down. What is on its way is lost.
    pub(crate) fn unlink(&mut self, a: usize, b: usize) {
        let down: Vec<_> = self
            .ends
            .iter()
            .filter(|(from, to)| from.0 == a && to.0 == b)
            .map(|((_, link), _)| *link)
            .collect();
        for link in down {
            for node in [a, b] {
                self.ends.remove(&(node, link));
                self.nodes[node].link_down(link, self.now);
            }
            self.air.retain(|_, ((_, other), _)| *other != link);
        }
    }

    /// Another node, without links.
    pub(crate) fn add(&mut self, node: Node) {
        self.nodes.push(node);
        self.events.push(Vec::new());
    }

    /// Another node in the place of one, with none of its links.
    pub(crate) fn replace(&mut self, index: usize, node: Node) {
        for other in 0..self.nodes.len() {
            self.unlink(index, other);
        }
        self.nodes[index] = node;
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.pump();
            let next = self
                .nodes
                .iter()
                .filter_map(Node::poll_timeout)
                .chain(self.air.keys().next().map(|(at, _)| *at))
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.air.first_entry()
                && entry.key().0 <= self.now
            {
                let ((node, link), bytes) = entry.remove();
                self.frames += 1;
                self.nodes[node].handle_input(link, &bytes, self.now, &mut self.rng);
            }
            for node in &mut self.nodes {
                if node.poll_timeout().is_some_and(|due| due <= self.now) {
                    node.handle_timeout(self.now, &mut self.rng);
                }
            }
        }
    }

    fn pump(&mut self) {
        for index in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[index].poll_transmit() {
                let Some(to) = self.ends.get(&(index, transmit.link)) else {
                    continue;
                };
                self.sent.push((index, transmit.bytes.clone()));
                if (self.is_lost)(index, &transmit.bytes)
                    || self.rng.next_u64() % 100 < self.loss_percent
                {
                    continue;
                }
                self.number += 1;
                let at = self.now + self.delay;
                self.air.insert((at, self.number), (*to, transmit.bytes));
            }
            while let Some(event) = self.nodes[index].poll_event() {
                self.events[index].push(event);
            }
        }
    }

    /// Events of a node since the last look.
    pub(crate) fn take(&mut self, node: usize) -> Vec<Event> {
        self.pump();
        std::mem::take(&mut self.events[node])
    }

    pub(crate) fn privates(&mut self, node: usize) -> Vec<String> {
        self.take(node)
            .into_iter()
            .filter_map(|event| match event {
                Event::Private { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn publics(&mut self, node: usize) -> Vec<String> {
        self.take(node)
            .into_iter()
            .filter_map(|event| match event {
                Event::Public { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn send_private(
        &mut self,
        from: usize,
        to: usize,
        text: &str,
    ) -> fogcompute_mesh::MessageId {
        let to = self.id(to);
        self.nodes[from]
            .send_private(to, text, self.now, &mut self.rng)
            .unwrap()
    }

    pub(crate) fn send_public(&mut self, from: usize, text: &str) -> fogcompute_mesh::MessageId {
        self.nodes[from]
            .send_public(text, self.now, &mut self.rng)
            .unwrap()
    }
}
