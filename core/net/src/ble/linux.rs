//! Both roles, by BlueZ and `bluer`.

use std::collections::BTreeMap;
use std::task::Waker;

use bluer::adv::{Advertisement, AdvertisementHandle};
use bluer::gatt::local::{
    Application, ApplicationHandle, Characteristic, CharacteristicControl,
    CharacteristicControlEvent, CharacteristicNotify, CharacteristicNotifyMethod,
    CharacteristicRead, CharacteristicWrite, CharacteristicWriteMethod, ReqError, Service,
    characteristic_control,
};
use bluer::gatt::{CharacteristicWriter, WriteOp, remote};
use bluer::{
    Adapter, AdapterEvent, AdapterProperty, Device, DeviceEvent, DeviceProperty, DiscoveryFilter,
    DiscoveryTransport, ErrorKind, Session,
};
use fogcompute_transport::{
    Activity, Address, BITCHAT_CHARACTERISTIC, BITCHAT_SERVICE, BleRadio, LinkEnded, RadioError,
    RadioEvent, RadioFailure, RadioLimits, RadioLink, Role, WriteKind,
};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::front::{Back, Command, Front, Outgoing, Ready, open, radio_of_front};
use super::{CONNECT_TIMEOUT, OpenRadioError, address_of, attempt, failure_of};

const SERVICE: Uuid = Uuid::from_bytes(BITCHAT_SERVICE);
const CHARACTERISTIC: Uuid = Uuid::from_bytes(BITCHAT_CHARACTERISTIC);

/// What a packet of the attribute protocol has around a value, in bytes.
const AROUND_VALUE: usize = 3;

/// Bluetooth by BlueZ, in both roles.
///
/// Adverts say the service and nothing else: BlueZ would have to put service data where there is no room. Two devices
/// share one connection of BlueZ whoever began it, so ending a link in one role ends one in the other too. Values
/// have two bytes less than the MTU would carry, unless it is more than 514: BlueZ cuts them off otherwise, says
/// `bluer`.
pub struct BluezRadio {
    front: Front,
}

impl BluezRadio {
    /// Opens an adapter by its name, `hci0`, or the first there is. Waits for BlueZ's answer.
    ///
    /// # Errors
    /// [`OpenRadioError`].
    pub fn open(adapter: Option<&str>) -> Result<Self, OpenRadioError> {
        let name = adapter.map(str::to_owned);
        let front = open(true, |back, commands, ready| {
            run(back, commands, ready, name)
        })?;
        Ok(Self { front })
    }
}

impl BleRadio for BluezRadio {
    radio_of_front!(BluezRadio);

    fn advertise(&mut self, service_data: &[u8]) -> Result<(), RadioError> {
        self.front.advertise(service_data)
    }

    fn stop_advertising(&mut self) -> Result<(), RadioError> {
        self.front.ask(Command::StopAdvertising)
    }

    fn notify(&mut self, link: RadioLink, value: &[u8]) -> Result<(), RadioError> {
        let kind = WriteKind::WithoutResponse;
        self.front.give(link, value, kind, Role::Peripheral)
    }
}

fn failure(error: &bluer::Error) -> RadioFailure {
    match &error.kind {
        ErrorKind::NotPermitted | ErrorKind::NotAuthorized => RadioFailure::Denied,
        ErrorKind::ServicesUnresolved | ErrorKind::NotFound | ErrorKind::NotSupported => {
            RadioFailure::NoService
        }
        ErrorKind::ConnectionAttemptFailed | ErrorKind::Failed => RadioFailure::Refused,
        kind => failure_of(&kind.to_string()),
    }
}

/// What a peer wrote, and who waits to hear whether it was taken.
struct Written {
    peer: bluer::Address,
    mtu: u16,
    value: Vec<u8>,
    taken: oneshot::Sender<bool>,
}

/// What tasks begun here need.
#[derive(Clone)]
struct Shared {
    back: Back,
    adapter: Adapter,
}

struct Engine {
    shared: Shared,
    application: Option<ApplicationHandle>,
    control: Option<CharacteristicControl>,
    advert: Option<AdvertisementHandle>,
    scan: Option<JoinHandle<()>>,
    written: mpsc::UnboundedSender<Written>,
    /// Where those who are connected to this peripheral get what notifies them.
    writers: BTreeMap<RadioLink, mpsc::UnboundedSender<CharacteristicWriter>>,
}

