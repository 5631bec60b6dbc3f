import Foundation
package import Keys
package import SQS
import VaultCrypto
package import VaultStore

/// Where records come from.
package enum IngestSource: Sendable {
    /// A path, or `-` for standard input.
    case file(String)
    case queue(QueueAddress, CredentialSource, QueueClientOptions)

    /// Throws when a file cannot be opened, so that a mistyped path ends a run before it begins.
    package func requireReadable() throws(IngestError) {
        if case .file(let path) = self, path != "-", !ByteStream.isPipe(path) { _ = try ByteStream.open(path) }
    }

    var name: String {
        switch self {
        case .file(let path): FileSource(path: path).name
        case .queue(let address, _, _): address.queueName
        }
    }
}

/// One run of the nightly job: sources → batches → transactions → acknowledgements.
package struct IngestRun: ~Copyable {
    private var writer: BatchWriter

    private init(_ writer: consuming BatchWriter) { self.writer = writer }

    /// Begins a run over `sources`; each is then ingested by ``ingest(_:)``.
    package static func begin(
        _ store: consuming VaultStore, keyring: consuming IngestKeyring, sources: [IngestSource], options: IngestOptions
    ) throws(IngestError) -> IngestRun {
        IngestRun(
            try BatchWriter.begin(
                store, keyring: keyring, options: options,
                source: sources.isEmpty ? "quarantine" : sources.map(\.name).joined(separator: " ")))
    }

    /// The run's id, as the audit log and the quarantine name it.
    package var id: String { Hex.encode(writer.run) }

    /// What is committed so far.
    package var summary: IngestSummary { writer.summary }

    /// Ingests one source to its end.
    package mutating func ingest(_ source: IngestSource) throws(IngestError) {
        switch source {
        case .file(let path):
            let today = QueueSource.date(milliseconds: 0)
            try FileSource(path: path).ingest(with: &writer, date: today)
        case .queue(let address, let credentials, let options):
            let client: QueueClient
            do {
                client = try QueueClient(
                    address: address, credentials: credentials, options: options, shouldStop: writer.options.shouldStop)
            } catch { throw .queue(error) }
            let keeper = LeaseKeeper(
                address: address, credentials: credentials, options: options,
                seconds: writer.options.visibilityTimeout, warn: writer.options.warn)
            var drain = QueueSource(client, keeper: keeper, name: address.queueName)
            try drain.ingest(with: &writer)
        }
    }

    /// Processes one quarantined record again; its row and the end of its wait are one transaction.
    ///
    /// - Parameter date: when it was refused, `YYYY-MM-DD…`, for `create_date`.
    /// - Throws: ``IngestError/stillRefused(cause:)`` when it is refused again; it then stays where it is.
    package mutating func replay(
        _ record: [UInt8], id: UInt128, date: String, reason: String
    ) throws(IngestError) {
        let day = try? Date(date, strategy: .iso8601)
        let batch = RecordBatch(
            origin: .quarantine(id: id, reason: reason), bytes: record,
            records: [
                SourceRecord(
                    range: record.indices, position: .message(Hex.encode(id)),
                    date: QueueSource.date(milliseconds: Int64((day ?? Date()).timeIntervalSince1970 * 1000)),
                    isTruncated: false)
            ])
        _ = try writer.write(batch)
    }

    /// Ends the run with one audit event.
    @discardableResult
    package mutating func finish(outcome: String) throws(IngestError) -> AuditReceipt? {
        wipeStack()
        return try writer.finish(outcome: outcome)
    }
}
