//! The demonstration: a private fog of processes on this machine that computes a picture.

mod account;
mod config;
mod picture;
mod processes;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fogcompute_base::{
    AccountId, Clock, Digest, Instant, JobId, NodeId, OsEntropy, Priority, Rng, SystemClock,
    TaskId, UnixMillis,
};
use fogcompute_coord::{PrivacyLevel, TaskOrder};
use fogcompute_exec::{Limits, TaskSpec, TaskState, Usage};
use fogcompute_harvest::HarvestPolicy;
use fogcompute_ledger::Amount;
use fogcompute_schedule::OBJECTIVE_NAMES;
use fogcompute_store::JobChange;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use self::account::{CoordinatorFiles, describe_lending, too_little, words};
use self::config::file_error;
pub use self::config::{DemoConfig, DemoError, Kill, LendingAdvice};
pub(crate) use self::config::{NODES_MAX, NODES_MIN, TILES_MAX, TILES_MIN, WIDTH_MAX, WIDTH_MIN};
use self::picture::{encode_png, estimate_fuel};
use self::processes::{COORDINATOR, LAYERS, Part, Plot, Process, RECORD_FILE};
use crate::files::{Readers, replace};
use crate::mandelbrot::{MODULE, View};
use crate::record::{Following, Line, NodeNote, Noted, Packets, PlacedNote};
use crate::report::{Attempt, AttemptResult, Death, Front, Moment, Picture, Report, Tile};
use crate::report_page::{self, millis, rounded};
use crate::signals::Signals;
use crate::submit::{FogClient, JobOrder, Watched};

/// How long the job may take to end.
const JOB_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a request to stop may need to be noticed after its effects were: a terminal sends Ctrl-C
/// to the whole process group, and a node may end of it before the demonstration hears of it.
const SIGNAL_GRACE: Duration = Duration::from_millis(100);

/// Names of the files that are written.
const PICTURE_FILE: &str = "fog.png";
const PAGE_FILE: &str = "report.html";

/// Memory of a tile's sandbox, in bytes.
const TILE_MEMORY_BYTES: u64 = 16 << 20;

/// Runs the demonstration.
///
/// # Errors
/// [`DemoError`]; every process is ended and, unless kept, their directory removed in every case.
pub async fn run_demo(config: DemoConfig) -> Result<(), DemoError> {
    config.check()?;
    // The signals first: from here on nothing is left behind, neither directory nor process.
    let mut signals = Signals::listen()?;
    let out = OutFolder::prepare(&config.out)?;
    let directory = tempfile::Builder::new()
        .prefix("fogcompute-demo-")
        .tempdir()
        .map_err(|source| file_error("creating", &std::env::temp_dir(), source))?;
    let mut demo = Demo::new(config, directory.path().to_owned());
    let done = tokio::select! {
        biased;
        () = signals.asked() => Err(DemoError::Interrupted),
        done = demo.run() => done,
    };
    let done = match done {
        // What fails because everything is asked to stop was stopped on request.
        Err(_)
            if tokio::time::timeout(SIGNAL_GRACE, signals.asked())
                .await
                .is_ok() =>
        {
            Err(DemoError::Interrupted)
        }
        done => done,
    };
    demo.end_processes().await;
    if done.is_err() {
        out.abandon();
    }
    if demo.config.keep {
        let kept = directory.keep();
        demo.say(&format!("kept the processes' files in {}", kept.display()));
    }
    let (json, unsaid) = (demo.config.json, demo.unsaid.take());
    done.and(match unsaid {
        // The account is for people; whoever looks no further has read what they wanted.
        Some(error) if json || error.kind() != io::ErrorKind::BrokenPipe => {
            Err(DemoError::Output { source: error })
        }
        _ => Ok(()),
    })
}

/// The folder of the picture and the page.
struct OutFolder {
    path: PathBuf,
    /// Whether it was made for this demonstration.
    new: bool,
}

