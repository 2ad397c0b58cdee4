//! A submitter's end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fogcompute_base::limits::JOB_TASKS_MAX;
use fogcompute_base::wire::DecodeError;
use fogcompute_base::{Clock, JobId, NodeId, OsEntropy, Rng as _, SystemClock, TaskId};
use fogcompute_coord::token::{Action, Call, Token};
use fogcompute_exec::{TaskError, TaskReport};
use fogcompute_net::{Identity, Link, LinkError, LinkReader, LinkWriter, Purpose};
use fogcompute_runtime::check_preamble;
use fogcompute_store::{JobChange, JobEvent, JobRow, TaskRow};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::link::UNANSWERED_MAX;
use super::protocol::{
    Answer, EVENTS_MAX, FRAME_BYTES, JOBS_MAX, JobOrder, NodeStatus, Part, REQUEST_BYTES_MAX,
    Reason, Request, WAIT_MS_MAX, Wanted, request_frames,
};
use super::topology::FogTopology;
use super::waiting::WaitingTasks;

/// First pause before a coordinator that was lost is dialled again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long one question for events waits for some.
const WATCH_WAIT: Duration = Duration::from_secs(20);

/// Who asks whom.
#[derive(Clone)]
pub struct FogClientConfig {
    /// Where the coordinator accepts links.
    pub address: SocketAddr,
    /// Who it is.
    pub coordinator: NodeId,
    /// What permits to ask.
    pub token: Token,
    /// The key that the token names.
    pub key: SigningKey,
    /// How long a question may take, dialling again whenever the link ends included.
    pub patience: Duration,
}

impl fmt::Debug for FogClientConfig {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FogClientConfig")
            .field("address", &self.address)
            .field("coordinator", &self.coordinator)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Why a question has no answer.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum FogClientError {
    /// The coordinator cannot be reached, or the link to it ended before it answered. What was asked
    /// for may have been done: asking again does nothing twice.
    #[error("coordinator {address}: {source}")]
    Unreachable {
        /// Where it was expected.
        address: SocketAddr,
        /// What went wrong.
        source: LinkError,
    },
    /// The coordinator did not answer in time. What was asked for may have been done.
    #[error("coordinator {address} did not answer within {within:?}")]
    TimedOut {
        /// Where it is.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
    /// The coordinator refuses.
    #[error("refused: {said}")]
    Refused {
        /// Why.
        reason: Reason,
        /// The same, in the coordinator's words.
        said: String,
    },
    /// The job with its modules and inputs is longer than a request may be. Make several of it.
    #[error("job of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The job has too many tasks. Make several of it.
    #[error("job of {actual} tasks exceeds {limit}")]
    TooManyTasks {
        /// Its tasks.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// What a task should run is no WebAssembly module. Nothing was sent.
    #[error("task {task}: {source}")]
    NoModule {
        /// The first such task.
        task: TaskId,
        /// What is wrong with it.
        source: TaskError,
    },
    /// The coordinator said something that makes no sense: it is of another version.
    #[error("coordinator {address} answers something else than was asked: {source}")]
    Confused {
        /// Where it is.
        address: SocketAddr,
        /// What makes no sense.
        source: DecodeError,
    },
    /// The coordinator may have admitted a job, and may not: the answer did not come. Submit it again
    /// under the same id.
    #[error("{source}; whether job {job} was admitted is not known: submit it again under that id")]
    Unanswered {
        /// The job.
        job: JobId,
        /// Why there is no answer.
        source: Box<FogClientError>,
    },
    /// The client was closed, or has ended with the runtime it was started on.
    #[error("the client of the fog has ended")]
    Ended,
    /// The client was made before this process was forked: its thread stayed with the parent.
    #[error("the client of the fog was made before this process was forked")]
    Forked,
    /// The operating system gives no thread.
    #[error("thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl FogClientError {
    /// Why the coordinator refused, if it did.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// Whether what was asked for may have been done.
    const fn leaves_open(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !matches!(source, LinkError::WrongPeer { .. }),
            Self::TimedOut { .. } | Self::Confused { .. } | Self::Ended => true,
            _ => false,
        }
    }

    /// Whether asking again may help.
    const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !matches!(source, LinkError::WrongPeer { .. }),
            _ => false,
        }
    }
}

