"""Durations and sizes as people read them. Pure."""


def age(seconds: float) -> str:
    """A duration in its largest unit: `12 s`, `3 min`, `5 h`, `2 d`; `-2 d` until a time in the future."""
    if seconds <= -1:
        return f"-{age(-seconds)}"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def size_of(count: int) -> str:
    """A number of bytes for display: `812.3 kB`."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if abs(count) >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"
