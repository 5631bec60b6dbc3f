import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// Turns a batch's records into what its transaction sends: rows, sealed originals, sealed refusals.
extension BatchWriter {
    /// Everything a transaction sends, ready to send.
    struct StagedWork {
        var rows: [UInt8]
        var rowCount: Int
        var groups: [OriginalGroup]
        var newKeys: [DataKeySlot]
        var quarantined: [QuarantinedRecord]
        var sentTokens: [UInt128]
        var successors: [SuccessorPairs]
        var summary: IngestSummary

        /// Keeps what is needed once the transaction has committed.
        mutating func dropWhatWasSent() {
            (rows, groups, quarantined, successors) = ([], [], [], [])
        }
    }

    mutating func stage(
        _ batch: RecordBatch, _ admission: Admission, refusedByServer: Bool
    ) throws(IngestError) -> StagedWork {
        var counts = IngestSummary()
        counts.batches = 1
        var masked = MaskedBatch(shape: shape, domains: masker.domains.count, expecting: batch.records.count)
        defer {
            wipeBytes(&masked.values)
            masker.wipe()  // its buffers hold the last record
        }
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
            // A message that comes back is one entry. A line has its file's offset for that, and tomorrow's file may hold
            // the same bytes at the same place: its MAC covers the entry's own id as well.
            var marked = Array(batch.bytes[record.range])
            defer { wipeBytes(&marked) }
            if case .queue = batch.origin {} else { marked += id.bigEndianBytes }
            records.append(
                QuarantinedRecord(
                    id: id, source: batch.origin.name, position: record.position.description, cause: cause,
                    isTruncated: record.isTruncated,
                    bodyMAC: try identity.bodyMAC(of: marked[...], version: identity.activeVersion),
                    dataKey: slot.signed.key.id, sealed: sealed))
        }
        return records
    }

    private func note(_ slot: DataKeySlot, in newKeys: inout [DataKeySlot]) {
        if !slot.isStored, !newKeys.contains(where: { $0 === slot }) { newKeys.append(slot) }
    }
}
