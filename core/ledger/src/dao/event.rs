//! What happened: effects, not wishes, so that a replay needs no rules.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::codec::{
    account, choice, content, holders, kind, list, parts, ppm, proposal, terms, time, unknown,
    weight, write_content, write_count, write_holders, write_parts, write_terms,
};
use super::{Choice, Content, Holder, Operation, Part, ProposalKind, Terms, Weight};
use crate::Ppm;

/// What happened, and when.
///
/// Canonical encoding ([`fogcompute_base::wire`]): time `u64`, then
///
/// | first byte | item | bytes after it |
/// |---|---|---|
/// | 1 | established | number `u32`, each account 16, role 1 |
/// | 2 | enrolled | account 16 |
/// | 3 | delegated | voter 16, number `u32` and topics, 1 each, ascending; number `u32` and parts, each account 16, millionths `u32` |
/// | 4 | reputation set | account 16, millionths `u32` |
/// | 5 | drafted | author 16, proposal 16, content |
/// | 6 | submitted | author 16, proposal 16, terms |
/// | 7 | proposed | author 16, proposal 16, content, terms |
/// | 8 | voted | voter 16, proposal 16, choice 1, power `u128`, deadline `u64` |
/// | 9 | cancelled | by 16, proposal 16 |
/// | 10 | queued | proposal 16, eta `u64` |
/// | 11 | executed | proposal 16 |
///
/// Content is kind 1, title (text), description (text), number of actions `u32`, actions: the code and
/// the fields in their order. Terms are their fields in their order; parts `u32`, times `u64`,
/// counts `u32`, the strategy 1.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub time: UnixMillis,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum EventKind {
    /// The founding roles were given.
    Established {
        /// Who has which.
        roles: Vec<Holder>,
    },
    /// An account was enrolled.
    Enrolled {
        /// The account.
        account: AccountId,
    },
    /// Votes were delegated, or a delegation revoked.
    Delegated {
        /// Whose votes they are.
        voter: AccountId,
        /// On what, ascending.
        topics: Vec<ProposalKind>,
        /// To whom.
        to: Vec<Part>,
    },
    /// A reputation was set.
    ReputationSet {
        /// The account.
        account: AccountId,
        /// Its reputation.
        reputation: Ppm,
    },
    /// A draft was kept.
    Drafted {
        /// Its author.
        author: AccountId,
        /// The proposal.
        proposal: TransferId,
        /// What it says.
        content: Content,
    },
    /// A draft was submitted.
    Submitted {
        /// Its author.
        author: AccountId,
        /// The proposal.
        proposal: TransferId,
        /// The rules it is bound by.
        terms: Terms,
    },
    /// A proposal was submitted.
    Proposed {
        /// Its author.
        author: AccountId,
        /// The proposal.
        proposal: TransferId,
        /// What it says.
        content: Content,
        /// The rules it is bound by.
        terms: Terms,
    },
    /// A vote was cast or changed.
    Voted {
        /// Who voted.
        voter: AccountId,
        /// On what.
        proposal: TransferId,
        /// What it said.
        choice: Choice,
        /// All power of its ballot at that time.
        power: Weight,
        /// The last millisecond to vote in since then.
        deadline: UnixMillis,
    },
    /// A proposal was cancelled.
    Cancelled {
        /// By whom.
        by: AccountId,
        /// The proposal.
        proposal: TransferId,
    },
    /// A timelock was started.
    Queued {
        /// The proposal.
        proposal: TransferId,
        /// When it may be executed.
        eta: UnixMillis,
    },
    /// A proposal was executed.
    Executed {
        /// The proposal.
        proposal: TransferId,
    },
}

impl Event {
    /// Its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.time.0);
        self.kind.encode_into(&mut w);
        w.finish()
    }

    /// Reads its canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let event = Self {
            time: time(&mut reader)?,
            kind: EventKind::decode_from(&mut reader)?,
        };
        reader.finish()?;
        Ok(event)
    }
}

