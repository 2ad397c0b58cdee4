//! Packets as text, to compare this with other implementations of BitChat.
//!
//! `cargo run -p fogcompute-mesh --example packets` writes a packet of each kind, one a line: a name, and its bytes
//! in hexadecimal. With `decode`, it reads such lines and writes what it understands of each.

use std::error::Error;
use std::fmt::Write;
use std::io::{self, BufRead};

use fogcompute_base::UnixMillis;
use fogcompute_mesh::file::File;
use fogcompute_mesh::{Announce, Identity, Packet, PacketType, PeerId};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("decode") {
        for line in io::stdin().lock().lines() {
            let line = line?;
            let (name, hex) = line.split_once(' ').unwrap_or(("packet", &line));
            match Packet::decode(&from_hex(hex)?) {
                Ok((packet, tail)) => println!(
                    "{name} version {} type {:#04x} ttl {} time {} sender {} payload {} {tail:?}",
                    packet.version(),
                    packet.kind.0,
                    packet.ttl,
                    packet.timestamp.0,
                    packet.sender,
                    to_hex(packet.payload()),
                ),
                Err(error) => println!("{name} {error}"),
            }
        }
        return Ok(());
    }
    let identity = Identity::from_bytes([1; 32], [2; 32]);
    let announce = Announce::new(
        "alice".to_owned(),
        identity.noise_key(),
        identity.verify_key(),
    );
    let file = File {
        name: Some("a.txt".to_owned()),
        mime: Some("text/plain".to_owned()),
        content: b"abc".to_vec(),
    };
    let text = "a text that is packed ".repeat(20);
    for (name, kind, payload) in [
        ("announce", PacketType::ANNOUNCE, announce.encode()?),
        ("message", PacketType::MESSAGE, b"hello mesh".to_vec()),
        ("packed", PacketType::MESSAGE, text.into_bytes()),
        ("file", PacketType::FILE, file.encode()?),
        ("leave", PacketType::LEAVE, Vec::new()),
    ] {
        let time = UnixMillis(1_760_000_000_123);
        let mut packet = Packet::new(kind, identity.peer_id(), time, payload)?;
        packet.sign(&identity);
        println!("{name} {}", to_hex(&packet.to_frame()));
    }
    let time = UnixMillis(1_760_000_000_123);
    let noise = Packet::new(PacketType::HANDSHAKE, identity.peer_id(), time, vec![7; 32])?;
    let noise = noise.to(PeerId::from_bytes([9; 8]));
    println!("handshake {}", to_hex(&noise.to_frame()));
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits = text.trim().as_bytes();
    digits
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
