//! Measuring two things in turns.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use serde::de::DeserializeOwned;

/// How long to measure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effort {
    /// As long as figures need.
    Full,
    /// As little as shows that it runs.
    Smoke,
}

/// Bytes of the heap of an area, counted by a program of its own, `memory`, which stands beside this
/// one: counting would slow what is measured here.
pub(crate) fn counted_on_heap<T: DeserializeOwned>(area: &str) -> Result<T, Box<dyn Error>> {
    let name = format!("memory{}", std::env::consts::EXE_SUFFIX);
    let program = std::env::current_exe()?.with_file_name(name);
    let done = Command::new(&program)
        .arg(area)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !done.status.success() {
        return Err(format!("{} ended with {}", program.display(), done.status).into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// What a call's cost is counted in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Clock {
    /// CPU time of this thread, which leaves out what other processes take.
    Thread,
    /// Wall time, for calls that do their work on other threads.
    Wall,
}

impl Clock {
    fn time(self, call: &mut impl FnMut(), calls: u64) -> Duration {
        match self {
            Self::Thread => {
                let start = ThreadTime::now();
                (0..calls).for_each(|_| call());
                start.elapsed()
            }
            Self::Wall => {
                #[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
                let start = Instant::now();
                (0..calls).for_each(|_| call());
                start.elapsed()
            }
        }
    }
}

/// Medians of two calls' costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// Nanoseconds a call.
    pub(crate) ours: f64,
    /// The same for the peer.
    pub(crate) theirs: f64,
    /// Calls measured on each side.
    pub(crate) n: u64,
}

/// A round is long enough for the clock and short enough that both sides of it meet the same noise.
const ROUND: Duration = Duration::from_millis(4);
const ROUNDS: u64 = 201;

/// Measures two calls in turns by the CPU time of this thread: see [`in_turns_by`].
pub(crate) fn in_turns(effort: Effort, ours: impl FnMut(), theirs: impl FnMut()) -> Pair {
    in_turns_by(Clock::Thread, effort, ours, theirs)
}

/// Measures two calls in turns, in rounds of equally many calls.
///
/// Short alternating rounds let both sides see the same clock frequency and cache contention; the
/// median leaves out rounds with an interruption.
pub(crate) fn in_turns_by(
    clock: Clock,
    effort: Effort,
    mut ours: impl FnMut(),
    mut theirs: impl FnMut(),
) -> Pair {
    let (rounds, calls) = match effort {
        Effort::Smoke => (3, 1),
        Effort::Full => (
            ROUNDS,
            calls_per_round(clock, &mut ours).max(calls_per_round(clock, &mut theirs)),
        ),
    };
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first may profit or suffer from it, so both do.
        if round % 2 == 0 {
            our_times.push(nanoseconds_a_call(clock, calls, &mut ours));
            their_times.push(nanoseconds_a_call(clock, calls, &mut theirs));
        } else {
            their_times.push(nanoseconds_a_call(clock, calls, &mut theirs));
            our_times.push(nanoseconds_a_call(clock, calls, &mut ours));
        }
    }
    Pair {
        ours: median(our_times),
        theirs: median(their_times),
        n: rounds * calls,
    }
}

fn calls_per_round(clock: Clock, call: &mut impl FnMut()) -> u64 {
    let mut calls = 1;
    loop {
        if clock.time(call, calls) >= ROUND {
            return calls;
        }
        calls *= 2;
    }
}

fn nanoseconds_a_call(clock: Clock, calls: u64, call: &mut impl FnMut()) -> f64 {
    clock.time(call, calls).as_secs_f64() * 1e9 / calls as f64
}

/// The value in the middle; of an even number the upper of the two. Zero for none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which such a share of sorted values is. Zero for none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (last * share) as usize;
    values.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn both_sides_are_called_equally_often() {
        let (ours, theirs) = (Cell::new(0), Cell::new(0));
        let pair = in_turns(
            Effort::Smoke,
            || ours.set(ours.get() + 1),
            || theirs.set(theirs.get() + 1),
        );
        assert_eq!((ours.get(), theirs.get(), pair.n), (3, 3, 3));
    }

    #[test]
    fn the_median_is_the_middle() {
        for (values, middle) in [
            (vec![3.0, 1.0, 2.0], "2"),
            (vec![4.0, 1.0], "4"),
            (Vec::new(), "0"),
        ] {
            assert_eq!(median(values).to_string(), middle);
        }
    }

    #[test]
    fn quantiles_are_values() {
        let values: Vec<_> = (0..=100).map(f64::from).collect();
        let at = [0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share).to_string());
        assert_eq!(at, ["0", "50", "99", "100"]);
        assert_eq!(quantile(&[], 0.5).to_string(), "0");
    }
}
