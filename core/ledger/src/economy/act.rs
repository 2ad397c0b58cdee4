//! What is asked of an economy, and what it did.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, NodeId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Economy;
use crate::{Movement, Purse, dao, earning, staking};

/// Most bytes of a request as text: that of an economy, and its name.
const TEXT_BYTES_MAX: usize = Economy::BYTES_MAX + 256;
/// Most bytes of a parameter's name.
const NAME_BYTES_MAX: usize = 128;

/// What can be asked of an economy, by [`crate::Operation::Economy`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxed wherever there are many of them, and rules are set seldom"
)]
pub enum Request {
    /// Sets every number and rule. The first time founds the economy: an account is opened for
    /// each purse ([`Purse::account`]), and [`Supply::initial`](super::Supply::initial) is minted
    /// into the treasury. What is minted at the start cannot be changed afterwards.
    Configure(Economy),
    /// Sets one parameter: [`Economy::set`].
    SetParameter {
        /// Its name.
        name: String,
        /// What it will be, in its unit. As text in decimal, as amounts are.
        #[serde(with = "decimal")]
        value: u128,
    },
    /// Asks something of staking. [`staking::Operation::Mature`] is refused: time does that
    /// ([`crate::State::expire`]).
    Staking(staking::Operation),
    /// Rewards a contribution or a session of computing, or pays a fee.
    Earning(earning::Operation),
    /// Takes part in governance. Once it is established ([`dao::Operation::Establish`]), the rules
    /// and what leaves the treasury are its matter: the host's own [`Request::Configure`] and
    /// [`Request::SetParameter`] are refused then.
    Governance(dao::Operation),
}

/// What happened in an economy.
///
/// Canonical encoding ([`fogcompute_base::wire`]):
///
/// | bytes | item |
/// |---|---|
/// | 1 | 1 configured, 2 parameter set, 3 staking, 4 earning, 5 staking of all, 6 governance |
/// | configured | [`Economy`] as JSON text of at most 256 KiB, fields in their order, no spaces |
/// | parameter set | name (text of 1 to 128 bytes), value `u128` |
/// | staking, of all | as [`staking::Event`], without its time |
/// | earning | as [`earning::Event`], without its time |
/// | governance | as [`dao::Event`], without its time |
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxed wherever there are many of them, and rules are set seldom"
)]
pub enum Event {
    /// Every number and rule was set.
    Configured(Economy),
    /// One parameter was set.
    ParameterSet {
        /// Its name.
        name: String,
        /// What it is since then, in its unit. As text in decimal, as amounts are.
        #[serde(with = "decimal")]
        value: u128,
    },
    /// Something happened in staking.
    Staking(staking::EventKind),
    /// Something happened in staking to all there was: no amount was named when it was asked for.
    StakingOfAll(staking::EventKind),
    /// Something was earned or a fee was paid.
    Earning(earning::EventKind),
    /// Something happened in governance. What an executed proposal pays follows as movements; the
    /// parameters it sets are those its content names.
    Governance(dao::EventKind),
}

impl Event {
    /// Whether it is what the request asked for.
    #[must_use]
    pub fn answers(&self, request: &Request) -> bool {
        match (self, request) {
            (Self::Configured(economy), Request::Configure(asked)) => economy == asked,
            (
                Self::ParameterSet { name, value },
                Request::SetParameter {
                    name: asked,
                    value: to,
                },
            ) => (name, value) == (asked, to),
            (Self::Staking(event), Request::Staking(operation)) => {
                !operation.asks_for_all() && event.answers(operation)
            }
            (Self::StakingOfAll(event), Request::Staking(operation)) => {
                operation.asks_for_all() && event.answers(operation)
            }
            (Self::Earning(event), Request::Earning(operation)) => event.answers(operation),
            (Self::Governance(event), Request::Governance(operation)) => event.answers(operation),
            _ => false,
        }
    }

