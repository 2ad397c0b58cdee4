use super::*;
use crate::disk::CrashPoint;
use crate::fault::Fault;

/// A fog in which nothing goes wrong.
fn calm(seed: u64) -> Plan {
    let mut plan = Plan::random(seed);
    plan.faults = Vec::new();
    plan.link = crate::LinkConfig::perfect(Duration::from_millis(10));
    for node in &mut plan.nodes {
        node.lie = None;
        node.vacates_ppm = 0;
    }
    for submitter in &mut plan.submitters {
        submitter.cancels_ppm = 0;
    }
    plan
}

fn run(plan: Plan) -> Run {
    match Fog::new(plan).unwrap().run() {
        Ok(run) => run,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn a_calm_fog_does_all_its_work_and_loses_nothing() {
    for seed in 0..5 {
        let figures = run(calm(seed)).figures;
        assert!(figures.succeeded > 0);
        assert_eq!(
            (figures.lost, figures.cancelled, figures.lies_believed),
            (0, 0, 0)
        );
        assert_eq!(figures.ended(), figures.tasks);
        assert!(figures.checks > 1);
        // Nothing is sent twice but what lasted longer than its lease.
        assert!(figures.dispatched <= figures.tasks + figures.attempts_lost);
    }
}

#[test]
fn one_seed_is_one_run_to_the_last_bit() {
    let first = run(Plan::random(11));
    let again = run(Plan::random(11));
    assert_eq!(first.fingerprint, again.fingerprint);
    assert_eq!(first.counts, again.counts);
    assert_ne!(first.fingerprint, run(Plan::random(12)).fingerprint);
}

#[test]
fn a_failure_names_the_seed_that_replays_it() {
    let mut plan = calm(3);
    plan.flaw = Some(Flaw::DispatchTwice);
    plan.trace_lines = 20;
    let failure = Fog::new(plan.clone()).unwrap().run().unwrap_err();
    let text = failure.to_string();
    assert!(text.ends_with("FOG_SEED=3"), "{text}");
    assert!(text.contains("Submit"), "{text}");
    let again = Fog::new(plan).unwrap().run().unwrap_err();
    assert_eq!(again.to_string(), text);
}

#[test]
fn a_fog_whose_nodes_are_all_gone_never_ends() {
    let mut plan = calm(1);
    plan.deadline = Duration::from_hours(2);
    for number in 0..plan.nodes.len() {
        let fault = Fault::Crash {
            process: plan.node(number),
            silent: true,
            down: None,
        };
        plan.faults.push((Duration::ZERO, fault));
    }
    for node in &mut plan.nodes {
        node.begins = Duration::ZERO;
    }
    let failure = Fog::new(plan).unwrap().run().unwrap_err();
    assert!(
        matches!(failure.violation, Violation::NeverEnds { .. }),
        "{failure}"
    );
}

#[test]
fn a_node_that_dies_in_any_commit_loses_no_task() {
    let commits = run(calm(2)).counts.commits;
    assert!(commits > 10);
    for commit in 0..6 {
        for point in CrashPoint::ALL {
            let mut plan = calm(2);
            for number in 0..plan.nodes.len() {
                let fault = Fault::CrashInCommit {
                    process: plan.node(number),
                    commits: commit,
                    point,
                    silent: false,
                    down: Some(Duration::from_secs(5)),
                };
                plan.faults.push((Duration::ZERO, fault));
            }
            let run = run(plan);
            assert_eq!(run.figures.ended(), run.figures.tasks);
            assert_eq!(run.figures.cancelled, 0);
            if commit == 0 {
                assert!(run.counts.crashes_in_commits > 0);
            }
        }
    }
}

#[test]
fn a_coordinator_that_dies_in_any_commit_goes_on() {
    let small = |seed| {
        let mut plan = calm(seed);
        plan.submitters.truncate(1);
        plan.submitters[0].jobs = 2;
        plan.submitters[0].shape.tasks = (3, 3);
        plan.full_every = 1;
        plan
    };
    let mut plan = small(4);
    plan.nodes.truncate(4);
    let calm_run = run(plan.clone());
    // Every commit of the coordinator, and of the others too: they are counted together.
    let mut died = 0;
    for commit in 0..calm_run.counts.commits {
        for point in CrashPoint::ALL {
            let mut plan = plan.clone();
            let fault = Fault::CrashInCommit {
                process: COORDINATOR,
                commits: commit,
                point,
                silent: commit % 2 == 0,
                down: Some(Duration::from_secs(7)),
            };
            plan.faults.push((Duration::ZERO, fault));
            let run = run(plan);
            died += run.counts.crashes_in_commits;
            // Nothing is done twice, or left out: all has ended as if nothing had happened.
            assert_eq!(run.figures.tasks, calm_run.figures.tasks);
            assert_eq!(run.figures.ended(), calm_run.figures.ended());
            assert_eq!(run.figures.failed, calm_run.figures.failed);
        }
    }
    assert!(died > 60, "{died}");
}
