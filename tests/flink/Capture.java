import java.util.Properties;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.cdc.connectors.mysql.source.MySqlSource;
import org.apache.flink.cdc.connectors.mysql.table.StartupOptions;
import org.apache.flink.cdc.connectors.shaded.org.apache.kafka.connect.data.Struct;
import org.apache.flink.cdc.connectors.shaded.org.apache.kafka.connect.source.SourceRecord;
import org.apache.flink.cdc.debezium.DebeziumDeserializationSchema;
import org.apache.flink.cdc.debezium.JsonDebeziumDeserializationSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;

import static java.nio.charset.StandardCharsets.UTF_8;

/** MySQL's binlog from its beginning into a topic, exactly once, keyed by the owner. Never ends. */
public class Capture {
    /** Arguments: the server's port, the broker's address, the topic, a folder for checkpoints. */
    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment env = Jobs.environment(arguments[3], 1_000);
        Properties driver = new Properties();
        driver.setProperty("queryInterceptors", BinaryLogStatus.class.getName());
        MySqlSource<Tuple2<String, String>> source = MySqlSource.<Tuple2<String, String>>builder()
            .hostname("127.0.0.1")
            .port(Integer.parseInt(arguments[0]))
            .databaseList("shop")
            .tableList("shop.item_assets")
            .username("root")
            .password("")
            .serverTimeZone("UTC")
            .jdbcProperties(driver)
            .startupOptions(StartupOptions.earliest())
            .deserializer(new ByOwner())
            .build();
        Properties producer = new Properties();
        producer.setProperty("transaction.timeout.ms", "600000");
        producer.setProperty("compression.type", "lz4");
        producer.setProperty("linger.ms", "20");
        producer.setProperty("batch.size", "262144");
        KafkaSink<Tuple2<String, String>> sink = KafkaSink.<Tuple2<String, String>>builder()
            .setBootstrapServers(arguments[1])
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(arguments[2])
            .setKafkaProducerConfig(producer)
            .setRecordSerializer(KafkaRecordSerializationSchema.<Tuple2<String, String>>builder()
                .setTopic(arguments[2])
                .setKeySerializationSchema((Tuple2<String, String> change) -> change.f0.getBytes(UTF_8))
                .setValueSerializationSchema((Tuple2<String, String> change) -> change.f1.getBytes(UTF_8))
                .build())
            .build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "item_assets").sinkTo(sink);
        env.execute("capture");
    }

    /** The owner, and the change as Debezium's JSON. */
    static class ByOwner implements DebeziumDeserializationSchema<Tuple2<String, String>> {
        private final JsonDebeziumDeserializationSchema json = new JsonDebeziumDeserializationSchema();

        @Override
        public void deserialize(SourceRecord record, Collector<Tuple2<String, String>> out) throws Exception {
            Struct value = (Struct) record.value();
            if (value.schema().field("after") == null) {
                return;
            }
            Struct row = value.getStruct("after") != null ? value.getStruct("after") : value.getStruct("before");
            String owner = String.valueOf(row.get("owner_id"));
            json.deserialize(record, new Collector<String>() {
                @Override
                public void collect(String text) {
                    out.collect(Tuple2.of(owner, text));
                }

                @Override
                public void close() {}
            });
        }

        @Override
        public TypeInformation<Tuple2<String, String>> getProducedType() {
            return Types.TUPLE(Types.STRING, Types.STRING);
        }
    }
}
