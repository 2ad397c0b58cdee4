use std::ffi::{CStr, CString, c_char, c_void};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use fogcompute::base::{Clock, SystemClock};
use fogcompute::node::MixnetError;
use fogcompute::{
    Contact, CoverConfig, MessageId, MixnetClient, MixnetClientConfig, MixnetClientStats, Pending,
    PowerClass, Restored, StoreKey,
};

use super::node::read_identity;
use super::{
    fog_cover_stats, fog_engine_stats, fog_mixnet_answer, fog_mixnet_message, fog_mixnet_state,
    fog_node_id, fog_reply_blocks, fog_topology, read_id,
};
use crate::completions::{Callback, Completions, UserData};
use crate::support::{
    Failure, c_string, chars, check_room, fill_items, free, give, guard, key_bytes,
    optional_result, parse_address, parsed, parsed_chars, reference, result, slice, text,
};
use crate::{FOG_CONTACT_SIZE, fog_id, fog_status};

/// How a client is made. Fill it with fog_mixnet_client_config_default() and change what should
/// differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mixnet_client_config {
    /// The UDP address it sends from, such as 0.0.0.0:0; port 0 is any that is free.
    pub listen: *const c_char,
    /// FOG_KEY_BYTES bytes of the secret key of its identity.
    pub identity: *const u8,
    /// FOG_KEY_BYTES, or 0 for a new identity.
    pub identity_len: usize,
    /// Mean time between two loops of cover traffic on the mains, in nanoseconds; 0 for none.
    pub cover_loops_ns: u64,
    /// Mean time between two drops of cover traffic on the mains, in nanoseconds; 0 for none.
    pub cover_drops_ns: u64,
    /// Messages that wait to be received. When reached, further ones are not acknowledged, so that
    /// their senders send them again.
    pub inbox_messages_max: usize,
}

/// The address of the facade's default, as C reads it.
const LISTEN: &CStr = c"0.0.0.0:0";

/// How a device is powered.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_power_class {
    /// From the mains, or charging.
    Mains = 0,
    /// From a battery with charge to spare.
    Battery = 1,
    /// From a battery that is low.
    LowBattery = 2,
}

/// What others need to send messages to a client.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_contact {
    /// Node, key and epoch with colons between them, and a NUL byte.
    pub text: [c_char; FOG_CONTACT_SIZE],
}

/// What a client counted since its start.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_client_stats {
    /// Messages and requests that were handed in.
    pub sent: u64,
    /// Of those, known to have arrived whole.
    pub delivered: u64,
    /// Of those, given up.
    pub given_up: u64,
    /// Messages that came in whole.
    pub received: u64,
    /// Answers that came in whole.
    pub answers: u64,
    /// Packets that came in and were refused: malformed, answers nobody waits for, or parts of
    /// messages while the inbox was full.
    pub refused: u64,
    /// What became of cover traffic.
    pub cover: fog_cover_stats,
    /// What the sockets and links counted.
    pub engine: fog_engine_stats,
}

/// Tells what became of a message. Runs once for each that was accepted, on a thread of the
/// library, so it should be quick: the callbacks of one client take turns. It may call any function
/// of the library.
///
/// @param user_data what was given with the message
/// @param status    FOG_STATUS_OK when the receiver has acknowledged all of it;
///                  FOG_STATUS_NOT_DELIVERED when it was given up; FOG_STATUS_CLOSED
/// @param message   what went wrong, for people, valid until the callback returns; empty if nothing
pub type fog_mixnet_sent = Option<
    unsafe extern "C" fn(user_data: *mut c_void, status: fog_status, message: *const c_char),
>;

/// Tells what became of a request. Runs once for each that was accepted, on a thread of the
/// library, so it should be quick: the callbacks of one client take turns. It may call any function
/// of the library.
///
/// @param user_data what was given with the request
/// @param status    FOG_STATUS_OK, FOG_STATUS_NO_ANSWER, FOG_STATUS_NOT_DELIVERED,
///                  FOG_STATUS_CLOSED
/// @param answer    the answer, valid until the callback returns; NULL without one
/// @param message   what went wrong, for people, valid until the callback returns; empty if nothing
pub type fog_mixnet_answered = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        status: fog_status,
        answer: *const fog_mixnet_answer,
        message: *const c_char,
    ),
