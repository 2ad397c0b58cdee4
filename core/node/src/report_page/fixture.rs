//! A run to draw, and a check that what is drawn is well-formed.

use crate::report::{
    Attempt, AttemptResult, Balance, Death, Front, LedgerReport, LedgerRow, Moment, NodeReport,
    Picture, Report, Tile,
};

/// One pixel, transparent.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4,
    0x89, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0x00, 0x02, 0x00,
    0x00, 0x05, 0x00, 0x01, 0x7a, 0x5e, 0xab, 0x3f, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44,
    0xae, 0x42, 0x60, 0x82,
];

/// How long after a kill its loss is noticed.
const NOTICE_MS: f64 = 27.5;

/// A run with six mixnodes, some compute nodes of which the last is killed half-way, and some
/// tiles, scheduled one at a time on each node as the coordinator does it.
pub(super) fn report(computers: usize, tiles: usize) -> Report {
    let kill_ms = 200.0 + tiles as f64 * 600.0 / computers as f64 / 2.0;
    let mut nodes: Vec<_> = (0..6_u8)
        .map(|index| {
            let (layer, letter) = (index / 2, char::from(b'a' + index % 2));
            NodeReport {
                layer: Some(layer),
                ..node(&format!("mix {}{letter}", layer + 1), index.into())
            }
        })
        .collect();
    for index in 0..computers {
        let death = Death {
            process: u32::try_from(106 + index).ok(),
            at_ms: kill_ms,
            ended: None,
            back_ms: None,
        };
        nodes.push(NodeReport {
            compute: true,
            deaths: Vec::from_iter((index + 1 == computers).then_some(death)),
            ..node(&format!("compute {}", index + 1), 6 + index)
        });
    }
    nodes.push(node("coordinator", 6 + computers));
    let victim = 5 + computers;
    let tiles = schedule(tiles, 6, victim, kill_ms);
    for attempt in tiles.iter().flat_map(|tile| &tile.attempts) {
        *nodes[attempt.node].tiles_done.get_or_insert_default() +=
            usize::from(attempt.result.is_some());
    }
    let ledger = ledger(&nodes, &tiles);
    let event = |at_ms, text: String| Moment { at_ms, text };
    Report {
        version: "0.1.0",
        seed: 7,
        started_unix_ms: 1_795_235_255_098,
        policy_enforced: false,
        kill: "compute",
        picture: Picture {
            width: 1200,
            height: 800,
            digest: "6e1cf7e9ec5034293f5f141c57e25786".repeat(2),
            native_digest: "6e1cf7e9ec5034293f5f141c57e25786".repeat(2),
            png: PNG.to_vec(),
        },
        events: vec![
            event(
                -407.4,
                "fogcompute 0.1.0: a private fog on this machine".to_owned(),
            ),
            event(12.0, format!("placed {} tiles by NSGA-II", tiles.len())),
            event(
                kill_ms,
                format!(
                    "12 of 24 tiles were back: killed {} (process 106) with SIGKILL",
                    nodes[victim].name
                ),
            ),
        ],
        nodes,
        front: front(),
        tiles,
        ledger,
        elapsed_ms: 6073.9,
    }
}

/// A node whose every field is filled.
pub(crate) fn node(name: &str, index: usize) -> NodeReport {
    NodeReport {
        name: name.to_owned(),
        id: format!("{index:02x}c663a6"),
        layer: None,
        compute: false,
        deaths: Vec::new(),
        process: u32::try_from(100 + index).ok(),
        address: format!("127.0.0.1:{}", 40_000 + index),
        cpu_millis: Some(1000),
        memory_bytes: Some(7_582_950_604),
        fuel_per_second: Some(273_696_786),
        price_per_gigafuel: Some("1.214".to_owned()),
        latency_ms: Some(0.25),
        reputation_mean: Some(0.875),
        reputation_lower: Some(0.651),
        tiles_done: Some(0),
        paid: Some("1.293322642242".to_owned()),
        status: serde_json::json!({
            "device": {
                "class": "server", "cpu_cores": 2, "cpu_load": 0.29,
                "memory_available_bytes": 24_816_226_304_u64,
                "memory_total_bytes": 25_276_502_016_u64,
                "battery": "absent", "battery_temperature_celsius": null,
                "temperature_celsius": null, "network": "ethernet", "metered": null,
                "screen_on": null, "user_idle": null, "minute_of_day": 267,
                "read_at": 5_227_382_302_u64,
            },
            "decision": {
                "verdict": "allow",
                "budget": {"cpu_share": 0.5, "memory_bytes": 7_582_950_604_u64},
                "reasons": [],
            },
            "enforced": false,
            "objections": ["the network is metered"],
            "notes": ["the temperature is unknown"],
            "machine_cpu_millis": 4000,
            "part_cpu_millis": 1000,
        }),
        packets_received: Some(280 + index as u64),
        packets_forwarded: Some(280),
        packets_dropped: Some(0),
    }
}

