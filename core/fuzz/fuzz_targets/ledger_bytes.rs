//! Journal records, signed batches, checkpoints, snapshots and events that somebody else wrote: they
//! are what encodes to the same bytes, or are refused.

#![no_main]

use fogcompute_ledger::earning::{self, Earning};
use fogcompute_ledger::staking::{self, Staking};
use fogcompute_ledger::{Batch, Restore, SignedBatch, SignedCheckpoint, Snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 8 {
        0 => {
            if let Ok(batch) = Batch::decode(bytes) {
                assert_eq!(batch.encode(), bytes);
                let _ = Restore::new().push_batch(&batch);
            }
        }
        1 => {
            if let Ok(batch) = SignedBatch::decode(bytes) {
                assert_eq!(batch.encode(), bytes);
            }
        }
        2 => {
            if let Ok(checkpoint) = SignedCheckpoint::decode(bytes) {
                assert_eq!(checkpoint.encode(), bytes);
                assert!(checkpoint.verify(&checkpoint.key).is_err());
            }
        }
        3 => {
            if let Ok(event) = staking::Event::decode(bytes) {
                assert_eq!(event.encode(), bytes);
                let _ = Staking::default().apply(&event);
            }
        }
        4 => {
            if let Ok(event) = earning::Event::decode(bytes) {
                assert_eq!(event.encode(), bytes);
                let _ = Earning::default().apply(&event);
            }
        }
        5 => {
            if let Ok(snapshot) = staking::Snapshot::decode(bytes) {
                assert_eq!(snapshot.encode(), bytes);
                if let Ok(staking) = Staking::restore(&snapshot) {
                    assert_eq!(staking.check(), Ok(()));
                    assert_eq!(staking.snapshot(), snapshot);
                }
            }
        }
        6 => {
            if let Ok(snapshot) = earning::Snapshot::decode(bytes) {
                assert_eq!(snapshot.encode(), bytes);
                if let Ok(earning) = Earning::restore(&snapshot) {
                    assert_eq!(earning.snapshot(), snapshot);
                }
            }
        }
        _ => {
            let (image, segment) = bytes.split_at(bytes.len() / 2);
            if let Ok(mut snapshot) = Snapshot::new(image, segment.len())
                && snapshot.push(segment).is_ok()
                && let Some(state) = snapshot.finish()
            {
                assert_eq!(state.check(), Ok(()));
            }
        }
    }
});
