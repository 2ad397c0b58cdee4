package dev.fogcompute

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** The vectors that every language runs: see `bindings/vectors/README.md`. */
class SharedVectorsTest {
    private val vectors = Checkout.vectors

    @Test
    fun versionIsTheOneOfTheVectors() = assertEquals(vectors.text("version"), version())

    @Test
    fun errorCodesAreTheSharedOnes() {
        val shared = vectors.objects("error_codes")
            .map { it.text("name") to it.long("code").toUInt() }
        assertEquals(shared, ErrorCode.entries.map { it.sharedName to it.value })
        assertEquals(shared, errorCodes().map { it.name to it.code })
    }

    // --- Sphinx

    @Test
    fun sphinxPacketsAreProcessedAndBuilt() {
        for (area in listOf(vectors.child("sphinx")) + vectors.objects("sphinx_more")) {
            Sphinx(area.long("payload_bytes").toUInt()).use { sphinx ->
                assertEquals(area.long("packet_bytes").toUInt(), sphinx.packetBytes())
                follow(sphinx, area, area.bytes("packet"), own = true)
                val built = sphinx.build(route(area), area.bytes("payload"))
                follow(sphinx, area, built, own = false)
                for (case in area.objects("refused")) {
                    fails(case) {
                        val packet = case.bytes("packet")
                        key(case.text("private_key")).use { sphinx.process(it, packet) }
                    }
                }
                for (case in area.objects("refused_routes")) {
                    fails(case) { sphinx.build(route(case), case.bytes("payload")) }
                }
            }
        }
    }

    @Test
    fun sphinxRepliesAreRecognised() {
        val area = vectors.child("sphinx_reply")
        Sphinx(area.long("payload_bytes").toUInt()).use {
            follow(it, area, area.bytes("packet"), own = true)
        }
    }

    @Test
    fun publicKeysFollowFromPrivateOnes() {
        val area = vectors.child("sphinx")
        val public = area.list("private_keys").texts().map { text ->
            key(text).use {
                assertEquals(text, it.toBytes().toHexString())
                it.publicKey().toHexString()
            }
        }
        assertEquals(area.list("public_keys").texts(), public)
    }

    private fun key(text: String) = PrivateKey.fromBytes(text.hexToByteArray())

    private fun route(area: JsonObject) = area.objects("route").map {
        Hop(it.text("node"), it.bytes("key"), it.long("delay_ms").toULong())
    }

    /** Tags and bytes are those of the vectors' own packet only. */
    private fun follow(sphinx: Sphinx, area: JsonObject, first: ByteArray, own: Boolean) {
        var packet = first
        val keys = area.list("private_keys").texts()
        assertEquals(keys.size, area.list("hops").size)
        for ((text, hop) in keys.zip(area.objects("hops"))) {
            val unwrapped = key(text).use { sphinx.process(it, packet) }
            if (own) assertEquals(hop.text("replay_tag"), unwrapped.replayTag)
            when (val outcome = unwrapped.outcome) {
                is Processed.Forward -> {
                    assertEquals("forward", hop.text("kind"))
                    assertEquals(hop.text("next"), outcome.next)
                    assertEquals(hop.long("delay_ms"), outcome.delay.toMillis())
                    if (own) assertContentEquals(hop.bytes("packet"), outcome.packet)
                    packet = outcome.packet
                }
                is Processed.Deliver -> {
                    assertEquals("deliver", hop.text("kind"))
                    assertContentEquals(hop.bytes("payload"), outcome.payload)
                }
                is Processed.Reply -> {
                    assertEquals("reply", hop.text("kind"))
                    assertEquals(hop.text("surb"), outcome.surb)
                }
            }
        }
    }

    // --- Optimisation

    @Test
    fun schaffersFrontIsTheSame() {
        val area = vectors.child("nsga2")
        sameFront(area, minimize(Schaffer(area), search(area), area.long("seed").toULong()))
        for (case in area.objects("refused")) {
            fails(case) { minimize(Schaffer(case), search(case), case.long("seed").toULong()) }
        }
    }

    @Test
    fun mixedFrontsAreTheSame() {
        for (area in vectors.objects("nsga2_more")) {
            assertEquals("mixed", area.text("problem"))
            val variables = area.objects("variables").map(::variable)
            val problem = object : Problem {
                override fun genome() = Genome.Variables(variables)
                override fun objectiveCount() = 2u
                override fun evaluate(genes: List<Double>): Evaluation {
                    val (x, n, c) = genes
                    val distance = (x - 3) * (x - 3) + (n - 2) * (n - 2) + (c - 3) * (c - 3)
                    return Evaluation(listOf(x + n + c, distance), if (x < 1) 1 - x else 0.0)
                }
            }
            sameFront(area, minimize(problem, search(area), area.long("seed").toULong()))
        }
    }

