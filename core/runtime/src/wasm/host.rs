//! What a guest reaches beyond its own memory: log, progress, and WASI preview 1 over what its task
//! was granted. The same for every engine.
//!
//! Nothing here touches the host's files, environment or arguments: files are content of the task.

use std::sync::Arc;

use fogcompute_base::{Clock, Digest, OsEntropy, UnixMillis};
use fogcompute_exec::{
    Checkpoint, ClockGrant, GlobalValue, Grants, Limits, RandomnessGrant, Session, TaskError,
    TaskSpec, TrapKind,
};
use rand_core::Rng;

use super::calls::Call;
use super::check::Entry;
use super::meter::Meter;
use crate::log::Log;
use crate::pace::Pacer;

/// Most bytes that one call moves: between two calls the control is looked at.
const CALL_BYTES_MAX: usize = 1 << 16;

/// Most buffers in one call.
const BUFFERS_MAX: u32 = 1_024;

/// Most files a guest may have open.
const OPEN_FILES_MAX: usize = 64;

/// The granted files' folder.
const FOLDER: u32 = 3;

/// Errors of WASI preview 1 (`errno` in its documentation).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
enum Errno {
    Access = 2,
    BadDescriptor = 8,
    Fault = 21,
    Invalid = 28,
    IsDirectory = 31,
    TooManyFiles = 33,
    NameTooLong = 37,
    NoEntry = 44,
    NotDirectory = 54,
    ReadOnly = 69,
    NotSeekable = 70,
    NotCapable = 76,
}

type Wasi = Result<(), Errno>;

struct OpenFile {
    content: Arc<[u8]>,
    at: u64,
}

/// The host of one guest.
pub(super) struct Host {
    pub(super) meter: Meter,
    pub(super) pacer: Pacer,
    /// Why the host ended the guest.
    pub(super) stopped: Option<TaskError>,
    /// What a command wrote to its output.
    pub(super) output: Vec<u8>,
    /// Fuel used and fuel the engine still holds, together.
    pub(super) fuel_total: u64,
    /// Exported mutable globals.
    pub(super) globals: Arc<[String]>,
    limits: Limits,
    grants: Grants,
    log: Log,
    clock: Arc<dyn Clock>,
    is_command: bool,
    input: Vec<u8>,
    input_at: usize,
    files: Vec<Option<OpenFile>>,
    random_blocks: u64,
    random_left: Vec<u8>,
    module: Digest,
    input_digest: Digest,
    permille: u16,
}

impl Host {
    pub(super) fn new(
        spec: &TaskSpec,
        session: &Session,
        entry: Entry,
        meter: Meter,
        pacer: Pacer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let is_command = entry == Entry::Command;
        Self {
            meter,
            pacer,
            stopped: None,
            output: Vec::new(),
            fuel_total: 0,
            globals: Arc::from([]),
            limits: spec.limits(),
            grants: spec.grants().clone(),
            log: Log::new(Arc::clone(&session.observer), spec.limits().log_bytes),
            clock,
            is_command,
            input: if is_command {
                spec.input().to_vec()
            } else {
                Vec::new()
            },
            input_at: 0,
            files: Vec::new(),
            random_blocks: 0,
            random_left: Vec::new(),
            module: spec.module_digest(),
            input_digest: Digest::of(spec.input()),
            permille: session.from.as_ref().map_or(0, |from| from.permille),
        }
    }

    /// Passes on the last line of the log.
    pub(super) fn finish(&mut self) {
        self.log.flush();
    }

    /// Gives a checkpoint to whoever listens.
    pub(super) fn keep(&mut self, memory: Vec<u8>, globals: Vec<(String, GlobalValue)>, fuel: u64) {
        self.pacer.control().clear_checkpoint_request();
        self.log.observer().checkpoint(Checkpoint {
            module: self.module,
            input: self.input_digest,
            fuel,
            permille: self.permille,
            memory,
            globals,
        });
    }

