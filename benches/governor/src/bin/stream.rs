//! The same random operations on both, in operations a second: `stream CONTRACTS [--json]
//! [--smoke]`, where CONTRACTS is what `compile.js` wrote. Prints a row as the other benchmarks do.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use fogcompute_governor_peer::{Contracts, Ours, SETTINGS, Step, Steps, Theirs};
use serde_json::json;

const BEGINNING: u64 = 1_000;
const STEPS_A_WORLD: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let path = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let path = path.ok_or("usage: stream CONTRACTS [--json] [--smoke]")?;
    let contracts = Contracts::read(&PathBuf::from(path))?;
    let worlds: u64 = if has("--smoke") { 2 } else { 60 };
    let (mut ours_ns, mut theirs_ns) = (Vec::new(), Vec::new());
    for seed in 0..worlds {
        let steps = drawn(seed)?;
        let mut ours = Ours::new(SETTINGS, BEGINNING)?;
        let start = now();
        let ours_done = steps
            .iter()
            .filter(|step| ours.take(**step).is_ok())
            .count();
        ours_ns.push(start.elapsed().as_secs_f64() * 1e9 / steps.len() as f64);
        let mut theirs = Theirs::new(&contracts, SETTINGS, BEGINNING)?;
        let start = now();
        let theirs_done = steps
            .iter()
            .filter(|step| theirs.take(**step).is_ok())
            .count();
        theirs_ns.push(start.elapsed().as_secs_f64() * 1e9 / steps.len() as f64);
        if ours_done != theirs_done {
            return Err(format!("seed {seed}: {ours_done} done here, {theirs_done} there").into());
        }
    }
    let (ours, theirs) = (median(ours_ns), median(theirs_ns));
    let ratio = theirs / ours;
    let n = worlds * STEPS_A_WORLD as u64;
    let case = "random operations";
    let peer = "OpenZeppelin Governor on revm";
    let version = &contracts.openzeppelin;
    if has("--json") {
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        println!(
            "{}",
            json!({
                "area": "dao",
                "case": case,
                "ours": rounded(ours),
                "unit": "ns",
                "peer": peer,
                "peer_version": version,
                "theirs": rounded(theirs),
                "ratio": rounded(ratio),
                "n": n,
            })
        );
    } else {
        println!(
            "{:6} {case:28} {ours:>9.1} ns {theirs:>9.1} ns {ratio:>7.1} {n:>9}  {peer} {version}",
            "dao"
        );
    }
    Ok(())
}

/// What is drawn depends on what has become of what was drawn before.
fn drawn(seed: u64) -> Result<Vec<Step>, Box<dyn Error>> {
    let mut draw = Steps::new(seed);
    let mut ours = Ours::new(SETTINGS, BEGINNING)?;
    let mut steps = Vec::with_capacity(STEPS_A_WORLD);
    for _ in 0..STEPS_A_WORLD {
        let step = draw.next(&ours);
        // What is refused is part of the stream.
        let _ = ours.take(step);
        steps.push(step);
    }
    Ok(steps)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
fn now() -> Instant {
    Instant::now()
}
