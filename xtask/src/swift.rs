//! The step and the bench program for Swift.

use std::path::Path;
use std::process::Command;

use crate::bench::Program;
use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;
use crate::workspace::{Profile, Workspace};

/// Runs a command in `mobile/swift`, with the Swift of the `PATH` or of `.ci/swift-toolchain`.
const IN_TOOLCHAIN: &str = "mobile/swift/in-toolchain.sh";
const NATIVE: &str = "FOGCOMPUTE_NATIVE_DIR";
const LIBRARY: &str = "fogcompute-uniffi";
const EXAMPLES: [&str; 6] = [
    "cd ../../examples/swift/Example && swift run --quiet Example ../../wasm/sum.wasm",
    "cd ../../examples/swift/Example && swift run --quiet Fog ../../wasm/words.wasm",
    "cd ../../examples/swift/Example && swift run --quiet Mixnet",
    "cd ../../examples/swift/Example && swift run --quiet Optimise",
    "cd ../../examples/swift/Example && swift run --quiet Placement",
    "cd ../../examples/swift/Example && swift run --quiet Words ../../wasm/words.wasm main.swift",
];

/// Checks the syntax of the samples, and the types of what in them is not for Apple's systems alone.
const SAMPLES: &str = "swiftc -typecheck -warnings-as-errors ../samples/ios/*.swift";

pub(crate) fn test(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let native = library(workspace, Profile::Dev)?;
    let swift = |args: &[&str]| in_toolchain(workspace, &native, args);
    session.tests(Runner::Xctest, &mut swift(&["swift", "test"]))?;
    for example in EXAMPLES {
        session.check(&mut swift(&["sh", "-c", example]))?;
    }
    session.check(&mut swift(&["sh", "-c", SAMPLES]))
}

pub(crate) fn bench_program(workspace: &Workspace, profile: Profile) -> Result<Program, Stop> {
    let native = library(workspace, profile)?;
    let configuration = match profile {
        Profile::Dev => "debug",
        Profile::Release | Profile::Measure => "release",
    };
    let build = [
        "swift",
        "build",
        "-c",
        configuration,
        "--product",
        "FogComputeBench",
    ];
    prepare(&mut in_toolchain(workspace, &native, &build))?;
    Ok(Program::new("swift", workspace.path(IN_TOOLCHAIN))
        .arg(format!(".build/{configuration}/FogComputeBench"))
        .env(NATIVE, &native))
}

fn in_toolchain(workspace: &Workspace, native: &Path, args: &[&str]) -> Command {
    let mut command = workspace.command(workspace.path(IN_TOOLCHAIN));
    command.args(args).env(NATIVE, native);
    command
}

/// Builds the library, if there is a Swift that could use it.
fn library(workspace: &Workspace, profile: Profile) -> Result<std::path::PathBuf, Stop> {
    // Any folder will do to ask.
    let asked = in_toolchain(workspace, &workspace.path("."), &["swift", "--version"]).output()?;
    if !asked.status.success() {
        let reason = String::from_utf8_lossy(&asked.stderr).trim().to_owned();
        return Err(Stop::Skipped(format!("no Swift toolchain: {reason}")));
    }
    workspace.build_native(LIBRARY, profile)
}
