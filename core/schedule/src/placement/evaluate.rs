//! What a placement is worth.

use super::OBJECTIVE_COUNT;
use super::instance::{Instance, Job, Node, Pair, Sharing};

/// The value of one placement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) objectives: [f64; OBJECTIVE_COUNT],
    /// By how much nodes are overcommitted, as a share of what they have free; 0 if none is.
    pub(super) violation: f64,
    /// In base units.
    pub(super) cost: u128,
    /// In base units.
    pub(super) price: u128,
}

/// What the jobs on one node need together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) cpu_millis: u64,
    pub(super) memory_bytes: u64,
}

impl Load {
    pub(super) fn add(&mut self, job: &Job) {
        // The instance has checked that all jobs together fit 64 bits.
        self.cpu_millis += job.cpu_millis;
        self.memory_bytes += job.memory_bytes;
    }

    pub(super) fn remove(&mut self, job: &Job) {
        self.cpu_millis -= job.cpu_millis;
        self.memory_bytes -= job.memory_bytes;
    }

    /// What there is room for on `node`.
    pub(super) fn free_on(node: &Node) -> Self {
        Self {
            cpu_millis: node.cpu_millis_free,
            memory_bytes: node.memory_bytes_free,
        }
    }

    /// By how much the load exceeds what is free on `node`.
    pub(super) fn over(self, node: &Node) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(node.cpu_millis_free),
            memory_bytes: self.memory_bytes.saturating_sub(node.memory_bytes_free),
        }
    }

    /// The excess over what is free on `node`, as a share of it.
    pub(super) fn violation(self, node: &Node) -> f64 {
        let over = self.over(node);
        ratio(over.cpu_millis as f64, node.cpu_millis_free as f64)
            + ratio(over.memory_bytes as f64, node.memory_bytes_free as f64)
    }

    /// Whether `job` fits `node` as well.
    pub(super) fn has_room(self, job: &Job, node: &Node) -> bool {
        // Saturating for a node that is overcommitted already.
        job.cpu_millis <= node.cpu_millis_free.saturating_sub(self.cpu_millis)
            && job.memory_bytes <= node.memory_bytes_free.saturating_sub(self.memory_bytes)
    }
}

/// Jobs of one node that run one after another as far as they must.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// Nothing starts before this.
    clock_ms: u64,
    /// What runs, or has run and was not yet asked for its room, by end.
    running: Vec<Running>,
    used: Load,
    /// Core time taken, in thousandths of a core times milliseconds.
    pub(super) busy: f64,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    end_ms: u64,
    cpu_millis: u64,
    memory_bytes: u64,
}

impl Queue {
    fn clear(&mut self) {
        self.running.clear();
        *self = Self {
            running: std::mem::take(&mut self.running),
            ..Self::default()
        };
    }

    /// When `job` would start, how many of `running` must be over, and what is used then.
    fn earliest(&self, job: &Job, free: Load) -> (u64, usize, Load) {
        let (mut start_ms, mut used) = (self.clock_ms, self.used);
        let fits = |used: Load| {
            job.cpu_millis <= free.cpu_millis - used.cpu_millis
                && job.memory_bytes <= free.memory_bytes - used.memory_bytes
        };
        let mut over = 0;
        // Eligible jobs fit an empty node, so this ends at the latest when nothing runs.
        while !fits(used) {
            let Some(first) = self.running.get(over) else {
                break;
            };
            start_ms = start_ms.max(first.end_ms);
            used.cpu_millis -= first.cpu_millis;
            used.memory_bytes -= first.memory_bytes;
            over += 1;
        }
        (start_ms, over, used)
    }

    /// When `job` would end that runs for `run_ms`.
    pub(super) fn end_ms(&self, job: &Job, run_ms: u64, free: Load) -> u64 {
        self.earliest(job, free).0 + run_ms
    }

