import ArgumentParser
import Foundation
import Keys
import Rotation
import Synchronization
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
            try options.database.openChecked(rotation.limits(.unhurried)), ingest: ingest, recovery: recovery,
            options: rotation)
    }

    private func run() throws {
        var run = try openRun()
        let start = ContinuousClock.now
        let summary = try run.run(kind)
        let seconds = max((ContinuousClock.now - start) / .seconds(1), 0.001)
        Messages.endProgress()
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
            line.add("wal_bytes", plan.logBytes)
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
            table.add("disk until the next VACUUM, about", "\((plan.diskBytes + 1_048_575) / 1_048_576) MiB")
            table.add("write-ahead log, about", "\((plan.logBytes + 1_048_575) / 1_048_576) MiB")
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
            for rotation in rotations {
                var line = JSONLine()
                line.add("rotation", Hex.encode(rotation.id))
                line.add("kind", rotation.kind)
                line.add("target_version", rotation.target)
                line.add("started", rotation.started)
                line.add("started_by", rotation.startedBy)
                line.add("finished", rotation.finished)
                line.add("pass", rotation.pass)
                line.add("values", rotation.valuesDone)
                line.add("rows", rotation.rowsDone)
                line.add("outcome", rotation.outcome)
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
                    ?? "unfinished, pass \(rotation.pass), values \(rotation.valuesDone), rows \(rotation.rowsDone); it runs, or `tokenvault rotate \(rotation.kind) run` goes on with it"
                Messages.note("\(rotation.kind) begun \(rotation.started) by \(rotation.startedBy): \(end)")
            }
        }
        try output.flush()
    }

    private func verify() throws {
        var run = try openRun()
        let found = try run.verify(kind)
        Messages.endProgress()
        let output = StandardOutput()
        for finding in found {
            guard options.output.json else {
                try output.line(finding.text)
                continue
            }
            var line = JSONLine()
            line.add("check", finding.check)
            line.add("place", finding.place)
            line.add("amount", finding.amount)
            line.add("text", finding.text)
            try output.line(line.text)
        }
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
final class ProgressReporter: Sendable {
    private struct Step {
        var name = ""
        var start = ContinuousClock.now
        var firstDone = 0
        var shown: ContinuousClock.Instant?
    }

    private let step = Mutex(Step())

    func report(_ progress: RotationProgress) {
        guard let rate = rateToShow(progress) else { return }
        let left = rate > 0 ? Int(Double(progress.total - progress.done) / rate) : nil
        if isatty(STDERR_FILENO) == 1 {
            let width = 30
            let filled = progress.total > 0 ? min(width, width * progress.done / progress.total) : width
            let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
            let speed = left.map { ", \(Int(rate))/s, \($0) s left" } ?? ""
            Messages.progress("[\(bar)] \(progress.step) \(progress.done)/\(progress.total)\(speed)")
        } else {
            var line = JSONLine()
            line.add("step", progress.step)
            line.add("pass", progress.pass)
            line.add("done", progress.done)
            line.add("total", progress.total)
            line.add("per_second", left == nil ? nil : Int(rate))
            line.add("seconds_left", left)
            Messages.note(line.text)
        }
    }

    /// Per second, 0 while it is not known; `nil` when nothing is to be shown now.
    private func rateToShow(_ progress: RotationProgress) -> Double? {
        step.withLock { step in
            let now = ContinuousClock.now
            if progress.step != step.name {
                step = Step(name: progress.step, start: now, firstDone: progress.done)
            }
            if let shown = step.shown, now - shown < .seconds(1), progress.done < progress.total { return nil }
            step.shown = now
            let seconds = (now - step.start) / .seconds(1)
            return seconds > 0.01 ? Double(progress.done - step.firstDone) / seconds : 0
        }
    }
}
