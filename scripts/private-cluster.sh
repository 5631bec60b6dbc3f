#!/usr/bin/env bash
# A private PostgreSQL cluster for the demo, the tests and the benchmarks: real server, normal durability (fsync on),
# reachable only through a Unix socket in its own folder.
#
#   scripts/private-cluster.sh FOLDER        (FOLDER must not exist; keep it short: a socket path holds 107 bytes)
#
# Prints "ready" once the server answers. Then obeys lines on standard input, answering each with "done" or "failed":
# stop-fast, stop-immediate, start. At the end of standard input it stops the server and removes FOLDER, so a caller that
# dies leaves nothing behind. Connect with host=FOLDER/socket; the superuser is postgres; vault_admin (NOSUPERUSER
# CREATEROLE) owns the database tokenvault.
set -euo pipefail
folder=${1:?usage: private-cluster.sh FOLDER}
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin -type d 2>/dev/null | sort -V | tail -1)
[ -x "$bin/initdb" ] || { echo "error: PostgreSQL server programs not found; run: apt-get install postgresql" >&2; exit 69; }

mkdir -m 700 "$folder"
folder=$(cd "$folder" && pwd)
as_owner=()
if [ "$(id -u)" = 0 ]; then  # PostgreSQL refuses to run as root
    chown postgres: "$folder"
    as_owner=(setpriv --reuid postgres --regid postgres --clear-groups)
fi

server() {  # server start | server stop MODE
    case $1 in
        start) "${as_owner[@]}" "$bin/pg_ctl" start -w -s -D "$folder/data" -l "$folder/server.log" >&2 </dev/null ;;
        stop) "${as_owner[@]}" "$bin/pg_ctl" stop -s -D "$folder/data" -m "$2" >&2 </dev/null ;;
    esac
}

cleanup() {
    trap '' INT TERM HUP
    server stop immediate 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 143' INT TERM HUP

cd /
"${as_owner[@]}" "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
"${as_owner[@]}" mkdir -m 700 "$folder/socket"
"${as_owner[@]}" tee -a "$folder/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$folder/socket'
max_connections = 60
max_prepared_transactions = 5
shared_buffers = ${PRIVATE_CLUSTER_SHARED_BUFFERS:-256MB}
max_wal_size = 4GB
${PRIVATE_CLUSTER_SETTINGS:-}
CONF
server start
"$bin/psql" -q -v ON_ERROR_STOP=1 -h "$folder/socket" -U postgres -d postgres >&2 <<SQL
CREATE ROLE vault_admin LOGIN NOSUPERUSER CREATEROLE;
CREATE DATABASE tokenvault OWNER vault_admin;
SQL
echo ready

while read -r command; do
    case $command in
        stop-fast) server stop fast && echo done || echo failed ;;
        stop-immediate) server stop immediate && echo done || echo failed ;;
        start) server start && echo done || echo failed ;;
        *) echo failed ;;
    esac
done
