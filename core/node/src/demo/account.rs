//! The account: who did what, and where the money went.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use fogcompute_base::{AccountId, NodeId};
use fogcompute_coord::{clearing_account, mint_account, node_account};
use fogcompute_ledger::{Amount, EntryKind, Head};
use fogcompute_schedule::Reputation;
use fogcompute_store::{Durability, JobStore, SqliteLedger};

use super::processes::{Part, Process};
use super::{Demo, DemoError, TILE_MEMORY_BYTES};
use crate::error::NodeError;
use crate::protocol::Role;
use crate::record::{NodeNote, Packets};
use crate::report::{Balance, Death, LedgerReport, LedgerRow, NodeReport};
use crate::report_page::{memory, rounded};

/// Thousandths of a processor that a tile takes: the sandbox runs it on a whole one.
const TILE_CPU_MILLIS: u64 = 1000;

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// What a coordinator that has ended left.
pub(super) struct CoordinatorFiles {
    bank: SqliteLedger,
    reputations: BTreeMap<NodeId, Reputation>,
}

impl CoordinatorFiles {
    pub(super) fn open(data: &Path) -> Result<Self, DemoError> {
        let bank = SqliteLedger::open(data.join("ledger.sqlite"), Durability::Full);
        let bank = bank.map_err(NodeError::from)?;
        let jobs = JobStore::open(data.join("jobs.sqlite"), Durability::Full);
        let stored = jobs.and_then(|jobs| jobs.stored());
        let nodes = stored.map_err(NodeError::from)?.nodes.into_iter();
        let reputations = nodes.map(|node| (node.id, node.reputation)).collect();
        Ok(Self { bank, reputations })
    }
}

impl Demo {
    pub(super) fn node_reports(&self, files: &CoordinatorFiles) -> Vec<NodeReport> {
        let processes = self.processes.iter().enumerate();
        processes
            .map(|(index, process)| self.node_report(index, process, files))
            .collect()
    }

    fn node_report(&self, index: usize, process: &Process, files: &CoordinatorFiles) -> NodeReport {
        let known = process.known.as_ref();
        let compute = process.is_compute();
        // Only compute nodes offer, are trusted, and are paid.
        let lent = process.lent.as_ref().filter(|_| compute);
        let reputation = process.node.and_then(|id| files.reputations.get(&id));
        let reputation = reputation.filter(|_| compute);
        let attempts = self.tiles.iter().flat_map(|tile| &tile.attempts);
        let tiles_done = attempts
            .filter(|attempt| attempt.node == index && attempt.result.is_some())
            .count();
        let paid = process
            .node
            .and_then(|id| files.bank.balance(node_account(id)))
            .unwrap_or(Amount(0));
        let address = match process.part {
            Part::Coordinator => self.address,
            Part::Node(_) => known.map(|known| known.address),
        };
        let report = NodeReport {
            name: process.name.clone(),
            id: process.node.map(|id| id.short()).unwrap_or_default(),
            layer: match process.part {
                Part::Node(Role::Mix { layer }) => Some(layer),
                Part::Node(Role::Compute) | Part::Coordinator => None,
            },
            compute,
            deaths: process
                .deaths
                .iter()
                .map(|death| Death {
                    process: death.pid,
                    at_ms: self.millis(death.at),
                    ended: death.ended.clone(),
                    back_ms: death.back.map(|at| self.millis(at)),
                })
                .collect(),
            process: process.pid,
            address: address.map(|it| it.to_string()).unwrap_or_default(),
            cpu_millis: lent.map(part_cpu_millis),
            memory_bytes: lent.map(|lent| lent.memory_bytes),
            fuel_per_second: lent.map(|lent| lent.fuel_per_second),
            price_per_gigafuel: lent
                .and_then(NodeNote::price_per_gigafuel)
                .map(Amount::to_credits_string),
            latency_ms: known.filter(|it| it.answered).map(|it| it.latency_ms),
            reputation_mean: reputation.map(Reputation::expected),
            reputation_lower: reputation.map(Reputation::lower_bound),
            tiles_done: compute.then_some(tiles_done),
            paid: compute.then(|| paid.to_credits_string()),
            status: lent.map_or(serde_json::Value::Null, |lent| lent.status.clone()),
            packets_received: None,
            packets_forwarded: None,
            packets_dropped: None,
        };
        // One that is gone can say nothing any more of what it counted last.
        let packets = match process.part {
            Part::Coordinator => self.own_packets,
            Part::Node(_) => known.and_then(|known| known.packets),
        };
        counted(report, packets.filter(|_| process.gone().is_none()))
    }

