"""A client of Redis for people, on the embedded engine, whose wheel has none: reads commands, prints replies.

`python -m pushrod.adapters.redis_client ADDRESS PORT`; the user and the password are in REDISCLI_USER and
REDISCLI_AUTH.
"""

import os
import shlex
import sys
from collections.abc import Iterator

from pushrod.adapters import redis
from pushrod.core.errors import StoreError


def main(address: str, port: int) -> int:
    """Run the commands of standard input; returns 1 if the server refused one."""
    user, password = os.environ["REDISCLI_USER"], os.environ["REDISCLI_AUTH"]
    status = 0
    for line in _lines(f"{address}:{port}> "):
        try:
            words = shlex.split(line)
            if words and words[0].lower() in ("quit", "exit"):
                break
            if words:
                reply = redis.command(port, user, password, *words, address=address, timeout=60)
                sys.stdout.write("".join(f"{text}\n" for text in shown(reply)))
        except (StoreError, ValueError) as e:
            sys.stdout.write(f"(error) {_plain(e.what if isinstance(e, StoreError) else str(e))}\n")
            status = 1
        sys.stdout.flush()
    return status


def _lines(prompt: str) -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    while True:
        try:
            yield input(prompt)
        except (EOFError, KeyboardInterrupt):
            return


def shown(reply: redis.Reply, indent: str = "") -> Iterator[str]:
    """A reply as redis-cli shows it on a terminal; characters that would steer the terminal are escaped."""
    if isinstance(reply, list):
        if not reply:
            yield f"{indent}(empty array)"
        for number, item in enumerate(reply, start=1):
            lines = list(shown(item, " " * (len(indent) + len(str(number)) + 2)))
            yield f"{indent}{number}) {lines[0].lstrip()}"
            yield from lines[1:]
    elif isinstance(reply, int):
        yield f"{indent}(integer) {reply}"
    elif reply is None:
        yield f"{indent}(nil)"
    else:
        for line in reply.splitlines() or [""]:
            yield indent + _plain(line)


def _plain(text: str) -> str:
    """A line without control characters; errors too contain text of the server, or of a script."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
