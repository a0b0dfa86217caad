"""What a client has no way to do, and why: the one table of "n/a".

A name is a verb of `base.py` or what a feature of the matrix asks for. An entry of several names gives one reason for all.
"""

ADMIN = ("create_topic topic_configs delete_topic create_partitions describe_configs set_configs delete_config "
         "describe_broker_configs describe_cluster log_dirs features elect_leader reassign delete_records describe_producers "
         "max_timestamp epoch_end list_groups describe_group delete_group committed alter_offsets delete_offsets set_quota "
         "list_transactions")
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
    "kcat": {
        ADMIN: "kcat has no such command",
        "timestamps": "kcat has no flag for a record's timestamp",
        "empty_values": "kcat sends nothing for an empty line, or null for all that is empty: no empty value without a key",
        "seek": "kcat does not seek while it reads",
        "commits": "kcat commits by itself only",
        "several_partitions": "a transaction of kcat has one topic",
        "abort filtered_transaction": "kcat sends when its input ends, and then commits: it has nothing to abort",
        "open_transaction transaction_timeout": "kcat sends when its input ends, and then commits: nothing is open in between",
        "send_offsets": "kcat has no such command",
        "consumer_protocol": "Debian's librdkafka 2.0 has no KIP-848",
    },
    "java-4.1": {"epoch_end": "the consumer asks for it by itself only"},
    "java-3.9": {"epoch_end": "the consumer asks for it by itself only"},
    "kafkajs": {
        "reasons": "it has its own sentence for each error code and drops the broker's",
        "delete_config": "it has no IncrementalAlterConfigs: AlterConfigs sets all at once",
        "log_dirs": "its admin client has no DescribeLogDirs",
        "features": "it does not tell features",
        "elect_leader": "its admin client has no ElectLeaders",
        "describe_producers": "its admin client has no DescribeProducers",
        "list_transactions": "its admin client has no ListTransactions",
        "set_quota": "its admin client has no AlterClientQuotas",
        "epoch_end": "it does not ask for it",
        "max_timestamp": "it speaks ListOffsets up to version 3, which has no such query",
        "delete_offsets": "its admin client has no OffsetDelete",
        "static_members": "it has no group.instance.id",
        "cooperative": "it has no cooperative assignor",
        "consumer_protocol": "it has no KIP-848",
    },
    "confluent-kafka-js": {
        **LIBRDKAFKA_ADMIN,
        "create_partitions describe_configs describe_broker_configs set_configs delete_config describe_cluster elect_leader "
        "alter_offsets delete_offsets": "its admin client has no such call",
        "max_timestamp": "its admin client has no such query",
        "commits_gaps": "it commits what it handed out, and nothing is handed out in a gap",
    },
    "platformatic": {
        "seek": "its stream does not seek; another one is opened instead",
        "reset": "offsets given to its stream are where it begins, or it fails",
        "features": "its admin client does not tell features",
        "elect_leader": "its admin client has no ElectLeaders",
        "reassign": "its admin client has no reassignments (only the raw API)",
        "describe_producers": "its admin client has no DescribeProducers (only the raw API)",
        "list_transactions": "its admin client has no ListTransactions (only the raw API)",
        "epoch_end": "its consumer asks for it by itself only (or the raw API)",
        "send_offsets": "it commits offsets in transactions for messages of its own consumer only",
        "transaction_timeout": "its producer has no transaction.timeout.ms",
        "static_member consumer_static": "its consumer leaves the group when it is closed, also a static one: whether the same partitions come back is chance",
        "reasons": "it has its own sentence for each error code and drops the broker's",
        "describe_consumer_group": "its admin client has no ConsumerGroupDescribe (only the raw API)",
    },
    "franz-go": {
        "commits_gaps": "it commits what it handed out, and nothing is handed out in a gap",
    },
    "sarama": {
        "commits_gaps": "it commits messages that were marked, and there is none in a gap",
        "features": "its admin client does not tell features",
        "describe_producers": "its admin client has no DescribeProducers",
        "list_transactions": "its admin client has no ListTransactions",
        "epoch_end": "it does not ask for it",
        "max_timestamp": "it speaks ListOffsets up to version 6, which has no such query",
        "reset": "a partition consumer of Sarama ends there",
        "cooperative": "it has no cooperative assignor",
        "consumer_protocol": "it has no KIP-848",
    },
    "rdkafka": {
        **LIBRDKAFKA_ADMIN,
        "delete_config": "the crate has AlterConfigs only, which sets all at once",
        "set_wrong_config binding_refused": "the crate drops what AlterConfigs answers for a resource, so nothing is refused",
        "describe_cluster elect_leader alter_offsets delete_offsets": "the crate has no such call",
        "max_timestamp": "the crate has no ListOffsets",
        "describe_consumer_group": "the crate describes groups by librdkafka's old call, which knows classic ones",
    },
    "rskafka": {
        ADMIN.replace("create_topic ", "").replace("delete_topic ", "").replace("delete_records ", ""): "it has no such call",
        "describe_topic": "it tells names and partitions only",
        "acks": "it always asks for all",
        "idempotent transactions": "it has no producer ids",
        "read_committed": "it always reads uncommitted",
        "groups static_members cooperative consumer_protocol": "it has no consumer groups",
        "seek": "its partition client takes an offset with every fetch",
        "reset": "its partition client gives the error to its caller",
        "keys": "it leaves partitions to its caller",
        "headers": "it keeps headers in a map, one of each name",
    },
    "kafka-python": {
        "set_quota": "its admin client has no AlterClientQuotas",
        "epoch_end": "it asks for it by itself only",
        "consumer_protocol": "it has no KIP-848",
    },
    "aiokafka": {
        "fenced_members": "its heartbeats do not name the instance: twins take the place from each other, and either is told in the end",
        "delete_config": "it has no IncrementalAlterConfigs: AlterConfigs sets all at once",
        "log_dirs": "its admin client has no DescribeLogDirs",
        "features": "it does not tell features",
        "elect_leader": "its admin client has no ElectLeaders",
        "reassign": "its admin client has no AlterPartitionReassignments",
        "describe_producers": "its admin client has no DescribeProducers",
        "list_transactions": "its admin client has no ListTransactions",
        "set_quota": "its admin client has no AlterClientQuotas",
        "epoch_end": "it does not ask for it",
        "max_timestamp": "it speaks ListOffsets up to version 5, which has no such query",
        "delete_group": "its admin client has no DeleteGroups",
        "alter_offsets": "its admin client has no way to commit for a group",
        "delete_offsets": "its admin client has no OffsetDelete",
        "cooperative": "it has no cooperative assignor",
        "consumer_protocol": "it has no KIP-848",
    },
}


def absent(client):
    """{name: reason} of one client."""
    return {name: reason for names, reason in ABSENT.get(client, {}).items() for name in names.split()}
