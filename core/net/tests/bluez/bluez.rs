//! As much of BlueZ as two programs need that speak to each other over it: two adapters, each of which is all that
//! the other hears.
//!
//! What one writes to the other's characteristic is asked of the program that registered it, and what that program
//! notifies becomes the value of the characteristic that the first one sees. There is no air in between.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::OwnedFd as StdOwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedFd, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, block_on, fdo, interface};

const MTU: u16 = 517;
const RSSI_DBM: i16 = -57;
const ADDRESSES: [&str; 2] = ["C0:00:00:00:00:01", "C0:00:00:00:00:02"];
const GATT_CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

type Options = HashMap<String, OwnedValue>;
type Managed = HashMap<OwnedObjectPath, HashMap<String, HashMap<String, OwnedValue>>>;

/// Something that a program registered.
#[derive(Clone)]
struct Registered {
    sender: String,
    path: OwnedObjectPath,
}

#[derive(Default)]
struct AdapterState {
    is_on: bool,
    scans: bool,
    /// The advert, and the services it names.
    advert: Option<(Registered, Vec<String>)>,
    application: Option<Registered>,
    /// As the central of the other one.
    is_connected: bool,
    /// Where the other one's notifications come from.
    notifications: Option<UnixDatagram>,
}

struct State {
    adapters: [AdapterState; 2],
}

#[derive(Clone)]
struct World {
    state: Arc<Mutex<State>>,
    bus: Connection,
}

fn adapter_path(index: usize) -> String {
    format!("/org/bluez/hci{index}")
}

/// What an adapter calls the other one.
fn device_path(index: usize) -> String {
    let address = ADDRESSES[1 - index].replace(':', "_");
    format!("{}/dev_{address}", adapter_path(index))
}

fn characteristic_path(index: usize) -> String {
    format!("{}/service0001/char0002", device_path(index))
}

fn failed(message: &str) -> fdo::Error {
    fdo::Error::Failed(message.to_owned())
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether an adapter can hear the other one's advert.
    fn hears(&self, index: usize) -> bool {
        let state = self.state();
        let [here, there] = [&state.adapters[index], &state.adapters[1 - index]];
        here.is_on && there.is_on && there.advert.is_some()
    }

    /// Makes the device of an adapter if there is none, and says that its advert was heard.
    async fn hear(&self, index: usize) -> zbus::Result<()> {
        if !self.state().adapters[index].scans || !self.hears(index) {
            return Ok(());
        }
        self.device(index).await?;
        let path = device_path(index);
        let device = self
            .bus
            .object_server()
            .interface::<_, Device>(path)
            .await?;
        device
            .get()
            .await
            .r_s_s_i_changed(device.signal_emitter())
            .await
    }

    async fn device(&self, index: usize) -> zbus::Result<()> {
        let device = Device {
            world: self.clone(),
            index,
        };
        let server = self.bus.object_server();
        server.at(device_path(index), device).await?;
        Ok(())
    }

    /// Tells both sides that the connection which an adapter began is there, or is not any more.
    async fn say_connected(&self, index: usize) -> zbus::Result<()> {
        for side in [index, 1 - index] {
            let path = device_path(side);
            let server = self.bus.object_server();
            let device = server.interface::<_, Device>(path).await?;
            let (device, emitter) = (device.get().await, device.signal_emitter().clone());
            device.connected_changed(&emitter).await?;
            device.services_resolved_changed(&emitter).await?;
        }
        Ok(())
    }

    /// The characteristic of the program behind an adapter, which is its only one.
    async fn served(
        &self,
        index: usize,
    ) -> zbus::Result<(String, OwnedObjectPath, String, String)> {
        let application = self.state().adapters[index].application.clone();
        let Some(Registered { sender, path }) = application else {
            return Err(failed("nothing is served").into());
        };
        let interface = Some("org.freedesktop.DBus.ObjectManager");
        let reply = self
            .bus
            .call_method(
                Some(sender.as_str()),
                &path,
                interface,
                "GetManagedObjects",
                &(),
            )
            .await?;
        let objects: Managed = reply.body().deserialize()?;
        let uuid = |interface: &str| {
            objects.iter().find_map(|(path, interfaces)| {
                let uuid = interfaces.get(interface)?.get("UUID")?;
                let uuid = String::try_from(uuid.clone()).ok()?;
                Some((path.clone(), uuid))
            })
        };
        let service = uuid("org.bluez.GattService1").ok_or(failed("no service"))?;
        let found = uuid(GATT_CHARACTERISTIC).ok_or(failed("no characteristic"))?;
        Ok((sender, found.0, service.1, found.1))
    }

    async fn connect(&self, index: usize) -> zbus::Result<()> {
        if !self.hears(index) {
            return Err(failed("le-connection-abort-by-local").into());
        }
        if self.state().adapters[index].is_connected {
            return Ok(());
        }
        let (sender, path, service, characteristic) = self.served(1 - index).await?;
        self.device(1 - index).await?;
        let service = GattService {
            uuid: service,
            device: device_path(index),
        };
        let characteristic = GattCharacteristic {
            world: self.clone(),
            index,
            uuid: characteristic,
            program: Registered { sender, path },
            value: Vec::new(),
        };
        let server = self.bus.object_server();
        let service_path = format!("{}/service0001", device_path(index));
        server.at(service_path, service).await?;
        server
            .at(characteristic_path(index), characteristic)
            .await?;
        self.state().adapters[index].is_connected = true;
        self.say_connected(index).await
    }

    /// Ends the connection that an adapter began.
    async fn end(&self, index: usize) -> zbus::Result<()> {
        let was = std::mem::take(&mut self.state().adapters[index].is_connected);
        if !was {
            return Ok(());
        }
        let notifications = self.state().adapters[index].notifications.take();
        self.say_connected(index).await?;
        if let Some(notifications) = notifications {
            notifications.shutdown(Shutdown::Both).unwrap();
        }
        let server = self.bus.object_server();
        server
            .remove::<GattCharacteristic, _>(characteristic_path(index))
            .await?;
        let service_path = format!("{}/service0001", device_path(index));
        server.remove::<GattService, _>(service_path).await?;
        Ok(())
    }

    async fn end_all(&self) -> zbus::Result<()> {
        for index in 0..2 {
            self.end(index).await?;
        }
        Ok(())
    }

    async fn set_power(&self, index: usize, is_on: bool) -> zbus::Result<()> {
        if !is_on {
            // As BlueZ does: first the connections, then the adapter.
            self.end_all().await?;
        }
        self.state().adapters[index].is_on = is_on;
        self.state().adapters[index].scans &= is_on;
        let path = adapter_path(index);
        let server = self.bus.object_server();
        let adapter = server.interface::<_, Adapter>(path).await?;
        let (adapter, emitter) = (adapter.get().await, adapter.signal_emitter().clone());
        adapter.powered_changed(&emitter).await
    }
}

