//! The arguments of `fogcompute dao`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::dao::{Choice, ProposalKind, ProposalState, Role, Scope};
use fogcompute_ledger::economy::{Economy, Unit};
use fogcompute_ledger::{Amount, Ppm};
use serde::de::DeserializeOwned;

use super::simulate::SimulateArguments;
use crate::ledger::text::{credits, moment};
use crate::ledger::{Named, Patience};

#[derive(Debug, Subcommand)]
pub(crate) enum DaoCommand {
    /// Give a ledger its rules: the economy, with the numbers of governance among them.
    ///
    /// The first supply is minted into the treasury. Until roles are established, whoever can write
    /// the file may pay from there, and found --again with other numbers.
    Found(FoundArguments),
    /// Give the founding roles, once. From then on, rules and treasury are decided about by votes.
    Establish(EstablishArguments),
    /// Register the key that signs for an account; asked by whoever can write the file.
    Own(OwnArguments),
    /// Let an account vote with what it has from now on.
    Enrol(EnrolArguments),
    /// Submit a proposal, or keep it as a draft.
    Propose(Box<ProposeArguments>),
    /// Submit a draft.
    Submit(SubmitArguments),
    /// Vote, or change a vote.
    Vote(VoteArguments),
    /// Delegate votes, in place of what was delegated before on those topics; to nobody, revoke.
    Delegate(DelegateArguments),
    /// Cancel a proposal: its author may, a guardian and a king.
    Cancel(CancelArguments),
    /// Start the timelock of a proposal that has passed. Anybody may.
    Queue(StepArguments),
    /// Do what a proposal says, all or nothing, once its timelock is over. Anybody may.
    Execute(StepArguments),
    /// Print the proposals.
    List(ListArguments),
    /// Print a proposal: what it says, where it is, and what was voted.
    Show(ShowArguments),
    /// Print what an account weighs and delegates, and whom it votes for.
    Power(PowerArguments),
    /// Try the rules on a distribution of stakes: how often a quorum is reached, and what it takes
    /// to decide alone.
    Simulate(SimulateArguments),
}

#[derive(Args, Debug)]
pub(crate) struct DaoFile {
    /// The ledger.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Print one JSON object.
    ///
    /// Amounts and weights are strings of base units. {"ok": false, "kind": …, "error": …} says what
    /// went wrong. Kinds are those of `fogcompute ledger`, and no_economy, no_owner,
    /// unknown_proposal.
    #[arg(long)]
    pub(super) json: bool,
    /// The time it is, if not that of this machine: 2026-11-21, 2026-11-21T12:30:00Z, or
    /// milliseconds since 1970.
    ///
    /// To rehearse: a ledger never goes back to an earlier time, so that one far ahead keeps everybody
    /// waiting for it.
    #[arg(long, value_name = "T", value_parser = time)]
    pub(super) at: Option<UnixMillis>,
    /// Take a --at that is more than 366 days after the last event and this machine's clock.
    #[arg(long, requires = "at")]
    pub(super) far: bool,
    #[command(flatten)]
    pub(super) patience: Patience,
}

/// Who asks.
#[derive(Args, Debug)]
pub(crate) struct Signing {
    #[command(flatten)]
    pub(super) named: Named,
    /// The secret Ed25519 key of the account's owner, 64 hexadecimal digits. Without it the request
    /// is the host's own, which the rules refuse unless dao.signatures_required is 0.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct FoundArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) named: Named,
    /// A number that is not the default, in its unit: dao.quorum=200000. `fogcompute ledger economy`
    /// prints all of them. Given again for each.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(super) set: Vec<(String, u128)>,
    /// Give an economy that is there other numbers: all of them anew, the defaults but for --set.
    #[arg(long)]
    pub(super) again: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EstablishArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) named: Named,
    /// A founding role: delegate, councilor, guardian or king. Given again for each.
    #[arg(long = "role", value_name = "ACCOUNT=ROLE", value_parser = role)]
    pub(super) roles: Vec<(AccountId, Role)>,
}

#[derive(Args, Debug)]
pub(crate) struct OwnArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) named: Named,
    /// The account.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: AccountId,
    /// The secret Ed25519 key, 64 hexadecimal digits; made if the file is not there.
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct EnrolArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// The account.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: AccountId,
}

#[derive(Args, Debug)]
pub(crate) struct ProposeArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// Who proposes.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) author: AccountId,
    /// Names the proposal, for ever: 32 hexadecimal digits of your choice; drawn if it is left out.
    #[arg(long, value_name = "ID")]
    pub(super) proposal: Option<TransferId>,
    /// Keep it as a draft, for `submit`.
    #[arg(long)]
    pub(super) draft: bool,
    #[command(flatten)]
    pub(super) content: ContentArguments,
}

