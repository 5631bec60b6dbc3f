import Foundation
import TestSupport
import Testing

@Suite("Approvals, policy and break-glass by the real program, with a login role a person", .serialized)
struct ApprovalTests {
    private static let shared = Result { () throws -> (vault: LiveVault, token: String, value: String) in
        let vault = try LiveVault("approvals")
        let records = try LiveVault.records(20, ["--addresses", "3", "--devices", "3"])
        try vault.tokenvault("vault_ingest", ["ingest", try vault.file("logins.ndjson", records)]).succeeded()
        let token = try vault.query(
            "SELECT masked_ip FROM public.user_logins WHERE masked_ip IS NOT NULL ORDER BY 1 LIMIT 1")
        let found = try vault.tokenvault(
            "vault_recoverer", ["recover", "--reason", "to know it", "--ticket", "T-0", token]
        ).succeeded()
        let value = try #require(found.standardOutput.split(whereSeparator: { $0 == "\t" || $0 == "\n" }).last)
        return (vault, token, String(value))
    }
    private let vault: LiveVault
    private let token: String
    private let value: String

    init() throws {
        (vault, token, value) = try Self.shared.get()
    }

    /// Everything that a test may have changed, as it was.
    private func reset() throws {
        try policy(
            "--approvals", "0", "--values-per-day", "1000", "--validity", "15m", "--hours", "always", "--break-glass",
            "off", "--reason-pattern", "any", "--ticket-pattern", "any")
    }

    private func policy(_ changes: String...) throws {
        try vault.tokenvault("vault_operator", ["policy", "set", "--domain", "ip"] + changes).succeeded()
    }

    private func recover(
        _ arguments: [String], _ user: String = "vault_recoverer", hook: String? = nil
    ) throws -> Finished {
        try vault.tokenvault(
            user, ["recover"] + arguments, environment: hook.map { ["TOKENVAULT_NOTIFY_COMMAND": $0] } ?? [:])
    }

    private var why: [String] { ["--reason", "customer asks", "--ticket", "T-1"] }

    /// The id in the line that tells how to finish a request.
    private func request(in finished: Finished) throws -> String {
        let line = try #require(
            finished.standardError.split(separator: "\n").first { $0.contains("recover --request ") })
        return String(try #require(line.split(separator: " ").last))
    }

