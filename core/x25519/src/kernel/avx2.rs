//! Four multiplications at once with AVX2.
//!
//! A field element has ten limbs of 26 and 25 bits in turn, as in Bernstein's implementations for
//! CPUs whose widest product is of 32-bit integers. AVX2 shifts no signed 64-bit integer, so all
//! stay positive. A product is summed row by row: ten sums, the factor of the row and its double
//! stay in the sixteen registers, and the other factor comes from memory.

use std::arch::x86_64::*;
use std::array;
use std::hint::black_box;

use super::{GROUPS, Lanes, each, limbs, nonzero_mask, pack, words};

/// Multiplications that one call makes.
pub(crate) const LANES: usize = 4;

type Vector = __m256i;
type Mask = __m256i;

const OFFSETS: [u32; 10] = [0, 26, 51, 77, 102, 128, 153, 179, 204, 230];

/// Limbs below 2^26 and 2^25 in turn after a carry, but for limbs 1 and 5, which may be larger by
/// 2^13. Those of a sum are below twice that, those of a difference below three times.
#[derive(Clone, Copy)]
struct Fe([Vector; 10]);

#[inline]
#[target_feature(enable = "avx2")]
fn splat(value: i64) -> Vector {
    _mm256_set1_epi64x(value)
}

#[inline]
#[target_feature(enable = "avx2")]
fn and(a: Vector, b: Vector) -> Vector {
    _mm256_and_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn or(a: Vector, b: Vector) -> Vector {
    _mm256_or_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(out: &mut Fe, a: &Fe, b: &Fe) {
    each!(i in 0 1 2 3 4 5 6 7 8 9 => { out.0[i] = _mm256_add_epi64(a.0[i], b.0[i]); });
}

/// Twice the prime keeps the limbs positive.
#[inline]
#[target_feature(enable = "avx2")]
fn sub(out: &mut Fe, a: &Fe, b: &Fe) {
    each!(i in 0 1 2 3 4 5 6 7 8 9 => {
        let bias = match i {
            0 => (1 << 27) - 38,
            _ if i.is_multiple_of(2) => (1 << 27) - 2,
            _ => (1 << 26) - 2,
        };
        out.0[i] = _mm256_sub_epi64(_mm256_add_epi64(a.0[i], splat(bias)), b.0[i]);
    });
}

#[inline]
#[target_feature(enable = "avx2")]
fn carry(mut c: [Vector; 10]) -> Fe {
    let (even, odd) = (splat((1 << 26) - 1), splat((1 << 25) - 1));
    // Two chains at a time, as neither waits for the other.
    each!(i in 0 4 1 5 2 6 3 7 4 8 => {
        let (high, mask) = if i.is_multiple_of(2) {
            (_mm256_srli_epi64::<26>(c[i]), even)
        } else {
            (_mm256_srli_epi64::<25>(c[i]), odd)
        };
        c[i + 1] = _mm256_add_epi64(c[i + 1], high);
        c[i] = _mm256_and_si256(c[i], mask);
    });
    let above = _mm256_srli_epi64::<25>(c[9]);
    c[9] = _mm256_and_si256(c[9], odd);
    // 19 times what may be of more than 32 bits.
    let three = _mm256_add_epi64(_mm256_slli_epi64::<1>(above), above);
    let nineteen = _mm256_add_epi64(_mm256_slli_epi64::<4>(above), three);
    c[0] = _mm256_add_epi64(c[0], nineteen);
    c[1] = _mm256_add_epi64(c[1], _mm256_srli_epi64::<26>(c[0]));
    c[0] = _mm256_and_si256(c[0], even);
    Fe(c)
}

/// 19 times a limb below 2^32 / 19. A product of 32-bit integers, as of one of 64 bits nothing tells
/// the compiler that its upper half is zero, and it multiplies that too.
#[inline]
#[target_feature(enable = "avx2")]
fn nineteen_times(a: Vector) -> Vector {
    _mm256_mullo_epi32(a, splat(19))
}

#[target_feature(enable = "avx2")]
fn mul(out: &mut Fe, f: &Fe, g: &Fe) {
    let mut g19 = g.0;
    each!(j in 1 2 3 4 5 6 7 8 9 => { g19[j] = nineteen_times(g.0[j]); });
    let g19 = black_box(&g19);
    let mut c = [_mm256_setzero_si256(); 10];
    each!(i in 0 1 2 3 4 5 6 7 8 9 => {
        let factor = f.0[i];
        // Two limbs that both lie half a bit above their place make a product a bit above its.
        let twice = _mm256_add_epi64(factor, factor);
        each!(j in 0 1 2 3 4 5 6 7 8 9 => {
            let factor = if i % 2 == 1 && j % 2 == 1 { twice } else { factor };
            let other = if i + j >= 10 { g19[j] } else { g.0[j] };
            let sum = &mut c[(i + j) % 10];
            *sum = _mm256_add_epi64(*sum, _mm256_mul_epu32(factor, other));
        });
    });
    *out = carry(c);
}

#[target_feature(enable = "avx2")]
fn square(out: &mut Fe, f: &Fe) {
    let mut f19 = f.0;
    each!(j in 5 6 7 8 9 => { f19[j] = nineteen_times(f.0[j]); });
    let mut c = [_mm256_setzero_si256(); 10];
    each!(i in 0 1 2 3 4 5 6 7 8 9 => {
        let once = f.0[i];
        let twice = _mm256_add_epi64(once, once);
        let four = _mm256_add_epi64(twice, twice);
        each!(j in 0 1 2 3 4 5 6 7 8 9 => {
            if j >= i {
                let both = i % 2 == 1 && j % 2 == 1;
                let factor = match (i == j, both) {
                    (true, false) => once,
                    (true, true) | (false, false) => twice,
                    (false, true) => four,
                };
                let other = if i + j >= 10 { f19[j] } else { f.0[j] };
                let sum = &mut c[(i + j) % 10];
                *sum = _mm256_add_epi64(*sum, _mm256_mul_epu32(factor, other));
            }
        });
    });
    *out = carry(c);
}

#[inline]
#[target_feature(enable = "avx2")]
fn square_sum(out: &mut Fe, f: &Fe) {
    square(out, f);
}

#[inline]
#[target_feature(enable = "avx2")]
fn square_difference(out: &mut Fe, f: &Fe) {
    square(out, f);
}

/// `a + 121665 e`.
#[inline]
#[target_feature(enable = "avx2")]
fn add_a24(out: &mut Fe, a: &Fe, e: &Fe) {
    let a24 = splat(121_665);
    let mut c = a.0;
    each!(i in 0 1 2 3 4 5 6 7 8 9 => {
        c[i] = _mm256_add_epi64(c[i], _mm256_mul_epu32(e.0[i], a24));
    });
    *out = carry(c);
}

#[inline]
#[target_feature(enable = "avx2")]
fn select(out: &mut Fe, mask: Mask, zero: &Fe, one: &Fe) {
    each!(i in 0 1 2 3 4 5 6 7 8 9 => {
        out.0[i] = _mm256_blendv_epi8(zero.0[i], one.0[i], mask);
    });
}

/// All bits of the lanes whose bit at `position` is set.
#[inline]
#[target_feature(enable = "avx2")]
fn bits(words: Vector, position: usize) -> Mask {
    let bit = splat(1 << (position % 64));
    _mm256_cmpeq_epi64(_mm256_and_si256(words, bit), bit)
}

#[inline]
#[target_feature(enable = "avx2")]
fn differ(a: Mask, b: Mask) -> Mask {
    _mm256_xor_si256(a, b)
}

super::ladder!("avx2");
super::x25519!("avx2");

#[cfg(test)]
mod tests {
    use super::*;

    /// What a product's limbs are between.
    fn carried(i: usize) -> (i64, i64) {
        let most = if i.is_multiple_of(2) {
            1 << 26
        } else {
            1 << 25
        };
        (0, most - 1 + if i == 1 || i == 5 { 1 << 13 } else { 0 })
    }

    fn subtracted(i: usize) -> (i64, i64) {
        let bias = if i.is_multiple_of(2) {
            1 << 27
        } else {
            1 << 26
        };
        (0, carried(i).1 + bias)
    }

    super::super::field_tests!("avx2", __m256i, 10);
}
