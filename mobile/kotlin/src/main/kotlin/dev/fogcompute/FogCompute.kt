// What Kotlin adds in its own idiom. Everything else is generated from bindings/uniffi.

package dev.fogcompute

import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration
import kotlin.time.TimeSource
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull

/** The stable code of this error. */
val FogException.code: ErrorCode
    get() = when (this) {
        is FogException.InvalidArgument -> ErrorCode.INVALID_ARGUMENT
        is FogException.Panic -> ErrorCode.PANIC
        is FogException.HostCallback -> ErrorCode.HOST_CALLBACK
        is FogException.Cancelled -> ErrorCode.CANCELLED
        is FogException.Closed -> ErrorCode.CLOSED
        is FogException.BufferTooSmall -> ErrorCode.BUFFER_TOO_SMALL
        is FogException.InvalidPacket -> ErrorCode.INVALID_PACKET
        is FogException.InvalidRoute -> ErrorCode.INVALID_ROUTE
        is FogException.PayloadTooLarge -> ErrorCode.PAYLOAD_TOO_LARGE
        is FogException.Replayed -> ErrorCode.REPLAYED
        is FogException.InvalidTopology -> ErrorCode.INVALID_TOPOLOGY
        is FogException.InvalidReplyBlock -> ErrorCode.INVALID_REPLY_BLOCK
        is FogException.NotDelivered -> ErrorCode.NOT_DELIVERED
        is FogException.NoAnswer -> ErrorCode.NO_ANSWER
        is FogException.MixnetBusy -> ErrorCode.MIXNET_BUSY
        is FogException.InvalidProblem -> ErrorCode.INVALID_PROBLEM
        is FogException.NotFinite -> ErrorCode.NOT_FINITE
        is FogException.Infeasible -> ErrorCode.INFEASIBLE
        is FogException.InsufficientFunds -> ErrorCode.INSUFFICIENT_FUNDS
        is FogException.UnknownAccount -> ErrorCode.UNKNOWN_ACCOUNT
        is FogException.AccountExists -> ErrorCode.ACCOUNT_EXISTS
        is FogException.IdReused -> ErrorCode.ID_REUSED
        is FogException.ReservationClosed -> ErrorCode.RESERVATION_CLOSED
        is FogException.InvalidOperation -> ErrorCode.INVALID_OPERATION
        is FogException.UnknownReservation -> ErrorCode.UNKNOWN_RESERVATION
        is FogException.BatchEmpty -> ErrorCode.BATCH_EMPTY
        is FogException.BatchTooLarge -> ErrorCode.BATCH_TOO_LARGE
        is FogException.ZeroAmount -> ErrorCode.ZERO_AMOUNT
        is FogException.SameAccount -> ErrorCode.SAME_ACCOUNT
        is FogException.AccountClosed -> ErrorCode.ACCOUNT_CLOSED
        is FogException.AccountInUse -> ErrorCode.ACCOUNT_IN_USE
        is FogException.NotAnIssuer -> ErrorCode.NOT_AN_ISSUER
        is FogException.AssetMismatch -> ErrorCode.ASSET_MISMATCH
        is FogException.NotAReservation -> ErrorCode.NOT_A_RESERVATION
        is FogException.PostExceedsReservation -> ErrorCode.POST_EXCEEDS_RESERVATION
        is FogException.ReservationExpired -> ErrorCode.RESERVATION_EXPIRED
        is FogException.ExpiresInPast -> ErrorCode.EXPIRES_IN_PAST
        is FogException.AmountOverflow -> ErrorCode.AMOUNT_OVERFLOW
        is FogException.SupplyExceeded -> ErrorCode.SUPPLY_EXCEEDED
        is FogException.CreditsExceedDebits -> ErrorCode.CREDITS_EXCEED_DEBITS
        is FogException.QuotaExceeded -> ErrorCode.QUOTA_EXCEEDED
        is FogException.SignatureExpired -> ErrorCode.SIGNATURE_EXPIRED
        is FogException.NoOwner -> ErrorCode.NO_OWNER
        is FogException.SignatureForged -> ErrorCode.SIGNATURE_FORGED
        is FogException.SignatureReplayed -> ErrorCode.SIGNATURE_REPLAYED
        is FogException.NonceSkipped -> ErrorCode.NONCE_SKIPPED
        is FogException.NotTheOwner -> ErrorCode.NOT_THE_OWNER
        is FogException.NotForOwners -> ErrorCode.NOT_FOR_OWNERS
        is FogException.CheckpointForged -> ErrorCode.CHECKPOINT_FORGED
        is FogException.CheckpointDiffers -> ErrorCode.CHECKPOINT_DIFFERS
        is FogException.CheckpointMissing -> ErrorCode.CHECKPOINT_MISSING
        is FogException.NoEconomy -> ErrorCode.NO_ECONOMY
        is FogException.InvalidEconomy -> ErrorCode.INVALID_ECONOMY
        is FogException.UnknownParameter -> ErrorCode.UNKNOWN_PARAMETER
        is FogException.PurseAccount -> ErrorCode.PURSE_ACCOUNT
        is FogException.AccountStaked -> ErrorCode.ACCOUNT_STAKED
        is FogException.HostOnly -> ErrorCode.HOST_ONLY
        is FogException.MaturesByTime -> ErrorCode.MATURES_BY_TIME
        is FogException.BatchTooLong -> ErrorCode.BATCH_TOO_LONG
        is FogException.ClockBehind -> ErrorCode.CLOCK_BEHIND
        is FogException.UnknownOperator -> ErrorCode.UNKNOWN_OPERATOR
        is FogException.OperatorExists -> ErrorCode.OPERATOR_EXISTS
        is FogException.UnknownDelegator -> ErrorCode.UNKNOWN_DELEGATOR
        is FogException.ExceedsStake -> ErrorCode.EXCEEDS_STAKE
        is FogException.Jailed -> ErrorCode.JAILED
        is FogException.Tombstoned -> ErrorCode.TOMBSTONED
        is FogException.NotJailed -> ErrorCode.NOT_JAILED
        is FogException.TooManyEntries -> ErrorCode.TOO_MANY_ENTRIES
        is FogException.UnknownEntry -> ErrorCode.UNKNOWN_ENTRY
        is FogException.EntryMatured -> ErrorCode.ENTRY_MATURED
        is FogException.ExceedsEntry -> ErrorCode.EXCEEDS_ENTRY
        is FogException.TransitiveRedelegation -> ErrorCode.TRANSITIVE_REDELEGATION
        is FogException.NothingToClaim -> ErrorCode.NOTHING_TO_CLAIM
        is FogException.EvidenceTooOld -> ErrorCode.EVIDENCE_TOO_OLD
        is FogException.EvidenceRepeated -> ErrorCode.EVIDENCE_REPEATED
        is FogException.CommissionTooLarge -> ErrorCode.COMMISSION_TOO_LARGE
        is FogException.CommissionTooSoon -> ErrorCode.COMMISSION_TOO_SOON
        is FogException.ClaimRepeated -> ErrorCode.CLAIM_REPEATED
        is FogException.InsuranceShort -> ErrorCode.INSURANCE_SHORT
        is FogException.StakingRefused -> ErrorCode.STAKING_REFUSED
        is FogException.UnknownRule -> ErrorCode.UNKNOWN_RULE
        is FogException.UnknownFact -> ErrorCode.UNKNOWN_FACT
        is FogException.FactMissing -> ErrorCode.FACT_MISSING
        is FogException.RequirementNotMet -> ErrorCode.REQUIREMENT_NOT_MET
        is FogException.FactTooLarge -> ErrorCode.FACT_TOO_LARGE
        is FogException.SessionTooShort -> ErrorCode.SESSION_TOO_SHORT
        is FogException.SessionTooLarge -> ErrorCode.SESSION_TOO_LARGE
        is FogException.DailyLimitReached -> ErrorCode.DAILY_LIMIT_REACHED
        is FogException.EarningRefused -> ErrorCode.EARNING_REFUSED
        is FogException.InvalidPolicy -> ErrorCode.INVALID_POLICY
        is FogException.ProbeFailed -> ErrorCode.PROBE_FAILED
        is FogException.InvalidModule -> ErrorCode.INVALID_MODULE
        is FogException.OutOfFuel -> ErrorCode.OUT_OF_FUEL
        is FogException.OutOfMemory -> ErrorCode.OUT_OF_MEMORY
        is FogException.InvalidOutput -> ErrorCode.INVALID_OUTPUT
        is FogException.Trap -> ErrorCode.TRAP
        is FogException.TaskLost -> ErrorCode.TASK_LOST
        is FogException.UnknownTask -> ErrorCode.UNKNOWN_TASK
        is FogException.TaskTimedOut -> ErrorCode.TASK_TIMED_OUT
        is FogException.TaskSkipped -> ErrorCode.TASK_SKIPPED
        is FogException.TaskOpen -> ErrorCode.TASK_OPEN
        is FogException.TooManyTasks -> ErrorCode.TOO_MANY_TASKS
        is FogException.Storage -> ErrorCode.STORAGE
        is FogException.StorageLocked -> ErrorCode.STORAGE_LOCKED
        is FogException.StorageCorrupt -> ErrorCode.STORAGE_CORRUPT
        is FogException.StorageFull -> ErrorCode.STORAGE_FULL
        is FogException.StorageReadOnly -> ErrorCode.STORAGE_READ_ONLY
        is FogException.StorageIsFolder -> ErrorCode.STORAGE_IS_FOLDER
        is FogException.StorageNoFolder -> ErrorCode.STORAGE_NO_FOLDER
        is FogException.StorageForeign -> ErrorCode.STORAGE_FOREIGN
        is FogException.StorageTooNew -> ErrorCode.STORAGE_TOO_NEW
        is FogException.StorageExists -> ErrorCode.STORAGE_EXISTS
        is FogException.StorageNotEmpty -> ErrorCode.STORAGE_NOT_EMPTY
        is FogException.StorageUncertain -> ErrorCode.STORAGE_UNCERTAIN
        is FogException.StorageReopen -> ErrorCode.STORAGE_REOPEN
        is FogException.InvalidTranscript -> ErrorCode.INVALID_TRANSCRIPT
        is FogException.StorageMissing -> ErrorCode.STORAGE_MISSING
        is FogException.Node -> ErrorCode.NODE
        is FogException.Listen -> ErrorCode.LISTEN
        is FogException.Governed -> ErrorCode.GOVERNED
        is FogException.Paused -> ErrorCode.PAUSED
        is FogException.SignatureRequired -> ErrorCode.SIGNATURE_REQUIRED
        is FogException.UnknownProposal -> ErrorCode.UNKNOWN_PROPOSAL
        is FogException.ProposalExists -> ErrorCode.PROPOSAL_EXISTS
        is FogException.InvalidProposal -> ErrorCode.INVALID_PROPOSAL
        is FogException.ControlCharacter -> ErrorCode.CONTROL_CHARACTER
        is FogException.NoActions -> ErrorCode.NO_ACTIONS
        is FogException.TooManyActions -> ErrorCode.TOO_MANY_ACTIONS
        is FogException.ActionNotAllowed -> ErrorCode.ACTION_NOT_ALLOWED
        is FogException.ParameterOutOfRange -> ErrorCode.PARAMETER_OUT_OF_RANGE
        is FogException.TreasuryShort -> ErrorCode.TREASURY_SHORT
        is FogException.ActionRefused -> ErrorCode.ACTION_REFUSED
        is FogException.BelowThreshold -> ErrorCode.BELOW_THRESHOLD
        is FogException.TooManyProposals -> ErrorCode.TOO_MANY_PROPOSALS
        is FogException.VotingNotStarted -> ErrorCode.VOTING_NOT_STARTED
        is FogException.VotingOver -> ErrorCode.VOTING_OVER
        is FogException.UnknownChoice -> ErrorCode.UNKNOWN_CHOICE
        is FogException.NoVotingPower -> ErrorCode.NO_VOTING_POWER
        is FogException.AlreadyVoted -> ErrorCode.ALREADY_VOTED
        is FogException.TooManyVoteChanges -> ErrorCode.TOO_MANY_VOTE_CHANGES
        is FogException.WrongState -> ErrorCode.WRONG_STATE
        is FogException.TimelockRunning -> ErrorCode.TIMELOCK_RUNNING
        is FogException.NotPermitted -> ErrorCode.NOT_PERMITTED
        is FogException.ActionFailed -> ErrorCode.ACTION_FAILED
        is FogException.CircularDelegation -> ErrorCode.CIRCULAR_DELEGATION
        is FogException.DelegationTooComplex -> ErrorCode.DELEGATION_TOO_COMPLEX
        is FogException.InvalidDelegation -> ErrorCode.INVALID_DELEGATION
        is FogException.NothingDelegated -> ErrorCode.NOTHING_DELEGATED
        is FogException.AlreadyEnrolled -> ErrorCode.ALREADY_ENROLLED
        is FogException.AlreadyEstablished -> ErrorCode.ALREADY_ESTABLISHED
        is FogException.FutureLookup -> ErrorCode.FUTURE_LOOKUP
        is FogException.GovernanceRefused -> ErrorCode.GOVERNANCE_REFUSED
        is FogException.UnknownPeer -> ErrorCode.UNKNOWN_PEER
        is FogException.NotUnderstood -> ErrorCode.NOT_UNDERSTOOD
        is FogException.UnknownGroup -> ErrorCode.UNKNOWN_GROUP
        is FogException.NotGroupCreator -> ErrorCode.NOT_GROUP_CREATOR
        is FogException.MeshBusy -> ErrorCode.MESH_BUSY
        is FogException.InvalidMeshContent -> ErrorCode.INVALID_MESH_CONTENT
        is FogException.UnknownFile -> ErrorCode.UNKNOWN_FILE
        is FogException.CoordinatorUnreachable -> ErrorCode.COORDINATOR_UNREACHABLE
        is FogException.CoordinatorSilent -> ErrorCode.COORDINATOR_SILENT
        is FogException.InvalidToken -> ErrorCode.INVALID_TOKEN
        is FogException.TokenExpired -> ErrorCode.TOKEN_EXPIRED
        is FogException.TokenForbids -> ErrorCode.TOKEN_FORBIDS
        is FogException.TokenUsedUp -> ErrorCode.TOKEN_USED_UP
        is FogException.CallRefused -> ErrorCode.CALL_REFUSED
        is FogException.CoordinatorBusy -> ErrorCode.COORDINATOR_BUSY
        is FogException.InvalidJob -> ErrorCode.INVALID_JOB
        is FogException.NoResult -> ErrorCode.NO_RESULT
        is FogException.UnknownNode -> ErrorCode.UNKNOWN_NODE
        is FogException.InvalidAnswer -> ErrorCode.INVALID_ANSWER
    }

