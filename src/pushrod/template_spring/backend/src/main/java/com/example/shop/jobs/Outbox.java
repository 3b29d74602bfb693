package com.example.shop.jobs;

import com.example.shop.Settings;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;
import org.springframework.transaction.annotation.Propagation;
import org.springframework.transaction.annotation.Transactional;

/**
 * The transactional outbox: actions to follow a transaction, written in it, so that both happen or neither does.
 *
 * <p>A row is an event to publish or a job to do. {@link Relay} sends due rows, and sends them again after a lease. A
 * job's row stays until the transaction that does the job deletes it. An event's row is deleted after it has been sent
 * twice: Redis writes to disk once a second, so a crash of its machine can lose what it has acknowledged. So nothing is
 * lost, whatever crashes at whatever moment; nothing is invented; and what is delivered twice is done once.
 *
 * <p>A failed job becomes due again after a pause that doubles each time; after {@code shop.max-tries} the row is a dead
 * letter, which stays for a person to look at: {@code java -jar app.jar dead}.
 */
@Component
public class Outbox {

    public static final String EVENT = "event"; // the topic of events; every other topic is the name of a job

    static final int BATCH = 200;
    private static final double LONGEST_PAUSE = 60; // seconds between two attempts

    private final JdbcClient db;
    private final ObjectMapper json;
    private final Settings settings;

    Outbox(JdbcClient db, ObjectMapper json, Settings settings) {
        this.db = db;
        this.json = json;
        this.settings = settings;
    }

    /** A row that is due. */
    record Row(long id, String topic, String payload, int tries) {}

    /** A dead letter. */
    record Dead(long id, String topic, String payload, String error) {}

    /** How many rows are due, how many are dead, and for how many seconds the oldest has been due. */
    record Figures(long due, long dead, double late) {}

    /** Schedules an action for so many seconds after this transaction, if that is committed. */
    @Transactional(propagation = Propagation.MANDATORY)
    public void put(String topic, Map<String, ?> payload, double delay) {
        db.sql("INSERT INTO outbox (topic, payload, due_at) VALUES (?, CAST(? AS jsonb), now() + make_interval(secs => ?))")
                .params(topic, write(payload), delay)
                .update();
    }

    /** Makes this transaction the one that does the job; false if it is done. Waits for another that is doing it. */
    boolean take(long id) {
        return db.sql("DELETE FROM outbox WHERE id = ?").param(id).update() == 1;
    }

    /** Makes a failed job due again, after a pause that doubles with each attempt. */
    void failed(long id, String error) {
        db.sql("""
                        UPDATE outbox SET error = ?, due_at = now() + make_interval(secs => least(? * 2 ^ (tries - 1), ?))
                        WHERE id = ?""")
                .params(error, settings.retrySeconds(), LONGEST_PAUSE, id)
                .update();
    }

    /** Whether this transaction is the one that sends: only one relay does at a time. */
    boolean mine() {
        return db.sql("SELECT pg_try_advisory_xact_lock(hashtext('outbox'))").query(Boolean.class).single();
    }

    /** Due rows, locked. Topics that only another release knows are left to its workers. */
    List<Row> due(Collection<String> topics) {
        return db.sql("""
                        SELECT id, topic, payload, tries FROM outbox
                        WHERE due_at <= now() AND dead_at IS NULL AND topic IN (:topics)
                        ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED""")
                .param("topics", topics)
                .param("batch", BATCH)
                .query(Row.class)
                .list();
    }

    void done(Collection<Long> ids) {
        update("DELETE FROM outbox WHERE id IN (:ids)", ids);
    }

    void sent(Collection<Long> ids) {
        update("UPDATE outbox SET tries = tries + 1, due_at = now() + make_interval(secs => " + settings.leaseSeconds()
                + ") WHERE id IN (:ids)", ids);
    }

    void dead(Collection<Long> ids) {
        update("UPDATE outbox SET dead_at = now() WHERE id IN (:ids)", ids);
    }

    List<Dead> dead() {
        return db.sql("SELECT id, topic, payload, error FROM outbox WHERE dead_at IS NOT NULL ORDER BY id")
                .query(Dead.class)
                .list();
    }

    List<Dead> retry() {
        return db.sql("""
                        UPDATE outbox SET dead_at = NULL, tries = 0, due_at = now() WHERE dead_at IS NOT NULL
                        RETURNING id, topic, payload, error""")
                .query(Dead.class)
                .list();
    }

    Figures figures() {
        return db.sql("""
                        SELECT count(*) FILTER (WHERE dead_at IS NULL AND due_at <= now()) AS due,
                               count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
                               greatest(0, coalesce(extract(epoch FROM max(now() - due_at) FILTER (WHERE dead_at IS NULL)),
                                                    0)) AS late
                        FROM outbox""")
                .query(Figures.class)
                .single();
    }

    JsonNode read(String payload) {
        try {
            return json.readTree(payload);
        } catch (JsonProcessingException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private String write(Map<String, ?> payload) {
        try {
            return json.writeValueAsString(payload);
        } catch (JsonProcessingException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private void update(String sql, Collection<Long> ids) {
        if (!ids.isEmpty()) {
            db.sql(sql).param("ids", ids).update();
        }
    }
}
