#!/usr/bin/env python3
"""A second implementation of docs/FORMATS.md. It shares no code with Sources/, only that document.

  tokenvault_formats.py recover --keyring FILE --passphrase-file FILE --database DSN --reason R --ticket T TOKEN...
      recovers tokens from a real vault: request and commit, release, verify, open; prints TOKEN<TAB>VALUE
  tokenvault_formats.py verify-audit --database DSN
      recomputes the audit log's chain; with --checkpoint FILE --checkpoint-key KEY holds it to a checkpoint
  tokenvault_formats.py vectors [--check]
      writes the vectors that the Swift tests read, or checks that they are what it would write

Runs in the environment that scripts/test-venv.sh makes (PyNaCl, psycopg).
"""
import argparse
import base64
import hashlib
import hmac
import ipaddress
import json
import pathlib
import re
import struct
import sys
import unicodedata
import uuid

import nacl.bindings
import nacl.exceptions
import nacl.public
import nacl.pwhash
import nacl.signing

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPACE = b"\t\n\x0b\x0c\r "


class Refused(Exception):
    """Something does not verify, or a value has no canonical spelling."""


# Section 1: notation

def fields(*values) -> bytes:
    encoded = b""
    for value in values:
        if value is None:
            encoded += b"\xff\xff\xff\xff"
            continue
        data = value.encode() if isinstance(value, str) else value
        encoded += struct.pack(">I", len(data)) + data
    return encoded


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def i64(number: int) -> bytes:
    return struct.pack(">q", number)


def hkdf(key: bytes, info: bytes) -> bytes:
    pseudorandom = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()


def from_base64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise Refused("base64 is not canonical")
    return data


# Section 2: normalised values

def normalise(kind: str, raw: bytes) -> bytes:
    if len(raw) > 1024 or b"\0" in raw:
        raise Refused("too long or NUL")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None
    value = raw.strip(SPACE)
    if not value:
        raise Refused("empty")
    return {"ip": normalise_ip, "opaque": bytes, "lowercase": normalise_lowercase,
            "email": normalise_email, "mac": normalise_mac}[kind](value)


def normalise_ip(value: bytes) -> bytes:
    text = value.decode()
    if not re.fullmatch(r"[0-9a-fA-F:.]+", text):
        raise Refused("not an address")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Refused("not an address") from None
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address).encode() if address.version == 4 else rfc5952(address.packed).encode()


def rfc5952(packed: bytes) -> str:
    groups = ["%x" % group for group in struct.unpack(">8H", packed)]
    best_start, best_length, start = -1, 1, None  # a single zero group is not shortened
    for index in range(9):
        if index < 8 and groups[index] == "0":
            start = index if start is None else start
        elif start is not None:
            if index - start > best_length:
                best_start, best_length = start, index - start
            start = None
    if best_start < 0:
        return ":".join(groups)
    return ":".join(groups[:best_start]) + "::" + ":".join(groups[best_start + best_length:])


def network(normalised: bytes) -> bytes:
    address = ipaddress.ip_address(normalised.decode())
    if address.version == 4:
        return (normalised.rsplit(b".", 1)[0] + b".0/24")
    return (rfc5952(address.packed[:6] + bytes(10)) + "/48").encode()


def normalise_lowercase(value: bytes) -> bytes:
    composed = unicodedata.normalize("NFC", value.decode())
    # Scalar by scalar, without context: str.lower() would make a final sigma.
    return unicodedata.normalize("NFC", "".join(scalar.lower() for scalar in composed)).encode()


def normalise_email(value: bytes) -> bytes:
    lowered = normalise_lowercase(value)
    local, _, domain = lowered.partition(b"@")
    if lowered.count(b"@") != 1 or not local or not domain or any(b <= 0x20 or b == 0x7F for b in lowered):
        raise Refused("not an e-mail address")
    return lowered


