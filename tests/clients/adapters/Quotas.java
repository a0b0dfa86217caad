import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.serialization.*;

/** Quotas through Kafka's own Java client. One command a run; what was measured goes to standard output as `name value`. */
public class Quotas {
    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        switch (arguments[1]) {
            case "admin" -> admin(bootstrap);
            case "produce" -> produce(bootstrap, arguments[2], Integer.parseInt(arguments[3]));
            case "consume" -> consume(bootstrap, arguments[2], Integer.parseInt(arguments[3]));
            case "mutate" -> mutate(bootstrap);
            default -> throw new IllegalArgumentException(arguments[1]);
        }
    }

    static void tell(String name, Object value) {
        System.out.println(name + " " + value);
    }

    static Properties with(String bootstrap, String clientId) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("client.id", clientId);
        return properties;
    }

    static ClientQuotaEntity entity(String... parts) {
        Map<String, String> entries = new HashMap<>();
        for (int i = 0; i < parts.length; i += 2) entries.put(parts[i], parts[i + 1]);
        return new ClientQuotaEntity(entries);
    }

    static String error(Callable<?> call) {
        try {
            call.call();
            return "none";
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        } catch (Exception error) {
            return error.toString();
        }
    }

    static void alter(Admin admin, ClientQuotaEntity entity, String key, Double value) throws Exception {
        var op = new ClientQuotaAlteration.Op(key, value);
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(op)))).all().get();
    }

    static int described(Admin admin, ClientQuotaFilter filter) throws Exception {
        return admin.describeClientQuotas(filter).entities().get().size();
    }

    /** Sets, describes by every kind of filter, removes. */
    static void admin(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(with(bootstrap, "admin"))) {
            var user = entity("user", "alice");
            alter(admin, user, "producer_byte_rate", 1000.0);
            alter(admin, user, "request_percentage", 12.5);
            alter(admin, entity("user", "alice", "client-id", "report"), "consumer_byte_rate", 2000.0);
            alter(admin, entity("user", null), "controller_mutation_rate", 3.0);
            alter(admin, entity("client-id", null), "producer_byte_rate", 5000.0);
            alter(admin, entity("ip", "10.0.0.1"), "connection_creation_rate", 4.0);
            var all = admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get();
            tell("all", all.size());
            tell("alice", all.get(user).get("producer_byte_rate") + "," + all.get(user).get("request_percentage"));
            tell("default-user", all.get(entity("user", null)).get("controller_mutation_rate"));
            var alice = ClientQuotaFilterComponent.ofEntity("user", "alice");
            tell("contains", described(admin, ClientQuotaFilter.contains(List.of(alice))));
            tell("contains-only", described(admin, ClientQuotaFilter.containsOnly(List.of(alice))));
            tell("default", described(admin, ClientQuotaFilter.contains(
                List.of(ClientQuotaFilterComponent.ofDefaultEntity("client-id")))));
            tell("any-user", described(admin, ClientQuotaFilter.contains(
                List.of(ClientQuotaFilterComponent.ofEntityType("user")))));
            tell("bad-key", error(() -> {
                alter(admin, user, "no_such_key", 1.0);
                return null;
            }));
            tell("bad-entity", error(() -> {
                alter(admin, entity("user", "a", "ip", "10.0.0.1"), "producer_byte_rate", 1.0);
                return null;
            }));
            for (ClientQuotaEntity row : all.keySet()) {
                for (String key : all.get(row).keySet()) alter(admin, row, key, null);
            }
            tell("left", described(admin, ClientQuotaFilter.all()));
        }
    }

    /** Sends for so many seconds; what came through, and how long the broker said to wait. */
    static void produce(String bootstrap, String clientId, int seconds) throws Exception {
        Properties properties = with(bootstrap, clientId);
        properties.put("batch.size", "16384");
        properties.put("buffer.memory", "65536");
        AtomicLong acknowledged = new AtomicLong();
        byte[] value = new byte[8000];
        new Random(1).nextBytes(value);
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            // What counts begins when the client is connected, however long that took.
            producer.partitionsFor("quotas");
            long began = System.nanoTime(), end = began + TimeUnit.SECONDS.toNanos(seconds);
            while (System.nanoTime() < end) {
                producer.send(new ProducerRecord<>("quotas", value), (done, error) -> {
                    if (error == null) acknowledged.addAndGet(value.length);
                });
            }
            long bytes = acknowledged.get();
            double took = (System.nanoTime() - began) / 1e9;
            tell("bytes", bytes);
            tell("seconds", took);
            tell("throttled", metric(producer.metrics(), "produce-throttle-time-max"));
            producer.close(Duration.ZERO);
        }
    }

    /** Reads for so many seconds. */
    static void consume(String bootstrap, String clientId, int seconds) throws Exception {
        Properties properties = with(bootstrap, clientId);
        properties.put("max.partition.fetch.bytes", "1048576");
        long bytes = 0;
        try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(new TopicPartition("quotas", 0)));
            consumer.seekToBeginning(consumer.assignment());
            consumer.position(new TopicPartition("quotas", 0));
            long began = System.nanoTime(), end = began + TimeUnit.SECONDS.toNanos(seconds);
            while (System.nanoTime() < end) {
                for (var record : consumer.poll(Duration.ofMillis(200))) bytes += record.value().length;
            }
            tell("bytes", bytes);
            tell("seconds", (System.nanoTime() - began) / 1e9);
            tell("throttled", metric(consumer.metrics(), "fetch-throttle-time-max"));
        }
    }

    static Object metric(Map<MetricName, ? extends Metric> metrics, String name) {
        return metrics.entrySet().stream().filter(entry -> entry.getKey().name().equals(name))
            .map(entry -> entry.getValue().metricValue()).findFirst().orElse("none");
    }

    /** Creates topics until the broker says that it is too much. */
    static void mutate(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(with(bootstrap, "mutator"))) {
            var once = new CreateTopicsOptions().retryOnQuotaViolation(false);
            for (int i = 0; i < 20; i++) {
                var topic = new NewTopic("mutated-" + i, 10, (short) 1);
                try {
                    admin.createTopics(List.of(topic), once).all().get();
                } catch (ExecutionException error) {
                    tell("created", i);
                    tell("error", error.getCause().getClass().getSimpleName());
                    if (error.getCause() instanceof ThrottlingQuotaExceededException throttled) {
                        tell("throttle-ms", throttled.throttleTimeMs());
                    }
                    break;
                }
            }
            // By default the client tries again when the broker says so.
            admin.createTopics(List.of(new NewTopic("mutated-last", 1, (short) 1))).all().get();
            tell("last", "created");
        }
    }
}
