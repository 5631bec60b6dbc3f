import Erasure
import Ingest
import Keys
import Postgres
import Recovery
import Rotation
import SQS
import Tokenization
import VaultCrypto
import VaultStore

/// The command line's exit codes: a contract, scripts depend on it.
enum ExitStatus: Int32 {
    case failed = 1
    case someQuarantined = 3
    case usage = 64
    case doesNotVerify = 65
    case inputMissing = 66
    case unavailable = 69
    case tryAgain = 75
    case refused = 77
    case badConfiguration = 78
}

/// An error with the status the process ends with.
struct Failure: Error {
    let status: ExitStatus
    let message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    /// `nil` for what the argument parser reports itself.
    init?(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as PostgresError: self.init(Self.status(error), "\(error)")
        case let error as MigrationError: self.init(Self.status(error), "\(error)")
        case let error as KeyringError: self.init(Self.status(error), "\(error)")
        case let error as IngestError: self.init(Self.status(error), "\(error)")
        case let error as RecoveryError: self.init(Self.status(error), "\(error)")
        case let error as ErasureError: self.init(Self.status(error), "\(error)")
        case let error as RotationError: self.init(Self.status(error), "\(error)")
        case let error as DataKeyError: self.init(.doesNotVerify, "\(error)")
        case let error as SQSError: self.init(Self.status(error), "\(error)")
        case let error as AuditDamage: self.init(.doesNotVerify, "\(error)")
        case let error as CryptoError: self.init(.failed, "\(error)")
        case let error as OutputError: self.init(.failed, "\(error)")
        default: return nil
        }
    }

    static func status(_ error: PostgresError) -> ExitStatus {
        switch error {
        case .invalidConnectionString: return .badConfiguration
        case .unreachable, .connectionLost, .unresponsive: return .unavailable
        case .commitUnknown, .notCommitted: return .tryAgain
        case .nulInText, .outOfMemory, .answerDropped: return .failed
        case .refused(_, let state, _, let message, _):
            switch state {
            case _ where state.meansOutdatedServer(message): return .unavailable
            case .waitsForApproval, .fileAdvancedByAnother, .diskFull: return .tryAgain
            case .insufficientPrivilege: return .refused
            case .readOnlyTransaction: return .badConfiguration
            case .badArgument: return .usage
            case _ where state.isVaultsOwn: return .refused
            case _ where SQLState.undefinedPrimitive.contains(state): return .badConfiguration
            case _ where state.isUnavailable: return .unavailable
            case _ where state.isConflict || state.isTimeout: return .tryAgain
            default: return .failed
            }
        }
    }

    static func status(_ error: MigrationError) -> ExitStatus {
        switch error {
        case .folderMissing: .inputMissing
        case .changedAfterwards, .schemaIsNewer: .badConfiguration
        case .failed: .failed
        case .database(let error): status(error)
        }
    }

    static func status(_ error: KeyringError) -> ExitStatus {
        switch error {
        case .missing: .inputMissing
        case .symbolicLink, .notRegularFile, .wrongOwner, .unprotected, .accessDenied, .notAllowed, .alreadyExists,
            .transition:
            .refused
        case .damaged, .tooLarge, .wrongPassphrase: .doesNotVerify
        case .wrongKind, .unknownFormatVersion, .unknownTokenKey, .noRecoveryKey: .badConfiguration
        case .invalidName, .emptyPassphrase, .costOutOfRange, .duplicateKey, .unusablePublicKey: .usage
        case .unknownKey, .changedMeanwhile, .system, .crypto: .failed
        }
    }

    static func status(_ error: IngestError) -> ExitStatus {
        switch error {
        case .inputMissing: .inputMissing
        case .inputDamaged, .inputChanged, .tooManyQuarantined: .doesNotVerify
        case .database(let error): status(error)
        case .queue(let error): status(error)
        case .keyring(let error): status(error)
        case .crypto, .sealing, .countsDiffer: .failed
        case .keyGone, .schemaLacks: .badConfiguration
        case .stillRefused: .someQuarantined
        case .fileInUse, .quarantineRefused, .stopped: .tryAgain
        }
    }

    static func status(_ error: RecoveryError) -> ExitStatus {
        switch error {
        case .database(let error): status(error)
        case .keyring(let error): status(error)
        case .waitsForApproval, .stopped: .tryAgain
        case .malformedToken: .usage
        case .unreadableTokens: .inputMissing
        }
    }

    static func status(_ error: RotationError) -> ExitStatus {
        switch error {
        case .database(let error): status(error)
        case .keyring(let error): status(error)
        case .dataKey, .tooManyLeftAlone, .rowsWithoutOriginal, .differs: .doesNotVerify
        case .crypto: .failed
        case .nothingToVerify: .inputMissing
        case .stillWritten, .stopped: .tryAgain
        }
    }

    static func status(_ error: ErasureError) -> ExitStatus {
        switch error {
        case .database(let error): status(error)
        case .stopped: .tryAgain
        }
    }

    static func status(_ error: SQSError) -> ExitStatus {
        switch error {
        case .unavailable, .untrustedServer: .unavailable
        case .invalidResponse, .stopped: .tryAgain
        case .credentialsExpired, .credentialsRefused, .accessDenied: .refused
        case .credentialsMissing, .clockSkew, .queueNotFound, .wrongRegion, .invalidSettings, .libraryTooOld:
            .badConfiguration
        case .refused, .libraryFailure, .outOfMemory: .failed
        }
    }
}
