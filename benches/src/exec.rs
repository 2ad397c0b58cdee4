//! Running tasks: what the engines cost beside each other and beside native code, what a checkpoint
//! costs, and how soon tasks are back after a crash.

mod engines;
mod native;
mod recover;
mod throughput;

use std::error::Error;
use std::path::Path;

pub(crate) use self::engines::{SHA256, chain};
pub(crate) use self::native::sha256_chain;

use crate::measure::Effort;
use crate::row::Output;

pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    throughput::run(python, effort, output)?;
    recover::run(effort, output)?;
    engines::run(effort, output)
}
