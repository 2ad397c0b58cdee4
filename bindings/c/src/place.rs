use std::ffi::c_char;

use fogcompute::base::Priority;
use fogcompute::schedule::{Job, Lacks, Node, OBJECTIVE_COUNT, Reason, Rule, Spread};
use fogcompute::{
    Constraint, Domain, NodeId, Placing, Plan, Point, Preemption, Preference, Sharing, Strategy,
    TaskId, Tier,
};

use crate::optimise::{fog_nsga2_config, read_config};
use crate::support::{
    Failure, chars, free, give, give_text, guard, parsed, read_or, reference, result, slice, text,
};
use crate::{FOG_ID_SIZE, FOG_NODE_ID_SIZE, fog_amount, fog_status};

/// Objectives of a placement, all minimised: completion in milliseconds, imbalance, distrust, cost
/// and market price in base units.
pub const FOG_OBJECTIVE_COUNT: usize = 5;

/// How urgent something is. Lower is sooner.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_priority {
    /// Must go before everything else.
    Critical = 0,
    /// Interactive work somebody waits for.
    High = 1,
    /// What is usual.
    Normal = 2,
    /// May wait.
    Low = 3,
    /// Fills what is left.
    Bulk = 4,
}

/// How jobs share a node.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_sharing {
    /// All jobs run at once: together they must fit what is free. For services.
    Concurrent = 0,
    /// Jobs queue: each alone must fit what is free. For batches with more jobs than cores.
    Queued = 1,
}

/// How one placement is chosen among those that nothing beats.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_preference_kind {
    /// The one nearest to the best of every objective.
    Knee = 0,
    /// The one with the least weighted sum of objectives.
    Weights = 1,
    /// The best by the first objective named, of equals the best by the second, and so on.
    Lexicographic = 2,
}

/// How placements are found. All of them respect every constraint.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_strategy {
    /// Searches for placements that no other beats; the others make one in one pass.
    NsgaIi = 0,
    /// Each job where it is done first.
    LatencyFirst = 1,
    /// Each job where it leaves the use of nodes most even.
    LoadBalance = 2,
    /// Each job on the node that is trusted most.
    TrustFirst = 3,
    /// Each job where it costs least.
    CostOptimize = 4,
    /// Each job on the next node in the order given that may take it.
    RoundRobin = 5,
    /// Each job on a node that has others already, if there is one, where it leaves least unused.
    BinPack = 6,
    /// Each job in the zone with the fewest, there with the operator and on the node with them.
    TopologySpread = 7,
}

/// What a job is promised.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_tier {
    /// Best effort on one node.
    Bronze = 0,
    /// For what should not be done twice.
    Silver = 1,
    /// For what somebody depends on.
    Gold = 2,
    /// For what must not fail.
    Platinum = 3,
}

/// What nodes are told apart by.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_domain {
    /// Each node is a domain of its own.
    Node = 0,
    /// Nodes that share power and network.
    Zone = 1,
    /// Nodes of one part of the world.
    Region = 2,
    /// Nodes that one party runs.
    Operator = 3,
}

/// How many values fog_constraint has.
pub const FOG_CONSTRAINT_COUNT: usize = 16;

/// A reason why a node may not take a job.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_constraint {
    /// The job excludes the node.
    Excluded = 0,
    /// The node is not trusted enough.
    Trust = 1,
    /// The node is too far away.
    Latency = 2,
    /// The job would cost more than it may, or more than an account can hold.
    Cost = 3,
    /// The job needs more processor than is free.
    Cpu = 4,
    /// The job needs more memory than is free.
    Memory = 5,
    /// The job would run, or fetch its input, for longer than can be counted.
    RunTime = 6,
    /// The job needs more disk than is free.
    Disk = 7,
    /// The job needs more GPUs than are free.
    Gpu = 8,
    /// The job needs more bandwidth than is free, or any at all to fetch its input.
    Bandwidth = 9,
    /// The node is in none of the job's regions.
    Region = 10,
    /// The market price is higher than the job may pay, or more than an account can hold.
    Price = 11,
    /// The job could not be done in time even if it started at once.
    Deadline = 12,
    /// The node is farther away than the job's tier allows.
    TierLatency = 13,
    /// Nodes like this one are not there as often as the job's tier promises, or nobody knows.
    TierAvailability = 14,
    /// The node errs more often than the job's tier allows, or nobody knows.
    TierErrors = 15,
}

/// Why a job was left out.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_left_out_reason {
    /// No node may take it: removed_by, node and node_fails say why.
    NoNode = 0,
    /// No node may take it together with those that must be with it: together_count and shared.
    NoCommonNode = 1,
    /// Beside the more urgent jobs no node has room for it: node and lacks.
    NoRoom = 2,
    /// Wherever it has room, it would be with others that it must not be with: rule_count.
    Crowded = 3,
    /// Wherever it ran, it or a more urgent job would be late: late_ms.
    Late = 4,
    /// The job in other, which it must be with or which is of its gang, was left out.
    GoesWith = 5,
}

