//! Counting tests from what their runners print.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    pub(crate) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    pub(crate) const SKIPPED: Self = Self {
        passed: 0,
        failed: 0,
        skipped: 1,
    };
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Whose summary to look for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Runner {
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`, once a program.
    Cargo,
    /// `=== 3 passed, 1 skipped in 0.12s ===`.
    Pytest,
    /// `Tests run: 3, Failures: 0, Errors: 0, Skipped: 1` without a class name.
    Surefire,
    /// `Executed 3 tests, with 1 test skipped and 0 failures (0 unexpected) in …`, once a suite and
    /// once for all of them.
    Xctest,
    /// `67% tests passed, 1 tests failed out of 3`.
    Ctest,
    /// `3 passed, 0 failed`, once a program.
    Plain,
}

impl Runner {
    /// Adds up the summaries in a runner's output.
    pub(crate) fn count(self, output: &str) -> Tally {
        let mut total = Tally::default();
        for line in output.lines() {
            let Some(tally) = self.summary(line.trim()) else {
                continue;
            };
            match self {
                // The summary of all suites repeats those of each.
                Self::Xctest
                    if tally.passed + tally.failed + tally.skipped
                        < total.passed + total.failed + total.skipped => {}
                Self::Xctest => total = tally,
                _ => total += tally,
            }
        }
        total
    }

    fn summary(self, line: &str) -> Option<Tally> {
        match self {
            Self::Cargo => {
                let counts = line.strip_prefix("test result: ")?;
                Some(Tally {
                    passed: number_before(counts, "passed")?,
                    failed: number_before(counts, "failed")?,
                    skipped: number_before(counts, "ignored")?,
                })
            }
            Self::Pytest => {
                let counts = line.trim_matches(['=', ' ']);
                let counts = &counts[..counts.find(" in ")?];
                let seconds = line.trim_end_matches(['=', ' ']);
                if !(seconds.ends_with('s') || seconds.ends_with(')')) {
                    return None;
                }
                let known = [
                    "passed",
                    "failed",
                    "error",
                    "errors",
                    "skipped",
                    "xfailed",
                    "xpassed",
                    "deselected",
                    "warning",
                    "warnings",
                ];
                if !counts.split(", ").all(|part| {
                    part.split_once(' ').is_some_and(|(number, word)| {
                        number.parse::<u64>().is_ok() && known.contains(&word)
                    })
                }) {
                    return None;
                }
                let count = |word| number_before(counts, word).unwrap_or(0);
                Some(Tally {
                    passed: count("passed") + count("xfailed"),
                    failed: count("failed") + count("error") + count("errors") + count("xpassed"),
                    skipped: count("skipped"),
                })
            }
            Self::Surefire => {
                let line = line.split_once("Tests run:").filter(|(before, rest)| {
                    !before.contains("run") && !rest.contains("Time elapsed")
                })?;
                let count = |word: &str| -> Option<u64> {
                    let rest = &line.1[line.1.find(word)? + word.len()..];
                    leading_number(rest.trim_start())
                };
                let run = leading_number(line.1.trim_start())?;
                let failed = count("Failures:")? + count("Errors:")?;
                let skipped = count("Skipped:")?;
                Some(Tally {
                    passed: run.checked_sub(failed + skipped)?,
                    failed,
                    skipped,
                })
            }
            Self::Xctest => {
                let counts = line.strip_prefix("Executed ")?;
                let run = leading_number(counts)?;
                let failed = number_before(counts, "failure")
                    .or_else(|| number_before(counts, "failures"))?;
                let skipped = number_before(counts, "test skipped")
                    .or_else(|| number_before(counts, "tests skipped"))
                    .unwrap_or(0);
                // One test can fail more than once.
                let failed = failed.min(run.checked_sub(skipped)?);
                Some(Tally {
                    passed: run - failed - skipped,
                    failed,
                    skipped,
                })
            }
            Self::Ctest => {
                let (_, counts) = line.split_once("% tests passed, ")?;
                let failed = leading_number(counts)?;
                let run = leading_number(counts.split_once("out of ")?.1)?;
                Some(Tally {
                    passed: run.checked_sub(failed)?,
                    failed,
                    skipped: 0,
                })
            }
            Self::Plain => {
                let mut parts = line.split(", ");
                let passed = exactly(parts.next()?, "passed")?;
                let failed = exactly(parts.next()?, "failed")?;
                let skipped = match parts.next() {
                    Some(part) => exactly(part, "skipped")?,
                    None => 0,
                };
                Some(Tally {
                    passed,
                    failed,
                    skipped,
                })
            }
        }
    }
}

/// The number in `3 passed` and nothing else.
fn exactly(part: &str, word: &str) -> Option<u64> {
    part.strip_suffix(word)?.strip_suffix(' ')?.parse().ok()
}

/// The number that stands before a word: 3 in `ok. 3 passed; 1 failed` for `passed`.
fn number_before(text: &str, word: &str) -> Option<u64> {
    text.match_indices(word).find_map(|(start, _)| {
        let after = text[start + word.len()..].chars().next();
        if after.is_some_and(char::is_alphabetic) {
            return None;
        }
        let before = text[..start].strip_suffix(' ')?;
        let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn every_test_program_of_cargo_is_added_up() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0s\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(Runner::Cargo.count(output), tally(4, 2, 1));
    }

    #[test]
    fn the_closing_line_of_pytest_is_read_quiet_or_not() {
        for (line, expected) in [
            ("===== 12 passed in 3.21s =====", tally(12, 0, 0)),
            ("12 passed, 1 warning in 0.10s", tally(12, 0, 0)),
            (
                "= 1 failed, 2 passed, 3 skipped, 4 errors in 61.00s (0:01:01) =",
                tally(2, 5, 3),
            ),
            ("1 xfailed, 1 xpassed in 0.1s", tally(1, 1, 0)),
            ("no tests ran in 0.01s", tally(0, 0, 0)),
            ("the fog passed in silence", tally(0, 0, 0)),
        ] {
            assert_eq!(Runner::Pytest.count(line), expected, "{line}");
        }
    }

    #[test]
    fn surefire_is_counted_once_and_not_by_class() {
        let output = "\
            [INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.5 s - in A\n\
            [ERROR] Tests run: 3, Failures: 1, Errors: 1, Skipped: 0, Time elapsed: 0.5 s - in B\n\
            [INFO] Results:\n\
            [ERROR] Tests run: 7, Failures: 1, Errors: 1, Skipped: 1\n";
        assert_eq!(Runner::Surefire.count(output), tally(4, 2, 1));
    }

    #[test]
    fn xctest_is_counted_by_the_summary_of_all_suites() {
        let output = "\
            Executed 2 tests, with 0 failures (0 unexpected) in 0.1 (0.1) seconds\n\
            Executed 5 tests, with 1 test skipped and 1 failure (0 unexpected) in 0.2 seconds\n\
            Executed 5 tests, with 1 test skipped and 1 failure (0 unexpected) in 0.2 seconds\n";
        assert_eq!(Runner::Xctest.count(output), tally(3, 1, 1));
        assert_eq!(
            Runner::Xctest.count("Executed 1 test, with 3 failures (0 unexpected) in 0.1 seconds"),
            tally(0, 1, 0)
        );
    }

    #[test]
    fn ctest_gives_the_failed_and_the_total() {
        let output = "67% tests passed, 1 tests failed out of 3\n";
        assert_eq!(Runner::Ctest.count(output), tally(2, 1, 0));
        assert_eq!(
            Runner::Ctest.count("No tests were found!!!"),
            Tally::default()
        );
    }

    #[test]
    fn plain_lines_must_stand_alone() {
        let output = "c: 9 passed, 9 failed\n4 passed, 0 failed\n2 passed, 1 failed, 3 skipped\n";
        assert_eq!(Runner::Plain.count(output), tally(6, 1, 3));
    }

    #[test]
    fn a_tally_prints_as_the_closing_line() {
        let mut total = tally(1, 2, 3);
        total += Tally::PASSED;
        total += Tally::FAILED;
        total += Tally::SKIPPED;
        assert_eq!(total.to_string(), "2 passed, 3 failed, 4 skipped");
    }
}