/// What a proposal says: a file, or flags.
#[derive(Args, Debug)]
pub(crate) struct ContentArguments {
    /// All of it: a file whose name ends in .toml or .json, with kind, title, description and
    /// actions.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["kind", "title", "description", "actions"]
    )]
    pub(super) content: Option<PathBuf>,
    /// What it is about: parameter_change, treasury_allocation, protocol_upgrade, emergency_action,
    /// agent_deployment or general.
    #[arg(
        long,
        value_name = "KIND",
        value_parser = word::<ProposalKind>,
        required_unless_present = "content"
    )]
    pub(super) kind: Option<ProposalKind>,
    /// 1 to 200 characters.
    #[arg(long, value_name = "TEXT", required_unless_present = "content")]
    pub(super) title: Option<String>,
    /// At most 16 KiB.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) description: String,
    #[command(flatten)]
    pub(super) actions: ActionArguments,
}

/// Actions, in the order of these flags. What has no flag here is said by a file.
#[derive(Args, Debug)]
#[group(id = "actions", multiple = true)]
pub(crate) struct ActionArguments {
    /// Set a parameter, in its unit.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(super) set: Vec<(String, u128)>,
    /// Pay credits from the treasury.
    #[arg(long, value_name = "ACCOUNT=CREDITS", value_parser = payment)]
    pub(super) pay: Vec<(AccountId, Amount)>,
    /// Grant a role: delegate, councilor, guardian or king.
    #[arg(long, value_name = "ACCOUNT=ROLE", value_parser = role)]
    pub(super) grant: Vec<(AccountId, Role)>,
    /// Make an account a citizen.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) revoke: Vec<AccountId>,
    /// Stop something: earning, staking, fees or treasury.
    #[arg(long, value_name = "SCOPE", value_parser = word::<Scope>)]
    pub(super) pause: Vec<Scope>,
    /// Let it go on.
    #[arg(long, value_name = "SCOPE", value_parser = word::<Scope>)]
    pub(super) unpause: Vec<Scope>,
    /// Record a resolution: the digest (BLAKE3) of the text in that file.
    #[arg(long, value_name = "FILE")]
    pub(super) resolve: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SubmitArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// Who drafted it.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) author: AccountId,
    /// The draft.
    #[arg(long, value_name = "ID")]
    pub(super) proposal: TransferId,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ChoiceName {
    /// Yes.
    For,
    /// No.
    Against,
    /// Neither; counts for the quorum.
    Abstain,
}

impl From<ChoiceName> for Choice {
    fn from(name: ChoiceName) -> Self {
        match name {
            ChoiceName::For => Self::For,
            ChoiceName::Against => Self::Against,
            ChoiceName::Abstain => Self::Abstain,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct VoteArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// Who votes.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) voter: AccountId,
    /// On what.
    #[arg(long, value_name = "ID")]
    pub(super) proposal: TransferId,
    /// The vote.
    #[arg(value_enum)]
    pub(super) choice: ChoiceName,
}

#[derive(Args, Debug)]
pub(crate) struct DelegateArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// Whose votes they are.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) voter: AccountId,
    /// On what kind of proposals; on all of them if it is left out. Given again for each.
    #[arg(long = "topic", value_name = "KIND", value_parser = word::<ProposalKind>)]
    pub(super) topics: Vec<ProposalKind>,
    /// To whom, and how many millionths of the votes; all of them if that is left out. The rest
    /// stays with the voter. None revokes.
    #[arg(value_name = "ACCOUNT[=PPM]", value_parser = part)]
    pub(super) to: Vec<(AccountId, Ppm)>,
}

#[derive(Args, Debug)]
pub(crate) struct CancelArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// Who cancels.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) by: AccountId,
    /// The proposal.
    #[arg(long, value_name = "ID")]
    pub(super) proposal: TransferId,
}

#[derive(Args, Debug)]
pub(crate) struct StepArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    #[command(flatten)]
    pub(super) named: Named,
    /// The proposal.
    #[arg(long, value_name = "ID")]
    pub(super) proposal: TransferId,
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    /// Only those that are there: draft, pending, active, defeated, succeeded, queued, executed,
    /// expired or cancelled. Given again for each.
    #[arg(long = "state", value_name = "STATE", value_parser = word::<ProposalState>)]
    pub(super) states: Vec<ProposalState>,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    /// The proposal.
    #[arg(value_name = "PROPOSAL")]
    pub(super) proposal: TransferId,
}

