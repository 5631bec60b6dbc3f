package import Keys
package import Postgres
package import SQS
package import Tokenization
package import VaultCrypto

/// Why a run stopped. What was committed stays; what was not is still in its source.
package enum IngestError: Error {
    case inputMissing(String, reason: String)
    case inputDamaged(String, line: Int, reason: String)
    case inputChanged(String)
    case database(PostgresError)
    case queue(SQSError)
    case keyring(KeyringError)
    case crypto(CryptoError)
    case sealing(SealedValueError)
    case tooManyQuarantined(limit: Int)
    /// A file was begun under a token key that this keyring does not hold.
    case keyGone(UInt32)
    /// Another run is reading the same file.
    case fileInUse(String)
    /// The database counts something else for this run than was committed: it is another one, or an older copy.
    case countsDiffer
    /// A replayed record is refused again.
    case stillRefused(cause: String)
    /// Columns or tables that the statements of this release name are not there.
    case schemaLacks([String])
    /// The quarantine's own table did not take a refused record.
    case quarantineRefused(PostgresError)
    case stopped
}

extension IngestError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .inputMissing(let path, let reason): "cannot read \(path): \(reason); check the path and its permissions"
        case .inputDamaged(let path, let line, let reason):
            "\(path), line \(line): \(reason); what stood before it is stored, and a new run goes on from there"
        case .inputChanged(let path):
            "\(path) is shorter than what was read of it before; restore the file, or give the new one another name"
        case .database(let error): "\(error)"
        case .queue(let error): "\(error)"
        case .keyring(let error): "\(error)"
        case .crypto(let error): "\(error)"
        case .sealing(let error): "\(error)"
        case .tooManyQuarantined(let limit):
            "more than \(limit) records were refused (--max-quarantined); look at `tokenvault quarantine list`, mend the source or the mapping, and run again"
        case .keyGone(let version):
            "this source was begun under token key v\(version), which the ingest keyring does not hold; use the keyring that has it"
        case .fileInUse(let path): "another run is reading \(path); wait for it to end and run again"
        case .countsDiffer:
            "the database has lost what this run had committed, as after a fail-over to a standby that lagged; look at `tokenvault status`, then run again"
        case .stillRefused(let cause): "the record is refused again (\(cause)) and stays in the quarantine"
        case .schemaLacks(let names):
            "the schema is not what this release expects: \(names.joined(separator: ", ")) missing; run `tokenvault database status` and `tokenvault database verify`"
        case .quarantineRefused(let error):
            "the quarantine did not take a refused record: \(error); nothing of its batch is stored, and it stays in its source: mend the table vault.quarantine (`tokenvault database verify`) and run again"
        case .stopped: "stopped by a signal; what is committed stays, run again to go on"
        }
    }
}
