import ArgumentParser
import Foundation
import Keys
import Rotation
import VaultCrypto
import VaultStore

/// One action of one rotation, from the command line's options to its report.
struct RotateSession {
    let kind: RotationKind
    let options: RotateOptions
    let scope: String
    let rowsPerMove: Int
    let fingerprint: Bool
    /// retire: ends ingest runs that would go on writing under the old token key.
    var endsRuns = false

    func act(key: String?) throws {
        switch options.action {
        case .plan: try plan()
        case .run: try run()
        case .status: try status()
        case .verify: try verify()
        case .retire: try retire(key: key)
        }
    }

    private func openRun() throws -> RotationRun {
        let settings = try options.database.settings()
        let path = try settings.requiredPath(
            .ingestKeyring, flag: options.ingest.ingestKeyring, option: "ingest-keyring")
        let ingest = try IngestKeyring.load(path: path)
        let recovery = try options.recovery.load(settings)
        var rotation = RotationOptions()
        rotation.database = settings.string(.database, flag: options.database.database) ?? ""
        rotation.pageSize = options.pageSize
        rotation.rowsPerMove = max(1, rowsPerMove)
        rotation.throttle = options.throttle
        rotation.maxLeftAlone = options.maxLeftAlone
        rotation.takesFingerprint = fingerprint
        rotation.scope = scope
        rotation.shouldStop = { StopSignal.isRequested }
        rotation.warn = { Messages.warning($0) }
        let reporter = ProgressReporter()
        rotation.progress = { reporter.report($0) }
        StopSignal.install()
        return RotationRun(
            try options.database.openChecked(.unhurried), ingest: ingest, recovery: recovery, options: rotation)
    }

    private func run() throws {
        var run = try openRun()
        let start = ContinuousClock.now
        let summary = try run.run(kind)
        let seconds = max((ContinuousClock.now - start) / .seconds(1), 0.001)
        if isatty(STDERR_FILENO) == 1 { Messages.progress("") }
        if let receipt = summary.receipt { Messages.note("audit receipt: \(receipt.text)") }
        for item in summary.leftAlone { Messages.warning("left alone \(Hex.encode(item.token)): \(item.reason)") }
        let output = StandardOutput()
        if options.output.json {
            var line = JSONLine()
            line.add("rotation", Hex.encode(summary.id))
            line.add("kind", kind.rawValue)
            line.add("values", summary.values)
            line.add("rows", summary.rows)
            line.add("removed", summary.dropped)
            line.add("left_alone", summary.leftAlone.count)
            line.add("milliseconds", Int(seconds * 1000))
            try output.line(line.text)
        } else {
            var table = Table("ROTATION", Hex.encode(summary.id))
            table.add(kind == .recoveryKey ? "data keys sealed" : "values", "\(summary.values)")
            if kind == .tokenKey { table.add("rows", "\(summary.rows)") }
            if kind != .recoveryKey {
                table.add(kind == .tokenKey ? "old originals removed" : "old data keys removed", "\(summary.dropped)")
            }
            table.add("left alone", "\(summary.leftAlone.count)")
            table.add("seconds", String(format: "%.1f", seconds))
            for line in table.lines { try output.line(line) }
        }
        try output.flush()
        if !summary.leftAlone.isEmpty {
            throw Failure(
                .doesNotVerify,
                "\(summary.leftAlone.count) originals were left under the old key; see the warnings, mend them and run again"
            )
        }
    }

    private func plan() throws {
        var store = try options.database.openChecked(.unhurried)
        let census = try store.rotationCensus()
        let keys = try store.keyStates()
        let active = keys.first { $0.purpose == "token" && $0.state == "active" }?.version
        let plan = RotationPlan(kind: kind, census: census, activeTokenVersion: active)
        let output = StandardOutput()
        if options.output.json {
            var line = JSONLine()
            line.add("kind", kind.rawValue)
            line.add("values", plan.values)
            line.add("rows", plan.rows)
            line.add("data_keys", plan.dataKeys)
            line.add("seconds", plan.seconds)
            line.add("disk_bytes", plan.diskBytes)
            try output.line(line.text)
        } else {
            var table = Table("TO DO", "rotate \(kind.rawValue)")
            if kind == .recoveryKey {
                table.add("data keys", "\(plan.dataKeys)")
            } else {
                table.add("values", "\(plan.values)")
            }
            if kind == .tokenKey { table.add("tokens in rows", "\(plan.rows)") }
            table.add("time, about", "\(plan.seconds) s")
            table.add("disk until the next VACUUM, about", "\(plan.diskBytes / 1_048_576) MiB")
            for line in table.lines { try output.line(line) }
        }
        try output.flush()
    }

