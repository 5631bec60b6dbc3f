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

    private func run(_ command: Runbook.Command, in vault: LiveVault) throws {
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
            Thread.sleep(forTimeInterval: 2)
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
        let arguments: [String]
        var status: Int32 = 0
        var isKilled = false
        var prints: [String] = []
    }

    static func sections() throws -> [Section] {
        let text = try String(contentsOfFile: Repository.path("docs/RUNBOOK.md"), encoding: .utf8)
        var sections: [Section] = []
        var isCode = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("## ") {
                sections.append(Section(number: sections.count + 1, title: String(line.dropFirst(3))))
            } else if line.hasPrefix("```") {
                isCode = line == "```sh"
            } else if isCode, line.hasPrefix("#> ") {
                let last = sections[sections.count - 1].commands.count - 1
                sections[sections.count - 1].commands[last].prints.append(String(line.dropFirst(3)))
            } else if isCode, line.hasPrefix("tokenvault ") {
                sections[sections.count - 1].commands.append(command(String(line)))
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
