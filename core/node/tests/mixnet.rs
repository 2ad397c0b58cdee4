//! A mixnet of processes on loopback: keys, signatures, pings, epochs, ends of every kind.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use fogcompute_base::{Clock, SystemClock};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// Longer than anything here takes: a test that fails should not hang.
const PATIENCE: Duration = Duration::from_secs(120);
const DAY_MS: u64 = 86_400_000;

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fogcompute"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> Output {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    output.expect("the process does not end").unwrap()
}

/// What a command that succeeds prints.
async fn printed(command: Command) -> String {
    let output = output(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says when it fails.
async fn refused(command: Command) -> String {
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// A free port which the system gives to nobody by itself, as it does those from 32768 on.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other runs of this test begin elsewhere.
    let start = (std::process::id() % 10_000) as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + (start + step) % 12_000));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

struct Site {
    folder: TempDir,
    authority: String,
    ports: [u16; 3],
    /// Each node's line of the topology.
    lines: [String; 3],
    start_ms: u64,
}

/// A node that runs.
struct Node {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    metrics: SocketAddr,
}

impl Site {
    /// Keys, configurations and a topology of the first epoch.
    async fn new() -> Self {
        let mut site = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: "00".repeat(32),
            ports: [free_port(), free_port(), free_port()],
            lines: Default::default(),
            start_ms: SystemClock::new().unix_now().0,
        };
        for number in 0..3 {
            fs::create_dir(site.path(&format!("n{number}"))).unwrap();
            site.configure(number, "");
            site.new_key(number, "--new-key").await;
        }
        site.sign("topology.toml", 1, -1, 1).await;
        for number in 0..3 {
            site.configure(number, "");
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, number: usize) -> PathBuf {
        self.path(&format!("n{number}/node.toml"))
    }

    fn configure(&self, number: usize, more: &str) {
        let text = format!(
            "listen = '127.0.0.1:{}'\ndata = 'data'\ntopology = '../topology.toml'\n\
             next_topology = '../next.toml'\nauthority = '{}'\nmetrics = '127.0.0.1:0'\n\
             replay_tags_max = 10000\n{more}\n[cover]\nloop_mean_ms = 20\n",
            self.ports[number], self.authority
        );
        fs::write(self.config(number), text).unwrap();
    }

    fn mixnode(&self, number: usize, options: &str) -> Command {
        let mut command = command(&format!("mixnode {options}"));
        command.arg("--config").arg(self.config(number));
        command
    }

    async fn new_key(&mut self, number: usize, option: &str) {
        let line = printed(self.mixnode(number, option)).await;
        self.lines[number] = line.trim().to_owned();
    }

    /// A date so many days from now.
    fn date(&self, days: i64) -> u64 {
        self.start_ms.saturating_add_signed(days * DAY_MS as i64)
    }

    fn unsigned(&self, epoch: u64, valid: [u64; 2], hops_max: u32) -> String {
        let layers = self.lines.iter();
        let layers = layers.map(|line| format!("[[layers]]\nnodes = [{line}]\n"));
        format!(
            "version = 1\nepoch = {epoch}\nvalid_from_ms = {}\nvalid_until_ms = {}\n\
             hops_max = {hops_max}\npayload_bytes = 1024\nsuite = 'aes128'\n\
             delay_mean_us = 1000\n{}",
            valid[0],
            valid[1],
            layers.collect::<String>()
        )
    }

    fn signing(&self, text: &str) -> Command {
        let unsigned = self.path("unsigned.toml");
        fs::write(&unsigned, text).unwrap();
        let mut command = command("mix sign");
        command.arg("--key").arg(self.path("authority.key"));
        command.arg("--topology").arg(unsigned);
        command
    }

    /// Signs the nodes' lines for an epoch; its time is in days from now.
    async fn sign(&mut self, name: &str, epoch: u64, from_days: i64, until_days: i64) {
        let valid = [from_days, until_days].map(|days| self.date(days));
        self.sign_for(name, epoch, valid).await;
    }

    async fn sign_for(&mut self, name: &str, epoch: u64, valid: [u64; 2]) {
        let text = self.unsigned(epoch, valid, 5);
        let signed = output(self.signing(&text)).await;
        assert!(signed.status.success());
        let said = String::from_utf8(signed.stderr).unwrap();
        let authority = said.trim().strip_prefix("authority ").unwrap();
        self.authority = authority.to_owned();
        fs::write(self.path(name), signed.stdout).unwrap();
    }

    async fn start(&self, number: usize) -> Node {
        let mut child = self.mixnode(number, "").spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = self.ports[number].to_string();
        let listening = line_with(&mut said, "listening on").await;
        assert!(listening.contains(&port), "{listening}");
        let metrics = line_with(&mut said, "metrics at").await;
        let address = metrics.trim_start_matches("metrics at http://");
        let metrics = address.trim_end_matches("/metrics").parse().unwrap();
        line_with(&mut said, "is valid now").await;
        Node {
            child,
            said,
            metrics,
        }
    }

    async fn refused(&self, number: usize) -> String {
        refused(self.mixnode(number, "")).await
    }

    fn ping(&self, topologies: &[&str], options: &str) -> Command {
        let mut command = command(&format!(
            "mix ping --authority {} --listen 127.0.0.1:0 {options}",
            self.authority
        ));
        for topology in topologies {
            command.arg("--topology").arg(self.path(topology));
        }
        command
    }

    /// A command of the network's users.
    fn mix(&self, options: &str) -> Command {
        let mut command = command(&format!(
            "mix {options} --authority {} --listen 127.0.0.1:0",
            self.authority
        ));
        command.arg("--topology").arg(self.path("topology.toml"));
        command
    }

    /// Pings until all come back: a node that a busy machine held up drops what is late.
    async fn pings(&self, topologies: &[&str]) {
        let options = "--count 8 --interval-ms 5 --timeout-ms 5000";
        for _ in 0..5 {
            let said = printed(self.ping(topologies, options)).await;
            if said.contains("8 of 8 came back") {
                return;
            }
        }
        panic!("packets are lost again and again");
    }
}

async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, part: &str) -> String {
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("nothing is said").unwrap().expect(part);
        if line.contains(part) {
            return line;
        }
    }
}

