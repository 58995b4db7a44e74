package check;

import com.starrocks.data.load.stream.LabelGenerator;
import com.starrocks.data.load.stream.StreamLoadDataFormat;
import com.starrocks.data.load.stream.StreamLoadManager;
import com.starrocks.data.load.stream.StreamLoadSnapshot;

import com.starrocks.data.load.stream.properties.StreamLoadProperties;
import com.starrocks.data.load.stream.properties.StreamLoadTableProperties;
import com.starrocks.data.load.stream.v2.StreamLoadManagerV2;

/**
 * Drives StarRocks' own SDK against any FE URL.
 * args: mode(plain|txn|txn-abort) feUrl user password db table rows
 * plain: manager without transactions, PUT /api/db/table/_stream_load; txn: manager without auto commit,
 * begin + load at flush, then prepare(snapshot) and commit(snapshot) as the Flink sink does.
 * -Dsr.compression=lz4_frame is a property of the table: as a header alone it would be sent and the body left as it is.
 */
public class Load {
    public static void main(String[] a) throws Exception {
        String mode = a[0], url = a[1], user = a[2], pass = a[3], db = a[4], table = a[5];
        int rows = a.length > 6 ? Integer.parseInt(a[6]) : 10;
        boolean txn = !mode.equals("plain");
        StreamLoadTableProperties.Builder tb = StreamLoadTableProperties.builder()
                .database(db).table(table)
                .streamLoadDataFormat(StreamLoadDataFormat.JSON)
                .chunkLimit(64L << 20).maxBufferRows(100000)
                .addProperty("format", "json")
                .addProperty("strip_outer_array", "true")
                .addProperty("ignore_json_size", "true");
        String compression = System.getProperty("sr.compression");   // lz4_frame
        if (compression != null) tb.addProperty("compression", compression);
        StreamLoadTableProperties tp = tb.build();
        StreamLoadProperties.Builder b = StreamLoadProperties.builder()
                .loadUrls(url).username(user).password(pass)
                .version(System.getProperty("sr.version", "3.3.0"))
                .defaultTableProperties(tp)
                .cacheMaxBytes(64L << 20)
                .expectDelayTime(1000L)
                .scanningFrequency(50L)
                .connectTimeout(5000)
                .waitForContinueTimeoutMs(3000)
                .socketTimeout(20000)
                .ioThreadCount(2)
                .maxRetries(Integer.getInteger("sr.retries", 0))
                .retryIntervalInMs(500)
                .labelPrefix("sdkcheck-")
                .addHeader("timeout", "60");
        if (txn) b.enableTransaction();
        StreamLoadProperties p = b.build();
        StreamLoadManager m = new StreamLoadManagerV2(p, !txn);
        m.init();
        int rc = 0;
        try {
            for (int i = 0; i < rows; i++) {
                m.write(null, db, table, "{\"source_id\":" + i + ",\"owner_id\":" + (i % 3)
                        + ",\"effective_start_ts\":\"2026-01-01 00:00:0" + (i % 10) + ".123456\",\"asset_info\":\"r" + i
                        + "\",\"effective_end_ts\":null,\"is_current\":true,\"op_type\":\"c\",\"__op\":0}");
            }
            m.flush();
            if (txn) {
                StreamLoadSnapshot s = m.snapshot();
                System.out.println("SNAPSHOT " + s.getTransactions());
                boolean prep = m.prepare(s);
                System.out.println("PREPARE " + prep);
                if (mode.equals("txn-abort")) {
                    System.out.println("ABORT " + m.abort(s));
                } else {
                    System.out.println("COMMIT " + m.commit(s));
                    if (Boolean.getBoolean("sr.commitTwice")) System.out.println("COMMIT2 " + m.commit(s));
                }
            }
            System.out.println("RESULT OK");
        } catch (Throwable t) {
            rc = 1;
            System.out.println("RESULT ERROR " + t);
            for (Throwable c = t.getCause(); c != null; c = c.getCause()) System.out.println("  cause " + c);
        } finally {
            m.close();
        }
        System.exit(rc);
    }
}
