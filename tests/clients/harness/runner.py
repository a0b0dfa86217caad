"""Runs a script that reports its checks, shows its lines as they come, and returns what it counted."""

import re
import subprocess
import threading

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
