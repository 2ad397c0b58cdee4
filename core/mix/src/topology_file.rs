//! A topology as a signed text file, for networks whose nodes seldom change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use fogcompute_base::{NodeId, UnixMillis};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::geometry::{Geometry, GeometryError, Suite};
use crate::key::{EpochParity, PublicKey};
use crate::topology::{Descriptor, Topology, TopologyError};

/// Most bytes of a topology file: some ten thousand nodes.
pub const TOPOLOGY_FILE_BYTES_MAX: usize = 4 << 20;

const VERSION: u32 = 1;
/// The integers of TOML have 64 bits with a sign.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// Stands before the signature, on the last line.
const MARK: &str = "# ed25519 ";
/// Signed before the text, so that the signature means nothing anywhere else.
const DOMAIN: &[u8] = b"fogcompute topology file 1\n";

/// Why a topology file is refused.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum TopologyFileError {
    /// The file is too long.
    #[error("topology file has {actual} bytes, more than {max}")]
    TooLong {
        /// Bytes of the file.
        actual: usize,
        /// Most bytes.
        max: usize,
    },
    /// The last line is no signature.
    #[error("the topology file's last line is no signature")]
    Unsigned,
    /// The signature is not the authority's, or the text was changed.
    #[error("the topology file's signature does not verify")]
    Signature,
    /// The authority's key is no Ed25519 public key.
    #[error("the authority's key is no Ed25519 public key")]
    AuthorityKey,
    /// The text is not TOML of this form.
    #[error("topology file: {0}")]
    Form(#[from] Box<toml::de::Error>),
    /// The file is of another version.
    #[error("topology file is of version {actual}, not {expected}")]
    Version {
        /// The file's.
        actual: u32,
        /// The one that is read.
        expected: u32,
    },
    /// It is not valid yet.
    #[error("topology file is valid from {from} on")]
    NotYetValid {
        /// When it begins to be.
        from: UnixMillis,
    },
    /// It is not valid any more.
    #[error("topology file was valid until {until}")]
    Expired {
        /// When it ceased to be.
        until: UnixMillis,
    },
    /// A number is more than the file's format has room for.
    #[error("{field} of the topology file is {actual}, at most {max}")]
    TooLarge {
        /// Which number.
        field: &'static str,
        /// What it is.
        actual: u64,
        /// The most it can be.
        max: u64,
    },
    /// Packets of such a size or route cannot be.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Routes through all layers to a receiver are longer than packets have room for.
    #[error("{layers} layers and a receiver are more hops than hops_max, {hops_max}")]
    Hops {
        /// Its layers.
        layers: usize,
        /// Hops that packets have room for.
        hops_max: usize,
    },
    /// Its nodes make no network.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// It ends before it begins.
    #[error("topology file would be valid from {from} until {until}, which is never")]
    NeverValid {
        /// When it begins to be valid.
        from: UnixMillis,
        /// When it ceases to be.
        until: UnixMillis,
    },
    /// Two nodes cannot be reached at one address.
    #[error("nodes {node} and {other} have the same address, {address}")]
    SameAddress {
        /// The node found second.
        node: NodeId,
        /// The node found first.
        other: NodeId,
        /// Their address.
        address: SocketAddr,
    },
}

