#!/usr/bin/env bash
# Figures of bulk recovery and of the audit log on this machine, with a private cluster at its normal durability (fsync on).
#   TOKENS=100000 scripts/benchmark_recovery.sh
set -euo pipefail
cd "$(dirname "$0")/.."
tokens=${TOKENS:-100000}
tokenvault=$(swift build -c release --show-bin-path)/tokenvault
work=$(mktemp -d /tmp/tokenvault-bench-XXXXXX)
chmod 711 "$work"  # the server's own user must pass through
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
server="host=$work/pg/socket dbname=tokenvault"
connect() { export TOKENVAULT_DATABASE="$server user=$1"; }
connect vault_admin
"$tokenvault" database create-roles 2>/dev/null
"$tokenvault" database migrate >/dev/null
for role in ingest operator recoverer auditor; do
    psql -q -X "$server user=vault_admin" -c "CREATE ROLE vault_$role LOGIN IN ROLE tokenvault_$role"
done
(umask 077; head -c 24 /dev/urandom | base64 >"$work/passphrase")
export TOKENVAULT_PASSPHRASE_FILE=$work/passphrase TOKENVAULT_INGEST_KEYRING=$work/ingest.keyring
export TOKENVAULT_RECOVERY_KEYRING=$work/recovery.keyring TOKENVAULT_CHECKPOINT_KEY=$work/checkpoint.key
connect vault_operator
"$tokenvault" keys generate 2>/dev/null
psql -q -X -o /dev/null "$server user=vault_operator" -c "SELECT vault.set_policy('ip', 0, 100000000, '1 day', NULL, NULL)"
connect vault_ingest
python3 scripts/make_records.py "$tokens" --seed 1 >"$work/records"
"$tokenvault" ingest "$work/records" >/dev/null 2>&1
rm "$work/records"
psql -X -A -t -o "$work/tokens" "$server user=postgres" -c "SELECT masked_ip FROM public.user_logins WHERE masked_ip IS NOT NULL"

connect vault_recoverer
python3 - "$tokenvault" "$work/tokens" <<'PY'
import os, resource, subprocess, sys, tempfile, time
program, path = sys.argv[1:]
whole = open(path).read().split()

def recover(count):
    with tempfile.NamedTemporaryFile("w") as names, open(os.devnull, "w") as sink:
        names.write("\n".join(whole[:count]) + "\n")
        names.flush()
        start = time.monotonic()
        run = subprocess.Popen([program, "recover", "--reason", "benchmark", "--ticket", "B-1", "--from", names.name],
                               stdout=sink, stderr=subprocess.PIPE, text=True)
        receipt = run.stderr.readline()
        booked = time.monotonic()
        rest = run.stderr.read()
        _, status, usage = os.wait4(run.pid, 0)
        ended = time.monotonic()
        if status or not receipt.startswith("audit receipt"):
            sys.exit(f"recover failed: {receipt}{rest}")
        return booked - start, ended - booked, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime

for count in sorted({min(10_000, len(whole)), len(whole)}):
    request, opening, memory, cpu = recover(count)
    print(f"recover {count}: requested and audited in {request:.2f} s ({request / count * 1e6:.1f} us an event), "
          f"opened at {count / opening:,.0f} values/s, client CPU {cpu:.2f} s, peak memory {memory:.0f} MB")
PY

connect vault_auditor
"$tokenvault" audit checkpoint-key generate --name benchmark/audit >/dev/null
python3 - "$tokenvault" <<'PY'
import re, resource, subprocess, sys, time
for arguments in (["verify"], ["checkpoint"], ["export"]):
    start = time.monotonic()
    run = subprocess.Popen([sys.argv[1], "audit", *arguments], stdout=subprocess.PIPE)
    out = last = b""
    while last := run.stdout.read(1 << 20):
        out = last
    if run.wait():
        sys.exit(f"audit {arguments[0]} failed")
    elapsed = time.monotonic() - start
    if arguments == ["verify"]:
        events = int(re.match(rb"\d+", out)[0])
    print(f"audit {arguments[0]}: {events} events in {elapsed:.2f} s ({events / elapsed:,.0f} events/s)")
print(f"audit, peak memory of all three: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB")
PY
