import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

/** Verbs of the admin client. */
class AdminVerbs {
    final Admin admin;

    AdminVerbs(String bootstrap) {
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    void close() {
        admin.close();
    }

    void addTo(Map<String, Driver.Verb> verbs) {
        verbs.put("create_topic", this::createTopic);
        verbs.put("delete_topic", asked -> admin.deleteTopics(List.of(topic(asked))).all().get());
        verbs.put("list_topics", asked -> admin.listTopics().names().get());
        verbs.put("describe_topic", this::describeTopic);
        verbs.put("create_partitions", asked -> admin.createPartitions(
                Map.of(topic(asked), NewPartitions.increaseTo(asked.get("total").getAsInt()))).all().get());
        verbs.put("describe_configs", asked -> configs(ConfigResource.Type.TOPIC, topic(asked)));
        verbs.put("describe_broker_configs", asked -> configs(ConfigResource.Type.BROKER, String.valueOf(anyBroker())));
        verbs.put("set_configs", this::setConfigs);
        verbs.put("delete_config", asked -> alter(topic(asked), List.of(
                new AlterConfigOp(new ConfigEntry(Json.text(asked, "name"), null), AlterConfigOp.OpType.DELETE))));
        verbs.put("describe_cluster", this::describeCluster);
        verbs.put("log_dirs", this::logDirs);
        verbs.put("features", this::features);
        verbs.put("elect_leader", this::electLeader);
        verbs.put("reassign", this::reassign);
        verbs.put("list_reassignments", asked -> strings(admin.listPartitionReassignments().reassignments().get().keySet()));
        verbs.put("delete_records", asked -> admin.deleteRecords(Map.of(
                Json.partition(asked), RecordsToDelete.beforeOffset(asked.get("offset").getAsLong())))
                .lowWatermarks().get(Json.partition(asked)).get().lowWatermark());
        verbs.put("describe_producers", this::describeProducers);
        verbs.put("list_offsets", this::listOffsets);
        verbs.put("list_groups", this::listGroups);
        verbs.put("describe_group", this::describeGroup);
        verbs.put("delete_group", asked -> admin.deleteConsumerGroups(List.of(group(asked))).all().get());
        verbs.put("committed", this::committed);
        verbs.put("alter_offsets", asked -> admin.alterConsumerGroupOffsets(group(asked), Json.offsets(asked)).all().get());
        verbs.put("delete_offsets", this::deleteOffsets);
        verbs.put("set_quota", this::setQuota);
        verbs.put("describe_quota", this::describeQuota);
        verbs.put("list_transactions", this::listTransactions);
        verbs.put("describe_transaction", this::describeTransaction);
    }

    Object createTopic(JsonObject asked) throws Exception {
        NewTopic topic = new NewTopic(topic(asked), asked.get("partitions").getAsInt(), (short) 1);
        topic.configs(Json.strings(asked.getAsJsonObject("configs")));
        return admin.createTopics(List.of(topic)).all().get();
    }

    Object describeTopic(JsonObject asked) throws Exception {
        Map<Integer, Object> found = new HashMap<>();
        admin.describeTopics(List.of(topic(asked))).allTopicNames().get().get(topic(asked)).partitions().forEach(one ->
                found.put(one.partition(), Map.of(
                        "leader", one.leader().id(), "replicas", ids(one.replicas()), "isr", ids(one.isr()))));
        return found;
    }

    Object configs(ConfigResource.Type type, String name) throws Exception {
        ConfigResource resource = new ConfigResource(type, name);
        Map<String, String> found = new HashMap<>();
        admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().forEach(entry ->
                found.put(entry.name(), entry.value()));
        return found;
    }

    Object setConfigs(JsonObject asked) throws Exception {
        List<AlterConfigOp> edits = new ArrayList<>();
        Json.strings(asked.getAsJsonObject("configs")).forEach((name, value) ->
                edits.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        return alter(topic(asked), edits);
    }

    Object alter(String topic, Collection<AlterConfigOp> edits) throws Exception {
        return admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), edits)).all().get();
    }

    Object describeCluster(JsonObject asked) throws Exception {
        DescribeClusterResult found = admin.describeCluster();
        return Map.of("brokers", ids(found.nodes().get()), "controller", found.controller().get().id(),
                "cluster", found.clusterId().get());
    }

    int anyBroker() throws Exception {
        return admin.describeCluster().nodes().get().iterator().next().id();
    }

    Object logDirs(JsonObject asked) throws Exception {
        Map<Integer, Long> sizes = new HashMap<>();
        admin.describeLogDirs(List.of(anyBroker())).allDescriptions().get().values().forEach(homes ->
                homes.values().forEach(home -> home.replicaInfos().forEach((at, replica) -> {
                    if (at.topic().equals(topic(asked))) {
                        sizes.put(at.partition(), replica.size());
                    }
                })));
        return sizes;
    }

    Object features(JsonObject asked) throws Exception {
        Map<String, Integer> levels = new HashMap<>();
        admin.describeFeatures().featureMetadata().get().finalizedFeatures().forEach((name, range) ->
                levels.put(name, (int) range.maxVersionLevel()));
        return levels;
    }

    Object electLeader(JsonObject asked) throws Exception {
        return admin.electLeaders(ElectionType.PREFERRED, Set.of(Json.partition(asked))).partitions().get()
                .get(Json.partition(asked)).map(Throwable::toString).orElse("");
    }

    Object reassign(JsonObject asked) throws Exception {
        List<Integer> replicas = new ArrayList<>();
        asked.getAsJsonArray("replicas").forEach(id -> replicas.add(id.getAsInt()));
        return admin.alterPartitionReassignments(
                Map.of(Json.partition(asked), Optional.of(new NewPartitionReassignment(replicas)))).all().get();
    }

    Object describeProducers(JsonObject asked) throws Exception {
        List<Long> ids = new ArrayList<>();
        admin.describeProducers(List.of(Json.partition(asked))).partitionResult(Json.partition(asked)).get()
                .activeProducers().forEach(producer -> ids.add(producer.producerId()));
        return ids;
    }

    Object listOffsets(JsonObject asked) throws Exception {
        OffsetSpec spec = switch (Json.text(asked, "where")) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            case "max_timestamp" -> OffsetSpec.maxTimestamp();
            default -> OffsetSpec.forTimestamp(asked.get("where").getAsLong());
        };
        return admin.listOffsets(Map.of(Json.partition(asked), spec)).partitionResult(Json.partition(asked)).get().offset();
    }

    Object listGroups(JsonObject asked) throws Exception {
        List<String> ids = new ArrayList<>();
        admin.listConsumerGroups().all().get().forEach(listing -> ids.add(listing.groupId()));
        return ids;
    }

    Object describeGroup(JsonObject asked) throws Exception {
        ConsumerGroupDescription found =
                admin.describeConsumerGroups(List.of(group(asked))).all().get().get(group(asked));
        return Map.of("state", found.state().toString(), "members", found.members().size());
    }

    Object committed(JsonObject asked) throws Exception {
        Map<Integer, Long> found = new HashMap<>();
        admin.listConsumerGroupOffsets(group(asked)).partitionsToOffsetAndMetadata().get().forEach((at, kept) -> {
            if (kept != null && at.topic().equals(topic(asked))) {
                found.put(at.partition(), kept.offset());
            }
        });
        return found;
    }

    Object deleteOffsets(JsonObject asked) throws Exception {
        Set<TopicPartition> gone = new HashSet<>();
        asked.getAsJsonArray("partitions").forEach(index -> gone.add(new TopicPartition(topic(asked), index.getAsInt())));
        return admin.deleteConsumerGroupOffsets(group(asked), gone).all().get();
    }

    Object setQuota(JsonObject asked) throws Exception {
        List<ClientQuotaAlteration.Op> edits = new ArrayList<>();
        for (Map.Entry<String, JsonElement> quota : asked.getAsJsonObject("quotas").entrySet()) {
            JsonElement value = quota.getValue();
            edits.add(new ClientQuotaAlteration.Op(quota.getKey(), value.isJsonNull() ? null : value.getAsDouble()));
        }
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, Json.text(asked, "client_id")));
        return admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, edits))).all().get();
    }

    Object describeQuota(JsonObject asked) throws Exception {
        Map<String, Double> found = new HashMap<>();
        admin.describeClientQuotas(ClientQuotaFilter.containsOnly(List.of(ClientQuotaFilterComponent.ofEntity(
                ClientQuotaEntity.CLIENT_ID, Json.text(asked, "client_id"))))).entities().get().values().forEach(found::putAll);
        return found;
    }

    Object listTransactions(JsonObject asked) throws Exception {
        Map<String, String> states = new HashMap<>();
        admin.listTransactions().all().get().forEach(one -> states.put(one.transactionalId(), one.state().toString()));
        return states;
    }

    Object describeTransaction(JsonObject asked) throws Exception {
        String name = Json.text(asked, "transaction");
        TransactionDescription found = admin.describeTransactions(List.of(name)).description(name).get();
        return Map.of("state", found.state().toString(), "partitions", strings(found.topicPartitions()));
    }

    static String topic(JsonObject asked) {
        return Json.text(asked, "topic");
    }

    static String group(JsonObject asked) {
        return Json.text(asked, "group");
    }

    static List<Integer> ids(Collection<Node> nodes) {
        return nodes.stream().map(Node::id).toList();
    }

    static List<String> strings(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::toString).toList();
    }
}
