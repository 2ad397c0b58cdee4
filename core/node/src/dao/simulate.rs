//! The rules of governance, tried on a distribution of stakes: turnout, quorum, and what it takes to
//! decide alone.
//!
//! Nothing is worked out by formula: proposals are submitted to the rules and voted on, and it is
//! looked at what became of them.

mod plot;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fogcompute_ledger::dao::{Choice, Role, Rules};
use fogcompute_ledger::economy::Economy;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::DaoCommandError;
use super::arguments::{parameter, word};
use crate::files::{self, Readers};
use crate::ledger::text::credits;
use crate::ledger::{LedgerCommandError, Said};
use world::World;

/// Most voters: each run asks every one of them.
const VOTERS_MAX: usize = 100_000;
/// Steps of turnout, from none to all.
const STEPS: u32 = 20;
/// Steps of the turnout of those who vote against an attacker.
const CONTEST_STEPS: u32 = 10;

#[derive(Args, Debug)]
pub(crate) struct SimulateArguments {
    /// How stakes are distributed: a name, or a file with an amount of credits a line.
    #[arg(long, default_value = "zipf", value_name = "NAME_OR_FILE", value_parser = distribution)]
    pub(super) stakes: Distribution,
    /// How many voters there are, for a distribution that is named: 1 to 100000.
    #[arg(
        long,
        default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..=VOTERS_MAX as i64)
    )]
    pub(super) voters: u32,
    /// A rule that is not the default, in its unit: dao.quorum=200000, dao.weighing=2. Given again
    /// for each. Of an economy, only rules of governance are tried.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = rule)]
    pub(super) set: Vec<(String, u128)>,
    /// Give a role to so many, the largest who have none yet: king=1. Given again for each; together
    /// no more than there are voters.
    #[arg(long = "role", value_name = "ROLE=COUNT", value_parser = role_count)]
    pub(super) roles: Vec<(Role, u32)>,
    /// How likely it is that one who votes is for the proposal, in millionths.
    #[arg(
        long,
        default_value_t = 700_000,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub(super) support: u32,
    /// Proposals that are voted on at each turnout.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) runs: u32,
    /// Accounts that an attacker splits its stake into, where it splits it: 2 to 1000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(super) split: u32,
    /// Seed of all that is drawn: 0 to 2⁶⁴ − 1. The same seed gives the same answer.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Draw turnout, concentration and the price of an attack as SVG.
    #[arg(long, value_name = "FILE.svg", value_parser = crate::cli::picture)]
    pub(super) plot: Option<PathBuf>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Distribution {
    Named(Name),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Name {
    /// All have the same.
    Equal,
    /// The second has half of what the first has, the third a third.
    Zipf,
    /// Drawn so that a fifth of the voters have about four fifths.
    Pareto,
}

fn distribution(text: &str) -> Result<Distribution, String> {
    Ok(match Name::from_str(text, false) {
        Ok(name) => Distribution::Named(name),
        Err(_) => Distribution::File(PathBuf::from(text)),
    })
}

fn rule(text: &str) -> Result<(String, u128), String> {
    let (name, value) = parameter(text)?;
    if !name.starts_with("dao.") {
        return Err(format!(
            "{name} is no rule of governance, and changes nothing here"
        ));
    }
    Ok((name, value))
}

fn role_count(text: &str) -> Result<(Role, u32), String> {
    let (role, count) = text.split_once('=').ok_or("there is no = in it")?;
    let count = count.parse::<u32>();
    let count = count.map_err(|error| format!("no number of voters: {error}"))?;
    match word(role)? {
        Role::Citizen => Err("a citizen is who has no role: all others are".to_owned()),
        role => Ok((role, count)),
    }
}

/// Base units of a credit.
const CREDIT: u128 = 10_u128.pow(18);

fn stakes(
    arguments: &SimulateArguments,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<u128>, DaoCommandError> {
    let count = u128::from(arguments.voters);
    let mut stakes: Vec<u128> = match &arguments.stakes {
        Distribution::Named(Name::Equal) => (0..count).map(|_| 1_000 * CREDIT).collect(),
        Distribution::Named(Name::Zipf) => {
            (1..=count).map(|rank| 1_000_000 * CREDIT / rank).collect()
        }
        Distribution::Named(Name::Pareto) => (0..count).map(|_| pareto(rng)).collect(),
        Distribution::File(path) => read(path)?,
    };
    stakes.retain(|stake| *stake > 0);
    stakes.sort_unstable_by(|a, b| b.cmp(a));
    let found = stakes.len();
    if !(1..=VOTERS_MAX).contains(&found) {
        let limit = VOTERS_MAX;
        return Err(DaoCommandError::StakeCount { found, limit });
    }
    Ok(stakes)
}

/// A thousand credits or more, of Pareto's distribution with the exponent log 5 / log 4.
fn pareto(rng: &mut ChaCha20Rng) -> u128 {
    let exponent = 5_f64.ln() / 4_f64.ln();
    let uniform = (f64::from(rng.next_u32()) + 1.0) / (f64::from(u32::MAX) + 1.0);
    (1_000.0 * uniform.powf(-1.0 / exponent)) as u128 * CREDIT
}

fn read(path: &Path) -> Result<Vec<u128>, DaoCommandError> {
    let text = fs::read_to_string(path).map_err(LedgerCommandError::file("reading", path))?;
    let mut stakes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let amount = credits(line).map_err(|_| DaoCommandError::Stake {
            path: path.to_owned(),
            line: index + 1,
            text: line.to_owned(),
        })?;
        stakes.push(amount.0);
    }
    Ok(stakes)
}

/// What became of the proposals at one turnout.
struct Turnout {
    /// How likely each voter is to vote.
    likely: f64,
    /// The part of all weight that took part, from the least of the runs to the most.
    part: (f64, f64, f64),
    /// How many reached the quorum, of all.
    quorum: f64,
    /// How many passed, of all.
    passed: f64,
}

/// What an attacker needs against a turnout of all others, as a part of all that circulates.
struct Contest {
    turnout: f64,
    /// In one account; `None` if no part is enough.
    alone: Option<f64>,
    /// In many.
    split: Option<f64>,
}

/// What came of it all.
struct Findings {
    rules: Rules,
    /// What each voter weighs, the most first, as a part of all weight.
    shares: Vec<f64>,
    turnouts: Vec<Turnout>,
    /// How many of the largest pass a proposal if nobody else votes.
    largest_unopposed: Option<usize>,
    /// How many of the largest pass it against all others.
    largest_opposed: Option<usize>,
    contests: Vec<Contest>,
    split: u32,
}

pub(super) fn simulate(arguments: &SimulateArguments) -> Result<Said, DaoCommandError> {
    let mut economy = Economy::default();
    for (name, value) in &arguments.set {
        economy.set(name, *value)?;
    }
    let found = find(arguments, economy.dao)?;
    if let Some(path) = &arguments.plot {
        files::replace(path, plot::draw(&found).as_bytes(), Readers::Everybody)
            .map_err(LedgerCommandError::file("writing", path))?;
    }
    Ok(Said::new(found.json(arguments.seed), found.text()))
}

fn find(arguments: &SimulateArguments, rules: Rules) -> Result<Findings, DaoCommandError> {
    let mut rng = ChaCha20Rng::seed_from_u64(arguments.seed);
    let stakes = stakes(arguments, &mut rng)?;
    let count = stakes.len();
    let roles = (arguments.roles.iter()).map(|(_, count)| u64::from(*count));
    let roles = roles.sum();
    if roles > count as u64 {
        let voters = count;
        return Err(DaoCommandError::RoleCount { roles, voters });
    }
    let mut world = World::new(rules, &stakes, &arguments.roles, arguments.split)?;
    let order = world.by_weight();
    let total = world.total();
    let shares = order.iter().map(|&voter| world.weight(voter) / total);
    let shares = shares.collect();

    let mut turnouts = Vec::new();
    for step in 0..=STEPS {
        turnouts.push(turnout(arguments, &mut world, &mut rng, step, count)?);
    }
    let largest = |world: &mut World, others: Option<Choice>| {
        least(count, |first| {
            let for_it = order[..first].iter().map(|&voter| (voter, Choice::For));
            let rest = order[first..].iter();
            let rest = rest.filter_map(|&voter| Some((voter, others?)));
            let votes: Vec<_> = for_it.chain(rest).collect();
            Ok(world.vote(&votes)?.passed)
        })
    };
    let largest_unopposed = largest(&mut world, None)?;
    let largest_opposed = largest(&mut world, Some(Choice::Against))?;

    // The same voters come first at every turnout, so that a higher one is never easier.
    let mut order: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        order.swap(place, below(&mut rng, place + 1));
    }
    let mut contests = Vec::new();
    for step in 0..=CONTEST_STEPS {
        let turnout = f64::from(step) / f64::from(CONTEST_STEPS);
        let voting = &order[..(turnout * count as f64).round() as usize];
        let against: Vec<_> = voting
            .iter()
            .map(|&voter| (voter, Choice::Against))
            .collect();
        let mut part = |accounts: u32| {
            let found = least(PARTS - 1, |part| {
                world.attack(part as u32, accounts, &against)
            })?;
            Ok::<_, DaoCommandError>(found.map(|part| part as f64 / PARTS as f64))
        };
        contests.push(Contest {
            turnout,
            alone: part(1)?,
            split: part(arguments.split)?,
        });
    }
    Ok(Findings {
        rules,
        shares,
        turnouts,
        largest_unopposed,
        largest_opposed,
        contests,
        split: arguments.split,
    })
}

