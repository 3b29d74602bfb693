package com.example.shop.orders;

import static org.assertj.core.api.Assertions.assertThat;

import com.example.shop.ShopTest;
import java.time.LocalDate;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;

class SalesTest extends ShopTest {

    @Autowired
    Sales sales;

    @Test
    void aDayIsClosedOnce() {
        LocalDate day = LocalDate.of(1990, 1, 1).plusDays(System.nanoTime() % 9000);
        db.sql("DELETE FROM daily_sales WHERE day = ?").param(day).update();
        assertThat(sales.close(day)).isTrue();
        assertThat(sales.close(day)).isFalse();
    }
}
