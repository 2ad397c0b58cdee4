//! The same task on several nodes, and whom to believe.
//!
//! A [`Replication`] is told which nodes have the task and what they return, and says how many more
//! are needed, what the result is, and who was wrong. A node first *commits* to its result without
//! showing it; when all have, they *reveal*. So nobody can wait for the others' results and copy
//! one, and nobody is paid before it has been compared.
//!
//! # Who wins
//!
//! A result wins when at least [`Rules::quorum`] nodes returned it. A quorum is more than half of all
//! nodes that may ever get the task, so those who collude must be that many; fewer never win,
//! whatever they say and in whatever order.
//!
//! # When one node is enough
//!
//! [`Adaptive`] replication spares the second node where the first has a record. It is BOINC's rule:
//! after 10 consecutive valid results, n in all, a result is compared with probability 1/n only; one
//! invalid result and the count begins again. A spot check at a fixed rate stays beside it. Only
//! results that were compared count.
//!
//! Source: Anderson 2020, "BOINC: A Platform for Volunteer Computing", §3.4 (adaptive replication)
//! and §4.1 (validation).

use std::collections::BTreeMap;
use std::fmt;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{Digest, NodeId, Rng, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{CONTENT_BYTES_MAX, ContentId};

/// Version of the encoding.
const VERSION: u8 = 1;

/// Most nodes that one task can be given to.
pub const REPLICAS_MAX: u32 = 63;

/// When two results are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// When their bytes are. Right for whatever is deterministic, as tasks without imports are.
    Exact,
    /// When they are equally many little-endian numbers, each within a tolerance.
    Numeric {
        /// What the numbers are.
        element: Element,
        /// How far two numbers may be apart.
        tolerance: Tolerance,
    },
}

/// The numbers of a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Element {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

/// How far two numbers may be apart: `absolute`, or `relative` times the larger magnitude, whichever
/// is more. Infinities and NaN are within any tolerance of themselves and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// In the numbers' own unit: 0 or more.
    pub absolute: f64,
    /// As a part: 0 to less than 1.
    pub relative: f64,
}

impl Tolerance {
    fn admits(&self, a: f64, b: f64) -> bool {
        if a.is_nan() || b.is_nan() {
            return a.is_nan() && b.is_nan();
        }
        if a.is_infinite() || b.is_infinite() {
            return a.is_infinite() && b.is_infinite() && a.signum() == b.signum();
        }
        let apart = (a - b).abs();
        apart <= self.absolute.max(self.relative * a.abs().max(b.abs()))
    }
}

impl Comparison {
    /// Whether two results are the same.
    #[must_use]
    pub fn matches(&self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Self::Exact => a == b,
            Self::Numeric { element, tolerance } => {
                let width = match element {
                    Element::F32 => 4,
                    Element::F64 => 8,
                };
                if a.len() != b.len() || !a.len().is_multiple_of(width) {
                    return a == b;
                }
                let number = |bytes: &[u8]| match element {
                    Element::F32 => bytes
                        .try_into()
                        .map_or(f64::NAN, |bytes| f64::from(f32::from_le_bytes(bytes))),
                    Element::F64 => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
                };
                a.chunks_exact(width)
                    .zip(b.chunks_exact(width))
                    .all(|(a, b)| tolerance.admits(number(a), number(b)))
            }
        }
    }
}

/// How a task is replicated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Nodes that must return the same.
    pub quorum: u32,
    /// Nodes that get it at first: the primary and its replicas.
    pub replicas: u32,
    /// Nodes that get it at most, when results differ or do not come.
    pub replicas_max: u32,
    /// When two results are the same.
    pub comparison: Comparison,
}

impl Rules {
    /// One node, which is believed.
    pub const SINGLE: Self = Self {
        quorum: 1,
        replicas: 1,
        replicas_max: 1,
        comparison: Comparison::Exact,
    };

    /// Two that agree, a third if they do not.
    pub const PAIR: Self = Self {
        quorum: 2,
        replicas: 2,
        replicas_max: 3,
        comparison: Comparison::Exact,
    };