    /// The account in whose history it belongs: the mint's for what is about all.
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            Self::Configured(_) | Self::ParameterSet { .. } => Purse::Mint.account(),
            Self::Staking(event) | Self::StakingOfAll(event) => account_of(event),
            Self::Earning(earning::EventKind::Earned { account, .. }) => *account,
            Self::Earning(earning::EventKind::FeePaid { payer, .. }) => *payer,
            Self::Governance(event) => event.actor().unwrap_or(Purse::Mint.account()),
        }
    }

    /// The money that moves with it, but for what is minted at the start and what an executed
    /// proposal pays.
    pub(crate) fn movements(&self) -> Vec<Movement> {
        match self {
            Self::Configured(_) | Self::ParameterSet { .. } | Self::Governance(_) => Vec::new(),
            Self::Staking(event) | Self::StakingOfAll(event) => event.movements(),
            Self::Earning(event) => event.movements(),
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Configured(economy) => {
                writer.u8(1);
                writer.text(&text(economy));
            }
            Self::ParameterSet { name, value } => {
                writer.u8(2);
                writer.text(name);
                writer.u128(*value);
            }
            Self::Staking(event) => {
                writer.u8(3);
                event.encode_into(writer);
            }
            Self::Earning(event) => {
                writer.u8(4);
                event.encode_into(writer);
            }
            Self::StakingOfAll(event) => {
                writer.u8(5);
                event.encode_into(writer);
            }
            Self::Governance(event) => {
                writer.u8(6);
                event.encode_into(writer);
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        Ok(match reader.u8()? {
            1 => Self::Configured(read_text(reader)?),
            2 => Self::ParameterSet {
                name: reader.text(NAME_BYTES_MAX)?.to_owned(),
                value: reader.u128()?,
            },
            3 => Self::Staking(staking::EventKind::decode_from(reader)?),
            4 => Self::Earning(earning::EventKind::decode_from(reader)?),
            5 => {
                let event = staking::EventKind::decode_from(reader)?;
                if !event.may_be_of_all() {
                    return Err(DecodeError::Unknown { at, value: 5 });
                }
                Self::StakingOfAll(event)
            }
            6 => Self::Governance(dao::EventKind::decode_from(reader)?),
            code => {
                return Err(DecodeError::Unknown {
                    at,
                    value: u64::from(code),
                });
            }
        })
    }
}

impl Request {
    /// Whose signature it needs.
    pub(crate) fn signer(&self, of_operator: impl Fn(NodeId) -> Option<AccountId>) -> Signer {
        use staking::Operation as Stake;
        match *self {
            Self::Configure(_)
            | Self::SetParameter { .. }
            | Self::Earning(earning::Operation::Earn { .. } | earning::Operation::Session { .. }) => {
                Signer::Host
            }
            Self::Earning(earning::Operation::Fee { payer, .. }) => Signer::Owner(payer),
            Self::Governance(ref operation) => match operation.actor() {
                Some(account) => Signer::Owner(account),
                None if operation.is_of_the_host() => Signer::Host,
                None => Signer::Anyone,
            },
            Self::Staking(ref operation) => match *operation {
                Stake::SetCommission { operator, .. }
                | Stake::ClaimCommission { operator }
                | Stake::Unjail { operator } => {
                    of_operator(operator).map_or(Signer::UnknownOperator, Signer::Owner)
                }
                Stake::Bond { delegator, .. }
                | Stake::Unbond { delegator, .. }
                | Stake::CancelUnbonding { delegator, .. }
                | Stake::Redelegate { delegator, .. }
                | Stake::Claim { delegator, .. }
                | Stake::Reward {
                    source: Purse::Account(delegator),
                    ..
                } => Signer::Owner(delegator),
                // Whose node it is, an account's signature does not show.
                Stake::Register { .. }
                | Stake::Reward { .. }
                | Stake::Slash { .. }
                | Stake::PayInsurance { .. }
                | Stake::Mature => Signer::Host,
            },
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.text(&text(self));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_text(reader)
    }
}

/// Whose signature a request needs.
pub(crate) enum Signer {
    /// That of an account's owner.
    Owner(AccountId),
    /// That of an operator whom nobody knows.
    UnknownOperator,
    /// Nobody's: the host alone asks so.
    Host,
    /// Nobody's: whoever likes may ask so.
    Anyone,
}

/// The account in whose history an event of staking belongs.
pub(crate) const fn account_of(event: &staking::EventKind) -> AccountId {
    use staking::EventKind as Kind;
    match *event {
        Kind::Registered { account, .. } | Kind::CommissionClaimed { account, .. } => account,
        Kind::Bonded { delegator, .. }
        | Kind::Unbonded { delegator, .. }
        | Kind::UnbondingCancelled { delegator, .. }
        | Kind::Redelegated { delegator, .. }
        | Kind::Claimed { delegator, .. }
        | Kind::Released { delegator, .. }
        | Kind::RedelegationEnded { delegator, .. } => delegator,
        Kind::InsurancePaid { to, .. } => to,
        Kind::Rewarded { .. } => Purse::Rewards.account(),
        Kind::CommissionSet { .. } | Kind::Slashed { .. } | Kind::Unjailed { .. } => {
            Purse::Bonded.account()
        }
    }
}

/// Numbers as texts, since most readers of JSON round what is above 2⁵³.
pub(crate) mod decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::Amount;

    pub(crate) fn serialize<S: Serializer>(value: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        let amount: Amount = text.parse().map_err(D::Error::custom)?;
        Ok(amount.0)
    }
}

/// The one text of a value: what is read must come out the same again.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("its maps have texts as keys, and it is written to memory")
}

fn read_text<T: DeserializeOwned + Serialize>(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
    let at = reader.position();
    let found = reader.text(TEXT_BYTES_MAX)?;
    let value = serde_json::from_str::<T>(found).ok();
    // The only number to tell of a text that means nothing is its length.
    value
        .filter(|value| text(value) == found)
        .ok_or_else(|| DecodeError::Unknown {
            at,
            value: u64::try_from(found.len()).unwrap_or(u64::MAX),
        })
}
