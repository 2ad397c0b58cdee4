//! One scale of urgency for packets, messages and tasks.

use serde::{Deserialize, Serialize};

/// How urgent something is. Lower is sooner.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[repr(u8)]
pub enum Priority {
    /// Must go before everything else.
    Critical = 0,
    /// Interactive work somebody waits for.
    High = 1,
    /// The default.
    #[default]
    Normal = 2,
    /// May wait.
    Low = 3,
    /// Fills what is left.
    Bulk = 4,
}
