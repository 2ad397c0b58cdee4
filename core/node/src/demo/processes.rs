//! The processes of the fog: starting, watching, killing, starting again and ending them.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId, Rng, UnixMillis};
use fogcompute_coord::token::Action;
use fogcompute_ledger::Amount;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::process::{Child, Command};

use super::config::{DemoError, Kill, file_error, fog_error};
use super::{Demo, SIGNAL_GRACE};
use crate::error::NodeError;
use crate::fogs::{Data, FogFile, TokenTerms};
use crate::protocol::Role;
use crate::record::NodeNote;
use crate::submit::{FogClient, FogClientConfig};

/// Mix layers of the demonstration, and mixnodes in each.
pub(super) const LAYERS: u8 = 3;
pub(super) const MIXNODES_PER_LAYER: u8 = 2;

/// Where the coordinator is among the processes.
pub(super) const COORDINATOR: usize = 0;

/// How long processes may take to start and join.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// From one look at the processes to the next.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a question to the coordinator may take, its being started again included.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the coordinator may take to end when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what was started again may take to take part, once the job has ended.
const BACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How many times one process is started again.
const RESTARTS_MAX: u32 = 5;

/// The file in which the coordinator's process notes what the report needs.
pub(super) const RECORD_FILE: &str = "record.jsonl";

/// What a process is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Coordinator,
    Node(Role),
}

pub(super) struct Process {
    pub(super) name: String,
    pub(super) part: Part,
    pub(super) data: PathBuf,
    /// How it is started, but for what only the coordinator's first process decides.
    arguments: Vec<OsString>,
    /// The present process, or the last one.
    child: Child,
    pub(super) pid: Option<u32>,
    pub(super) running: bool,
    /// Who it is, once it has said so.
    pub(super) node: Option<NodeId>,
    /// What the coordinator last knew of it.
    pub(super) known: Option<NodeNote>,
    /// What it had said when the job was submitted: its reading, its decision and its offer.
    pub(super) lent: Option<NodeNote>,
    /// The processes it was before.
    pub(super) deaths: Vec<Death>,
}

/// How a process ended before its time.
pub(super) struct Death {
    pub(super) pid: Option<u32>,
    pub(super) at: UnixMillis,
    /// How it ended, if it was not the demonstration that killed it.
    pub(super) ended: Option<String>,
    /// Whether the coordinator has heard of the process in its place.
    pub(super) greeted: bool,
    /// When that one took part.
    pub(super) back: Option<UnixMillis>,
}

/// What is to be killed, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Plot {
    /// One of [`Kill::Compute`], [`Kill::Mix`], [`Kill::Coordinator`].
    part: Kill,
    /// Tiles that are back then.
    tiles: usize,
    /// Chooses among the processes that may be killed then.
    draw: u64,
}

impl Plot {
    /// Draws it by the seed: at any time of the job.
    pub(super) fn new(kill: Kill, seed: u64, tiles: u32) -> Option<Self> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x4b49_4c4c);
        let [draw, part, at] = [(); 3].map(|()| rng.next_u64());
        let part = match kill {
            Kill::None => return None,
            Kill::Any => {
                let parts = [Kill::Compute, Kill::Mix, Kill::Coordinator];
                *choose(&parts, part)?
            }
            part => part,
        };
        let tiles = usize::try_from(at % u64::from(tiles)).ok()?;
        Some(Self { part, tiles, draw })
    }
}

fn choose<T>(among: &[T], draw: u64) -> Option<&T> {
    let index = draw.checked_rem(among.len() as u64)?;
    among.get(usize::try_from(index).ok()?)
}

impl Process {
    /// A death after which nothing has taken part in its place yet.
    pub(super) fn gone(&self) -> Option<&Death> {
        self.deaths.last().filter(|death| death.back.is_none())
    }

    pub(super) fn is_compute(&self) -> bool {
        self.part == Part::Node(Role::Compute)
    }

