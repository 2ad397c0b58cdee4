//! What a placement is worth.

use super::OBJECTIVE_COUNT;
use super::instance::{Instance, NEEDS, Pair, RESOURCES, Sharing};

/// The value of one placement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) objectives: [f64; OBJECTIVE_COUNT],
    /// By how much limits are exceeded and jobs late, 0 if none is; only where jobs queue.
    pub(super) violation: f64,
    /// In base units.
    pub(super) cost: u128,
    /// In base units.
    pub(super) price: u128,
}

/// Jobs of one node that run one after another as far as they must.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// Nothing starts before this.
    clock_ms: u64,
    /// What runs, or has run and was not yet asked for its room, by end.
    running: Vec<Running>,
    used: [u64; RESOURCES],
    /// Core time taken, in thousandths of a core times milliseconds.
    pub(super) busy: f64,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    end_ms: u64,
    needs: [u64; RESOURCES],
}

impl Queue {
    fn clear(&mut self) {
        self.running.clear();
        *self = Self {
            running: std::mem::take(&mut self.running),
            ..Self::default()
        };
    }

    /// When a job would start, how many of `running` must be over, and what is used then.
    fn earliest(
        &self,
        needs: &[u64; RESOURCES],
        free: &[u64; RESOURCES],
    ) -> (u64, usize, [u64; RESOURCES]) {
        let (mut start_ms, mut used) = (self.clock_ms, self.used);
        let fits = |used: &[u64; RESOURCES]| {
            (0..RESOURCES).all(|resource| needs[resource] <= free[resource] - used[resource])
        };
        let mut over = 0;
        // Eligible jobs fit an empty node, so this ends at the latest when nothing runs.
        while !fits(&used) {
            let Some(first) = self.running.get(over) else {
                break;
            };
            start_ms = start_ms.max(first.end_ms);
            for (used, need) in used.iter_mut().zip(first.needs) {
                *used -= need;
            }
            over += 1;
        }
        (start_ms, over, used)
    }

    /// When a job would end that holds its place for `held_ms`.
    pub(super) fn end_ms(
        &self,
        needs: &[u64; RESOURCES],
        held_ms: u64,
        free: &[u64; RESOURCES],
    ) -> u64 {
        self.earliest(needs, free).0 + held_ms
    }

    /// Lets a job queue and returns when it ends.
    pub(super) fn push(
        &mut self,
        needs: [u64; RESOURCES],
        held_ms: u64,
        free: &[u64; RESOURCES],
    ) -> u64 {
        let (start_ms, over, used) = self.earliest(&needs, free);
        self.running.drain(..over);
        self.clock_ms = start_ms;
        self.used = used;
        for (used, need) in self.used.iter_mut().zip(needs) {
            *used += need;
        }
        let end_ms = start_ms + held_ms;
        let position = self.running.partition_point(|other| other.end_ms <= end_ms);
        self.running.insert(position, Running { end_ms, needs });
        self.busy += held_ms as f64 * needs[0] as f64;
        end_ms
    }
}

/// Evaluates placements of one instance, keeping its working memory from one to the next.
#[derive(Debug)]
pub(super) struct Evaluator<'a> {
    instance: &'a Instance,
    needs: Vec<[u64; RESOURCES]>,
    queues: Vec<Queue>,
    uses: Vec<f64>,
    taken_slots: Vec<u64>,
}

