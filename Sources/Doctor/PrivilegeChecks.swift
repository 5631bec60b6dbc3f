import Postgres
import VaultStore

/// The grants in the catalogue against ``RoleMatrix``: what is missing, and what is too much.
struct PrivilegeChecks {
    private static let check = "privileges"
    private static let owner = "tokenvault_owner"
    /// May stand since before the vault and keep its owner and its grants to others.
    private static let adopted = "public.user_logins"

    private let held: [HeldPrivilege]

    static func run(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let publicRelations = RoleMatrix.relations.keys.filter { $0.hasPrefix("public.") }
        let checks = PrivilegeChecks(held: try store.heldPrivileges(publicRelations: publicRelations))
        checks.compareObjects(&findings)
        checks.compareOwners(&findings)
        for wanted in Self.wanted(database: checks.databaseName) { checks.compare(wanted, &findings) }
        let count = Set(checks.held.map { "\($0.kind) \($0.object)" }).count
        findings.close(
            check, "\(count) tables, views, functions and schemas grant what docs/ROLES.md says, and no more")
        findings.close("owners", "schemas vault and audit and all in them belong to \(owner)")
    }

    /// What the matrix says of one object or column: group (or PUBLIC) to privileges.
    private struct Wanted {
        let kind: HeldPrivilege.Kind
        let object: String
        let column: String?
        let grants: [String: Set<String>]
    }

    private static func wanted(database: String) -> [Wanted] {
        func named(_ grants: [String: Set<String>]) -> [String: Set<String>] {
            Dictionary(uniqueKeysWithValues: grants.map { ($0 == "public" ? "PUBLIC" : "tokenvault_\($0)", $1) })
        }
        var all: [Wanted] = []
        for (schema, grants) in RoleMatrix.schemas {
            all.append(Wanted(kind: .schema, object: schema, column: nil, grants: named(grants)))
        }
        all.append(Wanted(kind: .database, object: database, column: nil, grants: named(RoleMatrix.database)))
        for (relation, grants) in RoleMatrix.relations {
            all.append(Wanted(kind: .relation, object: relation, column: nil, grants: named(grants)))
        }
        for (path, grants) in RoleMatrix.columns {
            let dot = path.lastIndex(of: ".") ?? path.startIndex
            all.append(
                Wanted(
                    kind: .column, object: String(path[..<dot]), column: String(path[path.index(after: dot)...]),
                    grants: named(grants)))
        }
        for (function, callers) in RoleMatrix.functions {
            let grants = Dictionary(uniqueKeysWithValues: callers.map { ("tokenvault_\($0)", Set(["EXECUTE"])) })
            all.append(Wanted(kind: .function, object: function, column: nil, grants: grants))
        }
        return all.sorted { ($0.object, $0.column ?? "") < ($1.object, $1.column ?? "") }
    }

    private var databaseName: String { held.first { $0.kind == .database }?.object ?? "" }

    private func compareObjects(_ findings: inout Findings) {
        let relations = Set(held.filter { $0.kind == .relation }.map(\.object))
        let functions = Set(held.filter { $0.kind == .function }.map(\.object))
        let missing =
            Set(RoleMatrix.relations.keys).subtracting(relations).sorted()
            + Set(RoleMatrix.functions.keys).subtracting(functions).sorted()
        for object in missing {
            findings.failure(
                Self.check, "\(object) is missing",
                .advice("run `tokenvault database migrate`; if it was dropped, restore the database from its backup"))
        }
        for function in functions.subtracting(RoleMatrix.functions.keys).sorted() {
            findings.failure(
                Self.check, "\(function) is not part of this release",
                .sql("DROP FUNCTION \(function);", as: .administrator))
        }
        for relation in relations.subtracting(RoleMatrix.relations.keys).sorted() {
            findings.failure(
                Self.check, "\(relation) is not part of this release; look at it before you drop it",
                .sql("DROP TABLE \(relation);", as: .administrator))
        }
    }

    private func compareOwners(_ findings: inout Findings) {
        var seen: Set<String> = []
        for entry in held where entry.owner != Self.owner {
            let keyword: String
            switch entry.kind {
            case .relation where entry.object != Self.adopted && RoleMatrix.relations[entry.object] != nil:
                keyword = "TABLE"
            case .function where RoleMatrix.functions[entry.object] != nil: keyword = "FUNCTION"
            case .schema where entry.object != "public": keyword = "SCHEMA"
            default: continue
            }
            guard seen.insert(entry.object).inserted else { continue }
            findings.failure(
                "owners", "\(entry.object) belongs to \(entry.owner), not to \(Self.owner)",
                .sql("ALTER \(keyword) \(entry.object) OWNER TO \(Self.owner);", as: .superuser))
        }
    }

    private func compare(_ wanted: Wanted, _ findings: inout Findings) {
        let entries = held.filter {
            $0.kind == wanted.kind && $0.object == wanted.object && $0.column == wanted.column
        }
        guard !entries.isEmpty || wanted.kind == .column else { return }  // missing, and said so
        let grants = grouped(entries)
        for (group, privileges) in wanted.grants.sorted(by: { $0.key < $1.key }) {
            let missing = privileges.subtracting(grants[group] ?? []).subtracting(grants["PUBLIC"] ?? [])
            for privilege in missing.sorted() where !isHeldWhole(group, privilege, wanted) {
                findings.failure(
                    Self.check, "\(group) lacks \(privilege) on \(path(wanted))",
                    .sql(grant(privilege, wanted, to: group), as: .administrator))
            }
        }
        compareOwnersGrants(wanted, entries, grants, &findings)
        guard wanted.kind != .column else { return }
        compareExcess(wanted, &findings)
    }

