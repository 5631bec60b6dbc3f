import Postgres
import TestSupport
import Testing

@Suite("Crash of the server")
struct CrashTests {
    /// The WAL writer sleeps, so that a commit nobody flushed is lost for certain and not only now and then.
    private static let settings = """
        wal_writer_delay = 10s
        wal_writer_flush_after = 1GB
        """

    @Test("A released value's audit event survives a crash, although the requester had turned flushing off")
    func releasedMeansFlushed() throws {
        let cluster = try PrivateCluster(purpose: "dbc", settings: Self.settings)
        defer { cluster.stop() }
        let vault = try TestVault("crash", on: cluster)
        try Planted.sow(vault)
        try vault.psql("postgres", "CHECKPOINT")

        var lost = 0
        for round in 1...10 {
            let reason = "round \(round)"
            var control = try vault.connect("vault_ingest")
            try control.runTrustedScript("turning flushing off", "SET synchronous_commit = off")
            var recoverer = try vault.connect("vault_recoverer")
            try recoverer.runTrustedScript("turning flushing off", "SET synchronous_commit = off")

            let asked = try recoverer.run(
                Statement(
                    "requesting", "SELECT request, audit_sequence FROM vault.request_recovery(ARRAY[$1], $2, 'T')",
                    .text(Planted.token), .text(reason)))
            let released = try recoverer.run(
                Statement(
                    "releasing", "SELECT sealed FROM vault.release($1, 0, 1)",
                    .uuid(asked.uuid(row: 0, column: 0))))
            #expect(released.bytes(row: 0, column: 0)?.prefix(3) == [0x5E, 0xA1, 0xED])
            // What nothing forces to be flushed: shows that this crash can lose a commit at all.
            try control.run(
                Statement("recording", "SELECT vault.record_tokenize('ip', 1, $1)", .text("unflushed \(reason)")))
            try cluster.control("stop-immediate")
            try cluster.control("start")

            let events = try vault.psql(
                "vault_auditor",
                "SELECT object FROM audit.event WHERE action = 'recover.request' AND reason = '\(reason)'")
            #expect(events == Planted.token, "round \(round): the value was released, the event is lost")
            let unflushed = try vault.psql(
                "vault_auditor", "SELECT count(*) FROM audit.event WHERE reason = 'unflushed \(reason)'")
            if unflushed == "0" { lost += 1 }
            let head = try vault.psql(
                "vault_auditor",
                "SELECT count(*) FROM audit.head JOIN audit.event USING (sequence, head)")
            #expect(head == "1")
        }
        #expect(lost > 0, "no crash lost anything, so surviving proves nothing")
    }

    @Test("An approval survives a crash before the value that it allows is released")
    func approvalIsFlushed() throws {
        let cluster = try PrivateCluster(purpose: "dbc", settings: Self.settings)
        defer { cluster.stop() }
        let vault = try TestVault("crash", on: cluster)
        try vault.psql("vault_operator", "SELECT vault.set_policy('ip', 1, 1000, '1 hour', NULL, NULL)")
        try vault.psql("postgres", "CHECKPOINT")
        let asked = try vault.psql(
            "vault_recoverer",
            "SELECT request FROM vault.request_recovery(ARRAY['\(Planted.token)'], 'approved', 'T')")
        var approver = try vault.connect("vault_approver")
        try approver.runTrustedScript(
            "approving", "SET synchronous_commit = off; SELECT vault.decide_request('\(asked)', 'approve')")
        try cluster.control("stop-immediate")
        try cluster.control("start")
        #expect(
            try vault.psql("vault_auditor", "SELECT object FROM audit.event WHERE action = 'recover.approve'") == asked)
    }
}
