//! One placement on its way downhill, under weights of its own.

use std::ops::Range;

use super::batch::{Batch, IMBALANCE, IMBALANCE_REFERENCE, has_room};

/// A job that has no place yet.
const NOWHERE: u32 = u32::MAX;

/// Imbalance below which its weight grows no further: the square root is steep near zero.
const DEVIATION_MIN: f64 = 0.02;

/// What the imbalance is taken for before there is a placement.
const DEVIATION_FIRST: f64 = 0.2;

/// Most rounds over all jobs in one descent. Few need more than ten.
const ROUNDS_MAX: usize = 40;

/// Least gain worth a move, in normalised objectives: well above the rounding of sums.
const GAIN_MIN: f64 = 1e-10;

/// How many full nodes a job asks for a way in, the cheapest.
const WANTED_MAX: usize = 6;

/// By what part of the mean cost of a pair tolls rise or fall, in the first round and the last.
const STEP_FIRST: f64 = 0.5;
const STEP_LAST: f64 = 0.02;

/// A node as a placement has it.
#[derive(Clone, Copy, Debug)]
struct Seat<const R: usize> {
    free: [u64; R],
    share: f64,
    inverse_cpu: f64,
}

/// A placement and what is kept of it so that a move is judged at once.
#[derive(Debug)]
pub(super) struct Walker<'a, const M: usize, const R: usize> {
    batch: &'a Batch<M, R>,
    /// The pair of each job, or [`NOWHERE`].
    chosen: Vec<u32>,
    seats: Vec<Seat<R>>,
    /// What is free of each slot.
    free_slots: Vec<u32>,
    /// Jobs on each node.
    guests: Vec<Vec<u32>>,
    /// Where each job is among them, if it is anywhere.
    places: Vec<u32>,
    /// Sum over nodes of their use.
    sum: f64,
    /// Sum over nodes of the square of their use.
    squares: f64,
    /// What each pair adds, weighted.
    row: Vec<f32>,
    /// The least of the row for each job.
    least: Vec<f32>,
    /// What a unit of each resource costs on each node on top, where it is scarce.
    tolls: Vec<[f32; R]>,
    /// What a unit of processor adds to the imbalance on each node, as tolls see it.
    slopes: Vec<f32>,
    /// The row with the tolls.
    priced: Vec<f32>,
    /// The least of it for each job.
    least_priced: Vec<f32>,
    /// Jobs of which was found that none makes way for them, and little has changed since.
    settled: Vec<bool>,
    /// Weight of the imbalance.
    balance: f64,
    /// What a change of the variance of use counts.
    steepness: f64,
    /// Pairs looked at since the start.
    pub(super) work: u64,
    /// When no more jobs are asked to make way for others.
    work_max: u64,
}

impl<'a, const M: usize, const R: usize> Walker<'a, M, R> {
    pub(super) fn new(batch: &'a Batch<M, R>, work_max: u64) -> Self {
        Self {
            chosen: vec![NOWHERE; batch.jobs()],
            seats: Vec::new(),
            free_slots: Vec::new(),
            guests: vec![Vec::new(); batch.supplies.len()],
            places: vec![0; batch.jobs()],
            sum: 0.0,
            squares: 0.0,
            row: vec![0.0; batch.nodes.len()],
            least: vec![0.0; batch.jobs()],
            tolls: vec![[0.0; R]; batch.supplies.len()],
            slopes: vec![0.0; batch.supplies.len()],
            priced: Vec::new(),
            least_priced: vec![0.0; batch.jobs()],
            settled: vec![false; batch.jobs()],
            balance: 0.0,
            steepness: 0.0,
            work: 0,
            work_max,
            batch,
        }
    }

    pub(super) fn chosen(&self) -> &[u32] {
        &self.chosen
    }