struct Adapter {
    world: World,
    index: usize,
}

#[interface(name = "org.bluez.Adapter1")]
impl Adapter {
    #[zbus(property)]
    fn address(&self) -> String {
        ADDRESSES[self.index].to_owned()
    }

    #[zbus(property)]
    fn address_type(&self) -> String {
        "public".to_owned()
    }

    #[zbus(property)]
    fn name(&self) -> String {
        format!("adapter {}", self.index)
    }

    #[zbus(property)]
    fn alias(&self) -> String {
        self.name()
    }

    #[zbus(property)]
    fn modalias(&self) -> String {
        "usb:v1D6Bp0246d0542".to_owned()
    }

    #[zbus(property)]
    fn class(&self) -> u32 {
        0
    }

    #[zbus(property)]
    fn powered(&self) -> bool {
        self.world.state().adapters[self.index].is_on
    }

    /// `btleplug` turns an adapter on before it scans.
    #[zbus(property)]
    fn set_powered(&self, is_on: bool) {
        self.world.state().adapters[self.index].is_on = is_on;
    }

    #[zbus(property)]
    fn discovering(&self) -> bool {
        self.world.state().adapters[self.index].scans
    }

    #[zbus(property, name = "UUIDs")]
    fn uuids(&self) -> Vec<String> {
        Vec::new()
    }

    fn set_discovery_filter(&self, _filter: Options) {}

    async fn start_discovery(&self) -> fdo::Result<()> {
        if !self.powered() {
            return Err(failed("not powered"));
        }
        self.world.state().adapters[self.index].scans = true;
        Ok(self.world.hear(self.index).await?)
    }

    fn stop_discovery(&self) {
        self.world.state().adapters[self.index].scans = false;
    }

    fn remove_device(&self, _device: ObjectPath<'_>) {}
}

struct Adverts {
    world: World,
    index: usize,
}

#[interface(name = "org.bluez.LEAdvertisingManager1")]
impl Adverts {
    #[zbus(property)]
    fn supported_instances(&self) -> u8 {
        1
    }

