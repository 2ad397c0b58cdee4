//! `cargo xtask test`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::session::{Session, Stop};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{bench, bindings, c, governor, kotlin, licences, mesh, python, rust, swift};

/// Which steps to run, and how strictly.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Count what is skipped as failed.
    #[arg(long)]
    require_all: bool,
    /// Run only these steps.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Print the steps and end.
    #[arg(long)]
    list: bool,
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Session<'_>) -> Result<(), Stop>,
}

/// Every step, in the order they run: the quick ones that fail most come first.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        about: "every Rust file is formatted",
        run: rust::format,
    },
    Step {
        name: "clippy",
        about: "lints, warnings refused",
        run: rust::clippy,
    },
    Step {
        name: "rust",
        about: "unit, property and integration tests",
        run: rust::tests,
    },
    Step {
        name: "doctests",
        about: "the examples in the documentation",
        run: rust::doctests,
    },
    Step {
        name: "examples",
        about: "the Rust example programs",
        run: rust::examples,
    },
    Step {
        name: "demo",
        about: "the demonstration",
        run: rust::demo,
    },
    Step {
        name: "doc",
        about: "documentation, warnings refused",
        run: rust::doc,
    },
    Step {
        name: "fuzz",
        about: "fuzz targets, a short run each",
        run: rust::fuzz,
    },
    Step {
        name: "licences",
        about: "licences and sources of all dependencies",
        run: licences::check,
    },
    Step {
        name: "bindings",
        about: "generated files are current",
        run: bindings::check,
    },
    Step {
        name: "c",
        about: "C: tests under valgrind, package files, example",
        run: c::test_c,
    },
    Step {
        name: "cpp",
        about: "C++: tests under valgrind, example",
        run: c::test_cpp,
    },
    Step {
        name: "python",
        about: "Python: pytest, types, example",
        run: python::test,
    },
    Step {
        name: "mesh",
        about: "the mesh beside bitchat-protocol, and on bumble's virtual Bluetooth",
        run: mesh::test,
    },
    Step {
        name: "kotlin",
        about: "Kotlin: JUnit tests, examples, samples for Android",
        run: kotlin::test,
    },
    Step {
        name: "swift",
        about: "Swift: XCTest tests, examples",
        run: swift::test,
    },
    Step {
        name: "governor",
        about: "governance beside OpenZeppelin's Governor, run by revm",
        run: governor::test,
    },
    Step {
        name: "benches",
        about: "every benchmark, as short as it goes",
        run: bench::smoke,
    },
];

struct Line {
    name: &'static str,
    tally: Tally,
    time: Duration,
    notes: Vec<String>,
}

/// Runs the steps; what fails does not keep the later ones from running.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Stop> {
    if options.list {
        for step in STEPS {
            println!("{:10} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| STEPS.iter().all(|s| s.name != **name))
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        let names = names.join(", ");
        return Err(Stop::Failed(format!(
            "there is no step {unknown}; there are {names}"
        )));
    }
    let chosen =
        |step: &&Step| options.only.is_empty() || options.only.iter().any(|n| n == step.name);
    let lines: Vec<_> = STEPS
        .iter()
        .filter(chosen)
        .map(|step| run_step(workspace, step))
        .collect();

    println!(
        "\n{:10} {:>6} {:>6} {:>7} {:>9}",
        "step", "passed", "failed", "skipped", "time"
    );
    let mut total = Tally::default();
    for Line {
        name,
        tally,
        time,
        notes,
    } in &lines
    {
        let seconds = time.as_secs_f64();
        let Tally {
            passed,
            failed,
            skipped,
        } = tally;
        println!("{name:10} {passed:>6} {failed:>6} {skipped:>7} {seconds:>7.1} s");
        for note in notes {
            println!("           {note}");
        }
        total += *tally;
    }
    let (total, code) = verdict(total, options.require_all);
    println!("\n{total}");
    Ok(code)
}

/// With `require_all`, what was skipped has failed.
fn verdict(mut total: Tally, require_all: bool) -> (Tally, ExitCode) {
    if require_all {
        total.failed += std::mem::take(&mut total.skipped);
    }
    let code = if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    (total, code)
}

fn run_step(workspace: &Workspace, step: &Step) -> Line {
    println!("\n== {}: {}", step.name, step.about);
    let started = now();
    let mut session = Session::new(workspace);
    let stopped = (step.run)(&mut session).err();
    let mut notes: Vec<_> = session
        .failures
        .iter()
        .map(|command| format!("failed: {command}"))
        .collect();
    if let Some(stop) = stopped {
        let note = match stop {
            Stop::Skipped(reason) => {
                session.tally += Tally::SKIPPED;
                format!("skipped: {reason}")
            }
            Stop::Failed(reason) => {
                session.tally += Tally::FAILED;
                format!("failed: {reason}")
            }
        };
        println!("{note}");
        notes.push(note);
    }
    Line {
        name: step.name,
        tally: session.tally,
        time: started.elapsed(),
        notes,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a step took is for people to read"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn require_all_turns_a_skip_into_a_failure() {
        let total = Tally {
            passed: 2,
            failed: 0,
            skipped: 1,
        };
        assert_eq!(verdict(total, false), (total, ExitCode::SUCCESS));
        let strict = Tally {
            passed: 2,
            failed: 1,
            skipped: 0,
        };
        assert_eq!(verdict(total, true), (strict, ExitCode::FAILURE));
    }

    #[test]
    fn steps_have_names_of_their_own() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(
                STEPS[..index]
                    .iter()
                    .all(|earlier| earlier.name != step.name)
            );
        }
    }
}
