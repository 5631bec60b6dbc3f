import Keys
import Postgres
import VaultCrypto
import VaultStore

/// Rewraps: seals every data key to every active recovery key that may open its domain. Touches no value, so its cost
/// goes with the number of data keys only. Adding a reader and replacing one are the same; a reader who leaves is taken off
/// by retiring their key.
extension RotationRun {
    mutating func rotateRecoveryKey() throws(RotationError) {
        do {
            let rotation = try store.beginRotation(.recoveryKey, target: nil, scope: nil, id: RandomBytes.uuid())
            summary.id = rotation
            for key in ingest.recoveryKeys where key.state == .active { try seal(to: key, rotation: rotation) }
            summary.values = try record(rotation).valuesDone
            summary.receipt = try store.finishRotation(
                rotation, outcome: "data keys sealed \(summary.values), left alone \(summary.leftAlone.count)")
        } catch { throw wrapped(error) }
    }

    private mutating func seal(to key: RecoveryPublicKey, rotation: UInt128) throws(RotationError) {
        var place: UInt128?
        var done = 0
        while true {
            do {
                let page = try store.dataKeysWithoutSeal(
                    to: key.id, domains: key.domains, own: recovery.recoveryKeyIDs, after: place, limit: 1_000)
                guard let last = page.last else { return }
                var seals: [(dataKey: UInt128, sealed: [UInt8])] = []
                var left: [(token: UInt128, reason: String)] = []
                for record in page {
                    do {
                        let opened = try recovery.open(record)
                        seals.append((record.id, try key.seal(opened).sealed))
                    } catch let error as DataKeyError {
                        if case .noSeal = error { throw RotationError.dataKey(error) }
                        left.append((record.id, "\(error)"))
                    } catch let error as KeyringError { throw RotationError.keyring(error) }
                }
                done += try store.addSeals(rotation, to: key.id, seals)
                try note(left, rotation: rotation)
                place = last.id
                report("data keys for \(key.name)", pass: 1, done: done, total: done)
                try pause(after: page.count)
            } catch { throw wrapped(error) }
        }
    }
}
