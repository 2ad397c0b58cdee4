//! The `fogcompute` command.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use fogcompute_base::{NodeId, OsEntropy, SystemClock};
use fogcompute_harvest::HarvestPolicy;
use fogcompute_ledger::Amount;
use fogcompute_mix::Contact;
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::strategy::Name;
use fogcompute_schedule::{OBJECTIVE_COUNT, OBJECTIVE_NAMES, Preference, Sharing};

use crate::chat::{self, ChatArguments};
use crate::dao::{self, DaoCommand};
use crate::demo::{
    DemoConfig, DemoError, Kill, NODES_MAX, NODES_MIN, TILES_MAX, TILES_MIN, WIDTH_MAX, WIDTH_MIN,
    run_demo,
};
use crate::error::NodeError;
use crate::fogs::{self, AskCommand, CoordinatorCommand, FogCommandError, FogFile, TokenCommand};
use crate::harvest::{self, HarvestCommand};
use crate::ledger::{self, LedgerCommand};
use crate::messages::{self, Wanted};
use crate::mixnode;
use crate::network::NetworkConfig;
use crate::ping::{PingConfig, ping};
use crate::placing::{self, Kind, PlacingConfig};
use crate::program::runtime;
use crate::protocol::Role;
use crate::run::{self, RunArguments};
use crate::serve::{NodeConfig, run_node};
use crate::signals::input_ended;
use crate::tasks::{self, WorkerCommand};

/// Privacy-preserving fog computing.
#[derive(Debug, Parser)]
#[command(name = "fogcompute", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a private fog of processes on this machine and let it compute a picture.
    Demo(DemoArguments),
    /// Run one node: a mixnode, or a compute node that runs tasks.
    ///
    /// A compute node runs every task that reaches it through the mixnet, in its sandbox: nobody is
    /// asked for a permission yet, so join only fogs you trust.
    Node(NodeArguments),
    /// Run the coordinator of a fog.
    ///
    /// Exit codes: 1 for files and addresses that cannot be used, 2 for arguments that make no sense.
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// Say who may use a fog.
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(flatten)]
    Ask(AskCommand),
    /// Run a mixnode of a network with a signed topology file, over UDP.
    ///
    /// SIGINT and SIGTERM end it after it has sent what it holds; SIGHUP reads the configuration
    /// and its topologies again.
    Mixnode(MixnodeArguments),
    /// Use a network of mixnodes.
    #[command(subcommand)]
    Mix(MixCommand),
    /// Choose which nodes take which jobs.
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Keep credits in a ledger file.
    ///
    /// Exit codes: 1 for files that are not read, not written or not sound, 2 for arguments that
    /// make no sense, 3 for what the ledger's rules refuse.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Govern a ledger: propose, vote, delegate, execute.
    ///
    /// Exit codes: 1 for files that are not read, not written or not sound, 2 for arguments that
    /// make no sense, 3 for what the rules refuse.
    #[command(subcommand)]
    Dao(DaoCommand),
    /// Run one task here: a WebAssembly module with an input, in the sandbox.
    ///
    /// Its output goes to the standard output, its log to the standard error. Exit codes: 1 for files
    /// that are not read or written, 2 for arguments that make no sense, 3 for a task that failed.
    Run(RunArguments),
    /// Keep tasks in a file, and do them on this device when its owner permits.
    ///
    /// Exit codes: 1 for files that are not read, not written or not sound, 2 for arguments that
    /// make no sense, 3 for tasks that are not there, have no output, or have none yet.
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Talk in a mesh: to everybody near, to one peer, in groups; send files.
    ///
    /// Lines from the standard input are said to everybody; those that begin with a slash are commands,
    /// and /help lists them. The end of the input, /quit, SIGINT and SIGTERM end it.
    Chat(ChatArguments),
    /// Say what this device would lend, and why.
    ///
    /// Exit codes: 1 for files that are not read or not sound and for a device that cannot be read,
    /// 2 for arguments that make no sense.
    #[command(subcommand)]
    Harvest(HarvestCommand),
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// Place the jobs of one file on the nodes of another, and print where each goes.
    ///
    /// Both are arrays in JSON, or tables if their names end in .csv; jobs may also be a log in the
    /// Standard Workload Format, ending in .swf. Exit codes: 1 for files that are not read or make no sense, 2 for arguments that
    /// make none, 3 if no placement of all jobs was found.
    Place(PlaceArguments),
    /// Print the JSON Schema of such a file.
    Schema {
        /// Which file.
        #[arg(value_enum)]
        of: Kind,
    },
}

