//! A coordinator.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, NodeId};
use tokio::sync::oneshot;

use super::thread::FogThread;
use crate::coordinate::Update;
use crate::error::NodeError;
use crate::fogs::{FogCoordinatorConfig, FogFile, TokenTerms, open};

const WHAT: &str = "coordinator";

/// A coordinator of a fog inside a program, as the command `fogcompute coordinator run` is one: with
/// the same data, so that either goes on where the other was.
///
/// A forked child has none of its threads: there every call fails with [`NodeError::Forked`].
#[derive(Debug)]
pub struct FogCoordinator {
    thread: FogThread,
    file: FogFile,
    owner: SigningKey,
    account: AccountId,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it could not go on.
    end: Option<NodeError>,
    /// Why it cannot write down what happens, if it cannot.
    stalled: Option<String>,
}

struct Opened {
    file: FogFile,
    owner: SigningKey,
    account: AccountId,
}

impl FogCoordinator {
    /// Starts a coordinator, a new one or the one whose data these are.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn start(config: FogCoordinatorConfig) -> Result<Self, NodeError> {
        let (opened, said) = oneshot::channel();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let thread = FogThread::start("fog-coordinator", move |mut stop| async move {
            let mut service = match open(config).await {
                Ok(open) => {
                    let _ = opened.send(Ok(Opened {
                        file: open.file,
                        owner: open.owner,
                        account: open.account,
                    }));
                    open.service
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let update = tokio::select! {
                    biased;
                    () = stop.asked() => return,
                    update = service.next() => update,
                };
                match update {
                    Ok(Update::Stalled { error }) => lock().stalled = Some(error.to_string()),
                    Ok(Update::Resumed) => lock().stalled = None,
                    Ok(_) => {}
                    Err(error) => {
                        lock().end = Some(error);
                        return;
                    }
                }
            }
        });
        let thread = thread.map_err(|source| NodeError::io("starting a thread", source))?;
        // Outside of any runtime: its thread answers, or is gone.
        let opened = said.blocking_recv();
        let opened = opened.unwrap_or(Err(NodeError::Closed { what: WHAT }))?;
        Ok(Self {
            thread,
            file: opened.file,
            owner: opened.owner,
            account: opened.account,
            state,
        })
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.file.coordinator
    }

    /// Where it accepts links of nodes and submitters.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.file.address
    }

    /// Its owner's account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// Issues a token, with a key of its own: the text of a token's file. Whoever has it may ask the
    /// coordinator for what it grants.
    ///
    /// # Errors
    /// [`NodeError::Forked`]; [`NodeError::Closed`] after [`FogCoordinator::close`].
    pub fn issue(&self, terms: &TokenTerms) -> Result<String, NodeError> {
        let home = self.thread.home();
        home.check().map_err(|_| NodeError::Forked { what: WHAT })?;
        if self.thread.is_closed() {
            return Err(NodeError::Closed { what: WHAT });
        }
        Ok(terms.issue(&self.file, &self.owner).text())
    }

    /// Why it cannot write down what happens, and admits nothing, if it cannot.
    ///
    /// # Errors
    /// [`NodeError::Forked`]; why it could not go on, once.
    pub fn trouble(&self) -> Result<Option<String>, NodeError> {
        let home = self.thread.home();
        home.check().map_err(|_| NodeError::Forked { what: WHAT })?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.end.take() {
            Some(error) => Err(error),
            None => Ok(state.stalled.clone()),
        }
    }

    /// Ends it, and waits until it has. Jobs go on when a coordinator is started with the same data.
    /// Closing again does nothing. Dropping it closes it.
    pub fn close(&self) {
        self.thread.close();
    }
}
