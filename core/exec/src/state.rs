//! The life of a task, as a coordinator of many nodes sees it.

use fogcompute_base::NodeId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most attempts at one task: a bound on the loop from queue to node and back. What a job wants is
/// the coordinator's policy and far lower.
pub const ATTEMPTS_MAX: u32 = 100;

/// Where a task is in its life, as a coordinator of many nodes sees it. The device that runs it
/// knows more: [`lifecycle::State`](crate::lifecycle::State).
///
/// ```text
/// Submitted ── Admit ──► Queued ── Assign ──► Assigned ── Succeed ──► Succeeded
///                          ▲                     │ │ └─── Fail ─────► Failed
///                          └────── Requeue ──────┘ └───── Lose ─────► Lost
/// ```
/// `Cancel` leads from every state on the left to `Cancelled`, `Lose` also from `Queued`.
///
/// The attempt number rises with every assignment and is a fencing token: a node that comes back
/// after its task went to another can no longer end it, not even if it is the same node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TaskState {
    /// Received, not yet admitted.
    Submitted,
    /// Waits for a node.
    Queued {
        /// Attempts that were begun and did not end it.
        attempts: u32,
    },
    /// A node has it.
    Assigned {
        /// The node.
        node: NodeId,
        /// Number of this attempt, from 1.
        attempt: u32,
    },
    /// Ended with an output.
    Succeeded,
    /// Ended with an error that another attempt would not change.
    Failed,
    /// Ended by its submitter.
    Cancelled,
    /// Given up, because nodes kept going away or none could be found.
    Lost {
        /// Attempts that were begun.
        attempts: u32,
    },
}

/// What happens to a task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum TaskEvent {
    /// The coordinator accepts it.
    Admit,
    /// A node gets it.
    Assign {
        /// The node.
        node: NodeId,
    },
    /// A node returns an output.
    Succeed {
        /// The node.
        node: NodeId,
        /// The attempt the node was given.
        attempt: u32,
    },
    /// A node returns an error for good.
    Fail {
        /// The node.
        node: NodeId,
        /// The attempt the node was given.
        attempt: u32,
    },
    /// The attempt is over without a result: the node went away, vacated or failed by itself.
    Requeue {
        /// The node.
        node: NodeId,
        /// The attempt the node was given.
        attempt: u32,
    },
    /// No further attempt is made.
    Lose,
    /// The submitter no longer wants it.
    Cancel,
}

/// Why an event cannot happen to a task.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TransitionError {
    /// The task has ended; nothing happens to it any more.
    #[error("task has ended as {state:?}")]
    Ended {
        /// How it ended.
        state: TaskState,
    },
    /// The event belongs to another state.
    #[error("{event:?} cannot happen to a task that is {state:?}")]
    NotAllowed {
        /// Where the task is.
        state: TaskState,
        /// What should have happened.
        event: TaskEvent,
    },
    /// The event is about an attempt that is over: drop it.
    #[error("attempt {attempt} is over, {current} is running")]
    Stale {
        /// The attempt of the event.
        attempt: u32,
        /// The attempt that runs now, perhaps on another node.
        current: u32,
    },
    /// The task was tried [`ATTEMPTS_MAX`] times.
    #[error("task was tried {limit} times")]
    TooManyAttempts {
        /// The limit.
        limit: u32,
    },
}

impl TaskState {
    /// Whether the task has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Lost { .. }
        )
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`TransitionError`]; the task stays where it is.
    pub fn advance(self, event: TaskEvent) -> Result<Self, TransitionError> {
        if self.is_terminal() {
            return Err(TransitionError::Ended { state: self });
        }
        match (self, event) {
            (_, TaskEvent::Cancel) => Ok(Self::Cancelled),
            (Self::Submitted, TaskEvent::Admit) => Ok(Self::Queued { attempts: 0 }),
            (Self::Queued { attempts }, TaskEvent::Assign { .. }) if attempts >= ATTEMPTS_MAX => {
                Err(TransitionError::TooManyAttempts {
                    limit: ATTEMPTS_MAX,
                })
            }
            (Self::Queued { attempts }, TaskEvent::Assign { node }) => Ok(Self::Assigned {
                node,
                attempt: attempts + 1,
            }),
            (Self::Queued { attempts }, TaskEvent::Lose) => Ok(Self::Lost { attempts }),
            (Self::Assigned { attempt, .. }, TaskEvent::Lose) => {
                Ok(Self::Lost { attempts: attempt })
            }
            (
                Self::Assigned { node, attempt },
                TaskEvent::Succeed {
                    node: n,
                    attempt: a,
                },
            ) => check_fence((node, attempt), (n, a)).map(|()| Self::Succeeded),
            (
                Self::Assigned { node, attempt },
                TaskEvent::Fail {
                    node: n,
                    attempt: a,
                },
            ) => check_fence((node, attempt), (n, a)).map(|()| Self::Failed),
            (
                Self::Assigned { node, attempt },
                TaskEvent::Requeue {
                    node: n,
                    attempt: a,
                },
            ) => check_fence((node, attempt), (n, a)).map(|()| Self::Queued { attempts: attempt }),
            (state, event) => Err(TransitionError::NotAllowed { state, event }),
        }
    }
}

