//! Several multiplications at once, by this crate's own kernels. The one place that calls them.

use crate::single::{Single, nonzero};
use crate::{Backend, KEY_BYTES};

#[cfg(target_arch = "x86_64")]
use crate::kernel::{Lanes, avx2, avx512, ifma};
#[cfg(target_arch = "x86_64")]
use zeroize::Zeroize;

/// Whose point is multiplied by what.
#[derive(Clone, Copy)]
pub(crate) enum Scalars<'a> {
    /// Each by its own.
    Each(&'a [[u8; KEY_BYTES]]),
    /// All by this one.
    Same(&'a [u8; KEY_BYTES]),
}

impl<'a> Scalars<'a> {
    pub(crate) fn get(self, index: usize) -> &'a [u8; KEY_BYTES] {
        match self {
            Self::Each(scalars) => &scalars[index],
            Self::Same(scalar) => scalar,
        }
    }
}

/// An implementation that this CPU can run: there is no other way to make one, and so calling it is
/// sound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Batch(Backend);

impl Batch {
    /// `None` if this CPU cannot run it, or if it is no implementation for batches.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        let runs = match backend {
            Backend::Avx2x4 => is_x86_feature_detected!("avx2"),
            Backend::Avx512x8 => is_x86_feature_detected!("avx512f"),
            Backend::Ifmax8 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")
            }
            Backend::Dalek | Backend::Graviola => false,
        };
        runs.then_some(Self(backend))
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn new(_: Backend) -> Option<Self> {
        None
    }

    /// The fastest that this CPU can run, by what the crate's documentation says was measured.
    pub(crate) fn fastest() -> Option<Self> {
        [Backend::Ifmax8, Backend::Avx512x8, Backend::Avx2x4]
            .into_iter()
            .find_map(Self::new)
    }

    pub(crate) fn backend(self) -> Backend {
        self.0
    }

    /// From how many multiplications on one call, some of its lanes idle, is faster than as many
    /// single ones: by the same figures.
    fn worthwhile(self, single: Single) -> usize {
        match (self.0, single.backend()) {
            (Backend::Avx512x8, Backend::Graviola) => 5,
            (Backend::Avx512x8, _) | (_, Backend::Graviola) => 3,
            _ => 2,
        }
    }

    /// Slices are equally long.
    pub(crate) fn run(
        self,
        single: Single,
        scalars: Scalars<'_>,
        points: &[[u8; KEY_BYTES]],
        results: &mut [Option<[u8; KEY_BYTES]>],
    ) {
        let lanes = self.0.lanes();
        let mut start = 0;
        while start < points.len() {
            let end = points.len().min(start + lanes);
            if end - start >= self.worthwhile(single) {
                let scalar = |lane| scalars.get(start + lane);
                self.call(scalar, &points[start..end], &mut results[start..end]);
            } else {
                for i in start..end {
                    results[i] = single.x25519(scalars.get(i), &points[i]);
                }
            }
            start = end;
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn call<'a>(
        self,
        scalar: impl Fn(usize) -> &'a [u8; KEY_BYTES],
        points: &[[u8; KEY_BYTES]],
        results: &mut [Option<[u8; KEY_BYTES]>],
    ) {
        match self.0 {
            Backend::Avx2x4 => fill(scalar, points, results, |scalars, points| {
                // SAFETY: `new` found AVX2.
                unsafe { avx2::x25519(scalars, points) }
            }),
            Backend::Avx512x8 => fill(scalar, points, results, |scalars, points| {
                // SAFETY: `new` found AVX-512F.
                unsafe { avx512::x25519(scalars, points) }
            }),
            Backend::Ifmax8 => fill(scalar, points, results, |scalars, points| {
                // SAFETY: `new` found AVX-512F and IFMA.
                unsafe { ifma::x25519(scalars, points) }
            }),
            Backend::Dalek | Backend::Graviola => {
                unreachable!("`new` makes no batch of a single implementation")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn call<'a>(
        self,
        _: impl Fn(usize) -> &'a [u8; KEY_BYTES],
        _: &[[u8; KEY_BYTES]],
        _: &mut [Option<[u8; KEY_BYTES]>],
    ) {
        unreachable!("`new` makes no batch on this architecture")
    }
}

/// Calls a kernel of `N` lanes for as many multiplications or fewer. What is left over multiplies
/// zero by zero.
#[cfg(target_arch = "x86_64")]
fn fill<'a, const N: usize>(
    scalar: impl Fn(usize) -> &'a [u8; KEY_BYTES],
    points: &[[u8; KEY_BYTES]],
    results: &mut [Option<[u8; KEY_BYTES]>],
    kernel: impl Fn(&Lanes<N>, &Lanes<N>) -> Lanes<N>,
) {
    let mut scalar_lanes = [[0; KEY_BYTES]; N];
    let mut point_lanes = [[0; KEY_BYTES]; N];
    for (lane, point) in points.iter().enumerate() {
        scalar_lanes[lane] = *scalar(lane);
        point_lanes[lane] = *point;
    }
    let mut result_lanes = kernel(&scalar_lanes, &point_lanes);
    for (result, lane) in results.iter_mut().zip(result_lanes) {
        *result = nonzero(lane);
    }
    scalar_lanes.zeroize();
    result_lanes.zeroize();
}
