//! The nodes of a fog.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fogcompute_base::limits::NODES_MAX;
use fogcompute_base::{Instant, NodeId, TaskId};
use fogcompute_ledger::Amount;
use fogcompute_schedule::Reputation;
use thiserror::Error;

/// Why an offer makes no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum OfferError {
    /// The latency is negative or not a number.
    #[error("latency of {millis} ms")]
    Latency {
        /// What was offered.
        millis: f64,
    },
    /// The node says it computes nothing per second but lends processors.
    #[error("offer lends {cpu_millis} thousandths of a processor at no speed")]
    Speed {
        /// What was offered.
        cpu_millis: u64,
    },
}

/// Why a node cannot register.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum RegisterError<E: std::error::Error + 'static> {
    /// The offer makes no sense.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The registry is full.
    #[error("registry holds its limit of {limit} nodes")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The node's account could not be opened.
    #[error("account of the node: {0}")]
    Bank(#[source] E),
}

/// What a node lends now. All zero when its harvest policy says no.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory for tasks, in bytes.
    pub memory_bytes: u64,
    /// Fuel one processor burns in a second, measured by the node.
    pub fuel_per_second: u64,
    /// Base units for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// Time of a message to the node and back, in milliseconds, measured by the host.
    pub latency_ms: f64,
}

impl Offer {
    pub(crate) fn check(&self) -> Result<(), OfferError> {
        if !self.latency_ms.is_finite() || self.latency_ms < 0.0 {
            return Err(OfferError::Latency {
                millis: self.latency_ms,
            });
        }
        if self.cpu_millis > 0 && self.fuel_per_second == 0 {
            return Err(OfferError::Speed {
                cpu_millis: self.cpu_millis,
            });
        }
        Ok(())
    }

    /// Tasks the node runs at once: one for each whole processor. A share of less lends nothing,
    /// because the runtime does not slow a task down yet.
    pub(crate) fn slots(&self) -> usize {
        if self.memory_bytes == 0 {
            return 0;
        }
        usize::try_from(self.cpu_millis / 1000).unwrap_or(usize::MAX)
    }
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NodeStatus {
    /// It is heard of and lends compute.
    Lending,
    /// It is heard of and lends nothing now.
    Idle,
    /// It is gone.
    Lost,
}

/// One node as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Which node.
    pub node: NodeId,
    /// Whether it is there.
    pub status: NodeStatus,
    /// What it lends.
    pub offer: Offer,
    /// What is known of its reliability.
    pub reputation: Reputation,
    /// Tasks it has.
    pub running: usize,
    /// Tasks that wait for it.
    pub waiting: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub offer: Offer,
    pub reputation: Reputation,
    pub heard: Instant,
    pub lost: bool,
    /// Dispatched and not reported.
    pub running: BTreeSet<TaskId>,
    /// Placed here, to be dispatched when a slot is free.
    pub waiting: VecDeque<TaskId>,
}

impl Node {
    pub(crate) fn status(&self) -> NodeStatus {
        match (self.lost, self.offer.slots()) {
            (true, _) => NodeStatus::Lost,
            (false, 0) => NodeStatus::Idle,
            (false, _) => NodeStatus::Lending,
        }
    }

    pub(crate) fn has_free_slot(&self) -> bool {
        !self.lost && self.running.len() < self.offer.slots()
    }
}

/// All nodes ever seen, so that reputation outlives a connection.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub nodes: BTreeMap<NodeId, Node>,
}

impl Registry {
    /// Adds a node or brings it back. `false` if the registry is full.
    pub(crate) fn insert(&mut self, node: NodeId, offer: Offer, now: Instant) -> bool {
        if let Some(known) = self.nodes.get_mut(&node) {
            known.offer = offer;
            known.heard = now;
            known.lost = false;
            return true;
        }
        if self.nodes.len() >= NODES_MAX {
            return false;
        }
        let fresh = Node {
            offer,
            reputation: Reputation::default(),
            heard: now,
            lost: false,
            running: BTreeSet::new(),
            waiting: VecDeque::new(),
        };
        self.nodes.insert(node, fresh);
        true
    }

    pub(crate) fn views(&self) -> Vec<NodeView> {
        self.nodes
            .iter()
            .map(|(id, node)| NodeView {
                node: *id,
                status: node.status(),
                offer: node.offer,
                reputation: node.reputation,
                running: node.running.len(),
                waiting: node.waiting.len(),
            })
            .collect()
    }
}
