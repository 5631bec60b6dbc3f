#!/usr/bin/env bash
# Each Tests/Misuse/*.swift holds one mistake; its first line says which error the compiler must give.
# Needs `swift build` first. Uses -emit-sil: -typecheck alone misses ownership errors.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(swift build --show-bin-path)
includes=()
for library in Sources/CLib*; do includes+=(-Xcc "-fmodule-map-file=$library/module.modulemap"); done
includes+=(-Xcc "-fmodule-map-file=$bin/CSimdjson.build/module.modulemap" -Xcc -ISources/CSimdjson/include)
read -ra flags <<<"$(pkg-config --cflags libpq)"
for flag in "${flags[@]}"; do includes+=(-Xcc "$flag"); done
package=$(basename "$PWD" | tr '[:upper:]' '[:lower:]' | tr -c '[:alnum:]\n' _)  # as SwiftPM spells a folder's name
status=0 count=0
compile() {
    swiftc -emit-sil -o /dev/null -parse-as-library -swift-version 6 -package-name "$package" \
        -enable-upcoming-feature MemberImportVisibility -I "$bin/Modules" "${includes[@]}" "$1" 2>&1
}
# A checker must be able to pass and to fail: a file without a mistake has to compile here.
control=$(mktemp --suffix .swift)
trap 'rm -f "$control"' EXIT
cat >"$control" <<'SWIFT'
import Ingest
import Keys
import Postgres
import SQS
import Tokenization
import VaultCrypto
func f(_ batch: consuming DeliveryBatch, _ proof: borrowing Committed) -> [Acknowledgement] { batch.acknowledgeAll(after: proof) }
SWIFT
if ! output=$(compile "$control"); then echo "FAIL  the control does not compile: $output"; exit 1; fi
for file in Tests/Misuse/*.swift; do
    expected=$(sed -n '1s|^// expect: ||p' "$file")
    count=$((count + 1))
    if output=$(compile "$file"); then
        echo "FAIL  $file compiles"; status=1
    elif [ -n "$expected" ] && grep -qF "error: $expected" <<<"$output"; then
        echo "ok    $file"
    else
        echo "FAIL  $file: expected '$expected', got: $(grep -m1 error: <<<"$output")"; status=1
    fi
done
echo "$count mistakes tried"
exit $status
