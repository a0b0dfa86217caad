"""A shop's events with its system logs among them: what customers did is kept, the logs are filtered away.

The events are the 69,659 purchases of the CDNOW study (PyPI's `lifetimes` ships them), the logs are this machine's own.
Starts a broker from tidegate.toml and nothing else, runs producer.py and consumer.py, which know nothing of plugins,
and compares what is left with the same choice made here. Run it with `make examples`.
"""

import collections
import importlib.util
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "clients"))

from harness import environment

environment.enter()

from harness.broker import Broker
from harness.report import Report, same
from kafka import KafkaConsumer, TopicPartition

PARTITIONS = 3
LOGS = pathlib.Path("/var/log")
LOG_LINES = 20_000


def main():
    report = Report("behaviour")
    with Broker("behaviour", config=HERE / "tidegate.toml") as broker:
        events, logs = list(purchases()), list(system_logs(broker))
        mixed = mix(events, logs)
        path = broker.home / "shop.txt"
        path.write_text("".join(line + "\n" for line in mixed))
        print(f"{len(events):,} purchases and {len(logs):,} lines of system logs", flush=True)
        wanted = collections.Counter(line for line in mixed if tells_of_a_customer(line))
        with report.case("there is something to keep and something to drop"):
            same((len(events) > 60_000, len(logs) > 0, sum(wanted.values())), (True, True, len(events)), "input")
        for topic in ("behaviour", "everything"):
            with report.case(f"{topic}: a plain producer's records are all acknowledged"):
                run("producer.py", broker.bootstrap, topic, str(path))
                same(ends(broker, topic), len(mixed), "offsets given")
            with report.case(f"{topic}: a plain consumer sees what customers did, and nothing else"):
                seen = collections.Counter(run("consumer.py", broker.bootstrap, topic, f"{topic}-readers").splitlines())
                same((sum(seen.values()), seen == wanted), (len(events), True), "messages, and that they are the same")
        with report.case("the broker counted the same"):
            stats = {row["topic"]: row["stats"] for row in broker.plugin_stats("match")["bindings"]}
            counted = {name: stats["behaviour"][name] for name in ("records_in", "kept", "dropped")}
            same(counted, {"records_in": len(mixed), "kept": len(events), "dropped": len(logs)}, "on the produce chain")
            same(stats["everything"]["dropped"], len(logs), "dropped on the consume chain")
        with report.case("a second start from the same file changes nothing"):
            broker.restart()
            same(ends(broker, "behaviour"), len(mixed), "offsets")
        with report.case("the broker stops cleanly"):
            same(broker.stop(), 0, "exit code")
    sys.exit(report.finish())


def purchases():
    """Each line of the study's master file as an event."""
    package = pathlib.Path(importlib.util.find_spec("lifetimes").submodule_search_locations[0])
    with open(package / "datasets" / "CDNOW_master.txt") as rows:
        next(rows)
        for row in rows:
            customer, date, discs, dollars = row.split()
            event = {"event": "purchase", "customer": customer, "date": f"{date[:4]}-{date[4:6]}-{date[6:]}",
                     "discs": int(discs), "dollars": float(dollars)}
            yield json.dumps(event)


def system_logs(broker):
    """What this machine's package manager logged, and what the broker did."""
    count = 0
    for path in [*sorted(LOGS.glob("*.log")), broker.log]:
        for line in path.read_text(errors="replace").splitlines():
            if count < LOG_LINES and line.strip():
                yield line
                count += 1


def mix(events, logs):
    """Both, spread evenly."""
    mixed, sent = [], 0
    for number, event in enumerate(events, 1):
        mixed.append(event)
        due = number * len(logs) // len(events)
        mixed += logs[sent:due]
        sent = due
    return mixed


def tells_of_a_customer(line):
    try:
        return json.loads(line).get("customer") is not None
    except (ValueError, AttributeError):
        return False


def run(program, *arguments):
    """What one of the two programs prints."""
    done = subprocess.run([sys.executable, str(HERE / program), *arguments], capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        raise RuntimeError(f"{program} exited {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def ends(broker, topic):
    """The sum of a topic's end offsets: how many records it gave offsets to, dropped ones included."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    found = consumer.end_offsets([TopicPartition(topic, p) for p in range(PARTITIONS)])
    consumer.close()
    return sum(found.values())


if __name__ == "__main__":
    main()