impl EventKind {
    /// The kind's number in the canonical encoding.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Established { .. } => 1,
            Self::Enrolled { .. } => 2,
            Self::Delegated { .. } => 3,
            Self::ReputationSet { .. } => 4,
            Self::Drafted { .. } => 5,
            Self::Submitted { .. } => 6,
            Self::Proposed { .. } => 7,
            Self::Voted { .. } => 8,
            Self::Cancelled { .. } => 9,
            Self::Queued { .. } => 10,
            Self::Executed { .. } => 11,
        }
    }

    /// The account that did it; none for what anybody may do and for what the host does.
    #[must_use]
    pub const fn actor(&self) -> Option<AccountId> {
        match *self {
            Self::Enrolled { account: actor }
            | Self::Delegated { voter: actor, .. }
            | Self::Drafted { author: actor, .. }
            | Self::Submitted { author: actor, .. }
            | Self::Proposed { author: actor, .. }
            | Self::Voted { voter: actor, .. }
            | Self::Cancelled { by: actor, .. } => Some(actor),
            Self::Established { .. }
            | Self::ReputationSet { .. }
            | Self::Queued { .. }
            | Self::Executed { .. } => None,
        }
    }

    /// What happened, as one word in lower case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Established { .. } => "established",
            Self::Enrolled { .. } => "enrolled",
            Self::Delegated { .. } => "delegated",
            Self::ReputationSet { .. } => "reputation_set",
            Self::Drafted { .. } => "drafted",
            Self::Submitted { .. } => "submitted",
            Self::Proposed { .. } => "proposed",
            Self::Voted { .. } => "voted",
            Self::Cancelled { .. } => "cancelled",
            Self::Queued { .. } => "queued",
            Self::Executed { .. } => "executed",
        }
    }

    /// The proposal it is about, if it is about one.
    #[must_use]
    pub const fn proposal(&self) -> Option<TransferId> {
        match *self {
            Self::Drafted { proposal, .. }
            | Self::Submitted { proposal, .. }
            | Self::Proposed { proposal, .. }
            | Self::Voted { proposal, .. }
            | Self::Cancelled { proposal, .. }
            | Self::Queued { proposal, .. }
            | Self::Executed { proposal } => Some(proposal),
            Self::Established { .. }
            | Self::Enrolled { .. }
            | Self::Delegated { .. }
            | Self::ReputationSet { .. } => None,
        }
    }

    /// Whether this is what that operation asks for. Effects and what rules decide are not compared.
    #[must_use]
    pub fn answers(&self, operation: &Operation) -> bool {
        match (self, operation) {
            (Self::Established { roles }, Operation::Establish { roles: asked }) => roles == asked,
            (Self::Enrolled { account }, Operation::Enrol { account: asked }) => account == asked,
            (
                Self::Delegated { voter, topics, to },
                Operation::Delegate {
                    voter: giver,
                    topics: on,
                    to: parts,
                },
            ) => (voter, to) == (giver, parts) && *topics == all_topics(on),
            (
                Self::ReputationSet {
                    account,
                    reputation,
                },
                Operation::SetReputation {
                    account: of,
                    reputation: asked,
                },
            ) => (account, reputation) == (of, asked),
            (
                Self::Drafted {
                    author,
                    proposal,
                    content,
                },
                Operation::Draft {
                    author: by,
                    proposal: id,
                    content: asked,
                },
            )
            | (
                Self::Proposed {
                    author,
                    proposal,
                    content,
                    ..
                },
                Operation::Propose {
                    author: by,
                    proposal: id,
                    content: asked,
                },
            ) => (author, proposal, content) == (by, id, asked),
            (
                Self::Submitted {
                    author, proposal, ..
                },
                Operation::Submit {
                    author: by,
                    proposal: id,
                },
            )
            | (
                Self::Cancelled {
                    by: author,
                    proposal,
                },
                Operation::Cancel { by, proposal: id },
            ) => (author, proposal) == (by, id),
            (
                Self::Voted {
                    voter,
                    proposal,
                    choice,
                    ..
                },
                Operation::Vote {
                    voter: by,
                    proposal: id,
                    choice: asked,
                },
            ) => (voter, proposal, choice) == (by, id, asked),
            (Self::Queued { proposal, .. }, Operation::Queue { proposal: id })
            | (Self::Executed { proposal }, Operation::Execute { proposal: id }) => proposal == id,
            _ => false,
        }
    }

    /// Writes its canonical bytes: those of an [`Event`] after the time.
    pub(crate) fn encode_into(&self, w: &mut Writer) {
        w.u8(self.code());
        match self {
            Self::Established { roles } => write_holders(w, roles),
            Self::Enrolled { account } => w.raw(account.as_bytes()),
            Self::Delegated { voter, topics, to } => {
                w.raw(voter.as_bytes());
                write_count(w, topics.len());
                for topic in topics {
                    w.u8(topic.code());
                }
                write_parts(w, to);
            }
            Self::ReputationSet {
                account,
                reputation,
            } => {
                w.raw(account.as_bytes());
                w.u32(reputation.get());
            }
            Self::Drafted {
                author,
                proposal,
                content,
            } => {
                w.raw(author.as_bytes());
                w.raw(proposal.as_bytes());
                write_content(w, content);
            }
            Self::Submitted {
                author,
                proposal,
                terms,
            } => {
                w.raw(author.as_bytes());
                w.raw(proposal.as_bytes());
                write_terms(w, terms);
            }
            Self::Proposed {
                author,
                proposal,
                content,
                terms,
            } => {
                w.raw(author.as_bytes());
                w.raw(proposal.as_bytes());
                write_content(w, content);
                write_terms(w, terms);
            }
            Self::Voted {
                voter,
                proposal,
                choice,
                power,
                deadline,
            } => {
                w.raw(voter.as_bytes());
                w.raw(proposal.as_bytes());
                w.u8(choice.code());
                w.u128(power.0);
                w.u64(deadline.0);
            }
            Self::Cancelled { by, proposal } => {
                w.raw(by.as_bytes());
                w.raw(proposal.as_bytes());
            }
            Self::Queued { proposal, eta } => {
                w.raw(proposal.as_bytes());
                w.u64(eta.0);
            }
            Self::Executed { proposal } => w.raw(proposal.as_bytes()),
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) wrote.
    pub(crate) fn decode_from(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.position();
        Ok(match r.u8()? {
            1 => Self::Established { roles: holders(r)? },
            2 => Self::Enrolled {
                account: account(r)?,
            },
            3 => Self::Delegated {
                voter: account(r)?,
                topics: {
                    let at = r.position();
                    let topics = list(r, kind)?;
                    if topics.is_empty() || topics.windows(2).any(|pair| pair[0] >= pair[1]) {
                        return Err(DecodeError::Unknown {
                            at,
                            value: u64::try_from(topics.len()).unwrap_or(u64::MAX),
                        });
                    }
                    topics
                },
                to: parts(r)?,
            },
            4 => Self::ReputationSet {
                account: account(r)?,
                reputation: ppm(r)?,
            },
            5 => Self::Drafted {
                author: account(r)?,
                proposal: proposal(r)?,
                content: content(r)?,
            },
            6 => Self::Submitted {
                author: account(r)?,
                proposal: proposal(r)?,
                terms: terms(r)?,
            },
            7 => Self::Proposed {
                author: account(r)?,
                proposal: proposal(r)?,
                content: content(r)?,
                terms: terms(r)?,
            },
            8 => Self::Voted {
                voter: account(r)?,
                proposal: proposal(r)?,
                choice: choice(r)?,
                power: weight(r)?,
                deadline: time(r)?,
            },
            9 => Self::Cancelled {
                by: account(r)?,
                proposal: proposal(r)?,
            },
            10 => Self::Queued {
                proposal: proposal(r)?,
                eta: time(r)?,
            },
            11 => Self::Executed {
                proposal: proposal(r)?,
            },
            code => return Err(unknown(at, code)),
        })
    }
}

