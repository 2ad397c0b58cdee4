//! Faults of our own making, to see whether they are found.

/// Something a coordinator could do wrong. The host around the rules does it, by changing what goes
/// in and out: the rules themselves have no such switch.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Flaw {
    /// A report counts for whoever has the task now, whoever sent it and of whatever attempt: no
    /// fence.
    AcceptLate,
    /// Every attempt is sent to two nodes.
    DispatchTwice,
    /// Nodes are paid a second time.
    PayTwice,
    /// What was reserved for a task that is not paid stays reserved.
    KeepReservations,
    /// What is said to be written down is written with what comes next: a disk that lies about
    /// its cache.
    WriteLate,
}

impl Flaw {
    /// Every flaw.
    pub const ALL: [Self; 5] = [
        Self::AcceptLate,
        Self::DispatchTwice,
        Self::PayTwice,
        Self::KeepReservations,
        Self::WriteLate,
    ];
}
