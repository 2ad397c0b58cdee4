//! The demonstration: a private fog of processes on this machine that computes a picture.

mod account;
mod picture;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fogcompute_base::{
    AccountId, Clock, Digest, Instant, JobId, NodeId, OsEntropy, Rng, SystemClock, TaskId,
};
use fogcompute_coord::{Config, Event, JobSpec, TaskOrder};
use fogcompute_exec::{Limits, TaskSpec};
use fogcompute_ledger::Amount;
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::{OBJECTIVE_NAMES, Plan};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use thiserror::Error;
use tokio::process::{Child, Command};

use self::account::{describe_device, record, status, words};
use self::picture::{encode_png, estimate_fuel};
use crate::coordinate::{CoordinatorConfig, CoordinatorService, Update};
use crate::error::NodeError;
use crate::mandelbrot::{MODULE, View};
use crate::protocol::Role;
use crate::report::{Attempt, AttemptResult, Front, Moment, Picture, Report, Tile};
use crate::report_page;
use crate::serve::asked_to_stop;

/// Mix layers of the demonstration, and mixnodes in each.
const LAYERS: u8 = 3;
const MIXNODES_PER_LAYER: u8 = 2;

/// Credits the owner of the fog starts with.
const ENDOWMENT: Amount = Amount::from_credits(1000);

/// How long processes may take to start and join, and the job to end.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const JOB_TIMEOUT: Duration = Duration::from_secs(600);

/// Least compute nodes: one is killed, and the fog must go on.
pub(crate) const NODES_MIN: u16 = 2;
/// Most compute nodes.
pub(crate) const NODES_MAX: u16 = 32;
/// Least width of the picture, in pixels.
pub(crate) const WIDTH_MIN: u32 = 60;
/// Most width of the picture, in pixels.
pub(crate) const WIDTH_MAX: u32 = 8192;

/// What is demonstrated.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Width of the picture in pixels; it is two thirds as high.
    pub width: u32,
    /// Compute nodes.
    pub nodes: u16,
    /// Tiles the picture is cut into.
    pub tiles: u32,
    /// Seed of the placement, the prices and the choice of the node that is killed.
    pub seed: u64,
    /// Whether the nodes' harvest policies are overruled.
    pub policy_always: bool,
    /// Whether the processes' directory is kept.
    pub keep: bool,
    /// Whether the report is printed as JSON instead of an account for people.
    pub json: bool,
    /// Where the picture and the page are written.
    pub out: PathBuf,
    /// How another process of this command is started.
    pub node_command: Vec<OsString>,
}

/// Why a demonstration did not end well.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum DemoError {
    /// A parameter is outside its range.
    #[error("{name} is {value}, must be {min} to {max}")]
    Range {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// One tile's pixels are more than a task may return.
    #[error("a tile of {actual} bytes exceeds what a task may return ({limit}); use more tiles")]
    TileTooLarge {
        /// Bytes of the largest tile.
        actual: u64,
        /// Most bytes.
        limit: u64,
    },
    /// The coordinator or a node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A file or process.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A node's process ended by itself.
    #[error("{node} ended by itself ({status}); it wrote:\n{log}")]
    NodeEnded {
        /// Its name.
        node: String,
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The processes did not join in time.
    #[error("only {joined} of {expected} nodes joined within {seconds} s")]
    StartTimeout {
        /// How many did.
        joined: usize,
        /// How many were started.
        expected: usize,
        /// The limit.
        seconds: u64,
    },
    /// Nobody lends compute.
    #[error(
        "no node lends compute: the harvest policy says no on this machine ({reasons}); \
         run again with --policy always to overrule it"
    )]
    NobodyLends {
        /// What the policies objected to.
        reasons: String,
    },
    /// The job did not end in time.
    #[error("the job did not end within {seconds} s: {done} of {tiles} tiles done")]
    JobTimeout {
        /// The limit.
        seconds: u64,
        /// Tiles done.
        done: usize,
        /// Tiles of the job.
        tiles: usize,
    },
    /// A tile was not computed.
    #[error("tile {tile} failed: {reason}")]
    TileFailed {
        /// Which.
        tile: usize,
        /// Why.
        reason: String,
    },
    /// The fog's picture is not the native one.
    #[error("the fog's picture {fog} differs from the native render {native}")]
    WrongPicture {
        /// Digest of the fog's pixels.
        fog: Digest,
        /// Digest of the native pixels.
        native: Digest,
    },
    /// The ledger does not balance.
    #[error("the ledger's accounts sum to {sum} base units, not to zero")]
    Unbalanced {
        /// The sum.
        sum: String,
    },
    /// Ctrl-C, or a termination signal.
    #[error("stopped on request; every process was ended and nothing is left behind")]
    Interrupted,
}

