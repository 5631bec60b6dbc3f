#!/usr/bin/env python3
"""A PostgreSQL proxy that breaks on demand, for tests. Standard library only.

    scripts/socket_proxy.py SERVER_SOCKET FOLDER

Listens on FOLDER/.s.PGSQL.5432 (so: host=FOLDER), prints "ready", then obeys lines on standard input, answering each with
"done", and ends with standard input, removing FOLDER:

    cut-commit     once: the next COMMIT reaches the server, its answer is swallowed, and the connection is closed
    cut-call NAME  once: the same for the next statement whose text holds NAME
    hang           from now on nothing is passed on in either direction
    pass           everything is passed on again
"""
import atexit
import os
import shutil
import signal
import socket
import sys
import threading
import time

target, folder = sys.argv[1:]
os.makedirs(folder, mode=0o755, exist_ok=True)
atexit.register(shutil.rmtree, folder, ignore_errors=True)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit(143))
listener = socket.socket(socket.AF_UNIX)
listener.bind(folder + "/.s.PGSQL.5432")
listener.listen(64)
state = {"cut": None, "hang": False}


def pump(source, sink, session, from_client):
    try:
        while data := source.recv(65536):
            while state["hang"]:
                time.sleep(0.05)
            if from_client and state["cut"] and state["cut"] in data:
                state["cut"] = None
                session["swallow"] = True
            if not from_client and session.get("swallow"):
                time.sleep(0.1)  # the server has answered, so what it was asked is done
                break
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve():
    while True:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(target)
        except OSError:
            client.close()
            continue
        session = {}
        for arguments in ((client, server, session, True), (server, client, session, False)):
            threading.Thread(target=pump, args=arguments, daemon=True).start()


threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    command, _, name = line.strip().partition(" ")
    if command == "cut-commit":
        state["cut"] = b"COMMIT\0"
    elif command == "cut-call":
        state["cut"] = name.encode()
    elif command in ("hang", "pass"):
        state["hang"] = command == "hang"
    print("done", flush=True)
