package import Keys
import Postgres
import Tokenization
package import VaultStore

/// A quarantined record opened for a person, or for a new try.
package struct OpenedRecord {
    package let id: UInt128
    package let source: String
    package let position: String
    package let cause: String
    package let isTruncated: Bool
    /// As it came. The caller wipes it after use.
    package var bytes: [UInt8]
}

/// Opens refused records: request, commit, release, open, like ``Recovery``.
package struct QuarantineReview: ~Copyable {
    private var store: VaultStore
    private let keyring: RecoveryKeyring

    package init(_ store: consuming VaultStore, keyring: consuming RecoveryKeyring) {
        self.store = store
        self.keyring = keyring
    }

    package mutating func request(
        _ ids: [UInt128], reason: String, ticket: String
    ) throws(RecoveryError) -> RecoveryRequest {
        do {
            return try store.requestQuarantine(ids: ids, reason: reason, ticket: ticket)
        } catch { throw .database(error) }
    }

    /// How a request of one's own stands.
    package mutating func standing(of request: UInt128) throws(RecoveryError) -> RequestStanding {
        do throws(PostgresError) { return try store.ownRequest(request) } catch { throw .database(error) }
    }

    /// The records of a committed request; each with its reason where it does not open.
    package mutating func open(
        request: UInt128
    ) throws(RecoveryError) -> (opened: [OpenedRecord], failed: [(id: UInt128, reason: String)]) {
        var opened: [OpenedRecord] = []
        var failed: [(id: UInt128, reason: String)] = []
        do throws(PostgresError) {
            let released = try store.releaseQuarantined(request: request)
            let keys = OpenedDataKeys(
                try store.releaseDataKeys(request: request, recoveryKeys: keyring.recoveryKeyIDs), with: keyring)
            for record in released {
                switch open(record, with: keys) {
                case .success(let bytes):
                    opened.append(
                        OpenedRecord(
                            id: record.id, source: record.source, position: record.position, cause: record.cause,
                            isTruncated: record.isTruncated, bytes: bytes))
                case .failure(let reason): failed.append((record.id, reason.text))
                }
            }
            try store.recordOutcome(request: request, outcome: "opened \(opened.count), failed \(failed.count)")
        } catch { throw .database(error) }
        return (opened, failed)
    }

    /// Ends a record's wait. Audited.
    package mutating func resolve(_ id: UInt128, as resolution: String, reason: String) throws(RecoveryError) {
        do { try store.resolveQuarantine(id, resolution: resolution, reason: reason) } catch { throw .database(error) }
    }

    private struct Reason: Error { let text: String }

    private func open(_ record: ReleasedRecord, with keys: OpenedDataKeys) -> Result<[UInt8], Reason> {
        do {
            let key = try keys.key(record.dataKey)
            return .success(try SealedValue.openRecord(record.sealed.span, id: record.id, dataKey: key.key))
        } catch {
            return .failure(Reason(text: "\(error)"))
        }
    }
}
