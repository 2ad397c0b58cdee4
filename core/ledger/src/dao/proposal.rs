//! Proposals: what they say, where they are in their life, and what was voted.

use std::fmt;
use std::sync::Arc;

use ethnum::U256;
use fogcompute_base::{AccountId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::rules::Path;
use super::{
    Action, Conviction, DaoError, Linear, Quadratic, Reputation, Rules, Strategy, Weighing, Weight,
};
use crate::{Amount, Ppm};

/// What a proposal is about. Also what votes are delegated by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalKind {
    /// Numbers of the economy.
    ParameterChange,
    /// Payments from the treasury.
    TreasuryAllocation,
    /// The version that nodes run.
    ProtocolUpgrade,
    /// A pause, on a shorter clock and with a higher bar.
    EmergencyAction,
    /// An agent and its budget.
    AgentDeployment,
    /// Roles and resolutions.
    General,
}

impl ProposalKind {
    /// Every kind there is.
    pub const ALL: [Self; 6] = [
        Self::ParameterChange,
        Self::TreasuryAllocation,
        Self::ProtocolUpgrade,
        Self::EmergencyAction,
        Self::AgentDeployment,
        Self::General,
    ];

    /// The kind's number in the canonical encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::ParameterChange => 1,
            Self::TreasuryAllocation => 2,
            Self::ProtocolUpgrade => 3,
            Self::EmergencyAction => 4,
            Self::AgentDeployment => 5,
            Self::General => 6,
        }
    }

    /// The kind of that number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The kind as commands and files name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ParameterChange => "parameter_change",
            Self::TreasuryAllocation => "treasury_allocation",
            Self::ProtocolUpgrade => "protocol_upgrade",
            Self::EmergencyAction => "emergency_action",
            Self::AgentDeployment => "agent_deployment",
            Self::General => "general",
        }
    }

    /// The kind's bit in a set of kinds.
    pub(super) const fn bit(self) -> u8 {
        1 << (self.code() - 1)
    }
}

impl fmt::Display for ProposalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a voter says. The numbers are those of OpenZeppelin's `GovernorCountingSimple`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// No.
    Against,
    /// Yes.
    For,
    /// Neither; counts for the quorum.
    Abstain,
}

impl Choice {
    /// Every choice there is.
    pub const ALL: [Self; 3] = [Self::Against, Self::For, Self::Abstain];

    /// The choice's number in the canonical encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Against => 0,
            Self::For => 1,
            Self::Abstain => 2,
        }
    }

    /// The choice as commands and files name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Against => "against",
            Self::For => "for",
            Self::Abstain => "abstain",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<u8> for Choice {
    type Error = DaoError;

    /// The choice of that number.
    fn try_from(code: u8) -> Result<Self, DaoError> {
        let mut all = Self::ALL.into_iter();
        all.find(|choice| choice.code() == code)
            .ok_or(DaoError::UnknownChoice { code })
    }
}

/// Where a proposal is in its life. It only moves down this list, and not between two that end it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalState {
    /// Its author's own; no clock runs.
    Draft,
    /// Submitted; the snapshot is not past.
    Pending,
    /// Can be voted on, after the snapshot and up to the deadline.
    Active,
    /// The deadline passed without a quorum or approval. The end.
    Defeated,
    /// Passed; can be queued until its grace is over.
    Succeeded,
    /// Waits for its timelock, then can be executed until its grace is over.
    Queued,
    /// Done. The end.
    Executed,
    /// Nobody queued or executed it in time. The end.
    Expired,
    /// Withdrawn by its author or stopped by a guardian. The end.
    Cancelled,
}

impl ProposalState {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Defeated | Self::Executed | Self::Expired | Self::Cancelled
        )
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Draft => "a draft",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Defeated => "defeated",
            Self::Succeeded => "succeeded",
            Self::Queued => "queued",
            Self::Executed => "executed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a proposal says. It never changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// What it is about.
    pub kind: ProposalKind,
    /// 1 to 200 characters, not all of them spaces, and none that is not printed: no control
    /// character, nothing of no width, and nothing that turns the direction of a text.
    pub title: String,
    /// At most 16 KiB. Of characters that are not printed, line feeds and tabs only.
    pub description: String,
    /// What it does, in order: 1 to 16.
    pub actions: Vec<Action>,
}

