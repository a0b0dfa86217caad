"""The page of the suites: a table, then every test that did not pass, with the reason."""

import collections

from suite import FAILED, PASSED, SKIPPED
from harness import environment

DOCUMENT = environment.ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- suites: begin, written by tests/suites/run.py -->", "<!-- suites: end -->"
INTRODUCTION = """Test suites that clients' authors wrote for their clients, unmodified, and Kafka's own tools, run by
[`make suites`](../tests/suites/README.md) against Tidegate and against Apache Kafka 4.1. "Failed, explained" fails on Apache Kafka too, or
for the reason that stands below."""
ON_KAFKA_TOO = "fails on Apache Kafka 4.1 too"
UNEXPLAINED = "**not explained**"
NOTE = """What failed while the machine had other work, and passed when it was repeated alone, counts as passed. librdkafka's topics of three
replicas get one ([`shims/one_replica.c`](../tests/suites/shims/one_replica.c)), on both brokers; everything else of the suites is as it was
written. Up to three of kafka-python's tests fail in some runs, on Tidegate more often than on Kafka: a race in that client between its first
metadata request and its subscription ([`too_soon.py`](../tests/suites/too_soon.py))."""


def text(everything):
    """The whole page. A suite without a result in the cache keeps what the page says of the same version."""
    rows, sections = _known()
    lines = [INTRODUCTION, "", NOTE, "",
             "| suite | version | passed | failed, explained | failed | skipped by the suite | Apache Kafka 4.1: passed, failed, skipped |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    kept = {suite.NAME for suite, said in everything if not any(said.values()) and _key(suite) in rows}
    for suite, said in everything:
        lines.append(rows[_key(suite)] if suite.NAME in kept else _row(suite, said))
    for suite, said in everything:
        lines += sections.get(suite.NAME, []) if suite.NAME in kept else _failures(suite, said)
    return "\n".join(lines) + "\n"


def write(page):
    """Puts the page between its markers; a document without them gets the section at its end."""
    document = DOCUMENT.read_text() if DOCUMENT.is_file() else "# Compatibility\n"
    if BEGIN not in document:
        document += f"\n## Suites of clients' authors\n\n{BEGIN}\n{END}\n"
    before, rest = document.split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{page}\n{END}{after}")


def _known():
    """The rows of the page as it is, by how they begin, and the lines of its sections, by their suites."""
    document = DOCUMENT.read_text() if DOCUMENT.is_file() else ""
    table, *parts = document.partition(BEGIN)[2].partition(END)[0].split("\n### ")
    rows = {"|".join(line.split("|")[:3]): line for line in table.splitlines() if line.startswith("| ")}
    sections = {}
    for part in parts:
        name, *lines = part.strip().splitlines()
        sections[name] = [f"\n### {name}", *lines]
    return rows, sections


def _key(suite):
    return f"| {suite.NAME} | {suite.VERSION} "


def closing(everything):
    """(passed, failed, skipped) on Tidegate; failures with a reason count as skipped."""
    passed = failed = skipped = 0
    for suite, said in everything:
        counts = _counts(suite, said)
        if counts:
            passed, failed, skipped = passed + counts[0], failed + counts[2], skipped + counts[1] + counts[3]
    return passed, failed, skipped


def _row(suite, said):
    counts = _counts(suite, said)
    if not counts:
        reason = (said["tidegate"] or {}).get("not_run", "no run yet")
        return f"| {suite.NAME} | {suite.VERSION} | not run: {_cell(reason)} | | | | |"
    kafka = (said["kafka"] or {}).get("outcomes")
    there = "not run"
    if kafka is not None:
        there = ", ".join(str(sum(one[0] == outcome for one in kafka.values())) for outcome in (PASSED, FAILED, SKIPPED))
    return f"| {suite.NAME} | {suite.VERSION} | {counts[0]} | {counts[1]} | {counts[2]} | {counts[3]} | {there} |"


def _counts(suite, said):
    """(passed, failed and explained, failed, skipped) on Tidegate; None when it was not run there."""
    here = (said["tidegate"] or {}).get("outcomes")
    if here is None:
        return None
    reasons = [_reason(suite, test, said) for test, one in here.items() if one[0] == FAILED]
    unexplained = sum(reason == UNEXPLAINED for reason in reasons)
    outcomes = collections.Counter(one[0] for one in here.values())
    return outcomes[PASSED], len(reasons) - unexplained, unexplained, outcomes[SKIPPED]


def _failures(suite, said):
    here = (said["tidegate"] or {}).get("outcomes")
    if here is None:
        return []
    by_reason = collections.defaultdict(list)
    for test, (outcome, detail) in here.items():
        if outcome == FAILED:
            by_reason[_reason(suite, test, said)].append(test)
        elif outcome == SKIPPED:
            by_reason[f"skipped: {suite.why(test) or detail or 'by the suite'}"].append(test)
    lines = [f"- {reason}: {', '.join(f'`{_cell(test)}`' for test in tests)}" for reason, tests in sorted(by_reason.items())]
    lines += [f"- not started, {why}: {part}" for part, why in suite.LEFT_OUT]
    return [f"\n### {suite.NAME}\n", *lines] if lines else []


def _reason(suite, test, said):
    known = suite.why(test)
    there = ((said["kafka"] or {}).get("outcomes") or {}).get(test)
    if there and there[0] == FAILED:
        return f"{ON_KAFKA_TOO}: {known}" if known else ON_KAFKA_TOO
    return known or UNEXPLAINED


def _cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")
