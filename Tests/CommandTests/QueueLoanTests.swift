import Foundation
import TestSupport
import Testing

@Suite("Messages on loan", .serialized)
struct QueueLoanTests {
    @Test("are kept while a batch takes longer than their visibility timeout")
    func heartbeat() throws {
        let vault = try LiveVault("heartbeat")
        defer { vault.remove() }
        let stub = try SQSStub()
        defer { stub.stop() }
        let messages = (0..<25).map { "{\"body\": \"{\\\"user_id\\\": \\\"u\($0)\\\"}\"}" }
        try stub.tell("{\"messages\": [\(messages.joined(separator: ","))]}")
        let holder = try vault.lock("public.user_logins")
        let run = try vault.command(
            "vault_ingest", ["ingest", "--json", "--visibility-seconds", "2", "--poll-seconds", "0", SQSStub.queueURL],
            environment: stub.environment
        ).start()
        try vault.wait(for: "all messages on loan") { try stub.state().in_flight == 25 }
        let end = ContinuousClock.now + .seconds(4)
        while ContinuousClock.now < end {
            #expect(try stub.state().waiting == 0, "a message came back while its batch was in work")
            Thread.sleep(forTimeInterval: 0.2)
        }
        try vault.unlock("public.user_logins", holder)
        let ended = run.wait()
        #expect(ended.status == 0, "\(ended.standardError)")
        #expect(ended.standardOutput.contains("\"stored\":25,\"repeated\":0,"))
        let state = try stub.state()
        #expect(state.deleted.count == 25)
        #expect(state.count("ChangeMessageVisibilityBatch") >= 6)
    }

    @Test("are given back at once when a signal ends the run")
    func givenBack() throws {
        let vault = try LiveVault("given_back")
        defer { vault.remove() }
        let stub = try SQSStub()
        defer { stub.stop() }
        let messages = (0..<25).map { "{\"body\": \"{\\\"user_id\\\": \\\"u\($0)\\\"}\"}" }
        try stub.tell("{\"messages\": [\(messages.joined(separator: ","))]}")
        let holder = try vault.lock("public.user_logins")
        let run = try vault.command(
            "vault_ingest", ["ingest", "--poll-seconds", "0", SQSStub.queueURL], environment: stub.environment
        ).start()
        try vault.waitForWaiter("public.user_logins")
        let start = ContinuousClock.now
        run.signal(SIGTERM)
        let ended = run.wait()
        #expect(ended.status == 75, "\(ended.standardError)")
        #expect(ContinuousClock.now - start < .seconds(10))
        let state = try stub.state()
        #expect(state.waiting == 25 && state.deleted.isEmpty)
        try vault.unlock("public.user_logins", holder)
    }

    @Test("end a batch before they fill the memory")
    func largeBodies() throws {
        let vault = try LiveVault("large_bodies")
        defer { vault.remove() }
        let stub = try SQSStub()
        defer { stub.stop() }
        let filler = String(repeating: "y", count: 900_000)
        for index in 0..<60 {
            try stub.tell(
                "{\"add\": [{\"body\": \"{\\\"user_id\\\": \\\"u\(index)\\\", \\\"x\\\": \\\"\(filler)\\\"}\"}]}")
        }
        let run = try vault.tokenvault(
            "vault_ingest", ["ingest", "--json", "--poll-seconds", "0", SQSStub.queueURL], environment: stub.environment
        )
        #expect(run.status == 0, "\(run.standardError)")
        #expect(run.standardOutput.contains("\"stored\":60,"))
        #expect(run.standardOutput.contains("\"batches\":3,"), "\(run.standardOutput)")
    }
}
