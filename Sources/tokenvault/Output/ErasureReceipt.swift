import Erasure
import Foundation
import Rotation
import VaultCrypto
import VaultStore

/// How long backups are kept, as the operator configured it: the vault cannot know.
struct BackupRetention {
    let days: Int?

    init(_ settings: Settings) throws {
        let days = try settings.integer(.backupRetentionDays, flag: nil, in: 0...36_500, builtIn: -1)
        self.days = days < 0 ? nil : days
    }

    /// The UTC day on which the last backup that may hold what is erased today is gone.
    var until: String? {
        days.map { String(Date(timeIntervalSinceNow: 86_400 * Double($0 + 1)).formatted(.iso8601).prefix(10)) }
    }
}

/// What an erasure or expiry says at its end: what went, what was kept and why, and what still holds it.
struct ErasureReceipt {
    let report: ErasureReport
    let maskedRows: MaskedRows
    let isUser: Bool
    let backups: BackupRetention
    var expiry: (domain: String?, cutoff: String)?

    func print(json: Bool) throws {
        let output = StandardOutput()
        if json { try printJSON(to: output) } else { try printText(to: output) }
        try output.flush()
        if isUser, report.numbers.ownRows == 0, !report.isResumed {
            Messages.warning("no masked row has this user id; nothing was erased")
        }
        if report.remains["unfinished erasures", default: 0] > 0 {
            Messages.warning(
                "another erasure is unfinished: run its command again (`tokenvault audit list` shows its ticket)")
        }
    }

    private var wouldErase: Int {
        report.isDryRun
            ? (expiry == nil ? report.items.count { $0.state == "waiting" && $0.stands } : report.numbers.asked)
            : report.numbers.erased
    }

    private func outcome(_ item: ErasureItem) -> String {
        switch item.state {
        case "kept": "kept"
        case "absent": "absent"
        case "waiting": item.stands ? "to erase" : "absent"
        default: item.state
        }
    }

    /// What still holds the values or names their tokens, a sentence each.
    var stillHeld: [String] {
        var held: [String] = []
        if let until = backups.until {
            held.append("backups: until \(until), by backup_retention_days \(backups.days ?? 0)")
        } else {
            held.append("backups: unknown until when; set backup_retention_days (TOKENVAULT_BACKUP_RETENTION_DAYS)")
        }
        held.append(
            "WAL, its archives, and replicas: as long as yours keep them; like a backup, they hold the seals that open it, too"
        )
        held.append(
            "this database's files: dead rows, until VACUUM FULL rewrites the tables (docs/RUNBOOK.md, a person asks for erasure)"
        )
        held.append("messages still in the queue and files not yet read: what they bring is stored as new")
        let quarantined = report.remains["quarantine", default: 0]
        if quarantined > 0 {
            held.append(
                "quarantine: \(quarantined) sealed records cannot be searched without keys; look with `tokenvault quarantine show`, and `tokenvault quarantine discard` deletes them"
            )
        }
        let keys = report.remains["unused data keys", default: 0]
        if keys > 0 {
            held.append(
                "data keys: \(keys) that nothing is sealed under stay until the runs that made them count as over")
        }
        if maskedRows == .keep {
            held.append("masked rows: keep their tokens, which no longer lead to a value")
        } else if maskedRows == .clear, expiry == nil {
            held.append(
                "cleared rows: keep the user id and the columns that hold no token; --masked-rows delete removes them")
        }
        held.append(
            "audit log and tombstones: name the tokens; requests to recover: \(report.remains["requests", default: 0]) of them"
        )
        held.append("other systems: exports, lists of recovered values and tokens that people keep")
        return held
    }

    private func printText(to output: StandardOutput) throws {
        let numbers = report.numbers
        if !report.items.isEmpty {
            var table = Table("OUTCOME", "TOKEN", "ROWS", "OTHER USERS")
            for item in report.items { table.add(outcome(item), item.token, "\(item.rows)", "\(item.otherUsers)") }
            for line in table.lines { try output.line(line) }
            try output.line("")
        }
        let dry = report.isDryRun
        var table = Table(
            expiry == nil ? "ERASURE" : "EXPIRY", dry ? "dry run, nothing was changed" : Hex.encode(report.id))
        if let expiry { table.add("\(expiry.domain ?? "every domain"), last seen before", expiry.cutoff) }
        table.add(dry ? "originals to remove" : "originals removed", "\(wouldErase)")
        if expiry == nil {
            table.add("not in the vault", "\(dry ? report.items.count { outcome($0) == "absent" } : numbers.absent)")
            table.add("kept, other users have them", "\(numbers.kept)")
            if isUser { table.add("rows of this user", "\(numbers.ownRows)") }
            if maskedRows != .keep, !dry {
                table.add("rows cleared", "\(numbers.rowsCleared)")
                table.add("rows deleted", "\(numbers.rowsDeleted)")
            } else if dry {
                table.add("masked rows", maskedRows.rawValue)
            }
        } else {
            table.add("kept, seen since", "\(numbers.kept)")
        }
        if !dry { table.add("data keys removed", "\(numbers.keysDropped)") }
        for line in table.lines { try output.line(line) }
        try output.line("")
        try output.line("STILL HELD BY")
        for sentence in stillHeld { try output.line(sentence) }
    }

    private func printJSON(to output: StandardOutput) throws {
        for item in report.items {
            var line = JSONLine()
            line.add("token", item.token)
            line.add("outcome", outcome(item).replacing(" ", with: "_"))
            line.add("rows", item.rows)
            line.add("other_users", item.otherUsers)
            try output.line(line.text)
        }
        let numbers = report.numbers
        var line = JSONLine()
        line.add(expiry == nil ? "erasure" : "expiry", report.isDryRun ? nil : Hex.encode(report.id))
        line.add("dry_run", report.isDryRun)
        line.add("resumed", report.isResumed)
        if let expiry {
            line.add("domain", expiry.domain)
            line.add("cutoff", expiry.cutoff)
        }
        line.add("originals", wouldErase)
        line.add("absent", numbers.absent)
        line.add("kept", numbers.kept)
        line.add("user_rows", isUser ? numbers.ownRows : nil)
        line.add("rows_cleared", numbers.rowsCleared)
        line.add("rows_deleted", numbers.rowsDeleted)
        line.add("data_keys", numbers.keysDropped)
        line.add("backups_until", backups.until)
        line.add("quarantined", report.remains["quarantine", default: 0])
        line.add("still_held", stillHeld)
        try output.line(line.text)
    }
}

extension DatabaseOptions {
    /// A session for erasing, with progress on a terminal and a line of JSON a second elsewhere.
    func erasure(_ settings: Settings, batchSize: Int) throws -> ErasureRun {
        var options = ErasureOptions()
        options.database = settings.string(.database, flag: database) ?? ""
        options.batchSize = batchSize
        options.shouldStop = { StopSignal.isRequested }
        options.warn = { Messages.warning($0) }
        let reporter = ProgressReporter()
        options.progress = { done, total in
            reporter.report(RotationProgress(step: "tokens", pass: 1, done: done, total: total))
        }
        StopSignal.install()
        return ErasureRun(try openChecked(), options: options)
    }
}

extension Messages {
    /// Takes a progress bar off the terminal.
    static func progressEnd() { if isatty(STDERR_FILENO) == 1 { progress("") } }
}
