import ArgumentParser
import Erasure
import Foundation
import Tokenization
import VaultStore

struct ExpireCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "expire",
        abstract: "Remove originals past their retention, so that their tokens become irreversible.",
        discussion: """
            Needs a role in tokenvault_operator, and no key. An original is past its retention when it was stored before the cutoff \
            and no row of a registered table dated on or after it (create_date, UTC) holds its token: a value that was seen again \
            is kept, however old its original is. Rows keep their tokens, so duplicates stay visible; the value cannot be \
            recovered any more. A value that comes in again is stored again, as new.

            Without --older-than, each domain's own retention counts, from the setting retention_days, e.g. \
            "ip=400,device_id=730". An expiry that was interrupted is finished first. Waits for a token key rotation to end (exit 75).

              tokenvault expire --older-than 400 --domain ip --dry-run
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var output: OutputOptions

    @Option(
        name: .customLong("older-than"),
        help: ArgumentHelp(
            "Last seen more than so many days ago, or before this UTC date.", valueName: "days|YYYY-MM-DD"))
    var olderThan: String?

    @Option(help: ArgumentHelp("Only values of this domain.", valueName: "name"))
    var domain: String?

    @Option(help: "Why, for the audit log.")
    var reason = "retention"

    @Option(help: ArgumentHelp("The ticket this belongs to, for the audit log.", valueName: "id"))
    var ticket: String?

    @Flag(name: .customLong("dry-run"), help: "Say how many would go; change nothing. Audited.")
    var isDryRun = false

    @Option(name: .customLong("batch-size"), help: "Tokens a transaction, 1 to 100000.")
    var batchSize = 50_000

    func validate() throws {
        guard (1...100_000).contains(batchSize) else { throw ValidationError("--batch-size is 1 to 100000") }
        if let domain, !Domain.isValidName(domain) { throw ValidationError("--domain is not the name of a domain") }
    }

    func run() throws {
        let settings = try database.settings()
        let backups = try BackupRetention(settings)
        var run = try database.erasure(settings, batchSize: batchSize)
        for (domain, cutoff) in try cutoffs(settings) {
            let request = ExpiryRequest(domain: domain, cutoff: cutoff, reason: reason, ticket: ticket)
            while true {
                let report = try isDryRun ? run.plan(request) : run.expire(request)
                Messages.progressEnd()
                Messages.receipt(report.receipt)
                if report.isResumed { Messages.note("an expiry that was interrupted comes first") }
                let receipt = ErasureReceipt(
                    report: report, maskedRows: .keep, isUser: false, backups: backups, expiry: (domain, cutoff))
                try receipt.print(json: output.json)
                if isDryRun || !report.isResumed { break }
            }
        }
    }

    private func cutoffs(_ settings: Settings) throws -> [(domain: String?, cutoff: String)] {
        if let olderThan {
            if let days = Int(olderThan), (0...36_500).contains(days) { return [(domain, Self.date(daysAgo: days))] }
            guard olderThan.wholeMatch(of: #/\d{4}-\d{2}-\d{2}/#) != nil,
                (try? Date("\(olderThan)T00:00:00Z", strategy: .iso8601)) != nil
            else { throw Failure(.usage, "--older-than is a number of days from 0 to 36500, or a date YYYY-MM-DD") }
            return [(domain, olderThan)]
        }
        let retention = try Self.retention(settings)
        let chosen = retention.filter { domain == nil || $0.domain == domain }
        guard !chosen.isEmpty else {
            throw Failure(
                .badConfiguration,
                "no retention is set\(domain.map { " for \($0)" } ?? ""); give --older-than, or set retention_days (TOKENVAULT_RETENTION_DAYS), e.g. \"ip=400,device_id=730\""
            )
        }
        return chosen.map { ($0.domain, Self.date(daysAgo: $0.days)) }
    }

    /// `domain=days` pairs, parsed strictly.
    private static func retention(_ settings: Settings) throws -> [(domain: String, days: Int)] {
        guard let (text, origin) = settings.text(.retentionDays, flag: nil) else { return [] }
        var retention: [(domain: String, days: Int)] = []
        for pair in text.split(separator: ",") {
            let parts = pair.split(separator: "=", omittingEmptySubsequences: false)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard parts.count == 2, Domain.isValidName(parts[0]), let days = Int(parts[1]), (1...36_500).contains(days),
                !retention.contains(where: { $0.domain == parts[0] })
            else {
                throw Failure(
                    .badConfiguration,
                    "retention_days (from \(origin.rawValue)) must be domain=days pairs with commas, each domain once, 1 to 36500 days"
                )
            }
            retention.append((parts[0], days))
        }
        return retention
    }

    private static func date(daysAgo days: Int) -> String {
        String(Date(timeIntervalSinceNow: -86_400 * Double(days)).formatted(.iso8601).prefix(10))
    }
}
