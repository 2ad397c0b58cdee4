//! Which genomes are there already.

/// Genomes, row by row, and the hash of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) genes: &'a [f64],
    pub(super) hashes: &'a [u64],
}

/// Finds genomes that equal another.
///
/// Open addressing with linear probing; hashes only say where to look, genomes are compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// Rows plus one; zero where there is none. At most half of them are taken.
    slots: Vec<u32>,
    is_copy: Vec<bool>,
}

impl Copies {
    /// For each row that was added: whether it equals an earlier one.
    pub(super) fn as_slice(&self) -> &[bool] {
        &self.is_copy
    }

    /// Starts anew with some rows. There will be up to `rows_max`.
    pub(super) fn restart(&mut self, rows: Rows<'_>, rows_max: usize) {
        self.slots.clear();
        self.slots.resize((2 * rows_max).next_power_of_two(), 0);
        self.is_copy.clear();
        self.add(rows);
    }

    /// Adds those of the rows that are not there yet.
    pub(super) fn add(&mut self, rows: Rows<'_>) {
        let n = rows.genes.len() / rows.hashes.len().max(1);
        for row in self.is_copy.len()..rows.hashes.len() {
            let slot = self.slot(rows, &rows.genes[row * n..][..n], rows.hashes[row]);
            self.is_copy.push(self.slots[slot] != 0);
            if self.slots[slot] == 0 {
                self.slots[slot] = row as u32 + 1;
            }
        }
    }

    /// Whether `genome`, which has this hash, is one of the rows, all of which were added.
    pub(super) fn has(&self, rows: Rows<'_>, genome: &[f64], hash: u64) -> bool {
        self.slots[self.slot(rows, genome, hash)] != 0
    }

    /// The slot of the row that equals `genome`, or else the free one where it would be.
    fn slot(&self, rows: Rows<'_>, genome: &[f64], hash: u64) -> usize {
        let n = genome.len();
        let last = self.slots.len() - 1;
        let mut slot = hash as usize & last;
        while let Some(row) = self.slots[slot].checked_sub(1) {
            let row = row as usize;
            if rows.hashes[row] == hash && rows.genes[row * n..][..n] == *genome {
                break;
            }
            slot = (slot + 1) & last;
        }
        slot
    }
}

/// A hash by which copies are found; equal genomes have equal ones.
pub(super) fn hash_of(genes: &[f64]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    // Zeros of both signs are equal. Several sums, for they need not wait for each other.
    let word = |gene: f64| (gene + 0.0).to_bits();
    let (chunks, rest) = genes.as_chunks::<8>();
    let mut sums = [1_u64, 2, 3, 4, 5, 6, 7, 8];
    for chunk in chunks {
        for (sum, &gene) in sums.iter_mut().zip(chunk) {
            *sum = (sum.rotate_left(23) ^ word(gene)).wrapping_mul(FACTOR);
        }
    }
    let of_chunks = sums.iter().fold(0_u64, |all, sum| {
        (all.rotate_left(29) ^ sum).wrapping_mul(FACTOR)
    });
    let hash = rest.iter().fold(of_chunks, |all, &gene| {
        (all.rotate_left(29) ^ word(gene)).wrapping_mul(FACTOR)
    });
    // The low bits choose the place in a table, and products leave them the worst.
    let folded = (hash ^ (hash >> 32)).wrapping_mul(FACTOR);
    folded ^ (folded >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_genomes_have_equal_hashes_and_a_moved_gene_another() {
        assert_eq!(hash_of(&[0.0, 1.0, 2.0]), hash_of(&[-0.0, 1.0, 2.0]));
        let genes: Vec<f64> = (0..17).map(f64::from).collect();
        for at in 0..17 {
            let mut other = genes.clone();
            other[at] += 0.5;
            assert_ne!(hash_of(&genes), hash_of(&other));
            other.copy_from_slice(&genes);
            other.swap(at, (at + 1) % 17);
            assert_ne!(hash_of(&genes), hash_of(&other));
        }
    }

    #[test]
    fn small_whole_numbers_spread_over_a_table() {
        let mut low: Vec<u64> = (0..4_096_u32)
            .map(|bits| {
                let genes: Vec<f64> = (0..12).map(|at| f64::from(bits >> at & 1)).collect();
                hash_of(&genes) & 0xfff
            })
            .collect();
        low.sort_unstable();
        low.dedup();
        // Random ones would leave 1/e of the places free.
        assert!(low.len() > 2_300, "{}", low.len());
    }

    #[test]
    fn copies_are_found_even_when_hashes_collide() {
        let mut copies = Copies::default();
        let rows = Rows {
            genes: &[1.0, 2.0, 1.0, 3.0],
            hashes: &[6; 4],
        };
        let first = Rows {
            genes: &rows.genes[..2],
            hashes: &rows.hashes[..2],
        };
        copies.restart(first, 4);
        copies.add(rows);
        assert_eq!(copies.as_slice(), [false, false, true, false]);
        assert!(copies.has(rows, &[3.0], 6));
        assert!(!copies.has(rows, &[4.0], 6));
    }
}
