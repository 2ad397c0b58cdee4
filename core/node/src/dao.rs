//! `fogcompute dao`: proposals, votes and delegations on a ledger file.

mod arguments;
mod content;
mod error;
mod show;
mod simulate;

use fogcompute_base::{AccountId, Clock, CryptoRng, UnixMillis};
use fogcompute_ledger::dao::{Holder, Operation as Asked, Part};
use fogcompute_ledger::economy::{Economy, Request};
use fogcompute_ledger::{Amount, LedgerError, Operation, PublicKey, SignedBatch};
use fogcompute_store::{SqliteLedger, StoreError};
use serde_json::json;

use crate::ledger::proof::{read_key, signing_key};
use crate::ledger::{LedgerCommandError, Named, Said, carry_out, drawn, existing};
pub(crate) use arguments::DaoCommand;
use arguments::{
    DaoFile, EstablishArguments, FoundArguments, OwnArguments, ProposeArguments, Signing,
    VoteArguments,
};
pub(crate) use error::DaoCommandError;

/// How long a signature of the command is worth anything: it is used at once.
const SIGNED_FOR_MS: u64 = 60_000;

/// How many days a time that is given may be after the last event and the machine's clock.
const AHEAD_DAYS_MAX: u64 = 366;
const DAY_MS: u64 = 86_400_000;

/// A ledger, and when it is looked at.
struct Seen {
    ledger: SqliteLedger,
    now: UnixMillis,
}

