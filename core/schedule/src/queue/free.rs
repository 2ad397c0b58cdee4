//! Which nodes have room, without asking each.

use std::ops::{ControlFlow, Range};

use super::profile::{Amounts, RESOURCES, within};

/// A tree over the nodes whose branches know the most of each resource that a node below them has.
#[derive(Clone, Debug, Default)]
pub(super) struct Free {
    /// Leaves there is room for, a power of two; 0 if there are none.
    width: usize,
    /// The root is 1 and the leaves start at `width`.
    most: Vec<Amounts>,
}

impl Free {
    /// Says what the node of this index has.
    pub(super) fn set(&mut self, index: usize, amounts: Amounts) {
        if index >= self.width {
            self.widen(index + 1);
        }
        let mut at = self.width + index;
        self.most[at] = amounts;
        while at > 1 {
            at /= 2;
            self.most[at] = self.join(at);
        }
    }

    fn join(&self, at: usize) -> Amounts {
        let (left, right) = (&self.most[2 * at], &self.most[2 * at + 1]);
        std::array::from_fn(|index| left[index].max(right[index]))
    }

    fn widen(&mut self, count: usize) {
        let width = count.next_power_of_two();
        let mut most = vec![[0; RESOURCES]; 2 * width];
        most[width..width + self.width].copy_from_slice(&self.most[self.width..]);
        self.width = width;
        self.most = most;
        for at in (1..width).rev() {
            self.most[at] = self.join(at);
        }
    }

    /// Visits nodes that have at least `need`, those from `start` on first, until told to stop.
    pub(super) fn visit(
        &self,
        need: &Amounts,
        start: usize,
        mut each: impl FnMut(usize) -> ControlFlow<()>,
    ) {
        if self.width == 0 {
            return;
        }
        let start = start % self.width;
        let all = 0..self.width;
        if self
            .descend(1, &all, &(start..self.width), need, &mut each)
            .is_continue()
        {
            let _ = self.descend(1, &all, &(0..start), need, &mut each);
        }
    }

    fn descend(
        &self,
        at: usize,
        covers: &Range<usize>,
        wanted: &Range<usize>,
        need: &Amounts,
        each: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let apart = covers.end <= wanted.start || wanted.end <= covers.start;
        if apart || !within(need, &self.most[at]) {
            return ControlFlow::Continue(());
        }
        if at >= self.width {
            return each(at - self.width);
        }
        let middle = usize::midpoint(covers.start, covers.end);
        self.descend(2 * at, &(covers.start..middle), wanted, need, each)?;
        self.descend(2 * at + 1, &(middle..covers.end), wanted, need, each)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_that_have_room_are_visited_once_in_their_order(
            amounts in prop::collection::vec(0_u64..6, 1..40),
            need in 1_u64..6,
            start in 0_usize..50,
        ) {
            let mut free = Free::default();
            for (index, &amount) in amounts.iter().enumerate() {
                free.set(index, [9; RESOURCES]);
                free.set(index, [amount; RESOURCES]);
            }
            let mut visited = Vec::new();
            free.visit(&[need; RESOURCES], start, |index| {
                visited.push(index);
                ControlFlow::Continue(())
            });
            let start = start % amounts.len().next_power_of_two();
            let mut expected: Vec<usize> =
                (0..amounts.len()).filter(|&index| amounts[index] >= need).collect();
            expected.sort_by_key(|&index| (index < start, index));
            prop_assert_eq!(visited, expected);
        }
    }
}
