import ArgumentParser
import Foundation
import VaultCrypto
import VaultStore

struct ApprovalsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approvals",
        abstract: "See what others ask to recover, and approve or deny it.",
        discussion: """
            Needs a role in tokenvault_approver. Shows who asks for how many values of which domains, why, and which tokens; \
            never a value. Nobody decides on a request of their own. One denial ends a request; an approval counts until the \
            request lapses, and only while its giver is an approver.
            """,
        subcommands: [List.self, Show.self, Approve.self, Deny.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List requests that wait for approval, oldest first.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Most requests listed.") var limit = 50

        func run() throws {
            var store = try database.openChecked()
            let standardOutput = StandardOutput()
            var table = Table("REQUEST", "BY", "SINCE", "LAPSES", "VALUES", "APPROVALS", "TICKET", "REASON")
            for request in try store.requestsToDecide(limit: limit) {
                if output.json {
                    try standardOutput.line(request.json.text)
                } else {
                    table.add(
                        Hex.encode(request.id), escapingControls(request.requester), request.created ?? "",
                        request.lapses, request.countsText, "\(request.approvals) of \(request.approvalsNeeded)",
                        request.ticket.map(escapingControls) ?? "-", escapingControls(request.reason))
                }
            }
            if !output.json { for line in table.lines { try standardOutput.line(line) } }
            try standardOutput.flush()
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print one request and the tokens it asks for, page by page.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Tokens from the one after this place on.") var after = 0
        @Option(help: "Most tokens printed.") var limit = 100
        @Argument(help: "The request's id.") var id: String

        func run() throws {
            let id = try requestID(id)
            var store = try database.openChecked()
            guard let request = try store.requestsToDecide(limit: 1, request: id).first else {
                throw Failure(.refused, "there is no such request, or it has lapsed")
            }
            let items = try store.requestItems(id, after: after, limit: limit)
            let standardOutput = StandardOutput()
            if output.json {
                var line = request.json
                line.add("tokens", items.map(\.item))
                try standardOutput.line(line.text)
            } else {
                for (name, text) in [
                    ("request", Hex.encode(id)), ("by", escapingControls(request.requester)),
                    ("state", request.isBreakGlass ? "\(request.state.rawValue), break-glass" : request.state.rawValue),
                    ("since", request.created ?? ""), ("lapses", request.lapses), ("values", request.countsText),
                    ("approvals", "\(request.approvals) of \(request.approvalsNeeded)"),
                    ("ticket", request.ticket.map(escapingControls) ?? "-"),
                    ("reason", escapingControls(request.reason)),
                ] {
                    try standardOutput.line(name + String(repeating: " ", count: 11 - name.count) + text)
                }
                for item in items { try standardOutput.line("\(item.ordinal)\t\(item.item)") }
            }
            try standardOutput.flush()
            if let last = items.last, last.ordinal < request.itemCount {
                Messages.note("\(request.itemCount - last.ordinal) more: --after \(last.ordinal)")
            }
        }
    }

    struct Approve: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Approve another person's request.")

        @OptionGroup var database: DatabaseOptions
        @Option(help: "Why, for the audit log.") var reason: String?
        @Argument(help: "The request's id.") var id: String

        func run() throws { try decide(id, "approve", reason: reason, database) }
    }

    struct Deny: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deny another person's request, for good; also after an approval.")

        @OptionGroup var database: DatabaseOptions
        @Option(help: "Why, for the audit log.") var reason: String?
        @Argument(help: "The request's id.") var id: String

        func run() throws { try decide(id, "deny", reason: reason, database) }
    }
}

private func decide(_ text: String, _ decision: String, reason: String?, _ database: DatabaseOptions) throws {
    let id = try requestID(text)
    let settings = try database.settings()
    var store = try database.openChecked()
    let request = try store.requestsToDecide(limit: 1, request: id).first
    let decided = try store.decide(id, decision, reason: reason)
    Messages.receipt(decided.receipt)
    if let request {
        let event: NotifyEvent = decision == "approve" ? .approval : .denial
        NotifyHook.start(
            settings,
            request.facts(event, actor: store.user, approvals: decided.approvals, needed: decided.approvalsNeeded)
        )?.finish()
    }
    let hex = Hex.encode(id)
    if decision == "deny" {
        Messages.note("request \(hex) is denied")
    } else if decided.approvals < decided.approvalsNeeded {
        Messages.note("request \(hex) has \(decided.approvals) of \(decided.approvalsNeeded) approvals")
    } else {
        Messages.note("request \(hex) is approved; the requester finishes it: tokenvault recover --request \(hex)")
    }
}

/// 32 hex digits, or a UUID with its dashes.
func requestID(_ text: String) throws -> UInt128 {
    guard let id = Hex.decodeUInt128(text.replacingOccurrences(of: "-", with: "")) else {
        throw Failure(.usage, "a request's id has 32 hex digits, as `recover` and `approvals list` print it")
    }
    return id
}

extension RequestStanding {
    /// `3 ip, 2 device_id`.
    var countsText: String { counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ") }

    var json: JSONLine {
        var line = JSONLine()
        line.add("request", Hex.encode(id))
        line.add("requester", requester)
        line.add("kind", kind)
        line.add("state", state.rawValue)
        line.add("break_glass", isBreakGlass)
        line.add("created", created)
        line.add("lapses", lapses)
        line.add("values", itemCount)
        line.add("domains", counts: counts)
        line.add("approvals", approvals)
        line.add("approvals_needed", approvalsNeeded)
        line.add("reason", reason)
        line.add("ticket", ticket)
        return line
    }
}
