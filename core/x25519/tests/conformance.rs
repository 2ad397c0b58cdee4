//! Every implementation that this CPU can run, against other people's test vectors and against
//! `x25519-dalek`.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fogcompute_x25519::{Backend, Engine, KEY_BYTES, available};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::Value;

type Bytes = [u8; KEY_BYTES];

const BASE: Bytes = {
    let mut bytes = [0; KEY_BYTES];
    bytes[0] = 9;
    bytes
};

/// An engine for each implementation. Those for batches have dalek for what is left over.
fn engines() -> Vec<(Backend, Engine)> {
    let engine = |backend: Backend| {
        let (single, batch) = match backend.lanes() {
            1 => (backend, None),
            _ => (Backend::Dalek, Some(backend)),
        };
        (backend, Engine::with(single, batch).unwrap())
    };
    available().into_iter().map(engine).collect()
}

/// Every single implementation with every one for batches.
fn pairs() -> Vec<(Backend, Backend)> {
    let (singles, batches): (Vec<_>, Vec<_>) = available()
        .into_iter()
        .partition(|backend| backend.lanes() == 1);
    let pair = |single| batches.iter().map(move |batch| (single, *batch));
    singles.into_iter().flat_map(pair).collect()
}

fn batch(engine: &Engine, scalars: &[Bytes], points: &[Bytes]) -> Vec<Option<Bytes>> {
    let mut results = vec![None; points.len()];
    engine.x25519_batch(scalars, points, &mut results).unwrap();
    results
}

/// One multiplication by whatever the engine is made for: in each lane in turn, among random ones.
fn once(engine: &Engine, lanes: usize, scalar: &Bytes, point: &Bytes) -> Option<Bytes> {
    if lanes == 1 {
        return engine.x25519(scalar, point);
    }
    let mut rng = ChaCha20Rng::from_seed(*point);
    let results: Vec<_> = (0..lanes)
        .map(|lane| {
            let (mut scalars, mut points) = (randoms(&mut rng, lanes), randoms(&mut rng, lanes));
            scalars[lane] = *scalar;
            points[lane] = *point;
            batch(engine, &scalars, &points)[lane]
        })
        .collect();
    assert!(results.iter().all(|result| *result == results[0]));
    results[0]
}

fn randoms(rng: &mut impl Rng, count: usize) -> Vec<Bytes> {
    let random = |_| {
        let mut bytes = [0; KEY_BYTES];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    (0..count).map(random).collect()
}

/// What RFC 7748 asks for, zero included.
fn reference(scalar: &Bytes, point: &Bytes) -> Bytes {
    x25519_dalek::x25519(*scalar, *point)
}

fn or_zero(result: Option<Bytes>) -> Bytes {
    result.unwrap_or([0; KEY_BYTES])
}

fn bytes(value: &Value) -> Bytes {
    let text = value.as_str().unwrap();
    assert_eq!(text.len(), 2 * KEY_BYTES);
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

/// Compares every implementation with dalek, and batches of the first scalar with the same.
fn compare(scalars: &[Bytes], points: &[Bytes]) {
    let expected: Vec<_> = scalars
        .iter()
        .zip(points)
        .map(|(scalar, point)| reference(scalar, point))
        .collect();
    let same: Vec<_> = points
        .iter()
        .map(|point| reference(&scalars[0], point))
        .collect();
    for (backend, engine) in engines() {
        let results = batch(&engine, scalars, points);
        for (i, (result, expected)) in results.iter().zip(&expected).enumerate() {
            assert_eq!(
                or_zero(*result),
                *expected,
                "{backend}, {:x?} times {:x?}",
                scalars[i],
                points[i]
            );
            assert_ne!(*result, Some([0; KEY_BYTES]));
        }
        let mut results = vec![None; points.len()];
        engine
            .x25519_batch_same_scalar(&scalars[0], points, &mut results)
            .unwrap();
        let results: Vec<_> = results.into_iter().map(or_zero).collect();
        assert_eq!(results, same, "{backend}");
    }
}

#[test]
fn rfc_7748_vectors_hold() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/rfc7748_x25519.json")).unwrap();
    for (backend, engine) in engines() {
        let lanes = backend.lanes();
        for case in vectors["x25519"].as_array().unwrap() {
            assert_eq!(
                once(&engine, lanes, &bytes(&case["scalar"]), &bytes(&case["u"])),
                Some(bytes(&case["out"])),
                "{backend}"
            );
        }
        let dh = |name| bytes(&vectors["dh"][name]);
        assert_eq!(engine.x25519_base(&dh("a_priv")), dh("a_pub"));
        assert_eq!(engine.x25519_base(&dh("b_priv")), dh("b_pub"));
        for (private, public) in [("a_priv", "b_pub"), ("b_priv", "a_pub")] {
            let shared = once(&engine, lanes, &dh(private), &dh(public));
            assert_eq!(shared, Some(dh("shared")), "{backend}");
        }
    }
}

#[test]
fn rfc_7748_iterations_hold_in_every_lane() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/rfc7748_x25519.json")).unwrap();
    let iterated = &vectors["iterated"];
    for (backend, engine) in engines() {
        let lanes = backend.lanes();
        let (mut scalars, mut points) = (vec![BASE; lanes], vec![BASE; lanes]);
        for count in 1..=1000 {
            let results = batch(&engine, &scalars, &points);
            points = scalars;
            scalars = results.into_iter().map(Option::unwrap).collect();
            if count == 1 || count == 1000 {
                let expected = bytes(&iterated[count.to_string()]);
                assert_eq!(scalars, vec![expected; lanes], "{backend}, {count}");
            }
        }
    }
}