    /// Sets what counts how much from now on.
    pub(super) fn weigh(&mut self, weights: &[f64; M]) {
        let mut factors = weights.map(|weight| weight as f32);
        factors[IMBALANCE] = 0.0;
        for (row, excess) in self.row.iter_mut().zip(&self.batch.excess) {
            let mut sum = 0.0;
            for objective in 0..M {
                sum += factors[objective] * excess[objective];
            }
            *row = sum;
        }
        for (job, lowest) in self.least.iter_mut().enumerate() {
            let row = &self.row[self.batch.pairs(job)];
            *lowest = least(row);
        }
        self.balance = weights[IMBALANCE] / IMBALANCE_REFERENCE;
        self.steepen(DEVIATION_FIRST);
        self.work += self.row.len() as u64;
    }

    /// Lets a change of the variance count what it changes the deviation by. The deviation is
    /// concave in the variance, so what this finds better is better.
    fn steepen(&mut self, deviation: f64) {
        self.steepness = self.balance / (2.0 * deviation.max(DEVIATION_MIN));
    }

    fn clear(&mut self) {
        self.chosen.fill(NOWHERE);
        self.guests.iter_mut().for_each(Vec::clear);
        self.seats.clear();
        self.free_slots.clone_from(&self.batch.slots.free);
        let supplies = self.batch.supplies.iter().zip(&self.batch.inverse_cpu);
        self.seats
            .extend(supplies.map(|(supply, &inverse_cpu)| Seat {
                free: supply.free,
                share: supply.cpu_taken as f64 * inverse_cpu,
                inverse_cpu,
            }));
        self.sum = self.seats.iter().map(|seat| seat.share).sum();
        self.squares = self.seats.iter().map(|seat| seat.share * seat.share).sum();
    }

    /// Takes over a placement in which everything fits.
    pub(super) fn load(&mut self, chosen: &[u32]) {
        self.clear();
        for (job, &pair) in chosen.iter().enumerate() {
            self.put(job, pair);
        }
    }

    fn put(&mut self, job: usize, pair: u32) {
        let node = self.batch.nodes[pair as usize] as usize;
        let seat = &mut self.seats[node];
        for (free, need) in seat.free.iter_mut().zip(self.batch.needs[job]) {
            *free -= need;
        }
        let added = self.batch.needs[job][0] as f64 * seat.inverse_cpu;
        self.sum += added;
        self.squares += added * (2.0 * seat.share + added);
        seat.share += added;
        for (slot, count) in self.batch.slots_of(job, pair) {
            self.free_slots[slot] -= count;
        }
        self.places[job] = self.guests[node].len() as u32;
        self.guests[node].push(job as u32);
        self.chosen[job] = pair;
    }

    fn take(&mut self, job: usize) -> u32 {
        let pair = std::mem::replace(&mut self.chosen[job], NOWHERE);
        let node = self.batch.nodes[pair as usize] as usize;
        let seat = &mut self.seats[node];
        for (free, need) in seat.free.iter_mut().zip(self.batch.needs[job]) {
            *free += need;
        }
        let added = self.batch.needs[job][0] as f64 * seat.inverse_cpu;
        seat.share -= added;
        self.sum -= added;
        self.squares -= added * (2.0 * seat.share + added);
        for (slot, count) in self.batch.slots_of(job, pair) {
            self.free_slots[slot] += count;
        }
        let (guests, place) = (&mut self.guests[node], self.places[job]);
        guests.swap_remove(place as usize);
        if let Some(&moved) = guests.get(place as usize) {
            self.places[moved as usize] = place;
        }
        pair
    }

    /// What putting `job`, which is nowhere, on the node of a pair adds to the imbalance.
    fn unbalance(&self, seat: &Seat<R>, cpu: f64) -> f64 {
        let count = self.seats.len() as f64;
        let added = cpu * seat.inverse_cpu;
        let squares = added * (2.0 * seat.share + added);
        let mean = added * (2.0 * self.sum + added) / count;
        self.steepness * (squares - mean) / count
    }

