use std::ffi::c_char;

use fogcompute::base::UnixMillis;
use fogcompute::ledger::Purse;
use fogcompute::ledger::earning::Operation as Earn;
use fogcompute::ledger::staking::Operation as Stake;
use fogcompute::{
    Amount, EconomyOperator, EconomyReceipt, EconomyRequest, Error, Evidence, Operation, Ppm,
    Unbonding, Unit,
};

use super::batch::add;
use super::{fog_amount, fog_batch, fog_ledger};
use crate::support::{
    Failure, chars, check_room, fill_items, give_text, guard, optional_result, parsed, reference,
    result, slice, text,
};
use crate::{FOG_ID_SIZE, FOG_NODE_ID_SIZE, fog_status};

/// Size of the word that says what happened in an economy, with its NUL byte.
pub const FOG_ECONOMY_EVENT_SIZE: usize = 32;

/// Size of the name of a parameter, with its NUL byte.
pub const FOG_PARAMETER_NAME_SIZE: usize = 129;

/// What an operator is accused of.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_evidence {
    /// It signed two different results of one task: never an accident.
    DoubleResult = 1,
    /// It signed a result that others proved wrong.
    InvalidResult = 2,
    /// It was not there when it had promised to be.
    Downtime = 3,
}

/// What a parameter is counted in.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_parameter_unit {
    /// Base units of credits.
    BaseUnits = 1,
    /// Millionths.
    Ppm = 2,
    /// Thousandths.
    PerMille = 3,
    /// Milliseconds.
    Milliseconds = 4,
    /// Things.
    Count = 5,
    /// 0 for no, 1 for yes.
    Flag = 6,
}

/// What is so, of a contribution.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fog_fact {
    /// The fact's name.
    pub name: *const c_char,
    /// In thousandths: yes is 1000, a quality of 0.95 is 950.
    pub value: u64,
}

/// What an operation of the economy did. What an event of its kind does not say is empty, zero or
/// false.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_economy_receipt {
    /// Place of its entry in the history, from 1.
    pub sequence: u64,
    /// When it happened, in milliseconds since 1970.
    pub unix_ms: u64,
    /// It was asked for before: nothing happened this time.
    pub replayed: bool,
    /// What happened: "configured", "parameter_set", "registered", "commission_set", "bonded",
    /// "unbonded", "unbonding_cancelled", "redelegated", "claimed", "commission_claimed",
    /// "rewarded", "slashed", "unjailed", "insurance_paid", "earned", "fee_paid"; of governance
    /// "established", "enrolled", "delegated", "reputation_set", "drafted", "submitted", "proposed",
    /// "voted", "cancelled", "queued", "executed". There may be more later.
    pub event: [c_char; FOG_ECONOMY_EVENT_SIZE],
    /// What was staked, left, came back, changed its operator, was claimed or paid out, was granted
    /// for a contribution; all of a reward, of a fee, or that a slash took.
    pub amount: fog_amount,
    /// What the daily limit cut off of a contribution's reward.
    pub cut_by_limit: fog_amount,
    /// Of a reward, the operator's commission.
    pub commission: fog_amount,
    /// Of a reward that no stake had a right to, or of a fee, what went to the treasury.
    pub treasury: fog_amount,
    /// Of a fee, what went to the sovereign fund. The payee has the rest.
    pub sovereign_fund: fog_amount,
    /// Of what a slash took, what the insurance fund has. The rest was burned.
    pub insured: fog_amount,
    /// Number of the unbonding or redelegation, from 1.
    pub entry: u64,
    /// When an unbonding is paid out, and until when a redelegation answers for what its first
    /// operator did, in milliseconds since 1970.
    pub matures_unix_ms: u64,
    /// When a slashed operator may come back, in milliseconds since 1970.
    pub jailed_until_unix_ms: u64,
    /// Whether a slashed operator may never come back.
    pub tombstoned: bool,
    /// The proposal that was drafted, submitted, voted on, cancelled, queued or executed, or empty.
    pub proposal: [c_char; FOG_ID_SIZE],
    /// All power of the ballot that was cast or changed.
    pub power: fog_amount,
    /// The last millisecond to vote in since 1970, of a proposal that was submitted or voted on.
    pub deadline_unix_ms: u64,
    /// When a proposal that was queued may be executed, in milliseconds since 1970.
    pub eta_unix_ms: u64,
}

