//! How good the fronts of FOG-P/1 are, and how long they take.
//!
//! `cargo run --release -p fogcompute-schedule --example fogp [-- WORK [SEED]]`

use std::time::Instant;

use fogcompute_schedule::Effort;
use fogcompute_schedule::fogp::{NAMES, Problem, Spec, VIOLATION_MAX};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock; the search does not"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let work = arguments
        .next()
        .map_or(Ok(Effort::default().work), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let effort = Effort {
        work,
        ..Effort::default()
    };
    for (name, spec) in Spec::NAMED {
        let problem = Problem::generate(spec)?;
        let start = Instant::now();
        let batch = problem.batch()?;
        let compiled = start.elapsed();
        let front = batch.search(&effort, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let searched = start.elapsed();
        let mut feasible = 0;
        for placement in &front {
            feasible += usize::from(problem.evaluate(&placement.nodes)?.violation <= VIOLATION_MAX);
        }
        let points: Vec<_> = front.iter().map(|placement| placement.objectives).collect();
        println!(
            "{name}: hypervolume {:.4}, {} placements, {feasible} feasible, {:.0} ms to compile \
             and search, of that {:.1} ms to compile",
            problem.hypervolume(&points),
            points.len(),
            searched.as_secs_f64() * 1e3,
            compiled.as_secs_f64() * 1e3,
        );
        for (objective, label) in NAMES.iter().enumerate() {
            let best = points
                .iter()
                .map(|point| point[objective])
                .fold(f64::INFINITY, f64::min);
            print!("  {label} {best:.5}");
        }
        println!();
    }
    Ok(())
}