    /// The cheapest pair with room for `job`, which is nowhere, if it costs less than `limit`.
    fn cheapest(&mut self, job: usize, limit: f64) -> Option<(f64, u32)> {
        let pairs = self.batch.pairs(job);
        let need = self.batch.needs[job];
        let cpu = need[0] as f64;
        // Nothing unbalances by less than a lightly used node of the least processor would.
        let count = self.seats.len() as f64;
        let relief = self.relief(job) / count;
        let limited = self.batch.is_limited(job);
        self.work += pairs.len() as u64;
        let mut best = (limit, NOWHERE);
        let mut threshold = (limit + relief) as f32;
        for chunk in chunks(pairs) {
            // Most pairs are dearer than the best before anything else is asked.
            if least(&self.row[chunk.clone()]) > threshold {
                continue;
            }
            for pair in chunk {
                let cost = self.row[pair];
                if cost > threshold {
                    continue;
                }
                let seat = &self.seats[self.batch.nodes[pair] as usize];
                if !has_room(&seat.free, &need)
                    || (limited && !self.batch.is_open(&self.free_slots, job, pair))
                {
                    continue;
                }
                let score = f64::from(cost) + self.unbalance(seat, cpu);
                if score < best.0 {
                    best = (score, pair as u32);
                    threshold = (score + relief) as f32;
                }
            }
        }
        (best.1 != NOWHERE).then_some(best)
    }

    /// By how much, times the number of nodes, the imbalance can fall at most when `job` is put
    /// somewhere.
    fn relief(&self, job: usize) -> f64 {
        let largest = self.batch.needs[job][0] as f64 * self.batch.largest_inverse_cpu[job];
        let mean = self.sum / self.seats.len() as f64;
        // Of squares − mean in `unbalance` only the product with the sum is negative.
        self.steepness * largest * 2.0 * mean.max(0.0) * (1.0 + 1e-6)
    }

    /// Adapts the tolls of nodes that many jobs want: each job goes where it is cheapest with the
    /// tolls, room or not; where too much comes they rise, else they fall.
    ///
    /// Subgradient steps on the Lagrangian dual of the capacities. Tolls say which full node is
    /// worth asking, and steer [`build`](Self::build).
    pub(super) fn adapt_tolls(&mut self, rounds: u32) {
        let batch = self.batch;
        let mean_row = self.row.iter().map(|&x| f64::from(x)).sum::<f64>() / self.row.len() as f64;
        let mean_need: [f64; R] = std::array::from_fn(|resource| {
            let total: f64 = batch.needs.iter().map(|need| need[resource] as f64).sum();
            f64::max(total / batch.jobs() as f64, 1.0)
        });
        let mut loads = vec![[0.0_f64; R]; batch.supplies.len()];
        let mut shares: Vec<f64> = Vec::new();
        let mut step = mean_row * STEP_FIRST;
        let shrink = libm::pow(STEP_LAST / STEP_FIRST, 1.0 / f64::from(rounds.max(1)));
        for _ in 0..rounds {
            loads.fill([0.0; R]);
            for job in 0..batch.jobs() {
                let node = self.cheapest_with_tolls(job);
                for (load, &need) in loads[node].iter_mut().zip(&batch.needs[job]) {
                    *load += need as f64;
                }
            }
            self.work += self.row.len() as u64;
            for ((tolls, load), supply) in self.tolls.iter_mut().zip(&loads).zip(&batch.supplies) {
                for resource in 0..R {
                    let unit = mean_need[resource];
                    let free = f64::max(supply.free[resource] as f64, unit);
                    let excess = (load[resource] / free - 1.0).clamp(-1.0, 2.0);
                    let toll = f64::from(tolls[resource]) + step * excess / unit;
                    tolls[resource] = toll.max(0.0) as f32;
                }
            }
            self.adapt_slopes(&loads, &mut shares);
            step *= shrink;
        }
    }

    /// The node where `job` costs least with tolls and slopes, room or not.
    fn cheapest_with_tolls(&self, job: usize) -> usize {
        let need = self.batch.needs[job].map(|need| need as f32);
        let mut best = (f32::INFINITY, 0);
        for pair in self.batch.pairs(job) {
            let node = self.batch.nodes[pair] as usize;
            let cost =
                self.row[pair] + toll(&self.tolls[node], &need) + self.slopes[node] * need[0];
            if cost < best.0 {
                best = (cost, node);
            }
        }
        best.1
    }

