//! Bounds on how many jobs of some share a domain, as room that is taken like any other.

/// How many of some jobs may share a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Most of them in one domain.
    pub cap: u32,
    /// Index of the partition that says which nodes are one domain.
    pub partition: u32,
}

/// A limit that a job is under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Membership {
    /// Index of the limit.
    pub limit: u32,
    /// How much of the cap the job takes up, usually 1.
    pub count: u32,
}

/// Every limit in every domain is a slot, of which a job takes some where it goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// What is free of each slot before any job is placed.
    pub(super) free: Vec<u32>,
    /// Where the memberships of each job start, and where those of the last end.
    starts: Vec<usize>,
    memberships: Vec<Membership>,
    /// Where the slots of each job's first pair start. Each pair has as many as the job has
    /// memberships.
    firsts: Vec<usize>,
    slots: Vec<u32>,
}

/// No slot yet.
const NONE: u32 = u32::MAX;

impl Slots {
    /// Compiles limits for jobs of which each has memberships and the nodes it may go to.
    ///
    /// `partitions` say for each node its domain, a number below the number of nodes.
    pub(super) fn new(
        partitions: &[Vec<u32>],
        limits: &[Limit],
        memberships: &[Vec<Membership>],
        nodes_of: impl Fn(usize) -> Vec<u32>,
    ) -> Self {
        let mut compiled = Self {
            starts: vec![0],
            ..Self::default()
        };
        let mut members: Vec<Vec<(usize, usize)>> = vec![Vec::new(); limits.len()];
        for (job, memberships) in memberships.iter().enumerate() {
            for (place, membership) in memberships.iter().enumerate() {
                members[membership.limit as usize].push((job, place));
            }
            compiled.memberships.extend(memberships);
            compiled.starts.push(compiled.memberships.len());
            compiled.firsts.push(compiled.slots.len());
            if !memberships.is_empty() {
                let count = nodes_of(job).len() * memberships.len();
                compiled.slots.resize(compiled.slots.len() + count, NONE);
            }
        }
        let mut slot_of_domain = vec![NONE; partitions.iter().map(Vec::len).max().unwrap_or(0)];
        for (limit, members) in limits.iter().zip(&members) {
            let domains = &partitions[limit.partition as usize];
            let before = compiled.free.len();
            let mut seen = Vec::new();
            for &(job, place) in members {
                let width = memberships[job].len();
                for (pair, node) in nodes_of(job).into_iter().enumerate() {
                    let domain = domains[node as usize] as usize;
                    if slot_of_domain[domain] == NONE {
                        slot_of_domain[domain] = compiled.free.len() as u32;
                        compiled.free.push(limit.cap);
                        seen.push(domain);
                    }
                    let at = compiled.firsts[job] + pair * width + place;
                    compiled.slots[at] = slot_of_domain[domain];
                }
            }
            debug_assert_eq!(seen.len(), compiled.free.len() - before);
            for domain in seen {
                slot_of_domain[domain] = NONE;
            }
        }
        compiled
    }

    /// The memberships of a job.
    pub(super) fn memberships(&self, job: usize) -> &[Membership] {
        // Without any limits there are no starts to read.
        match self.starts.get(job..job + 2) {
            Some(&[start, end]) => &self.memberships[start..end],
            _ => &[],
        }
    }

    /// The slots that `job` takes with its pair of this number, with how much of each.
    pub(super) fn of(&self, job: usize, pair: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let memberships = self.memberships(job);
        let first = if memberships.is_empty() {
            0
        } else {
            self.firsts[job] + pair * memberships.len()
        };
        let slots = &self.slots[first..first + memberships.len()];
        let counts = memberships.iter().map(|membership| membership.count);
        slots.iter().map(|&slot| slot as usize).zip(counts)
    }

    /// Whether `job` finds all slots of a pair open.
    pub(super) fn open(&self, free: &[u32], job: usize, pair: usize) -> bool {
        self.of(job, pair).all(|(slot, count)| count <= free[slot])
    }