    /// Does a call, all but `CheckpointCompleted`, which needs the engine. `None` is a call without
    /// result; an error ends the guest.
    pub(super) fn call(
        &mut self,
        call: Call,
        memory: &mut [u8],
        args: &[u64],
    ) -> Result<Option<u32>, TaskError> {
        if self.pacer.control().is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        // The engines pass as many arguments as the call's signature has.
        let arg = |at: usize| args.get(at).copied().unwrap_or(0);
        let int = |at: usize| arg(at) as u32;
        let done = match call {
            Call::Log => {
                let line = slice(memory, int(0), int(1)).ok_or(TaskError::Trap {
                    kind: TrapKind::MemoryOutOfBounds,
                })?;
                self.log.write(&line[..line.len().min(CALL_BYTES_MAX)]);
                self.log.flush();
                return Ok(None);
            }
            Call::FractionDone => {
                let fraction = f64::from_bits(arg(0)).clamp(0.0, 1.0);
                // Not a number becomes 0.
                self.permille = (fraction * 1_000.0) as u16;
                self.log.observer().progress(self.permille);
                return Ok(None);
            }
            Call::TimeToCheckpoint => {
                return Ok(Some(self.pacer.control().is_checkpoint_requested().into()));
            }
            Call::CheckpointCompleted => return Ok(None),
            Call::TemporaryExit => return Err(TaskError::TemporaryExit { delay_s: int(0) }),
            Call::ProcExit => return Err(TaskError::Exited { status: int(0) }),
            Call::SchedYield => Ok(()),
            Call::ArgsSizesGet => sizes(memory, &self.args(), int(0), int(1)),
            Call::ArgsGet => list(memory, &self.args(), int(0), int(1)),
            Call::EnvironSizesGet => sizes(memory, &self.environment(), int(0), int(1)),
            Call::EnvironGet => list(memory, &self.environment(), int(0), int(1)),
            Call::ClockResGet => match self.grants.clock {
                ClockGrant::Denied => Err(Errno::NotCapable),
                _ => put(memory, int(1), &1_000_000_u64.to_le_bytes()),
            },
            Call::ClockTimeGet => self
                .time(int(0))
                .and_then(|nanos| put(memory, int(2), &nanos.to_le_bytes())),
            Call::RandomGet => self.random(memory, int(0), int(1)),
            Call::FdWrite => return self.write(memory, int(0), int(1), int(2), int(3)).map(Some),
            Call::FdRead => self.read(memory, int(0), int(1), int(2), int(3)),
            Call::FdSeek => self.seek(memory, int(0), arg(1) as i64, int(2), int(3)),
            Call::FdTell => self.seek(memory, int(0), 0, 1, int(1)),
            Call::FdClose => self.close(int(0)),
            Call::FdFdstatGet => self.status(memory, int(0), int(1)),
            Call::FdFdstatSetFlags => match int(0) {
                0..=2 => Ok(()),
                fd => self.file(fd).map(|_| ()),
            },
            Call::FdFilestatGet => self.file_status(memory, int(0), int(1)),
            Call::FdPrestatGet => self.folder(int(0)).and_then(|()| {
                // A folder whose name has one byte.
                put(memory, int(1), &[0, 0, 0, 0, 1, 0, 0, 0])
            }),
            Call::FdPrestatDirName => self.folder(int(0)).and_then(|()| match int(2) {
                0 => Err(Errno::NameTooLong),
                _ => put(memory, int(1), b"/"),
            }),
            Call::PathOpen => self.open(memory, args),
            Call::PathFilestatGet => self.path_status(memory, args),
        };
        Ok(Some(match done {
            Ok(()) => 0,
            Err(errno) => u32::from(errno as u16),
        }))
    }

    /// The program's name, which is always the same, and the arguments.
    fn args(&self) -> Vec<Vec<u8>> {
        std::iter::once("task")
            .chain(self.grants.args.iter().map(String::as_str))
            .map(|arg| [arg.as_bytes(), b"\0"].concat())
            .collect()
    }

