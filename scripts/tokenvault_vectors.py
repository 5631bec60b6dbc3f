"""Writes the vectors that the Swift tests read: what docs/FORMATS.md says, worked out by tokenvault_formats.py."""
import base64
import hashlib
import json
import pathlib
import sys
import unicodedata

import nacl.bindings
import nacl.public
import nacl.pwhash
import nacl.signing

import tokenvault_formats as formats

TOKEN_KEY = bytes(range(32))
VERSION = 3
TOKENS = "Tests/TokenizationTests/Vectors/tokens.json"
FORMATS = "Tests/TokenizationTests/Vectors/formats.json"
INGEST_KEYRING = "Tests/TokenizationTests/Vectors/ingest-vector.json"
CHECKPOINT_KEY = "Tests/TokenizationTests/Vectors/checkpoint-vector.json"
RECOVERY_KEYRING = "Tests/TokenizationTests/Vectors/recovery-vector.json"
PASSPHRASE = "vector passphrase"

CASES = [
    # kind, comment, raw
    ("ip", "dotted quad", "192.0.2.1"),
    ("ip", "the lowest", "0.0.0.0"),
    ("ip", "the highest", "255.255.255.255"),
    ("ip", "loopback is not refused", "127.0.0.1"),
    ("ip", "multicast is not refused", "224.0.0.251"),
    ("ip", "reserved is not refused", "240.1.2.3"),
    ("ip", "trimmed", " \t192.0.2.1\r\n"),
    ("ip", "IPv6 in full", "2001:0db8:0000:0000:0000:ff00:0042:8329"),
    ("ip", "IPv6 compressed", "2001:db8::ff00:42:8329"),
    ("ip", "IPv6 upper case", "2001:DB8::FF00:42:8329"),
    ("ip", "IPv6 any", "::"),
    ("ip", "IPv6 loopback", "::1"),
    ("ip", "longest run of zeros is shortened", "2001:0:0:1:0:0:0:1"),
    ("ip", "first of two equal runs is shortened", "2001:db8:0:0:1:0:0:1"),
    ("ip", "a single zero group stays", "2001:db8:0:1:1:1:1:1"),
    ("ip", "zeros at the end", "2001:db8:1:0:0:0:0:0"),
    ("ip", "IPv4-mapped in dots", "::ffff:192.0.2.1"),
    ("ip", "IPv4-mapped in hex", "::ffff:c000:201"),
    ("ip", "IPv4-mapped in full", "0:0:0:0:0:FFFF:192.0.2.1"),
    ("ip", "IPv4-compatible stays IPv6, in hex", "::192.0.2.1"),
    ("ip", "NAT64 prefix", "64:ff9b::192.0.2.33"),
    ("ip", "link local", "fe80::1"),
    ("ip", "zone id", "fe80::1%eth0"),
    ("ip", "leading zero", "192.0.02.1"),
    ("ip", "leading zeros in every part", "010.001.002.003"),
    ("ip", "part over 255", "192.0.2.256"),
    ("ip", "three parts", "192.0.2"),
    ("ip", "five parts", "192.0.2.1.5"),
    ("ip", "one number", "3221225985"),
    ("ip", "hex part", "0xc0.0.2.1"),
    ("ip", "prefix", "192.0.2.0/24"),
    ("ip", "port", "192.0.2.1:443"),
    ("ip", "brackets", "[2001:db8::1]"),
    ("ip", "two compressions", "2001::db8::1"),
    ("ip", "nine groups", "1:2:3:4:5:6:7:8:9"),
    ("ip", "five hex digits", "2001:db8::12345"),
    ("ip", "inner space", "192.0. 2.1"),
    ("ip", "a name", "localhost"),
    ("ip", "empty", ""),
    ("ip", "spaces only", "  \t"),
    ("ip", "NUL", "192.0.2.1\0"),
    ("ip", "full-width digits", "１９２.0.2.1"),
    ("opaque", "as it is", "593-47-5928"),
    ("opaque", "trimmed, case and inner space kept", "  AbC dEf "),
    ("opaque", "composed é", "é"),
    ("opaque", "decomposed é is another value", unicodedata.normalize("NFD", "é")),
    ("opaque", "no-break space is not trimmed", "\u00a0x\u00a0"),
    ("opaque", "longest", "x" * 1024),
    ("opaque", "too long", "x" * 1025),
    ("opaque", "empty", ""),
    ("opaque", "invalid UTF-8", b"\xff\xfe"),
    ("opaque", "overlong UTF-8", b"\xc0\xaf"),
    ("opaque", "surrogate in UTF-8", b"\xed\xa0\x80"),
    ("opaque", "NUL", "a\0b"),
    ("lowercase", "ASCII", "HeLLo"),
    ("lowercase", "composed", "ÉCOLE"),
    ("lowercase", "decomposed becomes the same", unicodedata.normalize("NFD", "ÉCOLE")),
    ("lowercase", "no locale: I is i", "TITLE I"),
    ("lowercase", "dotted capital I", "İ"),
    ("lowercase", "no final sigma", "ΟΔΟΣ"),
    ("lowercase", "sharp s stays", "STRAẞE"),
    ("email", "plain", "ada@example.org"),
    ("email", "case and space", "  Ada@Example.ORG "),
    ("email", "plus and dots are kept", "a.d.a+x@example.org"),
    ("email", "two at signs", "a@b@c"),
    ("email", "none", "ada.example.org"),
    ("email", "no local part", "@example.org"),
    ("email", "no domain", "ada@"),
    ("email", "inner space", "ada lovelace@example.org"),
    ("email", "control character", "ada\x01@example.org"),
    ("mac", "colons", "00:1a:2b:3c:4d:5e"),
    ("mac", "upper case", "00:1A:2B:3C:4D:5E"),
    ("mac", "hyphens", "00-1A-2B-3C-4D-5E"),
    ("mac", "dots", "001A.2B3C.4D5E"),
    ("mac", "bare", "001A2B3C4D5E"),
    ("mac", "mixed separators", "00:1A-2B:3C:4D:5E"),
    ("mac", "five pairs", "00:1a:2b:3c:4d"),
    ("mac", "no hex digit", "00:1g:2b:3c:4d:5e"),
    ("mac", "EUI-64", "00:1a:2b:ff:fe:3c:4d:5e"),
]


