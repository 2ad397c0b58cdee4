//! Bluetooth radios of Linux, behind the trait [`BleRadio`](fogcompute_transport::BleRadio): BlueZ over D-Bus.
//!
//! A `BluezRadio` (feature `ble-linux`) has both roles, which a mesh of phones needs. A `CentralRadio` (feature
//! `ble-central`) only connects: where something else advertises, or nothing should. Both speak the service of BitChat.
//! Each has a thread of its own, on which everything it asks of D-Bus happens in order.
//!
//! They find BlueZ on the system bus, which `DBUS_SYSTEM_BUS_ADDRESS` may name. Tested against an `org.bluez` of this
//! project's tests, and never against a controller. What a scan hears is by addresses that phones change; BlueZ says
//! nothing of why a connection ended.

use fogcompute_transport::{Address, RadioFailure};
use thiserror::Error;

#[cfg(feature = "ble-central")]
mod central;
mod front;
#[cfg(feature = "ble-linux")]
mod linux;

#[cfg(feature = "ble-central")]
pub use central::CentralRadio;
#[cfg(feature = "ble-linux")]
pub use linux::BluezRadio;

/// Why a radio cannot be used at all.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum OpenRadioError {
    /// The system bus, or BlueZ on it, does not answer.
    #[error("BlueZ does not answer on the system bus")]
    Bus(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such adapter, or none at all.
    #[error("there is no such Bluetooth adapter")]
    NoAdapter,
    /// The radio's thread could not be started.
    #[error("the radio's thread could not be started")]
    Thread(#[from] std::io::Error),
}

/// How long BlueZ may take for a connection with everything that belongs to it.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(25);

/// How long one attempt to reach BlueZ may take, and how many there are. In a few openings of a thousand the first
/// question on a new connection to the bus is never answered; the next connection's is.
const OPEN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const OPEN_ATTEMPTS: usize = 3;

/// Tries to reach BlueZ, each time on a new connection to the bus.
async fn attempt<T, F>(open: impl Fn() -> F) -> Result<T, OpenRadioError>
where
    F: std::future::Future<Output = Result<T, OpenRadioError>>,
{
    let mut last = None;
    for _ in 0..OPEN_ATTEMPTS {
        match tokio::time::timeout(OPEN_TIMEOUT, open()).await {
            Ok(opened) => return opened,
            Err(elapsed) => last = Some(OpenRadioError::Bus(Box::new(elapsed))),
        }
    }
    Err(last.unwrap_or(OpenRadioError::NoAdapter))
}

/// The address of a device, as its six bytes.
fn address_of(bytes: [u8; 6]) -> Address {
    Address::new(&bytes).expect("six bytes are short")
}

/// How loud a device is that BlueZ knows and did not measure: nothing can be softer, so it is connected to last.
const RSSI_UNKNOWN_DBM: i16 = -127;

/// What an error of D-Bus means, by its name.
fn failure_of(name: &str) -> RadioFailure {
    match name.rsplit('.').next().unwrap_or(name) {
        "NotPermitted" | "NotAuthorized" | "AccessDenied" => RadioFailure::Denied,
        "NoReply" | "Timeout" | "TimedOut" => RadioFailure::TimedOut,
        "ConnectionAttemptFailed" | "Failed" => RadioFailure::Refused,
        "NotSupported" | "ServicesUnresolved" => RadioFailure::NoService,
        _ => RadioFailure::Host,
    }
}
