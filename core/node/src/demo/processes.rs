//! The processes of the fog: starting, watching, killing and ending them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId, Rng};
use fogcompute_ledger::Amount;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::process::{Child, Command};

use super::config::{DemoError, file_error};
use super::{Demo, SIGNAL_GRACE};
use crate::coordinate::{CoordinatorService, NodeRecord, Update};
use crate::error::NodeError;
use crate::protocol::Role;

/// Mix layers of the demonstration, and mixnodes in each.
pub(super) const LAYERS: u8 = 3;
pub(super) const MIXNODES_PER_LAYER: u8 = 2;

/// How long the nodes may take to say what they counted, when the job has ended.
const COUNTS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long processes may take to start and join.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Process {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) data: PathBuf,
    pub(super) child: Child,
    pub(super) pid: Option<u32>,
    pub(super) node: Option<NodeId>,
    /// What the coordinator last knew of it.
    pub(super) record: Option<NodeRecord>,
    /// What it had said when the job was submitted: its reading, its decision and its offer.
    pub(super) lent: Option<NodeRecord>,
    /// When it was killed or was found to have ended.
    pub(super) killed: Option<Instant>,
    /// How it ended, if it was not the demonstration that killed it.
    pub(super) ended: Option<String>,
}

impl Demo {
    pub(super) fn start_processes(&mut self, fog: &CoordinatorService) -> Result<(), DemoError> {
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
                "--nodes-on-machine".into(),
                self.config.nodes.to_string(),
                "--policy".into(),
                if self.config.policy_always {
                    "always"
                } else {
                    "any-hour"
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
            record: None,
            lent: None,
            killed: None,
            ended: None,
        });
        Ok(())
    }

    /// Waits until every process has joined and every compute node has said what it lends.
    pub(super) async fn wait_until_joined(
        &mut self,
        fog: &mut CoordinatorService,
    ) -> Result<(), DemoError> {
        let deadline = self.clock.now() + START_TIMEOUT;
        let expected = self.processes.len();
        loop {
            let ready = fog.nodes().filter(|(_, record)| record.answered).count();
            if ready == expected {
                break;
            }
            if let Some(index) = self.next_ended().map(|(index, _)| index) {
                return Err(self.ended_error(index));
            }
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
                .filter(|id| fog.node(*id).is_some());
            process.record = process.node.and_then(|id| fog.node(id).cloned());
        }
    }

    /// Whether a node is believed to live.
    pub(super) fn is_thought_alive(&self, node: NodeId) -> bool {
        let mut processes = self.processes.iter();
        processes.any(|process| process.node == Some(node) && process.killed.is_none())
    }

    /// The next process that was found to have ended and was there before.
    fn next_ended(&mut self) -> Option<(usize, String)> {
        let now = self.clock.now();
        for (index, process) in self.processes.iter_mut().enumerate() {
            if process.killed.is_none()
                && let Ok(Some(status)) = process.child.try_wait()
            {
                process.killed = Some(now);
                process.ended = Some(status.to_string());
                return Some((index, status.to_string()));
            }
        }
        None
    }

    /// Looks whether processes have ended. The fog goes on while it has compute nodes and a mixnode
    /// in every layer: that is what it is for.
    pub(super) async fn check_processes(&mut self) -> Result<(), DemoError> {
        while let Some((index, status)) = self.next_ended() {
            // It may be the first of all that were asked to stop.
            tokio::time::sleep(SIGNAL_GRACE).await;
            if !self.can_spare(index) {
                return Err(self.ended_error(index));
            }
            let process = &self.processes[index];
            let (name, pid) = (process.name.clone(), process.pid.unwrap_or_default());
            self.say(&format!(
                "{name} (process {pid}) ended ({status}); the fog goes on without it"
            ));
        }
        Ok(())
    }

    /// Whether another node that lives does what this one did or does.
    fn can_spare(&self, index: usize) -> bool {
        let role = self.processes[index].role;
        let mut others = self.processes.iter().enumerate();
        others.any(|(other, process)| {
            other != index && process.role == role && process.killed.is_none()
        })
    }

    fn ended_error(&self, index: usize) -> DemoError {
        let process = &self.processes[index];
        let log = std::fs::read_to_string(process.data.join("node.log")).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        DemoError::NodeEnded {
            node: process.name.clone(),
            status: process.ended.clone().unwrap_or_default(),
            log: tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
        }
    }

    /// Keeps what the coordinator knows of a node: it forgets nodes that leave.
    pub(super) fn remember(&mut self, fog: &CoordinatorService, update: &Update) {
        let (Update::Heard { node } | Update::Joined { node, .. }) = *update else {
            return;
        };
        if let Some(record) = fog.node(node)
            && let Some(process) = self.processes.iter_mut().find(|it| it.node == Some(node))
        {
            process.record = Some(record.clone());
        }
    }

    /// Asks every node what its mixnode counted: heartbeats are too old to be the last word. Of a
    /// node that does not answer it stays unknown.
    pub(super) async fn collect_counts(
        &mut self,
        fog: &mut CoordinatorService,
    ) -> Result<(), DemoError> {
        for process in &mut self.processes {
            if let Some(record) = &mut process.record {
                record.mix = None;
            }
        }
        fog.ask_counts();
        let deadline = self.clock.now() + COUNTS_TIMEOUT;
        loop {
            let asked = self
                .processes
                .iter()
                .filter(|process| process.killed.is_none())
                .filter_map(|process| fog.node(process.node?));
            let mut missing = asked.filter(|record| record.mix.is_none());
            let left = deadline.duration_since(self.clock.now());
            if missing.next().is_none() || left.is_zero() {
                return Ok(());
            }
            drop(missing);
            if let Ok(update) = tokio::time::timeout(left, fog.next()).await {
                self.remember(fog, &update?);
            }
        }
    }

    /// Kills a node that is computing a tile right now. `false` if none is.
    pub(super) async fn kill_a_working_node(&mut self) -> Result<bool, DemoError> {
        let mut working: Vec<_> = self
            .tiles
            .iter()
            .flat_map(|tile| &tile.attempts)
            .filter(|attempt| attempt.result.is_none() && attempt.lost.is_none())
            .map(|attempt| attempt.node)
            .collect();
        working.sort_unstable();
        working.dedup();
        // Something may have ended one of them already; the last one is left alone.
        working.retain(|index| {
            let alive = |process: &Process| process.killed.is_none();
            self.processes.get(*index).is_some_and(alive) && self.can_spare(*index)
        });
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
        process.killed = Some(self.clock.now());
        let (name, pid) = (process.name.clone(), process.pid.unwrap_or_default());
        self.say(&format!(
            "half-way: killed {name} (process {pid}) with SIGKILL"
        ));
        Ok(true)
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