async fn adapter(name: Option<&str>) -> Result<Adapter, OpenRadioError> {
    let bus = |error| OpenRadioError::Bus(Box::new(error));
    let session = Session::new().await.map_err(bus)?;
    let names = session.adapter_names().await.map_err(bus)?;
    match name {
        Some(name) if names.iter().any(|known| known == name) => session.adapter(name).map_err(bus),
        Some(_) => Err(OpenRadioError::NoAdapter),
        None if names.is_empty() => Err(OpenRadioError::NoAdapter),
        None => session.default_adapter().await.map_err(bus),
    }
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
        let is_on = adapter.is_powered().await.map_err(bus)?;
        Ok((adapter, events, is_on))
    });
    let (adapter, events, is_on) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            // Whoever opens it waits for this.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let mut events = Box::pin(events);
    back.power(is_on);
    let (sender, mut written) = mpsc::unbounded_channel();
    let mut engine = Engine {
        shared: Shared { back, adapter },
        application: None,
        control: None,
        advert: None,
        scan: None,
        written: sender,
        writers: BTreeMap::new(),
    };
    let _ = ready.send(Ok(()));
    loop {
        let control = async {
            match &mut engine.control {
                Some(control) => control.next().await,
                None => std::future::pending().await,
            }
        };
        // In this order: who writes after it subscribed is known by then.
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(AdapterEvent::PropertyChanged(AdapterProperty::Powered(is_on))) => {
                    engine.power(is_on);
                }
                Some(AdapterEvent::DeviceRemoved(address)) => {
                    engine.shared.back.forgotten(&address_of(address.0));
                }
                Some(_) => {}
                None => return,
            },
            Some(event) = control => {
                if let CharacteristicControlEvent::Notify(writer) = event {
                    engine.subscribed(writer);
                }
            }
            Some(written) = written.recv() => engine.written(written),
            command = commands.recv() => match command {
                Some(command) => engine.obey(command).await,
                None => return,
            },
        }
    }
}

impl Engine {
    fn power(&mut self, is_on: bool) {
        if !is_on {
            self.advert = None;
            self.stop_scanning();
            self.writers.clear();
        }
        self.shared.back.power(is_on);
    }

    fn stop_scanning(&mut self) {
        if let Some(scan) = self.scan.take() {
            scan.abort();
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Advertise => {
                if let Err(error) = self.advertise().await {
                    let failure = failure(&error);
                    self.shared.back.stopped(Activity::Advertising, failure);
                }
            }
            Command::StopAdvertising => self.advert = None,
            Command::Scan => {
                if self.scan.as_ref().is_none_or(JoinHandle::is_finished) {
                    self.scan = Some(tokio::spawn(scan(self.shared.clone())));
                }
            }
            Command::StopScanning => self.stop_scanning(),
            Command::Connect(peer) => {
                tokio::spawn(connect(self.shared.clone(), peer));
            }
            Command::Disconnect(link) => {
                tokio::spawn(disconnect(self.shared.clone(), link));
            }
        }
    }

    async fn advertise(&mut self) -> bluer::Result<()> {
        if self.application.is_none() {
            let (control, control_handle) = characteristic_control();
            let written = self.written.clone();
            let write = CharacteristicWrite {
                write: true,
                write_without_response: true,
                method: CharacteristicWriteMethod::Fun(Box::new(move |value, request| {
                    let (taken, is_taken) = oneshot::channel();
                    let written = written.send(Written {
                        peer: request.device_address,
                        mtu: request.mtu,
                        value,
                        taken,
                    });
                    async move {
                        let is_taken = written.is_ok() && is_taken.await.unwrap_or(false);
                        if is_taken {
                            Ok(())
                        } else {
                            Err(ReqError::Failed)
                        }
                    }
                    .boxed()
                })),
                ..CharacteristicWrite::default()
            };
            let read = CharacteristicRead {
                read: true,
                // The apps read nothing; there is nothing to read.
                fun: Box::new(|_| async { Ok(Vec::new()) }.boxed()),
                ..CharacteristicRead::default()
            };
            let notify = CharacteristicNotify {
                notify: true,
                method: CharacteristicNotifyMethod::Io,
                ..CharacteristicNotify::default()
            };
            let characteristic = Characteristic {
                uuid: CHARACTERISTIC,
                read: Some(read),
                write: Some(write),
                notify: Some(notify),
                control_handle,
                ..Characteristic::default()
            };
            let service = Service {
                uuid: SERVICE,
                primary: true,
                characteristics: vec![characteristic],
                ..Service::default()
            };
            let application = Application {
                services: vec![service],
                ..Application::default()
            };
            let adapter = &self.shared.adapter;
            self.application = Some(adapter.serve_gatt_application(application).await?);
            self.control = Some(control);
        }
        if self.advert.is_none() {
            let advert = Advertisement {
                service_uuids: [SERVICE].into(),
                discoverable: Some(true),
                ..Advertisement::default()
            };
            self.advert = Some(self.shared.adapter.advertise(advert).await?);
        }
        Ok(())
    }

