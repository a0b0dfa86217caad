#!/usr/bin/env python3
"""Runs the fault tests against the release build, one script after another; the last line sums what they counted.

    run.py [NAME ...]      of NAMES below

Everything runs on loopback, in directories of its own, bounded in count and time. Standard library only; the scripts
themselves run in the virtual environment of tests/clients.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness.runner import run_all

NAMES = ("crash", "dead_letters", "gap", "strace", "hostile_frames", "bombs", "power_cut", "disk_errors", "disk_full", "damage",
         "disk_space", "cleaning", "slow_consumers")

if __name__ == "__main__":
    run_all("faults", HERE, sys.argv[1:] or NAMES, limit_seconds=int(os.environ.get("TIDEGATE_FAULT_SECONDS", "300")))
