"""Servers in boxes: containers with systemd and a Docker engine of their own."""
