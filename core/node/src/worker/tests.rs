use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fogcompute_base::Instant;
use fogcompute_exec::{Input, TaskError, TaskRef, TrapKind};
use fogcompute_harvest::{Battery, DeviceClass, DeviceState, HarvestState, Network, Reason};
use tempfile::TempDir;

use super::*;

const SUM: &[u8] = include_bytes!("../../../../examples/wasm/sum.wasm");
const ECHO: &[u8] = include_bytes!("../../../../examples/wasm/echo.wasm");
const WALL: u64 = 1_779_040_800_000;

/// Says so, makes a checkpoint, and runs until it is stopped. Goes on from the checkpoint by
/// returning the length of its input, which only the checkpoint has.
const WAITS: &str = r#"(module
    (import "fog" "log" (func $log (param i32 i32)))
    (import "fog" "checkpoint_completed" (func $completed))
    (memory (export "memory") 1)
    (data (i32.const 64) "begun")
    (func (export "fog_alloc") (param i32) (result i32) (i32.const 256))
    (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
        (i32.store (i32.const 0) (local.get $len))
        (call $log (i32.const 64) (i32.const 5))
        (call $completed)
        (loop $for_ever (br $for_ever))
        (i64.const 0))
    (func (export "fog_resume") (result i64)
        (i64.store (i32.const 8) (i64.extend_i32_u (i32.load (i32.const 0))))
        (i64.const 0x800000008)))"#;

/// A clock that stands still until it is set.
#[derive(Default)]
struct Hands(AtomicU64);

impl Hands {
    fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    fn millis(&self) -> u64 {
        WALL + self.0.load(Ordering::SeqCst)
    }
}

impl Clock for Hands {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.load(Ordering::SeqCst))
    }
    fn unix_now(&self) -> UnixMillis {
        UnixMillis(self.millis())
    }
}

fn waits() -> WorkerJob {
    let mut job = WorkerJob::new(wat::parse_str(WAITS).unwrap(), vec![b"seven b".to_vec()]);
    job.limits.fuel = u64::MAX;
    job
}

fn at(path: &Path) -> WorkerConfig {
    WorkerConfig {
        path: Some(path.to_owned()),
        durability: Durability::Normal,
        slots: 2,
        ..WorkerConfig::default()
    }
}

fn open(path: &Path) -> Worker {
    Worker::start(at(path), WorkerHost::default()).unwrap()
}

fn in_memory() -> Worker {
    Worker::start(WorkerConfig::default(), WorkerHost::default()).unwrap()
}

fn one(worker: &Worker, job: WorkerJob) -> TaskId {
    let submitted = worker.submit(job).wait().unwrap();
    submitted.task_ids().next().unwrap()
}

/// Asks again until it is so.
fn until<T>(mut ask: impl FnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        thread::yield_now();
    }
}

fn has_checkpoint(worker: &Worker, task: TaskId) -> TaskStatus {
    until(
        || worker.task(task).wait().unwrap(),
        |task| task.checkpoints > 0 && matches!(task.state, State::Running(_)),
    )
}

#[test]
fn tasks_of_a_job_run_and_their_outputs_stay() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tasks");
    let worker = open(&path);
    let inputs: Vec<Vec<u8>> = (1..=20).map(|byte| vec![byte; 3]).collect();
    let submitted = worker.submit(WorkerJob::new(SUM, inputs)).wait().unwrap();
    assert_eq!((submitted.tasks, submitted.replayed), (20, false));
    let mut seen = None;
    let ended = until(
        || {
            let progress = worker.progress(submitted.job, seen).wait().unwrap();
            assert_ne!(seen, Some(progress), "an answer is news");
            seen = Some(progress);
            progress
        },
        |progress| progress.open == 0,
    );
    assert_eq!((ended.succeeded, ended.unsuccessful), (20, 0));
    drop(worker);

    let worker = open(&path);
    for (task, byte) in submitted.task_ids().zip(1_u64..) {
        let output = worker.fetch(task).wait().unwrap();
        assert_eq!(output.output, (3 * byte).to_le_bytes());
        assert!(output.usage.fuel > 0);
    }
}

