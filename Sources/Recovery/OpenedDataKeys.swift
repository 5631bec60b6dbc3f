import Keys

/// A data key opened for the length of a request. A class, because collections cannot hold what cannot be copied.
final class OpenedDataKey {
    let key: DataKey

    init(_ key: consuming DataKey) { self.key = key }
}

/// The data keys of one request, each opened once, or the reason why it cannot be.
struct OpenedDataKeys {
    private var keys: [UInt128: Result<OpenedDataKey, DataKeyError>] = [:]

    init(_ records: [DataKeyRecord], with keyring: borrowing RecoveryKeyring) {
        for record in records {
            do throws(DataKeyError) {
                keys[record.id] = .success(OpenedDataKey(try keyring.open(record)))
            } catch {
                keys[record.id] = .failure(error)
            }
        }
    }

    func key(_ id: UInt128) throws -> OpenedDataKey {
        guard let found = keys[id] else { throw MissingDataKey(id: KeyID(uuid: id)) }
        return try found.get()
    }
}

/// The vault names a data key that it does not hold.
struct MissingDataKey: Error, CustomStringConvertible {
    let id: KeyID

    var description: String {
        "data key \(id.text) is gone from the vault, so the value cannot be opened; restore vault.data_key from a backup"
    }
}
