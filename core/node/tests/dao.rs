//! `fogcompute dao`: every subcommand, on real files, as a process of its own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod manual;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fogcompute_store::{Durability, SqliteLedger};
use serde_json::{Value, json};
use tempfile::TempDir;

const ANA: &str = "a11ce000000000000000000000000000";
const BEN: &str = "b0b00000000000000000000000000000";
const TREASURY: &str = "70757273653a74726561737572790000";
const PROPOSAL: &str = "0a000000000000000000000000000000";

/// A folder with a governed ledger: Ana and Ben have 40,000 credits each and sign with their keys,
/// Ben is a guardian, and it is the second of December.
struct World {
    folder: TempDir,
}

impl World {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn new() -> Self {
        let world = Self::empty();
        world.run(&["ledger", "create", "L"]);
        world.ok("found L --set dao.voter_share_max=1000000");
        for (n, account) in [ANA, BEN].into_iter().enumerate() {
            world.run(&[
                "ledger",
                "open",
                "L",
                "--account",
                account,
                "--kind",
                "holder",
            ]);
            let id = format!("{n:032}");
            world.run(&[
                "ledger", "transfer", "L", "--from", TREASURY, "--to", account, "--id", &id,
                "40000",
            ]);
            world.ok(&format!("own L --account {account} --key {account}.key"));
            world.ok(&format!(
                "enrol L --account {account} --key {account}.key --at 9999-12-01 --far"
            ));
        }
        world.ok(&format!(
            "establish L --role {BEN}=guardian --at 9999-12-01"
        ));
        world
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_fogcompute"))
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        output.unwrap()
    }

    fn dao(&self, arguments: &str) -> Output {
        let words = ["dao"].into_iter().chain(arguments.split_whitespace());
        self.run(&words.collect::<Vec<_>>())
    }

    fn ok(&self, arguments: &str) -> String {
        let ended = self.dao(arguments);
        let complained = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments}: {complained}");
        String::from_utf8(ended.stdout).unwrap()
    }

    fn json(&self, arguments: &str) -> Value {
        let said: Value = serde_json::from_str(&self.ok(&format!("{arguments} --json"))).unwrap();
        assert_eq!(said["ok"], true);
        said
    }

    /// The exit code and the kind of a failure that says so, told in both ways, which changed nothing.
    fn refuses(&self, arguments: &str, code: i32, kind: &str, part: &str) {
        let before = self.run(&["ledger", "verify", "L"]).stdout;
        let plain = self.dao(arguments);
        assert_eq!(plain.stdout, b"", "{arguments}");
        let told = String::from_utf8(plain.stderr).unwrap();
        assert!(told.starts_with("error: "), "{arguments}: {told}");
        let asked = format!("{arguments} --json");
        let said: Value = serde_json::from_slice(&self.dao(&asked).stdout).unwrap();
        assert_eq!(
            (plain.status.code(), said["ok"].clone(), &said["kind"]),
            (Some(code), json!(false), &json!(kind)),
            "{arguments}: {told}"
        );
        let error = said["error"].as_str().unwrap();
        assert!(error.contains(part), "{arguments}: {error}");
        assert_eq!(self.run(&["ledger", "verify", "L"]).stdout, before);
    }

    /// Ana proposes on the second.
    fn propose(&self, more: &str) {
        self.ok(&format!(
            "propose L --author {ANA} --key {ANA}.key --proposal {PROPOSAL} {more} --at 9999-12-02"
        ));
    }

    fn vote(voter: &str, choice: &str, day: u8) -> String {
        format!(
            "vote L --voter {voter} --key {voter}.key --proposal {PROPOSAL} {choice} \
             --at 9999-12-{day:02}"
        )
    }

    fn state(&self, day: u8) -> Value {
        let shown = self.json(&format!("show L {PROPOSAL} --at 9999-12-{day:02}"));
        shown["state"].clone()
    }
}