/// Runs the demonstration.
///
/// # Errors
/// [`DemoError`]; every process is ended and, unless kept, their directory removed in every case.
pub async fn run_demo(config: DemoConfig) -> Result<(), DemoError> {
    config.check()?;
    let directory = tempfile::Builder::new()
        .prefix("fogcompute-demo-")
        .tempdir()
        .map_err(|source| file_error("creating", &std::env::temp_dir(), source))?;
    let mut demo = Demo::new(config, directory.path().to_owned());
    // The signals first: once anything is printed, they are already listened for.
    let done = tokio::select! {
        biased;
        () = asked_to_stop() => Err(DemoError::Interrupted),
        done = demo.run() => done,
    };
    demo.end_processes().await;
    if demo.config.keep {
        let kept = directory.keep();
        demo.say(&format!("kept the processes' files in {}", kept.display()));
    }
    done
}

impl DemoConfig {
    fn check(&self) -> Result<(), DemoError> {
        let range = |name, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(DemoError::Range {
                    name,
                    value,
                    min,
                    max,
                })
            }
        };
        range(
            "--width",
            self.width.into(),
            WIDTH_MIN.into(),
            WIDTH_MAX.into(),
        )?;
        range(
            "--nodes",
            self.nodes.into(),
            NODES_MIN.into(),
            NODES_MAX.into(),
        )?;
        let height = self.view().height;
        range(
            "--tiles",
            self.tiles.into(),
            u64::from(self.nodes),
            height.min(2000).into(),
        )?;
        let rows = u64::from(height.div_ceil(self.tiles));
        let limit = fogcompute_base::limits::OUTPUT_BYTES_MAX as u64;
        let actual = rows * u64::from(self.width);
        if actual > limit {
            return Err(DemoError::TileTooLarge { actual, limit });
        }
        Ok(())
    }

    fn view(&self) -> View {
        View {
            width: self.width,
            height: self.width * 2 / 3,
            ..View::default()
        }
    }
}