    fn environment(&self) -> Vec<Vec<u8>> {
        let variables = self.grants.env.iter();
        variables
            .map(|(name, value)| format!("{name}={value}\0").into_bytes())
            .collect()
    }

    fn time(&self, clock: u32) -> Result<u64, Errno> {
        let unix = |UnixMillis(millis)| millis.saturating_mul(1_000_000);
        match (self.grants.clock, clock) {
            (ClockGrant::Denied, _) => Err(Errno::NotCapable),
            (ClockGrant::Fixed(time), 0 | 1) => Ok(unix(time)),
            (ClockGrant::System, 0) => Ok(unix(self.clock.unix_now())),
            (ClockGrant::System, 1) => Ok(self.clock.now().as_nanos()),
            _ => Err(Errno::Invalid),
        }
    }

    fn random(&mut self, memory: &mut [u8], at: u32, len: u32) -> Wasi {
        let seed = match self.grants.randomness {
            RandomnessGrant::Denied => return Err(Errno::NotCapable),
            RandomnessGrant::Seeded(seed) => Some(seed),
            RandomnessGrant::System => None,
        };
        if len as usize > CALL_BYTES_MAX {
            return Err(Errno::Invalid);
        }
        let buffer = slice_mut(memory, at, len).ok_or(Errno::Fault)?;
        let Some(seed) = seed else {
            OsEntropy.fill_bytes(buffer);
            return Ok(());
        };
        for byte in buffer {
            if self.random_left.is_empty() {
                let block = [&seed[..], &self.random_blocks.to_be_bytes()].concat();
                let block = Digest::derive("fogcompute 2026 guest randomness", &block);
                self.random_left = block.as_bytes().to_vec();
                self.random_blocks += 1;
            }
            *byte = self.random_left.pop().unwrap_or(0);
        }
        Ok(())
    }

    /// An error of the outer kind ends the guest.
    fn write(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        buffers: u32,
        count: u32,
        written: u32,
    ) -> Result<u32, TaskError> {
        if !matches!(fd, 1 | 2) {
            return Ok(u32::from(Errno::BadDescriptor as u16));
        }
        let ranges = match buffer_list(memory, buffers, count) {
            Ok(ranges) => ranges,
            Err(errno) => return Ok(u32::from(errno as u16)),
        };
        let mut total = 0;
        for (at, len) in ranges {
            let len = len.min((CALL_BYTES_MAX - total) as u32);
            let Some(bytes) = slice(memory, at, len) else {
                return Ok(u32::from(Errno::Fault as u16));
            };
            if fd == 1 && self.is_command {
                let actual = (self.output.len() + bytes.len()) as u64;
                if actual > self.limits.output_bytes {
                    return Err(TaskError::OutputTooLarge {
                        actual,
                        limit: self.limits.output_bytes,
                    });
                }
                self.output.extend_from_slice(bytes);
            } else {
                self.log.write(bytes);
            }
            total += bytes.len();
        }
        let done = put(memory, written, &(total as u32).to_le_bytes());
        Ok(done.map_or_else(|errno| u32::from(errno as u16), |()| 0))
    }

    fn read(&mut self, memory: &mut [u8], fd: u32, buffers: u32, count: u32, read: u32) -> Wasi {
        let ranges = buffer_list(memory, buffers, count)?;
        let mut total = 0;
        for (at, len) in ranges {
            let buffer = slice_mut(memory, at, len.min((CALL_BYTES_MAX - total) as u32));
            let buffer = buffer.ok_or(Errno::Fault)?;
            let rest = match fd {
                0 => &self.input[self.input_at..],
                _ => {
                    let file = self.file(fd)?;
                    let start = usize::try_from(file.at).unwrap_or(usize::MAX);
                    file.content.get(start..).unwrap_or(&[])
                }
            };
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            match fd {
                0 => self.input_at += len,
                _ => self.file(fd)?.at += len as u64,
            }
            total += len;
        }
        put(memory, read, &(total as u32).to_le_bytes())
    }

