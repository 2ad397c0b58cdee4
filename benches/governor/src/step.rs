//! Random operations that both sides understand.

use fogcompute_ledger::dao::ProposalState;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::{Ours, Support};

/// Accounts from 1 to this one take part.
pub const ACCOUNTS: u64 = 7;
/// Accounts 1 and 2 keep their votes; the others delegate to one of them or to themselves.
const DELEGATES: u64 = 2;

/// An operation. Amounts are tokens, proposals are numbered as they are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words of the token and the governor")]
pub enum Step {
    Mint {
        to: u64,
        amount: u128,
    },
    Burn {
        from: u64,
        amount: u128,
    },
    Transfer {
        from: u64,
        to: u64,
        amount: u128,
    },
    Delegate {
        from: u64,
        to: u64,
    },
    Propose {
        by: u64,
        proposal: u64,
    },
    Vote {
        by: u64,
        proposal: u64,
        support: Support,
    },
    Queue {
        proposal: u64,
    },
    Execute {
        proposal: u64,
    },
    Cancel {
        by: u64,
        proposal: u64,
    },
    Wait {
        seconds: u64,
    },
}

/// Draws operations.
#[derive(Clone, Debug)]
pub struct Steps(ChaCha12Rng);

impl Steps {
    /// The same seed draws the same for the same governance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    /// The next operation, in so far as both mean the same by it.
    pub fn next(&mut self, ours: &Ours) -> Step {
        loop {
            if let Some(step) = self.draw(ours) {
                return step;
            }
        }
    }

    fn draw(&mut self, ours: &Ours) -> Option<Step> {
        let (a, b) = (self.below(ACCOUNTS) + 1, self.below(ACCOUNTS) + 1);
        // The quorum is then a whole number, which one rounds down and the other up.
        let amount = u128::from(self.below(12)) * 10;
        let made = ours.proposals();
        let kind = self.below(24);
        // Mostly one that the operation is for; now and then any, or one that nobody made.
        let fit = match kind {
            10..=16 => ours.in_state(ProposalState::Active),
            17 => ours.in_state(ProposalState::Succeeded),
            18 => ours.in_state(ProposalState::Queued),
            19 => ours.in_state(ProposalState::Pending),
            _ => Vec::new(),
        };
        let any = self.below(made + 2);
        let fitting = match fit.len() as u64 {
            0 => None,
            count => fit.get(self.below(count) as usize).copied(),
        };
        let proposal = match self.below(4) {
            0 => any,
            _ => fitting.unwrap_or(any),
        };
        Some(match kind {
            0 | 1 => Step::Mint { to: a, amount },
            2 => Step::Burn { from: a, amount },
            3..=5 => Step::Transfer {
                from: a,
                to: b,
                amount,
            },
            6 | 7 if a > DELEGATES => {
                let to = if b > DELEGATES { a } else { b };
                Step::Delegate { from: a, to }
            }
            8 | 9 => Step::Propose {
                by: a,
                proposal: if b == 1 { any.min(made) } else { made },
            },
            10..=16 => {
                // There a vote of nothing counts as one; here it is refused, unless it takes a
                // delegation back.
                if !ours.has_votes(a, proposal) {
                    return None;
                }
                let support = match b % 5 {
                    0 => Support::Against,
                    1 => Support::Abstain,
                    _ => Support::For,
                };
                Step::Vote {
                    by: a,
                    proposal,
                    support,
                }
            }
            17 => Step::Queue { proposal },
            18 => Step::Execute { proposal },
            19 => Step::Cancel {
                by: ours.author(proposal).filter(|_| b < 4).unwrap_or(a),
                proposal,
            },
            20..=23 => Step::Wait {
                seconds: self.below(5),
            },
            _ => return None,
        })
    }
}
