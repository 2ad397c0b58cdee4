//! A mixnet: its topology, nodes and clients.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::UnixMillis;
use fogcompute::mix::EpochParity;
use fogcompute::{
    Contact, CoverConfig, Error, MessageId, MixnetClientConfig, MixnetNodeConfig, NodeId, Pending,
    PowerClass, StoreKey, TopologyFile, TopologyOptions,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::asyncio::Nothing;
use crate::convert::{Buffer, Bytes, Hex, Key, Number, Span, Tuple};
use crate::handle::Handle;
use crate::value::value;
use crate::{asyncio, error};

/// How long an answer is waited for, unless the caller says otherwise.
const ANSWER: Duration = Duration::from_secs(60);

/// Something that is given as text.
fn parse<T: FromStr>(py: Python<'_>, text: &str, what: &str) -> PyResult<T> {
    text.parse()
        .map_err(|_| error::argument(py, format!("{text:?} is no {what}")))
}

fn address(py: Python<'_>, text: &str) -> PyResult<SocketAddr> {
    parse(
        py,
        text,
        "address of the form \"127.0.0.1:4000\" or \"[::1]:4000\"",
    )
}

fn secret(py: Python<'_>, bytes: Option<Buffer>, what: &str) -> PyResult<Option<[u8; 32]>> {
    bytes.map(|bytes| bytes.array(py, what)).transpose()
}

fn contact(py: Python<'_>, text: &str) -> PyResult<Contact> {
    text.parse()
        .map_err(|error| error::of_error(py, &Error::Contact(error)))
}

/// What others must know of a mixnode.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.mix")]
#[derive(Clone)]
pub(crate) struct Descriptor {
    /// Its id, 64 hexadecimal digits.
    node: Hex<NodeId>,
    /// Its public mix key, 32 bytes.
    key: Key,
    /// Number of the epoch its key is of.
    epoch: u64,
    /// Where it accepts links, as in "127.0.0.1:4000".
    address: String,
}

value! {
    Descriptor { node, key, epoch, address }

    #[new]
    fn new(
        py: Python<'_>,
        node: Hex<NodeId>,
        key: Key,
        epoch: Number<u64>,
        address: String,
    ) -> PyResult<Self> {
        self::address(py, &address)?;
        Ok(Self { node, key, epoch: epoch.0, address })
    }
}

impl Descriptor {
    fn of(descriptor: &fogcompute::Descriptor, epoch: u64) -> Self {
        Self {
            node: Hex(descriptor.node),
            key: Key(descriptor.key),
            epoch,
            address: descriptor.address.to_string(),
        }
    }

    fn descriptor(&self, py: Python<'_>) -> PyResult<fogcompute::Descriptor> {
        Ok(fogcompute::Descriptor {
            node: self.node.0,
            key: self.key.0,
            epoch: EpochParity::of(self.epoch),
            address: address(py, &self.address)?,
        })
    }
}

/// The mixnodes of a network in layers, and what all of them agree on.
///
/// A network of these nodes, entry layer first.
///
/// Times of validity are in milliseconds since 1970; without them it is always valid. A node holds
/// a packet for `delay_mean` in the mean. Raises `TopologyError`, `ArgumentError`.
#[pyclass(frozen, module = "fogcompute.mix")]
pub(crate) struct Topology(Arc<TopologyFile>);

#[pymethods]
impl Topology {
    #[new]
    #[pyo3(signature = (
        layers,
        *,
        epoch = Number(TopologyOptions::default().epoch),
        valid_from_ms = Number(TopologyOptions::default().valid_from.0),
        valid_until_ms = Number(TopologyOptions::default().valid_until.0),
        hops_max = Number(TopologyOptions::default().hops_max),
        payload_bytes = Number(TopologyOptions::default().payload_bytes),
        delay_mean = Span(TopologyOptions::default().delay_mean),
    ), text_signature = "(layers, *, epoch=0, valid_from_ms=0, \
        valid_until_ms=9223372036854775807, hops_max=7, payload_bytes=2048, delay_mean=...)")]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        py: Python<'_>,
        layers: Vec<Vec<Descriptor>>,
        epoch: Number<u64>,
        valid_from_ms: Number<u64>,
        valid_until_ms: Number<u64>,
        hops_max: Number<usize>,
        payload_bytes: Number<usize>,
        delay_mean: Span,
    ) -> PyResult<Self> {
        let layers = layers
            .iter()
            .map(|nodes| nodes.iter().map(|node| node.descriptor(py)).collect())
            .collect::<PyResult<Vec<_>>>()?;
        let options = TopologyOptions {
            epoch: epoch.0,
            valid_from: UnixMillis(valid_from_ms.0),
            valid_until: UnixMillis(valid_until_ms.0),
            hops_max: hops_max.0,
            payload_bytes: payload_bytes.0,
            delay_mean: delay_mean.0,
        };
        let file = error::call(py, || fogcompute::topology(layers, &options))?;
        Ok(Self(Arc::new(file)))
    }

    /// Reads a topology file that the authority of this public key has signed and that is valid
    /// now.
    ///
    /// Raises `TopologyError`.
    #[staticmethod]
    fn verify(py: Python<'_>, text: &str, authority: Buffer) -> PyResult<Self> {
        let authority = authority.array(py, "authority")?;
        let file = error::call(py, || fogcompute::verify_topology(text, &authority))?;
        Ok(Self(Arc::new(file)))
    }

    /// The topology as the text of a file, signed with an authority's 32 secret bytes.
    fn sign(&self, py: Python<'_>, secret: Buffer) -> PyResult<String> {
        let secret = secret.array(py, "secret")?;
        error::call(py, || Ok(self.0.sign(&secret)?))
    }

    /// The public key to an authority's secret bytes.
    #[staticmethod]
    fn authority_of(py: Python<'_>, secret: Buffer) -> PyResult<[u8; 32]> {
        Ok(TopologyFile::authority_of(&secret.array(py, "secret")?))
    }

    /// The nodes, entry layer first.
    #[getter]
    fn layers(&self) -> Tuple<Tuple<Descriptor>> {
        let layers = self.0.topology.layers().iter();
        let layer = |nodes: &Vec<fogcompute::Descriptor>| {
            let nodes = nodes.iter();
            Tuple(
                nodes
                    .map(|node| Descriptor::of(node, self.0.epoch))
                    .collect(),
            )
        };
        Tuple(layers.map(layer).collect())
    }

    /// Number of the key epoch.
    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Most hops of a route, the receiver included.
    #[getter]
    fn hops_max(&self) -> usize {
        self.0.geometry.hops_max()
    }

    /// Bytes of message one packet carries.
    #[getter]
    fn payload_bytes(&self) -> usize {
        self.0.geometry.payload_bytes()
    }

    /// How long a mixnode holds a packet in the mean.
    #[getter]
    fn delay_mean(&self) -> Span {
        Span(self.0.topology.delay_mean())
    }

    fn __repr__(&self) -> String {
        let layers = self.0.topology.layers();
        format!(
            "<fogcompute.mix.Topology of {} nodes in {} layers>",
            layers.iter().map(Vec::len).sum::<usize>(),
            layers.len()
        )
    }
}

