//! Ways into private parsers, for `core/fuzz` alone: this module exists under `cfg(fuzzing)` only.

use std::path::Path;
use std::sync::Arc;

use fogcompute_exec::TaskSpec;
use fogcompute_schedule::{Job, Node};

use crate::placing::input;
use crate::protocol::{FromNode, Reported, TaskMessage, ToNode};
use crate::submit::protocol::{Answer, FRAME_BYTES, Part, Request, answer_frames, request_frames};

/// Reads bytes as every message of the control link and of the mixnet.
///
/// # Panics
/// When what was read does not survive being written.
pub fn protocol(bytes: &[u8]) {
    if let Ok(message) = FromNode::decode(bytes) {
        assert_eq!(FromNode::decode(&message.encode()), Ok(message));
    }
    if let Ok(message) = ToNode::decode(bytes) {
        assert_eq!(ToNode::decode(&message.encode()), Ok(message));
    }
    let module = Arc::from(&b"module"[..]);
    if let Ok(Some(spec)) = TaskSpec::decode_apart(bytes, |_| Some(module)) {
        assert_eq!(spec.encode_apart(), bytes);
    }
    if let Ok(message) = TaskMessage::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
    if let Ok(reported) = Reported::decode(bytes) {
        assert_eq!(Reported::decode(&reported.encode()), Ok(reported));
    }
}

/// Reads bytes as every message of the links of submitters.
///
/// # Panics
/// When what was read does not survive being written.
pub fn submit(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(Part::Request {
        number,
        call,
        bytes: length,
        first,
    }) = Part::of_request(bytes)
        && length == first.len()
        && bytes.len() <= FRAME_BYTES
    {
        assert_eq!(request_frames(number, &call, first), [bytes]);
    }
    if let Ok(Part::Answer {
        number,
        bytes: length,
        first,
    }) = Part::of_answer(bytes)
        && length == first.len()
        && bytes.len() <= FRAME_BYTES
    {
        assert_eq!(answer_frames(number, first), [bytes]);
    }
}

/// Reads bytes as a file of jobs and as one of nodes.
#[must_use]
pub fn placing(bytes: &[u8]) -> (Vec<Job>, Vec<Node>) {
    let path = Path::new("");
    let jobs = input::jobs_in(path, bytes).map(|(jobs, _)| jobs);
    let nodes = input::nodes_in(path, bytes).map(|(nodes, _)| nodes);
    (jobs.unwrap_or_default(), nodes.unwrap_or_default())
}
