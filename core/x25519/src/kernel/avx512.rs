//! Eight multiplications at once with AVX-512F, whose widest product is of 32-bit integers.
//!
//! A field element has eight limbs of 29 bits and one of 23: 81 products a multiplication, where
//! the ten limbs of the usual 25.5 bits take 100. Differences stay signed, so that nothing needs to
//! be added to keep them positive; their products are of signed integers.

use std::arch::x86_64::*;
use std::array;

use super::{GROUPS, Lanes, each, limbs, nonzero_mask, pack, words};

/// Multiplications that one call makes.
pub(crate) const LANES: usize = 8;

type Vector = __m512i;
type Mask = __mmask8;

const OFFSETS: [u32; 9] = [0, 29, 58, 87, 116, 145, 174, 203, 232];

/// Limbs from 0 to 2^29 + 2^17, the highest to 2^23, after a carry. A sum's are twice as large; a
/// difference's may be negative.
#[derive(Clone, Copy)]
struct Fe([Vector; 9]);

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(value: i64) -> Vector {
    _mm512_set1_epi64(value)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn and(a: Vector, b: Vector) -> Vector {
    _mm512_and_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn or(a: Vector, b: Vector) -> Vector {
    _mm512_or_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn times<const SIGNED: bool>(a: Vector, b: Vector) -> Vector {
    if SIGNED {
        _mm512_mul_epi32(a, b)
    } else {
        _mm512_mul_epu32(a, b)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shift<const BITS: u32, const SIGNED: bool>(a: Vector) -> Vector {
    if SIGNED {
        _mm512_srai_epi64::<BITS>(a)
    } else {
        _mm512_srli_epi64::<BITS>(a)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(out: &mut Fe, a: &Fe, b: &Fe) {
    each!(i in 0 1 2 3 4 5 6 7 8 => { out.0[i] = _mm512_add_epi64(a.0[i], b.0[i]); });
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sub(out: &mut Fe, a: &Fe, b: &Fe) {
    each!(i in 0 1 2 3 4 5 6 7 8 => { out.0[i] = _mm512_sub_epi64(a.0[i], b.0[i]); });
}

/// Carries from each limb to the next, and from the highest to the lowest.
#[inline]
#[target_feature(enable = "avx512f")]
fn carry<const SIGNED: bool>(mut c: [Vector; 9]) -> Fe {
    let mask = splat((1 << 29) - 1);
    each!(i in 0 1 2 3 4 5 6 7 => {
        c[i + 1] = _mm512_add_epi64(c[i + 1], shift::<29, SIGNED>(c[i]));
        c[i] = _mm512_and_si512(c[i], mask);
    });
    let above = shift::<23, SIGNED>(c[8]);
    c[8] = _mm512_and_si512(c[8], splat((1 << 23) - 1));
    c[0] = _mm512_add_epi64(c[0], times::<SIGNED>(above, splat(19)));
    Fe(c)
}

/// Reduces the columns of a product, each of which is in the range of its integer.
#[inline]
#[target_feature(enable = "avx512f")]
fn reduce<const SIGNED: bool>(mut c: [Vector; 17]) -> Fe {
    let mask = splat((1 << 29) - 1);
    // From the middle up, so that what weighs 2^261 = 64 * 19 and more is of 29 bits.
    each!(i in 8 9 10 11 12 13 14 15 => {
        c[i + 1] = _mm512_add_epi64(c[i + 1], shift::<29, SIGNED>(c[i]));
        c[i] = _mm512_and_si512(c[i], mask);
    });
    let top = shift::<29, SIGNED>(c[16]);
    c[16] = _mm512_and_si512(c[16], mask);
    let fold = splat(64 * 19);
    let mut low = [top; 9];
    each!(i in 0 1 2 3 4 5 6 7 => {
        low[i] = _mm512_add_epi64(c[i], times::<SIGNED>(c[i + 9], fold));
    });
    low[8] = _mm512_add_epi64(c[8], times::<SIGNED>(top, fold));
    if SIGNED {
        // 2^11 times the prime: no carry out of the highest limb is negative.
        low[0] = _mm512_sub_epi64(low[0], splat(19 << 11));
        low[8] = _mm512_add_epi64(low[8], splat(1 << 34));
    }
    carry::<SIGNED>(low)
}

/// One of the two may be a sum and one a difference.
#[target_feature(enable = "avx512f")]
fn mul(out: &mut Fe, f: &Fe, g: &Fe) {
    let mut c = [_mm512_setzero_si512(); 17];
    each!(i in 0 1 2 3 4 5 6 7 8 => {
        each!(j in 0 1 2 3 4 5 6 7 8 => {
            c[i + j] = _mm512_add_epi64(c[i + j], times::<true>(f.0[i], g.0[j]));
        });
    });
    *out = reduce::<true>(c);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn square<const SIGNED: bool>(out: &mut Fe, f: &Fe) {
    let mut c = [_mm512_setzero_si512(); 17];
    each!(i in 0 1 2 3 4 5 6 7 8 => {
        let twice = _mm512_add_epi64(f.0[i], f.0[i]);
        c[2 * i] = _mm512_add_epi64(c[2 * i], times::<SIGNED>(f.0[i], f.0[i]));
        each!(j in 1 2 3 4 5 6 7 8 => {
            if j > i {
                c[i + j] = _mm512_add_epi64(c[i + j], times::<SIGNED>(twice, f.0[j]));
            }
        });
    });
    *out = reduce::<SIGNED>(c);
}

/// Of a sum: 2^31 and more is no signed 32-bit integer, and the columns exceed 2^63.
#[target_feature(enable = "avx512f")]
fn square_sum(out: &mut Fe, f: &Fe) {
    square::<false>(out, f);
}

#[target_feature(enable = "avx512f")]
fn square_difference(out: &mut Fe, f: &Fe) {
    square::<true>(out, f);
}

/// `a + 121665 e`, whose lowest limb may be negative, for a factor.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_a24(out: &mut Fe, a: &Fe, e: &Fe) {
    let a24 = splat(121_665);
    let mut c = a.0;
    each!(i in 0 1 2 3 4 5 6 7 8 => {
        c[i] = _mm512_add_epi64(c[i], times::<true>(e.0[i], a24));
    });
    *out = carry::<true>(c);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn select(out: &mut Fe, mask: Mask, zero: &Fe, one: &Fe) {
    each!(i in 0 1 2 3 4 5 6 7 8 => {
        out.0[i] = _mm512_mask_blend_epi64(mask, zero.0[i], one.0[i]);
    });
}

/// The lanes whose bit at `position` is set.
#[inline]
#[target_feature(enable = "avx512f")]
fn bits(words: Vector, position: usize) -> Mask {
    _mm512_test_epi64_mask(words, splat(1 << (position % 64)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn differ(a: Mask, b: Mask) -> Mask {
    a ^ b
}

super::ladder!("avx512f");
super::x25519!("avx512f");

#[cfg(test)]
mod tests {
    use super::*;

    /// What a product's limbs are between.
    fn carried(i: usize) -> (i64, i64) {
        match i {
            0 => (0, (1 << 29) + (1 << 17)),
            8 => (0, (1 << 23) - 1),
            _ => (0, (1 << 29) - 1),
        }
    }

    fn subtracted(i: usize) -> (i64, i64) {
        (-carried(i).1, carried(i).1)
    }

    super::super::field_tests!("avx512f", __m512i, 9);
}