    pub(super) fn ledger_report(
        &self,
        files: &CoordinatorFiles,
    ) -> Result<LedgerReport, DemoError> {
        let bank = &files.bank;
        let verified = bank.verify().map_err(NodeError::from)?;
        let mut names: BTreeMap<AccountId, String> = BTreeMap::from([
            (mint_account(), "mint".to_owned()),
            (clearing_account(), "clearing".to_owned()),
        ]);
        names.extend(self.owner.map(|owner| (owner, "owner".to_owned())));
        for process in &self.processes {
            if let Some(node) = process.node.filter(|_| process.is_compute()) {
                names.insert(node_account(node), process.name.clone());
            }
        }
        let name = |account: &AccountId| {
            names
                .get(account)
                .cloned()
                .unwrap_or_else(|| account.short())
        };
        let mut entries = Vec::new();
        let mut after = Head::GENESIS.sequence;
        loop {
            let page = bank.entries(after, 1000).map_err(NodeError::from)?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            entries.extend(page);
        }
        let rows = entries
            .iter()
            .map(|entry| {
                let (kind, from, to, amount) = describe_entry(&entry.kind);
                LedgerRow {
                    sequence: entry.sequence,
                    kind: kind.to_owned(),
                    from: from.map(|account| name(&account)).unwrap_or_default(),
                    to: to.map(|account| name(&account)).unwrap_or_default(),
                    credits: amount.map(Amount::to_credits_string).unwrap_or_default(),
                }
            })
            .collect();
        // Signed balances: the issuer's is minus what it issued.
        let mut positive = 0_u128;
        let mut negative = 0_u128;
        let mut balances = Vec::new();
        let mut paid = 0_u128;
        for account in bank.state().accounts() {
            let (credit, debit) = (account.credits_posted.0, account.debits_posted.0);
            positive += credit;
            negative += debit;
            let (sign, balance) = if credit >= debit {
                ("", credit - debit)
            } else {
                ("-", debit - credit)
            };
            if names
                .get(&account.id)
                .is_some_and(|name| name.starts_with("compute"))
            {
                paid += balance;
            }
            balances.push(Balance {
                account: name(&account.id),
                credits: format!("{sign}{}", Amount(balance).to_credits_string()),
            });
        }
        let sum = if positive >= negative {
            (positive - negative).to_string()
        } else {
            format!("-{}", negative - positive)
        };
        if sum != "0" {
            return Err(DemoError::Unbalanced { sum });
        }
        // What the mint issued is what the owner started with: this ledger issues once.
        let endowment = bank
            .state()
            .account(mint_account())
            .map_or(Amount(0), |mint| mint.debits_posted);
        let reserved: u128 = entries
            .iter()
            .map(|entry| match entry.kind {
                EntryKind::Reserved { amount, .. } => amount.0,
                _ => 0,
            })
            .sum();
        Ok(LedgerReport {
            entries: rows,
            balances,
            sum,
            chain: verified.head.chain.to_string(),
            endowment: endowment.to_credits_string(),
            paid: Amount(paid).to_credits_string(),
            released: Amount(reserved - paid).to_credits_string(),
        })
    }
}

/// A report with what the node's mixnode counted, if that is known.
fn counted(report: NodeReport, packets: Option<Packets>) -> NodeReport {
    NodeReport {
        packets_received: packets.map(|packets| packets.received),
        packets_forwarded: packets.map(|packets| packets.forwarded),
        packets_dropped: packets.map(|packets| packets.dropped),
        ..report
    }
}

