/// What a run did, for people and for machines. Counts only.
package struct IngestSummary: Sendable {
    /// Records taken from the sources.
    package var read = 0
    /// Rows committed to `user_logins`.
    package var stored = 0
    /// Records recognised as processed before.
    package var repeated = 0
    /// Records committed to the quarantine, by cause code.
    package var quarantined: [String: Int] = [:]
    /// Keys that the mapping does not know, over all records.
    package var unknownKeys = 0
    /// Originals sent to the vault; it keeps those it did not have.
    package var originalsSent = 0
    /// Messages whose deletion SQS refused to the end; they come back and are recognised.
    package var undeleted = 0
    package var batches = 0

    package init() {}

    package var quarantinedTotal: Int { quarantined.values.reduce(0, +) }

    mutating func add(_ other: IngestSummary) {
        read += other.read
        stored += other.stored
        repeated += other.repeated
        quarantined.merge(other.quarantined, uniquingKeysWith: +)
        unknownKeys += other.unknownKeys
        originalsSent += other.originalsSent
        undeleted += other.undeleted
        batches += other.batches
    }
}
