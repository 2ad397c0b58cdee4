//! How a process is asked to stop.

use crate::error::NodeError;

/// The signals by which a process is asked to stop: Ctrl-C, and on Unix the requests to terminate
/// and to hang up. From [`Signals::listen`] on none of them ends the process by itself, and none is
/// missed.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
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
                    listen(SignalKind::hangup())?,
                ],
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Ends when the process is asked to stop, or was since the last call.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate, hangup] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
