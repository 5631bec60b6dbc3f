#!/usr/bin/env bash
# A second opinion on signatures: moto on 127.0.0.1, which verifies them with botocore, with one queue that holds one
# message. Prints "ready ENDPOINT QUEUE-URL ACCESS-KEY SECRET"; ends with standard input.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$("$here/test-venv.sh")
exec env AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null \
    "$venv/bin/python" "$here/moto_server.py"
