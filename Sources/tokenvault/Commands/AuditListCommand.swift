import ArgumentParser
import VaultStore

struct AuditListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List events, newest first; break-glass before everything else.")

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Only events of this login role.") var actor: String?
    @Option(help: "Only events of this kind, e.g. recover.request.") var action: String?
    @Option(name: [.customLong("token"), .customLong("object")], help: "Only events about this token, key or run.")
    var object: String?
    @Option(help: "Only events of this ticket.") var ticket: String?
    @Option(help: "Only events from this time (UTC) on, e.g. 2026-11-23 or 2026-11-23T08:00:00Z.") var since: String?
    @Option(help: "Only events before this time (UTC).") var until: String?
    @Option(help: "Most events listed.") var limit = 50

    func validate() throws {
        guard (1...1_000_000).contains(limit) else { throw ValidationError("--limit is 1 to 1000000") }
        for (name, time) in [("since", since), ("until", until)] {
            if let time, instant(time) == nil {
                throw ValidationError("--\(name) needs a time like 2026-11-23 or 2026-11-23T08:00:00Z")
            }
        }
    }

    func run() throws {
        var filter = AuditFilter()
        (filter.actor, filter.action, filter.object, filter.ticket) = (actor, action, object, ticket)
        (filter.since, filter.until) = (since.flatMap(instant), until.flatMap(instant))
        var store = try database.open()
        let events = try store.latestAuditEvents(filter, limit: limit)
        let standardOutput = StandardOutput()
        if output.json {
            for event in events { try standardOutput.line(event.json) }
        } else {
            var table = Table("SEQUENCE", "TIME", "ACTOR", "ACTION", "OBJECT", "TICKET", "OUTCOME", "REASON")
            for event in events {
                table.add(
                    "\(event.sequence)", event.time, event.actor, event.action,
                    event.object.map(escapingControls) ?? "-", event.ticket.map(escapingControls) ?? "-",
                    event.outcome.map(escapingControls) ?? "-", event.reason.map(escapingControls) ?? "-")
            }
            for line in table.lines { try standardOutput.line(line) }
        }
        try standardOutput.flush()
    }

    /// A date or a UTC time as RFC 3339, so that the session's time zone does not matter; `nil` for another form.
    private func instant(_ text: String) -> String? {
        let form = Array("0000-00-00T00:00:00Z".utf8)
        let whole = text.utf8.count == 10 ? text + "T00:00:00Z" : text
        guard whole.utf8.count == form.count else { return nil }
        let fits = zip(whole.utf8, form).allSatisfy { byte, expected in
            expected == UInt8(ascii: "0") ? (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) : byte == expected
        }
        return fits ? whole : nil
    }
}
