#!/usr/bin/env python3
"""Rotates every kind of key under kill -9, with ingest running beside and a watcher that looks for split groups.

rotation_drill.py [--rows N] [--addresses N] [--devices N] [--kills N] [--seed N] [--program PATH]

On a private cluster of its own. Per kind of key: the rotation is killed at random moments until there were --kills of
them and then goes on to its end; when one ends early, the next begins. Meanwhile
  - ingest adds rows of the same and of new values,
  - a watcher samples, each time in one snapshot: every group of rows that stood when the rotation began is whole, under one
    token; and the duplicate views show exactly the groups that the true values make.
At the end of each: `rotate KIND verify`, and every row's token opens to the value that the record had (by sample).
Exits with 1, naming the seed, when anything is wrong. Prints one line of JSON a rotation.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Drill:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.work = tempfile.mkdtemp(prefix="tv-drill-", dir="/tmp")
        os.chmod(self.work, 0o755)  # the server runs as another user; the keyrings in it are 0600
        self.environment = dict(os.environ)
        self.failures = []
        self.beside_rows = 0
        self.samples = 0
        self.version = 1
        self.readers = 1
        self.recovered_by_python = 0

    # the parts

    def start(self):
        self.cluster = subprocess.Popen([f"{ROOT}/scripts/private-cluster.sh", f"{self.work}/pg"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        if self.cluster.stdout.readline().strip() != "ready":
            sys.exit("the private cluster did not start")
        self.tokenvault("vault_admin", "database", "create-roles")
        self.tokenvault("vault_admin", "database", "migrate")
        for role in ("ingest", "analyst", "recoverer", "operator"):
            self.psql("vault_admin", f"CREATE ROLE vault_{role} LOGIN IN ROLE tokenvault_{role}")
        passphrase = f"{self.work}/passphrase"
        with open(os.open(passphrase, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("%032x\n" % random.SystemRandom().getrandbits(128))
        self.environment.update(TOKENVAULT_PASSPHRASE_FILE=passphrase,
                                TOKENVAULT_INGEST_KEYRING=f"{self.work}/ingest.keyring",
                                TOKENVAULT_RECOVERY_KEYRING=f"{self.work}/recovery.keyring")
        self.tokenvault("vault_operator", "keys", "generate", "--recovery-name", "reader-1")
        for domain in ("ip", "device_id"):  # each check asks for a hundred values, and a drill makes many
            self.psql("vault_operator", f"SELECT vault.set_policy('{domain}', 0, 10000000, '15 minutes', NULL, NULL)")
        self.psql("postgres", "CREATE SCHEMA drill; CREATE TABLE drill.truth (user_id text, ip text, device_id text)")
        self.ingest(self.records(self.options.rows, self.options.seed), "first.ndjson")
        self.psql("postgres", "ANALYZE")

    def stop(self):
        self.cluster.stdin.close()
        self.cluster.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    def environment_of(self, login):
        return dict(self.environment, TOKENVAULT_DATABASE=f"host={self.work}/pg/socket dbname=tokenvault user={login}")

    def tokenvault(self, login, *arguments, check=True, given=""):
        run = subprocess.run([self.options.program, *arguments], env=self.environment_of(login), capture_output=True,
                             text=True, input=given)
        if check and run.returncode != 0:
            self.fail(f"tokenvault {' '.join(arguments)}: exit {run.returncode}: {run.stderr}")
        return run

    def psql(self, login, sql, given=None):
        run = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", f"{self.work}/pg/socket", "-U", login,
                              "-d", "tokenvault", "-c", sql], capture_output=True, text=True, input=given)
        if run.returncode != 0:
            self.fail(f"psql: {run.stderr}")
        return run.stdout.strip()

    def fail(self, text):
        self.failures.append(text)
        raise RuntimeError(text)

    def records(self, count, seed):
        return subprocess.run([sys.executable, f"{ROOT}/scripts/make_records.py", str(count), "--seed", str(seed),
                               "--addresses", str(self.options.addresses), "--devices", str(self.options.devices)],
                              capture_output=True, text=True, check=True).stdout

    def ingest(self, records, name):
        rows = [json.loads(line) for line in records.splitlines()]
        self.psql("postgres", "COPY drill.truth FROM STDIN",
                  "".join(f"{row['user_id']}\t{row['ip']}\t{row['device_id']}\n" for row in rows))
        path = f"{self.work}/{name}"
        with open(path, "w") as file:
            file.write(records)
        run = self.tokenvault("vault_ingest", "ingest", "--json", path)
        os.unlink(path)
        return json.loads(run.stdout)["stored"]

    # beside

    def ingest_beside(self, stop):
        number = 0
        while not stop.is_set():
            number += 1
            # Half of them repeat the first values (same pools), the others are new.
            try:
                records = self.records(40, self.options.seed) if number % 2 else self.records(40, self.rng.getrandbits(30))
                lines = [json.loads(line) for line in records.splitlines()]
                for line in lines:
                    line["user_id"] = "beside-%032x" % random.getrandbits(128)
                self.beside_rows += self.ingest("".join(json.dumps(line) + "\n" for line in lines), f"beside-{number}-{time.time_ns()}.ndjson")
            except RuntimeError:
                return
            stop.wait(0.2)

    SPLIT = """
        SELECT count(*) FROM (
            SELECT FROM drill.before JOIN public.user_logins AS login USING (user_id) WHERE before.{0} IS NOT NULL
            GROUP BY before.{0}
            HAVING count(DISTINCT login.{0}) <> 1 OR count(login.{0}) <> count(*)) AS split"""
    VIEW = """
        SELECT count(*) FROM (
            (SELECT logins, distinct_users FROM public.{0} EXCEPT ALL
             SELECT count(*), count(DISTINCT user_id) FROM public.user_logins JOIN drill.truth USING (user_id)
             GROUP BY truth.{1} HAVING count(*) > 1)
            UNION ALL
            (SELECT count(*), count(DISTINCT user_id) FROM public.user_logins JOIN drill.truth USING (user_id)
             GROUP BY truth.{1} HAVING count(*) > 1 EXCEPT ALL SELECT logins, distinct_users FROM public.{0})) AS wrong"""

    def watch(self, stop):
        columns = ("masked_ip", "masked_device_id", "masked_ip_net")
        checks = [self.SPLIT.format(column) for column in columns]
        if self.options.rows <= 50_000:
            checks += [self.VIEW.format("duplicate_ips", "ip"), self.VIEW.format("duplicate_devices", "device_id")]
        sql = "SELECT " + " || ' ' || ".join(f"({check})" for check in checks)  # one statement, one snapshot
        while not stop.is_set():
            try:
                answer = self.psql("postgres", sql)
            except RuntimeError:
                return
            self.samples += 1
            if any(part != "0" for part in answer.split()):
                self.failures.append(f"the watcher saw split groups or wrong views: {answer}")
                return
            stop.wait(0.02)

    def prove_watcher(self):
        """The watcher must be able to see: one row of a group, moved alone, in a transaction that is rolled back."""
        split = self.psql("postgres", f"""BEGIN;
            UPDATE public.user_logins SET masked_ip = 'ip_v9_' || repeat('0', 32) WHERE user_id = (
                SELECT min(user_id) FROM drill.before WHERE masked_ip = (
                    SELECT masked_ip FROM drill.before WHERE masked_ip IS NOT NULL GROUP BY 1 HAVING count(*) > 1 LIMIT 1));
            {self.SPLIT.format("masked_ip")}; {self.VIEW.format("duplicate_ips", "ip")}; ROLLBACK""").split()
        if len(split) != 2 or split[0] != "1" or split[1] == "0":
            self.fail(f"the watcher does not see a split group: {split}")

    # the rotations

    def prepare(self, kind):
        if kind == "recovery-key":
            self.readers += 1
            self.tokenvault("vault_operator", "keys", "add", "recovery", "--name", f"reader-{self.readers}")
        elif kind == "token-key":
            self.version += 1
            self.tokenvault("vault_operator", "keys", "add", "token")
            self.tokenvault("vault_operator", "keys", "activate", f"token-v{self.version}")

    def complete(self, kind):
        verified = self.tokenvault("vault_operator", "rotate", kind, "verify")
        if kind == "token-key":
            old = f"token-v{self.version - 1}"
            self.tokenvault("vault_operator", "rotate", kind, "retire")
            self.tokenvault("vault_operator", "keys", "destroy", old, "--confirm", old, "--forget-ledger")
        elif kind == "recovery-key":
            old = f"reader-{self.readers - 1}"
            self.tokenvault("vault_operator", "keys", "retire", old)
            self.tokenvault("vault_operator", "rotate", kind, "retire", "--key", old)
            self.tokenvault("vault_operator", "keys", "destroy", old, "--confirm", old)
        self.check_values()
        return verified.stdout.splitlines()

    def check_values(self):
        """A sample of tokens opens to what the records said: with the program, and with the second implementation."""
        rows = self.psql("postgres", """SELECT login.masked_ip, truth.ip, login.masked_device_id, truth.device_id
            FROM (SELECT * FROM public.user_logins ORDER BY random() LIMIT 50) AS login JOIN drill.truth USING (user_id)""")
        expected = {}
        for row in rows.splitlines():
            masked_ip, ip, masked_device, device = row.split("|")
            expected[masked_ip], expected[masked_device] = ip, device
        run = self.tokenvault("vault_recoverer", "recover", "--reason", "drill", "--ticket", "D-1", "--from", "-",
                              given="".join(token + "\n" for token in expected), check=False)
        found = dict(line.split("\t") for line in run.stdout.splitlines())
        if found != expected:
            self.fail(f"{len(expected)} tokens asked, {sum(found.get(t) == v for t, v in expected.items())} recovered: {run.stderr}")
        if self.options.python:
            environment = self.environment_of("vault_recoverer")
            run = subprocess.run([self.options.python, f"{ROOT}/scripts/tokenvault_formats.py", "recover",
                                  "--keyring", environment["TOKENVAULT_RECOVERY_KEYRING"], "--passphrase-file",
                                  environment["TOKENVAULT_PASSPHRASE_FILE"], "--database", environment["TOKENVAULT_DATABASE"],
                                  "--reason", "drill", "--ticket", "D-2"], capture_output=True, text=True,
                                 input="".join(token + "\n" for token in expected))
            found = dict(line.split("\t") for line in run.stdout.splitlines())
            if found != expected:
                self.fail(f"the second implementation does not recover what was stored: {run.stderr[-500:]}")
            self.recovered_by_python += len(found)

    def rotate(self, kind):
        options = self.options
        arguments = ["rotate", kind, "run", "--json", "--page-size", str(options.page_size)]
        if kind == "token-key":
            arguments += ["--rows-per-move", str(options.rows_per_move)]
        self.psql("postgres", "VACUUM ANALYZE public.user_logins, vault.original")
        before = self.samples
        stop = threading.Event()
        threads = [threading.Thread(target=self.watch, args=(stop,))]
        kills = rotations = 0
        longest, started = options.longest, time.monotonic()
        beside = threading.Thread(target=self.ingest_beside, args=(stop,))
        try:
            while True:
                self.psql("postgres", f"""DROP TABLE IF EXISTS drill.before;
                    CREATE TABLE drill.before AS SELECT user_id, masked_ip, masked_device_id, masked_ip_net
                    FROM public.user_logins AS login
                    WHERE hashtext(login.masked_ip) % {max(1, options.rows // 20_000)} = 0
                       OR hashtext(login.masked_device_id) % {max(1, options.rows // 20_000)} = 0; ANALYZE drill.before""")
                if options.rows > 20_000:  # whole groups only: a sampled address brings rows of devices that are not sampled
                    self.psql("postgres", f"""UPDATE drill.before SET
                        masked_ip = CASE WHEN hashtext(masked_ip) % {options.rows // 20_000} = 0 THEN masked_ip END,
                        masked_device_id = CASE WHEN hashtext(masked_device_id) % {options.rows // 20_000} = 0 THEN masked_device_id END,
                        masked_ip_net = NULL""")
                if not rotations:
                    self.prove_watcher()
                    self.check_values()
                self.prepare(kind)
                if not threads[0].is_alive() and not rotations:
                    threads[0].start()
                    beside.start()
                while True:
                    run = subprocess.Popen([options.program, *arguments], env=self.environment_of("vault_operator"),
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                    killed = False
                    if kills < options.kills:
                        try:
                            run.wait(self.rng.uniform(0.02, longest))
                        except subprocess.TimeoutExpired:
                            run.send_signal(signal.SIGKILL)
                            kills += 1
                            killed = True
                    output, errors = run.communicate()
                    if killed:
                        if kills == 1:
                            self.check_values()  # half-way through
                        continue
                    if run.returncode == 75:  # the killed run's session ends its last statement first
                        continue
                    if run.returncode != 0:
                        self.fail(f"rotate {kind}: exit {run.returncode}: {errors[-2000:]}")
                    break
                rotations += 1
                summary = json.loads(output)
                if kills >= options.kills:
                    break
                self.complete(kind)
                if summary["milliseconds"] / 1000 < longest:
                    longest = max(0.1, summary["milliseconds"] / 1000)
            seconds = time.monotonic() - started
        finally:
            stop.set()
            for thread in (threads[0], beside):
                if thread.is_alive() or thread.ident:
                    thread.join()
        # The last one ends without ingest beside, so that groups compare exactly.
        verified = self.complete(kind)
        if self.failures:
            self.fail(self.failures[0])
        wrong = self.psql("postgres", "SELECT " + " || ' ' || ".join(
            f"({check})" for check in (self.VIEW.format("duplicate_ips", "ip"), self.VIEW.format("duplicate_devices", "device_id"))))
        if wrong != "0 0":
            self.fail(f"groups differ from the true values' at the end: {wrong}")
        if kind == "token-key":
            old = self.psql("postgres", f"""SELECT (SELECT count(*) FROM vault.original WHERE token_version <> {self.version})
                + (SELECT count(*) FROM public.user_logins WHERE NOT masked_ip ~ '_v{self.version}_' OR NOT masked_device_id ~ '_v{self.version}_')
                + (SELECT count(*) FROM vault.token_successor) + (SELECT count(*) FROM vault.token_move)""")
            if old != "0":
                self.fail(f"{old} old tokens are left")
        print(json.dumps({"kind": kind, "kills": kills, "rotations": rotations, "seconds": round(seconds, 1),
                          "last": summary, "samples": self.samples - before, "rows_beside": self.beside_rows,
                          "recovered_by_second_implementation": self.recovered_by_python,
                          "verify": verified}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--addresses", type=int, default=1200)
    parser.add_argument("--devices", type=int, default=1200)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    parser.add_argument("--page-size", type=int, default=100)
    parser.add_argument("--rows-per-move", type=int, default=300)
    parser.add_argument("--longest", type=float, default=1.0, help="latest moment of a kill, seconds")
    parser.add_argument("--kinds", default="recovery-key,data-keys,token-key")
    venv = f"{ROOT}/.build/test-venv/bin/python"
    parser.add_argument("--python", default=venv if os.path.exists(venv) else None,
                        help="a Python that can run scripts/tokenvault_formats.py")
    parser.add_argument("--program", default=f"{ROOT}/.build/debug/tokenvault")
    drill = Drill(parser.parse_args())
    print(f"seed {drill.options.seed}", file=sys.stderr)
    try:
        drill.start()
        for kind in drill.options.kinds.split(","):
            drill.rotate(kind)
    except RuntimeError:
        pass
    finally:
        drill.stop()
    if drill.failures:
        sys.exit(f"seed {drill.options.seed}: {drill.failures[0]}")


main()
