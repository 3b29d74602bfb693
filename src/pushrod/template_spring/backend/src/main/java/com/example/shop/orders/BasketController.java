package com.example.shop.orders;

import com.example.shop.users.Sessions;
import com.example.shop.users.Visitor;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpSession;
import jakarta.validation.Valid;
import java.util.List;
import org.springframework.context.annotation.Profile;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

/** The basket, which lives in the session, as JSON. */
@RestController
@Profile("serve")
@RequestMapping("/api/basket")
class BasketController {

    private static final Basket EMPTY = new Basket(List.of());

    private final Sessions sessions;
    private final ObjectMapper json;

    BasketController(Sessions sessions, ObjectMapper json) {
        this.sessions = sessions;
        this.json = json;
    }

    @GetMapping
    Basket get(Visitor visitor) {
        Object kept = visitor.session() == null ? null : visitor.session().getAttribute(Sessions.BASKET);
        try {
            Basket basket = kept instanceof String text ? json.readValue(text, Basket.class) : EMPTY;
            return basket.items() == null ? EMPTY : basket;
        } catch (JsonProcessingException error) {
            return EMPTY; // written by another release, in another format
        }
    }

    @PutMapping
    Basket put(HttpServletRequest request, Visitor visitor, @Valid @RequestBody Basket basket)
            throws JsonProcessingException {
        HttpSession session = visitor.session() == null ? sessions.begin(request) : visitor.session();
        session.setAttribute(Sessions.BASKET, json.writeValueAsString(basket));
        return basket;
    }
}