macro_rules! stats {
    ($(#[$doc:meta])* $class:ident { $($(#[$what:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[pyclass(frozen, get_all, module = "fogcompute.mix")]
        pub(crate) struct $class {
            $($(#[$what])* $field: u64,)*
        }

        value! {
            $class { $($field),* }

            #[new]
            #[expect(clippy::too_many_arguments, reason = "one for each counter")]
            fn new($($field: Number<u64>),*) -> Self {
                Self { $($field: $field.0,)* }
            }
        }
    };
}

stats! {
    /// What a mixnode counted since its start.
    MixnetNodeStats {
        /// Packets that came in.
        received,
        /// Packets that were sent on.
        forwarded,
        /// Packets that ended here: cover, and what opens links.
        delivered,
        /// Dropped: wrong length, version, epoch, tag, key or payload.
        malformed,
        /// Dropped: processed before.
        replayed,
        /// Dropped: a limit was reached.
        overloaded,
        /// Dropped: their delay was over long ago.
        late,
        /// Dropped: they ask for what this node does not do.
        refused,
        /// Datagrams that came in.
        datagrams,
        /// Cover of links that came in.
        cover,
        /// Packets put on links.
        sent,
        /// Datagrams of handshakes, and cover of links, sent.
        links_sent,
        /// Datagrams dropped before a packet was seen: forged, replayed, over their rate.
        link_refused,
        /// Packets dropped: no link to their next hop.
        unreachable,
        /// Dropped: the system did not send them.
        unsent,
        /// Dropped: still held when the node ended.
        undrained,
    }
}

impl From<fogcompute::EngineStats> for MixnetNodeStats {
    fn from(stats: fogcompute::EngineStats) -> Self {
        Self {
            received: stats.mix.received,
            forwarded: stats.mix.forwarded,
            delivered: stats.mix.delivered,
            malformed: stats.mix.malformed,
            replayed: stats.mix.replayed,
            overloaded: stats.mix.overloaded,
            late: stats.mix.late,
            refused: stats.mix.refused,
            datagrams: stats.datagrams,
            cover: stats.cover,
            sent: stats.sent,
            links_sent: stats.links_sent,
            link_refused: stats.link_refused(),
            unreachable: stats.unknown_peer + stats.unreachable,
            unsent: stats.unsent,
            undrained: stats.undrained,
        }
    }
}

/// A mixnode that runs on threads of this process, over UDP.
///
/// It relays as soon as it knows the network: make the nodes, put their descriptors into a
/// `Topology`, and give that to each of them.
///
/// Starts a mixnode that knows no other yet.
///
/// Port 0 is any that is free; `address` is where others reach it, if that is not where it listens;
/// `identity` are 32 secret bytes. Its mix key is always new. Raises `ListenError`,
/// `ArgumentError`.
#[pyclass(frozen, weakref, module = "fogcompute.mix")]
pub(crate) struct MixnetNode {
    node: Handle<fogcompute::MixnetNode>,
    descriptor: Descriptor,
}

#[pymethods]
impl MixnetNode {
    #[new]
    #[pyo3(signature = (
        listen = "127.0.0.1:0",
        *,
        address = None,
        identity = None,
        epoch = Number(MixnetNodeConfig::default().epoch),
        hops_max = Number(MixnetNodeConfig::default().geometry.hops_max()),
        payload_bytes = Number(MixnetNodeConfig::default().geometry.payload_bytes()),
        workers = Number(MixnetNodeConfig::default().workers),
        replay_tags_max = Number(MixnetNodeConfig::default().replay_tags_max),
    ), text_signature = "(listen=\"127.0.0.1:0\", *, address=None, identity=None, epoch=0, \
        hops_max=7, payload_bytes=2048, workers=1, replay_tags_max=4000000)")]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        py: Python<'_>,
        listen: &str,
        address: Option<&str>,
        identity: Option<Buffer>,
        epoch: Number<u64>,
        hops_max: Number<usize>,
        payload_bytes: Number<usize>,
        workers: Number<usize>,
        replay_tags_max: Number<usize>,
    ) -> PyResult<Self> {
        let listen = self::address(py, listen)?;
        let address = address
            .map(|address| self::address(py, address))
            .transpose()?;
        let identity = secret(py, identity, "identity")?;
        let node = error::call(py, || {
            let config = MixnetNodeConfig {
                listen,
                address,
                identity,
                epoch: epoch.0,
                geometry: fogcompute::mix::Geometry::new(hops_max.0, payload_bytes.0)?,
                workers: workers.0,
                replay_tags_max: replay_tags_max.0,
            };
            Ok(fogcompute::MixnetNode::start(config)?)
        })?;
        Ok(Self {
            descriptor: Descriptor::of(&node.descriptor(), epoch.0),
            node: Handle::new("mixnode", node),
        })
    }

    /// What others must know of it.
    #[getter]
    fn descriptor(&self) -> Descriptor {
        self.descriptor.clone()
    }

    /// Tells it of the other nodes.
    ///
    /// Raises `TopologyError`, `ClosedError`.
    fn set_topology(&self, py: Python<'_>, topology: &Topology) -> PyResult<()> {
        let node = self.node.get(py)?;
        error::call(py, || Ok(node.set_topology(&topology.0)?))
    }

    /// What it counted since its start.
    fn stats(&self, py: Python<'_>) -> PyResult<MixnetNodeStats> {
        let node = self.node.get(py)?;
        error::call(py, || Ok(node.stats()?.into()))
    }

    /// Takes no further packets, sends what it holds when that is due, and ends.
    ///
    /// It ends after `within` at the latest. Waits for it on this thread. Returns what it counted.
    fn drain(&self, py: Python<'_>, within: Span) -> PyResult<MixnetNodeStats> {
        let node = self.node.get(py)?;
        error::call(py, || Ok(node.drain(within.0)?.into()))
    }

    /// Ends it at once; what it holds is lost. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let node = self.node.take();
        error::catch(py, || {
            if let Some(node) = node {
                node.close();
            }
        })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        format!(
            "<fogcompute.mix.MixnetNode {} at {}>",
            self.descriptor.node.0, self.descriptor.address
        )
    }
}