impl From<EconomyReceipt> for fog_economy_receipt {
    fn from(receipt: EconomyReceipt) -> Self {
        Self {
            sequence: receipt.sequence,
            unix_ms: receipt.time.0,
            replayed: receipt.replayed,
            event: chars(receipt.event),
            amount: receipt.amount.into(),
            cut_by_limit: receipt.cut_by_limit.into(),
            commission: receipt.commission.into(),
            treasury: receipt.treasury.into(),
            sovereign_fund: receipt.sovereign_fund.into(),
            insured: receipt.insured.into(),
            entry: receipt.entry.unwrap_or(0),
            matures_unix_ms: receipt.matures.map_or(0, |time| time.0),
            jailed_until_unix_ms: receipt.jailed_until.map_or(0, |time| time.0),
            tombstoned: receipt.tombstoned,
            proposal: (receipt.proposal)
                .map_or_else(|| chars(""), |proposal| chars(&proposal.to_string())),
            power: receipt.power.into(),
            deadline_unix_ms: receipt.deadline.map_or(0, |time| time.0),
            eta_unix_ms: receipt.eta.map_or(0, |time| time.0),
        }
    }
}

/// A node that may be staked on, as it stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_economy_operator {
    /// The node.
    pub id: [c_char; FOG_NODE_ID_SIZE],
    /// Receives its commission.
    pub account: [c_char; FOG_ID_SIZE],
    /// Its part of every reward, in millionths.
    pub commission_ppm: u32,
    /// When that was set, in milliseconds since 1970.
    pub commission_set_unix_ms: u64,
    /// What is staked on it.
    pub staked: fog_amount,
    /// Rewards that its delegators have not claimed yet, remainders included.
    pub unclaimed: fog_amount,
    /// Its own commission that it has not claimed yet.
    pub commission_due: fog_amount,
    /// Whether it is in jail.
    pub jailed: bool,
    /// When it may come back from there, in milliseconds since 1970.
    pub jailed_until_unix_ms: u64,
    /// Whether it will never come back.
    pub tombstoned: bool,
}

impl From<EconomyOperator> for fog_economy_operator {
    fn from(operator: EconomyOperator) -> Self {
        Self {
            id: chars(&operator.operator.to_string()),
            account: chars(&operator.account.to_string()),
            commission_ppm: operator.commission.get(),
            commission_set_unix_ms: operator.commission_set.0,
            staked: operator.staked.into(),
            unclaimed: operator.unclaimed.into(),
            commission_due: operator.commission_due.into(),
            jailed: operator.jailed_until.is_some(),
            jailed_until_unix_ms: operator.jailed_until.map_or(0, |time| time.0),
            tombstoned: operator.tombstoned,
        }
    }
}

/// What an account has at an operator.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_stake {
    /// What is staked, rounded down.
    pub staked: fog_amount,
    /// What a claim would pay now.
    pub claimable: fog_amount,
    /// How many unbondings are open: fog_economy_unbondings().
    pub unbondings: usize,
}

/// Stake on its way out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_unbonding {
    /// Its number.
    pub entry: u64,
    /// When it began to leave, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// When it will be paid out, in milliseconds since 1970.
    pub matures_unix_ms: u64,
    /// What left, but for what came back.
    pub initial: fog_amount,
    /// What slashes have left of it.
    pub balance: fog_amount,
}

impl From<Unbonding> for fog_unbonding {
    fn from(unbonding: Unbonding) -> Self {
        Self {
            entry: unbonding.entry,
            started_unix_ms: unbonding.started.0,
            matures_unix_ms: unbonding.matures.0,
            initial: unbonding.initial.into(),
            balance: unbonding.balance.into(),
        }
    }
}

/// A number of the economy.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_parameter {
    /// Its name, which never changes: the path of the number in the JSON of the rules, with points
    /// between the parts. An element of a list goes by its `fact`.
    pub name: [c_char; FOG_PARAMETER_NAME_SIZE],
    /// What it is counted in.
    pub unit: fog_parameter_unit,
    /// What it is, in decimal digits.
    pub value: fog_amount,
    /// The least it may be.
    pub min: fog_amount,
    /// The most it may be.
    pub max: fog_amount,
}

impl From<fogcompute::Parameter> for fog_parameter {
    fn from(parameter: fogcompute::Parameter) -> Self {
        Self {
            name: chars(&parameter.name),
            unit: match parameter.unit {
                Unit::BaseUnits => fog_parameter_unit::BaseUnits,
                Unit::Ppm => fog_parameter_unit::Ppm,
                Unit::PerMille => fog_parameter_unit::PerMille,
                Unit::Milliseconds => fog_parameter_unit::Milliseconds,
                Unit::Count => fog_parameter_unit::Count,
                Unit::Flag => fog_parameter_unit::Flag,
            },
            value: Amount(parameter.value).into(),
            min: Amount(parameter.min).into(),
            max: Amount(parameter.max).into(),
        }
    }
}

/// Asks something of the economy and reports what it did.
///
/// # Safety
/// `ledger` is NULL or live, `id` is NULL or a string, `receipt` is NULL or has room.
unsafe fn ask(
    ledger: *const fog_ledger,
    id: *const c_char,
    receipt: *mut fog_economy_receipt,
    request: impl FnOnce() -> Result<EconomyRequest, Failure>,
) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, optional_result(receipt)) };
        // SAFETY: as the caller promises.
        let id = unsafe { parsed(id, "id") }?;
        let done = ledger.0.economy().ask(id, request()?)?;
        if let Some(out) = out {
            out.write(done.into());
        }
        Ok(())
    })
}

