#!/usr/bin/env python3
"""An SQS stand-in that lies, breaks and stalls on demand, for tests. Standard library only.

    scripts/sqs_stub.py [PEM]

Prints "ready http://127.0.0.1:PORT" (https with PEM, a file with key and certificate), then obeys JSON lines on standard input, answering each with a JSON line; ends with
standard input. It checks every request's AWS Signature Version 4 by an implementation of its own.

    {"messages": [{"body": "...", "id": "..."}], "faults": [...], "token": "...", "region": "..."}   starts afresh
    {"add": [{"body": "..."}]}     more messages
    {"state": true}                {"deleted": [ids in order], "waiting": n, "in_flight": n, "requests": [...]}

Message: "body"; "id" (made up when left out); "ghosts": how often it comes back after its deletion "succeeded".
Fault: "action" (any when left out), "times" (1; -1 = for ever), "skip" (let that many matching requests pass first) and
one "kind"; the first that matches a request is used:
    status       "status", "code", "format": json | xml | header, "date_offset": seconds added to the Date header
    reset        the connection is reset, nothing is done         lost_reply  it is done, then reset
    close        it is done and answered, then the kept-alive connection is closed without a word
    stall        "seconds" of silence before it is done           drip        one byte every "seconds"
    not_json     200 and a page of HTML          half_json    200 and half of the answer, with a fitting length
    truncated    half of the answer, then the end of the connection
    huge         200 and "bytes" bytes           shape        200 and "answer", any JSON value
    wrong_md5    "entries" (all) of the received bodies are answered with another MD5OfBody
    empty        a receive that finds nothing although there are messages
    failed       "entries" (all) of the batch are answered as failed with "code"; "omit": left out of the answer instead;
                 "unknown": that many successes with ids that nobody sent
"""

import hashlib
import hmac
import http.server
import itertools
import json
import socket
import ssl
import struct
import sys
import threading
import time
import uuid
from email.utils import formatdate

KEY, SECRET = "AKIDSTUB", "stub/secret+key"


class Queue:
    """Messages and faults, under one lock."""

    def __init__(self, scenario: dict):
        self.lock = threading.RLock()
        self.token, self.region = scenario.get("token"), scenario.get("region", "eu-central-1")
        self.faults = scenario.get("faults", [])
        self.messages, self.deleted, self.requests, self.handles = [], [], [], {}
        self.add(scenario.get("messages", []))

    def add(self, messages: list[dict]):
        with self.lock:
            for message in messages:
                self.messages.append({"id": str(uuid.uuid4()), "ghosts": 0, "free_at": 0.0, "receives": 0} | message)

    def fault(self, action: str) -> dict:
        with self.lock:
            for fault in self.faults:
                if fault.get("action", action) != action or fault.get("times", 1) == 0:
                    continue
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                fault["times"] = fault.get("times", 1) - 1
                return fault
        return {}

    def receive(self, request: dict, fault: dict) -> dict:
        deadline = time.monotonic() + request.get("WaitTimeSeconds", 0)
        while True:
            with self.lock:
                now = time.monotonic()
                free = [m for m in self.messages if m["free_at"] <= now]
                if fault.get("kind") == "empty":
                    return {}
                if free:
                    return {"Messages": [self.lend(m, now, request) for m in free[: request["MaxNumberOfMessages"]]]}
            if time.monotonic() >= deadline:
                return {}
            time.sleep(0.02)

    def lend(self, message: dict, now: float, request: dict) -> dict:
        message["free_at"] = now + request.get("VisibilityTimeout", 30)
        message["receives"] += 1
        handle = f"{uuid.uuid4()}+/=\"\\"  # any characters may occur in a handle
        self.handles[handle] = message
        return {
            "MessageId": message["id"],
            "ReceiptHandle": handle,
            "MD5OfBody": hashlib.md5(message["body"].encode()).hexdigest(),
            "Body": message["body"],
            "Attributes": {"ApproximateReceiveCount": str(message["receives"]), "SentTimestamp": "1700000000123"},
        }

    def batch(self, request: dict, fault: dict, apply) -> dict:
        entries, failed, done = request["Entries"], [], []
        assert 1 <= len(entries) <= 10 and len({e["Id"] for e in entries}) == len(entries)
        refused = fault.get("entries", len(entries)) if fault.get("kind") == "failed" else 0
        with self.lock:
            for position, entry in enumerate(entries):
                message = self.handles.get(entry["ReceiptHandle"])
                if position < refused:
                    if not fault.get("omit"):
                        failed.append({"Id": entry["Id"], "Code": fault.get("code", "InternalError"), "SenderFault": False})
                elif message is None:
                    failed.append({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True})
                else:
                    apply(message, entry)
                    done.append({"Id": entry["Id"]})
        done += [{"Id": identity} for identity in ["77", "-1", "x"][: fault.get("unknown", 0)]]
        return {"Successful": done, "Failed": failed}

    def delete(self, message: dict, _entry: dict):
        self.deleted.append(message["id"])
        if message["ghosts"] > 0:
            message["ghosts"] -= 1
            message["free_at"] = 0.0
        else:
            self.messages = [m for m in self.messages if m is not message]

    def set_visibility(self, message: dict, entry: dict):
        message["free_at"] = time.monotonic() + entry["VisibilityTimeout"]

    def counts(self) -> tuple[int, int]:
        now = time.monotonic()
        waiting = sum(m["free_at"] <= now for m in self.messages)
        return waiting, len(self.messages) - waiting

    def answer(self, action: str, request: dict, fault: dict) -> dict:
        match action:
            case "ReceiveMessage":
                return self.receive(request, fault)
            case "DeleteMessageBatch":
                return self.batch(request, fault, self.delete)
            case "ChangeMessageVisibilityBatch":
                return self.batch(request, fault, self.set_visibility)
            case "GetQueueAttributes":
                waiting, lent = self.counts()
                names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
                return {"Attributes": dict(zip(names, (str(waiting), str(lent))))}