#[test]
fn tasks_wait_for_others_and_a_key_makes_a_job_the_same() {
    let worker = in_memory();
    let contents: Vec<Arc<[u8]>> = vec![ECHO.into(), SUM.into(), vec![7, 8].into()];
    let id = |index: usize| ContentId::of(&contents[index]);
    let tasks = vec![
        Task::wasm(id(0), vec![Input::Content(id(2))]),
        Task::wasm(id(1), vec![Input::Output(TaskRef::Place(0))]),
    ];
    let owner = AccountId::from_bytes([1; 16]);
    let job = Job::new(owner, tasks).with_key(IdempotencyKey::new("twice").unwrap());
    let first = worker.submit_job(job.clone(), contents).wait().unwrap();
    let again = worker.submit_job(job, Vec::new()).wait().unwrap();
    assert_eq!((again.job, again.replayed), (first.job, true));
    let last = first.task_ids().last().unwrap();
    assert_eq!(
        worker.output(last).wait().unwrap().output,
        15_u64.to_le_bytes()
    );
}

#[test]
fn outputs_that_are_too_long_for_an_input_fail_the_task() {
    let worker = in_memory();
    let mut contents: Vec<Arc<[u8]>> = vec![ECHO.into()];
    let echo = ContentId::of(ECHO);
    let mut tasks = Vec::new();
    for byte in 0..2 {
        let long: Arc<[u8]> = vec![byte; 700_000].into();
        tasks.push(Task::wasm(echo, vec![Input::Content(ContentId::of(&long))]));
        contents.push(long);
    }
    let both = [0, 1].map(|place| Input::Output(TaskRef::Place(place)));
    tasks.push(Task::wasm(echo, both.to_vec()));
    let job = Job::new(AccountId::from_bytes([1; 16]), tasks);
    let submitted = worker.submit_job(job, contents).wait().unwrap();
    let last = submitted.task_ids().last().unwrap();
    let error = worker.output(last).wait().unwrap_err();
    assert!(
        matches!(
            error,
            WorkerError::Task(TaskError::InputTooLarge {
                actual: 1_400_012,
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn what_cannot_be_taken_is_refused_by_kind() {
    let worker = in_memory();
    let refused = |job| worker.submit(job).wait().unwrap_err();
    let error = refused(WorkerJob::new(&b""[..], vec![Vec::new()]));
    assert!(
        matches!(error, WorkerError::Spec(SpecError::EmptyModule)),
        "{error:?}"
    );
    let error = refused(WorkerJob::new(vec![0; (1 << 20) + 1], vec![Vec::new()]));
    assert!(
        matches!(error, WorkerError::Spec(SpecError::ModuleTooLarge { .. })),
        "{error:?}"
    );
    let error = refused(WorkerJob::new(SUM, vec![vec![0; INPUT_BYTES_MAX + 1]]));
    assert!(
        matches!(error, WorkerError::Spec(SpecError::InputTooLarge { .. })),
        "{error:?}"
    );
    let error = refused(WorkerJob::new(SUM, Vec::new()));
    assert!(matches!(error, WorkerError::Submit(_)), "{error:?}");
    let mut job = WorkerJob::new(SUM, vec![Vec::new()]);
    job.runtime = RuntimeKind::process();
    let error = refused(job);
    assert!(
        matches!(error, WorkerError::UnknownRuntime { .. }),
        "{error:?}"
    );

    let owner = AccountId::from_bytes([1; 16]);
    let submit = |task| {
        worker
            .submit_job(Job::new(owner, vec![task]), vec![])
            .wait()
    };
    let error = submit(Task::wasm(ContentId::of(b"?"), vec![])).unwrap_err();
    assert!(
        matches!(error, WorkerError::UnknownContent { .. }),
        "{error:?}"
    );
    let unknown = TaskId::from_bytes([9; 16]);
    let error = worker.task(unknown).wait().unwrap_err();
    assert!(matches!(error, WorkerError::Call(_)), "{error:?}");
    let error = worker.cancel(unknown).wait().unwrap_err();
    assert!(matches!(error, WorkerError::Call(_)), "{error:?}");
}

#[test]
fn broken_modules_fail_their_task_alone() {
    let worker = in_memory();
    let unreachable = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
            (func (export "fog_run") (param i32 i32) (result i64) unreachable))"#,
    )
    .unwrap();
    let trapped = one(&worker, WorkerJob::new(unreachable, vec![Vec::new()]));
    let junk = one(&worker, WorkerJob::new(&b"junk"[..], vec![Vec::new()]));
    let sum = one(&worker, WorkerJob::new(SUM, vec![vec![1]]));
    let error = worker.output(trapped).wait().unwrap_err();
    let kind = TrapKind::Unreachable;
    assert!(
        matches!(error, WorkerError::Task(TaskError::Trap { kind: found }) if found == kind),
        "{error:?}"
    );
    let error = worker.output(junk).wait().unwrap_err();
    assert!(
        matches!(error, WorkerError::Task(TaskError::MalformedModule { .. })),
        "{error:?}"
    );
    assert_eq!(
        worker.output(sum).wait().unwrap().output,
        1_u64.to_le_bytes()
    );
}

#[test]
fn running_task_is_cancelled_and_its_log_can_be_read_meanwhile() {
    let worker = in_memory();
    let task = one(&worker, waits());
    let log = worker.log(task, 0, 100).wait().unwrap();
    assert_eq!(
        (&log.bytes[..], log.next, log.ended),
        (&b"begun\n"[..], 6, false)
    );
    let (more, output) = (worker.log(task, 6, 100), worker.output(task));
    let error = worker.fetch(task).wait().unwrap_err();
    assert!(matches!(error, WorkerError::NotEnded { .. }), "{error:?}");
    worker.cancel(task).wait().unwrap();
    let error = output.wait().unwrap_err();
    assert!(
        matches!(error, WorkerError::Task(TaskError::Cancelled)),
        "{error:?}"
    );
    assert!(more.wait().unwrap().ended);
    until(
        || worker.status().wait().unwrap(),
        |status| status.running == 0,
    );
}

#[test]
fn closed_worker_goes_on_from_the_checkpoint() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tasks");
    let worker = open(&path);
    let task = one(&worker, waits());
    has_checkpoint(&worker, task);
    let output = worker.output(task);
    worker.close();
    assert!(matches!(output.wait(), Err(WorkerError::Closed)));
    assert!(matches!(worker.task(task).wait(), Err(WorkerError::Closed)));

    let worker = open(&path);
    assert_eq!(
        worker.output(task).wait().unwrap().output,
        7_u64.to_le_bytes()
    );
    let ended = worker.task(task).wait().unwrap();
    assert_eq!(
        (ended.attempts, ended.failures, ended.preemptions),
        (2, 0, 1)
    );
}

#[test]
fn nothing_is_acknowledged_that_is_not_stored_and_the_worker_goes_on() {
    let folder = TempDir::new().unwrap();
    let (path, away) = (folder.path().join("tasks"), folder.path().join("away"));
    let worker = open(&path);
    let before = one(&worker, WorkerJob::new(SUM, vec![vec![1]]));
    worker.output(before).wait().unwrap();

    fs::rename(&path, &away).unwrap();
    let submit = || worker.submit(WorkerJob::new(SUM, vec![vec![2]])).wait();
    let error = submit().unwrap_err();
    let WorkerError::NotStored { job, source } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*source, StoreError::Replaced { .. }), "{source:?}");
    let error = submit().unwrap_err();
    assert!(matches!(error, WorkerError::Store(_)), "{error:?}");
    let error = worker.task(before).wait().unwrap_err();
    assert!(matches!(error, WorkerError::Store(_)), "{error:?}");
    assert!(worker.status().wait().unwrap().store_error.is_some());

    fs::rename(&away, &path).unwrap();
    let after = submit().unwrap();
    for task in after.task_ids() {
        assert_eq!(
            worker.output(task).wait().unwrap().output,
            2_u64.to_le_bytes()
        );
    }
    // The job that was taken and not written was written later.
    let ended = until(
        || worker.progress(job, None).wait().unwrap(),
        |progress| progress.open == 0,
    );
    assert_eq!(ended.succeeded, 1);
    assert!(worker.status().wait().unwrap().store_error.is_none());
}

