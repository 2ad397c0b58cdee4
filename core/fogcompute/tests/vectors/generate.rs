//! Makes the shared vectors out of what the library gives.
//!
//! Every expectation is computed, none is written by hand. Whether it is right is for the tests of
//! the crates to say; the vectors say that it is the same in every language.

use std::error::Error as StdError;
use std::time::Duration;

use fogcompute::base::{Digest, Instant, OsEntropy, Priority, UnixMillis};
use fogcompute::mix::{Geometry, HOPS_MAX, Surb};
use fogcompute::schedule::{Job, Node, Spread};
use fogcompute::{
    AccountId, AccountKind, Amount, Battery, DeviceClass, DeviceState, Domain, EconomyRequest,
    Error, ErrorCode, Fog, FogConfig, Genome, GovernanceRequest, HarvestPolicy, Hop, Ledger,
    Limits, Network, NodeId, Nsga2, OneByOne, Operation, PartialPlan, Placing, Plan, Preemption,
    Preference, PrivateKey, Problem, Processed, PublicKey, Receipt, SearchConfig, SearchFailure,
    Sharing, Sphinx, Strategy, TaskId, TaskSpec, Tier, TransferId, Variable, batch_message,
    owner_key, proposal_from_json, sign_batch,
};
use serde_json::{Map, Value, json};

/// Where the vectors are kept.
pub(crate) const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../bindings/vectors/shared.json"
);

/// Anything that stops the generator, which has no caller to tell them apart.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// All vectors. Packets of `existing` are kept where they still open.
pub(crate) fn vectors(existing: Option<&Value>) -> Result<Value> {
    let codes: Vec<Value> = ErrorCode::ALL
        .iter()
        .map(|code| json!({"name": code.name(), "code": *code as u32}))
        .collect();
    let kept = |area: &str| existing.and_then(|all| all[area]["packet"].as_str());
    let kept_more = existing.and_then(|all| all["sphinx_more"][0]["packet"].as_str());
    Ok(json!({
        "version": fogcompute::version(),
        "error_codes": codes,
        "sphinx": sphinx(2048, 3, b"the shared vectors of fogcompute", kept("sphinx"))?,
        "sphinx_more": [sphinx(1024, 1, &[0xa5; 1024], kept_more)?],
        "sphinx_reply": sphinx_reply(kept("sphinx_reply"))?,
        "nsga2": nsga2()?,
        "nsga2_more": nsga2_mixed()?,
        "place": place()?,
        "place_more": place_more()?,
        "place_what_fits": place_what_fits()?,
        "tiers": tiers(),
        "ledger": ledger()?,
        "governance": governance()?,
        "harvest": harvest()?,
        "wasm": wasm()?,
    }))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Result<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(format!("{text:?} is not hexadecimal").into());
    }
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?))
        .collect()
}

fn millis(duration: Duration) -> Result<u64> {
    Ok(u64::try_from(duration.as_millis())?)
}

// --- Sphinx -------------------------------------------------------------------------------------

fn private_key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes(*Digest::of(&[b'k', number]).as_bytes())
}

fn hop(number: u8) -> Hop {
    let node = NodeId::from_bytes([0x10 + number; 32]);
    Hop::new(
        node,
        private_key(number).public(),
        Duration::from_millis(u64::from(number) * 5 + 5),
    )
}

fn hop_json(hop: &Hop) -> Result<Value> {
    Ok(json!({
        "node": hop.node,
        "key": hex(hop.key.as_bytes()),
        "delay_ms": millis(hop.delay)?,
    }))
}

fn route_json(route: &[Hop]) -> Result<Value> {
    route.iter().map(hop_json).collect()
}

/// What each key in turn finds in a packet, up to the hop that does not forward it.
fn hops(sphinx: &Sphinx, packet: &[u8], keys: &[PrivateKey]) -> Result<Vec<Value>> {
    let mut packet = packet.to_vec();
    let mut hops = Vec::new();
    for key in keys {
        let unwrapped = sphinx.process(key, &packet)?;
        let tag = hex(unwrapped.replay_tag.as_bytes());
        hops.push(match unwrapped.outcome {
            Processed::Forward {
                next,
                delay,
                packet: inner,
            } => {
                packet = inner.into_bytes();
                json!({
                    "kind": "forward",
                    "next": next.to_string(),
                    "delay_ms": millis(delay)?,
                    "replay_tag": tag,
                    "packet": hex(&packet),
                    "packet_digest": Digest::of(&packet),
                })
            }
            Processed::Deliver { payload } => {
                json!({"kind": "deliver", "payload": hex(&payload), "replay_tag": tag})
            }
            Processed::Reply { surb, .. } => {
                json!({"kind": "reply", "surb": hex(surb.as_bytes()), "replay_tag": tag})
            }
        });
    }
    Ok(hops)
}

