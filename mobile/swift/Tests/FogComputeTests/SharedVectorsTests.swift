import FogCompute
import Foundation
import XCTest

/// The vectors that every language runs: see `bindings/vectors/README.md`.
final class SharedVectorsTests: XCTestCase {
    func testVersionIsTheOneOfTheVectors() throws {
        XCTAssertEqual(version(), try Checkout.vectors()["version"].text())
    }

    func testErrorCodesAreTheSharedOnes() throws {
        let shared = try Checkout.vectors()["error_codes"].list().map {
            ErrorCodeEntry(name: try $0["name"].text(), code: try $0["code"].integer())
        }
        XCTAssertEqual(
            ErrorCode.allCases.map { ErrorCodeEntry(name: $0.sharedName, code: $0.rawValue) },
            shared)
        XCTAssertEqual(errorCodes(), shared)
    }

    private func code(_ name: JSON) throws -> ErrorCode {
        let name = try name.text()
        return try XCTUnwrap(ErrorCode.allCases.first { $0.sharedName == name }, name)
    }

    // MARK: Sphinx

    func testSphinxPacketsAreProcessedAndBuilt() throws {
        let vectors = try Checkout.vectors()
        for area in try [vectors["sphinx"]] + vectors["sphinx_more"].list() {
            let sphinx = try Sphinx(payloadBytes: try area["payload_bytes"].integer())
            XCTAssertEqual(sphinx.packetBytes(), try area["packet_bytes"].integer())
            try follow(sphinx, area, try area["packet"].bytes(), own: true)
            let built = try sphinx.build(route: route(area), payload: area["payload"].bytes())
            try follow(sphinx, area, built, own: false)
            for refused in try area["refused"].list() {
                let (key, packet) = (try key(refused["private_key"]), try refused["packet"].bytes())
                assertFails(try code(refused["error"]), try refused["what"].text()) {
                    try sphinx.process(key: key, packet: packet)
                }
            }
            for refused in try area["refused_routes"].list() {
                let (route, payload) = (try route(refused), try refused["payload"].bytes())
                assertFails(try code(refused["error"]), try refused["what"].text()) {
                    try sphinx.build(route: route, payload: payload)
                }
            }
        }
    }

    func testSphinxRepliesAreRecognised() throws {
        let area = try Checkout.vectors()["sphinx_reply"]
        let sphinx = try Sphinx(payloadBytes: try area["payload_bytes"].integer())
        try follow(sphinx, area, try area["packet"].bytes(), own: true)
    }

    func testPublicKeysFollowFromPrivateOnes() throws {
        let area = try Checkout.vectors()["sphinx"]
        let pairs = zip(try area["private_keys"].list(), try area["public_keys"].list())
        for (secret, known) in pairs {
            let key = try key(secret)
            XCTAssertEqual(key.toBytes(), try secret.bytes())
            XCTAssertEqual(key.publicKey(), try known.bytes())
        }
    }

    private func key(_ value: JSON) throws -> PrivateKey {
        try PrivateKey.fromBytes(bytes: value.bytes())
    }

    private func route(_ area: JSON) throws -> [Hop] {
        try area["route"].list().map {
            Hop(
                node: try $0["node"].text(), key: try $0["key"].bytes(),
                delayMs: try $0["delay_ms"].integer())
        }
    }

    /// Tags and bytes are those of the vectors' own packet only.
    private func follow(_ sphinx: Sphinx, _ area: JSON, _ first: Data, own: Bool) throws {
        var packet = first
        let (keys, hops) = (try area["private_keys"].list(), try area["hops"].list())
        XCTAssertEqual(keys.count, hops.count)
        for (secret, hop) in zip(keys, hops) {
            let unwrapped = try sphinx.process(key: key(secret), packet: packet)
            if own { XCTAssertEqual(unwrapped.replayTag, try hop["replay_tag"].text()) }
            switch unwrapped.outcome {
            case .forward(let next, let delay, let inner):
                XCTAssertEqual(try hop["kind"].text(), "forward")
                XCTAssertEqual(next, try hop["next"].text())
                XCTAssertEqual((delay * 1000).rounded(), try hop["delay_ms"].double())
                if own { XCTAssertEqual(inner, try hop["packet"].bytes()) }
                packet = inner
            case .deliver(let payload):
                XCTAssertEqual(try hop["kind"].text(), "deliver")
                XCTAssertEqual(payload, try hop["payload"].bytes())
            case .reply(let surb, _):
                XCTAssertEqual(try hop["kind"].text(), "reply")
                XCTAssertEqual(surb, try hop["surb"].text())
            }
        }
    }

