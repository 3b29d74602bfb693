"""Git, Compose, Docker, nginx, PostgreSQL, Redis, systemd and others, as pushrod drives them."""