>;

/// A [`fog_mixnet_answered`] that is not NULL.
type Answered =
    unsafe extern "C" fn(*mut c_void, fog_status, *const fog_mixnet_answer, *const c_char);

/// Sends and receives messages through a mixnet, over UDP.
///
/// Messages are cut into packets, each over a route of its own, sent until they are acknowledged,
/// and put together by their receiver. A request carries single-use reply blocks, so that whoever
/// answers does not learn who asked.
///
/// There is no gateway: the client is the last hop itself. It keeps links to all nodes of the last
/// layer, so those nodes can tell which of their links is a client's.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, callbacks do
/// not run, and fog_mixnet_client_free() stops nothing.
pub struct fog_mixnet_client {
    client: MixnetClient,
    completions: Completions,
}

impl From<MixnetClient> for fog_mixnet_client {
    fn from(client: MixnetClient) -> Self {
        Self {
            client,
            completions: Completions::default(),
        }
    }
}

impl Drop for fog_mixnet_client {
    fn drop(&mut self) {
        // What is waited for ends with `Closed`, so that all callbacks come.
        self.client.close();
        self.completions.finish();
    }
}

/// Puts the usual configuration into a struct: any free port, a new identity, and a loop and a drop
/// of cover traffic every five seconds in the mean.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_config_default(
    out: *mut fog_mixnet_client_config,
) -> fog_status {
    guard(|| {
        let config = MixnetClientConfig::default();
        let mean = |mean: Option<Duration>| {
            mean.map_or(0, |mean| u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX))
        };
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_mixnet_client_config {
            listen: LISTEN.as_ptr(),
            identity: ptr::null(),
            identity_len: 0,
            cover_loops_ns: mean(config.cover.loops),
            cover_drops_ns: mean(config.cover.drops),
            inbox_messages_max: config.inbox_messages_max,
        });
        Ok(())
    })
}

/// # Safety
/// The address is a string or NULL, and the identity is as long as is said.
unsafe fn read_config(config: &fog_mixnet_client_config) -> Result<MixnetClientConfig, Failure> {
    // SAFETY: as the caller promises.
    let (listen, identity) = unsafe {
        (
            parse_address(text(config.listen, "listen")?, "listen")?,
            read_identity(config.identity, config.identity_len)?,
        )
    };
    let mean = |ns| (ns != 0).then(|| Duration::from_nanos(ns));
    Ok(MixnetClientConfig {
        listen,
        identity,
        cover: CoverConfig {
            loops: mean(config.cover_loops_ns),
            drops: mean(config.cover_drops_ns),
        },
        inbox_messages_max: config.inbox_messages_max,
    })
}

/// Starts a client of a network.
///
/// Thread safety: any thread.
/// @param topology the network
/// @param config   the configuration, or NULL for the usual
/// @param out      receives the client; free it with fog_mixnet_client_free()
/// @return FOG_STATUS_INVALID_ARGUMENT; FOG_STATUS_INVALID_TOPOLOGY if the topology is not valid
///         now; FOG_STATUS_LISTEN if the address is in use or not one of this machine;
///         FOG_STATUS_NODE if the system gives no socket or thread, or packets do not fit datagrams
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_start(
    topology: *const fog_topology,
    config: *const fog_mixnet_client_config,
    out: *mut *mut fog_mixnet_client,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a configuration of strings and bytes or NULL,
        // and room for a handle.
        let (topology, config, out) = unsafe {
            let config = config.as_ref().map(|config| read_config(config));
            (
                reference(topology, "topology")?,
                config.transpose()?,
                result(out, "out")?,
            )
        };
        let client = MixnetClient::start(topology.0.clone(), config.unwrap_or_default())?;
        give(out, client.into());
        Ok(())
    })
}

