//! What happens in the process of a program before it becomes the program.
//!
//! Limits that a process sets itself need no `unsafe`, as code between fork and exec would. So the
//! runtime starts a launcher, which shuts itself in and then executes the program in its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use thiserror::Error;

/// First argument of a launcher.
pub(super) const FLAG: &str = "--fog-launch";

/// Beside the program's folder: why it was not started.
pub(super) const FAILED: &str = "failed";

/// The program's folder in its scratch directory.
pub(super) const HOME: &str = "home";

/// Name of the program, beside its folder: it cannot change itself.
pub(super) const PROGRAM: &str = "program";

/// Who a program becomes when the node is root: `nobody`.
pub(super) const NOBODY: u32 = 65_534;

/// Files a program may have open.
const OPEN_FILES_MAX: u64 = 64;

/// What a program may read besides its own folder: what it takes to start one.
const READABLE: [&str; 8] = [
    "/bin",
    "/lib",
    "/lib64",
    "/usr",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/zero",
    "/dev/urandom",
];

/// Limits of one program, as the launcher gets them in its arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Jail {
    pub(super) scratch: PathBuf,
    pub(super) memory_bytes: u64,
    pub(super) cpu_s: u64,
    pub(super) processes_max: u64,
    pub(super) needs_landlock: bool,
}

#[derive(Debug, Error)]
enum LaunchError {
    #[error("arguments of the launcher are not its own")]
    Arguments,
    #[error("system: {0}")]
    System(#[from] io::Error),
    #[error("resource limit: {0}")]
    Limit(#[from] rustix::io::Errno),
    #[error("Landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    #[error("the kernel has no Landlock")]
    NoLandlock,
    #[error("system call filter: {0}")]
    Filter(#[from] seccompiler::Error),
    #[error("no system call filter for this processor")]
    Processor,
}

impl From<seccompiler::BackendError> for LaunchError {
    fn from(error: seccompiler::BackendError) -> Self {
        Self::Filter(error.into())
    }
}

impl Jail {
    pub(super) fn to_args(&self) -> Vec<OsString> {
        let mut args = vec![FLAG.into(), self.scratch.clone().into_os_string()];
        for number in [
            self.memory_bytes,
            self.cpu_s,
            self.processes_max,
            self.needs_landlock.into(),
        ] {
            args.push(number.to_string().into());
        }
        args
    }

    fn from_args(args: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let scratch = args.next()?.into();
        let mut number = || args.next()?.to_str()?.parse::<u64>().ok();
        Some(Self {
            scratch,
            memory_bytes: number()?,
            cpu_s: number()?,
            processes_max: number()?,
            needs_landlock: number()? != 0,
        })
    }
}

/// Becomes a program, if the arguments of this process are those that a
/// [`ProcessRuntime`](crate::ProcessRuntime) gives its launcher; returns only if they are not, or if
/// it fails.
///
/// To be called before anything else, as threads and open files would be those of the program.
#[must_use]
pub fn launch_from_args() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(FLAG.as_ref()) {
        return None;
    }
    let Some(jail) = Jail::from_args(&mut args) else {
        eprintln!("{}", LaunchError::Arguments);
        return Some(ExitCode::FAILURE);
    };
    let Err(error) = launch(&jail, args.collect());
    // The runtime looks for it. If it cannot be written, what follows is an exit status all the same.
    let _ = fs::write(jail.scratch.join(FAILED), error.to_string());
    Some(ExitCode::FAILURE)
}

fn launch(jail: &Jail, args: Vec<OsString>) -> Result<std::convert::Infallible, LaunchError> {
    let home = jail.scratch.join(HOME);
    std::env::set_current_dir(&home)?;
    // Own session and process group: the runtime ends the group as a whole.
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    close_fds::set_fds_cloexec(3, &[]);
    for (resource, limit) in [
        (Resource::As, jail.memory_bytes),
        (Resource::Core, 0),
        (Resource::Cpu, jail.cpu_s),
        (Resource::Fsize, jail.memory_bytes),
        (Resource::Nofile, OPEN_FILES_MAX),
    ] {
        set_limit(resource, limit)?;
    }
    // Without other processes the filter sees to it, and this would count those of the user's other
    // programs.
    if jail.processes_max > 0 {
        set_limit(Resource::Nproc, jail.processes_max)?;
    }
    let is_confined = confine_files(&jail.scratch, &home)?;
    if jail.needs_landlock && !is_confined {
        return Err(LaunchError::NoLandlock);
    }
    let mut program = Command::new(jail.scratch.join(PROGRAM));
    program.args(args);
    if rustix::process::geteuid().is_root() {
        program.uid(NOBODY).gid(NOBODY);
    }
    filter_calls(jail.processes_max > 0)?;
    Err(program.exec().into())
}

fn set_limit(resource: Resource, limit: u64) -> Result<(), LaunchError> {
    let both = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    Ok(rustix::process::setrlimit(resource, both)?)
}

/// Leaves the program its own folder, and what it takes to start: true if the kernel does so.
fn confine_files(scratch: &Path, home: &Path) -> Result<bool, LaunchError> {
    // Later versions are used as far as the kernel has them.
    let abi = ABI::V5;
    let read = AccessFs::from_read(abi);
    let readable = READABLE
        .iter()
        .map(PathBuf::from)
        .chain([scratch.join(PROGRAM)]);
    let readable: Vec<_> = readable.filter(|path| path.exists()).collect();
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(&readable, read))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::from_file(abi)))?
        // A program may not execute what it wrote.
        .add_rules(path_beneath_rules(
            [home],
            AccessFs::from_all(abi) & !AccessFs::Execute,
        ))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// System calls that a program which computes needs. No sockets, no tracing, no mounts, no keys, no
