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
            let rows = try moveAllRows(rotation, isSweep: staged == 0)
            if staged == 0, rows.moved == 0 { return try finishTokenKey(rotation, stuck: rows.stuck) }
            do { try store.nextRotationPass(rotation, rowsBefore: nil) } catch { throw .database(error) }
        }
        throw .stillWritten(passes: Self.maximumPasses)
    }

    private mutating func finishTokenKey(_ rotation: UInt128, stuck: Int) throws(RotationError) {
        do {
            summary.dropped = try store.dropOldOriginals(rotation)
            let state = try record(rotation)
            (summary.values, summary.rows) = (state.valuesDone, state.rowsDone)
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
        let state = try record(rotation)
        let total: Int
        do { total = try store.countOriginals(except: target) } catch { throw .database(error) }
        var (place, sum, staged, done) = (state.place, state.valueSum, 0, 0)
        var reader = try pageReader(state)
        var next = try nextStaged(rotation, &reader, target, fingerprint)
        while let work = next {
            do {
                let pending = try send(work, rotation: rotation, from: place, sum: sum)
                next = reader.readsAhead ? try nextStaged(rotation, &reader, target, fingerprint) : nil
                let wrong = try unopenable(try store.successorsStored(pending), rotation: rotation)
                guard wrong.isEmpty else {
                    // Their groups stay under the old key: what stands under the new token was not written by a known
                    // writer. The page is made again without them, and so is the next, which counted on its networks.
                    store.rollback()
                    forgetUncertain()
                    let refused = Set(wrong.compactMap { work.origins[$0.token] })
                    next = try stage(work.page, target: target, fingerprint: fingerprint, except: refused)
                    next?.leftAlone += wrong.map {
                        (token: work.origins[$0.token] ?? $0.token, reason: "under its new token: \($0.reason)")
                    }
                    reader.goBack(to: work.page.end)
                    continue
                }
                _ = try store.commit()
                for key in work.keys { key.isStored = true }
                try note(work.leftAlone, rotation: rotation)
                (place, sum) = (work.page.end, sum &+ work.sum)
                staged += work.batch.originals
                done += work.page.originals.count
                report("originals", pass: state.pass, done: done, total: max(total, done))
                try pause(after: work.page.originals.count)
                if next == nil { next = try nextStaged(rotation, &reader, target, fingerprint) }
            } catch { throw wrapped(error) }
        }
        return staged
    }

    private mutating func send(
        _ work: Staged, rotation: UInt128, from place: UInt128?, sum: UInt128
    ) throws(PostgresError) -> PendingStatement {
        try store.begin()
        try storeFreshKeys(work.keys, rotation: rotation)
        return try store.sendSuccessors(rotation, from: place, to: work.page.end, valueSum: sum &+ work.sum, work.batch)
    }

    private mutating func nextStaged(
        _ rotation: UInt128, _ reader: inout PageReader, _ target: KeyVersion, _ fingerprint: ValueFingerprint
    ) throws(RotationError) -> Staged? {
        guard let page = try nextPage(rotation, &reader) else { return nil }
        return try stage(page, target: target, fingerprint: fingerprint)
    }

    private struct Staged {
        let page: RotationPage
        var batch = SuccessorBatch()
        var sum: UInt128 = 0
        var leftAlone: [(token: UInt128, reason: String)] = []
        var keys: [FreshKey] = []
        /// New tokens, and the old ones that they succeed.
        var origins: [UInt128: UInt128] = [:]
    }

    private mutating func stage(
        _ page: RotationPage, target: KeyVersion, fingerprint: ValueFingerprint, except refused: Set<UInt128> = []
    ) throws(RotationError) -> Staged {
        var work = Staged(page: page)
        if pairedNetworks.count > 4_000_000 { pairedNetworks = [] }  // a pair may stand twice
        var sealed: [UInt8] = []
        for original in page.originals where !refused.contains(original.token) {
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
            work.batch.addOriginal(old: original, new: newBits, dataKey: key.record.id, sealed: sealed.span)
            work.origins[newBits] = original.token
            work.sum &+= fingerprint.code(of: value, domain: domain.name)
            var slice = Self.slice(original.token)
            if let derived = domain.derived, let network = normalized.network {
                let oldNetwork = try tokenizers.tokenizer(derived, oldVersion, ingest)
                let bits = oldNetwork.tokenizer.bits(of: network)
                slice = Self.slice(bits)
                if pairedNetworks.insert(bits).inserted {
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

    /// New tokens that stood already, because ingest writes them too, must open to the same value.
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

    /// Moves the rows of every pair, slice by slice.
    ///
    /// - Parameter isSweep: every original was paired before; looks first whether any row is left.
    /// - Returns: how many rows changed, and how many tokens no pair can move.
    private mutating func moveAllRows(
        _ rotation: UInt128, isSweep: Bool
    ) throws(RotationError) -> (moved: Int, stuck: Int) {
        var moved = 0
        do {
            var rows = 0
            if isSweep {
                guard try store.oldRows(rotation) > 0 else { return (0, 0) }
                let left = try store.rowsToMove(rotation)
                guard left.movable > 0 else { return (0, left.stuck) }
                rows = left.movable / 3
            } else {
                rows = try store.rowsAbout()
            }
            try store.analyzeSuccessors()
            let parts = Int32(min(65_536, max(1, (rows + options.rowsPerMove - 1) / options.rowsPerMove)))
            let pass = try record(rotation).pass
            for part in 0..<parts {
                let first = Int32(65_536 * Int(part) / Int(parts))
                let last = Int32(65_536 * (Int(part) + 1) / Int(parts)) - 1
                let changed = try store.moveRows(rotation, slices: first...last)
                moved += changed
                report("rows", pass: pass, done: Int(part) + 1, total: Int(parts))
                try pause(after: changed)
            }
        } catch { throw wrapped(error) }
        return (moved, 0)
    }
}
