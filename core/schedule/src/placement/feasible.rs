//! Whether all jobs fit together at all.

use super::batch::{Batch, has_room};

/// Most pairs of a job and a node that one exhaustive search looks at.
const LOOKS_MAX: u64 = 20_000_000;

/// The same when a job is left out to see whether the others fail without it.
const LOOKS_SHRINKING_MAX: u64 = 1_000_000;

/// Most pairs that are looked at while jobs push each other out of the way.
const LOOKS_PUSHING_MAX: u64 = 20_000_000;

/// Most jobs that are placed by trying everything.
const CORE_MAX: usize = 300;

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The pair of each job, in which all fit.
    Settled(Vec<u32>),
    /// These jobs cannot be placed together.
    Impossible(Vec<usize>),
    /// Neither was found out; this job was the last to find no room.
    Unknown(usize),
    /// The host did not want to go on.
    Stopped,
}

/// Whether some jobs fit together.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Fits,
    Fails,
    Unknown,
}

/// Places all jobs so that they fit, or names some that cannot be.
///
/// The jobs that found no room form a core, which is placed first and by trying everything; the
/// others follow greedily, and whoever finds no room joins the core. A core that cannot be placed
/// is a proof for the batch.
pub(super) fn settle<const M: usize, const R: usize>(
    batch: &Batch<M, R>,
    go_on: &mut dyn FnMut() -> bool,
) -> Outcome {
    let mut looks = u64::MAX;
    settle_within(batch, &mut looks, go_on)
}

/// The same, but looks at about `looks` pairs at most, from which it takes what it used.
pub(super) fn settle_within<const M: usize, const R: usize>(
    batch: &Batch<M, R>,
    looks: &mut u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Outcome {
    if let Some(jobs) = overfull(batch) {
        return Outcome::Impossible(jobs);
    }
    let mut trial = Trial::new(batch, *looks);
    let outcome = trial.settle(go_on);
    *looks = trial.left + trial.looks;
    outcome
}

/// Jobs that show at once that not all fit: a limit has too few domains for them, or they need
/// more of a resource than all nodes have to which any of the jobs may go.
fn overfull<const M: usize, const R: usize>(batch: &Batch<M, R>) -> Option<Vec<usize>> {
    let mut reachable = vec![false; batch.supplies.len()];
    for &node in &batch.nodes {
        reachable[node as usize] = true;
    }
    for resource in 0..R {
        let nodes = batch.supplies.iter().zip(&reachable);
        let free: u128 = nodes
            .filter(|&(_, &reachable)| reachable)
            .map(|(supply, _)| u128::from(supply.free[resource]))
            .sum();
        let need = |job: usize| u128::from(batch.needs[job][resource]);
        if (0..batch.jobs()).map(need).sum::<u128>() <= free {
            continue;
        }
        let mut jobs: Vec<usize> = (0..batch.jobs()).collect();
        jobs.sort_by_key(|&job| std::cmp::Reverse(need(job)));
        let mut sum = 0;
        let enough = jobs.iter().position(|&job| {
            sum += need(job);
            sum > free
        });
        jobs.truncate(enough.map_or(jobs.len(), |last| last + 1));
        jobs.sort_unstable();
        return Some(jobs);
    }
    batch.slots.overfull(|job| batch.pairs(job).len())
}

struct Trial<'a, const M: usize, const R: usize> {
    batch: &'a Batch<M, R>,
    free: Vec<[u64; R]>,
    free_slots: Vec<u32>,
    chosen: Vec<Option<u32>>,
    /// Jobs on each node.
    guests: Vec<Vec<u32>>,
    /// Jobs that have taken of each slot.
    holders: Vec<Vec<u32>>,
    /// How many more pairs may be looked at before the attempt is given up.
    looks: u64,
    /// How many more after that, in further attempts.
    left: u64,
}

