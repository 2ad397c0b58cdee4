//! `fogcompute worker`: every subcommand, on real files, as a process of its own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const SUM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/wasm/sum.wasm");
const SAYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/wasm/says.wasm");
const ENDLESS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../bindings/vectors/endless.wasm"
);
const NOBODY: &str = "0bad0000000000000000000000000000";

/// A folder in which commands are run, on its file of tasks `T`.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.write("one", &[1, 2, 39]);
        world.write("two", b"\x05");
        world.write("text", b"hello\nthere");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fogcompute"));
        command
            .current_dir(self.0.path())
            .arg("worker")
            .args(line.split_ascii_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command prints that must not fail.
    fn ok(&self, line: &str) -> String {
        let ended = self.run(line);
        let complained = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{line}: {complained}");
        assert_eq!(complained, "", "{line}");
        String::from_utf8(ended.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let said = self.ok(&format!("{line} --json"));
        let value: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(value["ok"], true, "{line}: {said}");
        value
    }

    /// Asserts the exit code and the kind of a failure, which must be told in both ways.
    fn refuses(&self, line: &str, code: i32, kind: &str, part: &str) {
        let plain = self.run(line);
        let told = String::from_utf8_lossy(&plain.stderr).into_owned();
        assert_eq!(plain.status.code(), Some(code), "{line}: {told}");
        assert!(told.starts_with("error: "), "{line}: {told}");
        let json = self.run(&format!("{line} --json"));
        assert_eq!(json.status.code(), Some(code), "{line}");
        let value: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(
            (&value["ok"], &value["kind"]),
            (&false.into(), &kind.into())
        );
        let error = value["error"].as_str().unwrap();
        assert!(error.contains(part), "{line}: {error}");
    }

    fn ids(&self, line: &str) -> Vec<String> {
        self.ok(line).lines().map(str::to_owned).collect()
    }

    /// A worker that has the file by the time this returns.
    fn works(&self, options: &str) -> Working {
        let line = format!("run T --json {options}");
        let mut process = self.command(&line).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        Working {
            process,
            said,
            first,
        }
    }
}

/// A worker's process, which does not outlive its test.
struct Working {
    process: Child,
    said: BufReader<ChildStdout>,
    first: String,
}

impl Working {
    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ends, and what it still says.
    fn ends(&mut self) -> (Option<i32>, Vec<Value>) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let lines = rest.lines().map(|line| serde_json::from_str(line).unwrap());
        (self.process.wait().unwrap().code(), lines.collect())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn tasks_are_handed_in_done_and_read_one_command_after_the_other() {
    let world = World::new();
    let ids = world.ids(&format!("submit T {SUM} --input one two --key twice"));
    let again = world.json(&format!("submit T {SUM} --input one two --key twice"));
    assert_eq!(again["replayed"], true);
    assert_eq!(again["tasks"], serde_json::json!(ids));
    let listed = world.ok("list T --open");
    assert_eq!(listed.lines().count(), 2);
    assert!(
        listed.lines().all(|line| line.ends_with("queued")),
        "{listed}"
    );
    world.refuses(&format!("output T {}", ids[0]), 3, "task_open", "not ended");
    // Nobody would ever do it.
    world.refuses(
        &format!("output T {} --wait", ids[0]),
        3,
        "task_open",
        "no worker runs",
    );
    world.refuses(
        &format!("logs T {} --follow", ids[0]),
        3,
        "task_open",
        "no worker runs",
    );

    let mut worker = world.works("--always --until-done");
    let (code, said) = worker.ends();
    assert_eq!(code, Some(0));
    let last = said.last().map_or(worker.first.clone(), Value::to_string);
    assert!(last.contains("\"open\":0"), "{last}");

    for (id, sum) in ids.iter().zip([42_u64, 5]) {
        let output = world.run(&format!("output T {id}"));
        assert_eq!(output.stdout, sum.to_le_bytes());
    }
    let output = world.json(&format!("output T {}", ids[0]));
    assert_eq!(output["output_hex"], "2a00000000000000");
    assert!(output["fuel"].as_u64().unwrap() > 0);
    world.ok(&format!("output T {} --output there", ids[1]));
    assert_eq!(fs::read(world.path("there")).unwrap(), 5_u64.to_le_bytes());
    let shown = world.json(&format!("show T {}", ids[0]));
    assert_eq!(
        (&shown["state"], &shown["attempts"]),
        (&"succeeded".into(), &1.into())
    );
    let history = shown["history"].as_array().unwrap();
    assert_eq!(history.first().unwrap()["state"], "submitted");
    assert_eq!(history.last().unwrap()["cause"], "returned");
    assert!(
        world
            .ok(&format!("show T {}", ids[0]))
            .contains("succeeded")
    );
    assert_eq!(world.ok("list T --open"), "");
    world.refuses(
        &format!("cancel T {}", ids[0]),
        3,
        "ended",
        "has ended as succeeded",
    );

    assert_eq!(world.ok("forget T --before 2001-01-01"), "forgot 0 jobs\n");
    assert_eq!(world.ok("forget T"), "forgot 1 jobs\n");
    assert_eq!(world.ok("list T"), "");
    world.refuses(
        &format!("show T {}", ids[0]),
        3,
        "unknown_task",
        "not known",
    );
}

#[test]
fn a_worker_that_runs_is_asked_by_the_other_commands() {
    let world = World::new();
    let mut worker = world.works("--always --slots 1");
    assert!(worker.first.contains("\"running\""), "{}", worker.first);
    let mode = fs::metadata(world.path("T.socket"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    world.refuses("run T --always", 1, "locked", "");

    let endless = world.ids(&format!("submit T {ENDLESS} --fuel 1000000000000000"));
    let says = world.ids(&format!("submit T {SAYS} --input text"));
    let waits = |command: String| world.command(&command).spawn().unwrap();
    let follows = waits(format!("logs T {} --follow", says[0]));
    let waits_for_endless = waits(format!("output T {} --wait", endless[0]));
    // Who goes away takes nothing with it.
    let mut gone = waits(format!("output T {} --wait", says[0]));
    gone.kill().unwrap();
    gone.wait().unwrap();
    assert_eq!(world.ok("list T --open").lines().count(), 2);
    assert_eq!(
        world.ok(&format!("cancel T {}", endless[0])),
        format!("cancelled {}\n", endless[0])
    );
    let ended = waits_for_endless.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let followed = follows.wait_with_output().unwrap();
    assert_eq!(followed.stdout, b"hello\nthere\n");
    let output = world.run(&format!("output T {} --wait", says[0]));
    assert_eq!(output.stdout, b"hello\nthere");
    assert_eq!(world.ok(&format!("logs T {}", says[0])), "hello\nthere\n");

    // Who says something else than a question is not heard, and others are.
    let mut junk = UnixStream::connect(world.path("T.socket")).unwrap();
    junk.write_all(&[0xff; 64]).unwrap();
    assert_eq!(junk.read(&mut [0; 8]).unwrap_or(0), 0);
    world.refuses(&format!("show T {NOBODY}"), 3, "unknown_task", NOBODY);

    let open = world.ids(&format!("submit T {ENDLESS} --fuel 1000000000000000"));
    let waits_at_the_end = waits(format!("output T {} --wait", open[0]));
    // It is asked after this one, which is answered at once.
    let listed = world.ok("list T");
    assert_eq!(listed.lines().count(), 3);
    worker.signal("-TERM");
    assert_eq!(worker.ends().0, Some(0));
    assert_eq!(
        waits_at_the_end.wait_with_output().unwrap().status.code(),
        Some(1)
    );
    assert!(!world.path("T.socket").exists());
    // What ran waits for the next worker.
    assert!(world.ok("list T --open").contains("queued"));
}

#[test]
fn a_killed_worker_leaves_nothing_that_others_stumble_over() {
    let world = World::new();
    let mut worker = world.works("--always --slots 1");
    let id = world.ids(&format!("submit T {SUM} --input one"))[0].clone();
    let output = world.run(&format!("output T {id} --wait"));
    assert_eq!(output.stdout, 42_u64.to_le_bytes());
    let open = world.ids(&format!("submit T {ENDLESS} --fuel 20000000"))[0].clone();
    worker.signal("-KILL");
    assert_eq!(worker.ends().0, None);
    assert!(world.path("T.socket").exists());

    assert!(world.ok(&format!("show T {id}")).contains("succeeded"));
    assert_eq!(world.ok("list T").lines().count(), 2);
    let mut worker = world.works("--always --until-done");
    assert_eq!(worker.ends().0, Some(0));
    world.refuses(&format!("output T {open}"), 3, "task_failed", "fuel");
    assert!(!world.path("T.socket").exists());
}

#[test]
fn a_policy_that_refuses_lets_nothing_run_and_says_why() {
    let world = World::new();
    world.write("never.toml", b"require = \"false\"\nallow_metered = true\n");
    let id = world.ids(&format!("submit T {SUM}"))[0].clone();
    let mut worker = world.works("--policy never.toml");
    let mut said = worker.first.clone();
    while !said.contains("requirement_unmet") {
        said.clear();
        worker.said.read_line(&mut said).unwrap();
        assert!(!said.is_empty(), "it goes on");
    }
    let value: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&value["state"], &value["slots"]),
        (&"idle".into(), &0.into())
    );
    let shown = world.json(&format!("show T {id}"));
    assert_eq!(shown["state"], "queued");
}

#[test]
fn what_makes_no_sense_is_refused_by_kind() {
    let world = World::new();
    world.refuses("list T", 1, "file", "no such file");
    assert!(!world.path("T").exists(), "who only looks makes nothing");
    world.refuses("submit T nowhere.wasm", 1, "file", "nowhere.wasm");
    world.write("large", &vec![0; (1 << 20) + 1]);
    world.refuses("submit T large", 2, "arguments", "more than 1048576 bytes");
    world.refuses(
        &format!("submit T {SUM} --input large"),
        2,
        "arguments",
        "large",
    );
    world.refuses(&format!("submit T {SUM} --fuel 0"), 2, "arguments", "fuel");
    world.refuses(
        &format!("submit T {SUM} --key {}", "k".repeat(256)),
        2,
        "arguments",
        "key",
    );
    world.ok(&format!("submit T {SUM} --key k"));
    world.refuses(
        &format!("submit T {SUM} --key k --input one"),
        3,
        "key_reused",
        "another",
    );
    world.refuses(&format!("cancel T {NOBODY}"), 3, "unknown_task", NOBODY);
    world.write("junk", b"no database at all, and long enough to be one");
    world.refuses("list junk", 1, "file", "junk");
    world.refuses("list .", 1, "file", "");

    world.write("bad.toml", b"batery = 3");
    world.refuses("run T --policy bad.toml", 1, "policy", "batery");
    world.write(
        "bad.toml",
        b"celsius_throttle = 70.0\ncelsius_critical = 60.0",
    );
    world.refuses("run T --policy bad.toml", 1, "policy", "");
    let both = world.run("run T --always --policy bad.toml");
    assert_eq!(both.status.code(), Some(2));
    // Nothing of that has held the file or a socket back.
    assert_eq!(world.ok("list T").lines().count(), 1);
    assert!(!world.path("T.socket").exists());
}
