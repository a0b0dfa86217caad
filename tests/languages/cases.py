"""The golden cases of `pick`, produced to a broker and read back."""

import base64
import json

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness.report import same

ALIAS = "pick"
LOGS = "__tidegate_plugin_logs"
TIMEOUT = 60


class Side:
    """A broker on which each case has one topic for each language."""

    def __init__(self, broker):
        self.broker = broker
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})

    def check(self, language, path):
        setting, values = read_case(path)
        snapshot = path.with_suffix(".snap").read_text().splitlines()
        topic = f"{path.stem}-{language}"
        configs = {"tidegate.produce.chain": f"{ALIAS}=pick-{language}"}
        # What docs/plugins.md says of JavaScript; the others do with the default.
        configs |= {f"tidegate.limit.{ALIAS}.memory.bytes": str(256 << 20)} if language == "js" else {}
        configs |= {f"tidegate.plugin.{ALIAS}.{key}": str(value) for key, value in setting["config"].items()}
        if snapshot[0].startswith("refused: "):
            self._is_refused(topic, configs, snapshot[0].removeprefix("refused: "))
            return
        self._create(topic, configs)
        fates = list(zip(values, snapshot))
        # A rejected record fails its whole request, so each of them gets one of its own.
        sound = [value for value, fate in fates if not fate.startswith("reject: ")]
        same(self._produce(topic, sound), [None] * len(sound), "errors of the records that are not rejected")
        for value, fate in fates:
            if fate.startswith("reject: "):
                same(self._produce(topic, [value]), [KafkaError.INVALID_RECORD], f"errors of a record with `{fate}`")
        expected = [value for value, fate in fates if fate == "keep"]
        same([message.value() for message in self._read(topic)], expected, "stored values")

    def counters(self, language):
        """All that the bindings of one language have counted."""
        shown = json.loads(self.broker.cli("plugin", "show", f"pick-{language}", "-o", "json"))
        total = {}
        for binding in shown["bindings"]:
            for name, count in binding["stats"]["counters"].items():
                total[name] = total.get(name, 0) + count
        return total

    def logged(self, language):
        """The messages that one language logged, in order, but not those of other plugins."""
        lines = [json.loads(message.value()) for message in self._read(LOGS)]
        return sorted(f"{line['level']}: {line['message']}" for line in lines if line["plugin"] == f"pick-{language}")

    def _create(self, topic, configs):
        self.admin.create_topics([NewTopic(topic, 1, 1, config=configs)])[topic].result(TIMEOUT)

    def _is_refused(self, topic, configs, sentence):
        try:
            self._create(topic, configs)
        except KafkaException as error:
            same(sentence in error.args[0].str(), True, f"`{error.args[0].str()}` has `{sentence}`")
        else:
            raise AssertionError(f"the topic was created, and should be refused: {sentence}")

    def _produce(self, topic, values):
        """The error code of each record, None where there is none."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "acks": "all", "linger.ms": 20,
                             "message.timeout.ms": TIMEOUT * 1000, "log_level": 0})
        answers = [None] * len(values)
        for index, value in enumerate(values):
            def told(error, _, index=index):
                answers[index] = error and error.code()
            producer.produce(topic, value, partition=0, on_delivery=told)
        same(producer.flush(TIMEOUT), 0, "records without an answer")
        return answers

    def _read(self, topic):
        """All records of partition 0."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "reader", "enable.partition.eof": True,
                             "auto.offset.reset": "error", "fetch.wait.max.ms": 50, "log_level": 2})
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            found = []
            while True:
                message = consumer.poll(TIMEOUT)
                if message is None:
                    raise TimeoutError(f"no end of {topic} after {len(found)} records")
                if not message.error():
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise RuntimeError(str(message.error()))
        finally:
            consumer.close()


def read_case(path):
    """(setting, values) of a case file, as sdk/harness reads it: JSON that is no string stands for its own text."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("//")]
    return json.loads(lines[0]), [value_of(line) for line in lines[1:]]


def value_of(line):
    record = json.loads(line)
    value = record.get("value")
    if value is None:
        return None
    if record.get("base64"):
        return base64.b64decode(value)
    if isinstance(value, str):
        return value.encode()
    return raw_value(line).encode()


def raw_value(line):
    """The text of the member `value`, exactly as it stands in the file."""
    start = line.index('"value":') + len('"value":')
    start += len(line[start:]) - len(line[start:].lstrip())
    _, end = json.JSONDecoder().raw_decode(line, start)
    return line[start:end]
