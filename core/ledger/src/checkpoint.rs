//! Signed statements about a history, for those who do not keep it.

use ed25519_dalek::SigningKey;
use fogcompute_base::wire::DecodeError;
use fogcompute_base::{Digest, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::codec::{Decoder, Write, unknown};
use crate::signed::sign;
use crate::{Corruption, Head, PublicKey, State};

/// Where a history ended at some time, and what the accounts were then.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Checkpoint {
    /// The end of the history.
    pub head: Head,
    /// When the checkpoint was made.
    pub time: UnixMillis,
    /// [`State::accounts_root`] at the head.
    pub accounts_root: Digest,
}

impl Checkpoint {
    /// The checkpoint of a state.
    #[must_use]
    pub fn of(state: &State, time: UnixMillis) -> Self {
        Self {
            head: state.head(),
            time,
            accounts_root: state.accounts_root(),
        }
    }

    /// Compares with the state that a history has come to at the checkpoint's sequence.
    ///
    /// # Errors
    /// [`Corruption::CheckpointDiffers`].
    pub fn compare(&self, state: &State) -> Result<(), Corruption> {
        if state.head() == self.head && state.accounts_root() == self.accounts_root {
            return Ok(());
        }
        Err(Corruption::CheckpointDiffers {
            checkpoint: self.head,
        })
    }
}

/// A checkpoint that whoever keeps the ledger cannot disown: an auditor who has it notices any
/// rewriting of what came before it.
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 8 | sequence, `u64` |
/// | 32 | chain digest |
/// | 8 | time, Unix milliseconds, `u64` |
/// | 32 | accounts root |
/// | 32 | Ed25519 key |
/// | 64 | signature |
///
/// The signature is over the text `fogcompute 2026-11-21 ledger checkpoint v1`, one zero byte, and
/// the digest: BLAKE3 `derive_key` with that text as its context over all that comes before the
/// signature.
///
/// ```
/// use ed25519_dalek::SigningKey;
/// use fogcompute_base::UnixMillis;
/// use fogcompute_ledger::{Book, Checkpoint, PublicKey, SignedCheckpoint};
///
/// let secret = SigningKey::from_bytes(&[7; 32]);
/// let checkpoint = Checkpoint::of(&Book::new(), UnixMillis(5));
/// let signed = SignedCheckpoint::new(checkpoint, &secret);
/// assert_eq!(signed.verify(&PublicKey::of(&secret)), Ok(checkpoint));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedCheckpoint {
    /// What is stated.
    pub checkpoint: Checkpoint,
    /// Who states it.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
}

impl SignedCheckpoint {
    /// Length of the encoding.
    pub const LEN: usize = 177;

    const VERSION: u8 = 1;
    const CONTEXT: &str = "fogcompute 2026-11-21 ledger checkpoint v1";
    const DOMAIN: &[u8] = b"fogcompute 2026-11-21 ledger checkpoint v1\0";

    /// Signs a checkpoint.
    #[must_use]
    pub fn new(checkpoint: Checkpoint, secret: &SigningKey) -> Self {
        let mut signed = Self {
            checkpoint,
            key: PublicKey::of(secret),
            signature: [0; 64],
        };
        signed.signature = sign(secret, Self::DOMAIN, signed.digest());
        signed
    }

    /// The checkpoint, if `key` has signed it.
    ///
    /// # Errors
    /// [`Corruption::CheckpointForged`].
    pub fn verify(&self, key: &PublicKey) -> Result<Checkpoint, Corruption> {
        if self.key == *key && key.signed(Self::DOMAIN, self.digest(), &self.signature) {
            return Ok(self.checkpoint);
        }
        Err(Corruption::CheckpointForged {
            checkpoint: self.checkpoint.head,
        })
    }

    fn digest(&self) -> Digest {
        Digest::derive(Self::CONTEXT, &self.unsigned())
    }

    fn unsigned(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.u8(Self::VERSION);
        out.u64(self.checkpoint.head.sequence);
        out.raw(self.checkpoint.head.chain.as_bytes());
        out.u64(self.checkpoint.time.0);
        out.raw(self.checkpoint.accounts_root.as_bytes());
        out.raw(self.key.as_bytes());
        out
    }

    /// The checkpoint as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.unsigned();
        out.raw(&self.signature);
        out
    }

    /// Reads a checkpoint; [`verify`](Self::verify) checks it.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.0.u8()?;
        if version != Self::VERSION {
            return Err(unknown(0, version));
        }
        let signed = Self {
            checkpoint: Checkpoint {
                head: Head {
                    sequence: decoder.0.u64()?,
                    chain: decoder.digest()?,
                },
                time: UnixMillis(decoder.0.u64()?),
                accounts_root: decoder.digest()?,
            },
            key: PublicKey::from_bytes(decoder.0.array()?),
            signature: decoder.0.array()?,
        };
        decoder.0.finish()?;
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANA, BEN, NOW, funded, transfer};

    fn secret(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    #[test]
    fn checkpoint_is_of_one_history_and_its_accounts() {
        let mut book = funded(10);
        let checkpoint = Checkpoint::of(&book, NOW);
        assert_eq!(checkpoint.compare(&book), Ok(()));
        let differs = Err(Corruption::CheckpointDiffers {
            checkpoint: checkpoint.head,
        });
        assert_eq!(checkpoint.compare(&funded(11)), differs);
        book.execute(&[transfer(1, ANA, BEN, 1)], NOW).unwrap();
        assert_eq!(checkpoint.compare(&book), differs);
        let other = Checkpoint {
            accounts_root: Digest::of(b""),
            ..checkpoint
        };
        assert_eq!(other.compare(&funded(10)), differs);
    }

    #[test]
    fn any_changed_byte_of_a_signed_checkpoint_is_noticed() {
        let checkpoint = Checkpoint::of(&funded(10), NOW);
        let signed = SignedCheckpoint::new(checkpoint, &secret(1));
        let key = PublicKey::of(&secret(1));
        assert_eq!(signed.verify(&key), Ok(checkpoint));
        assert!(signed.verify(&PublicKey::of(&secret(2))).is_err());
        let bytes = signed.encode();
        assert_eq!(bytes.len(), SignedCheckpoint::LEN);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let read = SignedCheckpoint::decode(&bytes);
            assert!(read.is_err() || read.unwrap().verify(&key).is_err(), "{at}");
            assert!(SignedCheckpoint::decode(&bytes[..at]).is_err());
        }
    }
}
