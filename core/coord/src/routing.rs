//! Which node gets a task: six strategies behind one trait.
//!
//! The optimiser places batches; a [`Router`] decides for one task, in one pass over the nodes. All
//! strategies choose among the same nodes, those that [`Request::fits`] says can take the task
//! **now**: by free capacity, never by totals. They differ in which of them they take.
//!
//! | strategy | takes |
//! |---|---|
//! | [`Strategy::RoundRobin`] | the next one, in the order of ids |
//! | [`Strategy::LeastLoaded`] | the one of which the least is in use afterwards |
//! | [`Strategy::Affinity`] | the one to which the fewest bytes have to be moved |
//! | [`Strategy::Proximity`] | the nearest |
//! | [`Strategy::PrivacyAware`] | one by lot, the trusted more often |
//! | [`Strategy::Random`] | one by lot |
//!
//! ```
//! use fogcompute_base::{JobId, NodeId, OsEntropy};
//! use fogcompute_coord::routing::{Candidate, Capacity, Request, Strategy};
//!
//! let room = Capacity { cpu_millis: 4_000, memory_bytes: 1 << 30, storage_bytes: 0 };
//! let idle = Candidate::new(NodeId::from_bytes([1; 32]), room);
//! let mut busy = Candidate::new(NodeId::from_bytes([2; 32]), room);
//! busy.free.cpu_millis = 1_000;
//!
//! let needs = Capacity { cpu_millis: 1_000, memory_bytes: 1 << 20, storage_bytes: 0 };
//! let request = Request::new(JobId::from_bytes([3; 16]), needs);
//! let mut router = Strategy::default().router();
//! let chosen = router.route(&request, &mut [busy, idle].into_iter(), &mut OsEntropy)?;
//! assert_eq!(chosen, idle.node);
//! # Ok::<(), fogcompute_coord::routing::Unroutable>(())
//! ```

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use fogcompute_base::{JobId, NodeId, Rng};
use fogcompute_exec::ContentId;
use fogcompute_ledger::Amount;
use thiserror::Error;

use crate::bank::price;
use crate::coordinates::Coordinate;
use crate::kind::{NodeKind, PrivacyLevel, Status};

/// What of a machine is there, free, or needed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capacity {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Disk, in bytes.
    pub storage_bytes: u64,
}

/// What a node holds of the content that tasks need.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// In ascending order.
    Sorted(&'a [ContentId]),
    /// A set.
    Set(&'a BTreeSet<ContentId>),
    /// A few, in any order.
    Few(&'a VecDeque<ContentId>),
}

impl Content<'_> {
    fn holds(&self, id: &ContentId) -> bool {
        match self {
            Self::Sorted(ids) => ids.binary_search(id).is_ok(),
            Self::Set(ids) => ids.contains(id),
            Self::Few(ids) => ids.contains(id),
        }
    }
}

/// A node as a [`Router`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Which node.
    pub node: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// How it is doing.
    pub status: Status,
    /// What nothing has been promised of.
    pub free: Capacity,
    /// All it lends.
    pub total: Capacity,
    /// Tasks it runs.
    pub running: usize,
    /// Tasks that wait for it.
    pub waiting: usize,
    /// What it asks for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// Probability of success that it exceeds almost certainly, 0 to 1:
    /// [`Reputation::lower_bound`](fogcompute_schedule::Reputation::lower_bound).
    pub trust: f64,
    /// Where it is, if it is known.
    pub coordinate: Option<Coordinate>,
    /// Time of a message from here and back, in milliseconds.
    pub latency_ms: f64,
    /// Whether it is reached through the mixnet.
    pub mixnet: bool,
    /// What it holds.
    pub content: Content<'a>,
}

impl Candidate<'_> {
    /// An idle compute node, free of charge, of which nothing else is known.
    #[must_use]
    pub const fn new(node: NodeId, total: Capacity) -> Self {
        Self {
            node,
            kind: NodeKind::Compute,
            status: Status::Idle,
            free: total,
            total,
            running: 0,
            waiting: 0,
            price_per_gigafuel: Amount::ZERO,
            trust: 0.0,
            coordinate: None,
            latency_ms: 0.0,
            mixnet: false,
            content: Content::Sorted(&[]),
        }
    }
}

/// What a task needs of its node.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The job it belongs to.
    pub job: JobId,
    /// What it takes up.
    pub needs: Capacity,
    /// Fuel it is estimated to burn.
    pub fuel_estimate: u64,
    /// Most that may be paid for it.
    pub price_max: Amount,
    /// Least [`Candidate::trust`] of its node. 0 for any, also where nothing is known.
    pub trust_min: f64,
    /// How well it must be hidden.
    pub privacy: PrivacyLevel,
    /// Where it should be near: its submitter, or its data.
    pub near: Option<Coordinate>,
    /// The content it needs, with the length of each in bytes.
    pub content: &'a [(ContentId, u64)],
    /// Nodes that must not get it. Where they are better than none, ask again without.
    pub avoid: &'a BTreeSet<NodeId>,
}

