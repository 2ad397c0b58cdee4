//! The compiled contracts.

use std::path::Path;

use revm::primitives::{Bytes, hex};
use serde::Deserialize;
use thiserror::Error;

/// The bytecode of the contracts, and what made it.
#[derive(Clone, Debug)]
pub struct Contracts {
    /// Version of the compiler.
    pub solc: String,
    /// Version of OpenZeppelin's contracts.
    pub openzeppelin: String,
    pub(crate) token: Bytes,
    pub(crate) timelock: Bytes,
    pub(crate) governor: Bytes,
    pub(crate) target: Bytes,
}

/// Why there are no contracts.
#[derive(Debug, Error)]
pub enum ContractsError {
    /// The file could not be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what `compile.js` writes.
    #[error("not the output of compile.js: {0}")]
    Foreign(#[from] serde_json::Error),
    /// Bytecode is not in hexadecimal.
    #[error("bytecode of {contract} is not in hexadecimal")]
    Bytecode {
        /// The contract.
        contract: &'static str,
    },
}

#[derive(Deserialize)]
struct File {
    solc: String,
    openzeppelin: String,
    contracts: Bytecode,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bytecode {
    token: String,
    timelock: String,
    peer: String,
    #[serde(rename = "Box")]
    target: String,
}

impl Contracts {
    /// Reads what `contracts/compile.js` wrote.
    ///
    /// # Errors
    /// Any [`ContractsError`].
    pub fn read(path: &Path) -> Result<Self, ContractsError> {
        let text = std::fs::read_to_string(path).map_err(|source| ContractsError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        let file: File = serde_json::from_str(&text)?;
        let code = |contract, text: &str| {
            let bytes = hex::decode(text).map_err(|_| ContractsError::Bytecode { contract })?;
            Ok::<_, ContractsError>(Bytes::from(bytes))
        };
        Ok(Self {
            token: code("Token", &file.contracts.token)?,
            timelock: code("Timelock", &file.contracts.timelock)?,
            governor: code("Peer", &file.contracts.peer)?,
            target: code("Box", &file.contracts.target)?,
            solc: file.solc,
            openzeppelin: file.openzeppelin,
        })
    }
}