/// Thousandths of a processor that a node's part of the machine is, whatever whole processors it
/// promises them as.
fn part_cpu_millis(lent: &NodeNote) -> u64 {
    lent.status["part_cpu_millis"]
        .as_u64()
        .unwrap_or(lent.cpu_millis)
}

/// Why what a node lends is too little for a tile; `None` if it is not.
pub(super) fn too_little(lent: &NodeNote) -> Option<String> {
    let status = &lent.status;
    let objections = words(status, "objections");
    if status["decision"]["verdict"] == "refuse" && !objections.is_empty() {
        return Some(objections.join("; "));
    }
    let because = if objections.is_empty() || status["enforced"] == false {
        String::new()
    } else {
        format!(", because {}", objections.join("; "))
    };
    // Less of a processor would do it too, in minutes instead of seconds.
    let machine = status["machine_cpu_millis"]
        .as_u64()
        .unwrap_or(lent.cpu_millis);
    if machine.min(lent.cpu_millis) < TILE_CPU_MILLIS {
        return Some(format!(
            "{} of this machine's processors are lent{because}, and a tile needs 1",
            processors(machine)
        ));
    }
    (lent.memory_bytes < TILE_MEMORY_BYTES).then(|| {
        format!(
            "each node lends {}{because}, and a tile needs {}",
            memory(lent.memory_bytes as f64),
            memory(TILE_MEMORY_BYTES as f64)
        )
    })
}

/// What a node read, decided and lends, in a line.
pub(super) fn describe_lending(name: &str, lent: &NodeNote) -> String {
    let status = &lent.status;
    let verdict = status["decision"]["verdict"].as_str().unwrap_or("unknown");
    let mut line = format!("{name}: {} → {verdict}", describe_device(&status["device"]));
    if lent.cpu_millis > 0 {
        let price = lent.price_per_gigafuel().map(Amount::to_credits_string);
        let _ = write!(
            line,
            ", lends {} processors and {}, {} Mfuel/s for {} credits per Gfuel",
            processors(part_cpu_millis(lent)),
            memory(lent.memory_bytes as f64),
            lent.fuel_per_second / 1_000_000,
            price.map_or_else(|| "unknown".to_owned(), |price| rounded(&price)),
        );
    }
    line
}

/// Thousandths of a processor as processors.
fn processors(millis: u64) -> String {
    format!("{:.2}", millis as f64 / 1000.0)
}

pub(super) fn words(status: &serde_json::Value, which: &str) -> Vec<String> {
    status[which]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect()
}

fn describe_device(device: &serde_json::Value) -> String {
    let number = |key: &str| device[key].as_f64();
    let mut parts = Vec::new();
    parts.push(match number("cpu_cores") {
        Some(cores) => format!("{cores} processors"),
        None => "processors unknown".to_owned(),
    });
    parts.push(match number("cpu_load") {
        Some(load) => format!("load {:.0} %", load * 100.0),
        None => "load unknown".to_owned(),
    });
    parts.push(
        match (
            number("memory_available_bytes"),
            number("memory_total_bytes"),
        ) {
            (Some(available), Some(total)) => {
                format!("{:.1} of {:.1} GiB free", available / GIB, total / GIB)
            }
            _ => "memory unknown".to_owned(),
        },
    );
    let battery = &device["battery"];
    parts.push(
        match (
            battery.as_str(),
            battery["present"]["level_percent"].as_f64(),
        ) {
            (_, Some(level)) => format!("battery {level:.0} %"),
            (Some("absent"), _) => "no battery".to_owned(),
            _ => "battery unknown".to_owned(),
        },
    );
    parts.push(match number("temperature_celsius") {
        Some(celsius) => format!("{celsius:.0} °C"),
        None => "temperature unknown".to_owned(),
    });
    parts.join(", ")
}