/// A message that came in.
#[pyclass(frozen, module = "fogcompute.mix")]
pub(crate) struct Message {
    message: fogcompute::MixnetMessage,
    length: usize,
    body: Bytes,
}

#[pymethods]
impl Message {
    /// The sender's id of the message, 16 bytes.
    #[getter]
    fn id(&self) -> [u8; 16] {
        *self.message.id.as_bytes()
    }

    /// The message.
    #[getter]
    fn body(&self) -> &Bytes {
        &self.body
    }

    /// Packets an answer may have; 0 if none is wanted.
    #[getter]
    fn reply_blocks(&self) -> usize {
        self.message.reply.count()
    }

    fn __repr__(&self) -> String {
        format!(
            "<fogcompute.mix.Message: {} bytes, reply blocks: {}>",
            self.length,
            self.message.reply.count()
        )
    }
}

impl Message {
    fn new(py: Python<'_>, mut message: fogcompute::MixnetMessage) -> Self {
        let body = std::mem::take(&mut message.body);
        Self {
            length: body.len(),
            body: Bytes::new(py, &body),
            message,
        }
    }
}

/// What to answer a message with that came to a client before.
#[pyclass(frozen, module = "fogcompute.mix")]
pub(crate) struct ReplyBlocks(fogcompute::ReplyBlocks);

