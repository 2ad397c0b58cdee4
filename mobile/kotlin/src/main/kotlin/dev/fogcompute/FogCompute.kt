// What Kotlin adds in its own idiom. Everything else is generated from bindings/uniffi.

package dev.fogcompute

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
        is FogException.InvalidPolicy -> ErrorCode.INVALID_POLICY
        is FogException.ProbeFailed -> ErrorCode.PROBE_FAILED
        is FogException.InvalidModule -> ErrorCode.INVALID_MODULE
        is FogException.OutOfFuel -> ErrorCode.OUT_OF_FUEL
        is FogException.OutOfMemory -> ErrorCode.OUT_OF_MEMORY
        is FogException.InvalidOutput -> ErrorCode.INVALID_OUTPUT
        is FogException.Trap -> ErrorCode.TRAP
        is FogException.TaskLost -> ErrorCode.TASK_LOST
        is FogException.Storage -> ErrorCode.STORAGE
        is FogException.StorageLocked -> ErrorCode.STORAGE_LOCKED
        is FogException.StorageCorrupt -> ErrorCode.STORAGE_CORRUPT
        is FogException.Node -> ErrorCode.NODE
        is FogException.Listen -> ErrorCode.LISTEN
    }

/**
 * Runs a WebAssembly task and suspends until its output is there.
 *
 * Cancelling the coroutine cancels the task. Closing the fog ends the call with
 * [FogException.Closed].
 */
@Throws(FogException::class, kotlin.coroutines.cancellation.CancellationException::class)
suspend fun Fog.run(module: ByteArray, input: ByteArray, limits: Limits? = null): TaskOutput =
    submit(module, input, limits).use { it.wait() }
