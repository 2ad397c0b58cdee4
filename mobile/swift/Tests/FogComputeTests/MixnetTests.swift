import FogCompute
import Foundation
import XCTest

/// Batches, reply blocks, topologies, mixnodes and clients.
final class MixnetTests: XCTestCase {
    private let node = String(repeating: "0a", count: 32)

    /// Three mixnodes in three layers.
    private struct Network {
        let nodes: [MixnetNode]
        let topology: Topology

        init(epoch: UInt64? = nil) throws {
            nodes = try (0..<3).map { _ in try MixnetNode(config: MixnetNodeConfig(epoch: epoch)) }
            topology = try Topology(
                layers: nodes.map { [$0.descriptor()] },
                options: TopologyOptions(epoch: epoch, delayMeanMs: 1))
            for node in nodes { try node.setTopology(topology: topology) }
        }

        func client() throws -> MixnetClient {
            try MixnetClient(topology: topology, config: MixnetClientConfig(cover: Cover()))
        }
    }

    // MARK: Packets

    func testABatchGivesWhatItsPacketsGiveOneByOne() throws {
        let sphinx = try Sphinx.withHops(hopsMax: 5, payloadBytes: 1024)
        let key = try PrivateKey.generate()
        XCTAssertEqual(sphinx.hopsMax(), 5)
        let hop = Hop(node: node, key: key.publicKey(), delayMs: 0)
        let orders = (0..<20).map {
            PacketOrder(route: [hop], payload: Data(repeating: UInt8($0), count: $0))
        }
        var packets = try sphinx.buildBatch(packets: orders)
        XCTAssertEqual(packets.count, 20)
        packets[7][40] ^= 1
        packets[9].removeLast()
        let results = try sphinx.processBatch(key: key, packets: packets)
        XCTAssertEqual(results.count, 20)
        for (number, result) in results.enumerated() {
            switch result {
            case .opened(let unwrapped):
                XCTAssertEqual(unwrapped, try sphinx.process(key: key, packet: packets[number]))
                XCTAssertEqual(unwrapped.outcome, .deliver(payload: orders[number].payload))
            case .refused(let code, let message):
                XCTAssert([7, 9].contains(number), message)
                XCTAssertEqual(code, .invalidPacket)
            }
        }
        assertFails(.payloadTooLarge) {
            let order = PacketOrder(route: [hop], payload: Data(count: 1025))
            return try sphinx.buildBatch(packets: orders + [order])
        }
        XCTAssertEqual(try sphinx.buildBatch(packets: []), [])
        assertFails(.invalidArgument) { try Sphinx.withHops(hopsMax: 8, payloadBytes: 1024) }
    }

    func testAReplyComesBackToTheMakerOfItsBlock() throws {
        let (sphinx, key) = (try Sphinx(), try PrivateKey.generate())
        let hop = Hop(node: node, key: key.publicKey(), delayMs: 0)
        let surb = try sphinx.makeSurb(route: [hop])
        XCTAssertEqual(surb.block.count, Int(sphinx.surbBytes()))
        let reply = try sphinx.reply(block: surb.block, payload: Data("answer".utf8))
        XCTAssertEqual(reply.next, String(node.prefix(16)))
        let outcome = try sphinx.process(key: key, packet: reply.packet).outcome
        guard case .reply(let id, let sealed) = outcome else { return XCTFail("\(outcome)") }
        XCTAssertEqual(id, surb.key.surb())
        XCTAssertEqual(try sphinx.openReply(key: surb.key, sealed: sealed), Data("answer".utf8))
        let other = try sphinx.makeSurb(route: [hop])
        assertFails(.invalidReplyBlock) { try sphinx.openReply(key: other.key, sealed: sealed) }
        assertFails(.invalidReplyBlock) { try sphinx.openReply(key: surb.key, sealed: Data()) }
        assertFails(.invalidReplyBlock) { try sphinx.reply(block: Data(count: 9), payload: Data()) }
        assertFails(.invalidRoute) { try sphinx.makeSurb(route: []) }
    }

