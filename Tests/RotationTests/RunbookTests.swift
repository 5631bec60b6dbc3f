import Foundation
import TestSupport
import Testing

@Suite("The runbook")
struct RunbookTests {
    @Test("does what it says, command by command", arguments: try Runbook.sections())
    func section(_ section: Runbook.Section) throws {
        let vault = try LiveVault("runbook_\(section.number)")
        defer { vault.remove() }
        let file = try vault.file(
            "logins.ndjson", try LiveVault.records(400, ["--addresses", "60", "--devices", "60"]))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        for command in section.commands { try run(command, in: vault) }
    }

    @Test("has a section for every case that an operator meets")
    func cases() throws {
        let titles = try Runbook.sections().map { $0.title.lowercased() }
        for word in [
            "recovery key", "data keys", "token key", "leaves", "leaked", "lost", "compromised", "interrupted",
            "erasure", "retention", "back",
        ] {
            #expect(titles.contains { $0.contains(word) }, "no section about \(word)")
        }
    }

    @Test("lets the auditor's script sign night after night, and say so when the log was changed")
    func auditor() throws {
        let vault = try LiveVault("runbook_auditor")
        defer { vault.remove() }
        let home = vault.folder.appending(path: "auditor").path
        try FileManager.default.createDirectory(atPath: "\(home)/checkpoints", withIntermediateDirectories: true)
        let text = try Runbook.lines().map { $0.replacing("/home/auditor", with: home) }
        let start = try #require(text.firstIndex { $0.hasPrefix("## The auditor") })
        let blocks = text[start...].split { !$0.hasPrefix("    ") }.map { $0.joined(separator: "\n") }
        try #require(blocks.count == 2)
        let key = blocks[0].split(separator: "\n").first { $0.contains("export") } ?? ""
        func shell(_ script: String) throws -> Finished {
            var command = vault.command("vault_auditor", [])
            command.executable = "/usr/bin/bash"
            command.arguments = ["-eu", "-c", "\(key)\n\(script)"]
            let program = URL(filePath: Repository.tokenvault).deletingLastPathComponent().path
            command.environment["PATH"] = "\(program):/usr/bin:/bin"
            return try command.run()
        }
        try shell(blocks[0]).succeeded()
        // The script names its file by the day: another day is another name.
        for day in ["2026-01-01", "2026-01-02"] {
            try shell(blocks[1].replacing("$(date -u +%F)", with: day)).succeeded()
            try vault.tokenvault("vault_operator", ["keys", "add", "signing", "--name", "signer-\(day)"]).succeeded()
        }
        let signed = try FileManager.default.contentsOfDirectory(atPath: "\(home)/checkpoints").sorted()
        #expect(signed.filter { $0.hasSuffix(".checkpoint") } == ["2026-01-01.checkpoint", "2026-01-02.checkpoint"])
        _ = try vault.query(
            "ALTER TABLE audit.event DISABLE TRIGGER ALL; UPDATE audit.event SET outcome = 'other' WHERE sequence = 2")
        #expect(try shell(blocks[1]).status == 65)
    }

    private func run(_ command: Runbook.Command, in vault: LiveVault) throws {
        guard command.sql == nil else {
            try vault.cluster.psql(user: "vault_admin", database: vault.database, command.text)
            return
        }
        var arguments = command.arguments
        if let place = arguments.firstIndex(of: "TOKEN") {
            arguments[place] = try vault.query("SELECT masked_ip FROM public.user_logins LIMIT 1")
        }
        if let place = arguments.firstIndex(of: "user.txt") {
            let file = vault.folder.appending(path: "user.txt")
            if !FileManager.default.fileExists(atPath: file.path) {
                try Data(vault.query("SELECT user_id FROM public.user_logins LIMIT 1").utf8).write(to: file)
            }
            arguments[place] = file.path
        }
        let user = ["recover": "vault_recoverer", "ingest": "vault_ingest"][arguments[0]] ?? "vault_operator"
        let running = try vault.command(user, arguments).start()
        if command.isKilled {
            try vault.wait(for: "a rotation under way") {
                try vault.query("SELECT count(*) FROM vault.rotation WHERE values_done > 0") != "0"
            }
            running.signal(SIGKILL)
        }
        let finished = running.wait()
        #expect(
            command.isKilled ? finished.wasKilled : finished.status == command.status,
            "\(command.text): \(finished.standardError)")
        for expected in command.prints {
            #expect(
                (finished.standardOutput + finished.standardError).contains(expected),
                "\(command.text) does not print \(expected): \(finished.standardOutput)\(finished.standardError)")
        }
    }
}

/// docs/RUNBOOK.md, as far as it can be run.
enum Runbook {
    struct Section: Sendable, CustomTestStringConvertible {
        let number: Int
        let title: String
        var commands: [Command] = []

        var testDescription: String { title }
    }

    struct Command: Sendable {
        let text: String
        var arguments: [String] = []
        /// What the database's owner runs by psql.
        var sql: String?
        var status: Int32 = 0
        var isKilled = false
        var prints: [String] = []
    }

    struct Unreadable: Error {
        let line: String
    }

    static func lines() throws -> [String] {
        try String(contentsOfFile: Repository.path("docs/RUNBOOK.md"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Throws for a line of a code block that would not be run.
    static func sections() throws -> [Section] {
        var sections: [Section] = []
        var isCode = false
        for line in try lines() {
            let last = (sections.last?.commands.count ?? 0) - 1
            if line.hasPrefix("## ") {
                sections.append(Section(number: sections.count + 1, title: String(line.dropFirst(3))))
            } else if line.hasPrefix("```") {
                guard isCode || line == "```sh" else { throw Unreadable(line: line) }
                isCode.toggle()
            } else if isCode, line.hasPrefix("#> "), last >= 0 {
                sections[sections.count - 1].commands[last].prints.append(String(line.dropFirst(3)))
            } else if isCode, line.hasPrefix("tokenvault ") {
                sections[sections.count - 1].commands.append(command(line))
            } else if isCode {
                throw Unreadable(line: line)
            } else if line.hasPrefix("    VACUUM ") {
                let sql = line.trimmingCharacters(in: .whitespaces)
                sections[sections.count - 1].commands.append(Command(text: sql, sql: sql))
            } else if line.hasPrefix("    "),
                !["Before anything", "The auditor's night"].contains(sections.last?.title)
            {
                throw Unreadable(line: line)
            }
        }
        return sections.filter { !$0.commands.isEmpty }
    }

    private static func command(_ line: String) -> Command {
        let parts = line.split(separator: " # ", maxSplits: 1)
        var arguments: [String] = []
        for (index, piece) in parts[0].split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
            if index % 2 == 1 {
                arguments.append(String(piece))
            } else {
                arguments += piece.split(separator: " ").map(String.init)
            }
        }
        var command = Command(text: line, arguments: Array(arguments.dropFirst()))
        if parts.count > 1 {
            if parts[1] == "killed" { command.isKilled = true }
            if parts[1].hasPrefix("exit ") { command.status = Int32(parts[1].dropFirst(5)) ?? -1 }
        }
        return command
    }
}
