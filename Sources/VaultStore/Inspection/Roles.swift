package import Postgres

/// One role and what it is a member of.
package struct RoleFacts: Sendable {
    /// Quoted for SQL.
    package let name: String
    package let mayLogIn: Bool
    /// Of LOGIN, SUPERUSER, CREATEROLE, CREATEDB, REPLICATION, BYPASSRLS: those it has.
    package let attributes: Set<String>
    /// Of the database, so an administrator of the vault.
    package let ownsDatabase: Bool
    /// Every role that it holds, through others too.
    package let holds: Set<String>
    /// What it was itself made a member of.
    package let holdsDirectly: Set<String>
    /// Roles that it may hand on to others.
    package let mayGrant: Set<String>
    package let readsLogins: Bool
}

extension VaultStore {
    /// The groups, and every role that holds one of them.
    package mutating func roles() throws(PostgresError) -> [RoleFacts] {
        let rows = try connection.run(
            Statement(
                "reading roles",
                """
                WITH RECURSIVE held (member, role) AS (
                    SELECT membership.member, membership.roleid FROM pg_catalog.pg_auth_members AS membership
                    UNION
                    SELECT held.member, membership.roleid
                    FROM held JOIN pg_catalog.pg_auth_members AS membership ON membership.member = held.role
                )
                SELECT pg_catalog.quote_ident(role.rolname), role.rolcanlogin,
                       pg_catalog.concat_ws(',', CASE WHEN role.rolcanlogin THEN 'LOGIN' END,
                           CASE WHEN role.rolsuper THEN 'SUPERUSER' END,
                           CASE WHEN role.rolcreaterole THEN 'CREATEROLE' END,
                           CASE WHEN role.rolcreatedb THEN 'CREATEDB' END,
                           CASE WHEN role.rolreplication THEN 'REPLICATION' END,
                           CASE WHEN role.rolbypassrls THEN 'BYPASSRLS' END),
                       EXISTS (SELECT FROM pg_catalog.pg_database AS database
                               WHERE database.datname = pg_catalog.current_database() AND database.datdba = role.oid),
                       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(other.rolname), ',')
                        FROM held JOIN pg_catalog.pg_roles AS other ON other.oid = held.role
                        WHERE held.member = role.oid),
                       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(other.rolname), ',')
                        FROM pg_catalog.pg_auth_members AS membership
                        JOIN pg_catalog.pg_roles AS other ON other.oid = membership.roleid
                        WHERE membership.member = role.oid),
                       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(other.rolname), ',')
                        FROM pg_catalog.pg_auth_members AS membership
                        JOIN pg_catalog.pg_roles AS other ON other.oid = membership.roleid
                        WHERE membership.member = role.oid AND membership.admin_option),
                       coalesce(pg_catalog.has_any_column_privilege(
                           role.oid, pg_catalog.to_regclass('public.user_logins'), 'SELECT'), false)
                FROM pg_catalog.pg_roles AS role
                WHERE role.rolname LIKE 'tokenvault\\_%'
                   OR EXISTS (SELECT FROM held JOIN pg_catalog.pg_roles AS other ON other.oid = held.role
                              WHERE held.member = role.oid AND other.rolname LIKE 'tokenvault\\_%')
                ORDER BY role.rolname
                """))
        return (0..<rows.count).map { row in
            RoleFacts(
                name: rows.text(row: row, column: 0) ?? "", mayLogIn: rows.bool(row: row, column: 1) == true,
                attributes: list(rows.text(row: row, column: 2)),
                ownsDatabase: rows.bool(row: row, column: 3) == true,
                holds: list(rows.text(row: row, column: 4)), holdsDirectly: list(rows.text(row: row, column: 5)),
                mayGrant: list(rows.text(row: row, column: 6)),
                readsLogins: rows.bool(row: row, column: 7) == true)
        }
    }

    private func list(_ text: String?) -> Set<String> { Set((text ?? "").split(separator: ",").map(String.init)) }
}
