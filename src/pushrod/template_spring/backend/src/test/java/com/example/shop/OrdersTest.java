package com.example.shop;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class OrdersTest extends ShopTest {

    private static final List<String> STEPS = List.of("placed", "paid", "packed", "shipped");

    private Browser buyer() {
        Browser buyer = browser();
        buyer.register();
        return buyer;
    }

    private static String key() {
        return UUID.randomUUID().toString();
    }

    @Test
    void anOrderIsPlacedOutOfWhatIsInStock() {
        long product = product(5);
        Browser buyer = buyer();
        buyer.get("/api/products/" + product);
        Browser.Answer answer = buyer.order(key(), product, 2);
        assertThat(answer.status()).isEqualTo(201);
        assertThat(answer.json().get("status").asText()).isEqualTo("placed");
        assertThat(answer.json().get("total_cents").asInt()).isEqualTo(17800);
        assertThat(answer.json().get("items").get(0).get("price_cents").asInt()).isEqualTo(8900);
        assertThat(answer.header("location")).endsWith("/api/orders/" + answer.json().get("id").asLong());
        assertThat(buyer.get("/api/products/" + product).json().get("stock").asInt()).isEqualTo(3);
    }

    @Test
    void theSameKeyAndBodyIsTheSameOrder() {
        long product = product(1);
        Browser buyer = buyer();
        String key = key();
        Browser.Answer first = buyer.order(key, product, 1);
        Browser.Answer again = buyer.order(key, product, 1);
        assertThat(again.status()).isEqualTo(201);
        assertThat(again.text()).isEqualTo(first.text());
        assertThat(again.header("idempotent-replayed")).isEqualTo("true");
        assertThat(stock(product)).isZero();
        assertThat(buyer.order(key, product, 2).status()).isEqualTo(422);
        assertThat(buyer().order(key, product(1), 1).status()).isEqualTo(201);
    }

    @Test
    void aRefusalSaysWhatThereIsAndTakesNothing() {
        long product = product(1);
        Browser buyer = buyer();
        String key = key();
        Browser.Answer answer = buyer.order(key, product, 2);
        assertThat(answer.status()).isEqualTo(409);
        assertThat(answer.json().get("items").get(0).get("stock").asInt()).isEqualTo(1);
        assertThat(buyer.order(key(), 999_999_999, 1).status()).isEqualTo(422);
        assertThat(buyer.send("POST", "/api/orders", Map.of("items", List.of()), "Idempotency-Key", key).status())
                .isEqualTo(422);
        assertThat(buyer.send("POST", "/api/orders", Map.of("items", List.of())).status()).isEqualTo(422);
        assertThat(buyer.get("/api/orders").json().get("items")).isEmpty();
        assertThat(stock(product)).isEqualTo(1);
        assertThat(buyer.order(key, product, 1).status()).isEqualTo(201); // the key is free after a refusal
    }

    @Test
    void theLastItemIsSoldOnce() throws Exception {
        long product = product(1);
        Browser buyer = buyer();
        List<Callable<Integer>> all = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            all.add(() -> buyer.order(key(), product, 1).status());
        }
        var threads = Executors.newFixedThreadPool(30);
        var statuses = new ArrayList<Integer>();
        for (var one : threads.invokeAll(all)) {
            statuses.add(one.get());
        }
        threads.shutdown();
        assertThat(statuses).containsOnly(201, 409).containsOnlyOnce(201);
        assertThat(stock(product)).isZero();
    }

    @Test
    void theWorkerShipsAnOrderAndItsBuyerHearsOfEveryStep() throws Exception {
        Browser buyer = buyer();
        var heard = new ArrayList<String>();
        long id;
        String resumeAfter = null;
        try (var lines = buyer.lines("/api/events")) {
            var open = lines.iterator();
            assertThat(open.next()).startsWith("id:");
            id = buyer.order(key(), product(3), 1).json().get("id").asLong();
            String last = "";
            while (heard.size() < STEPS.size()) {
                String line = open.next();
                if (line.startsWith("id:")) {
                    last = line.substring(3).strip();
                } else if (line.startsWith("data:")) {
                    assertThat(line).contains("\"order_id\":" + id);
                    heard.add(line.replaceFirst(".*\"status\":\"([a-z]+)\".*", "$1"));
                    resumeAfter = resumeAfter == null ? last : resumeAfter;
                }
            }
        }
        assertThat(heard).isEqualTo(STEPS);
        assertThat(buyer.get("/api/orders/" + id).json().get("status").asText()).isEqualTo("shipped");
        assertThat(buyer().get("/api/orders/" + id).status()).isEqualTo(404);

        var again = new ArrayList<String>();
        try (var lines = buyer.lines("/api/events", "Last-Event-ID", resumeAfter)) {
            var open = lines.iterator();
            while (again.size() < 3) {
                String line = open.next();
                if (line.startsWith("data:")) {
                    again.add(line.replaceFirst(".*\"status\":\"([a-z]+)\".*", "$1"));
                }
            }
        }
        assertThat(again).isEqualTo(STEPS.subList(1, 4));
    }

    @Test
    void pagesOfOrdersFollowEachOther() {
        Browser buyer = buyer();
        long product = product(9);
        for (int i = 0; i < 3; i++) {
            buyer.order(key(), product, 1);
        }
        var first = buyer.get("/api/orders?limit=2").json();
        var second = buyer.get("/api/orders?limit=2&after=" + first.get("next").asText()).json();
        assertThat(first.get("items")).hasSize(2);
        assertThat(second.get("items")).hasSize(1);
        assertThat(second.get("next").isNull()).isTrue();
    }
}
