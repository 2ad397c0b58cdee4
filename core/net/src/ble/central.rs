//! The central's role alone, by BlueZ and `btleplug`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use btleplug::api::{
    Central as _, CentralEvent, CentralState, Characteristic, Manager as _, Peripheral as _,
    ScanFilter, WriteType,
};
use btleplug::platform::{Adapter, Manager, Peripheral, PeripheralId};
use fogcompute_transport::{
    Activity, Address, BITCHAT_CHARACTERISTIC, BITCHAT_SERVICE, BleRadio, LinkEnded, RadioError,
    RadioEvent, RadioFailure, RadioLimits, RadioLink, Role, WriteKind,
};
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::front::{Back, Command, Front, Outgoing, Ready, open, radio_of_front};
use super::{CONNECT_TIMEOUT, OpenRadioError, RSSI_UNKNOWN_DBM, address_of, attempt, failure_of};

const SERVICE: Uuid = Uuid::from_bytes(BITCHAT_SERVICE);
const CHARACTERISTIC: Uuid = Uuid::from_bytes(BITCHAT_CHARACTERISTIC);

/// Bluetooth by BlueZ, as a central: it finds others and connects to them, and cannot be found.
pub struct CentralRadio {
    front: Front,
}

impl CentralRadio {
    /// Opens an adapter by its name, `hci0`, or the first there is. Waits for BlueZ's answer.
    ///
    /// # Errors
    /// [`OpenRadioError`].
    pub fn open(adapter: Option<&str>) -> Result<Self, OpenRadioError> {
        let name = adapter.map(str::to_owned);
        let front = open(false, |back, commands, ready| {
            run(back, commands, ready, name)
        })?;
        Ok(Self { front })
    }
}

impl BleRadio for CentralRadio {
    radio_of_front!(CentralRadio);

    fn advertise(&mut self, _service_data: &[u8]) -> Result<(), RadioError> {
        Err(RadioError::Unsupported)
    }

    fn stop_advertising(&mut self) -> Result<(), RadioError> {
        Err(RadioError::Unsupported)
    }

    fn notify(&mut self, _link: RadioLink, _value: &[u8]) -> Result<(), RadioError> {
        Err(RadioError::Unsupported)
    }
}

fn failure(error: &btleplug::Error) -> RadioFailure {
    match error {
        btleplug::Error::PermissionDenied => RadioFailure::Denied,
        btleplug::Error::TimedOut(_) => RadioFailure::TimedOut,
        btleplug::Error::NotConnected => RadioFailure::Refused,
        btleplug::Error::Other(error) => {
            // The name that D-Bus gave it is in its source, as text.
            let text = error
                .source()
                .map_or(error.to_string(), ToString::to_string);
            let name = text.split([':', ' ']).next().unwrap_or_default();
            failure_of(name)
        }
        _ => RadioFailure::Host,
    }
}

/// A device, and who waits for its connection to end.
type Known = (PeripheralId, Arc<Notify>);

/// Devices, by what callers know them as.
#[derive(Clone, Default)]
struct Devices(Arc<Mutex<BTreeMap<Address, Known>>>);

impl Devices {
    fn with<T>(&self, use_it: impl FnOnce(&mut BTreeMap<Address, Known>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, peer: &Address) -> Option<Known> {
        self.with(|devices| devices.get(peer).cloned())
    }
}

#[derive(Clone)]
struct Shared {
    back: Back,
    adapter: Adapter,
    devices: Devices,
}

async fn adapter(name: Option<&str>) -> Result<Adapter, OpenRadioError> {
    let bus = |error| OpenRadioError::Bus(Box::new(error));
    let manager = Manager::new().await.map_err(bus)?;
    for adapter in manager.adapters().await.map_err(bus)? {
        // "hci0 (usb:...)".
        let info = adapter.adapter_info().await.map_err(bus)?;
        if name.is_none_or(|name| info.split(' ').next() == Some(name)) {
            return Ok(adapter);
        }
    }
    Err(OpenRadioError::NoAdapter)
}

async fn run(
    back: Back,
    mut commands: mpsc::UnboundedReceiver<Command>,
    ready: Ready,
    name: Option<String>,
) {
    let opened = attempt(|| async {
        let bus = |error| OpenRadioError::Bus(Box::new(error));
        let adapter = adapter(name.as_deref()).await?;
        let events = adapter.events().await.map_err(bus)?;
        let state = adapter.adapter_state().await.map_err(bus)?;
        Ok((adapter, events, state))
    });
    let (adapter, mut events, state) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            // Whoever opens it waits for this.
            let _ = ready.send(Err(error));
            return;
        }
    };
    back.power(state == CentralState::PoweredOn);
    let shared = Shared {
        back,
        adapter,
        devices: Devices::default(),
    };
    let _ = ready.send(Ok(()));
    let mut scans = false;
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(CentralEvent::StateUpdate(state)) => {
                    let is_on = state == CentralState::PoweredOn;
                    scans &= is_on;
                    shared.back.power(is_on);
                }
                Some(CentralEvent::DeviceDisconnected(id)) => lost(&shared, &id),
                Some(
                    CentralEvent::DeviceDiscovered(id)
                    | CentralEvent::DeviceUpdated(id)
                    | CentralEvent::RssiUpdate { id, .. }
                    | CentralEvent::ServicesAdvertisement { id, .. }
                    | CentralEvent::ServiceDataAdvertisement { id, .. },
                ) => {
                    if scans {
                        heard(&shared, &id).await;
                    }
                }
                Some(_) => {}
                None => return,
            },
            command = commands.recv() => match command {
                Some(command) => obey(&shared, command, &mut scans).await,
                None => return,
            },
        }
    }
}