    /// Checks that a quorum is a majority of all that may ever be asked.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn validate(&self) -> Result<(), RulesError> {
        let Self {
            quorum,
            replicas,
            replicas_max,
            comparison,
        } = *self;
        if replicas_max > REPLICAS_MAX {
            return Err(RulesError::TooManyReplicas {
                actual: replicas_max,
                limit: REPLICAS_MAX,
            });
        }
        if quorum == 0 || quorum > replicas || replicas > replicas_max {
            return Err(RulesError::Order {
                quorum,
                replicas,
                replicas_max,
            });
        }
        if 2 * quorum <= replicas_max {
            return Err(RulesError::NoMajority {
                quorum,
                replicas_max,
            });
        }
        if let Comparison::Numeric { tolerance, .. } = comparison {
            let Tolerance { absolute, relative } = tolerance;
            if !(absolute.is_finite() && absolute >= 0.0 && (0.0..1.0).contains(&relative)) {
                return Err(RulesError::Tolerance);
            }
        }
        Ok(())
    }
}

/// Why rules are not usable.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RulesError {
    /// The most nodes are over [`REPLICAS_MAX`].
    #[error("{actual} replicas exceed {limit}")]
    TooManyReplicas {
        /// Replicas asked for.
        actual: u32,
        /// The limit.
        limit: u32,
    },
    /// It must hold that 1 <= quorum <= replicas <= most replicas.
    #[error("quorum {quorum}, replicas {replicas} and at most {replicas_max} do not rise from 1")]
    Order {
        /// The quorum.
        quorum: u32,
        /// Replicas at first.
        replicas: u32,
        /// Replicas at most.
        replicas_max: u32,
    },
    /// Two groups could each reach the quorum.
    #[error("quorum {quorum} is no majority of {replicas_max}")]
    NoMajority {
        /// The quorum.
        quorum: u32,
        /// Replicas at most.
        replicas_max: u32,
    },
    /// A tolerance is negative, not finite, or relative and not below 1.
    #[error("tolerance is negative, not finite, or a whole")]
    Tolerance,
    /// Results that are there cannot be compared in another way: their bytes may be gone.
    #[error("results that are there cannot be compared in another way")]
    ComparisonChanged,
}

/// What binds a node to a result that it has not shown yet: BLAKE3 (`derive_key`) of the result's
/// [`ContentId`], the node's id, a nonce of 32 random bytes, and the task's id.
///
/// Copied, it is worth nothing: it names its node and its task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Commitment(Digest);

impl Commitment {
    /// Commits to a result.
    ///
    /// # Security
    /// The nonce must be random and secret until it is revealed, or short results can be guessed.
    #[must_use]
    pub fn new(result: ContentId, node: NodeId, nonce: &[u8; 32], task: TaskId) -> Self {
        let mut bytes = Vec::with_capacity(112);
        bytes.extend(result.as_bytes());
        bytes.extend(node.as_bytes());
        bytes.extend(nonce);
        bytes.extend(task.as_bytes());
        Self(Digest::derive(
            "fogcompute 2026 exec result commitment",
            &bytes,
        ))
    }

    /// Takes a commitment from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The commitment's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// What a node did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[repr(u8)]
pub enum Finding {
    /// It returned what won. It is paid.
    Valid = 1,
    /// Within the tolerance of some who won, but not of the result that stands for them. Not paid,
    /// not punished.
    Inconclusive = 2,
    /// It returned something else than what won.
    Invalid = 3,
    /// It revealed something else than it had committed to.
    BrokenCommitment = 4,
    /// It committed to two results.
    DoubleCommitment = 5,
    /// It committed and did not reveal.
    Withheld = 6,
    /// It did not commit.
    Missing = 7,
}

/// What stake can be slashed for, in the words of the ledger.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Offence {
    /// Two results of one task.
    DoubleResult,
    /// A result that others proved wrong.
    InvalidResult,
    /// It was not there when it had promised to be.
    Downtime,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Self; 7] = [
        Self::Valid,
        Self::Inconclusive,
        Self::Invalid,
        Self::BrokenCommitment,
        Self::DoubleCommitment,
        Self::Withheld,
        Self::Missing,
    ];

    /// Whether the node said something that is not true.
    #[must_use]
    pub const fn is_lie(self) -> bool {
        matches!(
            self,
            Self::Invalid | Self::BrokenCommitment | Self::DoubleCommitment
        )
    }

    /// What it can be slashed for.
    #[must_use]
    pub const fn offence(self) -> Option<Offence> {
        match self {
            Self::Valid | Self::Inconclusive => None,
            Self::Invalid | Self::BrokenCommitment => Some(Offence::InvalidResult),
            Self::DoubleCommitment => Some(Offence::DoubleResult),
            Self::Withheld | Self::Missing => Some(Offence::Downtime),
        }
    }
}

