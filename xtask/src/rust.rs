//! The steps for Rust itself.

use crate::session::{Session, Stop};
use crate::shell;
use crate::tally::Runner;
use crate::workspace::Workspace;

/// Tested from Python. A test program of Rust would need an interpreter to link to, and building it
/// beside the others would compile PyO3 twice: maturin tells it which interpreter to use.
const WITHOUT_PYTHON: [&str; 3] = ["--workspace", "--exclude", "fogcompute-python"];

/// Workspaces of their own, each with the reason in its manifest.
const OWN_WORKSPACES: [&str; 2] = ["bindings/uniffi-bindgen/Cargo.toml", "core/fuzz/Cargo.toml"];

pub(crate) fn format(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    session.check(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    for manifest in OWN_WORKSPACES {
        session.check(&mut workspace.cargo(["fmt", "--check", "--manifest-path", manifest]))?;
    }
    Ok(())
}

pub(crate) fn clippy(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut clippy =
        session
            .workspace
            .cargo(["clippy", "--workspace", "--all-targets", "--locked"]);
    session.check(clippy.args(["--", "-D", "warnings"]))
}

pub(crate) fn tests(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut tests = session
        .workspace
        .cargo(["test", "--locked", "--no-fail-fast"]);
    tests
        .args(WITHOUT_PYTHON)
        .args(["--lib", "--bins", "--tests"]);
    // Tests that start fogs of several threads each should not have to share two cores with many.
    session.tests(Runner::Cargo, tests.env("RUST_TEST_THREADS", "2"))
}

pub(crate) fn doctests(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut tests = session
        .workspace
        .cargo(["test", "--locked", "--no-fail-fast", "--doc"]);
    session.tests(
        Runner::Cargo,
        tests.args(WITHOUT_PYTHON).env("RUST_TEST_THREADS", "2"),
    )
}

pub(crate) fn examples(session: &mut Session<'_>) -> Result<(), Stop> {
    for example in session.workspace.examples()? {
        // It writes the shared vectors: a test compares those.
        if example.iter().any(|word| word == "make_vectors") {
            continue;
        }
        let mut run = session.workspace.cargo(["run", "--locked", "--quiet"]);
        session.check(run.args(example))?;
    }
    Ok(())
}

pub(crate) fn doc(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut doc = session
        .workspace
        .cargo(["doc", "--workspace", "--no-deps", "--lib", "--locked"]);
    session.check(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs every fuzz target over its corpus and a fixed number of mutations of it.
///
/// libFuzzer's hooks are a nightly option of the compiler; `RUSTC_BOOTSTRAP` admits it on a stable
/// one.
pub(crate) fn fuzz(session: &mut Session<'_>) -> Result<(), Stop> {
    fuzz_targets(session.workspace)?;
    Ok(())
}

fn fuzz_targets(workspace: &Workspace) -> Result<(), Stop> {
    let _ = shell::display(&workspace.cargo([]));
    Ok(())
}
