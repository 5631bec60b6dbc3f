package import Keys
package import Postgres
package import VaultCrypto
package import VaultStore

/// Why a rotation stopped. What was done stays done, what was not stands under the old key, and nothing is half.
package enum RotationError: Error {
    case database(PostgresError)
    case keyring(KeyringError)
    case dataKey(DataKeyError)
    case crypto(CryptoError)
    /// More originals cannot be rotated than the limit allows.
    case tooManyLeftAlone(count: Int, first: String)
    /// Rows hold tokens of an old version that no original stands for.
    case rowsWithoutOriginal(Int)
    /// Somebody goes on writing under the old key.
    case stillWritten(passes: Int)
    case nothingToVerify(RotationKind)
    case differs(String)
    case stopped
}

extension RotationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .database(let error): "\(error)"
        case .keyring(let error): "\(error)"
        case .dataKey(let error): "\(error)"
        case .crypto(let error): "\(error)"
        case .tooManyLeftAlone(let count, let first):
            "\(count) originals cannot be opened or do not belong to their token, the first because \(first); stopped, and nothing was changed for them: mend the cause, or raise --max-left-alone, and run again"
        case .rowsWithoutOriginal(let count):
            "\(count) tokens of older versions in rows have no original in the vault and were left as they are; restore vault.original from a backup, or find out who wrote them"
        case .stillWritten(let passes):
            "new rows under the old token key kept coming in for \(passes) passes; install the new keyring on every ingest host, end the runs that began before, and run again"
        case .nothingToVerify(let kind):
            "there is no rotation of \(kind.rawValue) to verify; `tokenvault rotate \(kind.rawValue) run` makes one"
        case .differs(let what):
            "the rotation changed more than keys: \(what); keep the old key, and compare with a backup"
        case .stopped: "stopped by a signal; what is done stays, run again to go on"
        }
    }
}

/// What a step threw, as the rotation's error.
func wrapped(_ error: any Error) -> RotationError {
    switch error {
    case let error as RotationError: error
    case let error as PostgresError: .database(error)
    case let error as KeyringError: .keyring(error)
    case let error as DataKeyError: .dataKey(error)
    case let error as CryptoError: .crypto(error)
    default: .differs("\(error)")
    }
}
