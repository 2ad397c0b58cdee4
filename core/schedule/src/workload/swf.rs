//! The Standard Workload Format, version 2.2: a job a line, 18 numbers each.
//!
//! | field | of | unit |
//! |---|---|---|
//! | 1 | job number | |
//! | 2, 3, 4 | submit time, wait time, run time | seconds |
//! | 5, 8 | processors allocated, requested | |
//! | 6 | average processor time used | seconds, may have decimals |
//! | 7, 10 | memory used, requested | kibibytes for each processor |
//! | 9 | time requested | seconds |
//! | 11 | [`Status`] | |
//! | 12, 13, 14, 15, 16 | user, group, executable, queue, partition | |
//! | 17, 18 | preceding job, think time after it | think time in seconds |
//!
//! What is not known is −1. Lines that begin with `;` are comments; those of the form
//! `; Label: value` say what the log is of. Empty lines mean nothing.
//!
//! Source: Chapin, Cirne, Feitelson et al. 1999, "Benchmarks and standards for the evaluation of
//! parallel job schedulers"; version 2.2 as the Parallel Workloads Archive describes it.

use std::collections::BTreeSet;
use std::fmt;
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use fogcompute_base::TaskId;
use thiserror::Error;

use super::Arrival;
use crate::Job;

/// How many fields a line has.
pub const FIELD_COUNT: usize = 18;

/// Most jobs of one log.
pub const RECORDS_MAX: usize = 1 << 22;

/// Most lines of comments of one log.
pub const COMMENTS_MAX: usize = 1 << 16;

/// Most jobs that one log arrives as: gangs are several each.
pub const ARRIVALS_MAX: usize = 1 << 22;

/// Names of the fields, in their order.
pub const FIELDS: [&str; FIELD_COUNT] = [
    "job number",
    "submit time",
    "wait time",
    "run time",
    "allocated processors",
    "average processor time",
    "used memory",
    "requested processors",
    "requested time",
    "requested memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "preceding job",
    "think time",
];

/// Why a text is no log, or a log no workload.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SwfError {
    /// A line has too few or too many fields.
    #[error("line {line} has {fields} fields, not {FIELD_COUNT}")]
    Fields {
        /// The line, from 1.
        line: usize,
        /// How many it has.
        fields: usize,
    },
    /// A field is no number of those it may be.
    #[error("{field} in line {line} is no number from 0 on, nor -1")]
    Number {
        /// The line, from 1.
        line: usize,
        /// Which of [`FIELDS`].
        field: &'static str,
    },
    /// A field is larger than 64 bits.
    #[error("{field} in line {line} is too large")]
    TooLarge {
        /// The line, from 1.
        line: usize,
        /// Which of [`FIELDS`].
        field: &'static str,
    },
    /// A status is none of those that are defined.
    #[error("status in line {line} is {status}, not from -1 to 5")]
    Status {
        /// The line, from 1.
        line: usize,
        /// What it says.
        status: u64,
    },
    /// A job has no number.
    #[error("the job in line {line} has no number")]
    NoJobNumber {
        /// The line, from 1.
        line: usize,
    },
    /// The log is too long; split it.
    #[error("the log has more than {RECORDS_MAX} jobs or {COMMENTS_MAX} comments")]
    TooLong,
    /// Two whole jobs have one number.
    #[error("job {number} is there twice")]
    DuplicateJob {
        /// The number.
        number: u64,
    },
    /// Gangs of so many jobs are more than [`ARRIVALS_MAX`]; say that a node has more processors.
    #[error("on nodes of {processors_max} processors the log is more than {ARRIVALS_MAX} jobs")]
    TooManyArrivals {
        /// Processors that one node was said to have.
        processors_max: u64,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// 0: it failed.
    Failed,
    /// 1: it was completed.
    Completed,
    /// 2: a part of a job, which went on in another.
    Partial,
    /// 3: the last part of a job that was completed.
    LastCompleted,
    /// 4: the last part of a job that failed.
    LastFailed,
    /// 5: it was cancelled, before or after its start.
    Cancelled,
}

