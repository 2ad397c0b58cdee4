//! The coordinator: its rules alone, and what it keeps on disk.

mod rules;

use std::error::Error;

use crate::measure::Effort;
use crate::row::Output;

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    rules::run(effort, output)
}
