import SQS
import TestSupport

/// Stands for a committed transaction.
struct Committed: DurabilityProof, ~Copyable {}

/// Retries at once, so that tests take no longer than the fault itself.
let impatient = RetryPolicy(attempts: 4, base: .milliseconds(2), cap: .milliseconds(5))

extension SQSStub {
    func client(
        retry: RetryPolicy = impatient, credentials: CredentialSource? = nil,
        shouldStop: @escaping @Sendable () -> Bool = { false }
    ) throws -> QueueClient {
        try QueueClient(
            address: QueueAddress(queueURL: Self.queueURL, endpoint: nil, environment: environment),
            credentials: credentials ?? CredentialSource.environment(environment),
            options: QueueClientOptions(retry: retry), shouldStop: shouldStop)
    }
}

extension SQSServer {
    func client(_ queueURL: String, changing changes: [String: String] = [:]) throws -> QueueClient {
        let environment = environment.merging(changes) { $1 }
        return try QueueClient(
            address: QueueAddress(queueURL: queueURL, endpoint: nil, environment: environment),
            credentials: CredentialSource.environment(environment),
            options: QueueClientOptions(retry: impatient))
    }
}

extension DeliveryBatch {
    func text(at index: Int) -> String {
        withBody(at: index) { span in String(decoding: span.indices.map { span[$0] }, as: UTF8.self) }
    }

    var texts: [String] { (0..<count).map { text(at: $0) } }
    var messageIDs: [String] { (0..<count).map { messageID(at: $0) } }
}

/// What a call threw; nil when it did not.
func failure(_ body: () throws -> Void) -> SQSError? {
    do {
        try body()
        return nil
    } catch {
        return error as? SQSError
    }
}