impl Status {
    const ALL: [Self; 6] = [
        Self::Failed,
        Self::Completed,
        Self::Partial,
        Self::LastCompleted,
        Self::LastFailed,
        Self::Cancelled,
    ];

    /// Whether it is about a part of a job, which has a line of its own as a whole.
    #[must_use]
    pub fn is_of_part(self) -> bool {
        matches!(self, Self::Partial | Self::LastCompleted | Self::LastFailed)
    }
}

/// A line of a log: `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Record {
    /// Number of the job.
    pub number: u64,
    /// When it was submitted, in seconds from the start of the log.
    pub submitted_s: Option<u64>,
    /// How long it waited, in seconds.
    pub waited_s: Option<u64>,
    /// How long it ran, in seconds.
    pub ran_s: Option<u64>,
    /// Processors it had.
    pub processors: Option<u64>,
    /// Mean over its processors of the time they worked, in seconds. Finite and not negative.
    pub processor_s: Option<f64>,
    /// Memory it used on each processor, in kibibytes.
    pub memory_kib: Option<u64>,
    /// Processors it asked for.
    pub requested_processors: Option<u64>,
    /// Time it asked for, in seconds.
    pub requested_s: Option<u64>,
    /// Memory it asked for on each processor, in kibibytes.
    pub requested_memory_kib: Option<u64>,
    /// How it ended.
    pub status: Option<Status>,
    /// Whose it was.
    pub user: Option<u64>,
    /// Whose group's it was.
    pub group: Option<u64>,
    /// Which program it was.
    pub executable: Option<u64>,
    /// Which queue it was in; 0 is for interactive jobs.
    pub queue: Option<u64>,
    /// Which part of the machine it ran on.
    pub partition: Option<u64>,
    /// The job that had to end before it was submitted.
    pub preceding: Option<u64>,
    /// How long after that it was submitted, in seconds.
    pub thought_s: Option<u64>,
}

/// A log: what is said of it, and its jobs in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Lines of comments without their semicolon and the space around them. A line break in one
    /// that is written is a space.
    pub comments: Vec<String>,
    /// The jobs.
    pub records: Vec<Record>,
}

impl Log {
    /// What the first comment `Label: value` of this label says. Labels are the same in capitals.
    #[must_use]
    pub fn comment(&self, label: &str) -> Option<&str> {
        let pairs = self.comments.iter().filter_map(|line| line.split_once(':'));
        let mut values = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(label));
        values.next().map(|(_, value)| value.trim())
    }

    /// The jobs as they came, in the order of their coming. A job is as long as the time it asked
    /// for, or else as it ran; it needs the processors and the memory that it asked for, or else had.
    /// One of more than `processors_max` processors, which is at least 1, is a gang of as few jobs
    /// as take them; their memory is the same for each processor.
    ///
    /// Left out are parts of jobs, and jobs of which it is not known when they came, how many
    /// processors they took or for how long. Names follow from numbers.
    ///
    /// # Errors
    ///
    /// [`SwfError::DuplicateJob`], and [`SwfError::TooManyArrivals`].
    pub fn arrivals(&self, processors_max: u64) -> Result<Vec<Arrival>, SwfError> {
        let processors_max = processors_max.max(1);
        let mut numbers = BTreeSet::new();
        let mut arrivals = Vec::new();
        for record in &self.records {
            if record.status.is_some_and(Status::is_of_part) {
                continue;
            }
            if !numbers.insert(record.number) {
                let number = record.number;
                return Err(SwfError::DuplicateJob { number });
            }
            let processors = record.requested_processors.or(record.processors);
            let seconds = record.requested_s.or(record.ran_s);
            let (Some(submitted), Some(processors @ 1..), Some(seconds)) =
                (record.submitted_s, processors, seconds)
            else {
                continue;
            };
            let count = processors.div_ceil(processors_max);
            if count > (ARRIVALS_MAX - arrivals.len()) as u64 {
                return Err(SwfError::TooManyArrivals { processors_max });
            }
            let kib = record.requested_memory_kib.or(record.memory_kib);
            let bytes = kib.unwrap_or(0).saturating_mul(1 << 10);
            let gang = (count > 1).then(|| format!("swf {}", record.number));
            for part in 0..count {
                // The first jobs of a gang are as large as a node.
                let taken = processors_max.min(processors - part * processors_max);
                arrivals.push(Arrival {
                    at_ms: submitted.saturating_mul(1_000),
                    took_ms: record.ran_s.map(|ran| ran.saturating_mul(1_000)),
                    job: Job {
                        gang: gang.clone(),
                        ..Job::new(
                            name(record.number, part),
                            taken.saturating_mul(1_000),
                            taken.saturating_mul(bytes),
                            seconds.saturating_mul(1_000),
                        )
                    },
                });
            }
        }
        arrivals.sort_by_key(|arrival| arrival.at_ms);
        Ok(arrivals)
    }
}

