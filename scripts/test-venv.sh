#!/usr/bin/env bash
# Makes, once, the virtual environment with what requirements*.txt name (test servers, the second implementation's
# libraries), and prints its folder. A change of those files makes a new one. Several callers at once are safe.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${TOKENVAULT_TEST_VENV:-$here/../.build/test-venv}
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
wanted=$(cat "$here"/requirements*.txt | sha256sum)
if [ "$(cat "$venv/requirements.sha256" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    for file in "$here"/requirements*.txt; do
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$file" >&2 ||
            { echo "error: cannot install what $file names; check pip's package index" >&2; exit 69; }
    done
    echo "$wanted" >"$venv/requirements.sha256"
fi
cd "$venv" && pwd
