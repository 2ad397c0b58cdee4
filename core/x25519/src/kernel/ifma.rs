//! Eight multiplications at once with AVX-512 IFMA, whose instructions add the low or the high 52
//! bits of a product of 52-bit integers to a 64-bit accumulator.
//!
//! A field element has five limbs of 51 bits. A product is left as five columns of up to 59 bits;
//! carrying waits until after the additions and subtractions that follow, which the ladder does
//! anyway: it carries 11 times a step instead of 18.

use std::arch::x86_64::*;
use std::array;

use super::{GROUPS, Lanes, limbs, nonzero_mask, pack, words};

/// Multiplications that one call makes.
pub(crate) const LANES: usize = 8;

const OFFSETS: [u32; 5] = [0, 51, 102, 153, 204];
const MASK: i64 = (1 << 51) - 1;

type Vector = __m512i;

/// Limbs below 2^51 + 2^15, so that they and nothing beyond them are read by a multiplication.
#[derive(Clone, Copy)]
struct Fe([Vector; 5]);

/// Limbs below 2^62.
#[derive(Clone, Copy)]
struct Columns([Vector; 5]);

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn splat(value: i64) -> Vector {
    _mm512_set1_epi64(value)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn and(a: Vector, b: Vector) -> Vector {
    _mm512_and_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn or(a: Vector, b: Vector) -> Vector {
    _mm512_or_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn double(a: Vector) -> Vector {
    _mm512_add_epi64(a, a)
}

/// Of columns below 2^61: the carry of each is below 2^10.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carry(a: &Columns) -> Fe {
    let a = &a.0;
    let low = |i: usize| _mm512_and_si512(a[i], splat(MASK));
    let high = |i: usize| _mm512_srli_epi64::<51>(a[i]);
    Fe([
        _mm512_madd52lo_epu64(low(0), high(4), splat(19)),
        _mm512_add_epi64(low(1), high(0)),
        _mm512_add_epi64(low(2), high(1)),
        _mm512_add_epi64(low(3), high(2)),
        _mm512_add_epi64(low(4), high(3)),
    ])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add(a: &Columns, b: &Columns) -> Fe {
    carry(&Columns([
        _mm512_add_epi64(a.0[0], b.0[0]),
        _mm512_add_epi64(a.0[1], b.0[1]),
        _mm512_add_epi64(a.0[2], b.0[2]),
        _mm512_add_epi64(a.0[3], b.0[3]),
        _mm512_add_epi64(a.0[4], b.0[4]),
    ]))
}

/// Of columns below 2^59: 512 times the prime keeps them positive.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sub(a: &Columns, b: &Columns) -> Fe {
    let (first, other) = (splat(((1 << 51) - 19) << 9), splat(((1 << 51) - 1) << 9));
    let part = |i: usize, bias| _mm512_add_epi64(_mm512_sub_epi64(a.0[i], b.0[i]), bias);
    carry(&Columns([
        part(0, first),
        part(1, other),
        part(2, other),
        part(3, other),
        part(4, other),
    ]))
}

/// Folds low halves of products, and high halves that weigh 2^52 more, into columns below 2^59.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold(low: &[Vector; 9], high: &[Vector; 9]) -> Columns {
    // low + 2 high + 19 above, where column k + 5 weighs 2^255 = 19 times column k.
    let column = |low: Vector, high: Vector, above: Vector| {
        let twice = double(_mm512_add_epi64(above, high));
        let once = _mm512_add_epi64(above, low);
        let sixteen = _mm512_slli_epi64::<4>(above);
        _mm512_add_epi64(_mm512_add_epi64(twice, once), sixteen)
    };
    let above = |k: usize| _mm512_add_epi64(low[k], double(high[k - 1]));
    Columns([
        column(low[0], _mm512_setzero_si512(), above(5)),
        column(low[1], high[0], above(6)),
        column(low[2], high[1], above(7)),
        column(low[3], high[2], above(8)),
        column(low[4], high[3], double(high[8])),
    ])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul(f: &Fe, g: &Fe) -> Columns {
    let mut low = [_mm512_setzero_si512(); 9];
    let mut high = [_mm512_setzero_si512(); 9];
    for i in 0..5 {
        for j in 0..5 {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], f.0[i], g.0[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], f.0[i], g.0[j]);
        }
    }
    fold(&low, &high)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(f: &Fe) -> Columns {
    let mut low = [_mm512_setzero_si512(); 9];
    let mut high = [_mm512_setzero_si512(); 9];
    for i in 0..5 {
        for j in i + 1..5 {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], f.0[i], f.0[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], f.0[i], f.0[j]);
        }
    }
    // A doubled limb might not fit 52 bits, so sums are doubled instead.
    for k in 1..8 {
        low[k] = double(low[k]);
        high[k] = double(high[k]);
    }
    for i in 0..5 {
        low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], f.0[i], f.0[i]);
        high[2 * i] = _mm512_madd52hi_epu64(high[2 * i], f.0[i], f.0[i]);
    }
    fold(&low, &high)
}