/// What is held against a node, or for it: enough to check it again.
///
/// It proves what was said, not who said it: the host keeps the signed messages that commitments
/// and reveals came in, and names them by [`Evidence::digest`].
///
/// Encoding, version 1, integers big-endian; an optional field is 1 byte 0, or 1 byte 1 and the
/// field:
///
/// | field | bytes |
/// |---|---|
/// | version | 1, value 1 |
/// | task | 16 |
/// | node | 32 |
/// | time | 8 |
/// | finding | 1 |
/// | commitment, second commitment, nonce, revealed result, winning result; each optional | 32 |
/// | number of nodes that returned what won, then each | 1, 32 |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// The task.
    pub task: TaskId,
    /// The node.
    pub node: NodeId,
    /// When it was found.
    pub time: UnixMillis,
    /// What it did.
    pub finding: Finding,
    /// What it committed to first.
    pub commitment: Option<Commitment>,
    /// What else it committed to.
    pub second: Option<Commitment>,
    /// The nonce that it revealed.
    pub nonce: Option<[u8; 32]>,
    /// The result that it revealed.
    pub revealed: Option<ContentId>,
    /// The result that won.
    pub agreed: Option<ContentId>,
    /// The nodes that returned it, in order.
    pub agreeing: Vec<NodeId>,
}

impl Evidence {
    /// The evidence as bytes, see the table above.
    ///
    /// # Panics
    /// If more than 255 nodes agree, of whom there can be [`REPLICAS_MAX`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let optional = |writer: &mut Writer, field: Option<&[u8; 32]>| {
            writer.u8(field.is_some().into());
            if let Some(field) = field {
                writer.raw(field);
            }
        };
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(self.task.as_bytes());
        writer.raw(self.node.as_bytes());
        writer.u64(self.time.0);
        writer.u8(self.finding as u8);
        optional(
            &mut writer,
            self.commitment.as_ref().map(Commitment::as_bytes),
        );
        optional(&mut writer, self.second.as_ref().map(Commitment::as_bytes));
        optional(&mut writer, self.nonce.as_ref());
        optional(&mut writer, self.revealed.as_ref().map(ContentId::as_bytes));
        optional(&mut writer, self.agreed.as_ref().map(ContentId::as_bytes));
        writer.u8(u8::try_from(self.agreeing.len()).expect("at most 63 agree"));
        for node in &self.agreeing {
            writer.raw(node.as_bytes());
        }
        writer.finish()
    }

    /// Reads evidence from bytes of a peer. [`Evidence::holds`] says what it is worth.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        fn unknown(at: usize, value: u8) -> DecodeError {
            DecodeError::Unknown {
                at,
                value: value.into(),
            }
        }
        let optional = |reader: &mut Reader<'_>| {
            let at = reader.position();
            match reader.u8()? {
                0 => Ok(None),
                1 => reader.array::<32>().map(Some),
                other => Err(unknown(at, other)),
            }
        };
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            other => return Err(unknown(0, other)),
        }
        let task = TaskId::from_bytes(reader.array()?);
        let node = NodeId::from_bytes(reader.array()?);
        let time = UnixMillis(reader.u64()?);
        let at = reader.position();
        let code = reader.u8()?;
        let finding = Finding::ALL
            .into_iter()
            .find(|finding| *finding as u8 == code)
            .ok_or(unknown(at, code))?;
        let commitment = optional(&mut reader)?.map(Commitment::from_bytes);
        let second = optional(&mut reader)?.map(Commitment::from_bytes);
        let nonce = optional(&mut reader)?;
        let revealed = optional(&mut reader)?.map(ContentId::from_bytes);
        let agreed = optional(&mut reader)?.map(ContentId::from_bytes);
        let at = reader.position();
        let count = reader.u8()?;
        if u32::from(count) > REPLICAS_MAX {
            return Err(unknown(at, count));
        }
        let agreeing = (0..count)
            .map(|_| reader.array().map(NodeId::from_bytes))
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self {
            task,
            node,
            time,
            finding,
            commitment,
            second,
            nonce,
            revealed,
            agreed,
            agreeing,
        })
    }

    /// Names the evidence: what an entry of a ledger can refer to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::derive("fogcompute 2026 exec evidence", &self.encode())
    }

    /// Whether the finding follows from what the evidence has. That `agreed` is what `agreeing`
    /// returned, it does not prove: that is for their own evidence to show.
    #[must_use]
    pub fn holds(&self) -> bool {
        let opened = match (self.commitment, self.nonce, self.revealed) {
            (Some(commitment), Some(nonce), Some(revealed)) => {
                Some(commitment == Commitment::new(revealed, self.node, &nonce, self.task))
            }
            _ => None,
        };
        let same = self.agreed.is_some() && self.agreed == self.revealed;
        match self.finding {
            Finding::Valid => opened == Some(true) && self.agreeing.contains(&self.node),
            Finding::Inconclusive | Finding::Invalid => {
                opened == Some(true) && self.agreed.is_some() && !same
            }
            Finding::BrokenCommitment => opened == Some(false),
            Finding::DoubleCommitment => {
                self.commitment.is_some() && self.second.is_some() && self.second != self.commitment
            }
            Finding::Withheld => self.commitment.is_some() && self.revealed.is_none(),
            Finding::Missing => self.commitment.is_none(),
        }
    }
}

