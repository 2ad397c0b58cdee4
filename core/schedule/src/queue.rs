//! Jobs over time: which waits, which starts where, which gives way.
//!
//! [`Queue`] is told what happens (jobs come, end and are cancelled; nodes join, change and leave)
//! and [`Queue::poll`], asked until it has nothing more to say, what to do. It starts nothing itself
//! and reads no clock: every call that time matters to takes `now`, which never goes back, and
//! [`Queue::poll_timeout`] says when to poll again though nothing happened. The same calls give the
//! same decisions.
//!
//! **Order.** A job's turn comes by its priority, then by when it was submitted. So that nobody
//! starves, a job that has waited [`Config::ageing`] goes before those of the next higher priority
//! that come then: whatever its priority, nothing submitted four times as long after it goes before
//! it. What had to give up its node goes before all others of its priority.
//!
//! **Reservations.** A job says how long it runs, and what is waited for is expected to be free
//! then. [`Backfill`] says who has a reservation and who may overtake. A job that ends sooner than
//! it said pulls reservations forward; one that does not end is expected to run for half as long
//! again as it has, again and again, and what was reserved after it is pushed back.
//!
//! **Preemption.** With [`Config::preemption`], a job that waits longer than it should may push out
//! running ones of lower priority if their tier allows it or they say so. They get
//! [`Decision::Notice`] first; the capacity they hold is the more urgent job's at the end of it.
//! Of all nodes the one is taken where the fewest have to go, and of those where the least urgent
//! do.
//!
//! **Together and apart.** All jobs of a gang start at the same time, as all replicas of a job do.
//! [`Job::affinity`], [`Job::anti_affinity`] and [`Job::spread`] concern jobs that run at the same
//! time, or are expected to; a job they name that is not here asks nothing, nor does affinity of or
//! to a job of which a replica is done. If one job of a gang loses its node all of them go back. Where a gang fits only in a way that a search of
//! [`STEPS_MAX`] steps does not find, it waits for another time.
//!
//! **Cost.** A job that no node can take sleeps until a node joins or changes that could. An event
//! looks at each waiting job once at most, against the nodes that the event concerns. Only jobs that
//! are new, first in turn or lost their reservation are sought a place among all nodes: of those
//! with room now up to 64 are compared, and for later those where something ends soonest. Gangs,
//! replicas and jobs that others matter to are held against all nodes that are large enough, and so
//! are up to four late jobs when others could give way. With conservative backfilling, where all
//! that wait hold places, a new job is held against most nodes.
//!
//! ```
//! use fogcompute_base::{Instant, NodeId, TaskId};
//! use fogcompute_schedule::queue::{Config, Decision, Queue};
//! use fogcompute_schedule::{Job, Node};
//!
//! let node = NodeId::from_bytes([1; 32]);
//! let job = |id| TaskId::from_bytes([id; 16]);
//! let mut queue = Queue::new(Config::default())?;
//! queue.add_node(Node::new(node, 1_000, 1 << 30))?;
//! // Two jobs of a whole core and ten seconds, on a node of one core.
//! for id in [1, 2] {
//!     queue.submit(&[Job::new(job(id), 1_000, 1 << 20, 10_000)], Instant::ZERO)?;
//! }
//! let first = queue.poll(Instant::ZERO);
//! assert_eq!(first, Some(Decision::Start { job: job(1), node }));
//! while queue.poll(Instant::ZERO).is_some() {}
//! assert_eq!(queue.reservations(job(2))[0].at, Instant::from_millis(10_000));
//! // The first is done sooner than it said.
//! let now = Instant::from_millis(7_000);
//! queue.finish(job(1), node, now)?;
//! assert_eq!(queue.poll(now), Some(Decision::Start { job: job(2), node }));
//! # Ok::<(), fogcompute_schedule::queue::QueueError>(())
//! ```

mod fit;
mod free;
mod moves;
mod pass;
mod preempt;
mod profile;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::{Instant, NodeId, Priority, TaskId};
use thiserror::Error;

use crate::placement::{RATE_MAX, Relations, check_jobs, check_nodes, eligible};
use crate::{Job, NODES_MAX, Node, PlacementError, Rates};
use free::Free;
pub use moves::Move;
use profile::{Amounts, Profile, RESOURCES, Taken, capacity, need, within};

/// Most steps of the search for a way in which the jobs of a gang fit at one time.
pub const STEPS_MAX: usize = 2_000;

