use super::*;
use fogcompute_base::{JobId, Priority};
use fogcompute_coord::TaskOrder;
use fogcompute_coord::routing::{Obstacle, Strategy};
use fogcompute_exec::{Limits, TaskOutput, Usage};
use fogcompute_mix::PublicKey;
use fogcompute_net::Purpose;
use tempfile::TempDir;
use tokio::net::TcpStream;

const OWNER: AccountId = AccountId::from_bytes([9; 16]);

/// A coordinator of one layer, and where its ledger is.
async fn start(nodes_max: usize) -> (CoordinatorService, TempDir) {
    start_with(Config::default(), nodes_max).await
}

async fn start_routed(strategy: Strategy) -> (CoordinatorService, TempDir) {
    let rules = Config {
        placement: Placement::Routed(strategy),
        ..Config::default()
    };
    start_with(rules, 8).await
}

async fn start_with(rules: Config, nodes_max: usize) -> (CoordinatorService, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = CoordinatorConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ledger: folder.path().join("ledger.sqlite"),
        jobs: folder.path().join("jobs.sqlite"),
        owner: OWNER,
        endowment: Amount::from_credits(1000),
        delay_mean: Duration::from_millis(1),
        layers: 1,
        seed: 1,
        nodes_max,
        rules,
    };
    let service = CoordinatorService::start(config).await.unwrap();
    (service, folder)
}

/// A node that the test plays itself.
struct Played {
    identity: Identity,
    descriptor: Descriptor,
    link: Link,
}

const LENDING: Lending = Lending {
    // Room for every task of a test: where the optimiser puts them does not matter.
    cpu_millis: 8000,
    memory_bytes: 1 << 30,
    fuel_per_second: 1_000_000,
    price_per_gigafuel: Amount(1),
    status: String::new(),
};

impl Played {
    async fn dial(to: &Descriptor) -> Self {
        Self::dial_as(Identity::random(&mut OsEntropy), to).await
    }

    async fn dial_as(identity: Identity, to: &Descriptor) -> Self {
        let stream = TcpStream::connect(to.address).await.unwrap();
        let link = Link::dial(stream, &identity, to.node, Purpose::Control);
        Self {
            link: link.await.unwrap(),
            descriptor: Descriptor {
                node: identity.node(),
                key: PrivateKey::random(&mut OsEntropy).public(),
                epoch: EpochParity::Even,
                address: ([127, 0, 0, 1], 9).into(),
            },
            identity,
        }
    }

    async fn say(&mut self, message: &FromNode) {
        self.link.send(&message.encode()).await.unwrap();
    }

    /// The next message that is about tasks.
    async fn hear(&mut self) -> ToNode {
        loop {
            let message = ToNode::decode(&self.link.receive().await.unwrap()).unwrap();
            if !matches!(message, ToNode::Directory { .. } | ToNode::Tell) {
                return message;
            }
        }
    }

    async fn report(&mut self, attempt: u32, report: TaskReport) {
        self.report_and_log(attempt, report, "").await;
    }

    async fn report_and_log(&mut self, attempt: u32, report: TaskReport, log: &str) {
        let log = log.to_owned();
        let reports = vec![(attempt, Reported { report, log })];
        self.say(&FromNode::Reports { reports }).await;
    }

    async fn hello(&mut self, role: Role, lending: Lending) {
        let descriptor = self.descriptor;
        self.say(&FromNode::Hello {
            role,
            descriptor,
            lending,
        })
        .await;
    }

    /// Answers pings until one was answered, or the coordinator sends it away.
    async fn join(&mut self) -> Option<Refusal> {
        loop {
            match ToNode::decode(&self.link.receive().await.unwrap()).unwrap() {
                ToNode::Ping { nonce } => {
                    self.say(&FromNode::Pong { nonce }).await;
                    return None;
                }
                ToNode::Refused { reason } => return Some(reason),
                _ => {}
            }
        }
    }
}

/// Drives the coordinator until `done` is.
async fn drive<T>(service: &mut CoordinatorService, done: impl Future<Output = T>) -> T {
    tokio::pin!(done);
    loop {
        tokio::select! {
            // First, so that nothing is done here that comes only afterwards.
            biased;
            done = &mut done => return done,
            update = service.next() => drop(update.unwrap()),
        }
    }
}

/// Drives the coordinator until something has come of what happened.
async fn until<T>(
    service: &mut CoordinatorService,
    mut found: impl FnMut(&CoordinatorService, &Update) -> Option<T>,
) -> T {
    loop {
        let update = service.next().await.unwrap();
        if let Some(found) = found(service, &update) {
            return found;
        }
    }
}

