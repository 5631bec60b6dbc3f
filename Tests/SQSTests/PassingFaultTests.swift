import SQS
import TestSupport
import Testing

/// Faults 16 and 17 of the list: what may pass is tried again, and no message is lost on the way.
@Suite("A queue that fails for a while")
struct PassingFaultTests {
    static let faults = [
        #"{"kind":"status","status":500}"#,
        #"{"kind":"status","status":503,"code":"ServiceUnavailable","format":"xml"}"#,
        #"{"kind":"status","status":502,"code":""}"#,
        #"{"kind":"status","status":403,"code":"RequestThrottled"}"#,
        #"{"kind":"status","status":403,"code":"RequestThrottled","format":"header"}"#,
        #"{"kind":"status","status":400,"code":"ThrottlingException"}"#,
        #"{"kind":"status","status":429,"code":"Whatever"}"#,
        #"{"kind":"reset"}"#,
        #"{"kind":"not_json"}"#,
        #"{"kind":"half_json"}"#,
        #"{"kind":"truncated"}"#,
        #"{"kind":"shape","answer":[]}"#,
        #"{"kind":"shape","answer":{"Messages":7}}"#,
        #"{"kind":"shape","answer":{"Messages":[{"Body":"x"}]}}"#,
        #"{"kind":"shape","answer":{"Messages":[null]}}"#,
    ]

    /// `fault` with one more member, for the receives only.
    private static func scenario(_ fault: String, times: Int) -> String {
        let fault = #"{"action":"ReceiveMessage","times":\#(times),"# + fault.dropFirst()
        return #"{"messages":[{"body":"one"},{"body":"two"}],"faults":[\#(fault)]}"#
    }

    @Test("is asked again until it answers", arguments: faults)
    func passes(fault: String) throws {
        let stub = try SQSStub(Self.scenario(fault, times: 3))
        var client = try stub.client()
        let batch = try client.receive(waitSeconds: 1, visibilityTimeout: 0)
        #expect(batch.texts == ["one", "two"])
        #expect(client.retries == 3)
        #expect(try stub.state().count("ReceiveMessage") == 4)
        #expect(client.delete(batch.acknowledgeAll(after: Committed())) == BatchReport(done: 2, failed: 0))
        #expect(try stub.state().deleted.count == 2)
    }

    @Test("is given up after the attempts allowed; nothing is deleted", arguments: faults)
    func persists(fault: String) throws {
        let stub = try SQSStub(Self.scenario(fault, times: -1))
        var client = try stub.client()
        let error = failure { _ = try client.receive(waitSeconds: 0) }
        switch error {
        case .unavailable(.receive, attempts: 4, _)?, .invalidResponse(.receive, attempts: 4, _)?: break
        default: Issue.record("unexpected: \(String(describing: error))")
        }
        let state = try stub.state()
        #expect(state.count("ReceiveMessage") == 4)
        #expect(state.deleted.isEmpty)
        #expect(error?.description.contains("run again") == true)
    }