/// The name of a job of this number, or of one of its gang.
fn name(number: u64, part: u64) -> TaskId {
    let mut bytes = [0; TaskId::LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&part.to_be_bytes());
    TaskId::from_bytes(bytes)
}

/// The number in the log of a job that [`Log::arrivals`] made, and which of its gang it is, from 0.
#[must_use]
pub fn number(job: TaskId) -> (u64, u64) {
    let (number, part) = job.as_bytes().split_at(8);
    let read = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    };
    (read(number), read(part))
}

impl FromStr for Log {
    type Err = SwfError;

    fn from_str(text: &str) -> Result<Self, SwfError> {
        let mut log = Self::default();
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let text = text.trim();
            if let Some(comment) = text.strip_prefix(';') {
                if log.comments.len() == COMMENTS_MAX {
                    return Err(SwfError::TooLong);
                }
                log.comments.push(comment.trim().to_owned());
            } else if !text.is_empty() {
                if log.records.len() == RECORDS_MAX {
                    return Err(SwfError::TooLong);
                }
                log.records.push(record(text, line)?);
            }
        }
        Ok(log)
    }
}

fn record(text: &str, line: usize) -> Result<Record, SwfError> {
    let mut fields = [""; FIELD_COUNT];
    let mut count = 0;
    for field in text.split_whitespace() {
        if let Some(place) = fields.get_mut(count) {
            *place = field;
        }
        count += 1;
    }
    if count != FIELD_COUNT {
        let fields = count;
        return Err(SwfError::Fields { line, fields });
    }
    let number = |index: usize| whole(fields[index], line, FIELDS[index]);
    let status = number(10)?;
    let known = status.map(|status| {
        let index = usize::try_from(status).ok();
        let known = index.and_then(|index| Status::ALL.get(index));
        known.copied().ok_or(SwfError::Status { line, status })
    });
    Ok(Record {
        number: number(0)?.ok_or(SwfError::NoJobNumber { line })?,
        submitted_s: number(1)?,
        waited_s: number(2)?,
        ran_s: number(3)?,
        processors: number(4)?,
        processor_s: decimal(fields[5], line, FIELDS[5])?,
        memory_kib: number(6)?,
        requested_processors: number(7)?,
        requested_s: number(8)?,
        requested_memory_kib: number(9)?,
        status: known.transpose()?,
        user: number(11)?,
        group: number(12)?,
        executable: number(13)?,
        queue: number(14)?,
        partition: number(15)?,
        preceding: number(16)?,
        thought_s: number(17)?,
    })
}

fn whole(text: &str, line: usize, field: &'static str) -> Result<Option<u64>, SwfError> {
    if text == "-1" {
        return Ok(None);
    }
    let refused = |error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => SwfError::TooLarge { line, field },
        _ => SwfError::Number { line, field },
    };
    text.parse().map(Some).map_err(refused)
}

