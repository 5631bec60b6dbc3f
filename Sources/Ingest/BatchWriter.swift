import Foundation
import Keys
import Postgres
import SQS
import Tokenization
import VaultCrypto
import VaultStore

/// Writes batches, each in one transaction: admission (ledger or file offset), login rows, originals, quarantine, counts.
///
/// Owns the session, the run's keys and the cache of tokens sent. A batch that fails in a way that may pass is driven again,
/// from its records; what a lost COMMIT did is found out, never assumed. While the server works on a batch, the next one is
/// staged.
struct BatchWriter: ~Copyable {
    let run = RandomBytes.uuid()
    let options: IngestOptions
    private(set) var summary = IngestSummary()

    var store: VaultStore
    var stager: BatchStager
    /// Of the batch that comes next.
    private var ahead: Staging?
    /// What was sent with a COMMIT whose answer has not come.
    private var inDoubt: StagedWork?
    private var hasGivenUp = false

    private init(
        adopting store: consuming VaultStore, stager: consuming BatchStager, options: IngestOptions
    ) {
        self.store = store
        self.stager = stager
        self.options = options
    }

    /// Begins a run: looks at the table, derives the keys, and enters the run into the database.
    static func begin(
        _ store: consuming VaultStore, keyring: consuming IngestKeyring, options: IngestOptions, source: String
    ) throws(IngestError) -> BatchWriter {
        let identity = try RecordIdentity(keyring)
        let shape: LoginTableShape
        let superseded: [KeyVersion]
        let missing: [String]
        do {
            missing = try store.missingForIngest()
            shape = try store.loginTableShape()
            superseded = try store.supersededTokenVersions()
        } catch { throw .database(error) }
        guard missing.isEmpty else { throw .schemaLacks(missing) }
        let version = keyring.activeTokenKey
        let masker = try Masker.make(shape: shape, keyring: keyring, superseded: superseded)
        let keys = RunKeys(keyring, now: { Int64(Date().timeIntervalSince1970) })
        let stager = BatchStager(masker: masker, keys: keys, identity: identity)
        var writer = BatchWriter(adopting: store, stager: stager, options: options)
        do {
            let run = writer.run
            _ = try writer.store.transaction { store throws(PostgresError) in
                try store.beginRun(run, source: String(source.prefix(1024)), version: version)
            }
        } catch { throw .database(error) }
        return writer
    }

    /// Commits `batch` and returns the proof.
    ///
    /// - Parameter following: what is written next, if it is at hand. It is staged while the server works on `batch`.
    mutating func write(_ batch: RecordBatch, following: RecordBatch? = nil) throws(IngestError) -> Committed {
        do {
            return try drive(batch, following: following, refusedByServer: false)
        } catch {
            guard case .database(let cause) = error, cause.state?.isData == true else { throw error }
            guard batch.records.count > 1 else { return try drive(batch, refusedByServer: true) }
            let (first, second) = batch.halves()
            _ = try write(first)
            return try write(second)
        }
    }

    /// Ends the run: one audit event with its counts. Where the answer is lost, the run's row tells whether it has ended.
    mutating func finish(outcome: String) throws(IngestError) -> AuditReceipt? {
        dropAhead()
        stager.wipe()
        let deadline = ContinuousClock.now + options.retryFor
        var backoff = Backoff()
        var isRepeated = false
        while true {
            do {
                if isRepeated, let receipt = try store.runState(run).receipt { return receipt }
                return try store.finishRun(run, outcome: outcome)
            } catch {
                guard error.isTransient, !hasGivenUp, !options.shouldStop(), ContinuousClock.now < deadline else {
                    throw .database(error)
                }
                isRepeated = true
                backoff.sleep(unless: options.shouldStop)
                if error.needsReconnect { reconnect(until: deadline, &backoff) }
            }
        }
    }

    mutating func noteUndeleted(_ count: Int) { summary.undeleted += count }

    private mutating func drive(
        _ batch: RecordBatch, following: RecordBatch? = nil, refusedByServer: Bool
    ) throws(IngestError) -> Committed {
        let deadline = ContinuousClock.now + options.retryFor
        var backoff = Backoff()
        var attempts = 0
        while true {
            let failure: PostgresError
            do {
                if let committed = try settle() { return committed }
                return try commit(batch, following: following, refusedByServer: refusedByServer)
            } catch {
                guard case .database(let cause) = error else { throw error }
                failure = cause
            }
            attempts += 1
            if failure.state == .fileAdvancedByAnother { throw .fileInUse(batch.origin.name) }
            guard failure.isTransient, !options.shouldStop(),
                ContinuousClock.now < deadline || attempts < options.leastAttempts
            else {
                hasGivenUp = failure.needsReconnect
                if failure.isTransient, options.shouldStop() { throw .stopped }
                throw .database(inDoubt == nil ? failure : .commitUnknown)
            }
            if inDoubt == nil { stager.forgetUnstored() }
            backoff.sleep(unless: options.shouldStop)
            if failure.needsReconnect { reconnect(until: max(deadline, .now + .seconds(1)), &backoff) }
        }
    }