/// What is worst about a placement of jobs that queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// This copy is where too many are.
    Crowded(usize),
    /// This job is this many milliseconds late.
    Late(usize, u64),
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        let nodes = instance.nodes.len();
        // Jobs that run at once are placed by a search that keeps limits by itself.
        let slot_count = match instance.sharing {
            Sharing::Concurrent => 0,
            Sharing::Queued => instance.slots.free.len(),
        };
        Self {
            instance,
            needs: instance
                .jobs
                .iter()
                .map(|job| NEEDS.map(|of| of(job)))
                .collect(),
            queues: vec![Queue::default(); nodes],
            uses: vec![0.0; nodes],
            taken_slots: vec![0; slot_count],
        }
    }

    /// The value of the placement that puts each copy on the node of its chosen pair.
    pub(super) fn value(&mut self, choices: &[u32]) -> Value {
        let instance = self.instance;
        let (mut distrust, mut cost, mut price) = (0.0, 0_u128, 0_u128);
        for &(job, copy) in &instance.order {
            let pair = instance.pair(job, choices[copy]);
            distrust += instance.weights[job] * (1.0 - instance.nodes[pair.node].trust);
            cost += pair.cost;
            price += pair.price;
        }
        let (completion, violation) = match instance.sharing {
            Sharing::Concurrent => (self.run_together(choices), 0.0),
            Sharing::Queued => {
                let (completion, late) = self.run_in_turn(choices);
                (completion, late + self.crowding(choices))
            }
        };
        Value {
            objectives: [
                completion / instance.weight_sum,
                deviation(&self.uses),
                distrust / instance.weight_sum,
                cost as f64,
                price as f64,
            ],
            violation,
            cost,
            price,
        }
    }

    /// Weighted sum of completions when all jobs run at once.
    fn run_together(&mut self, choices: &[u32]) -> f64 {
        let instance = self.instance;
        let mut taken: Vec<f64> = instance
            .nodes
            .iter()
            .map(|node| (node.cpu_millis_total - node.cpu_millis_free) as f64)
            .collect();
        let mut completion = 0.0;
        for &(job, copy) in &instance.order {
            let pair = instance.pair(job, choices[copy]);
            taken[pair.node] += instance.jobs[job].cpu_millis as f64;
            completion += instance.weights[job] * instance.alone_ms(pair);
        }
        for ((share, taken), node) in self.uses.iter_mut().zip(taken).zip(&instance.nodes) {
            *share = ratio(taken, node.cpu_millis_total as f64);
        }
        completion
    }

    /// Weighted sum of completions when jobs queue, and by what part of their deadlines jobs are
    /// late.
    fn run_in_turn(&mut self, choices: &[u32]) -> (f64, f64) {
        let instance = self.instance;
        self.queues.iter_mut().for_each(Queue::clear);
        let (mut completion, mut late, mut last_ms) = (0.0, 0.0, 0);
        for &(job, copy) in &instance.order {
            let pair = instance.pair(job, choices[copy]);
            let free = &instance.free[pair.node];
            let end_ms = self.queues[pair.node].push(self.needs[job], pair.held_ms(), free);
            let done_ms = end_ms as f64 + instance.nodes[pair.node].latency_ms;
            completion += instance.weights[job] * done_ms;
            last_ms = last_ms.max(end_ms);
            let late_ms = instance.late_ms(job, done_ms);
            if late_ms > 0.0 {
                late += late_ms / f64::max(done_ms - late_ms, 1.0);
            }
        }
        let nodes = self.queues.iter().zip(&instance.nodes);
        for ((queue, node), share) in nodes.zip(&mut self.uses) {
            *share = ratio(queue.busy, last_ms as f64 * node.cpu_millis_free as f64);
        }
        (completion, late)
    }

    /// How much more is taken of slots than there is.
    fn crowding(&mut self, choices: &[u32]) -> f64 {
        self.fill_slots(choices);
        let slots = self.taken_slots.iter().zip(&self.instance.slots.free);
        let over: u64 = slots
            .map(|(&taken, &free)| taken.saturating_sub(u64::from(free)))
            .sum();
        over as f64
    }

    fn fill_slots(&mut self, choices: &[u32]) {
        self.taken_slots.fill(0);
        for (copy, &choice) in choices.iter().enumerate() {
            for (slot, count) in self.instance.slots.of(copy, choice as usize) {
                self.taken_slots[slot] += u64::from(count);
            }
        }
    }

    /// What is worst about a placement of jobs that queue, if anything is.
    pub(super) fn fault(&mut self, choices: &[u32]) -> Option<Fault> {
        self.fill_slots(choices);
        let crowded = (0..choices.len()).find(|&copy| {
            let slots = &self.instance.slots;
            let mut taken = slots.of(copy, choices[copy] as usize);
            taken.any(|(slot, _)| self.taken_slots[slot] > u64::from(slots.free[slot]))
        });
        if let Some(copy) = crowded {
            return Some(Fault::Crowded(copy));
        }
        let instance = self.instance;
        self.queues.iter_mut().for_each(Queue::clear);
        let mut worst: Option<(f64, usize)> = None;
        for &(job, copy) in &instance.order {
            let pair = instance.pair(job, choices[copy]);
            let free = &instance.free[pair.node];
            let end_ms = self.queues[pair.node].push(self.needs[job], pair.held_ms(), free);
            let done_ms = end_ms as f64 + instance.nodes[pair.node].latency_ms;
            let late_ms = instance.late_ms(job, done_ms);
            if late_ms > worst.map_or(0.0, |(most, _)| most) {
                worst = Some((late_ms, job));
            }
        }
        worst.map(|(late_ms, job)| Fault::Late(job, late_ms.ceil() as u64))
    }
}

impl Instance {
    pub(super) fn pair(&self, job: usize, choice: u32) -> Pair {
        self.eligible[job][choice as usize]
    }

    /// Time until a job is done that need not wait.
    pub(super) fn alone_ms(&self, pair: Pair) -> f64 {
        pair.held_ms() as f64 + self.nodes[pair.node].latency_ms
    }

    /// By how much a job that is done then misses its deadline, 0 if it does not.
    pub(super) fn late_ms(&self, job: usize, done_ms: f64) -> f64 {
        let deadline_ms = self.jobs[job].deadline_ms;
        deadline_ms.map_or(0.0, |deadline_ms| {
            f64::max(done_ms - deadline_ms as f64, 0.0)
        })
    }
}

/// `part` of `whole`, zero of nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Population standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    (squares / count).sqrt()
}

#[cfg(test)]
mod tests {
    use fogcompute_base::Priority;

    use super::super::instance::tests::{job, node};
    use super::super::instance::{Job, Node};
    use super::*;

