import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** What the lines say, and how bytes travel in them. */
class Json {
    static final Gson GSON = new GsonBuilder().serializeNulls().create();

    static synchronized void say(Object message) {
        System.out.println(GSON.toJson(message));
        System.out.flush();
    }

    static String text(JsonObject object, String name) {
        JsonElement element = object.get(name);
        return element == null || element.isJsonNull() ? null : element.getAsString();
    }

    static TopicPartition partition(JsonObject asked) {
        return new TopicPartition(text(asked, "topic"), asked.get("partition").getAsInt());
    }

    static Map<String, String> strings(JsonObject object) {
        Map<String, String> map = new HashMap<>();
        object.entrySet().forEach(entry -> map.put(entry.getKey(), entry.getValue().getAsString()));
        return map;
    }

    /** The field `offsets` of a topic. */
    static Map<TopicPartition, OffsetAndMetadata> offsets(JsonObject asked) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        asked.getAsJsonObject("offsets").entrySet().forEach(entry -> offsets.put(
                new TopicPartition(text(asked, "topic"), Integer.parseInt(entry.getKey())),
                new OffsetAndMetadata(entry.getValue().getAsLong())));
        return offsets;
    }

    static byte[] unpack(JsonElement text) {
        return text.isJsonNull() ? null : Base64.getDecoder().decode(text.getAsString());
    }

    static String pack(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