/// Asks a coordinator, over a link that is made anew whenever it ends. Clones share the link.
///
/// Each question is signed for itself, and asked again on a new link if the old one ended before the
/// answer: no question does anything twice. Dropping a future gives up waiting, and takes back
/// nothing.
#[derive(Clone, Debug)]
pub struct FogClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: FogClientConfig,
    questions: mpsc::Sender<Question>,
    /// Dropping the set ends the link.
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Question {
    body: Arc<[u8]>,
    action: Action,
    reply: oneshot::Sender<Result<Answer, FogClientError>>,
}

impl FogClient {
    /// A client of a coordinator, which is dialled at the first question.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(config: FogClientConfig) -> Self {
        let (questions, inbox) = mpsc::channel(UNANSWERED_MAX);
        let mut task = JoinSet::new();
        task.spawn(run(config.clone(), inbox));
        Self {
            shared: Arc::new(Shared {
                config,
                questions,
                _task: task,
            }),
        }
    }

    /// Submits a job, and returns how it stands once the coordinator has written it down. Submitting
    /// the same job again changes nothing and returns how it stands.
    ///
    /// # Errors
    /// [`FogClientError`]; [`FogClientError::Unanswered`] where it cannot be known whether the job was
    /// admitted.
    pub async fn submit(&self, job: JobOrder) -> Result<JobRow, FogClientError> {
        let (actual, limit) = (job.tasks.len(), JOB_TASKS_MAX);
        if actual > limit {
            return Err(FogClientError::TooManyTasks { actual, limit });
        }
        for order in &job.tasks {
            let task = order.id;
            check_preamble(order.spec.module())
                .map_err(|source| FogClientError::NoModule { task, source })?;
        }
        let id = job.id;
        match self.ask(&Request::Submit(job)).await {
            Ok(Answer::Job(job)) => Ok(job),
            Ok(_) => Err(self.confused()),
            Err(source) if source.leaves_open() => Err(FogClientError::Unanswered {
                job: id,
                source: Box::new(source),
            }),
            Err(error) => Err(error),
        }
    }

    /// How a job stands.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownJob`].
    pub async fn job(&self, job: JobId) -> Result<JobRow, FogClientError> {
        match self.ask(&Request::Job(job)).await? {
            Answer::Job(job) => Ok(job),
            _ => Err(self.confused()),
        }
    }

    /// Why tasks of a job wait for a node, told for each kind of them that nodes tell apart, and at most
    /// for eight. Empty if none waits.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownJob`].
    pub async fn waiting(&self, job: JobId) -> Result<Vec<WaitingTasks>, FogClientError> {
        match self.ask(&Request::Waiting(job)).await? {
            Answer::Waiting(waiting) => Ok(waiting),
            _ => Err(self.confused()),
        }
    }

    /// The tasks of a job, in the order of its submission.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownJob`].
    pub async fn tasks(&self, job: JobId) -> Result<Vec<TaskRow>, FogClientError> {
        match self.ask(&Request::Tasks(job)).await? {
            Answer::Tasks(tasks) => Ok(tasks),
            _ => Err(self.confused()),
        }
    }

    /// How a task stands.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownTask`].
    pub async fn task(&self, task: TaskId) -> Result<TaskRow, FogClientError> {
        match self.ask(&Request::Task(task)).await? {
            Answer::Tasks(tasks) => match tasks[..] {
                [task] => Ok(task),
                _ => Err(self.confused()),
            },
            _ => Err(self.confused()),
        }
    }

    /// At most so many jobs of the account, the latest first, and never more than 1,000.
    ///
    /// # Errors
    /// [`FogClientError`].
    pub async fn jobs(&self, count_max: u16) -> Result<Vec<JobRow>, FogClientError> {
        let count_max = count_max.min(JOBS_MAX);
        match self.ask(&Request::Jobs { count_max }).await? {
            Answer::Jobs(jobs) => Ok(jobs),
            _ => Err(self.confused()),
        }
    }

    /// What a task that has ended returned: its output or its error.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownTask`], [`Reason::NotEnded`], and [`Reason::NoResult`] for
    /// a task that was cancelled or given up, or whose result is kept no more.
    pub async fn result(&self, task: TaskId) -> Result<TaskReport, FogClientError> {
        match self.ask(&Request::Result(task)).await? {
            Answer::Result(report) => Ok(report),
            _ => Err(self.confused()),
        }
    }

    /// What a task that has ended said while it ran, in lines: the end of it, if it was more than
    /// [`REPORT_LOG_BYTES_MAX`](crate::REPORT_LOG_BYTES_MAX) bytes. Empty if it said nothing, was
    /// granted no way to, or its log is kept no more.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownTask`], [`Reason::NotEnded`].
    pub async fn log(&self, task: TaskId) -> Result<String, FogClientError> {
        match self.ask(&Request::Log(task)).await? {
            Answer::Log(log) => Ok(log),
            _ => Err(self.confused()),
        }
    }

    /// Ends what has not ended of a job, and says how many tasks that were.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownJob`].
    pub async fn cancel(&self, job: JobId) -> Result<u32, FogClientError> {
        match self.ask(&Request::CancelJob(job)).await? {
            Answer::Cancelled { tasks } => Ok(tasks),
            _ => Err(self.confused()),
        }
    }

    /// Ends a task, and says whether it had not ended.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownTask`].
    pub async fn cancel_task(&self, task: TaskId) -> Result<bool, FogClientError> {
        match self.ask(&Request::CancelTask(task)).await? {
            Answer::Cancelled { tasks } => Ok(tasks > 0),
            _ => Err(self.confused()),
        }
    }

    /// The nodes that are there.
    ///
    /// # Errors
    /// [`FogClientError`].
    pub async fn nodes(&self) -> Result<Vec<NodeStatus>, FogClientError> {
        match self.ask(&Request::Nodes).await? {
            Answer::Nodes(nodes) => Ok(nodes),
            _ => Err(self.confused()),
        }
    }

    /// Gives a compute node no more tasks; it finishes what it has.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownNode`].
    pub async fn drain(&self, node: NodeId) -> Result<(), FogClientError> {
        self.done(&Request::Drain(node)).await
    }

    /// Gives a compute node tasks again.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownNode`].
    pub async fn undrain(&self, node: NodeId) -> Result<(), FogClientError> {
        self.done(&Request::Undrain(node)).await
    }

    /// What the fog looks like: its nodes, their places, and its last snapshots.
    ///
    /// # Errors
    /// [`FogClientError`].
    pub async fn topology(&self) -> Result<FogTopology, FogClientError> {
        match self.ask(&Request::Topology).await? {
            Answer::Topology(topology) => Ok(topology),
            _ => Err(self.confused()),
        }
    }

    /// What the coordinator counts, in the text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    /// [`FogClientError`].
    pub async fn metrics(&self) -> Result<String, FogClientError> {
        match self.ask(&Request::Metrics).await? {
            Answer::Metrics(text) => Ok(text),
            _ => Err(self.confused()),
        }
    }

    /// What happens to the jobs of the account after the event of that number: 0 for everything that
    /// is remembered.
    #[must_use]
    pub fn watch(&self, after: u64) -> Watch {
        Watch {
            client: self.clone(),
            last: after,
            events: VecDeque::new(),
        }
    }

    /// What happens to the jobs of the account from now on.
    ///
    /// # Errors
    /// [`FogClientError`].
    pub async fn watch_new(&self) -> Result<Watch, FogClientError> {
        Ok(self.watch(self.last_event().await?))
    }

    /// The number of the last thing that happened in the fog.
    ///
    /// # Errors
    /// [`FogClientError`].
    pub async fn last_event(&self) -> Result<u64, FogClientError> {
        // Behind every number there is: the coordinator says where it is.
        let wanted = Wanted {
            after: u64::MAX,
            count_max: 1,
            wait_ms: 0,
        };
        match self.ask(&Request::Events(wanted)).await? {
            Answer::Events(found) => Ok(found.last),
            _ => Err(self.confused()),
        }
    }

    /// Waits until all tasks of a job have ended.
    ///
    /// # Errors
    /// [`FogClientError`]; [`Reason::UnknownJob`]. Waiting again goes on waiting.
    pub async fn ended(&self, job: JobId) -> Result<JobRow, FogClientError> {
        let mut watch = self.watch_new().await?;
        // It may have ended before it was watched.
        let mut row = self.job(job).await?;
        while row.summary.open > 0 {
            match watch.next().await? {
                Watched::Event(JobEvent {
                    job: ended,
                    change: JobChange::JobEnded,
                    ..
                }) if ended != job => {}
                Watched::Event(JobEvent {
                    change: JobChange::JobEnded,
                    ..
                })
                | Watched::Lagged { .. } => row = self.job(job).await?,
                Watched::Event(_) => {}
            }
        }
        Ok(row)
    }

    async fn done(&self, request: &Request) -> Result<(), FogClientError> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            _ => Err(self.confused()),
        }
    }

    /// An answer to another question.
    fn confused(&self) -> FogClientError {
        FogClientError::Confused {
            address: self.shared.config.address,
            source: DecodeError::Unknown { at: 0, value: 0 },
        }
    }

    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, FogClientError> {
        let body: Arc<[u8]> = request.encode().into();
        if body.len() > REQUEST_BYTES_MAX {
            return Err(FogClientError::TooLong {
                actual: body.len(),
                limit: REQUEST_BYTES_MAX,
            });
        }
        let config = &self.shared.config;
        let mut last = None;
        let asking = self.ask_until_answered(&body, request.action(), &mut last);
        match tokio::time::timeout(config.patience, asking).await {
            Ok(answered) => answered,
            // Why it could not be reached says more than that it did not answer.
            Err(_) => Err(last.unwrap_or(FogClientError::TimedOut {
                address: config.address,
                within: config.patience,
            })),
        }
    }

    async fn ask_until_answered(
        &self,
        body: &Arc<[u8]>,
        action: Action,
        last: &mut Option<FogClientError>,
    ) -> Result<Answer, FogClientError> {
        let mut pause = PAUSE_MIN;
        loop {
            let (reply, answer) = oneshot::channel();
            let question = Question {
                body: Arc::clone(body),
                action,
                reply,
            };
            let asked = self.shared.questions.send(question).await;
            asked.map_err(|_| FogClientError::Ended)?;
            match answer.await {
                Ok(Ok(Answer::Refused { reason, said })) => {
                    return Err(FogClientError::Refused { reason, said });
                }
                Ok(Err(error)) if error.is_passing() => *last = Some(error),
                Ok(answered) => return answered,
                Err(_) => return Err(FogClientError::Ended),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// What is seen of a fog by whoever watches it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Watched {
    /// Something happened.
    Event(JobEvent),
    /// The watcher was so slow, or away for so long, that events are forgotten. How the jobs stand
    /// now can be asked.
    Lagged {
        /// How many, those of other accounts included. 0 if nobody can tell, because the coordinator
        /// never gave the number from which on it was asked: its file was set back.
        missed: u64,
    },
}

/// What happens to the jobs of an account, in order. See [`FogClient::watch`].
#[derive(Debug)]
pub struct Watch {
    client: FogClient,
    last: u64,
    events: VecDeque<Watched>,
}

impl Watch {
    /// The next thing that happened, as soon as there is one. Whether the coordinator was away or
    /// was started again meanwhile makes no difference: nothing is missed and nothing comes twice.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`FogClientError`]. Calling it again goes on where it was.
    pub async fn next(&mut self) -> Result<Watched, FogClientError> {
        loop {
            if let Some(next) = self.events.pop_front() {
                return Ok(next);
            }
            let patience = self.client.shared.config.patience;
            // Half of the patience, so that the answer has time to come.
            let wait = WATCH_WAIT.min(patience / 2).as_millis();
            let wanted = Wanted {
                after: self.last,
                count_max: EVENTS_MAX,
                wait_ms: u32::try_from(wait).unwrap_or(WAIT_MS_MAX).min(WAIT_MS_MAX),
            };
            match self.client.ask(&Request::Events(wanted)).await? {
                Answer::Events(found) => {
                    let missed = found.missed;
                    if missed > 0 || found.last < self.last {
                        self.events.push_back(Watched::Lagged { missed });
                    }
                    self.events
                        .extend(found.events.into_iter().map(Watched::Event));
                    self.last = found.last;
                }
                _ => return Err(self.client.confused()),
            }
        }
    }

    /// The number after which another watch goes on once everything that was returned is dealt with.
    #[must_use]
    pub fn last(&self) -> u64 {
        let next = self.events.iter().find_map(|next| match next {
            Watched::Event(event) => Some(event.number - 1),
            Watched::Lagged { .. } => None,
        });
        next.unwrap_or(self.last)
    }
}

/// Asks the questions, one link at a time.
async fn run(config: FogClientConfig, mut questions: mpsc::Receiver<Question>) {
    // The link hides what is asked; who asks is said by the call.
    let identity = Identity::random(&mut OsEntropy);
    while let Some(first) = questions.recv().await {
        if first.reply.is_closed() {
            continue;
        }
        match dial(&config, &identity).await {
            Ok(link) => converse(&config, link, first, &mut questions).await,
            Err(source) => {
                let address = config.address;
                let failed = FogClientError::Unreachable { address, source };
                let _ = first.reply.send(Err(failed));
            }
        }
    }
}

async fn dial(config: &FogClientConfig, identity: &Identity) -> Result<Link, LinkError> {
    let stream = TcpStream::connect(config.address).await?;
    Link::dial(stream, identity, config.coordinator, Purpose::Submit).await
}

type Pending = BTreeMap<u64, oneshot::Sender<Result<Answer, FogClientError>>>;

/// Asks over one link until it ends.
async fn converse(
    config: &FogClientConfig,
    link: Link,
    first: Question,
    questions: &mut mpsc::Receiver<Question>,
) {
    let (reader, mut writer) = link.into_split();
    let mut pending = Pending::new();
    // A frame must be read whole, so reading is a task of its own and never cancelled half-way.
    let (answers, mut inbox) = mpsc::channel(2 * UNANSWERED_MAX);
    let mut reading = JoinSet::new();
    reading.spawn(read_answers(reader, answers));
    let mut number = 0;
    let mut next = Some(first);
    let lost = loop {
        if let Some(question) = next.take() {
            number += 1;
            if let Err(error) = put(config, &mut writer, number, &question).await {
                pending.insert(number, question.reply);
                break error;
            }
            pending.insert(number, question.reply);
        }
        tokio::select! {
            answer = inbox.recv() => match answer {
                Some(Ok((number, body))) => {
                    let Some(reply) = pending.remove(&number) else {
                        continue;
                    };
                    let address = config.address;
                    let answer = Answer::decode(&body);
                    let _ = reply.send(answer.map_err(|source| {
                        FogClientError::Confused { address, source }
                    }));
                }
                Some(Err(error)) => break error,
                None => break LinkError::Protocol,
            },
            question = questions.recv(), if pending.len() < UNANSWERED_MAX => match question {
                Some(question) => next = Some(question),
                None => return,
            },
        }
    };
    let mut lost = Some(lost);
    for reply in pending.into_values() {
        let ended = || LinkError::Io(std::io::ErrorKind::ConnectionAborted.into());
        let source = lost.take().unwrap_or_else(ended);
        let address = config.address;
        let _ = reply.send(Err(FogClientError::Unreachable { address, source }));
    }
}

/// Signs a question and sends it.
async fn put(
    config: &FogClientConfig,
    writer: &mut LinkWriter,
    number: u64,
    question: &Question,
) -> Result<(), LinkError> {
    let mut nonce = [0; 16];
    OsEntropy.fill_bytes(&mut nonce);
    let call = Call::sign(
        config.token,
        config.coordinator,
        question.action,
        &question.body,
        nonce,
        SystemClock::new().unix_now(),
        &config.key,
    );
    for frame in request_frames(number, &call, &question.body) {
        writer.send(&frame).await?;
    }
    Ok(())
}

/// Puts answers together, each with the number of its request, until the link ends.
async fn read_answers(
    mut reader: LinkReader,
    answers: mpsc::Sender<Result<(u64, Vec<u8>), LinkError>>,
) {
    loop {
        let answer = read_answer(&mut reader).await;
        let ended = answer.is_err();
        if answers.send(answer).await.is_err() || ended {
            return;
        }
    }
}

async fn read_answer(reader: &mut LinkReader) -> Result<(u64, Vec<u8>), LinkError> {
    let frame = reader.receive_up_to(FRAME_BYTES).await?;
    let Ok(Part::Answer {
        number,
        bytes,
        first,
    }) = Part::of_answer(&frame)
    else {
        return Err(LinkError::Protocol);
    };
    let mut body = first.to_vec();
    while body.len() < bytes {
        let frame = reader.receive_up_to(FRAME_BYTES).await?;
        match Part::of_answer(&frame) {
            Ok(Part::More(part)) if body.len() + part.len() <= bytes => {
                body.extend_from_slice(part);
            }
            _ => return Err(LinkError::Protocol),
        }
    }
    Ok((number, body))
}
