//! The best placements found so far, and which of them make the best front.

use super::hypervolume::covers;

/// Points of the space of objectives by which the worth of a front is judged, a multiple of 64. Of
/// a front that dominates a fifth of the box, the error is about half a percent.
const PROBES: usize = 1 << 14;

const WORDS: usize = PROBES / 64;

/// The corner of the box of the probes, in normalised objectives: an average placement is at 1.
const BOX: f64 = 1.5;

/// Fixed points spread evenly over the box from the ideal to [`BOX`] in every objective.
#[derive(Debug)]
pub(super) struct Probes<const M: usize> {
    /// The coordinates of all, one objective after another.
    at: Vec<Vec<f32>>,
}

impl<const M: usize> Probes<M> {
    /// An additive recurrence by powers of the root of x^(M+1) = x + 1, which fills a cube more
    /// evenly than chance does.
    ///
    /// Source: Roberts 2018, "The unreasonable effectiveness of quasirandom sequences".
    pub(super) fn new() -> Self {
        let mut root = 2.0;
        for _ in 0..64 {
            root = libm::pow(1.0 + root, 1.0 / (M as f64 + 1.0));
        }
        let mut step = 1.0;
        let at = (0..M)
            .map(|_| {
                step /= root;
                (1..=PROBES)
                    .map(|index| {
                        let x = 0.5 + step * index as f64;
                        (BOX * (x - x.floor())) as f32
                    })
                    .collect()
            })
            .collect();
        Self { at }
    }

    /// Which probes `point` dominates, one bit each.
    fn dominated_by(&self, point: &[f64; M]) -> Vec<u64> {
        let mut inside = vec![1_u8; PROBES];
        for (at, &limit) in self.at.iter().zip(point) {
            let limit = limit as f32;
            for (inside, &at) in inside.iter_mut().zip(at) {
                *inside &= u8::from(at >= limit);
            }
        }
        inside
            .chunks_exact(64)
            .map(|chunk| {
                let bits = chunk.iter().enumerate();
                bits.fold(0, |word, (bit, &inside)| word | u64::from(inside) << bit)
            })
            .collect()
    }
}

/// A placement worth keeping.
#[derive(Clone, Debug)]
pub(super) struct Kept<const M: usize> {
    /// The pair of each job.
    pub(super) chosen: Vec<u32>,
    /// Its objectives, normalised.
    pub(super) point: [f64; M],
    /// Under which weights it was found.
    pub(super) weights: [f64; M],
    dominated: Vec<u64>,
}

/// Placements of which none beats another.
#[derive(Debug)]
pub(super) struct Archive<const M: usize> {
    probes: Probes<M>,
    pub(super) kept: Vec<Kept<M>>,
}

impl<const M: usize> Archive<M> {
    pub(super) fn new() -> Self {
        Self {
            probes: Probes::new(),
            kept: Vec::new(),
        }
    }

    /// Adds a placement unless one that is there is as good, and drops those it beats.
    pub(super) fn add(&mut self, chosen: &[u32], point: [f64; M], weights: [f64; M]) {
        if self.kept.iter().any(|kept| covers(&kept.point, &point)) {
            return;
        }
        self.kept.retain(|kept| !covers(&point, &kept.point));
        self.kept.push(Kept {
            chosen: chosen.to_vec(),
            point,
            weights,
            dominated: self.probes.dominated_by(&point),
        });
    }

    /// Keeps at most `count`: the best of each objective, then those that add most to what is
    /// dominated, in that order. Returns how many probes are dominated.
    pub(super) fn prune(&mut self, count: usize) -> u32 {
        let mut covered = vec![0_u64; WORDS];
        let mut order = Vec::new();
        for objective in 0..M {
            let best = (0..self.kept.len()).min_by(|&a, &b| {
                self.kept[a].point[objective].total_cmp(&self.kept[b].point[objective])
            });
            if let Some(best) = best
                && !order.contains(&best)
                && order.len() < count
            {
                order.push(best);
                cover(&mut covered, &self.kept[best].dominated);
            }
        }
        // What one adds only falls as others are taken, so a stale figure is an upper bound.
        let mut bounds: Vec<(u32, usize)> = (0..self.kept.len())
            .filter(|index| !order.contains(index))
            .map(|index| (u32::MAX, index))
            .collect();
        while order.len() < count && !bounds.is_empty() {
            let (mut most, mut at) = (0, None);
            for (slot, (bound, index)) in bounds.iter_mut().enumerate() {
                if at.is_some() && *bound <= most {
                    continue;
                }
                *bound = added(&covered, &self.kept[*index].dominated);
                if at.is_none() || *bound > most {
                    (most, at) = (*bound, Some(slot));
                }
            }
            let Some(slot) = at else { break };
            let (_, index) = bounds.swap_remove(slot);
            cover(&mut covered, &self.kept[index].dominated);
            order.push(index);
        }
        let mut slots: Vec<Option<Kept<M>>> = self.kept.drain(..).map(Some).collect();
        self.kept = order
            .iter()
            .filter_map(|&index| slots[index].take())
            .collect();
        covered.iter().map(|word| word.count_ones()).sum()
    }
}

fn cover(covered: &mut [u64], dominated: &[u64]) {
    for (covered, dominated) in covered.iter_mut().zip(dominated) {
        *covered |= dominated;
    }
}

fn added(covered: &[u64], dominated: &[u64]) -> u32 {
    covered
        .iter()
        .zip(dominated)
        .map(|(covered, dominated)| (dominated & !covered).count_ones())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::hypervolume::hypervolume;
    use super::*;
    use crate::random::unit;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    #[test]
    fn probes_measure_the_hypervolume() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut archive = Archive::<5>::new();
        for _ in 0..60 {
            let point = std::array::from_fn(|_| unit(&mut rng));
            archive.add(&[], point, [0.2; 5]);
        }
        let points: Vec<[f64; 5]> = archive.kept.iter().map(|kept| kept.point).collect();
        let exact = hypervolume(&points, &[BOX; 5]) / BOX.powi(5);
        let measured = f64::from(archive.prune(100)) / PROBES as f64;
        assert!(
            (exact - measured).abs() < 0.01 * exact,
            "{measured} is not {exact}"
        );
    }

    #[test]
    fn pruning_keeps_the_corners_and_what_adds_most() {
        let mut archive = Archive::<2>::new();
        for point in [
            [0.0, 1.4],
            [0.1, 1.35],
            [0.5, 0.5],
            [0.55, 0.45],
            [1.4, 0.0],
        ] {
            archive.add(&[], point, [0.5; 2]);
        }
        archive.add(&[], [0.6, 0.6], [0.5; 2]);
        assert_eq!(archive.kept.len(), 5);
        archive.prune(3);
        let has = |point: [f64; 2]| archive.kept.iter().any(|kept| covers(&kept.point, &point));
        assert_eq!(archive.kept.len(), 3);
        assert!(has([0.0, 1.4]) && has([1.4, 0.0]));
        assert!(has([0.5, 0.5]) || has([0.55, 0.45]));
    }
}
