package com.example.shop.web;

import jakarta.validation.ConstraintViolationException;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.TypeMismatchException;
import org.springframework.context.MessageSourceResolvable;
import org.springframework.dao.DataAccessException;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.MediaType;
import org.springframework.http.ProblemDetail;
import org.springframework.http.ResponseEntity;
import org.springframework.http.converter.HttpMessageNotReadableException;
import org.springframework.transaction.TransactionException;
import org.springframework.validation.FieldError;
import org.springframework.web.bind.MethodArgumentNotValidException;
import org.springframework.web.bind.ServletRequestBindingException;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.RestControllerAdvice;
import org.springframework.web.context.request.WebRequest;
import org.springframework.web.method.annotation.HandlerMethodValidationException;
import org.springframework.web.servlet.mvc.method.annotation.ResponseEntityExceptionHandler;

/** Makes a problem of everything that goes wrong in a controller. */
@RestControllerAdvice
class Problems extends ResponseEntityExceptionHandler {

    static final String AWAY = "a store is away or too slow; try again";
    static final String MISTAKE = "this is a mistake of ours; it has been noted";

    private static final Logger log = LoggerFactory.getLogger(Problems.class);

    /** Where in a request something is wrong, and what. */
    record Wrong(String where, String what) {}

    /** PostgreSQL or Redis does not answer, is too slow, or ended what was under way: worth another attempt. */
    @ExceptionHandler({DataAccessException.class, TransactionException.class})
    ResponseEntity<ProblemDetail> away(Exception error) {
        log.warn("a store is away or too slow: {}", error.toString());
        return ResponseEntity.status(HttpStatus.SERVICE_UNAVAILABLE)
                .header(HttpHeaders.RETRY_AFTER, "1")
                .contentType(MediaType.APPLICATION_PROBLEM_JSON)
                .body(Problem.body(HttpStatus.SERVICE_UNAVAILABLE, AWAY, Map.of()));
    }

    @ExceptionHandler(ConstraintViolationException.class)
    ResponseEntity<Object> invalid(ConstraintViolationException error, WebRequest request) {
        return invalid(error, request, error.getConstraintViolations().stream()
                .map(wrong -> new Wrong(wrong.getPropertyPath().toString(), wrong.getMessage())));
    }

    @Override
    protected ResponseEntity<Object> handleMethodArgumentNotValid(
            MethodArgumentNotValidException error, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
        return invalid(error, request, error.getAllErrors().stream().map(wrong -> new Wrong(
                wrong instanceof FieldError field ? field.getField() : wrong.getObjectName(),
                wrong.getDefaultMessage())));
    }

    @Override
    protected ResponseEntity<Object> handleHandlerMethodValidationException(
            HandlerMethodValidationException error, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
        return invalid(error, request, error.getParameterValidationResults().stream()
                .flatMap(result -> result.getResolvableErrors().stream()
                        .map(MessageSourceResolvable::getDefaultMessage)
                        .map(what -> new Wrong(result.getMethodParameter().getParameterName(), what))));
    }

    @Override
    protected ResponseEntity<Object> handleHttpMessageNotReadable(
            HttpMessageNotReadableException error, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
        if (error.getRootCause() instanceof BodyLimit.TooLargeException tooLarge) {
            return handleExceptionInternal(
                    error, tooLarge.problem().getBody(), headers, HttpStatus.PAYLOAD_TOO_LARGE, request);
        }
        return invalid(error, request, Stream.of(new Wrong("body", "not the JSON that this address takes")));
    }

    @Override
    protected ResponseEntity<Object> handleTypeMismatch(
            TypeMismatchException error, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
        return invalid(error, request, Stream.of(new Wrong(error.getPropertyName(), "not of the right type")));
    }

    @Override
    protected ResponseEntity<Object> handleServletRequestBindingException(
            ServletRequestBindingException error, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
        return invalid(error, request, Stream.of(new Wrong("request", error.getMessage())));
    }

    @ExceptionHandler(Exception.class)
    ResponseEntity<Object> mistake(Exception error, WebRequest request) {
        log.error("a request failed", error);
        ProblemDetail body = Problem.body(HttpStatus.INTERNAL_SERVER_ERROR, MISTAKE, Map.of());
        return handleExceptionInternal(
                error, body, new HttpHeaders(), HttpStatus.INTERNAL_SERVER_ERROR, request);
    }

    private ResponseEntity<Object> invalid(Exception error, WebRequest request, Stream<Wrong> wrong) {
        List<Wrong> errors = wrong.toList();
        ProblemDetail body = Problem.body(
                HttpStatus.UNPROCESSABLE_ENTITY,
                "the request is not what this address takes",
                Map.of("errors", errors));
        return handleExceptionInternal(error, body, new HttpHeaders(), HttpStatus.UNPROCESSABLE_ENTITY, request);
    }
}
