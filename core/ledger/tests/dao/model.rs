//! Governance against a small model that keeps the whole past and works everything out anew.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::UnixMillis;
use fogcompute_ledger::dao::{
    Action, Choice, Content, Operation, Part, ProposalKind, ProposalState, Role, Rules, Weights,
};
use fogcompute_ledger::{Amount, Ppm};
use proptest::prelude::*;

use crate::world::{KIND, World, account, content, id, resolve};

const ACCOUNTS: usize = 6;
const WHOLE: u128 = 1_000_000;

fn rules() -> Rules {
    Rules {
        proposal_threshold: Amount(10),
        voting_delay_ms: 4,
        voting_ms: 16,
        timelock_ms: 5,
        grace_ms: 20,
        quorum: Ppm::percent(10),
        approval: Ppm::percent(60),
        late_quorum_ms: 6,
        voter_share_max: Ppm::percent(40),
        vote_changes_max: 2,
        live_max: 1_000,
        live_per_author_max: 1_000,
        delegation_depth_max: 1_024,
        delegation_paths_max: 4_096,
        ..Rules::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Waits for what comes next of a proposal.
    Await(usize),
    Tokens(usize, u128),
    Stake(usize, u128),
    Enrol(usize),
    Establish(usize, Role),
    Delegate(usize, Vec<(usize, u32)>),
    Propose(usize, Option<(usize, Role)>),
    Vote(usize, usize, Choice),
    Cancel(usize, usize),
    Queue(usize),
    Execute(usize),
    Reweigh(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..ACCOUNTS;
    let role = || prop::sample::select(&Role::ALL[1..]);
    let choice = prop::sample::select(vec![
        Choice::For,
        Choice::For,
        Choice::For,
        Choice::Against,
        Choice::Abstain,
    ]);
    let split = prop::sample::select(vec![1, 250_000, 333_333, 500_000, 1_000_000_u32]);
    let step = prop_oneof![
        4 => (0..9_u64).prop_map(Step::Wait),
        4 => (0..3_usize).prop_map(Step::Await),
        3 => (who(), 0..200_u128).prop_map(|(n, tokens)| Step::Tokens(n, tokens)),
        2 => (who(), 0..200_u128).prop_map(|(n, stake)| Step::Stake(n, stake)),
        2 => who().prop_map(Step::Enrol),
        1 => (who(), role()).prop_map(|(n, role)| Step::Establish(n, role)),
        3 => (who(), prop::collection::vec((who(), split), 0..4))
            .prop_map(|(n, to)| Step::Delegate(n, to)),
        2 => (who(), prop::option::of((who(), role())))
            .prop_map(|(n, grant)| Step::Propose(n, grant)),
        9 => (who(), 0..3_usize, choice).prop_map(|(n, back, choice)| Step::Vote(n, back, choice)),
        1 => (who(), 0..9_usize).prop_map(|(n, back)| Step::Cancel(n, back)),
        4 => (0..3_usize).prop_map(Step::Queue),
        4 => (0..3_usize).prop_map(Step::Execute),
        1 => (1_000..20_000_u32).prop_map(Step::Reweigh),
    ];
    // Most begin with something to vote with.
    let funds = prop::collection::vec(0..200_u128, ACCOUNTS - 1);
    (funds, prop::collection::vec(step, 1..160)).prop_map(|(funds, steps)| {
        let funded = funds.into_iter().enumerate();
        let mut all: Vec<_> = funded
            .flat_map(|(n, tokens)| [Step::Tokens(n, tokens), Step::Enrol(n)])
            .collect();
        all.push(Step::Wait(1));
        all.extend(steps);
        all
    })
}

/// All that is so at a time.
#[derive(Clone, Debug, Default)]
struct Facts {
    tokens: [u128; ACCOUNTS],
    stake: [u128; ACCOUNTS],
    enrolled: [bool; ACCOUNTS],
    roles: [Role; ACCOUNTS],
    weights: Weights,
    parts: [Vec<(usize, u32)>; ACCOUNTS],
}

impl Facts {
    fn units(&self, n: usize) -> u128 {
        self.tokens[n] + self.stake[n]
    }

    fn own(&self, n: usize) -> u128 {
        if self.enrolled[n] {
            self.units(n) * u128::from(self.weights.of(self.roles[n])) / 1_000
        } else {
            0
        }
    }

    fn total(&self) -> u128 {
        let extra = |n| {
            if self.enrolled[n] {
                self.own(n) - self.units(n)
            } else {
                0
            }
        };
        (0..ACCOUNTS).map(|n| self.units(n) + extra(n)).sum()
    }

    /// What reaches an account if those have voted and pass nothing on.
    fn power(&self, n: usize, voted: &BTreeSet<usize>) -> u128 {
        let givers = (0..ACCOUNTS).filter(|giver| !voted.contains(giver));
        let flows = givers.flat_map(|giver| {
            let parts = self.parts[giver].iter().filter(move |(to, _)| *to == n);
            parts.map(move |(_, part)| (giver, u128::from(*part)))
        });
        let received = flows.map(|(giver, part)| self.power(giver, voted) * part / WHOLE);
        self.own(n) + received.sum::<u128>()
    }

    fn kept(&self, n: usize, voted: &BTreeSet<usize>) -> u128 {
        let power = self.power(n, voted);
        let given = self.parts[n].iter();
        let given: u128 = given
            .map(|(_, part)| power * u128::from(*part) / WHOLE)
            .sum();
        power - given
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to
            || self.parts[from]
                .iter()
                .any(|(next, _)| self.reaches(*next, to))
    }
}

#[derive(Clone, Debug)]
struct Motion {
    author: usize,
    grant: Option<(usize, Role)>,
    snapshot: u64,
    deadline: u64,
    ballots: BTreeMap<usize, (Choice, u32)>,
    eta: Option<u64>,
    end: Option<ProposalState>,
    last: ProposalState,
}

#[derive(Default)]
struct Model {
    now: u64,
    facts: Facts,
    past: BTreeMap<u64, Facts>,
    motions: Vec<Motion>,
    established: bool,
}

impl Model {
    fn facts_at(&self, time: u64) -> Facts {
        let known = self.past.range(..=time).next_back();
        known.map(|(_, facts)| facts.clone()).unwrap_or_default()
    }

    fn tally(&self, motion: &Motion, choice: Choice) -> u128 {
        let facts = self.facts_at(motion.snapshot);
        let voted: BTreeSet<_> = motion.ballots.keys().copied().collect();
        let cap = facts.total() * 2 / 5;
        let said = motion
            .ballots
            .iter()
            .filter(|(_, (said, _))| *said == choice);
        said.map(|(voter, _)| facts.power(*voter, &voted).min(cap))
            .sum()
    }

    fn quorum(&self, motion: &Motion) -> bool {
        let total = self.facts_at(motion.snapshot).total();
        let present = self.tally(motion, Choice::For) + self.tally(motion, Choice::Abstain);
        present * 10 >= total
    }

    fn state(&self, motion: &Motion) -> ProposalState {
        if let Some(end) = motion.end {
            return end;
        }
        if let Some(eta) = motion.eta {
            return if self.now > eta + 20 {
                ProposalState::Expired
            } else {
                ProposalState::Queued
            };
        }
        let (yes, no) = (
            self.tally(motion, Choice::For),
            self.tally(motion, Choice::Against),
        );
        if self.now <= motion.snapshot {
            ProposalState::Pending
        } else if self.now <= motion.deadline {
            ProposalState::Active
        } else if !(self.quorum(motion) && yes > no && yes * 10 >= (yes + no) * 6) {
            ProposalState::Defeated
        } else if self.now > motion.deadline + 20 {
            ProposalState::Expired
        } else {
            ProposalState::Succeeded
        }
    }

    /// How long it is until something comes next of a proposal.
    fn next(&self, motion: &Motion) -> u64 {
        let time = match (self.state(motion), motion.eta) {
            (ProposalState::Pending, _) => motion.snapshot + 1,
            (ProposalState::Active, _) => motion.deadline + 1,
            (ProposalState::Queued, Some(eta)) => eta,
            _ => self.now,
        };
        time.saturating_sub(self.now)
    }

    fn guards(&self, n: usize) -> bool {
        let before = self
            .now
            .checked_sub(1)
            .map(|time| self.facts_at(time).roles[n]);
        self.facts.roles[n].guards() && before.is_some_and(Role::guards)
    }

    /// Whether the step is allowed; it is done then.
    fn step(&mut self, step: &Step, place: impl Fn(usize) -> Option<usize>) -> bool {
        match step {
            Step::Wait(time) => self.now += time,
            Step::Await(_) => unreachable!("it is made a wait"),
            Step::Tokens(n, tokens) => self.facts.tokens[*n] = *tokens,
            Step::Stake(n, stake) => self.facts.stake[*n] = *stake,
            Step::Reweigh(king) => self.facts.weights.king = *king,
            Step::Enrol(n) => {
                if self.facts.enrolled[*n] {
                    return false;
                }
                self.facts.enrolled[*n] = true;
            }
            Step::Establish(n, role) => {
                if self.established || self.facts.roles.iter().any(|role| *role != Role::Citizen) {
                    return false;
                }
                self.established = true;
                self.facts.roles[*n] = *role;
                self.facts.enrolled[*n] = true;
            }
            Step::Delegate(n, to) => {
                let names: BTreeSet<_> = to.iter().map(|(to, _)| to).collect();
                let sum: u32 = to.iter().map(|(_, part)| part).sum();
                let nothing = to.is_empty() && self.facts.parts[*n].is_empty();
                if names.len() < to.len() || sum > 1_000_000 || nothing {
                    return false;
                }
                let mut without = self.facts.clone();
                without.parts[*n].clear();
                if to.iter().any(|(next, _)| without.reaches(*next, *n)) {
                    return false;
                }
                self.facts.parts[*n].clone_from(to);
                self.facts.enrolled[*n] = true;
            }
            Step::Propose(n, grant) => {
                let before = self.now.checked_sub(1).map(|time| self.facts_at(time));
                let kept = before.map_or(0, |facts| facts.kept(*n, &BTreeSet::new()));
                let unchanged = grant.is_some_and(|(to, role)| self.facts.roles[to] == role);
                if kept < 10 || unchanged {
                    return false;
                }
                self.motions.push(Motion {
                    author: *n,
                    grant: *grant,
                    snapshot: self.now + 4,
                    deadline: self.now + 20,
                    ballots: BTreeMap::new(),
                    eta: None,
                    end: None,
                    last: ProposalState::Pending,
                });
            }
            Step::Vote(n, back, choice) => {
                let Some(place) = place(*back) else {
                    return false;
                };
                let mut motion = self.motions[place].clone();
                let voted: BTreeSet<_> = motion.ballots.keys().copied().collect();
                let facts = self.facts_at(motion.snapshot);
                let changes = match motion.ballots.get(n) {
                    Some((said, changes)) if said == choice || *changes == 2 => return false,
                    Some((_, changes)) => changes + 1,
                    None if facts.power(*n, &voted) == 0 => return false,
                    None => 0,
                };
                if self.state(&motion) != ProposalState::Active {
                    return false;
                }
                let before = self.quorum(&motion);
                motion.ballots.insert(*n, (*choice, changes));
                if !before && self.quorum(&motion) {
                    motion.deadline = motion.deadline.max(self.now + 6);
                }
                self.motions[place] = motion;
            }
            Step::Cancel(n, back) => {
                let Some(place) = place(*back) else {
                    return false;
                };
                let motion = &self.motions[place];
                let state = self.state(motion);
                let own = motion.author == *n && state == ProposalState::Pending;
                if state.is_final() || !(own || self.guards(*n)) {
                    return false;
                }
                self.motions[place].end = Some(ProposalState::Cancelled);
            }
            Step::Queue(back) => {
                let Some(place) = place(*back) else {
                    return false;
                };
                if self.state(&self.motions[place]) != ProposalState::Succeeded {
                    return false;
                }
                self.motions[place].eta = Some(self.now + 5);
            }
            Step::Execute(back) => {
                let Some(place) = place(*back) else {
                    return false;
                };
                let motion = &self.motions[place];
                let queued = self.state(motion) == ProposalState::Queued;
                if !queued || motion.eta.is_none_or(|eta| self.now < eta) {
                    return false;
                }
                if let Some((to, role)) = motion.grant {
                    if self.facts.roles[to] == role {
                        return false;
                    }
                    self.facts.roles[to] = role;
                    self.facts.enrolled[to] = true;
                }
                self.motions[place].end = Some(ProposalState::Executed);
            }
        }
        self.past.insert(self.now, self.facts.clone());
        true
    }
}

fn n(account: usize) -> u16 {
    u16::try_from(account).unwrap()
}

fn name(place: usize) -> u8 {
    u8::try_from(place).unwrap()
}

fn granting(grant: Option<(usize, Role)>) -> Content {
    let action = grant.map_or_else(resolve, |(to, role)| Action::GrantRole {
        account: account(n(to)),
        role,
    });
    content(KIND, vec![action])
}

/// Does a step for real; whether it was allowed.
fn perform(world: &mut World, step: &Step, motions: usize) -> bool {
    let place = |back: usize| motions.checked_sub(back + 1).map(name);
    let done = match step {
        Step::Wait(time) => {
            world.now += time;
            return true;
        }
        Step::Await(_) => unreachable!("it is made a wait"),
        Step::Tokens(of, tokens) => {
            world.tokens(n(*of), *tokens);
            return true;
        }
        Step::Stake(of, stake) => {
            world.stake(1, n(*of), *stake);
            return true;
        }
        Step::Reweigh(king) => {
            let weights = Weights {
                king: *king,
                ..Weights::default()
            };
            world.tell(|draft| draft.set_weights(weights));
            return true;
        }
        Step::Enrol(of) => world.run(&Operation::Enrol {
            account: account(n(*of)),
        }),
        Step::Establish(of, role) => world.establish(&[(n(*of), *role)]),
        Step::Delegate(voter, to) => world.run(&Operation::Delegate {
            voter: account(n(*voter)),
            topics: vec![],
            to: (to.iter())
                .map(|(to, part)| Part {
                    to: account(n(*to)),
                    part: Ppm::new(*part).unwrap(),
                })
                .collect(),
        }),
        Step::Propose(author, grant) => {
            world.propose_that(n(*author), name(motions), granting(*grant))
        }
        Step::Vote(voter, back, choice) => match place(*back) {
            Some(proposal) => world.vote(n(*voter), proposal, *choice),
            None => return false,
        },
        Step::Cancel(by, back) => match place(*back) {
            Some(proposal) => world.cancel(n(*by), proposal),
            None => return false,
        },
        Step::Queue(back) => match place(*back) {
            Some(proposal) => world.queue(proposal),
            None => return false,
        },
        Step::Execute(back) => match place(*back) {
            Some(proposal) => world.execute(proposal),
            None => return false,
        },
    };
    done.is_ok()
}

/// Compares everything, and checks what must always be so.
fn compare(world: &World, model: &mut Model) -> Result<(), TestCaseError> {
    let (facts, nobody) = (&model.facts, BTreeSet::new());
    for of in 0..ACCOUNTS {
        let standing = world.standing(n(of));
        prop_assert_eq!(standing.own.0, facts.own(of));
        prop_assert_eq!(standing.power().0, facts.power(of, &nobody));
        prop_assert_eq!(standing.kept().0, facts.kept(of, &nobody));
    }
    // What everybody weighs is kept by somebody.
    let own: u128 = (0..ACCOUNTS).map(|of| facts.own(of)).sum();
    let kept: u128 = (0..ACCOUNTS).map(|of| facts.kept(of, &nobody)).sum();
    prop_assert_eq!(own, kept);
    prop_assert_eq!(world.dao.total().0, facts.total());
    let now = UnixMillis(model.now);
    let mut seen = Vec::new();
    for (place, motion) in model.motions.iter().enumerate() {
        let proposal = id(name(place));
        let state = world.dao.state(proposal, now).unwrap();
        prop_assert_eq!(state, model.state(motion));
        let forward = state == motion.last || (state > motion.last && !motion.last.is_final());
        prop_assert!(forward, "{:?} after {:?}", state, motion.last);
        seen.push(state);
        let record = world.dao.proposal(proposal).unwrap();
        prop_assert_eq!(record.deadline.0, motion.deadline);
        let facts = model.facts_at(motion.snapshot);
        let voted: BTreeSet<_> = motion.ballots.keys().copied().collect();
        let mut counted = 0;
        for choice in Choice::ALL {
            prop_assert_eq!(record.power.of(choice).0, model.tally(motion, choice));
            counted += record.power.of(choice).0;
        }
        prop_assert!(counted <= facts.total());
        // Each unit of power is in one ballot, or with one who has not voted.
        let cast: u128 = voted.iter().map(|voter| facts.power(*voter, &voted)).sum();
        let unvoted = (0..ACCOUNTS).filter(|of| !voted.contains(of));
        let unvoted: u128 = unvoted.map(|of| facts.kept(of, &voted)).sum();
        if model.now > motion.snapshot {
            let own: u128 = (0..ACCOUNTS).map(|of| facts.own(of)).sum();
            prop_assert_eq!(cast + unvoted, own);
        }
        if state == ProposalState::Active {
            for voter in &voted {
                let ballot = world.dao.ballot(proposal, account(n(*voter))).unwrap();
                prop_assert_eq!(ballot.power.0, facts.power(*voter, &voted));
            }
        }
    }
    for (motion, state) in model.motions.iter_mut().zip(seen) {
        motion.last = state;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn governance_does_what_the_model_does(steps in steps()) {
        let mut world = World::new();
        world.rules = rules();
        let mut model = Model::default();
        model.past.insert(0, Facts::default());
        for step in &steps {
            let motions = model.motions.len();
            let place = |back: usize| motions.checked_sub(back + 1);
            let step = match step {
                Step::Await(back) => {
                    let motion = place(*back).map(|place| &model.motions[place]);
                    &Step::Wait(motion.map_or(0, |motion| model.next(motion)))
                }
                step => step,
            };
            let allowed = model.step(step, place);
            let done = perform(&mut world, step, motions);
            prop_assert_eq!(done, allowed, "{:?}", step);
            let circulating = (0..ACCOUNTS).map(|n| model.facts.units(n)).sum();
            world.circulating(circulating);
            compare(&world, &mut model)?;
        }
        world.check();
    }
}

#[test]
fn topics_do_not_touch_each_other() {
    let mut world = World::new();
    world.enrol(1, 10).enrol(2, 20);
    let other = ProposalKind::ProtocolUpgrade;
    let operation = Operation::Delegate {
        voter: account(1),
        topics: vec![other],
        to: vec![crate::world::part(2, 1_000_000)],
    };
    world.run(&operation).unwrap();
    for topic in ProposalKind::ALL {
        let received = world.dao.standing(account(2), topic).received.0;
        assert_eq!(received, if topic == other { 10 } else { 0 });
    }
}
