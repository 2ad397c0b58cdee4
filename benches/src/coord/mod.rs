//! The coordinator: its rules alone, what it keeps on disk, and a fog of processes.

pub(crate) mod fog;
mod rules;

use std::error::Error;
use std::path::Path;

use crate::measure::Effort;
use crate::row::Output;

pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    fog::run(python, effort, output)?;
    rules::run(effort, output)
}
