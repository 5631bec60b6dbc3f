import Foundation
import TestSupport
import Testing

@Suite("A replica")
struct ReplicaTests {
    /// A standby of `cluster` whose replay stands still: what is committed from now on, it does not know.
    private func withStandby(of cluster: PrivateCluster, _ body: (String) throws -> Void) throws {
        let folder = Repository.newFolder("rep")
        let script = """
            set -euo pipefail
            bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin -type d | sort -V | tail -1)
            owner=(); if [ "$(id -u)" = 0 ]; then owner=(setpriv --reuid postgres --regid postgres --clear-groups); fi
            mkdir -m 700 "$1"; if [ "$(id -u)" = 0 ]; then chown postgres: "$1"; fi; cd /
            trap '"${owner[@]}" "$bin/pg_ctl" stop -s -m immediate -D "$1/data" >&2 || true; rm -rf "$1"' EXIT
            "${owner[@]}" "$bin/pg_basebackup" -h "$2" -U postgres -D "$1/data" -R -X stream -c fast >&2
            "${owner[@]}" tee -a "$1/data/postgresql.conf" >/dev/null \\
                <<<"unix_socket_directories = '$1'"$'\\n'"recovery_min_apply_delay = '1h'"
            "${owner[@]}" "$bin/pg_ctl" start -w -s -D "$1/data" -l "$1/server.log" >&2 </dev/null
            echo ready; read -r _ || true
            """
        let standby = try HelperProcess(
            "/bin/bash", ["-c", script, "-", folder.path, cluster.folder.appending(path: "socket").path])
        defer { standby.stop() }
        try #require(standby.readLine() == "ready", "the standby did not start")
        try body(folder.path)
    }

    @Test("Releases nothing, though it does not know of a denial yet")
    func denied() throws {
        // Of its own: a base backup copies everything.
        let cluster = try PrivateCluster(purpose: "primary")
        defer { cluster.stop() }
        let people = try PolicyVault("dbt_replica", on: cluster)
        try people.open()
        let asked = try people.request()
        #expect(try people.take(asked) == [])
        try withStandby(of: cluster) { socket in
            #expect(try people.decide(asked, "deny", as: people.login("ben")) == [])
            #expect(try people.take(asked) == ["TV001", "TV001"])
            func session(_ login: String, _ script: String) throws -> Finished {
                try Command(
                    PrivateCluster.psqlProgram,
                    [
                        "-X", "-q", "-A", "-t", "-v", "VERBOSITY=sqlstate", "-d",
                        "host=\(socket) user=\(login) dbname=\(people.vault.name)",
                    ], input: Data(script.utf8)
                ).run()
            }
            let state = try session(
                "postgres", "SELECT pg_is_in_recovery(), count(*) FROM vault.approval WHERE request = '\(asked)';")
            #expect(state.standardOutput == "t|0\n", "the standby is no standby, or knows of the denial")
            let finished = try session(people.login("ada"), PolicyVault.takes(asked))
            #expect(finished.states == ["TV001", "TV001"])
            #expect(!(finished.standardOutput + finished.standardError).contains(Planted.marker))
        }
    }
}
