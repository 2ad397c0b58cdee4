//! `fogcompute mix send` and `mix receive`: messages between programs over a network of mixnodes.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use fogcompute_base::limits::MESSAGE_BYTES_MAX;
use fogcompute_base::{Clock, SystemClock};
use fogcompute_mix::{Contact, TopologyFile};
use thiserror::Error;

use crate::epochs::Epochs;
use crate::error::NodeError;
use crate::mixnet::{MixnetClient, MixnetClientConfig, MixnetError, MixnetMessage};
use crate::network::{NetworkConfig, NetworkError};
use crate::signals::Signals;

/// How long a receiver stays after the last message, for senders that send it again because they
/// have not heard that it came.
const LINGER: Duration = Duration::from_secs(2);

/// An answer that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) bytes_max: usize,
}

/// Why a message is not sent or received.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum MessageError {
    /// There is no topology for now.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The client.
    #[error(transparent)]
    Mixnet(#[from] MixnetError),
    /// Signals cannot be listened for.
    #[error(transparent)]
    Signals(#[from] NodeError),
    /// The message is too long.
    #[error("message has more than {max} bytes")]
    TooLong {
        /// Most bytes.
        max: usize,
    },
    /// The outcome is not known in time.
    #[error("nothing is known of the message after {within:?}")]
    Unknown {
        /// How long was waited.
        within: Duration,
    },
    /// The standard input or output.
    #[error("{doing}: {source}")]
    Stream {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

fn start(listen: SocketAddr, network: TopologyFile) -> Result<MixnetClient, MixnetError> {
    let config = MixnetClientConfig {
        listen,
        ..MixnetClientConfig::default()
    };
    MixnetClient::start(network, config)
}

fn print(bytes: &[u8]) -> Result<(), MessageError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|source| MessageError::Stream {
            doing: "writing to the standard output",
            source,
        })
}

/// Sends what the standard input has, until it is acknowledged. If an answer is wanted, prints it.
pub(crate) async fn send(
    network: NetworkConfig,
    to: Contact,
    wanted: Option<Wanted>,
    within: Duration,
) -> Result<(), MessageError> {
    let topology = network.current(&SystemClock::new())?;
    let body = body(io::stdin().lock())?;
    let client = start(network.listen, topology)?;
    if let Some(Wanted { bytes_max }) = wanted {
        let answer = client.request(to, &body, bytes_max, within)?;
        return print(&answer.await?);
    }
    let delivered = client.send(to, &body)?;
    match tokio::time::timeout(within, delivered).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(MessageError::Unknown { within }),
    }
}

fn body(input: impl io::Read) -> Result<Vec<u8>, MessageError> {
    let mut body = Vec::new();
    let max = MESSAGE_BYTES_MAX;
    let mut input = input.take(max as u64 + 1);
    let read = input.read_to_end(&mut body);
    read.map_err(|source| MessageError::Stream {
        doing: "reading the standard input",
        source,
    })?;
    if body.len() > max {
        return Err(MessageError::TooLong { max });
    }
    Ok(body)
}

/// Prints the contact of a new client, then each message that comes to it, each with a line end:
/// until there were `count` or the process is asked to stop.
///
/// When another epoch begins the client has another key, and its contact is printed again.
pub(crate) async fn receive(
    network: NetworkConfig,
    count: Option<u64>,
    answer: Option<String>,
) -> Result<(), MessageError> {
    let mut signals = Signals::listen()?;
    let clock = SystemClock::new();
    let epochs = network.epochs()?;
    let current = || epochs.current(clock.unix_now()).map_err(NetworkError::from);
    let mut epoch = current()?.epoch;
    let client = start(network.listen, current()?.clone())?;
    print(format!("contact {}\n", client.contact()?).as_bytes())?;
    let mut received = 0;
    while count.is_none_or(|count| received < count) {
        tokio::select! {
            () = signals.asked() => return Ok(()),
            message = client.receive() => {
                take(&client, &message?, answer.as_deref())?;
                received += 1;
            }
            () = tokio::time::sleep(wait(&epochs, &clock)) => {}
        }
        let topology = current()?;
        if topology.epoch != epoch {
            epoch = topology.epoch;
            client.set_topology(topology.clone())?;
            print(format!("contact {}\n", client.contact()?).as_bytes())?;
        }
    }
    // What came last may not be acknowledged yet, or its sender has not heard of it.
    let _ = tokio::time::timeout(LINGER, signals.asked()).await;
    Ok(())
}

fn take(
    client: &MixnetClient,
    message: &MixnetMessage,
    answer: Option<&str>,
) -> Result<(), MessageError> {
    print(&[&message.body, &b"\n"[..]].concat())?;
    let Some(answer) = answer.filter(|_| message.reply.count() > 0) else {
        return Ok(());
    };
    match client.reply(&message.reply, answer.as_bytes()) {
        // That somebody wants less than there is to say is no reason to end.
        Err(error @ MixnetError::Send(_)) => {
            let _ = writeln!(io::stderr(), "no answer: {error}");
            Ok(())
        }
        other => Ok(other?),
    }
}

/// How long the topology stays the same, as far as is known.
fn wait(epochs: &Epochs, clock: &SystemClock) -> Duration {
    let date = clock.unix_now();
    let next = epochs.next_change(date);
    let next = next.map(|next| Duration::from_millis(next.0.saturating_sub(date.0)));
    // The wall clock may be set meanwhile.
    let longest = Duration::from_secs(60);
    next.map_or(longest, |next| next.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_as_long_as_is_allowed_is_read_whole_and_a_longer_one_refused() {
        let allowed = body(io::repeat(7).take(MESSAGE_BYTES_MAX as u64)).unwrap();
        assert_eq!(allowed.len(), MESSAGE_BYTES_MAX);
        assert!(matches!(
            body(io::repeat(7)),
            Err(MessageError::TooLong {
                max: MESSAGE_BYTES_MAX
            })
        ));
    }
}
