//! Placement against a checker that knows nothing of how it is done, and against trying everything.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::{Domain, NodeId, Priority, TaskId, Tier};
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::fogp::{self, Problem, Spec};
use fogcompute_schedule::strategy::{Name, UnknownStrategy};
use fogcompute_schedule::{
    Constraint, Instance, JOBS_MAX, Job, Node, PlacementError, Plan, Reason, Rule, Sharing, Spread,
};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn task(id: u16) -> TaskId {
    TaskId::from_bytes(std::array::from_fn(|at| {
        if at < 2 { id.to_be_bytes()[at] } else { 0 }
    }))
}

fn node_id(id: u16) -> NodeId {
    NodeId::from_bytes(std::array::from_fn(|at| {
        if at < 2 { id.to_be_bytes()[at] } else { 0 }
    }))
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn small() -> Nsga2 {
    Nsga2 {
        population: 12,
        generations: 6,
        ..Nsga2::default()
    }
}

struct Draw {
    rng: ChaCha8Rng,
    /// Whether jobs and nodes ask little of each other, so that it is jobs that are in each other's
    /// way.
    mild: bool,
}

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// Like [`Self::one_in`], and never where nodes are taken as they come.
    fn strict_in(&mut self, count: u64) -> bool {
        self.one_in(count) && !self.mild
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    fn node(&mut self, id: u16) -> Node {
        let names = ["", "a", "b", "c"];
        Node {
            cpu_millis_free: 1_000 + 500 * self.below(5),
            speed: 0.5 + 0.25 * self.below(5) as f64,
            latency_ms: *self.pick(&[1.0, 20.0, 90.0, 300.0, 900.0]),
            trust: 0.25 * self.below(5) as f64,
            price_per_cpu_second: self.below(20),
            disk_bytes_free: 100 * self.below(5),
            gpus_free: self.below(3),
            bandwidth_bps_free: 1_000 * self.below(5),
            ask_per_cpu_second: self.one_in(2).then(|| self.below(20)),
            region: (*self.pick(&names[..3])).to_owned(),
            zone: (*self.pick(&names)).to_owned(),
            operator: (*self.pick(&names)).to_owned(),
            availability: (!self.one_in(4)).then(|| *self.pick(&[0.9, 0.98, 0.999_99])),
            error_rate: (!self.one_in(4)).then(|| *self.pick(&[0.0, 0.001, 0.02])),
            ..Node::new(node_id(id), 4_000, 1_000 + 500 * self.below(5))
        }
    }

    /// A job of a batch of `count`. Groups and gangs agree by their names.
    fn job(&mut self, id: u16, count: u16) -> Job {
        let other = task(self.below(u64::from(count)) as u16);
        let others = |say: bool| {
            if say && other != task(id) {
                vec![other]
            } else {
                vec![]
            }
        };
        let group = self.below(1 + u64::from(count) / 6).to_string();
        let (with, apart) = (self.one_in(6), self.one_in(4));
        Job {
            priority: *self.pick(&[Priority::High, Priority::Normal, Priority::Bulk]),
            min_trust: if self.strict_in(4) { 0.5 } else { 0.0 },
            max_cost: self.strict_in(5).then(|| 1 + self.below(20)),
            max_latency_ms: self.strict_in(5).then_some(100.0),
            excluded: if self.one_in(4) {
                vec![node_id(0)]
            } else {
                vec![]
            },
            disk_bytes: if self.strict_in(4) { 100 } else { 0 },
            gpus: u64::from(self.strict_in(6)),
            bandwidth_bps: if self.strict_in(5) { 1_000 } else { 0 },
            input_bytes: if self.strict_in(5) { 250 } else { 0 },
            input_on: vec![node_id(1)],
            max_price: self.strict_in(6).then(|| 1 + self.below(30)),
            deadline_ms: self.one_in(4).then(|| 1_000 + self.below(4_000)),
            regions: if self.strict_in(6) {
                vec!["a".to_owned(), String::new()]
            } else {
                vec![]
            },
            tier: if self.strict_in(6) {
                Tier::Silver
            } else {
                Tier::Bronze
            },
            affinity: others(with),
            anti_affinity: others(apart && !with),
            spread: self.one_in(4).then(|| Spread {
                group: group.clone(),
                over: Domain::Zone,
                most: 2,
            }),
            gang: self.one_in(5).then_some(group),
            replicas: self.strict_in(4).then(|| 1 + self.below(2) as u8),
            ..Job::new(
                task(id),
                250 * self.below(6),
                200 * self.below(4),
                self.below(2_000),
            )
        }
    }
}

/// When a job that starts at once is done on a node: without waiting, if that can be counted.
fn held_ms(job: &Job, node: &Node) -> Option<u64> {
    let transfer_ms = if job.input_bytes == 0 || job.input_on.contains(&node.id) {
        0
    } else if node.bandwidth_bps_free == 0 {
        return None;
    } else {
        (job.input_bytes * 8_000).div_ceil(node.bandwidth_bps_free)
    };
    Some(transfer_ms + (job.duration_ms as f64 / node.speed).ceil() as u64)
}

/// Why a job may not be on a node, if it is alone there.
fn forbids(job: &Job, node: &Node) -> Option<&'static str> {
    let replicas = job.replicas.unwrap_or(job.tier.terms().replicas);
    let terms = job.tier.terms();
    let Some(held_ms) = held_ms(job, node) else {
        return Some("no bandwidth");
    };
    let run_ms = (job.duration_ms as f64 / node.speed).ceil() as u64;
    let core = job.cpu_millis * run_ms;
    let cost = (core * node.price_per_cpu_second).div_ceil(1_000_000);
    let ask = node.ask_per_cpu_second.unwrap_or(node.price_per_cpu_second);
    let price = (core * ask * terms.price_permille).div_ceil(1_000_000_000);
    let together = 1.0 - (1.0 - node.availability.unwrap_or(0.0)).powi(i32::from(replicas));
    let known = job.tier != Tier::Bronze;
    let rules = [
        (job.excluded.contains(&node.id), "excluded"),
        (node.trust < job.min_trust, "trust"),
        (job.max_cost.is_some_and(|max| cost > max), "cost"),
        (job.max_price.is_some_and(|max| price > max), "price"),
        (
            job.max_latency_ms.is_some_and(|max| node.latency_ms > max),
            "latency",
        ),
        (node.latency_ms > terms.latency_ms_p95, "tier latency"),
        (
            !job.regions.is_empty() && !job.regions.contains(&node.region),
            "region",
        ),
        (
            job.deadline_ms
                .is_some_and(|max| held_ms as f64 + node.latency_ms > max as f64),
            "deadline",
        ),
        (
            node.availability.is_some() && together < terms.availability - 1e-6,
            "availability",
        ),
        (node.availability.is_none() && known, "unknown availability"),
        (
            node.error_rate
                .map_or(known, |rate| rate > terms.error_rate),
            "errors",
        ),
    ];
    let broken = rules.into_iter().find(|&(broken, _)| broken);
    broken.map(|(_, rule)| rule)
}

