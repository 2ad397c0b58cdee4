use super::*;
use fogcompute_base::OsEntropy;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const TASK: TaskId = TaskId::from_bytes([1; 16]);
const TIME: UnixMillis = UnixMillis(5);

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn commitment(n: u8, result: &[u8]) -> Commitment {
    Commitment::new(ContentId::of(result), node(n), &[n; 32], TASK)
}

/// Gives the task to each, lets all commit, then all reveal.
fn round(replication: &mut Replication, results: &[(u8, Vec<u8>)]) {
    for (n, _) in results {
        replication.assign(node(*n)).unwrap();
    }
    for (n, result) in results {
        replication
            .commit(node(*n), commitment(*n, result))
            .unwrap();
    }
    for (n, result) in results {
        replication.reveal(node(*n), [*n; 32], result).unwrap();
    }
}

fn findings(replication: &Replication) -> Vec<Finding> {
    let verdicts = replication.verdicts(TIME);
    assert!(verdicts.iter().all(Evidence::holds), "{verdicts:?}");
    verdicts.iter().map(|evidence| evidence.finding).collect()
}

fn numbers(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn numeric(absolute: f64, relative: f64) -> Comparison {
    Comparison::Numeric {
        element: Element::F64,
        tolerance: Tolerance { absolute, relative },
    }
}

#[test]
fn two_that_differ_call_a_third_and_the_liar_is_marked() {
    let mut replication = Replication::new(TASK, Rules::PAIR).unwrap();
    assert_eq!(replication.outcome(), Outcome::Wanting { nodes: 2 });
    round(&mut replication, &[(1, b"42".into()), (2, b"41".into())]);
    assert_eq!(replication.outcome(), Outcome::Wanting { nodes: 1 });
    assert_eq!(findings(&replication), []);
    round(&mut replication, &[(3, b"42".into())]);
    let result = ContentId::of(b"42");
    assert_eq!(replication.outcome(), Outcome::Agreed { result });
    assert_eq!(
        findings(&replication),
        [Finding::Valid, Finding::Invalid, Finding::Valid]
    );
    let liar = &replication.verdicts(TIME)[1];
    assert_eq!(liar.node, node(2));
    assert_eq!(liar.agreed, Some(result));
    assert_eq!(liar.agreeing, [node(1), node(3)]);
    assert_eq!(liar.finding.offence(), Some(Offence::InvalidResult));
}

#[test]
fn three_different_results_decide_nothing_and_punish_nobody() {
    let mut replication = Replication::new(TASK, Rules::PAIR).unwrap();
    round(&mut replication, &[(1, b"1".into()), (2, b"2".into())]);
    round(&mut replication, &[(3, b"3".into())]);
    assert_eq!(replication.outcome(), Outcome::Undecided);
    assert_eq!(findings(&replication), []);
    assert_eq!(
        replication.assign(node(4)),
        Err(ReplicationError::NotWanted)
    );
}

#[test]
fn nobody_may_reveal_before_all_have_committed() {
    let mut replication = Replication::new(TASK, Rules::PAIR).unwrap();
    for n in [1, 2] {
        replication.assign(node(n)).unwrap();
    }
    replication.commit(node(1), commitment(1, b"42")).unwrap();
    assert_eq!(replication.outcome(), Outcome::Committing);
    assert_eq!(
        replication.reveal(node(1), [1; 32], b"42"),
        Err(ReplicationError::TooEarly { waiting: 1 })
    );
    assert_eq!(
        replication.reveal(node(2), [2; 32], b"42"),
        Err(ReplicationError::NotCommitted { node: node(2) })
    );
    replication.commit(node(2), commitment(2, b"42")).unwrap();
    assert_eq!(replication.outcome(), Outcome::Revealing);
    replication.reveal(node(1), [1; 32], b"42").unwrap();
}

#[test]
fn copied_commitment_does_not_open() {
    let mut replication = Replication::new(TASK, Rules::PAIR).unwrap();
    for n in [1, 2] {
        replication.assign(node(n)).unwrap();
        replication.commit(node(n), commitment(1, b"42")).unwrap();
    }
    replication.reveal(node(1), [1; 32], b"42").unwrap();
    // The copier has seen result and nonce by now.
    assert_eq!(
        replication.reveal(node(2), [1; 32], b"42"),
        Err(ReplicationError::BrokenCommitment { node: node(2) })
    );
    assert_eq!(findings(&replication), [Finding::BrokenCommitment]);
}

#[test]
fn commitment_of_another_task_does_not_open() {
    let id = ContentId::of(b"42");
    let other = TaskId::from_bytes([2; 16]);
    assert_ne!(
        Commitment::new(id, node(1), &[1; 32], TASK),
        Commitment::new(id, node(1), &[1; 32], other)
    );
}

#[test]
fn second_commitment_is_held_against_the_node_and_the_same_again_is_not() {
    let mut replication = Replication::new(TASK, Rules::PAIR).unwrap();
    replication.assign(node(1)).unwrap();
    replication.commit(node(1), commitment(1, b"a")).unwrap();
    replication.commit(node(1), commitment(1, b"a")).unwrap();
    assert_eq!(
        replication.commit(node(1), commitment(1, b"b")),
        Err(ReplicationError::DoubleCommitment { node: node(1) })
    );
    assert_eq!(findings(&replication), [Finding::DoubleCommitment]);
    assert_eq!(
        Finding::DoubleCommitment.offence(),
        Some(Offence::DoubleResult)
    );
}

#[test]
fn nodes_that_do_not_answer_are_replaced_and_named() {
    let rules = Rules {
        quorum: 3,
        replicas: 3,
        replicas_max: 5,
        comparison: Comparison::Exact,
    };
    let mut replication = Replication::new(TASK, rules).unwrap();
    for n in [1, 2, 3] {
        replication.assign(node(n)).unwrap();
    }
    replication.give_up(node(1)).unwrap();
    assert_eq!(replication.outcome(), Outcome::Wanting { nodes: 1 });
    replication.commit(node(2), commitment(2, b"r")).unwrap();
    replication.give_up(node(2)).unwrap();
    assert_eq!(replication.wanted(), 2);
    assert_eq!(
        replication.give_up(node(2)),
        Err(ReplicationError::Done { node: node(2) })
    );
    assert_eq!(
        replication.commit(node(1), commitment(1, b"r")),
        Err(ReplicationError::Done { node: node(1) })
    );
    for n in [4, 5] {
        replication.assign(node(n)).unwrap();
    }
    for n in [3, 4, 5] {
        replication.commit(node(n), commitment(n, b"r")).unwrap();
    }
    for n in [3, 4, 5] {
        replication.reveal(node(n), [n; 32], b"r").unwrap();
    }
    assert_eq!(
        findings(&replication),
        [
            Finding::Missing,
            Finding::Withheld,
            Finding::Valid,
            Finding::Valid,
            Finding::Valid
        ]
    );
}

#[test]
fn one_node_has_one_voice_and_strangers_have_none() {
    let mut replication = Replication::new(TASK, Rules::PAIR).unwrap();
    replication.assign(node(1)).unwrap();
    assert_eq!(
        replication.assign(node(1)),
        Err(ReplicationError::AssignedAlready { node: node(1) })
    );
    let stranger = Err(ReplicationError::NotAssigned { node: node(9) });
    assert_eq!(replication.commit(node(9), commitment(9, b"")), stranger);
    assert_eq!(replication.reveal(node(9), [9; 32], b""), stranger);
    assert_eq!(replication.give_up(node(9)), stranger);
}

#[test]
fn single_result_that_looks_wrong_can_still_be_compared() {
    let mut replication = Replication::new(TASK, Rules::SINGLE).unwrap();
    round(&mut replication, &[(1, b"wrong".into())]);
    assert!(matches!(replication.outcome(), Outcome::Agreed { .. }));
    replication.escalate(Rules::PAIR).unwrap();
    assert_eq!(replication.outcome(), Outcome::Wanting { nodes: 1 });
    round(&mut replication, &[(2, b"right".into())]);
    round(&mut replication, &[(3, b"right".into())]);
    assert_eq!(
        findings(&replication),
        [Finding::Invalid, Finding::Valid, Finding::Valid]
    );
}

#[test]
fn rules_under_which_two_groups_could_win_are_refused() {
    let rules = |quorum, replicas, replicas_max| {
        Rules {
            quorum,
            replicas,
            replicas_max,
            comparison: Comparison::Exact,
        }
        .validate()
    };
    assert_eq!(rules(2, 3, 3), Ok(()));
    assert_eq!(
        rules(2, 3, 4),
        Err(RulesError::NoMajority {
            quorum: 2,
            replicas_max: 4
        })
    );
    for (quorum, replicas, replicas_max) in [(0, 1, 1), (2, 1, 2), (2, 3, 2)] {
        assert_eq!(
            rules(quorum, replicas, replicas_max),
            Err(RulesError::Order {
                quorum,
                replicas,
                replicas_max
            })
        );
    }
    assert_eq!(
        rules(60, 60, 64),
        Err(RulesError::TooManyReplicas {
            actual: 64,
            limit: 63
        })
    );
    for (absolute, relative) in [(-1.0, 0.0), (f64::NAN, 0.0), (0.0, 1.0), (0.0, f64::NAN)] {
        let rules = Rules {
            comparison: numeric(absolute, relative),
            ..Rules::PAIR
        };
        assert_eq!(rules.validate(), Err(RulesError::Tolerance));
    }
}

#[test]
fn numbers_are_compared_within_the_tolerance() {
    let same =
        |comparison: Comparison, a: &[f64], b: &[f64]| comparison.matches(&numbers(a), &numbers(b));
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    assert!(same(numeric(0.1, 0.0), &[1.0, nan], &[1.05, nan]));
    assert!(!same(numeric(0.1, 0.0), &[1.0], &[1.2]));
    assert!(same(numeric(0.0, 0.01), &[1e9], &[1.009e9]));
    assert!(!same(numeric(0.0, 0.01), &[1e9], &[1.02e9]));
    assert!(same(numeric(0.0, 0.0), &[infinite, 0.0], &[infinite, -0.0]));
    assert!(!same(numeric(9.0, 0.9), &[infinite], &[-infinite]));
    assert!(!same(numeric(9.0, 0.9), &[nan], &[1.0]));
    assert!(!same(numeric(9.0, 0.9), &[1.0], &[1.0, 1.0]));
    let singles = Comparison::Numeric {
        element: Element::F32,
        tolerance: Tolerance {
            absolute: 0.5,
            relative: 0.0,
        },
    };
    assert!(singles.matches(&1.0_f32.to_le_bytes(), &1.25_f32.to_le_bytes()));
    // Bytes that are no whole numbers are compared as bytes.
    assert!(!singles.matches(b"abc", b"abd"));
    assert!(singles.matches(b"abc", b"abc"));
}

#[test]
fn who_is_near_some_winners_is_neither_paid_nor_punished() {
    let rules = Rules {
        quorum: 3,
        replicas: 4,
        replicas_max: 5,
        comparison: numeric(1.0, 0.0),
    };
    let mut replication = Replication::new(TASK, rules).unwrap();
    let results = [(1, 0.0), (2, 0.9), (3, 1.8), (4, 9.0)];
    let results = results.map(|(n, value)| (n, numbers(&[value])));
    round(&mut replication, &results);
    // The second is within the tolerance of both others, who are not of each other.
    let result = ContentId::of(&numbers(&[0.9]));
    assert_eq!(replication.outcome(), Outcome::Agreed { result });
    assert_eq!(
        findings(&replication),
        [
            Finding::Valid,
            Finding::Valid,
            Finding::Valid,
            Finding::Invalid
        ]
    );

    let mut replication = Replication::new(TASK, rules).unwrap();
    let results = [(1, 0.0), (2, 0.9), (3, 1.8), (4, 2.7)];
    let results = results.map(|(n, value)| (n, numbers(&[value])));
    round(&mut replication, &results);
    // Two stand for three each; the first by id is taken, and the last is near the other only.
    assert_eq!(replication.outcome(), Outcome::Agreed { result });
    assert_eq!(findings(&replication)[3], Finding::Inconclusive);
    assert_eq!(Finding::Inconclusive.offence(), None);
}

#[test]
fn results_within_a_tolerance_are_decided_whatever_their_order() {
    let rules = Rules {
        quorum: 2,
        replicas: 3,
        replicas_max: 3,
        comparison: numeric(1.0, 0.0),
    };
    let values = [(1, 0.0), (2, 0.9), (3, 1.8)].map(|(n, value)| (n, numbers(&[value])));
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut replication = Replication::new(TASK, rules).unwrap();
        round(&mut replication, &order.map(|at| values[at].clone()));
        let result = ContentId::of(&values[1].1);
        assert_eq!(replication.outcome(), Outcome::Agreed { result });
    }
}

