//! Which jobs must be together and which apart.

use std::collections::BTreeMap;

use fogcompute_base::TaskId;

use super::instance::{Job, PlacementError, Spread};

/// What jobs ask of each other, checked. Jobs are indices.
#[derive(Clone, Debug)]
pub(crate) struct Relations {
    /// Jobs that must be on one node, ascending, in the order of the first of each. Each job is in
    /// one of them, alone perhaps.
    pub(super) together: Vec<Vec<usize>>,
    /// Sets of [`Self::together`], each ascending, of which no two may be on one node. Whoever must
    /// be apart is in one of them, as many at once as can be: that takes fewer sets, and a set that
    /// has more members than nodes is a proof.
    pub(super) apart: Vec<Vec<usize>>,
    /// Groups that are spread.
    pub(super) groups: Vec<Group>,
}

/// Jobs of which few may share a domain.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) spread: Spread,
    /// The units of its jobs, ascending, with how many of its jobs each has.
    pub(super) members: Vec<(usize, u32)>,
}

impl Relations {
    /// Reads what the jobs, whose names differ, ask of each other.
    pub(crate) fn new(jobs: &[Job]) -> Result<Self, PlacementError> {
        let index_of: BTreeMap<TaskId, usize> = jobs
            .iter()
            .enumerate()
            .map(|(index, job)| (job.id, index))
            .collect();
        let find = |job: &Job, field, other: TaskId| {
            index_of
                .get(&other)
                .copied()
                .ok_or(PlacementError::UnknownJob {
                    job: job.id,
                    field,
                    other,
                })
        };
        let mut sets = Sets::new(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            for &other in &job.affinity {
                sets.join(index, find(job, "affinity", other)?);
            }
        }
        let (together, unit_of) = sets.groups();
        for members in &together {
            let (job, replicas) = (jobs[members[0]].id, jobs[members[0]].replica_count());
            for other in members.iter().map(|&member| &jobs[member]) {
                if other.replica_count() != replicas {
                    return Err(PlacementError::AffinityReplicas {
                        job,
                        replicas,
                        other: other.id,
                        other_replicas: other.replica_count(),
                    });
                }
            }
        }
        let mut apart = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            for &other in &job.anti_affinity {
                let (a, b) = (unit_of[index], unit_of[find(job, "anti_affinity", other)?]);
                if a == b {
                    return Err(PlacementError::AffinityContradiction { job: job.id, other });
                }
                apart.push((a.min(b), a.max(b)));
            }
        }
        apart.sort_unstable();
        apart.dedup();
        let groups = groups(jobs, &unit_of)?;
        Ok(Self {
            apart: cliques(&apart, together.len()),
            together,
            groups,
        })
    }
}

/// Sets within which each is paired with each, so that each of `pairs`, which are ascending with the
/// lower first, is in one.
fn cliques(pairs: &[(usize, usize)], count: usize) -> Vec<Vec<usize>> {
    let mut paired: Vec<Vec<usize>> = vec![Vec::new(); count];
    for &(a, b) in pairs {
        paired[a].push(b);
        paired[b].push(a);
    }
    // In this order those below an index come before those above it, so each list is ascending.
    let are_paired = |a: usize, b: usize| paired[a].binary_search(&b).is_ok();
    let mut covered = vec![false; pairs.len()];
    let mut cliques = Vec::new();
    for index in 0..pairs.len() {
        if covered[index] {
            continue;
        }
        let (a, b) = pairs[index];
        let mut clique = vec![a, b];
        let (few, other) = if paired[a].len() < paired[b].len() {
            (&paired[a], b)
        } else {
            (&paired[b], a)
        };
        for &candidate in few
            .iter()
            .filter(|&&candidate| are_paired(candidate, other))
        {
            if clique.iter().all(|&member| are_paired(candidate, member)) {
                clique.push(candidate);
            }
        }
        clique.sort_unstable();
        for (at, &low) in clique.iter().enumerate() {
            for &high in &clique[at + 1..] {
                if let Ok(index) = pairs.binary_search(&(low, high)) {
                    covered[index] = true;
                }
            }
        }
        cliques.push(clique);
    }
    cliques
}

fn groups(jobs: &[Job], unit_of: &[usize]) -> Result<Vec<Group>, PlacementError> {
    // For each name the first job that says it, and how many jobs of the group each unit has.
    let mut named: BTreeMap<&str, (usize, BTreeMap<usize, u32>)> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let Some(spread) = &job.spread else { continue };
        if spread.most == 0 {
            return Err(PlacementError::SpreadOfNone {
                group: spread.group.clone(),
                job: job.id,
            });
        }
        let (first, counts) = named
            .entry(&spread.group)
            .or_insert((index, BTreeMap::new()));
        if jobs[*first].spread.as_ref() != Some(spread) {
            return Err(PlacementError::SpreadMismatch {
                group: spread.group.clone(),
                job: job.id,
                other: jobs[*first].id,
            });
        }
        let together = counts.entry(unit_of[index]).or_insert(0);
        *together += 1;
        if *together > spread.most {
            return Err(PlacementError::AffinityOverSpread {
                group: spread.group.clone(),
                together: *together,
                most: spread.most,
            });
        }
    }
    let groups = named.into_values().filter_map(|(first, counts)| {
        jobs[first].spread.as_ref().map(|spread| Group {
            spread: spread.clone(),
            members: counts.into_iter().collect(),
        })
    });
    Ok(groups.collect())
}

