//! Two hundred small fogs in which everything goes wrong, and the faults of our own making.
//!
//! `FOG_SEED=17 cargo test -p fogcompute-sim --test seeds` runs seed 17 alone, with the last events
//! as text.

#![expect(clippy::unwrap_used, reason = "a run that cannot be set up has failed")]

use fogcompute_sim::{Failure, Flaw, Fog, Plan, Run};

const SEEDS: u64 = 200;

/// Events that are printed of a run that failed.
const TRACE_LINES: usize = 300;

fn run(plan: Plan) -> Result<Run, Box<Failure>> {
    Fog::new(plan).unwrap().run()
}

#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    let seeds = match std::env::var("FOG_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("FOG_SEED is a number");
            seed..=seed
        }
        Err(_) => 0..=SEEDS - 1,
    };
    let (mut ended, mut crashes, mut in_commits) = (0, 0, 0);
    for seed in seeds {
        match run(Plan::random(seed)) {
            Ok(run) => {
                ended += run.figures.ended();
                crashes += run.counts.crashes;
                in_commits += run.counts.crashes_in_commits;
            }
            Err(_) => {
                // Once more, for its last events.
                let traced = Plan {
                    trace_lines: TRACE_LINES,
                    ..Plan::random(seed)
                };
                match run(traced) {
                    Ok(_) => panic!("seed {seed} failed once and not again: it is not replayed"),
                    Err(failure) => panic!("{failure}"),
                }
            }
        }
    }
    println!("{ended} tasks ended; {crashes} deaths, {in_commits} of them in a commit");
    assert!(ended > 0, "nothing was simulated");
}

/// Seeds within which a fault of our own making must be found.
const FLAW_SEEDS: u64 = 50;

#[test]
fn faults_of_our_own_making_are_found() {
    for flaw in Flaw::ALL {
        let found = (0..FLAW_SEEDS).find_map(|seed| {
            let plan = Plan {
                flaw: Some(flaw),
                ..Plan::random(seed)
            };
            run(plan).err().map(|failure| (seed, failure))
        });
        match found {
            Some((seed, failure)) => println!("{flaw:?}: seed {seed}: {}", failure.violation),
            None => panic!("{flaw:?} was not found by {FLAW_SEEDS} seeds"),
        }
    }
}
