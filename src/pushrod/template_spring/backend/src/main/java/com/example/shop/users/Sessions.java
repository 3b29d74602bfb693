package com.example.shop.users;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpSession;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.function.Function;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.session.Session;
import org.springframework.session.SessionRepository;
import org.springframework.stereotype.Component;

/** What this app keeps in a session: who the visitor is, a token against forged requests, the basket. */
@Component
@ConditionalOnWebApplication
public class Sessions {

    static final String CSRF = "csrf";
    static final String USER = "user_id";
    static final String EMAIL = "email";
    static final String SINCE = "since";
    public static final String BASKET = "basket";

    private static final Duration ANONYMOUS = Duration.ofDays(1); // without a request; of a user: spring.session.timeout
    private static final Duration LONGEST = Duration.ofDays(30); // after which a login is over despite activity

    private final SecureRandom random = new SecureRandom();
    private final StringRedisTemplate redis;
    private final SessionRepository<? extends Session> kept;

    Sessions(StringRedisTemplate redis, SessionRepository<? extends Session> kept) {
        this.redis = redis;
        this.kept = kept;
    }

    /** The session of the request's cookie, or null. */
    HttpSession find(HttpServletRequest request) {
        HttpSession session = request.getSession(false);
        if (session != null && isOver(session::getAttribute)) {
            session.invalidate();
            return null;
        }
        return session;
    }

    /** A new session of nobody. */
    public HttpSession begin(HttpServletRequest request) {
        HttpSession session = request.getSession(true);
        session.setAttribute(CSRF, token());
        session.setMaxInactiveInterval((int) ANONYMOUS.toSeconds());
        return session;
    }

    /** The session with a new id, against session fixation; it keeps the basket. */
    HttpSession logIn(HttpServletRequest request, Duration timeout, long userId, String email) {
        HttpSession session = request.getSession(false);
        if (session == null) {
            session = request.getSession(true);
        } else {
            request.changeSessionId();
        }
        session.setAttribute(CSRF, token());
        session.setAttribute(USER, String.valueOf(userId));
        session.setAttribute(EMAIL, email);
        session.setAttribute(SINCE, String.valueOf(Instant.now().toEpochMilli()));
        session.setMaxInactiveInterval((int) timeout.toSeconds());
        return session;
    }

    /** Ends all sessions of a user, on every device: those that began before now. */
    void endAll(long userId) {
        redis.opsForValue().set(ended(userId), String.valueOf(Instant.now().toEpochMilli()), LONGEST);
    }

    /** Whether the session with that id still exists. */
    public boolean lives(String id) {
        Session session = kept.findById(id);
        return session != null && !isOver(session::getAttribute);
    }

    private boolean isOver(Function<String, Object> attribute) {
        Object user = attribute.apply(USER);
        if (user == null) {
            return false;
        }
        long since = Long.parseLong((String) attribute.apply(SINCE));
        String ended = redis.opsForValue().get(ended((String) user));
        long earliest = Instant.now().minus(LONGEST).toEpochMilli();
        return since < earliest || (ended != null && since <= Long.parseLong(ended));
    }

    private static String ended(Object userId) {
        return "ended:" + userId;
    }

    private String token() {
        byte[] bytes = new byte[32];
        random.nextBytes(bytes);
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }
}
