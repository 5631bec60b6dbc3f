import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// Re-encrypts originals, and quarantined records, under fresh signed data keys; then removes the data keys that nothing
/// needs. Compare-and-set: an original that changed since it was read is read again.
extension RotationRun {
    mutating func rotateDataKeys() throws(RotationError) {
        let rotation: UInt128
        do {
            rotation = try store.beginRotation(.dataKeys, target: nil, scope: options.scope, id: RandomBytes.uuid())
            summary.id = rotation
            for _ in 0..<20 {
                let done = try resealOriginals(rotation)
                try store.nextRotationPass(rotation, rowsBefore: nil)
                if done == 0 { break }
            }
            try resealQuarantine(rotation)
            let unused = try store.dropUnusedDataKeys(rotation)
            summary.dropped = unused.dropped
            if unused.kept > 0 {
                options.warn(
                    "\(unused.kept) replaced data keys are kept because the ingest run that made them has no end yet; a later rotation removes them"
                )
            }
            summary.values = try record(rotation).valuesDone
            summary.receipt = try store.finishRotation(
                rotation,
                outcome:
                    "values \(summary.values), data keys removed \(summary.dropped), left alone \(summary.leftAlone.count)"
            )
        } catch { throw wrapped(error) }
    }

    private mutating func resealOriginals(_ rotation: UInt128) throws(RotationError) -> Int {
        let fingerprint = try ValueFingerprint(ingest, version: ingest.activeTokenKey)
        let state = try record(rotation)
        var (place, sum, done) = (state.place, state.valueSum, 0)
        let total: Int
        do { total = try store.countOriginals(except: nil) } catch { throw .database(error) }
        var reader = try pageReader(state)
        var next = try nextResealed(rotation, &reader, fingerprint)
        while let work = next {
            do {
                try store.begin()
                try Self.storeFreshKeys(work.keys, rotation: rotation, in: &store)
                let pending = try store.sendResealed(
                    rotation, from: place, to: work.end, valueSum: sum &+ work.sum, work.batch)
                next = reader.readsAhead ? try nextResealed(rotation, &reader, fingerprint) : nil
                guard try store.resealedStored(pending) == work.batch.count else {
                    store.rollback()  // somebody removed or changed one meanwhile: read again
                    forgetUncertain()
                    reader.goBack(to: place)
                    next = try nextResealed(rotation, &reader, fingerprint)
                    continue
                }
                _ = try store.commit()
                for key in work.keys { key.isStored = true }
                try note(work.leftAlone, rotation: rotation)
                (place, sum) = (work.end, sum &+ work.sum)
                done += work.batch.count
                report(
                    "originals", pass: state.pass, done: state.valuesDone + done,
                    total: max(total, state.valuesDone + done))
                try pause(after: work.count)
                if !reader.readsAhead { next = try nextResealed(rotation, &reader, fingerprint) }
            } catch { throw wrapped(error) }
        }
        return done
    }

    private mutating func nextResealed(
        _ rotation: UInt128, _ reader: inout PageReader, _ fingerprint: ValueFingerprint
    ) throws(RotationError) -> Resealed? {
        guard let page = try nextPage(rotation, &reader) else { return nil }
        var work = try reseal(page.originals, fingerprint: fingerprint)
        (work.end, work.count) = (page.end, page.originals.count)
        return work
    }

    private struct Resealed {
        var batch = ResealedBatch()
        /// Of the page: where the cursor goes, and how many originals were read.
        var end: UInt128?
        var count = 0
        var sum: UInt128 = 0
        var leftAlone: [(token: UInt128, reason: String)] = []
        var keys: [SealingKey] = []
    }

    private mutating func reseal(
        _ page: [SealedOriginal], fingerprint: ValueFingerprint
    ) throws(RotationError) -> Resealed {
        var work = Resealed()
        var sealed: [UInt8] = []
        for original in page {
            do {
                var (value, _, domain) = try value(of: original)
                defer { wipe(&value) }
                guard let version = KeyVersion(original.version) else { continue }
                let key = try freshKey(domain.name, version: version)
                if !work.keys.contains(where: { $0 === key }) { work.keys.append(key) }
                sealed.removeAll(keepingCapacity: true)
                try key.sealer.seal(value.span, bits: original.token, into: &sealed)
                work.batch.add(original, newKey: key.record.id, sealed: sealed.span)
                work.sum &+= fingerprint.code(of: value, domain: domain.name)
            } catch let left as LeftAlone {
                work.leftAlone.append((original.token, left.reason))
            } catch let error as RotationError {
                throw error
            } catch {
                work.leftAlone.append((original.token, "\(error)"))
            }
        }
        return work
    }

    private mutating func resealQuarantine(_ rotation: UInt128) throws(RotationError) {
        do {
            while true {
                let page = try store.rotationQuarantinePage(rotation, limit: 200)
                guard !page.isEmpty else { return }
                try open(dataKeys: page.map(\.dataKey))
                let key = try freshKey(Domain.quarantineName, version: ingest.activeTokenKey, count: page.count)
                var (records, left):
                    ([(id: UInt128, oldKey: UInt128, sealed: [UInt8])], [(token: UInt128, reason: String)]) = ([], [])
                for record in page {
                    do {
                        guard let old = opened[record.dataKey] else { continue }
                        var bytes = try SealedValue.openRecord(
                            record.sealed.span, id: record.id, dataKey: try old.get().key)
                        defer { wipe(&bytes) }
                        var sealed: [UInt8] = []
                        try key.sealer.sealRecord(bytes.span, id: record.id, into: &sealed)
                        records.append((record.id, record.dataKey, sealed))
                    } catch let error as LeftAlone {
                        left.append((record.id, error.reason))
                    } catch { left.append((record.id, "\(error)")) }
                }
                if !records.isEmpty {
                    try store.begin()
                    try Self.storeFreshKeys([key], rotation: rotation, in: &store)
                    try store.replaceQuarantined(rotation, records, newKey: key.record.id)
                    _ = try store.commit()
                    key.isStored = true
                }
                try note(left, rotation: rotation)
                try pause(after: page.count)
            }
        } catch { throw wrapped(error) }
    }
}
