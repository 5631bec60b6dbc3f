#!/usr/bin/env bash
# Proves that the kill tests can fail: builds the program with one fault at a time and expects them to notice.
#   delete-first   messages are deleted before the transaction that holds their effect
#   forget-queue   the ledger's answer is ignored: a message that comes back is stored again
#   forget-file    a file's committed offset is ignored: a killed run starts again from its first line
# Needs `swift build --build-tests` first. The faults exist in a temporary copy only.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Package.swift Sources Tests "$copy/"

python3 - "$copy" <<'PY'
import sys, re
root = sys.argv[1] + "/Sources/Ingest/"

def patch(name, old, new):
    path = root + name
    text = open(path).read()
    if text.count(old) != 1:
        sys.exit(f"mutants: {name} no longer holds the line to break: {old!r}")
    open(path, "w").write(text.replace(old, new))

FAULT = 'ProcessInfo.processInfo.environment["TOKENVAULT_MUTANT"] == "%s"'
patch("QueueSource.swift", "        do {\n            let committed = try writer.write(records)",
      "        if " + FAULT % "delete-first" + """ {
            let nothing = RecordBatch(origin: .stream(name: "mutant"), bytes: [], records: [])
            let committed = try writer.write(nothing)
            _ = client.delete(batch.acknowledgeAll(after: committed))
            _ = try writer.write(records)
            return
        }
        do {
            let committed = try writer.write(records)""")
patch("BatchWriter+Admission.swift", "            for message in known {",
      "            for message in known where !(" + FAULT % "forget-queue" + ") {")
patch("BatchWriter+Admission.swift", "import Keys\n", "import Foundation\nimport Keys\n")
patch("FileSource.swift", "        if stream.isRegularFile {",
      "        if stream.isRegularFile, !(" + FAULT % "forget-file" + ") {")
PY
swift build --package-path "$copy" --scratch-path "$top/.build-mutants" --product tokenvault 2>&1 | grep -E 'error:|Compiling|Build' | tail -3
export TOKENVAULT_UNDER_TEST=$top/.build-mutants/debug/tokenvault

status=0
# A fault that needs a kill between COMMIT and delete may escape one run on a slow machine: up to three runs to notice it.
try() {  # try FAULT TEST
    for attempt in 1 2 3; do
        if TOKENVAULT_MUTANT=$1 swift test --skip-build --filter "KillTests/$2" >"$copy/log" 2>&1; then
            continue
        elif grep -qE 'rows differ from records|messages lost' "$copy/log"; then
            echo "ok    $1 is caught: $(grep -oE 'rows differ from records|messages lost' "$copy/log" | head -1) (run $attempt)"
        else
            echo "FAIL  $1: the test failed for another reason"; tail -5 "$copy/log"; status=1
        fi
        return
    done
    echo "FAIL  $1 was not noticed"; status=1
}
# Without a fault the copy must pass, or its failures would prove nothing.
TOKENVAULT_MUTANT=none swift test --skip-build --filter KillTests/queue >"$copy/log" 2>&1 || { echo "FAIL  the control does not pass"; exit 1; }
echo "ok    the control passes"
try delete-first queue
try forget-queue queue
try forget-file file
exit $status
