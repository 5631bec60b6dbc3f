import ArgumentParser
import VaultCrypto
import VaultStore

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Read the audit log, and prove that it is whole.",
        discussion: "Needs a role in tokenvault_auditor.",
        subcommands: [List.self, Verify.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List events, newest first.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions

        @Option(help: "Only events of this login role.") var actor: String?
        @Option(help: "Only events of this kind, e.g. recover.request.") var action: String?
        @Option(help: "Only events about this token, key or run.") var object: String?
        @Option(help: "Only events of this ticket.") var ticket: String?
        @Option(help: "Only events from this time on, e.g. 2026-11-23 or 2026-11-23T08:00:00Z.") var since: String?
        @Option(help: "Only events before this time.") var until: String?
        @Option(help: "Most events listed.") var limit = 50

        func run() throws {
            var filter = AuditFilter()
            (filter.actor, filter.action, filter.object, filter.ticket) = (actor, action, object, ticket)
            (filter.since, filter.until) = (since, until)
            var store = try database.open()
            let events = try store.latestAuditEvents(filter, limit: limit)
            let standardOutput = StandardOutput()
            if output.json {
                for event in events { try standardOutput.line(event.json) }
            } else {
                var table = Table("SEQUENCE", "TIME", "ACTOR", "ACTION", "OBJECT", "TICKET", "OUTCOME", "REASON")
                for event in events {
                    table.add(
                        "\(event.sequence)", event.happenedAt, event.actor, event.action,
                        event.object.map(escapingControls) ?? "-", event.ticket.map(escapingControls) ?? "-",
                        event.outcome ?? "-", event.reason.map(escapingControls) ?? "-")
                }
                for line in table.lines { try standardOutput.line(line) }
            }
            try standardOutput.flush()
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Recompute the whole log; exit 65 at the first event that does not verify.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions

        @Option(
            help: ArgumentHelp(
                "A receipt printed earlier; the log must still hold it. May be repeated.", valueName: "sequence:head"))
        var receipt: [String] = []

        func validate() throws {
            for text in receipt where AuditReceipt(text) == nil {
                throw ValidationError(
                    "--receipt needs SEQUENCE:HEAD as a command printed it, the head in 64 hex digits")
            }
        }

        func run() throws {
            let receipts = receipt.compactMap(AuditReceipt.init)
            var store = try database.open()
            let head = try store.auditHead()
            var chain = AuditChain()
            while case let page = try store.auditEvents(after: chain.receipt.sequence, limit: 10_000), !page.isEmpty {
                for event in page where event.sequence <= head.sequence {
                    try chain.append(event)
                    for receipt in receipts
                    where receipt.sequence == event.sequence && receipt.head != chain.receipt.head {
                        throw AuditDamage.receiptDiffers(sequence: receipt.sequence)
                    }
                }
                if chain.receipt.sequence >= head.sequence { break }
            }
            try chain.finish(at: head)
            for receipt in receipts where receipt.sequence > head.sequence {
                throw AuditDamage.receiptDiffers(sequence: receipt.sequence)
            }
            let standardOutput = StandardOutput()
            if output.json {
                var line = JSONLine()
                line.add("verified", chain.receipt.sequence)
                line.add("head", Hex.encode(chain.receipt.head))
                try standardOutput.line(line.text)
            } else {
                try standardOutput.line(
                    "\(chain.receipt.sequence) of \(head.sequence) events verify; head \(chain.receipt.text)")
            }
            try standardOutput.flush()
        }
    }
}

extension AuditReceipt {
    /// `SEQUENCE:HEAD`, as printed.
    var text: String { "\(sequence):\(Hex.encode(head))" }

    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let sequence = Int(parts[0]), sequence >= 0, let head = Hex.decode(String(parts[1])),
            head.count == 32
        else { return nil }
        self.init(sequence: sequence, head: head)
    }
}

extension AuditEvent {
    var json: String {
        var line = JSONLine()
        line.add("sequence", sequence)
        line.add("id", Hex.encode(id))
        line.add("time", happenedAt)
        line.add("actor", actor)
        line.add("address", address)
        line.add("action", action)
        line.add("object", object)
        line.add("reason", reason)
        line.add("ticket", ticket)
        line.add("outcome", outcome)
        line.add("head", Hex.encode(head))
        return line.text
    }
}
