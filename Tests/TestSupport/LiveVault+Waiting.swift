import Foundation

/// What tests wait for: what they can see, never a time that a loaded machine may need longer for.
extension LiveVault {
    /// Waits until this is so, a minute at most.
    package func wait(for what: String, _ isSo: () throws -> Bool) throws {
        let deadline = Date.now.addingTimeInterval(60)
        while try !isSo() {
            if Date.now >= deadline {
                let doing = try query(
                    "SELECT state, wait_event_type, wait_event, left(query, 90) FROM pg_stat_activity WHERE state <> ''"
                )
                throw CommandFailed(description: "waited in vain for \(what); the server does: \(doing)")
            }
            Thread.sleep(forTimeInterval: 0.02)
        }
    }

    /// Waits until no transaction is open that VACUUM FULL would keep dead rows for: one of any database of the server counts.
    package func waitForOlderTransactions() throws {
        let now = try query("SELECT pg_current_xact_id()")
        try wait(for: "older transactions to end") {
            try query("SELECT pg_snapshot_xmin(pg_current_snapshot()) > '\(now)'::xid8") == "t"
        }
    }

    /// Of this database only: those made from one template have the same object ids, and the cluster serves other tests.
    private func locks(on table: String) -> String {
        "relation = '\(table)'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    }

    /// Keeps everybody from using `table` until ``unlock(_:_:)``.
    package func lock(_ table: String) throws -> RunningCommand {
        let holder = try Command(
            PrivateCluster.psqlProgram,
            ["-X", "-q", "-d", cluster.connectionString(user: "postgres", database: database)],
            input: Data("BEGIN; LOCK TABLE \(table); SELECT pg_sleep(300);".utf8)
        ).start()
        try wait(for: "the lock") {
            try query(
                """
                SELECT count(*) FROM pg_locks
                WHERE granted AND mode = 'AccessExclusiveLock' AND \(locks(on: table))
                """) == "1"
        }
        return holder
    }

    package func unlock(_ table: String, _ holder: RunningCommand) throws {
        _ = try query(
            """
            SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE granted AND mode = 'AccessExclusiveLock' AND \(locks(on: table))
            """)
        _ = holder.wait()
    }

    /// Returns once somebody waits for `table`.
    package func waitForWaiter(_ table: String) throws {
        try wait(for: "somebody who waits for \(table)") {
            try query("SELECT count(*) FROM pg_locks WHERE NOT granted AND \(locks(on: table))") != "0"
        }
    }
}