    /// A hook that keeps its input, its arguments and the names of its environment.
    private func makeHook(_ name: String, then: String = "") throws -> (command: String, said: () -> String) {
        let kept = vault.folder.appending(path: "\(name).kept").path
        let script = try vault.file(
            name,
            """
            #!/bin/sh
            { cat; printf 'argument %s\\n' "$@"; env | cut -d= -f1; } >>'\(kept)'
            echo noise
            \(then)
            """)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: script)
        return (
            "\(script) 'two words' $HOME;id *",
            { (try? String(contentsOfFile: kept, encoding: .utf8)) ?? "" }
        )
    }

    @Test("A request waits, is seen without a value, approved by another person, and finished")
    func waitsAndFinishes() throws {
        try reset()
        try policy("--approvals", "2")
        let hook = try makeHook("hook-approve")
        let output = vault.folder.appending(path: "values").path
        let asked = try recover(why + ["--output", output, token], hook: hook.command)
        #expect(asked.status == 75)
        #expect(asked.standardOutput.isEmpty)
        #expect(asked.standardError.hasPrefix("audit receipt: "))
        let id = try request(in: asked)
        #expect(asked.standardError.contains("tokenvault approvals approve \(id)"))
        #expect(!FileManager.default.fileExists(atPath: output))

        let listed = try vault.tokenvault("vault_approver", ["approvals", "list"]).succeeded().standardOutput
        for part in [id, "vault_recoverer", "1 ip", "0 of 2", "T-1", "customer asks"] { #expect(listed.contains(part)) }
        let shown = try vault.tokenvault("vault_approver", ["approvals", "show", id]).succeeded().standardOutput
        #expect(shown.contains(token))
        let json = try vault.tokenvault("vault_approver", ["approvals", "show", "--json", id]).succeeded()
            .standardOutput
        #expect(json.contains(#""tokens":["\#(token)"]"#) && json.contains(#""domains":{"ip":1}"#))
        #expect(!(listed + shown + json).contains(value))

        for (approver, notice) in [("vault_approver", "has 1 of 2"), ("vault_approver2", "is approved")] {
            let still = try recover(["--request", id])
            #expect(still.status == 75)
            #expect(still.standardOutput.isEmpty)
            let decided = try vault.tokenvault(
                approver, ["approvals", "approve", id], environment: ["TOKENVAULT_NOTIFY_COMMAND": hook.command]
            ).succeeded()
            #expect(decided.standardError.contains(notice))
        }
        let finished = try recover(["--request", id, "--output", output]).succeeded()
        #expect(finished.standardError.hasPrefix("audit receipt: "))
        #expect(try String(contentsOfFile: output, encoding: .utf8) == "\(token)\t\(value)\n")
        let receipt = try #require(finished.standardError.split(separator: "\n").first).dropFirst(
            "audit receipt: ".count)
        #expect(asked.standardError.contains(receipt), "the receipt of the request's own event")
        try vault.tokenvault("vault_auditor", ["audit", "verify", "--receipt", String(receipt)]).succeeded()

        let said = hook.said()
        #expect(said.contains(#""event":"request","request":"\#(id)","requester":"vault_recoverer""#), "\(said)")
        #expect(said.contains(#""event":"approval""#) && said.contains(#""actor":"vault_approver2""#))
        #expect(said.contains(#""domains":{"ip":1},"reason":"customer asks","ticket":"T-1""#))
        #expect(said.contains("argument two words\nargument $HOME;id\nargument *\n"), "no shell, no glob")
        #expect(!said.contains("TOKENVAULT_") && !said.contains(value) && !said.contains(token))
        #expect(!asked.standardOutput.contains("noise") && asked.standardError.contains("noise"))
    }

    @Test("A denial ends a request; so does its time; and nobody finishes another's")
    func refusals() throws {
        try reset()
        try policy("--approvals", "1")
        let hook = try makeHook("hook-deny")
        let denied = try request(in: recover(why + [token]))
        try vault.tokenvault(
            "vault_approver", ["approvals", "deny", "--reason", "no such ticket", denied],
            environment: ["TOKENVAULT_NOTIFY_COMMAND": hook.command]
        ).succeeded()
        #expect(hook.said().contains(#""event":"denial""#))
        let again = try vault.tokenvault("vault_approver2", ["approvals", "approve", denied])
        #expect(again.status == 77)
        let finished = try recover(["--request", denied])
        #expect(finished.status == 77)
        #expect(finished.standardError.contains("was denied"))
        #expect(try recover(["--request", denied], "vault_recoverer2").status == 77)
        #expect(try recover(["--request", denied], "vault_approver").status == 77)

        try policy("--validity", "1s")
        let lapsed = try request(in: recover(why + [token]))
        usleep(1_100_000)
        #expect(try vault.tokenvault("vault_approver", ["approvals", "approve", lapsed]).status == 77)
        let late = try recover(["--request", lapsed])
        #expect(late.status == 77)
        #expect(late.standardError.contains("has lapsed"))
        #expect(!(finished.standardOutput + late.standardOutput).contains(value))
        #expect(try vault.tokenvault("vault_recoverer", ["approvals", "approve", denied]).status == 77)
        #expect(try vault.tokenvault("vault_operator", ["approvals", "approve", denied]).status == 77)
    }

    @Test("With --json a waiting request is one object on standard output")
    func json() throws {
        try reset()
        try policy("--approvals", "1")
        let asked = try recover(why + ["--json", token])
        #expect(asked.status == 75)
        #expect(asked.standardOutput.contains(#""state":"waiting""#))
        #expect(asked.standardOutput.contains(#""approvals_needed":1"#))
    }

    @Test("What does not belong together is a usage error, before anything is asked for")
    func usage() throws {
        let id = String(repeating: "0", count: 32)
        for arguments in [
            ["--request", id, token], ["--request", id] + why, ["--request", "x"], ["--request", id, "--break-glass"],
            [token], ["--reason", "r", token],
        ] {
            #expect(try recover(arguments).status == 64, "\(arguments)")
        }
        #expect(try recover(["--request", id]).status == 77)
    }

    @Test("Break-glass needs its role and the policy, waits for nobody, and is seen first")
    func breakGlass() throws {
        try reset()
        try policy("--approvals", "3", "--hours", "Mon-Sun 00:00-00:01 Pacific/Kiritimati")
        let hook = try makeHook("hook-glass")
        #expect(
            try recover(["--break-glass"] + why + [token], "vault_breaker").status == 77, "not allowed by the policy")
        try policy("--break-glass", "2")
        #expect(try recover(["--break-glass"] + why + [token]).status == 77, "not in the group")
        for _ in 0..<2 {
            let urgent = try recover(["--break-glass"] + why + [token], "vault_breaker", hook: hook.command).succeeded()
            #expect(urgent.standardOutput == "\(token)\t\(value)\n")
            #expect(urgent.standardError.hasPrefix("audit receipt: "))
        }
        #expect(try recover(["--break-glass"] + why + [token], "vault_breaker").status == 77, "its own budget is spent")
        #expect(hook.said().contains(#""event":"break-glass""#))
        let status = try vault.tokenvault("vault_auditor", ["status"]).succeeded()
        #expect(status.standardOutput.hasPrefix(#"{"break_glass": {"open": 2, "#), "\(status.standardOutput)")
        #expect(status.standardError.hasPrefix("warning: break-glass: 2 request(s)"))
        let events = try vault.tokenvault(
            "vault_auditor", ["audit", "list", "--json", "--action", "recover.break-glass"]
        ).succeeded().standardOutput
        #expect(events.split(separator: "\n").count == 2 && events.contains(token))
    }

    @Test(
        "A hook that fails, hangs or is none is a warning and changes nothing",
        arguments: [
            ("exit 3", "exit code 3"), ("kill -TERM $$", "ended by signal 15"),
            ("sleep 60", "did not end within 5 seconds"),
        ])
    func badHook(then: String, warning: String) throws {
        try reset()
        let hook = try makeHook("hook-\(warning.count)", then: then)
        let began = ContinuousClock.now
        let recovered = try recover(why + [token], hook: hook.command).succeeded()
        #expect(ContinuousClock.now - began < .seconds(15))
        #expect(recovered.standardOutput == "\(token)\t\(value)\n")
        #expect(
            recovered.standardError.contains("warning: notify_command ") && recovered.standardError.contains(warning))
        #expect(hook.said().contains(#""event":"request""#))
    }

    @Test("The hook gets one line, with the members of docs/FORMATS.md in their order, also for a quarantined record")
    func hookFormat() throws {
        try reset()
        try policy("--approvals", "1")
        let text = try String(contentsOfFile: Repository.path("docs/FORMATS.md"), encoding: .utf8)
        let example = try #require(
            text.split(separator: "Notices to `notify_command`").last?.split(separator: "\n\n")
                .first { $0.hasPrefix("    {") })
        func members(_ json: Substring) -> [String] {
            json.matches(of: #/"([a-z_]+)": ?[^,}]/#).map { String($0.1) }.filter {
                !["device_id", "ip", "quarantine"].contains($0)
            }
        }
        let hook = try makeHook("hook-format")
        let asked = try recover(
            ["--reason", "say \"hi\",\\ \u{E9}\u{1F511}", "--ticket", "T-1", token, token], hook: hook.command)
        #expect(asked.status == 75)
        let bad = try vault.file("bad.ndjson", "{\"user_id\": \"a\", \"ip\": \"1.2.3.4/8\"}\n")
        _ = try vault.tokenvault("vault_ingest", ["ingest", bad])
        try vault.tokenvault("vault_operator", ["policy", "set", "--domain", "quarantine", "--approvals", "1"])
            .succeeded()
        let record = try vault.query("SELECT id FROM vault.quarantine LIMIT 1")
        let shown = try vault.tokenvault(
            "vault_operator", ["quarantine", "show", "--reason", "r", "--ticket", "T-2", record],
            environment: ["TOKENVAULT_NOTIFY_COMMAND": hook.command])
        #expect(shown.status == 75, "\(shown.standardError)")

        let lines = hook.said().split(separator: "\n").filter { $0.hasPrefix("{") }
        try #require(lines.count == 2, "\(hook.said())")
        for line in lines { #expect(members(line) == members(example)) }
        struct Notice: Decodable {
            let event, request, requester, actor, kind, reason, lapses: String
            let values, approvals, approvals_needed: Int
            let domains: [String: Int]
            let ticket: String?
        }
        let notices = try lines.map { try JSONDecoder().decode(Notice.self, from: Data($0.utf8)) }
        #expect(notices.map(\.event) == ["request", "request"])
        #expect(notices.map(\.kind) == ["tokens", "quarantine"])
        #expect(notices[0].reason == "say \"hi\",\\ \u{E9}\u{1F511}" && notices[0].ticket == "T-1")
        #expect(notices[0].domains == ["ip": 2] && notices[0].values == 2 && notices[0].approvals_needed == 1)
        #expect(notices[1].domains == ["quarantine": 1] && notices[1].requester == "vault_operator")
        #expect(notices[0].lapses.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/#) != nil)
        let id = try request(in: asked)
        #expect(notices[0].request == id)
    }

    @Test("What a hook leaves running holds neither the command nor whoever reads its outputs to their end")
    func hookInBackground() throws {
        try reset()
        let hook = try makeHook("hook-background", then: "sleep 60 &")
        let began = ContinuousClock.now
        let recovered = try recover(why + [token], hook: hook.command).succeeded()
        #expect(ContinuousClock.now - began < .seconds(20))
        #expect(recovered.standardOutput == "\(token)\t\(value)\n" && !recovered.standardError.contains("warning"))
    }

    @Test("A decision stands whatever its hook does")
    func hookOfDecision() throws {
        try reset()
        try policy("--approvals", "1")
        let id = try request(in: recover(why + [token]))
        let hook = try makeHook("hook-decision", then: "exit 3")
        let decided = try vault.tokenvault(
            "vault_approver", ["approvals", "approve", id], environment: ["TOKENVAULT_NOTIFY_COMMAND": hook.command]
        ).succeeded()
        #expect(decided.standardError.contains("warning: notify_command ended with exit code 3"))
        #expect(try recover(["--request", id]).succeeded().standardOutput == "\(token)\t\(value)\n")
    }

    @Test(
        "A hook that cannot be started is a warning", arguments: ["/nowhere/at/all", "relative", "/bin/sh 'open", "  "])
    func noHook(command: String) throws {
        try reset()
        let recovered = try recover(why + [token], hook: command).succeeded()
        #expect(recovered.standardOutput == "\(token)\t\(value)\n")
        #expect(recovered.standardError.contains("warning: notify_command "))
    }

    @Test("A policy is shown, and changed by what is named only, with old and new in the log")
    func policySet() throws {
        try reset()
        try policy("--approvals", "1", "--validity", "8h", "--ticket-pattern", "T-[0-9]+")
        try policy("--hours", "mon-fri 00:00-24:00 utc; Sat,sun 00:00-24:00 europe/berlin")
        let shown = try vault.tokenvault("vault_recoverer", ["policy", "show", "--json", "--domain", "ip"]).succeeded()
        #expect(
            shown.standardOutput == #"{"domain":"ip","approvals":1,"values_per_day":1000,"validity_seconds":28800,"#
                + #""reason_pattern":null,"ticket_pattern":"T-[0-9]+","hours":"Mon-Fri 00:00-24:00 UTC; Sat,Sun 00:00-24:00 "#
                + #"Europe/Berlin","break_glass_per_day":null}"# + "\n")
        let table = try vault.tokenvault("vault_auditor", ["policy", "show"]).succeeded().standardOutput
        #expect(table.contains("8h") && table.contains("always") && table.contains("T-[0-9]+"))
        #expect(
            try vault.tokenvault("vault_approver", ["policy", "show", "--json", "--domain", "unknown"]).succeeded()
                .standardOutput.contains(#""domain":"*""#))
        #expect(
            try vault.query(
                "SELECT outcome FROM audit.event WHERE action = 'policy.set' ORDER BY sequence DESC LIMIT 1")
                == #"{"hours": {"new": "Mon-Fri 00:00-24:00 UTC; Sat,Sun 00:00-24:00 Europe/Berlin", "old": null}}"#)
        let events = try vault.query("SELECT count(*) FROM audit.event")
        try policy("--validity", "480m")
        #expect(try vault.query("SELECT count(*) FROM audit.event") == events, "what is so already is no change")
    }

    @Test(
        "Nonsense is refused with one clear line",
        arguments: [
            ["--approvals", "-1"], ["--approvals", "11"], ["--approvals", "one"], ["--values-per-day", "-1"],
            ["--values-per-day", "1.5"], ["--validity", "0s"], ["--validity", "31d"], ["--validity", "+5m"],
            ["--validity", "5"], ["--validity", "9999999999d"], ["--reason-pattern", "("], ["--reason-pattern", ""],
            ["--ticket-pattern", "a)|(b"], ["--ticket-pattern", "(?i)x"], ["--hours", ""], ["--hours", "9 to 5"],
            ["--hours", "Mon-Fri 08:00-18:00"], ["--hours", "Mon-Fri 08:00-18:00 CET"],
            ["--hours", "Mon-Fri 08:00-18:00 Europe/Nowhere"], ["--hours", "Mon-Fri 18:00-18:00 UTC"],
            ["--hours", "Mon-Fri 08:00-24:01 UTC"], ["--hours", "Mon-Fri 24:00-08:00 UTC"],
            ["--hours", "Mo-Fr 08:00-18:00 UTC"], ["--hours", "Mon-Tue-Wed 08:00-18:00 UTC"],
            ["--break-glass", "0"], ["--break-glass", "yes"], [],
        ])
    func nonsense(changes: [String]) throws {
        let before = try vault.query("SELECT count(*) FROM audit.event")
        let refused = try vault.tokenvault("vault_operator", ["policy", "set", "--domain", "ip"] + changes)
        #expect(refused.status == 64, "\(refused.standardError)")
        #expect(refused.standardError.lowercased().hasPrefix("error: "), "\(refused.standardError)")
        #expect(try vault.query("SELECT count(*) FROM audit.event") == before)
    }

    @Test("Only an operator sets a policy", arguments: ["vault_recoverer", "vault_approver", "vault_auditor"])
    func onlyOperators(login: String) throws {
        let refused = try vault.tokenvault(login, ["policy", "set", "--domain", "ip", "--approvals", "0"])
        #expect(refused.status == 77)
    }
}