#[test]
fn wycheproof_cases_hold_in_every_lane() {
    let vectors: Value =
        serde_json::from_str(include_str!("vectors/wycheproof_x25519.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 518);
    let mut zeros = 0;
    for (backend, engine) in engines() {
        zeros = 0;
        for case in cases {
            let (scalar, point) = (bytes(&case["private"]), bytes(&case["public"]));
            let result = once(&engine, backend.lanes(), &scalar, &point);
            let shared = bytes(&case["shared"]);
            let expected = (shared != [0; KEY_BYTES]).then_some(shared);
            assert_eq!(result, expected, "{backend}, case {}", case["tcId"]);
            zeros += u32::from(result.is_none());
            // Every result of zero is a case of its own, and a low-order point gives no other.
            let flags = case["flags"].to_string();
            assert_eq!(result.is_none(), flags.contains("ZeroSharedSecret"));
        }
    }
    assert_eq!(zeros, 31);
}

/// Points and scalars at the edges of the field, of the encoding and of every kernel's limbs.
fn edges() -> Vec<Bytes> {
    let mut edges = Vec::new();
    let mut edge = |bytes: Bytes| {
        edges.push(bytes);
        // The same with bit 255 the other way.
        let mut flipped = bytes;
        flipped[31] ^= 0x80;
        edges.push(flipped);
    };
    // Around 0, the prime, twice the prime (2^256 - 38) and 2^255.
    for small in 0..=20 {
        let mut bytes = [0; KEY_BYTES];
        bytes[0] = small;
        edge(bytes);
        // 2^255 - 1 - small has the prime, 2^255 - 19, among it.
        let mut bytes = [0xff; KEY_BYTES];
        bytes[0] -= small;
        bytes[31] = 0x7f;
        edge(bytes);
    }
    // The other points of low order (Bernstein, "Curve25519", 2006, §3; RFC 7748 §6.1).
    for text in [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ] {
        edge(bytes(&Value::from(text)));
    }
    for byte in [0x55, 0xaa, 0x0f, 0xf0, 0x33, 0xcc, 0xff] {
        edge([byte; KEY_BYTES]);
        edge(std::array::from_fn(|i| if i % 2 == 0 { byte } else { 0 }));
        edge(std::array::from_fn(|i| if i % 8 < 4 { byte } else { 0 }));
    }
    for offsets in [
        &[0_usize, 26, 51, 77, 102, 128, 153, 179, 204, 230][..],
        &[0, 29, 58, 87, 116, 145, 174, 203, 232],
        &[0, 51, 102, 153, 204],
    ] {
        // All limbs full but one, one limb full, every second one full, and the bits at borders.
        let limb = |bit: usize| offsets.iter().filter(|offset| **offset <= bit).count() - 1;
        let made = |full: &dyn Fn(usize) -> bool| {
            std::array::from_fn(|i| {
                (0..8)
                    .filter(|j| full(8 * i + j))
                    .fold(0, |byte, j| byte | 1 << j)
            })
        };
        for (i, offset) in offsets.iter().enumerate() {
            edge(made(&|bit| limb(bit) == i));
            edge(made(&|bit| limb(bit) != i));
            edge(made(&|bit| bit == *offset));
            edge(made(&|bit| bit != *offset));
            edge(made(&|bit| bit + 1 == *offset));
        }
        for odd in [0, 1] {
            edge(made(&|bit| limb(bit) % 2 == odd));
        }
    }
    edges
}

#[test]
fn edges_of_points_and_scalars_hold_beside_each_other() {
    let edges = edges();
    assert!(edges.len() > 300);
    let mut scalars = Vec::new();
    let mut points = Vec::new();
    // Every point with several scalars, and each lane with others than its neighbours.
    for step in [0, 1, 7, 43, 101, 211] {
        for (i, point) in edges.iter().enumerate() {
            scalars.push(edges[(i * 3 + step) % edges.len()]);
            points.push(*point);
        }
    }
    compare(&scalars, &points);
}

/// `FOG_X25519_CASES` sets how many: a million take six minutes of a core.
#[test]
fn random_points_and_scalars_hold() {
    let cases = std::env::var("FOG_X25519_CASES").map_or(6_000, |count| {
        count.parse().expect("FOG_X25519_CASES is a number")
    });
    let seed =
        std::env::var("FOG_SEED").map_or(7748, |seed| seed.parse().expect("FOG_SEED is a number"));
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut left: usize = cases;
    while left > 0 {
        let count = left.min(960);
        let (scalars, points) = (randoms(&mut rng, count), randoms(&mut rng, count));
        compare(&scalars, &points);
        left -= count;
    }
    println!("{cases} random cases of seed {seed} agree with dalek");
}

#[test]
fn batches_of_every_small_length_hold() {
    let mut rng = ChaCha20Rng::seed_from_u64(17);
    // The others are about the lengths at which kernels share work between calls.
    for length in (0..=17).chain([31, 32, 33, 37, 40, 64, 69]) {
        let (scalars, points) = (randoms(&mut rng, length), randoms(&mut rng, length));
        if length > 0 {
            compare(&scalars, &points);
        }
        for (single, batch) in pairs() {
            let engine = Engine::with(single, Some(batch)).unwrap();
            let mut results = vec![Some([1; KEY_BYTES]); length];
            engine
                .x25519_batch(&scalars, &points, &mut results)
                .unwrap();
            let expected: Vec<_> = scalars
                .iter()
                .zip(&points)
                .map(|(s, p)| Some(reference(s, p)))
                .collect();
            assert_eq!(results, expected, "{single} and {batch}, {length}");
        }
    }
}

#[test]
fn a_bad_point_in_one_lane_leaves_the_others_alone() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let bad = [[0; KEY_BYTES], {
        let mut one = [0; KEY_BYTES];
        one[0] = 1;
        one
    }];
    for (backend, engine) in engines() {
        let length = 5 * backend.lanes();
        let (scalars, points) = (randoms(&mut rng, length), randoms(&mut rng, length));
        let good = batch(&engine, &scalars, &points);
        assert!(good.iter().all(Option::is_some));
        for bad in bad {
            for lane in 0..length {
                let mut points = points.clone();
                points[lane] = bad;
                let mut expected = good.clone();
                expected[lane] = None;
                assert_eq!(
                    batch(&engine, &scalars, &points),
                    expected,
                    "{backend}, {lane}"
                );
            }
            // All but one.
            for lane in 0..length {
                let mut points = vec![bad; length];
                points[lane] = [9; KEY_BYTES];
                let results = batch(&engine, &scalars, &points);
                for (i, result) in results.into_iter().enumerate() {
                    let expected = (i == lane).then(|| reference(&scalars[i], &points[i]));
                    assert_eq!(result, expected, "{backend}, {lane}");
                }
            }
        }
    }
}

#[test]
fn public_keys_are_products_with_the_base_point() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let scalars: Vec<_> = randoms(&mut rng, 300).into_iter().chain(edges()).collect();
    for (backend, engine) in engines() {
        for scalar in &scalars {
            assert_eq!(
                engine.x25519_base(scalar),
                reference(scalar, &BASE),
                "{backend}"
            );
        }
    }
}

#[test]
fn what_is_detected_agrees_with_the_portable_implementation() {
    let engine = Engine::detect();
    assert_eq!(engine, Engine::default());
    assert!(engine.backend().available());
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (scalars, points) = (randoms(&mut rng, 100), randoms(&mut rng, 100));
    for (i, result) in batch(&engine, &scalars, &points).into_iter().enumerate() {
        let expected = Some(reference(&scalars[i], &points[i]));
        assert_eq!(result, expected);
        assert_eq!(engine.x25519(&scalars[i], &points[i]), expected);
    }
}
