package import Keys
import Postgres
package import Tokenization
package import VaultStore

/// What became of one requested token.
package enum RecoveredValue {
    /// The value as it came. The caller wipes it after use.
    case value([UInt8])
    /// The vault holds no original for this token.
    case absent
    /// Stored, but it does not open: damaged, moved, planted, or not for this keyring. The reason names keys, never a value.
    case unopenable(reason: String)
}

/// How many tokens of a request came to which end.
package struct RecoveryCounts: Sendable {
    package var opened = 0
    package var absent = 0
    package var failed = 0

    package init() {}
}

/// Turns tokens back into values: request, commit, release, open; in that order, which the database enforces.
package struct Recovery: ~Copyable {
    private static let page = 10_000

    var store: VaultStore
    private let keyring: RecoveryKeyring

    package init(_ store: consuming VaultStore, keyring: consuming RecoveryKeyring) {
        self.store = store
        self.keyring = keyring
    }

    /// Records the request: one audit event a token, committed and flushed before this returns.
    package mutating func request(
        _ tokens: [Token], reason: String, ticket: String
    ) throws(RecoveryError) -> RecoveryRequest {
        do {
            return try store.requestRecovery(tokens: tokens.map(\.text), reason: reason, ticket: ticket)
        } catch { throw .database(error) }
    }

    /// Releases and opens a committed request's values, lending each to `body` in the order asked.
    ///
    /// A value that does not open is reported and does not stop the others. The outcome is audited at the end.
    package mutating func open(
        request: UInt128, _ body: (String, RecoveredValue) throws -> Void
    ) throws -> RecoveryCounts {
        let keys = try dataKeys(for: request)
        var counts = RecoveryCounts()
        var after = 0
        while true {
            let released: [ReleasedValue]
            do {
                released = try store.release(request: request, after: after, limit: Self.page)
            } catch { throw RecoveryError.database(error) }
            guard let last = released.last else { break }
            for value in released {
                let result = open(value, with: keys)
                switch result {
                case .value: counts.opened += 1
                case .absent: counts.absent += 1
                case .unopenable: counts.failed += 1
                }
                try body(value.token, result)
            }
            after = last.ordinal
        }
        do {
            try store.recordOutcome(
                request: request, outcome: "opened \(counts.opened), absent \(counts.absent), failed \(counts.failed)")
        } catch { throw RecoveryError.database(error) }
        return counts
    }

    private mutating func dataKeys(for request: UInt128) throws(RecoveryError) -> OpenedDataKeys {
        do {
            return OpenedDataKeys(
                try store.releaseDataKeys(request: request, recoveryKeys: keyring.recoveryKeyIDs), with: keyring)
        } catch { throw .database(error) }
    }

    private func open(_ released: ReleasedValue, with keys: OpenedDataKeys) -> RecoveredValue {
        guard let sealed = released.sealed, let dataKey = released.dataKey else { return .absent }
        guard let token = Token(released.token) else { return .unopenable(reason: "the vault's token is malformed") }
        do {
            let key = try keys.key(dataKey)
            return .value(try SealedValue.open(sealed.span, token: token, dataKey: key.key))
        } catch {
            return .unopenable(reason: "\(error)")
        }
    }
}
