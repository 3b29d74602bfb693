"""Adapters: code that drives Git, Compose, Docker, nginx, PostgreSQL, Redis, systemd and other external programs."""
