import java.time.Duration;
import java.util.Collection;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * One member of a group, as a process. Arguments: key=value, where `topic` or `pattern` subscribes and everything with a
 * dot in its name is a consumer config. Prints `has t:0,t:1` whenever that changes and `got 5` with the number of records so
 * far, and leaves the group when its standard input ends.
 */
public class Member {
    public static void main(String[] arguments) throws Exception {
        Properties configs = new Properties();
        configs.put("auto.offset.reset", "earliest");
        configs.put("auto.commit.interval.ms", "200");
        String topic = null;
        String pattern = null;
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            switch (pair[0]) {
                case "topic" -> topic = pair[1];
                case "pattern" -> pattern = pair[1];
                default -> configs.put(pair[0], pair[1]);
            }
        }
        TreeSet<String> held = new TreeSet<>();
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                partitions.forEach(partition -> held.add(partition.topic() + ":" + partition.partition()));
                tell(held);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                partitions.forEach(partition -> held.remove(partition.topic() + ":" + partition.partition()));
                tell(held);
            }
        };
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException ended) { }
            ending = true;
        });
        watch.setDaemon(true);
        watch.start();
        int got = 0;
        try (KafkaConsumer<String, String> consumer =
                 new KafkaConsumer<>(configs, new StringDeserializer(), new StringDeserializer())) {
            if (pattern != null) {
                consumer.subscribe(new SubscriptionPattern(pattern), listener);
            } else {
                consumer.subscribe(java.util.List.of(topic), listener);
            }
            while (!ending) {
                int count = consumer.poll(Duration.ofMillis(100)).count();
                if (count > 0) {
                    got += count;
                    System.out.println("got " + got);
                }
            }
        }
        System.out.println("left");
    }

    private static volatile boolean ending = false;

    private static void tell(TreeSet<String> held) {
        System.out.println("has " + String.join(",", held));
    }
}
