import Foundation
import TestSupport
import Testing

@Suite("Arguments, which everybody on the host can read")
struct ArgumentTests {
    /// Everything that any command takes with a value. Each is a name, a token, a number, a file or a reason: none is a
    /// personal value or a secret. `--user-id` is the one that may be personal: it takes `-`, and its help says so.
    private static let known: Set<String> = [
        "action", "actor", "after", "approvals", "batch-size", "break-glass", "checkpoint", "checkpoint-key", "column",
        "config", "confirm", "data-key", "database", "domain", "domains", "endpoint-url", "from", "hours", "id", "ids",
        "ingest-keyring", "key", "limit", "masked-rows", "max-left-alone", "max-quarantined", "migrations", "minimum",
        "name", "new-passphrase-file", "older-than", "output", "page-size", "passphrase-file", "poll-seconds",
        "previous",
        "purpose", "reason", "reason-pattern", "receipt", "recovery-keyring", "recovery-name", "request",
        "rows-per-move",
        "shared", "signing-name", "since", "since-sequence", "sources", "subcommands", "throttle", "ticket",
        "ticket-pattern", "token", "tokens", "until", "user-id", "user-id-file", "validity", "values-per-day",
        "visibility-seconds",
    ]

    private struct Tree: Decodable {
        struct Node: Decodable {
            struct Argument: Decodable {
                struct Name: Decodable { let name: String }
                let kind: String
                let preferredName: Name?
                let valueName: String?
            }
            let commandName: String
            let arguments: [Argument]?
            let subcommands: [Node]?
        }
        let command: Node
    }

    @Test("no command takes a value, a key or a passphrase as one: a new argument is to be judged here")
    func takesNone() throws {
        let dump = try Command(Repository.tokenvault, ["--experimental-dump-help"]).check()
        let tree = try JSONDecoder().decode(Tree.self, from: Data(dump.utf8))
        var (found, commands) = (Set<String>(), 0)
        func visit(_ node: Tree.Node) {
            commands += 1
            for argument in node.arguments ?? [] where argument.kind != "flag" {
                found.insert(argument.preferredName?.name ?? argument.valueName ?? "?")
            }
            for child in node.subcommands ?? [] { visit(child) }
        }
        visit(tree.command)
        #expect(commands > 40)
        #expect(found.subtracting(Self.known).isEmpty, "who may read these? \(found.subtracting(Self.known))")
    }

    @Test(
        "a password in --database is refused, however it is written, and never repeated",
        arguments: [
            "host=/nowhere password=hunter2", "host=/nowhere password = 'hunter2'", "sslpassword=hunter2 host=/nowhere",
            "postgresql://ada:hunter2@db/vault", "postgres://db/vault?password=hunter2",
            "postgresql://db/vault?user=ada&password=%68unter2", "password='hunter2",
        ])
    func password(_ conninfo: String) throws {
        for arguments in [["status", "--database", conninfo], ["doctor", "--database=" + conninfo, "--json"]] {
            let finished = try Command(Repository.tokenvault, arguments).run()
            #expect(finished.status == 64)
            #expect(finished.standardOutput.isEmpty)
            #expect(finished.standardError.contains("PGPASSFILE"), "\(finished.standardError)")
            #expect(!finished.standardError.contains("unter2"), "\(finished.standardError)")
        }
    }

    @Test(
        "other connection strings pass, and a password in the environment does",
        arguments: [
            (["--database", "host=/nowhere"], ""), (["--database", "host=/nowhere passfile=/nowhere/password"], ""),
            (["--database", "postgresql:///vault?host=/nowhere"], ""), ([], "host=/nowhere password=hunter2"),
        ])
    func noPassword(_ arguments: [String], _ environment: String) throws {
        let finished = try Command(
            Repository.tokenvault, ["status"] + arguments, environment: ["TOKENVAULT_DATABASE": environment]
        ).run()
        #expect(finished.status == 69, "\(finished.standardError)")
        #expect(!finished.standardError.contains("hunter2"))
    }

    @Test(
        "a value that is given by mistake is not repeated",
        arguments: [
            ["tokenize", "--domain", "ip", "--reason", "x", "203.0.113.99"], ["203.0.113.99"],
            ["tokenize", "--domain", "203.0.113.99", "--reason", "x"], ["duplicates", "--limit", "203.0.113.99"],
            ["ingest", "--batch-size=203.0.113.99", "x"], ["keys", "generate", "-p203.0.113.99"],
            ["recover", "--reason", "x", "--ticket", "T-1", "203.0.113.99"],
            ["recover", "--request", "203.0.113.99"], ["quarantine", "replay", "--reason", "x", "203.0.113.99"],
            ["erase", "--reason", "x", "--ticket", "T-1", "203.0.113.99"],
            ["erase", "--reason", "x", "--ticket", "T-1", "--masked-rows", "203.0.113.99", "t"],
            ["audit", "list", "--since", "203.0.113.99"], ["audit", "list", "--token", "203.0.113.99"],
            ["approvals", "approve", "203.0.113.99"], ["status", "--nonsense", "203.0.113.99"],
            ["quarantine", "discard", "--reason", "x", "203.0.113.99"], ["rotate", "203.0.113.99"],
            ["policy", "set", "--domain", "ip", "--values-per-day", "203.0.113.99", "--reason", "x", "--ticket", "T"],
        ])
    func isNotRepeated(_ arguments: [String]) throws {
        let finished = try Command(
            Repository.tokenvault, arguments, environment: ["TOKENVAULT_DATABASE": "host=/nowhere"]
        ).run()
        #expect(finished.status != 0 && !finished.wasKilled)
        #expect(!finished.standardError.isEmpty)
        #expect(
            !(finished.standardError + finished.standardOutput).contains("203.0.113.99"), "\(finished.standardError)")
    }
}
