//! Proofs of a ledger, and the checkpoints they rest on.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use ed25519_dalek::SigningKey;
use fogcompute_base::{Clock, CryptoRng, NodeId};
use fogcompute_ledger::{Head, SignedCheckpoint};
use serde_json::json;

use super::arguments::{CheckpointArguments, VerifyArguments};
use super::text::{hex, unhex};
use super::{LedgerCommandError, Said, new_file, open};
use crate::files::{NewFile, Readers};

/// Most bytes that are read of a file with a checkpoint or a key: more than either has.
const SMALL_FILE_BYTES: u64 = 4_096;

pub(super) fn verify(arguments: &VerifyArguments) -> Result<Said, LedgerCommandError> {
    let kept = arguments.checkpoint.as_deref().map(read_checkpoint);
    let kept = kept.transpose()?;
    let ledger = open(&arguments.ledger)?;
    let damaged = ledger.opening().damaged;
    let proven = match &kept {
        Some(kept) => ledger.verify_since(kept, arguments.key.as_ref().unwrap_or(&kept.key))?,
        None => ledger.verify()?,
    };
    let Head { sequence, chain } = proven.head;
    let mut text = format!(
        "sound: {sequence} entries, {} accounts, {} open reservations\nhead {sequence} {chain}",
        proven.accounts, proven.open_reservations
    );
    if damaged > 0 {
        text.push_str(&format!(
            "\n{damaged} snapshots were damaged; the history they were made of is not"
        ));
    }
    let mut json = json!({
        "ok": true,
        "head": proven.head,
        "entries": sequence,
        "accounts": proven.accounts,
        "open_reservations": proven.open_reservations,
        "snapshots_damaged": damaged,
        "checkpoint": null,
    });
    if let Some(SignedCheckpoint {
        checkpoint, key, ..
    }) = &kept
    {
        let key_given = arguments.key.is_some();
        text.push_str(&format!(
            "\nthe same up to entry {} as at {}, signed by {key}",
            checkpoint.head.sequence, checkpoint.time
        ));
        if !key_given {
            text.push_str(", a key that only the checkpoint names");
        }
        json["checkpoint"] = json!({
            "head": checkpoint.head,
            "time": checkpoint.time,
            "key": key,
            "key_given": key_given,
        });
    }
    Ok(Said::new(json, text))
}

/// Reads a checkpoint from its digits, or from a file that has them or its bytes.
fn read_checkpoint(given: &OsStr) -> Result<SignedCheckpoint, LedgerCommandError> {
    let digits = |text: &str| {
        let bytes = (text.len() == 2 * SignedCheckpoint::LEN).then(|| unhex(text));
        bytes.flatten()
    };
    let bytes = match given.to_str().and_then(digits) {
        Some(bytes) => bytes,
        None => {
            let path = Path::new(given);
            let read = small_file(path).map_err(LedgerCommandError::file("reading", path))?;
            let text = std::str::from_utf8(&read).ok();
            match text.and_then(|text| digits(text.trim())) {
                Some(bytes) => bytes,
                None if read.len() == SignedCheckpoint::LEN => read,
                None => {
                    return Err(LedgerCommandError::NoCheckpoint {
                        path: path.to_owned(),
                    });
                }
            }
        }
    };
    SignedCheckpoint::decode(&bytes).map_err(LedgerCommandError::BadCheckpoint)
}

fn small_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(SMALL_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn checkpoint(
    arguments: &CheckpointArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, LedgerCommandError> {
    let ledger = open(&arguments.ledger)?;
    // Begun before a key is made, which would be made for nothing.
    let out = match &arguments.out {
        Some(path) => Some((path, new_file(path, Readers::Everybody)?)),
        None => None,
    };
    let secret = signing_key(&arguments.key, rng)?;
    let signed = ledger.checkpoint(clock.unix_now(), &secret);
    let digits = hex(&signed.encode());
    let SignedCheckpoint {
        checkpoint, key, ..
    } = signed;
    let text = match out {
        Some((path, file)) => {
            finish_with(file, path, &digits)?;
            let sequence = checkpoint.head.sequence;
            let path = path.display();
            format!("{path} states the ledger up to entry {sequence}, signed by {key}")
        }
        None => digits.clone(),
    };
    let json = json!({
        "ok": true,
        "checkpoint": digits,
        "key": key,
        "head": checkpoint.head,
        "time": checkpoint.time,
        "accounts_root": checkpoint.accounts_root,
    });
    Ok(Said::new(json, text))
}

/// Finishes a new file of one line.
fn finish_with(mut file: NewFile<'_>, path: &Path, line: &str) -> Result<(), LedgerCommandError> {
    writeln!(file, "{line}")
        .and_then(|()| file.finish())
        .map_err(LedgerCommandError::file("writing", path))
}

/// Reads the key to sign with.
pub(crate) fn read_key(path: &Path) -> Result<SigningKey, LedgerCommandError> {
    let bytes = small_file(path).map_err(LedgerCommandError::file("reading", path))?;
    let text = std::str::from_utf8(&bytes).ok();
    // Ids of nodes have as many digits.
    let secret = text.and_then(|text| text.trim().parse::<NodeId>().ok());
    let secret = secret.ok_or(LedgerCommandError::NoKey {
        path: path.to_owned(),
    })?;
    Ok(SigningKey::from_bytes(secret.as_bytes()))
}

/// Reads the key to sign with, or makes one where there is no file.
pub(crate) fn signing_key(
    path: &Path,
    rng: &mut impl CryptoRng,
) -> Result<SigningKey, LedgerCommandError> {
    match read_key(path) {
        Err(LedgerCommandError::File { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            let file = new_file(path, Readers::Owner)?;
            finish_with(file, path, &NodeId::from_bytes(secret).to_string())?;
            Ok(SigningKey::from_bytes(&secret))
        }
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let made = signing_key(&path, &mut rng).unwrap();
        assert_eq!(signing_key(&path, &mut rng).unwrap(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        for other in ["", "00", "no key", &"0".repeat(65), &"0".repeat(10_000)] {
            fs::write(&path, other).unwrap();
            let refused = signing_key(&path, &mut rng).unwrap_err();
            assert!(
                matches!(&refused, LedgerCommandError::NoKey { path: it } if *it == path),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_checkpoint_is_read_from_digits_bytes_or_lines_and_from_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let secret = SigningKey::from_bytes(&[7; 32]);
        let ledger = fogcompute_store::SqliteLedger::in_memory().unwrap();
        let signed = ledger.checkpoint(fogcompute_base::UnixMillis(5), &secret);
        let (bytes, digits) = (signed.encode(), hex(&signed.encode()));
        assert_eq!(read_checkpoint(OsStr::new(&digits)).unwrap(), signed);
        for kept in [
            bytes.clone(),
            digits.clone().into_bytes(),
            format!("{digits}\r\n").into_bytes(),
            digits.to_uppercase().into_bytes(),
        ] {
            fs::write(&path, kept).unwrap();
            assert_eq!(read_checkpoint(path.as_os_str()).unwrap(), signed);
        }
        for other in [
            vec![],
            bytes[1..].to_vec(),
            [&bytes[..], &[0]].concat(),
            digits.as_bytes()[2..].to_vec(),
            vec![0xff; SignedCheckpoint::LEN],
        ] {
            fs::write(&path, other).unwrap();
            let refused = read_checkpoint(path.as_os_str()).unwrap_err();
            assert_eq!(refused.kind(), "checkpoint", "{refused}");
        }
    }
}
