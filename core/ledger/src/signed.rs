//! Batches that the owner of an account has signed.

mod keys;

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, verify_batch};
use fogcompute_base::wire::DecodeError;
use fogcompute_base::{AccountId, Digest, ParseIdError, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::BATCH_OPERATIONS_MAX;
use crate::Operation;
use crate::codec::{Decoder, Write, unknown, write_operation};
use keys::is_strict_nonce;
pub(crate) use keys::{KnownKeys, SoundKey};

/// An Ed25519 public key (RFC 8032). As text, 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PublicKey(Digest);

impl PublicKey {
    /// Takes a key from its bytes. Those of no point on the curve are a key that nothing is signed
    /// by.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The key of a secret.
    #[must_use]
    pub fn of(secret: &SigningKey) -> Self {
        Self::from_bytes(secret.verifying_key().to_bytes())
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether the key signed `digest` under `context`.
    ///
    /// Strict: keys of small order and signatures with more than one encoding are refused, so
    /// all who check agree.
    pub(crate) fn signed(&self, context: &[u8], digest: Digest, signature: &[u8; 64]) -> bool {
        SoundKey::of(*self).is_some_and(|key| key.signed(context, digest, signature))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PublicKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}

pub(crate) fn sign(secret: &SigningKey, context: &[u8], digest: Digest) -> [u8; 64] {
    secret.sign(&message(context, digest)).to_bytes()
}

fn message(context: &[u8], digest: Digest) -> Vec<u8> {
    [context, digest.as_bytes()].concat()
}

/// Most signatures that are verified together: more gain little, and one forgery spoils the gain
/// for all of them.
const TOGETHER_MAX: usize = 256;

/// A signature to be checked: its batch, what it is about, and the key, if it is one that signs.
#[derive(Clone, Copy)]
struct Claim<'a> {
    batch: &'a SignedBatch,
    digest: Digest,
    key: Option<SoundKey>,
}

impl<'a> Claim<'a> {
    fn new(batch: &'a SignedBatch, key: Option<SoundKey>) -> Self {
        Self {
            batch,
            digest: batch.digest(),
            key,
        }
    }

    fn holds(&self) -> bool {
        let Self { batch, digest, key } = self;
        key.is_some_and(|key| key.signed(SignedBatch::DOMAIN, *digest, &batch.signature))
    }
}

/// Whether all of them hold, as far as one equation tells.
fn verify_together(claims: &[Claim<'_>]) -> bool {
    let mut messages = Vec::with_capacity(claims.len());
    let mut signatures = Vec::with_capacity(claims.len());
    let mut keys = Vec::with_capacity(claims.len());
    for Claim { batch, digest, key } in claims {
        let signature = Signature::from_bytes(&batch.signature);
        let Some(key) = key.filter(|_| is_strict_nonce(signature.r_bytes())) else {
            return false;
        };
        messages.push(message(SignedBatch::DOMAIN, *digest));
        signatures.push(signature);
        keys.push(*key.verifying());
    }
    let messages: Vec<_> = messages.iter().map(Vec::as_slice).collect();
    verify_batch(&messages, &signatures, &keys).is_ok()
}

/// Which claims hold: chunk by chunk by one equation, and each alone where that does not hold.
fn which_hold(claims: &[Claim<'_>]) -> Vec<bool> {
    let mut sound = vec![false; claims.len()];
    for (found, chunk) in (sound.chunks_mut(TOGETHER_MAX)).zip(claims.chunks(TOGETHER_MAX)) {
        if chunk.len() > 1 && verify_together(chunk) {
            found.fill(true);
            continue;
        }
        for (found, claim) in found.iter_mut().zip(chunk) {
            *found = claim.holds();
        }
    }
    sound
}

/// A signed batch with the key that made its signature: [`State::verify`](crate::State::verify).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified<'a> {
    pub(crate) batch: &'a SignedBatch,
    pub(crate) digest: Digest,
    pub(crate) key: SoundKey,
}

impl<'a> Verified<'a> {
    /// The batch.
    #[must_use]
    pub const fn batch(&self) -> &'a SignedBatch {
        self.batch
    }

    /// The key that signed it.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// Those of the batches that are signed by the key beside them, in their places.
    pub(crate) fn all(batches: &[(&'a SignedBatch, Option<SoundKey>)]) -> Vec<Option<Self>> {
        let claims = batches.iter().map(|&(batch, key)| Claim::new(batch, key));
        let claims: Vec<_> = claims.collect();
        let sound = which_hold(&claims);
        (claims.iter().zip(sound))
            .map(|(&Claim { batch, digest, key }, sound)| {
                let key = key.filter(|_| sound)?;
                Some(Self { batch, digest, key })
            })
            .collect()
    }
}

/// A batch with the signature of the owner of `account`, registered by [`Operation::Own`].
///
/// All of it happens or nothing, once, in the order of the nonces, before it expires. The owner
/// may give from the account, reserve on it, post what is reserved on it, give up what is reserved
/// for it, close it, and register another key.
///
/// The signature is Ed25519 over the text `fogcompute 2026-11-21 ledger signed batch v1`, one zero
/// byte, and the digest: BLAKE3 `derive_key` with that text as its context over the encoding
/// without the signature:
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 16 | account |
/// | 8 | nonce, `u64` |
/// | 8 | expires, Unix milliseconds, `u64` |
/// | 4 | number of operations, `u32`, from 1 to [`BATCH_OPERATIONS_MAX`] |
/// | … | operations: code 1, then the fields in the order of [`Operation`] |
/// | 64 | signature |
///
/// Codes are those of the entries ([`crate::Entry`]), memos and limits encoded as there; the amount
/// of a post is a flag 1 and, if it is 1, a `u128`.
///
/// ```
/// use ed25519_dalek::SigningKey;
/// use fogcompute_base::{AccountId, TransferId, UnixMillis};
/// use fogcompute_ledger::{Amount, Memo, Operation, PublicKey, SignedBatch};
///
/// let secret = SigningKey::from_bytes(&[7; 32]);
/// let pay = Operation::Transfer {
///     id: TransferId::from_bytes([1; 16]),
///     from: AccountId::from_bytes([2; 16]),
///     to: AccountId::from_bytes([3; 16]),
///     amount: Amount(5),
///     memo: Memo::NONE,
/// };
/// let account = AccountId::from_bytes([2; 16]);
/// let batch = SignedBatch::new(account, 1, UnixMillis(99), vec![pay], &secret);
/// assert!(batch.is_signed_by(&PublicKey::of(&secret)));
/// assert_eq!(SignedBatch::decode(&batch.encode()), Ok(batch));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedBatch {
    /// The account whose owner signed.
    pub account: AccountId,
    /// Number of the signature: one more than the last, the first is 1.
    pub nonce: u64,
    /// From this time on the signature is worth nothing.
    pub expires: UnixMillis,
    /// What is asked for.
    pub operations: Vec<Operation>,
    /// The signature.
    pub signature: [u8; 64],
}

impl SignedBatch {
    const VERSION: u8 = 1;
    const CONTEXT: &str = "fogcompute 2026-11-21 ledger signed batch v1";
    const DOMAIN: &[u8] = b"fogcompute 2026-11-21 ledger signed batch v1\0";

    /// Signs a batch.
    #[must_use]
    pub fn new(
        account: AccountId,
        nonce: u64,
        expires: UnixMillis,
        operations: Vec<Operation>,
        secret: &SigningKey,
    ) -> Self {
        let mut batch = Self {
            account,
            nonce,
            expires,
            operations,
            signature: [0; 64],
        };
        batch.signature = sign(secret, Self::DOMAIN, batch.digest());
        batch
    }

    /// What the signature is about: everything but itself.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::derive(Self::CONTEXT, &self.unsigned())
    }

    /// Whether the key made the signature, over this batch.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.signed(Self::DOMAIN, self.digest(), &self.signature)
    }

    /// The key, if it made the signature, and what the signature is about.
    pub(crate) fn verified_by(&self, key: Option<SoundKey>) -> Option<(SoundKey, Digest)> {
        let claim = Claim::new(self, key);
        key.filter(|_| claim.holds()).map(|key| (key, claim.digest))
    }

    /// Which of the batches are signed by the key beside them: about twice as fast, for a hundred
    /// or more, as asking [`is_signed_by`](Self::is_signed_by) of each.
    ///
    /// Signatures are verified together by one equation with random coefficients; where it does
    /// not hold, each is looked at alone.
    ///
    /// Source: Bernstein et al. 2012, "High-speed high-security signatures", §5.
    ///
    /// # Security
    /// Nobody but the owner of a key can make a signature that passes. The owner can make one, with
    /// a component of small order in it, that passes here sometimes and alone never.
    #[must_use]
    pub fn verify_all(batches: &[(&Self, PublicKey)]) -> Vec<bool> {
        let claim = |&(batch, key): &(_, PublicKey)| Claim::new(batch, SoundKey::of(key));
        which_hold(&batches.iter().map(claim).collect::<Vec<_>>())
    }

    fn unsigned(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.u8(Self::VERSION);
        out.account(self.account);
        out.u64(self.nonce);
        out.u64(self.expires.0);
        // More than that is refused before anybody looks at a signature.
        out.u32(u32::try_from(self.operations.len()).unwrap_or(u32::MAX));
        for operation in &self.operations {
            write_operation(operation, &mut out);
        }
        out
    }

    /// The batch as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.unsigned();
        out.raw(&self.signature);
        out
    }

    /// Reads a batch; the signature is checked when it is planned.
    ///
    /// # Errors
    /// Any [`DecodeError`]; foreign bytes cannot do worse.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.0.u8()?;
        if version != Self::VERSION {
            return Err(unknown(0, version));
        }
        let account = decoder.account()?;
        let nonce = decoder.0.u64()?;
        let expires = UnixMillis(decoder.0.u64()?);
        let at = decoder.0.position();
        let count = usize::try_from(decoder.0.u32()?).unwrap_or(usize::MAX);
        if count == 0 {
            return Err(unknown(at, 0));
        }
        if count > BATCH_OPERATIONS_MAX {
            return Err(DecodeError::TooLong {
                actual: count,
                limit: BATCH_OPERATIONS_MAX,
            });
        }
        let operations = (0..count).map(|_| decoder.operation());
        let operations = operations.collect::<Result<_, _>>()?;
        let signature = decoder.0.array()?;
        decoder.0.finish()?;
        Ok(Self {
            account,
            nonce,
            expires,
            operations,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANA, BEN, MINT, NOW, OTHER, account, funded, id, open};
    use crate::fixtures::{post, reserve, transfer, void};
    use crate::{AccountKind, Amount, Book, LedgerError, Limits, Memo};
    use fogcompute_base::TransferId;
    use proptest::prelude::*;

    const LATER: UnixMillis = UnixMillis(NOW.0 + 1_000);

    fn secret(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn own(n: u8, party: u8, key: u8) -> Operation {
        Operation::Own {
            id: id(n),
            account: account(party),
            key: PublicKey::of(&secret(key)),
        }
    }

    fn batch(nonce: u64, operations: &[Operation]) -> SignedBatch {
        SignedBatch::new(
            account(ANA),
            nonce,
            LATER,
            operations.to_vec(),
            &secret(ANA),
        )
    }

    /// Ana and Ben sign with the keys of their numbers.
    fn owned() -> Book {
        let mut book = funded(100);
        book.execute(&[own(201, ANA, ANA), own(202, BEN, BEN)], NOW)
            .unwrap();
        book
    }

    fn execute(book: &mut Book, batch: &SignedBatch) -> Result<(), LedgerError> {
        let before = book.clone();
        match book.plan_signed(batch, NOW) {
            Ok(plan) => {
                assert_eq!(plan.receipts().len(), batch.operations.len());
                book.commit(plan).map(|_| ())
            }
            Err(error) => {
                assert_eq!(*book, before);
                Err(error)
            }
        }
    }

    #[test]
    fn owner_spends_in_the_order_of_the_nonces() {
        let mut book = owned();
        let first = batch(1, &[transfer(1, ANA, BEN, 60)]);
        let second = batch(2, &[transfer(2, ANA, BEN, 30)]);
        assert_eq!(
            execute(&mut book, &second),
            Err(LedgerError::NonceSkipped {
                account: account(ANA),
                nonce: 2,
                next: 1
            })
        );
        execute(&mut book, &first).unwrap();
        execute(&mut book, &second).unwrap();
        for (again, nonce) in [(&first, 1), (&second, 2)] {
            assert_eq!(
                execute(&mut book, again),
                Err(LedgerError::SignatureReplayed {
                    account: account(ANA),
                    nonce,
                    next: 3
                })
            );
        }
        assert_eq!(book.account(account(BEN)).unwrap().balance(), Amount(90));
        assert_eq!(book.owner(account(ANA)).unwrap().nonce, 2);
        // The history proves the order of the signatures.
        let accounts: Vec<_> = book.accounts().copied().collect();
        let again = Book::restore(book.entries().to_vec(), accounts);
        assert_eq!(again, Ok(book));
    }

    #[test]
    fn forged_and_late_signatures_move_nothing() {
        let mut book = owned();
        let sound = batch(1, &[transfer(1, ANA, BEN, 60)]);
        let forged = LedgerError::SignatureForged {
            account: account(ANA),
        };
        let other_key = SignedBatch::new(
            account(ANA),
            1,
            LATER,
            sound.operations.clone(),
            &secret(BEN),
        );
        let dearer = SignedBatch {
            operations: vec![transfer(1, ANA, BEN, 61)],
            ..sound.clone()
        };
        let longer = SignedBatch {
            expires: UnixMillis(LATER.0 + 1),
            ..sound.clone()
        };
        for batch in [&other_key, &dearer, &longer] {
            assert_eq!(execute(&mut book, batch), Err(forged.clone()));
        }
        // A signature for another purpose over the same digest.
        let mut elsewhere = sound.clone();
        elsewhere.signature = sign(&secret(ANA), b"", sound.digest());
        assert_eq!(execute(&mut book, &elsewhere), Err(forged.clone()));
        assert_eq!(
            book.plan_signed(&sound, LATER).unwrap_err(),
            LedgerError::SignatureExpired {
                account: account(ANA),
                expires: LATER,
                now: LATER
            }
        );
        // Nobody signs for Mint.
        let unowned = SignedBatch {
            account: account(MINT),
            ..sound.clone()
        };
        assert_eq!(
            execute(&mut book, &unowned),
            Err(LedgerError::NoOwner {
                account: account(MINT)
            })
        );
        execute(&mut book, &sound).unwrap();
    }

    #[test]
    fn owner_has_no_say_over_other_accounts() {
        let mut book = owned();
        let promises = [
            reserve(1, ANA, BEN, 10, None),
            reserve(2, ANA, BEN, 10, None),
        ];
        execute(&mut book, &batch(1, &promises)).unwrap();
        let signer = account(ANA);
        let not_hers = LedgerError::NotTheOwner {
            signer,
            account: account(BEN),
        };
        for operation in [
            transfer(9, BEN, ANA, 1),
            reserve(9, BEN, ANA, 1, None),
            own(9, BEN, ANA),
            Operation::Close {
                id: id(9),
                account: account(BEN),
            },
            // What she has promised she cannot take back.
            void(9, 1),
        ] {
            assert_eq!(
                execute(&mut book, &batch(2, &[operation])),
                Err(not_hers.clone())
            );
        }
        for operation in [
            open(9, 0, AccountKind::Issuer),
            Operation::Limit {
                id: id(9),
                account: account(9),
                limits: Limits::default(),
            },
        ] {
            assert_eq!(
                execute(&mut book, &batch(2, &[operation])),
                Err(LedgerError::NotForOwners {
                    signer,
                    account: account(9)
                })
            );
        }
        // Ben cannot pay himself, but he can give up what he was promised.
        let by_ben = |nonce, operation| {
            SignedBatch::new(account(BEN), nonce, LATER, vec![operation], &secret(BEN))
        };
        let error = execute(&mut book, &by_ben(1, post(9, 1, None))).unwrap_err();
        assert!(matches!(error, LedgerError::NotTheOwner { .. }));
        execute(&mut book, &by_ben(1, void(9, 1))).unwrap();
        execute(&mut book, &batch(2, &[post(10, 2, None)])).unwrap();
        assert_eq!(book.account(account(BEN)).unwrap().balance(), Amount(10));
    }

    #[test]
    fn another_key_takes_over_and_old_signatures_stay_replays() {
        let mut book = owned();
        execute(&mut book, &batch(1, &[own(1, ANA, 77)])).unwrap();
        let old = batch(2, &[transfer(2, ANA, BEN, 1)]);
        let error = execute(&mut book, &old).unwrap_err();
        assert!(matches!(error, LedgerError::SignatureForged { .. }));
        let new = |nonce| {
            let pay = vec![transfer(2, ANA, BEN, 1)];
            SignedBatch::new(account(ANA), nonce, LATER, pay, &secret(77))
        };
        let error = execute(&mut book, &new(1)).unwrap_err();
        assert!(matches!(error, LedgerError::SignatureReplayed { .. }));
        execute(&mut book, &new(2)).unwrap();
    }

    #[test]
    fn signed_batches_have_two_ends() {
        let book = owned();
        let none = batch(1, &[]);
        assert_eq!(
            book.plan_signed(&none, NOW).unwrap_err(),
            LedgerError::BatchEmpty
        );
        assert!(SignedBatch::decode(&none.encode()).is_err());
        let many = batch(
            1,
            &vec![transfer(1, ANA, OTHER, 1); BATCH_OPERATIONS_MAX + 1],
        );
        assert!(matches!(
            book.plan_signed(&many, NOW).unwrap_err(),
            LedgerError::BatchTooLarge { .. }
        ));
        assert!(matches!(
            SignedBatch::decode(&many.encode()),
            Err(DecodeError::TooLong { .. })
        ));
    }

    fn every_operation() -> Vec<Operation> {
        vec![
            open(9, 3, AccountKind::Issuer),
            Operation::Transfer {
                id: id(1),
                from: account(ANA),
                to: account(BEN),
                amount: Amount(5),
                memo: Memo {
                    code: 3,
                    reference: [1; 16],
                },
            },
            reserve(2, ANA, BEN, 7, Some(99)),
            reserve(3, ANA, BEN, 7, None),
            post(4, 2, Some(5)),
            post(5, 3, None),
            void(6, 2),
            Operation::Limit {
                id: id(7),
                account: account(ANA),
                limits: Limits {
                    spend_per_day: Some(Amount(9)),
                    ..Limits::default()
                },
            },
            Operation::Close {
                id: id(8),
                account: account(ANA),
            },
            own(9, ANA, BEN),
        ]
    }

    #[test]
    fn all_operations_survive_the_encoding() {
        let batch = batch(7, &every_operation());
        assert_eq!(SignedBatch::decode(&batch.encode()), Ok(batch));
    }

    #[test]
    fn signature_is_that_of_another_ed25519() {
        // Made with the Python packages blake3 and cryptography from the table above.
        let pay = Operation::Transfer {
            id: TransferId::from_bytes([1; 16]),
            from: account(2),
            to: account(3),
            amount: Amount(5),
            memo: Memo::NONE,
        };
        let batch = SignedBatch::new(account(2), 1, UnixMillis(99), vec![pay], &secret(7));
        let hex: String = batch
            .signature
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        assert_eq!(
            hex,
            concat!(
                "ef54dbc778f8d987cdca3fdac9cde86363324cea3f131d07533c279c60a0f429",
                "383f2f506e124b7efa88233aa0ece833407b72e9e7acf7145308405896e3e00a",
            )
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_decode_to_what_encodes_to_them(
            position in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let sound = batch(7, &every_operation()).encode();
            prop_assert!(SignedBatch::decode(&sound[..cut.index(sound.len())]).is_err());
            let mut bytes = sound;
            let at = position.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(batch) = SignedBatch::decode(&bytes) {
                prop_assert_eq!(batch.encode(), bytes);
                prop_assert!(!batch.is_signed_by(&PublicKey::of(&secret(ANA))));
            }
        }
    }

    #[test]
    fn many_signatures_are_told_apart_together() {
        let mut book = funded(100);
        book.execute(&[own(201, ANA, ANA), own(202, BEN, BEN)], NOW)
            .unwrap();
        let pay = |n: u8, party: u8, to: u8| {
            let operations = vec![transfer(n, party, to, 1)];
            SignedBatch::new(account(party), 1, LATER, operations, &secret(party))
        };
        let sound = [pay(1, ANA, BEN), pay(2, BEN, ANA)];
        let forged = SignedBatch {
            nonce: 2,
            ..sound[0].clone()
        };
        let unknown = pay(3, OTHER, ANA);
        let small_order = {
            // The neutral point as nonce: a sound equation can be had with it for a key of one's own.
            let mut batch = sound[0].clone();
            batch.signature[..32].fill(0);
            batch.signature[0] = 1;
            batch
        };
        let found = book.verify(&[&sound[0], &forged, &unknown, &sound[1], &small_order]);
        let (ana, other) = (account(ANA), account(OTHER));
        let refused = Err(LedgerError::SignatureForged { account: ana });
        assert_eq!(found[0].as_ref().unwrap().batch(), &sound[0]);
        assert_eq!(
            found[0].as_ref().unwrap().key(),
            PublicKey::of(&secret(ANA))
        );
        assert_eq!(found[1], refused);
        assert_eq!(found[2], Err(LedgerError::NoOwner { account: other }));
        assert_eq!(found[3].as_ref().unwrap().batch(), &sound[1]);
        assert_eq!(found[4], refused);
        // Without the forgeries one equation is enough.
        let claim = |batch, of| Claim::new(batch, SoundKey::of(PublicKey::of(&secret(of))));
        assert!(verify_together(&[
            claim(&sound[0], ANA),
            claim(&sound[1], BEN)
        ]));
        assert!(!verify_together(&[
            claim(&sound[0], BEN),
            claim(&sound[1], BEN)
        ]));
        let plan = book
            .state()
            .plan_verified(&book, found[0].clone().unwrap(), NOW);
        book.commit(plan.unwrap()).unwrap();
        assert_eq!(book.owner(ana).unwrap().nonce, 1);
    }

    #[test]
    fn verified_signature_is_worth_nothing_under_another_key() {
        let mut book = owned();
        let batch = batch(1, &[transfer(1, ANA, BEN, 1)]);
        let verified = book.verify(&[&batch])[0].clone().unwrap();
        book.execute(&[own(203, ANA, OTHER)], NOW).unwrap();
        assert_eq!(
            book.state()
                .plan_verified(&book, verified, NOW)
                .unwrap_err(),
            LedgerError::SignatureForged {
                account: account(ANA)
            }
        );
    }
}
