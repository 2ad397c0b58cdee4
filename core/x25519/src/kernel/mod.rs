//! Several multiplications at once, one in each lane of a vector. All are constant in time: no
//! branch and no address depends on a scalar or a point.
//!
//! Functions that need instructions of the CPU are safe to call from each other, and `unsafe` to
//! call from elsewhere; `batch` alone does that.

use crate::KEY_BYTES;

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod ifma;

#[cfg(test)]
mod constant_time;
#[cfg(test)]
mod reference;

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
    // 2^255 = 19, so what is above goes below; the second time, nothing or one. Products wrap, as a
    // check of overflow would be a branch.
    for _ in 0..2 {
        let above = sum[4] << 1 | sum[3] >> 63;
        sum[3] &= u64::MAX >> 1;
        sum[4] = 0;
        add_small(&mut sum, above.wrapping_mul(19));
    }
    // If it is at least the prime, adding 19 reaches bit 255, and dropping that bit subtracts it.
    // That bit is multiplied, as of a choice compilers like to make a branch.
    let mut larger = sum;
    add_small(&mut larger, 19);
    add_small(&mut sum, (larger[3] >> 63).wrapping_mul(19));
    sum[3] &= u64::MAX >> 1;
    let mut bytes = [0; KEY_BYTES];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(sum) {
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

/// Calls of a ladder that share one inversion.
pub(crate) const GROUPS: usize = 4;

/// Whether bytes are all zero, as a mask: no bits if they are, and else all.
fn nonzero_mask(bytes: &[u8; KEY_BYTES]) -> u64 {
    let bits = words(bytes).into_iter().fold(0, |bits, word| bits | word);
    ((bits | bits.wrapping_neg()) >> 63).wrapping_neg()
}

/// Defines `x25519`, given a ladder and the arithmetic of its field.
macro_rules! x25519 {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn load<const N: usize>(column: impl Fn(usize) -> [u64; LANES]) -> [Vector; N] {
            array::from_fn(|i| {
                // SAFETY: both are as large, and every pattern of bits is a value.
                unsafe { std::mem::transmute::<[u64; LANES], Vector>(column(i)) }
            })
        }

        #[target_feature(enable = $features)]
        fn store(fe: &Fe) -> Lanes<LANES> {
            let limbs = fe.0.map(|limbs| {
                // SAFETY: both are as large, and every pattern of bits is a value.
                unsafe { std::mem::transmute::<Vector, [u64; LANES]>(limbs) }
            });
            array::from_fn(|lane| pack(&limbs.map(|limb| limb[lane]), &OFFSETS))
        }

        /// The power `p - 2`, which is the inverse, and zero for zero: 254 squares and 11 products.
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

        /// The product of each scalar with the point of its lane, of up to [`GROUPS`] groups of
        /// lanes. They share one inversion (Montgomery 1987, §10.3.1): it is of the product of all
        /// denominators, and products with all the others give the inverse of each.
        #[target_feature(enable = $features)]
        pub(crate) fn x25519(
            scalars: &[Lanes<LANES>],
            points: &[Lanes<LANES>],
            results: &mut [Lanes<LANES>],
        ) {
            let one = Fe(load(|i| [u64::from(i == 0); LANES]));
            let (mut xs, mut zs) = ([one; GROUPS], [one; GROUPS]);
            // The product of the denominators before each.
            let mut before = [one; GROUPS];
            let mut all = one;
            for (i, (scalars, points)) in scalars.iter().zip(points).enumerate() {
                let (x, z) = ladder(scalars, points);
                // A denominator of zero would spoil its lane in all groups. It becomes one, and its
                // numerator zero, as the result is to be.
                let nonzero = store(&z).map(|bytes| nonzero_mask(&bytes));
                let [keep, other] =
                    load(|i| nonzero.map(|mask| if i == 0 { mask } else { !mask & 1 }));
                xs[i] = Fe(x.0.map(|limb| and(limb, keep)));
                zs[i] = Fe(z.0.map(|limb| and(limb, keep)));
                zs[i].0[0] = or(zs[i].0[0], other);
                before[i] = all;
                all = product(&all, &zs[i]);
            }
            let mut inverse = invert(&all);
            for (i, results) in results.iter_mut().enumerate().rev() {
                *results = store(&product(&xs[i], &product(&inverse, &before[i])));
                inverse = product(&inverse, &zs[i]);
            }
        }
    };
}
use x25519;

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

