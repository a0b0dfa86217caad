// Kafka's Java client behind lines of JSON; what they say is in driven.py.

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class JavaDriver {
    static final Gson GSON = new GsonBuilder().serializeNulls().create();
    static final Map<String, MemberThread> MEMBERS = new ConcurrentHashMap<>();
    static String bootstrap;
    static Admin admin;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        ExecutorService workers = Executors.newCachedThreadPool();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonObject asked = JsonParser.parseString(line).getAsJsonObject();
            workers.submit(() -> answer(asked));
        }
        System.exit(0);
    }

    static void answer(JsonObject asked) {
        JsonObject said = new JsonObject();
        said.add("id", asked.get("id"));
        String verb = asked.get("verb").getAsString();
        try {
            said.add("value", GSON.toJsonTree(run(verb, asked)));
        } catch (Throwable error) {
            boolean wrapped = error instanceof ExecutionException && error.getCause() != null;
            said.addProperty("error", String.valueOf(wrapped ? error.getCause() : error));
        }
        say(said);
        if (verb.equals("exit")) {
            System.exit(0);
        }
    }

    static Object run(String verb, JsonObject asked) throws Exception {
        switch (verb) {
            case "create":
                return create(asked);
            case "configs":
                return configs(asked);
            case "produce":
                return produce(asked);
            case "consume":
                return consume(asked);
            case "committed":
                return committed(asked);
            case "ends":
                return ends(text(asked, "topic"));
            case "exit":
                for (MemberThread member : MEMBERS.values()) {
                    member.leave();
                }
                admin.close();
                return null;
            default:
                return ofMember(verb, asked);
        }
    }

    static Object create(JsonObject asked) throws Exception {
        NewTopic topic = new NewTopic(text(asked, "topic"), asked.get("partitions").getAsInt(), (short) 1);
        topic.configs(strings(asked.getAsJsonObject("configs")));
        admin.createTopics(List.of(topic)).all().get();
        return null;
    }

    static Object configs(JsonObject asked) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, text(asked, "topic"));
        Collection<AlterConfigOp> edits = new ArrayList<>();
        strings(asked.getAsJsonObject("configs")).forEach((name, value) ->
                edits.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(resource, edits)).all().get();
        return null;
    }

    static Object produce(JsonObject asked) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        settings.put("compression.type", text(asked, "codec"));
        settings.put("enable.idempotence", asked.get("idempotent").getAsBoolean());
        settings.put("linger.ms", 5);
        List<Long> offsets = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> waiting = new ArrayList<>();
            for (JsonElement element : asked.getAsJsonArray("sends")) {
                waiting.add(producer.send(record(text(asked, "topic"), element.getAsJsonObject())));
            }
            for (Future<RecordMetadata> one : waiting) {
                offsets.add(one.get().offset());
            }
        }
        return offsets;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, JsonObject send) {
        Integer partition = send.get("partition").isJsonNull() ? null : send.get("partition").getAsInt();
        Long timestamp = send.get("timestamp").isJsonNull() ? null : Long.valueOf(text(send, "timestamp"));
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                topic, partition, timestamp, unpack(send.get("key")), unpack(send.get("value")));
        for (JsonElement header : send.getAsJsonArray("headers")) {
            JsonArray pair = header.getAsJsonArray();
            record.headers().add(pair.get(0).getAsString(), unpack(pair.get(1)));
        }
        return record;
    }

    static Object consume(JsonObject asked) throws Exception {
        List<String> topics = new ArrayList<>();
        asked.getAsJsonArray("topics").forEach(topic -> topics.add(topic.getAsString()));
        MemberThread member = new MemberThread(text(asked, "member"), asked, topics);
        MEMBERS.put(member.name, member);
        member.start();
        member.opened.get();
        return null;
    }

    static Object committed(JsonObject asked) throws Exception {
        Map<String, String> found = new HashMap<>();
        admin.listConsumerGroupOffsets(text(asked, "group")).partitionsToOffsetAndMetadata().get().forEach((at, kept) -> {
            if (kept != null && at.topic().equals(text(asked, "topic"))) {
                found.put(String.valueOf(at.partition()), String.valueOf(kept.offset()));
            }
        });
        return found;
    }

    static Object ends(String topic) throws Exception {
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        int count = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        for (int index = 0; index < count; index++) {
            wanted.put(new TopicPartition(topic, index), OffsetSpec.latest());
        }
        Map<String, String> ends = new HashMap<>();
        admin.listOffsets(wanted).all().get().forEach((at, found) ->
                ends.put(String.valueOf(at.partition()), String.valueOf(found.offset())));
        return ends;
    }

    static Object ofMember(String verb, JsonObject asked) throws Exception {
        MemberThread member = MEMBERS.get(text(asked, "member"));
        switch (verb) {
            case "seek":
                return member.ask(() -> {
                    member.consumer.seek(partition(asked), Long.parseLong(text(asked, "offset")));
                    return null;
                });
            case "commit":
                return member.ask(() -> {
                    member.consumer.commitSync();
                    return null;
                });
            case "position":
                // Before the group has settled there is none.
                return member.ask(() -> member.consumer.assignment().contains(partition(asked))
                        ? String.valueOf(member.consumer.position(partition(asked)))
                        : "-1");
            case "leave":
                MEMBERS.remove(member.name);
                member.leave();
                return null;
            default:
                throw new IllegalArgumentException("there is no verb " + verb);
        }
    }

    static TopicPartition partition(JsonObject asked) {
        return new TopicPartition(text(asked, "topic"), asked.get("partition").getAsInt());
    }

    static Map<String, String> strings(JsonObject object) {
        Map<String, String> map = new HashMap<>();
        object.entrySet().forEach(entry -> map.put(entry.getKey(), entry.getValue().getAsString()));
        return map;
    }

    static String text(JsonObject object, String name) {
        return object.get(name).getAsString();
    }

    static byte[] unpack(JsonElement text) {
        return text.isJsonNull() ? null : Base64.getDecoder().decode(text.getAsString());
    }

    static String pack(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    static synchronized void say(Object message) {
        System.out.println(GSON.toJson(message));
        System.out.flush();
    }

    /** A consumer belongs to one thread, which polls and, between polls, carries out what others ask. */
    static class MemberThread extends Thread implements ConsumerRebalanceListener {
        final String name;
        final CompletableFuture<Void> opened = new CompletableFuture<>();
        final JsonObject asked;
        final List<String> topics;
        final ConcurrentLinkedQueue<Runnable> errands = new ConcurrentLinkedQueue<>();
        KafkaConsumer<byte[], byte[]> consumer;
        volatile boolean leaving;

        MemberThread(String name, JsonObject asked, List<String> topics) {
            this.name = name;
            this.asked = asked;
            this.topics = topics;
        }

        <T> T ask(Callable<T> errand) throws Exception {
            CompletableFuture<T> answer = new CompletableFuture<>();
            errands.add(() -> {
                try {
                    answer.complete(errand.call());
                } catch (Throwable error) {
                    answer.completeExceptionally(error);
                }
            });
            return answer.get();
        }

        void leave() throws InterruptedException {
            leaving = true;
            join(30_000);
        }

        @Override
        public void run() {
            try {
                open();
                opened.complete(null);
                while (!leaving) {
                    for (Runnable errand = errands.poll(); errand != null; errand = errands.poll()) {
                        errand.run();
                    }
                    consumer.poll(Duration.ofMillis(100)).forEach(this::heard);
                }
                consumer.close();
            } catch (Throwable error) {
                opened.completeExceptionally(error);
                say(Map.of("event", "crash", "member", name, "error", String.valueOf(error)));
            }
        }

        void open() {
            Properties settings = new Properties();
            settings.put("bootstrap.servers", bootstrap);
            if (!asked.get("group").isJsonNull()) {
                settings.put("group.id", text(asked, "group"));
            }
            settings.put("enable.auto.commit", asked.get("autoCommit").getAsBoolean());
            settings.put("auto.commit.interval.ms", 200);
            settings.put("auto.offset.reset", "earliest");
            settings.put("session.timeout.ms", 10_000);
            settings.put("heartbeat.interval.ms", 300);
            consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            if (asked.get("start").isJsonNull()) {
                consumer.subscribe(topics, this);
                return;
            }
            JsonArray start = asked.getAsJsonArray("start");
            TopicPartition at = new TopicPartition(topics.get(0), start.get(0).getAsInt());
            consumer.assign(List.of(at));
            consumer.seek(at, startOffset(at, start.get(1)));
        }

        long startOffset(TopicPartition at, JsonElement where) {
            if (where.isJsonArray()) {
                long time = where.getAsJsonArray().get(1).getAsLong();
                return consumer.offsetsForTimes(Map.of(at, time)).get(at).offset();
            }
            if (where.getAsJsonPrimitive().isNumber()) {
                return where.getAsLong();
            }
            boolean beginning = where.getAsString().equals("beginning");
            return (beginning ? consumer.beginningOffsets(List.of(at)) : consumer.endOffsets(List.of(at))).get(at);
        }

        void heard(ConsumerRecord<byte[], byte[]> record) {
            List<List<String>> headers = new ArrayList<>();
            for (Header header : record.headers()) {
                List<String> pair = new ArrayList<>();
                pair.add(header.key());
                pair.add(pack(header.value()));
                headers.add(pair);
            }
            Map<String, Object> said = new HashMap<>();
            said.put("event", "record");
            said.put("member", name);
            said.put("topic", record.topic());
            said.put("partition", record.partition());
            said.put("offset", String.valueOf(record.offset()));
            said.put("timestamp", String.valueOf(record.timestamp()));
            said.put("key", pack(record.key()));
            said.put("value", pack(record.value()));
            said.put("headers", headers);
            say(said);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            tellAssignment();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            tellAssignment();
        }

        void tellAssignment() {
            List<Integer> held = new ArrayList<>();
            consumer.assignment().forEach(at -> held.add(at.partition()));
            say(Map.of("event", "assigned", "member", name, "partitions", held));
        }
    }
}
