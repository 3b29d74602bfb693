package com.example.shop.jobs;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.SmartLifecycle;

/** A thread that does rounds from start to stop. A store that is away ends a round; the next is tried a second later. */
abstract class Loop implements SmartLifecycle {

    private static final Logger log = LoggerFactory.getLogger(Loop.class);
    private static final int GRACE = 8; // seconds for the current round

    private final CountDownLatch stop = new CountDownLatch(1);
    private Thread thread;

    /** Does a round; returns for how many milliseconds to pause before the next. */
    abstract long round() throws Exception;

    @Override
    public void start() {
        thread = new Thread(this::run, getClass().getSimpleName());
        thread.start();
    }

    @Override
    public void stop() {
        stop.countDown();
        try {
            thread.join(TimeUnit.SECONDS.toMillis(GRACE));
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public boolean isRunning() {
        return thread != null && thread.isAlive();
    }

    boolean isStopping() {
        return stop.getCount() == 0;
    }

    private void run() {
        while (!isStopping()) {
            long pause;
            try {
                pause = round();
            } catch (Exception error) {
                log.warn("{} waits: {}", thread.getName(), error.toString());
                pause = 1000;
            }
            pause(pause);
        }
    }

    private void pause(long milliseconds) {
        try {
            if (milliseconds > 0 && stop.await(milliseconds, TimeUnit.MILLISECONDS)) {
                log.info("{} stops", thread.getName());
            }
        } catch (InterruptedException error) {
            stop.countDown();
        }
    }
}
