/// Evidence that work derived from a delivery will survive a crash.
package protocol DurabilityProof: ~Copyable {}

/// Leave to delete one message for good. Only ``DeliveryBatch/acknowledgeAll(after:)`` makes one.
package struct Acknowledgement: Equatable, Sendable {
    let receiptHandle: String
}

/// One message's loan: enough to lengthen it or end it early, never to delete the message.
package struct Lease: Equatable, Sendable {
    let receiptHandle: String
}

/// Messages SQS has lent us. Each ends in exactly one of three ways: it is
/// acknowledged, returned early, or neither, and then SQS lends it out again
/// after its visibility timeout.
///
/// The batch cannot be copied, so no message is acknowledged twice, and cannot
/// be acknowledged without proof of a commit. Bodies are wiped when it dies.
package struct DeliveryBatch: ~Copyable, Sendable {
    /// Messages of this receive that were left out because their body did not have the MD5 that SQS named. SQS lends
    /// them out again after their visibility timeout: a drain that saw any is not complete.
    package var damagedCount = 0

    private var bodies = WipedBuffer()
    private var entries: [Entry] = []

    private struct Entry: Sendable {
        let messageID: String
        let receiptHandle: String
        let sentTimestamp: Int64
        let receiveCount: Int
        let body: Range<Int>
    }

    package init() {}

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    /// Bytes of all bodies taken so far.
    package var byteCount: Int { bodies.count }

    /// The same at every redelivery, while receipt handles change.
    package func messageID(at index: Int) -> String { entries[index].messageID }

    /// When the producer sent it: milliseconds since 1970 by the queue's clock; 0 when the queue did not say.
    package func sentTimestamp(at index: Int) -> Int64 { entries[index].sentTimestamp }

    /// How often SQS has lent it out, this time included; 0 when the queue did not say.
    package func receiveCount(at index: Int) -> Int { entries[index].receiveCount }

    /// Lends the body, untrusted, up to 1 MiB as sent. The span cannot outlive the call.
    package func withBody<R, E: Error>(at index: Int, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try bodies.withBytes(entries[index].body, body)
    }

    /// For keeping the loan alive from another thread, or for giving messages back.
    package var leases: [Lease] { entries.map { Lease(receiptHandle: $0.receiptHandle) } }

    /// What to send to SQS to delete the messages for good.
    ///
    /// - Parameter proof: that what was made from every body here is committed. Only a
    ///   committed transaction can make one, so "delete, then lose" does not compile.
    package consuming func acknowledgeAll(
        after proof: borrowing some DurabilityProof & ~Copyable
    ) -> [Acknowledgement] {
        entries.map { Acknowledgement(receiptHandle: $0.receiptHandle) }
    }

    /// Moves `other`'s messages to the end of this batch.
    package mutating func append(_ other: consuming DeliveryBatch) throws(SQSError) {
        damagedCount += other.damagedCount
        for index in other.entries.indices { try take(index, from: other) }
    }

    /// Moves the messages at `indices` into a batch of their own; the rest keeps its order.
    package mutating func extract(at indices: some Sequence<Int>) throws(SQSError) -> DeliveryBatch {
        var chosen = DeliveryBatch()
        var isChosen = [Bool](repeating: false, count: count)
        for index in indices where !isChosen[index] {
            isChosen[index] = true
            try chosen.take(index, from: self)
        }
        entries = zip(entries, isChosen).filter { !$0.1 }.map(\.0)
        return chosen
    }

    /// False when memory ran out; the batch is then as before.
    mutating func add(
        body: Span<UInt8>, messageID: String, receiptHandle: String, sentTimestamp: Int64, receiveCount: Int
    ) -> Bool {
        let start = bodies.count
        guard bodies.append(body) else { return false }
        entries.append(
            Entry(
                messageID: messageID, receiptHandle: receiptHandle, sentTimestamp: sentTimestamp,
                receiveCount: receiveCount, body: start..<bodies.count))
        return true
    }

    private mutating func take(_ index: Int, from other: borrowing DeliveryBatch) throws(SQSError) {
        let entry = other.entries[index]
        let isStored = other.bodies.withBytes(entry.body) {
            add(
                body: $0, messageID: entry.messageID, receiptHandle: entry.receiptHandle,
                sentTimestamp: entry.sentTimestamp, receiveCount: entry.receiveCount)
        }
        guard isStored else { throw .outOfMemory }
    }
}
