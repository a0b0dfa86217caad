"""What a client has no way to do, and why: the one table of "n/a".

A name is a verb of `base.py` or what a feature of the matrix asks for. An entry of several names gives one reason for all.
"""

ADMIN = ("create_topic topic_configs delete_topic list_topics describe_topic create_partitions describe_configs set_configs "
         "delete_config describe_broker_configs describe_cluster log_dirs features elect_leader reassign delete_records "
         "describe_producers list_offsets max_timestamp epoch_end list_groups describe_group delete_group committed "
         "alter_offsets delete_offsets set_quota list_transactions")
NO_LOG_DIRS = "its admin client has no DescribeLogDirs"
LIBRDKAFKA_ADMIN = {
    "log_dirs": "librdkafka has no DescribeLogDirs",
    "features": "librdkafka does not tell features",
    "reassign": "librdkafka has no AlterPartitionReassignments",
    "describe_producers": "librdkafka has no DescribeProducers",
    "list_transactions": "librdkafka has no ListTransactions",
    "set_quota": "librdkafka has no AlterClientQuotas",
    "epoch_end": "librdkafka asks for it by itself only",
}

ABSENT = {
    "confluent-kafka": {
        **LIBRDKAFKA_ADMIN,
        "delete_offsets": "the Python binding has no DeleteConsumerGroupOffsets",
    },
}


def absent(client):
    """{name: reason} of one client."""
    return {name: reason for names, reason in ABSENT.get(client, {}).items() for name in names.split()}
