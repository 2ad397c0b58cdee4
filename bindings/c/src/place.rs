use std::ffi::c_char;

use fogcompute::base::Priority;
use fogcompute::schedule::{Job, Node, OBJECTIVE_COUNT};
use fogcompute::{Plan, Point, Preference, Sharing};

use crate::optimise::{fog_nsga2_config, read_config};
use crate::support::{
    Failure, chars, free, give, give_text, guard, parsed, read_or, reference, result, slice,
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

/// A job to be placed.
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
    /// Most it may cost, in base units.
    pub max_cost: u64,
    /// Whether max_latency_ms is read.
    pub has_max_latency_ms: bool,
    /// Highest latency of its node, in milliseconds.
    pub max_latency_ms: f64,
    /// Identifiers of nodes it must not run on.
    pub excluded: *const *const c_char,
    /// How many.
    pub excluded_count: usize,
}

/// A node that takes jobs.
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

/// One placement of all jobs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_point {
    /// What it is worth: completion in milliseconds, imbalance, distrust, cost, price.
    pub objectives: [f64; FOG_OBJECTIVE_COUNT],
    /// What it costs, in base units. The objective of this name is only near to it when large.
    pub cost: fog_amount,
    /// How many jobs were placed.
    pub assignment_count: usize,
}

/// Where one job runs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_assignment {
    /// The job's identifier.
    pub job: [c_char; FOG_ID_SIZE],
    /// The node's identifier.
    pub node: [c_char; FOG_NODE_ID_SIZE],
}

/// Placements that no other beats, and the one chosen.
pub struct fog_plan(Plan);

/// # Safety
/// The job's texts are strings or NULL, and it excludes as many nodes as it says.
unsafe fn read_job(job: &fog_job) -> Result<Job, Failure> {
    let priority = match job.priority {
        0 => Priority::Critical,
        1 => Priority::High,
        2 => Priority::Normal,
        3 => Priority::Low,
        4 => Priority::Bulk,
        other => return Err(Failure::argument(format!("{other} is no fog_priority"))),
    };
    // SAFETY: as the caller promises.
    let (id, excluded) = unsafe {
        let excluded = slice(job.excluded, job.excluded_count, "excluded")?;
        let excluded = excluded.iter().map(|&node| parsed(node, "excluded"));
        (parsed(job.id, "job")?, excluded.collect::<Result<_, _>>()?)
    };
    Ok(Job {
        priority,
        min_trust: job.min_trust,
        max_cost: job.has_max_cost.then_some(job.max_cost),
        max_latency_ms: job.has_max_latency_ms.then_some(job.max_latency_ms),
        excluded,
        ..Job::new(id, job.cpu_millis, job.memory_bytes, job.duration_ms)
    })
}

/// # Safety
/// The node's identifier is a string or NULL.
unsafe fn read_node(node: &fog_node) -> Result<Node, Failure> {
    // SAFETY: as the caller promises.
    let id = unsafe { parsed(node.id, "node") }?;
    Ok(Node {
        cpu_millis_free: node.cpu_millis_free,
        speed: node.speed,
        latency_ms: node.latency_ms,
        trust: node.trust,
        price_per_cpu_second: node.price_per_cpu_second,
        ..Node::new(id, node.cpu_millis_total, node.memory_bytes_free)
    })
}

fn read_sharing(sharing: i32) -> Result<Sharing, Failure> {
    match sharing {
        0 => Ok(Sharing::Concurrent),
        1 => Ok(Sharing::Queued),
        other => Err(Failure::argument(format!("{other} is no fog_sharing"))),
    }
}

fn read_preference(preference: Option<&fog_preference>) -> Result<Preference, Failure> {
    let Some(preference) = preference else {
        return Ok(Preference::default());
    };
    match preference.kind {
        0 => Ok(Preference::Knee),
        1 => Ok(Preference::Weights(preference.weights)),
        2 => Ok(Preference::Lexicographic(preference.order)),
        other => Err(Failure::argument(format!(
            "{other} is no fog_preference_kind"
        ))),
    }
}

/// Places jobs on nodes with NSGA-II and chooses one placement. One seed gives one plan.
///
/// Thread safety: any thread.
/// @param jobs       the jobs
/// @param job_count  how many, at least 1
/// @param nodes      the nodes
/// @param node_count how many, at least 1
/// @param sharing    a fog_sharing
/// @param config     parameters of the search, or NULL for the usual
/// @param preference how one placement is chosen, or NULL for the knee
/// @param seed       where randomness starts
/// @param out        receives the plan; free it with fog_plan_free()
/// @return FOG_STATUS_INFEASIBLE, FOG_STATUS_INVALID_PROBLEM, FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_place(
    jobs: *const fog_job,
    job_count: usize,
    nodes: *const fog_node,
    node_count: usize,
    sharing: i32,
    config: *const fog_nsga2_config,
    preference: *const fog_preference,
    seed: u64,
    out: *mut *mut fog_plan,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many jobs and nodes as it says, well-formed as their structs
        // ask, NULL or parameters, NULL or a preference, and room for a handle.
        let (jobs, nodes, config, preference, out) = unsafe {
            let jobs = slice(jobs, job_count, "jobs")?
                .iter()
                .map(|job| read_job(job));
            let nodes = slice(nodes, node_count, "nodes")?
                .iter()
                .map(|node| read_node(node));
            (
                jobs.collect::<Result<Vec<_>, _>>()?,
                nodes.collect::<Result<Vec<_>, _>>()?,
                read_config(config),
                read_preference(preference.as_ref())?,
                result(out, "out")?,
            )
        };
        let sharing = read_sharing(sharing)?;
        let plan = fogcompute::place(jobs, nodes, sharing, &config, preference, seed)?;
        give(out, fog_plan(plan));
        Ok(())
    })
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
            assignment_count: point.assignment.len(),
        });
        Ok(())
    })
}

/// Where one job runs in one placement of a plan.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param plan  the plan
/// @param index which placement, below fog_plan_size()
/// @param job   which job, in the order in which jobs were given
/// @param out   receives the job and its node
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such placement or job
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_plan_assignment(
    plan: *const fog_plan,
    index: usize,
    job: usize,
    out: *mut fog_assignment,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (plan, out) = unsafe { (reference(plan, "plan")?, result(out, "out")?) };
        let point = point(plan, index)?;
        let (task, node) = point.assignment.get(job).ok_or_else(|| {
            let jobs = point.assignment.len();
            Failure::argument(format!("job {job} is outside a placement of {jobs}"))
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