    private class Schaffer(private val area: JsonObject) : Problem {
        override fun genome() =
            Genome.Variables(listOf(Variable.Real(area.double("low"), area.double("high"))))
        override fun objectiveCount() = 2u
        override fun evaluate(genes: List<Double>): Evaluation {
            val x = genes.single()
            return Evaluation(listOf(x * x, (x - 2) * (x - 2)))
        }
    }

    private fun variable(value: JsonObject): Variable {
        val (kind, of) = value.entries.single()
        return when (kind) {
            "real" -> Variable.Real(of.jsonObject.double("low"), of.jsonObject.double("high"))
            "integer" -> Variable.Integer(of.jsonObject.long("low"), of.jsonObject.long("high"))
            "choice" -> Variable.Choice(of.jsonObject.long("count").toUInt())
            else -> error("no variable $kind")
        }
    }

    private fun search(area: JsonObject) = SearchConfig(
        population = area.long("population").toUInt(),
        generations = area.long("generations").toUInt(),
    )

    private fun config(area: JsonObject) = Nsga2(
        population = area.long("population").toUInt(),
        generations = area.long("generations").toUInt(),
    )

    private fun sameFront(area: JsonObject, front: Front) {
        assertEquals(area.long("front_size"), front.individuals.size.toLong())
        assertEquals(area.long("evaluations").toULong(), front.evaluations)
        assertEquals(area.long("generations").toUInt(), front.generations)
        for ((expected, actual) in area.objects("individuals").zip(front.individuals)) {
            assertEquals(expected.getValue("genes").doubles(), actual.genes)
            assertEquals(expected.getValue("objectives").doubles(), actual.objectives)
        }
    }

    // --- Placement

    @Test
    fun placementsAreTheSame() {
        val first = vectors.child("place")
        for (area in listOf(first) + vectors.objects("place_more")) {
            if ("error" in area) {
                fails(area) { place(area, area) }
            } else {
                samePlan(area, place(area, area))
            }
        }
        val infeasible = first.child("infeasible")
        fails(infeasible) { place(infeasible, first) }
    }

    @Test
    fun placementsLeaveOutTheSameJobs() {
        for (area in vectors.objects("place_what_fits")) {
            // Only one strategy leaves out jobs, so there is no argument to say another.
            if (named<Strategy>(area.text("strategy")) != Strategy.NSGA_II) continue
            if ("error" in area) {
                fails(area) { placeWhatFits(area) }
                continue
            }
            val partial = placeWhatFits(area)
            assertEquals("chosen" in area, partial.plan != null)
            partial.plan?.let { samePlan(area, it) }
            val expected = area.objects("left_out").map {
                LeftOut(it.text("job"), reason(it.getValue("reason")), it.text("text"))
            }
            assertEquals(expected, partial.leftOut)
        }
    }

    @Test
    fun tiersHaveTheSameTerms() {
        for (area in vectors.objects("tiers")) {
            val expected = Terms(
                replicas = area.text("replicas").toUByte(),
                distinct = area.list("distinct").texts().map { named<Domain>(it) },
                latencyMsP95 = area.double("latency_ms_p95"),
                availability = area.double("availability"),
                errorRate = area.double("error_rate"),
                preemptionNoticeMs = area.maybe("preemption_notice_ms")?.ulong(),
                pricePermille = area.ulong("price_permille"),
            )
            assertEquals(expected, named<Tier>(area.text("tier")).terms)
        }
    }

    private fun samePlan(area: JsonObject, plan: Plan) {
        assertEquals(area.long("front_size"), plan.front.size.toLong())
        assertEquals(area.long("chosen_index").toUInt(), plan.chosen)
        assertEquals(area.text("explanation"), plan.explanation)
        val (expected, actual) = area.child("chosen") to plan.front[plan.chosen.toInt()]
        assertEquals(
            expected.list("assignment").map { it.texts() },
            actual.assignment.map { listOf(it.task, it.node) },
        )
        assertEquals(expected.getValue("objectives").doubles(), actual.objectives)
        assertEquals(expected.text("cost"), actual.cost)
        assertEquals(expected.text("price"), actual.price)
    }

    private fun place(jobs: JsonObject, area: JsonObject) = place(
        jobs.objects("jobs").map(::job),
        area.objects("nodes").map(::node),
        named<Sharing>(area.text("sharing")),
        config(area),
        preference(area.getValue("preference")),
        area.long("seed").toULong(),
        named<Strategy>(area.text("strategy")),
    )

