import ArgumentParser
import VaultStore

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how many originals, refused records, runs, keys and audit events there are.",
        discussion: "Needs a role in tokenvault_operator or tokenvault_auditor. Prints one JSON object.")

    @OptionGroup var database: DatabaseOptions

    func run() throws {
        var store = try database.open()
        let output = StandardOutput()
        try output.line(try store.statusSummary())
        try output.flush()
    }
}
