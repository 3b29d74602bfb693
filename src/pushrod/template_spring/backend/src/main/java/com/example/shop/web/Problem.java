package com.example.shop.web;

import java.net.URI;
import java.util.Map;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.ProblemDetail;
import org.springframework.web.ErrorResponseException;

/** Thrown to refuse a request: application/problem+json (RFC 9457), the one format of all errors. */
public final class Problem extends ErrorResponseException {

    private static final long serialVersionUID = 1;

    public Problem(HttpStatus status, String detail) {
        this(status, detail, Map.of());
    }

    /** {@code more} are further members of the body. */
    public Problem(HttpStatus status, String detail, Map<String, Object> more) {
        super(status, body(status, detail, more), null);
    }

    /** Too often, too early: the client may try again after so many seconds. */
    public Problem(HttpStatus status, String detail, long retryAfter) {
        this(status, detail);
        getHeaders().set(HttpHeaders.RETRY_AFTER, String.valueOf(retryAfter));
    }

    static ProblemDetail body(HttpStatus status, String detail, Map<String, Object> more) {
        ProblemDetail body = ProblemDetail.forStatusAndDetail(status, detail);
        body.setType(URI.create("about:blank"));
        more.forEach(body::setProperty);
        return body;
    }
}