/// Where a task's replication is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nodes are still to commit.
    Committing,
    /// All have committed or are given up: those that did may reveal.
    Revealing,
    /// That many more nodes are needed.
    Wanting {
        /// How many.
        nodes: u32,
    },
    /// A result has won.
    Agreed {
        /// The result.
        result: ContentId,
    },
    /// No result can win any more. Nobody is paid, and nobody who was consistent is punished.
    Undecided,
}

/// Why a call does nothing.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ReplicationError {
    /// The node has the task already. Results of one node are one voice.
    #[error("node {node} has the task already")]
    AssignedAlready {
        /// The node.
        node: NodeId,
    },
    /// No more nodes are needed.
    #[error("no more nodes are needed")]
    NotWanted,
    /// The node was not given the task.
    #[error("node {node} was not given the task")]
    NotAssigned {
        /// The node.
        node: NodeId,
    },
    /// The node is done, or was given up.
    #[error("node {node} is done")]
    Done {
        /// The node.
        node: NodeId,
    },
    /// The node has not committed.
    #[error("node {node} has not committed")]
    NotCommitted {
        /// The node.
        node: NodeId,
    },
    /// Others have not committed yet: whoever reveals now would be copied.
    #[error("{waiting} nodes have not committed yet")]
    TooEarly {
        /// Nodes that may still commit.
        waiting: u32,
    },
    /// The commitment differs from the node's first. It is held against the node.
    #[error("node {node} committed to two results")]
    DoubleCommitment {
        /// The node.
        node: NodeId,
    },
    /// What is revealed is not what was committed to. It is held against the node.
    #[error("node {node} revealed something else than it committed to")]
    BrokenCommitment {
        /// The node.
        node: NodeId,
    },
    /// The result is over [`CONTENT_BYTES_MAX`].
    #[error("result of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

#[derive(Clone)]
enum Replica {
    Assigned,
    Committed(Commitment),
    Revealed {
        commitment: Commitment,
        nonce: [u8; 32],
        result: ContentId,
        /// Empty where only the digest is compared.
        bytes: Vec<u8>,
    },
    Broken {
        commitment: Commitment,
        nonce: [u8; 32],
        result: ContentId,
    },
    Double {
        first: Commitment,
        second: Commitment,
    },
    Withheld(Commitment),
    Missing,
}

/// One task on several nodes: see the [module](self).
///
/// ```
/// use fogcompute_base::{NodeId, TaskId, UnixMillis};
/// use fogcompute_exec::ContentId;
/// use fogcompute_exec::replication::{Commitment, Finding, Outcome, Replication, Rules};
///
/// let task = TaskId::from_bytes([1; 16]);
/// let node = |n| NodeId::from_bytes([n; 32]);
/// let results: [(u8, &[u8]); 3] = [(1, b"42"), (2, b"42"), (3, b"41")];
/// let rules = Rules { replicas: 3, ..Rules::PAIR };
/// let mut replication = Replication::new(task, rules)?;
/// for (n, result) in results {
///     replication.assign(node(n))?;
///     let commitment = Commitment::new(ContentId::of(result), node(n), &[n; 32], task);
///     replication.commit(node(n), commitment)?;
/// }
/// for (n, result) in results {
///     replication.reveal(node(n), [n; 32], result)?;
/// }
/// assert_eq!(replication.outcome(), Outcome::Agreed { result: ContentId::of(b"42") });
/// let verdicts = replication.verdicts(UnixMillis(0));
/// assert_eq!(verdicts[2].finding, Finding::Invalid);
/// assert!(verdicts.iter().all(|evidence| evidence.holds()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Replication {
    task: TaskId,
    rules: Rules,
    replicas: BTreeMap<NodeId, Replica>,
    /// The node whose result stands for all that won.
    winner: Option<NodeId>,
}

