"""Why a cell is red on Apache Kafka 4.1.1 too: sentences for the page, found in the client's source or in what it sent.

Only cells that were seen red there stand here: they count as skipped, not as failed, and are "both" on the page.
"""

LOG_APPEND = ("it takes a record's time from the batch's first timestamp, whatever the batch says of the broker's time "
              "(message.timestamp.type)")

EXPLAINED = {
    "kafka-python": {
        "elect_leader": "it gives no result for a partition that needs no election",
        "static_fenced": "a fenced consumer goes on without an error",
    },
    "confluent-kafka-js": {
        "static_fenced": "a fenced consumer writes \"Fatal error\" to its log, and its application is told nothing",
    },
    "platformatic": {
        "log_append_time": LOG_APPEND,
        "static_fenced": "told that it is fenced, a member joins again under the same name, and fences the other",
        "migration": "its classic member asks for offsets with its member id and epoch -1, which a group that has moved refuses",
    },
    "rskafka": {
        "log_append_time": LOG_APPEND,
        "quota_enforced": "what is answered with a throttle time it sends again, and so on, each time as new records",
    },
}


def explained(client):
    """{feature: sentence} of one client."""
    return EXPLAINED.get(client, {})
