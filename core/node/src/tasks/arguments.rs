//! The arguments of `fogcompute worker`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fogcompute_base::{TaskId, UnixMillis};
use fogcompute_exec::Limits;

use crate::ledger::text::moment;

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Do the tasks of a file, as the harvest policy permits, until it is interrupted.
    ///
    /// Prints a line whenever it lends something else or has other work. Interrupted, it stops what
    /// runs; that goes on from its last checkpoint when the command is run again. Meanwhile the other
    /// commands ask this one, through a socket beside the file that is for its owner only.
    Run(RunArguments),
    /// Hand in a module, to be run once on each input, and print the ids of its tasks.
    ///
    /// They are on disk when the command returns, and run while `worker run` does.
    Submit(SubmitArguments),
    /// Print the tasks of a file, the oldest first.
    List(ListArguments),
    /// Print where a task is, and the steps of its life.
    Show(TaskArguments),
    /// Print the log of a task.
    Logs(LogsArguments),
    /// Write the output of a task.
    Output(OutputArguments),
    /// End a task, which has no output then.
    Cancel(TaskArguments),
    /// Forget tasks that have ended, with their logs and outputs.
    Forget(ForgetArguments),
}

#[derive(Args, Debug)]
pub(crate) struct TaskFile {
    /// The file of tasks.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Print JSON: one object, or a task or a change a line.
    ///
    /// {"ok": false, "kind": …, "error": …} says what went wrong. Kinds: arguments, ended, file,
    /// key_reused, locked, output, policy, task_failed, task_open, unknown_task, worker.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(super) tasks: TaskFile,
    /// Most tasks at a time; as many as there are processors if it is not said.
    #[arg(long, value_name = "COUNT")]
    pub(super) slots: Option<NonZeroU32>,
    /// The policy, in TOML; the defaults of the device's class if there is none.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Work whatever the device's state is.
    #[arg(long, conflicts_with_all = ["policy", "root"])]
    pub(super) always: bool,
    /// Read the Linux device whose proc and sys are in that folder.
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// End when every task has.
    #[arg(long)]
    pub(super) until_done: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SubmitArguments {
    #[command(flatten)]
    pub(super) tasks: TaskFile,
    /// The module: a task of the interface fog-task.
    #[arg(value_name = "MODULE")]
    pub(super) module: PathBuf,
    /// An input; a task for each. Without any, one task without input.
    #[arg(long = "input", value_name = "FILE", num_args = 1..)]
    pub(super) inputs: Vec<PathBuf>,
    /// Makes the same tasks of those that are handed in again: up to 255 bytes of your choice.
    #[arg(long, value_name = "TEXT")]
    pub(super) key: Option<String>,
    /// Most work of each, in units of fuel.
    #[arg(long, value_name = "UNITS", default_value_t = Limits::default().fuel)]
    pub(super) fuel: u64,
    /// Most memory of each, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory_bytes >> 20)]
    pub(super) memory: u64,
    /// Longest time of an attempt, in seconds; without it, until the fuel is used up.
    #[arg(long, value_name = "SECONDS")]
    pub(super) time: Option<u32>,
    /// Tasks that have not ended so long from now have failed, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(super) deadline: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(super) tasks: TaskFile,
    /// Only those that have not ended.
    #[arg(long)]
    pub(super) open: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TaskArguments {
    #[command(flatten)]
    pub(super) tasks: TaskFile,
    /// The task: 32 hexadecimal digits.
    #[arg(value_name = "TASK")]
    pub(super) task: TaskId,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(super) of: TaskArguments,
    /// Go on until the task has ended.
    #[arg(long)]
    pub(super) follow: bool,
}

#[derive(Args, Debug)]
pub(crate) struct OutputArguments {
    #[command(flatten)]
    pub(super) of: TaskArguments,
    /// Where the output goes instead of the standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Wait until the task has ended.
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ForgetArguments {
    #[command(flatten)]
    pub(super) tasks: TaskFile,
    /// Only those that ended before that time: 2026-11-21 (its beginning), 2026-11-21T12:30:00Z, or
    /// milliseconds since 1970.
    #[arg(long, value_name = "T", value_parser = moment)]
    pub(super) before: Option<UnixMillis>,
}

impl WorkerCommand {
    pub(super) const fn tasks(&self) -> &TaskFile {
        match self {
            Self::Run(arguments) => &arguments.tasks,
            Self::Submit(arguments) => &arguments.tasks,
            Self::List(arguments) => &arguments.tasks,
            Self::Show(arguments) | Self::Cancel(arguments) => &arguments.tasks,
            Self::Logs(arguments) => &arguments.of.tasks,
            Self::Output(arguments) => &arguments.of.tasks,
            Self::Forget(arguments) => &arguments.tasks,
        }
    }

    pub(crate) const fn json(&self) -> bool {
        self.tasks().json
    }
}