/// Starts a client that goes on where another one was suspended: with its identity, its mix keys
/// and what was seen under them, the reply blocks it held and those it gave out. In the epoch of
/// that client it has the same contact; in the one after it still receives what is sent to the old
/// one; later, only the identity is the same.
///
/// Open each state once: of two clients from one state, the mixnodes drop the second use of a reply
/// block as a replay.
///
/// Thread safety: any thread.
/// @param topology  the network
/// @param config    the configuration, or NULL for the usual; the identity can be left out
/// @param state     the bytes of what fog_mixnet_client_suspend() gave
/// @param state_len how many
/// @param key       the key they were sealed under
/// @param key_len   FOG_KEY_BYTES
/// @param out       receives the client; free it with fog_mixnet_client_free()
/// @return as of fog_mixnet_client_start(); FOG_STATUS_STORAGE_CORRUPT if the state does not open
///         with this key, was changed or is of a network with other packets;
///         FOG_STATUS_INVALID_ARGUMENT if the configuration says another identity
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_restore(
    topology: *const fog_topology,
    config: *const fog_mixnet_client_config,
    state: *const u8,
    state_len: usize,
    key: *const u8,
    key_len: usize,
    out: *mut *mut fog_mixnet_client,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a configuration of strings and bytes or NULL, as
        // many bytes as it says, and room for a handle.
        let (topology, config, state, key, out) = unsafe {
            let config = config.as_ref().map(|config| read_config(config));
            (
                reference(topology, "topology")?,
                config.transpose()?.unwrap_or_default(),
                slice(state, state_len, "state")?,
                read_store_key(key, key_len)?,
                result(out, "out")?,
            )
        };
        let client = MixnetClient::restore(topology.0.clone(), config, state, &key)?;
        give(out, client.into());
        Ok(())
    })
}

/// # Safety
/// As [`key_bytes`].
unsafe fn read_store_key(key: *const u8, key_len: usize) -> Result<StoreKey, Failure> {
    // SAFETY: as the caller promises.
    Ok(StoreKey::from_bytes(unsafe {
        key_bytes(key, key_len, "key")
    }?))
}

/// Puts what others need to send messages to a client into a struct. It is another one with each
/// epoch, and with each start that does not restore the client.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client the client
/// @param out    receives the contact
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_contact(
    client: *const fog_mixnet_client,
    out: *mut fog_contact,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (client, out) = unsafe { (reference(client, "client")?, result(out, "out")?) };
        out.write(fog_contact {
            text: chars(&client.client.contact()?.to_string()),
        });
        Ok(())
    })
}

/// Sends a message and waits until the receiver has acknowledged all of it.
///
/// When the time is over first, *delivered is false and the message is sent further until it is
/// acknowledged or given up, unless the client is closed.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free(). Another
/// thread ends the waiting with fog_mixnet_client_close().
/// @param client     the client
/// @param to         the receiver's contact, the text of a fog_contact
/// @param body       the message
/// @param body_len   its length
/// @param timeout_ns how long to wait, in nanoseconds
/// @param id         receives the message's identifier, or NULL
/// @param delivered  receives whether it is known to have arrived, or NULL
/// @return FOG_STATUS_NOT_DELIVERED when it was given up; FOG_STATUS_INVALID_ARGUMENT,
///         FOG_STATUS_PAYLOAD_TOO_LARGE, FOG_STATUS_INVALID_ROUTE, FOG_STATUS_INVALID_TOPOLOGY if
///         the network's has expired, FOG_STATUS_MIXNET_BUSY, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_send(
    client: *const fog_mixnet_client,
    to: *const c_char,
    body: *const u8,
    body_len: usize,
    timeout_ns: u64,
    id: *mut fog_id,
    delivered: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, as many bytes as it says, and NULL or
        // room for the results.
        let (client, (to, body), id, delivered) = unsafe {
            (
                reference(client, "client")?,
                read_message(to, body, body_len)?,
                optional_result(id),
                optional_result(delivered),
            )
        };
        let pending = client.client.send(to, body)?;
        let sent = pending.id();
        let outcome = wait_within(pending, Duration::from_nanos(timeout_ns));
        let arrived = outcome.transpose()?.is_some();
        if let Some(id) = id {
            id.write(sent.into());
        }
        if let Some(delivered) = delivered {
            delivered.write(arrived);
        }
        Ok(())
    })
}

