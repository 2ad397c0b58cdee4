// What Swift adds in its own idiom. FogCompute.swift is generated from bindings/uniffi.

import Foundation

extension FogError: LocalizedError {
    /// The stable code of this error.
    public var code: ErrorCode {
        switch self {
        case .InvalidArgument: return .invalidArgument
        case .Panic: return .panic
        case .HostCallback: return .hostCallback
        case .Cancelled: return .cancelled
        case .Closed: return .closed
        case .BufferTooSmall: return .bufferTooSmall
        case .InvalidPacket: return .invalidPacket
        case .InvalidRoute: return .invalidRoute
        case .PayloadTooLarge: return .payloadTooLarge
        case .Replayed: return .replayed
        case .InvalidTopology: return .invalidTopology
        case .InvalidReplyBlock: return .invalidReplyBlock
        case .NotDelivered: return .notDelivered
        case .NoAnswer: return .noAnswer
        case .MixnetBusy: return .mixnetBusy
        case .InvalidProblem: return .invalidProblem
        case .NotFinite: return .notFinite
        case .Infeasible: return .infeasible
        case .InsufficientFunds: return .insufficientFunds
        case .UnknownAccount: return .unknownAccount
        case .AccountExists: return .accountExists
        case .IdReused: return .idReused
        case .ReservationClosed: return .reservationClosed
        case .InvalidOperation: return .invalidOperation
        case .UnknownReservation: return .unknownReservation
        case .BatchEmpty: return .batchEmpty
        case .BatchTooLarge: return .batchTooLarge
        case .ZeroAmount: return .zeroAmount
        case .SameAccount: return .sameAccount
        case .AccountClosed: return .accountClosed
        case .AccountInUse: return .accountInUse
        case .NotAnIssuer: return .notAnIssuer
        case .AssetMismatch: return .assetMismatch
        case .NotAReservation: return .notAReservation
        case .PostExceedsReservation: return .postExceedsReservation
        case .ReservationExpired: return .reservationExpired
        case .ExpiresInPast: return .expiresInPast
        case .AmountOverflow: return .amountOverflow
        case .SupplyExceeded: return .supplyExceeded
        case .CreditsExceedDebits: return .creditsExceedDebits
        case .QuotaExceeded: return .quotaExceeded
        case .SignatureExpired: return .signatureExpired
        case .NoOwner: return .noOwner
        case .SignatureForged: return .signatureForged
        case .SignatureReplayed: return .signatureReplayed
        case .NonceSkipped: return .nonceSkipped
        case .NotTheOwner: return .notTheOwner
        case .NotForOwners: return .notForOwners
        case .CheckpointForged: return .checkpointForged
        case .CheckpointDiffers: return .checkpointDiffers
        case .CheckpointMissing: return .checkpointMissing
        case .NoEconomy: return .noEconomy
        case .InvalidEconomy: return .invalidEconomy
        case .UnknownParameter: return .unknownParameter
        case .PurseAccount: return .purseAccount
        case .AccountStaked: return .accountStaked
        case .HostOnly: return .hostOnly
        case .MaturesByTime: return .maturesByTime
        case .BatchTooLong: return .batchTooLong
        case .ClockBehind: return .clockBehind
        case .UnknownOperator: return .unknownOperator
        case .OperatorExists: return .operatorExists
        case .UnknownDelegator: return .unknownDelegator
        case .ExceedsStake: return .exceedsStake
        case .Jailed: return .jailed
        case .Tombstoned: return .tombstoned
        case .NotJailed: return .notJailed
        case .TooManyEntries: return .tooManyEntries
        case .UnknownEntry: return .unknownEntry
        case .EntryMatured: return .entryMatured
        case .ExceedsEntry: return .exceedsEntry
        case .TransitiveRedelegation: return .transitiveRedelegation
        case .NothingToClaim: return .nothingToClaim
        case .EvidenceTooOld: return .evidenceTooOld
        case .EvidenceRepeated: return .evidenceRepeated
        case .CommissionTooLarge: return .commissionTooLarge
        case .CommissionTooSoon: return .commissionTooSoon
        case .ClaimRepeated: return .claimRepeated
        case .InsuranceShort: return .insuranceShort
        case .StakingRefused: return .stakingRefused
        case .UnknownRule: return .unknownRule
        case .UnknownFact: return .unknownFact
        case .FactMissing: return .factMissing
        case .RequirementNotMet: return .requirementNotMet
        case .FactTooLarge: return .factTooLarge
        case .SessionTooShort: return .sessionTooShort
        case .SessionTooLarge: return .sessionTooLarge
        case .DailyLimitReached: return .dailyLimitReached
        case .EarningRefused: return .earningRefused
        case .InvalidPolicy: return .invalidPolicy
        case .ProbeFailed: return .probeFailed
        case .InvalidModule: return .invalidModule
        case .OutOfFuel: return .outOfFuel
        case .OutOfMemory: return .outOfMemory
        case .InvalidOutput: return .invalidOutput
        case .Trap: return .trap
        case .TaskLost: return .taskLost
        case .UnknownTask: return .unknownTask
        case .TaskTimedOut: return .taskTimedOut
        case .TaskSkipped: return .taskSkipped
        case .TaskOpen: return .taskOpen
        case .TooManyTasks: return .tooManyTasks
        case .Storage: return .storage
        case .StorageLocked: return .storageLocked
        case .StorageCorrupt: return .storageCorrupt
        case .StorageFull: return .storageFull
        case .StorageReadOnly: return .storageReadOnly
        case .StorageIsFolder: return .storageIsFolder
        case .StorageNoFolder: return .storageNoFolder
        case .StorageForeign: return .storageForeign
        case .StorageTooNew: return .storageTooNew
        case .StorageExists: return .storageExists
        case .StorageNotEmpty: return .storageNotEmpty
        case .StorageUncertain: return .storageUncertain
        case .StorageReopen: return .storageReopen
        case .InvalidTranscript: return .invalidTranscript
        case .StorageMissing: return .storageMissing
        case .Node: return .node
        case .Listen: return .listen
        case .Governed: return .governed
        case .Paused: return .paused
        case .SignatureRequired: return .signatureRequired
        case .UnknownProposal: return .unknownProposal
        case .ProposalExists: return .proposalExists
        case .InvalidProposal: return .invalidProposal
        case .ControlCharacter: return .controlCharacter
        case .NoActions: return .noActions
        case .TooManyActions: return .tooManyActions
        case .ActionNotAllowed: return .actionNotAllowed
        case .ParameterOutOfRange: return .parameterOutOfRange
        case .TreasuryShort: return .treasuryShort
        case .ActionRefused: return .actionRefused
        case .BelowThreshold: return .belowThreshold
        case .TooManyProposals: return .tooManyProposals
        case .VotingNotStarted: return .votingNotStarted
        case .VotingOver: return .votingOver
        case .UnknownChoice: return .unknownChoice
        case .NoVotingPower: return .noVotingPower
        case .AlreadyVoted: return .alreadyVoted
        case .TooManyVoteChanges: return .tooManyVoteChanges
        case .WrongState: return .wrongState
        case .TimelockRunning: return .timelockRunning
        case .NotPermitted: return .notPermitted
        case .ActionFailed: return .actionFailed
        case .CircularDelegation: return .circularDelegation
        case .DelegationTooComplex: return .delegationTooComplex
        case .InvalidDelegation: return .invalidDelegation
        case .NothingDelegated: return .nothingDelegated
        case .AlreadyEnrolled: return .alreadyEnrolled
        case .AlreadyEstablished: return .alreadyEstablished
        case .FutureLookup: return .futureLookup
        case .GovernanceRefused: return .governanceRefused
        case .UnknownPeer: return .unknownPeer
        case .NotUnderstood: return .notUnderstood
        case .UnknownGroup: return .unknownGroup
        case .NotGroupCreator: return .notGroupCreator
        case .MeshBusy: return .meshBusy
        case .InvalidMeshContent: return .invalidMeshContent
        case .UnknownFile: return .unknownFile
        case .CoordinatorUnreachable: return .coordinatorUnreachable
        case .CoordinatorSilent: return .coordinatorSilent
        case .InvalidToken: return .invalidToken
        case .TokenExpired: return .tokenExpired
        case .TokenForbids: return .tokenForbids
        case .TokenUsedUp: return .tokenUsedUp
        case .CallRefused: return .callRefused
        case .CoordinatorBusy: return .coordinatorBusy
        case .InvalidJob: return .invalidJob
        case .NoResult: return .noResult
        case .UnknownNode: return .unknownNode
        case .InvalidAnswer: return .invalidAnswer
        }
    }

