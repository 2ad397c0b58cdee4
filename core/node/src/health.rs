//! How a coordinator is doing, for whoever looks after it.

use fogcompute_coord::metrics::Metrics;
use fogcompute_mix::TopologyError;
use thiserror::Error;

use crate::coordinate::CoordinatorService;

/// Why a coordinator is not of use.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Unwell {
    /// It cannot write down what happens, so it takes nothing on and tells nobody anything.
    #[error("nothing can be written down: {reason}")]
    Stalled {
        /// What the journal or the ledger said.
        reason: String,
    },
    /// Tasks that are to be hidden cannot be sent.
    #[error("no way through the mixnet: {0}")]
    NoRoute(#[from] TopologyError),
}

impl CoordinatorService {
    /// Whether the coordinator is of use.
    ///
    /// # Errors
    /// [`Unwell`]: why it is not.
    pub fn health(&self) -> Result<(), Unwell> {
        if let Some(reason) = self.stalled() {
            let reason = reason.to_owned();
            return Err(Unwell::Stalled { reason });
        }
        self.topology()?;
        Ok(())
    }

    /// What the coordinator counts since it was started, in the text format of Prometheus, version
    /// 0.0.4.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let metrics = Metrics {
            calls_refused: self.calls_refused(),
            links_refused: self.links_refused(),
            connections_displaced: self.connections_displaced(),
            ..self.rules().metrics()
        };
        metrics.render()
    }
}