    private fun placeWhatFits(area: JsonObject) = placeWhatFits(
        area.objects("jobs").map(::job),
        area.objects("nodes").map(::node),
        named<Sharing>(area.text("sharing")),
        config(area),
        preference(area.getValue("preference")),
        area.long("seed").toULong(),
    )

    private fun job(job: JsonObject) = FogJob(
        id = job.text("id"),
        cpuMillis = job.ulong("cpu_millis"),
        memoryBytes = job.ulong("memory_bytes"),
        durationMs = job.ulong("duration_ms"),
        priority = named<Priority>(job.text("priority")),
        minTrust = job.double("min_trust"),
        maxCost = job.maybe("max_cost")?.ulong(),
        maxLatencyMs = job.maybe("max_latency_ms")?.jsonPrimitive?.content?.toDouble(),
        excluded = job.list("excluded").texts(),
        diskBytes = job.ulong("disk_bytes"),
        gpus = job.ulong("gpus"),
        bandwidthBps = job.ulong("bandwidth_bps"),
        inputBytes = job.ulong("input_bytes"),
        inputOn = job.list("input_on").texts(),
        maxPrice = job.maybe("max_price")?.ulong(),
        deadlineMs = job.maybe("deadline_ms")?.ulong(),
        regions = job.list("regions").texts(),
        tier = named<Tier>(job.text("tier")),
        affinity = job.list("affinity").texts(),
        antiAffinity = job.list("anti_affinity").texts(),
        spread = job.maybe("spread")?.jsonObject?.let {
            Spread(it.text("group"), named<Domain>(it.text("over")), it.ulong("most").toUInt())
        },
        gang = job.maybe("gang")?.jsonPrimitive?.content,
        replicas = job.maybe("replicas")?.ulong()?.toUByte(),
        preemptible = job.text("preemptible").toBoolean(),
    )

    private fun node(node: JsonObject) = Node(
        id = node.text("id"),
        cpuMillisFree = node.ulong("cpu_millis_free"),
        cpuMillisTotal = node.ulong("cpu_millis_total"),
        memoryBytesFree = node.ulong("memory_bytes_free"),
        speed = node.double("speed"),
        latencyMs = node.double("latency_ms"),
        trust = node.double("trust"),
        pricePerCpuSecond = node.ulong("price_per_cpu_second"),
        diskBytesFree = node.ulong("disk_bytes_free"),
        gpusFree = node.ulong("gpus_free"),
        bandwidthBpsFree = node.ulong("bandwidth_bps_free"),
        askPerCpuSecond = node.maybe("ask_per_cpu_second")?.ulong(),
        region = node.text("region"),
        zone = node.text("zone"),
        operator = node.text("operator"),
        availability = node.maybe("availability")?.jsonPrimitive?.content?.toDouble(),
        errorRate = node.maybe("error_rate")?.jsonPrimitive?.content?.toDouble(),
    )

    private fun reason(reason: JsonElement): LeftOutReason {
        val (kind, value) = reason.jsonObject.entries.single()
        if (kind == "with") return LeftOutReason.GoesWith(value.jsonPrimitive.content)
        val fields = value.jsonObject
        return when (kind) {
            "no_node" -> LeftOutReason.NoNode(
                Constraint.entries.zip(fields.list("removed_by").texts())
                    .map { (constraint, nodes) -> Removed(constraint, nodes.toUInt()) }
                    .filter { it.nodes > 0u },
                fields.text("nearest"),
                fields.list("nearest_fails").texts().map { named<Constraint>(it) },
            )
            "no_common_node" -> LeftOutReason.NoCommonNode(
                fields.list("jobs").texts(),
                fields.ulong("shared").toUInt(),
            )
            "no_room" -> LeftOutReason.NoRoom(
                fields.text("node"),
                fields.child("lacks").run {
                    Lacks(
                        ulong("cpu_millis"),
                        ulong("memory_bytes"),
                        ulong("disk_bytes"),
                        ulong("gpus"),
                        ulong("bandwidth_bps"),
                    )
                },
            )
            "crowded" -> LeftOutReason.Crowded(fields.list("rules").map { rule(it) })
            "late" -> LeftOutReason.Late(fields.ulong("late_ms"))
            else -> error("no reason $kind")
        }
    }

