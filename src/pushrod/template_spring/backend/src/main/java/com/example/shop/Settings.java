package com.example.shop;

import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotBlank;
import jakarta.validation.constraints.Positive;
import jakarta.validation.constraints.PositiveOrZero;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.validation.annotation.Validated;

/** The settings below {@code shop} in application.yaml, which explains them; a wrong one is named at start. */
@Validated
@ConfigurationProperties("shop")
public record Settings(
        @NotBlank String cacheUrl,
        @Min(1) int writesPerMinute,
        @Min(1) int loginsPerMinute,
        @PositiveOrZero double stepSeconds,
        @Min(1) int maxTries,
        @Positive double retrySeconds,
        @Positive double leaseSeconds,
        String nightly,
        String release,
        String commit) {}