    // MARK: Optimisation

    func testSchaffersFrontIsTheSame() throws {
        let area = try Checkout.vectors()["nsga2"]
        try assertSameFront(area, try optimise(area, schaffer(area)))
        for refused in try area["refused"].list() {
            let problem = try schaffer(refused)
            assertFails(try code(refused["error"])) { try optimise(refused, problem) }
        }
    }

    func testMixedFrontsAreTheSame() throws {
        for area in try Checkout.vectors()["nsga2_more"].list() {
            XCTAssertEqual(try area["problem"].text(), "mixed")
            let variables = try area["variables"].list().map(variable)
            let problem = HostProblem(variables: variables, objectives: 2) { genes in
                let (x, n, c) = (genes[0], genes[1], genes[2])
                let distance = (x - 3) * (x - 3) + (n - 2) * (n - 2) + (c - 3) * (c - 3)
                return Evaluation(objectives: [x + n + c, distance], violation: x < 1 ? 1 - x : 0)
            }
            try assertSameFront(area, try optimise(area, problem))
        }
    }

    private func schaffer(_ area: JSON) throws -> HostProblem {
        let x = Variable.real(low: try area["low"].double(), high: try area["high"].double())
        return HostProblem(variables: [x], objectives: 2) { genes in
            Evaluation(objectives: [genes[0] * genes[0], (genes[0] - 2) * (genes[0] - 2)])
        }
    }

    private func variable(_ value: JSON) throws -> Variable {
        let (kind, of) = try XCTUnwrap(value.fields().first)
        switch kind {
        case "real": return .real(low: try of["low"].double(), high: try of["high"].double())
        case "integer":
            return .integer(low: try of["low"].integer(), high: try of["high"].integer())
        default: return .choice(count: try of["count"].integer())
        }
    }

    private func config(_ area: JSON) throws -> Nsga2 {
        Nsga2(
            population: try area["population"].integer(),
            generations: try area["generations"].integer())
    }

    private func optimise(_ area: JSON, _ problem: HostProblem) throws -> Front {
        let config = SearchConfig(
            population: try area["population"].integer(),
            generations: try area["generations"].integer())
        return try minimize(problem: problem, config: config, seed: area["seed"].integer())
    }

    private func assertSameFront(_ area: JSON, _ front: Front) throws {
        XCTAssertEqual(front.individuals.count, try area["front_size"].integer())
        XCTAssertEqual(front.evaluations, try area["evaluations"].integer())
        XCTAssertEqual(front.generations, try area["generations"].integer())
        for (found, expected) in zip(front.individuals, try area["individuals"].list()) {
            XCTAssertEqual(found.genes, try expected["genes"].list().map { try $0.double() })
            XCTAssertEqual(
                found.objectives, try expected["objectives"].list().map { try $0.double() })
        }
    }

    // MARK: Placement

    func testPlacementsAreTheSame() throws {
        let vectors = try Checkout.vectors()
        let first = vectors["place"]
        for area in try [first] + vectors["place_more"].list() {
            guard area["error"].isNull else {
                assertFails(try code(area["error"])) { try placed(jobs: area, on: area) }
                continue
            }
            try assertSamePlan(area, try placed(jobs: area, on: area))
        }
        let infeasible = first["infeasible"]
        assertFails(try code(infeasible["error"])) { try placed(jobs: infeasible, on: first) }
    }

