//! Logs in the Standard Workload Format: what is read is written the same, and arrives in order.

#![no_main]

use fogcompute_schedule::workload::swf::Log;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(log) = text.parse::<Log>() else {
        return;
    };
    assert_eq!(log.to_string().parse().as_ref(), Ok(&log));
    // On nodes this large no job of a short text is a gang of millions.
    if let Ok(arrivals) = log.arrivals(1 << 50) {
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at_ms));
        assert!(arrivals.iter().all(|arrival| arrival.job.cpu_millis > 0));
    }
});
