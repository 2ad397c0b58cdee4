//! What follows from what happened.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fogcompute_base::{Instant, TaskId};

use super::fit::HOSTS_MAX;
use super::profile::{Amounts, beside, need, within};
use super::{
    Backfill, Booking, Cause, Decision, Fresh, Obstacle, Party, Queue, Run, Turn, millis, nanos,
};

/// Times a pass follows up what it made free itself; the next goes on from there.
const SWEEPS_MAX: usize = 8;

/// What became of a party.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Gone,
    Waits,
    /// It could not start at any time.
    Stuck,
}

/// What a sweep looks at.
struct Scope {
    dirty: BTreeSet<usize>,
    hosts: Vec<usize>,
    fresh: BTreeMap<Turn, Fresh>,
}

impl Scope {
    /// Whether one of the nodes is like this. Many are not asked.
    fn is_on_any(&self, is_so: impl Fn(usize) -> bool) -> bool {
        self.hosts.len() > HOSTS_MAX || self.hosts.iter().any(|&index| is_so(index))
    }
}

impl Queue {
    /// Draws all conclusions from what happened until `now`.
    pub(super) fn pass(&mut self, now: u64) {
        let timers = [
            self.ends.first().map(|&(at, ..)| at),
            self.due.first().map(|&(at, _)| at),
            self.alarms.first().map(|&(at, _)| at),
        ];
        if !self.is_stirred && !timers.into_iter().flatten().any(|at| at <= now) {
            return;
        }
        self.is_stirred = false;
        self.start_due(now);
        self.overrun(now);
        self.heed_alarms(now);
        let mut sweeps = 0;
        while sweeps < SWEEPS_MAX {
            sweeps += 1;
            let scope = self.scope();
            self.sweep(now, &scope);
            let preempts = self.preempt(now);
            if preempts {
                // Who may be stopped without notice is stopped now, or stays.
                self.start_due(now);
                self.overrun(now);
            }
            if !preempts && self.has_no_news() {
                break;
            }
            // What is left, and whoever is late too, is for the next pass.
            self.is_stirred = sweeps == SWEEPS_MAX;
        }
        self.tell_waits();
    }

    fn has_no_news(&self) -> bool {
        self.dirty.is_empty() && self.vacated.is_empty() && self.fresh.is_empty()
    }

    fn scope(&mut self) -> Scope {
        let mut dirty = std::mem::take(&mut self.dirty);
        let vacated = std::mem::take(&mut self.vacated);
        // Who has a reservation knows already what was expected, and that is everybody then.
        if self.config.backfill != Backfill::Conservative {
            dirty.extend(vacated);
        }
        Scope {
            hosts: dirty.iter().copied().collect(),
            dirty,
            fresh: std::mem::take(&mut self.fresh),
        }
    }

    fn sweep(&mut self, now: u64, scope: &Scope) {
        for &index in &scope.hosts {
            if let Some(host) = self.hosts[index].as_mut() {
                host.profile.forget_before(now);
            }
        }
        if self.config.backfill == Backfill::Conservative {
            let may_gain = |party: &Party| self.may_gain(party, now, scope);
            for turn in self.concerned(Bound::Unbounded, scope, may_gain) {
                self.settle(turn, now, scope);
            }
            return;
        }
        let mut after = Bound::Unbounded;
        loop {
            let next = self.waiting.range((after, Bound::Unbounded)).next();
            let Some((&turn, party)) = next else {
                return;
            };
            // Who is stuck does not hold up the others, and takes no reservation from them.
            let is_stuck = party.is_stuck && !scope.fresh.contains_key(&turn);
            let before = self.head.filter(|&head| head != turn && !is_stuck);
            let kept = before.and_then(|before| self.take_off_head(before));
            let outcome = self.settle(turn, now, scope);
            match (before, kept) {
                (Some(before), Some(kept)) if outcome == Outcome::Stuck => self.book(before, kept),
                (Some(before), kept) if outcome != Outcome::Stuck => {
                    self.freed(before, kept.as_ref());
                    self.head = None;
                }
                _ => {}
            }
            match outcome {
                Outcome::Waits => {
                    if self.head.replace(turn) != Some(turn) {
                        self.unsaid.insert(turn);
                    }
                    break;
                }
                Outcome::Gone => {}
                Outcome::Stuck => after = Bound::Excluded(turn),
            }
        }
        let Some(head) = self.head else { return };
        self.unstick_after(head, now, scope);
        if self.config.backfill == Backfill::None {
            return;
        }
        let could_start = |party: &Party| {
            !party.victims.is_empty()
                || scope.is_on_any(|index| self.has_unused(index, &party.least))
        };
        for turn in self.concerned(Bound::Excluded(head), scope, could_start) {
            let Some(party) = self.waiting.get(&turn) else {
                continue;
            };
            if !party.victims.is_empty() {
                self.settle(turn, now, scope);
                continue;
            }
            let found = if scope.fresh.contains_key(&turn) {
                self.find(turn, party, now, None, false)
            } else {
                self.find_on(turn, party, now, &scope.hosts, now.saturating_add(1))
            };
            if let Some(booking) = found {
                self.start(turn, &booking, now);
            }
        }
    }