/// Nobody is avoided.
static NOBODY: BTreeSet<NodeId> = BTreeSet::new();

impl Request<'_> {
    /// A public task for which any price may be paid.
    #[must_use]
    pub const fn new(job: JobId, needs: Capacity) -> Self {
        Self {
            job,
            needs,
            fuel_estimate: 0,
            price_max: Amount::MAX,
            trust_min: 0.0,
            privacy: PrivacyLevel::Public,
            near: None,
            content: &[],
            avoid: &NOBODY,
        }
    }

    /// Whether a node can take the task now.
    ///
    /// # Errors
    /// The first [`Obstacle`], in the order of its variants.
    pub fn fits(&self, candidate: &Candidate<'_>) -> Result<(), Obstacle> {
        if !candidate.status.takes_tasks() {
            return Err(Obstacle::Status {
                status: candidate.status,
            });
        }
        if self.avoid.contains(&candidate.node) {
            return Err(Obstacle::Avoided);
        }
        // What is not a number is not trusted.
        let trusted = self.trust_min <= 0.0 || candidate.trust >= self.trust_min;
        if !trusted {
            return Err(Obstacle::Trust {
                trust: candidate.trust,
                needed: self.trust_min,
            });
        }
        self.fits_into(candidate, &candidate.free)
    }

    /// Whether a node could take the task if it had nothing else to do and was trusted: whether it
    /// makes sense to wait for it.
    ///
    /// # Errors
    /// The first [`Obstacle`], in the order of its variants.
    pub fn could_fit(&self, candidate: &Candidate<'_>) -> Result<(), Obstacle> {
        self.fits_into(candidate, &candidate.total)
    }

    /// Whether any of the nodes could ever take the task.
    ///
    /// # Errors
    /// [`Unroutable`] with the nearest miss: say so when the task is submitted.
    pub fn could_fit_any<'a>(
        &self,
        candidates: impl IntoIterator<Item = Candidate<'a>>,
    ) -> Result<(), Unroutable> {
        let mut misses = Misses::default();
        for candidate in candidates {
            match self.could_fit(&candidate) {
                Ok(()) => return Ok(()),
                Err(obstacle) => misses.add(candidate.node, obstacle),
            }
        }
        Err(misses.into())
    }

    fn fits_into(&self, candidate: &Candidate<'_>, room: &Capacity) -> Result<(), Obstacle> {
        if !candidate.kind.runs_tasks() {
            return Err(Obstacle::Kind {
                kind: candidate.kind,
            });
        }
        if self.privacy.needs_mixnet() && !candidate.mixnet {
            return Err(Obstacle::NotInMixnet {
                privacy: self.privacy,
            });
        }
        let asked = price(
            self.fuel_estimate,
            candidate.price_per_gigafuel,
            Amount::MAX,
        );
        if asked > self.price_max {
            return Err(Obstacle::Price {
                price: asked,
                max: self.price_max,
            });
        }
        let needs = &self.needs;
        if needs.cpu_millis > room.cpu_millis {
            return Err(Obstacle::Cpu {
                millis: room.cpu_millis,
                needed: needs.cpu_millis,
            });
        }
        if needs.memory_bytes > room.memory_bytes {
            return Err(Obstacle::Memory {
                bytes: room.memory_bytes,
                needed: needs.memory_bytes,
            });
        }
        if needs.storage_bytes > room.storage_bytes {
            return Err(Obstacle::Storage {
                bytes: room.storage_bytes,
                needed: needs.storage_bytes,
            });
        }
        Ok(())
    }

    /// Bytes that a node lacks of what the task needs.
    #[must_use]
    pub fn bytes_to_move(&self, candidate: &Candidate<'_>) -> u64 {
        let missing = self
            .content
            .iter()
            .filter(|(id, _)| !candidate.content.holds(id));
        missing.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// How far a node is: from where the task should be near, if both places are known, else from
    /// here. In milliseconds.
    fn distance_ms(&self, candidate: &Candidate<'_>) -> f64 {
        match (&self.near, &candidate.coordinate) {
            (Some(near), Some(place)) => near.distance_ms(place),
            _ => candidate.latency_ms,
        }
    }
}