def signature_error(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> str | None:
    """Why AWS would refuse the request's signature. Source: IAM User Guide, "Create a signed AWS API request"."""
    headers = {name.lower(): value for name, value in handler.headers.items()}
    if len(headers) != len(handler.headers.items()):
        return "a header is sent twice"
    algorithm, _, rest = headers.get("authorization", "").partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    if algorithm != "AWS4-HMAC-SHA256" or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        return "no authorization header"
    key, date, region, service, end = (fields["Credential"].split("/") + [""] * 5)[:5]
    if (key, region, service, end) != (KEY, queue.region, "sqs", "aws4_request"):
        return "key id or scope is wrong"
    signed = fields["SignedHeaders"].split(";")
    must = {"host"} | {name for name in headers if name.startswith("x-amz-")}
    if signed != sorted(signed) or not must <= set(signed) or not set(signed) <= headers.keys():
        return "not all headers are signed"
    if headers.get("x-amz-security-token") != queue.token:
        return "the session token is wrong"
    stamp = headers.get("x-amz-date", "")
    sent = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
    if stamp[:8] != date or abs(sent - time.time()) > 300:
        return "the date is wrong"
    lines = [handler.command, handler.path, ""]
    lines += [f"{name}:{' '.join(headers[name].split())}" for name in signed]
    lines += ["", fields["SignedHeaders"], hashlib.sha256(body).hexdigest()]
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    secret = ("AWS4" + SECRET).encode()
    for part in (date, region, service, "aws4_request"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = "\n".join([algorithm, stamp, f"{date}/{region}/{service}/aws4_request", request])
    right = hmac.new(secret, text.encode(), "sha256").hexdigest()
    return None if hmac.compare_digest(right, fields["Signature"]) else "the signature is wrong"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections = itertools.count()

    def setup(self):
        super().setup()
        self.connection_number = next(self.connections)

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers.get("X-Amz-Target", "").removeprefix("AmazonSQS.")
        wrong = signature_error(self, body)
        fault = queue.fault(action)
        request = json.loads(body)
        with queue.lock:
            queue.requests.append({
                "action": action, "connection": self.connection_number, "signature": wrong, "at": time.monotonic(),
                "fault": fault.get("kind"), "type": self.headers["Content-Type"], "agent": self.headers["User-Agent"],
                "asked": {k: v for k, v in request.items() if k != "Entries"}, "entries": len(request.get("Entries", [])),
            })
        kind = fault.get("kind")
        if kind == "reset":
            return self.reset()
        if kind == "status":
            return self.refuse(fault)
        if wrong:
            return self.reply(403, {"__type": "com.amazon.coral.service#SignatureDoesNotMatch", "message": wrong})
        if kind == "stall":
            time.sleep(fault["seconds"])
        answer = queue.answer(action, request, fault)
        if kind == "lost_reply":
            return self.reset()
        if kind == "wrong_md5":
            for message in answer.get("Messages", [])[: fault.get("entries", 10)]:
                message["MD5OfBody"] = hashlib.md5(b"another").hexdigest()
        if kind == "shape":
            answer = fault["answer"]
        self.spoil(json.dumps(answer).encode(), fault)

    def spoil(self, data: bytes, fault: dict):
        kind = fault.get("kind")
        if kind == "not_json":
            return self.write(200, [b"<html>The web filter asks you to log in.</html>"])
        if kind == "half_json":
            return self.write(200, [data[: len(data) // 2]])
        if kind == "truncated":
            self.write(200, [data[: len(data) // 2]], length=len(data))
            return self.reset(gently=True)
        if kind == "huge":
            return self.write(200, itertools.repeat(b" " * 65536, fault["bytes"] // 65536), length=fault["bytes"])
        if kind == "drip":
            return self.write(200, (data[i : i + 1] for i in range(len(data))), len(data), fault["seconds"])
        self.write(200, [data])
        if kind == "close":
            self.reset(gently=True)

    def refuse(self, fault: dict):
        status, code = fault["status"], fault.get("code", "InternalFailure")
        date = formatdate(time.time() + fault.get("date_offset", 0), usegmt=True)
        match fault.get("format", "json"):
            case "json":
                self.reply(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "refused"}, date=date)
            case "xml":
                xml = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>"
                self.write(status, [xml.encode()], date=date)
            case "header":
                self.write(status, [b"{}"], date=date, extra={"x-amzn-query-error": f"AWS.SimpleQueueService.{code};Sender"})

    def reply(self, status: int, answer: dict, **more):
        self.write(status, [json.dumps(answer).encode()], **more)

    def write(self, status: int, chunks, length=None, pause=0.0, date=None, extra=None):
        length = sum(map(len, chunks)) if length is None else length
        head = {"Content-Length": length, "Content-Type": "application/x-amz-json-1.0", "Date": date or formatdate(usegmt=True)}
        lines = [f"HTTP/1.1 {status} x"] + [f"{name}: {value}" for name, value in (head | (extra or {})).items()]
        pending = ("\r\n".join(lines) + "\r\n\r\n").encode()
        try:
            for chunk in chunks:
                self.connection.sendall(pending + chunk)
                pending = b""
                time.sleep(pause)
            self.connection.sendall(pending)
        except OSError:  # the client had enough
            self.close_connection = True

    def reset(self, gently=False):
        if not gently:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close() if not gently else self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def shutdown_request(self, request):
        request.close()

    def handle_error(self, *_):
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(*_)


queue = Queue({})
server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"ready {'https' if len(sys.argv) > 1 else 'http'}://127.0.0.1:{server.server_port}", flush=True)
for line in sys.stdin:
    command = json.loads(line)
    if "state" in command:
        with queue.lock:
            waiting, lent = queue.counts()
            answer = {"deleted": queue.deleted, "waiting": waiting, "in_flight": lent, "requests": queue.requests}
        print(json.dumps(answer), flush=True)
    else:
        if "add" in command:
            queue.add(command["add"])
        else:
            queue = Queue(command)
        print("{}", flush=True)
