package com.example.shop.web;

import com.fasterxml.jackson.databind.ObjectMapper;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.dao.DataAccessException;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/** Around every request: an id, a limit on its body, a log line, and a problem for what no controller has caught. */
@Component
@Order(Ordered.HIGHEST_PRECEDENCE)
class Requests extends OncePerRequestFilter {

    private static final Logger log = LoggerFactory.getLogger(Requests.class);
    private static final Set<String> QUIET = Set.of("/healthz", "/readyz", "/metrics"); // logged only on failure
    private static final Pattern GIVEN_ID = Pattern.compile("[\\w.-]{1,64}");

    private final ObjectMapper json;

    Requests(ObjectMapper json) {
        this.json = json;
    }

    @Override
    protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws ServletException, IOException {
        long started = System.nanoTime();
        String given = request.getHeader("X-Request-Id"); // the edge's: both logs then have the same
        String id = given != null && GIVEN_ID.matcher(given).matches() ? given : UUID.randomUUID().toString();
        response.setHeader("X-Request-Id", id);
        MDC.put("request_id", id);
        try {
            if (request.getContentLengthLong() > BodyLimit.MOST) {
                send(response, BodyLimit.problem());
            } else if ("/metrics".equals(request.getRequestURI()) && request.getHeader("X-Forwarded-Proto") != null) {
                send(response, new Problem(HttpStatus.NOT_FOUND, "Not Found")); // for Prometheus, which asks directly
            } else {
                pass(request, response, chain);
            }
            if (response.getStatus() >= 500 || !QUIET.contains(request.getRequestURI())) {
                log.atInfo()
                        .addKeyValue("method", request.getMethod())
                        .addKeyValue("path", request.getRequestURI())
                        .addKeyValue("status", response.getStatus())
                        .addKeyValue("ms", (System.nanoTime() - started) / 10_000 / 100.0)
                        .log("request");
            }
        } finally {
            MDC.remove("request_id");
        }
    }

    private void pass(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws ServletException, IOException {
        try {
            chain.doFilter(new BodyLimit(request), response);
        } catch (DataAccessException | IllegalStateException error) { // a session cannot be read or kept
            if (response.isCommitted()) {
                throw error;
            }
            log.warn("a session is not there: {}", error.toString());
            send(response, new Problem(HttpStatus.SERVICE_UNAVAILABLE, Problems.AWAY, 1));
        }
    }

    private void send(HttpServletResponse response, Problem problem) throws IOException {
        response.resetBuffer();
        response.setStatus(problem.getStatusCode().value());
        problem.getHeaders().toSingleValueMap().forEach(response::setHeader);
        response.setHeader(HttpHeaders.CONTENT_TYPE, MediaType.APPLICATION_PROBLEM_JSON_VALUE);
        json.writeValue(response.getOutputStream(), problem.getBody());
    }
}
