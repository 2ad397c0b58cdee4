use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{NodeId, TaskId};
use fogcompute_coord::token::Action;
use fogcompute_coord::{NodeKind, Status};
use fogcompute_harvest::HarvestPolicy;
use fogcompute_ledger::Amount;
use fogcompute_store::JobChange;

use super::{FogAccess, FogCoordinator, FogNode, FogWatch};
use crate::error::NodeError;
use crate::fogs::{FogCoordinatorConfig, FogFileError, TokenTerms};
use crate::protocol::{MIX_LAYER_MAX, Role};
use crate::serve::NodeConfig;
use crate::submit::{
    FogClientConfig, FogClientError, JobOrder, JobTerms, Reason, TopologyNode, Watched,
};

const SUM: &[u8] = include_bytes!("../../../../examples/wasm/sum.wasm");

fn coordinator(folder: &Path) -> FogCoordinator {
    FogCoordinator::start(FogCoordinatorConfig::new(folder.join("fog"))).unwrap()
}

fn node(folder: &Path, fog: &FogCoordinator, name: &str, role: Role) -> FogNode {
    FogNode::start(node_config(folder, fog, name, role), None).unwrap()
}

fn node_config(folder: &Path, fog: &FogCoordinator, name: &str, role: Role) -> NodeConfig {
    NodeConfig {
        role,
        policy: HarvestPolicy::always(),
        heartbeat: Duration::from_millis(200),
        ..NodeConfig::new(fog.address(), fog.id(), folder.join(name))
    }
}

fn access(fog: &FogCoordinator) -> FogAccess {
    let terms = TokenTerms {
        actions: Action::ALL.to_vec(),
        ..TokenTerms::default()
    };
    let config = FogClientConfig::from_token(&fog.issue(&terms).unwrap()).unwrap();
    FogAccess::start(config).unwrap()
}

fn sums(inputs: &[&[u8]]) -> JobOrder {
    let inputs = inputs.iter().map(|input| input.to_vec());
    JobOrder::of(&Arc::from(SUM), inputs, &JobTerms::default()).unwrap()
}

fn next(watch: &FogWatch) -> JobChange {
    let next = watch.receive_within(Duration::from_secs(60)).unwrap();
    match next.unwrap() {
        Watched::Event(event) => event.change,
        lagged @ Watched::Lagged { .. } => panic!("{lagged:?}"),
    }
}

fn wait<T>(done: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(done)
}

#[test]
fn a_fog_inside_a_program_does_a_job_and_tells_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let fog = coordinator(folder.path());
    let mix = node(folder.path(), &fog, "mix", Role::Mix { layer: 0 });
    let compute = node(folder.path(), &fog, "compute", Role::Compute);
    let access = access(&fog);
    let watch = access.watch(0).unwrap();
    let order = sums(&[&[1, 2], &[39, 3]]);
    let tasks: Vec<TaskId> = order.task_ids().collect();
    let job = access.submit(order).wait().unwrap();
    assert_eq!(job.owner, fog.account());
    assert_eq!(next(&watch), JobChange::Admitted { tasks: 2 });
    let ended = access.ended(job.id).wait().unwrap();
    assert_eq!((ended.summary.succeeded, ended.summary.open), (2, 0));
    for (task, sum) in tasks.iter().zip([3_u64, 42]) {
        let report = access.result(*task).wait().unwrap();
        assert_eq!(report.result.unwrap().output, sum.to_le_bytes());
        let known = access.task(*task).wait().unwrap();
        assert_eq!(known.node, Some(compute.id()));
    }
    while next(&watch) != JobChange::JobEnded {}
    assert_eq!(watch.last(), access.last_event().wait().unwrap());
    assert_eq!(access.jobs(9).wait().unwrap(), [ended]);
    assert_eq!(access.tasks(job.id).wait().unwrap().len(), 2);

    access.drain(compute.id()).wait().unwrap();
    let topology = access.topology().wait().unwrap();
    assert_eq!(topology.coordinator, fog.id());
    let seen = |id: NodeId| -> &TopologyNode {
        topology
            .nodes
            .iter()
            .find(|it| it.status.node == id)
            .unwrap()
    };
    let (first, second) = (seen(mix.id()), seen(compute.id()));
    assert_eq!((first.kind, first.linked), (NodeKind::Mixnode, true));
    assert_eq!((second.kind, second.linked), (NodeKind::Compute, true));
    // It has nothing left to finish.
    assert!(matches!(
        second.status.status,
        Status::Draining | Status::Maintenance
    ));
    assert_eq!(second.status.address, compute.address());
    assert_eq!(second.free_cpu_millis, second.status.cpu_millis);
    assert!(!topology.history.is_empty());
    access.undrain(compute.id()).wait().unwrap();
    let stranger = access.drain(NodeId::from_bytes([9; 32])).wait();
    assert_eq!(stranger.unwrap_err().reason(), Some(Reason::UnknownNode));
    assert!(
        access
            .metrics()
            .wait()
            .unwrap()
            .contains("fogcompute_coord")
    );
    assert_eq!(fog.trouble().unwrap(), None);

    access.close();
    let closed = access.jobs(1).wait();
    assert!(matches!(closed, Err(FogClientError::Ended)));
    let closed = watch.receive_within(Duration::from_secs(60));
    assert!(matches!(closed, Err(FogClientError::Ended)));
    compute.close();
    assert!(compute.status().unwrap().ended);
}

