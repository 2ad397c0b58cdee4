//! What one call costs from each language, beside the same call in Rust.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fogcompute::base::{self, OsEntropy};
use fogcompute::ledger::{Amount, Memo, Operation};
use fogcompute::{
    AccountId, AccountKind, Battery, BatteryProbe, DeviceClass, DeviceState, HarvestPolicy, Hop,
    Ledger, Network, NodeId, PrivateKey, ProbeError, Sphinx, TransferId,
};
use serde::Deserialize;
use tempfile::TempDir;

use crate::measure::{Effort, median};
use crate::row::{Output, Row};

/// A language's bench program, as `cargo xtask bench ffi` built it.
#[derive(Debug, Deserialize)]
struct Program {
    language: String,
    /// The program and its arguments.
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// A line of a bench program: the median of several runs of `n` calls, in wall time.
#[derive(Debug, Deserialize)]
struct Line {
    case: String,
    ns: f64,
    n: u64,
}

const ROUNDS: usize = 3;

/// Runs Rust and each language in turns; of the rounds the medians are printed.
pub(crate) fn run(
    programs: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let programs: Vec<Program> = serde_json::from_slice(&std::fs::read(programs)?)?;
    let facade = Facade::new()?;
    let rounds = if effort == Effort::Smoke { 1 } else { ROUNDS };

    // Rust beside itself: what the ratios below can be trusted to.
    compare("rust", rounds, &facade, effort, output, || {
        CASES
            .iter()
            .map(|case| facade.measure(case, effort))
            .collect()
    })?;
    for program in &programs {
        compare(&program.language, rounds, &facade, effort, output, || {
            program.measure()
        })?;
    }
    Ok(())
}

fn compare(
    language: &str,
    rounds: usize,
    facade: &Facade,
    effort: Effort,
    output: &mut Output,
    mut measure: impl FnMut() -> Result<Vec<Line>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut cases: BTreeMap<usize, (Vec<f64>, Vec<f64>, u64)> = BTreeMap::new();
    for _ in 0..rounds {
        for line in measure()? {
            // A language may measure more than all of them do.
            let mut cases_there_are = CASES.iter().chain(&MORE);
            let Some(index) = cases_there_are.position(|case| *case == line.case) else {
                continue;
            };
            let rust = facade.measure(&line.case, effort)?;
            let (ours, theirs, n) = cases.entry(index).or_default();
            ours.push(line.ns);
            theirs.push(rust.ns);
            *n += line.n;
        }
    }
    let measured = cases.range(..CASES.len()).count();
    if measured != CASES.len() {
        let all = CASES.len();
        return Err(format!("{language} measured {measured} of {all} cases").into());
    }
    let names: Vec<_> = CASES.iter().chain(&MORE).collect();
    for (index, (ours, theirs, n)) in cases {
        let (ours, theirs) = (median(ours), median(theirs));
        output.print(Row {
            area: "ffi",
            case: format!("{language} {}", names[index]),
            ours,
            unit: "ns",
            peer: "rust facade".to_owned(),
            peer_version: fogcompute::version().to_owned(),
            theirs,
            ratio: theirs / ours,
            n,
        })?;
    }
    Ok(())
}

impl Program {
    fn measure(&self) -> Result<Vec<Line>, Box<dyn Error>> {
        let language = &self.language;
        let (program, args) = self
            .command
            .split_first()
            .ok_or("a program without a name")?;
        let finished = Command::new(program)
            .args(args)
            .envs(&self.env)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("{language}: cannot start {program}: {error}"))?;
        if !finished.status.success() {
            return Err(format!("{language}: {program} ended with {}", finished.status).into());
        }
        let text = String::from_utf8(finished.stdout)?;
        // Build tools may say something before or after.
        let lines = text.lines().filter(|line| line.starts_with("{\"case\""));
        Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }
}

/// What every language measures.
const CASES: [&str; 5] = [
    "noop",
    "sphinx_process_2k",
    "ledger_balance",
    "harvest_decide",
    "callback",
];

/// What only some languages measure.
const MORE: [&str; 2] = ["sphinx_process_batch_256", "ledger_transfers_1024"];

/// Packets of a batch.
const BATCH: usize = 256;
/// Transfers of a batch.
const TRANSFERS: u64 = 1_024;

/// The same objects the languages' programs make, in Rust.
struct Facade {
    sphinx: Sphinx,
    key: PrivateKey,
    packet: Vec<u8>,
    batch: Vec<u8>,
    ledger: Ledger,
    account: AccountId,
    /// On disk, with a second account; kept with the folder of its file.
    durable: (Ledger, AccountId, TempDir),
    policy: HarvestPolicy,
    state: DeviceState,
}

struct NoBattery;

impl BatteryProbe for NoBattery {
    fn battery(&self) -> Result<Battery, ProbeError> {
        Ok(Battery::Absent)
    }
}

