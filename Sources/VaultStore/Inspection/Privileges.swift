package import Postgres

/// One privilege that someone holds, as the catalogue has it.
package struct HeldPrivilege: Sendable {
    package enum Kind: String, Sendable {
        case relation, column, function, schema, database
    }

    package let kind: Kind
    /// As SQL spells it: `vault.original`, `vault.release(uuid, integer, integer)`, `vault`, or the database.
    package let object: String
    package let column: String?
    package let owner: String
    /// A quoted role, or `PUBLIC`; `nil` in the one row of an object that grants nothing.
    package let grantee: String?
    package let privilege: String
    package let mayGrant: Bool
}

extension VaultStore {
    /// Every grant on the vault's schemas, on what is in them, on the product's objects in schema public, and on the
    /// database. Each object has at least one row.
    package mutating func heldPrivileges(publicRelations: [String]) throws(PostgresError) -> [HeldPrivilege] {
        let rows = try connection.run(
            Statement(
                "reading privileges",
                """
                WITH relation AS (
                    SELECT class.*, pg_catalog.format('%I.%I', namespace.nspname, class.relname) AS name
                    FROM pg_catalog.pg_class AS class
                    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
                    WHERE class.relkind IN ('r', 'v', 'm', 'p', 'f')
                      AND (namespace.nspname IN ('vault', 'audit')
                           OR pg_catalog.format('%I.%I', namespace.nspname, class.relname) = ANY ($1))
                ), object AS (
                    SELECT 'relation' AS kind, relation.name, NULL::name AS attribute, relation.relowner AS owner,
                           coalesce(relation.relacl, pg_catalog.acldefault('r', relation.relowner)) AS list
                    FROM relation
                    UNION ALL
                    SELECT 'column', relation.name, attribute.attname, relation.relowner, attribute.attacl
                    FROM relation
                    JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = relation.oid
                    WHERE attribute.attacl IS NOT NULL AND NOT attribute.attisdropped
                    UNION ALL
                    SELECT 'function',
                           pg_catalog.format('%I.%I(%s)', namespace.nspname, function.proname,
                                             pg_catalog.oidvectortypes(function.proargtypes)),
                           NULL, function.proowner,
                           coalesce(function.proacl, pg_catalog.acldefault('f', function.proowner))
                    FROM pg_catalog.pg_proc AS function
                    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
                    WHERE namespace.nspname IN ('vault', 'audit')
                    UNION ALL
                    SELECT 'schema', pg_catalog.quote_ident(namespace.nspname), NULL, namespace.nspowner,
                           coalesce(namespace.nspacl, pg_catalog.acldefault('n', namespace.nspowner))
                    FROM pg_catalog.pg_namespace AS namespace
                    WHERE namespace.nspname IN ('vault', 'audit', 'public')
                    UNION ALL
                    SELECT 'database', pg_catalog.quote_ident(database.datname), NULL, database.datdba,
                           coalesce(database.datacl, pg_catalog.acldefault('d', database.datdba))
                    FROM pg_catalog.pg_database AS database
                    WHERE database.datname = pg_catalog.current_database()
                )
                SELECT object.kind, object.name, object.attribute::text,
                       pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(object.owner)),
                       CASE entry.grantee WHEN 0 THEN 'PUBLIC'
                            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END,
                       entry.privilege_type, entry.is_grantable
                FROM object
                LEFT JOIN LATERAL pg_catalog.aclexplode(object.list) AS entry ON true
                ORDER BY 1, 2, 3, 5, 6
                """, .textArray(publicRelations)))
        return (0..<rows.count).map { row in
            HeldPrivilege(
                kind: HeldPrivilege.Kind(rawValue: rows.text(row: row, column: 0) ?? "") ?? .relation,
                object: rows.text(row: row, column: 1) ?? "", column: rows.text(row: row, column: 2),
                owner: rows.text(row: row, column: 3) ?? "", grantee: rows.text(row: row, column: 4),
                privilege: rows.text(row: row, column: 5) ?? "",
                mayGrant: rows.bool(row: row, column: 6) == true)
        }
    }

    /// What new objects of the owner would grant to others: schema (or `nil`), kind of object, grantee, privilege.
    package mutating func defaultPrivileges() throws(PostgresError) -> [DefaultPrivilege] {
        let rows = try connection.run(
            Statement(
                "reading default privileges",
                """
                SELECT pg_catalog.quote_ident(namespace.nspname), rule.defaclobjtype::text,
                       CASE entry.grantee WHEN 0 THEN 'PUBLIC'
                            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END,
                       entry.privilege_type
                FROM pg_catalog.pg_default_acl AS rule
                JOIN pg_catalog.pg_roles AS role ON role.oid = rule.defaclrole AND role.rolname = 'tokenvault_owner'
                LEFT JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = rule.defaclnamespace
                LEFT JOIN LATERAL pg_catalog.aclexplode(rule.defaclacl) AS entry ON entry.grantee <> rule.defaclrole
                ORDER BY 1, 2, 3, 4
                """))
        return (0..<rows.count).map { row in
            DefaultPrivilege(
                schema: rows.text(row: row, column: 0), kind: rows.text(row: row, column: 1) ?? "",
                grantee: rows.text(row: row, column: 2), privilege: rows.text(row: row, column: 3) ?? "")
        }
    }

    package struct DefaultPrivilege: Sendable {
        package let schema: String?
        /// As `pg_default_acl.defaclobjtype`: `r`, `S`, `f`, `T`, `n`.
        package let kind: String
        /// `nil` in the one row of a rule that grants nothing to others.
        package let grantee: String?
        package let privilege: String
    }
}
