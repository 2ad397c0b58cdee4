//! Where and when a party could start.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use fogcompute_base::{Domain, TaskId};

use super::profile::{Amounts, Profile, beside, need, within};
use super::{Booking, Host, Party, Queue, STEPS_MAX, Turn, millis};
use crate::placement::{Demands, Pair};
use crate::{Job, Node};

/// Nodes on which a job could start at once of which the best is chosen. Where a search begins
/// depends on the job, so that not all are sent to the same.
const CHOICES_MAX: usize = 64;

/// Nodes that are looked at one by one when something changed on them. If it did on more, the best of
/// all is sought.
pub(super) const HOSTS_MAX: usize = 64;

/// Times at which it is tried whether a gang fits.
const TIMES_MAX: usize = 32;

/// Ends of other jobs that are waited for because of who may run beside whom.
const WAITS_MAX: usize = 64;

/// A job that is sought a place for.
pub(super) struct Seek<'a> {
    demands: Demands<'a>,
    pub(super) job: &'a Job,
    pub(super) need: Amounts,
    /// The party it waits in.
    turn: Turn,
    /// When it must be done.
    deadline: Option<u64>,
    /// Whether other jobs or replicas matter to it.
    is_related: bool,
    /// Runs that end before it starts, whatever is expected of them.
    gone: &'a [(TaskId, usize)],
}

/// A place in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) at: u64,
    pub(super) host: usize,
    pub(super) until: u64,
    score: f64,
}

/// A member of a party that is searched for that has a place already.
pub(super) struct Chosen {
    pub(super) job: TaskId,
    pub(super) need: Amounts,
    pub(super) host: usize,
    pub(super) from: u64,
    pub(super) until: u64,
}

/// How long a job holds its place.
fn held(pair: &Pair) -> u64 {
    // Whatever runs takes its place for a moment, so that it is seen there.
    millis(pair.held_ms().max(1))
}

/// Whether two nodes may be one and the same in a respect.
fn shares(domain: Domain, a: &Node, b: &Node) -> bool {
    match domain {
        Domain::Node => a.id == b.id,
        Domain::Zone => a.zone == b.zone,
        Domain::Region => a.region == b.region,
        Domain::Operator => a.operator == b.operator,
    }
}

impl Queue {
    /// What to look for when `job` is to be placed as a member of the party whose turn this is.
    pub(super) fn seek<'a>(&'a self, job: &'a Job, submitted: u64, turn: Turn) -> Seek<'a> {
        let deadline = job.deadline_ms.map(millis);
        Seek {
            demands: Demands::new(job),
            need: need(job),
            turn,
            deadline: deadline.map(|deadline| submitted.saturating_add(deadline)),
            gone: &[],
            is_related: job.replica_count() > 1
                || job.spread.is_some()
                || !job.affinity.is_empty()
                || !job.anti_affinity.is_empty()
                || self.named_by.contains_key(&job.id),
            job,
        }
    }

