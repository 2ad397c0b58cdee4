//! Tasks that are programs of the operating system.

mod launch;

use std::fs::{self, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, SystemClock};
use fogcompute_exec::{
    ClockGrant, CpuShare, Feature, GuestText, RandomnessGrant, Runtime, Session, TaskError,
    TaskOutput, TaskSpec, Usage,
};
use rustix::process::{Pid, Signal};

pub use self::launch::launch_from_args;
use self::launch::{FAILED, HOME, Jail, PROGRAM};
use crate::log::Log;
use crate::pace::pause;

/// Between two looks at the control.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Work between two pauses of a program that is slowed down.
const STRETCH: Duration = Duration::from_millis(50);

/// Bytes read from a program at once.
const READ_BYTES: usize = 16 << 10;

/// How a [`ProcessRuntime`] uses its host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProcessConfig {
    /// An executable that calls [`launch_from_args`] before anything else, as `fogcompute` does.
    pub launcher: PathBuf,
    /// Where scratch directories are made: `None` is the system's directory for such.
    pub scratch: Option<PathBuf>,
    /// Processes of the user a program runs as, those of all its programs together. 0 forbids a
    /// program to start any others, which bounds it alone.
    pub processes_max: u64,
    /// Also where the kernel has no Landlock: a program can then read whatever its user can.
    pub without_landlock: bool,
}

impl ProcessConfig {
    /// No processes but the program, and Landlock.
    #[must_use]
    pub const fn new(launcher: PathBuf) -> Self {
        Self {
            launcher,
            scratch: None,
            processes_max: 0,
            without_landlock: false,
        }
    }
}

/// Runs tasks whose module is a Linux program or a script, with the input on its standard input and
/// the output on its standard output; its standard error is the log.
///
/// | kept from the program | by |
/// |---|---|
/// | network, other processes' memory, mounts, new privileges | a list of allowed system calls |
/// | starting processes | the same; else `RLIMIT_NPROC` of its user |
/// | files but its folder and what programs need to start | Landlock |
/// | more memory, files, processor time | resource limits |
/// | the node's environment, open files, terminal | a fresh environment and session |
/// | going on after the node ended it | its process group is killed as a whole |
///
/// **What it does not do.** The program shares the kernel with the node, so a fault in an allowed
/// system call opens everything. It sees clocks, randomness, the processor's model and the files of
/// the system's programs, so a task must be granted the system's clock and randomness, and replicas
/// may differ. Memory is limited by address space and not by what is used. Fuel is not counted. When
/// the node is root, programs become `nobody`; they then outlive a node that is killed, until their
/// limit of processor time. Do not run programs of strangers: that is what WebAssembly is for.
pub struct ProcessRuntime {
    config: ProcessConfig,
    clock: Arc<dyn Clock>,
}

/// What the threads at a program's streams report.
enum Heard {
    Output(Vec<u8>),
    Log(Vec<u8>),
}

