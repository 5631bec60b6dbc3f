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
/// from its records; what a lost COMMIT did is found out by the admission step, never assumed.
struct BatchWriter: ~Copyable {
    let run = RandomBytes.uuid()
    let options: IngestOptions
    private(set) var summary = IngestSummary()

    var store: VaultStore
    var keys: RunKeys
    var masker: Masker
    var sent = SentTokens()
    let shape: LoginTableShape
    let identity: RecordIdentity

    private init(
        adopting store: consuming VaultStore, keys: consuming RunKeys, masker: consuming Masker,
        identity: consuming RecordIdentity, options: IngestOptions
    ) {
        shape = masker.shape
        self.store = store
        self.keys = keys
        self.masker = masker
        self.identity = identity
        self.options = options
    }

    /// Begins a run: looks at the table, derives the keys, and enters the run into the database.
    static func begin(
        _ store: consuming VaultStore, keyring: consuming IngestKeyring, options: IngestOptions, source: String
    ) throws(IngestError) -> BatchWriter {
        let identity = try RecordIdentity(keyring)
        let shape: LoginTableShape
        let superseded: [KeyVersion]
        do {
            shape = try store.loginTableShape()
            superseded = try store.supersededTokenVersions()
        } catch { throw .database(error) }
        let masker = try Masker.make(shape: shape, keyring: keyring, superseded: superseded)
        let keys = RunKeys(keyring, now: { Int64(Date().timeIntervalSince1970) })
        var writer = BatchWriter(adopting: store, keys: keys, masker: masker, identity: identity, options: options)
        do {
            let run = writer.run
            _ = try writer.store.transaction { store throws(PostgresError) in
                try store.beginRun(run, source: String(source.prefix(1024)))
            }
        } catch { throw .database(error) }
        return writer
    }

    /// Commits `batch`; returns the proof, or `nil` when an earlier attempt turns out to have committed it.
    mutating func write(_ batch: RecordBatch) throws(IngestError) -> Committed? {
        do {
            return try drive(batch, refusedByServer: false)
        } catch {
            guard case .database(let cause) = error, cause.state?.isData == true else { throw error }
            guard batch.records.count > 1 else { return try drive(batch, refusedByServer: true) }
            let (first, second) = batch.halves()
            _ = try write(first)
            return try write(second)
        }
    }

    /// Ends the run: one audit event with its counts.
    mutating func finish(outcome: String) throws(IngestError) -> AuditReceipt? {
        do { return try store.finishRun(run, outcome: outcome) } catch { throw .database(error) }
    }

    /// Whether a line holds a whole record: one that parses, whatever else may be wrong with it.
    mutating func isReadable(_ batch: RecordBatch, _ range: Range<Int>) -> Bool {
        var scratch = MaskedBatch(shape: shape, domains: masker.domains.count, expecting: 1)
        defer { wipeBytes(&scratch.values) }
        return masker.mask(batch.bytes.span.extracting(range), date: 0, into: &scratch).map {
            ["malformed_json", "invalid_utf8"].contains($0)
        } != true
    }

    mutating func noteUndeleted(_ count: Int) { summary.undeleted += count }

    private mutating func drive(_ batch: RecordBatch, refusedByServer: Bool) throws(IngestError) -> Committed? {
        let deadline = ContinuousClock.now + options.retryFor
        var backoff = Backoff()
        var outcomeIsUnknown = false
        while true {
            let failure: PostgresError
            do {
                return try commit(batch, refusedByServer: refusedByServer)
            } catch {
                guard case .database(let cause) = error else { throw error }
                failure = cause
            }
            if failure.state == .fileAdvancedByAnother {
                if outcomeIsUnknown, try hasCommitted(batch) { return nil }
                throw .fileInUse(batch.origin.name)
            }
            guard failure.isTransient, !options.shouldStop(), ContinuousClock.now < deadline else {
                throw .database(failure)
            }
            if case .commitUnknown = failure {
                // Nothing tells what a pipe's lost COMMIT did: to drive it again might store it twice.
                if case .stream = batch.origin { throw .database(failure) }
                outcomeIsUnknown = true
            }
            keys.forgetUnstored()
            backoff.sleep()
            if failure.needsReconnect { reconnect(until: deadline, &backoff) }
        }
    }

    private mutating func reconnect(until deadline: ContinuousClock.Instant, _ backoff: inout Backoff) {
        while ContinuousClock.now < deadline, !options.shouldStop() {
            if let store = try? VaultStore.open(options.database) {
                self.store = store
                return
            }
            backoff.sleep()
        }
    }

    private mutating func commit(_ batch: RecordBatch, refusedByServer: Bool) throws(IngestError) -> Committed {
        do { try store.begin() } catch { throw .database(error) }
        do throws(IngestError) {
            do { sent.enter(epoch: try store.enterBatch()) } catch { throw .database(error) }
            let admission = try admit(batch)
            let work = try stage(batch, admission, refusedByServer: refusedByServer)
            let committed = try send(work, repeated: admission.repeated.count)
            for slot in work.newKeys { slot.isStored = true }
            sent.insert(work.sentTokens)
            summary.add(work.summary)
            options.progress(summary)
            return committed
        } catch {
            store.rollback()
            throw error
        }
    }

    private mutating func send(_ work: StagedWork, repeated: Int) throws(IngestError) -> Committed {
        do {
            for slot in work.newKeys { try store.insertDataKey(slot.signed.record, run: run) }
            if work.rowCount > 0 { try store.copyLogins(work.rows, shape: shape) }
            for group in work.groups { try store.insertOriginals(group) }
            for pairs in work.successors { try store.insertSuccessors(pairs) }
            for record in work.quarantined { try store.insertQuarantined(record, run: run) }
            try store.addRunCounts(  // last: it locks the run's row
                run, stored: work.rowCount, repeated: repeated, quarantined: work.quarantined.count)
            return try store.commit()
        } catch { throw .database(error) }
    }
}
