package com.example.shop;

import com.example.shop.jobs.Job;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.springframework.stereotype.Component;

/** A job that fails as often as a test wants. */
@Component
public class Failing implements Job {

    public static final String TOPIC = "fail";

    public final Map<String, Integer> until = new ConcurrentHashMap<>();
    public final Map<String, Integer> tried = new ConcurrentHashMap<>();
    public final Map<String, Integer> done = new ConcurrentHashMap<>();

    @Override
    public String topic() {
        return TOPIC;
    }

    @Override
    public void run(JsonNode payload) {
        String name = payload.get("name").asText();
        if (tried.merge(name, 1, Integer::sum) <= until.getOrDefault(name, 0)) {
            throw new IllegalStateException("on purpose");
        }
        done.merge(name, 1, Integer::sum);
    }
}
