package com.example.shop.events;

import java.util.List;
import org.springframework.data.domain.Range;
import org.springframework.data.redis.connection.Limit;
import org.springframework.data.redis.connection.stream.MapRecord;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.data.redis.core.script.RedisScript;
import org.springframework.stereotype.Component;

/**
 * Events for browsers: each user has a stream in the durable Redis, which is authoritative.
 *
 * <p>Any instance can send what follows the last event a browser has seen, even after a deployment. Pub/sub, on the
 * stream's name, only wakes the instances, so that they need not poll.
 */
@Component
public class Events {

    static final String CHANNELS = "events:*";

    private static final int KEPT = 1000; // events of a user, approximately; who missed more reloads the orders
    private static final int LIFE = 7 * 24 * 3600; // seconds that a stream stays after its last event
    private static final int ONCE = 3600; // seconds during which a repeated event is recognised

    private static final RedisScript<Void> PUBLISH = RedisScript.of("""
            if redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[4]) then
            redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'event', ARGV[1], 'data', ARGV[2])
            redis.call('EXPIRE', KEYS[1], ARGV[5])
            redis.call('PUBLISH', KEYS[1], '')
            end""");

    private final StringRedisTemplate redis;

    Events(StringRedisTemplate redis) {
        this.redis = redis;
    }

    /** Appends an event to its user's stream, once for each id. */
    public void publish(long id, long userId, String event, String data) {
        redis.execute(
                PUBLISH,
                List.of(stream(userId), "event:" + id),
                event,
                data,
                String.valueOf(KEPT),
                String.valueOf(ONCE),
                String.valueOf(LIFE));
    }

    /** The id of the user's newest event. */
    String newest(long userId) {
        List<MapRecord<String, String, String>> records =
                redis.<String, String>opsForStream().reverseRange(stream(userId), Range.unbounded(), Limit.limit().count(1));
        return records == null || records.isEmpty() ? "0-0" : records.get(0).getId().getValue();
    }

    /** At most 100 of the user's events after that one. */
    List<MapRecord<String, String, String>> after(long userId, String last) {
        Range<String> later = Range.rightUnbounded(Range.Bound.exclusive(last));
        List<MapRecord<String, String, String>> records =
                redis.<String, String>opsForStream().range(stream(userId), later, Limit.limit().count(100));
        return records == null ? List.of() : records;
    }

    static String stream(long userId) {
        return "events:" + userId;
    }
}