/// What a tier promises and what it costs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_terms {
    /// How many nodes run the job, each on its own.
    pub replicas: u8,
    /// Whether the nodes of two replicas must differ in each fog_domain.
    pub distinct: [bool; 4],
    /// Latency of a node that at most one answer in twenty exceeds, in milliseconds.
    pub latency_ms_p95: f64,
    /// Share of the time for which at least one replica is there, 0 to 1.
    pub availability: f64,
    /// Largest share of wrong or missing answers, 0 to 1.
    pub error_rate: f64,
    /// Whether the job gives up its place for a more urgent one.
    pub preempted: bool,
    /// The notice before it does, in milliseconds.
    pub preemption_notice_ms: u64,
    /// What a node's asking price is multiplied by, in thousandths.
    pub price_permille: u64,
}

/// A bound on how many jobs of a group share a domain.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_job_spread {
    /// Name of the group. All its jobs say the same of the others.
    pub group: *const c_char,
    /// A fog_domain.
    pub over: i32,
    /// Most jobs of the group in one domain, each replica counted, at least 1.
    pub most: u32,
}

/// A job to be placed. Of what is zero, nothing is said, but for the priority:
/// fog_job_default() makes that normal.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_job {
    /// Its identifier, 32 hexadecimal digits.
    pub id: *const c_char,
    /// Processor it needs, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory it needs, in bytes.
    pub memory_bytes: u64,
    /// How long it runs on a node of speed 1, in milliseconds.
    pub duration_ms: u64,
    /// A fog_priority.
    pub priority: i32,
    /// Least trust of its node, 0 to 1.
    pub min_trust: f64,
    /// Whether max_cost is read.
    pub has_max_cost: bool,
    /// Most it may cost, in base units. Each of its replicas may cost as much.
    pub max_cost: u64,
    /// Whether max_latency_ms is read.
    pub has_max_latency_ms: bool,
    /// Highest latency of its node, in milliseconds.
    pub max_latency_ms: f64,
    /// Identifiers of nodes it must not run on.
    pub excluded: *const *const c_char,
    /// How many.
    pub excluded_count: usize,
    /// Disk it needs, in bytes.
    pub disk_bytes: u64,
    /// Whole GPUs it needs.
    pub gpus: u64,
    /// Bandwidth it needs while it runs, in bits per second.
    pub bandwidth_bps: u64,
    /// Size of what it reads, in bytes. Where that is not yet, it is fetched before the job runs.
    pub input_bytes: u64,
    /// Identifiers of nodes that hold its input already. They need not be among those offered.
    pub input_on: *const *const c_char,
    /// How many.
    pub input_on_count: usize,
    /// Whether max_price is read.
    pub has_max_price: bool,
    /// Highest market price of one replica, in base units.
    pub max_price: u64,
    /// Whether deadline_ms is read.
    pub has_deadline_ms: bool,
    /// When it must be done and its node have been reached, from now, in milliseconds.
    pub deadline_ms: u64,
    /// Names of regions it may run in; none stands for any.
    pub regions: *const *const c_char,
    /// How many.
    pub region_count: usize,
    /// A fog_tier: what it is promised. Nodes that cannot keep the promise are no choice for it.
    pub tier: i32,
    /// Identifiers of jobs that must be on the same node as this one. Saying so of one of two is
    /// enough.
    pub affinity: *const *const c_char,
    /// How many.
    pub affinity_count: usize,
    /// Identifiers of jobs that must be on another node than this one. Saying so of one of two is
    /// enough.
    pub anti_affinity: *const *const c_char,
    /// How many.
    pub anti_affinity_count: usize,
    /// How thinly it is spread together with others, or NULL.
    pub spread: *const fog_job_spread,
    /// Name of the gang it is part of, or NULL: all jobs of a gang are placed, or none.
    pub gang: *const c_char,
    /// Whether replicas is read. Without, it has as many as its tier.
    pub has_replicas: bool,
    /// How many nodes run it, at least 1.
    pub replicas: u8,
    /// Whether it may be preempted at once, whatever its tier says.
    pub preemptible: bool,
}

