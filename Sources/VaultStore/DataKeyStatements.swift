package import Keys
package import Postgres

extension VaultStore {
    /// Stores a data key's public record and its sealed copies. The key itself never comes here.
    package mutating func insertDataKey(_ record: DataKeyRecord, run: UInt128?) throws(PostgresError) {
        try connection.run(
            Statement(
                "inserting a data key",
                """
                INSERT INTO vault.data_key (id, domain, signing_key, created_at, commitment, signature, run)
                VALUES ($1, $2, $3, pg_catalog.to_timestamp($4::bigint), $5, $6, $7)
                """, .uuid(record.id), .text(record.domain), .uuid(record.signingKey.uuid), .int(Int(record.createdAt)),
                .bytes(record.commitment), .bytes(record.signature), .uuid(run)))
        for seal in record.seals {
            try connection.run(
                Statement(
                    "inserting a sealed data key",
                    "INSERT INTO vault.data_key_seal (data_key, recovery_key, sealed) VALUES ($1, $2, $3)",
                    .uuid(record.id), .uuid(seal.recoveryKey.uuid), .bytes(seal.sealed)))
        }
    }
}