/// The step of a batch that asks something of the economy.
///
/// # Safety
/// `id` is NULL or a string.
unsafe fn asked(id: *const c_char, request: EconomyRequest) -> Result<Operation, Failure> {
    Ok(Operation::Economy {
        // SAFETY: as the caller promises.
        id: unsafe { parsed(id, "id") }?,
        request: Box::new(request),
    })
}

/// An amount, or `None` for NULL.
///
/// # Safety
/// The pointer is NULL or a string.
unsafe fn optional(pointer: *const c_char, name: &str) -> Result<Option<Amount>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    unsafe { parsed(pointer, name) }.map(Some)
}

fn part(millionths: u32) -> Result<Ppm, Failure> {
    Ok(Ppm::new(millionths).map_err(Error::Part)?)
}

fn evidence_kind(kind: i32) -> Result<Evidence, Failure> {
    let kind = u8::try_from(kind).ok().and_then(Evidence::from_code);
    kind.ok_or_else(|| Failure::argument("evidence is no fog_evidence"))
}

/// # Safety
/// The pointer is NULL or a string.
unsafe fn configure_request(rules: *const c_char) -> Result<EconomyRequest, Failure> {
    if rules.is_null() {
        return Ok(EconomyRequest::Configure(fogcompute::Economy::default()));
    }
    // SAFETY: as the caller promises.
    let rules = unsafe { text(rules, "rules") }?;
    Ok(EconomyRequest::Configure(fogcompute::economy_from_json(
        rules,
    )?))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn set_parameter_request(
    name: *const c_char,
    value: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    let (name, value): (_, Amount) = unsafe { (text(name, "name")?, parsed(value, "value")?) };
    Ok(EconomyRequest::SetParameter {
        name: name.to_owned(),
        value: value.0,
    })
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn register_operator_request(
    node: *const c_char,
    account: *const c_char,
    commission_ppm: u32,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Register {
            operator: parsed(node, "node")?,
            account: parsed(account, "account")?,
            commission: part(commission_ppm)?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn set_commission_request(
    node: *const c_char,
    commission_ppm: u32,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::SetCommission {
            operator: parsed(node, "node")?,
            commission: part(commission_ppm)?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn bond_request(
    node: *const c_char,
    delegator: *const c_char,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Bond {
            operator: parsed(node, "node")?,
            delegator: parsed(delegator, "delegator")?,
            amount: parsed(amount, "amount")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn unbond_request(
    node: *const c_char,
    delegator: *const c_char,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Unbond {
            operator: parsed(node, "node")?,
            delegator: parsed(delegator, "delegator")?,
            amount: optional(amount, "amount")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn cancel_unbonding_request(
    node: *const c_char,
    delegator: *const c_char,
    entry: u64,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::CancelUnbonding {
            operator: parsed(node, "node")?,
            delegator: parsed(delegator, "delegator")?,
            entry,
            amount: optional(amount, "amount")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn redelegate_request(
    delegator: *const c_char,
    from_operator: *const c_char,
    to_operator: *const c_char,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Redelegate {
            delegator: parsed(delegator, "delegator")?,
            from: parsed(from_operator, "from_operator")?,
            to: parsed(to_operator, "to_operator")?,
            amount: optional(amount, "amount")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn claim_request(
    node: *const c_char,
    delegator: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Claim {
            operator: parsed(node, "node")?,
            delegator: parsed(delegator, "delegator")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn claim_commission_request(node: *const c_char) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::ClaimCommission {
            operator: parsed(node, "node")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn reward_request(
    node: *const c_char,
    source: *const c_char,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Reward {
            operator: parsed(node, "node")?,
            source: Purse::held_by(parsed(source, "source")?),
            amount: parsed(amount, "amount")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn slash_request(
    node: *const c_char,
    evidence: i32,
    infraction_unix_ms: u64,
    power: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Slash {
            operator: parsed(node, "node")?,
            evidence: evidence_kind(evidence)?,
            infraction: UnixMillis(infraction_unix_ms),
            power: parsed(power, "power")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn unjail_request(node: *const c_char) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::Unjail {
            operator: parsed(node, "node")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn pay_insurance_request(
    claim: *const c_char,
    to_account: *const c_char,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Staking(unsafe {
        Stake::PayInsurance {
            claim: parsed(claim, "claim")?,
            to: parsed(to_account, "to_account")?,
            amount: parsed(amount, "amount")?,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings; there are `facts_len` facts, with such names.
unsafe fn earn_request(
    rule: *const c_char,
    account: *const c_char,
    facts: *const fog_fact,
    facts_len: usize,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    let (rule, facts) = unsafe { (text(rule, "rule")?, slice(facts, facts_len, "facts")?) };
    let told = facts.iter().map(|fact| {
        // SAFETY: as the caller promises of each fact.
        let name = unsafe { text(fact.name, "facts[].name") }?;
        Ok((name, fact.value))
    });
    let told = told.collect::<Result<Vec<_>, Failure>>()?;
    // SAFETY: as the caller promises.
    let account = unsafe { parsed(account, "account") }?;
    Ok(fogcompute::earn_request(rule, account, told)?)
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn earn_session_request(
    account: *const c_char,
    power_milli: u64,
    duration_ms: u64,
    bonus_per_mille: u32,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Earning(unsafe {
        Earn::Session {
            account: parsed(account, "account")?,
            power_milli,
            duration_ms,
            bonus_per_mille,
        }
    }))
}

/// # Safety
/// The pointers are NULL or strings.
unsafe fn pay_fee_request(
    payer: *const c_char,
    payee: *const c_char,
    amount: *const c_char,
) -> Result<EconomyRequest, Failure> {
    // SAFETY: as the caller promises.
    Ok(EconomyRequest::Earning(unsafe {
        Earn::Fee {
            payer: parsed(payer, "payer")?,
            payee: parsed(payee, "payee")?,
            amount: parsed(amount, "amount")?,
        }
    }))
}

/// The account of a purse of the economy, the same in every ledger. fog_ledger_balance() and
/// fog_ledger_account() tell what is in it.
///
/// Thread safety: any thread.
/// @param purse "bonded", "unbonding", "rewards", "insurance", "treasury", "sovereign_fund" or "mint"
/// @param out   receives the account's identifier, FOG_ID_SIZE bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_purse_account(purse: *const c_char, out: *mut c_char) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string.
        let account = fogcompute::purse_account(unsafe { text(purse, "purse") }?)?;
        let id: [c_char; FOG_ID_SIZE] = chars(&account.to_string());
        // SAFETY: the caller gives room for an identifier.
        unsafe { fill_items(&id, out, "out") }
    })
}

/// The time at which an operation would happen now: the wall clock's, or the one that was set.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param ledger the ledger
/// @param out    receives the time, in milliseconds since 1970
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_now(ledger: *const fog_ledger, out: *mut u64) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, result(out, "out")?) };
        out.write(ledger.0.now()?.0);
        Ok(())
    })
}

/// Lets everything happen at that time from now on, for simulations and tests, or at the wall
/// clock's again. It is not part of the file.
///
/// Nothing happens by this alone: fog_ledger_expire(), or the next call, does what the time brings.
/// Staking and earning never go back: before the time of their last operation they return
/// FOG_STATUS_CLOCK_BEHIND, also once the wall clock has its say again.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param ledger  the ledger
/// @param unix_ms the time, in milliseconds since 1970; 0 for the wall clock's
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_set_time(
    ledger: *const fog_ledger,
    unix_ms: u64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let ledger = unsafe { reference(ledger, "ledger") }?;
        let time = (unix_ms > 0).then_some(UnixMillis(unix_ms));
        Ok(ledger.0.set_time(time)?)
    })
}

/// The rules that an economy has unless it is told others, as JSON text: every number with its
/// name. Amounts are texts of base units, parts are millionths, facts and multipliers thousandths.
///
/// Thread safety: any thread.
/// @param out receives the text; free it with fog_string_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_default_rules(out: *mut *mut c_char) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a pointer.
        let out = unsafe { result(out, "out") }?;
        let rules = fogcompute::economy_to_json(&fogcompute::Economy::default());
        give_text(out, &rules);
        Ok(())
    })
}

/// Sets every number and rule. The first time founds the economy: an account is opened for each
/// purse, and the initial supply is minted into the treasury.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param rules   JSON text like that of fog_economy_default_rules(), or NULL for just that
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_INVALID_ECONOMY, FOG_STATUS_ID_REUSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_configure(
    ledger: *const fog_ledger,
    id: *const c_char,
    rules: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe { ask(ledger, id, receipt, || configure_request(rules)) }
}

/// Every number and rule as JSON text.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param out    receives the text; free it with fog_string_free()
/// @param found  receives whether there is an economy; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_rules(
    ledger: *const fog_ledger,
    out: *mut *mut c_char,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, and room for a pointer and a truth value.
        let (ledger, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let rules = ledger.0.economy().rules()?;
        found.write(rules.is_some());
        if let Some(rules) = rules {
            give_text(out, &fogcompute::economy_to_json(&rules));
        }
        Ok(())
    })
}

/// Every number with its name and bounds, in a fixed order; none before there is an economy.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param out      receives the parameters
/// @param capacity parameters that there is room for
/// @param count    receives their number, also when there is no room
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_parameters(
    ledger: *const fog_ledger,
    out: *mut fog_parameter,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, result(count, "count")?) };
        let parameters = ledger.0.economy().parameters()?;
        check_room(parameters.len(), capacity, count)?;
        let parameters: Vec<fog_parameter> = parameters.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&parameters, out, "out") }?;
        count.write(parameters.len());
        Ok(())
    })
}

/// Sets one number.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param name    the parameter's name
/// @param value   decimal text of what it will be, in its unit
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_NO_ECONOMY, FOG_STATUS_UNKNOWN_PARAMETER, FOG_STATUS_INVALID_ECONOMY,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_set_parameter(
    ledger: *const fog_ledger,
    id: *const c_char,
    name: *const c_char,
    value: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe { ask(ledger, id, receipt, || set_parameter_request(name, value)) }
}

/// Makes a node an operator that may be staked on. `account` receives its commission.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger         the ledger
/// @param id             names the operation, 32 hexadecimal digits chosen by the caller
/// @param node           the operator, 64 hexadecimal digits
/// @param account        the account that receives
/// @param commission_ppm its part of every reward, in millionths
/// @param receipt        receives what it did, or NULL
/// @return FOG_STATUS_OPERATOR_EXISTS, FOG_STATUS_COMMISSION_TOO_LARGE, FOG_STATUS_UNKNOWN_ACCOUNT,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_register_operator(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    account: *const c_char,
    commission_ppm: u32,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            register_operator_request(node, account, commission_ppm)
        })
    }
}

/// Changes an operator's commission: by little, and once in 24 hours.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger         the ledger
/// @param id             names the operation, 32 hexadecimal digits chosen by the caller
/// @param node           the operator, 64 hexadecimal digits
/// @param commission_ppm its part of every reward, in millionths
/// @param receipt        receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_COMMISSION_TOO_LARGE,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_set_commission(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    commission_ppm: u32,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            set_commission_request(node, commission_ppm)
        })
    }
}

