import Keys
import Postgres
import VaultStore

/// The ingest keyring of this host against the keys that the database knows.
enum KeyringChecks {
    private static let check = "keyring-database"

    /// - Parameter keys: of the ingest keyring; `nil` where there is none, or it does not load.
    static func run(
        _ keys: [KeyDescription]?, _ store: inout VaultStore, _ findings: inout Findings
    ) throws(PostgresError) {
        guard let keys else { return findings.notChecked(check, "needs an ingest keyring that loads") }
        let registered: [RegisteredKey]
        do {
            registered = try store.keyStates()
        } catch {
            guard error.state == .insufficientPrivilege else { throw error }
            return findings.notChecked(check, "needs a role in operator, auditor, recoverer or ingest")
        }
        judge(keys, registered, &findings)
        findings.close(check, "the ingest keyring holds the keys that are active in the database")
    }

    static func judge(_ keys: [KeyDescription], _ registered: [RegisteredKey], _ findings: inout Findings) {
        let renew = Finding.Remedy.advice(
            "put the operator's ingest keyring, as the last change of a key left it, on this host (docs/RUNBOOK.md)")
        for key in keys {
            guard let known = registered.first(where: { $0.id == key.id }) else {
                findings.failure(
                    check, "\(key.purpose.rawValue) key \(key.name) (\(key.id.text)) is unknown to this database",
                    .advice(
                        "name the keyring, or the database, that belong together; `tokenvault keys list` shows both"))
                continue
            }
            guard key.state == .active, known.state != "active" else { continue }
            let consequence =
                switch key.purpose {
                case .token: "tokens would be made with it"
                case .recovery: "new data keys would still be sealed to it"
                case .signing, .checkpoint: "nothing that it signs would be believed"
                }
            findings.failure(
                check,
                "\(key.purpose.rawValue) key \(key.name) is active in the ingest keyring, and \(known.state) in the database: \(consequence)",
                renew)
        }
        for known in registered where known.state == "active" {
            if keys.contains(where: { $0.id == known.id && $0.state == .active }) { continue }
            switch known.purpose {
            case "token":
                findings.failure(
                    check, "token key \(known.name) is active in the database, and not in the ingest keyring", renew)
            case "recovery":
                findings.warning(
                    check,
                    "recovery key \(known.name) is active in the database, and the ingest keyring does not seal to it: its holder opens nothing new",
                    renew)
            default: continue  // each writer has a signing key of its own
            }
        }
    }
}
