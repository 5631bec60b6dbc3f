import ArgumentParser
import Foundation
import Ingest
import Keys
import Recovery
import VaultCrypto
import VaultStore

struct QuarantineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quarantine",
        abstract: "Look at refused records, and process or discard them.",
        discussion: "Refused records wait sealed, with a cause. Opening one is audited like a recovery.",
        subcommands: [List.self, Show.self, Replay.self, Discard.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List refused records, newest first: where they came from and why they were refused.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Most records listed.") var limit = 50

        func run() throws {
            var store = try database.open()
            let standardOutput = StandardOutput()
            var table = Table("ID", "SINCE", "CAUSE", "SOURCE", "POSITION", "STATE")
            for entry in try store.quarantineList(limit: limit) {
                if output.json {
                    var line = JSONLine()
                    line.add("id", Hex.encode(entry.id))
                    line.add("source", entry.source)
                    line.add("position", entry.position)
                    line.add("cause", entry.cause)
                    line.add("truncated", entry.isTruncated)
                    line.add("created", entry.created)
                    line.add("resolution", entry.resolution)
                    try standardOutput.line(line.text)
                } else {
                    table.add(
                        Hex.encode(entry.id), entry.created, entry.cause, escapingControls(entry.source),
                        escapingControls(entry.position), entry.resolution ?? "waiting")
                }
            }
            if !output.json { for line in table.lines { try standardOutput.line(line) } }
            try standardOutput.flush()
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a refused record as it came. Audited first.",
            discussion: "Needs a role in tokenvault_recoverer or tokenvault_operator, and a recovery keyring.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var keyring: RecoveryKeyringOptions
        @OptionGroup var why: ReasonOptions
        @OptionGroup var output: OutputOptions
        @Option(help: ArgumentHelp("A request of yours that was approved meanwhile.", valueName: "id"))
        var request: String?
        @Argument(help: "The record's id.") var id: String?

        func validate() throws {
            guard (id == nil) != (request == nil) else { throw ValidationError("name one record, or --request ID") }
        }

        func run() throws {
            let asked = try request.map(recordID)
            let ids = try id.map { [try recordID($0)] } ?? []
            let settings = try database.settings()
            let loaded = try keyring.load(settings)
            var review = QuarantineReview(try database.openChecked(), keyring: loaded)
            var (opened, failed) = try open(ids, request: asked, &review, why, settings)
            defer { for index in opened.indices { wipe(&opened[index].bytes) } }
            let standardOutput = StandardOutput()
            for record in opened {
                if output.json {
                    var line = JSONLine()
                    line.add("id", Hex.encode(record.id))
                    line.add("source", record.source)
                    line.add("position", record.position)
                    line.add("cause", record.cause)
                    line.add("truncated", record.isTruncated)
                    line.add("record", String(validating: record.bytes, as: UTF8.self))
                    line.add("record_base64", Data(record.bytes).base64EncodedString())
                    try standardOutput.line(line.text)
                } else if standardOutputIsTerminal {
                    try standardOutput.line(escapingControls(String(decoding: record.bytes, as: UTF8.self)))
                } else {
                    try standardOutput.write(record.bytes + [UInt8(ascii: "\n")])
                }
            }
            try standardOutput.flush()
            if let failure = failed.first {
                throw Failure(.doesNotVerify, "\(Hex.encode(failure.id)): \(failure.reason)")
            }
            guard !opened.isEmpty else { throw Failure(.failed, "there is no such record in the quarantine") }
        }
    }

    struct Replay: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Process refused records again, e.g. after the mapping was mended.",
            discussion: """
                Needs a login role in tokenvault_operator and tokenvault_ingest, and both keyrings. Each record that passes \
                becomes a login row in the transaction that marks it as replayed; the others stay, exit code 3.
                """)

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var ingest: IngestKeyringOption
        @OptionGroup var keyring: RecoveryKeyringOptions
        @OptionGroup var why: ReasonOptions
        @Flag(help: "Replay every record that waits.") var all = false
        @Option(help: ArgumentHelp("Replay the records of a request of yours that was approved.", valueName: "id"))
        var request: String?
        @Argument(help: "Ids of records.") var ids: [String] = []

        func validate() throws {
            guard [all, !ids.isEmpty, request != nil].count(where: { $0 }) == 1 else {
                throw ValidationError("name records to replay, or --all, or --request ID")
            }
        }

        func run() throws {
            let settings = try database.settings()
            let wanted = try all ? nil : ids.map(recordID)
            let asked = try request.map(recordID)
            let path = try settings.requiredPath(.ingestKeyring, flag: ingest.ingestKeyring, option: "ingest-keyring")
            let ingestKeyring = try IngestKeyring.load(path: path)
            let recoveryKeyring = try keyring.load(settings)
            var options = IngestOptions()
            options.database = settings.string(.database, flag: database.database) ?? ""
            options.limits = try database.batchLimits()
            options.shouldStop = { StopSignal.isRequested }
            StopSignal.install()

            var listing = try database.openChecked(options.limits)
            if asked == nil, try listing.quarantineWaiting(wanted, after: nil, limit: 1).isEmpty {
                if all { return Messages.note("nothing waits in the quarantine") }
                throw Failure(
                    .failed, "none of these records waits in the quarantine; see `tokenvault quarantine list`")
            }
            var review = QuarantineReview(try database.openChecked(options.limits), keyring: recoveryKeyring)
            var run = try IngestRun.begin(
                try database.openChecked(options.limits), keyring: ingestKeyring, sources: [], options: options)
            var counts = Counts()
            var failure: (any Error)?
            do {
                if let asked {
                    var (opened, failed) = try open([], request: asked, &review, why, settings)
                    let page = try listing.quarantineWaiting(opened.map(\.id), after: nil, limit: opened.count)
                    try replay(page, &opened, failed, &run, &counts)
                } else {
                    try replay(wanted, &listing, &review, &run, &counts, settings)
                }
            } catch {
                failure = error
            }
            Messages.receipt(try run.finish(outcome: failure == nil ? "replay" : "replay, stopped"))
            Messages.note("\(counts.replayed) records replayed, \(counts.kept) stay in the quarantine")
            if let failure { throw failure }
            let named = Set(wanted ?? []).count
            if counts.found < named {
                throw Failure(.failed, "\(named - counts.found) of the records named do not wait in the quarantine")
            }
            if counts.kept > 0 { throw Failure(.someQuarantined, "\(counts.kept) records stay in the quarantine") }
        }

        /// Records opened at a time, so that memory does not depend on how many wait.
        private static let pageSize = 32

        private struct Counts {
            var (found, replayed, kept) = (0, 0, 0)
        }

        private func replay(
            _ wanted: [UInt128]?, _ listing: inout VaultStore, _ review: inout QuarantineReview,
            _ run: inout IngestRun, _ counts: inout Counts, _ settings: Settings
        ) throws {
            var last: UInt128?
            while true {
                guard !StopSignal.isRequested else { throw IngestError.stopped }
                let page = try listing.quarantineWaiting(wanted, after: last, limit: Self.pageSize)
                guard !page.isEmpty else { return }
                last = page.last?.id
                var (opened, failed) = try open(page.map(\.id), request: nil, &review, why, settings)
                try replay(page, &opened, failed, &run, &counts)
            }
        }

        private func replay(
            _ page: [WaitingRecord], _ opened: inout [OpenedRecord], _ failed: [(id: UInt128, reason: String)],
            _ run: inout IngestRun, _ counts: inout Counts
        ) throws {
            let created = Dictionary(uniqueKeysWithValues: page.map { ($0.id, $0.created) })
            var failed = failed
            counts.found += page.count
            defer { for index in opened.indices { wipe(&opened[index].bytes) } }
            for record in opened {
                guard let date = created[record.id] else { continue }  // somebody else was faster
                do throws(IngestError) {
                    try run.replay(record.bytes, id: record.id, date: date, reason: why.reason)
                    counts.replayed += 1
                } catch {
                    guard case .stillRefused(let cause) = error else { throw error }
                    failed.append((record.id, "still refused: \(cause)"))
                }
            }
            counts.kept += failed.count
            for failure in failed { Messages.warning("\(Hex.encode(failure.id)): \(failure.reason)") }
        }
    }

    struct Discard: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Mark refused records as not needed. Audited; needs a role in tokenvault_operator.")

        @OptionGroup var database: DatabaseOptions
        @Option(help: "Why, for the audit log.") var reason: String
        @Argument(help: "Ids of records.") var ids: [String]

        func run() throws {
            let ids = try ids.map(recordID)
            var store = try database.openChecked()
            for id in ids { Messages.receipt(try store.resolveQuarantine(id, resolution: "discarded", reason: reason)) }
            Messages.note("\(ids.count) records discarded")
        }
    }
}

private func recordID(_ text: String) throws -> UInt128 {
    guard let id = Hex.decodeUInt128(text.replacingOccurrences(of: "-", with: "")) else {
        throw Failure(.usage, "a record's id has 32 hex digits, as `tokenvault quarantine list` prints it")
    }
    return id
}

/// Requests the records, audited, and opens them; or opens those of a request that stands. Tells the hook of a request that
/// waits for approval.
private func open(
    _ ids: [UInt128], request standing: UInt128?, _ review: inout QuarantineReview, _ why: ReasonOptions,
    _ settings: Settings
) throws -> (opened: [OpenedRecord], failed: [(id: UInt128, reason: String)]) {
    if let standing { return try review.open(request: standing) }
    let request = try review.request(ids, reason: why.reason, ticket: why.ticket)
    Messages.receipt(request.receipt)
    guard request.approvalsNeeded == 0 else {
        let asked = try review.standing(of: request.id)
        NotifyHook.start(settings, asked.facts(.request, actor: asked.requester))?.finish()
        throw RecoveryError.waitsForApproval(request: Hex.encode(request.id), approvals: request.approvalsNeeded)
    }
    return try review.open(request: request.id)
}