/// Stakes on an operator.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param amount    decimal text of base units
/// @param receipt   receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_JAILED, FOG_STATUS_TOMBSTONED,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_bond(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            bond_request(node, delegator, amount)
        })
    }
}

/// Starts to take stake back, all of it if no amount is given. Time pays it out, less what slashes
/// take until then.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param amount    decimal text of base units, or NULL for all of it
/// @param receipt   receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_UNKNOWN_DELEGATOR, FOG_STATUS_EXCEEDS_STAKE,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_unbond(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            unbond_request(node, delegator, amount)
        })
    }
}

/// Returns stake on its way out to its operator, all of the entry if no amount is given.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param entry     fog_economy_receipt.entry of the unbonding
/// @param amount    decimal text of base units, or NULL for all of it
/// @param receipt   receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_ENTRY, FOG_STATUS_ENTRY_MATURED, FOG_STATUS_EXCEEDS_ENTRY,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_cancel_unbonding(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    entry: u64,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            cancel_unbonding_request(node, delegator, entry, amount)
        })
    }
}

/// Moves stake to another operator at once, all of it if no amount is given. Until it matures it
/// answers for what the first operator did, and may not move on.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger        the ledger
/// @param id            names the operation, 32 hexadecimal digits chosen by the caller
/// @param delegator     the account whose stake it is
/// @param from_operator the operator it leaves
/// @param to_operator   the operator it goes to
/// @param amount        decimal text of base units, or NULL for all of it
/// @param receipt       receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_DELEGATOR, FOG_STATUS_EXCEEDS_STAKE,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_redelegate(
    ledger: *const fog_ledger,
    id: *const c_char,
    delegator: *const c_char,
    from_operator: *const c_char,
    to_operator: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            redelegate_request(delegator, from_operator, to_operator, amount)
        })
    }
}

