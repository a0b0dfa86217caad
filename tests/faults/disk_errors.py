"""EIO from the nth fdatasync (strace): nothing is acknowledged after it, the broker says so everywhere, reads go on, and
after a restart everything acknowledged is there."""

import json
import subprocess
import sys
import time
import urllib.error

from common import create, read_all
from harness import environment, wire
from harness.broker import Broker
from harness.report import Report, Skip, same, until

STORAGE_ERROR = 56
# Which fdatasync of a thread fails: the writer's are one for each produce here.
NTHS = (12, 25, 60)


def main():
    report = Report("disk errors")
    for nth in NTHS:
        with report.case(f"EIO from fdatasync {nth} of a thread"):
            failing(nth)
    sys.exit(report.finish())


def failing(nth):
    strace = environment.apt("strace", "strace")
    allowed = subprocess.run([strace, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if allowed.returncode != 0:
        raise Skip(f"tracing is not permitted here: {allowed.stderr.strip()}")
    broker = Broker("disk-errors")
    try:
        broker.start()
        create(broker.bootstrap, "t")
        broker.stop()
        broker.wrapper = [strace, "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
                          f"inject=fdatasync:error=EIO:when={nth}+"]
        broker.start(timeout=120)
        acked, refused = {}, 0
        with wire.Connection(broker.port) as connection:
            for number in range(400):
                batch = wire.record_batch([b"record %d" % number], int(time.time() * 1000))
                error, offset = wire.produce(connection, "t", 0, batch)
                if error == 0:
                    same(refused, 0, "refusals before an acknowledgement")
                    acked[offset] = b"record %d" % number
                else:
                    same(error, STORAGE_ERROR, "error of a refused produce")
                    refused += 1
                    if refused == 20:
                        break
        same(refused, 20, "produces refused in a row")
        same(reported(broker), "offline", "what metrics, readiness, status and the command line say")
        found = {offset: value for offset, _, value in read_all(broker.bootstrap, "t", 0)}
        same(found, acked, "what is read while the store is offline")
        broker.kill()
        broker.wrapper = []
        broker.start()
        found = {offset: value for offset, _, value in read_all(broker.bootstrap, "t", 0)}
        missing = [offset for offset, value in acked.items() if found.get(offset) != value]
        same(missing, [], "acknowledged records that a restart does not have")
        same(json.loads(broker.cli("cluster", "status", "-o", "json"))["store"]["online"], True, "the store after it")
    except Exception:
        print(f"the broker's log ends:\n{broker.tail()}")
        raise
    finally:
        broker.close()


def reported(broker):
    """`offline` when every place says so, else which does not."""
    if "\ntidegate_store_online 0\n" not in broker.get("/metrics"):
        return "metrics"
    try:
        broker.get("/readyz")
        return "readyz"
    except urllib.error.HTTPError as error:
        if error.code != 503 or "offline" not in error.read().decode():
            return "readyz's words"
    status = json.loads(broker.get("/v1/status"))["store"]
    if status["online"] or "Input/output error" not in status["error"]:
        return f"status: {status}"
    try:
        broker.cli("cluster", "status")
        return "cluster status"
    except RuntimeError as error:
        if "OFFLINE" not in str(error):
            return f"cluster status: {error}"
    return "offline"


if __name__ == "__main__":
    main()
