#!/usr/bin/env python3
"""Runs unmodified Kafka clients against Tidegate: one broker, one process and the same scenario for each client.

Needs the release build and target/plugins (`make build plugins`); installs the clients itself, outside the checkout
($TIDEGATE_CACHE, ~/.cache/tidegate). A client that cannot be installed is a failure. Standard library only.

    run.py [CLIENT ...]                     all clients, the programs of design/seed, and transactions
    run.py --bootstrap HOST:PORT [CLIENT]   against another broker, without the plugin checks
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from adapters import NAMES
from harness import environment
from harness.broker import Broker
from harness.report import Report
from harness.runner import counted

LIMIT_SECONDS = 420
INSTALL = {
    "kcat": lambda: environment.apt("kcat", "kcat"),
    "kafkajs": environment.node_modules,
    "java-4.1": lambda: environment.jars("client-4.1"),
    "java-3.9": lambda: environment.jars("client-3.9"),
    "franz-go": environment.go_driver,
    "sarama": environment.go_driver,
    "transactions": lambda: environment.jars("client-4.1"),
}
# Programs of their own, which start their brokers themselves.
ALONE = ("seed", "quotas", "transactions", "groups_kip848")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join([*NAMES, *ALONE])}")
    parser.add_argument("--bootstrap", help="a broker that runs already; the plugin checks are left out")
    options = parser.parse_args()
    rows = []
    for client in options.clients or [*NAMES, *([] if options.bootstrap else ALONE)]:
        started = time.monotonic()
        counts = tested(client, options.bootstrap)
        rows.append((client, *counts, time.monotonic() - started))
    sys.exit(summary(rows))


def tested(client, bootstrap):
    """(passed, failed) of one client."""
    report = Report(client)
    counts = (0, 0)
    with report.case("installed"):
        INSTALL.get(client, lambda: None)()
        environment.python()
    if report.failed:
        return 0, 1
    if bootstrap:
        counts = scenario(client, ["--bootstrap", bootstrap])
    elif client in ALONE:
        counts = child([str(environment.CLIENTS / f"{client}.py")])
    else:
        with report.case("broker started, served and stopped cleanly"):
            with Broker(client) as broker:
                for plugin in ("match", "route"):
                    broker.push(plugin)
                counts = scenario(client, ["--bootstrap", broker.bootstrap, "--admin", broker.admin])
                if counts[1]:
                    print(f"the broker's log ends:\n{broker.tail()}")
                code = broker.stop()
                if code != 0:
                    raise RuntimeError(f"exit code {code} after SIGTERM:\n{broker.tail()}")
    return report.passed + counts[0], len(report.failed) + counts[1]


def scenario(client, options):
    return child([str(environment.CLIENTS / "scenario.py"), client, *options])


def child(command):
    """Runs a script in the virtual environment, shows what it says and returns the (passed, failed) it counted."""
    return counted([str(environment.python()), "-u", *command], LIMIT_SECONDS)[:2]


def summary(rows):
    print(f"\n{'client':<18}{'passed':>8}{'failed':>8}{'seconds':>9}")
    for client, passed, failed, seconds in rows:
        print(f"{client:<18}{passed:>8}{failed:>8}{seconds:>9.1f}")
    passed, failed = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(f"\n{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    main()