const NEEDS: [fn(&Job) -> u64; 5] = [
    |job| job.cpu_millis,
    |job| job.memory_bytes,
    |job| job.disk_bytes,
    |job| job.gpus,
    |job| job.bandwidth_bps,
];

fn free(node: &Node) -> [u64; 5] {
    [
        node.cpu_millis_free,
        node.memory_bytes_free,
        node.disk_bytes_free,
        node.gpus_free,
        node.bandwidth_bps_free,
    ]
}

fn domain_of(node: &Node, domain: Domain) -> String {
    match domain {
        Domain::Node => node.id.to_string(),
        Domain::Zone => node.zone.clone(),
        Domain::Region => node.region.clone(),
        Domain::Operator => node.operator.clone(),
    }
}

/// Which rule a placement of some jobs breaks. Whether all replicas are there is not looked at, so
/// that it can be asked of a part of one.
fn broken(
    jobs: &[Job],
    nodes: &[Node],
    sharing: Sharing,
    assignment: &[(TaskId, NodeId)],
) -> Option<String> {
    let job_of: BTreeMap<TaskId, &Job> = jobs.iter().map(|job| (job.id, job)).collect();
    let node_of: BTreeMap<NodeId, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let mut on: BTreeMap<NodeId, Vec<&Job>> = BTreeMap::new();
    let mut places: BTreeMap<TaskId, Vec<NodeId>> = BTreeMap::new();
    for (id, node) in assignment {
        let job = job_of[id];
        if let Some(rule) = forbids(job, node_of[node]) {
            return Some(format!("{id} on {node}: {rule}"));
        }
        on.entry(*node).or_default().push(job);
        places.entry(*id).or_default().push(*node);
    }
    for (id, on_it) in &on {
        let node = node_of[id];
        for (need, free) in NEEDS.into_iter().zip(free(node)) {
            let over = match sharing {
                Sharing::Concurrent => on_it.iter().map(|job| need(job)).sum::<u64>() > free,
                Sharing::Queued => on_it.iter().any(|job| need(job) > free),
            };
            if over {
                return Some(format!("{id} is full"));
            }
        }
        if sharing == Sharing::Queued
            && let Some(late) = first_late(on_it, node, jobs)
        {
            return Some(format!("{late} is late"));
        }
    }
    for job in jobs {
        let Some(mine) = places.get(&job.id) else {
            continue;
        };
        for &domain in job.tier.terms().distinct {
            let domains: BTreeSet<String> = mine
                .iter()
                .map(|node| domain_of(node_of[node], domain))
                .collect();
            if domains.len() < mine.len() {
                return Some(format!("replicas of {} share a {domain:?}", job.id));
            }
        }
        for other in &job.anti_affinity {
            if places
                .get(other)
                .is_some_and(|theirs| mine.iter().any(|node| theirs.contains(node)))
            {
                return Some(format!("{} is with {other}", job.id));
            }
        }
        if let Some(spread) = &job.spread {
            for node in mine {
                let domain = domain_of(node_of[node], spread.over);
                let count = assignment.iter().filter(|(id, node)| {
                    let group = job_of[id].spread.as_ref().map(|spread| &spread.group);
                    group == Some(&spread.group) && domain_of(node_of[node], spread.over) == domain
                });
                if count.count() > spread.most as usize {
                    return Some(format!("group {} crowds {domain:?}", spread.group));
                }
            }
        }
    }
    None
}