/// Carries a command out and says what came of it.
pub(crate) fn run(
    command: &DaoCommand,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<(), DaoCommandError> {
    let said = match command {
        DaoCommand::Found(arguments) => found(arguments, clock, rng),
        DaoCommand::Establish(arguments) => establish(arguments, clock, rng),
        DaoCommand::Own(arguments) => own(arguments, clock, rng),
        DaoCommand::Enrol(arguments) => {
            let account = arguments.account;
            let asked = Asked::Enrol { account };
            ask(&arguments.dao, &arguments.signing, asked, clock, rng)
        }
        DaoCommand::Propose(arguments) => propose(arguments, clock, rng),
        DaoCommand::Submit(arguments) => {
            let (author, proposal) = (arguments.author, arguments.proposal);
            let asked = Asked::Submit { author, proposal };
            ask(&arguments.dao, &arguments.signing, asked, clock, rng)
        }
        DaoCommand::Vote(arguments) => vote(arguments, clock, rng),
        DaoCommand::Delegate(arguments) => {
            let part = |&(to, part)| Part { to, part };
            let asked = Asked::Delegate {
                voter: arguments.voter,
                topics: arguments.topics.clone(),
                to: arguments.to.iter().map(part).collect(),
            };
            ask(&arguments.dao, &arguments.signing, asked, clock, rng)
        }
        DaoCommand::Cancel(arguments) => {
            let (by, proposal) = (arguments.by, arguments.proposal);
            let asked = Asked::Cancel { by, proposal };
            ask(&arguments.dao, &arguments.signing, asked, clock, rng)
        }
        DaoCommand::Queue(arguments) => {
            let proposal = arguments.proposal;
            let request = Request::Governance(Asked::Queue { proposal });
            request_of_host(&arguments.dao, &arguments.named, request, clock, rng)
        }
        DaoCommand::Execute(arguments) => {
            let proposal = arguments.proposal;
            let request = Request::Governance(Asked::Execute { proposal });
            request_of_host(&arguments.dao, &arguments.named, request, clock, rng)
        }
        DaoCommand::List(arguments) => show::list(&see(&arguments.dao, clock)?, arguments),
        DaoCommand::Show(arguments) => show::show(&see(&arguments.dao, clock)?, arguments),
        DaoCommand::Power(arguments) => show::power(&see(&arguments.dao, clock)?, arguments),
        DaoCommand::Simulate(arguments) => simulate::simulate(arguments),
    }?;
    Ok(said.print(command.json())?)
}

fn open(dao: &DaoFile) -> Result<SqliteLedger, DaoCommandError> {
    Ok(existing(&dao.file, dao.patience)?)
}

/// Opens a ledger that has an economy.
fn governed(dao: &DaoFile) -> Result<SqliteLedger, DaoCommandError> {
    let ledger = open(dao)?;
    if ledger.state().economy().is_none() {
        let path = dao.file.clone();
        return Err(DaoCommandError::NoEconomy { path });
    }
    Ok(ledger)
}

/// The time a command takes place at. A mistaken one would keep the ledger waiting for it.
fn now(
    dao: &DaoFile,
    ledger: &SqliteLedger,
    clock: &dyn Clock,
) -> Result<UnixMillis, DaoCommandError> {
    let Some(at) = dao.at else {
        return Ok(clock.unix_now());
    };
    let latest = ledger.state().dao().clock().max(clock.unix_now());
    let ahead = at.0.saturating_sub(latest.0);
    if ahead > AHEAD_DAYS_MAX * DAY_MS && !dao.far {
        return Err(DaoCommandError::FarAhead {
            at,
            latest,
            limit_days: AHEAD_DAYS_MAX,
        });
    }
    Ok(at)
}

/// Opens a ledger that has an economy, to look at it: no earlier than it was changed last.
fn see(dao: &DaoFile, clock: &dyn Clock) -> Result<Seen, DaoCommandError> {
    let ledger = governed(dao)?;
    let last = ledger.state().dao().clock();
    let now = match dao.at {
        Some(at) if at < last => return Err(DaoCommandError::Past { at, last }),
        Some(at) => at,
        None => clock.unix_now().max(last),
    };
    Ok(Seen { ledger, now })
}

/// Asks for something as whoever may write the file.
fn request_of_host(
    dao: &DaoFile,
    named: &Named,
    request: Request,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let mut ledger = governed(dao)?;
    ask_as_host(&mut ledger, dao, named, request, clock, rng)
}

fn ask_as_host(
    ledger: &mut SqliteLedger,
    dao: &DaoFile,
    named: &Named,
    request: Request,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let now = now(dao, ledger, clock)?;
    let operation = Operation::Economy {
        id: drawn(named, rng),
        request: Box::new(request),
    };
    Ok(carry_out(ledger, now, |ledger| {
        ledger.execute(&[operation], now)
    })?)
}

/// Asks for something in the name of an account: signed, if there is a key.
fn ask(
    dao: &DaoFile,
    signing: &Signing,
    asked: Asked,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    ask_of(&mut governed(dao)?, dao, signing, asked, clock, rng)
}

fn ask_of(
    ledger: &mut SqliteLedger,
    dao: &DaoFile,
    signing: &Signing,
    asked: Asked,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let (Some(key), Some(account)) = (&signing.key, asked.actor()) else {
        let request = Request::Governance(asked);
        return ask_as_host(ledger, dao, &signing.named, request, clock, rng);
    };
    let now = now(dao, ledger, clock)?;
    let secret = read_key(key)?;
    let operation = Operation::Economy {
        id: drawn(&signing.named, rng),
        request: Box::new(Request::Governance(asked)),
    };
    Ok(carry_out(ledger, now, |ledger| {
        let nonce = next_nonce(ledger, account)?;
        let expires = UnixMillis(now.0.saturating_add(SIGNED_FOR_MS));
        let batch = SignedBatch::new(account, nonce, expires, vec![operation], &secret);
        ledger.execute_signed(&batch, now)
    })?)
}

/// The number of an account's next signature.
fn next_nonce(ledger: &SqliteLedger, account: AccountId) -> Result<u64, StoreError> {
    let owner = ledger.state().owner(account);
    let owner = owner.ok_or(LedgerError::NoOwner { account })?;
    Ok(owner.nonce.saturating_add(1))
}

fn found(
    arguments: &FoundArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let mut economy = Economy::default();
    for (name, value) in &arguments.set {
        economy.set(name, *value)?;
    }
    let (dao, named) = (&arguments.dao, &arguments.named);
    let mut ledger = open(dao)?;
    let state = ledger.state();
    // Asked once more with the same id, it is answered as it was; governed, the rules refuse it.
    let is_known = named.id.is_some_and(|id| state.sequence_of(id).is_some());
    let resets = state.economy().is_some() && !state.dao().is_established() && !is_known;
    if resets && !arguments.again {
        let path = dao.file.clone();
        return Err(DaoCommandError::Founded { path });
    }
    let request = Request::Configure(economy);
    ask_as_host(&mut ledger, dao, named, request, clock, rng)
}

fn establish(
    arguments: &EstablishArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let holder = |&(account, role)| Holder { account, role };
    let roles = arguments.roles.iter().map(holder).collect();
    let request = Request::Governance(Asked::Establish { roles });
    request_of_host(&arguments.dao, &arguments.named, request, clock, rng)
}

fn own(
    arguments: &OwnArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let (dao, account) = (&arguments.dao, arguments.account);
    let mut ledger = open(dao)?;
    let now = now(dao, &ledger, clock)?;
    // Looked at before a key is made, which would be made for nothing.
    known(&ledger, account)?;
    let secret = signing_key(&arguments.key, rng)?;
    let operation = Operation::Own {
        id: drawn(&arguments.named, rng),
        account,
        key: PublicKey::of(&secret),
    };
    Ok(carry_out(&mut ledger, now, |ledger| {
        ledger.execute(&[operation], now)
    })?)
}

fn known(ledger: &SqliteLedger, account: AccountId) -> Result<(), DaoCommandError> {
    if ledger.account(account).is_some() {
        return Ok(());
    }
    let sequence = ledger.state().head().sequence;
    Err(LedgerCommandError::UnknownAccount { account, sequence }.into())
}

/// Votes, and says what of the power counts.
fn vote(
    arguments: &VoteArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let (voter, proposal) = (arguments.voter, arguments.proposal);
    let asked = Asked::Vote {
        voter,
        proposal,
        choice: arguments.choice.into(),
    };
    let (dao, signing) = (&arguments.dao, &arguments.signing);
    let mut ledger = governed(dao)?;
    let mut said = ask_of(&mut ledger, dao, signing, asked, clock, rng)?;
    // Of a vote that was cast before, the ballot may be another by now.
    let ballot = ledger.state().dao().ballot(proposal, voter);
    if let Some(ballot) = ballot.filter(|_| said.json["replayed"] == json!(false)) {
        said.json["ballot"] = json!(ballot);
        if ballot.counted < ballot.power {
            said.text.push_str(&format!(
                "\npower {} counts, the most that one ballot may",
                Amount(ballot.counted.0).to_credits_string()
            ));
        }
    }
    Ok(said)
}

fn propose(
    arguments: &ProposeArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let content = content::content(&arguments.content)?;
    let (author, proposal) = (
        arguments.author,
        arguments
            .proposal
            .unwrap_or_else(|| drawn(&Named { id: None }, rng)),
    );
    let asked = if arguments.draft {
        Asked::Draft {
            author,
            proposal,
            content,
        }
    } else {
        Asked::Propose {
            author,
            proposal,
            content,
        }
    };
    ask(&arguments.dao, &arguments.signing, asked, clock, rng)
}