impl fmt::Debug for Replication {
    /// No results: they belong to the submitter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replication")
            .field("task", &self.task)
            .field("rules", &self.rules)
            .field("nodes", &self.replicas.keys())
            .field("winner", &self.winner)
            .finish()
    }
}

impl Replication {
    /// A task that no node has yet.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn new(task: TaskId, rules: Rules) -> Result<Self, RulesError> {
        rules.validate()?;
        Ok(Self {
            task,
            rules,
            replicas: BTreeMap::new(),
            winner: None,
        })
    }

    /// Asks for more than was asked for at first: for a spot check, or because something about a
    /// single result is suspicious. A result that had won has to win again.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn escalate(&mut self, rules: Rules) -> Result<(), RulesError> {
        rules.validate()?;
        if rules.comparison != self.rules.comparison {
            return Err(RulesError::ComparisonChanged);
        }
        self.rules = rules;
        self.winner = None;
        self.decide();
        Ok(())
    }

    /// Gives the task to a node.
    ///
    /// # Errors
    /// [`ReplicationError::AssignedAlready`], [`ReplicationError::NotWanted`].
    pub fn assign(&mut self, node: NodeId) -> Result<(), ReplicationError> {
        if self.replicas.contains_key(&node) {
            return Err(ReplicationError::AssignedAlready { node });
        }
        if self.wanted() == 0 {
            return Err(ReplicationError::NotWanted);
        }
        self.replicas.insert(node, Replica::Assigned);
        Ok(())
    }

    /// How many more nodes are needed.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        if self.winner.is_some() {
            return 0;
        }
        let assigned = self.assigned();
        let hopes =
            self.count(|replica| matches!(replica, Replica::Assigned | Replica::Committed(_)));
        let missing = self.rules.quorum.saturating_sub(self.best() + hopes);
        let first = self.rules.replicas.saturating_sub(assigned);
        first
            .max(missing)
            .min(self.rules.replicas_max.saturating_sub(assigned))
    }

    fn assigned(&self) -> u32 {
        self.count(|_| true)
    }

    fn count(&self, what: impl Fn(&Replica) -> bool) -> u32 {
        let found = self.replicas.values().filter(|replica| what(replica));
        u32::try_from(found.count()).unwrap_or(u32::MAX)
    }

    /// Takes a node's commitment. The same again is fine.
    ///
    /// # Errors
    /// [`ReplicationError::NotAssigned`], [`ReplicationError::Done`],
    /// [`ReplicationError::DoubleCommitment`].
    pub fn commit(&mut self, node: NodeId, commitment: Commitment) -> Result<(), ReplicationError> {
        let replica = self
            .replicas
            .get_mut(&node)
            .ok_or(ReplicationError::NotAssigned { node })?;
        match replica {
            Replica::Assigned => {
                *replica = Replica::Committed(commitment);
                Ok(())
            }
            Replica::Committed(first) if *first == commitment => Ok(()),
            Replica::Committed(first) => {
                *replica = Replica::Double {
                    first: *first,
                    second: commitment,
                };
                Err(ReplicationError::DoubleCommitment { node })
            }
            _ => Err(ReplicationError::Done { node }),
        }
    }

    /// Takes what a node committed to. Too early, nothing of it is kept.
    ///
    /// # Errors
    /// [`ReplicationError`] but [`ReplicationError::AssignedAlready`], [`ReplicationError::NotWanted`]
    /// and [`ReplicationError::DoubleCommitment`].
    pub fn reveal(
        &mut self,
        node: NodeId,
        nonce: [u8; 32],
        result: &[u8],
    ) -> Result<(), ReplicationError> {
        let waiting = self.count(|replica| matches!(replica, Replica::Assigned));
        let exact = self.rules.comparison == Comparison::Exact;
        let replica = self
            .replicas
            .get_mut(&node)
            .ok_or(ReplicationError::NotAssigned { node })?;
        let commitment = match replica {
            Replica::Assigned => return Err(ReplicationError::NotCommitted { node }),
            Replica::Committed(commitment) => *commitment,
            _ => return Err(ReplicationError::Done { node }),
        };
        if waiting > 0 {
            return Err(ReplicationError::TooEarly { waiting });
        }
        if result.len() > CONTENT_BYTES_MAX {
            return Err(ReplicationError::TooLong {
                actual: result.len(),
                limit: CONTENT_BYTES_MAX,
            });
        }
        let bytes = if exact { Vec::new() } else { result.to_vec() };
        let result = ContentId::of(result);
        if commitment != Commitment::new(result, node, &nonce, self.task) {
            *replica = Replica::Broken {
                commitment,
                nonce,
                result,
            };
            return Err(ReplicationError::BrokenCommitment { node });
        }
        *replica = Replica::Revealed {
            commitment,
            nonce,
            result,
            bytes,
        };
        self.decide();
        Ok(())
    }

    /// Waits for a node no longer.
    ///
    /// # Errors
    /// [`ReplicationError::NotAssigned`], [`ReplicationError::Done`].
    pub fn give_up(&mut self, node: NodeId) -> Result<(), ReplicationError> {
        let replica = self
            .replicas
            .get_mut(&node)
            .ok_or(ReplicationError::NotAssigned { node })?;
        *replica = match replica {
            Replica::Assigned => Replica::Missing,
            Replica::Committed(commitment) => Replica::Withheld(*commitment),
            _ => return Err(ReplicationError::Done { node }),
        };
        self.decide();
        Ok(())
    }

    fn same(&self, a: &Replica, b: &Replica) -> bool {
        let (
            Replica::Revealed {
                result: result_a,
                bytes: a,
                ..
            },
            Replica::Revealed {
                result: result_b,
                bytes: b,
                ..
            },
        ) = (a, b)
        else {
            return false;
        };
        result_a == result_b
            || (self.rules.comparison != Comparison::Exact && self.rules.comparison.matches(a, b))
    }

    /// How many returned the same as that node, itself included.
    fn voices(&self, node: &Replica) -> u32 {
        self.count(|other| self.same(node, other))
    }

    fn best(&self) -> u32 {
        let voices = self.replicas.values().map(|replica| self.voices(replica));
        voices.max().unwrap_or(0)
    }

    fn decide(&mut self) {
        let outstanding = |replica: &Replica| matches!(replica, Replica::Committed(_));
        // Within a tolerance several results could stand for a quorum. So all are waited for, and
        // of those that stand for equally many the first by id is taken: nobody chooses by when he
        // reveals. Equal bytes cannot lose a quorum any more.
        let early = self.rules.comparison != Comparison::Exact && self.count(outstanding) > 0;
        if self.winner.is_some() || early {
            return;
        }
        let ranked = self
            .replicas
            .iter()
            .map(|(node, replica)| (self.voices(replica), std::cmp::Reverse(*node)));
        if let Some((voices, std::cmp::Reverse(node))) = ranked.max()
            && voices >= self.rules.quorum
        {
            self.winner = Some(node);
        }
    }

    /// Where it is.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if let Some(result) = self.winner.and_then(|node| self.revealed(node)) {
            return Outcome::Agreed { result };
        }
        match self.wanted() {
            0 if self.count(|replica| matches!(replica, Replica::Assigned)) > 0 => {
                Outcome::Committing
            }
            0 if self.count(|replica| matches!(replica, Replica::Committed(_))) > 0 => {
                Outcome::Revealing
            }
            0 => Outcome::Undecided,
            nodes => Outcome::Wanting { nodes },
        }
    }

    fn revealed(&self, node: NodeId) -> Option<ContentId> {
        match self.replicas.get(&node)? {
            Replica::Revealed { result, .. } => Some(*result),
            _ => None,
        }
    }

    /// What is found of every node that is done, in the order of their ids. Who returned a result is
    /// judged only when one has won.
    #[must_use]
    pub fn verdicts(&self, time: UnixMillis) -> Vec<Evidence> {
        let winner = self.winner.and_then(|node| self.replicas.get(&node));
        let agrees = |replica: &Replica| winner.is_some_and(|winner| self.same(winner, replica));
        let agreeing: Vec<NodeId> = self
            .replicas
            .iter()
            .filter(|(_, replica)| agrees(replica))
            .map(|(node, _)| *node)
            .collect();
        let agreed = self.winner.and_then(|node| self.revealed(node));
        let verdict = |(node, replica): (&NodeId, &Replica)| {
            let near = || {
                let mut won = agreeing.iter().filter_map(|node| self.replicas.get(node));
                won.any(|won| self.same(won, replica))
            };
            let finding = match replica {
                Replica::Assigned | Replica::Committed(_) => return None,
                Replica::Revealed { .. } if winner.is_none() => return None,
                replica @ Replica::Revealed { .. } if agrees(replica) => Finding::Valid,
                Replica::Revealed { .. } if near() => Finding::Inconclusive,
                Replica::Revealed { .. } => Finding::Invalid,
                Replica::Broken { .. } => Finding::BrokenCommitment,
                Replica::Double { .. } => Finding::DoubleCommitment,
                Replica::Withheld(_) => Finding::Withheld,
                Replica::Missing => Finding::Missing,
            };
            let mut evidence = Evidence {
                task: self.task,
                node: *node,
                time,
                finding,
                commitment: None,
                second: None,
                nonce: None,
                revealed: None,
                agreed,
                agreeing: agreeing.clone(),
            };
            match replica {
                Replica::Revealed {
                    commitment,
                    nonce,
                    result,
                    ..
                }
                | Replica::Broken {
                    commitment,
                    nonce,
                    result,
                } => {
                    evidence.commitment = Some(*commitment);
                    evidence.nonce = Some(*nonce);
                    evidence.revealed = Some(*result);
                }
                Replica::Double { first, second } => {
                    evidence.commitment = Some(*first);
                    evidence.second = Some(*second);
                }
                Replica::Withheld(commitment) => evidence.commitment = Some(*commitment),
                Replica::Assigned | Replica::Committed(_) | Replica::Missing => {}
            }
            Some(evidence)
        };
        self.replicas.iter().filter_map(verdict).collect()
    }
}

