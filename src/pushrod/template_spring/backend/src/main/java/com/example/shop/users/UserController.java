package com.example.shop.users;

import com.example.shop.Settings;
import com.example.shop.web.Problem;
import com.example.shop.web.Rates;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import jakarta.validation.Valid;
import jakarta.validation.constraints.NotNull;
import jakarta.validation.constraints.Pattern;
import jakarta.validation.constraints.Size;
import java.time.Duration;
import java.util.Locale;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Profile;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** Registration, login, logout. */
@RestController
@Profile("serve")
@RequestMapping("/api")
class UserController {

    private final Users users;
    private final Sessions sessions;
    private final Rates rates;
    private final Settings settings;
    private final Duration timeout;

    UserController(
            Users users,
            Sessions sessions,
            Rates rates,
            Settings settings,
            @Value("${spring.session.timeout}") Duration timeout) {
        this.users = users;
        this.sessions = sessions;
        this.rates = rates;
        this.settings = settings;
        this.timeout = timeout;
    }

    /** What a user logs in with. NIST SP 800-63B: at least 8 characters, and no further rules. */
    record Credentials(
            @NotNull @Size(max = 254) @Pattern(regexp = "[!-?A-~]+@[!-?A-~]+\\.[!-?A-~]+") String email,
            @NotNull @Size(min = 8, max = 200) String password) {

        Credentials {
            email = email == null ? null : email.toLowerCase(Locale.ROOT);
        }
    }

    /** Who the visitor is (null before login), and the value for X-CSRF-Token. */
    record Who(String email, String csrf) {}

    @PostMapping("/users")
    @ResponseStatus(HttpStatus.CREATED)
    Who register(
            HttpServletRequest request, HttpServletResponse response, Visitor visitor, @Valid @RequestBody Credentials given) {
        long id = users.add(given.email(), given.password(), false);
        return who(response, sessions.logIn(request, timeout, id, given.email()));
    }

    @PostMapping("/session")
    Who logIn(
            HttpServletRequest request, HttpServletResponse response, Visitor visitor, @Valid @RequestBody Credentials given) {
        rates.spend("logins", given.email(), settings.loginsPerMinute());
        long id = users.check(given.email(), given.password()).orElseThrow(
                () -> new Problem(HttpStatus.UNAUTHORIZED, "no user has this address and this password"));
        return who(response, sessions.logIn(request, timeout, id, given.email()));
    }

    /** A new visitor gets a session. */
    @GetMapping("/session")
    Who whoAmI(HttpServletRequest request, HttpServletResponse response, Visitor visitor) {
        return who(response, visitor.session() == null ? sessions.begin(request) : visitor.session());
    }

    @DeleteMapping("/session")
    @ResponseStatus(HttpStatus.NO_CONTENT)
    void logOut(Visitor visitor) {
        if (visitor.session() != null) {
            visitor.session().invalidate();
        }
    }

    @DeleteMapping("/sessions")
    @ResponseStatus(HttpStatus.NO_CONTENT)
    void logOutEverywhere(Visitor.User user) {
        sessions.endAll(user.id());
        user.session().invalidate();
    }

    private static Who who(HttpServletResponse response, HttpSession session) {
        response.setHeader(HttpHeaders.CACHE_CONTROL, "no-store");
        return new Who((String) session.getAttribute(Sessions.EMAIL), (String) session.getAttribute(Sessions.CSRF));
    }
}
