//! Spans of a task's way through a coordinator: submit, place, dispatch, settle.
//!
//! | span | fields | when |
//! |---|---|---|
//! | `submit` | job, tasks | a submitter's job comes in |
//! | `place` | task, node | a task is given to a node |
//! | `dispatch` | task, node, attempt | it is sent there |
//! | `lose` | task, node, attempt, reason | the attempt came to nothing |
//! | `settle` | task, node, attempt, paid | it ended, is written down and paid for |

use fogcompute_coord::Event;
use tracing::{Span, debug, info_span};

/// The span of what the rules have decided. `routed`: tasks are placed one by one, as they are
/// dispatched.
pub(crate) fn span(event: &Event, routed: bool) -> Span {
    match event {
        Event::Placed { plan, .. } => {
            for (task, node) in &plan.chosen().assignment {
                place(task, node);
            }
            Span::none()
        }
        Event::Dispatch {
            node,
            task,
            attempt,
            ..
        } => {
            if routed {
                place(task, node);
            }
            info_span!("dispatch", %task, %node, attempt)
        }
        Event::AttemptLost {
            task,
            node,
            attempt,
            reason,
        } => info_span!("lose", %task, %node, attempt, %reason),
        Event::TaskEnded {
            task,
            node,
            attempt,
            paid,
            ..
        } => info_span!("settle", %task, %node, attempt, %paid),
        _ => Span::none(),
    }
}

fn place(task: &impl std::fmt::Display, node: &impl std::fmt::Display) {
    info_span!("place", %task, %node).in_scope(|| debug!("placed"));
}
