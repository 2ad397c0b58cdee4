//! What a coordinator did, as lines of a file for whoever looks into a run.
//!
//! Every line is a JSON object: `at`, milliseconds since 1970-01-01 UTC; `what`, one of [`Noted`]'s
//! names; and what belongs to it. A coordinator that is started again appends to the same file. What
//! must not be missing is in the journal and not here: a line may be lost with the process that would
//! have written it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fogcompute_base::{NodeId, TaskId, UnixMillis};
use fogcompute_coord::Event;
use fogcompute_ledger::Amount;
use fogcompute_mix::MixStats;
use fogcompute_schedule::{OBJECTIVE_COUNT, Plan};
use serde::{Deserialize, Serialize};

use crate::coordinate::{CoordinatorService, NodeRecord, Update};
use crate::protocol::Role;

/// How long nodes may take to say what they counted, when their coordinator ends.
const LAST_COUNTS_MAX: Duration = Duration::from_secs(5);

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) at: UnixMillis,
    #[serde(flatten)]
    pub(crate) noted: Noted,
}

/// What is noted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Noted {
    /// A coordinator was started; its nodes have to join it anew.
    Started {
        coordinator: NodeId,
        address: SocketAddr,
    },
    /// A node joined, or said something new.
    Node(NodeNote),
    /// A node left, and is known no more.
    Left { node: NodeId },
    /// Tasks were placed by the optimiser.
    Placed(PlacedNote),
    /// No node can take a task; it waits for one.
    Unplaceable { task: TaskId, reason: String },
    /// An attempt came to nothing.
    AttemptLost {
        task: TaskId,
        node: NodeId,
        attempt: u32,
        reason: String,
    },
    /// The tasks of a node go to others.
    NodeLost { node: NodeId, reason: String },
    /// The coordinator was asked to end.
    Ended {
        /// What its own mixnode counted.
        packets: Packets,
    },
}

/// What is known of a node.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct NodeNote {
    pub(crate) node: NodeId,
    /// Its mix layer, from 0. `None` of a compute node.
    pub(crate) layer: Option<u8>,
    pub(crate) address: SocketAddr,
    /// Whether the way to it is known. A node that has just joined has not answered yet.
    pub(crate) answered: bool,
    pub(crate) cpu_millis: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) fuel_per_second: u64,
    /// Base units, as text: JSON's numbers are shorter.
    price_per_gigafuel: String,
    pub(crate) latency_ms: f64,
    /// Readings and decision, as the node sent them.
    pub(crate) status: serde_json::Value,
    /// What its mixnode counted, if it has said so since it joined or was asked.
    pub(crate) packets: Option<Packets>,
}

/// The placements that were found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct PlacedNote {
    pub(crate) tasks: usize,
    /// The objectives of each.
    pub(crate) points: Vec<[f64; OBJECTIVE_COUNT]>,
    /// Which was taken.
    pub(crate) chosen: usize,
    /// What it costs, in base units, as text.
    cost: String,
    /// Why it was taken.
    pub(crate) explanation: String,
}

/// What a mixnode counted since it was started.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Packets {
    pub(crate) received: u64,
    pub(crate) forwarded: u64,
    /// All that came and went nowhere.
    pub(crate) dropped: u64,
}

impl From<MixStats> for Packets {
    fn from(mix: MixStats) -> Self {
        let dropped = [
            mix.malformed,
            mix.replayed,
            mix.overloaded,
            mix.late,
            mix.refused,
        ];
        Self {
            received: mix.received,
            forwarded: mix.forwarded,
            // A node may claim what it wants.
            dropped: dropped.into_iter().fold(0, u64::saturating_add),
        }
    }
}

impl NodeNote {
    fn new(node: NodeId, record: &NodeRecord) -> Self {
        let offer = &record.offer;
        Self {
            node,
            layer: match record.role {
                Role::Mix { layer } => Some(layer),
                Role::Compute => None,
            },
            address: record.descriptor.address,
            answered: record.answered,
            cpu_millis: offer.cpu_millis,
            memory_bytes: offer.memory_bytes,
            fuel_per_second: offer.fuel_per_second,
            price_per_gigafuel: offer.price_per_gigafuel.0.to_string(),
            latency_ms: offer.latency_ms,
            status: serde_json::from_str(&record.status).unwrap_or_default(),
            packets: record.mix.map(Packets::from),
        }
    }

