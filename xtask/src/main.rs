//! The tasks of the workspace: `cargo xtask --help`.

mod bench;
mod bindings;
mod c;
mod demo;
mod governor;
mod kotlin;
mod licences;
mod python;
mod readme;
mod rust;
mod session;
mod shell;
mod sim;
mod sim_mesh;
mod swift;
mod tally;
mod test;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::session::Stop;
use crate::workspace::Workspace;

/// The tasks of the fogcompute workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the `fogcompute` command and run its demo.
    Demo {
        /// Passed to `fogcompute demo`; see `cargo xtask demo --help`.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<OsString>,
    },
    /// Run every check and every test, in every language.
    Test(test::Options),
    /// Measure an area beside its peer.
    Bench(bench::Options),
    /// Simulate large fogs, or a mesh of phones, print what was measured, and write a chart.
    #[command(args_conflicts_with_subcommands = true)]
    Sim {
        #[command(flatten)]
        fogs: sim::Options,
        #[command(subcommand)]
        other: Option<Simulated>,
    },
    /// Build the C library and install it with its headers, for CMake and pkg-config.
    Install {
        /// Where to, such as /usr/local.
        prefix: PathBuf,
    },
    /// Write what is generated (C header, Swift and Kotlin sources, shared vectors, the README's
    /// examples), or check that it is current.
    Bindings {
        /// What to do.
        #[arg(value_enum, default_value_t = bindings::Action::Check)]
        action: bindings::Action,
    },
}

#[derive(Debug, Subcommand)]
enum Simulated {
    /// Phones that move, meet and carry each other's messages, with each strategy.
    Mesh(sim_mesh::Options),
}

fn main() -> ExitCode {
    // Help for the demo is the demo's own: clap must not answer it.
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|task| task == "demo") && args.get(2).is_none_or(|arg| arg != "--") {
        args.insert(2, "--".into());
    }
    let task = Arguments::parse_from(args).task;
    let done = Workspace::find()
        .map_err(Stop::from)
        .and_then(|workspace| match task {
            Task::Demo { args } => demo::run(&workspace, &args),
            Task::Test(options) => test::run(&workspace, &options),
            Task::Bench(options) => bench::run(&workspace, &options),
            Task::Sim { fogs, other: None } => sim::run(&workspace, &fogs),
            Task::Sim {
                other: Some(Simulated::Mesh(options)),
                ..
            } => sim_mesh::run(&workspace, &options),
            Task::Install { prefix } => c::run_install(&workspace, &prefix),
            Task::Bindings { action } => bindings::run(&workspace, action),
        });
    match done {
        Ok(code) => code,
        Err(stop) => {
            eprintln!("error: {stop}");
            ExitCode::FAILURE
        }
    }
}
