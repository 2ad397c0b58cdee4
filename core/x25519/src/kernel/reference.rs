//! The field modulo 2^255 - 19, slowly: what the kernels' arithmetic is tested against.

use super::pack;

/// Below the prime.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Residue([u64; 4]);

impl Residue {
    pub(super) fn new(small: u64) -> Self {
        Self([small, 0, 0, 0])
    }

    /// The sum of limbs, some of which may be negative, each times two to the power of its offset.
    pub(super) fn of_limbs<const N: usize>(limbs: &[i64; N], offsets: &[u32; N]) -> Self {
        let mut sum = Self::new(0);
        for (limb, offset) in limbs.iter().zip(offsets) {
            let mut weighed = Self::new(limb.unsigned_abs());
            for _ in 0..*offset {
                weighed = weighed.plus(weighed);
            }
            sum = if *limb < 0 {
                sum.minus(weighed)
            } else {
                sum.plus(weighed)
            };
        }
        sum
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        let offsets = [0, 64, 128, 192, 0, 64, 128, 192];
        Self(super::words(&pack(&[a, b, c, d, e, f, g, h], &offsets)))
    }

    pub(super) fn minus(self, other: Self) -> Self {
        // The prime less one, which is minus one.
        let minus_one = Self([u64::MAX - 19, u64::MAX, u64::MAX, u64::MAX >> 1]);
        self.plus(other.times(minus_one))
    }

    pub(super) fn times(self, other: Self) -> Self {
        let mut product = Self::new(0);
        for bit in (0..255).rev() {
            product = product.plus(product);
            if other.0[bit / 64] >> (bit % 64) & 1 == 1 {
                product = product.plus(self);
            }
        }
        product
    }
}

#[test]
fn the_reference_knows_what_everyone_knows() {
    let (two, three) = (Residue::new(2), Residue::new(3));
    assert_eq!(two.times(three), Residue::new(6));
    assert_eq!(two.minus(three).plus(Residue::new(1)), Residue::new(0));
    assert_eq!(two.minus(three).times(two.minus(three)), Residue::new(1));
    // 2^255 = 19, and 2^256 - 1 = 37.
    assert_eq!(
        Residue::of_limbs(&[1 << 60, -1], &[195, 0]),
        Residue::new(18)
    );
    let bytes = pack(&[u64::MAX; 4], &[0, 64, 128, 192]);
    assert_eq!(super::words(&bytes), [37, 0, 0, 0]);
    // The prime is zero, and one less is itself.
    let prime = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];
    assert_eq!(pack(&prime, &[0, 64, 128, 192]), [0; 32]);
    let mut less = prime;
    less[0] -= 1;
    assert_eq!(super::words(&pack(&less, &[0, 64, 128, 192])), less);
}
