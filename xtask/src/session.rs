//! One run of a step: what it did and how it counts.

use std::fmt;
use std::io;
use std::process::Command;

use crate::shell;
use crate::tally::{Runner, Tally};
use crate::workspace::Workspace;

/// Why a step, or a task, ended before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something it needs is not on this machine.
    Skipped(String),
    /// Something it needs did not work.
    Failed(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) | Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A running step: counts what it runs.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) tally: Tally,
    pub(crate) failures: Vec<String>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(workspace: &'a Workspace) -> Self {
        Self {
            workspace,
            tally: Tally::default(),
            failures: Vec::new(),
        }
    }

    /// Runs a command that counts as one check.
    pub(crate) fn check(&mut self, command: &mut Command) -> Result<(), Stop> {
        announce(command);
        if shell::run_live(command)?.status.success() {
            self.tally += Tally::PASSED;
        } else {
            self.fail(shell::display(command));
        }
        Ok(())
    }

    /// Runs a test runner and counts its tests. A runner that ran none has failed.
    pub(crate) fn tests(&mut self, runner: Runner, command: &mut Command) -> Result<(), Stop> {
        announce(command);
        let finished = shell::run_live(command)?;
        let mut tally = runner.count(&finished.text);
        let empty = tally == Tally::default();
        if tally.failed == 0 && (empty || !finished.status.success()) {
            tally.failed = 1;
        }
        if tally.failed > 0 {
            self.failures.push(shell::display(command));
        }
        self.tally += tally;
        Ok(())
    }

    /// Counts a failed check.
    pub(crate) fn fail(&mut self, what: String) {
        self.tally += Tally::FAILED;
        self.failures.push(what);
    }
}

/// Runs a command that must work for what comes next, and is not counted. It prints to the standard
/// error: the standard output of `cargo xtask bench --json` is for the figures.
pub(crate) fn prepare(command: &mut Command) -> Result<(), Stop> {
    eprintln!("$ {}", shell::display(command));
    let status = shell::run_to_stderr(command)?;
    if status.success() {
        Ok(())
    } else {
        Err(Stop::Failed(format!(
            "{} ended with {status}",
            shell::display(command)
        )))
    }
}

fn announce(command: &Command) {
    println!("$ {}", shell::display(command));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_runner_that_ran_nothing_has_failed() {
        let workspace = Workspace::find().unwrap();
        let mut session = Session::new(&workspace);
        session.tests(Runner::Plain, &mut sh("true")).unwrap();
        assert_eq!(session.tally, Tally::FAILED);
    }

    #[test]
    fn a_runner_that_crashed_after_passing_has_failed() {
        let workspace = Workspace::find().unwrap();
        let mut session = Session::new(&workspace);
        session
            .tests(Runner::Plain, &mut sh("echo '2 passed, 0 failed'; exit 9"))
            .unwrap();
        assert_eq!(
            session.tally,
            Tally {
                passed: 2,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn checks_count_one_each_and_a_failed_preparation_stops() {
        let workspace = Workspace::find().unwrap();
        let mut session = Session::new(&workspace);
        session.check(&mut sh("true")).unwrap();
        session.check(&mut sh("false")).unwrap();
        assert_eq!(
            session.tally,
            Tally {
                passed: 1,
                failed: 1,
                skipped: 0
            }
        );
        assert_eq!(session.failures, ["sh -c false"]);
        assert!(matches!(prepare(&mut sh("false")), Err(Stop::Failed(_))));
    }
}
