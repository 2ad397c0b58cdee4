//! Who gives way to whom.

use fogcompute_base::{Preemption as Rule, Priority, TaskId};

use super::fit::{Chosen, Spot};
use super::profile::{Amounts, Profile, beside, need, within};
use super::{Booking, Decision, Host, Queue, Turn, millis};
use crate::Job;

/// Parties for which it is found out in vain, in one pass, who could give way.
const TRIES_MAX: usize = 4;

/// Most jobs on one node of which all choices are tried. Of more, those go one after another that
/// are least urgent, and whoever turns out not to have been needed stays.
const VICTIMS_EXACT: usize = 3;

/// A run that may be made to give way.
#[derive(Clone, Copy)]
struct Victim {
    job: TaskId,
    host: usize,
    priority: Priority,
    /// It holds its place until then at least.
    until: u64,
    started: u64,
    held_until: u64,
    need: Amounts,
}

/// A node for one member of a party, and who has to go.
struct Way {
    spot: Spot,
    victims: Vec<Victim>,
}

impl Way {
    /// Fewer before more, the less urgent before the more urgent, sooner before later.
    fn rank(&self) -> (usize, u8, u64) {
        let most_urgent = self
            .victims
            .iter()
            .map(|victim| victim.priority as u8)
            .min();
        let urgency = u8::MAX - most_urgent.unwrap_or(u8::MAX);
        (self.victims.len(), urgency, self.spot.at)
    }
}

/// How long before it has to go a job is told, in milliseconds, if it ever has to.
pub(super) fn notice_ms(job: &Job) -> Option<u64> {
    if job.preemptible {
        return Some(0);
    }
    match job.tier.terms().preemption {
        Rule::Never => None,
        Rule::AfterNotice { notice_ms } => Some(notice_ms),
    }
}

impl Queue {
    /// How soon a job may be made to give way, in nanoseconds, if ever.
    fn gives_way(&self, job: TaskId) -> Option<u64> {
        let known = self.jobs.get(&job)?;
        let preemption = self.config.preemption?;
        let may = known.gang.is_empty() && known.preempted < preemption.times_max;
        notice_ms(&known.job).filter(|_| may).map(millis)
    }

    /// Counts a run if it may have to give way.
    pub(super) fn count_prey(&mut self, job: TaskId, index: usize) {
        let gives_way = self.gives_way(job).is_some();
        if let (Some(known), Some(run)) = (self.jobs.get(&job), self.runs.get_mut(&(job, index)))
            && gives_way
            && !run.is_prey
        {
            run.is_prey = true;
            self.prey[known.job.priority as usize] += 1;
        }
    }

    /// Counts a run no longer, whatever became of its job since it was counted.
    pub(super) fn discount_prey(&mut self, job: TaskId, index: usize) {
        if let (Some(known), Some(run)) = (self.jobs.get(&job), self.runs.get_mut(&(job, index)))
            && run.is_prey
        {
            run.is_prey = false;
            self.prey[known.job.priority as usize] -= 1;
        }
    }

    /// Gives notice to those who have to make room for the first party that is late and gains by
    /// it. Whether there was one.
    pub(super) fn preempt(&mut self, now: u64) -> bool {
        let Some(preemption) = self.config.preemption else {
            return false;
        };
        let Some(least_urgent) = self.prey.iter().rposition(|&count| count > 0) else {
            return false;
        };
        let patience = super::nanos(preemption.patience);
        let late = self.waiting.iter().filter(|(_, party)| {
            (party.priority as usize) < least_urgent
                && party.victims.is_empty()
                && party.submitted.saturating_add(patience) <= now
                && party
                    .booking
                    .as_ref()
                    .is_none_or(|booking| booking.at > now)
        });
        let late: Vec<Turn> = late.map(|(&turn, _)| turn).take(TRIES_MAX).collect();
        late.into_iter().any(|turn| self.preempt_for(turn, now))
    }