#[derive(Debug, Subcommand)]
enum MixCommand {
    /// Send packets over random routes and back, and say how long they took.
    Ping(PingArguments),
    /// Send a message from the standard input to a client, until it is acknowledged.
    Send(SendArguments),
    /// Print the contact of a new client, then the messages that come to it, a line end after each.
    ///
    /// SIGINT and SIGTERM end it.
    Receive(ReceiveArguments),
    /// Sign a topology that was written by hand, and print it.
    ///
    /// The form is that of the lines before the signature; `fogcompute mixnode --new-key` prints a
    /// node's line of it.
    Sign {
        /// The authority's secret key, 64 hexadecimal digits; made if the file is not there.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The topology.
        #[arg(long, value_name = "FILE")]
        topology: PathBuf,
    },
}

#[derive(Args, Debug)]
struct NetworkArguments {
    /// The network's topology file; again for that of the next epoch. The one that is valid counts.
    #[arg(long, value_name = "FILE", required = true)]
    topology: Vec<PathBuf>,
    /// Whose signature it has, 64 hexadecimal digits.
    #[arg(long, value_name = "KEY")]
    authority: NodeId,
    /// Where the nodes of the last layer can send packets to.
    #[arg(long, default_value = "0.0.0.0:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

impl From<NetworkArguments> for NetworkConfig {
    fn from(arguments: NetworkArguments) -> Self {
        Self {
            topologies: arguments.topology,
            authority: arguments.authority,
            listen: arguments.listen,
        }
    }
}

#[derive(Debug, Parser)]
struct SendArguments {
    #[command(flatten)]
    network: NetworkArguments,
    /// Whom to, as `fogcompute mix receive` prints it.
    #[arg(long, value_name = "CONTACT")]
    to: Contact,
    /// Ask for an answer, and print it.
    #[arg(long)]
    reply: bool,
    /// Most bytes of the answer.
    #[arg(long, default_value_t = 1000, value_name = "BYTES")]
    reply_bytes: usize,
    /// Milliseconds to wait for the acknowledgement or the answer.
    #[arg(long, default_value_t = 60_000)]
    timeout_ms: u64,
}

#[derive(Debug, Parser)]
struct ReceiveArguments {
    #[command(flatten)]
    network: NetworkArguments,
    /// End after so many messages.
    #[arg(long)]
    count: Option<u64>,
    /// Answer messages that want an answer with this.
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
}

#[derive(Debug, Parser)]
struct PingArguments {
    #[command(flatten)]
    network: NetworkArguments,
    /// Packets to send.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Milliseconds between two packets.
    #[arg(long, default_value_t = 200)]
    interval_ms: u64,
    /// Milliseconds to wait for the last ones.
    #[arg(long, default_value_t = 2_000)]
    timeout_ms: u64,
}

#[derive(Debug, Parser)]
struct MixnodeArguments {
    /// The configuration: listen, data, topology, authority; optional: next_topology, workers,
    /// metrics, replay_tags_max, drain_seconds, and a table cover with loop_mean_ms.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Make a mix key in place of all there are, but for an unused one of the next topology, print
    /// the line that the topology needs, and end.
    #[arg(long, group = "instead")]
    new_key: bool,
    /// Make a mix key beside those of the topologies, print the line that the topology of the next
    /// epoch needs, and end. The node may run.
    #[arg(long, group = "instead")]
    next_key: bool,
    /// Measure how many packets a second this machine can mix, print it, and end.
    #[arg(long, group = "instead")]
    self_test: bool,
    /// Print the self-test as JSON.
    #[arg(long, requires = "self_test")]
    json: bool,
}

#[derive(Debug, Parser)]
struct PlaceArguments {
    /// The jobs. Ids are hexadecimal, or in JSON any other text as a name.
    #[arg(value_name = "JOBS")]
    jobs: PathBuf,
    /// The nodes.
    #[arg(value_name = "NODES")]
    nodes: PathBuf,
    /// How jobs share a node.
    #[arg(long, value_enum, default_value_t = SharingName::Concurrent)]
    sharing: SharingName,
    /// How to place: nsga_ii, latency_first, load_balance, trust_first, cost_optimize, round_robin,
    /// bin_pack, topology_spread.
    ///
    /// The first searches for placements that no other beats in every objective, and chooses one;
    /// the others make one placement, in one pass.
    #[arg(long, default_value_t = Name::NsgaIi, value_name = "NAME")]
    strategy: Name,
    /// Which of the placements found to choose: knee, or objectives in the order in which they
    /// count, separated by commas, or weights as OBJECTIVE=WEIGHT.
    ///
    /// The knee is nearest to the best of every objective. The objectives are completion_ms,
    /// imbalance, distrust, cost, price; what is not named comes last, or weighs nothing.
    #[arg(long, default_value = "knee", value_name = "CHOICE", value_parser = preference)]
    prefer: Preference,
    /// Leave out what does not fit, and say why, instead of placing nothing. For nsga_ii alone.
    #[arg(long)]
    what_fits: bool,
    /// Placements kept from one generation of nsga_ii to the next: even, 4 to 65536.
    #[arg(
        long,
        default_value_t = Nsga2::default().population,
        value_parser = clap::value_parser!(u32).range(4..=65_536)
    )]
    population: u32,
    /// Generations of nsga_ii.
    #[arg(long, default_value_t = Nsga2::default().generations)]
    generations: u32,
    /// Seed of nsga_ii: 0 to 2⁶⁴ − 1. The same seed gives the same placement.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Say what the placement gives up against the best found in each objective.
    #[arg(long)]
    explain: bool,
    /// Print one JSON object with all placements found.
    ///
    /// {"ok": true, …}, or {"ok": false, "kind": …, "error": …}. Kinds: arguments, file, invalid,
    /// infeasible, output.
    #[arg(long)]
    json: bool,
    /// Draw the placements found, and how busy the chosen one makes each node, as SVG.
    ///
    /// Where nothing fits, nothing is drawn.
    #[arg(long, value_name = "FILE.svg", value_parser = picture)]
    plot: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum SharingName {
    /// All run at once: together they must fit what is free.
    Concurrent,
    /// They queue: each alone must fit what is free.
    Queued,
}

