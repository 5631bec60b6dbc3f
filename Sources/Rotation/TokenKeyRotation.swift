import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// Re-tokenises: new originals are put beside the old ones, with the pairs of tokens; then rows move, whole groups in one
/// transaction; at the end, when no row is left, the old originals go. So every token in a row has its original at any
/// moment, and no group is ever split.
///
/// Passes are repeated until one finds nothing: an ingest that was under way may add rows under the old key.
extension RotationRun {
    private static let maximumPasses = 20

    mutating func rotateTokenKey() throws(RotationError) {
        let target = ingest.activeTokenKey
        let rotation: UInt128
        do {
            rotation = try store.beginRotation(.tokenKey, target: target, scope: nil, id: RandomBytes.uuid())
            summary.id = rotation
            let state = try record(rotation)
            if state.rowsBefore == nil, state.rowsDone == 0, state.valuesDone == 0 {
                let before = options.takesFingerprint ? try store.rowFingerprint(version: nil) : "{}"
                try store.nextRotationPass(rotation, rowsBefore: before)
            }
        } catch { throw wrapped(error) }
        for _ in 0..<Self.maximumPasses {
            let staged = try stageOriginals(rotation, target: target)
            let moved = try moveAllRows(rotation, isSweep: staged == 0)
            if staged == 0, moved == 0 { return try finishTokenKey(rotation) }
            do { try store.nextRotationPass(rotation, rowsBefore: nil) } catch { throw .database(error) }
        }
        throw .stillWritten(passes: Self.maximumPasses)
    }

    private mutating func finishTokenKey(_ rotation: UInt128) throws(RotationError) {
        do {
            summary.dropped = try store.dropOldOriginals(rotation)
            let stuck = try store.oldRows(rotation) == 0 ? 0 : try store.rowsToMove(rotation).stuck
            let state = try store.rotations(limit: 1).first
            (summary.values, summary.rows) = (state?.valuesDone ?? 0, state?.rowsDone ?? 0)
            let left = summary.leftAlone.count
            summary.receipt = try store.finishRotation(
                rotation,
                outcome:
                    "values \(summary.values), rows \(summary.rows), left alone \(left), rows without original \(stuck)"
            )
            if stuck > 0, left == 0 { throw RotationError.rowsWithoutOriginal(stuck) }
        } catch { throw wrapped(error) }
    }

    /// Puts a new original and a pair beside every old one. Returns how many were new.
    private mutating func stageOriginals(_ rotation: UInt128, target: KeyVersion) throws(RotationError) -> Int {
        let fingerprint = try ValueFingerprint(ingest, version: target)
        var state = try record(rotation)
        let total: Int
        do { total = try store.countOriginals(except: target) } catch { throw .database(error) }
        var (place, sum, staged, done) = (state.place, state.valueSum, 0, 0)
        while true {
            let page: [SealedOriginal]
            do { page = try store.rotationPage(rotation, after: place, limit: options.pageSize) } catch {
                throw .database(error)
            }
            guard let last = page.last else { break }
            try open(dataKeys: page.map(\.dataKey))
            var work = try stage(page, target: target, fingerprint: fingerprint)
            let end = last.token
            try commit(
                &work, rotation: rotation, from: place, to: end, sum: sum, target: target, fingerprint: fingerprint)
            (place, sum) = (end, sum &+ work.sum)
            staged += work.batch.originals
            done += page.count
            report("originals", pass: state.pass, done: done, total: max(total, done))
            try pause(after: page.count)
        }
        if staged > 0 { state = try record(rotation) }
        return staged
    }

    private struct Staged {
        var batch = SuccessorBatch()
        var sum: UInt128 = 0
        var leftAlone: [(token: UInt128, reason: String)] = []
        var keys: [FreshKey] = []
        /// New tokens, and the old ones that they succeed.
        var origins: [UInt128: UInt128] = [:]
    }

