//! Signatures of owners, with keys as the bytes that every language has.

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, UnixMillis};
use fogcompute_ledger::{Checkpoint, Operation, PublicKey, SignedBatch, SignedCheckpoint};
use fogcompute_store::StoreError;

use crate::Error;

/// The public key to an Ed25519 secret: what [`Operation::Own`] registers, and what checkpoints are
/// checked against.
#[must_use]
pub fn owner_key(secret: &[u8; 32]) -> PublicKey {
    PublicKey::of(&SigningKey::from_bytes(secret))
}

/// Signs a batch as the owner of `account`. `nonce` is
/// [`Ledger::next_nonce`](crate::Ledger::next_nonce).
#[must_use]
pub fn sign_batch(
    account: AccountId,
    nonce: u64,
    expires: UnixMillis,
    operations: Vec<Operation>,
    secret: &[u8; 32],
) -> SignedBatch {
    let secret = SigningKey::from_bytes(secret);
    SignedBatch::new(account, nonce, expires, operations, &secret)
}

/// The bytes that an owner's signature is over, for keys that are kept elsewhere: in a phone's
/// hardware, in another process. [`SignedBatch`] documents them; the batch's own signature is not
/// among them.
#[must_use]
pub fn batch_message(batch: &SignedBatch) -> Vec<u8> {
    const DOMAIN: &[u8] = b"fogcompute 2026-11-21 ledger signed batch v1\0";
    [DOMAIN, batch.digest().as_bytes()].concat()
}

/// Reads a signed batch from its bytes; its signature is checked when it is executed.
///
/// # Errors
/// [`Error::Signed`].
pub fn decode_batch(bytes: &[u8]) -> Result<SignedBatch, Error> {
    SignedBatch::decode(bytes).map_err(Error::Signed)
}

/// Reads a signed checkpoint from its bytes; [`verify_checkpoint`] checks its signature.
///
/// # Errors
/// [`Error::Signed`].
pub fn decode_checkpoint(bytes: &[u8]) -> Result<SignedCheckpoint, Error> {
    SignedCheckpoint::decode(bytes).map_err(Error::Signed)
}

/// The statement of a checkpoint, if it was signed by the key that is trusted.
///
/// # Errors
/// [`Error::Store`] with [`Corruption::CheckpointForged`](fogcompute_ledger::Corruption).
pub fn verify_checkpoint(
    checkpoint: &SignedCheckpoint,
    key: &PublicKey,
) -> Result<Checkpoint, Error> {
    Ok(checkpoint.verify(key).map_err(StoreError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::Signer;
    use fogcompute_base::TransferId;

    #[test]
    fn a_key_kept_elsewhere_signs_the_same() {
        let account = AccountId::from_bytes([1; 16]);
        let close = Operation::Close {
            id: TransferId::from_bytes([2; 16]),
            account,
        };
        let signed = sign_batch(account, 1, UnixMillis(9), vec![close], &[7; 32]);
        let mut elsewhere = SignedBatch {
            signature: [0; 64],
            ..signed.clone()
        };
        assert!(!elsewhere.is_signed_by(&owner_key(&[7; 32])));
        let key = SigningKey::from_bytes(&[7; 32]);
        elsewhere.signature = key.sign(&batch_message(&elsewhere)).to_bytes();
        assert_eq!(elsewhere, signed);
        assert!(elsewhere.is_signed_by(&owner_key(&[7; 32])));
    }
}
