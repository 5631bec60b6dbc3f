import Foundation
import Postgres
import VaultStore

/// The vault's own state: migrations, keys, rotations, runs, the quarantine.
enum VaultChecks {
    static func run(_ store: inout VaultStore, migrations: URL, _ findings: inout Findings) throws(PostgresError) {
        try checkMigrations(&store, migrations, &findings)
        try tolerating("keys", "operator, auditor, recoverer or ingest", &findings) { findings throws(PostgresError) in
            try checkKeys(&store, &findings)
        }
        try tolerating("seals", "operator", &findings) { findings throws(PostgresError) in
            try checkSeals(&store, &findings)
        }
        try tolerating("rotation", "operator or auditor", &findings) { findings throws(PostgresError) in
            for rotation in try store.unfinishedRotations() {
                findings.warning(
                    "rotation",
                    "a rotation of \(rotation) (UTC) has not ended; operators can read sealed originals meanwhile",
                    .advice("run its `tokenvault rotate … run` again, then `verify` and `retire` (docs/RUNBOOK.md)"))
            }
            findings.close("rotation", "no rotation is unfinished")
        }
        try tolerating("runs", "operator", &findings) { findings throws(PostgresError) in
            let count = try store.runsWithoutEnd()
            if count > 0 {
                findings.warning(
                    "runs", "\(count) ingest runs began more than a day ago and have no end: killed, or hanging",
                    .advice("see that the nightly job runs through; killed runs lose nothing and need no repair"))
            }
            findings.close("runs", "no ingest run hangs")
        }
        try tolerating("messages", "administrator", &findings) { findings throws(PostgresError) in
            let count = try store.messagesPastTheirTime()
            if count > 0 {
                findings.warning(
                    "messages", "\(count) queue messages are remembered for more than 15 days",
                    .advice("run `tokenvault ingest` on any source: each run begins by forgetting them"))
            }
            findings.close("messages", "no queue message is remembered past its 15 days")
        }
        try tolerating("quarantine", "recoverer, operator or auditor", &findings) { findings throws(PostgresError) in
            let count = try store.quarantineWaiting()
            if count > 0 {
                findings.warning(
                    "quarantine",
                    "\(count == 10_000 ? "10,000 or more" : "\(count)") refused records wait for a person",
                    .advice("`tokenvault quarantine list`, then `show`, and `replay` or `discard`"))
            }
            findings.close("quarantine", "no refused record waits")
        }
    }

    /// Runs `body`; where this role may not, says which could.
    private static func tolerating(
        _ check: String, _ needs: String, _ findings: inout Findings,
        _ body: (inout Findings) throws(PostgresError) -> Void
    ) throws(PostgresError) {
        do {
            try body(&findings)
        } catch {
            guard error.state == .insufficientPrivilege else { throw error }
            findings.notChecked(check, "needs a role in \(needs)")
        }
    }

    private static func checkMigrations(
        _ store: inout VaultStore, _ folder: URL, _ findings: inout Findings
    ) throws(PostgresError) {
        try tolerating("schema-version", "any group but analyst", &findings) { findings throws(PostgresError) in
            let (version, required) = (try store.schemaVersion(), VaultStore.requiredSchemaVersion)
            if version != required {
                findings.failure(
                    "schema-version", "the schema is at \(version), this program needs \(required)",
                    .advice("run `tokenvault database migrate`, or the matching release"))
            }
            findings.close("schema-version", "the schema is at \(version), as this program needs")
        }
        let migrations: [Migration]
        do {
            migrations = try Migration.load(from: folder)
        } catch {
            findings.notChecked("migrations", "\(error)")
            findings.notChecked("schema", "\(error)")
            return
        }
        do {
            _ = try store.verifySchema(from: folder)
        } catch {
            guard case .failed(let file, let reason) = error else {
                if case .database(let error) = error { throw error }
                return findings.notChecked("schema", "\(error)")
            }
            findings.failure(
                "schema", "\(file): \(reason)",
                .advice(
                    "mend the failures named elsewhere here first; else restore what it names from the migration of that number"
                ))
        }
        findings.close("schema", "every verify script passes")
        try tolerating("migrations", "administrator", &findings) { findings throws(PostgresError) in
            for fault in try store.migrationFaults(migrations) {
                findings.failure(
                    "migrations", "migration \(fault)",
                    .advice(
                        "restore the file of the release that applied it; what is missing `tokenvault database migrate` applies"
                    ))
            }
            findings.close("migrations", "\(migrations.count) migrations are the files that were applied")
        }
    }

    private static func checkKeys(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let keys = try store.keyStates()
        let active = keys.filter { $0.state == "active" }
        for (purpose, consequence) in [
            ("token", "nothing can be ingested"), ("recovery", "nothing new could ever be opened"),
            ("signing", "nothing new would be believed"),
        ] where !active.contains(where: { $0.purpose == purpose }) {
            findings.failure(
                "keys", "no \(purpose) key is active: \(consequence)",
                .advice("`tokenvault keys generate` the first time, else `keys add` and `keys activate`"))
        }
        for key in keys where key.state == "compromised" {
            findings.warning(
                "keys", "key \(key.name) is compromised",
                .advice("rotate what it protects (docs/RUNBOOK.md), then destroy it"))
        }
        findings.close("keys", "a token, a recovery and a signing key are active")
    }

    private static func checkSeals(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let recovery = try store.keyStates().filter { $0.purpose == "recovery" && $0.state == "active" }
        for domain in try store.domainsInUse()
        where !recovery.contains(where: { $0.domains?.contains(domain) ?? true }) {
            findings.failure(
                "seals", "no active recovery key may open domain \(domain)",
                .advice("make one with `tokenvault keys add`, and hand it to `tokenvault rotate recovery-key run`"))
        }
        let (lost, all) = try store.dataKeysNobodyOpens()
        if lost > 0 {
            findings.failure(
                "seals",
                "\(lost) of \(all) data keys are sealed to no active recovery key: their values cannot be recovered",
                .advice("`tokenvault rotate recovery-key run` with the old recovery keyring seals them to the new key"))
        }
        findings.close("seals", "each of \(all) data keys is sealed to an active recovery key")
    }
}