    /// The connection with somebody who uses this peripheral. It begins with the first that is heard of it.
    fn peripheral(&mut self, peer: bluer::Address, mtu: u16) -> Option<RadioLink> {
        let address = address_of(peer.0);
        let links = self.shared.back.links_of(&address);
        let known = links.iter().find(|(_, role)| *role == Role::Peripheral);
        if let Some((link, _)) = known {
            return Some(*link);
        }
        let role = Role::Peripheral;
        let (link, values) = self.shared.back.connected(&address, role, mtu)?;
        let (sender, writers) = mpsc::unbounded_channel();
        self.writers.retain(|_, writers| !writers.is_closed());
        self.writers.insert(link, sender);
        let serve = serve(self.shared.clone(), peer, link, values, writers);
        tokio::spawn(serve);
        Some(link)
    }

    fn written(&mut self, written: Written) {
        let link = self.peripheral(written.peer, written.mtu);
        let back = &self.shared.back;
        let is_taken = link.is_some_and(|link| back.received(link, written.value));
        // Who wrote without response does not wait.
        let _ = written.taken.send(is_taken);
    }

    fn subscribed(&mut self, writer: CharacteristicWriter) {
        let mtu = u16::try_from(writer.mtu() + AROUND_VALUE).unwrap_or(u16::MAX);
        let link = self.peripheral(writer.device_address(), mtu);
        if let Some(writers) = link.and_then(|link| self.writers.get(&link)) {
            // If the connection ends at this moment, so does the writer.
            let _ = writers.send(writer);
        }
    }
}

/// Says whom BlueZ hears, until it is aborted.
async fn scan(shared: Shared) {
    let failed = match listen(&shared).await {
        Ok(()) => RadioFailure::Host,
        Err(error) => failure(&error),
    };
    shared.back.stopped(Activity::Scanning, failed);
}

async fn listen(shared: &Shared) -> bluer::Result<()> {
    let filter = DiscoveryFilter {
        uuids: [SERVICE].into(),
        transport: DiscoveryTransport::Le,
        duplicate_data: true,
        ..DiscoveryFilter::default()
    };
    shared.adapter.set_discovery_filter(filter).await?;
    let mut heard = Box::pin(shared.adapter.discover_devices_with_changes().await?);
    while let Some(event) = heard.next().await {
        let AdapterEvent::DeviceAdded(address) = event else {
            continue;
        };
        let device = shared.adapter.device(address)?;
        // A device that goes away meanwhile is none.
        let (Ok(Some(services)), Ok(Some(rssi_dbm))) = (device.uuids().await, device.rssi().await)
        else {
            continue;
        };
        if services.contains(&SERVICE) {
            let data = device.service_data().await.ok().flatten();
            let data = data.and_then(|mut data| data.remove(&SERVICE));
            let peer = address_of(address.0);
            shared.back.heard(peer, rssi_dbm, data.unwrap_or_default());
        }
    }
    Ok(())
}

fn device(adapter: &Adapter, peer: &Address) -> bluer::Result<Device> {
    let bytes = peer.as_bytes().try_into().unwrap_or([0; 6]);
    adapter.device(bluer::Address(bytes))
}

/// Waits until a device is not connected any more.
async fn lost(events: impl Stream<Item = DeviceEvent>) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        if let DeviceEvent::PropertyChanged(DeviceProperty::Connected(false)) = event {
            return;
        }
    }
}

async fn disconnect(shared: Shared, link: RadioLink) {
    let Some(peer) = shared.back.peer_of(link) else {
        return;
    };
    if let Ok(device) = device(&shared.adapter, &peer) {
        // It may have gone by itself.
        let _ = device.disconnect().await;
    }
    shared.back.ended(link, LinkEnded::Closed);
}

