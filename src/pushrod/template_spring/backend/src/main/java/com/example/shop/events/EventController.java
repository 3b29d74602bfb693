package com.example.shop.events;

import com.example.shop.users.Visitor;
import java.io.IOException;
import java.util.regex.Pattern;
import org.springframework.context.annotation.Profile;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.mvc.method.annotation.SseEmitter;

/** The user's events from now on; with Last-Event-ID, all events after that one. */
@RestController
@Profile("serve")
class EventController {

    private static final Pattern ID = Pattern.compile("[0-9]{1,18}-[0-9]{1,18}");

    private final Hub hub;

    EventController(Hub hub) {
        this.hub = hub;
    }

    @GetMapping(path = "/api/events", produces = MediaType.TEXT_EVENT_STREAM_VALUE)
    SseEmitter events(Visitor.User user, @RequestHeader(name = "Last-Event-ID", required = false) String last)
            throws IOException {
        return hub.open(user.id(), user.session().getId(), last != null && ID.matcher(last).matches() ? last : null);
    }
}