#[pymethods]
impl ReplyBlocks {
    /// How many there are: packets an answer may have.
    #[getter]
    fn count(&self) -> usize {
        self.0.count()
    }

    fn __repr__(&self) -> String {
        format!("<fogcompute.mix.ReplyBlocks: {}>", self.0.count())
    }
}

/// What a client that was restored can go on with: ids of 16 bytes.
#[pyclass(frozen, get_all, module = "fogcompute.mix")]
pub(crate) struct Restored {
    /// Messages that came before and were not answered: `MixnetClient.reply_blocks`.
    messages: Tuple<Id>,
    /// Requests that were made before and not answered: `MixnetClient.answer_to`.
    requests: Tuple<Id>,
}

value! {
    Restored { messages, requests }

    #[new]
    fn new(messages: Tuple<Id>, requests: Tuple<Id>) -> Self {
        Self { messages, requests }
    }
}

/// The id of a message.
#[derive(Clone, Copy)]
struct Id(MessageId);

impl FromPyObject<'_, '_> for Id {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let bytes: Buffer = object.extract()?;
        let id = bytes.array(object.py(), "id")?;
        Ok(Self(MessageId::from_bytes(id)))
    }
}

impl<'py> IntoPyObject<'py> for Id {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, self.0.as_bytes()))
    }
}

fn ids(ids: Vec<MessageId>) -> Tuple<Id> {
    Tuple(ids.into_iter().map(Id).collect())
}

fn store_key(py: Python<'_>, key: &Buffer) -> PyResult<StoreKey> {
    Ok(StoreKey::from_bytes(key.array(py, "key")?))
}