    func testPlacementsLeaveOutTheSameJobs() throws {
        for area in try Checkout.vectors()["place_what_fits"].list() {
            // Only one strategy leaves out jobs, so there is no argument to say another.
            guard try strategy(area) == .nsgaIi else { continue }
            guard area["error"].isNull else {
                assertFails(try code(area["error"])) { try whatFits(area) }
                continue
            }
            let partial = try whatFits(area)
            XCTAssertEqual(partial.plan == nil, area["chosen"].isNull)
            if let plan = partial.plan { try assertSamePlan(area, plan) }
            XCTAssertEqual(
                partial.leftOut,
                try area["left_out"].list().map {
                    LeftOut(
                        task: try $0["job"].text(), reason: try reason($0["reason"]),
                        explanation: try $0["text"].text())
                })
        }
    }

    func testTiersHaveTheSameTerms() throws {
        for area in try Checkout.vectors()["tiers"].list() {
            let tier: Tier = try named(area["tier"])
            let expected = Terms(
                replicas: try area["replicas"].integer(),
                distinct: try area["distinct"].list().map { try named($0) },
                latencyMsP95: try area["latency_ms_p95"].double(),
                availability: try area["availability"].double(),
                errorRate: try area["error_rate"].double(),
                preemptionNoticeMs: try area["preemption_notice_ms"].maybe { try $0.integer() },
                pricePermille: try area["price_permille"].integer())
            XCTAssertEqual(tier.terms, expected)
        }
    }

    private func assertSamePlan(_ area: JSON, _ plan: Plan) throws {
        XCTAssertEqual(plan.front.count, try area["front_size"].integer())
        XCTAssertEqual(plan.chosen, try area["chosen_index"].integer())
        XCTAssertEqual(plan.explanation, try area["explanation"].text())
        let (found, expected) = (plan.front[Int(plan.chosen)], area["chosen"])
        XCTAssertEqual(
            found.assignment.map { [$0.task, $0.node] },
            try expected["assignment"].list().map { try $0.list().map { try $0.text() } })
        XCTAssertEqual(
            found.objectives, try expected["objectives"].list().map { try $0.double() })
        XCTAssertEqual(found.cost, try expected["cost"].text())
        XCTAssertEqual(found.price, try expected["price"].text())
    }

    private func placed(jobs: JSON, on area: JSON) throws -> Plan {
        try place(
            jobs: jobs["jobs"].list().map(job), nodes: area["nodes"].list().map(node),
            sharing: named(area["sharing"]), config: config(area),
            preference: preference(area["preference"]), seed: area["seed"].integer(),
            strategy: strategy(area))
    }

    private func whatFits(_ area: JSON) throws -> PartialPlan {
        try placeWhatFits(
            jobs: area["jobs"].list().map(job), nodes: area["nodes"].list().map(node),
            sharing: named(area["sharing"]), config: config(area),
            preference: preference(area["preference"]), seed: area["seed"].integer())
    }

    private func strategy(_ area: JSON) throws -> Strategy { try named(area["strategy"]) }

    private func texts(_ list: JSON) throws -> [String] { try list.list().map { try $0.text() } }

    private func job(_ job: JSON) throws -> Job {
        Job(
            id: try job["id"].text(), cpuMillis: try job["cpu_millis"].integer(),
            memoryBytes: try job["memory_bytes"].integer(),
            durationMs: try job["duration_ms"].integer(),
            priority: try named(job["priority"]) as Priority,
            minTrust: try job["min_trust"].double(),
            maxCost: try job["max_cost"].maybe { try $0.integer() },
            maxLatencyMs: try job["max_latency_ms"].maybe { try $0.double() },
            excluded: try texts(job["excluded"]), diskBytes: try job["disk_bytes"].integer(),
            gpus: try job["gpus"].integer(), bandwidthBps: try job["bandwidth_bps"].integer(),
            inputBytes: try job["input_bytes"].integer(), inputOn: try texts(job["input_on"]),
            maxPrice: try job["max_price"].maybe { try $0.integer() },
            deadlineMs: try job["deadline_ms"].maybe { try $0.integer() },
            regions: try texts(job["regions"]), tier: try named(job["tier"]) as Tier,
            affinity: try texts(job["affinity"]),
            antiAffinity: try texts(job["anti_affinity"]),
            spread: try job["spread"].maybe {
                Spread(
                    group: try $0["group"].text(), over: try named($0["over"]),
                    most: try $0["most"].integer())
            },
            gang: try job["gang"].maybe { try $0.text() },
            replicas: try job["replicas"].maybe { try $0.integer() },
            preemptible: try job["preemptible"].bool())
    }

