/// Who may do what: every object of the product, and every privilege that a group has on it. docs/ROLES.md in code.
///
/// What is not listed is forbidden; an object that is not listed fails the test.
enum RoleMatrix {
    /// Each group, by the login role that has nothing else; `public` is a login role without a group.
    static let groups = ["ingest", "analyst", "recoverer", "approver", "operator", "auditor", "public"]

    static let schemas: [String: [String: Set<String>]] = [
        "vault": Dictionary(
            uniqueKeysWithValues: ["ingest", "recoverer", "approver", "operator", "auditor"].map { ($0, ["USAGE"]) }),
        "audit": ["auditor": ["USAGE"]],
        "public": Dictionary(uniqueKeysWithValues: groups.map { ($0, ["USAGE"]) }),
    ]

    static let database: [String: Set<String>] = Dictionary(uniqueKeysWithValues: groups.map { ($0, ["CONNECT"]) })

    static let relations: [String: [String: Set<String>]] = [
        "audit.event": ["auditor": ["SELECT"]],
        "audit.head": ["auditor": ["SELECT"]],
        "public.duplicate_devices": ["analyst": ["SELECT"]],
        "public.duplicate_ips": ["analyst": ["SELECT"]],
        "public.user_logins": ["analyst": ["SELECT"], "ingest": ["INSERT"]],
        "vault.approval": [:],
        "vault.data_key": ["ingest": ["INSERT"], "operator": ["SELECT"]],
        "vault.data_key_seal": ["ingest": ["INSERT"], "operator": ["SELECT"]],
        "vault.ingest_file": [:],
        "vault.ingest_message": [:],
        "vault.ingest_run": ["operator": ["SELECT"]],
        "vault.key_version": ["operator": ["SELECT"]],
        "vault.original": ["ingest": ["INSERT"]],
        "vault.policy": [:],
        "vault.quarantine": [:],  // by column only
        "vault.recovery_request": [:],
        "vault.recovery_request_item": [:],
        "vault.schema_migration": [:],
    ]

    /// Privileges on single columns, where the whole relation is not granted.
    static let columns: [String: [String: Set<String>]] = {
        let known = ["id", "run", "source", "position", "cause", "truncated", "body_mac", "data_key", "created_at"]
        var columns: [String: [String: Set<String>]] = [:]
        for column in known { columns["vault.quarantine.\(column)"] = ["ingest": ["INSERT"], "operator": ["SELECT"]] }
        columns["vault.quarantine.sealed"] = ["ingest": ["INSERT"]]
        for column in ["resolution", "resolved_at", "resolved_by"] {
            columns["vault.quarantine.\(column)"] = ["operator": ["SELECT"]]
        }
        return columns
    }()

    /// Every function, and the groups that may call it.
    static let functions: [String: Set<String>] = [
        "audit.append(text, text, text, text, text)": [],
        "audit.append_many(text, text[], text, text, text)": [],
        "audit.field(bytea)": [],
        "audit.field(text)": [],
        "audit.refuse_change()": [],
        "vault.add_run_counts(uuid, bigint, bigint, bigint)": ["ingest"],
        "vault.advance_file(uuid, bigint, bigint, bigint)": ["ingest"],
        "vault.begin_run(uuid, text)": ["ingest"],
        "vault.book_request(uuid, text, text, text[], text, text)": [],
        "vault.change_key_state(uuid, text)": ["operator"],
        "vault.claim_messages(text, text[], integer, bytea[])": ["ingest"],
        "vault.decide_request(uuid, text)": ["approver"],
        "vault.find_file(text)": ["ingest"],
        "vault.finish_run(uuid, text)": ["ingest"],
        "vault.force_flush()": [],
        "vault.key_states()": ["ingest", "recoverer", "operator", "auditor"],
        "vault.policy_list()": ["recoverer", "approver", "operator", "auditor"],
        "vault.quarantine_list(integer)": ["recoverer", "operator", "auditor"],
        "vault.record_migration(integer, text)": [],
        "vault.record_outcome(uuid, text)": ["recoverer", "operator"],
        "vault.record_tokenize(text, integer, text)": ["ingest", "recoverer", "operator"],
        "vault.register_file(uuid, text, integer, integer, bytea)": ["ingest"],
        "vault.register_key(uuid, text, text, integer, text, text[], bytea)": ["operator"],
        "vault.release(uuid, integer, integer)": ["recoverer"],
        "vault.release_data_keys(uuid, uuid[])": ["recoverer", "operator"],
        "vault.release_quarantine(uuid)": ["recoverer", "operator"],
        "vault.request_quarantine(uuid[], text, text)": ["recoverer", "operator"],
        "vault.request_recovery(text[], text, text)": ["recoverer"],
        "vault.require_releasable(uuid, text)": [],
        "vault.require_text(text, text, integer)": [],
        "vault.require_user_logins_shape()": [],
        "vault.resolve_quarantine(uuid, text, text)": ["operator"],
        "vault.schema_version()": ["ingest", "recoverer", "approver", "operator", "auditor"],
        "vault.set_policy(text, integer, integer, interval, text, text)": ["operator"],
        "vault.status_summary()": ["operator", "auditor"],
        "vault.waiting_requests(integer)": ["approver"],
    ]
}
