//! The peers written for Python, in a process of their own that runs what it is told.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An optimiser for Python.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Library {
    Pygmo,
    Pymoo,
}

impl Library {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pygmo => "pygmo",
            Self::Pymoo => "pymoo",
        }
    }
}

#[derive(Deserialize)]
struct Versions {
    pygmo: String,
    pymoo: String,
}

#[derive(Serialize)]
struct Order<'a> {
    peer: &'static str,
    problem: &'a str,
    generations: u32,
    seed: u64,
}

/// What a run took and found.
#[derive(Deserialize)]
pub(super) struct Answer {
    /// CPU time of the process.
    pub(super) nanos: f64,
    /// Objectives of the front.
    pub(super) front: Vec<Vec<f64>>,
}

/// `benches/peers/schedule.py` at work. It ends when this is dropped.
pub(super) struct Peers {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    versions: Versions,
}

impl Peers {
    /// Starts the program with an interpreter that has the libraries.
    pub(super) fn start(python: &Path) -> Result<Self, Box<dyn Error>> {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/schedule.py");
        let mut child = Command::new(python)
            .arg(program)
            // The others are measured on one thread as well.
            .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"].map(|name| (name, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no way to the peers")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no way from the peers")?);
        let versions = read(&mut answers)?;
        Ok(Self {
            child,
            orders,
            answers,
            versions,
        })
    }

    pub(super) fn version(&self, library: Library) -> &str {
        match library {
            Library::Pygmo => &self.versions.pygmo,
            Library::Pymoo => &self.versions.pymoo,
        }
    }

    /// Gives the program the placement problem that it is asked for by the name `placement`.
    pub(super) fn set_placement(&mut self, instance: &Value) -> Result<(), Box<dyn Error>> {
        self.send(&serde_json::json!({ "instance": instance }))?;
        read::<Value>(&mut self.answers)?;
        Ok(())
    }

    /// Lets a library solve a problem.
    pub(super) fn run(
        &mut self,
        library: Library,
        problem: &str,
        generations: u32,
        seed: u64,
    ) -> Result<Answer, Box<dyn Error>> {
        self.send(&Order {
            peer: library.name(),
            problem,
            generations,
            seed,
        })?;
        read(&mut self.answers)
    }

    fn send(&mut self, order: &impl Serialize) -> Result<(), Box<dyn Error>> {
        serde_json::to_writer(&mut self.orders, order)?;
        self.orders.write_all(b"\n")?;
        Ok(self.orders.flush()?)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It only computes: nothing is lost with it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    answers: &mut BufReader<ChildStdout>,
) -> Result<T, Box<dyn Error>> {
    let mut line = String::new();
    if answers.read_line(&mut line)? == 0 {
        return Err("the peers for Python stopped".into());
    }
    Ok(serde_json::from_str(&line)?)
}