fn decimal(text: &str, line: usize, field: &'static str) -> Result<Option<f64>, SwfError> {
    let refused = SwfError::Number { line, field };
    let value: f64 = text.parse().map_err(|_| refused.clone())?;
    // Some logs write -1 with decimals.
    if value.total_cmp(&-1.0).is_eq() {
        return Ok(None);
    }
    if value.is_finite() && value >= 0.0 {
        Ok(Some(value))
    } else {
        Err(refused)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in &self.comments {
            let words: Vec<&str> = comment.lines().map(str::trim).collect();
            writeln!(f, "; {}", words.join(" "))?;
        }
        for record in &self.records {
            writeln!(f, "{record}")?;
        }
        Ok(())
    }
}

/// A number, or −1 for none.
struct OrUnknown<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrUnknown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-1"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            processor_s,
            ..
        } = self;
        write!(f, "{number}")?;
        for value in [self.submitted_s, self.waited_s, self.ran_s, self.processors] {
            write!(f, " {}", OrUnknown(value))?;
        }
        write!(f, " {}", OrUnknown(*processor_s))?;
        for value in [
            self.memory_kib,
            self.requested_processors,
            self.requested_s,
            self.requested_memory_kib,
            self.status.map(|status| status as u64),
            self.user,
            self.group,
            self.executable,
            self.queue,
            self.partition,
            self.preceding,
            self.thought_s,
        ] {
            write!(f, " {}", OrUnknown(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by hand for these tests.
    const SMALL: &str = "\
; Version: 2.2
; Computer: a fog of three laptops
;
;   MaxProcs: 12
   1     0    5   60   4  55.25 1024   4  120  2048  1  1  1  3  1 -1 -1 -1
   2    10   -1   -1  -1  -1      -1   2   30    -1  5  2  1 -1  1 -1 -1 -1

   3     5    0  100   8  -1.00   -1  -1   -1    -1  0  1  1 -1  0 -1  1 15
   3     5    0   40   8  -1      -1  -1   -1    -1  2  1  1 -1  0 -1 -1 -1
   4    -1    0  100   8  -1      -1  -1   -1    -1  1  1  1 -1  0 -1 -1 -1
";

    #[test]
    fn a_log_says_what_its_lines_say() {
        let log: Log = SMALL.parse().unwrap();
        assert_eq!(log.comments.len(), 4);
        assert_eq!(log.comment("computer"), Some("a fog of three laptops"));
        assert_eq!(log.comment("MaxProcs"), Some("12"));
        assert_eq!(log.comment("MaxNodes"), None);
        let first = Record {
            number: 1,
            submitted_s: Some(0),
            waited_s: Some(5),
            ran_s: Some(60),
            processors: Some(4),
            processor_s: Some(55.25),
            memory_kib: Some(1_024),
            requested_processors: Some(4),
            requested_s: Some(120),
            requested_memory_kib: Some(2_048),
            status: Some(Status::Completed),
            user: Some(1),
            group: Some(1),
            executable: Some(3),
            queue: Some(1),
            ..Record::default()
        };
        assert_eq!(log.records[0], first);
        assert_eq!(log.records[2].processor_s, None);
        assert_eq!(
            (log.records[2].preceding, log.records[2].thought_s),
            (Some(1), Some(15))
        );
        assert_eq!(log.to_string().parse(), Ok(log));
    }

    #[test]
    fn jobs_arrive_whole_and_in_order_in_as_few_parts_as_nodes_allow() {
        let log: Log = SMALL.parse().unwrap();
        let arrivals = log.arrivals(5).unwrap();
        let told: Vec<_> = arrivals
            .iter()
            .map(|it| (it.at_ms, it.job.cpu_millis, it.job.duration_ms, it.took_ms))
            .collect();
        // The fourth does not say when it came, and the second 3 is a part.
        assert_eq!(
            told,
            [
                (0, 4_000, 120_000, Some(60_000)),
                (5_000, 5_000, 100_000, Some(100_000)),
                (5_000, 3_000, 100_000, Some(100_000)),
                (10_000, 2_000, 30_000, None),
            ]
        );
        assert_eq!(arrivals[0].job.memory_bytes, 4 * 2_048 * 1_024);
        assert_eq!(arrivals[1].job.gang, arrivals[2].job.gang);
        assert!(arrivals[1].job.gang.is_some() && arrivals[0].job.gang.is_none());
        assert_ne!(arrivals[1].job.id, arrivals[2].job.id);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let line = |fields: &[(usize, &str)]| {
            let mut line = ["-1"; FIELD_COUNT];
            line[0] = "7";
            for &(index, text) in fields {
                line[index] = text;
            }
            format!("; comment\n\n{}\n", line.join(" "))
        };
        let refused = |text: &str| text.parse::<Log>().unwrap_err();
        let number = |field| SwfError::Number { line: 3, field };
        assert_eq!(line(&[]).parse::<Log>().map(|it| it.records.len()), Ok(1));
        assert_eq!(
            refused(&line(&[(17, "1 2")])),
            SwfError::Fields {
                line: 3,
                fields: 19
            }
        );
        assert_eq!(refused("1 2 3"), SwfError::Fields { line: 1, fields: 3 });
        assert_eq!(refused(&line(&[(1, "-2")])), number("submit time"));
        assert_eq!(refused(&line(&[(3, "1.5")])), number("run time"));
        for text in ["NaN", "inf", "-0.5", "x"] {
            assert_eq!(
                refused(&line(&[(5, text)])),
                number("average processor time")
            );
        }
        assert_eq!(
            refused(&line(&[(8, "18446744073709551616")])),
            SwfError::TooLarge {
                line: 3,
                field: "requested time"
            }
        );
        assert_eq!(
            refused(&line(&[(10, "6")])),
            SwfError::Status { line: 3, status: 6 }
        );
        assert_eq!(
            refused(&line(&[(0, "-1")])),
            SwfError::NoJobNumber { line: 3 }
        );
        assert_eq!(refused(&";\n".repeat(COMMENTS_MAX + 1)), SwfError::TooLong);
        let huge = line(&[(1, "0"), (7, "18446744073709551615"), (8, "1")]);
        let huge: Log = huge.parse().unwrap();
        assert_eq!(
            huge.arrivals(0),
            Err(SwfError::TooManyArrivals { processors_max: 1 })
        );
        assert_eq!(huge.arrivals(u64::MAX).unwrap()[0].job.cpu_millis, u64::MAX);
        let twice: Log = line(&[]).repeat(2).parse().unwrap();
        assert_eq!(twice.arrivals(1), Err(SwfError::DuplicateJob { number: 7 }));
    }

    fn record() -> impl Strategy<Value = Record> {
        let number = || prop::option::of(0..u64::MAX);
        let times = (number(), number(), number(), prop::option::of(0.0..1e18));
        let sizes = (number(), number(), number(), number());
        let rest = (number(), number(), number(), number(), number());
        let status = prop::option::of(prop::sample::select(Status::ALL.to_vec()));
        (any::<u64>(), times, sizes, rest, status).prop_map(
            |(number, times, sizes, rest, status)| Record {
                number,
                submitted_s: times.0,
                waited_s: times.1,
                ran_s: times.2,
                processor_s: times.3,
                processors: sizes.0,
                memory_kib: sizes.1,
                requested_processors: sizes.2,
                requested_memory_kib: sizes.3,
                requested_s: rest.0,
                user: rest.1,
                executable: rest.2,
                queue: rest.3,
                thought_s: rest.4,
                status,
                ..Record::default()
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            comments in prop::collection::vec("[ -~]{0,20}", 0..4),
            records in prop::collection::vec(record(), 0..6),
        ) {
            let comments = comments.into_iter().map(|it| it.trim().to_owned()).collect();
            let log = Log { comments, records };
            prop_assert_eq!(log.to_string().parse(), Ok(log));
        }

        #[test]
        fn any_text_is_a_log_or_is_refused(text in "[-0-9;. \n\tx]{0,200}", processors in 0_u64..9) {
            if let Ok(log) = text.parse::<Log>() {
                let _ = log.arrivals(processors);
                prop_assert_eq!(log.to_string().parse(), Ok(log));
            }
        }
    }
}