/** What this tier promises and what it costs. */
val Tier.terms: Terms
    get() = tierTerms(this)

/**
 * Runs a WebAssembly task and suspends until its output is there.
 *
 * Cancelling the coroutine cancels the task. Closing the fog ends the call with
 * [FogException.Closed].
 */
@Throws(FogException::class, CancellationException::class)
suspend fun Fog.run(module: ByteArray, input: ByteArray, limits: Limits? = null): TaskOutput =
    submit(module, input, limits).use { it.wait() }

/**
 * Suspends until the output is there, as often as you like.
 *
 * Cancelling the coroutine ends the wait; the task goes on.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun WorkerTask.wait(): TaskOutput =
    startWait().use { pending -> offLibraryThreads { pending.wait() } }

/**
 * At most [bytesMax] bytes of the log from byte [start] on: as soon as there are some, or the task
 * has ended.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun WorkerTask.readLog(start: ULong = 0u, bytesMax: UInt = 65_536u): TaskLog =
    startReadLog(start, bytesMax).use { pending -> offLibraryThreads { pending.wait() } }

/** The lines of the log, each as soon as it is there, until the task has ended. */
fun WorkerTask.log(): Flow<String> = flow {
    var rest = byteArrayOf()
    var start = 0uL
    do {
        val piece = readLog(start)
        rest += piece.data
        while (true) {
            val end = rest.indexOf('\n'.code.toByte())
            if (end < 0) break
            emit(rest.decodeToString(endIndex = end))
            rest = rest.copyOfRange(end + 1, rest.size)
        }
        start = piece.next
    } while (!piece.ended)
    if (rest.isNotEmpty()) emit(rest.decodeToString())
}

