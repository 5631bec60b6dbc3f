package import Postgres

/// One function of the vault's schemas, or one elsewhere that runs as the vault's owner.
package struct FunctionFacts: Sendable {
    /// As SQL spells it: `vault.release(uuid, integer, integer)`.
    package let name: String
    package let isVaults: Bool
    package let owner: String
    package let runsAsOwner: Bool
    /// `search_path=…` and whatever else is set for its calls.
    package let settings: [String]
}

/// A trigger or rule on a table of the vault's schemas or on `public.user_logins`.
package struct TableCode: Sendable {
    /// `trigger` or `rule`.
    package let kind: String
    package let name: String
    package let table: String
    /// `A` always, `O` unless replicating, `R`, `D` off.
    package let enabled: String
    /// Of a trigger: the function it calls, and `pg_trigger.tgtype`.
    package let calls: String?
    package let type: Int?
}

extension VaultStore {
    package mutating func functions() throws(PostgresError) -> [FunctionFacts] {
        let rows = try connection.run(
            Statement(
                "reading the settings of functions",
                """
                SELECT pg_catalog.format('%I.%I(%s)', namespace.nspname, function.proname,
                                         pg_catalog.oidvectortypes(function.proargtypes)),
                       namespace.nspname IN ('vault', 'audit'),
                       pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(function.proowner)), function.prosecdef,
                       pg_catalog.array_to_string(function.proconfig, E'\\n')
                FROM pg_catalog.pg_proc AS function
                JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
                WHERE namespace.nspname IN ('vault', 'audit')
                   OR function.prosecdef AND pg_catalog.pg_get_userbyid(function.proowner) = 'tokenvault_owner'
                ORDER BY 1
                """))
        return (0..<rows.count).map { row in
            FunctionFacts(
                name: rows.text(row: row, column: 0) ?? "", isVaults: rows.bool(row: row, column: 1) == true,
                owner: rows.text(row: row, column: 2) ?? "", runsAsOwner: rows.bool(row: row, column: 3) == true,
                settings: (rows.text(row: row, column: 4) ?? "").split(separator: "\n").map(String.init))
        }
    }

    package mutating func codeOnTables() throws(PostgresError) -> [TableCode] {
        let rows = try connection.run(
            Statement(
                "reading triggers and rules",
                """
                WITH relation AS (
                    SELECT class.oid, class.relkind,
                           pg_catalog.format('%I.%I', namespace.nspname, class.relname) AS name
                    FROM pg_catalog.pg_class AS class
                    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
                    WHERE namespace.nspname IN ('vault', 'audit')
                       OR namespace.nspname = 'public' AND class.relname = 'user_logins'
                )
                SELECT 'trigger', pg_catalog.quote_ident(trigger.tgname), relation.name, trigger.tgenabled::text,
                       trigger.tgfoid::regproc::text, trigger.tgtype
                FROM pg_catalog.pg_trigger AS trigger JOIN relation ON relation.oid = trigger.tgrelid
                WHERE NOT trigger.tgisinternal
                UNION ALL
                SELECT 'rule', pg_catalog.quote_ident(rule.rulename), relation.name, rule.ev_enabled::text, NULL, NULL
                FROM pg_catalog.pg_rewrite AS rule JOIN relation ON relation.oid = rule.ev_class
                WHERE relation.relkind IN ('r', 'p')
                ORDER BY 3, 1, 2
                """))
        return (0..<rows.count).map { row in
            TableCode(
                kind: rows.text(row: row, column: 0) ?? "", name: rows.text(row: row, column: 1) ?? "",
                table: rows.text(row: row, column: 2) ?? "", enabled: rows.text(row: row, column: 3) ?? "",
                calls: rows.text(row: row, column: 4), type: rows.int(row: row, column: 5))
        }
    }
}
