//! `fogcompute harvest`: what this device would lend, and why.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use fogcompute_base::{AccountId, Clock, SystemClock};
use fogcompute_harvest::{
    Action, Answer, Battery, Budget, Capability, Decision, DeviceProbe, DeviceState, Effect,
    HarvestPolicy, Harvester, POLICY_BYTES_MAX, PolicyTextError, ProbeError, Reason, Verdict,
};
use fogcompute_ledger::Amount;
use fogcompute_store::{LedgerOptions, SqliteLedger, StoreError};
use serde_json::{Value, json};
use thiserror::Error;

use crate::device::Device;

#[derive(Debug, Subcommand)]
pub(crate) enum HarvestCommand {
    /// Read the device once and print readings, decision and reasons.
    Status(ReadArguments),
    /// Read the device again and again, and follow what would be lent: sessions, suspension, rest.
    ///
    /// Nothing runs because of it. Ends when it is interrupted.
    Watch(WatchArguments),
}

impl HarvestCommand {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Status(read) => read.json,
            Self::Watch(watch) => watch.read.json,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ReadArguments {
    /// Print JSON, one object for each reading.
    ///
    /// {"ok": false, "kind": …, "error": …} says what went wrong. Kinds: arguments, file, ledger,
    /// output, policy, probe, unknown_account.
    #[arg(long)]
    json: bool,
    /// The policy, in TOML; the defaults of the device's class if there is none.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Read the Linux device whose proc and sys are in that folder.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The ledger with the account that earns.
    #[arg(long, value_name = "FILE", requires = "account")]
    ledger: Option<PathBuf>,
    /// The account that earns: 32 hexadecimal digits.
    #[arg(long, value_name = "ID", requires = "ledger")]
    account: Option<AccountId>,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    read: ReadArguments,
    /// Milliseconds between two readings.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=30_000))]
    interval_ms: u64,
    /// End after so many readings.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Why nothing could be said.
#[derive(Debug, Error)]
pub(crate) enum HarvestCommandError {
    #[error("reading {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no policy", path.display())]
    Policy {
        path: PathBuf,
        source: PolicyTextError,
    },
    #[error("reading the device")]
    Probe(#[from] ProbeError),
    #[error("the device did not answer within {} s", waited.as_secs())]
    Silent { waited: Duration },
    #[error("starting the thread that reads the device")]
    Thread(#[source] io::Error),
    #[error("reading the ledger")]
    Ledger(#[from] StoreError),
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    #[error("writing what was read")]
    Output(#[source] io::Error),
}

impl HarvestCommandError {
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Policy { .. } => "policy",
            Self::Probe(_) | Self::Silent { .. } | Self::Thread(_) => "probe",
            Self::Ledger(_) => "ledger",
            Self::UnknownAccount(_) => "unknown_account",
            Self::Output(_) => "output",
        }
    }

    /// Whoever read the output has had enough, as `head` has.
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Longest wait for a first reading.
const FIRST_READING: Duration = Duration::from_secs(10);

/// Time between the two readings of `status`, between which the load is measured.
const LOAD_TIME: Duration = Duration::from_millis(400);

/// Readings between two looks at the ledger, which is opened for each.
const LEDGER_READINGS: u64 = 10;

pub(crate) fn run(command: &HarvestCommand) -> Result<(), HarvestCommandError> {
    match command {
        HarvestCommand::Status(read) => status(read),
        HarvestCommand::Watch(watch) => follow(watch),
    }
}

fn status(arguments: &ReadArguments) -> Result<(), HarvestCommandError> {
    let own = own_policy(arguments)?;
    let credits = credits(arguments)?;
    let clock = Arc::new(SystemClock::new());
    let readings = Readings::start(arguments, LOAD_TIME, Arc::clone(&clock) as Arc<dyn Clock>)?;
    // The load is what was used between two readings.
    let seen = readings.wait(0)?;
    readings.wait(seen)?;
    let state = readings.latest()?;
    let policy = own.unwrap_or_else(|| HarvestPolicy::for_class(state.class));
    let decision = policy.decide(&state, clock.now());
    print(&if arguments.json {
        let mut said = said(&state, &decision.reasons, credits);
        said["decision"] = json!(decision);
        said["policy"] = json!(policy);
        said.to_string()
    } else {
        text_of_status(&state, &decision, credits)
    })
}

fn follow(arguments: &WatchArguments) -> Result<(), HarvestCommandError> {
    let read = &arguments.read;
    let own = own_policy(read)?;
    let mut credits = credits(read)?;
    let clock = Arc::new(SystemClock::new());
    let interval = Duration::from_millis(arguments.interval_ms);
    let readings = Readings::start(read, interval, Arc::clone(&clock) as Arc<dyn Clock>)?;
    let mut seen = readings.wait(0)?;
    let first = readings.latest()?;
    let policy = own.unwrap_or_else(|| HarvestPolicy::for_class(first.class));
    let mut harvester = Harvester::new(policy, clock.now(), clock.unix_now())
        .expect("policies are checked when they are read");
    let on_terminal = !read.json && io::stdout().is_terminal();
    let mut printed = 0_u64;
    loop {
        let state = readings.latest()?;
        let now = clock.now();
        let answer = harvester.handle_reading(&state, now);
        if printed > 0 && printed.is_multiple_of(LEDGER_READINGS) {
            credits = self::credits(read)?;
        }
        let lent = harvester.record(now).lent;
        print(&if read.json {
            let mut said = said(&state, &answer.reasons, credits);
            said["answer"] = json!(answer);
            said["lent_seconds"] = json!(lent.as_secs_f64());
            said.to_string()
        } else {
            let text = text_of_answer(&state, &answer, lent, credits);
            // From the top left corner, and nothing of the last picture below.
            if on_terminal {
                format!("\x1b[H\x1b[J{text}")
            } else {
                text
            }
        })?;
        printed += 1;
        if arguments.count.is_some_and(|count| printed >= count) {
            return Ok(());
        }
        // A device that falls silent is looked at again all the same: its last reading grows old.
        seen = readings.wait_at_most(seen, interval.max(Duration::from_secs(1)));
    }
}

/// The policy that was named.
fn own_policy(arguments: &ReadArguments) -> Result<Option<HarvestPolicy>, HarvestCommandError> {
    arguments.policy.as_deref().map(policy_at).transpose()
}

/// The policy in a file.
pub(crate) fn policy_at(path: &Path) -> Result<HarvestPolicy, HarvestCommandError> {
    let text = read_text(path).map_err(|source| HarvestCommandError::File {
        path: path.to_owned(),
        source,
    })?;
    HarvestPolicy::from_toml(&text).map_err(|source| HarvestCommandError::Policy {
        path: path.to_owned(),
        source,
    })
}

/// A file, but not much more of it than a policy may have.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes_max = POLICY_BYTES_MAX as u64 + 1;
    File::open(path)?
        .take(bytes_max)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// What the account has.
fn credits(arguments: &ReadArguments) -> Result<Option<Amount>, HarvestCommandError> {
    let (Some(path), Some(account)) = (&arguments.ledger, arguments.account) else {
        return Ok(None);
    };
    let ledger = SqliteLedger::open_existing(path, LedgerOptions::default())?;
    let balance = ledger
        .balance(account)
        .ok_or(HarvestCommandError::UnknownAccount(account))?;
    ledger.close()?;
    Ok(Some(balance))
}

#[cfg(target_os = "linux")]
pub(crate) fn probe_at(root: &Path) -> Box<dyn DeviceProbe> {
    Box::new(fogcompute_runtime::probe::LinuxProbe::with_root(root))
}

/// Other systems have no such files, wherever they are looked for.
#[cfg(not(target_os = "linux"))]
pub(crate) fn probe_at(_root: &Path) -> Box<dyn DeviceProbe> {
    struct Nothing;

    impl DeviceProbe for Nothing {
        fn read(&mut self, _now: fogcompute_base::Instant) -> Result<DeviceState, ProbeError> {
            Err(ProbeError::Unavailable)
        }
    }

    Box::new(Nothing)
}

/// The readings of a thread of their own.
struct Readings(fogcompute_runtime::ProbeThread);

impl Readings {
    fn start(
        arguments: &ReadArguments,
        interval: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HarvestCommandError> {
        let probe: Box<dyn DeviceProbe> = match &arguments.root {
            Some(root) => probe_at(root),
            None => Box::new(Device::new()),
        };
        fogcompute_runtime::ProbeThread::start(probe, interval, clock)
            .map(Self)
            .map_err(HarvestCommandError::Thread)
    }

    fn wait(&self, seen: u64) -> Result<u64, HarvestCommandError> {
        let count = self.wait_at_most(seen, FIRST_READING);
        if count > seen {
            return Ok(count);
        }
        Err(HarvestCommandError::Silent {
            waited: FIRST_READING,
        })
    }

    fn wait_at_most(&self, seen: u64, timeout: Duration) -> u64 {
        self.0.wait(seen, timeout)
    }

    fn latest(&self) -> Result<DeviceState, HarvestCommandError> {
        let latest = self.0.latest().unwrap_or(Err(ProbeError::Unavailable));
        Ok(latest?)
    }
}

/// What both commands say as JSON. The decision itself carries the reasons with their values.
fn said(state: &DeviceState, reasons: &[Reason], credits: Option<Amount>) -> Value {
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|reason| {
            json!({
                "code": reason.code(),
                "effect": reason.effect(),
                "text": reason.to_string(),
            })
        })
        .collect();
    json!({
        "ok": true,
        "device": state,
        "score": Capability::of(state).score(),
        "reasons": reasons,
        "credits": credits,
    })
}

fn text_of_status(state: &DeviceState, decision: &Decision, credits: Option<Amount>) -> String {
    let mut text = text_of_readings(state);
    let verdict = match decision.verdict {
        Verdict::Allow => "lend",
        Verdict::Throttle => "lend less",
        Verdict::Refuse => "lend nothing",
    };
    line(&mut text, "decision", verdict);
    finish(&mut text, &decision.budget, &decision.reasons, credits);
    text
}

fn text_of_answer(
    state: &DeviceState,
    answer: &Answer,
    lent: Duration,
    credits: Option<Amount>,
) -> String {
    let mut text = text_of_readings(state);
    let action = match answer.action {
        Action::Allow(_) => "lend",
        Action::Throttle(_) => "lend less",
        Action::Suspend => "suspend",
        Action::Stop => "stop",
    };
    line(&mut text, "state", &answer.state.to_string());
    line(&mut text, "decision", action);
    line(&mut text, "lent", &format!("{:.0} s", lent.as_secs_f64()));
    finish(&mut text, &answer.action.budget(), &answer.reasons, credits);
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to memory does not fail.
    let _ = writeln!(text, "{name:<14}{value}");
}

fn text_of_readings(state: &DeviceState) -> String {
    let unknown = || "unknown".to_owned();
    let or_unknown = |value: Option<String>| value.unwrap_or_else(unknown);
    let yes_or_no = |value: Option<bool>| {
        or_unknown(value.map(|value| if value { "yes" } else { "no" }.to_owned()))
    };
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let celsius = |value: Option<f64>| or_unknown(value.map(|value| format!("{value:.1} °C")));
    let mut text = String::new();
    let class = format!("{:?}", state.class).to_lowercase();
    line(&mut text, "device", &class);
    line(
        &mut text,
        "processors",
        &or_unknown(state.cpu_cores.map(|cores| cores.to_string())),
    );
    line(
        &mut text,
        "owner's load",
        &or_unknown(state.cpu_load.map(|load| format!("{:.0} %", load * 100.0))),
    );
    line(
        &mut text,
        "memory",
        &format!(
            "{} available of {}",
            or_unknown(state.memory_available_bytes.map(gib)),
            or_unknown(state.memory_total_bytes.map(gib))
        ),
    );
    line(
        &mut text,
        "battery",
        &match state.battery {
            Battery::Unknown => unknown(),
            Battery::Absent => "none".to_owned(),
            Battery::Present {
                level_percent,
                charging,
            } => {
                let power = if charging { "charging" } else { "not charging" };
                format!("{level_percent:.0} %, {power}")
            }
        },
    );
    line(
        &mut text,
        "temperature",
        &format!(
            "{}, battery {}",
            celsius(state.temperature_celsius),
            celsius(state.battery_temperature_celsius)
        ),
    );
    let speed = state
        .bandwidth_bits_per_second
        .map(|bits| format!(", {:.0} Mb/s", bits as f64 / 1e6));
    line(
        &mut text,
        "network",
        &format!(
            "{}{}, metered: {}",
            state.network,
            speed.unwrap_or_default(),
            yes_or_no(state.metered)
        ),
    );
    line(&mut text, "screen on", &yes_or_no(state.screen_on));
    line(
        &mut text,
        "user idle",
        &or_unknown(
            state
                .user_idle
                .map(|idle| format!("{:.0} s", idle.as_secs_f64())),
        ),
    );
    line(
        &mut text,
        "local time",
        &or_unknown(
            state
                .minute_of_day
                .map(|minute| format!("{:02}:{:02}", minute / 60, minute % 60)),
        ),
    );
    line(
        &mut text,
        "score",
        &format!("{:.2} of 1", Capability::of(state).score()),
    );
    text
}

fn finish(text: &mut String, budget: &Budget, reasons: &[Reason], credits: Option<Amount>) {
    line(
        text,
        "budget",
        &format!(
            "{:.0} % of the processors, {:.1} GiB, {:.1} Mb/s",
            budget.cpu_share * 100.0,
            budget.memory_bytes as f64 / f64::from(1 << 30),
            budget.bandwidth_bits_per_second as f64 / 1e6
        ),
    );
    if let Some(credits) = credits {
        line(text, "credits", &credits.to_credits_string());
    }
    for (index, reason) in reasons.iter().enumerate() {
        let name = if index == 0 { "because" } else { "" };
        let effect = match reason.effect() {
            Effect::Note => "note",
            Effect::Throttle => "less",
            Effect::Refuse => "no",
        };
        line(text, name, &format!("{effect:<6}{reason}"));
    }
}

fn print(text: &str) -> Result<(), HarvestCommandError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())
        .and_then(|()| out.flush())
        .map_err(HarvestCommandError::Output)
}