#[test]
fn a_coordinator_goes_on_where_it_was_and_its_nodes_and_watchers_find_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let fog = coordinator(folder.path());
    let compute = node(folder.path(), &fog, "compute", Role::Compute);
    wait(compute.joined()).unwrap();
    let access = access(&fog);
    let watch = access.watch(0).unwrap();
    let job = access.submit(sums(&[&[1]])).wait().unwrap();
    assert_eq!(next(&watch), JobChange::Admitted { tasks: 1 });
    let (id, listen) = (fog.id(), fog.address());
    fog.close();
    let config = FogCoordinatorConfig {
        listen,
        ..FogCoordinatorConfig::new(folder.path().join("fog"))
    };
    let fog = FogCoordinator::start(config).unwrap();
    assert_eq!(fog.id(), id);
    // Without a mixnode the task waited.
    let _mix = node(folder.path(), &fog, "mix", Role::Mix { layer: 0 });
    assert_eq!(access.ended(job.id).wait().unwrap().summary.succeeded, 1);
    while next(&watch) != JobChange::JobEnded {}
}

#[test]
fn a_coordinator_that_has_run_is_not_begun_anew_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let config = || FogCoordinatorConfig::new(folder.path().join("fog"));
    let fog = coordinator(folder.path());
    let id = fog.id();
    fog.close();
    for name in [
        "ledger.sqlite",
        "jobs.sqlite",
        "gate.sqlite",
        "owner.key",
        "founding.toml",
    ] {
        let (file, aside) = (
            folder.path().join("fog").join(name),
            folder.path().join(name),
        );
        std::fs::rename(&file, &aside).unwrap();
        for is_empty in [false, true] {
            if is_empty {
                std::fs::write(&file, "").unwrap();
            }
            let refused = FogCoordinator::start(config()).unwrap_err();
            assert!(
                matches!(&refused, NodeError::Files(FogFileError::Incomplete { path }) if *path == file),
                "{refused:?}"
            );
        }
        std::fs::rename(&aside, &file).unwrap();
    }
    assert_eq!(FogCoordinator::start(config()).unwrap().id(), id);
}

#[test]
fn what_cannot_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let fog = coordinator(folder.path());
    let taken = FogCoordinatorConfig {
        listen: fog.address(),
        ..FogCoordinatorConfig::new(folder.path().join("other"))
    };
    let refused = FogCoordinator::start(taken).unwrap_err();
    assert!(matches!(refused, NodeError::Listen { .. }));
    let endowed = FogCoordinatorConfig {
        endowment: Some(Amount(1)),
        ..FogCoordinatorConfig::new(folder.path().join("fog"))
    };
    let refused = FogCoordinator::start(endowed).unwrap_err();
    assert!(matches!(
        refused,
        NodeError::Files(FogFileError::Endowed { .. })
    ));
    let config = node_config(folder.path(), &fog, "node", Role::Compute);
    let sleepless = NodeConfig {
        heartbeat: Duration::ZERO,
        ..config.clone()
    };
    let refused = FogNode::start(sleepless, None).unwrap_err();
    assert!(matches!(refused, NodeError::Worker(_)));
    // It was started, and 255 computed: what says so in a node's first message.
    for layer in [MIX_LAYER_MAX + 1, 200, u8::MAX] {
        let config = node_config(folder.path(), &fog, "nowhere", Role::Mix { layer });
        let refused = FogNode::start(config, None).unwrap_err();
        assert!(matches!(refused, NodeError::MixLayer { layer: of, max: 5 } if of == layer));
    }
    assert!(!folder.path().join("nowhere").exists());
    let stranger = NodeConfig {
        listen: fog.address(),
        ..config
    };
    let refused = FogNode::start(stranger, None).unwrap_err();
    assert!(matches!(refused, NodeError::Listen { .. }));
    let refused = FogClientConfig::from_token("address = 1").unwrap_err();
    assert!(matches!(refused, FogFileError::BadToken { .. }));
}

#[test]
fn a_node_tells_why_its_coordinator_does_not_let_it_in() {
    let folder = tempfile::tempdir().unwrap();
    let fog = coordinator(folder.path());
    let config = node_config(folder.path(), &fog, "node", Role::Mix { layer: 3 });
    let lost = NodeConfig {
        exit_with_coordinator: true,
        ..config.clone()
    };
    let told = |config| {
        let node = FogNode::start(config, None).unwrap();
        wait(async {
            loop {
                let status = match node.status() {
                    Ok(status) => status,
                    Err(error) => return error.to_string(),
                };
                if let Some(trouble) = status.trouble {
                    return trouble;
                }
                node.changed(&status).await;
            }
        })
    };
    for config in [config, lost] {
        assert!(told(config).contains("refused this node"));
    }
}

#[test]
fn what_is_asked_of_nobody_ends_with_patience() {
    let folder = tempfile::tempdir().unwrap();
    let fog = coordinator(folder.path());
    let config = FogClientConfig {
        patience: Duration::from_millis(300),
        ..FogClientConfig::from_token(&fog.issue(&TokenTerms::default()).unwrap()).unwrap()
    };
    fog.close();
    // Nor does it issue tokens any more.
    let unissued = fog.issue(&TokenTerms::default());
    assert!(matches!(unissued, Err(NodeError::Closed { .. })));
    let access = FogAccess::start(config).unwrap();
    let watch = access.watch(0).unwrap();
    for _ in 0..2 {
        let failed = watch.receive_within(Duration::from_secs(60));
        assert!(matches!(failed, Err(FogClientError::Unreachable { .. })));
    }
    let failed = access.jobs(1).wait();
    assert!(matches!(failed, Err(FogClientError::Unreachable { .. })));
    // Whoever let the id be drawn is told it.
    let order = sums(&[&[1, 2]]);
    let id = order.id;
    let failed = access.submit(order).wait().unwrap_err();
    assert!(matches!(
        &failed,
        FogClientError::Unanswered { job, source }
            if *job == id && matches!(**source, FogClientError::Unreachable { .. })
    ));
    assert!(failed.to_string().contains(&id.to_string()));
}
