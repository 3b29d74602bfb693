package com.example.shop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.CookieManager;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Stream;

/** What of a browser matters here: cookies, and the token that its page has read. */
class Browser {

    private static final ObjectMapper JSON = new ObjectMapper();

    final String email = UUID.randomUUID() + "@example.com";
    final CookieManager cookies = new CookieManager();
    String csrf = "";

    private final HttpClient client = HttpClient.newBuilder().cookieHandler(cookies).build();
    private final String address;

    Browser(String address) {
        this.address = address;
    }

    record Answer(int status, Map<String, List<String>> headers, String text) {

        JsonNode json() {
            try {
                return JSON.readTree(text);
            } catch (IOException error) {
                throw new UncheckedIOException(text, error);
            }
        }

        String header(String name) {
            return headers.getOrDefault(name, List.of("")).get(0);
        }
    }

    Answer get(String path) {
        return send("GET", path, null);
    }

    Answer send(String method, String path, Object body, String... headers) {
        HttpResponse<String> response = exchange(request(method, path, body, headers), BodyHandlers.ofString());
        var answer = new Answer(response.statusCode(), response.headers().map(), response.body());
        if (answer.status() < 300 && answer.text().contains("\"csrf\"")) {
            csrf = answer.json().get("csrf").asText();
        }
        return answer;
    }

    /** The lines of a stream, as they come. */
    Stream<String> lines(String path, String... headers) {
        return exchange(request("GET", path, null, headers), BodyHandlers.ofLines()).body();
    }

    void register() {
        Answer answer = send("POST", "/api/users", credentials("correct horse"));
        if (answer.status() != 201) {
            throw new AssertionError(answer);
        }
    }

    Map<String, String> credentials(String password) {
        return Map.of("email", email, "password", password);
    }

    Answer order(String key, long product, int quantity) {
        var items = Map.of("items", List.of(Map.of("product_id", product, "quantity", quantity)));
        return send("POST", "/api/orders", items, "Idempotency-Key", key);
    }

    String cookie() {
        return cookies.getCookieStore().getCookies().isEmpty()
                ? ""
                : cookies.getCookieStore().getCookies().get(0).getValue();
    }

    private HttpRequest request(String method, String path, Object body, String... headers) {
        try {
            var request = HttpRequest.newBuilder(URI.create(address + path))
                    .header("Content-Type", "application/json")
                    .header("X-CSRF-Token", csrf)
                    .method(method, body == null
                            ? BodyPublishers.noBody()
                            : BodyPublishers.ofString(body instanceof String text ? text : JSON.writeValueAsString(body)));
            return (headers.length == 0 ? request : request.headers(headers)).build();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private <T> HttpResponse<T> exchange(HttpRequest request, HttpResponse.BodyHandler<T> handler) {
        try {
            return client.send(request, handler);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }
}
