//! The command as processes: how they end, and what they say.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fogcompute_base::{AccountId, JobId, NodeId, Priority, TaskId};
use fogcompute_coord::{Config, Event, JobSpec, PrivacyLevel, TaskOrder};
use fogcompute_exec::{Limits, TaskSpec};
use fogcompute_ledger::Amount;
use fogcompute_node::{CoordinatorConfig, CoordinatorService, Role, Update};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

/// Longer than anything here takes: a test that fails should not hang.
const PATIENCE: Duration = Duration::from_secs(120);

const OWNER: AccountId = AccountId::from_bytes([9; 16]);

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fogcompute"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn node(role: &str, coordinator: &str, id: NodeId, data: &Path) -> Child {
    node_command(role, coordinator, id, data).spawn().unwrap()
}

fn node_command(role: &str, coordinator: &str, id: NodeId, data: &Path) -> Command {
    let mut node = command(&format!(
        "node --role {role} --coordinator {coordinator} --coordinator-id {id} --policy always \
         --heartbeat-ms 10"
    ));
    node.arg("--data").arg(data);
    node
}

async fn send(signal: &str, child: &Child) {
    let pid = child.id().unwrap().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().await;
    assert!(sent.unwrap().success());
}

async fn ended(child: &mut Child) -> ExitStatus {
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    ended.expect("the process does not end").unwrap()
}

#[cfg(target_os = "linux")]
async fn stderr(child: &mut Child) -> String {
    let mut text = String::new();
    let mut stream = child.stderr.take().unwrap();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, part: &str) -> String {
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("nothing is said").unwrap().expect(part);
        if line.contains(part) {
            return line;
        }
    }
}