    private fun rule(rule: JsonElement): Rule {
        if (rule is JsonPrimitive) {
            assertEquals("anti_affinity", rule.content)
            return Rule.AntiAffinity
        }
        val (kind, value) = rule.jsonObject.entries.single()
        return when (kind) {
            "replicas" -> Rule.Replicas(named<Domain>(value.jsonPrimitive.content))
            "spread" -> value.jsonObject.run {
                Rule.Spread(text("group"), named<Domain>(text("over")), ulong("most").toUInt())
            }
            "capacity" -> Rule.Capacity(named<Constraint>(value.jsonPrimitive.content))
            else -> error("no rule $kind")
        }
    }

    private inline fun <reified T : Enum<T>> named(name: String) = enumValueOf<T>(name.uppercase())

    private fun JsonObject.ulong(name: String) = getValue(name).ulong()

    private fun JsonElement.ulong() = jsonPrimitive.content.toULong()

    private fun preference(value: JsonElement): Preference {
        if (value is JsonPrimitive) return Preference.Knee
        val (kind, numbers) = value.jsonObject.entries.single()
        return when (kind) {
            "weights" -> Preference.Weights(numbers.doubles())
            "lexicographic" -> Preference.Lexicographic(numbers.texts().map(String::toUInt))
            else -> error("no preference $kind")
        }
    }

    // --- Ledger

    @Test
    fun ledgerStepsGiveTheSameBooks() = Ledger.inMemory().use { ledger ->
        val area = vectors.child("ledger")
        for (step in area.objects("steps")) {
            if ("error" in step) {
                fails(step) { carryOut(ledger, step) }
            } else {
                val receipt = carryOut(ledger, step)
                assertEquals(step.text("sequence").toULong(), receipt.sequence, "$step")
                assertEquals(step.text("replayed").toBooleanStrict(), receipt.replayed, "$step")
            }
        }
        for ((account, balance) in area.child("balances")) {
            assertEquals(balance.jsonPrimitive.content, ledger.balance(account))
        }
        for (expected in area.objects("accounts")) {
            val account = ledger.account(expected.text("account"))
            assertEquals(kind(expected), account.kind)
            assertEquals(expected.text("credits_posted"), account.creditsPosted)
            assertEquals(expected.text("debits_posted"), account.debitsPosted)
            assertEquals(expected.text("credits_pending"), account.creditsPending)
            assertEquals(expected.text("debits_pending"), account.debitsPending)
            assertEquals(expected.text("available"), account.available)
            assertEquals(ledger.available(account.id), account.available)
        }
        val unknown = area.child("unknown_account")
        fails(unknown) { ledger.balance(unknown.text("account")) }
        fails(unknown) { ledger.account(unknown.text("account")) }
        val (expected, verified) = area.child("verify") to ledger.verify()
        assertEquals(expected.text("entries").toULong(), verified.entries)
        assertEquals(expected.text("accounts").toULong(), verified.accounts)
        assertEquals(expected.text("open_reservations").toULong(), verified.openReservations)
    }

    @Test
    fun whatIsSignedOfGovernanceIsTheSame() {
        val area = vectors.child("governance")
        val (account, proposal) = area.text("account") to area.text("proposal")
        assertContentEquals(area.bytes("key"), ownerKey(area.bytes("secret")))
        for (case in area.objects("signed")) {
            val request = if (case.text("op") == "vote") {
                val choice = Choice.valueOf(case.text("choice").uppercase())
                GovernanceRequest.Vote(account, proposal, choice)
            } else {
                val content = case.child("content")
                val actions = content.objects("actions").map { it.child("set_parameter") }
                val said = ProposalContent(
                    ProposalKind.valueOf(content.text("kind").uppercase()),
                    content.text("title"),
                    content.text("description"),
                    actions.map { ProposalAction.SetParameter(it.text("name"), it.text("value")) },
                )
                GovernanceRequest.Propose(account, proposal, said)
            }
            val operations = listOf(LedgerOperation.Governance(case.text("id"), request))
            val (nonce, expires) = case.ulong("nonce") to area.ulong("expires_unix_ms")
            val signed = signBatch(account, nonce, expires, operations, area.bytes("secret"))
            assertEquals(case.text("batch"), signed.toHexString())
            val message = batchMessage(account, nonce, expires, operations)
            assertEquals(case.text("message"), message.toHexString())
        }
    }

