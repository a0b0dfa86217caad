import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Verbs of producers: one for each `produce`, and those that are transactional, which stay. */
class Producers {
    final String bootstrap;
    final Map<String, KafkaProducer<byte[], byte[]>> transactional = new ConcurrentHashMap<>();

    Producers(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void addTo(Map<String, Driver.Verb> verbs) {
        verbs.put("produce", this::produce);
        verbs.put("txn_open", this::open);
        verbs.put("txn_begin", asked -> {
            of(asked).beginTransaction();
            return null;
        });
        verbs.put("txn_send", asked -> send(of(asked), asked, false));
        verbs.put("txn_offsets", asked -> {
            of(asked).sendOffsetsToTransaction(
                    Json.offsets(asked), new ConsumerGroupMetadata(Json.text(asked, "group")));
            return null;
        });
        verbs.put("txn_commit", asked -> {
            of(asked).commitTransaction();
            return null;
        });
        verbs.put("txn_abort", asked -> {
            of(asked).abortTransaction();
            return null;
        });
        verbs.put("txn_close", asked -> {
            transactional.remove(Json.text(asked, "producer")).close(Duration.ofSeconds(5));
            return null;
        });
    }

    Object produce(JsonObject asked) throws Exception {
        Properties settings = new Properties();
        settings.put("acks", Json.text(asked, "acks"));
        settings.put("client.id", Json.text(asked, "clientId"));
        settings.put("compression.type", Json.text(asked, "codec"));
        settings.put("enable.idempotence", asked.get("idempotent").getAsBoolean());
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            return send(producer, asked, asked.get("oneByOne").getAsBoolean());
        }
    }

    Object open(JsonObject asked) {
        Properties settings = new Properties();
        settings.put("transactional.id", Json.text(asked, "transactionalId"));
        settings.put("transaction.timeout.ms", asked.get("timeoutMs").getAsInt());
        KafkaProducer<byte[], byte[]> producer = producer(settings);
        transactional.put(Json.text(asked, "producer"), producer);
        producer.initTransactions();
        return null;
    }

    KafkaProducer<byte[], byte[]> of(JsonObject asked) {
        return transactional.get(Json.text(asked, "producer"));
    }

    KafkaProducer<byte[], byte[]> producer(Properties settings) {
        settings.put("bootstrap.servers", bootstrap);
        settings.put("linger.ms", 5);
        settings.put("max.request.size", 10_000_000);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** The offsets of all of it, once it is acknowledged. */
    static List<Long> send(KafkaProducer<byte[], byte[]> producer, JsonObject asked, boolean oneByOne) throws Exception {
        List<Future<RecordMetadata>> waiting = new ArrayList<>();
        for (JsonElement element : asked.getAsJsonArray("sends")) {
            Future<RecordMetadata> sent = producer.send(record(Json.text(asked, "topic"), element.getAsJsonObject()));
            waiting.add(sent);
            if (oneByOne) {
                sent.get();
            }
        }
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : waiting) {
            offsets.add(one.get().offset());
        }
        return offsets;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, JsonObject send) {
        Integer partition = send.get("partition").isJsonNull() ? null : send.get("partition").getAsInt();
        Long timestamp = send.get("timestamp").isJsonNull() ? null : Long.valueOf(Json.text(send, "timestamp"));
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                topic, partition, timestamp, Json.unpack(send.get("key")), Json.unpack(send.get("value")));
        for (JsonElement header : send.getAsJsonArray("headers")) {
            JsonArray pair = header.getAsJsonArray();
            record.headers().add(pair.get(0).getAsString(), Json.unpack(pair.get(1)));
        }
        return record;
    }
}
