//! Simulates large fogs and prints what it measured, one JSON object for each seed: what
//! `cargo xtask sim` runs.
//!
//! ```text
//! cargo run --release -p fogcompute-sim --example fogs -- [--seeds N] [--nodes N] [--seed S]
//! ```

use std::process::ExitCode;
use std::time::Duration;

use fogcompute_base::{Clock, SystemClock};
use fogcompute_sim::{Fog, Plan, Run, Times};

struct Options {
    seeds: u64,
    nodes: u32,
    first: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            seeds: 1,
            nodes: 100,
            first: 0,
        };
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--seeds" => options.seeds = value.parse().ok()?,
                "--nodes" => options.nodes = value.parse().ok()?,
                "--seed" => options.first = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("usage: fogs [--seeds N] [--nodes N] [--seed S]");
        return ExitCode::from(2);
    };
    let clock = SystemClock::new();
    for seed in options.first..options.first.saturating_add(options.seeds) {
        let fog = match Fog::new(Plan::large(seed, options.nodes)) {
            Ok(fog) => fog,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        };
        let begun = clock.now();
        match fog.run() {
            Ok(run) => {
                let wall = clock.now().duration_since(begun);
                println!("{}", json(seed, options.nodes, &run, wall));
            }
            Err(failure) => {
                eprintln!("error: {failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// A run as one line: numbers and a digest, so nothing needs escaping.
fn json(seed: u64, nodes: u32, run: &Run, wall: Duration) -> String {
    let figures = &run.figures;
    let minutes: Vec<_> = figures
        .minutes
        .iter()
        .map(|(minute, it)| {
            format!(
                "[{minute},{},{},{},{}]",
                it.ended, it.attempts_lost, it.deaths, it.up
            )
        })
        .collect();
    let counts = &run.counts;
    format!(
        "{{\"seed\":{seed},\"nodes\":{nodes},\"tasks\":{},\"succeeded\":{},\"failed\":{},\"lost\":{},\
         \"dispatched\":{},\"attempts_lost\":{},\"deaths\":{},\"events\":{},\
         \"virtual_s\":{:.3},\"wall_s\":{:.3},\
         \"detection\":{},\"disconnection\":{},\"reassignment\":{},\"turnaround\":{},\
         \"minutes\":[{}],\"fingerprint\":\"{}\"}}",
        figures.tasks,
        figures.succeeded,
        figures.failed,
        figures.lost,
        figures.dispatched,
        figures.attempts_lost,
        counts.crashes,
        counts.events,
        figures.span.as_secs_f64(),
        wall.as_secs_f64(),
        times(&figures.detection),
        times(&figures.disconnection),
        times(&figures.reassignment),
        times(&figures.turnaround),
        minutes.join(","),
        run.fingerprint,
    )
}

/// How many, and the median and the 99th percentile in milliseconds.
fn times(times: &Times) -> String {
    let millis = |percent| {
        times
            .percentile(percent)
            .map_or_else(|| "null".to_owned(), |time| time.as_millis().to_string())
    };
    format!(
        "{{\"count\":{},\"p50_ms\":{},\"p99_ms\":{}}}",
        times.count(),
        millis(50),
        millis(99)
    )
}