fn schedule(tiles: usize, first: usize, victim: usize, kill_ms: f64) -> Vec<Tile> {
    let mut free_at = vec![12.0; victim + 1 - first];
    let mut plan: Vec<_> = (0..tiles)
        .map(|index| Tile {
            index,
            row_start: index as u32 * 33,
            row_count: 33,
            attempts: Vec::new(),
        })
        .collect();
    let mut waiting: Vec<_> = (0..tiles).rev().collect();
    while let Some(index) = waiting.pop() {
        let chosen = (first..=victim)
            .filter(|node| *node != victim || free_at[node - first] < kill_ms)
            .min_by(|a, b| free_at[a - first].total_cmp(&free_at[b - first]))
            .unwrap();
        let start_ms = free_at[chosen - first];
        let run_ms = 400.0 + (index * 37 % 250) as f64;
        let network_ms = 70.0 + (index * 53 % 90) as f64;
        let end_ms = start_ms + run_ms + network_ms;
        free_at[chosen - first] = end_ms;
        let lost = chosen == victim && end_ms > kill_ms;
        if lost {
            waiting.push(index);
        }
        let attempts = &mut plan[index].attempts;
        attempts.push(Attempt {
            node: chosen,
            number: attempts.len() as u32 + 1,
            start_ms,
            end_ms: if lost { kill_ms + NOTICE_MS } else { end_ms },
            result: (!lost).then(|| AttemptResult {
                run_ms,
                network_ms,
                fuel: 198_352_633,
                paid: "219378012098000000".to_owned(),
            }),
            lost: lost.then(|| "disconnected".to_owned()),
        });
    }
    plan
}

fn front() -> Front {
    let points = (0..40_u32)
        .map(|index| {
            let share = f64::from(index) / 39.0;
            let wobble = f64::from(index * 7 % 5) / 50.0;
            vec![
                2184.6 + 3000.0 * share * share + 200.0 * wobble,
                0.03 + wobble + 0.2 * share,
                0.95,
                4.9e18 - 2e18 * share.sqrt() + 4e17 * wobble,
            ]
        })
        .collect();
    Front {
        objectives: ["completion_ms", "imbalance", "distrust", "cost"]
            .map(str::to_owned)
            .to_vec(),
        points,
        chosen: 12,
        explanation: "24 jobs on 4 nodes, chosen from 40 placements that no other beats\n  \
                      completion_ms 2310.568: 2 % of the way"
            .to_owned(),
    }
}

fn ledger(nodes: &[NodeReport], tiles: &[Tile]) -> LedgerReport {
    let mut entries = Vec::new();
    let mut enter = |kind: &str, from: &str, to: &str, credits: &str| {
        entries.push(LedgerRow {
            sequence: entries.len() as u64 + 1,
            kind: kind.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            credits: credits.to_owned(),
        });
    };
    let mut balances = vec![("mint", "-1000"), ("clearing", "0")];
    enter("open", "", "mint", "");
    enter("transfer", "mint", "owner", "1000");
    for node in nodes.iter().filter(|node| node.compute) {
        enter("open", "", &node.name, "");
        balances.push((&node.name, "1.293322642242"));
    }
    balances.push(("owner", "995.4798632838"));
    for _ in tiles {
        enter("reserve", "owner", "clearing", "1.208374674");
    }
    for attempt in tiles.iter().flat_map(|tile| &tile.attempts) {
        if attempt.result.is_some() {
            enter("post", "owner", "clearing", "0.219378012098");
            enter(
                "transfer",
                "clearing",
                &nodes[attempt.node].name,
                "0.219378012098",
            );
        }
    }
    LedgerReport {
        entries,
        balances: balances
            .into_iter()
            .map(|(account, credits)| Balance {
                account: account.to_owned(),
                credits: credits.to_owned(),
            })
            .collect(),
        sum: "0".to_owned(),
        chain: "b62fc815531e0fba31ec2d3a31afb844".repeat(2),
        endowment: "1000".to_owned(),
        paid: "4.5201367162".to_owned(),
        released: "23.3464926758".to_owned(),
    }
}

/// Checks that every tag is closed in order, that attributes are quoted and that ampersands begin
/// a character reference.
pub(super) fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap_or(page);
    while let Some(start) = rest.find(['<', '&']) {
        let from = &rest[start..];
        if let Some(after) = from.strip_prefix('&') {
            assert_reference(after);
            rest = after;
            continue;
        }
        // Attributes hold no raw `<` and `>`: both are always escaped.
        let end = from.find('>').expect("a tag ends");
        let tag = &from[1..end];
        assert!(!tag.contains('<'), "a tag in a tag: {tag}");
        assert!(tag.matches('"').count().is_multiple_of(2), "quotes: {tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closes what is not open");
        } else {
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            assert!(!name.is_empty(), "a tag without a name: {tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        for after in tag.split('&').skip(1) {
            assert_reference(after);
        }
        rest = &from[end + 1..];
    }
    assert_eq!(open, Vec::<&str>::new(), "tags left open");
}

fn assert_reference(after: &str) {
    let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
    assert!(
        known.iter().any(|name| after.starts_with(name)),
        "&{}",
        after.chars().take(20).collect::<String>()
    );
}