#[tokio::test]
async fn a_node_that_dials_ends_when_it_is_asked_to() {
    // The handler was there and nobody listened, so that the signal was lost.
    for signal in ["-INT", "-TERM", "-HUP"] {
        // Somebody who accepts and says nothing.
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = mute.local_addr().unwrap().to_string();
        let data = tempfile::tempdir().unwrap();
        let id = NodeId::from_bytes([1; 32]);
        let mut node = node("mix --layer 0", &address, id, data.path());
        let _accepted = mute.accept().await.unwrap();
        send(signal, &node).await;
        assert_eq!(ended(&mut node).await.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_node_says_once_why_it_cannot_reach_its_coordinator() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let data = tempfile::tempdir().unwrap();
    let id = NodeId::from_bytes([1; 32]);
    let mut node = node("mix --layer 0", &address, id, data.path());
    let mut said = BufReader::new(node.stderr.take().unwrap()).lines();
    let first = tokio::time::timeout(PATIENCE, said.next_line()).await;
    let first = first.expect("nothing is said").unwrap().unwrap();
    assert!(first.contains(&format!("coordinator {address}: connection:")));
    // Now there is somebody else than was asked for.
    let config = coordinator(data.path(), address.parse().unwrap());
    let mut other = CoordinatorService::start(config).await.unwrap();
    let second = tokio::select! {
        line = said.next_line() => line.unwrap().unwrap(),
        update = other.next() => panic!("{update:?}"),
    };
    assert!(second.contains("expected node 0101"), "{second}");
    send("-TERM", &node).await;
    assert_eq!(ended(&mut node).await.code(), Some(0));
}

fn coordinator(folder: &Path, listen: std::net::SocketAddr) -> CoordinatorConfig {
    CoordinatorConfig {
        listen,
        ledger: folder.join("ledger.sqlite"),
        jobs: folder.join("jobs.sqlite"),
        owner: OWNER,
        endowment: Amount::from_credits(1000),
        delay_mean: Duration::from_millis(1),
        layers: 1,
        seed: 1,
        nodes_max: 8,
        rules: Config::default(),
    }
}

/// Work for days: a picture of very many pixels.
fn endless() -> TaskOrder {
    let mut input = Vec::new();
    for field in [600_000_u32, 400_000, 0, 1, 255] {
        input.extend(field.to_le_bytes());
    }
    // All of it is inside the set: every pixel takes every iteration.
    for field in [0.0_f64, 0.0, 0.001] {
        input.extend(field.to_le_bytes());
    }
    let limits = Limits {
        fuel: u64::MAX / 4,
        ..Limits::default()
    };
    let module = include_bytes!("../../../examples/wasm/mandelbrot.wasm");
    TaskOrder {
        id: TaskId::from_bytes([6; 16]),
        spec: TaskSpec::new(&module[..], input, limits).unwrap(),
        fuel_estimate: 1_000_000_000,
        price_max: Amount::from_credits(16),
    }
}

#[tokio::test]
async fn a_node_that_runs_a_task_ends_when_it_is_asked_to() {
    // It stayed until the guest's fuel was gone.
    let folder = tempfile::tempdir().unwrap();
    let config = coordinator(folder.path(), ([127, 0, 0, 1], 0).into());
    let mut fog = CoordinatorService::start(config).await.unwrap();
    let (address, id) = (fog.descriptor().address.to_string(), fog.descriptor().node);
    let data = |name: &str| folder.path().join(name);
    let _mix = node("mix --layer 0", &address, id, &data("mix"));
    let mut worker = node("compute", &address, id, &data("worker"));
    while fog.nodes().filter(|(_, record)| record.answered).count() < 2 {
        fog.next().await.unwrap();
    }
    let job = JobSpec {
        id: JobId::from_bytes([5; 16]),
        owner: OWNER,
        priority: Priority::default(),
        privacy: PrivacyLevel::Private,
        tasks: vec![endless()],
    };
    fog.submit(job).await.unwrap();
    let node = loop {
        if let Update::Decided {
            event: Event::Dispatch { node, .. },
            ..
        } = fog.next().await.unwrap()
        {
            break node;
        }
    };
    // Once everything has arrived, nothing further does.
    let (mut delivered, mut same) = (0, 0);
    while delivered == 0 || same < 20 {
        fog.next().await.unwrap();
        let now = fog.node(node).unwrap().mix.map_or(0, |mix| mix.delivered);
        same = if now == delivered { same + 1 } else { 0 };
        delivered = now;
    }
    send("-TERM", &worker).await;
    assert_eq!(ended(&mut worker).await.code(), Some(0));
}

/// Tasks that give their input back.
fn echoes(count: u8) -> Vec<TaskOrder> {
    let module = include_bytes!("../../../examples/wasm/echo.wasm");
    let echo = |index| TaskOrder {
        id: TaskId::from_bytes([index; 16]),
        spec: TaskSpec::new(&module[..], vec![index], Limits::default()).unwrap(),
        fuel_estimate: 1_000_000,
        price_max: Amount::from_credits(1),
    };
    (1..=count).map(echo).collect()
}

/// A process that ends with whoever holds it, also when that one panics outside a runtime.
struct Held(std::process::Child);

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one life of a coordinator: when this returns, its tasks and sockets are gone.
fn live<T>(life: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(PATIENCE, life).await.unwrap() })
}

#[test]
fn a_coordinator_that_is_killed_goes_on_where_it_was() {
    goes_on_where_it_was(PrivacyLevel::Private, &["mix --layer 0", "compute"]);
}

#[test]
fn a_coordinator_of_public_tasks_that_is_killed_goes_on_where_it_was() {
    goes_on_where_it_was(PrivacyLevel::Public, &["compute"]);
}

fn goes_on_where_it_was(privacy: PrivacyLevel, roles: &[&str]) {
    // Everything but its files is gone, its mix key and the reply blocks of its nodes included.
    let folder = tempfile::tempdir().unwrap();
    let mut config = coordinator(folder.path(), ([127, 0, 0, 1], 0).into());
    let job = JobId::from_bytes([5; 16]);
    let submitted = JobSpec {
        id: job,
        owner: OWNER,
        priority: Priority::default(),
        privacy,
        tasks: echoes(20),
    };
    let mut nodes = Vec::new();
    // At different points of its work: before anything is written down, with tasks that are out, with
    // results. The last life is not cut short.
    for results in [0, 1, 5, 9, usize::MAX] {
        live(async {
            let mut fog = CoordinatorService::start(config.clone()).await.unwrap();
            let (address, id) = (fog.descriptor().address, fog.descriptor().node);
            config.listen = address;
            if nodes.is_empty() {
                for role in roles {
                    let data = folder.path().join(role);
                    let mut command = node_command(role, &address.to_string(), id, &data);
                    nodes.push((id, Held(command.as_std_mut().spawn().unwrap())));
                }
            }
            assert_eq!(nodes[0].0, id);
            if fog.jobs().job(job).unwrap().is_none() {
                fog.submit(submitted.clone()).await.unwrap();
            }
            let mut ended = 0;
            while ended < results && fog.rules().job(job).is_none_or(|job| job.open > 0) {
                let update = fog.next().await.unwrap();
                ended += usize::from(matches!(
                    update,
                    Update::Decided {
                        event: Event::TaskEnded { .. },
                        ..
                    }
                ));
            }
            if results < usize::MAX {
                return;
            }
            for order in &submitted.tasks {
                let report = fog.jobs().report(order.id).unwrap().unwrap();
                assert_eq!(report.result.unwrap().output, order.spec.input());
            }
            // Paid once for each, whatever was written down or settled when it was killed.
            while fog.rules().needs_flush() {
                fog.next().await.unwrap();
            }
            let worker = fog.nodes().find(|(_, node)| node.role == Role::Compute);
            let account = fogcompute_coord::node_account(worker.unwrap().0);
            let paid = fog.rules().job(job).unwrap().paid;
            assert_eq!(fog.bank().balance(account), Some(paid));
        });
    }
}

