"""docs/compatibility.md, from what the cells of the matrix said: the table, then a sentence for each that is not "ok"."""

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
    columns = {(client, broker): read(results / f"{broker}-{client}.jsonl") for client in clients for broker in BROKERS}
    notes = Notes()
    lines = [f"Made on {datetime.date.today()} of {commit()}: Tidegate, and beside it Apache Kafka 4.1.1.", ""]
    lines += [f"| | {' | '.join(clients)} |", f"| --- |{' --- |' * len(clients)}"]
    lines.append(f"| version | {' | '.join(versions().get(client, '') for client in clients)} |")
    chapter = None
    for row in rows:
        if row.chapter != chapter:
            chapter = row.chapter
            lines.append(f"| **{chapter}** |{' |' * len(clients)}")
        cells = [cell(row, client, columns, notes) for client in clients]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", counts(lines), "", *notes.lines()])


def cell(row, client, columns, notes):
    here, there = (_outcome(columns[client, broker], row.name) for broker in BROKERS)
    if here.verdict == PASSED and (row.plugins or there.verdict == PASSED):
        return "ok"
    if here.verdict == FAILED and there.verdict == FAILED:
        return notes.of("both", f"on both brokers: {here.reason}", row, client)
    if here.verdict == PASSED:
        word = "ok*" if there.verdict == FAILED else "ok?"
        return notes.of(word, f"Apache Kafka: {there.verdict} {there.reason}", row, client)
    if here.verdict == ABSENT:
        return notes.of("n/a", here.reason, row, client)
    if here.verdict == MISSING:
        return notes.of("missing", here.reason, row, client)
    if here.verdict == FAILED:
        return notes.of("**FAIL**", f"{here.reason} (Apache Kafka: {there.verdict})", row, client)
    return notes.of("not run", here.reason, row, client)


def _outcome(column, name):
    return column.get(name) or column.get("*") or Outcome(name, NOT_RUN, "its process ended before" if column else "not asked for")


class Notes:
    """Numbers for reasons: the same reason has the same number."""

    def __init__(self):
        self.reasons = {}

    def of(self, word, reason, row, client):
        found = self.reasons.setdefault((word, reason), (len(self.reasons) + 1, []))
        found[1].append(f"{client}, {row.title}")
        return f"{word} {found[0]}"

    def lines(self):
        for (word, reason), (number, cells) in self.reasons.items():
            where = cells[0] if len(cells) == 1 else f"{cells[0].split(',')[0]} and others, {len(cells)} cells" if len(
                {cell.split(",")[0] for cell in cells}) > 1 else f"{cells[0].split(',')[0]}, {len(cells)} cells"
            yield f"{number}. {where}: {word.strip('*')}: {_escaped(reason)}"


def counts(lines):
    words = re.findall(r"(?<=\| )(ok\*|ok\?|ok|n/a|missing|not run|both|\*\*FAIL\*\*)(?= )", "\n".join(lines[4:]))
    return "Cells: " + ", ".join(f"{words.count(word)} {word}" for word in ("ok", "ok*", "ok?", "both", "**FAIL**", "missing", "n/a", "not run")) + "."


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
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=environment.ROOT, capture_output=True, text=True)
    return f"commit {done.stdout.strip()}"


def _escaped(reason):
    return " ".join(reason.split()).replace("|", "\\|").replace("<", "\\<")
