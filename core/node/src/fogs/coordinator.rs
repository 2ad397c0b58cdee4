//! A coordinator as a process, and the tokens of its owner.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, Clock as _, OsEntropy, Rng as _, SystemClock, UnixMillis};
use fogcompute_coord::token::{Action, Actions, Grant, Token};
use fogcompute_coord::{Config, Placement};
use fogcompute_ledger::{Amount, PublicKey};
use serde_json::json;
use tokio::sync::mpsc;

use super::arguments::{CoordinatorArguments, IssueArguments, PlacementName, ShowArguments};
use super::files::{Data, FogFile, TokenFile, account_of};
use super::top::role_name;
use super::{FogCommandError, print, say};
use crate::coordinate::{CoordinatorConfig, CoordinatorService, Update};
use crate::metrics::{self, Pages};
use crate::record::Recorder;
use crate::signals::{Signals, input_ended};
use crate::submit::{FogClientConfig, SubmittersConfig};

/// What an owner's account begins with if it is not said.
const ENDOWMENT: Amount = Amount::from_credits(1_000_000);

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600_000;

/// Most questions over HTTP that wait for the coordinator.
const PAGES_MAX: usize = 16;

/// Runs a coordinator until it is asked to stop.
pub(super) async fn run(arguments: &CoordinatorArguments) -> Result<(), FogCommandError> {
    let mut signals = Signals::listen()?;
    let input_ended = input_ended();
    tokio::pin!(input_ended);
    let data = Data(&arguments.data);
    std::fs::create_dir_all(data.0).map_err(FogCommandError::file("creating", data.0))?;
    let owner = PublicKey::of(&data.make_owner(&mut OsEntropy)?);
    let account = account_of(&owner);
    let config = CoordinatorConfig {
        listen: arguments.listen,
        ledger: data.file("ledger.sqlite"),
        jobs: data.file("jobs.sqlite"),
        owner: account,
        endowment: data.endowment(arguments.endowment, ENDOWMENT)?,
        delay_mean: Duration::from_millis(arguments.delay_ms.into()),
        layers: arguments.layers.into(),
        seed: arguments.seed.unwrap_or_else(|| OsEntropy.next_u64()),
        nodes_max: arguments.nodes_max.into(),
        rules: Config {
            placement: match arguments.placement {
                PlacementName::Optimised => Placement::Optimised,
                PlacementName::Routed(strategy) => Placement::Routed(strategy),
            },
            ..Config::default()
        },
    };
    let metrics = match arguments.metrics {
        Some(address) => Some(metrics::listen(address).await?),
        None => None,
    };
    let mut fog = CoordinatorService::start(config).await?;
    fog.open_to_submitters(SubmittersConfig {
        issuers: [owner].into(),
        gate: data.file("gate.sqlite"),
    })?;
    let file = FogFile {
        coordinator: fog.descriptor().node,
        address: fog.descriptor().address,
    };
    let mut record = match &arguments.record {
        Some(path) => Some(Recorder::open(path).map_err(FogCommandError::file("opening", path))?),
        None => None,
    };
    if let Some(record) = &mut record {
        record.started(&fog);
    }
    file.write(&data.file("fog.toml"))?;
    let mut said = format!(
        "coordinator {}\nlistening on {}\nowner's account {account}",
        file.coordinator, file.address
    );
    let (pages, mut asked) = mpsc::channel(PAGES_MAX);
    let _serving = match metrics {
        Some((listener, address)) => {
            said.push_str(&format!("\nmetrics on http://{address}/metrics"));
            Some(metrics::serve_pages(listener, pages))
        }
        None => None,
    };
    print(&said)?;
    loop {
        tokio::select! {
            biased;
            () = signals.asked() => break,
            () = &mut input_ended, if arguments.end_with_input => break,
            Some(reply) = asked.recv() => {
                let health = fog.health();
                let _ = reply.send(Pages {
                    metrics: fog.metrics_text(),
                    health: health.map(|()| "ok".to_owned()).map_err(|it| it.to_string()),
                });
            }
            update = fog.next() => {
                let update = update?;
                if let Some(record) = &mut record {
                    record.note(&fog, &update);
                }
                tell(&update)?;
            }
        }
    }
    if let Some(record) = record {
        record.close(&mut fog).await;
    }
    Ok(())
}

