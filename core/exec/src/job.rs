//! What is submitted: tasks that may wait for each other.

use std::fmt;
use std::time::Duration;

use fogcompute_base::limits::JOB_TASKS_MAX;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, Digest, JobId, Priority, Rng, TaskId};
use thiserror::Error;

use crate::{ATTEMPTS_MAX, ContentId, INPUTS_MAX, Limits, LimitsError};

/// Version of the encoding.
const VERSION: u8 = 1;

/// Most options of one task, in bytes.
pub const OPTIONS_BYTES_MAX: usize = 4_096;

/// Most inputs and waits of all tasks of a job together.
pub const JOB_EDGES_MAX: usize = 100_000;

/// Most log that a task may ask for, in bytes.
pub const LOG_BYTES_MAX: u32 = 16 << 20;

/// Most often that a task can be asked to make way for the device's owner.
pub const PREEMPTIONS_MAX: u32 = 10_000;

/// Why a job cannot be accepted, whatever the executor's state.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum JobError {
    /// There is nothing to run.
    #[error("job has no tasks")]
    NoTasks,
    /// There are more tasks than [`JOB_TASKS_MAX`]: split the job.
    #[error("job of {actual} tasks exceeds {limit}")]
    TooManyTasks {
        /// Tasks of the job.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The job's tasks have more inputs and waits together than [`JOB_EDGES_MAX`].
    #[error("job of {actual} inputs and waits exceeds {limit}")]
    TooManyEdges {
        /// Inputs and waits of the job.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A task has more inputs, or waits for more tasks, than [`INPUTS_MAX`].
    #[error("task {task} has {actual} inputs or waits, which exceeds {limit}")]
    TooManyInputs {
        /// Place of the task in the job.
        task: usize,
        /// Inputs or waits of the task.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A task waits for a place that the job does not have.
    #[error("task {task} waits for task {named} of a job of {tasks}")]
    NoSuchPlace {
        /// Place of the task in the job.
        task: usize,
        /// The place that it names.
        named: u32,
        /// Tasks of the job.
        tasks: usize,
    },
    /// Tasks wait for each other in a circle.
    #[error("tasks {cycle:?} wait for each other in a circle")]
    Cycle {
        /// Their places: each waits for the next, the last for the first.
        cycle: Vec<u32>,
    },
    /// Options over [`OPTIONS_BYTES_MAX`].
    #[error("options of task {task} have {actual} bytes, which exceeds {limit}")]
    OptionsTooLong {
        /// Place of the task in the job.
        task: usize,
        /// Length of the options, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The number of attempts is 0 or over [`ATTEMPTS_MAX`].
    #[error("task {task} asks for {actual} attempts, and 1 to {limit} can be made")]
    Attempts {
        /// Place of the task in the job.
        task: usize,
        /// Attempts asked for.
        actual: u32,
        /// The most there can be.
        limit: u32,
    },
    /// The number of preemptions is over [`PREEMPTIONS_MAX`].
    #[error("task {task} bears {actual} preemptions, which exceeds {limit}")]
    Preemptions {
        /// Place of the task in the job.
        task: usize,
        /// Preemptions asked for.
        actual: u32,
        /// The limit.
        limit: u32,
    },
    /// The log is over [`LOG_BYTES_MAX`].
    #[error("task {task} asks for a log of {actual} bytes, which exceeds {limit}")]
    Log {
        /// Place of the task in the job.
        task: usize,
        /// Length asked for, in bytes.
        actual: u32,
        /// The limit, in bytes.
        limit: u32,
    },
    /// A deadline or run time is no time at all.
    #[error("task {task} has no time to run")]
    NoTime {
        /// Place of the task in the job.
        task: usize,
    },
    /// A task's limits are not usable.
    #[error("task {task}: {source}")]
    Limits {
        /// Place of the task in the job.
        task: usize,
        /// Why.
        #[source]
        source: LimitsError,
    },
    /// The bytes are not an encoded job.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a text is not a name or a key.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// The text is empty or too long.
    #[error("text of {actual} bytes, and 1 to {limit} are possible")]
    Length {
        /// Length of the text, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A character that cannot be part of it.
    #[error("character {at} is not possible")]
    Character {
        /// Its place, in bytes from 0.
        at: usize,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $limit:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// Longest text, in bytes.
            pub const BYTES_MAX: usize = $limit;

            /// Checks the text.
            ///
            /// # Errors
            /// [`NameError`].
            pub fn new(text: &str) -> Result<Self, NameError> {
                if text.is_empty() || text.len() > Self::BYTES_MAX {
                    return Err(NameError::Length {
                        actual: text.len(),
                        limit: Self::BYTES_MAX,
                    });
                }
                match text.char_indices().find(|(_, char)| !$allowed(*char)) {
                    Some((at, _)) => Err(NameError::Character { at }),
                    None => Ok(Self(text.to_owned())),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let at = reader.position();
                let text = reader.text(Self::BYTES_MAX)?;
                Self::new(text).map_err(|_| DecodeError::Unknown {
                    at,
                    value: text.len() as u64,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// What runs a task: `wasm`, `process`, or what a host adds. Small letters, digits and `-`, at
    /// most 32.
    RuntimeKind,
    32,
    |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-'
);

name!(
    /// What makes a repeated submission the same one: the submitter's own text, at most 255 bytes,
    /// without control characters. Two owners may use one text.
    IdempotencyKey,
    255,
    |char: char| !char.is_control()
);

impl RuntimeKind {
    /// WebAssembly, see the ABI in the crate's documentation.
    #[must_use]
    pub fn wasm() -> Self {
        Self("wasm".to_owned())
    }

    /// A program of the operating system.
    #[must_use]
    pub fn process() -> Self {
        Self("process".to_owned())
    }
}

/// Another task, as a task names it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TaskRef {
    /// The task at that place of the same job, from 0.
    Place(u32),
    /// A task that was submitted before.
    Task(TaskId),
}

impl TaskRef {
    /// The task's id, for a task of `job`.
    #[must_use]
    pub fn resolve(self, job: JobId) -> TaskId {
        match self {
            Self::Place(place) => task_id(job, place),
            Self::Task(task) => task,
        }
    }
}

/// The id of the task at a place of a job, from 0.
#[must_use]
pub fn task_id(job: JobId, place: u32) -> TaskId {
    let mut bytes = job.as_bytes().to_vec();
    bytes.extend(place.to_be_bytes());
    let digest = Digest::derive("fogcompute 2026 exec task id", &bytes);
    let mut id = [0; TaskId::LEN];
    id.copy_from_slice(&digest.as_bytes()[..TaskId::LEN]);
    TaskId::from_bytes(id)
}

/// One input of a task.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Input {
    /// Content that is there.
    Content(ContentId),
    /// What another task returns; this one waits for it.
    Output(TaskRef),
}

/// How often a task is tried, and how long it waits in between.
///
/// After failure n it waits between half and all of `backoff_first * 2^(n-1)`, at most
/// `backoff_max`: at random, so that tasks that failed together do not come back together.
///
/// Source: Amazon, "Exponential Backoff And Jitter" (2015), there called "equal jitter".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RetryPolicy {
    /// Attempts that may fail or be lost, 1 to [`ATTEMPTS_MAX`]. Making way for the device's owner
    /// is no failure.
    pub attempts_max: u32,
    /// How often the task makes way for the device's owner before it is given up, at most
    /// [`PREEMPTIONS_MAX`].
    pub preemptions_max: u32,
    /// The wait after the first failure.
    pub backoff_first: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    /// Three attempts, a second apart at first, 5 minutes at most; 1,000 preemptions.
    fn default() -> Self {
        Self {
            attempts_max: 3,
            preemptions_max: 1_000,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// How long a task waits after so many failures, in milliseconds.
    #[must_use]
    pub fn backoff_ms(&self, failures: u32, rng: &mut impl Rng) -> u64 {
        let factor = 1_u64
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u64::MAX);
        let longest = ms(self.backoff_first)
            .saturating_mul(factor)
            .min(ms(self.backoff_max));
        let half = longest / 2;
        // The remainder prefers short waits by less than one part in 2^32 for waits of 49 days.
        half + rng.next_u64() % (longest - half).saturating_add(1)
    }
}

/// Whole milliseconds, rounded up; at most 2^63 - 1, so that sums of two fit.
pub(crate) fn ms(duration: Duration) -> u64 {
    const MOST: u64 = u64::MAX / 2;
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).map_or(MOST, |ms| ms.min(MOST))
}

/// One task of a job. Programs and inputs are named by their content.
///
/// Encoding, integers big-endian:
///
/// | field | bytes |
/// |---|---|
/// | program | 32 |
/// | runtime | 4 length, then 1 to 32 |
/// | options | 4 length, then 0 to 4,096 |
/// | limits | see [`Limits`] |
/// | number of inputs, then each: 1 and content of 32, 2 and place of 4, or 3 and task of 16 | 4 ... |
/// | number of waits, then each: 2 and place of 4, or 3 and task of 16 | 4 ... |
/// | priority | 1 |
/// | deadline, run time in nanoseconds; 0 is none | 8 each |
/// | attempts, preemptions | 4 each |
/// | first and longest backoff in nanoseconds | 8 each |
/// | log bytes | 4 |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Task {
    /// What to run.
    pub program: ContentId,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// What the runtime needs to know beyond limits (arguments, environment, grants), in an
    /// encoding of its own: at most [`OPTIONS_BYTES_MAX`]. The executor passes it on.
    pub options: Vec<u8>,
    /// What the task may use.
    pub limits: Limits,
    /// What it is given, in this order; see [`join_inputs`](crate::join_inputs).
    pub inputs: Vec<Input>,
    /// Tasks that must succeed first although their output is not wanted.
    pub after: Vec<TaskRef>,
    /// Which of several waiting tasks goes first.
    pub priority: Priority,
    /// The task is over so long after its submission, wherever it is then.
    pub deadline: Option<Duration>,
    /// Longest time that one attempt may run, without the time that it is suspended.
    pub run_time_max: Option<Duration>,
    /// How often it is tried.
    pub retry: RetryPolicy,
    /// Log that is kept, in bytes, at most [`LOG_BYTES_MAX`]. What is beyond is counted only.
    pub log_bytes_max: u32,
}

impl Task {
    /// A WebAssembly task with default limits, three attempts, no deadline, a log of 64 KiB.
    #[must_use]
    pub fn wasm(program: ContentId, inputs: Vec<Input>) -> Self {
        Self {
            program,
            runtime: RuntimeKind::wasm(),
            options: Vec::new(),
            limits: Limits::default(),
            inputs,
            after: Vec::new(),
            priority: Priority::default(),
            deadline: None,
            run_time_max: None,
            retry: RetryPolicy::default(),
            log_bytes_max: 64 << 10,
        }
    }

    /// The tasks that this one waits for, perhaps several times the same.
    pub fn waits(&self) -> impl Iterator<Item = TaskRef> {
        let outputs = self.inputs.iter().filter_map(|input| match input {
            Input::Output(task) => Some(*task),
            Input::Content(_) => None,
        });
        outputs.chain(self.after.iter().copied())
    }

    /// The task as bytes, see the table above.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode_to(&mut writer);
        writer.finish()
    }

    /// Reads a task. Its numbers are checked with the job: [`Job::validate`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let task = Self::decode_from(&mut reader)?;
        reader.finish()?;
        Ok(task)
    }

    fn encode_to(&self, writer: &mut Writer) {
        writer.raw(self.program.as_bytes());
        writer.text(self.runtime.as_str());
        writer.bytes(&self.options);
        self.limits.encode_to(writer);
        count(writer, self.inputs.len());
        for input in &self.inputs {
            match input {
                Input::Content(content) => {
                    writer.u8(1);
                    writer.raw(content.as_bytes());
                }
                Input::Output(task) => encode_ref(*task, writer),
            }
        }
        count(writer, self.after.len());
        for task in &self.after {
            encode_ref(*task, writer);
        }
        writer.u8(self.priority as u8);
        writer.u64(self.deadline.map_or(0, nanos));
        writer.u64(self.run_time_max.map_or(0, nanos));
        writer.u32(self.retry.attempts_max);
        writer.u32(self.retry.preemptions_max);
        writer.u64(nanos(self.retry.backoff_first));
        writer.u64(nanos(self.retry.backoff_max));
        writer.u32(self.log_bytes_max);
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let duration = |reader: &mut Reader<'_>| reader.u64().map(Duration::from_nanos);
        let time = |reader: &mut Reader<'_>| {
            duration(reader).map(|time| (!time.is_zero()).then_some(time))
        };
        Ok(Self {
            program: ContentId::decode_from(reader)?,
            runtime: RuntimeKind::decode_from(reader)?,
            options: reader.bytes(OPTIONS_BYTES_MAX)?.to_vec(),
            limits: Limits::decode_from(reader)?,
            inputs: list(reader, |reader| {
                let at = reader.position();
                match reader.u8()? {
                    1 => ContentId::decode_from(reader).map(Input::Content),
                    tag => decode_ref(tag, at, reader).map(Input::Output),
                }
            })?,
            after: list(reader, |reader| {
                let at = reader.position();
                let tag = reader.u8()?;
                decode_ref(tag, at, reader)
            })?,
            priority: decode_priority(reader)?,
            deadline: time(reader)?,
            run_time_max: time(reader)?,
            retry: RetryPolicy {
                attempts_max: reader.u32()?,
                preemptions_max: reader.u32()?,
                backoff_first: duration(reader)?,
                backoff_max: duration(reader)?,
            },
            log_bytes_max: reader.u32()?,
        })
    }

    fn validate(&self, place: usize) -> Result<(), JobError> {
        let task = place;
        for actual in [self.inputs.len(), self.after.len()] {
            if actual > INPUTS_MAX {
                return Err(JobError::TooManyInputs {
                    task,
                    actual,
                    limit: INPUTS_MAX,
                });
            }
        }
        if self.options.len() > OPTIONS_BYTES_MAX {
            return Err(JobError::OptionsTooLong {
                task,
                actual: self.options.len(),
                limit: OPTIONS_BYTES_MAX,
            });
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.retry.attempts_max) {
            return Err(JobError::Attempts {
                task,
                actual: self.retry.attempts_max,
                limit: ATTEMPTS_MAX,
            });
        }
        if self.retry.preemptions_max > PREEMPTIONS_MAX {
            return Err(JobError::Preemptions {
                task,
                actual: self.retry.preemptions_max,
                limit: PREEMPTIONS_MAX,
            });
        }
        if self.log_bytes_max > LOG_BYTES_MAX {
            return Err(JobError::Log {
                task,
                actual: self.log_bytes_max,
                limit: LOG_BYTES_MAX,
            });
        }
        if [self.deadline, self.run_time_max].contains(&Some(Duration::ZERO)) {
            return Err(JobError::NoTime { task });
        }
        self.limits
            .validate()
            .map_err(|source| JobError::Limits { task, source })
    }
}

/// Nanoseconds, saturating after 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn count(writer: &mut Writer, count: usize) {
    writer.u32(u32::try_from(count).expect("lists are far shorter than 2^32"));
}

/// A list of at most [`INPUTS_MAX`]. Nothing is allocated for items that are not there.
fn list<T>(
    reader: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let actual = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if actual > INPUTS_MAX {
        return Err(DecodeError::TooLong {
            actual,
            limit: INPUTS_MAX,
        });
    }
    let mut items = Vec::new();
    for _ in 0..actual {
        items.push(item(reader)?);
    }
    Ok(items)
}

fn encode_ref(task: TaskRef, writer: &mut Writer) {
    match task {
        TaskRef::Place(place) => {
            writer.u8(2);
            writer.u32(place);
        }
        TaskRef::Task(task) => {
            writer.u8(3);
            writer.raw(task.as_bytes());
        }
    }
}

fn decode_ref(tag: u8, at: usize, reader: &mut Reader<'_>) -> Result<TaskRef, DecodeError> {
    match tag {
        2 => reader.u32().map(TaskRef::Place),
        3 => reader.array().map(TaskId::from_bytes).map(TaskRef::Task),
        other => Err(DecodeError::Unknown {
            at,
            value: other.into(),
        }),
    }
}

fn decode_priority(reader: &mut Reader<'_>) -> Result<Priority, DecodeError> {
    let at = reader.position();
    Ok(match reader.u8()? {
        0 => Priority::Critical,
        1 => Priority::High,
        2 => Priority::Normal,
        3 => Priority::Low,
        4 => Priority::Bulk,
        other => {
            return Err(DecodeError::Unknown {
                at,
                value: other.into(),
            });
        }
    })
}

/// Tasks that are submitted together: all of them or none.
///
/// A task waits for those whose output is its input and for those it names in [`Task::after`]. If
/// one of them does not succeed, it is skipped, and so are those that wait for it.
///
/// Encoding, version 1: version of 1 byte, owner of 16, key (1 byte 0, or 1 byte 1 and 4 length and
/// text), 4 bytes number of tasks, tasks.
///
/// ```
/// use fogcompute_base::AccountId;
/// use fogcompute_exec::{ContentId, Job, Task};
///
/// let (count, sum) = (ContentId::of(b"count.wasm"), ContentId::of(b"sum.wasm"));
/// let pages = [ContentId::of(b"page 1"), ContentId::of(b"page 2")];
/// let owner = AccountId::from_bytes([1; 16]);
/// let job = Job::map_reduce(owner, &Task::wasm(count, vec![]), pages, Task::wasm(sum, vec![]));
/// assert_eq!(job.tasks.len(), 3);
/// assert_eq!(job.tasks[2].inputs.len(), 2);
/// assert_eq!(job.validate(), Ok(()));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// Whose it is.
    pub owner: AccountId,
    /// Makes a repeated submission the same one.
    pub key: Option<IdempotencyKey>,
    /// What to run.
    pub tasks: Vec<Task>,
}

