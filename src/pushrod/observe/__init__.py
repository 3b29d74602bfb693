"""The state of apps, and their problems."""
