//! What a coordinator counts, under the names that Prometheus knows it by.

use std::fmt::Write as _;

use crate::kind::Status;

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetricKind {
    /// It only grows, until the coordinator starts again.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl MetricKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// One number, or several that a label tells apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// What it tells.
    pub help: &'static str,
    /// The name of its label; none if it is one number.
    pub label: Option<&'static str>,
    /// Its values, each with that of the label.
    pub values: Vec<(&'static str, u64)>,
}

/// What the priorities are called, the most urgent first.
const PRIORITIES: [&str; 5] = ["critical", "high", "normal", "low", "bulk"];

macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident: $kind:ident, $help:literal;)*) => {
        /// The numbers of a coordinator.
        ///
        /// | field | name | tells |
        /// |---|---|---|
        $(#[doc = concat!(
            "| `", stringify!($field), "` | `", metrics!(@name $kind $field), "` | ", $help, " |"
        )])*
        ///
        /// and two gauges with a label: `fogcompute_coord_nodes` by `status`, nodes by how they are doing,
        /// and `fogcompute_coord_queue_depth` by `priority`, tasks that wait by how urgent they are.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct Metrics {
            $(
                #[doc = $help]
                pub $field: u64,
            )*
            /// Nodes by the code of their [`Status`].
            pub nodes: [u64; Status::ALL.len()],
            /// Tasks that wait, by the number of their priority.
            pub queue_depth: [u64; PRIORITIES.len()],
        }

        impl Metrics {
            /// All of them, for whoever shows them.
            #[must_use]
            pub fn all(&self) -> Vec<Metric> {
                let nodes = Metric {
                    name: "fogcompute_coord_nodes",
                    kind: MetricKind::Gauge,
                    help: "Nodes, by how they are doing.",
                    label: Some("status"),
                    values: Status::ALL.map(Status::name).into_iter().zip(self.nodes).collect(),
                };
                let queues = Metric {
                    name: "fogcompute_coord_queue_depth",
                    kind: MetricKind::Gauge,
                    help: "Tasks that wait for a node, by how urgent they are.",
                    label: Some("priority"),
                    values: PRIORITIES.into_iter().zip(self.queue_depth).collect(),
                };
                vec![
                    $(Metric {
                        name: metrics!(@name $kind $field),
                        kind: MetricKind::$kind,
                        help: $help,
                        label: None,
                        values: vec![("", self.$field)],
                    },)*
                    nodes,
                    queues,
                ]
            }
        }
    };
    (@name Counter $field:ident) => {
        concat!("fogcompute_coord_", stringify!($field), "_total")
    };
    (@name Gauge $field:ident) => {
        concat!("fogcompute_coord_", stringify!($field))
    };
}

metrics! {
    jobs_admitted: Counter, "Jobs that were admitted.";
    jobs_refused: Counter, "Jobs that were refused.";
    jobs_shed: Counter, "Jobs that were refused because too many tasks were open.";
    calls_refused: Counter, "Calls that no token permitted.";
    links_refused: Counter, "Links of submitters that were closed because there were too many.";
    connections_displaced: Counter, "Connections that were closed for newer ones of the same address before they said who they are.";
    tasks_dispatched: Counter, "Attempts that were sent to a node.";
    tasks_succeeded: Counter, "Tasks that ended with an output.";
    tasks_failed: Counter, "Tasks that ended with an error.";
    tasks_lost: Counter, "Tasks that were given up.";
    tasks_cancelled: Counter, "Tasks that were cancelled.";
    attempts_lost: Counter, "Attempts that ended without a result.";
    attempts_reassigned: Counter, "Attempts that follow one that was lost.";
    reassignment_millis: Counter, "Milliseconds from the loss of an attempt to the next one, over all that were reassigned.";
    reports_refused: Counter, "Reports that were not of an attempt that runs.";
    nodes_suspected: Counter, "Times a node was late.";
    nodes_died: Counter, "Times a node was given up.";
    nodes_silent: Counter, "Times a node was given up because it was silent.";
    detection_millis: Counter, "Milliseconds from the last word of a node that was silent to its being given up, over all of them.";
    breakers_opened: Counter, "Times a node was left alone because it kept failing.";
    settlements: Counter, "Tasks whose money the ledger has moved.";
    settlements_refused: Counter, "Tasks whose money the ledger refuses to move.";
    flushes_failed: Counter, "Times what happened could not be written down or settled.";
    settlements_due: Gauge, "Tasks and nodes that the ledger has still to hear of.";
    tasks_open: Gauge, "Tasks that have not ended.";
    tasks_queued: Gauge, "Tasks that wait for a node.";
    tasks_running: Gauge, "Tasks that run on a node.";
}

impl Metrics {
    /// The numbers in the text format of Prometheus, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for metric in self.all() {
            let name = metric.name;
            // Writing to a text does not fail.
            let _ = writeln!(text, "# HELP {name} {}", metric.help);
            let _ = writeln!(text, "# TYPE {name} {}", metric.kind.name());
            for (value_of_label, value) in metric.values {
                let _ = match metric.label {
                    Some(label) => {
                        writeln!(text, "{name}{{{label}=\"{value_of_label}\"}} {value}")
                    }
                    None => writeln!(text, "{name} {value}"),
                };
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_stand_beside_their_names() {
        let mut metrics = Metrics {
            jobs_admitted: 3,
            tasks_open: 7,
            ..Metrics::default()
        };
        metrics.nodes[usize::from(Status::Suspect.code())] = 2;
        let text = metrics.render();
        for line in [
            "# HELP fogcompute_coord_jobs_admitted_total Jobs that were admitted.",
            "# TYPE fogcompute_coord_jobs_admitted_total counter",
            "fogcompute_coord_jobs_admitted_total 3",
            "fogcompute_coord_jobs_refused_total 0",
            "# TYPE fogcompute_coord_tasks_open gauge",
            "fogcompute_coord_tasks_open 7",
            "fogcompute_coord_nodes{status=\"suspect\"} 2",
            "fogcompute_coord_nodes{status=\"offline\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }

    #[test]
    fn names_are_unique_and_say_what_they_count() {
        let all = Metrics::default().all();
        let names: BTreeSet<_> = all.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), all.len());
        for metric in all {
            assert!(metric.name.starts_with("fogcompute_coord_"));
            let counts = metric.name.ends_with("_total");
            assert_eq!(counts, metric.kind == MetricKind::Counter);
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'));
        }
    }
}
