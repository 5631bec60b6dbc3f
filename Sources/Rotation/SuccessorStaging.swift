import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// The sessions that store pages by turns. The first is the rotation's own, which holds its lock.
enum PageWriter {
    case first, second

    var other: PageWriter { self == .first ? .second : .first }
}

/// First half of a token key's rotation: a new original and a pair of tokens beside every old original.
///
/// Two sessions store pages by turns, so the server works on one page while another is committed and a third is made here.
/// A page moves the rotation's cursor, and commits, when the one before it has: what is committed is always a prefix.
extension RotationRun {
    /// Returns how many originals were new.
    mutating func stageOriginals(_ rotation: UInt128, target: KeyVersion) throws(RotationError) -> Int {
        let fingerprint = try ValueFingerprint(ingest, version: target)
        let state = try record(rotation)
        var (place, sum, staged, done) = (state.place, state.valueSum, 0, 0)
        var reader = try pageReader(state)
        // Later passes read what is left when all before is committed. And no page waits, uncommitted, for a throttle.
        let readsAhead = reader.readsAhead && options.throttle == nil
        var writer = PageWriter.first
        var underway: Sent? = nil
        var later: Sent? = nil
        var next = try nextStaged(rotation, &reader, target, fingerprint)
        while true {
            if let work = next, later == nil {
                let sent = try send(work, rotation: rotation, by: writer)
                writer = writer.other
                if underway == nil { underway = consume sent } else { later = consume sent }
                next = readsAhead ? try nextStaged(rotation, &reader, target, fingerprint) : nil
                if next != nil, later == nil { continue }
            }
            guard let earlier = underway.take() else { break }
            underway = later.take()
            let work = earlier.work
            let wrong = try settle(earlier, rotation: rotation, from: place, sum: sum)
            if wrong.isEmpty {
                (place, sum) = (work.page.end, sum &+ work.sum)
                staged += work.batch.originals
                done += work.page.originals.count
                report("originals", pass: state.pass, done: done, total: reader.total(done, at: place))
                try pause(after: work.page.originals.count)
            } else {
                // Their groups stay under the old key: what stands under the new token was not written by a known
                // writer. The page is made again without them, and so are those after it, which counted on its networks.
                underway = nil
                try on(.first) { session throws(PostgresError) in session.rollback() }
                try on(.second) { session throws(PostgresError) in session.rollback() }
                forgetUncertain()
                let refused = Set(wrong.compactMap { work.origins[$0.token] })
                next = try stage(work.page, target: target, fingerprint: fingerprint, except: refused)
                next?.leftAlone += wrong.map {
                    (token: work.origins[$0.token] ?? $0.token, reason: "under its new token: \($0.reason)")
                }
                reader.goBack(to: work.page.end)
            }
            if next == nil, readsAhead || underway == nil {
                next = try nextStaged(rotation, &reader, target, fingerprint)
            }
        }
        return staged
    }

    /// A page that a session is storing.
    private struct Sent: ~Copyable {
        let work: Staged
        let writer: PageWriter
        let pending: PendingStatement
    }

    private mutating func send(
        _ work: Staged, rotation: UInt128, by writer: PageWriter
    ) throws(RotationError) -> Sent {
        // In a transaction of their own: the next page, stored beside this one, is sealed under them too.
        let keys = work.keys.filter { !$0.isStored }
        let pending = try on(writer) { session throws(PostgresError) in
            if !keys.isEmpty {
                try session.begin()
                try Self.storeFreshKeys(keys, rotation: rotation, in: &session)
                _ = try session.commit()
            }
            try session.begin()
            return try session.sendSuccessors(rotation, work.batch)
        }
        for key in keys { key.isStored = true }
        return Sent(work: work, writer: writer, pending: pending)
    }

