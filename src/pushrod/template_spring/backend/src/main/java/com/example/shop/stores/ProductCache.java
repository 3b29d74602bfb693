package com.example.shop.stores;

import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.Collection;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.cache.Cache;
import org.springframework.cache.CacheManager;
import org.springframework.dao.DataAccessException;
import org.springframework.stereotype.Component;

/**
 * Cache-aside: the JSON of products in Redis, beside the table.
 *
 * <p>{@code @Cacheable} would be shorter, but has a gap: a value that was loaded before a write can be stored after it,
 * and then stays for its whole life. Here a write replaces the value by a mark, and a reader stores a value only where
 * there is nothing. The mark outlives every load that began before the write.
 */
@Component
public class ProductCache {

    static final String WRITTEN = "";
    static final Duration MARKED = Duration.ofSeconds(10); // longer than any statement may take

    private static final Logger log = LoggerFactory.getLogger(ProductCache.class);
    private static final long PAUSE = Duration.ofSeconds(1).toNanos(); // so that one that hangs costs little

    private final Cache cache;
    private final MeterRegistry meters;
    private volatile long askAgain = System.nanoTime();

    ProductCache(CacheManager caches, MeterRegistry meters) {
        this.cache = caches.getCache("products");
        this.meters = meters;
    }

    /** A value, or null if there is none, and where it came from: hit or miss. */
    public record Answer(String value, String how) {}

    /** The value with that id, from the cache or else from {@code load}. */
    public Answer read(long id, Supplier<String> load) {
        String kept = quietly(() -> cache.get(id, String.class));
        boolean hit = kept != null && !kept.equals(WRITTEN);
        meters.counter("cache.reads", "kind", "product", "result", hit ? "hit" : "miss").increment();
        if (hit) {
            return new Answer(kept, "hit");
        }
        String value = load.get();
        if (value != null && kept == null) {
            quietly(() -> cache.putIfAbsent(id, value));
        }
        return new Answer(value, "miss");
    }

    /** These have been written: call it after PostgreSQL has committed. Asks the cache also if it just was away. */
    public void written(Collection<Long> ids) {
        try {
            ids.forEach(id -> cache.put(id, WRITTEN));
        } catch (DataAccessException error) {
            log.warn("the cache did not hear of a write of {}: {}", ids, error.toString());
        }
    }

    /** What the cache answers; null if it does not, or just did not. */
    private <T> T quietly(Supplier<T> question) {
        if (System.nanoTime() - askAgain < 0) {
            return null;
        }
        try {
            return question.get();
        } catch (DataAccessException error) {
            log.warn("the cache is away, going on without it: {}", error.toString());
            askAgain = System.nanoTime() + PAUSE;
            return null;
        }
    }
}
