//! How many jobs a second are placed one at a time on 10,000 nodes.
//!
//! `cargo run --release -p fogcompute-schedule --example placer`

use std::time::Instant;

use fogcompute_base::{NodeId, TaskId};
use fogcompute_schedule::fogp::{Problem, Spec};
use fogcompute_schedule::{Job, Node, Placer, Rates};

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock; the placer does not"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Nodes and jobs of the benchmark family, as far as this crate's own have the same fields.
    let problem = Problem::generate(Spec::new(20_000, 10_000, 1, 1))?;
    let nodes: Vec<Node> = (0_u64..)
        .zip(problem.nodes())
        .map(|(id, node)| Node {
            cpu_millis_free: node.cpu_millis - node.cpu_millis_used,
            speed: node.speed,
            latency_ms: node.base_ms,
            trust: node.trust,
            price_per_cpu_second: (node.ask_rate * 100.0) as u64,
            ..Node::new(
                NodeId::from_bytes(std::array::from_fn(|at| id.to_le_bytes()[at % 8])),
                node.cpu_millis,
                node.memory_mib << 20,
            )
        })
        .collect();
    let jobs: Vec<Job> = (0_u64..)
        .zip(problem.jobs())
        .map(|(id, job)| Job {
            min_trust: job.trust_min,
            max_latency_ms: Some(job.latency_ms_max),
            ..Job::new(
                TaskId::from_bytes(std::array::from_fn(|at| id.to_le_bytes()[at % 8])),
                job.cpu_millis,
                job.memory_mib << 20,
                1_000 * job.duration_s,
            )
        })
        .collect();
    let rates = Rates {
        completion_ms: 1e-4,
        node_use: 10.0,
        distrust: 50.0,
        cost: 1e-4,
        price: 0.0,
    };
    let mut placer = Placer::new(nodes, rates)?;
    let start = Instant::now();
    for job in &jobs {
        placer.place(job)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} jobs on {} nodes: {:.0} decisions a second",
        jobs.len(),
        problem.nodes().len(),
        jobs.len() as f64 / seconds
    );
    Ok(())
}