/// The packet that is kept, if it still opens to the end, and how; else a new one.
fn keep_or(
    sphinx: &Sphinx,
    keys: &[PrivateKey],
    kept: Option<&str>,
    last: impl Fn(&Value) -> bool,
    make: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<(Vec<u8>, Vec<Value>)> {
    if let Some(packet) = kept.and_then(|text| unhex(text).ok())
        && let Ok(hops) = hops(sphinx, &packet, keys)
        && hops.len() == keys.len()
        && hops.last().is_some_and(last)
    {
        return Ok((packet, hops));
    }
    let packet = make()?;
    let hops = hops(sphinx, &packet, keys)?;
    Ok((packet, hops))
}

fn sphinx(payload_bytes: usize, length: u8, payload: &[u8], kept: Option<&str>) -> Result<Value> {
    let sphinx = Sphinx::new(payload_bytes)?;
    let keys: Vec<PrivateKey> = (0..length).map(private_key).collect();
    let route: Vec<Hop> = (0..length).map(hop).collect();
    let delivered = |last: &Value| last["payload"] == hex(payload).as_str();
    let (packet, hops) = keep_or(&sphinx, &keys, kept, delivered, || {
        Ok(sphinx.build(&route, payload)?)
    })?;
    let keys_json: Vec<String> = keys.iter().map(|key| hex(&key.to_bytes())).collect();
    Ok(json!({
        "payload_bytes": sphinx.payload_bytes(),
        "packet_bytes": sphinx.packet_bytes(),
        "private_keys": keys_json,
        "public_keys": route.iter().map(|hop| hex(hop.key.as_bytes())).collect::<Vec<_>>(),
        "route": route_json(&route)?,
        "payload": hex(payload),
        "packet": hex(&packet),
        "hops": hops,
        "refused": refused_packets(&sphinx, &packet, &keys)?,
        "refused_routes": refused_routes(&sphinx)?,
    }))
}

fn refused_packets(sphinx: &Sphinx, packet: &[u8], keys: &[PrivateKey]) -> Result<Vec<Value>> {
    let changed = |at: usize| {
        let mut packet = packet.to_vec();
        packet[at] ^= 1;
        packet
    };
    let mut weak = packet.to_vec();
    weak[2..34].fill(0);
    let mac_at = Geometry::new(HOPS_MAX, sphinx.payload_bytes())?.header_bytes() - 16;
    let stranger = private_key(200);
    let mut cases = vec![
        ("no bytes", Vec::new(), &keys[0]),
        ("a byte short", packet[1..].to_vec(), &keys[0]),
        ("a byte long", [packet, &[0]].concat(), &keys[0]),
        ("a point of small order", weak, &keys[0]),
        ("another version", changed(0), &keys[0]),
        ("another epoch", changed(1), &keys[0]),
        ("another point", changed(2), &keys[0]),
        ("another tag", changed(mac_at), &keys[0]),
        ("another header", changed(100), &keys[0]),
        ("another key", packet.to_vec(), &stranger),
    ];
    if let [only] = keys {
        cases.push(("another payload", changed(packet.len() - 1), only));
    }
    let mut refused = Vec::new();
    for (what, packet, key) in cases {
        let error = sphinx.process(key, &packet).err().ok_or(what)?;
        refused.push(json!({
            "what": what,
            "packet": hex(&packet),
            "private_key": hex(&key.to_bytes()),
            "error": error.code().name(),
        }));
    }
    Ok(refused)
}

fn refused_routes(sphinx: &Sphinx) -> Result<Vec<Value>> {
    let weak = Hop {
        key: PublicKey::from_bytes([0; 32]),
        ..hop(1)
    };
    let slow = Hop {
        delay: Duration::from_hours(2),
        ..hop(1)
    };
    let long = vec![0; sphinx.payload_bytes() + 1];
    let mut refused = Vec::new();
    for (what, route, payload) in [
        ("no hops", vec![], &b"hello"[..]),
        ("too many hops", (0..8).map(hop).collect(), b"hello"),
        ("one node twice", vec![hop(0), hop(1), hop(0)], b"hello"),
        ("a key of small order", vec![hop(0), weak], b"hello"),
        ("a delay too long", vec![hop(0), slow], b"hello"),
        ("a payload too long", vec![hop(0), hop(1)], &long),
    ] {
        let error = sphinx.build(&route, payload).err().ok_or(what)?;
        refused.push(json!({
            "what": what,
            "route": route_json(&route)?,
            "payload": hex(payload),
            "error": error.code().name(),
        }));
    }
    Ok(refused)
}

/// A packet that was sent by a reply block, which the facade alone does not build.
fn sphinx_reply(kept: Option<&str>) -> Result<Value> {
    let sphinx = Sphinx::default();
    let keys: Vec<PrivateKey> = (0..2).map(private_key).collect();
    let route: Vec<Hop> = (0..2).map(hop).collect();
    let replied = |last: &Value| last["kind"] == "reply";
    let (packet, hops) = keep_or(&sphinx, &keys, kept, replied, || {
        let (surb, _) = Surb::new(Geometry::DEFAULT, &route, &mut OsEntropy)?;
        let (_, packet) = surb.reply(b"an answer")?;
        Ok(packet.into_bytes())
    })?;
    let keys: Vec<String> = keys.iter().map(|key| hex(&key.to_bytes())).collect();
    Ok(json!({
        "payload_bytes": sphinx.payload_bytes(),
        "private_keys": keys,
        "packet": hex(&packet),
        "hops": hops,
    }))
}

// --- NSGA-II ------------------------------------------------------------------------------------

/// Schaffer's problem: x² against (x - 2)².
pub(crate) struct Schaffer(pub(crate) [Variable; 1]);

impl Problem for Schaffer {
    type Error = std::convert::Infallible;

    fn variables(&self) -> &[Variable] {
        &self.0
    }

    fn objective_count(&self) -> usize {
        2
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
    ) -> std::result::Result<f64, Self::Error> {
        let x = genes[0];
        objectives[0] = x * x;
        objectives[1] = (x - 2.0) * (x - 2.0);
        Ok(0.0)
    }
}

/// One variable of every kind and one constraint: `x + n + c` against
/// `(x - 3)² + (n - 2)² + (c - 3)²`, with x at least 1.
pub(crate) struct Mixed;

impl Mixed {
    pub(crate) const VARIABLES: [Variable; 3] = [
        Variable::Real {
            low: 0.0,
            high: 5.0,
        },
        Variable::Integer { low: -3, high: 3 },
        Variable::Choice { count: 4 },
    ];
}

impl Problem for Mixed {
    type Error = std::convert::Infallible;

    fn variables(&self) -> &[Variable] {
        &Self::VARIABLES
    }

    fn objective_count(&self) -> usize {
        2
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
    ) -> std::result::Result<f64, Self::Error> {
        let (x, n, c) = (genes[0], genes[1], genes[2]);
        objectives[0] = x + n + c;
        objectives[1] = (x - 3.0) * (x - 3.0) + (n - 2.0) * (n - 2.0) + (c - 3.0) * (c - 3.0);
        Ok(if x < 1.0 { 1.0 - x } else { 0.0 })
    }
}

pub(crate) fn run_nsga2<P: Problem<Error = std::convert::Infallible>>(
    problem: &mut P,
    population: u32,
    generations: u32,
    seed: u64,
) -> std::result::Result<fogcompute::Front, Error> {
    let genome = Genome::Variables(problem.variables().to_vec());
    let mut config = SearchConfig::default();
    config.settings.population = population;
    config.settings.generations = generations;
    let mut problem = OneByOne::new(problem);
    fogcompute::minimize(&mut problem, &genome, &config, &[], seed).map_err(|failure| match failure
    {
        SearchFailure::Problem(never) => match never {},
        SearchFailure::Failed(error) => error,
        _ => unreachable!("no other failure exists"),
    })
}

fn front_json(front: &fogcompute::Front) -> Vec<Value> {
    let individuals = front.individuals.iter();
    individuals
        .map(|found| json!({"genes": found.genes, "objectives": found.objectives}))
        .collect()
}

fn nsga2() -> Result<Value> {
    let (low, high, population, generations, seed) = (-1000.0, 1000.0, 40, 80, 1);
    let mut problem = Schaffer([Variable::Real { low, high }]);
    let front = run_nsga2(&mut problem, population, generations, seed)?;
    let mut refused = Vec::new();
    for (low, high, population) in [
        (low, high, 0),
        (low, high, 3),
        (low, high, 41),
        (high, low, 40),
        (-f64::MAX, f64::MAX, 40),
    ] {
        let mut problem = Schaffer([Variable::Real { low, high }]);
        let error = run_nsga2(&mut problem, population, generations, seed).err();
        refused.push(json!({
            "problem": "schaffer",
            "low": low,
            "high": high,
            "population": population,
            "generations": generations,
            "seed": seed,
            "error": error.ok_or("a bad configuration was accepted")?.code().name(),
        }));
    }
    Ok(json!({
        "problem": "schaffer",
        "low": low,
        "high": high,
        "population": population,
        "generations": generations,
        "seed": seed,
        "front_size": front.individuals.len(),
        "evaluations": front.evaluations,
        "individuals": front_json(&front),
        "refused": refused,
    }))
}

fn nsga2_mixed() -> Result<Vec<Value>> {
    let mut cases = Vec::new();
    for (population, generations, seed) in [(20, 30, 5), (8, 0, 6)] {
        let front = run_nsga2(&mut Mixed, population, generations, seed)?;
        cases.push(json!({
            "problem": "mixed",
            "variables": Mixed::VARIABLES,
            "population": population,
            "generations": generations,
            "seed": seed,
            "front_size": front.individuals.len(),
            "evaluations": front.evaluations,
            "individuals": front_json(&front),
        }));
    }
    Ok(cases)
}

// --- Placement ----------------------------------------------------------------------------------

fn job(number: u8, priority: Priority) -> Job {
    Job {
        priority,
        min_trust: 0.25,
        ..Job::new(
            TaskId::from_bytes([number; 16]),
            500 + 100 * u64::from(number),
            64 << 20,
            1_000 + 250 * u64::from(number),
        )
    }
}

fn jobs() -> Vec<Job> {
    let mut jobs = vec![
        job(1, Priority::Critical),
        job(2, Priority::High),
        job(3, Priority::Normal),
        job(4, Priority::Low),
        job(5, Priority::Bulk),
        job(6, Priority::Normal),
    ];
    jobs[1].min_trust = 0.75;
    jobs[2].max_latency_ms = Some(30.0);
    jobs[3].excluded = vec![NodeId::from_bytes([0xa1; 32])];
    jobs[4].max_cost = Some(40);
    jobs
}

fn node(number: u8, speed: f64, latency_ms: f64, trust: f64, price: u64) -> Node {
    Node {
        cpu_millis_free: 3_000,
        speed,
        latency_ms,
        trust,
        price_per_cpu_second: price,
        ..Node::new(NodeId::from_bytes([0xa0 + number; 32]), 4_000, 2 << 30)
    }
}

fn nodes() -> Vec<Node> {
    vec![
        node(1, 2.0, 10.0, 0.875, 20),
        node(2, 1.0, 25.0, 0.9375, 12),
        node(3, 0.5, 80.0, 0.5, 4),
        node(4, 1.5, 5.0, 0.125, 1),
    ]
}

fn point_json(plan: &Plan) -> Value {
    let chosen = plan.chosen();
    json!({
        "assignment": chosen.assignment,
        "objectives": chosen.objectives,
        "cost": chosen.cost.to_string(),
        "price": chosen.price.to_string(),
    })
}

/// Jobs and nodes, and how they are placed.
struct Batch {
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    placing: Placing,
}

fn batch(jobs: Vec<Job>, sharing: Sharing, preference: Preference) -> Batch {
    let placing = Placing {
        search: Nsga2 {
            population: 20,
            generations: 20,
            ..Nsga2::default()
        },
        preference,
        seed: 8,
        ..Placing::new(sharing)
    };
    Batch {
        jobs,
        nodes: nodes(),
        placing,
    }
}

impl Batch {
    fn place(&self) -> std::result::Result<Plan, Error> {
        self.placing.place(self.jobs.clone(), self.nodes.clone())
    }

    /// What the vectors say of it.
    fn json(&self) -> Value {
        json!({
            "jobs": self.jobs,
            "nodes": self.nodes,
            "sharing": self.placing.sharing,
            "strategy": self.placing.strategy,
            "preference": self.placing.preference,
            "population": self.placing.search.population,
            "generations": self.placing.search.generations,
            "seed": self.placing.seed,
        })
    }
}

fn add_plan(case: &mut Value, plan: &Plan) {
    case["front_size"] = plan.front().len().into();
    case["chosen_index"] = plan.chosen_index().into();
    case["chosen"] = point_json(plan);
    case["explanation"] = plan.explain().to_string().into();
}

fn place() -> Result<Value> {
    let mut batch = batch(jobs(), Sharing::Queued, Preference::Knee);
    batch.placing.seed = 7;
    let mut case = batch.json();
    add_plan(&mut case, &batch.place()?);
    batch.jobs[0].min_trust = 1.0;
    let error = batch.place().err().ok_or("an impossible job was placed")?;
    case["infeasible"] = json!({"jobs": batch.jobs, "error": error.code().name()});
    Ok(case)
}

fn place_more() -> Result<Vec<Value>> {
    let all = jobs();
    let too_many = (1..=5).map(|number| Job {
        cpu_millis: 3_000,
        id: TaskId::from_bytes([number; 16]),
        ..job(1, Priority::Normal)
    });
    let queued = |jobs, preference| batch(jobs, Sharing::Queued, preference);
    let mut batches = vec![
        batch(all.clone(), Sharing::Concurrent, Preference::Knee),
        queued(all.clone(), Preference::Weights([0.0, 0.0, 0.0, 1.0, 0.0])),
        queued(all.clone(), Preference::Lexicographic([2, 0, 1, 3, 4])),
        queued(all.clone(), Preference::Weights([0.0; 5])),
        queued(all.clone(), Preference::Lexicographic([0, 0, 1, 2, 3])),
        queued(vec![], Preference::Knee),
        queued(vec![all[0].clone(), all[0].clone()], Preference::Knee),
        batch(too_many.collect(), Sharing::Concurrent, Preference::Knee),
    ];
    for strategy in Strategy::ALL {
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let mut batch = demanding(sharing);
            batch.placing.strategy = strategy;
            batches.push(batch);
        }
    }
    let wrong: [fn(&mut Batch); 9] = [
        |batch| batch.jobs[1].anti_affinity = batch.jobs[1].affinity.clone(),
        |batch| batch.jobs[1].affinity = vec![TaskId::from_bytes([99; 16])],
        |batch| batch.jobs[2].replicas = Some(2),
        |batch| batch.jobs[0].replicas = Some(0),
        |batch| set_most(batch, 0),
        |batch| set_most(batch, 1),
        |batch| batch.nodes[0].availability = Some(1.5),
        |batch| batch.nodes[1].error_rate = Some(-0.5),
        |batch| batch.jobs[4].gpus = 3,
    ];
    for change in wrong {
        let mut batch = demanding(Sharing::Concurrent);
        change(&mut batch);
        batches.push(batch);
    }
    let cases = batches.iter().map(|batch| {
        let mut case = batch.json();
        match batch.place() {
            Ok(plan) => add_plan(&mut case, &plan),
            Err(error) => case["error"] = error.code().name().into(),
        }
        case
    });
    Ok(cases.collect())
}