/// Who has a reservation, and who may start before those whose turn is earlier.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Backfill {
    /// Nobody overtakes: first come, first served.
    None,
    /// The first in turn has a reservation. Others start if they do not delay it.
    ///
    /// Source: Lifka 1995, "The ANL/IBM SP scheduling system".
    #[default]
    Easy,
    /// Everybody has a reservation. Nobody delays that of one whose turn is earlier.
    ///
    /// Source: Mu'alem and Feitelson 2001, "Utilization, predictability, workloads, and user
    /// runtime estimates in scheduling the IBM SP2 with backfilling".
    Conservative,
}

/// When jobs may push out others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preemption {
    /// How long after its submission a job should have started.
    pub patience: Duration,
    /// How often one job may be pushed out; then it stays.
    pub times_max: u32,
}

impl Default for Preemption {
    fn default() -> Self {
        Self {
            patience: Duration::ZERO,
            times_max: 3,
        }
    }
}

/// What a queue goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Who overtakes.
    pub backfill: Backfill,
    /// Which of the nodes where a job can start at the same time is the best: that of the least
    /// weighted sum.
    pub rates: Rates,
    /// How long a job waits until it goes before those of the next higher priority.
    /// [`Duration::MAX`] for strict priorities, with which the less urgent may wait forever.
    pub ageing: Duration,
    /// Most jobs that may be in the queue, waiting and running.
    pub jobs_max: usize,
    /// Whether and when jobs push out others.
    pub preemption: Option<Preemption>,
    /// What the move of a running job costs, in what [`rates`](Self::rates) are measured in. Moves
    /// that gain no more than this are not proposed.
    pub move_cost: f64,
}

impl Default for Config {
    /// EASY, an hour of ageing, 65,536 jobs, no preemption.
    fn default() -> Self {
        Self {
            backfill: Backfill::default(),
            rates: Rates {
                completion_ms: 0.001,
                node_use: 1.0,
                distrust: 1.0,
                cost: 0.001,
                price: 0.0,
            },
            ageing: Duration::from_secs(3_600),
            jobs_max: 1 << 16,
            preemption: None,
            move_cost: 10.0,
        }
    }
}

/// Why a job was stopped.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Cause {
    /// A more urgent job needs its node; it waits again.
    Preempted {
        /// That job.
        for_job: TaskId,
    },
    /// Another of its gang lost its node; it waits again.
    Gang,
    /// It was cancelled.
    Cancelled,
    /// It is started on another node next.
    Moved,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Obstacle {
    /// No node here could take it, or one of its gang, even if nothing ran.
    Node,
    /// Nodes that could take it are taken, or kept for others.
    Capacity,
    /// The turn of others is earlier, and nobody overtakes.
    Turn,
}

/// What to do.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Start a job, or one replica of it, on a node.
    Start {
        /// The job.
        job: TaskId,
        /// The node.
        node: NodeId,
    },
    /// Tell a job that it will be stopped.
    Notice {
        /// The job.
        job: TaskId,
        /// Where it runs.
        node: NodeId,
        /// It is not stopped before this.
        until: Instant,
        /// Who needs the node.
        for_job: TaskId,
    },
    /// Tell a job that was given notice that it may stay.
    Reprieve {
        /// The job.
        job: TaskId,
        /// Where it runs.
        node: NodeId,
    },
    /// Stop a job. It needs no [`Queue::finish`].
    Stop {
        /// The job.
        job: TaskId,
        /// Where it runs.
        node: NodeId,
        /// Why.
        cause: Cause,
    },
    /// A job has to wait. Said when it is first known and when it changes.
    Wait {
        /// The job.
        job: TaskId,
        /// For what; [`Queue::why`] knows more.
        obstacle: Obstacle,
    },
    /// The deadline of a job, or of one of its gang, passed before it or a replica of it started.
    /// What waited of it was dropped; what runs of it goes on.
    Expire {
        /// The job.
        job: TaskId,
    },
}

/// When and where a job is to start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reservation {
    /// The node.
    pub node: NodeId,
    /// The time, if all others run as long as they said.
    pub at: Instant,
}

/// Why a job waits.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// No node could take it even if nothing ran: which constraint rules out how many is said.
    Node(PlacementError),
    /// Another job with which it starts has no node.
    Gang {
        /// The other.
        job: TaskId,
    },
    /// Each could be placed alone, but no way was found to place all that start together.
    Together,
    /// What could take it is taken.
    Capacity {
        /// Until when; `None` if it has no reservation.
        until: Option<Instant>,
    },
    /// The turn of others is earlier, and nobody overtakes.
    Turn {
        /// How many.
        ahead: usize,
    },
}