/// other processes' memory.
fn allowed_calls() -> Vec<i64> {
    let mut calls = vec![
        libc::SYS_brk,
        libc::SYS_chdir,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        // Answered by the other filter.
        libc::SYS_clone3,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_copy_file_range,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_execve,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_fadvise64,
        libc::SYS_fallocate,
        libc::SYS_fchdir,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fcntl,
        libc::SYS_fdatasync,
        libc::SYS_flock,
        libc::SYS_fstat,
        libc::SYS_fstatfs,
        libc::SYS_fsync,
        libc::SYS_ftruncate,
        libc::SYS_futex,
        libc::SYS_getcpu,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getgroups,
        libc::SYS_getitimer,
        libc::SYS_getpgid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getpriority,
        libc::SYS_getrandom,
        libc::SYS_getresgid,
        libc::SYS_getresuid,
        libc::SYS_getrlimit,
        libc::SYS_getrusage,
        libc::SYS_getsid,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_getuid,
        libc::SYS_linkat,
        libc::SYS_lseek,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mincore,
        libc::SYS_mkdirat,
        libc::SYS_mlock,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_msync,
        libc::SYS_munlock,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_pipe2,
        libc::SYS_ppoll,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_pselect6,
        libc::SYS_pwrite64,
        libc::SYS_pwritev,
        libc::SYS_read,
        libc::SYS_readlinkat,
        libc::SYS_readv,
        libc::SYS_renameat2,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigpending,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        // For the step from root to nobody, before the program; it cannot go back.
        libc::SYS_setgid,
        libc::SYS_setgroups,
        libc::SYS_setuid,
        libc::SYS_setitimer,
        libc::SYS_sigaltstack,
        libc::SYS_statfs,
        libc::SYS_statx,
        libc::SYS_sysinfo,
        libc::SYS_tgkill,
        libc::SYS_times,
        libc::SYS_umask,
        libc::SYS_uname,
        libc::SYS_unlinkat,
        libc::SYS_utimensat,
        libc::SYS_wait4,
        libc::SYS_waitid,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    // Older forms, which only this processor has.
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        libc::SYS_access,
        libc::SYS_alarm,
        libc::SYS_arch_prctl,
        libc::SYS_chmod,
        libc::SYS_creat,
        libc::SYS_dup2,
        libc::SYS_getdents,
        libc::SYS_getpgrp,
        libc::SYS_link,
        libc::SYS_lstat,
        libc::SYS_mkdir,
        libc::SYS_open,
        libc::SYS_pause,
        libc::SYS_pipe,
        libc::SYS_poll,
        libc::SYS_readlink,
        libc::SYS_rename,
        libc::SYS_rmdir,
        libc::SYS_select,
        libc::SYS_stat,
        libc::SYS_time,
        libc::SYS_unlink,
        libc::SYS_utime,
        libc::SYS_utimes,
    ]);
    calls
}

/// What is not allowed fails with `EPERM`. Sets `no_new_privs` as well.
fn filter_calls(may_fork: bool) -> Result<(), LaunchError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| LaunchError::Processor)?;
    // The flags of `clone3` are in memory, where no filter sees them. The C library goes back to
    // `clone` when it is told that there is no such call.
    let old_clone = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in allowed_calls() {
        rules.insert(call, Vec::new());
    }
    // Its own limits only, which it can lower.
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own])?]);
    if may_fork {
        rules.insert(libc::SYS_clone, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    } else {
        // Threads only.
        let thread = libc::CLONE_THREAD as u64;
        let condition = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(thread),
            thread,
        )?;
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![condition])?]);
    }
    let allowed = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )?;
    let old_clone: seccompiler::BpfProgram = old_clone.try_into()?;
    let allowed: seccompiler::BpfProgram = allowed.try_into()?;
    seccompiler::apply_filter(&old_clone)?;
    seccompiler::apply_filter(&allowed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_launcher_round_trip() {
        let jail = Jail {
            scratch: "/tmp/a b".into(),
            memory_bytes: 1,
            cpu_s: 2,
            processes_max: 3,
            needs_landlock: true,
        };
        let mut args = jail.to_args().into_iter().skip(1);
        assert_eq!(Jail::from_args(&mut args), Some(jail));
        assert_eq!(Jail::from_args(&mut ["x".into()].into_iter()), None);
    }

    #[test]
    fn no_call_is_allowed_that_opens_the_network_or_reaches_other_processes() {
        let allowed = allowed_calls();
        for call in [
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_kill,
            libc::SYS_setsid,
            libc::SYS_setpgid,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_memfd_create,
        ] {
            assert!(!allowed.contains(&call), "{call}");
        }
    }
}
