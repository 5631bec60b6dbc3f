import Foundation
import TestSupport
import Testing

@Suite("Doctor, on the way from here to the server", .serialized)
struct TransportTests {
    /// A server that answers over TCP, with TLS, under an address that no rule takes for a local one: Linux leads 0.0.0.0 to
    /// this host.
    private struct RemoteServer {
        static let shared = Result { try RemoteServer() }

        let vault: LiveVault
        let port: Int
        var certificate: String { vault.cluster.dataFolder.appending(path: "server.crt").path }

        private init() throws {
            let script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
            let text = try Command("/usr/bin/env", ["python3", "-c", script]).check()
            port = try #require(Int(text.trimmingCharacters(in: .whitespacesAndNewlines)))
            let cluster = try PrivateCluster(purpose: "tls", settings: "listen_addresses = '127.0.0.1'", port: port)
            vault = try LiveVault(adopting: "tokenvault", on: cluster)
            try shell(
                """
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
                    -addext subjectAltName=IP:0.0.0.0 -keyout $D/server.key -out $D/server.crt 2>/dev/null
                chown --reference=$D $D/server.key $D/server.crt
                chmod 600 $D/server.key
                """)
            _ = try vault.query("ALTER ROLE vault_admin PASSWORD 'secret'")
            _ = try vault.query("ALTER SYSTEM SET ssl = on")
            _ = try vault.query("SELECT pg_reload_conf()")
            for _ in 0..<100 where try vault.query("SHOW ssl") != "on" { usleep(50_000) }
        }

        func shell(_ text: String) throws {
            try Command("/bin/sh", ["-ec", text], environment: ["D": vault.cluster.dataFolder.path]).check()
        }

        /// How the server asks of those who come over TCP.
        func ask(by method: String) throws {
            try shell(
                "printf 'local all all trust\\nhost all all 127.0.0.1/32 \(method)\\n' >$D/pg_hba.conf")
            _ = try vault.query("SELECT pg_reload_conf()")
        }

        /// What `doctor` finds, of its checks of the way.
        func examine(_ parameters: String) throws -> [Line] {
            let finished = try vault.tokenvault(
                "vault_admin", ["doctor", "--json"],
                environment: [
                    "TOKENVAULT_DATABASE": "host=0.0.0.0 port=\(port) user=vault_admin dbname=tokenvault \(parameters)",
                    "PGPASSWORD": "secret",
                ])
            return try Line.all(finished).filter { ["tls", "client-authentication", "data-room"].contains($0.check) }
        }
    }

    @Test(
        "names a connection without TLS, and one that does not check who answers",
        arguments: [
            ("sslmode=disable", "failure", "0.0.0.0 has no TLS"),
            ("sslmode=require", "warning", "sslmode=require does not check who answers"),
            ("sslmode=verify-ca sslrootcert=$C", "warning", "sslmode=verify-ca does not check who answers"),
            ("sslmode=verify-full sslrootcert=$C", "ok", "has TLS"),
        ])
    func tls(_ parameters: String, _ verdict: String, _ named: String) throws {
        let server = try RemoteServer.shared.get()
        try server.ask(by: "scram-sha-256")
        let lines = try server.examine(parameters.replacing("$C", with: server.certificate))
        let tls = lines.filter { $0.check == "tls" }
        #expect(tls.map(\.verdict) == [verdict], "\(lines)")
        #expect(tls.first?.message.contains(named) == true, "\(tls)")
        #expect((tls.first?.remedy != nil) == (verdict != "ok"))
        // It cannot see another host's disk, or its pg_hba.conf; it was asked for a password.
        #expect(lines.filter { $0.check != "tls" }.map(\.verdict) == ["not_checked", "not_checked"], "\(lines)")
    }

    @Test("says that a connection by the socket is local")
    func local() throws {
        let server = try RemoteServer.shared.get()
        let lines = try Line.all(try server.vault.tokenvault("vault_admin", ["doctor", "--json"]))
        #expect(lines.filter { $0.check == "tls" }.map(\.message) == ["the connection is local"])
    }

    @Test("names a server that lets a login in without a password, whoever asks")
    func unasked() throws {
        let server = try RemoteServer.shared.get()
        try server.ask(by: "trust")
        let lines = try server.examine("sslmode=require")
        let found = lines.first { $0.check == "client-authentication" }
        #expect(found?.verdict == "warning")
        #expect(found?.message.contains("0.0.0.0 let this login in without a password") == true, "\(lines)")
        #expect(found?.remedy != nil)
    }
}
