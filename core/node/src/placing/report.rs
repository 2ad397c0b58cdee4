//! What `fogcompute schedule place` says.

use std::fmt::Write as _;

use fogcompute_base::TaskId;
use fogcompute_schedule::{Constraint, Job, Node, OBJECTIVE_NAMES, Plan, Point, Reason};
use serde_json::{Map, Value, json};

use super::input::Names;

/// A placement, to be told.
pub(super) struct Report<'a> {
    pub(super) jobs: &'a [Job],
    pub(super) nodes: &'a [Node],
    pub(super) names: &'a Names,
    /// `None` if nothing fits.
    pub(super) plan: Option<&'a Plan>,
    pub(super) left_out: &'a [(TaskId, Reason)],
    /// Lines of a log that are no jobs.
    pub(super) skipped: usize,
    pub(super) explain: bool,
}

impl Report<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(plan) = self.plan {
            let rows: Vec<[String; 2]> = plan
                .chosen()
                .assignment
                .iter()
                .map(|(job, node)| [self.names.of(job), self.names.of(node)])
                .collect();
            let head = ["job".to_owned(), "node".to_owned()];
            let rows = std::iter::once(&head).chain(&rows);
            let width = rows.clone().map(|[job, _]| job.chars().count()).max();
            let width = width.unwrap_or(0);
            for [job, node] in rows {
                let _ = writeln!(text, "{job:width$}  {node}");
            }
            text.push('\n');
            if self.explain {
                let _ = writeln!(text, "{}", plan.explain());
            } else {
                let chosen = plan.chosen();
                let said = OBJECTIVE_NAMES.iter().zip(chosen.objectives);
                let said: Vec<String> = said
                    .map(|(name, value)| format!("{name} {value:.3}"))
                    .collect();
                let _ = writeln!(text, "{}", said.join(", "));
            }
        }
        for (job, reason) in self.left_out {
            let reason = self.names.put_into(&reason.to_string());
            let _ = writeln!(text, "left out {}: {reason}", self.names.of(job));
        }
        if self.skipped > 0 {
            let _ = writeln!(
                text,
                "{} lines of the log are no jobs: parts of one, or of unknown time or size",
                self.skipped
            );
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let left_out: Vec<Value> = self
            .left_out
            .iter()
            .map(|(job, reason)| {
                json!({
                    "job": self.names.of(job),
                    "reason": self.reason(reason),
                    "text": self.names.put_into(&reason.to_string()),
                })
            })
            .collect();
        let mut report = json!({
            "ok": true,
            "jobs": self.jobs.len(),
            "nodes": self.nodes.len(),
            "left_out": left_out,
            "skipped": self.skipped,
            "chosen": null,
            "front": [],
        });
        if let Some(plan) = self.plan {
            report["chosen"] = json!(plan.chosen_index());
            report["front"] = plan.front().iter().map(|point| self.point(point)).collect();
            if self.explain {
                report["explanation"] = json!(plan.explain().to_string());
            }
        }
        report
    }

    /// A reason with names in place of ids, and of constraints.
    fn reason(&self, reason: &Reason) -> Value {
        let mut value = json!(reason);
        if let Some(Value::Array(counts)) =
            value.pointer_mut("/no_node/removed_by").map(Value::take)
        {
            let counted = Constraint::ALL
                .iter()
                .zip(counts)
                .filter(|(_, count)| *count != 0);
            let counted: Map<_, _> = counted
                .filter_map(|(constraint, count)| {
                    Some((json!(constraint).as_str()?.to_owned(), count))
                })
                .collect();
            value["no_node"]["removed_by"] = Value::Object(counted);
        }
        self.put_names_into(&mut value);
        value
    }

    fn put_names_into(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.names.of(text),
            Value::Array(values) => values
                .iter_mut()
                .for_each(|value| self.put_names_into(value)),
            Value::Object(fields) => {
                fields
                    .values_mut()
                    .for_each(|value| self.put_names_into(value));
            }
            _ => {}
        }
    }

    fn point(&self, point: &Point) -> Value {
        let objectives = OBJECTIVE_NAMES.iter().zip(point.objectives);
        let objectives: Map<_, _> = objectives
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let assignment: Vec<_> = point
            .assignment
            .iter()
            .map(|(job, node)| json!({"job": self.names.of(job), "node": self.names.of(node)}))
            .collect();
        // Amounts are text: programs that read numbers as doubles would round them.
        json!({
            "assignment": assignment,
            "objectives": objectives,
            "cost": point.cost.to_string(),
            "price": point.price.to_string(),
        })
    }
}