impl ProcessRuntime {
    /// A runtime that measures wall time with the machine's clock.
    #[must_use]
    pub fn new(config: ProcessConfig) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock::new()),
        }
    }

    fn check(&self, spec: &TaskSpec, session: &Session) -> Result<Duration, TaskError> {
        let unsupported = |feature| TaskError::Unsupported { feature };
        if session.from.is_some() {
            return Err(unsupported(Feature::Checkpoints));
        }
        let grants = spec.grants();
        // Nothing keeps a program from these.
        let is_honest = grants.clock == ClockGrant::System
            && grants.randomness == RandomnessGrant::System
            && !grants.host_calls
            && !grants.wasi;
        if !is_honest {
            return Err(unsupported(Feature::Grants));
        }
        let module = spec.module();
        if !module.starts_with(b"\x7fELF") && !module.starts_with(b"#!") {
            return Err(TaskError::MalformedModule {
                offset: 0,
                reason: GuestText::new("this is neither an ELF program nor a script"),
            });
        }
        spec.limits().wall.ok_or(unsupported(Feature::NoTimeLimit))
    }

    /// The program and its files in a directory of their own.
    fn lay_out(&self, spec: &TaskSpec) -> io::Result<tempfile::TempDir> {
        let scratch = match &self.config.scratch {
            Some(dir) => tempfile::tempdir_in(dir)?,
            None => tempfile::tempdir()?,
        };
        // The user a program becomes has to pass through.
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o711))?;
        let program = scratch.path().join(PROGRAM);
        fs::write(&program, spec.module())?;
        fs::set_permissions(&program, Permissions::from_mode(0o555))?;
        let home = scratch.path().join(HOME);
        fs::create_dir(&home)?;
        for (path, content) in &spec.grants().files {
            let path = home.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, content)?;
        }
        if rustix::process::geteuid().is_root() {
            give_away(&home)?;
        }
        Ok(scratch)
    }

    fn run_program(
        &self,
        spec: &TaskSpec,
        session: &Session,
        start: Instant,
    ) -> Result<TaskOutput, TaskError> {
        if session.control.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let wall = self.check(spec, session)?;
        let limits = spec.limits();
        let scratch = self.lay_out(spec).map_err(|_| TaskError::HostOutOfMemory)?;
        let jail = Jail {
            scratch: scratch.path().to_owned(),
            memory_bytes: limits.memory_bytes,
            cpu_s: wall.as_secs() + 2,
            processes_max: self.config.processes_max,
            needs_landlock: !self.config.without_landlock,
        };
        let child = Command::new(&self.config.launcher)
            .args(jail.to_args())
            .args(&spec.grants().args)
            .env_clear()
            .envs(&spec.grants().env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|_| TaskError::Unsupported {
                feature: Feature::Isolation,
            })?;
        let mut program = Program {
            child,
            is_halted: false,
        };
        let log = Log::new(Arc::clone(&session.observer), limits.log_bytes);
        let mut watch = Watch {
            session,
            clock: &*self.clock,
            wall,
            output: Vec::new(),
            output_bytes: limits.output_bytes,
            log,
            memory_bytes_peak: 0,
        };
        let ended = watch.follow(&mut program, spec.input());
        watch.log.flush();
        let status = ended?;
        if scratch.path().join(FAILED).exists() {
            return Err(TaskError::Unsupported {
                feature: Feature::Isolation,
            });
        }
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(TaskOutput {
                output: watch.output,
                usage: Usage {
                    fuel: 0,
                    memory_bytes_peak: watch.memory_bytes_peak,
                    wall: self.clock.now().duration_since(start),
                },
            }),
            (Some(code), _) => Err(TaskError::Exited {
                status: code as u32,
            }),
            (None, Some(signal)) => Err(TaskError::Killed {
                signal: signal as u8,
            }),
            (None, None) => Err(TaskError::RuntimeFault),
        }
    }
}

impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process-1"
    }

    fn execute(&self, spec: &TaskSpec, session: &Session) -> Result<TaskOutput, TaskError> {
        self.run_program(spec, session, self.clock.now())
    }
}

impl std::fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessRuntime")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Makes the folder `nobody`'s, who a program of root becomes.
fn give_away(path: &Path) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(launch::NOBODY), Some(launch::NOBODY))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path())?;
        }
    }
    Ok(())
}

/// A started program. Dropping it ends everything it started.
struct Program {
    child: Child,
    is_halted: bool,
}

impl Program {
    fn signal_all(&self, signal: Signal) {
        // What has ended cannot be signalled, which is well.
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(id) = Pid::from_raw(id)
        {
            let _ = rustix::process::kill_process_group(id, signal);
        }
    }

    fn halt(&mut self, halted: bool) {
        if halted != self.is_halted {
            self.signal_all(if halted { Signal::STOP } else { Signal::CONT });
            self.is_halted = halted;
        }
    }

