"""The docker engine: Docker Compose under systemd, on one server."""
