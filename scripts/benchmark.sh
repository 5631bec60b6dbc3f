#!/usr/bin/env bash
# Figures on this machine, with a private cluster at its normal durability (fsync on). Prints one line a figure.
#   RECORDS=100000 scripts/benchmark.sh
set -euo pipefail
cd "$(dirname "$0")/.."
records=${RECORDS:-100000}
tokenvault=$(swift build -c release --show-bin-path)/tokenvault
work=$(mktemp -d /tmp/tokenvault-bench-XXXXXX)
chmod 711 "$work"  # the server's own user must pass through
cleanup() {
    [ -z "${cluster_in:-}" ] || exec {cluster_in}>&-
    [ -z "${sqs_in:-}" ] || exec {sqs_in}>&-
    wait
    rm -rf "$work"
}
trap cleanup EXIT

mkfifo "$work/in"
scripts/private-cluster.sh "$work/pg" <"$work/in" >"$work/out" &
exec {cluster_in}>"$work/in"
until grep -q ready "$work/out"; do kill -0 $! || exit 1; sleep 0.1; done
connect() { export TOKENVAULT_DATABASE="host=$work/pg/socket dbname=tokenvault user=$1"; }
connect vault_admin
"$tokenvault" database create-roles 2>/dev/null
"$tokenvault" database migrate >/dev/null
for role in ingest operator; do
    psql -q -X "host=$work/pg/socket dbname=tokenvault user=vault_admin" -c "CREATE ROLE vault_$role LOGIN IN ROLE tokenvault_$role"
done
(umask 077; head -c 24 /dev/urandom | base64 >"$work/passphrase")
export TOKENVAULT_PASSPHRASE_FILE=$work/passphrase TOKENVAULT_INGEST_KEYRING=$work/ingest.keyring
export TOKENVAULT_RECOVERY_KEYRING=$work/recovery.keyring
connect vault_operator
"$tokenvault" keys generate 2>/dev/null
connect vault_ingest

measure() {  # measure LABEL FILE COUNT
    /usr/bin/env python3 - "$tokenvault" "$2" "$1" "$3" <<'PY'
import json, os, resource, subprocess, sys, time
program, path, label, count = sys.argv[1:]
start = time.monotonic()
run = subprocess.run([program, "ingest", "--json", path], capture_output=True, text=True)
elapsed = time.monotonic() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
if run.returncode != 0:
    sys.exit(f"ingest ended with {run.returncode}: {run.stderr}")
stored = json.loads(run.stdout)["stored"]
if stored != int(count):
    sys.exit(f"stored {stored} of {count}")
print(f"ingest, {label}: {stored / elapsed:,.0f} records/s ({stored} in {elapsed:.2f} s), "
      f"client CPU {usage.ru_utime + usage.ru_stime:.2f} s, peak memory {usage.ru_maxrss / 1024:.0f} MB")
PY
}

python3 scripts/make_records.py "$records" --seed 1 >"$work/new.ndjson"
measure "all values new" "$work/new.ndjson" "$records"
python3 scripts/make_records.py "$records" --seed 2 --addresses 20000 --devices 20000 >"$work/repeating.ndjson"
measure "most values repeat" "$work/repeating.ndjson" "$records"
python3 scripts/make_records.py $((records * 5)) --seed 3 >"$work/large.ndjson"
measure "all values new, five times the input" "$work/large.ndjson" $((records * 5))