/// Runs the jobs of one node in turn, step by step in time. Names the first that is late.
fn first_late(jobs: &[&Job], node: &Node, given: &[Job]) -> Option<TaskId> {
    let mut queue: Vec<&Job> = jobs.to_vec();
    queue.sort_by_key(|job| {
        let place = given.iter().position(|other| other.id == job.id);
        let deadline = job.deadline_ms;
        (job.priority, deadline.is_none(), deadline, place)
    });
    let mut running: Vec<(u64, &Job)> = Vec::new();
    let mut now = 0;
    for job in queue {
        loop {
            let fits = NEEDS.into_iter().zip(free(node)).all(|(need, free)| {
                need(job) + running.iter().map(|(_, other)| need(other)).sum::<u64>() <= free
            });
            if fits {
                break;
            }
            let first = (0..running.len()).min_by_key(|&at| running[at].0)?;
            now = now.max(running.remove(first).0);
        }
        let end = now + held_ms(job, node)?;
        if job
            .deadline_ms
            .is_some_and(|max| end as f64 + node.latency_ms > max as f64)
        {
            return Some(job.id);
        }
        running.push((end, job));
    }
    None
}

/// Whether all jobs are there with all their replicas, and those together that must be.
fn missing(jobs: &[Job], assignment: &[(TaskId, NodeId)]) -> Option<String> {
    let mut places: BTreeMap<TaskId, BTreeSet<NodeId>> = BTreeMap::new();
    for (job, node) in assignment {
        places.entry(*job).or_default().insert(*node);
    }
    for job in jobs {
        let mine = places.get(&job.id);
        let replicas = job.replicas.unwrap_or(job.tier.terms().replicas);
        if mine.map_or(0, BTreeSet::len) != usize::from(replicas) {
            return Some(format!("{} has not {replicas} replicas", job.id));
        }
        for other in &job.affinity {
            if places.get(other) != mine {
                return Some(format!("{} is not with {other}", job.id));
            }
        }
    }
    (places.len() != jobs.len()).then(|| "others are placed too".to_owned())
}

fn assert_sound(jobs: &[Job], nodes: &[Node], sharing: Sharing, plan: &Plan) {
    assert!(!plan.front().is_empty());
    for point in plan.front() {
        assert_eq!(broken(jobs, nodes, sharing, &point.assignment), None);
        assert_eq!(missing(jobs, &point.assignment), None);
    }
}

