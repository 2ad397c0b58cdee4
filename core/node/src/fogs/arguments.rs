//! The arguments of the commands that make a fog and use it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use fogcompute_base::{AccountId, JobId, NodeId, Priority, TaskId};
use fogcompute_coord::PrivacyLevel;
use fogcompute_coord::routing::Strategy;
use fogcompute_coord::token::Action;
use fogcompute_exec::Limits;
use fogcompute_ledger::Amount;

use crate::ledger::text::credits;

#[derive(Debug, Subcommand)]
pub(crate) enum CoordinatorCommand {
    /// Run a coordinator, a new one or the one whose data these are, until it is interrupted.
    ///
    /// Prints who it is and where, and writes the same into fog.toml in its data, for nodes. Its owner's
    /// key is in owner.key there, made at the first start: whoever has it issues tokens.
    Run(CoordinatorArguments),
}

#[derive(Args, Debug)]
pub(crate) struct CoordinatorArguments {
    /// Where it keeps its key, its owner's key, the ledger, jobs and results.
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Where it accepts links of nodes and submitters; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4600", value_name = "ADDRESS:PORT")]
    pub(super) listen: SocketAddr,
    /// Mix layers that every task crosses.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(super) layers: u8,
    /// Mean delay at each mixnode, in milliseconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) delay_ms: u16,
    /// How tasks come to nodes: optimised, or a strategy that routes them one by one: round_robin,
    /// least_loaded, affinity, proximity, privacy_aware, random.
    ///
    /// The optimiser is for few tasks that run long.
    #[arg(long, default_value = "least_loaded", value_name = "NAME", value_parser = placement)]
    pub(super) placement: PlacementName,
    /// Credits that the owner's account begins with. Only at the first start.
    #[arg(long, value_name = "CREDITS", value_parser = credits)]
    pub(super) endowment: Option<Amount>,
    /// Most nodes.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_095))]
    pub(super) nodes_max: u16,
    /// Serve /metrics and /healthz over HTTP there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) metrics: Option<SocketAddr>,
    /// Seed of the optimiser's and the router's draws; random if it is not said.
    ///
    /// Keys and routes never come from it.
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// Append what it decides and what nodes say to a file, a JSON object a line.
    ///
    /// For looking into a run: the file grows with every heartbeat. Before it ends, such a coordinator
    /// asks its nodes for their last counts.
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// End when the standard input ends, as it does with the process that holds its other end.
    #[arg(long)]
    pub(super) end_with_input: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlacementName {
    Optimised,
    Routed(Strategy),
}

fn placement(text: &str) -> Result<PlacementName, String> {
    if text == "optimised" {
        return Ok(PlacementName::Optimised);
    }
    let strategy = text.parse::<Strategy>().map_err(|_| {
        let names: Vec<_> = Strategy::ALL.iter().map(|it| it.name()).collect();
        format!("there are optimised, {}", names.join(", "))
    })?;
    Ok(PlacementName::Routed(strategy))
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Issue a token, with a key of its own, into a file that is for its holder only.
    ///
    /// Whoever has the file may ask the coordinator for what the token grants.
    Issue(IssueArguments),
    /// Print what a token grants, without its key.
    Show(ShowArguments),
}

#[derive(Args, Debug)]
pub(crate) struct IssueArguments {
    /// The coordinator's data, in which its owner's key is.
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// The file to write; there must be none.
    #[arg(long, default_value = "fog.token", value_name = "FILE")]
    pub(super) out: PathBuf,
    /// On whose account; the owner's if it is not said.
    #[arg(long, value_name = "ID")]
    pub(super) account: Option<AccountId>,
    /// What it permits: submit, cancel, query, drain, maintain.
    #[arg(long, value_delimiter = ',', default_value = "submit,cancel,query", value_parser = action)]
    pub(super) actions: Vec<Action>,
    /// Most tasks that may be submitted with it.
    #[arg(long, default_value_t = 1_000_000)]
    pub(super) tasks: u64,
    /// Most credits that may be set aside for them, all in all: each task counts with its --price, also
    /// what is given back of it.
    #[arg(long, default_value = "1000", value_name = "CREDITS", value_parser = credits)]
    pub(super) spend: Amount,
    /// Days until it expires.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) days: u16,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

fn action(text: &str) -> Result<Action, String> {
    let found = Action::ALL.into_iter().find(|it| it.name() == text);
    found.ok_or_else(|| {
        let names = Action::ALL.map(Action::name);
        format!("there are {}", names.join(", "))
    })
}

#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    /// The token's file.
    #[arg(value_name = "FILE", default_value = "fog.token")]
    pub(super) file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Asking {
    /// The file of the token, as `fogcompute token issue` writes it.
    #[arg(long, default_value = "fog.token", value_name = "FILE")]
    pub(super) token: PathBuf,
    /// Seconds until an answer must have come.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) patience: u32,
    /// Print JSON: one object, or an event a line.
    ///
    /// {"ok": false, "kind": …, "error": …} says what went wrong. Kinds: arguments, coordinator, file,
    /// output, refused, task_failed, token.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SubmitArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// The module: a task of the interface fog-task.
    #[arg(value_name = "MODULE")]
    pub(super) module: PathBuf,
    /// An input; a task for each. Without any, one task without input.
    #[arg(long = "input", value_name = "FILE", num_args = 1..)]
    pub(super) inputs: Vec<PathBuf>,
    /// Names the job, 32 hexadecimal digits: submitted once more it is the same job.
    #[arg(long, value_name = "ID")]
    pub(super) job: Option<JobId>,
    /// Most credits for each task; what is not used comes back to the account, but not to what may be
    /// spent with the token.
    #[arg(long, default_value = "1", value_name = "CREDITS", value_parser = credits)]
    pub(super) price: Amount,
    /// Most work of each, in units of fuel.
    #[arg(long, value_name = "UNITS", default_value_t = Limits::default().fuel)]
    pub(super) fuel: u64,
    /// Work each will take, as well as you can tell: a tenth of the most if it is not said.
    #[arg(long, value_name = "UNITS")]
    pub(super) estimate: Option<u64>,
    /// Most memory of each, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory_bytes >> 20)]
    pub(super) memory: u64,
    /// How urgent: critical, high, normal, low, bulk.
    #[arg(long, value_enum, default_value_t = PriorityName::Normal)]
    pub(super) priority: PriorityName,
    /// How well its tasks are hidden on their way: public, private, confidential, secret.
    #[arg(long, value_name = "LEVEL", default_value = PrivacyLevel::default().name(), value_parser = privacy)]
    pub(super) privacy: PrivacyLevel,
    /// Let the tasks log, say how far they are, and make checkpoints: the imports of module fog.
    #[arg(long)]
    pub(super) host_calls: bool,
    /// Wait until every task has ended.
    #[arg(long)]
    pub(super) wait: bool,
}

fn privacy(text: &str) -> Result<PrivacyLevel, String> {
    text.parse().map_err(|error| format!("{error}"))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum PriorityName {
    Critical,
    High,
    Normal,
    Low,
    Bulk,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Critical => Self::Critical,
            PriorityName::High => Self::High,
            PriorityName::Normal => Self::Normal,
            PriorityName::Low => Self::Low,
            PriorityName::Bulk => Self::Bulk,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// The job, 32 hexadecimal digits; without one, the latest jobs of the account.
    #[arg(value_name = "JOB")]
    pub(super) job: Option<JobId>,
    /// Most jobs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) count: u16,
}

#[derive(Args, Debug)]
pub(crate) struct ResultArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// The task: 32 hexadecimal digits.
    #[arg(value_name = "TASK")]
    pub(super) task: TaskId,
    /// Where the output goes instead of the standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// The task: 32 hexadecimal digits.
    #[arg(value_name = "TASK")]
    pub(super) task: TaskId,
}

#[derive(Args, Debug)]
pub(crate) struct CancelArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// The job: 32 hexadecimal digits.
    #[arg(value_name = "JOB")]
    pub(super) job: JobId,
}

#[derive(Args, Debug)]
pub(crate) struct NodeNameArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// The node: 64 hexadecimal digits, or the first of them, 8 at least.
    #[arg(value_name = "NODE", value_parser = node_name)]
    pub(super) node: String,
}

fn node_name(text: &str) -> Result<String, String> {
    let fits = (8..=2 * NodeId::LEN).contains(&text.len());
    match fits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "it is not 8 to {} hexadecimal digits",
            2 * NodeId::LEN
        )),
    }
}

#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// From behind the event of that number on; 0 for everything that is remembered.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(super) after: u64,
    /// End after so many.
    #[arg(long, value_name = "COUNT")]
    pub(super) count: Option<u64>,
    /// End when this job has, or at once if it had ended before.
    #[arg(long, value_name = "JOB")]
    pub(super) until: Option<JobId>,
}

#[derive(Args, Debug)]
pub(crate) struct TopologyArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
}

#[derive(Args, Debug)]
pub(crate) struct TopArguments {
    #[command(flatten)]
    pub(super) asking: Asking,
    /// Look once and end.
    #[arg(long)]
    pub(super) once: bool,
    /// Milliseconds between two looks.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub(super) interval_ms: u32,
}