    func testAProcessorTakesAPacketOnce() throws {
        let (sphinx, key) = (try Sphinx(), try PrivateKey.generate())
        let processor = try SphinxProcessor(sphinx: sphinx, key: key)
        XCTAssertEqual(processor.publicKey(), key.publicKey())
        let hop = Hop(node: node, key: processor.publicKey(), delayMs: 0)
        let packet = try sphinx.build(route: [hop], payload: Data("once".utf8))
        let outcome = try processor.process(packet: packet).outcome
        XCTAssertEqual(outcome, .deliver(payload: Data("once".utf8)))
        assertFails(.replayed) { try processor.process(packet: packet) }
        assertFails(.invalidPacket) { try processor.process(packet: Data()) }
        guard case .refused(.replayed, _) = try processor.processBatch(packets: [packet])[0]
        else { return XCTFail("it was processed before") }
        let stats = processor.stats()
        XCTAssertEqual([stats.received, stats.delivered], [4, 1])
        XCTAssertEqual([stats.replayed, stats.malformed], [2, 1])
    }

    // MARK: Topologies and nodes

    func testATopologyIsReadAsItWasSigned() throws {
        let network = try Network()
        let secret = Data(repeating: 7, count: 32)
        let text = try network.topology.sign(secret: secret)
        let read = try Topology.verify(text: text, authority: authorityOf(secret: secret))
        XCTAssertEqual(read.layers(), network.nodes.map { [$0.descriptor()] })
        XCTAssertEqual(read.delayMean(), 0.001)
        XCTAssertEqual([read.hopsMax(), read.payloadBytes()], [7, 2048])
        let other = try authorityOf(secret: Data(repeating: 8, count: 32))
        assertFails(.invalidTopology) { try Topology.verify(text: text, authority: other) }
        assertFails(.invalidArgument) { try Topology.verify(text: text, authority: Data()) }
        assertFails(.invalidArgument) { try authorityOf(secret: Data(count: 31)) }
    }

    func testWhatMakesNoNetworkIsRefused() throws {
        let network = try Network()
        assertFails(.invalidTopology) { try Topology(layers: []) }
        assertFails(.invalidArgument) {
            let options = TopologyOptions(hopsMax: 8)
            return try Topology(layers: network.topology.layers(), options: options)
        }
        let wrong = Descriptor(node: node, key: Data(count: 32), epoch: .even, address: "here")
        assertFails(.invalidArgument) { try Topology(layers: [[wrong]]) }
        let taken = network.nodes[0].descriptor().address
        assertFails(.listen) { try MixnetNode(config: MixnetNodeConfig(listen: taken)) }
        assertFails(.invalidArgument) { try MixnetNode(config: MixnetNodeConfig(listen: "")) }
        let old = try Topology(
            layers: network.topology.layers(), options: TopologyOptions(validUntilMs: 1))
        assertFails(.invalidTopology) { try MixnetClient(topology: old) }
        let other = try MixnetNode(config: MixnetNodeConfig(hopsMax: 5, payloadBytes: 1024))
        assertFails(.invalidTopology) { try other.setTopology(topology: network.topology) }
    }