/// Defines `ladder`, the Montgomery ladder (RFC 7748 §5), given the arithmetic of a field whose
/// products are carried. Results are written through references: returned by value, they would be
/// copied once more, which costs a quarter of the time.
macro_rules! ladder {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn squares(a: &Fe, count: u32) -> Fe {
            let mut a = *a;
            for _ in 0..count {
                let b = a;
                square_difference(&mut a, &b);
            }
            a
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn product(a: &Fe, b: &Fe) -> Fe {
            let mut product = *a;
            mul(&mut product, a, b);
            product
        }

        /// The product of each scalar with the point of its lane: the numerator and the denominator
        /// of its coordinate.
        #[target_feature(enable = $features)]
        fn ladder(scalars: &Lanes<LANES>, points: &Lanes<LANES>) -> (Fe, Fe) {
            let points = points.each_ref().map(|point| limbs(point, &OFFSETS));
            let x1 = Fe(load(|i| points.map(|point| point[i])));
            let scalars = scalars.each_ref().map(words);
            let scalars: [Vector; 4] = load(|i| scalars.map(|scalar| scalar[i]));

            let zero = Fe([splat(0); _]);
            let (mut a, mut b, mut c, mut d, mut e) = (zero, zero, zero, zero, zero);
            let (mut aa, mut bb, mut da, mut cb) = (zero, zero, zero, zero);
            let (mut x2, mut z2) = (zero, zero);
            // The point whose sum and difference of coordinates `a` and `b` are is doubled into
            // `x2` and `z2`.
            macro_rules! double_point {
                () => {
                    square_sum(&mut aa, &a);
                    square_difference(&mut bb, &b);
                    sub(&mut e, &aa, &bb);
                    mul(&mut x2, &aa, &bb);
                    add_a24(&mut bb, &aa, &e);
                    mul(&mut z2, &e, &bb);
                };
            }

            // Bit 254 is set: after it stand the point itself and its double.
            let one = Fe(load(|i| [u64::from(i == 0); LANES]));
            let (mut x3, mut z3) = (x1, one);
            add(&mut a, &x3, &z3);
            sub(&mut b, &x3, &z3);
            double_point!();
            let mut previous = bits(splat(-1), 0);
            for position in (3..254).rev() {
                let bits = bits(scalars[position / 64], position);
                let swap = differ(bits, previous);
                previous = bits;
                add(&mut c, &x3, &z3);
                sub(&mut d, &x3, &z3);
                add(&mut aa, &x2, &z2);
                sub(&mut bb, &x2, &z2);
                // What is added is the same whichever of the points is doubled: the two products
                // change places, and so their difference its sign, which squaring takes away.
                mul(&mut da, &d, &aa);
                mul(&mut cb, &c, &bb);
                select(&mut a, swap, &aa, &c);
                select(&mut b, swap, &bb, &d);
                add(&mut c, &da, &cb);
                sub(&mut d, &da, &cb);
                square_sum(&mut x3, &c);
                square_difference(&mut da, &d);
                mul(&mut z3, &x1, &da);
                double_point!();
            }
            // The last three bits are clear.
            select(&mut c, previous, &x2, &x3);
            select(&mut d, previous, &z2, &z3);
            (x2, z2) = (c, d);
            for _ in 0..3 {
                add(&mut a, &x2, &z2);
                sub(&mut b, &x2, &z2);
                double_point!();
            }
            (x2, z2)
        }
    };
}
use ladder;

/// Defines what the tests of a kernel put into lanes and take out of them.
#[cfg(test)]
macro_rules! lanes {
    ($vector:ty, $limbs:literal) => {
        /// Limbs for each lane.
        type Limbs = [[i64; $limbs]; LANES];

        fn put(limbs: &Limbs) -> [$vector; $limbs] {
            array::from_fn(|i| {
                let lanes: [i64; LANES] = array::from_fn(|lane| limbs[lane][i]);
                // SAFETY: both are as large, and every pattern of bits is a value.
                unsafe { std::mem::transmute::<[i64; LANES], $vector>(lanes) }
            })
        }

        fn take(vectors: [$vector; $limbs]) -> Limbs {
            let lanes = vectors.map(|vector| {
                // SAFETY: both are as large, and every pattern of bits is a value.
                unsafe { std::mem::transmute::<$vector, [i64; LANES]>(vector) }
            });
            array::from_fn(|lane| lanes.map(|lanes| lanes[lane]))
        }

        /// Limbs at the ends of their ranges: all of them, one of them, every second one, and at
        /// random; in each lane otherwise.
        fn extremes(range: impl Fn(usize) -> (i64, i64)) -> Vec<Limbs> {
            let mut state = 1_u64;
            let mut next = move || {
                // Knuth's linear congruence: its high bits are good enough to choose by.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let end = |i: usize, high: bool| {
                let (low, most) = range(i);
                if high { most } else { low }
            };
            let mut kinds: Vec<[i64; $limbs]> = vec![
                array::from_fn(|i| end(i, true)),
                array::from_fn(|i| end(i, false)),
                array::from_fn(|i| end(i, i % 2 == 0)),
                array::from_fn(|i| end(i, i % 2 == 1)),
            ];
            for limb in 0..$limbs {
                kinds.push(array::from_fn(|i| end(i, i == limb)));
                kinds.push(array::from_fn(|i| end(i, i != limb)));
            }
            for _ in 0..20 {
                kinds.push(array::from_fn(|i| match next() % 4 {
                    0 => end(i, true),
                    1 => end(i, false),
                    _ => {
                        let (low, most) = range(i);
                        low + (next() as i64) % (most - low + 1)
                    }
                }));
            }
            (0..kinds.len())
                .map(|i| array::from_fn(|lane| kinds[(i * (lane + 1) + lane) % kinds.len()]))
                .chain([[kinds[0]; LANES], [kinds[1]; LANES]])
                .collect()
        }

        fn values(limbs: &Limbs) -> [Residue; LANES] {
            limbs.map(|limbs| Residue::of_limbs(&limbs, &OFFSETS))
        }
    };
}
#[cfg(test)]
use lanes;