    fn died(&mut self, at: UnixMillis, ended: Option<String>) {
        self.running = false;
        self.deaths.push(Death {
            pid: self.pid,
            at,
            ended,
            greeted: false,
            back: None,
        });
    }

    fn log(&self) -> PathBuf {
        self.data.join("process.log")
    }
}

impl Demo {
    /// Starts the coordinator and waits until it can be asked.
    pub(super) async fn start_coordinator(
        &mut self,
        endowment: Amount,
        reserved: Amount,
    ) -> Result<FogClient, DemoError> {
        let nodes = self.config.nodes + u16::from(LAYERS * MIXNODES_PER_LAYER);
        let name = "coordinator".to_owned();
        let data = self.directory.join(&name);
        let mut arguments: Vec<OsString> = ["coordinator", "run", "--placement", "optimised"]
            .map(OsString::from)
            .into();
        for (option, value) in [
            ("--layers", LAYERS.to_string()),
            ("--delay-ms", "5".to_owned()),
            ("--seed", self.config.seed.to_string()),
            ("--nodes-max", nodes.to_string()),
            ("--endowment", endowment.to_credits_string()),
        ] {
            arguments.extend([option.into(), value.into()]);
        }
        arguments.extend(["--record".into(), data.join(RECORD_FILE).into()]);
        self.start(name, Part::Coordinator, arguments)?;
        let deadline = self.clock.now() + START_TIMEOUT;
        let file = loop {
            if let Ok(file) = FogFile::read(&data.join("fog.toml")) {
                break file;
            }
            self.wait_for_the_start(deadline).await?;
        };
        let owner = Data(&data).owner().map_err(fog_error)?;
        // A coordinator that is killed between counting a call and doing it has counted it.
        let times = 1 + RESTARTS_MAX;
        let terms = TokenTerms {
            actions: vec![Action::Submit, Action::Query],
            tasks_max: u64::from(self.config.tiles) * u64::from(times),
            spend_max: Amount(reserved.0.saturating_mul(times.into())),
            ..TokenTerms::default()
        };
        let token = terms.issue(&file, &owner);
        let access = FogClientConfig::from_token(&token.text()).map_err(fog_error)?;
        self.owner = Some(access.token.grant.account);
        self.address = Some(file.address);
        Ok(FogClient::new(FogClientConfig {
            patience: PATIENCE,
            ..access
        }))
    }

    pub(super) fn start_nodes(&mut self) -> Result<(), DemoError> {
        // Operators ask different prices; which, is this demonstration's choice, by its seed.
        let mut rng = ChaCha20Rng::seed_from_u64(self.config.seed);
        for layer in 0..LAYERS {
            for index in 0..MIXNODES_PER_LAYER {
                let name = format!("mix {}{}", layer + 1, char::from(b'a' + index));
                let more = ["--role", "mix", "--layer", &layer.to_string()].map(OsString::from);
                self.start_node(name, Role::Mix { layer }, more)?;
            }
        }
        for index in 0..self.config.nodes {
            let millicredits = 500 + rng.next_u64() % 1000;
            let price = Amount(u128::from(millicredits) * 10_u128.pow(15));
            let more = [
                "--role",
                "compute",
                "--price",
                &price.to_string(),
                "--nodes-on-machine",
                &self.config.nodes.to_string(),
                "--policy",
                if self.config.policy_always {
                    "always"
                } else {
                    "any-hour"
                },
            ];
            let name = format!("compute {}", index + 1);
            self.start_node(name, Role::Compute, more.map(OsString::from))?;
        }
        let pids: Vec<_> = self
            .processes
            .iter()
            .filter_map(|process| process.pid.map(|pid| pid.to_string()))
            .collect();
        self.say(&format!(
            "started a coordinator, {} mixnodes in {LAYERS} layers and {} compute nodes as \
             processes {}",
            LAYERS * MIXNODES_PER_LAYER,
            self.config.nodes,
            pids.join(" "),
        ));
        Ok(())
    }

