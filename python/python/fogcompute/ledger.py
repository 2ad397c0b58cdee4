"""Double-entry credits: accounts, transfers, reservations, and a history that proves itself.

- `Ledger`: a ledger in a SQLite file, or in memory. `Account`, `Entry`, `Receipt`: what it tells.
- `Operation`: a step of a batch. `Ledger.execute` carries a batch out as a whole or not at all.
- `AccountLimits`: quotas a day, caps on supply.
- `SignedBatch`: what the owner of an account asks for, signed. `owner_key` gives the public key.
- `Economy`: staking on operators, rewards for contributions, fees, and the numbers of all that.
  `Ledger.economy` gives it.
- `Governance`: proposals, votes, delegation and roles, which decide about all of that.
  `Ledger.governance` gives it. `Action`: what a proposal does.
- `Checkpoint`: what an auditor keeps to notice a history that was rewritten.

```python
with Ledger.open("ledger.sqlite") as ledger:
    ledger.open_account(mint, AccountKind.ISSUER)
    ledger.open_account(ana, AccountKind.HOLDER)
    ledger.transfer(uuid4(), mint, ana, 10 * CREDIT)
    for entry in ledger.history(ana):
        print(entry.sequence, entry.kind, entry.amount)
```

Amounts are ints of base units, never floats: one credit is `CREDIT` of them. Ids are 32 hexadecimal
digits or a `uuid.UUID`, chosen by the caller; a request that is repeated under its id moves nothing
twice. Calls release the interpreter's lock: in a coroutine, `await asyncio.to_thread(...)`.
"""

from typing import Final, TypeAlias
from uuid import UUID

from ._enums import (
    AccountKind,
    Choice,
    Durability,
    Evidence,
    PauseScope,
    ProposalKind,
    ProposalState,
    Role,
    TextFormat,
    Weighing,
)
from ._native import (
    Account,
    AccountLimits,
    Action,
    Agent,
    Ballot,
    Checkpoint,
    Economy,
    EconomyReceipt,
    Entries,
    Entry,
    Governance,
    GovernanceOverview,
    Head,
    Ledger,
    Member,
    Operation,
    Operator,
    Parameter,
    Proposal,
    Receipt,
    Receipts,
    Resolution,
    SignedBatch,
    Stake,
    Standing,
    Tally,
    Unbonding,
    Upgrade,
    Verification,
    VotingPower,
    owner_key,
    purse_account,
)

__all__ = [
    "CREDIT",
    "Account",
    "AccountKind",
    "AccountLimits",
    "Action",
    "Agent",
    "Ballot",
    "Checkpoint",
    "Choice",
    "Durability",
    "Economy",
    "EconomyReceipt",
    "Entries",
    "Entry",
    "Evidence",
    "Governance",
    "GovernanceOverview",
    "Head",
    "Ledger",
    "Member",
    "Operation",
    "Operator",
    "Parameter",
    "PauseScope",
    "Proposal",
    "ProposalKind",
    "ProposalState",
    "Receipt",
    "Receipts",
    "Resolution",
    "Role",
    "SignedBatch",
    "Stake",
    "Standing",
    "Step",
    "Tally",
    "TextFormat",
    "Unbonding",
    "Upgrade",
    "Verification",
    "VotingPower",
    "Weighing",
    "owner_key",
    "purse_account",
]

CREDIT: Final = 10**18
"""Base units of one credit."""

Step: TypeAlias = Operation | tuple[str | UUID, str | UUID, str | UUID, int]
"""A step of a batch. A tuple is a transfer: id, who gives, who receives, amount."""