/// An attacker has so many of these parts of all that circulates.
const PARTS: usize = 10_000;

fn turnout(
    arguments: &SimulateArguments,
    world: &mut World,
    rng: &mut ChaCha20Rng,
    step: u32,
    count: usize,
) -> Result<Turnout, DaoCommandError> {
    let happens = |rng: &mut ChaCha20Rng, ppm: u32| below(rng, 1_000_000) < ppm as usize;
    let (mut quorum, mut passed) = (0_u32, 0_u32);
    let (mut least, mut most, mut sum) = (1.0_f64, 0.0_f64, 0.0);
    for _ in 0..arguments.runs {
        let mut votes = Vec::new();
        for voter in 0..count {
            if happens(rng, step * 1_000_000 / STEPS) {
                let choice = match happens(rng, arguments.support) {
                    true => Choice::For,
                    false => Choice::Against,
                };
                votes.push((voter, choice));
            }
        }
        let outcome = world.vote(&votes)?;
        quorum += u32::from(outcome.quorum);
        passed += u32::from(outcome.passed);
        (least, most) = (least.min(outcome.part), most.max(outcome.part));
        sum += outcome.part;
    }
    let runs = f64::from(arguments.runs);
    Ok(Turnout {
        likely: f64::from(step) / f64::from(STEPS),
        part: (least, sum / runs, most),
        quorum: f64::from(quorum) / runs,
        passed: f64::from(passed) / runs,
    })
}