    pub(super) fn seek_member(&self, member: TaskId, turn: Turn) -> Option<Seek<'_>> {
        let known = self.jobs.get(&member)?;
        Some(self.seek(&known.job, known.submitted, turn))
    }

    /// Whether a node could take a job if nothing ran.
    pub(super) fn may_be_on(&self, member: TaskId, index: usize) -> bool {
        let host = self.hosts.get(index).and_then(Option::as_ref);
        let host = host.filter(|host| host.is_open);
        host.zip(self.jobs.get(&member))
            .is_some_and(|(host, known)| Demands::new(&known.job).pair(index, &host.node).is_some())
    }

    /// Whether each member of a party has a node that could take it if nothing ran.
    pub(super) fn has_nodes(&self, party: &Party) -> bool {
        let mut last = None;
        party.members.iter().all(|&member| {
            if last.replace(member) == Some(member) {
                return true;
            }
            let Some(known) = self.jobs.get(&member) else {
                return false;
            };
            let demands = Demands::new(&known.job);
            let mut is_found = false;
            self.whole
                .visit(&need(&known.job), start_of(member), |index| {
                    let host = self.hosts.get(index).and_then(Option::as_ref);
                    let mut open = host.into_iter().filter(|host| host.is_open);
                    is_found = open.any(|host| demands.pair(index, &host.node).is_some());
                    if is_found {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
            is_found
        })
    }

    /// The profile of a node, without what parties whose turn is after `above` have booked.
    pub(super) fn profile_above<'a>(
        &self,
        host: &'a Host,
        index: usize,
        above: Option<Turn>,
    ) -> Cow<'a, Profile> {
        let mut profile = Cow::Borrowed(&host.profile);
        let later = above
            .into_iter()
            .flat_map(|above| host.booked.range(above..));
        for turn in later {
            let Some(party) = self.waiting.get(turn) else {
                continue;
            };
            for (from, until, need) in self.bookings_on(party, index) {
                profile.to_mut().remove(from, until, &need);
            }
        }
        profile
    }

    /// What a party has booked on a node.
    pub(super) fn bookings_on<'a>(
        &'a self,
        party: &'a Party,
        index: usize,
    ) -> impl Iterator<Item = (u64, u64, Amounts)> + 'a {
        let booking = party.booking.iter();
        let places =
            booking.flat_map(|booking| booking.places.iter().map(|place| (booking.at, place)));
        let members = places.zip(&party.members);
        members.filter_map(move |((at, &(host, until)), member)| {
            let known = self.jobs.get(member).filter(|_| host == index)?;
            Some((at, until, need(&known.job)))
        })
    }

    /// Where and when a job runs or is to run, its members of `seek`'s own party left out.
    fn occupancies(
        &self,
        seek: &Seek<'_>,
        job: TaskId,
        above: Option<Turn>,
        chosen: &[Chosen],
    ) -> Vec<(usize, u64, u64)> {
        let own = seek.turn;
        let Some(known) = self.jobs.get(&job) else {
            return Vec::new();
        };
        let stays = |host: &&usize| !seek.gone.contains(&(job, **host));
        let runs = known.runs.iter().filter(stays).filter_map(|&host| {
            let run = self.runs.get(&(job, host))?;
            Some((host, run.started, run.held_until))
        });
        let mut occupancies: Vec<_> = runs.collect();
        let counted = |turn: &&Turn| **turn != own && above.is_none_or(|above| **turn < above);
        for turn in known.parties.iter().filter(counted) {
            let Some((party, booking)) = self
                .waiting
                .get(turn)
                .and_then(|party| Some((party, party.booking.as_ref()?)))
            else {
                continue;
            };
            for (_, &(host, until)) in party
                .members
                .iter()
                .zip(&booking.places)
                .filter(|&(&member, _)| member == job)
            {
                occupancies.push((host, booking.at, until));
            }
        }
        let chosen = chosen.iter().filter(|chosen| chosen.job == job);
        occupancies.extend(chosen.map(|chosen| (chosen.host, chosen.from, chosen.until)));
        occupancies
    }

    /// All jobs whose place matters to a job, itself too if it has replicas.
    pub(super) fn related(&self, job: &Job) -> BTreeSet<TaskId> {
        let mut related: BTreeSet<TaskId> = job
            .affinity
            .iter()
            .chain(&job.anti_affinity)
            .copied()
            .collect();
        related.extend(self.named_by.get(&job.id).into_iter().flatten());
        if let Some(spread) = &job.spread {
            related.extend(self.groups.get(&spread.group).into_iter().flatten());
        }
        if job.replica_count() > 1 {
            related.insert(job.id);
        }
        related
    }

    /// Whether a job may be on a node in this time as far as other jobs and replicas go.
    fn admits(
        &self,
        seek: &Seek<'_>,
        index: usize,
        (from, until): (u64, u64),
        above: Option<Turn>,
        chosen: &[Chosen],
    ) -> bool {
        let Some(host) = self.hosts[index].as_ref() else {
            return false;
        };
        let job = seek.job;
        let node = |index: usize| self.hosts[index].as_ref().map(|host| &host.node);
        let alongside = |job: TaskId| {
            let all = self.occupancies(seek, job, above, chosen);
            all.into_iter()
                .filter(move |&(_, start, end)| start < until && from < end)
        };
        if job.replica_count() > 1 {
            let distinct = job.tier.terms().distinct;
            // Replicas differ even if one ends before another starts.
            let others = self.occupancies(seek, job.id, above, chosen);
            let mut others = others.into_iter().filter_map(|(other, ..)| node(other));
            if others.any(|other| {
                distinct
                    .iter()
                    .any(|&domain| shares(domain, other, &host.node))
            }) {
                return false;
            }
        }
        let names = |name: TaskId, list: fn(&Job) -> &Vec<TaskId>| {
            list(job).contains(&name)
                || self
                    .jobs
                    .get(&name)
                    .is_some_and(|known| list(&known.job).contains(&job.id))
        };
        // Those that are left may be too few to be wherever the others are.
        let is_done_somewhere = |job| {
            let known = self.jobs.get(&job);
            known.is_some_and(|known| known.is_done_somewhere)
        };
        let named = self.named_by.get(&job.id).into_iter().flatten();
        for &other in job.affinity.iter().chain(&job.anti_affinity).chain(named) {
            if other == job.id {
                continue;
            }
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                alongside(other).partition(|&(place, ..)| place == index);
            if !here.is_empty() && names(other, |job| &job.anti_affinity) {
                return false;
            }
            // Where it is elsewhere it has to be here too.
            let is_here = |at: u64| here.iter().any(|&(_, start, end)| start <= at && at < end);
            let mut starts = elsewhere.into_iter().map(|(_, start, _)| start.max(from));
            if names(other, |job| &job.affinity)
                && ![job.id, other].into_iter().any(is_done_somewhere)
                && !starts.all(is_here)
            {
                return false;
            }
        }
        let Some(spread) = &job.spread else {
            return true;
        };
        let group = self.groups.get(&spread.group).into_iter().flatten();
        let places = group.flat_map(|&other| alongside(other));
        let sharing = places
            .filter_map(|(place, ..)| node(place))
            .filter(|other| shares(spread.over, other, &host.node));
        sharing.count() < usize::try_from(spread.most).unwrap_or(usize::MAX)
    }

    /// When next after `at` another job ends that matters to one.
    fn next_end(&self, seek: &Seek<'_>, at: u64, above: Option<Turn>) -> Option<u64> {
        let related = self.related(seek.job).into_iter();
        let occupancies = related.flat_map(|job| self.occupancies(seek, job, above, &[]));
        occupancies
            .map(|(.., until)| until)
            .filter(|&until| until > at)
            .min()
    }

    /// When a job could first start on a node.
    pub(super) fn earliest_on(
        &self,
        seek: &Seek<'_>,
        index: usize,
        mut after: u64,
        above: Option<Turn>,
    ) -> Option<Spot> {
        let host = self
            .hosts
            .get(index)?
            .as_ref()
            .filter(|host| host.is_open)?;
        if !within(&seek.need, &host.capacity) {
            return None;
        }
        let pair = seek.demands.pair(index, &host.node)?;
        let held = held(&pair);
        let profile = self.profile_above(host, index, above);
        for _ in 0..WAITS_MAX {
            let at = profile.earliest(&host.capacity, &seek.need, after, held)?;
            let until = at.saturating_add(held);
            if !seek.is_in_time(&host.node, until) {
                return None;
            }
            if !seek.is_related || self.admits(seek, index, (at, until), above, &[]) {
                return Some(Spot {
                    at,
                    host: index,
                    until,
                    score: self.score(seek.job, &pair, host),
                });
            }
            after = self.next_end(seek, at, above)?;
        }
        None
    }

    /// The weighted sum of what is minimised, for a job on a node.
    pub(super) fn score(&self, job: &Job, pair: &Pair, host: &Host) -> f64 {
        let rates = &self.config.rates;
        let node = &host.node;
        let others = node.cpu_millis_total - node.cpu_millis_free;
        let taken = others as f64 + host.used[0] as f64 + job.cpu_millis as f64;
        rates.completion_ms * (pair.held_ms() as f64 + node.latency_ms)
            + rates.node_use * (taken / f64::max(node.cpu_millis_total as f64, 1.0))
            + rates.distrust * (1.0 - node.trust)
            + rates.cost * pair.cost as f64
            + rates.price * pair.price as f64
    }

    /// The better of two spots: the earlier, then the one of the lower score.
    pub(super) fn better(&self, a: Option<Spot>, b: Spot) -> Option<Spot> {
        let id = |spot: &Spot| self.hosts[spot.host].as_ref().map(|host| host.node.id);
        let is_better = |a: &Spot| {
            let order = a.at.cmp(&b.at).then(a.score.total_cmp(&b.score));
            order.then_with(|| id(a).cmp(&id(&b))).is_le()
        };
        Some(a.filter(is_better).unwrap_or(b))
    }

    /// The best of the nodes on which a job could start now.
    pub(super) fn spot_now(&self, seek: &Seek<'_>, now: u64, above: Option<Turn>) -> Option<Spot> {
        let mut best = None;
        let mut choices = 0;
        self.free.visit(&seek.need, start_of(seek.job.id), |index| {
            if let Some(spot) = self.earliest_on(seek, index, now, above)
                && spot.at == now
            {
                best = self.better(best, spot);
                choices += 1;
            }
            if choices == CHOICES_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        best
    }

    /// The best of the nodes on which a job can start soonest, if it can start on none now.
    fn spot_later(&self, seek: &Seek<'_>, now: u64, above: Option<Turn>) -> Option<Spot> {
        let mut best = None;
        if seek.is_related {
            // It may wait for others on a node that has room.
            self.whole.visit(&seek.need, 0, |index| {
                if let Some(spot) = self.earliest_on(seek, index, now, above) {
                    best = self.better(best, spot);
                }
                ControlFlow::Continue(())
            });
            return best;
        }
        let mut seen = BTreeSet::new();
        for &(at, index) in self.frees.keys() {
            // It starts nowhere before something ends there.
            if best.is_some_and(|best: Spot| best.at < at) {
                break;
            }
            if seen.insert(index)
                && best.is_none_or(|best| self.may_be_by(seek, index, now, above, best.at))
                && let Some(spot) = self.earliest_on(seek, index, now, above)
            {
                best = self.better(best, spot);
            }
        }
        best
    }

    /// Whether a node has room for a job for a moment at least by some time. Quick, and sure only if
    /// it says no.
    fn may_be_by(
        &self,
        seek: &Seek<'_>,
        index: usize,
        now: u64,
        above: Option<Turn>,
        by: u64,
    ) -> bool {
        let Some(host) = self.hosts[index].as_ref().filter(|_| above.is_none()) else {
            return true;
        };
        let first = host.profile.earliest(&host.capacity, &seek.need, now, 0);
        first.is_some_and(|first| first <= by)
    }

    /// Where and when a party could first start: now, or if `or_later` at any time.
    pub(super) fn find(
        &self,
        turn: Turn,
        party: &Party,
        now: u64,
        above: Option<Turn>,
        or_later: bool,
    ) -> Option<Booking> {
        let [member] = party.members[..] else {
            return self.find_together(turn, party, now, above, or_later);
        };
        let seek = self.seek_member(member, turn)?;
        let mut best = self.spot_now(&seek, now, above);
        if best.is_none() && or_later {
            best = self.spot_later(&seek, now, above);
        }
        best.map(Spot::booking)
    }

    /// The same on these nodes only, before `sooner_than`. A party of several is sought everywhere
    /// if one of them could start so soon on one of these.
    pub(super) fn find_on(
        &self,
        turn: Turn,
        party: &Party,
        now: u64,
        hosts: &[usize],
        sooner_than: u64,
    ) -> Option<Booking> {
        let or_later = sooner_than > now.saturating_add(1);
        if hosts.len() > HOSTS_MAX {
            return self.find(turn, party, now, None, or_later);
        }
        let spots = |seek: &Seek<'_>| {
            let spots = hosts.iter();
            let spots = spots.filter_map(|&host| self.earliest_on(seek, host, now, None));
            let soon = spots.filter(|spot| spot.at < sooner_than);
            soon.fold(None, |best, spot| self.better(best, spot))
        };
        if let [member] = party.members[..] {
            return spots(&self.seek_member(member, turn)?).map(Spot::booking);
        }
        let mut seeks = party.members.iter().map(|&it| self.seek_member(it, turn));
        let gains = seeks.any(|seek| seek.is_some_and(|seek| spots(&seek).is_some()));
        gains
            .then(|| self.find(turn, party, now, None, or_later))
            .flatten()
    }

    fn find_together(
        &self,
        turn: Turn,
        party: &Party,
        now: u64,
        above: Option<Turn>,
        or_later: bool,
    ) -> Option<Booking> {
        let mut kinds: Vec<Kind<'_>> = Vec::new();
        for (index, &member) in party.members.iter().enumerate() {
            if let Some(kind) = kinds.iter_mut().find(|kind| kind.seek.job.id == member) {
                kind.members.push(index);
                continue;
            }
            let seek = self.seek_member(member, turn)?;
            let mut spots = Vec::new();
            let nodes = if or_later { &self.whole } else { &self.free };
            nodes.visit(&seek.need, start_of(member), |index| {
                let spot = self.earliest_on(&seek, index, now, above);
                spots.extend(spot.filter(|spot| or_later || spot.at == now));
                ControlFlow::Continue(())
            });
            kinds.push(Kind {
                seek,
                members: vec![index],
                spots,
            });
        }
        let mut times = BTreeSet::new();
        let mut first = now;
        for kind in &mut kinds {
            kind.spots.sort_by_key(|spot| spot.at);
            // Replicas are on as many nodes.
            first = first.max(kind.spots.get(kind.members.len() - 1)?.at);
            times.extend(kind.spots.iter().map(|spot| spot.at));
        }
        let mut times: Vec<u64> = times.range(first..).copied().take(TIMES_MAX).collect();
        if or_later {
            let hosts = self.hosts.iter().flatten().filter(|host| host.is_open);
            times.extend(
                hosts
                    .map(|host| host.profile.horizon())
                    .max()
                    .map(|end| end.max(first)),
            );
        }
        for kind in &mut kinds {
            kind.spots.sort_by(|a, b| a.score.total_cmp(&b.score));
        }
        // Who has the fewest choices comes first.
        kinds.sort_by_key(|kind| kind.spots.len());
        times.into_iter().find_map(|at| {
            let mut packing = Packing {
                queue: self,
                kinds: &kinds,
                at,
                above,
                steps: STEPS_MAX,
                chosen: Vec::new(),
            };
            packing.place(0, 0, 0).then(|| {
                let mut places = vec![(0, 0); party.members.len()];
                let members = kinds.iter().flat_map(|kind| &kind.members);
                for (&member, chosen) in members.zip(&packing.chosen) {
                    places[member] = (chosen.host, chosen.until);
                }
                Booking { at, places }
            })
        })
    }

    /// Whether a party that has no booking any more can start now at these places, were `stopped`
    /// stopped, and hold them for as long as there was booked.
    pub(super) fn has_room(
        &self,
        turn: Turn,
        party: &Party,
        booking: &Booking,
        now: u64,
        stopped: &[(TaskId, usize)],
    ) -> bool {
        let mut chosen: Vec<Chosen> = Vec::new();
        party
            .members
            .iter()
            .zip(&booking.places)
            .all(|(&member, &(index, until))| {
                let Some(mut seek) = self.seek_member(member, turn) else {
                    return false;
                };
                seek.gone = stopped;
                let Some(host) = self.hosts[index].as_ref().filter(|host| host.is_open) else {
                    return false;
                };
                let mut used = host.used;
                let mut profile = Cow::Borrowed(&host.profile);
                for run in stopped.iter().filter(|run| run.1 == index) {
                    for (used, &need) in used.iter_mut().zip(&self.runs[run].need) {
                        *used -= u128::from(need);
                    }
                }
                for chosen in chosen.iter().filter(|chosen| chosen.host == index) {
                    profile
                        .to_mut()
                        .add(chosen.from, chosen.until, &chosen.need);
                    for (used, &need) in used.iter_mut().zip(&chosen.need) {
                        *used += u128::from(need);
                    }
                }
                let length = until - booking.at;
                let until = now.saturating_add(length);
                let fits = beside(&seek.need, &used, &host.capacity)
                && profile.fits(&host.capacity, &seek.need, now, length)
                && seek.is_in_time(&host.node, until)
                // What runs is there, even if it was expected to have ended.
                && (!seek.is_related || self.admits(&seek, index, (0, until), None, &chosen));
                chosen.push(Chosen {
                    job: member,
                    need: seek.need,
                    host: index,
                    from: now,
                    until,
                });
                fits
            })
    }
}

