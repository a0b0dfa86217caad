#!/usr/bin/env python3
"""Runs the fault tests against the release build, one script after another; the last line sums what they counted.

    run.py [NAME ...]      of crash, gap, strace, hostile_frames, hostile_plugins

Everything runs on loopback, in directories of its own, bounded in count and time. Standard library only; the scripts
themselves run in the virtual environment of tests/clients.
"""

import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import environment
from harness.runner import counted

NAMES = ("crash", "gap", "strace", "hostile_frames", "hostile_plugins")
LIMIT_SECONDS = 300


def main():
    rows = []
    for name in sys.argv[1:] or NAMES:
        started = time.monotonic()
        counts = counted([str(environment.python()), "-u", str(HERE / f"{name}.py")], LIMIT_SECONDS)
        rows.append((name, *counts, time.monotonic() - started))
    print(f"\n{'faults':<18}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name, passed, failed, skipped, seconds in rows:
        print(f"{name:<18}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.1f}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (1, 2, 3))
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