    /// What it asks for 10⁹ fuel, if the line says it.
    pub(crate) fn price_per_gigafuel(&self) -> Option<Amount> {
        self.price_per_gigafuel.parse().ok().map(Amount)
    }
}

impl PlacedNote {
    fn new(tasks: usize, plan: &Plan) -> Self {
        let points = plan.front().iter();
        Self {
            tasks,
            points: points.map(|point| point.objectives).collect(),
            chosen: plan.chosen_index(),
            cost: plan.chosen().cost.to_string(),
            explanation: plan.explain().to_string(),
        }
    }

    /// What the placement costs that was taken, if the line says it.
    pub(crate) fn cost(&self) -> Option<Amount> {
        self.cost.parse().ok().map(Amount)
    }
}

/// Writes the lines of a coordinator.
pub(crate) struct Recorder {
    path: PathBuf,
    file: File,
    /// What was last noted of each node.
    nodes: BTreeMap<NodeId, NodeNote>,
    /// Whether it was said that lines cannot be written.
    complained: bool,
}

impl Recorder {
    /// Goes on behind what is there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        // A line that was cut off by the end of a process must not take the next one with it.
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            nodes: BTreeMap::new(),
            complained: false,
        })
    }

    /// A coordinator has been started.
    pub(crate) fn started(&mut self, fog: &CoordinatorService) {
        let descriptor = fog.descriptor();
        let noted = Noted::Started {
            coordinator: descriptor.node,
            address: descriptor.address,
        };
        self.write(fog, noted);
    }

    /// Takes note of what a coordinator tells.
    pub(crate) fn note(&mut self, fog: &CoordinatorService, update: &Update) {
        match update {
            Update::Joined { node, .. } | Update::Heard { node } => self.note_node(fog, *node),
            Update::Decided { event, .. } => {
                if let Some(noted) = noted(event) {
                    self.write(fog, noted);
                }
            }
            Update::Refused { .. }
            | Update::Unsent { .. }
            | Update::Stalled { .. }
            | Update::Resumed => {}
        }
    }

    fn note_node(&mut self, fog: &CoordinatorService, node: NodeId) {
        let Some(record) = fog.node(node) else {
            if self.nodes.remove(&node).is_some() {
                self.write(fog, Noted::Left { node });
            }
            return;
        };
        let note = NodeNote::new(node, record);
        if self.nodes.get(&node) != Some(&note) {
            self.nodes.insert(node, note.clone());
            self.write(fog, Noted::Node(note));
        }
    }

    /// Asks every node what its mixnode counted, for heartbeats are too old to be the last word, and
    /// ends the record. Of a node that does not answer in time it stays unknown.
    pub(crate) async fn close(mut self, fog: &mut CoordinatorService) {
        fog.ask_counts();
        // What they said before may be the same.
        self.nodes.clear();
        let counts = async {
            while fog.nodes().any(|(_, record)| record.mix.is_none()) {
                let Ok(update) = fog.next().await else { return };
                self.note(fog, &update);
            }
        };
        // Whoever has not answered by then is gone or busy.
        let _ = tokio::time::timeout(LAST_COUNTS_MAX, counts).await;
        let nodes: Vec<_> = fog.nodes().map(|(node, _)| node).collect();
        nodes.into_iter().for_each(|node| self.note_node(fog, node));
        let packets = fog.mix_stats().await.into();
        self.write(fog, Noted::Ended { packets });
    }

    /// A coordinator whose record cannot be written goes on.
    fn write(&mut self, fog: &CoordinatorService, noted: Noted) {
        let at = fog.wall();
        let written = serde_json::to_vec(&Line { at, noted })
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.file.write_all(&line)
            });
        if let Err(error) = written
            && !std::mem::replace(&mut self.complained, true)
        {
            let path = self.path.display();
            let _ = writeln!(io::stderr(), "the record {path} cannot be written: {error}");
        }
    }
}

