//! What a submitter asks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::limits::{INPUT_BYTES_MAX, MODULE_BYTES_MAX};
use fogcompute_base::{NodeId, TaskId};
use fogcompute_coord::topology::Snapshot;
use fogcompute_coord::{Coordinate, JobSummary, NodeKind, Status};
use fogcompute_exec::{Grants, Limits, TaskState};
use fogcompute_store::{JobChange, JobEvent, JobRow, TaskRow};
use serde_json::{Value, json};

use super::arguments::{
    Asking, CancelArguments, LogsArguments, NodeNameArguments, ResultArguments, StatusArguments,
    SubmitArguments, TopologyArguments, WatchArguments,
};
use super::files::TokenFile;
use super::top::{node_json, role_name};
use super::{FogCommandError, print, say};
use crate::files::{Readers, replace};
use crate::submit::{
    FogClient, FogClientConfig, JobOrder, JobTerms, Reason, TopologyNode, WaitingTasks, Watched,
};

/// Tasks of which is said why they failed.
const REASONS_MAX: usize = 100;

/// A client for the token of a command.
pub(super) fn client(asking: &Asking) -> Result<FogClient, FogCommandError> {
    Ok(FogClient::new(FogClientConfig {
        patience: Duration::from_secs(asking.patience.into()),
        ..TokenFile::read(&asking.token)?
    }))
}

pub(super) async fn submit(arguments: &SubmitArguments) -> Result<(), FogCommandError> {
    let asking = &arguments.asking;
    let module: Arc<[u8]> = file(&arguments.module, MODULE_BYTES_MAX)?.into();
    let mut inputs = Vec::new();
    for input in &arguments.inputs {
        inputs.push(file(input, INPUT_BYTES_MAX)?);
    }
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    let terms = JobTerms {
        job: arguments.job,
        limits: Limits {
            fuel: arguments.fuel,
            memory_bytes: arguments.memory.saturating_mul(1 << 20),
            ..Limits::default()
        },
        grants: Grants {
            host_calls: arguments.host_calls,
            ..Grants::default()
        },
        fuel_estimate: arguments.estimate,
        price_max: arguments.price,
        priority: arguments.priority.into(),
        privacy: arguments.privacy,
    };
    let order = JobOrder::of(&module, inputs, &terms)?;
    let (job, ids) = (order.id, order.task_ids().collect::<Vec<_>>());
    let client = client(asking)?;
    if !asking.json {
        // Whoever interrupts it knows what to submit again.
        print(&format!("job {job}"))?;
    }
    let mut row = client.submit(order).await?;
    let mut failures = BTreeMap::new();
    if arguments.wait {
        row = client.ended(row.id).await?;
        failures = reasons(&client, &client.tasks(row.id).await?).await?;
    }
    let mut lines: Vec<_> = ids.iter().map(|id| task_named(id, &failures)).collect();
    if arguments.wait {
        lines.push(summary_text(&row.summary));
    }
    let mut value = job_json(&row);
    value["tasks"] = json!(ids);
    if !failures.is_empty() {
        value["errors"] = json!(failures);
    }
    say(asking.json, &value, &lines.join("\n"))?;
    let JobSummary {
        failed,
        lost,
        cancelled,
        ..
    } = row.summary;
    let count = failed + lost + cancelled;
    match arguments.wait && count > 0 {
        true => Err(FogCommandError::JobFailed { count }),
        false => Ok(()),
    }
}

fn task_named(id: &TaskId, failures: &BTreeMap<String, String>) -> String {
    match failures.get(&id.to_string()) {
        Some(error) => format!("task {id} failed: {error}"),
        None => format!("task {id}"),
    }
}

