import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.kafka.common.utils.Exit;

/**
 * One of Kafka's command line tools, run again and again in one process, since starting up is most of what it does. Argument:
 * the tool's class. In: a line for each run, its arguments separated by tabs; out: the exit code and what it said, as base64.
 */
public class Tools {
    /** What the tool's exit becomes. */
    static class Ended extends Error {
        final int code;

        Ended(int code) {
            this.code = code;
        }
    }

    public static void main(String[] arguments) throws Exception {
        var tool = Class.forName(arguments[0]).getMethod("main", String[].class);
        PrintStream answers = System.out;
        // Scala's console keeps the stream that it finds first, so it is one for all runs.
        var said = new ByteArrayOutputStream();
        var told = new PrintStream(said, true, StandardCharsets.UTF_8);
        System.setOut(told);
        System.setErr(told);
        Exit.setExitProcedure((code, message) -> {
            throw new Ended(code);
        });
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            said.reset();
            int code = run(tool, line.split("\t"));
            answers.println(code + " " + Base64.getEncoder().encodeToString(said.toByteArray()));
            answers.flush();
        }
    }

    static int run(java.lang.reflect.Method tool, String[] arguments) throws Exception {
        try {
            tool.invoke(null, (Object) arguments);
            return 0;
        } catch (InvocationTargetException error) {
            if (error.getCause() instanceof Ended ended) return ended.code;
            error.getCause().printStackTrace();
            return 1;
        }
    }
}