fn set_most(batch: &mut Batch, most: u32) {
    if let Some(spread) = &mut batch.jobs[0].spread {
        spread.most = most;
    }
}

/// A batch that says something of every field.
fn demanding(sharing: Sharing) -> Batch {
    let id = |number: u8| TaskId::from_bytes([number; 16]);
    let web = || {
        Some(Spread {
            group: "web".to_owned(),
            over: Domain::Zone,
            most: 2,
        })
    };
    let usual = |number| Job::new(id(number), 500, 64 << 20, 2_000);
    let jobs = vec![
        Job {
            tier: Tier::Gold,
            spread: web(),
            max_price: Some(1_000),
            ..usual(11)
        },
        Job {
            affinity: vec![id(13)],
            spread: web(),
            preemptible: true,
            ..usual(12)
        },
        Job {
            input_bytes: 1_000_000,
            input_on: vec![NodeId::from_bytes([0xb1; 32])],
            bandwidth_bps: 2_000_000,
            deadline_ms: Some(60_000),
            ..usual(13)
        },
        Job {
            tier: Tier::Silver,
            anti_affinity: vec![id(12)],
            ..usual(14)
        },
        Job {
            priority: Priority::Bulk,
            gpus: 1,
            disk_bytes: 1 << 30,
            gang: Some("render".to_owned()),
            ..usual(15)
        },
        Job {
            regions: vec!["us".to_owned(), "ap".to_owned()],
            replicas: Some(2),
            gang: Some("render".to_owned()),
            ..usual(16)
        },
    ];
    let nodes = (0..6).map(|index| {
        let at = usize::from(index);
        Node {
            disk_bytes_free: 2 << 30,
            gpus_free: u64::from(index % 2),
            bandwidth_bps_free: 10_000_000,
            ask_per_cpu_second: (index > 2).then_some(2 + u64::from(index)),
            region: ["eu", "us"][at % 2].to_owned(),
            zone: ["a", "b", "c"][at % 3].to_owned(),
            operator: ["p", "q", "r", "q", "r", "p"][at].to_owned(),
            availability: Some(0.98),
            error_rate: Some(0.0005),
            ..Node {
                id: NodeId::from_bytes([0xb1 + index; 32]),
                ..node(1, 1.0 + f64::from(index) / 4.0, 10.0, 0.75, 4)
            }
        }
    });
    Batch {
        nodes: nodes.collect(),
        ..batch(jobs, sharing, Preference::Knee)
    }
}