/// Lets a node join and answer.
async fn joined(service: &mut CoordinatorService, role: Role) -> Played {
    let to = *service.descriptor();
    let node = drive(service, async {
        let mut node = Played::dial(&to).await;
        node.hello(role, LENDING).await;
        assert_eq!(node.join().await, None);
        node
    })
    .await;
    let id = node.descriptor.node;
    until(service, |service, _| {
        service.node(id).filter(|record| record.answered).map(drop)
    })
    .await;
    node
}

async fn left(service: &mut CoordinatorService, node: Played) {
    let id = node.descriptor.node;
    drop(node);
    until(service, |service, _| {
        service.node(id).is_none().then_some(())
    })
    .await;
}

fn job(number: u8) -> JobSpec {
    let echo = include_bytes!("../../../../examples/wasm/echo.wasm");
    JobSpec {
        id: JobId::from_bytes([number; 16]),
        owner: OWNER,
        priority: Priority::default(),
        privacy: PrivacyLevel::Private,
        tasks: vec![TaskOrder {
            id: TaskId::from_bytes([number; 16]),
            spec: TaskSpec::new(&echo[..], &[][..], Limits::default()).unwrap(),
            fuel_estimate: 1,
            price_max: Amount(1_000),
        }],
    }
}

fn dispatched(update: &Update) -> Option<TaskId> {
    match update {
        Update::Decided {
            event: Event::Dispatch { task, .. },
            ..
        } => Some(*task),
        _ => None,
    }
}

const MIX: Role = Role::Mix { layer: 0 };

#[tokio::test]
async fn a_node_whose_offer_makes_no_sense_is_refused_and_nobody_else() {
    // The error of a stranger's registration had stopped the coordinator.
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let mut bad = Played::dial(&to).await;
    let lending = Lending {
        fuel_per_second: 0,
        ..LENDING
    };
    bad.hello(Role::Compute, lending).await;
    let refused = drive(&mut service, async {
        assert_eq!(bad.join().await, None);
        bad.join().await
    })
    .await;
    assert_eq!(refused, Some(Refusal::Offer));
    assert!(service.node(bad.descriptor.node).is_none());
    let good = joined(&mut service, Role::Compute).await;
    assert_eq!(service.rules().nodes()[0].node, good.descriptor.node);
    // So had a node that lent nonsense only later.
    let mut late = good;
    late.say(&FromNode::Heartbeat {
        lending: Lending {
            fuel_per_second: 0,
            ..LENDING
        },
        mix: MixStats::default(),
    })
    .await;
    assert_eq!(drive(&mut service, late.join()).await, Some(Refusal::Offer));
    joined(&mut service, Role::Compute).await;
}

#[tokio::test]
async fn who_makes_no_sense_is_told_why_and_sent_away() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let hello = |role, change: fn(&mut Descriptor)| async move {
        let mut node = Played::dial(&to).await;
        let mut descriptor = node.descriptor;
        change(&mut descriptor);
        let lending = LENDING;
        node.say(&FromNode::Hello {
            role,
            descriptor,
            lending,
        })
        .await;
        let refused = node.join().await;
        assert!(node.link.receive().await.is_err(), "the link stays open");
        refused
    };
    let other: fn(&mut Descriptor) = |descriptor| descriptor.node = NodeId::from_bytes([5; 32]);
    let weak: fn(&mut Descriptor) = |descriptor| descriptor.key = PublicKey::from_bytes([0; 32]);
    let odd: fn(&mut Descriptor) = |descriptor| descriptor.epoch = EpochParity::Odd;
    for (role, change, reason) in [
        (Role::Compute, other, Refusal::Descriptor),
        (MIX, weak, Refusal::Descriptor),
        (MIX, odd, Refusal::Descriptor),
        (Role::Mix { layer: 1 }, |_| {}, Refusal::Layer),
    ] {
        let refused = drive(&mut service, hello(role, change)).await;
        assert_eq!(refused, Some(reason), "{role:?}");
    }
    // Neither bytes without a meaning nor a message out of turn.
    for frame in [vec![9, 9], FromNode::Pong { nonce: 1 }.encode()] {
        let refused = drive(&mut service, async {
            let mut node = Played::dial(&to).await;
            node.link.send(&frame).await.unwrap();
            node.join().await
        })
        .await;
        assert_eq!(refused, Some(Refusal::Protocol));
    }
    assert_eq!(service.nodes().count(), 0);
}