    /// Jobs that cannot all keep one limit, for there are too few domains for them.
    ///
    /// Each limit alone is an assignment of jobs to domains with capacities, which augmenting paths
    /// settle: a job that finds no path shows with all it reached that they are too many (Hall's
    /// condition). Jobs that count more than once under a limit are left out of it.
    ///
    /// `pairs` says how many pairs a job has.
    pub(super) fn overfull(&self, pairs: impl Fn(usize) -> usize) -> Option<Vec<usize>> {
        let jobs = self.firsts.len();
        let mut members: Vec<Vec<(usize, usize)>> = Vec::new();
        for job in 0..jobs {
            for (place, membership) in self.memberships(job).iter().enumerate() {
                let limit = membership.limit as usize;
                if members.len() <= limit {
                    members.resize(limit + 1, Vec::new());
                }
                if membership.count == 1 {
                    members[limit].push((job, place));
                }
            }
        }
        let mut guests: Vec<Vec<usize>> = vec![Vec::new(); self.free.len()];
        for members in &members {
            let domains: Vec<Vec<u32>> = members
                .iter()
                .map(|&(job, place)| {
                    let width = self.memberships(job).len();
                    let first = self.firsts[job] + place;
                    let mut domains: Vec<u32> = (0..pairs(job))
                        .map(|pair| self.slots[first + pair * width])
                        .collect();
                    domains.sort_unstable();
                    domains.dedup();
                    domains
                })
                .collect();
            for member in 0..members.len() {
                if let Some(reached) = self.augment(member, &domains, &mut guests) {
                    let mut jobs: Vec<usize> = reached
                        .into_iter()
                        .map(|member| members[member].0)
                        .collect();
                    jobs.sort_unstable();
                    return Some(jobs);
                }
            }
        }
        None
    }

    /// Finds `member` a domain, others moving on along the shortest path. If there is none, the
    /// members that were reached.
    fn augment(
        &self,
        member: usize,
        domains: &[Vec<u32>],
        guests: &mut [Vec<usize>],
    ) -> Option<Vec<usize>> {
        let mut reached = vec![member];
        // For each slot seen, the member that looks there.
        let mut from = std::collections::BTreeMap::new();
        let mut next = 0;
        while next < reached.len() {
            let asking = reached[next];
            next += 1;
            for &slot in &domains[asking] {
                if from.contains_key(&slot) {
                    continue;
                }
                from.insert(slot, asking);
                if guests[slot as usize].len() >= self.free[slot as usize] as usize {
                    reached.extend(&guests[slot as usize]);
                    continue;
                }
                let mut to = slot;
                loop {
                    let mover = from[&to];
                    guests[to as usize].push(mover);
                    if mover == member {
                        return None;
                    }
                    let left = domains[mover]
                        .iter()
                        .copied()
                        .find(|&slot| slot != to && guests[slot as usize].contains(&mover));
                    let left = left.expect("whoever was reached has a place to leave");
                    guests[left as usize].retain(|&guest| guest != mover);
                    to = left;
                }
            }
        }
        Some(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(limit: u32) -> Membership {
        Membership { limit, count: 1 }
    }

    #[test]
    fn a_domain_is_one_slot_for_all_jobs_under_a_limit() {
        let partitions = [vec![0, 0, 1]];
        let limits = [Limit {
            cap: 2,
            partition: 0,
        }];
        let memberships = [
            vec![one(0)],
            vec![],
            vec![Membership { limit: 0, count: 2 }],
        ];
        let slots = Slots::new(&partitions, &limits, &memberships, |_| vec![0, 1, 2]);
        assert_eq!(slots.free, [2, 2]);
        let of = |job, pair| slots.of(job, pair).collect::<Vec<_>>();
        assert_eq!(
            (of(0, 0), of(0, 1), of(0, 2)),
            (vec![(0, 1)], vec![(0, 1)], vec![(1, 1)])
        );
        assert_eq!(of(1, 1), []);
        assert_eq!(of(2, 2), [(1, 2)]);
        assert!(slots.open(&[0, 2], 2, 2) && !slots.open(&[0, 1], 2, 2));
        assert!(slots.open(&[0, 0], 1, 0));
    }

    #[test]
    fn too_few_domains_are_proven_and_paths_are_found() {
        let partitions = [vec![0, 1, 2]];
        let limits = [Limit {
            cap: 1,
            partition: 0,
        }];
        let memberships = vec![vec![one(0)]; 3];
        // A path: the third takes node 0, the first moves to 1, the second to 2.
        let choices = [vec![0, 1], vec![1, 2], vec![0]];
        let slots = Slots::new(&partitions, &limits, &memberships, |job| {
            choices[job].clone()
        });
        assert_eq!(slots.overfull(|job| choices[job].len()), None);
        let choices = [vec![0, 1], vec![0, 1, 2], vec![0, 1], vec![0, 1]];
        let memberships = vec![vec![one(0)]; 4];
        let slots = Slots::new(&partitions, &limits, &memberships, |job| {
            choices[job].clone()
        });
        let overfull = slots.overfull(|job| choices[job].len()).unwrap();
        // Three of which each may go to two.
        assert_eq!(overfull, [0, 2, 3]);
    }
}