/// A number below a limit, as even as 64 bits make it.
fn below(rng: &mut ChaCha20Rng, limit: usize) -> usize {
    ((u128::from(rng.next_u64()) * limit as u128) >> 64) as usize
}

/// The least number from 1 to `most` that is enough, if more is never less so.
fn least(
    most: usize,
    mut enough: impl FnMut(usize) -> Result<bool, DaoCommandError>,
) -> Result<Option<usize>, DaoCommandError> {
    if most == 0 || !enough(most)? {
        return Ok(None);
    }
    let (mut low, mut high) = (1, most);
    while low < high {
        let middle = low.midpoint(high);
        if enough(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Some(high))
}

impl Findings {
    /// The lowest turnout at which at least half of the proposals reach the quorum.
    fn quorum_from(&self) -> Option<f64> {
        let mut turnouts = self.turnouts.iter();
        turnouts
            .find(|turnout| turnout.quorum >= 0.5)
            .map(|turnout| turnout.likely)
    }

    fn json(&self, seed: u64) -> Value {
        let turnouts = self.turnouts.iter().map(|it| {
            json!({
                "turnout": it.likely,
                "weight_min": it.part.0,
                "weight_mean": it.part.1,
                "weight_max": it.part.2,
                "quorum": it.quorum,
                "passed": it.passed,
            })
        });
        let contests = self
            .contests
            .iter()
            .map(|it| json!({"turnout": it.turnout, "one_account": it.alone, "split": it.split}));
        json!({
            "ok": true,
            "seed": seed,
            "rules": self.rules,
            "voters": self.shares.len(),
            "largest_share": self.shares.first(),
            "turnouts": turnouts.collect::<Value>(),
            "quorum_from_turnout": self.quorum_from(),
            "largest_unopposed": self.largest_unopposed,
            "largest_opposed": self.largest_opposed,
            "attack_accounts": self.split,
            "attacks": contests.collect::<Value>(),
        })
    }

    fn text(&self) -> String {
        let percent = |part: f64| format!("{:.2} %", 100.0 * part);
        let few = |number: Option<usize>| match number {
            Some(1) => "the largest alone".to_owned(),
            Some(number) => format!("the {number} largest"),
            None => "not even all".to_owned(),
        };
        let needs = |part: Option<f64>| part.map_or("no share is enough".to_owned(), percent);
        let voters = match self.shares.len() {
            1 => "1 voter".to_owned(),
            number => format!("{number} voters, the largest"),
        };
        let largest = percent(self.shares.first().copied().unwrap_or_default());
        let mut text = format!("{voters} with {largest}\n");
        text.push_str(&match self.quorum_from() {
            Some(turnout) => format!(
                "half of the proposals reach the quorum from a turnout of {} on\n",
                percent(turnout)
            ),
            None => "no turnout reaches the quorum in half of the runs\n".to_owned(),
        });
        text.push_str(&format!(
            "enough to pass a proposal: {} if nobody else votes, {} against all others\n",
            few(self.largest_unopposed),
            few(self.largest_opposed)
        ));
        text.push_str("an attacker needs of all that circulates, if of the others\n");
        for it in &self.contests {
            text.push_str(&format!(
                "  {:>4.0} % vote against: {} in one account, {} in {}\n",
                100.0 * it.turnout,
                needs(it.alone),
                needs(it.split),
                self.split
            ));
        }
        text.pop();
        text
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: SimulateArguments,
    }

    fn found(arguments: &str) -> Findings {
        let arguments = ["simulate"].into_iter().chain(arguments.split_whitespace());
        let arguments = Alone::try_parse_from(arguments).unwrap().arguments;
        let mut economy = Economy::default();
        for (name, value) in &arguments.set {
            economy.set(name, *value).unwrap();
        }
        find(&arguments, economy.dao).unwrap()
    }

    const FAST: &str = "--voters 40 --runs 4 --split 10";

    #[test]
    fn among_equals_as_many_decide_as_the_rules_say() {
        let found = found(&format!("--stakes equal {FAST}"));
        // A tenth makes the quorum; 24 of 40 are 60 % of all.
        assert_eq!(found.largest_unopposed, Some(4));
        assert_eq!(found.largest_opposed, Some(24));
        // Alone and unopposed, one needs the quorum.
        let free = &found.contests[0];
        assert!((free.alone.unwrap() - 0.1).abs() < 1e-3);
        assert!((free.split.unwrap() - 0.1).abs() < 1e-3);
        // Against all: a ballot counts a quarter at most, so more accounts are needed than one.
        let contested = found.contests.last().unwrap();
        assert!((contested.split.unwrap() - 0.6).abs() < 1e-3);
        // One account counts a quarter of all, against which a sixth of all is too little.
        assert!((contested.alone.unwrap() - 5.0 / 6.0).abs() < 1e-3);
        let all = found.turnouts.last().unwrap();
        assert_eq!((all.part.1, all.quorum), (1.0, 1.0));
        assert!(found.turnouts[0].quorum.abs() < 1e-9);
    }

    #[test]
    fn a_seed_gives_the_same_answer_and_rules_another() {
        let of = |more: &str| {
            let found = found(&format!("--stakes pareto {FAST} {more}"));
            found.json(1).to_string()
        };
        assert_eq!(of(""), of(""));
        assert_ne!(of(""), of("--seed 2"));
        assert_ne!(of(""), of("--set dao.weighing=2"));
        assert_ne!(of(""), of("--role king=1"));
    }

    #[test]
    fn a_king_is_not_a_quorum_by_being_king() {
        // The quorum was once a part of what was not weighted: one king with 1 % met 10 % alone.
        let citizen = found(&format!("--stakes equal {FAST}"));
        let king = found(&format!("--stakes equal {FAST} --role king=1"));
        let share = |found: &Findings| found.shares[0];
        assert!((share(&citizen) - 1.0 / 40.0).abs() < 1e-9);
        assert!((share(&king) - 10.0 / 49.0).abs() < 1e-9);
    }

    #[test]
    fn what_would_be_left_out_is_refused() {
        // Roles for more than there are, and numbers that nothing here asks about, were passed over.
        for refused in ["--set supply.initial=5", "--role citizen=1", "--role king"] {
            let words = ["simulate"].into_iter().chain(refused.split_whitespace());
            assert!(Alone::try_parse_from(words).is_err(), "{refused}");
        }
        let words = "simulate --voters 3 --role king=2 --role guardian=2 --runs 1";
        let arguments = Alone::try_parse_from(words.split_whitespace()).unwrap();
        let refused = simulate(&arguments.arguments).err().unwrap();
        assert!(
            matches!(
                refused,
                DaoCommandError::RoleCount {
                    roles: 4,
                    voters: 3
                }
            ),
            "{refused}"
        );
        assert_eq!(refused.exit_code(), 2);
        let one = found("--voters 1 --runs 1 --split 2").text();
        assert!(one.starts_with("1 voter with 100.00 %\n"), "{one}");
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_named_as_it_was_given() {
        // The error named a temporary file.
        let words = "simulate --voters 2 --runs 1 --split 2 --plot none/a.svg";
        let arguments = Alone::try_parse_from(words.split_whitespace()).unwrap();
        let refused = simulate(&arguments.arguments).err().unwrap();
        let source = std::error::Error::source(&refused).map(ToString::to_string);
        let told = format!("{refused} {}", source.unwrap_or_default());
        assert!(
            told.contains("none/a.svg") && !told.contains(".part"),
            "{told}"
        );
    }

    #[test]
    fn files_have_an_amount_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakes");
        fs::write(&path, "# credits\n5\n\n2.5\n0\n").unwrap();
        assert_eq!(read(&path).unwrap(), [5 * CREDIT, 5 * CREDIT / 2, 0]);
        fs::write(&path, "5\nmany\n").unwrap();
        let refused = read(&path).unwrap_err();
        assert!(matches!(refused, DaoCommandError::Stake { line: 2, .. }));
    }
}