    /// Whom it concerns what happened: those that are to be looked at again, and, of those after
    /// some turn, whoever could gain by what is free now.
    fn concerned(
        &self,
        after: Bound<Turn>,
        scope: &Scope,
        gains: impl Fn(&Party) -> bool,
    ) -> Vec<Turn> {
        let range = (after, Bound::Unbounded);
        if scope.hosts.is_empty() {
            let fresh = scope.fresh.range(range).map(|(&turn, _)| turn);
            return fresh
                .filter(|turn| self.waiting.contains_key(turn))
                .collect();
        }
        let waiting = self.waiting.range(range);
        let concerned =
            waiting.filter(|&(turn, party)| scope.fresh.contains_key(turn) || gains(party));
        concerned.map(|(&turn, _)| turn).collect()
    }

    /// Has those looked at again, when their turn comes, that could not start at any time before
    /// this happened.
    fn unstick_after(&mut self, head: Turn, now: u64, scope: &Scope) {
        let could = |party: &Party| party.is_stuck && self.may_gain(party, now, scope);
        for turn in self.concerned(Bound::Excluded(head), scope, could) {
            if let Some(party) = self.waiting.get_mut(&turn) {
                party.is_stuck = false;
            }
        }
    }

    /// Takes its reservation from who was first in turn, if that is all it has it for.
    fn take_off_head(&mut self, turn: Turn) -> Option<Booking> {
        let is_only_first = |party: &Party| party.victims.is_empty();
        self.waiting
            .get(&turn)
            .filter(|party| is_only_first(party))?;
        self.take_off(turn)
    }

    /// Whether a node has this much that no run takes.
    fn has_unused(&self, index: usize, amounts: &Amounts) -> bool {
        let host = self.hosts[index].as_ref();
        host.is_some_and(|host| within(amounts, &host.unused()))
    }

    /// Whether what is free now could let a party start sooner.
    fn may_gain(&self, party: &Party, now: u64, scope: &Scope) -> bool {
        let at = party
            .booking
            .as_ref()
            .map_or(u64::MAX, |booking| booking.at);
        at > now
            && scope.is_on_any(|index| {
                let host = self.hosts[index].as_ref();
                host.is_some_and(|host| within(&party.least, &host.capacity))
            })
    }

    /// Starts a party if it can, or else sees to it that it has the best reservation there is.
    fn settle(&mut self, turn: Turn, now: u64, scope: &Scope) -> Outcome {
        let Some(party) = self.waiting.get(&turn) else {
            return Outcome::Gone;
        };
        let fresh = scope.fresh.get(&turn).copied();
        let is_sought_everywhere = fresh.is_some() || (party.booking.is_none() && !party.is_stuck);
        let touches = |booking: &Booking| {
            booking
                .places
                .iter()
                .any(|(host, _)| scope.dirty.contains(host))
        };
        let is_in_its_own_way = is_sought_everywhere
            || party.members.len() > 1
            || party.booking.as_ref().is_some_and(touches);
        let before = party.booking.clone();
        if is_in_its_own_way {
            self.take_off(turn);
        }
        let Some(party) = self.waiting.get(&turn) else {
            return Outcome::Gone;
        };
        let mut found = if is_sought_everywhere {
            self.find(turn, party, now, None, true)
        } else {
            let sooner_than = before.as_ref().map_or(u64::MAX, |before| before.at);
            self.find_on(turn, party, now, &scope.hosts, sooner_than)
        };
        let mut displaces = false;
        if fresh == Some(Fresh::New)
            && self.config.backfill == Backfill::Conservative
            && found.as_ref().is_none_or(|found| found.at > now)
            && self
                .waiting
                .range(turn..)
                .any(|(_, later)| later.booking.is_some())
        {
            let first = self.find(turn, party, now, Some(turn), true);
            let at = |booking: &Option<Booking>| booking.as_ref().map_or(u64::MAX, |it| it.at);
            if at(&first) < at(&found) {
                found = first;
                displaces = true;
            }
        }
        let is_sooner = |new: &Booking| before.as_ref().is_none_or(|before| new.at < before.at);
        let Some(found) = found.filter(is_sooner) else {
            if let Some(before) = before {
                if is_in_its_own_way {
                    self.book(turn, before);
                }
                return Outcome::Waits;
            }
            // What was not sought everywhere is as stuck as before.
            return if is_sought_everywhere {
                self.strand(turn, now)
            } else {
                Outcome::Stuck
            };
        };
        if before.is_some() {
            if !is_in_its_own_way {
                self.take_off(turn);
            }
            self.freed(turn, before.as_ref());
        }
        if let Some(party) = self.waiting.get_mut(&turn) {
            party.is_stuck = false;
        }
        if displaces {
            let hosts: BTreeSet<usize> = found.places.iter().map(|&(host, _)| host).collect();
            self.book(turn, found.clone());
            for host in hosts {
                self.displace(host);
            }
            if found.at > now {
                return Outcome::Waits;
            }
            self.take_off(turn);
        }
        if found.at > now {
            self.book(turn, found);
            return Outcome::Waits;
        }
        self.start(turn, &found, now);
        Outcome::Gone
    }

