package com.example.backend;

import java.util.Map;
import java.util.UUID;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cache.annotation.Cacheable;
import org.springframework.cache.annotation.EnableCaching;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.http.HttpStatus;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** Counts rows in PostgreSQL and visits in Redis, and keeps a value in the cache. */
@SpringBootApplication
@EnableCaching
public class Application {

    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    /** A value that is made once. */
    @Component
    public static class Slow {

        @Cacheable("values")
        public String value(String name) {
            return UUID.randomUUID().toString();
        }
    }

    @RestController
    static class Notes {

        private final JdbcTemplate sql;
        private final StringRedisTemplate redis;
        private final Slow slow;
        private final String version;

        Notes(JdbcTemplate sql, StringRedisTemplate redis, Slow slow, @Value("${version}") String version) {
            this.sql = sql;
            this.redis = redis;
            this.slow = slow;
            this.version = version;
        }

        @GetMapping("/api/")
        Map<String, Object> read() {
            return Map.of(
                    "version", version,
                    "rows", sql.queryForObject("SELECT count(*) FROM notes", Long.class),
                    "visits", redis.opsForValue().increment("visits"),
                    "cached", slow.value("one"));
        }

        @PostMapping("/api/")
        @ResponseStatus(HttpStatus.CREATED)
        void write(@RequestBody String text) {
            sql.update("INSERT INTO notes (text) VALUES (?)", text);
        }
    }
}
