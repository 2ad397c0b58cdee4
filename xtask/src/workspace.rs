//! Where things are: the checkout, the build directory, the tools.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::session::{Stop, prepare};

/// How to build what other languages load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Profile {
    /// Quick to build; shared with the tests of Rust.
    Dev,
    /// What users run.
    Release,
    /// What figures are measured with.
    Measure,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Measure => "measure",
        }
    }

    /// The folder of the build directory that cargo builds into.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Measure => "measure",
        }
    }
}

/// The checkout and the build directory that cargo uses for it.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which honours `CARGO_TARGET_DIR` and its configuration files.
    pub(crate) fn find() -> io::Result<Self> {
        let metadata = metadata(Path::new(env!("CARGO_MANIFEST_DIR")), &["--no-deps"])?;
        let folder = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .ok_or_else(|| io::Error::other(format!("cargo metadata has no {key}")))
        };
        Ok(Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
        })
    }

    /// A path of the checkout.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path of the build directory.
    pub(crate) fn target(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.target.join(relative)
    }

    /// Cargo, started in the checkout.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(cargo());
        command.args(args);
        command
    }

    /// A program, started in the checkout.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        without_own_package(&mut command).current_dir(&self.root);
        command
    }

    /// What `cargo metadata` says of a package and all it depends on, on every platform.
    pub(crate) fn dependencies(&self, manifest: &str) -> io::Result<Value> {
        let folder = self.path(manifest);
        metadata(folder.parent().unwrap_or(&self.root), &["--locked"])
    }

    /// Builds a library for another language and gives the folder it is in.
    ///
    /// Alone: with the whole workspace it could get features of other packages.
    pub(crate) fn build_native(&self, package: &str, profile: Profile) -> Result<PathBuf, Stop> {
        let build = [
            "build",
            "--locked",
            "--profile",
            profile.name(),
            "-p",
            package,
        ];
        prepare(&mut self.cargo(build))?;
        Ok(self.target(profile.folder()))
    }

    /// The files of a folder with an extension, in order.
    pub(crate) fn files(&self, folder: &str, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.path(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The programs of a package that is a workspace of its own, in order.
    pub(crate) fn programs(&self, manifest: &str) -> io::Result<Vec<String>> {
        let folder = self.path(manifest);
        let metadata = metadata(folder.parent().unwrap_or(&self.root), &["--no-deps"])?;
        let targets = metadata["packages"][0]["targets"].as_array();
        let programs = targets
            .into_iter()
            .flatten()
            .filter(|target| target["kind"][0] == "bin");
        let mut names: Vec<_> = programs
            .filter_map(|target| target["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The example programs in Rust: where each is once it is built, in the folder of its profile.
    pub(crate) fn examples(&self) -> io::Result<Vec<PathBuf>> {
        let metadata = metadata(&self.root, &["--no-deps"])?;
        let mut examples = Vec::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            for target in package["targets"].as_array().into_iter().flatten() {
                let (Some(package), Some(name), Some(kind)) = (
                    package["name"].as_str(),
                    target["name"].as_str(),
                    target["kind"][0].as_str(),
                ) else {
                    continue;
                };
                // Those for users are a package of their own, so that they read like a user's.
                let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
                if kind == "example" {
                    examples.push(Path::new("examples").join(program));
                } else if kind == "bin" && package == "fogcompute-examples" {
                    examples.push(program.into());
                }
            }
        }
        examples.sort();
        Ok(examples)
    }
}

/// The program in the `PATH`, if it is there.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|candidate| candidate.is_file())
}

/// Takes out what `cargo run` says of this very package: build scripts look at it, so a cargo that
/// inherits it builds again what a user's own `cargo build` has just built.
fn without_own_package(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let own = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if own {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that runs this, or the one in the `PATH`.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn metadata(folder: &Path, args: &[&str]) -> io::Result<Value> {
    let output = without_own_package(&mut Command::new(cargo()))
        .args(["metadata", "--format-version=1"])
        .args(args)
        .current_dir(folder)
        .output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!(
            "cargo metadata: {}",
            reason.trim()
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::from)
}
