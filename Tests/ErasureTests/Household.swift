import Foundation
import TestSupport

/// A vault whose rows are known: alice has an address of her own, and shares one, and a device, with bob.
struct Household {
    static let alone = "198.51.100.7"
    static let together = "203.0.113.20"
    static let bobs = "192.0.2.33"

    let vault: LiveVault

    /// - Parameter prepare: runs before anything is ingested.
    init(_ name: String, prepare: (LiveVault) throws -> Void = { _ in }) throws {
        vault = try LiveVault(name)
        try prepare(vault)
        try ingest("first", Self.records)
    }

    static let records: [String] = [
        record("alice", alone, "PHONE-A"), record("alice", alone, "PHONE-A"), record("alice", together, "TABLET"),
        record("bob", together, "TABLET"), record("bob", bobs, "PHONE-B"), record("carol", "192.0.2.34", "PHONE-C"),
    ]

    static func record(_ user: String, _ ip: String, _ device: String) -> String {
        "{\"user_id\": \"\(user)\", \"ip\": \"\(ip)\", \"device_id\": \"\(device)\", \"locale\": \"DE\"}"
    }

    @discardableResult
    func ingest(_ name: String, _ records: [String]) throws -> Finished {
        let file = try vault.file("\(name).ndjson", records.joined(separator: "\n") + "\n")
        return try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
    }

    /// The token of a value under the active key.
    func token(_ value: String, _ domain: String = "ip") throws -> String {
        let all = try vault.tokenvault(
            "vault_ingest", ["tokenize", "--domain", domain, "--reason", "test"], input: value + "\n"
        ).succeeded().standardOutput
        return String(all.split(whereSeparator: \.isWhitespace).last { $0.hasPrefix(domain) } ?? "")
    }

    func erase(_ arguments: [String], user: String? = nil, as login: String = "vault_operator") throws -> Finished {
        let why = ["--reason", "erasure request", "--ticket", "DPO-18"]
        let whom = user == nil ? [] : ["--user-id", "-"]
        return try vault.tokenvault(login, ["erase"] + why + whom + arguments, input: user ?? "")
    }

    func recover(_ token: String) throws -> Finished {
        try vault.tokenvault("vault_recoverer", ["recover", "--reason", "test", "--ticket", "T-1", token])
    }

    func count(_ sql: String) throws -> Int { Int(try vault.query(sql)) ?? -1 }

    /// Every table of the vault and the rows, but the log of who did what.
    func fingerprint() throws -> String {
        let parts = try tables(in: ["vault", "public"]).map { name in
            "SELECT '\(name)', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM \(name) AS t"
        }
        return try vault.query(parts.joined(separator: " UNION ALL "))
    }

    /// Every table that holds the token, as text or as uuid in any column.
    func places(of token: String) throws -> [String] {
        try tables(in: ["vault", "public", "audit"]).filter { name in
            try count(
                "SELECT count(*) FROM \(name) AS t WHERE strpos(replace(t::text, '-', ''), '\(token.suffix(32))') > 0")
                > 0
        }
    }

    private func tables(in schemas: [String]) throws -> [String] {
        try vault.query(
            """
            SELECT schemaname || '.' || tablename FROM pg_tables
            WHERE schemaname IN ('\(schemas.joined(separator: "', '"))') ORDER BY 1
            """
        ).split(separator: "\n").map(String.init)
    }

    /// The relations of this database whose files hold the token's bytes, or its hex digits.
    func relationsOnDisk(holding token: String) throws -> Set<String> {
        let hex = String(token.suffix(32))
        return try relationsOnDisk(holding: [Self.bytes(hex), Data(hex.utf8)])
    }

    /// The relations of this database whose files hold one of these.
    func relationsOnDisk(holding wanted: [Data]) throws -> Set<String> {
        let folder = URL(
            filePath: try vault.query(
                "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database WHERE datname = current_database()"
            ))
        var names: Set<String> = []
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            guard let content = try? Data(contentsOf: file), wanted.contains(where: { content.range(of: $0) != nil })
            else { continue }
            let node = file.lastPathComponent.prefix { $0.isNumber }
            names.insert(
                try vault.query(
                    "SELECT relnamespace::regnamespace || '.' || relname FROM pg_class WHERE pg_relation_filenode(oid) = \(node)"
                ))
        }
        return names
    }

    static func bytes(_ hex: String) -> Data {
        let digits = Array(hex)
        return Data(
            stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...($0 + 1)]), radix: 16) })
    }

    /// What the runbook says to rewrite after an erasure.
    static func runbookRewrites() throws -> [String] {
        let text = try String(contentsOfFile: Repository.path("docs/RUNBOOK.md"), encoding: .utf8)
        let section = text.split(separator: "## A person asks for erasure").last?.split(separator: "\n## ").first ?? ""
        return section.split(separator: "\n").filter { $0.hasPrefix("    VACUUM ") }.map(String.init)
    }

    /// Rows hold no token that neither has an original nor was erased; and every original opens.
    func danglingTokens() throws -> Int {
        try count(
            """
            SELECT count(*) FROM public.user_logins AS login
            CROSS JOIN LATERAL (VALUES (masked_ip), (masked_device_id)) AS held (token)
            WHERE held.token IS NOT NULL
              AND NOT EXISTS (SELECT FROM vault.original WHERE token = right(held.token, 32)::uuid)
            """)
    }
}
