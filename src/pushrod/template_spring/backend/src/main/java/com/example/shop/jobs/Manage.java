package com.example.shop.jobs;

import com.example.shop.users.Users;
import com.example.shop.web.Problem;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.ExitCodeGenerator;
import org.springframework.context.annotation.Profile;
import org.springframework.stereotype.Component;

/** Commands for the shop's operators: {@code user [--staff] EMAIL}, {@code dead}, {@code retry}. */
@Component
@Profile("manage")
class Manage implements CommandLineRunner, ExitCodeGenerator {

    private final Users users;
    private final Outbox outbox;
    private int status;

    Manage(Users users, Outbox outbox) {
        this.users = users;
        this.outbox = outbox;
    }

    @Override
    public void run(String... words) {
        switch (words[0]) {
            case "user" -> addUser(Arrays.asList(words).subList(1, words.length));
            case "dead" -> outbox.dead().forEach(System.out::println);
            default -> outbox.retry().forEach(System.out::println);
        }
    }

    /** Adds a user with a random password, and prints the password: it is stored nowhere. */
    private void addUser(List<String> words) {
        List<String> emails = words.stream().filter(word -> !word.startsWith("-")).map(String::toLowerCase).toList();
        if (emails.size() != 1 || !emails.get(0).matches("[!-?A-~]+@[!-?A-~]+\\.[!-?A-~]+")) {
            refuse("usage: user [--staff] EMAIL");
            return;
        }
        byte[] bytes = new byte[12];
        new SecureRandom().nextBytes(bytes);
        String password = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
        try {
            users.add(emails.get(0), password, words.contains("--staff"));
            System.out.println(password);
        } catch (Problem problem) {
            refuse(emails.get(0) + ": " + problem.getBody().getDetail());
        }
    }

    private void refuse(String why) {
        System.err.println(why);
        status = 1;
    }

    @Override
    public int getExitCode() {
        return status;
    }
}
