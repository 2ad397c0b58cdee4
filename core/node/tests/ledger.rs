//! `fogcompute ledger`: every subcommand, on real files, as a process of its own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod manual;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fogcompute_store::{Durability, SqliteLedger};
use serde_json::{Value, json};
use tempfile::TempDir;

const MINT: &str = "10000000000000000000000000000000";
const ANA: &str = "a11ce000000000000000000000000000";
const BEN: &str = "b0b00000000000000000000000000000";
const NOBODY: &str = "0bad0000000000000000000000000000";

/// A folder with a ledger, in which commands are run.
struct World {
    folder: TempDir,
}

impl World {
    /// An empty folder.
    fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Ten credits of Ana's, and an account of Ben's: four entries.
    fn new() -> Self {
        let world = Self::empty();
        world.ok("create L");
        world.ok(&format!("open L --account {MINT} --kind issuer"));
        world.ok(&format!("open L --account {ANA} --kind holder"));
        world.ok(&format!("open L --account {BEN} --kind holder"));
        world.ok(&transfer(1, MINT, ANA, "10"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command<T: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fogcompute"));
        command
            .current_dir(self.folder.path())
            .arg("ledger")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments.split_whitespace()).output().unwrap()
    }

    /// What a command says that must not fail, as text.
    fn ok(&self, arguments: &str) -> String {
        let ended = self.run(arguments);
        let (said, complained) = (text(ended.stdout), text(ended.stderr));
        assert_eq!(ended.status.code(), Some(0), "{arguments}: {complained}");
        assert_eq!(complained, "", "{arguments}");
        said
    }

    /// The one object that a command prints with `--json`, which must not fail.
    fn json(&self, arguments: &str) -> Value {
        let said = self.ok(&format!("{arguments} --json"));
        let value: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(value["ok"], true, "{arguments}: {said}");
        value
    }

    /// The exit code and the kind of a failure, which must be told in both ways.
    fn refused<T: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = T>,
    ) -> (i32, String, String) {
        let arguments = arguments.into_iter().map(|it| it.as_ref().to_owned());
        let arguments: Vec<OsString> = arguments.collect();
        let plain = self.command(&arguments).output().unwrap();
        assert_eq!(plain.stdout, b"", "{arguments:?}");
        let told = String::from_utf8_lossy(&plain.stderr).into_owned();
        assert!(told.starts_with("error: "), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{told}");
        let json = self.command(&arguments).arg("--json").output().unwrap();
        assert_eq!(json.status.code(), plain.status.code());
        let value: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(value["ok"], false);
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        (plain.status.code().unwrap(), text("kind"), text("error"))
    }

    fn refused_words(&self, arguments: &str) -> (i32, String, String) {
        self.refused(arguments.split_whitespace())
    }

    /// Asserts the exit code and the kind of a failure, and that the ledger is what it was.
    fn refuses(&self, arguments: &str, code: i32, kind: &str, part: &str) {
        let head = self.json("verify L")["head"].clone();
        let (found_code, found_kind, error) = self.refused_words(arguments);
        assert_eq!(
            (found_code, found_kind.as_str()),
            (code, kind),
            "{arguments}: {error}"
        );
        assert!(error.contains(part), "{arguments}: {error}");
        assert_eq!(self.json("verify L")["head"], head, "{arguments}");
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn id(n: u8) -> String {
    format!("{n:02x}").repeat(16)
}

fn transfer(n: u8, from: &str, to: &str, amount: &str) -> String {
    format!("transfer L --id {} --from {from} --to {to} {amount}", id(n))
}

fn credits(amount: u128) -> String {
    (amount * 10_u128.pow(18)).to_string()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn credits_move_and_an_id_moves_them_once() {
    let world = World::new();
    let pay = transfer(2, ANA, BEN, "2.5 --memo-code 7");
    let first = world.json(&pay);
    assert_eq!(
        (&first["replayed"], &first["expired"]),
        (&false.into(), &0.into())
    );
    let made = &first["entry"]["kind"]["Transferred"];
    assert_eq!(made["amount"], "2500000000000000000");
    assert_eq!(made["memo"]["code"], 7);
    let again = world.json(&pay);
    assert_eq!(
        (&again["replayed"], &again["entry"]),
        (&true.into(), &first["entry"])
    );
    assert!(world.ok(&pay).starts_with("nothing new: entry 5, of 20"));
    world.ok(&format!("{} --base-units", transfer(3, ANA, BEN, "1")));
    let said = world.json("balance L");
    assert_eq!(said["sequence"], 6);
    let accounts: Vec<_> = said["accounts"].as_array().unwrap().iter().collect();
    let ids: Vec<_> = accounts.iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, [MINT, ANA, BEN]);
    assert_eq!(accounts[0]["issued"], credits(10));
    assert_eq!(
        (&accounts[0]["balance"], &accounts[0]["available"]),
        (&"0".into(), &Value::Null)
    );
    assert_eq!(accounts[1]["available"], "7499999999999999999");
    assert_eq!(accounts[2]["balance"], "2500000000000000001");
    // From a holder back to the issuer.
    world.ok(&transfer(4, BEN, MINT, "2.500000000000000001"));
    let said = world.ok(&format!("balance L {BEN} {MINT}"));
    assert!(
        said.contains(&format!("{BEN}  holder  0                          0")),
        "{said}"
    );
    assert!(said.contains(" -7.499999999999999999 "), "{said}");
}

#[test]
fn reservations_are_posted_voided_and_expire() {
    let world = World::new();
    let reserve = |n: u8, rest: &str| {
        let id = id(n);
        world.json(&format!(
            "reserve L --id {id} --from {ANA} --to {BEN} {rest}"
        ))
    };
    let available = || {
        let said = world.json(&format!("balance L {ANA}"));
        said["accounts"][0]["available"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    reserve(2, "4");
    assert_eq!(available(), credits(6));
    let post = format!("post L --id {} --reservation {} 3", id(3), id(2));
    let posted = world.json(&post);
    assert_eq!(posted["entry"]["kind"]["Posted"]["released"], credits(1));
    assert_eq!(world.json(&post)["replayed"], true);
    assert_eq!(available(), credits(7));
    reserve(4, "5");
    world.json(&format!("void L --id {} --reservation {}", id(5), id(4)));
    assert_eq!(available(), credits(7));
    reserve(6, "7 --expires 9999-12-31T23:59:59Z");
    world.refuses(
        &transfer(7, ANA, BEN, "0.1"),
        3,
        "insufficient_funds",
        "has 0 available",
    );
    let whole = world.json(&format!("post L --id {} --reservation {}", id(8), id(6)));
    assert_eq!(whole["entry"]["kind"]["Posted"]["amount"], credits(7));
    world.refuses(
        &format!(
            "reserve L --id {} --from {BEN} --to {ANA} 1 --expires 2000-01-01",
            id(9)
        ),
        3,
        "refused",
        "would expire",
    );
    world.refuses(
        &format!("void L --id {} --reservation {}", id(9), id(6)),
        3,
        "refused",
        "already posted",
    );
}

#[test]
fn what_has_expired_is_released_before_anything_else() {
    let world = World::new();
    {
        // A reservation of long ago, as a program would have made it.
        let mut ledger = SqliteLedger::open(world.path("L"), Durability::Full).unwrap();
        let reserve = fogcompute_ledger::Operation::Reserve {
            id: id(2).parse().unwrap(),
            from: ANA.parse().unwrap(),
            to: BEN.parse().unwrap(),
            amount: fogcompute_ledger::Amount::from_credits(10),
            expires: Some(fogcompute_base::UnixMillis(2_000)),
            memo: fogcompute_ledger::Memo::NONE,
        };
        let then = fogcompute_base::UnixMillis(1_000);
        ledger.execute(&[reserve], then).unwrap();
    }
    let held = world.json(&format!("balance L {ANA}"))["accounts"][0].clone();
    assert_eq!(held["available"], "0");
    let paid = world.json(&transfer(3, ANA, BEN, "10"));
    assert_eq!(paid["expired"], 1);
    assert_eq!(world.json("verify L")["open_reservations"], 0);
}

#[test]
fn the_past_is_told_by_entry_and_by_time() {
    let world = World::new();
    world.ok(&transfer(2, ANA, BEN, "4"));
    let balance = |options: &str| {
        let said = world.json(&format!("balance L {options}"));
        let accounts = said["accounts"].as_array().unwrap().clone();
        let balances = accounts
            .iter()
            .map(|it| it["balance"].as_str().unwrap().to_owned());
        balances.collect::<Vec<_>>()
    };
    assert_eq!(balance("--at-sequence 0"), [""; 0]);
    assert_eq!(balance("--at-sequence 2"), ["0", "0"]);
    assert_eq!(
        balance("--at-sequence 4"),
        ["0".into(), credits(10), "0".into()]
    );
    assert_eq!(balance(&format!("{ANA} --at-sequence 5")), [credits(6)]);
    assert_eq!(balance("--at-time 2026-01-01"), [""; 0]);
    assert_eq!(balance("--at-time 9999-12-31T23:59:59.999Z").len(), 3);
    let time = lines(&world.ok("history L --json"))[4]["time"]
        .as_u64()
        .unwrap();
    assert_eq!(balance(&format!("{BEN} --at-time {time}")), [credits(4)]);
    assert_eq!(balance(&format!("--at-time {}", time - 1)).len(), 3);
    world.refuses(
        "balance L --at-sequence 6",
        3,
        "unknown_entry",
        "ends with entry 5",
    );
    let unopened = format!("balance L {BEN} --at-sequence 2");
    world.refuses(&unopened, 3, "unknown_account", "after entry 2");
    let unopened = format!("balance L {NOBODY}");
    world.refuses(&unopened, 3, "unknown_account", NOBODY);
    world.refuses(
        "balance L --at-time 2026-02-30",
        2,
        "arguments",
        "date or time of UTC",
    );
    world.refuses(
        "balance L --at-time 5 --at-sequence 1",
        2,
        "arguments",
        "cannot be used with",
    );
}

#[test]
fn history_is_read_whole_in_parts_and_by_account() {
    let world = World::new();
    world.ok(&transfer(2, ANA, BEN, "4"));
    let sequences = |options: &str| {
        let entries = lines(&world.ok(&format!("history L --json {options}")));
        let sequences = entries
            .iter()
            .map(|entry| entry["sequence"].as_u64().unwrap());
        sequences.collect::<Vec<_>>()
    };
    assert_eq!(sequences(""), [1, 2, 3, 4, 5]);
    assert_eq!(sequences("--after 2 --limit 2"), [3, 4]);
    assert_eq!(sequences("--limit 0"), [0; 0]);
    assert_eq!(sequences("--after 18446744073709551615"), [0; 0]);
    assert_eq!(sequences(ANA), [2, 4, 5]);
    assert_eq!(sequences(&format!("{ANA} --after 2 --limit 1")), [4]);
    assert_eq!(world.ok("history L --json"), world.ok("export L"));
    let shown = world.ok(&format!("history L {BEN}"));
    let last = shown.lines().last().unwrap();
    assert!(
        last.ends_with(&format!(
            "Z  transferred amount 4 from {ANA} to {BEN} id {}",
            id(2)
        )),
        "{last}"
    );
    world.refuses(&format!("history L {NOBODY}"), 3, "unknown_account", NOBODY);
}

#[test]
fn an_economy_is_shown_with_numbers_purses_operators_and_stakes() {
    // What an economy had in it was told by the libraries alone.
    use fogcompute_base::{NodeId, UnixMillis};
    use fogcompute_ledger::economy::{Economy, Request};
    use fogcompute_ledger::staking::Operation as Stake;
    use fogcompute_ledger::{Amount, Memo, Operation, Ppm, Purse};
    let world = World::new();
    let none = world.json("economy L");
    assert_eq!(
        (&none["founded"], none.get("purses")),
        (&json!(false), None)
    );
    assert_eq!(world.ok("economy L"), "there is no economy after entry 4\n");
    let (operator, ana) = (NodeId::from_bytes([9; 32]), ANA.parse().unwrap());
    let credits = Amount::from_credits;
    let ask = |n, request| Operation::Economy {
        id: id(n).parse().unwrap(),
        request: Box::new(request),
    };
    let now = UnixMillis(1_700_000_000_000);
    {
        let mut ledger = SqliteLedger::open(world.path("L"), Durability::Full).unwrap();
        let stake = |n, operation| ask(n, Request::Staking(operation));
        let delegator = ana;
        let batch = [
            ask(20, Request::Configure(Economy::default())),
            Operation::Transfer {
                id: id(21).parse().unwrap(),
                from: Purse::Treasury.account(),
                to: ana,
                amount: credits(100),
                memo: Memo::NONE,
            },
            stake(
                22,
                Stake::Register {
                    operator,
                    account: ana,
                    commission: Ppm::percent(10),
                },
            ),
            stake(
                23,
                Stake::Bond {
                    operator,
                    delegator,
                    amount: credits(50),
                },
            ),
            stake(
                24,
                Stake::Unbond {
                    operator,
                    delegator,
                    amount: Some(credits(20)),
                },
            ),
            stake(
                25,
                Stake::Reward {
                    operator,
                    source: Purse::Treasury,
                    amount: credits(5),
                },
            ),
        ];
        ledger.execute(&batch, now).unwrap();
    }
    let said = world.json(&format!("economy L --account {ANA}"));
    let whole = |amount: u64| json!(credits(amount).to_string());
    let named = |list: &str, key: &str, name: &str| {
        let mut list = said[list].as_array().unwrap().iter();
        list.find(|it| it[key] == name).unwrap().clone()
    };
    let base = named("parameters", "name", "earning.contributions.hosting.base");
    assert_eq!(
        (&base["value"], &base["unit"]),
        (&whole(5), &json!("base_units"))
    );
    assert_eq!(named("purses", "purse", "bonded")["balance"], whole(30));
    assert_eq!(named("purses", "purse", "unbonding")["balance"], whole(20));
    assert_eq!(
        named("purses", "purse", "treasury")["balance"],
        whole(999_895)
    );
    assert_eq!(named("purses", "purse", "mint")["issued"], whole(1_000_000));
    let node = "09".repeat(32);
    let shown = named("operators", "operator", &node);
    assert_eq!(
        (&shown["staked"], &shown["account"]),
        (&whole(30), &json!(ANA))
    );
    assert_eq!(shown["commission_ppm"], 100_000);
    let stake = &said["stakes"][0];
    assert_eq!(
        (&stake["staked"], &stake["operator"]),
        (&whole(30), &json!(node))
    );
    assert_eq!(stake["claimable"], "4500000000000000000");
    let leaving = &stake["unbondings"][0];
    let matures = now.0 + 21 * 86_400_000;
    assert_eq!(
        (&leaving["balance"], &leaving["matures"]),
        (&whole(20), &json!(matures))
    );

    let text = world.ok(&format!("economy L --account {ANA}"));
    for line in [
        "  earning.session.duration_min_ms 300000 ms",
        "  supply.initial 1000000 credits",
        "  bonded 30",
        "  mint -1000000",
        &format!("  {node} staked 30 unclaimed 4.5 commission 100000 millionths, 0.5 due"),
        &format!("  {node} staked 30 claimable 4.5 leaving 20 at 2023-12-05T22:13:20.000Z"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert_eq!(
        world.json(&format!("economy L --account {BEN}"))["stakes"],
        json!([])
    );
    let unknown = format!("economy L --account {NOBODY}");
    world.refuses(&unknown, 3, "unknown_account", NOBODY);
}

#[test]
fn longer_histories_than_a_page_are_read_whole() {
    let world = World::new();
    {
        let mut ledger = SqliteLedger::open(world.path("L"), Durability::Normal).unwrap();
        for batch in 0..3_u32 {
            let operations: Vec<_> = (0..5_000_u32)
                .map(|n| fogcompute_ledger::Operation::Transfer {
                    id: format!("{:032x}", 1_000 + batch * 5_000 + n)
                        .parse()
                        .unwrap(),
                    from: ANA.parse().unwrap(),
                    to: BEN.parse().unwrap(),
                    amount: fogcompute_ledger::Amount(1),
                    memo: fogcompute_ledger::Memo::NONE,
                })
                .collect();
            let now = fogcompute_base::UnixMillis(1_800_000_000_000);
            ledger.execute(&operations, now).unwrap();
        }
    }
    assert_eq!(world.ok("history L").lines().count(), 15_004);
    assert_eq!(
        world.ok(&format!("history L {BEN}")).lines().count(),
        15_001
    );
    let some = world.ok(&format!("history L {BEN} --limit 12000"));
    assert_eq!(some.lines().count(), 12_000);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let world = World::new();
    let refuses = |amount: &str, code, kind, part| {
        world.refuses(&transfer(9, ANA, BEN, amount), code, kind, part);
    };
    refuses("0", 3, "refused", "amount zero");
    refuses("-1", 2, "arguments", "no sign");
    refuses("-0.5", 2, "arguments", "no sign");
    refuses("1e3", 2, "arguments", "digits");
    refuses("1.0000000000000000001", 2, "arguments", "at most 18 digits");
    refuses(
        "340282366920938463464",
        2,
        "arguments",
        "at most 340282366920938463463.37",
    );
    refuses("0.5 --base-units", 2, "arguments", "character 1");
    refuses("11", 3, "insufficient_funds", "available");
    refuses("", 2, "arguments", "AMOUNT");
    refuses("1 --memo-code 65536", 2, "arguments", "65535");
    // A counter is full at some time.
    let most = "340282366920938463453.374607431768211455";
    world.ok(&transfer(10, MINT, BEN, most));
    world.refuses(&transfer(11, MINT, ANA, "1"), 3, "refused", "overflows");
    world.refuses(&transfer(9, ANA, NOBODY, "1"), 3, "unknown_account", NOBODY);
    world.refuses(&transfer(9, NOBODY, ANA, "1"), 3, "unknown_account", NOBODY);
    world.refuses(&transfer(9, ANA, ANA, "1"), 3, "refused", "both sides");
    world.refuses(&transfer(1, MINT, ANA, "11"), 3, "id_reused", "entry 4");
    world.refuses(&transfer(9, "ana", BEN, "1"), 2, "arguments", "--from");
    world.refuses(
        &format!("open L --account {ANA} --kind issuer"),
        3,
        "refused",
        "exists as Holder",
    );
    world.refuses("create L", 1, "file", "exists");
    world.refuses(
        &format!("post L --id {} --reservation {}", id(9), id(8)),
        3,
        "refused",
        "unknown reservation",
    );
    world.refuses(
        &format!(
            "reserve L --id {} --from {ANA} --to {BEN} 1 --expires 18446744073709551615",
            id(9)
        ),
        2,
        "arguments",
        "cannot be stored",
    );
    world.refuses("verify L --key 00", 2, "arguments", "--key");
    // No text at all.
    let bytes = OsString::from_vec(vec![0xff, 0xfe]);
    let arguments = ["balance".into(), "L".into(), bytes.clone()];
    let (code, kind, _) = world.refused(&arguments);
    assert_eq!((code, kind.as_str()), (2, "arguments"));
    let (code, kind, _) = world.refused(&["balance".into(), bytes.clone()]);
    assert_eq!((code, kind.as_str()), (1, "file"));
    // As the name of a file it is one like others.
    let made = world.command(&["create".into(), bytes.clone()]).output();
    assert_eq!(made.unwrap().status.code(), Some(0));
    assert!(world.folder.path().join(bytes).is_file());
}

#[test]
fn a_file_that_is_no_ledger_is_told_and_left_alone() {
    let world = World::new();
    fs::create_dir(world.path("folder")).unwrap();
    fs::write(world.path("empty"), "").unwrap();
    fs::write(world.path("text"), "no ledger\n".repeat(1_000)).unwrap();
    let pay = transfer(9, ANA, BEN, "1");
    for command in [
        "balance L",
        "history L",
        "verify L",
        "export L",
        "backup L copy",
        "checkpoint L --key key",
        &format!("open L --account {ANA} --kind holder"),
        &pay,
    ] {
        for (name, part) in [
            ("none", "does not exist"),
            ("none/none", "folder does not exist"),
            ("folder", "is a folder"),
            ("empty", "is not a database"),
            ("text", "is not a database"),
            (":memory:", "is no name of a file"),
        ] {
            let (code, kind, error) = world.refused_words(&command.replacen('L', name, 1));
            assert_eq!(
                (code, kind.as_str()),
                (1, "file"),
                "{command} {name}: {error}"
            );
            assert!(error.contains(part), "{command} {name}: {error}");
        }
    }
    assert_eq!(fs::metadata(world.path("empty")).unwrap().len(), 0);
    for name in ["create none/none", "create folder", "import text none.csv"] {
        assert_eq!(world.refused_words(name).0, 1, "{name}");
    }
    let mut names: Vec<_> = fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["L", "empty", "folder", "text"]);
}

#[test]
fn an_operation_without_a_name_is_given_one() {
    let world = World::new();
    let pay = format!("transfer L --from {ANA} --to {BEN} 1");
    let of = |said: &Value| said["entry"]["kind"]["Transferred"]["id"].clone();
    let (first, second) = (world.json(&pay), world.json(&pay));
    assert!(of(&first).is_string(), "{first}");
    assert_ne!(of(&first), of(&second));
    assert_eq!(second["replayed"], false);
    assert!(world.ok(&pay).contains(" id "));
}

#[test]
fn a_ledger_that_somebody_else_has_open_is_locked() {
    let world = World::new();
    let open = SqliteLedger::open(world.path("L"), Durability::Full).unwrap();
    for command in [
        "balance L",
        "verify L",
        "export L",
        &transfer(2, ANA, BEN, "1"),
    ] {
        let command = format!("{command} --wait 0");
        let (code, kind, error) = world.refused_words(&command);
        assert_eq!((code, kind.as_str()), (1, "locked"), "{command}");
        assert_eq!(error, "L is locked: another process has it open");
    }
    drop(open);
    world.ok(&transfer(2, ANA, BEN, "1"));
}

#[test]
fn a_read_only_ledger_is_refused_with_the_reason() {
    let world = World::new();
    let path = world.path("L");
    // Permissions do not stop a superuser, who may well run this test. A write version above 2 in
    // the header (SQLite file format, §1.3) makes a file read-only for everybody.
    let mut bytes = fs::read(&path).unwrap();
    bytes[18] = 3;
    fs::write(&path, &bytes).unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let (code, kind, error) = world.refused_words("balance L");
    assert_eq!((code, kind.as_str()), (1, "file"), "{error}");
    assert!(error.contains("L is read-only"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn damage_is_found_and_a_corrupted_page_is_no_panic() {
    let world = World::new();
    let sound = fs::read(world.path("L")).unwrap();
    assert!(
        world
            .ok("verify L")
            .starts_with("sound: 4 entries, 3 accounts, 0 open")
    );
    let mut bytes = sound.clone();
    bytes[4_096..].fill(0xee);
    fs::write(world.path("L"), bytes).unwrap();
    for command in ["verify L", "balance L", "history L", "export L"] {
        let (code, kind, error) = world.refused_words(command);
        assert_eq!((code, kind.as_str()), (1, "corrupt"), "{command}: {error}");
    }
    // One byte of an amount: Ana is given another one than all others remember.
    let amount = 10_u128.pow(19).to_be_bytes();
    let places: Vec<_> = (0..sound.len())
        .filter(|&at| sound[at..].starts_with(&amount))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        let mut bytes = sound.clone();
        bytes[at + 15] ^= 1;
        fs::write(world.path("L"), bytes).unwrap();
        let ended = world.run("verify L --json");
        let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
        // A snapshot is passed over and made anew; everything else is a lie.
        let passed_over = said["snapshots_damaged"]
            .as_u64()
            .is_some_and(|count| count > 0);
        assert!(
            passed_over || said["kind"] == "corrupt",
            "byte {at}: {said}"
        );
    }
}

#[test]
fn a_checkpoint_tells_another_history() {
    let world = World::new();
    let made = world.json("checkpoint L --key auditor.key --out kept");
    let key = made["key"].as_str().unwrap();
    let digits = made["checkpoint"].as_str().unwrap();
    assert_eq!(
        fs::read_to_string(world.path("kept")).unwrap(),
        format!("{digits}\n")
    );
    let secret = fs::read(world.path("auditor.key")).unwrap();
    // The same key signs again, and no file is replaced.
    let again = world.json("checkpoint L --key auditor.key");
    assert_eq!(
        (&again["key"], &again["head"]),
        (&made["key"], &made["head"])
    );
    assert_eq!(fs::read(world.path("auditor.key")).unwrap(), secret);
    world.refuses(
        "checkpoint L --key auditor.key --out kept",
        1,
        "file",
        "kept",
    );
    world.ok(&transfer(2, ANA, BEN, "1"));
    for given in ["kept", digits] {
        let verified = world.json(&format!("verify L --checkpoint {given} --key {key}"));
        assert_eq!(
            (&verified["entries"], &verified["accounts"]),
            (&5.into(), &3.into())
        );
        let checkpoint = &verified["checkpoint"];
        assert_eq!(checkpoint["head"], made["head"]);
        assert_eq!(checkpoint["key_given"], true);
    }
    let said = world.ok("verify L --checkpoint kept");
    assert!(said.contains("the same up to entry 4 as at 20"), "{said}");
    assert!(
        said.trim_end()
            .ends_with("a key that only the checkpoint names"),
        "{said}"
    );
    // The bytes of it are as good as its digits.
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    fs::write(world.path("bytes"), &bytes).unwrap();
    world.json("verify L --checkpoint bytes");

    let other = "00".repeat(32);
    world.refuses(
        &format!("verify L --checkpoint kept --key {other}"),
        1,
        "checkpoint",
        "forged, or signed by another key",
    );
    let mut forged = bytes;
    forged[8] ^= 1;
    fs::write(world.path("forged"), forged).unwrap();
    world.refuses("verify L --checkpoint forged", 1, "checkpoint", "forged");
    world.refuses(
        "verify L --checkpoint auditor.key",
        1,
        "checkpoint",
        "no checkpoint",
    );
    world.refuses(
        &format!("verify L --checkpoint {}", "00".repeat(177)),
        1,
        "checkpoint",
        "",
    );
    world.refuses("verify L --checkpoint none", 1, "file", "none");
    world.refuses("checkpoint L --key kept", 1, "invalid", "no secret key");
    // Nor is a key made for nothing.
    world.refuses(
        "checkpoint L --key new --out kept",
        1,
        "file",
        "kept exists",
    );
    assert!(!world.path("new").exists());

    // A ledger of another history, sound in itself.
    let rewritten = World::new();
    rewritten.ok(&transfer(2, ANA, BEN, "2"));
    let (code, kind, error) = rewritten.refused_words(&format!("verify L --checkpoint {digits}"));
    assert_eq!((code, kind.as_str()), (1, "corrupt"));
    assert!(
        error.contains("differs from the checkpoint at entry 4"),
        "{error}"
    );
    // And one that was cut short.
    let short = World::empty();
    short.ok("create L");
    let (_, kind, error) = short.refused_words(&format!("verify L --checkpoint {digits}"));
    assert_eq!(kind, "corrupt");
    assert!(
        error.contains("before the checkpoint at entry 4"),
        "{error}"
    );
}

#[test]
fn a_history_goes_out_and_comes_in_again() {
    let world = World::new();
    world.ok(&transfer(2, ANA, BEN, "1"));
    let head = world.json("verify L")["head"].clone();
    for (name, first) in [
        ("h.csv", "sequence,time,kind"),
        ("h.jsonl", "{\"sequence\":1,"),
    ] {
        let said = world.json(&format!("export L --out {name}"));
        assert_eq!(said["entries"], 5);
        let text = fs::read_to_string(world.path(name)).unwrap();
        assert!(text.starts_with(first), "{text}");
        let format = name.strip_prefix("h.").unwrap();
        assert_eq!(world.ok(&format!("export L --format {format}")), text);
        let copy = format!("{format}.ledger");
        let made = world.json(&format!("import {copy} {name}"));
        assert_eq!((&made["head"], &made["accounts"]), (&head, &3.into()));
        assert_eq!(world.json(&format!("verify {copy}"))["head"], head);
        // Nothing is replaced.
        world.refuses(&format!("export L --out {name}"), 1, "file", name);
        world.refuses(&format!("import {copy} {name}"), 1, "file", "exists");
        // Ten credits are nine.
        let changed = text
            .replace(",10000000000000000000,", ",9000000000000000000,")
            .replace("\"10000000000000000000\"", "\"9000000000000000000\"");
        assert_ne!(changed, text);
        fs::write(world.path(name), changed).unwrap();
        let (code, kind, error) = world.refused_words(&format!("import new {name}"));
        assert_eq!(code, 1);
        assert!(kind == "corrupt" || kind == "invalid", "{kind}: {error}");
        assert!(!world.path("new").exists() && !world.path("new-wal").exists());
    }
    let (_, kind, error) = world.refused_words("import new L --format jsonl");
    assert!(kind == "invalid" || kind == "file", "{kind}: {error}");
    assert_eq!(world.refused_words("import new none.csv").1, "file");
    assert_eq!(world.refused_words("export L --out folder/n.csv").1, "file");
    // A name that tells no format was JSON lines.
    for command in ["export L --out h.txt", "import new h.txt"] {
        world.refuses(command, 2, "arguments", "--format");
        assert!(!world.path("h.txt").exists() && !world.path("new").exists());
    }
    world.ok("export L --out h.txt --format csv");
    assert_eq!(world.json("import txt h.txt --format csv")["head"], head);
    // From the standard input.
    let mut import = world
        .command(["import", "piped", "-", "--json"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let history = world.ok("export L");
    let mut input = import.stdin.take().unwrap();
    input.write_all(history.as_bytes()).unwrap();
    drop(input);
    assert!(import.wait_with_output().unwrap().status.success());
    assert_eq!(world.json("verify piped")["head"], head);

    assert_eq!(world.json("backup L copy")["head"], head);
    assert_eq!(world.json("verify copy")["head"], head);
    world.refuses("backup L copy", 1, "file", "exists");
    world.refuses("backup L L", 1, "file", "exists");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    for command in ["history L", "export L", "balance L", "history L --json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = world
            .command(command.split_whitespace())
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(
            (ended.status.code(), ended.stderr),
            (Some(0), vec![]),
            "{command}"
        );
    }
    let full = Path::new("/dev/full");
    if full.exists() {
        for command in ["history L", "export L", "balance L"] {
            let ended = world
                .command(command.split_whitespace())
                .stdout(fs::File::create(full).unwrap())
                .output()
                .unwrap();
            assert_eq!(ended.status.code(), Some(1), "{command}");
            assert!(text(ended.stderr).contains("standard output"), "{command}");
        }
    }
}

#[test]
fn many_processes_that_pay_at_once_pay_each_once() {
    let world = World::new();
    let running: Vec<_> = (0..8)
        .map(|n| {
            let pay = transfer(20 + n % 4, ANA, BEN, "1");
            world
                .command(pay.split_whitespace())
                .args(["--json", "--wait", "600"])
                .spawn()
        })
        .collect();
    let mut done = 0;
    for child in running {
        let ended = child.unwrap().wait_with_output().unwrap();
        let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
        done += usize::from(said["replayed"] == json!(false));
        assert_eq!(said["ok"], true, "{said}");
    }
    let held = world.json(&format!("balance L {BEN}"))["accounts"][0].clone();
    assert_eq!(held["balance"], credits(done as u128));
    assert_eq!(done, 4);
}

#[test]
fn the_manual_shows_what_the_command_says() {
    let commands = manual::check(include_str!("../../../docs/ledger.md"));
    assert!(commands > 15, "{commands} commands are in the manual");
}
