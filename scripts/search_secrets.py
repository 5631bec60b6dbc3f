#!/usr/bin/env python3
"""Looks for a vault's keys, and for given values, where they might be. For the tests.

    search_secrets.py watch FOLDER CONNINFO VALUES REPORT PROGRAM ARGUMENT…
        in the memory of a program that it runs: wherever that waits for the advisory lock 7, and when it exits. VALUES
        and REPORT are files; the exit code is the program's.
    search_secrets.py files FOLDER CONNINFO PLACE…
        in files: as bytes, in hexadecimal and in base64. Values come from standard input.
    search_secrets.py attach PID
        nowhere: tries only to attach, as a debugger does

Only root can look into a process that is not dumpable. `watch` says "refused" at each stop where the kernel refuses;
`attach` exits with 77.

Values stand one a line. Reports one JSON object a line for each thing found: {"name", "flags", "where",
"count"}; `watch` puts {"stop": STATEMENT} before what it finds there, and {"stop": "exit"} at the end. FLAGS are those
of /proc/PID/smaps: memory that is locked (`lo`) and kept out of core files (`dd`) is where a key belongs. Keys are
computed by the second implementation (tokenvault_formats.py), not by the program under test.
"""
import base64
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time


unlocked = {}


def unlock(keyring: bytes, open_it):
    """Unlocking a keyring is slow on purpose: once a keyring is enough."""
    if keyring not in unlocked:
        unlocked[keyring] = open_it()
    return unlocked[keyring]


def secrets(folder: str, database, values: str) -> dict[str, bytes]:
    import tokenvault_formats as formats
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
    private = unlock(pathlib.Path(folder, "recovery.keyring").read_bytes(), lambda: formats.unlock(recovery, passphrase))
    for name, key in private.items():
        found[f"recovery-key-{name.hex()[:8]}"] = key
    signers = {bytes.fromhex(key["id"]): formats.from_base64(key["public_key"]) for key in recovery["signing_keys"]}
    columns = ("id", "domain", "signing_key", "created_at", "commitment", "signature", "recovery_key", "sealed")
    for row in database.execute(
            "SELECT key.id, domain, signing_key, extract(epoch FROM created_at)::bigint, commitment, signature, "
            "recovery_key, sealed FROM vault.data_key AS key JOIN vault.data_key_seal ON data_key = key.id"):
        record = {name: getattr(value, "bytes", value) for name, value in zip(columns, row)}
        found[f"data-key-{record['domain']}-{record['id'].hex()[:8]}"] = formats.open_data_key(record, signers, private)
    for number, value in enumerate(values.split("\n")):
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


def process(pid: int, wanted: dict[str, bytes], report) -> None:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, where, flags in regions(pid):
            memory.seek(start)
            try:
                content = memory.read(end - start)
            except OSError:
                continue  # a guard page
            for name, secret in wanted.items():
                if count := content.count(secret):
                    print(json.dumps({"name": name, "flags": flags, "where": where, "count": count}), file=report)


def files(places: list[str], wanted: dict[str, bytes]) -> None:
    spellings = [
        (name, spelling) for name, secret in wanted.items()
        for spelling in {secret, secret.hex().encode(), base64.b64encode(secret)[:len(secret) // 3 * 4]}]
    for path in [path for place in places for path in [pathlib.Path(place), *pathlib.Path(place).rglob("*")]]:
        if path.is_file():
            content = path.read_bytes()
            for name, spelling in spellings:
                if spelling in content:
                    print(json.dumps({"name": name, "flags": [], "where": str(path), "count": content.count(spelling)}))


def ptrace(request: int, pid: int, data: int = 0) -> None:
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes, call.restype = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_long
    if call(request, pid, None, data) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


PTRACE_CONT, PTRACE_SEIZE, PTRACE_LISTEN = 7, 0x4206, 0x4208
PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT, PTRACE_EVENT_STOP = 0x40, 6, 128
WALL = 0x40000000


class Traced:
    """A process traced by root: it stops when it exits, with all its memory."""

    def __init__(self, pid: int) -> None:
        self.pid, self.at_exit = pid, False
        ptrace(PTRACE_SEIZE, pid, PTRACE_O_TRACEEXIT)

    def serve(self, block: bool = False, until_stopped: bool = False) -> None:
        """Lets it go on after whatever stopped it; returns when there is nothing to do, or it has what is waited for."""
        while not self.at_exit:
            found, status = os.waitpid(self.pid, WALL | (0 if block else os.WNOHANG))
            if found == 0:
                return
            if not os.WIFSTOPPED(status):
                sys.exit("it ended unseen")
            event, number = status >> 16, os.WSTOPSIG(status)
            if event == PTRACE_EVENT_EXIT:
                self.at_exit = True
            elif event == PTRACE_EVENT_STOP and number == signal.SIGSTOP:
                if until_stopped:
                    return
                ptrace(PTRACE_LISTEN, self.pid)
            else:
                ptrace(PTRACE_CONT, self.pid, 0 if event else number)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self.serve(block=True, until_stopped=True)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self.release()

    def release(self) -> None: ptrace(PTRACE_CONT, self.pid)


class Untraced:
    """A process that may not be traced: all that is seen of it is that it lives."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def at_exit(self) -> bool:
        try:
            return pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
        except OSError:
            return True

    def serve(self) -> None: pass
    def release(self) -> None: pass
    def freeze(self) -> None: os.kill(self.pid, signal.SIGSTOP)
    def thaw(self) -> None: os.kill(self.pid, signal.SIGCONT)


def watch(folder: str, conninfo: str, values: str, report, command: list[str]) -> int:
    import psycopg
    with psycopg.connect(conninfo, autocommit=True) as database:
        wanted = lambda: secrets(folder, database, values)
        wanted()  # unlocks the keyring before the program runs
        database.execute("SELECT pg_advisory_lock(7)")
        child = subprocess.Popen(command)
        try:
            program = Traced(child.pid)
        except PermissionError:
            program = Untraced(child.pid)
        while not program.at_exit:
            waiting = database.execute(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
            ).fetchone()
            if waiting:
                program.freeze()  # what is looked at must not move
                look(child.pid, waiting[0], wanted, report)
                program.thaw()
                database.execute("SELECT pg_advisory_unlock(7)")
                database.execute("SELECT pg_advisory_lock(7)")  # when the one that waited has passed
            time.sleep(0.01)
            program.serve()
        look(child.pid, "exit", wanted, report)
        program.release()
        return child.wait()


def look(pid: int, stop: str, wanted, report) -> None:
    print(json.dumps({"stop": stop}), file=report)
    try:
        process(pid, wanted(), report)
    except (PermissionError, FileNotFoundError) as error:
        print(json.dumps({"refused": str(error)}), file=report)


match sys.argv[1]:
    case "watch":
        folder, conninfo, values, report = sys.argv[2:6]
        with open(report, "w") as report:
            sys.exit(watch(folder, conninfo, pathlib.Path(values).read_text(), report, sys.argv[6:]))
    case "files":
        import psycopg
        with psycopg.connect(sys.argv[3]) as database:
            wanted = secrets(sys.argv[2], database, sys.stdin.read())
        files(sys.argv[4:], wanted)
    case "attach":
        try:
            ptrace(PTRACE_SEIZE, int(sys.argv[2]))
        except PermissionError as error:
            print(f"refused: {error}", file=sys.stderr)
            sys.exit(77)