/// A node that takes jobs. Of what is zero, nothing is said, but for the speed: fog_node_default()
/// makes that 1.
///
/// Region, zone and operator may be NULL if they are not known. All nodes of which one is not known
/// count as one domain of it, for nobody can show that they differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_node {
    /// Its identifier, 64 hexadecimal digits.
    pub id: *const c_char,
    /// Processor that is free, in thousandths of a core.
    pub cpu_millis_free: u64,
    /// Processor there is, in thousandths of a core.
    pub cpu_millis_total: u64,
    /// Memory that is free, in bytes.
    pub memory_bytes_free: u64,
    /// How fast it is: a job takes its duration divided by this. More than 0.
    pub speed: f64,
    /// Time to reach it and back, in milliseconds.
    pub latency_ms: f64,
    /// How far it is trusted, 0 to 1.
    pub trust: f64,
    /// Price of one core for one second, in base units.
    pub price_per_cpu_second: u64,
    /// Disk that is free, in bytes.
    pub disk_bytes_free: u64,
    /// Whole GPUs that are free.
    pub gpus_free: u64,
    /// Bandwidth that is free, in bits per second.
    pub bandwidth_bps_free: u64,
    /// Whether ask_per_cpu_second is read. Without, it asks for its price.
    pub has_ask_per_cpu_second: bool,
    /// What it asks on the market for one core for one second, in base units.
    pub ask_per_cpu_second: u64,
    /// The part of the world it is in, or NULL.
    pub region: *const c_char,
    /// What it shares power and network with, or NULL.
    pub zone: *const c_char,
    /// Who runs it, or NULL.
    pub operator_name: *const c_char,
    /// Whether availability is read. Without, it is not known.
    pub has_availability: bool,
    /// Share of the time for which it is there, 0 to 1.
    pub availability: f64,
    /// Whether error_rate is read. Without, it is not known.
    pub has_error_rate: bool,
    /// Share of its answers that are wrong or missing, 0 to 1.
    pub error_rate: f64,
}

/// How one placement is chosen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_preference {
    /// A fog_preference_kind. It says which of the others is read.
    pub kind: i32,
    /// One weight for each objective, with FOG_PREFERENCE_KIND_WEIGHTS: from 0, not all of them.
    pub weights: [f64; FOG_OBJECTIVE_COUNT],
    /// Each objective's index once, with FOG_PREFERENCE_KIND_LEXICOGRAPHIC.
    pub order: [usize; FOG_OBJECTIVE_COUNT],
}

/// How jobs are placed. What is zero is as usual: jobs run at once, a search of the usual size from
/// seed 0, the knee.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_placing {
    /// A fog_sharing.
    pub sharing: i32,
    /// A fog_strategy.
    pub strategy: i32,
    /// How much FOG_STRATEGY_NSGA_II searches, or NULL for the usual.
    pub config: *const fog_nsga2_config,
    /// Which of the placements found is chosen.
    pub preference: fog_preference,
    /// Where randomness starts.
    pub seed: u64,
}

/// One placement of all jobs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_point {
    /// What it is worth: completion in milliseconds, imbalance, distrust, cost, price.
    pub objectives: [f64; FOG_OBJECTIVE_COUNT],
    /// What it costs, in base units. The objective of this name is only near to it when large.
    pub cost: fog_amount,
    /// What it costs on the market, in base units, likewise exact.
    pub price: fog_amount,
    /// How many replicas of jobs were placed.
    pub assignment_count: usize,
}

/// Where one replica of a job runs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_assignment {
    /// The job's identifier.
    pub job: [c_char; FOG_ID_SIZE],
    /// The node's identifier.
    pub node: [c_char; FOG_NODE_ID_SIZE],
}

/// What a node lacks for a job.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_lacks {
    /// Processor, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Disk, in bytes.
    pub disk_bytes: u64,
    /// Whole GPUs.
    pub gpus: u64,
    /// Bandwidth, in bits per second.
    pub bandwidth_bps: u64,
}

/// A job that was left out. What its reason does not name is zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_left_out_job {
    /// Its identifier.
    pub job: [c_char; FOG_ID_SIZE],
    /// A fog_left_out_reason.
    pub reason: i32,
    /// How many nodes each fog_constraint removes.
    pub removed_by: [u32; FOG_CONSTRAINT_COUNT],
    /// The node that comes nearest.
    pub node: [c_char; FOG_NODE_ID_SIZE],
    /// Whether it fails on each fog_constraint.
    pub node_fails: [bool; FOG_CONSTRAINT_COUNT],
    /// What it lacks.
    pub lacks: fog_lacks,
    /// How many jobs must be on one node; fog_left_out_together() names them.
    pub together_count: usize,
    /// How many nodes may take each of them alone.
    pub shared: u32,
    /// By how much it would be late at best, in milliseconds.
    pub late_ms: u64,
    /// The identifier of the job it goes with.
    pub other: [c_char; FOG_ID_SIZE],
    /// How many rules it is crowded out by; fog_left_out_rule() gives them.
    pub rule_count: usize,
}

/// What can forbid that jobs are placed together.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_rule_kind {
    /// Replicas of a job must be in different domains: over.
    Replicas = 0,
    /// Jobs must avoid each other.
    AntiAffinity = 1,
    /// A group is spread: over, most and fog_left_out_rule_group().
    Spread = 2,
    /// Nodes have only so much of something: of.
    Capacity = 3,
}

/// A rule that forbids that jobs are placed together. What its kind does not name is zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_rule {
    /// A fog_rule_kind.
    pub kind: i32,
    /// A fog_domain: what is a domain.
    pub over: i32,
    /// Most jobs of the group in one domain.
    pub most: u32,
    /// A fog_constraint: what there is too little of.
    pub of: i32,
}

/// Placements that no other beats, and the one chosen.
pub struct fog_plan(Plan);