    @Test("answers a reply-lost receive with messages that come back after their visibility timeout")
    func lostReply() throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"one","id":"m1"}],"faults":[{"action":"ReceiveMessage","kind":"lost_reply"}]}"#)
        var client = try stub.client()
        let lent = try client.receive(waitSeconds: 2, visibilityTimeout: 1)
        #expect(lent.messageIDs == ["m1"])
        #expect(lent.receiveCount(at: 0) == 2)
    }

    @Test("may close a kept-alive connection without a word")
    func staleConnection() throws {
        let stub = try SQSStub(#"{"faults":[{"kind":"close","times":5}]}"#)
        var client = try stub.client()
        for _ in 0..<6 { _ = try client.approximateCounts() }
        #expect(Set(try stub.state().requests.map(\.connection)).count == 6)
    }

    @Test("keeps one connection when nothing is wrong")
    func keepAlive() throws {
        let stub = try SQSStub()
        var client = try stub.client()
        for _ in 0..<6 { _ = try client.approximateCounts() }
        #expect(Set(try stub.state().requests.map(\.connection)).count == 1)
    }

    @Test(
        "may stall or drip; a call ends 10 s after its long poll at the latest",
        arguments: [
            #"{"kind":"stall","seconds":20,"times":-1}"#, #"{"kind":"drip","seconds":2,"times":-1}"#,
        ])
    func slow(fault: String) throws {
        let stub = try SQSStub(#"{"faults":[\#(fault)]}"#)
        var client = try stub.client(retry: RetryPolicy(attempts: 1))
        let start = ContinuousClock.now
        let error = failure { _ = try client.approximateCounts() }
        #expect((.seconds(7)...(.seconds(12))).contains(ContinuousClock.now - start))
        guard case .unavailable(.attributes, attempts: 1, last: _)? = error else {
            Issue.record("unexpected: \(String(describing: error))")
            return
        }
    }

    @Test("may answer with a gigabyte: reading ends at the cap, and the next call works")
    func huge() throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"one"}],"faults":[{"kind":"huge","bytes":1073741824,"times":2}]}"#)
        var client = try stub.client()
        let error = failure { _ = try client.receive(waitSeconds: 0, visibilityTimeout: 0) }
        #expect(error == .invalidResponse(during: .receive, attempts: 1, .tooLarge(limit: 16 << 20)))
        #expect(try stub.state().count("ReceiveMessage") == 2)  // ten, then one at a time
        #expect(try client.receive(waitSeconds: 0).texts == ["one"])
    }

    @Test("may find nothing although there are messages: the counts tell")
    func falseEmpty() throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"one"}],"faults":[{"action":"ReceiveMessage","kind":"empty","times":3}]}"#)
        var client = try stub.client()
        for _ in 0..<3 {
            #expect(try client.receive(waitSeconds: 0).isEmpty)
            #expect(try client.approximateCounts().visible == 1)
        }
        #expect(try client.receive(waitSeconds: 0).texts == ["one"])
        #expect(client.retries == 0)
    }

    @Test("may damage some bodies: the others are handed on, the damaged counted and never deleted")
    func damagedBodies() throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"a","id":"1"},{"body":"b","id":"2"},{"body":"c","id":"3"}],"#
                + #""faults":[{"action":"ReceiveMessage","kind":"wrong_md5","entries":2}]}"#)
        var client = try stub.client()
        let batch = try client.receive(waitSeconds: 0, visibilityTimeout: 60)
        #expect(batch.messageIDs == ["3"])
        #expect(batch.damagedCount == 2)
        #expect(client.delete(batch.acknowledgeAll(after: Committed())).done == 1)
        #expect(try stub.state().deleted == ["3"])
    }

    @Test("may damage every body: nothing is handed on or deleted, and receiving ends after a hundred")
    func allDamaged() throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"a"},{"body":"b"}],"faults":[{"kind":"wrong_md5","times":-1}]}"#)
        var client = try stub.client()
        for _ in 0..<50 {
            let batch = try client.receive(waitSeconds: 0, visibilityTimeout: 0)
            #expect(batch.count == 0)
            #expect(batch.damagedCount == 2)
        }
        let error = failure { _ = try client.receive(waitSeconds: 0, visibilityTimeout: 0) }
        #expect(error == .invalidResponse(during: .receive, attempts: 1, .wrongChecksum(messages: 102)))
        #expect(try stub.state().deleted.isEmpty)
    }

    @Test("is not there at all")
    func unreachable() throws {
        let stub = try SQSStub()
        var client = try stub.client()
        _ = try client.approximateCounts()
        stub.stop()
        guard case .unavailable(.attributes, attempts: 4, last: _)? = failure({ _ = try client.approximateCounts() })
        else {
            Issue.record("expected an unreachable queue")
            return
        }
    }
}
