//! `cargo xtask bindings`: the files that are generated and committed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::readme;
use crate::session::{Session, Stop, prepare};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// What to do with the generated files.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Action {
    /// Write them.
    Generate,
    /// Generate them elsewhere and compare.
    Check,
}

const C_HEADER: &str = "include/fogcompute.h";
const UNIFFI: [&str; 4] = [
    "mobile/kotlin/src/main/kotlin/dev/fogcompute/fogcompute_uniffi.kt",
    "mobile/swift/Sources/FogCompute/FogCompute.swift",
    "mobile/swift/Sources/FogComputeFFI/include/FogComputeFFI.h",
    "mobile/swift/Sources/FogComputeFFI/include/module.modulemap",
];
const README: &str = "README.md";
const BINDGEN: &str = "bindings/uniffi-bindgen/Cargo.toml";

/// A generated file: where it was written, and where it is committed.
struct Generated {
    fresh: PathBuf,
    committed: &'static str,
}

pub(crate) fn run(workspace: &Workspace, action: Action) -> Result<ExitCode, Stop> {
    let mut stale = Vec::new();
    for file in generate(workspace)? {
        let committed = workspace.path(file.committed);
        if same(&file.fresh, &committed)? {
            println!("current: {}", file.committed);
        } else if action == Action::Generate {
            if let Some(folder) = committed.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::copy(&file.fresh, committed)?;
            println!("written: {}", file.committed);
        } else {
            stale.push(file.committed);
        }
    }
    match action {
        Action::Generate => {
            let example = ["run", "-p", "fogcompute", "--example", "make_vectors"];
            prepare(&mut workspace.cargo(example))?;
        }
        // This test compares the shared vectors with what the library says.
        Action::Check => {
            prepare(&mut workspace.cargo(["test", "-p", "fogcompute", "--test", "vectors"]))?;
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let stale = stale.join(", ");
    Err(Stop::Failed(format!(
        "stale: {stale}; run `cargo xtask bindings generate`"
    )))
}

/// The step: one check a file. The shared vectors are compared by a test of Rust's.
pub(crate) fn check(session: &mut Session<'_>) -> Result<(), Stop> {
    for file in generate(session.workspace)? {
        if same(&file.fresh, &session.workspace.path(file.committed))? {
            println!("current: {}", file.committed);
            session.tally += Tally::PASSED;
        } else {
            println!("stale: {}", file.committed);
            session.fail(format!(
                "{} is stale: cargo xtask bindings generate",
                file.committed
            ));
        }
    }
    Ok(())
}

/// Generates every file into the build directory.
fn generate(workspace: &Workspace) -> Result<Vec<Generated>, Stop> {
    let fresh = workspace.target("bindings");
    // What an earlier generator wrote must not pass for what this one writes.
    match std::fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    for file in [C_HEADER].iter().chain(&UNIFFI) {
        if let Some(folder) = fresh.join(file).parent() {
            std::fs::create_dir_all(folder)?;
        }
    }

    let mut c = workspace.cargo(["check", "--quiet", "--locked", "-p", "fogcompute-c"]);
    prepare(c.env("FOGCOMPUTE_WRITE_HEADER", fresh.join(C_HEADER)))?;

    // The generator has a build directory of its own, because it is a workspace of its own.
    let target = workspace.target("uniffi-bindgen");
    let mut build = workspace.cargo(["build", "--locked", "--manifest-path", BINDGEN]);
    prepare(build.arg("--target-dir").arg(&target))?;
    let bindgen = format!("fogcompute-uniffi-bindgen{}", std::env::consts::EXE_SUFFIX);
    let mut bindgen = workspace.command(target.join("debug").join(bindgen));
    prepare(bindgen.arg(uniffi_library(workspace)?).arg(&fresh))?;

    std::fs::write(fresh.join(README), readme::filled(workspace)?)?;

    let files = [C_HEADER, README].into_iter().chain(UNIFFI);
    Ok(files
        .map(|committed| Generated {
            fresh: fresh.join(committed),
            committed,
        })
        .collect())
}

/// The library with its names, which the generator reads; built in the development profile.
fn uniffi_library(workspace: &Workspace) -> Result<PathBuf, Stop> {
    prepare(&mut workspace.cargo(["build", "--locked", "-p", "fogcompute-uniffi"]))?;
    let name = format!(
        "{}fogcompute_uniffi{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    Ok(workspace.target("debug").join(name))
}

fn same(fresh: &Path, committed: &Path) -> Result<bool, Stop> {
    let fresh = std::fs::read(fresh)?;
    match std::fs::read(committed) {
        Ok(committed) => Ok(fresh == committed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