impl Content {
    /// Most characters of a title.
    pub const TITLE_CHARS_MAX: usize = 200;
    /// Most bytes of a description.
    pub const DESCRIPTION_BYTES_MAX: usize = 16 << 10;
    /// Most actions.
    pub const ACTIONS_MAX: usize = 16;

    /// Checks what can be seen from the content alone.
    ///
    /// # Errors
    /// [`DaoError::TitleEmpty`], [`DaoError::TitleTooLong`], [`DaoError::DescriptionTooLong`],
    /// [`DaoError::ControlCharacter`], [`DaoError::NoActions`], [`DaoError::TooManyActions`],
    /// [`DaoError::ActionNotAllowed`].
    pub fn validate(&self) -> Result<(), DaoError> {
        let (actual, limit) = (self.title.chars().count(), Self::TITLE_CHARS_MAX);
        if self.title.trim().is_empty() {
            return Err(DaoError::TitleEmpty);
        }
        if actual > limit {
            return Err(DaoError::TitleTooLong { actual, limit });
        }
        let (actual, limit) = (self.description.len(), Self::DESCRIPTION_BYTES_MAX);
        if actual > limit {
            return Err(DaoError::DescriptionTooLong { actual, limit });
        }
        printable(&self.title, |_| false)?;
        printable(&self.description, |found| matches!(found, '\n' | '\t'))?;
        let (actual, limit) = (self.actions.len(), Self::ACTIONS_MAX);
        if actual == 0 {
            return Err(DaoError::NoActions);
        }
        if actual > limit {
            return Err(DaoError::TooManyActions { actual, limit });
        }
        for (index, action) in self.actions.iter().enumerate() {
            if !action.allowed_in(self.kind) {
                return Err(DaoError::ActionNotAllowed {
                    index,
                    action: action.name(),
                    kind: self.kind,
                });
            }
        }
        Ok(())
    }
}

fn printable(text: &str, allowed: impl Fn(char) -> bool) -> Result<(), DaoError> {
    let mut characters = text.char_indices();
    match characters.find(|(_, found)| is_unseen(*found) && !allowed(*found)) {
        Some((position, character)) => Err(DaoError::ControlCharacter {
            position,
            code: u32::from(character),
        }),
        None => Ok(()),
    }
}

/// Whether a character is not printed, or nothing is where it is printed: two texts that differ by it
/// look the same, or one is read in another order than it is written.
///
/// Of Unicode's `Default_Ignorable_Code_Point`, but for selectors of a variation, which belong to the
/// character before them; its `Bidi_Control` and `Cc`; ends of lines and paragraphs; and what is blank
/// without being a space.
///
/// Source: Unicode 16, `DerivedCoreProperties.txt`, `PropList.txt`; UTR 36, §2.
pub(super) fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The rules a proposal is bound by since it was submitted, whatever they become.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Weights count as they were at the end of this millisecond. Voting begins after it.
    pub snapshot: UnixMillis,
    /// The last millisecond to vote in, unless a late quorum moved it.
    pub deadline: UnixMillis,
    /// From the queue to the execution, in milliseconds.
    pub timelock_ms: u64,
    /// How long it may be queued after its deadline, and executed after its timelock.
    pub grace_ms: u64,
    /// The part of all weight that must vote for it or abstain.
    pub quorum: Ppm,
    /// The part of the votes for and against that must be for it.
    pub approval: Ppm,
    /// What is left at least to vote when a vote reaches the quorum, in milliseconds.
    pub late_quorum_ms: u64,
    /// The most that one ballot counts, as a part of all weight.
    pub voter_share_max: Ppm,
    /// How often a voter may change its vote.
    pub vote_changes_max: u32,
    /// How power becomes votes.
    pub weighing: Weighing,
    /// The reputation of whom none was set for.
    pub reputation_default: Ppm,
    /// For [`Weighing::Conviction`].
    pub conviction: Conviction,
}

