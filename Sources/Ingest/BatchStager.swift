import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// Turns a batch's records into what its transaction sends: rows, sealed originals, sealed refusals.
///
/// In steps, most of a millisecond or less, so that a batch can be staged while the server works on the one before. What is
/// staged ahead relies on that one's commit: ``isValid(_:)`` tells whether it came as expected.
struct BatchStager: ~Copyable {
    /// Records masked, or values sealed, in one step.
    private static let perStep = 128

    let identity: RecordIdentity
    private var masker: Masker
    private var keys: RunKeys
    private var sent = SentTokens()
    private var lastNumber = 0
    /// The work committed last.
    private var committed: Int?

    init(masker: consuming Masker, keys: consuming RunKeys, identity: consuming RecordIdentity) {
        self.masker = masker
        self.keys = keys
        self.identity = identity
    }

    var shape: LoginTableShape { masker.shape }

    /// A number that nothing else of this run has.
    mutating func nextNumber() -> Int {
        lastNumber += 1
        return lastNumber
    }

    /// Takes note that originals were removed since, if the epoch is another.
    mutating func enter(epoch: Int) { sent.enter(epoch: epoch) }

    /// Takes note that `work` is committed.
    mutating func note(_ work: StagedWork) {
        for key in work.keys { key.isStored = true }
        sent.insert(work.sentTokens)
        committed = work.id
    }

    /// Takes note that a transaction was not committed: its data keys are nowhere.
    mutating func forgetUnstored() { keys.forgetUnstored() }

    /// Whether all that `staging` left out is in the vault: to be asked in the transaction that sends it.
    func isValid(_ staging: Staging) -> Bool {
        staging.follows == committed && staging.epoch == sent.epoch
    }

    /// Begins to stage `batch`.
    ///
    /// - Parameter work: what is being sent. Its originals are left out, which holds only if it commits as it is.
    mutating func begin(
        _ batch: RecordBatch, _ admission: Admission = Admission(), refusedByServer: Bool = false,
        after work: StagedWork? = nil
    ) -> Staging {
        var staging = Staging(
            serial: batch.serial, admission: admission, refusedByServer: refusedByServer,
            follows: work?.id ?? committed, promised: Set(work?.sentTokens ?? []), epoch: sent.epoch,
            work: StagedWork(id: nextNumber(), rows: CopyRows(columns: 0, capacity: 0)),
            masked: MaskedBatch(shape: shape, domains: masker.domains.count, expecting: batch.records.count))
        staging.work.summary.batches = 1
        return staging
    }

    /// Takes the staging of `batch` one step further, until it is done. After an error it is of no use any more.
    mutating func advance(_ staging: inout Staging, of batch: RecordBatch) throws(IngestError) {
        do {
            if staging.position < batch.records.count {
                mask(batch, in: &staging)
            } else if let unsealed = staging.unsealed {
                if let domain = unsealed.firstIndex(where: { !$0.isEmpty }) {
                    try seal(domain, in: &staging)
                } else {
                    try finish(batch, in: &staging)
                }
            } else {
                select(in: &staging)
            }
        } catch {
            drop(&staging)
            throw error
        }
    }

    /// Wipes what a staging that is not needed any more holds.
    mutating func drop(_ staging: inout Staging) {
        wipeBytes(&staging.masked.values)
        wipe()
    }

    /// Wipes what is left of the last record.
    mutating func wipe() { masker.wipe() }

    /// Whether a line holds a whole record: one that parses, whatever else may be wrong with it.
    mutating func isReadable(_ batch: RecordBatch, _ range: Range<Int>) -> Bool {
        var scratch = MaskedBatch(shape: shape, domains: masker.domains.count, expecting: 1)
        defer { wipeBytes(&scratch.values) }
        return masker.mask(batch.bytes.span.extracting(range), date: 0, into: &scratch).map {
            ["malformed_json", "invalid_utf8"].contains($0)
        } != true
    }

    private mutating func mask(_ batch: RecordBatch, in staging: inout Staging) {
        let end = min(staging.position + Self.perStep, batch.records.count)
        for index in staging.position..<end {
            let record = batch.records[index]
            if staging.admission.repeated.contains(index) {
                staging.work.summary.repeated += 1
            } else if staging.admission.conflicting.contains(index) {
                staging.refused.append((index, "conflicting_body"))
            } else if staging.refusedByServer {
                staging.refused.append((index, "refused_by_database"))
            } else if record.isTruncated {
                staging.refused.append((index, "too_large"))
            } else if let cause = masker.mask(
                batch.bytes.span.extracting(record.range), date: record.date, into: &staging.masked)
            {
                staging.refused.append((index, cause))
            }
        }
        staging.work.summary.read += end - staging.position
        staging.position = end
    }