/// Batches of which some jobs are left out, for every reason there is.
fn place_what_fits() -> Result<Vec<Value>> {
    let id = |number: u8| TaskId::from_bytes([number; 16]);
    let usual = |number| Job::new(id(number), 500, 64 << 20, 2_000);
    let of_region = |number, region: &str| Job {
        regions: vec![region.to_owned()],
        ..usual(number)
    };
    let mut tight = demanding(Sharing::Concurrent);
    tight.nodes.push(Node {
        region: "ap".to_owned(),
        ..Node::new(NodeId::from_bytes([0xc1; 32]), 4_000, 2 << 30)
    });
    tight.jobs.extend([
        Job {
            gpus: 9,
            ..usual(17)
        },
        Job {
            affinity: vec![id(17)],
            ..usual(18)
        },
        of_region(19, "ap"),
        Job {
            anti_affinity: vec![id(19)],
            ..of_region(20, "ap")
        },
        of_region(21, "us"),
        Job {
            affinity: vec![id(21)],
            ..of_region(22, "eu")
        },
        Job {
            cpu_millis: 3_000,
            priority: Priority::Low,
            replicas: Some(7),
            ..usual(23)
        },
    ]);
    let hasty = |number| Job {
        deadline_ms: Some(5_000),
        cpu_millis: 4_000,
        ..usual(number)
    };
    let mut late = batch(
        (1..=4).map(hasty).collect(),
        Sharing::Queued,
        Preference::Lexicographic([0, 1, 2, 3, 4]),
    );
    late.nodes = vec![Node::new(NodeId::from_bytes([0xc1; 32]), 4_000, 2 << 30)];
    let mut nothing = batch(
        vec![Job {
            gpus: 1,
            ..usual(1)
        }],
        Sharing::Concurrent,
        Preference::Knee,
    );
    let mut rule = batch(jobs(), Sharing::Concurrent, Preference::Knee);
    rule.placing.strategy = Strategy::BinPack;
    nothing.nodes.truncate(1);
    let mut wrong = demanding(Sharing::Concurrent);
    wrong.jobs[0].replicas = Some(0);
    let cases = [tight, late, nothing, rule, wrong, crowded()]
        .into_iter()
        .map(|batch| {
            let mut case = batch.json();
            match batch.placing.place_what_fits(&batch.jobs, &batch.nodes) {
                Ok(partial) => {
                    if let Some(plan) = &partial.plan {
                        add_plan(&mut case, plan);
                    }
                    case["left_out"] = left_out_json(&partial);
                }
                Err(error) => case["error"] = error.code().name().into(),
            }
            case
        });
    Ok(cases.collect())
}

