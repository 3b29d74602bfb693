package com.example.shop.jobs;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.annotation.Profile;
import org.springframework.data.domain.Range;
import org.springframework.data.redis.RedisSystemException;
import org.springframework.data.redis.connection.stream.Consumer;
import org.springframework.data.redis.connection.stream.MapRecord;
import org.springframework.data.redis.connection.stream.PendingMessage;
import org.springframework.data.redis.connection.stream.ReadOffset;
import org.springframework.data.redis.connection.stream.RecordId;
import org.springframework.data.redis.connection.stream.StreamOffset;
import org.springframework.data.redis.connection.stream.StreamReadOptions;
import org.springframework.data.redis.core.RedisCallback;
import org.springframework.data.redis.core.StreamOperations;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.stereotype.Component;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * Does jobs from a Redis stream, whose consumer group distributes them among any number of workers.
 *
 * <p>The stream distributes, the outbox records which jobs exist: a job is done when its transaction has deleted its row.
 */
@Component
@Profile("work")
class Worker extends Loop {

    static final String QUEUE = "jobs";

    private static final Logger log = LoggerFactory.getLogger(Worker.class);
    private static final String GROUP = "workers";
    // One name for all: otherwise Redis would collect the names of past workers.
    private static final Consumer CONSUMER = Consumer.from(GROUP, "worker");
    private static final int AT_ONCE = 4; // jobs; fewer than connections to PostgreSQL
    private static final Duration IDLE = Duration.ofSeconds(60); // after which another worker takes over a message

    private final Outbox outbox;
    private final TransactionTemplate transaction;
    private final StringRedisTemplate redis;
    private final StreamOperations<String, String, String> stream;
    private final Map<String, Job> jobs;
    private final ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE);
    private boolean hasGroup;
    private long lookedForAbandoned;

    Worker(Outbox outbox, TransactionTemplate transaction, StringRedisTemplate redis, List<Job> jobs) {
        this.outbox = outbox;
        this.transaction = transaction;
        this.redis = redis;
        this.stream = redis.opsForStream();
        this.jobs = jobs.stream().collect(Collectors.toMap(Job::topic, Function.identity()));
    }

    @Override
    @SuppressWarnings("unchecked")
    long round() throws Exception {
        try {
            if (!hasGroup) {
                createGroup();
            }
            takeOver();
            var options = StreamReadOptions.empty().count(AT_ONCE).block(Duration.ofSeconds(1));
            doAll(stream.read(CONSUMER, options, StreamOffset.create(QUEUE, ReadOffset.lastConsumed())));
            return 0;
        } catch (Exception error) {
            hasGroup = false; // Redis may come back empty
            throw error;
        }
    }

    @Override
    public void stop() {
        super.stop();
        threads.shutdown();
    }

    private void createGroup() {
        try {
            redis.execute((RedisCallback<String>) connection ->
                    connection.streamCommands().xGroupCreate(QUEUE.getBytes(), GROUP, ReadOffset.from("0"), true));
        } catch (RedisSystemException error) {
            if (!String.valueOf(error.getCause()).contains("BUSYGROUP")) {
                throw error;
            }
        }
        hasGroup = true;
        log.info("waiting for jobs");
    }

    /** Takes over, now and then, what a worker that died has read. */
    private void takeOver() throws Exception {
        if (System.nanoTime() - lookedForAbandoned < IDLE.toNanos() / 2 && lookedForAbandoned != 0) {
            return;
        }
        lookedForAbandoned = System.nanoTime();
        RecordId[] abandoned = stream.pending(QUEUE, GROUP, Range.unbounded(), 100).stream()
                .filter(message -> message.getElapsedTimeSinceLastDelivery().compareTo(IDLE) > 0)
                .map(PendingMessage::getId)
                .toArray(RecordId[]::new);
        if (abandoned.length > 0) {
            doAll(stream.claim(QUEUE, GROUP, CONSUMER.getName(), IDLE, abandoned));
        }
    }

    private void doAll(List<MapRecord<String, String, String>> messages) throws Exception {
        if (messages == null) {
            return;
        }
        List<? extends Future<?>> running = messages.stream().map(message -> threads.submit(() -> handle(message))).toList();
        for (Future<?> one : running) {
            one.get();
        }
    }

    private void handle(MapRecord<String, String, String> message) {
        Map<String, String> fields = message.getValue();
        long id = Long.parseLong(fields.get("id"));
        Job job = jobs.get(fields.get("topic"));
        if (job == null) {
            return; // of another release, whose workers will take it over, or its row becomes due again
        }
        try {
            transaction.executeWithoutResult(status -> {
                if (outbox.take(id)) {
                    job.run(outbox.read(fields.get("payload")));
                }
            });
            log.atInfo().addKeyValue("job", job.topic()).addKeyValue("id", id).log("job");
        } catch (RuntimeException error) {
            log.warn("a job failed: {} {}", job.topic(), id, error);
            outbox.failed(id, error.toString());
        }
        stream.acknowledge(QUEUE, GROUP, message.getId());
    }
}
