package com.example.shop.users;

import com.example.shop.Settings;
import com.example.shop.web.Problem;
import com.example.shop.web.Rates;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpSession;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.List;
import java.util.Set;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.core.MethodParameter;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.support.WebDataBinderFactory;
import org.springframework.web.context.request.NativeWebRequest;
import org.springframework.web.method.support.HandlerMethodArgumentResolver;
import org.springframework.web.method.support.ModelAndViewContainer;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/**
 * Gives a controller its caller: a {@link Visitor}, a {@link Visitor.User} or a {@link Visitor.Staff}.
 *
 * <p>A browser sends the cookie with requests that any site makes it send, so a request that changes something must also
 * have the session's token, which only our own page can read: otherwise 403. Too many requests get 429.
 */
@Component
@ConditionalOnWebApplication
class Visitors implements HandlerMethodArgumentResolver, WebMvcConfigurer {

    private static final Set<String> SAFE = Set.of("GET", "HEAD", "OPTIONS");
    private static final Set<Class<?>> KINDS = Set.of(Visitor.class, Visitor.User.class, Visitor.Staff.class);

    private final Sessions sessions;
    private final Users users;
    private final Rates rates;
    private final Settings settings;

    Visitors(Sessions sessions, Users users, Rates rates, Settings settings) {
        this.sessions = sessions;
        this.users = users;
        this.rates = rates;
        this.settings = settings;
    }

    @Override
    public void addArgumentResolvers(List<HandlerMethodArgumentResolver> resolvers) {
        resolvers.add(this);
    }

    @Override
    public boolean supportsParameter(MethodParameter parameter) {
        return KINDS.contains(parameter.getParameterType());
    }

    @Override
    public Object resolveArgument(
            MethodParameter parameter, ModelAndViewContainer view, NativeWebRequest web, WebDataBinderFactory binders) {
        Visitor visitor = visitor(web.getNativeRequest(HttpServletRequest.class));
        if (parameter.getParameterType() == Visitor.class) {
            return visitor;
        }
        if (visitor.userId() == null) {
            throw new Problem(HttpStatus.UNAUTHORIZED, "log in first: POST /api/session");
        }
        if (parameter.getParameterType() == Visitor.User.class) {
            return new Visitor.User(visitor.session(), visitor.userId(), visitor.email());
        }
        if (!users.isStaff(visitor.userId())) { // asked each time, so that revoking it takes effect at once
            throw new Problem(HttpStatus.FORBIDDEN, "for staff only");
        }
        return new Visitor.Staff(visitor.userId());
    }

    private Visitor visitor(HttpServletRequest request) {
        HttpSession session = sessions.find(request);
        Visitor visitor = new Visitor(session);
        if (session == null || SAFE.contains(request.getMethod())) {
            return visitor;
        }
        String token = request.getHeader("X-CSRF-Token");
        if (token == null || !equal(token, (String) session.getAttribute(Sessions.CSRF))) {
            throw new Problem(HttpStatus.FORBIDDEN, "X-CSRF-Token is not the one that GET /api/session gives");
        }
        String who = visitor.userId() == null ? session.getId() : String.valueOf(visitor.userId());
        rates.spend("writes", who, settings.writesPerMinute());
        return visitor;
    }

    private static boolean equal(String given, String kept) {
        return MessageDigest.isEqual(given.getBytes(StandardCharsets.UTF_8), kept.getBytes(StandardCharsets.UTF_8));
    }
}