/// The topics a delegation is about: those named, or all, ascending.
pub(super) fn all_topics(named: &[ProposalKind]) -> Vec<ProposalKind> {
    if named.is_empty() {
        return ProposalKind::ALL.to_vec();
    }
    let mut topics = named.to_vec();
    topics.sort_unstable();
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Amount;
    use crate::dao::{Action, Role, Rules};
    use fogcompute_base::Digest;

    fn person(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    fn name(n: u8) -> TransferId {
        TransferId::from_bytes([n; 16])
    }

    fn saying(title: &str) -> Content {
        Content {
            kind: ProposalKind::General,
            title: title.to_owned(),
            description: "Why not?\n".to_owned(),
            actions: vec![Action::Resolve {
                text: Digest::of(b"x"),
            }],
        }
    }

    fn terms() -> Terms {
        let rules = Rules::default();
        Terms::new(&rules, &rules.path(ProposalKind::General), UnixMillis(7))
    }

    /// Every kind of event, what asked for it, and what differs from that in one field each.
    fn all() -> Vec<(EventKind, Operation, Vec<Operation>)> {
        let (author, proposal, content) = (person(1), name(2), saying("A"));
        let holder = |role| Holder {
            account: person(1),
            role,
        };
        let part = |n| Part {
            to: person(n),
            part: Ppm::percent(30),
        };
        let delegate = |n, topics: &[_], to| Operation::Delegate {
            voter: person(n),
            topics: topics.to_vec(),
            to: vec![part(to)],
        };
        let (general, treasury) = (ProposalKind::General, ProposalKind::TreasuryAllocation);
        let vote = |n, of, choice| Operation::Vote {
            voter: person(n),
            proposal: name(of),
            choice,
        };
        let draft = |n, of, title| Operation::Draft {
            author: person(n),
            proposal: name(of),
            content: saying(title),
        };
        let propose = |n, of, title| Operation::Propose {
            author: person(n),
            proposal: name(of),
            content: saying(title),
        };
        let establish = |role| Operation::Establish {
            roles: vec![holder(role)],
        };
        let reputation = |n, part| Operation::SetReputation {
            account: person(n),
            reputation: Ppm::percent(part),
        };
        let submit = |n, of| Operation::Submit {
            author: person(n),
            proposal: name(of),
        };
        let cancel = |n, of| Operation::Cancel {
            by: person(n),
            proposal: name(of),
        };
        let queue = |of| Operation::Queue { proposal: name(of) };
        let execute = |of| Operation::Execute { proposal: name(of) };
        vec![
            (
                EventKind::Established {
                    roles: vec![holder(Role::King)],
                },
                establish(Role::King),
                vec![establish(Role::Guardian)],
            ),
            (
                EventKind::Enrolled { account: author },
                Operation::Enrol { account: author },
                vec![Operation::Enrol { account: person(2) }],
            ),
            (
                EventKind::Delegated {
                    voter: author,
                    topics: vec![treasury, general],
                    to: vec![part(3)],
                },
                delegate(1, &[general, treasury], 3),
                vec![
                    delegate(2, &[general, treasury], 3),
                    delegate(1, &[general], 3),
                    delegate(1, &[], 3),
                    delegate(1, &[general, treasury], 4),
                ],
            ),
            (
                EventKind::ReputationSet {
                    account: author,
                    reputation: Ppm::percent(5),
                },
                reputation(1, 5),
                vec![reputation(2, 5), reputation(1, 6)],
            ),
            (
                EventKind::Drafted {
                    author,
                    proposal,
                    content: content.clone(),
                },
                draft(1, 2, "A"),
                vec![draft(2, 2, "A"), draft(1, 3, "A"), draft(1, 2, "B")],
            ),
            (
                EventKind::Submitted {
                    author,
                    proposal,
                    terms: terms(),
                },
                submit(1, 2),
                vec![submit(2, 2), submit(1, 3)],
            ),
            (
                EventKind::Proposed {
                    author,
                    proposal,
                    content,
                    terms: terms(),
                },
                propose(1, 2, "A"),
                vec![propose(2, 2, "A"), propose(1, 3, "A"), propose(1, 2, "B")],
            ),
            (
                EventKind::Voted {
                    voter: author,
                    proposal,
                    choice: Choice::For,
                    power: Weight(9),
                    deadline: UnixMillis(10),
                },
                vote(1, 2, Choice::For),
                vec![
                    vote(2, 2, Choice::For),
                    vote(1, 3, Choice::For),
                    vote(1, 2, Choice::Against),
                ],
            ),
            (
                EventKind::Cancelled {
                    by: author,
                    proposal,
                },
                cancel(1, 2),
                vec![cancel(2, 2), cancel(1, 3)],
            ),
            (
                EventKind::Queued {
                    proposal,
                    eta: UnixMillis(4),
                },
                queue(2),
                vec![queue(3)],
            ),
            (
                EventKind::Executed { proposal },
                execute(2),
                vec![execute(3)],
            ),
        ]
    }

    #[test]
    fn events_survive_their_bytes_and_json() {
        for (kind, _, _) in all() {
            let event = Event {
                time: UnixMillis(3),
                kind,
            };
            let bytes = event.encode();
            assert_eq!(Event::decode(&bytes), Ok(event.clone()));
            for end in 0..bytes.len() {
                assert!(Event::decode(&bytes[..end]).is_err());
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(
                Event::decode(&longer),
                Err(DecodeError::Trailing { count: 1 })
            );
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        }
        for code in [0, 12] {
            let bytes = [&[0; 8][..], &[code], &[0; 200]].concat();
            let unknown = DecodeError::Unknown {
                at: 8,
                value: u64::from(code),
            };
            assert_eq!(Event::decode(&bytes), Err(unknown));
        }
    }

    #[test]
    fn topics_have_one_order() {
        let kind = EventKind::Delegated {
            voter: person(1),
            topics: vec![ProposalKind::General, ProposalKind::ParameterChange],
            to: vec![],
        };
        let event = Event {
            time: UnixMillis(3),
            kind,
        };
        assert!(Event::decode(&event.encode()).is_err());
    }

    #[test]
    fn an_event_answers_what_asked_for_it_and_nothing_that_differs_in_a_field() {
        let all = all();
        for (event, asked, others) in &all {
            assert!(event.answers(asked), "{event:?}");
            for other in others {
                assert!(!event.answers(other), "{event:?} {other:?}");
            }
            for (_, other, _) in &all {
                assert_eq!(event.answers(other), other == asked);
            }
        }
        let everything = EventKind::Delegated {
            voter: person(1),
            topics: ProposalKind::ALL.to_vec(),
            to: vec![],
        };
        assert!(everything.answers(&Operation::Delegate {
            voter: person(1),
            topics: vec![],
            to: vec![]
        }));
    }

    #[test]
    fn events_name_who_did_them_and_to_what() {
        let named = all().into_iter().map(|(event, _, _)| {
            let actor = event.actor().map(|account| account.as_bytes()[0]);
            (
                actor,
                event.proposal().map(|proposal| proposal.as_bytes()[0]),
            )
        });
        let (me, it) = (Some(1), Some(2));
        let expected = [
            (None, None),
            (me, None),
            (me, None),
            (None, None),
            (me, it),
            (me, it),
            (me, it),
            (me, it),
            (me, it),
            (None, it),
            (None, it),
        ];
        assert!(named.eq(expected));
    }

    #[test]
    fn the_longest_content_survives() {
        let content = Content {
            title: "\u{10ffff}".repeat(Content::TITLE_CHARS_MAX),
            description: "x".repeat(Content::DESCRIPTION_BYTES_MAX),
            actions: vec![
                Action::Pay {
                    to: person(1),
                    amount: Amount(1),
                    code: 0
                };
                Content::ACTIONS_MAX
            ],
            kind: ProposalKind::TreasuryAllocation,
        };
        assert_eq!(content.validate(), Ok(()));
        let event = Event {
            time: UnixMillis(3),
            kind: EventKind::Drafted {
                author: person(1),
                proposal: name(2),
                content,
            },
        };
        assert_eq!(Event::decode(&event.encode()), Ok(event));
    }
}