/// A node's record of results that were compared.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Trust {
    /// Valid results since the last that was not, or since the beginning.
    pub consecutive_valid: u32,
}

impl Trust {
    /// Counts what was found of the node. A lie, or a result withheld, and the count begins again;
    /// a node that was not there, or was within the tolerance of some, keeps it.
    pub fn record(&mut self, finding: Finding) {
        match finding {
            Finding::Valid => self.consecutive_valid = self.consecutive_valid.saturating_add(1),
            Finding::Inconclusive | Finding::Missing => {}
            Finding::Invalid
            | Finding::BrokenCommitment
            | Finding::DoubleCommitment
            | Finding::Withheld => self.consecutive_valid = 0,
        }
    }
}

/// When a result is compared: see the [module](self).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Adaptive {
    /// Consecutive valid results after which a node is trusted. 0 counts as 1.
    pub trusted_after: u32,
    /// Results of trusted nodes that are compared in any case, in thousandths.
    pub spot_check_permille: u32,
}

impl Default for Adaptive {
    /// 10 as BOINC, and one result in a hundred.
    fn default() -> Self {
        Self {
            trusted_after: 10,
            spot_check_permille: 10,
        }
    }
}

impl Adaptive {
    /// Whether one more result of a node is compared with others'.
    pub fn compares(&self, trust: Trust, rng: &mut impl Rng) -> bool {
        let valid = trust.consecutive_valid;
        if valid < self.trusted_after.max(1) {
            return true;
        }
        // Both are always drawn, so that what follows from one seed does not depend on the record.
        let (chance, spot) = (rng.next_u64(), rng.next_u64());
        chance % u64::from(valid) == 0 || spot % 1_000 < u64::from(self.spot_check_permille)
    }

    /// The rules for one more task of a node: `replicated`, or [`Rules::SINGLE`] with its
    /// comparison, so that it can be escalated.
    pub fn rules(&self, trust: Trust, replicated: Rules, rng: &mut impl Rng) -> Rules {
        if self.compares(trust, rng) {
            return replicated;
        }
        Rules {
            comparison: replicated.comparison,
            ..Rules::SINGLE
        }
    }
}

#[cfg(test)]
mod tests;
