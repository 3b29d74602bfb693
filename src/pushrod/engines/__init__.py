"""Engines: the code that runs the services of a release."""
