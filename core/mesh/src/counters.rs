//! What was refused, by its kind.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each thing happened. Each refused packet counts in exactly one place.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Each counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Packets that came in and were well-formed.
    received,
    /// Frames that were put into a link's queue.
    sent,
    /// Packets of others that were passed on.
    relayed,
    /// Packets that were not passed on, because somebody else did first.
    relays_cancelled,
    /// Packets that ended too early.
    truncated,
    /// Packets or fragments with more bytes than are accepted.
    oversized,
    /// Packets with a first byte that is no version.
    malformed,
    /// Packets followed by something that is not padding.
    wrongly_padded,
    /// Packed payloads that are not what they claim: bombs among them.
    bombs,
    /// Payloads that are not of their format.
    bad_payload,
    /// Packets that were seen before.
    duplicated,
    /// Messages of a session, and packets of a fog, that were received before.
    replayed,
    /// Handshakes and messages of sessions that do not open.
    unopened,
    /// Messages of sessions that are not there.
    without_session,
    /// Messages of ratchets that do not open, and offers of ratchets that cannot be taken.
    unratcheted,
    /// Signatures that are missing or do not verify.
    mis_signed,
    /// Packets that nobody here can verify yet.
    unverified,
    /// Announces and handshakes of who claims another's identifier, here or on the air.
    wrong_id,
    /// Announces with another signing key than the one known.
    changed_key,
    /// Packets that are not of the fog that is talked to.
    strangers,
    /// Packets that are too old.
    expired,
    /// Packets whose time is too far from ours.
    clock_skew,
    /// Answers to sync requests that were not asked for.
    unasked,
    /// Sync requests beyond what a neighbour may ask.
    sync_limited,
    /// Packets beyond what a link may bring.
    flooded,
    /// Handshakes beyond what a peer may start.
    handshakes_limited,
    /// Fragments that cannot be, or do not fit those before.
    bad_fragments,
    /// Packets whose fragments did not all come.
    fragments_given_up,
    /// Frames that did not fit into a link's queue.
    queue_full,
    /// Packets that no link can carry in as many fragments as others accept.
    too_large,
    /// Envelopes that were not taken to be carried.
    envelopes_refused,
    /// Messages to groups that are not for here, or do not open.
    groups_refused,
    /// Events that the host did not take in time.
    events_lost,
    /// Inputs over links that are not there.
    unknown_link,
}
