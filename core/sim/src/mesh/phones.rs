//! A whole [`Node`] in every phone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use fogcompute_base::{Instant, UnixMillis};
use fogcompute_mesh::courier::CourierConfig;
use fogcompute_mesh::{
    DeliveryState, Event, Identity, LinkConfig, LinkId, MessageId, Node, NodeConfig, Packet,
    PacketType, SendError, TTL_MAX,
};
use thiserror::Error;

use super::contacts::{Meeting, Meetings};
use super::figures::{MeshFigures, radio_microjoules};
use super::{MeshPlan, Planned, Radio};
use crate::chance::{Chance, chance, happens};

/// Wall time when phones begin.
const BEGIN: UnixMillis = UnixMillis(1_760_000_000_000);
/// A link with so much on its way takes no more for now.
const BACKLOG: Duration = Duration::from_secs(1);
/// Where a frame of version 1 has its type and its time to live, and where its receiver.
const KIND_AND_TTL: std::ops::Range<usize> = 1..3;
const RECIPIENT: std::ops::Range<usize> = 22..30;

/// A promise that a run did not keep.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum MeshViolation {
    /// A sender was told that its message arrived, and it had not.
    #[error("message {id} is acknowledged and did not arrive")]
    Unfounded {
        /// The message.
        id: MessageId,
    },
    /// A message was shown twice.
    #[error("message {id} was shown twice")]
    Twice {
        /// The message.
        id: MessageId,
    },
    /// Something was shown that nobody sent, or to somebody else.
    #[error("message {id} was shown to phone {phone}, which nobody wrote to")]
    Foreign {
        /// The message.
        id: MessageId,
        /// The phone.
        phone: u32,
    },
    /// A phone could not send.
    #[error("a message could not be sent: {0}")]
    Send(#[from] SendError),
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    Tick,
    Send(u32),
    Frame {
        to: u32,
        link: LinkId,
        bytes: Vec<u8>,
    },
    Unblock {
        phone: u32,
        link: LinkId,
    },
    Wake(u32),
}

/// One direction of a link.
struct Way {
    to: u32,
    /// Until when it is busy with what was sent.
    busy_until: Instant,
}

struct World {
    radio: Radio,
    now: Instant,
    nodes: Vec<Node>,
    rngs: Vec<Chance>,
    /// The time at which each phone is woken next.
    wakes: Vec<Option<Instant>>,
    queue: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    sequence: u64,
    ways: BTreeMap<(u32, LinkId), Way>,
    links: BTreeMap<(u32, u32), LinkId>,
    losses: Chance,
    /// Messages: who wrote to whom, and when.
    sent: BTreeMap<MessageId, Planned>,
    arrived: BTreeSet<MessageId>,
    acknowledged: BTreeSet<MessageId>,
    figures: MeshFigures,
}

pub(super) fn run(plan: &MeshPlan) -> Result<MeshFigures, MeshViolation> {
    let planned = plan.planned();
    let mut world = World::new(plan)?;
    world.introduce(&planned);
    let mut meetings = Meetings::new(plan);
    world.schedule(meetings.next_at(), Due::Tick);
    for (message, planned) in (0..).zip(&planned) {
        world.schedule(planned.at, Due::Send(message));
    }
    let end = Instant::ZERO + plan.span;
    while let Some(Reverse((at, _, due))) = world.queue.pop() {
        if at > end {
            break;
        }
        world.now = at;
        match due {
            Due::Tick => {
                for meeting in meetings.tick() {
                    world.meeting(meeting)?;
                }
                world.schedule(meetings.next_at(), Due::Tick);
            }
            Due::Send(message) => world.send(planned[message as usize])?,
            Due::Frame { to, link, bytes } => {
                if world.ways.contains_key(&(to, link)) {
                    let (node, rng) = world.phone(to);
                    node.handle_input(link, &bytes, at, rng);
                    world.settle(to)?;
                }
            }
            Due::Unblock { phone, link } => {
                world.nodes[phone as usize].set_blocked(link, false);
                world.settle(phone)?;
            }
            Due::Wake(phone) => {
                // It may have asked for another time since.
                if world.wakes[phone as usize] == Some(at) {
                    world.wakes[phone as usize] = None;
                    let (node, rng) = world.phone(phone);
                    node.handle_timeout(at, rng);
                    world.settle(phone)?;
                }
            }
        }
    }
    world.figures.acknowledged = world.acknowledged.len() as u64;
    Ok(world.figures)
}

