package com.example.shop.jobs;

import org.springframework.context.annotation.Configuration;
import org.springframework.scheduling.annotation.EnableScheduling;

/** Lets {@code @Scheduled} methods run. */
@Configuration(proxyBeanMethods = false)
@EnableScheduling
class Scheduling {}
