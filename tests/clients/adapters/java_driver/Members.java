import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Verbs of consumers, each of which lives in a thread of its own. */
class Members {
    final String bootstrap;
    final Map<String, Member> members = new ConcurrentHashMap<>();

    Members(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void addTo(Map<String, Driver.Verb> verbs) {
        verbs.put("consume", this::consume);
        verbs.put("seek", asked -> of(asked).ask(consumer -> {
            consumer.seek(Json.partition(asked), asked.get("offset").getAsLong());
            return null;
        }));
        verbs.put("commit", asked -> of(asked).ask(consumer -> {
            consumer.commitSync();
            return null;
        }));
        // Before the group has settled there is none.
        verbs.put("position", asked -> of(asked).ask(consumer ->
                consumer.assignment().contains(Json.partition(asked)) ? consumer.position(Json.partition(asked)) : -1L));
        verbs.put("leave", asked -> {
            members.remove(Json.text(asked, "member")).leave();
            return null;
        });
    }

    void close() throws InterruptedException {
        for (Member member : members.values()) {
            member.leave();
        }
    }

    Object consume(JsonObject asked) throws Exception {
        Member member = new Member(bootstrap, asked);
        members.put(member.name, member);
        member.start();
        return member.opened.get();
    }

    Member of(JsonObject asked) {
        return members.get(Json.text(asked, "member"));
    }

    interface Errand<T> {
        T run(KafkaConsumer<byte[], byte[]> consumer) throws Exception;
    }

    /** A consumer belongs to one thread, which polls and, between polls, carries out what others ask. */
    static class Member extends Thread implements ConsumerRebalanceListener {
        final String name;
        final String bootstrap;
        final JsonObject asked;
        final CompletableFuture<Void> opened = new CompletableFuture<>();
        final ConcurrentLinkedQueue<Runnable> errands = new ConcurrentLinkedQueue<>();
        KafkaConsumer<byte[], byte[]> consumer;
        volatile boolean leaving;

        Member(String bootstrap, JsonObject asked) {
            this.bootstrap = bootstrap;
            this.asked = asked;
            name = Json.text(asked, "member");
        }

        <T> T ask(Errand<T> errand) throws Exception {
            CompletableFuture<T> answer = new CompletableFuture<>();
            errands.add(() -> {
                try {
                    answer.complete(errand.run(consumer));
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
            } catch (Throwable error) {
                opened.completeExceptionally(error);
                Json.say(Map.of("event", "crash", "member", name, "error", String.valueOf(error)));
            } finally {
                if (consumer != null) {
                    consumer.close();
                }
            }
        }

        void open() {
            consumer = new KafkaConsumer<>(settings(), new ByteArrayDeserializer(), new ByteArrayDeserializer());
            List<String> topics = new ArrayList<>();
            asked.getAsJsonArray("topics").forEach(topic -> topics.add(topic.getAsString()));
            if (asked.get("start").isJsonNull()) {
                consumer.subscribe(topics, this);
                return;
            }
            JsonArray start = asked.getAsJsonArray("start");
            TopicPartition at = new TopicPartition(topics.get(0), start.get(0).getAsInt());
            consumer.assign(List.of(at));
            consumer.seek(at, startOffset(at, start.get(1)));
        }

        Properties settings() {
            Properties settings = new Properties();
            settings.put("bootstrap.servers", bootstrap);
            settings.put("enable.auto.commit", asked.get("autoCommit").getAsBoolean());
            settings.put("auto.commit.interval.ms", 200);
            settings.put("auto.offset.reset", "earliest");
            settings.put("isolation.level", Json.text(asked, "isolation"));
            settings.put("group.protocol", Json.text(asked, "protocol"));
            optional(settings, "group.id", "group");
            optional(settings, "group.instance.id", "instance");
            optional(settings, "group.remote.assignor", "remote_assignor");
            if (settings.get("group.protocol").equals("classic")) {
                settings.put("session.timeout.ms", asked.get("session_ms").getAsInt());
                settings.put("heartbeat.interval.ms", 300);
                settings.put("partition.assignment.strategy", Json.text(asked, "assignor").equals("range")
                        ? "org.apache.kafka.clients.consumer.RangeAssignor"
                        : "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            }
            return settings;
        }

        void optional(Properties settings, String name, String field) {
            String value = Json.text(asked, field);
            if (value != null) {
                settings.put(name, value);
            }
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
                pair.add(Json.pack(header.value()));
                headers.add(pair);
            }
            Map<String, Object> said = new HashMap<>();
            said.put("event", "record");
            said.put("member", name);
            said.put("topic", record.topic());
            said.put("partition", record.partition());
            said.put("offset", record.offset());
            said.put("timestamp", String.valueOf(record.timestamp()));
            said.put("key", Json.pack(record.key()));
            said.put("value", Json.pack(record.value()));
            said.put("headers", headers);
            Json.say(said);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            tellAssignment(Set.of());
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            tellAssignment(partitions);
        }

        /** While partitions are revoked they are still in the consumer's assignment. */
        void tellAssignment(Collection<TopicPartition> without) {
            Set<TopicPartition> held = new HashSet<>(consumer.assignment());
            held.removeAll(without);
            Json.say(Map.of("event", "assigned", "member", name,
                    "partitions", held.stream().map(TopicPartition::partition).toList()));
        }
    }
}