/// Reads a preference among placements.
fn preference(text: &str) -> Result<Preference, String> {
    if text == "knee" {
        return Ok(Preference::Knee);
    }
    let mut named: Vec<(usize, Option<f64>)> = Vec::with_capacity(OBJECTIVE_COUNT);
    for part in text.split(',') {
        let (name, weight) = match part.split_once('=') {
            Some((name, weight)) => (name.trim(), Some(weight.trim())),
            None => (part.trim(), None),
        };
        let Some(objective) = OBJECTIVE_NAMES.iter().position(|known| *known == name) else {
            let known = OBJECTIVE_NAMES.join(", ");
            return Err(format!("{name:?} is no objective; there are {known}"));
        };
        if named.iter().any(|&(other, _)| other == objective) {
            return Err(format!("{name} is named twice"));
        }
        let weight = match weight {
            Some(weight) => {
                let weight = weight.parse::<f64>().ok();
                let weight = weight.filter(|weight| weight.is_finite() && *weight >= 0.0);
                Some(weight.ok_or_else(|| format!("the weight of {name} is no number from 0"))?)
            }
            None => None,
        };
        named.push((objective, weight));
    }
    let preference = if named.iter().any(|(_, weight)| weight.is_some()) {
        let mut weights = [0.0; OBJECTIVE_COUNT];
        for (objective, weight) in named {
            let name = OBJECTIVE_NAMES[objective];
            weights[objective] = weight.ok_or_else(|| format!("{name} has no weight"))?;
        }
        Preference::Weights(weights)
    } else {
        let mut order: Vec<usize> = named.iter().map(|&(objective, _)| objective).collect();
        for other in 0..OBJECTIVE_COUNT {
            if !order.contains(&other) {
                order.push(other);
            }
        }
        let mut all = [0; OBJECTIVE_COUNT];
        all.copy_from_slice(&order);
        Preference::Lexicographic(all)
    };
    preference.validate().map_err(|error| error.to_string())?;
    Ok(preference)
}

