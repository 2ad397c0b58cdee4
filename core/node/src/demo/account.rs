//! The account: who did what, and where the money went.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fogcompute_base::AccountId;
use fogcompute_coord::{Offer, clearing_account, mint_account, node_account};
use fogcompute_ledger::{Amount, EntryKind, Head};
use fogcompute_mix::MixStats;

use super::{Demo, DemoError, TILE_MEMORY_BYTES};
use crate::coordinate::{CoordinatorService, NodeRecord};
use crate::error::NodeError;
use crate::protocol::Role;
use crate::report::{Balance, LedgerReport, LedgerRow, NodeReport};
use crate::report_page::{memory, rounded};

/// Thousandths of a processor that a tile takes: the sandbox runs it on a whole one.
const TILE_CPU_MILLIS: u64 = 1000;

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

impl Demo {
    pub(super) fn node_reports(
        &self,
        fog: &CoordinatorService,
        own_mix: MixStats,
    ) -> Vec<NodeReport> {
        let views = fog.rules().nodes();
        let mut reports: Vec<_> = self
            .processes
            .iter()
            .enumerate()
            .map(|(index, process)| {
                let record = process.record.as_ref();
                let compute = process.role == Role::Compute;
                // Only compute nodes offer, are trusted, and are paid.
                let lent = process.lent.as_ref();
                let offer = lent.map(|record| record.offer).filter(|_| compute);
                let status = lent.map_or(serde_json::Value::Null, status);
                let view = process
                    .node
                    .and_then(|id| views.iter().find(|view| view.node == id));
                let tiles_done = self
                    .tiles
                    .iter()
                    .flat_map(|tile| &tile.attempts)
                    .filter(|attempt| attempt.node == index && attempt.result.is_some())
                    .count();
                let paid = process
                    .node
                    .and_then(|id| fog.bank().balance(node_account(id)))
                    .unwrap_or(Amount(0));
                let report = NodeReport {
                    name: process.name.clone(),
                    id: process.node.map(|id| id.short()).unwrap_or_default(),
                    layer: match process.role {
                        Role::Mix { layer } => Some(layer),
                        Role::Compute => None,
                    },
                    compute,
                    killed_ms: process.killed.map(|at| self.millis(at)),
                    ended: process.ended.clone(),
                    process: process.pid,
                    address: record
                        .map(|record| record.descriptor.address.to_string())
                        .unwrap_or_default(),
                    cpu_millis: offer.map(|offer| part_cpu_millis(&offer, &status)),
                    memory_bytes: offer.map(|offer| offer.memory_bytes),
                    fuel_per_second: offer.map(|offer| offer.fuel_per_second),
                    price_per_gigafuel: offer
                        .map(|offer| offer.price_per_gigafuel.to_credits_string()),
                    latency_ms: record
                        .filter(|record| record.answered)
                        .map(|record| record.offer.latency_ms),
                    reputation_mean: view.map(|view| view.reputation.expected()),
                    reputation_lower: view.map(|view| view.reputation.lower_bound()),
                    tiles_done: compute.then_some(tiles_done),
                    paid: compute.then(|| paid.to_credits_string()),
                    status,
                    packets_received: None,
                    packets_forwarded: None,
                    packets_dropped: None,
                };
                // One that was killed can say nothing any more of what it counted last.
                let mix = record.and_then(|record| record.mix);
                counted(report, mix.filter(|_| process.killed.is_none()))
            })
            .collect();
        let own = NodeReport {
            name: "coordinator".to_owned(),
            id: fog.descriptor().node.short(),
            layer: None,
            compute: false,
            killed_ms: None,
            ended: None,
            process: Some(std::process::id()),
            address: fog.descriptor().address.to_string(),
            cpu_millis: None,
            memory_bytes: None,
            fuel_per_second: None,
            price_per_gigafuel: None,
            latency_ms: None,
            reputation_mean: None,
            reputation_lower: None,
            tiles_done: None,
            paid: None,
            status: serde_json::Value::Null,
            packets_received: None,
            packets_forwarded: None,
            packets_dropped: None,
        };
        reports.push(counted(own, Some(own_mix)));
        reports
    }

