package com.example.shop.orders;

import com.example.shop.Settings;
import com.example.shop.jobs.Job;
import com.example.shop.jobs.Outbox;
import com.example.shop.orders.Order.Line;
import com.example.shop.orders.Order.Status;
import com.example.shop.web.Problem;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.springframework.http.HttpStatus;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;
import org.springframework.transaction.annotation.Transactional;

/** The tables {@code orders}, {@code order_items} and {@code order_steps}, and the stock of {@code products}. */
@Component
public class Orders implements Job {

    private static final String ADVANCE = "advance_order"; // the job that advances an order

    private static final String SELECT = """
            SELECT o.id, o.status, o.created_at, o.fingerprint, sum(i.quantity * i.price_cents)::bigint AS total_cents,
                   array_agg(i.product_id ORDER BY i.product_id) AS products,
                   array_agg(i.quantity ORDER BY i.product_id) AS quantities,
                   array_agg(i.price_cents ORDER BY i.product_id) AS prices
            FROM orders o JOIN order_items i ON i.order_id = o.id
            """;

    private final JdbcClient db;
    private final JdbcTemplate batches;
    private final Outbox outbox;
    private final Settings settings;

    Orders(JdbcClient db, JdbcTemplate batches, Outbox outbox, Settings settings) {
        this.db = db;
        this.batches = batches;
        this.outbox = outbox;
        this.settings = settings;
    }

    /** An order, and whether this call placed it. */
    record Placed(Order order, boolean now) {}

    private record Found(Order order, byte[] fingerprint) {}

    private record InStock(long id, int priceCents, int stock) {}

    /**
     * The order with that key. A Problem 409 or 422 if it cannot be had.
     *
     * <p>READ COMMITTED is enough, because what matters is locked. A second transaction with the same key waits at the
     * unique index until the first has ended, and then finds its order or places one. A transaction that orders the same
     * product waits for its row, and then sees the remaining stock. Rows are locked in the order of their ids, so
     * deadlocks cannot occur.
     */
    @Transactional
    public Placed place(long userId, String key, Basket basket) {
        var wanted = new TreeMap<Long, Integer>();
        basket.items().forEach(item -> wanted.put(item.productId(), item.quantity()));
        byte[] fingerprint = digest(wanted.toString());
        Optional<Long> id = db.sql("""
                        INSERT INTO orders (user_id, idempotency_key, fingerprint) VALUES (?, ?, ?)
                        ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING id""")
                .params(userId, key, fingerprint)
                .query(Long.class)
                .optional();
        if (id.isPresent()) {
            sell(id.get(), wanted);
            step(id.get(), userId, Status.PLACED);
        }
        Found found = db.sql(SELECT + "WHERE o.user_id = ? AND o.idempotency_key = ? GROUP BY o.id")
                .params(userId, key)
                .query(Orders::found)
                .single();
        if (!MessageDigest.isEqual(found.fingerprint(), fingerprint)) {
            throw new Problem(HttpStatus.UNPROCESSABLE_ENTITY, "this Idempotency-Key has been used for another order");
        }
        Order order = found.order(); // as it was answered the first time, however far it is now
        return new Placed(
                new Order(order.id(), Status.PLACED, order.totalCents(), order.items(), order.createdAt()),
                id.isPresent());
    }

