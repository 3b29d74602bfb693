package com.example.shop.stores;

import org.springframework.boot.LazyInitializationExcludeFilter;
import org.springframework.boot.autoconfigure.flyway.FlywayMigrationInitializer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Profile;

/** {@code java -jar app.jar migrate} creates nothing but what migrates, so that it starts fast. */
@Configuration(proxyBeanMethods = false)
@Profile("migrate")
class Migrations {

    @Bean
    static LazyInitializationExcludeFilter notLazy() {
        return LazyInitializationExcludeFilter.forBeanTypes(FlywayMigrationInitializer.class);
    }
}
