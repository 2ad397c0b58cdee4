//! `fogcompute harvest`: on a recorded device, as a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A laptop on its charger, and a folder for policies and ledgers.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for (file, content) in [
            (
                "proc/stat",
                "cpu  100 0 0 900 0 0 0 0 0 0\ncpu0 1 0 0 1 0\ncpu1 1 0 0 1 0\n",
            ),
            (
                "proc/self/stat",
                "7 (x) R 1 1 1 0 -1 0 0 0 0 0 5 0 0 0 20 0 1 0 1\n",
            ),
            (
                "proc/meminfo",
                "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n",
            ),
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("sys/class/power_supply/BAT0/capacity", "15\n"),
            ("sys/class/power_supply/BAT0/status", "Charging\n"),
            ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
            ("sys/class/thermal/thermal_zone0/temp", "41000\n"),
        ] {
            world.write(&format!("device/{file}"), content);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fogcompute"))
            .current_dir(self.0.path())
            .args(line.split_ascii_whitespace())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// Exit code, kind and error of a command that fails.
    fn failure(&self, line: &str) -> (i32, String, String) {
        let output = self.run(line);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["ok"], false);
        let text = |key: &str| said[key].as_str().unwrap().to_owned();
        (output.status.code().unwrap(), text("kind"), text("error"))
    }
}

#[test]
fn status_says_what_was_read_and_every_reason() {
    let world = World::new();
    let said = world.json("harvest status --json --root device");
    assert_eq!(said["ok"], true);
    assert_eq!(said["device"]["class"], "laptop");
    assert_eq!(said["device"]["temperature_celsius"], 41.0);
    assert_eq!(said["decision"]["verdict"], "refuse");
    assert_eq!(said["policy"]["battery_percent_min"], 20.0);
    let reasons = said["reasons"].as_array().unwrap();
    let low = reasons
        .iter()
        .find(|reason| reason["code"] == "battery_low")
        .unwrap();
    assert_eq!(
        *low,
        json!({
            "code": "battery_low",
            "effect": "refuse",
            "text": "the battery is at 15 %, at least 20 % is needed",
        })
    );
    assert!(reasons.len() > 3, "{reasons:?}");
    assert_eq!(said["credits"], Value::Null);

    let text = world.ok("harvest status --root device");
    for line in [
        "device        laptop",
        "battery       15 %, charging",
        "memory        4.0 GiB available of 8.0 GiB",
        "decision      lend nothing",
        "the battery is at 15 %, at least 20 % is needed",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn status_goes_by_the_policy_that_is_named() {
    let world = World::new();
    world.write("mine.toml", "enforced = false\ncpu_share_max = 0.25\n");
    let said = world.json("harvest status --json --root device --policy mine.toml");
    assert_eq!(said["decision"]["verdict"], "allow");
    assert_eq!(said["decision"]["budget"]["cpu_share"], 0.25);
    assert_eq!(said["policy"]["enforced"], false);
}

#[test]
fn watch_follows_the_device_and_says_how_long_it_lent() {
    let world = World::new();
    world.write("mine.toml", "enforced = false\n");
    let text = world
        .ok("harvest watch --json --root device --policy mine.toml --interval-ms 10 --count 3");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines
            .iter()
            .all(|line| line["answer"]["state"] == "running")
    );
    assert_eq!(lines[0]["lent_seconds"], 0.0);
    assert!(lines[2]["lent_seconds"].as_f64().unwrap() > 0.0);
    assert!(lines[0]["answer"]["action"]["allow"]["memory_bytes"].as_u64() > Some(0));

    let text = world.ok("harvest watch --root device --count 1");
    assert!(text.contains("state         idle"), "{text}");
    assert!(text.contains("decision      stop"), "{text}");
    // Nothing steers a terminal that is none.
    assert!(!text.contains('\x1b'));
}

#[test]
fn what_an_account_has_earned_is_said() {
    const MINT: &str = "10000000000000000000000000000000";
    const ANA: &str = "a11ce000000000000000000000000000";
    let world = World::new();
    world.ok("ledger create L");
    world.ok(&format!("ledger open L --account {MINT} --kind issuer"));
    world.ok(&format!("ledger open L --account {ANA} --kind holder"));
    world.ok(&format!(
        "ledger transfer L --id 0123456789abcdef0123456789abcdef --from {MINT} --to {ANA} \
         2.5"
    ));
    let with = format!("harvest status --root device --ledger L --account {ANA}");
    assert!(world.ok(&with).contains("credits       2.5"));
    assert_eq!(
        world.json(&format!("{with} --json"))["credits"],
        "2500000000000000000"
    );
    let nobody = "0bad0000000000000000000000000000";
    let (code, kind, _) = world.failure(&format!(
        "harvest status --json --root device --ledger L --account {nobody}"
    ));
    assert_eq!((code, kind.as_str()), (1, "unknown_account"));
    let (code, kind, _) = world.failure(&format!(
        "harvest status --json --root device --ledger absent --account {nobody}"
    ));
    assert_eq!((code, kind.as_str()), (1, "ledger"));
    let (code, kind, _) = world.failure("harvest status --json --ledger L");
    assert_eq!((code, kind.as_str()), (2, "arguments"));
}

#[test]
fn mistakes_are_named() {
    let world = World::new();
    for (policy, named) in [
        (
            "batery_percent_min = 3",
            "unknown setting \"batery_percent_min\"",
        ),
        (
            "celsius_throttle = 70.0",
            "celsius_throttle (70) must be below celsius_critical (65)",
        ),
        ("require = \"battery >\"", "column 10"),
        ("enforced = 3", "line 1"),
    ] {
        world.write("mine.toml", policy);
        for command in ["status", "watch"] {
            let (code, kind, error) = world.failure(&format!(
                "harvest {command} --json --root device --policy mine.toml"
            ));
            assert_eq!((code, kind.as_str()), (1, "policy"), "{policy}");
            assert!(error.contains(named), "{named} in {error}");
        }
    }
    let (code, kind, _) = world.failure("harvest status --json --policy absent.toml");
    assert_eq!((code, kind.as_str()), (1, "file"));
    fs::create_dir(world.path("empty")).unwrap();
    let (code, kind, error) = world.failure("harvest status --json --root empty");
    assert_eq!((code, kind.as_str()), (1, "probe"));
    assert!(error.contains("neither proc nor sys"), "{error}");
}
