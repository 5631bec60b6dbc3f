#!/usr/bin/env bash
# The five-minute tour, on real parts: a private PostgreSQL cluster, the real roles, sample records.
#
#   scripts/demo.sh          from an NDJSON file
#   scripts/demo.sh sqs      from a real SQS-compatible server that checks signatures
#
# Leaves nothing behind: cluster, server, keys and records live in one folder that goes at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
source=${1:-file}
tokenvault=$(swift build --show-bin-path)/tokenvault
work=$(mktemp -d /tmp/tokenvault-demo-XXXXXX)
chmod 711 "$work"  # the server's own user must pass through
cleanup() {
    [ -z "${cluster_in:-}" ] || exec {cluster_in}>&-
    [ -z "${sqs_in:-}" ] || exec {sqs_in}>&-
    wait
    rm -rf "$work"
}
trap cleanup EXIT

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ tokenvault %s\n' "$*"; "$tokenvault" "$@"; }
as() { export TOKENVAULT_DATABASE="host=$work/pg/socket dbname=tokenvault user=$1"; shift; run "$@"; }
expect() { local code=0 want=$1; shift; "$@" || code=$?; [ "$code" = "$want" ] || { echo "demo: exit $code, expected $want" >&2; exit 1; }; }

step "A private PostgreSQL cluster"
mkfifo "$work/cluster.in"
scripts/private-cluster.sh "$work/pg" <"$work/cluster.in" >"$work/cluster.out" &
exec {cluster_in}>"$work/cluster.in"
until grep -q ready "$work/cluster.out"; do kill -0 $! || exit 1; sleep 0.1; done
echo "ready in $work"

step "Roles and schema, as a NOSUPERUSER CREATEROLE administrator"
as vault_admin database create-roles
as vault_admin database migrate
as vault_admin database verify
for role in ingest analyst recoverer operator auditor; do
    psql -q -X -v ON_ERROR_STOP=1 "host=$work/pg/socket dbname=tokenvault user=vault_admin" \
        -c "CREATE ROLE vault_$role LOGIN IN ROLE tokenvault_$role"
done

step "Keys: one keyring for the ingest host, one for the analyst"
(umask 077; head -c 24 /dev/urandom | base64 >"$work/passphrase")
export TOKENVAULT_PASSPHRASE_FILE=$work/passphrase TOKENVAULT_INGEST_KEYRING=$work/ingest.keyring
export TOKENVAULT_RECOVERY_KEYRING=$work/recovery.keyring
as vault_operator keys generate --recovery-name analyst-1
as vault_operator keys list

step "The nightly job: 100 records, of which one is of another type"
if [ "$source" = sqs ]; then
    mkfifo "$work/sqs.in"
    scripts/sqs-server.sh "$work/sqs" <"$work/sqs.in" >"$work/sqs.out" &
    exec {sqs_in}>"$work/sqs.in"
    until grep -q ready "$work/sqs.out"; do kill -0 $! || exit 1; sleep 0.1; done
    set -a; . "$work/sqs/env"; set +a
    queue=$(python3 scripts/make_records.py 100 --addresses 12 --devices 20 --exercise | python3 scripts/sqs_fill.py login-queue)
    expect 3 as vault_ingest ingest --poll-seconds 1 "$queue"
    echo "(the queue is empty now: a second run finds nothing)"
    as vault_ingest ingest --poll-seconds 1 "$queue"
else
    python3 scripts/make_records.py 100 --addresses 12 --devices 20 --exercise >"$work/logins.ndjson"
    expect 3 as vault_ingest ingest "$work/logins.ndjson"
    echo "(the same file again adds nothing)"
    as vault_ingest ingest "$work/logins.ndjson"
fi

step "Duplicates, as a data analyst sees them"
as vault_analyst duplicates --limit 5
token=$("$tokenvault" duplicates --limit 1 --json | sed 's/.*"token":"\([^"]*\)".*/\1/')

step "One value back, as a privileged analyst: with a reason, and audited first"
as vault_recoverer recover --reason "demo: who is this?" --ticket DEMO-1 "$token"

step "What the auditor sees"
as vault_auditor audit list --limit 8
as vault_auditor audit verify

step "What was refused"
as vault_operator quarantine list

step "All three kinds of keys rotated: the duplicates stay the same"
groups() { "$tokenvault" duplicates --limit 1000 --json | sed 's/"token":"[^"]*",//' | sort; }
connect() { export TOKENVAULT_DATABASE="host=$work/pg/socket dbname=tokenvault user=$1"; }
connect vault_analyst
before=$(groups)
as vault_operator keys add recovery --name analyst-2
as vault_operator rotate recovery-key run
as vault_operator rotate recovery-key verify
as vault_operator keys retire analyst-1
as vault_operator rotate recovery-key retire --key analyst-1
as vault_operator keys destroy analyst-1 --confirm analyst-1
as vault_operator rotate data-keys run
as vault_operator rotate data-keys verify
as vault_operator keys add token
as vault_operator keys activate token-v2
as vault_operator rotate token-key run
as vault_operator rotate token-key verify
as vault_operator rotate token-key retire
as vault_operator keys destroy token-v1 --confirm token-v1 --forget-ledger
as vault_operator keys list
as vault_analyst duplicates --limit 5
[ "$(groups)" = "$before" ] || { echo "demo: the duplicates differ after the rotation" >&2; exit 1; }
echo "(the same groups as before, under new tokens)"
token=$("$tokenvault" duplicates --limit 1 --json | sed 's/.*"token":"\([^"]*\)".*/\1/')
as vault_recoverer recover --reason "demo: still the same?" --ticket DEMO-2 "$token"