    fn start_node(
        &mut self,
        name: String,
        role: Role,
        more: impl IntoIterator<Item = OsString>,
    ) -> Result<(), DemoError> {
        let fog = self.processes[COORDINATOR].data.join("fog.toml");
        let mut arguments = vec!["node".into(), "--fog".into(), fog.into()];
        arguments.extend(["--listen", "127.0.0.1:0", "--heartbeat-ms", "1000"].map(OsString::from));
        arguments.extend(more);
        self.start(name, Part::Node(role), arguments)
    }

    fn start(
        &mut self,
        name: String,
        part: Part,
        arguments: Vec<OsString>,
    ) -> Result<(), DemoError> {
        let data = self.directory.join(name.replace(' ', "-"));
        std::fs::create_dir_all(&data).map_err(|source| file_error("creating", &data, source))?;
        let child = self.spawn(part, &data, &arguments)?;
        self.processes.push(Process {
            name,
            part,
            data,
            arguments,
            pid: child.id(),
            child,
            running: true,
            node: None,
            known: None,
            lent: None,
            deaths: Vec::new(),
        });
        Ok(())
    }

    fn spawn(&self, part: Part, data: &Path, arguments: &[OsString]) -> Result<Child, DemoError> {
        let path = data.join("process.log");
        let log = File::options().append(true).create(true).open(&path);
        let log = log.map_err(|source| file_error("opening", &path, source))?;
        let errors = log
            .try_clone()
            .map_err(|source| file_error("opening", &path, source))?;
        let (program, first) =
            self.config.node_command.split_first().ok_or_else(|| {
                NodeError::io("starting a node", std::io::ErrorKind::NotFound.into())
            })?;
        let mut command = Command::new(program);
        command.args(first).args(arguments).arg("--data").arg(data);
        if part == Part::Coordinator {
            // Where its nodes and its submitter look for it, once it has said so.
            let known = FogFile::read(&data.join("fog.toml"));
            let listen = known.map_or(([127, 0, 0, 1], 0).into(), |file| file.address);
            command.args(["--listen", &listen.to_string()]);
        }
        // Whoever kills this process closes the other end.
        command.arg("--end-with-input").stdin(Stdio::piped());
        command.stdout(log).stderr(errors).kill_on_drop(true);
        command
            .spawn()
            .map_err(|source| file_error("starting", Path::new(program), source))
    }

    /// Waits until every process has joined and every compute node has said what it lends.
    pub(super) async fn wait_until_joined(&mut self) -> Result<(), DemoError> {
        let deadline = self.clock.now() + START_TIMEOUT;
        while self.joined() < self.processes.len() {
            self.wait_for_the_start(deadline).await?;
        }
        let nodes = self.processes.len() - 1;
        self.say(&format!(
            "all {nodes} joined over Noise links on loopback; mean delay 5 ms per mixnode"
        ));
        Ok(())
    }

    /// Processes that take part.
    fn joined(&self) -> usize {
        let processes = self.processes.iter();
        let answered = |known: &NodeNote| known.answered;
        processes
            .filter(|it| match it.part {
                Part::Coordinator => it.node.is_some(),
                Part::Node(_) => it.running && it.known.as_ref().is_some_and(answered),
            })
            .count()
    }

