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
        @Argument(help: "The record's id.") var id: String

        func run() throws {
            let id = try recordID(id)
            var (opened, failed, _) = try open([id], database, keyring, why)
            if let failure = failed.first {
                throw Failure(.doesNotVerify, "\(Hex.encode(failure.id)): \(failure.reason)")
            }
            guard !opened.isEmpty else { throw Failure(.failed, "there is no such record in the quarantine") }
            defer { wipe(&opened[0].bytes) }
            let standardOutput = StandardOutput()
            if standardOutputIsTerminal {
                try standardOutput.line(escapingControls(String(decoding: opened[0].bytes, as: UTF8.self)))
            } else {
                try standardOutput.write(opened[0].bytes + [UInt8(ascii: "\n")])
            }
            try standardOutput.flush()
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
        @Argument(help: "Ids of records.") var ids: [String] = []

        func validate() throws {
            guard all != !ids.isEmpty else { throw ValidationError("name records to replay, or --all") }
        }

        func run() throws {
            let settings = try database.settings()
            var store = try database.openChecked()
            let entries = try store.quarantineList(limit: Int(Int32.max))
            let wanted = try all ? Set(entries.filter { $0.resolution == nil }.map(\.id)) : Set(ids.map(recordID))
            guard !wanted.isEmpty else { return Messages.note("nothing waits in the quarantine") }
            let path = try settings.requiredPath(.ingestKeyring, flag: ingest.ingestKeyring, option: "ingest-keyring")
            let ingestKeyring = try IngestKeyring.load(path: path)
            var (opened, failed, _) = try open(Array(wanted), database, keyring, why)

            var options = IngestOptions()
            options.database = settings.string(.database, flag: database.database) ?? ""
            var run = try IngestRun.begin(store, keyring: ingestKeyring, sources: [], options: options)
            var replayed = 0
            for index in opened.indices {
                defer { wipe(&opened[index].bytes) }
                let created = entries.first { $0.id == opened[index].id }?.created ?? ""
                do throws(IngestError) {
                    try run.replay(opened[index].bytes, id: opened[index].id, date: created, reason: why.reason)
                    replayed += 1
                } catch {
                    guard case .stillRefused(let cause) = error else { throw error }
                    failed.append((opened[index].id, "still refused: \(cause)"))
                }
            }
            Messages.receipt(try run.finish(outcome: "replay"))
            for failure in failed { Messages.warning("\(Hex.encode(failure.id)): \(failure.reason)") }
            Messages.note("\(replayed) records replayed, \(failed.count) stay in the quarantine")
            if !failed.isEmpty { throw Failure(.someQuarantined, "\(failed.count) records stay in the quarantine") }
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

private func open(
    _ ids: [UInt128], _ database: DatabaseOptions, _ keyring: RecoveryKeyringOptions, _ why: ReasonOptions
) throws -> (opened: [OpenedRecord], failed: [(id: UInt128, reason: String)], receipt: AuditReceipt) {
    let loaded = try keyring.load(database.settings())
    var review = QuarantineReview(try database.openChecked(), keyring: loaded)
    let request = try review.request(ids, reason: why.reason, ticket: why.ticket)
    Messages.receipt(request.receipt)
    guard request.approvalsNeeded == 0 else {
        throw RecoveryError.waitsForApproval(request: Hex.encode(request.id), approvals: request.approvalsNeeded)
    }
    let (opened, failed) = try review.open(request: request.id)
    return (opened, failed, request.receipt)
}
