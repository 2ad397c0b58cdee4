//! What owners and keepers of ledgers sign.

use fogcompute::base::{Digest, UnixMillis};
use fogcompute::{AccountId, SignedCheckpoint};
use pyo3::prelude::*;

use super::operation::Operations;
use crate::convert::{Buffer, Bytes, Hex, Number, Owner};
use crate::error;

/// The public key, 32 bytes, to an Ed25519 key's 32 secret bytes: for `Ledger.own`, and to check
/// checkpoints against.
#[pyfunction]
pub(crate) fn owner_key(py: Python<'_>, secret: Buffer) -> PyResult<Owner> {
    let secret = secret.array(py, "secret")?;
    Ok(Owner(fogcompute::owner_key(&secret)))
}

/// A batch that the owner of an account has signed, for `Ledger.execute_signed`. It happens once,
/// before it expires.
#[pyclass(frozen, eq, module = "fogcompute.ledger")]
#[derive(Eq, PartialEq)]
pub(crate) struct SignedBatch(pub(super) fogcompute::SignedBatch);

fn unsigned(
    account: Hex<AccountId>,
    nonce: Number<u64>,
    expires_unix_ms: Number<u64>,
    operations: Operations,
) -> fogcompute::SignedBatch {
    fogcompute::SignedBatch {
        account: account.0,
        nonce: nonce.0,
        expires: UnixMillis(expires_unix_ms.0),
        operations: operations.0,
        signature: [0; 64],
    }
}

#[pymethods]
impl SignedBatch {
    /// Signs a batch with 32 secret bytes. `nonce` is `Ledger.next_nonce`.
    #[staticmethod]
    fn sign(
        py: Python<'_>,
        account: Hex<AccountId>,
        nonce: Number<u64>,
        expires_unix_ms: Number<u64>,
        operations: Operations,
        secret: Buffer,
    ) -> PyResult<Self> {
        let secret = secret.array(py, "secret")?;
        let (account, expires) = (account.0, UnixMillis(expires_unix_ms.0));
        error::call(py, || {
            let operations = operations.0;
            Ok(Self(fogcompute::sign_batch(
                account, nonce.0, expires, operations, &secret,
            )))
        })
    }

    /// The bytes that a signature is over, for keys that are kept elsewhere.
    #[staticmethod]
    fn message(
        py: Python<'_>,
        account: Hex<AccountId>,
        nonce: Number<u64>,
        expires_unix_ms: Number<u64>,
        operations: Operations,
    ) -> Bytes {
        let batch = unsigned(account, nonce, expires_unix_ms, operations);
        Bytes::new(py, &fogcompute::batch_message(&batch))
    }

    /// A batch with a signature, 64 bytes, that was made elsewhere.
    #[staticmethod]
    fn with_signature(
        py: Python<'_>,
        account: Hex<AccountId>,
        nonce: Number<u64>,
        expires_unix_ms: Number<u64>,
        operations: Operations,
        signature: Buffer,
    ) -> PyResult<Self> {
        let signature = signature.array(py, "signature")?;
        let batch = unsigned(account, nonce, expires_unix_ms, operations);
        Ok(Self(fogcompute::SignedBatch { signature, ..batch }))
    }

    /// Reads a batch from its bytes; its signature is checked when it is executed.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: Buffer) -> PyResult<Self> {
        error::call(py, || fogcompute::decode_batch(&data)).map(Self)
    }

    /// The batch as bytes, the same in every language.
    fn to_bytes(&self, py: Python<'_>) -> Bytes {
        Bytes::new(py, &self.0.encode())
    }

    /// Whether the key made the signature, over this batch.
    fn is_signed_by(&self, py: Python<'_>, key: Owner) -> PyResult<bool> {
        error::call(py, || Ok(self.0.is_signed_by(&key.0)))
    }

    /// The account whose owner signed.
    #[getter]
    fn account(&self) -> Hex<AccountId> {
        Hex(self.0.account)
    }

    /// Number of the signature, from 1.
    #[getter]
    fn nonce(&self) -> u64 {
        self.0.nonce
    }

    /// From this time on the signature is worth nothing, in milliseconds since 1970.
    #[getter]
    fn expires_unix_ms(&self) -> u64 {
        self.0.expires.0
    }

    fn __len__(&self) -> usize {
        self.0.operations.len()
    }
}

/// Where a history ended at some time and what the accounts were then, signed.
#[pyclass(frozen, eq, module = "fogcompute.ledger")]
#[derive(Eq, PartialEq)]
pub(crate) struct Checkpoint(pub(super) SignedCheckpoint);

#[pymethods]
impl Checkpoint {
    /// Reads a checkpoint from its bytes; `verify` checks its signature.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: Buffer) -> PyResult<Self> {
        error::call(py, || fogcompute::decode_checkpoint(&data)).map(Self)
    }

    /// The checkpoint as bytes, the same in every language.
    fn to_bytes(&self, py: Python<'_>) -> Bytes {
        Bytes::new(py, &self.0.encode())
    }

    /// Checks that it was signed by the key that is trusted, 32 bytes. Raises
    /// `CheckpointForgedError`.
    fn verify(&self, py: Python<'_>, key: Owner) -> PyResult<()> {
        error::call(py, || fogcompute::verify_checkpoint(&self.0, &key.0)).map(drop)
    }

    /// Entries that the history had.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.checkpoint.head.sequence
    }

    /// Digest of the whole history, 64 hexadecimal digits.
    #[getter]
    fn chain(&self) -> Hex<Digest> {
        Hex(self.0.checkpoint.head.chain)
    }

    /// Digest of all accounts, 64 hexadecimal digits.
    #[getter]
    fn accounts_root(&self) -> Hex<Digest> {
        Hex(self.0.checkpoint.accounts_root)
    }

    /// When it was made, in milliseconds since 1970.
    #[getter]
    fn unix_ms(&self) -> u64 {
        self.0.checkpoint.time.0
    }

    /// The key that it says has signed it, 32 bytes.
    #[getter]
    fn key(&self) -> Owner {
        Owner(self.0.key)
    }
}
