//! Running tasks: what the engines cost beside each other and beside native code, what a checkpoint
//! costs, and how soon tasks are back after a crash.

mod engines;
mod native;
mod recover;

use std::error::Error;

use crate::measure::Effort;
use crate::row::Output;

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    engines::run(effort, output)?;
    recover::run(effort, output)
}
