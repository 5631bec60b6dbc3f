import Postgres
import VaultStore

/// Groups and logins: attributes, memberships, and combinations that undo what the groups keep apart.
enum RoleChecks {
    private static let owner = "tokenvault_owner"

    /// Groups that one login must not hold together, and why.
    private static let conflicts: [(first: String, second: String, why: String, fails: Bool)] = [
        ("recoverer", "approver", "two such people could approve each other's requests", true),
        (
            "ingest", "analyst", "with the token key of the ingest host it could test guesses against the masked rows",
            true
        ),
        ("ingest", "recoverer", "a host taken over could store values and open them: promise 2 is gone", true),
        ("recoverer", "operator", "it could raise its own budget", false),
        ("auditor", "operator", "the log's reader would be one of those it watches", false),
        ("auditor", "recoverer", "the log's reader would be one of those it watches", false),
        ("auditor", "approver", "the log's reader would be one of those it watches", false),
    ]

    /// Roles that PostgreSQL brings along and that reach every table or file.
    private static let farReaching: Set<String> = [
        "pg_read_all_data", "pg_write_all_data", "pg_read_server_files", "pg_write_server_files",
        "pg_execute_server_program", "pg_maintain",
    ]

    static func run(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let roles = try store.roles()
        let groups = RoleMatrix.groups.filter { $0 != "public" }.map { "tokenvault_\($0)" } + [owner]
        for group in groups {
            guard let role = roles.first(where: { $0.name == group }) else {
                findings.failure(
                    "groups", "role \(group) is missing", .advice("run `tokenvault database create-roles`"))
                continue
            }
            check(group: role, &findings)
        }
        findings.close("groups", "\(groups.count) groups, which cannot log in and hold nothing else")
        let logins = roles.filter { !groups.contains($0.name) && !$0.ownsDatabase }
        for login in logins { check(login: login, groups, &findings) }
        findings.close("logins", "\(logins.count) login roles in them, none with more than its groups give")
    }

    private static func check(group: RoleFacts, _ findings: inout Findings) {
        for attribute in group.attributes.sorted() {
            findings.failure(
                "groups", "group \(group.name) has \(attribute)",
                .sql("ALTER ROLE \(group.name) NO\(attribute);", as: .superuser))
        }
        for other in group.holdsDirectly.sorted() {
            findings.failure(
                "groups", "group \(group.name) is a member of \(other)",
                .sql("REVOKE \(other) FROM \(group.name);", as: .superuser))
        }
    }

    private static func check(login: RoleFacts, _ groups: [String], _ findings: inout Findings) {
        for attribute in login.attributes.subtracting(["LOGIN", "CREATEDB"]).sorted() {
            findings.failure(
                "logins", "\(login.name) has \(attribute), which steps around its groups",
                .sql("ALTER ROLE \(login.name) NO\(attribute);", as: .superuser))
        }
        for other in login.holdsDirectly.intersection(farReaching.union([owner])).sorted() {
            findings.failure(
                "logins", "\(login.name) is a member of \(other), which steps around its groups",
                .sql("REVOKE \(other) FROM \(login.name);", as: .superuser))
        }
        for group in login.mayGrant.intersection(groups).sorted() {
            findings.failure(
                "logins", "\(login.name) may make others members of \(group)",
                .sql("REVOKE ADMIN OPTION FOR \(group) FROM \(login.name);", as: .administrator))
        }
        for conflict in conflicts {
            let (first, second) = ("tokenvault_\(conflict.first)", "tokenvault_\(conflict.second)")
            guard login.holds.isSuperset(of: [first, second]) else { continue }
            let message = "\(login.name) is in \(first) and \(second): \(conflict.why)"
            let taken = login.holdsDirectly.contains(second) ? second : first
            let remedy = Finding.Remedy.sql("REVOKE \(taken) FROM \(login.name);", as: .administrator)
            conflict.fails ? findings.failure("logins", message, remedy) : findings.warning("logins", message, remedy)
        }
        if login.holds.contains("tokenvault_break_glass"), !login.holds.contains("tokenvault_recoverer") {
            findings.warning(
                "logins", "\(login.name) is in tokenvault_break_glass alone, which gives it nothing",
                .sql("REVOKE tokenvault_break_glass FROM \(login.name);", as: .administrator))
        }
        let holdsIngestOnly = login.holds.contains("tokenvault_ingest") && !login.holds.contains("tokenvault_analyst")
        if holdsIngestOnly, login.readsLogins, login.holds.isDisjoint(with: farReaching.union([owner])),
            !login.attributes.contains("SUPERUSER")
        {
            findings.failure(
                "logins", "\(login.name) is in tokenvault_ingest and may read public.user_logins back",
                .sql("REVOKE SELECT ON public.user_logins FROM \(login.name);", as: .administrator))
        }
    }
}
