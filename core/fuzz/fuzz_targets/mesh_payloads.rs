//! Every payload of a mesh: announces, what is inside sessions (messages, groups, files, voice, calls, chunks),
//! sync requests, envelopes, one-time keys, group messages. What is read is written so that it is read the same.

#![no_main]

use fogcompute_mesh::chunks::{ChunkMessage, Download};
use fogcompute_mesh::courier::{Envelope, PrekeyBundle};
use fogcompute_mesh::file::File;
use fogcompute_mesh::group::{GroupMessage, GroupState};
use fogcompute_mesh::large_group::{LargeGroupState, LargeGroupStep};
use fogcompute_mesh::voice::VoiceFrame;
use fogcompute_mesh::{Announce, Content, Fragment, SyncRequest};
use libfuzzer_sys::fuzz_target;

macro_rules! round_trip {
    ($bytes:expr, $($name:ident),*) => {$(
        if let Ok(value) = $name::decode($bytes) {
            let again = value.encode().expect("what was read can be written");
            assert_eq!($name::decode(&again), Ok(value));
        }
    )*};
}

fuzz_target!(|bytes: &[u8]| {
    round_trip!(
        bytes,
        Announce,
        ChunkMessage,
        Content,
        Envelope,
        File,
        GroupMessage,
        GroupState,
        LargeGroupState,
        LargeGroupStep,
        PrekeyBundle,
        SyncRequest,
        VoiceFrame
    );
    if let Ok(fragment) = Fragment::decode(bytes) {
        assert_eq!(fragment.encode(), bytes);
    }
    if let Ok(request) = SyncRequest::decode(bytes) {
        // As many numbers as half the bits, at most.
        assert!(request.set.values().len() <= 4 * request.set.coded().len());
    }
    if let Ok(download) = Download::restore(bytes) {
        assert_eq!(download.save(), bytes);
    }
});
