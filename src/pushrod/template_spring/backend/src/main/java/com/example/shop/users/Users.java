package com.example.shop.users;

import com.example.shop.web.Problem;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.function.Supplier;
import org.springframework.dao.DuplicateKeyException;
import org.springframework.http.HttpStatus;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.crypto.password.Pbkdf2PasswordEncoder;
import org.springframework.security.crypto.password.Pbkdf2PasswordEncoder.SecretKeyFactoryAlgorithm;
import org.springframework.stereotype.Component;

/** The table {@code users}. */
@Component
public class Users {

    // As OWASP advises for PBKDF2 with SHA-256. Few at a time, so that logins cannot use up the processors.
    private final PasswordEncoder passwords =
            new Pbkdf2PasswordEncoder("", 16, 600_000, SecretKeyFactoryAlgorithm.PBKDF2WithHmacSHA256);
    private final Semaphore turns = new Semaphore(2);
    private final CompletableFuture<String> ofNobody =
            CompletableFuture.supplyAsync(() -> passwords.encode("no user has this one"));
    private final JdbcClient db;

    Users(JdbcClient db) {
        this.db = db;
    }

    private record Row(long id, String password) {}

    /** The id of a new user; a Problem 409 if the address is taken. */
    public long add(String email, String password, boolean isStaff) {
        String hash = inTurn(() -> passwords.encode(password));
        try {
            return db.sql("INSERT INTO users (email, password, is_staff) VALUES (?, ?, ?) RETURNING id")
                    .params(email, hash, isStaff)
                    .query(Long.class)
                    .single();
        } catch (DuplicateKeyException error) {
            throw new Problem(HttpStatus.CONFLICT, "there is a user with this address");
        }
    }

    /** The id of the user with that password. It takes as long without one, so that timing does not reveal who is. */
    Optional<Long> check(String email, String password) {
        Optional<Row> row = db.sql("SELECT id, password FROM users WHERE email = ?")
                .param(email)
                .query(Row.class)
                .optional();
        boolean right = inTurn(() -> passwords.matches(password, row.map(Row::password).orElseGet(ofNobody::join)));
        return row.filter(found -> right).map(Row::id);
    }

    boolean isStaff(long id) {
        return db.sql("SELECT is_staff FROM users WHERE id = ?").param(id).query(Boolean.class).optional().orElse(false);
    }

    private <T> T inTurn(Supplier<T> work) {
        turns.acquireUninterruptibly();
        try {
            return work.get();
        } finally {
            turns.release();
        }
    }
}