    /// Lets the slopes follow the uses of nodes that `loads` brings about, slowly, for all jobs
    /// move at once. `shares` holds the uses that are followed.
    fn adapt_slopes(&mut self, loads: &[[f64; R]], shares: &mut Vec<f64>) {
        let batch = self.batch;
        let count = batch.supplies.len() as f64;
        let supplies = batch.supplies.iter().zip(&batch.inverse_cpu);
        let now = supplies.zip(loads).map(|((supply, inverse), load)| {
            (supply.cpu_taken as f64 + load[0].min(supply.free[0] as f64)) * inverse
        });
        if shares.is_empty() {
            shares.extend(now);
        } else {
            for (share, now) in shares.iter_mut().zip(now) {
                *share += 0.3 * (now - *share);
            }
        }
        let mean = shares.iter().sum::<f64>() / count;
        let factor = self.steepness * 2.0 / count;
        for ((slope, share), inverse) in
            self.slopes.iter_mut().zip(&*shares).zip(&batch.inverse_cpu)
        {
            *slope = (factor * (share - mean) * inverse) as f32;
        }
    }

    /// Adds the tolls to what each pair costs.
    pub(super) fn price(&mut self) {
        self.priced.clear();
        self.work += self.row.len() as u64;
        for job in 0..self.batch.jobs() {
            let need = self.batch.needs[job].map(|need| need as f32);
            let pairs = self.batch.pairs(job);
            let pairs = self.row[pairs.clone()].iter().zip(&self.batch.nodes[pairs]);
            let tolls = &self.tolls;
            self.priced
                .extend(pairs.map(|(&cost, &node)| cost + toll(&tolls[node as usize], &need)));
            self.least_priced[job] = least(&self.priced[self.batch.pairs(job)]);
        }
    }

    /// Places all jobs, the hardest first, each where it costs least with tolls. Where one finds no
    /// room, another makes way if it can. Says whether all have a place.
    pub(super) fn build(&mut self) -> bool {
        std::mem::swap(&mut self.row, &mut self.priced);
        self.clear();
        let order = &self.batch.hardest_first;
        let built = order.iter().all(|&job| self.find_room(job as usize));
        std::mem::swap(&mut self.row, &mut self.priced);
        built
    }

    /// Puts `job` where it costs least, or where another can make way. Says whether it could.
    fn find_room(&mut self, job: usize) -> bool {
        match self.cheapest(job, f64::INFINITY) {
            Some((_, pair)) => {
                self.put(job, pair);
                true
            }
            None => self.squeeze_in(job),
        }
    }

    /// Puts `job`, for which nobody has room, where another job can make way for it.
    fn squeeze_in(&mut self, job: usize) -> bool {
        let mut best: Option<(f64, u32, usize, u32)> = None;
        for pair in self.batch.pairs(job) {
            let cost = f64::from(self.row[pair]);
            if best.is_some_and(|(least, ..)| cost >= least) {
                continue;
            }
            let node = self.batch.nodes[pair] as usize;
            for index in 0..self.guests[node].len() {
                let guest = self.guests[node][index] as usize;
                if !self.makes_room(guest, node, job, pair as u32) {
                    continue;
                }
                let from = self.take(guest);
                self.put(job, pair as u32);
                let onward = self.cheapest(guest, f64::INFINITY);
                self.take(job);
                self.restore(guest, from, node, index);
                let Some((onward_cost, to)) = onward else {
                    continue;
                };
                let total = cost + onward_cost - f64::from(self.row[from as usize]);
                if best.is_none_or(|(least, ..)| total < least) {
                    best = Some((total, pair as u32, guest, to));
                }
            }
        }
        let Some((_, pair, guest, to)) = best else {
            return false;
        };
        self.take(guest);
        self.put(job, pair);
        self.put(guest, to);
        true
    }