    /// A party has no time at which it could start.
    fn strand(&mut self, turn: Turn, now: u64) -> Outcome {
        let Some(party) = self.waiting.get(&turn) else {
            return Outcome::Gone;
        };
        let is_hopeless = !self.has_nodes(party)
            || (party.members.len() > 1 && party.deadline.is_none() && !self.is_related(party));
        if is_hopeless && let Some(mut party) = self.take_waiting(turn) {
            let victims = std::mem::take(&mut party.victims);
            self.put_to_sleep(turn, party);
            self.lift(&victims, now);
            return Outcome::Gone;
        }
        if let Some(party) = self.waiting.get_mut(&turn) {
            party.is_stuck = true;
        }
        Outcome::Stuck
    }

    fn is_related(&self, party: &Party) -> bool {
        party.members.iter().any(|member| {
            self.jobs.get(member).is_some_and(|known| {
                let mut others = self.related(&known.job);
                others.remove(member);
                !others.is_empty()
            })
        })
    }

    fn take_waiting(&mut self, turn: Turn) -> Option<Party> {
        if self.head == Some(turn) {
            self.head = None;
        }
        self.waiting.remove(&turn)
    }

    /// Writes a reservation down.
    pub(super) fn book(&mut self, turn: Turn, booking: Booking) {
        let Some(party) = self.waiting.get_mut(&turn) else {
            return;
        };
        for (member, &(index, until)) in party.members.iter().zip(&booking.places) {
            if let (Some(known), Some(host)) = (self.jobs.get(member), self.hosts[index].as_mut()) {
                host.profile.add(booking.at, until, &need(&known.job));
                host.booked.insert(turn);
            }
        }
        for &(index, until) in &booking.places {
            *self.frees.entry((until, index)).or_default() += 1;
        }
        self.due.insert((booking.at, turn));
        party.booking = Some(booking);
    }

    /// Crosses a reservation out, as if it had never been.
    pub(super) fn take_off(&mut self, turn: Turn) -> Option<Booking> {
        let party = self.waiting.get_mut(&turn)?;
        let booking = party.booking.take()?;
        for (member, &(index, until)) in party.members.iter().zip(&booking.places) {
            if let (Some(known), Some(host)) = (self.jobs.get(member), self.hosts[index].as_mut()) {
                host.profile.remove(booking.at, until, &need(&known.job));
                host.booked.remove(&turn);
            }
        }
        for &(index, until) in &booking.places {
            self.drop_free(until, index);
        }
        self.due.remove(&(booking.at, turn));
        Some(booking)
    }

    /// What a party had booked is free for others.
    pub(super) fn freed(&mut self, turn: Turn, booking: Option<&Booking>) {
        let Some(booking) = booking else { return };
        for &(host, _) in &booking.places {
            self.mark_dirty(host);
        }
        let members = self.waiting.get(&turn).map(|party| party.members.clone());
        for member in members.unwrap_or_default() {
            self.wake_related(member);
        }
    }

    fn unbook(&mut self, turn: Turn) {
        let booking = self.take_off(turn);
        self.freed(turn, booking.as_ref());
    }