/// Says what its operator wants to know.
fn tell(update: &Update) -> Result<(), FogCommandError> {
    match update {
        Update::Joined { node, role } => print(&format!("joined {node}, {}", role_name(*role))),
        Update::Refused { node, reason } => print(&format!("refused {node}: {reason}")),
        Update::Stalled { error } => print(&format!("stalled: {error}")),
        Update::Resumed => print("resumed"),
        Update::Heard { .. } | Update::Unsent { .. } | Update::Decided { .. } => Ok(()),
    }
}

/// A new token of an owner, with the key that it names. On the owner's account if it is not said;
/// what it grants is up to the caller, for it begins with nothing, until a day from now.
pub(crate) fn issue_token(
    owner: &SigningKey,
    account: Option<AccountId>,
    granted: impl FnOnce(Grant) -> Grant,
) -> (Token, SigningKey) {
    let mut secret = [0; 32];
    OsEntropy.fill_bytes(&mut secret);
    let key = SigningKey::from_bytes(&secret);
    let mut nonce = [0; 16];
    OsEntropy.fill_bytes(&mut nonce);
    let now = SystemClock::new().unix_now();
    let grant = granted(Grant {
        submitter: PublicKey::of(&key),
        account: account.unwrap_or_else(|| account_of(&PublicKey::of(owner))),
        actions: Actions::of(&[]),
        tasks_max: 0,
        spend_max: Amount::ZERO,
        not_before: now,
        expires: UnixMillis(now.0 + DAY_MS),
        nonce,
    });
    (Token::issue(grant, owner), key)
}

/// Issues a token into a file.
pub(super) fn issue(arguments: &IssueArguments) -> Result<(), FogCommandError> {
    let data = Data(&arguments.data);
    let owner = data.owner()?;
    let fog = data.fog()?;
    let (token, key) = issue_token(&owner, arguments.account, |grant| Grant {
        actions: Actions::of(&arguments.actions),
        tasks_max: arguments.tasks,
        spend_max: arguments.spend,
        expires: UnixMillis(grant.not_before.0 + u64::from(arguments.days) * DAY_MS),
        ..grant
    });
    TokenFile::new(&fog, &token, &key).write_new(&arguments.out)?;
    describe(&TokenFile::read(&arguments.out)?, arguments.json)
}

/// Shows what a token grants.
pub(super) fn show(arguments: &ShowArguments) -> Result<(), FogCommandError> {
    describe(&TokenFile::read(&arguments.file)?, arguments.json)
}

fn describe(file: &FogClientConfig, json: bool) -> Result<(), FogCommandError> {
    let (token, grant) = (&file.token, &file.token.grant);
    let actions: Vec<_> = Action::ALL
        .into_iter()
        .filter(|action| grant.actions.contain(*action))
        .map(Action::name)
        .collect();
    let signed = token.is_signed();
    let value = json!({
        "coordinator": file.coordinator,
        "address": file.address,
        "issuer": token.issuer,
        "account": grant.account,
        "actions": actions,
        "tasks_max": grant.tasks_max,
        "spend_max": grant.spend_max.to_string(),
        "not_before": grant.not_before.to_string(),
        "expires": grant.expires.to_string(),
        "signed": signed,
    });
    let text = format!(
        "coordinator {}\naddress {}\naccount {}\nmay {}\ntasks at most {}\ncredits at most {}\n\
         from {}\nuntil {}{}",
        file.coordinator,
        file.address,
        grant.account,
        actions.join(", "),
        grant.tasks_max,
        grant.spend_max.to_credits_string(),
        grant.not_before,
        grant.expires,
        if signed {
            ""
        } else {
            "\nits signature is forged"
        },
    );
    say(json, &value, &text)
}
