//! What is asked of a worker, by this process or by another, and what it answers.

use std::time::Duration;

use fogcompute_base::{JobId, TaskId, UnixMillis};
use fogcompute_exec::executor::{SubmitError, TaskCallError};
use fogcompute_exec::job::IdempotencyKey;
use fogcompute_exec::{Limits, Usage};
use fogcompute_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::worker::{TaskStatus, Worker, WorkerError, WorkerJob};

/// Tasks that a list gives at once.
pub(super) const TASKS_PAGE: usize = 1_000;

/// Log that is given at once, in bytes.
const LOG_PAGE_BYTES: usize = 256 << 10;

/// What is asked. Bytes come beside it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    /// A job: beside it the module, and the input of each task.
    Submit {
        key: Option<String>,
        limits: Limits,
        deadline: Option<Duration>,
    },
    /// The tasks behind one.
    List { after: Option<TaskId> },
    /// A task, with its history.
    Show { task: TaskId },
    /// A task's log from a byte on, as soon as there is some.
    Log { task: TaskId, from: u64 },
    /// A task's output, as soon as there is one or, without `wait`, now.
    Output { task: TaskId, wait: bool },
    /// The end of a task.
    Cancel { task: TaskId },
    /// The end of what is remembered of tasks that ended before.
    Forget { before: UnixMillis },
}

/// What is answered. Bytes come beside it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Submitted {
        job: JobId,
        tasks: Vec<TaskId>,
        replayed: bool,
    },
    Tasks(Vec<TaskLine>),
    Task(TaskLine, Vec<StepLine>),
    Log {
        next: u64,
        ended: bool,
    },
    Output {
        usage: Usage,
    },
    Cancelled,
    Forgotten {
        jobs: usize,
    },
    Refused {
        kind: Kind,
        error: String,
    },
}

/// A task, as it is printed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct TaskLine {
    pub(super) task: TaskId,
    pub(super) job: JobId,
    pub(super) state: String,
    pub(super) ended: bool,
    pub(super) changed: UnixMillis,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) preemptions: u32,
    pub(super) checkpoints: u64,
    pub(super) permille: u16,
    pub(super) log_bytes: u64,
    pub(super) usage: Usage,
    pub(super) error: Option<String>,
}

impl From<TaskStatus> for TaskLine {
    fn from(task: TaskStatus) -> Self {
        Self {
            task: task.id,
            job: task.job,
            state: task.state.name().to_owned(),
            ended: task.state.is_terminal(),
            changed: task.changed,
            attempts: task.attempts,
            failures: task.failures,
            preemptions: task.preemptions,
            checkpoints: task.checkpoints,
            permille: task.permille,
            log_bytes: task.log_bytes,
            usage: task.usage,
            error: task.error.map(|error| error.to_string()),
        }
    }
}

/// A step of a task's life, as it is printed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct StepLine {
    pub(super) number: u32,
    pub(super) time: UnixMillis,
    pub(super) state: String,
    pub(super) cause: String,
}