    /// Takes its reservation from a party that has to find another.
    fn evict(&mut self, turn: Turn) {
        self.unbook(turn);
        self.fresh.entry(turn).or_insert(Fresh::Again);
        self.is_stirred = true;
    }

    /// Takes all reservations on a node from their parties.
    pub(super) fn unbook_all(&mut self, index: usize) {
        let booked = self.hosts[index].as_ref().map(|host| host.booked.clone());
        for turn in booked.unwrap_or_default() {
            self.evict(turn);
        }
    }

    /// Takes their reservations on a node from those whose turn is last until all that is booked is
    /// there.
    pub(super) fn displace(&mut self, index: usize) {
        let booked = self.hosts[index].as_ref().map(|host| host.booked.clone());
        for turn in booked.unwrap_or_default().into_iter().rev() {
            let over = self.hosts[index].as_ref().zip(self.waiting.get(&turn));
            let is_over = over.is_some_and(|(host, party)| {
                let mut windows = self.bookings_on(party, index);
                windows.any(|(from, until, _)| host.profile.is_over(&host.capacity, from, until))
            });
            if is_over {
                self.evict(turn);
            }
        }
    }

    pub(super) fn mark_dirty(&mut self, host: usize) {
        if self.hosts[host].as_ref().is_some_and(|host| host.is_open) {
            self.dirty.insert(host);
        }
    }

    /// Has those searched for again to whom it matters where a job is.
    pub(super) fn wake_related(&mut self, job: TaskId) {
        let related = self.jobs.get(&job).map(|known| self.related(&known.job));
        for other in related.unwrap_or_default() {
            let parties = self.jobs.get(&other).map(|known| known.parties.clone());
            for turn in parties.unwrap_or_default() {
                if self.waiting.contains_key(&turn) {
                    self.fresh.entry(turn).or_insert(Fresh::Again);
                } else {
                    self.wake(turn);
                }
            }
        }
    }

    /// Takes a party out of the line; what it had booked is free, and who was to make room for it
    /// may stay.
    pub(super) fn take_party(&mut self, turn: Turn, now: u64) -> Option<Party> {
        self.unbook(turn);
        let party = self.leave(turn)?;
        self.lift(&party.victims, now);
        Some(party)
    }

    /// Forgets all that is known of a party by its turn.
    fn leave(&mut self, turn: Turn) -> Option<Party> {
        let party = self.take_waiting(turn).or_else(|| {
            let party = self.asleep.remove(&turn)?;
            self.sleepers.remove(&(party.least[0], turn));
            Some(party)
        })?;
        self.fresh.remove(&turn);
        self.unsaid.remove(&turn);
        if let Some(deadline) = party.deadline {
            self.alarms.remove(&(deadline, turn));
        }
        if let Some(preemption) = self.config.preemption {
            let patient_until = party.submitted.saturating_add(nanos(preemption.patience));
            self.alarms.remove(&(patient_until, turn));
        }
        for member in &party.members {
            if let Some(known) = self.jobs.get_mut(member) {
                known.parties.remove(&turn);
            }
        }
        Some(party)
    }

    /// Starts a party now, at the places of a booking that may have been for another time.
    fn start(&mut self, turn: Turn, booking: &Booking, now: u64) {
        self.unbook(turn);
        let Some(party) = self.leave(turn) else {
            return;
        };
        for (&member, &(index, until)) in party.members.iter().zip(&booking.places) {
            let ends = now.saturating_add(until - booking.at);
            self.start_run(member, index, now, ends);
        }
        for &member in &party.members {
            self.wake_related(member);
        }
        self.lift(&party.victims, now);
    }

    pub(super) fn start_run(&mut self, job: TaskId, index: usize, now: u64, ends: u64) {
        let (Some(known), Some(host)) = (self.jobs.get_mut(&job), self.hosts[index].as_mut())
        else {
            return;
        };
        known.runs.insert(index);
        let need = need(&known.job);
        debug_assert!(
            beside(&need, &host.used, &host.capacity),
            "no room for {job}"
        );
        host.runs.insert(job);
        host.profile.add(now, ends, &need);
        for (used, &need) in host.used.iter_mut().zip(&need) {
            *used += u128::from(need);
        }
        let node = host.node.id;
        let run = Run {
            need,
            started: now,
            ends,
            held_until: ends,
            notice: None,
            is_prey: false,
        };
        self.runs.insert((job, index), run);
        self.ends.insert((ends, job, index));
        self.add_free(ends, index);
        self.count_prey(job, index);
        self.show_free(index);
        self.decisions.push_back(Decision::Start { job, node });
    }