impl World {
    fn new(plan: &MeshPlan) -> Result<Self, MeshViolation> {
        // Room for what this many phones carry, messages and their receipts: what is compared is who carries, not who
        // has room.
        let room = (2 * plan.messages as usize).max(40);
        let config = NodeConfig {
            courier: CourierConfig {
                strategy: plan.strategy,
                envelopes_max: room,
                strangers_max: room,
                per_favourite: room,
                per_stranger: room,
                ..CourierConfig::default()
            },
            ..NodeConfig::default()
        };
        let mut rngs: Vec<_> = (0..plan.phones)
            .map(|phone| chance(plan.seed, "mesh: phone", phone.into()))
            .collect();
        let nodes = (0..plan.phones).zip(&mut rngs).map(|(phone, rng)| {
            let identity = Identity::random(rng);
            let name = format!("phone {phone}");
            Node::new(identity, name, config.clone(), BEGIN, Instant::ZERO)
        });
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            radio: plan.radio,
            now: Instant::ZERO,
            wakes: vec![None; nodes.len()],
            nodes,
            rngs,
            queue: BinaryHeap::new(),
            sequence: 0,
            ways: BTreeMap::new(),
            links: BTreeMap::new(),
            losses: chance(plan.seed, "mesh: loss", 0),
            sent: BTreeMap::new(),
            arrived: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            figures: MeshFigures::default(),
        })
    }

    fn phone(&mut self, phone: u32) -> (&mut Node, &mut Chance) {
        let index = phone as usize;
        (&mut self.nodes[index], &mut self.rngs[index])
    }

    fn schedule(&mut self, at: Instant, due: Due) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, due)));
    }

    /// Whoever writes to somebody has heard of that one before, over others: its announce, with less time to live
    /// than a neighbour's.
    fn introduce(&mut self, planned: &[Planned]) {
        let link = LinkId(0);
        let mut announces: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let pairs: BTreeSet<_> = planned
            .iter()
            .flat_map(|it| [(it.from, it.to), (it.to, it.from)])
            .collect();
        for (knows, known) in pairs {
            let announce = announces.entry(known).or_insert_with(|| {
                let (node, rng) = (
                    &mut self.nodes[known as usize],
                    &mut self.rngs[known as usize],
                );
                node.link_up(link, LinkConfig::FRAMED, Instant::ZERO);
                node.handle_timeout(Instant::ZERO, rng);
                let mut frame = Vec::new();
                while let Some(transmit) = node.poll_transmit() {
                    let packet = Packet::decode(&transmit.bytes).map(|(packet, _)| packet);
                    if let Ok(mut packet) = packet
                        && packet.kind == PacketType::ANNOUNCE
                    {
                        packet.ttl -= 1;
                        frame = packet.to_frame();
                    }
                }
                node.link_down(link, Instant::ZERO);
                frame
            });
            let announce = announce.clone();
            let (node, rng) = self.phone(knows);
            node.link_up(link, LinkConfig::FRAMED, Instant::ZERO);
            node.handle_input(link, &announce, Instant::ZERO, rng);
            node.link_down(link, Instant::ZERO);
        }
        for node in &mut self.nodes {
            while node.poll_event().is_some() {}
        }
    }

    fn meeting(&mut self, meeting: Meeting) -> Result<(), MeshViolation> {
        match meeting {
            Meeting::Begins(a, b) => {
                self.figures.meetings += 1;
                // Numbers of links are not used again.
                let link = LinkId(self.figures.meetings);
                self.links.insert((a, b), link);
                for (from, to) in [(a, b), (b, a)] {
                    let way = Way {
                        to,
                        busy_until: self.now,
                    };
                    self.ways.insert((from, link), way);
                    let now = self.now;
                    self.nodes[from as usize].link_up(link, LinkConfig::BLUETOOTH, now);
                    self.settle(from)?;
                }
            }
            Meeting::Ends(a, b) => {
                let Some(link) = self.links.remove(&(a, b)) else {
                    return Ok(());
                };
                for phone in [a, b] {
                    self.ways.remove(&(phone, link));
                    self.nodes[phone as usize].link_down(link, self.now);
                    self.settle(phone)?;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, planned: Planned) -> Result<(), MeshViolation> {
        let now = self.now;
        let to = self.nodes[planned.to as usize].id();
        let text = format!("message {} of phone {}", self.sent.len(), planned.from);
        let (node, rng) = self.phone(planned.from);
        let id = node.send_private(to, &text, now, rng)?;
        self.sent.insert(id, planned);
        self.figures.sent += 1;
        self.settle(planned.from)
    }

    /// Takes from a phone what it has for its links and for its user, and notes when it wants to be woken.
    fn settle(&mut self, phone: u32) -> Result<(), MeshViolation> {
        let index = phone as usize;
        while let Some(transmit) = self.nodes[index].poll_transmit() {
            self.transmit(phone, transmit.link, transmit.bytes);
        }
        while let Some(event) = self.nodes[index].poll_event() {
            self.event(phone, event)?;
        }
        let wake = self.nodes[index].poll_timeout().map(|at| at.max(self.now));
        if let Some(at) = wake
            && self.wakes[index] != Some(at)
        {
            self.wakes[index] = Some(at);
            self.schedule(at, Due::Wake(phone));
        }
        Ok(())
    }

    fn transmit(&mut self, phone: u32, link: LinkId, bytes: Vec<u8>) {
        let Some(way) = self.ways.get_mut(&(phone, link)) else {
            return;
        };
        let length = bytes.len() as u64;
        let nanos = length.saturating_mul(1_000_000_000) / self.radio.bytes_per_second.max(1);
        way.busy_until = way.busy_until.max(self.now) + Duration::from_nanos(nanos);
        let (to, free) = (way.to, way.busy_until);
        self.figures.frames += 1;
        self.figures.bytes += length;
        self.figures.microjoules += radio_microjoules(length);
        // What is passed on towards a receiver that was heard of from afar is not counted here.
        let is_given = bytes.get(KIND_AND_TTL) == Some(&[PacketType::COURIER.0, TTL_MAX])
            && bytes.get(RECIPIENT) == Some(self.nodes[to as usize].id().as_bytes());
        if is_given {
            self.figures.transfers += 1;
        }
        self.figures.fingerprint.u64(self.now.as_nanos());
        self.figures.fingerprint.bytes(&bytes);
        if free.duration_since(self.now) > BACKLOG {
            self.nodes[phone as usize].set_blocked(link, true);
            self.schedule(free, Due::Unblock { phone, link });
        }
        if !happens(&mut self.losses, self.radio.loss_ppm) {
            self.schedule(free + self.radio.latency, Due::Frame { to, link, bytes });
        }
    }

    fn event(&mut self, phone: u32, event: Event) -> Result<(), MeshViolation> {
        match event {
            Event::Private { id, .. } => {
                let planned = self.sent.get(&id).filter(|planned| planned.to == phone);
                let Some(planned) = planned else {
                    return Err(MeshViolation::Foreign { id, phone });
                };
                let delay = self.now.duration_since(planned.at);
                if !self.arrived.insert(id.clone()) {
                    return Err(MeshViolation::Twice { id });
                }
                self.figures.delays.add(delay);
            }
            // It left inside a session, without couriers.
            Event::Delivery {
                state: DeliveryState::Sent,
                ..
            } => self.figures.transfers += 1,
            Event::Delivery {
                id,
                state: DeliveryState::Delivered,
            } => {
                if !self.arrived.contains(&id) {
                    return Err(MeshViolation::Unfounded { id });
                }
                self.acknowledged.insert(id);
            }
            _ => {}
        }
        Ok(())
    }
}
