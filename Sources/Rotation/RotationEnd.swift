import Postgres
import VaultStore

/// The end of a token key's rotation, begun while the rows of the last slice still move.
///
/// A second session removes the old originals in a transaction that stays open until the move is committed. It then looks
/// whether anything is left, and commits only if not, together with the rotation's end. Until then nobody sees a difference,
/// and whatever goes wrong leaves all to another pass: nothing was removed.
///
/// Who waits for that transaction (an ingest under the old key that stores the same value, an erasure) waits for as long as
/// ``SessionLimits/byTurns`` lets it idle, at most.
extension RotationRun {
    /// Begins to remove old originals; `nil` when it cannot, or when a throttle asks for little at a time.
    mutating func beginRemoval(_ rotation: UInt128) -> PendingStatement? {
        guard options.throttle == nil else { return nil }
        return try? on(.second) { session throws(PostgresError) in
            try session.begin()
            return try session.sendRemovalOfOldOriginals(rotation)
        }
    }

    /// Ends the rotation if nothing is left under an older key.
    ///
    /// - Returns: whether it ended; if not, nothing was removed.
    mutating func end(_ rotation: UInt128, removal: consuming PendingStatement) throws(RotationError) -> Bool {
        var pending: PendingStatement? = removal
        do {
            let removed = try on(.second) { session throws(PostgresError) -> Int? in
                guard let taken = pending.take() else { return nil }
                let removed = try session.oldOriginalsRemoved(taken)
                if try session.isAllMoved(rotation) { return removed }
                session.rollback()
                return nil
            }
            guard let removed else { return false }
            let outcome = tokenKeyOutcome(try record(rotation), stuck: 0)
            summary.receipt = try on(.second) { session throws(PostgresError) in
                try session.finishRotation(rotation, outcome: outcome)
            }
            summary.dropped = removed
        } catch {
            // What another pass may do without: somebody else's lock, or a session that was ended for idling.
            guard case .database(let cause) = error, cause.isTransient else { throw error }
            secondWriter = nil
            return false
        }
        _ = try on(.second) { session throws(PostgresError) in try session.commit() }
        return true
    }

    /// What the audit log says at the end; the summary's figures, too.
    mutating func tokenKeyOutcome(_ state: RotationRecord, stuck: Int) -> String {
        (summary.values, summary.rows) = (state.valuesDone, state.rowsDone)
        return
            "values \(summary.values), rows \(summary.rows), left alone \(summary.leftAlone.count), rows without original \(stuck)"
    }
}
