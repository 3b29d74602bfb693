"""Engines: what runs the services of a release."""