    /// Lets `job` queue and returns when it ends.
    pub(super) fn push(&mut self, job: &Job, run_ms: u64, free: Load) -> u64 {
        let (start_ms, over, used) = self.earliest(job, free);
        self.running.drain(..over);
        self.clock_ms = start_ms;
        self.used = used;
        self.used.add(job);
        let end_ms = start_ms + run_ms;
        let position = self.running.partition_point(|other| other.end_ms <= end_ms);
        self.running.insert(
            position,
            Running {
                end_ms,
                cpu_millis: job.cpu_millis,
                memory_bytes: job.memory_bytes,
            },
        );
        self.busy += run_ms as f64 * job.cpu_millis as f64;
        end_ms
    }
}

/// Evaluates placements of one instance, keeping its working memory from one to the next.
#[derive(Debug)]
pub(super) struct Evaluator<'a> {
    instance: &'a Instance,
    loads: Vec<Load>,
    queues: Vec<Queue>,
    uses: Vec<f64>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        let nodes = instance.nodes.len();
        Self {
            instance,
            loads: vec![Load::default(); nodes],
            queues: vec![Queue::default(); nodes],
            uses: vec![0.0; nodes],
        }
    }

    /// The value of the placement that puts each job on the node of its chosen pair.
    pub(super) fn value(&mut self, choices: &[u32]) -> Value {
        let instance = self.instance;
        let (mut distrust, mut cost, mut price) = (0.0, 0_u128, 0_u128);
        for (job, &choice) in choices.iter().enumerate() {
            let pair = instance.pair(job, choice);
            distrust += instance.weights[job] * (1.0 - instance.nodes[pair.node].trust);
            cost += pair.cost;
            price += pair.price;
        }
        let (completion, violation) = match instance.sharing {
            Sharing::Concurrent => self.run_together(choices),
            Sharing::Queued => (self.run_in_turn(choices), 0.0),
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

    /// Weighted sum of completions, and the violation, when all jobs run at once.
    fn run_together(&mut self, choices: &[u32]) -> (f64, f64) {
        let instance = self.instance;
        self.loads.fill(Load::default());
        let mut completion = 0.0;
        for (job, &choice) in choices.iter().enumerate() {
            let pair = instance.pair(job, choice);
            self.loads[pair.node].add(&instance.jobs[job]);
            completion += instance.weights[job] * instance.alone_ms(pair);
        }
        let mut violation = 0.0;
        for ((load, node), share) in self.loads.iter().zip(&instance.nodes).zip(&mut self.uses) {
            let taken = node.cpu_millis_total - node.cpu_millis_free;
            *share = ratio(
                taken as f64 + load.cpu_millis as f64,
                node.cpu_millis_total as f64,
            );
            violation += load.violation(node);
        }
        (completion, violation)
    }

    /// Weighted sum of completions when jobs queue.
    fn run_in_turn(&mut self, choices: &[u32]) -> f64 {
        let instance = self.instance;
        self.queues.iter_mut().for_each(Queue::clear);
        let (mut completion, mut last_ms) = (0.0, 0);
        for &job in &instance.order {
            let pair = instance.pair(job, choices[job]);
            let node = &instance.nodes[pair.node];
            let end_ms = self.queues[pair.node].push(
                &instance.jobs[job],
                pair.held_ms(),
                Load::free_on(node),
            );
            completion += instance.weights[job] * (end_ms as f64 + node.latency_ms);
            last_ms = last_ms.max(end_ms);
        }
        for ((queue, node), share) in self.queues.iter().zip(&instance.nodes).zip(&mut self.uses) {
            *share = ratio(queue.busy, last_ms as f64 * node.cpu_millis_free as f64);
        }
        completion
    }

    /// What each node is loaded with after [`value`](Self::value) of an instance whose jobs run
    /// at once.
    pub(super) fn loads(&self) -> &[Load] {
        &self.loads
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
    fn what_does_not_fit_is_a_violation() {
        let jobs = vec![
            Job {
                cpu_millis: 3_000,
                ..job(1)
            },
            Job {
                cpu_millis: 3_000,
                memory_bytes: 999_500,
                ..job(2)
            },
        ];
        let instance = Instance::new(jobs, vec![node(1)], Sharing::Concurrent).unwrap();
        let mut evaluator = Evaluator::new(&instance);
        let violation = evaluator.value(&[0, 0]).violation;
        assert!((violation - (2_000.0 / 4_000.0 + 500.0 / 1e6)).abs() < 1e-12);
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