/// A batch that has room for all, where each of three rules leaves out one.
fn crowded() -> Batch {
    let id = |number: u8| TaskId::from_bytes([number; 16]);
    let usual = |number| Job::new(id(number), 500, 64 << 20, 2_000);
    let thinly = |number| Job {
        spread: Some(Spread {
            group: "db".to_owned(),
            over: Domain::Operator,
            most: 1,
        }),
        ..usual(number)
    };
    let jobs = vec![
        usual(31),
        usual(32),
        Job {
            priority: Priority::Low,
            anti_affinity: vec![id(31), id(32)],
            ..usual(33)
        },
        thinly(34),
        thinly(35),
        thinly(36),
        Job {
            replicas: Some(3),
            ..usual(37)
        },
    ];
    let nodes = [0xd1, 0xd2].map(|number| Node {
        operator: format!("{number:x}"),
        ..Node::new(NodeId::from_bytes([number; 32]), 4_000, 2 << 30)
    });
    let mut crowded = batch(jobs, Sharing::Queued, Preference::Knee);
    crowded.nodes = nodes.to_vec();
    crowded
}

fn left_out_json(partial: &PartialPlan) -> Value {
    let jobs = partial
        .left_out
        .iter()
        .map(|(job, reason)| json!({"job": job, "reason": reason, "text": reason.to_string()}));
    jobs.collect()
}

fn tiers() -> Value {
    let tiers = Tier::ALL.into_iter().map(|tier| {
        let terms = tier.terms();
        json!({
            "tier": tier,
            "replicas": terms.replicas,
            "distinct": terms.distinct,
            "latency_ms_p95": terms.latency_ms_p95,
            "availability": terms.availability,
            "error_rate": terms.error_rate,
            "preemption_notice_ms": match terms.preemption {
                Preemption::Never => None,
                Preemption::AfterNotice { notice_ms } => Some(notice_ms),
            },
            "price_permille": terms.price_permille,
        })
    });
    tiers.collect()
}

// --- Ledger -------------------------------------------------------------------------------------

fn id(number: u8) -> String {
    hex(&[number; 16])
}

