//! What one demonstration did, and the page that shows it.

use serde::Serialize;

/// Everything a demonstration measured and decided. Times are milliseconds since its job was
/// submitted. Amounts are exact decimal text: credits, but for an attempt's `paid` and the ledger's
/// `sum`, which are base units.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub version: &'static str,
    pub seed: u64,
    /// Wall time of the start, in milliseconds since 1970-01-01 UTC.
    pub started_unix_ms: u64,
    /// Whether the harvest policy decided, or was overruled with `--policy always`.
    pub policy_enforced: bool,
    /// What was to be killed, as `--kill` names it.
    pub kill: &'static str,
    pub picture: Picture,
    pub nodes: Vec<NodeReport>,
    pub front: Front,
    pub tiles: Vec<Tile>,
    /// The account as it was printed, line by line.
    pub events: Vec<Moment>,
    pub ledger: LedgerReport,
    /// Start of the first process until the page was written.
    pub elapsed_ms: f64,
}

/// The picture that was computed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Picture {
    pub width: u32,
    pub height: u32,
    /// BLAKE3 of the pixels the fog returned.
    pub digest: String,
    /// BLAKE3 of the pixels of a native render of the same picture.
    pub native_digest: String,
    #[serde(skip)]
    pub png: Vec<u8>,
}

/// One process. `None` is what the node does not have or nobody knows; it is not zero.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    /// A short name people can follow: `mix 1a`, `compute 3`, `coordinator`.
    pub name: String,
    /// First digits of its id.
    pub id: String,
    /// `None` for compute nodes and the coordinator, the layer from 0 for mixnodes.
    pub layer: Option<u8>,
    pub compute: bool,
    /// The processes it was before.
    pub deaths: Vec<Death>,
    /// The process it is, or was last.
    pub process: Option<u32>,
    pub address: String,
    /// What a compute node lent when the job was submitted: its part of what the policy lends of the
    /// machine, and the speed it promised for each task.
    pub cpu_millis: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub fuel_per_second: Option<u64>,
    pub price_per_gigafuel: Option<String>,
    /// From the coordinator to the node and back.
    pub latency_ms: Option<f64>,
    /// Mean and 5 % quantile of the Beta reputation of a compute node, after the run.
    pub reputation_mean: Option<f64>,
    pub reputation_lower: Option<f64>,
    pub tiles_done: Option<usize>,
    pub paid: Option<String>,
    /// Readings of a compute node's sensors and its policy's decision about them, as it sent them
    /// last before the job was submitted.
    pub status: serde_json::Value,
    /// What the mixnode of its last process counted until the end of the job, as it said when it was
    /// asked then.
    pub packets_received: Option<u64>,
    pub packets_forwarded: Option<u64>,
    pub packets_dropped: Option<u64>,
}

/// How a process ended before its time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Death {
    pub process: Option<u32>,
    /// When the demonstration killed it with SIGKILL, or found that it had ended.
    pub at_ms: f64,
    /// How it ended, in the words of the operating system, if it was not the demonstration that
    /// killed it.
    pub ended: Option<String>,
    /// When the process that was started in its place took part. `None` if none did.
    pub back_ms: Option<f64>,
}

impl NodeReport {
    /// How its last process ended, if nothing took its place.
    pub(crate) fn gone(&self) -> Option<&Death> {
        self.deaths.last().filter(|death| death.back_ms.is_none())
    }
}

/// The placements the optimiser found for the whole job.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Front {
    /// Names of the objectives, all minimised.
    pub objectives: Vec<String>,
    /// One row a point.
    pub points: Vec<Vec<f64>>,
    pub chosen: usize,
    /// Why, in words and numbers.
    pub explanation: String,
}

/// One tile of the picture.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tile {
    pub index: usize,
    pub row_start: u32,
    pub row_count: u32,
    pub attempts: Vec<Attempt>,
}

/// One try at a tile on one node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    /// Index into [`Report::nodes`].
    pub node: usize,
    pub number: u32,
    /// Sent into the mixnet.
    pub start_ms: f64,
    /// Result received, or the attempt lost.
    pub end_ms: f64,
    /// `None` if the attempt was lost.
    pub result: Option<AttemptResult>,
    /// Why it was lost.
    pub lost: Option<String>,
}

/// What an attempt brought.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AttemptResult {
    /// Time in the sandbox, measured by the node.
    pub run_ms: f64,
    /// The rest of the way there and back: mixnodes, delays, sockets, waiting for a processor.
    pub network_ms: f64,
    pub fuel: u64,
    pub paid: String,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moment {
    pub at_ms: f64,
    pub text: String,
}

/// The money.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LedgerReport {
    pub entries: Vec<LedgerRow>,
    pub balances: Vec<Balance>,
    /// Sum of all signed balances in base units: zero, or the books do not balance.
    pub sum: String,
    /// Digest that ends the chain of entries.
    pub chain: String,
    pub endowment: String,
    pub paid: String,
    pub released: String,
}

/// One entry of the history.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LedgerRow {
    pub sequence: u64,
    pub kind: String,
    pub from: String,
    pub to: String,
    /// In credits, exact decimal text.
    pub credits: String,
}

/// One account at the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Balance {
    pub account: String,
    /// In credits, exact decimal text, with a minus sign for the issuer.
    pub credits: String,
}
