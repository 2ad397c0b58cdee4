//! Fragments in any order and shape, over several links, and time: memory stays within its limits, and what
//! is put together is what was cut.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::{Instant, UnixMillis};
use fogcompute_mesh::fragment::{Reassembler, ReassemblyConfig, split};
use fogcompute_mesh::{Fragment, Packet, PacketType, PeerId};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw(&'a [u8]),
    Shaped {
        id: u8,
        index: u8,
        total: u8,
        data: &'a [u8],
    },
    /// A part of a packet that an honest peer cut.
    Sound {
        index: u8,
    },
    Wait {
        ms: u16,
    },
}

fuzz_target!(|steps: Vec<(u8, Step<'_>)>| {
    let config = ReassemblyConfig {
        sets_max: 4,
        bytes_max: 8192,
        timeout: Duration::from_secs(30),
    };
    let sender = PeerId::from_bytes([7; 8]);
    let payload = (0..2000_u32).map(|n| (n * n / 7) as u8).collect();
    let packet = Packet::new(PacketType::FILE, sender, UnixMillis(1), payload);
    let packet = packet.expect("it is short");
    let honest = split(&packet, 512, [0xaa; 8]).expect("it takes few fragments");
    let mut held = Reassembler::new(config);
    let mut now = Instant::ZERO;
    for (link, step) in steps {
        let bytes = match step {
            Step::Raw(bytes) => bytes.to_vec(),
            Step::Shaped {
                id,
                index,
                total,
                data,
            } => Fragment {
                id: [id % 8; 8],
                index: u16::from(index % 8),
                total: u16::from(total % 8),
                kind: PacketType::FILE,
                data,
            }
            .encode(),
            Step::Sound { index } => {
                let at = usize::from(index) % honest.len();
                honest[at].payload().to_vec()
            }
            Step::Wait { ms } => {
                now = now + Duration::from_millis(ms.into());
                held.handle_timeout(now);
                continue;
            }
        };
        if let Ok(fragment) = Fragment::decode(&bytes)
            && let Ok(Some(whole)) = held.insert(sender, &fragment, u64::from(link % 4), now)
            && fragment.id == [0xaa; 8]
            && let Ok((read, _)) = Packet::decode(&whole)
            && read.sender == sender
        {
            // Unless somebody else had the same id.
            assert!(read == packet || whole != packet.encode());
        }
        assert!(held.incomplete() <= config.sets_max && held.bytes() <= config.bytes_max);
    }
});