/// Pays a delegator's rewards out.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param receipt   receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_DELEGATOR, FOG_STATUS_NOTHING_TO_CLAIM, FOG_STATUS_NO_ECONOMY,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_claim(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe { ask(ledger, id, receipt, || claim_request(node, delegator)) }
}

/// Pays an operator's commission out.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param node    the operator, 64 hexadecimal digits
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_NOTHING_TO_CLAIM, FOG_STATUS_NO_ECONOMY,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_claim_commission(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe { ask(ledger, id, receipt, || claim_commission_request(node)) }
}

/// Shares a reward between an operator and its delegators. It is paid from an account, or from that
/// of the treasury or the mint (fog_purse_account()).
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param node    the operator, 64 hexadecimal digits
/// @param source  the account that pays
/// @param amount  decimal text of base units
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_JAILED, FOG_STATUS_TOMBSTONED,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_reward(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    source: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe { ask(ledger, id, receipt, || reward_request(node, source, amount)) }
}

/// Punishes what an operator did at some time, when it had `power` staked on it. Whether the
/// evidence is true is for the caller to know.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger             the ledger
/// @param id                 names the operation, 32 hexadecimal digits chosen by the caller
/// @param node               the operator, 64 hexadecimal digits
/// @param evidence           a fog_evidence
/// @param infraction_unix_ms when it did so, in milliseconds since 1970
/// @param power              decimal text of base units
/// @param receipt            receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_TOMBSTONED, FOG_STATUS_EVIDENCE_TOO_OLD,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_slash(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    evidence: i32,
    infraction_unix_ms: u64,
    power: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            slash_request(node, evidence, infraction_unix_ms, power)
        })
    }
}