/// What of the rules' decisions is noted: not what the journal tells watchers.
fn noted(event: &Event) -> Option<Noted> {
    Some(match event {
        Event::Placed { tasks, plan } => Noted::Placed(PlacedNote::new(*tasks, plan)),
        Event::Unplaceable { task, error } => Noted::Unplaceable {
            task: *task,
            reason: error.to_string(),
        },
        Event::AttemptLost {
            task,
            node,
            attempt,
            reason,
        } => Noted::AttemptLost {
            task: *task,
            node: *node,
            attempt: *attempt,
            reason: reason.to_string(),
        },
        Event::NodeLost { node, reason } => Noted::NodeLost {
            node: *node,
            reason: reason.to_string(),
        },
        _ => return None,
    })
}

/// Reads lines while others are still to come.
#[derive(Debug)]
pub(crate) struct Following {
    path: PathBuf,
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl Following {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            begun: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that have come since the last call. What is no line, because it was cut off, is left
    /// out.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Line>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            // It is made when the coordinator is started.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.begun)? as u64;
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        let lines = whole.split(|byte| *byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([3; 32]);

    fn lines() -> Vec<Line> {
        let note = NodeNote {
            node: NODE,
            layer: Some(2),
            address: ([127, 0, 0, 1], 4600).into(),
            answered: true,
            cpu_millis: u64::MAX,
            memory_bytes: 1,
            fuel_per_second: 2,
            price_per_gigafuel: u128::MAX.to_string(),
            latency_ms: 0.25,
            status: serde_json::json!({"decision": {"verdict": "allow"}}),
            packets: Some(Packets {
                received: u64::MAX,
                forwarded: 1,
                dropped: 0,
            }),
        };
        let placed = PlacedNote {
            tasks: 2,
            points: vec![[0.1; OBJECTIVE_COUNT], [1e18; OBJECTIVE_COUNT]],
            chosen: 1,
            cost: u128::MAX.to_string(),
            explanation: "two\nlines".to_owned(),
        };
        let task = TaskId::from_bytes([7; 16]);
        let reason = "why".to_owned();
        [
            Noted::Started {
                coordinator: NODE,
                address: ([127, 0, 0, 1], 4600).into(),
            },
            Noted::Node(note),
            Noted::Placed(placed),
            Noted::Unplaceable {
                task,
                reason: reason.clone(),
            },
            Noted::AttemptLost {
                task,
                node: NODE,
                attempt: 2,
                reason: reason.clone(),
            },
            Noted::NodeLost { node: NODE, reason },
            Noted::Left { node: NODE },
            Noted::Ended {
                packets: MixStats::default().into(),
            },
        ]
        .into_iter()
        .zip(1..)
        .map(|(noted, at)| Line {
            at: UnixMillis(at),
            noted,
        })
        .collect()
    }

    #[test]
    fn what_is_written_is_read_whenever_it_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut following = Following::new(path.clone());
        assert_eq!(following.read().unwrap(), []);
        let lines = lines();
        let mut file = File::create(&path).unwrap();
        let mut read = Vec::new();
        for line in &lines {
            let mut text = serde_json::to_vec(line).unwrap();
            text.push(b'\n');
            // Looked for while half of it is there.
            let (first, second) = text.split_at(text.len() / 2);
            for part in [first, second] {
                file.write_all(part).unwrap();
                read.extend(following.read().unwrap());
            }
        }
        assert_eq!(read, lines);
        let Noted::Node(note) = &read[1].noted else {
            panic!("{read:?}")
        };
        assert_eq!(note.price_per_gigafuel(), Some(Amount(u128::MAX)));
    }

    #[test]
    fn a_line_that_was_cut_off_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let line = &lines()[6];
        let text = serde_json::to_string(line).unwrap();
        std::fs::write(&path, format!("{text}\n{}", &text[..9])).unwrap();
        let mut again = Recorder::open(&path).unwrap();
        writeln!(again.file, "{text}").unwrap();
        let read = Following::new(path).read().unwrap();
        assert_eq!(read, [line.clone(), line.clone()]);
    }

    #[test]
    fn dropped_packets_are_all_that_came_and_went_nowhere() {
        let mix = MixStats {
            received: 100,
            forwarded: 60,
            delivered: 9,
            malformed: 1,
            replayed: 2,
            overloaded: 4,
            late: 8,
            refused: 16,
        };
        let packets = Packets::from(mix);
        let counts = (packets.received, packets.forwarded, packets.dropped);
        assert_eq!(counts, (100, 60, 31));
        let boast = MixStats {
            late: u64::MAX,
            ..mix
        };
        assert_eq!(Packets::from(boast).dropped, u64::MAX);
    }
}