#[test]
fn what_was_on_its_way_through_a_mixnode_that_is_killed_is_sent_again() {
    // Its task waited for the end of its lease, and the node that had it was blamed.
    let folder = tempfile::tempdir().unwrap();
    let config = coordinator(folder.path(), ([127, 0, 0, 1], 0).into());
    live(async {
        let mut fog = CoordinatorService::start(config).await.unwrap();
        let (address, id) = (fog.descriptor().address.to_string(), fog.descriptor().node);
        let data = |name: &str| folder.path().join(name);
        let mut mix = node("mix --layer 0", &address, id, &data("mix"));
        let _worker = node("compute", &address, id, &data("worker"));
        while fog.nodes().filter(|(_, record)| record.answered).count() < 2 {
            fog.next().await.unwrap();
        }
        let job = JobSpec {
            id: JobId::from_bytes([5; 16]),
            owner: OWNER,
            priority: Priority::default(),
            privacy: PrivacyLevel::Private,
            tasks: echoes(1),
        };
        fog.submit(job.clone()).await.unwrap();
        let mut sent = Vec::new();
        let mut again = None;
        loop {
            let Update::Decided { event, .. } = fog.next().await.unwrap() else {
                continue;
            };
            match event {
                Event::Dispatch { attempt, .. } => {
                    sent.push(attempt);
                    if again.is_none() {
                        // Its only one, so that the packets are lost with it or their answer is; its
                        // key is another afterwards.
                        mix.kill().await.unwrap();
                        again = Some(node("mix --layer 0", &address, id, &data("mix")));
                    }
                }
                Event::AttemptLost { reason, .. } => panic!("{reason}"),
                Event::TaskEnded { result, .. } => {
                    assert_eq!(result.unwrap().output, job.tasks[0].spec.input());
                    break;
                }
                _ => {}
            }
        }
        // As the same attempt.
        assert_eq!(sent, [1, 1]);
    });
}

#[test]
fn a_node_that_is_killed_loses_no_public_task() {
    let folder = tempfile::tempdir().unwrap();
    let config = coordinator(folder.path(), ([127, 0, 0, 1], 0).into());
    let job = JobSpec {
        id: JobId::from_bytes([5; 16]),
        owner: OWNER,
        priority: Priority::default(),
        privacy: PrivacyLevel::Public,
        tasks: echoes(200),
    };
    live(async {
        let mut fog = CoordinatorService::start(config).await.unwrap();
        let (address, id) = (fog.descriptor().address.to_string(), fog.descriptor().node);
        let mut nodes: Vec<_> = ["one", "two"]
            .map(|name| node("compute", &address, id, &folder.path().join(name)))
            .into();
        while fog.nodes().filter(|(_, record)| record.answered).count() < 2 {
            fog.next().await.unwrap();
        }
        let known: Vec<_> = fog.nodes().map(|(node, _)| node).collect();
        fog.submit(job.clone()).await.unwrap();
        let mut ended = 0;
        while fog.rules().job(job.id).unwrap().open > 0 {
            let update = fog.next().await.unwrap();
            let Update::Decided { event, .. } = update else {
                continue;
            };
            if matches!(event, Event::TaskEnded { .. }) {
                ended += 1;
                if ended == 5 {
                    nodes.swap_remove(0).kill().await.unwrap();
                }
            }
        }
        for order in &job.tasks {
            let report = fog.jobs().report(order.id).unwrap().unwrap();
            assert_eq!(report.result.unwrap().output, order.spec.input());
        }
        while fog.rules().needs_flush() {
            fog.next().await.unwrap();
        }
        let paid = known.into_iter().filter_map(|node| {
            let account = fogcompute_coord::node_account(node);
            fog.bank().balance(account)
        });
        let paid: u128 = paid.map(|amount| amount.0).sum();
        assert_eq!(paid, fog.rules().job(job.id).unwrap().paid.0);
        assert!(paid > 0);
    });
}

