//! Their side: the contracts, asked for the same operations.

use revm::primitives::U256;

use crate::{ACCOUNTS, Contracts, Peer, PeerError, Settings, Step};

/// The value that every proposal sets the box to.
const VALUE: u64 = 1;

/// The contracts, and what they number proposals by.
pub struct Theirs {
    peer: Peer,
    ids: Vec<U256>,
}

impl Theirs {
    /// A governance with those settings in which everybody has nothing and keeps its votes.
    ///
    /// # Errors
    /// Any [`PeerError`].
    pub fn new(contracts: &Contracts, settings: Settings, now: u64) -> Result<Self, PeerError> {
        let mut peer = Peer::deploy(contracts, settings, now)?;
        for number in 1..=ACCOUNTS {
            peer.delegate(number, number)?;
        }
        let ids = Vec::new();
        Ok(Self { peer, ids })
    }

    /// The contracts.
    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// The contract's own number of a proposal. One that nobody made has a number of nothing.
    #[must_use]
    pub fn id(&self, proposal: u64) -> U256 {
        let place = usize::try_from(proposal).ok();
        let id = place.and_then(|place| self.ids.get(place));
        id.copied().unwrap_or(U256::from(1))
    }

    /// Does an operation.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn take(&mut self, step: Step) -> Result<(), PeerError> {
        match step {
            Step::Mint { to, amount } => self.peer.mint(to, amount),
            Step::Burn { from, amount } => self.peer.burn(from, amount),
            Step::Transfer { from, to, amount } => self.peer.transfer(from, to, amount),
            Step::Delegate { from, to } => self.peer.delegate(from, to),
            Step::Propose { by, proposal } => {
                let id = self.peer.propose(by, VALUE, proposal)?;
                self.ids.push(id);
                Ok(())
            }
            Step::Vote {
                by,
                proposal,
                support,
            } => {
                let id = self.id(proposal);
                self.peer.vote(by, id, support).map(drop)
            }
            Step::Queue { proposal } => self.peer.queue(VALUE, proposal),
            Step::Execute { proposal } => self.peer.execute(VALUE, proposal),
            Step::Cancel { by, proposal } => self.peer.cancel(by, VALUE, proposal),
            Step::Wait { seconds } => {
                let now = self.peer.now() + seconds;
                self.peer.set_time(now);
                Ok(())
            }
        }
    }
}
