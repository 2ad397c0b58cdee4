//! Counters for Prometheus, by HTTP.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fogcompute_mix::CoverStats;
use fogcompute_net::{EngineHandle, EngineStats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::error::NodeError;
use crate::mixnode::Verdict;

/// Most bytes of a request's head.
const REQUEST_BYTES_MAX: usize = 4096;
/// Most requests at once. A further one ends the oldest.
const REQUESTS_MAX: usize = 16;

/// How long one connection is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the head of its request.
    head: Duration,
    /// For all of it to be answered.
    request: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(1),
    request: Duration::from_secs(5),
};

/// A node as its metrics show it.
#[derive(Debug)]
pub(crate) struct Status {
    engine: EngineHandle,
    told: Mutex<Told>,
}

/// What a node's main task has told last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// What became of its loops.
    pub(crate) cover: CoverStats,
    /// What they say of the network.
    pub(crate) verdict: Verdict,
    /// The epoch whose topology is valid.
    pub(crate) epoch: Option<u64>,
}

impl Status {
    pub(crate) fn new(engine: EngineHandle) -> Self {
        Self {
            engine,
            told: Mutex::default(),
        }
    }

    pub(crate) const fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    pub(crate) fn into_engine(self) -> EngineHandle {
        self.engine
    }

    pub(crate) fn tell(&self, told: Told) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            stats: self.engine.stats(),
            told: *self.told.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// All there is to show at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Snapshot {
    stats: EngineStats,
    told: Told,
}

/// What there is to read.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// `/metrics`, in the text format of Prometheus, version 0.0.4.
    pub(crate) metrics: String,
    /// `/health` and `/healthz`: why it is not well, if it is not.
    pub(crate) health: Result<String, String>,
}

impl Snapshot {
    fn pages(&self) -> Pages {
        Pages {
            metrics: render(self),
            health: health(&self.told),
        }
    }
}

/// Listens for readers of metrics. Says where.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |source| NodeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Answers `GET /metrics` and `GET /health` until it is dropped.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>) {
    let read = || std::future::ready(Some(status.snapshot().pages()));
    serve_with(listener, read, PATIENCE).await;
}

/// As [`serve`], in a task of its own, for pages that whoever receives the requests writes.
pub(crate) fn serve_pages(
    listener: TcpListener,
    asked: mpsc::Sender<oneshot::Sender<Pages>>,
) -> JoinSet<()> {
    let read = move || {
        let asked = asked.clone();
        async move {
            let (reply, pages) = oneshot::channel();
            asked.send(reply).await.ok()?;
            pages.await.ok()
        }
    };
    let mut serving = JoinSet::new();
    serving.spawn(serve_with(listener, read, PATIENCE));
    serving
}

async fn serve_with<R>(listener: TcpListener, read: impl Fn() -> R, patience: Patience)
where
    R: Future<Output = Option<Pages>> + Send + 'static,
{
    let mut answers = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, or a connection that ended while it waited.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while answers.try_join_next().is_some() {}
        open.retain(|answer| !answer.is_finished());
        // Who sends a request and reads the answer is not long among the oldest; who does neither
        // keeps nobody waiting.
        if open.len() >= REQUESTS_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let pages = read();
        open.push_back(answers.spawn(async move {
            let answered = answer(stream, pages, patience.head);
            let _ = timeout(patience.request, answered).await;
        }));
        // Those that came at once are each looked at before more are taken.
        tokio::task::yield_now().await;
    }
}

async fn answer(
    mut stream: TcpStream,
    pages: impl Future<Output = Option<Pages>>,
    head_max: Duration,
) -> io::Result<()> {
    let Some(head) = timeout(head_max, head(&mut stream)).await?? else {
        return Ok(());
    };
    let Some(pages) = pages.await else {
        return Ok(());
    };
    let response = response(&head, pages);
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// The head of a request; nothing if it ends before or is too long.
async fn head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut part = [0; 512];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut part).await?;
        if count == 0 || head.len() + count > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        head.extend_from_slice(&part[..count]);
    }
    Ok(Some(head))
}

