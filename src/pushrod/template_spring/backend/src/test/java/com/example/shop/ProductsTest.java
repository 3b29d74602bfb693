package com.example.shop;

import static org.assertj.core.api.Assertions.assertThat;

import com.example.shop.stores.ProductCache;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;

class ProductsTest extends ShopTest {

    @Autowired
    ProductCache cache;

    @Test
    void theRootSaysWhichReleaseAnswers() {
        Browser.Answer answer = browser().get("/api/");
        assertThat(answer.json().get("message").asText()).isEqualTo(ShopApplication.MESSAGE);
        assertThat(answer.json().has("release")).isTrue();
    }

    @Test
    void pagesFollowEachOther() {
        var first = browser().get("/api/products?limit=3").json();
        assertThat(first.get("items")).hasSize(3);
        assertThat(first.get("items").get(0).get("price_cents").asInt()).isEqualTo(48900);
        var second = browser().get("/api/products?limit=3&after=" + first.get("next").asText()).json();
        assertThat(second.get("items").get(0).get("id").asLong()).isEqualTo(first.get("next").asLong() + 1);
        assertThat(browser().get("/api/products?after=" + Long.MAX_VALUE).json().get("next").isNull()).isTrue();
    }

    @Test
    void aSecondReadIsAHitAndTheSame() {
        long id = product(4);
        Browser.Answer first = browser().get("/api/products/" + id);
        Browser.Answer second = browser().get("/api/products/" + id);
        assertThat(first.header("x-cache")).isEqualTo("miss");
        assertThat(second.header("x-cache")).isEqualTo("hit");
        assertThat(second.text()).isEqualTo(first.text());
    }

    @Test
    void whatIsWrittenIsReadAtOnce() {
        Browser staff = staff();
        var wanted = Map.of("name", "Brass hook", "price_cents", 650, "stock", 12);
        Browser.Answer added = staff.send("POST", "/api/products", wanted);
        assertThat(added.status()).isEqualTo(201);
        String path = added.header("location").substring(added.header("location").indexOf("/api/"));
        assertThat(staff.get(path).json().get("stock").asInt()).isEqualTo(12);
        var changed = Map.of("name", "Brass hook", "price_cents", 700, "stock", 11, "picture", "hook");
        assertThat(staff.send("PUT", path, changed).status()).isEqualTo(200);
        assertThat(staff.get(path).json().get("price_cents").asInt()).isEqualTo(700);
        assertThat(staff.send("PUT", "/api/products/999999", changed).status()).isEqualTo(404);
    }

    @Test
    void whatWasLoadedBeforeAWriteIsNotCachedAfterIt() {
        long id = 4_000_000_000L + System.nanoTime() % 1_000_000_000;
        ProductCache.Answer answer = cache.read(id, () -> {
            cache.written(List.of(id)); // while this reader loads
            return "before";
        });
        assertThat(answer.value()).isEqualTo("before");
        assertThat(cache.read(id, () -> "after")).isEqualTo(new ProductCache.Answer("after", "miss"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "GET | /api/products/999999999 | 404",
                "GET | /api/products/desk | 422",
                "GET | /api/products/0 | 422",
                "GET | /api/products?limit=201 | 422",
                "GET | /api/products?after=-1 | 422",
                "GET | /api/nowhere | 404",
                "DELETE | /api/products | 405",
                "GET | /api/orders | 401",
                "GET | /api/events | 401",
                "POST | /api/products | 401",
            })
    void everyErrorIsAProblem(String method, String path, int status) {
        Browser.Answer answer = browser().send(method, path, "POST".equals(method) ? Map.of() : null);
        assertThat(answer.status()).isEqualTo(status);
        assertThat(answer.header("content-type")).startsWith("application/problem+json");
        assertThat(answer.json().get("status").asInt()).isEqualTo(status);
        assertThat(answer.json().get("detail").asText()).isNotEmpty();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"name\": \"\", \"price_cents\": 1, \"stock\": 1}",
                "{\"name\": \"x\", \"price_cents\": -1, \"stock\": 1}",
                "{\"name\": \"x\", \"price_cents\": 1.5, \"stock\": 1}",
                "{\"name\": \"x\", \"price_cents\": 1, \"stock\": 3000000000}",
                "{\"name\": \"x\\u0000\", \"price_cents\": 1, \"stock\": 1}",
                "{\"price_cents\": 1, \"stock\": 1}",
                "{\"name\": ",
            })
    void aWrongProductIsRefused(String wrong) {
        Browser.Answer answer = staff().send("POST", "/api/products", wrong);
        assertThat(answer.status()).isEqualTo(422);
        assertThat(answer.json().get("errors").get(0).get("where").asText()).isNotEmpty();
    }

    @Test
    void aBodyThatIsTooLargeIsRefused() {
        assertThat(browser().send("POST", "/api/users", " ".repeat(70_000)).status()).isEqualTo(413);
    }

    @Test
    void aRequestKeepsItsId() {
        assertThat(browser().send("GET", "/api/", null, "X-Request-Id", "abc.1").header("x-request-id")).isEqualTo("abc.1");
        assertThat(browser().send("GET", "/api/", null, "X-Request-Id", "a b").header("x-request-id")).hasSize(36);
    }
}
