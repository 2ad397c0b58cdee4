//! A client's fragments, in any order, of any shape: memory stays within its limit, and the body of
//! a whole message with its reply blocks is read.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::wire::Writer;
use fogcompute_base::{Instant, NodeId};
use fogcompute_fuzz::keys;
use fogcompute_mix::{Client, ClientConfig, Contact, Delivery, EpochParity, Geometry, Incoming};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Fragment<'a> {
    Raw(&'a [u8]),
    /// A header that makes sense more often.
    Shaped {
        message: u8,
        index: u8,
        count: u8,
        body: &'a [u8],
    },
}

fuzz_target!(|fragments: Vec<(Fragment<'_>, u16)>| {
    let config = ClientConfig {
        geometry: Geometry::DEFAULT,
        reassembly_bytes_max: 4096,
        timeout: Duration::from_secs(10),
        ..ClientConfig::default()
    };
    let contact = Contact {
        node: NodeId::from_bytes([1; 32]),
        key: keys()[0].public(),
        epoch: EpochParity::Even,
    };
    let mut client = Client::new(contact, config);
    let mut now = Instant::ZERO;
    for (fragment, millis) in fragments {
        now = now + Duration::from_millis(u64::from(millis));
        let bytes = match fragment {
            Fragment::Raw(bytes) => bytes.to_vec(),
            Fragment::Shaped {
                message,
                index,
                count,
                body,
            } => {
                let mut writer = Writer::new();
                writer.raw(&[message % 4; 16]);
                writer.u16(u16::from(index % 8));
                writer.u16(u16::from(count % 8));
                writer.raw(body);
                writer.finish()
            }
        };
        let length = bytes.len();
        if let Ok(Some(incoming)) = client.handle_delivery(Delivery::Message(bytes), now) {
            let Incoming::Message { body, .. } = incoming else {
                panic!("no reply block was given out");
            };
            // A message is put together from what is held and the fragment that completes it.
            assert!(body.len() <= 4096 + length);
        }
    }
});
