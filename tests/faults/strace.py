"""Under strace: between writing a record to the log and sending its acks=all reply there is a finished fdatasync (or fsync).

The producer is a raw connection with one request in flight. Each record carries a marker that is found again in the write to
RocksDB's write-ahead log, and each request a correlation id that is found again in the reply on the socket.
"""

import re
import subprocess
import sys
import time

from common import create
from harness import environment, wire
from harness.broker import Broker
from harness.report import Report, Skip, same, until

RECORDS = 25
CALLS = "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,fdatasync,fsync,sync_file_range"
WRITES = {"write", "pwrite64", "writev", "pwritev", "pwritev2"}
SENDS = {"write", "writev", "sendto", "sendmsg"}
# `1234 fdatasync(12</path/000004.log>) = 0`, in one line or cut in two by another thread.
CALL = re.compile(r"^(\d+) +(\w+)\((\d+)<([^>]*)>(.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")


def main():
    report = Report("strace")
    with report.case(f"fdatasync between the append and each of {RECORDS} acks=all replies"):
        traced(report)
    sys.exit(report.finish())


def traced(report):
    strace = environment.apt("strace", "strace")
    allowed = subprocess.run([strace, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if allowed.returncode != 0:
        raise Skip(f"tracing is not permitted here: {allowed.stderr.strip()}")
    broker = Broker("strace")
    trace = broker.home / "trace"
    broker.wrapper = [strace, "-f", "-yy", "-xx", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(trace)]
    try:
        broker.start(timeout=120)
        create(broker.bootstrap, "traced")
        markers = [b"strace-marker-%06d" % n for n in range(RECORDS)]
        with wire.Connection(broker.port) as connection:
            for number, marker in enumerate(markers):
                batch = wire.record_batch([marker], int(time.time() * 1000))
                error, offset = wire.produce(connection, "traced", 0, batch, correlation=0x51AC0000 + number)
                same((error, offset), (0, number), "error and offset of the reply")
        same(broker.stop(), 0, "exit code")
        until(lambda: not broker.alive(), "strace ended")
        check(trace.read_text(errors="replace").splitlines(), markers)
    except Exception:
        print(f"the broker's log ends:\n{broker.tail()}")
        raise
    finally:
        broker.close()


def check(lines, markers):
    events = list(parse(lines))
    for number, marker in enumerate(markers):
        wanted = escaped(marker)
        append = next((e for e in events if e[1] in WRITES and wanted in e[3] and "TCP" not in e[2]), None)
        if append is None:
            raise AssertionError(f"no write to a file holds {marker}: {sample(events)}")
        begun, _, path, _, _, _ = append
        reply_id = escaped((0x51AC0000 + number).to_bytes(4, "big"))
        reply = next((e for e in events if e[0] > begun and e[1] in SENDS and "TCP" in e[2] and reply_id in e[3]), None)
        if reply is None:
            raise AssertionError(f"no reply with correlation id {reply_id} after the append: {sample(events)}")
        synced = [e for e in events if e[1] in ("fdatasync", "fsync") and e[2] == path and e[5] == "0"
                  and append[4] <= e[0] and e[4] < reply[0]]
        if not synced:
            raise AssertionError(f"record {number}: the write to {path} at line {begun} is followed by the reply at line "
                                 f"{reply[0]} without a finished fdatasync")
    log = re.sub(r"\\x(..)", lambda byte: chr(int(byte[1], 16)), path)
    print(f"     {len(markers)} of {len(markers)} replies follow a sync of {log}")


def parse(lines):
    """(line where it begins, call, path, arguments, line where it ends, result); a call cut in two becomes one."""
    open_calls = {}
    for number, line in enumerate(lines):
        call, resumed = CALL.match(line), RESUMED.match(line)
        if call:
            thread, name, _, path, rest = call.groups()
            if rest.endswith("<unfinished ...>"):
                open_calls[thread] = (number, name, path, rest)
            else:
                yield number, name, path, rest, number, result(rest)
        elif resumed and resumed[1] in open_calls and open_calls[resumed[1]][1] == resumed[2]:
            begun, name, path, rest = open_calls.pop(resumed[1])
            yield begun, name, path, rest, number, result(resumed[3])


def result(rest):
    return rest.rsplit("= ", 1)[-1].split(" ")[0]


def escaped(data):
    return "".join(f"\\x{byte:02x}" for byte in data)


def sample(events):
    return [(name, path) for _, name, path, *_ in events[-10:]]


if __name__ == "__main__":
    main()
