//! Sphinx packets.

use fogcompute::base::OsEntropy;
use fogcompute::{NodeId, NodeRef, Processed};
use pyo3::prelude::*;

use crate::convert::{Buffer, Bytes, Hex, Key, Number, Span};
use crate::error;
use crate::value::value;

/// One stop of a route: who it is, its mix key, and how long it holds the packet.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Hop {
    /// The node's id, 64 hexadecimal digits.
    /// The node's id, 64 hexadecimal digits.
    node: Hex<NodeId>,
    /// The node's public mix key, 32 bytes.
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
    /// The first 16 hexadecimal digits of the next node's id.
    next: Hex<NodeRef>,
    /// How long to hold the packet, to the microsecond.
    /// How long to hold the packet, to the microsecond.
    delay: Span,
    /// What to send, as long as the packet that came in.
    /// What to send, as long as the packet that came in.
    packet: Bytes,
    /// Names the packet at this hop: see it twice, drop it.
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
    /// The sender's message.
    payload: Bytes,
    /// Names the packet at this hop: see it twice, drop it.
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
    /// Which reply block, 16 bytes.
    surb: Bytes,
    /// Names the packet at this hop: see it twice, drop it.
    /// Names the packet at this hop: see it twice, drop it.
    replay_tag: Bytes,
}

value! {
    Reply { surb, replay_tag }

    #[new]
    fn new(surb: Bytes, replay_tag: Bytes) -> Self {
        Self { surb, replay_tag }
    }
}

/// What one layer said to do.
#[derive(IntoPyObject)]
pub(crate) enum Outcome {
    Forward(Forward),
    Deliver(Deliver),
    Reply(Reply),
}

/// Builds and processes the packets of a network, which all have one size.
///
/// Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536.
#[pyclass(frozen, module = "fogcompute")]
pub(crate) struct Sphinx(fogcompute::Sphinx);

value! {
    Sphinx { payload_bytes }

    #[new]
    #[pyo3(
        signature = (payload_bytes = Number(fogcompute::Sphinx::default().payload_bytes())),
        text_signature = "(payload_bytes=2048)"
    )]
    fn new(py: Python<'_>, payload_bytes: Number<usize>) -> PyResult<Self> {
        error::call(py, || fogcompute::Sphinx::new(payload_bytes.0)).map(Self)
    }

    /// Bytes of message one packet carries.
    #[getter]
    fn payload_bytes(&self) -> usize {
        self.0.payload_bytes()
    }

    /// Length of every packet.
    #[getter]
    fn packet_bytes(&self) -> usize {
        self.0.packet_bytes()
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// Raises `RouteError`, `PayloadTooLargeError`.
    fn build(&self, py: Python<'_>, route: Vec<Hop>, payload: Buffer) -> PyResult<Bytes> {
        let route: Vec<_> = route.into_iter().map(Into::into).collect();
        let packet = error::call(py, || self.0.build(&route, &payload))?;
        Ok(Bytes::new(py, &packet))
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: seeing a replay tag twice is for the caller to notice.
    ///
    /// Raises `PacketError`.
    fn process(&self, py: Python<'_>, key: &PrivateKey, packet: Buffer) -> PyResult<Outcome> {
        let unwrapped = error::call(py, || self.0.process(&key.0, &packet))?;
        let replay_tag = Bytes::new(py, unwrapped.replay_tag.as_bytes());
        Ok(match unwrapped.outcome {
            Processed::Forward { next, delay, packet } => Outcome::Forward(Forward {
                next: Hex(next),
                delay: Span(delay),
                packet: Bytes::new(py, packet.as_bytes()),
                replay_tag,
            }),
            Processed::Deliver { payload } => Outcome::Deliver(Deliver {
                payload: Bytes::new(py, &payload),
                replay_tag,
            }),
            Processed::Reply { surb, .. } => Outcome::Reply(Reply {
                surb: Bytes::new(py, surb.as_bytes()),
                replay_tag,
            }),
        })
    }
}
