import FogCompute
import Foundation
import XCTest

/// Nodes of a mesh: inside the program, over TCP, and over a radio that is written here.
final class MeshTests: XCTestCase {
    private struct Ended: Error {}

    /// The first event of which something comes.
    @discardableResult
    private func until<Found>(
        _ node: MeshNode, _ wanted: (MeshEvent) -> Found?
    ) async throws -> Found {
        for try await event in node.events {
            if let found = wanted(event) { return found }
        }
        throw Ended()
    }

    /// Until all of them have joined, in whatever order.
    private func joined(_ node: MeshNode, _ others: MeshNode...) async throws {
        var missing = Set(others.map { $0.id() })
        try await until(node) { event -> Void? in
            if case .peerJoined(let peer) = event { missing.remove(peer) }
            return missing.isEmpty ? () : nil
        }
    }

    private func temporaryFolder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try FileManager.default.removeItem(at: folder) }
        return folder
    }

    // MARK: Links and messages

    func testNodesTalkOverTcpAndGoOnAfterARestart() async throws {
        let file = try temporaryFolder().appendingPathComponent("alice").path
        let bob = try MeshNode(nickname: "bob")
        let address = try bob.listen()
        XCTAssertEqual(bob.listening(), [address])
        let config = MeshNodeConfig(file: file, connect: [address])
        let alice = try MeshNode(nickname: "alice", config: config)
        try await joined(alice, bob)
        try await joined(bob, alice)
        let known = try XCTUnwrap(try alice.peers().first)
        XCTAssertEqual([known.id, known.nickname], [bob.id(), "bob"])
        XCTAssertTrue(known.isLinked)
        XCTAssertEqual(known.noiseKey.count, 32)

        let sent = try alice.sendPrivate(peer: bob.id(), text: "hello")
        let came = try await until(bob) { event -> [String?]? in
            guard case .privateMessage(let id, let from, let text, let via, _, _) = event else {
                return nil
            }
            return [id, from, text, via]
        }
        XCTAssertEqual(came, [sent, alice.id(), "hello", alice.id()])
        try await until(alice) { $0 == .delivery(id: sent, state: .delivered) ? () : nil }
        try bob.markRead(peer: alice.id(), id: sent)
        try await until(alice) { $0 == .delivery(id: sent, state: .read) ? () : nil }
        let said = try bob.sendPublic(text: "to all")
        let heard = try await until(alice) { event -> [String]? in
            guard case .publicMessage(let id, let from, let text, _, _, let hops) = event,
                hops <= 1
            else { return nil }
            return [id, from, text]
        }
        XCTAssertEqual(heard, [said, bob.id(), "to all"])
        XCTAssertGreaterThan(try alice.stats().bytesIn, 0)
        XCTAssertNotNil(try alice.stats().rules["received"])

        let (aliceId, bobId) = (alice.id(), bob.id())
        bob.close()
        try await until(alice) { $0 == .peerLeft(peer: bobId) ? () : nil }
        XCTAssertTrue(try alice.disconnect(address: address))
        XCTAssertFalse(try alice.disconnect(address: address))
        let kept = try alice.sendPrivate(peer: bobId, text: "while you were away")
        alice.close()
        let again = try MeshNode(nickname: "", config: MeshNodeConfig(file: file))
        defer { again.close() }
        XCTAssertEqual([again.id(), try again.nickname()], [aliceId, "alice"])
        XCTAssertEqual(try again.stats().waiting, 1)
        let history = try again.history()
        XCTAssertEqual(history.map(\.text), ["while you were away", "to all", "hello"])
        XCTAssertEqual(history.map(\.isOwn), [true, false, true])
        XCTAssertEqual(history.map(\.id), [kept, said, sent])
        XCTAssertEqual(history[2].state, .read)
        let older = try again.history(limit: 1, before: history[0].number)
        XCTAssertEqual(older, [history[1]])

        let (withBob, all) = (MeshConversation.peer(id: bobId), MeshConversation.everybody)
        XCTAssertEqual(try again.history(conversation: withBob), [history[0], history[2]])
        XCTAssertEqual(try again.history(limit: 1, conversation: all), [history[1]])
        XCTAssertEqual(
            try again.conversations(),
            [
                MeshConversationEntry(conversation: withBob, newest: history[0].number),
                MeshConversationEntry(conversation: all, newest: history[1].number),
            ])
        XCTAssertTrue(try again.deleteMessage(number: history[2].number))
        XCTAssertFalse(try again.deleteMessage(number: history[2].number))
        XCTAssertEqual(try again.history(), [history[0], history[1]])
        XCTAssertEqual(try again.deleteConversation(conversation: withBob), 1)
        XCTAssertEqual(try again.history(), [history[1]])
        for wrong in [MeshConversation.peer(id: "x"), .group(id: bobId)] {
            assertFails(.invalidArgument) { try again.history(conversation: wrong) }
            assertFails(.invalidArgument) { try again.deleteConversation(conversation: wrong) }
        }
    }

    func testItIsToldWhatNeighboursDoWithAMessage() async throws {
        let alice = try MeshNode(nickname: "alice")
        let (relay, bob) = (try MeshNode(nickname: "relay"), try MeshNode(nickname: "bob"))
        let bobId = bob.id()
        defer { for node in [alice, relay, bob] { node.close() } }
        try alice.linkWith(other: relay)
        try relay.linkWith(other: bob)
        try await joined(relay, alice, bob)
        try await joined(alice, relay, bob)
        try await joined(bob, relay, alice)
        let said = try alice.sendPublic(text: "to all")
        try await until(alice) {
            $0 == .passed(id: said, by: relay.id(), how: .given) ? () : nil
        }
        let heard = try await until(bob) { event -> [String?]? in
            guard case .publicMessage(said, _, _, _, let via, let hops) = event else { return nil }
            return [via, "\(hops)"]
        }
        XCTAssertEqual(heard, [relay.id(), "2"])
        let sent = try alice.sendPrivate(peer: bobId, text: "hello")
        let read = try await until(bob) { event -> (UInt8, MeshProtection?)? in
            guard case .privateMessage(sent, _, _, _, let hops, let protection) = event else {
                return nil
            }
            return (hops, protection)
        }
        XCTAssertEqual(read.0, 2)
        XCTAssertNotNil(read.1)
        let group = try alice.createGroup(name: "us", members: [bobId])
        try await until(bob) { $0 == .group(group: group, creator: alice.id()) ? () : nil }
        let written = try alice.sendGroup(group: group, text: "between us")
        let shared = try await until(bob) { event -> [String?]? in
            guard case .groupMessage(group, written, _, _, _, let via, let hops, _) = event else {
                return nil
            }
            return [via, "\(hops)"]
        }
        XCTAssertEqual(shared, [relay.id(), "2"])
        let inGroup = try bob.history(conversation: .group(id: group))
        XCTAssertEqual(inGroup.map(\.text), ["between us"])
        XCTAssertEqual(inGroup.map(\.hops), [2])

        // Who is not there any more is written to by somebody who carries it.
        bob.close()
        try await until(alice) { $0 == .peerLeft(peer: bobId) ? () : nil }
        let kept = try alice.sendPrivate(peer: bobId, text: "while you were away")
        try await until(alice) {
            $0 == .passed(id: kept, by: relay.id(), how: .carries) ? () : nil
        }
    }

    func testMembersOfAFogTalkToEachOtherAlone() async throws {
        let key = try meshFogKey()
        XCTAssertEqual(key.count, 32)
        XCTAssertNotEqual(key, try meshFogKey())
        let config = MeshNodeConfig(fog: MeshFog(key: key))
        let alice = try MeshNode(nickname: "alice", config: config)
        let bob = try MeshNode(nickname: "bob", config: config)
        let other = MeshNodeConfig(fog: MeshFog(key: try meshFogKey(), periodMs: 60_000))
        let strangers = [
            try MeshNode(nickname: "carol"), try MeshNode(nickname: "dave", config: other),
        ]
        defer { for node in [alice, bob] + strangers { node.close() } }
        for stranger in strangers { try alice.linkWith(other: stranger) }
        try alice.linkWith(other: bob)
        try await joined(alice, bob)
        try await joined(bob, alice)
        let sent = try alice.sendPrivate(peer: bob.id(), text: "among us")
        try await until(bob) { event -> Void? in
            guard case .privateMessage(sent, _, "among us", _, _, _) = event else { return nil }
            return ()
        }
        let said = try bob.sendPublic(text: "to the fog")
        try await until(alice) { event -> Void? in
            guard case .publicMessage(said, _, "to the fog", _, _, _) = event else { return nil }
            return ()
        }
        // They hear something and know nobody.
        for stranger in strangers {
            while try stranger.stats().bytesIn == 0 { await Task.yield() }
            XCTAssertEqual(try stranger.peers(), [])
            XCTAssertEqual(try stranger.history(), [])
        }
        XCTAssertEqual(try alice.peers().map(\.id), [bob.id()])
        XCTAssertNotEqual(try alice.airId(), alice.id())
        XCTAssertEqual(try strangers[0].airId(), strangers[0].id())
        for bytes in [0, 31, 33] {
            let fog = MeshFog(key: Data(count: bytes))
            assertFails(.invalidArgument, "\(bytes)") {
                try MeshNode(nickname: "eve", config: MeshNodeConfig(fog: fog))
            }
        }
    }

    func testGroupsAndFiles() async throws {
        let folder = try temporaryFolder()
        let (alice, bob) = (try MeshNode(nickname: "alice"), try MeshNode(nickname: "bob"))
        defer {
            alice.close()
            bob.close()
        }
        try alice.linkWith(other: bob)
        try await joined(alice, bob)
        try await joined(bob, alice)
        let group = try alice.createGroup(name: "us", members: [bob.id()])
        try await until(bob) { $0 == .group(group: group, creator: alice.id()) ? () : nil }
        let members = [alice.id(), bob.id()]
        let small = MeshGroup(id: group, name: "us", members: members, isLarge: false)
        XCTAssertEqual(try bob.groups(), [small])
        assertFails(.notGroupCreator) { try bob.changeGroup(group: group, members: []) }
        let written = try alice.sendGroup(group: group, text: "between us")
        let read = try await until(bob) { event -> [String]? in
            guard case .groupMessage(let of, let id, _, let text, _, _, _, .groupKey) = event else {
                return nil
            }
            return [of, id, text]
        }
        XCTAssertEqual(read, [group, written, "between us"])
        XCTAssertTrue(try bob.leaveGroup(group: group))
        XCTAssertFalse(try bob.leaveGroup(group: group))
        let many = try alice.createLargeGroup(name: "many", members: [bob.id()])
        try await until(bob) { $0 == .group(group: many, creator: alice.id()) ? () : nil }
        XCTAssertEqual(try bob.groups().map(\.isLarge), [true])
        let toMany = try alice.sendGroup(group: many, text: "between many")
        try await until(bob) { event -> Void? in
            guard case .groupMessage(many, toMany, _, "between many", _, _, _, .senderKey) = event
            else {
                return nil
            }
            return ()
        }

        let file = MeshFile(content: Data("small".utf8), name: "small.txt", mime: "text/plain")
        try alice.sendFile(peer: bob.id(), file: file)
        try await until(bob) {
            $0 == .file(from: alice.id(), isPrivate: true, file: file) ? () : nil
        }

        let content = Data((0..<256_000).map { UInt8(truncatingIfNeeded: $0) })
        let (large, taken) = (
            folder.appendingPathComponent("large"), folder.appendingPathComponent("taken")
        )
        try content.write(to: large)
        let name = try alice.offerFile(peer: bob.id(), path: large.path)
        let length = UInt64(content.count)
        try await until(bob) {
            $0
                == .fileOffered(
                    from: alice.id(), file: name, title: "large", mime: "application/octet-stream",
                    length: length)
                ? () : nil
        }
        try bob.acceptFile(file: name, path: taken.path)
        let progress = try await until(bob) { event -> UInt64? in
            guard case .fileProgress(name, _, false, let done, length) = event else { return nil }
            return done
        }
        XCTAssertTrue((1...length).contains(progress))
        try await until(bob) {
            $0 == .fileReceived(file: name, from: alice.id(), path: taken.path) ? () : nil
        }
        XCTAssertEqual(try Data(contentsOf: taken), content)
        try await until(alice) { event -> Void? in
            guard case .fileProgress(name, _, true, length, _) = event else { return nil }
            return ()
        }
        XCTAssertTrue(try alice.cancelFile(file: name))
    }

    func testWhatIsRefusedHasACodeOfItsOwn() async throws {
        let alice = try MeshNode(nickname: "alice")
        let address = try alice.listen()
        func digits(_ bytes: Int) -> String { String(repeating: "ab", count: bytes) }
        assertFails(.unknownPeer) { try alice.sendPrivate(peer: digits(8), text: "hello") }
        assertFails(.unknownGroup) { try alice.sendGroup(group: digits(16), text: "hello") }
        assertFails(.unknownFile) { try alice.acceptFile(file: digits(32), path: "x") }
        assertFails(.invalidMeshContent) { try alice.sendPublic(text: "") }
        for nickname in ["", String(repeating: "x", count: 256)] {
            assertFails(.invalidMeshContent) { try MeshNode(nickname: nickname) }
        }
        assertFails(.listen) {
            try MeshNode(nickname: "bob", config: MeshNodeConfig(listen: [address]))
        }
        assertFails(.invalidArgument) { try alice.connect(address: "nowhere") }
        assertFails(.invalidArgument) { try alice.listen(address: "nowhere") }
        for peer in ["", "xyz", digits(7), digits(9)] {
            assertFails(.invalidArgument, peer) { try alice.sendPrivate(peer: peer, text: "x") }
        }
        assertFails(.invalidArgument) { try alice.sendGroup(group: digits(15), text: "hello") }
        assertFails(.invalidArgument) { try alice.cancelFile(file: digits(31)) }
        alice.close()
        alice.close()
        assertFails(.closed) { try alice.peers() }
        assertFails(.closed) { try alice.sendPublic(text: "hello") }
        assertFails(.closed) { try alice.addRadio(radio: LoopbackRadio(Air())) }
        await assertFails(.closed) { try await alice.receive() }
    }

    func testNoEventIsLostWhenAReceiverIsCancelledAndClosingEndsTheWait() async throws {
        let (alice, bob) = (try MeshNode(nickname: "alice"), try MeshNode(nickname: "bob"))
        try alice.linkWith(other: bob)
        try await joined(bob, alice)
        try await joined(alice, bob)
        for number in 0..<20 {
            let text = "\(number)"
            let wanted: @Sendable (MeshEvent) -> Bool = { event in
                if case .publicMessage(_, _, text, _, _, _) = event { return true }
                return false
            }
            let receiving = Task {
                while true { if wanted(try await bob.receive()) { return } }
            }
            _ = try alice.sendPublic(text: text)
            receiving.cancel()
            do { try await receiving.value } catch FogError.Cancelled {
                while !wanted(try await bob.receive()) {}
            }
        }
        let waiting = Task { for try await _ in bob.events {} }
        bob.close()
        try await waiting.value
        alice.close()
    }

    // MARK: A radio

    func testNodesTalkOverARadioWrittenInSwift() async throws {
        let air = Air()
        let radios = [LoopbackRadio(air), LoopbackRadio(air)]
        let (alice, bob) = (try MeshNode(nickname: "alice"), try MeshNode(nickname: "bob"))
        try alice.addRadio(radio: radios[0])
        try bob.addRadio(radio: radios[1])
        try await joined(alice, bob)
        try await joined(bob, alice)
        let text = String(repeating: "over the air ", count: 19)
        let sent = try alice.sendPrivate(peer: bob.id(), text: text)
        let came = try await until(bob) { event -> String? in
            guard case .privateMessage(sent, _, let text, _, _, _) = event else { return nil }
            return text
        }
        XCTAssertEqual(came, text)
        try await until(alice) { $0 == .delivery(id: sent, state: .delivered) ? () : nil }
        XCTAssertTrue(radios.allSatisfy { $0.values > 0 })

        // What a radio throws ends that connection, and neither node.
        radios[0].throwing = Bug(what: "the antenna fell off")
        _ = try alice.sendPublic(text: "lost")
        let reason = try await until(alice) { event -> String? in
            guard case .radioFailed(0, let reason) = event else { return nil }
            return reason
        }
        XCTAssertTrue(reason.contains("the antenna fell off"), reason)
        try await until(alice) { event -> Void? in
            guard case .linkDown = event else { return nil }
            return ()
        }
        radios[0].throwing = nil
        XCTAssertEqual(try alice.peers().map(\.id), [bob.id()])
        XCTAssertEqual(radios.map(\.detached), [0, 0])
        alice.close()
        bob.close()
        XCTAssertEqual(radios.map(\.detached), [1, 1])
    }

    func testARadioThatCannotBeginIsNotAdded() throws {
        let (alice, radio) = (try MeshNode(nickname: "alice"), LoopbackRadio(Air()))
        defer { alice.close() }
        radio.refusing = RadioError.Host(reason: "no permission")
        let failed = assertFails(.hostCallback) { try alice.addRadio(radio: radio) }
        XCTAssertEqual(failed?.message, "no permission")
        for number in 0..<8 {
            XCTAssertNoThrow(try alice.addRadio(radio: LoopbackRadio(Air())), "\(number)")
        }
        assertFails(.meshBusy) { try alice.addRadio(radio: LoopbackRadio(Air())) }
    }

    func testAnInboxRefusesAPeerThatIsTooLong() async throws {
        let (alice, radio) = (try MeshNode(nickname: "alice"), LoopbackRadio(Air()))
        try alice.addRadio(radio: radio)
        let inbox = try XCTUnwrap(radio.inbox)
        let long = Data(count: 65)
        assertFails(.invalidArgument) { try inbox.discovered(peer: long, rssiDbm: -40) }
        assertFails(.invalidArgument) {
            try inbox.connected(link: 1, peer: long, isCentral: true, mtu: 517)
        }
        assertFails(.invalidArgument) { try inbox.connectFailed(peer: long) }
        XCTAssertTrue(try inbox.discovered(peer: Data(count: 64), rssiDbm: -40))
        // What comes of no connection, or of Bluetooth that is off, does no harm.
        inbox.adapter(isOn: false)
        inbox.mtuChanged(link: 9, mtu: 23)
        inbox.writable(link: 9)
        inbox.unsubscribed(link: 9)
        inbox.stopped(isScanning: true)
        inbox.stopped(isScanning: false)
        inbox.adapter(isOn: true)
        XCTAssertTrue(inbox.received(link: 9, value: Data(count: 20)))
        XCTAssertEqual(try alice.peers(), [])
        alice.close()
    }
}

