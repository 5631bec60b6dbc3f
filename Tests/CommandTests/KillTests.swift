import Foundation
import TestSupport
import Testing

/// scripts/mutants.sh proves that these can fail: it runs them on a program that deletes messages before it commits, and on one
/// that forgets what it has processed.
@Suite("A run killed at random moments", .serialized)
struct KillTests {
    /// That really landed, each over a file and over a queue.
    private static let kills = 50
    /// A run may end before its signal comes.
    private static let attempts = 75

    @Test("over a file ends as one clean run would")
    func file() throws {
        let vault = try LiveVault("kill_file")
        defer { vault.remove() }
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let sent = try SentRecords(60_000, seed: 11)
        let file = try vault.file("logins.ndjson", sent.lines.joined(separator: "\n") + "\n")
        let arguments = ["ingest", "--json", "--batch-size", "100", file]

        var landed = 0
        for _ in 0..<Self.attempts where landed < Self.kills {
            let run = try vault.command("vault_ingest", arguments).start()
            Thread.sleep(forTimeInterval: Double.random(in: 0.01...0.25, using: &random))
            run.signal(SIGKILL)
            if run.wait().wasKilled { landed += 1 }
        }
        #expect(
            landed == Self.kills, "seed \(seed): only \(landed) kills landed; the input is too small to prove anything")
        let last = try vault.tokenvault("vault_ingest", arguments)
        #expect([0, 3].contains(last.status), "seed \(seed): \(last.standardError)")
        try sent.expectAllStoredOnce(in: vault, seed: seed)
    }

    @Test("over a queue loses no message and counts none twice")
    func queue() throws {
        let vault = try LiveVault("kill_queue")
        defer { vault.remove() }
        let server = try SQSServer.shared.get()
        let queue = try server.makeQueue("kill-queue")
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let sent = try SentRecords(1_500, seed: 12)
        try server.send(sent.lines, to: queue)
        let arguments = [
            "ingest", "--json", "--batch-size", "50", "--poll-seconds", "1", "--visibility-seconds", "2", queue,
        ]

        var landed = 0
        for _ in 0..<Self.attempts where landed < Self.kills {
            let run = try vault.command("vault_ingest", arguments, environment: server.environment).start()
            Thread.sleep(forTimeInterval: Double.random(in: 0.05...0.6, using: &random))
            run.signal(SIGKILL)
            if run.wait().wasKilled { landed += 1 }
            let stored = try vault.query(
                "SELECT (SELECT count(*) FROM public.user_logins) + (SELECT count(*) FROM vault.quarantine)")
            let waiting = try server.counts(of: queue)
            #expect(
                (Int(stored) ?? 0) + waiting.visible + waiting.inFlight >= sent.lines.count,
                "seed \(seed): messages lost")
        }
        #expect(
            landed == Self.kills, "seed \(seed): only \(landed) kills landed; the queue is too small to prove anything")
        for _ in 0..<20 {
            let run = try vault.tokenvault("vault_ingest", arguments, environment: server.environment)
            #expect([0, 3].contains(run.status), "seed \(seed): \(run.standardError)")
            let waiting = try server.counts(of: queue)
            if waiting.visible + waiting.inFlight == 0 { break }
            Thread.sleep(forTimeInterval: 1)
        }
        let waiting = try server.counts(of: queue)
        #expect(waiting.visible + waiting.inFlight == 0, "seed \(seed): the queue was not drained")
        try sent.expectAllStoredOnce(in: vault, seed: seed)
    }
}

/// SplitMix64: the same delays for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