#[tokio::test]
async fn tasks_wait_for_a_mixnode_and_the_coordinator_goes_on_without() {
    // An empty layer had stopped the coordinator when a task was to be sent.
    let (mut service, _folder) = start(8).await;
    let _worker = joined(&mut service, Role::Compute).await;
    service.submit(job(1)).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        if let Update::Decided { event, .. } = service.next().await.unwrap() {
            told.push(event);
        }
    }
    assert!(matches!(
        told[..],
        [Event::Admitted { .. }, Event::Waiting { tasks: 1 }]
    ));
    let mix = joined(&mut service, MIX).await;
    let task = until(&mut service, |_, update| dispatched(update)).await;
    assert_eq!(task, TaskId::from_bytes([1; 16]));

    left(&mut service, mix).await;
    assert!(service.topology().is_err());
    service.submit(job(2)).await.unwrap();
    while let Ok(update) = tokio::time::timeout(Duration::ZERO, service.next()).await {
        assert_eq!(dispatched(&update.unwrap()), None);
    }
    let _mix = joined(&mut service, MIX).await;
    let task = until(&mut service, |_, update| dispatched(update)).await;
    assert_eq!(task, TaskId::from_bytes([2; 16]));
}

#[tokio::test]
async fn what_cannot_be_sent_is_given_back() {
    let (mut service, _folder) = start(8).await;
    let _mix = joined(&mut service, MIX).await;
    let _worker = joined(&mut service, Role::Compute).await;
    // What nodes never answer uses up what replies are kept by.
    let config = ClientConfig {
        reply_keys_max: 0,
        ..ClientConfig::default()
    };
    service.client = Client::new(service.descriptor.contact(), config);
    service.submit(job(1)).await.unwrap();
    let error = until(&mut service, |_, update| match update {
        Update::Unsent { error, .. } => Some(*error),
        _ => None,
    })
    .await;
    assert!(matches!(error, SendError::ReplyKeysFull { .. }));
    let reason = until(&mut service, |_, update| match update {
        Update::Decided {
            event: Event::AttemptLost { reason, .. },
            ..
        } => Some(*reason),
        _ => None,
    })
    .await;
    assert_eq!(reason, LossReason::GivenBack);
}

#[tokio::test]
async fn a_full_fog_refuses_and_who_leaves_makes_room() {
    // Nodes that had left stayed in memory and in the directory's way for ever.
    let (mut service, _folder) = start(2).await;
    let to = *service.descriptor();
    let first = joined(&mut service, Role::Compute).await;
    let _second = joined(&mut service, MIX).await;
    let refused = drive(&mut service, async {
        let mut third = Played::dial(&to).await;
        third.hello(MIX, LENDING).await;
        third.join().await
    })
    .await;
    assert_eq!(refused, Some(Refusal::Full));
    left(&mut service, first).await;
    assert_eq!(service.nodes().count(), 1);
    let _third = joined(&mut service, Role::Compute).await;
    assert_eq!((service.nodes().count(), service.links.len()), (2, 2));

    for nodes_max in [0, DIRECTORY_NODES_MAX] {
        let config = CoordinatorConfig {
            nodes_max,
            ..service.config.clone()
        };
        let refused = CoordinatorService::start(config).await;
        assert!(matches!(refused, Err(NodeError::NodesMax { actual, .. }) if actual == nodes_max));
    }
    let config = CoordinatorConfig {
        layers: 0,
        ..service.config.clone()
    };
    let refused = CoordinatorService::start(config).await;
    assert!(matches!(refused, Err(NodeError::Topology(_))));
}

#[tokio::test]
async fn a_node_that_does_not_read_holds_one_directory_however_many_come_and_go() {
    // Every node that came queued a whole directory for every other: 64 of them each.
    let (mut service, _folder) = start(8).await;
    let mut idle = joined(&mut service, MIX).await;
    for _ in 0..40 {
        let node = joined(&mut service, Role::Compute).await;
        left(&mut service, node).await;
    }
    let last = joined(&mut service, Role::Compute).await;
    // One latest directory, shared by all, and no queue of any link grows.
    let end = &service.links[&service.peers[&idle.descriptor.node].link];
    assert_eq!(end.to_node.capacity(), NODE_QUEUE_MAX);
    let newest = drive(&mut service, async {
        loop {
            let frame = idle.link.receive().await.unwrap();
            if let Ok(ToNode::Directory { others, .. }) = ToNode::decode(&frame)
                && others.iter().any(|node| node.node == last.descriptor.node)
            {
                return others;
            }
        }
    })
    .await;
    assert_eq!(newest.len(), 2, "the last one and the coordinator");
}