    async fn register_advertisement(
        &self,
        #[zbus(header)] header: zbus::message::Header<'_>,
        path: OwnedObjectPath,
        _options: Options,
    ) -> fdo::Result<()> {
        let sender = header.sender().unwrap().to_string();
        let interface = Some("org.freedesktop.DBus.Properties");
        let arguments = ("org.bluez.LEAdvertisement1", "ServiceUUIDs");
        let bus = &self.world.bus;
        let reply = bus
            .call_method(Some(sender.as_str()), &path, interface, "Get", &arguments)
            .await?;
        let services: OwnedValue = reply.body().deserialize().map_err(fdo::Error::from)?;
        let services = Vec::<String>::try_from(services).map_err(|_| failed("no services"))?;
        // Flags, and one service: there is no room for another.
        if services.len() != 1 {
            return Err(failed("the advert is too long"));
        }
        let advert = Registered { sender, path };
        self.world.state().adapters[self.index].advert = Some((advert, services));
        Ok(self.world.hear(1 - self.index).await?)
    }

    fn unregister_advertisement(&self, path: OwnedObjectPath) {
        let path = path.into_inner();
        let mut state = self.world.state();
        let advert = &mut state.adapters[self.index].advert;
        if advert
            .as_ref()
            .is_some_and(|(known, _)| *known.path == path)
        {
            *advert = None;
        }
    }
}

struct Gatt {
    world: World,
    index: usize,
}

#[interface(name = "org.bluez.GattManager1")]
impl Gatt {
    async fn register_application(
        &self,
        #[zbus(header)] header: zbus::message::Header<'_>,
        path: OwnedObjectPath,
        _options: Options,
    ) -> fdo::Result<()> {
        let sender = header.sender().unwrap().to_string();
        self.world.state().adapters[self.index].application = Some(Registered { sender, path });
        // BlueZ refuses what it cannot read.
        self.world.served(self.index).await?;
        Ok(())
    }

    fn unregister_application(&self, _path: OwnedObjectPath) {
        self.world.state().adapters[self.index].application = None;
    }
}

/// What an adapter knows of the other one.
struct Device {
    world: World,
    index: usize,
}

#[interface(name = "org.bluez.Device1")]
impl Device {
    #[zbus(property)]
    fn adapter(&self) -> OwnedObjectPath {
        adapter_path(self.index).try_into().unwrap()
    }

    #[zbus(property)]
    fn address(&self) -> String {
        ADDRESSES[1 - self.index].to_owned()
    }

    #[zbus(property)]
    fn address_type(&self) -> String {
        "random".to_owned()
    }

    #[zbus(property)]
    fn alias(&self) -> String {
        ADDRESSES[1 - self.index].replace(':', "-")
    }