/// Lets an operator back whose time in jail is over.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param node    the operator, 64 hexadecimal digits
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_OPERATOR, FOG_STATUS_NOT_JAILED, FOG_STATUS_JAILED,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_unjail(
    ledger: *const fog_ledger,
    id: *const c_char,
    node: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe { ask(ledger, id, receipt, || unjail_request(node)) }
}

/// Pays a claim from the insurance fund, once.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger     the ledger
/// @param id         names the operation, 32 hexadecimal digits chosen by the caller
/// @param claim      names the claim that was granted, 32 hexadecimal digits
/// @param to_account the account that receives
/// @param amount     decimal text of base units
/// @param receipt    receives what it did, or NULL
/// @return FOG_STATUS_CLAIM_REPEATED, FOG_STATUS_INSURANCE_SHORT, FOG_STATUS_UNKNOWN_ACCOUNT,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_pay_insurance(
    ledger: *const fog_ledger,
    id: *const c_char,
    claim: *const c_char,
    to_account: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            pay_insurance_request(claim, to_account, amount)
        })
    }
}

/// Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a quality of
/// 0.95 is 950.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param rule      the rule's name
/// @param account   the account that receives
/// @param facts     what is so
/// @param facts_len their number
/// @param receipt   receives what it did, or NULL
/// @return FOG_STATUS_UNKNOWN_RULE, FOG_STATUS_UNKNOWN_FACT, FOG_STATUS_FACT_MISSING,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_earn(
    ledger: *const fog_ledger,
    id: *const c_char,
    rule: *const c_char,
    account: *const c_char,
    facts: *const fog_fact,
    facts_len: usize,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            earn_request(rule, account, facts, facts_len)
        })
    }
}

/// Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
/// duration is in milliseconds.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger          the ledger
/// @param id              names the operation, 32 hexadecimal digits chosen by the caller
/// @param account         the account that receives
/// @param power_milli     the device's power, in thousandths
/// @param duration_ms     how long it computed, in milliseconds
/// @param bonus_per_mille the sum of its bonuses, in thousandths
/// @param receipt         receives what it did, or NULL
/// @return FOG_STATUS_SESSION_TOO_SHORT, FOG_STATUS_SESSION_TOO_LARGE,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_earn_session(
    ledger: *const fog_ledger,
    id: *const c_char,
    account: *const c_char,
    power_milli: u64,
    duration_ms: u64,
    bonus_per_mille: u32,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            earn_session_request(account, power_milli, duration_ms, bonus_per_mille)
        })
    }
}

/// Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param payer   the account that pays
/// @param payee   the account that receives what the funds leave
/// @param amount  decimal text of base units
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_INSUFFICIENT_FUNDS, FOG_STATUS_UNKNOWN_ACCOUNT, FOG_STATUS_ZERO_AMOUNT,
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_pay_fee(
    ledger: *const fog_ledger,
    id: *const c_char,
    payer: *const c_char,
    payee: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        ask(ledger, id, receipt, || {
            pay_fee_request(payer, payee, amount)
        })
    }
}

/// What an operation of the economy did that was asked for under that identifier, alone, in a batch
/// or signed.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param id     the identifier
/// @param out    receives what it did
/// @param found  receives whether there is such an operation; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_receipt_of(
    ledger: *const fog_ledger,
    id: *const c_char,
    out: *mut fog_economy_receipt,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the results.
        let (ledger, id, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(id, "id")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let receipt = ledger.0.economy().receipt(id)?;
        found.write(receipt.is_some());
        if let Some(receipt) = receipt {
            out.write(receipt.into());
        }
        Ok(())
    })
}

/// An operator as it stands.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param node     the operator, 64 hexadecimal digits
/// @param out      receives the operator
/// @param found    receives whether the node is one; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_operator_of(
    ledger: *const fog_ledger,
    node: *const c_char,
    out: *mut fog_economy_operator,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the results.
        let (ledger, node, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(node, "node")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let operator = ledger.0.economy().operator(node)?;
        found.write(operator.is_some());
        if let Some(operator) = operator {
            out.write(operator.into());
        }
        Ok(())
    })
}

/// Operators with an identifier above `after`, by identifier.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param after    the last operator of the page before, or NULL
/// @param out      receives the operators
/// @param capacity operators that there is room for; at most 10000 are written
/// @param count    receives how many were written
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_operators(
    ledger: *const fog_ledger,
    after: *const c_char,
    out: *mut fog_economy_operator,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, NULL or a string, and room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, result(count, "count")?) };
        let after = if after.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(unsafe { parsed(after, "after") }?)
        };
        let operators = ledger.0.economy().operators(after, capacity)?;
        let operators: Vec<fog_economy_operator> = operators.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&operators, out, "out") }?;
        count.write(operators.len());
        Ok(())
    })
}