/// A probe that does what its script says.
struct Scripted(Box<dyn FnMut(Instant) -> Result<DeviceState, ProbeError> + Send>);

impl DeviceProbe for Scripted {
    fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError> {
        self.0(now)
    }
}

fn harvesting(
    path: &Path,
    hands: &Arc<Hands>,
    policy: &HarvestPolicy,
    probe: Box<dyn DeviceProbe>,
) -> Worker {
    let host = WorkerHost {
        clock: Arc::clone(hands) as Arc<dyn Clock>,
        harvest: Some(WorkerHarvest {
            // The test says when.
            reading_every: Duration::from_secs(3_600),
            ..WorkerHarvest::new(Some(policy.clone()), probe)
        }),
        ..WorkerHost::default()
    };
    Worker::start(at(path), host).unwrap()
}

fn policy() -> HarvestPolicy {
    // Nobody is asked here who sits in front of it and what the network costs.
    HarvestPolicy::from_toml(
        "window = \"any\"\nallow_metered = true\nuser_idle_min_seconds = 0\n\
         user_idle_continue_min_seconds = 0",
    )
    .unwrap()
}

fn in_state(worker: &Worker, state: HarvestState) -> WorkerStatus {
    until(
        || worker.status().wait().unwrap(),
        |status| {
            status
                .answer
                .as_ref()
                .is_some_and(|answer| answer.state == state)
        },
    )
}