#[tokio::test]
async fn a_node_that_dials_again_keeps_its_place_and_its_tasks() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let _mix = joined(&mut service, MIX).await;
    let worker = joined(&mut service, Role::Compute).await;
    service.submit(job(1)).await.unwrap();
    until(&mut service, |_, update| dispatched(update)).await;
    let again = drive(&mut service, async {
        let mut again = Played::dial_as(worker.identity.clone(), &to).await;
        again.hello(Role::Compute, LENDING).await;
        assert_eq!(again.join().await, None);
        again
    })
    .await;
    let id = again.descriptor.node;
    until(&mut service, |service, _| {
        service.node(id).filter(|record| record.answered).map(drop)
    })
    .await;
    drop(worker);
    assert_eq!(service.rules().nodes()[0].running, 1);
    assert_eq!(service.nodes().count(), 2);
    left(&mut service, again).await;
    assert_eq!(service.rules().nodes()[0].running, 0);
}

#[tokio::test]
async fn counts_are_those_of_the_answer_not_of_an_earlier_message() {
    let (mut service, _folder) = start(8).await;
    let mut mix = joined(&mut service, MIX).await;
    let id = mix.descriptor.node;
    assert_eq!(service.node(id).unwrap().mix, None);
    let beat = |received| FromNode::Heartbeat {
        lending: LENDING,
        mix: MixStats {
            received,
            ..MixStats::default()
        },
    };
    let counted = |service: &CoordinatorService| service.node(id).unwrap().mix;
    mix.say(&beat(3)).await;
    until(&mut service, |service, _| counted(service)).await;
    service.ask_counts();
    assert_eq!(counted(&service), None);
    let asked = drive(&mut service, async {
        loop {
            let frame = mix.link.receive().await.unwrap();
            if ToNode::decode(&frame) == Ok(ToNode::Tell) {
                mix.say(&beat(7)).await;
                return;
            }
        }
    });
    asked.await;
    let mix = until(&mut service, |service, _| counted(service)).await;
    assert_eq!(mix.received, 7);
}

/// A job that nobody needs to hide.
fn public(number: u8) -> JobSpec {
    JobSpec {
        privacy: PrivacyLevel::Public,
        ..job(number)
    }
}

fn attempt(task: u8, number: u32) -> AttemptId {
    AttemptId {
        task: TaskId::from_bytes([task; 16]),
        number,
    }
}

fn done(task: u8, output: Vec<u8>) -> TaskReport {
    let usage = Usage {
        fuel: 1_000_000_000,
        ..Usage::default()
    };
    TaskReport {
        task: TaskId::from_bytes([task; 16]),
        result: Ok(TaskOutput { output, usage }),
    }
}

fn ended(update: &Update) -> Option<TaskId> {
    match update {
        Update::Decided {
            event: Event::TaskEnded { task, .. },
            ..
        } => Some(*task),
        _ => None,
    }
}