/// Writes a line to the standard output. A reader that has gone away stops nothing.
fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> DemoError {
    DemoError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

struct Process {
    name: String,
    role: Role,
    data: PathBuf,
    child: Child,
    pid: Option<u32>,
    node: Option<NodeId>,
    killed: bool,
}

struct TileRun {
    task: TaskId,
    row_start: u32,
    row_count: u32,
    attempts: Vec<Attempt>,
    pixels: Option<Vec<u8>>,
}

struct Demo {
    config: DemoConfig,
    directory: PathBuf,
    clock: SystemClock,
    began: Instant,
    submitted: Option<Instant>,
    processes: Vec<Process>,
    tiles: Vec<TileRun>,
    events: Vec<(Instant, String)>,
    plan: Option<Plan>,
    bar: ProgressBar,
}

impl Demo {
    fn new(config: DemoConfig, directory: PathBuf) -> Self {
        let clock = SystemClock::new();
        let bar = ProgressBar::with_draw_target(
            Some(u64::from(config.tiles)),
            if config.json {
                ProgressDrawTarget::hidden()
            } else {
                ProgressDrawTarget::stderr()
            },
        );
        if let Ok(style) = ProgressStyle::with_template("  {bar:32} {pos}/{len} tiles  {msg}") {
            bar.set_style(style);
        }
        Self {
            config,
            directory,
            began: clock.now(),
            clock,
            submitted: None,
            processes: Vec::new(),
            tiles: Vec::new(),
            events: Vec::new(),
            plan: None,
            bar,
        }
    }

    /// Tells people something, above the progress bar, and keeps it for the page.
    fn say(&mut self, text: &str) {
        self.events.push((self.clock.now(), text.to_owned()));
        if self.config.json {
            return;
        }
        // Without a terminal the bar draws nothing and would swallow what is printed above it.
        if std::io::stderr().is_terminal() {
            self.bar.suspend(|| print_line(text));
        } else {
            print_line(text);
        }
    }

    async fn run(&mut self) -> Result<(), DemoError> {
        let started = self.clock.unix_now();
        self.say(&format!(
            "fogcompute {}: a private fog on this machine, seed {}",
            env!("CARGO_PKG_VERSION"),
            self.config.seed
        ));
        let owner = AccountId::from_bytes(first_16(&Digest::derive(
            "fogcompute 2026-11 account: demo owner",
            &self.config.seed.to_be_bytes(),
        )));
        let mut fog = CoordinatorService::start(CoordinatorConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            ledger: self.directory.join("ledger.sqlite"),
            owner,
            endowment: ENDOWMENT,
            delay_mean: Duration::from_millis(5),
            layers: usize::from(LAYERS),
            seed: self.config.seed,
            rules: Config {
                nsga2: Nsga2 {
                    population: 50,
                    generations: 100,
                    ..Nsga2::default()
                },
                ..Config::default()
            },
        })
        .await?;
        self.start_processes(&fog)?;
        self.wait_until_joined(&mut fog).await?;
        self.tell_lending(&fog)?;
        self.submit(&mut fog, owner).await?;
        self.work(&mut fog).await?;
        let report = self.settle(&fog, owner, started.0)?;
        self.write(&report)
    }

    fn start_processes(&mut self, fog: &CoordinatorService) -> Result<(), DemoError> {
        // Operators ask different prices; which, is this demonstration's choice, by its seed.
        let mut rng = ChaCha20Rng::seed_from_u64(self.config.seed);
        for layer in 0..LAYERS {
            for index in 0..MIXNODES_PER_LAYER {
                let name = format!("mix {}{}", layer + 1, char::from(b'a' + index));
                let role = [
                    "--role".into(),
                    "mix".into(),
                    "--layer".into(),
                    layer.to_string(),
                ];
                self.start(fog, name, Role::Mix { layer }, &role)?;
            }
        }
        for index in 0..self.config.nodes {
            let millicredits = 500 + rng.next_u64() % 1000;
            let price = Amount(u128::from(millicredits) * 10_u128.pow(15));
            let args = [
                "--role".into(),
                "compute".into(),
                "--price".into(),
                price.to_string(),
                "--policy".into(),
                if self.config.policy_always {
                    "always"
                } else {
                    "default"
                }
                .into(),
            ];
            self.start(fog, format!("compute {}", index + 1), Role::Compute, &args)?;
        }
        let pids: Vec<_> = self
            .processes
            .iter()
            .filter_map(|process| process.pid.map(|pid| pid.to_string()))
            .collect();
        self.say(&format!(
            "started {} mixnodes in {LAYERS} layers and {} compute nodes as processes {}",
            LAYERS * MIXNODES_PER_LAYER,
            self.config.nodes,
            pids.join(" "),
        ));
        Ok(())
    }

    fn start(
        &mut self,
        fog: &CoordinatorService,
        name: String,
        role: Role,
        args: &[String],
    ) -> Result<(), DemoError> {
        let data = self.directory.join(name.replace(' ', "-"));
        std::fs::create_dir_all(&data).map_err(|source| file_error("creating", &data, source))?;
        let log_path = data.join("node.log");
        let log =
            File::create(&log_path).map_err(|source| file_error("creating", &log_path, source))?;
        let errors = log
            .try_clone()
            .map_err(|source| file_error("opening", &log_path, source))?;
        let (program, first) =
            self.config.node_command.split_first().ok_or_else(|| {
                NodeError::io("starting a node", std::io::ErrorKind::NotFound.into())
            })?;
        let coordinator = fog.descriptor();
        let child = Command::new(program)
            .args(first)
            .arg("node")
            .args(["--coordinator", &coordinator.address.to_string()])
            .args(["--coordinator-id", &coordinator.node.to_string()])
            .args(["--listen", "127.0.0.1:0", "--heartbeat-ms", "1000"])
            .arg("--exit-with-coordinator")
            .arg("--data")
            .arg(&data)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| file_error("starting", Path::new(program), source))?;
        let pid = child.id();
        self.processes.push(Process {
            name,
            role,
            data,
            child,
            pid,
            node: None,
            killed: false,
        });
        Ok(())
    }

    /// Waits until every process has joined and every compute node has said what it lends.
    async fn wait_until_joined(&mut self, fog: &mut CoordinatorService) -> Result<(), DemoError> {
        let deadline = self.clock.now() + START_TIMEOUT;
        let expected = self.processes.len();
        loop {
            let ready = fog
                .nodes()
                .filter(|(_, record)| match record.role {
                    Role::Mix { .. } => true,
                    Role::Compute => record.offer.latency_ms > 0.0,
                })
                .count();
            if ready == expected {
                break;
            }
            self.check_processes()?;
            let left = deadline.duration_since(self.clock.now());
            if left.is_zero() {
                let seconds = START_TIMEOUT.as_secs();
                return Err(DemoError::StartTimeout {
                    joined: ready,
                    expected,
                    seconds,
                });
            }
            // A node that dies sends nothing, so look at the processes now and then.
            let _ = tokio::time::timeout(left.min(Duration::from_millis(250)), fog.next())
                .await
                .unwrap_or(Ok(Update::Heard {
                    node: fog.descriptor().node,
                }))?;
        }
        self.match_processes(fog);
        self.say(&format!(
            "all {expected} joined over Noise links on loopback; mean delay 5 ms per mixnode"
        ));
        Ok(())
    }

    /// Finds out which process is which node: each wrote its id into its log.
    fn match_processes(&mut self, fog: &CoordinatorService) {
        for process in &mut self.processes {
            let log = std::fs::read_to_string(process.data.join("node.log")).unwrap_or_default();
            process.node = log
                .lines()
                .find_map(|line| line.strip_prefix("node "))
                .and_then(|id| id.trim().parse().ok())
                .filter(|id| fog.nodes().any(|(node, _)| node == *id));
        }
    }

    fn check_processes(&mut self) -> Result<(), DemoError> {
        for process in &mut self.processes {
            if process.killed {
                continue;
            }
            if let Ok(Some(status)) = process.child.try_wait() {
                let log =
                    std::fs::read_to_string(process.data.join("node.log")).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                return Err(DemoError::NodeEnded {
                    node: process.name.clone(),
                    status: status.to_string(),
                    log: tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
                });
            }
        }
        Ok(())
    }

    fn tell_lending(&mut self, fog: &CoordinatorService) -> Result<(), DemoError> {
        let mut lines = Vec::new();
        let mut objections = Vec::new();
        let mut lends = false;
        for process in self
            .processes
            .iter()
            .filter(|process| process.role == Role::Compute)
        {
            let Some(record) = record(fog, process.node) else {
                continue;
            };
            let status = status(record);
            let words = words(&status);
            let verdict = status["decision"]["verdict"]
                .as_str()
                .unwrap_or("unknown")
                .to_owned();
            lends |= record.offer.cpu_millis >= 1000;
            let mut line = format!(
                "{}: {} → {verdict}",
                process.name,
                describe_device(&status["device"]),
            );
            if record.offer.cpu_millis > 0 {
                let _ = write!(
                    line,
                    ", lends {:.1} processors and {} MiB, {} Mfuel/s at {} credits per Gfuel",
                    record.offer.cpu_millis as f64 / 1000.0,
                    record.offer.memory_bytes >> 20,
                    record.offer.fuel_per_second / 1_000_000,
                    record.offer.price_per_gigafuel.to_credits_string(),
                );
            }
            lines.push(line);
            objections.extend(words);
        }
        objections.sort();
        objections.dedup();
        let reasons = objections.join("; ");
        self.say(if self.config.policy_always {
            "policy: always (asked for with --policy always)"
        } else {
            "policy: the default harvest policy decides"
        });
        if !reasons.is_empty() {
            self.say(&format!("the policy objects or notes: {reasons}"));
        }
        for line in lines {
            self.say(&line);
        }
        if lends {
            Ok(())
        } else {
            Err(DemoError::NobodyLends { reasons })
        }
    }

    async fn submit(
        &mut self,
        fog: &mut CoordinatorService,
        owner: AccountId,
    ) -> Result<(), DemoError> {
        let view = self.config.view();
        let mut rng = OsEntropy;
        let mut orders = Vec::new();
        for index in 0..self.config.tiles {
            let share = |part: u32| {
                u32::try_from(
                    u64::from(view.height) * u64::from(part) / u64::from(self.config.tiles),
                )
                .unwrap_or(view.height)
            };
            let (row_start, row_count) = (share(index), share(index + 1) - share(index));
            let fuel_estimate = estimate_fuel(&view, row_start, row_count)?;
            let limits = Limits {
                // An estimate from samples may be off; what is not used is not paid.
                fuel: fuel_estimate.saturating_mul(3).max(50_000_000),
                memory_bytes: 16 << 20,
                output_bytes: u64::from(view.width) * u64::from(row_count),
            };
            let spec = TaskSpec::new(MODULE, view.input(row_start, row_count), limits).map_err(
                |error| DemoError::TileFailed {
                    tile: index as usize,
                    reason: error.to_string(),
                },
            )?;
            let mut id = [0; 16];
            rng.fill_bytes(&mut id);
            let task = TaskId::from_bytes(id);
            let price_max = Amount(u128::from(limits.fuel) * 2 * 10_u128.pow(9));
            orders.push(TaskOrder {
                id: task,
                spec,
                fuel_estimate,
                price_max,
            });
            self.tiles.push(TileRun {
                task,
                row_start,
                row_count,
                attempts: Vec::new(),
                pixels: None,
            });
        }
        let escrow: u128 = orders.iter().map(|order| order.price_max.0).sum();
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        self.submitted = Some(self.clock.now());
        fog.submit(JobSpec {
            id: JobId::from_bytes(id),
            owner,
            tasks: orders,
        })
        .await?;
        self.say(&format!(
            "submitted: {}x{} pixels in {} tiles, {} credits in escrow; each tile goes through \
             {LAYERS} mixnodes and comes back by reply blocks",
            view.width,
            view.height,
            self.config.tiles,
            Amount(escrow).to_credits_string(),
        ));
        Ok(())
    }

    /// Follows the job to its end, and kills a node half-way.
    async fn work(&mut self, fog: &mut CoordinatorService) -> Result<(), DemoError> {
        let deadline = self.clock.now() + JOB_TIMEOUT;
        let mut victim_due = true;
        loop {
            let done = self
                .tiles
                .iter()
                .filter(|tile| tile.pixels.is_some())
                .count();
            self.bar.set_position(done as u64);
            if victim_due && done * 2 >= self.tiles.len() {
                victim_due = !self.kill_a_working_node().await?;
            }
            self.check_processes()?;
            let left = deadline.duration_since(self.clock.now());
            if left.is_zero() {
                let (seconds, tiles) = (JOB_TIMEOUT.as_secs(), self.tiles.len());
                return Err(DemoError::JobTimeout {
                    seconds,
                    done,
                    tiles,
                });
            }
            let Ok(update) =
                tokio::time::timeout(left.min(Duration::from_millis(500)), fog.next()).await
            else {
                continue;
            };
            let Update::Decided { at, event } = update? else {
                continue;
            };
            if self.follow(at, event)? {
                self.bar.finish_and_clear();
                return Ok(());
            }
        }
    }

    /// Takes note of what the coordinator decided; `true` once the job has ended.
    fn follow(&mut self, at: Instant, event: Event) -> Result<bool, DemoError> {
        match event {
            Event::Placed { tasks, plan } => {
                let text = format!(
                    "placed {tasks} tiles by NSGA-II: {} placements that nothing beats; chose \
                     mean completion {:.0} ms, imbalance {:.3}, distrust {:.3}, cost {} credits",
                    plan.front().len(),
                    plan.chosen().objectives[0],
                    plan.chosen().objectives[1],
                    plan.chosen().objectives[2],
                    Amount(plan.chosen().cost).to_credits_string(),
                );
                self.say(&text);
                // The first plan is of the whole job; later ones mend what a lost node left.
                self.plan.get_or_insert(plan);
            }
            Event::Dispatch {
                node,
                task,
                attempt,
                ..
            } => {
                let start_ms = self.millis(at);
                let index = self.node_index(node);
                if let Some(tile) = self.tiles.iter_mut().find(|tile| tile.task == task) {
                    tile.attempts.push(Attempt {
                        node: index,
                        number: attempt,
                        start_ms,
                        end_ms: start_ms,
                        result: None,
                        lost: None,
                    });
                }
            }
            Event::TaskEnded {
                task,
                attempt,
                result,
                paid,
                ..
            } => {
                let end_ms = self.millis(at);
                let Some(index) = self.tiles.iter().position(|tile| tile.task == task) else {
                    return Ok(false);
                };
                let output = result.map_err(|error| DemoError::TileFailed {
                    tile: index,
                    reason: error.to_string(),
                })?;
                let tile = &mut self.tiles[index];
                let found = tile
                    .attempts
                    .iter_mut()
                    .find(|known| known.number == attempt);
                if let Some(known) = found {
                    let run_ms = output.usage.wall.as_secs_f64() * 1e3;
                    known.end_ms = end_ms;
                    known.result = Some(AttemptResult {
                        run_ms,
                        network_ms: (end_ms - known.start_ms - run_ms).max(0.0),
                        fuel: output.usage.fuel,
                        paid: paid.to_string(),
                    });
                }
                tile.pixels = Some(output.output);
            }
            Event::AttemptLost {
                task,
                node,
                attempt,
                reason,
            } => {
                let end_ms = self.millis(at);
                let name = self.node_name(node);
                if let Some(index) = self.tiles.iter().position(|tile| tile.task == task) {
                    let tile = &mut self.tiles[index];
                    let found = tile
                        .attempts
                        .iter_mut()
                        .find(|known| known.number == attempt);
                    if let Some(known) = found {
                        known.end_ms = end_ms;
                        known.lost = Some(reason.to_string());
                    }
                    self.say(&format!(
                        "tile {} is lost with {name} and will be redone",
                        index + 1
                    ));
                }
            }
            Event::NodeLost { node, .. } => {
                let name = self.node_name(node);
                self.say(&format!(
                    "{name} is gone; its other tiles move to the remaining nodes"
                ));
            }
            Event::TaskLost { task } => {
                let tile = self
                    .tiles
                    .iter()
                    .position(|tile| tile.task == task)
                    .unwrap_or(0);
                let reason = "every attempt was lost".to_owned();
                return Err(DemoError::TileFailed { tile, reason });
            }
            Event::Unplaceable { task, error } => {
                let tile = self
                    .tiles
                    .iter()
                    .position(|tile| tile.task == task)
                    .unwrap_or(0);
                self.say(&format!("tile {} waits: {error}", tile + 1));
            }
            Event::JobEnded { summary, .. } => {
                self.say(&format!(
                    "all {} tiles are back; paid {} credits, refunded {}",
                    summary.succeeded,
                    summary.paid.to_credits_string(),
                    summary.released.to_credits_string(),
                ));
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    /// Kills a node that is computing a tile right now. `false` if none is.
    async fn kill_a_working_node(&mut self) -> Result<bool, DemoError> {
        let mut working: Vec<_> = self
            .tiles
            .iter()
            .flat_map(|tile| &tile.attempts)
            .filter(|attempt| attempt.result.is_none() && attempt.lost.is_none())
            .map(|attempt| attempt.node)
            .collect();
        working.sort_unstable();
        working.dedup();
        if working.is_empty() {
            return Ok(false);
        }
        let mut rng = ChaCha20Rng::seed_from_u64(self.config.seed ^ 0x4b49_4c4c);
        let index = usize::try_from(rng.next_u64() % working.len() as u64).unwrap_or(0);
        let Some(process) = self.processes.get_mut(working[index]) else {
            return Ok(false);
        };
        // `kill` is SIGKILL on Unix: the process gets no chance to say goodbye.
        process
            .child
            .kill()
            .await
            .map_err(|source| file_error("killing", &process.data, source))?;
        process.killed = true;
        let (name, pid) = (process.name.clone(), process.pid.unwrap_or_default());
        self.say(&format!(
            "half-way: killed {name} (process {pid}) with SIGKILL"
        ));
        Ok(true)
    }

    fn settle(
        &mut self,
        fog: &CoordinatorService,
        owner: AccountId,
        started_unix_ms: u64,
    ) -> Result<Report, DemoError> {
        let view = self.config.view();
        let pixels: Vec<u8> = self
            .tiles
            .iter()
            .filter_map(|tile| tile.pixels.as_deref())
            .flatten()
            .copied()
            .collect();
        let fog_digest = Digest::of(&pixels);
        let native = Digest::of(&view.render_natively());
        if fog_digest != native {
            return Err(DemoError::WrongPicture {
                fog: fog_digest,
                native,
            });
        }
        self.say(&format!(
            "the picture equals a native render of the same view: BLAKE3 {}",
            &native.to_string()[..16]
        ));
        let ledger = self.ledger_report(fog, owner)?;
        self.say(&format!(
            "ledger: {} entries, chain verified, all accounts sum to {}",
            ledger.entries.len(),
            ledger.sum
        ));
        let nodes = self.node_reports(fog);
        for node in nodes.iter().filter(|node| node.compute) {
            let killed = if node.killed { " (killed)" } else { "" };
            self.say(&format!(
                "{}{killed}: {} tiles, {} credits, reputation {:.3} (5 % bound {:.3})",
                node.name, node.tiles_done, node.paid, node.reputation_mean, node.reputation_lower
            ));
        }
        let front = self.plan.as_ref().map_or_else(
            || Front {
                objectives: Vec::new(),
                points: Vec::new(),
                chosen: 0,
                explanation: String::new(),
            },
            |plan| Front {
                objectives: OBJECTIVE_NAMES.iter().map(ToString::to_string).collect(),
                points: plan
                    .front()
                    .iter()
                    .map(|point| point.objectives.to_vec())
                    .collect(),
                chosen: plan.chosen_index(),
                explanation: plan.explain().to_string(),
            },
        );
        let events = self
            .events
            .iter()
            .map(|(at, text)| Moment {
                at_ms: self.millis(*at),
                text: text.clone(),
            })
            .collect();
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            seed: self.config.seed,
            started_unix_ms,
            policy_enforced: !self.config.policy_always,
            picture: Picture {
                width: view.width,
                height: view.height,
                digest: fog_digest.to_string(),
                native_digest: native.to_string(),
                png: encode_png(&view, &pixels),
            },
            nodes,
            front,
            tiles: self
                .tiles
                .iter()
                .enumerate()
                .map(|(index, tile)| Tile {
                    index,
                    row_start: tile.row_start,
                    row_count: tile.row_count,
                    attempts: tile.attempts.clone(),
                })
                .collect(),
            events,
            ledger,
            elapsed_ms: self.clock.now().duration_since(self.began).as_secs_f64() * 1e3,
        })
    }

    fn write(&mut self, report: &Report) -> Result<(), DemoError> {
        let out = self.config.out.clone();
        std::fs::create_dir_all(&out).map_err(|source| file_error("creating", &out, source))?;
        let (picture, page) = (out.join("fog.png"), out.join("report.html"));
        for (path, bytes) in [
            (&picture, report.picture.png.as_slice()),
            (&page, report_page::render(report).as_bytes()),
        ] {
            replace(path, bytes).map_err(|source| file_error("writing", path, source))?;
        }
        if self.config.json {
            let text = serde_json::to_string_pretty(report).unwrap_or_default();
            print_line(&text);
        }
        self.say(&format!(
            "wrote {} and {} after {:.1} s",
            picture.display(),
            page.display(),
            self.clock.now().duration_since(self.began).as_secs_f64()
        ));
        Ok(())
    }

    async fn end_processes(&mut self) {
        for process in &mut self.processes {
            let _ = process.child.start_kill();
        }
        for process in &mut self.processes {
            let _ = process.child.wait().await;
        }
    }

    fn millis(&self, at: Instant) -> f64 {
        let origin = self.submitted.unwrap_or(self.began);
        if at >= origin {
            at.duration_since(origin).as_secs_f64() * 1e3
        } else {
            -origin.duration_since(at).as_secs_f64() * 1e3
        }
    }

    fn node_index(&self, node: NodeId) -> usize {
        self.processes
            .iter()
            .position(|process| process.node == Some(node))
            .unwrap_or(self.processes.len())
    }

    fn node_name(&self, node: NodeId) -> String {
        self.processes
            .get(self.node_index(node))
            .map_or_else(|| node.short(), |process| process.name.clone())
    }
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

fn first_16(digest: &Digest) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_bytes()[..16]);
    first
}
