package com.example.shop;

import java.util.Arrays;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** One jar, several processes: {@code java -jar app.jar [serve | work | migrate | user … | dead | retry]}. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class ShopApplication {

    /** The greeting of the page. */
    public static final String MESSAGE = "Hello from {{name}}";

    /** Starts the process that the first argument names; each is a profile of application.yaml. */
    public static void main(String[] arguments) {
        String verb = arguments.length == 0 || arguments[0].startsWith("-") ? "serve" : arguments[0];
        String profile = switch (verb) {
            case "serve", "work", "migrate" -> verb;
            case "user", "dead", "retry" -> "manage";
            default -> throw new IllegalArgumentException("no such command: " + verb);
        };
        boolean serves = profile.equals("serve");
        var context = new SpringApplicationBuilder(ShopApplication.class)
                .profiles(profile)
                .web(serves ? WebApplicationType.SERVLET : WebApplicationType.NONE)
                .run(arguments);
        if (!serves && !profile.equals("work")) {
            System.exit(SpringApplication.exit(context));
        }
    }

    /** The words after the command. */
    static String[] rest(String[] arguments) {
        return Arrays.copyOfRange(arguments, Math.min(1, arguments.length), arguments.length);
    }
}
