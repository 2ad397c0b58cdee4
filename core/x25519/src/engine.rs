//! X25519 by the implementations that were chosen for this CPU.

use thiserror::Error;

use crate::batch::{Batch, Scalars};
use crate::single::Single;
use crate::{Backend, KEY_BYTES, Unavailable};

/// Slices of a batch that should have as many entries as each other have not.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a batch of {inputs} inputs was given room for {outputs} results")]
pub struct LengthMismatch {
    /// Entries of the input, or of the shorter input.
    pub inputs: usize,
    /// Entries of the output, or of the longer input.
    pub outputs: usize,
}

/// X25519 by the implementations that were chosen for this CPU. Small and `Copy`: make one, pass it
/// around.
///
/// A result is `None` where it would be 32 zero bytes, which is so for points of low order and for
/// no others, whatever the scalar. Such a point was made to force the result: refuse its sender.
///
/// # Security
///
/// Time and memory access do not depend on scalars, nor on points beyond whether they are of low
/// order. Bit 255 of a point is ignored and its coordinate may exceed the prime (RFC 7748 §5), so
/// several encodings of a point give one result: whoever derives a key binds the bytes of the point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Engine {
    single: Single,
    batch: Option<Batch>,
}

impl Engine {
    /// The fastest for this CPU, judged by the features that it has.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            single: Single::new(Backend::Graviola).unwrap_or(Single::PORTABLE),
            batch: Batch::fastest(),
        }
    }

    /// An implementation for single multiplications, and one for batches if batches are to be more
    /// than many single ones. For tests, for benchmarks and for a host that measured.
    ///
    /// # Errors
    ///
    /// [`Unavailable::Cpu`] if this CPU cannot run one of them, [`Unavailable::Lanes`] if `single`
    /// is one for batches, or the other way round.
    pub fn with(single: Backend, batch: Option<Backend>) -> Result<Self, Unavailable> {
        if single.lanes() != 1 {
            return Err(Unavailable::Lanes { backend: single });
        }
        if let Some(backend) = batch.filter(|backend| backend.lanes() == 1) {
            return Err(Unavailable::Lanes { backend });
        }
        Ok(Self {
            single: Single::new(single).ok_or(Unavailable::Cpu { backend: single })?,
            batch: batch
                .map(|backend| Batch::new(backend).ok_or(Unavailable::Cpu { backend }))
                .transpose()?,
        })
    }

    /// What single multiplications use.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.single.backend()
    }

    /// What batches use, if anything but [`Engine::backend`].
    #[must_use]
    pub fn batch_backend(&self) -> Option<Backend> {
        self.batch.map(Batch::backend)
    }

    /// The secret that `scalar` shares with whoever holds the secret of `point`; `None` if the point
    /// is of low order. The scalar is clamped inside (RFC 7748 §5).
    #[must_use]
    pub fn x25519(
        &self,
        scalar: &[u8; KEY_BYTES],
        point: &[u8; KEY_BYTES],
    ) -> Option<[u8; KEY_BYTES]> {
        self.single.x25519(scalar, point)
    }

    /// The public key of `scalar`: its product with the base point, whose coordinate is 9.
    #[must_use]
    pub fn x25519_base(&self, scalar: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
        self.single.x25519_base(scalar)
    }

    /// [`Engine::x25519`] of each scalar with the point of the same index, for any number of them.
    ///
    /// # Errors
    ///
    /// [`LengthMismatch`] unless the three slices are equally long; nothing is written then.
    pub fn x25519_batch(
        &self,
        scalars: &[[u8; KEY_BYTES]],
        points: &[[u8; KEY_BYTES]],
        results: &mut [Option<[u8; KEY_BYTES]>],
    ) -> Result<(), LengthMismatch> {
        equally_long(scalars.len(), points.len())?;
        equally_long(points.len(), results.len())?;
        self.run(Scalars::Each(scalars), points, results);
        Ok(())
    }

    /// [`Engine::x25519`] of one scalar with each of the points: what a mixnode does.
    ///
    /// # Errors
    ///
    /// [`LengthMismatch`] unless the two slices are equally long; nothing is written then.
    pub fn x25519_batch_same_scalar(
        &self,
        scalar: &[u8; KEY_BYTES],
        points: &[[u8; KEY_BYTES]],
        results: &mut [Option<[u8; KEY_BYTES]>],
    ) -> Result<(), LengthMismatch> {
        equally_long(points.len(), results.len())?;
        self.run(Scalars::Same(scalar), points, results);
        Ok(())
    }

    fn run(
        &self,
        scalars: Scalars<'_>,
        points: &[[u8; KEY_BYTES]],
        results: &mut [Option<[u8; KEY_BYTES]>],
    ) {
        match self.batch {
            Some(batch) => batch.run(self.single, scalars, points, results),
            None => {
                for (i, (point, result)) in points.iter().zip(results).enumerate() {
                    *result = self.x25519(scalars.get(i), point);
                }
            }
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::detect()
    }
}

fn equally_long(inputs: usize, outputs: usize) -> Result<(), LengthMismatch> {
    if inputs == outputs {
        Ok(())
    } else {
        Err(LengthMismatch { inputs, outputs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_unequal_length_are_refused_and_left_alone() {
        let engine = Engine::detect();
        let mut results = [Some([7; KEY_BYTES]); 3];
        let refused = |inputs, outputs| Err(LengthMismatch { inputs, outputs });
        let (two, three) = ([[9; KEY_BYTES]; 2], [[9; KEY_BYTES]; 3]);
        assert_eq!(
            engine.x25519_batch(&two, &three, &mut results),
            refused(2, 3)
        );
        assert_eq!(
            engine.x25519_batch(&three, &two, &mut results),
            refused(3, 2)
        );
        assert_eq!(engine.x25519_batch(&two, &two, &mut results), refused(2, 3));
        assert_eq!(
            engine.x25519_batch_same_scalar(&two[0], &two, &mut results),
            refused(2, 3)
        );
        assert_eq!(results, [Some([7; KEY_BYTES]); 3]);
        let message = refused(2, 3).unwrap_err().to_string();
        assert_eq!(message, "a batch of 2 inputs was given room for 3 results");
    }

    #[test]
    fn implementations_for_batches_and_single_ones_are_not_exchanged() {
        for &backend in Backend::ALL {
            let refused = Err(Unavailable::Lanes { backend });
            if backend.lanes() == 1 {
                assert_eq!(Engine::with(Backend::Dalek, Some(backend)), refused);
            } else {
                assert_eq!(Engine::with(backend, None), refused);
            }
        }
    }

    #[test]
    fn what_this_cpu_cannot_run_is_refused() {
        for &backend in Backend::ALL {
            let engine = match backend.lanes() {
                1 => Engine::with(backend, None),
                _ => Engine::with(Backend::Dalek, Some(backend)),
            };
            if backend.available() {
                let engine = engine.unwrap();
                let used = engine.batch_backend().unwrap_or(engine.backend());
                assert_eq!(used, backend);
            } else {
                assert_eq!(engine, Err(Unavailable::Cpu { backend }));
            }
        }
    }
}
