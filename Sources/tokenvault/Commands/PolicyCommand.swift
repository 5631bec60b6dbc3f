import ArgumentParser
import VaultStore

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Show or change what recoveries need, per domain.",
        discussion: """
            A domain without a policy of its own has that of *. Waiting requests are held to the stricter of what stood when \
            they were made and what stands now.
            """,
        subcommands: [Show.self, Set.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the policy of every domain.",
            discussion:
                "Needs a role in tokenvault_recoverer, tokenvault_approver, tokenvault_operator or tokenvault_auditor.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Only what holds for this domain, be it the policy of *.") var domain: String?

        func run() throws {
            var store = try database.openChecked()
            var policies = try store.policies()
            if let domain {
                let own = policies.contains { $0.domain == domain }
                policies.removeAll { $0.domain != (own ? domain : "*") }
            }
            let standardOutput = StandardOutput()
            if output.json {
                for policy in policies { try standardOutput.line(policy.json) }
            } else {
                var table = Table(
                    "DOMAIN", "APPROVALS", "VALUES A DAY", "VALIDITY", "BREAK-GLASS A DAY", "HOURS", "REASON", "TICKET")
                for policy in policies {
                    table.add(
                        policy.domain, "\(policy.approvalsNeeded)", "\(policy.valuesPerDay)",
                        durationText(policy.validitySeconds), policy.breakGlassPerDay.map(String.init) ?? "off",
                        policy.hours ?? "always", policy.reasonPattern.map(escapingControls) ?? "any",
                        policy.ticketPattern.map(escapingControls) ?? "any")
                }
                for line in table.lines { try standardOutput.line(line) }
            }
            try standardOutput.flush()
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a domain's policy: only what is named. Audited with old and new.",
            discussion: """
                Needs a role in tokenvault_operator. A domain without a policy of its own starts from that of *.

                  tokenvault policy set --domain ip --approvals 1 --hours "Mon-Fri 08:00-18:00 Europe/Berlin"

                Hours are windows of days (Mon to Sun, ranges, lists), from-to and a time zone by place, or UTC; several are \
                separated by ; and one may go over midnight. They hold when values are asked for and when they are released.
                """)

        @OptionGroup var database: DatabaseOptions
        @Option(help: "The domain, quarantine for refused records, or * for all without a policy of their own.")
        var domain: String
        @Option(help: ArgumentHelp("Approvals of other people that a request needs, 0 to 10.", valueName: "n"))
        var approvals: String?
        @Option(
            help: ArgumentHelp(
                "Values that one person may ask for in a day (UTC), released or not.", valueName: "n"))
        var valuesPerDay: String?
        @Option(
            help: ArgumentHelp("How long a request and its approvals hold, e.g. 90s, 15m, 8h, 2d.", valueName: "time"))
        var validity: String?
        @Option(
            help: ArgumentHelp(
                "Regular expression that the whole reason must match; any takes it away.", valueName: "regex"))
        var reasonPattern: String?
        @Option(
            help: ArgumentHelp(
                "Regular expression that the whole ticket must match; any takes it away.", valueName: "regex"))
        var ticketPattern: String?
        @Option(help: ArgumentHelp("When values may be recovered; always takes it away.", valueName: "windows"))
        var hours: String?
        @Option(
            help: ArgumentHelp(
                "Values that one person may take in a day by break-glass; off forbids it.", valueName: "n"))
        var breakGlass: String?

        func run() throws {
            var changes = JSONLine()
            var isEmpty = true
            func number(_ key: String, _ option: String, _ text: String?) throws {
                guard let text else { return }
                guard let value = Int32(text), value >= 0 else {
                    throw Failure(.usage, "--\(option) must be a whole number from 0 to \(Int32.max)")
                }
                changes.add(key, Int(value))
                isEmpty = false
            }
            func text(_ key: String, _ value: String?, none: String) {
                guard let value else { return }
                changes.add(key, value == none ? nil : value)
                isEmpty = false
            }
            try number("approvals", "approvals", approvals)
            try number("values_per_day", "values-per-day", valuesPerDay)
            if let validity {
                guard let seconds = seconds(validity) else {
                    throw Failure(.usage, "--validity must be a whole number and s, m, h or d, at most 30d, e.g. 15m")
                }
                changes.add("validity_seconds", seconds)
                isEmpty = false
            }
            text("reason_pattern", reasonPattern, none: "any")
            text("ticket_pattern", ticketPattern, none: "any")
            text("hours", hours, none: "always")
            if breakGlass == "off" {
                text("break_glass_per_day", breakGlass, none: "off")
            } else {
                try number("break_glass_per_day", "break-glass", breakGlass)
            }
            guard !isEmpty else {
                throw Failure(.usage, "nothing to change is named; `policy set --help` lists what there is")
            }

            var store = try database.openChecked()
            let receipt = try store.changePolicy(domain: domain, changes: changes.text)
            Messages.receipt(receipt)
            Messages.note(receipt == nil ? "the policy of \(domain) is that already" : "policy of \(domain) changed")
        }
    }
}

/// Whole seconds of `90s`, `15m`, `8h` or `2d`; `nil` for anything else, 0 and more than 30 days.
func seconds(_ text: String) -> Int? {
    let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
    guard let unit = text.last.flatMap({ units[$0] }), text.utf8.first != UInt8(ascii: "+"),
        let count = UInt32(text.dropLast())
    else { return nil }
    let seconds = Int(count) * unit
    return (1...2_592_000).contains(seconds) ? seconds : nil
}

/// `900` as `15m`: the largest unit that gives a whole number.
func durationText(_ seconds: Int) -> String {
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] where seconds > 0 && seconds % unit == 0 {
        return "\(seconds / unit)\(name)"
    }
    return "\(seconds)s"
}

extension PolicyRow {
    var json: String {
        var line = JSONLine()
        line.add("domain", domain)
        line.add("approvals", approvalsNeeded)
        line.add("values_per_day", valuesPerDay)
        line.add("validity_seconds", validitySeconds)
        line.add("reason_pattern", reasonPattern)
        line.add("ticket_pattern", ticketPattern)
        line.add("hours", hours)
        line.add("break_glass_per_day", breakGlassPerDay)
        return line.text
    }
}