impl Job {
    /// A job without a key.
    #[must_use]
    pub const fn new(owner: AccountId, tasks: Vec<Task>) -> Self {
        Self {
            owner,
            key: None,
            tasks,
        }
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// A copy of `task` for each of `inputs`, which comes behind the inputs it already has.
    #[must_use]
    pub fn map(owner: AccountId, task: &Task, inputs: impl IntoIterator<Item = ContentId>) -> Self {
        let tasks = inputs.into_iter().map(|input| {
            let mut task = task.clone();
            task.inputs.push(Input::Content(input));
            task
        });
        Self::new(owner, tasks.collect())
    }

    /// As [`Job::map`], and behind them `reduce`, which is given all their outputs, in order, behind
    /// the inputs it already has.
    #[must_use]
    pub fn map_reduce(
        owner: AccountId,
        map: &Task,
        inputs: impl IntoIterator<Item = ContentId>,
        mut reduce: Task,
    ) -> Self {
        let mut job = Self::map(owner, map, inputs);
        let places = 0..u32::try_from(job.tasks.len()).unwrap_or(u32::MAX);
        reduce
            .inputs
            .extend(places.map(|place| Input::Output(TaskRef::Place(place))));
        job.tasks.push(reduce);
        job
    }

    /// Names what is to be done: equal for two jobs whose tasks are equal, whoever submits them.
    #[must_use]
    pub fn content(&self) -> Digest {
        let mut writer = Writer::new();
        for task in &self.tasks {
            task.encode_to(&mut writer);
        }
        Digest::derive("fogcompute 2026 exec job content", &writer.finish())
    }

    /// Checks every number and that no tasks wait for each other in a circle.
    ///
    /// Complexity: O(tasks + inputs + waits).
    ///
    /// # Errors
    /// [`JobError`], but not [`JobError::Decode`].
    pub fn validate(&self) -> Result<(), JobError> {
        if self.tasks.is_empty() {
            return Err(JobError::NoTasks);
        }
        if self.tasks.len() > JOB_TASKS_MAX {
            return Err(JobError::TooManyTasks {
                actual: self.tasks.len(),
                limit: JOB_TASKS_MAX,
            });
        }
        let edges = self
            .tasks
            .iter()
            .map(|task| task.inputs.len() + task.after.len())
            .sum();
        if edges > JOB_EDGES_MAX {
            return Err(JobError::TooManyEdges {
                actual: edges,
                limit: JOB_EDGES_MAX,
            });
        }
        for (place, task) in self.tasks.iter().enumerate() {
            task.validate(place)?;
            for wait in task.waits() {
                if let TaskRef::Place(named) = wait
                    && named as usize >= self.tasks.len()
                {
                    return Err(JobError::NoSuchPlace {
                        task: place,
                        named,
                        tasks: self.tasks.len(),
                    });
                }
            }
        }
        match self.cycle() {
            Some(cycle) => Err(JobError::Cycle { cycle }),
            None => Ok(()),
        }
    }

    /// A circle of waits, if there is one. All places are valid.
    fn cycle(&self) -> Option<Vec<u32>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            Unseen,
            OnPath,
            Done,
        }
        let waits: Vec<Vec<u32>> = self
            .tasks
            .iter()
            .map(|task| {
                let places = task.waits().filter_map(|wait| match wait {
                    TaskRef::Place(place) => Some(place),
                    TaskRef::Task(_) => None,
                });
                places.collect()
            })
            .collect();
        let mut marks = vec![Mark::Unseen; waits.len()];
        for start in 0..u32::try_from(waits.len()).unwrap_or(u32::MAX) {
            // A walk in depth, with a stack of its own: chains may be as long as the job.
            let mut path: Vec<(u32, usize)> = Vec::new();
            if marks[start as usize] == Mark::Unseen {
                marks[start as usize] = Mark::OnPath;
                path.push((start, 0));
            }
            while let Some((place, next)) = path.last_mut() {
                let Some(&wait) = waits[*place as usize].get(*next) else {
                    marks[*place as usize] = Mark::Done;
                    path.pop();
                    continue;
                };
                *next += 1;
                match marks[wait as usize] {
                    Mark::Done => {}
                    Mark::Unseen => {
                        marks[wait as usize] = Mark::OnPath;
                        path.push((wait, 0));
                    }
                    Mark::OnPath => {
                        let on_path = path.iter().map(|(place, _)| *place);
                        return Some(on_path.skip_while(|place| *place != wait).collect());
                    }
                }
            }
        }
        None
    }

    /// The job as bytes, see above.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(self.owner.as_bytes());
        match &self.key {
            None => writer.u8(0),
            Some(key) => {
                writer.u8(1);
                writer.text(key.as_str());
            }
        }
        count(&mut writer, self.tasks.len());
        for task in &self.tasks {
            task.encode_to(&mut writer);
        }
        writer.finish()
    }

    /// Reads a job from bytes of a peer, and validates it.
    ///
    /// # Errors
    /// [`JobError::Decode`], and those of [`Job::validate`].
    pub fn decode(bytes: &[u8]) -> Result<Self, JobError> {
        let mut reader = Reader::new(bytes);
        let unknown = |at, value: u8| DecodeError::Unknown {
            at,
            value: value.into(),
        };
        match reader.u8()? {
            VERSION => {}
            other => return Err(unknown(0, other).into()),
        }
        let owner = AccountId::from_bytes(reader.array()?);
        let at = reader.position();
        let key = match reader.u8()? {
            0 => None,
            1 => Some(IdempotencyKey::decode_from(&mut reader)?),
            other => return Err(unknown(at, other).into()),
        };
        let actual = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if actual > JOB_TASKS_MAX {
            return Err(JobError::TooManyTasks {
                actual,
                limit: JOB_TASKS_MAX,
            });
        }
        let (mut tasks, mut edges) = (Vec::new(), 0);
        for _ in 0..actual {
            let task = Task::decode_from(&mut reader)?;
            edges += task.inputs.len() + task.after.len();
            if edges > JOB_EDGES_MAX {
                return Err(JobError::TooManyEdges {
                    actual: edges,
                    limit: JOB_EDGES_MAX,
                });
            }
            tasks.push(task);
        }
        reader.finish()?;
        let job = Self { owner, key, tasks };
        job.validate()?;
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::OsEntropy;
    use proptest::prelude::*;

    const OWNER: AccountId = AccountId::from_bytes([1; 16]);

    fn task() -> Task {
        Task::wasm(ContentId::of(b"program"), vec![])
    }

    fn after(places: &[u32]) -> Task {
        Task {
            after: places.iter().copied().map(TaskRef::Place).collect(),
            ..task()
        }
    }

    fn job(tasks: Vec<Task>) -> Job {
        Job::new(OWNER, tasks)
    }

    #[test]
    fn cycle_is_named_in_the_order_of_waiting() {
        let tasks = vec![after(&[1]), after(&[4, 3]), task(), after(&[1, 2]), task()];
        assert_eq!(
            job(tasks).validate(),
            Err(JobError::Cycle { cycle: vec![1, 3] })
        );
        assert_eq!(
            job(vec![task(), after(&[1])]).validate(),
            Err(JobError::Cycle { cycle: vec![1] })
        );
    }

    #[test]
    fn chain_as_long_as_a_job_can_be_is_accepted_and_its_ring_is_not() {
        let most = u32::try_from(JOB_TASKS_MAX).unwrap();
        let mut tasks: Vec<_> = (1..most).map(|next| after(&[next])).collect();
        tasks.push(task());
        assert_eq!(job(tasks.clone()).validate(), Ok(()));
        *tasks.last_mut().unwrap() = after(&[0]);
        let Err(JobError::Cycle { cycle }) = job(tasks).validate() else {
            panic!("a ring was accepted");
        };
        assert_eq!(cycle.len(), JOB_TASKS_MAX);
    }

    #[test]
    fn each_limit_refuses_with_its_numbers() {
        let with = |change: &dyn Fn(&mut Task)| {
            let mut changed = task();
            change(&mut changed);
            job(vec![task(), changed]).validate()
        };
        assert_eq!(job(vec![]).validate(), Err(JobError::NoTasks));
        assert_eq!(
            job(vec![task(); JOB_TASKS_MAX + 1]).validate(),
            Err(JobError::TooManyTasks {
                actual: JOB_TASKS_MAX + 1,
                limit: JOB_TASKS_MAX
            })
        );
        let content = Input::Content(ContentId::of(b""));
        assert_eq!(
            with(&|task| task.inputs = vec![content; INPUTS_MAX + 1]),
            Err(JobError::TooManyInputs {
                task: 1,
                actual: INPUTS_MAX + 1,
                limit: INPUTS_MAX
            })
        );
        let wide = Task {
            inputs: vec![content; INPUTS_MAX],
            ..task()
        };
        assert_eq!(
            job(vec![wide; 13]).validate(),
            Err(JobError::TooManyEdges {
                actual: 13 * INPUTS_MAX,
                limit: JOB_EDGES_MAX
            })
        );
        assert_eq!(
            with(&|task| task.after = vec![TaskRef::Place(2)]),
            Err(JobError::NoSuchPlace {
                task: 1,
                named: 2,
                tasks: 2
            })
        );
        assert_eq!(
            with(&|task| task.options = vec![0; OPTIONS_BYTES_MAX + 1]),
            Err(JobError::OptionsTooLong {
                task: 1,
                actual: OPTIONS_BYTES_MAX + 1,
                limit: OPTIONS_BYTES_MAX
            })
        );
        for actual in [0, ATTEMPTS_MAX + 1] {
            assert_eq!(
                with(&|task| task.retry.attempts_max = actual),
                Err(JobError::Attempts {
                    task: 1,
                    actual,
                    limit: ATTEMPTS_MAX
                })
            );
        }
        assert_eq!(
            with(&|task| task.retry.preemptions_max = PREEMPTIONS_MAX + 1),
            Err(JobError::Preemptions {
                task: 1,
                actual: PREEMPTIONS_MAX + 1,
                limit: PREEMPTIONS_MAX
            })
        );
        assert_eq!(
            with(&|task| task.log_bytes_max = LOG_BYTES_MAX + 1),
            Err(JobError::Log {
                task: 1,
                actual: LOG_BYTES_MAX + 1,
                limit: LOG_BYTES_MAX
            })
        );
        assert_eq!(
            with(&|task| task.deadline = Some(Duration::ZERO)),
            Err(JobError::NoTime { task: 1 })
        );
        assert_eq!(
            with(&|task| task.limits.fuel = 0),
            Err(JobError::Limits {
                task: 1,
                source: LimitsError::NoFuel
            })
        );
    }

    #[test]
    fn keys_and_runtimes_are_checked_and_said_where_wrong() {
        assert_eq!(
            RuntimeKind::new("Wasm"),
            Err(NameError::Character { at: 0 })
        );
        assert_eq!(
            RuntimeKind::new(""),
            Err(NameError::Length {
                actual: 0,
                limit: 32
            })
        );
        assert_eq!(
            IdempotencyKey::new("a\nb"),
            Err(NameError::Character { at: 1 })
        );
        assert_eq!(RuntimeKind::new("process"), Ok(RuntimeKind::process()));
        assert_eq!(RuntimeKind::new("wasm"), Ok(RuntimeKind::wasm()));
    }

    #[test]
    fn content_says_what_is_done_and_not_who_asks() {
        let one = job(vec![task()]);
        let mut other = one.clone().with_key(IdempotencyKey::new("k").unwrap());
        other.owner = AccountId::from_bytes([2; 16]);
        assert_eq!(one.content(), other.content());
        other.tasks[0].priority = Priority::Low;
        assert_ne!(one.content(), other.content());
    }

    #[test]
    fn tasks_of_a_job_have_ids_of_their_own() {
        let (a, b) = (JobId::from_bytes([1; 16]), JobId::from_bytes([2; 16]));
        let ids = [task_id(a, 0), task_id(a, 1), task_id(b, 0)];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_eq!(TaskRef::Place(1).resolve(a), ids[1]);
    }

    #[test]
    fn announced_tasks_that_are_not_there_cost_nothing() {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(&[0; 16]);
        writer.u8(0);
        writer.u32(u32::MAX);
        assert!(matches!(
            Job::decode(&writer.finish()),
            Err(JobError::TooManyTasks { .. })
        ));
    }

    fn any_ref(places: u32) -> impl Strategy<Value = TaskRef> {
        prop_oneof![
            (0..places).prop_map(TaskRef::Place),
            any::<[u8; 16]>().prop_map(|id| TaskRef::Task(TaskId::from_bytes(id))),
        ]
    }

    fn any_task() -> impl Strategy<Value = Task> {
        let input = prop_oneof![
            any::<[u8; 32]>().prop_map(|id| Input::Content(ContentId::from_bytes(id))),
            any_ref(6).prop_map(Input::Output),
        ];
        (
            proptest::collection::vec(input, 0..3),
            proptest::collection::vec(any_ref(6), 0..2),
            proptest::option::of(1_u64..),
            proptest::collection::vec(any::<u8>(), 0..4),
            (1..=ATTEMPTS_MAX, any::<u64>(), any::<u64>()),
        )
            .prop_map(
                |(inputs, after, deadline, options, (attempts_max, first, max))| Task {
                    inputs,
                    after,
                    deadline: deadline.map(Duration::from_nanos),
                    options,
                    retry: RetryPolicy {
                        attempts_max,
                        preemptions_max: 7,
                        backoff_first: Duration::from_nanos(first),
                        backoff_max: Duration::from_nanos(max),
                    },
                    ..task()
                },
            )
    }

    proptest! {
        #[test]
        fn backoff_is_between_half_and_all_of_what_doubles(
            failures in 1_u32..200, first in 0_u64..1 << 40, max in 0_u64..1 << 40,
        ) {
            let policy = RetryPolicy {
                backoff_first: Duration::from_millis(first),
                backoff_max: Duration::from_millis(max),
                ..RetryPolicy::default()
            };
            let doubled = u128::from(first) << (failures - 1).min(60);
            let longest = u64::try_from(doubled.min(max.into())).unwrap();
            let wait = policy.backoff_ms(failures, &mut OsEntropy);
            prop_assert!((longest / 2..=longest).contains(&wait), "{wait} of {longest}");
        }

        #[test]
        fn what_validates_has_an_order_and_round_trips(
            tasks in proptest::collection::vec(any_task(), 1..6),
            key in proptest::option::of("[a-z]{1,9}"),
        ) {
            let key = key.map(|key| IdempotencyKey::new(&key).unwrap());
            let job = Job { owner: OWNER, key, tasks };
            match job.validate() {
                Ok(()) => {
                    // Repeatedly takes what waits for nothing that is left.
                    let mut left: Vec<u32> = (0..u32::try_from(job.tasks.len()).unwrap()).collect();
                    while !left.is_empty() {
                        let before = left.clone();
                        left.retain(|place| {
                            job.tasks[*place as usize].waits().any(|wait| {
                                matches!(wait, TaskRef::Place(wait) if before.contains(&wait))
                            })
                        });
                        prop_assert!(left.len() < before.len());
                    }
                    prop_assert_eq!(Job::decode(&job.encode()), Ok(job));
                }
                Err(JobError::Cycle { cycle }) => {
                    for (at, place) in cycle.iter().enumerate() {
                        let next = TaskRef::Place(cycle[(at + 1) % cycle.len()]);
                        prop_assert!(job.tasks[*place as usize].waits().any(|wait| wait == next));
                    }
                }
                Err(error) => prop_assert!(matches!(error, JobError::NoSuchPlace { .. }), "{error}"),
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Ok(task) = Task::decode(&bytes) {
                prop_assert_eq!(task.encode(), bytes);
            }
        }
    }
}
