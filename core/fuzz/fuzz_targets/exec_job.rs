//! Jobs and joined inputs: what decodes is valid, and encodes to something that decodes to the same;
//! tasks and joined inputs have one encoding.

#![no_main]

use fogcompute_exec::{Job, Task, join_inputs, split_inputs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Job::decode(bytes) {
        Ok(job) => {
            assert_eq!(job.validate(), Ok(()));
            assert_eq!(job.encode(), bytes);
            assert_eq!(Job::decode(&job.encode()).as_ref(), Ok(&job));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(task) = Task::decode(bytes) {
        assert_eq!(task.encode(), bytes);
    }
    if let Ok(inputs) = split_inputs(bytes) {
        assert_eq!(join_inputs(&inputs).as_deref(), Ok(bytes));
    }
});