/// Disjoint sets of indices.
pub(super) struct Sets(Vec<usize>);

impl Sets {
    /// Each of so many alone.
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// The least of the set of `index`.
    fn first(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            // Halving paths keeps them short.
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b)] = a.min(b);
    }

    /// The sets in the order of their first, and where each index is among them.
    pub(super) fn groups(mut self) -> (Vec<Vec<usize>>, Vec<usize>) {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut group_of = vec![0; self.0.len()];
        for index in 0..self.0.len() {
            let first = self.first(index);
            if first == index {
                group_of[index] = groups.len();
                groups.push(vec![index]);
            } else {
                group_of[index] = group_of[first];
                groups[group_of[first]].push(index);
            }
        }
        (groups, group_of)
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::{Domain, Tier};

    use super::super::instance::tests::job;
    use super::*;

    fn spread(most: u32) -> Option<Spread> {
        Some(Spread {
            group: "web".to_owned(),
            over: Domain::Zone,
            most,
        })
    }

    #[test]
    fn being_together_is_symmetric_transitive_and_may_go_in_circles() {
        let with = |id, others: &[u16]| Job {
            affinity: others.iter().map(|&other| job(other).id).collect(),
            ..job(id)
        };
        let jobs = [
            with(0, &[2]),
            with(1, &[1]),
            with(2, &[3]),
            with(3, &[0]),
            job(4),
        ];
        let relations = Relations::new(&jobs).unwrap();
        assert_eq!(relations.together, [vec![0, 2, 3], vec![1], vec![4]]);
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        let refused = |jobs: &[Job]| Relations::new(jobs).unwrap_err();
        let stranger = Job {
            affinity: vec![job(9).id],
            ..job(1)
        };
        let unknown = |field| PlacementError::UnknownJob {
            job: job(1).id,
            field,
            other: job(9).id,
        };
        assert_eq!(refused(&[stranger]), unknown("affinity"));
        let stranger = Job {
            anti_affinity: vec![job(9).id],
            ..job(1)
        };
        assert_eq!(refused(&[stranger]), unknown("anti_affinity"));
        let torn = Job {
            affinity: vec![job(2).id],
            ..job(1)
        };
        let shy = Job {
            anti_affinity: vec![job(1).id],
            ..job(2)
        };
        assert_eq!(
            refused(&[torn.clone(), shy]),
            PlacementError::AffinityContradiction {
                job: job(2).id,
                other: job(1).id
            }
        );
        let alone = Job {
            anti_affinity: vec![job(1).id],
            ..job(1)
        };
        let words = format!("job {} must avoid itself", job(1).id);
        assert_eq!(refused(&[alone]).to_string(), words);
        let silver = Job {
            tier: Tier::Silver,
            ..job(2)
        };
        assert_eq!(
            refused(&[torn.clone(), silver]),
            PlacementError::AffinityReplicas {
                job: job(1).id,
                replicas: 1,
                other: job(2).id,
                other_replicas: 2
            }
        );
        let web = |job: Job, most| Job {
            spread: spread(most),
            ..job
        };
        assert_eq!(
            refused(&[web(torn, 1), web(job(2), 1)]),
            PlacementError::AffinityOverSpread {
                group: "web".to_owned(),
                together: 2,
                most: 1
            }
        );
        assert_eq!(
            refused(&[web(job(1), 1), web(job(2), 2)]),
            PlacementError::SpreadMismatch {
                group: "web".to_owned(),
                job: job(2).id,
                other: job(1).id
            }
        );
        assert!(matches!(
            refused(&[web(job(1), 0)]),
            PlacementError::SpreadOfNone { .. }
        ));
    }

    #[test]
    fn groups_and_pairs_speak_of_units() {
        let jobs = [
            Job {
                affinity: vec![job(2).id],
                anti_affinity: vec![job(3).id],
                spread: spread(2),
                ..job(1)
            },
            Job {
                anti_affinity: vec![job(3).id],
                spread: spread(2),
                ..job(2)
            },
            Job {
                anti_affinity: vec![job(1).id],
                spread: spread(2),
                ..job(3)
            },
        ];
        let relations = Relations::new(&jobs).unwrap();
        assert_eq!(relations.apart, [[0, 1]]);
        assert_eq!(relations.groups[0].members, [(0, 2), (1, 1)]);
    }

    #[test]
    fn who_must_all_be_apart_is_one_set() {
        let apart = |id, others: &[u16]| Job {
            anti_affinity: others.iter().map(|&other| job(other).id).collect(),
            ..job(id)
        };
        // Four of which each avoids each, said here and there; the last avoids only one of them.
        let jobs = [
            apart(0, &[3, 1]),
            apart(1, &[2]),
            apart(2, &[0, 3]),
            apart(3, &[1]),
            apart(4, &[2]),
        ];
        let relations = Relations::new(&jobs).unwrap();
        assert_eq!(relations.apart, [vec![0, 1, 2, 3], vec![2, 4]]);
    }
}