/// # Safety
/// `to` is a string or NULL, and the body is as long as is said.
unsafe fn read_message<'a>(
    to: *const c_char,
    body: *const u8,
    body_len: usize,
) -> Result<(Contact, &'a [u8]), Failure> {
    // SAFETY: as the caller promises.
    unsafe { Ok((parsed(to, "to")?, slice(body, body_len, "body")?)) }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an outcome on this thread, but not longer than this.
fn wait_within<T>(mut pending: Pending<T>, timeout: Duration) -> Option<Result<T, MixnetError>> {
    let clock = SystemClock::new();
    let end = clock.now() + timeout;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        let polled = Pin::new(&mut pending).poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(result) = polled {
            return Some(result);
        }
        let left = end.duration_since(clock.now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

/// Sends a message and returns at once. If this succeeds, `done` runs once, whatever becomes of the
/// message; if it fails, `done` does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client    the client
/// @param to        the receiver's contact, the text of a fog_contact
/// @param body      the message
/// @param body_len  its length
/// @param done      tells what became of it, maybe before this call returns; NULL if nobody wants
///                  to know
/// @param user_data passed to `done` as it is; must be usable from another thread until then
/// @param id        receives the message's identifier, or NULL
/// @return as of fog_mixnet_client_send(), but for FOG_STATUS_NOT_DELIVERED; FOG_STATUS_NODE if the
///         system gives no thread. Then nothing was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_send_async(
    client: *const fog_mixnet_client,
    to: *const c_char,
    body: *const u8,
    body_len: usize,
    done: fog_mixnet_sent,
    user_data: *mut c_void,
    id: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, as many bytes as it says, and NULL or
        // room for the struct.
        let (client, (to, body), id) = unsafe {
            (
                reference(client, "client")?,
                read_message(to, body, body_len)?,
                optional_result(id),
            )
        };
        if done.is_some() {
            client.start_completions()?;
        }
        let pending = client.client.send(to, body)?;
        if let Some(id) = id {
            id.write(pending.id().into());
        }
        let Some(done) = done else {
            return Ok(());
        };
        let user_data = UserData::new(user_data);
        let callback = Callback::new(move |result: Result<(), Failure>| {
            let (status, message) = told(&result);
            // SAFETY: the message outlives the call; the rest is as the caller promises.
            unsafe { done(user_data.into_pointer(), status, message.as_ptr()) };
        });
        client.completions.add(pending, callback);
        Ok(())
    })
}

fn told<T>(result: &Result<T, Failure>) -> (fog_status, CString) {
    match result {
        Ok(_) => (fog_status::Ok, c_string("")),
        Err(failure) => (failure.status, c_string(&failure.message)),
    }
}

impl fog_mixnet_client {
    /// Starts the thread of the callbacks, before anything is sent whose callback could then not
    /// run.
    fn start_completions(&self) -> Result<(), Failure> {
        // A forked child is refused before it waits for a lock, which a thread that only its parent
        // has may hold.
        self.client.contact()?;
        self.completions.start().map_err(|error| Failure {
            status: fog_status::Node,
            message: format!("thread: {error}"),
        })
    }

    fn tell_answer(&self, pending: Pending<Vec<u8>>, done: Answered, user_data: UserData) {
        let callback = Callback::new(move |result: Result<Vec<u8>, Failure>| {
            let (status, message) = told(&result);
            let answer = result.ok().map(fog_mixnet_answer);
            let answer = answer.as_ref().map_or(ptr::null(), ptr::from_ref);
            // SAFETY: the answer and the message outlive the call; the rest is as the caller
            // of the function that was given `done` promises.
            unsafe { done(user_data.into_pointer(), status, answer, message.as_ptr()) };
        });
        self.completions.add(pending, callback);
    }
}

