//! What happened last, to be read.

use std::collections::VecDeque;
use std::fmt;

use fogcompute_base::Instant;

/// The last events of a run, as text. Empty unless it is given room: writing it costs more than
/// all else.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    lines_max: usize,
    dropped: u64,
}

impl Trace {
    /// A trace of the last `lines_max` events.
    #[must_use]
    pub fn new(lines_max: usize) -> Self {
        Self {
            lines_max,
            ..Self::default()
        }
    }

    /// Writes one line, if there is a trace.
    pub(crate) fn write(&mut self, now: Instant, line: fmt::Arguments<'_>) {
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
            self.dropped += 1;
        }
        let micros = now.as_nanos() / 1_000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        self.lines
            .push_back(format!("{seconds:>6}.{micros:06} {line}"));
    }

    /// The lines that are kept, oldest first.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// All lines, and how many came before them.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "… {} events before these", self.dropped)?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_others_counted() {
        let mut trace = Trace::new(2);
        for number in 0..5 {
            trace.write(Instant::from_millis(1_500), format_args!("event {number}"));
        }
        assert_eq!(
            trace.to_string(),
            "… 3 events before these\n     1.500000 event 3\n     1.500000 event 4\n"
        );
        assert_eq!(trace.lines().len(), 2);
    }

    #[test]
    fn without_room_nothing_is_written() {
        let mut trace = Trace::default();
        trace.write(Instant::ZERO, format_args!("event"));
        assert_eq!(trace.to_string(), "");
    }
}