/// A demonstration whose temporary files and pictures have a folder of their own.
fn demo(options: &str) -> (Command, TempDir, TempDir) {
    let (temporary, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut demo = command(&format!("demo --policy always {options}"));
    demo.env("TMPDIR", temporary.path())
        .arg("--out")
        .arg(out.path());
    (demo, temporary, out)
}

fn count(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

#[tokio::test]
async fn a_demonstration_leaves_nothing_behind_whoever_stops_it() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let (mut demo, temporary, _out) = demo("");
        let mut demo = demo.spawn().unwrap();
        line_with(&mut lines(&mut demo), "6 mixnodes in").await;
        send(signal, &demo).await;
        assert_eq!(ended(&mut demo).await.code(), Some(130), "{signal}");
        assert_eq!(count(&temporary), 0, "{signal}");
    }
}

#[tokio::test]
async fn a_demonstration_whose_whole_group_is_asked_to_stop_was_stopped_on_request() {
    // A node heard of Ctrl-C earlier, and "mix 1a ended by itself" was the account.
    for moment in [
        "6 mixnodes in",
        "all 10 joined",
        "submitted",
        "placed",
        "tiles were back",
    ] {
        let (mut demo, temporary, out) = demo("");
        let mut demo = demo.spawn().unwrap();
        let mut said = lines(&mut demo);
        let started = line_with(&mut said, "6 mixnodes in").await;
        if moment != "6 mixnodes in" {
            line_with(&mut said, moment).await;
        }
        // A group is asked in no order; here the nodes are asked first.
        let (_, nodes) = started.split_once("as processes ").unwrap();
        let demonstration = demo.id().unwrap().to_string();
        let asked = nodes.split_whitespace().chain([demonstration.as_str()]);
        let sent = Command::new("kill").arg("-INT").args(asked).status().await;
        // One that the demonstration has killed cannot be asked.
        assert!(sent.unwrap().success() || moment == "tiles were back");
        let (mut account, mut errors) = (String::new(), String::new());
        while let Some(line) = said.next_line().await.unwrap() {
            account.push_str(&line);
        }
        let mut stream = demo.stderr.take().unwrap();
        stream.read_to_string(&mut errors).await.unwrap();
        assert_eq!(
            ended(&mut demo).await.code(),
            Some(130),
            "{moment} {errors}"
        );
        assert!(errors.contains("stopped on request"), "{moment} {errors}");
        for blame in ["ended (", "is gone", "is lost with"] {
            // Of the node it killed itself it may have said so before.
            assert!(
                moment == "tiles were back" || !account.contains(blame),
                "{moment} {account}"
            );
        }
        assert_eq!((count(&temporary), count(&out)), (0, 0), "{moment}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_noticed_before_anything_is_started() {
    let (_, temporary, out) = demo("");
    std::fs::write(out.path().join("file"), "").unwrap();
    std::fs::create_dir_all(out.path().join("taken/report.html")).unwrap();
    for (folder, reason) in [
        ("file/out", "creating"),
        ("file", "creating"),
        ("taken", "is a directory"),
    ] {
        let mut demo = command("demo --policy always");
        let demo = demo.env("TMPDIR", temporary.path());
        let demo = demo.arg("--out").arg(out.path().join(folder));
        let ended = demo.output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(reason) && said.contains(folder), "{said}");
        assert_eq!((ended.stdout.len(), count(&temporary)), (0, 0));
    }
}

#[tokio::test]
async fn a_demonstration_that_fails_says_so_as_json_too() {
    // It printed nothing at all.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (options, code, kind) in [
        ("--nodes 1", 2, "arguments"),
        ("--nodes 4 --tiles 3", 2, "arguments"),
        ("--out FILE", 1, "file"),
    ] {
        let options = options.replace("FILE", &file.to_string_lossy());
        let mut demo = command(&format!("demo --json {options}"));
        if kind != "file" {
            demo.arg("--out").arg(&out);
        }
        let ended = demo.output().await.unwrap();
        let said: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert_eq!((&said["ok"], &said["kind"]), (&false.into(), &kind.into()));
        assert!(!said["error"].as_str().unwrap().is_empty());
        assert!(!out.exists(), "nothing was made for nothing");
    }
    let (mut demo, _temporary, _out) = demo("--json --width 60 --nodes 2 --tiles 2");
    let ended = demo.output().await.unwrap();
    let said: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((ended.status.code(), &said["ok"]), (Some(0), &true.into()));
    assert_eq!(said["picture"]["width"], 60);
}