/** Inputs that `map` hands in at a time, as one job: fewer than a job may have. */
private const val JOB_INPUTS = 4_000

/**
 * Runs a module on every input, and suspends until all outputs are there, in the order of the inputs.
 *
 * Throws the first error. Then, and when the coroutine is cancelled, what has not ended is cancelled.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun Worker.map(
    module: ByteArray,
    inputs: List<ByteArray>,
    limits: Limits? = null,
): List<TaskOutput> {
    val tasks = mutableListOf<WorkerTask>()
    try {
        for (job in inputs.chunked(JOB_INPUTS)) tasks += submitAll(module, job, limits)
        return coroutineScope { tasks.map { task -> async { task.wait() } }.awaitAll() }
    } catch (error: Throwable) {
        // One that has ended meanwhile, or with its worker, cannot be cancelled.
        for (task in tasks) runCatching { task.cancel() }
        throw error
    } finally {
        tasks.forEach(WorkerTask::close)
    }
}

/**
 * Sends a message and suspends until its receiver has acknowledged all of it.
 *
 * Cancelling the coroutine ends the wait; the message is sent to its end.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun MixnetClient.send(to: String, body: ByteArray) =
    startSend(to, body).use { pending -> offLibraryThreads { pending.wait() } }

/**
 * Sends a message that asks for an answer of at most [answerBytesMax] bytes, and suspends until
 * that is there, [withinMs] milliseconds at most. The limit is rounded up to what whole packets
 * carry. Whoever answers does not learn who asked.
 *
 * Cancelling the coroutine cancels the question.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun MixnetClient.request(
    to: String,
    body: ByteArray,
    answerBytesMax: UInt = 2048u,
    withinMs: ULong = 60_000u,
): ByteArray = startRequest(to, body, answerBytesMax, withinMs).use { pending ->
    offLibraryThreads { pending.wait() }
}

/**
 * Suspends until the answer to a request that the client before this one made is there, [withinMs]
 * milliseconds at most, once. It may be there already.
 *
 * Cancelling the coroutine cancels the question.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun MixnetClient.answerTo(request: String, withinMs: ULong = 60_000u): ByteArray =
    startAnswerTo(request, withinMs).use { pending -> offLibraryThreads { pending.wait() } }

/**
 * Suspends until the next message is there.
 *
 * Cancelling the coroutine loses no message; but a `withTimeout` around the call may discard what
 * the call returns, which [receiveWithin] does not. Closing the client ends the call with
 * [FogException.Closed].
 */