/// Why a queue refused.
#[non_exhaustive]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum QueueError {
    /// The jobs would be too many. Submit them later.
    #[error("the queue is full ({jobs_max} jobs)")]
    Full {
        /// [`Config::jobs_max`].
        jobs_max: usize,
    },
    /// A number of the configuration is out of range.
    #[error("{field} is {value}, not from 0 to {RATE_MAX}")]
    Number {
        /// The field.
        field: &'static str,
        /// What it says.
        value: f64,
    },
    /// A job is here already.
    #[error("job {job} is in the queue already")]
    JobKnown {
        /// The job.
        job: TaskId,
    },
    /// There is no such job.
    #[error("there is no job {job}")]
    JobUnknown {
        /// The job.
        job: TaskId,
    },
    /// A gang of this name is here already; its jobs are to be submitted together.
    #[error("gang {gang:?} of job {job} is in the queue already")]
    GangKnown {
        /// The gang.
        gang: String,
        /// A job that says it is part of it.
        job: TaskId,
    },
    /// The job does not run there.
    #[error("job {job} does not run on node {node}")]
    NotRunning {
        /// The job.
        job: TaskId,
        /// The node.
        node: NodeId,
    },
    /// There is no such node.
    #[error("there is no node {node}")]
    NodeUnknown {
        /// The node.
        node: NodeId,
    },
    /// A move that cannot be made now; plan again.
    #[error("job {job} cannot be moved to node {to} now")]
    MoveRefused {
        /// The job.
        job: TaskId,
        /// Where it was to go.
        to: NodeId,
    },
    /// The job or the node makes no sense by itself.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

/// Whose turn it is: the least. Names a party as long as it waits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Turn {
    /// When it was submitted, later by [`Config::ageing`] for each level of priority.
    at: u64,
    /// 0 for those that had to give up their node.
    rank: u8,
    number: u64,
}

/// Where and when a party is to start.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Booking {
    at: u64,
    /// For each member its node and until when it holds it.
    places: Vec<(usize, u64)>,
}

/// Runs that start together or not at all: the replicas of one job, or all of a gang's jobs.
#[derive(Clone, Debug)]
struct Party {
    /// The job of each run.
    members: Vec<TaskId>,
    priority: Priority,
    submitted: u64,
    /// What the most modest member needs of each resource.
    least: Amounts,
    /// When the first of it must be done.
    deadline: Option<u64>,
    booking: Option<Booking>,
    /// Runs that were given notice for it.
    victims: Vec<(TaskId, usize)>,
    /// Whether there is no time at which it could start, as far as is known: until its deadline
    /// all nodes are taken.
    is_stuck: bool,
    /// What was last said to be in its way.
    said: Option<Obstacle>,
}

/// A job on a node.
#[derive(Clone, Debug)]
struct Run {
    need: Amounts,
    started: u64,
    /// When it is expected to end, notice or not.
    ends: u64,
    /// For how long the node's profile has it: until it ends or is to be stopped.
    held_until: u64,
    /// Until when it was given notice, and for whom.
    notice: Option<(u64, Turn)>,
    /// Whether it is counted as one that may have to give way.
    is_prey: bool,
}

/// A job that waits or runs.
#[derive(Clone, Debug)]
struct Known {
    job: Job,
    submitted: u64,
    preempted: u32,
    /// Whether a replica of it is done.
    is_done_somewhere: bool,
    runs: BTreeSet<usize>,
    parties: BTreeSet<Turn>,
    /// All of its gang, itself too; empty if it is in none.
    gang: Vec<TaskId>,
}

/// A node and what happens on it.
#[derive(Clone, Debug)]
struct Host {
    node: Node,
    capacity: Amounts,
    /// `false` if it takes nothing new.
    is_open: bool,
    /// What runs on it takes so much.
    used: Taken,
    /// Runs and reservations.
    profile: Profile,
    runs: BTreeSet<TaskId>,
    booked: BTreeSet<Turn>,
}

/// How thoroughly a place is sought for a party.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fresh {
    /// On all nodes.
    Again,
    /// On all nodes, and reservations of those whose turn is later give way.
    New,
}

