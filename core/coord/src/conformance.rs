//! The suite that every [`Router`] passes. [`router_conformance!`](crate::router_conformance) turns it
//! into tests; each function is one of them and panics if its rule is broken.
//!
//! Fogs are drawn from seeds, so a failure names the seed it is found again by.

use std::collections::BTreeSet;

use fogcompute_base::{JobId, NodeId, Rng};
use fogcompute_exec::ContentId;
use fogcompute_ledger::Amount;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::coordinates::Coordinate;
use crate::kind::{NodeKind, PrivacyLevel, Status};
use crate::routing::{Candidate, Capacity, Content, Request, Router, Unroutable};

/// Tests that the router which the given expression makes, a `Box<dyn Router>`, passes the suite.
///
/// The expression is evaluated whenever a test needs a router that has decided nothing yet:
/// `router_conformance!(Strategy::Random.router())`.
#[macro_export]
macro_rules! router_conformance {
    ($make:expr) => {
        $crate::router_conformance! { @tests $make;
            what_is_chosen_can_take_the_task
            one_is_chosen_whenever_there_is_one
            the_order_of_candidates_changes_nothing
            the_same_seed_gives_the_same_decisions
            an_empty_fog_is_said_to_be_empty
            private_tasks_stay_in_the_mixnet
            all_free_capacity_is_used_and_no_more
            absurd_numbers_are_survived
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::$name(&|| $make);
            }
        )*
    };
}

const SEEDS: u64 = 200;

/// A fog and what is asked of it, drawn from a seed.
struct World {
    candidates: Vec<Candidate<'static>>,
    /// For each candidate, what it holds.
    content: Vec<BTreeSet<ContentId>>,
    needed: Vec<(ContentId, u64)>,
    avoid: BTreeSet<NodeId>,
    rng: ChaCha8Rng,
}

fn below(bound: u64, rng: &mut ChaCha8Rng) -> u64 {
    rng.next_u64() % bound
}

fn capacity(most: u64, rng: &mut ChaCha8Rng) -> Capacity {
    Capacity {
        cpu_millis: below(most, rng),
        memory_bytes: below(most, rng),
        storage_bytes: below(most, rng),
    }
}

fn coordinate(rng: &mut ChaCha8Rng) -> Option<Coordinate> {
    let mut axis = || below(200, rng) as f64;
    let (position, height) = ([axis(), axis(), axis()], 1.0 + axis());
    Coordinate::new(position, height, 1.0)
        .ok()
        .filter(|_| below(2, rng) == 0)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ids: Vec<_> = (0..5).map(|id| ContentId::from_bytes([id; 32])).collect();
        let nodes = below(40, &mut rng);
        let mut world = Self {
            candidates: Vec::new(),
            content: Vec::new(),
            needed: Vec::new(),
            avoid: BTreeSet::new(),
            rng,
        };
        for _ in 0..nodes {
            world.add_node(&ids);
        }
        let rng = &mut world.rng;
        let lengths: Vec<_> = ids.into_iter().map(|id| (id, below(1_000, rng))).collect();
        world.needed = lengths.into_iter().filter(|_| below(2, rng) == 0).collect();
        world
    }

    fn add_node(&mut self, ids: &[ContentId]) {
        let rng = &mut self.rng;
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        let node = NodeId::from_bytes(bytes);
        let free = capacity(10, rng);
        let used = capacity(5, rng);
        let total = Capacity {
            cpu_millis: free.cpu_millis + used.cpu_millis,
            memory_bytes: free.memory_bytes + used.memory_bytes,
            storage_bytes: free.storage_bytes + used.storage_bytes,
        };
        // Most of them sound, so that there is something to choose from.
        let odd = below(3, rng) == 0;
        let (kind, status) = if odd {
            (
                NodeKind::ALL[below(5, rng) as usize],
                Status::ALL[below(7, rng) as usize],
            )
        } else {
            (NodeKind::Compute, Status::Active)
        };
        self.candidates.push(Candidate {
            kind,
            status,
            free,
            running: below(5, rng) as usize,
            waiting: below(3, rng) as usize,
            price_per_gigafuel: Amount(below(10, rng).into()),
            trust: below(101, rng) as f64 / 100.0,
            coordinate: coordinate(rng),
            latency_ms: below(300, rng) as f64,
            mixnet: below(3, rng) > 0,
            ..Candidate::new(node, total)
        });
        self.content
            .push(ids.iter().copied().filter(|_| below(2, rng) == 0).collect());
        if below(10, rng) == 0 {
            self.avoid.insert(node);
        }
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        let all = self.candidates.iter().zip(&self.content);
        all.map(|(candidate, content)| Candidate {
            content: Content::Set(content),
            ..*candidate
        })
        .collect()
    }

    /// What the next task needs.
    fn request(&self, rng: &mut ChaCha8Rng) -> Request<'_> {
        let mut job = [0; 16];
        rng.fill_bytes(&mut job);
        Request {
            fuel_estimate: below(3, rng) * 1_000_000_000,
            price_max: Amount(1 + u128::from(below(20, rng))),
            trust_min: [0.0, 0.0, 0.3][below(3, rng) as usize],
            privacy: PrivacyLevel::ALL[below(4, rng) as usize],
            near: coordinate(rng),
            content: &self.needed,
            avoid: &self.avoid,
            ..Request::new(JobId::from_bytes(job), capacity(6, rng))
        }
    }
}

