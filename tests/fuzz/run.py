#!/usr/bin/env python3
"""Fuzzes: builds the targets with coverage counters, runs each for a while, and prints what came of it.

    run.py [--seconds N | --total N] [--jobs N] [TARGET ...]

Each run begins with the seeds of `corpus/` and with what earlier runs found, which is kept outside of the checkout
(`TIDEGATE_FUZZ_DIR`, else ~/.cache/tidegate/fuzz). An input that breaks a target is printed as a line for `corpus/`.
The last line is `N passed, N failed`, a target each. Standard library only.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ.get("TIDEGATE_FUZZ_DIR", pathlib.Path.home() / ".cache/tidegate/fuzz"))
BUILD = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
# What libFuzzer asks of the compiler; all of it is in a stable one. They are given with --target, so that programs that
# only build others go without.
COUNTERS = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=4",
]
# Bytes of an input, where it is not this; the seeds of every target are shorter.
MAX_LEN = {"decompress": 16 << 10, "batches": 16 << 10}
DEFAULT_MAX_LEN = 4 << 10
# Of one input: far more than any takes, far less than a loop that is quadratic in a large one.
TIMEOUT_S = 10
RSS_MB = 1024


@dataclasses.dataclass
class Result:
    target: str
    executions: int
    coverage: int
    corpus: int
    crashes: list  # (path of the input, what the target said)


def main():
    options = arguments()
    targets = options.targets or sorted(path.stem for path in HERE.glob("corpus/*.hex"))
    seconds = options.seconds or max(1, options.total * options.jobs // len(targets))
    program = build()
    print(f"{len(targets)} targets, {seconds} s each, {options.jobs} at a time; corpus in {WORK}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda target: fuzz(program, target, seconds), targets))
    print(f"\n{'target':<16}{'executions':>12}{'per second':>12}{'coverage':>10}{'corpus':>8}{'crashes':>9}")
    for result in results:
        print(f"{result.target:<16}{result.executions:>12}{result.executions // seconds:>12}{result.coverage:>10}"
              f"{result.corpus:>8}{len(result.crashes):>9}")
    failed = [result for result in results if result.crashes or not result.executions]
    for result in failed:
        tell(result)
    print(f"\n{len(results) - len(failed)} passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, help="of each target")
    parser.add_argument("--total", type=int, default=60, help="seconds of all targets together, when --seconds is not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at one time")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    return parser.parse_args()


def build():
    """The program, instrumented. Its target directory is the one of everything else, in a directory for its machine."""
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (.+)$", said, re.MULTILINE).group(1)
    environ = {**os.environ, "CARGO_TARGET_DIR": str(BUILD), "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(COUNTERS)}
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--profile", "fuzz", "--features", "libfuzzer", "--target", host,
                    "--bin", "tidegate-fuzz"], cwd=HERE, env=environ, check=True)
    return BUILD / host / "fuzz" / "tidegate-fuzz"


def fuzz(program, target, seconds):
    home = WORK / target
    corpus, seeds, broken = (home / name for name in ("corpus", "seeds", "broken"))
    for directory in (corpus, seeds, broken):
        directory.mkdir(parents=True, exist_ok=True)
    for stale in [*seeds.iterdir(), *broken.iterdir()]:
        stale.unlink()
    unpack(target, seeds)
    command = [program, corpus, seeds, f"-max_total_time={seconds}", f"-max_len={MAX_LEN.get(target, DEFAULT_MAX_LEN)}",
               f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={RSS_MB}", f"-artifact_prefix={broken}/", "-print_final_stats=1",
               "-detect_leaks=0", "-verbosity=1"]
    done = subprocess.run([str(part) for part in command], env={**os.environ, "TIDEGATE_FUZZ_TARGET": target},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    last = re.findall(r"cov: (\d+)", done.stderr)
    executed = re.search(r"number_of_executed_units: +(\d+)", done.stderr)
    crashes = [(path, done.stderr[-3000:]) for path in sorted(broken.iterdir()) if not path.name.startswith("slow-unit")]
    if done.returncode and not crashes:
        crashes = [(None, done.stderr[-3000:])]
    print(f"{'FAIL' if crashes else 'ok  '} {target}", flush=True)
    return Result(target, int(executed.group(1)) if executed else 0, int(last[-1]) if last else 0,
                  sum(1 for _ in corpus.iterdir()), crashes)


def unpack(target, seeds):
    """Writes each line of the target's seeds as a file of its own, as libFuzzer wants them."""
    for line in (HERE / "corpus" / f"{target}.hex").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, digits = line.partition(" ")
            (seeds / name).write_bytes(bytes.fromhex(digits))


def tell(result):
    print(f"\n{result.target}:")
    for path, said in result.crashes:
        print(said)
        if path:
            print(f"for corpus/{result.target}.hex:\nfound-{path.name[-12:]} {path.read_bytes().hex()}")


if __name__ == "__main__":
    main()