    /// Puts `guest` back among the guests of `node` at the place it had.
    fn restore(&mut self, guest: usize, pair: u32, node: usize, index: usize) {
        self.put(guest, pair);
        let guests = &mut self.guests[node];
        let last = guests.len() - 1;
        guests.swap(index, last);
        for place in [index, last] {
            self.places[guests[place] as usize] = place as u32;
        }
    }

    /// Whether `job` would fit `node` without `guest`, with that pair.
    fn makes_room(&self, guest: usize, node: usize, job: usize, pair: u32) -> bool {
        let free = self.seats[node].free;
        let (gives, need) = (self.batch.needs[guest], self.batch.needs[job]);
        (0..R).all(|resource| need[resource] <= free[resource] + gives[resource])
            && self.batch.slots_of(job, pair).all(|(slot, count)| {
                let given = || {
                    let mut slots = self.batch.slots_of(guest, self.chosen[guest]);
                    slots.find(|&(other, _)| other == slot)
                };
                count <= self.free_slots[slot]
                    || given().is_some_and(|(_, given)| count <= self.free_slots[slot] + given)
            })
    }

    /// Moves jobs, alone and then in chains of two, until nothing is gained any more.
    pub(super) fn descend(&mut self, mut chains: u32) {
        self.settled.fill(false);
        for _ in 0..ROUNDS_MAX {
            self.steepen(self.deviation());
            let mut moved = 0;
            for job in 0..self.batch.jobs() {
                moved += usize::from(self.improve(job));
            }
            // A round that moves little is as good as done; chains and the next round see to it.
            if moved * 50 > self.batch.jobs() {
                continue;
            }
            if chains > 0 {
                chains -= 1;
                for job in 0..self.batch.jobs() {
                    if self.work >= self.work_max {
                        break;
                    }
                    moved += usize::from(!self.settled[job] && self.displace(job));
                }
            }
            if moved == 0 {
                break;
            }
        }
    }

    fn deviation(&self) -> f64 {
        let count = self.seats.len() as f64;
        let mean = self.sum / count;
        f64::max(0.0, self.squares / count - mean * mean).sqrt()
    }

    /// Moves `job` to the best node with room, if that is better than where it is.
    fn improve(&mut self, job: usize) -> bool {
        let from = self.chosen[job] as usize;
        let cost = f64::from(self.row[from]);
        if self.steepness <= 0.0 && self.row[from] <= self.least[job] {
            return false;
        }
        self.take(job);
        let seat = self.seats[self.batch.nodes[from] as usize];
        let stays = cost + self.unbalance(&seat, self.batch.needs[job][0] as f64);
        let better = self.cheapest(job, stays - GAIN_MIN);
        self.put(job, better.map_or(from as u32, |(_, pair)| pair));
        better.is_some()
    }

    /// Moves `job` to a node that is full, if a job there has somewhere to go and both together
    /// gain. An exchange is the case in which that one goes where `job` was.
    fn displace(&mut self, job: usize) -> bool {
        let from = self.chosen[job];
        let need = self.batch.needs[job];
        let cpu = need[0] as f64;
        self.take(job);
        let count = self.seats.len() as f64;
        let home = self.batch.nodes[from as usize] as usize;
        let stays = f64::from(self.row[from as usize]) + self.unbalance(&self.seats[home], cpu);
        let wanted = self.full_nodes(job, stays + self.relief(job) / count);
        for &pair in wanted.iter().take_while(|&&pair| pair != NOWHERE) {
            let node = self.batch.nodes[pair as usize] as usize;
            for index in 0..self.guests[node].len() {
                self.work += 1;
                let guest = self.guests[node][index] as usize;
                let guest_from = self.chosen[guest];
                // By tolls, the place the guest leaves and the one it finds are worth what they
                // cost everybody else.
                let tolled = self.priced[pair as usize] + self.least_priced[guest];
                if tolled >= self.priced[from as usize] + self.priced[guest_from as usize]
                    || !self.makes_room(guest, node, job, pair)
                {
                    continue;
                }
                let guest_stays = f64::from(self.row[guest_from as usize]);
                let relief = (self.relief(job) + self.relief(guest)) / count;
                let bound = f64::from(self.row[pair as usize]) + f64::from(self.least[guest]);
                if bound >= stays + guest_stays + relief {
                    continue;
                }
                // Gains are measured from both being nowhere, in the order in which they are put.
                self.take(guest);
                let guest_cpu = self.batch.needs[guest][0] as f64;
                let mut before = guest_stays + self.unbalance(&self.seats[node], guest_cpu);
                self.put(guest, guest_from);
                before +=
                    f64::from(self.row[from as usize]) + self.unbalance(&self.seats[home], cpu);
                self.take(guest);
                let moves =
                    f64::from(self.row[pair as usize]) + self.unbalance(&self.seats[node], cpu);
                self.put(job, pair);
                if let Some((_, to)) = self.cheapest(guest, before - moves - GAIN_MIN) {
                    self.put(guest, to);
                    let to = self.batch.nodes[to as usize] as usize;
                    for node in [home, node, to] {
                        for &neighbour in &self.guests[node] {
                            self.settled[neighbour as usize] = false;
                        }
                    }
                    return true;
                }
                self.take(job);
                self.restore(guest, guest_from, node, index);
            }
        }
        self.put(job, from);
        self.settled[job] = true;
        false
    }

