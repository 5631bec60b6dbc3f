import SQS
import TestSupport
import Testing

/// Fault 18 of the list, and the ways in which a deleted message comes back.
@Suite("Deleting messages")
struct DeletionTests {
    private func stub(_ count: Int, faults: String) throws -> SQSStub {
        let messages = (0..<count).map { #"{"body":"body \#($0)","id":"m\#($0)"}"# }
        return try SQSStub(#"{"messages":[\#(messages.joined(separator: ","))],"faults":[\#(faults)]}"#)
    }

    private func drain(_ client: inout QueueClient) throws -> DeliveryBatch {
        var all = DeliveryBatch()
        while true {
            let batch = try client.receive(waitSeconds: 0, visibilityTimeout: 600)
            if batch.isEmpty { return all }
            try all.append(batch)
        }
    }

    @Test("tries again the entries that failed, and only those")
    func someFailed() throws {
        let stub = try stub(10, faults: #"{"action":"DeleteMessageBatch","kind":"failed","entries":3}"#)
        var client = try stub.client()
        let batch = try drain(&client)
        #expect(
            client.delete(batch.acknowledgeAll(after: Committed()))
                == BatchReport(
                    done: 10, failed: 0, code: "InternalError"))
        let state = try stub.state()
        #expect(state.requests.filter { $0.action == "DeleteMessageBatch" }.map(\.entries) == [10, 3])
        #expect(Set(state.deleted).count == 10 && state.deleted.count == 10)
    }

    @Test("reports how many are left when all fail every time")
    func allFailed() throws {
        let stub = try stub(25, faults: #"{"action":"DeleteMessageBatch","kind":"failed","times":-1}"#)
        var client = try stub.client()
        let batch = try drain(&client)
        let report = client.delete(batch.acknowledgeAll(after: Committed()))
        #expect(report.done == 0 && report.failed == 25 && report.code == "InternalError")
        #expect(try stub.state().deleted.isEmpty)
    }

    @Test(
        "does not count what the answer leaves out, nor ids that nobody sent",
        arguments: [
            #"{"action":"DeleteMessageBatch","kind":"failed","entries":4,"omit":true,"unknown":3}"#,
            #"{"action":"DeleteMessageBatch","kind":"shape","answer":{"Successful":[{"Id":"0"},{"Id":"0"},{"Id":"99"}]}}"#,
            #"{"action":"DeleteMessageBatch","kind":"shape","answer":{}}"#,
        ])
    func leftOut(fault: String) throws {
        let stub = try stub(10, faults: fault)
        var client = try stub.client()
        let batch = try drain(&client)
        let report = client.delete(batch.acknowledgeAll(after: Committed()))
        #expect(report.done == 10 && report.failed == 0)
        #expect(Set(try stub.state().deleted).count == 10)
    }

    @Test(
        "survives throttling, broken connections and lost replies",
        arguments: [
            #"{"action":"DeleteMessageBatch","kind":"status","status":403,"code":"RequestThrottled","times":3}"#,
            #"{"action":"DeleteMessageBatch","kind":"reset","times":3}"#,
            #"{"action":"DeleteMessageBatch","kind":"lost_reply","times":3}"#,
        ])
    func transport(fault: String) throws {
        let stub = try stub(30, faults: fault)
        var client = try stub.client()
        let batch = try drain(&client)
        #expect(client.delete(batch.acknowledgeAll(after: Committed())).done == 30)
        #expect(Set(try stub.state().deleted).count == 30)
    }

    @Test("stops at a refusal that no retry changes, and reports what is left")
    func denied() throws {
        let fault =
            #"{"action":"DeleteMessageBatch","kind":"status","status":403,"code":"AccessDenied","skip":1,"times":-1}"#
        let stub = try stub(30, faults: fault)
        var client = try stub.client()
        let batch = try drain(&client)
        let report = client.delete(batch.acknowledgeAll(after: Committed()))
        #expect(report == BatchReport(done: 10, failed: 20, cause: .accessDenied(.delete, code: "AccessDenied")))
        #expect(report.cause?.description.contains("grant sqs:DeleteMessage,") == true)
        #expect(try stub.state().count("DeleteMessageBatch") == 2)
    }

    @Test("does not try again with a receipt handle that is no longer good")
    func staleHandle() throws {
        let stub = try stub(2, faults: "")
        var client = try stub.client()
        let batch = try drain(&client)
        try stub.tell(#"{"messages":[]}"#)
        let report = client.delete(batch.acknowledgeAll(after: Committed()))
        #expect(report == BatchReport(done: 0, failed: 2, code: "ReceiptHandleIsInvalid"))
        #expect(try stub.state().count("DeleteMessageBatch") == 1)
    }

    @Test("sees a message again that came back after its deletion: same id, other handle")
    func ghost() throws {
        let stub = try SQSStub(#"{"messages":[{"body":"x","id":"m1","ghosts":1}]}"#)
        var client = try stub.client()
        let first = try client.receive(waitSeconds: 0)
        let handle = first.leases
        #expect(client.delete(first.acknowledgeAll(after: Committed())).done == 1)
        let second = try client.receive(waitSeconds: 0)
        #expect(second.messageIDs == ["m1"])
        #expect(second.leases != handle)
        #expect(client.delete(second.acknowledgeAll(after: Committed())).done == 1)
        #expect(try stub.state().waiting == 0)
    }

    @Test("takes part of a batch: the rest stays lent, and can be given back")
    func part() throws {
        let stub = try stub(10, faults: "")
        var client = try stub.client()
        var batch = try drain(&client)
        let part = try batch.extract(at: [1, 3, 3])
        #expect(part.messageIDs == ["m1", "m3"])
        #expect(part.texts == ["body 1", "body 3"])
        #expect(batch.count == 8 && batch.text(at: 1) == "body 2")
        #expect(client.delete(part.acknowledgeAll(after: Committed())).done == 2)
        #expect(client.changeVisibility(of: batch.leases, seconds: 0).done == 8)
        let state = try stub.state()
        #expect(state.deleted == ["m1", "m3"])
        #expect(state.waiting == 8)
    }

    @Test("keeps two messages apart that have one id and different bodies")
    func sameID() throws {
        let stub = try SQSStub(#"{"messages":[{"body":"x","id":"m"},{"body":"y","id":"m"}]}"#)
        var client = try stub.client()
        let batch = try client.receive(waitSeconds: 0)
        #expect(batch.messageIDs == ["m", "m"])
        #expect(batch.texts == ["x", "y"])
    }
}
