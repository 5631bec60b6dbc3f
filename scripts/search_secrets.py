#!/usr/bin/env python3
"""Looks for a vault's keys, and for given values, where they might be. For the tests; needs root.

    search_secrets.py process PID FOLDER CONNINFO   in the memory of a stopped process
    search_secrets.py files FOLDER CONNINFO PLACE…  in files: as bytes, in hexadecimal and in base64

Standard input: values, one a line. Prints one JSON object a line for each thing found: {"name", "flags", "where"}. FLAGS
are those of /proc/PID/smaps: memory that is locked (`lo`) and kept out of core files (`dd`) is where a key belongs. Keys
are computed by the second implementation (tokenvault_formats.py), not by the program under test.
"""
import base64
import json
import pathlib
import re
import sys

import tokenvault_formats as formats


def secrets(folder: str, conninfo: str) -> dict[str, bytes]:
    import psycopg
    found = {}
    passphrase = pathlib.Path(folder, "passphrase").read_bytes().removesuffix(b"\n")
    ingest = formats.load_keyring(f"{folder}/ingest.keyring", "tokenvault-ingest-keyring")
    recovery = formats.load_keyring(f"{folder}/recovery.keyring", "tokenvault-recovery-keyring")
    found["passphrase"] = passphrase
    for entry in ingest["token_keys"]:
        key, version = formats.from_base64(entry["key"]), entry["version"]
        found[f"token-key-v{version}"] = key
        for domain in ("ip", "device_id", "ip_net"):
            info = formats.fields("tokenvault/token-subkey/1", formats.u32(version), domain)
            found[f"subkey-{domain}-v{version}"] = formats.hkdf(key, info)
    found["signing-seed"] = formats.from_base64(ingest["signing_key"]["seed"])
    private = formats.unlock(recovery, passphrase)
    for name, key in private.items():
        found[f"recovery-key-{name.hex()[:8]}"] = key
    signers = {bytes.fromhex(key["id"]): formats.from_base64(key["public_key"]) for key in recovery["signing_keys"]}
    columns = ("id", "domain", "signing_key", "created_at", "commitment", "signature", "recovery_key", "sealed")
    with psycopg.connect(conninfo) as database:
        for row in database.execute(
                "SELECT key.id, domain, signing_key, extract(epoch FROM created_at)::bigint, commitment, signature, "
                "recovery_key, sealed FROM vault.data_key AS key JOIN vault.data_key_seal ON data_key = key.id"):
            record = {name: getattr(value, "bytes", value) for name, value in zip(columns, row)}
            found[f"data-key-{record['domain']}-{record['id'].hex()[:8]}"] = formats.open_data_key(record, signers, private)
    for number, value in enumerate(sys.stdin.read().split("\n")):
        if value:
            found[f"value-{number}"] = value.encode()
    return found


def regions(pid: int):
    """(start, end, name, flags) of memory that is not a file's."""
    start = None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ (\d+)\s*(.*)", line):
            start, end, name = int(match[1], 16), int(match[2], 16), match[5]
            wanted = match[3][0] == "r" and not name.startswith("[v") and (match[4] == "0" or "w" in match[3])
        elif line.startswith("Rss:"):
            wanted = wanted and line.split()[1] != "0"
        elif line.startswith("VmFlags:") and wanted:
            yield start, end, name, line.split()[1:]


def process(pid: int, wanted: dict[str, bytes]) -> None:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, where, flags in regions(pid):
            memory.seek(start)
            try:
                content = memory.read(end - start)
            except OSError:
                continue  # a guard page
            for name, secret in wanted.items():
                if secret in content:
                    print(json.dumps({"name": name, "flags": flags, "where": where}))


def files(places: list[str], wanted: dict[str, bytes]) -> None:
    spellings = [
        (name, spelling) for name, secret in wanted.items()
        for spelling in {secret, secret.hex().encode(), base64.b64encode(secret)[:len(secret) // 3 * 4]}]
    for path in [path for place in places for path in [pathlib.Path(place), *pathlib.Path(place).rglob("*")]]:
        if path.is_file():
            content = path.read_bytes()
            for name, spelling in spellings:
                if spelling in content:
                    print(json.dumps({"name": name, "flags": [], "where": str(path)}))


if sys.argv[1] == "process":
    process(int(sys.argv[2]), secrets(sys.argv[3], sys.argv[4]))
else:
    files(sys.argv[4:], secrets(sys.argv[2], sys.argv[3]))
