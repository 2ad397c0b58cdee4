//! `fogcompute top`: a fog at a look.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use fogcompute_store::JobRow;
use serde_json::{Value, json};

use super::arguments::TopArguments;
use super::ask::{client, job_json};
use super::{FogCommandError, print};
use crate::protocol::Role;
use crate::signals::Signals;
use crate::submit::{FogClient, NodeStatus};

/// Jobs that are shown.
const JOBS_SHOWN: u16 = 12;

/// Width of a bar, in characters.
const BAR: usize = 20;

/// One look.
struct Look {
    nodes: Vec<NodeStatus>,
    jobs: Vec<JobRow>,
    metrics: String,
}

impl Look {
    async fn at(client: &FogClient) -> Result<Self, FogCommandError> {
        let (nodes, jobs, metrics) =
            tokio::try_join!(client.nodes(), client.jobs(JOBS_SHOWN), client.metrics())?;
        Ok(Self {
            nodes,
            jobs,
            metrics,
        })
    }

    /// Numbers by their name, with the label if there is one.
    fn numbers(&self) -> impl Iterator<Item = (&str, u64)> {
        let lines = self.metrics.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name, value.parse().ok()?))
        })
    }

    fn json(&self) -> Value {
        let numbers: serde_json::Map<_, _> = self
            .numbers()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        json!({
            "nodes": self.nodes.iter().map(node_json).collect::<Vec<_>>(),
            "jobs": self.jobs.iter().map(job_json).collect::<Vec<_>>(),
            "metrics": numbers,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let computing = self.nodes.iter().filter(|it| it.role == Role::Compute);
        let sum =
            |of: fn(&NodeStatus) -> u64| computing.clone().map(of).fold(0, u64::saturating_add);
        let _ = writeln!(
            text,
            "compute nodes: {}, which lend {:.1} processors and {} MiB, run {} tasks and hold {} more",
            computing.clone().count(),
            sum(|it| it.cpu_millis) as f64 / 1e3,
            sum(|it| it.memory_bytes) >> 20,
            sum(|it| it.running.into()),
            sum(|it| it.waiting.into()),
        );
        let _ = writeln!(
            text,
            "\nNODE          ROLE     STATUS       CPUS      MIB  RUNNING  WAITING  TRUST  LATENCY"
        );
        for node in &self.nodes {
            let role = role_name(node.role);
            let status = match node.barred {
                true => "left alone",
                false => node.status.name(),
            };
            let _ = writeln!(
                text,
                "{:<13} {role:<8} {status:<11} {:>5.1} {:>8} {:>8} {:>8} {:>6.2} {:>5.1} ms",
                node.node.short(),
                node.cpu_millis as f64 / 1e3,
                node.memory_bytes >> 20,
                node.running,
                node.waiting,
                node.trust,
                node.latency_ms,
            );
        }
        let _ = writeln!(
            text,
            "\nJOB                               DONE                  ENDED     TASKS  FAILED       PAID"
        );
        for job in &self.jobs {
            let summary = &job.summary;
            let unusable = summary.failed + summary.lost + summary.cancelled;
            let ended = summary.succeeded + unusable;
            let all = ended + summary.open;
            let _ = writeln!(
                text,
                "{}  {} {ended:>6} {all:>9} {:>7} {:>10}",
                job.id,
                bar(ended, all),
                unusable,
                short(&summary.paid.to_credits_string()),
            );
        }
        text
    }
}

pub(super) fn role_name(role: Role) -> String {
    match role {
        Role::Mix { layer } => format!("mix {layer}"),
        Role::Compute => "compute".to_owned(),
    }
}

fn bar(part: usize, whole: usize) -> String {
    let full = (part * BAR).checked_div(whole).unwrap_or(0);
    format!("{}{}", "█".repeat(full), "·".repeat(BAR - full))
}

/// A number with at most four digits behind the point.
fn short(credits: &str) -> &str {
    match credits.find('.') {
        Some(point) => &credits[..credits.len().min(point + 5)],
        None => credits,
    }
}

pub(super) fn node_json(node: &NodeStatus) -> Value {
    let (role, layer) = match node.role {
        Role::Mix { layer } => ("mix", Some(layer)),
        Role::Compute => ("compute", None),
    };
    json!({
        "node": node.node,
        "role": role,
        "layer": layer,
        "address": node.address,
        "status": node.status.name(),
        "barred": node.barred,
        "cpu_millis": node.cpu_millis,
        "memory_bytes": node.memory_bytes,
        "fuel_per_second": node.fuel_per_second,
        "price_per_gigafuel": node.price_per_gigafuel.to_string(),
        "latency_ms": node.latency_ms,
        "trust": node.trust,
        "running": node.running,
        "waiting": node.waiting,
    })
}

pub(super) async fn run(arguments: &TopArguments) -> Result<(), FogCommandError> {
    let client = client(&arguments.asking)?;
    let mut signals = Signals::listen()?;
    let on_terminal = !arguments.asking.json && !arguments.once && io::stdout().is_terminal();
    let mut next = tokio::time::interval(Duration::from_millis(arguments.interval_ms.into()));
    loop {
        tokio::select! {
            () = signals.asked() => return Ok(()),
            _ = next.tick() => {}
        }
        let look = tokio::select! {
            () = signals.asked() => return Ok(()),
            look = Look::at(&client) => look?,
        };
        print(&match arguments.asking.json {
            true => look.json().to_string(),
            // From the top left corner, and nothing of the last picture below.
            false if on_terminal => format!("\x1b[H\x1b[J{}", look.text()),
            false => look.text(),
        })?;
        if arguments.once {
            return Ok(());
        }
    }
}
