"""A filter compiled from Rust loops, traps, hoards memory, floods its output, recurses or floods the log, and is fed by many.

While producers feed it what sets it off, the neighbours must make progress; afterwards the same binding serves harmless
records again. Figures are the bench's; here progress is asserted.
"""

import sys

from neighbour import Neighbours, create
from confluent_kafka import Producer
from harness import environment
from harness.broker import Broker
from harness.report import Report, same, until

WASM = environment.ROOT / "target" / "hostile" / "hostile.wasm"
# Whether a harmful record may be acknowledged: a flooded log costs the plugin its log lines, nothing else.
MODES = {"loop": False, "trap": False, "memory": False, "flood": False, "recursion": False, "logs": True}
ATTACKERS = 4
NEIGHBOUR_RECORDS = 300
MEMORY_LIMIT = 1 << 30


def main():
    report = Report("hostile plugins")
    if not report.check("the hostile plugin is built", WASM.is_file(), f"{WASM} is missing: run `make hostile`"):
        sys.exit(report.finish())
    with Broker("hostile-plugins") as broker:
        broker.push("hostile", WASM)
        neighbours = Neighbours(broker)
        for mode, acknowledged in MODES.items():
            with report.case(f"{mode}: cut off, and the neighbours go on"):
                attack(broker, neighbours, mode, acknowledged)
        neighbours.stop()
        with report.case("the broker is the same process, within its memory, and stops cleanly"):
            same(broker.alive() and broker.starts, 1, "starts")
            peak = broker.memory("VmHWM")
            print(f"     peak memory {peak >> 20} MiB; neighbours wrote and read {neighbours.place()}")
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
    before = neighbours.place()
    for partition, attacker in enumerate(attackers):
        for number in range(20):
            attacker.produce(topic, b"harm %d" % number, partition=partition,
                             on_delivery=lambda error, _: answers.append(error))
    expected = ATTACKERS * 20

    def over():
        for attacker in attackers:
            attacker.poll(0.01)
        return len(answers) == expected and neighbours.moved(before) >= NEIGHBOUR_RECORDS
    until(over, lambda: f"{expected} records answered ({len(answers)}), neighbours moved from {before} to "
          f"{neighbours.place()}", 45)
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
