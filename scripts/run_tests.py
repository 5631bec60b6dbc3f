#!/usr/bin/env python3
"""Runs all tests, each suite in a process of its own, several side by side: tests wait more than they compute.

    scripts/run_tests.py [--side-by-side N] [SUITE ...]       SUITE: part of a name such as CommandTests.TourTests

Needs `swift build --build-tests` first. The suites share one private PostgreSQL cluster, each in databases of its own. Prints a line
a suite, the failures as they come and again at the end. What each suite printed stays in .build/test-logs. Exit 0 when every
test that exists ran and passed, 1 otherwise.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / ".build/test-logs"
# The longest, begun first so that none of them is left over at the end. A wrong name costs time only.
LONGEST = ["DoctorTests.DoctorTests", "CommandTests.QueueFaultTests", "CommandTests.KillTests", "RotationTests.CrashTests"]
LIMIT = 900  # seconds a suite; the tests' own limits are tighter
DESCRIPTORS = 1024  # open at once in a process: an ordinary user's limit, which root and CI's machines are far above
ENDED = re.compile(r"^. Test run with (\d+) tests? in \d+ suites? passed", re.MULTILINE)


class Suites:
    """Runs one suite after another in each of several threads, and stops them all at the first signal."""

    def __init__(self, binary, environment):
        self.binary, self.environment = binary, environment
        self.lock, self.running, self.stopped = threading.Lock(), set(), False

    def run(self, name, expected):
        """Gives (name, seconds, what went wrong or None, tests that passed)."""
        begun = time.monotonic()
        log = LOGS / (name + ".log")
        with log.open("wb") as output:
            with self.lock:
                if self.stopped:
                    return name, 0.0, "not run", 0
                process = subprocess.Popen(
                    [self.binary, "--testing-library", "swift-testing", "--no-parallel",
                     "--filter", "^" + re.escape(name) + "/"],
                    cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
                self.running.add(process)
            try:
                status = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = f"no end after {LIMIT} s"
            with self.lock:
                self.running.discard(process)
        seconds = time.monotonic() - begun
        text = log.read_text(errors="replace")
        ended = ENDED.findall(text)
        passed = int(ended[-1]) if ended else 0
        if status == 0 and passed == expected:
            return name, seconds, None, passed
        found = failures(text)
        if not found:
            found = [f"{passed} of {expected} tests passed; the process ended with {status}"] + text.splitlines()[-15:]
        return name, seconds, "\n".join(found), passed

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.running:
                process.terminate()


def failures(text):
    """The lines that tell of failed expectations, each with what belongs to it."""
    found, inside = [], False
    for line in text.splitlines():
        if re.match(r"^. (Test|Suite|Test run|Test case) ?.*(started|passed after)", line):
            inside = False
        elif line.startswith("✘"):
            inside = True
        if inside:
            found.append(line[:2000])
    return found


def listed():
    """Every suite that exists, with the number of its tests."""
    names = subprocess.run(["swift", "test", "list", "--skip-build"], cwd=ROOT, check=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True).stdout.split()
    suites = collections.Counter(name.split("/")[0] for name in names)
    if not suites or any("." not in name for name in suites):
        sys.exit("run_tests: `swift test list` gave no suites, or a test outside of one")
    return suites


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--side-by-side", type=int, default=min(2 * (os.cpu_count() or 1), 8), metavar="N")
    arguments.add_argument("suites", nargs="*", metavar="SUITE")
    asked = arguments.parse_args()

    suites = {name: count for name, count in listed().items()
              if not asked.suites or any(part in name for part in asked.suites)}
    if not suites:
        sys.exit("run_tests: no suite has such a name")
    order = sorted(suites, key=lambda name: (name not in LONGEST, -suites[name]))
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)

    binaries = subprocess.run(["swift", "build", "--show-bin-path"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft > DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    everything = tempfile.mkdtemp(prefix="tv-", dir="/tmp")  # a socket needs a short path
    os.chmod(everything, 0o711)  # root's servers run as postgres
    folder = everything + "/pg"
    cluster = subprocess.Popen([ROOT / "scripts/private-cluster.sh", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    runner = Suites(binaries.stdout.strip() + "/tokenvaultPackageTests.xctest",
                    os.environ | {"TOKENVAULT_TEST_FOLDER": everything, "TOKENVAULT_TEST_CLUSTER": folder, "NO_COLOR": "1"})

    def interrupted(number, _):
        runner.stop()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    begun, failed, passed = time.monotonic(), {}, 0
    try:
        if cluster.stdout.readline() != b"ready\n":
            sys.exit("run_tests: the private cluster did not start")
        with concurrent.futures.ThreadPoolExecutor(asked.side_by_side) as pool:
            done = concurrent.futures.as_completed([pool.submit(runner.run, name, suites[name]) for name in order])
            for number, result in enumerate(done, 1):
                name, seconds, wrong, count = result.result()
                passed += count
                print(f"{'FAIL' if wrong else 'ok  '} {number:3} of {len(order)} {seconds:6.1f} s  {name} ({suites[name]})", flush=True)
                if wrong:
                    failed[name] = wrong
                    print(wrong, flush=True)
    except KeyboardInterrupt:
        sys.exit("run_tests: stopped")
    finally:
        cluster.stdin.close()
        cluster.wait()
        shutil.rmtree(everything, ignore_errors=True)

    if failed:
        print(f"\n{len(failed)} of {len(order)} suites failed:")
        for name, wrong in failed.items():
            print(f"\n--- {name} (all of it: {LOGS.relative_to(ROOT)}/{name}.log)\n{wrong}")
    print(f"\n{passed} of {sum(suites.values())} tests passed in {len(order)} suites, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if failed or passed != sum(suites.values()) else 0)


if __name__ == "__main__":
    main()
