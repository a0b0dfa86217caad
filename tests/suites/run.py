#!/usr/bin/env python3
"""Runs the suites that clients' authors wrote, unmodified, and Kafka's own tools, against Tidegate and Apache Kafka 4.1.

    run.py [--broker tidegate|kafka|both] [--write] [SUITE ...]

Prints the page of all results there are; `--write` puts it into docs/compatibility.md. Results of a run are kept in the cache,
so that one suite can be run again against one broker. The last line is `N passed, M failed, K skipped`, where a failure with
an explanation counts as skipped.
"""

import argparse
import json
import sys
import time
import traceback

from suite import CACHE, FAILED, NotRun, PASSED, SKIPPED, move

from harness import environment

if __name__ == "__main__":
    environment.enter()

import page
from harness.broker import Broker
from harness.kafka import Kafka

from aiokafka_client import Aiokafka
from confluent_kafka_python import ConfluentKafka, ConfluentKafka848
from franz_go import FranzGo
from kafka_python_client import KafkaPython
from librdkafka import Librdkafka, Librdkafka848, LibrdkafkaNoAutoCreate
from rdkafka import Rdkafka
from rskafka import Rskafka
from streams import Streams
from tools import Tools

SUITES = {suite.__name__: suite for suite in (
    KafkaPython, ConfluentKafka, ConfluentKafka848, Aiokafka, Librdkafka, Librdkafka848, LibrdkafkaNoAutoCreate, Rdkafka, Rskafka, FranzGo,
    Tools, Streams)}
BROKERS = {"tidegate": Broker, "kafka": Kafka}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=[*BROKERS, "both"], default="tidegate")
    parser.add_argument("--write", action="store_true", help="put the page into docs/compatibility.md")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all when none is named")
    options = parser.parse_args()
    chosen = [SUITES[name]() for name in options.suites or SUITES]
    for suite in chosen:
        try:
            suite.prepare()
        except NotRun as reason:
            print(f"{suite.NAME}: not run: {reason}", flush=True)
            keep(suite, "tidegate", not_run=str(reason))
            continue
        for broker in BROKERS if options.broker == "both" else [options.broker]:
            run(suite, broker)
    everything = [(suite(), {broker: kept(suite, broker) for broker in BROKERS}) for suite in SUITES.values()]
    text = page.text(everything)
    print(text, flush=True)
    if options.write:
        page.write(text)
    passed, failed, skipped = page.closing(entry for entry in everything if type(entry[0]) in map(type, chosen))
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(1 if failed else 0)


def run(suite, name):
    log = CACHE / "logs" / f"{name}-{type(suite).__name__}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    started = time.monotonic()
    broker = BROKERS[name](f"suite-{name}", suite.CONFIGS)
    if suite.PORT:
        move(broker, suite.PORT)
    ready = False
    try:
        broker.start()
        ready = True
        outcomes = suite.run(broker, log)
    except Exception as error:  # one suite that breaks must not hide the others
        traceback.print_exc(file=sys.stdout)
        outcomes = {"(the whole suite)": (FAILED, f"{type(error).__name__}: {error}"[:300])}
    finally:
        broker.close()
    if name == "kafka" and not ready:
        # Which says nothing about the suite.
        keep(suite, name, not_run="Apache Kafka did not start")
        return
    seconds = time.monotonic() - started
    keep(suite, name, outcomes=outcomes, seconds=seconds)
    counts = {outcome: sum(said[0] == outcome for said in outcomes.values()) for outcome in (PASSED, FAILED, SKIPPED)}
    print(f"{suite.NAME} on {name}: {counts} in {seconds:.0f} s; {log}", flush=True)
    for test, (outcome, detail) in outcomes.items():
        if outcome == FAILED:
            print(f"  {test}: {suite.why(test) or '?'}: {detail}", flush=True)


def keep(suite, broker, **said):
    path = results(type(suite), broker)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": suite.VERSION, **said}, indent=1))


def kept(suite, broker):
    """What the last run of this version against this broker said; None when there was none."""
    path = results(suite, broker)
    said = json.loads(path.read_text()) if path.is_file() else None
    return said if said and said["version"] == suite.VERSION else None


def results(suite, broker):
    return CACHE / "results" / f"{broker}-{suite.__name__}.json"


if __name__ == "__main__":
    main()
