use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fogcompute_base::{
    AccountId, Clock as _, JobId, NodeId, OsEntropy, Priority, SystemClock, TaskId, UnixMillis,
};
use fogcompute_coord::token::{Action, Actions, Call, Grant, Token};
use fogcompute_coord::{Config, PrivacyLevel, TaskOrder};
use fogcompute_exec::{Limits, TaskSpec, TaskState};
use fogcompute_ledger::{Amount, PublicKey};
use fogcompute_mix::Descriptor;
use fogcompute_net::{Identity, Link, LinkError, Purpose};
use fogcompute_store::JobChange;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::link::LINKS_MAX;
use super::protocol::{Answer, Part, REQUEST_BYTES_MAX, Request, request_frames};
use super::*;
use crate::coordinate::{CoordinatorConfig, CoordinatorService, Update};
use crate::health::Unwell;

const OWNER: AccountId = AccountId::from_bytes([9; 16]);

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The owner's key issues, Ana's asks.
const ISSUER: u8 = 1;
const ANA: u8 = 2;
const STRANGER: u8 = 3;

fn config(folder: &Path, listen: SocketAddr) -> CoordinatorConfig {
    CoordinatorConfig {
        listen,
        ledger: folder.join("ledger.sqlite"),
        jobs: folder.join("jobs.sqlite"),
        owner: OWNER,
        endowment: Amount::from_credits(1000),
        delay_mean: Duration::from_millis(1),
        layers: 1,
        seed: 1,
        nodes_max: 4,
        rules: Config::default(),
    }
}

async fn start(folder: &Path) -> CoordinatorService {
    start_at(folder, ([127, 0, 0, 1], 0).into()).await
}

async fn start_at(folder: &Path, listen: SocketAddr) -> CoordinatorService {
    let mut service = CoordinatorService::start(config(folder, listen))
        .await
        .unwrap();
    let submitters = SubmittersConfig {
        issuers: [PublicKey::of(&key(ISSUER))].into(),
        gate: folder.join("gate.sqlite"),
    };
    service.open_to_submitters(submitters).unwrap();
    service
}

async fn started() -> (CoordinatorService, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (start(folder.path()).await, folder)
}

/// Drives the coordinator until `done` is.
async fn drive<T>(service: &mut CoordinatorService, done: impl Future<Output = T>) -> T {
    tokio::pin!(done);
    loop {
        tokio::select! {
            biased;
            done = &mut done => return done,
            update = service.next() => drop(update.unwrap()),
        }
    }
}

fn grant() -> Grant {
    Grant {
        submitter: PublicKey::of(&key(ANA)),
        account: OWNER,
        actions: Actions::of(&Action::ALL),
        tasks_max: 10,
        spend_max: Amount::from_credits(20),
        not_before: UnixMillis(0),
        expires: UnixMillis(u64::MAX),
        nonce: [0; 16],
    }
}

fn client_with(service: &CoordinatorService, token: Token, number: u8) -> FogClient {
    FogClient::new(FogClientConfig {
        address: service.descriptor().address,
        coordinator: service.descriptor().node,
        token,
        key: key(number),
        patience: Duration::from_secs(60),
    })
}

fn client(service: &CoordinatorService) -> FogClient {
    client_with(service, Token::issue(grant(), &key(ISSUER)), ANA)
}

/// So many bytes that begin as a module does.
fn module(more: usize) -> Vec<u8> {
    [&b"\0asm\x01\0\0\0"[..], &vec![7; more]].concat()
}