stats! {
    /// What a mixnet client counted since its start.
    MixnetClientStats {
        /// Messages and requests that were handed in.
        sent,
        /// Of those, known to have arrived whole.
        delivered,
        /// Of those, given up.
        given_up,
        /// Messages that came in whole.
        received,
        /// Answers that came in whole.
        answers,
        /// Packets that came in and were refused.
        refused,
        /// Loops of cover traffic sent.
        loops_sent,
        /// Loops that came back in time.
        loops_returned,
        /// Loops that did not.
        loops_lost,
        /// Drops of cover traffic sent.
        drops_sent,
    }
}

/// How a device is powered, as text.
fn power(py: Python<'_>, text: &str) -> PyResult<PowerClass> {
    match text {
        "mains" => Ok(PowerClass::Mains),
        "battery" => Ok(PowerClass::Battery),
        "low_battery" => Ok(PowerClass::LowBattery),
        other => Err(error::argument(
            py,
            format!("power is {other:?}, must be mains, battery or low_battery"),
        )),
    }
}

/// An answer, until there is an interpreter to make Python's of it.
struct Answer(Vec<u8>);

impl<'py> IntoPyObject<'py> for Answer {
    type Target = PyBytes;
    type Output = Bound<'py, Self::Target>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

async fn delivered(pending: Pending<()>) -> Result<Nothing, Error> {
    pending.await?;
    Ok(Nothing)
}

async fn answer(pending: Pending<Vec<u8>>) -> Result<Answer, Error> {
    Ok(Answer(pending.await?))
}

/// Sends and receives messages through a mixnet, over UDP.
///
/// Messages are cut into packets, each over a route of its own, sent until they are acknowledged,
/// and put together by their receiver. A client is the last hop itself and keeps links to all nodes
/// of the last layer.
///
/// `async for message in client` receives until the client is closed.
///
/// Starts a client of a network.
///
/// `loops` and `drops` are the mean times between packets of cover traffic, `None` for none;
/// `identity` are 32 secret bytes. When `inbox_messages_max` messages wait to be received, further
/// ones are not acknowledged, so that they come again. Raises `ListenError`, `TopologyError`,
/// `ArgumentError`.
#[pyclass(frozen, weakref, module = "fogcompute.mix")]
pub(crate) struct MixnetClient(Handle<fogcompute::MixnetClient>);

impl MixnetClient {
    fn pending<T: Send>(
        &self,
        py: Python<'_>,
        to: &str,
        ask: impl FnOnce(&fogcompute::MixnetClient, Contact) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let client = self.0.get(py)?;
        let to = contact(py, to)?;
        error::call(py, || ask(&client, to))
    }

