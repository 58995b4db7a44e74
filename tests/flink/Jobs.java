import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** What both jobs run in: a local cluster of two slots, with checkpoints that are taken exactly once. */
class Jobs {
    static StreamExecutionEnvironment environment(String checkpoints, long everyMilliseconds) {
        Configuration configuration = new Configuration();
        configuration.setString("execution.checkpointing.dir", "file://" + checkpoints);
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(2, configuration);
        env.enableCheckpointing(everyMilliseconds, CheckpointingMode.EXACTLY_ONCE);
        env.getConfig().enableObjectReuse();
        return env;
    }
}