/// Whether there is a placement at all, by trying everything; `None` if that takes too long.
fn possible(jobs: &[Job], nodes: &[Node], sharing: Sharing) -> Option<bool> {
    let mut slots = Vec::new();
    for job in jobs {
        let replicas = job.replicas.unwrap_or(job.tier.terms().replicas);
        slots.extend(std::iter::repeat_n(job.id, usize::from(replicas)));
    }
    let mut tries = 200_000_u32;
    try_all(jobs, nodes, sharing, &slots, &mut Vec::new(), &mut tries)
}

fn try_all(
    jobs: &[Job],
    nodes: &[Node],
    sharing: Sharing,
    slots: &[TaskId],
    assignment: &mut Vec<(TaskId, NodeId)>,
    tries: &mut u32,
) -> Option<bool> {
    let Some(&job) = slots.get(assignment.len()) else {
        return Some(missing(jobs, assignment).is_none());
    };
    for node in nodes {
        *tries = tries.checked_sub(1)?;
        assignment.push((job, node.id));
        let found = if broken(jobs, nodes, sharing, assignment).is_none() {
            try_all(jobs, nodes, sharing, slots, assignment, tries)?
        } else {
            false
        };
        assignment.pop();
        if found {
            return Some(true);
        }
    }
    Some(false)
}

fn batch(seed: u64, job_max: u64, node_max: u64) -> (Vec<Job>, Vec<Node>) {
    let mut draw = Draw {
        rng: rng(seed),
        mild: !seed.is_multiple_of(4),
    };
    let count = 1 + draw.below(job_max) as u16;
    let nodes = (0..1 + draw.below(node_max) as u16)
        .map(|id| draw.node(id))
        .collect();
    let jobs = (0..count).map(|id| draw.job(id, count)).collect();
    (jobs, nodes)
}