/// Sends a message that asks for an answer, and waits for that.
///
/// The question is sent until it is acknowledged, the answer once: if a packet of it is lost, none
/// comes.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free(). Another
/// thread ends the waiting with fog_mixnet_client_close().
/// @param client           the client
/// @param to               the receiver's contact, the text of a fog_contact
/// @param body             the message
/// @param body_len         its length
/// @param answer_bytes_max longest answer there is room for, in bytes; rounded up to what whole
///                         packets carry
/// @param within_ns        how long to wait for the answer, in nanoseconds
/// @param out              receives the answer; free it with fog_mixnet_answer_free()
/// @return FOG_STATUS_NO_ANSWER; else as of fog_mixnet_client_send()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_request(
    client: *const fog_mixnet_client,
    to: *const c_char,
    body: *const u8,
    body_len: usize,
    answer_bytes_max: usize,
    within_ns: u64,
    out: *mut *mut fog_mixnet_answer,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, as many bytes as it says, and room for
        // a handle.
        let (client, (to, body), out) = unsafe {
            (
                reference(client, "client")?,
                read_message(to, body, body_len)?,
                result(out, "out")?,
            )
        };
        let within = Duration::from_nanos(within_ns);
        let pending = client.client.request(to, body, answer_bytes_max, within)?;
        give(out, fog_mixnet_answer(pending.wait()?));
        Ok(())
    })
}

/// Sends a message that asks for an answer and returns at once. If this succeeds, `done` runs once,
/// whatever becomes of the request; if it fails, `done` does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client           the client
/// @param to               the receiver's contact, the text of a fog_contact
/// @param body             the message
/// @param body_len         its length
/// @param answer_bytes_max longest answer there is room for, in bytes; rounded up to what whole
///                         packets carry
/// @param within_ns        how long to wait for the answer, in nanoseconds
/// @param done             tells what became of it, maybe before this call returns
/// @param user_data        passed to `done` as it is; must be usable from another thread until then
/// @return as of fog_mixnet_client_send_async()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_request_async(
    client: *const fog_mixnet_client,
    to: *const c_char,
    body: *const u8,
    body_len: usize,
    answer_bytes_max: usize,
    within_ns: u64,
    done: fog_mixnet_answered,
    user_data: *mut c_void,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and as many bytes as it says.
        let (client, (to, body)) = unsafe {
            (
                reference(client, "client")?,
                read_message(to, body, body_len)?,
            )
        };
        let done = done.ok_or_else(|| Failure::argument("done is NULL"))?;
        client.start_completions()?;
        let within = Duration::from_nanos(within_ns);
        let pending = client.client.request(to, body, answer_bytes_max, within)?;
        client.tell_answer(pending, done, UserData::new(user_data));
        Ok(())
    })
}

/// Puts different mixnodes for a route into an array: one of each layer in turn, at random.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client the client
/// @param hops   how many mixnodes
/// @param out    receives the mixnodes; has room for as many
/// @return FOG_STATUS_INVALID_ROUTE if the network has too few of them or a packet has no room for
///         so many; FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_choose_nodes(
    client: *const fog_mixnet_client,
    hops: usize,
    out: *mut fog_node_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let client = unsafe { reference(client, "client") }?;
        let nodes = client.client.choose_nodes(hops)?;
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| fog_node_id {
                text: chars(&node.to_string()),
            })
            .collect();
        // SAFETY: there are as many as the caller asked for, and as it has room for.
        unsafe { fill_items(&nodes, out, "out") }
    })
}

/// Sends a message, once and without asking for an acknowledgement, over these mixnodes in this
/// order.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client    the client
/// @param nodes     the mixnodes, such as fog_mixnet_client_choose_nodes() names
/// @param nodes_len how many
/// @param to        the receiver's contact, the text of a fog_contact
/// @param body      the message
/// @param body_len  its length
/// @param id        receives the message's identifier, or NULL
/// @return as of fog_mixnet_client_send(), but for FOG_STATUS_NOT_DELIVERED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_send_through(
    client: *const fog_mixnet_client,
    nodes: *const fog_node_id,
    nodes_len: usize,
    to: *const c_char,
    body: *const u8,
    body_len: usize,
    id: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many nodes and bytes as it says, a string,
        // and NULL or room for the struct.
        let (client, nodes, (to, body), id) = unsafe {
            (
                reference(client, "client")?,
                slice(nodes, nodes_len, "nodes")?,
                read_message(to, body, body_len)?,
                optional_result(id),
            )
        };
        let nodes = nodes
            .iter()
            .map(|node| parsed_chars(&node.text, "node"))
            .collect::<Result<Vec<_>, _>>()?;
        let sent = client.client.send_through(&nodes, to, body)?;
        if let Some(id) = id {
            id.write(sent.into());
        }
        Ok(())
    })
}

