//! What the guests in `benches/guests` do, as this program's own code.

use std::hint::black_box;

/// A Fibonacci number by recursion, which is nothing but calls.
#[inline(never)]
pub(super) fn fib(n: u32) -> u64 {
    // Without it the compiler makes a loop of one of the calls.
    let n = black_box(n);
    if n < 2 {
        u64::from(n)
    } else {
        fib(n - 1) + fib(n - 2)
    }
}

/// How many steps the points of a square grid over [-2, 0.5] × [-1.25, 1.25] take together.
pub(super) fn mandelbrot(side: u32, steps: u32) -> u64 {
    let place = |from: f64, at: u32| from + 2.5 * f64::from(at) / f64::from(side);
    let mut sum = 0;
    for row in 0..side {
        for column in 0..side {
            let (cx, cy) = (place(-2.0, column), place(-1.25, row));
            let (mut x, mut y, mut step) = (0.0, 0.0, 0);
            while step < steps && x * x + y * y <= 4.0 {
                (x, y) = (x * x - y * y + cx, 2.0 * x * y + cy);
                step += 1;
            }
            sum += u64::from(step);
        }
    }
    sum
}

/// FIPS 180-4, 4.2.2.
const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

fn block(h: &mut [u32; 8], bytes: &[u8]) {
    let mut w = [0_u32; 64];
    for (word, bytes) in w.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for i in 16..64 {
        let (a, b) = (w[i - 15], w[i - 2]);
        w[i] = w[i - 16]
            .wrapping_add(w[i - 7])
            .wrapping_add(a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3))
            .wrapping_add(b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10));
    }
    let mut s = *h;
    for i in 0..64 {
        let (a, e) = (s[0], s[4]);
        let t = s[7]
            .wrapping_add(e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
            .wrapping_add((e & s[5]) ^ (!e & s[6]))
            .wrapping_add(K[i])
            .wrapping_add(w[i]);
        let u = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
            .wrapping_add((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s.copy_within(0..7, 1);
        s[4] = s[4].wrapping_add(t);
        s[0] = t.wrapping_add(u);
    }
    for (h, s) in h.iter_mut().zip(s) {
        *h = h.wrapping_add(s);
    }
}

fn sha256(message: &[u8]) -> [u8; 32] {
    let mut h = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let (whole, rest) = message.split_at(message.len() / 64 * 64);
    for bytes in whole.chunks_exact(64) {
        block(&mut h, bytes);
    }
    let mut last = [0; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() < 56 { 64 } else { 128 };
    last[end - 8..end].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for bytes in last[..end].chunks_exact(64) {
        block(&mut h, bytes);
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(h) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The digest of a message, the digest of that digest, and so on: `times` of them, one or more.
pub(crate) fn sha256_chain(times: u32, message: &[u8]) -> [u8; 32] {
    (1..times).fold(sha256(message), |digest, _| sha256(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, B.1 and B.2.
        for (message, first) in [
            (&b"abc"[..], [0xba, 0x78, 0x16, 0xbf]),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                [0x24, 0x8d, 0x6a, 0x61],
            ),
        ] {
            assert_eq!(sha256(message)[..4], first);
        }
    }
}
