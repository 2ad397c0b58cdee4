//! The steps for Rust itself.

use std::process::Stdio;

use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;
use crate::workspace::Workspace;
use crate::{demo, governor};

/// Tested from Python. A test program of Rust would need an interpreter to link to, and building it
/// beside the others would compile PyO3 twice: maturin tells it which interpreter to use.
const WITHOUT_PYTHON: [&str; 3] = ["--workspace", "--exclude", "fogcompute-python"];

/// Workspaces of their own, each with the reason in its manifest.
const OWN_WORKSPACES: [&str; 3] = [
    "bindings/uniffi-bindgen/Cargo.toml",
    FUZZ,
    governor::MANIFEST,
];

/// Features that are off by default, alone: with the workspace, everything above would be built again
/// for the steps that come later.
const COMPAT_NYM: [&str; 4] = ["-p", "fogcompute-mix", "--features", "compat-nym"];
const BLUETOOTH: [&str; 4] = [
    "-p",
    "fogcompute-net",
    "--features",
    "ble-central,ble-linux",
];
const WASMTIME: [&str; 4] = ["-p", "fogcompute-runtime", "--features", "wasmtime"];
/// All of them, to be looked at together.
const FEATURES: [&str; 10] = [
    "-p",
    "fogcompute-mix",
    "-p",
    "fogcompute-net",
    "-p",
    "fogcompute-runtime",
    "-p",
    "fogcompute-node",
    "--features",
    "compat-nym,ble-central,ble-linux,fogcompute-runtime/wasmtime,fogcompute-node/wasmtime",
];

const FUZZ: &str = "core/fuzz/Cargo.toml";

/// What `cargo fuzz` tells the compiler, without the sanitizer: libFuzzer is led by the edges taken
/// and the values compared.
const COVERAGE: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

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
    session.check(clippy.args(["--", "-D", "warnings"]))?;
    let mut clippy = session
        .workspace
        .cargo(["clippy", "--all-targets", "--locked"]);
    session.check(clippy.args(FEATURES).args(["--", "-D", "warnings"]))
}

pub(crate) fn tests(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut tests = session
        .workspace
        .cargo(["test", "--locked", "--no-fail-fast"]);
    tests
        .args(WITHOUT_PYTHON)
        .args(["--lib", "--bins", "--tests"]);
    // Tests that start fogs of several threads each should not have to share two cores with many.
    session.tests(Runner::Cargo, tests.env("RUST_TEST_THREADS", "2"))?;
    let mut tests = session.workspace.cargo(["test", "--locked", "--lib"]);
    session.tests(Runner::Cargo, tests.args(COMPAT_NYM).arg("nym"))?;
    if cfg!(target_os = "linux") {
        let mut tests = session
            .workspace
            .cargo(["test", "--locked", "--test", "bluez"]);
        session.tests(Runner::Cargo, tests.args(BLUETOOTH))?;
    }
    let mut tests =
        session
            .workspace
            .cargo(["test", "--locked", "--no-fail-fast", "--lib", "--tests"]);
    session.tests(
        Runner::Cargo,
        tests.args(WASMTIME).env("RUST_TEST_THREADS", "2"),
    )
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
    let workspace = session.workspace;
    build_programs(workspace)?;
    for example in workspace.examples()? {
        // It writes the shared vectors: a test compares those.
        if example.ends_with("make_vectors") {
            continue;
        }
        let mut run = workspace.command(workspace.target("debug").join(example));
        // One serves its input until that ends.
        session.check(run.stdin(Stdio::null()))?;
    }
    Ok(())
}

/// Runs the demonstration, as it is built for tests: `cargo xtask demo` would build a release.
pub(crate) fn demo(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    build_programs(workspace)?;
    let program = workspace.target("debug").join(demo::PROGRAM);
    let mut run = workspace.command(program);
    // A machine that is busy with tests lends nothing by its own policy: it is passed over.
    run.args(["demo", "--policy", "always", "--out"]);
    session.check(run.arg(workspace.target("demo")))
}

/// Builds what can be run, all at once: `cargo run` for each package would build what they share with
/// the features of each.
fn build_programs(workspace: &Workspace) -> Result<(), Stop> {
    let mut build = workspace.cargo(["build", "--locked", "--examples", "--bins"]);
    prepare(build.args(WITHOUT_PYTHON))
}

pub(crate) fn doc(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut doc = session
        .workspace
        .cargo(["doc", "--workspace", "--no-deps", "--lib", "--locked"]);
    session.check(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs every fuzz target on a fixed sequence of inputs.
///
/// `cargo fuzz` adds the address sanitizer to these flags, which needs options of a nightly
/// compiler; `unsafe` is forbidden where these inputs go, so a short run does without.
pub(crate) fn fuzz(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let folder = workspace.target("fuzz");
    // Named, although it is this machine's: without it cargo would instrument build scripts too.
    let machine = rust_host(workspace)?;
    let mut build = workspace.cargo(["build", "--release", "--locked", "--manifest-path", FUZZ]);
    build
        .args(["--target", &machine, "--target-dir"])
        .arg(&folder);
    prepare(build.env("RUSTFLAGS", COVERAGE.join(" ")))?;

    let artifacts = folder.join("artifacts");
    std::fs::create_dir_all(&artifacts)?;
    let programs = folder.join(machine).join("release");
    for name in workspace.programs(FUZZ)? {
        let mut target = workspace.command(programs.join(name));
        target.args(["-seed=1", "-runs=2000", "-max_total_time=20", "-timeout=10"]);
        target.arg(format!("-artifact_prefix={}/", artifacts.display()));
        session.check(target.args(["-verbosity=0", "-print_final_stats=1"]))?;
    }
    Ok(())
}

fn rust_host(workspace: &Workspace) -> Result<String, Stop> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = workspace.command(rustc).arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Stop::Failed("rustc -vV names no host".to_owned()))
}
