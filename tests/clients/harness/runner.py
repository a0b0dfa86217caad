"""Runs scripts that report their checks, shows their lines as they come, and sums what they counted."""

import re
import subprocess
import sys
import threading
import time

from . import environment

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def counted(command, limit_seconds):
    """(passed, failed, skipped). A script that ends without its closing line, or not in time, has one failure more."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               stdin=subprocess.DEVNULL)
    late = threading.Event()
    timer = threading.Timer(limit_seconds, lambda: (late.set(), process.kill()))
    timer.start()
    counts, seen = None, {"ok  ": 0, "FAIL": 0, "skip": 0}
    for line in process.stdout:
        closing = CLOSING.match(line)
        if closing:
            counts = tuple(int(count or 0) for count in closing.groups())
            continue
        if line[:4] in seen and line[4:5] == " ":
            seen[line[:4]] += 1
        print(line, end="", flush=True)
    process.wait()
    timer.cancel()
    if counts:
        return counts
    why = f"was ended after {limit_seconds} s" if late.is_set() else f"exited {process.returncode} before its closing line"
    print(f"FAIL {' '.join(command[2:])} {why}", flush=True)
    return seen["ok  "], seen["FAIL"] + 1, seen["skip"]


def run_all(title, directory, names, limit_seconds):
    """Runs scripts of a directory in the virtual environment, prints a table and the closing line, and exits."""
    rows = []
    for name in names:
        started = time.monotonic()
        counts = counted([str(environment.python()), "-u", str(directory / f"{name}.py")], limit_seconds)
        rows.append((name, *counts, time.monotonic() - started))
    print(f"\n{title:<18}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name, passed, failed, skipped, seconds in rows:
        print(f"{name:<18}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.1f}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (1, 2, 3))
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    sys.exit(1 if failed or not passed else 0)
