package com.example.shop.users;

import jakarta.servlet.http.HttpServletRequest;
import java.util.List;
import java.util.Map;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.data.redis.serializer.RedisSerializer;
import org.springframework.session.MapSession;
import org.springframework.session.config.SessionRepositoryCustomizer;
import org.springframework.session.data.redis.RedisSessionMapper;
import org.springframework.session.data.redis.RedisSessionRepository;
import org.springframework.session.web.http.CookieSerializer;
import org.springframework.session.web.http.DefaultCookieSerializer;

/** Sessions in the durable Redis, by Spring Session: a hash for each, as JSON that every release can read. */
@Configuration(proxyBeanMethods = false)
@ConditionalOnWebApplication
class SessionConfiguration {

    @Bean
    RedisSerializer<Object> springSessionDefaultRedisSerializer() {
        return RedisSerializer.json();
    }

    /** One that another request has just ended, or whose hash is damaged, is none. */
    @Bean
    SessionRepositoryCustomizer<RedisSessionRepository> tolerant() {
        return repository -> repository.setRedisSessionMapper((String id, Map<String, Object> kept) -> {
            try {
                return new RedisSessionMapper().apply(id, kept);
            } catch (IllegalStateException error) {
                repository.deleteById(id);
                return (MapSession) null;
            }
        });
    }

    /** Browsers accept {@code __Host-} only from this very host, over TLS, for all paths. */
    @Bean
    CookieSerializer cookieSerializer() {
        CookieSerializer plain = cookie("session", false);
        CookieSerializer secure = cookie("__Host-session", true);
        return new CookieSerializer() {
            @Override
            public void writeCookieValue(CookieValue value) {
                of(value.getRequest()).writeCookieValue(value);
            }

            @Override
            public List<String> readCookieValues(HttpServletRequest request) {
                return of(request).readCookieValues(request);
            }

            private CookieSerializer of(HttpServletRequest request) {
                return request.isSecure() ? secure : plain;
            }
        };
    }

    private static CookieSerializer cookie(String name, boolean secure) {
        var made = new DefaultCookieSerializer();
        made.setCookieName(name);
        made.setCookiePath("/");
        made.setUseSecureCookie(secure);
        made.setUseHttpOnlyCookie(true);
        made.setSameSite("Lax");
        return made;
    }
}