/// Lets only the attempt that runs now end itself.
fn check_fence(current: (NodeId, u32), named: (NodeId, u32)) -> Result<(), TransitionError> {
    if current == named {
        Ok(())
    } else {
        Err(TransitionError::Stale {
            attempt: named.1,
            current: current.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: NodeId = NodeId::from_bytes([1; 32]);
    const B: NodeId = NodeId::from_bytes([2; 32]);

    fn states() -> Vec<TaskState> {
        vec![
            TaskState::Submitted,
            TaskState::Queued { attempts: 0 },
            TaskState::Queued {
                attempts: ATTEMPTS_MAX,
            },
            TaskState::Assigned {
                node: A,
                attempt: 1,
            },
            TaskState::Succeeded,
            TaskState::Failed,
            TaskState::Cancelled,
            TaskState::Lost { attempts: 1 },
        ]
    }

    fn events() -> Vec<TaskEvent> {
        let mut events = vec![
            TaskEvent::Admit,
            TaskEvent::Assign { node: A },
            TaskEvent::Lose,
            TaskEvent::Cancel,
        ];
        for (node, attempt) in [(A, 1), (A, 2), (B, 1), (A, 0)] {
            events.push(TaskEvent::Succeed { node, attempt });
            events.push(TaskEvent::Fail { node, attempt });
            events.push(TaskEvent::Requeue { node, attempt });
        }
        events
    }

    #[test]
    fn exactly_the_drawn_transitions_are_allowed() {
        let mut allowed = Vec::new();
        for state in states() {
            for event in events() {
                if let Ok(next) = state.advance(event) {
                    allowed.push((state, event, next));
                }
            }
        }
        let (node, attempt) = (A, 1);
        let (full, assigned) = (
            TaskState::Queued {
                attempts: ATTEMPTS_MAX,
            },
            TaskState::Assigned { node, attempt },
        );
        let queued = |attempts| TaskState::Queued { attempts };
        let lost = |attempts| TaskState::Lost { attempts };
        let cancelled = TaskState::Cancelled;
        assert_eq!(
            allowed,
            vec![
                (TaskState::Submitted, TaskEvent::Admit, queued(0)),
                (TaskState::Submitted, TaskEvent::Cancel, cancelled),
                (queued(0), TaskEvent::Assign { node }, assigned),
                (queued(0), TaskEvent::Lose, lost(0)),
                (queued(0), TaskEvent::Cancel, cancelled),
                (full, TaskEvent::Lose, lost(ATTEMPTS_MAX)),
                (full, TaskEvent::Cancel, cancelled),
                (assigned, TaskEvent::Lose, lost(1)),
                (assigned, TaskEvent::Cancel, cancelled),
                (
                    assigned,
                    TaskEvent::Succeed { node, attempt },
                    TaskState::Succeeded
                ),
                (
                    assigned,
                    TaskEvent::Fail { node, attempt },
                    TaskState::Failed
                ),
                (assigned, TaskEvent::Requeue { node, attempt }, queued(1)),
            ]
        );
    }

    #[test]
    fn ended_tasks_stay_ended() {
        for state in states().into_iter().filter(|state| state.is_terminal()) {
            for event in events() {
                assert_eq!(state.advance(event), Err(TransitionError::Ended { state }));
            }
        }
    }

    #[test]
    fn node_that_returns_after_its_task_moved_on_cannot_end_it() {
        let mut state = TaskState::Queued { attempts: 0 };
        for event in [
            TaskEvent::Assign { node: A },
            TaskEvent::Requeue {
                node: A,
                attempt: 1,
            },
            TaskEvent::Assign { node: B },
        ] {
            state = state.advance(event).unwrap();
        }
        let stale = Err(TransitionError::Stale {
            attempt: 1,
            current: 2,
        });
        for event in [
            TaskEvent::Succeed {
                node: A,
                attempt: 1,
            },
            TaskEvent::Fail {
                node: A,
                attempt: 1,
            },
            TaskEvent::Requeue {
                node: A,
                attempt: 1,
            },
        ] {
            assert_eq!(state.advance(event), stale);
        }
    }

    #[test]
    fn event_of_another_state_is_named() {
        assert_eq!(
            TaskState::Submitted.advance(TaskEvent::Lose),
            Err(TransitionError::NotAllowed {
                state: TaskState::Submitted,
                event: TaskEvent::Lose
            })
        );
    }

    #[test]
    fn attempts_are_bounded() {
        let state = TaskState::Queued {
            attempts: ATTEMPTS_MAX,
        };
        assert_eq!(
            state.advance(TaskEvent::Assign { node: A }),
            Err(TransitionError::TooManyAttempts {
                limit: ATTEMPTS_MAX
            })
        );
    }

    proptest! {
        #[test]
        fn attempts_never_fall_and_a_task_ends_at_most_once(
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let events = events();
            let (mut state, mut attempts, mut ends) = (TaskState::Submitted, 0, 0);
            for pick in picks {
                let Ok(next) = state.advance(*pick.get(&events)) else { continue };
                let now = match next {
                    TaskState::Queued { attempts } | TaskState::Lost { attempts } => attempts,
                    TaskState::Assigned { attempt, .. } => {
                        prop_assert_eq!(attempt, attempts + 1);
                        attempt
                    }
                    _ => attempts,
                };
                prop_assert!(now >= attempts);
                attempts = now;
                ends += u32::from(next.is_terminal());
                state = next;
            }
            prop_assert!(ends <= 1);
            prop_assert_eq!(ends == 1, state.is_terminal());
        }
    }
}