impl OutFolder {
    /// Makes sure that files can be written there: to find out after the job would be too late.
    fn prepare(path: &Path) -> Result<Self, DemoError> {
        let new = !path.exists();
        std::fs::create_dir_all(path).map_err(|source| file_error("creating", path, source))?;
        tempfile::Builder::new()
            .prefix(".fogcompute-")
            .suffix(".part")
            .tempfile_in(path)
            .map_err(|source| file_error("writing into", path, source))?;
        for file in [PICTURE_FILE, PAGE_FILE].map(|name| path.join(name)) {
            if file.is_dir() {
                let source = io::ErrorKind::IsADirectory.into();
                return Err(file_error("writing", &file, source));
            }
        }
        let path = path.to_owned();
        Ok(Self { path, new })
    }

    /// Takes the folder away again if it is new and nothing was written into it.
    fn abandon(&self) {
        if self.new {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
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
    began: UnixMillis,
    submitted: Option<UnixMillis>,
    /// When the job must have ended.
    deadline: Option<Instant>,
    /// The coordinator first.
    processes: Vec<Process>,
    /// Where the coordinator accepts links, in every one of its lives.
    address: Option<SocketAddr>,
    /// The account that pays.
    owner: Option<AccountId>,
    /// What the coordinator notes.
    record: Following,
    plot: Option<Plot>,
    tiles: Vec<TileRun>,
    events: Vec<(UnixMillis, String)>,
    placed: Option<PlacedNote>,
    /// What the coordinator's own mixnode counted.
    own_packets: Option<Packets>,
    bar: ProgressBar,
    /// Why something could not be written to the standard output.
    unsaid: Option<io::Error>,
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
        let record = directory.join("coordinator").join(RECORD_FILE);
        Self {
            plot: Plot::new(config.kill, config.seed, config.tiles),
            config,
            directory,
            began: clock.unix_now(),
            clock,
            submitted: None,
            deadline: None,
            processes: Vec::new(),
            address: None,
            owner: None,
            record: Following::new(record),
            tiles: Vec::new(),
            events: Vec::new(),
            placed: None,
            own_packets: None,
            bar,
            unsaid: None,
        }
    }

    /// Tells people something, above the progress bar, and keeps it for the page.
    fn say(&mut self, text: &str) {
        self.events.push((self.clock.unix_now(), text.to_owned()));
        if self.config.json {
            return;
        }
        // Without a terminal the bar draws nothing and would swallow what is printed above it.
        let printed = if io::stderr().is_terminal() {
            self.bar.suspend(|| print_line(text))
        } else {
            print_line(text)
        };
        if let Err(error) = printed {
            self.unsaid.get_or_insert(error);
        }
    }

    async fn run(&mut self) -> Result<(), DemoError> {
        self.say(&format!(
            "fogcompute {}: a private fog on this machine, seed {}",
            env!("CARGO_PKG_VERSION"),
            self.config.seed
        ));
        let orders = self.orders()?;
        let client = self
            .start_coordinator(endowment(&orders), reservation(&orders))
            .await?;
        self.start_nodes()?;
        self.wait_until_joined().await?;
        self.tell_lending()?;
        self.deadline = Some(self.clock.now() + JOB_TIMEOUT);
        let job = self.submit(&client, orders).await?;
        self.work(&client, job).await?;
        self.wait_until_back().await?;
        self.stop_coordinator().await?;
        let report = self.settle()?;
        self.write(&report)
    }

    fn tell_lending(&mut self) -> Result<(), DemoError> {
        let mut lines = Vec::new();
        let (mut objections, mut notes) = (Vec::new(), Vec::new());
        let mut most: Option<NodeNote> = None;
        for process in self.processes.iter_mut().filter(|it| it.is_compute()) {
            process.lent.clone_from(&process.known);
            let Some(known) = &process.known else {
                continue;
            };
            lines.push(describe_lending(&process.name, known));
            objections.extend(words(&known.status, "objections"));
            notes.extend(words(&known.status, "notes"));
            let lends = |it: &NodeNote| (it.cpu_millis, it.memory_bytes);
            if most
                .as_ref()
                .is_none_or(|other| lends(known) > lends(other))
            {
                most = Some(known.clone());
            }
        }
        self.say(if self.config.policy_always {
            "policy: always (asked for with --policy always)"
        } else {
            "policy: the default harvest policy decides, at any hour"
        });
        for (what, mut words) in [("objects", objections), ("notes", notes)] {
            // Nodes that read one machine a moment apart differ in a figure, and once is enough.
            let without_figures = |word: &String| word.replace(|c: char| c.is_ascii_digit(), "");
            words.sort_by_key(without_figures);
            words.dedup_by_key(|word| without_figures(word));
            if !words.is_empty() {
                self.say(&format!("the policy {what}: {}", words.join("; ")));
            }
        }
        self.say(&format!(
            "{} compute nodes share this machine: each lends its part of what the policy allows",
            self.config.nodes
        ));
        for line in lines {
            self.say(&line);
        }
        match most {
            Some(known) if too_little(&known).is_none() => Ok(()),
            most => Err(self.nobody_lends(most.as_ref())),
        }
    }

    /// Why the node that lends most lends too little, and what to do about it.
    fn nobody_lends(&self, most: Option<&NodeNote>) -> DemoError {
        let reason = most.and_then(too_little);
        let cores = most.and_then(|known| known.status["device"]["cpu_cores"].as_u64());
        let share = HarvestPolicy::always().cpu_share_max;
        let processors = (1.0 / share).ceil() as u64;
        let enough = cores.is_none_or(|cores| cores >= processors);
        DemoError::NobodyLends {
            reason: reason.unwrap_or_else(|| "nothing was heard of any".to_owned()),
            advice: if enough && !self.config.policy_always {
                LendingAdvice::Overrule
            } else {
                LendingAdvice::Machine { processors }
            },
        }
    }

    /// Cuts the picture into tiles, and orders them.
    fn orders(&mut self) -> Result<Vec<TaskOrder>, DemoError> {
        let view = self.config.view();
        let orders = cut(&view, self.config.tiles, |row_start, row_count| {
            estimate_fuel(&view, row_start, row_count)
        })?;
        self.tiles = orders
            .iter()
            .map(|(rows, order)| TileRun {
                task: order.id,
                row_start: rows.start,
                row_count: rows.end - rows.start,
                attempts: Vec::new(),
                pixels: None,
            })
            .collect();
        Ok(orders.into_iter().map(|(_, order)| order).collect())
    }

    async fn submit(
        &mut self,
        client: &FogClient,
        tasks: Vec<TaskOrder>,
    ) -> Result<JobId, DemoError> {
        let view = self.config.view();
        let reserved = reservation(&tasks);
        let mut id = [0; 16];
        OsEntropy.fill_bytes(&mut id);
        self.submitted = Some(self.clock.unix_now());
        let id = JobId::from_bytes(id);
        let order = JobOrder {
            id,
            priority: Priority::default(),
            privacy: PrivacyLevel::Private,
            tasks,
        };
        self.say(&format!(
            "a job is submitted: {} × {} pixels in {} tiles, for which {} credits are held back; each \
             tile goes through {LAYERS} mixnodes and comes back by reply blocks",
            view.width,
            view.height,
            self.config.tiles,
            credits(reserved),
        ));
        self.meanwhile(client.submit(order)).await??;
        Ok(id)
    }

    /// Follows the job to its end, and kills a process on the way.
    async fn work(&mut self, client: &FogClient, job: JobId) -> Result<(), DemoError> {
        let mut watch = client.watch(0);
        loop {
            let done = self.done();
            self.bar.set_position(done as u64);
            self.kill_when_due(done).await?;
            // It has one job. Were an event of it forgotten, the picture would not be whole, and it is
            // compared.
            let Watched::Event(event) = self.meanwhile(watch.next()).await?? else {
                continue;
            };
            match event.change {
                JobChange::Assigned {
                    task,
                    node,
                    attempt,
                } => self.sent(task, node, attempt, event.at),
                JobChange::Queued { task, .. } => self.came_to_nothing(task, event.at),
                JobChange::Ended { task, state, paid } => {
                    self.ended(client, task, state, paid, event.at).await?;
                }
                JobChange::JobEnded => break,
                _ => {}
            }
        }
        let summary = self.meanwhile(client.job(job)).await??.summary;
        self.bar.finish_and_clear();
        self.say(&format!(
            "all {} tiles are back; {} credits paid, {} credits released",
            summary.succeeded,
            credits(summary.paid),
            credits(summary.released),
        ));
        Ok(())
    }

    /// Tiles that are back.
    fn done(&self) -> usize {
        let tiles = self.tiles.iter();
        tiles.filter(|tile| tile.pixels.is_some()).count()
    }

    /// # Errors
    /// [`DemoError::JobTimeout`].
    fn check_deadline(&self) -> Result<(), DemoError> {
        if self.deadline.is_none_or(|at| self.clock.now() < at) {
            return Ok(());
        }
        Err(DemoError::JobTimeout {
            seconds: JOB_TIMEOUT.as_secs(),
            done: self.done(),
            tiles: self.tiles.len(),
        })
    }

    fn tile(&self, task: TaskId) -> Option<usize> {
        self.tiles.iter().position(|tile| tile.task == task)
    }

    fn sent(&mut self, task: TaskId, node: NodeId, number: u32, at: UnixMillis) {
        let (index, start_ms) = (self.node_index(node), self.millis(at));
        if let Some(tile) = self.tile(task) {
            self.tiles[tile].attempts.push(Attempt {
                node: index,
                number,
                start_ms,
                end_ms: start_ms,
                result: None,
                lost: None,
            });
        }
    }

    /// The attempt of a tile with that number.
    fn attempt(&mut self, task: TaskId, number: u32) -> Option<&mut Attempt> {
        let tile = self.tile(task)?;
        let mut attempts = self.tiles[tile].attempts.iter_mut();
        // Of an attempt that never reached its node the number is used again.
        attempts.rfind(|known| known.number == number)
    }

    fn came_to_nothing(&mut self, task: TaskId, at: UnixMillis) {
        let end_ms = self.millis(at);
        if let Some(tile) = self.tile(task)
            && let Some(attempt) = self.tiles[tile].attempts.last_mut()
        {
            attempt.end_ms = end_ms;
            // Why is noted beside the journal, perhaps later, or not at all if the coordinator died.
            attempt.lost.get_or_insert_with(|| "lost".to_owned());
        }
    }

    async fn ended(
        &mut self,
        client: &FogClient,
        task: TaskId,
        state: TaskState,
        paid: Amount,
        at: UnixMillis,
    ) -> Result<(), DemoError> {
        let end_ms = self.millis(at);
        let Some(tile) = self.tile(task) else {
            return Ok(());
        };
        let failed = |reason: String| Err(DemoError::TileFailed { tile, reason });
        let output = match state {
            TaskState::Succeeded | TaskState::Failed => {
                let report = self.meanwhile(client.result(task)).await??;
                match report.result {
                    Ok(output) => output,
                    Err(error) => return failed(error.to_string()),
                }
            }
            _ => return failed("every attempt was lost".to_owned()),
        };
        let tile = &mut self.tiles[tile];
        // The last one: those before it were lost.
        if let Some(attempt) = tile.attempts.last_mut() {
            attempt.succeeded(end_ms, &output.usage, paid);
        }
        tile.pixels = Some(output.output);
        Ok(())
    }

    /// What the coordinator has noted since the last time.
    fn read_record(&mut self) -> Result<Vec<Line>, DemoError> {
        self.record
            .read()
            .map_err(|source| file_error("reading", self.record.path(), source))
    }

    /// Whether a line says that a node is lost whose process is thought to live.
    fn is_of_a_death_unseen(&self, line: &Line) -> bool {
        let (Noted::AttemptLost { node, .. } | Noted::NodeLost { node, .. }) = line.noted else {
            return false;
        };
        let process = self.processes.get(self.node_index(node));
        process.is_some_and(|process| process.running)
    }

    fn take_note(&mut self, Line { at, noted }: Line) {
        match noted {
            Noted::Started { .. } => {
                for process in &mut self.processes {
                    if let Some(known) = &mut process.known {
                        known.answered = false;
                    }
                }
                self.is_back(COORDINATOR, at);
            }
            Noted::Node(note) => {
                let index = self.node_index(note.node);
                let Some(process) = self.processes.get_mut(index) else {
                    return;
                };
                let answered = note.answered;
                process.known = Some(note);
                if answered {
                    self.is_back(index, at);
                } else if let Some(death) = process.deaths.last_mut() {
                    death.greeted |= at >= death.at;
                }
            }
            Noted::Left { node } => {
                let index = self.node_index(node);
                if let Some(known) = self
                    .processes
                    .get_mut(index)
                    .and_then(|it| it.known.as_mut())
                {
                    known.answered = false;
                }
            }
            Noted::Placed(placed) => {
                let chosen = placed
                    .points
                    .get(placed.chosen)
                    .copied()
                    .unwrap_or_default();
                self.say(&format!(
                    "placed {} tiles by NSGA-II: {} placements that nothing beats; chose mean \
                     completion {}, imbalance {:.2}, distrust {:.2}, cost {} credits",
                    placed.tasks,
                    placed.points.len(),
                    millis(chosen[0]),
                    chosen[1],
                    chosen[2],
                    placed.cost().map_or_else(|| "unknown".to_owned(), credits),
                ));
                // The first plan is of the whole job; later ones mend what a lost node left.
                self.placed.get_or_insert(placed);
            }
            Noted::Unplaceable { task, reason } => {
                if let Some(tile) = self.tile(task) {
                    self.say(&format!("tile {} waits: {reason}", tile + 1));
                }
            }
            Noted::AttemptLost {
                task,
                node,
                attempt,
                reason,
            } => {
                if let Some(known) = self.attempt(task, attempt) {
                    known.lost = Some(reason);
                }
                let name = self.node_name(node);
                if let Some(tile) = self.tile(task) {
                    self.say(&format!(
                        "tile {} is lost with {name} and will be redone",
                        tile + 1
                    ));
                }
            }
            Noted::NodeLost { node, .. } => {
                let name = self.node_name(node);
                self.say(&format!(
                    "{name} is gone; its other tiles move to the remaining nodes"
                ));
            }
            Noted::Ended { packets } => self.own_packets = Some(packets),
        }
    }

    /// Something took part in the place of a process that has ended.
    fn is_back(&mut self, index: usize, at: UnixMillis) {
        let Some(process) = self.processes.get_mut(index) else {
            return;
        };
        let is_coordinator = process.part == Part::Coordinator;
        if let Some(death) = process.deaths.last_mut()
            && death.back.is_none()
            && at >= death.at
            && (is_coordinator || death.greeted)
        {
            death.back = Some(at);
        }
    }

    fn settle(&mut self) -> Result<Report, DemoError> {
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
        let files = CoordinatorFiles::open(&self.processes[COORDINATOR].data)?;
        let ledger = self.ledger_report(&files)?;
        self.say(&format!(
            "ledger: {} entries, chain verified, the balances of all accounts cancel out exactly",
            ledger.entries.len(),
        ));
        let nodes = self.node_reports(&files);
        for node in nodes.iter().filter(|node| node.compute) {
            let killed = match node.gone() {
                Some(Death {
                    ended: Some(status),
                    ..
                }) => format!(" (ended: {status})"),
                Some(_) => " (killed)".to_owned(),
                None => String::new(),
            };
            let mut line = format!(
                "{}{killed}: {} tiles, {} credits",
                node.name,
                node.tiles_done.unwrap_or_default(),
                node.paid
                    .as_deref()
                    .map_or_else(|| "unknown".to_owned(), rounded),
            );
            if let (Some(mean), Some(lower)) = (node.reputation_mean, node.reputation_lower) {
                let _ = write!(
                    line,
                    ", reputation {mean:.2} (95 % sure to be above {lower:.2})"
                );
            }
            self.say(&line);
        }
        let front = self.placed.take().map_or_else(
            || Front {
                objectives: Vec::new(),
                points: Vec::new(),
                chosen: 0,
                explanation: String::new(),
            },
            |placed| Front {
                objectives: OBJECTIVE_NAMES.iter().map(ToString::to_string).collect(),
                points: placed.points.into_iter().map(Vec::from).collect(),
                chosen: placed.chosen,
                explanation: placed.explanation,
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
            started_unix_ms: self.began.0,
            kill: self.config.kill.name(),
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
            elapsed_ms: self.elapsed_ms(),
        })
    }

    fn write(&mut self, report: &Report) -> Result<(), DemoError> {
        let out = self.config.out.clone();
        let (picture, page) = (out.join(PICTURE_FILE), out.join(PAGE_FILE));
        for (path, bytes) in [
            (&picture, report.picture.png.as_slice()),
            (&page, report_page::render(report).as_bytes()),
        ] {
            replace(path, bytes, Readers::Everybody)
                .map_err(|source| file_error("writing", path, source))?;
        }
        if self.config.json {
            let written = serde_json::to_string_pretty(&Done { ok: true, report })
                .map_err(io::Error::from)
                .and_then(|text| print_line(&text));
            written.map_err(|source| DemoError::Output { source })?;
        }
        self.say(&format!(
            "wrote {} and {} after {:.1} s",
            picture.display(),
            page.display(),
            self.elapsed_ms() / 1e3
        ));
        Ok(())
    }

    /// Milliseconds from the submission of the job to a moment, which may be before it.
    fn millis(&self, at: UnixMillis) -> f64 {
        let origin = self.submitted.unwrap_or(self.began);
        // Both are far below 2⁵³.
        at.0 as f64 - origin.0 as f64
    }

    fn elapsed_ms(&self) -> f64 {
        self.clock.unix_now().0 as f64 - self.began.0 as f64
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

/// The report as `--json` prints it.
#[derive(Serialize)]
struct Done<'a> {
    /// What tells it from a failure.
    ok: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// An amount for a sentence: to a thousandth of a credit.
fn credits(amount: Amount) -> String {
    rounded(&amount.to_credits_string())
}

impl Attempt {
    /// Takes note of a result that came back at `end_ms`.
    fn succeeded(&mut self, end_ms: f64, usage: &Usage, paid: Amount) {
        let run_ms = usage.wall.as_secs_f64() * 1e3;
        self.end_ms = end_ms;
        self.result = Some(AttemptResult {
            run_ms,
            network_ms: (end_ms - self.start_ms - run_ms).max(0.0),
            fuel: usage.fuel,
            paid: paid.to_string(),
        });
    }
}

/// Cuts a view into tiles of whole rows, each an order at the price of what it may burn.
fn cut(
    view: &View,
    tiles: u32,
    mut estimate: impl FnMut(u32, u32) -> Result<u64, DemoError>,
) -> Result<Vec<(Range<u32>, TaskOrder)>, DemoError> {
    let share = |part: u32| {
        u32::try_from(u64::from(view.height) * u64::from(part) / u64::from(tiles))
            .unwrap_or(view.height)
    };
    let mut orders = Vec::new();
    for index in 0..tiles {
        let rows = share(index)..share(index + 1);
        let row_count = rows.end - rows.start;
        let fuel_estimate = estimate(rows.start, row_count)?;
        let limits = Limits {
            // An estimate from samples may be off; what is not used is not paid.
            fuel: fuel_estimate.saturating_mul(3).max(50_000_000),
            memory_bytes: TILE_MEMORY_BYTES,
            output_bytes: u64::from(view.width) * u64::from(row_count),
            ..Limits::default()
        };
        let spec =
            TaskSpec::new(MODULE, view.input(rows.start, row_count), limits).map_err(|error| {
                DemoError::TileFailed {
                    tile: index as usize,
                    reason: error.to_string(),
                }
            })?;
        let mut id = [0; 16];
        OsEntropy.fill_bytes(&mut id);
        let order = TaskOrder {
            id: TaskId::from_bytes(id),
            spec,
            fuel_estimate,
            price_max: Amount(u128::from(limits.fuel) * 2 * 10_u128.pow(9)),
        };
        orders.push((rows, order));
    }
    Ok(orders)
}

/// What a job reserves.
fn reservation(orders: &[TaskOrder]) -> Amount {
    // Thousands of tiles at the price of 2⁶⁴ fuel are far below 2¹²⁸.
    Amount(orders.iter().map(|order| order.price_max.0).sum())
}

/// What the owner of the fog starts with: what the job reserves and a quarter more, in whole
/// credits, so that the account shows something that was never at stake.
fn endowment(orders: &[TaskOrder]) -> Amount {
    let credit = Amount::from_credits(1).0;
    let needed = reservation(orders).0;
    Amount((needed + needed / 4).div_ceil(credit) * credit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_coord::{Config, Coordinator, Host, JobSpec, genesis};
    use fogcompute_ledger::Book;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    #[test]
    fn a_result_tells_how_long_it_ran_and_how_long_it_was_under_way() {
        let mut attempt = Attempt {
            node: 0,
            number: 1,
            start_ms: 100.0,
            end_ms: 100.0,
            result: None,
            lost: None,
        };
        let usage = Usage {
            fuel: 7,
            wall: Duration::from_millis(30),
            ..Usage::default()
        };
        attempt.succeeded(150.5, &usage, Amount(3));
        let result = attempt.result.clone().unwrap();
        let rounded = |value: f64| (value * 1e3).round() as i64;
        assert_eq!(rounded(result.run_ms), 30_000);
        assert_eq!(rounded(result.network_ms), 20_500);
        assert_eq!((result.fuel, result.paid.as_str()), (7, "3"));
        assert_eq!(rounded(attempt.end_ms), 150_500);
        // Two clocks may disagree by a little; nothing takes less than no time.
        attempt.succeeded(120.0, &usage, Amount(3));
        assert_eq!(rounded(attempt.result.unwrap().network_ms), 0);
    }

    #[test]
    fn no_allowed_picture_costs_more_than_its_owner_has() {
        // 8,192 pixels were allowed, and failed on its reservation after twelve seconds.
        for (width, tiles) in [(60, 2), (1200, 24), (8192, 43), (8192, 2000)] {
            let config = DemoConfig {
                width,
                nodes: 2,
                tiles,
                seed: 1,
                kill: Kill::None,
                policy_always: true,
                keep: false,
                json: false,
                out: PathBuf::new(),
                node_command: Vec::new(),
            };
            config.check().unwrap();
            let view = config.view();
            // Every pixel takes every iteration, and an iteration more fuel than it does.
            let dearest = |_, rows: u32| Ok(u64::from(rows) * u64::from(width) * 255 * 100);
            let orders: Vec<_> = cut(&view, tiles, dearest)
                .unwrap()
                .into_iter()
                .map(|(_, order)| order)
                .collect();
            let owner = AccountId::from_bytes([1; 16]);
            let (needed, given) = (reservation(&orders), endowment(&orders));
            assert!(given > needed, "something was never at stake");
            let mut bank = Book::new();
            bank.execute(&genesis(owner, given), UnixMillis(0)).unwrap();
            let mut rules = Coordinator::new(Config::default()).unwrap();
            let job = JobSpec {
                id: JobId::from_bytes([1; 16]),
                owner,
                priority: Priority::default(),
                privacy: PrivacyLevel::Private,
                tasks: orders,
            };
            let mut host = Host {
                bank: &mut bank,
                rng: &mut ChaCha8Rng::seed_from_u64(1),
                now: Instant::ZERO,
                wall: UnixMillis(0),
            };
            rules.submit(job, &mut host).unwrap();
            let left = bank.account(owner).unwrap().available();
            assert_eq!(left.0, given.0 - needed.0);
        }
    }
}
