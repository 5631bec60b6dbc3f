import Foundation
import Keys
import Postgres
import Tokenization
import VaultCrypto
package import VaultStore

/// Proves, after a rotation and before its old key is given up, that nothing changed but the keys.
extension RotationRun {
    /// - Returns: what was compared, and where tokens of older versions are left.
    package mutating func verify(_ kind: RotationKind) throws(RotationError) -> [Finding] {
        do {
            let all = try store.rotations(limit: 50).filter { $0.kind == kind.rawValue }
            guard let last = all.first else { throw RotationError.nothingToVerify(kind) }
            switch kind {
            case .recoveryKey: return try verifySeals()
            case .dataKeys: return try verifyResealed(last)
            case .tokenKey: return try verifyTokens(last, earlier: all.dropFirst().filter { $0.target == last.target })
            }
        } catch { throw wrapped(error) }
    }

    /// Every data key is sealed to every active recovery key that may open it, and opens with this keyring.
    private mutating func verifySeals() throws -> [Finding] {
        var found: [Finding] = []
        for key in ingest.recoveryKeys where key.state == .active {
            let missing = try store.dataKeysWithoutSeal(to: key.id, domains: key.domains, own: [], after: nil, limit: 1)
            guard missing.isEmpty else {
                throw RotationError.differs("a data key is not sealed to \(key.name); run it again")
            }
            found.append(Finding("keys", place: key.name, "every data key is sealed to \(key.name)"))
        }
        var (place, count): (UInt128?, Int) = (nil, 0)
        while true {  // no key has the id 0, so every data key lacks its seal
            let page = try store.dataKeysWithoutSeal(
                to: KeyID(uuid: 0), domains: nil, own: recovery.recoveryKeyIDs, after: place, limit: 1_000)
            guard let last = page.last else { break }
            for record in page {
                do throws(DataKeyError) { _ = try recovery.open(record) } catch { throw RotationError.dataKey(error) }
            }
            count += page.count
            place = last.id
        }
        found.append(
            Finding(
                "keys", amount: count,
                "\(count) of \(count) data keys open with this recovery keyring to the key that was signed"))
        return found
    }

    private mutating func verifyResealed(_ last: RotationRecord) throws -> [Finding] {
        guard last.isFinished else { throw RotationError.differs("the rotation is unfinished; run it first") }
        let fingerprint = try ValueFingerprint(ingest, version: ingest.activeTokenKey)
        var (place, count, sum): (UInt128?, Int, UInt128) = (nil, 0, 0)
        while true {
            let page = try store.resealedOriginals(last.id, after: place, limit: options.pageSize)
            guard let end = page.last else { break }
            try add(page, fingerprint, &count, &sum)
            place = end.token
            report("originals", pass: 1, done: count, total: max(count, last.valuesDone))
        }
        return [try compare(count, sum, last, try store.rotationErasures(last.id))]
    }

    /// - Parameter earlier: rotations to the same key: `run` is repeated when rows came in under the old one.
    private mutating func verifyTokens(_ last: RotationRecord, earlier: [RotationRecord]) throws -> [Finding] {
        guard last.isFinished, let target = last.target else {
            throw RotationError.differs("the rotation is unfinished; run it first")
        }
        let census = try store.rotationCensus()
        let old = census.filter { ["original", "row"].contains($0.what) && ($0.version ?? target) < target }
        guard old.isEmpty else {
            let found = old.map { "\($0.amount) x \($0.what) \($0.name) v\($0.version ?? 0)" }.joined(separator: ", ")
            throw RotationError.differs("tokens of an older version are left (\(found)); run it again")
        }
        var found = try verifyPairs([last] + earlier.filter { $0.valuesDone > 0 })
        if found.isEmpty {
            found.append(
                Finding("values", "the old key is retired, and its pairs of tokens with it: values compare before that")
            )
        } else {
            found += try verifyRows(last)
            var shown = [last.rowsBefore]
            for rotation in earlier where !shown.contains(rotation.rowsBefore) {
                shown.append(rotation.rowsBefore)
                found += try verifyRows(rotation)
            }
        }
        found.append(Finding("old-tokens", amount: 0, "no original and no row is left under an older version"))
        return found + OldTokens.findings(census, try store.oldTokenPlaces(last.id), target: target)
    }

    /// - Returns: a line for each rotation that did something; none when the pairs are gone.
    private mutating func verifyPairs(_ rotations: [RotationRecord]) throws -> [Finding] {
        var found: [Finding] = []
        for rotation in rotations where rotation.valuesDone > 0 || rotations.count == 1 {
            guard let values = try verifyPairs(rotation) else { return [] }
            found.append(values)
        }
        return found
    }