impl Terms {
    /// The terms of a proposal that is submitted now.
    pub(super) fn new(rules: &Rules, path: &Path, now: UnixMillis) -> Self {
        let snapshot = later(now, path.voting_delay_ms);
        Self {
            snapshot,
            deadline: later(snapshot, path.voting_ms),
            timelock_ms: path.timelock_ms,
            grace_ms: rules.grace_ms,
            quorum: path.quorum,
            approval: path.approval,
            late_quorum_ms: rules.late_quorum_ms,
            voter_share_max: rules.voter_share_max,
            vote_changes_max: rules.vote_changes_max,
            weighing: rules.weighing,
            reputation_default: rules.reputation_default,
            conviction: rules.conviction,
        }
    }

    /// The strategy that votes are counted by.
    #[must_use]
    pub fn strategy(&self) -> &dyn Strategy {
        match self.weighing {
            Weighing::Linear => &Linear,
            Weighing::Reputation => &Reputation,
            Weighing::Quadratic => &Quadratic,
            Weighing::Conviction => &self.conviction,
        }
    }

    /// The power that makes a quorum of that total, rounded up.
    #[must_use]
    pub fn quorum_of(&self, total: Weight) -> Weight {
        let rest = Ppm::millionths(Ppm::WHOLE.get() - self.quorum.get());
        Weight(total.0 - rest.of(Amount(total.0)).0)
    }

    /// The most that one ballot counts of that total, rounded down.
    #[must_use]
    pub fn cap_of(&self, total: Weight) -> Weight {
        Weight(self.voter_share_max.of(Amount(total.0)).0)
    }

    /// Whole periods of conviction from the snapshot to that time.
    fn periods(&self, time: UnixMillis) -> u64 {
        time.0.saturating_sub(self.snapshot.0) / self.conviction.period_ms.max(1)
    }
}

/// A time later; the end of time at most.
pub(super) const fn later(time: UnixMillis, by_ms: u64) -> UnixMillis {
    UnixMillis(time.0.saturating_add(by_ms))
}

/// What came together for each choice.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// [`Choice::Against`].
    pub against: Weight,
    /// [`Choice::For`].
    #[serde(rename = "for")]
    pub in_favor: Weight,
    /// [`Choice::Abstain`].
    pub abstain: Weight,
}

impl Tally {
    /// What came together for a choice.
    #[must_use]
    pub const fn of(&self, choice: Choice) -> Weight {
        match choice {
            Choice::Against => self.against,
            Choice::For => self.in_favor,
            Choice::Abstain => self.abstain,
        }
    }

    pub(super) const fn of_mut(&mut self, choice: Choice) -> &mut Weight {
        match choice {
            Choice::Against => &mut self.against,
            Choice::For => &mut self.in_favor,
            Choice::Abstain => &mut self.abstain,
        }
    }

    /// Whether for and abstain together make that quorum.
    #[must_use]
    pub const fn reaches(&self, quorum: Weight) -> bool {
        // Together they are at most the weight there is.
        self.in_favor.0.saturating_add(self.abstain.0) >= quorum.0
    }

    /// Whether it is approved: more for than against, and that part of both for it.
    #[must_use]
    pub fn approves(&self, approval: Ppm) -> bool {
        let (yes, no) = (U256::from(self.in_favor.0), U256::from(self.against.0));
        yes > no && yes * U256::from(Ppm::WHOLE.get()) >= (yes + no) * U256::from(approval.get())
    }
}

/// How far a proposal has been taken by what was done, whatever the time is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Not submitted.
    Draft,
    /// Submitted.
    Submitted,
    /// Queued.
    Queued {
        /// When it may be executed.
        eta: UnixMillis,
    },
    /// Executed.
    Executed {
        /// When.
        time: UnixMillis,
    },
    /// Cancelled.
    Cancelled {
        /// When.
        time: UnixMillis,
        /// By whom.
        by: AccountId,
    },
}

/// A proposal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Who made it.
    pub author: AccountId,
    /// What it says.
    #[serde(with = "shared")]
    pub content: Arc<Content>,
    /// How far it was taken.
    pub stage: Stage,
    /// The rules it is bound by, once it was submitted.
    pub terms: Option<Terms>,
    /// The last millisecond to vote in: that of the terms, or later. Zero for a draft.
    pub deadline: UnixMillis,
    /// The power of its ballots.
    pub power: Tally,
    /// The votes of its ballots as they stand.
    pub(crate) votes: Tally,
    /// What they had come to in the period `settled`.
    pub(crate) charged: Tally,
    /// Periods of conviction since the snapshot that `charged` counts.
    pub(crate) settled: u64,
}

