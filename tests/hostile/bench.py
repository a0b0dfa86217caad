#!/usr/bin/env python3
"""Figures about plugins that do harm: how far past its deadline one is cut off, and what a neighbour's requests take.

    bench.py      after `make plugins hostile`, on a quiet machine; three minutes

Everything is measured from outside, over one socket: a produce request of one record, from its first byte to its answer. The
circuit breaker is off, since it would end the harm. Quiet and hostile rounds alternate in one broker process; who feeds the
harm are processes of their own. The first row feeds a plugin that does none, as fast as it answers: what four busy producers
cost a neighbour anyway. A figure over its goal is marked and does not fail the run.
"""

import multiprocessing
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))

from harness import environment

environment.enter()

from harness import wire
from harness.broker import Broker
from neighbour import MATCH, create

CORPUS = environment.ROOT / "target" / "hostile" / "run"
NEVER = 1_000_000_000
CUT_OFF_GOAL_MS, P99_GOAL = 50, 2
DEADLINES_MS = {10: 60, 50: 60, 100: 40, 500: 12, 1000: 8}
# The second and third spend their time in calls of the host.
LOOPS = ("loop", "endless-log", "endless-counter")
HARMS = ("loop", "memory-bomb", "recursion", "edit-of-three-megabytes", "endless-log")
ROUNDS, ROUND_SECONDS, PACE_SECONDS = 6, 2.5, 0.004
ATTACKERS = 4
HARMLESS = "match"


def main():
    with Broker("hostile-bench") as broker:
        broker.push("match")
        for name in {*LOOPS, *HARMS}:
            broker.push(name, CORPUS / f"{name}.wasm")
        cut_off(broker)
        neighbours(broker)
        broker.stop()


def cut_off(broker):
    print(f"answer to a batch that loops, in ms past its deadline (goal: {CUT_OFF_GOAL_MS})")
    print(f"{'plugin':<18}{'deadline':>10}{'batches':>9}{'least':>9}{'median':>9}{'most':>9}")
    for deadline, count in DEADLINES_MS.items():
        overrun(broker, "loop", deadline, count)
    for name in LOOPS[1:]:
        overrun(broker, name, 100, 40)


def overrun(broker, name, deadline, count):
    topic = f"cut-{name}-{deadline}"
    create(broker.bootstrap, topic, 1, harmful(name, deadline))
    with wire.Connection(broker.port) as connection:
        took = sorted(once(connection, topic) * 1000 - deadline for _ in range(count))
    mark = "" if took[-1] <= CUT_OFF_GOAL_MS else "   over the goal"
    print(f"{name:<18}{deadline:>10}{count:>9}{took[0]:>9.1f}{took[count // 2]:>9.1f}{took[-1]:>9.1f}{mark}", flush=True)


def neighbours(broker):
    print(f"\nproduce of one record through `match` to a neighbour topic, acks=all, ms; {ATTACKERS} producers feed the harm "
          f"(goal: p99 at most {P99_GOAL} times the quiet one)")
    print(f"{'plugin':<26}{'quiet p50':>11}{'p99':>8}{'hostile p50':>13}{'p99':>8}{'p99 ratio':>11}{'requests':>10}")
    create(broker.bootstrap, "neighbour", 1, {"tidegate.produce.chain": "match", **MATCH})
    with wire.Connection(broker.port) as connection:
        sample(connection, 2 * ROUND_SECONDS)
        for name in (HARMLESS, *HARMS):
            topic = f"victim-{name}"
            create(broker.bootstrap, topic, ATTACKERS, {**harmful(name, 200), **(MATCH if name == HARMLESS else {})})
            quiet, hostile = [], []
            for _ in range(ROUNDS):
                quiet += sample(connection, ROUND_SECONDS)
                with Attack(broker, topic):
                    hostile += sample(connection, ROUND_SECONDS)
            show(name, sorted(quiet), sorted(hostile))


def show(name, quiet, hostile):
    ratio = quantile(hostile, 0.99) / quantile(quiet, 0.99)
    mark = "" if ratio <= P99_GOAL else "   over the goal"
    print(f"{name:<26}{quantile(quiet, 0.5):>11.2f}{quantile(quiet, 0.99):>8.2f}{quantile(hostile, 0.5):>13.2f}"
          f"{quantile(hostile, 0.99):>8.2f}{ratio:>11.2f}{len(quiet) + len(hostile):>10}{mark}", flush=True)


def sample(connection, seconds):
    """What each request took, in ms, at one every four milliseconds at most."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        took.append(once(connection, "neighbour") * 1000)
        time.sleep(PACE_SECONDS)
    return took


class Attack:
    """Producers that feed a topic whose plugin does harm, each as fast as it is answered and in a process of its own: threads
    would hold up the one that measures."""

    def __init__(self, broker, topic):
        fork = multiprocessing.get_context("fork")
        self.over = fork.Event()
        self.feeders = [fork.Process(target=self._feed, args=(broker.port, topic, partition), daemon=True)
                        for partition in range(ATTACKERS)]

    def __enter__(self):
        for feeder in self.feeders:
            feeder.start()

    def __exit__(self, *_):
        self.over.set()
        for feeder in self.feeders:
            feeder.join(30)

    def _feed(self, port, topic, partition):
        with wire.Connection(port) as connection:
            while not self.over.is_set():
                once(connection, topic, partition)


def harmful(name, deadline):
    return {"tidegate.produce.chain": name, f"tidegate.limit.{name}.deadline.ms": str(deadline),
            f"tidegate.limit.{name}.breaker.failures": str(NEVER)}


def once(connection, topic, partition=0):
    """Seconds for one record."""
    batch = wire.record_batch([b"keep harm"], int(time.time() * 1000))
    started = time.monotonic()
    wire.produce(connection, topic, partition, batch)
    return time.monotonic() - started


def quantile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


if __name__ == "__main__":
    main()
