//! `fogcompute chat`: processes that talk over TCP, are killed, and come back.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod manual;
#[cfg(target_os = "linux")]
mod terminal;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
#[cfg(target_os = "linux")]
use terminal::Terminal;

/// A chat that runs, killed when it is dropped.
struct Chat {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Chat {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fogcompute"))
            .args(["chat", "--json"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            input: process.stdin.take(),
            process,
            output,
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next event of that name for which something holds.
    fn until(&mut self, event: &str, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "the chat ended before {event}");
            let said: Value = serde_json::from_str(&line).unwrap();
            assert_ne!(said["event"], "refused", "{line}");
            if said["event"] == event && holds(&said) {
                return said;
            }
        }
    }

    fn event(&mut self, event: &str) -> Value {
        self.until(event, |_| true)
    }

    /// What a message is known by that was taken.
    fn kept(&mut self, text: &str) -> Value {
        self.until("kept", |said| said["text"] == text)["id"].clone()
    }

    fn joined(&mut self, name: &str) {
        self.until("peer_joined", |said| said["name"] == name);
    }

    /// That the receiver has a message. That it was read may be heard first: what passes through somebody else
    /// may overtake.
    fn arrived(&mut self, id: &Value) {
        self.until("delivery", |said| {
            said["id"] == *id && (said["state"] == "delivered" || said["state"] == "read")
        });
    }