async fn obey(shared: &Shared, command: Command, scans: &mut bool) {
    match command {
        Command::Advertise | Command::StopAdvertising => {}
        Command::Scan if *scans => {}
        Command::Scan => {
            let services = vec![SERVICE];
            match shared.adapter.start_scan(ScanFilter { services }).await {
                Ok(()) => {
                    *scans = true;
                    // Who is known already sends no news until it changes.
                    for device in shared.adapter.peripherals().await.unwrap_or_default() {
                        heard(shared, &device.id()).await;
                    }
                }
                Err(error) => shared.back.stopped(Activity::Scanning, failure(&error)),
            }
        }
        Command::StopScanning => {
            // It was not, if this fails.
            let _ = shared.adapter.stop_scan().await;
            *scans = false;
        }
        Command::Connect(peer) => {
            tokio::spawn(connect(shared.clone(), peer));
        }
        Command::Disconnect(link) => {
            tokio::spawn(disconnect(shared.clone(), link));
        }
    }
}

async fn heard(shared: &Shared, id: &PeripheralId) {
    // A device that goes away meanwhile is none.
    let Ok(device) = shared.adapter.peripheral(id).await else {
        return;
    };
    let Ok(Some(mut found)) = device.properties().await else {
        return;
    };
    if !found.services.contains(&SERVICE) {
        return;
    }
    let peer = address_of(device.address().into_inner());
    shared.devices.with(|devices| {
        let known = devices.entry(peer.clone());
        known.or_insert_with(|| (id.clone(), Arc::default()));
    });
    let data = found.service_data.remove(&SERVICE).unwrap_or_default();
    let rssi_dbm = found.rssi.unwrap_or(RSSI_UNKNOWN_DBM);
    shared.back.heard(peer, rssi_dbm, data);
}

fn lost(shared: &Shared, id: &PeripheralId) {
    shared.devices.with(|devices| {
        let of = devices.values().filter(|(known, _)| known == id);
        of.for_each(|(_, lost)| lost.notify_waiters());
    });
}

async fn disconnect(shared: Shared, link: RadioLink) {
    let peer = shared.back.peer_of(link);
    if let Some((id, _)) = peer.and_then(|peer| shared.devices.get(&peer))
        && let Ok(device) = shared.adapter.peripheral(&id).await
    {
        // It may have gone by itself.
        let _ = device.disconnect().await;
    }
    shared.back.ended(link, LinkEnded::Closed);
}

/// Connects, and serves the connection until it ends.
async fn connect(shared: Shared, peer: Address) {
    let Some((id, lost)) = shared.devices.get(&peer) else {
        return shared.back.connect_failed(peer, RadioFailure::Host);
    };
    let mut lost = std::pin::pin!(lost.notified());
    lost.as_mut().enable();
    let made = async {
        let device = shared.adapter.peripheral(&id).await?;
        device.connect().await?;
        device.discover_services().await?;
        let services = device.services().into_iter();
        let characteristic = services
            .flat_map(|service| service.characteristics)
            .find(|found| found.service_uuid == SERVICE && found.uuid == CHARACTERISTIC);
        Ok::<_, btleplug::Error>((device, characteristic))
    };
    let failed = match tokio::time::timeout(CONNECT_TIMEOUT, made).await {
        Ok(Ok((device, Some(characteristic)))) => {
            let connected = shared.back.connected(&peer, Role::Central, device.mtu());
            let Some((link, values)) = connected else {
                let _ = device.disconnect().await;
                return;
            };
            let carried = carry(&shared.back, link, &device, &characteristic, values);
            let mut ended = tokio::select! {
                biased;
                () = lost => LinkEnded::ByPeer,
                failure = carried => LinkEnded::Failed(failure),
            };
            if matches!(ended, LinkEnded::Failed(_)) {
                if device.is_connected().await.unwrap_or(false) {
                    let _ = device.disconnect().await;
                } else {
                    // It failed because there is no connection any more.
                    ended = LinkEnded::ByPeer;
                }
            }
            return shared.back.ended(link, ended);
        }
        Ok(Ok((_, None))) => RadioFailure::NoService,
        Ok(Err(error)) => failure(&error),
        Err(_) => RadioFailure::TimedOut,
    };
    if let Ok(device) = shared.adapter.peripheral(&id).await {
        // BlueZ may go on trying.
        let _ = device.disconnect().await;
    }
    shared.back.connect_failed(peer, failed);
}

/// Takes notifications and writes values, until one of both fails.
async fn carry(
    back: &Back,
    link: RadioLink,
    device: &Peripheral,
    characteristic: &Characteristic,
    mut values: mpsc::UnboundedReceiver<Outgoing>,
) -> RadioFailure {
    let subscribed = async {
        let notifications = device.notifications().await?;
        device.subscribe(characteristic).await?;
        Ok::<_, btleplug::Error>(notifications)
    };
    let mut notifications = match subscribed.await {
        Ok(notifications) => notifications,
        Err(error) => return failure(&error),
    };
    back.subscribed(link);
    let read = async {
        while let Some(notification) = notifications.next().await {
            if notification.uuid == CHARACTERISTIC {
                // What nobody takes is lost, as notifications may be.
                let _ = back.received(link, notification.value);
            }
        }
        RadioFailure::Host
    };
    let write = async {
        while let Some(Outgoing { value, kind }) = values.recv().await {
            let kind = match kind {
                WriteKind::WithResponse => WriteType::WithResponse,
                WriteKind::WithoutResponse => WriteType::WithoutResponse,
            };
            if let Err(error) = device.write(characteristic, &value, kind).await {
                return failure(&error);
            }
            back.left(link);
        }
        // The link is not wanted any more, and its end will be noticed.
        std::future::pending().await
    };
    tokio::select! {
        failure = read => failure,
        failure = write => failure,
    }
}
