//! Processors and how busy others keep them.

use super::tree::Tree;

/// Processor time since the device started, in clock ticks over all processors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct CpuSample {
    busy: u64,
    total: u64,
    /// Of `busy`, what this process used.
    own: u64,
}

impl CpuSample {
    pub(super) fn read(tree: &Tree) -> Option<Self> {
        let (busy, total) = system_ticks(&tree.text("proc/stat")?)?;
        let own = process_ticks(&tree.text("proc/self/stat")?)?;
        Some(Self { busy, total, own })
    }

    /// Share of the processors that others used since `earlier`, 0 to 1.
    ///
    /// Without subtracting its own work, a harvester would see a busy device and suspend itself.
    pub(super) fn load_since(&self, earlier: &Self) -> Option<f64> {
        let busy = self.busy.checked_sub(earlier.busy)?;
        let own = self.own.checked_sub(earlier.own)?;
        let total = self.total.checked_sub(earlier.total)?;
        if total == 0 {
            return None;
        }
        // The kernel updates the two files at different moments, so `own` can be a tick ahead.
        Some((busy.saturating_sub(own) as f64 / total as f64).clamp(0.0, 1.0))
    }
}

/// Logical processors.
pub(super) fn cores(tree: &Tree) -> Option<u32> {
    let text = tree.text("proc/stat")?;
    let is_core = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
    };
    match text.lines().filter(is_core).count() {
        0 => None,
        count => u32::try_from(count).ok(),
    }
}

/// Busy and total ticks of the line `cpu user nice system idle iowait irq softirq steal ..`.
///
/// Waiting for input and output is idle: the processor is free. Stolen time is busy: another
/// virtual machine has it. The guest times after `steal` are already in `user` and `nice`.
fn system_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .take(8)
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let idle = ticks.get(3)?.checked_add(*ticks.get(4)?)?;
    let total = ticks
        .iter()
        .try_fold(0_u64, |sum, ticks| sum.checked_add(*ticks))?;
    Some((total - idle, total))
}

/// User and system ticks of a process: fields 14 and 15 of its `stat`.
fn process_ticks(stat: &str) -> Option<u64> {
    // Field 2 is the program's name in brackets, in which there may be blanks and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_idle_and_stolen_is_busy() {
        assert_eq!(
            system_ticks("cpu  1 2 4 100 200 8 16 32 1000 1000\ncpu0 1 1 1 1"),
            Some((63, 363))
        );
    }

    #[test]
    fn lines_of_another_shape_are_unknown() {
        for text in [
            "",
            "cpu",
            "cpu  1 2 3",
            "cpu  1 2 x 4 5",
            "cpu0 1 2 3 4 5",
            "cpu  -1 2 3 4 5",
        ] {
            assert_eq!(system_ticks(text), None, "{text}");
        }
        for text in ["", "1 (x) S 1 2 3", "1 (x) S 1 1 1 1 1 1 1 1 1 1 a b"] {
            assert_eq!(process_ticks(text), None, "{text}");
        }
    }

    #[test]
    fn name_of_the_program_may_hold_blanks_and_brackets() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 30 12 5 6 20 0 1 0";
        assert_eq!(process_ticks(stat), Some(42));
    }

    #[test]
    fn own_work_is_not_load() {
        let sample = |busy, total, own| CpuSample { busy, total, own };
        let start = sample(100, 1_000, 10);
        assert_eq!(sample(180, 1_100, 30).load_since(&start), Some(0.6));
        assert_eq!(sample(180, 1_100, 90).load_since(&start), Some(0.0));
        assert_eq!(sample(180, 1_100, 91).load_since(&start), Some(0.0));
    }

    #[test]
    fn no_time_between_readings_or_counters_that_fell_are_unknown() {
        let sample = |busy, total, own| CpuSample { busy, total, own };
        let start = sample(100, 1_000, 10);
        for next in [
            start,
            sample(99, 1_100, 10),
            sample(100, 999, 10),
            sample(100, 1_100, 9),
        ] {
            assert_eq!(next.load_since(&start), None);
        }
    }
}
