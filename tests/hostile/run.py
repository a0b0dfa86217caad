#!/usr/bin/env python3
"""Runs the tests with plugins that do harm, one script after another; the last line sums what they counted.

    run.py [NAME ...]      of corpus, attack

Everything runs on loopback, in directories of its own, bounded in count and time. Standard library only; the scripts
themselves run in the virtual environment of tests/clients.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness.runner import run_all

if __name__ == "__main__":
    run_all("hostile", HERE, sys.argv[1:] or ("corpus", "attack"), limit_seconds=600)
