package com.example.shop.catalogue;

import com.example.shop.stores.ProductCache;
import com.example.shop.users.Visitor;
import com.example.shop.web.Problem;
import jakarta.validation.Valid;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import java.net.URI;
import org.springframework.context.annotation.Profile;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Products: everybody reads them, the staff changes them. */
@RestController
@Profile("serve")
@RequestMapping("/api/products")
class ProductController {

    private final Products products;

    ProductController(Products products) {
        this.products = products;
    }

    @GetMapping
    Product.Page list(
            @RequestParam(defaultValue = "0") @Min(0) long after,
            @RequestParam(defaultValue = "50") @Min(1) @Max(200) int limit) {
        return products.page(after, limit);
    }

    /** X-Cache says where it came from: hit or miss. */
    @GetMapping("/{id}")
    ResponseEntity<String> get(@PathVariable @Min(1) long id) {
        ProductCache.Answer answer = products.read(id);
        if (answer.value() == null) {
            throw unknown();
        }
        return ResponseEntity.ok()
                .contentType(MediaType.APPLICATION_JSON)
                .header("X-Cache", answer.how())
                .body(answer.value());
    }

    @PostMapping
    ResponseEntity<Product> add(Visitor.Staff staff, @Valid @RequestBody Product.New wanted) {
        Product added = products.add(wanted);
        return ResponseEntity.created(URI.create("/api/products/" + added.id())).body(added);
    }

    @PutMapping("/{id}")
    Product replace(Visitor.Staff staff, @PathVariable @Min(1) long id, @Valid @RequestBody Product.New wanted) {
        return products.replace(id, wanted).orElseThrow(ProductController::unknown);
    }

    private static Problem unknown() {
        return new Problem(HttpStatus.NOT_FOUND, "there is no such product");
    }
}