    /// A column's privilege may be held on the whole table instead: that is excess there, not missing here.
    private func isHeldWhole(_ group: String, _ privilege: String, _ wanted: Wanted) -> Bool {
        wanted.kind == .column
            && held.contains {
                $0.kind == .relation && $0.object == wanted.object && $0.grantee == group && $0.privilege == privilege
            }
    }

    /// Functions run as the owner, so it needs what its own objects give by default.
    private func compareOwnersGrants(
        _ wanted: Wanted, _ entries: [HeldPrivilege], _ grants: [String: Set<String>], _ findings: inout Findings
    ) {
        let needed: Set<String>
        switch wanted.kind {
        case .relation where wanted.object == Self.adopted: needed = ["SELECT"]
        case .relation where wanted.object.hasPrefix("public."): needed = ["SELECT"]
        case .relation: needed = ["SELECT", "INSERT", "UPDATE", "DELETE"]
        case .function: needed = ["EXECUTE"]
        case .schema: needed = ["USAGE", "CREATE"]
        case .column, .database: return
        }
        for privilege in needed.subtracting(grants[Self.owner] ?? []).sorted() {
            findings.failure(
                Self.check, "\(Self.owner) itself lacks \(privilege) on \(path(wanted))",
                .sql(grant(privilege, wanted, to: Self.owner), as: .administrator))
        }
    }

    private func compareExcess(_ wanted: Wanted, _ findings: inout Findings) {
        let entries = held.filter {
            $0.object == wanted.object && ($0.kind == wanted.kind || wanted.kind == .relation && $0.kind == .column)
        }
        for entry in entries {
            guard let grantee = entry.grantee, grantee != entry.owner, grantee != Self.owner else { continue }
            let columnGrants = entry.column.flatMap { RoleMatrix.columns["\(wanted.object).\($0)"] } ?? [:]
            let group = grantee == "PUBLIC" ? "public" : String(grantee.dropFirst("tokenvault_".count))
            let isGroup = grantee == "PUBLIC" || grantee.hasPrefix("tokenvault_")
            let allowed = (wanted.grants[grantee] ?? []).union(isGroup ? columnGrants[group] ?? [] : [])
            let foreignMayHold =
                !isGroup && (wanted.object == Self.adopted || wanted.object == "public" || wanted.kind == .database)
            let isAllowed =
                entry.column == nil
                ? wanted.grants[grantee]?.contains(entry.privilege) == true
                : allowed.contains(entry.privilege)
            guard !isAllowed || entry.mayGrant && isGroup else { continue }
            guard !foreignMayHold else { continue }
            let option = isAllowed ? " with grant option" : ""
            findings.failure(
                Self.check,
                "\(grantee) has \(entry.privilege)\(option) on \(path(wanted, entry.column)), which it must not",
                .sql(revoke(entry, wanted, from: grantee, optionOnly: isAllowed), as: .administrator))
        }
    }

    private func grouped(_ entries: [HeldPrivilege]) -> [String: Set<String>] {
        var grants: [String: Set<String>] = [:]
        for entry in entries {
            if let grantee = entry.grantee { grants[grantee, default: []].insert(entry.privilege) }
        }
        return grants
    }

    private func path(_ wanted: Wanted, _ column: String? = nil) -> String {
        guard let column = column ?? wanted.column else {
            return wanted.kind == .schema || wanted.kind == .database
                ? "\(wanted.kind.rawValue) \(wanted.object)" : wanted.object
        }
        return "column \(column) of \(wanted.object)"
    }

    private func target(_ wanted: Wanted) -> String {
        switch wanted.kind {
        case .relation, .column: wanted.object
        case .function: "FUNCTION \(wanted.object)"
        case .schema: "SCHEMA \(wanted.object)"
        case .database: "DATABASE \(wanted.object)"
        }
    }

    private func grant(_ privilege: String, _ wanted: Wanted, to grantee: String) -> String {
        let column = wanted.column.map { " (\($0))" } ?? ""
        return "GRANT \(privilege)\(column) ON \(target(wanted)) TO \(grantee);"
    }

    /// Revoking from a table takes the privilege from its columns too: those that belong there are granted again.
    private func revoke(_ entry: HeldPrivilege, _ wanted: Wanted, from grantee: String, optionOnly: Bool) -> String {
        let option = optionOnly ? "GRANT OPTION FOR " : ""
        let cascade = entry.mayGrant ? " CASCADE" : ""
        let column = entry.column.map { " (\($0))" } ?? ""
        let statement = "REVOKE \(option)\(entry.privilege)\(column) ON \(target(wanted)) FROM \(grantee)\(cascade);"
        guard wanted.kind == .relation, entry.column == nil, grantee.hasPrefix("tokenvault_") else { return statement }
        let group = String(grantee.dropFirst("tokenvault_".count))
        let columns = RoleMatrix.columns.filter {
            $0.key.hasPrefix("\(wanted.object).") && $0.value[group]?.contains(entry.privilege) == true
        }.map { $0.key.dropFirst(wanted.object.count + 1) }.sorted()
        guard !columns.isEmpty else { return statement }
        return statement
            + " GRANT \(entry.privilege) (\(columns.joined(separator: ", "))) ON \(wanted.object) TO \(grantee);"
    }
}