async fn send(signal: &str, child: &Child) {
    let pid = child.id().unwrap().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().await;
    assert!(sent.unwrap().success());
}

impl Node {
    async fn says(&mut self, part: &str) -> String {
        line_with(&mut self.said, part).await
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
        read.expect("no answer").unwrap();
        answer
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = self.get("/metrics").await;
        let mut lines = answer.lines();
        let line = lines.find_map(|line| line.strip_prefix(&format!("fogcompute_mix_{name} ")));
        line.expect(name).parse().unwrap()
    }

    /// Asks until a metric is as it should be.
    async fn reaches(&self, name: &str, least: u64) {
        let reached = async {
            while self.metric(name).await < least {
                tokio::task::yield_now().await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("{name} does not reach {least}"));
    }

    /// Asks until the node is healthy: loops to nodes that were not there yet were lost.
    async fn is_healthy(&self) {
        let healthy = async {
            while !self.get("/health").await.starts_with("HTTP/1.1 200 OK") {
                tokio::task::yield_now().await;
            }
        };
        let healthy = tokio::time::timeout(PATIENCE, healthy).await;
        healthy.expect("the node does not become healthy");
    }

    async fn ends(mut self, signal: &str) -> Option<i32> {
        send(signal, &self.child).await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the process does not end").unwrap().code()
    }
}

#[tokio::test]
async fn three_nodes_carry_pings_and_loops_and_their_keys_outlive_a_clean_end_only() {
    let mut site = Site::new().await;
    let mut nodes = Vec::new();
    for number in 0..3 {
        nodes.push(site.start(number).await);
    }
    site.pings(&["topology.toml"]).await;
    for node in &nodes {
        assert!(node.metric("forwarded_total").await >= 8);
        assert_eq!(node.metric("epoch").await, 1);
        node.reaches("loops_returned_total", 20).await;
        node.is_healthy().await;
    }
    send("-HUP", &nodes[0].child).await;
    nodes[0].says("topologies read again").await;
    fs::write(site.path("next.toml"), "epoch = 2").unwrap();
    send("-HUP", &nodes[0].child).await;
    let said = nodes[0].says("stays as it was").await;
    assert!(said.contains("no signature"), "{said}");
    fs::remove_file(site.path("next.toml")).unwrap();
    // Nobody else gets its folder or its port while it runs.
    for option in ["", "--new-key"] {
        let said = refused(site.mixnode(0, option)).await;
        assert!(said.contains("a node that runs has"), "{said}");
    }

    let mut first = nodes.remove(0);
    send("-TERM", &first.child).await;
    first.says("asked to stop").await;
    first.says("received").await;
    assert!(first.child.wait().await.unwrap().success());
    // With its kept key it is back, and knows what it saw.
    let first = site.start(0).await;
    site.pings(&["topology.toml"]).await;
    assert_eq!(first.ends("-KILL").await, None);
    let said = site.refused(0).await;
    assert!(
        said.contains("did not end cleanly") && said.contains("--new-key"),
        "{said}"
    );
    let old = site.lines[0].clone();
    site.new_key(0, "--new-key").await;
    assert_ne!(site.lines[0], old);
    let said = site.refused(0).await;
    assert!(said.contains("which is not in"), "{said}");
    site.sign("topology.toml", 1, -1, 1).await;
    let first = site.start(0).await;
    for node in &nodes {
        send("-HUP", &node.child).await;
    }
    for node in &mut nodes {
        node.says("topologies read again").await;
    }
    site.pings(&["topology.toml"]).await;
    assert_eq!(first.ends("-INT").await, Some(0));
    for node in nodes {
        assert_eq!(node.ends("-TERM").await, Some(0));
    }
}

#[tokio::test]
async fn the_next_epoch_is_published_ahead_and_both_are_served_until_the_first_is_over() {
    let mut site = Site::new().await;
    let mut nodes = Vec::new();
    for number in 0..3 {
        nodes.push(site.start(number).await);
    }
    // While the nodes run. Asked twice, it is the same key.
    for number in 0..3 {
        let first = site.lines[number].clone();
        site.new_key(number, "--next-key").await;
        let next = site.lines[number].clone();
        assert_ne!(next, first);
        site.new_key(number, "--next-key").await;
        assert_eq!(site.lines[number], next);
    }
    // Its time has come already, so that nobody has to wait.
    site.sign("next.toml", 2, -1, 1).await;
    for node in &mut nodes {
        send("-HUP", &node.child).await;
        node.says("the key of epoch 2 is in use").await;
        node.says("epoch 2 is valid now").await;
        assert_eq!(node.metric("epoch").await, 2);
    }
    // The first that turned have sent loops to nodes that had not, which only a boundary in the
    // past makes: from here on everybody has all keys.
    let malformed = "dropped_packets_total{reason=\"malformed\"}";
    site.pings(&["topology.toml", "next.toml"]).await;
    let mut before = Vec::new();
    for node in &nodes {
        before.push(node.metric(malformed).await);
    }
    site.pings(&["topology.toml"]).await;
    for (node, before) in nodes.iter().zip(before) {
        assert_eq!(node.metric(malformed).await, before);
    }
    // A crash now costs both keys.
    let crashed = nodes.remove(0);
    assert_eq!(crashed.ends("-KILL").await, None);
    let said = site.refused(0).await;
    assert!(said.contains("did not end cleanly"), "{said}");
    // The first epoch was over long ago: its keys are erased, packets to them are dropped.
    let kept = fs::read(site.path("topology.toml")).unwrap();
    let lines = std::mem::take(&mut site.lines);
    site.lines = topology_lines(&site.path("topology.toml"));
    site.sign("topology.toml", 1, -2, -1).await;
    site.lines = lines;
    for node in &mut nodes {
        send("-HUP", &node.child).await;
        node.says("the key of epoch 1 is erased").await;
    }
    fs::write(site.path("topology.toml"), kept).unwrap();
    for node in nodes {
        assert_eq!(node.ends("-TERM").await, Some(0));
    }
}

#[tokio::test]
async fn nodes_and_receivers_turn_to_the_next_epoch_by_themselves() {
    let mut site = Site::new().await;
    let mut nodes = Vec::new();
    for number in 0..3 {
        nodes.push(site.start(number).await);
        site.new_key(number, "--next-key").await;
    }
    // Some seconds ahead. On a machine that takes longer until all are told, they turn at once.
    let boundary = SystemClock::new().unix_now().0 + 4_000;
    let end = site.date(1);
    site.sign_for("next.toml", 2, [boundary, end]).await;
    for node in &mut nodes {
        send("-HUP", &node.child).await;
        node.says("the key of epoch 2 is in use").await;
    }
    let mut receive = site.mix("receive --count 1");
    receive.arg("--topology").arg(site.path("next.toml"));
    let mut receiver = receive.spawn().unwrap();
    let mut said = BufReader::new(receiver.stdout.take().unwrap()).lines();
    for node in &mut nodes {
        node.says("epoch 2 is valid now").await;
    }
    let contact = line_with(&mut said, ":even").await;
    let contact = contact.trim_start_matches("contact ");
    let mut sending = site.mix(&format!("send --to {contact}"));
    sending.arg("--topology").arg(site.path("next.toml"));
    printed(sending).await;
    let ended = tokio::time::timeout(PATIENCE, receiver.wait()).await;
    assert!(ended.unwrap().unwrap().success());
    for node in nodes {
        node.is_healthy().await;
        assert_eq!(node.ends("-TERM").await, Some(0));
    }
}

/// The nodes' lines of a topology with one in each layer.
fn topology_lines(path: &Path) -> [String; 3] {
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("nodes = ["));
    let lines: Vec<_> = lines
        .map(|line| line.trim_end_matches(']').to_owned())
        .collect();
    lines.try_into().unwrap()
}

