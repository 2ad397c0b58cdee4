//! A client of the mixnet in this process.

use std::sync::Arc;
use std::time::Duration;

use fogcompute::node::MixnetError;
use fogcompute::{CoverConfig, MessageId, Pending, PowerClass, StoreKey, TransferId};

use crate::FogError;
use crate::error::guarded;
use crate::packets::{hex, key_bytes};
use crate::topology::{Topology, parse_address};
use crate::waiting::Waiting;

/// How a device is powered.
#[uniffi::remote(Enum)]
pub enum PowerClass {
    /// From the mains, or charging.
    Mains,
    /// From a battery with charge to spare.
    Battery,
    /// From a battery that is low.
    LowBattery,
}

/// Mean times between packets of cover traffic, each kind a Poisson process of its own.
///
/// Loops come back to their sender, who learns how many were lost on the way; drops end at a random
/// node of the last layer. Cover hides whether somebody sends.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Cover {
    /// Mean time between loops in milliseconds; without a number, none are sent.
    #[uniffi(default = None)]
    pub loops_ms: Option<u64>,
    /// Mean time between drops in milliseconds; without a number, none are sent.
    #[uniffi(default = None)]
    pub drops_ms: Option<u64>,
}

/// How a mixnet client is made. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct MixnetClientConfig {
    /// The UDP address it sends from, of which port 0 is any that is free; without one,
    /// `0.0.0.0:0`.
    #[uniffi(default = None)]
    pub listen: Option<String>,
    /// The secret key of its identity, 32 bytes; without one, a new one.
    #[uniffi(default = None)]
    pub identity: Option<Vec<u8>>,
    /// Cover traffic on the mains; left out, a loop and a drop every five seconds in the mean. Less
    /// hides less, more costs more, about 50 MB a day as it is.
    #[uniffi(default = None)]
    pub cover: Option<Cover>,
    /// Messages that wait to be received; without a number, 1,024. When reached, further ones are
    /// not acknowledged, so that their senders send them again.
    #[uniffi(default = None)]
    pub inbox_messages_max: Option<u32>,
}

impl MixnetClientConfig {
    fn parse(&self) -> Result<fogcompute::MixnetClientConfig, FogError> {
        let mut config = fogcompute::MixnetClientConfig::default();
        if let Some(listen) = &self.listen {
            config.listen = parse_address(listen)?;
        }
        if let Some(identity) = &self.identity {
            config.identity = Some(key_bytes(identity)?);
        }
        if let Some(cover) = &self.cover {
            config.cover = CoverConfig {
                loops: cover.loops_ms.map(Duration::from_millis),
                drops: cover.drops_ms.map(Duration::from_millis),
            };
        }
        if let Some(messages) = self.inbox_messages_max {
            config.inbox_messages_max = messages as usize;
        }
        Ok(config)
    }
}

/// What a mixnet client counted since its start.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MixnetClientStats {
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
    /// Loops of cover sent.
    pub loops_sent: u64,
    /// Loops that came back in time.
    pub loops_returned: u64,
    /// Loops that did not come back in time.
    pub loops_lost: u64,
    /// Drops of cover sent.
    pub drops_sent: u64,
}

impl From<fogcompute::MixnetClientStats> for MixnetClientStats {
    fn from(stats: fogcompute::MixnetClientStats) -> Self {
        Self {
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
        }
    }
}

/// A message that came in. Who sent it is not known, nor does an answer tell.
#[derive(uniffi::Object)]
pub struct MixnetMessage(fogcompute::MixnetMessage);

#[uniffi::export]
impl MixnetMessage {
    /// The sender's id of the message, 32 hexadecimal digits.
    pub fn id(&self) -> String {
        hex(self.0.id.as_bytes())
    }

    /// The message.
    pub fn body(&self) -> Vec<u8> {
        self.0.body.clone()
    }

