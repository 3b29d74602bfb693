"""Times of records: ISO 8601, in UTC."""

import datetime

_SLACK = 600.0  # seconds by which clocks may differ


def now() -> str:
    """The current time in the format of all records: UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def seconds_since(at: str) -> float:
    """The seconds since a time of a record."""
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(at)).total_seconds()


def is_ahead(at: str) -> bool:
    """Whether a time of a record is in the future: the clock was set back since."""
    return seconds_since(at) < -_SLACK


def seconds_between(at: str, later: str) -> float:
    """The seconds between two times of records."""
    return (datetime.datetime.fromisoformat(later) - datetime.datetime.fromisoformat(at)).total_seconds()


def to_the_minute(at: str) -> str:
    """`2026-11-23 02:00 UTC`."""
    return f"{at[:16].replace('T', ' ')} UTC"


def to_the_second(at: str) -> str:
    """`2026-11-23 02:00:07 UTC`."""
    return f"{at[:19].replace('T', ' ')} UTC"
