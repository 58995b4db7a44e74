import java.sql.Connection;
import java.sql.SQLException;
import java.util.Properties;
import java.util.function.Supplier;

import com.mysql.cj.MysqlConnection;
import com.mysql.cj.Query;
import com.mysql.cj.interceptors.QueryInterceptor;
import com.mysql.cj.log.Log;
import com.mysql.cj.protocol.Resultset;
import com.mysql.cj.protocol.ServerSession;

/**
 * The Debezium inside of Flink CDC asks for SHOW MASTER STATUS, which MySQL has called SHOW BINARY LOG STATUS since 8.2 and
 * answers by that name alone since 8.4.
 */
public class BinaryLogStatus implements QueryInterceptor {
    private Connection connection;

    @Override
    public QueryInterceptor init(MysqlConnection connection, Properties properties, Log log) {
        this.connection = (Connection) connection;
        return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public <T extends Resultset> T preProcess(Supplier<String> sql, Query query) {
        if (query == null || sql.get() == null || !sql.get().trim().equalsIgnoreCase("SHOW MASTER STATUS")) {
            return null;
        }
        try {
            return (T) connection.createStatement().executeQuery("SHOW BINARY LOG STATUS");
        } catch (SQLException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public <T extends Resultset> T postProcess(Supplier<String> sql, Query query, T result, ServerSession session) {
        return null;
    }

    @Override
    public boolean executeTopLevelOnly() {
        return false;
    }

    @Override
    public void destroy() {}
}
