//! A governance of OpenZeppelin's, deployed and spoken to.

use alloy_sol_types::{SolCall, SolError, SolValue, sol};
use revm::context::result::{ExecutionResult, HaltReason, Output};
use revm::context::{BlockEnv, CfgEnv, Journal, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::{Address, Bytes, TxKind, U256, keccak256};
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext, MainnetEvm};
use thiserror::Error;

use crate::Contracts;

sol! {
    function mint(address to, uint256 amount);
    function burn(address from, uint256 amount);
    function transfer(address to, uint256 amount) returns (bool);
    function delegate(address to);
    function getVotes(address account) returns (uint256);
    function getPastVotes(address account, uint256 time) returns (uint256);
    function getPastTotalSupply(uint256 time) returns (uint256);
    function propose(address[] targets, uint256[] values, bytes[] data, string description)
        returns (uint256);
    function castVote(uint256 id, uint8 support) returns (uint256);
    function queue(address[] targets, uint256[] values, bytes[] data, bytes32 description)
        returns (uint256);
    function execute(address[] targets, uint256[] values, bytes[] data, bytes32 description)
        returns (uint256);
    function cancel(address[] targets, uint256[] values, bytes[] data, bytes32 description)
        returns (uint256);
    function state(uint256 id) returns (uint8);
    function proposalVotes(uint256 id) returns (uint256 against, uint256 inFavour, uint256 abstain);
    function proposalDeadline(uint256 id) returns (uint256);
    function proposalEta(uint256 id) returns (uint256);
    function set(uint256 to);
    function value() returns (uint256);
    function grantRole(bytes32 role, address to);

    error GovernorNonexistentProposal(uint256 id);
    error GovernorUnexpectedProposalState(uint256 id, uint8 current, bytes32 expected);
    error GovernorInsufficientProposerVotes(address proposer, uint256 votes, uint256 threshold);
    error GovernorInvalidVoteType();
    error GovernorAlreadyCastVote(address voter);
    error GovernorUnableToCancel(uint256 id, address account);
    error TimelockUnexpectedOperationState(bytes32 id, bytes32 expected);
    error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
    error ERC5805FutureLookup(uint256 time, uint48 clock);
    error Error(string reason);
}

type Machine =
    MainnetEvm<Context<BlockEnv, TxEnv, CfgEnv, CacheDB<EmptyDB>, Journal<CacheDB<EmptyDB>>, ()>>;

/// Plenty: a block's limit is not what is compared.
const GAS: u64 = 30_000_000;

/// The numbers of a governance. Times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From the proposal to its snapshot.
    pub voting_delay: u64,
    /// From the snapshot to the deadline.
    pub voting_period: u32,
    /// Votes a proposer needs.
    pub proposal_threshold: u128,
    /// Per cent of the supply.
    pub quorum_percent: u8,
    /// What is left to vote at least once the quorum is reached.
    pub late_quorum_extension: u64,
    /// From the queue to the execution.
    pub timelock: u64,
}

/// Where a proposal is, in the contract's order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the contract's own names")]
pub enum State {
    Pending,
    Active,
    Canceled,
    Defeated,
    Succeeded,
    Queued,
    Expired,
    Executed,
}

/// What is voted, in the contract's order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the contract's own names")]
pub enum Support {
    Against,
    For,
    Abstain,
}

/// The votes on a proposal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the contract's own names")]
pub struct Tally {
    pub against: u128,
    pub in_favour: u128,
    pub abstain: u128,
}

/// Why a call was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PeerError {
    /// A contract reverted with an error of its own.
    #[error("the contract refused: {name}")]
    Refused {
        /// Its name in Solidity.
        name: &'static str,
    },
    /// A contract reverted with an error that is not listed here.
    #[error("the contract refused with {selector}")]
    Unlisted {
        /// The first four bytes in hexadecimal, or nothing.
        selector: String,
    },
    /// The machine gave up, or answered what it should not.
    #[error("the machine failed: {what}")]
    Machine {
        /// How.
        what: String,
    },
}

/// A token, a governor and a timelock, and a box that proposals change.
pub struct Peer {
    machine: Machine,
    token: Address,
    governor: Address,
    target: Address,
    now: u64,
}

/// A proposal to set the box.
struct Action {
    targets: Vec<Address>,
    values: Vec<U256>,
    data: Vec<Bytes>,
    description: String,
}