/// The jobs that were left out, in the order given, and why.
pub struct fog_left_out(Vec<(TaskId, Reason)>);

fn read_tier(tier: i32) -> Result<Tier, Failure> {
    match tier {
        0 => Ok(Tier::Bronze),
        1 => Ok(Tier::Silver),
        2 => Ok(Tier::Gold),
        3 => Ok(Tier::Platinum),
        other => Err(Failure::argument(format!("{other} is no fog_tier"))),
    }
}

/// # Safety
/// There are as many texts as `count` says, each of which is NULL or ends with NUL.
unsafe fn read_texts<'a>(
    texts: *const *const c_char,
    count: usize,
    name: &str,
) -> Result<Vec<&'a str>, Failure> {
    // SAFETY: as the caller promises.
    let texts = unsafe { slice(texts, count, name) }?.iter();
    texts
        // SAFETY: as the caller promises.
        .map(|&each| unsafe { text(each, name) })
        .collect()
}

/// # Safety
/// As of [`read_texts`].
unsafe fn read_ids<T>(
    ids: *const *const c_char,
    count: usize,
    name: &str,
) -> Result<Vec<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: Into<fogcompute::Error>,
{
    // SAFETY: as the caller promises.
    let ids = unsafe { slice(ids, count, name) }?.iter();
    // SAFETY: as the caller promises.
    ids.map(|&id| unsafe { parsed(id, name) }).collect()
}

/// # Safety
/// The text is NULL or ends with NUL.
unsafe fn read_optional(optional: *const c_char, name: &str) -> Result<Option<String>, Failure> {
    if optional.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL; the rest is as the caller promises.
    Ok(Some(unsafe { text(optional, name) }?.to_owned()))
}

/// # Safety
/// The name of the group is a string or NULL.
unsafe fn read_spread(spread: &fog_job_spread) -> Result<Spread, Failure> {
    let over = match spread.over {
        0 => Domain::Node,
        1 => Domain::Zone,
        2 => Domain::Region,
        3 => Domain::Operator,
        other => return Err(Failure::argument(format!("{other} is no fog_domain"))),
    };
    Ok(Spread {
        // SAFETY: as the caller promises.
        group: unsafe { text(spread.group, "group") }?.to_owned(),
        over,
        most: spread.most,
    })
}

/// What a `fog_priority` says.
pub(crate) fn priority(number: i32) -> Result<Priority, Failure> {
    Ok(match number {
        0 => Priority::Critical,
        1 => Priority::High,
        2 => Priority::Normal,
        3 => Priority::Low,
        4 => Priority::Bulk,
        other => return Err(Failure::argument(format!("{other} is no fog_priority"))),
    })
}

/// # Safety
/// The job's texts are strings or NULL, it has as many of each as it says, and a spread or NULL.
unsafe fn read_job(job: &fog_job) -> Result<Job, Failure> {
    let priority = priority(job.priority)?;
    // SAFETY: as the caller promises.
    let (id, excluded, input_on, regions, affinity, anti_affinity, spread, gang) = unsafe {
        (
            parsed(job.id, "job")?,
            read_ids(job.excluded, job.excluded_count, "excluded")?,
            read_ids(job.input_on, job.input_on_count, "input_on")?,
            read_texts(job.regions, job.region_count, "regions")?,
            read_ids(job.affinity, job.affinity_count, "affinity")?,
            read_ids(job.anti_affinity, job.anti_affinity_count, "anti_affinity")?,
            job.spread.as_ref().map(|spread| read_spread(spread)),
            read_optional(job.gang, "gang")?,
        )
    };
    Ok(Job {
        id,
        cpu_millis: job.cpu_millis,
        memory_bytes: job.memory_bytes,
        duration_ms: job.duration_ms,
        priority,
        min_trust: job.min_trust,
        max_cost: job.has_max_cost.then_some(job.max_cost),
        max_latency_ms: job.has_max_latency_ms.then_some(job.max_latency_ms),
        excluded,
        disk_bytes: job.disk_bytes,
        gpus: job.gpus,
        bandwidth_bps: job.bandwidth_bps,
        input_bytes: job.input_bytes,
        input_on,
        max_price: job.has_max_price.then_some(job.max_price),
        deadline_ms: job.has_deadline_ms.then_some(job.deadline_ms),
        regions: regions.into_iter().map(str::to_owned).collect(),
        tier: read_tier(job.tier)?,
        affinity,
        anti_affinity,
        spread: spread.transpose()?,
        gang,
        replicas: job.has_replicas.then_some(job.replicas),
        preemptible: job.preemptible,
    })
}