    fn kept(&self, py: Python<'_>, request: Id, within: Span) -> PyResult<Pending<Vec<u8>>> {
        let client = self.0.get(py)?;
        error::call(py, || Ok(client.answer_to(request.0, within.0)?))
    }
}

/// The keywords by which a client is made.
fn config(
    py: Python<'_>,
    listen: &str,
    identity: Option<Buffer>,
    loops: Option<Span>,
    drops: Option<Span>,
    inbox_messages_max: Number<usize>,
) -> PyResult<MixnetClientConfig> {
    Ok(MixnetClientConfig {
        listen: address(py, listen)?,
        identity: secret(py, identity, "identity")?,
        cover: CoverConfig {
            loops: loops.map(|span| span.0),
            drops: drops.map(|span| span.0),
        },
        inbox_messages_max: inbox_messages_max.0,
    })
}

#[pymethods]
impl MixnetClient {
    #[new]
    #[pyo3(signature = (
        topology,
        listen = "0.0.0.0:0",
        *,
        identity = None,
        loops = MixnetClientConfig::default().cover.loops.map(Span),
        drops = MixnetClientConfig::default().cover.drops.map(Span),
        inbox_messages_max = Number(MixnetClientConfig::default().inbox_messages_max),
    ), text_signature = "(topology, listen=\"0.0.0.0:0\", *, identity=None, loops=..., drops=..., \
        inbox_messages_max=1024)")]
    fn new(
        py: Python<'_>,
        topology: &Topology,
        listen: &str,
        identity: Option<Buffer>,
        loops: Option<Span>,
        drops: Option<Span>,
        inbox_messages_max: Number<usize>,
    ) -> PyResult<Self> {
        let config = config(py, listen, identity, loops, drops, inbox_messages_max)?;
        let file = TopologyFile::clone(&topology.0);
        let client = error::call(py, || Ok(fogcompute::MixnetClient::start(file, config)?))?;
        Ok(Self(Handle::new("mixnet client", client)))
    }

    /// Starts a client that goes on where another one was suspended, under the same `key`.
    ///
    /// It has the identity, the mix keys and the reply blocks of that client, and in its epoch the
    /// same contact. The other arguments are those of `MixnetClient`; `identity` can be left out.
    ///
    /// Open each state once: of two clients from one state, the mixnodes drop the second use of a
    /// reply block as a replay. Raises `StorageCorruptError` if the state does not open with this
    /// key, was changed or is of a network with other packets, `ArgumentError` if `identity` is
    /// another, and what `MixnetClient` does.
    #[staticmethod]
    #[pyo3(signature = (
        topology,
        state,
        key,
        listen = "0.0.0.0:0",
        *,
        identity = None,
        loops = MixnetClientConfig::default().cover.loops.map(Span),
        drops = MixnetClientConfig::default().cover.drops.map(Span),
        inbox_messages_max = Number(MixnetClientConfig::default().inbox_messages_max),
    ), text_signature = "(topology, state, key, listen=\"0.0.0.0:0\", *, identity=None, \
        loops=..., drops=..., inbox_messages_max=1024)")]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn restore(
        py: Python<'_>,
        topology: &Topology,
        state: Buffer,
        key: Buffer,
        listen: &str,
        identity: Option<Buffer>,
        loops: Option<Span>,
        drops: Option<Span>,
        inbox_messages_max: Number<usize>,
    ) -> PyResult<Self> {
        let key = store_key(py, &key)?;
        let config = config(py, listen, identity, loops, drops, inbox_messages_max)?;
        let file = TopologyFile::clone(&topology.0);
        let client = error::call(py, || {
            Ok(fogcompute::MixnetClient::restore(
                file, config, &state, &key,
            )?)
        })?;
        Ok(Self(Handle::new("mixnet client", client)))
    }

    /// What others need to send it messages: its node, its key and the key's epoch.
    #[getter]
    fn contact(&self, py: Python<'_>) -> PyResult<String> {
        let client = self.0.get(py)?;
        error::call(py, || Ok(client.contact()?.to_string()))
    }

    /// Sends a message; await its acknowledgement by the receiver.
    ///
    /// It is sent to its end even if nobody awaits that any more. Raises `PayloadTooLargeError`,
    /// `RouteError`, `MixnetBusyError`, `NotDeliveredError`, `ClosedError`.
    fn send<'py>(&self, py: Python<'py>, to: &str, body: Buffer) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let pending = self.pending(py, to, |client, to| Ok(client.send(to, &body)?))?;
        asyncio::awaitable(&event_loop, delivered(pending))
    }

    /// Sends a message and waits for its acknowledgement on this thread.
    fn send_blocking(&self, py: Python<'_>, to: &str, body: Buffer) -> PyResult<()> {
        let pending = self.pending(py, to, |client, to| Ok(client.send(to, &body)?))?;
        asyncio::wait(py, delivered(pending)).map(|Nothing| ())
    }

    /// Sends a message that asks for an answer of at most `answer_bytes_max` bytes; await that.
    ///
    /// The limit is rounded up to what whole packets carry.
    /// Whoever answers does not learn who asked. Raises what `send` does, and `NoAnswerError` after
    /// `within`, a minute unless said otherwise.
    #[pyo3(
        signature = (to, body, *, answer_bytes_max = Number(2048), within = Span(ANSWER)),
        text_signature = "($self, to, body, *, answer_bytes_max=2048, within=...)"
    )]
    fn request<'py>(
        &self,
        py: Python<'py>,
        to: &str,
        body: Buffer,
        answer_bytes_max: Number<usize>,
        within: Span,
    ) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let pending = self.pending(py, to, |client, to| {
            Ok(client.request(to, &body, answer_bytes_max.0, within.0)?)
        })?;
        asyncio::awaitable(&event_loop, answer(pending))
    }

    /// Sends a message that asks for an answer, and waits for that on this thread.
    #[pyo3(
        signature = (to, body, *, answer_bytes_max = Number(2048), within = Span(ANSWER)),
        text_signature = "($self, to, body, *, answer_bytes_max=2048, within=...)"
    )]
    fn request_blocking<'py>(
        &self,
        py: Python<'py>,
        to: &str,
        body: Buffer,
        answer_bytes_max: Number<usize>,
        within: Span,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let pending = self.pending(py, to, |client, to| {
            Ok(client.request(to, &body, answer_bytes_max.0, within.0)?)
        })?;
        let Answer(answer) = asyncio::wait(py, answer(pending))?;
        Ok(PyBytes::new(py, &answer))
    }

    /// Sends a message once, without an acknowledgement, over these mixnodes in this order.
    ///
    /// Returns its id. Raises `RouteError`, `PayloadTooLargeError`, `ClosedError`.
    fn send_through(
        &self,
        py: Python<'_>,
        nodes: Vec<Hex<NodeId>>,
        to: &str,
        body: Buffer,
    ) -> PyResult<[u8; 16]> {
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.0).collect();
        let id: MessageId = self.pending(py, to, |client, to| {
            Ok(client.send_through(&nodes, to, &body)?)
        })?;
        Ok(*id.as_bytes())
    }

    /// So many different mixnodes for a route of its own choice, one of each layer in turn.
    ///
    /// Raises `RouteError`.
    fn choose_nodes(&self, py: Python<'_>, hops: Number<usize>) -> PyResult<Tuple<Hex<NodeId>>> {
        let client = self.0.get(py)?;
        let nodes = error::call(py, || Ok(client.choose_nodes(hops.0)?))?;
        Ok(Tuple(nodes.into_iter().map(Hex).collect()))
    }

    /// Answers a message, once.
    ///
    /// Raises `ReplyBlockError` if no answer is wanted or one was given, `PayloadTooLargeError` if
    /// it is longer than was asked for; then a shorter one can still be given.
    fn reply(&self, py: Python<'_>, message: &Message, body: Buffer) -> PyResult<()> {
        let client = self.0.get(py)?;
        error::call(py, || Ok(client.reply(&message.message.reply, &body)?))
    }

    /// What the client before this one left to go on with, less what was taken since.
    ///
    /// Raises `ClosedError`.
    fn restored(&self, py: Python<'_>) -> PyResult<Restored> {
        let client = self.0.get(py)?;
        let restored = error::call(py, || Ok(client.restored()?))?;
        Ok(Restored {
            messages: ids(restored.messages),
            requests: ids(restored.requests),
        })
    }

    /// What to answer a message with that came to the client before this one, once.
    ///
    /// `message` is its id. `None` if it was answered, wants no answer, or came before the last
    /// epoch. Raises `ClosedError`.
    fn reply_blocks(&self, py: Python<'_>, message: Id) -> PyResult<Option<ReplyBlocks>> {
        let client = self.0.get(py)?;
        let blocks = error::call(py, || Ok(client.reply_blocks(message.0)?))?;
        Ok(blocks.map(ReplyBlocks))
    }

    /// Answers a message that came to the client before this one, once.
    ///
    /// Raises what `reply` does.
    fn reply_with(&self, py: Python<'_>, blocks: &ReplyBlocks, body: Buffer) -> PyResult<()> {
        let client = self.0.get(py)?;
        error::call(py, || Ok(client.reply(&blocks.0, &body)?))
    }

    /// Await the answer to a request of the client before this one, once. It may be there already.
    ///
    /// `request` is its id. Raises `ArgumentError` if there is no such request or its answer was
    /// asked for before, `ClosedError`, and `NoAnswerError` after `within`, a minute unless said
    /// otherwise.
    #[pyo3(
        signature = (request, *, within = Span(ANSWER)),
        text_signature = "($self, request, *, within=...)"
    )]
    fn answer_to<'py>(
        &self,
        py: Python<'py>,
        request: Id,
        within: Span,
    ) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let pending = self.kept(py, request, within)?;
        asyncio::awaitable(&event_loop, answer(pending))
    }

    /// Waits on this thread for the answer to a request of the client before this one.
    #[pyo3(
        signature = (request, *, within = Span(ANSWER)),
        text_signature = "($self, request, *, within=...)"
    )]
    fn answer_to_blocking<'py>(
        &self,
        py: Python<'py>,
        request: Id,
        within: Span,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let pending = self.kept(py, request, within)?;
        let Answer(answer) = asyncio::wait(py, answer(pending))?;
        Ok(PyBytes::new(py, &answer))
    }

    /// The next message, if one is there.
    fn try_receive(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        let client = self.0.get(py)?;
        let message = error::call(py, || Ok(client.try_receive()?))?;
        Ok(message.map(|message| Message::new(py, message)))
    }

    /// Await the next message. None is lost if that is cancelled.
    ///
    /// Raises `ClosedError`.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::receive(slf.as_any())
    }

    /// The next message. Waits for it on this thread, and returns `None` after `within`.
    #[pyo3(signature = (within = None))]
    fn receive_blocking(&self, py: Python<'_>, within: Option<Span>) -> PyResult<Option<Message>> {
        let client = self.0.get(py)?;
        let message =
            asyncio::receive_blocking(py, within, |step| Ok(client.receive_within(step)?))?;
        Ok(message.map(|message| Message::new(py, message)))
    }

    fn _readable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::readable(py, self.0.get(py)?.readable())
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::receive_next(slf.as_any())
    }

    /// Goes on with another topology of the network. In another epoch the client has another
    /// contact.
    ///
    /// Raises `TopologyError`, `ClosedError`; then the old one stays.
    fn set_topology(&self, py: Python<'_>, topology: &Topology) -> PyResult<()> {
        let client = self.0.get(py)?;
        let file = TopologyFile::clone(&topology.0);
        error::call(py, || Ok(client.set_topology(file)?))
    }

    /// Sends cover traffic as a device so powered should: "mains", "battery" or "low_battery".
    fn set_power(&self, py: Python<'_>, power: &str) -> PyResult<()> {
        let power = self::power(py, power)?;
        let client = self.0.get(py)?;
        error::call(py, || Ok(client.set_power(power)?))
    }

    /// What it counted since its start.
    fn stats(&self, py: Python<'_>) -> PyResult<MixnetClientStats> {
        let client = self.0.get(py)?;
        let stats = error::call(py, || Ok(client.stats()?))?;
        Ok(MixnetClientStats {
            sent: stats.sent,
            delivered: stats.delivered,
            given_up: stats.given_up,
            received: stats.received,
            answers: stats.answers,
            refused: stats.refused,
            loops_sent: stats.cover.loops_sent,
            loops_returned: stats.cover.loops_returned,
            loops_lost: stats.cover.loops_lost,
            drops_sent: stats.cover.drops_sent,
        })
    }

    /// Ends the client, and returns what one after it needs to go on, sealed under 32 random bytes.
    ///
    /// Keep both for `MixnetClient.restore`. In the state are the identity, the mix keys, the reply
    /// blocks of messages that were not answered and are still held, and the keys for answers that
    /// did not come. A reply block is good for five minutes, a stop included, and no longer than
    /// the epoch after its own. What is awaited ends with `ClosedError`; messages that came in can
    /// still be received here and are not in the state. Raises `ClosedError`.
    fn suspend<'py>(&self, py: Python<'py>, key: Buffer) -> PyResult<Bound<'py, PyBytes>> {
        let key = store_key(py, &key)?;
        let client = self.0.get(py)?;
        let state = error::call(py, || Ok(client.suspend(&key)?))?;
        Ok(PyBytes::new(py, &state))
    }

    /// Ends the client; what is awaited ends with `ClosedError`.
    ///
    /// Messages that came in before can still be received, then receiving ends with `ClosedError`.
    /// Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let client = self.0.here();
        error::catch(py, || close(client.as_deref()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        asyncio::enter(py, slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        _exception: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        asyncio::exit(py, || self.0.here(), |client| close(client.as_deref()))
    }
}

fn close(client: Option<&fogcompute::MixnetClient>) {
    if let Some(client) = client {
        client.close();
    }
}
