package com.example.shop.jobs;

import com.example.shop.Settings;
import com.example.shop.events.Events;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.annotation.Profile;
import org.springframework.data.redis.connection.stream.StreamRecords;
import org.springframework.data.redis.connection.RedisStreamCommands.XAddOptions;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.stereotype.Component;
import org.springframework.transaction.support.TransactionTemplate;

/** Sends due rows of the outbox in order. Every worker runs a relay; only one is active at a time. */
@Component
@Profile("work")
class Relay extends Loop {

    private static final Logger log = LoggerFactory.getLogger(Relay.class);
    private static final int POLL = 200; // milliseconds between two looks for due rows
    private static final int KEPT = 10_000; // messages in the stream, approximately; the outbox resends what was trimmed

    private final Outbox outbox;
    private final Events events;
    private final StringRedisTemplate redis;
    private final TransactionTemplate transaction;
    private final Settings settings;
    private final Set<String> topics;

    Relay(
            Outbox outbox,
            Events events,
            StringRedisTemplate redis,
            TransactionTemplate transaction,
            Settings settings,
            List<Job> jobs) {
        this.outbox = outbox;
        this.events = events;
        this.redis = redis;
        this.transaction = transaction;
        this.settings = settings;
        this.topics = Stream.concat(Stream.of(Outbox.EVENT), jobs.stream().map(Job::topic)).collect(Collectors.toSet());
    }

    @Override
    long round() {
        Integer sent = transaction.execute(status -> send());
        return sent != null && sent == Outbox.BATCH ? 0 : POLL;
    }

    /** Rows are sent before that is committed: a crash in between sends them twice, which does no harm. */
    private int send() {
        if (!outbox.mine()) {
            return 0;
        }
        List<Outbox.Row> rows = outbox.due(topics);
        var done = new ArrayList<Long>();
        var sent = new ArrayList<Long>();
        var dead = new ArrayList<Long>();
        for (Outbox.Row row : rows) {
            if (row.tries() >= settings.maxTries()) {
                dead.add(row.id());
                continue;
            }
            if (row.topic().equals(Outbox.EVENT)) {
                publish(row);
            } else {
                var message = Map.of("id", String.valueOf(row.id()), "topic", row.topic(), "payload", row.payload());
                redis.opsForStream().add(
                        StreamRecords.mapBacked(message).withStreamKey(Worker.QUEUE),
                        XAddOptions.maxlen(KEPT).approximateTrimming(true));
            }
            (row.topic().equals(Outbox.EVENT) && row.tries() > 0 ? done : sent).add(row.id());
        }
        outbox.done(done);
        outbox.sent(sent);
        outbox.dead(dead);
        if (!dead.isEmpty()) {
            log.error("dead letters: {}; java -jar app.jar dead", dead);
        }
        return rows.size();
    }

    private void publish(Outbox.Row row) {
        JsonNode payload = outbox.read(row.payload());
        events.publish(
                row.id(),
                payload.required("user_id").asLong(),
                payload.required("event").asText(),
                payload.required("data").toString());
    }
}
