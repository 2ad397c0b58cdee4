//! What one X25519 costs on this machine, by every implementation that it can run.
//!
//! `cargo run --release -p fogcompute-x25519 --example compare`
//!
//! Times are of the thread's CPU, so that other programs disturb them less, and the implementations
//! take turns. Printed are the median and the least of the turns, for one multiplication.

use std::hint::black_box;

use cpu_time::ThreadTime;
use fogcompute_x25519::{Backend, Engine, Unavailable, available};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Multiplications of a batch: a whole number of calls of every implementation.
const BATCH: usize = 64;
const TURNS: usize = 101;

struct Row {
    name: String,
    run: Box<dyn Fn()>,
    per_run: usize,
    micros: Vec<f64>,
}

fn rows() -> Result<Vec<Row>, Unavailable> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut random = || {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    let scalar = random();
    let points: Vec<_> = (0..BATCH).map(|_| random()).collect();
    let mut rows = Vec::new();
    let mut row = |name: String, per_run, run: Box<dyn Fn()>| {
        rows.push(Row {
            name,
            run,
            per_run,
            micros: Vec::new(),
        });
    };
    for backend in available() {
        if backend.lanes() == 1 {
            let engine = Engine::with(backend, None)?;
            let point = points[0];
            let one = move || {
                black_box(engine.x25519(black_box(&scalar), &point));
            };
            row(backend.to_string(), 1, Box::new(one));
            let base = move || {
                black_box(engine.x25519_base(black_box(&scalar)));
            };
            row(format!("{backend}, fixed base"), 1, Box::new(base));
        } else {
            let engine = Engine::with(Backend::Dalek, Some(backend))?;
            let points = points.clone();
            let run = move || {
                let mut results = [None; BATCH];
                engine
                    .x25519_batch_same_scalar(black_box(&scalar), &points, &mut results)
                    .expect("as many results as points");
                black_box(results);
            };
            row(backend.to_string(), BATCH, Box::new(run));
        }
    }
    Ok(rows)
}

fn main() -> Result<(), Unavailable> {
    let mut rows = rows()?;
    for _ in 0..TURNS {
        for row in &mut rows {
            let runs = BATCH / row.per_run;
            let start = ThreadTime::now();
            (0..runs).for_each(|_| (row.run)());
            row.micros
                .push(start.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
        }
    }
    println!(
        "{:24} {:>10} {:>10} {:>10}",
        "", "median us", "least us", "per s"
    );
    for row in &mut rows {
        row.micros.sort_by(f64::total_cmp);
        let (median, least) = (row.micros[TURNS / 2], row.micros[0]);
        println!(
            "{:24} {median:10.2} {least:10.2} {:10.0}",
            row.name,
            1e6 / median
        );
    }
    let engine = Engine::detect();
    let batch = engine.batch_backend().unwrap_or(engine.backend());
    println!(
        "chosen here: {} for one, {batch} for many",
        engine.backend()
    );
    Ok(())
}
