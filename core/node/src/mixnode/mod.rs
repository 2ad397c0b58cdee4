//! `fogcompute mixnode`: a mixnode of a network with signed topology files.

mod config;
mod error;
mod keys;
mod lines;
mod loops;
mod running;
mod self_test;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use fogcompute_base::{Clock, NodeId, OsEntropy, SystemClock};
use fogcompute_mix::{Geometry, TopologyFile};
use fogcompute_net::{DATAGRAM_BYTES_MAX, DATAGRAM_OVERHEAD_BYTES};
use tokio::net::TcpListener;

use crate::epochs;
use crate::files::{Readers, replace};
use crate::metrics;
use crate::signals::{Asked, Signals};

use self::config::MixnodeFile;
use self::error::{MixnodeError, file_error};
use self::keys::{Keys, hex, random_key};
use self::lines::Lines;
use self::running::Running;

pub(crate) use self::loops::Verdict;

/// Writes lines to the standard output, for a command that ends with them. A reader that has gone away stops nothing.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Which mix key a node is to have made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NewKey {
    /// One in place of all it has, but for one of a topology that is to come.
    Only,
    /// One beside those that its topologies have, for the epoch after them.
    Next,
}

/// `fogcompute mixnode --new-key` and `--next-key`: makes a mix key and says what
/// the topology needs.
///
/// A next key that no topology has yet is not made again.
pub(crate) fn new_key(config: &Path, which: NewKey) -> Result<(), MixnodeError> {
    let file = MixnodeFile::read(config)?;
    let keys = Keys::open(&file.data)?;
    let (node, key) = match which {
        NewKey::Only => {
            // Before the identity, of which two at once would each make one and tell it.
            let lock = keys.lock()?;
            let node = keys.identity()?.node();
            // For the first key there is no topology yet.
            let files = file.topologies()?;
            let date = SystemClock::new().unix_now();
            let mut to_come = files.iter().filter(|file| file.valid_from > date);
            let to_come = to_come.find_map(|file| epochs::own(file, node));
            (node, keys.renew(to_come.map(|own| own.key), &lock)?)
        }
        NewKey::Next => {
            let node = keys.identity()?.node();
            let epochs = file.epochs()?;
            let known = epochs.files().iter();
            let known = known.filter_map(|file| epochs::own(file, node));
            let known: Vec<_> = known.map(|own| own.key).collect();
            let spare = keys.spare(&known)?;
            (node, spare.map_or_else(|| keys.make(), Ok)?)
        }
    };
    say(&format!(
        "{{ node = \"{node}\", key = \"{}\", address = \"{}\" }}",
        hex(key),
        file.listen
    ));
    Ok(())
}

/// `fogcompute mix sign`: prints a topology with its signature.
pub(crate) fn sign(key: &Path, topology: &Path) -> Result<(), MixnodeError> {
    let secret = match fs::read_to_string(key) {
        Ok(text) => {
            let text = text.trim();
            let secret: NodeId = text.parse().map_err(|_| MixnodeError::KeyLength {
                path: key.to_owned(),
                actual: text.len() / 2,
            })?;
            *secret.as_bytes()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = random_key(&mut OsEntropy);
            let text = format!("{}\n", NodeId::from_bytes(secret));
            replace(key, text.as_bytes(), Readers::Owner).map_err(file_error("writing", key))?;
            secret
        }
        Err(error) => return Err(file_error("reading", key)(error)),
    };
    let text = fs::read_to_string(topology).map_err(file_error("reading", topology))?;
    let authority = NodeId::from_bytes(TopologyFile::authority_of(&secret));
    let signed = TopologyFile::sign_text(&text, &secret);
    // What nobody would read is not signed.
    let read = TopologyFile::read(&signed, authority.as_bytes())?;
    read.check()?;
    let (actual, max) = (
        read.geometry.packet_bytes(),
        DATAGRAM_BYTES_MAX - DATAGRAM_OVERHEAD_BYTES,
    );
    if actual > max {
        return Err(MixnodeError::PacketBytes { actual, max });
    }
    let _ = writeln!(io::stderr(), "authority {authority}");
    say(signed.trim_end());
    Ok(())
}

