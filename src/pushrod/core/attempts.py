"""Things that are done one after the other, each whatever became of those before it."""

import contextlib
from collections.abc import Iterator

from pushrod.core.errors import PushrodError


class Attempts:
    """What was tried and failed, in the order in which it was tried, each with its reason."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Try the block; where it fails for a reason that can be told, that is kept, and the next thing is done."""
        try:
            yield
        except PushrodError as e:
            self.failed.append(f"{what}: {e.what}{f' ({e.where})' if e.where else ''}")
        except OSError as e:
            place = f" ({e.filename})" if e.filename else ""
            self.failed.append(f"{what}: {(e.strerror or str(e)).lower()}{place}")

    def __str__(self) -> str:
        return "; ".join(self.failed)
