//! The package of C and C++, its steps and its bench programs.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::bench::Program;
use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;
use crate::workspace::{Profile, Workspace, find_tool};

const LIBRARY: &str = "fogcompute-c";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const VERSION_MAJOR: &str = env!("CARGO_PKG_VERSION_MAJOR");
const VERSION_MINOR: &str = env!("CARGO_PKG_VERSION_MINOR");
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// `cargo xtask install`: the C and C++ package for users.
pub(crate) fn run_install(workspace: &Workspace, prefix: &Path) -> Result<ExitCode, Stop> {
    install(workspace, Profile::Release, prefix)?;
    println!("installed in {}", prefix.display());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn test_c(session: &mut Session<'_>) -> Result<(), Stop> {
    Language {
        name: "c",
        compiler: "cc",
        extension: "c",
        standards: &["c11"],
    }
    .test(session)
}

pub(crate) fn test_cpp(session: &mut Session<'_>) -> Result<(), Stop> {
    let standards = &["c++17", "c++20"];
    Language {
        name: "cpp",
        compiler: "c++",
        extension: "cpp",
        standards,
    }
    .test(session)
}

pub(crate) fn bench_program_c(workspace: &Workspace, profile: Profile) -> Result<Program, Stop> {
    bench_program(workspace, profile, "c", "cc", "-std=c11")
}

pub(crate) fn bench_program_cpp(workspace: &Workspace, profile: Profile) -> Result<Program, Stop> {
    bench_program(workspace, profile, "cpp", "c++", "-std=c++17")
}

struct Language {
    name: &'static str,
    compiler: &'static str,
    extension: &'static str,
    standards: &'static [&'static str],
}

impl Language {
    fn test(&self, session: &mut Session<'_>) -> Result<(), Stop> {
        let workspace = session.workspace;
        for tool in [self.compiler, "cmake", "ctest", "valgrind", "pkg-config"] {
            tool_or_skip(tool)?;
        }
        let prefix = workspace.target("c-package");
        install(workspace, Profile::Dev, &prefix)?;

        for standard in self.standards {
            let program = workspace.target(format!("c-package/test-{standard}"));
            let source = format!("bindings/c/tests/test.{}", self.extension);
            let libraries = pkg_config(workspace, &prefix, self.test_libraries())?;
            let mut compile = workspace.command(self.compiler);
            compile
                .arg(format!("-std={standard}"))
                .args(["-O1", "-g"])
                .args(STRICT);
            // Threads and sockets of POSIX are hidden by a strict C.
            compile
                .arg("-D_POSIX_C_SOURCE=200809L")
                .arg(source)
                .args(libraries);
            prepare(compile.arg(rpath(&prefix)).arg("-o").arg(&program))?;
            session.tests(Runner::Plain, valgrind(workspace).arg(&program).arg("."))?;
        }

        let build = workspace.target(format!("c-package/examples-{}", self.name));
        let source = workspace.path("examples").join(self.name);
        let mut configure = workspace.command("cmake");
        // What another checkout left behind names its own sources.
        configure.arg("--fresh");
        configure.arg("-S").arg(source).arg("-B").arg(&build);
        prepare(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())))?;
        prepare(workspace.command("cmake").arg("--build").arg(&build))?;
        let mut ctest = workspace.command("ctest");
        session.tests(
            Runner::Ctest,
            ctest
                .arg("--output-on-failure")
                .arg("--test-dir")
                .arg(&build),
        )
    }

    /// What reads the shared vectors.
    fn test_libraries(&self) -> &'static [&'static str] {
        match self.name {
            "c" => &["libcjson"],
            _ => &["nlohmann_json"],
        }
    }
}

fn bench_program(
    workspace: &Workspace,
    profile: Profile,
    language: &'static str,
    compiler: &str,
    standard: &str,
) -> Result<Program, Stop> {
    tool_or_skip(compiler)?;
    tool_or_skip("pkg-config")?;
    let prefix = workspace.target(format!("c-package-{}", profile.name()));
    install(workspace, profile, &prefix)?;
    let program = prefix.join(format!("bench-{language}"));
    let libraries = pkg_config(workspace, &prefix, &[])?;
    let mut compile = workspace.command(compiler);
    compile
        .args([standard, "-O2", "-D_POSIX_C_SOURCE=200809L"])
        .args(STRICT);
    compile
        .arg(format!("bindings/c/bench/bench.{language}"))
        .args(libraries);
    prepare(compile.arg(rpath(&prefix)).arg("-o").arg(&program))?;
    Ok(Program::new(language, program))
}