/// Does one step, given as the vectors give it.
pub(crate) fn step(ledger: &Ledger, step: &Value) -> std::result::Result<Receipt, Error> {
    let text = |field: &str| step[field].as_str().unwrap_or_default();
    let account = |field: &str| Ok::<AccountId, Error>(text(field).parse()?);
    let transfer = |field: &str| Ok::<TransferId, Error>(text(field).parse()?);
    let amount = || Ok::<Amount, Error>(text("amount").parse()?);
    match text("op") {
        "open" => {
            let kind = match text("kind") {
                "issuer" => AccountKind::Issuer,
                _ => AccountKind::Holder,
            };
            ledger.open_account(account("account")?, kind)
        }
        "transfer" => ledger.transfer(transfer("id")?, account("from")?, account("to")?, amount()?),
        "reserve" => ledger.reserve(transfer("id")?, account("from")?, account("to")?, amount()?),
        "post" => {
            let amount = step["amount"].as_str().map(str::parse).transpose()?;
            ledger.post(transfer("id")?, transfer("reservation")?, amount)
        }
        "void" => ledger.void(transfer("id")?, transfer("reservation")?),
        other => unreachable!("no step is called {other:?}"),
    }
}

fn ledger() -> Result<Value> {
    let (mint, alice, bob) = (id(0xa0), id(0xa1), id(0xa2));
    let stranger = id(0xaf);
    let open = |account: &str, kind| json!({"op": "open", "account": account, "kind": kind});
    let moves = |op: &str, number: u8, from: &str, to: &str, amount: &str| json!({"op": op, "id": id(number), "from": from, "to": to, "amount": amount});
    let post = |number: u8, reservation: u8, amount: Option<&str>| json!({"op": "post", "id": id(number), "reservation": id(reservation), "amount": amount});
    let void = |number: u8, reservation: u8| json!({"op": "void", "id": id(number), "reservation": id(reservation)});
    let max = Amount::MAX.to_string();
    let script = [
        open(&mint, "issuer"),
        open(&alice, "holder"),
        open(&bob, "holder"),
        // The same again is no error and opens nothing.
        open(&bob, "holder"),
        open(&bob, "issuer"),
        open("not an account", "holder"),
        moves("transfer", 1, &mint, &alice, "1000000000000000000000"),
        moves("transfer", 1, &mint, &alice, "1000000000000000000000"),
        moves("transfer", 1, &mint, &alice, "999"),
        moves("transfer", 2, &alice, &bob, "250000000000000000001"),
        moves("transfer", 3, &alice, &bob, "750000000000000000000"),
        moves("transfer", 4, &alice, &bob, "0"),
        moves("transfer", 5, &alice, &alice, "5"),
        moves("transfer", 6, &alice, &stranger, "5"),
        moves("transfer", 7, &alice, &bob, "-5"),
        moves(
            "transfer",
            8,
            &alice,
            &bob,
            "340282366920938463463374607431768211456",
        ),
        moves("transfer", 9, &mint, &bob, &max),
        moves("reserve", 10, &alice, &bob, "300000000000000000000"),
        moves("reserve", 11, &alice, &bob, "500000000000000000000"),
        moves("reserve", 12, &alice, &mint, "49999999999999999999"),
        post(20, 10, Some("300000000000000000001")),
        post(21, 10, Some("120000000000000000000")),
        post(21, 10, Some("120000000000000000000")),
        post(22, 10, None),
        void(23, 10),
        void(24, 12),
        void(25, 99),
        void(26, 2),
        moves("reserve", 13, &bob, &alice, "70000000000000000000"),
        post(27, 13, None),
        moves("reserve", 14, &bob, &alice, "7"),
    ];
    let ledger = Ledger::in_memory()?;
    let mut steps = Vec::new();
    for mut entry in script {
        match step(&ledger, &entry) {
            Ok(receipt) => {
                entry["replayed"] = receipt.replayed.into();
                entry["sequence"] = receipt.entry.sequence.into();
            }
            Err(error) => entry["error"] = error.code().name().into(),
        }
        steps.push(entry);
    }
    let mut balances = Map::new();
    let mut accounts = Vec::new();
    for name in [&mint, &alice, &bob] {
        let account = ledger.account(name.parse()?)?;
        balances.insert(name.clone(), ledger.balance(account.id)?.to_string().into());
        accounts.push(json!({
            "account": name,
            "kind": if account.kind == AccountKind::Issuer { "issuer" } else { "holder" },
            "available": account.available(),
            "credits_posted": account.credits_posted,
            "debits_posted": account.debits_posted,
            "credits_pending": account.credits_pending,
            "debits_pending": account.debits_pending,
        }));
    }
    let verified = ledger.verify()?;
    Ok(json!({
        "steps": steps,
        "balances": balances,
        "accounts": accounts,
        "unknown_account": {"account": stranger, "error": ErrorCode::UnknownAccount.name()},
        "verify": {
            "entries": verified.head.sequence,
            "accounts": verified.accounts,
            "open_reservations": verified.open_reservations,
        },
    }))
}

// --- Harvesting ---------------------------------------------------------------------------------

