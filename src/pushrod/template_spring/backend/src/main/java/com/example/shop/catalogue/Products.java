package com.example.shop.catalogue;

import com.example.shop.stores.ProductCache;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Optional;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** The table {@code products} and the cache beside it. */
@Component
public class Products {

    private static final String COLUMNS = "id, name, price_cents, stock, picture";

    private final JdbcClient db;
    private final ProductCache cache;
    private final ObjectMapper json;

    Products(JdbcClient db, ProductCache cache, ObjectMapper json) {
        this.db = db;
        this.cache = cache;
        this.json = json;
    }

    /** At most {@code limit} products with ids above {@code after}, in the order of their ids. */
    Product.Page page(long after, int limit) {
        List<Product> rows = db.sql("SELECT " + COLUMNS + " FROM products WHERE id > ? ORDER BY id LIMIT ?")
                .params(after, limit + 1)
                .query(Product.class)
                .list();
        List<Product> items = rows.subList(0, Math.min(limit, rows.size()));
        return new Product.Page(items, rows.size() > limit ? String.valueOf(items.get(limit - 1).id()) : null);
    }

    /** The JSON of a product, or null, and whether the cache had it. */
    ProductCache.Answer read(long id) {
        return cache.read(id, () -> db.sql("SELECT " + COLUMNS + " FROM products WHERE id = ?")
                .param(id)
                .query(Product.class)
                .optional()
                .map(this::asJson)
                .orElse(null));
    }

    Product add(Product.New wanted) {
        Product added = db.sql("INSERT INTO products (name, price_cents, stock, picture) VALUES (?, ?, ?, ?) RETURNING "
                        + COLUMNS)
                .params(wanted.name(), wanted.priceCents(), wanted.stock(), wanted.picture())
                .query(Product.class)
                .single();
        cache.written(List.of(added.id())); // where rows that a restored backup lacks may have left it
        return added;
    }

    Optional<Product> replace(long id, Product.New wanted) {
        Optional<Product> replaced = db.sql("UPDATE products SET name = ?, price_cents = ?, stock = ?, picture = ?"
                        + " WHERE id = ? RETURNING " + COLUMNS)
                .params(wanted.name(), wanted.priceCents(), wanted.stock(), wanted.picture(), id)
                .query(Product.class)
                .optional();
        replaced.ifPresent(product -> cache.written(List.of(id)));
        return replaced;
    }

    private String asJson(Product product) {
        try {
            return json.writeValueAsString(product);
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }
}