    /// A job runs on a node no longer.
    pub(super) fn end_run(&mut self, job: TaskId, index: usize, now: u64) {
        self.discount_prey(job, index);
        let Some(run) = self.runs.remove(&(job, index)) else {
            return;
        };
        self.ends.remove(&(run.held_until, job, index));
        if let Some((_, turn)) = run.notice
            && let Some(party) = self.waiting.get_mut(&turn)
        {
            party.victims.retain(|&victim| victim != (job, index));
        }
        if let Some(host) = self.hosts[index].as_mut() {
            host.runs.remove(&job);
            host.profile.remove(run.started, run.held_until, &run.need);
            host.profile.forget_before(now);
            for (used, &need) in host.used.iter_mut().zip(&run.need) {
                *used -= u128::from(need);
            }
        }
        self.drop_free(run.held_until, index);
        self.show_free(index);
        if run.held_until > now {
            self.mark_dirty(index);
        } else if self.hosts[index].as_ref().is_some_and(|host| host.is_open) {
            self.vacated.insert(index);
        }
        if let Some(known) = self.jobs.get_mut(&job) {
            known.runs.remove(&index);
        }
        self.wake_related(job);
    }

    /// Puts a job that lost its node back in line, before all others of its priority, and with it
    /// whoever runs of its gang.
    pub(super) fn give_up(&mut self, job: TaskId, index: usize, cause: Option<Cause>, now: u64) {
        let Some(known) = self.jobs.get(&job) else {
            return;
        };
        let (submitted, mut priority) = (known.submitted, known.job.priority);
        let mut members = vec![job];
        let gang = known.gang.clone();
        if let Some(cause) = cause {
            self.tell_stop(job, index, cause);
        }
        self.end_run(job, index, now);
        for other in gang {
            let Some(known) = self.jobs.get(&other) else {
                continue;
            };
            let urgency = known.job.priority;
            for place in known.runs.clone() {
                priority = priority.min(urgency);
                self.end_run(other, place, now);
                // A node that is gone has nothing to stop.
                if cause.is_some() || place != index {
                    self.tell_stop(other, place, Cause::Gang);
                }
                members.push(other);
            }
        }
        members.sort_unstable();
        let levels = nanos(self.config.ageing).saturating_mul(priority as u64);
        let peers = self
            .waiting
            .iter()
            .filter(|(_, party)| party.priority == priority);
        let first = peers.map(|(turn, _)| turn.at).next().unwrap_or(u64::MAX);
        let turn = Turn {
            at: first.min(submitted.saturating_add(levels)),
            rank: 0,
            number: self.next_number(),
        };
        self.enqueue(turn, submitted, members);
    }

    /// Whose need is a party's.
    pub(super) fn most_urgent(&self, party: &Party) -> TaskId {
        let priority = |member: &&TaskId| self.jobs.get(member).map(|known| known.job.priority);
        let most_urgent = party.members.iter().min_by_key(priority);
        *most_urgent.expect("a party has members")
    }

