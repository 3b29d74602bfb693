package com.example.shop.jobs;

import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.function.ToDoubleFunction;
import org.springframework.context.annotation.Profile;
import org.springframework.dao.DataAccessException;
import org.springframework.stereotype.Component;

/** Figures of the outbox for Prometheus; NaN while PostgreSQL is away. */
@Component
@Profile("serve")
class OutboxMetrics {

    private final Outbox outbox;

    OutboxMetrics(Outbox outbox, MeterRegistry meters) {
        this.outbox = outbox;
        gauge(meters, "outbox.due", "Events and jobs that wait to be handed on", Outbox.Figures::due);
        gauge(meters, "outbox.dead", "Jobs that have failed for good", Outbox.Figures::dead);
        gauge(meters, "outbox.late.seconds", "How long the oldest of those that wait is due", Outbox.Figures::late);
    }

    private void gauge(MeterRegistry meters, String name, String text, ToDoubleFunction<Outbox.Figures> figure) {
        Gauge.builder(name, this, self -> self.ask(figure)).description(text).register(meters);
    }

    private double ask(ToDoubleFunction<Outbox.Figures> figure) {
        try {
            return figure.applyAsDouble(outbox.figures());
        } catch (DataAccessException error) {
            return Double.NaN;
        }
    }
}
