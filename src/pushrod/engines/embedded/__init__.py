"""The embedded engine: real parts as supervised processes, without Docker."""
