"""Times of records (ISO 8601, in UTC) as people read them. Pure."""


def to_the_minute(at: str) -> str:
    """`2026-11-23 02:00 UTC`."""
    return f"{at[:16].replace('T', ' ')} UTC"


def to_the_second(at: str) -> str:
    """`2026-11-23 02:00:07 UTC`."""
    return f"{at[:19].replace('T', ' ')} UTC"