/// Carries values between the radios that are in it.
private final class Air: @unchecked Sendable {
    private let lock = NSLock()
    private var radios: [LoopbackRadio] = []
    private var links: UInt64 = 0
    private var ends: [UInt64: [LoopbackRadio]] = [:]

    func locked<Value>(_ act: () throws -> Value) rethrows -> Value {
        lock.lock()
        defer { lock.unlock() }
        return try act()
    }

    func enter(_ radio: LoopbackRadio) -> Data {
        locked {
            radios.append(radio)
            return Data([UInt8(radios.count - 1)])
        }
    }

    func others(than radio: LoopbackRadio) -> [LoopbackRadio] {
        locked { radios.filter { $0 !== radio } }
    }

    func link(_ radio: LoopbackRadio, with peer: Data) -> (UInt64, LoopbackRadio)? {
        locked {
            guard let number = peer.first, Int(number) < radios.count else { return nil }
            links += 1
            let other = radios[Int(number)]
            ends[links] = [radio, other]
            return (links, other)
        }
    }

    func other(end radio: LoopbackRadio, of link: UInt64) -> LoopbackRadio? {
        locked { ends[link]?.first { $0 !== radio } }
    }

    func end(_ link: UInt64) -> [LoopbackRadio] {
        locked { ends.removeValue(forKey: link) ?? [] }
    }