@Throws(FogException::class, CancellationException::class)
suspend fun MixnetClient.receive(): MixnetMessage {
    while (true) {
        // Between taking a message and returning it nothing is suspended.
        tryReceive()?.let { return it }
        awaitReadable()
    }
}

/** The next message, or null if none comes within [timeout]. As [receive], it loses none. */
@Throws(FogException::class, CancellationException::class)
suspend fun MixnetClient.receiveWithin(timeout: Duration): MixnetMessage? {
    val end = TimeSource.Monotonic.markNow() + timeout
    while (true) {
        tryReceive()?.let { return it }
        withTimeoutOrNull(-end.elapsedNow()) { awaitReadable() } ?: return tryReceive()
    }
}

/**
 * The messages that come in, until the client is closed. No message is lost when the coroutine that
 * collects them is cancelled, unless an operator on the way to it buffers.
 */
fun MixnetClient.messages(): Flow<MixnetMessage> = Received { receive() }

/** Not a `flow { }`: its `emit` looks for a cancellation, and would drop what is in hand. */
private class Received<T : Any>(private val receive: suspend () -> T) : Flow<T> {
    override suspend fun collect(collector: FlowCollector<T>) {
        while (true) {
            currentCoroutineContext().ensureActive()
            collector.emit(next() ?: return)
        }
    }