def token_cases() -> list[dict]:
    cases = []
    for number, (kind, comment, raw) in enumerate(CASES, 1):
        raw = raw.encode() if isinstance(raw, str) else raw
        case = {"id": f"{kind}-{number}", "comment": comment, "kind": kind, "raw": raw.hex(),
                "normalised": None, "token": None, "network_token": None}
        try:
            normalised = formats.normalise(kind, raw)
        except formats.Refused:
            pass
        else:
            case["normalised"] = normalised.hex()
            case["token"] = token(kind, normalised)
            if kind == "ip":
                case["network_token"] = token("ip_net", formats.network(normalised))
        cases.append(case)
    return cases


def token(domain: str, normalised: bytes) -> str:
    return formats.token_text(domain, VERSION, formats.token_bytes(TOKEN_KEY, VERSION, domain, normalised))


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def keyring(lines: list[str]) -> str:
    body = "{\n" + ",\n".join(lines) + ",\n"
    return body + f'  "checksum": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def format_files() -> dict[str, str]:
    created = "2026-11-23T00:00:00Z"
    private = hashlib.sha256(b"vector recovery key").digest()
    public = bytes(nacl.public.PrivateKey(private).public_key)
    recovery_id = formats.recovery_key_id(public)
    seed = hashlib.sha256(b"vector signing key").digest()
    signing = nacl.signing.SigningKey(seed)
    signing_public = bytes(signing.verify_key)
    signing_id = formats.signing_key_id(signing_public)

    salt, nonce = hashlib.sha256(b"salt").digest()[:16], hashlib.sha256(b"lock nonce").digest()[:24]
    lock_key = nacl.pwhash.argon2id.kdf(32, PASSPHRASE.encode(), salt, 1, 8 << 20)
    context = formats.fields("tokenvault/locked-recovery-key/1", "analyst-1", recovery_id, public)
    locked = b"\1" + nonce + nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(private, context, nonce, lock_key)

    entry = {"name": "analyst-1", "id": recovery_id.hex(), "state": "active", "created": created, "domains": None,
             "public_key": base64_text(public)}
    ingest = keyring([
        '  "format": "tokenvault-ingest-keyring"',
        '  "version": 1',
        '  "token_keys": [\n    ' + json.dumps({
            "version": VERSION, "id": formats.token_key_id(TOKEN_KEY, VERSION).hex(), "state": "active",
            "created": created, "key": base64_text(TOKEN_KEY)}) + "\n  ]",
        '  "recovery_keys": [\n    ' + json.dumps(entry) + "\n  ]",
        '  "signing_key": ' + json.dumps({
            "name": "ingest-1", "id": signing_id.hex(), "created": created, "seed": base64_text(seed),
            "public_key": base64_text(signing_public)}),
    ])
    recovery = keyring([
        '  "format": "tokenvault-recovery-keyring"',
        '  "version": 1',
        '  "passphrase": ' + json.dumps({
            "algorithm": "argon2id13", "salt": base64_text(salt), "operations": 1, "memory_bytes": 8 << 20}),
        '  "recovery_keys": [\n    ' + json.dumps(entry | {"locked_private_key": base64_text(locked)}) + "\n  ]",
        '  "signing_keys": [\n    ' + json.dumps({
            "name": "ingest-1", "id": signing_id.hex(), "state": "active", "created": created,
            "public_key": base64_text(signing_public)}) + "\n  ]",
    ])

    data_key = hashlib.sha256(b"vector data key").digest()
    data_key_id = hashlib.sha256(b"vector data key id").digest()[:16]
    committed = formats.commitment(data_key)
    message = formats.data_key_message(data_key_id, "ip", 1_700_000_000, committed)
    # crypto_box_seal is randomised; with a fixed ephemeral key it is crypto_box under a nonce of both public keys.
    ephemeral = hashlib.sha256(b"vector ephemeral key").digest()
    ephemeral_public = nacl.bindings.crypto_scalarmult_base(ephemeral)
    box_nonce = hashlib.blake2b(ephemeral_public + public, digest_size=24).digest()
    box = ephemeral_public + nacl.bindings.crypto_box(data_key, box_nonce, public, ephemeral)

    value = b" 2001:DB8::1"
    bits = formats.token_bytes(TOKEN_KEY, VERSION, "ip", formats.normalise("ip", value))
    value_nonce = hashlib.sha256(b"vector value nonce").digest()[:24]
    record, record_id = b'{"user_id": 1}', hashlib.sha256(b"vector record id").digest()[:16]
    log, checkpoint_key = audit_log(created)
    document = {
        "passphrase": PASSPHRASE,
        "token_key_id": formats.token_key_id(TOKEN_KEY, VERSION).hex(),
        "recovery_key_id": recovery_id.hex(),
        "signing_key_id": signing_id.hex(),
        "data_key": {
            "id": data_key_id.hex(), "domain": "ip", "created_at": 1_700_000_000, "signing_key": signing_id.hex(),
            "commitment": committed.hex(), "signature": signing.sign(message).signature.hex(),
            "recovery_key": recovery_id.hex(), "sealed": (b"\1" + box).hex()},
        "value": {
            "plaintext": value.hex(), "token": formats.token_text("ip", VERSION, bits),
            "sealed": formats.seal(
                value, formats.original_context("ip", VERSION, bits, data_key_id), data_key, value_nonce).hex()},
        "record": {
            "id": record_id.hex(), "plaintext": record.hex(),
            "sealed": formats.seal(
                record, formats.fields("tokenvault/quarantined/1", record_id, data_key_id), data_key, value_nonce).hex()},
        "log": log,
    }
    return {INGEST_KEYRING: ingest, RECOVERY_KEYRING: recovery, CHECKPOINT_KEY: checkpoint_key, FORMATS: json.dumps(document, indent=2) + "\n"}


