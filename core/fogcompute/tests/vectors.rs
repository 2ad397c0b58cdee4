//! Rust's own run of the vectors that every language's tests share.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fogcompute::base::{Digest, UnixMillis};
use fogcompute::schedule::{Job, Node};
use fogcompute::{
    AccountKind, DeviceState, Economy, Error, ErrorCode, Fog, FogConfig, Hop, Ledger, Limits,
    NodeId, Nsga2, OwnerKey, Placing, Plan, PrivateKey, Problem, Processed, PublicKey, Sphinx,
    TaskSpec, TransferId, Variable, batch_message, decode_batch,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[path = "vectors/generate.rs"]
mod generate;

use generate::{hex, unhex};

fn shared() -> Value {
    let text = std::fs::read_to_string(generate::PATH).expect("run the example make_vectors");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// The value after it was written and read, as those of the file were.
fn reread(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let list = value[field].as_array();
    list.unwrap_or_else(|| panic!("{field} is no list in {value:.80}"))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    let text = value[field].as_str();
    text.unwrap_or_else(|| panic!("{field} is no text in {value:.80}"))
}

fn number(value: &Value, field: &str) -> u64 {
    let number = value[field].as_u64();
    number.unwrap_or_else(|| panic!("{field} is no number in {value:.80}"))
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap()
}

fn bytes(value: &Value, field: &str) -> Vec<u8> {
    unhex(text(value, field)).unwrap()
}

fn array<const N: usize>(value: &Value, field: &str) -> [u8; N] {
    bytes(value, field).try_into().unwrap()
}

fn fails<T>(result: Result<T, Error>, case: &Value) {
    let Err(error) = result else {
        panic!("should fail: {case}");
    };
    assert_eq!(error.code().name(), text(case, "error"), "{case}");
}

#[test]
fn the_file_says_what_the_library_gives() {
    let shared = shared();
    let made = generate::vectors(Some(&shared)).unwrap();
    for (area, made) in made.as_object().unwrap() {
        assert_eq!(
            reread(made),
            shared[area],
            "{area} is stale, run the example make_vectors"
        );
    }
    assert_eq!(
        made.as_object().unwrap().len(),
        shared.as_object().unwrap().len()
    );
}

#[test]
fn error_codes_are_the_librarys() {
    let listed: Vec<(String, u64)> = list(&shared(), "error_codes")
        .iter()
        .map(|code| (text(code, "name").to_owned(), number(code, "code")))
        .collect();
    let ours: Vec<(String, u64)> = ErrorCode::ALL
        .iter()
        .map(|code| (code.name().to_owned(), u64::from(*code as u32)))
        .collect();
    assert_eq!(listed, ours);
}

#[test]
fn what_another_language_signed_is_read_and_executed() {
    let area = &shared()["governance"];
    let account = text(area, "account").parse().unwrap();
    let key = OwnerKey::from_bytes(array(area, "key"));
    let ledger = Ledger::in_memory().unwrap();
    ledger
        .set_time(Some(UnixMillis(number(area, "expires_unix_ms") - 1)))
        .unwrap();
    let id = |n| TransferId::from_bytes([n; 16]);
    ledger
        .economy()
        .configure(id(1), Economy::default())
        .unwrap();
    ledger.open_account(account, AccountKind::Holder).unwrap();
    ledger.own(id(2), account, key).unwrap();
    for (index, step) in list(area, "signed").iter().enumerate() {
        let batch = decode_batch(&bytes(step, "batch")).unwrap();
        assert_eq!(
            (batch.account, batch.nonce),
            (account, number(step, "nonce"))
        );
        assert!(batch.is_signed_by(&key));
        assert_eq!(hex(&batch_message(&batch)), text(step, "message"));
        // The signature is good; who is not enrolled has nothing to say.
        let error = ledger.execute_signed(&batch).unwrap_err();
        let expected = match index {
            0 => ErrorCode::BelowThreshold,
            _ => ErrorCode::NonceSkipped,
        };
        assert_eq!(error.code(), expected);
    }
}

fn route(value: &Value) -> Vec<Hop> {
    let hops = list(value, "route").iter();
    hops.map(|hop| {
        Hop::new(
            NodeId::from_bytes(array(hop, "node")),
            PublicKey::from_bytes(array(hop, "key")),
            Duration::from_millis(number(hop, "delay_ms")),
        )
    })
    .collect()
}

fn private_keys(area: &Value) -> Vec<PrivateKey> {
    let keys = list(area, "private_keys").iter();
    keys.map(|key| {
        let bytes = unhex(key.as_str().unwrap()).unwrap();
        PrivateKey::from_bytes(bytes.try_into().unwrap())
    })
    .collect()
}

/// Follows a packet through all hops of `area`. Tags are compared for its own packet only.
fn follow(sphinx: &Sphinx, area: &Value, packet: Vec<u8>, is_own: bool) {
    let mut packet = packet;
    let hops = list(area, "hops");
    let keys = private_keys(area);
    assert_eq!(keys.len(), hops.len());
    for (key, hop) in keys.iter().zip(hops) {
        let unwrapped = sphinx.process(key, &packet).unwrap();
        if is_own {
            assert_eq!(
                hex(unwrapped.replay_tag.as_bytes()),
                text(hop, "replay_tag")
            );
        }
        match unwrapped.outcome {
            Processed::Forward {
                next,
                delay,
                packet: inner,
            } => {
                assert_eq!("forward", text(hop, "kind"));
                assert_eq!(next.to_string(), text(hop, "next"));
                assert_eq!(delay, Duration::from_millis(number(hop, "delay_ms")));
                packet = inner.into_bytes();
                if is_own {
                    assert_eq!(hex(&packet), text(hop, "packet"));
                    assert_eq!(Digest::of(&packet).to_string(), text(hop, "packet_digest"));
                }
            }
            Processed::Deliver { payload } => {
                assert_eq!("deliver", text(hop, "kind"));
                assert_eq!(hex(&payload), text(hop, "payload"));
            }
            Processed::Reply { surb, .. } => {
                assert_eq!("reply", text(hop, "kind"));
                assert_eq!(hex(surb.as_bytes()), text(hop, "surb"));
            }
        }
    }
}

#[test]
fn sphinx_packets_open_hop_by_hop() {
    let shared = shared();
    for area in [&shared["sphinx"]]
        .into_iter()
        .chain(list(&shared, "sphinx_more"))
    {
        let sphinx = Sphinx::new(number(area, "payload_bytes") as usize).unwrap();
        assert_eq!(sphinx.packet_bytes() as u64, number(area, "packet_bytes"));
        for (key, public) in private_keys(area).iter().zip(list(area, "public_keys")) {
            assert_eq!(hex(key.public().as_bytes()), public.as_str().unwrap());
        }
        follow(&sphinx, area, bytes(area, "packet"), true);
        let built = sphinx.build(&route(area), &bytes(area, "payload")).unwrap();
        follow(&sphinx, area, built, false);
        for case in list(area, "refused") {
            let key = PrivateKey::from_bytes(array(case, "private_key"));
            fails(sphinx.process(&key, &bytes(case, "packet")), case);
        }
        for case in list(area, "refused_routes") {
            fails(sphinx.build(&route(case), &bytes(case, "payload")), case);
        }
    }
    let reply = &shared["sphinx_reply"];
    let sphinx = Sphinx::new(number(reply, "payload_bytes") as usize).unwrap();
    follow(&sphinx, reply, bytes(reply, "packet"), true);
}

fn config(case: &Value) -> Nsga2 {
    Nsga2 {
        population: read(&case["population"]),
        generations: read(&case["generations"]),
        ..Nsga2::default()
    }
}

fn optimise<P>(problem: &mut P, case: &Value) -> Result<fogcompute::Front, Error>
where
    P: Problem<Error = std::convert::Infallible>,
{
    let Nsga2 {
        population,
        generations,
        ..
    } = config(case);
    generate::run_nsga2(problem, population, generations, number(case, "seed"))
}

fn schaffer(case: &Value) -> Result<fogcompute::Front, Error> {
    let (low, high) = (read(&case["low"]), read(&case["high"]));
    optimise(
        &mut generate::Schaffer([Variable::Real { low, high }]),
        case,
    )
}

fn same_front(front: &fogcompute::Front, case: &Value) {
    assert_eq!(front.individuals.len() as u64, number(case, "front_size"));
    assert_eq!(front.evaluations, number(case, "evaluations"));
    let individuals = front.individuals.iter();
    let individuals: Vec<Value> = individuals
        .map(|found| json!({"genes": found.genes, "objectives": found.objectives}))
        .collect();
    assert_eq!(reread(&individuals.into()), case["individuals"]);
}

#[test]
fn nsga2_finds_the_same_fronts() {
    let shared = shared();
    same_front(&schaffer(&shared["nsga2"]).unwrap(), &shared["nsga2"]);
    for case in list(&shared["nsga2"], "refused") {
        fails(schaffer(case), case);
    }
    for case in list(&shared, "nsga2_more") {
        assert_eq!(
            read::<Vec<Variable>>(&case["variables"]),
            generate::Mixed::VARIABLES
        );
        same_front(&optimise(&mut generate::Mixed, case).unwrap(), case);
    }
}

fn placing(case: &Value) -> Placing {
    Placing {
        sharing: read(&case["sharing"]),
        strategy: read(&case["strategy"]),
        search: config(case),
        preference: read(&case["preference"]),
        seed: number(case, "seed"),
    }
}

fn same_plan(plan: &Plan, case: &Value) {
    assert_eq!(plan.front().len() as u64, number(case, "front_size"));
    assert_eq!(plan.chosen_index() as u64, number(case, "chosen_index"));
    assert_eq!(plan.explain().to_string(), text(case, "explanation"));
    let chosen = plan.chosen();
    assert_eq!(chosen.cost.to_string(), text(&case["chosen"], "cost"));
    assert_eq!(chosen.price.to_string(), text(&case["chosen"], "price"));
    assert_eq!(
        reread(&json!(chosen.assignment)),
        case["chosen"]["assignment"]
    );
    assert_eq!(
        reread(&json!(chosen.objectives)),
        case["chosen"]["objectives"]
    );
}

#[test]
fn placement_chooses_the_same_plans() {
    let shared = shared();
    let usual = &shared["place"];
    let place = |case: &Value, jobs: &Value| placing(case).place(read(jobs), read(&case["nodes"]));
    let infeasible = &usual["infeasible"];
    fails(place(usual, &infeasible["jobs"]), infeasible);
    for case in [usual].into_iter().chain(list(&shared, "place_more")) {
        let plan = place(case, &case["jobs"]);
        if case.get("error").is_some() {
            fails(plan, case);
        } else {
            same_plan(&plan.unwrap(), case);
        }
    }
}

#[test]
fn placement_leaves_out_the_same_jobs() {
    let shared = shared();
    let kind = |value: &Value| match value {
        Value::String(name) => name.clone(),
        named => named.as_object().unwrap().keys().next().unwrap().clone(),
    };
    let (mut reasons, mut rules) = (BTreeSet::new(), BTreeSet::new());
    for case in list(&shared, "place_what_fits") {
        let (jobs, nodes): (Vec<Job>, Vec<Node>) = (read(&case["jobs"]), read(&case["nodes"]));
        let partial = placing(case).place_what_fits(&jobs, &nodes);
        if case.get("error").is_some() {
            fails(partial, case);
            continue;
        }
        let partial = partial.unwrap();
        assert_eq!(partial.plan.is_some(), case.get("chosen").is_some());
        if let Some(plan) = &partial.plan {
            same_plan(plan, case);
        }
        assert_eq!(partial.left_out.len(), list(case, "left_out").len());
        for ((job, reason), expected) in partial.left_out.iter().zip(list(case, "left_out")) {
            assert_eq!(job.to_string(), text(expected, "job"));
            assert_eq!(reason.to_string(), text(expected, "text"));
            assert_eq!(reread(&json!(reason)), expected["reason"]);
            reasons.insert(kind(&expected["reason"]));
            if let Some(named) = expected["reason"].pointer("/crowded/rules") {
                rules.extend(named.as_array().unwrap().iter().map(kind));
            }
        }
    }
    let all = [
        "crowded",
        "late",
        "no_common_node",
        "no_node",
        "no_room",
        "with",
    ];
    assert!(reasons.iter().eq(all), "{reasons:?}");
    // What nodes have too little of makes nobody crowded: that is a reason of its own.
    let all = ["anti_affinity", "replicas", "spread"];
    assert!(rules.iter().eq(all), "{rules:?}");
}

#[test]
fn the_ledger_takes_the_same_steps() {
    let area = &shared()["ledger"];
    let ledger = Ledger::in_memory().unwrap();
    for step in list(area, "steps") {
        let result = generate::step(&ledger, step);
        if step.get("error").is_some() {
            fails(result, step);
        } else {
            let receipt = result.unwrap();
            assert_eq!(json!(receipt.replayed), step["replayed"], "{step}");
            assert_eq!(receipt.entry.sequence, number(step, "sequence"), "{step}");
        }
    }
    for (account, balance) in area["balances"].as_object().unwrap() {
        assert_eq!(
            ledger
                .balance(account.parse().unwrap())
                .unwrap()
                .to_string(),
            *balance
        );
    }
    for expected in list(area, "accounts") {
        let account = ledger
            .account(text(expected, "account").parse().unwrap())
            .unwrap();
        assert_eq!(
            account.kind == AccountKind::Issuer,
            text(expected, "kind") == "issuer"
        );
        for (name, amount) in [
            ("available", ledger.available(account.id).unwrap()),
            ("available", account.available()),
            ("credits_posted", account.credits_posted),
            ("debits_posted", account.debits_posted),
            ("credits_pending", account.credits_pending),
            ("debits_pending", account.debits_pending),
        ] {
            assert_eq!(amount.to_string(), text(expected, name), "{name}");
        }
    }
    let unknown = &area["unknown_account"];
    fails(
        ledger.balance(text(unknown, "account").parse().unwrap()),
        unknown,
    );
    let verified = ledger.verify().unwrap();
    assert_eq!(verified.head.sequence, number(&area["verify"], "entries"));
    assert_eq!(
        verified.accounts as u64,
        number(&area["verify"], "accounts")
    );
    assert_eq!(
        verified.open_reservations as u64,
        number(&area["verify"], "open_reservations")
    );
}

#[test]
fn policies_decide_alike() {
    for case in list(&shared(), "harvest") {
        let state: DeviceState = read(&case["state"]);
        let decision = generate::policy(text(case, "policy"))
            .and_then(|policy| fogcompute::decide(&policy, &state));
        if case.get("error").is_some() {
            fails(decision, case);
            continue;
        }
        let decision = decision.unwrap();
        let reasons = || decision.reasons.iter();
        let each = |value: Vec<Value>| Value::from(value);
        assert_eq!(json!(decision.verdict), case["verdict"]);
        assert_eq!(
            each(reasons().map(|reason| reason.code().into()).collect()),
            case["reasons"]
        );
        assert_eq!(
            each(reasons().map(|r| r.to_string().into()).collect()),
            case["texts"]
        );
        assert_eq!(
            each(reasons().map(|r| r.is_objection().into()).collect()),
            case["objections"]
        );
        assert_eq!(reread(&json!(decision.budget)), case["budget"]);
    }
}

#[test]
fn tasks_end_alike() {
    let fog = Fog::new(FogConfig {
        workers: 1,
        ..FogConfig::default()
    })
    .unwrap();
    for case in list(&shared(), "wasm") {
        let limits = Limits {
            fuel: number(case, "fuel"),
            memory_bytes: number(case, "memory_bytes"),
            output_bytes: number(case, "output_bytes"),
            ..Limits::default()
        };
        let module = generate::module(text(case, "module")).unwrap();
        let spec = TaskSpec::new(module, bytes(case, "input"), limits).map_err(Error::from);
        let done = spec.and_then(|spec| Ok(fog.run(spec)?));
        if case.get("error").is_some() {
            fails(done, case);
            continue;
        }
        let done = done.unwrap();
        assert_eq!(hex(&done.output), text(case, "output"));
        assert_eq!(done.usage.fuel, number(case, "fuel_used"));
        assert_eq!(
            done.usage.memory_bytes_peak,
            number(case, "memory_bytes_peak")
        );
    }
}