/// Reads where a picture is to be written.
pub(crate) fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().and_then(|ending| ending.to_str());
    if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
        Ok(path)
    } else {
        Err("pictures are SVG: the name must end in .svg".to_owned())
    }
}

#[derive(Debug, Parser)]
struct DemoArguments {
    /// Width of the picture in pixels, 60 to 8192; it is two thirds as high.
    #[arg(
        long,
        default_value_t = 1200,
        value_parser = clap::value_parser!(u32).range(i64::from(WIDTH_MIN)..=i64::from(WIDTH_MAX))
    )]
    width: u32,
    /// Compute nodes to start, 2 to 32.
    ///
    /// Each lends its part of what the harvest policy lends of this machine.
    #[arg(
        long,
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(i64::from(NODES_MIN)..=i64::from(NODES_MAX))
    )]
    nodes: u16,
    /// Tiles to cut the picture into, 2 to 2000.
    ///
    /// No fewer than there are nodes, no more than the picture has rows, and enough that none has
    /// more than 2²⁰ pixels.
    #[arg(
        long,
        default_value_t = 24,
        value_parser = clap::value_parser!(u32).range(i64::from(TILES_MIN)..=i64::from(TILES_MAX))
    )]
    tiles: u32,
    /// Seed of the prices, and of the optimiser's and the killer's draws: 0 to 2⁶⁴ − 1.
    ///
    /// The killer draws what it kills, and how many tiles are back when it does. Measured speeds and
    /// timing are another with every run, so the placement and the compute node that is killed may be
    /// too; keys, routes and delays always are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which process is killed on the way, at a moment that the seed draws.
    ///
    /// Whatever else ends, whoever ended it, is started again, the coordinator from its files; a compute
    /// node that was killed so stays away.
    #[arg(long, value_enum, default_value_t = Kill::Compute)]
    kill: Kill,
    /// Who decides whether nodes lend: their harvest policy, or nobody.
    #[arg(long, value_enum, default_value_t = DemoPolicy::Default)]
    policy: DemoPolicy,
    /// Keep the processes' databases and logs.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object instead of an account for people.
    ///
    /// {"ok": true, …} is the report; {"ok": false, "kind": …, "error": …} says what went wrong,
    /// with the exit code of the command. Kinds: arguments, coordinator, file, interrupted,
    /// job_timeout, node, node_ended, nobody_lends, output, runtime, start_timeout, tile_failed,
    /// unbalanced, wrong_picture.
    #[arg(long)]
    json: bool,
    /// Folder to write fog.png and report.html into; made if it is not there.
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum DemoPolicy {
    /// The default harvest policy decides, but at any hour: who runs a demonstration is awake.
    Default,
    /// Lend whatever the policy says.
    Always,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Policy {
    /// The default harvest policy decides. It lends from 22:00 to 07:00.
    Default,
    /// The same at any hour, over any network, and beside any work of the owner's that leaves
    /// something.
    AnyHour,
    /// Lend whatever the policy says.
    Always,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum RoleName {
    /// Mixes packets.
    Mix,
    /// Runs tasks.
    Compute,
}

#[derive(Debug, Parser)]
struct NodeArguments {
    /// What the node does.
    #[arg(long, value_enum)]
    role: RoleName,
    /// Mix layer, from 0. For mixnodes only.
    #[arg(long, required_if_eq("role", "mix"), value_parser = clap::value_parser!(u8).range(0..4))]
    layer: Option<u8>,
    /// The file fog.toml of the coordinator's data, which says where and who it is.
    #[arg(long, value_name = "FILE", required_unless_present = "coordinator")]
    fog: Option<PathBuf>,
    /// Where the coordinator accepts links.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        requires = "coordinator_id",
        conflicts_with = "fog"
    )]
    coordinator: Option<SocketAddr>,
    /// The coordinator's node id, 64 hexadecimal digits.
    #[arg(long, value_name = "ID", requires = "coordinator")]
    coordinator_id: Option<NodeId>,
    /// Where to accept links; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where to keep the node's key and results.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Who decides whether to lend.
    #[arg(long, value_enum, default_value_t = Policy::Default)]
    policy: Policy,
    /// Nodes that share this machine, 1 to 65535: this one lends its part of what the policy lends.
    ///
    /// A part of less than a processor is promised as one processor of that part of the speed. Start
    /// them in one process group, or each takes the others' load for the owner's.
    #[arg(long, default_value = "1", value_name = "COUNT")]
    nodes_on_machine: NonZeroU16,
    /// Base units (10⁻¹⁸ credits) asked for 10⁹ fuel.
    #[arg(long, default_value = "1000000000000000000", value_name = "AMOUNT")]
    price: Amount,
    /// Milliseconds between two readings of the device.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(10..=90_000))]
    heartbeat_ms: u64,
    /// End with the link to the coordinator instead of dialling again.
    #[arg(long)]
    exit_with_coordinator: bool,
    /// End when the standard input ends, as it does with the process that holds its other end.
    #[arg(long)]
    end_with_input: bool,
}