/// Where a search among nodes begins, different for each job.
fn start_of(job: TaskId) -> usize {
    let bytes = job.as_bytes().iter();
    bytes.fold(0, |sum: usize, &byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    })
}

impl Seek<'_> {
    /// Whether what is done on a node at `until` is known in time.
    fn is_in_time(&self, node: &Node, until: u64) -> bool {
        // Below 2^62, as a latency is at most 10^12 ms.
        let latency = millis(node.latency_ms.ceil() as u64);
        self.deadline
            .is_none_or(|deadline| until.saturating_add(latency) <= deadline)
    }

    /// It on a node from `at` on, as far as everything but room allows it.
    pub(super) fn spot(
        &self,
        queue: &Queue,
        index: usize,
        at: u64,
        above: Option<Turn>,
        chosen: &[Chosen],
    ) -> Option<Spot> {
        let host = queue
            .hosts
            .get(index)?
            .as_ref()
            .filter(|host| host.is_open)?;
        let pair = self.demands.pair(index, &host.node)?;
        let until = at.saturating_add(held(&pair));
        let admits = !self.is_related || queue.admits(self, index, (at, until), above, chosen);
        (admits && self.is_in_time(&host.node, until)).then(|| Spot {
            at,
            host: index,
            until,
            score: queue.score(self.job, &pair, host),
        })
    }
}

