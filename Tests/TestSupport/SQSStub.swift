package import Foundation

/// An SQS stand-in that breaks on demand: scripts/sqs_stub.py, which describes scenarios and faults. One a test.
package final class SQSStub: Sendable {
    package let endpoint: String
    private let helper: HelperProcess

    /// What the stub saw and did.
    package struct State: Decodable, Sendable {
        package struct Request: Decodable, Sendable {
            package let action: String
            package let connection: Int
            /// Why the signature was refused; nil when it was right.
            package let signature: String?
            package let at: Double
            package let entries: Int
        }
        package let deleted: [String]
        package let waiting: Int
        package let in_flight: Int
        package let requests: [Request]

        package func count(_ action: String) -> Int { requests.count { $0.action == action } }
    }

    /// - Parameters:
    ///   - scenario: JSON, as scripts/sqs_stub.py says.
    ///   - certificate: a PEM file with key and certificate; plain http without.
    package init(_ scenario: String = "{}", certificate: String? = nil) throws {
        helper = try HelperProcess(Repository.path("scripts/sqs_stub.py"), certificate.map { [$0] } ?? [])
        let greeting = helper.readLine().split(separator: " ")
        guard greeting.first == "ready", greeting.count == 2 else {
            throw CommandFailed(description: "the SQS stub did not start")
        }
        endpoint = String(greeting[1])
        try tell(scenario)
    }

    /// What a client needs to reach it. The queue URL does not resolve, as LocalStack's do not.
    package static let queueURL = "https://queue.example/000000000000/login-queue"
    package var environment: [String: String] {
        [
            "AWS_ENDPOINT_URL_SQS": endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIDSTUB",
            "AWS_SECRET_ACCESS_KEY": "stub/secret+key",
        ]
    }

    package func stop() { helper.stop() }

    /// Starts afresh with another scenario, or adds messages: one line of JSON.
    @discardableResult
    package func tell(_ json: String) throws -> Data {
        try helper.writeLine(json.replacing("\n", with: " "))
        return Data(helper.readLine().utf8)
    }

    package func state() throws -> State { try JSONDecoder().decode(State.self, from: try tell("{\"state\": true}")) }
}
