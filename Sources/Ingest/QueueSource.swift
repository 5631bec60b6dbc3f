import Foundation
import Postgres
import SQS

/// Drains one SQS queue.
struct QueueSource: ~Copyable {
    /// A drain is over after this many empty long polls in a row and an approximate count of 0: one empty response
    /// proves nothing on a standard queue.
    static let emptyPollsToEnd = 3
    /// A batch of large bodies ends here (one receive may add 10 MiB), so that memory does not depend on their number.
    static let maximumBatchBytes = 16 << 20

    private var client: QueueClient
    private let keeper: LeaseKeeper
    private let name: String

    init(_ client: consuming QueueClient, keeper: LeaseKeeper, name: String) {
        self.client = client
        self.keeper = keeper
        self.name = name
    }

    mutating func ingest(with writer: inout BatchWriter) throws(IngestError) {
        var damaged = 0
        while true {
            guard !writer.options.shouldStop() else { throw .stopped }
            let batch: DeliveryBatch
            do { batch = try gather(writer.options) } catch { throw .queue(error) }
            damaged += batch.damagedCount
            if batch.isEmpty {
                if damaged > 0 {
                    throw .queue(.invalidResponse(during: .receive, attempts: 1, .wrongChecksum(messages: damaged)))
                }
                return
            }
            try store(batch, with: &writer)
        }
    }

    /// Receives until a batch is full or the queue seems empty; an empty batch means that the drain is over.
    private mutating func gather(_ options: IngestOptions) throws(SQSError) -> DeliveryBatch {
        var batch = DeliveryBatch()
        var emptyPolls = 0
        while batch.count < options.messagesPerBatch, batch.byteCount < Self.maximumBatchBytes {
            let received: DeliveryBatch
            do {
                received = try client.receive(
                    maximum: 10, waitSeconds: batch.isEmpty ? options.pollSeconds : 0,
                    visibilityTimeout: options.visibilityTimeout)
            } catch {
                giveBack(batch)
                throw error
            }
            if received.isEmpty {
                batch.damagedCount += received.damagedCount
                if !batch.isEmpty { break }
                emptyPolls += 1
                if emptyPolls >= Self.emptyPollsToEnd {
                    if try client.approximateCounts().visible == 0 { break }
                    emptyPolls = 0
                }
            } else {
                emptyPolls = 0
                keeper.add(received.leases, seconds: options.visibilityTimeout)
                try batch.append(received)
            }
        }
        return batch
    }

    /// Commits a batch and only then deletes its messages.
    private mutating func store(_ batch: consuming DeliveryBatch, with writer: inout BatchWriter) throws(IngestError) {
        var records = RecordBatch(origin: .queue(name: name), bytes: [], records: [])
        for index in 0..<batch.count {
            let start = records.bytes.count
            batch.withBody(at: index) { body in records.bytes.append(copying: body) }
            records.records.append(
                SourceRecord(
                    range: start..<records.bytes.count, position: .message(batch.messageID(at: index)),
                    date: Self.date(milliseconds: batch.sentTimestamp(at: index)), isTruncated: false))
        }
        defer { wipeBytes(&records.bytes) }
        do {
            let committed = try writer.write(records)
            keeper.release()
            let report = client.delete(batch.acknowledgeAll(after: committed))
            if report.failed > 0 {
                writer.noteUndeleted(report.failed)
                writer.options.warn(
                    "SQS did not delete \(report.failed) messages; they come back and will be recognised as processed")
            }
        } catch {
            giveBack(batch)
            throw error
        }
    }

    private mutating func giveBack(_ batch: borrowing DeliveryBatch) {
        keeper.release()
        if !batch.isEmpty { _ = client.changeVisibility(of: batch.leases, seconds: 0) }
    }

    /// Days since 2000-01-01 (UTC); today where the queue did not say.
    static func date(milliseconds: Int64) -> Int32 {
        let seconds = milliseconds > 0 ? Double(milliseconds) / 1000 : Date().timeIntervalSince1970
        // A time that no calendar of ours holds is a queue's error: today then.
        return Int32(exactly: (seconds / 86_400).rounded(.down) - 10_957) ?? date(milliseconds: 0)
    }
}

extension [UInt8] {
    mutating func append(copying span: Span<UInt8>) {
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