impl<'a, const M: usize, const R: usize> Trial<'a, M, R> {
    fn new(batch: &'a Batch<M, R>, left: u64) -> Self {
        Self {
            batch,
            free: Vec::new(),
            free_slots: Vec::new(),
            chosen: Vec::new(),
            guests: Vec::new(),
            holders: Vec::new(),
            looks: 0,
            left,
        }
    }

    fn settle(&mut self, go_on: &mut dyn FnMut() -> bool) -> Outcome {
        let mut core: Vec<usize> = Vec::new();
        loop {
            if !go_on() {
                return Outcome::Stopped;
            }
            match self.solve(&core, LOOKS_MAX) {
                Verdict::Fits => {}
                Verdict::Fails => return Outcome::Impossible(self.shrink(core)),
                Verdict::Unknown => {
                    return self.push_about(core.last().copied().unwrap_or(0), go_on);
                }
            }
            self.left = self.left.saturating_sub(self.batch.nodes.len() as u64);
            match self.extend() {
                None => return Outcome::Settled(self.chosen.iter().flatten().copied().collect()),
                Some(job) if core.len() == CORE_MAX => return self.push_about(job, go_on),
                Some(job) => core.push(job),
            }
        }
    }

    /// Begins an attempt that may look at so many pairs, if as many are left.
    fn grant(&mut self, looks: u64) {
        self.left += self.looks;
        self.looks = looks.min(self.left);
        self.left -= self.looks;
    }

    /// Places the jobs of `core` and no others.
    fn solve(&mut self, core: &[usize], looks: u64) -> Verdict {
        self.free.clear();
        self.free
            .extend(self.batch.supplies.iter().map(|supply| supply.free));
        self.free_slots.clone_from(&self.batch.slots.free);
        self.chosen.clear();
        self.chosen.resize(self.batch.jobs(), None);
        self.guests.clear();
        self.guests.resize(self.batch.supplies.len(), Vec::new());
        self.holders.clear();
        self.holders.resize(self.free_slots.len(), Vec::new());
        self.grant(looks);
        let mut open = core.to_vec();
        self.descend(&mut open)
    }

    /// Places all of `open`, the one with the fewest nodes left first, or leaves everything as it
    /// was.
    fn descend(&mut self, open: &mut Vec<usize>) -> Verdict {
        let looks: usize = open.iter().map(|&job| self.batch.pairs(job).len()).sum();
        match self.looks.checked_sub(looks as u64) {
            Some(left) => self.looks = left,
            None => return Verdict::Unknown,
        }
        let mut fewest: Option<(usize, usize)> = None;
        for (position, &job) in open.iter().enumerate() {
            let count = self.roomy(job).count();
            if fewest.is_none_or(|(least, _)| count < least) {
                fewest = Some((count, position));
            }
        }
        let Some((_, position)) = fewest else {
            return Verdict::Fits;
        };
        let job = open.swap_remove(position);
        let mut pairs: Vec<u32> = self.roomy(job).collect();
        pairs.sort_by_key(|&pair| self.rival_count(pair, open));
        // Two nodes that are alike for all open jobs would fail alike, but that is rare here.
        for pair in pairs {
            self.put(job, pair);
            match self.descend(open) {
                Verdict::Fails => self.take(job, pair),
                verdict => return verdict,
            }
        }
        open.push(job);
        Verdict::Fails
    }

    /// How many open jobs could go to the node of a pair.
    fn rival_count(&self, pair: u32, open: &[usize]) -> usize {
        let node = self.batch.nodes[pair as usize];
        let rivals = open.iter().filter(|&&job| {
            let pairs = self.batch.pairs(job);
            self.batch.nodes[pairs].binary_search(&node).is_ok()
        });
        rivals.count()
    }

    fn roomy(&self, job: usize) -> impl Iterator<Item = u32> {
        let need = &self.batch.needs[job];
        self.batch
            .pairs(job)
            .filter(move |&pair| {
                has_room(&self.free[self.batch.nodes[pair] as usize], need)
                    && self.batch.is_open(&self.free_slots, job, pair)
            })
            .map(|pair| pair as u32)
    }

