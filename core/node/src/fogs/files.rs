//! Where a fog is, and what permits to use it, as files.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, CryptoRng, Digest, NodeId};
use fogcompute_coord::token::Token;
use fogcompute_ledger::{Amount, PublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{NewFile, Readers, replace};
use crate::ledger::text::{hex, unhex};
use crate::submit::FogClientConfig;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// What a coordinator keeps, in its data.
pub(crate) const LEDGER: &str = "ledger.sqlite";
/// Jobs and results.
pub(crate) const JOBS: &str = "jobs.sqlite";
/// Calls that were made, and what was used of tokens.
pub(crate) const GATE: &str = "gate.sqlite";

/// What a node keeps in its data.
pub(crate) const NODE: &str = "node.sqlite";

/// Why a file of a fog cannot be used, or is not one.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum FogFileError {
    /// A file cannot be read or written.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is not what the file of a token holds.
    #[error("token: {reason}")]
    BadToken {
        /// What is wrong with it.
        reason: String,
    },
    /// A folder has no data of a coordinator.
    #[error("there is no coordinator's data here: {} is missing", path.display())]
    NoCoordinator {
        /// The file that is missing.
        path: PathBuf,
    },
    /// There is no file of a token.
    #[error(
        "there is no token here: {} is missing; the coordinator's owner makes one with `fogcompute token issue`",
        path.display()
    )]
    NoToken {
        /// The file that is missing.
        path: PathBuf,
    },
    /// There is a file already where a token should go.
    #[error("{} is there already, and stays as it is", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A coordinator that has run before lacks some of what it wrote. With a new one in its place it
    /// would forget jobs, or who has how many credits.
    #[error(
        "this fog has run before, and {} is missing or empty: put it back, or begin a new fog in another folder",
        path.display()
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// A folder is that of another kind of process. Give each a folder of its own.
    #[error("{} is the folder of a {found}, and a {wanted} needs one of its own", path.display())]
    OtherFolder {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: &'static str,
        /// Who was to use it.
        wanted: &'static str,
    },
    /// What an owner's account begins with was said before, and was another amount.
    #[error(
        "the owner's account began with {} credits, which stays; do not say another amount",
        endowment.to_credits_string()
    )]
    Endowed {
        /// What it began with.
        endowment: Amount,
    },
}

impl FogFileError {
    pub(super) fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path: path.clone(),
            source,
        }
    }
}

/// Where a coordinator is. Nodes read it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FogFile {
    pub(crate) coordinator: NodeId,
    pub(crate) address: SocketAddr,
}

/// What was said at the first start of a coordinator and stays.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Founding {
    /// Base units, as text: TOML's integers are shorter.
    endowment: String,
}

/// A token with its key, and where it is good.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenFile {
    coordinator: NodeId,
    address: SocketAddr,
    token: String,
    key: String,
}

/// The data of a coordinator.
pub(crate) struct Data<'a>(pub(crate) &'a Path);

impl Data<'_> {
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Refuses the folder of a node.
    pub(crate) fn check_for_coordinator(&self) -> Result<(), FogFileError> {
        self.check_lacks(&[NODE], "node", "coordinator")
    }

    /// Refuses the folder of a coordinator.
    pub(crate) fn check_for_node(&self) -> Result<(), FogFileError> {
        self.check_lacks(&[JOBS, GATE, "founding.toml"], "coordinator", "node")
    }

    fn check_lacks(
        &self,
        names: &[&str],
        found: &'static str,
        wanted: &'static str,
    ) -> Result<(), FogFileError> {
        match names.iter().any(|name| self.file(name).exists()) {
            true => Err(FogFileError::OtherFolder {
                path: self.0.to_owned(),
                found,
                wanted,
            }),
            false => Ok(()),
        }
    }

    /// Refuses what lacks a part of what a coordinator has written that ran before.
    pub(crate) fn check_complete(&self) -> Result<(), FogFileError> {
        if !self.file("fog.toml").exists() {
            return Ok(());
        }
        for name in ["owner.key", "founding.toml", LEDGER, JOBS, GATE] {
            let path = self.file(name);
            match fs::metadata(&path) {
                Ok(found) if found.len() > 0 => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FogFileError::file("reading", &path)(error));
                }
                _ => return Err(FogFileError::Incomplete { path }),
            }
        }
        Ok(())
    }

    /// The owner's key; made at the first start.
    pub(crate) fn make_owner(&self, rng: &mut impl CryptoRng) -> Result<SigningKey, FogFileError> {
        let path = self.file("owner.key");
        if let Some(key) = read_key(&path)? {
            return Ok(key);
        }
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        write_new(&path, &format!("{}\n", hex(&secret)))?;
        Ok(SigningKey::from_bytes(&secret))
    }

    /// The owner's key.
    pub(crate) fn owner(&self) -> Result<SigningKey, FogFileError> {
        let path = self.file("owner.key");
        read_key(&path)?.ok_or(FogFileError::NoCoordinator { path })
    }

    /// Where the coordinator is, as it said when it was last started.
    pub(crate) fn fog(&self) -> Result<FogFile, FogFileError> {
        FogFile::read(&self.file("fog.toml"))
    }

    /// What the owner's account began with. What is asked for counts at the first start only.
    pub(crate) fn endowment(
        &self,
        asked: Option<Amount>,
        usual: Amount,
    ) -> Result<Amount, FogFileError> {
        let path = self.file("founding.toml");
        let Some(text) = read(&path)? else {
            let endowment = asked.unwrap_or(usual);
            let founding = Founding {
                endowment: endowment.0.to_string(),
            };
            write_new(&path, &toml_of(&founding))?;
            return Ok(endowment);
        };
        let founding: Founding = parse(&path, &text)?;
        let endowment = founding.endowment.parse().map(Amount);
        let endowment = endowment.map_err(|_| FogFileError::BadFile {
            path,
            reason: "its endowment is no number".to_owned(),
        })?;
        match asked {
            Some(asked) if asked != endowment => Err(FogFileError::Endowed { endowment }),
            _ => Ok(endowment),
        }
    }
}