    private func node(_ node: JSON) throws -> Node {
        Node(
            id: try node["id"].text(), cpuMillisFree: try node["cpu_millis_free"].integer(),
            cpuMillisTotal: try node["cpu_millis_total"].integer(),
            memoryBytesFree: try node["memory_bytes_free"].integer(),
            speed: try node["speed"].double(), latencyMs: try node["latency_ms"].double(),
            trust: try node["trust"].double(),
            pricePerCpuSecond: try node["price_per_cpu_second"].integer(),
            diskBytesFree: try node["disk_bytes_free"].integer(),
            gpusFree: try node["gpus_free"].integer(),
            bandwidthBpsFree: try node["bandwidth_bps_free"].integer(),
            askPerCpuSecond: try node["ask_per_cpu_second"].maybe { try $0.integer() },
            region: try node["region"].text(), zone: try node["zone"].text(),
            operator: try node["operator"].text(),
            availability: try node["availability"].maybe { try $0.double() },
            errorRate: try node["error_rate"].maybe { try $0.double() })
    }

    private func reason(_ value: JSON) throws -> LeftOutReason {
        guard case .object(let kinds) = value, let (kind, fields) = kinds.first else {
            throw JSON.Other(wanted: "a reason", found: value)
        }
        switch kind {
        case "crowded": return .crowded(rules: try fields["rules"].list().map { try rule($0) })
        case "no_node":
            let removed = try zip(Constraint.allCases, fields["removed_by"].list()).map {
                Removed(constraint: $0, nodes: try $1.integer())
            }
            return .noNode(
                removedBy: removed.filter { $0.nodes > 0 }, nearest: try fields["nearest"].text(),
                nearestFails: try fields["nearest_fails"].list().map { try named($0) })
        case "no_common_node":
            return .noCommonNode(
                jobs: try texts(fields["jobs"]), shared: try fields["shared"].integer())
        case "no_room":
            let lacks = fields["lacks"]
            return .noRoom(
                node: try fields["node"].text(),
                lacks: Lacks(
                    cpuMillis: try lacks["cpu_millis"].integer(),
                    memoryBytes: try lacks["memory_bytes"].integer(),
                    diskBytes: try lacks["disk_bytes"].integer(),
                    gpus: try lacks["gpus"].integer(),
                    bandwidthBps: try lacks["bandwidth_bps"].integer()))
        case "late": return .late(lateMs: try fields["late_ms"].integer())
        default:
            XCTAssertEqual(kind, "with")
            return .goesWith(job: try fields.text())
        }
    }

    private func rule(_ value: JSON) throws -> Rule {
        guard case .object(let kinds) = value, let (kind, fields) = kinds.first else {
            XCTAssertEqual(try value.text(), "anti_affinity")
            return .antiAffinity
        }
        switch kind {
        case "replicas": return .replicas(over: try named(fields))
        case "spread":
            return .spread(
                group: try fields["group"].text(), over: try named(fields["over"]),
                most: try fields["most"].integer())
        default:
            XCTAssertEqual(kind, "capacity")
            return .capacity(of: try named(fields))
        }
    }

    private func preference(_ value: JSON) throws -> Preference {
        guard case .object(let fields) = value else { return .knee }
        if let weights = fields["weights"] {
            return .weights(weights: try weights.list().map { try $0.double() })
        }
        let order = try XCTUnwrap(fields["lexicographic"])
        return .lexicographic(order: try order.list().map { try $0.integer() })
    }

    /// The case of an enum without fields that has the given name.
    private func named<Value: CaseIterable>(_ name: JSON) throws -> Value {
        let name = try name.text().replacingOccurrences(of: "_", with: "").lowercased()
        let named = Value.allCases.first { String(describing: $0).lowercased() == name }
        return try XCTUnwrap(named, name)
    }

    // MARK: Ledger