    private mutating func reconnect(until deadline: ContinuousClock.Instant, _ backoff: inout Backoff) {
        while ContinuousClock.now < deadline, !options.shouldStop() {
            if let store = try? VaultStore.open(options.database, limits: options.limits) {
                self.store = store
                return
            }
            backoff.sleep(unless: options.shouldStop)
        }
    }

    /// Finds out what became of a COMMIT whose answer was lost: the run's own counts move with each batch, and looking at them
    /// waits for a transaction that still holds them. That it is there, a transaction of its own proves.
    ///
    /// - Returns: the proof; `nil` when nothing is in doubt any more and the batch is to be driven again.
    private mutating func settle() throws(IngestError) -> Committed? {
        guard let work = inDoubt else { return nil }
        var state: RunState?
        let committed: Committed
        let run = run
        do {
            committed = try store.transaction { store throws(PostgresError) in state = try store.runState(run) }
        } catch { throw .database(error) }
        inDoubt = nil
        var expected = summary
        expected.add(work.summary)
        guard let state, state.agrees(with: expected) else {
            guard let state, state.agrees(with: summary) else { throw .countsDiffer }
            stager.forgetUnstored()
            return nil
        }
        note(work)
        return committed
    }

    /// Takes note of what is committed.
    private mutating func note(_ work: StagedWork) {
        stager.note(work)
        summary.add(work.summary)
        options.progress(summary)
    }

    private mutating func commit(
        _ batch: RecordBatch, following: RecordBatch?, refusedByServer: Bool
    ) throws(IngestError) -> Committed {
        do { try store.begin() } catch { throw .database(error) }
        do throws(IngestError) {
            do { stager.enter(epoch: try store.enterBatch()) } catch { throw .database(error) }
            let admission = try admit(batch)
            var work = try stage(batch, admission, refusedByServer: refusedByServer)
            if let limit = options.maxQuarantined, summary.quarantinedTotal + work.quarantined.count > limit {
                throw .tooManyQuarantined(limit: limit)
            }
            if case .quarantine = batch.origin, let refused = work.quarantined.first {
                throw .stillRefused(cause: refused.cause)
            }
            if let following { ahead = stager.begin(following, after: work) }
            try send(work, following: following)
            work.dropWhatWasSent()
            do {
                let committed = try store.commit()
                note(work)
                return committed
            } catch {
                if case .commitUnknown = error { inDoubt = work }
                throw .database(error)
            }
        } catch {
            store.rollback()
            throw error
        }
    }

    /// Stages `batch`, going on with what is staged of it where that holds.
    private mutating func stage(
        _ batch: RecordBatch, _ admission: Admission, refusedByServer: Bool
    ) throws(IngestError) -> StagedWork {
        let isOfUse = ahead.map { $0.serial == batch.serial && !refusedByServer && stager.isValid($0) }
        if isOfUse == false { dropAhead() }
        var staging = ahead.take() ?? stager.begin(batch, admission, refusedByServer: refusedByServer)
        while !staging.isDone { try stager.advance(&staging, of: batch) }
        return staging.work
    }

    /// Stages what follows until the statement is answered. A failure shows when its turn comes.
    private mutating func stageAhead(_ following: RecordBatch?, until statement: borrowing PendingStatement) {
        guard let following else { return }
        while ahead?.isDone == false, !store.isAnswered(statement) {
            do { try stager.advance(&ahead!, of: following) } catch { ahead = nil }
        }
    }

    private mutating func dropAhead() {
        if ahead != nil { stager.drop(&ahead!) }
        ahead = nil
    }

    private mutating func send(_ work: StagedWork, following: RecordBatch?) throws(IngestError) {
        do {
            for key in work.keys where !key.isStored { try store.insertDataKey(key.record, run: run) }
            if work.rows.count > 0 { try store.copyLogins(work.rows, shape: stager.shape) }
            for group in work.groups {
                let statement = try store.sendOriginals(group)
                stageAhead(following, until: statement)
                try store.originalsInserted(statement)
            }
            for pairs in work.successors { try store.insertSuccessors(pairs) }
        } catch { throw .database(error) }
        for record in work.quarantined {
            do {
                try store.insertQuarantined(record, run: run)
            } catch {  // the record was refused already: to halve its batch would not help
                throw error.state?.isData == true ? .quarantineRefused(error) : .database(error)
            }
        }
        do {
            try store.addRunCounts(  // last: it locks the run's row
                run, stored: work.rows.count, repeated: work.summary.repeated, quarantined: work.quarantined.count)
        } catch { throw .database(error) }
    }
}

extension RunState {
    /// Whether the database counts what this run counts.
    fileprivate func agrees(with summary: IngestSummary) -> Bool {
        (stored, repeated, quarantined) == (summary.stored, summary.repeated, summary.quarantinedTotal)
    }
}