#[test]
fn a_parameter_changes_when_a_vote_says_so() {
    let world = World::new();
    world.propose("--kind parameter_change --title Quorum --set dao.quorum=200000");
    assert_eq!(world.state(2), "pending");
    assert_eq!(world.state(4), "active");
    world.ok(&World::vote(ANA, "against", 4));
    world.ok(&World::vote(ANA, "for", 5));
    world.ok(&World::vote(BEN, "abstain", 5));
    let shown = world.json(&format!("show L {PROPOSAL} --at 9999-12-05"));
    assert_eq!(shown["power"]["for"], "40000000000000000000000");
    assert_eq!(shown["power"]["against"], "0");
    assert_eq!(shown["quorum_reached"], true);
    assert_eq!(shown["ballots"], 2);
    world.refuses(
        &format!("queue L --proposal {PROPOSAL} --at 9999-12-09"),
        3,
        "refused",
        "is active, not succeeded",
    );
    let queue = format!(
        "queue L --proposal {PROPOSAL} --id 0b000000000000000000000000000000 --at 9999-12-11"
    );
    assert_eq!(world.json(&queue)["replayed"], false);
    assert_eq!(world.json(&queue)["replayed"], true);
    world.refuses(
        &format!("execute L --proposal {PROPOSAL} --at 9999-12-11"),
        3,
        "refused",
        "can be executed at 9999-12-12T00:00:00.000Z",
    );
    world.ok(&format!("execute L --proposal {PROPOSAL} --at 9999-12-12"));
    assert_eq!(world.state(12), "executed");
    let economy = world.run(&["ledger", "economy", "L"]).stdout;
    let economy = String::from_utf8(economy).unwrap();
    assert!(
        economy.contains("dao.quorum 200000 millionths"),
        "{economy}"
    );
    let listed = world.json("list L --state executed --at 9999-12-12");
    assert_eq!(listed["proposals"][0]["proposal"], PROPOSAL);
    let listed = world.json("list L --state draft --at 9999-12-12");
    assert_eq!(listed["proposals"], json!([]));
}

