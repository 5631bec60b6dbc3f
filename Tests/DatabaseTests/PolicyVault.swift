import Foundation
import Postgres
import TestSupport
import Testing

/// A vault with one planted value, and the people around a request for it. Roles are the server's: each suite has its own.
struct PolicyVault: Sendable {
    let vault: TestVault
    private let prefix: String

    init(_ name: String, on cluster: PrivateCluster? = nil) throws {
        vault = try TestVault(name, on: cluster)
        prefix = name
        try Planted.sow(vault)
        for (person, groups) in [
            ("ada", "tokenvault_recoverer"), ("ben", "tokenvault_approver"), ("eve", "tokenvault_approver"),
            ("gil", "tokenvault_recoverer, tokenvault_break_glass"),
        ] { try make(person, in: groups) }
    }

    func login(_ person: String) -> String { "\(prefix)_\(person)" }

    func make(_ person: String, in groups: String) throws {
        try admin("CREATE ROLE \(login(person)) LOGIN\(groups.isEmpty ? "" : " IN ROLE \(groups)")")
    }

    func admin(_ sql: String) throws { try vault.psql("vault_admin", sql) }

    /// Nobody's policy of before: all open, for the kind's domain.
    func open(_ domain: String = "ip") throws {
        try change(
            #"{"approvals":0,"values_per_day":1000000,"validity_seconds":900,"reason_pattern":null,"ticket_pattern":null,"#
                + #""hours":null,"break_glass_per_day":null}"#, domain)
    }

    func change(_ changes: String, _ domain: String = "ip") throws {
        try vault.psql("vault_operator", "SELECT vault.change_policy('\(domain)', '\(changes)')")
    }

    static let ask = "vault.request_recovery(ARRAY['\(Planted.token)'], 'why', 'T-1')"
    static let askQuarantine = "vault.request_quarantine(ARRAY['\(Planted.quarantined)']::uuid[], 'why', 'T-1')"
    static let breakGlass = "SET tokenvault.break_glass = 'on';"

    /// A committed request's id.
    func request(_ person: String = "ada", _ call: String = ask, before: String = "") throws -> String {
        try vault.psql(login(person), "\(before) SELECT request FROM \(call)")
    }

    /// Every way to what is sealed, each in a transaction of its own unless `begin` opens one.
    static func takes(_ request: String, quarantine: Bool = false) -> String {
        """
        SELECT * FROM \(quarantine ? "vault.release_quarantine('\(request)')" : "vault.release('\(request)', 0, 10)");
        SELECT * FROM vault.release_data_keys('\(request)', ARRAY['\(Planted.recoveryKey)']::uuid[]);
        """
    }

    /// What the requester gets: SQLSTATEs, or none when both were released.
    func take(
        _ request: String, _ person: String = "ada", quarantine: Bool = false, before: String = ""
    ) throws -> [String] {
        let finished = try vault.session(
            login(person), before + "\n" + Self.takes(request, quarantine: quarantine))
        let marked = finished.standardOutput.split(separator: "\n").count { $0.contains(Planted.marker) }
        #expect(!finished.standardError.contains(Planted.marker))
        #expect(marked == (finished.states.isEmpty ? 2 : 0), "\(finished.standardOutput)\(finished.standardError)")
        return finished.states
    }

    func decide(_ request: String, _ decision: String = "approve", as login: String) throws -> [String] {
        try vault.session(login, "SELECT vault.decide_request('\(request)', '\(decision)');").states
    }

    /// A daily window in UTC that begins and ends so many minutes from now.
    static func hours(from: Int, to: Int) -> String {
        let now = Int(Date.now.timeIntervalSince1970 / 60)
        func clock(_ offset: Int) -> String {
            let minute = (now + offset) % 1440
            let (hours, rest) = (minute / 60, minute % 60)
            return "\(hours < 10 ? "0" : "")\(hours):\(rest < 10 ? "0" : "")\(rest)"
        }
        return "Mon-Sun \(clock(from))-\(clock(to)) UTC"
    }
    static var closed: String { hours(from: 120, to: 180) }
    static var standing: String { hours(from: -60, to: 60) }
}