/// # Safety
/// The node's texts are strings or NULL.
unsafe fn read_node(node: &fog_node) -> Result<Node, Failure> {
    // SAFETY: as the caller promises.
    let (id, region, zone, operator) = unsafe {
        (
            parsed(node.id, "node")?,
            read_optional(node.region, "region")?,
            read_optional(node.zone, "zone")?,
            read_optional(node.operator_name, "operator_name")?,
        )
    };
    Ok(Node {
        id,
        cpu_millis_free: node.cpu_millis_free,
        cpu_millis_total: node.cpu_millis_total,
        memory_bytes_free: node.memory_bytes_free,
        speed: node.speed,
        latency_ms: node.latency_ms,
        trust: node.trust,
        price_per_cpu_second: node.price_per_cpu_second,
        disk_bytes_free: node.disk_bytes_free,
        gpus_free: node.gpus_free,
        bandwidth_bps_free: node.bandwidth_bps_free,
        ask_per_cpu_second: node
            .has_ask_per_cpu_second
            .then_some(node.ask_per_cpu_second),
        region: region.unwrap_or_default(),
        zone: zone.unwrap_or_default(),
        operator: operator.unwrap_or_default(),
        availability: node.has_availability.then_some(node.availability),
        error_rate: node.has_error_rate.then_some(node.error_rate),
    })
}

fn read_sharing(sharing: i32) -> Result<Sharing, Failure> {
    match sharing {
        0 => Ok(Sharing::Concurrent),
        1 => Ok(Sharing::Queued),
        other => Err(Failure::argument(format!("{other} is no fog_sharing"))),
    }
}

fn read_strategy(strategy: i32) -> Result<Strategy, Failure> {
    let named = usize::try_from(strategy).ok();
    let named = named.and_then(|index| Strategy::ALL.get(index).copied());
    named.ok_or_else(|| Failure::argument(format!("{strategy} is no fog_strategy")))
}

fn read_preference(preference: &fog_preference) -> Result<Preference, Failure> {
    match preference.kind {
        0 => Ok(Preference::Knee),
        1 => Ok(Preference::Weights(preference.weights)),
        2 => Ok(Preference::Lexicographic(preference.order)),
        other => Err(Failure::argument(format!(
            "{other} is no fog_preference_kind"
        ))),
    }
}

/// What a call of a placement is given, read.
struct Batch {
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    placing: Placing,
}

/// # Safety
/// There are as many jobs and nodes as are said, well-formed as their structs ask; how they are
/// placed is NULL or lives, and its configuration too.
unsafe fn read_batch(
    jobs: *const fog_job,
    job_count: usize,
    nodes: *const fog_node,
    node_count: usize,
    placing: *const fog_placing,
) -> Result<Batch, Failure> {
    // SAFETY: as the caller promises.
    let (jobs, nodes, placing) = unsafe {
        let jobs = slice(jobs, job_count, "jobs")?.iter();
        let nodes = slice(nodes, node_count, "nodes")?.iter();
        (
            jobs.map(|job| read_job(job)).collect::<Result<_, _>>()?,
            nodes
                .map(|node| read_node(node))
                .collect::<Result<_, _>>()?,
            placing.as_ref(),
        )
    };
    let placing = match placing {
        None => Placing::new(Sharing::Concurrent),
        Some(placing) => Placing {
            sharing: read_sharing(placing.sharing)?,
            strategy: read_strategy(placing.strategy)?,
            // SAFETY: as the caller promises.
            search: unsafe { read_config(placing.config) },
            preference: read_preference(&placing.preference)?,
            seed: placing.seed,
        },
    };
    Ok(Batch {
        jobs,
        nodes,
        placing,
    })
}

/// Makes a job that says nothing of itself, of normal priority.
///
/// Thread safety: any thread.
/// @param out receives the job
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_job_default(out: *mut fog_job) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_job {
            id: std::ptr::null(),
            cpu_millis: 0,
            memory_bytes: 0,
            duration_ms: 0,
            priority: fog_priority::Normal as i32,
            min_trust: 0.0,
            has_max_cost: false,
            max_cost: 0,
            has_max_latency_ms: false,
            max_latency_ms: 0.0,
            excluded: std::ptr::null(),
            excluded_count: 0,
            disk_bytes: 0,
            gpus: 0,
            bandwidth_bps: 0,
            input_bytes: 0,
            input_on: std::ptr::null(),
            input_on_count: 0,
            has_max_price: false,
            max_price: 0,
            has_deadline_ms: false,
            deadline_ms: 0,
            regions: std::ptr::null(),
            region_count: 0,
            tier: fog_tier::Bronze as i32,
            affinity: std::ptr::null(),
            affinity_count: 0,
            anti_affinity: std::ptr::null(),
            anti_affinity_count: 0,
            spread: std::ptr::null(),
            gang: std::ptr::null(),
            has_replicas: false,
            replicas: 0,
            preemptible: false,
        });
        Ok(())
    })
}

