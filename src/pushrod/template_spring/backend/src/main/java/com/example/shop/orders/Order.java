package com.example.shop.orders;

import com.fasterxml.jackson.annotation.JsonValue;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** An order. */
public record Order(long id, Status status, long totalCents, List<Line> items, OffsetDateTime createdAt) {

    /** A number of one product, at its price when it was ordered. */
    public record Line(long productId, int quantity, int priceCents) {}

    /** A page of orders, newest first; {@code next} is the {@code after} of the next page, or null. */
    public record Page(List<Order> items, String next) {}

    /** What an order goes through, in this order. */
    public enum Status {
        PLACED,
        PAID,
        PACKED,
        SHIPPED;

        @JsonValue
        public String text() {
            return name().toLowerCase(Locale.ROOT);
        }

        static Status of(String text) {
            return valueOf(text.toUpperCase(Locale.ROOT));
        }

        Status previous() {
            return values()[ordinal() - 1];
        }

        Optional<Status> next() {
            return this == SHIPPED ? Optional.empty() : Optional.of(values()[ordinal() + 1]);
        }
    }
}
