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
            if rows.isEnded { return }
            if staged == 0, rows.moved == 0 { return try finishTokenKey(rotation, stuck: rows.stuck) }
            do { try store.nextRotationPass(rotation, rowsBefore: nil) } catch { throw .database(error) }
        }
        throw .stillWritten(passes: Self.maximumPasses)
    }

    private mutating func finishTokenKey(_ rotation: UInt128, stuck: Int) throws(RotationError) {
        do {
            summary.dropped = try store.dropOldOriginals(rotation)
            let outcome = tokenKeyOutcome(try record(rotation), stuck: stuck)
            summary.receipt = try store.finishRotation(rotation, outcome: outcome)
            if stuck > 0, summary.leftAlone.isEmpty { throw RotationError.rowsWithoutOriginal(stuck) }
        } catch { throw wrapped(error) }
    }

    /// Moves the rows of every pair, slice by slice.
    ///
    /// - Parameter isSweep: every original was paired before; looks first whether any row is left.
    /// - Returns: how many rows changed, how many tokens no pair can move, and whether that was the rotation's end.
    private mutating func moveAllRows(
        _ rotation: UInt128, isSweep: Bool
    ) throws(RotationError) -> (moved: Int, stuck: Int, isEnded: Bool) {
        var moved = 0
        do {
            var rows = 0
            if isSweep {
                guard try store.oldRows(rotation) > 0 else { return (0, 0, false) }
                try store.analyzeSuccessors()
                let left = try store.rowsToMove(rotation)
                guard left.movable > 0 else { return (0, left.stuck, false) }
                rows = left.movable / 3
            } else {
                rows = try store.rowsAbout()
            }
            let parts = Int32(min(65_536, max(1, (rows + options.rowsPerMove - 1) / options.rowsPerMove)))
            let pass = try record(rotation).pass
            for part in 0..<parts {
                let first = Int32(65_536 * Int(part) / Int(parts))
                let last = Int32(65_536 * (Int(part) + 1) / Int(parts)) - 1
                var removal = part == parts - 1 && !isSweep ? beginRemoval(rotation) : nil
                let changed = try store.moveRows(rotation, slices: first...last)
                moved += changed
                report("rows", pass: pass, done: Int(part) + 1, total: Int(parts))
                try pause(after: changed)
                if let removal = removal.take(), try end(rotation, removal: removal) { return (moved, 0, true) }
            }
        } catch { throw wrapped(error) }
        return (moved, 0, false)
    }
}