    private func status() throws {
        var store = try options.database.openChecked(.unhurried)
        let census = try store.rotationCensus()
        let rotations = try store.rotations(limit: 3)
        let output = StandardOutput()
        if options.output.json {
            for entry in census {
                var line = JSONLine()
                line.add("what", entry.what)
                line.add("name", entry.name)
                line.add("version", entry.version)
                line.add("amount", entry.amount)
                try output.line(line.text)
            }
        } else {
            var table = Table("WHAT", "NAME", "VERSION", "AMOUNT")
            for entry in census {
                table.add(entry.what, entry.name, entry.version.map { "v\($0)" } ?? "-", "\(entry.amount)")
            }
            for line in table.lines { try output.line(line) }
            for rotation in rotations {
                let end =
                    rotation.finished.map { "finished \($0): \(rotation.outcome ?? "")" }
                    ?? "unfinished, pass \(rotation.pass), values \(rotation.valuesDone), rows \(rotation.rowsDone)"
                Messages.note("\(rotation.kind) begun \(rotation.started) by \(rotation.startedBy): \(end)")
            }
        }
        try output.flush()
    }

    private func verify() throws {
        var run = try openRun()
        let report = try run.verify(kind)
        let output = StandardOutput()
        for line in report { try output.line(line) }
        try output.flush()
    }

    private func retire(key: String?) throws {
        var store = try options.database.openChecked(.unhurried)
        let keys = try store.keyStates()
        let purpose = kind == .tokenKey ? "token" : "recovery"
        guard kind != .dataKeys else {
            throw Failure(
                .usage, "data keys are retired by `rotate data-keys run`, which removes those that nothing needs")
        }
        let chosen = keys.filter {
            $0.purpose == purpose && ["deactivated", "compromised"].contains($0.state) && (key == nil || $0.name == key)
        }
        guard !chosen.isEmpty, kind == .tokenKey || key != nil else {
            throw Failure(
                .usage,
                kind == .tokenKey
                    ? "no deactivated token key is registered" : "--key NAME must name a deactivated recovery key")
        }
        for old in chosen {
            let receipt =
                kind == .tokenKey
                ? try old.version.flatMap { KeyVersion(UInt32($0)) }.map {
                    try store.retireTokenKey($0, endsRuns: endsRuns)
                }
                : try store.retireRecoveryKey(old.id)
            if let receipt { Messages.note("audit receipt: \(receipt.text)") }
            Messages.note("\(old.name): nothing needs it any more; `tokenvault keys destroy \(old.name)` may follow")
        }
    }
}

/// A bar with rate and time left on a terminal; elsewhere a line of JSON a second at most.
final class ProgressReporter: @unchecked Sendable {
    // @unchecked: told by one thread only, the one that rotates.
    private let start = ContinuousClock.now
    private var last: ContinuousClock.Instant?
    private var step = ""
    private var stepStart = ContinuousClock.now
    private var firstDone = 0

    func report(_ progress: RotationProgress) {
        let now = ContinuousClock.now
        if progress.step != step { (step, stepStart, firstDone, last) = (progress.step, now, progress.done, nil) }
        if let last, now - last < .seconds(1), progress.done < progress.total { return }
        last = now
        let seconds = (now - stepStart) / .seconds(1)
        let rate = seconds > 0.01 ? Double(progress.done - firstDone) / seconds : 0
        let left = rate > 0 ? Int(Double(progress.total - progress.done) / rate) : 0
        if isatty(STDERR_FILENO) == 1 {
            let width = 30
            let filled = progress.total > 0 ? width * progress.done / progress.total : width
            let bar =
                String(repeating: "#", count: min(width, filled))
                + String(repeating: ".", count: max(0, width - filled))
            Messages.progress(
                "[\(bar)] \(progress.step) \(progress.done)/\(progress.total), \(Int(rate))/s, \(left) s left")
        } else {
            var line = JSONLine()
            line.add("step", progress.step)
            line.add("pass", progress.pass)
            line.add("done", progress.done)
            line.add("total", progress.total)
            line.add("per_second", Int(rate))
            line.add("seconds_left", left)
            Messages.note(line.text)
        }
    }
}