    /// Starts whom it is time to start.
    fn start_due(&mut self, now: u64) {
        let due = self.due.iter().take_while(|&&(at, _)| at <= now);
        for turn in due.map(|&(_, turn)| turn).collect::<Vec<_>>() {
            let Some(booking) = self.take_off(turn) else {
                continue;
            };
            let Some(party) = self.waiting.get(&turn) else {
                continue;
            };
            let over = party.victims.iter().filter(|run| {
                let notice = self.runs.get(run).and_then(|run| run.notice);
                notice.is_some_and(|(until, _)| until <= now)
                    && booking.places.iter().any(|&(host, _)| host == run.1)
            });
            let mut over = over.copied();
            let mut stopped = Vec::new();
            let mut has_room = self.has_room(turn, party, &booking, now, &stopped);
            while !has_room && let Some(victim) = over.next() {
                stopped.push(victim);
                has_room = self.has_room(turn, party, &booking, now, &stopped);
            }
            if !has_room {
                self.freed(turn, Some(&booking));
                self.fresh.entry(turn).or_insert(Fresh::Again);
                continue;
            }
            let for_job = self.most_urgent(party);
            // Kept from whoever else is put back in line meanwhile.
            let booking = Booking {
                places: booking
                    .places
                    .iter()
                    .map(|&(host, until)| (host, now.saturating_add(until - booking.at)))
                    .collect(),
                at: now,
            };
            for (job, index) in stopped {
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.preempted += 1;
                }
                self.give_up(job, index, Some(Cause::Preempted { for_job }), now);
            }
            self.start(turn, &booking, now);
        }
    }

    /// Expects those that should have ended to go on for half as long again as they have.
    fn overrun(&mut self, now: u64) {
        while let Some(&(held_until, job, index)) = self.ends.first() {
            if held_until > now {
                break;
            }
            let Some(run) = self.runs.get_mut(&(job, index)) else {
                self.ends.pop_first();
                continue;
            };
            let longer = (now.saturating_sub(run.started) / 2).max(millis(1));
            let until = now.saturating_add(longer);
            if until == held_until {
                // The end of time: nothing is expected of it any more.
                break;
            }
            run.ends = run.ends.max(until);
            self.hold(job, index, until);
            self.displace(index);
            let known = self.jobs.get(&job);
            for other in known
                .map(|known| self.related(&known.job))
                .unwrap_or_default()
            {
                let parties = self.jobs.get(&other).map(|known| known.parties.clone());
                for turn in parties.unwrap_or_default() {
                    if self
                        .waiting
                        .get(&turn)
                        .is_some_and(|party| party.booking.is_some())
                    {
                        self.evict(turn);
                    }
                }
            }
        }
    }

    /// Changes until when a run holds its node.
    pub(super) fn hold(&mut self, job: TaskId, index: usize, until: u64) {
        if let (Some(run), Some(host)) =
            (self.runs.get_mut(&(job, index)), self.hosts[index].as_mut())
        {
            self.ends.remove(&(run.held_until, job, index));
            self.ends.insert((until, job, index));
            host.profile.remove(run.started, run.held_until, &run.need);
            host.profile.add(run.started, until, &run.need);
            let before = std::mem::replace(&mut run.held_until, until);
            self.drop_free(before, index);
            self.add_free(until, index);
        }
    }

    /// Something on a node becomes free at this time.
    fn add_free(&mut self, at: u64, index: usize) {
        *self.frees.entry((at, index)).or_default() += 1;
    }

    /// Takes back what [`add_free`](Self::add_free) said.
    fn drop_free(&mut self, at: u64, index: usize) {
        if let Entry::Occupied(mut count) = self.frees.entry((at, index)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Lets those stay that were to make room for a party that needs it no longer.
    fn lift(&mut self, victims: &[(TaskId, usize)], now: u64) {
        for &(job, index) in victims {
            let Some(run) = self.runs.get_mut(&(job, index)) else {
                continue;
            };
            run.notice = None;
            let ends = run.ends.max(now);
            self.hold(job, index, ends);
            self.count_prey(job, index);
            self.displace(index);
            if let Some(host) = &self.hosts[index] {
                let node = host.node.id;
                self.decisions.push_back(Decision::Reprieve { job, node });
            }
        }
        // Some of them should have ended during their notice.
        self.overrun(now);
    }

    /// Drops whoever can no longer be done in time.
    fn heed_alarms(&mut self, now: u64) {
        while let Some(&(at, turn)) = self.alarms.first() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            let party = self.waiting.get(&turn).or_else(|| self.asleep.get(&turn));
            let is_over = |party: &Party| party.deadline.is_some_and(|deadline| deadline <= now);
            if !party.is_some_and(is_over) {
                continue;
            }
            let Some(party) = self.take_party(turn, now) else {
                continue;
            };
            for job in party.members.into_iter().collect::<BTreeSet<_>>() {
                self.decisions.push_back(Decision::Expire { job });
                self.forget_if_done(job);
            }
        }
    }

    /// Says who has to wait, if that is news.
    fn tell_waits(&mut self) {
        for turn in std::mem::take(&mut self.unsaid) {
            let obstacle = if self.asleep.contains_key(&turn) {
                Obstacle::Node
            } else if self.config.backfill == Backfill::None && self.head != Some(turn) {
                Obstacle::Turn
            } else {
                Obstacle::Capacity
            };
            let party = self
                .waiting
                .get_mut(&turn)
                .or_else(|| self.asleep.get_mut(&turn));
            let Some(party) = party.filter(|party| party.said != Some(obstacle)) else {
                continue;
            };
            party.said = Some(obstacle);
            for job in party.members.iter().copied().collect::<BTreeSet<_>>() {
                self.decisions.push_back(Decision::Wait { job, obstacle });
            }
        }
    }

    pub(super) fn instant(at: u64) -> Instant {
        Instant::from_nanos(at)
    }
}