/// What a topology file says.
///
/// The file is TOML, with the signature in a comment on the last line:
///
/// ```toml
/// version = 1
/// epoch = 42                       # keys are of its parity
/// valid_from_ms = 1795000000000    # since 1970
/// valid_until_ms = 1795086400000
/// hops_max = 7
/// payload_bytes = 2048
/// suite = "aes128"                 # or "chacha20"
/// delay_mean_us = 15000
///
/// [[layers]]
/// nodes = [
///     { node = "<64 hex digits>", key = "<64 hex digits>", address = "192.0.2.1:4000" },
/// ]
/// # ed25519 <128 hex digits>
/// ```
///
/// The signature (RFC 8032) is over the line `fogcompute topology file 1` and all bytes before the
/// last line. What the file says may be tampered with by whoever has the authority's key, and by
/// nobody else; that one key is trusted is what makes it unfit for large networks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopologyFile {
    /// Number of the key epoch.
    pub epoch: u64,
    /// From when on it is valid.
    pub valid_from: UnixMillis,
    /// Until when it is valid, not included.
    pub valid_until: UnixMillis,
    /// Sizes of all packets.
    pub geometry: Geometry,
    /// The nodes.
    pub topology: Topology,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    epoch: u64,
    valid_from_ms: u64,
    valid_until_ms: u64,
    hops_max: usize,
    payload_bytes: usize,
    suite: SuiteName,
    delay_mean_us: u64,
    layers: Vec<Layer>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum SuiteName {
    Aes128,
    ChaCha20,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    nodes: Vec<Node>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Node {
    node: NodeId,
    #[serde(with = "hex_key")]
    key: PublicKey,
    address: SocketAddr,
}

mod hex_key {
    use fogcompute_base::Digest;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::key::PublicKey;

    /// As 64 hex digits, which is how digests of the same length are written.
    pub(super) fn serialize<S: Serializer>(key: &PublicKey, to: S) -> Result<S::Ok, S::Error> {
        Digest::from_bytes(*key.as_bytes()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PublicKey, D::Error> {
        Ok(PublicKey::from_bytes(
            *Digest::deserialize(from)?.as_bytes(),
        ))
    }
}

impl TopologyFile {
    /// The file, signed with the authority's secret key.
    ///
    /// # Errors
    /// [`TopologyFileError::TooLarge`].
    #[expect(
        clippy::missing_panics_doc,
        reason = "all of it can be written as TOML"
    )]
    pub fn sign(&self, authority: &[u8; 32]) -> Result<String, TopologyFileError> {
        let delay_mean_us = self.topology.delay_mean().as_micros();
        let delay_mean_us = u64::try_from(delay_mean_us).unwrap_or(u64::MAX);
        for (field, actual) in [
            ("epoch", self.epoch),
            ("valid_from_ms", self.valid_from.0),
            ("valid_until_ms", self.valid_until.0),
            ("delay_mean_us", delay_mean_us),
        ] {
            let max = NUMBER_MAX;
            if actual > max {
                return Err(TopologyFileError::TooLarge { field, actual, max });
            }
        }
        let suite = match self.geometry.suite() {
            Suite::Aes128 => SuiteName::Aes128,
            Suite::ChaCha20 => SuiteName::ChaCha20,
        };
        let node = |descriptor: &Descriptor| Node {
            node: descriptor.node,
            key: descriptor.key,
            address: descriptor.address,
        };
        let layers = self.topology.layers().iter();
        let form = Form {
            version: VERSION,
            epoch: self.epoch,
            valid_from_ms: self.valid_from.0,
            valid_until_ms: self.valid_until.0,
            hops_max: self.geometry.hops_max(),
            payload_bytes: self.geometry.payload_bytes(),
            suite,
            delay_mean_us,
            layers: layers
                .map(|nodes| Layer {
                    nodes: nodes.iter().map(node).collect(),
                })
                .collect(),
        };
        let text = toml::to_string(&form).expect("numbers, texts and lists are TOML");
        Ok(Self::sign_text(&text, authority))
    }

    /// A text that was written by hand, signed. What is wrong with it shows when it is read, or by
    /// [`TopologyFile::check`].
    ///
    /// If its last line is a signature, this one takes its place: to sign again with the same key
    /// changes nothing.
    #[must_use]
    pub fn sign_text(text: &str, authority: &[u8; 32]) -> String {
        let mut signed = split_signature(text)
            .map_or(text, |(body, _)| body)
            .to_owned();
        if !signed.is_empty() && !signed.ends_with('\n') {
            signed.push('\n');
        }
        let signature = SigningKey::from_bytes(authority).sign(&message(&signed));
        let digits = signature.to_bytes().map(|byte| format!("{byte:02x}"));
        signed + MARK + &digits.concat() + "\n"
    }

    /// Whether a network could go by it. What is read of others is not asked this: who wrote it by
    /// hand is told.
    ///
    /// # Errors
    /// [`TopologyFileError::NeverValid`], [`TopologyFileError::SameAddress`].
    pub fn check(&self) -> Result<(), TopologyFileError> {
        let (from, until) = (self.valid_from, self.valid_until);
        if until <= from {
            return Err(TopologyFileError::NeverValid { from, until });
        }
        let mut seen = BTreeMap::new();
        for Descriptor { node, address, .. } in self.topology.layers().iter().flatten() {
            if let Some(other) = seen.insert(*address, *node) {
                return Err(TopologyFileError::SameAddress {
                    node: *node,
                    other,
                    address: *address,
                });
            }
        }
        Ok(())
    }

    /// The public key to an authority's secret key.
    #[must_use]
    pub fn authority_of(secret: &[u8; 32]) -> [u8; 32] {
        SigningKey::from_bytes(secret).verifying_key().to_bytes()
    }

    /// Reads a file that this authority has signed and that is valid now.
    ///
    /// # Errors
    /// [`TopologyFileError`]. The signature is looked at before anything else of the text.
    pub fn verify(
        text: &str,
        authority: &[u8; 32],
        now: UnixMillis,
    ) -> Result<Self, TopologyFileError> {
        let file = Self::read(text, authority)?;
        if now < file.valid_from {
            return Err(TopologyFileError::NotYetValid {
                from: file.valid_from,
            });
        }
        if now >= file.valid_until {
            return Err(TopologyFileError::Expired {
                until: file.valid_until,
            });
        }
        Ok(file)
    }

    /// Reads a file that this authority has signed, whenever it is valid: that of the next epoch is
    /// there before its time.
    ///
    /// # Errors
    /// As [`TopologyFile::verify`], but for [`TopologyFileError::NotYetValid`] and
    /// [`TopologyFileError::Expired`].
    pub fn read(text: &str, authority: &[u8; 32]) -> Result<Self, TopologyFileError> {
        if text.len() > TOPOLOGY_FILE_BYTES_MAX {
            return Err(TopologyFileError::TooLong {
                actual: text.len(),
                max: TOPOLOGY_FILE_BYTES_MAX,
            });
        }
        let body = check_signature(text, authority)?;
        let form: Form = toml::from_str(body).map_err(Box::new)?;
        Self::from_form(form)
    }

    /// Whether it is valid at a time.
    #[must_use]
    pub fn is_valid_at(&self, date: UnixMillis) -> bool {
        (self.valid_from..self.valid_until).contains(&date)
    }

    fn from_form(form: Form) -> Result<Self, TopologyFileError> {
        if form.version != VERSION {
            return Err(TopologyFileError::Version {
                actual: form.version,
                expected: VERSION,
            });
        }
        let suite = match form.suite {
            SuiteName::Aes128 => Suite::Aes128,
            SuiteName::ChaCha20 => Suite::ChaCha20,
        };
        let parity = EpochParity::of(form.epoch);
        let descriptor = |node: Node| Descriptor {
            node: node.node,
            key: node.key,
            epoch: parity,
            address: node.address,
        };
        let layers = form.layers.into_iter();
        let layers = layers
            .map(|layer| layer.nodes.into_iter().map(descriptor).collect())
            .collect();
        let geometry = Geometry::new(form.hops_max, form.payload_bytes)?.with_suite(suite);
        let topology = Topology::new(layers, Duration::from_micros(form.delay_mean_us))?;
        if topology.layers().len() >= geometry.hops_max() {
            return Err(TopologyFileError::Hops {
                layers: topology.layers().len(),
                hops_max: geometry.hops_max(),
            });
        }
        Ok(Self {
            epoch: form.epoch,
            valid_from: UnixMillis(form.valid_from_ms),
            valid_until: UnixMillis(form.valid_until_ms),
            geometry,
            topology,
        })
    }
}

fn message(body: &str) -> Vec<u8> {
    [DOMAIN, body.as_bytes()].concat()
}

/// The text before the signature, and the bytes of that. `None` if the last line is none.
fn split_signature(text: &str) -> Option<(&str, [u8; Signature::BYTE_SIZE])> {
    let at = text.rfind(MARK)?;
    let (body, line) = text.split_at(at);
    let digits = line[MARK.len()..].trim_end().as_bytes();
    let mut signature = [0; Signature::BYTE_SIZE];
    if digits.len() != 2 * signature.len() || !(body.is_empty() || body.ends_with('\n')) {
        return None;
    }
    for (byte, pair) in signature.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some((body, signature))
}

/// The text before the signature, if that verifies.
fn check_signature<'a>(text: &'a str, authority: &[u8; 32]) -> Result<&'a str, TopologyFileError> {
    let authority =
        VerifyingKey::from_bytes(authority).map_err(|_| TopologyFileError::AuthorityKey)?;
    let (body, signature) = split_signature(text).ok_or(TopologyFileError::Unsigned)?;
    // Strict: keys of small order would accept signatures that nobody made.
    authority
        .verify_strict(&message(body), &Signature::from_bytes(&signature))
        .map_err(|_| TopologyFileError::Signature)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::descriptor;
    use proptest::prelude::*;

    const SECRET: [u8; 32] = [7; 32];
    const NOW: UnixMillis = UnixMillis(1_500);

    fn file() -> TopologyFile {
        let layers = vec![
            vec![descriptor(1), descriptor(2)],
            vec![descriptor(3)],
            vec![descriptor(4)],
        ];
        TopologyFile {
            epoch: 42,
            valid_from: UnixMillis(1_000),
            valid_until: UnixMillis(2_000),
            geometry: Geometry::DATAGRAM.with_suite(Suite::ChaCha20),
            topology: Topology::new(layers, Duration::from_millis(15)).unwrap(),
        }
    }

    fn verify(text: &str) -> Result<TopologyFile, TopologyFileError> {
        TopologyFile::verify(text, &TopologyFile::authority_of(&SECRET), NOW)
    }

    fn signed(text: &str) -> String {
        TopologyFile::sign_text(text, &SECRET)
    }

    #[test]
    fn numbers_that_the_format_has_no_room_for_are_not_signed() {
        let mut endless = file();
        endless.valid_until = UnixMillis(u64::MAX);
        assert!(matches!(
            endless.sign(&SECRET),
            Err(TopologyFileError::TooLarge {
                field: "valid_until_ms",
                actual: u64::MAX,
                max: NUMBER_MAX
            })
        ));
        endless.valid_until = UnixMillis(NUMBER_MAX);
        endless.sign(&SECRET).unwrap();
    }

    #[test]
    fn what_is_signed_is_read() {
        let text = file().sign(&SECRET).unwrap();
        assert_eq!(verify(&text).unwrap(), file());
        // Line ends and comments are the author's own, as long as the author signs them.
        let body = format!("# ours\n{}", text.split(MARK).next().unwrap());
        assert_eq!(verify(&signed(&body)).unwrap(), file());
        let odd = TopologyFile {
            epoch: 43,
            ..file()
        };
        let read = verify(&odd.sign(&SECRET).unwrap()).unwrap();
        assert_eq!(read.topology.epoch(), EpochParity::Odd);
        let endless = TopologyFile {
            valid_until: UnixMillis(NUMBER_MAX),
            ..file()
        };
        assert_eq!(verify(&endless.sign(&SECRET).unwrap()).unwrap(), endless);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let text = file().sign(&SECRET).unwrap();
        for at in 0..text.len() - 1 {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            let refused = verify(&changed);
            // A digit in upper case is the same digit, but none differs by that bit alone.
            assert!(
                matches!(
                    refused,
                    Err(TopologyFileError::Signature | TopologyFileError::Unsigned)
                ),
                "byte {at}: {refused:?}"
            );
        }
    }

    #[test]
    fn another_authority_and_none_are_refused() {
        let text = file().sign(&[8; 32]).unwrap();
        assert!(matches!(verify(&text), Err(TopologyFileError::Signature)));
        let unsigned = text.split(MARK).next().unwrap();
        assert!(matches!(verify(unsigned), Err(TopologyFileError::Unsigned)));
        assert!(matches!(verify(""), Err(TopologyFileError::Unsigned)));
        // No point of the curve has a y of 2.
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert!(matches!(
            TopologyFile::verify(&text, &no_point, NOW),
            Err(TopologyFileError::AuthorityKey)
        ));
        // The point of order 1 would accept a signature of zeros over anything.
        let mut small = [0; 32];
        small[0] = 1;
        let forged = format!("{unsigned}{MARK}01{}\n", "00".repeat(63));
        assert!(matches!(
            TopologyFile::verify(&forged, &small, NOW),
            Err(TopologyFileError::Signature)
        ));
    }

    #[test]
    fn to_sign_again_puts_one_signature_in_the_place_of_the_other() {
        let (one, two) = ([1; 32], [2; 32]);
        let text = "version = 1\n";
        let signed = TopologyFile::sign_text(text, &one);
        assert_eq!(TopologyFile::sign_text(&signed, &one), signed);
        let other = TopologyFile::sign_text(&signed, &two);
        assert_eq!(other, TopologyFile::sign_text(text, &two));
        // A comment that is no signature is a part of the text.
        let comment = format!("{text}{MARK}is what comes next\n");
        let signed = TopologyFile::sign_text(&comment, &one);
        assert!(signed.starts_with(&comment));
    }

    #[test]
    fn the_time_of_a_file_is_told_as_a_date() {
        let from = UnixMillis(1_795_000_000_000);
        let text = TopologyFileError::NotYetValid { from }.to_string();
        assert_eq!(
            text,
            "topology file is valid from 2026-11-18T11:06:40.000Z on"
        );
    }

    #[test]
    fn a_file_out_of_its_time_is_refused() {
        let text = file().sign(&SECRET).unwrap();
        let authority = TopologyFile::authority_of(&SECRET);
        let at = |now| TopologyFile::verify(&text, &authority, UnixMillis(now));
        assert!(matches!(
            at(999),
            Err(TopologyFileError::NotYetValid {
                from: UnixMillis(1_000)
            })
        ));
        assert!(at(1_000).is_ok() && at(1_999).is_ok());
        assert!(matches!(
            at(2_000),
            Err(TopologyFileError::Expired {
                until: UnixMillis(2_000)
            })
        ));
        // Read it can be all the same.
        let read = TopologyFile::read(&text, &authority).unwrap();
        let valid = [999, 1_000, 1_999, 2_000].map(|now| read.is_valid_at(UnixMillis(now)));
        assert_eq!(valid, [false, true, true, false]);
        assert!(matches!(
            TopologyFile::read(&text, &TopologyFile::authority_of(&[8; 32])),
            Err(TopologyFileError::Signature)
        ));
    }

    #[test]
    fn signed_nonsense_is_refused_by_name() {
        let text = file().sign(&SECRET).unwrap();
        let body = text.split(MARK).next().unwrap();
        let changed = |from: &str, to: &str| {
            let changed = body.replacen(from, to, 1);
            assert_ne!(changed, body);
            verify(&signed(&changed)).unwrap_err()
        };
        assert!(matches!(
            changed("version = 1", "version = 2"),
            TopologyFileError::Version { actual: 2, .. }
        ));
        assert!(matches!(
            changed("hops_max = 5", "hops_max = 8"),
            TopologyFileError::Geometry(_)
        ));
        assert!(matches!(
            changed("hops_max = 5", "hops_max = 3"),
            TopologyFileError::Hops {
                layers: 3,
                hops_max: 3
            }
        ));
        let twice = descriptor(1).node.to_string();
        assert!(matches!(
            changed(&descriptor(2).node.to_string(), &twice),
            TopologyFileError::Topology(TopologyError::DuplicateNode { .. })
        ));
        for (from, to) in [
            ("epoch = 42", "epoch = -1"),
            ("epoch = 42", "epoch = 42\nepochs = 1"),
            ("chacha20", "rot13"),
            ("127.0.0.1", "nowhere"),
            ("layers", "strata"),
        ] {
            assert!(
                matches!(changed(from, to), TopologyFileError::Form(_)),
                "{to}"
            );
        }
        let no_layer = body.split("[[layers]]").next().unwrap().to_owned() + "layers = []\n";
        assert!(matches!(
            verify(&signed(&no_layer)),
            Err(TopologyFileError::Topology(TopologyError::LayerCount {
                actual: 0,
                ..
            }))
        ));
        let long = " ".repeat(TOPOLOGY_FILE_BYTES_MAX + 1);
        assert!(matches!(
            verify(&long),
            Err(TopologyFileError::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in any::<String>(), signed_too in any::<bool>()) {
            let text = if signed_too { signed(&text) } else { text };
            prop_assert!(verify(&text).is_err());
        }
    }
}
