import Foundation
import TestSupport
import Testing

/// A vault, a queue of records, and what must hold while something is broken and after it is mended.
struct QueueUnderFault {
    let vault: LiveVault
    let stub: SQSStub
    let sent: SentRecords

    init(_ name: String, on cluster: PrivateCluster? = nil, records: Int = 120) throws {
        vault = try LiveVault(name, on: cluster)
        stub = try SQSStub()
        sent = try SentRecords(records, seed: 21)
        try start(faults: "")
    }

    /// All messages afresh, and faults of the queue as scripts/sqs_stub.py describes them.
    func start(faults: String) throws {
        let messages = try sent.lines.map { String(decoding: try JSONEncoder().encode(["body": $0]), as: UTF8.self) }
        try stub.tell("{\"messages\": [\(messages.joined(separator: ","))], \"faults\": [\(faults)]}")
    }

    func remove() {
        stub.stop()
        vault.remove()
    }

    /// A run that tries as often as it must, and no longer.
    func command(_ user: String = "vault_ingest", _ extra: [String: String] = [:]) -> Command {
        var environment = stub.environment.merging(["TOKENVAULT_RETRY_SECONDS": "0"]) { $1 }
        environment.merge(extra) { $1 }
        return vault.command(
            user, ["ingest", "--json", "--poll-seconds", "0", SQSStub.queueURL], environment: environment)
    }

    /// Runs ingest while something is broken. I1, I2, I4, I5: nothing is stored, nothing deleted, every message waits again,
    /// and no value is said.
    ///
    /// - Parameter receives: whether messages may be asked for at all before the fault shows.
    func expectNothingDone(
        _ status: Int32, naming names: [String], receives: Bool, as user: String = "vault_ingest", _ fault: String
    ) throws {
        let before = try stub.state().count("ReceiveMessage")
        let run = try command(user).run()
        expectClear(run, status, naming: names, fault)
        let state = try stub.state()
        #expect(state.deleted.isEmpty, "\(fault): messages were deleted")
        #expect(state.waiting == sent.lines.count, "\(fault): \(state.waiting) messages wait")
        if !receives { #expect(state.count("ReceiveMessage") == before, "\(fault): messages were received") }
        try expectSilent(run, fault)
    }

    func expectClear(_ run: Finished, _ status: Int32, naming names: [String], _ fault: String) {
        #expect(run.status == status && !run.wasKilled, "\(fault): exit \(run.status): \(run.standardError)")
        run.expectOneError(naming: names, fault)
    }

    /// I5, as far as one can look from here: what the program says, and what the server logs.
    func expectSilent(_ run: Finished, _ fault: String) throws {
        let values = sent.records.flatMap { [$0.ip, $0.device_id] }
        let said = run.standardOutput + run.standardError
        #expect(!values.contains { said.contains($0) }, "\(fault): values were said")
        let log = try Command(
            "/bin/grep", ["-F", "-q", "-f", "-", vault.cluster.serverLog.path],
            input: Data(values.joined(separator: "\n").utf8)
        ).run()
        #expect(log.status == 1, "\(fault): values were logged, or there is no log: \(log.standardError)")
    }

    func expectNoRows(_ fault: String) throws {
        let counts = try vault.query(
            """
            SELECT (SELECT count(*) FROM public.user_logins), (SELECT count(*) FROM vault.quarantine),
                   (SELECT count(*) FROM vault.original), (SELECT count(*) FROM vault.ingest_message)
            """)
        #expect(counts == "0|0|0|0", "\(fault): \(counts)")
    }

    /// Once the fault is mended, a run does it all, once. I1 to I4.
    func expectAllDone() throws {
        let run = try command().run()
        #expect(run.status == 3, "\(run.standardError)")
        try sent.expectAllStoredOnce(in: vault, seed: 21)
        let state = try stub.state()
        #expect(state.waiting == 0 && state.deleted.count == sent.lines.count)
        #expect(Set(state.deleted).count == sent.lines.count)
    }
}

extension Finished {
    /// One line that names the cause and what to do next; notes and warnings may stand beside it.
    func expectOneError(naming names: [String], _ context: String) {
        let lines = standardError.split(separator: "\n").map(String.init)
        let errors = lines.filter { $0.hasPrefix("error: ") }
        let others = lines.filter { line in
            !["error: ", "warning: ", "audit receipt: "].contains { line.hasPrefix($0) }
        }
        #expect(errors.count == 1 && others.isEmpty, "\(context): \(standardError)")
        for name in names {
            #expect(errors.first?.contains(name) == true, "\(context): no \(name) in \(standardError)")
        }
    }
}
