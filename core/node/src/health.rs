//! How a coordinator is doing, for whoever looks after it.

use fogcompute_coord::metrics::Metrics;
use fogcompute_coord::{Event, SubmitError};
use fogcompute_mix::TopologyError;
use thiserror::Error;

use crate::coordinate::CoordinatorService;

/// Why a coordinator is not of use.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Unwell {
    /// It cannot write down what happens, so it takes nothing on and tells nobody anything.
    #[error("nothing can be written down: {reason}")]
    Stalled {
        /// What the journal or the ledger said.
        reason: String,
    },
    /// Tasks that are to be hidden cannot be sent.
    #[error("no way through the mixnet: {0}")]
    NoRoute(#[from] TopologyError),
}

impl CoordinatorService {
    /// Whether the coordinator is of use.
    ///
    /// # Errors
    /// [`Unwell`]: why it is not.
    pub fn health(&self) -> Result<(), Unwell> {
        if let Some(reason) = self.stalled() {
            let reason = reason.to_owned();
            return Err(Unwell::Stalled { reason });
        }
        self.topology()?;
        Ok(())
    }

    /// What the coordinator counts since it was started, in the text format of Prometheus, version
    /// 0.0.4.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let mut metrics = Metrics {
            calls_refused: self.calls_refused(),
            tasks_queued: self.rules().unplaced() as u64,
            ..self.counts
        };
        for view in self.rules().nodes() {
            metrics.nodes[usize::from(view.status.code())] += 1;
            metrics.tasks_queued += view.waiting as u64;
            metrics.tasks_running += view.running as u64;
        }
        let known = |line: &&str| {
            let name = line.trim_start_matches("# HELP ");
            let name = name.trim_start_matches("# TYPE ");
            !UNKNOWN.iter().any(|unknown| name.starts_with(unknown))
        };
        let lines = metrics.render();
        lines
            .lines()
            .filter(known)
            .fold(String::new(), |text, line| text + line + "\n")
    }
}

/// Numbers that no event of the rules tells.
const UNKNOWN: [&str; 4] = [
    "fogcompute_coord_attempts_reassigned_total",
    "fogcompute_coord_breakers_opened_total",
    "fogcompute_coord_nodes_suspected_total",
    "fogcompute_coord_tasks_open",
];

/// Counts what the rules have decided.
pub(crate) fn count(counts: &mut Metrics, event: &Event) {
    match event {
        Event::Admitted { .. } => counts.jobs_admitted += 1,
        Event::Dispatch { .. } => counts.tasks_dispatched += 1,
        Event::TaskEnded { result: Ok(_), .. } => counts.tasks_succeeded += 1,
        Event::TaskEnded { result: Err(_), .. } => counts.tasks_failed += 1,
        Event::TaskLost { .. } => counts.tasks_lost += 1,
        Event::TaskCancelled { .. } => counts.tasks_cancelled += 1,
        Event::NodeLost { .. } => counts.nodes_died += 1,
        _ => {}
    }
}

/// Counts a job that was not taken.
pub(crate) fn count_refused<E: std::error::Error>(counts: &mut Metrics, error: &SubmitError<E>) {
    counts.jobs_refused += 1;
    if matches!(error, SubmitError::Shed(_)) {
        counts.jobs_shed += 1;
    }
}
