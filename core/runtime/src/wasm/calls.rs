//! The functions that a guest may import, by name and type.

use wasmparser::{FuncType, ValType};

/// Which grant a call needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Fog,
    Wasi,
}

/// A host call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Call {
    Log,
    FractionDone,
    TimeToCheckpoint,
    CheckpointCompleted,
    TemporaryExit,
    ArgsGet,
    ArgsSizesGet,
    EnvironGet,
    EnvironSizesGet,
    ClockResGet,
    ClockTimeGet,
    FdClose,
    FdFdstatGet,
    FdFdstatSetFlags,
    FdFilestatGet,
    FdPrestatGet,
    FdPrestatDirName,
    FdRead,
    FdSeek,
    FdTell,
    FdWrite,
    PathFilestatGet,
    PathOpen,
    ProcExit,
    RandomGet,
    SchedYield,
}

/// Each call, its name, and its parameters and results: `i` 32 bits, `I` 64 bits, `F` a float of 64.
const CALLS: [(Call, &str, &str, &str); 26] = [
    (Call::Log, "log", "ii", ""),
    (Call::FractionDone, "fraction_done", "F", ""),
    (Call::TimeToCheckpoint, "time_to_checkpoint", "", "i"),
    (Call::CheckpointCompleted, "checkpoint_completed", "", ""),
    (Call::TemporaryExit, "temporary_exit", "i", ""),
    (Call::ArgsGet, "args_get", "ii", "i"),
    (Call::ArgsSizesGet, "args_sizes_get", "ii", "i"),
    (Call::EnvironGet, "environ_get", "ii", "i"),
    (Call::EnvironSizesGet, "environ_sizes_get", "ii", "i"),
    (Call::ClockResGet, "clock_res_get", "ii", "i"),
    (Call::ClockTimeGet, "clock_time_get", "iIi", "i"),
    (Call::FdClose, "fd_close", "i", "i"),
    (Call::FdFdstatGet, "fd_fdstat_get", "ii", "i"),
    (Call::FdFdstatSetFlags, "fd_fdstat_set_flags", "ii", "i"),
    (Call::FdFilestatGet, "fd_filestat_get", "ii", "i"),
    (Call::FdPrestatGet, "fd_prestat_get", "ii", "i"),
    (Call::FdPrestatDirName, "fd_prestat_dir_name", "iii", "i"),
    (Call::FdRead, "fd_read", "iiii", "i"),
    (Call::FdSeek, "fd_seek", "iIii", "i"),
    (Call::FdTell, "fd_tell", "ii", "i"),
    (Call::FdWrite, "fd_write", "iiii", "i"),
    (Call::PathFilestatGet, "path_filestat_get", "iiiii", "i"),
    (Call::PathOpen, "path_open", "iiiiiIIii", "i"),
    (Call::ProcExit, "proc_exit", "i", ""),
    (Call::RandomGet, "random_get", "ii", "i"),
    (Call::SchedYield, "sched_yield", "", "i"),
];

const FOG: &str = "fog";
const WASI: &str = "wasi_snapshot_preview1";

impl Call {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Log
            | Self::FractionDone
            | Self::TimeToCheckpoint
            | Self::CheckpointCompleted
            | Self::TemporaryExit => Kind::Fog,
            _ => Kind::Wasi,
        }
    }

    pub(super) const fn module(self) -> &'static str {
        match self.kind() {
            Kind::Fog => FOG,
            Kind::Wasi => WASI,
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.row().1
    }

    /// Parameters and results, in the letters of the table.
    pub(super) fn signature(self) -> (&'static str, &'static str) {
        let (_, _, params, results) = self.row();
        (params, results)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str) {
        // The test below finds every call in its own row.
        &CALLS[self as usize]
    }
}

/// The call of this name, if it has this type.
pub(super) fn find(module: &str, name: &str, ty: &FuncType) -> Option<Call> {
    let has = |types: &[ValType], letters: &str| {
        types.len() == letters.len()
            && types.iter().zip(letters.chars()).all(|(ty, letter)| {
                matches!(
                    (ty, letter),
                    (ValType::I32, 'i') | (ValType::I64, 'I') | (ValType::F64, 'F')
                )
            })
    };
    CALLS.iter().find_map(|(call, called, params, results)| {
        (*called == name
            && call.module() == module
            && has(ty.params(), params)
            && has(ty.results(), results))
        .then_some(*call)
    })
}

/// Every call.
#[cfg(any(test, feature = "wasmtime"))]
pub(super) fn all() -> impl Iterator<Item = Call> {
    CALLS.iter().map(|(call, ..)| *call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_stands_in_its_own_row() {
        for (at, call) in all().enumerate() {
            assert_eq!(call as usize, at);
            assert_eq!(call.row().0, call);
        }
    }
}
