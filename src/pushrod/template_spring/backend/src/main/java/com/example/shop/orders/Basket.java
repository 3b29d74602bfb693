package com.example.shop.orders;

import jakarta.validation.Valid;
import jakarta.validation.constraints.AssertTrue;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotNull;
import jakarta.validation.constraints.Size;
import java.util.List;
import java.util.Objects;

/** Products that a visitor wants to buy, each once. */
public record Basket(@NotNull @Size(max = 50) @Valid List<Item> items) {

    /** A number of one product. */
    public record Item(@NotNull @Min(1) Long productId, @NotNull @Min(1) @Max(1000) Integer quantity) {}

    public Basket {
        items = items == null || items.stream().anyMatch(Objects::isNull) ? null : items; // then it is refused as a whole
    }

    @AssertTrue(message = "each product once")
    boolean isEachOnce() {
        return items == null || items.stream().map(Item::productId).distinct().count() == items.size();
    }
}
