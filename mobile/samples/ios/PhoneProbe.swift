// Reads an iPhone or iPad for a Worker. A sample to copy into an application: it needs the SDK of
// iOS. Without it, which is where the tests of this repository run, only its syntax and the arithmetic
// at its end are checked; it was never run on a device.
import Foundation

#if os(iOS)
import FogCompute
import Network
import UIKit
import os

/// What iOS tells without any permission: battery, thermal state, network, whether the device is
/// locked, processors, their load and memory.
public final class PhoneProbe: DeviceProbe, @unchecked Sendable {
    private let monitor = NWPathMonitor()
    private let lock = NSLock()
    private var path: NWPath?
    private var lockedSince: TimeInterval?
    private var before: Work?

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
        let (battery, unlocked) = DispatchQueue.main.sync {
            MainActor.assumeIsolated { (Self.battery(), Self.isUnlocked()) }
        }
        let (up, work) = (ProcessInfo.processInfo.systemUptime, Work.untilNow())
        lock.lock()
        let path = self.path
        let load = before.flatMap { before in work.flatMap { $0.othersShare(since: before) } }
        before = work
        lockedSince = unlocked ? nil : lockedSince ?? up
        let idle = up - (lockedSince ?? up)
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
            // Unknown at the first reading, so nothing runs before the second.
            cpuLoad: load,
            memoryTotalBytes: ProcessInfo.processInfo.physicalMemory,
            memoryAvailableBytes: UInt64(os_proc_available_memory()),
            batteryTemperatureCelsius: nil,
            temperatureCelsius: Self.celsius(),
            metered: path.map { $0.isExpensive || $0.isConstrained },
            screenOn: unlocked,
            userIdleMs: UInt64(idle * 1000),
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

    /// iOS does not tell about the screen, but files are locked some seconds after the device is.
    /// Without a passcode it always counts as one in use.
    @MainActor
    private static func isUnlocked() -> Bool {
        UIApplication.shared.isProtectedDataAvailable
    }

    private static func network(_ path: NWPath?) -> FogCompute.Network {
        guard let path else { return .unknown }
        guard path.status == .satisfied else { return .offline }
        if path.usesInterfaceType(.wiredEthernet) { return .ethernet }
        if path.usesInterfaceType(.wifi) { return .wifi }
        if path.usesInterfaceType(.cellular) { return .cellular }
        return .unknown
    }

    /// iOS tells four states and no degrees. Each is reported as a temperature at which a policy
    /// with `celsius_throttle = 45.0` and `celsius_critical = 55.0` does what Apple asks of
    /// applications in that state: work freely, work less, stop what is not needed, stop.
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

extension Work {
    static func untilNow() -> Work? {
        var info = host_cpu_load_info()
        let stride = MemoryLayout<integer_t>.stride
        let words = MemoryLayout<host_cpu_load_info>.stride / stride
        var count = mach_msg_type_number_t(words)
        let host = mach_host_self()
        defer { mach_port_deallocate(mach_task_self_, host) }
        let read = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: words) {
                host_statistics(host, HOST_CPU_LOAD_INFO, $0, &count)
            }
        }
        guard read == KERN_SUCCESS else { return nil }
        let (user, system, idle, nice) = info.cpu_ticks
        return Work(
            busy: Double(user) + Double(system) + Double(nice), idle: Double(idle),
            own: Double(clock_gettime_nsec_np(CLOCK_PROCESS_CPUTIME_ID)) / 1e9,
            at: ProcessInfo.processInfo.systemUptime)
    }
}
#endif

/// What the processors have done since the device was started.
private struct Work {
    /// Of all processors, in ticks of the kernel.
    let busy, idle: Double
    /// Of this process, in seconds of one processor.
    let own: Double
    let at: TimeInterval

    /// The share of all processors that others than this process used since then, 0 to 1.
    func othersShare(since: Work) -> Double? {
        let (busy, idle) = (busy - since.busy, idle - since.idle)
        let processors = Double(ProcessInfo.processInfo.activeProcessorCount)
        // The kernel's counters have 32 bits: nothing is known of the moment in which they wrap.
        guard busy >= 0, idle >= 0, busy + idle > 0, at > since.at else { return nil }
        let all = busy / (busy + idle)
        let ours = (own - since.own) / ((at - since.at) * processors)
        return min(1, max(0, all - ours))
    }
}
