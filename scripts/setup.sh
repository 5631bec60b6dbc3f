#!/usr/bin/env bash
# Installs what is missing for building, the demo and the tests (Debian 12, Ubuntu 24.04). Swift itself must be there.
set -euo pipefail
packages=(libpq-dev libcurl4-openssl-dev libssl-dev libsodium-dev libsimdjson-dev zlib1g-dev pkg-config
    postgresql postgresql-client python3 python3-venv make git curl openssl gzip)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}" >&2
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi
command -v swift >/dev/null || { echo "error: swift is not on the PATH; install Swift 6.3 and run again" >&2; exit 69; }

# Python side: the second implementation and the SQS-compatible servers for tests.
if [ "${1:-}" = --python ]; then "$(dirname "$0")/test-venv.sh" >/dev/null; fi
