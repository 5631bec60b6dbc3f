package import VaultStore

/// How a run behaves. Set once by the command layer.
package struct IngestOptions: Sendable {
    /// libpq connection string, kept for reconnecting.
    package var database = ""
    /// Time-outs of each session.
    package var limits = SessionLimits.batch
    /// Records a transaction.
    package var batchSize = 10_000
    /// Stop when more records than this are refused; `nil` for no limit.
    package var maxQuarantined: Int?
    /// How long a batch is tried again while the database is away.
    package var retryFor: Duration = .seconds(30)
    /// Attempts that a batch has at least, however long each took.
    package var leastAttempts = 3
    /// Length of one long poll, 0 to 20 seconds.
    package var pollSeconds = 10
    /// Messages of one transaction.
    package var messagesPerBatch = 1_000
    /// How long SQS lends us a message before it gives it to another.
    package var visibilityTimeout = 300
    /// Asked between steps; true ends the run after the batch in hand.
    package var shouldStop: @Sendable () -> Bool = { false }
    /// Told after each committed batch.
    package var progress: @Sendable (IngestSummary) -> Void = { _ in }
    /// Told of what a person should know, without values.
    package var warn: @Sendable (String) -> Void = { _ in }

    package init() {}
}