#[test]
fn what_the_rules_refuse_is_told_and_changes_nothing() {
    let world = World::new();
    world.propose("--kind general --title Roles --grant a11ce000000000000000000000000000=king");
    let early = World::vote(ANA, "for", 2);
    world.refuses(
        &early,
        3,
        "refused",
        "begins after 9999-12-03T00:00:00.000Z",
    );
    let forged = World::vote(ANA, "for", 4).replace(&format!("{ANA}.key"), &format!("{BEN}.key"));
    world.refuses(&forged, 3, "refused", "forged");
    let unsigned = World::vote(ANA, "for", 4).replace(&format!("--key {ANA}.key"), "");
    world.refuses(&unsigned, 3, "refused", "needs a signature");
    let other = World::vote(ANA, "for", 4).replace(PROPOSAL, "0c000000000000000000000000000000");
    world.refuses(&other, 3, "unknown_proposal", "there is no proposal");
    world.ok(&World::vote(ANA, "for", 4));
    world.refuses(&World::vote(ANA, "for", 4), 3, "refused", "already");
    world.refuses(
        &World::vote(BEN, "for", 3),
        3,
        "refused",
        "before the last event",
    );
    world.refuses(&World::vote(BEN, "perhaps", 4), 2, "arguments", "perhaps");
    let propose =
        |more: &str| format!("propose L --author {ANA} --key {ANA}.key {more} --at 9999-12-04");
    for (more, code, kind, part) in [
        (
            "--kind general --title None",
            3,
            "refused",
            "has no actions",
        ),
        (
            "--kind general --title Pay --pay b0b00000000000000000000000000000=1",
            3,
            "refused",
            "action 0, pay, is not for a proposal of kind general",
        ),
        (
            "--kind treasury_allocation --title Pay --pay b0b00000000000000000000000000000=9000000",
            3,
            "refused",
            "action 0: payments come to 9000000 credits with it, the treasury has",
        ),
        (
            "--kind parameter_change --title Quorum --set dao.quorum=900000",
            3,
            "refused",
            "must be 10000 millionths to 750000 millionths, not 900000 millionths",
        ),
        ("--content none.toml", 1, "file", "none.toml"),
        ("--content L", 2, "arguments", "name it .toml or .json"),
        ("--title Untold", 2, "arguments", "--kind <KIND>"),
        ("--kind general", 2, "arguments", "--title <TEXT>"),
        (
            "--kind parameter_change --title Same --set dao.quorum=100000",
            3,
            "refused",
            "action 0: parameter dao.quorum is 100000 millionths already",
        ),
        (
            "--kind emergency_action --title Both --pause fees --unpause fees",
            3,
            "refused",
            "action 1: it does over what action 0 does",
        ),
        (
            "--kind general --title \u{202e}x --revoke b0b00000000000000000000000000000",
            3,
            "refused",
            "character U+202E at byte 0 is not printed",
        ),
        (
            "--kind treasury_allocation --title Pay --pay b0b00000000000000000000000000000=1 \
             --pay b0b00000000000000000000000000000=9000000",
            3,
            "refused",
            "action 1: payments come to 9000001 credits with it, the treasury has",
        ),
    ] {
        world.refuses(&propose(more), code, kind, part);
    }
    world.refuses(
        &format!("delegate L --voter {ANA} --key {ANA}.key {ANA} --at 9999-12-04"),
        3,
        "refused",
        "to itself",
    );
    world.refuses(
        &format!("establish L --role {ANA}=king --at 9999-12-04"),
        3,
        "refused",
        "given already",
    );
    world.refuses(
        "found L --set dao.quorum=1",
        2,
        "arguments",
        "must be 10000",
    );
    world.refuses(
        "show L 0c000000000000000000000000000000",
        3,
        "unknown_proposal",
        "no proposal",
    );
    world.refuses("list none", 1, "file", "none");
    world.refuses(
        &format!("own L --account {PROPOSAL} --key k"),
        3,
        "unknown_account",
        "",
    );
    assert!(
        !world.folder.path().join("k").exists(),
        "a key was made for nothing"
    );
}

#[test]
fn a_ledger_without_an_economy_is_not_governed() {
    let world = World::empty();
    world.run(&["ledger", "create", "L"]);
    world.refuses("list L", 3, "no_economy", "dao found");
    let vote = format!("vote L --voter {ANA} --key k --proposal {PROPOSAL} for");
    world.refuses(&vote, 3, "no_economy", "dao found");
    world.refuses(
        &format!("queue L --proposal {PROPOSAL}"),
        3,
        "no_economy",
        "",
    );
}

#[test]
fn a_time_far_ahead_is_taken_only_if_it_is_meant() {
    // One mistaken --at, and nobody could vote any more before that time had come.
    let world = World::new();
    let vote = World::vote(ANA, "for", 4);
    let enrol = |more: &str| format!("delegate L --voter {ANA} --key {ANA}.key {BEN} {more}");
    for at in ["253402300800000", "18446744073709551615"] {
        let asked = enrol(&format!("--at {at}"));
        world.refuses(&asked, 2, "arguments", "a ledger's time ends at 9999-12-31");
        world.refuses(&format!("{asked} --far"), 2, "arguments", "time ends at");
    }
    world.propose("--kind general --title Kings --grant a11ce000000000000000000000000000=king");
    world.ok(&vote);
    // The last event is of the fourth: what is past is not listed as if it were now.
    for look in [
        "list L",
        &format!("show L {PROPOSAL}"),
        &format!("power L {ANA}"),
    ] {
        let asked = format!("{look} --at 9999-12-03");
        world.refuses(&asked, 2, "arguments", "before 9999-12-04T00:00:00.000Z");
    }
    let soon = World::empty();
    soon.run(&["ledger", "create", "L"]);
    soon.refuses(
        "found L --at 9999-12-01",
        2,
        "arguments",
        "more than 366 days after",
    );
    soon.ok("found L --at 9999-12-01 --far");
}