    /// The pairs of `job`, which is nowhere, whose nodes have no room and that cost less than
    /// `limit` before anything is said of balance: the cheapest with tolls, then [`NOWHERE`].
    fn full_nodes(&mut self, job: usize, limit: f64) -> [u32; WANTED_MAX] {
        let mut wanted = [NOWHERE; WANTED_MAX];
        let limit = limit as f32;
        let mut highest = f32::INFINITY;
        let pairs = self.batch.pairs(job);
        self.work += pairs.len() as u64;
        for chunk in chunks(pairs) {
            if least(&self.row[chunk.clone()]) >= limit {
                continue;
            }
            for pair in chunk {
                let rank = self.priced[pair];
                let node = self.batch.nodes[pair] as usize;
                if self.row[pair] >= limit
                    || rank >= highest
                    || (has_room(&self.seats[node].free, &self.batch.needs[job])
                        && self.batch.is_open(&self.free_slots, job, pair))
                {
                    continue;
                }
                let position = wanted
                    .iter()
                    .position(|&other| other == NOWHERE || self.priced[other as usize] > rank)
                    .unwrap_or(WANTED_MAX - 1);
                wanted[position..].rotate_right(1);
                wanted[position] = pair as u32;
                let last = wanted[WANTED_MAX - 1];
                if last != NOWHERE {
                    highest = self.priced[last as usize];
                }
            }
        }
        wanted
    }

    /// Takes the jobs that `leave` off their nodes and places them anew, in the order given. Says
    /// whether all found a place again; if not, the placement is not whole.
    pub(super) fn replace(&mut self, leave: &[u32]) -> bool {
        for &job in leave {
            if self.chosen[job as usize] != NOWHERE {
                self.take(job as usize);
            }
        }
        leave
            .iter()
            .all(|&job| self.chosen[job as usize] != NOWHERE || self.find_room(job as usize))
    }

    /// The weighted sum of normalised objectives, up to what is the same for all placements.
    pub(super) fn height(&self) -> f64 {
        let sum: f64 = self
            .chosen
            .iter()
            .map(|&pair| f64::from(self.row[pair as usize]))
            .sum();
        sum + self.balance * self.deviation()
    }
}

/// What `need` costs by the tolls of a node.
fn toll<const R: usize>(tolls: &[f32; R], need: &[f32; R]) -> f32 {
    let mut sum = tolls[0] * need[0];
    for resource in 1..R {
        sum += tolls[resource] * need[resource];
    }
    sum
}

fn least(values: &[f32]) -> f32 {
    // Unlike `f32::min`, this compiles to one instruction.
    values
        .iter()
        .fold(f32::INFINITY, |least, &x| if x < least { x } else { least })
}

/// Parts of a range, of eight or fewer.
fn chunks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(8).map(move |start| start..end.min(start + 8))
}