/// Whether a node can take a task now, said once more, without [`Request::fits`].
fn can_take(request: &Request<'_>, it: &Candidate<'_>) -> bool {
    let giga = u128::from(request.fuel_estimate / 1_000_000_000);
    let price = (giga * it.price_per_gigafuel.0).max(1);
    matches!(it.kind, NodeKind::EdgeDevice | NodeKind::Compute)
        && matches!(it.status, Status::Active | Status::Idle | Status::Busy)
        && !request.avoid.contains(&it.node)
        && it.trust >= request.trust_min
        && (request.privacy == PrivacyLevel::Public || it.mixnet)
        && price <= request.price_max.0
        && it.free.cpu_millis >= request.needs.cpu_millis
        && it.free.memory_bytes >= request.needs.memory_bytes
        && it.free.storage_bytes >= request.needs.storage_bytes
}

fn route(
    router: &mut dyn Router,
    request: &Request<'_>,
    candidates: &[Candidate<'_>],
    rng: &mut ChaCha8Rng,
) -> Result<NodeId, Unroutable> {
    router.route(request, &mut candidates.iter().copied(), rng)
}

/// Decides for several tasks of each of many fogs.
fn decide(
    make: &dyn Fn() -> Box<dyn Router>,
    mut check: impl FnMut(u64, &Request<'_>, &[Candidate<'_>], Result<NodeId, Unroutable>),
) {
    for seed in 0..SEEDS {
        let world = World::new(seed);
        let (candidates, mut rng, mut router) = (world.candidates(), world.rng.clone(), make());
        for _ in 0..5 {
            let request = world.request(&mut rng);
            let decision = route(router.as_mut(), &request, &candidates, &mut rng);
            check(seed, &request, &candidates, decision);
        }
    }
}

/// The node that is chosen is one of the candidates and can take the task.
///
/// # Panics
/// If it cannot.
pub fn what_is_chosen_can_take_the_task(make: &dyn Fn() -> Box<dyn Router>) {
    let mut chosen = 0;
    decide(make, |seed, request, candidates, decision| {
        if let Ok(node) = decision {
            let found = candidates.iter().find(|it| it.node == node);
            assert!(
                found.is_some_and(|it| can_take(request, it)),
                "seed {seed}: {request:?} went to {found:?}"
            );
            chosen += 1;
        }
    });
    assert!(chosen > SEEDS, "the suite has something to choose");
}

/// Only what fits nowhere is refused, with the number of nodes and one that does not fit.
///
/// # Panics
/// If a task is refused that fits, or the refusal is not true.
pub fn one_is_chosen_whenever_there_is_one(make: &dyn Fn() -> Box<dyn Router>) {
    let mut refused = 0;
    decide(make, |seed, request, candidates, decision| {
        if let Err(Unroutable { nodes, nearest }) = decision {
            let found = candidates.iter().find(|it| can_take(request, it));
            assert!(found.is_none(), "seed {seed}: {found:?} was not chosen");
            assert_eq!(nodes, candidates.len(), "seed {seed}");
            assert_eq!(nearest.is_none(), candidates.is_empty(), "seed {seed}");
            if let Some((node, obstacle)) = nearest {
                let found = candidates.iter().find(|it| it.node == node);
                let told = found.map(|it| request.fits(it));
                assert_eq!(told, Some(Err(obstacle)), "seed {seed}");
            }
            refused += 1;
        }
    });
    assert!(refused > 0, "the suite has something to refuse");
}

/// Routers get the same candidates in another order, and decide the same.
///
/// # Panics
/// If they do not.
pub fn the_order_of_candidates_changes_nothing(make: &dyn Fn() -> Box<dyn Router>) {
    for seed in 0..SEEDS {
        let world = World::new(seed);
        let (mut here, mut there) = (world.candidates(), world.candidates());
        let (mut router, mut other) = (make(), make());
        let mut rng = world.rng.clone();
        for _ in 0..5 {
            for last in (1..there.len()).rev() {
                there.swap(last, below(last as u64 + 1, &mut rng) as usize);
            }
            here.reverse();
            let request = world.request(&mut rng);
            let mut same = rng.clone();
            let decision = route(router.as_mut(), &request, &here, &mut rng);
            let again = route(other.as_mut(), &request, &there, &mut same);
            assert_eq!(decision, again, "seed {seed}");
        }
    }
}

