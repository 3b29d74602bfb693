"""Challenges that a passkey signs: random, for one purpose, for minutes, and each accepted once.

None is kept until it was used well: whoever asks for many cannot fill the memory, nor push out those of others.
"""

import base64
import hashlib
import hmac
import secrets
import threading
import time

SECONDS = 300.0
"""How long a challenge is good for."""

_RANDOM, _TIME, _MARK = 16, 8, 32


class Challenges:
    """The challenges of this process; another one knows none of them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def make(self, purpose: str) -> str:
        """A new challenge for a purpose, in base64url."""
        head = secrets.token_bytes(_RANDOM) + int(time.time() + SECONDS).to_bytes(_TIME, "big")
        return base64.urlsafe_b64encode(head + self._mark(head, purpose)).decode().rstrip("=")

    def good(self, challenge: str, purpose: str) -> bytes:
        """The bytes of a challenge that was made here for this purpose and is not too old or used; else none."""
        raw = decoded(challenge)
        head, mark = raw[: _RANDOM + _TIME], raw[_RANDOM + _TIME :]
        known = len(raw) == _RANDOM + _TIME + _MARK and hmac.compare_digest(mark, self._mark(head, purpose))
        if not known or int.from_bytes(head[_RANDOM:], "big") < time.time() or challenge in self._used:
            return b""
        return raw

    def use(self, challenge: str) -> bool:
        """Use a good challenge up; returns whether this is the first time."""
        at = time.time()
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until > at}
            first = challenge not in self._used
            self._used[challenge] = at + SECONDS
        return first

    def _mark(self, head: bytes, purpose: str) -> bytes:
        return hmac.new(self._key, head + purpose.encode(), hashlib.sha256).digest()


def decoded(text: str) -> bytes:
    """The bytes of a text in base64url; none for any other text."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""
