"""The state of apps, and what is wrong."""
