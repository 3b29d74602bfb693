package com.example.shop.catalogue;

import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotNull;
import jakarta.validation.constraints.Pattern;
import jakarta.validation.constraints.Size;
import java.util.List;

/** A product. Prices are in whole cents. */
public record Product(long id, String name, int priceCents, int stock, String picture) {

    /** A product as a client sends it. PostgreSQL's text has no NUL. */
    public record New(
            @NotNull @Size(min = 1, max = 200) @Pattern(regexp = "[^\\x00]*") String name,
            @NotNull @Min(0) Integer priceCents,
            @NotNull @Min(0) Integer stock,
            @Size(min = 1, max = 200) @Pattern(regexp = "[^\\x00]*") String picture) {}

    /** A page of products; {@code next} is the {@code after} of the next page, or null. */
    public record Page(List<Product> items, String next) {}
}