    func links(of radio: LoopbackRadio) -> [UInt64] {
        locked { ends.filter { $0.value.contains { $0 === radio } }.map(\.key) }
    }
}

/// A radio whose air is this program: what one writes, the other one hears.
private final class LoopbackRadio: BleRadio, @unchecked Sendable {
    private let air: Air
    private var state = State()
    private var address = Data()

    private struct State {
        var inbox: RadioInbox?
        var values = 0
        var detached = 0
        var throwing: Error?
        var refusing: Error?
    }

    init(_ air: Air) {
        self.air = air
        address = air.enter(self)
    }

    var inbox: RadioInbox? { air.locked { state.inbox } }
    var values: Int { air.locked { state.values } }
    var detached: Int { air.locked { state.detached } }
    var throwing: Error? {
        get { air.locked { state.throwing } }
        set { air.locked { state.throwing = newValue } }
    }
    var refusing: Error? {
        get { air.locked { state.refusing } }
        set { air.locked { state.refusing = newValue } }
    }

    func limits() throws -> RadioLimits {
        RadioLimits(isCentral: true, isPeripheral: true, linksMax: 8)
    }

    func attach(inbox: RadioInbox) throws {
        if let refusing = refusing { throw refusing }
        air.locked { state.inbox = inbox }
    }