fn good(now: Instant) -> DeviceState {
    DeviceState {
        cpu_cores: Some(4),
        cpu_load: Some(0.1),
        memory_total_bytes: Some(16 << 30),
        memory_available_bytes: Some(8 << 30),
        battery: Battery::Absent,
        temperature_celsius: Some(40.0),
        network: Network::Ethernet,
        metered: Some(false),
        screen_on: Some(false),
        ..DeviceState::unknown(DeviceClass::Server, now)
    }
}

#[test]
fn probe_that_fails_or_panics_makes_the_device_unknown() {
    let folder = TempDir::new().unwrap();
    let hands = Arc::new(Hands::default());
    let (script, steps) = channel::<Result<DeviceClass, ProbeError>>();
    let probe = Scripted(Box::new(move |now| match steps.recv() {
        Ok(Ok(_)) => Ok(good(now)),
        Ok(Err(ProbeError::Broken)) => panic!("a probe of the host breaks"),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ProbeError::Unavailable),
    }));
    script.send(Ok(DeviceClass::Server)).unwrap();
    let path = folder.path().join("tasks");
    let policy = HarvestPolicy {
        resume_delay: Duration::ZERO,
        ..policy()
    };
    let worker = harvesting(&path, &hands, &policy, Box::new(probe));
    in_state(&worker, HarvestState::Running);
    let host = ProbeError::Host {
        reason: "permission denied".to_owned(),
    };
    for error in [host, ProbeError::Broken] {
        script.send(Err(error.clone())).unwrap();
        worker.look();
        let status = in_state(&worker, HarvestState::Suspended);
        assert_eq!(status.permission, Permission::Suspend);
        assert_eq!(status.probe_error, Some(error));
        script.send(Ok(DeviceClass::Server)).unwrap();
        worker.look();
        let status = in_state(&worker, HarvestState::Running);
        assert_eq!(status.probe_error, None);
    }
    // One that blocks: its last reading grows old, and nothing is waited for.
    worker.look();
    hands.forward(31);
    let status = until(
        || {
            worker.look();
            worker.status().wait().unwrap()
        },
        |status| status.permission == Permission::Suspend,
    );
    let stale = |reason: &Reason| reason.code() == "reading_stale";
    let reasons = status.answer.unwrap().reasons;
    assert!(reasons.iter().any(stale), "{reasons:?}");
}

#[test]
fn budget_reaches_running_tasks_and_memory_of_sessions_is_stored() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tasks");
    let hands = Arc::new(Hands::default());
    let load = Arc::new(AtomicU64::new(10));
    let shown = Arc::clone(&load);
    let probe = move || {
        let shown = Arc::clone(&shown);
        Scripted(Box::new(move |now| {
            let mut state = good(now);
            state.temperature_celsius = Some(shown.load(Ordering::SeqCst) as f64);
            Ok(state)
        }))
    };
    let worker = harvesting(&path, &hands, &policy(), Box::new(probe()));
    let status = in_state(&worker, HarvestState::Running);
    let Permission::Run(budget) = status.permission else {
        panic!("{status:?}");
    };
    // Half of four processors.
    assert_eq!((budget.slots, budget.cpu_permille), (2, 1_000));
    load.store(60, Ordering::SeqCst);
    hands.forward(1);
    worker.look();
    let status = in_state(&worker, HarvestState::Throttled);
    let Permission::Run(budget) = status.permission else {
        panic!("{status:?}");
    };
    assert!(budget.slots * budget.cpu_permille < 2_000, "{budget:?}");
    assert_eq!(status.record.unwrap().sessions, 1);
    drop(worker);

    let worker = harvesting(&path, &hands, &policy(), Box::new(probe()));
    let status = in_state(&worker, HarvestState::Throttled);
    assert_eq!(
        status.record.unwrap().sessions,
        1,
        "it is the session that had begun"
    );
}

/// A laptop's files, as `core/runtime/tests/probe.rs` has them.
#[cfg(target_os = "linux")]
struct Laptop(TempDir);