/// Makes a node of speed 1 that says nothing else of itself.
///
/// Thread safety: any thread.
/// @param out receives the node
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_node_default(out: *mut fog_node) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_node {
            id: std::ptr::null(),
            cpu_millis_free: 0,
            cpu_millis_total: 0,
            memory_bytes_free: 0,
            speed: 1.0,
            latency_ms: 0.0,
            trust: 0.0,
            price_per_cpu_second: 0,
            disk_bytes_free: 0,
            gpus_free: 0,
            bandwidth_bps_free: 0,
            has_ask_per_cpu_second: false,
            ask_per_cpu_second: 0,
            region: std::ptr::null(),
            zone: std::ptr::null(),
            operator_name: std::ptr::null(),
            has_availability: false,
            availability: 0.0,
            has_error_rate: false,
            error_rate: 0.0,
        });
        Ok(())
    })
}

/// What a tier promises and what it costs.
///
/// Thread safety: any thread.
/// @param tier a fog_tier
/// @param out  receives the terms
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such tier
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_tier_terms(tier: i32, out: *mut fog_terms) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for the struct.
        let out = unsafe { result(out, "out") }?;
        let terms = read_tier(tier)?.terms();
        let domains = [Domain::Node, Domain::Zone, Domain::Region, Domain::Operator];
        let notice_ms = match terms.preemption {
            Preemption::Never => None,
            Preemption::AfterNotice { notice_ms } => Some(notice_ms),
        };
        out.write(fog_terms {
            replicas: terms.replicas,
            distinct: domains.map(|domain| terms.distinct.contains(&domain)),
            latency_ms_p95: terms.latency_ms_p95,
            availability: terms.availability,
            error_rate: terms.error_rate,
            preempted: notice_ms.is_some(),
            preemption_notice_ms: notice_ms.unwrap_or(0),
            price_permille: terms.price_permille,
        });
        Ok(())
    })
}

/// Places jobs on nodes and chooses one placement. One seed gives one plan.
///
/// Thread safety: any thread.
/// @param jobs       the jobs
/// @param job_count  how many, at least 1
/// @param nodes      the nodes
/// @param node_count how many, at least 1
/// @param placing    how, or NULL for the usual
/// @param out        receives the plan; free it with fog_plan_free()
/// @return FOG_STATUS_INFEASIBLE, FOG_STATUS_INVALID_PROBLEM, FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_place(
    jobs: *const fog_job,
    job_count: usize,
    nodes: *const fog_node,
    node_count: usize,
    placing: *const fog_placing,
    out: *mut *mut fog_plan,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many jobs and nodes as it says, well-formed as their structs
        // ask, NULL or how they are placed, and room for a handle.
        let (batch, out) = unsafe {
            (
                read_batch(jobs, job_count, nodes, node_count, placing)?,
                result(out, "out")?,
            )
        };
        give(out, fog_plan(batch.placing.place(batch.jobs, batch.nodes)?));
        Ok(())
    })
}

/// Places the jobs that fit and says why the others are left out: those that no node may take, then
/// the less urgent, by priority, by tier, then in the order given. A gang is left out whole, and so
/// are jobs that must be together. What is left out is not proven to have no place.
///
/// Thread safety: any thread.
/// @param jobs       the jobs
/// @param job_count  how many, at least 1
/// @param nodes      the nodes
/// @param node_count how many, at least 1
/// @param placing    how, or NULL for the usual; no strategy but FOG_STRATEGY_NSGA_II leaves out
///                   jobs
/// @param plan       receives where the others run, or NULL if none fits; free it with
///                   fog_plan_free()
/// @param left_out   receives the jobs left out, if any; free it with fog_left_out_free()
/// @return FOG_STATUS_INVALID_PROBLEM, FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_place_what_fits(
    jobs: *const fog_job,
    job_count: usize,
    nodes: *const fog_node,
    node_count: usize,
    placing: *const fog_placing,
    plan: *mut *mut fog_plan,
    left_out: *mut *mut fog_left_out,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many jobs and nodes as it says, well-formed as their structs
        // ask, NULL or how they are placed, and room for two handles.
        let (batch, plan, left_out) = unsafe {
            (
                read_batch(jobs, job_count, nodes, node_count, placing)?,
                result(plan, "plan")?,
                result(left_out, "left_out")?,
            )
        };
        let partial = batch.placing.place_what_fits(&batch.jobs, &batch.nodes)?;
        match partial.plan {
            Some(found) => give(plan, fog_plan(found)),
            None => {
                plan.write(std::ptr::null_mut());
            }
        }
        give(left_out, fog_left_out(partial.left_out));
        Ok(())
    })
}

/// How many jobs were left out.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param left_out the jobs left out
/// @return 0 if `left_out` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_count(left_out: *const fog_left_out) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(left_out, 0, |left_out| left_out.0.len()) }
}

fn left(left_out: &fog_left_out, index: usize) -> Result<&(TaskId, Reason), Failure> {
    left_out.0.get(index).ok_or_else(|| {
        Failure::argument(format!(
            "index {index} is outside of {} jobs left out",
            left_out.0.len()
        ))
    })
}

