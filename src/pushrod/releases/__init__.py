"""The life of a push."""
