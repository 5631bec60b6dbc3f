#!/usr/bin/env bash
# An SQS server for the demo and the tests: MiniStack on 127.0.0.1 and a free port, with signatures checked.
#
#   scripts/sqs-server.sh FOLDER             (FOLDER must not exist)
#
# Prints "ready" once the server answers and FOLDER/env (mode 0600) says how to reach it: AWS_ENDPOINT_URL, AWS_REGION,
# AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of an IAM user who may do what ingest must, and no more. Making queues and
# sending is for the key "test" with the secret "test": MiniStack's root, whose signature it does not check.
# At the end of standard input it stops the server and removes FOLDER, so a caller that dies leaves nothing behind.
#
# The server comes from PyPI, pinned in scripts/requirements-test.txt, into a virtual environment in .build (another
# place: TOKENVAULT_TEST_VENV) that is made on first use.
set -euo pipefail
folder=${1:?usage: sqs-server.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
venv=$("$here/test-venv.sh")

mkdir -m 700 "$folder"
folder=$(cd "$folder" && pwd)
server=
cleanup() {
    trap '' INT TERM HUP
    [ -z "$server" ] || { kill -9 "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 143' INT TERM HUP

for _ in 1 2 3; do  # another process may take the port first
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    (cd "$folder" && exec env -i PATH="$PATH" HOME="$folder" TMPDIR="$folder" LANG=C.UTF-8 BIND_HOST=127.0.0.1 \
        GATEWAY_PORT="$port" SERVICES=sqs,iam,sts AUTH=true "$venv/bin/ministack") </dev/null >"$folder/server.log" 2>&1 &
    server=$!
    if "$venv/bin/python" "$here/sqs_server_user.py" "http://127.0.0.1:$port" "$server" "$folder/env"; then
        echo ready
        cat >/dev/null  # until standard input ends
        exit 0
    fi
    kill -9 "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
done
tail -n 20 "$folder/server.log" >&2
echo "error: MiniStack did not start; its last lines are above" >&2
exit 69