/// Waits until so many reports of a node were of no use.
async fn refused(service: &mut CoordinatorService, node: NodeId, count: u64) {
    until(service, |service, _| {
        let record = service.node(node)?;
        assert!(record.reports_refused <= count);
        (record.reports_refused == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_public_task_goes_by_the_link_and_its_report_is_acknowledged_and_paid_once() {
    // There is no mixnode at all.
    let (mut service, _folder) = start(8).await;
    let mut worker = joined(&mut service, Role::Compute).await;
    let node = worker.descriptor.node;
    for number in [1, 2] {
        service.submit(public(number)).await.unwrap();
    }
    let (mut modules, mut tasks) = (LinkModules::new(), Vec::new());
    drive(&mut service, async {
        while tasks.len() < 2 {
            match worker.hear().await {
                // Both have the same one, which comes once.
                ToNode::Module { bytes } => {
                    assert!(modules.find(fogcompute_base::Digest::of(&bytes)).is_none());
                    modules.insert(fogcompute_base::Digest::of(&bytes), bytes);
                }
                ToNode::Run { tasks: run } => tasks.extend(run),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    for (task, number) in tasks.iter().zip([1, 2]) {
        let module = |digest| modules.find(digest).map(Arc::clone);
        let spec = TaskSpec::decode_apart(&task.spec, module).unwrap().unwrap();
        assert_eq!(spec, job(number).tasks[0].spec);
        assert_eq!((task.task, task.attempt), (attempt(number, 1).task, 1));
    }
    worker.report(1, done(1, vec![7])).await;
    until(&mut service, |_, update| ended(update)).await;
    let heard = drive(&mut service, worker.hear()).await;
    let acknowledged = ToNode::Acknowledged {
        attempts: vec![attempt(1, 1)],
    };
    assert_eq!(heard, acknowledged);
    let stored = service.jobs().report(attempt(1, 1).task).unwrap().unwrap();
    assert_eq!(stored, done(1, vec![7]));
    // Said again it is acknowledged again, and changes nothing.
    worker.report(1, done(1, vec![8])).await;
    refused(&mut service, node, 1).await;
    assert_eq!(drive(&mut service, worker.hear()).await, acknowledged);
    let stored = service.jobs().report(attempt(1, 1).task).unwrap().unwrap();
    assert_eq!(stored, done(1, vec![7]));
    let account = fogcompute_coord::node_account(node);
    assert_eq!(service.bank().balance(account), Some(Amount(1)));
}

#[tokio::test]
async fn what_a_task_said_is_kept_with_its_result_and_nothing_else_of_it() {
    let (mut service, _folder) = start(8).await;
    let mut worker = joined(&mut service, Role::Compute).await;
    service.submit(public(1)).await.unwrap();
    until(&mut service, |_, update| dispatched(update)).await;
    // Of an attempt that is over nobody wants to hear.
    worker.report_and_log(9, done(1, vec![7]), "stale\n").await;
    let said = "one\n\u{1b}[2Jtwo\n";
    worker.report_and_log(1, done(1, vec![7]), said).await;
    until(&mut service, |_, update| ended(update)).await;
    let log = service.jobs().log(attempt(1, 1).task).unwrap();
    assert_eq!(log.as_deref(), Some("one\n?[2Jtwo\n"));
    worker.report_and_log(1, done(1, vec![7]), "again\n").await;
    refused(&mut service, worker.descriptor.node, 2).await;
    assert_eq!(service.jobs().log(attempt(1, 1).task).unwrap(), log);
}

#[tokio::test]
async fn anothers_report_and_one_of_no_attempt_are_counted_and_garbage_sends_away() {
    let (mut service, _folder) = start(8).await;
    let mut worker = joined(&mut service, Role::Compute).await;
    service.submit(public(1)).await.unwrap();
    let task = until(&mut service, |_, update| dispatched(update)).await;
    let mut other = joined(&mut service, Role::Compute).await;
    let (node, liar) = (worker.descriptor.node, other.descriptor.node);
    other.report(1, done(1, vec![6])).await;
    refused(&mut service, liar, 1).await;
    worker.report(9, done(1, vec![6])).await;
    refused(&mut service, node, 1).await;
    other.report(1, done(99, vec![6])).await;
    refused(&mut service, liar, 2).await;
    let state = service.rules().task(task).unwrap().state;
    assert_eq!(state, TaskState::Assigned { node, attempt: 1 });
    for account in [node, liar].map(fogcompute_coord::node_account) {
        assert_eq!(service.bank().balance(account), Some(Amount::ZERO));
    }

    other.link.send(&[4, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    let sent_away = drive(&mut service, other.join()).await;
    assert_eq!(sent_away, Some(Refusal::Protocol));
    assert!(service.node(liar).is_none());
    worker.report(1, done(1, vec![7])).await;
    assert_eq!(until(&mut service, |_, update| ended(update)).await, task);
}

#[tokio::test]
async fn a_report_that_is_longer_than_it_may_be_settles_nothing() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let mut worker = joined(&mut service, Role::Compute).await;
    let limits = Limits {
        output_bytes: 4,
        ..Limits::default()
    };
    let mut bounded = public(1);
    let module = Arc::clone(bounded.tasks[0].spec.module());
    bounded.tasks[0].spec = TaskSpec::new(module, [], limits).unwrap();
    service.submit(bounded).await.unwrap();
    until(&mut service, |_, update| dispatched(update)).await;
    // Longer than the task may answer.
    worker.report(1, done(1, vec![0; 5])).await;
    let reason = until(&mut service, |_, update| match update {
        Update::Decided {
            event: Event::AttemptLost { reason, .. },
            ..
        } => Some(*reason),
        _ => None,
    })
    .await;
    assert_eq!(reason, LossReason::OverLimits);
    // Longer than anything a node says: nobody reads on.
    let _ = worker.link.send(&vec![4; FROM_NODE_BYTES_MAX + 1]).await;
    let id = worker.descriptor.node;
    until(&mut service, |service, _| {
        service.node(id).is_none().then_some(())
    })
    .await;
    // Who is not let in yet may say less.
    let read = drive(&mut service, async {
        let mut stranger = Played::dial(&to).await;
        let _ = stranger.link.send(&vec![4; STRANGER_BYTES_MAX + 1]).await;
        stranger.link.receive().await
    })
    .await;
    assert!(read.is_err());
    joined(&mut service, Role::Compute).await;
}

#[tokio::test]
async fn a_node_that_registers_twice_or_speaks_an_older_version_is_told_why() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let mut twice = joined(&mut service, Role::Compute).await;
    let other = joined(&mut service, Role::Compute).await;
    twice.hello(Role::Compute, LENDING).await;
    let refused = drive(&mut service, twice.join()).await;
    assert_eq!(refused, Some(Refusal::Protocol));
    let refused = drive(&mut service, async {
        let mut old = Played::dial(&to).await;
        let hello = FromNode::Hello {
            role: Role::Compute,
            descriptor: old.descriptor,
            lending: LENDING,
        };
        let mut bytes = hello.encode();
        bytes[1..3].copy_from_slice(&4_u16.to_be_bytes());
        old.link.send(&bytes).await.unwrap();
        old.join().await
    })
    .await;
    assert_eq!(refused, Some(Refusal::Protocol));
    assert!(Refusal::Protocol.to_string().contains("version"));
    assert!(service.node(other.descriptor.node).is_some());
    assert_eq!(service.nodes().count(), 1);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (service, _folder) = start(8).await;
    let folder = tempfile::tempdir().unwrap();
    let config = CoordinatorConfig {
        listen: service.descriptor().address,
        ledger: folder.path().join("ledger.sqlite"),
        jobs: folder.path().join("jobs.sqlite"),
        ..service.config.clone()
    };
    let taken = config.listen;
    let refused = CoordinatorService::start(config).await;
    assert!(
        matches!(refused, Err(NodeError::Listen { address, .. }) if address == taken),
        "the address is not named"
    );
}

#[tokio::test]
async fn a_node_that_dials_again_gets_its_tasks_again_and_those_it_must_stop() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let worker = joined(&mut service, Role::Compute).await;
    service.submit(public(1)).await.unwrap();
    until(&mut service, |_, update| dispatched(update)).await;
    // What its first link carried is lost.
    let mut again = drive(&mut service, async {
        let mut again = Played::dial_as(worker.identity.clone(), &to).await;
        again.hello(Role::Compute, LENDING).await;
        assert_eq!(again.join().await, None);
        assert!(matches!(again.hear().await, ToNode::Module { .. }));
        let run = again.hear().await;
        assert!(
            matches!(&run, ToNode::Run { tasks } if tasks[0].attempt == 1),
            "{run:?}"
        );
        again
    })
    .await;
    service
        .with_rules(|rules, host| rules.cancel(attempt(1, 1).task, host))
        .unwrap();
    let revoked = ToNode::Revoke {
        attempts: vec![attempt(1, 1)],
    };
    assert_eq!(drive(&mut service, again.hear()).await, revoked);
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing() {
    let (mut service, _folder) = start(8).await;
    let mut worker = joined(&mut service, Role::Compute).await;
    service.submit(public(1)).await.unwrap();
    until(&mut service, |_, update| dispatched(update)).await;
    // As after a write that failed.
    let far = service.clock.now() + Duration::from_secs(3_600);
    service.stalled = Some((far, String::new()));
    worker.report(1, done(1, vec![7])).await;
    until(&mut service, |service, _| {
        (!service.reported.is_empty()).then_some(())
    })
    .await;
    while let Ok(update) = tokio::time::timeout(Duration::ZERO, service.next()).await {
        assert_eq!(ended(&update.unwrap()), None);
    }
    assert_eq!(service.reported.len(), 1);
    service.stalled = Some((service.clock.now(), String::new()));
    until(&mut service, |_, update| ended(update)).await;
    drive(&mut service, async {
        loop {
            if let ToNode::Acknowledged { attempts } = worker.hear().await {
                assert_eq!(attempts, [attempt(1, 1)]);
                return;
            }
        }
    })
    .await;
}

impl Played {
    /// Says how it is, and gets the number of the ping that follows.
    async fn beat(&mut self) -> u64 {
        self.say(&FromNode::Heartbeat {
            lending: LENDING,
            mix: MixStats::default(),
        })
        .await;
        loop {
            if let ToNode::Ping { nonce } = self.hear().await {
                return nonce;
            }
        }
    }
}

#[tokio::test]
async fn nodes_are_measured_and_the_nearest_gets_the_task() {
    let (mut service, _folder) = start_routed(Strategy::Proximity).await;
    let mut far = joined(&mut service, Role::Compute).await;
    let mut near = joined(&mut service, Role::Compute).await;
    let (far_id, near_id) = (far.descriptor.node, near.descriptor.node);
    // Each time the far one answers, the near one has answered twenty times since it was asked.
    let latest = |service: &CoordinatorService| service.node(far_id).unwrap().round_trips;
    for _ in 0..20 {
        let before = latest(&service);
        drive(&mut service, async {
            let nonce = far.beat().await;
            for _ in 0..20 {
                let nonce = near.beat().await;
                near.say(&FromNode::Pong { nonce }).await;
            }
            // Everything it said before was heard when this is answered.
            let last = near.beat().await;
            far.say(&FromNode::Pong { nonce }).await;
            near.say(&FromNode::Pong { nonce: last }).await;
        })
        .await;
        until(&mut service, |service, _| {
            (latest(service) != before).then_some(())
        })
        .await;
    }
    let trip = |node| service.node(node).unwrap().round_trips.shortest().unwrap();
    assert!(trip(near_id) < trip(far_id));
    let views = service.rules().nodes();
    let distance = |node| {
        let view = views.iter().find(|view| view.node == node).unwrap();
        let place = view.coordinate.expect("it was measured");
        service.rules().coordinate().distance_ms(&place)
    };
    assert!(
        distance(near_id) < distance(far_id),
        "{} and {}",
        distance(near_id),
        distance(far_id)
    );
    service.submit(public(1)).await.unwrap();
    let node = until(&mut service, |_, update| match update {
        Update::Decided {
            event: Event::Dispatch { node, .. },
            ..
        } => Some(*node),
        _ => None,
    })
    .await;
    assert_eq!(node, near_id);
}

#[tokio::test]
async fn who_answers_what_was_not_asked_is_sent_away() {
    let (mut service, _folder) = start(8).await;
    let mut eager = joined(&mut service, Role::Compute).await;
    let nonce = drive(&mut service, eager.beat()).await;
    // Only one ping is under way at a time.
    eager
        .say(&FromNode::Heartbeat {
            lending: LENDING,
            mix: MixStats::default(),
        })
        .await;
    eager.say(&FromNode::Pong { nonce }).await;
    eager.say(&FromNode::Pong { nonce }).await;
    assert_eq!(
        drive(&mut service, eager.join()).await,
        Some(Refusal::Protocol)
    );
}

/// Two nodes with one key had thrown each other out by turns, and nobody was told why.
#[tokio::test]
async fn a_copy_of_a_node_that_is_there_is_refused_and_told_why() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let mut first = joined(&mut service, Role::Compute).await;
    let (id, descriptor) = (first.descriptor.node, first.descriptor);
    for _ in 0..2 {
        let identity = first.identity.clone();
        let (refused, _) = drive(&mut service, async {
            let mut copy = Played::dial_as(identity, &to).await;
            copy.hello(Role::Compute, LENDING).await;
            // The one that is there answers.
            tokio::join!(copy.join(), first.join())
        })
        .await;
        assert_eq!(refused, Some(Refusal::KeyInUse));
    }
    assert!(Refusal::KeyInUse.to_string().contains("folder of its own"));
    assert_eq!(service.node(id).unwrap().descriptor, descriptor);
    // Where it says nothing, because its machine has crashed, whoever comes back is let in.
    let again = drive(&mut service, async {
        let mut again = Played::dial_as(first.identity.clone(), &to).await;
        again.hello(Role::Compute, LENDING).await;
        assert_eq!(again.join().await, None);
        again
    })
    .await;
    assert_eq!(service.node(id).unwrap().descriptor, again.descriptor);
    assert_eq!(service.nodes().count(), 1);
}

#[tokio::test]
async fn a_node_that_registers_again_at_another_address_is_one_node_and_there() {
    let (mut service, _folder) = start(8).await;
    let to = *service.descriptor();
    let mut first = joined(&mut service, Role::Compute).await;
    let other = joined(&mut service, Role::Compute).await;
    let id = first.descriptor.node;
    let (again, _still) = drive(&mut service, async {
        let mut again = Played::dial_as(first.identity.clone(), &to).await;
        again.descriptor.address = ([127, 0, 0, 1], 10).into();
        again.hello(Role::Compute, LENDING).await;
        assert_eq!(again.join().await, None);
        // Its first link ends: what comes by the second one is what counts.
        while first.link.receive().await.is_ok() {}
        (again, first)
    })
    .await;
    until(&mut service, |service, _| {
        service.node(id).filter(|record| record.answered).map(drop)
    })
    .await;
    let record = service.node(id).unwrap();
    assert_eq!(record.descriptor, again.descriptor);
    assert_eq!(service.nodes().count(), 2);
    assert_eq!(service.rules().nodes().len(), 2);
    assert!(service.node(other.descriptor.node).is_some());
}

#[tokio::test]
async fn a_node_that_claims_more_than_there_is_loses_nothing_that_it_is_given() {
    let (mut service, _folder) = start_routed(Strategy::LeastLoaded).await;
    let to = *service.descriptor();
    let liar = drive(&mut service, async {
        let mut liar = Played::dial(&to).await;
        let lending = Lending {
            cpu_millis: u64::MAX,
            memory_bytes: u64::MAX,
            fuel_per_second: u64::MAX,
            ..LENDING
        };
        liar.hello(Role::Compute, lending).await;
        assert_eq!(liar.join().await, None);
        liar
    })
    .await;
    let node = liar.descriptor.node;
    until(&mut service, |service, _| {
        service.node(node).filter(|it| it.answered).map(drop)
    })
    .await;
    // As many as its link may carry, whatever it says.
    let slots = service.node(node).unwrap().offer.cpu_millis / 1_000;
    assert!(slots <= LINK_TASKS_MAX as u64);
    service.submit(public(1)).await.unwrap();
    until(&mut service, |_, update| dispatched(update)).await;
    let mut honest = joined(&mut service, Role::Compute).await;
    left(&mut service, liar).await;
    until(&mut service, |_, update| dispatched(update)).await;
    honest.report(2, done(1, vec![7])).await;
    until(&mut service, |_, update| ended(update)).await;
}

#[tokio::test]
async fn a_job_that_no_node_can_ever_take_is_refused_with_the_nearest_miss() {
    for optimised in [false, true] {
        let (mut service, _folder) = if optimised {
            start_with(Config::default(), 8).await
        } else {
            start_routed(Strategy::LeastLoaded).await
        };
        let worker = joined(&mut service, Role::Compute).await;
        let needed = LENDING.memory_bytes + 1;
        let limits = Limits {
            memory_bytes: needed,
            ..Limits::default()
        };
        let mut large = public(1);
        let module = Arc::clone(large.tasks[0].spec.module());
        large.tasks[0].spec = TaskSpec::new(module, [], limits).unwrap();
        let refused = service.submit(large).await;
        let Err(NodeError::Submit(SubmitError::Unroutable { error, .. })) = refused else {
            panic!("{refused:?}");
        };
        let bytes = LENDING.memory_bytes;
        let miss = Obstacle::Memory { bytes, needed };
        assert_eq!(error.nearest, Some((worker.descriptor.node, miss)));
        service.submit(public(1)).await.unwrap();
        until(&mut service, |_, update| dispatched(update)).await;
    }
}

#[tokio::test]
async fn a_job_that_ended_so_long_ago_that_the_rules_forgot_it_is_not_taken_again() {
    let rules = Config {
        ended_jobs_max: 0,
        ..Config::default()
    };
    let (mut service, _folder) = start_with(rules, 8).await;
    service.submit(public(1)).await.unwrap();
    let (task, job) = (attempt(1, 1).task, JobId::from_bytes([1; 16]));
    service
        .with_rules(|rules, host| rules.cancel(task, host))
        .unwrap();
    until(&mut service, |_, update| {
        let ended = matches!(
            update,
            Update::Decided {
                event: Event::JobEnded { .. },
                ..
            }
        );
        ended.then_some(())
    })
    .await;
    assert_eq!(service.rules().job(job), None);
    // Of other tasks too: the id is taken, and what came of it can be looked up.
    let mut other = public(2);
    other.id = job;
    for again in [public(1), other] {
        let refused = service.submit(again).await;
        assert!(
            matches!(
                refused,
                Err(NodeError::Submit(SubmitError::KnownJob { .. }))
            ),
            "{refused:?}"
        );
    }
    assert_eq!(
        service.jobs().job(job).unwrap().unwrap().summary.cancelled,
        1
    );
}