/// Jobs that wait and run, on nodes that come and go. See the [module](self).
#[derive(Clone, Debug)]
pub struct Queue {
    config: Config,
    hosts: Vec<Option<Host>>,
    /// Where there is no host.
    vacant: BTreeSet<usize>,
    host_of: BTreeMap<NodeId, usize>,
    /// What open nodes have that no run takes.
    free: Free,
    /// What open nodes have.
    whole: Free,
    jobs: BTreeMap<TaskId, Known>,
    /// Who is named in the affinities of others, with those others.
    named_by: BTreeMap<TaskId, BTreeSet<TaskId>>,
    groups: BTreeMap<String, BTreeSet<TaskId>>,
    gangs: BTreeMap<String, usize>,
    runs: BTreeMap<(TaskId, usize), Run>,
    waiting: BTreeMap<Turn, Party>,
    asleep: BTreeMap<Turn, Party>,
    /// Who sleeps, by the processor the most modest member needs.
    sleepers: BTreeSet<(u64, Turn)>,
    ends: BTreeSet<(u64, TaskId, usize)>,
    due: BTreeSet<(u64, Turn)>,
    alarms: BTreeSet<(u64, Turn)>,
    /// Nodes on which something is free, now or at some time, that was not.
    dirty: BTreeSet<usize>,
    /// Nodes on which something was taken until now and is free, as was expected.
    vacated: BTreeSet<usize>,
    /// When something that is taken, or reserved, becomes free, and on which node, with how often.
    frees: BTreeMap<(u64, usize), usize>,
    fresh: BTreeMap<Turn, Fresh>,
    /// Whether something happened since the last pass.
    is_stirred: bool,
    decisions: VecDeque<Decision>,
    /// Who is first in turn and has a reservation for that.
    head: Option<Turn>,
    /// Of whom it may be news that they wait.
    unsaid: BTreeSet<Turn>,
    /// How many runs of each priority may have to give way and have no notice.
    prey: [usize; 5],
    number: u64,
}

