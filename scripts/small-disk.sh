#!/usr/bin/env bash
# A small file system for tests of full disks: a tmpfs.
#
#   scripts/small-disk.sh FOLDER SIZE        (FOLDER must not exist; SIZE as tmpfs takes it, e.g. 4m)
#
# Prints "ready" once FOLDER/space stands, which the owner of private-cluster.sh's servers may write to. Then obeys lines on
# standard input, answering each with "done": fill (until no byte is left), free, leave KIB (shrink it to what is used and so many
# KiB), resize SIZE, read-only, read-write. Ends with standard input, and leaves nothing behind. Needs root to mount, as scripts/setup.sh does to install: without it, sudo is asked.
set -euo pipefail
folder=${1:?usage: small-disk.sh FOLDER SIZE} size=${2:?usage: small-disk.sh FOLDER SIZE}
as_root=() owner=$(id -un)
if [ "$(id -u)" = 0 ]; then owner=postgres; else as_root=(sudo -n); fi

mkdir -m 755 "$folder"
folder=$(cd "$folder" && pwd)
cleanup() {
    trap '' INT TERM HUP
    "${as_root[@]}" umount -l "$folder" 2>/dev/null || true
    rmdir "$folder" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 143' INT TERM HUP

"${as_root[@]}" mount -t tmpfs -o "size=$size,mode=755" tokenvault-test "$folder"
"${as_root[@]}" install -d -m 700 -o "$owner" "$folder/space"
echo ready
remount() { "${as_root[@]}" mount -o "remount,$1" "$folder"; }
while read -r command amount; do
    case $command in
        fill) "${as_root[@]}" dd if=/dev/zero of="$folder/filler" bs=4k 2>/dev/null || true ;;
        free) "${as_root[@]}" rm -f "$folder/filler" ;;
        leave) remount "size=$(($(df --output=used -k "$folder" | tail -1) + amount))k" ;;
        resize) remount "size=$amount" ;;
        read-only) remount ro ;;
        read-write) remount rw ;;
    esac
    echo done
done
