//! Several multiplications at once, by this crate's own kernels. The one place that calls them.

use crate::single::Single;
use crate::{Backend, KEY_BYTES};

#[cfg(target_arch = "x86_64")]
use crate::kernel::{GROUPS, Lanes, avx2, avx512, ifma};
#[cfg(target_arch = "x86_64")]
use crate::single::nonzero;
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
            (_, Backend::Graviola) => 3,
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
        let rest = points.len() % lanes;
        let batched = if rest < self.worthwhile(single) {
            points.len() - rest
        } else {
            points.len()
        };
        self.call(scalars, &points[..batched], &mut results[..batched]);
        for i in batched..points.len() {
            results[i] = single.x25519(scalars.get(i), &points[i]);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn call(
        self,
        scalars: Scalars<'_>,
        points: &[[u8; KEY_BYTES]],
        results: &mut [Option<[u8; KEY_BYTES]>],
    ) {
        match self.0 {
            Backend::Avx2x4 => fill(scalars, points, results, |scalars, points, results| {
                // SAFETY: `new` found AVX2.
                unsafe { avx2::x25519(scalars, points, results) }
            }),
            Backend::Avx512x8 => fill(scalars, points, results, |scalars, points, results| {
                // SAFETY: `new` found AVX-512F.
                unsafe { avx512::x25519(scalars, points, results) }
            }),
            Backend::Ifmax8 => fill(scalars, points, results, |scalars, points, results| {
                // SAFETY: `new` found AVX-512F and IFMA.
                unsafe { ifma::x25519(scalars, points, results) }
            }),
            Backend::Dalek | Backend::Graviola => {
                unreachable!("`new` makes no batch of a single implementation")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn call(self, _: Scalars<'_>, _: &[[u8; KEY_BYTES]], _: &mut [Option<[u8; KEY_BYTES]>]) {
        unreachable!("`new` makes no batch on this architecture")
    }
}

/// Calls a kernel of `N` lanes as often as it takes. What is left over of the last call multiplies
/// zero by zero.
#[cfg(target_arch = "x86_64")]
fn fill<const N: usize>(
    scalars: Scalars<'_>,
    points: &[[u8; KEY_BYTES]],
    results: &mut [Option<[u8; KEY_BYTES]>],
    kernel: impl Fn(&[Lanes<N>], &[Lanes<N>], &mut [Lanes<N>]),
) {
    let mut scalar_lanes = [[[0; KEY_BYTES]; N]; GROUPS];
    let mut point_lanes = [[[0; KEY_BYTES]; N]; GROUPS];
    let mut result_lanes = [[[0; KEY_BYTES]; N]; GROUPS];
    for start in (0..points.len()).step_by(N * GROUPS) {
        let count = (points.len() - start).min(N * GROUPS);
        for i in 0..count {
            scalar_lanes.as_flattened_mut()[i] = *scalars.get(start + i);
            point_lanes.as_flattened_mut()[i] = points[start + i];
        }
        let groups = count.div_ceil(N);
        scalar_lanes.as_flattened_mut()[count..].fill([0; KEY_BYTES]);
        point_lanes.as_flattened_mut()[count..].fill([0; KEY_BYTES]);
        kernel(
            &scalar_lanes[..groups],
            &point_lanes[..groups],
            &mut result_lanes[..groups],
        );
        for (i, lane) in result_lanes.as_flattened()[..count].iter().enumerate() {
            results[start + i] = nonzero(*lane);
        }
    }
    scalar_lanes.zeroize();
    result_lanes.zeroize();
}
