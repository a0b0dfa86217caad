"""What a cell of the matrix came to, as its process tells it and as the page shows it."""

import collections
import json

# ABSENT: the client has no such feature; MISSING: the broker says that it has not.
PASSED, FAILED, ABSENT, MISSING, NOT_RUN = "pass", "fail", "n/a", "missing", "not run"

# `reason` is empty for what passed.
Outcome = collections.namedtuple("Outcome", "feature verdict reason seconds", defaults=("", 0.0))


def written(outcome):
    return json.dumps(outcome._asdict())


def read(path):
    """{feature: Outcome} of a file of lines, the last of each; what is not there did not end."""
    if not path.exists():
        return {}
    rows = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    return {row.feature: row for row in rows}