#[cfg(target_os = "linux")]
impl Laptop {
    fn new() -> Self {
        let laptop = Self(TempDir::new().unwrap());
        for (file, content) in [
            (
                "proc/meminfo",
                "MemTotal: 16384000 kB\nMemAvailable: 8192000 kB\n",
            ),
            (
                "proc/self/stat",
                "7 (x) R 1 1 1 0 -1 0 0 0 0 0 5 0 0 0 20 0 1 0 1\n",
            ),
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("sys/class/power_supply/BAT0/present", "1\n"),
            ("sys/class/power_supply/BAT0/capacity", "80\n"),
            ("sys/class/power_supply/AC/type", "Mains\n"),
            ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
            ("sys/class/thermal/thermal_zone0/temp", "41000\n"),
            ("sys/class/drm/card0-eDP-1/status", "connected\n"),
            ("sys/class/drm/card0-eDP-1/enabled", "enabled\n"),
            ("sys/class/drm/card0-eDP-1/dpms", "Off\n"),
            ("sys/class/net/wlp3s0/type", "1\n"),
            ("sys/class/net/wlp3s0/operstate", "up\n"),
        ] {
            laptop.write(file, content);
        }
        fs::create_dir_all(laptop.0.path().join("sys/class/net/wlp3s0/wireless")).unwrap();
        laptop.plug(true);
        laptop.work(1);
        laptop
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn plug(&self, is_in: bool) {
        let status = if is_in { "Charging\n" } else { "Discharging\n" };
        self.write("sys/class/power_supply/BAT0/status", status);
        let online = if is_in { "1\n" } else { "0\n" };
        self.write("sys/class/power_supply/AC/online", online);
    }

    /// A tenth of the two processors is the owner's.
    fn work(&self, time: u64) {
        let (busy, idle) = (20 * time, 180 * time);
        self.write(
            "proc/stat",
            &format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 0 0 1 0\ncpu1 1 0 0 1 0\n"),
        );
    }
}

/// "Done when" of the issue: the charger of a recorded device is pulled.
#[cfg(target_os = "linux")]
#[test]
fn pulling_the_charger_suspends_the_task_within_a_second_and_it_goes_on_from_its_checkpoint() {
    let laptop = Laptop::new();
    let folder = TempDir::new().unwrap();
    let hands = Arc::new(Hands::default());
    let probe = fogcompute_runtime::probe::LinuxProbe::with_root(laptop.0.path());
    let path = folder.path().join("tasks");
    let worker = harvesting(&path, &hands, &policy(), Box::new(probe));
    let mut time = 1;
    let readings = |seen| {
        let status = || worker.status().wait().unwrap();
        until(status, |status| status.readings > seen).readings
    };
    let mut seen = readings(0);
    let mut after = |seconds| {
        time += 1;
        laptop.work(time);
        hands.forward(seconds);
        worker.look();
        seen = readings(seen);
    };
    after(1);
    in_state(&worker, HarvestState::Running);
    let task = one(&worker, waits());
    has_checkpoint(&worker, task);

    let pulled = hands.millis();
    laptop.plug(false);
    after(1);
    let status = in_state(&worker, HarvestState::Suspended);
    assert_eq!(status.answer.unwrap().reasons, [Reason::NotCharging]);
    let suspended = worker.task(task).wait().unwrap();
    assert!(
        matches!(suspended.state, State::Suspended(_)),
        "{suspended:?}"
    );
    assert!(suspended.changed.0 - pulled <= 1_000);

    // Plugged in again it goes on where it stands.
    laptop.plug(true);
    after(1);
    after(11);
    in_state(&worker, HarvestState::Running);
    let resumed = worker.task(task).wait().unwrap();
    assert!(matches!(resumed.state, State::Running(_)), "{resumed:?}");

    // Pulled for long, it makes way, and the device rests.
    laptop.plug(false);
    after(1);
    in_state(&worker, HarvestState::Suspended);
    after(601);
    in_state(&worker, HarvestState::Cooldown);
    let waiting = worker.task(task).wait().unwrap();
    assert_eq!((waiting.state, waiting.preemptions), (State::Queued, 1));

    laptop.plug(true);
    after(1_801);
    after(1);
    let output = worker.output(task).wait().unwrap();
    assert_eq!(output.output, 7_u64.to_le_bytes());
    let steps = worker.history(task).wait().unwrap();
    let causes: Vec<&str> = steps.iter().map(|step| step.cause.name()).collect();
    for cause in [
        "checkpointed",
        "suspended",
        "resumed",
        "preempted",
        "returned",
    ] {
        assert!(causes.contains(&cause), "{cause} in {causes:?}");
    }
}
