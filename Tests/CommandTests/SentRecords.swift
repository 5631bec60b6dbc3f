import Foundation
import TestSupport
import Testing

/// Records as they were sent, and the invariants of a vault that has processed them all.
struct SentRecords {
    struct Record: Decodable {
        let user_id: String
        let ip: String
        let device_id: String
    }

    /// Every 50th line is no record: it must end in the quarantine.
    static let refusedEvery = 50

    let lines: [String]
    let records: [Record]
    let refused: Int

    init(_ count: Int, seed: Int) throws {
        let printed = try LiveVault.records(
            count, ["--seed", "\(seed)", "--addresses", "\(count / 4)", "--devices", "\(count / 3)"])
        var lines: [String] = []
        var records: [Record] = []
        for (index, line) in printed.split(separator: "\n").enumerated() {
            if index % Self.refusedEvery == 7 {
                lines.append("{\"user_id\": \"refused-\(index)\", \"ip\": 17}")
            } else {
                lines.append(String(line))
                records.append(try JSONDecoder().decode(Record.self, from: Data(line.utf8)))
            }
        }
        self.lines = lines
        self.records = records
        refused = lines.count - records.count
    }

    /// I1, I2: each record has exactly one row, each refused one exactly one quarantine entry. I3: every token has an original
    /// that opens to the record's own value.
    func expectAllStoredOnce(in vault: LiveVault, seed: UInt64) throws {
        let rows = try vault.query("SELECT user_id, masked_ip, masked_device_id FROM public.user_logins")
            .split(separator: "\n").map { $0.split(separator: "|", omittingEmptySubsequences: false).map(String.init) }
        #expect(
            rows.map { $0[0] }.sorted() == records.map(\.user_id).sorted(), "seed \(seed): rows differ from records")
        #expect(try vault.query("SELECT count(*) FROM vault.quarantine") == "\(refused)", "seed \(seed): quarantine")

        _ = try vault.query("UPDATE vault.policy SET values_per_day = 100000000")
        let tokens = Set(rows.flatMap { [$0[1], $0[2]] })
        let list = try vault.file("tokens", tokens.joined(separator: "\n"))
        let recovered = try vault.tokenvault(
            "vault_recoverer", ["recover", "--reason", "test of invariants", "--ticket", "T-1", "--from", list])
        #expect(recovered.status == 0, "seed \(seed): \(recovered.standardError.suffix(300))")
        var values: [String: String] = [:]
        for line in recovered.standardOutput.split(separator: "\n") {
            let parts = line.split(separator: "\t", maxSplits: 1)
            values[String(parts[0])] = String(parts[1])
        }
        let sent = Dictionary(records.map { ($0.user_id, $0) }, uniquingKeysWith: { first, _ in first })
        let wrong = rows.filter { row in
            guard let record = sent[row[0]] else { return true }
            return values[row[1]] != record.ip || values[row[2]] != record.device_id
        }
        #expect(wrong.isEmpty, "seed \(seed): \(wrong.count) rows whose tokens open to another value")
    }
}