/// The account that belongs to an owner's key.
pub(crate) fn account_of(owner: &PublicKey) -> AccountId {
    let digest = Digest::derive(
        "fogcompute 2026-11-22 account of a fog's owner",
        owner.as_bytes(),
    );
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    AccountId::from_bytes(id)
}

impl FogFile {
    pub(crate) fn read(path: &Path) -> Result<Self, FogFileError> {
        let missing = || FogFileError::NoCoordinator {
            path: path.to_owned(),
        };
        let text = read(path)?.ok_or_else(missing)?;
        parse(path, &text)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), FogFileError> {
        replace(path, toml_of(self).as_bytes(), Readers::Everybody)
            .map_err(FogFileError::file("writing", path))
    }
}

impl TokenFile {
    pub(crate) fn new(fog: &FogFile, token: &Token, key: &SigningKey) -> Self {
        Self {
            coordinator: fog.coordinator,
            address: fog.address,
            token: hex(&token.encode()),
            key: hex(key.as_bytes()),
        }
    }

    /// What its file says.
    pub(crate) fn text(&self) -> String {
        format!(
            "# Whoever has this file may ask in its holder's name.\n{}",
            toml_of(self)
        )
    }

    pub(crate) fn write_new(&self, path: &Path) -> Result<(), FogFileError> {
        write_new(path, &self.text()).map_err(|error| match error {
            FogFileError::File { path, source, .. }
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                FogFileError::Exists { path }
            }
            other => other,
        })
    }

    /// Who asks whom, by what the file says.
    pub(crate) fn read(path: &Path) -> Result<FogClientConfig, FogFileError> {
        let missing = || FogFileError::NoToken {
            path: path.to_owned(),
        };
        let text = read(path)?.ok_or_else(missing)?;
        let file: Self = parse(path, &text)?;
        file.config().map_err(|reason| FogFileError::BadFile {
            path: path.to_owned(),
            reason: reason.to_owned(),
        })
    }

    /// The same, by a text.
    fn parse(text: &str) -> Result<FogClientConfig, FogFileError> {
        let bad = |reason: &str| FogFileError::BadToken {
            reason: reason.to_owned(),
        };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let file: Self = toml::from_str(text).map_err(|error| bad(error.message()))?;
        file.config().map_err(bad)
    }

    fn config(&self) -> Result<FogClientConfig, &'static str> {
        let token = unhex(&self.token).and_then(|bytes| Token::decode(&bytes).ok());
        let token = token.ok_or("its token cannot be read")?;
        let secret = unhex(&self.key).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = SigningKey::from_bytes(&secret.ok_or("its key cannot be read")?);
        if token.grant.submitter != PublicKey::of(&key) {
            return Err("its key is not the token's");
        }
        Ok(FogClientConfig {
            address: self.address,
            coordinator: self.coordinator,
            token,
            key,
            patience: Duration::from_secs(30),
        })
    }
}

impl FogClientConfig {
    /// Who asks whom, by the text of a token's file, with a patience of 30 seconds.
    ///
    /// # Errors
    /// [`FogFileError::BadToken`].
    pub fn from_token(text: &str) -> Result<Self, FogFileError> {
        TokenFile::parse(text)
    }

    /// The same, by a token's file, as `fogcompute token issue` writes it.
    ///
    /// # Errors
    /// [`FogFileError::NoToken`], [`FogFileError::File`], [`FogFileError::BadFile`].
    pub fn read(path: &Path) -> Result<Self, FogFileError> {
        TokenFile::read(path)
    }
}

fn toml_of(value: &impl Serialize) -> String {
    toml::to_string(value).expect("ids, addresses and texts are TOML")
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, text: &str) -> Result<T, FogFileError> {
    toml::from_str(text).map_err(|error| FogFileError::BadFile {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    })
}

/// A file's text, if it is there.
fn read(path: &Path) -> Result<Option<String>, FogFileError> {
    let failed = FogFileError::file("reading", path);
    let length = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if length > FILE_BYTES_MAX {
        return Err(FogFileError::BadFile {
            path: path.to_owned(),
            reason: format!("it is longer than {FILE_BYTES_MAX} bytes"),
        });
    }
    fs::read_to_string(path).map(Some).map_err(failed)
}

fn read_key(path: &Path) -> Result<Option<SigningKey>, FogFileError> {
    let Some(text) = read(path)? else {
        return Ok(None);
    };
    let secret = unhex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let secret = secret.ok_or_else(|| FogFileError::BadFile {
        path: path.to_owned(),
        reason: "it is no key of 64 hexadecimal digits".to_owned(),
    })?;
    Ok(Some(SigningKey::from_bytes(&secret)))
}

/// Writes a file for its owner only, where there was none.
fn write_new(path: &Path, text: &str) -> Result<(), FogFileError> {
    use io::Write as _;
    NewFile::begin(path, Readers::Owner)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.finish()
        })
        .map_err(FogFileError::file("writing", path))
}