impl NodeArguments {
    /// Where the coordinator is, and who.
    fn whom(&self) -> Result<(SocketAddr, NodeId), FogCommandError> {
        // One without the other is refused with the arguments.
        if let (Some(address), Some(id)) = (self.coordinator, self.coordinator_id) {
            return Ok((address, id));
        }
        let fog = FogFile::read(self.fog.as_deref().unwrap_or(Path::new("fog.toml")))?;
        Ok((fog.address, fog.coordinator))
    }
}

/// Runs the command with `args` (the program's name first) and returns its exit code: 0 when all
/// went well, 1 when it did not, 2 for arguments that make no sense, 3 for what was understood and
/// cannot be (a placement, a transfer), 130 when interrupted.
///
/// `node_command` is how another process of this same command is started.
pub fn main_with(args: Vec<OsString>, node_command: Vec<OsString>) -> i32 {
    // Whoever reads JSON reads it of arguments that make no sense as well.
    let json_asked = args.get(1).is_some_and(|task| {
        [
            "demo", "schedule", "ledger", "dao", "harvest", "token", "submit", "status", "result",
            "logs", "cancel", "drain", "undrain", "watch", "topology", "top",
        ]
        .iter()
        .any(|json| task == json)
    }) && args.iter().any(|argument| argument == "--json");
    let arguments = match Arguments::try_parse_from(args).and_then(checked) {
        Ok(arguments) => arguments,
        Err(error) => {
            if let Err(unsaid) = error.print()
                && !error.use_stderr()
                && unsaid.kind() != io::ErrorKind::BrokenPipe
            {
                // What was asked for was to be told.
                return failed(&NodeError::io("writing to the standard output", unsaid));
            }
            if json_asked && error.use_stderr() {
                print_failure("arguments", error.render().to_string().trim_end());
            }
            return error.exit_code();
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = NodeError::io("starting the asynchronous runtime", source);
            if json_asked {
                print_failure("runtime", &with_causes(&error));
            }
            return failed(&error);
        }
    };
    match arguments.command {
        Command::Demo(arguments) => {
            let config = DemoConfig {
                width: arguments.width,
                nodes: arguments.nodes,
                tiles: arguments.tiles,
                seed: arguments.seed,
                kill: arguments.kill,
                policy_always: arguments.policy == DemoPolicy::Always,
                keep: arguments.keep,
                json: arguments.json,
                out: arguments.out,
                node_command,
            };
            match runtime.block_on(run_demo(config)) {
                Ok(()) => 0,
                Err(error) => {
                    if arguments.json {
                        print_failure(error.kind(), &with_causes(&error));
                    }
                    let code = failed(&error);
                    match error {
                        DemoError::Interrupted => 130,
                        DemoError::Range { .. } | DemoError::TileTooLarge { .. } => 2,
                        _ => code,
                    }
                }
            }
        }
        Command::Coordinator(command) => match runtime.block_on(fogs::coordinate(&command)) {
            Ok(()) => 0,
            Err(error) => {
                failed(&error);
                error.exit_code()
            }
        },
        Command::Token(command) => fog_command(fogs::token(&command), command.json()),
        Command::Ask(command) => fog_command(runtime.block_on(fogs::ask(&command)), command.json()),
        Command::Mixnode(arguments) => {
            let done = if arguments.new_key {
                mixnode::new_key(&arguments.config, mixnode::NewKey::Only)
            } else if arguments.next_key {
                mixnode::new_key(&arguments.config, mixnode::NewKey::Next)
            } else if arguments.self_test {
                mixnode::self_test(&arguments.config, arguments.json)
            } else {
                runtime.block_on(mixnode::run(&arguments.config))
            };
            match done {
                Ok(()) => 0,
                Err(error) => failed(&error),
            }
        }
        Command::Mix(MixCommand::Ping(arguments)) => {
            let config = PingConfig {
                network: arguments.network.into(),
                count: arguments.count,
                interval: Duration::from_millis(arguments.interval_ms),
                timeout: Duration::from_millis(arguments.timeout_ms),
            };
            match runtime.block_on(ping(config)) {
                Ok(()) => 0,
                Err(error) => failed(&error),
            }
        }
        Command::Mix(MixCommand::Send(arguments)) => {
            let bytes_max = arguments.reply_bytes;
            let wanted = arguments.reply.then_some(Wanted { bytes_max });
            let within = Duration::from_millis(arguments.timeout_ms);
            let sending = messages::send(arguments.network.into(), arguments.to, wanted, within);
            match runtime.block_on(sending) {
                Ok(()) => 0,
                Err(error) => failed(&error),
            }
        }
        Command::Mix(MixCommand::Receive(arguments)) => {
            let ReceiveArguments {
                network,
                count,
                answer,
            } = arguments;
            match runtime.block_on(messages::receive(network.into(), count, answer)) {
                Ok(()) => 0,
                Err(error) => failed(&error),
            }
        }
        Command::Mix(MixCommand::Sign { key, topology }) => match mixnode::sign(&key, &topology) {
            Ok(()) => 0,
            Err(error) => failed(&error),
        },
        Command::Schedule(ScheduleCommand::Schema { of }) => {
            match placing::print(&placing::schema(of)) {
                Ok(()) => 0,
                Err(error) => failed(&error),
            }
        }
        Command::Schedule(ScheduleCommand::Place(arguments)) => {
            let config = PlacingConfig {
                jobs: arguments.jobs,
                nodes: arguments.nodes,
                sharing: match arguments.sharing {
                    SharingName::Concurrent => Sharing::Concurrent,
                    SharingName::Queued => Sharing::Queued,
                },
                strategy: arguments.strategy,
                preference: arguments.prefer,
                what_fits: arguments.what_fits,
                search: Nsga2 {
                    population: arguments.population,
                    generations: arguments.generations,
                    ..Nsga2::default()
                },
                seed: arguments.seed,
                explain: arguments.explain,
                json: arguments.json,
                plot: arguments.plot,
            };
            match placing::place(&config).and_then(|said| placing::print(&said)) {
                Ok(()) => 0,
                Err(error) => {
                    if config.json {
                        print_failure(error.kind(), &with_causes(&error));
                    }
                    failed(&error);
                    error.exit_code()
                }
            }
        }
        Command::Ledger(command) => {
            match ledger::run(&command, &SystemClock::new(), &mut OsEntropy) {
                Ok(()) => 0,
                Err(error) if error.is_reader_gone() => reader_gone(error.did()),
                Err(error) => {
                    if command.json() {
                        print_failure(error.kind(), &with_causes(&error));
                    }
                    failed(&error);
                    error.exit_code()
                }
            }
        }
        Command::Dao(command) => match dao::run(&command, &SystemClock::new(), &mut OsEntropy) {
            Ok(()) => 0,
            Err(error) if error.is_reader_gone() => reader_gone(error.did()),
            Err(error) => {
                if command.json() {
                    print_failure(error.kind(), &with_causes(&error));
                }
                failed(&error);
                error.exit_code()
            }
        },
        Command::Run(arguments) => match run::run(&arguments) {
            Ok(()) => 0,
            Err(error) => {
                failed(&error);
                error.exit_code()
            }
        },
        Command::Worker(command) => match runtime.block_on(tasks::run(&command)) {
            Ok(()) => 0,
            Err(error) if error.is_reader_gone() => 0,
            Err(error) => {
                if command.json() {
                    print_failure(error.kind(), &with_causes(&error));
                }
                failed(&error);
                error.exit_code()
            }
        },
        Command::Chat(arguments) => match runtime.block_on(chat::run(arguments)) {
            Ok(()) => 0,
            Err(error) if error.is_reader_gone() => 0,
            Err(error) => failed(&error),
        },
        Command::Harvest(command) => match harvest::run(&command) {
            Ok(()) => 0,
            Err(error) if error.is_reader_gone() => 0,
            Err(error) => {
                if command.json() {
                    print_failure(error.kind(), &with_causes(&error));
                }
                failed(&error)
            }
        },
        Command::Node(arguments) => {
            let role = match (arguments.role, arguments.layer) {
                (RoleName::Mix, layer) => Role::Mix {
                    layer: layer.unwrap_or(0),
                },
                (RoleName::Compute, _) => Role::Compute,
            };
            let (coordinator, coordinator_id) = match arguments.whom() {
                Ok(whom) => whom,
                Err(error) => return failed(&error),
            };
            let config = NodeConfig {
                role,
                coordinator,
                coordinator_id,
                listen: arguments.listen,
                data: arguments.data,
                policy: match arguments.policy {
                    Policy::Default => HarvestPolicy::default(),
                    // Who runs a demonstration is awake and asked for it, and its nodes talk among
                    // themselves on one machine.
                    Policy::AnyHour => HarvestPolicy {
                        window: None,
                        allow_metered: true,
                        owner_load_max: 1.0,
                        owner_load_start_max: 1.0,
                        ..HarvestPolicy::default()
                    },
                    Policy::Always => HarvestPolicy::always(),
                },
                nodes_on_machine: arguments.nodes_on_machine,
                price_per_gigafuel: arguments.price,
                heartbeat: Duration::from_millis(arguments.heartbeat_ms),
                exit_with_coordinator: arguments.exit_with_coordinator,
            };
            let run = async {
                tokio::select! {
                    ended = run_node(config) => ended,
                    () = input_ended(), if arguments.end_with_input => Ok(()),
                }
            };
            match runtime.block_on(run) {
                Ok(()) => 0,
                Err(error) => failed(&error),
            }
        }
    }
}