    /// Places the jobs outside the core where they leave the least of a node unused in its
    /// scarcest resource, another making way if need be. Returns the first that finds no room.
    fn extend(&mut self) -> Option<usize> {
        for &job in &self.batch.hardest_first {
            let job = job as usize;
            if self.chosen[job].is_some() {
                continue;
            }
            match self.tightest(job) {
                Some(pair) => self.put(job, pair),
                None if self.squeeze_in(job) => {}
                None => return Some(job),
            }
        }
        None
    }

    /// The pair with room for `job` that leaves the least of a node unused in what is scarcest
    /// there.
    fn tightest(&self, job: usize) -> Option<u32> {
        let need = self.batch.needs[job];
        let fill = |pair: u32| {
            let free = self.free[self.batch.nodes[pair as usize] as usize];
            (0..R)
                .filter(|&resource| need[resource] > 0)
                .map(|resource| need[resource] as f64 / free[resource] as f64)
                .fold(f64::INFINITY, f64::min)
        };
        self.roomy(job).max_by(|&a, &b| fill(a).total_cmp(&fill(b)))
    }

    /// Places all jobs from nothing: whoever finds no room pushes others out, those that were least
    /// trouble to place so far, and these are placed next. Proves nothing. `last` is the job to
    /// name if it fails.
    ///
    /// Source: Nagata & Bräysy 2009, "A powerful route minimization heuristic for the vehicle
    /// routing problem with time windows": an ejection pool with penalty counters.
    fn push_about(&mut self, last: usize, go_on: &mut dyn FnMut() -> bool) -> Outcome {
        self.solve(&[], 0);
        self.grant(LOOKS_PUSHING_MAX);
        let mut trouble = vec![1_u64; self.batch.jobs()];
        let mut pool: Vec<usize> = self
            .batch
            .hardest_first
            .iter()
            .rev()
            .map(|&job| job as usize)
            .collect();
        while let Some(job) = pool.pop() {
            if !go_on() {
                return Outcome::Stopped;
            }
            if let Some(pair) = self.tightest(job) {
                self.put(job, pair);
                continue;
            }
            if self.squeeze_in(job) {
                continue;
            }
            trouble[job] += 1;
            let mut best: Option<(u64, u32, Vec<usize>)> = None;
            for pair in self.batch.pairs(job) {
                let Some(left) = self.looks.checked_sub(1) else {
                    return Outcome::Unknown(last);
                };
                self.looks = left;
                let pushed = self.in_the_way(job, pair, &trouble);
                let sum = pushed.iter().map(|&job| trouble[job]).sum();
                if best.as_ref().is_none_or(|&(least, ..)| sum < least) {
                    best = Some((sum, pair as u32, pushed));
                }
            }
            let Some((_, pair, pushed)) = best else {
                return Outcome::Unknown(last);
            };
            for &other in &pushed {
                if let Some(pair) = self.chosen[other] {
                    self.take(other, pair);
                }
            }
            self.put(job, pair);
            pool.extend(pushed);
        }
        Outcome::Settled(self.chosen.iter().flatten().copied().collect())
    }

