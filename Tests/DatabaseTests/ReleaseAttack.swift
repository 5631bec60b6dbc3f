import Testing

/// Ways to make the database give a sealed value away without a committed audit event.
struct ReleaseAttack: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var login = "vault_recoverer"
    /// What psql is fed; `REQUEST` stands for a call of `vault.request_recovery`.
    let script: String
    /// The SQLSTATE that must be among the errors.
    let refusal: String

    static let all = [
        ReleaseAttack(
            testDescription: "request and release in one transaction, then roll back",
            script:
                "BEGIN; SELECT request AS r FROM REQUEST \\gset\nSELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;",
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "request in a savepoint that is rolled back",
            script: """
                BEGIN; SAVEPOINT s; SELECT request AS r FROM REQUEST \\gset
                ROLLBACK TO s; SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "request in a savepoint that is released",
            script: """
                BEGIN; SAVEPOINT s; SELECT request AS r FROM REQUEST \\gset
                RELEASE s; SAVEPOINT t; SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "one statement with a CTE",
            script: """
                WITH asked AS MATERIALIZED (SELECT request FROM REQUEST)
                SELECT released.* FROM asked, LATERAL vault.release(asked.request, 0, 10) AS released;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a DO block that tells and then fails",
            script: """
                DO $$ DECLARE r uuid; s bytea; BEGIN
                    SELECT request INTO r FROM REQUEST; SELECT sealed INTO s FROM vault.release(r, 0, 1);
                    RAISE EXCEPTION '%', s; END $$;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a DO block whose inner block rolls the request back",
            script: """
                DO $$ DECLARE r uuid; s bytea; BEGIN
                    BEGIN SELECT request INTO r FROM REQUEST; SELECT sealed INTO s FROM vault.release(r, 0, 1);
                        RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
                    RAISE EXCEPTION '%', s; END $$;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a cursor opened before and fetched after the request's rollback",
            script: """
                BEGIN; SELECT request AS r FROM REQUEST \\gset
                DECLARE c CURSOR FOR SELECT * FROM vault.release(:'r', 0, 10); FETCH ALL FROM c; ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a cursor WITH HOLD, filled at commit",
            script: """
                BEGIN; SELECT request AS r FROM REQUEST \\gset
                DECLARE c CURSOR WITH HOLD FOR SELECT * FROM vault.release(:'r', 0, 10); COMMIT; FETCH ALL FROM c;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "COPY of one query",
            script: """
                COPY (SELECT released.* FROM REQUEST AS asked, LATERAL vault.release(asked.request, 0, 10) AS released)
                TO STDOUT;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "EXPLAIN ANALYZE of one query",
            script: """
                EXPLAIN (ANALYZE, VERBOSE) SELECT released.*
                FROM REQUEST AS asked, LATERAL vault.release(asked.request, 0, 10) AS released;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "several statements in one message",
            script: """
                SELECT set_config('my.r', request::text, false) FROM REQUEST\\; \
                SELECT * FROM vault.release(current_setting('my.r')::uuid, 0, 10)\\; ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a prepared transaction",
            script: """
                BEGIN; SELECT request AS r FROM REQUEST \\gset
                PREPARE TRANSACTION 'attack'; SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK PREPARED 'attack';
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "repeatable read",
            script: """
                BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT request AS r FROM REQUEST \\gset
                SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "serializable",
            script: """
                BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT request AS r FROM REQUEST \\gset
                SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "the data keys alone, in the requesting transaction",
            script: """
                BEGIN; SELECT request AS r FROM REQUEST \\gset
                SELECT * FROM vault.release_data_keys(:'r', ARRAY['\(Planted.recoveryKey)']::uuid[]); ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a quarantined record, in the requesting transaction",
            script: """
                BEGIN; SELECT request AS r FROM vault.request_quarantine(ARRAY['\(Planted.quarantined)']::uuid[], 'w', 't') \\gset
                SELECT * FROM vault.release_quarantine(:'r'); ROLLBACK;
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a quarantined record by a request for tokens",
            script: "SELECT request AS r FROM REQUEST \\gset\nSELECT * FROM vault.release_quarantine(:'r');",
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "another person's committed request, also as the group role",
            login: "vault_recoverer2",
            script: """
                SELECT * FROM vault.release('COMMITTED', 0, 10); SET ROLE tokenvault_recoverer;
                SELECT * FROM vault.release('COMMITTED', 0, 10);
                SELECT * FROM vault.release_data_keys('COMMITTED', ARRAY['\(Planted.recoveryKey)']::uuid[]);
                SELECT vault.record_outcome('COMMITTED', 'not mine');
                """,
            refusal: "TV004"),
        ReleaseAttack(
            testDescription: "a forged request row or transaction id",
            script: """
                BEGIN; SELECT request AS r FROM REQUEST \\gset
                UPDATE vault.recovery_request SET xid = '3'; ROLLBACK;
                INSERT INTO vault.recovery_request SELECT * FROM vault.recovery_request;
                INSERT INTO vault.recovery_request_item SELECT * FROM vault.recovery_request_item;
                UPDATE vault.recovery_request SET expires_at = 'infinity', requester = 'vault_recoverer2';
                """,
            refusal: "42501"),
        ReleaseAttack(
            testDescription: "reading the tables, also by COPY and through an error of a cast",
            script: """
                SELECT sealed FROM vault.original; COPY vault.original TO STDOUT; SELECT encode(sealed, 'hex')::int
                FROM vault.data_key_seal; TABLE vault.quarantine; SELECT sealed FROM vault.quarantine;
                """,
            refusal: "42501"),
        ReleaseAttack(
            testDescription: "calling what is internal",
            script: """
                SELECT * FROM vault.book_request(gen_random_uuid(), 'tokens', 'a', ARRAY['x'], 'r', 't');
                SELECT vault.require_releasable(gen_random_uuid(), NULL); SELECT vault.force_flush();
                SELECT * FROM audit.append('a', 'b', 'c', 'd', 'e');
                SELECT * FROM audit.append_many('a', ARRAY['b'], 'c', 'd', 'e');
                """,
            refusal: "42501"),
        ReleaseAttack(
            testDescription: "becoming someone else",
            script: """
                SET ROLE tokenvault_owner; SET SESSION AUTHORIZATION vault_recoverer2; SET ROLE postgres;
                SELECT sealed FROM vault.original;
                """,
            refusal: "42501"),
        ReleaseAttack(
            testDescription: "an approval of one's own request",
            script:
                "SELECT vault.decide_request('COMMITTED', 'approve'); INSERT INTO vault.approval VALUES ('COMMITTED', 'x', 'approve');",
            refusal: "42501"),
    ]
}
