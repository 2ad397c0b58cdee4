//! Measures fogcompute beside its peers: `cargo xtask bench AREA [--json]`.
//!
//! `benches/README.md` says how to read the figures.

mod coord;
mod dao;
mod exec;
mod ffi;
mod harvest;
mod ledger;
mod measure;
mod mix;
#[cfg(unix)]
mod node;
mod row;
mod schedule;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fogcompute::base::NodeId;

use crate::measure::Effort;
use crate::row::Output;

/// Measures an area of fogcompute beside its peer.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    area: Area,
    /// Print one JSON object per line instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Measure as little as possible: shows that everything runs, the figures mean nothing.
    #[arg(long, global = true)]
    smoke: bool,
}

#[derive(Debug, Subcommand)]
enum Area {
    /// Sphinx packets and reply blocks, beside the `sphinx-packet` crate.
    Mix,
    /// A mixnode on sockets, beside the `sphinx-packet` crate without any.
    #[cfg(unix)]
    Node,
    /// The optimiser and placement, beside `genoxide`, `pygmo` and `pymoo`; non-dominated sorting.
    Schedule {
        /// An interpreter with what `benches/peers/requirements.txt` names: `cargo xtask bench
        /// schedule` makes one.
        #[arg(long, value_name = "PROGRAM")]
        python: PathBuf,
    },
    /// Durable transfers, beside plain `rusqlite` and Python's `sqlite3`; a long history.
    Ledger {
        /// An interpreter: nothing but its standard library is used.
        #[arg(long, value_name = "PROGRAM")]
        python: PathBuf,
    },
    /// Tasks in each engine, beside native code, and on disk, beside engines for Python; a crash.
    Exec {
        /// An interpreter with what `benches/peers/exec-requirements.txt` names: `cargo xtask bench
        /// exec` makes one.
        #[arg(long, value_name = "PROGRAM")]
        python: PathBuf,
    },
    /// A fog of processes, beside engines for Python; the coordinator's rules as the fog grows, and
    /// what it keeps on disk.
    Coord {
        /// An interpreter with what `benches/peers/exec-requirements.txt` names: `cargo xtask bench
        /// coord` makes one.
        #[arg(long, value_name = "PROGRAM")]
        python: PathBuf,
    },
    /// A worker of a fog: a part of `coord`, in a process of its own.
    #[command(hide = true)]
    CoordWorker {
        /// Where the coordinator accepts links.
        coordinator: SocketAddr,
        /// Who it is.
        coordinator_id: NodeId,
        /// Where the worker keeps its files.
        data: PathBuf,
    },
    /// Governance, beside `ed25519-dalek` alone and beside itself with fewer people.
    Dao,
    /// Opens a ledger and says what that took: a part of `ledger`, in a process of its own.
    #[command(hide = true)]
    LedgerOpen {
        /// The ledger's file.
        path: PathBuf,
    },
    /// Asking a harvest policy again, beside the limit of 10 µs.
    Harvest,
    /// What one call costs from each language, beside the same call in Rust.
    Ffi {
        /// The languages' bench programs: a JSON file that `cargo xtask bench ffi` writes.
        #[arg(long, value_name = "FILE")]
        programs: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments { area, json, smoke } = Arguments::parse();
    let effort = if smoke { Effort::Smoke } else { Effort::Full };
    let mut output = Output::new(json);
    let measured = match area {
        Area::Mix => mix::run(effort, &mut output),
        #[cfg(unix)]
        Area::Node => node::run(effort, &mut output),
        Area::Schedule { python } => schedule::run(&python, effort, &mut output),
        Area::Ledger { python } => ledger::run(&python, effort, &mut output),
        Area::Exec { python } => exec::run(&python, effort, &mut output),
        Area::Coord { python } => coord::run(&python, effort, &mut output),
        Area::CoordWorker {
            coordinator,
            coordinator_id,
            data,
        } => coord::fog::worker(coordinator, coordinator_id, data),
        Area::Dao => dao::run(effort, &mut output),
        Area::LedgerOpen { path } => ledger::open(&path),
        Area::Harvest => harvest::run(effort, &mut output),
        Area::Ffi { programs } => ffi::run(&programs, effort, &mut output),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
