import Foundation
import TestSupport
import Testing

@Suite("Doctor", .serialized)
struct DoctorTests {
    @Test(
        "finds nothing wrong with a vault in order, whoever asks",
        arguments: PrivateCluster.logins.map(\.login) + ["vault_admin", "postgres"])
    func healthy(_ user: String) throws {
        try ingest()
        let (status, lines) = try Patient.shared.get().examine(user)
        let wrong = lines.filter(\.isWrong)
        #expect(wrong.isEmpty, "\(wrong.map { "\($0) → \($0.remedy ?? "")" }.joined(separator: "\n"))")
        #expect(status == 0)
        #expect(lines.map(\.check).sorted() == Self.checks, "a check says nothing, or says it twice")
        let unchecked = Set(lines.filter { $0.verdict == "not_checked" }.map(\.check))
        switch user {
        case "postgres": #expect(unchecked == ["recovery-keyring"])
        case "vault_admin": #expect(unchecked == ["recovery-keyring", "client-authentication", "data-room"])
        case "vault_operator":
            #expect(
                unchecked == ["recovery-keyring", "client-authentication", "data-room", "migrations", "messages"])
        default: #expect(unchecked.contains("messages"))
        }
    }

    private static let checks = [
        "backtrace", "client-authentication", "clock", "core", "data-room", "default-privileges", "durability",
        "environment", "event-triggers", "functions", "groups", "ingest-keyring", "keyring-database", "keyring-room",
        "keys", "languages", "libraries", "logins", "memory-lock", "messages", "migrations", "owners",
        "passphrase-file", "prepared-transactions", "privileges", "quarantine", "recovery-keyring", "role-settings",
        "rotation", "runs", "schema", "schema-version", "seals", "server-libraries", "server-version", "standby",
        "statement-logging", "swap", "tls", "triggers",
    ]

    @Test("names what is broken, and its remedy mends it", arguments: Breakage.all)
    func broken(_ breakage: Breakage) throws {
        try ingest()
        let patient = try Patient.shared.get()
        try perform(breakage.deed)
        let (status, lines) = try patient.examine(breakage.user)
        let found = lines.first {
            $0.check == breakage.check && $0.verdict == breakage.verdict && $0.message.contains(breakage.named)
        }
        #expect(found != nil, "only \(lines.filter(\.isWrong).map(\.description).joined(separator: "\n"))")
        #expect(status == (lines.contains { $0.verdict == "failure" } ? 1 : 0))
        if let undo = breakage.undo {
            #expect(found?.remedy?.isEmpty == false)
            try perform(undo)
            return  // not mended by doctor's remedy; what an undoing leaves, the next one's last look sees
        }
        #expect(found.map { ["sql", "shell"].contains($0.remedy_kind) } == true)
        try patient.mend(lines)
        let after = try patient.examine("vault_operator")
        let wrong = after.lines.filter(\.isWrong)
        #expect(wrong.isEmpty, "still: \(wrong.map(\.description).joined(separator: "\n"))")
        #expect(after.status == 0)
    }

    @Test("says 69 where no server answers, and looks at the host all the same")
    func unreachable() throws {
        let (status, lines) = try Patient.shared.get().examine(
            "vault_nobody", environment: ["TOKENVAULT_DATABASE": "host=/nowhere"])
        #expect(status == 69)
        #expect(lines.contains { $0.check == "database" && $0.verdict == "failure" })
        #expect(lines.contains { $0.check == "libraries" && $0.verdict == "ok" })
    }

    @Test("says 69 and to restart the server, where it can no longer load its own libraries")
    func outdatedServer() throws {
        let cluster = try PrivateCluster(purpose: "outdated")
        defer { cluster.stop() }
        let vault = try LiveVault(adopting: "tokenvault", on: cluster)
        defer { vault.remove() }
        // What dlopen says of a library with undefined symbols, it says of one that is no library.
        let library = cluster.folder.appending(path: "plpgsql.so").path
        try Command("/bin/sh", ["-c", "printf broken >\(library); chmod 755 \(library)"]).check()
        _ = try vault.query("UPDATE pg_proc SET probin = '\(library)' WHERE probin LIKE '%plpgsql'")
        let finished = try vault.tokenvault("vault_admin", ["doctor"])
        #expect(finished.status == 69)
        #expect(finished.standardOutput.contains("restart the PostgreSQL server"))
        let other = try vault.tokenvault("vault_admin", ["database", "create-roles"])
        #expect(other.status == 69, "\(other.standardError)")
        #expect(other.standardError.contains("restart"), "\(other.standardError)")
    }

    @Test("names a prepared transaction that waits, and its remedy ends it")
    func prepared() throws {
        let vault = try LiveVault("doctor_prepared")
        defer { vault.remove() }
        func found() throws -> [Line] {
            try Line.all(try vault.tokenvault("vault_admin", ["doctor", "--json"])).filter {
                $0.message.hasPrefix("prepared transaction")
            }
        }
        _ = try vault.query("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'left over';")
        let lines = try found()
        #expect(lines.map(\.verdict) == ["warning"])
        _ = try vault.query(try #require(lines.first?.remedy))
        #expect(try found().filter(\.isWrong).isEmpty)
        #expect(try vault.query("SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'left over'") == "0")
    }

    @Test("tells a standby")
    func standby() throws {
        let cluster = try PrivateCluster(purpose: "standby")
        defer { cluster.stop() }
        let vault = try LiveVault(adopting: "tokenvault", on: cluster)
        defer { vault.remove() }
        try cluster.control("stop-fast")
        try Data().write(to: cluster.dataFolder.appending(path: "standby.signal"))
        try cluster.control("start")
        let finished = try vault.tokenvault("vault_admin", ["doctor"])
        #expect(finished.status == 1)
        #expect(finished.standardOutput.contains("read-only standby"))
        #expect(finished.standardOutput.contains("max_prepared_transactions is not 0"))
    }

    @Test("names each pair of groups that undo each other, and each way around all groups")
    func combinations() throws {
        let patient = try Patient.shared.get()
        let pairs = [
            ("recoverer", "approver", "failure"), ("ingest", "analyst", "failure"), ("ingest", "recoverer", "failure"),
            ("recoverer", "operator", "warning"), ("auditor", "operator", "warning"),
            ("auditor", "recoverer", "warning"), ("auditor", "approver", "warning"),
        ]
        for (first, second, _) in pairs {
            _ = try patient.vault.query(
                "CREATE ROLE \(first)_\(second) LOGIN IN ROLE tokenvault_\(first), tokenvault_\(second)")
        }
        let reaching = [
            "pg_read_all_data", "pg_write_all_data", "pg_read_server_files", "pg_write_server_files",
            "pg_execute_server_program", "tokenvault_owner",
        ]
        let attributes = ["BYPASSRLS", "REPLICATION", "CREATEROLE"]
        _ = try patient.vault.query(
            "CREATE ROLE around LOGIN \(attributes.joined(separator: " ")) "
                + "IN ROLE tokenvault_analyst, \(reaching.joined(separator: ", "))")
        let lines = try patient.examine("vault_nobody").lines.filter { $0.check == "logins" }
        for (first, second, verdict) in pairs {
            let named = "\(first)_\(second) is in tokenvault_\(first) and tokenvault_\(second): "
            #expect(lines.contains { $0.verdict == verdict && $0.message.hasPrefix(named) }, "\(named)\n\(lines)")
        }
        let around = reaching.map { "is a member of \($0)," } + attributes.map { "has \($0)," }
        for named in around {
            #expect(lines.contains { $0.message.hasPrefix("around \(named)") }, "\(named)\n\(lines)")
        }
        try patient.mend(lines)
        let after = try patient.examine("vault_nobody").lines.filter(\.isWrong)
        #expect(after.isEmpty, "\(after)")
        let logins = (pairs.map { "\($0.0)_\($0.1)" } + ["around"]).joined(separator: ", ")
        _ = try patient.vault.query("DROP ROLE \(logins)")
    }

    @Test("says to migrate, where the database holds no vault")
    func empty() throws {
        let patient = try Patient.shared.get()
        let (status, lines) = try patient.examine(
            "postgres",
            environment: [
                "TOKENVAULT_DATABASE": patient.vault.cluster.connectionString(user: "postgres", database: "postgres")
            ])
        #expect(status == 1)
        #expect(
            lines.contains { $0.verdict == "failure" && $0.remedy?.contains("tokenvault database migrate") == true })
    }

    @Test("warns where both keyrings are on one host, where a password is in the environment, where a crash would tell")
    func host() throws {
        let patient = try Patient.shared.get()
        let (status, lines) = try patient.examine(
            "vault_ingest",
            environment: [
                "TOKENVAULT_RECOVERY_KEYRING": patient.vault.folder.appending(path: "recovery.keyring").path,
                "PGPASSWORD": "x", "SWIFT_BACKTRACE": "",
            ])
        #expect(status == 0)
        let warnings = Set(lines.filter { $0.verdict == "warning" }.map(\.check))
        #expect(warnings == ["keyrings-together", "environment", "backtrace"])
        #expect(lines.filter { $0.check == "recovery-keyring" }.map(\.verdict) == ["ok"])
    }

    @Test("names a keyring that is another user's, and who may have it")
    func foreignKeyring() throws {
        let patient = try Patient.shared.get()
        let own = patient.vault.folder.appending(path: "ingest.keyring").path
        let path = geteuid() == 0 ? own + ".foreign" : "/etc/passwd"
        if geteuid() == 0 { try patient.shell("cp -p '\(own)' '\(path)' && chown 65534 '\(path)'") }
        defer { if geteuid() == 0 { try? FileManager.default.removeItem(atPath: path) } }
        let (status, lines) = try patient.examine("vault_nobody", environment: ["TOKENVAULT_INGEST_KEYRING": path])
        let found = lines.filter { $0.check == "ingest-keyring" }
        #expect(status == 1)
        #expect(found.map(\.verdict) == ["failure"], "\(found)")
        #expect(found.first?.message.contains("belongs to user") == true, "\(found)")
        #expect(found.first?.remedy == "chown \(geteuid()) \(path)")
    }

    private func perform(_ deed: Breakage.Deed) throws {
        let patient = try Patient.shared.get()
        switch deed {
        case .sql(let text): _ = try patient.vault.query(text)
        case .shell(let text): try patient.shell(text)
        }
    }

    /// One run, so that data keys and seals stand.
    private func ingest() throws {
        struct Once {
            static let done = Result {
                let vault = try Patient.shared.get().vault
                let file = try vault.file("logins.ndjson", try LiveVault.records(20))
                try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
            }
        }
        _ = try Once.done.get()
    }
}
