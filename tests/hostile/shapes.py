"""What each shape of the corpus must lead to: a pattern of the sentence that whoever pushed, bound or produced is told."""

DEADLINE = r"ran longer than 200 ms"
CONTRACT = r"breaks the contract"

# Refused when it is pushed. None: taken or refused, but in bounded time and memory.
PUSH = {
    "trap-in-describe": r"failed in its dry run: it trapped",
    "loop-in-describe": r"failed in its dry run: it ran longer than 1000 ms",
    "description-of-two-megabytes": r"gave back more bytes than it may",
    "description-out-of-bounds": CONTRACT,
    "name-that-is-not-utf8": CONTRACT,
    "no-name": r"has no name",
    "state-that-is-not-there": CONTRACT,
    "trap-in-start": r"it trapped",
    "loop-in-start": r"ran longer than 1000 ms",
    "memory-above-the-limit": r"more memory than it may",
    "table-above-any-limit": r"needs more than an instance may have: table",
    "wasi": r"imports `wasi:clocks/monotonic-clock@0.2.0`.*no WASI",
    "unknown-import": r"imports `exit`",
    "unknown-host-function": r"open-file",
    "host-function-of-another-type": r"in another shape",
    "core-module": r"core Wasm module, not a component; build it with `tidegate plugin build`",
    "no-world": r"exports neither",
    "exports-of-another-type": r"another type",
    "empty": r"is not Wasm",
    "text": r"is not Wasm",
    "only-a-header": r"exports neither",
    "compiled-artifact": r"compiled code .*cannot be checked",
    "thirty-three-mebibytes": r"33554432|32 MiB",
    "bomb-of-functions": None,
    "bomb-of-locals": None,
    "bomb-of-one-function": None,
    "bomb-of-branches": None,
    "bomb-of-nesting": None,
    "bomb-of-types": r"not a valid component",
}

# Taken when pushed, refused when bound.
BIND = {
    "trap-in-configure": r"it trapped",
    "loop-in-configure": DEADLINE,
    "memory-bomb-in-configure": r"more memory than it may",
    "error-of-two-megabytes": r"more bytes than it may",
    "error-that-is-not-utf8": CONTRACT,
    "secret-in-error": r"refuses its configuration: \(secret\)",
    "state-on-a-consume-chain": r"state",
    "trap-in-targets": r"it trapped",
    "loop-in-targets": DEADLINE,
    "no-targets": r"names no topic",
    "a-hundred-thousand-targets": r"more than 1000|more bytes than it may",
    "target-that-is-not-utf8": CONTRACT,
    "target-that-is-internal": r"__consumer_offsets",
    "target-that-is-everything": r"neither a topic's name nor a prefix",
    "target-that-is-a-path": r"neither a topic's name nor a prefix",
}

# Bound, and then every batch fails.
RUN = {
    "loop": DEADLINE,
    "recursion": r"trapped: .*stack",
    "memory-bomb": r"more memory than it may",
    "table-bomb": r"more table elements than it may",
    "trap-on-a-record": r"trapped: .*unreachable",
    "division-by-zero": r"trapped: .*divide by zero",
    "load-out-of-bounds": r"trapped: .*out of bounds memory access",
    "call-of-nothing": r"trapped",
    "answer-out-of-bounds": CONTRACT,
    "answer-not-aligned": CONTRACT,
    "answer-of-no-kind": CONTRACT,
    "too-few-verdicts": r"1 codes for 3 records",
    "too-many-verdicts": r"40 codes for 3 records",
    "unknown-verdict": r"the code 3; 0, 1 and 2 are known",
    "three-megabytes-of-verdicts": r"more bytes than it may",
    "verdicts-out-of-bounds": CONTRACT,
    "reason-for-no-record": r"a reason for record 99",
    "a-million-reasons": r"more bytes than it may|300000 reasons",
    "error-that-is-not-utf8": CONTRACT,
    "error-of-three-megabytes": r"more bytes than it may",
    "its-own-error": r"A sentence\.",
    "endless-log": DEADLINE,
    "huge-log-line": r"more bytes than it may",
    "log-out-of-bounds": CONTRACT,
    "log-that-is-not-utf8": CONTRACT,
    "endless-counter": DEADLINE,
    "counter-that-is-not-utf8": CONTRACT,
    "lying-allocator": CONTRACT,
    "a-million-routes": r"more",
    "route-of-no-record": r"routed record 99 of 3",
    "routes-that-run-backwards": r"never decrease",
    "route-to-no-target": r"target 7 of 1",
    "route-to-an-unknown-partition-choice": r"the partition -3",
    "route-to-a-partition-that-is-not-there": r"out-1000000 is not there yet; the request may be retried",
    "route-to-another-topic": r"which its targets do not cover",
    "topic-that-is-not-utf8": CONTRACT,
    "fewer-targets-than-routes": r"3 routed records, 1 targets",
    "edit-offsets-that-run-backwards": r"offsets",
    "edit-offsets-that-do-not-begin-at-zero": r"offsets",
    "edit-offsets-past-the-data": r"offsets",
    "edit-offsets-too-few": r"offsets",
    "edit-rows-out-of-range": r"rows of its values do not rise strictly within 3 records",
    "edit-rows-twice": r"rows of its values do not rise strictly",
    "edit-data-out-of-bounds": CONTRACT,
    "edit-nulls-too-many": r"null",
    "edit-of-three-megabytes": r"more bytes than it may",
    "edit-of-a-column-it-may-not-write": r"value",
    "edit-and-too-many-verdicts": r"99 codes for 3 records",
}

# What may have passed by the next try: a topic can be given more partitions.
RETRIABLE = {"route-to-a-partition-that-is-not-there"}

# The same on the fetch path: the consumer is told KAFKA_STORAGE_ERROR, and the binding says why.
CONSUME = {
    "loop": DEADLINE,
    "recursion": r"trapped: .*stack",
    "memory-bomb": r"more memory than it may",
    "trap-on-a-record": r"trapped: .*unreachable",
    "too-few-verdicts": r"codes for 3 records",
    "endless-log": DEADLINE,
}

# Looks like harm and is allowed: three records are stored.
WORKS = {
    "plain": "a filter like any other",
    "grow-to-the-limit": "memory up to the limit is the plugin's own",
    "slow-start": "what is slow within the deadline is only slow",
    "large-data": "a large file with little code",
    "large-table": "the limit of a table is about what it grows to",
    "log-flood": "what is over the log rate is counted, not kept",
    "long-log-line": "a long line is cut",
    "control-characters-in-log": "a line stays one line",
    "counter-name-flood": "names beyond the bound are not kept",
    "counter-name-injection": "a name is escaped",
    "secret-in-log": "what it logs of its configuration's secrets is hidden",
    "one-route-for-each-record": "a router like any other",
}

# A file that was cut anywhere.
TRUNCATED = r"is not Wasm|not a valid component|exports neither|does not export|of a version that is not known"
