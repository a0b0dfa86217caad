#!/usr/bin/env python3
"""Runs the fault tests against the release build, one script after another; the last line sums what they counted.

    run.py [NAME ...]      of crash, gap, strace, hostile_frames, hostile_plugins

Everything runs on loopback, in directories of its own, bounded in count and time. Standard library only; the scripts
themselves run in the virtual environment of tests/clients.
"""

import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import environment

NAMES = ("crash", "gap", "strace", "hostile_frames", "hostile_plugins")
LIMIT_SECONDS = 300
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)


def main():
    rows = []
    for name in sys.argv[1:] or NAMES:
        started = time.monotonic()
        rows.append((name, *run(name), time.monotonic() - started))
    print(f"\n{'faults':<18}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name, passed, failed, skipped, seconds in rows:
        print(f"{name:<18}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.1f}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (1, 2, 3))
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    sys.exit(1 if failed or not passed else 0)


def run(name):
    """(passed, failed, skipped) of one script."""
    process = subprocess.Popen([str(environment.python()), "-u", str(HERE / f"{name}.py")], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        said, _ = process.communicate(timeout=LIMIT_SECONDS)
        ended = f"exited {process.returncode} without a closing line"
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        ended = f"was ended after {LIMIT_SECONDS} s"
    closing = CLOSING.search(said)
    print(CLOSING.sub("", said).rstrip(), flush=True)
    if closing:
        return tuple(int(count or 0) for count in closing.groups())
    print(f"FAIL {name}: {ended}", flush=True)
    return len(re.findall(r"^ok   ", said, re.M)), len(re.findall(r"^FAIL ", said, re.M)) + 1, 0


if __name__ == "__main__":
    main()
