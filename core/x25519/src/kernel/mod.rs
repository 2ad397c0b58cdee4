//! Several multiplications at once, one in each lane of a vector. All are constant in time: no
//! branch and no address depends on a scalar or a point.
//!
//! Functions that need instructions of the CPU are safe to call from each other, and `unsafe` to
//! call from elsewhere; `batch` alone does that.

use crate::KEY_BYTES;

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod ifma;

/// One value for each lane.
pub(crate) type Lanes<const N: usize> = [[u8; KEY_BYTES]; N];

/// The four 64-bit words of a little-endian number.
fn words(bytes: &[u8; KEY_BYTES]) -> [u64; 4] {
    std::array::from_fn(|i| std::array::from_fn::<u8, 8, _>(|j| bytes[8 * i + j]))
        .map(u64::from_le_bytes)
}

/// The limbs of a point's coordinate, each from its offset to the next; bit 255 is ignored.
fn limbs<const N: usize>(bytes: &[u8; KEY_BYTES], offsets: &[u32; N]) -> [u64; N] {
    let words = words(bytes);
    std::array::from_fn(|i| {
        let (word, shift) = ((offsets[i] / 64) as usize, offsets[i] % 64);
        let above = words.get(word + 1).copied().unwrap_or(0);
        // Two shifts, as one by 64 would be none.
        let bits = words[word] >> shift | above << 1 << (63 - shift);
        let end = offsets.get(i + 1).copied().unwrap_or(255);
        bits & ((1 << (end - offsets[i])) - 1)
    })
}

