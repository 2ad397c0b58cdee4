// A radio for a MeshNode over CoreBluetooth. A sample to copy into an application: it needs the SDK of
// an Apple system. Without it, which is where the tests of this repository run, only its syntax is
// checked; it was never run on a device.
//
//     let radio = MeshRadio()
//     try node.addRadio(radio: radio)
//
// Info.plist needs NSBluetoothAlwaysUsageDescription; to go on in the background, the modes
// bluetooth-central and bluetooth-peripheral.
#if canImport(CoreBluetooth)
import CoreBluetooth
import FogCompute
import Foundation

/// Both roles at once: scans and connects as a central, advertises and is connected to as a
/// peripheral.
///
/// What CoreBluetooth does not do: an advert carries no service data, and a peripheral cannot end the
/// connection of a central. Such a connection is forgotten here, and what still comes over it is
/// dropped.
public final class MeshRadio: NSObject, BleRadio, @unchecked Sendable {
    private static let service = CBUUID(string: "F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C")
    private static let characteristic = CBUUID(string: "A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")
    /// CoreBluetooth waits for ever for a connection; a radio answers within half a minute.
    private static let connectTimeout: TimeInterval = 20
    /// Peripherals that were heard and are remembered, so that they can be connected to.
    private static let heardMax = 512

    /// A connection that this side began.
    private final class Outgoing {
        let peripheral: CBPeripheral
        var characteristic: CBCharacteristic?
        /// Its number, as soon as it carries values.
        var link: UInt64?
        /// A write with response that was not answered yet.
        var isAnswerDue = false
        /// A write was refused, so it has to be told when there is room.
        var wasRefused = false

        init(_ peripheral: CBPeripheral) { self.peripheral = peripheral }
    }

    /// A connection that the other side began.
    private final class Incoming {
        let central: CBCentral
        let link: UInt64
        /// A notification was refused, so it has to be told when there is room.
        var wasRefused = false

        init(_ central: CBCentral, link: UInt64) { (self.central, self.link) = (central, link) }
    }

    /// Everything below is used on this queue only. Nothing on it waits for the node.
    private let queue = DispatchQueue(label: "dev.fogcompute.radio")
    private var inbox: RadioInbox?
    private var central: CBCentralManager?
    private var peripheral: CBPeripheralManager?
    private var served: CBMutableCharacteristic?
    private var isOn = true
    private var nextLink: UInt64 = 1
    private var heard: [UUID: CBPeripheral] = [:]
    private var outgoing: [UUID: Outgoing] = [:]
    private var incoming: [UUID: Incoming] = [:]

    // MARK: What the node asks

    public func limits() throws -> RadioLimits {
        RadioLimits(isCentral: true, isPeripheral: true, linksMax: 8)
    }

    public func attach(inbox: RadioInbox) throws {
        queue.sync {
            self.inbox = inbox
            // A radio begins on. Whether Bluetooth is, the managers say soon.
            setOn(false)
            central = CBCentralManager(delegate: self, queue: queue)
            peripheral = CBPeripheralManager(delegate: self, queue: queue)
        }
    }

    public func advertise(serviceData: Data) throws {
        queue.sync {
            peripheral?.stopAdvertising()
            peripheral?.startAdvertising([CBAdvertisementDataServiceUUIDsKey: [Self.service]])
        }
    }

    public func stopAdvertising() throws {
        queue.sync { peripheral?.stopAdvertising() }
    }

    public func scan() throws {
        queue.sync {
            central?.scanForPeripherals(
                withServices: [Self.service],
                options: [CBCentralManagerScanOptionAllowDuplicatesKey: true])
        }
    }

    public func stopScanning() throws {
        queue.sync { central?.stopScan() }
    }

