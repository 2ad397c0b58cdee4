//! Processors and how busy others keep them.

use std::collections::BTreeMap;

use super::tree::Tree;

/// Processor time since the device started, in clock ticks over all processors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct CpuSample {
    busy: u64,
    total: u64,
    /// Of `busy`, what each process of ours used, see [`CpuSample::load_since`].
    own: BTreeMap<String, u64>,
}

impl CpuSample {
    pub(super) fn read(tree: &Tree) -> Option<Self> {
        let (busy, total) = system_ticks(&tree.text("proc/stat")?)?;
        let this = Process::parse(&tree.text("proc/self/stat")?)?;
        let mut others = BTreeMap::new();
        for id in tree.entries("proc").unwrap_or_default() {
            let is_process = id.bytes().all(|byte| byte.is_ascii_digit());
            if !is_process || id == this.id {
                continue;
            }
            // A process that ends while it is looked at is simply not there.
            let other = tree
                .text(&format!("proc/{id}/stat"))
                .as_deref()
                .and_then(Process::parse);
            if let Some(other) = other {
                others.insert(other.id.clone(), other);
            }
        }
        let mut own = BTreeMap::from([(SELF.to_owned(), this.ticks)]);
        for (id, other) in &others {
            if other.group == this.group || descends(other, &this.id, &others) {
                own.insert(id.clone(), other.ticks);
            }
        }
        Some(Self { busy, total, own })
    }

    /// Whether so few ticks have passed since `earlier` that a load would mean nothing.
    pub(super) fn is_too_soon_after(&self, earlier: &Self) -> bool {
        let passed = self.total.checked_sub(earlier.total);
        passed.is_some_and(|ticks| ticks < LOAD_TICKS_MIN)
    }

    /// Share of the processors that others used since `earlier`, 0 to 1.
    ///
    /// Without subtracting its own work, a harvester would see a busy device and suspend itself.
    /// Own is the whole process group, that is what was started together, such as several nodes on
    /// one machine; and every process that this one started, in whatever group, such as a task.
    pub(super) fn load_since(&self, earlier: &Self) -> Option<f64> {
        let busy = self.busy.checked_sub(earlier.busy)?;
        let total = self.total.checked_sub(earlier.total)?;
        if total == 0 || self.own.get(SELF)? < earlier.own.get(SELF)? {
            return None;
        }
        // A process that was not there before has used all its time since. One that is gone took
        // its last count with it, so its work of this interval counts as others'.
        let own: u64 = self
            .own
            .iter()
            .map(|(id, ticks)| ticks.saturating_sub(earlier.own.get(id).copied().unwrap_or(0)))
            .sum();
        // The kernel updates the files at different moments, so `own` can be a tick ahead.
        Some((busy.saturating_sub(own) as f64 / total as f64).clamp(0.0, 1.0))
    }
}

/// Ticks over all processors that a load is measured over at least: a quarter of a second on two
/// processors with the usual hundred ticks a second.
const LOAD_TICKS_MIN: u64 = 50;

/// This process among its group.
const SELF: &str = "self";

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

/// Whether a process was started by process `ancestor` or by one that was.
fn descends(process: &Process, ancestor: &str, others: &BTreeMap<String, Process>) -> bool {
    let mut parent = &process.parent;
    // Ids are reused while the files are read one by one, so the chain may even be a circle.
    for _ in 0..GENERATIONS_MAX {
        if parent == ancestor {
            return true;
        }
        match others.get(parent) {
            Some(process) => parent = &process.parent,
            None => return false,
        }
    }
    false
}

/// Generations of processes that are followed.
const GENERATIONS_MAX: usize = 64;

/// What a process's `stat` tells: its id, its parent, its group, its user and system ticks (fields
/// 1, 4, 5, 14 and 15).
struct Process {
    id: String,
    parent: String,
    group: String,
    ticks: u64,
}

impl Process {
    fn parse(stat: &str) -> Option<Self> {
        // Field 2 is the program's name in brackets, in which there may be blanks and brackets.
        let (head, rest) = stat.rsplit_once(')')?;
        let id = head.split_ascii_whitespace().next()?.to_owned();
        let fields: Vec<_> = rest.split_ascii_whitespace().take(13).collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = number(11)?.checked_add(number(12)?)?;
        Some(Self {
            id,
            parent: (*fields.get(1)?).to_owned(),
            group: (*fields.get(2)?).to_owned(),
            ticks,
        })
    }
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
            assert!(Process::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn name_of_the_program_may_hold_blanks_and_brackets() {
        let stat = "7 (a) b (c) S 1 9 7 0 -1 4194304 100 0 0 0 30 12 5 6 20 0 1 0";
        let process = Process::parse(stat).unwrap();
        assert_eq!(
            (process.id.as_str(), process.group.as_str(), process.ticks),
            ("7", "9", 42)
        );
    }

    #[test]
    fn descendants_are_own_in_whatever_group_and_a_circle_ends() {
        let process = |id: &str, parent: &str| {
            let stat = format!("{id} (x) S {parent} {id} 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 1");
            (id.to_owned(), Process::parse(&stat).unwrap())
        };
        let others: BTreeMap<_, _> = [
            process("1", "0"),
            process("20", "10"),
            process("21", "20"),
            process("30", "1"),
            process("40", "41"),
            process("41", "40"),
        ]
        .into();
        let own: Vec<&str> = others
            .values()
            .filter(|process| descends(process, "10", &others))
            .map(|process| process.id.as_str())
            .collect();
        assert_eq!(own, ["20", "21"]);
    }

    fn sample(busy: u64, total: u64, own: u64) -> CpuSample {
        CpuSample {
            busy,
            total,
            own: BTreeMap::from([(SELF.to_owned(), own)]),
        }
    }

    #[test]
    fn own_work_is_not_load() {
        let start = sample(100, 1_000, 10);
        assert_eq!(sample(180, 1_100, 30).load_since(&start), Some(0.6));
        assert_eq!(sample(180, 1_100, 90).load_since(&start), Some(0.0));
        assert_eq!(sample(180, 1_100, 91).load_since(&start), Some(0.0));
    }

    #[test]
    fn work_of_the_group_is_own_whether_a_process_is_new_old_or_gone() {
        let with = |mut sample: CpuSample, others: &[(&str, u64)]| {
            sample
                .own
                .extend(others.iter().map(|(id, ticks)| ((*id).to_owned(), *ticks)));
            sample
        };
        let start = with(sample(100, 1_000, 10), &[("7", 50), ("8", 40)]);
        let next = with(sample(200, 1_100, 20), &[("7", 70), ("9", 30)]);
        // 100 ticks were busy: 10 here, 20 in process 7, 30 in process 9, and 40 elsewhere.
        assert_eq!(next.load_since(&start), Some(0.4));
    }

    #[test]
    fn no_time_between_readings_or_counters_that_fell_are_unknown() {
        let start = sample(100, 1_000, 10);
        for next in [
            start.clone(),
            sample(99, 1_100, 10),
            sample(100, 999, 10),
            sample(100, 1_100, 9),
        ] {
            assert_eq!(next.load_since(&start), None);
        }
    }
}
