import VaultStore

/// One thing that `verify` looked at, as a sentence for people and in parts for programs.
package struct Finding: Sendable {
    /// `keys`, `values`, `rows`, or where old tokens are: `old-tokens`, or `old-files` for what a VACUUM FULL ends.
    package let check: String
    /// A table, a column, or a key's name.
    package let place: String?
    package let amount: Int?
    package let text: String

    init(_ check: String, place: String? = nil, amount: Int? = nil, _ text: String) {
        (self.check, self.place, self.amount, self.text) = (check, place, amount, text)
    }
}

/// Where tokens of older versions are left, and what ends that.
enum OldTokens {
    static func findings(_ census: [CensusEntry], _ places: [OldTokenPlace], target: Int) -> [Finding] {
        var found: [Finding] = []
        for entry in census where (entry.version ?? target) < target && entry.amount > 0 {
            if let text = sentence(entry) {
                found.append(Finding("old-tokens", place: entry.name, amount: entry.amount, text))
            }
        }
        for place in places where place.amount > 0 && place.kind != .file {
            found.append(Finding("old-tokens", place: place.name, amount: place.amount, sentence(place)))
        }
        let files = places.filter { $0.kind == .file }
        let standing = Set(places.filter { $0.kind == .pair && $0.amount > 0 }.map(\.name))
        let old = files.filter { $0.amount > 0 && !standing.contains($0.name) }
        for file in old.filter({ !isLast($0) }) + old.filter(isLast) {
            found.append(
                Finding(
                    "old-files", place: file.name, amount: file.amount,
                    "\(file.name): not written anew since the rotation ended, or while an older transaction was open, so dead rows and index entries may hold old tokens: \(vacuum(file.name))"
                ))
        }
        let clean = files.filter { $0.amount == 0 }.map(\.name)
        if !clean.isEmpty {
            let names = clean.joined(separator: ", ")
            found.append(
                Finding(
                    "files", "empty or written anew since the rotation ended, with no older transaction open: \(names)"
                ))
        }
        found.append(Finding("limits", "not looked at: WAL, backups, server logs, and tables that are not registered"))
        return found
    }

    /// The statistics are written by ANALYZE, so they come after the tables.
    private static func isLast(_ file: OldTokenPlace) -> Bool { file.name == "pg_catalog.pg_statistic" }

    private static func vacuum(_ table: String) -> String {
        table == "pg_catalog.pg_statistic"
            ? "last of all, VACUUM FULL \(table)" : "VACUUM (FULL, ANALYZE) \(table)"
    }

    private static func sentence(_ entry: CensusEntry) -> String? {
        switch entry.what {
        case "erased row":
            "\(entry.name): \(entry.amount) rows keep old tokens of erased values; `tokenvault erase --masked-rows clear` takes such tokens out"
        case "message":
            "vault.ingest_message: \(entry.amount) MACs made with the old key, for 15 days or until `keys destroy --forget-ledger`"
        case "file":
            "vault.ingest_file: \(entry.amount) fingerprints made with the old key, until the files are read again or `keys destroy --forget-ledger`"
        default: nil
        }
    }

    private static func sentence(_ place: OldTokenPlace) -> String {
        let (name, amount) = (place.name, place.amount)
        return switch place.kind {
        case .pair: "\(name): \(amount) pairs of old and new tokens, until `tokenvault rotate token-key retire`"
        case .request:
            "\(name): \(amount) old tokens that somebody asked to recover; kept, as the audit log names them too"
        case .tombstone: "\(name): up to \(amount) old tokens of erased values; kept, so that `recover` can say so"
        case .erasure: "\(name): \(amount) old tokens of an unfinished erasure; run the same `tokenvault erase` again"
        case .exception:
            "\(name): \(amount) old tokens that a rotation left alone; gone with `retire` when they stand nowhere any more"
        case .event: "\(name): \(amount) events name old tokens; the log is never changed, they stay"
        case .record:
            "\(name): up to \(amount) MACs of records made with the old key, until `tokenvault keys destroy`"
        case .statistics:
            "\(name): the planner's statistics hold \(amount) old tokens: ANALYZE the table (what rows keep stays here, too)"
        case .file: ""
        }
    }
}