    /// How many reply blocks came with it: packets an answer may have. 0 if none is wanted.
    pub fn reply_blocks(&self) -> u32 {
        self.0.reply.count() as u32
    }
}

/// What to answer a message with that came to a client before.
#[derive(uniffi::Object)]
pub struct ReplyBlocks(fogcompute::ReplyBlocks);

#[uniffi::export]
impl ReplyBlocks {
    /// How many there are: packets an answer may have.
    pub fn count(&self) -> u32 {
        self.0.count() as u32
    }
}

/// What a client that was restored can go on with: ids of 32 hexadecimal digits.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct Restored {
    /// Messages that came before and were not answered: [`MixnetClient::reply_blocks`].
    pub messages: Vec<String>,
    /// Requests that were made before and not answered: [`MixnetClient::start_answer_to`].
    pub requests: Vec<String>,
}

impl From<fogcompute::Restored> for Restored {
    fn from(restored: fogcompute::Restored) -> Self {
        let digits = |ids: &[MessageId]| ids.iter().map(|id| hex(id.as_bytes())).collect();
        Self {
            messages: digits(&restored.messages),
            requests: digits(&restored.requests),
        }
    }
}

/// All ids of 16 bytes are written alike, and only some kinds of them read their text.
fn message_id(text: &str) -> Result<MessageId, FogError> {
    let id: TransferId = text.parse()?;
    Ok(MessageId::from_bytes(*id.as_bytes()))
}

fn store_key(key: &[u8]) -> Result<StoreKey, FogError> {
    Ok(StoreKey::from_bytes(key_bytes(key)?))
}

/// A message on its way: wait for its acknowledgement, or do not. It is sent to its end whether or
/// not anybody waits.
#[derive(uniffi::Object)]
pub struct PendingDelivery {
    id: String,
    delivered: Waiting<()>,
}

#[uniffi::export]
impl PendingDelivery {
    /// The message's id, 32 hexadecimal digits.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Waits until the receiver has acknowledged all of the message. It can be waited for once.
    ///
    /// # Errors
    /// [`FogError::NotDelivered`], [`FogError::Cancelled`], and [`FogError::Closed`] if the client
    /// was closed or this was waited for before.
    pub async fn wait(&self) -> Result<(), FogError> {
        self.delivered.wait().await
    }

    /// Ends the wait with [`FogError::Cancelled`]. The message is sent to its end.
    pub fn cancel(&self) {
        self.delivered.give_up();
    }
}

/// A question whose answer is not there yet. Releasing it forgets its reply blocks: an answer that
/// still comes is dropped.
#[derive(uniffi::Object)]
pub struct PendingAnswer {
    id: String,
    answer: Waiting<Vec<u8>>,
}

impl PendingAnswer {
    fn of(pending: Pending<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self {
            id: hex(pending.id().as_bytes()),
            answer: Waiting::new(async move { Ok(pending.await?) }),
        })
    }
}

#[uniffi::export]
impl PendingAnswer {
    /// The question's id, 32 hexadecimal digits.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Waits for the answer. It can be taken once. A wait that is given up cancels the question.
    ///
    /// # Errors
    /// [`FogError::NoAnswer`], [`FogError::NotDelivered`], [`FogError::Cancelled`], and
    /// [`FogError::Closed`] if the client was closed or the answer was taken before.
    pub async fn wait(&self) -> Result<Vec<u8>, FogError> {
        self.answer.wait().await
    }

    /// Sends the question no more and drops its answer; the wait ends with
    /// [`FogError::Cancelled`].
    pub fn cancel(&self) {
        self.answer.give_up();
    }
}

/// A wait for messages or events that takes none of them.
#[derive(uniffi::Object)]
pub struct Readiness(pub(crate) Waiting<()>);

