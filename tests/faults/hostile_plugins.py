"""A filter that loops, traps, hoards memory, floods its output, recurses or floods the log leaves the broker up.

While producers feed it what sets it off, a plain topic and a topic with a well-behaved filter on the same broker are
written and read: they must make progress. Figures are the bench's; here progress is asserted.
"""

import sys
import threading

from common import MATCH, create
from confluent_kafka import Consumer, Producer
from harness import environment
from harness.broker import Broker
from harness.report import Report, same, until

WASM = environment.ROOT / "target" / "hostile" / "hostile.wasm"
# Whether a harmful record may be acknowledged: a flooded log costs the plugin its log lines, nothing else.
MODES = {"loop": False, "trap": False, "memory": False, "flood": False, "recursion": False, "logs": True}
ATTACKERS = 4
NEIGHBOUR_RECORDS = 300
MEMORY_LIMIT = 1 << 30


class Neighbour(threading.Thread):
    """Writes and reads another topic, one record after another, until told to stop."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.topic = topic
        self.written = self.read = 0
        self.error = None
        self.stopping = False
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0,
                                  "enable.idempotence": True})
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"neighbour-{topic}",
                                  "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20})
        self.consumer.subscribe([topic])

    def run(self):
        try:
            while not self.stopping:
                self.producer.produce(self.topic, b"keep %d" % self.written, on_delivery=self._told)
                self.producer.flush(20)
                for message in self.consumer.consume(100, 0.005):
                    if message.error():
                        raise RuntimeError(str(message.error()))
                    self.read += 1
        except Exception as error:
            self.error = error
        finally:
            self.consumer.close()

    def _told(self, error, _):
        if error:
            raise RuntimeError(str(error))
        self.written += 1


def main():
    report = Report("hostile plugins")
    if not report.check("the hostile plugin is built", WASM.is_file(), f"{WASM} is missing: run `make hostile`"):
        sys.exit(report.finish())
    with Broker("hostile-plugins") as broker:
        broker.push("match")
        broker.push("hostile", WASM)
        create(broker.bootstrap, "plain")
        create(broker.bootstrap, "kind", 1, {"tidegate.produce.chain": "match", **MATCH})
        neighbours = [Neighbour(broker.bootstrap, topic) for topic in ("plain", "kind")]
        for neighbour in neighbours:
            neighbour.start()
        for mode, acknowledged in MODES.items():
            with report.case(f"{mode}: cut off, and the neighbours go on"):
                attack(broker, neighbours, mode, acknowledged)
        for neighbour in neighbours:
            neighbour.stopping = True
            neighbour.join(30)
        with report.case("the broker is the same process, within its memory, and stops cleanly"):
            same(broker.alive() and broker.starts, 1, "starts")
            peak = broker.memory("VmHWM")
            print(f"     peak memory {peak >> 20} MiB; neighbours wrote {[n.written for n in neighbours]} records")
            same(peak < MEMORY_LIMIT, True, f"peak memory {peak} below {MEMORY_LIMIT}")
            same(broker.stop(), 0, "exit code")
        if report.failed:
            print(f"the broker's log ends:\n{broker.tail()}")
    sys.exit(report.finish())


def attack(broker, neighbours, mode, acknowledged):
    topic = f"victim-{mode}"
    create(broker.bootstrap, topic, ATTACKERS, {"tidegate.produce.chain": "hostile",
                                                "tidegate.plugin.hostile.mode": mode})
    answers = []
    attackers = [Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 5,
                           "message.timeout.ms": 6000, "request.timeout.ms": 5000, "log_level": 0})
                 for _ in range(ATTACKERS)]
    before = [(n.written, n.read) for n in neighbours]
    for partition, attacker in enumerate(attackers):
        for number in range(20):
            attacker.produce(topic, b"harm %d" % number, partition=partition,
                             on_delivery=lambda error, _: answers.append(error))
    expected = ATTACKERS * 20

    def over():
        for attacker in attackers:
            attacker.poll(0.01)
        for neighbour in neighbours:
            if neighbour.error:
                raise RuntimeError(f"{neighbour.topic}: {neighbour.error!r}")
        moved = [(n.written - w, n.read - r) for n, (w, r) in zip(neighbours, before)]
        return len(answers) == expected and all(min(pair) >= NEIGHBOUR_RECORDS for pair in moved)
    until(over, lambda: f"{expected} records answered ({len(answers)}), neighbours moved "
          f"{[(n.written - w, n.read - r) for n, (w, r) in zip(neighbours, before)]}", 45)
    stored = [error for error in answers if error is None]
    same(len(stored), expected if acknowledged else 0, "harmful records acknowledged")
    same(broker.alive(), True, "the broker is there")
    # A harmless batch passes once the breaker lets the plugin work again, so the binding still lives.
    passed = []
    attackers[0].produce(topic, b"fine", partition=0, on_delivery=lambda error, _: passed.append(error))

    def fine():
        attackers[0].poll(0.05)
        if passed and passed[-1] is not None:
            attackers[0].produce(topic, b"fine", partition=0, on_delivery=lambda error, _: passed.append(error))
            passed.clear()
        return passed == [None]
    until(fine, lambda: f"a harmless record is stored again: {passed}", 45)


if __name__ == "__main__":
    main()
