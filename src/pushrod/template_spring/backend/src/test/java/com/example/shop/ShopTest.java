package com.example.shop;

import java.time.Duration;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Assertions;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.autoconfigure.actuate.observability.AutoConfigureObservability;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.context.SpringBootTest.WebEnvironment;
import org.springframework.boot.test.web.server.LocalServerPort;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.test.context.ActiveProfiles;

/**
 * The whole app, backend and worker, on a real PostgreSQL and two real Redis: those that the same variables name as in
 * production ({@code make test} starts them). Tests share them, so each makes its own users and products.
 */
@SpringBootTest(
        webEnvironment = WebEnvironment.RANDOM_PORT,
        properties = {
            "spring.flyway.enabled=true",
            "shop.step-seconds=0.1",
            "shop.retry-seconds=0.05",
            "shop.max-tries=3",
            "shop.logins-per-minute=5"
        })
@AutoConfigureObservability(tracing = false) // or there are no metrics in tests
@ActiveProfiles({"serve", "work"})
public abstract class ShopTest {

    static final Duration PATIENCE = Duration.ofSeconds(20);

    @LocalServerPort
    int port;

    @Autowired
    protected JdbcClient db;

    Browser browser() {
        return new Browser("http://localhost:" + port);
    }

    /** A member of staff. */
    Browser staff() {
        Browser staff = browser();
        staff.register();
        db.sql("UPDATE users SET is_staff = true WHERE email = ?").param(staff.email).update();
        return staff;
    }

    /** The id of a new product. */
    long product(int stock) {
        return db.sql("INSERT INTO products (name, price_cents, stock) VALUES ('Oak stool', 8900, ?) RETURNING id")
                .param(stock)
                .query(Long.class)
                .single();
    }

    int stock(long product) {
        return db.sql("SELECT stock FROM products WHERE id = ?").param(product).query(Integer.class).single();
    }

    protected static void eventually(String what, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!holds.call()) {
            Assertions.assertTrue(System.nanoTime() < end, "not in time: " + what);
            Thread.sleep(20);
        }
    }
}
