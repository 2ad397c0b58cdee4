//! A fog from the command line: coordinator, nodes and submitters as processes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// Longer than anything here takes: a test that fails should not hang.
const PATIENCE: Duration = Duration::from_secs(180);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_fogcompute"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A process that goes on until it is dropped.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn new(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("nothing is said").unwrap().expect("an end")
    }

    /// What comes behind that beginning.
    async fn after(&mut self, beginning: &str) -> String {
        loop {
            if let Some(rest) = self.line().await.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, and says how it did.
    async fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(sent.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the process does not end").unwrap().code()
    }
}

struct Fog {
    folder: TempDir,
}

impl Fog {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(
            repository().join("examples"),
            folder.path().join("examples"),
        )
        .unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .kill_on_drop(true);
        command
    }

    /// Starts a coordinator and says where it is.
    async fn coordinator(&self, listen: &str, more: &str) -> (Running, String) {
        let command = self.command(&format!(
            "coordinator run --data fog --listen {listen} --delay-ms 1 {more}"
        ));
        let mut coordinator = Running::new(command);
        let address = coordinator.after("listening on ").await;
        coordinator.after("owner's account ").await;
        (coordinator, address)
    }

    fn node(&self, role: &str, name: &str) -> Running {
        Running::new(self.command(&format!(
            "node --role {role} --fog fog/fog.toml --data {name} --policy always --heartbeat-ms 100"
        )))
    }

    /// Exit code, standard output and standard error.
    async fn run(&self, arguments: &str) -> (i32, String, String) {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        let output = output.expect("the command does not end").unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    async fn done(&self, arguments: &str) -> String {
        let (code, out, err) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments}: {out}{err}");
        out
    }

    async fn json(&self, arguments: &str) -> Value {
        let said = self.done(&format!("{arguments} --json")).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{said}: {error}"))
    }

    /// What a command that must fail says.
    async fn refused(&self, arguments: &str, code: i32, kind: &str) -> String {
        let (actual, out, err) = self.run(&format!("{arguments} --json")).await;
        assert_eq!(actual, code, "{arguments}: {out}{err}");
        let said: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&said["ok"], &said["kind"]),
            (&false.into(), &kind.into()),
            "{said}"
        );
        said["error"].as_str().unwrap().to_owned()
    }

    async fn issue(&self) {
        self.done("token issue --data fog --actions submit,cancel,query,drain")
            .await;
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

const JOB: &str = "000000000000000000000000000000aa";

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap().iter();
    texts.map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_fog_of_processes_works_through_the_death_of_a_node_and_of_its_coordinator() {
    let fog = Fog::new();
    let (coordinator, address) = fog.coordinator("127.0.0.1:0", "").await;
    fog.issue().await;
    let _mix = fog.node("mix --layer 0", "mix");
    let mut compute = fog.node("compute", "compute");
    let node = compute.after("node ").await;
    let other = fog.node("compute", "other");
    let inputs: Vec<_> = (0..40).map(|number| format!("input{number}")).collect();
    for input in &inputs {
        fog.write(input, input);
    }
    let submit = format!(
        "submit examples/wasm/echo.wasm --job {JOB} --input {}",
        inputs.join(" ")
    );
    let submitted = fog.json(&submit).await;
    let tasks = texts(&submitted["tasks"]);
    assert_eq!(tasks.len(), inputs.len());
    // Some of it is done, some is under way, when they are killed with SIGKILL.
    let mut watch = Running::new(fog.command("watch --json"));
    while !watch.line().await.contains("\"ended\"") {}
    other.kill().await;
    while !watch.line().await.contains("\"ended\"") {}
    coordinator.kill().await;
    let mut last = None;
    let (coordinator, again) = fog.coordinator(&address, "").await;
    assert_eq!(again, address);
    // The watcher goes on where it was, and sees each event once.
    while let event = serde_json::from_str::<Value>(&watch.line().await).unwrap()
        && event["event"] != "job_ended"
    {
        let number = event["number"].as_u64().unwrap();
        assert!(last.is_none_or(|last| number > last), "{event}");
        last = Some(number);
    }
    for (task, input) in tasks.iter().zip(&inputs) {
        assert_eq!(fog.done(&format!("result {task}")).await, *input);
    }
    let job = fog.json(&format!("status {JOB}")).await;
    assert_eq!((&job["succeeded"], &job["open"]), (&40.into(), &0.into()));
    // The same job once more is the same job.
    assert_eq!(fog.json(&submit).await["succeeded"], 40);
    // What was reserved was paid or came back, and each task was paid once.
    let paid: u128 = job["paid"].as_str().unwrap().parse().unwrap();
    let each = job["tasks"].as_array().unwrap().iter();
    let each = each.map(|task| task["paid"].as_str().unwrap().parse::<u128>().unwrap());
    assert_eq!((each.sum::<u128>(), &job["reserved"]), (paid, &"0".into()));
    assert!(paid > 0);

    let top = fog.json("top --once").await;
    let nodes = top["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    let computing = nodes.iter().find(|it| it["role"] == "compute").unwrap();
    assert_eq!(computing["node"], node.as_str());
    assert_eq!(top["jobs"][0]["job"], JOB);
    let shown = fog.done("top --once").await;
    assert!(
        shown.contains("compute nodes: 1, which lend") && shown.contains(JOB),
        "{shown}"
    );

    let topology = fog.json("topology").await;
    let seen = topology["nodes"].as_array().unwrap();
    let computing = seen.iter().find(|it| it["role"] == "compute").unwrap();
    assert_eq!(computing["node"], node.as_str());
    assert_eq!(
        (&computing["kind"], &computing["linked"]),
        (&"compute".into(), &true.into())
    );
    assert_eq!(computing["free_cpu_millis"], computing["cpu_millis"]);
    assert!(
        topology["history"]
            .as_array()
            .is_some_and(|it| !it.is_empty())
    );
    let shown = fog.done("topology").await;
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(
        shown.contains("coordinator") && shown.contains("compute, "),
        "{shown}"
    );

    // Why a task failed is said wherever one looks.
    fog.write("none.wasm", "no module");
    let said = fog.refused("submit none.wasm", 2, "arguments").await;
    assert!(said.contains("this is no WebAssembly module"), "{said}");
    fog.write("none.wasm", "\0asm\u{1}\0\0\0");
    let (code, shown, _) = fog.run("submit none.wasm --wait").await;
    assert_eq!(code, 3, "{shown}");
    assert!(
        shown.starts_with("job ") && shown.contains(" failed: "),
        "{shown}"
    );
    let failed = &shown["job ".len()..shown.find('\n').unwrap()];
    let shown = fog.done(&format!("status {failed}")).await;
    assert!(shown.contains("module"), "{shown}");
    let told = fog.json(&format!("status {failed}")).await;
    assert!(
        told["tasks"][0]["error"]
            .as_str()
            .is_some_and(|it| it.contains("module"))
    );
    // A job that has ended is not waited for, even behind all that happened.
    fog.done(&format!("watch --until {JOB} --after 1000000"))
        .await;
    fog.done(&format!("watch --until {JOB}")).await;

    // A node that is drained gets nothing, a job that waits can be cancelled.
    fog.done(&format!("drain {}", &node[..8])).await;
    let waits = fog
        .json("submit examples/wasm/echo.wasm --input input1 input2")
        .await;
    let waiting = waits["job"].as_str().unwrap();
    let status = fog.json(&format!("status {waiting}")).await;
    assert_eq!(status["waiting"][0]["for"], "fitting_node", "{status}");
    let status = fog.done(&format!("status {waiting}")).await;
    let why = "2 tasks wait: none of 1 nodes can take the task; at ";
    assert!(
        status.contains(why) && status.contains("node is maintenance"),
        "{status}"
    );
    let cancelled = fog.json(&format!("cancel {waiting}")).await;
    assert_eq!(cancelled["cancelled"], 2);
    assert_eq!(fog.json(&format!("cancel {waiting}")).await["cancelled"], 0);
    let status = fog.done(&format!("status {waiting}")).await;
    assert!(
        status.contains("2 cancelled;") && !status.contains("wait"),
        "{status}"
    );
    let task = &texts(&waits["tasks"])[0];
    fog.refused(&format!("result {task}"), 3, "refused").await;
    fog.done(&format!("undrain {node}")).await;
    let waited = fog
        .done("submit examples/wasm/echo.wasm --input input3 --wait")
        .await;
    assert!(waited.contains("1 succeeded"), "{waited}");

    // What a task says comes back with its result, by the link and through the mixnet.
    fog.write("said", "one line");
    for privacy in ["public", "private"] {
        let submit = format!(
            "submit examples/wasm/says.wasm --host-calls --privacy {privacy} --input said --wait"
        );
        let task = &texts(&fog.json(&submit).await["tasks"])[0];
        assert_eq!(fog.done(&format!("logs {task}")).await, "one line\n");
        let logs = fog.json(&format!("logs {task}")).await;
        assert_eq!(logs["log"], "one line\n");
        assert_eq!(logs["task"], task.as_str());
    }
    let silent = &tasks[0];
    assert_eq!(fog.done(&format!("logs {silent}")).await, "");
    fog.refused(&format!("logs {JOB}"), 3, "refused").await;

    // A coordinator that is started again has not forgotten who is to leave.
    fog.done(&format!("drain {node}")).await;
    coordinator.kill().await;
    let (_coordinator, _) = fog.coordinator(&address, "").await;
    loop {
        let top = fog.json("top --once").await;
        let nodes = top["nodes"].as_array().unwrap().iter();
        let mut nodes = nodes.filter(|it| it["node"] == node.as_str());
        if let Some(found) = nodes.next()
            // Until it has joined again, and is heard.
            && found["status"] != "offline"
            && found["status"] != "suspect"
        {
            assert_eq!(found["status"], "maintenance");
            break;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let fog = Fog::new();
    // Nobody's data, and nobody's token.
    let said = fog.refused("token issue --data fog", 1, "file").await;
    assert!(said.contains("fog/owner.key is missing"), "{said}");
    let said = fog.refused("status", 1, "file").await;
    assert!(said.contains("fog.token"), "{said}");
    let (coordinator, address) = fog.coordinator("127.0.0.1:0", "").await;
    fog.issue().await;
    for name in [
        "fog/owner.key",
        "fog.token",
        "fog/jobs.sqlite",
        "fog/gate.sqlite",
    ] {
        let mode = std::fs::metadata(fog.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let said = fog.refused("token issue --data fog", 1, "file").await;
    assert!(said.contains("fog.token is there already"), "{said}");
    let said = fog.refused("drain 0123456", 2, "arguments").await;
    assert!(said.contains("8 to 64"), "{said}");
    fog.refused("drain 01234567", 3, "refused").await;
    fog.refused(&format!("watch --until {JOB}"), 3, "refused")
        .await;
    // Its secret is in the file and nowhere else.
    let shown = fog.done("token show").await;
    let secret = std::fs::read_to_string(fog.path("fog.token")).unwrap();
    let secret = secret
        .lines()
        .find_map(|line| line.strip_prefix("key = "))
        .unwrap();
    assert!(!shown.contains(secret.trim_matches('"')) && shown.contains(&address));
    // A port that is taken.
    let (code, _, said) = fog
        .run(&format!("coordinator run --data other --listen {address}"))
        .await;
    assert!(
        code == 1 && said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
    let (code, _, said) = fog
        .run("coordinator run --data fog --listen 127.0.0.1:0")
        .await;
    assert!(
        code == 1 && said.contains("in use by another handle"),
        "{said}"
    );
    // The folder of a coordinator is no node's, nor the other way round.
    let (code, _, said) = fog
        .run("node --role compute --fog fog/fog.toml --data fog")
        .await;
    let whose = "fog is the folder of a coordinator, and a node needs one of its own";
    assert!(code == 1 && said.contains(whose), "{said}");
    assert!(!fog.path("fog/node.sqlite").exists());
    std::fs::create_dir(fog.path("node")).unwrap();
    fog.write("node/node.sqlite", "");
    let (code, _, said) = fog
        .run("coordinator run --data node --listen 127.0.0.1:0")
        .await;
    let whose = "node is the folder of a node, and a coordinator needs one of its own";
    assert!(code == 1 && said.contains(whose), "{said}");
    // Somebody else is there than the token is for.
    let text = std::fs::read_to_string(fog.path("fog.token")).unwrap();
    let id = fog.json("token show").await["coordinator"]
        .as_str()
        .unwrap()
        .to_owned();
    fog.write("other.token", &text.replace(&id, &"77".repeat(32)));
    let said = fog
        .refused("status --token other.token", 1, "coordinator")
        .await;
    assert!(said.contains("expected node 7777"), "{said}");
    fog.write("bad.token", &text.replace("token = \"01", "token = \"09"));
    let said = fog.refused("status --token bad.token", 1, "token").await;
    assert!(
        said.contains("bad.token: its token cannot be read"),
        "{said}"
    );
    // What a token does not permit.
    fog.done("token issue --data fog --actions query --out looker.token")
        .await;
    let said = fog
        .refused(
            "submit examples/wasm/echo.wasm --token looker.token",
            3,
            "refused",
        )
        .await;
    assert!(said.contains("does not permit to submit"), "{said}");
    fog.done("token issue --data fog --spend 1 --out poor.token")
        .await;
    let said = fog
        .refused(
            "submit examples/wasm/echo.wasm --price 2 --token poor.token",
            3,
            "refused",
        )
        .await;
    assert!(said.contains("credits are asked for"), "{said}");
    fog.refused(&format!("status {JOB}"), 3, "refused").await;
    fog.refused("submit nowhere.wasm", 1, "file").await;
    // Nobody there.
    coordinator.kill().await;
    let said = fog.refused("status --patience 1", 1, "coordinator").await;
    assert!(said.contains(&address), "{said}");
    // The first credits stay what they were.
    let (code, _, said) = fog
        .run("coordinator run --data fog --listen 127.0.0.1:0 --endowment 5")
        .await;
    assert!(
        code == 2 && said.contains("began with 1000000 credits"),
        "{said}"
    );
}

async fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: fog\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_coordinator_says_how_it_is_over_http() {
    let fog = Fog::new();
    let command = "coordinator run --data fog --listen 127.0.0.1:0 --metrics 127.0.0.1:0";
    let mut coordinator = Running::new(fog.command(command));
    let metrics = coordinator.after("metrics on http://").await;
    let address = metrics.strip_suffix("/metrics").unwrap();
    let (head, body) = get(address, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.contains("no way through the mixnet"), "{body}");
    let _mix = fog.node("mix --layer 0", "mix");
    coordinator.after("joined ").await;
    // It has joined and answers its first ping in a moment; every look is a step of the coordinator.
    let mut health = get(address, "/healthz").await;
    while health.0.starts_with("HTTP/1.1 503 ") {
        health = get(address, "/healthz").await;
    }
    assert!(health.0.starts_with("HTTP/1.1 200 "), "{health:?}");
    assert_eq!(health.1, "ok\n");
    fog.issue().await;
    fog.done("token issue --data fog --actions query --out looker.token")
        .await;
    fog.refused(
        "submit examples/wasm/echo.wasm --token looker.token",
        3,
        "refused",
    )
    .await;
    fog.done("submit examples/wasm/echo.wasm").await;
    let counted = get(address, "/metrics").await.1;
    let mut served = BTreeSet::new();
    for line in counted.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<u64>().is_ok(), "{line}");
        served.insert(name.split('{').next().unwrap());
    }
    for counted_once in [
        "jobs_admitted_total 1",
        "calls_refused_total 1",
        "tasks_queued 1",
    ] {
        let line = format!("fogcompute_coord_{counted_once}");
        assert!(counted.lines().any(|it| it == line), "{line}: {counted}");
    }
    // The manual has each of them, and no other.
    let manual = include_str!("../../../docs/fog.md");
    let named = manual.split('`').skip(1).step_by(2);
    let named: BTreeSet<_> = named
        .filter(|name| name.starts_with("fogcompute_coord_"))
        .collect();
    assert_eq!(named, served);
    // A port that is taken is named.
    let (code, _, said) = fog
        .run(&format!(
            "coordinator run --data other --listen 127.0.0.1:0 --metrics {address}"
        ))
        .await;
    assert!(
        code == 1 && said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
    assert_eq!(coordinator.stop().await, Some(0));
}

/// What another run says differently.
fn masked(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '.');
    let mut out = String::new();
    for piece in text.split_inclusive(|c| !is_word(c)) {
        let word = piece.trim_end_matches(|c| !is_word(c));
        let is_id = word.len() >= 32 && word.bytes().all(|c| c.is_ascii_hexdigit());
        let is_time = word.len() == 24 && word.as_bytes()[10] == b'T' && word.ends_with('Z');
        out.push_str(match word {
            _ if is_id => "ID",
            _ if is_time => "TIME",
            _ if word.parse::<SocketAddr>().is_ok() => "ADDRESS",
            other => other,
        });
        out.push_str(&piece[word.len()..]);
    }
    out
}

#[tokio::test]
async fn the_manual_shows_what_the_commands_say() {
    // Nobody else has this port now, and the manual's may be somebody's.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let manual = include_str!("../../../docs/fog.md");
    let fog = Fog::new();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program().parent().unwrap().display());
    let (mut running, mut commands) = (Vec::new(), 0);
    for block in manual.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        for step in block.split("$ ").skip(1) {
            let (command, shown) = step.split_once('\n').unwrap();
            let listens = command.starts_with("fogcompute coordinator run");
            let said = if listens || command.starts_with("fogcompute node") {
                let more = match listens {
                    true => format!(" --listen {free}"),
                    false => String::new(),
                };
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", &format!("exec {command}{more}")])
                    .current_dir(fog.folder.path())
                    .env("PATH", &path);
                let mut process = Running::new(shell);
                let mut said = String::new();
                for _ in shown.lines() {
                    said.push_str(&process.line().await);
                    said.push('\n');
                }
                running.push(process);
                // What is shown ends with an empty line where the block does.
                said
            } else {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", command])
                    .current_dir(fog.folder.path())
                    .env("PATH", &path)
                    .kill_on_drop(true);
                let output = tokio::time::timeout(PATIENCE, shell.output()).await;
                let output = output.expect("the command does not end").unwrap();
                let _ = std::io::stderr().write_all(&output.stderr);
                String::from_utf8(output.stdout).unwrap()
            };
            assert_eq!(masked(&said), masked(shown), "$ {command}\n{said}");
            commands += 1;
        }
    }
    assert!(commands >= 8, "{commands} commands are in the manual");
}

/// Remembers which spans were opened, with their fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("fogcompute")
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut spans = self.0.lock().unwrap();
        spans.push(fields.0);
        tracing::span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_subscriber_sees_the_way_of_a_task() {
    use ed25519_dalek::SigningKey;
    use fogcompute_base::{AccountId, JobId, Priority, TaskId, UnixMillis};
    use fogcompute_coord::routing::Strategy;
    use fogcompute_coord::token::{Action, Actions, Grant, Token};
    use fogcompute_coord::{Config, Placement, PrivacyLevel, TaskOrder};
    use fogcompute_exec::{Limits, TaskSpec};
    use fogcompute_ledger::{Amount, PublicKey};
    use fogcompute_node::{
        CoordinatorConfig, CoordinatorService, FogClient, FogClientConfig, JobOrder,
        SubmittersConfig, Watched,
    };
    use fogcompute_store::JobChange;

    let fog = Fog::new();
    let account = AccountId::from_bytes([9; 16]);
    let key = SigningKey::from_bytes(&[1; 32]);
    let spans = Spans::default();
    let _default = tracing::subscriber::set_default(spans.clone());
    let mut service = CoordinatorService::start(CoordinatorConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ledger: fog.path("ledger.sqlite"),
        jobs: fog.path("jobs.sqlite"),
        owner: account,
        endowment: Amount::from_credits(10),
        delay_mean: Duration::from_millis(1),
        layers: 1,
        seed: 1,
        nodes_max: 8,
        rules: Config {
            placement: Placement::Routed(Strategy::LeastLoaded),
            ..Config::default()
        },
    })
    .await
    .unwrap();
    let submitters = SubmittersConfig {
        issuers: [PublicKey::of(&key)].into(),
        gate: fog.path("gate.sqlite"),
    };
    service.open_to_submitters(submitters).unwrap();
    let (address, id) = (service.descriptor().address, service.descriptor().node);
    std::fs::create_dir(fog.path("fog")).unwrap();
    fog.write(
        "fog/fog.toml",
        &format!("coordinator = \"{id}\"\naddress = \"{address}\"\n"),
    );
    let _nodes = [
        fog.node("mix --layer 0", "mix"),
        fog.node("compute", "compute"),
    ];
    let grant = Grant {
        submitter: PublicKey::of(&key),
        account,
        actions: Actions::of(&Action::ALL),
        tasks_max: 1,
        spend_max: Amount::from_credits(1),
        not_before: UnixMillis(0),
        expires: UnixMillis(u64::MAX),
        nonce: [0; 16],
    };
    let client = FogClient::new(FogClientConfig {
        address,
        coordinator: id,
        token: Token::issue(grant, &key),
        key,
        patience: PATIENCE,
    });
    let module = std::fs::read(repository().join("examples/wasm/echo.wasm")).unwrap();
    let task = TaskId::from_bytes([7; 16]);
    let job = JobOrder {
        id: JobId::from_bytes([8; 16]),
        priority: Priority::default(),
        privacy: PrivacyLevel::default(),
        tasks: vec![TaskOrder {
            id: task,
            spec: TaskSpec::new(module, b"hello", Limits::default()).unwrap(),
            fuel_estimate: 1_000_000,
            price_max: Amount::from_credits(1),
        }],
    };
    let work = async {
        client.submit(job).await.unwrap();
        let mut watch = client.watch(0);
        loop {
            if let Watched::Event(event) = watch.next().await.unwrap()
                && event.change == JobChange::JobEnded
            {
                return client.result(task).await.unwrap();
            }
        }
    };
    tokio::pin!(work);
    let report = loop {
        tokio::select! {
            report = &mut work => break report,
            update = service.next() => drop(update.unwrap()),
        }
    };
    assert_eq!(report.result.unwrap().output, b"hello");
    // It is settled, and its span is opened when that is told.
    while !spans
        .0
        .lock()
        .unwrap()
        .iter()
        .any(|it| it.starts_with("settle"))
    {
        service.next().await.unwrap();
    }
    let seen = spans.0.lock().unwrap().clone();
    let job = format!("submit job={} tasks=1", "08".repeat(16));
    let mine = format!("task={task}");
    let mine = seen.iter().filter(|it| **it == job || it.contains(&mine));
    let steps: Vec<_> = mine.map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(steps, ["submit", "place", "dispatch", "settle"], "{seen:?}");
}
