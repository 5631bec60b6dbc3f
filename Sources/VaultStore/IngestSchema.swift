package import Postgres

/// What ingest and the functions it calls write to. A column dropped by hand is to be noticed before the first message is
/// received, not by the first batch.
extension VaultStore {
    private static let neededForIngest: [(table: String, columns: String)] = [
        ("public.user_logins", "user_id device_type masked_ip masked_device_id locale app_version create_date"),
        ("vault.original", "token domain token_version data_key sealed"),
        ("vault.data_key", "id domain signing_key created_at commitment signature run"),
        ("vault.data_key_seal", "data_key recovery_key sealed"),
        ("vault.quarantine", "id run source position cause truncated body_mac data_key sealed"),
        ("vault.ingest_message", "queue message_id key_version body_mac received_at"),
        ("vault.ingest_file", "id name key_version prefix_length fingerprint committed_offset committed_lines"),
        ("vault.ingest_run", "id source ended_at outcome stored repeated quarantined token_version"),
        ("vault.token_successor", "old_token new_token domain old_version"),
        ("audit.event", "sequence id happened_at actor address action object reason ticket outcome leaf head"),
        ("audit.head", "sequence head"),
    ]

    static var namesNeededForIngest: [String] {
        neededForIngest.flatMap { table, columns in columns.split(separator: " ").map { "\(table).\($0)" } }
    }

    /// Columns that ingest needs and that are not there, as `schema.table.column`, sorted; a missing table lacks them all.
    package mutating func missingForIngest() throws(PostgresError) -> [String] {
        let rows = try connection.run(
            Statement(
                "looking at the schema",
                """
                SELECT wanted.name COLLATE "C" FROM pg_catalog.unnest($1::text[]) AS wanted (name)
                EXCEPT
                SELECT (schema.nspname || '.' || relation.relname || '.' || standing.attname) COLLATE "C"
                FROM pg_catalog.pg_attribute AS standing
                JOIN pg_catalog.pg_class AS relation ON relation.oid = standing.attrelid
                JOIN pg_catalog.pg_namespace AS schema ON schema.oid = relation.relnamespace
                WHERE schema.nspname IN ('public', 'vault', 'audit') AND standing.attnum > 0 AND NOT standing.attisdropped
                ORDER BY 1
                """, .textArray(Self.namesNeededForIngest)))
        return (0..<rows.count).compactMap { rows.text(row: $0, column: 0) }
    }
}