    func testLedgerStepsGiveTheSameBooks() throws {
        let area = try Checkout.vectors()["ledger"]
        let ledger = try Ledger.inMemory()
        for step in try area["steps"].list() {
            guard step["error"].isNull else {
                assertFails(try code(step["error"]), "\(step)") { try carryOut(step, in: ledger) }
                continue
            }
            let receipt = try carryOut(step, in: ledger)
            XCTAssertEqual(receipt.sequence, try step["sequence"].integer(), "\(step)")
            XCTAssertEqual(receipt.replayed, try step["replayed"].bool(), "\(step)")
        }
        for (account, balance) in try area["balances"].fields() {
            XCTAssertEqual(try ledger.balance(account: account), try balance.text())
        }
        for expected in try area["accounts"].list() {
            let account = try ledger.account(account: expected["account"].text())
            XCTAssertEqual(account.kind, try named(expected["kind"]))
            XCTAssertEqual(account.creditsPosted, try expected["credits_posted"].text())
            XCTAssertEqual(account.debitsPosted, try expected["debits_posted"].text())
            XCTAssertEqual(account.creditsPending, try expected["credits_pending"].text())
            XCTAssertEqual(account.debitsPending, try expected["debits_pending"].text())
            XCTAssertEqual(account.available, try expected["available"].text())
            XCTAssertEqual(account.available, try ledger.available(account: account.id))
        }
        let unknown = area["unknown_account"]
        let (account, error) = (try unknown["account"].text(), try code(unknown["error"]))
        assertFails(error) { try ledger.balance(account: account) }
        assertFails(error) { try ledger.account(account: account) }
        let (verified, expected) = (try ledger.verify(), area["verify"])
        XCTAssertEqual(verified.entries, try expected["entries"].integer())
        XCTAssertEqual(verified.accounts, try expected["accounts"].integer())
        XCTAssertEqual(verified.openReservations, try expected["open_reservations"].integer())
    }

    func testWhatIsSignedOfGovernanceIsTheSame() throws {
        let area = try Checkout.vectors()["governance"]
        let (account, proposal) = (try area["account"].text(), try area["proposal"].text())
        let secret = try area["secret"].bytes()
        XCTAssertEqual(try ownerKey(secret: secret), try area["key"].bytes())
        for step in try area["signed"].list() {
            let request: GovernanceRequest
            if try step["op"].text() == "vote" {
                request = .vote(
                    voter: account, proposal: proposal, choice: try named(step["choice"]))
            } else {
                let said = step["content"]
                let actions = try said["actions"].list().map { action -> ProposalAction in
                    let set = action["set_parameter"]
                    return .setParameter(
                        name: try set["name"].text(), value: try set["value"].text())
                }
                let content = ProposalContent(
                    kind: try named(said["kind"]), title: try said["title"].text(),
                    description: try said["description"].text(), actions: actions)
                request = .propose(author: account, proposal: proposal, content: content)
            }
            let operations = [
                LedgerOperation.governance(id: try step["id"].text(), request: request)
            ]
            let nonce: UInt64 = try step["nonce"].integer()
            let expires: UInt64 = try area["expires_unix_ms"].integer()
            let signed = try signBatch(
                account: account, nonce: nonce, expiresUnixMs: expires, operations: operations,
                secret: secret)
            XCTAssertEqual(signed.hex, try step["batch"].text())
            let message = try batchMessage(
                account: account, nonce: nonce, expiresUnixMs: expires, operations: operations)
            XCTAssertEqual(message.hex, try step["message"].text())
        }
    }

    private func carryOut(_ step: JSON, in ledger: Ledger) throws -> Receipt {
        let text = { (field: String) in try step[field].text() }
        switch try text("op") {
        case "open":
            return try ledger.openAccount(account: text("account"), kind: named(step["kind"]))
        case "transfer":
            return try ledger.transfer(
                id: text("id"), from: text("from"), to: text("to"), amount: text("amount"))
        case "reserve":
            return try ledger.reserve(
                id: text("id"), from: text("from"), to: text("to"), amount: text("amount"))
        case "post":
            return try ledger.post(
                id: text("id"), reservation: text("reservation"),
                amount: step["amount"].maybe { try $0.text() })
        case "void":
            return try ledger.void(id: text("id"), reservation: text("reservation"))
        default:
            throw JSON.Other(wanted: "step", found: step)
        }
    }