/// The next message that came in. Waits for it if there is none.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free(). Another
/// thread ends the waiting with fog_mixnet_client_close().
/// @param client     the client
/// @param timeout_ns how long to wait, in nanoseconds; 0 to take only what is there
/// @param out        receives the message, or NULL if none came in time; free it with
///                   fog_mixnet_message_free()
/// @return FOG_STATUS_CLOSED when there is none and none will come
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_receive(
    client: *const fog_mixnet_client,
    timeout_ns: u64,
    out: *mut *mut fog_mixnet_message,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (client, out) = unsafe { (reference(client, "client")?, result(out, "out")?) };
        let timeout = Duration::from_nanos(timeout_ns);
        match client.client.receive_within(timeout)? {
            Some(message) => give(out, fog_mixnet_message(message)),
            None => {
                out.write(ptr::null_mut());
            }
        }
        Ok(())
    })
}

/// Answers a message, once. The answer is sent once, without an acknowledgement.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client   the client that received the message
/// @param message  the message
/// @param body     the answer
/// @param body_len its length
/// @return FOG_STATUS_INVALID_REPLY_BLOCK if the message wants no answer, was answered before, or
///         came before the last epoch; FOG_STATUS_PAYLOAD_TOO_LARGE if the answer is longer than
///         was asked for: a shorter one can still be given; FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_reply(
    client: *const fog_mixnet_client,
    message: *const fog_mixnet_message,
    body: *const u8,
    body_len: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles and as many bytes as it says.
        let (client, message, body) = unsafe {
            (
                reference(client, "client")?,
                reference(message, "message")?,
                slice(body, body_len, "body")?,
            )
        };
        Ok(client.client.reply(&message.0.reply, body)?)
    })
}

/// Puts the identifiers of messages that came to the client before this one into an array: those
/// that were not answered, less what was taken since.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client   the client
/// @param out      receives the identifiers, for fog_mixnet_client_reply_blocks()
/// @param capacity identifiers there is room for; with 0, the call only tells how many
/// @param out_len  receives the number of identifiers, written or needed
/// @return FOG_STATUS_BUFFER_TOO_SMALL, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_restored_messages(
    client: *const fog_mixnet_client,
    out: *mut fog_id,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    // SAFETY: as the caller promises.
    unsafe { fill_restored(client, |restored| restored.messages, out, capacity, out_len) }
}

/// Puts the identifiers of requests that the client before this one made into an array: those that
/// were not answered, less what was taken since.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client   the client
/// @param out      receives the identifiers, for fog_mixnet_client_answer_to()
/// @param capacity identifiers there is room for; with 0, the call only tells how many
/// @param out_len  receives the number of identifiers, written or needed
/// @return FOG_STATUS_BUFFER_TOO_SMALL, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_restored_requests(
    client: *const fog_mixnet_client,
    out: *mut fog_id,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    // SAFETY: as the caller promises.
    unsafe { fill_restored(client, |restored| restored.requests, out, capacity, out_len) }
}

/// # Safety
/// The handle is live, and there is room for `capacity` identifiers and their number.
unsafe fn fill_restored(
    client: *const fog_mixnet_client,
    which: impl FnOnce(Restored) -> Vec<MessageId>,
    out: *mut fog_id,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let (client, out_len) =
            unsafe { (reference(client, "client")?, result(out_len, "out_len")?) };
        let ids: Vec<fog_id> = which(client.client.restored()?)
            .into_iter()
            .map(fog_id::from)
            .collect();
        check_room(ids.len(), capacity, out_len)?;
        // SAFETY: the caller gives room for as many, which was checked.
        unsafe { fill_items(&ids, out, "out") }?;
        out_len.write(ids.len());
        Ok(())
    })
}

