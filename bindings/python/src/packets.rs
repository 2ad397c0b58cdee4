//! Sphinx packets.

use std::ops::Range;

use fogcompute::base::OsEntropy;
use fogcompute::{Error, NodeId, NodeRef, Opened, Processed, Step, Unwrapped};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyTuple};

use crate::convert::{Buffer, Bytes, Hex, Key, Number, Span};
use crate::error;
use crate::value::value;

/// One stop of a route: who it is, its mix key, and how long it holds the packet.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Hop {
    /// The node's id, 64 hexadecimal digits.
    node: Hex<NodeId>,
    /// The node's public mix key, 32 bytes.
    key: Key,
    /// How long the node holds the packet. The last one does not wait.
    /// How long the node holds the packet, by default not at all. The last one does not wait.
    delay: Span,
}

value! {
    Hop { node, key, delay }

    #[new]
    #[pyo3(signature = (node, key, delay = Span(std::time::Duration::ZERO)))]
    fn new(node: Hex<NodeId>, key: Key, delay: Span) -> Self {
        Self { node, key, delay }
    }
}

impl From<Hop> for fogcompute::Hop {
    fn from(hop: Hop) -> Self {
        Self::new(hop.node.0, hop.key.0, hop.delay.0)
    }
}

/// A private mix key. Its text does not show it.
#[pyclass(frozen, module = "fogcompute")]
pub(crate) struct PrivateKey(fogcompute::PrivateKey);

#[pymethods]
impl PrivateKey {
    /// A new key from the operating system's randomness.
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        error::call(py, || {
            Ok(Self(fogcompute::PrivateKey::random(&mut OsEntropy)))
        })
    }

    /// Takes a key from 32 secret bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: Buffer) -> PyResult<Self> {
        let bytes = data.array(py, "private key")?;
        Ok(Self(fogcompute::PrivateKey::from_bytes(bytes)))
    }

    /// The secret bytes.
    fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half, 32 bytes.
    #[getter]
    fn public_key(&self) -> [u8; 32] {
        *self.0.public().as_bytes()
    }

    fn __repr__(&self) -> &'static str {
        "PrivateKey(..)"
    }
}

/// Hold the packet for `delay`, then send it to `next`.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Forward {
    /// The first 16 hexadecimal digits of the next node's id.
    next: Hex<NodeRef>,
    /// How long to hold the packet, to the microsecond.
    delay: Span,
    /// What to send, as long as the packet that came in.
    packet: Bytes,
    /// Names the packet at this hop: see it twice, drop it.
    replay_tag: Bytes,
}

value! {
    Forward { next, delay, packet, replay_tag }

    #[new]
    fn new(next: Hex<NodeRef>, delay: Span, packet: Bytes, replay_tag: Bytes) -> Self {
        Self { next, delay, packet, replay_tag }
    }
}

/// The packet was for this node.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Deliver {
    /// The sender's message.
    payload: Bytes,
    /// Names the packet at this hop: see it twice, drop it.
    replay_tag: Bytes,
}

value! {
    Deliver { payload, replay_tag }

    #[new]
    fn new(payload: Bytes, replay_tag: Bytes) -> Self {
        Self { payload, replay_tag }
    }
}

/// The packet came back by a reply block that this node made.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Reply {
    /// Which reply block, 16 bytes.
    surb: Bytes,
    /// What `Sphinx.open_reply` opens with the block's key.
    sealed: Bytes,
    /// Names the packet at this hop: see it twice, drop it.
    replay_tag: Bytes,
}

value! {
    Reply { surb, sealed, replay_tag }

    #[new]
    fn new(surb: Bytes, sealed: Bytes, replay_tag: Bytes) -> Self {
        Self { surb, sealed, replay_tag }
    }
}

/// What one layer said to do.
#[derive(IntoPyObject)]
pub(crate) enum Outcome {
    Forward(Forward),
    Deliver(Deliver),
    Reply(Reply),
}

fn outcome(py: Python<'_>, unwrapped: Unwrapped) -> Outcome {
    let replay_tag = Bytes::new(py, unwrapped.replay_tag.as_bytes());
    match unwrapped.outcome {
        Processed::Forward {
            next,
            delay,
            packet,
        } => Outcome::Forward(Forward {
            next: Hex(next),
            delay: Span(delay),
            packet: Bytes::new(py, packet.as_bytes()),
            replay_tag,
        }),
        Processed::Deliver { payload } => Outcome::Deliver(Deliver {
            payload: Bytes::new(py, &payload),
            replay_tag,
        }),
        Processed::Reply { surb, reply } => Outcome::Reply(Reply {
            surb: Bytes::new(py, surb.as_bytes()),
            sealed: Bytes::new(py, reply.as_bytes()),
            replay_tag,
        }),
    }
}

