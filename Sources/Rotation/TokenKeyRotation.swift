import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// Re-tokenises: new originals are put beside the old ones, with the pairs of tokens; then rows move, whole groups in one
/// transaction; at the end, when no row is left, the old originals go. So every token in a row has its original at any
/// moment, and no group is ever split.
///
/// Passes are repeated until one finds nothing: an ingest that was under way may add rows under the old key.
extension RotationRun {
    private static let maximumPasses = 20

    mutating func rotateTokenKey() throws(RotationError) {
        let target = ingest.activeTokenKey
        let rotation: UInt128
        do {
            rotation = try store.beginRotation(.tokenKey, target: target, scope: nil, id: RandomBytes.uuid())
            summary.id = rotation
            let state = try record(rotation)
            if state.rowsBefore == nil, state.rowsDone == 0, state.valuesDone == 0 {
                let before = options.takesFingerprint ? try store.rowFingerprint(version: nil) : "{}"
                try store.nextRotationPass(rotation, rowsBefore: before)
            }
        } catch { throw wrapped(error) }
        for _ in 0..<Self.maximumPasses {
            let staged = try stageOriginals(rotation, target: target)
            let rows = try moveAllRows(rotation, isSweep: staged == 0)
            if staged == 0, rows.moved == 0 { return try finishTokenKey(rotation, stuck: rows.stuck) }
            do { try store.nextRotationPass(rotation, rowsBefore: nil) } catch { throw .database(error) }
        }
        throw .stillWritten(passes: Self.maximumPasses)
    }

    private mutating func finishTokenKey(_ rotation: UInt128, stuck: Int) throws(RotationError) {
        do {
            summary.dropped = try store.dropOldOriginals(rotation)
            let state = try record(rotation)
            (summary.values, summary.rows) = (state.valuesDone, state.rowsDone)
            let left = summary.leftAlone.count
            summary.receipt = try store.finishRotation(
                rotation,
                outcome:
                    "values \(summary.values), rows \(summary.rows), left alone \(left), rows without original \(stuck)"
            )
            if stuck > 0, left == 0 { throw RotationError.rowsWithoutOriginal(stuck) }
        } catch { throw wrapped(error) }
    }

    /// Moves the rows of every pair, slice by slice.
    ///
    /// - Parameter isSweep: every original was paired before; looks first whether any row is left.
    /// - Returns: how many rows changed, and how many tokens no pair can move.
    private mutating func moveAllRows(
        _ rotation: UInt128, isSweep: Bool
    ) throws(RotationError) -> (moved: Int, stuck: Int) {
        var moved = 0
        do {
            var rows = 0
            if isSweep {
                guard try store.oldRows(rotation) > 0 else { return (0, 0) }
                let left = try store.rowsToMove(rotation)
                guard left.movable > 0 else { return (0, left.stuck) }
                rows = left.movable / 3
            } else {
                rows = try store.rowsAbout()
            }
            try store.analyzeSuccessors()
            let parts = Int32(min(65_536, max(1, (rows + options.rowsPerMove - 1) / options.rowsPerMove)))
            let pass = try record(rotation).pass
            for part in 0..<parts {
                let first = Int32(65_536 * Int(part) / Int(parts))
                let last = Int32(65_536 * (Int(part) + 1) / Int(parts)) - 1
                let changed = try store.moveRows(rotation, slices: first...last)
                moved += changed
                report("rows", pass: pass, done: Int(part) + 1, total: Int(parts))
                try pause(after: changed)
            }
        } catch { throw wrapped(error) }
        return (moved, 0)
    }
}
