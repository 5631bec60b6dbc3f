import ArgumentParser
import VaultStore

struct AuditExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Print events as JSON, one a line, oldest first, for a SIEM.",
        discussion: """
            Go on from the last sequence that arrived:

              tokenvault audit export --since-sequence 41207 >> audit.ndjson
            """)

    @OptionGroup var database: DatabaseOptions

    @Option(help: ArgumentHelp("Only events after this one.", valueName: "sequence")) var sinceSequence = 0

    func validate() throws {
        guard sinceSequence >= 0 else { throw ValidationError("--since-sequence is 0 or more") }
    }

    func run() throws {
        var store = try database.open()
        let standardOutput = StandardOutput()
        _ = try store.readAuditLog(after: sinceSequence) { page in
            for row in 0..<page.count { try standardOutput.line(page.event(row).json) }
        }
        try standardOutput.flush()
    }
}