    fn preempt_for(&mut self, turn: Turn, now: u64) -> bool {
        let before = self.take_off(turn);
        let at = before.as_ref().map_or(u64::MAX, |booking| booking.at);
        let Some((booking, victims)) = self.plan_preemption(turn, now).filter(|(it, _)| it.at < at)
        else {
            if let Some(before) = before {
                self.book(turn, before);
            }
            return false;
        };
        self.freed(turn, before.as_ref());
        for victim in &victims {
            let until = victim.until;
            if let Some(run) = self.runs.get_mut(&(victim.job, victim.host)) {
                run.notice = Some((until, turn));
            }
            self.discount_prey(victim.job, victim.host);
            self.hold(victim.job, victim.host, until.min(victim.held_until));
        }
        let for_job = self.most_urgent(&self.waiting[&turn]);
        let Some(party) = self.waiting.get_mut(&turn) else {
            return false;
        };
        party.victims = victims
            .iter()
            .map(|victim| (victim.job, victim.host))
            .collect();
        party.is_stuck = false;
        for victim in &victims {
            if let Some(host) = &self.hosts[victim.host] {
                self.decisions.push_back(Decision::Notice {
                    job: victim.job,
                    node: host.node.id,
                    until: Self::instant(victim.until),
                    for_job,
                });
            }
        }
        let hosts: Vec<usize> = booking.places.iter().map(|&(host, _)| host).collect();
        self.book(turn, booking);
        for host in hosts {
            self.displace(host);
        }
        true
    }

    /// Where a party could start, and who would have to go for it.
    fn plan_preemption(&self, turn: Turn, now: u64) -> Option<(Booking, Vec<Victim>)> {
        let party = self.waiting.get(&turn)?;
        let mut ways: Vec<Way> = Vec::new();
        let mut chosen: Vec<Chosen> = Vec::new();
        for &member in &party.members {
            let taken: Vec<Victim> = ways.iter().flat_map(|way| way.victims.clone()).collect();
            let way = self.way(turn, member, party.priority, now, (&chosen, &taken))?;
            chosen.push(Chosen {
                job: member,
                need: need(&self.jobs.get(&member)?.job),
                host: way.spot.host,
                from: way.spot.at,
                until: way.spot.until,
            });
            ways.push(way);
        }
        let at = ways.iter().map(|way| way.spot.at).max()?;
        let places = ways.iter().map(|way| {
            let length = way.spot.until - way.spot.at;
            (way.spot.host, at.saturating_add(length))
        });
        let places: Vec<(usize, u64)> = places.collect();
        let victims: Vec<Victim> = ways.into_iter().flat_map(|way| way.victims).collect();
        // Who starts together waits for the last notice, so all is looked at once more.
        let mut chosen: Vec<Chosen> = Vec::new();
        for (&member, &(index, until)) in party.members.iter().zip(&places) {
            let host = self.hosts[index].as_ref()?;
            let seek = self.seek_member(member, turn)?;
            let gone = victims.iter().filter(|victim| victim.host == index);
            let profile = self.profile_without(host, index, turn, gone, &chosen);
            seek.spot(self, index, at, Some(turn), &chosen)?;
            if !profile.fits(&host.capacity, &seek.need, at, until - at) {
                return None;
            }
            chosen.push(Chosen {
                job: member,
                need: seek.need,
                host: index,
                from: at,
                until,
            });
        }
        (!victims.is_empty()).then_some((Booking { at, places }, victims))
    }