/// Why a node cannot take a task.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum Obstacle {
    /// It takes no tasks now.
    #[error("node is {status}")]
    Status {
        /// How it is doing.
        status: Status,
    },
    /// The task must not go there.
    #[error("node is to be avoided")]
    Avoided,
    /// It is not known to be reliable enough.
    #[error("trust of {trust} is below {needed}")]
    Trust {
        /// What is known.
        trust: f64,
        /// What is needed.
        needed: f64,
    },
    /// Nodes of its kind run no tasks.
    #[error("{kind} runs no tasks")]
    Kind {
        /// What it is.
        kind: NodeKind,
    },
    /// It is not reached through the mixnet.
    #[error("node is outside the mixnet and the task is {privacy}")]
    NotInMixnet {
        /// How well the task must be hidden.
        privacy: PrivacyLevel,
    },
    /// It asks for more than may be paid.
    #[error("{} credits exceed the most of {}", price.to_credits_string(), max.to_credits_string())]
    Price {
        /// For the estimated fuel, in base units.
        price: Amount,
        /// What may be paid.
        max: Amount,
    },
    /// Too little processor.
    #[error("{millis} thousandths of a processor, {needed} are needed")]
    Cpu {
        /// What it has.
        millis: u64,
        /// What is needed.
        needed: u64,
    },
    /// Too little memory.
    #[error("{bytes} bytes of memory, {needed} are needed")]
    Memory {
        /// What it has.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
    /// Too little disk.
    #[error("{bytes} bytes of disk, {needed} are needed")]
    Storage {
        /// What it has.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
}

impl Obstacle {
    /// How much is in the way: checks that were not even reached, and how much is missing, in the
    /// unit of the obstacle.
    fn size(&self) -> (u8, u128) {
        let lack = |has: u64, needed: u64| u128::from(needed.saturating_sub(has));
        match *self {
            Self::Status { .. } => (8, 0),
            Self::Avoided => (7, 0),
            // To the billionth; what is not a number lacks nothing, and is last by its id.
            Self::Trust { trust, needed } => (6, ((needed - trust) * 1e9) as u128),
            Self::Kind { .. } => (5, 0),
            Self::NotInMixnet { .. } => (4, 0),
            Self::Price { price, max } => (3, price.0.saturating_sub(max.0)),
            Self::Cpu { millis, needed } => (2, lack(millis, needed)),
            Self::Memory { bytes, needed } => (1, lack(bytes, needed)),
            Self::Storage { bytes, needed } => (0, lack(bytes, needed)),
        }
    }
}

/// No node can take the task.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("none of {nodes} nodes can take the task{}", Nearest(.nearest))]
pub struct Unroutable {
    /// Nodes that were looked at.
    pub nodes: usize,
    /// The node that comes nearest, and what is in its way: the one that passes the most checks,
    /// and of those the one that lacks the least.
    pub nearest: Option<(NodeId, Obstacle)>,
}

struct Nearest<'a>(&'a Option<(NodeId, Obstacle)>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((node, obstacle)) => write!(f, "; at {}, the nearest: {obstacle}", node.short()),
            None => Ok(()),
        }
    }
}

/// Finds the nearest miss.
#[derive(Debug, Default)]
struct Misses {
    nodes: usize,
    nearest: Option<(NodeId, Obstacle)>,
}

impl Misses {
    fn add(&mut self, node: NodeId, obstacle: Obstacle) {
        self.nodes += 1;
        let nearer = self
            .nearest
            .is_none_or(|(at, known)| (obstacle.size(), node) < (known.size(), at));
        if nearer {
            self.nearest = Some((node, obstacle));
        }
    }
}

impl From<Misses> for Unroutable {
    fn from(misses: Misses) -> Self {
        Self {
            nodes: misses.nodes,
            nearest: misses.nearest,
        }
    }
}

/// Chooses a node for one task.
///
/// Every implementation passes `router_conformance!` (feature `testing`): it chooses a node that
/// [fits](Request::fits), one whenever there is one, the same for the same seed, and in whichever
/// order the nodes come.
pub trait Router: fmt::Debug + Send {
    /// Chooses one of the candidates, each of which has another id.
    ///
    /// Complexity: one pass; nothing is allocated.
    ///
    /// # Errors
    /// [`Unroutable`] if the task fits nowhere now.
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable>;
}

/// The one that fits with the least key. Keys end in the node's id, so that no two are equal.
fn least<'a, K: Ord>(
    request: &Request<'_>,
    candidates: &mut dyn Iterator<Item = Candidate<'a>>,
    key: impl Fn(&Candidate<'a>) -> K,
) -> Result<NodeId, Unroutable> {
    let mut best: Option<(K, NodeId)> = None;
    let mut misses = Misses::default();
    for candidate in candidates {
        if let Err(obstacle) = request.fits(&candidate) {
            misses.add(candidate.node, obstacle);
            continue;
        }
        let this = (key(&candidate), candidate.node);
        if best.as_ref().is_none_or(|best| this < *best) {
            best = Some(this);
        }
    }
    best.map(|(_, node)| node).ok_or_else(|| misses.into())
}

