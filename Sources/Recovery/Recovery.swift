package import Keys
package import Postgres
internal import Tokenization
internal import VaultCrypto
package import VaultStore

/// What became of one requested token.
package enum RecoveredState {
    case present
    /// The vault never held an original for this token.
    case absent
    /// The vault held an original, and it was erased on purpose.
    case erased
    /// Stored, but it does not open: damaged, moved, planted, or not for this keyring. The reason names keys, never a value.
    case unopenable(reason: String)
}

/// How many tokens of a request came to which end.
package struct RecoveryCounts: Sendable {
    package var present = 0
    package var absent = 0
    package var erased = 0
    package var failed = 0
    /// Values that the output has taken, as far as the operating system tells. Not more than ``present``.
    package var written = 0

    package var total: Int { present + absent + erased + failed }

    package init() {}

    mutating func add(_ state: RecoveredState) {
        switch state {
        case .present: present += 1
        case .absent: absent += 1
        case .erased: erased += 1
        case .unopenable: failed += 1
        }
    }

    /// For the audit log.
    var outcome: String {
        "opened \(present), written \(written), absent \(absent), erased \(erased), failed \(failed)"
    }
}

/// Where recovered values go, in the order asked.
package protocol RecoveredOutput: AnyObject {
    /// Takes what became of one token. The bytes are lent for the call; `value` is empty unless the state is present.
    func take(_ token: Span<UInt8>, _ state: RecoveredState, _ value: Span<UInt8>) throws
    /// Hands on all that is held back.
    func finish() throws
    /// Values that have left this program.
    var written: Int { get }
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
    ///
    /// - Parameter tokens: gives pages of tokens, then `nil`. The pages go to the server as they come.
    /// - Returns: `nil` when there is no token at all; nothing is recorded then.
    package mutating func request(
        reason: String, ticket: String, _ tokens: (_ limit: Int) throws(RecoveryError) -> BinaryArray?
    ) throws(RecoveryError) -> RecoveryRequest? {
        var request: RecoveryRequest?
        do throws(PostgresError) { try store.begin() } catch { throw .database(error) }
        do throws(RecoveryError) {
            var isEmpty = true
            while let page = try tokens(Self.page) {
                isEmpty = false
                do throws(PostgresError) { try store.stageRecovery(page) } catch { throw .database(error) }
            }
            if !isEmpty {
                do throws(PostgresError) {
                    request = try store.bookRecovery(reason: reason, ticket: ticket)
                    _ = try store.commit()
                } catch { throw .database(error) }
            } else {
                store.rollback()
            }
        } catch {
            store.rollback()
            throw error
        }
        return request
    }

    /// Releases and opens a committed request's values and hands each to `output` in the order asked.
    ///
    /// A value that does not open is reported and does not stop the others. What came of the request is audited at the
    /// end, also when the output or the database failed on the way, as far as the database still answers.
    package mutating func open(
        request: UInt128, into output: any RecoveredOutput, isStopped: () -> Bool = { false }
    ) throws -> RecoveryCounts {
        var counts = RecoveryCounts()
        var failure: (any Error)?
        do {
            try deliver(request, into: output, &counts, isStopped: isStopped)
        } catch { failure = error }
        do {
            try output.finish()
        } catch { failure = failure ?? error }
        counts.written = output.written
        do throws(PostgresError) {
            try store.recordOutcome(
                request: request, outcome: failure == nil ? counts.outcome : "ended early: \(counts.outcome)")
        } catch {
            throw failure ?? RecoveryError.database(error)
        }
        if let failure { throw failure }
        return counts
    }

    /// The server prepares the next page while this one is opened and printed.
    private mutating func deliver(
        _ request: UInt128, into output: any RecoveredOutput, _ counts: inout RecoveryCounts, isStopped: () -> Bool
    ) throws {
        let keys = try dataKeys(for: request)
        var pending = Optional(try send(request, after: 0))
        while let next = pending.take() {
            let page = try receive(next)
            if page.count == Self.page { pending = try send(request, after: counts.total + page.count) }
            for index in 0..<page.count {
                try open(page, index, with: keys, into: output, &counts)
            }
            if isStopped() { throw RecoveryError.stopped }
        }
    }

    private func open(
        _ page: borrowing ReleasedPage, _ index: Int, with keys: OpenedDataKeys, into output: any RecoveredOutput,
        _ counts: inout RecoveryCounts
    ) throws {
        try page.withItem(index) { token, sealed in
            guard let sealed else {
                let state = page.isErased(index) ? RecoveredState.erased : .absent
                counts.add(state)
                return try output.take(token, state, token.extracting(0..<0))
            }
            var value: [UInt8] = []
            defer { wipe(&value) }
            let state = open(sealed, token, dataKey: page.dataKey(index), with: keys, into: &value)
            counts.add(state)
            try output.take(token, state, value.span)
        }
    }

    private func open(
        _ sealed: Span<UInt8>, _ text: Span<UInt8>, dataKey: UInt128?, with keys: OpenedDataKeys,
        into value: inout [UInt8]
    ) -> RecoveredState {
        let text = unsafe text.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
        guard let token = Token(text), let dataKey else {
            return .unopenable(reason: "the vault's token is malformed, or it names no data key")
        }
        do {
            let key = try keys.key(dataKey)
            value = try SealedValue.open(sealed, token: token, dataKey: key.key)
            return .present
        } catch {
            return .unopenable(reason: "\(error)")
        }
    }

    private mutating func send(_ request: UInt128, after: Int) throws(RecoveryError) -> PendingPage {
        do throws(PostgresError) {
            return try store.sendRelease(request: request, after: after, limit: Self.page)
        } catch { throw .database(error) }
    }

    private mutating func receive(_ page: consuming PendingPage) throws(RecoveryError) -> ReleasedPage {
        do throws(PostgresError) { return try store.receive(page) } catch { throw .database(error) }
    }

    private mutating func dataKeys(for request: UInt128) throws(RecoveryError) -> OpenedDataKeys {
        do {
            return OpenedDataKeys(
                try store.releaseDataKeys(request: request, recoveryKeys: keyring.recoveryKeyIDs), with: keyring)
        } catch { throw .database(error) }
    }
}