    /// Without any chance to write something down.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// As at the end of its input.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An address that nobody has.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    address.to_string()
}

fn path(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_message_that_is_sent_while_the_one_in_the_middle_is_dead_arrives_after_it_returns() {
    let folder = TempDir::new().unwrap();
    let address = free();
    let files = ["alice", "relay", "bob"].map(|name| path(&folder, name));
    let end =
        |name, file| Chat::start(&["--name", name, "--file", text(file), "--connect", &address]);
    let middle = || {
        let file = text(&files[1]);
        Chat::start(&["--name", "relay", "--file", file, "--listen", &address])
    };
    let (mut alice, relay, mut bob) = (end("alice", &files[0]), middle(), end("bob", &files[2]));
    alice.joined("bob");
    bob.joined("alice");
    alice.say("hello all");
    let public = bob.event("public");
    assert_eq!(
        (&public["text"], &public["via"]),
        (&"hello all".into(), &"relay".into())
    );
    alice.say("/msg bob before");
    let before = alice.kept("before");
    let private = bob.event("private");
    assert_eq!(
        (&private["text"], &private["via"]),
        (&"before".into(), &"relay".into())
    );
    alice.arrived(&before);

    relay.kill();
    alice.event("link_down");
    bob.event("link_down");
    alice.say("/msg bob meanwhile");
    let meanwhile = alice.kept("meanwhile");
    let mut relay = middle();
    assert_eq!(bob.event("private")["text"], "meanwhile");
    alice.arrived(&meanwhile);
    relay.say("/stats");
    let stats = relay.event("stats");
    assert!(stats["rules"]["relayed"].as_u64().unwrap() > 0, "{stats}");
    for chat in [alice, relay, bob] {
        chat.end();
    }
}

#[test]
fn what_was_said_to_be_kept_is_delivered_after_a_kill_and_shown_once() {
    let folder = TempDir::new().unwrap();
    let address = free();
    let (of_alice, of_bob) = (path(&folder, "alice"), path(&folder, "bob"));
    let alice_starts = || {
        Chat::start(&[
            "--name",
            "alice",
            "--file",
            text(&of_alice),
            "--connect",
            &address,
        ])
    };
    let bob_starts = || {
        Chat::start(&[
            "--name",
            "bob",
            "--file",
            text(&of_bob),
            "--listen",
            &address,
        ])
    };
    let (mut alice, mut bob) = (alice_starts(), bob_starts());
    let who = [alice.event("me"), bob.event("me")];
    alice.joined("bob");
    bob.joined("alice");
    alice.say("/msg bob zero");
    let zero = alice.kept("zero");
    // Bob said that it has it: it must have it after a kill.
    alice.arrived(&zero);
    bob.kill();
    alice.event("link_down");
    let mut expected = vec!["zero".to_owned()];
    for round in 0..3 {
        for number in 0..5 {
            let text = format!("{round}-{number}");
            alice.say(&format!("/msg bob {text}"));
            alice.kept(&text);
            expected.push(text);
        }
        alice.kill();
        alice = alice_starts();
        assert_eq!(alice.event("me"), who[0]);
    }
    let mut bob = bob_starts();
    assert_eq!(bob.event("me"), who[1]);
    let mut came = Vec::new();
    while came.len() < 15 {
        came.push(bob.event("private")["text"].as_str().unwrap().to_owned());
    }
    alice.say("/flush");
    alice.say("/who");
    alice.event("peer");
    bob.kill();
    // All of it is in the file, and nothing twice.
    let mut bob = bob_starts();
    bob.say("/history 100");
    bob.say("/stats");
    let mut history = Vec::new();
    loop {
        let mut line = String::new();
        bob.output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        assert_ne!(said["event"], "private", "it was shown before: {said}");
        if said["event"] == "history" {
            history.push(said["text"].as_str().unwrap().to_owned());
        }
        if said["event"] == "stats" {
            break;
        }
    }
    came.push("zero".to_owned());
    for list in [&mut came, &mut history, &mut expected] {
        list.sort();
    }
    assert_eq!(came, expected);
    assert_eq!(history, expected);
}

#[test]
fn a_file_goes_from_one_process_to_another() {
    let folder = TempDir::new().unwrap();
    let bytes: Vec<u8> = (0..200_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 5) as u8)
        .collect();
    let source = path(&folder, "holiday.jpg");
    fs::write(&source, &bytes).unwrap();
    let taken = path(&folder, "taken");
    fs::create_dir(&taken).unwrap();
    let mut bob = Chat::start(&[
        "--name",
        "bob",
        "--listen",
        "127.0.0.1:0",
        "--downloads",
        text(&taken),
    ]);
    let address = bob.event("listening")["address"].clone();
    let mut alice = Chat::start(&["--name", "alice", "--connect", address.as_str().unwrap()]);
    alice.say("/wait bob");
    alice.say(&format!("/send bob {}", text(&source)));
    let offered = alice.event("file_offering");
    let progress = alice.until("file_progress", |said| said["done"] == said["length"]);
    assert_eq!(
        (&progress["file"], &progress["sent"]),
        (&offered["file"], &true.into())
    );
    let received = bob.event("file_received");
    assert_eq!(
        (&received["file"], &received["from"]),
        (&offered["file"], &"alice".into())
    );
    let place = received["path"].as_str().unwrap();
    assert!(place.ends_with("-holiday.jpg"), "{place}");
    assert!(fs::read(place).unwrap() == bytes);
    alice.end();
    bob.event("peer_left");
}

#[test]
fn a_large_group_is_made_listed_and_read() {
    let address = free();
    let mut bob = Chat::start(&["--name", "bob", "--listen", &address]);
    bob.event("listening");
    let mut alice = Chat::start(&["--name", "alice", "--connect", &address]);
    let mut carol = Chat::start(&["--name", "carol", "--connect", &address]);
    alice.say("/wait bob");
    alice.say("/wait carol");
    alice.say("/large many bob carol");
    alice.event("group");
    for member in [&mut bob, &mut carol] {
        assert_eq!(member.event("invited")["name"], "many");
        member.say("/groups");
        let listed = member.event("members");
        assert_eq!(listed["large"], true);
        assert_eq!(
            listed["members"],
            serde_json::json!(["alice", "bob", "carol"])
        );
    }
    carol.say("/g many under my key");
    for member in [&mut alice, &mut bob] {
        let came = member.event("group_message");
        assert_eq!(came["text"], "under my key");
        assert_eq!(came["protection"], "sender_key");
    }
    bob.say("/group two carol");
    bob.event("group");
    bob.say("/groups");
    let small = bob.until("members", |said| said["name"] == "two");
    assert_eq!(small["large"], false);
    // For whom they were was not said, and of those that came that they wait.
    bob.say("/history");
    let message = bob.event("history");
    assert_eq!(
        (&message["of"], &message["state"]),
        (&"many".into(), &Value::Null)
    );
}

#[test]
fn lines_are_shown_for_people_and_what_makes_no_sense_is_said() {
    let mut chat = Command::new(env!("CARGO_BIN_EXE_fogcompute"))
        .args(["chat", "--plain", "--name", "ann"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = chat.stdin.take().unwrap();
    input
        .write_all(b"hello?\n/msg bob hi\n/dance\n/get 1 x\n/g us hi\n/nick\n/nick eve\n/join bob\nsecret\n/join #us\nsecret\n/join\n/quit\n")
        .unwrap();
    let output = chat.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = "* you are ann
! nobody here is called bob
! there is no command /dance; /help lists them
! there is no file 1
! there is no group called us
! it is /nick NAME
* you are eve
! nobody here is called bob
* what you write goes to nobody, until a /join that works
! nobody is addressed: /join NAME says who is, and /join alone everybody
! there is no group called us
* what you write goes to nobody, until a /join that works
! nobody is addressed: /join NAME says who is, and /join alone everybody
* what you write goes to everybody
";
    assert_eq!(said, expected);
}

#[test]
fn an_address_that_nobody_answers_at_is_said_once_and_so_is_that_it_is_reached() {
    let address = free();
    let mut ann = Chat::start(&["--name", "ann", "--connect", &address]);
    assert_eq!(ann.event("not_reached")["address"], *address);
    // Said once, however often it is tried.
    let mut bob = Chat::start(&["--name", "bob", "--listen", &address]);
    bob.event("listening");
    let next = loop {
        let mut line = String::new();
        ann.output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        if said["event"].as_str().unwrap().ends_with("reached") {
            break said;
        }
    };
    assert_eq!(
        (&next["event"], &next["address"]),
        (&"reached".into(), &address.as_str().into())
    );
    bob.kill();
    ann.event("not_reached");
    for option in ["--connect", "--listen"] {
        let refused = Command::new(env!("CARGO_BIN_EXE_fogcompute"))
            .args(["chat", option, "localhost:4000"])
            .output()
            .unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("is no IP address with a port"), "{said}");
    }
}

#[test]
fn a_line_that_is_refused_is_named_with_the_peer_it_was_for() {
    // A program could not tell which of its messages was not kept.
    let address = free();
    let folder = TempDir::new().unwrap();
    let mut bob = Chat::start(&["--name", "bob", "--listen", &address]);
    let file = path(&folder, "ann");
    let mut ann = Chat::start(&[
        "--name",
        "ann",
        "--file",
        text(&file),
        "--connect",
        &address,
    ]);
    ann.joined("bob");
    bob.joined("ann");
    bob.kill();
    ann.event("link_down");
    for number in 0..100 {
        ann.say(&format!("/msg bob {number}"));
    }
    ann.say("");
    ann.say("/msg bob one too many");
    let refused = loop {
        let mut line = String::new();
        ann.output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        if said["event"] == "refused" {
            break said;
        }
    };
    assert_eq!(
        (&refused["error"], &refused["line"]),
        (
            &"100 messages wait for bob already: this one is not kept".into(),
            &102.into()
        )
    );
}

#[test]
fn what_follows_a_join_that_failed_is_said_to_nobody() {
    // It went to everybody, or to whoever was addressed before; and so did the rest of a line that was too long.
    let mut bob = Chat::start(&["--name", "bob", "--listen", "127.0.0.1:0"]);
    let address = bob.event("listening")["address"].clone();
    let arguments = ["chat", "--json", "--name", "ann", "--connect"];
    let mut ann = Command::new(env!("CARGO_BIN_EXE_fogcompute"))
        .args(arguments)
        .arg(address.as_str().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let long = "x".repeat(70_000);
    let lines = [
        "/wait bob",
        "/join carol",
        "secret",
        "/join bob",
        "for bob",
        "/join #hikers",
        "secret",
        &long,
        "/join",
        "/msg bob and this",
        "for all",
        "/flush",
    ];
    let mut input = ann.stdin.take().unwrap();
    input.write_all(lines.join("\n").as_bytes()).unwrap();
    let mut came = Vec::new();
    while came.len() < 3 {
        let mut line = String::new();
        bob.output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        if ["public", "private"].contains(&said["event"].as_str().unwrap()) {
            came.push(said["text"].as_str().unwrap().to_owned());
        }
    }
    came.sort();
    assert_eq!(came, ["and this", "for all", "for bob"]);
    drop(input);
    let said = String::from_utf8(ann.wait_with_output().unwrap().stdout).unwrap();
    let said = said.lines().map(|line| serde_json::from_str(line).unwrap());
    let errors: Vec<Value> = said
        .filter(|said: &Value| said["event"] == "refused")
        .collect();
    let errors: Vec<_> = errors
        .iter()
        .map(|said| said["error"].as_str().unwrap())
        .collect();
    let nobody = "nobody is addressed: /join NAME says who is, and /join alone everybody";
    assert_eq!(
        errors,
        [
            "nobody here is called carol",
            nobody,
            "there is no group called hikers",
            nobody,
            "a line of more than 65536 bytes, all of which is left out",
        ]
    );
}

#[cfg(target_os = "linux")]
fn on_terminal(arguments: &[&str]) -> Terminal {
    let arguments = [&["chat", "--name", "ann"], arguments].concat();
    Terminal::start(env!("CARGO_BIN_EXE_fogcompute"), &arguments, (24, 80))
}

#[cfg(target_os = "linux")]
fn signal(screen: &Terminal, signal: Signal) {
    kill_process(Pid::from_child(&screen.process), signal).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_screen_shows_what_passes_and_tells_senders_when_it_was_seen() {
    let folder = TempDir::new().unwrap();
    let source = path(&folder, "a.jpg");
    fs::write(&source, vec![7; 100_000]).unwrap();
    let taken = text(folder.path()).to_owned();
    let mut bob = Chat::start(&[
        "--name",
        "bob",
        "--listen",
        "127.0.0.1:0",
        "--downloads",
        &taken,
    ]);
    let address = bob.event("listening")["address"].clone();
    let mut ann = on_terminal(&["--connect", address.as_str().unwrap()]);
    ann.until(|shown| shown.contains("● bob"));
    bob.joined("ann");
    ann.write("hello all\r");
    ann.until(|shown| shown.contains("you: hello all"));
    assert_eq!(bob.event("public")["text"], "hello all");

    // What could move the cursor is a space.
    bob.say("/msg ann look \x1b[2Jhere");
    ann.until(|shown| shown.contains("bob (1)"));
    ann.write("/join bob\r");
    ann.until(|shown| shown.contains("bob: look  [2Jhere") && !shown.contains("bob (1)"));
    bob.until("delivery", |said| said["state"] == "read");
    ann.write("for you\r");
    let private = bob.event("private");
    assert_eq!(
        (&private["text"], &private["name"]),
        (&"for you".into(), &"ann".into())
    );
    ann.until(|shown| shown.contains("you: for you · read"));

    ann.resize((8, 40));
    ann.until(|shown| !shown.contains("peers and channels") && shown.contains("for you"));
    ann.resize((30, 100));
    ann.write("/join carol\rfor carol\r");
    ann.until(|shown| shown.contains("(nobody)>") && shown.contains("nobody is addressed"));
    ann.write("/join bob\r");
    ann.until(|shown| !shown.contains("(nobody)>"));
    ann.write(&format!("/send bob {}\r", text(&source)));
    ann.until(|shown| shown.contains("1 ██████████ → bob a.j"));
    bob.event("file_received");
    ann.write("\x1b[A");
    ann.until(|shown| shown.contains("bob> /send bob"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_terminal_is_as_it_was_however_a_full_screen_ends() {
    type End = fn(&mut Terminal);
    let ends: [End; 5] = [
        |screen| screen.write("\x03"),
        |screen| screen.write("\x04"),
        |screen| screen.write("/quit\r"),
        |screen| signal(screen, Signal::TERM),
        |screen| signal(screen, Signal::HUP),
    ];
    for end in ends {
        let mut screen = on_terminal(&[]);
        screen.until(|shown| shown.contains("everybody> ") && shown.contains("ann, 0 here"));
        assert!(screen.is_taken());
        end(&mut screen);
        assert!(screen.wait().success());
        assert!(!screen.is_taken());
    }
    // And with lines it is never taken.
    let mut lines = on_terminal(&["--plain"]);
    lines.until(|shown| shown.contains("* you are ann"));
    assert!(!lines.is_taken());
    lines.write("/quit\n");
    assert!(lines.wait().success());
}

#[test]
fn what_the_manual_shows_is_what_the_commands_say() {
    let commands = manual::check(include_str!("../../../docs/mesh.md"));
    assert_eq!(commands, 3);
}
