"""`pick`: keeps the records whose value contains a text or, with `field`, those whose JSON member equals it."""

import json

import tidegate
from tidegate import DROP, KEEP, Reject, Refused, integer, log, text


@tidegate.filter(
    "pick", "0.1.0",
    summary="Keeps the records whose value has a text in it.",
    columns=["value"],
    config=[
        text("text", required=True, doc="What to look for."),
        text("field", default="",
             doc="A member of the JSON object in the value, which must be a string equal to `text`. Empty: `text` stands "
                 "anywhere in the value."),
        integer("max.bytes", default=65536, doc="The longest value that is not rejected."),
    ],
)
class Pick:
    def __init__(self, config):
        self.text, self.field, self.max_bytes = config["text"], config["field"], config["max.bytes"]
        self.needle = self.text.encode()
        if not self.text:
            raise Refused("`text` is empty, which would keep everything")
        if self.max_bytes < 1:
            raise Refused(f"`max.bytes` must be above 0, and is {self.max_bytes}")

    def judge(self, value):
        if value is None:
            return DROP
        if len(value) > self.max_bytes:
            return Reject(f"the value has {len(value)} bytes, and at most {self.max_bytes} are allowed")
        return self.needle in value if not self.field else self.member_is_text(value)

    def member_is_text(self, value):
        try:
            found = json.loads(value)
        except ValueError:
            return False
        return isinstance(found, dict) and found.get(self.field) == self.text

    def filter_batch(self, batch, verdicts):
        """By columns, which is faster than by records, and knows of the batch as a whole."""
        kept = 0
        for index, value in enumerate(batch.values):
            verdict = self.judge(value)
            kept += verdict is KEEP
            verdicts.set(index, verdict)
        if kept:
            tidegate.count("kept", kept)
        if verdicts.reasons:
            log.warn(f"{len(verdicts.reasons)} of {len(batch)} values are too long")