#[derive(Args, Debug)]
pub(crate) struct PowerArguments {
    #[command(flatten)]
    pub(super) dao: DaoFile,
    /// The account.
    #[arg(value_name = "ACCOUNT")]
    pub(super) account: AccountId,
    /// As it was at the end of that millisecond: 2026-11-21, 2026-11-21T12:30:00Z, or milliseconds
    /// since 1970.
    #[arg(long, value_name = "T", value_parser = moment)]
    pub(super) at_time: Option<UnixMillis>,
}

impl DaoCommand {
    /// Whether JSON is wanted.
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Found(arguments) => arguments.dao.json,
            Self::Establish(arguments) => arguments.dao.json,
            Self::Own(arguments) => arguments.dao.json,
            Self::Enrol(arguments) => arguments.dao.json,
            Self::Propose(arguments) => arguments.dao.json,
            Self::Submit(arguments) => arguments.dao.json,
            Self::Vote(arguments) => arguments.dao.json,
            Self::Delegate(arguments) => arguments.dao.json,
            Self::Cancel(arguments) => arguments.dao.json,
            Self::Queue(arguments) | Self::Execute(arguments) => arguments.dao.json,
            Self::List(arguments) => arguments.dao.json,
            Self::Show(arguments) => arguments.dao.json,
            Self::Power(arguments) => arguments.dao.json,
            Self::Simulate(arguments) => arguments.json,
        }
    }
}

/// Reads a moment that a ledger can come to.
fn time(text: &str) -> Result<UnixMillis, String> {
    /// The end of the year 9999, the last that is written in four digits.
    const LAST: UnixMillis = UnixMillis(253_402_300_799_999);
    let at = moment(text)?;
    if at > LAST {
        return Err(format!("a ledger's time ends at {LAST}"));
    }
    Ok(at)
}

/// Reads a word as JSON names it.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    let pair = text.split_once('=');
    pair.ok_or_else(|| "there is no = in it".to_owned())
}

fn account(text: &str) -> Result<AccountId, String> {
    text.parse()
        .map_err(|error| format!("{text:?} is no account: {error}"))
}

/// Reads NAME=VALUE, a number of the economy in the unit that people are told it in.
pub(super) fn parameter(text: &str) -> Result<(String, u128), String> {
    let (name, value) = pair(text)?;
    let parameters = Economy::default().parameters();
    let unit = parameters.iter().find(|parameter| parameter.name == name);
    match unit.map(|parameter| parameter.unit) {
        Some(Unit::BaseUnits) => {
            let amount = credits(value).map_err(|error| format!("{value:?}: {error}"))?;
            return Ok((name.to_owned(), amount.0));
        }
        Some(_) => {}
        None => {
            return Err(format!(
                "{name:?} is not a number that every economy has: those of kinds of contributions \
                 are set by a proposal from a file, in base units"
            ));
        }
    }
    let value: Amount = value
        .parse()
        .map_err(|error| format!("{value:?} is no number: {error}"))?;
    Ok((name.to_owned(), value.0))
}

fn role(text: &str) -> Result<(AccountId, Role), String> {
    let (of, role) = pair(text)?;
    Ok((account(of)?, word(role)?))
}

fn payment(text: &str) -> Result<(AccountId, Amount), String> {
    let (to, amount) = pair(text)?;
    let amount = credits(amount).map_err(|error| format!("{amount:?}: {error}"))?;
    Ok((account(to)?, amount))
}

fn part(text: &str) -> Result<(AccountId, Ppm), String> {
    let Some((to, ppm)) = text.split_once('=') else {
        return Ok((account(text)?, Ppm::WHOLE));
    };
    let number = ppm.parse::<u32>().ok();
    let ppm = number.and_then(|number| Ppm::new(number).ok());
    let ppm = ppm.ok_or_else(|| "a part is 0 to 1000000 millionths".to_owned())?;
    Ok((account(to)?, ppm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_with_the_years_of_four_digits() {
        assert_eq!(
            time("9999-12-31").unwrap().to_string(),
            "9999-12-31T00:00:00.000Z"
        );
        for late in ["253402300800000", "18446744073709551615"] {
            let told = "a ledger's time ends at 9999-12-31T23:59:59.999Z";
            assert_eq!(time(late), Err(told.to_owned()));
        }
    }

    #[test]
    fn numbers_are_in_the_unit_they_are_printed_in() {
        let named = |name: &str, value| Ok((name.to_owned(), value));
        let credits = 5 * 10_u128.pow(17);
        assert_eq!(
            parameter("dao.proposal_threshold=0.5"),
            named("dao.proposal_threshold", credits)
        );
        assert_eq!(parameter("dao.quorum=200000"), named("dao.quorum", 200_000));
        for refused in ["dao.quorum=0.5", "dao.proposal_threshold=-1", "none.such=1"] {
            assert!(parameter(refused).is_err(), "{refused}");
        }
    }
}
