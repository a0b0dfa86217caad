"""The features of the matrix with one client on one broker: a column. Run by run.py, in a process of its own."""

import argparse
import concurrent.futures
import pathlib
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import adapters
from adapters.base import Context
from adapters.explained import explained
from harness import wire
from harness.brokers import BROKERS
from harness.outcome import ABSENT, FAILED, MISSING, PASSED, Outcome, written
from harness.report import Report
from matrix import FEATURES
from matrix.cell import APIS, Cell

# Cells wait more than they work, so several run at once; a broker sees them as so many users.
AT_ONCE = 4
CELL_SECONDS = 240


class Column:
    def __init__(self, name, broker, report, results):
        self.broker, self.report, self.results = broker, report, results
        context = Context(broker.bootstrap)
        with wire.Connection(broker.port) as raw:
            self.served = wire.api_versions(raw)
        self.client, self.admin = adapters.load(name, context), adapters.load("confluent-kafka", context)
        self.explained = explained(name)
        self.guard = threading.Lock()

    def run(self, features):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.cell, [f for f in features if not f.alone]))
        for feature in (f for f in features if f.alone):
            self.cell(feature)

    def cell(self, feature):
        started = time.monotonic()
        absent = next((need for need in (feature.name, *feature.needs) if need in self.client.absent), None)
        if absent:
            self.tell(Outcome(feature.name, ABSENT, self.client.absent[absent]))
            return
        missing = next((need for need in feature.needs if APIS.get(need, wire.METADATA) not in self.served), None)
        if missing:
            self.tell(Outcome(feature.name, MISSING, f"the broker does not serve API {APIS[missing]}"))
            return
        box = []
        worker = threading.Thread(target=lambda: box.append(self.tried(feature)), daemon=True)
        worker.start()
        worker.join(CELL_SECONDS)
        error = box[0] if box else TimeoutError(f"no end after {CELL_SECONDS} s")
        seconds = time.monotonic() - started
        self.tell(Outcome(feature.name, FAILED if error else PASSED, said(error) if error else "", round(seconds, 1)), error)

    def tried(self, feature):
        """None, or what went wrong."""
        cell = Cell(feature, self.client, self.admin, self.broker)
        try:
            feature.run(cell)
            cell.close()
        except Exception as error:
            try:
                cell.close()
            except Exception:
                pass  # what went wrong first is what counts
            return error
        return None

    def end(self):
        """Ends the client's own processes; how they take it is no feature."""
        try:
            self.client.close()
        except Exception as error:
            print(f"the client does not close: {said(error)}", flush=True)

    def tell(self, outcome, error=None):
        with self.guard:
            self.results.write(written(outcome) + "\n")
            self.results.flush()
            if outcome.verdict in (ABSENT, MISSING):
                self.report.skip(outcome.feature, outcome.reason)
            elif error and outcome.feature in self.explained:
                self.report.skip(outcome.feature, f"red on Apache Kafka too, {self.explained[outcome.feature]}: {outcome.reason}")
            else:
                self.report.check(f"{outcome.feature} ({outcome.seconds:.1f} s)", not error, outcome.reason)
                if error:
                    traceback.print_exception(error, limit=-6, file=sys.stdout)


def said(error):
    """One line of what an exception says."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=list(adapters.NAMES))
    parser.add_argument("broker", choices=list(BROKERS))
    parser.add_argument("--results", type=pathlib.Path, required=True, help="a file, for a line of JSON for each cell")
    parser.add_argument("--only", nargs="*", help="names of features")
    options = parser.parse_args()
    kind = BROKERS[options.broker]
    features = [f for f in FEATURES if (kind.plugins or not f.plugins) and (not options.only or f.name in options.only)]
    report = Report(f"{options.client} on {options.broker}")
    with kind.start(options.client) as broker, open(options.results, "a") as results:
        column = Column(options.client, broker, report, results)
        try:
            try:
                column.run(features)
            finally:
                column.end()
            with report.case("the broker still runs, and stops cleanly"):
                code = broker.stop()
                if code != broker.STOPPED:
                    raise RuntimeError(f"exit code {code} after SIGTERM")
        finally:
            if report.failed:
                print(f"the broker's log ends:\n{broker.tail(60)}")
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
