"""confluent-kafka-python's integration tests, against the package of the checkout's version; once for each group protocol."""

from suite import AUTHORIZER, NotRun, Suite, Why, checkout, pytest, virtual_environment

PACKAGES = ["pytest<9", "pytest-timeout", "pytest-asyncio", "requests", "requests-mock", "respx", "async-timeout", "attrs",
            "cachetools", "certifi", "httpx", "authlib"]


class ConfluentKafka(Suite):
    NAME = "confluent-kafka-python"
    VERSION = "2.15.0"
    CONFIGS = {"group.initial.rebalance.delay.ms": "0", **AUTHORIZER}
    LEFT_OUT = [
        ("schema_registry, serialization", "need Confluent's Schema Registry"),
        ("share_consumer", "share groups are left out by design"),
        ("share_consumer_oauth, share_consumer_sasl", "need SASL"),
    ]
    EXPLAINED = [
        Why("test_basic_operations::*", "left out by design: it begins with ACLs, which come with the security issue"),
        Why("test_describe_operations::*sasl_cluster*", "starts a cluster of its own, for SASL and ACLs"),
        Why("test_incremental_alter_configs::*",
            "wants min.insync.replicas among what is set: a cluster with eligible leader replicas (KIP-966) sets it; they come with the cluster"),
        Why("*user_scram*", "left out by design: SCRAM comes with the security issue"),
    ]
    PROTOCOL = "classic"

    def prepare(self):
        self.home = checkout("TIDEGATE_SUITE_CONFLUENT_KAFKA_PYTHON", "tests/integration/cluster_fixture.py")
        trivup = next((self.home / "tests" / "trivup").glob("trivup-*.tar.gz"), None)
        if not trivup:
            raise NotRun("the checkout has no tests/trivup")
        self.python = virtual_environment("confluent-kafka-python", f"confluent-kafka[avro,schema-registry]=={self.VERSION}", *PACKAGES, trivup)

    def run(self, broker, log):
        parts = [f"tests/integration/{part}" for part in ("admin", "consumer", "producer")]
        return pytest(self.python, self, self.home, parts, log, {
            "BROKERS": broker.bootstrap, "TEST_CONSUMER_GROUP_PROTOCOL": self.PROTOCOL})


class ConfluentKafka848(ConfluentKafka):
    NAME = "confluent-kafka-python, KIP-848 groups"
    PROTOCOL = "consumer"
