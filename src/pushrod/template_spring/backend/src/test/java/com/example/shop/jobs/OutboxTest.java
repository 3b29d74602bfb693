package com.example.shop.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.example.shop.Failing;
import com.example.shop.ShopTest;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.transaction.support.TransactionTemplate;

class OutboxTest extends ShopTest {

    @Autowired
    Outbox outbox;

    @Autowired
    TransactionTemplate transaction;

    @Autowired
    StringRedisTemplate redis;

    @Autowired
    Failing failing;

    private void put(Map<String, Object> payload) {
        transaction.executeWithoutResult(status -> outbox.put(Failing.TOPIC, payload, 0));
    }

    @Test
    void whatIsNotCommittedIsNotInvented() {
        String name = UUID.randomUUID().toString();
        transaction.executeWithoutResult(status -> {
            outbox.put("no job of anybody", Map.of("name", name), 0);
            status.setRollbackOnly();
        });
        assertThat(db.sql("SELECT count(*) FROM outbox WHERE payload ->> 'name' = ?").param(name).query(Long.class).single())
                .isZero();
        assertThatThrownBy(() -> outbox.put("no job of anybody", Map.of(), 0)).hasMessageContaining("transaction");
    }

    @Test
    void aJobThatFailsIsTriedAgainAndThenADeadLetterForAPerson() throws Exception {
        String name = UUID.randomUUID().toString();
        failing.until.put(name, Integer.MAX_VALUE);
        put(Map.of("name", name));
        eventually("it is a dead letter", () -> outbox.dead().stream().anyMatch(dead -> dead.payload().contains(name)));
        assertThat(failing.tried.get(name)).isEqualTo(3);
        failing.until.put(name, 0);
        assertThat(outbox.retry()).anyMatch(dead -> dead.error().contains("on purpose"));
        eventually("it is done", () -> failing.done.getOrDefault(name, 0) == 1);
    }

    @Test
    void aJobThatComesTwiceIsDoneOnce() throws Exception {
        String name = UUID.randomUUID().toString();
        put(Map.of("name", name));
        eventually("it is done", () -> failing.done.getOrDefault(name, 0) == 1);
        redis.opsForStream().add(Worker.QUEUE, Map.of("id", "0", "topic", Failing.TOPIC, "payload", "{\"name\": \"" + name + "\"}"));
        String after = UUID.randomUUID().toString();
        put(Map.of("name", after));
        eventually("the next is done", () -> failing.done.getOrDefault(after, 0) == 1);
        assertThat(failing.done.get(name)).isEqualTo(1);
    }

    @Test
    void theStreamMayBeLost() throws Exception {
        redis.delete(Worker.QUEUE);
        String name = UUID.randomUUID().toString();
        put(Map.of("name", name));
        eventually("it is done", () -> failing.done.getOrDefault(name, 0) == 1);
    }
}