/// The policy a case names: a built-in one, or its text.
/// What the owner of an account signs of governance: made by one language, every other makes the
/// same bytes.
fn governance() -> Result<Value> {
    let (secret, account, proposal) = ([7; 32], id(1), id(2));
    let key = owner_key(&secret);
    let content = json!({
        "kind": "parameter_change",
        "title": "Pay hosts more",
        "description": "Hosts are few.\nThey should be more.",
        "actions": [{"set_parameter": {
            "name": "earning.contributions.hosting.base",
            "value": "8000000000000000000",
        }}],
    });
    let steps = [
        json!({"op": "propose", "content": content}),
        json!({"op": "vote", "choice": "for"}),
        json!({"op": "vote", "choice": "against"}),
        json!({"op": "vote", "choice": "abstain"}),
    ];
    let expires = UnixMillis(1_800_000_000_000);
    let mut signed = Vec::new();
    for (nonce, mut step) in (1..).zip(steps) {
        let number = id(u8::try_from(nonce + 9)?);
        let (voter, proposal) = (account.parse()?, proposal.parse()?);
        let request = if step["op"] == "vote" {
            GovernanceRequest::Vote {
                voter,
                proposal,
                choice: serde_json::from_value(step["choice"].clone())?,
            }
        } else {
            GovernanceRequest::Propose {
                author: voter,
                proposal,
                content: proposal_from_json(&step["content"].to_string())?,
            }
        };
        let operation = Operation::Economy {
            id: number.parse()?,
            request: Box::new(EconomyRequest::Governance(request)),
        };
        let batch = sign_batch(voter, nonce, expires, vec![operation], &secret);
        step["id"] = number.into();
        step["nonce"] = nonce.into();
        step["message"] = hex(&batch_message(&batch)).into();
        step["batch"] = hex(&batch.encode()).into();
        signed.push(step);
    }
    Ok(json!({
        "account": account,
        "proposal": proposal,
        "secret": hex(&secret),
        "key": hex(key.as_bytes()),
        "expires_unix_ms": expires.0,
        "signed": signed,
    }))
}

pub(crate) fn policy(name: &str) -> std::result::Result<HarvestPolicy, Error> {
    match name {
        "default" => Ok(HarvestPolicy::default()),
        "always" => Ok(HarvestPolicy::always()),
        text => fogcompute::policy_from_toml(text),
    }
}

/// A phone that nothing speaks against: charging, cool, alone in the night.
fn phone() -> DeviceState {
    DeviceState {
        cpu_cores: Some(8),
        cpu_load: Some(0.125),
        memory_total_bytes: Some(8 << 30),
        memory_available_bytes: Some(4 << 30),
        battery: Battery::Present {
            level_percent: 80.0,
            charging: true,
        },
        battery_temperature_celsius: Some(30.5),
        temperature_celsius: Some(35.0),
        network: Network::Wifi,
        metered: Some(false),
        screen_on: Some(false),
        user_idle: Some(Duration::from_millis(600_500)),
        minute_of_day: Some(23 * 60),
        ..DeviceState::unknown(DeviceClass::Phone, Instant::from_millis(1_000))
    }
}

fn harvest() -> Result<Vec<Value>> {
    let battery = |level_percent, charging| Battery::Present {
        level_percent,
        charging,
    };
    let unknown = |class| DeviceState::unknown(class, Instant::ZERO);
    let server = DeviceState {
        cpu_cores: Some(2),
        cpu_load: Some(0.0),
        memory_total_bytes: Some(24 << 30),
        memory_available_bytes: Some(20 << 30),
        battery: Battery::Absent,
        network: Network::Ethernet,
        metered: Some(false),
        ..unknown(DeviceClass::Server)
    };
    // Nobody knows what its network costs.
    let unmanaged = DeviceState {
        metered: None,
        ..server.clone()
    };
    let busy = DeviceState {
        cpu_load: Some(0.75),
        ..phone()
    };
    let everything = DeviceState {
        cpu_load: Some(1.0),
        memory_available_bytes: Some(0),
        battery: battery(5.0, false),
        battery_temperature_celsius: Some(50.0),
        temperature_celsius: Some(70.0),
        network: Network::Cellular,
        metered: Some(true),
        screen_on: Some(true),
        user_idle: Some(Duration::from_secs(3)),
        minute_of_day: Some(12 * 60),
        ..phone()
    };
    let lenient = "battery_percent_min = 35.0\nrequire_charging = false\n\
                   networks = [\"wifi\", \"cellular\"]\nuser_idle_min_seconds = 1.5\n";
    let warm = DeviceState {
        temperature_celsius: Some(60.0),
        ..phone()
    };
    let draining = DeviceState {
        battery: battery(40.0, false),
        ..phone()
    };
    let impossible = DeviceState {
        battery: battery(130.0, true),
        ..phone()
    };
    let no_battery = DeviceState {
        battery: Battery::Unknown,
        ..phone()
    };
    let mut cases = Vec::new();
    for (policy_text, state) in [
        ("default", phone()),
        (
            "default",
            DeviceState {
                battery: battery(35.0, true),
                ..phone()
            },
        ),
        (
            "default",
            DeviceState {
                battery: battery(12.0, true),
                ..phone()
            },
        ),
        ("default", draining.clone()),
        ("default", warm),
        ("default", impossible),
        ("default", no_battery),
        ("default", everything.clone()),
        ("default", server),
        ("default", unmanaged.clone()),
        ("allow_metered = true", unmanaged),
        ("default", busy),
        ("default", unknown(DeviceClass::Phone)),
        ("default", unknown(DeviceClass::Laptop)),
        ("default", unknown(DeviceClass::Desktop)),
        ("default", unknown(DeviceClass::Server)),
        ("always", everything.clone()),
        ("always", unknown(DeviceClass::Desktop)),
        (lenient, draining),
        (
            "window = { from_minute = 600, to_minute = 840 }",
            everything,
        ),
        ("batery_percent_min = 3", phone()),
        ("battery_percent_min = \"low\"", phone()),
        ("battery_percent_min = 80.0", phone()),
        ("cpu_share_max = 1.5", phone()),
        ("networks = [\"offline\"]", phone()),
        ("require = \"battery > 60 && !metered\"", phone()),
        ("require = \"battery > 90 || on_call\"", phone()),
        ("require = \"battery >\"", phone()),
        ("window = \"any\"\nowner_load_start_max = 0.9", phone()),
    ] {
        let mut case = json!({"policy": policy_text, "state": state});
        // Languages other than Rust do not give these readings.
        for field in ["local_day", "bandwidth_bits_per_second", "flags"] {
            case["state"]
                .as_object_mut()
                .expect("a state has fields")
                .remove(field);
        }
        match policy(policy_text).and_then(|policy| fogcompute::decide(&policy, &state)) {
            Ok(decision) => {
                case["verdict"] = json!(decision.verdict);
                case["reasons"] = decision
                    .reasons
                    .iter()
                    .map(fogcompute::harvest::Reason::code)
                    .collect();
                case["texts"] = decision.reasons.iter().map(ToString::to_string).collect();
                case["objections"] = decision
                    .reasons
                    .iter()
                    .map(fogcompute::harvest::Reason::is_objection)
                    .collect();
                case["budget"] = json!(decision.budget);
            }
            Err(error) => case["error"] = error.code().name().into(),
        }
        cases.push(case);
    }
    Ok(cases)
}