def normalise_mac(value: bytes) -> bytes:
    text = value.decode(errors="replace")
    forms = (r"[0-9a-fA-F]{12}", r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", r"[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}",
             r"[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2}")
    if not any(re.fullmatch(form, text) for form in forms):
        raise Refused("not a MAC address")
    digits = re.sub(r"[:.-]", "", text).lower()
    return ":".join(digits[i:i + 2] for i in range(0, 12, 2)).encode()


# Section 3: tokens

def token_bytes(token_key: bytes, version: int, domain: str, normalised: bytes) -> bytes:
    subkey = hkdf(token_key, fields("tokenvault/token-subkey/1", u32(version), domain))
    return hmac.new(subkey, normalised, hashlib.sha256).digest()[:16]


def token_text(domain: str, version: int, bits: bytes) -> str:
    return f"{domain}_v{version}_{bits.hex()}"


def parse_token(text: str) -> tuple[str, int, bytes]:
    match = re.fullmatch(r"([a-z][a-z0-9_]{0,30})_v([1-9][0-9]*)_([0-9a-f]{32})", text)
    if not match:
        raise Refused("not a token")
    return match[1], int(match[2]), bytes.fromhex(match[3])


# Section 4: key ids

def token_key_id(token_key: bytes, version: int) -> bytes:
    return hkdf(token_key, fields("tokenvault/token-key-fingerprint/1", u32(version)))[:16]


def recovery_key_id(public: bytes) -> bytes:
    return hashlib.sha256(fields("tokenvault/recovery-key-id/1", public)).digest()[:16]


def signing_key_id(public: bytes) -> bytes:
    return hashlib.sha256(fields("tokenvault/signing-key-id/1", public)).digest()[:16]


# Section 5: data keys

def commitment(data_key: bytes) -> bytes:
    return hashlib.sha256(b"tokenvault/data-key-commitment/1" + data_key).digest()


def data_key_message(key_id: bytes, domain: str, created_at: int, committed: bytes) -> bytes:
    return fields("tokenvault/data-key/1", key_id, domain, i64(created_at), committed)


def open_data_key(record: dict, signers: dict[bytes, bytes], private_keys: dict[bytes, bytes]) -> bytes:
    """Signature first, then seal, then commitment."""
    public = signers.get(record["signing_key"])
    if public is None:
        raise Refused("data key signed by an unknown key")
    message = data_key_message(record["id"], record["domain"], record["created_at"], record["commitment"])
    try:
        nacl.signing.VerifyKey(public).verify(message, record["signature"])
    except nacl.exceptions.BadSignatureError:
        raise Refused("data key's signature is wrong") from None
    private = private_keys[record["recovery_key"]]
    sealed = record["sealed"]
    if len(sealed) != 81 or sealed[0] != 1:
        raise Refused("sealed data key of an unknown format")
    try:
        key = nacl.public.SealedBox(nacl.public.PrivateKey(private)).decrypt(sealed[1:])
    except nacl.exceptions.CryptoError:
        raise Refused("sealed data key does not open") from None
    if not hmac.compare_digest(commitment(key), record["commitment"]):
        raise Refused("data key is not the one that was signed")
    return key


# Section 6: sealed values

def seal(plaintext: bytes, context: bytes, key: bytes, nonce: bytes) -> bytes:
    padded = plaintext + b"\x80"
    padded += bytes(-len(padded) % 32)
    return b"\x01" + nonce + nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(padded, context, nonce, key)


def unseal(sealed: bytes, context: bytes, key: bytes) -> bytes:
    if len(sealed) < 73 or sealed[0] != 1:
        raise Refused("sealed value of an unknown format")
    try:
        padded = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[25:], context, sealed[1:25], key)
    except nacl.exceptions.CryptoError:
        raise Refused("sealed value does not open") from None
    end = padded.rindex(b"\x80")
    if any(padded[end + 1:]) or len(padded) % 32 or len(padded) - end > 32:
        raise Refused("padding is wrong")
    return padded[:end]


def original_context(domain: str, version: int, bits: bytes, data_key_id: bytes) -> bytes:
    return fields("tokenvault/original/1", domain, u32(version), bits, data_key_id)


