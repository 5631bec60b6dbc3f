import Foundation
package import Keys
import Postgres
import Tokenization
import VaultCrypto
package import VaultStore

/// One rotation by an operator, who holds an ingest keyring and the recovery keyring: begun or gone on with, to its end.
///
/// Every step is a transaction that leaves the vault whole and moves the rotation's cursor, so that a run that dies at any
/// moment is gone on with by the next.
package struct RotationRun: ~Copyable {
    var store: VaultStore
    /// Reads pages while others write; opened when first needed.
    var besideSession: VaultStore?
    /// Stores pages by turns with ``store``, which alone holds the rotation's lock; opened when first needed.
    var secondWriter: VaultStore?
    let ingest: IngestKeyring
    let recovery: RecoveryKeyring
    let options: RotationOptions
    var opened: [UInt128: Result<OpenedKey, LeftAlone>] = [:]
    var fresh: [String: SealingKey] = [:]
    var tokenizers = Tokenizers()
    /// Networks whose pair of tokens is stored, or on its way in a page that this run has made.
    var pairedNetworks: Set<UInt128> = []
    var summary = RotationSummary()
    private var throttleStart = ContinuousClock.now
    private var throttled = 0
    /// Steps committed, so that an outage after progress starts a new wait.
    var steps = 0

    package init(
        _ store: consuming VaultStore, ingest: consuming IngestKeyring, recovery: consuming RecoveryKeyring,
        options: RotationOptions
    ) {
        self.store = store
        self.ingest = ingest
        self.recovery = recovery
        self.options = options
    }

    /// Runs a rotation to its end, through outages.
    package mutating func run(_ kind: RotationKind) throws(RotationError) -> RotationSummary {
        var (failures, lastSteps) = (0, -1)
        var deadline = ContinuousClock.now + options.retryFor
        while true {
            let failure: PostgresError
            do {
                summary = RotationSummary()
                switch kind {
                case .tokenKey: try rotateTokenKey()
                case .dataKeys: try rotateDataKeys()
                case .recoveryKey: try rotateRecoveryKey()
                }
                return summary
            } catch {
                guard case .database(let cause) = error else { throw error }
                failure = cause
            }
            // First the others: what the own session waits for may wait for them.
            besideSession = nil
            secondWriter = nil
            store.rollback()
            forgetUncertain()
            if steps != lastSteps {
                (failures, lastSteps, deadline) = (0, steps, ContinuousClock.now + options.retryFor)
            }
            failures += 1
            // The session of a run that was killed may live a moment longer than it.
            let isBusy = failure.state == .fileAdvancedByAnother && failures <= 6
            guard failure.isTransient || isBusy, ContinuousClock.now < deadline else { throw .database(failure) }
            if options.shouldStop() { throw .stopped }
            if !isBusy { options.warn("\(failure); trying again") }
            Thread.sleep(forTimeInterval: isBusy ? 0.5 : min(0.2 * Double(failures), 3))
            guard failure.needsReconnect else { continue }
            if let again = try? VaultStore.open(options.database, limits: options.limits(.unhurried)) { store = again }
        }
    }

    /// After a page that was not committed: whether its data keys and networks are stored is uncertain.
    mutating func forgetUncertain() {
        fresh = [:]
        pairedNetworks = []
    }

    /// Ends the run between two steps when asked to, and keeps to the throttle.
    mutating func pause(after values: Int) throws(RotationError) {
        steps += 1
        if let limit = options.throttle {
            throttled += values
            let due = throttleStart + .seconds(Double(throttled) / Double(limit))
            while ContinuousClock.now < due, !options.shouldStop() { Thread.sleep(forTimeInterval: 0.05) }
        }
        if options.shouldStop() { throw .stopped }
    }

    /// Opens the data keys of `ids` that are not open yet.
    mutating func open(dataKeys ids: [UInt128]) throws(RotationError) {
        let missing = unopened(ids)
        guard !missing.isEmpty else { return }
        do {
            try enter(try store.dataKeys(missing, recoveryKeys: recovery.recoveryKeyIDs), asked: missing)
        } catch { throw wrapped(error) }
    }

    /// The same, read in another session than the one that writes.
    mutating func open(dataKeys ids: [UInt128], from session: inout VaultStore) throws(RotationError) {
        let missing = unopened(ids)
        guard !missing.isEmpty else { return }
        do {
            try enter(try session.dataKeys(missing, recoveryKeys: recovery.recoveryKeyIDs), asked: missing)
        } catch { throw wrapped(error) }
    }

    private func unopened(_ ids: [UInt128]) -> [UInt128] { Array(Set(ids).subtracting(opened.keys)) }

    private mutating func enter(_ records: [DataKeyRecord], asked missing: [UInt128]) throws(RotationError) {
        if opened.count > 4_096 { opened = [:] }  // locked memory is scarce
        for record in records {
            do throws(DataKeyError) {
                opened[record.id] = .success(OpenedKey(try recovery.open(record)))
            } catch {
                if case .noSeal = error { throw .dataKey(error) }  // the wrong keyring: no value of this domain opens
                opened[record.id] = .failure(LeftAlone(reason: "\(error)"))
            }
        }
        for id in missing where opened[id] == nil {
            let reason = "data key \(Hex.encode(id)) is gone from the vault; restore vault.data_key from a backup"
            opened[id] = .failure(LeftAlone(reason: reason))
        }
    }

    /// The value of an original, as it came, checked against its token. The caller wipes it.
    mutating func value(of original: SealedOriginal) throws -> (
        value: [UInt8], normalized: NormalizedValue, domain: Domain
    ) {
        guard let domain = KnownDomain.named(original.domain), let version = KeyVersion(original.version) else {
            throw LeftAlone(reason: "this release does not know the domain \(original.domain)")
        }
        let token = Token(domain: domain.name, version: version, bits: original.token)
        let tokenizer = try tokenizers.tokenizer(domain.name, version, ingest)
        guard let key = opened[original.dataKey] else { throw LeftAlone(reason: "its data key was not read") }
        var value: [UInt8]
        do {
            value = try SealedValue.open(original.sealed.span, token: token, dataKey: try key.get().key)
        } catch let left as LeftAlone {
            throw left
        } catch { throw LeftAlone(reason: "\(error)") }
        do {
            let normalized = try NormalizedValue(value.span, kind: domain.kind)
            guard tokenizer.tokenizer.bits(of: normalized) == original.token else {
                throw LeftAlone(
                    reason:
                        "its value belongs to another token: the original was planted or the wrong token key is used")
            }
            return (value, normalized, domain)
        } catch let error as NormalizationError {
            wipe(&value)
            throw LeftAlone(reason: "its value cannot be normalised: \(error)")
        } catch {
            wipe(&value)
            throw error
        }
    }

    /// A fresh data key of `domain` with room for `count` more values.
    ///
    /// A sealer is bound to a token version as well as to a domain.
    mutating func freshKey(_ domain: String, version: KeyVersion, count: Int = 1) throws(RotationError) -> SealingKey {
        let name = "\(domain)/\(version)"
        if let key = fresh[name], key.sealer.room >= count { return key }
        do {
            let signed = try ingest.makeDataKey(domain: domain, createdAt: Int64(Date().timeIntervalSince1970))
            let key = SealingKey(signed, version: version)
            fresh[name] = key
            return key
        } catch { throw .keyring(error) }
    }

    /// Stores the data keys that are not stored yet, in the transaction of `session`.
    static func storeFreshKeys(
        _ keys: [SealingKey], rotation: UInt128, in session: inout VaultStore
    ) throws(PostgresError) {
        for key in keys where !key.isStored { try session.addRotationDataKey(key.record, rotation: rotation) }
    }

    mutating func note(_ left: [(token: UInt128, reason: String)], rotation: UInt128) throws(RotationError) {
        guard !left.isEmpty else { return }
        do { try store.noteRotationExceptions(rotation, left) } catch { throw .database(error) }
        try summarize(left)
    }

    /// Adds to what the summary says was left alone, up to the limit.
    mutating func summarize(_ left: [(token: UInt128, reason: String)]) throws(RotationError) {
        guard !left.isEmpty else { return }
        for item in left where !summary.leftAlone.contains(where: { $0.token == item.token }) {
            summary.leftAlone.append(item)
        }
        if summary.leftAlone.count > options.maxLeftAlone {
            throw .tooManyLeftAlone(count: summary.leftAlone.count, first: summary.leftAlone[0].reason)
        }
    }

    mutating func record(_ rotation: UInt128) throws(RotationError) -> RotationRecord {
        do {
            guard let found = try store.rotations(limit: 20).first(where: { $0.id == rotation }) else {
                throw RotationError.stopped
            }
            return found
        } catch { throw wrapped(error) }
    }

    func report(_ step: String, pass: Int, done: Int, total: Int) {
        options.progress(RotationProgress(step: step, pass: pass, done: done, total: total))
    }
}
