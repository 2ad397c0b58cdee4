//! Counters for Prometheus, by HTTP.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_net::{EngineHandle, EngineStats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most bytes of a request's head.
const REQUEST_BYTES_MAX: usize = 4096;
/// Most requests at once.
const REQUESTS_MAX: usize = 16;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers `GET /metrics` and `GET /health` until it is dropped.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<EngineHandle>) {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut answers = tokio::task::JoinSet::new();
    loop {
        while answers.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, or a connection that ended while it waited.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let stats = engine.stats();
        answers.spawn(async move {
            let _ = timeout(REQUEST_TIMEOUT, answer(stream, &stats)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, stats: &EngineStats) -> io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 512];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut part).await?;
        if count == 0 || head.len() + count > REQUEST_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&part[..count]);
    }
    stream.write_all(response(&head, stats).as_bytes()).await?;
    stream.shutdown().await
}

/// What a request whose head has come gets.
fn response(head: &[u8], stats: &EngineStats) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", render(stats)),
        (Some(b"GET"), Some(b"/health")) => ("200 OK", "ok\n".to_owned()),
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

/// The counters in the text format of Prometheus, version 0.0.4.
fn render(stats: &EngineStats) -> String {
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
            ("{reason=\"over_rate\"}", stats.over_rate),
            ("{reason=\"full\"}", stats.full),
        ],
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_get_their_answers() {
        let mut stats = EngineStats::default();
        stats.mix.late = 7;
        stats.forged = 9;
        let metrics = response(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &stats);
        let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("fogcompute_mix_dropped_packets_total{reason=\"late\"} 7\n"));
        assert!(body.contains("fogcompute_mix_dropped_datagrams_total{reason=\"forged\"} 9\n"));
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').unwrap();
            assert!(
                name.starts_with("fogcompute_mix_") && value.parse::<u64>().is_ok(),
                "{line}"
            );
        }
        for (request, status) in [
            (&b"GET /health HTTP/1.1\r\n\r\n"[..], "200"),
            (b"GET / HTTP/1.1\r\n\r\n", "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"\r\n\r\n", "405"),
            (b"\xff\xff\r\n\r\n", "405"),
        ] {
            let answer = response(request, &stats);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    }
}