// --- WebAssembly --------------------------------------------------------------------------------

const ECHO: &[u8] = include_bytes!("../../../../examples/wasm/echo.wasm");
const SUM: &[u8] = include_bytes!("../../../../examples/wasm/sum.wasm");

/// The module a case names: an example, or its bytes.
pub(crate) fn module(name: &str) -> Result<Vec<u8>> {
    match name {
        "echo" => Ok(ECHO.to_vec()),
        "sum" => Ok(SUM.to_vec()),
        hex => unhex(hex),
    }
}

/// A module of the task ABI with `body` for its work.
fn task(imports: &str, body: &str) -> Result<String> {
    Ok(hex(&wat::parse_str(format!(
        r#"(module {imports}
            (memory (export "memory") 1)
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
            (func (export "fog_run") (param i32 i32) (result i64) {body}))"#
    ))?))
}

fn wasm() -> Result<Vec<Value>> {
    let usual = Limits::default();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let trap = task("", "(unreachable)")?;
    let division = task(
        "",
        "(i64.extend_i32_u (i32.div_u (i32.const 1) (local.get 1)))",
    )?;
    let forever = task("", "(loop $again (br $again)) (i64.const 0)")?;
    let import = task(r#"(import "env" "time" (func))"#, "(i64.const 0)")?;
    let beyond = task("", "(i64.const 0xffff_ffff_0000_0010)")?;
    // Grows by one page until it may not.
    let greedy = task(
        "",
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) \
         (i64.const 0)",
    )?;
    let fog = Fog::new(FogConfig {
        workers: 1,
        ..FogConfig::default()
    })
    .map_err(Error::from)?;
    let mut cases = Vec::new();
    for (module_text, input, limits) in [
        ("echo", &b"hello, fog"[..], usual),
        ("echo", b"", usual),
        (
            "echo",
            &all_bytes,
            Limits {
                output_bytes: 256,
                ..usual
            },
        ),
        (
            "echo",
            &all_bytes,
            Limits {
                output_bytes: 255,
                ..usual
            },
        ),
        ("sum", &all_bytes, usual),
        ("sum", b"", usual),
        ("sum", &all_bytes, Limits { fuel: 100, ..usual }),
        (
            "sum",
            &all_bytes,
            Limits {
                memory_bytes: 65_536,
                ..usual
            },
        ),
        (&trap, b"", usual),
        (&division, b"", usual),
        (
            &forever,
            b"",
            Limits {
                fuel: 1_000_000,
                ..usual
            },
        ),
        (
            &greedy,
            b"",
            Limits {
                memory_bytes: 1 << 20,
                ..usual
            },
        ),
        (&beyond, b"", usual),
        (&import, b"", usual),
        ("deadbeef", b"", usual),
        ("0061736d01000000", b"", usual),
        ("", b"", usual),
        ("echo", b"hello", Limits { fuel: 0, ..usual }),
        (
            "echo",
            b"hello",
            Limits {
                memory_bytes: 65_535,
                ..usual
            },
        ),
        (
            "echo",
            b"hello",
            Limits {
                output_bytes: (1 << 20) + 1,
                ..usual
            },
        ),
        // More than a worker lends.
        (
            "echo",
            b"hello",
            Limits {
                memory_bytes: 1 << 32,
                ..usual
            },
        ),
        // More than the fog's owner can pay for.
        (
            "echo",
            b"hello",
            Limits {
                fuel: 2_000_000_000_000_000,
                ..usual
            },
        ),
    ] {
        let mut case = json!({
            "module": module_text,
            "input": hex(input),
            "fuel": limits.fuel,
            "memory_bytes": limits.memory_bytes,
            "output_bytes": limits.output_bytes,
        });
        let spec = TaskSpec::new(module(module_text)?, input, limits).map_err(Error::from);
        match spec.and_then(|spec| Ok(fog.run(spec)?)) {
            Ok(done) => {
                case["output"] = hex(&done.output).into();
                case["fuel_used"] = done.usage.fuel.into();
                case["memory_bytes_peak"] = done.usage.memory_bytes_peak.into();
            }
            Err(error) => case["error"] = error.code().name().into(),
        }
        cases.push(case);
    }
    Ok(cases)
}
