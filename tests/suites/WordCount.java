import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Produced;

/**
 * A word count of Kafka Streams, with what feeds it and what checks it:
 *
 *   feed BOOTSTRAP FROM TO   sends the lines FROM to TO of a text that is the same each time
 *   count BOOTSTRAP DIR      counts until it is killed; its state is in DIR
 *   await BOOTSTRAP N        returns once N counts were committed
 *   verify BOOTSTRAP LINES   returns once the committed counts of each word are exactly 1, 2, 3, ... up to what LINES lines hold
 */
public class WordCount {
    static final String LINES = "lines", COUNTS = "counts";
    static final int PARTITIONS = 3;
    static final String[] WORDS = "oak ash elm fir yew box bay fig pear plum lime pine larch birch beech maple".split(" ");

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "feed" -> feed(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
            case "count" -> count(args[1], args[2]);
            case "await" -> read(args[1], new TreeMap<>(), Long.parseLong(args[2]));
            case "verify" -> verify(args[1], Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static String line(int number) {
        return WORDS[number % 16] + " " + WORDS[number * 7 % 13] + " " + WORDS[number / 5 % 11];
    }

    static void feed(String bootstrap, int from, int to) throws Exception {
        if (from == 0) {
            try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
                var topics = List.of(new NewTopic(LINES, Optional.of(PARTITIONS), Optional.empty()),
                    new NewTopic(COUNTS, Optional.of(PARTITIONS), Optional.empty()));
                admin.createTopics(topics).all().get();
            }
        }
        var settings = new Properties();
        settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        try (var producer = new KafkaProducer<>(settings, new IntegerSerializer(), new StringSerializer())) {
            for (int number = from; number < to; number++) {
                producer.send(new ProducerRecord<>(LINES, number, line(number)), (ignored, error) -> {
                    if (error != null) {
                        error.printStackTrace();
                        System.exit(1);
                    }
                });
            }
        }
    }

    static void count(String bootstrap, String directory) {
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "word-count");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        // Every count is sent on, so that a repeated or a lost one shows.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        // A killed instance is missed only when its session ends.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        var builder = new StreamsBuilder();
        builder.stream(LINES, Consumed.with(Serdes.Integer(), Serdes.String()))
            .flatMapValues(text -> Arrays.asList(text.split(" ")))
            .groupBy((number, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count()
            .toStream()
            .to(COUNTS, Produced.with(Serdes.String(), Serdes.Long()));
        new KafkaStreams(builder.build(), settings).start();
    }

    static void verify(String bootstrap, int lines) {
        var expected = new TreeMap<String, Long>();
        for (int number = 0; number < lines; number++) {
            for (String word : line(number).split(" ")) {
                expected.merge(word, 1L, Long::sum);
            }
        }
        var found = new TreeMap<String, Long>();
        read(bootstrap, found, expected.values().stream().mapToLong(Long::longValue).sum());
        if (!found.equals(expected)) {
            throw new AssertionError("counted " + found + ", there are " + expected);
        }
        System.out.println("exact: " + found);
    }

    /** Reads committed counts from the start until there are `wanted`, and a moment longer, in which no more may come. */
    static void read(String bootstrap, Map<String, Long> found, long wanted) {
        var settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        long seen = 0, deadline = System.nanoTime() + Duration.ofSeconds(180).toNanos();
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            var partitions = consumer.partitionsFor(COUNTS).stream().map(one -> new TopicPartition(COUNTS, one.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (boolean more = true; more; ) {
                var records = consumer.poll(Duration.ofMillis(500));
                for (var one : records) {
                    long before = found.getOrDefault(one.key(), 0L);
                    if (one.value() != before + 1) {
                        throw new AssertionError(one.key() + ": " + one.value() + " after " + before);
                    }
                    found.put(one.key(), one.value());
                    seen++;
                }
                if (seen < wanted && System.nanoTime() > deadline) {
                    throw new AssertionError("only " + seen + " of " + wanted + " counts were committed: " + found);
                }
                more = seen < wanted || !records.isEmpty();
            }
        }
    }
}