fn fog_command(done: Result<(), FogCommandError>, json: bool) -> i32 {
    match done {
        Ok(()) => 0,
        Err(error) if error.is_reader_gone() => 0,
        Err(error) => {
            if json {
                print_failure(error.kind(), &with_causes(&error));
            }
            failed(&error);
            error.exit_code()
        }
    }
}

/// Refuses what each argument allows and all together do not.
fn checked(arguments: Arguments) -> Result<Arguments, clap::Error> {
    if let Command::Schedule(ScheduleCommand::Place(place)) = &arguments.command
        && place.what_fits
        && place.strategy != Name::NsgaIi
    {
        return Err(Arguments::command().error(
            ErrorKind::ArgumentConflict,
            "--what-fits is for --strategy nsga_ii",
        ));
    }
    if let Command::Node(node) = &arguments.command
        && node.role == RoleName::Compute
        && node.layer.is_some()
    {
        return Err(Arguments::command().error(
            ErrorKind::ArgumentConflict,
            "--layer is for --role mix: compute nodes stand in no mix layer",
        ));
    }
    Ok(arguments)
}

/// Says what went wrong, with its causes, and gives the exit code for it.
fn failed(error: &(dyn std::error::Error + 'static)) -> i32 {
    let _ = writeln!(io::stderr(), "error: {}", with_causes(error));
    1
}

/// Nobody reads what the command says, which is no failure; what it did is told all the same.
fn reader_gone(did: Option<&str>) -> i32 {
    if let Some(did) = did {
        let _ = writeln!(io::stderr(), "{did}");
    }
    0
}

/// Prints a failure for programs. Whether it can be read or not, the exit code
/// and the standard error say the same.
fn print_failure(kind: &'static str, error: &str) {
    let failure = serde_json::json!({"ok": false, "kind": kind, "error": error});
    let _ = writeln!(io::stdout(), "{failure}");
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Transparent errors repeat their cause.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    // What files and peers say may be in it: nothing of that controls a terminal.
    let shown = text.chars().map(|c| match c {
        '\n' => "\n".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(role_and_layer: &str) -> Result<Arguments, clap::Error> {
        let id = "00".repeat(32);
        let line = format!(
            "fogcompute node --coordinator 127.0.0.1:9 --coordinator-id {id} --data d --role \
             {role_and_layer}"
        );
        Arguments::try_parse_from(line.split_whitespace()).and_then(checked)
    }

    #[test]
    fn numbers_of_the_demonstration_say_their_range() {
        // Some were refused only by the demonstration itself, and the help named no range.
        let mut command = Arguments::command();
        let demo = command.find_subcommand_mut("demo").unwrap();
        let help = demo.render_long_help().to_string();
        for (option, min, max) in [
            ("--width", WIDTH_MIN, WIDTH_MAX),
            ("--nodes", NODES_MIN.into(), NODES_MAX.into()),
            ("--tiles", TILES_MIN, TILES_MAX),
        ] {
            assert!(help.contains(&format!(", {min} to {max}")), "{option}");
            for outside in [min - 1, max + 1] {
                let outside = outside.to_string();
                let refused = Arguments::try_parse_from(["fogcompute", "demo", option, &outside])
                    .unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ValueValidation);
                assert!(refused.to_string().contains(&format!("{min}..={max}")));
            }
            for inside in [min, max] {
                let inside = inside.to_string();
                assert!(Arguments::try_parse_from(["fogcompute", "demo", option, &inside]).is_ok());
            }
        }
        let pixels = fogcompute_base::limits::OUTPUT_BYTES_MAX;
        assert!(pixels == 1 << 20 && help.contains("2²⁰ pixels"));
    }

    #[test]
    fn a_layer_is_for_mixnodes_which_need_one() {
        assert!(parse("mix --layer 3").is_ok());
        assert!(parse("compute").is_ok());
        let refused = parse("compute --layer 3").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ArgumentConflict);
        assert!(parse("mix").is_err());
        assert!(parse("mix --layer 4").is_err());
    }

    #[test]
    fn a_mixnode_is_asked_for_one_thing_at_a_time() {
        let parse = |options: &str| {
            let line = format!("fogcompute mixnode --config c {options}");
            Arguments::try_parse_from(line.split_whitespace())
        };
        for sound in ["", "--new-key", "--next-key", "--self-test --json"] {
            assert!(parse(sound).is_ok(), "{sound}");
        }
        for refused in ["--new-key --next-key", "--self-test --new-key", "--json"] {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_preference_is_the_knee_an_order_or_weights() {
        let last = OBJECTIVE_COUNT - 1;
        assert_eq!(preference("knee"), Ok(Preference::Knee));
        let order = preference("price, cost").unwrap();
        assert_eq!(order, Preference::Lexicographic([last, 3, 0, 1, 2]));
        let weights = preference("cost=2,distrust=0.5").unwrap();
        assert_eq!(weights, Preference::Weights([0.0, 0.0, 0.5, 2.0, 0.0]));
        for (refused, why) in [
            (
                "speed",
                "\"speed\" is no objective; there are completion_ms",
            ),
            ("", "no objective"),
            ("cost,cost", "cost is named twice"),
            ("cost=1,price", "price has no weight"),
            ("cost=much", "the weight of cost is no number"),
            ("cost=-1", "the weight of cost is no number from 0"),
            ("cost=1,cost=2", "cost is named twice"),
            ("cost=0", "all weights are zero"),
        ] {
            let told = preference(refused).unwrap_err();
            assert!(told.contains(why), "{refused}: {told}");
        }
    }

    #[test]
    fn a_picture_is_svg() {
        assert!(picture("a/b.SVG").is_ok());
        for other in ["a.png", "jobs.json", "/dev/full", "svg"] {
            assert!(picture(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_told_does_not_control_a_terminal() {
        let error = io::Error::other("unknown field `\u{1b}[2J`");
        assert_eq!(with_causes(&error), "unknown field `\\u{1b}[2J`");
    }
}
