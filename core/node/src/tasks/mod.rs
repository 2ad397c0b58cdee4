//! `fogcompute worker`: the tasks that this device keeps in a file.

mod arguments;
#[cfg(unix)]
mod line;
mod question;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::limits::{INPUT_BYTES_MAX, MODULE_BYTES_MAX};
use fogcompute_base::{Clock as _, Instant, SystemClock, TaskId};
use fogcompute_exec::executor::Permission;
use fogcompute_exec::{Limits, Usage};
use fogcompute_harvest::{DeviceProbe, DeviceState, Effect, ProbeError, Reason};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::task::JoinSet;

pub(crate) use arguments::WorkerCommand;
use arguments::{
    ForgetArguments, ListArguments, LogsArguments, OutputArguments, RunArguments, SubmitArguments,
    TaskArguments, TaskFile,
};
use question::{Answer, Kind, Question, StepLine, TASKS_PAGE, TaskLine};

use crate::device::Device;
use crate::error::NodeError;
use crate::harvest::{HarvestCommandError, policy_at, probe_at};
use crate::ledger::text::hex;
use crate::signals::Signals;
use crate::worker::{Worker, WorkerConfig, WorkerError, WorkerHarvest, WorkerHost, WorkerStatus};

/// Questions that are answered at a time.
const ASKS_MAX: usize = 64;

/// From one look at the worker to the next.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long those who asked may take to read what they are told at the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// How often somebody is looked for who has the file, or who has let it go.
const TRIES: u32 = 4;