#[tokio::test]
async fn too_few_descriptors_are_an_error_and_no_panic() {
    for limit in 5..24 {
        let program = env!("CARGO_BIN_EXE_fogcompute");
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!(
            "ulimit -n {limit}; exec {program} demo --width 60 --nodes 2 --tiles 2 --out {}",
            out.display()
        );
        let ended = Command::new("sh")
            .args(["-c", &script])
            .env("TMPDIR", folder.path())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        // With so few a program may not even find its libraries.
        assert!(
            ended.status.code() != Some(101) && !said.contains("panicked"),
            "{said}"
        );
        assert!(!ended.status.success() && !said.is_empty(), "{limit}");
    }
}

// Only there is a device that is always full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_account_that_cannot_be_written_is_an_error_but_not_that_nobody_reads_it() {
    for options in ["--json", ""] {
        let (mut demo, _temporary, _out) =
            demo(&format!("{options} --width 60 --nodes 2 --tiles 2"));
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut demo = demo.stdout(full).spawn().unwrap();
        let said = stderr(&mut demo).await;
        assert_eq!(ended(&mut demo).await.code(), Some(1), "{options} {said}");
        assert!(said.contains("writing to the standard output"), "{said}");
    }
    for (options, code) in [("--json", 1), ("", 0)] {
        let (mut demo, _temporary, out) =
            demo(&format!("{options} --width 60 --nodes 2 --tiles 2"));
        let mut demo = demo.spawn().unwrap();
        drop(demo.stdout.take());
        let said = stderr(&mut demo).await;
        let ended = ended(&mut demo).await;
        assert_eq!(ended.code(), Some(code), "{options} {said}");
        assert_eq!(count(&out), 2);
    }
}

/// The processes of a demonstration: the coordinator, six mixnodes, the compute nodes.
async fn pids(said: &mut Lines<BufReader<ChildStdout>>) -> Vec<String> {
    let started = line_with(said, "as processes ").await;
    let (_, pids) = started.split_once("as processes ").unwrap();
    pids.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_demonstration_goes_on_whatever_somebody_else_kills() {
    for (process, moment, name) in [
        (0, "", "coordinator"),
        (0, "all 9 joined", "coordinator"),
        (0, "submitted", "coordinator"),
        (0, "placed", "coordinator"),
        (3, "", "mix 2a"),
        (6, "submitted", "mix 3b"),
        (9, "", "compute 3"),
        (9, "submitted", "compute 3"),
    ] {
        let (mut demo, _temporary, out) = demo("--kill none --nodes 3 --tiles 12");
        let mut demo = demo.spawn().unwrap();
        let mut said = lines(&mut demo);
        let pid = pids(&mut said).await.swap_remove(process);
        if !moment.is_empty() {
            line_with(&mut said, moment).await;
        }
        let killed = Command::new("kill").args(["-KILL", &pid]).status().await;
        assert!(killed.unwrap().success(), "{name} {moment}");
        let line = line_with(&mut said, "is started again as process").await;
        let told = format!("{name} (process {pid}) ended (signal: 9");
        assert!(line.starts_with(&told), "{moment} {line}");
        line_with(&mut said, "the picture equals").await;
        line_with(&mut said, "the balances of all accounts cancel out exactly").await;
        line_with(&mut said, "wrote").await;
        assert_eq!(ended(&mut demo).await.code(), Some(0), "{name} {moment}");
        let page = std::fs::read_to_string(out.path().join("report.html")).unwrap();
        assert!(page.contains("ended (signal: 9"), "{name} {moment}");
    }
}

/// Whether a process is there and has not ended.
#[cfg(target_os = "linux")]
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its state comes behind its name, which may be anything. Z: ended, and nobody has asked how.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| state != b'Z' && state != b'X')
}