# Section 7: keyring files

def load_keyring(path: str, kind: str) -> dict:
    data = pathlib.Path(path).read_bytes()
    match = re.search(rb'  "checksum": "([0-9a-f]{64})"\n\}\n\Z', data)
    if not match or hashlib.sha256(data[:match.start()]).hexdigest().encode() != match[1]:
        raise Refused("the keyring's checksum does not match")
    keyring = json.loads(data)
    if keyring["format"] != kind or keyring["version"] != 1:
        raise Refused("another kind or version of keyring")
    return keyring


def unlock(keyring: dict, passphrase: bytes) -> dict[bytes, bytes]:
    parameters = keyring["passphrase"]
    lock_key = nacl.pwhash.argon2id.kdf(
        32, passphrase, from_base64(parameters["salt"]), parameters["operations"], parameters["memory_bytes"])
    keys = {}
    for entry in keyring["recovery_keys"]:
        public, locked = from_base64(entry["public_key"]), from_base64(entry["locked_private_key"])
        if recovery_key_id(public).hex() != entry["id"] or locked[0] != 1:
            raise Refused("a key does not match its id")
        context = fields("tokenvault/locked-recovery-key/1", entry["name"], bytes.fromhex(entry["id"]), public)
        try:
            private = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                locked[25:], context, locked[1:25], lock_key)
        except nacl.exceptions.CryptoError:
            raise Refused("wrong passphrase") from None
        if bytes(nacl.public.PrivateKey(private).public_key) != public:
            raise Refused("private and public key do not belong together")
        keys[bytes.fromhex(entry["id"])] = private
    return keys


# Section 8: audit log

def event_encoding(event: dict) -> bytes:
    return fields(
        "tokenvault/audit-event/1", struct.pack(">Q", event["sequence"]), event["id"], i64(event["microseconds"]),
        event["actor"], event["address"], event["action"], event["object"], event["reason"], event["ticket"],
        event["outcome"])


def next_head(head: bytes, event: dict) -> tuple[bytes, bytes]:
    leaf = hashlib.sha256(b"\0" + event_encoding(event)).digest()
    return leaf, hashlib.sha256(b"\2" + head + leaf).digest()


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def verifier_key(text: str) -> tuple[str, bytes, bytes]:
    """NAME+HASH+BASE64: name, hash, Ed25519 public key."""
    name, digits, encoded = text.strip().split("+", 2)
    key = from_base64(encoded)
    if len(key) != 33 or key[0] != 1:
        raise Refused("not an Ed25519 verifier key")
    found = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if found.hex() != digits:
        raise Refused("the verifier key's hash is wrong")
    return name, found, key[1:]


def checkpoint_body(origin: str, size: int, root: bytes) -> bytes:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def sign_checkpoint(body: bytes, name: str, seed: bytes) -> bytes:
    key = nacl.signing.SigningKey(seed)
    public = b"\1" + bytes(key.verify_key)
    found = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    signature = base64.b64encode(found + key.sign(body).signature).decode()
    return body + f"\n\u2014 {name} {signature}\n".encode()


def open_checkpoint(note: bytes, key: str) -> tuple[str, int, bytes]:
    name, found, public = verifier_key(key)
    body, _, signatures = note.decode().rpartition("\n\n")
    for line in signatures.splitlines():
        dash, signer, encoded = line.split(" ")
        signature = from_base64(encoded)
        if (dash, signer, signature[:4]) == ("\u2014", name, found):
            try:
                nacl.signing.VerifyKey(public).verify((body + "\n").encode(), signature[4:])
            except nacl.exceptions.BadSignatureError:
                raise Refused("the checkpoint's signature is wrong") from None
            origin, size, root = body.split("\n")[:3]
            if origin != name:
                raise Refused("the checkpoint is of another log")
            return origin, int(size), from_base64(root)
    raise Refused("the checkpoint is not signed by this key")


# Commands

