//! How a process is asked to stop.

use std::io;

use tokio::sync::oneshot;

use crate::error::NodeError;

/// The signals by which a process is asked to stop: Ctrl-C, and on Unix the requests to terminate
/// and to hang up. From [`Signals::listen`] on none of them ends the process by itself, and none is
/// missed.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
    /// The request to hang up.
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

/// What a service is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// To end.
    Stop,
    /// To read its configuration again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such request"))]
    Reload,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`NodeError::Io`].
    pub(crate) fn listen() -> Result<Self, NodeError> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let listen = |kind| {
                signal(kind).map_err(|source| NodeError::io("listening for signals", source))
            };
            Ok(Self {
                signals: [
                    listen(SignalKind::interrupt())?,
                    listen(SignalKind::terminate())?,
                ],
                hangup: listen(SignalKind::hangup())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Ends when the process is asked to stop, or was since the last call.
    pub(crate) async fn asked(&mut self) {
        // Either is a reason to end.
        let (Asked::Stop | Asked::Reload) = self.stop_or_reload().await;
    }

    /// As [`Signals::asked`], for a service to which the request to hang up means to read its
    /// configuration again, as it does to those that have no terminal.
    pub(crate) async fn stop_or_reload(&mut self) -> Asked {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => Asked::Stop,
                _ = terminate.recv() => Asked::Stop,
                _ = self.hangup.recv() => Asked::Reload,
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            Asked::Stop
        }
    }
}

/// Ends when the standard input does, as it does with the process that holds its other end: whoever
/// started a process need not live to end it.
pub(crate) async fn input_ended() {
    let (ended, heard) = oneshot::channel();
    // Not one of the runtime's threads: a read cannot be taken back, and the runtime waits for its own.
    let reading = std::thread::Builder::new().spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    match reading {
        Ok(_) => drop(heard.await),
        Err(_) => std::future::pending().await,
    }
}
