import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactions with Kafka's own client: {@code TransactionsProgram BOOTSTRAP COMMAND}. What does not hold is an exception. */
public class TransactionsProgram {
    private static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        switch (args[1]) {
            case "commits" -> commits();
            case "fences" -> fences();
            case "offsets" -> offsets();
            case "timeout" -> timeout();
            case "admin" -> admin();
            case "loop" -> loop(args[2]);
            default -> throw new IllegalArgumentException(args[1]);
        }
    }

    private static void commits() throws Exception {
        String topic = topic(2);
        try (KafkaProducer<String, String> producer = producer("java-commits", 60_000)) {
            for (int n = 0; n < 6; n++) {
                producer.beginTransaction();
                for (int partition = 0; partition < 2; partition++) {
                    producer.send(new ProducerRecord<>(topic, partition, null, n + " " + partition));
                }
                if (n % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.flush();
                    producer.abortTransaction();
                }
            }
            // Nothing was begun on the broker; both must be fine, and leave the producer usable.
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
        }
        until("the commits to be read", () -> read(topic, "read_committed").size() == 6);
        List<String> seen = read(topic, "read_committed");
        Collections.sort(seen);
        same(seen, List.of("0 0", "0 1", "2 0", "2 1", "4 0", "4 1"));
        same(read(topic, "read_uncommitted").size(), 12);
    }

    private static void fences() throws Exception {
        String topic = topic(1);
        KafkaProducer<String, String> old = producer("java-fences", 60_000);
        old.beginTransaction();
        old.send(new ProducerRecord<>(topic, "old")).get();
        try (KafkaProducer<String, String> next = producer("java-fences", 60_000)) {
            next.beginTransaction();
            next.send(new ProducerRecord<>(topic, "new"));
            next.commitTransaction();
        }
        try {
            old.send(new ProducerRecord<>(topic, "zombie")).get();
            throw new AssertionError("a zombie produced");
        } catch (ExecutionException | KafkaException expected) {
            Throwable cause = expected instanceof ExecutionException ? expected.getCause() : expected;
            if (!(cause instanceof ProducerFencedException || cause instanceof InvalidProducerEpochException)) {
                throw expected;
            }
        }
        try {
            old.commitTransaction();
            throw new AssertionError("a zombie committed");
        } catch (KafkaException expected) {
            // Fenced, or already in an error for that reason.
        }
        old.close(Duration.ZERO);
        same(read(topic, "read_committed"), List.of("new"));
    }

    private static void offsets() throws Exception {
        String source = topic(1), target = topic(1), group = "java-" + source;
        try (KafkaProducer<String, String> plain = producer(null, 0)) {
            for (int n = 0; n < 30; n++) plain.send(new ProducerRecord<>(source, "" + n));
        }
        TopicPartition partition = new TopicPartition(source, 0);
        try (KafkaProducer<String, String> producer = producer("java-offsets", 60_000);
                KafkaConsumer<String, String> consumer = consumer(group, "read_committed")) {
            consumer.subscribe(List.of(source));
            int taken = 0, steps = 0;
            List<String> batch = new ArrayList<>();
            while (taken < 30) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    batch.add(record.value());
                    taken++;
                    if (batch.size() < 10) continue;
                    producer.beginTransaction();
                    for (String value : batch) producer.send(new ProducerRecord<>(target, value));
                    Map<TopicPartition, OffsetAndMetadata> position = Map.of(partition, new OffsetAndMetadata(record.offset() + 1));
                    producer.sendOffsetsToTransaction(position, consumer.groupMetadata());
                    // The second is aborted, with its offsets.
                    if (++steps == 2) producer.abortTransaction(); else producer.commitTransaction();
                    batch.clear();
                    // require_stable waits for the markers.
                    long expected = steps == 2 ? 10 : 10L * steps;
                    same(consumer.committed(Set.of(partition)).get(partition).offset(), expected);
                }
            }
        }
        until("the target to be complete", () -> read(target, "read_committed").size() == 20);
    }

    private static void timeout() throws Exception {
        String topic = topic(1);
        try (KafkaProducer<String, String> producer = producer("java-timeout", 1_000); Admin admin = adminClient()) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "late")).get();
            until("the transaction to be aborted", () -> state(admin, "java-timeout") == TransactionState.COMPLETE_ABORT);
            try {
                producer.commitTransaction();
                throw new AssertionError("a transaction was committed after its timeout");
            } catch (KafkaException expected) {
                // Fenced.
            }
        }
        same(read(topic, "read_committed"), List.of());
    }

    private static void admin() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        KafkaProducer<String, String> producer = producer("java-admin", 60_000);
        try (Admin admin = adminClient()) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "open")).get();
            TransactionDescription described = describe(admin, "java-admin");
            same(described.state(), TransactionState.ONGOING);
            same(described.topicPartitions(), Set.of(partition));
            same(described.transactionTimeoutMs(), 60_000L);
            Collection<TransactionListing> listed = admin.listTransactions(
                    new ListTransactionsOptions().filterStates(List.of(TransactionState.ONGOING)).filterOnTransactionalIdPattern("java-ad.*")).all().get();
            same(listed.size(), 1);
            same(listed.iterator().next().producerId(), described.producerId());
            same(admin.listTransactions(new ListTransactionsOptions().filterProducerIds(List.of(12345678L))).all().get().size(), 0);
            same(admin.listTransactions(new ListTransactionsOptions().filterStates(List.of(TransactionState.ONGOING)).filterOnDuration(1_000_000)).all().get().size(), 0);

            // As kafka-transactions.sh abort: by the producer's own state in the partition.
            ProducerState open = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers().stream()
                    .filter(state -> state.currentTransactionStartOffset().isPresent()).findFirst().orElseThrow();
            same(open.producerId(), described.producerId());
            same(open.currentTransactionStartOffset().getAsLong(), 0L);
            admin.abortTransaction(new AbortTransactionSpec(partition, open.producerId(), (short) open.producerEpoch(),
                    open.coordinatorEpoch().orElse(0))).all().get();
            same(read(topic, "read_committed"), List.of());
            boolean stillOpen = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers().stream()
                    .anyMatch(state -> state.currentTransactionStartOffset().isPresent());
            same(stillOpen, false);

            admin.fenceProducers(List.of("java-admin")).all().get();
            try {
                producer.commitTransaction();
                throw new AssertionError("a fenced producer committed");
            } catch (KafkaException expected) {
                // Fenced.
            }
        }
        producer.close(Duration.ZERO);
    }

    /** Transactions over three partitions until standard input closes; says of each what became of it, if that is known. */
    private static void loop(String topic) throws Exception {
        KafkaProducer<String, String> producer = producer("java-loop", 60_000);
        for (int n = 1; ; n++) {
            if (closed()) break;
            try {
                producer.beginTransaction();
                for (int partition = 0; partition < 3; partition++) {
                    producer.send(new ProducerRecord<>(topic, partition, null, "j" + n));
                }
                if (n % 4 == 0) {
                    producer.flush();
                    producer.abortTransaction();
                    System.out.println("aborted j" + n);
                } else {
                    producer.commitTransaction();
                    System.out.println("committed j" + n);
                }
            } catch (KafkaException error) {
                try {
                    producer.abortTransaction();
                    System.out.println("aborted j" + n);
                } catch (KafkaException fatal) {
                    producer.close(Duration.ZERO);
                    producer = producer("java-loop", 60_000);
                }
            }
        }
        producer.close();
    }

    private static volatile boolean inputClosed;
    private static Thread watcher;

    private static boolean closed() {
        if (watcher == null) {
            watcher = new Thread(() -> {
                try {
                    while (System.in.read() >= 0) { }
                } catch (java.io.IOException gone) {
                    // As good as closed.
                }
                inputClosed = true;
            });
            watcher.setDaemon(true);
            watcher.start();
        }
        return inputClosed;
    }

    private static KafkaProducer<String, String> producer(String transactionalId, int timeoutMs) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("reconnect.backoff.max.ms", "500");
        config.put("max.block.ms", "60000");
        if (transactionalId != null) {
            config.put("transactional.id", transactionalId);
            config.put("transaction.timeout.ms", timeoutMs);
        }
        KafkaProducer<String, String> producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        if (transactionalId != null) producer.initTransactions();
        return producer;
    }

    private static KafkaConsumer<String, String> consumer(String group, String isolation) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", group);
        config.put("isolation.level", isolation);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private static Admin adminClient() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private static String topic(int partitions) throws Exception {
        String name = "java-" + Long.toHexString(System.nanoTime());
        try (Admin admin = adminClient()) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get(30, TimeUnit.SECONDS);
        }
        return name;
    }

    /** Every value up to the end that this isolation shows. */
    private static List<String> read(String topic, String isolation) {
        try (KafkaConsumer<String, String> consumer = consumer("java-reader", isolation)) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            List<String> values = new ArrayList<>();
            long deadline = System.nanoTime() + 30_000_000_000L;
            while (!ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue())) {
                if (System.nanoTime() > deadline) throw new AssertionError(topic + " did not end");
                consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
            }
            return values;
        }
    }

    private static TransactionDescription describe(Admin admin, String id) {
        try {
            return admin.describeTransactions(List.of(id)).description(id).get();
        } catch (InterruptedException | ExecutionException error) {
            throw new RuntimeException(error);
        }
    }

    private static TransactionState state(Admin admin, String id) {
        return describe(admin, id).state();
    }

    private static void until(String what, BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) throw new AssertionError("still not: " + what);
            Thread.sleep(20);
        }
    }

    private static void same(Object actual, Object expected) {
        if (!actual.equals(expected)) throw new AssertionError("got " + actual + ", expected " + expected);
    }
}
