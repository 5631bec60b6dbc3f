package import VaultStore

/// What a rotation will have to do, and about how long that takes. The rates are of a machine with two cores
/// (docs/RUNBOOK.md); `make benchmark` measures them here.
package struct RotationPlan: Sendable {
    package let values: Int
    /// Tokens in rows: a row with three masked columns counts three times.
    package let rows: Int
    package let dataKeys: Int
    package let seconds: Int
    /// What dead rows and new ones take until the next VACUUM.
    package let diskBytes: Int
    /// What is written to the server's write-ahead log meanwhile: kept by archives and replicas.
    package let logBytes: Int

    package init(kind: RotationKind, census: [CensusEntry], activeTokenVersion: Int?) {
        func sum(_ what: String, _ isCounted: (CensusEntry) -> Bool = { _ in true }) -> Int {
            census.filter { $0.what == what && isCounted($0) }.reduce(0) { $0 + $1.amount }
        }
        let keys = sum("data key")
        let work: (seconds: Double, disk: Int, log: Int)
        switch kind {
        case .recoveryKey:
            (values, rows, dataKeys) = (0, 0, keys)
            work = (Double(keys) / 5_000, keys * 200, keys * 300)
        case .dataKeys:
            let originals = sum("original")
            (values, rows, dataKeys) = (originals, 0, keys)
            work = (Double(originals) / 40_000, originals * 200, originals * 550)
        case .tokenKey:
            let originals = sum("original") { $0.version != activeTokenVersion }
            let tokens = sum("row") { $0.version != activeTokenVersion }
            (values, rows, dataKeys) = (originals, tokens, keys)
            work = (
                Double(originals) / 20_000 + Double(tokens) / 200_000, originals * 560 + tokens * 90,
                originals * 900 + tokens * 150
            )
        }
        (seconds, diskBytes, logBytes) = (1 + Int(work.seconds.rounded(.up)), work.disk, work.log)
    }
}
