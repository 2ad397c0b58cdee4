//! Coordinates, tokens, calls and what a gate saved, as somebody else wrote them: they are what
//! encodes to the same bytes, or are refused; and nobody gets through the gate with them.

#![no_main]

use fogcompute_base::{NodeId, UnixMillis};
use fogcompute_coord::Coordinate;
use fogcompute_coord::token::{Call, Gate, GateConfig, Need, Pass, Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 5 {
        0 => {
            if let Ok(coordinate) = Coordinate::decode(bytes) {
                assert_eq!(coordinate.encode()[..], *bytes);
                let numbers = (
                    coordinate.position(),
                    coordinate.height(),
                    coordinate.error(),
                );
                let again = Coordinate::new(numbers.0, numbers.1, numbers.2);
                assert_eq!(again, Ok(coordinate));
            }
        }
        1 => {
            if let Ok(token) = Token::decode(bytes) {
                assert_eq!(token.encode()[..], *bytes);
                assert!(!token.is_signed());
            }
        }
        2 => {
            if let Ok(call) = Call::decode(bytes) {
                assert_eq!(call.encode()[..], *bytes);
                // Everything that can be had without a signature.
                let config = GateConfig::new(call.coordinator, [call.token.issuer]);
                let mut gate = Gate::new(config);
                let admitted = gate.admit(&call, b"", Need::NOTHING, call.at);
                assert!(admitted.is_err());
            }
        }
        3 => {
            if let Ok(pass) = Pass::decode(bytes) {
                assert_eq!(pass.encode()[..], *bytes);
                let mut gate = gate();
                gate.apply(&pass);
                gate.apply(&pass);
                assert_eq!(Gate::decode(&gate.encode(), config()), Ok(gate));
            }
        }
        _ => {
            if let Ok(mut gate) = Gate::decode(bytes, config()) {
                assert_eq!(gate.encode(), bytes);
                gate.forget(UnixMillis(u64::MAX));
                assert_eq!(Gate::decode(&gate.encode(), config()), Ok(gate));
            }
        }
    }
});

fn config() -> GateConfig {
    GateConfig::new(NodeId::from_bytes([0; 32]), [])
}

fn gate() -> Gate {
    Gate::new(config())
}
