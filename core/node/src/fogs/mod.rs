//! `fogcompute coordinator`, `token`, and what a submitter does: a fog from the command line.

mod arguments;
mod ask;
mod coordinator;
mod files;
mod top;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use fogcompute_base::TaskId;
use fogcompute_exec::SpecError;
use serde_json::Value;
use thiserror::Error;

use self::arguments::{
    CancelArguments, LogsArguments, NodeNameArguments, ResultArguments, StatusArguments,
    SubmitArguments, TopArguments, TopologyArguments, WatchArguments,
};
pub(crate) use self::arguments::{CoordinatorCommand, TokenCommand};
pub(crate) use self::coordinator::open;
pub use self::coordinator::{FogCoordinatorConfig, TokenTerms};
pub use self::files::FogFileError;
pub(crate) use self::files::{Data, FogFile, NODE};
use crate::error::NodeError;
use crate::submit::FogClientError;

/// What is asked of a coordinator.
#[derive(Debug, Subcommand)]
pub(crate) enum AskCommand {
    /// Submit a module to a fog, to be run once on each input, and print the ids of job and tasks.
    ///
    /// The coordinator has written the job down when the command returns. Exit codes of this and the
    /// following commands: 1 for files that are not read or written and a coordinator that is not
    /// reached, 2 for arguments that make no sense, 3 for what the coordinator refuses and tasks that
    /// failed.
    Submit(SubmitArguments),
    /// Print how the jobs of an account stand, or one of them with its tasks.
    Status(StatusArguments),
    /// Write what a task returned.
    Result(ResultArguments),
    /// Print what a task said while it ran, once it has ended.
    Logs(LogsArguments),
    /// End what has not ended of a job.
    Cancel(CancelArguments),
    /// Give a node no more tasks; it finishes what it has.
    Drain(NodeNameArguments),
    /// Give a node that was drained tasks again.
    Undrain(NodeNameArguments),
    /// Print what happens to the jobs of an account, from any event on.
    Watch(WatchArguments),
    /// Print who is in a fog, what they lend, and where they are among each other.
    Topology(TopologyArguments),
    /// Show nodes, jobs and counters of a fog, live.
    Top(TopArguments),
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Error)]
pub(crate) enum FogCommandError {
    #[error(transparent)]
    Files(#[from] FogFileError),
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Node(NodeError),
    #[error(transparent)]
    Client(#[from] FogClientError),
    #[error("task {task} failed: {error}")]
    TaskFailed { task: TaskId, error: String },
    #[error("{count} of the job's tasks have no output")]
    JobFailed { count: usize },
    #[error("no node is called {name}")]
    NoNode { name: String },
    #[error("{count} nodes begin with {name}: write more of it")]
    Ambiguous { name: String, count: usize },
    #[error("output: {0}")]
    Output(#[source] io::Error),
}

impl FogCommandError {
    fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        let file = FogFileError::file(doing, path);
        move |source| Self::Files(file(source))
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Files(
                FogFileError::File { .. }
                | FogFileError::NoCoordinator { .. }
                | FogFileError::NoToken { .. }
                | FogFileError::Exists { .. }
                | FogFileError::OtherFolder { .. }
                | FogFileError::Incomplete { .. },
            ) => "file",
            Self::Files(FogFileError::BadFile { .. } | FogFileError::BadToken { .. }) => "token",
            Self::Files(FogFileError::Endowed { .. })
            | Self::TooLarge { .. }
            | Self::Spec(_)
            | Self::Client(
                FogClientError::TooLong { .. }
                | FogClientError::TooManyTasks { .. }
                | FogClientError::NoModule { .. },
            ) => "arguments",
            Self::Client(FogClientError::Refused { .. })
            | Self::NoNode { .. }
            | Self::Ambiguous { .. } => "refused",
            Self::Node(_) | Self::Client(_) => "coordinator",
            Self::TaskFailed { .. } | Self::JobFailed { .. } => "task_failed",
            Self::Output(_) => "output",
        }
    }

    pub(crate) fn exit_code(&self) -> i32 {
        match self.kind() {
            "arguments" => 2,
            "refused" | "task_failed" => 3,
            _ => 1,
        }
    }

    /// Whoever read the output has had enough, as `head` has.
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<NodeError> for FogCommandError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Files(error) => Self::Files(error),
            error => Self::Node(error),
        }
    }
}

impl AskCommand {
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Submit(arguments) => arguments.asking.json,
            Self::Status(arguments) => arguments.asking.json,
            Self::Result(arguments) => arguments.asking.json,
            Self::Logs(arguments) => arguments.asking.json,
            Self::Cancel(arguments) => arguments.asking.json,
            Self::Drain(arguments) | Self::Undrain(arguments) => arguments.asking.json,
            Self::Watch(arguments) => arguments.asking.json,
            Self::Topology(arguments) => arguments.asking.json,
            Self::Top(arguments) => arguments.asking.json,
        }
    }
}

impl TokenCommand {
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Issue(arguments) => arguments.json,
            Self::Show(arguments) => arguments.json,
        }
    }
}

/// Runs a coordinator.
pub(crate) async fn coordinate(command: &CoordinatorCommand) -> Result<(), FogCommandError> {
    let CoordinatorCommand::Run(arguments) = command;
    coordinator::run(arguments).await
}

/// Issues or shows a token.
pub(crate) fn token(command: &TokenCommand) -> Result<(), FogCommandError> {
    match command {
        TokenCommand::Issue(arguments) => coordinator::issue(arguments),
        TokenCommand::Show(arguments) => coordinator::show(arguments),
    }
}

/// Asks a coordinator.
pub(crate) async fn ask(command: &AskCommand) -> Result<(), FogCommandError> {
    match command {
        AskCommand::Submit(arguments) => ask::submit(arguments).await,
        AskCommand::Status(arguments) => ask::status(arguments).await,
        AskCommand::Result(arguments) => ask::result(arguments).await,
        AskCommand::Logs(arguments) => ask::logs(arguments).await,
        AskCommand::Cancel(arguments) => ask::cancel(arguments).await,
        AskCommand::Drain(arguments) => ask::drain(arguments, true).await,
        AskCommand::Undrain(arguments) => ask::drain(arguments, false).await,
        AskCommand::Watch(arguments) => ask::watch(arguments).await,
        AskCommand::Topology(arguments) => ask::topology(arguments).await,
        AskCommand::Top(arguments) => top::run(arguments).await,
    }
}

fn print(text: &str) -> Result<(), FogCommandError> {
    let mut out = io::stdout().lock();
    let mut text = text.to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(FogCommandError::Output)
}

/// Prints for people or for programs.
fn say(json: bool, value: &Value, text: &str) -> Result<(), FogCommandError> {
    match json {
        true => print(&value.to_string()),
        false => print(text),
    }
}
