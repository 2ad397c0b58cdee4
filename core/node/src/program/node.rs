//! A node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use fogcompute_base::NodeId;
use fogcompute_harvest::DeviceProbe;
use tokio::sync::{oneshot, watch};

use super::thread::FogThread;
use crate::error::NodeError;
use crate::serve::{FogNodeStatus, Node, NodeConfig, Said};

const WHAT: &str = "node";

/// A node of a fog inside a program: it mixes, or runs the fog's tasks when its policy allows it.
///
/// It dials its coordinator until that lets it in, and again whenever the link ends. What it was at
/// goes on, from the last checkpoints, when a node is started with the same data.
///
/// A forked child has none of its threads: there every call fails with [`NodeError::Forked`].
#[derive(Debug)]
pub struct FogNode {
    thread: FogThread,
    id: NodeId,
    address: SocketAddr,
    status: watch::Receiver<FogNodeStatus>,
    /// Why it could not go on.
    end: Arc<Mutex<Option<NodeError>>>,
}

struct Opened {
    id: NodeId,
    address: SocketAddr,
    status: watch::Receiver<FogNodeStatus>,
}

/// However the thread ends, nobody waits for it in vain.
struct EndOnDrop(watch::Sender<FogNodeStatus>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.send_modify(|status| {
            (status.joined, status.lends, status.ended) = (false, false, true);
        });
    }
}

impl FogNode {
    /// Starts a node: opens its files, listens, and begins to dial its coordinator. `probe` reads the
    /// device; without, its own sensors do.
    ///
    /// # Errors
    /// [`NodeError::MixLayer`], [`NodeError::Worker`] for a policy or a heartbeat that makes no sense,
    /// [`NodeError::DataDirectory`], [`NodeError::Store`], [`NodeError::Listen`],
    /// [`NodeError::SelfTest`], [`NodeError::Io`].
    pub fn start(
        config: NodeConfig,
        probe: Option<Box<dyn DeviceProbe>>,
    ) -> Result<Self, NodeError> {
        let (opened, said) = oneshot::channel();
        let end = Arc::new(Mutex::new(None));
        let ended = Arc::clone(&end);
        let thread = FogThread::start("fog-node", move |mut stop| async move {
            let node = match Node::open(config, probe, Said::OnlyAsked).await {
                Ok(node) => node,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let status = EndOnDrop(node.status());
            let _ = opened.send(Ok(Opened {
                id: node.descriptor().node,
                address: node.descriptor().address,
                status: status.0.subscribe(),
            }));
            tokio::select! {
                biased;
                () = stop.asked() => {}
                outcome = node.serve() => {
                    // Before it is known to have ended.
                    *ended.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
                }
            }
        });
        let thread = thread.map_err(|source| NodeError::io("starting a thread", source))?;
        // Outside of any runtime: its thread answers, or is gone.
        let opened = said.blocking_recv();
        let opened = opened.unwrap_or(Err(NodeError::Closed { what: WHAT }))?;
        Ok(Self {
            thread,
            id: opened.id,
            address: opened.address,
            status: opened.status,
            end,
        })
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Where it accepts links.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn check(&self) -> Result<(), NodeError> {
        let home = self.thread.home();
        home.check().map_err(|_| NodeError::Forked { what: WHAT })
    }

    /// How it is.
    ///
    /// # Errors
    /// [`NodeError::Forked`]; why it could not go on, once.
    pub fn status(&self) -> Result<FogNodeStatus, NodeError> {
        self.check()?;
        let end = self.end.lock();
        if let Some(error) = end.unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        Ok(self.status.borrow().clone())
    }

    /// Ends when its status is another than `seen`, or it has ended.
    pub fn changed(&self, seen: &FogNodeStatus) -> impl Future<Output = ()> + Send + use<> {
        let (mut status, seen, home) = (self.status.clone(), seen.clone(), self.thread.home());
        async move {
            if home.is_here() {
                let _ = status
                    .wait_for(|status| *status != seen || status.ended)
                    .await;
            }
        }
    }

    /// Ends when its coordinator has let it in.
    ///
    /// # Errors
    /// [`NodeError::Forked`]; [`NodeError::Closed`] if it has ended, and why it could not go on, once.
    pub fn joined(&self) -> impl Future<Output = Result<(), NodeError>> + Send + use<> {
        let (checked, end, mut status) = (self.check(), Arc::clone(&self.end), self.status.clone());
        async move {
            checked?;
            // Its status outlives the node, and says at last that it has ended.
            let seen = status
                .wait_for(|status| status.joined || status.ended)
                .await;
            if seen.is_ok_and(|status| status.joined) {
                return Ok(());
            }
            let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
            Err(end.take().unwrap_or(NodeError::Closed { what: WHAT }))
        }
    }

    /// Ends it, and waits until it has. Tasks go on when a node is started with the same data. Closing
    /// again does nothing. Dropping it closes it.
    pub fn close(&self) {
        self.thread.close();
    }
}
