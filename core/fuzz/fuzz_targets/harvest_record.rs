//! Records of a harvester: one encoding, and whatever is read can be gone on with.

#![no_main]

use fogcompute_base::{Instant, UnixMillis};
use fogcompute_harvest::{HarvestPolicy, HarvestRecord, Harvester};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u64)| {
    let (bytes, unix_millis) = input;
    let Ok(record) = HarvestRecord::decode(bytes) else {
        return;
    };
    assert_eq!(record.encode(), bytes);
    let policy = HarvestPolicy::default();
    let cooldown = policy.cooldown;
    let now = Instant::from_millis(5);
    let mut harvester = Harvester::restore(policy, &record, now, UnixMillis(unix_millis))
        .expect("the default policy is valid");
    harvester.handle_timeout(now);
    // However far a record is off, nobody rests for longer than a cooldown.
    assert!(
        harvester
            .poll_timeout()
            .is_none_or(|next| next <= now + cooldown)
    );
    let again = harvester.record(now);
    assert_eq!(HarvestRecord::decode(&again.encode()), Ok(again));
});
