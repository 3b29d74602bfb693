package com.example.shop.web;

import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.dao.DataAccessException;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.data.redis.core.script.RedisScript;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Component;

/**
 * How often somebody may do something in a minute, counted in Redis across all instances; the edge limits addresses.
 *
 * <p>While Redis is away nothing is counted and everything is allowed: what needs Redis fails then anyway.
 */
@Component
public class Rates {

    private static final Logger log = LoggerFactory.getLogger(Rates.class);

    @SuppressWarnings("rawtypes")
    private static final RedisScript<List> COUNT = RedisScript.of("""
            local count = redis.call('INCR', KEYS[1])
            if count == 1 then redis.call('EXPIRE', KEYS[1], 60) end
            return {count, redis.call('TTL', KEYS[1])}""", List.class);

    private final StringRedisTemplate redis;

    Rates(StringRedisTemplate redis) {
        this.redis = redis;
    }

    /** Counts one use of {@code name} by {@code who}; a Problem 429 if there were more than {@code most}. */
    public void spend(String name, String who, int most) {
        List<?> answer;
        try {
            answer = redis.execute(COUNT, List.of("rate:" + name + ":" + who));
        } catch (DataAccessException error) {
            log.warn("not counted, because Redis is away: {}", error.toString());
            return;
        }
        long count = ((Number) answer.get(0)).longValue();
        long seconds = Math.max(1, ((Number) answer.get(1)).longValue());
        if (count > most) {
            throw new Problem(HttpStatus.TOO_MANY_REQUESTS, "too often; try again in " + seconds + " s", seconds);
        }
    }
}
