//! Simulates a mesh of phones with each strategy and prints what it measured, one JSON object for each: what
//! `cargo xtask sim mesh` runs.
//!
//! ```text
//! cargo run --release -p fogcompute-sim --example phones -- [--phones N] [--seed S] [--rules true] [--strategy NAME]
//! ```

use std::process::ExitCode;
use std::time::Duration;

use fogcompute_base::{Clock, SystemClock};
use fogcompute_mesh::courier::{CourierStrategy, ProphetConfig};
use fogcompute_sim::{MeshFigures, MeshPlan};

struct Options {
    phones: u32,
    seed: u64,
    rules: bool,
    strategy: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            phones: 12,
            seed: 0,
            rules: false,
            strategy: None,
        };
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--phones" => options.phones = value.parse().ok()?,
                "--seed" => options.seed = value.parse().ok()?,
                "--strategy" => options.strategy = Some(value),
                "--rules" => options.rules = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("usage: phones [--phones N] [--seed S] [--rules true|false] [--strategy NAME]");
        return ExitCode::from(2);
    };
    let clock = SystemClock::new();
    for (name, strategy) in [
        ("direct", CourierStrategy::Direct),
        ("spray and wait", CourierStrategy::default()),
        (
            "PRoPHET",
            CourierStrategy::Prophet(ProphetConfig::default()),
        ),
        ("epidemic", CourierStrategy::Epidemic),
    ] {
        if options.strategy.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let plan = MeshPlan::new(options.seed, options.phones, strategy);
        let begun = clock.now();
        let run = if options.rules {
            plan.run_rules()
        } else {
            match plan.run_phones() {
                Ok(run) => run,
                Err(violation) => {
                    eprintln!("error: {violation}\nseed {}", options.seed);
                    return ExitCode::FAILURE;
                }
            }
        };
        let wall = clock.now().duration_since(begun);
        println!("{}", json(name, &options, &plan, &run, wall));
    }
    ExitCode::SUCCESS
}

/// A run as one line. The names above need no escaping.
fn json(
    strategy: &str,
    options: &Options,
    plan: &MeshPlan,
    run: &MeshFigures,
    wall: Duration,
) -> String {
    let delays: Vec<_> = (0..=100)
        .filter_map(|percent| run.delay(percent))
        .map(|delay| format!("{:.3}", delay.as_secs_f64()))
        .collect();
    format!(
        "{{\"strategy\":\"{strategy}\",\"phones\":{},\"seed\":{},\"rules\":{},\"sent\":{},\
         \"delivered\":{},\"acknowledged\":{},\"transfers\":{},\"frames\":{},\"bytes\":{},\
         \"joules\":{:.3},\"meetings\":{},\"span_s\":{},\"wall_s\":{:.3},\
         \"fingerprint\":\"{}\",\"delays_s\":[{}]}}",
        options.phones,
        options.seed,
        options.rules,
        run.sent,
        run.delivered(),
        run.acknowledged,
        run.transfers,
        run.frames,
        run.bytes,
        run.microjoules as f64 / 1e6,
        run.meetings,
        plan.span.as_secs(),
        wall.as_secs_f64(),
        run.fingerprint.digest(),
        delays.join(","),
    )
}