impl Spot {
    pub(super) fn booking(self) -> Booking {
        Booking {
            at: self.at,
            places: vec![(self.host, self.until)],
        }
    }

    pub(super) fn score(&self) -> f64 {
        self.score
    }
}

/// A job of a party with all its replicas.
struct Kind<'a> {
    seek: Seek<'a>,
    /// Which members of the party they are.
    members: Vec<usize>,
    /// When each node could first take one.
    spots: Vec<Spot>,
}

/// The search for a way in which a party fits at one time.
struct Packing<'a> {
    queue: &'a Queue,
    kinds: &'a [Kind<'a>],
    at: u64,
    above: Option<Turn>,
    steps: usize,
    chosen: Vec<Chosen>,
}

impl Packing<'_> {
    /// Places what is left of one kind on nodes from `from` on, and all kinds after it.
    fn place(&mut self, kind: usize, placed: usize, from: usize) -> bool {
        let Some(this) = self.kinds.get(kind) else {
            return true;
        };
        if placed == this.members.len() {
            return self.place(kind + 1, 0, 0);
        }
        for (index, spot) in this.spots.iter().enumerate().skip(from) {
            if spot.at > self.at {
                continue;
            }
            if self.steps == 0 {
                return false;
            }
            self.steps -= 1;
            let Some(chosen) = self.try_on(this, spot) else {
                continue;
            };
            self.chosen.push(chosen);
            // Replicas are all the same: in another order they are no other way.
            if self.place(kind, placed + 1, index + 1) {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    fn try_on(&self, kind: &Kind<'_>, spot: &Spot) -> Option<Chosen> {
        let queue = self.queue;
        let host = queue.hosts[spot.host].as_ref()?;
        let length = spot.until - spot.at;
        let until = self.at.saturating_add(length);
        let mut profile = queue.profile_above(host, spot.host, self.above);
        for chosen in self.chosen.iter().filter(|chosen| chosen.host == spot.host) {
            profile
                .to_mut()
                .add(chosen.from, chosen.until, &chosen.need);
        }
        let seek = &kind.seek;
        let fits = profile.fits(&host.capacity, &seek.need, self.at, length)
            && seek.is_in_time(&host.node, until)
            && (!seek.is_related
                || queue.admits(seek, spot.host, (self.at, until), self.above, &self.chosen));
        fits.then_some(Chosen {
            job: seek.job.id,
            need: seek.need,
            host: spot.host,
            from: self.at,
            until,
        })
    }
}
