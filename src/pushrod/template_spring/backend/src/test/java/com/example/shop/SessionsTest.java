package com.example.shop;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SessionsTest extends ShopTest {

    private static final Map<String, Object> BASKET =
            Map.of("items", List.of(Map.of("product_id", 1, "quantity", 2)));

    @Test
    void aUserRegistersAndLogsOutAndIn() {
        Browser browser = browser();
        assertThat(browser.get("/api/session").json().get("email").isNull()).isTrue();
        browser.register();
        assertThat(browser.get("/api/session").json().get("email").asText()).isEqualTo(browser.email);
        assertThat(browser.send("DELETE", "/api/session", null).status()).isEqualTo(204);
        assertThat(browser.get("/api/session").json().get("email").isNull()).isTrue();
        assertThat(browser.send("POST", "/api/session", browser.credentials("correct horse")).status()).isEqualTo(200);
        assertThat(browser.get("/api/session").json().get("email").asText()).isEqualTo(browser.email);
        assertThat(browser.get("/api/session").header("cache-control")).isEqualTo("no-store");
    }

    @Test
    void anAddressIsTakenOnce() {
        Browser browser = browser();
        browser.register();
        assertThat(browser.send("POST", "/api/users", browser.credentials("another one")).status()).isEqualTo(409);
    }

    @Test
    void aWrongPasswordAndAnUnknownUserLookTheSame() {
        Browser known = browser();
        known.register();
        Browser guesser = browser();
        Browser.Answer wrong = guesser.send("POST", "/api/session", known.credentials("wrong horse"));
        Browser.Answer unknown = guesser.send("POST", "/api/session", guesser.credentials("wrong horse"));
        assertThat(wrong.status()).isEqualTo(401);
        assertThat(wrong.text()).isEqualTo(unknown.text());
    }

    @Test
    void guessesOfAPasswordAreLimited() {
        Browser guesser = browser();
        Browser.Answer answer = null;
        for (int i = 0; i < 6; i++) {
            answer = guesser.send("POST", "/api/session", guesser.credentials("wrong horse"));
        }
        assertThat(answer.status()).isEqualTo(429);
        assertThat(Integer.parseInt(answer.header("retry-after"))).isBetween(1, 60);
    }

    @ParameterizedTest
    @CsvSource({"nobody, correct horse", "a@b.c, short", "a b@c.d, correct horse", "x@y, correct horse"})
    void wrongCredentialsAreRefused(String email, String password) {
        var given = Map.of("email", email, "password", password);
        assertThat(browser().send("POST", "/api/users", given).status()).isEqualTo(422);
    }

    @Test
    void aLoginGivesANewIdAndKeepsTheBasket() {
        Browser browser = browser();
        browser.get("/api/session");
        String before = browser.cookie();
        assertThat(browser.send("PUT", "/api/basket", BASKET).status()).isEqualTo(200);
        browser.register();
        assertThat(browser.cookie()).isNotEqualTo(before);
        assertThat(browser.get("/api/basket").text()).contains("\"quantity\":2");
        Browser thief = browser();
        Browser.Answer answer = thief.send("GET", "/api/session", null, "Cookie", "session=" + before);
        assertThat(answer.json().get("email").isNull()).isTrue();
    }

    @Test
    void theCookieIsForThisHostAndNoScript() {
        assertThat(browser().get("/api/session").header("set-cookie"))
                .startsWith("session=").contains("HttpOnly", "SameSite=Lax", "Path=/");
        assertThat(browser().send("GET", "/api/session", null, "X-Forwarded-Proto", "https").header("set-cookie"))
                .startsWith("__Host-session=").contains("Secure", "Path=/").doesNotContain("Domain");
    }

    @Test
    void aChangeNeedsTheTokenOfTheSession() {
        Browser browser = browser();
        browser.get("/api/session");
        browser.csrf = "forged";
        assertThat(browser.send("PUT", "/api/basket", BASKET).status()).isEqualTo(403);
        assertThat(browser.send("POST", "/api/users", browser.credentials("correct horse")).status()).isEqualTo(403);
    }

    @Test
    void aWrongBasketIsRefused() {
        Browser browser = browser();
        var item = Map.of("product_id", 1, "quantity", 1);
        assertThat(browser.send("PUT", "/api/basket", Map.of("items", List.of(item, item))).status()).isEqualTo(422);
        assertThat(browser.send("PUT", "/api/basket", "{\"items\": [null]}").status()).isEqualTo(422);
        assertThat(browser.send("PUT", "/api/basket", "{}").status()).isEqualTo(422);
        assertThat(browser.send("PUT", "/api/basket", "{\"items\": [{\"product_id\": 1, \"quantity\": 0}]}").status())
                .isEqualTo(422);
    }

    @Test
    void aLogoutEverywhereEndsEveryDevice() {
        Browser phone = browser();
        phone.register();
        Browser desk = browser();
        assertThat(desk.send("POST", "/api/session", phone.credentials("correct horse")).status()).isEqualTo(200);
        assertThat(desk.send("DELETE", "/api/sessions", null).status()).isEqualTo(204);
        assertThat(phone.get("/api/orders").status()).isEqualTo(401);
        assertThat(desk.get("/api/orders").status()).isEqualTo(401);
        assertThat(desk.send("POST", "/api/session", phone.credentials("correct horse")).status()).isEqualTo(200);
        assertThat(desk.get("/api/orders").status()).isEqualTo(200);
    }

    @Test
    void onlyStaffChangesProducts() {
        Browser browser = browser();
        browser.register();
        var product = Map.of("name", "x", "price_cents", 1, "stock", 1);
        assertThat(browser.send("POST", "/api/products", product).status()).isEqualTo(403);
    }
}
