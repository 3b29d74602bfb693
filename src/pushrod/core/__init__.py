"""Values and errors; no effects."""
