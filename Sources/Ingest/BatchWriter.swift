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

    private var store: VaultStore
    private var keys: RunKeys
    private var masker: Masker
    private var sent = SentTokens()
    private let shape: LoginTableShape
    private let identity: RecordIdentity

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
            _ = try writer.store.transaction { store throws(PostgresError) in try store.beginRun(run, source: String(source.prefix(1024))) }
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
    mutating func finish(outcome: String) throws(IngestError) {
        do { try store.finishRun(run, outcome: outcome) } catch { throw .database(error) }
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

    // MARK: Files

    /// Where to go on in a file: its ledger entry, made when it is new.
    mutating func admitFile(named name: String, prefix: [UInt8]) throws(IngestError) -> RecordBatch.Origin {
        do {
            for known in try store.findFiles(named: name) {
                guard prefix.count >= known.prefixLength else { throw IngestError.inputChanged(name) }
                let mac = try identity.fileFingerprint(of: prefix[..<known.prefixLength], version: known.keyVersion)
                guard ConstantTime.equal(mac, known.fingerprint) else { continue }
                if known.keyVersion < identity.activeVersion {  // so that the old key can be destroyed one day
                    let version = identity.activeVersion
                    try store.rekeyFile(
                        known.id, keyVersion: version, prefixLength: prefix.count,
                        fingerprint: try identity.fileFingerprint(of: prefix[...], version: version))
                }
                return .file(id: known.id, name: name, from: known.committedOffset, fromLine: known.committedLines)
            }
            let id = RandomBytes.uuid()
            let version = identity.activeVersion
            let mac = try identity.fileFingerprint(of: prefix[...], version: version)
            try store.registerFile(
                id, name: name, keyVersion: version, prefixLength: prefix.count, fingerprint: mac)
            return .file(id: id, name: name, from: 0, fromLine: 0)
        } catch let error as PostgresError {
            throw error.state == .fileAdvancedByAnother ? .fileInUse(name) : .database(error)
        } catch let error as IngestError {
            throw error
        } catch {
            throw .inputChanged(name)
        }
    }

    // MARK: One batch

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
            if case .commitUnknown = failure { outcomeIsUnknown = true }
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

    private mutating func hasCommitted(_ batch: RecordBatch) throws(IngestError) -> Bool {
        guard case .file(let id, let name, _, _) = batch.origin, case .line(_, let end)? = batch.records.last?.position
        else { return false }
        do {
            return try store.findFiles(named: name).contains { $0.id == id && $0.committedOffset >= end }
        } catch {
            throw .database(error)
        }
    }

    private mutating func commit(_ batch: RecordBatch, refusedByServer: Bool) throws(IngestError) -> Committed {
        do { try store.begin() } catch { throw .database(error) }
        do throws(IngestError) {
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

    /// What the ledger says of a batch's records.
    private struct Admission {
        /// Processed before: indices that are not to be stored again.
        var repeated: Set<Int> = []
        /// Their id stands with another body.
        var conflicting: Set<Int> = []
    }

    private mutating func admit(_ batch: RecordBatch) throws(IngestError) -> Admission {
        var admission = Admission()
        switch batch.origin {
        case .stream: break
        case .file(let id, _, let from, let fromLine):
            guard case .line(let line, let end)? = batch.records.last?.position else { break }
            do {
                try store.advanceFile(id, from: from, to: end, lines: line - fromLine)
            } catch { throw .database(error) }
        case .quarantine(let id, let reason):
            do { try store.resolveQuarantine(id, resolution: "replayed", reason: reason) } catch {
                throw .database(error)
            }
        case .queue(let name):
            var ids: [String] = []
            var macs: [[UInt8]] = []
            for record in batch.records {
                ids.append(record.position.description)
                macs.append(try identity.bodyMAC(of: batch.bytes[record.range], version: identity.activeVersion))
            }
            let known: [KnownMessage]
            do {
                known = try store.claimMessages(
                    queue: name, ids: ids, keyVersion: identity.activeVersion, bodyMACs: macs)
            } catch { throw .database(error) }
            for message in known {
                let body = batch.bytes[batch.records[message.index].range]
                // A body MAC under a key that is gone cannot be compared; the id alone then tells.
                if identity.knows(message.keyVersion),
                    !ConstantTime.equal(try identity.bodyMAC(of: body, version: message.keyVersion), message.bodyMAC)
                {
                    admission.conflicting.insert(message.index)
                } else {
                    admission.repeated.insert(message.index)
                }
            }
        }
        return admission
    }

    /// Everything a transaction sends, ready to send.
    private struct StagedWork {
        var rows: [UInt8]
        var rowCount: Int
        var groups: [OriginalGroup]
        var newKeys: [DataKeySlot]
        var quarantined: [QuarantinedRecord]
        var sentTokens: [UInt128]
        var successors: [SuccessorPairs]
        var summary: IngestSummary
    }

    private mutating func stage(
        _ batch: RecordBatch, _ admission: Admission, refusedByServer: Bool
    ) throws(IngestError) -> StagedWork {
        var counts = IngestSummary()
        counts.batches = 1
        var masked = MaskedBatch(shape: shape, domains: masker.domains.count, expecting: batch.records.count)
        defer { wipeBytes(&masked.values) }
        var refused: [(index: Int, cause: String)] = []
        for (index, record) in batch.records.enumerated() {
            counts.read += 1
            if admission.repeated.contains(index) {
                counts.repeated += 1
            } else if admission.conflicting.contains(index) {
                refused.append((index, "conflicting_body"))
            } else if refusedByServer {
                refused.append((index, "refused_by_database"))
            } else if record.isTruncated {
                refused.append((index, "too_large"))
            } else if let cause = masker.mask(
                batch.bytes.span.extracting(record.range), date: record.date, into: &masked)
            {
                refused.append((index, cause))
            }
        }
        if case .quarantine = batch.origin, let refusal = refused.first { throw .stillRefused(cause: refusal.cause) }
        counts.stored = masked.rows.count
        counts.unknownKeys = masked.unknownKeys
        for refusal in refused { counts.quarantined[refusal.cause, default: 0] += 1 }
        if let limit = options.maxQuarantined, summary.quarantinedTotal + refused.count > limit {
            throw .tooManyQuarantined(limit: limit)
        }
        var newKeys: [DataKeySlot] = []
        let (groups, sentTokens) = try seal(masked, &newKeys)
        let successors = successors(of: masked)
        counts.originalsSent = sentTokens.count
        let quarantined = try sealRefused(refused, of: batch, &newKeys)
        return StagedWork(
            rows: masked.rows.finished(), rowCount: counts.stored, groups: groups, newKeys: newKeys,
            quarantined: quarantined, sentTokens: sentTokens, successors: successors, summary: counts)
    }

    /// While a token key is being rotated: which older tokens stand for the values of this batch.
    private func successors(of masked: borrowing MaskedBatch) -> [SuccessorPairs] {
        var successors: [SuccessorPairs] = []
        for (domain, originals) in zip(masker.domains, masked.originals) where !domain.older.isEmpty {
            let fresh = OriginalReference.sortedUnique(originals) { sent.contains($0) }
            for older in domain.older {
                var own = SuccessorPairs(domain: domain.name, oldVersion: older.version)
                var networks = SuccessorPairs(domain: domain.derivedName ?? domain.name, oldVersion: older.version)
                for original in fresh {
                    guard
                        let value = try? NormalizedValue(
                            masked.values.span.extracting(original.range), kind: domain.kind)
                    else { continue }  // was normalised a moment ago
                    let pairs = domain.pairs(of: value, bits: original.bits, under: older)
                    own.pairs[pairs.value.old] = pairs.value.new
                    if let network = pairs.network { networks.pairs[network.old] = network.new }
                }
                successors.append(own)
                if domain.derivedName != nil { successors.append(networks) }
            }
        }
        return successors.sorted { ($0.domain, $0.oldVersion) < ($1.domain, $1.oldVersion) }
    }

    private mutating func seal(
        _ masked: borrowing MaskedBatch, _ newKeys: inout [DataKeySlot]
    ) throws(IngestError) -> ([OriginalGroup], [UInt128]) {
        var groups: [OriginalGroup] = []
        var all: [UInt128] = []
        for (domain, originals) in zip(masker.domains, masked.originals) {
            let fresh = OriginalReference.sortedUnique(originals) { sent.contains($0) }
            var rest = fresh[...]
            while !rest.isEmpty {
                let slot = try keys.slot(for: domain.name, count: 1)
                note(slot, in: &newKeys)
                let part = rest.prefix(RunKeys.maximumUses - slot.used)
                rest = rest.dropFirst(part.count)
                slot.used += part.count
                groups.append(try group(part, of: masked, domain: domain, slot))
            }
            all += fresh.map(\.bits)
        }
        return (groups, all)
    }

    private func group(
        _ originals: ArraySlice<OriginalReference>, of masked: borrowing MaskedBatch, domain: Masker.PersonalDomain,
        _ slot: DataKeySlot
    ) throws(IngestError) -> OriginalGroup {
        var group = OriginalGroup(
            domain: domain.name, tokenVersion: domain.version.number, dataKey: slot.signed.key.id,
            expected: originals.count)
        var sealed: [UInt8] = []
        for original in originals {
            sealed.removeAll(keepingCapacity: true)
            let token = Token(domain: domain.name, version: domain.version, bits: original.bits)
            do {
                try SealedValue.seal(
                    masked.values.span.extracting(original.range), token: token, dataKey: slot.signed.key, into: &sealed
                )
            } catch { throw .sealing(error) }
            group.tokens.append(uuid: original.bits)
            group.sealed.append(sealed.span)
        }
        return group
    }

    private mutating func sealRefused(
        _ refused: [(index: Int, cause: String)], of batch: RecordBatch, _ newKeys: inout [DataKeySlot]
    ) throws(IngestError) -> [QuarantinedRecord] {
        var records: [QuarantinedRecord] = []
        for (index, cause) in refused {
            let record = batch.records[index]
            let slot = try keys.slot(for: RunKeys.quarantineDomain, count: 1)
            note(slot, in: &newKeys)
            slot.used += 1
            let id = RandomBytes.uuid()
            var sealed: [UInt8] = []
            do {
                try SealedValue.sealRecord(
                    batch.bytes.span.extracting(record.range), id: id, dataKey: slot.signed.key, into: &sealed)
            } catch { throw .sealing(error) }
            records.append(
                QuarantinedRecord(
                    id: id, source: batch.origin.name, position: record.position.description, cause: cause,
                    isTruncated: record.isTruncated,
                    bodyMAC: try identity.bodyMAC(of: batch.bytes[record.range], version: identity.activeVersion),
                    dataKey: slot.signed.key.id, sealed: sealed))
        }
        return records
    }

    private func note(_ slot: DataKeySlot, in newKeys: inout [DataKeySlot]) {
        if !slot.isStored, !newKeys.contains(where: { $0 === slot }) { newKeys.append(slot) }
    }
}