    fn seek(&mut self, memory: &mut [u8], fd: u32, offset: i64, whence: u32, to: u32) -> Wasi {
        if fd < FOLDER {
            return Err(Errno::NotSeekable);
        }
        let file = self.file(fd)?;
        let base = match whence {
            0 => 0,
            1 => file.at,
            2 => file.content.len() as u64,
            _ => return Err(Errno::Invalid),
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::Invalid)?;
        put(memory, to, &at.to_le_bytes())?;
        file.at = at;
        Ok(())
    }

    fn close(&mut self, fd: u32) -> Wasi {
        if fd < FOLDER {
            return Ok(());
        }
        self.file(fd)?;
        if let Some(open) = self.files.get_mut((fd - FOLDER - 1) as usize) {
            *open = None;
        }
        Ok(())
    }

    fn file(&mut self, fd: u32) -> Result<&mut OpenFile, Errno> {
        let at = fd.checked_sub(FOLDER + 1).ok_or(Errno::BadDescriptor)?;
        let open = self.files.get_mut(at as usize);
        open.and_then(Option::as_mut).ok_or(Errno::BadDescriptor)
    }

    fn folder(&self, fd: u32) -> Wasi {
        if fd == FOLDER && !self.grants.files.is_empty() {
            return Ok(());
        }
        Err(Errno::BadDescriptor)
    }

    /// `fdstat`: type, flags, rights, rights of what is opened through it.
    fn status(&mut self, memory: &mut [u8], fd: u32, to: u32) -> Wasi {
        const READ: u64 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 21;
        const WRITE: u64 = 1 << 6;
        const OPEN: u64 = 1 << 13 | 1 << 18;
        let (kind, rights, inherited) = match fd {
            // Character devices, so that a program takes them for streams.
            0 => (2_u8, 1 << 1, 0),
            1 | 2 => (2, WRITE, 0),
            FOLDER => {
                self.folder(fd)?;
                (3, OPEN, READ)
            }
            _ => {
                self.file(fd)?;
                (4, READ, 0)
            }
        };
        let mut status = [0; 24];
        status[0] = kind;
        status[8..16].copy_from_slice(&rights.to_le_bytes());
        status[16..].copy_from_slice(&inherited.to_le_bytes());
        put(memory, to, &status)
    }

    fn file_status(&mut self, memory: &mut [u8], fd: u32, to: u32) -> Wasi {
        let (kind, len) = match fd {
            0..=2 => (2, 0),
            FOLDER => {
                self.folder(fd)?;
                (3, 0)
            }
            _ => (4, self.file(fd)?.content.len()),
        };
        put_file_status(memory, to, kind, len)
    }

    /// `path_open(fd, dirflags, path, path_len, oflags, rights, inherited, fdflags, opened)`.
    fn open(&mut self, memory: &mut [u8], args: &[u64]) -> Wasi {
        const CREATE_EXCLUSIVE_TRUNCATE: u64 = 1 | 4 | 8;
        const DIRECTORY: u64 = 2;
        const WRITE: u64 = 1 << 6;
        let [fd, _, path, len, how, rights, _, _, opened] = *args else {
            return Err(Errno::Invalid);
        };
        self.folder(fd as u32)?;
        if how & CREATE_EXCLUSIVE_TRUNCATE != 0 || rights & WRITE != 0 {
            return Err(Errno::ReadOnly);
        }
        let path = path_text(memory, path as u32, len as u32)?;
        let Some(content) = self.grants.files.get(&path) else {
            return Err(if path.is_empty() || self.grants.is_folder(&path) {
                Errno::IsDirectory
            } else {
                Errno::NoEntry
            });
        };
        if how & DIRECTORY != 0 {
            return Err(Errno::NotDirectory);
        }
        let file = OpenFile {
            content: Arc::clone(content),
            at: 0,
        };
        let free = self.files.iter().position(Option::is_none);
        let at = free.unwrap_or(self.files.len());
        if at >= OPEN_FILES_MAX {
            return Err(Errno::TooManyFiles);
        }
        put(
            memory,
            opened as u32,
            &(at as u32 + FOLDER + 1).to_le_bytes(),
        )?;
        match self.files.get_mut(at) {
            Some(slot) => *slot = Some(file),
            None => self.files.push(Some(file)),
        }
        Ok(())
    }

