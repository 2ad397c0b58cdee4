//! Files of jobs and nodes: what is read has a placement that fits, or a reason why there is none.

#![no_main]

use std::collections::BTreeMap;

use fogcompute_node::fuzzing::placing;
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::{Instance, Job, Node, Sharing};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Entries of a file that are placed: the time of one run is bounded.
const ENTRIES_MAX: usize = 12;

/// A file of jobs in which fields are changed, and one of nodes: random text is hardly ever JSON.
#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    raw: &'a [u8],
    jobs: Vec<Vec<(u8, Value)>>,
    nodes: Vec<Vec<(u8, Value)>>,
    queued: bool,
}

#[derive(Debug, arbitrary::Arbitrary)]
enum Value {
    Small(u8),
    Large(u64),
    Share(u8),
    Real(f64),
    Name(u8),
    Names(Vec<u8>),
    Spread(u8, u8),
    Absent,
}

fn json(value: &Value) -> serde_json::Value {
    let name = |index: &u8| format!("job {}", index % 16);
    match value {
        Value::Small(number) => (*number).into(),
        Value::Large(number) => (*number).into(),
        Value::Share(share) => (f64::from(*share) / 255.0).into(),
        Value::Real(number) => (*number).into(),
        Value::Name(index) => match index % 8 {
            0 => "high".into(),
            1 => "bulk".into(),
            2 => "gold".into(),
            3 => "silver".into(),
            _ => name(index).into(),
        },
        Value::Names(names) => names.iter().map(name).collect::<Vec<_>>().into(),
        Value::Spread(over, most) => {
            let over = ["node", "zone", "region", "operator"][usize::from(*over % 4)];
            serde_json::json!({"group": "group", "over": over, "most": most})
        }
        Value::Absent => serde_json::Value::Null,
    }
}

const JOB_FIELDS: [&str; 24] = [
    "id",
    "cpu_millis",
    "memory_bytes",
    "duration_ms",
    "priority",
    "min_trust",
    "max_cost",
    "max_latency_ms",
    "excluded",
    "disk_bytes",
    "gpus",
    "bandwidth_bps",
    "input_bytes",
    "input_on",
    "max_price",
    "deadline_ms",
    "regions",
    "tier",
    "affinity",
    "anti_affinity",
    "spread",
    "gang",
    "replicas",
    "preemptible",
];

const NODE_FIELDS: [&str; 17] = [
    "id",
    "cpu_millis_free",
    "cpu_millis_total",
    "memory_bytes_free",
    "speed",
    "latency_ms",
    "trust",
    "price_per_cpu_second",
    "disk_bytes_free",
    "gpus_free",
    "bandwidth_bps_free",
    "ask_per_cpu_second",
    "region",
    "zone",
    "operator",
    "availability",
    "error_rate",
];

fn file(entries: &[Vec<(u8, Value)>], fields: &[&str], usual: &serde_json::Value) -> Vec<u8> {
    let entries = entries.iter().take(ENTRIES_MAX).enumerate();
    let entries = entries.map(|(index, changes)| {
        let mut entry = usual.clone();
        entry["id"] = format!("job {index}").into();
        for (field, value) in changes {
            entry[fields[usize::from(*field) % fields.len()]] = json(value);
        }
        entry
    });
    serde_json::to_vec(&entries.collect::<Vec<_>>()).unwrap_or_default()
}

fuzz_target!(|input: Input<'_>| {
    let _ = placing(input.raw);
    let job = serde_json::json!({"cpu_millis": 100, "memory_bytes": 9, "duration_ms": 50});
    let node = serde_json::json!({
        "cpu_millis_free": 900, "cpu_millis_total": 1000, "memory_bytes_free": 60, "speed": 1.5,
        "latency_ms": 3.0, "trust": 0.5, "price_per_cpu_second": 2,
    });
    let (jobs, _) = placing(&file(&input.jobs, &JOB_FIELDS, &job));
    let (_, nodes) = placing(&file(&input.nodes, &NODE_FIELDS, &node));
    let sharing = if input.queued {
        Sharing::Queued
    } else {
        Sharing::Concurrent
    };
    let search = Nsga2 {
        population: 4,
        generations: 2,
        ..Nsga2::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    if let Ok(instance) = Instance::new(jobs.clone(), nodes.clone(), sharing) {
        match instance.place(&search, &mut rng) {
            Ok(plan) => check(&jobs, &nodes, sharing, &plan.chosen().assignment),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(partial) = Instance::place_what_fits(&jobs, &nodes, sharing, &search, &mut rng) {
        for (_, reason) in &partial.left_out {
            assert!(!reason.to_string().is_empty());
        }
        if let Some(plan) = partial.plan {
            check(&jobs, &nodes, sharing, &plan.chosen().assignment);
        }
    }
});

/// What is placed fits what is free.
fn check(
    jobs: &[Job],
    nodes: &[Node],
    sharing: Sharing,
    assignment: &[(fogcompute_base::TaskId, fogcompute_base::NodeId)],
) {
    let jobs: BTreeMap<_, _> = jobs.iter().map(|job| (job.id, job)).collect();
    for node in nodes {
        let here = assignment.iter().filter(|(_, on)| *on == node.id);
        let needs = here.map(|(job, _)| u128::from(jobs[job].cpu_millis));
        let needed = match sharing {
            Sharing::Concurrent => needs.sum::<u128>(),
            Sharing::Queued => needs.max().unwrap_or(0),
        };
        assert!(needed <= u128::from(node.cpu_millis_free));
    }
}
