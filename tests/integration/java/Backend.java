import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Locale;
import java.util.Properties;

/** What Spring Boot does with its environment and its stores, with nothing but a JVM and PostgreSQL's driver. */
public class Backend {
    private static final Properties FILE = new Properties();

    public static void main(String[] arguments) throws Exception {
        try (var text = Files.newBufferedReader(Path.of("application.properties"))) {
            FILE.load(text);
        }
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.execute("create table if not exists visits (at timestamptz default now())");
        }
        int port = Integer.parseInt(property("server.port"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext("/actuator/health", exchange -> answer(exchange, "{\"status\":\"UP\"}"));
        server.createContext("/sql", exchange -> answer(exchange, visit()));
        server.createContext("/redis", exchange -> answer(exchange, remember()));
        server.start();
    }

    /** A property: the environment goes before the file, by Spring Boot's rule for names of variables. */
    private static String property(String name) {
        String variable = name.replace("-", "").replace('.', '_').toUpperCase(Locale.ROOT);
        String value = System.getenv(variable);
        return value != null ? value : FILE.getProperty(name, "");
    }

    private static Connection connect() throws SQLException {
        String user = property("spring.datasource.username");
        return DriverManager.getConnection(
            property("spring.datasource.url"), user, property("spring.datasource.password"));
    }

    private static String visit() {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.execute("insert into visits default values");
            ResultSet row = statement.executeQuery("select session_user, current_database(), count(*) from visits");
            row.next();
            String where = row.getString(1) + " " + row.getString(2);
            try (Connection other = DriverManager.getConnection(System.getenv("REPORTS_JDBC"), "nobody", "wrong")) {
                return where + " " + row.getInt(3) + " " + other.isValid(2);
            }
        } catch (SQLException error) {
            return error.toString();
        }
    }

    /** AUTH, SET and GET as Spring's clients send them: user and password when both are there. */
    private static String remember() {
        int port = Integer.parseInt(property("spring.data.redis.port"));
        try (Socket socket = new Socket(property("spring.data.redis.host"), port)) {
            socket.setSoTimeout(5000);
            var out = socket.getOutputStream();
            out.write(command("AUTH", property("spring.data.redis.username"), property("spring.data.redis.password")));
            out.write(command("SET", "greeting", "hello"));
            out.write(command("GET", "greeting"));
            var in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
            return in.readLine() + in.readLine() + in.readLine() + in.readLine();
        } catch (IOException error) {
            return error.toString();
        }
    }

    private static byte[] command(String... words) {
        StringBuilder text = new StringBuilder("*" + words.length + "\r\n");
        for (String word : words) {
            text.append("$").append(word.getBytes(StandardCharsets.UTF_8).length).append("\r\n").append(word).append("\r\n");
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void answer(HttpExchange exchange, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
