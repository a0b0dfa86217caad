"""Test binaries of a crate from the registry: built once, run one after the other."""

import json
import os
import pathlib

from suite import CACHE, FAILED, bounded, built, cargo_outcomes, ended

# A toolchain file of the crate's authors names what need not be installed.
TOOLCHAIN = {"RUSTUP_TOOLCHAIN": os.environ.get("RUSTUP_TOOLCHAIN", "stable")}


def test_binaries(home, *arguments):
    """{target: path of its test binary}"""
    target = CACHE / "cargo-target"
    said = built(["cargo", "test", "--no-run", "--message-format", "json", *arguments], cwd=home,
                 env={"CARGO_TARGET_DIR": str(target), **TOOLCHAIN}, limit_seconds=3600)
    found = {}
    for line in said.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message.get("profile", {}).get("test"):
            if {"lib", "test"} & set(message["target"]["kind"]):
                found[message["target"]["name"]] = pathlib.Path(message["executable"])
    return found


def run(suite, log, env, *arguments):
    """Outcomes of all binaries of `suite.binaries`, each within the suite's limit."""
    outcomes = {}
    for name, binary in suite.binaries.items():
        begin = log.stat().st_size if log.exists() else 0
        code = bounded([binary, *arguments], log, suite.LIMIT_SECONDS, cwd=suite.home, env=env)
        with open(log, "rb") as text:
            text.seek(begin)
            found = cargo_outcomes(text.read().decode(errors="replace"), name)
        if code is None:
            found[f"{name}::(all)"] = (FAILED, "was ended at its time limit")
        outcomes.update(found)
    return ended(outcomes, 0)