    private fun carryOut(ledger: Ledger, step: JsonObject): Receipt {
        val text = { field: String -> step.text(field) }
        return when (text("op")) {
            "open" -> ledger.openAccount(text("account"), kind(step))
            "transfer" -> ledger.transfer(text("id"), text("from"), text("to"), text("amount"))
            "reserve" -> ledger.reserve(text("id"), text("from"), text("to"), text("amount"))
            "post" -> {
                val amount = step.maybe("amount")?.jsonPrimitive?.content
                ledger.post(text("id"), text("reservation"), amount)
            }
            "void" -> ledger.void(text("id"), text("reservation"))
            else -> error("no step ${text("op")}")
        }
    }

    private fun kind(of: JsonObject) = AccountKind.valueOf(of.text("kind").uppercase())

    // --- Harvesting

    @Test
    fun harvestDecisionsAreTheSame() {
        for (case in vectors.objects("harvest")) {
            val state = state(case.child("state"))
            val decide = { policy(case.text("policy")).use { it.decide(state) } }
            if ("error" in case) {
                fails(case) { decide() }
                continue
            }
            val decision = decide()
            val verdict = Verdict.valueOf(case.text("verdict").uppercase())
            assertEquals(verdict, decision.verdict, "$case")
            assertEquals(case.list("reasons").texts(), decision.reasons.map { it.code })
            assertEquals(case.list("texts").texts(), decision.reasons.map { it.text })
            val objections = case.list("objections").texts().map(String::toBooleanStrict)
            assertEquals(objections, decision.reasons.map { it.objection })
            val (expected, budget) = case.child("budget") to decision.budget
            assertEquals(expected.double("cpu_share"), budget.cpuShare)
            assertEquals(expected.text("memory_bytes").toULong(), budget.memoryBytes)
            val bandwidth = expected.text("bandwidth_bits_per_second").toULong()
            assertEquals(bandwidth, budget.bandwidthBitsPerSecond)
        }
    }

    private fun policy(name: String) = when (name) {
        "default" -> HarvestPolicy()
        "always" -> HarvestPolicy.always()
        else -> HarvestPolicy.fromToml(name)
    }

    private fun state(state: JsonObject): DeviceState {
        val number = { field: String -> state.maybe(field)?.jsonPrimitive?.content }
        return DeviceState(
            deviceClass = DeviceClass.valueOf(state.text("class").uppercase()),
            battery = battery(state.getValue("battery")),
            network = Network.valueOf(state.text("network").uppercase()),
            cpuCores = number("cpu_cores")?.toUInt(),
            cpuLoad = number("cpu_load")?.toDouble(),
            memoryTotalBytes = number("memory_total_bytes")?.toULong(),
            memoryAvailableBytes = number("memory_available_bytes")?.toULong(),
            batteryTemperatureCelsius = number("battery_temperature_celsius")?.toDouble(),
            temperatureCelsius = number("temperature_celsius")?.toDouble(),
            metered = number("metered")?.toBooleanStrict(),
            screenOn = number("screen_on")?.toBooleanStrict(),
            userIdleMs = state.maybe("user_idle")?.jsonObject
                ?.let { (it.long("secs") * 1000 + it.long("nanos") / 1_000_000).toULong() },
            minuteOfDay = number("minute_of_day")?.toUShort(),
        )
    }

    private fun battery(value: JsonElement): Battery {
        if (value is JsonPrimitive) {
            return if (value.content == "absent") Battery.Absent else Battery.Unknown
        }
        val present = value.jsonObject.child("present")
        val charging = present.text("charging").toBooleanStrict()
        return Battery.Present(present.double("level_percent"), charging)
    }

    // --- WebAssembly

    @Test
    fun tasksGiveTheSameOutputForTheSameFuel() = Fog(workers = 1u).use { fog ->
        for (case in vectors.objects("wasm")) {
            val module = when (val name = case.text("module")) {
                "echo", "sum" -> Checkout.example(name)
                else -> name.hexToByteArray()
            }
            val limits = Limits(
                fuel = case.text("fuel").toULong(),
                memoryBytes = case.text("memory_bytes").toULong(),
                outputBytes = case.text("output_bytes").toULong(),
            )
            val run = { runBlocking { fog.run(module, case.bytes("input"), limits) } }
            if ("error" in case) {
                fails(case) { run() }
                continue
            }
            val done = run()
            assertEquals(case.text("output"), done.output.toHexString())
            assertEquals(case.text("fuel_used").toULong(), done.usage.fuel)
            assertEquals(case.text("memory_bytes_peak").toULong(), done.usage.memoryBytesPeak)
        }
    }

    private fun fails(case: JsonObject, call: () -> Unit) {
        val error = assertFailsWith<FogException>("$case") { call() }
        assertEquals(case.text("error"), error.code.sharedName, "$case: ${error.message}")
        assertIs<String>(error.message)
    }
}