impl Proposal {
    pub(super) fn new(author: AccountId, content: Arc<Content>, terms: Option<Terms>) -> Self {
        Self {
            author,
            content,
            stage: terms.map_or(Stage::Draft, |_| Stage::Submitted),
            deadline: terms.map_or(UnixMillis(0), |terms| terms.deadline),
            terms,
            power: Tally::default(),
            votes: Tally::default(),
            charged: Tally::default(),
            settled: 0,
        }
    }

    /// What decides approval: the votes by the proposal's strategy at that time, or at its deadline
    /// if that is past.
    #[must_use]
    pub fn votes(&self, now: UnixMillis) -> Tally {
        let Some(terms) = &self.terms else {
            return Tally::default();
        };
        let periods = terms.periods(now.min(self.deadline)) - self.settled_by(terms, now);
        let mut votes = Tally::default();
        for choice in Choice::ALL {
            let (before, stand) = (self.charged.of(choice), self.votes.of(choice));
            *votes.of_mut(choice) = terms.strategy().settled(before, stand, periods);
        }
        votes
    }

    /// Asked about a time before the last vote, nothing has passed since.
    fn settled_by(&self, terms: &Terms, now: UnixMillis) -> u64 {
        self.settled.min(terms.periods(now.min(self.deadline)))
    }

    /// Settles what the votes have come to before they change.
    pub(super) fn settle(&mut self, terms: &Terms, now: UnixMillis) {
        self.charged = self.votes(now);
        self.settled = terms.periods(now.min(self.deadline));
    }

    /// Counts a ballot for a choice or, `counted` being false, no longer.
    pub(super) fn count(&mut self, ballot: &Ballot, counted: bool) {
        for (tally, weight) in [
            (&mut self.power, ballot.counted),
            (&mut self.votes, ballot.votes),
        ] {
            let sum = tally.of_mut(ballot.choice);
            // Ballots together are at most the weight there is; what is taken off was put there.
            sum.0 = if counted {
                sum.0.saturating_add(weight.0)
            } else {
                sum.0.saturating_sub(weight.0)
            };
        }
    }

    /// Where it is at that time, `total` being all weight at its snapshot.
    pub(super) fn state(&self, now: UnixMillis, total: impl FnOnce() -> Weight) -> ProposalState {
        let terms = match (&self.stage, &self.terms) {
            (Stage::Executed { .. }, _) => return ProposalState::Executed,
            (Stage::Cancelled { .. }, _) => return ProposalState::Cancelled,
            (Stage::Queued { eta }, Some(terms)) => {
                return if now > later(*eta, terms.grace_ms) {
                    ProposalState::Expired
                } else {
                    ProposalState::Queued
                };
            }
            (_, None) => return ProposalState::Draft,
            (_, Some(terms)) => terms,
        };
        if now <= terms.snapshot {
            ProposalState::Pending
        } else if now <= self.deadline {
            ProposalState::Active
        } else if !self.passes(terms, total()) {
            ProposalState::Defeated
        } else if now > later(self.deadline, terms.grace_ms) {
            ProposalState::Expired
        } else {
            ProposalState::Succeeded
        }
    }

    fn passes(&self, terms: &Terms, total: Weight) -> bool {
        self.power.reaches(terms.quorum_of(total))
            && self.votes(self.deadline).approves(terms.approval)
    }
}

/// What a voter has said about a proposal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ballot {
    /// What it says.
    pub choice: Choice,
    /// All power it carries: the voter's own and what was delegated, but for what others took back
    /// by voting themselves.
    pub power: Weight,
    /// The power that counts: no more than [`Terms::cap_of`].
    pub counted: Weight,
    /// The votes that makes.
    pub votes: Weight,
    /// How often it was changed.
    pub changes: u32,
}

mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Content;

    pub(super) fn serialize<S: Serializer>(
        content: &Arc<Content>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Content::serialize(content, to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<Content>, D::Error> {
        Content::deserialize(from).map(Arc::new)
    }
}
