//! Tables of jobs and nodes, with a header that has all columns and as they are: what is read is
//! written the same.

#![no_main]

use std::sync::LazyLock;

use fogcompute_schedule::workload::csv;
use libfuzzer_sys::fuzz_target;

/// What a table of no jobs says: its columns.
static JOBS: LazyLock<String> =
    LazyLock::new(|| csv::write_jobs(&[]).expect("nothing is easily written"));

/// The same of nodes.
static NODES: LazyLock<String> =
    LazyLock::new(|| csv::write_nodes(&[]).expect("nothing is easily written"));

fuzz_target!(|text: &str| {
    for text in [text.to_owned(), format!("{}{text}", *JOBS)] {
        if let Ok(arrivals) = csv::read_jobs(&text) {
            let written = csv::write_jobs(&arrivals).expect("it was read from such a table");
            assert_eq!(csv::read_jobs(&written), Ok(arrivals));
        }
    }
    for text in [text.to_owned(), format!("{}{text}", *NODES)] {
        if let Ok(nodes) = csv::read_nodes(&text) {
            let written = csv::write_nodes(&nodes).expect("it was read from such a table");
            assert_eq!(csv::read_nodes(&written), Ok(nodes));
        }
    }
});