/// Connects as a central, and serves the connection until it ends.
async fn connect(shared: Shared, peer: Address) {
    let made = async {
        let device = device(&shared.adapter, &peer)?;
        let events = device.events().await?;
        device.connect().await?;
        let characteristic = find(&device).await?;
        // BlueZ has agreed on it by the time the services are known.
        let value_bytes = characteristic.mtu().await?;
        Ok((device, events, characteristic, value_bytes))
    };
    let made = tokio::time::timeout(CONNECT_TIMEOUT, made).await;
    let failed = match made {
        Ok(Ok((device, events, characteristic, value_bytes))) => {
            let mtu = u16::try_from(value_bytes + AROUND_VALUE).unwrap_or(u16::MAX);
            let connected = shared.back.connected(&peer, Role::Central, mtu);
            match connected {
                Some((link, values)) => {
                    let carried = carry(&shared.back, link, &characteristic, values);
                    let mut ended = tokio::select! {
                        biased;
                        () = lost(events) => LinkEnded::ByPeer,
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
                    shared.back.ended(link, ended);
                }
                None => {
                    let _ = device.disconnect().await;
                }
            }
            return;
        }
        Ok(Err(error)) => failure(&error),
        Err(_) => RadioFailure::TimedOut,
    };
    if let Ok(device) = device(&shared.adapter, &peer)
        && shared.back.links_of(&peer).is_empty()
    {
        // BlueZ may go on trying.
        let _ = device.disconnect().await;
    }
    shared.back.connect_failed(peer, failed);
}

async fn find(device: &Device) -> bluer::Result<remote::Characteristic> {
    for service in device.services().await? {
        if service.uuid().await? != SERVICE {
            continue;
        }
        for characteristic in service.characteristics().await? {
            if characteristic.uuid().await? == CHARACTERISTIC {
                return Ok(characteristic);
            }
        }
    }
    Err(bluer::Error {
        kind: ErrorKind::NotFound,
        message: String::new(),
    })
}

/// Takes notifications and writes values, until one of both fails.
async fn carry(
    back: &Back,
    link: RadioLink,
    characteristic: &remote::Characteristic,
    mut values: mpsc::UnboundedReceiver<Outgoing>,
) -> RadioFailure {
    let notifications = match characteristic.notify().await {
        Ok(notifications) => notifications,
        Err(error) => return failure(&error),
    };
    back.subscribed(link);
    let read = async {
        let mut notifications = Box::pin(notifications);
        while let Some(value) = notifications.next().await {
            // What nobody takes is lost, as notifications may be.
            let _ = back.received(link, value);
        }
        RadioFailure::Host
    };
    let write = async {
        while let Some(Outgoing { value, kind }) = values.recv().await {
            let op_type = match kind {
                WriteKind::WithResponse => WriteOp::Request,
                WriteKind::WithoutResponse => WriteOp::Command,
            };
            let request = remote::CharacteristicWriteRequest {
                op_type,
                ..remote::CharacteristicWriteRequest::default()
            };
            if let Err(error) = characteristic.write_ext(&value, &request).await {
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

/// Serves a connection that somebody else began, until it ends.
async fn serve(
    shared: Shared,
    peer: bluer::Address,
    link: RadioLink,
    mut values: mpsc::UnboundedReceiver<Outgoing>,
    mut writers: mpsc::UnboundedReceiver<CharacteristicWriter>,
) {
    let back = &shared.back;
    let gone = async {
        let device = shared.adapter.device(peer)?;
        let events = device.events().await?;
        if device.is_connected().await? {
            lost(events).await;
        }
        Ok::<_, bluer::Error>(())
    };
    let notify = async {
        let Some(writer) = writers.recv().await else {
            return std::future::pending().await;
        };
        back.subscribed(link);
        let send = async {
            while let Some(Outgoing { value, .. }) = values.recv().await {
                if writer.send(&value).await.is_err() {
                    return;
                }
                back.left(link);
            }
        };
        tokio::select! {
            () = send => {}
            _ = writer.closed() => {}
        }
    };
    tokio::select! {
        _ = gone => {}
        () = notify => {}
    }
    back.ended(link, LinkEnded::ByPeer);
}
