package com.example.shop.orders;

import java.time.Clock;
import java.time.LocalDate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.annotation.Profile;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.scheduling.annotation.Scheduled;
import org.springframework.stereotype.Component;

/** The nightly job: the previous day is closed once, however many workers there are. */
@Component
@Profile("work")
public class Sales {

    private static final Logger log = LoggerFactory.getLogger(Sales.class);

    private final JdbcClient db;

    Sales(JdbcClient db) {
        this.db = db;
    }

    @Scheduled(cron = "${shop.nightly}", zone = "UTC")
    void closeYesterday() {
        close(LocalDate.now(Clock.systemUTC()).minusDays(1));
    }

    /** Closes a day; returns whether this call did it. The day is the key, so every other call changes nothing. */
    public boolean close(LocalDate day) {
        boolean closed = db.sql("""
                        INSERT INTO daily_sales (day, orders, total_cents)
                        SELECT :day, count(DISTINCT o.id), coalesce(sum(i.quantity * i.price_cents), 0)
                        FROM orders o JOIN order_items i ON i.order_id = o.id
                        WHERE o.created_at >= CAST(:day AS date)::timestamp AT TIME ZONE 'UTC'
                          AND o.created_at < (CAST(:day AS date) + 1)::timestamp AT TIME ZONE 'UTC'
                        ON CONFLICT (day) DO NOTHING""")
                .param("day", day)
                .update() == 1;
        if (closed) {
            log.info("day closed: {}", day);
        }
        return closed;
    }
}