/// A share, 0 to 1, compared exactly.
#[derive(Clone, Copy, Debug)]
struct Share {
    part: u64,
    whole: u64,
}

impl Share {
    fn products(&self, other: &Self) -> (u128, u128) {
        (
            u128::from(self.part) * u128::from(other.whole),
            u128::from(other.part) * u128::from(self.whole),
        )
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let (this, that) = self.products(other);
        this.cmp(&that)
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

/// How much a node has to do once it has the task.
///
/// The largest share of any resource that is then in use (its dominant share: what runs out first),
/// then the tasks that wait, then those that run.
///
/// Source of the share: Ghodsi et al. 2011, "Dominant resource fairness", §4.
fn load(request: &Request<'_>, candidate: &Candidate<'_>) -> (Share, usize, usize) {
    let (free, total, needs) = (&candidate.free, &candidate.total, &request.needs);
    let share = |free: u64, total: u64, needed: u64| {
        let used = total.saturating_sub(free).saturating_add(needed);
        Share {
            // A node that says more is free than there is does not get beyond itself.
            part: used.min(total),
            whole: total.max(1),
        }
    };
    let shares = [
        share(free.cpu_millis, total.cpu_millis, needs.cpu_millis),
        share(free.memory_bytes, total.memory_bytes, needs.memory_bytes),
        share(free.storage_bytes, total.storage_bytes, needs.storage_bytes),
    ];
    let [cpu, memory, storage] = shares;
    (
        cpu.max(memory).max(storage),
        candidate.waiting,
        candidate.running,
    )
}

/// A number that orders as the value does; what is negative or not a number comes last.
fn ascending(value: f64) -> u64 {
    if value >= 0.0 {
        // IEEE 754: without a sign, the bits of numbers order as the numbers. Zero may have one.
        (value + 0.0).to_bits()
    } else {
        u64::MAX
    }
}

/// A number for a node that is as good as random for whoever does not know the salt, whichever
/// order nodes come in. For any one node it is uniform over the salts.
///
/// Source: Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates"
/// (rendezvous hashing); the mixer is the finaliser of SplitMix64.
fn lot(salt: u64, node: &NodeId) -> u64 {
    fold(salt, node.as_bytes())
}

/// Where in the order of ids a job looks first: a point that is as good as random, the same for all its
/// tasks.
pub(crate) fn job_point(job: JobId) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&fold(0, job.as_bytes()).to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn fold(start: u64, bytes: &[u8]) -> u64 {
    bytes.chunks_exact(8).fold(start, |folded, word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        let mut z = (folded ^ u64::from_be_bytes(bytes)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Takes the next node, in the order of ids, so that all get the same number of tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    last: Option<NodeId>,
}

impl Router for RoundRobin {
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        _rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable> {
        let last = self.last;
        // Those after the last one come first.
        let had_its_turn = |it: &Candidate<'_>| last.is_some_and(|last| it.node <= last);
        let chosen = least(request, candidates, had_its_turn)?;
        self.last = Some(chosen);
        Ok(chosen)
    }
}

/// Takes the node of which the smallest share is in use once it has the task; of equals, the one
/// for which the fewest tasks wait, which the fewest run on, and then one by lot.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl Router for LeastLoaded {
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable> {
        let salt = rng.next_u64();
        let key = |it: &Candidate<'_>| (load(request, it), lot(salt, &it.node));
        least(request, candidates, key)
    }
}

/// Takes the node to which the fewest bytes have to be moved; of equals, the one with the least
/// load, and then the one that the job's other tasks would get too, so that what they share comes
/// to one place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Affinity;

impl Router for Affinity {
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        _rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable> {
        let salt = fold(0, request.job.as_bytes());
        let key = |it: &Candidate<'_>| {
            let bytes = request.bytes_to_move(it);
            (bytes, load(request, it), lot(salt, &it.node))
        };
        least(request, candidates, key)
    }
}

/// Takes the node that is nearest to where the task should be, by coordinates where both are known
/// and by the measured round trip from here where not; of equals, the one with the least load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proximity;

impl Router for Proximity {
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable> {
        let salt = rng.next_u64();
        let key = |it: &Candidate<'_>| {
            let distance = ascending(request.distance_ms(it));
            (distance, load(request, it), lot(salt, &it.node))
        };
        least(request, candidates, key)
    }
}

/// Takes a node by lot, in proportion to its trust: tasks are spread over all who can take them, and
/// nobody can tell which one it will be.
///
/// A task that asks for privacy goes only to nodes of the mixnet, with this strategy as with every
/// other. What this one adds is that no node sees more than its part, and that nobody gets to see a
/// task by looking best.
///
/// # Security
/// The choice is as unpredictable as `rng`: pass one that is fit for keys. Trust below one in a
/// hundred counts as that, so newcomers get some.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrivacyAware;

/// Least weight of a node in the lottery.
const TRUST_MIN: f64 = 0.01;

/// The weight of a node in the lottery of [`PrivacyAware`], from [`TRUST_MIN`] to 1.
pub(crate) fn lottery_weight(trust: f64) -> f64 {
    // What is not a number counts least.
    if trust > TRUST_MIN {
        trust.min(1.0)
    } else {
        TRUST_MIN
    }
}

impl Router for PrivacyAware {
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable> {
        let salt = rng.next_u64();
        // A race of exponential times: the first is who wins, with a probability in proportion to
        // its rate. Source: Efraimidis and Spirakis 2006, "Weighted random sampling with a
        // reservoir". libm rather than the platform's logarithm: the same bits everywhere.
        let key = |it: &Candidate<'_>| {
            let unit = ((lot(salt, &it.node) >> 11) + 1) as f64 * (1.0 / (1_u64 << 53) as f64);
            let rate = lottery_weight(it.trust);
            (ascending(-libm::log(unit) / rate), lot(!salt, &it.node))
        };
        least(request, candidates, key)
    }
}

