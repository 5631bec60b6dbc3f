import Foundation
import Postgres
import TestSupport

/// A vault of one suite's own, in the shared private cluster.
struct TestVault: Sendable {
    let cluster: PrivateCluster
    let name: String

    init(_ name: String, on cluster: PrivateCluster? = nil) throws {
        self.cluster = try cluster ?? PrivateCluster.shared.get()
        self.name = name
        try self.cluster.makeVault(name)
    }

    /// A database that somebody else made.
    init(existing name: String, on cluster: PrivateCluster) {
        self.cluster = cluster
        self.name = name
    }

    func connect(_ login: String) throws -> Connection { try cluster.connect(user: login, database: name) }

    /// SQL by psql; throws when a statement fails.
    @discardableResult
    func psql(_ login: String, _ sql: String) throws -> String {
        try cluster.psql(user: login, database: name, sql)
    }

    /// A psql session that goes on after errors, as a person at a terminal would. Errors come as bare SQLSTATEs.
    func session(_ login: String, _ script: String) throws -> Finished { try start(login, script).wait() }

    /// The same, under way.
    func start(_ login: String, _ script: String) throws -> RunningCommand {
        try Command(
            PrivateCluster.psqlProgram,
            [
                "-X", "-q", "-A", "-t", "-v", "VERBOSITY=sqlstate", "-d",
                cluster.connectionString(user: login, database: name),
            ],
            input: Data(script.utf8)
        ).start()
    }

    /// Waits until this many sessions wait for a lock in a statement with this text; `false` after ten seconds.
    func areWaiting(_ count: Int = 1, in text: String) throws -> Bool {
        var connection = try connect("postgres")
        for _ in 0..<200 {
            let rows = try connection.run(
                Statement(
                    "looking for waiters",
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE wait_event_type = 'Lock' AND datname = current_database() AND strpos(query, $1) > 0
                    """, .text(text)))
            if rows.int(row: 0, column: 0)! >= count { return true }
            usleep(50_000)
        }
        return false
    }
}

extension Finished {
    /// The SQLSTATEs of a ``TestVault/session(_:_:)``, in order.
    var states: [String] {
        standardError.split(separator: "\n").compactMap { line in
            line.split(separator: "ERROR:  ").last.flatMap { line.contains("ERROR:  ") ? String($0) : nil }
        }
    }
}

extension Connection {
    /// Runs a script and tells how it was refused: its SQLSTATE, or `nil` when it succeeded.
    mutating func refusal(of script: String) -> String? {
        do {
            try runTrustedScript("trying", script)
            return nil
        } catch {
            return error.state?.code ?? String(describing: error)
        }
    }
}

/// One original that stands in a test's vault, and the data key that it needs.
enum Planted {
    static let token = "ip_v1_000000000000000000000000000000a1"
    static let absent = "ip_v1_000000000000000000000000000000a2"
    static let recoveryKey = "00000000-0000-0000-0000-0000000000f1"
    /// How sealed bytes look in psql's output: no attack may ever print them.
    static let marker = "5ea1ed5ea1ed5ea1ed"

    static let quarantined = "00000000-0000-0000-0000-0000000000c1"

    static func sow(_ vault: TestVault) throws {
        try vault.psql(
            "vault_ingest",
            """
            INSERT INTO vault.original (token, domain, token_version, data_key, sealed)
            VALUES ('00000000-0000-0000-0000-0000000000a1', 'ip', 1, '00000000-0000-0000-0000-0000000000d1',
                    decode(repeat('5ea1ed', 25), 'hex'));
            INSERT INTO vault.data_key (id, domain, signing_key, created_at, commitment, signature)
            VALUES ('00000000-0000-0000-0000-0000000000d1', 'ip', '00000000-0000-0000-0000-0000000000e1',
                    to_timestamp(1700000000), decode(repeat('01', 32), 'hex'), decode(repeat('02', 64), 'hex')),
                   ('00000000-0000-0000-0000-0000000000d2', 'ip', '00000000-0000-0000-0000-0000000000e1',
                    to_timestamp(1700000000), decode(repeat('01', 32), 'hex'), decode(repeat('02', 64), 'hex'));
            INSERT INTO vault.data_key_seal (data_key, recovery_key, sealed)
            VALUES ('00000000-0000-0000-0000-0000000000d1', '\(recoveryKey)', decode(repeat('5ea1ed', 27), 'hex')),
                   ('00000000-0000-0000-0000-0000000000d2', '\(recoveryKey)', decode(repeat('5ea1ed', 27), 'hex'));
            INSERT INTO vault.quarantine (id, source, position, cause, body_mac, data_key, sealed)
            VALUES ('\(quarantined)', 'q', 'm1', 'malformed_json', decode(repeat('03', 16), 'hex'),
                    '00000000-0000-0000-0000-0000000000d1', decode(repeat('5ea1ed', 25), 'hex'));
            """)
    }
}