    func advertise(serviceData: Data) throws {
        for other in air.others(than: self) {
            _ = try other.inbox?.discovered(
                peer: address, rssiDbm: -40, serviceData: serviceData)
        }
    }

    func stopAdvertising() throws {}

    func scan() throws {
        // Who is attached later is heard by its advert.
        for other in air.others(than: self) where other.inbox != nil {
            _ = try inbox?.discovered(peer: other.address, rssiDbm: -40)
        }
    }

    func stopScanning() throws {}

    func connect(peer: Data) throws -> Bool {
        guard let (link, other) = air.link(self, with: peer) else { return false }
        try inbox?.connected(link: link, peer: other.address, isCentral: true, mtu: 517)
        try other.inbox?.connected(link: link, peer: address, isCentral: false, mtu: 517)
        inbox?.subscribed(link: link)
        other.inbox?.subscribed(link: link)
        return true
    }

    func disconnect(link: UInt64) throws {
        for end in air.end(link) {
            end.inbox?.disconnected(link: link, byThisSide: end === self)
        }
    }

    func write(link: UInt64, value: Data, withResponse: Bool) throws -> Bool {
        if let throwing = throwing { throw throwing }
        air.locked { state.values += 1 }
        guard let other = air.other(end: self, of: link) else { return false }
        return other.inbox?.received(link: link, value: value) ?? false
    }

    func notify(link: UInt64, value: Data) throws -> Bool {
        try write(link: link, value: value, withResponse: true)
    }

    func detach() throws {
        for link in air.links(of: self) { try disconnect(link: link) }
        air.locked { state.detached += 1 }
    }
}