impl Peer {
    /// Deploys a governance whose first block is at that second.
    ///
    /// # Errors
    /// [`PeerError`], if the contracts are not those of this crate.
    pub fn deploy(contracts: &Contracts, settings: Settings, now: u64) -> Result<Self, PeerError> {
        let machine = Context::mainnet()
            .with_db(CacheDB::new(EmptyDB::default()))
            .modify_cfg_chained(|cfg| {
                cfg.disable_nonce_check = true;
                cfg.tx_gas_limit_cap = Some(u64::MAX);
            })
            .build_mainnet();
        let mut peer = Self {
            machine,
            token: Address::ZERO,
            governor: Address::ZERO,
            target: Address::ZERO,
            now,
        };
        peer.set_time(now);
        let admin = account(u64::MAX);
        peer.token = peer.create(admin, &contracts.token, &[])?;
        // The zero address as executor: anybody may execute what is ready.
        let nobody = Vec::<Address>::new();
        let lock = (
            U256::from(settings.timelock),
            nobody,
            vec![Address::ZERO],
            admin,
        );
        let lock = peer.create(admin, &contracts.timelock, &lock.abi_encode_params())?;
        let arguments = (
            peer.token,
            lock,
            U256::from(settings.voting_delay),
            U256::from(settings.voting_period),
            U256::from(settings.proposal_threshold),
            U256::from(settings.quorum_percent),
            U256::from(settings.late_quorum_extension),
        );
        peer.governor = peer.create(admin, &contracts.governor, &arguments.abi_encode_params())?;
        peer.target = peer.create(admin, &contracts.target, &(lock,).abi_encode_params())?;
        for role in ["PROPOSER_ROLE", "CANCELLER_ROLE"] {
            let (role, to) = (keccak256(role), peer.governor);
            peer.send(admin, lock, &grantRoleCall { role, to })?;
        }
        Ok(peer)
    }

    /// Moves the clock of the block.
    pub fn set_time(&mut self, now: u64) {
        self.now = now;
        self.machine.ctx.block.timestamp = U256::from(now);
    }

    /// The second of the block.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Makes tokens.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn mint(&mut self, to: u64, amount: u128) -> Result<(), PeerError> {
        let (to, amount) = (account(to), U256::from(amount));
        self.send(account(0), self.token, &mintCall { to, amount })
            .map(drop)
    }

    /// Destroys tokens.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn burn(&mut self, from: u64, amount: u128) -> Result<(), PeerError> {
        let (from, amount) = (account(from), U256::from(amount));
        self.send(account(0), self.token, &burnCall { from, amount })
            .map(drop)
    }

    /// Pays tokens.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn transfer(&mut self, from: u64, to: u64, amount: u128) -> Result<(), PeerError> {
        let (to, amount) = (account(to), U256::from(amount));
        self.send(account(from), self.token, &transferCall { to, amount })
            .map(drop)
    }

    /// Delegates all votes to an account.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn delegate(&mut self, from: u64, to: u64) -> Result<(), PeerError> {
        let to = account(to);
        self.send(account(from), self.token, &delegateCall { to })
            .map(drop)
    }

    /// The votes of an account now.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn votes(&mut self, of: u64) -> Result<u128, PeerError> {
        let number = self.send(
            account(0),
            self.token,
            &getVotesCall {
                account: account(of),
            },
        )?;
        small(number)
    }

    /// The votes of an account at the end of a past second.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn past_votes(&mut self, of: u64, time: u64) -> Result<u128, PeerError> {
        let call = getPastVotesCall {
            account: account(of),
            time: U256::from(time),
        };
        let number = self.send(account(0), self.token, &call)?;
        small(number)
    }

    /// The supply at the end of a past second.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn past_supply(&mut self, time: u64) -> Result<u128, PeerError> {
        let time = U256::from(time);
        let number = self.send(account(0), self.token, &getPastTotalSupplyCall { time })?;
        small(number)
    }

    /// Proposes to set the box to a value; `salt` tells proposals of the same value apart.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn propose(&mut self, by: u64, value: u64, salt: u64) -> Result<U256, PeerError> {
        let Action {
            targets,
            values,
            data,
            description,
        } = self.action(value, salt);
        let call = proposeCall {
            targets,
            values,
            data,
            description,
        };
        self.send(account(by), self.governor, &call)
    }

    /// Votes.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn vote(&mut self, by: u64, id: U256, support: Support) -> Result<u128, PeerError> {
        let support = support as u8;
        let weight = self.send(account(by), self.governor, &castVoteCall { id, support })?;
        small(weight)
    }

    /// Puts a proposal that succeeded into the timelock.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn queue(&mut self, value: u64, salt: u64) -> Result<(), PeerError> {
        let (targets, values, data, description) = self.action(value, salt).hashed();
        let call = queueCall {
            targets,
            values,
            data,
            description,
        };
        self.send(account(0), self.governor, &call).map(drop)
    }

    /// Does what a proposal says.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn execute(&mut self, value: u64, salt: u64) -> Result<(), PeerError> {
        let (targets, values, data, description) = self.action(value, salt).hashed();
        let call = executeCall {
            targets,
            values,
            data,
            description,
        };
        self.send(account(0), self.governor, &call).map(drop)
    }

    /// Takes a proposal back.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn cancel(&mut self, by: u64, value: u64, salt: u64) -> Result<(), PeerError> {
        let (targets, values, data, description) = self.action(value, salt).hashed();
        let call = cancelCall {
            targets,
            values,
            data,
            description,
        };
        self.send(account(by), self.governor, &call).map(drop)
    }

    /// Where a proposal is.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn state(&mut self, id: U256) -> Result<State, PeerError> {
        let state = self.send(account(0), self.governor, &stateCall { id })?;
        [
            State::Pending,
            State::Active,
            State::Canceled,
            State::Defeated,
            State::Succeeded,
            State::Queued,
            State::Expired,
            State::Executed,
        ]
        .get(usize::from(state))
        .copied()
        .ok_or_else(|| PeerError::Machine {
            what: format!("state {state}"),
        })
    }

    /// The votes on a proposal.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn tally(&mut self, id: U256) -> Result<Tally, PeerError> {
        let tally = self.send(account(0), self.governor, &proposalVotesCall { id })?;
        Ok(Tally {
            against: small(tally.against)?,
            in_favour: small(tally.inFavour)?,
            abstain: small(tally.abstain)?,
        })
    }

    /// The last second in which a vote counts.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn deadline(&mut self, id: U256) -> Result<u128, PeerError> {
        let deadline = self.send(account(0), self.governor, &proposalDeadlineCall { id })?;
        small(deadline)
    }

    /// The first second in which it may be executed; 0 if it is not queued.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn eta(&mut self, id: U256) -> Result<u128, PeerError> {
        let eta = self.send(account(0), self.governor, &proposalEtaCall { id })?;
        small(eta)
    }

    /// What is in the box.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn boxed(&mut self) -> Result<u128, PeerError> {
        let value = self.send(account(0), self.target, &valueCall {})?;
        small(value)
    }

    fn action(&self, value: u64, salt: u64) -> Action {
        let to = U256::from(value);
        Action {
            targets: vec![self.target],
            values: vec![U256::ZERO],
            data: vec![setCall { to }.abi_encode().into()],
            description: format!("set the box to {value}, {salt}"),
        }
    }

    fn create(&mut self, by: Address, code: &Bytes, args: &[u8]) -> Result<Address, PeerError> {
        let data = [code.as_ref(), args].concat();
        match self.transact(by, TxKind::Create, data)? {
            Output::Create(_, Some(address)) => Ok(address),
            other => Err(PeerError::Machine {
                what: format!("no contract: {other:?}"),
            }),
        }
    }

    fn send<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        call: &C,
    ) -> Result<C::Return, PeerError> {
        let output = self.transact(from, TxKind::Call(to), call.abi_encode())?;
        C::abi_decode_returns(output.data()).map_err(|error| PeerError::Machine {
            what: error.to_string(),
        })
    }

    fn transact(&mut self, by: Address, to: TxKind, data: Vec<u8>) -> Result<Output, PeerError> {
        let transaction = TxEnv::builder()
            .caller(by)
            .kind(to)
            .data(data.into())
            .gas_limit(GAS)
            .gas_price(0)
            .value(U256::ZERO)
            .build()
            .map_err(|error| PeerError::Machine {
                what: format!("{error:?}"),
            })?;
        let result = self.machine.transact_commit(transaction);
        match result.map_err(|error| PeerError::Machine {
            what: error.to_string(),
        })? {
            ExecutionResult::Success { output, .. } => Ok(output),
            ExecutionResult::Revert { output, .. } => Err(refused(&output)),
            ExecutionResult::Halt { reason, .. } => Err(halted(&reason)),
        }
    }
}