    fn profile_without<'a>(
        &self,
        host: &Host,
        index: usize,
        turn: Turn,
        gone: impl Iterator<Item = &'a Victim>,
        chosen: &[Chosen],
    ) -> Profile {
        let mut profile = self.profile_above(host, index, Some(turn)).into_owned();
        for victim in gone {
            profile.remove(victim.until, victim.held_until, &victim.need);
        }
        for chosen in chosen.iter().filter(|chosen| chosen.host == index) {
            profile.add(chosen.from, chosen.until, &chosen.need);
        }
        profile
    }

    /// The best node for one member of a party, beside those that have theirs, without those who
    /// go for them.
    fn way(
        &self,
        turn: Turn,
        member: TaskId,
        priority: Priority,
        now: u64,
        (chosen, taken): (&[Chosen], &[Victim]),
    ) -> Option<Way> {
        let seek = self.seek_member(member, turn)?;
        let mut best: Option<Way> = None;
        for (index, host) in self.hosts.iter().enumerate() {
            let Some(host) = host.as_ref().filter(|host| host.is_open) else {
                continue;
            };
            if !within(&seek.need, &host.capacity) {
                continue;
            }
            let mut victims: Vec<Victim> = host
                .runs
                .iter()
                .filter_map(|&job| self.victim(job, index, priority, now))
                .filter(|victim| {
                    taken
                        .iter()
                        .all(|it| (it.job, it.host) != (victim.job, index))
                })
                .collect();
            let mut left = host.used;
            for victim in victims
                .iter()
                .chain(taken.iter().filter(|it| it.host == index))
            {
                for (left, &need) in left.iter_mut().zip(&victim.need) {
                    *left -= u128::from(need);
                }
            }
            if !beside(&seek.need, &left, &host.capacity) {
                continue;
            }
            // The least urgent first, and of those who lost least.
            victims.sort_by_key(|victim| {
                (
                    std::cmp::Reverse((victim.priority, victim.started)),
                    victim.job,
                )
            });
            let start = |gone: &[Victim]| {
                let at = gone.iter().map(|victim| victim.until).fold(now, u64::max);
                let spot = seek.spot(self, index, at, Some(turn), chosen)?;
                let gone = gone
                    .iter()
                    .chain(taken.iter().filter(|it| it.host == index));
                let profile = self.profile_without(host, index, turn, gone, chosen);
                profile
                    .fits(&host.capacity, &seek.need, at, spot.until - at)
                    .then_some(spot)
            };
            let Some(way) = fewest(&victims, &start) else {
                continue;
            };
            let is_better = |best: &Way| {
                let order = way.rank().cmp(&best.rank());
                order
                    .then(way.spot.score().total_cmp(&best.spot.score()))
                    .is_lt()
            };
            if best.as_ref().is_none_or(is_better) {
                best = Some(way);
            }
        }
        best
    }

    fn victim(&self, job: TaskId, host: usize, priority: Priority, now: u64) -> Option<Victim> {
        let run = self
            .runs
            .get(&(job, host))
            .filter(|run| run.notice.is_none())?;
        let known = self
            .jobs
            .get(&job)
            .filter(|known| known.job.priority > priority)?;
        Some(Victim {
            job,
            host,
            priority: known.job.priority,
            until: now.saturating_add(self.gives_way(job)?),
            started: run.started,
            held_until: run.held_until,
            need: run.need,
        })
    }
}

/// The fewest of these, and of as many those that come first, without whom `start` finds a spot.
fn fewest(victims: &[Victim], start: &impl Fn(&[Victim]) -> Option<Spot>) -> Option<Way> {
    for count in 0..=victims.len().min(VICTIMS_EXACT) {
        if let Some(way) = choose(victims, count, &mut Vec::new(), start) {
            return Some(way);
        }
    }
    let mut gone: Vec<Victim> = victims.to_vec();
    start(&gone)?;
    // The most urgent are let off first.
    for index in (0..gone.len()).rev() {
        let victim = gone.remove(index);
        if start(&gone).is_none() {
            gone.insert(index, victim);
        }
    }
    let spot = start(&gone)?;
    Some(Way {
        spot,
        victims: gone,
    })
}

fn choose(
    victims: &[Victim],
    count: usize,
    gone: &mut Vec<Victim>,
    start: &impl Fn(&[Victim]) -> Option<Spot>,
) -> Option<Way> {
    if count == 0 {
        let spot = start(gone)?;
        let victims = gone.clone();
        return Some(Way { spot, victims });
    }
    for (index, &victim) in victims.iter().enumerate() {
        gone.push(victim);
        let way = choose(&victims[index + 1..], count - 1, gone, start);
        gone.pop();
        if way.is_some() {
            return way;
        }
    }
    None
}