    /// Sorts what was found, and leaves out what the vault has or will have by then.
    private func select(in staging: inout Staging) {
        let unsealed = staging.masked.originals.map { originals in
            OriginalReference.sortedUnique(originals) { sent.contains($0) || staging.promised.contains($0) }[...]
        }
        staging.unsealed = unsealed
        staging.work.sentTokens = unsealed.flatMap { $0.map(\.bits) }
        staging.work.successors = successors(of: unsealed, in: staging.masked)
    }

    /// While a token key is being rotated: which older tokens stand for the values of this batch.
    private func successors(
        of unsealed: [ArraySlice<OriginalReference>], in masked: borrowing MaskedBatch
    ) -> [SuccessorPairs] {
        var successors: [SuccessorPairs] = []
        for (domain, fresh) in zip(masker.domains, unsealed) {
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

    private mutating func seal(_ index: Int, in staging: inout Staging) throws(IngestError) {
        guard let rest = staging.unsealed?[index] else { return }
        let domain = masker.domains[index]
        let key = try keys.key(for: domain.name)
        let part = rest.prefix(min(Self.perStep, key.sealer.room))
        if staging.work.groups.last?.dataKey != key.record.id {
            staging.work.groups.append(
                OriginalGroup(
                    domain: domain.name, tokenVersion: domain.version.number, dataKey: key.record.id,
                    expected: rest.count))
        }
        let group = staging.work.groups.count - 1
        var sealed: [UInt8] = []
        for original in part {
            sealed.removeAll(keepingCapacity: true)
            do {
                try key.sealer.seal(
                    staging.masked.values.span.extracting(original.range), bits: original.bits, into: &sealed)
            } catch { throw .sealing(error) }
            staging.work.groups[group].tokens.append(uuid: original.bits)
            staging.work.groups[group].sealed.append(sealed.span)
        }
        note(key, in: &staging)
        staging.unsealed?[index] = rest.dropFirst(part.count)
    }

    private mutating func finish(_ batch: RecordBatch, in staging: inout Staging) throws(IngestError) {
        for (index, cause) in staging.refused {
            staging.work.quarantined.append(try sealRefused(batch.records[index], of: batch, cause, in: &staging))
            staging.work.summary.quarantined[cause, default: 0] += 1
        }
        swap(&staging.work.rows, &staging.masked.rows)
        staging.work.summary.stored = staging.work.rows.count
        staging.work.summary.unknownKeys = staging.masked.unknownKeys
        staging.work.summary.originalsSent = staging.work.sentTokens.count
        drop(&staging)
        staging.isDone = true
    }

    private mutating func sealRefused(
        _ record: SourceRecord, of batch: RecordBatch, _ cause: String, in staging: inout Staging
    ) throws(IngestError) -> QuarantinedRecord {
        let key = try keys.key(for: Domain.quarantineName)
        note(key, in: &staging)
        let id = RandomBytes.uuid()
        var sealed: [UInt8] = []
        do {
            try key.sealer.sealRecord(batch.bytes.span.extracting(record.range), id: id, into: &sealed)
        } catch { throw .sealing(error) }
        // A message that comes back is one entry. A line has its file's offset for that, and tomorrow's file may hold
        // the same bytes at the same place: its MAC covers the entry's own id as well.
        var marked = Array(batch.bytes[record.range])
        defer { wipeBytes(&marked) }
        if case .queue = batch.origin {} else { marked += id.bigEndianBytes }
        return QuarantinedRecord(
            id: id, source: batch.origin.name, position: record.position.description, cause: cause,
            isTruncated: record.isTruncated,
            bodyMAC: try identity.bodyMAC(of: marked[...], version: identity.activeVersion),
            dataKey: key.record.id, sealed: sealed)
    }

    private func note(_ key: SealingKey, in staging: inout Staging) {
        if !staging.work.keys.contains(where: { $0 === key }) { staging.work.keys.append(key) }
    }
}