impl Readiness {
    /// Whoever waits does not keep `of` open: its release ends the wait, with that error.
    pub(crate) fn of<T: Send + Sync + 'static>(
        of: &Arc<T>,
        readable: impl Future<Output = ()> + Send + 'static,
        released: impl FnOnce() -> FogError + Send + 'static,
    ) -> Arc<Self> {
        let of = Arc::downgrade(of);
        Arc::new(Self(Waiting::new(async move {
            readable.await;
            if of.strong_count() > 0 {
                return Ok(());
            }
            Err(released())
        })))
    }
}

#[uniffi::export]
impl Readiness {
    /// Ends when there is something to receive, or when nothing will come. It can be waited for once.
    ///
    /// # Errors
    /// [`FogError::Closed`] if what is received from was released, [`FogError::Cancelled`].
    pub async fn wait(&self) -> Result<(), FogError> {
        self.0.wait().await
    }

    /// Ends the wait with [`FogError::Cancelled`].
    pub fn cancel(&self) {
        self.0.give_up();
    }
}

/// Sends and receives messages through a mixnet, over UDP.
///
/// Messages are cut into packets, each over a route of its own, sent until they are acknowledged,
/// and put together by their receiver. A request carries single-use reply blocks, so that whoever
/// answers does not learn who asked. Others reach this client by its contact.
///
/// There is no gateway yet: the client is the last hop itself. It keeps links to all nodes of the
/// last layer, so those nodes can tell which of their links is a client's.
#[derive(uniffi::Object)]
pub struct MixnetClient(fogcompute::MixnetClient);