/// Packets of a batch with one layer taken off.
///
/// A sequence of outcomes, and of errors in the place of packets that were refused.
#[pyclass(frozen, sequence, module = "fogcompute")]
pub(crate) struct Batch {
    /// The buffer that everything was done in.
    data: Py<PyBytes>,
    results: Vec<Result<Opened, Error>>,
}

/// One packet of a batch.
#[derive(IntoPyObject)]
pub(crate) enum Item<'py> {
    Outcome(Outcome),
    Error(Bound<'py, PyAny>),
}

#[pymethods]
impl Batch {
    /// What is left of all packets, one after the other, each as long as it was.
    ///
    /// The packets to be sent on are there without having been copied.
    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        self.data.clone_ref(py)
    }

    fn __len__(&self) -> usize {
        self.results.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let items: Vec<_> = (0..self.results.len())
            .map(|index| self.__getitem__(py, index as isize))
            .collect::<PyResult<_>>()?;
        PyTuple::new(py, items)?.try_iter()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Item<'py>> {
        let at = match usize::try_from(index) {
            Ok(at) => at,
            Err(_) => self.results.len().wrapping_add_signed(index),
        };
        let result = self
            .results
            .get(at)
            .ok_or_else(|| PyIndexError::new_err("batch index out of range"))?;
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => {
                let exception = error::of_error(py, error).into_value(py);
                return Ok(Item::Error(exception.into_bound(py).into_any()));
            }
        };
        let bytes = |range: &Range<usize>| Bytes::new(py, &self.data.as_bytes(py)[range.clone()]);
        let replay_tag = Bytes::new(py, opened.replay_tag.as_bytes());
        Ok(Item::Outcome(match &opened.step {
            Step::Forward {
                next,
                delay,
                packet,
            } => Outcome::Forward(Forward {
                next: Hex(*next),
                delay: Span(*delay),
                packet: bytes(packet),
                replay_tag,
            }),
            Step::Deliver { payload } => Outcome::Deliver(Deliver {
                payload: bytes(payload),
                replay_tag,
            }),
            Step::Reply { surb, sealed } => Outcome::Reply(Reply {
                surb: Bytes::new(py, surb.as_bytes()),
                sealed: bytes(sealed),
                replay_tag,
            }),
        }))
    }

    fn __repr__(&self) -> String {
        format!("<fogcompute.Batch of {}>", self.results.len())
    }
}

/// Copies the packets into a buffer of Python's, once, and processes them there.
fn process_batch(
    py: Python<'_>,
    packets: &[u8],
    process: impl FnOnce(&mut [u8]) -> Result<Vec<Result<Opened, Error>>, Error> + Send,
) -> PyResult<Batch> {
    let mut results = Vec::new();
    let data = PyBytes::new_with(py, packets.len(), |buffer| {
        results = error::call(py, || {
            buffer.copy_from_slice(packets);
            process(buffer)
        })?;
        Ok(())
    })?;
    Ok(Batch {
        data: data.unbind(),
        results,
    })
}

/// What opens the one reply that comes by a reply block.
#[pyclass(frozen, module = "fogcompute")]
pub(crate) struct ReplyKey(fogcompute::ReplyKey);

#[pymethods]
impl ReplyKey {
    /// The reply block's id, 16 bytes: `Reply.surb` of what comes by it.
    #[getter]
    fn surb(&self) -> [u8; 16] {
        *self.0.id().as_bytes()
    }

    fn __repr__(&self) -> &'static str {
        "ReplyKey(..)"
    }
}

/// Builds and processes the packets of a network, which all have one size.
///
/// Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536, over routes of
/// up to `hops_max` hops, 1 to 7.
///
/// With 1,024 bytes and 5 hops a packet fits one UDP datagram.
#[pyclass(frozen, module = "fogcompute")]
pub(crate) struct Sphinx(fogcompute::Sphinx);