/// What to answer a message with that came to the client before this one, once.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client  the client
/// @param message the message's identifier, the text of a fog_id
/// @param out     receives the reply blocks, or NULL if the message was answered, wants no answer,
///                or came before the last epoch; free them with fog_reply_blocks_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_reply_blocks(
    client: *const fog_mixnet_client,
    message: *const c_char,
    out: *mut *mut fog_reply_blocks,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (client, message, out) = unsafe {
            (
                reference(client, "client")?,
                read_id(message, "message")?,
                result(out, "out")?,
            )
        };
        match client.client.reply_blocks(message)? {
            Some(blocks) => give(out, fog_reply_blocks(blocks)),
            None => {
                out.write(ptr::null_mut());
            }
        }
        Ok(())
    })
}

/// Answers a message that came to the client before this one, once. The answer is sent once,
/// without an acknowledgement.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client   the client that gave the reply blocks
/// @param blocks   the reply blocks
/// @param body     the answer
/// @param body_len its length
/// @return as of fog_mixnet_client_reply()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_reply_with(
    client: *const fog_mixnet_client,
    blocks: *const fog_reply_blocks,
    body: *const u8,
    body_len: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles and as many bytes as it says.
        let (client, blocks, body) = unsafe {
            (
                reference(client, "client")?,
                reference(blocks, "blocks")?,
                slice(body, body_len, "body")?,
            )
        };
        Ok(client.client.reply(&blocks.0, body)?)
    })
}

/// Waits for the answer to a request that the client before this one made, once. It may be there
/// already.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free(). Another
/// thread ends the waiting with fog_mixnet_client_close().
/// @param client    the client
/// @param request   the request's identifier, the text of a fog_id
/// @param within_ns how long to wait for the answer, in nanoseconds
/// @param out       receives the answer; free it with fog_mixnet_answer_free()
/// @return FOG_STATUS_NO_ANSWER; FOG_STATUS_INVALID_ARGUMENT if there is no such request or its
///         answer was asked for before; FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_answer_to(
    client: *const fog_mixnet_client,
    request: *const c_char,
    within_ns: u64,
    out: *mut *mut fog_mixnet_answer,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (client, request, out) = unsafe {
            (
                reference(client, "client")?,
                read_id(request, "request")?,
                result(out, "out")?,
            )
        };
        let pending = client
            .client
            .answer_to(request, Duration::from_nanos(within_ns))?;
        give(out, fog_mixnet_answer(pending.wait()?));
        Ok(())
    })
}

/// Asks for the answer to a request that the client before this one made, once, and returns at
/// once. If this succeeds, `done` runs once, whatever becomes of the request; if it fails, `done`
/// does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client    the client
/// @param request   the request's identifier, the text of a fog_id
/// @param within_ns how long to wait for the answer, in nanoseconds
/// @param done      tells what became of it, maybe before this call returns
/// @param user_data passed to `done` as it is; must be usable from another thread until then
/// @return as of fog_mixnet_client_answer_to(), but for FOG_STATUS_NO_ANSWER; FOG_STATUS_NODE if
///         the system gives no thread
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_answer_to_async(
    client: *const fog_mixnet_client,
    request: *const c_char,
    within_ns: u64,
    done: fog_mixnet_answered,
    user_data: *mut c_void,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (client, request) =
            unsafe { (reference(client, "client")?, read_id(request, "request")?) };
        let done = done.ok_or_else(|| Failure::argument("done is NULL"))?;
        client.start_completions()?;
        let pending = client
            .client
            .answer_to(request, Duration::from_nanos(within_ns))?;
        client.tell_answer(pending, done, UserData::new(user_data));
        Ok(())
    })
}

