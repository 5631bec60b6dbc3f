#!/usr/bin/env python3
"""Prints login records as NDJSON, the same for the same seed: COUNT records whose values repeat.

make_records.py COUNT [--seed N] [--addresses N] [--devices N] [--exercise]

--exercise adds what the original exercise's queue holds: a record of another type in place of the last one.
Every third locale or so is null; addresses come from all ranges, reserved ones too.
"""
import argparse
import json
import random
import sys

VERSIONS = ["2.3.0", "0.96", "6.02", "2.0", "2.00", "2.20", "0.60", "9.10", "0.2.6", "0.26", "2.6"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--addresses", type=int, default=0, help="distinct addresses (0: one a record)")
    parser.add_argument("--devices", type=int, default=0, help="distinct devices (0: one a record)")
    parser.add_argument("--exercise", action="store_true")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    addresses = [ip(rng) for _ in range(options.addresses)]
    devices = [device(rng) for _ in range(options.devices)]
    write = sys.stdout.write
    for index in range(options.count):
        if options.exercise and index == options.count - 1:
            write('{"foo": "oops_wrong_msg_type", "bar": "123"}\n')
            break
        write(json.dumps({
            "user_id": "%08x-%04x-4%03x-%04x-%012x" % (
                rng.getrandbits(32), rng.getrandbits(16), rng.getrandbits(12), rng.getrandbits(16), rng.getrandbits(48)),
            "app_version": rng.choice(VERSIONS),
            "device_type": rng.choice(["android", "iOS"]),
            "ip": rng.choice(addresses) if addresses else ip(rng),
            "locale": None if rng.random() < 0.29 else rng.choice(["RU", "US", "DE", "BR", "ID"]),
            "device_id": rng.choice(devices) if devices else device(rng),
        }) + "\n")


def ip(rng: random.Random) -> str:
    return "%d.%d.%d.%d" % tuple(rng.randrange(256) for _ in range(4))


def device(rng: random.Random) -> str:
    return "%03d-%02d-%04d" % (rng.randrange(1000), rng.randrange(100), rng.randrange(10000)) + "-%06x" % rng.getrandbits(24)


main()
