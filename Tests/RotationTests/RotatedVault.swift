import Foundation
import TestSupport
import Testing

/// What must hold of a vault at any moment of a rotation, and helpers to get one there.
extension LiveVault {
    func activateSecondTokenKey() throws {
        try tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
    }

    /// In one snapshot: tokens in rows without an original, and by how much the cursor's count differs from what stands.
    func rotationIsWhole(_ kind: String) throws -> Bool {
        let done =
            kind == "token-key"
            ? """
            (SELECT count(*) FROM vault.rotation_pair AS pair WHERE pair.rotation = rotation.id AND pair.domain <> 'ip_net')
            """
            : """
            (SELECT count(*) FROM vault.original AS original JOIN vault.data_key AS key ON key.id = original.data_key
             WHERE key.run = rotation.id)
            """
        let stands =
            kind == "token-key"
            ? "(SELECT count(*) FROM vault.original AS original WHERE original.token_version = rotation.target_version)"
            : done
        let answer = try query(
            """
            SELECT rotation.values_done - \(done), rotation.values_done - \(stands),
                   (SELECT count(*) FROM public.user_logins AS login CROSS JOIN LATERAL
                        (VALUES (login.masked_ip), (login.masked_device_id)) AS held (token)
                    WHERE NOT EXISTS (SELECT FROM vault.original AS original
                                      WHERE original.token = right(held.token, 32)::uuid)),
                   (SELECT count(*) FROM vault.original AS original
                    WHERE NOT EXISTS (SELECT FROM vault.data_key_seal AS seal WHERE seal.data_key = original.data_key))
            FROM vault.rotation AS rotation WHERE rotation.kind = '\(kind)' AND rotation.state = 'running'
            """)
        if !["", "0|0|0|0"].contains(answer) { Issue.record("\(kind): \(answer)") }
        return !answer.isEmpty
    }
}