    /// What happened, for people.
    public var message: String {
        switch self {
        case .InvalidArgument(let message), .Panic(let message), .HostCallback(let message),
            .Cancelled(let message), .Closed(let message), .BufferTooSmall(let message),
            .InvalidPacket(let message), .InvalidRoute(let message),
            .PayloadTooLarge(let message),
            .BatchEmpty(let message),
            .BatchTooLarge(let message),
            .ZeroAmount(let message),
            .SameAccount(let message),
            .AccountClosed(let message),
            .AccountInUse(let message),
            .NotAnIssuer(let message),
            .AssetMismatch(let message),
            .NotAReservation(let message),
            .PostExceedsReservation(let message),
            .ReservationExpired(let message),
            .ExpiresInPast(let message),
            .AmountOverflow(let message),
            .SupplyExceeded(let message),
            .CreditsExceedDebits(let message),
            .QuotaExceeded(let message),
            .SignatureExpired(let message),
            .NoOwner(let message),
            .SignatureForged(let message),
            .SignatureReplayed(let message),
            .NonceSkipped(let message),
            .NotTheOwner(let message),
            .NotForOwners(let message),
            .CheckpointForged(let message),
            .CheckpointDiffers(let message),
            .CheckpointMissing(let message),
            .NoEconomy(let message),
            .InvalidEconomy(let message),
            .UnknownParameter(let message),
            .PurseAccount(let message),
            .AccountStaked(let message),
            .HostOnly(let message),
            .MaturesByTime(let message),
            .BatchTooLong(let message),
            .ClockBehind(let message),
            .UnknownOperator(let message),
            .OperatorExists(let message),
            .UnknownDelegator(let message),
            .ExceedsStake(let message),
            .Jailed(let message),
            .Tombstoned(let message),
            .NotJailed(let message),
            .TooManyEntries(let message),
            .UnknownEntry(let message),
            .EntryMatured(let message),
            .ExceedsEntry(let message),
            .TransitiveRedelegation(let message),
            .NothingToClaim(let message),
            .EvidenceTooOld(let message),
            .EvidenceRepeated(let message),
            .CommissionTooLarge(let message),
            .CommissionTooSoon(let message),
            .ClaimRepeated(let message),
            .InsuranceShort(let message),
            .StakingRefused(let message),
            .UnknownRule(let message),
            .UnknownFact(let message),
            .FactMissing(let message),
            .RequirementNotMet(let message),
            .FactTooLarge(let message),
            .SessionTooShort(let message),
            .SessionTooLarge(let message),
            .DailyLimitReached(let message),
            .EarningRefused(let message),
            .StorageFull(let message),
            .StorageReadOnly(let message),
            .StorageIsFolder(let message),
            .StorageNoFolder(let message),
            .StorageForeign(let message),
            .StorageTooNew(let message),
            .StorageExists(let message),
            .StorageNotEmpty(let message),
            .StorageUncertain(let message),
            .StorageReopen(let message),
            .InvalidTranscript(let message),
            .StorageMissing(let message),
            .Replayed(let message),
            .InvalidTopology(let message), .InvalidReplyBlock(let message),
            .NotDelivered(let message), .NoAnswer(let message), .MixnetBusy(let message),
            .Listen(let message),
            .Governed(let message),
            .Paused(let message),
            .SignatureRequired(let message),
            .UnknownProposal(let message),
            .ProposalExists(let message),
            .InvalidProposal(let message),
            .ControlCharacter(let message),
            .NoActions(let message),
            .TooManyActions(let message),
            .ActionNotAllowed(let message),
            .ParameterOutOfRange(let message),
            .TreasuryShort(let message),
            .ActionRefused(let message),
            .BelowThreshold(let message),
            .TooManyProposals(let message),
            .VotingNotStarted(let message),
            .VotingOver(let message),
            .UnknownChoice(let message),
            .NoVotingPower(let message),
            .AlreadyVoted(let message),
            .TooManyVoteChanges(let message),
            .WrongState(let message),
            .TimelockRunning(let message),
            .NotPermitted(let message),
            .ActionFailed(let message),
            .CircularDelegation(let message),
            .DelegationTooComplex(let message),
            .InvalidDelegation(let message),
            .NothingDelegated(let message),
            .AlreadyEnrolled(let message),
            .AlreadyEstablished(let message),
            .FutureLookup(let message),
            .GovernanceRefused(let message),
            .UnknownPeer(let message),
            .NotUnderstood(let message),
            .UnknownGroup(let message),
            .NotGroupCreator(let message),
            .MeshBusy(let message),
            .InvalidMeshContent(let message),
            .UnknownFile(let message),
            .CoordinatorUnreachable(let message),
            .CoordinatorSilent(let message),
            .InvalidToken(let message),
            .TokenExpired(let message),
            .TokenForbids(let message),
            .TokenUsedUp(let message),
            .CallRefused(let message),
            .CoordinatorBusy(let message),
            .InvalidJob(let message),
            .NoResult(let message),
            .UnknownNode(let message),
            .InvalidAnswer(let message),
            .InvalidProblem(let message),
            .NotFinite(let message), .Infeasible(let message), .InsufficientFunds(let message),
            .UnknownAccount(let message), .AccountExists(let message), .IdReused(let message),
            .ReservationClosed(let message), .InvalidOperation(let message),
            .UnknownReservation(let message),
            .InvalidPolicy(let message), .ProbeFailed(let message), .InvalidModule(let message),
            .OutOfFuel(let message), .OutOfMemory(let message), .InvalidOutput(let message),
            .Trap(let message), .TaskLost(let message), .UnknownTask(let message),
            .TaskTimedOut(let message), .TaskSkipped(let message), .TaskOpen(let message),
            .TooManyTasks(let message), .Storage(let message),
            .StorageLocked(let message), .StorageCorrupt(let message), .Node(let message):
            return message
        }
    }

