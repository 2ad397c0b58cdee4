//! How a task goes through an instance, whatever the engine.

use fogcompute_exec::{Checkpoint, GuestText, TaskError, TaskSpec};

use super::check::Entry;
use super::host::Host;

/// A call into the guest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Enter {
    /// `fog_alloc(len)`.
    Alloc(u32),
    /// `fog_run(ptr, len)`.
    Run(u32, u32),
    /// `fog_resume()`.
    Resume,
    /// `_start()`.
    Command,
}

/// A fresh instance in some engine.
pub(super) trait Guest {
    /// Calls an export and returns its result, 0 if it has none.
    fn enter(&mut self, enter: Enter) -> Result<u64, TaskError>;

    /// Makes the memory this long, which is at least as long as it is.
    fn grow_to(&mut self, bytes: usize) -> Result<(), TaskError>;

    /// Sets the exported globals of a checkpoint; false if one is not there or of another type.
    fn set_globals(&mut self, from: &Checkpoint) -> Result<bool, TaskError>;

    fn memory(&mut self) -> &mut [u8];

    fn host(&mut self) -> &mut Host;
}

/// Passes the input, runs the task and takes its output.
pub(super) fn drive(
    guest: &mut impl Guest,
    entry: Entry,
    spec: &TaskSpec,
    from: Option<&Checkpoint>,
) -> Result<Vec<u8>, TaskError> {
    let range = match (entry, from) {
        (Entry::Run, _) => {
            let (ptr, len) = pass_input(guest, spec.input())?;
            guest.enter(Enter::Run(ptr, len))?
        }
        (Entry::Command, _) => {
            match guest.enter(Enter::Command) {
                Ok(_) | Err(TaskError::Exited { status: 0 }) => {}
                Err(error) => return Err(error),
            }
            return Ok(std::mem::take(&mut guest.host().output));
        }
        (Entry::Resume, Some(from)) => {
            restore(guest, from)?;
            guest.enter(Enter::Resume)?
        }
        (Entry::Resume, None) => return Err(TaskError::RuntimeFault),
    };
    let (ptr, len) = ((range >> 32) as u32, range as u32);
    // First, so that the guest cannot make the host look at more than the task may return.
    let limit = spec.limits().output_bytes;
    if u64::from(len) > limit {
        return Err(TaskError::OutputTooLarge {
            actual: len.into(),
            limit,
        });
    }
    let data = guest.memory();
    data.get(ptr as usize..)
        .and_then(|rest| rest.get(..len as usize))
        .map(<[u8]>::to_vec)
        .ok_or(TaskError::OutputOutsideMemory {
            ptr,
            len,
            memory_bytes: data.len() as u64,
        })
}

fn pass_input(guest: &mut impl Guest, input: &[u8]) -> Result<(u32, u32), TaskError> {
    let len = u32::try_from(input.len()).map_err(|_| TaskError::RuntimeFault)?;
    let ptr = guest.enter(Enter::Alloc(len))? as u32;
    let memory = guest.memory();
    let memory_bytes = memory.len() as u64;
    memory
        .get_mut(ptr as usize..)
        .and_then(|free| free.get_mut(..input.len()))
        .ok_or(TaskError::InputOutsideMemory {
            ptr,
            len,
            memory_bytes,
        })?
        .copy_from_slice(input);
    Ok((ptr, len))
}

fn restore(guest: &mut impl Guest, from: &Checkpoint) -> Result<(), TaskError> {
    let unfit = |reason| TaskError::UnfitCheckpoint {
        reason: GuestText::new(reason),
    };
    if from.memory.len() < guest.memory().len() {
        return Err(unfit("its memory is smaller than the module's"));
    }
    guest.grow_to(from.memory.len())?;
    let memory = guest.memory();
    if memory.len() != from.memory.len() {
        return Err(unfit("its memory is larger than the module's may be"));
    }
    memory.copy_from_slice(&from.memory);
    if !guest.set_globals(from)? {
        return Err(unfit("its globals are not the module's"));
    }
    Ok(())
}