def recover(options) -> None:
    import psycopg
    keyring = load_keyring(options.keyring, "tokenvault-recovery-keyring")
    passphrase = pathlib.Path(options.passphrase_file).read_bytes()
    private_keys = unlock(keyring, passphrase.removesuffix(b"\n"))
    signers = {bytes.fromhex(key["id"]): from_base64(key["public_key"]) for key in keyring["signing_keys"]}
    tokens = options.token or sys.stdin.read().split()
    with psycopg.connect(options.database, autocommit=True) as database:
        request = database.execute(
            "SELECT request FROM vault.request_recovery(%s, %s, %s)", (tokens, options.reason, options.ticket)).fetchone()[0]
        ids = [uuid.UUID(bytes=key) for key in private_keys]
        columns = ("id", "domain", "signing_key", "created_at", "commitment", "signature", "recovery_key", "sealed")
        data_keys = {}
        for row in database.execute(
                f"SELECT {', '.join(columns)} FROM vault.release_data_keys(%s, %s::uuid[])", (request, ids)):
            record = {name: value.bytes if isinstance(value, uuid.UUID) else value for name, value in zip(columns, row)}
            data_keys[record["id"]] = open_data_key(record, signers, private_keys)
        after = 0
        while rows := database.execute(
                "SELECT ordinal, token, data_key, sealed FROM vault.release(%s, %s, 10000)", (request, after)).fetchall():
            for after, text, data_key, sealed in rows:
                if sealed is None:
                    print(f"{text}: absent", file=sys.stderr)
                    continue
                domain, version, bits = parse_token(text)
                context = original_context(domain, version, bits, data_key.bytes)
                value = unseal(sealed, context, data_keys[data_key.bytes])
                sys.stdout.write(f"{text}\t{value.decode()}\n")


def verify_audit(options) -> None:
    import psycopg
    head, count, leaves = bytes(32), 0, []
    columns = ("sequence", "id", "microseconds", "actor", "address", "action", "object", "reason", "ticket", "outcome",
               "leaf", "head")
    with psycopg.connect(options.database, autocommit=True) as database:
        for row in database.execute(
                "SELECT sequence, id, (extract(epoch FROM happened_at) * 1000000)::bigint, actor::text, address, action, "
                "object, reason, ticket, outcome, leaf, head FROM audit.event ORDER BY sequence"):
            event = dict(zip(columns, row))
            event["id"] = event["id"].bytes
            count += 1
            leaf, head = next_head(head, event)
            leaves.append(leaf)
            if (event["sequence"], leaf, head) != (count, event["leaf"], event["head"]):
                raise Refused(f"event {count} does not verify")
        if database.execute("SELECT sequence, head FROM audit.head").fetchone() != (count, head):
            raise Refused("the head differs")
    if options.checkpoint:
        _, size, root = open_checkpoint(pathlib.Path(options.checkpoint).read_bytes(), options.checkpoint_key)
        if size > count or merkle_root(leaves[:size]) != root:
            raise Refused("the log does not begin with the events of the checkpoint")
    print(f"{count} of {count} events verify; head {count}:{head.hex()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("recover")
    for name in ("keyring", "passphrase-file", "database", "reason", "ticket"):
        command.add_argument("--" + name, required=True)
    command.add_argument("token", nargs="*", help="none: read from standard input")
    command.set_defaults(run=recover)
    command = commands.add_parser("verify-audit")
    command.add_argument("--database", required=True)
    command.add_argument("--checkpoint", help="a signed checkpoint; needs --checkpoint-key")
    command.add_argument("--checkpoint-key", help="NAME+HASH+BASE64")
    command.set_defaults(run=verify_audit)
    command = commands.add_parser("vectors")
    command.add_argument("--check", action="store_true")
    command.set_defaults(run=lambda options: __import__("tokenvault_vectors").write(options.check))
    options = parser.parse_args()
    try:
        options.run(options)
    except Refused as refusal:
        sys.exit(f"error: {refusal}")


if __name__ == "__main__":
    main()
