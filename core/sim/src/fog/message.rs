//! What the processes of a fog say to each other.

use fogcompute_base::{JobId, TaskId};
use fogcompute_coord::{JobSpec, JobSummary, Offer};
use fogcompute_exec::{TaskReport, TaskSpec};

use crate::fingerprint::Fingerprint;
use crate::process::Message;

/// One message of a simulated fog. Links are authenticated: a receiver knows who sent it.
#[derive(Clone, Debug)]
pub enum FogMessage {
    /// A node wants in, lending this.
    Register(Offer),
    /// A node is alive, lending this.
    Heartbeat(Offer),
    /// A node has done this attempt. It says so until it hears [`FogMessage::ReportTaken`].
    Report {
        /// The attempt.
        attempt: u32,
        /// What came of it.
        report: TaskReport,
    },
    /// A submitter wants this done. It asks again until it hears an answer.
    Submit(JobSpec),
    /// A submitter asks what became of a job.
    Ask(JobId),
    /// A submitter no longer wants a task.
    Cancel(TaskId),
    /// The node is in.
    Registered,
    /// The node was heard, and whether it is known. Who is not registers.
    Heard {
        /// Whether it is.
        known: bool,
    },
    /// Run this.
    Dispatch {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// What to run.
        spec: TaskSpec,
    },
    /// Stop this.
    Revoke {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// The report was taken, or never will be: the node may forget it.
    ReportTaken {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// The job is admitted.
    Admitted(JobId),
    /// The job is not admitted.
    Refused {
        /// Which.
        job: JobId,
        /// Whether it may be later.
        again: bool,
    },
    /// What became of a job so far.
    Status {
        /// Which.
        job: JobId,
        /// Its sums.
        summary: JobSummary,
    },
    /// The coordinator knows nothing of this job.
    Unknown(JobId),
}

impl FogMessage {
    /// Its number in the fingerprint.
    const fn kind(&self) -> u64 {
        match self {
            Self::Register(_) => 0,
            Self::Heartbeat(_) => 1,
            Self::Report { .. } => 2,
            Self::Submit(_) => 3,
            Self::Ask(_) => 4,
            Self::Cancel(_) => 5,
            Self::Registered => 6,
            Self::Heard { .. } => 7,
            Self::Dispatch { .. } => 8,
            Self::Revoke { .. } => 9,
            Self::ReportTaken { .. } => 10,
            Self::Admitted(_) => 11,
            Self::Refused { .. } => 12,
            Self::Status { .. } => 13,
            Self::Unknown(_) => 14,
        }
    }
}

/// Bytes of a message beside what its fields say: keys, lengths, a sealed frame.
const OVERHEAD_BYTES: u64 = 64;

/// Bytes of a task's module, input and limits.
fn spec_bytes(spec: &TaskSpec) -> u64 {
    (spec.module().len() + spec.input().len()) as u64 + OVERHEAD_BYTES
}

impl Message for FogMessage {
    fn bytes(&self) -> u64 {
        let body = match self {
            Self::Report { report, .. } => match &report.result {
                Ok(output) => output.output.len() as u64,
                Err(_) => 16,
            },
            Self::Submit(job) => job.tasks.iter().map(|order| spec_bytes(&order.spec)).sum(),
            Self::Dispatch { spec, .. } => spec_bytes(spec),
            _ => 32,
        };
        body + OVERHEAD_BYTES
    }

    fn fold(&self, fingerprint: &mut Fingerprint) {
        fingerprint.u64(self.kind());
        match self {
            Self::Register(offer) | Self::Heartbeat(offer) => {
                fingerprint.u64(offer.cpu_millis);
                fingerprint.u64(offer.memory_bytes);
                fingerprint.u64(offer.fuel_per_second);
                fingerprint.bytes(&offer.price_per_gigafuel.0.to_be_bytes());
                fingerprint.u64(offer.latency_ms.to_bits());
            }
            Self::Report { attempt, report } => {
                fingerprint.u64((*attempt).into());
                fingerprint.bytes(&report.encode());
            }
            Self::Submit(job) => {
                fingerprint.bytes(job.id.as_bytes());
                fingerprint.u64(job.priority as u64);
                for order in &job.tasks {
                    fingerprint.bytes(order.id.as_bytes());
                    fingerprint.bytes(order.spec.input());
                    fingerprint.u64(order.fuel_estimate);
                    fingerprint.bytes(&order.price_max.0.to_be_bytes());
                }
            }
            Self::Ask(job) | Self::Admitted(job) | Self::Unknown(job) => {
                fingerprint.bytes(job.as_bytes());
            }
            Self::Cancel(task) => fingerprint.bytes(task.as_bytes()),
            Self::Registered => {}
            Self::Heard { known } => fingerprint.u64((*known).into()),
            Self::Dispatch {
                task,
                attempt,
                spec,
            } => {
                fingerprint.bytes(task.as_bytes());
                fingerprint.u64((*attempt).into());
                fingerprint.bytes(spec.input());
            }
            Self::Revoke { task, attempt } | Self::ReportTaken { task, attempt } => {
                fingerprint.bytes(task.as_bytes());
                fingerprint.u64((*attempt).into());
            }
            Self::Refused { job, again } => {
                fingerprint.bytes(job.as_bytes());
                fingerprint.u64((*again).into());
            }
            Self::Status { job, summary } => {
                fingerprint.bytes(job.as_bytes());
                for count in [
                    summary.succeeded,
                    summary.failed,
                    summary.lost,
                    summary.cancelled,
                    summary.open,
                ] {
                    fingerprint.u64(count as u64);
                }
                fingerprint.bytes(&summary.paid.0.to_be_bytes());
            }
        }
    }
}