    /// Gives what was started again the time to take part, so that it can be told when it did, and be
    /// asked what it counted.
    pub(super) async fn wait_until_back(&mut self) -> Result<(), DemoError> {
        let deadline = self.clock.now() + BACK_TIMEOUT;
        while self.clock.now() < deadline {
            self.look_after_processes().await?;
            let running = self.processes.iter().filter(|it| it.running);
            let is_back = |it: &Process| it.deaths.last().is_none_or(|death| death.back.is_some());
            if running.clone().all(is_back) && self.joined() >= running.count() {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn wait_for_the_start(&mut self, deadline: Instant) -> Result<(), DemoError> {
        if self.clock.now() >= deadline {
            return Err(DemoError::StartTimeout {
                joined: self.joined(),
                expected: 1
                    + usize::from(self.config.nodes)
                    + usize::from(LAYERS * MIXNODES_PER_LAYER),
                seconds: START_TIMEOUT.as_secs(),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
        self.look_after_processes().await
    }

    /// Waits for something while the processes are looked after, and not beyond the job's deadline.
    pub(super) async fn meanwhile<T>(
        &mut self,
        awaited: impl Future<Output = T>,
    ) -> Result<T, DemoError> {
        tokio::pin!(awaited);
        loop {
            tokio::select! {
                biased;
                done = &mut awaited => return Ok(done),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look_after_processes().await?;
            self.check_deadline()?;
        }
    }

    /// Starts again what has ended, and reads what the coordinator has noted.
    pub(super) async fn look_after_processes(&mut self) -> Result<(), DemoError> {
        self.read_names();
        let lines = self.read_record()?;
        if lines.iter().any(|line| self.is_of_a_death_unseen(line)) {
            // Before anything is said of what ends because everything is to stop.
            tokio::time::sleep(SIGNAL_GRACE).await;
        }
        while let Some((index, failed)) = self.next_ended() {
            // It may be the first of all that were asked to stop.
            tokio::time::sleep(SIGNAL_GRACE).await;
            // What ends of itself before it has said who it is cannot be helped by starting it again.
            if failed && self.processes[index].node.is_none() {
                return Err(self.ended_error(index));
            }
            let process = &self.processes[index];
            let (name, status) = (process.name.clone(), process.gone());
            let status = status.and_then(|death| death.ended.clone());
            let pid = process.pid.unwrap_or_default();
            self.start_again(index)?;
            self.say(&format!(
                "{name} (process {pid}) ended ({}); it is started again as process {}",
                status.unwrap_or_default(),
                self.processes[index].pid.unwrap_or_default(),
            ));
        }
        lines.into_iter().for_each(|line| self.take_note(line));
        Ok(())
    }

    /// The next process that was found to have ended and was there before, and whether of itself,
    /// with an error.
    fn next_ended(&mut self) -> Option<(usize, bool)> {
        for (index, process) in self.processes.iter_mut().enumerate() {
            if process.running
                && let Ok(Some(status)) = process.child.try_wait()
            {
                process.died(self.clock.unix_now(), Some(status.to_string()));
                return Some((index, status.code().is_some_and(|code| code != 0)));
            }
        }
        None
    }

    fn start_again(&mut self, index: usize) -> Result<(), DemoError> {
        let process = &self.processes[index];
        if process.deaths.len() > RESTARTS_MAX as usize {
            return Err(self.ended_error(index));
        }
        let child = self.spawn(process.part, &process.data, &process.arguments)?;
        let process = &mut self.processes[index];
        process.pid = child.id();
        process.child = child;
        process.running = true;
        Ok(())
    }

    /// Finds out which process is which node: each writes its id into its log.
    fn read_names(&mut self) {
        for process in &mut self.processes {
            let beginning = match process.part {
                Part::Coordinator => "coordinator ",
                Part::Node(_) => "node ",
            };
            if process.node.is_some() {
                continue;
            }
            let log = std::fs::read_to_string(process.log()).unwrap_or_default();
            // The last line may be half of one.
            let lines = log.split_inclusive('\n');
            process.node = lines
                .filter_map(|line| line.strip_suffix('\n')?.strip_prefix(beginning))
                .find_map(|id| id.trim().parse().ok());
        }
    }

    fn ended_error(&self, index: usize) -> DemoError {
        let process = &self.processes[index];
        let log = std::fs::read_to_string(process.log()).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        let status = process.deaths.last().and_then(|death| death.ended.clone());
        DemoError::NodeEnded {
            node: process.name.clone(),
            status: status.unwrap_or_default(),
            log: tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
        }
    }

    /// Kills what is to be killed once its time has come. What is not there to be killed now may be
    /// a moment later.
    pub(super) async fn kill_when_due(&mut self, done: usize) -> Result<(), DemoError> {
        let Some(plot) = self.plot.filter(|plot| done >= plot.tiles) else {
            return Ok(());
        };
        let candidates: Vec<_> = (0..self.processes.len())
            .filter(|index| self.may_be_killed(*index, plot.part))
            .collect();
        let Some(&index) = choose(&candidates, plot.draw) else {
            return Ok(());
        };
        self.plot = None;
        let process = &mut self.processes[index];
        // `kill` is SIGKILL on Unix: the process gets no chance to say goodbye.
        process
            .child
            .kill()
            .await
            .map_err(|source| file_error("killing", &process.data, source))?;
        process.died(self.clock.unix_now(), None);
        let (name, pid) = (process.name.clone(), process.pid.unwrap_or_default());
        let when = format!("{done} of {} tiles were back", self.tiles.len());
        self.say(&format!(
            "{when}: killed {name} (process {pid}) with SIGKILL"
        ));
        if plot.part == Kill::Compute {
            return Ok(());
        }
        self.start_again(index)?;
        let pid = self.processes[index].pid.unwrap_or_default();
        self.say(&format!("{name} is started again as process {pid}"));
        Ok(())
    }

    fn may_be_killed(&self, index: usize, part: Kill) -> bool {
        let process = &self.processes[index];
        let wanted = match process.part {
            Part::Coordinator => part == Kill::Coordinator,
            Part::Node(Role::Mix { .. }) => part == Kill::Mix,
            // One that computes a tile right now, and not the last one.
            Part::Node(Role::Compute) => {
                part == Kill::Compute
                    && self.is_at_work(index)
                    && (self.processes.iter().enumerate())
                        .any(|(other, it)| other != index && it.is_compute() && it.running)
            }
        };
        wanted && process.running
    }

    fn is_at_work(&self, index: usize) -> bool {
        let mut attempts = self.tiles.iter().flat_map(|tile| &tile.attempts);
        attempts.any(|it| it.node == index && it.result.is_none() && it.lost.is_none())
    }

    /// Asks the coordinator to end, so that it says what was counted and others may read its files.
    pub(super) async fn stop_coordinator(&mut self) -> Result<(), DemoError> {
        // What they counted at other times does not count.
        for process in &mut self.processes {
            if let Some(known) = &mut process.known {
                known.packets = None;
            }
        }
        let process = &mut self.processes[COORDINATOR];
        drop(process.child.stdin.take());
        let ended = tokio::time::timeout(END_TIMEOUT, process.child.wait()).await;
        // Whoever does not end is killed, and whoever is killed says nothing more; the files are whole.
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) => match process.child.start_kill() {
                Ok(()) => process.child.wait().await,
                Err(error) => Err(error),
            },
        };
        let status = ended.map_err(|source| file_error("ending", &process.data, source))?;
        process.running = false;
        if !status.success() {
            process.died(self.clock.unix_now(), Some(status.to_string()));
        }
        let last = self.read_record()?;
        last.into_iter().for_each(|line| self.take_note(line));
        Ok(())
    }

    pub(super) async fn end_processes(&mut self) {
        for process in &mut self.processes {
            let _ = process.child.start_kill();
        }
        for process in &mut self.processes {
            let _ = process.child.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_draws_what_is_killed_and_when() {
        let drawn = |kill| (0..200).map(move |seed| Plot::new(kill, seed, 24));
        assert!(drawn(Kill::None).all(|plot| plot.is_none()));
        let plots: Vec<_> = drawn(Kill::Any).flatten().collect();
        let again: Vec<_> = drawn(Kill::Any).flatten().collect();
        assert_eq!((plots.len(), &plots), (200, &again));
        for part in [Kill::Compute, Kill::Mix, Kill::Coordinator] {
            assert!(plots.iter().any(|plot| plot.part == part), "{part:?}");
        }
        for tiles in 0..24 {
            assert!(plots.iter().any(|plot| plot.tiles == tiles), "{tiles}");
        }
        assert!(plots.iter().all(|plot| plot.tiles < 24));
        assert_eq!(choose::<u8>(&[], 7), None);
    }
}