    // MARK: Harvesting

    func testHarvestDecisionsAreTheSame() throws {
        for item in try Checkout.vectors()["harvest"].list() {
            let (name, state) = (try item["policy"].text(), try state(item["state"]))
            guard item["error"].isNull else {
                assertFails(try code(item["error"]), name) {
                    try policy(name).decide(state: state)
                }
                continue
            }
            let decision = try policy(name).decide(state: state)
            XCTAssertEqual(decision.verdict, try named(item["verdict"]), "\(item)")
            let texts = { (field: String) in try item[field].list().map { try $0.text() } }
            XCTAssertEqual(decision.reasons.map(\.code), try texts("reasons"))
            XCTAssertEqual(decision.reasons.map(\.text), try texts("texts"))
            XCTAssertEqual(
                decision.reasons.map(\.objection),
                try item["objections"].list().map { try $0.bool() })
            let (budget, expected) = (decision.budget, item["budget"])
            XCTAssertEqual(budget.cpuShare, try expected["cpu_share"].double())
            XCTAssertEqual(budget.memoryBytes, try expected["memory_bytes"].integer())
            XCTAssertEqual(
                budget.bandwidthBitsPerSecond, try expected["bandwidth_bits_per_second"].integer())
        }
    }

    private func policy(_ name: String) throws -> HarvestPolicy {
        switch name {
        case "default": return HarvestPolicy()
        case "always": return HarvestPolicy.always()
        default: return try HarvestPolicy.fromToml(text: name)
        }
    }

    private func state(_ state: JSON) throws -> DeviceState {
        let double = { (field: String) in try state[field].maybe { try $0.double() } }
        let bool = { (field: String) in try state[field].maybe { try $0.bool() } }
        return DeviceState(
            deviceClass: try named(state["class"]), battery: try battery(state["battery"]),
            network: try named(state["network"]),
            cpuCores: try state["cpu_cores"].maybe { try $0.integer() },
            cpuLoad: try double("cpu_load"),
            memoryTotalBytes: try state["memory_total_bytes"].maybe { try $0.integer() },
            memoryAvailableBytes: try state["memory_available_bytes"].maybe { try $0.integer() },
            batteryTemperatureCelsius: try double("battery_temperature_celsius"),
            temperatureCelsius: try double("temperature_celsius"),
            metered: try bool("metered"), screenOn: try bool("screen_on"),
            userIdleMs: try state["user_idle"].maybe {
                try $0["secs"].integer() * 1000 + $0["nanos"].integer() / 1_000_000
            },
            minuteOfDay: try state["minute_of_day"].maybe { try $0.integer() })
    }

    private func battery(_ value: JSON) throws -> Battery {
        guard case .object(let fields) = value else {
            return try value.text() == "absent" ? .absent : .unknown
        }
        let present = try XCTUnwrap(fields["present"])
        return .present(
            levelPercent: try present["level_percent"].double(),
            charging: try present["charging"].bool())
    }

    // MARK: WebAssembly

    func testTasksGiveTheSameOutputForTheSameFuel() async throws {
        let fog = try Fog(workers: 1)
        defer { fog.close() }
        for item in try Checkout.vectors()["wasm"].list() {
            let name = try item["module"].text()
            let module =
                name == "echo" || name == "sum"
                ? try Checkout.example(name) : try item["module"].bytes()
            let input = try item["input"].bytes()
            let limits = Limits(
                fuel: try item["fuel"].integer(), memoryBytes: try item["memory_bytes"].integer(),
                outputBytes: try item["output_bytes"].integer())
            guard item["error"].isNull else {
                await assertFails(try code(item["error"]), "\(item)") {
                    try await fog.run(module: module, input: input, limits: limits)
                }
                continue
            }
            let done = try await fog.run(module: module, input: input, limits: limits)
            XCTAssertEqual(done.output, try item["output"].bytes())
            XCTAssertEqual(done.usage.fuel, try item["fuel_used"].integer())
            XCTAssertEqual(done.usage.memoryBytesPeak, try item["memory_bytes_peak"].integer())
        }
    }
}