/// What is said of jobs that make no instance at all.
fn is_contradiction(error: &PlacementError) -> bool {
    matches!(
        error,
        PlacementError::AffinityContradiction { .. }
            | PlacementError::AffinityReplicas { .. }
            | PlacementError::AffinityOverSpread { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Small batches: what is found is sound, what is refused is impossible.
    #[test]
    fn small_batches_are_placed_exactly_when_they_can_be(seed: u64, queued: bool) {
        let (jobs, nodes) = batch(seed, 5, 4);
        let sharing = if queued { Sharing::Queued } else { Sharing::Concurrent };
        let instance = match Instance::new(jobs.clone(), nodes.clone(), sharing) {
            Ok(instance) => instance,
            Err(error) if is_contradiction(&error) => return Ok(()),
            Err(PlacementError::Infeasible { job, .. }) => {
                let job = jobs.iter().find(|other| other.id == job).unwrap();
                let alone = |node: &Node| broken(
                    std::slice::from_ref(job), &nodes, Sharing::Queued, &[(job.id, node.id)],
                );
                prop_assert!(nodes.iter().all(|node| alone(node).is_some()));
                return Ok(());
            }
            Err(PlacementError::NoCommonNode { .. }) => {
                prop_assert_ne!(possible(&jobs, &nodes, sharing), Some(true));
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        match instance.place(&small(), &mut rng(seed)) {
            Ok(plan) => assert_sound(&jobs, &nodes, sharing, &plan),
            // Where jobs queue, a deadline may be missed although it could be met.
            Err(PlacementError::Late { .. }) => prop_assert!(queued),
            Err(error) => {
                let proven = matches!(error, PlacementError::Impossible { .. });
                prop_assert!(proven, "{error}");
                prop_assert_ne!(possible(&jobs, &nodes, sharing), Some(true), "{}", error);
            }
        }
    }
}

proptest! {
    // Each asks the solver up to three times for each strategy.
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Every strategy, on batches of any shape: sound or refused, and the same again.
    #[test]
    fn every_strategy_respects_every_constraint(seed: u64, queued: bool) {
        let (jobs, nodes) = batch(seed, 40, 16);
        let sharing = if queued { Sharing::Queued } else { Sharing::Concurrent };
        let Ok(instance) = Instance::new(jobs.clone(), nodes.clone(), sharing) else {
            return Ok(());
        };
        let reversed = Instance::new(
            jobs.iter().rev().cloned().collect(),
            nodes.iter().rev().cloned().collect(),
            sharing,
        ).unwrap();
        for name in Name::ALL.into_iter().filter(|&name| name != Name::NsgaIi) {
            let strategy = name.strategy();
            let placed = strategy.place(&instance, &mut rng(seed));
            prop_assert_eq!(&placed, &strategy.place(&instance, &mut rng(seed)));
            let again = strategy.place(&reversed, &mut rng(seed));
            match (placed, again) {
                (Ok(plan), Ok(again)) => {
                    assert_sound(&jobs, &nodes, sharing, &plan);
                    let jobs: Vec<Job> = jobs.iter().rev().cloned().collect();
                    assert_sound(&jobs, &nodes, sharing, &again);
                }
                (Err(PlacementError::Impossible { .. }), again) => {
                    let agrees = matches!(again, Err(PlacementError::Impossible { .. }));
                    prop_assert!(agrees, "{}", strategy.name());
                }
                // Without a proof, another order may come to another end.
                (Err(error), _) | (_, Err(error)) => prop_assert!(
                    matches!(
                        error,
                        PlacementError::Late { .. }
                            | PlacementError::OverCommitted { .. }
                            | PlacementError::Crowded { .. }
                    ),
                    "{}: {}", strategy.name(), error
                ),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What fits is placed soundly, gangs whole, and the rest has a reason that holds.
    #[test]
    fn what_fits_is_placed_and_the_rest_has_a_reason(seed: u64, queued: bool, large: bool) {
        let (jobs, nodes) = if large { batch(seed, 80, 16) } else { batch(seed, 8, 4) };
        let sharing = if queued { Sharing::Queued } else { Sharing::Concurrent };
        let partial =
            match Instance::place_what_fits(&jobs, &nodes, sharing, &small(), &mut rng(seed)) {
                Ok(partial) => partial,
                Err(error) => {
                    prop_assert!(is_contradiction(&error), "{error}");
                    return Ok(());
                }
            };
        let left: BTreeMap<TaskId, &Reason> =
            partial.left_out.iter().map(|(id, reason)| (*id, reason)).collect();
        let mut kept: Vec<Job> =
            jobs.iter().filter(|job| !left.contains_key(&job.id)).cloned().collect();
        for job in &mut kept {
            prop_assert!(job.affinity.iter().all(|other| !left.contains_key(other)));
            job.anti_affinity.retain(|other| !left.contains_key(other));
        }
        for gang in jobs.iter().filter_map(|job| job.gang.as_ref()) {
            let of_gang = |job: &&Job| job.gang.as_ref() == Some(gang);
            let all = jobs.iter().filter(of_gang).count();
            let there = kept.iter().filter(of_gang).count();
            prop_assert!(there == 0 || there == all);
        }
        match &partial.plan {
            Some(plan) => assert_sound(&kept, &nodes, sharing, plan),
            None => prop_assert!(kept.is_empty()),
        }
        for job in &jobs {
            match left.get(&job.id) {
                Some(Reason::NoNode { nearest_fails, .. }) => {
                    prop_assert!(!nearest_fails.is_empty());
                }
                Some(Reason::With(other)) => prop_assert!(left.contains_key(other)),
                _ => {}
            }
        }
        if !queued && !left.is_empty() && jobs.len() <= 5 {
            prop_assert_ne!(possible(&jobs, &nodes, sharing), Some(true));
        }
    }
}

fn alike(count: u16) -> Vec<Node> {
    let node = |id| Node {
        trust: 0.5,
        price_per_cpu_second: 3,
        zone: format!("zone {}", id % 3),
        operator: format!("operator {id}"),
        availability: Some(1.0),
        error_rate: Some(0.0),
        ..Node::new(node_id(id), 8_000, 1 << 30)
    };
    (0..count).map(node).collect()
}

#[test]
fn no_strategy_but_packing_puts_all_jobs_on_one_node() {
    // The prototype's strategies did not update the load, and all 20 jobs went to one node.
    let jobs: Vec<Job> = (0..8)
        .map(|id| Job::new(task(id), 1_000, 0, 1_000))
        .collect();
    for sharing in [Sharing::Concurrent, Sharing::Queued] {
        let instance = Instance::new(jobs.clone(), alike(4), sharing).unwrap();
        for name in Name::ALL {
            let plan = name.strategy().place(&instance, &mut rng(1)).unwrap();
            let used = plan.explain().nodes_used;
            if name == Name::BinPack {
                assert_eq!(used, 1, "{name} {sharing:?}");
            } else {
                assert_eq!(used, 4, "{name} {sharing:?}");
            }
        }
    }
}

#[test]
fn replicas_of_the_high_tiers_are_in_zones_and_with_operators_of_their_own() {
    let gold = Job {
        tier: Tier::Gold,
        ..Job::new(task(1), 100, 0, 1_000)
    };
    let platinum = Job {
        tier: Tier::Platinum,
        ..gold.clone()
    };
    for sharing in [Sharing::Concurrent, Sharing::Queued] {
        for name in Name::ALL {
            let strategy = name.strategy();
            let instance = Instance::new(vec![gold.clone()], alike(7), sharing).unwrap();
            let plan = strategy.place(&instance, &mut rng(1)).unwrap();
            assert_sound(std::slice::from_ref(&gold), &alike(7), sharing, &plan);
            assert_eq!(plan.chosen().assignment.len(), 3);
            // Five zones are needed and there are three.
            let instance = Instance::new(vec![platinum.clone()], alike(7), sharing).unwrap();
            let jobs = vec![task(1)];
            assert_eq!(
                strategy.place(&instance, &mut rng(1)),
                Err(PlacementError::Impossible {
                    jobs,
                    rules: vec![Rule::Replicas(Domain::Zone)]
                })
            );
        }
    }
}

#[test]
fn strategies_are_found_by_name() {
    for name in Name::ALL {
        assert_eq!(name.to_string().parse(), Ok(name));
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(json, format!("\"{name}\""));
    }
    let unknown: UnknownStrategy = "fastest".parse::<Name>().unwrap_err();
    assert!(unknown.to_string().contains("latency_first"));
}

/// A problem of the benchmark family, as far as an instance has the same fields.
fn of_family(spec: Spec) -> (Vec<Job>, Vec<Node>) {
    let problem = Problem::generate(spec).expect("a problem of the family");
    let node = |(id, node): (u16, &fogp::Node)| Node {
        cpu_millis_free: node.cpu_millis - node.cpu_millis_used,
        disk_bytes_free: node.disk_gib << 30,
        speed: node.speed,
        latency_ms: node.base_ms,
        trust: node.trust,
        price_per_cpu_second: (node.cost_rate * 100.0) as u64,
        ask_per_cpu_second: Some((node.ask_rate * 100.0) as u64),
        ..Node::new(node_id(id), node.cpu_millis, node.memory_mib << 20)
    };
    let job = |(id, job): (u16, &fogp::Job)| Job {
        disk_bytes: job.disk_gib << 30,
        min_trust: job.trust_min,
        max_latency_ms: Some(job.latency_ms_max),
        ..Job::new(
            task(id),
            job.cpu_millis,
            job.memory_mib << 20,
            1_000 * job.duration_s,
        )
    };
    (
        (0..).zip(problem.jobs()).map(job).collect(),
        (0..).zip(problem.nodes()).map(node).collect(),
    )
}

#[test]
fn each_strategy_is_better_than_taking_turns_in_what_it_seeks() {
    for spec in [Spec::P20X50, Spec::P200X100] {
        let (jobs, nodes) = of_family(spec);
        let instance = Instance::new(jobs.clone(), nodes.clone(), Sharing::Concurrent).unwrap();
        let place = |name: Name| {
            let plan = name.strategy().place(&instance, &mut rng(1)).unwrap();
            assert_sound(&jobs, &nodes, Sharing::Concurrent, &plan);
            plan
        };
        let turns = place(Name::RoundRobin);
        for (name, objective) in [
            (Name::LatencyFirst, 0),
            (Name::LoadBalance, 1),
            (Name::TrustFirst, 2),
            (Name::CostOptimize, 3),
        ] {
            let (sought, taken) = (place(name), &turns.chosen().objectives);
            assert!(
                sought.chosen().objectives[objective] < taken[objective],
                "{name}"
            );
        }
        let packed = place(Name::BinPack).explain().nodes_used;
        assert!(packed < turns.explain().nodes_used);
    }
}

#[test]
fn a_million_jobs_are_refused_by_their_number() {
    let jobs = vec![Job::new(task(1), 1, 1, 1); 1_000_000];
    let refused = Instance::new(jobs, alike(1), Sharing::Queued).unwrap_err();
    assert_eq!(refused, PlacementError::TooManyJobs { jobs: 1_000_000 });
    assert!(refused.to_string().contains(&JOBS_MAX.to_string()));
}

#[test]
fn a_reason_names_each_constraint_once() {
    let names: BTreeSet<String> = Constraint::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), Constraint::ALL.len());
}
