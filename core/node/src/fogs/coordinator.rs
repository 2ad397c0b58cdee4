//! A coordinator as a process, and the tokens of its owner.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, Clock as _, OsEntropy, Rng as _, SystemClock, UnixMillis};
use fogcompute_coord::routing::Strategy;
use fogcompute_coord::token::{Action, Actions, Grant, Token};
use fogcompute_coord::{Config, Placement};
use fogcompute_ledger::{Amount, PublicKey};
use serde_json::json;
use tokio::sync::mpsc;

use super::arguments::{CoordinatorArguments, IssueArguments, PlacementName, ShowArguments};
use super::files::{Data, FogFile, FogFileError, GATE, JOBS, LEDGER, TokenFile, account_of};
use super::top::role_name;
use super::{FogCommandError, print, say};
use crate::coordinate::{CoordinatorConfig, CoordinatorService, Update};
use crate::error::NodeError;
use crate::metrics::{self, Pages};
use crate::record::Recorder;
use crate::signals::{Signals, input_ended};
use crate::submit::{FogClientConfig, SubmittersConfig};

/// What an owner's account begins with if it is not said.
const ENDOWMENT: Amount = Amount::from_credits(1_000_000);

/// Most questions over HTTP that wait for the coordinator.
const PAGES_MAX: usize = 16;

/// How a coordinator runs whose data are in one folder.
#[derive(Clone, Debug)]
pub struct FogCoordinatorConfig {
    /// Where it keeps its key, its owner's key, the ledger, jobs and results. Started with the data of
    /// another it goes on where that one was.
    pub data: PathBuf,
    /// Where it accepts links of nodes and submitters; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Mix layers that a task crosses on its way, 1 to 4.
    pub layers: u8,
    /// Mean delay at each mixnode.
    pub delay_mean: Duration,
    /// How tasks come to nodes.
    pub placement: Placement,
    /// What its owner's account begins with; a million credits if it is not said. It counts at the
    /// first start, and must be the same later.
    pub endowment: Option<Amount>,
    /// Most nodes, 1 to 4,095.
    pub nodes_max: usize,
    /// Seeds what it draws by chance but for keys; the system's randomness if it is not said.
    pub seed: Option<u64>,
}

impl FogCoordinatorConfig {
    /// A coordinator for this machine, whose tasks cross one mixnode and go to the least loaded node.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: ([127, 0, 0, 1], 0).into(),
            layers: 1,
            delay_mean: Duration::from_millis(5),
            placement: Placement::Routed(Strategy::LeastLoaded),
            endowment: None,
            nodes_max: 256,
            seed: None,
        }
    }
}

/// What a token grants to its holder.
#[derive(Clone, Debug)]
pub struct TokenTerms {
    /// On whose account; the owner's if it is not said.
    pub account: Option<AccountId>,
    /// What it permits.
    pub actions: Vec<Action>,
    /// Most tasks that may be submitted with it.
    pub tasks_max: u64,
    /// Most that may be reserved for them.
    pub spend_max: Amount,
    /// How long it is good, from now on.
    pub valid_for: Duration,
}