/// One job that was left out, and why.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param left_out the jobs left out
/// @param index    which job, below fog_left_out_count()
/// @param out      receives the job and the reason
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such job
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_get(
    left_out: *const fog_left_out,
    index: usize,
    out: *mut fog_left_out_job,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (left_out, out) = unsafe { (reference(left_out, "left_out")?, result(out, "out")?) };
        let (job, reason) = left(left_out, index)?;
        out.write(write_left_out(*job, reason));
        Ok(())
    })
}

fn write_left_out(job: TaskId, reason: &Reason) -> fog_left_out_job {
    let because = |reason: fog_left_out_reason| fog_left_out_job {
        job: chars(&job.to_string()),
        reason: reason as i32,
        removed_by: [0; FOG_CONSTRAINT_COUNT],
        node: [0; FOG_NODE_ID_SIZE],
        node_fails: [false; FOG_CONSTRAINT_COUNT],
        lacks: Lacks::default().into(),
        together_count: 0,
        shared: 0,
        late_ms: 0,
        other: [0; FOG_ID_SIZE],
        rule_count: 0,
    };
    let name = |node: &NodeId| chars(&node.to_string());
    match reason {
        Reason::NoNode {
            removed_by,
            nearest,
            nearest_fails,
        } => fog_left_out_job {
            removed_by: *removed_by,
            node: name(nearest),
            node_fails: Constraint::ALL.map(|constraint| nearest_fails.contains(&constraint)),
            ..because(fog_left_out_reason::NoNode)
        },
        Reason::NoCommonNode { jobs, shared } => fog_left_out_job {
            together_count: jobs.len(),
            shared: *shared,
            ..because(fog_left_out_reason::NoCommonNode)
        },
        Reason::NoRoom { node, lacks } => fog_left_out_job {
            node: name(node),
            lacks: (*lacks).into(),
            ..because(fog_left_out_reason::NoRoom)
        },
        Reason::Crowded { rules } => fog_left_out_job {
            rule_count: rules.len(),
            ..because(fog_left_out_reason::Crowded)
        },
        Reason::Late { late_ms } => fog_left_out_job {
            late_ms: *late_ms,
            ..because(fog_left_out_reason::Late)
        },
        Reason::With(other) => fog_left_out_job {
            other: chars(&other.to_string()),
            ..because(fog_left_out_reason::GoesWith)
        },
    }
}

impl From<Lacks> for fog_lacks {
    fn from(lacks: Lacks) -> Self {
        Self {
            cpu_millis: lacks.cpu_millis,
            memory_bytes: lacks.memory_bytes,
            disk_bytes: lacks.disk_bytes,
            gpus: lacks.gpus,
            bandwidth_bps: lacks.bandwidth_bps,
        }
    }
}

/// One of the jobs that must be together, of a job left out for FOG_LEFT_OUT_REASON_NO_COMMON_NODE.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param left_out the jobs left out
/// @param index    which job, below fog_left_out_count()
/// @param job      which of its together_count jobs
/// @param out      receives the identifier, 32 digits and a NUL byte
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such job
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_together(
    left_out: *const fog_left_out,
    index: usize,
    job: usize,
    out: *mut [c_char; FOG_ID_SIZE],
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the identifier.
        let (left_out, out) = unsafe { (reference(left_out, "left_out")?, result(out, "out")?) };
        let together: &[TaskId] = match left(left_out, index)? {
            (_, Reason::NoCommonNode { jobs, .. }) => jobs,
            _ => &[],
        };
        let id = together.get(job).ok_or_else(|| {
            let jobs = together.len();
            Failure::argument(format!(
                "job {job} is outside of {jobs} that must be together"
            ))
        })?;
        out.write(chars(&id.to_string()));
        Ok(())
    })
}

fn rule_of(left_out: &fog_left_out, index: usize, rule: usize) -> Result<&Rule, Failure> {
    let rules: &[Rule] = match left(left_out, index)? {
        (_, Reason::Crowded { rules }) => rules,
        _ => &[],
    };
    rules.get(rule).ok_or_else(|| {
        let rules = rules.len();
        Failure::argument(format!(
            "rule {rule} is outside of {rules} that crowd it out"
        ))
    })
}

/// One of the rules by which a job is crowded out, of one left out for FOG_LEFT_OUT_REASON_CROWDED.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param left_out the jobs left out
/// @param index    which job, below fog_left_out_count()
/// @param rule     which of its rule_count rules
/// @param out      receives the rule
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such job or rule
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_rule(
    left_out: *const fog_left_out,
    index: usize,
    rule: usize,
    out: *mut fog_rule,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (left_out, out) = unsafe { (reference(left_out, "left_out")?, result(out, "out")?) };
        let of_kind = |kind: fog_rule_kind| fog_rule {
            kind: kind as i32,
            over: 0,
            most: 0,
            of: 0,
        };
        out.write(match rule_of(left_out, index, rule)? {
            Rule::Replicas(over) => fog_rule {
                over: write_domain(*over),
                ..of_kind(fog_rule_kind::Replicas)
            },
            Rule::AntiAffinity => of_kind(fog_rule_kind::AntiAffinity),
            Rule::Spread(Spread { over, most, .. }) => fog_rule {
                over: write_domain(*over),
                most: *most,
                ..of_kind(fog_rule_kind::Spread)
            },
            Rule::Capacity(of) => fog_rule {
                of: *of as i32,
                ..of_kind(fog_rule_kind::Capacity)
            },
        });
        Ok(())
    })
}

