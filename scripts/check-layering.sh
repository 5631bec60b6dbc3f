#!/usr/bin/env bash
# Fails when a wall of the house is broken: each C library has one home, SQL stands in VaultStore only, imports go down one list.
#   scripts/check-layering.sh              check this tree
#   scripts/check-layering.sh --self-test  plant each kind of violation in a copy and see that it is found
set -euo pipefail
cd "$(dirname "$0")/.."

# Module: what it may import of ours. Arrows go down this list only (design, section 11).
arrows='
tokenvault: Ingest Recovery Rotation Erasure Doctor VaultStore Tokenization SQS Keys Postgres VaultCrypto
Ingest: VaultStore Tokenization SQS Keys Postgres JSON VaultCrypto CLibZ
Recovery: VaultStore Tokenization Keys Postgres VaultCrypto
Rotation: VaultStore Tokenization Keys Postgres VaultCrypto
Erasure: VaultStore Postgres VaultCrypto
Doctor: VaultStore SQS Keys Postgres VaultCrypto
VaultStore: Tokenization Keys Postgres VaultCrypto
Tokenization: Keys JSON VaultCrypto
SQS: JSON VaultCrypto CLibCurl
Keys: JSON VaultCrypto
JSON: CSimdjson
Postgres: CLibPQ
VaultCrypto: CLibCrypto CLibSodium
'
ours='tokenvault|Ingest|Recovery|Rotation|Erasure|Doctor|VaultStore|Tokenization|SQS|Keys|JSON|Postgres|VaultCrypto|CLib[A-Za-z]*|CSimdjson|CWipingHeap'

check() {
    local status=0 module allowed found
    while IFS=: read -r module allowed; do
        [ -n "$module" ] || continue
        [ -d "Sources/$module" ] || { echo "error: module $module has no folder"; status=1; continue; }
        found=$(grep -rnE "^ *(@testable )?(package |internal |public |private |fileprivate )?import ($ours)\b" "Sources/$module" \
            --include='*.swift' | grep -vE "import ($(xargs <<<"$allowed" | tr ' ' '|'))\$" || true)
        [ -z "$found" ] || { echo "error: $module imports what it may not:"; echo "$found"; status=1; }
    done <<<"$arrows"
    for folder in Sources/*/; do
        module=$(basename "$folder")
        grep -qE "^$module:" <<<"$arrows" || [[ $module == CLib* || $module == CSimdjson || $module == CWipingHeap ]] ||
            { echo "error: module $module is not in the list of arrows"; status=1; }
    done
    forbid 'Statement\(' 'a Statement' VaultStore Postgres || status=1
    # Doctor prints SQL as remedies; without Statement it can run none.
    forbid '"(SELECT|INSERT INTO|UPDATE|DELETE FROM|COPY|BEGIN|GRANT|SET) ' 'SQL' VaultStore Postgres Doctor || status=1
    forbid '^ *(SELECT|INSERT INTO|UPDATE [a-z]|DELETE FROM|COPY [a-z]) ' 'SQL' VaultStore Postgres || status=1
    forbid 'import Foundation(Networking)|URLSession' 'another HTTP client' none || status=1
    forbid 'fatalError\(|try! |preconditionFailure\(' 'a crash on purpose' none || status=1
    if found=$(grep -rnIE 'pypi\.org|files\.pythonhosted|deb\.debian\.org|security\.debian\.org|registry\.npmjs|index\.docker\.io' \
        --exclude-dir=.build --exclude-dir=.git --exclude=check-layering.sh . ); then
        echo "error: a registry's host is named:"; echo "$found"; status=1
    fi
    return $status
}

forbid() {  # forbid PATTERN NAME MODULE...: outside of these modules
    local pattern=$1 name=$2 found; shift 2
    found=$(grep -rnE --include='*.swift' "$pattern" Sources | grep -vE "$(printf '^Sources/%s/|' "$@" | sed 's/|$//')" || true)
    [ -z "$found" ] || { echo "error: $name where it does not belong:"; echo "$found"; return 1; }
}

self_test() {
    local planted=0
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    mkdir "$copy/scripts"
    cp -r Sources "$copy/"
    cp scripts/check-layering.sh "$copy/scripts/"
    "$copy/scripts/check-layering.sh" >/dev/null || { echo "self-test: the clean copy does not pass"; exit 1; }
    plant() {  # plant FILE LINE
        echo "$2" >"$copy/$1"
        if "$copy/scripts/check-layering.sh" >/dev/null; then echo "self-test: not found: $1: $2"; exit 1; fi
        rm "$copy/$1"
        planted=$((planted + 1))
    }
    plant Sources/Ingest/Planted.swift 'internal import CLibPQ'
    plant Sources/tokenvault/Planted.swift 'import CLibSodium'
    plant Sources/Keys/Planted.swift 'package import Tokenization'
    plant Sources/Postgres/Planted.swift 'import VaultStore'
    plant Sources/Tokenization/Planted.swift 'import Postgres'
    plant Sources/Recovery/Planted.swift 'let s = Statement("x", "SELECT 1")'
    plant Sources/tokenvault/Planted.swift 'let s = "DELETE FROM vault.original"'
    plant Sources/Ingest/Planted.swift '    SELECT token FROM vault.original'
    plant Sources/SQS/Planted.swift 'import FoundationNetworking'
    plant Sources/Keys/Planted.swift 'let k = try! load()'
    mkdir "$copy/Sources/Misc"
    plant Sources/Misc/Planted.swift 'let x = 1'
    echo "self-test: $planted planted violations, all found"
}

if [ "${1:-}" = --self-test ]; then self_test; else check && echo "layering ok"; fi
