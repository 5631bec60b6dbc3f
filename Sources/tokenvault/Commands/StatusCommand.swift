import ArgumentParser
import VaultStore

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how many originals, refused records, runs, keys and audit events there are.",
        discussion: """
            Needs a role in tokenvault_operator or tokenvault_auditor. Prints one JSON object; break-glass use of the last \
            seven days stands first, and a warning on standard error says that there was some.
            """)

    @OptionGroup var database: DatabaseOptions

    func run() throws {
        var store = try database.open()
        let output = StandardOutput()
        let summary = try store.statusSummary()
        if summary.breakGlassRecent > 0 {
            Messages.warning(
                "break-glass: \(summary.breakGlassRecent) request(s) in the last 7 days, \(summary.breakGlassOpen) still open; `tokenvault audit list --action recover.break-glass` shows the tokens"
            )
        }
        try output.line(summary.json)
        try output.flush()
    }
}
