//! The steps and the bench programs for C and C++.

use crate::bench::Program;
use crate::session::{Session, Stop};
use crate::workspace::{Profile, Workspace};

pub(crate) fn test_c(_session: &mut Session<'_>) -> Result<(), Stop> {
    Err(Stop::Skipped("not written".to_owned()))
}
pub(crate) fn test_cpp(_session: &mut Session<'_>) -> Result<(), Stop> {
    Err(Stop::Skipped("not written".to_owned()))
}
pub(crate) fn bench_program_c(_workspace: &Workspace, _profile: Profile) -> Result<Program, Stop> {
    Err(Stop::Skipped("not written".to_owned()))
}
pub(crate) fn bench_program_cpp(
    _workspace: &Workspace,
    _profile: Profile,
) -> Result<Program, Stop> {
    Err(Stop::Skipped("not written".to_owned()))
}
