package import Foundation

/// A real SQS-compatible server of the tests' own (MiniStack, signatures checked), started by scripts/sqs-server.sh
/// and gone when the tests end.
package final class SQSServer: Sendable {
    /// One for the whole test run.
    package static let shared = Result { try SQSServer() }

    /// `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` of a user who may do what ingest
    /// must: receive, delete, change visibility, read attributes.
    package let environment: [String: String]
    package let folder: URL
    private let helper: HelperProcess

    package init() throws {
        folder = Repository.newFolder("sqs")
        helper = try HelperProcess(Repository.path("scripts/sqs-server.sh"), [folder.path])
        guard helper.readLine() == "ready" else { throw CommandFailed(description: "the SQS server did not start") }
        let lines = try String(contentsOf: folder.appending(path: "env"), encoding: .utf8).split(separator: "\n")
        environment = Dictionary(
            uniqueKeysWithValues: lines.map { line in
                let parts = line.split(separator: "=", maxSplits: 1)
                return (String(parts[0]), String(parts[1]))
            })
    }

    deinit { stop() }

    /// Ends the server and removes its folder.
    package func stop() { helper.stop() }

    package var endpoint: String { environment["AWS_ENDPOINT_URL"] ?? "" }

    /// Makes a queue and gives its URL.
    package func makeQueue(_ name: String, attributes: [String: String] = [:]) throws -> String {
        let answer = try call("CreateQueue", ["QueueName": name, "Attributes": attributes])
        guard let url = answer["QueueUrl"] as? String else { throw CommandFailed(description: "no queue was made") }
        return url
    }

    /// Sends `bodies` in order, ten a request, and gives their message ids.
    @discardableResult
    package func send(_ bodies: [String], to queueURL: String) throws -> [String] {
        var ids: [String] = []
        for start in stride(from: 0, to: bodies.count, by: 10) {
            let entries = bodies[start..<min(start + 10, bodies.count)].enumerated().map {
                ["Id": "\($0.offset)", "MessageBody": $0.element]
            }
            let answer = try call("SendMessageBatch", ["QueueUrl": queueURL, "Entries": entries])
            let sent = (answer["Successful"] as? [[String: Any]] ?? []).reduce(into: [String: String]()) {
                $0[$1["Id"] as? String ?? ""] = $1["MessageId"] as? String
            }
            guard sent.count == entries.count else { throw CommandFailed(description: "not all messages were sent") }
            ids += entries.indices.compactMap { sent["\($0)"] }
        }
        return ids
    }

    /// Messages waiting and messages lent out: exact here, unlike at AWS.
    package func counts(of queueURL: String) throws -> (visible: Int, inFlight: Int) {
        let answer = try call("GetQueueAttributes", ["QueueUrl": queueURL, "AttributeNames": ["All"]])
        let attributes = answer["Attributes"] as? [String: String] ?? [:]
        return (
            Int(attributes["ApproximateNumberOfMessages"] ?? "") ?? -1,
            Int(attributes["ApproximateNumberOfMessagesNotVisible"] ?? "") ?? -1
        )
    }

    /// Any SQS action, as MiniStack's root user, whose signature it does not check.
    @discardableResult
    package func call(_ action: String, _ parameters: [String: Any]) throws -> [String: Any] {
        let answer = try Command(
            "/usr/bin/curl",
            [
                "--silent", "--show-error", "--fail-with-body", "--max-time", "30", "--noproxy", "*",
                "--header", "Content-Type: application/x-amz-json-1.0",
                "--header", "X-Amz-Target: AmazonSQS.\(action)",
                "--header",
                "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/\(environment["AWS_REGION"] ?? "")/sqs/"
                    + "aws4_request, SignedHeaders=host, Signature=0",
                "--data-binary", "@-", endpoint,
            ],
            input: try JSONSerialization.data(withJSONObject: parameters)
        ).check()
        let json = Data((answer.isEmpty ? "{}" : answer).utf8)
        return try JSONSerialization.jsonObject(with: json) as? [String: Any] ?? [:]
    }
}

/// A script that runs until its standard input ends, and so ends with this process whatever happens to it.
package final class HelperProcess: @unchecked Sendable {
    // @unchecked: the pipes are used under the lock only.
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let ended = DispatchGroup()
    private let lock = NSLock()

    package init(_ executable: String, _ arguments: [String]) throws {
        _ = Orphan.isWatched
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        try process.run(noting: ended)
    }

    deinit { stop() }

    package func stop() {
        lock.withLock { try? input.fileHandleForWriting.close() }
        ended.wait()
    }

    package func writeLine(_ line: String) throws {
        try lock.withLock { try input.fileHandleForWriting.writeUnlessClosed(Data((line + "\n").utf8)) }
    }

    package func readLine() -> String {
        lock.withLock {
            var line: [UInt8] = []
            while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") {
                line.append(byte)
            }
            return String(decoding: line, as: UTF8.self)
        }
    }
}