fn order(job: u8, tasks: u8) -> JobOrder {
    let task = |index| TaskOrder {
        id: TaskId::from_bytes([job, index, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        spec: TaskSpec::new(module(0), vec![index], Limits::default()).unwrap(),
        fuel_estimate: 1_000,
        price_max: Amount::from_credits(1),
    };
    JobOrder {
        id: JobId::from_bytes([job; 16]),
        priority: Priority::default(),
        privacy: PrivacyLevel::default(),
        tasks: (0..tasks).map(task).collect(),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, FogClientError>) -> Reason {
    let error = result.unwrap_err();
    error.reason().unwrap_or_else(|| panic!("{error}"))
}

#[tokio::test]
async fn a_job_is_submitted_once_however_often_it_is() {
    let (mut service, _folder) = started().await;
    let ana = client(&service);
    drive(&mut service, async {
        let job = ana.submit(order(1, 3)).await.unwrap();
        assert_eq!((job.owner, job.summary.open), (OWNER, 3));
        assert_eq!(ana.submit(order(1, 3)).await.unwrap(), job);
        // Both at once, too.
        let both = tokio::join!(ana.submit(order(2, 2)), ana.submit(order(2, 2)));
        assert_eq!(both.0.unwrap(), both.1.unwrap());
        // Neither took anything of the token a second time: 5 of 10 tasks are used.
        ana.submit(order(3, 5)).await.unwrap();
        assert_eq!(
            refused(ana.submit(order(4, 1)).await),
            Reason::TasksExceeded
        );
        // Another job of that id is another job.
        assert_eq!(refused(ana.submit(order(1, 2)).await), Reason::JobTaken);
        let tasks = ana.tasks(job.id).await.unwrap();
        let ids: Vec<_> = order(1, 3).tasks.iter().map(|task| task.id).collect();
        assert_eq!(tasks.iter().map(|task| task.id).collect::<Vec<_>>(), ids);
        assert_eq!(ana.task(ids[1]).await.unwrap(), tasks[1]);
        assert_eq!(refused(ana.result(ids[1]).await), Reason::NotEnded);
        assert_eq!(refused(ana.log(ids[1]).await), Reason::NotEnded);
        assert_eq!(ana.jobs(2).await.unwrap().len(), 2);
        assert_eq!(ana.jobs(u16::MAX).await.unwrap().len(), 3);
    })
    .await;
}

/// No command said why a job waits.
#[tokio::test]
async fn a_job_that_waits_says_what_for() {
    let (mut service, _folder) = started().await;
    let ana = client(&service);
    drive(&mut service, async {
        ana.submit(order(1, 3)).await.unwrap();
        let job = JobId::from_bytes([1; 16]);
        let waiting = ana.waiting(job).await.unwrap();
        let first = order(1, 1).tasks[0].id;
        let node = WaitingTasks {
            task: first,
            tasks: 3,
            waiting_for: WaitingFor::Node,
            before: 0,
            said: "no compute node is there".to_owned(),
        };
        assert_eq!(waiting, [node]);
        ana.cancel(job).await.unwrap();
        assert_eq!(ana.waiting(job).await.unwrap(), []);
        // What was cancelled is told from what was given up.
        let summary = ana.job(job).await.unwrap().summary;
        assert_eq!((summary.cancelled, summary.lost), (3, 0));
        let unknown = ana.waiting(JobId::from_bytes([2; 16])).await;
        assert_eq!(refused(unknown), Reason::UnknownJob);
    })
    .await;
}

/// What is no module was admitted, and failed at a node.
#[tokio::test]
async fn what_is_no_module_is_refused_before_it_is_sent_and_by_the_coordinator_too() {
    let (mut service, _folder) = started().await;
    let ana = client(&service);
    let mut job = order(1, 2);
    let text = TaskSpec::new(&b"(module)"[..], [], Limits::default()).unwrap();
    job.tasks[1].spec = text;
    let unsent = ana.submit(job.clone()).await;
    assert!(
        matches!(unsent, Err(FogClientError::NoModule { task, .. }) if task == job.tasks[1].id),
        "{unsent:?}"
    );
    drive(&mut service, async {
        let answer = ana.ask(&Request::Submit(job)).await;
        assert_eq!(refused(answer), Reason::NoModule);
        assert_eq!(ana.jobs(1).await.unwrap(), []);
        // It took nothing of the token: that is good for ten tasks.
        ana.submit(order(2, 10)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_came_to_nothing_takes_nothing_of_the_token() {
    let (mut service, _folder) = started().await;
    let rich = Grant {
        spend_max: Amount::MAX,
        ..grant()
    };
    let ana = client_with(&service, Token::issue(rich, &key(ISSUER)), ANA);
    drive(&mut service, async {
        let mut dear = order(1, 10);
        dear.tasks[9].price_max = Amount::from_credits(2_000);
        assert_eq!(refused(ana.submit(dear).await), Reason::Funds);
        assert_eq!(refused(ana.submit(order(1, 0)).await), Reason::NoTasks);
        let mut twice = order(1, 2);
        twice.tasks[1] = twice.tasks[0].clone();
        assert_eq!(refused(ana.submit(twice).await), Reason::TaskTaken);
        ana.submit(order(1, 10)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_account_neither_sees_nor_ends_the_jobs_of_others() {
    let (mut service, _folder) = started().await;
    let ana = client(&service);
    let other = Grant {
        submitter: PublicKey::of(&key(STRANGER)),
        account: AccountId::from_bytes([8; 16]),
        ..grant()
    };
    let ben = client_with(&service, Token::issue(other, &key(ISSUER)), STRANGER);
    drive(&mut service, async {
        let job = ana.submit(order(1, 1)).await.unwrap().id;
        let task = order(1, 1).tasks[0].id;
        assert_eq!(refused(ben.job(job).await), Reason::UnknownJob);
        assert_eq!(refused(ben.tasks(job).await), Reason::UnknownJob);
        assert_eq!(refused(ben.cancel(job).await), Reason::UnknownJob);
        assert_eq!(refused(ben.task(task).await), Reason::UnknownTask);
        assert_eq!(refused(ben.result(task).await), Reason::UnknownTask);
        assert_eq!(refused(ben.log(task).await), Reason::UnknownTask);
        assert_eq!(refused(ben.cancel_task(task).await), Reason::UnknownTask);
        assert_eq!(refused(ben.submit(order(1, 1)).await), Reason::JobTaken);
        // It has no funds either.
        assert_eq!(refused(ben.submit(order(2, 1)).await), Reason::Funds);
        assert_eq!(ben.jobs(10).await.unwrap(), []);
        let none = JobId::from_bytes([77; 16]);
        assert_eq!(refused(ana.job(none).await), Reason::UnknownJob);
        assert_eq!(
            refused(ana.drain(NodeId::from_bytes([1; 32])).await),
            Reason::UnknownNode
        );
    })
    .await;
}

#[tokio::test]
async fn every_token_that_is_not_good_is_told_why() {
    let (mut service, _folder) = started().await;
    let now = SystemClock::new().unix_now();
    let issued = |grant| Token::issue(grant, &key(ISSUER));
    let mut forged = issued(grant());
    forged.grant.tasks_max += 1;
    let cases = [
        (
            Token::issue(grant(), &key(STRANGER)),
            ANA,
            Reason::UnknownIssuer,
        ),
        (forged, ANA, Reason::ForgedToken),
        (issued(grant()), STRANGER, Reason::ForgedCall),
        (
            issued(Grant {
                expires: UnixMillis(now.0 - 1),
                ..grant()
            }),
            ANA,
            Reason::Expired,
        ),
        (
            issued(Grant {
                not_before: UnixMillis(now.0 + 1_000_000),
                ..grant()
            }),
            ANA,
            Reason::NotYetValid,
        ),
        (
            issued(Grant {
                actions: Actions::of(&[Action::Query]),
                ..grant()
            }),
            ANA,
            Reason::NotPermitted,
        ),
        (
            issued(Grant {
                spend_max: Amount(1),
                ..grant()
            }),
            ANA,
            Reason::SpendExceeded,
        ),
    ];
    for (token, number, reason) in cases {
        let client = client_with(&service, token, number);
        let told = drive(&mut service, client.submit(order(1, 1))).await;
        assert_eq!(refused(told), reason);
    }
    assert_eq!(service.calls_refused(), 7);
    // A coordinator that lets nobody in says so.
    let folder = tempfile::tempdir().unwrap();
    let closed = config(folder.path(), ([127, 0, 0, 1], 0).into());
    let mut closed = CoordinatorService::start(closed).await.unwrap();
    let ana = client(&closed);
    let told = drive(&mut closed, ana.nodes()).await;
    assert_eq!(refused(told), Reason::Closed);
}

#[tokio::test]
async fn links_beyond_the_limit_are_closed_and_counted_and_the_others_go_on() {
    let (mut service, _folder) = started().await;
    let (to, ana) = (*service.descriptor(), client(&service));
    drive(&mut service, ana.nodes()).await.unwrap();
    drive(&mut service, async {
        // With Ana's there are as many as there may be.
        let mut held = Vec::new();
        while held.len() < LINKS_MAX - 1 {
            held.push(Raw::dial(to).await);
        }
        for _ in 0..2 {
            let mut further = Raw::dial(to).await;
            assert!(further.link.receive().await.is_err());
        }
        ana.nodes().await.unwrap();
    })
    .await;
    let metrics = service.metrics_text();
    assert!(
        metrics.contains("fogcompute_coord_links_refused_total 2"),
        "{metrics}"
    );
}

/// A link that the test speaks on itself.
struct Raw {
    link: Link,
    coordinator: NodeId,
}

impl Raw {
    async fn dial(to: Descriptor) -> Self {
        let stream = TcpStream::connect(to.address).await.unwrap();
        let identity = Identity::random(&mut OsEntropy);
        let link = Link::dial(stream, &identity, to.node, Purpose::Submit);
        Self {
            link: link.await.unwrap(),
            coordinator: to.node,
        }
    }

    fn call(&self, request: &Request, nonce: u8, at: UnixMillis) -> Call {
        let token = Token::issue(grant(), &key(ISSUER));
        let (action, body) = (request.action(), request.encode());
        Call::sign(
            token,
            self.coordinator,
            action,
            &body,
            [nonce; 16],
            at,
            &key(ANA),
        )
    }

    async fn ask(&mut self, call: &Call, body: &[u8]) -> Result<Answer, LinkError> {
        for frame in request_frames(1, call, body) {
            self.link.send(&frame).await?;
        }
        let frame = self.link.receive().await?;
        let Ok(Part::Answer { first, bytes, .. }) = Part::of_answer(&frame) else {
            panic!("{frame:?}");
        };
        assert_eq!(first.len(), bytes);
        Ok(Answer::decode(first).unwrap())
    }

    async fn reason(&mut self, call: &Call, body: &[u8]) -> Reason {
        match self.ask(call, body).await.unwrap() {
            Answer::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }
}

async fn dialled(service: &mut CoordinatorService) -> Raw {
    let to = *service.descriptor();
    drive(service, Raw::dial(to)).await
}

#[tokio::test]
async fn a_call_that_was_made_before_is_refused_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = start(folder.path()).await;
    let now = SystemClock::new().unix_now();
    let mut raw = dialled(&mut service).await;
    let request = Request::Jobs { count_max: 3 };
    let body = request.encode();
    let call = raw.call(&request, 1, now);
    let first = drive(&mut service, raw.ask(&call, &body)).await.unwrap();
    assert_eq!(first, Answer::Jobs(Vec::new()));
    let again = drive(&mut service, raw.reason(&call, &body)).await;
    assert_eq!(again, Reason::Replayed);
    let submit = Request::Submit(order(1, 10));
    let submitting = raw.call(&submit, 2, now);
    let taken = drive(&mut service, raw.ask(&submitting, &submit.encode())).await;
    assert!(matches!(taken, Ok(Answer::Job(_))));
    drop((service, raw));

    let mut service = start(folder.path()).await;
    let mut raw = dialled(&mut service).await;
    for (call, body) in [(&call, body), (&submitting, submit.encode())] {
        let again = drive(&mut service, raw.reason(call, &body)).await;
        assert_eq!(again, Reason::Replayed);
    }
    // What was used of the token is used; the job is there, and is the same job.
    let ana = client(&service);
    drive(&mut service, async {
        assert_eq!(
            refused(ana.submit(order(2, 1)).await),
            Reason::TasksExceeded
        );
        assert_eq!(ana.submit(order(1, 10)).await.unwrap().summary.open, 10);
    })
    .await;
    // Signed too long ago, for another coordinator, or for something else than it asks.
    let old = raw.call(&request, 3, UnixMillis(now.0 - 1_000_000));
    let body = request.encode();
    assert_eq!(
        drive(&mut service, raw.reason(&old, &body)).await,
        Reason::Stale
    );
    let here = std::mem::replace(&mut raw.coordinator, NodeId::from_bytes([1; 32]));
    let elsewhere = raw.call(&request, 4, now);
    assert_eq!(
        drive(&mut service, raw.reason(&elsewhere, &body)).await,
        Reason::Elsewhere
    );
    raw.coordinator = here;
    let other = raw.call(&Request::CancelJob(JobId::from_bytes([1; 16])), 5, now);
    assert_eq!(
        drive(&mut service, raw.reason(&other, &body)).await,
        Reason::Protocol
    );
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_named_and_harms_nobody() {
    let (mut service, _folder) = started().await;
    let now = SystemClock::new().unix_now();
    let mut raw = dialled(&mut service).await;
    let submit = Request::Submit(order(1, 1));
    let body = submit.encode();
    for (nonce, at) in [(1, now.0 - 3_600_000), (2, now.0 + 3_600_000)] {
        let call = raw.call(&submit, nonce, UnixMillis(at));
        let reason = drive(&mut service, raw.reason(&call, &body)).await;
        assert_eq!(reason, Reason::Stale);
    }
    assert_eq!(service.calls_refused(), 2);
    // The same call, signed with the right time, is the first of its number.
    let call = raw.call(&submit, 1, now);
    let taken = drive(&mut service, raw.ask(&call, &body)).await;
    assert!(matches!(taken, Ok(Answer::Job(_))), "{taken:?}");
}

#[tokio::test]
async fn who_speaks_nonsense_is_cut_off_and_nobody_else() {
    let (mut service, _folder) = started().await;
    let ana = client(&service);
    let mut raw = dialled(&mut service).await;
    let now = SystemClock::new().unix_now();
    // A body that is no request, under a good call.
    let request = Request::Nodes;
    let call = raw.call(&request, 1, now);
    let told = drive(&mut service, raw.reason(&call, b"nonsense")).await;
    assert_eq!(told, Reason::Protocol);
    for frame in [
        vec![],
        vec![0],
        vec![2, 1],
        vec![1; 100],
        vec![0; 2 * super::protocol::FRAME_BYTES],
    ] {
        let mut raw = dialled(&mut service).await;
        let ended = async {
            raw.link.send(&frame).await.unwrap();
            raw.link.receive().await
        };
        assert!(drive(&mut service, ended).await.is_err());
    }
    let nodes = drive(&mut service, ana.nodes()).await;
    assert_eq!(nodes.unwrap(), []);
}

#[tokio::test]
async fn a_stranger_makes_nobody_keep_more_than_a_frame() {
    let (mut service, _folder) = started().await;
    let token = Token::issue(grant(), &key(STRANGER));
    let stranger = client_with(&service, token, ANA);
    let mut long = order(1, 1);
    long.tasks[0].spec = TaskSpec::new(module(900_000), [], Limits::default()).unwrap();
    let told = drive(&mut service, stranger.submit(long.clone())).await;
    assert_eq!(refused(told), Reason::UnknownIssuer);
    // It was not even looked at.
    assert_eq!(service.calls_refused(), 0);
    let ana = client(&service);
    let taken = drive(&mut service, ana.submit(long)).await;
    assert_eq!(taken.unwrap().summary.open, 1);
    // More than anybody may send is refused before it is sent.
    let mut longer = order(2, 70);
    for (index, task) in (0_u8..).zip(&mut longer.tasks) {
        task.spec =
            TaskSpec::new(module(index.into()), vec![0; 1 << 20], Limits::default()).unwrap();
    }
    let told = drive(&mut service, ana.submit(longer)).await;
    assert!(matches!(
        told,
        Err(FogClientError::TooLong {
            limit: REQUEST_BYTES_MAX,
            ..
        })
    ));
}

#[tokio::test]
async fn a_watcher_misses_nothing_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = start(folder.path()).await;
    let ana = client(&service);
    let mut watch = ana.watch(0);
    let job = order(1, 2);
    let next = async |service: &mut CoordinatorService, watch: &mut Watch| match drive(
        service,
        watch.next(),
    )
    .await
    .unwrap()
    {
        Watched::Event(event) => event,
        Watched::Lagged { missed } => panic!("{missed} missed"),
    };
    drive(&mut service, ana.submit(job.clone())).await.unwrap();
    let admitted = next(&mut service, &mut watch).await;
    assert_eq!((admitted.number, admitted.job), (1, job.id));
    assert_eq!(admitted.change, JobChange::Admitted { tasks: 2 });
    // It waits, and hears of it when it happens.
    let task = job.tasks[0].id;
    let cancelled = drive(&mut service, async {
        let (event, ended) = tokio::join!(watch.next(), ana.cancel_task(task));
        assert!(ended.unwrap());
        event.unwrap()
    })
    .await;
    let Watched::Event(cancelled) = cancelled else {
        panic!("{cancelled:?}");
    };
    let ended = JobChange::Ended {
        task,
        state: TaskState::Cancelled,
        paid: Amount::ZERO,
    };
    assert_eq!((cancelled.number, cancelled.change), (2, ended));
    let last = watch.last();
    drop((service, watch, ana));

    let mut service = start(folder.path()).await;
    let ana = client(&service);
    drive(&mut service, async {
        assert_eq!(ana.cancel(job.id).await.unwrap(), 1);
        assert_eq!(ana.cancel(job.id).await.unwrap(), 0);
        assert_eq!(refused(ana.result(task).await), Reason::NoResult);
    })
    .await;
    let mut watch = ana.watch(last);
    let event = next(&mut service, &mut watch).await;
    assert_eq!((event.number, watch.last()), (3, 3));
    let event = next(&mut service, &mut watch).await;
    assert_eq!((event.number, event.change), (4, JobChange::JobEnded));
    // A number that this coordinator never gave is said to be one.
    let mut lost = ana.watch(1_000);
    let told = drive(&mut service, lost.next()).await.unwrap();
    assert_eq!((told, lost.last()), (Watched::Lagged { missed: 0 }, 4));
    let new = drive(&mut service, ana.watch_new()).await.unwrap();
    assert_eq!(new.last(), 4);
}

#[tokio::test]
async fn a_coordinator_that_cannot_write_takes_nothing_and_says_so_until_it_can() {
    let (mut service, folder) = started().await;
    let ana = client(&service);
    let (jobs, away) = (
        folder.path().join("jobs.sqlite"),
        folder.path().join("away"),
    );
    drive(&mut service, ana.nodes()).await.unwrap();
    // A file that is gone is one that cannot be written.
    std::fs::rename(&jobs, &away).unwrap();
    let first = ana.submit(order(1, 1));
    tokio::pin!(first);
    loop {
        tokio::select! {
            biased;
            told = &mut first => panic!("{told:?}"),
            update = service.next() => if let Update::Stalled { .. } = update.unwrap() {
                break;
            },
        }
    }
    assert!(matches!(service.health(), Err(Unwell::Stalled { .. })));
    let second = drive(&mut service, ana.submit(order(2, 1))).await;
    assert_eq!(refused(second), Reason::Stalled);
    std::fs::rename(&away, &jobs).unwrap();
    let told = drive(&mut service, first).await.unwrap();
    assert_eq!((told.id, told.summary.open), (order(1, 1).id, 1));
    assert!(matches!(service.health(), Err(Unwell::NoRoute(_))));
    drive(&mut service, ana.submit(order(2, 1))).await.unwrap();
    // Calls that cannot be remembered are not carried out.
    let gate = folder.path().join("gate.sqlite");
    std::fs::rename(&gate, &away).unwrap();
    let third = drive(&mut service, ana.submit(order(3, 8))).await;
    assert_eq!(refused(third), Reason::Stalled);
    std::fs::rename(&away, &gate).unwrap();
    // It took nothing of the token either: 8 of 10 tasks are left.
    let third = drive(&mut service, ana.submit(order(3, 8))).await;
    assert_eq!(third.unwrap().summary.open, 8);
}

#[tokio::test]
async fn many_who_come_at_once_are_all_answered() {
    let (mut service, _folder) = started().await;
    let many = Grant {
        tasks_max: 1_000,
        spend_max: Amount::MAX,
        ..grant()
    };
    let token = Token::issue(many, &key(ISSUER));
    let clients: Vec<_> = (0..20).map(|_| client_with(&service, token, ANA)).collect();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..200 {
        let client = clients[usize::from(number) % clients.len()].clone();
        asking.spawn(async move { client.submit(order(number, 2)).await });
    }
    let told = drive(&mut service, asking.join_all()).await;
    assert_eq!(told.len(), 200);
    for told in told {
        assert_eq!(told.unwrap().summary.open, 2);
    }
    assert_eq!(service.jobs().jobs(1_000).unwrap().len(), 200);
}

#[tokio::test]
async fn a_client_says_who_is_not_there_and_goes_on_when_somebody_is() {
    let (mut service, folder) = started().await;
    let address = service.descriptor().address;
    let patient = |coordinator, patience| FogClientConfig {
        address,
        coordinator,
        token: Token::issue(grant(), &key(ISSUER)),
        key: key(ANA),
        patience,
    };
    let coordinator = service.descriptor().node;
    let other = NodeId::from_bytes([5; 32]);
    let lost = FogClient::new(patient(other, Duration::from_secs(60)));
    let told = drive(&mut service, lost.nodes()).await;
    assert!(matches!(
        told,
        Err(FogClientError::Unreachable {
            source: LinkError::WrongPeer { expected, .. },
            ..
        }) if expected == other
    ));
    let ana = FogClient::new(patient(coordinator, Duration::from_secs(60)));
    drive(&mut service, ana.nodes()).await.unwrap();
    drop(service);
    let hasty = FogClient::new(patient(coordinator, Duration::from_millis(100)));
    let told = hasty.nodes().await.unwrap_err();
    assert!(
        matches!(told, FogClientError::Unreachable { .. }),
        "{told:?}"
    );
    assert!(told.to_string().contains(&address.to_string()));
    // The coordinator comes back where it was while somebody asks.
    let asking = ana.submit(order(1, 1));
    tokio::pin!(asking);
    tokio::select! {
        biased;
        told = &mut asking => panic!("{told:?}"),
        () = tokio::task::yield_now() => {}
    }
    let mut service = start_at(folder.path(), address).await;
    assert_eq!(drive(&mut service, asking).await.unwrap().summary.open, 1);
}