    fn close(actual: [f64; OBJECTIVE_COUNT], expected: [f64; OBJECTIVE_COUNT]) {
        for (a, b) in actual.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-9, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn jobs_that_run_at_once_are_valued_by_hand() {
        let jobs = vec![
            Job {
                priority: Priority::High,
                ..job(1)
            },
            Job {
                duration_ms: 3_000,
                ..job(2)
            },
        ];
        let nodes = vec![
            Node {
                cpu_millis_free: 3_000,
                ..node(1)
            },
            Node {
                speed: 2.0,
                latency_ms: 40.0,
                trust: 0.5,
                ..node(2)
            },
        ];
        let instance = Instance::new(jobs, nodes, Sharing::Concurrent).unwrap();
        let value = Evaluator::new(&instance).value(&[0, 1]);
        // Job 1: 1000 + 10 ms on node 1, weight 8. Job 2: 1500 + 40 ms on node 2, weight 4.
        // Use: (1 taken + 1) of 4 cores, and 1 of 4. Cost: 5 for one core second, 7.5 for 1.5.
        close(
            value.objectives,
            [
                (8.0 * 1_010.0 + 4.0 * 1_540.0) / 12.0,
                0.125,
                (8.0 * 0.2 + 4.0 * 0.5) / 12.0,
                13.0,
                13.0,
            ],
        );
        assert_eq!(value.cost, 13);
        assert!(value.violation <= 0.0);
    }

    #[test]
    fn a_crowd_and_a_missed_deadline_are_violations_where_jobs_queue() {
        let apart = Job {
            anti_affinity: vec![job(2).id],
            deadline_ms: Some(2_000),
            ..job(1)
        };
        let urgent = Job {
            priority: Priority::High,
            cpu_millis: 4_000,
            ..job(2)
        };
        let jobs = vec![apart, urgent];
        let instance = Instance::new(jobs, vec![node(1), node(2)], Sharing::Queued).unwrap();
        let mut evaluator = Evaluator::new(&instance);
        assert_eq!(evaluator.fault(&[0, 1]), None);
        assert!(evaluator.value(&[0, 1]).violation <= 0.0);
        // Job 1 waits for job 2 and is done after 2010 ms, on one node with it.
        let violation = evaluator.value(&[0, 0]).violation;
        assert!((violation - (1.0 + 10.0 / 2_000.0)).abs() < 1e-12);
        assert_eq!(evaluator.fault(&[0, 0]), Some(Fault::Crowded(0)));
    }

    #[test]
    fn a_queue_serves_the_urgent_first_and_lets_nobody_overtake() {
        let two_cores = Node {
            cpu_millis_free: 2_000,
            latency_ms: 0.0,
            ..node(1)
        };
        let idle = node(2);
        let jobs = vec![
            // Third: waits for both cores.
            Job {
                cpu_millis: 2_000,
                priority: Priority::Normal,
                ..job(1)
            },
            // Fourth: there would be a core earlier, but the third is before it.
            Job {
                priority: Priority::Normal,
                ..job(2)
            },
            // First and second, side by side, for one and for two seconds.
            Job {
                priority: Priority::High,
                ..job(3)
            },
            Job {
                priority: Priority::High,
                duration_ms: 2_000,
                ..job(4)
            },
        ];
        let instance = Instance::new(jobs, vec![two_cores, idle], Sharing::Queued).unwrap();
        let value = Evaluator::new(&instance).value(&[0, 0, 0, 0]);
        // Ends: job 3 at 1 s, job 4 at 2 s, job 1 at 3 s, job 2 at 4 s. Busy: 6 of 8 core seconds.
        close(
            value.objectives,
            [
                (8.0 * 1_000.0 + 8.0 * 2_000.0 + 4.0 * 3_000.0 + 4.0 * 4_000.0) / 24.0,
                0.375,
                0.2,
                30.0,
                30.0,
            ],
        );
    }

    #[test]
    fn memory_makes_jobs_queue_too() {
        let jobs = (1..=2)
            .map(|id| Job {
                memory_bytes: 600_000,
                ..job(id)
            })
            .collect();
        let instance = Instance::new(jobs, vec![node(1)], Sharing::Queued).unwrap();
        let value = Evaluator::new(&instance).value(&[0, 0]);
        assert!((value.objectives[0] - 1_510.0).abs() < 1e-9);
    }

    #[test]
    fn jobs_that_need_nothing_divide_nothing_by_zero() {
        let jobs = (1..=2)
            .map(|id| Job {
                cpu_millis: 0,
                memory_bytes: 0,
                duration_ms: 0,
                ..job(id)
            })
            .collect();
        let nodes = vec![Node {
            cpu_millis_free: 0,
            cpu_millis_total: 0,
            memory_bytes_free: 0,
            ..node(1)
        }];
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let jobs: &Vec<Job> = &jobs;
            let instance = Instance::new(jobs.clone(), nodes.clone(), sharing).unwrap();
            let value = Evaluator::new(&instance).value(&[0, 0]);
            close(value.objectives, [10.0, 0.0, 0.2, 0.0, 0.0]);
            assert!(value.violation <= 0.0);
        }
    }
}