value! {
    Sphinx { payload_bytes, hops_max }

    #[new]
    #[pyo3(
        signature = (
            payload_bytes = Number(fogcompute::Sphinx::default().payload_bytes()),
            hops_max = Number(fogcompute::Sphinx::default().hops_max()),
        ),
        text_signature = "(payload_bytes=2048, hops_max=7)"
    )]
    fn new(py: Python<'_>, payload_bytes: Number<usize>, hops_max: Number<usize>) -> PyResult<Self> {
        let sphinx = || fogcompute::Sphinx::with_hops(hops_max.0, payload_bytes.0);
        error::call(py, sphinx).map(Self)
    }

    /// Bytes of message one packet carries.
    #[getter]
    fn payload_bytes(&self) -> usize {
        self.0.payload_bytes()
    }

    /// Most hops of a route.
    #[getter]
    fn hops_max(&self) -> usize {
        self.0.hops_max()
    }

    /// Length of every packet.
    #[getter]
    fn packet_bytes(&self) -> usize {
        self.0.packet_bytes()
    }

    /// Length of every reply block.
    #[getter]
    fn surb_bytes(&self) -> usize {
        self.0.surb_bytes()
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// Raises `RouteError`, `PayloadTooLargeError`.
    fn build(&self, py: Python<'_>, route: Vec<Hop>, payload: Buffer) -> PyResult<Bytes> {
        let route: Vec<_> = route.into_iter().map(Into::into).collect();
        let packet = error::call(py, || self.0.build(&route, &payload))?;
        Ok(Bytes::new(py, &packet))
    }

    /// Builds many packets, each of a route and a payload, one after the other.
    ///
    /// That is faster than one by one. Raises what `build` does, for the first that is refused;
    /// then none is built.
    fn build_batch(&self, py: Python<'_>, packets: Vec<(Vec<Hop>, Buffer)>) -> PyResult<Bytes> {
        let routes: Vec<(Vec<fogcompute::Hop>, Buffer)> = packets
            .into_iter()
            .map(|(route, payload)| (route.into_iter().map(Into::into).collect(), payload))
            .collect();
        let orders: Vec<(&[fogcompute::Hop], &[u8])> = routes
            .iter()
            .map(|(route, payload)| (route.as_slice(), &**payload))
            .collect();
        let built = error::call(py, || self.0.build_batch(&orders))?;
        Ok(Bytes::new(py, &built))
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: seeing a replay tag twice is for the caller to notice, or for a
    /// `fogcompute.mix.SphinxProcessor`.
    ///
    /// Raises `PacketError`.
    fn process(&self, py: Python<'_>, key: &PrivateKey, packet: Buffer) -> PyResult<Outcome> {
        let unwrapped = error::call(py, || self.0.process(&key.0, &packet))?;
        Ok(outcome(py, unwrapped))
    }

    /// Takes one layer off each of the packets that stand one after the other in `packets`.
    ///
    /// That is faster than one by one. Raises `PacketError` if they are not whole packets. A packet
    /// that is refused has its error in the place of an outcome.
    fn process_batch(&self, py: Python<'_>, key: &PrivateKey, packets: Buffer) -> PyResult<Batch> {
        process_batch(py, &packets, |buffer| self.0.process_batch(&key.0, buffer))
    }

    /// Makes a single-use reply block whose route ends here, and the key that opens the reply.
    ///
    /// The block goes to whoever is to reply, the key stays. Raises `RouteError`.
    fn make_surb(&self, py: Python<'_>, route: Vec<Hop>) -> PyResult<(Bytes, ReplyKey)> {
        let route: Vec<_> = route.into_iter().map(Into::into).collect();
        let (surb, key) = error::call(py, || self.0.make_surb(&route))?;
        Ok((Bytes::new(py, &surb), ReplyKey(key)))
    }

    /// The first node of a reply block's way back, and the packet to send there.
    ///
    /// A block works once: a second packet by it is dropped there. Raises `ReplyBlockError`,
    /// `PayloadTooLargeError`.
    fn reply(
        &self,
        py: Python<'_>,
        surb: Buffer,
        payload: Buffer,
    ) -> PyResult<(Hex<NodeRef>, Bytes)> {
        let (next, packet) = error::call(py, || self.0.reply(&surb, &payload))?;
        Ok((Hex(next), Bytes::new(py, &packet)))
    }

    /// Opens what came by a reply block that was made here: `Reply.sealed`.
    ///
    /// Raises `ReplyBlockError`.
    fn open_reply(&self, py: Python<'_>, key: &ReplyKey, sealed: Buffer) -> PyResult<Bytes> {
        let payload = error::call(py, || self.0.open_reply(&key.0, &sealed))?;
        Ok(Bytes::new(py, &payload))
    }
}

/// What a `SphinxProcessor` counted since it was made.
#[pyclass(frozen, get_all, module = "fogcompute.mix")]
pub(crate) struct ProcessorStats {
    /// Packets that came in.
    received: u64,
    /// Of those, to be sent on.
    forwarded: u64,
    /// Of those, messages for this node.
    delivered: u64,
    /// Of those, replies for this node.
    replies: u64,
    /// Of those, refused: wrong length, version, tag, key or payload.
    malformed: u64,
    /// Of those, refused: processed before.
    replayed: u64,
    /// Of those, refused: no more packets can be remembered.
    overloaded: u64,
}

value! {
    ProcessorStats { received, forwarded, delivered, replies, malformed, replayed, overloaded }

    #[new]
    fn new(
        received: Number<u64>,
        forwarded: Number<u64>,
        delivered: Number<u64>,
        replies: Number<u64>,
        malformed: Number<u64>,
        replayed: Number<u64>,
        overloaded: Number<u64>,
    ) -> Self {
        Self {
            received: received.0,
            forwarded: forwarded.0,
            delivered: delivered.0,
            replies: replies.0,
            malformed: malformed.0,
            replayed: replayed.0,
            overloaded: overloaded.0,
        }
    }
}

/// Processes the packets of one mix key and remembers them, so that none is processed twice.
///
/// Threads can share it. It is a mixnode's cryptography without its delays and links.
///
/// A processor with a key that was not used before; without one it makes its own.
///
/// It remembers `packets_max` packets, 5 bytes each.
#[pyclass(frozen, module = "fogcompute.mix")]
pub(crate) struct SphinxProcessor(fogcompute::SphinxProcessor);

#[pymethods]
impl SphinxProcessor {
    #[new]
    #[pyo3(
        signature = (key = None, *, sphinx = None, packets_max = Number(1_000_000)),
        text_signature = "(key=None, *, sphinx=None, packets_max=1000000)"
    )]
    fn new(
        py: Python<'_>,
        key: Option<&PrivateKey>,
        sphinx: Option<&Sphinx>,
        packets_max: Number<usize>,
    ) -> PyResult<Self> {
        let sphinx = sphinx.map_or_else(fogcompute::Sphinx::default, |sphinx| sphinx.0);
        error::call(py, || {
            let key = key.map_or_else(
                || fogcompute::PrivateKey::random(&mut OsEntropy),
                |key| key.0.clone(),
            );
            fogcompute::SphinxProcessor::new(sphinx, key, packets_max.0).map(Self)
        })
    }

    /// The packets' sizes.
    #[getter]
    fn sphinx(&self) -> Sphinx {
        Sphinx(self.0.sphinx())
    }

    /// The public half of its key, 32 bytes.
    #[getter]
    fn public_key(&self) -> [u8; 32] {
        *self.0.public_key().as_bytes()
    }

    /// Takes one layer off a packet that was not processed before.
    ///
    /// Raises `PacketError`, `ReplayedError`, and `MixnetBusyError` when no more packets can be
    /// remembered: then it takes a new key.
    fn process(&self, py: Python<'_>, packet: Buffer) -> PyResult<Outcome> {
        let unwrapped = error::call(py, || self.0.process(&packet))?;
        Ok(outcome(py, unwrapped))
    }

    /// Takes one layer off each of the packets that stand one after the other in `packets`.
    ///
    /// Raises `PacketError` if they are not whole packets. A packet that is refused has its error
    /// in the place of an outcome.
    fn process_batch(&self, py: Python<'_>, packets: Buffer) -> PyResult<Batch> {
        process_batch(py, &packets, |buffer| self.0.process_batch(buffer))
    }

    /// What it counted since it was made.
    fn stats(&self) -> ProcessorStats {
        let stats = self.0.stats();
        ProcessorStats {
            received: stats.received,
            forwarded: stats.forwarded,
            delivered: stats.delivered,
            replies: stats.replies,
            malformed: stats.malformed,
            replayed: stats.replayed,
            overloaded: stats.overloaded,
        }
    }

    fn __repr__(&self) -> String {
        format!("<fogcompute.mix.SphinxProcessor {:?}>", self.0.public_key())
    }
}