#[test]
fn an_economy_is_founded_anew_only_if_it_is_meant() {
    let world = World::empty();
    world.run(&["ledger", "create", "L"]);
    let found = "found L --id 0b000000000000000000000000000000 --set dao.quorum=200000";
    world.ok(found);
    assert_eq!(world.json(found)["replayed"], true);
    world.refuses("found L", 3, "refused", "--again");
    world.ok("found L --again --set dao.quorum=150000");
    let economy = world.run(&["ledger", "economy", "L"]).stdout;
    let economy = String::from_utf8(economy).unwrap();
    assert!(economy.contains("dao.quorum 150000"), "{economy}");
}

#[test]
fn a_key_is_replaced_by_its_owner_and_an_account_must_be_there() {
    let world = World::new();
    let own = format!("own L --account {ANA} --key other.key --at 9999-12-02");
    world.refuses(&own, 3, "refused", "needs a signature of the owner");
    world.refuses(
        "power L 0c000000000000000000000000000000",
        3,
        "unknown_account",
        "is not open",
    );
    fs::write(
        world.folder.path().join("text"),
        "no ledger\n".repeat(1_000),
    )
    .unwrap();
    world.refuses("list text", 1, "file", "text");
}

#[test]
fn processes_wait_for_each_other() {
    // Of twenty votes at once, fifteen were told that the ledger is locked.
    let world = World::new();
    world.propose("--kind general --title Kings --grant a11ce000000000000000000000000000=king");
    let start = |arguments: String| {
        Command::new(env!("CARGO_BIN_EXE_fogcompute"))
            .current_dir(world.folder.path())
            .arg("dao")
            .args(arguments.split_whitespace())
            .args(["--wait", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let power = || format!("power L {ANA}");
    let running: Vec<_> = [ANA, BEN]
        .map(|voter| World::vote(voter, "for", 4))
        .into_iter()
        .chain((0..10).map(|_| power()))
        .map(start)
        .collect();
    for child in running {
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{told}");
    }
    let shown = world.json(&format!("show L {PROPOSAL}"));
    assert_eq!(shown["ballots"], 2);
    let open = SqliteLedger::open(world.folder.path().join("L"), Durability::Full).unwrap();
    let refused = world.dao("list L --wait 0");
    drop(open);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("L is locked"), "{told}");
}

#[test]
fn what_was_done_is_told_though_nobody_can_read_it() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let world = World::new();
    world.propose("--kind general --title Kings --grant a11ce000000000000000000000000000=king");
    let into = |arguments: &str, out: Stdio| {
        let ended = Command::new(env!("CARGO_BIN_EXE_fogcompute"))
            .current_dir(world.folder.path())
            .args(arguments.split_whitespace())
            .stdout(out)
            .output()
            .unwrap();
        (
            ended.status.code(),
            String::from_utf8(ended.stderr).unwrap(),
        )
    };
    let to_full = || Stdio::from(fs::OpenOptions::new().write(true).open(full).unwrap());
    let id = "0d000000000000000000000000000000";
    let vote = format!("dao {} --id {id}", World::vote(ANA, "for", 4));
    let (code, told) = into(&vote, to_full());
    assert_eq!(code, Some(1));
    assert!(
        told.contains(id) && told.contains("standard output"),
        "{told}"
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let vote = format!("dao {} --id 0e{}", World::vote(BEN, "for", 4), &id[2..]);
    let (code, told) = into(&vote, writer.into());
    assert_eq!(code, Some(0));
    assert!(told.contains(&format!("id 0e{}", &id[2..])), "{told}");
    assert_eq!(world.json(&format!("show L {PROPOSAL}"))["ballots"], 2);
    for help in ["--help", "dao --help", "--version"] {
        let (code, told) = into(help, to_full());
        assert_eq!(code, Some(1), "{help}");
        assert!(told.contains("standard output"), "{help}: {told}");
    }
}

#[test]
fn votes_are_delegated_by_topic_and_come_back() {
    let world = World::new();
    world.ok(&format!(
        "delegate L --voter {ANA} --key {ANA}.key --topic general {BEN}=250000 --at 9999-12-02"
    ));
    let power = world.json(&format!("power L {BEN} --at 9999-12-03"));
    let of = |topic: &str| {
        let topics = power["topics"].as_array().unwrap();
        let row = topics.iter().find(|row| row["topic"] == topic);
        row.unwrap()["received"].clone()
    };
    assert_eq!(of("general"), "10000000000000000000000");
    assert_eq!(of("parameter_change"), "0");
    assert_eq!(power["role"], "guardian");
    world.ok(&format!(
        "delegate L --voter {ANA} --key {ANA}.key --topic general --at 9999-12-03"
    ));
    let now = world.ok(&format!("power L {BEN} --at 9999-12-04"));
    assert!(!now.contains("received 10000"), "{now}");
    let then = world.ok(&format!(
        "power L {BEN} --at-time 9999-12-02T12:00:00Z --at 9999-12-04"
    ));
    assert!(then.contains("received 10000"), "{then}");
    world.refuses(
        &format!("power L {BEN} --at-time 9999-12-30 --at 9999-12-04"),
        2,
        "arguments",
        "not settled",
    );
}

#[test]
fn drafts_are_written_in_files_and_cancelled_by_guardians() {
    let world = World::new();
    let file = |name: &str, text: &str| fs::write(world.folder.path().join(name), text).unwrap();
    file(
        "grant.toml",
        &format!(
            "kind = \"treasury_allocation\"\ntitle = \"A grant\"\n\
             [[actions]]\npay = {{ to = \"{BEN}\", amount = \"5\", code = 7 }}\n"
        ),
    );
    world.propose("--content grant.toml --draft");
    assert_eq!(world.state(2), "draft");
    world.ok(&format!(
        "submit L --author {ANA} --key {ANA}.key --proposal {PROPOSAL} --at 9999-12-03"
    ));
    assert_eq!(world.state(3), "pending");
    let shown = world.json(&format!("show L {PROPOSAL}"));
    assert_eq!(shown["content"]["actions"][0]["pay"]["code"], 7);
    world.ok(&format!(
        "cancel L --by {BEN} --key {BEN}.key --proposal {PROPOSAL} --at 9999-12-04"
    ));
    assert_eq!(world.state(4), "cancelled");
    for (name, text) in [
        ("a.toml", "kind = \"general\"\n"),
        (
            "b.toml",
            "kind = \"general\"\ntitle = \"x\"\nactions = [{ mint = { amount = \"1\" } }]\n",
        ),
        (
            "c.json",
            "{\"kind\":\"general\",\"title\":\"x\",\"actions\":[],\"more\":1}",
        ),
    ] {
        file(name, text);
        let propose = format!("propose L --author {ANA} --key {ANA}.key --content {name}");
        world.refuses(&propose, 1, "invalid", name);
    }
}

#[test]
fn a_simulation_draws_a_picture() {
    let world = World::empty();
    let few = "--voters 30 --runs 3 --split 5";
    let said = world.json(&format!("simulate {few} --plot a.svg"));
    assert_eq!(said["voters"], 30);
    let picture = fs::read_to_string(world.folder.path().join("a.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("attacker"));
    let path = world.folder.path().join("stakes");
    fs::write(path, "10\n10\nmany\n").unwrap();
    let refused = world.dao("simulate --stakes stakes --json");
    let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(
        (told["kind"].as_str(), refused.status.code()),
        (Some("invalid"), Some(1))
    );
}

#[test]
fn the_manual_shows_what_the_command_says() {
    let commands = manual::check(include_str!("../../../docs/governance.md"));
    assert!(commands > 15, "{commands} commands are in the manual");
}