    /// Waits until a page is stored; moves the cursor over it and commits.
    ///
    /// - Returns: new tokens that stood already and do not open to their values. If any, nothing is committed.
    private mutating func settle(
        _ sent: consuming Sent, rotation: UInt128, from place: UInt128?, sum: UInt128
    ) throws(RotationError) -> [(token: UInt128, reason: String)] {
        let (work, writer) = (sent.work, sent.writer)
        var pending: PendingStatement? = sent.pending
        let standing = try on(writer) { session throws(PostgresError) in
            guard let taken = pending.take() else { return [UInt128]() }
            return try session.successorsStored(taken)
        }
        let wrong = try unopenable(standing, rotation: rotation)
        guard wrong.isEmpty else { return wrong }
        try on(writer) { session throws(PostgresError) in
            try session.passOriginals(
                rotation, from: place, to: work.page.end, count: work.batch.originals, valueSum: sum &+ work.sum)
            _ = try session.commit()
            if !work.leftAlone.isEmpty { try session.noteRotationExceptions(rotation, work.leftAlone) }
        }
        try summarize(work.leftAlone)
        return []
    }

    /// Lets one of the two writing sessions do something. The second is opened when first needed, and closed by a failure.
    mutating func on<Result: ~Copyable>(
        _ writer: PageWriter, _ body: (inout VaultStore) throws(PostgresError) -> Result
    ) throws(RotationError) -> Result {
        do {
            if writer == .first { return try body(&store) }
            var session = try secondWriter.take() ?? VaultStore.open(options.database, limits: options.limits(.byTurns))
            let result = try body(&session)
            secondWriter = consume session
            return result
        } catch { throw wrapped(error) }
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
        var keys: [SealingKey] = []
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
            let new = try tokenizers.tokenizer(domain.name, target, ingest)
            let newBits = new.tokenizer.bits(of: normalized)
            let key = try freshKey(domain.name, version: target, count: 1)
            if !work.keys.contains(where: { $0 === key }) { work.keys.append(key) }
            sealed.removeAll(keepingCapacity: true)
            do { try key.sealer.seal(value.span, bits: newBits, into: &sealed) } catch {
                work.leftAlone.append((original.token, "\(error)"))
                continue
            }
            work.origins[newBits] = original.token
            work.sum &+= fingerprint.code(of: value, domain: domain.name)
            var slice = Self.slice(original.token)
            if let derived = domain.derived, let network = normalized.network {
                let oldNetwork = try tokenizers.tokenizer(derived, oldVersion, ingest)
                let bits = oldNetwork.tokenizer.bits(of: network)
                slice = Self.slice(bits)
                if pairedNetworks.insert(bits).inserted {
                    let newNetwork = try tokenizers.tokenizer(derived, target, ingest)
                    work.batch.addNetwork(
                        old: bits, new: newNetwork.tokenizer.bits(of: network), domain: derived,
                        oldVersion: original.version, slice: slice)
                }
            }
            work.batch.addOriginal(
                old: original, new: newBits, slice: slice, dataKey: key.record.id, sealed: sealed.span)
        }
        return work
    }

    /// 0 to 65535. An address goes by its network, so that both columns of a row move at once.
    private static func slice(_ bits: UInt128) -> Int32 { Int32(truncatingIfNeeded: bits >> 112) & 0xFFFF }

    /// New tokens that stood already, because ingest writes them too, must open to the same value. Read in a session of
    /// its own: those that write have pages under way.
    private mutating func unopenable(
        _ tokens: [UInt128], rotation: UInt128
    ) throws(RotationError) -> [(token: UInt128, reason: String)] {
        guard !tokens.isEmpty else { return [] }
        let standing = try beside { run, session throws(RotationError) in
            do {
                let standing = try session.rotationOriginals(rotation, tokens: tokens)
                try run.open(dataKeys: standing.map(\.dataKey), from: &session)
                return standing
            } catch { throw wrapped(error) }
        }
        var wrong: [(token: UInt128, reason: String)] = []
        for original in standing {
            do {
                var value = try value(of: original).value
                wipe(&value)
            } catch let left as LeftAlone { wrong.append((original.token, left.reason)) } catch { throw wrapped(error) }
        }
        return wrong
    }
}