fn describe_entry(
    kind: &EntryKind,
) -> (
    &'static str,
    Option<AccountId>,
    Option<AccountId>,
    Option<Amount>,
) {
    match *kind {
        EntryKind::Opened { account, .. } => ("open", None, Some(account), None),
        EntryKind::Transferred {
            from, to, amount, ..
        } => ("transfer", Some(from), Some(to), Some(amount)),
        EntryKind::Reserved {
            from, to, amount, ..
        } => ("reserve", Some(from), Some(to), Some(amount)),
        EntryKind::Posted {
            from, to, amount, ..
        } => ("post", Some(from), Some(to), Some(amount)),
        EntryKind::Voided {
            from, to, released, ..
        } => ("void", Some(from), Some(to), Some(released)),
        EntryKind::Expired {
            from, to, released, ..
        } => ("expire", Some(from), Some(to), Some(released)),
        EntryKind::Limited { account, .. } => ("limit", Some(account), None, None),
        EntryKind::Closed { account, .. } => ("close", Some(account), None, None),
        EntryKind::Owned { account, .. } => ("own", Some(account), None, None),
        EntryKind::Signed { account, .. } => ("sign", Some(account), None, None),
        EntryKind::Moved {
            from, to, amount, ..
        } => ("move", Some(from), Some(to), Some(amount)),
        _ => (kind.name(), kind.account(), None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::fixture_node;

    #[test]
    fn what_is_too_little_is_explained_by_what_decided() {
        // Unknown thermometers were named among the reasons.
        let lent = |cpu_millis: u64, memory_bytes: u64, status: &serde_json::Value| {
            let note = serde_json::json!({
                "node": NodeId::from_bytes([1; 32]),
                "layer": null,
                "address": "127.0.0.1:1",
                "answered": true,
                "cpu_millis": cpu_millis,
                "memory_bytes": memory_bytes,
                "fuel_per_second": 1,
                "price_per_gigafuel": "1",
                "latency_ms": 0.0,
                "status": status,
                "packets": null,
            });
            serde_json::from_value::<NodeNote>(note).unwrap()
        };
        let status = |verdict: &str, objections: &[&str], enforced: bool| {
            serde_json::json!({
                "decision": {"verdict": verdict},
                "objections": objections,
                "notes": ["the temperature is unknown"],
                "enforced": enforced,
                "machine_cpu_millis": 200,
            })
        };
        let busy = status("throttle", &["the owner is busy"], true);
        let mut enough = busy.clone();
        enough["machine_cpu_millis"] = 1000.into();
        assert_eq!(too_little(&lent(1000, 16 << 20, &enough)), None);
        // A quarter of a tenth of a processor took minutes for what takes seconds.
        assert!(too_little(&lent(1000, 16 << 20, &busy)).is_some());
        assert_eq!(
            too_little(&lent(50, 16 << 20, &busy)).unwrap(),
            "0.20 of this machine's processors are lent, because the owner is busy, and a tile \
             needs 1"
        );
        assert_eq!(
            too_little(&lent(1000, 8 << 20, &enough)).unwrap(),
            "each node lends 8\u{a0}MiB, because the owner is busy, and a tile needs 16\u{a0}MiB"
        );
        let refused = status("refuse", &["it is hot", "it is noon"], true);
        assert_eq!(
            too_little(&lent(0, 0, &refused)).unwrap(),
            "it is hot; it is noon"
        );
        let overruled = status("allow", &["it is hot"], false);
        assert_eq!(
            too_little(&lent(500, 1 << 30, &overruled)).unwrap(),
            "0.20 of this machine's processors are lent, and a tile needs 1"
        );
        assert!(too_little(&lent(0, 0, &serde_json::Value::Null)).is_some());
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        let counts = |packets| {
            let report = counted(fixture_node("mix 1a", 0), packets);
            (
                report.packets_received,
                report.packets_forwarded,
                report.packets_dropped,
            )
        };
        let packets = Packets {
            received: 100,
            forwarded: 60,
            dropped: 0,
        };
        assert_eq!(counts(Some(packets)), (Some(100), Some(60), Some(0)));
        assert_eq!(counts(None), (None, None, None));
    }
}
