package com.example.shop;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.UUID;
import javax.sql.DataSource;
import org.flywaydb.core.Flyway;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;

/** What operators need: health, metrics, migrations beside the old release. */
class OperatorsTest extends ShopTest {

    @Autowired
    DataSource source;

    @Test
    void itIsAliveAndReady() {
        assertThat(browser().get("/healthz").json().get("status").asText()).isEqualTo("UP");
        Browser.Answer ready = browser().get("/readyz");
        assertThat(ready.status()).isEqualTo(200);
        assertThat(ready.json().get("components").fieldNames()).toIterable()
                .containsExactlyInAnyOrder("db", "readinessState", "redis");
    }

    @Test
    void metricsCountRequestsByRouteAndAreNotPublic() throws Exception {
        browser().get("/api/products/1");
        eventually("the request is counted", () -> browser().get("/metrics").text().contains("/api/products/{id}"));
        String metrics = browser().get("/metrics").text();
        assertThat(metrics)
                .contains("cache_reads_total{")
                .contains("outbox_due ")
                .contains("hikaricp_connections_active");
        assertThat(browser().send("GET", "/metrics", null, "X-Forwarded-Proto", "https").status()).isEqualTo(404);
    }

    @Test
    void theOldReleaseGoesOnBesideTheFirstHalfOfAChange() {
        String schema = "test_" + UUID.randomUUID().toString().replace("-", "");
        migrate(schema, "1");
        migrate(schema, "2");
        db.sql("INSERT INTO " + schema + ".products (name, price, stock) VALUES ('old', 1.25, 1)").update();
        db.sql("INSERT INTO " + schema + ".products (name, price_cents, stock) VALUES ('new', 250, 1)").update();
        assertThat(db.sql("SELECT price_cents FROM " + schema + ".products WHERE name = 'old'").query(Integer.class).single())
                .isEqualTo(125);
        assertThat(db.sql("SELECT price FROM " + schema + ".products WHERE name = 'new'").query(String.class).single())
                .isEqualTo("2.50");
        migrate(schema, "latest");
        assertThat(migrate(schema, "latest")).isZero();
        db.sql("DROP SCHEMA " + schema + " CASCADE").update();
    }

    private int migrate(String schema, String target) {
        return Flyway.configure().dataSource(source).schemas(schema).target(target).load().migrate().migrationsExecuted;
    }
}
