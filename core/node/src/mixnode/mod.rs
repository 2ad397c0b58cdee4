//! `fogcompute mixnode`: a mixnode of a network with signed topology files.

mod config;
mod error;
mod keys;
mod loops;
mod running;
mod self_test;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use fogcompute_base::{Clock, NodeId, OsEntropy, SystemClock};
use fogcompute_mix::{Geometry, TopologyFile};
use tokio::net::TcpListener;

use crate::epochs::{self, Epochs};
use crate::files::{Readers, replace};
use crate::metrics;
use crate::signals::{Asked, Signals};

use self::config::MixnodeFile;
use self::error::{MixnodeError, file_error};
use self::keys::{Keys, hex, random_key};
use self::running::Running;

pub(crate) use self::loops::Verdict;

/// Writes lines to the standard output. A reader that has gone away stops nothing.
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
    let node = keys.identity()?.node();
    let key = match which {
        NewKey::Only => {
            // For the first key there is no topology yet.
            let epochs = file.epochs().ok();
            let date = SystemClock::new().unix_now();
            let files = epochs.iter().flat_map(Epochs::files);
            let mut to_come = files.filter(|file| file.valid_from > date);
            let to_come = to_come.find_map(|file| epochs::own(file, node));
            keys.renew(to_come.map(|own| own.key), &keys.lock()?)?
        }
        NewKey::Next => {
            let epochs = file.epochs()?;
            let known = epochs.files().iter();
            let known = known.filter_map(|file| epochs::own(file, node));
            let known: Vec<_> = known.map(|own| own.key).collect();
            match keys.spare(&known)? {
                Some(spare) => spare,
                None => keys.make()?,
            }
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
    TopologyFile::read(&signed, authority.as_bytes())?;
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
    say(&format!(
        "node {}\nlistening on {} with {} threads, packets of {} bytes",
        running.node(),
        engine.address(),
        engine.workers(),
        running.geometry().packet_bytes()
    ));
    if let Some(address) = listener.as_ref().and_then(|one| one.local_addr().ok()) {
        say(&format!("metrics at http://{address}/metrics"));
    }
    let say_all = |events: Vec<running::Event>| {
        for event in events {
            say(&event.to_string());
        }
    };
    say_all(events);
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
                            say("configuration and topologies read again");
                            say_all(events);
                        }
                        Err(error) => say(&format!("everything stays as it was: {error}")),
                    }
                }
            },
            Some(delivery) = deliveries.recv() => running.take(&delivery, clock.now()),
            () = tokio::time::sleep(running.wait(&*clock)) => {}
        }
        say_all(running.keep(&*clock));
    }
    if let Some(served) = served {
        served.abort();
        let _ = served.await;
    }
    say("asked to stop: sending what is held");
    let ended = tokio::task::spawn_blocking(move || running.end());
    let stats = match ended.await {
        Ok(ended) => ended?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    say(&format!(
        "received {}, forwarded {}, lost {} that were held too long",
        stats.mix.received, stats.mix.forwarded, stats.undrained
    ));
    Ok(())
}
