import SQS
import TestSupport
import Testing

@Suite("A real SQS server that checks signatures")
struct RoundTripTests {
    let server: SQSServer

    init() throws { server = try SQSServer.shared.get() }

    @Test("lends messages unchanged, deletes them, and is empty then")
    func roundTrip() throws {
        let queue = try server.makeQueue("round-trip")
        let bodies = (0..<23).map { "{\"user_id\":\"u\($0)\",\"text\":\"é\\u0000\\\"\\\\ 雪 \($0)\"}" }
        let ids = try server.send(bodies, to: queue)
        var client = try server.client(queue)
        var all = DeliveryBatch()
        for _ in 0..<bodies.count where all.count < bodies.count {
            try all.append(try client.receive(waitSeconds: 1, visibilityTimeout: 60))
        }
        #expect(Set(all.texts) == Set(bodies))
        #expect(Set(all.messageIDs) == Set(ids))
        #expect((0..<all.count).allSatisfy { all.sentTimestamp(at: $0) > 1_700_000_000_000 })
        #expect((0..<all.count).allSatisfy { all.receiveCount(at: $0) == 1 })
        let counts = try client.approximateCounts()
        #expect(counts.visible == 0 && counts.inFlight == bodies.count)
        let report = client.delete(all.acknowledgeAll(after: Committed()))
        #expect(report == BatchReport(done: bodies.count, failed: 0))
        #expect(try server.counts(of: queue) == (0, 0))
        #expect(client.retries == 0)
    }

    @Test("lends a message again, with the same id, when it was given back")
    func givenBack() throws {
        let queue = try server.makeQueue("given-back")
        try server.send(["a", "b", "c"], to: queue)
        var client = try server.client(queue)
        let first = try client.receive(waitSeconds: 1, visibilityTimeout: 300)
        #expect(first.count == 3)
        #expect(client.changeVisibility(of: first.leases, seconds: 0) == BatchReport(done: 3, failed: 0))
        let second = try client.receive(waitSeconds: 1, visibilityTimeout: 300)
        #expect(Set(second.messageIDs) == Set(first.messageIDs))
        #expect((0..<second.count).allSatisfy { second.receiveCount(at: $0) == 2 })
    }

    @Test("refuses a stale receipt handle, and the report says so")
    func staleReceipt() throws {
        let queue = try server.makeQueue("stale-receipt")
        try server.send(["a"], to: queue)
        var client = try server.client(queue)
        let stale = try client.receive(waitSeconds: 1, visibilityTimeout: 0)
        let fresh = try client.receive(waitSeconds: 1, visibilityTimeout: 60)
        try #require(stale.count == 1 && fresh.count == 1)
        let report = client.delete(stale.acknowledgeAll(after: Committed()))
        #expect(report.done + report.failed == 1)
        if report.failed == 1 { #expect(report.code == "ReceiptHandleIsInvalid") }
        #expect(client.retries == 0)
    }

    @Test("refuses a wrong secret, and the error says what to check")
    func wrongSecret() throws {
        let queue = try server.makeQueue("wrong-secret")
        let error = failure {
            var client = try server.client(queue, changing: ["AWS_SECRET_ACCESS_KEY": "wrong"])
            _ = try client.approximateCounts()
        }
        #expect(error == .credentialsRefused(code: "SignatureDoesNotMatch", region: "eu-central-1"))
        #expect(error?.description.contains("access key, secret and session token belong together") == true)
    }

    @Test("refuses an unknown access key")
    func unknownKey() throws {
        let queue = try server.makeQueue("unknown-key")
        let error = failure {
            var client = try server.client(queue, changing: ["AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00"])
            _ = try client.receive(waitSeconds: 0)
        }
        #expect(error == .credentialsRefused(code: "InvalidClientTokenId", region: "eu-central-1"))
    }

    @Test("has no queue of that name")
    func noQueue() throws {
        let queue = try server.makeQueue("some-queue").replacing("some-queue", with: "no-such-queue")
        let error = failure {
            var client = try server.client(queue)
            _ = try client.receive(waitSeconds: 0)
        }
        #expect(error == .queueNotFound(queue: "no-such-queue", region: "eu-central-1"))
    }

    @Test("has the queue in another region only")
    func wrongRegion() throws {
        let queue = try server.makeQueue("regional-queue")
        let error = failure {
            var client = try server.client(queue, changing: ["AWS_REGION": "us-west-2"])
            _ = try client.receive(waitSeconds: 0)
        }
        #expect(error == .queueNotFound(queue: "regional-queue", region: "us-west-2"))
    }
}
