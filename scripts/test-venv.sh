#!/usr/bin/env bash
# Makes, once, the virtual environment with the test servers of requirements-test.txt, and prints its folder.
# A change of that file makes a new one. Several callers at once are safe.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${TOKENVAULT_TEST_VENV:-$here/../.build/test-venv}
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
wanted=$(sha256sum <"$here/requirements-test.txt")
if [ "$(cat "$venv/requirements.sha256" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements-test.txt" >&2 ||
        { echo "error: cannot install the test servers; check pip's package index" >&2; exit 69; }
    echo "$wanted" >"$venv/requirements.sha256"
fi
cd "$venv" && pwd