    func testANodeCountsAndEnds() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        async let sent: Void = alice.send(to: bob.contact(), body: Data("hello".utf8))
        let message = try await bob.receive()
        XCTAssertEqual(message.body(), Data("hello".utf8))
        try await sent
        alice.close()
        bob.close()
        let node = network.nodes[1]
        XCTAssertGreaterThan(try node.stats().forwarded, 0)
        XCTAssertGreaterThan(try node.drain(withinMs: 60_000).forwarded, 0)
        node.close()
        assertFails(.closed) { try node.stats() }
    }

    // MARK: Clients

    func testAQuestionIsAnsweredOnce() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        let to = try bob.contact()
        async let answer = alice.request(to: to, body: Data("who?".utf8), answerBytesMax: 100)
        let question = try await bob.receive()
        XCTAssertGreaterThan(question.replyBlocks(), 0)
        let long = Data(count: 99_999)
        assertFails(.payloadTooLarge) { try bob.reply(message: question, body: long) }
        try bob.reply(message: question, body: Data("bob".utf8))
        assertFails(.invalidReplyBlock) { try bob.reply(message: question, body: Data()) }
        let told = try await answer
        XCTAssertEqual(told, Data("bob".utf8))
        let stats = try alice.stats()
        XCTAssertEqual([stats.sent, stats.answers, stats.loopsSent], [1, 1, 0])
        await assertFails(.noAnswer) {
            try await alice.request(to: to, body: Data("?".utf8), withinMs: 1)
        }
    }

    func testAClientGoesOnFromItsState() async throws {
        let network = try Network()
        let (oldAlice, oldBob) = (try network.client(), try network.client())
        let (to, key) = (try oldBob.contact(), Data(repeating: 7, count: 32))
        let asked = try oldAlice.startRequest(to: to, body: Data("?".utf8), answerBytesMax: 10)
        let question = try await oldBob.receive()
        let states = try [oldAlice, oldBob].map { try $0.suspend(key: key) }
        await assertFails(.closed) { try await asked.wait() }
        assertFails(.closed) { try oldBob.suspend(key: key) }

        let quiet = MixnetClientConfig(cover: Cover())
        let other = Data(repeating: 8, count: 32)
        var damaged = states[0]
        damaged[damaged.startIndex + 100] ^= 1
        for (state, opener) in [(states[0], other), (damaged, key)] {
            assertFails(.storageCorrupt) {
                try MixnetClient.restore(
                    topology: network.topology, state: state, key: opener, config: quiet)
            }
        }
        let stranger = MixnetClientConfig(identity: other, cover: Cover())
        for (config, opener) in [(stranger, key), (quiet, Data())] {
            assertFails(.invalidArgument) {
                try MixnetClient.restore(
                    topology: network.topology, state: states[0], key: opener, config: config)
            }
        }
        let clients = try states.map {
            try MixnetClient.restore(topology: network.topology, state: $0, key: key, config: quiet)
        }
        let (alice, bob, id) = (clients[0], clients[1], question.id())
        XCTAssertEqual(try bob.contact(), to)
        XCTAssertEqual(try alice.restored(), Restored(messages: [], requests: [id]))
        XCTAssertEqual(try bob.restored(), Restored(messages: [id], requests: []))
        // Its acknowledgement comes over the last layer, which then knows where alice is now.
        async let back: Void = alice.send(to: to, body: Data("back".utf8))
        let message = try await bob.receive()
        XCTAssertEqual(message.body(), Data("back".utf8))
        try await back
        assertFails(.invalidReplyBlock) { try bob.reply(message: question, body: Data()) }
        let blocks = try XCTUnwrap(try bob.replyBlocks(message: id))
        XCTAssertEqual(blocks.count(), 1)
        XCTAssertNil(try bob.replyBlocks(message: id))
        let long = Data(count: 4096)
        assertFails(.payloadTooLarge) { try bob.replyWith(blocks: blocks, body: long) }
        try bob.replyWith(blocks: blocks, body: Data("later".utf8))
        let answer = try await alice.answerTo(request: id)
        XCTAssertEqual(answer, Data("later".utf8))
        for unknown in [id, "none"] {
            assertFails(.invalidArgument) { try alice.startAnswerTo(request: unknown) }
        }
        let nothing = Restored(messages: [], requests: [])
        XCTAssertEqual(try [alice.restored(), bob.restored()], [nothing, nothing])
    }

    func testAChosenRouteIsTaken() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        let (to, route) = (try bob.contact(), try alice.chooseNodes(hops: 3))
        XCTAssertEqual(Set(route), Set(network.nodes.map { $0.descriptor().node }))
        let id = try alice.sendThrough(nodes: route, to: to, body: Data("this way".utf8))
        let message = try await bob.receive()
        XCTAssertEqual(message.id(), id)
        assertFails(.invalidReplyBlock) { try bob.reply(message: message, body: Data()) }
        assertFails(.invalidRoute) { try alice.chooseNodes(hops: 4) }
        assertFails(.invalidRoute) { try alice.sendThrough(nodes: [node], to: to, body: Data()) }
        assertFails(.invalidArgument) { try alice.sendThrough(nodes: ["x"], to: to, body: Data()) }
        assertFails(.invalidArgument) { try alice.startSend(to: "nobody", body: Data()) }
        assertFails(.payloadTooLarge) { try alice.startSend(to: to, body: Data(count: 1 << 25)) }
        try alice.setPower(power: .lowBattery)
    }

    func testNoMessageIsLostWhenAReceiverIsCancelled() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        let to = try bob.contact()
        for number in UInt8(0)..<50 {
            let receiving = Task { try await bob.receive().body() }
            async let sent: Void = alice.send(to: to, body: Data([number]))
            // Some are cancelled while they wait, some while the message comes in.
            if number.isMultiple(of: 2) { try await sent }
            receiving.cancel()
            let body: Data
            do {
                body = try await receiving.value
            } catch FogError.Cancelled {
                body = try await bob.receive().body()
            }
            XCTAssertEqual(body, Data([number]))
            try await sent
        }
    }

    func testCancellingTheSwiftTaskCancelsTheQuestion() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        let to = try bob.contact()
        let asking = Task { try await alice.request(to: to, body: Data("?".utf8)) }
        let question = try await bob.receive()
        asking.cancel()
        await assertFails(.cancelled) { try await asking.value }
        try bob.reply(message: question, body: Data("late".utf8))
        // What comes after the answer on the same way tells that it has come.
        let back = try bob.startSend(to: alice.contact(), body: Data("done".utf8))
        let done = try await alice.receive()
        XCTAssertEqual(done.body(), Data("done".utf8))
        try await back.wait()
        await assertFails(.closed) { try await back.wait() }
        XCTAssertEqual(try alice.stats().answers, 0)
    }

    func testMessagesEndWithTheClient() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        let to = try bob.contact()
        let collecting = Task {
            var bodies: [Data] = []
            for try await message in bob.messages {
                bodies.append(message.body())
                if bodies.count == 3 { bob.close() }
            }
            return bodies
        }
        // Bob may be gone before the last acknowledgement, so nobody waits for it.
        for number in UInt8(0)..<3 { _ = try alice.startSend(to: to, body: Data([number])) }
        let bodies = try await collecting.value
        XCTAssertEqual(Set(bodies), [Data([0]), Data([1]), Data([2])])
        await assertFails(.closed) { try await bob.receive() }
        assertFails(.closed) { try bob.contact() }
    }

    func testClosingEndsWhatWaits() async throws {
        let network = try Network()
        let (alice, bob) = (try network.client(), try network.client())
        let to = try bob.contact()
        async let unanswered = assertFails(.closed) {
            try await alice.request(to: to, body: Data("?".utf8))
        }
        async let nothing = assertFails(.closed) { try await alice.receive() }
        let question = try await bob.receive()
        XCTAssertEqual(question.body(), Data("?".utf8))
        alice.close()
        _ = await (unanswered, nothing)
        alice.close()
    }

    func testANewEpochBringsANewContact() async throws {
        let (network, next) = (try Network(), try Network(epoch: 1))
        let (alice, bob) = (try network.client(), try network.client())
        let before = try bob.contact()
        for client in [alice, bob] { try client.setTopology(topology: next.topology) }
        let after = try bob.contact()
        XCTAssertNotEqual(before, after)
        XCTAssert(before.hasPrefix(bob.node()) && after.hasPrefix(bob.node()))
        async let sent: Void = alice.send(to: after, body: Data("now".utf8))
        let message = try await bob.receive()
        XCTAssertEqual(message.body(), Data("now".utf8))
        try await sent
    }
}