/// `fogcompute mixnode --self-test`: says what this machine can do.
pub(crate) fn self_test(config: &Path, json: bool) -> Result<(), MixnodeError> {
    let file = MixnodeFile::read(config)?;
    let geometry = file.geometry()?;
    let (from_topology, geometry) = (geometry.is_some(), geometry.unwrap_or(Geometry::DATAGRAM));
    let clock = SystemClock::new();
    let capacity = self_test::measure(geometry, from_topology, file.workers, &clock)?;
    if json {
        say(&serde_json::json!(capacity).to_string());
    } else {
        say(&capacity.to_string());
    }
    Ok(())
}

/// `fogcompute mixnode`: runs until the process is asked to stop, then sends what it holds.
///
/// SIGHUP reads the configuration and its topologies again.
pub(crate) async fn run(config: &Path) -> Result<(), MixnodeError> {
    let mut signals = Signals::listen()?;
    let mut lines = Lines::to_stdout().map_err(MixnodeError::Lines)?;
    let file = MixnodeFile::read(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let keys = Keys::open(&file.data)?;
    let _lock = keys.lock()?;
    let listener = match file.metrics {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .map_err(|source| MixnodeError::Metrics { address, source })?,
        ),
        None => None,
    };
    let (mut running, mut deliveries, events) = Running::start(file, keys, &clock)?;
    let engine = running.status().engine();
    lines.say(&format!(
        "node {}\nlistening on {} with {} threads, packets of {} bytes",
        running.node(),
        engine.address(),
        engine.workers(),
        running.geometry().packet_bytes()
    ));
    if let Some(address) = listener.as_ref().and_then(|one| one.local_addr().ok()) {
        lines.say(&format!("metrics at http://{address}/metrics"));
    }
    say_all(&mut lines, &events);
    let status = Arc::clone(running.status());
    let served = listener.map(|listener| tokio::spawn(metrics::serve(listener, status)));
    loop {
        tokio::select! {
            asked = signals.stop_or_reload() => match asked {
                Asked::Stop => break,
                Asked::Reload => {
                    let file = MixnodeFile::read(config);
                    let (date, now) = (clock.unix_now(), clock.now());
                    match file.and_then(|file| running.reload(file, date, now)) {
                        Ok(events) => {
                            lines.say("configuration and topologies read again");
                            say_all(&mut lines, &events);
                        }
                        Err(error) => lines.say(&format!("everything stays as it was: {error}")),
                    }
                }
            },
            Some(delivery) = deliveries.recv() => running.take(&delivery, clock.now()),
            () = tokio::time::sleep(running.wait(&*clock)) => {}
        }
        say_all(&mut lines, &running.keep(&*clock));
    }
    if let Some(served) = served {
        served.abort();
        let _ = served.await;
    }
    lines.say("asked to stop: sending what is held");
    let ended = tokio::task::spawn_blocking(move || running.end());
    let stats = match ended.await {
        Ok(ended) => ended?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    lines.say(&format!(
        "received {}, forwarded {}, lost {} that were held too long",
        stats.mix.received, stats.mix.forwarded, stats.undrained
    ));
    Ok(())
}

fn say_all(lines: &mut Lines, events: &[running::Event]) {
    for event in events {
        lines.say(&event.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    use fogcompute_base::UnixMillis;
    use fogcompute_mix::{
        Descriptor, EpochParity, PrivateKey, PublicKey, Topology, TopologyFileError,
    };

    const SECRET: [u8; 32] = [3; 32];

    /// A topology of this node alone that is to come.
    fn topology(node: NodeId, key: PublicKey, geometry: Geometry) -> String {
        let descriptor = Descriptor {
            node,
            key,
            epoch: EpochParity::Even,
            address: ([127, 0, 0, 1], 4000).into(),
        };
        let file = TopologyFile {
            epoch: 2,
            valid_from: UnixMillis(i64::MAX as u64 - 1),
            valid_until: UnixMillis(i64::MAX as u64),
            geometry,
            topology: Topology::new(vec![vec![descriptor]], Duration::ZERO).unwrap(),
        };
        file.sign(&SECRET).unwrap()
    }

    fn site() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("node.toml");
        let authority = NodeId::from_bytes(TopologyFile::authority_of(&SECRET));
        let text = format!(
            "listen = '127.0.0.1:0'\ndata = 'data'\ntopology = 't.toml'\n\
             next_topology = 'next.toml'\nauthority = '{authority}'\n"
        );
        fs::write(&config, text).unwrap();
        (folder, config)
    }

    #[test]
    fn a_new_key_is_refused_before_the_identity_is_made_while_another_process_has_the_folder() {
        // Two at once in an empty folder told two identities, of which one stayed.
        let (folder, config) = site();
        let keys = Keys::open(&folder.path().join("data")).unwrap();
        let lock = keys.lock().unwrap();
        let refused = new_key(&config, NewKey::Only);
        assert!(matches!(refused, Err(MixnodeError::Taken { .. })));
        assert!(!folder.path().join("data/identity.key").exists());
        drop(lock);
        new_key(&config, NewKey::Only).unwrap();
    }

    #[test]
    fn a_topology_that_cannot_be_read_does_not_cost_the_next_key() {
        let (folder, config) = site();
        let keys = Keys::open(&folder.path().join("data")).unwrap();
        let (node, next) = (keys.identity().unwrap().node(), keys.make().unwrap());
        let path = folder.path().join("next.toml");
        let signed = topology(node, next, Geometry::DATAGRAM);
        fs::write(&path, &signed[1..]).unwrap();
        let refused = new_key(&config, NewKey::Only);
        assert!(matches!(refused, Err(MixnodeError::Read(_))));
        keys.check(next, 2).unwrap();
        // That of now may be missing.
        fs::write(&path, signed).unwrap();
        new_key(&config, NewKey::Only).unwrap();
        keys.check(next, 2).unwrap();
        fs::remove_file(&path).unwrap();
        new_key(&config, NewKey::Only).unwrap();
        assert!(keys.check(next, 2).is_err());
    }

    #[test]
    fn a_network_that_nobody_could_use_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let (key, path) = (folder.path().join("a.key"), folder.path().join("t.toml"));
        let public = |n| PrivateKey::from_bytes([n; 32]).public();
        let text = |addresses: &[u16], valid: [u64; 2]| {
            let mut text = format!(
                "version = 1\nepoch = 2\nvalid_from_ms = {}\nvalid_until_ms = {}\nhops_max = 5\n\
                 payload_bytes = 1024\nsuite = 'aes128'\ndelay_mean_us = 1\n",
                valid[0], valid[1]
            );
            for (n, port) in (1..).zip(addresses) {
                let node = NodeId::from_bytes([n; 32]);
                let key = public(n);
                text += &format!(
                    "[[layers]]\nnodes = [{{ node = '{node}', key = '{key}', address = \
                     '127.0.0.1:{port}' }}]\n"
                );
            }
            text
        };
        fs::write(&path, text(&[1, 2, 1], [1, 2])).unwrap();
        let [first, .., third] = [1, 2, 3].map(|n| NodeId::from_bytes([n; 32]));
        assert!(matches!(
            sign(&key, &path),
            Err(MixnodeError::Topology(TopologyFileError::SameAddress { node, other, .. }))
                if (node, other) == (third, first)
        ));
        for valid in [[2, 2], [2, 1]] {
            fs::write(&path, text(&[1, 2], valid)).unwrap();
            let refused = sign(&key, &path);
            let error = TopologyFileError::NeverValid {
                from: UnixMillis(valid[0]),
                until: UnixMillis(valid[1]),
            };
            assert_eq!(refused.unwrap_err().to_string(), error.to_string());
        }
        fs::write(&path, text(&[1, 2], [1, 2])).unwrap();
        sign(&key, &path).unwrap();
    }

    #[test]
    fn packets_that_fit_no_datagram_are_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let (key, path) = (folder.path().join("a.key"), folder.path().join("t.toml"));
        let text = |payload_bytes| {
            let geometry = Geometry::new(7, payload_bytes).unwrap();
            let public = PrivateKey::from_bytes([1; 32]).public();
            let signed = topology(NodeId::from_bytes([1; 32]), public, geometry);
            // The signature is the last line.
            let lines: Vec<_> = signed.lines().collect();
            lines[..lines.len() - 1].join("\n")
        };
        fs::write(&path, text(65_536)).unwrap();
        assert!(matches!(
            sign(&key, &path),
            Err(MixnodeError::PacketBytes {
                actual: 66_066,
                max: 65_481
            })
        ));
        fs::write(&path, text(64_512)).unwrap();
        sign(&key, &path).unwrap();
    }
}
