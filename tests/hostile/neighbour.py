"""Another topic of the same broker: whatever a plugin does to its own, this one is written and read all the while."""

import sys
import threading
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))

from common import MATCH, create
from confluent_kafka import Consumer, Producer
from harness.report import until


class Neighbour(threading.Thread):
    """Writes and reads a topic, one record after another, until told to stop."""

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


class Neighbours:
    """A plain topic and one with a well-behaved filter."""

    def __init__(self, broker):
        broker.push("match")
        create(broker.bootstrap, "plain")
        create(broker.bootstrap, "kind", 1, {"tidegate.produce.chain": "match", **MATCH})
        self.all = [Neighbour(broker.bootstrap, topic) for topic in ("plain", "kind")]
        for neighbour in self.all:
            neighbour.start()

    def place(self):
        """Where they are; raises what broke one of them."""
        for neighbour in self.all:
            if neighbour.error:
                raise RuntimeError(f"{neighbour.topic}: {neighbour.error!r}")
        return [(neighbour.written, neighbour.read) for neighbour in self.all]

    def moved(self, since):
        """The least that either wrote or read since."""
        return min(now - then for pair in zip(self.place(), since) for now, then in zip(*pair))

    def await_progress(self, since, records, timeout=30):
        until(lambda: self.moved(since) >= records, lambda: f"both neighbours {records} records on: {self.place()}, "
              f"from {since}", timeout)

    def stop(self):
        for neighbour in self.all:
            neighbour.stopping = True
            neighbour.join(30)