/// What a request whose head has come gets.
fn response(head: &[u8], pages: Pages) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", pages.metrics),
        (Some(b"GET"), Some(b"/health" | b"/healthz")) => match pages.health {
            Ok(text) => ("200 OK", format!("{text}\n")),
            Err(text) => ("503 Service Unavailable", format!("{text}\n")),
        },
        (Some(b"GET"), Some(_)) => (
            "404 Not Found",
            "there are /metrics and /health\n".to_owned(),
        ),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Whether the node is of use to its network.
fn health(told: &Told) -> Result<String, String> {
    if told.epoch.is_none() {
        return Err("no topology is valid".to_owned());
    }
    match told.verdict {
        Verdict::Sound => Ok(told.verdict.to_string()),
        Verdict::Losing { .. } => Err(told.verdict.to_string()),
    }
}

/// The counters in the text format of Prometheus, version 0.0.4.
fn render(snapshot: &Snapshot) -> String {
    let Snapshot { stats, told } = snapshot;
    let mut text = String::new();
    let mut counter = |name: &str, help: &str, values: &[(&str, u64)]| {
        let _ = writeln!(text, "# HELP fogcompute_mix_{name}_total {help}");
        let _ = writeln!(text, "# TYPE fogcompute_mix_{name}_total counter");
        for (label, value) in values {
            let _ = writeln!(text, "fogcompute_mix_{name}_total{label} {value}");
        }
    };
    counter(
        "datagrams",
        "Datagrams that came in.",
        &[("", stats.datagrams)],
    );
    counter(
        "received",
        "Packets that came in.",
        &[("", stats.mix.received)],
    );
    counter(
        "forwarded",
        "Packets whose delay was over.",
        &[("", stats.mix.forwarded)],
    );
    counter("sent", "Packets sent.", &[("", stats.sent)]);
    counter(
        "delivered",
        "Packets that were for this node.",
        &[("", stats.mix.delivered)],
    );
    counter(
        "dropped_packets",
        "Packets dropped, by reason.",
        &[
            ("{reason=\"malformed\"}", stats.mix.malformed),
            ("{reason=\"replayed\"}", stats.mix.replayed),
            ("{reason=\"overloaded\"}", stats.mix.overloaded),
            ("{reason=\"late\"}", stats.mix.late),
            ("{reason=\"refused\"}", stats.mix.refused),
            ("{reason=\"draining\"}", stats.draining),
            ("{reason=\"unknown_peer\"}", stats.unknown_peer),
            ("{reason=\"unreachable\"}", stats.unreachable),
            ("{reason=\"unsent\"}", stats.unsent),
            ("{reason=\"undelivered\"}", stats.undelivered),
            ("{reason=\"undrained\"}", stats.undrained),
        ],
    );
    counter(
        "dropped_datagrams",
        "Datagrams dropped before their packet was looked at, by reason.",
        &[
            ("{reason=\"length\"}", stats.length),
            ("{reason=\"kind\"}", stats.kind),
            ("{reason=\"index\"}", stats.index),
            ("{reason=\"forged\"}", stats.forged),
            ("{reason=\"replayed\"}", stats.replayed),
            ("{reason=\"unproven\"}", stats.unproven),
            ("{reason=\"over_rate\"}", stats.over_rate),
            ("{reason=\"full\"}", stats.full),
        ],
    );
    counter("loops_sent", "Loops sent.", &[("", told.cover.loops_sent)]);
    counter(
        "loops_returned",
        "Loops that came back in time.",
        &[("", told.cover.loops_returned)],
    );
    counter(
        "loops_lost",
        "Loops that did not come back in time.",
        &[("", told.cover.loops_lost)],
    );
    counter(
        "drops_received",
        "Drop cover of clients that ended here.",
        &[("", told.cover.drops_received)],
    );
    if let Some(epoch) = told.epoch {
        text.push_str("# HELP fogcompute_mix_epoch The epoch whose topology is valid.\n");
        text.push_str("# TYPE fogcompute_mix_epoch gauge\n");
        let _ = writeln!(text, "fogcompute_mix_epoch {epoch}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_metrics_as_they_are() {
        // It named the fields of a struct.
        let manual = include_str!("../../../docs/mixnet.md");
        let metrics = render(&Snapshot::default());
        let quoted = manual.split('`').skip(1).step_by(2);
        let named: Vec<_> = quoted
            .filter(|name| name.starts_with("fogcompute_mix_"))
            .collect();
        assert!(named.len() >= 5, "{named:?}");
        for name in named {
            assert!(metrics.contains(&format!("\n{name} ")), "{name}");
        }
    }

    #[test]
    fn requests_get_their_answers() {
        let mut snapshot = Snapshot::default();
        snapshot.stats.mix.late = 7;
        snapshot.stats.forged = 9;
        snapshot.told.cover.loops_lost = 3;
        snapshot.told.epoch = Some(12);
        let metrics = response(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            snapshot.pages(),
        );
        let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("fogcompute_mix_dropped_packets_total{reason=\"late\"} 7\n"));
        assert!(body.contains("fogcompute_mix_dropped_datagrams_total{reason=\"forged\"} 9\n"));
        assert!(body.contains("fogcompute_mix_loops_lost_total 3\n"));
        assert!(body.contains("fogcompute_mix_epoch 12\n"));
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').unwrap();
            assert!(
                name.starts_with("fogcompute_mix_") && value.parse::<u64>().is_ok(),
                "{line}"
            );
        }
        for (request, status) in [
            (&b"GET /health HTTP/1.1\r\n\r\n"[..], "200"),
            (b"GET /healthz HTTP/1.1\r\n\r\n", "200"),
            (b"GET / HTTP/1.1\r\n\r\n", "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"\r\n\r\n", "405"),
            (b"\xff\xff\r\n\r\n", "405"),
        ] {
            let answer = response(request, snapshot.pages());
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    }

    /// Far longer than a test takes.
    const LONG: Duration = Duration::from_secs(100_000);

    async fn served(head: Duration) -> (std::net::SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience {
            head,
            request: LONG,
        };
        let mut serving = JoinSet::new();
        let read = || std::future::ready(Some(Snapshot::default().pages()));
        serving.spawn(serve_with(listener, read, patience));
        (address, serving)
    }

    #[tokio::test]
    async fn requests_that_never_end_keep_nobody_waiting() {
        // 120 of them had kept /health waiting for half a minute: each had its place for 5 s.
        let (address, _serving) = served(LONG).await;
        let mut half = Vec::new();
        for _ in 0..5 * REQUESTS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /health HTT").await.unwrap();
            half.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /health HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        let answered = timeout(Duration::from_secs(60), stream.read_to_string(&mut text));
        answered.await.expect("an answer").unwrap();
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
        // The last ones still have their places.
        let last = half.last_mut().unwrap();
        last.write_all(b"P/1.1\r\n\r\n").await.unwrap();
        let mut text = String::new();
        last.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    }

    #[tokio::test]
    async fn a_request_whose_head_does_not_come_is_ended() {
        let (address, _serving) = served(Duration::from_millis(1)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        let read = timeout(Duration::from_secs(60), stream.read(&mut byte));
        assert_eq!(read.await.expect("an end").unwrap(), 0);
    }

    #[test]
    fn a_node_that_loses_loops_or_has_no_topology_is_not_healthy() {
        let sound = Told {
            epoch: Some(1),
            ..Told::default()
        };
        let losing = Told {
            verdict: Verdict::Losing { lost: 12, of: 20 },
            ..sound
        };
        assert_eq!(health(&sound), Ok("ok".to_owned()));
        let lost = "12 of the last 20 loops were lost".to_owned();
        assert_eq!(health(&losing), Err(lost));
        let none = "no topology is valid".to_owned();
        assert_eq!(health(&Told::default()), Err(none));
    }
}
