#!/usr/bin/env bash
# Figures of key rotation on this machine, on a private cluster at its normal durability, each beside a plain UPDATE of the same
# rows by psql in the same run. Prints one line a figure.
#   ORIGINALS=1000000 ROWS=2000000 scripts/benchmark_rotation.sh
set -euo pipefail
cd "$(dirname "$0")/.."
originals=${ORIGINALS:-100000}
rows=${ROWS:-$((originals * 2))}
small=${SMALL:-10000}
tokenvault=$(swift build -c release --show-bin-path)/tokenvault
work=$(mktemp -d /tmp/tokenvault-rotate-XXXXXX)
chmod 755 "$work"  # the server runs as another user; the keyrings in it are 0600
cleanup() {
    [ -z "${cluster_in:-}" ] || exec {cluster_in}>&-
    wait
    rm -rf "$work"
}
trap cleanup EXIT

mkfifo "$work/in"
scripts/private-cluster.sh "$work/pg" <"$work/in" >"$work/out" &
exec {cluster_in}>"$work/in"
until grep -q ready "$work/out"; do kill -0 $! || exit 1; sleep 0.1; done

(umask 077; head -c 24 /dev/urandom | base64 >"$work/passphrase")
export TOKENVAULT_PASSPHRASE_FILE=$work/passphrase
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "host=$work/pg/socket dbname=$database user=postgres" "$@"; }
as() { TOKENVAULT_DATABASE="host=$work/pg/socket dbname=$database user=$1" "$tokenvault" "${@:2}" 2>>"$work/log"; }
milliseconds() { local start; start=$(date +%s%N); "$@" >/dev/null; echo $((($(date +%s%N) - start) / 1000000)); }
field() { sed "s/.*\"$1\":\([0-9]*\).*/\1/"; }

make_vault() {  # make_vault NAME ORIGINALS ROWS
    database=$1
    [ "$database" = tokenvault ] || psql -X -q "host=$work/pg/socket dbname=postgres user=postgres" -c "CREATE DATABASE $database OWNER vault_admin"
    export TOKENVAULT_INGEST_KEYRING=$work/$1.ingest TOKENVAULT_RECOVERY_KEYRING=$work/$1.recovery
    as vault_admin database create-roles >/dev/null
    as vault_admin database migrate >/dev/null
    for role in ingest operator; do
        sql -c "DO \$\$ BEGIN CREATE ROLE vault_$role LOGIN IN ROLE tokenvault_$role; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"
    done
    as vault_operator keys generate >/dev/null
    # Drawn with repetition: 1.25 values for each distinct one wanted would be exact only in the mean.
    python3 scripts/make_records.py "$3" --addresses $(($2 / 2)) --devices $(($2 / 2)) >"$work/records"
    as vault_ingest ingest "$work/records" >/dev/null
    rm "$work/records"
    sql -c "VACUUM ANALYZE" -c CHECKPOINT
}

recovery_key() {
    as vault_operator keys add recovery --name next >/dev/null
    as vault_operator rotate recovery-key run --json | field milliseconds
}

make_vault few "$small" $((small * 2))
at_small=$(recovery_key)
make_vault tokenvault "$originals" "$rows"
at_large=$(recovery_key)
count=$(sql -c "SELECT count(*) FROM vault.original")
echo "rotate recovery-key: $at_small ms at $(psql -X -A -t "host=$work/pg/socket dbname=few user=postgres" -c 'SELECT count(*) FROM vault.original') originals, $at_large ms at $count (equal numbers of data keys)"

settle() { sql -c "VACUUM ANALYZE" -c CHECKPOINT; }
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }
rate() { awk "BEGIN { printf \"%d\", $1 * 1000 / $2 }"; }
admin() { psql -X -q -v ON_ERROR_STOP=1 "host=$work/pg/socket dbname=postgres user=postgres" "$@"; }

# What each rotation is compared with: the same writes to the same rows, by psql, from mappings that lie ready, in one
# transaction, committed and flushed. On a copy of the vault made block by block, so that both begin from the same files,
# vacuumed and checkpointed. The mappings hold what a rotation must work out: new tokens, and new sealed bytes of the same
# length. The rotation's time is the whole command: reading keyrings, opening, checking, making tokens, sealing, the
# pairs of tokens, counting what is left, audit events. Neither includes VACUUM.
plain() {  # plain SQL: prints milliseconds
    local of=$database
    admin -c "CREATE DATABASE plain TEMPLATE $of"
    database=plain
    sql <<'SQL'
CREATE SCHEMA bench;
CREATE TABLE bench.original AS
    SELECT token AS old_token, md5(token::text || 'new')::uuid AS new_token, md5(domain)::uuid AS data_key,
           substr(decode(md5(token::text || 1) || md5(token::text || 2) || md5(token::text || 3) || md5(token::text || 4)
                         || md5(token::text || 5), 'hex') || sealed, 1, octet_length(sealed)) AS sealed
    FROM vault.original;
CREATE TABLE bench.token AS
    SELECT old_token, regexp_replace(left(old_token, -32), '[0-9]+_$', '2_') || md5(old_token) AS new_token
    FROM (SELECT masked_ip AS old_token FROM public.user_logins UNION SELECT masked_device_id FROM public.user_logins
          UNION SELECT masked_ip_net FROM public.user_logins) AS tokens;
SQL
    settle
    milliseconds sql -c "SET work_mem = '256MB'" -c "SET jit = off" -c "$1"
    database=$of
    admin -c "DROP DATABASE plain"
    settle
}

bare=$(plain "UPDATE vault.original AS original SET data_key = new.data_key, sealed = new.sealed
              FROM bench.original AS new WHERE new.old_token = original.token")
took=$(as vault_operator rotate data-keys run --json | field milliseconds)
settle
echo "rotate data-keys: $(rate "$count" "$took") values/s ($took ms); plain UPDATE of the same rows $bare ms: $(ratio "$took" "$bare") times"

bare=$(plain "BEGIN;
    UPDATE vault.original AS original SET token = new.new_token, token_version = 2, data_key = new.data_key, sealed = new.sealed
    FROM bench.original AS new WHERE new.old_token = original.token;
    UPDATE public.user_logins AS login SET masked_ip = a.new_token, masked_device_id = b.new_token, masked_ip_net = c.new_token
    FROM bench.token AS a, bench.token AS b, bench.token AS c
    WHERE a.old_token = login.masked_ip AND b.old_token = login.masked_device_id AND c.old_token = login.masked_ip_net; COMMIT")
as vault_operator keys add token >/dev/null
as vault_operator keys activate token-v2 >/dev/null
settle
took=$(as vault_operator rotate token-key run --no-fingerprint --json | field milliseconds)
echo "rotate token-key: $(rate "$count" "$took") values/s, $(rate "$rows" "$took") rows/s ($took ms); plain UPDATE of the same rows $bare ms: $(ratio "$took" "$bare") times"
fingerprint=$(milliseconds as vault_operator rotate token-key verify)
echo "rotate token-key verify: $fingerprint ms (run takes the rows' fingerprint too unless told --no-fingerprint: part of these)"
echo "rotate token-key retire: $(milliseconds as vault_operator rotate token-key retire) ms"
