import Foundation
import TestSupport
import Testing

@Suite("Verifying a rotation")
struct VerifyTests {
    @Test("finds what changed more than keys: 65, and says what")
    func differences() throws {
        let vault = try LiveVault("verify_changes")
        defer { vault.remove() }
        let file = try vault.file(
            "logins.ndjson", try LiveVault.records(100, ["--addresses", "12", "--devices", "12"]))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.activateSecondTokenKey()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        // Again, as the runbook allows: verify must not forget the first, which did the work.
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        for (change, said) in [
            (
                "DELETE FROM vault.original WHERE token = (SELECT max(token::text)::uuid FROM vault.original)",
                "is missing"
            ),
            (
                """
                UPDATE vault.original SET sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)
                WHERE token = (SELECT max(token::text)::uuid FROM vault.original)
                """, "does not open"
            ),
            ("UPDATE vault.rotation SET value_sum = gen_random_uuid()", "their fingerprints differ"),
            ("UPDATE vault.rotation SET values_done = values_done + 1 WHERE values_done > 0", "25 before"),
            (
                """
                UPDATE public.user_logins SET masked_ip = (SELECT max(masked_ip) FROM public.user_logins)
                WHERE ctid = (SELECT ctid FROM public.user_logins ORDER BY masked_ip LIMIT 1)
                """, "has other groups of rows than before"
            ),
            (
                """
                UPDATE public.user_logins SET masked_ip = replace(masked_ip, '_v2_', '_v1_')
                WHERE ctid = (SELECT ctid FROM public.user_logins LIMIT 1)
                """, "1 x row public.user_logins.masked_ip v1"
            ),
        ] {
            _ = try vault.query(
                """
                CREATE SCHEMA kept; CREATE TABLE kept.original AS TABLE vault.original;
                CREATE TABLE kept.rotation AS TABLE vault.rotation; CREATE TABLE kept.rows AS TABLE public.user_logins;
                \(change)
                """)
            let wrong = try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"])
            #expect(wrong.status == 65, "\(change)")
            #expect(wrong.standardError.contains(said), "\(change): \(wrong.standardError)")
            _ = try vault.query(
                """
                TRUNCATE vault.original, vault.rotation, public.user_logins;
                INSERT INTO vault.original SELECT * FROM kept.original; INSERT INTO vault.rotation SELECT * FROM kept.rotation;
                INSERT INTO public.user_logins SELECT * FROM kept.rows; DROP SCHEMA kept CASCADE
                """)
            let right = try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"])
            #expect(right.status == 0, "\(right.standardError)")
            #expect(right.standardOutput.contains("24 values, the same as before"))
        }
    }
}