#[tokio::test]
async fn a_message_is_sent_acknowledged_and_answered() {
    let site = Site::new().await;
    let mut nodes = Vec::new();
    for number in 0..3 {
        nodes.push(site.start(number).await);
    }
    let mut receive = site.mix("receive --count 2 --answer pong");
    let mut receiver = receive.spawn().unwrap();
    let mut said = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let contact = line_with(&mut said, "contact ").await;
    let contact = contact.trim_start_matches("contact ");

    let send_it = async |options: &str, body: &str| {
        let input = site.path("body");
        fs::write(&input, body).unwrap();
        let mut command = site.mix(&format!("send --to {contact} {options}"));
        command.stdin(fs::File::open(input).unwrap());
        printed(command).await
    };
    // Longer than a packet.
    let long = "fog ".repeat(2000);
    assert_eq!(send_it("", &long).await, "");
    assert_eq!(line_with(&mut said, "fog").await, long);
    assert_eq!(send_it("--reply", "ping").await, "pong");
    assert_eq!(line_with(&mut said, "ping").await, "ping");
    let ended = tokio::time::timeout(PATIENCE, receiver.wait()).await;
    assert!(ended.unwrap().unwrap().success());

    // Now nobody is there.
    let said = refused(site.mix(&format!("send --to {contact} --timeout-ms 50"))).await;
    assert!(said.contains("nothing is known"), "{said}");
    let said = refused(site.mix(&format!("send --to {contact} --reply --timeout-ms 50"))).await;
    assert!(said.contains("no answer within 50ms"), "{said}");
    let other = contact.replace(":odd", ":even");
    let said = refused(site.mix(&format!("send --to {other}"))).await;
    assert!(said.contains("epoch"), "{said}");
    let nonsense = output(site.mix("send --to nobody")).await;
    assert_eq!(nonsense.status.code(), Some(2));
    // Asked to end, a receiver does.
    let mut receiver = site.mix("receive").spawn().unwrap();
    let mut said = BufReader::new(receiver.stdout.take().unwrap()).lines();
    line_with(&mut said, "contact ").await;
    send("-TERM", &receiver).await;
    let ended = tokio::time::timeout(PATIENCE, receiver.wait()).await;
    assert!(ended.unwrap().unwrap().success());
    for node in nodes {
        assert_eq!(node.ends("-TERM").await, Some(0));
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_name() {
    let mut site = Site::new().await;
    let sound = fs::read_to_string(site.path("topology.toml")).unwrap();
    let said = |said: String, part: &str| assert!(said.contains(part), "{part}: {said}");

    let taken = UdpSocket::bind(("127.0.0.1", site.ports[0])).unwrap();
    said(site.refused(0).await, "is in use");
    drop(taken);
    // Its key was not used up by that.
    assert_eq!(site.start(0).await.ends("-TERM").await, Some(0));

    fs::write(
        site.path("topology.toml"),
        sound.replacen("1024", "2048", 1),
    )
    .unwrap();
    said(site.refused(0).await, "signature does not verify");
    let ping = site.ping(&["topology.toml"], "--count 1");
    said(refused(ping).await, "signature does not verify");
    fs::remove_file(site.path("topology.toml")).unwrap();
    said(site.refused(0).await, "reading");
    said(
        refused(site.ping(&["topology.toml"], "--count 1")).await,
        "reading",
    );

    let other = site.lines[0].clone();
    site.lines[0].replace_range(10..74, &"ab".repeat(32));
    site.sign("topology.toml", 1, -1, 1).await;
    said(site.refused(0).await, "is not in the topology of epoch 1");
    site.lines[0] = other;
    for (days, part) in [([-2, -1], "was valid until"), ([1, 2], "valid from")] {
        site.sign("topology.toml", 1, days[0], days[1]).await;
        said(site.refused(0).await, part);
        let ping = site.ping(&["topology.toml"], "--count 1");
        said(refused(ping).await, part);
    }
    site.sign("next.toml", 3, -1, 1).await;
    let ping = site.ping(&["topology.toml", "next.toml"], "--count 1");
    said(refused(ping).await, "both odd or both even");
    fs::remove_file(site.path("next.toml")).unwrap();

    // What no node would read is not signed.
    for (hops, part) in [(3, "more hops than hops_max, 3"), (8, "hops")] {
        let text = site.unsigned(1, [0, site.date(1)], hops);
        said(refused(site.signing(&text)).await, part);
    }
    let text = site.unsigned(1, [0, site.date(1)], 5) + "[[strata]]\n";
    said(refused(site.signing(&text)).await, "strata");

    fs::write(site.path("topology.toml"), &sound).unwrap();
    site.configure(0, "workres = 2");
    said(site.refused(0).await, "workres");
    site.configure(0, "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = fs::read_to_string(site.config(0)).unwrap();
    fs::write(site.config(0), text.replace("127.0.0.1:0", &address)).unwrap();
    said(site.refused(0).await, "for metrics");
    site.configure(0, "");
    fs::write(site.path("n0/data/identity.key"), b"short").unwrap();
    said(site.refused(0).await, "a key has 32");
    said(
        refused(command("mixnode --config none")).await,
        "reading none",
    );
    // Without nodes that answer, nothing comes back.
    let options = "--count 1 --interval-ms 1 --timeout-ms 50";
    let ping = site.ping(&["topology.toml"], options);
    said(refused(ping).await, "none of 1 packets came back");
    for nonsense in [
        "mixnode",
        "mix ping --topology t",
        "mixnode --config c --json",
    ] {
        assert_eq!(output(command(nonsense)).await.status.code(), Some(2));
    }
}

#[tokio::test]
async fn the_self_test_needs_no_topology_and_says_what_it_measured() {
    let mut site = Site::new().await;
    fs::remove_file(site.path("topology.toml")).unwrap();
    let printed_json = printed(site.mixnode(0, "--self-test --json")).await;
    let report: serde_json::Value = serde_json::from_str(&printed_json).unwrap();
    let figure = |name: &str| report[name].as_u64().expect(name);
    assert_eq!(report["from_topology"], false);
    assert!(figure("unwraps_per_second_solo") > 0);
    assert!(figure("unwraps_per_second_saturated") > 0);
    let relays = figure("relays_per_second_saturated");
    assert_eq!(figure("trusted_packets_per_second"), relays / 2);
    assert_eq!(report["x25519"].as_array().unwrap().len(), 2);
    // Of the network's own packets, and for people.
    site.sign("topology.toml", 1, -1, 1).await;
    let text = printed(site.mixnode(0, "--self-test")).await;
    assert!(
        text.contains("5 hops, 1024 bytes of payload: of the topology"),
        "{text}"
    );
    assert!(text.contains("may be trusted with"), "{text}");
}