fn millis(millis: u64) -> u64 {
    Instant::from_millis(millis).as_nanos()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Queue {
    /// An empty queue without nodes.
    ///
    /// # Errors
    ///
    /// [`QueueError::Number`] if a rate or the cost of a move is not from 0 to 10¹².
    pub fn new(config: Config) -> Result<Self, QueueError> {
        let rates = &config.rates;
        for (field, value) in [
            ("completion_ms", rates.completion_ms),
            ("node_use", rates.node_use),
            ("distrust", rates.distrust),
            ("cost", rates.cost),
            ("price", rates.price),
            ("move_cost", config.move_cost),
        ] {
            if !(0.0..=RATE_MAX).contains(&value) {
                return Err(QueueError::Number { field, value });
            }
        }
        Ok(Self {
            config,
            hosts: Vec::new(),
            vacant: BTreeSet::new(),
            host_of: BTreeMap::new(),
            free: Free::default(),
            whole: Free::default(),
            jobs: BTreeMap::new(),
            named_by: BTreeMap::new(),
            groups: BTreeMap::new(),
            gangs: BTreeMap::new(),
            runs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asleep: BTreeMap::new(),
            sleepers: BTreeSet::new(),
            ends: BTreeSet::new(),
            due: BTreeSet::new(),
            alarms: BTreeSet::new(),
            dirty: BTreeSet::new(),
            vacated: BTreeSet::new(),
            frees: BTreeMap::new(),
            fresh: BTreeMap::new(),
            is_stirred: false,
            decisions: VecDeque::new(),
            head: None,
            unsaid: BTreeSet::new(),
            prey: [0; 5],
            number: 0,
        })
    }

    /// Takes in jobs, all of them or none. A gang has to come in one call. A deadline counts from
    /// `now`.
    ///
    /// # Errors
    ///
    /// [`QueueError::Full`], [`QueueError::JobKnown`], [`QueueError::GangKnown`], and
    /// [`QueueError::Placement`] if there are no jobs, one occurs twice, a number makes no sense, or
    /// jobs contradict themselves or each other.
    pub fn submit(&mut self, jobs: &[Job], now: Instant) -> Result<(), QueueError> {
        check_jobs(jobs)?;
        if self.jobs.len() + jobs.len() > self.config.jobs_max {
            return Err(QueueError::Full {
                jobs_max: self.config.jobs_max,
            });
        }
        self.check_relations(jobs)?;
        let mut gangs: BTreeMap<&str, Vec<TaskId>> = BTreeMap::new();
        let mut parties: Vec<(Priority, Vec<TaskId>)> = Vec::new();
        let mut party_of_gang: BTreeMap<&str, usize> = BTreeMap::new();
        for job in jobs {
            let runs = std::iter::repeat_n(job.id, usize::from(job.replica_count()));
            let Some(gang) = &job.gang else {
                parties.push((job.priority, runs.collect()));
                continue;
            };
            gangs.entry(gang).or_default().push(job.id);
            let index = *party_of_gang.entry(gang).or_insert_with(|| {
                parties.push((job.priority, Vec::new()));
                parties.len() - 1
            });
            // A gang is as urgent as its most urgent job.
            parties[index].0 = parties[index].0.min(job.priority);
            parties[index].1.extend(runs);
        }
        for (name, members) in &gangs {
            self.gangs.insert((*name).to_owned(), members.len());
        }
        let submitted = now.as_nanos();
        for job in jobs {
            for other in job.affinity.iter().chain(&job.anti_affinity) {
                self.named_by.entry(*other).or_default().insert(job.id);
            }
            if let Some(spread) = &job.spread {
                let group = self.groups.entry(spread.group.clone()).or_default();
                group.insert(job.id);
            }
            let gang = job.gang.as_deref().and_then(|gang| gangs.get(gang));
            let known = Known {
                job: job.clone(),
                submitted,
                preempted: 0,
                is_done_somewhere: false,
                runs: BTreeSet::new(),
                parties: BTreeSet::new(),
                gang: gang.cloned().unwrap_or_default(),
            };
            self.jobs.insert(job.id, known);
        }
        for (priority, members) in parties {
            let levels = nanos(self.config.ageing).saturating_mul(priority as u64);
            let turn = Turn {
                at: submitted.saturating_add(levels),
                rank: 1,
                number: self.next_number(),
            };
            self.enqueue(turn, submitted, members);
        }
        Ok(())
    }

    /// Takes a job out, and has it stopped where it runs. The rest of its gang stays.
    ///
    /// # Errors
    ///
    /// [`QueueError::JobUnknown`].
    pub fn cancel(&mut self, job: TaskId, now: Instant) -> Result<(), QueueError> {
        let known = self
            .jobs
            .get(&job)
            .ok_or(QueueError::JobUnknown { job })?
            .clone();
        for &turn in &known.parties {
            let Some(mut party) = self.take_party(turn, now.as_nanos()) else {
                continue;
            };
            party.members.retain(|&member| member != job);
            if !party.members.is_empty() {
                self.enqueue(turn, party.submitted, party.members);
            }
        }
        for &host in &known.runs {
            self.end_run(job, host, now.as_nanos());
            self.tell_stop(job, host, Cause::Cancelled);
        }
        if let Some(known) = self.jobs.get_mut(&job) {
            known.parties.clear();
        }
        self.forget_if_done(job);
        self.is_stirred = true;
        Ok(())
    }

    /// A job, or the replica of it on this node, is done.
    ///
    /// # Errors
    ///
    /// [`QueueError::JobUnknown`], [`QueueError::NodeUnknown`], [`QueueError::NotRunning`].
    pub fn finish(&mut self, job: TaskId, node: NodeId, now: Instant) -> Result<(), QueueError> {
        let host = self.host(node)?;
        let known = self.jobs.get_mut(&job);
        let known = known.ok_or(QueueError::JobUnknown { job })?;
        if !known.runs.contains(&host) {
            return Err(QueueError::NotRunning { job, node });
        }
        known.is_done_somewhere = true;
        self.end_run(job, host, now.as_nanos());
        self.forget_if_done(job);
        self.is_stirred = true;
        Ok(())
    }

    /// Takes in a node. What it says is free is free for jobs of this queue.
    ///
    /// # Errors
    ///
    /// [`QueueError::Placement`] if the node is there already, is one too many, or a number of it
    /// makes no sense.
    pub fn add_node(&mut self, node: Node) -> Result<(), QueueError> {
        check_nodes(std::slice::from_ref(&node))?;
        if self.host_of.contains_key(&node.id) {
            return Err(PlacementError::DuplicateNode { node: node.id }.into());
        }
        if self.host_of.len() == NODES_MAX {
            let nodes = NODES_MAX + 1;
            return Err(PlacementError::TooManyNodes { nodes }.into());
        }
        let index = self.vacant.pop_first().unwrap_or(self.hosts.len());
        if index == self.hosts.len() {
            self.hosts.push(None);
        }
        self.host_of.insert(node.id, index);
        let capacity = capacity(&node);
        self.hosts[index] = Some(Host {
            node,
            capacity,
            is_open: true,
            used: [0; RESOURCES],
            profile: Profile::new(),
            runs: BTreeSet::new(),
            booked: BTreeSet::new(),
        });
        self.opened(index);
        Ok(())
    }

    /// Replaces what is known of a node, and opens it if it was drained. What is free on it is what
    /// would be if no job of this queue ran. What runs goes on even if there is no longer room.
    ///
    /// # Errors
    ///
    /// [`QueueError::NodeUnknown`], and [`QueueError::Placement`] if a number makes no sense.
    pub fn update_node(&mut self, node: Node) -> Result<(), QueueError> {
        check_nodes(std::slice::from_ref(&node))?;
        let index = self.host(node.id)?;
        self.unbook_all(index);
        if let Some(host) = self.hosts[index].as_mut() {
            host.capacity = capacity(&node);
            host.node = node;
            host.is_open = true;
        }
        self.opened(index);
        Ok(())
    }

    /// Lets nothing more start on a node. What runs may end; [`plan_moves`](Self::plan_moves) finds
    /// another place for it.
    ///
    /// # Errors
    ///
    /// [`QueueError::NodeUnknown`].
    pub fn drain_node(&mut self, node: NodeId) -> Result<(), QueueError> {
        let index = self.host(node)?;
        self.unbook_all(index);
        if let Some(host) = self.hosts[index].as_mut() {
            host.is_open = false;
        }
        self.show_free(index);
        self.dirty.remove(&index);
        self.vacated.remove(&index);
        self.is_stirred = true;
        Ok(())
    }

    /// Takes a node out. What ran on it waits again, before all others of its priority; that does
    /// not count as having been preempted.
    ///
    /// # Errors
    ///
    /// [`QueueError::NodeUnknown`].
    pub fn remove_node(&mut self, node: NodeId, now: Instant) -> Result<(), QueueError> {
        self.drain_node(node)?;
        let index = self.host(node)?;
        let runs = self.hosts[index].as_ref().map(|host| host.runs.clone());
        for job in runs.unwrap_or_default() {
            // The gang of one before it may have taken it along.
            if self.runs.contains_key(&(job, index)) {
                self.give_up(job, index, None, now.as_nanos());
            }
        }
        self.host_of.remove(&node);
        self.hosts[index] = None;
        self.vacant.insert(index);
        self.dirty.remove(&index);
        self.vacated.remove(&index);
        Ok(())
    }

    /// The next thing to do; `None` if there is nothing until the next call or
    /// [`poll_timeout`](Self::poll_timeout).
    pub fn poll(&mut self, now: Instant) -> Option<Decision> {
        if self.decisions.is_empty() {
            self.pass(now.as_nanos());
        }
        self.decisions.pop_front()
    }

    /// When to poll at the latest. In the past if there is something to do at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_stirred || !self.decisions.is_empty() {
            return Some(Instant::ZERO);
        }
        let end = self.ends.first().map(|&(at, ..)| at);
        let due = self.due.first().map(|&(at, _)| at);
        let alarm = self.alarms.first().map(|&(at, _)| at);
        let first = [end, due, alarm].into_iter().flatten().min()?;
        Some(Instant::from_nanos(first))
    }

    /// Where and when a waiting job is to start, one for each replica that has a reservation.
    #[must_use]
    pub fn reservations(&self, job: TaskId) -> Vec<Reservation> {
        let known = self.jobs.get(&job).into_iter();
        let parties = known.flat_map(|known| &known.parties);
        let mut reservations = Vec::new();
        for party in parties.filter_map(|turn| self.waiting.get(turn)) {
            let Some(booking) = &party.booking else {
                continue;
            };
            for (&member, &(host, _)) in party.members.iter().zip(&booking.places) {
                if let Some(host) = self.hosts[host].as_ref().filter(|_| member == job) {
                    reservations.push(Reservation {
                        node: host.node.id,
                        at: Instant::from_nanos(booking.at),
                    });
                }
            }
        }
        reservations
    }

    /// Why a job, or a replica of it, waits; `None` if it does not. Looks at every node.
    #[must_use]
    pub fn why(&self, job: TaskId) -> Option<Why> {
        let known = self.jobs.get(&job)?;
        let turn = known.parties.first()?;
        if let Some(party) = self.asleep.get(turn) {
            if let Some(error) = self.no_node(&known.job) {
                return Some(Why::Node(error));
            }
            let others = party
                .members
                .iter()
                .filter_map(|other| self.jobs.get(other));
            let other = others
                .map(|other| &other.job)
                .find(|other| self.no_node(other).is_some());
            return Some(other.map_or(Why::Together, |other| Why::Gang { job: other.id }));
        }
        let party = self.waiting.get(turn)?;
        let ahead = self.waiting.range(..turn).count();
        if self.config.backfill == Backfill::None && ahead > 0 {
            return Some(Why::Turn { ahead });
        }
        if party.is_stuck && party.members.len() > 1 && party.deadline.is_none() {
            return Some(Why::Together);
        }
        let until = party.booking.as_ref();
        Some(Why::Capacity {
            until: until.map(|booking| Instant::from_nanos(booking.at)),
        })
    }

    /// What rules out every node for a job.
    fn no_node(&self, job: &Job) -> Option<PlacementError> {
        let open = self.hosts.iter().flatten().filter(|host| host.is_open);
        let nodes: Vec<Node> = open.map(|host| host.node.clone()).collect();
        if nodes.is_empty() {
            return Some(PlacementError::NoNodes);
        }
        eligible(job, &nodes).err()
    }

    /// Where a job runs.
    #[must_use]
    pub fn nodes_of(&self, job: TaskId) -> Vec<NodeId> {
        let hosts = self
            .jobs
            .get(&job)
            .into_iter()
            .flat_map(|known| &known.runs);
        let hosts = hosts.filter_map(|&host| self.hosts[host].as_ref());
        hosts.map(|host| host.node.id).collect()
    }

    /// How often a job was pushed out.
    #[must_use]
    pub fn times_preempted(&self, job: TaskId) -> Option<u32> {
        self.jobs.get(&job).map(|known| known.preempted)
    }

    /// Waiting jobs in the order of their turns; those that no node can take are last. A job of
    /// which several replicas wait occurs once for each.
    pub fn waiting(&self) -> impl Iterator<Item = TaskId> {
        let parties = self.waiting.values().chain(self.asleep.values());
        parties.flat_map(|party| party.members.iter().copied())
    }

    /// How many jobs wait or run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job waits or runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn host(&self, node: NodeId) -> Result<usize, QueueError> {
        let host = self.host_of.get(&node).copied();
        host.ok_or(QueueError::NodeUnknown { node })
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn check_relations(&self, jobs: &[Job]) -> Result<(), QueueError> {
        let mut groups = BTreeMap::new();
        for job in jobs {
            if self.jobs.contains_key(&job.id) {
                return Err(QueueError::JobKnown { job: job.id });
            }
            if let Some(gang) = job
                .gang
                .as_ref()
                .filter(|gang| self.gangs.contains_key(*gang))
            {
                return Err(QueueError::GangKnown {
                    gang: gang.clone(),
                    job: job.id,
                });
            }
            let torn = job
                .anti_affinity
                .iter()
                .find(|&&other| other == job.id || job.affinity.contains(&other));
            if let Some(&other) = torn {
                return Err(PlacementError::AffinityContradiction { job: job.id, other }.into());
            }
            let Some(spread) = &job.spread else { continue };
            if spread.most == 0 {
                let (group, job) = (spread.group.clone(), job.id);
                return Err(PlacementError::SpreadOfNone { group, job }.into());
            }
            let here = self.groups.get(&spread.group).and_then(BTreeSet::first);
            let here = here
                .and_then(|other| self.jobs.get(other))
                .map(|known| &known.job);
            let first = *groups.entry(&spread.group).or_insert(here.unwrap_or(job));
            if first.spread.as_ref() != Some(spread) {
                return Err(PlacementError::SpreadMismatch {
                    group: spread.group.clone(),
                    job: job.id,
                    other: first.id,
                }
                .into());
            }
        }
        let mut gangs: BTreeMap<&str, Vec<Job>> = BTreeMap::new();
        for job in jobs {
            if let Some(gang) = &job.gang {
                gangs.entry(gang).or_default().push(job.clone());
            }
        }
        for gang in gangs.values_mut() {
            let members: BTreeSet<TaskId> = gang.iter().map(|job| job.id).collect();
            for job in gang.iter_mut() {
                job.affinity.retain(|other| members.contains(other));
                job.anti_affinity.retain(|other| members.contains(other));
            }
            Relations::new(gang)?;
        }
        Ok(())
    }

    /// Puts a party in line, or to sleep if a member has no node.
    fn enqueue(&mut self, turn: Turn, submitted: u64, members: Vec<TaskId>) {
        let urgencies = members.iter().filter_map(|member| self.jobs.get(member));
        let most_urgent = urgencies.map(|known| known.job.priority).min();
        let priority = most_urgent.unwrap_or_default();
        let mut least = [u64::MAX; RESOURCES];
        for member in &members {
            let Some(known) = self.jobs.get_mut(member) else {
                continue;
            };
            known.parties.insert(turn);
            for (least, need) in least.iter_mut().zip(need(&known.job)) {
                *least = need.min(*least);
            }
        }
        let deadlines = members.iter().filter_map(|member| {
            let deadline_ms = self.jobs.get(member)?.job.deadline_ms?;
            Some(submitted.saturating_add(millis(deadline_ms)))
        });
        let deadline = deadlines.min();
        if let Some(deadline) = deadline {
            self.alarms.insert((deadline, turn));
        }
        let party = Party {
            members,
            priority,
            submitted,
            least,
            deadline,
            booking: None,
            victims: Vec::new(),
            is_stuck: false,
            said: None,
        };
        if let Some(preemption) = self.config.preemption {
            let patient_until = submitted.saturating_add(nanos(preemption.patience));
            self.alarms.insert((patient_until, turn));
        }
        self.unsaid.insert(turn);
        if self.has_nodes(&party) {
            self.waiting.insert(turn, party);
            self.fresh.insert(turn, Fresh::New);
        } else {
            self.put_to_sleep(turn, party);
        }
        self.is_stirred = true;
    }

    fn put_to_sleep(&mut self, turn: Turn, party: Party) {
        self.unsaid.insert(turn);
        self.sleepers.insert((party.least[0], turn));
        self.asleep.insert(turn, party);
    }

    fn wake(&mut self, turn: Turn) {
        if let Some(mut party) = self.asleep.remove(&turn) {
            self.sleepers.remove(&(party.least[0], turn));
            party.is_stuck = false;
            self.unsaid.insert(turn);
            self.waiting.insert(turn, party);
            self.fresh.insert(turn, Fresh::New);
        }
    }

    /// A node takes jobs that could not take them, or more of them.
    fn opened(&mut self, index: usize) {
        self.show_free(index);
        self.dirty.insert(index);
        self.is_stirred = true;
        let Some(host) = self.hosts[index].as_ref() else {
            return;
        };
        let last = Turn {
            at: u64::MAX,
            rank: u8::MAX,
            number: u64::MAX,
        };
        let could = self.sleepers.range(..=(host.capacity[0], last));
        let could = could.filter_map(|(_, turn)| Some((*turn, self.asleep.get(turn)?)));
        let woken: Vec<Turn> = could
            .filter(|(_, party)| {
                within(&party.least, &host.capacity)
                    && party
                        .members
                        .iter()
                        .any(|&member| self.may_be_on(member, index))
                    && self.has_nodes(party)
            })
            .map(|(turn, _)| turn)
            .collect();
        for turn in woken {
            self.wake(turn);
        }
    }

    /// Writes down for the search what a node has free.
    fn show_free(&mut self, index: usize) {
        let open = self.hosts[index].as_ref().filter(|host| host.is_open);
        let whole = open.map_or([0; RESOURCES], |host| host.capacity);
        let free = open.map_or([0; RESOURCES], Host::unused);
        self.whole.set(index, whole);
        self.free.set(index, free);
    }

    fn tell_stop(&mut self, job: TaskId, host: usize, cause: Cause) {
        if let Some(host) = &self.hosts[host] {
            let node = host.node.id;
            self.decisions
                .push_back(Decision::Stop { job, node, cause });
        }
    }

    /// Forgets a job that neither runs nor waits.
    fn forget_if_done(&mut self, job: TaskId) {
        let is_done = |known: &Known| known.runs.is_empty() && known.parties.is_empty();
        if !self.jobs.get(&job).is_some_and(is_done) {
            return;
        }
        let Some(known) = self.jobs.remove(&job) else {
            return;
        };
        for other in known.job.affinity.iter().chain(&known.job.anti_affinity) {
            if let Some(names) = self.named_by.get_mut(other) {
                names.remove(&job);
                if names.is_empty() {
                    self.named_by.remove(other);
                }
            }
        }
        if let Some(spread) = &known.job.spread
            && let Some(group) = self.groups.get_mut(&spread.group)
        {
            group.remove(&job);
            if group.is_empty() {
                self.groups.remove(&spread.group);
            }
        }
        if let Some(gang) = &known.job.gang
            && let Some(left) = self.gangs.get_mut(gang)
        {
            *left -= 1;
            if *left == 0 {
                self.gangs.remove(gang);
            }
        }
    }
}

impl Host {
    /// What no run takes.
    fn unused(&self) -> Amounts {
        let mut unused = self.capacity;
        for (unused, &used) in unused.iter_mut().zip(&self.used) {
            *unused = unused.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX));
        }
        unused
    }
}