impl Facade {
    fn new() -> Result<Self, Box<dyn Error>> {
        let sphinx = Sphinx::default();
        let key = PrivateKey::random(&mut OsEntropy);
        let hop = Hop::new(NodeId::from_bytes([10; 32]), key.public(), Duration::ZERO);
        let ledger = Ledger::in_memory()?;
        let account = AccountId::from_bytes([1; 16]);
        ledger.open_account(account, AccountKind::Issuer)?;
        let folder = TempDir::new()?;
        let durable = Ledger::open(folder.path().join("ledger"))?;
        let other = AccountId::from_bytes([2; 16]);
        durable.open_account(account, AccountKind::Issuer)?;
        durable.open_account(other, AccountKind::Holder)?;
        let route: &[Hop] = &[hop];
        Ok(Self {
            packet: sphinx.build(route, &[0; 2048])?,
            batch: sphinx.build_batch(&[(route, [0; 2048].as_slice()); BATCH])?,
            sphinx,
            key,
            ledger,
            account,
            durable: (durable, other, folder),
            policy: HarvestPolicy::default(),
            state: DeviceState {
                network: Network::Ethernet,
                ..DeviceState::unknown(DeviceClass::Server, base::Instant::ZERO)
            },
        })
    }

    fn transfer(&self, n: u64, to: AccountId) -> Operation {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Operation::Transfer {
            id: TransferId::from_bytes(id),
            from: self.account,
            to,
            amount: Amount(1),
            memo: Memo::NONE,
        }
    }

    fn measure(&self, case: &str, effort: Effort) -> Result<Line, Box<dyn Error>> {
        let (runs, scale) = if effort == Effort::Smoke {
            (1, 100)
        } else {
            (7, 1)
        };
        let (n, ns) = match case {
            "noop" => timed(runs, 1_000_000 / scale, || {
                black_box(black_box(&self.sphinx).packet_bytes());
                Ok(())
            })?,
            "sphinx_process_2k" => timed(runs, 1_000 / scale, || {
                black_box(self.sphinx.process(&self.key, black_box(&self.packet))?);
                Ok(())
            })?,
            "sphinx_process_batch_256" => {
                let mut buffer = self.batch.clone();
                timed(runs, 20_u64.div_ceil(scale), || {
                    // Processed in place, so each round needs the packets anew.
                    buffer.copy_from_slice(black_box(&self.batch));
                    let results = self.sphinx.process_batch(&self.key, &mut buffer)?;
                    assert!(black_box(results).iter().all(Result::is_ok));
                    Ok(())
                })?
            }
            "ledger_transfers_1024" => {
                let (ledger, other, _) = &self.durable;
                let mut id = ledger.head()?.sequence;
                timed(runs, 20_u64.div_ceil(scale), || {
                    let batch: Vec<_> = (id..id + TRANSFERS)
                        .map(|n| self.transfer(n, *other))
                        .collect();
                    id += TRANSFERS;
                    black_box(ledger.execute(batch)?);
                    Ok(())
                })?
            }
            "ledger_balance" => timed(runs, 100_000 / scale, || {
                black_box(self.ledger.balance(black_box(self.account))?);
                Ok(())
            })?,
            "harvest_decide" => timed(runs, 20_000 / scale, || {
                black_box(fogcompute::decide(&self.policy, black_box(&self.state))?);
                Ok(())
            })?,
            "callback" => timed(runs, 20_000 / scale, || {
                let state = black_box(&self.state);
                black_box(fogcompute::decide_with_probe(
                    &self.policy,
                    state,
                    &NoBattery,
                )?);
                Ok(())
            })?,
            _ => return Err(format!("there is no case {case}").into()),
        };
        Ok(Line {
            case: case.to_owned(),
            ns,
            n,
        })
    }
}

/// The median over `runs` of the mean wall time of `n` calls; one run before them warms up.
fn timed(
    runs: usize,
    n: u64,
    mut call: impl FnMut() -> Result<(), fogcompute::Error>,
) -> Result<(u64, f64), fogcompute::Error> {
    let mut means = Vec::new();
    for run in 0..=runs {
        let start = now();
        for _ in 0..n {
            call()?;
        }
        if run > 0 {
            means.push(start.elapsed().as_secs_f64() * 1e9 / n as f64);
        }
    }
    Ok((n, median(means)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the other languages measure wall time"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(script: &str) -> Program {
        Program {
            language: "test".to_owned(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
        }
    }

    #[test]
    fn every_case_is_measured_in_rust() {
        let facade = Facade::new().unwrap();
        for case in CASES.into_iter().chain(MORE) {
            let line = facade.measure(case, Effort::Smoke).unwrap();
            assert_eq!(line.case, case);
            assert!(line.ns.is_finite() && line.n > 0);
        }
        assert!(facade.measure("other", Effort::Smoke).is_err());
    }

    #[test]
    fn lines_that_are_not_figures_are_passed_over() {
        let lines = program("echo building; echo '{\"case\": \"noop\", \"ns\": 1.5, \"n\": 9}'")
            .measure()
            .unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].case.as_str(), lines[0].n), ("noop", 9));
    }

    #[test]
    fn a_program_that_fails_or_is_missing_is_an_error() {
        assert!(program("exit 3").measure().is_err());
        let missing = Program {
            command: vec!["no-such-program".to_owned()],
            ..program("")
        };
        assert!(missing.measure().is_err());
    }

    #[test]
    fn a_language_that_leaves_a_case_out_is_an_error() {
        let facade = Facade::new().unwrap();
        let mut output = Output::new(true);
        let compared = compare("test", 1, &facade, Effort::Smoke, &mut output, || {
            Ok(vec![Line {
                case: "noop".to_owned(),
                ns: 1.0,
                n: 1,
            }])
        });
        assert!(compared.unwrap_err().to_string().contains("1 of 5"));
    }
}