    /// Most memory held up to now, in bytes.
    fn memory_bytes_peak(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib << 10)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Before it is reaped, while its number is its own.
        self.signal_all(Signal::KILL);
        // The group is not there before the launcher made it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows a program until it ends.
struct Watch<'a> {
    session: &'a Session,
    clock: &'a dyn Clock,
    wall: Duration,
    output: Vec<u8>,
    output_bytes: u64,
    log: Log,
    memory_bytes_peak: u64,
}

impl Watch<'_> {
    fn follow(&mut self, program: &mut Program, input: &[u8]) -> Result<ExitStatus, TaskError> {
        let (said, heard) = sync_channel(4);
        let child = &mut program.child;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(TaskError::RuntimeFault);
        };
        thread::scope(|scope| {
            let said_too = said.clone();
            scope.spawn(move || {
                let mut stdin = stdin;
                // A program need not read its input.
                let _ = stdin.write_all(input);
            });
            scope.spawn(move || pass_on(stdout, &said, Heard::Output));
            scope.spawn(move || pass_on(stderr, &said_too, Heard::Log));
            let ended = self.attend(program, &heard);
            // Whatever happened: nothing of it may hold the streams open, or the threads would wait.
            program.signal_all(Signal::KILL);
            let _ = program.child.kill();
            if ended.is_err() {
                drop(heard);
            }
            ended
        })
    }

    fn attend(
        &mut self,
        program: &mut Program,
        heard: &Receiver<Heard>,
    ) -> Result<ExitStatus, TaskError> {
        let control = &self.session.control;
        let mut worked = Duration::ZERO;
        let mut stretch = Duration::ZERO;
        let mut rest = Duration::ZERO;
        let mut last = self.clock.now();
        let mut status = None;
        loop {
            let is_open = match heard.recv_timeout(LOOK_EVERY) {
                Ok(heard) => {
                    self.hear(heard)?;
                    true
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            let now = self.clock.now();
            let passed = now.duration_since(last);
            last = now;
            if program.is_halted {
                rest = rest.saturating_sub(passed);
            } else {
                worked += passed;
                stretch += passed;
            }
            if control.is_cancelled() {
                return Err(TaskError::Cancelled);
            }
            if worked > self.wall {
                let limit_ms = u64::try_from(self.wall.as_millis()).unwrap_or(u64::MAX);
                return Err(TaskError::TimedOut { limit_ms });
            }
            let share = control.cpu_share();
            if share == CpuShare::FULL {
                (stretch, rest) = (Duration::ZERO, Duration::ZERO);
            } else if stretch >= STRETCH {
                rest = pause(stretch, share);
                stretch = Duration::ZERO;
            }
            program.halt(control.is_suspended() || !rest.is_zero());
            if let Some(bytes) = program.memory_bytes_peak() {
                self.memory_bytes_peak = self.memory_bytes_peak.max(bytes);
            }
            if status.is_none() {
                status = program
                    .child
                    .try_wait()
                    .map_err(|_| TaskError::RuntimeFault)?;
                if status.is_some() {
                    // What it started goes with it.
                    program.signal_all(Signal::KILL);
                }
            }
            if let (Some(status), false) = (status, is_open) {
                return Ok(status);
            }
            if !is_open {
                // It closed its streams and goes on: no messages to wait for.
                thread::park_timeout(LOOK_EVERY);
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), TaskError> {
        match heard {
            Heard::Log(bytes) => self.log.write(&bytes),
            Heard::Output(bytes) => {
                let actual = (self.output.len() + bytes.len()) as u64;
                if actual > self.output_bytes {
                    return Err(TaskError::OutputTooLarge {
                        actual,
                        limit: self.output_bytes,
                    });
                }
                self.output.extend(bytes);
            }
        }
        Ok(())
    }
}

/// Reads a stream to its end, or until nobody listens.
fn pass_on(mut stream: impl Read, said: &SyncSender<Heard>, what: fn(Vec<u8>) -> Heard) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if said.send(what(buffer[..len].to_vec())).is_err() {
            return;
        }
    }
}