/// Defines the tests of a field whose products are carried, given the ranges of its limbs.
#[cfg(test)]
macro_rules! field_tests {
    ($feature:tt, $vector:ty, $limbs:literal) => {
        use super::super::lanes;
        use super::super::reference::Residue;

        lanes!($vector, $limbs);

        fn assert_carried(limbs: &Limbs) {
            for limbs in limbs {
                for (i, limb) in limbs.iter().enumerate() {
                    let (low, most) = carried(i);
                    assert!((low..=most).contains(limb), "{i}: {limb:#x}");
                }
            }
        }

        /// Calls what needs the instructions, if the CPU has them.
        fn with(test: impl FnOnce()) {
            if is_x86_feature_detected!($feature) {
                test();
            } else {
                println!("not tested: this CPU lacks {}", $feature);
            }
        }

        /// What a function writes, in place of zeros.
        fn out(write: impl FnOnce(&mut Fe)) -> [$vector; $limbs] {
            let mut fe = Fe(put(&[[0; $limbs]; LANES]));
            write(&mut fe);
            fe.0
        }

        fn sums() -> Vec<Limbs> {
            extremes(|i| (2 * carried(i).0, 2 * carried(i).1))
        }

        #[test]
        fn extremes_are_added_and_subtracted() {
            with(|| {
                let all = extremes(carried);
                for (a, b) in all.iter().zip(all.iter().rev()) {
                    // SAFETY: `with` found the instructions.
                    let (sum, difference) = unsafe {
                        let (a, b) = (Fe(put(a)), Fe(put(b)));
                        (
                            take(out(|out| add(out, &a, &b))),
                            take(out(|out| sub(out, &a, &b))),
                        )
                    };
                    for lane in 0..LANES {
                        let (a, b) = (values(a)[lane], values(b)[lane]);
                        assert_eq!(values(&sum)[lane], a.plus(b));
                        assert_eq!(values(&difference)[lane], a.minus(b));
                        for i in 0..$limbs {
                            let (low, most) = subtracted(i);
                            assert!((low..=most).contains(&difference[lane][i]));
                        }
                    }
                }
            });
        }

        #[test]
        fn extremes_are_multiplied_and_carried() {
            with(|| {
                for (a, b) in sums().iter().zip(extremes(subtracted).iter().rev()) {
                    // SAFETY: `with` found the instructions.
                    let product = unsafe { take(out(|out| mul(out, &Fe(put(a)), &Fe(put(b))))) };
                    // SAFETY: as above.
                    let other = unsafe { take(out(|out| mul(out, &Fe(put(b)), &Fe(put(a))))) };
                    assert_carried(&product);
                    assert_carried(&other);
                    let (a, b) = (values(a), values(b));
                    let expected: [Residue; LANES] = array::from_fn(|i| a[i].times(b[i]));
                    assert_eq!(values(&product), expected);
                    assert_eq!(values(&other), expected);
                }
            });
        }

        #[test]
        fn extremes_are_squared_and_carried() {
            with(|| {
                for a in sums() {
                    // SAFETY: `with` found the instructions.
                    let square = unsafe { take(out(|out| square_sum(out, &Fe(put(&a))))) };
                    assert_carried(&square);
                    assert_eq!(values(&square), values(&a).map(|a| a.times(a)));
                }
                for a in extremes(subtracted) {
                    // SAFETY: `with` found the instructions.
                    let square = unsafe { take(out(|out| square_difference(out, &Fe(put(&a))))) };
                    assert_carried(&square);
                    assert_eq!(values(&square), values(&a).map(|a| a.times(a)));
                }
            });
        }

        #[test]
        fn the_second_factor_of_a_doubling_is_carried() {
            with(|| {
                for (a, e) in extremes(carried)
                    .iter()
                    .zip(extremes(subtracted).iter().rev())
                {
                    // SAFETY: `with` found the instructions.
                    let (factor, product) = unsafe {
                        let e = Fe(put(e));
                        let factor = Fe(out(|out| add_a24(out, &Fe(put(a)), &e)));
                        (take(factor.0), take(out(|out| mul(out, &e, &factor))))
                    };
                    let (a, e) = (values(a), values(e));
                    let expected: [Residue; LANES] =
                        array::from_fn(|i| a[i].plus(e[i].times(Residue::new(121_665))));
                    assert_eq!(values(&factor), expected);
                    assert_carried(&product);
                    let expected: [Residue; LANES] = array::from_fn(|i| e[i].times(expected[i]));
                    assert_eq!(values(&product), expected);
                }
            });
        }
    };
}
#[cfg(test)]
use field_tests;
