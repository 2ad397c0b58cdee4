//! The step and the bench program for Kotlin.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Program;
use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;
use crate::workspace::{Profile, Workspace, find_tool};

const FOLDER: &str = "mobile/kotlin";
/// The library, and the samples for Android that use it.
const ALL: &str = "mobile";
const LIBRARY: &str = "fogcompute-uniffi";

/// Maven compiles the example with the tests, one of which runs it. The samples' tests run after those of
/// the library, if these have passed.
pub(crate) fn test(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let mvn = toolchain()?;
    let native = workspace.build_native(LIBRARY, Profile::Dev)?;
    session.tests(
        Runner::Surefire,
        maven(workspace, &mvn, &native, ALL).arg("test"),
    )
}

pub(crate) fn bench_program(workspace: &Workspace, profile: Profile) -> Result<Program, Stop> {
    let mvn = toolchain()?;
    let native = workspace.build_native(LIBRARY, profile)?;
    let classpath = workspace.target("kotlin-classpath");
    prepare(
        maven(workspace, &mvn, &native, FOLDER)
            .args([
                "test-compile",
                "dependency:build-classpath",
                "-Dmdep.includeScope=test",
            ])
            .arg(format!("-Dmdep.outputFile={}", classpath.display())),
    )?;
    let classes = workspace.path(FOLDER).join("target");
    let classpath = std::env::join_paths(
        [classes.join("classes"), classes.join("test-classes")]
            .into_iter()
            .chain(std::env::split_paths(&std::fs::read_to_string(classpath)?)),
    )
    .map_err(|error| Stop::Failed(error.to_string()))?;
    Ok(
        Program::new("kotlin", find_tool("java").unwrap_or_else(|| "java".into()))
            .arg(format!("-Djna.library.path={}", native.display()))
            .arg("-cp")
            .arg(classpath)
            .arg("dev.fogcompute.bench.BenchKt"),
    )
}

fn maven(workspace: &Workspace, mvn: &PathBuf, native: &Path, folder: &str) -> Command {
    let mut command = workspace.command(mvn);
    command
        .args(["--batch-mode", "--no-transfer-progress", "--file", folder])
        .arg(format!("-Dfog.native.dir={}", native.display()));
    command
}

fn toolchain() -> Result<PathBuf, Stop> {
    if find_tool("java").is_none() {
        return Err(Stop::Skipped("no java in the PATH".to_owned()));
    }
    find_tool("mvn").ok_or_else(|| Stop::Skipped("no mvn (Maven) in the PATH".to_owned()))
}