impl Action {
    fn hashed(self) -> (Vec<Address>, Vec<U256>, Vec<Bytes>, revm::primitives::B256) {
        let hash = keccak256(self.description);
        (self.targets, self.values, self.data, hash)
    }
}

fn halted(reason: &HaltReason) -> PeerError {
    PeerError::Machine {
        what: format!("{reason:?}"),
    }
}

fn refused(output: &[u8]) -> PeerError {
    let Some(selector) = output.first_chunk::<4>() else {
        return PeerError::Unlisted {
            selector: String::new(),
        };
    };
    let known = [
        (
            GovernorNonexistentProposal::SELECTOR,
            "GovernorNonexistentProposal",
        ),
        (
            GovernorUnexpectedProposalState::SELECTOR,
            "GovernorUnexpectedProposalState",
        ),
        (
            GovernorInsufficientProposerVotes::SELECTOR,
            "GovernorInsufficientProposerVotes",
        ),
        (GovernorInvalidVoteType::SELECTOR, "GovernorInvalidVoteType"),
        (GovernorAlreadyCastVote::SELECTOR, "GovernorAlreadyCastVote"),
        (GovernorUnableToCancel::SELECTOR, "GovernorUnableToCancel"),
        (
            TimelockUnexpectedOperationState::SELECTOR,
            "TimelockUnexpectedOperationState",
        ),
        (
            ERC20InsufficientBalance::SELECTOR,
            "ERC20InsufficientBalance",
        ),
        (ERC5805FutureLookup::SELECTOR, "ERC5805FutureLookup"),
        (Error::SELECTOR, "Error"),
    ];
    match known.iter().find(|(known, _)| known == selector) {
        Some((_, name)) => PeerError::Refused { name },
        None => PeerError::Unlisted {
            selector: revm::primitives::hex::encode(selector),
        },
    }
}

/// The address of an account; not one of those that the machine itself answers at.
fn account(number: u64) -> Address {
    let mut bytes = [0xfc; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Address::from(bytes)
}

fn small(number: U256) -> Result<u128, PeerError> {
    u128::try_from(number).map_err(|_| PeerError::Machine {
        what: format!("{number} does not fit 128 bits"),
    })
}
