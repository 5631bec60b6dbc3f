import Testing

@testable import Doctor

@Suite("Doctor's judgement, of what no test server can be made to be")
struct JudgementTests {
    @Test("names a server that is too old", arguments: [(120_022, true), (130_000, false), (150_020, false)])
    func version(_ version: Int, isTooOld: Bool) {
        var findings = Findings()
        ServerChecks.checkVersion(version, &findings)
        #expect(findings.all.map(\.verdict) == [isTooOld ? .failure : .ok])
    }

    /// As Patient's server has them: in order, and no module loaded.
    private static let quiet = [
        "log_statement": "none", "log_min_duration_statement": "-1", "log_min_duration_sample": "-1",
        "log_transaction_sample_rate": "0", "log_parameter_max_length": "0", "log_parameter_max_length_on_error": "0",
        "log_error_verbosity": "terse",
    ]

    @Test(
        "names each setting that lets values into the server's log",
        arguments: [
            ([:], Finding.Verdict.ok, "stay out"),
            (["log_statement": "all"], .ok, "stay out"),
            (["log_parameter_max_length": "-1"], .warning, "as soon as statements are logged"),
            (["log_parameter_max_length": "-1", "log_statement": "ddl"], .warning, "as soon as statements are logged"),
            (["log_parameter_max_length": "9", "log_statement": "mod"], .failure, "with their parameters"),
            (["log_parameter_max_length": "-1", "log_statement": "all"], .failure, "with their parameters"),
            (["log_parameter_max_length": "-1", "log_min_duration_statement": "0"], .failure, "with their parameters"),
            (["log_parameter_max_length": "-1", "log_min_duration_sample": "50"], .failure, "with their parameters"),
            (
                ["log_parameter_max_length": "-1", "log_transaction_sample_rate": "0.1"], .failure,
                "with their parameters"
            ),
            (["log_parameter_max_length_on_error": "-1"], .failure, "a failed statement"),
            (["log_error_verbosity": "default"], .warning, "logs the row"),
            (
                ["auto_explain.log_min_duration": "0", "auto_explain.log_parameter_max_length": "-1"], .failure,
                "auto_explain logs parameters"
            ),
            (["auto_explain.log_min_duration": "0", "auto_explain.log_parameter_max_length": "0"], .ok, "stay out"),
            (["auto_explain.log_min_duration": "-1", "auto_explain.log_parameter_max_length": "-1"], .ok, "stay out"),
            (["pgaudit.log_parameter": "on"], .failure, "pgaudit logs parameters"),
            (["pgaudit.log_parameter": "off"], .ok, "stay out"),
            (["pg_stat_statements.track_utility": "on"], .warning, "passwords included"),
            (["pg_stat_statements.track_utility": "off"], .ok, "stay out"),
        ])
    func logging(_ changed: [String: String], _ verdict: Finding.Verdict, _ named: String) {
        var findings = Findings()
        ServerChecks.checkLogging(Self.quiet.merging(changed) { $1 }, "d", &findings)
        #expect(findings.all.map(\.verdict) == [verdict], "\(findings.all)")
        #expect(findings.all.first?.message.contains(named) == true, "\(findings.all)")
        #expect((findings.all.first?.remedy == nil) == (verdict == .ok))
    }

    @Test(
        "names a password in the environment, however it is written",
        arguments: [
            (["PGPASSWORD": "x"], 1), (["TOKENVAULT_DATABASE": "host=db password = 'x'"], 1),
            (["TOKENVAULT_DATABASE": "postgresql://ada:x@db/vault"], 1),
            (["TOKENVAULT_DATABASE": "postgresql://db/vault?password=x"], 1),
            (["TOKENVAULT_DATABASE": "host=db sslpassword=x", "PGPASSWORD": "x"], 2),
            (["TOKENVAULT_DATABASE": "postgresql://ada@db:5433/vault?passfile=/password"], 0), ([:], 0),
        ])
    func password(_ environment: [String: String], _ warnings: Int) {
        var findings = Findings()
        HostChecks(root: "/nowhere", environment: environment).run(&findings)
        let found = findings.all.filter { $0.check == "environment" }
        #expect(found.count { $0.verdict == .warning } == warnings, "\(found)")
        #expect(found.contains { $0.verdict == .ok } == (warnings == 0))
    }
}
