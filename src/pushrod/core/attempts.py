"""Steps that are all attempted in order, even if earlier ones fail."""

import contextlib
from collections.abc import Iterator

from pushrod.core.errors import PushrodError


class Attempts:
    """Runs steps and collects the reasons of failures, in order."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Run the block; record a PushrodError or OSError with its reason instead of raising it."""
        try:
            yield
        except PushrodError as e:
            self.failed.append(f"{what}: {e.what}{f' ({e.where})' if e.where else ''}")
        except OSError as e:
            place = f" ({e.filename})" if e.filename else ""
            self.failed.append(f"{what}: {(e.strerror or str(e)).lower()}{place}")

    def __str__(self) -> str:
        return "; ".join(self.failed)