/// What an account has at an operator; nothing if it never staked there.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account
/// @param out       receives what it has
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_stake(
    ledger: *const fog_ledger,
    node: *const c_char,
    delegator: *const c_char,
    out: *mut fog_stake,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for the struct.
        let (ledger, node, delegator, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(node, "node")?,
                parsed(delegator, "delegator")?,
                result(out, "out")?,
            )
        };
        let stake = ledger.0.economy().stake(node, delegator)?;
        out.write(fog_stake {
            staked: stake.staked.into(),
            claimable: stake.claimable.into(),
            unbondings: stake.unbondings.len(),
        });
        Ok(())
    })
}

/// An account's stake on its way out of an operator, oldest first.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger    the ledger
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account
/// @param out       receives the unbondings
/// @param capacity  unbondings that there is room for
/// @param count     receives their number, also when there is no room
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_unbondings(
    ledger: *const fog_ledger,
    node: *const c_char,
    delegator: *const c_char,
    out: *mut fog_unbonding,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for a number.
        let (ledger, node, delegator, count) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(node, "node")?,
                parsed(delegator, "delegator")?,
                result(count, "count")?,
            )
        };
        let unbondings = ledger.0.economy().stake(node, delegator)?.unbondings;
        check_room(unbondings.len(), capacity, count)?;
        let unbondings: Vec<fog_unbonding> = unbondings.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&unbondings, out, "out") }?;
        count.write(unbondings.len());
        Ok(())
    })
}

/// What an account was granted under a rule on this UTC day.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param rule    the rule's name
/// @param account the account
/// @param out     receives the amount
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_economy_granted_today(
    ledger: *const fog_ledger,
    rule: *const c_char,
    account: *const c_char,
    out: *mut fog_amount,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for the struct.
        let (ledger, rule, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                text(rule, "rule")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        out.write(ledger.0.economy().granted_today(rule, account)?.into());
        Ok(())
    })
}

/// Adds to a batch what fog_economy_configure() does.
///
/// Thread safety: one thread at a time.
/// @param batch the batch
/// @param id    names the operation, 32 hexadecimal digits chosen by the caller
/// @param rules JSON text like that of fog_economy_default_rules(), or NULL for just that
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_configure(
    batch: *mut fog_batch,
    id: *const c_char,
    rules: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, configure_request(rules)?)) }
}

/// Adds to a batch what fog_economy_set_parameter() does.
///
/// Thread safety: one thread at a time.
/// @param batch the batch
/// @param id    names the operation, 32 hexadecimal digits chosen by the caller
/// @param name  the parameter's name
/// @param value decimal text of what it will be, in its unit
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_set_parameter(
    batch: *mut fog_batch,
    id: *const c_char,
    name: *const c_char,
    value: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, set_parameter_request(name, value)?)) }
}

/// Adds to a batch what fog_economy_register_operator() does.
///
/// Thread safety: one thread at a time.
/// @param batch          the batch
/// @param id             names the operation, 32 hexadecimal digits chosen by the caller
/// @param node           the operator, 64 hexadecimal digits
/// @param account        the account that receives
/// @param commission_ppm its part of every reward, in millionths
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_register_operator(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    account: *const c_char,
    commission_ppm: u32,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(
                id,
                register_operator_request(node, account, commission_ppm)?,
            )
        })
    }
}

/// Adds to a batch what fog_economy_set_commission() does.
///
/// Thread safety: one thread at a time.
/// @param batch          the batch
/// @param id             names the operation, 32 hexadecimal digits chosen by the caller
/// @param node           the operator, 64 hexadecimal digits
/// @param commission_ppm its part of every reward, in millionths
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_set_commission(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    commission_ppm: u32,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(id, set_commission_request(node, commission_ppm)?)
        })
    }
}

/// Adds to a batch what fog_economy_bond() does.
///
/// Thread safety: one thread at a time.
/// @param batch     the batch
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param amount    decimal text of base units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_bond(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, bond_request(node, delegator, amount)?)) }
}

/// Adds to a batch what fog_economy_unbond() does.
///
/// Thread safety: one thread at a time.
/// @param batch     the batch
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param amount    decimal text of base units, or NULL for all of it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_unbond(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(id, unbond_request(node, delegator, amount)?)
        })
    }
}

/// Adds to a batch what fog_economy_cancel_unbonding() does.
///
/// Thread safety: one thread at a time.
/// @param batch     the batch
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
/// @param entry     fog_economy_receipt.entry of the unbonding
/// @param amount    decimal text of base units, or NULL for all of it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_cancel_unbonding(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
    entry: u64,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(
                id,
                cancel_unbonding_request(node, delegator, entry, amount)?,
            )
        })
    }
}

