"""Memory that nginx's allocator would otherwise return to the system after a request and request again. Pure.

An answer's headers have to fit into one block of memory. musl, in static builds of nginx, maps a block of more than
26,188 bytes separately and unmaps it when it is free: two system calls and two page faults per request, a third of
its time. Blocks of 4k suffer the same while few connections are open. But a smaller block is in a group of blocks of
its size, the larger the more of them are in use, and a group stays mapped while one of its blocks is in use. So the
configuration holds some blocks of each size: memory logs of a server that logs nothing. They cost what they touch,
two pages each, once for all workers.
"""

HEADERS = 36 << 10
"""Bytes for the headers of an answer: for 32k of them, in a size of which a group has several blocks."""

KEPT = 25 << 10
"""Bytes of the largest block that musl keeps without `held`."""

NAME = "memory.conf"
"""The name of the file with `held`."""

_HELD = ((f"{HEADERS >> 10}k", 65), ("4k", 128))
"""Sizes, and the number of blocks of each: the last groups that they begin have 14 and 28 blocks, and are half
empty.
"""

_HEAD = "# Holds pieces of memory. Rendered by pushrod; a change made here is lost at the next switch.\n"


def held() -> str:
    """The lines of a server that hold them."""
    return _HEAD + "".join(f"error_log memory:{size} emerg;\n" * count for size, count in _HELD)