    private suspend fun next(): T? = try {
        receive()
    } catch (_: FogException.Closed) {
        null
    } catch (error: IllegalStateException) {
        // What every object says that was closed; and a cancellation is one too.
        if (error is CancellationException) throw error
        null
    }
}

private suspend fun MixnetClient.awaitReadable() =
    readable().use { readiness -> offLibraryThreads { readiness.wait() } }

/**
 * Suspends until the next event is there.
 *
 * Cancelling the coroutine loses no event; but a `withTimeout` around the call may discard what the
 * call returns, which [receiveWithin] does not. Closing the node ends the call with
 * [FogException.Closed].
 */
@Throws(FogException::class, CancellationException::class)
suspend fun MeshNode.receive(): MeshEvent {
    while (true) {
        // Between taking an event and returning it nothing is suspended.
        tryReceive()?.let { return it }
        awaitReadable()
    }
}

/** The next event, or null if none comes within [timeout]. As [receive], it loses none. */
@Throws(FogException::class, CancellationException::class)
suspend fun MeshNode.receiveWithin(timeout: Duration): MeshEvent? {
    val end = TimeSource.Monotonic.markNow() + timeout
    while (true) {
        tryReceive()?.let { return it }
        withTimeoutOrNull(-end.elapsedNow()) { awaitReadable() } ?: return tryReceive()
    }
}

