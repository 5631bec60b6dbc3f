import Dispatch
import SQS
import Synchronization
import TestSupport
import Testing

/// Fault 45 of the list, at the queue: a stop ends every call soon.
@Suite("A stop")
struct StopTests {
    final class Flag: Sendable {
        private let flag = Atomic(false)
        var isSet: Bool { flag.load(ordering: .relaxed) }
        func set() { flag.store(true, ordering: .relaxed) }

        /// From a thread of its own: the tests may block all of Swift's.
        func set(after delay: DispatchTimeInterval) {
            DispatchQueue.global().asyncAfter(deadline: .now() + delay) { self.set() }
        }
    }

    @Test("ends a long poll within two seconds")
    func longPoll() throws {
        let stub = try SQSStub()
        let flag = Flag()
        var client = try stub.client(shouldStop: { flag.isSet })
        flag.set(after: .milliseconds(300))
        let start = ContinuousClock.now
        let error = failure { _ = try client.receive(waitSeconds: 20) }
        #expect(error == .stopped(during: .receive))
        #expect(ContinuousClock.now - start < .seconds(3))
    }

    @Test("ends a back-off at once")
    func backOff() throws {
        let stub = try SQSStub(#"{"faults":[{"kind":"status","status":500,"times":-1}]}"#)
        let flag = Flag()
        let patient = RetryPolicy(attempts: 1000, base: .seconds(60), cap: .seconds(60))
        var client = try stub.client(retry: patient, shouldStop: { flag.isSet })
        flag.set(after: .milliseconds(300))
        let start = ContinuousClock.now
        #expect(failure { _ = try client.receive(waitSeconds: 0) } == .stopped(during: .receive))
        #expect(ContinuousClock.now - start < .seconds(2))
    }

    @Test("lets deleting and giving back come to their end")
    func finishing() throws {
        let stub = try SQSStub(#"{"messages":[{"body":"a"},{"body":"b"}]}"#)
        let flag = Flag()
        var client = try stub.client(shouldStop: { flag.isSet })
        var batch = try client.receive(waitSeconds: 0, visibilityTimeout: 60)
        let part = try batch.extract(at: [0])
        flag.set()
        #expect(client.delete(part.acknowledgeAll(after: Committed())) == BatchReport(done: 1, failed: 0))
        #expect(client.changeVisibility(of: batch.leases, seconds: 0) == BatchReport(done: 1, failed: 0))
        #expect(failure { _ = try client.receive(waitSeconds: 0) } == .stopped(during: .receive))
        #expect(try stub.state().waiting == 1)
    }

    @Test("ends deleting from a queue that stalls when the grace is over")
    func grace() throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"a"}],"faults":[{"action":"DeleteMessageBatch","kind":"stall","seconds":20,"times":-1}]}"#
        )
        let flag = Flag()
        var client = try QueueClient(
            address: QueueAddress(queueURL: SQSStub.queueURL, endpoint: nil, environment: stub.environment),
            credentials: CredentialSource.environment(stub.environment),
            options: QueueClientOptions(grace: .seconds(1)), shouldStop: { flag.isSet })
        let batch = try client.receive(waitSeconds: 0, visibilityTimeout: 60)
        flag.set()
        let start = ContinuousClock.now
        let report = client.delete(batch.acknowledgeAll(after: Committed()))
        #expect(report == BatchReport(done: 0, failed: 1, cause: .stopped(during: .delete)))
        #expect(ContinuousClock.now - start < .seconds(4))
    }
}