/// Why tasks failed, of the first [`REASONS_MAX`] that did.
async fn reasons(
    client: &FogClient,
    tasks: &[TaskRow],
) -> Result<BTreeMap<String, String>, FogCommandError> {
    let failed = tasks.iter().filter(|task| task.state == TaskState::Failed);
    let mut reasons = BTreeMap::new();
    for task in failed.take(REASONS_MAX) {
        match client.result(task.id).await {
            Ok(report) => {
                if let Err(error) = report.result {
                    reasons.insert(task.id.to_string(), error.to_string());
                }
            }
            // It is kept no more.
            Err(error) if error.reason() == Some(Reason::NoResult) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reasons)
}

/// A file that is not longer than that.
fn file(path: &Path, limit: usize) -> Result<Vec<u8>, FogCommandError> {
    let mut bytes = Vec::new();
    let taken = File::open(path).and_then(|file| {
        // One more shows that there are too many.
        file.take(limit as u64 + 1).read_to_end(&mut bytes)
    });
    taken.map_err(FogCommandError::file("reading", path))?;
    let path = path.to_owned();
    match bytes.len() > limit {
        true => Err(FogCommandError::TooLarge { path, limit }),
        false => Ok(bytes),
    }
}

pub(super) async fn status(arguments: &StatusArguments) -> Result<(), FogCommandError> {
    let client = client(&arguments.asking)?;
    let json = arguments.asking.json;
    let Some(job) = arguments.job else {
        let jobs = client.jobs(arguments.count).await?;
        let value = json!({"jobs": jobs.iter().map(job_json).collect::<Vec<_>>()});
        let lines: Vec<_> = jobs.iter().map(job_line).collect();
        let text = match lines.is_empty() {
            true => "no jobs".to_owned(),
            false => lines.join("\n"),
        };
        return say(json, &value, &text);
    };
    let row = client.job(job).await?;
    let tasks = client.tasks(job).await?;
    let failures = reasons(&client, &tasks).await?;
    let waiting = match row.summary.open {
        0 => Vec::new(),
        _ => client.waiting(job).await?,
    };
    let mut value = job_json(&row);
    let mut text = job_line(&row);
    for waiting in &waiting {
        let _ = write!(text, "\n  {}", waiting_line(waiting));
    }
    value["waiting"] = waiting.iter().map(waiting_json).collect();
    let mut of = Vec::new();
    for task in &tasks {
        let (mut value, mut line) = (task_json(task), task_line(task));
        if let Some(error) = failures.get(&task.id.to_string()) {
            value["error"] = json!(error);
            let _ = write!(line, ": {error}");
        }
        of.push(value);
        let _ = write!(text, "\n{line}");
    }
    value["tasks"] = Value::Array(of);
    say(json, &value, &text)
}

pub(super) async fn result(arguments: &ResultArguments) -> Result<(), FogCommandError> {
    let report = client(&arguments.asking)?.result(arguments.task).await?;
    let done = report.result.map_err(|error| FogCommandError::TaskFailed {
        task: arguments.task,
        error: error.to_string(),
    })?;
    let bytes = done.output.len();
    match &arguments.output {
        Some(path) => {
            replace(path, &done.output, Readers::Everybody)
                .map_err(FogCommandError::file("writing", path))?;
            let value = json!({"task": arguments.task, "bytes": bytes, "usage": done.usage});
            say(
                arguments.asking.json,
                &value,
                &format!("{bytes} bytes in {}", path.display()),
            )
        }
        None if arguments.asking.json => {
            let value = json!({
                "task": arguments.task,
                "bytes": bytes,
                "usage": done.usage,
                "output_hex": crate::ledger::text::hex(&done.output),
            });
            print(&value.to_string())
        }
        None => {
            let mut out = io::stdout().lock();
            (out.write_all(&done.output))
                .and_then(|()| out.flush())
                .map_err(FogCommandError::Output)
        }
    }
}

pub(super) async fn logs(arguments: &LogsArguments) -> Result<(), FogCommandError> {
    let task = arguments.task;
    let log = client(&arguments.asking)?.log(task).await?;
    if arguments.asking.json {
        return print(&json!({"task": task, "log": log}).to_string());
    }
    let mut out = io::stdout().lock();
    (out.write_all(log.as_bytes()))
        .and_then(|()| out.flush())
        .map_err(FogCommandError::Output)
}

pub(super) async fn cancel(arguments: &CancelArguments) -> Result<(), FogCommandError> {
    let job = arguments.job;
    let tasks = client(&arguments.asking)?.cancel(job).await?;
    let value = json!({"job": job, "cancelled": tasks});
    let text = format!("cancelled {tasks} tasks of {job}");
    say(arguments.asking.json, &value, &text)
}

pub(super) async fn drain(
    arguments: &NodeNameArguments,
    drained: bool,
) -> Result<(), FogCommandError> {
    let client = client(&arguments.asking)?;
    let node = named(&client, &arguments.node).await?;
    let text = match drained {
        true => {
            client.drain(node).await?;
            "finishes what it has"
        }
        false => {
            client.undrain(node).await?;
            "takes tasks"
        }
    };
    let value = json!({"node": node, "drained": drained});
    say(
        arguments.asking.json,
        &value,
        &format!("node {node} {text}"),
    )
}

/// The node whose id begins like that.
async fn named(client: &FogClient, name: &str) -> Result<NodeId, FogCommandError> {
    if let Ok(node) = name.parse() {
        return Ok(node);
    }
    let topology = client.topology().await?;
    let nodes = topology.nodes.iter().map(|node| node.status.node);
    let like: Vec<_> = nodes
        .filter(|node| node.to_string().starts_with(name))
        .collect();
    let name = name.to_owned();
    match like[..] {
        [node] => Ok(node),
        [] => Err(FogCommandError::NoNode { name }),
        _ => Err(FogCommandError::Ambiguous {
            name,
            count: like.len(),
        }),
    }
}

pub(super) async fn topology(arguments: &TopologyArguments) -> Result<(), FogCommandError> {
    let asking = &arguments.asking;
    let topology = client(asking)?.topology().await?;
    let mut text = format!("{}  coordinator", topology.coordinator.short());
    for node in &topology.nodes {
        let _ = write!(text, "\n{}", topology_line(node));
    }
    let value = json!({
        "at": topology.at.to_string(),
        "coordinator": topology.coordinator,
        "place": place_json(&topology.coordinate),
        "nodes": topology.nodes.iter().map(topology_json).collect::<Vec<_>>(),
        "history": topology.history.iter().map(snapshot_json).collect::<Vec<_>>(),
    });
    say(asking.json, &value, &text)
}

fn topology_line(node: &TopologyNode) -> String {
    let status = &node.status;
    let mut text = format!(
        "{}  {}, {}, {:.1} of {:.1} processors and {} of {} MiB free, {:.1} ms away",
        status.node.short(),
        role_name(status.role),
        status.status.name(),
        node.free_cpu_millis as f64 / 1e3,
        status.cpu_millis as f64 / 1e3,
        node.free_memory_bytes >> 20,
        status.memory_bytes >> 20,
        status.latency_ms,
    );
    if !node.linked {
        text.push_str(", not linked");
    }
    text
}

fn topology_json(node: &TopologyNode) -> Value {
    let mut value = node_json(&node.status);
    value["kind"] = json!(node.kind.name());
    value["linked"] = json!(node.linked);
    value["free_cpu_millis"] = json!(node.free_cpu_millis);
    value["free_memory_bytes"] = json!(node.free_memory_bytes);
    value["place"] = node.coordinate.as_ref().map_or(Value::Null, place_json);
    value
}

fn place_json(place: &Coordinate) -> Value {
    json!({
        "position_ms": place.position(),
        "height_ms": place.height(),
        "error": place.error(),
    })
}

fn snapshot_json(snapshot: &Snapshot) -> Value {
    let kinds = NodeKind::ALL.map(|kind| (kind.name(), snapshot.of_kind(kind)));
    let statuses = Status::ALL.map(|status| (status.name(), snapshot.of_status(status)));
    json!({
        "at": snapshot.at.to_string(),
        "kinds": BTreeMap::from(kinds),
        "statuses": BTreeMap::from(statuses),
        "cpu_millis": snapshot.total.cpu_millis,
        "memory_bytes": snapshot.total.memory_bytes,
        "free_cpu_millis": snapshot.free.cpu_millis,
        "free_memory_bytes": snapshot.free.memory_bytes,
        "running": snapshot.running,
        "waiting": snapshot.waiting,
    })
}

pub(super) async fn watch(arguments: &WatchArguments) -> Result<(), FogCommandError> {
    let client = client(&arguments.asking)?;
    let mut last = None;
    if let Some(job) = arguments.until
        && client.job(job).await?.summary.open == 0
    {
        // Its end may be behind: what has happened by now is the most there is to see.
        last = Some(client.last_event().await?);
    }
    let is_last = |number| last.is_some_and(|last| number >= last);
    let mut watch = client.watch(arguments.after);
    let mut printed = 0;
    if is_last(arguments.after) {
        return Ok(());
    }
    while arguments.count.is_none_or(|count| printed < count) {
        let json = arguments.asking.json;
        match watch.next().await? {
            Watched::Lagged { missed } => {
                let value = json!({"missed": missed});
                say(json, &value, &format!("{missed} events are forgotten"))?;
            }
            Watched::Event(event) => {
                say(json, &event_json(&event), &event_line(&event))?;
                printed += 1;
                let has_ended =
                    event.change == JobChange::JobEnded && arguments.until == Some(event.job);
                if has_ended || is_last(event.number) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

pub(super) const fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Submitted | TaskState::Queued { .. } => "queued",
        TaskState::Assigned { .. } => "assigned",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Lost { .. } => "lost",
    }
}

fn summary_text(summary: &JobSummary) -> String {
    let JobSummary {
        succeeded,
        failed,
        lost,
        cancelled,
        open,
        paid,
        ..
    } = summary;
    let mut text = format!("{succeeded} succeeded");
    let counts = [
        (failed, "failed"),
        (lost, "lost"),
        (cancelled, "cancelled"),
        (open, "open"),
    ];
    for (count, what) in counts {
        if *count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let _ = write!(text, "; {} credits paid", paid.to_credits_string());
    text
}

pub(super) fn job_line(job: &JobRow) -> String {
    format!("{}  {}", job.id, summary_text(&job.summary))
}

pub(super) fn job_json(job: &JobRow) -> Value {
    let JobSummary {
        succeeded,
        failed,
        lost,
        cancelled,
        open,
        paid,
        reserved,
        released,
    } = job.summary;
    json!({
        "job": job.id,
        "account": job.owner,
        "priority": job.priority,
        "privacy": job.privacy.name(),
        "submitted": job.submitted.to_string(),
        "succeeded": succeeded,
        "failed": failed,
        "lost": lost,
        "cancelled": cancelled,
        "open": open,
        "paid": paid.to_string(),
        "reserved": reserved.to_string(),
        "released": released.to_string(),
    })
}

fn waiting_line(waiting: &WaitingTasks) -> String {
    let (tasks, said) = (waiting.tasks, &waiting.said);
    match tasks {
        1 => format!("1 task waits: {said}"),
        _ => format!("{tasks} tasks wait: {said}"),
    }
}

fn waiting_json(waiting: &WaitingTasks) -> Value {
    json!({
        "task": waiting.task,
        "tasks": waiting.tasks,
        "for": waiting.waiting_for.name(),
        "before": waiting.before,
        "said": waiting.said,
    })
}

fn task_line(task: &TaskRow) -> String {
    let mut text = format!("  {}  {}", task.id, state_name(task.state));
    if let Some(node) = task.node {
        let _ = write!(text, " at node {}", node.short());
    }
    if task.attempts > 1 {
        let _ = write!(text, ", attempt {}", task.attempts);
    }
    text
}

fn task_json(task: &TaskRow) -> Value {
    json!({
        "task": task.id,
        "state": state_name(task.state),
        "attempts": task.attempts,
        "node": task.node,
        "paid": task.paid.to_string(),
        "changed": task.changed.to_string(),
    })
}

fn event_line(event: &JobEvent) -> String {
    let (number, job) = (event.number, event.job);
    let what = match event.change {
        JobChange::Admitted { tasks } => format!("job {job} admitted, {tasks} tasks"),
        JobChange::Assigned {
            task,
            node,
            attempt,
        } => format!("task {task} to node {}, attempt {attempt}", node.short()),
        JobChange::Queued { task, attempts } => {
            format!("task {task} waits again after attempt {attempts}")
        }
        JobChange::Ended { task, state, paid } => format!(
            "task {task} {}, {} credits paid",
            state_name(state),
            paid.to_credits_string()
        ),
        JobChange::JobEnded => format!("job {job} ended"),
        _ => format!("job {job} changed"),
    };
    format!("{number} {what}")
}

fn event_json(event: &JobEvent) -> Value {
    let mut value = json!({
        "number": event.number,
        "at": event.at.to_string(),
        "job": event.job,
    });
    match event.change {
        JobChange::Admitted { tasks } => {
            value["event"] = json!("admitted");
            value["tasks"] = json!(tasks);
        }
        JobChange::Assigned {
            task,
            node,
            attempt,
        } => {
            value["event"] = json!("assigned");
            value["task"] = json!(task);
            value["node"] = json!(node);
            value["attempt"] = json!(attempt);
        }
        JobChange::Queued { task, attempts } => {
            value["event"] = json!("queued");
            value["task"] = json!(task);
            value["attempts"] = json!(attempts);
        }
        JobChange::Ended { task, state, paid } => {
            value["event"] = json!("ended");
            value["task"] = json!(task);
            value["state"] = json!(state_name(state));
            value["paid"] = json!(paid.to_string());
        }
        JobChange::JobEnded => value["event"] = json!("job_ended"),
        _ => value["event"] = json!("changed"),
    }
    value
}