/// Whose fault a failure is. The names never change.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Arguments,
    Ended,
    File,
    KeyReused,
    Locked,
    Output,
    Policy,
    TaskFailed,
    TaskOpen,
    UnknownTask,
    Worker,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Ended => "ended",
            Self::File => "file",
            Self::KeyReused => "key_reused",
            Self::Locked => "locked",
            Self::Output => "output",
            Self::Policy => "policy",
            Self::TaskFailed => "task_failed",
            Self::TaskOpen => "task_open",
            Self::UnknownTask => "unknown_task",
            Self::Worker => "worker",
        }
    }

    /// 2 for arguments that make no sense, 3 for what a task or its state refuses, else 1.
    pub(super) const fn exit_code(self) -> i32 {
        match self {
            Self::Arguments => 2,
            Self::Ended
            | Self::KeyReused
            | Self::TaskFailed
            | Self::TaskOpen
            | Self::UnknownTask => 3,
            Self::File | Self::Locked | Self::Output | Self::Policy | Self::Worker => 1,
        }
    }

    pub(super) fn of(error: &WorkerError) -> Self {
        match error {
            WorkerError::NothingLent
            | WorkerError::NoInterval
            | WorkerError::Spec(_)
            | WorkerError::Grants(_)
            | WorkerError::UnknownRuntime { .. }
            | WorkerError::UnknownContent { .. }
            | WorkerError::Submit(SubmitError::Job(_)) => Self::Arguments,
            WorkerError::Submit(SubmitError::KeyReused { .. }) => Self::KeyReused,
            WorkerError::Policy(_) => Self::Policy,
            WorkerError::Store(source) if matches!(**source, StoreError::Locked { .. }) => {
                Self::Locked
            }
            WorkerError::Store(_) | WorkerError::NotStored { .. } | WorkerError::BadRecord => {
                Self::File
            }
            WorkerError::Call(TaskCallError::Ended { .. }) => Self::Ended,
            WorkerError::Call(_) => Self::UnknownTask,
            WorkerError::Task(_)
            | WorkerError::TimedOut { .. }
            | WorkerError::Lost { .. }
            | WorkerError::Skipped { .. } => Self::TaskFailed,
            WorkerError::NotEnded { .. } => Self::TaskOpen,
            WorkerError::Thread(_)
            | WorkerError::Closed
            | WorkerError::Forked
            | WorkerError::Submit(_) => Self::Worker,
        }
    }
}

/// What a worker says to a question, with the bytes beside it.
pub(super) async fn answer(
    worker: &Worker,
    question: Question,
    parts: Vec<Vec<u8>>,
) -> (Answer, Vec<u8>) {
    match carry_out(worker, question, parts).await {
        Ok(answered) => answered,
        Err(error) => {
            let kind = Kind::of(&error);
            let error = error.to_string();
            (Answer::Refused { kind, error }, Vec::new())
        }
    }
}

async fn carry_out(
    worker: &Worker,
    question: Question,
    parts: Vec<Vec<u8>>,
) -> Result<(Answer, Vec<u8>), WorkerError> {
    let plain = |answer| Ok((answer, Vec::new()));
    match question {
        Question::Submit {
            key,
            limits,
            deadline,
        } => {
            let key = match key.as_deref().map(IdempotencyKey::new).transpose() {
                Ok(key) => key,
                Err(error) => {
                    let (kind, error) = (Kind::Arguments, format!("key: {error}"));
                    return plain(Answer::Refused { kind, error });
                }
            };
            let mut parts = parts.into_iter();
            let module = parts.next().unwrap_or_default();
            let job = WorkerJob {
                key,
                limits,
                deadline,
                ..WorkerJob::new(module, parts.collect())
            };
            let submitted = worker.submit(job).await?;
            plain(Answer::Submitted {
                job: submitted.job,
                tasks: submitted.task_ids().collect(),
                replayed: submitted.replayed,
            })
        }
        Question::List { after } => {
            let tasks = worker.tasks(after, TASKS_PAGE).await?;
            plain(Answer::Tasks(
                tasks.into_iter().map(TaskLine::from).collect(),
            ))
        }
        Question::Show { task } => {
            let status = worker.task(task).await?;
            let steps = worker.history(task).await?;
            let steps = steps.into_iter().map(|step| StepLine {
                number: step.number,
                time: step.time,
                state: step.to.name().to_owned(),
                cause: step.cause.name().to_owned(),
            });
            plain(Answer::Task(status.into(), steps.collect()))
        }
        Question::Log { task, from } => {
            let log = worker.log(task, from, LOG_PAGE_BYTES).await?;
            let (next, ended) = (log.next, log.ended);
            Ok((Answer::Log { next, ended }, log.bytes))
        }
        Question::Output { task, wait } => {
            let output = match wait {
                true => worker.output(task).await?,
                false => worker.fetch(task).await?,
            };
            let usage = output.usage;
            Ok((Answer::Output { usage }, output.output))
        }
        Question::Cancel { task } => {
            worker.cancel(task).await?;
            plain(Answer::Cancelled)
        }
        Question::Forget { before } => {
            let jobs = worker.forget_ended(before).await?;
            plain(Answer::Forgotten { jobs })
        }
    }
}
