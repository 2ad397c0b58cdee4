//! Workloads written down: which jobs came when, and how long they took.
//!
//! [`swf`] is the format of the Parallel Workloads Archive, in which most published logs of
//! clusters are; [`csv`] is a table of jobs with all that this crate knows of them, or of nodes.
//! Both are read from text and written as text; whatever the text says, nothing panics, and errors
//! say the line.
//!
//! ```
//! use fogcompute_schedule::workload::swf::Log;
//!
//! let log: Log = "; Computer: two nodes\n\
//!     1 0 5 60 4 -1 -1 4 120 -1 1 1 1 -1 1 -1 -1 -1\n"
//!     .parse()?;
//! assert_eq!(log.comment("Computer"), Some("two nodes"));
//! // Four processors, of which a node has two: a gang of two jobs.
//! let arrivals = log.arrivals(2)?;
//! assert_eq!(arrivals.len(), 2);
//! assert_eq!(arrivals[0].job.cpu_millis, 2_000);
//! assert_eq!(arrivals[0].job.duration_ms, 120_000);
//! assert_eq!(arrivals[0].took_ms, Some(60_000));
//! # Ok::<(), fogcompute_schedule::workload::swf::SwfError>(())
//! ```

pub mod csv;
pub mod swf;

use crate::Job;

/// A job that comes at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// When it comes, in milliseconds from the start of the workload.
    pub at_ms: u64,
    /// The job, with the time it is said to take.
    pub job: Job,
    /// How long it really took, in milliseconds, if known.
    pub took_ms: Option<u64>,
}
