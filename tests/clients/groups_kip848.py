#!/usr/bin/env python3
"""Consumer groups whose coordinator assigns (KIP-848), with unmodified clients: confluent-kafka, Kafka's Java client 4.1 and
franz-go, each member a process of its own (`kip848/`); groups that change between the two protocols while they are read from;
and Apache Kafka's own classes reading what the coordinator wrote to `__consumer_offsets`.

    groups_kip848.py                          a Tidegate of its own
    groups_kip848.py --bootstrap HOST:PORT    another broker, whose session timeouts may make it slower
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import environment

if __name__ == "__main__":
    environment.enter()

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from harness.broker import Broker
from harness.report import Report, same, until

HERE = pathlib.Path(__file__).resolve().parent / "kip848"
CONFIGS = {
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
}


class Member:
    """A process that is one member, and what it has said."""

    def __init__(self, command, **arguments):
        configs = [f"{key.replace('_', '.')}={value}" for key, value in arguments.items()]
        self.process = subprocess.Popen([*map(str, command), *configs], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.held = set()
        self.got = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "has":
                self.held = {name for name in rest.split(",") if name}
            elif word == "got":
                self.got = int(rest)
            elif word == "left":
                self.held = set()

    def leave(self):
        """Leaves in order; returns when the process has ended."""
        self.process.stdin.close()
        code = self.process.wait(30)
        same(code, 0, "exit code")

    def kill(self):
        self.process.kill()
        self.process.wait(30)


def commands():
    """How each client starts a member, and what it lacks."""
    java = environment.java(HERE / "Member.java", "client-4.1")
    return {
        "confluent-kafka": ([sys.executable, HERE / "member.py"], set()),
        "java-4.1": (java, set()),
        # franz-go chooses the protocol by itself, and matches regular expressions in the client.
        "franz-go": ([franz_member()], {"pattern", "classic", "static"}),
    }


def franz_member():
    """member.go with the versions that adapters/go_driver pins."""
    driver = environment.CLIENTS / "adapters" / "go_driver"
    home = environment.CACHE / "go" / f"kip848-{environment.digest(HERE / 'member.go', (driver / 'go.sum').read_text())}"
    with environment.lock(home):
        if not (home / "member").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            for source in (driver / "go.mod", driver / "go.sum", HERE / "member.go"):
                shutil.copy(source, home)
            environment._run("go", "build", "-mod=mod", "-o", home / "member", "member.go", cwd=home)
    return home / "member"


class World:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self.members = []

    def topic(self, name, partitions):
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)

    def produce(self, topic, count):
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 2})
        for number in range(count):
            producer.produce(topic, value=str(number), key=str(number))
        same(producer.flush(30), 0, "records unanswered")

    def join(self, client, group, protocol="consumer", **arguments):
        command, _ = client
        if protocol == "classic":
            arguments["partition_assignment_strategy"] = CLASSIC[command[0] == "java"]
        member = Member(command, bootstrap_servers=self.bootstrap, group_id=group, group_protocol=protocol, **arguments)
        self.members.append(member)
        return member

    def describe(self, group):
        return self.admin.describe_consumer_groups([group])[group].result(30)

    def type_of(self, group):
        listed = self.admin.list_consumer_groups().result(30).valid
        return next((row.type for row in listed if row.group_id == group), None)

    def close(self):
        for member in self.members:
            if member.process.poll() is None:
                member.kill()
        self.members.clear()


CLASSIC = {True: "org.apache.kafka.clients.consumer.CooperativeStickyAssignor", False: "cooperative-sticky"}


def shared(topic, count, members, sizes=None):
    """Whether the members hold all partitions of a topic, none twice, and as many each as `sizes` says."""
    wanted = {f"{topic}:{index}" for index in range(count)}
    held = [name for member in members for name in member.held]
    even = sizes is None or sorted(len(member.held) for member in members) == sorted(sizes)
    return set(held) == wanted and len(held) == len(wanted) and even


def said(members):
    return lambda: f"shared; they hold {[sorted(member.held) for member in members]}"


def one_client(report, world, name, client):
    command, lacks = client
    topic, group = f"{name}-topic", f"{name}-group"
    with report.case(f"{name}: two members share, read everything, and follow new partitions"):
        world.topic(topic, 4)
        world.produce(topic, 200)
        first = world.join(client, group, topic=topic)
        until(lambda: shared(topic, 4, [first]), said([first]), 60)
        second = world.join(client, group, topic=topic)
        until(lambda: shared(topic, 4, [first, second], [2, 2]), said([first, second]), 60)
        until(lambda: first.got + second.got >= 200, lambda: f"200 read; {first.got} + {second.got}", 30)
        world.admin.create_partitions([NewPartitions(topic, 6)])[topic].result(30)
        until(lambda: shared(topic, 6, [first, second], [3, 3]), said([first, second]), 60)
        same(world.type_of(group), ConsumerGroupType.CONSUMER, "type")
    with report.case(f"{name}: who leaves or dies gives its partitions to the others"):
        second.leave()
        until(lambda: shared(topic, 6, [first]), said([first]), 30)
        third = world.join(client, group, topic=topic)
        until(lambda: shared(topic, 6, [first, third], [3, 3]), said([first, third]), 60)
        third.kill()
        until(lambda: shared(topic, 6, [first]), said([first]), 90)
        first.leave()
    with report.case(f"{name}: a new member goes on where the group committed"):
        before = world.join(client, group, topic=topic)
        until(lambda: shared(topic, 6, [before]), said([before]), 60)
        world.produce(topic, 30)
        until(lambda: before.got >= 30, lambda: f"30 read; {before.got}", 30)
        before.leave()
        same(before.got, 30, "records since the commit")
    if "pattern" not in lacks:
        with report.case(f"{name}: a regular expression follows new topics"):
            world.topic(f"{name}-re-1", 1)
            member = world.join(client, f"{name}-re", pattern=f"{name}-re-[0-9]")
            until(lambda: member.held == {f"{name}-re-1:0"}, said([member]), 60)
            world.topic(f"{name}-re-2", 1)
            world.topic(f"{name}-re-22", 1)
            until(lambda: member.held == {f"{name}-re-1:0", f"{name}-re-2:0"}, said([member]), 60)
            member.leave()
    if "static" not in lacks:
        with report.case(f"{name}: a static member comes back to its partitions"):
            group = f"{name}-static"
            pair = [world.join(client, group, topic=topic, group_instance_id=f"i{n}") for n in range(2)]
            until(lambda: shared(topic, 6, pair, [3, 3]), said(pair), 60)
            held, other = set(pair[0].held), set(pair[1].held)
            pair[0].leave()
            back = world.join(client, group, topic=topic, group_instance_id="i0")
            until(lambda: back.held == held, said([back]), 60)
            same(pair[1].held, other, "the other member's partitions")
            back.leave()
            pair[1].leave()


def migration(report, world, name, client):
    topic, group = f"{name}-moves", f"{name}-moving"
    with report.case(f"{name}: a group moves to the new protocol and back without stopping"):
        world.topic(topic, 6)
        classic = [world.join(client, group, "classic", topic=topic) for _ in range(2)]
        until(lambda: shared(topic, 6, classic, [3, 3]), said(classic), 60)
        same(world.type_of(group), ConsumerGroupType.CLASSIC, "type")
        modern = world.join(client, group, topic=topic)
        until(lambda: shared(topic, 6, [*classic, modern], [2, 2, 2]), said([*classic, modern]), 90)
        same(world.type_of(group), ConsumerGroupType.CONSUMER, "type")
        world.produce(topic, 120)
        everybody = [*classic, modern]
        until(lambda: sum(member.got for member in everybody) >= 120, "120 records read", 30)
        classic[0].leave()
        until(lambda: shared(topic, 6, [classic[1], modern], [3, 3]), said(everybody), 90)
        modern.leave()
        until(lambda: shared(topic, 6, [classic[1]]), said(everybody), 90)
        same(world.type_of(group), ConsumerGroupType.CLASSIC, "type")
        classic[1].leave()


def offsets_topic(report, world):
    with report.case("Apache Kafka reads every record of __consumer_offsets"):
        command = [*environment.java(HERE / "OffsetsTopic.java", "kafka-4.1"), world.bootstrap]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL)
        same(done.returncode, 0, f"exit code; it said {done.stderr[-2000:]}")
        kinds = {line.split(" ", 1)[0] for line in done.stdout.splitlines()}
        same(kinds >= {f"ConsumerGroup{kind}Key" for kind in ("Metadata", "MemberMetadata", "TargetAssignmentMetadata",
                                                            "TargetAssignmentMember", "CurrentMemberAssignment",
                                                            "RegularExpression")},
             True, f"kinds of records among {sorted(kinds)}")


def restart(report, world, broker, client):
    with report.case("a group goes on after the broker was killed"):
        world.topic("killed", 4)
        pair = [world.join(client, "killed", topic="killed") for _ in range(2)]
        until(lambda: shared("killed", 4, pair, [2, 2]), said(pair), 60)
        before = world.describe("killed")
        same(before.state, ConsumerGroupState.STABLE, "state")
        broker.kill()
        broker.start()
        world.produce("killed", 40)
        until(lambda: sum(member.got for member in pair) >= 40, "40 records read", 60)
        same(shared("killed", 4, pair, [2, 2]), True, "the same shares")
        for member in pair:
            member.leave()


def everything(report, bootstrap, name, client):
    world = World(bootstrap)
    try:
        one_client(report, world, name, client)
        if "classic" not in client[1]:
            migration(report, world, name, client)
    finally:
        world.close()


def run(bootstrap, broker=None):
    report = Report("kip848")
    clients = commands()
    # Each has topics and groups of its own, and waits more than it works.
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda row: everything(report, bootstrap, *row), clients.items()))
    world = World(bootstrap)
    try:
        offsets_topic(report, world)
        if broker:
            restart(report, world, broker, clients["confluent-kafka"])
    finally:
        world.close()
    return report.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", help="a broker that runs already")
    options = parser.parse_args()
    if options.bootstrap:
        sys.exit(run(options.bootstrap))
    with Broker("kip848", CONFIGS) as broker:
        sys.exit(run(broker.bootstrap, broker))


if __name__ == "__main__":
    main()