/// The canonical bytes of a field element, given its limbs and the weight of each as a power of
/// two. The limbs may overlap; together they must be below 2^262.
fn pack<const N: usize>(limbs: &[u64; N], offsets: &[u32; N]) -> [u8; KEY_BYTES] {
    let mut sum = [0_u64; 5];
    for (&limb, &offset) in limbs.iter().zip(offsets) {
        let wide = u128::from(limb) << (offset % 64);
        let mut addend = [0_u64; 5];
        let word = (offset / 64) as usize;
        addend[word] = wide as u64;
        addend[word + 1] = (wide >> 64) as u64;
        let mut carry = 0;
        for (sum, addend) in sum.iter_mut().zip(addend) {
            let wide = u128::from(*sum) + u128::from(addend) + carry;
            *sum = wide as u64;
            carry = wide >> 64;
        }
    }
    // 2^255 = 19, so what is above goes below; the second time, nothing or one.
    for _ in 0..2 {
        let above = sum[4] << 1 | sum[3] >> 63;
        sum[3] &= u64::MAX >> 1;
        sum[4] = 0;
        add_small(&mut sum, 19 * above);
    }
    // If it is at least the prime, adding 19 reaches bit 255, and dropping that bit subtracts it.
    let mut larger = sum;
    add_small(&mut larger, 19);
    let mask = 0_u64.wrapping_sub(larger[3] >> 63);
    larger[3] &= u64::MAX >> 1;
    let mut bytes = [0; KEY_BYTES];
    for (i, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        let word = (sum[i] & !mask) | (larger[i] & mask);
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn add_small(sum: &mut [u64; 5], addend: u64) {
    let mut carry = u128::from(addend);
    for sum in sum {
        carry += u128::from(*sum);
        *sum = carry as u64;
        carry >>= 64;
    }
}

/// Defines `invert`: the power `p - 2`, which is the inverse, and zero for zero. 254 squares and 11
/// products.
macro_rules! invert {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn invert(z: &Fe) -> Fe {
            // Each is named by its exponent, or `ones_n` for 2^n - 1.
            let z2 = squares(z, 1);
            let z9 = product(&squares(&z2, 2), z);
            let z11 = product(&z9, &z2);
            let ones_5 = product(&squares(&z11, 1), &z9);
            let ones_10 = product(&squares(&ones_5, 5), &ones_5);
            let ones_20 = product(&squares(&ones_10, 10), &ones_10);
            let ones_40 = product(&squares(&ones_20, 20), &ones_20);
            let ones_50 = product(&squares(&ones_40, 10), &ones_10);
            let ones_100 = product(&squares(&ones_50, 50), &ones_50);
            let ones_200 = product(&squares(&ones_100, 100), &ones_100);
            let ones_250 = product(&squares(&ones_200, 50), &ones_50);
            product(&squares(&ones_250, 5), &z11)
        }
    };
}
use invert;

/// Repeats a block with a variable that takes each of the values. Loops over the limbs are left to
/// no optimiser: where it does not unroll them, a product takes several times as long.
macro_rules! each {
    ($index:ident in $($value:literal)+ => $body:block) => {
        $({
            let $index: usize = $value;
            $body
        })+
    };
}
use each;

/// Defines `x25519` by the Montgomery ladder (RFC 7748 §5), given the arithmetic of a field whose
/// products are carried.
macro_rules! ladder {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn squares(a: &Fe, count: u32) -> Fe {
            let mut a = *a;
            for _ in 0..count {
                a = square_difference(&a);
            }
            a
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn product(a: &Fe, b: &Fe) -> Fe {
            mul(a, b)
        }

        /// Twice the point whose sum and difference of coordinates are given.
        #[inline]
        #[target_feature(enable = $features)]
        fn double_point(sum: &Fe, difference: &Fe) -> (Fe, Fe) {
            let (aa, bb) = (square_sum(sum), square_difference(difference));
            let e = sub(&aa, &bb);
            (mul(&aa, &bb), mul(&e, &add_a24(&aa, &e)))
        }

        #[target_feature(enable = $features)]
        fn load<const N: usize>(column: impl Fn(usize) -> [u64; LANES]) -> [Vector; N] {
            array::from_fn(|i| {
                // SAFETY: both are as large, and every pattern of bits is a value.
                unsafe { std::mem::transmute::<[u64; LANES], Vector>(column(i)) }
            })
        }

        /// The product of each scalar with the point of its lane.
        #[target_feature(enable = $features)]
        pub(crate) fn x25519(scalars: &Lanes<LANES>, points: &Lanes<LANES>) -> Lanes<LANES> {
            let points = points.each_ref().map(|point| limbs(point, &OFFSETS));
            let x1 = Fe(load(|i| points.map(|point| point[i])));
            let scalars = scalars.each_ref().map(words);
            let scalars: [Vector; 4] = load(|i| scalars.map(|scalar| scalar[i]));

            let one = Fe(load(|i| [u64::from(i == 0); LANES]));
            // Bit 254 is set: after it stand the point itself and its double.
            let (mut x3, mut z3) = (x1, one);
            let (mut x2, mut z2) = double_point(&add(&x3, &z3), &sub(&x3, &z3));
            let mut previous = bits(splat(-1), 0);
            for position in (3..254).rev() {
                let bits = bits(scalars[position / 64], position);
                let swap = differ(bits, previous);
                previous = bits;
                let (a, b) = (add(&x2, &z2), sub(&x2, &z2));
                let (c, d) = (add(&x3, &z3), sub(&x3, &z3));
                // What is added is the same whichever of the points is doubled: the two products
                // change places, and so their difference its sign, which squaring takes away.
                let (da, cb) = (mul(&d, &a), mul(&c, &b));
                x3 = square_sum(&add(&da, &cb));
                z3 = mul(&x1, &square_difference(&sub(&da, &cb)));
                (x2, z2) = double_point(&select(swap, &a, &c), &select(swap, &b, &d));
            }
            // The last three bits are clear.
            (x2, z2) = (select(previous, &x2, &x3), select(previous, &z2, &z3));
            for _ in 0..3 {
                (x2, z2) = double_point(&add(&x2, &z2), &sub(&x2, &z2));
            }
            let result = product(&x2, &invert(&z2));
            let limbs = result.0.map(|limbs| {
                // SAFETY: both are as large, and every pattern of bits is a value.
                unsafe { std::mem::transmute::<Vector, [u64; LANES]>(limbs) }
            });
            array::from_fn(|lane| pack(&limbs.map(|limb| limb[lane]), &OFFSETS))
        }
    };
}
use ladder;
