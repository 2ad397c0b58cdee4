//! `fogcompute dao`: proposals, votes and delegations on a ledger file.

mod arguments;
mod content;
mod error;
mod show;
mod simulate;

use std::path::Path;

use fogcompute_base::{AccountId, Clock, CryptoRng, TransferId, UnixMillis};
use fogcompute_ledger::dao::{Holder, Operation as Asked, Part};
use fogcompute_ledger::economy::{Economy, Request};
use fogcompute_ledger::{LedgerError, Operation, PublicKey, SignedBatch};
use fogcompute_store::{SqliteLedger, StoreError};

use crate::ledger::proof::{read_key, signing_key};
use crate::ledger::{Said, carry_out, existing};
pub(crate) use arguments::DaoCommand;
use arguments::{
    DaoFile, EstablishArguments, FoundArguments, Named, OwnArguments, ProposeArguments, Signing,
};
pub(crate) use error::DaoCommandError;

/// How long a signature of the command is worth anything: it is used at once.
const SIGNED_FOR_MS: u64 = 60_000;

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
        DaoCommand::Vote(arguments) => {
            let asked = Asked::Vote {
                voter: arguments.voter,
                proposal: arguments.proposal,
                choice: arguments.choice.into(),
            };
            ask(&arguments.dao, &arguments.signing, asked, clock, rng)
        }
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
    said.print(command.json()).map_err(DaoCommandError::output)
}

/// The time a command takes place at.
fn now(dao: &DaoFile, clock: &dyn Clock) -> UnixMillis {
    dao.at.unwrap_or_else(|| clock.unix_now())
}

/// Opens a ledger that has an economy, to look at it: no earlier than it was changed last.
fn see(dao: &DaoFile, clock: &dyn Clock) -> Result<Seen, DaoCommandError> {
    let ledger = existing(&dao.file)?;
    if ledger.state().economy().is_none() {
        let path = dao.file.clone();
        return Err(DaoCommandError::NoEconomy { path });
    }
    let now = now(dao, clock).max(ledger.state().dao().clock());
    Ok(Seen { ledger, now })
}

fn drawn(given: Option<TransferId>, rng: &mut impl CryptoRng) -> TransferId {
    given.unwrap_or_else(|| {
        let mut bytes = [0; TransferId::LEN];
        rng.fill_bytes(&mut bytes);
        TransferId::from_bytes(bytes)
    })
}

/// Asks for something as whoever may write the file.
fn request_of_host(
    dao: &DaoFile,
    named: &Named,
    request: Request,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let operation = Operation::Economy {
        id: drawn(named.id, rng),
        request: Box::new(request),
    };
    Ok(carry_out(&dao.file, now(dao, clock), |ledger, now| {
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
    let (Some(key), Some(account)) = (&signing.key, asked.actor()) else {
        let request = Request::Governance(asked);
        return request_of_host(dao, &signing.named, request, clock, rng);
    };
    let secret = read_key(key)?;
    let operation = Operation::Economy {
        id: drawn(signing.named.id, rng),
        request: Box::new(Request::Governance(asked)),
    };
    Ok(carry_out(&dao.file, now(dao, clock), |ledger, now| {
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
    let request = Request::Configure(economy);
    request_of_host(&arguments.dao, &arguments.named, request, clock, rng)
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
    // Looked at before a key is made, which would be made for nothing.
    known(&arguments.dao.file, arguments.account)?;
    let secret = signing_key(&arguments.key, rng)?;
    let operation = Operation::Own {
        id: drawn(arguments.named.id, rng),
        account: arguments.account,
        key: PublicKey::of(&secret),
    };
    let now = now(&arguments.dao, clock);
    Ok(carry_out(&arguments.dao.file, now, |ledger, now| {
        ledger.execute(&[operation], now)
    })?)
}

fn known(path: &Path, account: AccountId) -> Result<(), DaoCommandError> {
    let ledger = existing(path)?;
    if ledger.account(account).is_some() {
        return Ok(());
    }
    let sequence = ledger.state().head().sequence;
    Err(crate::ledger::LedgerCommandError::UnknownAccount { account, sequence }.into())
}

fn propose(
    arguments: &ProposeArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, DaoCommandError> {
    let content = content::content(&arguments.content)?;
    let (author, proposal) = (arguments.author, drawn(arguments.proposal, rng));
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