#[test]
fn comparison_does_not_change_when_results_may_be_gone() {
    let mut replication = Replication::new(TASK, Rules::SINGLE).unwrap();
    round(&mut replication, &[(1, b"12345678".into())]);
    let other = Rules {
        comparison: numeric(1.0, 0.0),
        ..Rules::PAIR
    };
    assert_eq!(
        replication.escalate(other),
        Err(RulesError::ComparisonChanged)
    );
}

#[test]
fn liar_loses_its_trust_at_once_and_absence_does_not_cost_it() {
    let mut trust = Trust::default();
    for _ in 0..10 {
        trust.record(Finding::Valid);
    }
    trust.record(Finding::Missing);
    trust.record(Finding::Inconclusive);
    assert_eq!(trust.consecutive_valid, 10);
    for lie in Finding::ALL.into_iter().filter(|finding| finding.is_lie()) {
        let mut liar = trust;
        liar.record(lie);
        assert_eq!(liar, Trust::default());
    }
}

#[test]
fn untrusted_nodes_are_always_compared_and_trusted_ones_as_often_as_the_rule_says() {
    let adaptive = Adaptive {
        spot_check_permille: 0,
        ..Adaptive::default()
    };
    for consecutive_valid in 0..10 {
        assert!(adaptive.compares(Trust { consecutive_valid }, &mut OsEntropy));
    }
    let trust = Trust {
        consecutive_valid: 20,
    };
    let draws = |adaptive: Adaptive| {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let compared = (0..20_000).filter(|_| adaptive.compares(trust, &mut rng));
        compared.count()
    };
    // One in 20 of 20,000: the seed is fixed, and the bounds are five standard deviations.
    let compared = draws(adaptive);
    assert!((846..=1_154).contains(&compared), "{compared}");
    let spot_checked = draws(Adaptive {
        spot_check_permille: 500,
        ..adaptive
    });
    assert!((10_150..=10_850).contains(&spot_checked), "{spot_checked}");
    let rules = adaptive.rules(Trust::default(), Rules::PAIR, &mut OsEntropy);
    assert_eq!(rules, Rules::PAIR);
}