    private mutating func stage(
        _ page: [SealedOriginal], target: KeyVersion, fingerprint: ValueFingerprint, except refused: Set<UInt128> = []
    ) throws(RotationError) -> Staged {
        var work = Staged()
        var networks: Set<UInt128> = []
        var sealed: [UInt8] = []
        for original in page where !refused.contains(original.token) {
            var value: [UInt8]
            let normalized: NormalizedValue
            let domain: Domain
            do {
                (value, normalized, domain) = try self.value(of: original)
            } catch let left as LeftAlone {
                work.leftAlone.append((original.token, left.reason))
                continue
            } catch { throw wrapped(error) }
            defer { wipe(&value) }
            guard let oldVersion = KeyVersion(original.version) else { continue }
            let old = try tokenizers.tokenizer(domain.name, oldVersion, ingest)
            let new = try tokenizers.tokenizer(domain.name, target, ingest)
            let newBits = new.tokenizer.bits(of: normalized)
            let key = try freshKey(domain.name, version: target, count: 1)
            if !work.keys.contains(where: { $0 === key }) { work.keys.append(key) }
            sealed.removeAll(keepingCapacity: true)
            do { try key.sealer.seal(value.span, bits: newBits, into: &sealed) } catch {
                work.leftAlone.append((original.token, "\(error)"))
                continue
            }
            work.batch.addOriginal(
                old: original.token, new: newBits, domain: domain.name, dataKey: key.record.id, sealed: sealed.span)
            work.origins[newBits] = original.token
            work.sum &+= fingerprint.code(of: value, domain: domain.name)
            var slice = Self.slice(original.token)
            if let derived = domain.derived, let network = normalized.network {
                let oldNetwork = try tokenizers.tokenizer(derived, oldVersion, ingest)
                let bits = oldNetwork.tokenizer.bits(of: network)
                slice = Self.slice(bits)
                if networks.insert(bits).inserted {
                    let newNetwork = try tokenizers.tokenizer(derived, target, ingest)
                    work.batch.addPair(
                        old: Self.text(bits, oldNetwork),
                        new: Self.text(newNetwork.tokenizer.bits(of: network), newNetwork), domain: derived,
                        oldVersion: original.version, slice: slice)
                }
            }
            work.batch.addPair(
                old: Self.text(original.token, old), new: Self.text(newBits, new), domain: domain.name,
                oldVersion: original.version, slice: slice)
        }
        return work
    }

    private static func text(_ bits: UInt128, _ holder: TokenizerHolder) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(holder.tokenizer.textByteCount)
        holder.tokenizer.appendText(of: bits, to: &text)
        return text
    }

    /// 0 to 65535. An address goes by its network, so that both columns of a row move at once.
    private static func slice(_ bits: UInt128) -> Int32 { Int32(truncatingIfNeeded: bits >> 112) & 0xFFFF }

    /// Commits a page. A new token that stood already, because ingest writes it too, must open to the same value.
    private mutating func commit(
        _ work: inout Staged, rotation: UInt128, from: UInt128?, to: UInt128, sum: UInt128, target: KeyVersion,
        fingerprint: ValueFingerprint
    ) throws(RotationError) {
        do {
            try store.begin()
            try storeFreshKeys(work.keys, rotation: rotation)
            let standing = try store.storeSuccessors(
                rotation, from: from, to: to, valueSum: sum &+ work.sum, work.batch)
            let wrong = try unopenable(standing, rotation: rotation)
            if !wrong.isEmpty {
                // Their groups stay under the old key: what stands under the new token was not written by a known writer.
                store.rollback()
                let tokens = Set(wrong.compactMap { work.origins[$0.token] })
                let page = try store.rotationPage(rotation, after: from, limit: options.pageSize)
                let noted = wrong.map {
                    (token: work.origins[$0.token] ?? $0.token, reason: "under its new token: \($0.reason)")
                }
                fresh = [:]
                work = try stage(
                    page.filter { $0.token <= to }, target: target, fingerprint: fingerprint, except: tokens)
                work.leftAlone += noted
                return try commit(
                    &work, rotation: rotation, from: from, to: to, sum: sum, target: target, fingerprint: fingerprint)
            }
            _ = try store.commit()
            for key in work.keys { key.isStored = true }
        } catch { throw wrapped(error) }
        try note(work.leftAlone, rotation: rotation)
    }

    private mutating func unopenable(
        _ tokens: [UInt128], rotation: UInt128
    ) throws(RotationError) -> [(token: UInt128, reason: String)] {
        guard !tokens.isEmpty else { return [] }
        var wrong: [(token: UInt128, reason: String)] = []
        do {
            let standing = try store.rotationOriginals(rotation, tokens: tokens)
            try open(dataKeys: standing.map(\.dataKey))
            for original in standing {
                do {
                    var value = try value(of: original).value
                    wipe(&value)
                } catch let left as LeftAlone { wrong.append((original.token, left.reason)) }
            }
        } catch { throw wrapped(error) }
        return wrong
    }

    /// Moves the rows of every pair, slice by slice. Returns how many rows changed.
    private mutating func moveAllRows(_ rotation: UInt128, isSweep: Bool) throws(RotationError) -> Int {
        var moved = 0
        do {
            var waiting = try store.oldRows(rotation)
            if isSweep, waiting > 0 { waiting = try store.rowsToMove(rotation).movable }
            guard waiting > 0 else { return 0 }
            try store.analyzeSuccessors()
            let parts = Int32(min(65_536, max(1, (waiting + 3 * options.rowsPerMove - 1) / (3 * options.rowsPerMove))))
            let pass = try record(rotation).pass
            for part in 0..<parts {
                let first = Int32(65_536 * Int(part) / Int(parts))
                let last = Int32(65_536 * (Int(part) + 1) / Int(parts)) - 1
                let rows = try store.moveRows(rotation, slices: first...last)
                moved += rows
                report("rows", pass: pass, done: Int(part) + 1, total: Int(parts))
                try pause(after: rows)
            }
        } catch { throw wrapped(error) }
        return moved
    }
}
