import Foundation
import TestSupport
import Testing

/// Faults 16 to 21 and 28, as a nightly job meets them. Tests/SQSTests has them one by one, without a database.
@Suite("A queue that fails under a run")
struct QueueFaultTests {
    private static let refusals: [(fault: String, status: Int32, names: [String])] = [
        (#"{"kind":"status","status":403,"code":"ExpiredToken"}"#, 77, ["ExpiredToken", "get new ones and run again"]),
        (#"{"kind":"status","status":403,"code":"AccessDenied"}"#, 77, ["grant sqs:ReceiveMessage"]),
        (
            #"{"kind":"status","status":403,"code":"RequestTimeTooSkewed","date_offset":-720}"#, 78,
            ["clock is 12 min off", "timedatectl"]
        ),
        (#"{"kind":"status","status":400,"code":"QueueDoesNotExist"}"#, 78, ["no queue login-queue", "AWS_REGION"]),
        (#"{"kind":"status","status":404,"code":"InvalidAddress"}"#, 78, ["not served by this endpoint"]),
    ]

    @Test("that refuses ends the run with 77 or 78, before and after the first messages")
    func refusals() throws {
        let queue = try QueueUnderFault("queue_refusals")
        defer { queue.remove() }
        for (fault, status, names) in Self.refusals {
            for skip in [0, 3] {
                try queue.start(
                    faults: #"{"action":"ReceiveMessage","times":-1,"skip":\#(skip),"# + fault.dropFirst())
                try queue.expectNothingDone(status, naming: names, receives: true, "\(fault), after \(skip)")
            }
        }
        try queue.expectNoRows("after all refusals")
        try queue.start(faults: "")
        try queue.expectAllDone()
    }

    @Test(
        "that goes away in mid-run is tried again, then 75; what was stored stays, what was not is given back",
        arguments: [
            #"{"kind":"status","status":503,"code":"ServiceUnavailable"}"#, #"{"kind":"not_json"}"#,
            #"{"kind":"reset"}"#,
        ])
    func goesAway(fault: String) throws {
        let queue = try QueueUnderFault("queue_away_\(fault.filter(\.isLetter).suffix(8).lowercased())", records: 130)
        defer { queue.remove() }
        // Five receives of ten are a batch; the second batch has three when the queue goes away.
        try queue.start(faults: #"{"action":"ReceiveMessage","times":-1,"skip":8,"# + fault.dropFirst())
        var command = queue.command()
        command.arguments += ["--batch-size", "50"]
        let run = try command.run()
        queue.expectClear(run, 75, naming: ["7 attempts", "run again"], fault)
        try queue.expectSilent(run, fault)
        let state = try queue.stub.state()
        // What was lent in an answer that could not be read comes back when its loan ends; what was in hand, at once.
        #expect(state.deleted.count == 50 && state.waiting + state.in_flight == 80)
        #expect(fault.contains("not_json") ? state.waiting >= 30 : state.waiting == 80, "\(state.waiting) wait")
        let counts = try queue.vault.query(
            "SELECT (SELECT count(*) FROM public.user_logins) + (SELECT count(*) FROM vault.quarantine)")
        #expect(counts == "50")
    }

    @Test("that does not delete: 75 with the count; the next run recognises what is stored, and deletes it")
    func failedDeletes() throws {
        let queue = try QueueUnderFault("queue_deletes")
        defer { queue.remove() }
        try queue.start(
            faults: #"{"action":"DeleteMessageBatch","times":40,"kind":"failed","entries":3,"code":"InternalError"}"#)
        let run = try queue.command().run()
        let count = queue.sent.lines.count
        let left = count - (try queue.stub.state().deleted.count)
        #expect(left > 0, "the fault did not last")
        queue.expectClear(run, 75, naming: ["\(left) messages are stored", "run again"], "deletes")
        try queue.sent.expectAllStoredOnce(in: queue.vault, seed: 21)
        for _ in 1...20 where try queue.stub.state().deleted.count < count {
            _ = try queue.command("vault_ingest", ["TOKENVAULT_VISIBILITY_SECONDS": "1"]).run()
            Thread.sleep(forTimeInterval: 0.2)
        }
        try queue.sent.expectAllStoredOnce(in: queue.vault, seed: 21)
    }

    @Test("that finds nothing, or brings back what was deleted, is drained to its end all the same")
    func liesAboutItsContent() throws {
        let queue = try QueueUnderFault("queue_lies")
        defer { queue.remove() }
        try queue.start(faults: #"{"action":"ReceiveMessage","times":5,"kind":"empty"}"#)
        try queue.stub.tell(#"{"add": [{"id": "ghost", "ghosts": 2, "body": "{\"user_id\": \"ghost\"}"}]}"#)
        let run = try queue.command().run()
        #expect(run.status == 3, "\(run.standardError)")
        #expect(run.standardOutput.contains("\"repeated\":2,"), "\(run.standardOutput)")
        #expect(try queue.vault.query("DELETE FROM public.user_logins WHERE user_id = 'ghost' RETURNING 1") == "1")
        try queue.sent.expectAllStoredOnce(in: queue.vault, seed: 21)
        let state = try queue.stub.state()
        #expect(state.waiting == 0 && state.in_flight == 0 && state.deleted.count == queue.sent.lines.count + 3)
    }

    @Test("with more bad messages than allowed: 65, and nothing is deleted that is not stored")
    func tooManyRefused() throws {
        let queue = try QueueUnderFault("queue_refused", records: 400)
        defer { queue.remove() }
        var command = queue.command()
        command.arguments += ["--batch-size", "100", "--max-quarantined", "5"]
        let run = try command.run()
        queue.expectClear(run, 65, naming: ["more than 5 records were refused", "quarantine list"], "refused")
        try queue.expectSilent(run, "refused")
        let stored = try queue.vault.query(
            "SELECT (SELECT count(*) FROM public.user_logins) + (SELECT count(*) FROM vault.quarantine)")
        let state = try queue.stub.state()
        #expect("\(state.deleted.count)" == stored && state.waiting == 400 - state.deleted.count)
        #expect((1..<400).contains(state.deleted.count), "\(state.deleted.count)")
        try queue.expectAllDone()
    }
}