    /// Jobs of little trouble without which `job` has room with a pair.
    fn in_the_way(&self, job: usize, pair: usize, trouble: &[u64]) -> Vec<usize> {
        let node = self.batch.nodes[pair] as usize;
        let mut pushed: Vec<usize> = Vec::new();
        let by_trouble = |jobs: &[u32]| {
            let mut jobs: Vec<usize> = jobs.iter().map(|&job| job as usize).collect();
            jobs.sort_by_key(|&job| (trouble[job], job));
            jobs
        };
        for (slot, count) in self.batch.slots_of(job, pair as u32) {
            let given = |jobs: &[usize]| -> u32 {
                let pairs = jobs
                    .iter()
                    .filter_map(|&job| Some((job, self.chosen[job]?)));
                pairs
                    .flat_map(|(job, pair)| self.batch.slots_of(job, pair))
                    .filter(|&(other, _)| other == slot)
                    .map(|(_, count)| count)
                    .sum()
            };
            for holder in by_trouble(&self.holders[slot]) {
                if count <= self.free_slots[slot] + given(&pushed) {
                    break;
                }
                if !pushed.contains(&holder) {
                    pushed.push(holder);
                }
            }
        }
        let need = &self.batch.needs[job];
        let free = |pushed: &[usize]| {
            let mut free = self.free[node];
            let mine = pushed.iter().filter(|&&job| {
                self.chosen[job]
                    .is_some_and(|pair| self.batch.nodes[pair as usize] as usize == node)
            });
            for &job in mine {
                for (free, given) in free.iter_mut().zip(self.batch.needs[job]) {
                    *free += given;
                }
            }
            free
        };
        let of_limits = pushed.len();
        for guest in by_trouble(&self.guests[node]) {
            if has_room(&free(&pushed), need) {
                break;
            }
            if !pushed.contains(&guest) {
                pushed.push(guest);
            }
        }
        // Whoever was pushed before it was clear that another suffices may stay.
        for at in (of_limits..pushed.len()).rev() {
            let kept = pushed.remove(at);
            if !has_room(&free(&pushed), need) {
                pushed.insert(at, kept);
            }
        }
        pushed
    }

    /// Places `job`, for which nobody has room, where another can make way for it.
    fn squeeze_in(&mut self, job: usize) -> bool {
        for pair in self.batch.pairs(job) {
            let node = self.batch.nodes[pair] as usize;
            for index in 0..self.guests[node].len() {
                let guest = self.guests[node][index] as usize;
                let Some(from) = self.chosen[guest] else {
                    continue;
                };
                self.take(guest, from);
                if has_room(&self.free[node], &self.batch.needs[job])
                    && self.batch.is_open(&self.free_slots, job, pair)
                {
                    self.put(job, pair as u32);
                    let onward = self.roomy(guest).next();
                    if let Some(onward) = onward {
                        self.put(guest, onward);
                        return true;
                    }
                    self.take(job, pair as u32);
                }
                self.put(guest, from);
                let last = self.guests[node].len() - 1;
                self.guests[node].swap(index, last);
            }
        }
        false
    }

    /// Leaves jobs out of a core that fails as long as it fails without them.
    fn shrink(&mut self, mut core: Vec<usize>) -> Vec<usize> {
        let mut position = 0;
        while position < core.len() {
            let mut smaller = core.clone();
            smaller.remove(position);
            if self.solve(&smaller, LOOKS_SHRINKING_MAX) == Verdict::Fails {
                core = smaller;
            } else {
                position += 1;
            }
        }
        core.sort_unstable();
        core
    }

    fn put(&mut self, job: usize, pair: u32) {
        let node = self.batch.nodes[pair as usize] as usize;
        for (free, need) in self.free[node].iter_mut().zip(self.batch.needs[job]) {
            *free -= need;
        }
        for (slot, count) in self.batch.slots_of(job, pair) {
            self.free_slots[slot] -= count;
            self.holders[slot].push(job as u32);
        }
        self.guests[node].push(job as u32);
        self.chosen[job] = Some(pair);
    }

    fn take(&mut self, job: usize, pair: u32) {
        let node = self.batch.nodes[pair as usize] as usize;
        for (free, need) in self.free[node].iter_mut().zip(self.batch.needs[job]) {
            *free += need;
        }
        for (slot, count) in self.batch.slots_of(job, pair) {
            self.free_slots[slot] += count;
            self.holders[slot].retain(|&holder| holder as usize != job);
        }
        let guests = &mut self.guests[node];
        if let Some(position) = guests.iter().position(|&guest| guest as usize == job) {
            guests.swap_remove(position);
        }
        self.chosen[job] = None;
    }
}