fn write_domain(domain: Domain) -> i32 {
    let domain = match domain {
        Domain::Node => fog_domain::Node,
        Domain::Zone => fog_domain::Zone,
        Domain::Region => fog_domain::Region,
        Domain::Operator => fog_domain::Operator,
    };
    domain as i32
}

/// The name of the group that a rule of the kind FOG_RULE_KIND_SPREAD is about.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param left_out the jobs left out
/// @param index    which job, below fog_left_out_count()
/// @param rule     which of its rule_count rules
/// @param out      receives the name, empty of a rule of another kind; free it with
///                 fog_string_free()
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such job or rule
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_rule_group(
    left_out: *const fog_left_out,
    index: usize,
    rule: usize,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a string.
        let (left_out, out) = unsafe { (reference(left_out, "left_out")?, result(out, "out")?) };
        let group = match rule_of(left_out, index, rule)? {
            Rule::Spread(Spread { group, .. }) => group,
            Rule::Replicas(_) | Rule::AntiAffinity | Rule::Capacity(_) => "",
        };
        give_text(out, group);
        Ok(())
    })
}

/// Why a job was left out, for people.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param left_out the jobs left out
/// @param index    which job, below fog_left_out_count()
/// @param out      receives the text; free it with fog_string_free()
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such job
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_explain(
    left_out: *const fog_left_out,
    index: usize,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a string.
        let (left_out, out) = unsafe { (reference(left_out, "left_out")?, result(out, "out")?) };
        let (_, reason) = left(left_out, index)?;
        give_text(out, &reason.to_string());
        Ok(())
    })
}

/// Frees the jobs left out.
///
/// Thread safety: no other call may use it.
/// @param left_out the jobs left out, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_left_out_free(left_out: *mut fog_left_out) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(left_out) }
}

/// How many placements a plan has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param plan the plan
/// @return 0 if `plan` is NULL, else at least 1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_size(plan: *const fog_plan) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(plan, 0, |plan| plan.0.front().len()) }
}

/// Index of the placement that was chosen.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param plan the plan
/// @return 0 if `plan` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_chosen(plan: *const fog_plan) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(plan, 0, |plan| plan.0.chosen_index()) }
}

fn point(plan: &fog_plan, index: usize) -> Result<&Point, Failure> {
    let front = plan.0.front();
    front.get(index).ok_or_else(|| {
        Failure::argument(format!(
            "index {index} is outside a plan of {}",
            front.len()
        ))
    })
}

/// One placement of a plan.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param plan  the plan
/// @param index which placement, below fog_plan_size()
/// @param out   receives it
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such placement
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_point(
    plan: *const fog_plan,
    index: usize,
    out: *mut fog_point,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (plan, out) = unsafe { (reference(plan, "plan")?, result(out, "out")?) };
        let point = point(plan, index)?;
        out.write(fog_point {
            objectives: point.objectives,
            cost: fog_amount {
                text: chars(&point.cost.to_string()),
            },
            price: fog_amount {
                text: chars(&point.price.to_string()),
            },
            assignment_count: point.assignment.len(),
        });
        Ok(())
    })
}

/// Where one replica of a job runs in one placement of a plan.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param plan    the plan
/// @param index   which placement, below fog_plan_size()
/// @param replica which replica, of the first job first, below the placement's assignment_count
/// @param out     receives the job and its node
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such placement or replica
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_assignment(
    plan: *const fog_plan,
    index: usize,
    replica: usize,
    out: *mut fog_assignment,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (plan, out) = unsafe { (reference(plan, "plan")?, result(out, "out")?) };
        let point = point(plan, index)?;
        let (task, node) = point.assignment.get(replica).ok_or_else(|| {
            let replicas = point.assignment.len();
            Failure::argument(format!(
                "replica {replica} is outside a placement of {replicas}"
            ))
        })?;
        out.write(fog_assignment {
            job: chars(&task.to_string()),
            node: chars(&node.to_string()),
        });
        Ok(())
    })
}

/// What the chosen placement gives up against the best found, for people.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param plan the plan
/// @param out  receives the text; free it with fog_string_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_explain(
    plan: *const fog_plan,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a string.
        let (plan, out) = unsafe { (reference(plan, "plan")?, result(out, "out")?) };
        give_text(out, &plan.0.explain().to_string());
        Ok(())
    })
}

/// Frees a plan.
///
/// Thread safety: no other call may use it.
/// @param plan the plan, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_free(plan: *mut fog_plan) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(plan) }
}

const _: () = assert!(FOG_OBJECTIVE_COUNT == OBJECTIVE_COUNT);
const _: () = assert!(FOG_CONSTRAINT_COUNT == Constraint::ALL.len());
