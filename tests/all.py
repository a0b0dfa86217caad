#!/usr/bin/env python3
"""`make test`: runs the phases in turn, shows what they say, and sums what they counted in one closing line.

The closing line is `N passed, N failed`, alone on the last line. A phase that breaks without counting a failure counts as
one. If the build breaks, the phases that need it are not run. Standard library only.
"""

import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# make target, and whether the rest is pointless without it.
PHASES = [
    ("setup", True),
    ("build", True),
    ("plugins", True),
    ("test-rust", False),
    ("test-plugins", False),
    ("test-clients", False),
    ("test-faults", False),
    ("test-hostile", False),
    ("test-docs", False),
    ("test-languages", False),
    ("test-fuzz", False),
    ("examples", False),
    ("check", False),
]
CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
OURS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def main():
    rows = []
    for target, needed in PHASES:
        rows.append(run(target))
        if needed and rows[-1][2]:
            break
    print(f"\n{'phase':<14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for target, passed, failed, skipped, seconds in rows:
        print(f"{target:<14}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.0f}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (1, 2, 3))
    print(f"{'all':<14}{passed:>8}{failed:>8}{skipped:>9}{sum(row[4] for row in rows):>9.0f}\n")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    sys.exit(1 if failed or not passed else 0)


def run(target):
    """(target, passed, failed, skipped, seconds)"""
    print(f"\n=== make {target}", flush=True)
    started = time.monotonic()
    counts = [0, 0, 0]
    # Keeps going past the first broken test binary, so that one failure does not hide the others.
    command = ["make", "--no-print-directory", "-k", target]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
    for line in process.stdout:
        found = CARGO.match(line) or OURS.match(line)
        if found:
            counts = [so_far + int(more or 0) for so_far, more in zip(counts, found.groups())]
        # The closing line of a phase is not the closing line of the run.
        print(f"{target}: {line}" if OURS.match(line) else line, end="", flush=True)
    code = process.wait()
    passed, failed, skipped = counts
    if code != 0 and not failed:
        print(f"FAIL make {target} exited {code}", flush=True)
        failed = 1
    return target, passed, failed, skipped, time.monotonic() - started


if __name__ == "__main__":
    main()
