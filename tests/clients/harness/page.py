"""docs/compatibility.md, from what the cells of the matrix said: sums, the table, then a sentence for each cell that is not "ok"."""

import collections
import datetime
import json
import re
import subprocess

from . import environment
from .brokers import BROKERS
from .outcome import ABSENT, FAILED, MISSING, NOT_RUN, PASSED, Outcome, read, written

DOCUMENT = environment.ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- matrix: begin, written by `make conformance` -->", "<!-- matrix: end -->"


def write(results):
    """Puts the matrix between its markers."""
    from adapters import NAMES  # of the scripts that import this, which find it beside `harness`
    from matrix import FEATURES
    before, rest = DOCUMENT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text(results, list(NAMES), FEATURES)}\n{END}{after}")
    print(DOCUMENT.read_text())


def not_run(results, client, broker, reason):
    """Leaves a mark, so that the page says why a column is empty."""
    (results / f"{broker}-{client}.jsonl").write_text(written(Outcome("*", NOT_RUN, reason)) + "\n")


def text(results, clients, rows):
    # To be found beside the scripts that import this.
    from adapters.explained import explained
    columns = {(client, broker): read(results / f"{broker}-{client}.jsonl") for client in clients for broker in BROKERS}
    notes = Notes()
    # Client by client, so that the notes of one stand together.
    cells = {client: [notes.of(client, row, *verdict(row, client, columns, explained(client))) for row in rows] for client in clients}
    lines = [f"Made on {datetime.date.today()} of {commit()}, beside Apache Kafka 4.1.1: {len(rows)} features, {len(clients)} clients.", "",
             *summary(clients, cells), "",
             f"| | {' | '.join(clients)} |", f"| --- |{' --- |' * len(clients)}"]
    chapter = None
    for index, row in enumerate(rows):
        if row.chapter != chapter:
            chapter = row.chapter
            lines.append(f"| **{chapter}** |{' |' * len(clients)}")
        lines.append(f"| {row.title} | {' | '.join(cells[client][index] for client in clients)} |")
    return "\n".join([*lines, "", "### Notes", "", *notes.lines()])


WORDS = ("ok", "ok\\*", "ok?", "both", "**FAIL**", "missing", "n/a", "not run")


def summary(clients, cells):
    """The versions, and how often each word stands in a column."""
    pinned = versions()
    yield f"| client | version | {' | '.join(WORDS)} |"
    yield f"| --- | --- |{' ---: |' * len(WORDS)}"
    sums = collections.Counter()
    for client in clients:
        found = collections.Counter(re.sub(r" \d+$", "", cell) for cell in cells[client])
        sums += found
        yield f"| {client} | {pinned.get(client, '')} | {' | '.join(str(found[word] or '') for word in WORDS)} |"
    yield f"| all | | {' | '.join(str(sums[word] or '') for word in WORDS)} |"


def verdict(row, client, columns, explanations):
    """(a word, the reason where it needs one) of a cell."""
    here, there = (_outcome(columns[client, broker], row.name) for broker in BROKERS)
    if here.verdict == PASSED:
        if row.plugins or there.verdict == PASSED:
            return "ok", ""
        if there.verdict == FAILED:
            return "ok\\*", explanations.get(row.name) or f"on Apache Kafka: {_short(there.reason)}"
        return "ok?", f"Apache Kafka: {there.verdict}, {_short(there.reason)}"
    if here.verdict != FAILED:
        return {ABSENT: "n/a", MISSING: "missing"}.get(here.verdict, "not run"), here.reason
    if there.verdict == FAILED:
        return "both", f"{explanations.get(row.name) or 'not explained yet'} (on both: {_short(here.reason)})"
    return "**FAIL**", f"{explanations.get(row.name) or 'not explained yet'} ({_short(here.reason)}; Apache Kafka: {there.verdict})"


def _outcome(column, name):
    return column.get(name) or column.get("*") or Outcome(name, NOT_RUN, "its process ended before" if column else "not asked for")


class Notes:
    """Numbers for reasons: the same reason of one client has the same number."""

    def __init__(self):
        self.reasons = {}

    def of(self, client, row, word, reason):
        """The cell."""
        if not reason:
            return word
        number, rows = self.reasons.setdefault((client, word, reason), (len(self.reasons) + 1, []))
        rows.append(row.title)
        return f"{word} {number}"

    def lines(self):
        before = None
        for (client, word, reason), (number, rows) in self.reasons.items():
            if client != before:
                yield from ([""] if before else []) + [f"**{client}**", ""]
                before = client
            where = rows[0] if len(rows) == 1 else f"{len(rows)} rows"
            yield f"{number}. {word}, {where}: {_escaped(reason)}"


def versions():
    """{client: version} as they are pinned."""
    pinned = dict(line.split("==") for line in (environment.CLIENTS / "requirements.txt").read_text().split() if "==" in line)
    node = json.loads((environment.CLIENTS / "package.json").read_text())["dependencies"]
    go = (environment.CLIENTS / "adapters" / "go_driver" / "go.mod").read_text()
    rust = (environment.CLIENTS / "adapters" / "rust_driver" / "Cargo.toml").read_text()
    jars = json.loads((environment.CLIENTS / "jars.json").read_text())
    kcat = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout if environment.shutil.which("kcat") else ""
    return {
        "kcat": (re.search(r"Version (\S+)", kcat) or ["", "Debian's"])[1],
        **{name: pinned[name] for name in ("confluent-kafka", "kafka-python", "aiokafka")},
        "kafkajs": node["kafkajs"], "confluent-kafka-js": node["@confluentinc/kafka-javascript"],
        "platformatic": node["@platformatic/kafka"],
        **{f"java-{line}": jars[f"client-{line}"][0].rsplit(":", 1)[1] for line in ("4.1", "3.9")},
        "franz-go": re.search(r"twmb/franz-go v(\S+)", go)[1], "sarama": re.search(r"IBM/sarama v(\S+)", go)[1],
        **{name: re.search(rf'{name} = .*?=(\d[\d.]+)"', rust)[1] for name in ("rdkafka", "rskafka")},
    }


def commit():
    """The binary that was tested, and the commit of the checkout that holds the tests."""
    binary = subprocess.run([str(environment.tidegate()), "--version"], capture_output=True, text=True).stdout.strip()
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=environment.ROOT, capture_output=True, text=True).stdout.strip()
    return f"{binary} (commit {head})"


def _short(reason):
    return reason if len(reason) <= 200 else f"{reason[:200]} ..."


def _escaped(reason):
    return " ".join(reason.split()).replace("|", "\\|").replace("<", "\\<")
