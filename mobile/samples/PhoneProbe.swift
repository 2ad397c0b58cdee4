// Reads an iPhone or iPad for a Worker. A sample to copy into an application: it needs the SDK of
// iOS, so nothing in this repository compiles it.
#if os(iOS)
import FogCompute
import Foundation
import Network
import UIKit
import os

/// What iOS tells without any permission: battery, thermal state, network, whether the screen is in
/// use, processors and memory.
public final class PhoneProbe: DeviceProbe, @unchecked Sendable {
    private let monitor = NWPathMonitor()
    private let lock = NSLock()
    private var path: NWPath?

    @MainActor
    public init() {
        UIDevice.current.isBatteryMonitoringEnabled = true
        monitor.pathUpdateHandler = { [weak self] path in
            guard let self else { return }
            self.lock.lock()
            self.path = path
            self.lock.unlock()
        }
        monitor.start(queue: DispatchQueue(label: "dev.fogcompute.probe"))
    }

    deinit {
        monitor.cancel()
    }

    /// Called on a thread of the library, never on the main one.
    public func read() throws -> DeviceState {
        let (battery, inUse) = DispatchQueue.main.sync {
            MainActor.assumeIsolated { (Self.battery(), Self.isInUse()) }
        }
        lock.lock()
        let path = self.path
        lock.unlock()
        let time = Calendar.current.dateComponents([.hour, .minute], from: Date())
        var minute: UInt16?
        if let hour = time.hour, let minutes = time.minute {
            minute = UInt16(hour * 60 + minutes)
        }
        return DeviceState(
            deviceClass: .phone,
            battery: battery,
            network: Self.network(path),
            cpuCores: UInt32(ProcessInfo.processInfo.activeProcessorCount),
            // An application sees no load but its own: left out, which a policy may refuse.
            cpuLoad: nil,
            memoryTotalBytes: ProcessInfo.processInfo.physicalMemory,
            memoryAvailableBytes: UInt64(os_proc_available_memory()),
            batteryTemperatureCelsius: nil,
            temperatureCelsius: Self.celsius(),
            metered: path.map { $0.isExpensive || $0.isConstrained },
            screenOn: inUse,
            userIdleMs: nil,
            minuteOfDay: minute
        )
    }

    @MainActor
    private static func battery() -> Battery {
        let device = UIDevice.current
        guard device.batteryLevel >= 0, device.batteryState != .unknown else { return .unknown }
        let charging = device.batteryState == .charging || device.batteryState == .full
        return .present(levelPercent: Double(device.batteryLevel) * 100, charging: charging)
    }

    /// Whether the application is in front of somebody. In the background iOS does not tell about the
    /// screen, and a task of the background runs when the device is not in use.
    @MainActor
    private static func isInUse() -> Bool {
        UIApplication.shared.applicationState == .active
    }

    private static func network(_ path: NWPath?) -> Network {
        guard let path else { return .unknown }
        guard path.status == .satisfied else { return .offline }
        if path.usesInterfaceType(.wiredEthernet) { return .ethernet }
        if path.usesInterfaceType(.wifi) { return .wifi }
        if path.usesInterfaceType(.cellular) { return .cellular }
        return .unknown
    }

    /// iOS tells four states and no degrees. Each is reported as a temperature at which the usual
    /// policy for phones does what Apple asks of applications in that state: work freely, work less,
    /// stop what is not needed, stop.
    private static func celsius() -> Double? {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: return 35
        case .fair: return 48
        case .serious: return 56
        case .critical: return 65
        @unknown default: return nil
        }
    }
}
#endif