impl Default for TokenTerms {
    /// To submit, cancel and query for 30 days on the owner's account, a million tasks and a thousand
    /// credits at most.
    fn default() -> Self {
        Self {
            account: None,
            actions: vec![Action::Submit, Action::Cancel, Action::Query],
            tasks_max: 1_000_000,
            spend_max: Amount::from_credits(1_000),
            valid_for: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

impl TokenTerms {
    /// A token by these terms, with a key of its own.
    pub(crate) fn issue(&self, fog: &FogFile, owner: &SigningKey) -> TokenFile {
        let mut secret = [0; 32];
        OsEntropy.fill_bytes(&mut secret);
        let key = SigningKey::from_bytes(&secret);
        let mut nonce = [0; 16];
        OsEntropy.fill_bytes(&mut nonce);
        let now = SystemClock::new().unix_now();
        let valid_ms = u64::try_from(self.valid_for.as_millis()).unwrap_or(u64::MAX);
        let grant = Grant {
            submitter: PublicKey::of(&key),
            account: (self.account).unwrap_or_else(|| account_of(&PublicKey::of(owner))),
            actions: Actions::of(&self.actions),
            tasks_max: self.tasks_max,
            spend_max: self.spend_max,
            not_before: now,
            expires: UnixMillis(now.0.saturating_add(valid_ms)),
            nonce,
        };
        TokenFile::new(fog, &Token::issue(grant, owner), &key)
    }
}

/// A coordinator that was started, and who owns it.
pub(crate) struct OpenCoordinator {
    pub(crate) service: CoordinatorService,
    pub(crate) file: FogFile,
    pub(crate) owner: SigningKey,
    pub(crate) account: AccountId,
}

/// Starts a coordinator and lets submitters in that hold tokens of its owner.
pub(crate) async fn open(config: FogCoordinatorConfig) -> Result<OpenCoordinator, NodeError> {
    let data = Data(&config.data);
    data.check_for_coordinator()?;
    std::fs::create_dir_all(data.0).map_err(FogFileError::file("creating", data.0))?;
    data.check_complete()?;
    let owner = data.make_owner(&mut OsEntropy)?;
    let public = PublicKey::of(&owner);
    let account = account_of(&public);
    let rules = Config {
        placement: config.placement,
        ..Config::default()
    };
    let mut service = CoordinatorService::start(CoordinatorConfig {
        listen: config.listen,
        ledger: data.file(LEDGER),
        jobs: data.file(JOBS),
        owner: account,
        endowment: data.endowment(config.endowment, ENDOWMENT)?,
        delay_mean: config.delay_mean,
        layers: config.layers.into(),
        seed: config.seed.unwrap_or_else(|| OsEntropy.next_u64()),
        nodes_max: config.nodes_max,
        rules,
    })
    .await?;
    service.open_to_submitters(SubmittersConfig {
        issuers: [public].into(),
        gate: data.file(GATE),
    })?;
    let file = FogFile {
        coordinator: service.descriptor().node,
        address: service.descriptor().address,
    };
    file.write(&data.file("fog.toml"))?;
    Ok(OpenCoordinator {
        service,
        file,
        owner,
        account,
    })
}

/// Runs a coordinator until it is asked to stop.
pub(super) async fn run(arguments: &CoordinatorArguments) -> Result<(), FogCommandError> {
    let mut signals = Signals::listen()?;
    let input_ended = input_ended();
    tokio::pin!(input_ended);
    let config = FogCoordinatorConfig {
        listen: arguments.listen,
        layers: arguments.layers,
        delay_mean: Duration::from_millis(arguments.delay_ms.into()),
        placement: match arguments.placement {
            PlacementName::Optimised => Placement::Optimised,
            PlacementName::Routed(strategy) => Placement::Routed(strategy),
        },
        endowment: arguments.endowment,
        nodes_max: arguments.nodes_max.into(),
        seed: arguments.seed,
        ..FogCoordinatorConfig::new(&arguments.data)
    };
    let metrics = match arguments.metrics {
        Some(address) => Some(metrics::listen(address).await?),
        None => None,
    };
    let open = open(config).await?;
    let (mut fog, file, account) = (open.service, open.file, open.account);
    let mut record = match &arguments.record {
        Some(path) => Some(Recorder::open(path).map_err(FogCommandError::file("opening", path))?),
        None => None,
    };
    if let Some(record) = &mut record {
        record.started(&fog);
    }
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

/// Issues a token into a file.
pub(super) fn issue(arguments: &IssueArguments) -> Result<(), FogCommandError> {
    let data = Data(&arguments.data);
    let owner = data.owner()?;
    let fog = data.fog()?;
    let terms = TokenTerms {
        account: arguments.account,
        actions: arguments.actions.clone(),
        tasks_max: arguments.tasks,
        spend_max: arguments.spend,
        valid_for: Duration::from_secs(u64::from(arguments.days) * 24 * 3_600),
    };
    terms.issue(&fog, &owner).write_new(&arguments.out)?;
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
