/// Who may do what: every object of the product, and every privilege that a group has on it. docs/ROLES.md in code.
///
/// What is not listed is forbidden; an object that is not listed fails the test.
package enum RoleMatrix {
    /// Each group, by the login role that has nothing else; `public` is a login role without a group.
    package static let groups = [
        "ingest", "analyst", "recoverer", "approver", "operator", "auditor", "break_glass", "public",
    ]

    package static let schemas: [String: [String: Set<String>]] = [
        "vault": Dictionary(
            uniqueKeysWithValues: ["ingest", "recoverer", "approver", "operator", "auditor"].map { ($0, ["USAGE"]) }),
        "audit": ["auditor": ["USAGE"]],
        "public": Dictionary(uniqueKeysWithValues: groups.map { ($0, ["USAGE"]) }),
    ]

    package static let database: [String: Set<String>] = Dictionary(
        uniqueKeysWithValues: groups.map { ($0, ["CONNECT"]) })

    package static let relations: [String: [String: Set<String>]] = [
        "audit.event": ["auditor": ["SELECT"]],
        "audit.head": ["auditor": ["SELECT"]],
        "public.duplicate_devices": ["analyst": ["SELECT"]],
        "public.duplicate_ips": ["analyst": ["SELECT"]],
        "public.duplicate_networks": ["analyst": ["SELECT"]],
        "public.user_logins": ["analyst": ["SELECT"], "ingest": ["INSERT"]],
        "vault.approval": [:],
        "vault.data_key": ["ingest": ["INSERT"], "operator": ["SELECT"]],
        "vault.data_key_seal": ["ingest": ["INSERT"], "operator": ["SELECT"]],
        "vault.erased_token": [:],
        "vault.erasure": [:],
        "vault.erasure_gate": [:],
        "vault.erasure_item": [:],
        "vault.ingest_file": [:],
        "vault.ingest_message": [:],
        "vault.ingest_run": ["operator": ["SELECT"]],
        "vault.key_version": ["operator": ["SELECT"]],
        "vault.masked_column": ["operator": ["SELECT"]],
        "vault.original": ["ingest": ["INSERT"]],
        "vault.policy": [:],
        "vault.quarantine": [:],  // by column only
        "vault.recovery_draft": [:],
        "vault.recovery_request": [:],
        "vault.recovery_request_domain": [:],
        "vault.recovery_request_item": [:],
        "vault.retired_key": [:],
        "vault.rotation": [:],
        "vault.rotation_exception": [:],
        "vault.rotation_pair": [:],
        "vault.rotation_scope": [:],
        "vault.schema_migration": [:],
        "vault.token_move": [:],
        "vault.token_pair": [:],
        "vault.token_successor": [:],  // by column only
    ]

    /// Privileges on single columns, where the whole relation is not granted.
    package static let columns: [String: [String: Set<String>]] = {
        let known = ["id", "run", "source", "position", "cause", "truncated", "body_mac", "data_key", "created_at"]
        var columns: [String: [String: Set<String>]] = [:]
        for column in known { columns["vault.quarantine.\(column)"] = ["ingest": ["INSERT"], "operator": ["SELECT"]] }
        columns["vault.quarantine.sealed"] = ["ingest": ["INSERT"]]
        for column in ["resolution", "resolved_at", "resolved_by"] {
            columns["vault.quarantine.\(column)"] = ["operator": ["SELECT"]]
        }
        for column in ["old_token", "new_token", "domain", "old_version"] {
            columns["vault.token_successor.\(column)"] = ["ingest": ["INSERT"]]
        }
        return columns
    }()

    /// Every trigger, as `table.trigger`.
    package static let triggers: Set<String> = [
        "audit.event.append_only", "audit.head.append_only", "vault.recovery_draft.booked",
    ]

    /// What the triggers `append_only` refuse, each before a statement. `type` is `pg_trigger.tgtype`.
    package static let appendOnly: [(table: String, type: Int, events: String)] = [
        ("audit.event", 58, "UPDATE OR DELETE OR TRUNCATE"), ("audit.head", 42, "DELETE OR TRUNCATE"),
    ]

    /// Every function, and the groups that may call it.
    package static let functions: [String: Set<String>] = [
        "audit.append(text, text, text, text, text)": [],
        "audit.append_many(text, text[], text, text, text)": [],
        "audit.field(bytea)": [],
        "audit.field(text)": [],
        "audit.refuse_change()": [],
        "vault.add_rotation_data_key(uuid, uuid, text, uuid, bigint, bytea, bytea, uuid[], bytea[])": ["operator"],
        "vault.add_run_counts(uuid, bigint, bigint, bigint)": ["ingest"],
        "vault.add_seals(uuid, uuid, uuid[], bytea[])": ["operator"],
        "vault.advance_file(uuid, bigint, bigint, bigint)": ["ingest"],
        "vault.advance_rotation(uuid, uuid, uuid, bigint, uuid)": [],
        "vault.analyze_successors()": ["operator"],
        "vault.begin_rotation(uuid, text, integer, text)": ["operator"],
        "vault.begin_run(uuid, text)": ["ingest"],
        "vault.begin_run(uuid, text, integer)": ["ingest"],
        "vault.book_draft(text, text, text)": [],
        "vault.book_recovery(text, text)": ["recoverer"],
        "vault.book_request(uuid, text, text, text[], text, text)": [],
        "vault.canonical_hours(text)": [],
        "vault.change_key_state(uuid, text)": ["operator"],
        "vault.change_key_state_0006(uuid, text)": [],
        "vault.change_policy(text, jsonb)": ["operator"],
        "vault.claim_messages(text, text[], integer, bytea[])": ["ingest"],
        "vault.count_originals(integer)": ["operator"],
        "vault.data_keys_without_seal(uuid, text[], uuid[], uuid, integer)": ["operator"],
        "vault.decide_request(uuid, text, text)": ["approver"],
        "vault.drop_old_originals(uuid)": ["operator"],
        "vault.drop_unused_data_keys(uuid)": ["operator"],
        "vault.enter_batch()": ["ingest"],
        "vault.begin_erasure(uuid, text[], text, text, text, text, text, boolean)": ["operator"],
        "vault.begin_expiry(uuid, text, date, text, text, boolean)": ["operator"],
        "vault.drop_pairs(text[])": [],
        "vault.erase_batch(uuid, text, integer)": ["operator"],
        "vault.erase_user_rows(uuid, text)": ["operator"],
        "vault.erasure_items(uuid)": ["operator"],
        "vault.erasure_progress(uuid)": ["operator"],
        "vault.erasure_remains(uuid)": ["operator"],
        "vault.erasure_subject(uuid, text, text)": [],
        "vault.finish_erasure(uuid, text)": ["operator"],
        "vault.irreversible_condition(text, text, text)": [],
        "vault.irreversible_tokens()": [],
        "vault.masked_tables()": [],
        "vault.record_erasure_plan(text, text, text, text)": ["operator"],
        "vault.require_erasure(uuid, text)": [],
        "vault.require_trusted_table(text)": [],
        "vault.rotation_erasures(uuid)": ["operator"],
        "vault.same_value(text[])": [],
        "vault.take_out_tokens(text[], boolean, text)": [],
        "vault.token_files()": [],
        "vault.token_rows(text[], text[], text)": [],
        "vault.tokens_seen(date, text[])": [],
        "vault.find_file(text)": ["ingest"],
        "vault.finish_rotation(uuid, text)": ["operator"],
        "vault.finish_run(uuid, text)": ["ingest"],
        "vault.force_flush()": [],
        "vault.forget_ledger(integer)": ["operator"],
        "vault.hours_allow(text, timestamp with time zone)": [],
        "vault.hours_window(text)": [],
        "vault.is_member(name, name)": [],
        "vault.is_one_person(name, name)": [],
        "vault.key_states()": ["ingest", "recoverer", "operator", "auditor"],
        "vault.move_rows(uuid, integer, integer)": ["operator"],
        "vault.is_all_moved(uuid)": ["operator"],
        "vault.next_rotation_pass(uuid, jsonb)": ["operator"],
        "vault.note_rotation_exceptions(uuid, uuid[], text[])": ["operator"],
        "vault.old_rows(uuid)": ["operator"],
        "vault.old_token_places(uuid)": ["auditor", "operator"],
        "vault.own_request(uuid)": ["recoverer", "operator"],
        "vault.pass_originals(uuid, uuid, uuid, integer, uuid)": ["operator"],
        "vault.policy_for(text)": [],
        "vault.policy_list()": ["recoverer", "approver", "operator", "auditor"],
        "vault.policy_number(text, jsonb, integer, integer)": [],
        "vault.policy_pattern(text, jsonb)": [],
        "vault.quarantine_list(integer)": ["recoverer", "operator", "auditor"],
        "vault.quarantine_waiting(uuid[], uuid, integer)": ["operator"],
        "vault.record_migration(integer, text)": [],
        "vault.record_outcome(uuid, text)": ["recoverer", "operator"],
        "vault.record_tokenize(text, integer, text)": ["ingest", "recoverer", "operator"],
        "vault.refuse_unbooked_draft()": [],
        "vault.register_file(uuid, text, integer, integer, bytea)": ["ingest"],
        "vault.register_key(uuid, text, text, integer, text, text[], bytea)": ["operator"],
        "vault.register_masked_column(text, text, text)": ["operator"],
        "vault.rekey_file(uuid, integer, integer, bytea)": ["ingest"],
        "vault.release(uuid, integer, integer)": ["recoverer"],
        "vault.release_data_keys(uuid, uuid[])": ["recoverer", "operator"],
        "vault.release_quarantine(uuid)": ["recoverer", "operator"],
        "vault.replace_quarantined(uuid, uuid[], uuid[], uuid, bytea[])": ["operator"],
        "vault.replace_sealed(uuid, uuid, uuid, uuid, tid[], uuid[], uuid[], uuid[], bytea[])": ["operator"],
        "vault.request_items(uuid, integer, integer)": ["approver"],
        "vault.request_quarantine(uuid[], text, text)": ["recoverer", "operator"],
        "vault.request_recovery(text[], text, text)": ["recoverer"],
        "vault.request_standing(uuid)": [],
        "vault.require_releasable(uuid, text)": [],
        "vault.require_rotation(uuid, text)": [],
        "vault.require_text(text, text, integer)": [],
        "vault.require_token_version(integer, timestamp with time zone)": [],
        "vault.require_user_logins_shape()": [],
        "vault.resealed_originals(uuid, uuid, integer)": ["operator"],
        "vault.resolve_quarantine(uuid, text, text)": ["operator"],
        "vault.retire_recovery_key(uuid)": ["operator"],
        "vault.retire_token_version(integer, boolean)": ["operator"],
        "vault.rotation_census()": ["auditor", "operator"],
        "vault.rotation_exceptions(uuid)": ["operator"],
        "vault.rotation_originals(uuid, uuid[])": ["operator"],
        "vault.rotation_extent()": ["operator"],
        "vault.rotation_leftovers(uuid, integer)": ["operator"],
        "vault.rotation_page(uuid, bigint, bigint)": ["operator"],
        "vault.rotation_pairs(uuid, bigint, bigint)": ["operator"],
        "vault.rotation_quarantine_page(uuid, integer)": ["operator"],
        "vault.rotations(integer)": ["auditor", "operator"],
        "vault.row_fingerprint(integer)": ["operator"],
        "vault.row_identity(text)": [],
        "vault.rows_about()": ["operator"],
        "vault.rows_to_move(uuid)": ["operator"],
        "vault.run_state(uuid)": ["ingest"],
        "vault.schema_version()": ["ingest", "recoverer", "approver", "operator", "auditor"],
        "vault.set_policy(text, integer, integer, interval, text, text)": ["operator"],
        "vault.slice_pairs(text, integer, integer)": [],
        "vault.stage_recovery(text[])": ["recoverer"],
        "vault.status_summary()": ["operator", "auditor"],
        "vault.store_successors(uuid, tid[], uuid[], uuid[], text[], integer[], integer[], uuid[], bytea[], uuid[], uuid[], text[], integer[], integer[])":
            ["operator"],
        "vault.superseded_token_versions()": ["ingest"],
        "vault.token_version_needs(integer)": ["operator"],
        "vault.waiting_requests(integer, uuid)": ["approver"],
        "vault.weekdays(text)": [],
    ]
}