    /// Opens the new originals of a rotation's pairs; `nil` when those are gone.
    private mutating func verifyPairs(_ rotation: RotationRecord) throws -> Finding? {
        guard let target = rotation.target.flatMap({ KeyVersion(UInt32($0)) }) else { return nil }
        let fingerprint = try ValueFingerprint(ingest, version: target)
        var (count, sum, seen, missing): (Int, UInt128, Int, Int) = (0, 0, 0, 0)
        let erased = try store.rotationErasures(rotation.id)
        let (extent, step) = (try store.rotationExtent().pairs, max(1, options.pageSize / 50))
        for first in stride(from: 0, to: extent, by: step) {
            let pairs = try store.rotationPairs(rotation.id, blocks: first..<min(extent, first + step))
            seen += pairs.count
            let tokens = pairs.compactMap { Token($0.new) }.filter { KnownDomain.named($0.domain) != nil }.map(\.bits)
            let originals = try store.rotationOriginals(rotation.id, tokens: tokens)
            missing += Set(tokens).count - originals.count
            guard missing <= erased.own else { throw RotationError.differs("a new original is missing") }
            try add(originals, fingerprint, &count, &sum)
            if Set(tokens).count < tokens.count {
                // Done twice, because the table was put in another order in mid-run: counted twice before, too.
                let again = Dictionary(grouping: tokens, by: \.self).mapValues { $0.count - 1 }
                let repeated = originals.flatMap { Array(repeating: $0, count: again[$0.token] ?? 0) }
                try add(repeated, fingerprint, &count, &sum)
            }
            report("originals", pass: 1, done: count, total: max(count, rotation.valuesDone))
        }
        guard seen > 0 || rotation.valuesDone == 0 else { return nil }
        return try compare(count, sum, rotation, erased)
    }

    private mutating func verifyRows(_ rotation: RotationRecord) throws -> [Finding] {
        let erasedRows = try store.rotationErasures(rotation.id).rowChanges
        guard let text = rotation.rowsBefore, text != "{}" else {
            return [Finding("rows", "no fingerprint of the rows was taken before")]
        }
        let before = try JSONDecoder().decode([String: RowFingerprint].self, from: Data(text.utf8))
        let after = try JSONDecoder().decode(
            [String: RowFingerprint].self, from: Data(try store.rowFingerprint(version: nil).utf8))
        return try before.sorted { $0.key < $1.key }.map { name, old in
            guard let new = after[name] else { throw RotationError.differs("column \(name) is gone") }
            func finding(_ text: String) -> Finding {
                Finding("rows", place: name, amount: new.rows, "\(name): \(text)")
            }
            if new == old { return finding("\(old.rows) rows in \(old.groups) groups, as before") }
            guard erasedRows == 0 else {
                return finding("\(new.rows) rows, \(old.rows) before; erasures since have changed \(erasedRows) rows")
            }
            guard new.rows > old.rows else {
                throw RotationError.differs("\(name) has other groups of rows than before")
            }
            return finding("\(new.rows - old.rows) rows came in since; stop ingest to compare groups exactly")
        }
    }

    private struct RowFingerprint: Codable, Equatable {
        let rows: Int
        let groups: Int
        let hash: String
    }

    private mutating func add(
        _ page: [SealedOriginal], _ fingerprint: ValueFingerprint, _ count: inout Int, _ sum: inout UInt128
    ) throws {
        try open(dataKeys: page.map(\.dataKey))
        for original in page {
            do {
                var (value, _, domain) = try value(of: original)
                sum &+= fingerprint.code(of: value, domain: domain.name)
                count += 1
                wipe(&value)
            } catch let left as LeftAlone {
                throw RotationError.differs("original \(Hex.encode(original.token)) does not open: \(left.reason)")
            }
        }
        if options.shouldStop() { throw RotationError.stopped }
    }

    /// What was erased since is missing from the count, and its fingerprint from the sum.
    private func compare(
        _ count: Int, _ sum: UInt128, _ last: RotationRecord, _ erased: (own: Int, since: Int, rowChanges: Int)
    ) throws -> Finding {
        if erased.since > 0 {
            guard count + erased.own >= last.valuesDone else {
                throw RotationError.differs("\(count) values after and \(erased.own) erased, \(last.valuesDone) before")
            }
            return Finding(
                "values", amount: count,
                "\(count) values, and \(erased.own) of this rotation erased since; fingerprints compare only without erasures"
            )
        }
        guard count == last.valuesDone, sum == last.valueSum else {
            throw RotationError.differs(
                "\(count) values after, \(last.valuesDone) before, or their fingerprints differ")
        }
        return Finding(
            "values", amount: count, "\(count) values, the same as before (fingerprint \(Hex.encode(sum)))")
    }
}