/// Takes a node by lot, each with the same chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Router for Random {
    fn route<'a>(
        &mut self,
        request: &Request<'_>,
        candidates: &mut dyn Iterator<Item = Candidate<'a>>,
        rng: &mut dyn Rng,
    ) -> Result<NodeId, Unroutable> {
        let salt = rng.next_u64();
        least(request, candidates, |it| lot(salt, &it.node))
    }
}

/// The text names no strategy.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "no such strategy: one of round_robin, least_loaded, affinity, proximity, privacy_aware, random \
     is expected"
)]
pub struct ParseStrategyError;

/// The strategies, for configuration.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Strategy {
    /// [`RoundRobin`], `round_robin`.
    RoundRobin,
    /// [`LeastLoaded`], `least_loaded`. The default.
    #[default]
    LeastLoaded,
    /// [`Affinity`], `affinity`.
    Affinity,
    /// [`Proximity`], `proximity`.
    Proximity,
    /// [`PrivacyAware`], `privacy_aware`.
    PrivacyAware,
    /// [`Random`], `random`.
    Random,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::LeastLoaded,
        Self::Affinity,
        Self::Proximity,
        Self::PrivacyAware,
        Self::Random,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastLoaded => "least_loaded",
            Self::Affinity => "affinity",
            Self::Proximity => "proximity",
            Self::PrivacyAware => "privacy_aware",
            Self::Random => "random",
        }
    }

    /// A router that goes by it.
    #[must_use]
    pub fn router(self) -> Box<dyn Router> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::LeastLoaded => Box::new(LeastLoaded),
            Self::Affinity => Box::new(Affinity),
            Self::Proximity => Box::new(Proximity),
            Self::PrivacyAware => Box::new(PrivacyAware),
            Self::Random => Box::new(Random),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = ParseStrategyError;

    fn from_str(text: &str) -> Result<Self, ParseStrategyError> {
        let found = Self::ALL.into_iter().find(|it| it.name() == text);
        found.ok_or(ParseStrategyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Strategy;
    use proptest::prelude::*;
    use proptest::strategy::Strategy as _;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    mod round_robin {
        crate::router_conformance!(crate::routing::Strategy::RoundRobin.router());
    }
    mod least_loaded {
        crate::router_conformance!(crate::routing::Strategy::LeastLoaded.router());
    }
    mod affinity {
        crate::router_conformance!(crate::routing::Strategy::Affinity.router());
    }
    mod proximity {
        crate::router_conformance!(crate::routing::Strategy::Proximity.router());
    }
    mod privacy_aware {
        crate::router_conformance!(crate::routing::Strategy::PrivacyAware.router());
    }
    mod random {
        crate::router_conformance!(crate::routing::Strategy::Random.router());
    }

    const JOB: JobId = JobId::from_bytes([9; 16]);

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    fn id(number: u64) -> NodeId {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn content(number: u8) -> ContentId {
        ContentId::from_bytes([number; 32])
    }

    fn capacity(cpu_millis: u64, memory_bytes: u64) -> Capacity {
        Capacity {
            cpu_millis,
            memory_bytes,
            storage_bytes: 0,
        }
    }

    fn candidate(number: u64) -> Candidate<'static> {
        Candidate {
            mixnet: true,
            trust: 0.5,
            ..Candidate::new(id(number), capacity(4_000, 1_000))
        }
    }

    fn request() -> Request<'static> {
        Request::new(JOB, capacity(1_000, 100))
    }

    /// How often each of the candidates is chosen.
    fn tally(
        strategy: Strategy,
        request: &Request<'_>,
        candidates: &[Candidate<'_>],
        decisions: usize,
    ) -> Vec<usize> {
        let (mut router, mut rng) = (strategy.router(), rng(3));
        let mut counts = vec![0; candidates.len()];
        for _ in 0..decisions {
            let chosen = router.route(request, &mut candidates.iter().copied(), &mut rng);
            let chosen = chosen.unwrap();
            let at = candidates.iter().position(|it| it.node == chosen);
            counts[at.unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn strategies_have_names() {
        let names = [
            "round_robin",
            "least_loaded",
            "affinity",
            "proximity",
            "privacy_aware",
            "random",
        ];
        for (strategy, name) in Strategy::ALL.into_iter().zip(names) {
            assert_eq!(strategy.to_string(), name);
            assert_eq!(name.parse(), Ok(strategy));
            assert!(ParseStrategyError.to_string().contains(name));
        }
        assert_eq!("Random".parse::<Strategy>(), Err(ParseStrategyError));
        assert_eq!(Strategy::default(), Strategy::LeastLoaded);
    }

    #[test]
    fn a_lottery_is_fair() {
        let candidates: Vec<_> = (0..10).map(candidate).collect();
        for strategy in [Strategy::Random, Strategy::PrivacyAware] {
            // 1000 each, with a standard deviation of 30.
            for count in tally(strategy, &request(), &candidates, 10_000) {
                assert!((850..1_150).contains(&count), "{strategy}: {count}");
            }
        }
    }

    #[test]
    fn the_trusted_get_more_private_tasks_and_not_all() {
        let mut candidates: Vec<_> = (0..4).map(candidate).collect();
        for (it, trust) in candidates.iter_mut().zip([0.9, 0.3, 0.0, f64::NAN]) {
            it.trust = trust;
        }
        let private = Request {
            privacy: PrivacyLevel::Private,
            ..request()
        };
        let counts = tally(Strategy::PrivacyAware, &private, &candidates, 12_200);
        assert!((8_600..9_400).contains(&counts[0]), "{counts:?}");
        assert!((2_700..3_300).contains(&counts[1]), "{counts:?}");
        // Of newcomers, and of those of whom nonsense is known, one in a hundred.
        assert!((60..140).contains(&counts[2]), "{counts:?}");
        assert!((60..140).contains(&counts[3]), "{counts:?}");
    }

    #[test]
    fn nobody_is_chosen_for_looking_best() {
        // An idle node next door with everything on it does not get the private tasks.
        let ids = [content(1)];
        let mut candidates: Vec<_> = (0..20).map(candidate).collect();
        for it in &mut candidates {
            it.latency_ms = 100.0;
            it.free.cpu_millis = 1_500;
        }
        candidates[7].latency_ms = 0.1;
        candidates[7].free.cpu_millis = 4_000;
        candidates[7].content = Content::Sorted(&ids);
        let private = Request {
            privacy: PrivacyLevel::Secret,
            content: &[(ids[0], 1_000)],
            ..request()
        };
        let counts = tally(Strategy::PrivacyAware, &private, &candidates, 2_000);
        assert!(counts.iter().all(|count| (50..150).contains(count)));
    }

    #[test]
    fn affinity_counts_bytes_and_nothing_else() {
        // In the prototype it was |cores| + |megabytes|, so memory decided alone.
        let (large, small) = (content(1), content(2));
        let (has_large, has_small) = ([large], BTreeSet::from([small]));
        let mut candidates = [candidate(1), candidate(2), candidate(3)];
        candidates[0].content = Content::Set(&has_small);
        candidates[1].content = Content::Sorted(&has_large);
        candidates[1].free.cpu_millis = 1_000;
        candidates[1].latency_ms = 500.0;
        let needed = [(large, 1_000_000), (small, 10)];
        let request = Request {
            content: &needed,
            ..request()
        };
        let bytes = candidates.map(|it| request.bytes_to_move(&it));
        assert_eq!(bytes, [1_000_000, 10, 1_000_010]);
        assert_eq!(
            tally(Strategy::Affinity, &request, &candidates, 10),
            [0, 10, 0]
        );
        // Where it is full, the next best.
        candidates[1].free.cpu_millis = 999;
        assert_eq!(
            tally(Strategy::Affinity, &request, &candidates, 10),
            [10, 0, 0]
        );
    }

    #[test]
    fn tasks_of_one_job_meet_where_nothing_else_tells_nodes_apart() {
        let candidates: Vec<_> = (0..50).map(candidate).collect();
        let mut places = BTreeSet::new();
        for job in 0..20 {
            let request = Request {
                job: JobId::from_bytes([job; 16]),
                ..request()
            };
            let counts = tally(Strategy::Affinity, &request, &candidates, 5);
            places.insert(counts.iter().position(|count| *count == 5).unwrap());
        }
        assert!(places.len() > 10);
    }

    #[test]
    fn proximity_goes_by_coordinates_and_by_round_trips_without() {
        let at = |millis| Coordinate::new([millis, 0.0, 0.0], 1.0, 0.1).unwrap();
        let mut candidates = [candidate(1), candidate(2), candidate(3)];
        for (it, (place, latency_ms)) in
            candidates
                .iter_mut()
                .zip([(50.0, 1.0), (90.0, 50.0), (180.0, 9.0)])
        {
            it.coordinate = Some(at(place));
            it.latency_ms = latency_ms;
        }
        let near = Request {
            near: Some(at(100.0)),
            ..request()
        };
        assert_eq!(tally(Strategy::Proximity, &near, &candidates, 5), [0, 5, 0]);
        assert_eq!(
            tally(Strategy::Proximity, &request(), &candidates, 5),
            [5, 0, 0]
        );
        candidates[1].coordinate = None;
        // 12 ms by coordinate was the nearest; now 50 from here, and 52 and 82 by coordinate.
        assert_eq!(tally(Strategy::Proximity, &near, &candidates, 5), [0, 5, 0]);
        candidates[0].latency_ms = f64::NAN;
        candidates[2].latency_ms = -1.0;
        assert_eq!(
            tally(Strategy::Proximity, &request(), &candidates, 5),
            [0, 5, 0]
        );
    }

    #[test]
    fn numbers_order_as_their_bits() {
        let ordered = [0.0, 1e-300, 0.5, 1.0, 60_000.0, f64::INFINITY, f64::NAN];
        assert!(
            ordered
                .windows(2)
                .all(|pair| ascending(pair[0]) < ascending(pair[1]))
        );
        assert_eq!(ascending(-0.0), ascending(0.0));
        assert_eq!(ascending(-1.0), u64::MAX);
    }

    #[test]
    fn the_nearest_miss_is_named() {
        let mut candidates = [candidate(1), candidate(2), candidate(3), candidate(4)];
        candidates[0].status = Status::Draining;
        candidates[1].free.cpu_millis = 0;
        candidates[2].free.memory_bytes = 50;
        candidates[3].free.memory_bytes = 99;
        let refused = |request: &Request<'_>, candidates: &[Candidate<'_>]| {
            let mut candidates = candidates.iter().copied();
            LeastLoaded
                .route(request, &mut candidates, &mut rng(1))
                .unwrap_err()
        };
        let nearest = |node, obstacle| Unroutable {
            nodes: 4,
            nearest: Some((id(node), obstacle)),
        };
        let memory = Obstacle::Memory {
            bytes: 99,
            needed: 100,
        };
        let error = refused(&request(), &candidates);
        assert_eq!(error, nearest(4, memory));
        assert_eq!(
            error.to_string(),
            "none of 4 nodes can take the task; at 00000000, the nearest: 99 bytes of memory, 100 \
             are needed"
        );
        // Idle, all but the first could take it, and the first one too once it is back.
        assert_eq!(request().could_fit_any(candidates), Ok(()));
        let huge = Request::new(JOB, capacity(5_000, 0));
        let cpu = Obstacle::Cpu {
            millis: 4_000,
            needed: 5_000,
        };
        assert_eq!(huge.could_fit_any(candidates), Err(nearest(1, cpu)));
        let nobody = Unroutable {
            nodes: 0,
            nearest: None,
        };
        assert_eq!(refused(&request(), &[]), nobody);
        assert_eq!(
            nobody.to_string(),
            "none of 0 nodes can take the task".to_owned()
        );
    }

    #[test]
    fn each_obstacle_is_told() {
        let sound = candidate(1);
        let avoid = BTreeSet::from([sound.node]);
        let open = request();
        let private = Request {
            privacy: PrivacyLevel::Confidential,
            trust_min: 0.6,
            fuel_estimate: 2_000_000_000,
            price_max: Amount(10),
            avoid: &avoid,
            ..request()
        };
        assert_eq!(open.fits(&sound), Ok(()));
        let status = Status::Suspect;
        let mut it = Candidate { status, ..sound };
        let mut wish = private;
        assert_eq!(wish.fits(&it), Err(Obstacle::Status { status }));
        it.status = Status::Busy;
        assert_eq!(wish.fits(&it), Err(Obstacle::Avoided));
        wish.avoid = open.avoid;
        let (trust, needed) = (0.5, 0.6);
        assert_eq!(wish.fits(&it), Err(Obstacle::Trust { trust, needed }));
        it.trust = 0.6;
        let kind = NodeKind::Mixnode;
        it.kind = kind;
        assert_eq!(wish.fits(&it), Err(Obstacle::Kind { kind }));
        it.kind = NodeKind::EdgeDevice;
        it.mixnet = false;
        let privacy = PrivacyLevel::Confidential;
        assert_eq!(wish.fits(&it), Err(Obstacle::NotInMixnet { privacy }));
        it.mixnet = true;
        it.price_per_gigafuel = Amount(6);
        let (price, max) = (Amount(12), Amount(10));
        assert_eq!(wish.fits(&it), Err(Obstacle::Price { price, max }));
        it.price_per_gigafuel = Amount(5);
        assert_eq!(wish.fits(&it), Ok(()));
        it.free.storage_bytes = 9;
        wish.needs.storage_bytes = 10;
        assert_eq!(
            wish.fits(&it),
            Err(Obstacle::Storage {
                bytes: 9,
                needed: 10
            })
        );
    }

    fn any_capacity() -> impl proptest::strategy::Strategy<Value = (Capacity, Capacity)> {
        let part = || (0..=8_u64, 0..=8_u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
        (part(), part(), part()).prop_map(|(cpu, memory, storage)| {
            let capacity = |cpu_millis, memory_bytes, storage_bytes| Capacity {
                cpu_millis,
                memory_bytes,
                storage_bytes,
            };
            (
                capacity(cpu.0, memory.0, storage.0),
                capacity(cpu.1, memory.1, storage.1),
            )
        })
    }

    fn any_fog() -> impl proptest::strategy::Strategy<Value = Vec<Candidate<'static>>> {
        let one = (any_capacity(), 0..3_usize, 0..3_usize, 0.0..100.0_f64);
        proptest::collection::vec(one, 1..30).prop_map(|all| {
            let all = (0..).zip(all);
            all.map(
                |(number, ((free, total), waiting, running, latency_ms))| Candidate {
                    free,
                    total,
                    waiting,
                    running,
                    latency_ms,
                    ..candidate(number)
                },
            )
            .collect()
        })
    }

    /// The dominant share of a node that gets the task, in 840ths: all totals divide that.
    fn share(request: &Request<'_>, it: &Candidate<'_>) -> u64 {
        let used = |free: u64, total: u64, needed: u64| match total {
            0 => 0,
            total => 840 * (total - free + needed) / total,
        };
        used(
            it.free.cpu_millis,
            it.total.cpu_millis,
            request.needs.cpu_millis,
        )
        .max(used(
            it.free.memory_bytes,
            it.total.memory_bytes,
            request.needs.memory_bytes,
        ))
        .max(used(
            it.free.storage_bytes,
            it.total.storage_bytes,
            request.needs.storage_bytes,
        ))
    }

    proptest! {
        #[test]
        fn the_least_loaded_has_the_least_load(
            fog in any_fog(), cpu in 0..4_u64, memory in 0..4_u64, seed in any::<u64>(),
        ) {
            let request = Request::new(JOB, capacity(cpu, memory));
            let chosen = LeastLoaded.route(&request, &mut fog.iter().copied(), &mut rng(seed));
            if let Ok(chosen) = chosen {
                let load = |it: &Candidate<'_>| (share(&request, it), it.waiting, it.running);
                let chosen = fog.iter().find(|it| it.node == chosen).unwrap();
                for other in fog.iter().filter(|it| request.fits(it).is_ok()) {
                    prop_assert!(load(chosen) <= load(other));
                }
            }
        }

        #[test]
        fn the_nearest_has_the_least_distance(fog in any_fog(), seed in any::<u64>()) {
            let request = Request::new(JOB, capacity(1, 1));
            let chosen = Proximity.route(&request, &mut fog.iter().copied(), &mut rng(seed));
            if let Ok(chosen) = chosen {
                let chosen = fog.iter().find(|it| it.node == chosen).unwrap();
                for other in fog.iter().filter(|it| request.fits(it).is_ok()) {
                    prop_assert!(chosen.latency_ms <= other.latency_ms);
                }
            }
        }

        /// Of those that can take tasks all the time, each gets one in every round.
        #[test]
        fn round_robin_gives_everybody_the_same(fog in any_fog(), rounds in 1..5_usize) {
            let request = Request::new(JOB, capacity(1, 1));
            let fitting = fog.iter().filter(|it| request.fits(it).is_ok()).count();
            let mut router = RoundRobin::default();
            for _ in 0..rounds {
                let mut served = BTreeSet::new();
                for _ in 0..fitting {
                    let mut candidates = fog.iter().copied();
                    let chosen = router.route(&request, &mut candidates, &mut rng(0)).unwrap();
                    prop_assert!(served.insert(chosen));
                }
            }
        }
    }
}
