package com.example.shop.events;

import com.example.shop.users.Sessions;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.SmartLifecycle;
import org.springframework.context.annotation.Profile;
import org.springframework.dao.DataAccessException;
import org.springframework.data.redis.connection.RedisConnectionFactory;
import org.springframework.data.redis.connection.stream.MapRecord;
import org.springframework.data.redis.listener.PatternTopic;
import org.springframework.data.redis.listener.RedisMessageListenerContainer;
import org.springframework.scheduling.annotation.Scheduled;
import org.springframework.stereotype.Component;
import org.springframework.web.servlet.mvc.method.annotation.SseEmitter;

/** The open event streams of this instance: a few threads for all of them, woken by one connection to Redis. */
@Component
@Profile("serve")
class Hub implements SmartLifecycle {

    private static final Logger log = LoggerFactory.getLogger(Hub.class);
    private static final long RECONNECT = 1000; // milliseconds after which a browser reconnects
    private static final int HEARTBEAT = 15_000; // milliseconds between two checks whether the session is over

    private final Events events;
    private final Sessions sessions;
    private final RedisConnectionFactory redis;
    private final Map<Long, Set<Open>> open = new ConcurrentHashMap<>();
    private final ExecutorService threads = Executors.newFixedThreadPool(4);
    private RedisMessageListenerContainer listener;
    private volatile boolean running;

    Hub(Events events, Sessions sessions, RedisConnectionFactory redis) {
        this.events = events;
        this.sessions = sessions;
        this.redis = redis;
    }

    /** A stream of the user's events after {@code last}, or from now on. */
    SseEmitter open(long userId, String session, String last) throws IOException {
        String from = last == null ? events.newest(userId) : last;
        var stream = new Open(userId, session, from, new SseEmitter(0L));
        Runnable forget = () -> open.computeIfPresent(userId, (id, streams) -> {
            streams.remove(stream);
            return streams.isEmpty() ? null : streams;
        });
        stream.emitter.onCompletion(forget);
        stream.emitter.onError(error -> forget.run());
        open.compute(userId, (id, streams) -> {
            Set<Open> all = streams == null ? ConcurrentHashMap.newKeySet() : streams;
            all.add(stream);
            return all;
        });
        // Without data it is no event, but it sets the id from which the browser resumes.
        stream.emitter.send(SseEmitter.event().id(from).reconnectTime(RECONNECT).comment("from here on"));
        wake(stream);
        if (!running) {
            stream.emitter.complete();
        }
        return stream.emitter;
    }

    /** Whether sessions are over, clients gone, events missed while Redis was away. */
    @Scheduled(fixedDelay = HEARTBEAT)
    void check() {
        if (running && !listens()) {
            listen();
        }
        open.values().forEach(streams -> streams.forEach(stream -> threads.submit(() -> {
            try {
                if (!sessions.lives(stream.session)) {
                    stream.emitter.complete();
                    return;
                }
                stream.emitter.send(SseEmitter.event().comment(""));
            } catch (DataAccessException | IOException | IllegalStateException error) {
                stream.emitter.complete();
            }
            deliver(stream);
        })));
    }

    @Override
    public void start() {
        running = true;
        threads.submit(this::listen); // not here: Redis may be away
    }

    /** Ends every open response first of all: the browsers reconnect to the release that is live then. */
    @Override
    public void stop() {
        running = false;
        hangUp();
        open.values().forEach(streams -> streams.forEach(stream -> stream.emitter.complete()));
        threads.shutdown();
    }

    @Override
    public boolean isRunning() {
        return running;
    }

    private synchronized void hangUp() {
        try {
            if (listener != null) {
                listener.destroy();
            }
        } catch (Exception error) {
            log.warn("the connection for events was not closed: {}", error.toString());
        }
    }

    private boolean listens() {
        return listener != null && listener.isListening();
    }

    private synchronized void listen() {
        hangUp();
        try {
            var made = new RedisMessageListenerContainer();
            made.setConnectionFactory(redis);
            made.addMessageListener(
                    (message, pattern) -> wake(new String(message.getChannel(), StandardCharsets.UTF_8)),
                    new PatternTopic(Events.CHANNELS));
            made.afterPropertiesSet();
            listener = made;
            made.start();
        } catch (Exception error) {
            log.warn("events wait for Redis: {}", error.toString());
        }
    }

    private void wake(String channel) {
        Set<Open> streams = open.get(Long.valueOf(channel.substring(channel.indexOf(':') + 1)));
        if (streams != null) {
            streams.forEach(this::wake);
        }
    }

    private void wake(Open stream) {
        if (stream.due.compareAndSet(false, true)) {
            threads.submit(() -> deliver(stream));
        }
    }

    private void deliver(Open stream) {
        synchronized (stream) {
            stream.due.set(false);
            try {
                for (var found = events.after(stream.userId, stream.last); !found.isEmpty(); ) {
                    for (MapRecord<String, String, String> event : found) {
                        stream.last = event.getId().getValue();
                        stream.emitter.send(SseEmitter.event()
                                .id(stream.last)
                                .name(event.getValue().get("event"))
                                .data(event.getValue().get("data")));
                    }
                    found = events.after(stream.userId, stream.last);
                }
            } catch (DataAccessException | IOException | IllegalStateException error) {
                stream.emitter.complete(); // the browser reconnects
            }
        }
    }

    private static class Open {

        final long userId;
        final String session;
        final SseEmitter emitter;
        final AtomicBoolean due = new AtomicBoolean();
        String last;

        Open(long userId, String session, String last, SseEmitter emitter) {
            this.userId = userId;
            this.session = session;
            this.last = last;
            this.emitter = emitter;
        }
    }
}