    #[zbus(property)]
    fn paired(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn trusted(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn blocked(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn legacy_pairing(&self) -> bool {
        false
    }

    #[zbus(property, name = "RSSI")]
    fn rssi(&self) -> i16 {
        RSSI_DBM
    }

    #[zbus(property, name = "UUIDs")]
    fn uuids(&self) -> Vec<String> {
        let state = self.world.state();
        let advert = state.adapters[1 - self.index].advert.as_ref();
        advert.map_or(Vec::new(), |(_, services)| services.clone())
    }

    #[zbus(property)]
    fn connected(&self) -> bool {
        // One connection for both, whoever began it.
        self.world
            .state()
            .adapters
            .iter()
            .any(|adapter| adapter.is_connected)
    }

    #[zbus(property)]
    fn services_resolved(&self) -> bool {
        self.world.state().adapters[self.index].is_connected
    }

    async fn connect(&self) -> fdo::Result<()> {
        Ok(self.world.connect(self.index).await?)
    }

    async fn disconnect(&self) -> fdo::Result<()> {
        Ok(self.world.end_all().await?)
    }
}

struct GattService {
    uuid: String,
    device: String,
}

#[interface(name = "org.bluez.GattService1")]
impl GattService {
    #[zbus(property, name = "UUID")]
    fn uuid(&self) -> String {
        self.uuid.clone()
    }

    #[zbus(property)]
    fn primary(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn device(&self) -> OwnedObjectPath {
        self.device.as_str().try_into().unwrap()
    }
}

/// The other one's characteristic, as an adapter that is connected to it sees it.
struct GattCharacteristic {
    world: World,
    index: usize,
    uuid: String,
    program: Registered,
    value: Vec<u8>,
}

impl GattCharacteristic {
    /// What the program behind it is told with each call: who calls, and how.
    fn options(&self, kind: Option<String>) -> HashMap<&'static str, Value<'static>> {
        let caller: OwnedObjectPath = device_path(1 - self.index).try_into().unwrap();
        let mut options = HashMap::from([
            ("device", Value::from(caller)),
            ("mtu", Value::from(MTU)),
            ("link", Value::from("LE")),
        ]);
        if let Some(kind) = kind {
            options.insert("type", Value::from(kind));
        }
        options
    }
}

#[interface(name = "org.bluez.GattCharacteristic1")]
impl GattCharacteristic {
    #[zbus(property, name = "UUID")]
    fn uuid(&self) -> String {
        self.uuid.clone()
    }

    #[zbus(property)]
    fn service(&self) -> OwnedObjectPath {
        let path = format!("{}/service0001", device_path(self.index));
        path.try_into().unwrap()
    }

    #[zbus(property)]
    fn value(&self) -> Vec<u8> {
        self.value.clone()
    }

    #[zbus(property)]
    fn flags(&self) -> Vec<String> {
        ["read", "write", "write-without-response", "notify"]
            .map(str::to_owned)
            .to_vec()
    }

    #[zbus(property, name = "MTU")]
    fn mtu(&self) -> u16 {
        MTU
    }

    async fn write_value(&self, value: Vec<u8>, mut options: Options) -> fdo::Result<()> {
        if value.len() > 512 {
            return Err(failed("invalid length of a value"));
        }
        let kind = options
            .remove("type")
            .and_then(|kind| String::try_from(kind).ok());
        let arguments = (value, self.options(kind.clone()));
        let Registered { sender, path } = &self.program;
        let interface = Some(GATT_CHARACTERISTIC);
        let bus = &self.world.bus;
        let written = bus
            .call_method(
                Some(sender.as_str()),
                path,
                interface,
                "WriteValue",
                &arguments,
            )
            .await;
        match written {
            Err(error) if kind.as_deref() == Some("request") => Err(error.into()),
            // Nobody hears what becomes of a command.
            _ => Ok(()),
        }
    }

    async fn start_notify(&self) -> fdo::Result<()> {
        let Registered { sender, path } = &self.program;
        let arguments = (self.options(None),);
        let interface = Some(GATT_CHARACTERISTIC);
        let bus = &self.world.bus;
        let reply = bus
            .call_method(
                Some(sender.as_str()),
                path,
                interface,
                "AcquireNotify",
                &arguments,
            )
            .await?;
        let (socket, _mtu): (OwnedFd, u16) =
            reply.body().deserialize().map_err(fdo::Error::from)?;
        let socket = UnixDatagram::from(StdOwnedFd::from(socket));
        socket.set_nonblocking(false).unwrap();
        let values = socket.try_clone().unwrap();
        self.world.state().adapters[self.index].notifications = Some(socket);
        let (world, index) = (self.world.clone(), self.index);
        thread::spawn(move || notify(&world, index, &values));
        Ok(())
    }

    fn stop_notify(&self) {
        let mut state = self.world.state();
        if let Some(socket) = state.adapters[self.index].notifications.take() {
            socket.shutdown(Shutdown::Both).unwrap();
        }
    }
}

/// Makes what a program notifies the value of the characteristic that the other one sees.
fn notify(world: &World, index: usize, values: &UnixDatagram) {
    let mut bytes = [0; 600];
    while let Ok(length @ 1..) = values.recv(&mut bytes) {
        let said = block_on(async {
            let path = characteristic_path(index);
            let server = world.bus.object_server();
            let seen = server.interface::<_, GattCharacteristic>(path).await?;
            let emitter: SignalEmitter<'_> = seen.signal_emitter().clone();
            let mut seen = seen.get_mut().await;
            seen.value = bytes[..length].to_vec();
            seen.value_changed(&emitter).await
        });
        // The connection has ended.
        if said.is_err() {
            return;
        }
    }
}

/// The service, for as long as the value lives.
pub(crate) struct Bluez(World);

impl Bluez {
    /// Comes to the bus of this address, with two adapters that are on.
    pub(crate) fn start(address: &str) -> Self {
        block_on(async {
            let bus = zbus::connection::Builder::address(address)
                .unwrap()
                .build()
                .await
                .unwrap();
            let adapters = [(); 2].map(|()| AdapterState {
                is_on: true,
                ..AdapterState::default()
            });
            let state = Arc::new(Mutex::new(State { adapters }));
            let world = World { state, bus };
            let server = world.bus.object_server();
            server.at("/", fdo::ObjectManager).await.unwrap();
            for index in 0..2 {
                let path = adapter_path(index);
                let world = || world.clone();
                let adapter = Adapter {
                    world: world(),
                    index,
                };
                server.at(path.as_str(), adapter).await.unwrap();
                let adverts = Adverts {
                    world: world(),
                    index,
                };
                server.at(path.as_str(), adverts).await.unwrap();
                let gatt = Gatt {
                    world: world(),
                    index,
                };
                server.at(path.as_str(), gatt).await.unwrap();
            }
            world.bus.request_name("org.bluez").await.unwrap();
            Self(world)
        })
    }

    /// Ends connections, as distance does.
    pub(crate) fn cut(&self) {
        block_on(self.0.end_all()).unwrap();
    }

    pub(crate) fn set_power(&self, index: usize, is_on: bool) {
        block_on(self.0.set_power(index, is_on)).unwrap();
    }
}
