#!/usr/bin/env python3
"""Runs the compatibility matrix: unmodified Kafka clients against Tidegate, and against Apache Kafka 4.1 to compare.

Every client has a broker and a process of its own (cells.py), in which each feature of `matrix/` is tried. Needs the release
build and target/plugins (`make build plugins`); installs the clients itself, outside the checkout ($TIDEGATE_CACHE,
~/.cache/tidegate). A client that cannot be installed is a failure here, and "not run" on the page. Standard library only.

    run.py [CLIENT ...]                 on Tidegate, and the programs of their own, as those of design/seed
    run.py --core                       the clients that stand for all in `make test`
    run.py --broker both --page         everything on both, and docs/compatibility.md from it
"""

import argparse
import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from adapters import NAMES
from harness import environment, page
from harness.report import Report
from harness.runner import counted

LIMIT_SECONDS = 1500
# They wait more than they work: for intervals, quotas and retention.
CLIENTS_AT_ONCE = 3
# Programs of their own, which start their brokers themselves.
ALONE = ("seed", "quotas", "transactions", "groups_kip848")
# Not those that are compiled for minutes first, or that repeat one of these.
CORE = ("confluent-kafka", "kafka-python", "kafkajs", "java-4.1", "franz-go", "kcat", "aiokafka", "sarama", "java-3.9", *ALONE)
RESULTS = environment.ROOT / "target" / "conformance"
INSTALL = {
    "kcat": lambda: environment.apt("kcat", "kcat"),
    "kafkajs": environment.node_modules,
    "confluent-kafka-js": environment.confluent_js,
    "platformatic": environment.node_modules,
    "java-4.1": lambda: environment.java_driver("4.1"),
    "java-3.9": lambda: environment.java_driver("3.9"),
    "franz-go": environment.go_driver,
    "sarama": environment.go_driver,
    "rdkafka": environment.rust_driver,
    "rskafka": environment.rust_driver,
    "transactions": lambda: environment.jars("client-4.1"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join([*NAMES, *ALONE])}")
    parser.add_argument("--core", action="store_true", help=f"only {', '.join(CORE)}")
    parser.add_argument("--broker", choices=("tidegate", "kafka", "both"), default="tidegate")
    parser.add_argument("--only", nargs="*", default=[], help="names of features")
    parser.add_argument("--page", action="store_true", help="write docs/compatibility.md from all results so far")
    options = parser.parse_args()
    environment.enter()
    clients = options.clients or (CORE if options.core else [*NAMES, *ALONE])
    brokers = ("tidegate", "kafka") if options.broker == "both" else (options.broker,)
    RESULTS.mkdir(parents=True, exist_ok=True)
    # The programs take longest, and do not wait for the clients.
    clients = sorted(clients, key=lambda client: client not in ALONE)
    installed = {client: install(client) for client in clients}
    with ThreadPoolExecutor(CLIENTS_AT_ONCE) as pool:
        rows = list(pool.map(lambda pair: tested(*pair, installed[pair[0]], options.only),
                             [(client, broker) for broker in brokers for client in clients
                              if client not in ALONE or broker == "tidegate"]))
    if options.page:
        page.write(RESULTS)
    sys.exit(summary(rows))


def install(client):
    """None, or why it cannot be had."""
    try:
        environment.python()
        INSTALL.get(client, lambda: None)()
    except Exception as error:
        return f"not installed: {' '.join(str(error).split())[-300:]}"
    return None


def tested(client, broker, missing, only):
    """(client, broker, passed, failed, skipped, seconds)"""
    started = time.monotonic()
    results = RESULTS / f"{broker}-{client}.jsonl"
    if not only:
        results.unlink(missing_ok=True)
    if missing:
        Report(f"{client} on {broker}").check("installed", False, missing)
        page.not_run(RESULTS, client, broker, missing)
        counts = (0, 1, 0)
    elif client in ALONE:
        counts = child([environment.CLIENTS / f"{client}.py"])
    else:
        command = [environment.CLIENTS / "cells.py", client, broker, "--results", results]
        counts = child(command + (["--only", *only] if only else []))
    return client, broker, *counts, time.monotonic() - started


def child(command):
    """Runs a script in the virtual environment, shows what it says and returns what it counted."""
    return counted([str(environment.python()), "-u", *map(str, command)], LIMIT_SECONDS)


def summary(rows):
    print(f"\n{'client':<20}{'broker':<10}{'passed':>8}{'failed':>8}{'n/a':>6}{'seconds':>9}")
    for client, broker, passed, failed, skipped, seconds in rows:
        print(f"{client:<20}{broker:<10}{passed:>8}{failed:>8}{skipped:>6}{seconds:>9.1f}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (2, 3, 4))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    main()