    public func connect(peer: Data) throws -> Bool {
        queue.sync {
            guard let id = Self.uuid(peer), let found = heard[id], let central else {
                return false
            }
            guard outgoing[id] == nil else { return true }
            let connection = Outgoing(found)
            outgoing[id] = connection
            found.delegate = self
            central.connect(found)
            queue.asyncAfter(deadline: .now() + Self.connectTimeout) { [weak self] in
                guard let self, self.outgoing[id] === connection, connection.link == nil else {
                    return
                }
                self.fail(connection)
            }
            return true
        }
    }

    public func disconnect(link: UInt64) throws {
        queue.sync {
            if let connection = outgoing.values.first(where: { $0.link == link }) {
                outgoing[connection.peripheral.identifier] = nil
                central?.cancelPeripheralConnection(connection.peripheral)
                inbox?.disconnected(link: link, byThisSide: true)
            } else if let connection = incoming.values.first(where: { $0.link == link }) {
                incoming[connection.central.identifier] = nil
                inbox?.disconnected(link: link, byThisSide: true)
            }
        }
    }

    public func write(link: UInt64, value: Data, withResponse: Bool) throws -> Bool {
        queue.sync {
            guard let connection = outgoing.values.first(where: { $0.link == link }),
                let characteristic = connection.characteristic
            else { return true }  // It has ended, which is told already.
            let hasRoom =
                withResponse
                ? !connection.isAnswerDue : connection.peripheral.canSendWriteWithoutResponse
            guard hasRoom else {
                connection.wasRefused = true
                return false
            }
            connection.isAnswerDue = connection.isAnswerDue || withResponse
            connection.peripheral.writeValue(
                value, for: characteristic, type: withResponse ? .withResponse : .withoutResponse)
            return true
        }
    }

    public func notify(link: UInt64, value: Data) throws -> Bool {
        queue.sync {
            guard let connection = incoming.values.first(where: { $0.link == link }),
                let peripheral, let served
            else { return true }  // It has ended, which is told already.
            let central = connection.central
            if peripheral.updateValue(value, for: served, onSubscribedCentrals: [central]) {
                return true
            }
            connection.wasRefused = true
            return false
        }
    }

    public func detach() throws {
        queue.sync {
            central?.stopScan()
            peripheral?.stopAdvertising()
            peripheral?.removeAllServices()
            for connection in outgoing.values {
                central?.cancelPeripheralConnection(connection.peripheral)
            }
            (inbox, central, peripheral, served) = (nil, nil, nil, nil)
            forgetAll()
        }
    }

    // MARK: On the queue

    private func setOn(_ now: Bool) {
        guard isOn != now else { return }
        isOn = now
        if !now { forgetAll() }
        inbox?.adapter(isOn: now)
    }

    /// Both managers have to be on, and the service published.
    private func look() {
        let states = [central?.state, peripheral?.state]
        guard states.allSatisfy({ $0 == .poweredOn }) else {
            served = nil
            return setOn(false)
        }
        guard served == nil else { return }
        let characteristic = CBMutableCharacteristic(
            type: Self.characteristic,
            properties: [.read, .write, .writeWithoutResponse, .notify], value: nil,
            permissions: [.readable, .writeable])
        let service = CBMutableService(type: Self.service, primary: true)
        service.characteristics = [characteristic]
        served = characteristic
        peripheral?.removeAllServices()
        peripheral?.add(service)  // `didAdd` says that it is there.
    }

    private func forgetAll() {
        heard.removeAll()
        outgoing.removeAll()
        incoming.removeAll()
    }

    private func newLink() -> UInt64 {
        defer { nextLink += 1 }
        return nextLink
    }

    /// A connection that this side began does not work, or does not work any more.
    private func fail(_ connection: Outgoing) {
        let id = connection.peripheral.identifier
        guard outgoing[id] === connection else { return }
        outgoing[id] = nil
        central?.cancelPeripheralConnection(connection.peripheral)
        if let link = connection.link {
            inbox?.disconnected(link: link, byThisSide: false)
        } else {
            try? inbox?.connectFailed(peer: Self.data(id))
        }
    }

