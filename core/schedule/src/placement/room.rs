//! What is left on nodes and under limits while jobs are placed one after another.

use super::instance::{Instance, RESOURCES, Rule, Sharing};

/// What is free. Jobs that queue take no room from each other, only places under limits.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    instance: &'a Instance,
    pub(super) free: Vec<[u64; RESOURCES]>,
    free_slots: Vec<u32>,
}

impl<'a> Room<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        Self {
            free: instance.free.clone(),
            free_slots: instance.slots.free.clone(),
            instance,
        }
    }

    fn needs(&self, copy: usize) -> [u64; RESOURCES] {
        match self.instance.sharing {
            Sharing::Concurrent => self.instance.unit_needs[self.instance.copies[copy]],
            Sharing::Queued => [0; RESOURCES],
        }
    }

    /// Whether `copy` finds all its slots open with its choice of this number.
    pub(super) fn is_open(&self, copy: usize, choice: u32) -> bool {
        self.instance
            .slots
            .open(&self.free_slots, copy, choice as usize)
    }

    /// The rules that shut some of its choices to `copy`.
    pub(super) fn shut_by(&self, copy: usize) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for choice in self.instance.choices(copy) {
            let slots = self.instance.slots.of(copy, choice as usize);
            for ((slot, count), membership) in slots.zip(&self.instance.memberships[copy]) {
                let rule = &self.instance.rules[membership.limit as usize];
                if count > self.free_slots[slot] && !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        rules
    }

    /// Whether `copy` fits with its choice of this number.
    pub(super) fn fits(&self, copy: usize, choice: u32) -> bool {
        self.lacks(copy, choice).iter().all(|&lack| lack == 0) && self.is_open(copy, choice)
    }

    /// What the node lacks of each resource to take `copy` with its choice of this number.
    pub(super) fn lacks(&self, copy: usize, choice: u32) -> [u64; RESOURCES] {
        let free = self.free[self.instance.node(copy, choice)];
        let needs = self.needs(copy);
        std::array::from_fn(|resource| needs[resource].saturating_sub(free[resource]))
    }

    /// Whether all nodes together have what some copies need.
    pub(super) fn holds(&self, copies: &[usize]) -> bool {
        (0..RESOURCES).all(|resource| {
            let free = self.free.iter().map(|free| u128::from(free[resource]));
            let needs = copies.iter().map(|&copy| self.needs(copy)[resource]);
            needs.map(u128::from).sum::<u128>() <= free.sum()
        })
    }

    /// Takes what `copy`, which fits, needs.
    pub(super) fn put(&mut self, copy: usize, choice: u32) {
        let needs = self.needs(copy);
        let free = &mut self.free[self.instance.node(copy, choice)];
        for (free, need) in free.iter_mut().zip(needs) {
            *free -= need;
        }
        for (slot, count) in self.instance.slots.of(copy, choice as usize) {
            self.free_slots[slot] -= count;
        }
    }

    /// Gives back what `copy` took.
    pub(super) fn take(&mut self, copy: usize, choice: u32) {
        let needs = self.needs(copy);
        let free = &mut self.free[self.instance.node(copy, choice)];
        for (free, need) in free.iter_mut().zip(needs) {
            *free += need;
        }
        for (slot, count) in self.instance.slots.of(copy, choice as usize) {
            self.free_slots[slot] += count;
        }
    }

    /// The choice that leaves least of its node unused in what is scarcest there.
    pub(super) fn tightest(&self, copy: usize) -> Option<u32> {
        let needs = self.needs(copy);
        let mut best: Option<(f64, u32)> = None;
        for choice in self.instance.choices(copy) {
            if !self.fits(copy, choice) {
                continue;
            }
            let free = self.free[self.instance.node(copy, choice)];
            let fill = needs
                .iter()
                .zip(free)
                .filter(|&(&need, _)| need > 0)
                .map(|(&need, free)| need as f64 / free as f64)
                .fold(f64::INFINITY, f64::min);
            if best.is_none_or(|(most, _)| fill > most) {
                best = Some((fill, choice));
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// What is lacking where `copy`, which fits nowhere, comes nearest to fitting: the choice, and
    /// the lack as a share of what is free when nothing is placed. Limits are left out of it.
    pub(super) fn nearest(&self, copy: usize) -> Option<(u32, [u64; RESOURCES])> {
        let share = |choice: u32| {
            let all = self.instance.free[self.instance.node(copy, choice)];
            let lacks = self.lacks(copy, choice);
            let shares = lacks.iter().zip(all);
            shares
                .map(|(&lack, all)| lack as f64 / f64::max(all as f64, 1.0))
                .sum::<f64>()
        };
        let nearest = self
            .instance
            .choices(copy)
            .filter(|&choice| self.is_open(copy, choice))
            .min_by(|&a, &b| share(a).total_cmp(&share(b)));
        nearest.map(|choice| (choice, self.lacks(copy, choice)))
    }
}
