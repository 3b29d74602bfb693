"""The embedded engine: supervised processes, without Docker."""
