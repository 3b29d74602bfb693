package com.example.shop.orders;

import com.example.shop.stores.ProductCache;
import com.example.shop.users.Visitor;
import com.example.shop.web.Problem;
import jakarta.validation.Valid;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.Pattern;
import java.net.URI;
import org.springframework.context.annotation.Profile;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** A user's own orders. */
@RestController
@Profile("serve")
@RequestMapping("/api/orders")
class OrderController {

    private final Orders orders;
    private final ProductCache cache;

    OrderController(Orders orders, ProductCache cache) {
        this.orders = orders;
        this.cache = cache;
    }

    /** Places an order. Repeated with the same key, which is new for each order, it returns the same order. */
    @PostMapping
    ResponseEntity<Order> place(
            Visitor.User user,
            @RequestHeader("Idempotency-Key") @Pattern(regexp = "[!-~]{1,200}") String key,
            @Valid @RequestBody Basket basket) {
        if (basket.items().isEmpty()) {
            throw new Problem(HttpStatus.UNPROCESSABLE_ENTITY, "an order has at least one product");
        }
        Orders.Placed placed = orders.place(user.id(), key, basket);
        Order order = placed.order();
        if (placed.now()) {
            cache.written(order.items().stream().map(Order.Line::productId).toList());
        }
        var response = ResponseEntity.created(URI.create("/api/orders/" + order.id()));
        return (placed.now() ? response : response.header("Idempotent-Replayed", "true")).body(order);
    }

    @GetMapping
    Order.Page list(
            Visitor.User user,
            @RequestParam(defaultValue = "" + Long.MAX_VALUE) @Min(1) long after,
            @RequestParam(defaultValue = "20") @Min(1) @Max(100) int limit) {
        return orders.page(user.id(), after, limit);
    }

    @GetMapping("/{id}")
    Order get(Visitor.User user, @PathVariable @Min(1) long id) {
        return orders.find(user.id(), id)
                .orElseThrow(() -> new Problem(HttpStatus.NOT_FOUND, "there is no such order of yours"));
    }
}