    /// `path_filestat_get(fd, flags, path, path_len, status)`.
    fn path_status(&mut self, memory: &mut [u8], args: &[u64]) -> Wasi {
        let [fd, _, path, len, to] = *args else {
            return Err(Errno::Invalid);
        };
        self.folder(fd as u32)?;
        let path = path_text(memory, path as u32, len as u32)?;
        match self.grants.files.get(&path) {
            Some(content) => put_file_status(memory, to as u32, 4, content.len()),
            None if path.is_empty() || self.grants.is_folder(&path) => {
                put_file_status(memory, to as u32, 3, 0)
            }
            None => Err(Errno::NoEntry),
        }
    }
}

fn slice(memory: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    memory.get(at as usize..)?.get(..len as usize)
}

fn slice_mut(memory: &mut [u8], at: u32, len: u32) -> Option<&mut [u8]> {
    memory.get_mut(at as usize..)?.get_mut(..len as usize)
}

fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Wasi {
    let place = slice_mut(memory, at, bytes.len() as u32).ok_or(Errno::Fault)?;
    place.copy_from_slice(bytes);
    Ok(())
}

fn word(memory: &[u8], at: u32) -> Result<u32, Errno> {
    let bytes = slice(memory, at, 4).and_then(<[u8]>::first_chunk);
    bytes
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(Errno::Fault)
}

/// Place and length of each buffer.
fn buffer_list(memory: &[u8], at: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
    if count > BUFFERS_MAX {
        return Err(Errno::Invalid);
    }
    let buffer = |number: u32| {
        let at = at.checked_add(number * 8).ok_or(Errno::Fault)?;
        let len_at = at.checked_add(4).ok_or(Errno::Fault)?;
        Ok((word(memory, at)?, word(memory, len_at)?))
    };
    (0..count).map(buffer).collect()
}

fn sizes(memory: &mut [u8], texts: &[Vec<u8>], count: u32, bytes: u32) -> Wasi {
    put(memory, count, &(texts.len() as u32).to_le_bytes())?;
    let total = texts.iter().map(Vec::len).sum::<usize>();
    put(memory, bytes, &(total as u32).to_le_bytes())
}

fn list(memory: &mut [u8], texts: &[Vec<u8>], mut pointers: u32, mut at: u32) -> Wasi {
    for text in texts {
        put(memory, pointers, &at.to_le_bytes())?;
        put(memory, at, text)?;
        // Both lie inside the memory, so only an end at 4 GiB wraps, where nothing follows.
        pointers = pointers.wrapping_add(4);
        at = at.wrapping_add(text.len() as u32);
    }
    Ok(())
}

/// A path relative to the folder, with `.` and `..` resolved; the folder itself is empty.
fn path_text(memory: &[u8], at: u32, len: u32) -> Result<String, Errno> {
    let bytes = slice(memory, at, len).ok_or(Errno::Fault)?;
    if bytes.len() > 4_096 {
        return Err(Errno::NameTooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Errno::Invalid)?;
    if text.starts_with('/') {
        return Err(Errno::Access);
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(Errno::Access)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn put_file_status(memory: &mut [u8], to: u32, kind: u8, len: usize) -> Wasi {
    let mut status = [0; 64];
    status[16] = kind;
    status[24] = 1;
    status[32..40].copy_from_slice(&(len as u64).to_le_bytes());
    put(memory, to, &status)
}