/// Why a command did not do what it was asked to.
#[derive(Debug, Error)]
pub(crate) enum WorkerCommandError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: there is no such file of tasks", path.display())]
    Missing { path: PathBuf },
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error(transparent)]
    Policy(#[from] HarvestCommandError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("asking the worker that has {}: {source}", path.display())]
    Line { path: PathBuf, source: io::Error },
    #[error("{error}")]
    Refused { kind: Kind, error: String },
    #[error("task {task} has not ended, and no worker runs on the file")]
    NobodyWorks { task: TaskId },
    #[error("output: {0}")]
    Output(#[source] io::Error),
}

impl WorkerCommandError {
    fn of(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Missing { .. } => Kind::File,
            Self::TooLarge { .. } => Kind::Arguments,
            Self::Policy(_) => Kind::Policy,
            Self::Worker(error) => Kind::of(error),
            Self::Node(_) | Self::Line { .. } => Kind::Worker,
            Self::Refused { kind, .. } => *kind,
            Self::NobodyWorks { .. } => Kind::TaskOpen,
            Self::Output(_) => Kind::Output,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.of().name()
    }

    pub(crate) fn exit_code(&self) -> i32 {
        self.of().exit_code()
    }

    /// Whoever read the output has had enough, as `head` has.
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Carries a command out.
pub(crate) async fn run(command: &WorkerCommand) -> Result<(), WorkerCommandError> {
    let tasks = command.tasks();
    match command {
        WorkerCommand::Run(arguments) => work(arguments).await,
        WorkerCommand::Submit(arguments) => submit(arguments).await,
        WorkerCommand::List(arguments) => list(arguments).await,
        WorkerCommand::Show(arguments) => show(arguments).await,
        WorkerCommand::Logs(arguments) => logs(arguments).await,
        WorkerCommand::Output(arguments) => output(arguments).await,
        WorkerCommand::Cancel(TaskArguments { task, .. }) => {
            Asker::new(tasks)
                .ask(&Question::Cancel { task: *task })
                .await?;
            print(tasks, &json!({"task": task}), &format!("cancelled {task}"))
        }
        WorkerCommand::Forget(arguments) => forget(arguments).await,
    }
}

/// Does the tasks of a file until it is asked to stop.
async fn work(arguments: &RunArguments) -> Result<(), WorkerCommandError> {
    let mut signals = Signals::listen()?;
    let tasks = &arguments.tasks;
    let policy = arguments.policy.as_deref().map(policy_at).transpose()?;
    let harvest = (!arguments.always).then(|| {
        let probe: Box<dyn DeviceProbe> = match &arguments.root {
            Some(root) => probe_at(root),
            None => Box::new(Device::new()),
        };
        WorkerHarvest::new(policy, probe)
    });
    let usual = WorkerConfig::default();
    let config = WorkerConfig {
        path: Some(tasks.file.clone()),
        slots: arguments.slots.map_or(usual.slots, std::num::NonZero::get),
        ..usual
    };
    let host = WorkerHost {
        harvest,
        ..WorkerHost::default()
    };
    let worker = Arc::new(Worker::start(config, host)?);
    let mut asks = JoinSet::new();
    let ended = {
        let line = Line::open(&tasks.file);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut last = String::new();
        loop {
            tokio::select! {
                () = signals.asked() => break Ok(()),
                stream = line.accept(), if asks.len() < ASKS_MAX => {
                    asks.spawn(serve(Arc::clone(&worker), stream));
                }
                Some(_) = asks.join_next() => {}
                _ = look.tick() => {
                    let status = worker.status().await?;
                    if let Err(error) = tell(tasks, &status, &mut last) {
                        break Err(error);
                    }
                    if arguments.until_done && status.open == 0 {
                        break Ok(());
                    }
                }
            }
        }
    };
    worker.close();
    // Those who wait are told that the worker has ended.
    let told = async { while asks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, told).await;
    ended
}

/// The socket of a worker; on systems without them, and where it cannot be made, nobody asks.
struct Line {
    #[cfg(unix)]
    line: Option<line::Line>,
}

#[cfg(unix)]
type Stream = tokio::net::UnixStream;
#[cfg(not(unix))]
type Stream = std::convert::Infallible;

impl Line {
    #[cfg(unix)]
    fn open(file: &Path) -> Self {
        let line = line::Line::open(file).map_err(|error| {
            let _ = writeln!(
                io::stderr(),
                "other commands cannot use the file meanwhile: no socket beside it: {error}"
            );
        });
        Self { line: line.ok() }
    }

    #[cfg(not(unix))]
    const fn open(_file: &Path) -> Self {
        Self {}
    }

    async fn accept(&self) -> Stream {
        #[cfg(unix)]
        if let Some(line) = &self.line {
            loop {
                match line.accept().await {
                    Ok(stream) => return stream,
                    // Too many open files, for example: they become fewer.
                    Err(_) => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        }
        std::future::pending().await
    }
}

#[cfg(unix)]
use line::serve;

#[cfg(not(unix))]
async fn serve(_worker: Arc<Worker>, stream: Stream) {
    match stream {}
}

/// Prints how the worker is, if that is something else than `last`.
fn tell(
    tasks: &TaskFile,
    status: &WorkerStatus,
    last: &mut String,
) -> Result<(), WorkerCommandError> {
    let state = match (&status.answer, status.permission) {
        (Some(answer), _) => answer.state.to_string(),
        (None, Permission::Run(_)) => "running".to_owned(),
        (None, _) => "unread".to_owned(),
    };
    let reasons = status.answer.as_ref().map(|answer| &answer.reasons[..]);
    let reasons = reasons.unwrap_or_default();
    let (slots, cpu_permille) = match status.permission {
        Permission::Run(budget) => (budget.slots, budget.cpu_permille),
        Permission::Suspend | Permission::Vacate | Permission::Stop => (0, 0),
    };
    let (open, at_work) = (status.open, status.running);
    let mut line = format!("{state}: ");
    if slots > 0 {
        let share = cpu_permille / 10;
        line.push_str(&format!("{slots} slots at {share} % of a processor"));
    } else {
        line.push_str("nothing is lent");
    }
    line.push_str(&format!(", {open} tasks open, {at_work} at work"));
    if let Some(error) = &status.probe_error {
        line.push_str(&format!("; reading the device: {error}"));
    }
    if let Some(error) = &status.store_error {
        line.push_str(&format!("; the file cannot be written: {error}"));
    }
    let worst = reasons.iter().map(Reason::effect).max();
    let because: Vec<&Reason> = reasons
        .iter()
        .filter(|reason| reason.effect() > Effect::Note && Some(reason.effect()) == worst)
        .collect();
    // Their texts have numbers that change with every reading.
    let codes: Vec<&str> = because.iter().map(|reason| reason.code()).collect();
    let now = format!("{line} {codes:?}");
    if now == *last {
        return Ok(());
    }
    *last = now;
    for reason in because {
        line.push_str(&format!("\n  because {reason}"));
    }
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|reason| {
            json!({
                "code": reason.code(),
                "effect": reason.effect(),
                "text": reason.to_string(),
            })
        })
        .collect();
    let value = json!({
        "state": state,
        "slots": slots,
        "cpu_permille": cpu_permille,
        "open": open,
        "at_work": at_work,
        "reasons": reasons,
        "probe_error": status.probe_error.as_ref().map(ToString::to_string),
        "store_error": status.store_error.as_ref().map(ToString::to_string),
    });
    print(tasks, &value, &line)
}

/// Never reads anything: a worker that knows nothing of its device starts nothing.
struct Unread;

impl DeviceProbe for Unread {
    fn read(&mut self, _now: Instant) -> Result<DeviceState, ProbeError> {
        Err(ProbeError::Unavailable)
    }
}

/// Asks whoever has a file of tasks.
struct Asker<'a> {
    file: &'a Path,
    /// Has the file, when nobody else does.
    own: Option<Worker>,
}

impl<'a> Asker<'a> {
    fn new(tasks: &'a TaskFile) -> Self {
        let file = tasks.file.as_path();
        Self { file, own: None }
    }

    /// Whether tasks go on while they are asked about.
    const fn somebody_works(&self) -> bool {
        self.own.is_none()
    }

    async fn ask(&mut self, question: &Question) -> Result<(Answer, Vec<u8>), WorkerCommandError> {
        self.ask_with(question, Vec::new()).await
    }

    async fn ask_with(
        &mut self,
        question: &Question,
        parts: Vec<Vec<u8>>,
    ) -> Result<(Answer, Vec<u8>), WorkerCommandError> {
        let mut tries = 0;
        let answered = loop {
            if let Some(worker) = &self.own {
                break question::answer(worker, question.clone(), parts).await;
            }
            #[cfg(unix)]
            match line::ask(self.file, question, &parts) {
                Ok(Some(answered)) => break answered,
                Ok(None) => {}
                Err(source) => {
                    let path = self.file.to_owned();
                    return Err(WorkerCommandError::Line { path, source });
                }
            }
            tries += 1;
            match self.open(question) {
                Ok(worker) => self.own = Some(worker),
                // Somebody has just opened it, and may listen in a moment.
                Err(WorkerCommandError::Worker(error))
                    if Kind::of(&error) == Kind::Locked && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        };
        match answered {
            (Answer::Refused { kind, error }, _) => {
                Err(WorkerCommandError::Refused { kind, error })
            }
            answered => Ok(answered),
        }
    }

    /// Opens the file without doing anything in it.
    fn open(&self, question: &Question) -> Result<Worker, WorkerCommandError> {
        let is_missing = matches!(self.file.try_exists(), Ok(false));
        if is_missing && !matches!(question, Question::Submit { .. }) {
            let path = self.file.to_owned();
            return Err(WorkerCommandError::Missing { path });
        }
        let config = WorkerConfig {
            path: Some(self.file.to_owned()),
            ..WorkerConfig::default()
        };
        let host = WorkerHost {
            harvest: Some(WorkerHarvest::new(None, Box::new(Unread))),
            ..WorkerHost::default()
        };
        Ok(Worker::start(config, host)?)
    }
}

async fn submit(arguments: &SubmitArguments) -> Result<(), WorkerCommandError> {
    let mut parts = vec![read(&arguments.module, MODULE_BYTES_MAX)?];
    for input in &arguments.inputs {
        parts.push(read(input, INPUT_BYTES_MAX)?);
    }
    if arguments.inputs.is_empty() {
        parts.push(Vec::new());
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let question = Question::Submit {
        key: arguments.key.clone(),
        limits: Limits {
            fuel: arguments.fuel,
            memory_bytes: arguments.memory.saturating_mul(1 << 20),
            wall: arguments.time.map(seconds),
            ..Limits::default()
        },
        deadline: arguments.deadline.map(seconds),
    };
    let mut asker = Asker::new(&arguments.tasks);
    let (answer, _) = asker.ask_with(&question, parts).await?;
    let Answer::Submitted {
        job,
        tasks,
        replayed,
    } = answer
    else {
        return Err(asker.confused());
    };
    let ids: Vec<String> = tasks.iter().map(ToString::to_string).collect();
    let value = json!({"job": job, "tasks": ids, "replayed": replayed});
    print(&arguments.tasks, &value, &ids.join("\n"))
}

/// A file that is not longer than that.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, WorkerCommandError> {
    let mut bytes = Vec::new();
    let taken = File::open(path).and_then(|file| {
        // One more shows that there are too many.
        file.take(limit as u64 + 1).read_to_end(&mut bytes)
    });
    let path = path.to_owned();
    match taken {
        Ok(_) if bytes.len() > limit => Err(WorkerCommandError::TooLarge { path, limit }),
        Ok(_) => Ok(bytes),
        Err(source) => Err(WorkerCommandError::File { path, source }),
    }
}

async fn list(arguments: &ListArguments) -> Result<(), WorkerCommandError> {
    let mut asker = Asker::new(&arguments.tasks);
    let mut after = None;
    loop {
        let (answer, _) = asker.ask(&Question::List { after }).await?;
        let Answer::Tasks(page) = answer else {
            return Err(asker.confused());
        };
        for task in &page {
            if !(arguments.open && task.ended) {
                print(&arguments.tasks, &json!(task), &text_of_task(task))?;
            }
        }
        after = match page.last() {
            Some(task) if page.len() == TASKS_PAGE => Some(task.task),
            _ => return Ok(()),
        };
    }
}

fn text_of_task(task: &TaskLine) -> String {
    let mut line = format!("{}  {}  {:<10}", task.task, task.changed, task.state);
    if task.permille > 0 && !task.ended {
        line.push_str(&format!(" {} % done", task.permille / 10));
    }
    if let Some(error) = &task.error {
        line.push_str(&format!(" {error}"));
    }
    line.trim_end().to_owned()
}

async fn show(arguments: &TaskArguments) -> Result<(), WorkerCommandError> {
    let mut asker = Asker::new(&arguments.tasks);
    let (task, steps) = asker.task(arguments.task).await?;
    let mut lines = vec![
        format!("task         {}", task.task),
        format!("job          {}", task.job),
        format!("state        {}", task.state),
        format!("attempts     {}", task.attempts),
        format!("failures     {}", task.failures),
        format!("preemptions  {}", task.preemptions),
        format!("checkpoints  {}", task.checkpoints),
        format!("log          {} bytes", task.log_bytes),
    ];
    if task.ended {
        lines.push(format!("fuel         {}", task.usage.fuel));
    }
    if let Some(error) = &task.error {
        lines.push(format!("error        {error}"));
    }
    for StepLine {
        number,
        time,
        state,
        cause,
    } in &steps
    {
        lines.push(format!("{number:>5}  {time}  {state:<10} {cause}"));
    }
    let mut value = json!(task);
    value["history"] = json!(steps);
    print(&arguments.tasks, &value, &lines.join("\n"))
}

async fn logs(arguments: &LogsArguments) -> Result<(), WorkerCommandError> {
    let (tasks, task) = (&arguments.of.tasks, arguments.of.task);
    let mut asker = Asker::new(tasks);
    let (now, _) = asker.task(task).await?;
    if arguments.follow && !now.ended && !asker.somebody_works() {
        return Err(WorkerCommandError::NobodyWorks { task });
    }
    let mut from = 0;
    while arguments.follow || from < now.log_bytes {
        let (answer, bytes) = asker.ask(&Question::Log { task, from }).await?;
        let Answer::Log { next, ended } = answer else {
            return Err(asker.confused());
        };
        if tasks.json {
            if !bytes.is_empty() {
                let text = String::from_utf8_lossy(&bytes);
                print(tasks, &json!({"task": task, "from": from, "log": text}), "")?;
            }
        } else {
            write_out(&bytes)?;
        }
        if ended || next == from {
            break;
        }
        from = next;
    }
    Ok(())
}

async fn output(arguments: &OutputArguments) -> Result<(), WorkerCommandError> {
    let (tasks, task) = (&arguments.of.tasks, arguments.of.task);
    let mut asker = Asker::new(tasks);
    let wait = arguments.wait;
    if wait {
        let (now, _) = asker.task(task).await?;
        if !now.ended && !asker.somebody_works() {
            return Err(WorkerCommandError::NobodyWorks { task });
        }
    }
    let (answer, bytes) = asker.ask(&Question::Output { task, wait }).await?;
    let Answer::Output { usage } = answer else {
        return Err(asker.confused());
    };
    let Usage {
        fuel,
        memory_bytes_peak,
        wall,
    } = usage;
    let mut value = json!({
        "task": task,
        "bytes": bytes.len(),
        "fuel": fuel,
        "memory_bytes_peak": memory_bytes_peak,
        "seconds": wall.as_secs_f64(),
    });
    match &arguments.output {
        Some(path) => {
            fs::write(path, &bytes).map_err(|source| WorkerCommandError::File {
                path: path.clone(),
                source,
            })?;
            if tasks.json {
                print(tasks, &value, "")?;
            }
            Ok(())
        }
        None if tasks.json => {
            value["output_hex"] = json!(hex(&bytes));
            print(tasks, &value, "")
        }
        None => write_out(&bytes),
    }
}

async fn forget(arguments: &ForgetArguments) -> Result<(), WorkerCommandError> {
    let before = arguments
        .before
        .unwrap_or_else(|| SystemClock::new().unix_now());
    let mut asker = Asker::new(&arguments.tasks);
    let (answer, _) = asker.ask(&Question::Forget { before }).await?;
    let Answer::Forgotten { jobs } = answer else {
        return Err(asker.confused());
    };
    print(
        &arguments.tasks,
        &json!({"jobs": jobs}),
        &format!("forgot {jobs} jobs"),
    )
}

impl Asker<'_> {
    async fn task(
        &mut self,
        task: TaskId,
    ) -> Result<(TaskLine, Vec<StepLine>), WorkerCommandError> {
        match self.ask(&Question::Show { task }).await? {
            (Answer::Task(task, steps), _) => Ok((task, steps)),
            _ => Err(self.confused()),
        }
    }

    /// The worker has answered something else than it was asked.
    fn confused(&self) -> WorkerCommandError {
        let path = self.file.to_owned();
        let source = io::ErrorKind::InvalidData.into();
        WorkerCommandError::Line { path, source }
    }
}

/// Prints what a command says.
fn print(tasks: &TaskFile, value: &Value, text: &str) -> Result<(), WorkerCommandError> {
    let mut out = io::stdout().lock();
    let written = if tasks.json {
        let mut value = value.clone();
        value["ok"] = json!(true);
        writeln!(out, "{value}")
    } else {
        writeln!(out, "{text}")
    };
    written
        .and_then(|()| out.flush())
        .map_err(WorkerCommandError::Output)
}

fn write_out(bytes: &[u8]) -> Result<(), WorkerCommandError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(WorkerCommandError::Output)
}