    private func take(_ value: Data, over link: UInt64) -> Bool {
        inbox?.received(link: link, value: value) ?? false
    }

    /// The connection of a central: it is there as soon as anything of it is heard.
    private func connection(of central: CBCentral) -> Incoming {
        if let known = incoming[central.identifier] { return known }
        let connection = Incoming(central, link: newLink())
        incoming[central.identifier] = connection
        // CoreBluetooth tells how long a notification may be, not the MTU.
        let mtu = UInt16(clamping: central.maximumUpdateValueLength + 3)
        try? inbox?.connected(
            link: connection.link, peer: Self.data(central.identifier), isCentral: false, mtu: mtu)
        return connection
    }

    private static func data(_ id: UUID) -> Data { withUnsafeBytes(of: id.uuid) { Data($0) } }

    private static func uuid(_ data: Data) -> UUID? {
        guard data.count == 16 else { return nil }
        return data.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }
}

// MARK: As a central

extension MeshRadio: CBCentralManagerDelegate, CBPeripheralDelegate {
    public func centralManagerDidUpdateState(_ central: CBCentralManager) { look() }

    public func centralManager(
        _ central: CBCentralManager, didDiscover peripheral: CBPeripheral,
        advertisementData: [String: Any], rssi: NSNumber
    ) {
        let id = peripheral.identifier
        if heard[id] == nil, heard.count >= Self.heardMax {
            heard = heard.filter { outgoing[$0.key] != nil }
        }
        heard[id] = peripheral
        let all = advertisementData[CBAdvertisementDataServiceDataKey] as? [CBUUID: Data]
        // 127 says that it could not be measured.
        let rssiDbm = rssi.intValue == 127 ? -90 : Int16(clamping: rssi.intValue)
        _ = try? inbox?.discovered(
            peer: Self.data(id), rssiDbm: rssiDbm, serviceData: all?[Self.service])
    }

    public func centralManager(_ central: CBCentralManager, didConnect peripheral: CBPeripheral) {
        peripheral.discoverServices([Self.service])
    }

    public func centralManager(
        _ central: CBCentralManager, didFailToConnect peripheral: CBPeripheral, error: Error?
    ) {
        outgoing[peripheral.identifier].map(fail)
    }

    public func centralManager(
        _ central: CBCentralManager, didDisconnectPeripheral peripheral: CBPeripheral,
        error: Error?
    ) {
        outgoing[peripheral.identifier].map(fail)
    }

    public func peripheral(_ peripheral: CBPeripheral, didDiscoverServices error: Error?) {
        guard let connection = outgoing[peripheral.identifier] else { return }
        guard let service = peripheral.services?.first(where: { $0.uuid == Self.service }) else {
            return fail(connection)
        }
        peripheral.discoverCharacteristics([Self.characteristic], for: service)
    }

    public func peripheral(
        _ peripheral: CBPeripheral, didDiscoverCharacteristicsFor service: CBService, error: Error?
    ) {
        guard let connection = outgoing[peripheral.identifier] else { return }
        guard
            let found = service.characteristics?.first(where: { $0.uuid == Self.characteristic })
        else { return fail(connection) }
        let link = newLink()
        (connection.characteristic, connection.link) = (found, link)
        // The system has agreed on an MTU by itself.
        let longest = peripheral.maximumWriteValueLength(for: .withoutResponse)
        try? inbox?.connected(
            link: link, peer: Self.data(peripheral.identifier), isCentral: true,
            mtu: UInt16(clamping: longest + 3))
        peripheral.setNotifyValue(true, for: found)
    }

    public func peripheral(
        _ peripheral: CBPeripheral, didUpdateNotificationStateFor characteristic: CBCharacteristic,
        error: Error?
    ) {
        guard let connection = outgoing[peripheral.identifier], let link = connection.link else {
            return
        }
        if error != nil { return fail(connection) }
        if characteristic.isNotifying {
            inbox?.subscribed(link: link)
        } else {
            inbox?.unsubscribed(link: link)
        }
    }

