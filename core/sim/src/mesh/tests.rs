use super::*;
use fogcompute_mesh::courier::ProphetConfig;

const HOUR_QUARTER: Duration = Duration::from_secs(900);

/// From the one that costs least to the one that reaches most.
fn strategies() -> [CourierStrategy; 4] {
    [
        CourierStrategy::Direct,
        CourierStrategy::default(),
        CourierStrategy::Prophet(ProphetConfig::default()),
        CourierStrategy::Epidemic,
    ]
}

/// What is said of couriers in the literature, as an order: nothing is said about the numbers.
fn assert_order(runs: &[MeshFigures; 4], what: &str) {
    let delivered = runs.each_ref().map(MeshFigures::delivered);
    let [direct, spray, prophet, epidemic] = delivered;
    assert!(
        direct < spray && spray < prophet && prophet <= epidemic,
        "{what}: delivered {delivered:?}"
    );
    let transfers = runs.each_ref().map(|run| run.transfers);
    assert!(
        transfers.is_sorted_by(|less, more| less < more),
        "{what}: transfers {transfers:?}"
    );
}

#[test]
fn strategies_reach_and_cost_in_the_known_order() {
    for seed in 0..4 {
        let runs = strategies().map(|strategy| MeshPlan::new(seed, 100, strategy).run_rules());
        assert_order(&runs, &format!("seed {seed}"));
    }
}

/// With fewer phones PRoPHET may cost less than spray and wait, whose receivers cannot say that they have a message.
#[test]
fn nodes_reach_and_cost_in_the_known_order() {
    let runs = strategies().map(|strategy| {
        let plan = MeshPlan {
            first: HOUR,
            last: HOUR * 3 / 2,
            span: HOUR * 4,
            ..MeshPlan::new(0, 32, strategy)
        };
        let run = plan.run_phones();
        let run = run.unwrap_or_else(|error| panic!("seed 0: {error}"));
        assert_eq!(run.sent, 64);
        run
    });
    assert_order(&runs, "seed 0");
}

/// Carriers that came together each gave what they had to whoever came, to each other too, and to the receiver; each
/// late copy of a message made another receipt; and full bags took again what they had dropped. Together a message was
/// given twenty times to each phone.
#[test]
fn an_epidemic_gives_a_message_and_its_receipt_to_each_phone_about_once() {
    let plan = MeshPlan {
        first: HOUR,
        last: HOUR * 3 / 2,
        span: HOUR * 4,
        ..MeshPlan::new(1, 20, CourierStrategy::Epidemic)
    };
    let run = plan.run_phones();
    let run = run.unwrap_or_else(|error| panic!("seed 1: {error}"));
    assert_eq!((run.delivered(), run.acknowledged), (40, 40));
    // Nobody needs what it wrote. A sender gives to who was just offered the same by somebody else.
    let once = 2 * 19 * run.sent;
    assert!(
        run.transfers <= once + once / 10,
        "{} for {once}",
        run.transfers
    );
}

/// Twelve phones in a park, between whose halves a wall rises while messages are sent.
fn parted(seed: u64, wall: Option<Wall>) -> MeshPlan {
    MeshPlan {
        side_m: 100.0,
        mobility: Mobility::waypoints(),
        messages: 30,
        first: HOUR_QUARTER / 3,
        last: HOUR_QUARTER * 4 / 3,
        span: HOUR_QUARTER * 3,
        wall,
        ..MeshPlan::new(seed, 12, CourierStrategy::default())
    }
}

#[test]
fn what_is_acknowledged_has_arrived_and_what_was_parted_arrives_when_it_heals() {
    let wall = Wall {
        from: HOUR_QUARTER / 3,
        until: HOUR_QUARTER * 3 / 2,
    };
    for seed in 0..3 {
        // That nothing is acknowledged before it arrived, or shown twice, is looked for at every event.
        let run = parted(seed, Some(wall)).run_phones();
        let run = run.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!((run.sent, run.delivered(), run.acknowledged), (30, 30, 30));
        let open = parted(seed, None).run_phones();
        let open = open.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // The wall did hold messages up.
        assert_eq!(open.delivered(), 30);
        assert!(open.delay(60) < run.delay(60), "seed {seed}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let rules = |seed| {
        let plan = MeshPlan::new(seed, 60, CourierStrategy::default());
        plan.run_rules().fingerprint.digest()
    };
    assert_eq!(rules(1), rules(1));
    assert_ne!(rules(1), rules(2));
    let phones = |seed| {
        let plan = MeshPlan {
            span: HOUR_QUARTER,
            ..parted(seed, None)
        };
        let run = plan.run_phones();
        run.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
            .fingerprint
            .digest()
    };
    assert_eq!(phones(1), phones(1));
    assert_ne!(phones(1), phones(2));
}

#[test]
fn a_phone_alone_sends_nothing() {
    let alone = MeshPlan::new(1, 1, CourierStrategy::Epidemic);
    assert_eq!(alone.run_rules().sent, 0);
    assert_eq!(alone.run_phones().map(|run| run.sent), Ok(0));
}
