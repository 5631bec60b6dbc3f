import ArgumentParser
import VaultStore

struct DuplicatesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "duplicates",
        abstract: "List the tokens that stand in more than one login row.",
        discussion: "Needs a role in tokenvault_analyst. Equal values have equal tokens; the values stay sealed.")

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "masked_ip, masked_device_id or masked_ip_net.")
    var column: MaskedColumn = .ip

    @Option(help: "Smallest number of rows in a group.")
    var minimum = 2

    @Option(help: "Most groups listed.")
    var limit = 50

    func validate() throws {
        guard minimum >= 2 else { throw ValidationError("--minimum must be 2 or more") }
        guard limit >= 1 else { throw ValidationError("--limit must be 1 or more") }
    }

    func run() throws {
        var store = try database.open()
        let groups = try store.duplicates(of: column, minimum: minimum, limit: limit)
        let standardOutput = StandardOutput()
        if output.json {
            for group in groups {
                var line = JSONLine()
                line.add("token", group.token)
                line.add("logins", group.logins)
                line.add("distinct_users", group.users)
                line.add("first_seen", group.firstSeen)
                line.add("last_seen", group.lastSeen)
                try standardOutput.line(line.text)
            }
        } else {
            var table = Table("TOKEN", "LOGINS", "USERS", "FIRST SEEN", "LAST SEEN")
            for group in groups {
                table.add(group.token, "\(group.logins)", "\(group.users)", group.firstSeen, group.lastSeen)
            }
            for line in table.lines { try standardOutput.line(line) }
        }
        try standardOutput.flush()
    }
}

extension MaskedColumn: ExpressibleByArgument {}