    pub(super) fn ledger_report(
        &self,
        fog: &CoordinatorService,
        owner: AccountId,
    ) -> Result<LedgerReport, DemoError> {
        let bank = fog.bank();
        let verified = bank.verify().map_err(NodeError::from)?;
        let mut names: BTreeMap<AccountId, String> = BTreeMap::from([
            (mint_account(), "mint".to_owned()),
            (clearing_account(), "clearing".to_owned()),
            (owner, "owner".to_owned()),
        ]);
        for process in &self.processes {
            if let Some(node) = process.node.filter(|_| process.role == Role::Compute) {
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
fn counted(report: NodeReport, mix: Option<MixStats>) -> NodeReport {
    NodeReport {
        packets_received: mix.map(|mix| mix.received),
        packets_forwarded: mix.map(|mix| mix.forwarded),
        packets_dropped: mix.map(|mix| {
            [
                mix.malformed,
                mix.replayed,
                mix.overloaded,
                mix.late,
                mix.refused,
            ]
            .into_iter()
            // A node may claim what it wants.
            .fold(0, u64::saturating_add)
        }),
        ..report
    }
}

pub(super) fn status(record: &NodeRecord) -> serde_json::Value {
    serde_json::from_str(&record.status).unwrap_or(serde_json::Value::Null)
}

/// Thousandths of a processor that a node's part of the machine is, whatever whole processors it
/// promises them as.
fn part_cpu_millis(offer: &Offer, status: &serde_json::Value) -> u64 {
    status["part_cpu_millis"]
        .as_u64()
        .unwrap_or(offer.cpu_millis)
}

/// Why an offer is too little for a tile; `None` if it is not.
pub(super) fn too_little(offer: &Offer, status: &serde_json::Value) -> Option<String> {
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
    let lent = status["machine_cpu_millis"]
        .as_u64()
        .unwrap_or(offer.cpu_millis);
    if lent.min(offer.cpu_millis) < TILE_CPU_MILLIS {
        return Some(format!(
            "{} of this machine's processors are lent{because}, and a tile needs 1",
            processors(lent)
        ));
    }
    (offer.memory_bytes < TILE_MEMORY_BYTES).then(|| {
        format!(
            "each node lends {}{because}, and a tile needs {}",
            memory(offer.memory_bytes as f64),
            memory(TILE_MEMORY_BYTES as f64)
        )
    })
}

/// What a node read, decided and lends, in a line.
pub(super) fn describe_lending(
    name: &str,
    record: &NodeRecord,
    status: &serde_json::Value,
) -> String {
    let offer = &record.offer;
    let verdict = status["decision"]["verdict"].as_str().unwrap_or("unknown");
    let mut line = format!("{name}: {} → {verdict}", describe_device(&status["device"]));
    if offer.cpu_millis > 0 {
        let _ = write!(
            line,
            ", lends {} processors and {}, {} Mfuel/s for {} credits per Gfuel",
            processors(part_cpu_millis(offer, status)),
            memory(offer.memory_bytes as f64),
            offer.fuel_per_second / 1_000_000,
            rounded(&offer.price_per_gigafuel.to_credits_string()),
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
        let offer = |cpu_millis, memory_bytes| Offer {
            cpu_millis,
            memory_bytes,
            fuel_per_second: 1,
            price_per_gigafuel: Amount(1),
            latency_ms: 0.0,
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
        assert_eq!(too_little(&offer(1000, 16 << 20), &enough), None);
        // A quarter of a tenth of a processor took minutes for what takes seconds.
        assert!(too_little(&offer(1000, 16 << 20), &busy).is_some());
        assert_eq!(
            too_little(&offer(50, 16 << 20), &busy).unwrap(),
            "0.20 of this machine's processors are lent, because the owner is busy, and a tile \
             needs 1"
        );
        assert_eq!(
            too_little(&offer(1000, 8 << 20), &enough).unwrap(),
            "each node lends 8\u{a0}MiB, because the owner is busy, and a tile needs 16\u{a0}MiB"
        );
        let refused = status("refuse", &["it is hot", "it is noon"], true);
        assert_eq!(
            too_little(&offer(0, 0), &refused).unwrap(),
            "it is hot; it is noon"
        );
        let overruled = status("allow", &["it is hot"], false);
        assert_eq!(
            too_little(&offer(500, 1 << 30), &overruled).unwrap(),
            "0.20 of this machine's processors are lent, and a tile needs 1"
        );
        let silent = serde_json::Value::Null;
        assert!(too_little(&offer(0, 0), &silent).is_some());
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
        let report = counted(fixture_node("mix 1a", 0), Some(mix));
        assert_eq!(report.packets_received, Some(100));
        assert_eq!(report.packets_forwarded, Some(60));
        assert_eq!(report.packets_dropped, Some(31));
        let boast = MixStats {
            late: u64::MAX,
            ..mix
        };
        let report = counted(fixture_node("mix 1a", 0), Some(boast));
        assert_eq!(report.packets_dropped, Some(u64::MAX));
        // What is not known is not zero.
        let report = counted(fixture_node("mix 1a", 0), None);
        assert_eq!(
            (
                report.packets_received,
                report.packets_forwarded,
                report.packets_dropped
            ),
            (None, None, None)
        );
    }
}
