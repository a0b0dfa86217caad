#!/usr/bin/env python3
"""Tidegate beside Apache Kafka 4.1, on this machine: ratios, each taken within a round in which both ran the same.

    kafka.py [--quick | --scaling] [--cases PATTERN] [--rounds N] [--out FILE] [-o json] [--docs FILE] [--list]
    kafka.py --show FILE [--docs FILE]      an earlier run again

Wants a quiet machine. `--quick` takes a few minutes and shows gross differences; the whole takes about an hour. Each case is
bounded in time and bytes. Progress goes to standard error; the table, or JSON, to standard output; all figures of all rounds to
the file. A goal that is missed does not fail the run.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))

from harness import environment

environment.enter()

import brokers
import cases
import table
from page_cache import PageCache

BEGIN, END = "<!-- bench-kafka: begin -->", "<!-- bench-kafka: end -->"
RESULTS = environment.ROOT / "target" / "bench-kafka.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few cases, short, two rounds")
    parser.add_argument("--scaling", action="store_true", help="instead: the curves that plot.py draws")
    parser.add_argument("--cases", default="", metavar="PATTERN", help="only those whose name has this regular expression")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="5, or 2 when quick")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS, metavar="FILE", help=f"default: {RESULTS}")
    parser.add_argument("-o", dest="output", choices=("table", "json"), default="table")
    parser.add_argument("--docs", type=pathlib.Path, metavar="FILE", help="puts the table between the markers of a document")
    parser.add_argument("--show", type=pathlib.Path, metavar="FILE", help="measures nothing: what a results file holds")
    parser.add_argument("--list", action="store_true", help="names the cases and ends")
    options = parser.parse_args()
    if options.show:
        return tell(json.loads(options.show.read_text()), options)
    known = cases.scaling_cases() if options.scaling else cases.all_cases()
    chosen = [case for case in known if re.search(options.cases, case.name)
              and (case.quick or options.cases or options.scaling or not options.quick)]
    if options.list:
        return print("\n".join(case.name for case in chosen))
    if not chosen:
        raise SystemExit(f"no case has {options.cases} in its name; --list names them")
    bench = Bench(cases.QUICK if options.quick else cases.FULL, options.rounds or (2 if options.quick else 5), options.out)
    bench.run(chosen)
    tell(bench.results(), options)


def tell(results, options):
    print(json.dumps(results, indent=1) if options.output == "json" else text(results))
    if options.docs:
        before, rest = options.docs.read_text().split(BEGIN)
        options.docs.write_text(f"{before}{BEGIN}\n{text(results)}\n{END}{rest.split(END)[1]}")


def text(results):
    """The table with what is said above and below it; Markdown."""
    met = [row["met"] for row in results["rows"] if row.get("met") is not None]
    peaks = {side: max((both[side].get("peak MB", 0) for rounds in results["measured"].values() for both in rounds if side in both),
                       default=0) for side in brokers.SIDES}
    return "\n".join([
        ", ".join(f"{key}: {value}" for key, value in results["machine"].items()), "",
        table.markdown(results["rows"]), "",
        f"{sum(met)} of {len(met)} goals met, by the median of {results['rounds']} rounds. Highest resident memory under load: Tidegate "
        f"{peaks['tidegate']:.0f} MB of a budget of {brokers.TIDEGATE_BUDGET / 1e6:.0f} MB, Kafka {peaks['kafka']:.0f} MB with a heap of "
        "1 GB.",
        *(f"\nFAILED {name}: {why}" for name, why in results["failed"].items())])


class Bench:
    """Runs cases in rounds and keeps what they measured, also when it is interrupted."""

    def __init__(self, bounds, rounds, out):
        self.bounds, self.rounds, self.out = bounds, rounds, out
        self.measured, self.failed, self.rows = {}, {}, []
        self.began = time.time()

    def run(self, chosen):
        shared = [case for case in chosen if not case.own_broker]
        try:
            with PageCache() as self.page_cache:
                say("filling the page cache")
                self.page_cache.fill()
                if shared:
                    self.run_shared(shared)
                for case in chosen:
                    if case.own_broker:
                        self.run_case(case, None)
        except KeyboardInterrupt:
            say("interrupted: what was measured until now")

    def run_shared(self, chosen):
        """Both processes live through all cases, so that what a JVM compiles stays compiled."""
        with brokers.TidegateSide() as tidegate, brokers.KafkaSide() as kafka:
            both = {"tidegate": tidegate, "kafka": kafka}
            if any(getattr(case, "chain", False) for case in chosen):
                tidegate.push("match")
            for side, broker in both.items():
                say(f"warming {side} up")
                cases.warm_up(broker, self.bounds)
            for case in chosen:
                self.run_case(case, both)

    def run_case(self, case, both):
        kept = self.measured.setdefault(case.name, [])
        try:
            for side, broker in (both or {}).items():
                case.prepare(broker, side, self.bounds)
            for number in range(self.rounds):
                # Who goes first meets the emptier page cache.
                order = list(brokers.SIDES) if number % 2 == 0 else list(reversed(brokers.SIDES))
                kept.append({side: self.measure(case, side, both) for side in order})
                say(f"{case.name}: round {number + 1} of {self.rounds}: {brief(case, kept[-1])}")
            for side, broker in (both or {}).items():
                case.finish(broker, side)
        except Exception as error:  # one case that cannot run must not cost the others
            self.failed[case.name] = f"{type(error).__name__}: {error}"
            say(f"{case.name}: FAILED: {self.failed[case.name]}")
            dead = [side for side, broker in (both or {}).items() if not broker.alive()]
            if dead:
                raise SystemExit(f"{', '.join(dead)} ended while running {case.name}") from error
        self.rows += table.rows(case, kept)
        self.save()

    def measure(self, case, side, both):
        # What the other one left to be written must not be written at the cost of this one.
        os.sync()
        self.page_cache.fill()
        if both:
            return case.measure(both[side], side, self.bounds)
        broker = brokers.SIDES[side]()
        try:
            return case.measure(broker, side, self.bounds)
        finally:
            broker.close()

    def results(self):
        return {"machine": machine(), "began": self.began, "seconds": time.time() - self.began, "rounds": self.rounds, "bounds": vars(self.bounds),
                "rows": self.rows, "failed": self.failed, "measured": self.measured}

    def save(self):
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.results(), indent=1))


def brief(case, both):
    parts = []
    for figure in case.goals:
        ours, theirs = (both[side].get(figure) for side in ("tidegate", "kafka"))
        if ours is not None and theirs:
            parts.append(f"{figure} {ours:.4g} to {theirs:.4g}")
    return ", ".join(parts)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=environment.ROOT, capture_output=True, text=True)
    return {"commit": commit.stdout.strip() or "unknown", "cores": os.cpu_count(), "cpu": model, "kernel": platform.release(),
            "load": " ".join(f"{load:.2f}" for load in os.getloadavg()), "kafka": "4.1", "when": time.strftime("%Y-%m-%d %H:%M")}


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