    private void sell(long orderId, Map<Long, Integer> wanted) {
        Map<Long, InStock> found = db.sql("""
                        SELECT id, price_cents, stock FROM products WHERE id IN (:ids) ORDER BY id
                        FOR NO KEY UPDATE""")
                .param("ids", wanted.keySet())
                .query(InStock.class)
                .list()
                .stream()
                .collect(Collectors.toMap(InStock::id, row -> row));
        List<Long> unknown = wanted.keySet().stream().filter(id -> !found.containsKey(id)).toList();
        if (!unknown.isEmpty()) {
            throw new Problem(
                    HttpStatus.UNPROCESSABLE_ENTITY, "there is no such product", Map.of("products", unknown));
        }
        List<Map<String, Object>> lacking = found.values().stream()
                .filter(row -> row.stock() < wanted.get(row.id()))
                .map(row -> Map.<String, Object>of("product_id", row.id(), "stock", row.stock()))
                .toList();
        if (!lacking.isEmpty()) {
            throw new Problem(HttpStatus.CONFLICT, "not as many are in stock", Map.of("items", lacking));
        }
        var sold = new ArrayList<Object[]>();
        var lines = new ArrayList<Object[]>();
        wanted.forEach((id, quantity) -> {
            sold.add(new Object[] {quantity, id});
            lines.add(new Object[] {orderId, id, quantity, found.get(id).priceCents()});
        });
        batches.batchUpdate("UPDATE products SET stock = stock - ? WHERE id = ?", sold);
        batches.batchUpdate(
                "INSERT INTO order_items (order_id, product_id, quantity, price_cents) VALUES (?, ?, ?, ?)", lines);
    }

    @Override
    public String topic() {
        return ADVANCE;
    }

    /** Sets an order's status in the transaction of the job. */
    @Override
    public void run(JsonNode payload) {
        long id = payload.required("order_id").asLong();
        Status status = Status.of(payload.required("status").asText());
        long userId = db.sql("UPDATE orders SET status = ? WHERE id = ? AND status = ? RETURNING user_id")
                .params(status.text(), id, status.previous().text())
                .query(Long.class)
                .optional()
                .orElseThrow(() -> new IllegalStateException(
                        "no order " + id + " that is " + status.previous().text()));
        step(id, userId, status);
    }

    /** Records a status, tells the user, and schedules the next step. */
    private void step(long id, long userId, Status status) {
        OffsetDateTime at = db.sql("INSERT INTO order_steps (order_id, status) VALUES (?, ?) RETURNING at")
                .params(id, status.text())
                .query(OffsetDateTime.class)
                .single();
        Map<String, Object> data = Map.of("order_id", id, "status", status.text(), "at", at.toString());
        outbox.put(Outbox.EVENT, Map.of("user_id", userId, "event", "order", "data", data), 0);
        status.next().ifPresent(next -> outbox.put(
                ADVANCE, Map.of("order_id", id, "status", next.text()), settings.stepSeconds()));
    }

    /** A user's order with that id. */
    Optional<Order> find(long userId, long id) {
        return db.sql(SELECT + "WHERE o.user_id = ? AND o.id = ? GROUP BY o.id")
                .params(userId, id)
                .query(Orders::found)
                .optional()
                .map(Found::order);
    }

    /** At most {@code limit} orders of a user with ids below {@code before}, newest first. */
    Order.Page page(long userId, long before, int limit) {
        List<Order> found = db.sql(SELECT + "WHERE o.user_id = ? AND o.id < ? GROUP BY o.id ORDER BY o.id DESC LIMIT ?")
                .params(userId, before, limit + 1)
                .query(Orders::found)
                .list()
                .stream()
                .map(Found::order)
                .toList();
        List<Order> items = found.subList(0, Math.min(limit, found.size()));
        return new Order.Page(items, found.size() > limit ? String.valueOf(items.get(limit - 1).id()) : null);
    }

    private static Found found(ResultSet row, int number) throws SQLException {
        var products = (Long[]) row.getArray("products").getArray();
        var quantities = (Integer[]) row.getArray("quantities").getArray();
        var prices = (Integer[]) row.getArray("prices").getArray();
        var lines = new ArrayList<Line>();
        for (int i = 0; i < products.length; i++) {
            lines.add(new Line(products[i], quantities[i], prices[i]));
        }
        var order = new Order(
                row.getLong("id"),
                Status.of(row.getString("status")),
                row.getLong("total_cents"),
                lines,
                row.getObject("created_at", OffsetDateTime.class));
        return new Found(order, row.getBytes("fingerprint"));
    }

    private static byte[] digest(String text) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }
}
