package com.example.shop.stores;

import com.example.shop.Settings;
import io.lettuce.core.ClientOptions;
import io.lettuce.core.resource.Delay;
import java.time.Duration;
import org.springframework.beans.factory.annotation.Qualifier;
import org.springframework.boot.actuate.data.redis.RedisHealthIndicator;
import org.springframework.boot.actuate.health.HealthIndicator;
import org.springframework.boot.autoconfigure.cache.CacheProperties;
import org.springframework.boot.autoconfigure.cache.RedisCacheManagerBuilderCustomizer;
import org.springframework.boot.autoconfigure.data.redis.ClientResourcesBuilderCustomizer;
import org.springframework.boot.autoconfigure.data.redis.LettuceClientOptionsBuilderCustomizer;
import org.springframework.cache.annotation.EnableCaching;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.data.redis.cache.RedisCacheWriter;
import org.springframework.data.redis.connection.RedisConnectionFactory;
import org.springframework.data.redis.connection.lettuce.LettuceClientConfiguration;
import org.springframework.data.redis.connection.lettuce.LettuceConnectionFactory;
import org.springframework.data.redis.serializer.RedisSerializationContext.SerializationPair;
import org.springframework.data.redis.serializer.RedisSerializer;

/** Two Redis, because durable data and a cache need opposite settings: spring.data.redis, and shop.cache-url. */
@Configuration(proxyBeanMethods = false)
@EnableCaching
class RedisConfiguration {

    private static final Duration PATIENCE = Duration.ofMillis(500); // with the cache, which is useful but not required
    private static final Duration RECONNECT = Duration.ofMillis(500);

    /** A Redis that is away refuses at once, and is there again soon after it has come back. */
    @Bean
    LettuceClientOptionsBuilderCustomizer refusing() {
        return options -> options.disconnectedBehavior(ClientOptions.DisconnectedBehavior.REJECT_COMMANDS);
    }

    @Bean
    ClientResourcesBuilderCustomizer reconnecting() {
        return resources -> resources.reconnectDelay(Delay.constant(RECONNECT));
    }

    /** Beside Spring Boot's own connection factory, not instead of it: only who asks for it by name gets it. */
    @Bean(defaultCandidate = false)
    LettuceConnectionFactory cacheConnectionFactory(
            Settings settings, io.lettuce.core.resource.ClientResources resources) {
        var options = ClientOptions.builder()
                .disconnectedBehavior(ClientOptions.DisconnectedBehavior.REJECT_COMMANDS)
                .socketOptions(io.lettuce.core.SocketOptions.builder().connectTimeout(PATIENCE).build())
                .build();
        var client = LettuceClientConfiguration.builder()
                .clientResources(resources)
                .clientOptions(options)
                .commandTimeout(PATIENCE)
                .build();
        return new LettuceConnectionFactory(LettuceConnectionFactory.createRedisConfiguration(settings.cacheUrl()), client);
    }

    /** Values are JSON as text, so that both releases of a deployment can read them; a mark lives for MARKED. */
    @Bean
    RedisCacheManagerBuilderCustomizer cacheManagerCustomizer(
            @Qualifier("cacheConnectionFactory") RedisConnectionFactory redis, CacheProperties properties) {
        Duration fresh = properties.getRedis().getTimeToLive();
        return builder -> builder
                .cacheWriter(RedisCacheWriter.nonLockingRedisCacheWriter(redis))
                .cacheDefaults(builder.cacheDefaults()
                        .entryTtl((key, value) -> ProductCache.WRITTEN.equals(value) ? ProductCache.MARKED : fresh)
                        .serializeValuesWith(SerializationPair.fromSerializer(RedisSerializer.string())));
    }

    @Bean
    HealthIndicator redisHealthIndicator(RedisConnectionFactory redis) {
        return new RedisHealthIndicator(redis);
    }

    @Bean
    HealthIndicator cacheHealthIndicator(@Qualifier("cacheConnectionFactory") RedisConnectionFactory redis) {
        return new RedisHealthIndicator(redis);
    }
}