/// Adds to a batch what fog_economy_redelegate() does.
///
/// Thread safety: one thread at a time.
/// @param batch         the batch
/// @param id            names the operation, 32 hexadecimal digits chosen by the caller
/// @param delegator     the account whose stake it is
/// @param from_operator the operator it leaves
/// @param to_operator   the operator it goes to
/// @param amount        decimal text of base units, or NULL for all of it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_redelegate(
    batch: *mut fog_batch,
    id: *const c_char,
    delegator: *const c_char,
    from_operator: *const c_char,
    to_operator: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(
                id,
                redelegate_request(delegator, from_operator, to_operator, amount)?,
            )
        })
    }
}

/// Adds to a batch what fog_economy_claim() does.
///
/// Thread safety: one thread at a time.
/// @param batch     the batch
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param node      the operator, 64 hexadecimal digits
/// @param delegator the account whose stake it is
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_claim(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    delegator: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, claim_request(node, delegator)?)) }
}

/// Adds to a batch what fog_economy_claim_commission() does.
///
/// Thread safety: one thread at a time.
/// @param batch the batch
/// @param id    names the operation, 32 hexadecimal digits chosen by the caller
/// @param node  the operator, 64 hexadecimal digits
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_claim_commission(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, claim_commission_request(node)?)) }
}

/// Adds to a batch what fog_economy_reward() does.
///
/// Thread safety: one thread at a time.
/// @param batch  the batch
/// @param id     names the operation, 32 hexadecimal digits chosen by the caller
/// @param node   the operator, 64 hexadecimal digits
/// @param source the account that pays
/// @param amount decimal text of base units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_reward(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    source: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, reward_request(node, source, amount)?)) }
}

/// Adds to a batch what fog_economy_slash() does.
///
/// Thread safety: one thread at a time.
/// @param batch              the batch
/// @param id                 names the operation, 32 hexadecimal digits chosen by the caller
/// @param node               the operator, 64 hexadecimal digits
/// @param evidence           a fog_evidence
/// @param infraction_unix_ms when it did so, in milliseconds since 1970
/// @param power              decimal text of base units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_slash(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
    evidence: i32,
    infraction_unix_ms: u64,
    power: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(
                id,
                slash_request(node, evidence, infraction_unix_ms, power)?,
            )
        })
    }
}

/// Adds to a batch what fog_economy_unjail() does.
///
/// Thread safety: one thread at a time.
/// @param batch the batch
/// @param id    names the operation, 32 hexadecimal digits chosen by the caller
/// @param node  the operator, 64 hexadecimal digits
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_unjail(
    batch: *mut fog_batch,
    id: *const c_char,
    node: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, unjail_request(node)?)) }
}

/// Adds to a batch what fog_economy_pay_insurance() does.
///
/// Thread safety: one thread at a time.
/// @param batch      the batch
/// @param id         names the operation, 32 hexadecimal digits chosen by the caller
/// @param claim      names the claim that was granted, 32 hexadecimal digits
/// @param to_account the account that receives
/// @param amount     decimal text of base units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_pay_insurance(
    batch: *mut fog_batch,
    id: *const c_char,
    claim: *const c_char,
    to_account: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(id, pay_insurance_request(claim, to_account, amount)?)
        })
    }
}

/// Adds to a batch what fog_economy_earn() does.
///
/// Thread safety: one thread at a time.
/// @param batch     the batch
/// @param id        names the operation, 32 hexadecimal digits chosen by the caller
/// @param rule      the rule's name
/// @param account   the account that receives
/// @param facts     what is so
/// @param facts_len their number
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_earn(
    batch: *mut fog_batch,
    id: *const c_char,
    rule: *const c_char,
    account: *const c_char,
    facts: *const fog_fact,
    facts_len: usize,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(id, earn_request(rule, account, facts, facts_len)?)
        })
    }
}

/// Adds to a batch what fog_economy_earn_session() does.
///
/// Thread safety: one thread at a time.
/// @param batch           the batch
/// @param id              names the operation, 32 hexadecimal digits chosen by the caller
/// @param account         the account that receives
/// @param power_milli     the device's power, in thousandths
/// @param duration_ms     how long it computed, in milliseconds
/// @param bonus_per_mille the sum of its bonuses, in thousandths
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_earn_session(
    batch: *mut fog_batch,
    id: *const c_char,
    account: *const c_char,
    power_milli: u64,
    duration_ms: u64,
    bonus_per_mille: u32,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            asked(
                id,
                earn_session_request(account, power_milli, duration_ms, bonus_per_mille)?,
            )
        })
    }
}

/// Adds to a batch what fog_economy_pay_fee() does.
///
/// Thread safety: one thread at a time.
/// @param batch  the batch
/// @param id     names the operation, 32 hexadecimal digits chosen by the caller
/// @param payer  the account that pays
/// @param payee  the account that receives what the funds leave
/// @param amount decimal text of base units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_pay_fee(
    batch: *mut fog_batch,
    id: *const c_char,
    payer: *const c_char,
    payee: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe { add(batch, || asked(id, pay_fee_request(payer, payee, amount)?)) }
}