    public func peripheral(
        _ peripheral: CBPeripheral, didUpdateValueFor characteristic: CBCharacteristic,
        error: Error?
    ) {
        guard let connection = outgoing[peripheral.identifier], let link = connection.link,
            let value = characteristic.value
        else { return }
        // There is no way to make the peer wait.
        if !take(value, over: link) { fail(connection) }
    }

    public func peripheral(
        _ peripheral: CBPeripheral, didWriteValueFor characteristic: CBCharacteristic,
        error: Error?
    ) {
        guard let connection = outgoing[peripheral.identifier] else { return }
        connection.isAnswerDue = false
        if error != nil { return fail(connection) }
        tellRoom(connection)
    }

    public func peripheralIsReady(toSendWriteWithoutResponse peripheral: CBPeripheral) {
        outgoing[peripheral.identifier].map(tellRoom)
    }

    public func peripheral(
        _ peripheral: CBPeripheral, didModifyServices invalidatedServices: [CBService]
    ) {
        guard invalidatedServices.contains(where: { $0.uuid == Self.service }) else { return }
        outgoing[peripheral.identifier].map(fail)
    }

    private func tellRoom(_ connection: Outgoing) {
        guard connection.wasRefused, let link = connection.link else { return }
        connection.wasRefused = false
        inbox?.writable(link: link)
    }
}

// MARK: As a peripheral

extension MeshRadio: CBPeripheralManagerDelegate {
    public func peripheralManagerDidUpdateState(_ peripheral: CBPeripheralManager) { look() }

    public func peripheralManager(
        _ peripheral: CBPeripheralManager, didAdd service: CBService, error: Error?
    ) {
        // Without its service it is of no use to anybody.
        setOn(error == nil)
    }

    public func peripheralManagerDidStartAdvertising(
        _ peripheral: CBPeripheralManager, error: Error?
    ) {
        if error != nil { inbox?.stopped(isScanning: false) }
    }

    public func peripheralManager(
        _ peripheral: CBPeripheralManager, central: CBCentral,
        didSubscribeTo characteristic: CBCharacteristic
    ) {
        inbox?.subscribed(link: connection(of: central).link)
    }

    /// Also how CoreBluetooth says that a central has gone.
    public func peripheralManager(
        _ peripheral: CBPeripheralManager, central: CBCentral,
        didUnsubscribeFrom characteristic: CBCharacteristic
    ) {
        guard let connection = incoming.removeValue(forKey: central.identifier) else { return }
        inbox?.disconnected(link: connection.link, byThisSide: false)
    }

    public func peripheralManager(
        _ peripheral: CBPeripheralManager, didReceiveRead request: CBATTRequest
    ) {
        request.value = Data()
        peripheral.respond(to: request, withResult: .success)
    }

    public func peripheralManager(
        _ peripheral: CBPeripheralManager, didReceiveWrite requests: [CBATTRequest]
    ) {
        guard let first = requests.first else { return }
        // Values are whole: a long write in parts is none.
        guard requests.allSatisfy({ $0.offset == 0 && $0.value != nil }) else {
            return peripheral.respond(to: first, withResult: .invalidOffset)
        }
        var result = CBATTError.Code.success
        for request in requests {
            let link = connection(of: request.central).link
            if !take(request.value ?? Data(), over: link) { result = .insufficientResources }
        }
        // One answer for all of them; CoreBluetooth sends none where none is wanted.
        peripheral.respond(to: first, withResult: result)
    }

    public func peripheralManagerIsReady(toUpdateSubscribers peripheral: CBPeripheralManager) {
        for connection in incoming.values where connection.wasRefused {
            connection.wasRefused = false
            inbox?.writable(link: connection.link)
        }
    }
}
#endif