/// Goes on with another topology of the network: nodes joined or left, or an epoch began. In
/// another epoch the client has another contact; for the old one it keeps receiving until the epoch
/// after.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client   the client
/// @param topology the network
/// @return FOG_STATUS_INVALID_TOPOLOGY if it is not valid now, its packets are of other sizes or
///         its nodes cannot be told apart; FOG_STATUS_CLOSED. Then the old one stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_set_topology(
    client: *const fog_mixnet_client,
    topology: *const fog_topology,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles.
        let (client, topology) = unsafe {
            (
                reference(client, "client")?,
                reference(topology, "topology")?,
            )
        };
        Ok(client.client.set_topology(topology.0.clone())?)
    })
}

/// Sends cover traffic as a device so powered should.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client the client
/// @param power  a value of fog_power_class
/// @return FOG_STATUS_INVALID_ARGUMENT for another number; FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_set_power(
    client: *const fog_mixnet_client,
    power: i32,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let client = unsafe { reference(client, "client") }?;
        let power = [
            (fog_power_class::Mains, PowerClass::Mains),
            (fog_power_class::Battery, PowerClass::Battery),
            (fog_power_class::LowBattery, PowerClass::LowBattery),
        ]
        .into_iter()
        .find_map(|(number, class)| (number as i32 == power).then_some(class))
        .ok_or_else(|| Failure::argument(format!("power {power} is no fog_power_class")))?;
        Ok(client.client.set_power(power)?)
    })
}

/// Puts what a client counted since its start into a struct.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client the client
/// @param out    receives the figures
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_stats(
    client: *const fog_mixnet_client,
    out: *mut fog_client_stats,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (client, out) = unsafe { (reference(client, "client")?, result(out, "out")?) };
        let MixnetClientStats {
            sent,
            delivered,
            given_up,
            received,
            answers,
            refused,
            cover,
            engine,
        } = client.client.stats()?;
        out.write(fog_client_stats {
            sent,
            delivered,
            given_up,
            received,
            answers,
            refused,
            cover: cover.into(),
            engine: engine.into(),
        });
        Ok(())
    })
}

/// Ends a client, and gives what one after it needs to go on (fog_mixnet_client_restore()), sealed
/// under a key; keep both.
///
/// In it are the identity, the mix keys, the reply blocks of messages that were not answered and
/// not freed, and the keys for answers that were asked for and did not come. A reply block is good
/// for five minutes, a stop included, and no longer than the epoch after its own. What was asked
/// for ends with FOG_STATUS_CLOSED; messages that came in can still be received here and are not in
/// it. The client is freed as any other.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client  the client
/// @param key     random bytes that nobody else knows
/// @param key_len FOG_KEY_BYTES
/// @param out     receives the state; free it with fog_mixnet_state_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_suspend(
    client: *const fog_mixnet_client,
    key: *const u8,
    key_len: usize,
    out: *mut *mut fog_mixnet_state,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, and room for a handle.
        let (client, key, out) = unsafe {
            (
                reference(client, "client")?,
                read_store_key(key, key_len)?,
                result(out, "out")?,
            )
        };
        give(out, fog_mixnet_state(client.client.suspend(&key)?));
        Ok(())
    })
}

/// Ends a client: what was asked for ends with FOG_STATUS_CLOSED, messages that came in can still
/// be received. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_client_free().
/// @param client the client
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_close(client: *const fog_mixnet_client) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(client, "client") }?.client.close();
        Ok(())
    })
}

/// Closes a client and frees it. Waits until all callbacks have run, unless it is called from one
/// of them.
///
/// Thread safety: no other call may use it.
/// @param client the client, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_client_free(client: *mut fog_mixnet_client) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(client) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute::NodeId;
    use fogcompute::mix::{EpochParity, PublicKey};

    #[test]
    fn usual_address_is_the_facades() {
        let listen = parse_address(LISTEN.to_str().unwrap(), "listen").unwrap();
        assert_eq!(listen, MixnetClientConfig::default().listen);
    }

    #[test]
    fn every_contact_fits_its_array() {
        let contact = Contact {
            node: NodeId::from_bytes([0xab; 32]),
            key: PublicKey::from_bytes([0xcd; 32]),
            epoch: EpochParity::Even,
        };
        let text = chars::<FOG_CONTACT_SIZE>(&contact.to_string());
        assert_eq!(parsed_chars::<Contact>(&text, "to").unwrap(), contact);
    }
}
