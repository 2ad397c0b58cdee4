//! The Diffie-Hellman of this crate, in one place so that its implementation can change.

use fogcompute_x25519::Engine;

/// Names of the X25519 implementations that were chosen for this CPU: for packets one at a time, and
/// for packets in batches.
#[must_use]
pub fn x25519_backends() -> [&'static str; 2] {
    let engine = Engine::detect();
    let (single, batch) = (engine.backend(), engine.batch_backend());
    [single.name(), batch.unwrap_or(single).name()]
}

/// `scalars[i]` times the base point, for every `i`. The slices are equally long.
pub(crate) fn base(scalars: &[[u8; 32]], out: &mut [[u8; 32]]) {
    let engine = Engine::detect();
    for (scalar, out) in scalars.iter().zip(out) {
        *out = engine.x25519_base(scalar);
    }
}

/// What the holder of `scalar` shares with that of the secret of `point`; nothing if the point is
/// of small order.
pub(crate) fn exchange(scalar: &[u8; 32], point: &[u8; 32]) -> Option<[u8; 32]> {
    Engine::detect().x25519(scalar, point)
}

/// [`exchange`] of each scalar with the point of its index. The slices are equally long.
pub(crate) fn exchange_batch(
    scalars: &[[u8; 32]],
    points: &[[u8; 32]],
    out: &mut [Option<[u8; 32]>],
) {
    Engine::detect()
        .x25519_batch(scalars, points, out)
        .expect("callers give equally long slices");
}