# What an audit event's fields may hold: nothing, an empty text, any text.
EVENTS = [
    # actor, address, action, object, reason, ticket, outcome
    ("ada", None, "recover.request", "ip_v1_00", "because \u00e9", "", None),
    ("ada", "192.0.2.1", "recover.request", None, None, None, None),
    ("bob", "2001:db8::1", "policy.set", "ip", None, None, '{"approvals": {"new": 1, "old": 0}}'),
    ("nightly", None, "ingest", "", "", "", ""),
    ("olga", None, "recover.break-glass", "ip_v1_01", "line\nbreak, tab\t, \U0001f511", "T-1", None),
    ("olga", None, "recover.outcome", "id", None, None, "opened 1"),
    ("x" * 63, None, "keys.add", "token-v2", "r" * 1024, "t" * 128, None),
]
CHECKPOINT_SIZE = 5


def audit_log(created: str) -> tuple[dict, str]:
    """A whole log with its chain, the tree's root at each size, and a signed checkpoint; and the key that signed it."""
    name, seed = "example.org/vector-audit", hashlib.sha256(b"vector checkpoint key").digest()
    public = bytes(nacl.signing.SigningKey(seed).verify_key)
    key_hash = hashlib.sha256(name.encode() + b"\n\1" + public).digest()[:4]
    verifier = f"{name}+{key_hash.hex()}+{base64_text(bytes([1]) + public)}"
    head, leaves, events = bytes(32), [], []
    columns = ("actor", "address", "action", "object", "reason", "ticket", "outcome")
    for sequence, values in enumerate(EVENTS, 1):
        event = {"sequence": sequence, "id": hashlib.sha256(b"vector event %d" % sequence).digest()[:16],
                 "microseconds": 1_700_000_000_123_456 + sequence} | dict(zip(columns, values))
        leaf, head = formats.next_head(head, event)
        leaves.append(leaf)
        events.append(event | {"id": event["id"].hex(), "leaf": leaf.hex(), "head": head.hex()})
    roots = [formats.merkle_root(leaves[:size]) for size in range(len(leaves) + 1)]
    body = formats.checkpoint_body(name, CHECKPOINT_SIZE, roots[CHECKPOINT_SIZE])
    note = formats.sign_checkpoint(body, name, seed)
    if formats.open_checkpoint(note, verifier) != (name, CHECKPOINT_SIZE, roots[CHECKPOINT_SIZE]):
        sys.exit("error: the checkpoint's vector does not open")
    key = keyring([
        '  "format": "tokenvault-checkpoint-key"',
        '  "version": 1',
        f'  "name": "{name}"',
        f'  "created": "{created}"',
        f'  "seed": "{base64_text(seed)}"',
        f'  "public_key": "{base64_text(public)}"',
    ])
    return {"events": events, "roots": [root.hex() for root in roots], "verifier": verifier, "checkpoint": note.decode()}, key


def write(check: bool) -> None:
    files = {TOKENS: json.dumps(token_cases(), indent=2) + "\n"} | format_files()
    for name, text in files.items():
        path = formats.ROOT / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"error: {name} is not what the second implementation writes; run `make vectors`")
    print(f"{len(CASES)} values, {len(files)} files {'checked' if check else 'written'}")