    public var errorDescription: String? { message }
}

extension Tier {
    /// What this tier promises and what it costs.
    public var terms: Terms { tierTerms(tier: self) }
}

extension FogTask {
    /// Waits for the output. It can be taken once. Cancelling the Swift task that waits cancels
    /// this task, which then ends with `FogError.Cancelled`.
    public func wait() async throws -> TaskOutput {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension Fog {
    /// Runs a WebAssembly task and waits for its output.
    ///
    /// Cancelling the Swift task that waits cancels this one, which then ends with
    /// `FogError.Cancelled`. Closing the fog ends it with `FogError.Closed`.
    public func run(module: Data, input: Data, limits: Limits? = nil) async throws -> TaskOutput {
        try await submit(module: module, input: input, limits: limits).wait()
    }
}

extension PendingDelivery {
    /// Waits until the receiver has acknowledged all of the message. It can be waited for once.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; the message is
    /// sent to its end.
    public func wait() async throws {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension PendingAnswer {
    /// Waits for the answer. It can be taken once. Cancelling the Swift task that waits cancels the
    /// question, which then ends with `FogError.Cancelled`.
    public func wait() async throws -> Data {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension Readiness {
    /// Ends when there is something to receive, or when nothing will come. It can be waited for once.
    /// Cancelling the Swift task that waits ends it with `FogError.Cancelled`.
    public func wait() async throws {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension PendingOutput {
    /// Waits for the output. It can be taken once. Cancelling the Swift task that waits ends the wait
    /// with `FogError.Cancelled`; the task goes on.
    public func wait() async throws -> TaskOutput {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension PendingLog {
    /// Waits until there is some log, or the task has ended. It can be taken once. Cancelling the
    /// Swift task that waits ends the wait with `FogError.Cancelled`.
    public func wait() async throws -> TaskLog {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension WorkerTask {
    /// Waits for the output, as often as you like.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; this task goes
    /// on.
    public func wait() async throws -> TaskOutput {
        try await startWait().wait()
    }

    /// At most `bytesMax` bytes of the log from byte `start` on: as soon as there are some, or the
    /// task has ended.
    public func readLog(start: UInt64 = 0, bytesMax: UInt32 = 65_536) async throws -> TaskLog {
        try await startReadLog(start: start, bytesMax: bytesMax).wait()
    }

    /// The lines of the log, each as soon as it is there, until the task has ended.
    public var log: TaskLogLines { TaskLogLines(task: self) }
}

/// The lines of a `WorkerTask`'s log. What is no UTF-8 is replaced.
public struct TaskLogLines: AsyncSequence, Sendable {
    public typealias Element = String

    fileprivate let task: WorkerTask

    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let task: WorkerTask
        private var rest = Data()
        private var start: UInt64 = 0
        private var ended = false

        fileprivate init(task: WorkerTask) { self.task = task }

        /// The next line; nothing at the log's end.
        public mutating func next() async throws -> String? {
            while true {
                if let end = rest.firstIndex(of: 0x0A) {
                    let line = String(decoding: rest[..<end], as: UTF8.self)
                    rest = Data(rest[rest.index(after: end)...])
                    return line
                }
                if ended {
                    defer { rest = Data() }
                    return rest.isEmpty ? nil : String(decoding: rest, as: UTF8.self)
                }
                let piece = try await task.readLog(start: start)
                rest.append(piece.data)
                start = piece.next
                ended = piece.ended
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(task: task) }
}

/// Inputs that `map` hands in at a time, as one job: fewer than a job may have.
private let jobInputs = 4_000

extension Worker {
    /// Runs a module on every input, and waits for the outputs, in the order of the inputs.
    ///
    /// Throws the first error. Then, and when the Swift task that waits is cancelled, what has not
    /// ended is cancelled.
    public func map(module: Data, inputs: [Data], limits: Limits? = nil) async throws
        -> [TaskOutput]
    {
        var tasks = [WorkerTask]()
        do {
            for first in stride(from: 0, to: inputs.count, by: jobInputs) {
                let job = Array(inputs[first..<min(first + jobInputs, inputs.count)])
                tasks += try submitAll(module: module, inputs: job, limits: limits)
            }
            let all = tasks
            return try await withThrowingTaskGroup(of: (Int, TaskOutput).self) { group in
                for (place, task) in all.enumerated() {
                    group.addTask { (place, try await task.wait()) }
                }
                var outputs = [TaskOutput?](repeating: nil, count: all.count)
                for try await (place, output) in group { outputs[place] = output }
                return outputs.compactMap { $0 }
            }
        } catch {
            // One that has ended meanwhile, or with its worker, cannot be cancelled.
            for task in tasks { try? task.cancel() }
            throw error
        }
    }
}

extension MixnetClient {
    /// Sends a message and waits until its receiver has acknowledged all of it.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; the message is
    /// sent to its end.
    public func send(to: String, body: Data) async throws {
        try await startSend(to: to, body: body).wait()
    }

    /// Sends a message that asks for an answer of at most `answerBytesMax` bytes, and waits for
    /// that, `withinMs` milliseconds at most. The limit is rounded up to what whole packets carry.
    /// Whoever answers does not learn who asked.
    ///
    /// Cancelling the Swift task that waits cancels the question, which then ends with
    /// `FogError.Cancelled`.
    public func request(
        to: String, body: Data, answerBytesMax: UInt32 = 2048, withinMs: UInt64 = 60_000
    ) async throws -> Data {
        try await startRequest(
            to: to, body: body, answerBytesMax: answerBytesMax, withinMs: withinMs
        ).wait()
    }

    /// Waits for the answer to a request that the client before this one made, `withinMs`
    /// milliseconds at most, once. It may be there already.
    ///
    /// Cancelling the Swift task that waits cancels the question, which then ends with
    /// `FogError.Cancelled`.
    public func answerTo(request: String, withinMs: UInt64 = 60_000) async throws -> Data {
        try await startAnswerTo(request: request, withinMs: withinMs).wait()
    }

    /// Waits for the next message.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; no message is
    /// lost by it. Closing the client ends it with `FogError.Closed`.
    public func receive() async throws -> MixnetMessage {
        while true {
            // Between taking a message and returning it nothing is awaited.
            if let message = try tryReceive() { return message }
            try await readable().wait()
        }
    }

    /// The messages that come in, until the client is closed. No message is lost when the Swift
    /// task that goes through them is cancelled: that ends with `FogError.Cancelled`.
    public var messages: MixnetMessages { MixnetMessages(client: self) }
}

/// The messages that come in to a `MixnetClient`.
public struct MixnetMessages: AsyncSequence, Sendable {
    public typealias Element = MixnetMessage

    fileprivate let client: MixnetClient

    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let client: MixnetClient

        /// The next message; nothing when the client is closed.
        public mutating func next() async throws -> MixnetMessage? {
            do { return try await client.receive() } catch FogError.Closed { return nil }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(client: client) }
}

extension MeshNode {
    /// Waits for the next event.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; no event is lost
    /// by it. Closing the node ends it with `FogError.Closed`.
    public func receive() async throws -> MeshEvent {
        while true {
            // Between taking an event and returning it nothing is awaited.
            if let event = try tryReceive() { return event }
            try await readable().wait()
        }
    }

    /// What happens, until the node is closed. No event is lost when the Swift task that goes through
    /// them is cancelled: that ends with `FogError.Cancelled`.
    public var events: MeshEvents { MeshEvents(node: self) }
}

/// What happens to a `MeshNode`.
public struct MeshEvents: AsyncSequence, Sendable {
    public typealias Element = MeshEvent

    fileprivate let node: MeshNode

    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let node: MeshNode

        /// The next event; nothing when the node is closed.
        public mutating func next() async throws -> MeshEvent? {
            do { return try await node.receive() } catch FogError.Closed { return nil }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(node: node) }
}

extension PendingJob {
    /// Waits until all tasks of the job have ended. It can be waited for once. Cancelling the Swift
    /// task that waits ends the wait with `FogError.Cancelled`; the job goes on.
    public func wait() async throws -> JobStatus {
        try await withTaskCancellationHandler {
            try await waitUncancellably()
        } onCancel: {
            cancel()
        }
    }
}

extension FogClient {
    /// Waits until all tasks of a job have ended, and tells how it stands then.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; the job goes on.
    public func wait(job: String) async throws -> JobStatus {
        try await startWait(job: job).wait()
    }

    /// What happens to jobs of the account after the event of that number: 0 for everything that is
    /// remembered. Nothing is missed and nothing comes twice, also if the coordinator is started again
    /// meanwhile.
    public func watch(after: UInt64 = 0) throws -> FogEvents {
        FogEvents(watch: try startWatch(after: after))
    }
}

extension FogWatch {
    /// Waits for the next event.
    ///
    /// Cancelling the Swift task that waits ends the wait with `FogError.Cancelled`; no event is lost by
    /// it. Closing the watch or its client ends it with `FogError.Closed`.
    public func receive() async throws -> FogEvent {
        while true {
            // Between taking an event and returning it nothing is awaited.
            if let event = try tryReceive() { return event }
            try await readable().wait()
        }
    }
}

/// What happens in a fog, in order, until its watch or its client is closed. An error ends it, for
/// instance while the coordinator is away; going through it again goes on where that was.
public struct FogEvents: AsyncSequence, Sendable {
    public typealias Element = FogEvent

    /// What watches. Its `last` is the number to go on behind.
    public let watch: FogWatch

    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let watch: FogWatch

        /// The next event; nothing when the watch is closed.
        public mutating func next() async throws -> FogEvent? {
            do { return try await watch.receive() } catch FogError.Closed { return nil }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(watch: watch) }
}

extension FogNode {
    /// Waits until its coordinator has let it in. Ends with why it could not go on, or with
    /// `FogError.Closed`; cancelling the Swift task that waits ends it with `FogError.Cancelled`.
    public func joined() async throws { try await joining().wait() }
}
