package com.example.shop;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The name of the app, and the release that answers. */
@RestController
class About {

    record Answer(String app, String message, String release, String commit) {}

    private final Answer answer;

    About(Settings settings, @Value("${spring.application.name}") String name) {
        answer = new Answer(name, ShopApplication.MESSAGE, known(settings.release()), known(settings.commit()));
    }

    @GetMapping("/api/")
    Answer about() {
        return answer;
    }

    private static String known(String value) {
        return value == null || value.isEmpty() ? null : value;
    }
}