/// `a + 121665 e`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_a24(a: &Fe, e: &Fe) -> Fe {
    let a24 = splat(121_665);
    let low = |i: usize| _mm512_madd52lo_epu64(a.0[i], e.0[i], a24);
    let high = |i: usize| _mm512_madd52hi_epu64(_mm512_setzero_si512(), e.0[i], a24);
    carry(&Columns([
        _mm512_madd52lo_epu64(low(0), high(4), splat(38)),
        _mm512_add_epi64(low(1), double(high(0))),
        _mm512_add_epi64(low(2), double(high(1))),
        _mm512_add_epi64(low(3), double(high(2))),
        _mm512_add_epi64(low(4), double(high(3))),
    ]))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn select(mask: __mmask8, zero: &Fe, one: &Fe) -> Fe {
    let pick = |i: usize| _mm512_mask_blend_epi64(mask, zero.0[i], one.0[i]);
    Fe([pick(0), pick(1), pick(2), pick(3), pick(4)])
}

/// Twice the point whose sum and difference of coordinates are given.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn double_point(sum: &Fe, difference: &Fe) -> (Columns, Columns) {
    let (aa, bb) = (square(sum), square(difference));
    let e = sub(&aa, &bb);
    let (aa, bb) = (carry(&aa), carry(&bb));
    (mul(&aa, &bb), mul(&e, &add_a24(&aa, &e)))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn squares(a: &Fe, count: u32) -> Fe {
    let mut a = *a;
    for _ in 0..count {
        a = carry(&square(&a));
    }
    a
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn product(a: &Fe, b: &Fe) -> Fe {
    carry(&mul(a, b))
}

super::x25519!("avx512f,avx512ifma");

/// The product of each scalar with the point of its lane: the numerator and the denominator of its
/// coordinate.
#[target_feature(enable = "avx512f,avx512ifma")]
fn ladder(scalars: &Lanes<LANES>, points: &Lanes<LANES>) -> (Fe, Fe) {
    let points = points.each_ref().map(|point| limbs(point, &OFFSETS));
    let x1 = Fe(load(|i| points.map(|point| point[i])));
    let scalars = scalars.each_ref().map(words);
    let scalars: [Vector; 4] = load(|i| scalars.map(|scalar| scalar[i]));

    let one = Columns(load(|i| [u64::from(i == 0); LANES]));
    let x1_columns = Columns(x1.0);
    // Bit 254 is set: after it stand the point itself and its double.
    let (mut x3, mut z3) = (x1_columns, one);
    let (mut x2, mut z2) = double_point(&add(&x3, &z3), &sub(&x3, &z3));
    let mut previous: __mmask8 = 0xff;
    for position in (3..254).rev() {
        let bit = splat(1 << (position % 64));
        let bits = _mm512_test_epi64_mask(scalars[position / 64], bit);
        let swap = bits ^ previous;
        previous = bits;
        let (a, b) = (add(&x2, &z2), sub(&x2, &z2));
        let (c, d) = (add(&x3, &z3), sub(&x3, &z3));
        // What is added is the same whichever of the points is doubled: the two products change
        // places, and so their difference its sign, which squaring takes away.
        let (da, cb) = (mul(&d, &a), mul(&c, &b));
        x3 = square(&add(&da, &cb));
        z3 = mul(&x1, &carry(&square(&sub(&da, &cb))));
        (x2, z2) = double_point(&select(swap, &a, &c), &select(swap, &b, &d));
    }
    // The last three bits are clear.
    let (x, z) = (
        select(previous, &carry(&x2), &carry(&x3)),
        select(previous, &carry(&z2), &carry(&z3)),
    );
    (x2, z2) = (Columns(x.0), Columns(z.0));
    for _ in 0..3 {
        (x2, z2) = double_point(&add(&x2, &z2), &sub(&x2, &z2));
    }
    (carry(&x2), carry(&z2))
}

#[cfg(test)]
mod tests {
    use super::super::lanes;
    use super::super::reference::Residue;
    use super::*;

    lanes!(__m512i, 5);

    /// Calls what needs the instructions, if the CPU has them.
    fn with(test: impl FnOnce()) {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma") {
            test();
        } else {
            println!("not tested: this CPU lacks AVX-512 IFMA");
        }
    }

    /// What a carried element's limbs are between.
    fn carried(_: usize) -> (i64, i64) {
        (0, (1 << 51) + (1 << 15))
    }

    /// What a product's columns are between.
    fn columns(_: usize) -> (i64, i64) {
        (0, (1 << 59) - 1)
    }

    fn assert_within(limbs: &Limbs, range: impl Fn(usize) -> (i64, i64)) {
        for limbs in limbs {
            for (i, limb) in limbs.iter().enumerate() {
                let (low, most) = range(i);
                assert!((low..=most).contains(limb), "{i}: {limb:#x}");
            }
        }
    }

    #[test]
    fn extremes_are_multiplied() {
        with(|| {
            let all = extremes(carried);
            for (a, b) in all.iter().zip(all.iter().rev()) {
                // SAFETY: `with` found the instructions.
                let product = unsafe { take(mul(&Fe(put(a)), &Fe(put(b))).0) };
                assert_within(&product, columns);
                let (a, b) = (values(a), values(b));
                let expected: [Residue; LANES] = array::from_fn(|i| a[i].times(b[i]));
                assert_eq!(values(&product), expected);
            }
        });
    }

    #[test]
    fn extremes_are_squared() {
        with(|| {
            for a in extremes(carried) {
                // SAFETY: `with` found the instructions.
                let square = unsafe { take(square(&Fe(put(&a))).0) };
                assert_within(&square, columns);
                assert_eq!(values(&square), values(&a).map(|a| a.times(a)));
            }
        });
    }

    #[test]
    fn extreme_columns_are_added_subtracted_and_carried() {
        with(|| {
            let all = extremes(columns);
            for (a, b) in all.iter().zip(all.iter().rev()) {
                // SAFETY: `with` found the instructions.
                let (sum, difference) = unsafe {
                    let (a, b) = (Columns(put(a)), Columns(put(b)));
                    (take(add(&a, &b).0), take(sub(&a, &b).0))
                };
                assert_within(&sum, carried);
                assert_within(&difference, carried);
                for lane in 0..LANES {
                    let (a, b) = (values(a)[lane], values(b)[lane]);
                    assert_eq!(values(&sum)[lane], a.plus(b));
                    assert_eq!(values(&difference)[lane], a.minus(b));
                }
            }
        });
    }

    #[test]
    fn the_second_factor_of_a_doubling_is_carried() {
        with(|| {
            let all = extremes(carried);
            for (a, e) in all.iter().zip(all.iter().rev()) {
                // SAFETY: `with` found the instructions.
                let factor = unsafe { take(add_a24(&Fe(put(a)), &Fe(put(e))).0) };
                assert_within(&factor, carried);
                let (a, e) = (values(a), values(e));
                let expected: [Residue; LANES] =
                    array::from_fn(|i| a[i].plus(e[i].times(Residue::new(121_665))));
                assert_eq!(values(&factor), expected);
            }
        });
    }
}
