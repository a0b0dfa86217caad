// Kafka's Java client behind lines of JSON; what they say is in driven.py.

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

public class Driver {
    interface Verb {
        Object run(JsonObject asked) throws Exception;
    }

    static final Map<String, Verb> VERBS = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        AdminVerbs admin = new AdminVerbs(arguments[0]);
        Members members = new Members(arguments[0]);
        Producers producers = new Producers(arguments[0]);
        admin.addTo(VERBS);
        members.addTo(VERBS);
        producers.addTo(VERBS);
        VERBS.put("exit", asked -> {
            members.close();
            admin.close();
            return null;
        });
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
            Verb known = VERBS.get(verb);
            if (known == null) {
                throw new IllegalArgumentException("there is no verb " + verb);
            }
            said.add("value", Json.GSON.toJsonTree(known.run(asked)));
        } catch (Throwable error) {
            boolean wrapped = error instanceof ExecutionException && error.getCause() != null;
            said.addProperty("error", String.valueOf(wrapped ? error.getCause() : error));
        }
        Json.say(said);
        if (verb.equals("exit")) {
            System.exit(0);
        }
    }
}