#[uniffi::export]
impl MixnetClient {
    /// Starts a client of a network.
    ///
    /// # Errors
    /// [`FogError::InvalidTopology`] if the topology is not valid now, [`FogError::Listen`],
    /// [`FogError::Node`], and [`FogError::InvalidArgument`] for a configuration that makes no
    /// sense.
    #[uniffi::constructor(default(config = None))]
    pub fn new(
        topology: &Topology,
        config: Option<MixnetClientConfig>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let config = config.unwrap_or_default().parse()?;
            let client = fogcompute::MixnetClient::start(topology.file().clone(), config)?;
            Ok(Arc::new(Self(client)))
        })
    }

    /// Starts a client that goes on where another one was suspended: with its identity, its mix
    /// keys and what was seen under them, the reply blocks it held and those it gave out. In the
    /// epoch of that client it has the same contact; in the one after it still receives what is
    /// sent to the old one; later, only the identity is the same.
    ///
    /// Open each state once: of two clients from one state, the mixnodes drop the second use of a
    /// reply block as a replay.
    ///
    /// # Errors
    /// Those of [`MixnetClient::new`]; [`FogError::StorageCorrupt`] if the state does not open with
    /// this key, was changed or is of a network with other packets; [`FogError::InvalidArgument`]
    /// if the configuration says another identity.
    #[uniffi::constructor(default(config = None))]
    pub fn restore(
        topology: &Topology,
        state: Vec<u8>,
        key: Vec<u8>,
        config: Option<MixnetClientConfig>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let (config, key) = (config.unwrap_or_default().parse()?, store_key(&key)?);
            let file = topology.file().clone();
            let client = fogcompute::MixnetClient::restore(file, config, &state, &key)?;
            Ok(Arc::new(Self(client)))
        })
    }

    /// Who this client is on its links, 64 hexadecimal digits.
    pub fn node(&self) -> String {
        self.0.node().to_string()
    }

    /// What others need to send it messages, as text: its node, its key and the key's epoch. It is
    /// new with each epoch, and with each start that does not restore the client.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn contact(&self) -> Result<String, FogError> {
        guarded(|| Ok(self.0.contact()?.to_string()))
    }

    /// Sends a message; its acknowledgement can be waited for.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a contact that is none, [`FogError::InvalidTopology`] if
    /// the network's topology has expired, [`FogError::PayloadTooLarge`],
    /// [`FogError::InvalidRoute`], [`FogError::MixnetBusy`], [`FogError::Closed`]. Then nothing was
    /// sent.
    pub fn start_send(&self, to: &str, body: Vec<u8>) -> Result<Arc<PendingDelivery>, FogError> {
        guarded(|| {
            let pending = self.0.send(to.parse()?, &body)?;
            Ok(Arc::new(PendingDelivery {
                id: hex(pending.id().as_bytes()),
                delivered: Waiting::new(async move { Ok(pending.await?) }),
            }))
        })
    }

    /// Sends a message that asks for an answer of at most `answer_bytes_max` bytes, within
    /// `within_ms` milliseconds; it can be waited for.
    ///
    /// The limit is rounded up to what whole packets carry. The question is sent until it is
    /// acknowledged, the answer once: if a packet of it is lost, none comes.
    ///
    /// # Errors
    /// As [`MixnetClient::start_send`].
    #[uniffi::method(default(answer_bytes_max = 2048, within_ms = 60000))]
    pub fn start_request(
        &self,
        to: &str,
        body: Vec<u8>,
        answer_bytes_max: u32,
        within_ms: u64,
    ) -> Result<Arc<PendingAnswer>, FogError> {
        guarded(|| {
            let within = Duration::from_millis(within_ms);
            let pending = self
                .0
                .request(to.parse()?, &body, answer_bytes_max as usize, within)?;
            Ok(PendingAnswer::of(pending))
        })
    }

    /// Sends a message, once and without asking for an acknowledgement, over these mixnodes in this
    /// order. Returns its id, 32 hexadecimal digits.
    ///
    /// # Errors
    /// As [`MixnetClient::start_send`].
    pub fn send_through(
        &self,
        nodes: Vec<String>,
        to: &str,
        body: Vec<u8>,
    ) -> Result<String, FogError> {
        guarded(|| {
            let nodes: Vec<_> = nodes
                .iter()
                .map(|node| node.parse())
                .collect::<Result<_, _>>()?;
            let id = self.0.send_through(&nodes, to.parse()?, &body)?;
            Ok(hex(id.as_bytes()))
        })
    }

    /// So many different mixnodes for a route of its own choice, one of each layer in turn.
    ///
    /// # Errors
    /// [`FogError::InvalidRoute`], [`FogError::Closed`].
    pub fn choose_nodes(&self, hops: u32) -> Result<Vec<String>, FogError> {
        guarded(|| {
            let nodes = self.0.choose_nodes(hops as usize)?;
            Ok(nodes.iter().map(ToString::to_string).collect())
        })
    }

    /// Answers a message, once.
    ///
    /// # Errors
    /// [`FogError::InvalidReplyBlock`] if no answer is wanted, one was given or its reply blocks
    /// have expired, [`FogError::PayloadTooLarge`] if it is longer than was asked for: a shorter
    /// one can still be given. [`FogError::Closed`].
    pub fn reply(&self, message: &MixnetMessage, body: Vec<u8>) -> Result<(), FogError> {
        guarded(|| Ok(self.0.reply(&message.0.reply, &body)?))
    }

    /// What the client before this one left to go on with, less what was taken since.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn restored(&self) -> Result<Restored, FogError> {
        guarded(|| Ok(self.0.restored()?.into()))
    }

    /// What to answer a message with that came to the client before this one, once. Nothing if it
    /// was answered, wants no answer, or came before the last epoch.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for an id that is none, [`FogError::Closed`].
    pub fn reply_blocks(&self, message: &str) -> Result<Option<Arc<ReplyBlocks>>, FogError> {
        guarded(|| {
            let blocks = self.0.reply_blocks(message_id(message)?)?;
            Ok(blocks.map(|blocks| Arc::new(ReplyBlocks(blocks))))
        })
    }

    /// Answers a message that came to the client before this one, once.
    ///
    /// # Errors
    /// As [`MixnetClient::reply`].
    pub fn reply_with(&self, blocks: &ReplyBlocks, body: Vec<u8>) -> Result<(), FogError> {
        guarded(|| Ok(self.0.reply(&blocks.0, &body)?))
    }

    /// The answer to a request that the client before this one made, once, within `within_ms`
    /// milliseconds; it can be waited for. It may be there already.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] if there is no such request or its answer was asked for
    /// before, [`FogError::Closed`].
    #[uniffi::method(default(within_ms = 60000))]
    pub fn start_answer_to(
        &self,
        request: &str,
        within_ms: u64,
    ) -> Result<Arc<PendingAnswer>, FogError> {
        guarded(|| {
            let within = Duration::from_millis(within_ms);
            let pending = self.0.answer_to(message_id(request)?, within)?;
            Ok(PendingAnswer::of(pending))
        })
    }

    /// The next message, if one is there.
    ///
    /// # Errors
    /// [`FogError::Closed`] when there is none and none will come.
    pub fn try_receive(&self) -> Result<Option<Arc<MixnetMessage>>, FogError> {
        guarded(|| {
            let message = self.0.try_receive()?;
            Ok(message.map(|message| Arc::new(MixnetMessage(message))))
        })
    }

    /// A wait for the next message, which [`MixnetClient::try_receive`] then takes. In two calls,
    /// for else a message could be lost with a wait that is given up.
    pub fn readable(self: Arc<Self>) -> Arc<Readiness> {
        let what = "mixnet client";
        Readiness::of(&self, self.0.readable(), move || {
            MixnetError::Closed { what }.into()
        })
    }

    /// Goes on with another topology of the network: nodes joined or left, or an epoch began. In
    /// another epoch the client has another contact; for the old one it keeps receiving until the
    /// epoch after.
    ///
    /// # Errors
    /// [`FogError::InvalidTopology`], then the old one stays; [`FogError::Closed`].
    pub fn set_topology(&self, topology: &Topology) -> Result<(), FogError> {
        guarded(|| Ok(self.0.set_topology(topology.file().clone())?))
    }

    /// Sends cover traffic as a device so powered should.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn set_power(&self, power: PowerClass) -> Result<(), FogError> {
        guarded(|| Ok(self.0.set_power(power)?))
    }

    /// What it counted since its start.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn stats(&self) -> Result<MixnetClientStats, FogError> {
        guarded(|| Ok(self.0.stats()?.into()))
    }

    /// Ends the client, and returns what one after it needs to go on ([`MixnetClient::restore`]),
    /// sealed under `key`, 32 random bytes; keep both.
    ///
    /// In it are the identity, the mix keys, the reply blocks of messages that were not answered
    /// and not released, and the keys for answers that were asked for and did not come. A reply
    /// block is good for five minutes, a stop included, and no longer than the epoch after its own.
    /// What is waited for ends with [`FogError::Closed`]; messages that came in can still be
    /// received here and are not in it.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a key of another length, [`FogError::Closed`].
    pub fn suspend(&self, key: Vec<u8>) -> Result<Vec<u8>, FogError> {
        guarded(|| Ok(self.0.suspend(&store_key(&key)?)?))
    }

    /// Ends the client: what is waited for ends with [`FogError::Closed`], messages that came in
    /// can still be received. Closing again does nothing. Releasing the last reference closes it
    /// too.
    pub fn close(&self) {
        // Every failure of closing is a thread that has ended already.
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    use super::*;
    use crate::mixnode::MixnetNode;
    use crate::topology::TopologyOptions;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            thread::park();
        }
    }

    fn receive(client: &Arc<MixnetClient>) -> Result<Arc<MixnetMessage>, FogError> {
        loop {
            if let Some(message) = client.try_receive()? {
                return Ok(message);
            }
            wait(Arc::clone(client).readable().wait())?;
        }
    }

    struct Network {
        topology: Arc<Topology>,
        _nodes: Vec<Arc<MixnetNode>>,
    }

    impl Network {
        fn start() -> Self {
            let nodes: Vec<_> = (0..3).map(|_| MixnetNode::new(None).unwrap()).collect();
            let layers = nodes.iter().map(|node| vec![node.descriptor()]).collect();
            let options = TopologyOptions {
                delay_mean_ms: Some(1),
                ..TopologyOptions::default()
            };
            let topology = Topology::new(layers, Some(options)).unwrap();
            for node in &nodes {
                node.set_topology(&topology).unwrap();
            }
            Self {
                topology,
                _nodes: nodes,
            }
        }

        fn quiet() -> MixnetClientConfig {
            MixnetClientConfig {
                cover: Some(Cover {
                    loops_ms: None,
                    drops_ms: None,
                }),
                ..MixnetClientConfig::default()
            }
        }

        fn client(&self) -> Arc<MixnetClient> {
            MixnetClient::new(&self.topology, Some(Self::quiet())).unwrap()
        }
    }

    #[test]
    fn a_message_and_a_request_cross_the_network() {
        let network = Network::start();
        let (alice, bob) = (network.client(), network.client());
        let to = bob.contact().unwrap();
        let sent = alice.start_send(&to, b"hello".to_vec()).unwrap();
        let message = receive(&bob).unwrap();
        assert_eq!(
            (message.id(), message.body()),
            (sent.id(), b"hello".to_vec())
        );
        assert_eq!(message.reply_blocks(), 0);
        let refused = bob.reply(&message, vec![]);
        assert!(matches!(refused, Err(FogError::InvalidReplyBlock { .. })));
        wait(sent.wait()).unwrap();

        let asked = alice
            .start_request(&to, b"who?".to_vec(), 100, 60_000)
            .unwrap();
        let question = receive(&bob).unwrap();
        let long = bob.reply(&question, vec![0; 100_000]);
        assert!(matches!(long, Err(FogError::PayloadTooLarge { .. })));
        bob.reply(&question, b"bob".to_vec()).unwrap();
        assert_eq!(wait(asked.wait()).unwrap(), b"bob");

        let route = alice.choose_nodes(3).unwrap();
        let id = alice
            .send_through(route, &to, b"this way".to_vec())
            .unwrap();
        assert_eq!(receive(&bob).unwrap().id(), id);
        let stats = alice.stats().unwrap();
        assert_eq!((stats.sent, stats.answers, stats.loops_sent), (3, 1, 0));
    }

    #[test]
    fn a_question_that_is_given_up_drops_its_answer() {
        let network = Network::start();
        let (alice, bob) = (network.client(), network.client());
        let to = bob.contact().unwrap();
        let asked = alice.start_request(&to, b"?".to_vec(), 10, 60_000).unwrap();
        let question = receive(&bob).unwrap();
        asked.cancel();
        let ended = wait(asked.wait());
        assert!(matches!(ended, Err(FogError::Cancelled { .. })));
        bob.reply(&question, b"late".to_vec()).unwrap();
        // What comes after the answer on the same way tells that it has come.
        let to = alice.contact().unwrap();
        bob.start_send(&to, b"done".to_vec()).unwrap();
        assert_eq!(receive(&alice).unwrap().body(), b"done");
        assert_eq!(alice.stats().unwrap().answers, 0);
    }

    #[test]
    fn a_client_goes_on_from_its_state() {
        let network = Network::start();
        let (alice, bob) = (network.client(), network.client());
        let (to, key) = (bob.contact().unwrap(), vec![7; 32]);
        let asked = alice.start_request(&to, b"?".to_vec(), 10, 60_000).unwrap();
        let question = receive(&bob).unwrap();
        let states = [&alice, &bob].map(|client| client.suspend(key.clone()).unwrap());
        assert!(matches!(wait(asked.wait()), Err(FogError::Closed { .. })));
        let again = alice.suspend(key.clone());
        assert!(matches!(again, Err(FogError::Closed { .. })));

        let restore = |state: &[u8], key: &[u8], identity| {
            let config = MixnetClientConfig {
                identity,
                ..Network::quiet()
            };
            let (state, key) = (state.to_vec(), key.to_vec());
            MixnetClient::restore(&network.topology, state, key, Some(config))
        };
        let mut damaged = states[0].clone();
        damaged[100] ^= 1;
        for (state, key) in [(&states[0], vec![8; 32]), (&damaged, key.clone())] {
            let refused = restore(state, &key, None);
            assert!(matches!(refused, Err(FogError::StorageCorrupt { .. })));
        }
        for (key, identity) in [(&key[1..], None), (&key[..], Some(vec![1; 32]))] {
            let refused = restore(&states[0], key, identity);
            assert!(matches!(refused, Err(FogError::InvalidArgument { .. })));
        }

        let [alice, bob] = states.map(|state| restore(&state, &key, None).unwrap());
        assert_eq!(bob.contact().unwrap(), to);
        let (asked, taken) = (asked.id(), Restored::default());
        let [requests, messages] = [&alice, &bob].map(|client| client.restored().unwrap());
        assert_eq!(requests.requests, [asked.as_str()]);
        assert_eq!(messages.messages, [question.id()]);
        // Its acknowledgement comes over the last layer, which then knows where alice is now.
        let back = alice.start_send(&to, b"back".to_vec()).unwrap();
        assert_eq!(receive(&bob).unwrap().body(), b"back");
        wait(back.wait()).unwrap();
        let refused = bob.reply(&question, vec![]);
        assert!(matches!(refused, Err(FogError::InvalidReplyBlock { .. })));
        let blocks = bob.reply_blocks(&asked).unwrap().unwrap();
        assert_eq!(blocks.count(), 1);
        assert!(bob.reply_blocks(&asked).unwrap().is_none());
        let long = bob.reply_with(&blocks, vec![0; 4096]);
        assert!(matches!(long, Err(FogError::PayloadTooLarge { .. })));
        bob.reply_with(&blocks, b"later".to_vec()).unwrap();
        let answer = alice.start_answer_to(&asked, 60_000).unwrap();
        assert_eq!(answer.id(), asked);
        assert_eq!(wait(answer.wait()).unwrap(), b"later");
        for request in [&asked, "no id"] {
            let refused = alice.start_answer_to(request, 1);
            assert!(matches!(refused, Err(FogError::InvalidArgument { .. })));
        }
        for client in [alice, bob] {
            assert_eq!(client.restored().unwrap(), taken);
        }
    }

    #[test]
    fn waiting_for_messages_ends_with_the_client() {
        let network = Network::start();
        let (closed, released) = (network.client(), network.client());
        let readiness = Arc::clone(&closed).readable();
        let ended = thread::spawn(move || wait(readiness.wait()));
        closed.close();
        ended.join().unwrap().unwrap();
        assert!(matches!(receive(&closed), Err(FogError::Closed { .. })));
        let readiness = Arc::clone(&released).readable();
        let ended = thread::spawn(move || wait(readiness.wait()));
        drop(released);
        let ended = ended.join().unwrap();
        assert!(matches!(ended, Err(FogError::Closed { .. })));
    }

    #[test]
    fn what_is_no_contact_and_no_node_is_refused() {
        let network = Network::start();
        let client = network.client();
        let sent = client.start_send("nobody", vec![]);
        assert!(matches!(sent, Err(FogError::InvalidArgument { .. })));
        let to = client.contact().unwrap();
        let sent = client.send_through(vec!["x".to_owned()], &to, vec![]);
        assert!(matches!(sent, Err(FogError::InvalidArgument { .. })));
        let chosen = client.choose_nodes(u32::MAX);
        assert!(matches!(chosen, Err(FogError::InvalidRoute { .. })));
        let config = MixnetClientConfig {
            identity: Some(vec![1]),
            ..MixnetClientConfig::default()
        };
        let refused = MixnetClient::new(&network.topology, Some(config));
        assert!(matches!(refused, Err(FogError::InvalidArgument { .. })));
    }
}