// Only there it is known how to tell that a process has ended which is nobody's child.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_processes_of_a_demonstration_end_with_it_whoever_kills_it() {
    let (mut demo, _temporary, _out) = demo("");
    let mut demo = demo.spawn().unwrap();
    let mut said = lines(&mut demo);
    let pids = pids(&mut said).await;
    assert_eq!(pids.len(), 11);
    line_with(&mut said, "submitted").await;
    assert!(pids.iter().all(|pid| is_alive(pid)));
    demo.kill().await.unwrap();
    let gone = async {
        while pids.iter().any(|pid| is_alive(pid)) {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    gone.expect("processes are left behind");
}

#[tokio::test]
async fn whatever_a_demonstration_kills_the_picture_is_the_same_and_each_tile_is_paid_once() {
    let mut pictures = Vec::new();
    for kill in ["none", "compute", "mix", "coordinator"] {
        for seed in [1, 5] {
            let options =
                format!("--json --kill {kill} --seed {seed} --width 600 --nodes 3 --tiles 12");
            let (mut demo, _temporary, out) = demo(&options);
            let done = demo.output().await.unwrap();
            let errors = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(0), "{kill} {seed} {errors}");
            let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
            // The pixels are compared with those that this process computes one after the other; the
            // files are, too.
            assert_eq!(said["picture"]["digest"], said["picture"]["native_digest"]);
            pictures.push(std::fs::read(out.path().join("fog.png")).unwrap());
            let page = std::fs::read_to_string(out.path().join("report.html")).unwrap();
            assert_eq!(page.contains("got SIGKILL"), kill != "none");
            check_deaths(kill, &said);
            // Who lives says last what it counted.
            for node in said["nodes"].as_array().unwrap() {
                let stays_away = kill == "compute" && node["deaths"][0].is_object();
                assert_eq!(node["packets_received"].is_null(), stays_away, "{node}");
            }
            check_money(&said);
        }
    }
    assert!(pictures.windows(2).all(|pair| pair[0] == pair[1]));
}

/// What was killed is told, and what was to come back did.
fn check_deaths(kill: &str, said: &serde_json::Value) {
    let nodes = said["nodes"].as_array().unwrap().iter();
    let deaths: Vec<_> = nodes
        .flat_map(|node| {
            let deaths = node["deaths"].as_array().unwrap().iter();
            deaths.map(move |death| (node["name"].as_str().unwrap(), death))
        })
        .collect();
    let [(name, death)] = deaths[..] else {
        assert!(kill == "none" && deaths.is_empty(), "{kill} {deaths:?}");
        return;
    };
    assert!(
        name.starts_with(kill) && death["ended"].is_null(),
        "{name} {death}"
    );
    assert_eq!(
        death["back_ms"].is_null(),
        kill == "compute",
        "{name} {death}"
    );
    let attempts = said["tiles"].as_array().unwrap().iter();
    let attempts = attempts.flat_map(|tile| tile["attempts"].as_array().unwrap());
    let lost = attempts.filter(|attempt| !attempt["lost"].is_null());
    // Who computes nothing loses nothing.
    assert!(kill == "compute" || lost.count() == 0, "{said}");
}

/// Every tile was paid once, and no credit came from nowhere.
fn check_money(said: &serde_json::Value) {
    let ledger = &said["ledger"];
    assert_eq!(ledger["sum"], "0");
    let tiles = said["tiles"].as_array().unwrap();
    let results = tiles.iter().map(|tile| {
        let attempts = tile["attempts"].as_array().unwrap().iter();
        let mut results = attempts.filter(|attempt| !attempt["result"].is_null());
        let result = results.next().expect("a result");
        assert!(results.next().is_none(), "{tile}");
        &result["result"]["paid"]
    });
    let due: u128 = results
        .map(|paid| paid.as_str().unwrap().parse::<u128>().unwrap())
        .sum();
    let entries = ledger["entries"].as_array().unwrap();
    let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!((of("reserve"), of("post")), (tiles.len(), tiles.len()));
    assert!(due > 0);
    assert_eq!(ledger["paid"], Amount(due).to_credits_string());
}