fn valgrind(workspace: &Workspace) -> Command {
    let mut valgrind = workspace.command("valgrind");
    valgrind.args([
        "--quiet",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
        "--errors-for-leak-kinds=definite,indirect",
        "--error-exitcode=9",
        "--suppressions=bindings/c/tests/valgrind.supp",
    ]);
    valgrind
}

fn rpath(prefix: &Path) -> String {
    format!("-Wl,-rpath,{}", prefix.join("lib").display())
}

/// Flags for the package in `prefix` and for more packages of the system.
fn pkg_config(workspace: &Workspace, prefix: &Path, more: &[&str]) -> Result<Vec<String>, Stop> {
    let mut command = workspace.command("pkg-config");
    command
        .args(["--cflags", "--libs", "fogcompute"])
        .args(more)
        .arg("--print-errors");
    let output = command
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', " ");
        // Our own package is there: what is missing is one of the system's.
        return Err(Stop::Skipped(format!("pkg-config: {reason}")));
    }
    let flags = String::from_utf8_lossy(&output.stdout).into_owned();
    // The tests start threads.
    let flags = flags.split_whitespace().chain(["-lpthread"]);
    Ok(flags.map(str::to_owned).collect())
}

fn tool_or_skip(name: &str) -> Result<PathBuf, Stop> {
    find_tool(name).ok_or_else(|| Stop::Skipped(format!("no {name} in the PATH")))
}

/// Copies the package together: `bindings/c/package/README.md` is the recipe.
fn install(workspace: &Workspace, profile: Profile, prefix: &Path) -> Result<(), Stop> {
    let built = workspace.build_native(LIBRARY, profile)?;
    let shared = format!("libfogcompute.so.{VERSION}");
    let soname = format!("libfogcompute.so.{VERSION_MAJOR}");
    for folder in ["include", "lib/cmake/fogcompute", "lib/pkgconfig"] {
        std::fs::create_dir_all(prefix.join(folder))?;
    }
    for header in ["fogcompute.h", "fogcompute.hpp"] {
        let header = Path::new("include").join(header);
        std::fs::copy(workspace.path(&header), prefix.join(&header))?;
    }
    let lib = prefix.join("lib");
    // A program may be using the one that is there.
    remove(&lib.join(&shared))?;
    std::fs::copy(built.join("libfogcompute_c.so"), lib.join(&shared))?;
    std::fs::copy(built.join("libfogcompute_c.a"), lib.join("libfogcompute.a"))?;
    link(&shared, &lib.join(&soname))?;
    link(&soname, &lib.join("libfogcompute.so"))?;
    for (template, folder) in [
        ("fogcompute-config.cmake", "lib/cmake/fogcompute"),
        ("fogcompute-config-version.cmake", "lib/cmake/fogcompute"),
        ("fogcompute.pc", "lib/pkgconfig"),
    ] {
        let source = workspace.path(format!("bindings/c/package/{template}.in"));
        let text = std::fs::read_to_string(source)?
            .replace("@VERSION@", VERSION)
            .replace("@VERSION_MAJOR@", VERSION_MAJOR)
            .replace("@VERSION_MINOR@", VERSION_MINOR)
            .replace("@POINTER_BYTES@", &size_of::<usize>().to_string());
        std::fs::write(prefix.join(folder).join(template), text)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Stop> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn link(target: &str, path: &Path) -> Result<(), Stop> {
    remove(path)?;
    Ok(std::os::unix::fs::symlink(target, path)?)
}

#[cfg(not(unix))]
fn link(_target: &str, _path: &Path) -> Result<(), Stop> {
    Err(Stop::Skipped(
        "the C package is made on Unix only".to_owned(),
    ))
}