/// Two routers that are asked the same with the same chance decide the same.
///
/// # Panics
/// If they do not.
pub fn the_same_seed_gives_the_same_decisions(make: &dyn Fn() -> Box<dyn Router>) {
    let decisions = || {
        let mut decisions = Vec::new();
        decide(make, |_, _, _, decision| decisions.push(decision));
        decisions
    };
    assert_eq!(decisions(), decisions());
}

/// Where nobody is, nobody is the nearest miss.
///
/// # Panics
/// If something else is said.
pub fn an_empty_fog_is_said_to_be_empty(make: &dyn Fn() -> Box<dyn Router>) {
    let request = Request::new(JobId::from_bytes([0; 16]), Capacity::default());
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let empty = Unroutable {
        nodes: 0,
        nearest: None,
    };
    let decision = route(make().as_mut(), &request, &[], &mut rng);
    assert_eq!(decision, Err(empty));
}

/// A task that asks for privacy waits rather than going to a node outside the mixnet.
///
/// # Panics
/// If it goes there.
pub fn private_tasks_stay_in_the_mixnet(make: &dyn Fn() -> Box<dyn Router>) {
    for privacy in PrivacyLevel::ALL {
        for seed in 0..SEEDS {
            let mut world = World::new(seed);
            for it in &mut world.candidates {
                it.mixnet = false;
            }
            let mut rng = world.rng.clone();
            let request = Request {
                privacy,
                ..world.request(&mut rng)
            };
            let decision = route(make().as_mut(), &request, &world.candidates(), &mut rng);
            assert!(
                privacy == PrivacyLevel::Public || decision.is_err(),
                "seed {seed}: {decision:?}"
            );
        }
    }
}

/// Given task after task, a fog fills up: every node gets what it has room for, and nothing more.
///
/// # Panics
/// If capacity is overcommitted, or a task is refused while there is room.
pub fn all_free_capacity_is_used_and_no_more(make: &dyn Fn() -> Box<dyn Router>) {
    let needs = Capacity {
        cpu_millis: 1_000,
        memory_bytes: 10,
        storage_bytes: 0,
    };
    let request = Request::new(JobId::from_bytes([0; 16]), needs);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut candidates: Vec<_> = (1..=8)
        .map(|number| {
            let total = Capacity {
                cpu_millis: 1_000 * u64::from(number),
                memory_bytes: 55,
                storage_bytes: 0,
            };
            Candidate::new(NodeId::from_bytes([number; 32]), total)
        })
        .collect();
    let mut router = make();
    let room = (1..=8).map(|number: usize| number.min(5)).sum();
    for placed in 0..room {
        let node = route(router.as_mut(), &request, &candidates, &mut rng)
            .unwrap_or_else(|error| panic!("after {placed} of {room} tasks: {error}"));
        let found = candidates.iter_mut().find(|it| it.node == node);
        let it = found.expect("the router chooses a candidate");
        it.free.cpu_millis = (it.free.cpu_millis)
            .checked_sub(needs.cpu_millis)
            .expect("nothing is promised twice");
        it.free.memory_bytes = (it.free.memory_bytes)
            .checked_sub(needs.memory_bytes)
            .expect("nothing is promised twice");
        it.running += 1;
        it.status = Status::Busy;
    }
    let decision = route(router.as_mut(), &request, &candidates, &mut rng);
    assert!(decision.is_err(), "{decision:?} has no room");
}

/// Nodes may claim what they like: nothing panics, and one that fits is chosen.
///
/// # Panics
/// If something else happens.
pub fn absurd_numbers_are_survived(make: &dyn Fn() -> Box<dyn Router>) {
    let most = Capacity {
        cpu_millis: u64::MAX,
        memory_bytes: u64::MAX,
        storage_bytes: u64::MAX,
    };
    let floats = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e308];
    let mut candidates = Vec::new();
    for (number, float) in (0..).zip(floats) {
        for (number, total) in [(number, most), (number + 100, Capacity::default())] {
            candidates.push(Candidate {
                // More is free than there is.
                free: most,
                running: usize::MAX,
                waiting: usize::MAX,
                price_per_gigafuel: Amount::MAX,
                trust: float,
                latency_ms: float,
                mixnet: true,
                ..Candidate::new(NodeId::from_bytes([number; 32]), total)
            });
        }
    }
    let content = [
        (ContentId::from_bytes([1; 32]), u64::MAX),
        (ContentId::from_bytes([2; 32]), u64::MAX),
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut router = make();
    for needs in [most, Capacity::default()] {
        for privacy in PrivacyLevel::ALL {
            let request = Request {
                fuel_estimate: u64::MAX,
                privacy,
                content: &content,
                ..Request::new(JobId::from_bytes([0; 16]), needs)
            };
            let decision = route(router.as_mut(), &request, &candidates, &mut rng);
            assert!(decision.is_ok(), "{decision:?}");
        }
    }
}
