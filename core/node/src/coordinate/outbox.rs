//! What waits to be written to a node's link: tasks, and news of attempts.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use fogcompute_base::Digest;
use fogcompute_exec::TaskSpec;
use tokio::sync::Notify;

use crate::protocol::{AttemptId, BATCH_MAX, LINK_TASKS_MAX, LinkModules, RunMessage, ToNode};

/// Filled by the coordinator, emptied by the task that writes the link. What comes together is
/// written together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    run: Vec<Task>,
    revoked: Vec<AttemptId>,
    recalled: Vec<AttemptId>,
    acknowledged: Vec<AttemptId>,
}

#[derive(Debug)]
struct Task {
    attempt: AttemptId,
    digest: Digest,
    module: Arc<[u8]>,
    /// Without the module.
    spec: Vec<u8>,
}

/// More waits for a link than may: its node does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full;

impl Outbox {
    fn with<T>(&self, call: impl FnOnce(&mut Waiting) -> T) -> T {
        call(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn run(&self, attempt: AttemptId, spec: &TaskSpec) -> Result<(), Full> {
        let task = Task {
            attempt,
            digest: spec.module_digest(),
            module: Arc::clone(spec.module()),
            spec: spec.encode_apart(),
        };
        self.with(|waiting| push(&mut waiting.run, task))
    }

    pub(super) fn revoke(&self, attempt: AttemptId) -> Result<(), Full> {
        self.with(|waiting| push(&mut waiting.revoked, attempt))
    }

    pub(super) fn recall(&self, attempt: AttemptId) -> Result<(), Full> {
        self.with(|waiting| push(&mut waiting.recalled, attempt))
    }

    pub(super) fn acknowledge(&self, attempt: AttemptId) -> Result<(), Full> {
        self.with(|waiting| push(&mut waiting.acknowledged, attempt))
    }

    /// What is there may be written now.
    pub(super) fn release(&self) {
        self.ready.notify_one();
    }

    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes everything, as frames for a link that has carried these modules.
    pub(super) fn frames(&self, modules: &mut LinkModules<()>) -> Vec<Vec<u8>> {
        let waiting = self.with(mem::take);
        let mut frames = Vec::new();
        let mut message = RunMessage::new();
        for task in waiting.run {
            let has_module = modules.find(task.digest).is_some();
            if message.is_full_for(&task.spec) || !(has_module || message.is_empty()) {
                // Before the module, which may make the node forget one that these need.
                let full = mem::replace(&mut message, RunMessage::new());
                frames.push(full.finish());
            }
            if !has_module {
                modules.insert(task.digest, ());
                let bytes = task.module;
                frames.push(ToNode::Module { bytes }.encode());
            }
            message.push(task.attempt.number, task.attempt.task, &task.spec);
        }
        if !message.is_empty() {
            frames.push(message.finish());
        }
        let mut list = |attempts: Vec<AttemptId>, message: fn(Vec<AttemptId>) -> ToNode| {
            let parts = attempts.chunks(BATCH_MAX);
            frames.extend(parts.map(|part| message(part.to_vec()).encode()));
        };
        list(waiting.revoked, |attempts| ToNode::Revoke { attempts });
        list(waiting.recalled, |attempts| ToNode::Recall { attempts });
        list(waiting.acknowledged, |attempts| ToNode::Acknowledged {
            attempts,
        });
        frames
    }
}

/// Twice what a node may have: that, and as much that it was just relieved of.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Full> {
    if list.len() >= 2 * LINK_TASKS_MAX {
        return Err(Full);
    }
    list.push(item);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{LINK_MODULES_MAX, Run};
    use fogcompute_base::TaskId;
    use fogcompute_exec::Limits;
    use proptest::prelude::*;

    fn attempt(number: u32) -> AttemptId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        AttemptId {
            task: TaskId::from_bytes(id),
            number,
        }
    }

    #[test]
    fn a_node_that_reads_nothing_is_noticed() {
        let outbox = Outbox::default();
        for number in 0..2 * LINK_TASKS_MAX {
            let number = u32::try_from(number).unwrap();
            assert_eq!(outbox.acknowledge(attempt(number)), Ok(()));
        }
        assert_eq!(outbox.acknowledge(attempt(0)), Err(Full));
        let frames = outbox.frames(&mut LinkModules::new());
        assert_eq!(frames.len(), 2 * LINK_TASKS_MAX / BATCH_MAX);
        assert_eq!(outbox.acknowledge(attempt(0)), Ok(()));
    }

    proptest! {
        /// Whatever comes together, the node has the module of every task it is told to run.
        #[test]
        fn what_is_written_can_be_read(
            rounds in proptest::collection::vec(
                proptest::collection::vec(0..2 * LINK_MODULES_MAX as u8, 0..50), 1..5),
        ) {
            let outbox = Outbox::default();
            let (mut ours, mut theirs) = (LinkModules::new(), LinkModules::new());
            for modules in rounds {
                let specs: Vec<_> = modules.iter().zip(1_u32..).map(|(module, number)| {
                    let input = number.to_be_bytes();
                    (attempt(number), TaskSpec::new(vec![1, *module], input, Limits::default()).unwrap())
                }).collect();
                for (attempt, spec) in &specs {
                    outbox.run(*attempt, spec).unwrap();
                }
                let mut read = Vec::new();
                for frame in outbox.frames(&mut ours) {
                    match ToNode::decode(&frame).unwrap() {
                        ToNode::Module { bytes } => theirs.insert(Digest::of(&bytes), bytes),
                        ToNode::Run { tasks } => for Run { attempt: number, task, spec } in tasks {
                            let module = |digest| theirs.find(digest).map(Arc::clone);
                            let spec = TaskSpec::decode_apart(&spec, module).unwrap().unwrap();
                            read.push((AttemptId { task, number }, spec));
                        },
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert_eq!(read, specs);
            }
        }
    }
}
