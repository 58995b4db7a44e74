import java.util.ArrayList;
import java.util.List;
import java.util.Map;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/** A topic up to its end as it is now: versions of rows, by owner, into a sink that only counts them. */
public class Apply {
    /** Arguments: the broker's address, the topic, a folder for checkpoints. Prints how many changes and rows there were, and how long it ran. */
    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment env = Jobs.environment(arguments[2], 10_000);
        KafkaSource<String> source = KafkaSource.<String>builder()
            .setBootstrapServers(arguments[0])
            .setTopics(arguments[1])
            .setGroupId("flink-apply")
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setProperty("isolation.level", "read_committed")
            .setValueOnlyDeserializer(new SimpleStringSchema())
            .build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), arguments[1])
            .flatMap(new Read())
            .keyBy(change -> change.owner)
            .process(new Versions())
            .sinkTo(new DiscardingSink<>());
        JobExecutionResult result = env.execute("apply");
        System.out.println("changes=" + result.getAccumulatorResult("changes")
            + " rows=" + result.getAccumulatorResult("rows")
            + " milliseconds=" + result.getNetRuntime());
        // The clients' threads would keep the process.
        System.exit(0);
    }

    /** One side of a change. */
    public static class Change {
        public String op;
        public int id;
        public int owner;
        public String info;
        public long registered;
        public long at;
        /** The asset has left this owner. */
        public boolean leaves;
    }

    /** A version of a row. */
    public static class Version {
        public int id;
        public int owner;
        public String info;
        public long start;
        public Long end;
        public boolean current;
        public String op;

        static Version of(int id, int owner, String info, long start, String op) {
            Version version = new Version();
            version.id = id;
            version.owner = owner;
            version.info = info;
            version.start = start;
            version.op = op;
            return version;
        }
    }

    static class Read extends RichFlatMapFunction<String, Change> {
        private transient ObjectMapper mapper;
        private transient LongCounter changes;

        @Override
        public void open(OpenContext context) {
            mapper = new ObjectMapper();
            changes = getRuntimeContext().getLongCounter("changes");
        }

        @Override
        public void flatMap(String text, Collector<Change> out) throws Exception {
            JsonNode event = mapper.readTree(text);
            JsonNode before = event.get("before");
            JsonNode after = event.get("after");
            long at = event.get("source").get("ts_ms").asLong();
            String op = event.get("op").asText();
            changes.add(1);
            JsonNode row = after == null || after.isNull() ? before : after;
            if (op.equals("u") && before.get("owner_id").asInt() != row.get("owner_id").asInt()) {
                Change leaves = change(op, before, at);
                leaves.registered = row.get("registered_at").asLong();
                leaves.leaves = true;
                out.collect(leaves);
            }
            out.collect(change(op, row, at));
        }

        private static Change change(String op, JsonNode row, long at) {
            Change change = new Change();
            change.op = op;
            change.id = row.get("id").asInt();
            change.owner = row.get("owner_id").asInt();
            change.info = row.get("asset_info").asText();
            change.registered = row.get("registered_at").asLong();
            change.at = at;
            return change;
        }
    }

    static class Versions extends KeyedProcessFunction<Integer, Change, Version> {
        private transient MapState<Integer, Version> current;
        private transient LongCounter rows;

        @Override
        public void open(OpenContext context) {
            current = getRuntimeContext().getMapState(new MapStateDescriptor<>("current", Integer.class, Version.class));
            rows = getRuntimeContext().getLongCounter("rows");
        }

        @Override
        public void processElement(Change change, Context context, Collector<Version> out) throws Exception {
            if (change.leaves) {
                Version row = current.get(change.id);
                if (row != null) {
                    close(row, change.registered, out);
                    current.remove(change.id);
                }
                return;
            }
            if (change.op.equals("u") || change.op.equals("d")) {
                long end = change.op.equals("d") ? change.at : change.registered;
                List<Version> open = new ArrayList<>();
                for (Map.Entry<Integer, Version> entry : current.entries()) {
                    open.add(entry.getValue());
                }
                for (Version row : open) {
                    close(row, end, out);
                }
                current.clear();
            }
            if (!change.op.equals("d")) {
                String op = change.op.equals("u") ? "u" : "c";
                Version row = Version.of(change.id, change.owner, change.info, change.registered, op);
                row.current = true;
                current.put(change.id, row);
                rows.add(1);
                out.collect(row);
            }
        }

        private void close(Version row, long end, Collector<Version> out) {
            Version closed = Version.of(row.id, row.owner, row.info, row.start, row.op);
            closed.end = end;
            rows.add(1);
            out.collect(closed);
        }
    }
}