#[test]
fn every_finding_round_trips_and_damage_is_noticed() {
    let evidence = Evidence {
        task: TASK,
        node: node(1),
        time: TIME,
        finding: Finding::Invalid,
        commitment: Some(commitment(1, b"lie")),
        second: None,
        nonce: Some([1; 32]),
        revealed: Some(ContentId::of(b"lie")),
        agreed: Some(ContentId::of(b"truth")),
        agreeing: vec![node(2), node(3)],
    };
    for finding in Finding::ALL {
        let evidence = Evidence {
            finding,
            ..evidence.clone()
        };
        assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence));
    }
    assert!(evidence.holds());
    let invented = Evidence {
        revealed: Some(ContentId::of(b"never said")),
        ..evidence.clone()
    };
    assert!(!invented.holds());
    assert_ne!(invented.digest(), evidence.digest());
    let no_lie = Evidence {
        agreed: evidence.revealed,
        ..evidence
    };
    assert!(!no_lie.holds());
}

proptest! {
    /// Liars are fewer than a quorum, agree on one lie, and come in any order, silent or not.
    #[test]
    fn colluding_minority_never_wins(
        quorum in 1_u32..8,
        spare in 0_u32..8,
        liars in proptest::collection::vec(any::<bool>(), 16),
        silent in proptest::collection::vec(0_u8..3, 16),
    ) {
        let replicas_max = (quorum + spare).min(2 * quorum - 1);
        let rules = Rules { quorum, replicas: quorum, replicas_max, comparison: Comparison::Exact };
        let mut replication = Replication::new(TASK, rules).unwrap();
        let (truth, lie) = (b"truth".to_vec(), b"lie".to_vec());
        let mut lies = 0;
        let mut next = 0_u8;
        while let Outcome::Wanting { nodes } = replication.outcome() {
            let mut said = Vec::new();
            for _ in 0..nodes {
                let n = next;
                next += 1;
                replication.assign(node(n)).unwrap();
                let lying = liars[usize::from(n)] && lies + 1 < quorum;
                lies += u32::from(lying);
                if silent[usize::from(n)] == 0 && !lying {
                    replication.give_up(node(n)).unwrap();
                    continue;
                }
                said.push((n, if lying { lie.clone() } else { truth.clone() }));
            }
            for (n, result) in &said {
                replication.commit(node(*n), commitment(*n, result)).unwrap();
            }
            for (n, result) in &said {
                replication.reveal(node(*n), [*n; 32], result).unwrap();
            }
        }
        let outcome = replication.outcome();
        prop_assert!(
            outcome == Outcome::Undecided
                || outcome == Outcome::Agreed { result: ContentId::of(&truth) },
            "{outcome:?}"
        );
        for evidence in replication.verdicts(TIME) {
            prop_assert!(evidence.holds());
            let mut trust = Trust { consecutive_valid: 50 };
            trust.record(evidence.finding);
            let lied = evidence.revealed == Some(ContentId::of(&lie));
            // Whoever told the truth keeps its trust; a liar keeps it only where nothing won.
            prop_assert_eq!(trust.consecutive_valid == 0, lied);
            prop_assert_eq!(evidence.finding == Finding::Invalid, lied);
        }
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(
        bytes in proptest::collection::vec(0_u8..9, 0..200),
    ) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        if let Ok(evidence) = Evidence::decode(&bytes) {
            prop_assert_eq!(evidence.encode(), bytes);
            let _ = evidence.holds();
        }
    }
}
