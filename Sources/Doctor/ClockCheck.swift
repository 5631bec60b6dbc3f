import Foundation
import Postgres
import VaultStore

/// The server's clock against this host's: requests expire by the one, signatures for a queue by the other.
enum ClockCheck {
    static func run(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let before = now()
        let server = try store.serverClock()
        let after = now()
        judge(difference: server - (before + (after - before) / 2), uncertainty: (after - before) / 2, &findings)
    }

    /// - Parameters: both in microseconds; the round trip, halved, is how far off the comparison itself may be.
    static func judge(difference: Int, uncertainty: Int, _ findings: inout Findings) {
        let seconds = Double(abs(difference)) / 1e6
        let text = String(format: "%.1f s", seconds) + (difference < 0 ? " behind" : " ahead of") + " this host's"
        let remedy = Finding.Remedy.advice("synchronise both clocks (timedatectl set-ntp true)")
        switch abs(difference) - uncertainty {
        case 300_000_000...: findings.failure("clock", "the server's clock is \(text)", remedy)
        case 5_000_000...: findings.warning("clock", "the server's clock is \(text)", remedy)
        default:
            findings.ok("clock", "the server's clock is \(text), give or take \(uncertainty / 1000) ms")
        }
    }

    private static func now() -> Int { Int(Date().timeIntervalSince1970 * 1e6) }
}
