package com.example.shop.users;

import jakarta.servlet.http.HttpSession;

/** The caller of a request; the session is null if there is none. */
public record Visitor(HttpSession session) {

    /** A user who has logged in, as a controller's argument: otherwise 401. */
    public record User(HttpSession session, long id, String email) {}

    /** A member of staff, as a controller's argument: otherwise 403. */
    public record Staff(long id) {}

    Long userId() {
        Object id = session == null ? null : session.getAttribute(Sessions.USER);
        return id == null ? null : Long.valueOf((String) id);
    }

    String email() {
        return session == null ? null : (String) session.getAttribute(Sessions.EMAIL);
    }
}
