//! SQLite storage for ledger, tasks and node identity.