/**
 * What happens, until the node is closed. No event is lost when the coroutine that collects them is
 * cancelled, unless an operator on the way to it buffers.
 */
fun MeshNode.events(): Flow<MeshEvent> = Received { receive() }

private suspend fun MeshNode.awaitReadable() =
    readable().use { readiness -> offLibraryThreads { readiness.wait() } }

/**
 * Suspends until all tasks of a job have ended, and tells how it stands then.
 *
 * Cancelling the coroutine ends the wait; the job goes on.
 */
@Throws(FogException::class, CancellationException::class)
suspend fun FogClient.wait(job: String): JobStatus =
    startWait(job).use { pending -> offLibraryThreads { pending.wait() } }

/**
 * What happens to jobs of the account after the event of that number: 0 for everything that is
 * remembered, until the client is closed. Nothing is missed and nothing comes twice, also if the
 * coordinator is started again meanwhile.
 *
 * An error ends the flow, for instance while the coordinator is away; each collection begins anew
 * behind [after].
 */
fun FogClient.watch(after: ULong = 0u): Flow<FogEvent> = Events(this, after)

/**
 * Suspends until the next event is there.
 *
 * Cancelling the coroutine loses no event; but a `withTimeout` around the call may discard what the
 * call returns. Closing the client ends the call with [FogException.Closed].
 */
@Throws(FogException::class, CancellationException::class)
suspend fun FogWatch.receive(): FogEvent {
    while (true) {
        // Between taking an event and returning it nothing is suspended.
        tryReceive()?.let { return it }
        readable().use { readiness -> offLibraryThreads { readiness.wait() } }
    }
}

/** Not a `flow { }`: its `emit` looks for a cancellation, and would drop the event in hand. */
private class Events(private val client: FogClient, private val after: ULong) : Flow<FogEvent> {
    override suspend fun collect(collector: FlowCollector<FogEvent>) {
        client.startWatch(after).use { watch ->
            while (true) {
                currentCoroutineContext().ensureActive()
                collector.emit(next(watch) ?: return)
            }
        }
    }

    private suspend fun next(watch: FogWatch): FogEvent? = try {
        watch.receive()
    } catch (_: FogException.Closed) {
        null
    }
}

/**
 * Suspends until its coordinator has let it in. Ends with why it could not go on, or with
 * [FogException.Closed].
 */
@Throws(FogException::class, CancellationException::class)
suspend fun FogNode.joined() = joining().use { joined -> offLibraryThreads { joined.wait() } }

/**
 * Goes on off the library's threads. There `Dispatchers.Unconfined` would run what follows a wait
 * while the library holds its locks, and any call into the library would wait for ever.
 */
private suspend fun <T> offLibraryThreads(wait: suspend () -> T): T =
    withContext(Dispatchers.Default) { wait() }
