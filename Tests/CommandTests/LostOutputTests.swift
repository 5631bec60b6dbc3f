import Foundation
import TestSupport
import Testing

@Suite("Standard output that is full or closed", .serialized)
struct LostOutputTests {
    /// How standard output is lost, what the system calls it, and a flag to try with it, so that both forms of each result
    /// are lost once.
    private static let losses: [(redirection: String, reason: String, flag: String?)] = [
        (">/dev/full", "No space left on device", nil), (">&-", "Bad file descriptor", "--json"),
    ]

    private func losing(_ redirection: String, _ command: Command) throws -> Finished {
        try Command(
            "/bin/sh", ["-c", "exec \"$0\" \"$@\" \(redirection)", command.executable] + command.arguments,
            environment: command.environment, input: command.input
        ).run()
    }

    @Test("ends every command that prints results with 1 and the reason")
    func commands() throws {
        let vault = try LiveVault("lost_output")
        defer { vault.remove() }
        let lines =
            "{\"user_id\": \"a\", \"ip\": \"192.0.2.1\"}\n{\"user_id\": \"b\", \"ip\": \"192.0.2.1\"}\n{broken\n"
        let file = try vault.file("logins.ndjson", lines)
        #expect(try vault.tokenvault("vault_ingest", ["ingest", file]).status == 3)
        let token = try vault.query("SELECT DISTINCT masked_ip FROM public.user_logins")
        let refused = try vault.query("SELECT replace(id::text, '-', '') FROM vault.quarantine")
        let why = ["--reason", "test", "--ticket", "T-1"]
        let key = ["--checkpoint-key", vault.folder.appending(path: "checkpoint.key").path]
        try vault.tokenvault("vault_auditor", ["audit", "checkpoint-key", "generate", "--name", "test/audit"] + key)
            .succeeded()
        try vault.tokenvault("vault_operator", ["policy", "set", "--domain", "device_id", "--approvals", "1"])
            .succeeded()
        let device = "device_id_v1_" + String(repeating: "0", count: 32)
        #expect(try vault.tokenvault("vault_recoverer", ["recover"] + why + [device]).status == 75)
        let request = try vault.query(
            "SELECT replace(id::text, '-', '') FROM vault.recovery_request ORDER BY created_at DESC LIMIT 1")
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()

        // In this order: the last ones change what the others print.
        let printing: [(user: String, arguments: [String])] =
            [
                ("vault_admin", ["database", "status"]), ("vault_admin", ["database", "migrate"]),
                ("vault_admin", ["database", "verify"]), ("vault_admin", ["database", "create-roles", "--print"]),
                ("vault_operator", ["keys", "list"]), ("vault_ingest", ["ingest", file]),
                ("vault_ingest", ["tokenize", "--domain", "ip", "--reason", "test"]), ("vault_analyst", ["duplicates"]),
                ("vault_recoverer", ["recover"] + why + [token]), ("vault_approver", ["approvals", "list"]),
                ("vault_approver", ["approvals", "show", request]), ("vault_operator", ["policy", "show"]),
                ("vault_auditor", ["audit", "list"]), ("vault_auditor", ["audit", "verify"]),
                ("vault_auditor", ["audit", "checkpoint"] + key),
                ("vault_auditor", ["audit", "checkpoint-key", "show"] + key),
                ("vault_auditor", ["audit", "export"]), ("vault_operator", ["quarantine", "list"]),
                ("vault_recoverer", ["quarantine", "show"] + why + [refused]), ("vault_operator", ["status"]),
                ("vault_operator", ["doctor"]),
                ("vault_operator", ["erase", "--dry-run"] + why + [token]),
                ("vault_operator", ["expire", "--older-than", "1", "--dry-run"] + why),
            ]
            + ["recovery-key", "data-keys", "token-key"].flatMap { kind in
                ["plan", "run", "status", "verify"].map { ("vault_operator", ["rotate", kind, $0]) }
            } + [
                ("vault_operator", ["erase"] + why + [token]),
                ("vault_operator", ["expire", "--older-than", "1"] + why),
            ]
        let takingFlag = Set(try leaves().filter { $0.names.contains("json") }.map(\.path))
        for (user, arguments) in printing {
            for (redirection, reason, flag) in Self.losses {
                let hasFlag = (1...3).contains { takingFlag.contains(arguments.prefix($0).joined(separator: " ")) }
                let run = try losing(
                    redirection,
                    vault.command(user, arguments + (hasFlag ? [flag].compactMap(\.self) : []), input: "192.0.2.9\n"))
                let name = arguments.joined(separator: " ") + " \(redirection)"
                #expect(run.status == 1 && !run.wasKilled, "\(name): exit \(run.status): \(run.standardError)")
                #expect(
                    run.standardError.hasSuffix("error: cannot write to standard output: \(reason)\n"),
                    "\(name): \(run.standardError)")
            }
        }
        // What was done stands all the same.
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "2")
    }

    @Test("ends help and version with 1 too, of every command")
    func help() throws {
        let leaves = try leaves()
        #expect(leaves.count >= 38)
        for arguments in [["--help"], ["--version"]]
            + leaves.map({ $0.path.split(separator: " ").map(String.init) + ["--help"] })
        {
            let run = try losing(">/dev/full", Command(Repository.tokenvault, arguments))
            #expect(run.status == 1, "\(arguments)")
            #expect(run.standardError == "error: cannot write to standard output: No space left on device\n")
        }
        #expect(try Command(Repository.tokenvault, ["--version"]).check().contains("."))
        #expect(try Command(Repository.tokenvault, ["ingest", "--help"]).check().contains("USAGE: tokenvault ingest"))
    }

    /// A command without subcommands: its path, and the names of its options.
    private struct Leaf {
        let path: String
        let names: [String]
    }

    private struct Described: Decodable {
        struct Argument: Decodable {
            struct Name: Decodable { let name: String }
            let preferredName: Name?
        }
        let commandName: String
        let subcommands: [Described]?
        let arguments: [Argument]?
    }

    private struct Dump: Decodable { let command: Described }

    private func leaves() throws -> [Leaf] {
        let text = try Command(Repository.tokenvault, ["--experimental-dump-help"]).check()
        func leaves(_ command: Described, _ path: [String]) -> [Leaf] {
            let inner = (command.subcommands ?? []).filter { $0.commandName != "help" }
            guard inner.isEmpty else { return inner.flatMap { leaves($0, path + [$0.commandName]) } }
            return [
                Leaf(
                    path: path.joined(separator: " "),
                    names: (command.arguments ?? []).compactMap { $0.preferredName?.name })
            ]
        }
        return leaves(try JSONDecoder().decode(Dump.self, from: Data(text.utf8)).command, [])
    }
}
