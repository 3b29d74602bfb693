package com.example.shop.jobs;

import com.fasterxml.jackson.databind.JsonNode;

/** What a worker does for a row of the outbox with its topic. */
public interface Job {

    String topic();

    /** Does the job in the transaction that also deletes its row. */
    void run(JsonNode payload);
}
